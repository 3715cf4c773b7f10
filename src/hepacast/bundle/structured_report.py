"""A prediction as a DICOM structured report (TID 1500): what was measured in which segment, and what follows from it.

Features have their code of the IBSI reference manual, intervals and sets are measurements and evaluations of their own,
and what speaks against the number stands in the report too. PRELIMINARY and UNVERIFIED: nobody has read it.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

from hepacast.bundle.model import Bundle
from hepacast.bundle.networks import NetworkBundle
from hepacast.bundle.prediction import Prediction, conformal_text
from hepacast.errors import StudyFileError
from hepacast.imaging.dicom_source import MANUFACTURER, NOT_FOR_CARE, Origin, SourceSeries, describe_result
from hepacast.radiomics.explanation import explain
from hepacast.radiomics.names import split_name
from hepacast.radiomics.recipe import ImageRecipe
from hepacast.radiomics.units import ucum_unit
from hepacast.stats.intervals import level_text

#: Features of a report: a score of hundreds is summed up by those that weigh most for this patient.
MOST_FEATURES = 60
#: Coding scheme of what no standard has a code for.
OWN_CODES = "99HEPACAST"
#: What PyRadiomics defines in another way than the code of the standard says.
_OTHER_DEFINITION = frozenset({"Kurtosis"})
_LONGEST_MEANING = 64
_COMMENT = ("121106", "DCM", "Comment")


def make_report(
    bundle: Bundle | NetworkBundle,
    prediction: Prediction,
    features: Mapping[str, float],
    segmentation: Any,
    source: SourceSeries,
    origin: Origin,
    *,
    number: int,
) -> Any:
    """The report in a series of its own of the source's study.

    Parameters
    ----------
    features
        What the model reads of the image, by column name.
    segmentation
        The SEG of the masks that were measured, to whose segments the features refer.
    number
        Of its series.
    """
    from highdicom.sr import ComprehensiveSR, MeasurementReport

    groups = [_risk_group(bundle, prediction, source, origin)]
    groups += _feature_groups(bundle, prediction, features, segmentation, source, origin)
    with warnings.catch_warnings():
        # highdicom's warnings about unusual person names would print the patient's name.
        warnings.simplefilter("ignore")
        report = MeasurementReport(
            observation_context=_observed_by(bundle, origin),
            procedure_reported=_code("363679005", "SCT", "Imaging procedure"),
            imaging_measurements=groups,
            title=_code("126000", "DCM", "Imaging Measurement Report"),
        )
        made = ComprehensiveSR(
            evidence=[*source.headers, segmentation],
            content=report[0],
            series_instance_uid=origin.uid("measurements", "series"),
            series_number=number,
            sop_instance_uid=origin.uid("measurements", "instance"),
            instance_number=1,
            manufacturer=MANUFACTURER,
            is_complete=True,
            is_final=False,
            is_verified=False,
        )
    describe_result(made, source, origin, "measurements", number=number)
    return made


def _code(value: str, scheme: str, meaning: str) -> Any:
    from highdicom.sr import CodedConcept

    return CodedConcept(value, scheme, meaning[:_LONGEST_MEANING])


def _own(value: str, meaning: str) -> Any:
    return _code(value, OWN_CODES, meaning)


def _unit(text: str) -> Any:
    return _code(text, "UCUM", "no units" if text == "1" else text)


def _observed_by(bundle: Bundle | NetworkBundle, origin: Origin) -> Any:
    from highdicom.sr import DeviceObserverIdentifyingAttributes, ObservationContext, ObserverContext

    device = DeviceObserverIdentifyingAttributes(
        uid=origin.uid("device"),
        name=f"{MANUFACTURER} {origin.version}"[:_LONGEST_MEANING],
        manufacturer_name=MANUFACTURER,
        model_name=f"{bundle.card['name']}"[:_LONGEST_MEANING],
        serial_number=bundle.identity[:16],
    )
    return ObservationContext(
        observer_device_context=ObserverContext(
            observer_type=_code("121007", "DCM", "Device"), observer_identifying_attributes=device
        )
    )


def _algorithm(bundle: Bundle | NetworkBundle, prediction: Prediction, origin: Origin) -> Any:
    """Which model, by name and hash, and which code."""
    from highdicom.sr import AlgorithmIdentification

    return AlgorithmIdentification(
        name=f"{bundle.card['name']}: {prediction.model}",
        version=bundle.identity,
        parameters=[f"{MANUFACTURER} {origin.version}"],
        family=_code("123110", "DCM", "Artificial Intelligence"),
        manufacturer=MANUFACTURER,
    )


def _risk_group(bundle: Bundle | NetworkBundle, item: Prediction, source: SourceSeries, origin: Origin) -> Any:
    """Risk with its limits (by every horizon), side of the cut-off, conformal set; in words what speaks against it."""
    from highdicom.sr import (
        Measurement,
        MeasurementsAndQualitativeEvaluations,
        QualitativeEvaluation,
        RelationshipTypeValues,
        SourceImageForMeasurementGroup,
        TextContentItem,
        TrackingIdentifier,
    )

    found = [(_own(code, meaning), value) for code, meaning, value in _risks(item)]
    found += [(_own(f"SCORE_{_word(name)}", f"Score: {name}"), value) for name, value in item.scores.items()]
    said = [QualitativeEvaluation(_own("RISK_GROUP", "Side of the cut-off"), _group(item))]
    if item.conformal is not None and item.conformal.label is not None:
        meaning = f"{level_text(item.conformal.level or math.nan)} set {item.conformal.sentence}"
        value = _own(_word(item.conformal.label), meaning)
        said.append(QualitativeEvaluation(_own("CONFORMAL_SET", "Outcomes that remain possible"), value))
    group = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=origin.uid("risk"), identifier="risk"),
        finding_type=_own("OUTCOME", f"Risk of {item.outcome}"),
        algorithm_id=_algorithm(bundle, item, origin),
        source_images=[
            SourceImageForMeasurementGroup(str(header.SOPClassUID), str(header.SOPInstanceUID))
            for header in source.headers
        ],
        measurements=[Measurement(name, value, _unit("1")) for name, value in found if math.isfinite(value)],
        qualitative_evaluations=said,
    )
    for text in _remarks(item):
        group[0].ContentSequence.append(
            TextContentItem(_code(*_COMMENT), text, relationship_type=RelationshipTypeValues.CONTAINS)
        )
    return group


def _risks(item: Prediction) -> list[tuple[str, str, float]]:
    """Code, meaning and number of each risk and its limits."""
    level = level_text(item.level)
    if not item.horizons:
        entries = [("", "", item.risk, item.low, item.high)]
    else:
        entries = [(f"_{e.time:g}", f" by {e.time:g} {e.unit}", e.risk, e.low, e.high) for e in item.horizons]
    found = []
    for mark, by, risk, low, high in entries:
        found += [
            (f"RISK{mark}", f"Risk{by}", risk),
            (f"RISK_LOW{mark}", f"Lower limit of the {level} interval of the risk{by}", low),
            (f"RISK_HIGH{mark}", f"Upper limit of the {level} interval of the risk{by}", high),
        ]
    return found


def _group(item: Prediction) -> Any:
    return _own(_word(item.group), item.group)


def _word(text: object) -> str:
    """A text as a code; two texts that differ have two codes."""
    return str(text).upper().replace(" ", "_")


def _remarks(item: Prediction) -> list[str]:
    texts = [f"{NOT_FOR_CARE}. {item.notice}"]
    texts += [f"Caution: {text}" for text in item.cautions]
    texts += [f"Warning: {text}" for text in item.warnings]
    texts += [f"Read: {name} {value}" for name, value in item.values.items()]
    texts += [f"Interval: {item.interval_of}"]
    texts += [f"Validated: {text}" for text in item.validated]
    if item.conformal is not None:
        texts.append(conformal_text(item.conformal, item.coverage))
    return texts


def _feature_groups(
    bundle: Bundle | NetworkBundle,
    item: Prediction,
    features: Mapping[str, float],
    segmentation: Any,
    source: SourceSeries,
    origin: Origin,
) -> list[Any]:
    """One group of measurements for each VOI, tied to its segment where the SEG has it."""
    from highdicom.sr import (
        MeasurementsAndQualitativeEvaluations,
        ReferencedSegment,
        SourceImageForMeasurementGroup,
        SourceImageForSegmentation,
        TrackingIdentifier,
        VolumetricROIMeasurementsAndQualitativeEvaluations,
    )

    weight = {share.name: place for place, share in enumerate(item.shares)}
    known = sorted((n for n, v in features.items() if math.isfinite(v)), key=lambda n: (weight.get(n, len(weight)), n))
    by_voi: dict[str, list[str]] = {}
    for name in known[:MOST_FEATURES]:
        by_voi.setdefault(_voi_of(name), []).append(name)
    segments = {str(one.SegmentLabel): one for one in segmentation.SegmentSequence}
    groups: list[Any] = []
    for voi, names in sorted(by_voi.items()):
        common: dict[str, Any] = {
            "tracking_identifier": TrackingIdentifier(uid=origin.uid("voi", voi), identifier=voi or "image"),
            "algorithm_id": _algorithm(bundle, item, origin),
            "measurements": [_measurement(name, features[name], bundle.recipe) for name in names],
        }
        if voi in segments:
            segment = segments[voi]
            referenced = ReferencedSegment(
                str(segmentation.SOPClassUID),
                str(segmentation.SOPInstanceUID),
                int(segment.SegmentNumber),
                source_images=[
                    SourceImageForSegmentation(str(header.SOPClassUID), str(header.SOPInstanceUID))
                    for header in source.headers
                ],
            )
            kind = segment.SegmentedPropertyTypeCodeSequence[0]
            finding = _code(kind.CodeValue, kind.CodingSchemeDesignator, kind.CodeMeaning)
            groups.append(
                VolumetricROIMeasurementsAndQualitativeEvaluations(
                    referenced_segment=referenced, finding_type=finding, **common
                )
            )
            continue
        images = [SourceImageForMeasurementGroup(str(h.SOPClassUID), str(h.SOPInstanceUID)) for h in source.headers]
        finding = _own("VOI", f"Volume of interest: {voi or 'image'}")
        groups.append(MeasurementsAndQualitativeEvaluations(finding_type=finding, source_images=images, **common))
    return groups


def _voi_of(name: str) -> str:
    """``tumor`` of ``portal:tumor:original_shape_Sphericity``."""
    parts = name.split(":")
    return parts[-2] if len(parts) > 1 else ""


def _measurement(name: str, value: float, recipe: ImageRecipe) -> Any:
    """A feature: its IBSI code where the standard has it, the filtered image as the method."""
    from highdicom.sr import Measurement

    parts = split_name(name.split(":")[-1])
    sequence = name.split(":")[0] if name.count(":") > 1 else next(iter(recipe.sequences), "")
    modality = recipe.sequences.get(sequence, "CT")
    scaled = bool((recipe.preprocessing or {}).get("landmarks")) or bool(recipe.settings.get("normalize"))
    try:
        known = explain(name)
    except StudyFileError:  # of a table made elsewhere, or one that a network learned
        known = None
    feature = parts[2] if parts else ""
    if known is not None and known.ibsi is not None and feature not in _OTHER_DEFINITION:
        concept = _code(known.ibsi, "IBSI", f"{parts[1]} {feature}" if parts else name)
    else:
        concept = _own(name.split(":")[-1], name)
    image = parts[0] if parts else ""
    of = " ".join(item for item in (sequence if len(recipe.sequences) > 1 else "", image) if item)
    method = _own(_word(of), f"measured in the image {of}") if of else None
    return Measurement(concept, float(value), _unit(ucum_unit(name, modality, scaled=scaled)), method=method)
