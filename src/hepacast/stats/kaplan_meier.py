"""Kaplan-Meier curves, medians, restricted means and the log-rank family, as R's ``survival`` computes them.

Sources: Kaplan & Meier, J Am Stat Assoc 1958;53:457. Greenwood 1926. Harrington & Fleming, Biometrika 1982;69:553.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import stats

from hepacast.core.records import Record
from hepacast.errors import OutcomeError

Array = npt.NDArray[np.float64]
ConfidenceType = Literal["log", "log-log", "plain"]


def check_follow_up(time: npt.ArrayLike, event: npt.ArrayLike) -> tuple[Array, Array]:
    """Times and events as float arrays.

    Raises
    ------
    OutcomeError
        Lengths differ, a value is missing, a time is negative, or an event is not 0 or 1.
    """
    times, events = np.asarray(time, dtype=float), np.asarray(event, dtype=float)
    if times.ndim != 1 or times.shape != events.shape or len(times) == 0:
        raise OutcomeError("Times and events do not fit.", expected="two lists of one length", found=f"{times.shape}")
    if not (np.isfinite(times).all() and np.isfinite(events).all()):
        count = int((~np.isfinite(times) | ~np.isfinite(events)).sum())
        raise OutcomeError(
            "Follow-up has missing values.", found=f"{count} patients", remedy="leave them out, with the reason"
        )
    if (times < 0).any():
        raise OutcomeError("A follow-up time is negative.", expected="0 or more", found=f"{times.min():g}")
    if not np.isin(events, (0.0, 1.0)).all():
        raise OutcomeError(
            "Events must be coded 0 (censored) or 1 (event).", found=f"values {sorted(set(events.tolist()))[:6]}"
        )
    return times, events


@dataclass(frozen=True)
class KaplanMeier(Record):
    """A Kaplan-Meier curve; arrays have one entry a distinct time.

    `std_error` is that of log S(t) (Greenwood); `lower` and `upper` are NaN where S(t) is 0, which has no variance.
    """

    time: Array
    n_risk: Array
    n_event: Array
    n_censor: Array
    survival: Array
    std_error: Array
    lower: Array
    upper: Array
    n: int

    @property
    def n_events(self) -> int:
        """Events in all."""
        return int(self.n_event.sum())

    def at(self, times: npt.ArrayLike) -> Array:
        """S(t), a step function continuous from the right; 1 before the first time."""
        index = np.searchsorted(self.time, np.asarray(times, dtype=float), side="right") - 1
        return np.where(index >= 0, self.survival[np.maximum(index, 0)], 1.0)

    def with_limits(self, t: float) -> tuple[float, float, float]:
        """S(t) with limits; NaN beyond the last follow-up of a curve that has not reached 0."""
        if t > float(self.time[-1]) and float(self.survival[-1]) > 0:
            return np.nan, np.nan, np.nan
        index = int(np.searchsorted(self.time, t, side="right")) - 1
        if index < 0:
            return 1.0, 1.0, 1.0
        return float(self.survival[index]), float(self.lower[index]), float(self.upper[index])

    def at_risk(self, times: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Number at risk just before each time."""
        index = np.searchsorted(self.time, np.asarray(times, dtype=float), side="left")
        padded = np.append(self.n_risk, 0.0)
        return padded[index].astype(np.int64)

    @property
    def median(self) -> tuple[float, float, float]:
        """Median survival with its interval; NaN where the curve stays above one half."""
        return (
            _crossing(self.time, self.survival),
            _crossing(self.time, self.lower),
            _crossing(self.time, self.upper),
        )

    def restricted_mean(self, tau: float) -> tuple[float, float]:
        """Mean survival time up to `tau` (RMST) and its standard error.

        Source: Irwin JO. J Hyg 1949;47:188; variance as in R's ``survival:::survmean``.
        """
        inside = self.time <= tau
        edges = np.concatenate([[0.0], self.time[inside], [tau]])
        heights = np.concatenate([[1.0], self.survival[inside]])
        areas = np.diff(edges) * heights
        after = np.cumsum(areas[::-1])[::-1][1:]
        risk, events = self.n_risk[inside], self.n_event[inside]
        with np.errstate(divide="ignore", invalid="ignore"):
            terms = np.where(risk > events, events / (risk * (risk - events)), 0.0)
        return float(areas.sum()), float(np.sqrt((after**2 * terms).sum()))


def _crossing(time: Array, curve: Array) -> float:
    # At exactly one half the median is the middle of the flat part, as in R.
    flat = np.isclose(curve, 0.5, atol=1e-12, rtol=0)
    below = (curve < 0.5) & ~flat
    first_below = time[below].min() if below.any() else np.nan
    if flat.any():
        start = time[flat][0]
        return float((start + first_below) / 2) if np.isfinite(first_below) else float(start)
    return float(first_below)


