from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import rankdata

from hepacast.stats.ranks import column_ranks


@settings(max_examples=50, deadline=None)
@given(arrays(float, st.tuples(st.integers(1, 12), st.integers(1, 4)), elements=st.integers(-3, 3).map(float)))
def test_ties_get_the_mean_of_their_places(x: np.ndarray) -> None:
    np.testing.assert_array_equal(column_ranks(x), rankdata(x, axis=0))


@pytest.mark.parametrize("order", ["C", "F"])
def test_ranks_of_extreme_values(order: str) -> None:
    x = np.array([[np.inf, 0.0, 1e-300], [-np.inf, -0.0, 1e300], [3.0, 5.0, -1.0], [np.inf, 5.0, 0.0]], order=order)
    np.testing.assert_array_equal(column_ranks(x), [[3.5, 1.5, 3], [1, 1.5, 4], [2, 3.5, 1], [3.5, 3.5, 2]])
