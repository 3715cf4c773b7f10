"""What validation showed of a model, in the few numbers that stand beside every prediction, and what speaks against it.

Made from the results of a run (`evaluation.json` and `validation.json`), so that report and bundle
say the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scipy.stats import binom, norm

from hepacast.core.estimates import Estimate
from hepacast.core.records import Record
from hepacast.evaluation.results import SetResult
from hepacast.evaluation.verdicts import validation_verdicts
from hepacast.stats.intervals import ci_label

_NAN = math.nan
#: Words for the sets of a run.
WHERE = {
    "validation": "validation set",
    "external": "external set",
    "nested": "nested cross-validation of the training set",
}
#: Coverage is broken where so few sets hold the truth has at most this probability at the promised level.
BROKEN = 0.05


@dataclass(frozen=True)
class ValidatedPerformance(Record):
    """A model in one set that it was not fitted to; NaN where something could not be estimated.

    Attributes
    ----------
    set
        ``validation``, ``external`` or ``nested``.
    n, events
        Patients, and those with the event.
    measure
        ``AUC`` or ``C``.
    value, low, high
        Of the measure.
    slope, observed_expected
        Calibration slope, and observed over expected events (of time to an event: at the main horizon), each
        ``(value, low, high)``.
    """

    set: str
    n: int
    events: int
    measure: str
    value: float
    low: float
    high: float
    slope: tuple[float, float, float] = (_NAN, _NAN, _NAN)
    observed_expected: tuple[float, float, float] = (_NAN, _NAN, _NAN)

    def text(self, level: float) -> str:
        """``AUC 0.71 (95% CI 0.60 to 0.81), calibration slope 0.90, ...: 64 patients (20 events), validation set``."""
        parts = [f"{self.measure} {self.value:.2f}" if math.isfinite(self.value) else f"{self.measure} not known"]
        if math.isfinite(self.low) and math.isfinite(self.high):
            parts[0] += f" ({ci_label(level)} {self.low:.2f} to {self.high:.2f})"
        for words, (value, _, _) in (
            ("calibration slope", self.slope),
            ("observed/expected events", self.observed_expected),
        ):
            if math.isfinite(value):
                parts.append(f"{words} {value:.2f}")
        where = WHERE.get(self.set, self.set)
        return f"{', '.join(parts)}: {self.n} patients ({self.events} with the event), {where}"


#: What each change of a model is called.
UPDATES = {"intercept": "a new intercept", "slope": "a new intercept and slope", "refit": "new coefficients"}


@dataclass(frozen=True)
class ModelLineage(Record):
    """How a model was adapted to other patients, and how it did there before and after.

    Attributes
    ----------
    parent
        Identity of the model file that was updated.
    study, outcome, n, events
        Where, and patients with their events.
    method, intercept, slope, p
        Key of `UPDATES`; the change of the linear predictor (NaN of new coefficients); P of the closed test against new
        coefficients.
    before, after
        In those patients; `after` is apparent, as the change was fitted to them.
    """

    parent: str
    study: str
    outcome: str
    n: int
    events: int
    method: str
    before: ValidatedPerformance
    after: ValidatedPerformance
    intercept: float = _NAN
    slope: float = _NAN
    p: float = _NAN
    level: float = 0.95

    def text(self) -> str:
        """One line for whoever reads a prediction."""
        before, after = (item.text(self.level) for item in (self.before, self.after))
        how = UPDATES.get(self.method, self.method)
        return f"updated by {how} in {self.study}; before: {before}; after, in the same patients: {after}"


def validated_performance(sets: Mapping[str, SetResult], model: str) -> list[ValidatedPerformance]:
    """New patients first (validation set, external set), then nested cross-validation; never apparent numbers."""
    found = []
    for name in WHERE:
        item = sets.get(name)
        if item is None or model not in item.models:
            continue
        own, fit = item.models[model], item.models[model].main.calibration
        limits = _triple(own.discrimination)
        slope, ratio = (_triple(None), _triple(None)) if fit is None else (
            _triple(fit.slope), _triple(fit.observed_expected))  # fmt: skip
        found.append(ValidatedPerformance(name, item.n, item.events, own.measure, *limits, slope, ratio))
    return found


def performance_verdicts(
    rows: Sequence[ValidatedPerformance], validation: Mapping[str, Any], model: str, level: float
) -> list[str]:
    """What the rows of one model say against it, in sentences, the gravest first (`validation_verdicts`)."""
    nested = next((row for row in rows if row.set == "nested"), None)
    corrected = ((validation.get("bootstrap") or {}).get("corrected") or {}).get("value")
    told: list[str] = []
    # Each set of new patients, then nested cross-validation against the bootstrap.
    for frozen in (*(row for row in rows if row.set != "nested"), None):
        judged = frozen or nested
        if judged is None:
            continue
        found = validation_verdicts(
            nested=None if nested is None else _known((nested.value, nested.low, nested.high), level),
            bootstrap=_NAN if corrected is None else float(corrected),
            frozen=None if frozen is None else _known((frozen.value, frozen.low, frozen.high), level),
            slope=None if frozen is None else _known(frozen.slope, level),
            observed_expected=None if frozen is None else _known(frozen.observed_expected, level),
            model=model,
            where=WHERE.get(judged.set, judged.set),
            measure=judged.measure,
            level=level,
        )
        told += [item.sentence for item in found]
    return list(dict.fromkeys(told))


def verdicts_of(
    sets: Mapping[str, SetResult],
    validated: Mapping[str, Any],
    level: float,
    fits: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, list[str]]:
    """What speaks against each model of a run, in sentences (`performance_verdicts`).

    Parameters
    ----------
    sets
        By name.
    validated
        ``models`` of `validation.json` .
    fits
        Of each model what its fit says against it; it comes first.
    """
    told = fits or {}
    return {
        model: [*told.get(model, ()), *performance_verdicts(validated_performance(sets, model), entry, model, level)]
        for model, entry in validated.items()
    }


def coverage_is_broken(share: float, n: float, level: float) -> bool:
    """Whether so few of n conformal sets held the truth that the promised level cannot be believed.

    One-sided binomial test at `BROKEN`; a share that is not known breaks nothing.
    """
    if not math.isfinite(share) or not math.isfinite(n) or n < 1:
        return False
    size = round(n)
    return bool(binom.cdf(round(share * size), size, level) < BROKEN)


def _known(values: tuple[float, float, float], level: float) -> Estimate:
    value, low, high = values
    z = float(norm.ppf(0.5 + level / 2))
    return Estimate(value, low, high, level, (high - low) / (2 * z))


def _triple(item: Estimate | None) -> tuple[float, float, float]:
    return (_NAN, _NAN, _NAN) if item is None else (item.value, item.low, item.high)
