"""Metrics against hand-worked cases and against brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepacast.errors import GeometryError, ImageError
from hepacast.imaging import Geometry, Volume
from hepacast.segmentation.metrics import segmentation_metrics, surface_distances


def mask(array, spacing=(1.0, 1.0, 1.0)):
    array = np.asarray(array, dtype=bool)
    return Volume(array, Geometry(array.shape[::-1], spacing))


def box(shape, *slices):
    array = np.zeros(shape, dtype=bool)
    array[slices] = True
    return array


def test_overlap_by_hand():
    # Reference: 4 x 4 x 4 = 64 voxels; prediction the same cube shifted by one along x: 48 common.
    reference = mask(box((10, 10, 10), slice(2, 6), slice(2, 6), slice(2, 6)), (2.0, 1.0, 5.0))
    predicted = mask(box((10, 10, 10), slice(2, 6), slice(2, 6), slice(3, 7)), (2.0, 1.0, 5.0))
    result = segmentation_metrics(reference, predicted)
    assert result.dice == pytest.approx(2 * 48 / 128)
    assert result.jaccard == pytest.approx(48 / 80)
    assert result.precision == result.recall == pytest.approx(0.75)
    assert result.volume_difference_pct == 0
    assert result.reference_ml == pytest.approx(64 * 10 / 1000)
    # The surface of the cube shifted by 2 mm: the far face is 2 mm away, the rest at most that.
    assert result.hd95_mm == pytest.approx(2.0)
    assert 0 < result.assd_mm < 2


def test_single_voxels_lie_as_far_apart_as_the_spacing_says():
    first, second = np.zeros((5, 5, 5), bool), np.zeros((5, 5, 5), bool)
    first[0, 0, 0] = second[2, 1, 3] = True
    result = segmentation_metrics(mask(first, (0.5, 2.0, 3.0)), mask(second, (0.5, 2.0, 3.0)))
    distance = math.sqrt((3 * 0.5) ** 2 + (1 * 2.0) ** 2 + (2 * 3.0) ** 2)
    assert result.hd95_mm == pytest.approx(distance)
    assert result.assd_mm == pytest.approx(distance)
    assert result.dice == 0


def test_identical_masks():
    array = np.random.default_rng(0).random((8, 9, 7)) > 0.5
    result = segmentation_metrics(mask(array), mask(array))
    assert (result.dice, result.jaccard, result.hd95_mm, result.assd_mm) == (1, 1, 0, 0)


def test_the_volume_difference_is_signed():
    small = mask(box((6, 6, 6), slice(1, 3), slice(1, 3), slice(1, 3)))
    large = mask(box((6, 6, 6), slice(1, 4), slice(1, 3), slice(1, 3)))
    assert segmentation_metrics(small, large).volume_difference_pct == pytest.approx(50.0)
    assert segmentation_metrics(large, small).volume_difference_pct == pytest.approx(-100 / 3)


def _brute_surface(array):
    points = []
    for index in np.argwhere(array):
        for axis in range(3):
            for step in (-1, 1):
                near = index.copy()
                near[axis] += step
                if not (0 <= near[axis] < array.shape[axis]) or not array[tuple(near)]:
                    points.append(tuple(index))
    return np.array(sorted(set(points)))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.tuples(*[st.floats(0.4, 6.0)] * 3), st.floats(0.05, 0.7))
def test_surface_distances_equal_brute_force(seed, spacing, share):
    generator = np.random.default_rng(seed)
    first, second = generator.random((2, 5, 6, 7)) < share
    first[2, 3, 3] = second[1, 1, 1] = True
    scale = np.array(spacing[::-1])
    a, b = _brute_surface(first) * scale, _brute_surface(second) * scale
    distances = np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1))
    to_second, to_first = surface_distances(mask(first, spacing), mask(second, spacing))
    np.testing.assert_allclose(np.sort(to_second), np.sort(distances.min(1)), atol=1e-9)
    np.testing.assert_allclose(np.sort(to_first), np.sort(distances.min(0)), atol=1e-9)
    result = segmentation_metrics(mask(first, spacing), mask(second, spacing))
    expected = max(np.percentile(distances.min(1), 95), np.percentile(distances.min(0), 95))
    assert result.hd95_mm == pytest.approx(expected, abs=1e-9)
    assert result.assd_mm == pytest.approx(np.concatenate([distances.min(0), distances.min(1)]).mean(), abs=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_swapping_the_masks_swaps_precision_and_recall(seed):
    first, second = np.random.default_rng(seed).random((2, 4, 5, 6)) < 0.4
    first[0, 0, 0] = second[0, 0, 0] = True
    one, two = segmentation_metrics(mask(first), mask(second)), segmentation_metrics(mask(second), mask(first))
    assert one.precision == two.recall and one.dice == two.dice
    assert one.jaccard == pytest.approx(one.dice / (2 - one.dice))
    assert (one.hd95_mm, one.assd_mm) == pytest.approx((two.hd95_mm, two.assd_mm))


def test_empty_masks_give_nan_with_a_reason_never_a_perfect_score():
    nothing, something = mask(np.zeros((3, 3, 3))), mask(np.ones((3, 3, 3)))
    both = segmentation_metrics(nothing, nothing)
    assert both.status == "both_empty" and both.reason
    assert all(math.isnan(v) for v in (both.dice, both.jaccard, both.hd95_mm, both.volume_difference_pct))
    missed = segmentation_metrics(something, nothing)
    assert missed.status == "predicted_empty"
    assert (missed.dice, missed.recall, missed.volume_difference_pct) == (0, 0, -100)
    assert math.isnan(missed.precision) and math.isnan(missed.hd95_mm) and math.isnan(missed.assd_mm)
    invented = segmentation_metrics(nothing, something)
    assert invented.status == "reference_empty"
    assert (invented.dice, invented.precision) == (0, 0)
    assert math.isnan(invented.recall) and math.isnan(invented.volume_difference_pct)


def test_masks_on_different_grids_or_of_another_kind_are_refused():
    first = mask(np.ones((3, 3, 3)))
    shifted = Volume(first.array, Geometry((3, 3, 3), (1, 1, 1), origin=(0, 0, 3.0)))
    with pytest.raises(GeometryError, match=r"3\.00 mm"):
        segmentation_metrics(first, shifted)
    with pytest.raises(ImageError, match="not a mask"):
        segmentation_metrics(first, first.with_array(first.array.astype(np.uint8)))
