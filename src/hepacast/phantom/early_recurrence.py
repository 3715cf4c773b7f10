"""Virtual cohort of study D: three MR phases a patient, early recurrence by AST, diameter and a hidden wash-out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from hepacast.core.executor import Progress, map_items
from hepacast.core.files import write_json, write_text
from hepacast.core.seeds import rng
from hepacast.errors import StudyFileError
from hepacast.imaging.io import write_labelmap, write_volume
from hepacast.phantom.mr import PHASES, make_mr
from hepacast.phantom.resection import (
    DIAMETER_MEAN,
    DIAMETER_SD,
    LN_AST_MEAN,
    LN_AST_SD,
    draw_causes,
    draw_row,
    printed,
    tumors_of,
)
from hepacast.phantom.spec import PatientSpec
from hepacast.phantom.truth import expected_auc, risk

Effect = Literal["planted", "none"]
#: Early recurrence is a recurrence before this, months; nobody is followed for longer than `LONGEST`.
EARLY_MONTHS, LONGEST = 24.0, 72.0
_SIMULATED = 200_000


@dataclass(frozen=True)
class RecurrenceTruth:
    """Logistic truth: intercept, and effects of one SD of ln AST, of the diameter and of the hidden wash-out."""

    intercept: float
    ast: float
    diameter: float
    wash_out: float

    def linear_predictor(self, causes: dict[str, np.ndarray], *, image: bool = True, table: bool = True) -> np.ndarray:
        """Log odds of early recurrence; without a part, what the other says."""
        value = np.full(len(causes["hidden"]), self.intercept)
        if table:
            value = value + self.ast * (np.log(causes["ast"]) - LN_AST_MEAN) / LN_AST_SD
            value = value + self.diameter * (causes["tumor_diameter"] - DIAMETER_MEAN) / DIAMETER_SD
        return value + self.wash_out * causes["hidden"] if image else value


#: Event rate 0.58, as 96 of 165 in the leading study.
PLANTED = RecurrenceTruth(0.55, 1.30, 0.90, 2.50)
NOTHING = RecurrenceTruth(float(np.log(0.58 / 0.42)), 0.0, 0.0, 0.0)


def truth_of(effect: str) -> RecurrenceTruth:
    """The truth of a named effect.

    Raises
    ------
    StudyFileError
        Neither ``planted`` nor ``none``.
    """
    if effect not in ("planted", "none"):
        raise StudyFileError(f"The phantom knows no effect {effect!r}.", expected="planted, none")
    return PLANTED if effect == "planted" else NOTHING


def bayes_aucs(truth: RecurrenceTruth, number: int = _SIMULATED) -> dict[str, float]:
    """The best AUC that anyone can reach: with all causes, with the table alone, with the image alone."""
    causes = draw_causes(rng(0, "phantom-recurrence-bayes"), number)
    return _aucs(truth, causes, risk(truth.linear_predictor(causes)))


def _aucs(truth: RecurrenceTruth, causes: dict[str, np.ndarray], probability: np.ndarray) -> dict[str, float]:
    rate = float(np.mean(probability))
    if not 0 < rate < 1:
        return {"combined": float("nan"), "clinical": float("nan"), "image": float("nan"), "event_rate": rate}
    return {
        "combined": expected_auc(truth.linear_predictor(causes), probability),
        "clinical": expected_auc(truth.linear_predictor(causes, image=False), probability),
        "image": expected_auc(truth.linear_predictor(causes, table=False), probability),
        "event_rate": rate,
    }


@dataclass(frozen=True)
class _RecurrencePatient:
    patient: str
    seed: int
    row: dict[str, Any]
    causes: dict[str, float]
    early: int
    months: float
    event: int
    folder: Path
    size: str

    @property
    def spec(self) -> PatientSpec:
        generator = rng(self.seed, "phantom-recurrence-tumors", self.patient)
        return PatientSpec(
            self.patient, self.seed, self.row["sex"], tumors_of(self.row, generator), texture=self.causes["hidden"]
        )


def draw_patient(
    patient: str, seed: int, truth: RecurrenceTruth, folder: Path, size: str = "demo"
) -> _RecurrencePatient:
    """Draw one patient; only the seed, the identifier and the truth matter."""
    drawn = draw_causes(rng(seed, "phantom-recurrence-causes", patient), 1)
    probability = float(risk(truth.linear_predictor(drawn))[0])
    generator = rng(seed, "phantom-recurrence", patient)
    early = int(generator.random() < probability)
    causes = {name: float(values[0]) for name, values in drawn.items()}
    row = draw_row(causes, generator)
    months, event = _follow_up(early, probability, generator)
    return _RecurrencePatient(patient, seed, row, causes, early, months, event, folder, size)


def _follow_up(early: int, probability: float, generator: np.random.Generator) -> tuple[float, int]:
    """Months to recurrence or last contact: the higher the risk, the sooner an early recurrence comes."""
    if early:
        share = generator.beta(1.3, 1.0 + 1.2 * probability)
        return float(np.clip(EARLY_MONTHS * share, 1.0, EARLY_MONTHS - 0.1)), 1
    late = EARLY_MONTHS + float(generator.exponential(50.0))
    last = float(generator.uniform(EARLY_MONTHS + 3, LONGEST))
    return (late, 1) if late < last else (last, 0)


def _write(person: _RecurrencePatient) -> dict[str, Any]:
    """In a worker: one patient's images and mask; the true shifts."""
    scan = make_mr(person.spec, person.size)
    for phase in PHASES:
        write_volume(scan.images[phase], person.folder / "images" / person.patient / f"{phase}.nii.gz")
    write_labelmap(scan.labels, person.folder / "masks" / f"{person.patient}.nii.gz")
    shifts = {phase: scan.shifts[phase].tolist() for phase in PHASES[1:]}
    return {"patient": person.patient, "hidden": person.causes["hidden"], "early": person.early, "shifts": shifts}