def kaplan_meier(
    time: npt.ArrayLike, event: npt.ArrayLike, *, level: float = 0.95, confidence: ConfidenceType = "log"
) -> KaplanMeier:
    """Kaplan-Meier estimate with pointwise intervals.

    Parameters
    ----------
    time, event
        Shape (n,); event is 1 for the event and 0 for censored.
    level
        Confidence level.
    confidence
        Scale of the interval: ``log`` is R's default, ``log-log`` that of SAS and lifelines.
    """
    times, events = check_follow_up(time, event)
    distinct, inverse = np.unique(times, return_inverse=True)
    died: Array = np.bincount(inverse, weights=events).astype(float)
    total = np.bincount(inverse).astype(float)
    risk = len(times) - np.concatenate([[0.0], np.cumsum(total)[:-1]])
    survival = np.cumprod(1.0 - died / risk)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.sqrt(np.cumsum(died / (risk * (risk - died))))
        lower, upper = _interval(survival, error, stats.norm.ppf(0.5 + level / 2), confidence)
    return KaplanMeier(distinct, risk, died, total - died, survival, error, lower, upper, len(times))


def _interval(survival: Array, error: Array, z: float, kind: ConfidenceType) -> tuple[Array, Array]:
    if kind == "plain":
        lower, upper = survival - z * error * survival, survival + z * error * survival
    elif kind == "log":
        lower, upper = survival * np.exp(-z * error), survival * np.exp(z * error)
    else:
        spread = z * error / np.log(survival)
        lower, upper = survival ** np.exp(-spread), survival ** np.exp(spread)
    # Without an event there is no spread (log-log: 0/0). Where S has come down to 0 Greenwood's variance is 0/0: no
    # interval, as in R, and no limit of the median is read off there.
    for value, limit in ((1.0, 1.0), (0.0, np.nan)):
        lower, upper = np.where(survival == value, limit, lower), np.where(survival == value, limit, upper)
    return np.clip(lower, 0.0, 1.0), np.clip(upper, 0.0, 1.0)


@dataclass(frozen=True)
class LogRank:
    """Log-rank test; `observed` and `expected` by group, in the groups' sorted order."""

    chi2: float
    df: int
    p: float
    groups: tuple[object, ...]
    observed: Array
    expected: Array


def log_rank(
    time: npt.ArrayLike,
    event: npt.ArrayLike,
    group: npt.ArrayLike,
    *,
    rho: float = 0.0,
    strata: npt.ArrayLike | None = None,
) -> LogRank:
    """Compare survival between groups (G-rho family).

    Parameters
    ----------
    time, event, group
        Shape (n,).
    rho
        0: log-rank; 1: Peto & Peto's modification of the Wilcoxon test.
    strata
        Sums over strata, if given.

    Raises
    ------
    OutcomeError
        Fewer than two groups, or no event.
    """
    times, events = check_follow_up(time, event)
    groups, codes = np.unique(np.asarray(group), return_inverse=True)
    if len(groups) < 2:
        raise OutcomeError("The log-rank test needs two groups.", found=f"{len(groups)} group")
    if events.sum() == 0:
        raise OutcomeError("The log-rank test needs events.", found="0 events")
    layers = np.zeros(len(times)) if strata is None else np.unique(np.asarray(strata), return_inverse=True)[1]
    observed, expected = np.zeros(len(groups)), np.zeros(len(groups))
    weighted = np.zeros(len(groups))
    variance = np.zeros((len(groups), len(groups)))
    for layer in np.unique(layers):
        rows = layers == layer
        part = _log_rank_layer(times[rows], events[rows], codes[rows], len(groups), rho)
        observed += part[0]
        expected += part[1]
        weighted += part[2]
        variance += part[3]
    keep = expected > 0
    df = int(keep.sum()) - 1
    difference, covariance = weighted[keep][:-1], variance[np.ix_(keep, keep)][:-1, :-1]
    chi2 = float(difference @ np.linalg.solve(covariance, difference)) if df > 0 else 0.0
    p = float(stats.chi2.sf(chi2, df)) if df > 0 else float("nan")
    return LogRank(chi2, df, p, tuple(groups.tolist()), observed, expected)


def _log_rank_layer(
    times: Array, events: Array, codes: npt.NDArray[np.int64], k: int, rho: float
) -> tuple[Array, Array, Array, Array]:
    deaths, place = np.unique(times[events == 1], return_inverse=True)
    died, at_risk = np.zeros((2, len(deaths), k))
    np.add.at(died, (place, codes[events == 1]), 1.0)
    for group in range(k):
        own = np.sort(times[codes == group])
        at_risk[:, group] = len(own) - np.searchsorted(own, deaths)
    risk, total = at_risk.sum(axis=1), died.sum(axis=1)
    before = np.concatenate([[1.0], np.cumprod(1 - total / risk)[:-1]])
    weight = before**rho
    share = at_risk / risk[:, None]
    expect = total[:, None] * share
    spread = np.where(risk > 1, total * (risk - total) / np.maximum(risk - 1, 1), 0.0) * weight**2
    variance = np.diag((spread[:, None] * share).sum(axis=0)) - (share * spread[:, None]).T @ share
    w = weight[:, None]
    return (w * died).sum(axis=0), (w * expect).sum(axis=0), (w * (died - expect)).sum(axis=0), variance
