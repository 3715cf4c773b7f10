"""Predictors with splines, logarithms, levels and interactions as columns of a design matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from hepacast.errors import ModelError, TableError
from hepacast.nomogram import Interaction, NomogramPredictor
from hepacast.stats.splines import default_knots

Array = npt.NDArray[np.float64]
_FEW_VALUES = 10


@dataclass(frozen=True)
class Terms:
    """The right-hand side of a model.

    Attributes
    ----------
    predictors
        As the nomogram draws them.
    pairs
        Interactions.
    matrix
        Shape (n, p): main effects in order, then products.
    names
        Of the columns, as rms names them: ``age``, ``age'``, ``race=black``, ``race=black * smoke=yes``.
    """

    predictors: tuple[NomogramPredictor, ...]
    pairs: tuple[tuple[str, str], ...]
    matrix: Array
    names: tuple[str, ...]

    def split(self, coef: Array) -> tuple[dict[str, tuple[float, ...]], tuple[Interaction, ...]]:
        """Coefficients by predictor, and the interactions with theirs."""
        width = {item.name: item.n_columns for item in self.predictors}
        main, at = {}, 0
        for name, count in width.items():
            main[name] = tuple(float(value) for value in coef[at : at + count])
            at += count
        interactions = []
        for first, second in self.pairs:
            count = width[first] * width[second]
            grid = coef[at : at + count].reshape(width[first], width[second])
            interactions.append(Interaction(first, second, tuple(tuple(float(v) for v in row) for row in grid)))
            at += count
        return main, tuple(interactions)


def build_terms(
    frame: pd.DataFrame,
    *,
    splines: Mapping[str, int | Sequence[float]] | None = None,
    logs: Sequence[str] = (),
    ticks: Mapping[str, Sequence[float]] | None = None,
    interactions: Sequence[tuple[str, str]] = (),
) -> Terms:
    """Make the columns of a model.

    Parameters
    ----------
    frame
        Complete patients; numbers or pandas categories (the reference first).
    splines
        Number of knots (Harrell's quantiles) or the knots themselves, by predictor.
    logs
        Predictors whose natural logarithm enters.
    ticks
        Tick values of an axis.
    interactions
        Pairs of predictors.

    Raises
    ------
    TableError, ModelError
        A predictor that is constant, a spline of a category or of too few values, a logarithm of a value not above 0.
    """
    predictors = tuple(
        _predictor(frame[name], (splines or {}).get(str(name)), str(name) in logs, (ticks or {}).get(str(name)))
        for name in frame.columns
    )
    blocks = {item.name: _block(item, frame[item.name]) for item in predictors}
    names = {item.name: _names(item) for item in predictors}
    columns = [blocks[item.name] for item in predictors]
    labels = [label for item in predictors for label in names[item.name]]
    for first, second in interactions:
        if first == second:
            raise ModelError("A predictor cannot interact with itself.", found=first)
        product = blocks[first][:, :, None] * blocks[second][:, None, :]
        columns.append(product.reshape(len(frame), -1))
        labels.extend(f"{a} * {b}" for a in names[first] for b in names[second])
    return Terms(predictors, tuple(interactions), np.column_stack(columns), tuple(labels))


def _predictor(
    column: pd.Series, spline: int | Sequence[float] | None, log: bool, ticks: Sequence[float] | None
) -> NomogramPredictor:
    name = str(column.name)
    if isinstance(column.dtype, pd.CategoricalDtype):
        levels = tuple(str(level) for level in column.cat.categories if (column == level).any())
        if len(levels) < 2:
            raise ModelError(f"The predictor {name!r} is constant.", found=", ".join(levels), remedy="leave it out")
        if spline is not None or log:
            raise ModelError(f"{name!r} is a category: it has no spline and no logarithm.", found=", ".join(levels))
        return NomogramPredictor(name, levels=levels)
    values = column.to_numpy(dtype=float)
    distinct = np.unique(values)
    if len(distinct) < 2:
        raise ModelError(f"The predictor {name!r} is constant.", found=f"{distinct[0]:g}", remedy="leave it out")
    if log and distinct[0] <= 0:
        raise TableError(f"The logarithm of {name!r} needs values above 0.", found=f"{distinct[0]:g}")
    if log and spline is not None:
        raise ModelError(f"{name!r} is to have a logarithm and a spline.", expected="one of the two")
    knots = None if spline is None else _knots(name, values, spline)
    few = tuple(float(v) for v in distinct) if len(distinct) <= _FEW_VALUES else None
    low, high = float(distinct[0]), float(distinct[-1])
    shown = tuple(float(v) for v in ticks) if ticks else _log_ticks(low, high) if log else None
    return NomogramPredictor(name, low=low, high=high, values=few, knots=knots, log=log, ticks=shown)


def _knots(name: str, values: Array, spline: int | Sequence[float]) -> tuple[float, ...]:
    if not isinstance(spline, int):
        given = tuple(float(v) for v in spline)
        if len(given) < 3 or list(given) != sorted(set(given)):
            raise ModelError(f"The knots of {name!r} must be three or more rising numbers.", found=f"{given}")
        return given
    try:
        return tuple(float(v) for v in default_knots(values, spline))
    except ValueError as error:
        raise ModelError(
            f"No spline can be made of {name!r}.", found=str(error), remedy="fewer knots, or a straight line"
        ) from error


def _log_ticks(low: float, high: float) -> tuple[float, ...]:
    """1, 2 and 5 times powers of ten from just below the lowest to just above the highest value."""
    decades = range(int(np.floor(np.log10(low))) - 1, int(np.ceil(np.log10(high))) + 2)
    steps = [float(f"{factor}e{power}") for power in decades for factor in (1, 2, 5)]
    first = max(i for i, step in enumerate(steps) if step <= low * (1 + 1e-9))
    last = min(i for i, step in enumerate(steps) if step >= high * (1 - 1e-9))
    return tuple(steps[first : last + 1])


def _block(item: NomogramPredictor, column: pd.Series) -> Array:
    if item.levels is not None:
        text = column.astype(str).to_numpy()
        return np.column_stack([(text == level).astype(float) for level in item.levels[1:]])
    return np.vstack([item.columns(float(value)) for value in column])


def _names(item: NomogramPredictor) -> list[str]:
    if item.levels is not None:
        return [f"{item.name}={level}" for level in item.levels[1:]]
    if item.log:
        return [f"log({item.name})"]
    return [item.name + "'" * j for j in range(item.n_columns)]
