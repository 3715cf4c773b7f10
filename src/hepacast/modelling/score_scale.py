"""From a score to risks: what recalibrates the mean score of several networks, for an event or a time to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from hepacast.core.records import Record
from hepacast.errors import ModelError
from hepacast.modelling.base import Array
from hepacast.modelling.cox_model import CoxModel
from hepacast.modelling.frozen_cox import cumulative_hazard
from hepacast.modelling.targets import has_time
from hepacast.stats.logistic import fit_logistic

#: A score says nothing below this slope: then everybody gets about the rate, in the order of the scores.
LEAST_SLOPE = 0.05


@dataclass(frozen=True)
class ScoreScale(Record):
    """A logistic or Cox model of one score.

    Attributes
    ----------
    intercept, slope
        The linear predictor is ``intercept + slope * score``: log odds, or the log hazard against the mean patient.
    baseline_time, baseline_hazard
        Of a time to an event: steps of the cumulative hazard of the mean patient (of the subdistribution where risks
        compete).
    last_time
        Longest follow-up in training.
    """

    intercept: float
    slope: float
    baseline_time: tuple[float, ...] = ()
    baseline_hazard: tuple[float, ...] = ()
    last_time: float = float("nan")

    @classmethod
    def fit(cls, score: Array, y: NDArray[np.generic]) -> Self:
        """Fit to scores (n,) and an outcome of either shape (`hepacast.modelling.targets`)."""
        return cls._of_times(score, y) if has_time(y) else cls._of_events(score, np.asarray(y, dtype=float))

    @classmethod
    def _of_events(cls, score: Array, y: Array) -> Self:
        fit = fit_logistic(score[:, None], y, ["score"])
        if fit.ok and float(fit.coef[0]) > LEAST_SLOPE:
            return cls(float(fit.intercept), float(fit.coef[0]))
        if fit.status == "separated" and score[y == 1].mean() > score[y == 0].mean():
            # The scores part the groups without an error, and have no estimate: they are taken as they are.
            return cls(0.0, 1.0)
        rate = float(y.mean())
        return cls(float(np.log(rate / (1 - rate)) - LEAST_SLOPE * score.mean()), LEAST_SLOPE)

    @classmethod
    def _of_times(cls, score: Array, y: NDArray[np.generic]) -> Self:
        frame = pd.DataFrame({"score": score})
        try:
            found = CoxModel().fit(frame, y).frozen_
        except ModelError:
            found = None
        if found is not None and found.terms and found.coefficients[1] > LEAST_SLOPE:
            intercept, slope = found.coefficients
        else:
            found = CoxModel(()).fit(frame, y).frozen_
            intercept, slope = -LEAST_SLOPE * float(score.mean()), LEAST_SLOPE
        return cls(float(intercept), float(slope), found.baseline_time, found.baseline_hazard, found.last_time)

    @property
    def has_time(self) -> bool:
        """Whether risks are by a time."""
        return bool(self.baseline_time)

    def linear(self, score: ArrayLike) -> Array:
        """Log odds, or the log hazard against the mean patient."""
        return np.asarray(self.intercept + self.slope * np.asarray(score, dtype=float))

    def risk(self, score: ArrayLike, time: float | None = None) -> Array:
        """Risk of the event (by a time).

        Raises
        ------
        ModelError
            A time is needed and none is given, or it lies beyond the follow-up of the training patients.
        """
        lp = self.linear(score)
        if not self.has_time:
            return np.asarray(1.0 / (1.0 + np.exp(-np.clip(lp, -700, 700))))
        if time is None:
            raise ModelError("A risk of these networks is one by a time.", expected="a time", found="none")
        steps = self.baseline_time, self.baseline_hazard, self.last_time
        hazard = cumulative_hazard(*steps, time)[0]
        return np.asarray(-np.expm1(-hazard * np.exp(np.clip(lp, -500, 500))))

    def risks(self, score: ArrayLike, horizons: tuple[float, ...]) -> Array:
        """Risks by horizon, shape (n, horizons); of an event without time the one column is the risk."""
        columns = [self.risk(score, time if self.has_time else None) for time in horizons]
        return np.column_stack(columns)
