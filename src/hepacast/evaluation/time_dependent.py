"""Discrimination and accuracy at a time horizon: cumulative/dynamic AUC(t), Brier(t) and its integral.

Censored patients are accounted for by inverse probability of censoring weights; standard errors include the
estimation of these weights.

Sources: Blanche P, Dartigues JF, Jacqmin-Gadda H. Stat Med 2013;32:5381 (AUC). Gerds TA, Schumacher M. Biom J
2006;48:1029 (Brier). R's timeROC, riskRegression and pec are the frozen truth of the tests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from hepacast.errors import OutcomeError
from hepacast.stats.censoring import CensoringModel, censoring_model, martingale_shares
from hepacast.stats.kaplan_meier import check_follow_up, kaplan_meier

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
        """Normal interval, cut to [0, 1]."""
        spread = float(stats.norm.ppf(0.5 + level / 2)) * self.se
        return max(0.0, self.value - spread), min(1.0, self.value + spread)


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


def auc_at(time: npt.ArrayLike, event: npt.ArrayLike, score: npt.ArrayLike, t: float) -> HorizonEstimate:
    """Cumulative/dynamic AUC: patients with the event by `t` against those still free of it after `t`.

    Parameters
    ----------
    time, event
        Shape (n,).
    score
        Shape (n,); higher means an earlier event.
    t
        Horizon, in the unit of `time`.

    Raises
    ------
    OutcomeError
        No event by `t`, nobody under observation after it, or missing scores.
    """
    times, events = check_follow_up(time, event)
    scores = np.asarray(score, dtype=float)
    if scores.shape != times.shape or not np.isfinite(scores).all():
        raise OutcomeError("The score is missing for some patients.", found=f"{int((~np.isfinite(scores)).sum())}")
    _check_horizon(t, times, events)
    n = len(times)
    model = censoring_model(times, events)
    w, control = _case_weights(model, t, times, events), (times > t).astype(float)
    wins = (scores[:, None] > scores[None, :]) + 0.5 * (scores[:, None] == scores[None, :])
    by_case, by_control = wins @ control / n, w @ wins / n
    p_case, p_control = w.mean(), control.mean()
    value = float((w * by_case).mean() / (p_case * p_control))
    leverage = w * (by_case - value * p_control)
    shares = martingale_shares(model, times, events)
    estimated = shares[:, np.searchsorted(model.time, times)] @ leverage / n
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


def brier_at(time: npt.ArrayLike, event: npt.ArrayLike, risk: npt.ArrayLike, t: float) -> HorizonEstimate:
    """Brier score at a horizon: mean squared difference of event-by-`t` and its predicted risk.

    Parameters
    ----------
    risk
        Shape (n,), predicted probability of the event by `t`.

    Raises
    ------
    OutcomeError
        A risk is not between 0 and 1, or the horizon cannot be estimated.
    """
    times, events = check_follow_up(time, event)
    risks = np.asarray(risk, dtype=float)
    if risks.shape != times.shape or not ((risks >= 0) & (risks <= 1)).all():
        raise OutcomeError("Risks must be probabilities.", expected="0 to 1 for every patient")
    _check_horizon(t, times, events)
    n = len(times)
    model = censoring_model(times, events)
    w_case = _case_weights(model, t, times, events)
    w_control = np.where(times > t, 1.0 / model.at(t), 0.0)
    loss_case, loss_control = w_case * (1 - risks) ** 2, w_control * risks**2
    value = float((loss_case + loss_control).mean())
    shares = martingale_shares(model, times, events)
    estimated = shares[:, np.searchsorted(model.time, times)] @ loss_case / n
    # Controls are weighted by 1 / G(t): the influence up to t itself.
    after = np.searchsorted(model.time, t, side="right")
    at_t = shares[:, min(after, shares.shape[1] - 1)]
    influence = loss_case + loss_control - value + estimated + at_t * loss_control.mean()
    return HorizonEstimate(
        float(t),
        value,
        float(np.std(influence, ddof=1) / np.sqrt(n)),
        influence,
        int((w_case > 0).sum()),
        int((times > t).sum()),
    )


def null_risk(time: npt.ArrayLike, event: npt.ArrayLike, t: float) -> float:
    """Risk of the event by `t` without any predictor (1 - Kaplan-Meier): what a useful model must beat."""
    return float(1.0 - kaplan_meier(time, event).at([t])[0])


def integrated_brier(
    time: npt.ArrayLike, event: npt.ArrayLike, risks: npt.ArrayLike, grid: Sequence[float], end: float
) -> float:
    """Integral of the Brier score from 0 to `end`, divided by `end`.

    Parameters
    ----------
    risks
        Shape (n, len(grid)): predicted risk at each time of the grid.
    grid
        Increasing times, usually 0 and all event times up to `end`; the score is constant between them.
    """
    times, events = check_follow_up(time, event)
    matrix, points = np.asarray(risks, dtype=float), np.asarray(grid, dtype=float)
    model = censoring_model(times, events)
    scores = []
    for t, risk in zip(points, matrix.T, strict=True):
        w = _case_weights(model, t, times, events)
        scores.append(float((w * (1 - risk) ** 2 + np.where(times > t, risk**2 / model.at(t), 0.0)).mean()))
    widths = np.diff(np.append(points, end))
    return float((np.array(scores) * widths).sum() / end)


def time_dependent_table(
    time: npt.ArrayLike, event: npt.ArrayLike, scores: Mapping[str, npt.ArrayLike], horizons: Sequence[float]
) -> pd.DataFrame:
    """AUC(t) of several scores at several horizons, with limits and the P of the difference from the first score."""
    rows = []
    names = list(scores)
    for t in horizons:
        results = {name: auc_at(time, event, scores[name], t) for name in names}
        for name in names:
            low, high = results[name].interval()
            p = compare_auc_at(results[name], results[names[0]])[3] if name != names[0] else np.nan
            item = results[name]
            rows.append((float(t), name, item.value, item.se, low, high, p, item.n_events, item.n_at_risk))
    columns = ["time", "score", "auc", "se", "lower", "upper", "p_vs_first", "n_events", "n_at_risk"]
    return pd.DataFrame(rows, columns=columns)
