"""What is known of an event by a horizon: one face of outcomes without time and of follow-up with censoring.

All that is said "at a horizon" is the same formula for both. Without time everybody's state is known. With follow-up
the risk of a group is the Aalen-Johansen estimate, a patient's state its pseudo-value, and those whose state is known
stand for the censored by the inverse probability of not being censored; without censoring these are the share, the
state itself and 1.

References
----------
Andersen PK, Perme MP. Stat Methods Med Res 2010;19:71 (pseudo-values). Gerds TA, Schumacher M. Biom J 2006;48:1029
(weights).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hepacast.core.estimates import Estimate, missing
from hepacast.errors import OutcomeError
from hepacast.evaluation.predictions import Array
from hepacast.stats.censoring import censoring_model
from hepacast.stats.competing_risks import check_codes, cumulative_incidence
from hepacast.stats.design import binary_outcome
from hepacast.stats.intervals import proportion


@dataclass(frozen=True)
class StateWeights:
    """Weights of those with the event by the horizon, and of those known to be without it."""

    case: Array
    control: Array


@dataclass(frozen=True)
class EventBy:
    """Patients' states at a horizon; `event` and `event_by` make it.

    Attributes
    ----------
    y
        1 where the event came by the horizon, 0 where it did not (nor will, after a competing event), NaN where
        nobody knows; shape (n,).
    times, codes
        Follow-up (codes 0 censored, 1 event, 2 competing event); None of an outcome without time.
    horizon
        Infinite of an outcome without time.
    """

    y: Array
    times: Array | None = None
    codes: Array | None = None
    horizon: float = math.inf

    @property
    def n(self) -> int:
        """Patients."""
        return self.y.size

    @property
    def n_events(self) -> int:
        """Events by the horizon."""
        return int((self.y == 1.0).sum())

    @property
    def complete(self) -> bool:
        """Whether there is no time, so that every state is known."""
        return self.times is None

    def select(self, rows: ArrayLike) -> EventBy:
        """Some patients, also repeatedly (row numbers or a mask)."""
        index = np.asarray(rows)
        if self.times is None or self.codes is None:
            return EventBy(self.y[index])
        return EventBy(self.y[index], self.times[index], self.codes[index], self.horizon)

    def follow_up(self) -> tuple[Array, Array]:
        """Times and codes.

        Raises
        ------
        OutcomeError
            The outcome has no time.
        """
        if self.times is None or self.codes is None:
            raise OutcomeError("This outcome has no follow-up.", expected="times and codes")
        return self.times, self.codes

    @cached_property
    def weights(self) -> StateWeights:
        """What each patient stands for, as case and as control.

        Raises
        ------
        OutcomeError
            No event by the horizon, or nobody observed beyond it.
        """
        if self.times is None or self.codes is None:
            return StateWeights(self.y, 1.0 - self.y)
        return state_weights(self.times, self.codes, self.horizon)

    @cached_property
    def states(self) -> Array:
        """Each patient's state, of the censored ones too: `y`, or pseudo-values; shape (n,)."""
        if self.times is None or self.codes is None:
            return self.y
        return pseudo_values(self.times, self.codes, self.horizon)

    def risk(self, level: float = 0.95, members: ArrayLike | None = None, *, method: str = "exact") -> Estimate:
        """Observed risk of the event by the horizon, of all patients or of `members` (a mask), with limits.

        Parameters
        ----------
        method
            Limits of a share (`hepacast.stats.intervals.proportion`) where every state is known.
        """
        part = self if members is None else self.select(np.asarray(members, dtype=bool))
        if part.times is None or part.codes is None:
            share = proportion(int(part.y.sum()), part.n, method=method, level=level)
            return Estimate(share.value, *share.ci, level=level, reason=share.reason)
        return observed_risk(part.times, part.codes, part.horizon, level)

    def rates(self, members: NDArray[np.bool_]) -> Array:
        """Risk of the event by the horizon in each of k subsets (shape (k, n)); NaN of an empty one."""
        if self.times is None or self.codes is None:
            total = members.sum(axis=1)
            return np.where(total > 0, members @ self.y / np.maximum(total, 1), np.nan)
        return event_rates(self.times, self.codes, members, self.horizon)


def event(y: ArrayLike | EventBy) -> EventBy:
    """An outcome without time (0, 1, both there); what is an `EventBy` already stays it.

    Raises
    ------
    OutcomeError
        The outcome is missing, not binary, or of one class.
    """
    return y if isinstance(y, EventBy) else EventBy(binary_outcome(y))


def event_by(time: ArrayLike, code: ArrayLike, horizon: float) -> EventBy:
    """Follow-up with codes 0 censored, 1 event, 2 competing event, looked at by a horizon.

    Raises
    ------
    OutcomeError
        Times or codes cannot be used.
    """
    times, codes = check_codes(time, code)
    y = np.where((times <= horizon) & (codes == 1), 1.0, np.where((times <= horizon) & (codes == 0), np.nan, 0.0))
    return EventBy(y, times, codes, float(horizon))


