"""Shapley values of a model without coefficients, by sampling: what each feature adds to a patient's score.

A feature's value is its mean contribution over all orders in which features may be told to the model, the others being
those of patients of the background. Orders are drawn in pairs, one the reverse of the other, which halves the noise.

References
----------
Strumbelj E, Kononenko I. Knowl Inf Syst 2014;41:647-665. Mitchell R et al. J Mach Learn Res 2022;23(43):1-46 (pairs).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from hepacast.core.seeds import rng
from hepacast.errors import ModelError
from hepacast.modelling.base import Array, listed

Score = Callable[[pd.DataFrame], Any]


@dataclass(frozen=True)
class ShapleyValues:
    """Contributions to the score.

    Attributes
    ----------
    values
        One row a patient, one column a group of features.
    errors
        Standard error of each value from the drawn pairs of orders.
    base
        Mean score of the background patients that were drawn, by patient: values of a row and its base sum to the
        patient's score exactly.
    """

    values: pd.DataFrame
    errors: pd.DataFrame
    base: pd.Series

    def importance(self) -> pd.Series:
        """Mean absolute value of each group, largest first."""
        mean = self.values.abs().mean()
        return mean.loc[sorted(mean.index, key=lambda name: (-mean[name], str(name)))]


def shapley_values(
    score: Score,
    X: pd.DataFrame,
    background: pd.DataFrame,
    groups: Mapping[str, Sequence[str]] | None = None,
    *,
    pairs: int = 16,
    seed: int = 0,
) -> ShapleyValues:
    """Shapley values of the rows of `X`.

    Parameters
    ----------
    score
        Gives one number a row of a table (log odds, say).
    X, background
        Patients to explain, and patients whose values stand in for what is not yet told; the same columns.
    groups
        Name -> columns that are told together; None: each column by itself. Columns in no group stay the patient's.
    pairs
        Pairs of orders drawn for each patient.
    seed
        Of the orders and the background patients, by patient: neither the others nor their order matter.

    Raises
    ------
    ModelError
        An unknown column, an empty background, or no group.
    """
    parts = (
        {str(name): [str(name)] for name in X.columns} if groups is None else {k: list(v) for k, v in groups.items()}
    )
    unknown = [name for columns in parts.values() for name in columns if name not in X.columns]
    if unknown or not parts or not len(background) or pairs < 1:
        raise ModelError(
            "Shapley values cannot be computed.",
            expected="groups of columns of the table, and at least one background patient and pair of orders",
            found=f"unknown columns {listed(unknown)}"
            if unknown
            else f"{len(parts)} groups, {len(background)} patients",
        )
    rows = [_one(score, X.iloc[[row]], background[X.columns], parts, pairs, seed) for row in range(len(X))]
    names = list(parts)
    return ShapleyValues(
        values=pd.DataFrame([item[0] for item in rows], index=X.index, columns=names),
        errors=pd.DataFrame([item[1] for item in rows], index=X.index, columns=names),
        base=pd.Series([item[2] for item in rows], index=X.index, name="base"),
    )


def _one(
    score: Score, patient: pd.DataFrame, background: pd.DataFrame, parts: dict[str, list[str]], pairs: int, seed: int
) -> tuple[Array, Array, float]:
    """Values, their standard errors, and the base of one patient; all of its orders are scored in one table."""
    generator = rng(seed, "shapley", patient.index[0])
    columns = [patient.columns.get_indexer(pd.Index(names)) for names in parts.values()]
    orders, starts = [], []
    for _ in range(pairs):
        order = generator.permutation(len(columns))
        start = int(generator.integers(len(background)))
        orders += [order, order[::-1]]
        starts += [start, start]
    own, others = patient.to_numpy(), background.to_numpy()
    steps = len(columns) + 1
    table = np.empty((len(orders) * steps, patient.shape[1]), dtype=others.dtype)
    free = np.setdiff1d(np.arange(patient.shape[1]), np.concatenate(columns))
    for number, (order, start) in enumerate(zip(orders, starts)):
        row = others[start].copy()
        row[free] = own[0, free]
        table[number * steps] = row
        for step, group in enumerate(order, start=1):
            row[columns[group]] = own[0, columns[group]]
            table[number * steps + step] = row
    frame = pd.DataFrame(table, columns=patient.columns)
    typed = {name: kind for name, kind in patient.dtypes.items() if kind != table.dtype}
    frame = frame.astype(typed) if typed else frame  # column by column, which takes longer than the scores
    found = np.asarray(score(frame), dtype=float).reshape(len(orders), steps)
    gains = np.empty((len(orders), len(columns)))
    for number, order in enumerate(orders):
        gains[number, order] = np.diff(found[number])
    paired = (gains[0::2] + gains[1::2]) / 2
    spread = paired.std(axis=0, ddof=1) / np.sqrt(pairs) if pairs > 1 else np.full(len(columns), np.nan)
    return paired.mean(axis=0), spread, float(found[:, 0].mean())
