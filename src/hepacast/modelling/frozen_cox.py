"""A Cox model as plain numbers: enough to recompute every patient's risk at every time, with its interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.stats import norm

from hepacast.core.entries import Entry, checked_number, checked_numbers, require
from hepacast.errors import ModelError
from hepacast.modelling.base import Array
from hepacast.modelling.frozen_logistic import FrozenLinear


def cumulative_hazard(steps: tuple[float, ...], hazard: tuple[float, ...], last_time: float, times: ArrayLike) -> Array:
    """A step function at times.

    Raises
    ------
    ModelError
        A time beyond the follow-up of the training patients.
    """
    at = np.atleast_1d(np.asarray(times, dtype=float))
    if at.size and float(at.max()) > last_time:
        raise ModelError(
            "The model knows nothing of times so late.",
            expected=f"at most {last_time:g}, the longest follow-up in training",
            found=f"{float(at.max()):g}",
        )
    index = np.searchsorted(np.array(steps), at, side="right") - 1
    heights = np.array(hazard)
    return np.where(index >= 0, heights[np.maximum(index, 0)], 0.0) if heights.size else np.zeros(len(at))


@dataclass(frozen=True)
class FrozenCox(FrozenLinear):
    """risk(t) = 1 - exp(-H0(t) exp(lp)), lp = sum of coefficient x (term - training mean).

    The first coefficient is minus the mean of the linear predictor (its variance is 0), so that ``linear_predictor``
    is centered and `baseline` is the cumulative hazard of a patient with the mean of every term.

    Attributes
    ----------
    baseline_time, baseline_hazard
        Steps of the cumulative baseline hazard (Breslow's estimate, with Efron's weights for ties where the
        coefficients have them).
    last_time
        Longest follow-up in training: nothing is known beyond it.
    limits
        By horizon: variance of the baseline hazard, and integral of the covariates' mean over the hazard, from which
        `interval` is made (Tsiatis, Ann Stat 1981;9:93).
    method
        ``cox``, ``cox-firth`` (separated data), ``fine-gray`` (subdistribution hazard), or ``baseline only``.
    """

    baseline_time: tuple[float, ...] = ()
    baseline_hazard: tuple[float, ...] = ()
    last_time: float = float("nan")
    limits: Mapping[str, tuple[float, tuple[float, ...]]] | None = None

    def cumulative_hazard(self, times: ArrayLike) -> Array:
        """Baseline cumulative hazard at times, a step function.

        Raises
        ------
        ModelError
            A time beyond the follow-up of the training patients.
        """
        return cumulative_hazard(self.baseline_time, self.baseline_hazard, self.last_time, times)

    kind: ClassVar[str] = "cox"
    every_time: ClassVar[bool] = True

    def risk_of(self, linear_predictor: ArrayLike, time: float | None = None) -> Array:
        """Risk of the event by a time for given linear predictors.

        Raises
        ------
        ModelError
            No time, or one beyond the follow-up of the training patients.
        """
        if time is None:
            raise ModelError("A risk of this model is one by a time.", expected="a time", found="none")
        lp = np.clip(np.asarray(linear_predictor, dtype=float), -500, 500)
        return np.asarray(-np.expm1(-self.cumulative_hazard([time])[0] * np.exp(lp)))

    def interval(self, frame: pd.DataFrame, level: float = 0.95, time: float | None = None) -> Array:
        """Limits of each row's risk by a time, shape (n, 2), on the scale of the log cumulative hazard.

        Uncertainty of coefficients and baseline, not that of the selection or of the Radscore's weights. NaN for a time
        that is none of the model's horizons.
        """
        key = "" if time is None else f"{time:g}"
        hazard = 0.0 if time is None else float(self.cumulative_hazard([time])[0])
        if self.limits is None or key not in self.limits or hazard <= 0:
            return np.full((len(frame), 2), np.nan)
        variance, integral = self.limits[key]
        lp = self.linear_predictor(frame)
        centered = self.design(frame) - np.array([term.mean for term in self.terms])
        leverage = centered * hazard - np.array(integral)
        covariance = np.array(self.covariance, dtype=float)[1:, 1:]
        spread = np.sqrt(variance + np.einsum("ij,jk,ik->i", leverage, covariance, leverage)) / hazard
        half = float(norm.ppf(0.5 + level / 2)) * spread
        center = np.log(hazard) + np.clip(lp, -500, 500)
        ends = np.minimum(np.column_stack([center - half, center + half]), 700.0)  # the risk is 1 far before
        return np.asarray(-np.expm1(-np.exp(ends)))

    def to_dict(self) -> dict[str, Any]:
        """JSON-able description, complete."""
        return super().to_dict() | {
            "kind": self.kind,
            "baseline_time": list(self.baseline_time),
            "baseline_hazard": list(self.baseline_hazard),
            "last_time": self.last_time,
            "limits": None
            if self.limits is None
            else {key: [variance, list(integral)] for key, (variance, integral) in self.limits.items()},
        }

    @classmethod
    def from_dict(cls, entry: Mapping[str, Any], place: str = "model") -> Self:
        """The inverse of `to_dict`.

        Raises
        ------
        ModelError
            A value is not of its kind, or impossible (a cumulative hazard that falls or is negative).
        """
        own = Entry(entry, place)
        fields = cls._fields_of(own)
        time, hazard = own.numbers("baseline_time"), own.numbers("baseline_hazard")
        require_steps(own, time, hazard)
        terms = len(fields["terms"])
        limits = None
        if own.raw("limits") is not None:
            known = own.entry("limits")
            limits = {key: _limit(known.raw(key), known.at(key), terms) for key in known}
        last = own.number("last_time", low=max(time, default=0.0))
        return cls(**fields, baseline_time=time, baseline_hazard=hazard, last_time=last, limits=limits)


def require_steps(entry: Entry, time: tuple[float, ...], hazard: tuple[float, ...]) -> None:
    """A cumulative baseline hazard: it begins at or above 0, never falls, and its times are in order.

    Raises
    ------
    ModelError
    """
    where = entry.at("baseline_hazard")
    require(len(time) == len(hazard), where, f"{len(time)} values of the baseline hazard", len(hazard))
    require(not time or time[0] >= 0, entry.at("baseline_time"), "times from 0 on", time[:1])
    for earlier, later in pairwise(time):
        require(earlier < later, entry.at("baseline_time"), "times in increasing order", f"{earlier:g}, {later:g}")
    for earlier, later in pairwise((0.0, *hazard)):
        require(earlier <= later, where, "a hazard from 0 on that never falls", f"{later:g} after {earlier:g}")


def _limit(value: Any, place: str, terms: int) -> tuple[float, tuple[float, ...]]:
    require(isinstance(value, list | tuple) and len(value) == 2, place, "a variance and an integral", value)
    return checked_number(value[0], place, low=0.0), checked_numbers(value[1], place, terms)
