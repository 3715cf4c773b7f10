"""A whole virtual cohort on disk: images, some expert masks, the clinical table, and the truth."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hepacast.core.executor import Progress, map_items
from hepacast.core.files import atomic_path, write_json, write_text
from hepacast.core.seeds import derive_seed, rng
from hepacast.errors import StudyFileError
from hepacast.imaging.io import write_labelmap, write_volume
from hepacast.phantom.columns import CENTER_HEADER, CHARACTERISTICS, EXCLUSION_HEADER, FOLLOW_UP, PATIENT_HEADER
from hepacast.phantom.ct import LABELS, SIZES, make_ct
from hepacast.phantom.labs import VirtualPatient, draw_exclusion, draw_patient
from hepacast.phantom.readers import second_reader
from hepacast.phantom.spec import texture_amplitude
from hepacast.phantom.truth import (
    ALB_MEAN,
    ALB_SD,
    INR_MEAN,
    INR_SD,
    Coefficients,
    Effect,
    Predictors,
    bayes_auc,
    coefficients_of,
    drawn_auc,
)

#: The demo's seed; its cohort is an ordinary one: the truth reaches about its Bayes AUC in both sets.
DEFAULT_SEED = 2021
#: Patients reviewed for each one included, as in the leading study (500 for 210).
REVIEWED_PER_INCLUDED = 500 / 210
#: Share of values missing in columns that have no effect.
MISSING_SHARE = 0.012
#: An AFP below this (ng/mL) is printed as "<2".
AFP_DETECTION_LIMIT = 2.0


@dataclass(frozen=True)
class PhantomCohort:
    """What `make_cohort` has written.

    Parameters
    ----------
    folder
        The cohort's folder; the other paths lie in it.
    clinical, workbook
        ``clinical.csv`` and the same as ``clinical.xlsx`` with two sheets.
    images, masks, second_reader
        Files by patient: CT; label map (parenchyma 1, tumor 2) where an expert drew one; the second reader's.
    training, validation
        Patients of center 1 and of center 2.
    truth
        ``truth.json``.
    """

    folder: Path
    clinical: Path
    workbook: Path
    images: dict[str, Path]
    masks: dict[str, Path]
    second_reader: dict[str, Path]
    training: tuple[str, ...]
    validation: tuple[str, ...]
    truth: Path
    truth_masks: dict[str, Path] = field(default_factory=dict)


def make_cohort(
    out_dir: str | Path,
    n_train: int = 147,
    n_validation: int = 63,
    *,
    seed: int = DEFAULT_SEED,
    effect: Effect = "planted",
    n_masks: int = 30,
    n_second_reader: int = 20,
    n_reviewed: int | None = None,
    blemishes: bool = True,
    truth_masks: bool = False,
    size: str = "demo",
    truth: Coefficients | None = None,
    admits: Callable[[VirtualPatient], bool] = lambda person: True,
    workers: int | None = 1,
    progress: Progress | None = None,
) -> PhantomCohort:
    """Write a virtual cohort into the folder `out_dir`.

    Parameters
    ----------
    n_train, n_validation, seed, effect
        Included patients of center 1 (training) and 2 (external validation). A patient depends on the seed, the effect
        and the identifier alone. Outcomes follow the logistic truth, or nothing (``none``).
    n_masks, n_second_reader
        Patients with an expert's mask, of center 1 where it has enough; how many of them have a second reader's too.
    n_reviewed
        Patients in the table altogether; those beyond the included ones carry a reason for exclusion and have no
        image. When not given, 500 for 210. 0 or the number included: nobody is excluded.
    blemishes, truth_masks
        Leave values out (1.2 %, never INR, albumin, follow-up), print a low AFP as ``<2``; write all true masks too.
    truth, admits, size, workers, progress
        Another truth than the effect's; who of the population comes to this hospital; ``demo``, ``full`` or ``tiny``
        (see `hepacast.phantom.ct.make_ct`); processes; called after each image.

    Raises
    ------
    StudyFileError
        Numbers of patients that make no cohort.
    """
    folder, truth = Path(out_dir), coefficients_of(effect) if truth is None else truth
    _check_numbers(n_train, n_validation, n_masks, n_second_reader)
    comers = filter(admits, (draw_patient(f"P{number:03d}", 1, seed, truth) for number in count(1)))
    included = [replace(person, center=c) for c, person in zip([1] * n_train + [2] * n_validation, comers)]
    of_center = {center: tuple(p.patient for p in included if p.center == center) for center in (1, 2)}
    drawn_by_expert = _chosen([*_shuffled(of_center[1], seed), *_shuffled(of_center[2], seed)], n_masks)
    masks = {
        "masks": drawn_by_expert,
        "second_reader": _chosen(drawn_by_expert, n_second_reader),
        "truth_masks": [person.patient for person in included] if truth_masks else [],
    }
    tasks = [_PatientImages(p, folder, size, *(p.patient in names for names in masks.values())) for p in included]
    measured = dict(zip((p.patient for p in included), map_items(_write, tasks, workers=workers, progress=progress)))
    total = round(len(included) * REVIEWED_PER_INCLUDED) if n_reviewed is None else max(n_reviewed, len(included))
    table = _table(included, total, seed, truth, blemishes)
    write_text(folder / "clinical.csv", table.to_csv(index=False, lineterminator="\n"))
    _write_workbook(folder / "clinical.xlsx", table)
    write_json(folder / "truth.json", _truth(included, truth, effect, seed, size, measured, drawn_by_expert))
    return _written(folder, of_center, masks)


def _written(
    folder: Path, of_center: Mapping[int, tuple[str, ...]], masks: Mapping[str, Iterable[str]]
) -> PhantomCohort:
    """Where everything lies; `masks` names the patients who have masks of each kind."""
    paths = {kind: {name: _mask_path(folder, kind, name) for name in sorted(names)} for kind, names in masks.items()}
    return PhantomCohort(
        folder=folder,
        clinical=folder / "clinical.csv",
        workbook=folder / "clinical.xlsx",
        images={name: _image_path(folder, name) for names in of_center.values() for name in names},
        training=of_center[1],
        validation=of_center[2],
        truth=folder / "truth.json",
        **paths,
    )


@dataclass(frozen=True)
class _PatientImages:
    person: VirtualPatient
    folder: Path
    size: str
    with_mask: bool
    with_second_reader: bool
    with_truth_mask: bool


def _write(task: _PatientImages) -> dict[str, float]:
    """Write one patient's files; return the volumes (ml)."""
    patient = task.person.patient
    scan = make_ct(task.person.spec, task.size)
    write_volume(scan.image, _image_path(task.folder, patient))
    if task.with_mask:
        write_labelmap(scan.labels, _mask_path(task.folder, "masks", patient))
    if task.with_second_reader:
        again = second_reader(scan.labels, patient, task.person.spec.seed)
        write_labelmap(again, _mask_path(task.folder, "second_reader", patient))
    if task.with_truth_mask:
        write_labelmap(scan.labels, _mask_path(task.folder, "truth_masks", patient))
    ml = scan.labels.volume.geometry.voxel_volume_mm3 / 1000.0
    counts = np.bincount(scan.labels.volume.array.ravel(), minlength=3)
    return {name: float(counts[value] * ml) for name, value in LABELS.items()}


