"""Check arrays before a fit, and turn a table with categories into a design matrix with named columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from hepacast.errors import ModelError, OutcomeError, TableError

Array = NDArray[np.float64]


def binary_outcome(y: ArrayLike, *, what: str = "outcome") -> Array:
    """The outcome as 0.0 and 1.0.

    Raises
    ------
    OutcomeError
        A value is missing, is neither 0 nor 1 (or False/True), or only one class is present.
    """
    values = one_class_allowed(y, what=what)
    if values.size == 0 or values.min() == values.max():
        found = "no patients" if values.size == 0 else f"{values.size} patients, all with outcome {int(values[0])}"
        raise OutcomeError(
            f"The {what} has only one class.",
            expected="patients with the event (1) and without it (0)",
            found=found,
            remedy="check the outcome's definition, or the rows that were kept",
        )
    return values


def one_class_allowed(y: ArrayLike, *, what: str = "outcome") -> Array:
    """As `binary_outcome`, but a set with one class only is let through."""
    try:
        values = np.asarray(y, dtype=float).ravel()
    except (TypeError, ValueError) as error:
        raise OutcomeError(
            f"The {what} is not numeric.", expected="0 and 1 (or False and True)", found=_sample(y)
        ) from error
    if np.isnan(values).any():
        raise OutcomeError(
            f"The {what} has missing values.",
            expected="0 or 1 for every patient",
            found=f"{int(np.isnan(values).sum())} of {values.size} missing",
            where=f"first at row {int(np.flatnonzero(np.isnan(values))[0])} (counting from 0)",
            remedy="leave these patients out and count them in the flow diagram",
        )
    strange = values[(values != 0.0) & (values != 1.0)]
    if strange.size:
        raise OutcomeError(
            f"The {what} is not binary.",
            expected="0 and 1",
            found=f"also {', '.join(f'{value:g}' for value in np.unique(strange)[:5])}",
            remedy="recode it so that 1 is the event",
        )
    return values


def _sample(values: ArrayLike) -> str:
    return ", ".join(repr(value) for value in list(np.asarray(values, dtype=object).ravel()[:3]))


def finite_matrix(x: ArrayLike, n: int, names: Sequence[str] | None) -> tuple[Array, tuple[str, ...]]:
    """Predictors as a float matrix (n, p) with one name a column.

    Raises
    ------
    ModelError
        Wrong shape, wrong number of names, or missing and infinite values.
    """
    if names is None and isinstance(x, pd.DataFrame):
        names = [str(column) for column in x.columns]
    try:
        matrix = np.asarray(x, dtype=float)
    except (TypeError, ValueError) as error:
        raise ModelError(
            "The predictors are not all numeric.",
            expected="numbers only",
            found=_sample(x),
            remedy="code categories first (hepacast.stats.design.treatment_design)",
        ) from error
    if matrix.ndim == 1:
        matrix = matrix[:, None]
    if matrix.ndim != 2 or matrix.shape[0] != n:
        raise ModelError(
            "Predictors and outcome do not have the same number of patients.",
            expected=f"{n} rows",
            found=f"an array of shape {matrix.shape}",
        )
    labels = tuple(str(name) for name in names) if names is not None else tuple(f"x{i}" for i in range(matrix.shape[1]))
    if len(labels) != matrix.shape[1]:
        raise ModelError(
            "There are not as many names as predictors.", expected=f"{matrix.shape[1]} names", found=f"{len(labels)}"
        )
    bad = ~np.isfinite(matrix)
    if bad.any():
        columns = [f"{labels[j]} ({int(bad[:, j].sum())})" for j in np.flatnonzero(bad.any(axis=0))[:6]]
        raise ModelError(
            "Predictors have missing or infinite values.",
            expected="a number for every patient and predictor",
            found=", ".join(columns),
            remedy="impute inside the training data, or leave these patients out and say so",
        )
    return matrix, labels


@dataclass(frozen=True)
class Design:
    """A design matrix without intercept: values (n, p), one name a column, and the rows that were complete.

    Attributes
    ----------
    matrix
        Complete rows only, shape (n_complete, p).
    names
        Column names; a category's column is `sex=m`, to be read as "m against the reference".
    terms
        For each predictor the indices of its columns.
    rows
        Boolean mask of the rows of the table that were complete.
    references
        Reference level of each categorical predictor.
    """

    matrix: Array
    names: tuple[str, ...]
    terms: dict[str, tuple[int, ...]]
    rows: NDArray[np.bool_]
    references: dict[str, str]


def is_categorical(column: pd.Series) -> bool:
    """Whether a column holds categories: text, pandas categories or booleans."""
    return bool(
        isinstance(column.dtype, pd.CategoricalDtype)
        or pd.api.types.is_bool_dtype(column)
        or not pd.api.types.is_numeric_dtype(column)
    )


def treatment_design(
    frame: pd.DataFrame, predictors: Sequence[str], *, references: Mapping[str, str] | None = None
) -> Design:
    """Numeric columns as they are, categories as 0/1 columns against a reference level (R's `contr.treatment`).

    Parameters
    ----------
    frame
        One row a patient.
    predictors
        Columns of `frame`, in the order in which they should appear.
    references
        Reference level by categorical column; the first level otherwise.

    Raises
    ------
    TableError
        A predictor is not a column, or no row is complete.
    """
    missing = [name for name in predictors if name not in frame.columns]
    if missing:
        raise TableError(
            "Predictors are not columns of the table.",
            expected=", ".join(str(name) for name in frame.columns[:20]),
            found=", ".join(missing),
        )
    rows = frame[list(predictors)].notna().all(axis=1).to_numpy()
    if not rows.any():
        raise TableError("No patient has a value for every predictor.", found=", ".join(predictors))
    complete = frame.loc[rows]
    columns: list[Array] = []
    names: list[str] = []
    terms: dict[str, tuple[int, ...]] = {}
    chosen: dict[str, str] = {}
    for name in predictors:
        first = len(names)
        if is_categorical(complete[name]):
            levels, chosen[name] = _levels(complete[name], (references or {}).get(name))
            text = complete[name].astype(str)
            for level in levels:
                columns.append(np.asarray(text == level, dtype=float))
                names.append(f"{name}={level}")
        else:
            columns.append(complete[name].to_numpy(dtype=float))
            names.append(str(name))
        terms[str(name)] = tuple(range(first, len(names)))
    matrix = np.column_stack(columns) if columns else np.empty((int(rows.sum()), 0))
    return Design(matrix, tuple(names), terms, rows, chosen)


def _levels(column: pd.Series, reference: str | None) -> tuple[list[str], str]:
    if isinstance(column.dtype, pd.CategoricalDtype):
        levels = [str(level) for level in column.cat.categories if (column == level).any()]
    else:
        levels = sorted({str(value) for value in column})
    first = levels[0] if reference is None else str(reference)
    if first not in levels:
        raise TableError(
            f"The reference level of {column.name!r} does not occur.", expected=", ".join(levels), found=first
        )
    return [level for level in levels if level != first], first
