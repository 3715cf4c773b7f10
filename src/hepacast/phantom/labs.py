"""Laboratory values and findings of virtual patients, before and after TACE.

Marginal distributions follow the pooled columns of the leading study's Table 2 (medians, quartiles, shares); tumors are
drawn somewhat smaller, so that enough parenchyma remains in a small picture. Only INR and albumin bear on the outcome.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from hepacast.core.seeds import rng
from hepacast.phantom.columns import CHARACTERISTICS, EXCLUSION_REASONS, FOLLOW_UP
from hepacast.phantom.spec import PatientSpec, TumorSpec
from hepacast.phantom.truth import Coefficients, draw_predictors

#: The outcome's limits (APASL 2019, as the leading study uses them): umol/L, INR, %, days.
TB_LIMIT, INR_LIMIT, PTA_LIMIT, DAYS_LIMIT = 85.0, 1.5, 40.0, 28
_DECIMALS = {column.name: column.decimals for column in (*CHARACTERISTICS, *FOLLOW_UP) if column.kind == "numeric"}

Row = dict[str, Any]


@dataclass(frozen=True)
class VirtualPatient:
    """One virtual patient with the truth about him or her.

    Parameters
    ----------
    patient, center
        Study identifier and center (1 or 2).
    baseline, follow_up
        Values by canonical column name.
    spec
        What the CT shows.
    texture, linear_predictor, risk
        The hidden truth.
    outcome
        1 = liver failure within 4 weeks.
    """

    patient: str
    center: int
    baseline: Row
    follow_up: Row
    spec: PatientSpec
    texture: float
    linear_predictor: float
    risk: float
    outcome: int


def draw_patient(patient: str, center: int, seed: int, truth: Coefficients) -> VirtualPatient:
    """Draw one patient; only `seed`, `patient` and the truth matter, not the order in which patients are drawn."""
    causes = draw_predictors(rng(seed, "phantom-causes", patient), 1)
    inr, alb, texture = float(causes.inr[0]), float(causes.alb[0]), float(causes.texture[0])
    linear = float(truth.linear_predictor(causes.inr, causes.alb, causes.texture)[0])
    probability = float(1.0 / (1.0 + np.exp(-linear)))
    outcome = int(rng(seed, "phantom-outcome", patient).random() < probability)
    generator = rng(seed, "phantom-labs", patient)
    baseline, tumors = _baseline(inr, alb, generator)
    follow_up = _follow_up(baseline, outcome, generator)
    sex: Literal["M", "F"] = "M" if baseline["sex"] == "M" else "F"
    spec = PatientSpec(
        patient=patient,
        seed=seed,
        sex=sex,
        tumors=tumors,
        texture=texture,
        cirrhosis=bool(baseline["cirrhosis"]),
        ascites=bool(baseline["hydroperitoneum"]),
        embolus=bool(baseline["embolus"]),
    )
    return VirtualPatient(patient, center, baseline, follow_up, spec, texture, linear, probability, outcome)


def _baseline(inr: float, alb: float, generator: np.random.Generator) -> tuple[Row, tuple[TumorSpec, ...]]:
    """The characteristics of Table 2, with the correlations that the laboratory would show."""
    low_alb = (38.0 - alb) / 5.2
    row: Row = {"sex": "M" if generator.random() < 0.87 else "F"}
    row["age"] = float(np.clip(generator.normal(61.5, 11.0), 28, 87))
    tumors = draw_tumors(generator)
    lobes = {tumor.lobe for tumor in tumors}
    row["tumor_location"] = "both" if len(lobes) == 2 else lobes.pop()
    row["tumor_number"] = "1" if len(tumors) == 1 else ">=2"
    row["tumor_diameter"] = sum(tumor.diameter_mm for tumor in tumors) / 10.0
    row["cirrhosis"] = int(generator.random() < 0.60)
    row["hydroperitoneum"] = int(generator.random() < 1 / (1 + np.exp(1.32 - 0.55 * low_alb)))
    row |= _blood_count(row, generator)
    row |= _coagulation(inr, generator)
    row |= _chemistry(low_alb, generator)
    row["alb"], row["inr"] = alb, inr
    row["embolus"] = int(generator.random() < 0.38)
    row["ctp"] = child_pugh(row["tb"], alb, inr, bool(row["hydroperitoneum"]))
    ordered = {column.name: row[column.name] for column in CHARACTERISTICS}
    return _rounded(ordered), tumors


def draw_tumors(generator: np.random.Generator) -> tuple[TumorSpec, ...]:
    """One to four tumors, largest first; single ones in 58 %, most of them in the right lobe."""
    number = 1 + int(np.searchsorted(np.cumsum([0.58, 0.26, 0.11]), generator.random()))
    largest = float(np.clip(54.0 * np.exp(0.40 * generator.standard_normal()), 18.0, 94.0))
    diameters = [largest, *(largest * generator.uniform(0.3, 0.75, size=number - 1))]
    in_left = generator.random() < 0.12
    tumors = []
    for order, diameter in enumerate(sorted(np.maximum(diameters, 14.0), reverse=True)):
        other_side = order > 0 and generator.random() < 0.10
        left = in_left != other_side
        tumors.append(TumorSpec("left" if left else "right", round(float(min(diameter, 62.0 if left else 94.0)), 0)))
    return tuple(sorted(tumors, key=lambda tumor: -tumor.diameter_mm))


def _lognormal(generator: np.random.Generator, median: float, sigma: float, shift: float = 0.0) -> float:
    return float(median * np.exp(sigma * (generator.standard_normal() + shift)))


def _blood_count(row: Row, generator: np.random.Generator) -> Row:
    rbc = generator.standard_normal()
    hb = 0.8 * rbc + 0.6 * generator.standard_normal()
    return {
        "wbc": float(np.clip(_lognormal(generator, 5.4, 0.38), 1.5, 20)),
        "neutrophil": float(np.clip(generator.normal(65.6, 9.6), 30, 92)),
        "rbc": float(np.clip(4.12 + 0.62 * rbc, 2.3, 6.0)),
        "hb": float(np.clip(126.0 + 23.0 * hb, 62, 182)),
        "plt": float(np.clip(_lognormal(generator, 145.0, 0.52, -0.35 * (row["cirrhosis"] - 0.6)), 25, 600)),
    }


def _coagulation(inr: float, generator: np.random.Generator) -> Row:
    score = np.log(inr / 1.06) / 0.12
    return {
        # As in the leading study, where INR tells of the outcome and the prothrombin time in seconds (of another
        # reagent and another day) does not: the two agree but loosely.
        "pt": float(np.clip(12.6 * inr**0.35 + generator.normal(0, 1.3), 9.0, 20.0)),
        "tt": float(np.clip(generator.normal(18.2, 1.9), 13, 26)),
        "aptt": float(np.clip(_lognormal(generator, 30.2, 0.19, 0.35 * score), 20, 60)),
    }


def _chemistry(low_alb: float, generator: np.random.Generator) -> Row:
    damage = generator.standard_normal()
    return {
        "ast": float(np.clip(_lognormal(generator, 54.0, 0.48, 0.8 * damage), 12, 480)),
        "alt": float(np.clip(_lognormal(generator, 42.0, 0.58, 0.7 * damage), 8, 520)),
        "tb": float(np.clip(_lognormal(generator, 18.6, 0.36, 0.2 * low_alb), 5.0, 50.0)),
        "glu": float(np.clip(_lognormal(generator, 5.05, 0.18), 3.4, 15)),
        "ggt": float(np.clip(_lognormal(generator, 120.0, 0.90), 12, 1600)),
        "afp": float(np.clip(_lognormal(generator, 220.0, 3.2), 0.9, 121000)),
    }


def child_pugh(tb: float, alb: float, inr: float, ascites: bool) -> str:
    """Child-Pugh class without encephalopathy (bilirubin 34/51 umol/L, albumin 35/28 g/L, INR 1.7/2.3, ascites)."""
    points = 1
    points += 1 + (tb > 34) + (tb > 51)
    points += 1 + (alb < 35) + (alb < 28)
    points += 1 + (inr > 1.7) + (inr > 2.3)
    points += 2 if ascites else 1
    return "A" if points <= 6 else "B" if points <= 9 else "C"


def _follow_up(baseline: Row, outcome: int, generator: np.random.Generator) -> Row:
    """Values after TACE from which the definition gives exactly the drawn outcome."""
    fired = _conditions(generator) if outcome else (False, False, False)
    jaundice, coagulation, decompensation = fired
    inr = float(np.clip(baseline["inr"] * np.exp(abs(generator.normal(0.05, 0.05))), 0.85, 1.5))
    tb = float(np.clip(baseline["tb"] * np.exp(abs(generator.normal(0.25, 0.25))), 5.0, 84.0))
    if jaundice:
        tb = float(np.clip(TB_LIMIT * np.exp(abs(generator.normal(0.0, 0.45))), TB_LIMIT, 420.0))
    low_activity = False
    if coagulation:
        low_activity = generator.random() < 0.2
        if not low_activity:
            inr = float(np.clip(1.52 * np.exp(abs(generator.normal(0.0, 0.18))), 1.52, 3.2))
    activity = float(np.clip(100.0 * (1.06 / inr) ** 1.45 + generator.normal(0, 4), 41.0, 130.0))
    if low_activity or inr > 2.0:
        activity = float(generator.uniform(24, 39))
    only_head = decompensation and generator.random() < 0.18
    row = {
        "tb_after": tb,
        "inr_after": inr,
        "pta_after": activity,
        "ascites_after": int(decompensation and not only_head),
        "encephalopathy_after": int(only_head or (decompensation and generator.random() < 0.15)),
        "onset_days": float(1 + min(DAYS_LIMIT - 1, int(generator.gamma(2.2, 3.6)))) if outcome else None,
    }
    return _rounded(row)


def _conditions(generator: np.random.Generator) -> tuple[bool, bool, bool]:
    """Which conditions fire in a patient with the outcome: at least one of the three."""
    while True:
        fired = generator.random(3) < (0.42, 0.45, 0.55)
        if fired.any():
            return bool(fired[0]), bool(fired[1]), bool(fired[2])


def _rounded(row: Row) -> Row:
    return {
        name: round(value, _DECIMALS[name]) if name in _DECIMALS and value is not None else value
        for name, value in row.items()
    }


def meets_definition(follow_up: Row) -> bool:
    """The outcome's definition, written out once more for a check of the phantom against itself."""
    return bool(
        follow_up["tb_after"] >= TB_LIMIT
        or follow_up["inr_after"] > INR_LIMIT
        or follow_up["pta_after"] < PTA_LIMIT
        or follow_up["ascites_after"]
        or follow_up["encephalopathy_after"]
    )


def draw_exclusion(patient: str, seed: int) -> str:
    """Why a reviewed patient was left out."""
    reasons = list(EXCLUSION_REASONS)
    shares = np.array(list(EXCLUSION_REASONS.values()))
    return reasons[int(rng(seed, "phantom-exclusion", patient).choice(len(reasons), p=shares / shares.sum()))]
