"""Image and masks of a study's patients before the one judge: for `hepacast check` and the segmentation stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hepacast.cohort.findings import name_patients
from hepacast.core.files import write_text
from hepacast.core.texts import cells
from hepacast.errors import ImageError
from hepacast.imaging import Volume
from hepacast.imaging.labels import LabelMap
from hepacast.imaging.structures import available_structures, structure_mask
from hepacast.segmentation.doubts import Remark, accepted, group_remarks
from hepacast.segmentation.far_from_cohort import outliers
from hepacast.segmentation.plausibility import Modality, VoiValues, judge, judge_levels, lowest_value, measure_voi
from hepacast.study.schema import Study

#: Air is -1000 HU, and scanners end at -1024: lower values (HU) with room for noise are padding.
AIR_LIMIT_HU = -1200.0
#: How a person overrules the judge in a study.
SWITCH = "name the patient in images.segmentation.accept_doubtful of the study file"


@dataclass(frozen=True)
class JudgedPatient:
    """What the judge says of one patient, and the rows of the table of all.

    Attributes
    ----------
    rows
        One a VOI and sequence: ``patient``, ``sequence``, ``modality`` and the fields of `VoiValues`.
    notes
        What the readers of image and mask files have to tell (files set aside, no rescale, padding).
    lowest
        Lowest intensity of each CT, by sequence.
    """

    patient: str
    remarks: tuple[Remark, ...]
    rows: tuple[dict[str, Any], ...]
    notes: tuple[str, ...] = ()
    lowest: Mapping[str, float] = field(default_factory=dict)

    @property
    def impossible(self) -> list[Remark]:
        """What has to be corrected or accepted."""
        return [item for item in self.remarks if item.severity == "impossible"]


def judge_patient(
    study: Study,
    patient: str,
    volumes: Mapping[str, Volume],
    labelmap: LabelMap | None = None,
    vois: Mapping[str, Volume] | None = None,
    *,
    made: bool = False,
    scaled: Mapping[str, Volume] | None = None,
) -> JudgedPatient:
    """Judge one patient's images, and structures and VOIs where there is a mask.

    Parameters
    ----------
    volumes
        By sequence, the one that masks are drawn on first.
    labelmap, vois
        Structures as stored, and the study's VOIs of them.
    made
        A network made them.
    scaled
        Images on the scale that features are measured on, where that is another.
    """
    images = study.images
    assert images is not None
    kinds: dict[str, Modality | None] = {name: item.modality for name, item in images.sequences.items()}
    names = available_structures(labelmap) if labelmap is not None else ()
    structures = {name: structure_mask(labelmap, name) for name in names if labelmap is not None}
    remarks = judge(volumes, structures, kinds, made=made)
    rows = []
    for sequence, volume in volumes.items():
        for name, mask in (vois or {}).items():
            if not volume.geometry.is_same(mask.geometry):
                continue
            values = measure_voi(name, mask, (scaled or {}).get(sequence, volume))
            rows.append({"patient": patient, "sequence": sequence, "modality": kinds[sequence], **values.to_json()})
    if patient in images.segmentation.accept_doubtful:
        remarks = accepted(remarks, "in the study file")
    notes = [
        f"{name}: {note}" if len(volumes) > 1 else note for name, volume in volumes.items() for note in volume.notes
    ]
    notes += labelmap.all_notes if labelmap is not None else []
    lowest = {name: lowest_value(volume) for name, volume in volumes.items() if kinds[name] == "CT"}
    return JudgedPatient(patient, tuple(remarks), tuple(rows), tuple(dict.fromkeys(notes)), lowest)


def with_second_reader(judged: JudgedPatient | None, second: JudgedPatient) -> JudgedPatient:
    """What is said of a patient, and of the second reader's mask what is not said already."""
    known = judged or JudgedPatient(second.patient, (), ())
    said = {str(item) for item in known.remarks}
    more = [replace(item, structure=f"second reader, {item.structure}") for item in second.remarks]
    fresh = [item for item, own in zip(more, second.remarks, strict=True) if str(own) not in said]
    return replace(known, remarks=(*known.remarks, *fresh))


