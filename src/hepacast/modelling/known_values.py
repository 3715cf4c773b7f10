"""How predictors went together in training, coarsely: what an unknown value of a new patient may be, given the others.

Numbers are ranks on a normal scale (a Gaussian copula): seven rounded quantiles each and their correlations; categories
are the shares of their levels. No patient's values and no smallest or largest value are kept.

References
----------
Rubin DB. Multiple Imputation for Nonresponse in Surveys, 1987 (draws from the distribution given what is known); Nelsen
RB. An Introduction to Copulas, 2006.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm

from hepacast.core.entries import Entry, require
from hepacast.core.seeds import rng
from hepacast.modelling.base import Array
from hepacast.modelling.predictors import level_text

#: Probabilities of the quantiles that are kept.
PROBABILITIES = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)
#: More numbers than this (features of a chain) are not kept: their correlations could not be estimated.
MOST_NUMBERS = 60
#: Fewer known values of a number give no quantiles.
FEWEST = 20
#: Levels of fewer patients are not told.
FEWEST_OF_LEVEL = 5
#: Of fewer the outer quantiles would be the smallest and largest value.
ENOUGH = 70
_DIGITS = 3
_SCORES = norm.ppf(PROBABILITIES)


@dataclass(frozen=True)
class TrainingDistribution:
    """Joint distribution of predictors in training, in a form in which no patient can be found.

    Attributes
    ----------
    quantiles
        Of each number at `PROBABILITIES`, in the unit of the table, rounded to three digits.
    correlation
        Of the numbers' normal scores, rounded; correlations that chance explains are 0.
    shares
        Share of each level of 5 patients or more, by category; categories are taken as independent of everything else.
    """

    quantiles: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    correlation: tuple[tuple[float, ...], ...] = ()
    shares: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @classmethod
    def of(cls, table: pd.DataFrame, categories: Sequence[str]) -> TrainingDistribution:
        """The distribution of a table's columns.

        Parameters
        ----------
        table
            Training patients, one a row; missing values are left out column by column.
        categories
            Columns of levels (0 and 1 of a binary one included); all others are numbers.
        """
        numbers = [str(name) for name in table.columns if name not in categories]
        usable = [name for name in numbers if np.isfinite(_values(table[name])).sum() >= FEWEST]
        usable = usable if len(usable) <= MOST_NUMBERS else []
        quantiles = {name: _quantiles(_values(table[name])) for name in usable}
        shares = {}
        for name in categories:
            text = level_text(table[name]).dropna()
            # Of a level that fewer have nothing is told: a share would be single patients.
            counts = text.value_counts()
            told = {str(k): round(float(v) / len(text), 2) for k, v in counts.items() if v >= FEWEST_OF_LEVEL}
            if told:
                shares[str(name)] = told
        return cls(quantiles, _correlation(table[usable]), shares)

    def knows(self, name: str) -> bool:
        """Whether values of a column can be drawn."""
        return name in self.quantiles or name in self.shares

    def draw(self, row: Mapping[str, Any], unknown: Sequence[str], n: int) -> pd.DataFrame:
        """Values that a patient's unknown columns may have.

        Parameters
        ----------
        row
            The patient's known values by column; others are ignored.
        unknown
            Columns to draw; each one is known to the distribution.
        n
            Draws: the same ones for the same patient, each column in n equally likely strata.

        Returns
        -------
        pandas.DataFrame
            Shape (n, unknown).
        """
        found: dict[str, Any] = {}
        numbers = [name for name in unknown if name in self.quantiles]
        for name, scores in zip(numbers, self._scores(row, numbers, n).T, strict=True):
            found[name] = _from_score(scores, self.quantiles[name])
        for name in unknown:
            if name in self.shares:
                order = rng(0, "unknown level", name).permutation(n)
                levels, shares = list(self.shares[name]), np.array(list(self.shares[name].values()))
                edges = np.cumsum(shares / shares.sum())
                at = np.searchsorted(edges, (np.arange(n) + 0.5) / n)
                drawn = np.array(levels, dtype=object)[np.minimum(at, len(levels) - 1)]
                found[name] = drawn[order]
        return pd.DataFrame({name: found[name] for name in unknown})

    def _scores(self, row: Mapping[str, Any], wanted: Sequence[str], n: int) -> Array:
        """Normal scores of unknown numbers given those of the known ones, shape (n, wanted)."""
        if not wanted:
            return np.empty((n, 0))
        names = list(self.quantiles)
        matrix = np.array(self.correlation)
        given = [name for name in names if name not in wanted and np.isfinite(_number(row.get(name)))]
        a, b = [names.index(name) for name in wanted], [names.index(name) for name in given]
        mean, covariance = np.zeros(len(a)), matrix[np.ix_(a, a)]
        if b:
            known = np.array([_to_score(_number(row[name]), self.quantiles[name]) for name in given])
            slope = matrix[np.ix_(a, b)] @ np.linalg.pinv(matrix[np.ix_(b, b)])
            mean, covariance = slope @ known, covariance - slope @ matrix[np.ix_(b, a)]
        strata = norm.ppf((np.arange(n) + 0.5) / n)
        each = [strata[rng(0, "unknown value", name).permutation(n)] for name in wanted]
        values, vectors = np.linalg.eigh(covariance)
        root = vectors * np.sqrt(np.maximum(values, 0.0)) @ vectors.T
        return np.asarray(mean + np.column_stack(each) @ root)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able description."""
        return {
            "probabilities": list(PROBABILITIES),
            "quantiles": {name: list(values) for name, values in self.quantiles.items()},
            "correlation": [list(row) for row in self.correlation],
            "shares": {name: dict(levels) for name, levels in self.shares.items()},
        }

    @classmethod
    def from_dict(cls, entry: Any, place: str = "training") -> TrainingDistribution:
        """The inverse of `to_dict`.

        Raises
        ------
        ModelError
            A value is not of its kind: quantiles that fall, shares that are none, a matrix that is no correlation.
        """
        own = Entry(entry, place)
        kept = own.numbers("probabilities")
        require(kept == PROBABILITIES, own.at("probabilities"), str(PROBABILITIES), kept)
        quantiles, shares = {}, {}
        for name in own.entry("quantiles"):
            values = own.entry("quantiles").numbers(name, len(PROBABILITIES))
            rising = all(first <= second for first, second in pairwise(values))
            require(rising, own.entry("quantiles").at(name), "quantiles that rise", values)
            quantiles[name] = values
        matrix = own.covariance("correlation", len(quantiles))
        unit = all(abs(matrix[k][k] - 1) < 1e-9 for k in range(len(matrix)))
        require(unit, own.at("correlation"), "ones on the diagonal", "other values")
        for name, levels in own.named("shares").items():
            shares[name] = {level: levels.number(level, low=0.0, high=1.0) for level in levels}
            require(sum(shares[name].values()) > 0, own.at(name), "a share above 0", shares[name])
        return cls(quantiles, matrix, shares)


