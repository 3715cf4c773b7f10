"""Decision curves at a horizon for several models, with bootstrap bands, also where risks compete.

The same net benefit as `survival_decision_curve`; the event rate of those at or above a threshold is computed for all
thresholds at once, which makes bootstrapping quick.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hepacast.errors import OutcomeError
from hepacast.stats.competing_risks import check_codes

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SurvivalNetBenefit:
    """Net benefit of one model by threshold; NaN where follow-up does not tell it."""

    net_benefit: Array
    low: Array
    high: Array


@dataclass(frozen=True)
class SurvivalDecision:
    """Decision curves at one horizon."""

    time: float
    thresholds: Array
    treat_all: Array
    models: dict[str, SurvivalNetBenefit]
    event_rate: float

    def useful_range(self, name: str) -> tuple[float, float] | None:
        """First and last threshold at which the model beats treating all and treating none."""
        better = self.models[name].net_benefit > np.maximum(self.treat_all, 0.0) + 1e-12
        return (float(self.thresholds[better][0]), float(self.thresholds[better][-1])) if better.any() else None


def survival_decisions(
    time: npt.ArrayLike,
    code: npt.ArrayLike,
    risks: Mapping[str, npt.ArrayLike],
    t: float,
    thresholds: Sequence[float] | Array,
    *,
    resamples: Sequence[npt.NDArray[np.int64]] = (),
    level: float = 0.95,
) -> SurvivalDecision:
    """Net benefit of each model at each threshold.

    Parameters
    ----------
    time, code
        Shape (n,); codes 0, 1, 2.
    risks
        Predicted risk by `t` of each model, shape (n,).
    resamples
        Row numbers of bootstrap samples, for percentile bands.

    Raises
    ------
    OutcomeError
        A risk is no probability, or nobody is followed up to `t`.
    """
    times, codes = check_codes(time, code)
    grid = np.asarray(thresholds, dtype=float)
    odds = grid / (1 - grid)
    tables = {}
    for name, values in risks.items():
        risk = np.asarray(values, dtype=float)
        if risk.shape != times.shape or not ((risk >= 0) & (risk <= 1)).all():
            raise OutcomeError(f"The risks of {name!r} are no probabilities.", expected="0 to 1 for every patient")
        tables[name] = risk[None, :] >= grid[:, None]
    overall = float(event_rates(times, codes, np.ones((1, len(times)), dtype=bool), t)[0])
    if np.isnan(overall):
        raise OutcomeError(f"Nobody is followed up to {t:g}.", found=f"longest follow-up {times.max():g}")
    models = {}
    for name, above in tables.items():
        center = _net_benefit(times, codes, above, t, odds)
        drawn = np.array([_net_benefit(times[rows], codes[rows], above[:, rows], t, odds) for rows in resamples])
        low, high = _bands(drawn, level, len(grid))
        models[name] = SurvivalNetBenefit(center, low, high)
    return SurvivalDecision(float(t), grid, overall - (1 - overall) * odds, models, overall)


def _bands(drawn: Array, level: float, size: int) -> tuple[Array, Array]:
    """Percentiles; none where more than a tenth of the samples have no value."""
    if not len(drawn):
        return np.zeros(0), np.zeros(0)
    tail = 50 * (1 - level)
    known = np.isfinite(drawn).mean(axis=0) >= 0.9
    low, high = np.full(size, np.nan), np.full(size, np.nan)
    if known.any():
        low[known], high[known] = np.nanpercentile(drawn[:, known], [tail, 100 - tail], axis=0)
    return low, high


def _net_benefit(times: Array, codes: Array, above: npt.NDArray[np.bool_], t: float, odds: Array) -> Array:
    share = above.mean(axis=1)
    rate = event_rates(times, codes, above, t)
    benefit = rate * share - (1 - rate) * share * odds
    return np.where(share == 0, 0.0, benefit)


def event_rates(times: Array, codes: Array, members: npt.NDArray[np.bool_], t: float) -> Array:
    """Risk of the event by `t` in each subset of patients (Aalen-Johansen), shape (k,).

    Parameters
    ----------
    members
        Shape (k, n): which patients are in each subset.

    Returns
    -------
    NaN for an empty subset, and where follow-up ends before `t` with somebody still without event.
    """
    order = np.argsort(times, kind="stable")
    time, code = times[order], codes[order]
    inside = members[:, order].astype(float)
    distinct, start = np.unique(time, return_index=True)
    total = np.add.reduceat(inside, start, axis=1)
    risk = np.cumsum(total[:, ::-1], axis=1)[:, ::-1]
    own = np.add.reduceat(inside * (code == 1), start, axis=1)
    other = np.add.reduceat(inside * (code == 2), start, axis=1)
    upto = distinct <= t
    safe = np.where(risk > 0, risk, 1.0)[:, upto]
    survival = np.cumprod(1 - (own + other)[:, upto] / safe, axis=1)
    before = np.concatenate([np.ones((len(survival), 1)), survival[:, :-1]], axis=1)
    rate = (before * own[:, upto] / safe).sum(axis=1)
    followed = (inside * (time >= t)).any(axis=1)
    ended = survival[:, -1] <= 1e-12 if survival.shape[1] else np.zeros(len(inside), dtype=bool)
    return np.where(inside.any(axis=1) & (followed | ended), rate, np.nan)
