"""Clinical predictors: what a column is, and how it becomes columns of a design matrix."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import skew

from hepacast.errors import ModelError
from hepacast.modelling.base import Array, listed
from hepacast.stats.design import is_categorical

Kind = Literal["numeric", "binary", "categorical"]

_LOGARITHMS: dict[str, Callable[[Array], Array]] = {
    "": np.asarray,
    "ln": np.log,
    "log2": np.log2,
    "log10": np.log10,
    "log10p1": lambda x: np.log10(1.0 + x),
}


#: Skewness from which on a number has a long tail.
SKEWED = 1.0


@dataclass(frozen=True)
class Predictor:
    """One candidate predictor.

    Parameters
    ----------
    name
        Column of the table.
    kind
        ``numeric``, ``binary`` (0 and 1, or two words) or ``categorical``.
    levels
        Levels in order, the first is the reference. Empty: those that occur, sorted.
    label, unit
        For tables and figures.
    log
        Logarithm that the model uses: ``ln``, ``log2``, ``log10``, ``log10p1`` (of 1 + x).
    """

    name: str
    kind: Kind = "numeric"
    levels: tuple[str, ...] = ()
    label: str = ""
    unit: str = ""
    log: str = ""

    def __post_init__(self) -> None:
        if self.kind not in ("numeric", "binary", "categorical") or self.log not in _LOGARITHMS:
            raise ModelError(
                f"The predictor {self.name!r} is not described well.",
                expected="kind numeric, binary or categorical; log empty, ln, log2, log10 or log10p1",
                found=f"kind {self.kind!r}, log {self.log!r}",
            )
        object.__setattr__(self, "levels", tuple(str(level) for level in self.levels))
        object.__setattr__(self, "label", self.label or self.name)

    @property
    def is_level(self) -> bool:
        """Whether it enters as 0/1 columns of named levels rather than as a number."""
        return self.kind != "numeric"

    @classmethod
    def from_column(cls, entry: Mapping[str, Any]) -> Predictor:
        """From an entry of ``columns.json`` (or `ColumnSpec.to_json`); binary columns are stored there as 0 and 1."""
        kind = entry["kind"]
        if kind not in ("numeric", "binary", "categorical"):
            raise ModelError(f"The column {entry['name']!r} cannot be a predictor.", found=f"kind {kind!r}")
        levels = tuple(entry.get("levels") or ()) if kind == "categorical" else ()
        return cls(
            name=entry["name"],
            kind=kind,
            levels=levels,
            label=entry.get("label") or "",
            unit=entry.get("unit") or "",
            log=entry.get("log") or "",
        )

    def to_dict(self) -> dict[str, Any]:
        """As a JSON-able dictionary."""
        return {
            "name": self.name,
            "kind": self.kind,
            "levels": list(self.levels),
            "label": self.label,
            "unit": self.unit,
            "log": self.log,
        }


def infer_predictors(frame: pd.DataFrame, names: Iterable[str] | None = None) -> tuple[Predictor, ...]:
    """Predictors of a table by its columns' types: 0/1 numbers and two words are binary, other words categorical."""
    found = []
    for name in names if names is not None else frame.columns:
        column = frame[name]
        values = column.dropna().unique()
        if is_categorical(column):
            kind: Kind = "binary" if len(values) <= 2 else "categorical"
        else:
            kind = "binary" if set(values.tolist()) <= {0, 1} else "numeric"
        levels: tuple[str, ...] = ()
        if kind == "categorical" and isinstance(column.dtype, pd.CategoricalDtype):
            levels = tuple(str(level) for level in column.cat.categories)
        found.append(Predictor(str(name), kind, levels))
    return tuple(found)


def in_logarithms(predictors: Sequence[Predictor], frame: pd.DataFrame) -> tuple[Predictor, ...]:
    """Numbers from 0 on with a long tail to the right enter as log10(1 + x): skewness above `SKEWED`, and smaller as a
    logarithm (liver enzymes, AFP). A new patient's 0 has a logarithm too."""
    return tuple(
        replace(item, log="log10p1") if _has_long_tail(frame[item.name], item) else item for item in predictors
    )