def state_weights(times: Array, codes: Array, t: float) -> StateWeights:
    """Inverse probability of censoring weights at a horizon.

    Raises
    ------
    OutcomeError
        No event by then, or nobody observed beyond it.
    """
    model = censoring_model(times, (codes > 0).astype(float))
    found = _weights(times, codes, t, model.before(times), float(model.at(np.array([t]))[0]))
    if found is None:
        case, beyond = (times <= t) & (codes == 1), times > t
        raise OutcomeError(
            f"Nothing can be estimated at time {t:g}.",
            expected="events before and patients under observation after it",
            found=f"{int(case.sum())} events, {int(beyond.sum())} patients beyond",
            remedy="choose an earlier or later time",
        )
    return found


def _weights(
    times: Array, codes: Array, t: float, before: Array, at: float, left_out: int | None = None
) -> StateWeights | None:
    """Weights from G just before each patient's time and at `t`; None where there are no cases or controls."""
    own = np.where(before > 0, before, 1.0)
    beyond = times > t
    case = np.where((times <= t) & (codes == 1), 1.0 / own, 0.0)
    control = np.where((times <= t) & (codes == 2), 1.0 / own, 0.0)
    if left_out is not None:
        case[left_out] = control[left_out] = 0.0
        beyond[left_out] = False
    if case.sum() == 0 or not beyond.any() or at == 0:
        return None
    control[beyond] = 1.0 / at
    return StateWeights(case, control)


def weights_without_each(times: Array, codes: Array, t: float) -> Iterator[StateWeights | None]:
    """`state_weights` of all patients but one, for each in turn; the one has weight 0. None: nothing to estimate."""
    model = censoring_model(times, (codes > 0).astype(float))
    place, until = np.searchsorted(model.time, times), int(np.searchsorted(model.time, t, side="right"))
    censored = np.bincount(place, weights=codes == 0)
    for i, own in enumerate(place):
        at_risk, leaving = model.at_risk.copy(), censored.copy()
        at_risk[: own + (codes[i] == 0)] -= 1
        leaving[own] -= codes[i] == 0
        hazard = np.divide(leaving, at_risk, out=np.zeros_like(leaving), where=at_risk > 0)
        survival = np.concatenate([[1.0], np.cumprod(1 - hazard)])
        yield _weights(times, codes, t, survival[place], float(survival[until]), i)


def observed_risk(times: Array, codes: Array, t: float, level: float = 0.95) -> Estimate:
    """Risk of the event by a time without any predictor (Aalen-Johansen; 1 - Kaplan-Meier), with limits.

    No estimate where nobody is followed to that time although some are still without event.
    """
    curve = cumulative_incidence(times, codes, level=level)
    open_end = curve.time[-1] < t and curve.incidence[-1] + curve.competing[-1] < 1 - 1e-12
    if open_end:
        return missing("nobody is followed to the horizon")
    return Estimate(float(curve.at([t])[0]), *curve.interval_at(t), level=level)


def event_rates(times: Array, codes: Array, members: NDArray[np.bool_], t: float) -> Array:
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


def pseudo_values(times: Array, codes: Array, t: float) -> Array:
    """Pseudo-value of each patient's event state at a time, shape (n,): n F(t) - (n - 1) F without the patient(t)."""
    distinct, place = np.unique(times, return_inverse=True)
    own = np.bincount(place, weights=codes == 1).astype(float)
    gone = own + np.bincount(place, weights=codes == 2).astype(float)
    leaving = np.bincount(place).astype(float)
    risk = len(times) - np.concatenate([[0.0], np.cumsum(leaving)[:-1]])
    upto = int(np.searchsorted(distinct, t, side="right"))
    survival, incidence = _incidence(own[:upto], gone[:upto], risk[:upto])
    # Without a patient, one fewer is at risk at the times before his; what comes after is as before, but for its start.
    fewer, earlier = _incidence(own[:upto], gone[:upto], risk[:upto] - 1)
    here = np.minimum(place, max(upto - 1, 0))
    rest = np.maximum(risk[here] - 1, 1.0)
    share = fewer[here] * (own[here] - (codes == 1)) / rest
    then = fewer[here] * (1 - (gone[here] - (codes > 0)) / rest)
    with np.errstate(divide="ignore", invalid="ignore"):
        later = np.where(survival[here + 1] > 0, (incidence[-1] - incidence[here + 1]) / survival[here + 1], 0.0)
    left = np.where(place < upto, earlier[here] + share + then * later, earlier[-1])
    n = len(times)
    return np.asarray(n * incidence[-1] - (n - 1) * left)


def _incidence(own: Array, gone: Array, risk: Array) -> tuple[Array, Array]:
    """Survival and Aalen-Johansen incidence before each time and after the last, each with one value more."""
    safe = np.where(risk > 0, risk, 1.0)
    survival = np.concatenate([[1.0], np.cumprod(1 - gone / safe)])
    return survival, np.concatenate([[0.0], np.cumsum(survival[:-1] * own / safe)])
