"""Whether a model's honest estimates agree, and whether its risks hold in patients it has never seen: one rule."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.stats import norm

from hepacast.core.estimates import Estimate
from hepacast.stats.intervals import ci_label


@dataclass(frozen=True)
class ValidationVerdict:
    """One thing that failed.

    Attributes
    ----------
    kind
        ``chance`` (no better than chance where nested validation said otherwise), ``reversed`` (worse than chance),
        ``disagreement`` (of two estimates beyond chance), ``slope`` or ``observed-expected`` (calibration).
    sentence
        For the reader, with the numbers.
    """

    kind: str
    sentence: str


def validation_verdicts(
    *,
    nested: Estimate | None = None,
    bootstrap: float = math.nan,
    frozen: Estimate | None = None,
    slope: Estimate | None = None,
    observed_expected: Estimate | None = None,
    model: str = "main",
    where: str = "validation set",
    measure: str = "AUC",
    level: float = 0.95,
) -> list[ValidationVerdict]:
    """What the numbers of a model's validation say against it, the gravest first; empty where nothing does.

    Two estimates from different patients (nested cross-validation in training, frozen model elsewhere) disagree when
    their difference is larger than chance makes it: |a - b| > z sqrt(se_a^2 + se_b^2). The bootstrap uses the same
    patients as nested validation, so it disagrees when it lies outside nested validation's interval. A slope whose
    interval excludes 1 and a ratio of observed to expected events whose interval excludes 1 are failures of
    calibration (Van Calster et al., BMC Med 2019;17:230).

    Parameters
    ----------
    nested
        AUC (or C) of nested cross-validation, with its standard error.
    bootstrap
        AUC (or C) corrected for optimism by the bootstrap.
    frozen
        AUC (or C) of the frozen model in patients it has never seen, with its standard error.
    slope, observed_expected
        Of the frozen model in those patients, with limits.
    model, where, measure
        As the sentences name them.
    level
        Of the intervals.
    """
    z = float(norm.ppf(0.5 + level / 2.0))
    return [
        *_against_chance(nested, frozen, z, model, where, measure, ci_label(level)),
        *_disagreement(nested, bootstrap, frozen, z, model, where, measure),
        *_calibration(slope, observed_expected, model, where, ci_label(level)),
    ]


def _signed(value: float) -> str:
    return f"{value:.2f}".replace("-", "\N{MINUS SIGN}")


def _limits(item: Estimate, z: float) -> tuple[float, float]:
    if math.isfinite(item.low) and math.isfinite(item.high):
        return item.low, item.high
    return item.value - z * item.se, item.value + z * item.se


def _against_chance(
    nested: Estimate | None, frozen: Estimate | None, z: float, model: str, where: str, measure: str, ci: str
) -> list[ValidationVerdict]:
    if frozen is None:
        return []
    low, high = _limits(frozen, z)
    if not math.isfinite(low) or not math.isfinite(high):
        return []
    shown = f"{measure} {frozen.value:.3f}"
    if high < 0.5:
        text = (
            f"In the {where} the {model} model does worse than chance ({shown}): there its order of risks is reversed."
        )
        return [ValidationVerdict("reversed", text)]
    promised = nested is not None and _limits(nested, z)[0] > 0.5
    if low <= 0.5 and promised:
        text = (
            f"In the {where} the {model} model does not do better than chance beyond doubt ({shown}, {ci} "
            f"{max(low, 0.0):.3f} to {min(high, 1.0):.3f}): its discrimination is not confirmed in new patients."
        )
        return [ValidationVerdict("chance", text)]
    return []


def _disagreement(
    nested: Estimate | None,
    bootstrap: float,
    frozen: Estimate | None,
    z: float,
    model: str,
    where: str,
    measure: str,
) -> list[ValidationVerdict]:
    if nested is None or not math.isfinite(nested.value) or not math.isfinite(nested.se):
        return []
    found = []
    if frozen is not None and math.isfinite(frozen.value) and math.isfinite(frozen.se):
        gap = frozen.value - nested.value
        if abs(gap) > z * math.hypot(nested.se, frozen.se):
            what = "worse" if gap < 0 else "better"
            text = (
                f"The {model} model does {what} in the {where} ({measure} {frozen.value:.3f}) than nested "
                f"cross-validation in the training set promised ({nested.value:.3f}), by more than chance explains: "
                "the two estimates disagree, and the patients of the two sets differ."
            )
            found.append(ValidationVerdict("disagreement", text))
    low, high = _limits(nested, z)
    if math.isfinite(bootstrap) and not low <= bootstrap <= high:
        text = (
            f"Bootstrap and nested cross-validation of the {model} model disagree ({measure} {bootstrap:.3f} against "
            f"{nested.value:.3f}): where a chain selects among many variables, the bootstrap corrects too little, and "
            "nested cross-validation is the number to trust."
        )
        found.append(ValidationVerdict("disagreement", text))
    return found


def _excludes_one(item: Estimate | None) -> bool:
    return item is not None and math.isfinite(item.low) and math.isfinite(item.high) and not item.low <= 1 <= item.high


def _calibration(
    slope: Estimate | None, ratio: Estimate | None, model: str, where: str, ci: str
) -> list[ValidationVerdict]:
    found = []
    if ratio is not None and _excludes_one(ratio):
        text = (
            f"Risks of the {model} model do not carry over to the {where}: the observed risk is {ratio.value:.2f} "
            f"times the predicted one ({ci} {ratio.low:.2f} to {ratio.high:.2f}). Even where the model orders these "
            "patients, it does not tell their risk without recalibration."
        )
        found.append(ValidationVerdict("observed-expected", text))
    if slope is not None and _excludes_one(slope):
        if slope.high <= 0:
            what = "higher predicted risks go with fewer events"
        elif slope.value < 1:
            what = "high risks are predicted too high and low ones too low"
        else:
            what = "predicted risks are not spread enough"
        text = (
            f"The calibration slope of the {model} model in the {where} is {_signed(slope.value)} ({ci} "
            f"{_signed(slope.low)} to {_signed(slope.high)}), not 1: {what}."
        )
        found.append(ValidationVerdict("slope", text))
    return found