def make_recurrence_cohort(
    folder: str | Path,
    n_training: int = 132,
    n_validation: int = 33,
    *,
    seed: int = 2025,
    effect: Effect | str = "planted",
    size: str = "demo",
    workers: int | None = 1,
    progress: Progress | None = None,
) -> Path:
    """Write images, masks, ``clinical.csv`` and ``truth.json``; returns the path of the truth.

    Parameters
    ----------
    n_training, n_validation
        Patients; the column ``set`` divides them (training, validation).
    effect
        ``planted``, or ``none``: recurrence at random.

    Raises
    ------
    StudyFileError
        An unknown effect, or no patients.
    """
    if n_training < 1 or n_validation < 0:
        raise StudyFileError("A virtual cohort needs patients.", found=f"{n_training}, {n_validation}")
    folder, truth = Path(folder), truth_of(effect)
    names = [f"M{number:03d}" for number in range(1, n_training + n_validation + 1)]
    people = [draw_patient(name, seed, truth, folder, size) for name in names]
    written = map_items(_write, people, workers=workers, progress=progress)
    rows = []
    for number, person in enumerate(people):
        rows.append({
            "patient": person.patient, "set": "training" if number < n_training else "validation",
            **printed(person.row), "Recurrence-free time (months)": round(person.months, 1),
            "Recurrence": "yes" if person.event else "no",
        })  # fmt: skip
    write_text(folder / "clinical.csv", pd.DataFrame(rows).to_csv(index=False, lineterminator="\n"))
    content = {
        "effect": effect,
        "seed": seed,
        "coefficients": {"ast_per_sd": truth.ast, "diameter_per_sd": truth.diameter, "wash_out_per_sd": truth.wash_out},
        "bayes_auc": bayes_aucs(truth),
        "auc_of_the_truth_on_these_patients": {
            name: _aucs(truth, _together(part), np.array([float(p.early) for p in part]))
            for name, part in (("training", people[:n_training]), ("validation", people[n_training:]))
            if part
        },
        "patients": written,
    }
    write_json(folder / "truth.json", content)
    return folder / "truth.json"


def _together(people: list[_RecurrencePatient]) -> dict[str, np.ndarray]:
    return {name: np.array([p.causes[name] for p in people]) for name in people[0].causes}