def _values(column: pd.Series) -> Array:
    return np.asarray(pd.to_numeric(column, errors="coerce").to_numpy(dtype=float, na_value=np.nan))


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


def _quantiles(values: Array) -> tuple[float, ...]:
    """Rounded quantiles; of few patients the outer ones would be one patient's value, and go on from the inner ones."""
    known = np.sort(values[np.isfinite(values)])
    found = np.quantile(known, PROBABILITIES, method="median_unbiased")
    if len(known) < ENOUGH:
        low = found[3] - (found[3] - found[1]) * _SCORES[0] / _SCORES[1]
        high = found[3] + (found[-2] - found[3]) * _SCORES[-1] / _SCORES[-2]
        found[0], found[-1] = min(low, known[:2].mean()), max(high, known[-2:].mean())
        if known[0] >= 0:
            found[0] = max(found[0], known[:2].mean() / 2)
    return tuple(float(f"{value:.{_DIGITS}g}") for value in found)


def _correlation(table: pd.DataFrame) -> tuple[tuple[float, ...], ...]:
    """Of normal scores, pairwise; those within two standard errors of 0 are 0, and the matrix is made definite."""
    size = table.shape[1]
    if size == 0:
        return ()
    numbers = pd.DataFrame({name: _values(table[name]) for name in table.columns})
    ranks = numbers.rank()
    scores = pd.DataFrame(norm.ppf((ranks - 0.5) / ranks.notna().sum()), columns=ranks.columns)
    found = scores.corr().fillna(0.0).to_numpy(copy=True)
    pairs = scores.notna().astype(float)
    counts = (pairs.T @ pairs).to_numpy()
    found[np.abs(found) < 2.0 / np.sqrt(np.maximum(counts, 1.0))] = 0.0
    np.fill_diagonal(found, 1.0)
    values, vectors = np.linalg.eigh(found)
    if values.min() < 1e-3:
        found = vectors * np.maximum(values, 1e-3) @ vectors.T
        spread = np.sqrt(np.diag(found))
        found = found / np.outer(spread, spread)
    # Rounding may not cost definiteness: the off-diagonal shrinks by as much.
    rounded = np.round(found * (1 - 1e-3 * size), 4)
    np.fill_diagonal(rounded, 1.0)
    return tuple(tuple(float(value) for value in row) for row in (rounded + rounded.T) / 2)


def _to_score(value: float, quantiles: tuple[float, ...]) -> float:
    """The normal score of a value: linear between the quantiles, and no further than 3 beyond them."""
    if value <= quantiles[0] or value >= quantiles[-1]:
        low = value <= quantiles[0]
        edge, inner = (0, 1) if low else (-1, -2)
        step = (quantiles[edge] - quantiles[inner]) / (_SCORES[edge] - _SCORES[inner])
        beyond = (value - quantiles[edge]) / step if step > 0 else 0.0
        return float(np.clip(_SCORES[edge] + beyond, -3.0, 3.0))
    return float(np.interp(value, quantiles, _SCORES))


def _from_score(scores: Array, quantiles: tuple[float, ...]) -> Array:
    """Values of normal scores; beyond the outer quantiles the nearest line goes on.

    What is never negative goes no further down than to half the lowest quantile.
    """
    inside = np.interp(scores, _SCORES, quantiles)
    low = (quantiles[1] - quantiles[0]) / (_SCORES[1] - _SCORES[0])
    high = (quantiles[-1] - quantiles[-2]) / (_SCORES[-1] - _SCORES[-2])
    inside = np.where(scores < _SCORES[0], quantiles[0] + (scores - _SCORES[0]) * low, inside)
    inside = np.where(scores > _SCORES[-1], quantiles[-1] + (scores - _SCORES[-1]) * high, inside)
    # A concentration is never negative, and its logarithm is never missing.
    return np.maximum(inside, quantiles[0] / 2) if quantiles[0] >= 0 else np.asarray(inside)
