"""Inverse probability of censoring weights, and how their estimation adds to the variance of what uses them."""

from __future__ import annotations

from dataclasses import dataclass

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


def martingale_shares(model: CensoringModel, times: Array, events: Array) -> Array:
    """Each patient's influence on minus the log of G just before each distinct time.

    Returns
    -------
    Array
        Shape (n patients, number of distinct times): integral of dM_k / (Y / n) over (0, t).
    """
    n, m = len(times), len(model.time)
    position = np.searchsorted(model.time, times)
    with np.errstate(divide="ignore", invalid="ignore"):
        per_risk = np.where(model.at_risk > 0, n / model.at_risk, 0.0)
    compensator = np.cumsum(per_risk * model.hazard)
    # A patient who has the event at t is not at risk of censoring at t; one who is censored at t is.
    last = np.where(events == 1, position - 1, position)
    capped = np.minimum(np.arange(m)[None, :], last[:, None])
    own = np.where(capped >= 0, compensator[np.maximum(capped, 0)], 0.0)
    jump = np.where(events == 0, per_risk[position], 0.0)
    upto: Array = (np.arange(m)[None, :] >= position[:, None]) * jump[:, None] - own
    # Just before each time: the value after the previous one.
    return np.concatenate([np.zeros((n, 1)), upto[:, :-1]], axis=1)
