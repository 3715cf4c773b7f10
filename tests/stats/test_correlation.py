"""Spearman matrices and redundancy filters against R's cor and caret (frozen)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from hepacast.errors import ModelError
from hepacast.stats.correlation import (
    correlated_pairs,
    find_correlation,
    greedy_filter,
    greedy_spearman,
    spearman_matrix,
    spearman_test,
    spearman_with,
)

Golden = Callable[[str], tuple[dict[str, Any], pd.DataFrame]]


def test_matrix_and_test_equal_r(golden: Golden) -> None:
    reference, data = golden("j_spearman_filter")
    np.testing.assert_allclose(spearman_matrix(data), reference["spearman"], atol=1e-12)
    rho, p = spearman_test(data.iloc[:, 0], data.iloc[:, 1])
    assert rho == pytest.approx(reference["spearman_test_first_two"]["rho"], abs=1e-12)
    assert p == pytest.approx(reference["spearman_test_first_two"]["p"], abs=1e-12)


@pytest.mark.parametrize("cutoff", [0.9, 0.75])
def test_filters_equal_caret(golden: Golden, cutoff: float) -> None:
    reference, data = golden("j_spearman_filter")
    names = np.array(reference["features"])
    for exact, variant in ((True, "exact"), (False, "fast")):
        removed = find_correlation(spearman_matrix(data), cutoff, exact=exact)
        assert list(names[removed]) == reference["findCorrelation_removed"][f"cut_{cutoff}_{variant}"]
    kept = reference["greedy_first_kept"][f"cut_{cutoff}"]
    assert list(names[greedy_filter(correlated_pairs(data, cutoff))]) == kept
    assert list(names[greedy_spearman(data, cutoff)]) == kept


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), p=st.integers(2, 90), threshold=st.floats(0.05, 0.95))
def test_lazy_filter_equals_the_full_one(seed: int, p: int, threshold: float) -> None:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(25, 5)) @ rng.normal(size=(5, p)) + 0.3 * rng.normal(size=(25, p))
    X = np.round(X, 1)
    order = rng.permutation(p)
    kept = greedy_spearman(X, threshold, order)
    np.testing.assert_array_equal(kept, greedy_filter(correlated_pairs(X, threshold), order))
    rho = np.nan_to_num(np.abs(spearman_matrix(X)))
    among = rho[np.ix_(kept, kept)] - np.eye(len(kept)) * 2
    assert (among <= threshold + 1e-12).all()
    dropped = np.setdiff1d(np.arange(p), kept)
    assert all((rho[column, kept] > threshold - 1e-12).any() for column in dropped)


def test_constant_column_and_scipy() -> None:
    X = np.random.default_rng(1).normal(size=(30, 4)).round(1)
    X[:, 2] = 5.0
    rho = spearman_matrix(X)
    assert np.isnan(rho[2]).all() and np.isnan(rho[:, 2]).all()
    assert rho[0, 1] == pytest.approx(spearmanr(X[:, 0], X[:, 1]).statistic)
    assert spearman_with(X, X[:, 0])[[0, 1, 2]] == pytest.approx([1.0, rho[0, 1], 0.0])
    assert np.isnan(spearman_test(X[:, 0], X[:, 2])).all()


def test_refusals() -> None:
    with pytest.raises(ModelError, match="complete"):
        spearman_matrix([[1.0, np.nan], [2.0, 3.0]])
    with pytest.raises(ModelError, match="cannot be found"):
        find_correlation([[1.0, np.nan], [np.nan, 1.0]])


@pytest.mark.parametrize("side", [-1e-9, 1e-9])
def test_many_rows_are_compared_as_exactly_as_few(side):
    """Products of single precision err by 1e-7: a threshold nearer than that to one pair's rho must still part it."""
    r = np.random.default_rng(7)
    base = r.normal(size=(700, 6))
    x = np.repeat(base, 5, axis=1) + 0.5 * r.normal(size=(700, 30))
    rho = np.abs(spearman_matrix(x))
    for pair in ((0, 1), (6, 8), (13, 11), (29, 25)):
        threshold = rho[pair] + side
        expected = greedy_filter(correlated_pairs(x, threshold))
        np.testing.assert_array_equal(greedy_spearman(x, threshold), expected)
        order = r.permutation(30)
        expected = greedy_filter(correlated_pairs(x, threshold), order)
        np.testing.assert_array_equal(greedy_spearman(x, threshold, order), expected)
