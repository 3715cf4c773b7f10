"""Grey levels: PyRadiomics' bins to the last voxel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepacast.radiomics.discretise import discretise
from hepacast.radiomics.features.base import FeatureSettings, UndefinedError

WIDTHS = st.sampled_from([25.0, 1.0, 0.1, 0.7, 5.0, 1 / 3, 1e-3])
VALUES = st.lists(st.floats(-500, 500, width=32) | st.integers(-20, 20).map(float), min_size=1, max_size=60)


@given(VALUES, WIDTHS, st.sampled_from([np.float64, np.float32]))
@settings(max_examples=200, deadline=None)
def test_bin_width_is_pyradiomics(values: list[float], width: float, kind: type) -> None:
    operations = pytest.importorskip("radiomics.imageoperations")
    array = np.array(values, dtype=kind)
    want, _ = operations.binImage(array, np.ones(array.shape, dtype=bool), binWidth=width)
    found = discretise(array, FeatureSettings(bin_width=width))
    np.testing.assert_array_equal(found.level, want)
    np.testing.assert_array_equal(found.counts, np.bincount(want))


@given(VALUES, st.integers(1, 70), st.sampled_from([np.float64, np.float32]))
@settings(max_examples=200, deadline=None)
def test_bin_count_is_pyradiomics(values: list[float], count: int, kind: type) -> None:
    operations = pytest.importorskip("radiomics.imageoperations")
    array = np.array(values, dtype=kind)
    try:
        want, _ = operations.binImage(array, np.ones(array.shape, dtype=bool), binCount=count)
    except ValueError:  # numpy: too many bins for so small a range
        with pytest.raises(UndefinedError):
            discretise(array, FeatureSettings(bin_count=count))
        return
    np.testing.assert_array_equal(discretise(array, FeatureSettings(bin_count=count)).level, want)


def test_values_on_edges_start_a_bin() -> None:
    found = discretise(np.array([-25.0, -0.1, 0.0, 24.9, 25.0]), FeatureSettings(bin_width=25))
    assert found.level.tolist() == [1, 1, 2, 2, 3]
    assert found.present.tolist() == [1, 2, 3]
    assert found.maximum == 3
