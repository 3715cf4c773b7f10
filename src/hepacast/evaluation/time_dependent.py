"""Discrimination and accuracy at a time horizon: cumulative/dynamic AUC(t), Brier(t) and its integral.

Censored patients are accounted for by inverse probability of censoring weights; standard errors include the
estimation of these weights. Patients with a competing event before the horizon count as free of the event at it
(definition 2 of Blanche et al.), and standard errors are then the jackknife's.

Sources: Blanche P, Dartigues JF, Jacqmin-Gadda H. Stat Med 2013;32:5381 (AUC). Gerds TA, Schumacher M. Biom J
2006;48:1029 (Brier). R's timeROC, riskRegression and pec are the frozen truth of the tests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from hepacast.core.estimates import Estimate
from hepacast.errors import OutcomeError
from hepacast.evaluation.event_by import StateWeights, state_weights, weights_without_each
from hepacast.stats.censoring import CensoringModel, censoring_model, martingale_sums
from hepacast.stats.competing_risks import check_codes
from hepacast.stats.ranks import weight_below

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class HorizonEstimate:
    """An estimate at a time horizon; `influence` has one value a patient, for comparisons on the same patients."""

    time: float
    value: float
    se: float
    influence: Array
    n_events: int
    n_at_risk: int

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Normal interval, cut to [0, 1]; NaN without a standard error."""
        spread = float(stats.norm.ppf(0.5 + level / 2)) * self.se
        if not np.isfinite(spread):
            return float("nan"), float("nan")
        return max(0.0, self.value - spread), min(1.0, self.value + spread)

    def estimate(self, level: float = 0.95) -> Estimate:
        """Value and limits alone."""
        return Estimate(self.value, *self.interval(level), level=level, se=self.se)


def _check_horizon(t: float, times: Array, events: Array) -> None:
    cases, controls = int(((times <= t) & (events == 1)).sum()), int((times > t).sum())
    if cases == 0 or controls == 0:
        raise OutcomeError(
            f"Nothing can be estimated at time {t:g}.",
            expected="events before and patients under observation after it",
            found=f"{cases} events, {controls} patients beyond",
            remedy="choose an earlier or later time",
        )


def _case_weights(model: CensoringModel, t: float, times: Array, events: Array) -> Array:
    case = (times <= t) & (events == 1)
    return np.where(case, 1.0 / np.where(case, model.before(times), 1.0), 0.0)


def _by_time(model: CensoringModel, times: Array, values: Array) -> Array:
    """Sums of patients' values by the distinct times of the model."""
    return np.bincount(np.searchsorted(model.time, times), weights=values, minlength=len(model.time)).astype(float)


def auc_at(time: npt.ArrayLike, code: npt.ArrayLike, score: npt.ArrayLike, t: float) -> HorizonEstimate:
    """Cumulative/dynamic AUC: patients with the event by `t` against those still free of it after `t`.

    Parameters
    ----------
    time, code
        Shape (n,); codes 0 censored, 1 event, 2 competing event.
    score
        Shape (n,); higher means an earlier event.
    t
        Horizon, in the unit of `time`.

    Raises
    ------
    OutcomeError
        No event by `t`, nobody under observation after it, or missing scores.
    """
    times, codes = check_codes(time, code)
    scores = np.asarray(score, dtype=float)
    if scores.shape != times.shape or not np.isfinite(scores).all():
        raise OutcomeError("The score is missing for some patients.", found=f"{int((~np.isfinite(scores)).sum())}")
    _check_horizon(t, times, codes)
    if (codes == 2).any():
        return _jackknifed(times, codes, scores, t, _auc)
    n = len(times)
    model = censoring_model(times, codes)
    w, control = _case_weights(model, t, times, codes), (times > t).astype(float)
    by_case, by_control = weight_below(scores, control) / n, (w.sum() - weight_below(scores, w)) / n
    p_case, p_control = w.mean(), control.mean()
    value = float((w * by_case).mean() / (p_case * p_control))
    leverage = w * (by_case - value * p_control)
    estimated = martingale_sums(model, times, codes, _by_time(model, times, leverage)) / n
    influence = (leverage + control * (by_control - value * p_case) + estimated) / (p_case * p_control)
    return HorizonEstimate(
        float(t),
        value,
        float(np.std(influence, ddof=1) / np.sqrt(n)),
        influence,
        int((w > 0).sum()),
        int(control.sum()),
    )


def compare_auc_at(first: HorizonEstimate, second: HorizonEstimate) -> tuple[float, float, float, float]:
    """Difference of two AUC(t) of the same patients: difference, standard error, z, two-sided P."""
    if first.time != second.time or len(first.influence) != len(second.influence):
        raise OutcomeError("Two AUCs can be compared at one time on the same patients only.")
    difference = first.value - second.value
    influence = first.influence - second.influence
    se = float(np.std(influence, ddof=1) / np.sqrt(len(influence)))
    z = difference / se if se > 0 else 0.0
    return difference, se, z, float(2 * stats.norm.sf(abs(z)))


