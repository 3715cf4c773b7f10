"""One patient's risk from a bundle: `hepacast predict`."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from hepacast.bundle import Bundle, Prediction
from hepacast.bundle.applying import AppliedBundle, apply_bundle, open_bundle
from hepacast.bundle.dicom_results import MeasuredOn, write_dicom_results
from hepacast.bundle.fhir import write_fhir
from hepacast.bundle.labs import read_labs, values_of_table
from hepacast.bundle.measure import biomarkers_read
from hepacast.bundle.networks import NetworkBundle
from hepacast.bundle.page import write_page
from hepacast.cohort.columns import ColumnSpec
from hepacast.cohort.sheets import is_table
from hepacast.core.files import atomic_folder, require_writable, require_writable_file, write_json
from hepacast.core.progress import Reporter, SilentReporter
from hepacast.errors import BundleError, ImageError, StudyFileError
from hepacast.imaging.dicom_header import class_of
from hepacast.imaging.dicom_source import SourceSeries, read_source
from hepacast.imaging.io import write_labelmap, write_volume
from hepacast.imaging.overlay import overlay_png
from hepacast.imaging.structures import COMPOSITES
from hepacast.imaging.volume import Volume
from hepacast.segmentation.doubts import require_possible
from hepacast.segmentation.plausibility import Modality, judge
from hepacast.study.patient_images import (
    GivenMask,
    Images,
    Outlined,
    SeriesChoice,
    named_images,
    outlined_images,
    pairs_of,
)

#: Clinical values: by name, as texts ``name=value``, or a table with one row.
GivenLabs = Mapping[str, Any] | pd.Series | pd.DataFrame | Sequence[str] | str | Path


def predict_patient(
    bundle: str | Path | Bundle | NetworkBundle,
    *,
    image: Images = None,
    series: SeriesChoice = None,
    mask: GivenMask | None = None,
    labels: str | Mapping[str, int] = "",
    labs: GivenLabs = (),
    model: str | None = None,
    segmenter: str | None = None,
    accept_doubtful: bool = False,
    out: str | Path | None = None,
    dicom_out: str | Path | None = None,
    fhir: str | Path | None = None,
    patient: str = "",
    date: str | None = None,
    reporter: Reporter | None = None,
) -> Prediction:
    """Risk of one patient from a bundle.

    Parameters
    ----------
    bundle
        ``model.hepacast``, or ``networks.hepacast``: networks are applied to the image itself.
    image, mask, labels
        The image, and its mask where there is one (of the first sequence, or of the reference that MR images are
        brought to) with names of its values (default those of the training masks); else the segmenter makes it. Of
        several sequences: paths by name, or texts ``NAME=PATH``.
    series
        Of DICOM folders with several: number, UID, words of the description; by sequence also as ``NAME=SERIES``.
    labs
        Clinical values by name (``"3.8 g/dL"``, or a number in the study's unit; None: nobody knows it), as
        ``name=value``, or a table or DataFrame with one row (headers of the study or of the same quantities).
    model, segmenter, accept_doubtful
        Of the bundle (default the main one); as of `segment` (default that of the training masks, else ``builtin``);
        predict although image and mask look impossible.
    out, patient, date
        Folder for ``prediction.json``, ``prediction.pdf``, with an image ``mask.nii.gz`` and ``overlay.png``; study
        code (no name) and day (ISO; default today, with `dicom_out` that of the scan) for the page.
    dicom_out, fhir
        Folder for the results as DICOM (`hepacast.bundle.dicom_results`); file for them as FHIR R4.

    Raises
    ------
    HepacastError
        Anything about the bundle, the image or the values that does not fit.
    """
    opened = open_bundle(bundle)
    name, values = named_model(opened, model), _given(labs, opened.columns)
    # A mistyped value is told now, and not after a minute of segmentation.
    measured = biomarkers_read(opened, name) if isinstance(opened, Bundle) and image is not None else []
    read_labs(values, opened.columns, [item for item in opened.clinical_names(name) if item not in measured])
    image = image if measured or opened.needs_features(name) else None
    files = _Files(out, dicom_out, fhir, None if dicom_out is None else dicom_source(opened, image, series))
    how = (labels, segmenter, series, accept_doubtful, reporter or SilentReporter())
    seen = Outlined({}, {}) if image is None else _outlined(opened, image, mask, *how)
    told: dict[str, Any] = {"notes": seen.notes, "doubts": seen.doubts, "patient": patient, "date": files.day(date)}
    applied = apply_bundle(opened, values, seen.volumes, seen.masks, model=name, **told)
    files.write(opened, applied, seen, values)
    return applied.prediction


@dataclass(frozen=True, eq=False)
class _Files:
    """Where the answer is written, and the series that DICOM results refer to."""

    out: str | Path | None
    dicom_out: str | Path | None
    fhir: str | Path | None
    source: SourceSeries | None

    def day(self, given: str | None) -> str:
        """The day that is told, else that of the scan where it names the results, else today."""
        if given is not None:
            return given
        return datetime.date.today().isoformat() if self.source is None else self.source.date

    def __post_init__(self) -> None:
        """What cannot be written is told before a minute goes into masks."""
        for folder in (self.out, self.dicom_out):
            if folder is not None:
                require_writable(folder)
        if self.fhir is not None:
            require_writable_file(self.fhir)

    def write(
        self, bundle: Bundle | NetworkBundle, applied: AppliedBundle, seen: Outlined, labs: Mapping[str, str]
    ) -> None:
        """All that was asked for."""
        if self.out is not None:
            _write(bundle, applied, seen, Path(self.out))
        if self.source is not None and self.dicom_out is not None:
            made_by = "" if seen.labelmap is None else f"hepacast {seen.labelmap.source}"
            shown = MeasuredOn(seen.volume, _shown_masks(applied, seen), self.source, made_by)
            write_dicom_results(bundle, applied, shown, self.dicom_out)
        if self.fhir is not None:
            write_fhir(bundle, applied.prediction, labs, self.fhir)


def dicom_source(bundle: Bundle | NetworkBundle, image: Images, series: SeriesChoice = None) -> SourceSeries:
    """The series that DICOM results refer to: that on which masks are drawn.

    Raises
    ------
    ImageError
        There is no DICOM series, or one that results cannot refer to.
    """
    given = named_images(image, bundle.recipe.sequences, series)
    if not given:
        raise ImageError(
            "DICOM results belong to the study of an image, and this model reads none.",
            expected="--image DICOM_FOLDER, and a model that reads it",
            remedy="leave --dicom-out out, or name another model with --model",
        )
    reference = bundle.recipe.reference if bundle.recipe.preprocessing else next(iter(given))
    chosen = given.get(reference) or next(iter(given.values()))
    path = None if isinstance(chosen.path, Volume) else Path(chosen.path)
    if path is None or not (path.is_dir() or class_of(path)):
        raise ImageError(
            "DICOM results need a DICOM series to refer to.",
            expected="a DICOM folder",
            found="an image in memory" if path is None else path.name,
            remedy="give the DICOM folder of the image, or leave --dicom-out out",
        )
    return read_source(path, series=chosen.series)


def _shown_masks(applied: AppliedBundle, outlined: Outlined) -> dict[str, Volume]:
    """The masks that are shown: without unions of others; what networks see beside them."""
    shown = {key: item for key, item in outlined.masks.items() if key not in COMPOSITES} or dict(outlined.masks)
    return shown if applied.tumor is None else {**shown, "tumor by the networks": applied.tumor}


def _outlined(
    bundle: Bundle | NetworkBundle,
    image: Images,
    mask: GivenMask | None,
    labels: str | Mapping[str, int],
    segmenter: str | None,
    series: SeriesChoice,
    accept: bool,
    say: Reporter,
) -> Outlined:
    """Images and masks as the bundle wants them, judged."""
    made_by = segmenter or str(bundle.card.get("segmenter", "builtin"))
    seen = outlined_images(bundle.recipe, image, mask, _text_of(labels), made_by, say, series)
    doubts = _doubts(seen, bundle.recipe.sequences, accept)
    say.say("measuring features" if isinstance(bundle, Bundle) else "applying the networks")
    return replace(seen, doubts=doubts, notes=(*seen.notes, *_other_segmenter(bundle.card, seen)))


def _other_segmenter(card: Mapping[str, Any], seen: Outlined) -> tuple[str, ...]:
    """A note where an nnU-Net made the training masks, and another segmenter this one."""
    made_by = card.get("made_by")
    if not isinstance(made_by, Mapping) or made_by.get("name") != "nnunet" or seen.labelmap is None:
        return ()
    identity = str(made_by.get("identity"))
    if seen.labelmap.identity == identity:
        return ()
    return (
        f"the training masks were made by an nnU-Net (identity {identity[:12]}) and this one by "
        f"{seen.labelmap.source}, so features may differ; that nnU-Net lies in the study's results (--segmenter "
        "nnunet:RESULTS/segmentation/nnunet)",
    )


def _text_of(labels: str | Mapping[str, int]) -> str:
    return labels if isinstance(labels, str) else ",".join(f"{name}={value}" for name, value in labels.items())


def named_model(bundle: Bundle | NetworkBundle, model: str | None) -> str:
    """The model that is asked for, or the main one.

    Raises
    ------
    BundleError
        The bundle has none of this name.
    """
    if model is not None and model not in bundle.names:
        raise BundleError("The bundle has no such model.", expected=", ".join(bundle.names), found=model)
    return bundle.main if model is None else model


def _given(labs: GivenLabs, columns: Sequence[ColumnSpec]) -> dict[str, str]:
    """Clinical values by name, from tables and as they were typed.

    Raises
    ------
    StudyFileError, TableError
        Another form, a name that is given twice, or a table that is not one patient's.
    """
    if isinstance(labs, pd.DataFrame):
        return values_of_table(labs, columns)
    if isinstance(labs, Mapping | pd.Series):
        return {str(name): "NA" if value is None or value != value else str(value) for name, value in labs.items()}
    labs = [str(labs)] if isinstance(labs, str | Path) else labs
    tables = [item for item in labs if "=" not in item and is_table(item)]
    values = pairs_of([item for item in labs if item not in tables])
    for path in tables:
        for name, text in values_of_table(path, columns).items():
            if name in values:
                raise StudyFileError(f"The clinical value {name!r} is given twice.", found=f"{values[name]} and {text}")
            values[name] = text
    return values


def _doubts(outlined: Outlined, sequences: Mapping[str, str], accept: bool) -> tuple[str, ...]:
    """What is doubtful about image and masks; of masks that a network made, what is hardly a liver is impossible.

    Raises
    ------
    ImageError
        Something is impossible, and nobody has accepted it.
    """
    kinds: dict[str, Modality | None] = {name: "MR" if kind == "MR" else "CT" for name, kind in sequences.items()}
    only = next(iter(kinds.values())) if len(kinds) == 1 else None
    modalities = {name: kinds.get(name, only) for name in outlined.volumes}
    found = judge(outlined.volumes, outlined.masks, modalities, made=outlined.labelmap is not None)
    remarks = require_possible(found, accept=accept)
    return tuple(str(item) for item in remarks if item.casts_doubt)


def _write(bundle: Bundle | NetworkBundle, applied: AppliedBundle, outlined: Outlined, out: Path) -> None:
    """All files of the prediction, or none."""
    with atomic_folder(out) as folder:
        overlay: Path | None = None
        if outlined.volumes:
            shown = _shown_masks(applied, outlined)
            if applied.tumor is not None:
                write_volume(
                    applied.tumor.with_array(applied.tumor.array.astype("uint8")), folder / "mask-networks.nii.gz"
                )
            overlay = overlay_png(outlined.volume, shown, folder / "overlay.png", slices=4, columns=2)
            if outlined.labelmap is not None:
                write_labelmap(outlined.labelmap.labelmap, folder / "mask.nii.gz")
        if applied.attention is not None:
            write_volume(applied.attention, folder / "grad-cam.nii.gz")
        write_json(folder / "prediction.json", applied.prediction.to_json())
        write_page(bundle, applied.prediction, folder / "prediction.pdf", overlay=overlay)
