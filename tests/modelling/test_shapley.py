"""Shapley values by sampling: exact sums, the exact answer for linear and small models, nothing for what is unused."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pandas as pd
import pytest

from hepacast.errors import ModelError
from hepacast.modelling.shapley import shapley_values


@pytest.fixture(scope="module")
def tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    rng = np.random.default_rng(0)
    names = ["a", "b", "c"]
    background = pd.DataFrame(rng.normal(size=(40, 3)), columns=names, index=[f"B{i}" for i in range(40)])
    patients = pd.DataFrame(rng.normal(size=(4, 3)), columns=names, index=[f"P{i}" for i in range(4)])
    return patients, background


def test_linear_model(tables) -> None:
    X, background = tables
    one = background.iloc[[0]]
    weights = np.array([2.0, -1.0, 0.0])
    found = shapley_values(lambda t: t.to_numpy(dtype=float) @ weights, X, one, pairs=3)
    expected = (X.to_numpy() - one.to_numpy()) * weights
    np.testing.assert_allclose(found.values, expected, atol=1e-12)
    np.testing.assert_allclose(found.errors, 0.0, atol=1e-12)
    assert list(found.importance().index)[2] == "c" and found.importance()["c"] == 0.0


def test_interaction_by_all_orders(tables) -> None:
    X, background = tables
    one = background.iloc[[5]]

    def score(table: pd.DataFrame) -> np.ndarray:
        return (table["a"] * table["b"] + np.maximum(table["c"], table["a"])).to_numpy(dtype=float)

    exact = np.zeros(3)
    for order in permutations(range(3)):
        row = one.copy()
        last = score(row)[0]
        for column in order:
            row.iloc[0, column] = X.iloc[0, column]
            exact[column] += (score(row)[0] - last) / 6
            last = score(row)[0]
    found = shapley_values(score, X.iloc[[0]], one, pairs=400)
    np.testing.assert_allclose(found.values.iloc[0], exact, atol=0.1)
    assert (np.abs(found.values.iloc[0] - exact) < 4 * found.errors.iloc[0] + 1e-9).all()


def test_values_and_base_sum_to_the_score(tables) -> None:
    X, background = tables

    def score(table: pd.DataFrame) -> np.ndarray:
        return np.tanh(table["a"] * table["b"] - table["c"]).to_numpy(dtype=float)

    found = shapley_values(score, X, background, pairs=5, seed=3)
    np.testing.assert_allclose(found.values.sum(axis=1) + found.base, score(X), atol=1e-12)
    alone = shapley_values(score, X.iloc[[2]], background, pairs=5, seed=3)
    pd.testing.assert_series_equal(alone.values.iloc[0], found.values.iloc[2])


def test_groups(tables) -> None:
    X, background = tables
    found = shapley_values(lambda t: t.sum(axis=1), X, background.iloc[[0]], {"ab": ["a", "b"]}, pairs=2)
    expected = (X[["a", "b"]] - background.iloc[0][["a", "b"]]).sum(axis=1)
    np.testing.assert_allclose(found.values["ab"], expected, atol=1e-12)
    with pytest.raises(ModelError, match="Shapley"):
        shapley_values(lambda t: t.sum(axis=1), X, background, {"x": ["nothing"]})
    with pytest.raises(ModelError, match="Shapley"):
        shapley_values(lambda t: t.sum(axis=1), X, background.iloc[:0])
