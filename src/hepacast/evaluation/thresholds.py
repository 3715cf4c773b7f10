"""What a cut-off does: sensitivity, specificity, predictive values and accuracy with limits.

A cut-off is chosen in the training patients and applied, unchanged, to everybody else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from hepacast.core.records import Record
from hepacast.errors import ModelError
from hepacast.evaluation.event_by import EventBy
from hepacast.evaluation.predictions import Array, checked
from hepacast.stats.design import one_class_allowed
from hepacast.stats.intervals import Proportion, proportion, weighted_proportion
from hepacast.stats.ranks import halfway
from hepacast.stats.results import TestResult
from hepacast.stats.tests import mcnemar

MEASURES = ("sensitivity", "specificity", "ppv", "npv", "accuracy")


@dataclass(frozen=True)
class ThresholdRow(Record):
    """A cut-off in one set of patients: the four counts and the measures with their limits.

    A patient is called positive when the score is >= `threshold`. A measure nobody can be counted for (no positive
    call, say) has total 0 and NaN limits. By a horizon the counts are of those whose state is known, each standing for
    the censored by its weight. `name` says where the cut-off comes from.
    """

    threshold: float
    tp: float
    fp: float
    tn: float
    fn: float
    sensitivity: Proportion
    specificity: Proportion
    ppv: Proportion
    npv: Proportion
    accuracy: Proportion
    name: str = ""

    @property
    def youden(self) -> float:
        """Sensitivity + specificity - 1."""
        return self.sensitivity.value + self.specificity.value - 1.0

    @property
    def f1(self) -> float:
        """Harmonic mean of sensitivity and PPV; NaN when there is neither a case nor a positive call."""
        total = 2 * self.tp + self.fp + self.fn
        return 2.0 * self.tp / total if total else float("nan")

    @property
    def mcc(self) -> float:
        """Matthews' correlation; NaN when a row or a column of the table is empty."""
        product = float(self.tp + self.fp) * (self.tp + self.fn) * (self.tn + self.fp) * (self.tn + self.fn)
        return (self.tp * self.tn - self.fp * self.fn) / product**0.5 if product else float("nan")

    @property
    def likelihood_ratios(self) -> tuple[float, float]:
        """LR+ and LR-; infinite or NaN where a rate is 0."""
        sensitivity, specificity = self.sensitivity.value, self.specificity.value
        with np.errstate(divide="ignore", invalid="ignore"):
            positive = np.divide(sensitivity, 1.0 - specificity)
            negative = np.divide(1.0 - sensitivity, specificity)
        return float(positive), float(negative)

    def reasons(self) -> dict[str, str]:
        """Why a measure may have no finite value."""
        one_class = "nobody has the event" if self.tp + self.fn == 0 else "everybody has the event"
        both = self.tp + self.fn > 0 and self.fp + self.tn > 0
        return {
            "threshold": "no cut-off divides these patients",
            "youden": one_class,
            "f1": "nobody has the event, and nobody is called positive",
            "mcc": "everybody is called alike" if both else one_class,
            "lr_positive": "infinite: nobody without the event is called positive"
            if both and self.tp
            else one_class
            if not both
            else "nobody is called positive",
            "lr_negative": "infinite: everybody without the event is called positive"
            if both and self.fn
            else one_class
            if not both
            else "everybody is called positive",
        }


def at_threshold(
    y: ArrayLike | EventBy,
    score: ArrayLike,
    threshold: float,
    *,
    method: str = "exact",
    level: float = 0.95,
    name: str = "",
) -> ThresholdRow:
    """Counts and measures of calling patients with score >= `threshold` positive.

    Parameters
    ----------
    y
        Outcome, 0 or 1, or of `event_by`.
    method
        Interval of the proportions: `exact` (Clopper-Pearson), `wilson` or `wald`. By a horizon `exact` at the
        effective number of patients.

    Notes
    -----
    A set with one class only is allowed: the measures of the absent class are NaN with a reason.
    """
    known = y if isinstance(y, EventBy) else EventBy(one_class_allowed(y))
    values = np.asarray(score, dtype=float).ravel()
    if values.size != known.n or np.isnan(values).any():
        raise ModelError("The score does not fit the outcome.", expected=f"{known.n} numbers, none missing")
    if np.isnan(threshold):
        raise ModelError("The threshold is missing.", expected="a number")
    weights, positive = known.weights, values >= threshold
    counts = [_sum(weights.case[positive]), _sum(weights.control[positive])]
    counts += [_sum(weights.control[~positive]), _sum(weights.case[~positive])]
    tp, fp, tn, fn = counts

    def share(member: NDArray[np.bool_], weight: Array) -> Proportion:
        if known.complete:
            return proportion(int(weight[member].sum()), int(weight.sum()), method=method, level=level)
        return weighted_proportion(member, weight, level=level)

    both = weights.case + weights.control
    case = weights.case > 0
    return ThresholdRow(
        threshold=float(threshold),
        tp=tp,
        fp=fp,
        tn=tn,
        fn=fn,
        sensitivity=share(positive, weights.case),
        specificity=share(~positive, weights.control),
        ppv=share(case, np.where(positive, both, 0.0)),
        npv=share(~case, np.where(positive, 0.0, both)),
        accuracy=share(positive == case, both),
        name=name,
    )