def _image_path(folder: Path, patient: str) -> Path:
    return folder / "images" / f"{patient}.nii.gz"


def _mask_path(folder: Path, kind: str, patient: str) -> Path:
    return folder / kind / f"{patient}.nii.gz"


def _check_numbers(n_train: int, n_validation: int, n_masks: int, n_second_reader: int) -> None:
    if n_train < 1 or n_validation < 0:
        raise StudyFileError(
            "A virtual cohort needs patients.", expected="n_train >= 1, n_validation >= 0",
            found=f"{n_train}, {n_validation}",
        )  # fmt: skip
    if n_masks < 0 or n_second_reader < 0:
        raise StudyFileError("Numbers of masks cannot be below 0.", found=f"{n_masks}, {n_second_reader}")


def _shuffled(patients: Sequence[str], seed: int) -> list[str]:
    return sorted(patients, key=lambda patient: derive_seed(seed, "phantom-expert", patient))


def _chosen(patients: Sequence[str], number: int) -> list[str]:
    return list(patients[:number])


def _table(
    included: Sequence[VirtualPatient], total: int, seed: int, truth: Coefficients, blemishes: bool
) -> pd.DataFrame:
    """All reviewed patients, in the order of their identifiers, under the headers with units."""
    rows = [_row(person, "") for person in included]
    for number in range(len(included) + 1, total + 1):
        patient = f"P{number:03d}"
        center = 1 if rng(seed, "phantom-center", patient).random() < 0.7 else 2
        reason = draw_exclusion(patient, seed)
        row = _row(draw_patient(patient, center, seed, truth), reason)
        if reason.startswith("Laboratory"):
            row |= {column.header: None for column in FOLLOW_UP}
        rows.append(row)
    if blemishes:
        for row in rows:
            _blemish(row, seed)
    return pd.DataFrame(rows, dtype=object)