def brier_at(time: npt.ArrayLike, code: npt.ArrayLike, risk: npt.ArrayLike, t: float) -> HorizonEstimate:
    """Brier score at a horizon: mean squared difference of event-by-`t` and its predicted risk.

    Parameters
    ----------
    time, code
        As in `auc_at`.
    risk
        Shape (n,), predicted probability of the event by `t`.

    Raises
    ------
    OutcomeError
        A risk is not between 0 and 1, or the horizon cannot be estimated.
    """
    times, codes = check_codes(time, code)
    risks = np.asarray(risk, dtype=float)
    if risks.shape != times.shape or not ((risks >= 0) & (risks <= 1)).all():
        raise OutcomeError("Risks must be probabilities.", expected="0 to 1 for every patient")
    _check_horizon(t, times, codes)
    if (codes == 2).any():
        return _jackknifed(times, codes, risks, t, _brier)
    n = len(times)
    model = censoring_model(times, codes)
    w_case = _case_weights(model, t, times, codes)
    w_control = np.where(times > t, 1.0 / model.at(t), 0.0)
    loss_case, loss_control = w_case * (1 - risks) ** 2, w_control * risks**2
    value = float((loss_case + loss_control).mean())
    weights = _by_time(model, times, loss_case)
    # Controls are weighted by 1 / G(t): the influence up to t itself.
    after = int(np.searchsorted(model.time, t, side="right"))
    weights[min(after, len(weights) - 1)] += loss_control.sum()
    influence = loss_case + loss_control - value + martingale_sums(model, times, codes, weights) / n
    return HorizonEstimate(
        float(t),
        value,
        float(np.std(influence, ddof=1) / np.sqrt(n)),
        influence,
        int((w_case > 0).sum()),
        int((times > t).sum()),
    )


def _auc(weights: StateWeights, score: Array, n: int) -> float:
    return float(weights.case @ weight_below(score, weights.control) / (weights.case.sum() * weights.control.sum()))


def _brier(weights: StateWeights, risk: Array, n: int) -> float:
    return float((weights.case * (1 - risk) ** 2 + weights.control * risk**2).sum() / n)


def _jackknifed(
    times: Array, codes: Array, values: Array, t: float, measure: Callable[[StateWeights, Array, int], float]
) -> HorizonEstimate:
    n = len(times)
    weights = state_weights(times, codes, t)
    whole = measure(weights, values, n)
    without = np.full(n, np.nan)
    for i, left in enumerate(weights_without_each(times, codes, t)):
        # The only event, or the only one observed beyond: without it there is no estimate.
        if left is not None:
            without[i] = measure(left, values, n - 1)
    influence = np.nan_to_num((n - 1) * (np.nanmean(without) - without))
    se = float(np.std(influence, ddof=1) / np.sqrt(n)) if np.isfinite(without).all() else float("nan")
    return HorizonEstimate(float(t), whole, se, influence, int((weights.case > 0).sum()), int((times > t).sum()))


def integrated_brier(
    time: npt.ArrayLike, code: npt.ArrayLike, risks: npt.ArrayLike, grid: Sequence[float] | Array, end: float
) -> float:
    """Integral of the Brier score from 0 to `end`, divided by `end`.

    Parameters
    ----------
    time, code
        As in `auc_at`.
    risks
        Shape (n, len(grid)): predicted risk at each time of the grid.
    grid
        Increasing times, usually all event times up to `end`; the score is constant from one to the next, and 0
        before the first.
    """
    times, codes = check_codes(time, code)
    matrix, points = np.asarray(risks, dtype=float), np.asarray(grid, dtype=float)
    model = censoring_model(times, (codes > 0).astype(float))
    own = np.where(model.before(times) > 0, model.before(times), 1.0)
    scores = []
    for t, risk in zip(points, matrix.T, strict=True):
        at = float(model.at(np.array([t]))[0])
        case = np.where((times <= t) & (codes == 1), 1.0 / own, 0.0)
        control = np.where((times <= t) & (codes == 2), 1.0 / own, 0.0)
        control = np.where(times > t, 1.0 / at if at > 0 else np.nan, control)
        scores.append(float((case * (1 - risk) ** 2 + control * risk**2).mean()))
    widths = np.diff(np.append(points, end))
    return float((np.array(scores) * widths).sum() / end)


def roc_at(times: Array, codes: Array, score: Array, t: float) -> tuple[Array, Array]:
    """Time-dependent ROC curve: false-positive and true-positive rates from (0, 0) to (1, 1)."""
    weights = state_weights(times, codes, t)
    cuts, place = np.unique(score, return_inverse=True)
    tpr, fpr = (
        np.cumsum(np.bincount(place, weights=own, minlength=len(cuts))[::-1]) / own.sum()
        for own in (weights.case, weights.control)
    )
    return np.concatenate([[0.0], fpr]), np.concatenate([[0.0], tpr])
