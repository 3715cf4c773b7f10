"""A Cox model as plain numbers: enough to recompute every patient's risk at every time, with its interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.stats import norm

from hepacast.errors import ModelError
from hepacast.modelling.base import Array
from hepacast.modelling.frozen_logistic import FrozenLinear


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
        at = np.atleast_1d(np.asarray(times, dtype=float))
        if at.size and float(at.max()) > self.last_time:
            raise ModelError(
                "The model knows nothing of times so late.",
                expected=f"at most {self.last_time:g}, the longest follow-up in training",
                found=f"{float(at.max()):g}",
            )
        index = np.searchsorted(np.array(self.baseline_time), at, side="right") - 1
        hazard = np.array(self.baseline_hazard)
        return np.where(index >= 0, hazard[np.maximum(index, 0)], 0.0) if hazard.size else np.zeros(len(at))

    def risk_of(self, linear_predictor: ArrayLike, time: float) -> Array:
        """Risk of the event by a time for given linear predictors."""
        lp = np.clip(np.asarray(linear_predictor, dtype=float), -500, 500)
        return np.asarray(-np.expm1(-self.cumulative_hazard([time])[0] * np.exp(lp)))

    def risk(self, frame: pd.DataFrame, time: float) -> Array:
        """Risk of the event by a time, of each row."""
        return self.risk_of(self.linear_predictor(frame), time)

    def interval(self, frame: pd.DataFrame, time: float, level: float = 0.95) -> Array:
        """Limits of each row's risk by a time, shape (n, 2), on the scale of the log cumulative hazard.

        Uncertainty of coefficients and baseline, not that of the selection or of the Radscore's weights. NaN for a time
        that is none of the model's horizons.
        """
        hazard = float(self.cumulative_hazard([time])[0])
        key = f"{time:g}"
        if self.limits is None or key not in self.limits or hazard <= 0:
            return np.full((len(frame), 2), np.nan)
        variance, integral = self.limits[key]
        lp = self.linear_predictor(frame)
        centered = self.design(frame) - np.array([term.mean for term in self.terms])
        leverage = centered * hazard - np.array(integral)
        covariance = np.array(self.covariance, dtype=float)[1:, 1:]
        spread = np.sqrt(variance + np.einsum("ij,jk,ik->i", leverage, covariance, leverage)) / hazard
        half = float(norm.ppf(0.5 + level / 2)) * spread
        center = np.log(hazard) + lp
        return np.asarray(-np.expm1(-np.exp(np.column_stack([center - half, center + half]))))

    def to_dict(self) -> dict[str, Any]:
        """JSON-able description, complete."""
        return super().to_dict() | {
            "kind": "cox",
            "baseline_time": list(self.baseline_time),
            "baseline_hazard": list(self.baseline_hazard),
            "last_time": self.last_time,
            "limits": None
            if self.limits is None
            else {key: [variance, list(integral)] for key, (variance, integral) in self.limits.items()},
        }

    @classmethod
    def from_dict(cls, entry: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`."""
        limits = entry["limits"]
        return cls(
            **cls._fields_of(entry),
            baseline_time=tuple(float(t) for t in entry["baseline_time"]),
            baseline_hazard=tuple(float(h) for h in entry["baseline_hazard"]),
            last_time=float(entry["last_time"]),
            limits=None
            if limits is None
            else {key: (float(item[0]), tuple(float(v) for v in item[1])) for key, item in limits.items()},
        )
