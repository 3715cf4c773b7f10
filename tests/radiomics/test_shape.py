"""Shape features against PyRadiomics and against bodies of known size."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepacast.radiomics.core import FeatureSettings, shape_features
from hepacast.radiomics.features.registry import FEATURES, OPTIONAL

SHAPE = [*FEATURES["shape"], *OPTIONAL["shape"]]
SHAPE_2D = [*FEATURES["shape2D"], *OPTIONAL["shape2D"]]


def assert_equal(found: dict[str, float], expected: dict[str, float]) -> None:
    assert list(found) == list(expected)
    for name, value in expected.items():
        # The oracle's axis across a flat VOI is the root of a rounding error: up to 1e-8 mm instead of 0
        assert found[name] == pytest.approx(value, rel=1e-9, abs=2e-7, nan_ok=True), name


@given(st.integers(0, 10**6), st.tuples(*[st.integers(1, 9)] * 3), st.sampled_from([0.1, 0.5, 0.9]))
@settings(max_examples=80, deadline=None)
def test_3d_equals_the_oracle(oracle: Any, seed: int, shape: tuple[int, int, int], filling: float) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.random(shape) < filling
    mask[tuple(rng.integers(0, shape))] = True
    spacing = tuple(rng.uniform(0.4, 3, 3))
    box = oracle.crop(mask)
    expected = oracle.features("shape", mask[box].astype(float), mask[box], spacing, {}, SHAPE)
    assert_equal(shape_features(mask, spacing, {"shape": SHAPE}), expected)


@given(st.integers(0, 10**6), st.tuples(*[st.integers(1, 12)] * 2), st.integers(0, 2), st.sampled_from([0.1, 0.6]))
@settings(max_examples=80, deadline=None)
def test_2d_equals_the_oracle(oracle: Any, seed: int, plane: tuple[int, int], axis: int, filling: float) -> None:
    rng = np.random.default_rng(seed)
    pixels = rng.random(plane) < filling
    pixels[tuple(rng.integers(0, plane))] = True
    mask = np.expand_dims(pixels, axis)
    spacing = tuple(rng.uniform(0.4, 3, 3))
    chosen = {"force2d": True, "force2d_dimension": axis}
    box = oracle.crop(mask)
    expected = oracle.features("shape2D", mask[box].astype(float), mask[box], spacing, chosen, SHAPE_2D)
    assert_equal(shape_features(mask, spacing, {"shape2D": SHAPE_2D}, FeatureSettings(**chosen)), expected)


def test_a_block() -> None:
    mask = np.zeros((6, 8, 12), dtype=bool)
    mask[1:5, 1:7, 1:11] = True  # 4 x 6 x 10 voxels; the mesh cuts edges and corners
    found = shape_features(mask, (2.0, 1.0, 0.5), {"shape": None})
    assert found["shape_VoxelVolume"] == 4 * 6 * 10
    full = (8.0, 6.0, 5.0)
    inner = (6.0, 5.0, 4.5)  # between the centers of the outermost voxels
    # The convex body: a box whose 12 edges are cut by a prism each, and its 8 corners as well
    a, b, c = inner
    volume = np.prod(full) - sum(
        4 * length * x * y / 2 for length, x, y in ((a, 0.5, 0.25), (b, 1.0, 0.25), (c, 1.0, 0.5))
    )
    volume -= 8 * (1.0 * 0.5 * 0.25) * 5 / 6  # of each corner block a sixth stays
    assert found["shape_MeshVolume"] == pytest.approx(volume)
    # Vertices lie half a voxel outside the centers, along one axis: the longest diagonal leaves through the k faces
    assert found["shape_Maximum3DDiameter"] == pytest.approx(np.sqrt(8**2 + 5**2 + 4.5**2))
    assert found["shape_Maximum2DDiameterSlice"] == pytest.approx(np.sqrt(6**2 + 4.5**2))
    variance = [(n**2 - 1) / 12 * step**2 for n, step in zip((4, 6, 10), (2.0, 1.0, 0.5), strict=True)]
    lengths = sorted(4 * np.sqrt(v) for v in variance)
    names = ("LeastAxisLength", "MinorAxisLength", "MajorAxisLength")
    assert [found[f"shape_{name}"] for name in names] == pytest.approx(lengths)


def test_a_ball_is_nearly_a_sphere() -> None:
    at = np.indices((61, 61, 61)) - 30
    mask = (at**2).sum(axis=0) <= 25**2
    found = shape_features(mask, (1.0, 1.0, 1.0), {"shape": None})
    assert found["shape_MeshVolume"] == pytest.approx(4 / 3 * np.pi * 25**3, rel=0.01)
    # Steps make the surface of a digital ball about a tenth too large, however fine the grid (IBSI 1, section 3.1)
    assert 0.90 < found["shape_Sphericity"] < 1.0
    assert found["shape_Elongation"] == pytest.approx(1.0)
    assert found["shape_Maximum3DDiameter"] == pytest.approx(51, abs=0.5)


def test_the_mesh_of_a_mask_and_of_its_voxels_far_apart_add_up() -> None:
    one = np.zeros((3, 3, 3), dtype=bool)
    one[1, 1, 1] = True
    many = np.zeros((9, 9, 9), dtype=bool)
    many[1::3, 1::3, 1::3] = True
    single = shape_features(one, (1.3, 0.8, 2.0), {"shape": ["MeshVolume", "SurfaceArea"]})
    together = shape_features(many, (1.3, 0.8, 2.0), {"shape": ["MeshVolume", "SurfaceArea"]})
    for name, value in single.items():
        assert together[name] == pytest.approx(27 * value, rel=1e-12)