def mixed_minima(judged: Sequence[JudgedPatient]) -> list[str]:
    """Sequences in which some CT are padded outside the field of view and others are not, or by another value.

    Filters read what lies outside, so features of one patient would come from other images than those of the next.
    """
    found = []
    for sequence in dict.fromkeys(name for item in judged for name in item.lowest):
        values = {item.patient: item.lowest[sequence] for item in judged if sequence in item.lowest}
        padded = {patient: value for patient, value in values.items() if value < AIR_LIMIT_HU}
        values_seen = sorted({round(value) for value in padded.values()})
        if not padded or (len(values_seen) == 1 and len(padded) == len(values)):
            continue
        found.append(
            f"{sequence}: the lowest values differ within the cohort: {len(padded)} of {len(values)} images hold some "
            f"below {AIR_LIMIT_HU:g} HU (down to {values_seen[0]}), padding outside the field of view that filters "
            f"would read: {name_patients(list(padded))}"
        )
    return found


def noted(found: Mapping[str, Sequence[str]]) -> list[tuple[str, list[str]]]:
    """Each note with its patients, in the order of the patients."""
    patients: dict[str, list[str]] = {}
    for patient, notes in found.items():
        for note in dict.fromkeys(notes):
            patients.setdefault(note, []).append(patient)
    return list(patients.items())


def gray_level_remarks(rows: Sequence[Mapping[str, Any]], width: float | None) -> dict[str, list[Remark]]:
    """Patients with too few or too many gray levels, from the rows of all."""
    found: dict[str, list[Remark]] = {}
    fields = VoiValues.__dataclass_fields__
    for row in rows:
        for item in judge_levels(VoiValues(**{name: row[name] for name in fields}), width):
            found.setdefault(str(row["patient"]), []).append(item)
    return found


def gray_level_facts(rows: Sequence[Mapping[str, Any]], width: float | None) -> list[str]:
    """How many gray levels each VOI has at the bin width, over patients and sequences."""
    found: dict[str, list[int]] = {}
    fields = VoiValues.__dataclass_fields__
    for row in rows:
        values = VoiValues(**{name: row[name] for name in fields})
        if width and np.isfinite(values.maximum - values.minimum):
            found.setdefault(values.voi, []).append(values.gray_levels(width))
    return [
        f"gray levels of {voi} at a bin width of {width:g}: {np.median(levels):g} ({min(levels)} to {max(levels)})"
        for voi, levels in found.items()
    ]


def write_volumes(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Volume (mL) and intensities (CT: HU) of every VOI, patient and sequence as CSV; outliers are marked."""
    far = {(item["patient"], item["sequence"], item["voi"], item["quantity"]) for item in outliers(rows)}
    names = ("patient", "sequence", "voi", "volume_ml", "median", "p5", "p95", "minimum", "maximum")
    table = pd.DataFrame([{name: row[name] for name in names} for row in rows], columns=list(names))
    keys = list(zip(table["patient"], table["sequence"], table["voi"], strict=True))
    marks = [[name for name in ("volume_ml", "median") if (*key, name) in far] for key in keys]
    table["outlier"] = [" ".join(mark) for mark in marks]
    write_text(path, cells(table).to_csv(index=False, lineterminator="\n", float_format="%.6g"))


def summed_up(found: Mapping[str, Sequence[Remark]]) -> list[tuple[str, str, str | None]]:
    """Severity, text and patient of every problem; a problem of many patients is told once, without a patient."""
    told: list[tuple[str, str, str | None]] = []
    for item, patients in group_remarks(found):
        severity = "error" if item.severity == "impossible" else "warning"
        if len(patients) == 1:
            told.append((severity, str(item), patients[0]))
            continue
        detail = f", {patients[0]}: {item.detail}" if item.detail else ""
        text = f"{item.structure}: {item.problem} ({len(patients)} patients: {name_patients(patients)}{detail})"
        told.append((severity, text, None))
    return told


def require_possible_cohort(judged: Sequence[JudgedPatient], *, pictures: str = "") -> None:
    """Stop before anything is measured where a patient's image and mask are impossible; all are listed.

    Parameters
    ----------
    pictures
        Where they are drawn.

    Raises
    ------
    ImageError
        With the patients, what is wrong, and how to overrule it.
    """
    wrong = {item.patient: item.impossible for item in judged if item.impossible}
    if not wrong:
        return
    texts = [f"{f'{patient}: ' if patient else ''}{text}" for _, text, patient in summed_up(wrong)]
    shown = texts[:20] + ([f"and {len(texts) - 20} more"] if len(texts) > 20 else [])
    look = f"look at {pictures}; " if pictures else ""
    raise ImageError(
        f"Image and mask of {len(wrong)} patient{'s are' if len(wrong) > 1 else ' is'} not plausible.",
        expected="HU (CT) and the masks of this patient's liver and tumor",
        found="\n    " + "\n    ".join(shown),
        remedy=f"{look}correct the files or images.segmentation.labels; if it is right as it is: {SWITCH}",
    )
