"""Inverse probability of censoring weights, and how their estimation adds to the variance of what uses them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class CensoringModel:
    """Kaplan-Meier estimate G of the time to censoring.

    At equal times events leave before the censored, so that G(t-) and G(t) differ only where someone is censored.

    Attributes
    ----------
    time
        Distinct times.
    survival
        G just after each time.
    hazard
        Jump of the cumulative censoring hazard at each time.
    at_risk
        Still under observation and without event at each time (events of that time have left).
    """

    time: Array
    survival: Array
    hazard: Array
    at_risk: Array
    n: int

    def at(self, t: npt.ArrayLike) -> Array:
        """G(t)."""
        return self._step(t, "right")

    def before(self, t: npt.ArrayLike) -> Array:
        """G(t-)."""
        return self._step(t, "left")

    def _step(self, t: npt.ArrayLike, side: str) -> Array:
        index = np.searchsorted(self.time, np.asarray(t, dtype=float), side=side)  # type: ignore[call-overload]
        return np.asarray(np.concatenate([[1.0], self.survival])[index])


def censoring_model(times: Array, events: Array) -> CensoringModel:
    """Estimate the censoring distribution from checked follow-up."""
    distinct, inverse = np.unique(times, return_inverse=True)
    died = np.bincount(inverse, weights=events)
    total = np.bincount(inverse).astype(float)
    risk = len(times) - np.concatenate([[0.0], np.cumsum(total)[:-1]]) - died
    with np.errstate(divide="ignore", invalid="ignore"):
        hazard = np.where(risk > 0, (total - died) / risk, 0.0)
    return CensoringModel(distinct, np.cumprod(1 - hazard), hazard, np.asarray(risk, dtype=float), len(times))


class KnownStates(NamedTuple):
    """What is known of each patient at a horizon.

    Attributes
    ----------
    state
        0 without the event, 1 with it, 2 with a competing event, after which it cannot come; 0 where not known.
    weight
        Patients for whom this one stands: 1 / G, the inverse of the probability of not being censored; 0: not known.
    """

    state: npt.NDArray[np.int64]
    weight: Array


def known_states(times: Array, codes: Array, horizon: float) -> KnownStates:
    """State of each patient at a horizon with its weight; who is under observation at the very horizon is without it.

    Parameters
    ----------
    times, codes
        Shape (n,); codes 0 censored, 1 event, 2 competing event.
    """
    model = censoring_model(times, (codes > 0).astype(float))
    left = (times <= horizon) & (codes > 0)
    free = (times > horizon) | ((times == horizon) & (codes == 0))
    before = model.before(times)
    weight = np.where(left, 1.0 / np.where(before > 0, before, 1.0), 0.0)
    # At the horizon itself the censored leave last, so that G just before it is what counts.
    at = float(model.before(np.array([horizon]))[0])
    weight = np.where(free, 1.0 / at if at > 0 else 0.0, weight)
    return KnownStates(np.where(left, codes, 0).astype(np.int64), weight)


def martingale_sums(model: CensoringModel, times: Array, events: Array, weights: Array) -> Array:
    """Each patient's influence on minus the log of G just before each distinct time, summed with a weight for each.

    The influence of patient k on the time t is the integral of dM_k / (Y / n) over (0, t). Cumulative sums give the
    weighted sum without the influence of everybody on every time.

    Parameters
    ----------
    weights
        Of the distinct times, shape (m,).

    Returns
    -------
    Array
        Shape (n,).
    """
    position = np.searchsorted(model.time, times)
    with np.errstate(divide="ignore", invalid="ignore"):
        per_risk = np.where(model.at_risk > 0, len(times) / model.at_risk, 0.0)
    compensator = np.cumsum(per_risk * model.hazard)
    # The influence before a time is the value after the previous one; beyond[j]: weight of the times after the j-th.
    beyond = np.append(np.cumsum(weights[:0:-1])[::-1], 0.0)
    upto = np.concatenate([[0.0], np.cumsum(weights[1:] * compensator[:-1])])
    # A patient who has the event at t is not at risk of censoring at t; one who is censored at t is.
    last = np.where(events == 1, position - 1, position)
    stays = np.maximum(last, 0)
    own = upto[np.minimum(stays + 1, len(weights) - 1)] + compensator[stays] * np.append(beyond, 0.0)[stays + 1]
    jump = np.where(events == 0, per_risk[position], 0.0)
    return np.asarray(jump * beyond[position] - np.where(last >= 0, own, 0.0))
