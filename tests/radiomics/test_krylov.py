"""The two largest eigenvalues of a product of sparse matrices: right, and the same wherever the arrays lie."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepacast.radiomics.kernels.krylov import second_largest


def joint(seed: int, n: int) -> tuple[np.ndarray, ...]:
    """A symmetric joint distribution as a co-occurrence matrix has it: rows, columns, p, p / (px py)."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(20 * np.exp(-0.05 * np.subtract.outer(np.arange(n), np.arange(n)) ** 2)) + 5 * np.eye(n)
    p = (counts + counts.T) / (counts + counts.T).sum()
    row, column = np.nonzero(p)
    px = p.sum(axis=1)
    return row, column, p[row, column], p[row, column] / (px[row] * px[column])


def dense(row: np.ndarray, column: np.ndarray, p: np.ndarray, scaled: np.ndarray, n: int) -> np.ndarray:
    left, right = np.zeros((n, n)), np.zeros((n, n))
    left[row, column], right[column, row] = scaled, p
    return left @ right


@given(st.integers(0, 10_000), st.integers(2, 150))
@settings(max_examples=60, deadline=None)
def test_equal_to_all_eigenvalues(seed: int, n: int) -> None:
    cells = joint(seed, n)
    found = second_largest(*cells, n)
    expected = np.sort(np.linalg.eigvals(dense(*cells, n)).real)[-2]
    assert found is not None
    assert found.real == pytest.approx(expected, rel=1e-9, abs=1e-10)


def test_same_bits_wherever_the_arrays_lie() -> None:
    row, column, p, scaled = joint(3, 90)
    reference = second_largest(row, column, p, scaled, 90)
    for offset in range(1, 9):
        shifted = [np.concatenate([np.zeros(offset), values])[offset:] for values in (p, scaled)]
        assert second_largest(row, column, *shifted, 90) == reference


def test_one_level_has_no_second() -> None:
    cells = (np.array([0]), np.array([0]), np.array([1.0]), np.array([1.0]))
    assert second_largest(*cells, 1) is None