def _row(person: VirtualPatient, reason: str) -> dict[str, Any]:
    row: dict[str, Any] = {PATIENT_HEADER: person.patient, CENTER_HEADER: person.center, EXCLUSION_HEADER: reason}
    for column in CHARACTERISTICS:
        row[column.header] = _printed(person.baseline[column.name], column.decimals)
    for column in FOLLOW_UP:
        row[column.header] = _printed(person.follow_up[column.name], column.decimals)
    return row


def _printed(value: Any, decimals: int) -> Any:
    """Whole numbers without a point, as a laboratory prints them."""
    return int(value) if isinstance(value, float) and decimals == 0 else value


def _blemish(row: dict[str, Any], seed: int) -> None:
    generator = rng(seed, "phantom-blemish", row[PATIENT_HEADER])
    for column in CHARACTERISTICS:
        missing = generator.random() < MISSING_SHARE
        if missing and column.name not in ("inr", "alb", "sex", "age"):
            row[column.header] = None
        elif column.name == "afp" and row[column.header] < AFP_DETECTION_LIMIT:
            row[column.header] = f"<{AFP_DETECTION_LIMIT:g}"


def _write_workbook(path: Path, table: pd.DataFrame) -> None:
    """Two sheets, as hospitals keep them: before TACE and after it."""
    after = [column.header for column in FOLLOW_UP]
    with atomic_path(path) as temporary, pd.ExcelWriter(temporary, engine="openpyxl") as writer:
        table.drop(columns=after).to_excel(writer, sheet_name="Before TACE", index=False)
        table[[PATIENT_HEADER, *after]].to_excel(writer, sheet_name="After TACE", index=False)


def _truth(
    included: Sequence[VirtualPatient],
    truth: Coefficients,
    effect: str,
    seed: int,
    size: str,
    volumes: dict[str, dict[str, float]],
    with_masks: Sequence[str],
) -> dict[str, Any]:
    groups = {
        "all": list(included),
        "training": [person for person in included if person.center == 1],
        "validation": [person for person in included if person.center == 2],
    }
    return {
        "effect": effect,
        "seed": seed,
        "size": {"name": size, "voxels": SIZES[size][0], "spacing_mm": SIZES[size][1]},
        "formula": (
            f"logit(p) = intercept + inr (INR - {INR_MEAN})/{INR_SD} + alb (ALB - {ALB_MEAN:g})/{ALB_SD} "
            "+ texture T; T is the hidden texture score"
        ),
        "coefficients": {
            "intercept": truth.intercept,
            "inr_per_sd": truth.inr,
            "alb_per_sd": truth.alb,
            "texture_per_sd": truth.texture,
            "inr_per_unit": truth.inr / INR_SD,
            "alb_per_g_per_L": truth.alb / ALB_SD,
        },
        "bayes_auc": bayes_auc(truth).as_dict(),
        "auc_of_the_truth_on_these_patients": {
            name: drawn_auc(truth, _predictors(people), np.array([p.outcome for p in people])).as_dict()
            for name, people in groups.items()
            if people
        },
        "events": {name: sum(person.outcome for person in people) for name, people in groups.items()},
        "masks": sorted(with_masks),
        "patients": [_patient_truth(person, volumes[person.patient]) for person in included],
    }


def _predictors(people: Sequence[VirtualPatient]) -> Predictors:
    return Predictors(
        inr=np.array([person.baseline["inr"] for person in people]),
        alb=np.array([person.baseline["alb"] for person in people]),
        texture=np.array([person.texture for person in people]),
    )


def _patient_truth(person: VirtualPatient, volumes: dict[str, float]) -> dict[str, Any]:
    return {
        "patient": person.patient,
        "set": "training" if person.center == 1 else "validation",
        "texture": person.texture,
        "texture_sd_hu": texture_amplitude(person.texture),
        "linear_predictor": person.linear_predictor,
        "risk": person.risk,
        "outcome": person.outcome,
        "tumors": [{"lobe": tumor.lobe, "diameter_mm": tumor.diameter_mm} for tumor in person.spec.tumors],
        "parenchyma_ml": volumes["parenchyma"],
        "tumor_ml": volumes["tumor"],
    }
