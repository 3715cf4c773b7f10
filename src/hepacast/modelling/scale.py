"""Scalers: Z-score (the paper's), robust, and rank to normal; constant columns are left out and remembered."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import ndtri
from scipy.stats import rankdata

from hepacast.modelling.base import Array, Step, numbers_of

#: A spread below this share of the column's size is rounding, not variation.
_ROUNDING = 1e-12
#: Columns that are looked at together.
_COLUMNS = 64
_SAME = "the same value in all training patients"


class ZScore(Step):
    """(value - center) / spread, both from the training rows.

    Parameters
    ----------
    method
        ``"zscore"``: mean and standard deviation (n - 1), as R's ``scale``. ``"robust"``: median and interquartile
        range / 1.349, or the standard deviation where the quartiles coincide.
    constant
        Columns that do not vary in training: ``"drop"`` them, or keep them as ``"zero"``.

    Attributes
    ----------
    center_, spread_
        Of each training column; a constant column has spread 1.
    constant_
        Names of the constant columns.
    minimum_, maximum_
        Range of each training column, in its own units.
    """

    def __init__(
        self, method: Literal["zscore", "robust"] = "zscore", constant: Literal["drop", "zero"] = "drop"
    ) -> None:
        self.method = method
        self.constant = constant

    def _fit(self, frame: pd.DataFrame, y: ArrayLike | None) -> None:
        values = numbers_of(frame)
        center, spread, low, high = np.empty((4, values.shape[1]))
        # Some columns at a time: what is computed on the way stays small, whatever the number of patients.
        for start in range(0, values.shape[1], _COLUMNS):
            some = slice(start, start + _COLUMNS)
            part = values[:, some]
            center[some], spread[some] = self._center_and_spread(part)
            low[some], high[some] = part.min(axis=0), part.max(axis=0)
        flat = ~(spread > _ROUNDING * np.maximum(np.abs(low), np.abs(high)))
        self.center_ = pd.Series(center, index=self.feature_names_in_)
        self.spread_ = pd.Series(np.where(flat, 1.0, spread), index=self.feature_names_in_)
        self.minimum_ = pd.Series(low, index=self.feature_names_in_)
        self.maximum_ = pd.Series(high, index=self.feature_names_in_)
        self.constant_ = [str(name) for name in self.feature_names_in_[flat]]
        self._flat = flat

    def _center_and_spread(self, values: Array) -> tuple[Array, Array]:
        freedom = 1 if len(values) > 1 else 0
        deviation = values.std(axis=0, ddof=freedom)
        if self.method == "zscore":
            return values.mean(axis=0), deviation
        low, middle, high = np.quantile(values, [0.25, 0.5, 0.75], axis=0)
        return middle, np.where(high > low, (high - low) / 1.349, deviation)

    def _transform(self, frame: pd.DataFrame) -> pd.DataFrame:
        scaled = numbers_of(frame) - self.center_.to_numpy()
        scaled /= self.spread_.to_numpy()
        if self._flat.any():
            if self.constant == "drop":
                return pd.DataFrame(
                    scaled[:, ~self._flat], index=frame.index, columns=self.feature_names_in_[~self._flat]
                )
            scaled[:, self._flat] = 0.0
        return pd.DataFrame(scaled, index=frame.index, columns=self.feature_names_in_, copy=False)

    def left_out(self) -> dict[str, int]:
        """Constant columns, and those that differ by rounding only."""
        if self.constant != "drop":
            return {}
        same = self.minimum_[self.constant_] == self.maximum_[self.constant_]
        counts = {_SAME: int(same.sum()), "nearly the same value (differences as of rounding)": int((~same).sum())}
        return {reason: n for reason, n in counts.items() if n}

    def describe(self) -> str:
        """Name of the scaling."""
        return "Z-score" if self.method == "zscore" else "Robust scaling"

    def _names_out(self) -> list[str]:
        if self.constant == "zero":
            return list(self.feature_names_in_)
        return [str(name) for name in self.feature_names_in_[~self._flat]]


def normal_scores(values: Array) -> Array:
    """Normal quantiles of the places in each column (Blom's, as of `RankToNormal`), shape (n,) or (n, p)."""
    return np.asarray(ndtri((rankdata(values, axis=0) - 0.375) / (len(values) + 0.25)))


class RankToNormal(Step):
    """Each value becomes the normal quantile of its place among the training values (Blom's (r - 3/8) / (n + 1/4)).

    Between training values the place is interpolated; beyond them it is that of the extreme. Columns without variation
    in training are left out.

    Attributes
    ----------
    constant_
        Names of the constant columns.
    flat_, places_
        Which columns are constant; by other column the distinct training values and their normal scores.
    """

    def _fit(self, frame: pd.DataFrame, y: ArrayLike | None) -> None:
        values = np.sort(numbers_of(frame), axis=0)
        self.flat_ = ~(values[-1] > values[0])
        self.constant_ = [str(name) for name in self.feature_names_in_[self.flat_]]
        n = len(values)
        quantiles = ndtri((np.arange(1, n + 1) - 0.375) / (n + 0.25))
        self.places_: list[tuple[Array, Array]] = []
        for column in values[:, ~self.flat_].T:
            distinct, start, count = np.unique(column, return_index=True, return_counts=True)
            cumulative = np.concatenate([[0.0], np.cumsum(quantiles)])
            self.places_.append((distinct, (cumulative[start + count] - cumulative[start]) / count))

    def _transform(self, frame: pd.DataFrame) -> pd.DataFrame:
        values = numbers_of(frame)[:, ~self.flat_]
        out = np.empty_like(values)
        for j, (distinct, scores) in enumerate(self.places_):
            out[:, j] = np.interp(values[:, j], distinct, scores)
        return pd.DataFrame(out, index=frame.index, columns=self.feature_names_in_[~self.flat_])

    def left_out(self) -> dict[str, int]:
        """Constant columns."""
        return {_SAME: len(self.constant_)} if self.constant_ else {}

    def describe(self) -> str:
        """Name of the scaling."""
        return "Ranks to normal scores"

    def _names_out(self) -> list[str]:
        return [str(name) for name in self.feature_names_in_[~self.flat_]]