def _has_long_tail(column: pd.Series[Any], predictor: Predictor) -> bool:
    if predictor.is_level or predictor.log:
        return False
    values = numeric_values(column, predictor)
    values = values[np.isfinite(values)]
    if len(np.unique(values)) < 3 or values.min() < 0:
        return False
    return bool(skew(values) > SKEWED and abs(skew(np.log1p(values))) < skew(values))


def level_text(column: pd.Series) -> pd.Series:
    """Levels as text; 0.0 and False read "0", 1.0 and True "1"; missing stays missing."""
    codes, texts = coded_levels(column)
    return pd.Series(np.array(texts, dtype=object)[codes], index=column.index, dtype=object)


def coded_levels(column: pd.Series) -> tuple[NDArray[np.int64], list[str | None]]:
    """Each row's place in the column's distinct levels, and these as text; the last, None, stands for missing."""
    codes: NDArray[np.int64] = np.arange(len(column))
    distinct: Any = column
    # Values that cannot be told apart by a hash stay as they are.
    with suppress(TypeError):
        codes, distinct = pd.factorize(column)
    return codes, [*(_as_text(value) for value in distinct), None]


def _as_text(value: Any) -> str | None:
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and np.isnan(value)):
        return None
    if isinstance(value, bool | np.bool_):
        return str(int(value))
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)


def numbers_in(column: pd.Series) -> Array:
    """Finite numbers of a column in its own unit; all else is NaN."""
    if not (isinstance(column.dtype, np.dtype) and column.dtype.kind in "fiu"):
        column = pd.to_numeric(column, errors="coerce")
    values = column.to_numpy(dtype=float, na_value=np.nan)
    return np.where(np.isfinite(values), values, np.nan)


def numeric_values(column: pd.Series, predictor: Predictor) -> Array:
    """A numeric predictor's values on the model's scale (logarithm taken); missing and infinite are NaN.

    Raises
    ------
    ModelError
        Not numbers, or a logarithm of a value that has none.
    """
    values = numbers_in(column)
    if column.dtype.kind == "O":
        words = (column.notna() & pd.to_numeric(column, errors="coerce").isna()).to_numpy()
        if words.any():
            found = listed(column[words].unique())
            raise ModelError(f"The numeric predictor {predictor.name!r} holds words.", found=found)
    function = _LOGARITHMS[predictor.log]
    with np.errstate(invalid="ignore", divide="ignore"):
        logs = np.asarray(function(values))
    if (np.isfinite(values) & ~np.isfinite(logs)).any():
        wrong = column.index[np.isfinite(values) & ~np.isfinite(logs)]
        raise ModelError(
            f"{predictor.name!r} enters as a logarithm, and some values have none.",
            expected="values above 0",
            found=f"patients {listed(wrong)}",
            remedy="use log10p1 for values that may be 0",
        )
    return logs


_INVERSES: dict[str, Callable[[float], float]] = {
    "": lambda x: x,
    "ln": lambda x: float(np.exp(x)),
    "log2": lambda x: float(np.exp2(x)),
    "log10": lambda x: float(10.0**x),
    "log10p1": lambda x: float(10.0**x - 1.0),
}


def on_model_scale(value: float, log: str) -> float:
    """The number that the model holds of a value in its own unit."""
    return float(_LOGARITHMS[log](np.asarray(value)))


def back_to_units(value: float, log: str) -> float:
    """The value in its own unit whose logarithm the model holds."""
    return _INVERSES[log](value)


def require_columns(frame: pd.DataFrame, predictors: Sequence[Predictor]) -> None:
    """Raise a ModelError that names the predictors which are not columns of the table."""
    missing = [predictor.name for predictor in predictors if predictor.name not in frame.columns]
    if missing:
        raise ModelError(
            "Predictors are not columns of the table.", expected=listed(frame.columns), found=f"no {listed(missing)}"
        )
