"""Cut-offs of a predicted risk, fixed in the training patients: Youden, median, maximally selected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hepacast.errors import HepacastError
from hepacast.modelling.base import Array
from hepacast.modelling.targets import has_time
from hepacast.stats.censoring import censoring_model
from hepacast.stats.cutpoint import maxstat_cut

CutRule = Literal["median", "maxstat", "youden"]


@dataclass(frozen=True)
class RiskCut:
    """A cut-off: high risk is at or above `value`; NaN (with `note`) where there is none.

    Attributes
    ----------
    p
        Of maximally selected rank statistics, corrected for the search (Lau 1994); else NaN.
    """

    value: float
    rule: str
    p: float = float("nan")
    note: str = ""


def risk_cut(y: NDArray[Any], risk: Array, rule: CutRule, horizon: float) -> RiskCut:
    """A cut-off of a risk.

    Parameters
    ----------
    y
        0 and 1, shape (n,), for which there is ``youden`` only; or time and code, shape (n, 2).
    risk
        Shape (n,).
    rule
        ``median`` of the risk; ``maxstat``: the cut that separates survival most, leaving 10 % on either side;
        ``youden``: greatest sensitivity + specificity (for the event by `horizon`, weighted for censoring).
    """
    if not has_time(y):
        return RiskCut(youden_cutoff(y, risk), "youden")
    times, codes = y[:, 0], y[:, 1]
    values = np.unique(risk)
    if len(values) < 2:
        return RiskCut(float("nan"), rule, note="all patients have the same risk")
    middle = (values[1:] + values[:-1]) / 2
    if rule == "median":
        return RiskCut(float(np.median(risk)), rule)
    if rule == "maxstat":
        try:
            found = maxstat_cut(times, (codes == 1).astype(float), risk)
        except HepacastError as error:
            return RiskCut(float("nan"), rule, note=error.message)
        return RiskCut(found.threshold, rule, p=found.p_lau94)
    weight = censoring_model(times, (codes > 0).astype(float)).before(times)
    case = np.where((times <= horizon) & (codes == 1), 1.0 / np.where(weight > 0, weight, 1.0), 0.0)
    control = (times > horizon).astype(float)
    if case.sum() == 0 or control.sum() == 0:
        return RiskCut(float("nan"), rule, note=f"no events by {horizon:g}, or nobody observed beyond")
    high = risk[None, :] >= middle[:, None]
    youden = high @ case / case.sum() - high @ control / control.sum()
    return RiskCut(float(middle[int(np.argmax(np.round(youden, 12)))]), rule)


def youden_cutoff(y: Array, risk: Array) -> float:
    """Risk with the greatest sensitivity + specificity - 1 when "high" means at or above it.

    Candidates lie halfway between neighboring risks; of equal ones the lowest (most sensitive) is taken. NaN when all
    risks are equal: there is nothing to cut.
    """
    events = np.asarray(y) == 1
    values = np.unique(risk)
    if len(values) < 2:
        return float("nan")
    cuts = (values[1:] + values[:-1]) / 2
    sorted_events, sorted_others = np.sort(risk[events]), np.sort(risk[~events])
    sensitivity = 1 - np.searchsorted(sorted_events, cuts) / len(sorted_events)
    specificity = np.searchsorted(sorted_others, cuts) / len(sorted_others)
    return float(cuts[np.argmax(np.round(sensitivity + specificity, 12))])