def _sum(weights: Array) -> float:
    """A sum of weights; an integer where they are counts."""
    total = float(weights.sum())
    return int(total) if total.is_integer() else total


def youden_threshold(y: ArrayLike, score: ArrayLike) -> float:
    """The cut-off with the largest sensitivity + specificity, half way between two scores (pROC's choice).

    Of several equally good ones the lowest. To be chosen in the training patients only.
    """
    outcome, values = checked(y, score, what="score")
    order = np.argsort(values, kind="stable")
    ordered, sorted_y = values[order], outcome[order]
    last = np.flatnonzero(np.append(np.diff(ordered) > 0, True))
    below_events = np.cumsum(sorted_y)[last]
    below_others = np.cumsum(1.0 - sorted_y)[last]
    gain = below_others / (1.0 - outcome).sum() - below_events / outcome.sum()
    best = int(np.argmax(np.round(gain, 12)))
    # Cutting above everybody is no better than calling everybody positive: gain 0 either way.
    if gain[best] <= 1e-12:
        return float(-np.inf)
    return float(halfway(ordered[last[best]], ordered[last[best + 1]]))


def threshold_at(
    y: ArrayLike, score: ArrayLike, *, sensitivity: float | None = None, specificity: float | None = None
) -> float:
    """The cut-off that reaches a wanted sensitivity (the highest such) or specificity (the lowest such)."""
    outcome, values = checked(y, score, what="score")
    if (sensitivity is None) == (specificity is None):
        raise ModelError("Say either the sensitivity or the specificity to reach.")
    wanted = sensitivity if sensitivity is not None else specificity
    if wanted is None or not 0.0 < wanted <= 1.0:
        raise ModelError("A sensitivity or specificity lies between 0 and 1.", found=str(wanted))
    group = np.sort(values[outcome == (1.0 if sensitivity is not None else 0.0)])
    needed = int(np.ceil(wanted * group.size - 1e-9))
    if sensitivity is not None:
        return float(group[group.size - needed])
    above = values[values > group[needed - 1]]
    return float(halfway(group[needed - 1], above.min())) if above.size else float(np.inf)


def threshold_table(
    sets: Mapping[str, tuple[ArrayLike, ArrayLike]],
    thresholds: float | Mapping[str, float] | Sequence[float],
    *,
    method: str = "exact",
    level: float = 0.95,
) -> pd.DataFrame:
    """Cut-offs in several sets of patients, one row a set and cut-off, as papers print them.

    Parameters
    ----------
    sets
        (outcome, score) by name of the set, such as training and validation.
    thresholds
        One cut-off, several, or several by name (`{"Youden": 0.31}`), the same for all sets.
    """
    if isinstance(thresholds, Mapping):
        named = {str(name): float(value) for name, value in thresholds.items()}
    else:
        named = {f"{value:.4g}": float(value) for value in np.atleast_1d(np.asarray(thresholds, dtype=float))}
    rows = []
    for set_name, (y, score) in sets.items():
        for name, value in named.items():
            row = at_threshold(y, score, value, method=method, level=level)
            record: dict[str, Any] = {"set": set_name, "cut-off": name, "threshold": value}
            record |= {"tp": row.tp, "fp": row.fp, "tn": row.tn, "fn": row.fn}
            for measure in MEASURES:
                share: Proportion = getattr(row, measure)
                record |= {measure: share.value, f"{measure}_low": share.low, f"{measure}_high": share.high}
            record["youden"] = row.youden
            rows.append(record)
    return pd.DataFrame(rows)


def compare_calls(positive1: ArrayLike, positive2: ArrayLike, *, exact: bool = False) -> TestResult:
    """McNemar's test of two classifications of the same patients."""
    first, second = np.asarray(positive1, dtype=bool), np.asarray(positive2, dtype=bool)
    if first.shape != second.shape:
        raise ModelError("The two classifications differ in length.")
    table = [[int(((first == a) & (second == b)).sum()) for b in (False, True)] for a in (False, True)]
    return mcnemar(table, exact=exact)
