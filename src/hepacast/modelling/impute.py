"""Missing values: filled with what the training rows say, and counted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from hepacast.errors import ModelError
from hepacast.modelling.base import Step, listed
from hepacast.modelling.table_order import medians_of
from hepacast.stats.design import is_categorical


class TypedImputer(Step):
    """Median (or mean) for numbers, most frequent value for categories; both from the training rows.

    Infinite values count as missing. A tie between categories goes to the first in alphabetical order.

    Parameters
    ----------
    numeric
        ``"median"`` or ``"mean"``.
    kinds
        ``{"column": "numeric" | "binary" | "categorical"}``; by default from the columns' types.
    all_missing
        A column without a single training value: ``"refuse"`` (error) or ``"drop"`` (left out, and remembered).

    Attributes
    ----------
    values_
        The value for each kept column.
    n_missing_
        Missing training values of each column.
    dropped_
        Columns without a single training value.
    """

    def __init__(
        self,
        numeric: Literal["median", "mean"] = "median",
        kinds: Mapping[str, str] | None = None,
        all_missing: Literal["refuse", "drop"] = "refuse",
    ) -> None:
        self.numeric = numeric
        self.kinds = kinds
        self.all_missing = all_missing

    def _fit(self, frame: pd.DataFrame, y: ArrayLike | None) -> None:
        kinds = self.kinds or {}
        self.is_numeric_ = np.array(
            [
                kinds[str(name)] == "numeric" if str(name) in kinds else _is_number(frame, position, dtype)
                for position, (name, dtype) in enumerate(zip(frame.columns, frame.dtypes))
            ],
            dtype=bool,
        )
        numbers = self._matrix(frame)
        missing = np.zeros(frame.shape[1], dtype=np.int64)
        missing[self.is_numeric_] = np.isnan(numbers).sum(axis=0)
        others = frame.loc[:, ~self.is_numeric_]
        missing[~self.is_numeric_] = others.isna().sum(axis=0).to_numpy()
        self.n_missing_ = pd.Series(missing, index=self.feature_names_in_)
        empty = missing == len(frame)
        self.dropped_ = [str(name) for name in self.feature_names_in_[empty]]
        if self.dropped_ and self.all_missing == "refuse":
            raise ModelError(
                "Columns have no value at all in the training rows.",
                found=listed(self.dropped_),
                remedy="leave these columns out, or look why they are empty",
            )
        self._kept = ~empty
        fills: dict[str, Any] = {}
        centers = self._center(frame if self.is_numeric_.all() else frame.loc[:, self.is_numeric_], numbers)
        for name, value, nothing in zip(self.feature_names_in_[self.is_numeric_], centers, empty[self.is_numeric_]):
            if not nothing:
                fills[str(name)] = float(value)
        for name in self.feature_names_in_[~self.is_numeric_ & ~empty]:
            fills[str(name)] = _most_frequent(frame[name])
        self.values_ = {str(name): fills[str(name)] for name in self.feature_names_in_[self._kept]}

    def left_out(self) -> dict[str, int]:
        """Columns without a value."""
        return {"without a value in any training patient": len(self.dropped_)} if self.dropped_ else {}

    def _matrix(self, frame: pd.DataFrame) -> np.ndarray:
        """Numeric columns as floats, infinite values missing."""
        numeric = frame if self.is_numeric_.all() else frame.loc[:, self.is_numeric_]
        numbers = np.asarray(numeric.to_numpy(dtype=float, na_value=np.nan))
        if np.isinf(numbers).any():
            numbers = np.where(np.isinf(numbers), np.nan, numbers)
        return numbers

    def _center(self, frame: pd.DataFrame, numbers: np.ndarray) -> np.ndarray:
        """Median or mean of each column's values; NaN of a column without one."""
        if self.numeric == "median":
            return medians_of(frame, numbers)
        missing = np.isnan(numbers)
        holes, empty = missing.any(axis=0), missing.all(axis=0)
        center = np.full(numbers.shape[1], np.nan)
        center[~holes] = numbers[:, ~holes].mean(axis=0)
        center[holes & ~empty] = np.nanmean(numbers[:, holes & ~empty], axis=0)
        return center

    def _transform(self, frame: pd.DataFrame) -> pd.DataFrame:
        numbers = self._matrix(frame)
        holes = np.isnan(numbers)
        if self.is_numeric_.all():
            kept = self._kept
            if not holes[:, kept].any():
                return frame if kept.all() else frame.loc[:, kept]
            fill = np.array([self.values_.get(str(name), np.nan) for name in self.feature_names_in_])
            filled = np.where(holes, fill, numbers)
            filled = filled if kept.all() else filled[:, kept]
            return pd.DataFrame(filled, index=frame.index, columns=frame.columns[kept], copy=False)
        return self._mixed(frame, numbers, holes)

    def _mixed(self, frame: pd.DataFrame, numbers: np.ndarray, holes: np.ndarray) -> pd.DataFrame:
        """Numbers as one block, categories column by column, then the table's own order."""
        numeric = self.feature_names_in_[self.is_numeric_]
        kept = self._kept[self.is_numeric_]
        fill = np.array([float(self.values_.get(str(name), np.nan)) for name in numeric])
        block = pd.DataFrame(np.where(holes, fill, numbers)[:, kept], index=frame.index, columns=numeric[kept])
        others = {
            name: frame[name].where(frame[name].notna(), self.values_[name])
            for name in self.feature_names_in_[~self.is_numeric_ & self._kept]
        }
        return pd.concat([block, pd.DataFrame(others, index=frame.index)], axis=1)[list(self.values_)]

    def _names_out(self) -> list[str]:
        return list(self.values_)

    def describe(self) -> str:
        """What stands in for a missing value."""
        return f"Missing values: training {self.numeric}"


def _is_number(frame: pd.DataFrame, position: int, dtype: Any) -> bool:
    # Thousands of plain float columns are told apart by their type alone.
    kind = getattr(dtype, "kind", "O")
    return kind in "fiu" or (kind != "b" and not is_categorical(frame.iloc[:, position]))


def _most_frequent(column: pd.Series) -> Any:
    counts = column.dropna().value_counts()
    best = counts[counts == counts.max()].index
    value = min(best, key=str)
    return value.item() if isinstance(value, np.generic) else value
