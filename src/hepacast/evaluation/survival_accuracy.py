"""Discrimination and accuracy at a horizon, with or without competing events: one interface for both.

Without competing events these are `auc_at` and `brier_at`, with standard errors in closed form. With them, patients
with a competing event before the horizon count as free of the event at it (Blanche P et al. Stat Med 2013;32:5381,
definition 2), and standard errors are the jackknife's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hepacast.errors import OutcomeError
from hepacast.evaluation.time_dependent import HorizonEstimate, auc_at, brier_at
from hepacast.stats.censoring import censoring_model
from hepacast.stats.competing_risks import check_codes, cumulative_incidence

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class StateWeights:
    """Weights of those with the event by the horizon, and of those known to be without it."""

    case: Array
    control: Array


def state_weights(times: Array, codes: Array, t: float) -> StateWeights:
    """Inverse probability of censoring weights at a horizon.

    Raises
    ------
    OutcomeError
        No event by then, or nobody observed beyond it.
    """
    model = censoring_model(times, (codes > 0).astype(float))
    own = np.where(model.before(times) > 0, model.before(times), 1.0)
    at = float(model.at(np.array([t]))[0])
    case = np.where((times <= t) & (codes == 1), 1.0 / own, 0.0)
    beyond = times > t
    control = np.where((times <= t) & (codes == 2), 1.0 / own, 0.0)
    control = np.where(beyond, 1.0 / at if at > 0 else 0.0, control)
    if case.sum() == 0 or not beyond.any() or at == 0:
        raise OutcomeError(
            f"Nothing can be estimated at time {t:g}.",
            expected="events before and patients under observation after it",
            found=f"{int((case > 0).sum())} events, {int(beyond.sum())} patients beyond",
            remedy="choose an earlier or later time",
        )
    return StateWeights(case, control)


def survival_auc(time: npt.ArrayLike, code: npt.ArrayLike, score: npt.ArrayLike, t: float) -> HorizonEstimate:
    """Cumulative/dynamic AUC at a horizon; `score` is higher for an earlier event."""
    times, codes = check_codes(time, code)
    scores = np.asarray(score, dtype=float)
    if not (codes == 2).any():
        return auc_at(times, codes, scores, t)
    return _jackknifed(times, codes, scores, t, _auc)


def survival_brier(time: npt.ArrayLike, code: npt.ArrayLike, risk: npt.ArrayLike, t: float) -> HorizonEstimate:
    """Brier score of the risk by a horizon."""
    times, codes = check_codes(time, code)
    risks = np.asarray(risk, dtype=float)
    if not (codes == 2).any():
        return brier_at(times, codes, risks, t)
    return _jackknifed(times, codes, risks, t, _brier)


def _auc(weights: StateWeights, score: Array) -> float:
    wins = (score[:, None] > score[None, :]) + 0.5 * (score[:, None] == score[None, :])
    return float(weights.case @ wins @ weights.control / (weights.case.sum() * weights.control.sum()))


def _brier(weights: StateWeights, risk: Array) -> float:
    return float((weights.case * (1 - risk) ** 2 + weights.control * risk**2).sum() / len(risk))


def _jackknifed(
    times: Array, codes: Array, values: Array, t: float, measure: Callable[[StateWeights, Array], float]
) -> HorizonEstimate:
    n = len(times)
    if values.shape != times.shape or not np.isfinite(values).all():
        raise OutcomeError("The score is missing for some patients.", found=f"{int((~np.isfinite(values)).sum())}")
    weights = state_weights(times, codes, t)
    whole = measure(weights, values)
    without = np.empty(n)
    for i in range(n):
        keep = np.arange(n) != i
        try:
            without[i] = measure(state_weights(times[keep], codes[keep], t), values[keep])
        except OutcomeError:
            # The only event, or the only one observed beyond: without it there is no estimate.
            without[i] = np.nan
    influence = np.nan_to_num((n - 1) * (np.nanmean(without) - without))
    se = float(np.std(influence, ddof=1) / np.sqrt(n)) if np.isfinite(without).all() else float("nan")
    return HorizonEstimate(float(t), whole, se, influence, int((weights.case > 0).sum()), int((times > t).sum()))


def integrated_score(times: Array, codes: Array, risks: Array, grid: Array, end: float) -> float:
    """Integral of the Brier score from 0 to `end`, over `end`.

    Parameters
    ----------
    risks
        Shape (n, len(grid)), the predicted risk by each time of the grid.
    grid
        Increasing times; the score is constant from one to the next, and 0 before the first.
    """
    model = censoring_model(times, (codes > 0).astype(float))
    own = np.where(model.before(times) > 0, model.before(times), 1.0)
    scores = []
    for t, risk in zip(grid, risks.T, strict=True):
        at = float(model.at(np.array([t]))[0])
        case = np.where((times <= t) & (codes == 1), 1.0 / own, 0.0)
        control = np.where((times <= t) & (codes == 2), 1.0 / own, 0.0)
        control = np.where(times > t, 1.0 / at if at > 0 else np.nan, control)
        scores.append(float((case * (1 - risk) ** 2 + control * risk**2).mean()))
    widths = np.diff(np.append(grid, end))
    return float((np.array(scores) * widths).sum() / end)


def roc_at(times: Array, codes: Array, score: Array, t: float) -> tuple[Array, Array]:
    """Time-dependent ROC curve: false-positive and true-positive rates from (0, 0) to (1, 1)."""
    weights = state_weights(times, codes, t)
    cuts = np.unique(score)[::-1]
    high = score[None, :] >= cuts[:, None]
    tpr = high @ weights.case / weights.case.sum()
    fpr = high @ weights.control / weights.control.sum()
    return np.concatenate([[0.0], fpr]), np.concatenate([[0.0], tpr])


def observed_risk(times: Array, codes: Array, t: float, level: float = 0.95) -> tuple[float, float, float]:
    """Risk of the event by a time without any predictor (Aalen-Johansen; 1 - Kaplan-Meier), with limits.

    NaN where nobody is followed to that time although some are still without event.
    """
    curve = cumulative_incidence(times, codes, level=level)
    open_end = curve.time[-1] < t and curve.incidence[-1] + curve.competing[-1] < 1 - 1e-12
    if open_end:
        return float("nan"), float("nan"), float("nan")
    return (float(curve.at([t])[0]), *curve.interval_at(t))
