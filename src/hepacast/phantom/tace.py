"""A whole virtual TACE cohort on disk: images, masks, the clinical table with response and survival, and the truth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hepacast.core.executor import Progress, map_items
from hepacast.core.files import write_json, write_text
from hepacast.core.seeds import derive_seed, rng
from hepacast.errors import StudyFileError
from hepacast.imaging.io import write_labelmap, write_volume
from hepacast.phantom.labs import child_pugh
from hepacast.phantom.spec import PatientSpec, TumorSpec
from hepacast.phantom.tace_ct import TaceImage, make_tace_ct, rim_hu, uneven_hu
from hepacast.phantom.tace_truth import (
    TaceCauses,
    TaceCoefficients,
    aucs_of,
    draw_causes,
    tace_bayes,
    tace_coefficients,
)
from hepacast.phantom.truth import risk

#: The seed of the demo; its cohort is an ordinary one.
DEFAULT_SEED = 2025
#: Hazard of death a day without response, its ratio with response, last contact (days).
HAZARD, RESPONSE_RATIO, FOLLOW_UP_DAYS = 1 / 620.0, 0.50, (300.0, 1500.0)


@dataclass(frozen=True)
class TacePatient:
    """One virtual patient: what the table prints, what the scanner sees, and the truth."""

    patient: str
    group: str
    row: dict[str, Any]
    image: TaceImage
    causes: TaceCauses
    probability: float
    responded: int


def make_tace_cohort(
    out_dir: str | Path,
    n_training: int = 150,
    n_internal: int = 50,
    n_external: int = 70,
    *,
    seed: int = DEFAULT_SEED,
    effect: str = "planted",
    unmasked: int = 0,
    size: str = "demo",
    workers: int | None = 1,
    progress: Progress | None = None,
) -> Path:
    """Write a virtual cohort: ``images/``, ``masks/``, ``clinical.csv`` and ``truth.json``.

    Parameters
    ----------
    out_dir
        Folder to write into.
    n_training, n_internal, n_external
        Patients of hospital 1 for training and for internal validation, and of hospital 2.
    seed
        Fixes everything. A patient depends on the seed and his or her identifier alone.
    effect
        ``planted``: response by the logistic truth; ``none``: response independent of everything.
    unmasked
        Training patients without an expert's mask in ``expert/`` (the others' masks are there too).
    size
        ``demo``, ``full`` or ``tiny``.
    workers, progress
        Processes; ``progress(done, total)`` after each patient.

    Returns
    -------
    Path
        ``truth.json``.

    Raises
    ------
    StudyFileError
        Numbers of patients that make no cohort.
    """
    if n_training < 10 or min(n_internal, n_external, unmasked) < 0 or unmasked >= n_training:
        raise StudyFileError(
            "A virtual cohort needs patients.",
            expected="10 or more for training, fewer of them without a mask, none below 0",
            found=f"{n_training}, {n_internal}, {n_external}, {unmasked} without a mask",
        )
    folder, truth = Path(out_dir), tace_coefficients(effect)
    groups = ["training"] * n_training + ["internal"] * n_internal + ["external"] * n_external
    people = [draw_tace_patient(f"T{number:03d}", group, seed, truth) for number, group in enumerate(groups, start=1)]
    training = [person.patient for person in people if person.group == "training"]
    lacking = set(sorted(training, key=lambda name: derive_seed(seed, "tace-expert", name))[:unmasked])
    tasks = [_TaceImages(person, folder, size, person.patient not in lacking) for person in people]
    map_items(_write, tasks, workers=workers, progress=progress)
    table = pd.DataFrame([person.row for person in people], dtype=object)
    write_text(folder / "clinical.csv", table.to_csv(index=False, lineterminator="\n"))
    write_json(folder / "truth.json", _truth(people, truth, effect, seed))
    return folder / "truth.json"


def draw_tace_patient(patient: str, group: str, seed: int, truth: TaceCoefficients) -> TacePatient:
    """One patient; the same seed and identifier give the same one."""
    generator = rng(seed, "tace-patient", patient)
    causes = draw_causes(generator, 1)
    probability = float(risk(causes.linear_predictor(truth))[0])
    responded = int(generator.random() < probability)
    baseline, tumors = _baseline(causes, generator)
    spec = PatientSpec(
        patient=patient,
        seed=seed,
        sex=baseline["Sex"],
        tumors=tumors,
        texture=float(np.clip(generator.standard_normal(), -2.0, 2.0)),
        cirrhosis=bool(generator.random() < 0.6),
    )
    image = TaceImage(spec, float(causes.rim[0]), float(causes.texture[0]))
    center = {"training": "1", "internal": "1, later", "external": "2"}[group]
    row = {"patient": patient, "center": center, **baseline, **_follow_up(tumors, responded, generator)}
    return TacePatient(patient, group, row, image, causes, probability, responded)


def _baseline(causes: TaceCauses, generator: np.random.Generator) -> tuple[dict[str, Any], tuple[TumorSpec, ...]]:
    diameter = float(causes.diameter_mm[0])
    several = generator.random() < 0.3
    second = [TumorSpec("left", round(float(max(14.0, diameter * generator.uniform(0.3, 0.5)))))] if several else []
    alb = round(float(np.clip(generator.normal(38.0, 5.0), 22, 52)), 1)
    tb = round(float(np.clip(18.0 * np.exp(0.4 * generator.standard_normal()), 5, 60)), 1)
    row = {
        "Sex": "M" if generator.random() < 0.85 else "F",
        "Age (years)": round(float(np.clip(generator.normal(60, 11), 27, 86))),
        "Largest tumor diameter (cm)": round(diameter / 10, 1),
        "Number of tumors": ">=2" if several else "1",
        "Vascular invasion": int(causes.vessel[0]),
        "ALB (g/L)": alb,
        "TB (umol/L)": tb,
        "AFP (ng/mL)": round(float(np.clip(180.0 * np.exp(2.6 * generator.standard_normal()), 1.0, 90000)), 1),
        "CTP": child_pugh(tb, alb, 1.1, False),
    }
    return row, (TumorSpec("right", diameter), *second)


def _follow_up(tumors: tuple[TumorSpec, ...], responded: int, generator: np.random.Generator) -> dict[str, Any]:
    """Viable diameters after TACE from which mRECIST gives exactly the drawn response, and survival."""
    before = float(sum(tumor.diameter_mm for tumor in tumors[:2]))
    new_lesion = 0
    if responded:
        after = 0.0 if generator.random() < 0.35 else before * float(generator.uniform(0.1, 0.66))
    else:
        after = before * float(generator.uniform(0.76, 1.5))
        new_lesion = int(generator.random() < 0.12)
    hazard = HAZARD * (RESPONSE_RATIO if responded else 1.0)
    death, last = float(generator.exponential(1 / hazard)), float(generator.uniform(*FOLLOW_UP_DAYS))
    return {
        "Viable diameters before (mm)": round(before, 1),
        "Viable diameters after (mm)": round(after, 1),
        "New lesion": new_lesion,
        "Survival (days)": max(1, round(min(death, last))),
        "Death": int(death <= last),
    }


@dataclass(frozen=True)
class _TaceImages:
    person: TacePatient
    folder: Path
    size: str
    with_expert: bool


def _write(task: _TaceImages) -> None:
    scan, patient = make_tace_ct(task.person.image, task.size), task.person.patient
    write_volume(scan.image, task.folder / "images" / f"{patient}.nii.gz")
    write_labelmap(scan.labels, task.folder / "masks" / f"{patient}.nii.gz")
    if task.with_expert:
        write_labelmap(scan.labels, task.folder / "expert" / f"{patient}.nii.gz")


def _joined(people: list[TacePatient]) -> TaceCauses:
    parts = [person.causes for person in people]
    return TaceCauses(
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("rim", "texture", "diameter_mm", "vessel")
        )
    )


def _truth(people: list[TacePatient], truth: TaceCoefficients, effect: str, seed: int) -> dict[str, Any]:
    groups = {"all": people} | {
        name: [person for person in people if person.group == name] for name in ("training", "internal", "external")
    }
    return {
        "effect": effect,
        "seed": seed,
        "coefficients": {
            "intercept": truth.intercept,
            "rim_per_sd": truth.rim,
            "texture_per_sd": truth.texture,
            "log_diameter_per_sd": truth.size,
            "vascular_invasion": truth.vessel,
        },
        "bayes_auc": tace_bayes(truth).as_dict(),
        "auc_of_the_truth_on_these_patients": {
            name: aucs_of(truth, _joined(part), np.array([float(p.responded) for p in part])).as_dict()
            for name, part in groups.items()
            if part
        },
        "responders": {name: sum(person.responded for person in part) for name, part in groups.items()},
        "patients": [
            {
                "patient": person.patient,
                "set": person.group,
                "rim": person.image.rim,
                "rim_hu": rim_hu(person.image.rim),
                "texture": person.image.texture,
                "texture_hu": uneven_hu(person.image.texture),
                "probability": person.probability,
                "responded": person.responded,
            }
            for person in people
        ],
    }
