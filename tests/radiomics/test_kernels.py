"""The counted matrices are bit-equal to those of PyRadiomics' C code."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepacast.radiomics.discretise import Levels
from hepacast.radiomics.kernels import cooccurrence, runs
from hepacast.radiomics.kernels.cooccurrence import PairCounts, count_pairs
from hepacast.radiomics.kernels.neighbours import count_neighbours
from hepacast.radiomics.kernels.offsets import half_offsets, weights
from hepacast.radiomics.kernels.runs import count_runs
from hepacast.radiomics.kernels.statistics import percentiles
from hepacast.radiomics.kernels.voi import Voi
from hepacast.radiomics.kernels.zones import count_zones

matrices = pytest.importorskip("radiomics").cMatrices


class Case:
    """A random image of grey levels in a random mask."""

    def __init__(self, seed: int, top: int, filling: float, shape: tuple[int, int, int]) -> None:
        rng = np.random.default_rng(seed)
        self.mask = rng.random(shape) < filling
        self.mask[0, 0, 0] = self.mask[-1, -1, -1] = True  # the box is the whole array
        # Few levels among many possible ones, and neighbours that are often equal
        pool = rng.choice(np.arange(1, top + 1), size=min(top, int(rng.integers(1, 400))), replace=False)
        levels = rng.choice(pool, size=tuple(-(-n // 2) for n in shape))
        self.levels = np.kron(levels, np.ones((2, 2, 2), dtype=int))[: shape[0], : shape[1], : shape[2]].copy()
        noise = rng.random(shape) < 0.5
        self.levels[noise] = rng.choice(pool, size=int(noise.sum()))
        self.voi = Voi.from_mask(self.mask)
        inside = self.levels[self.mask]
        self.top = int(inside.max())
        self.image = Levels(inside.astype(np.int32), np.bincount(inside)).padded(self.voi, 3)

    @property
    def codes_of_levels(self) -> npt.NDArray[np.int64]:
        return self.image.level_of_code


@st.composite
def cases(draw: st.DrawFn) -> Case:
    shape = tuple(draw(st.integers(1, 7)) for _ in range(3))
    if shape == (1, 1, 1):
        shape = (1, 1, 2)
    return Case(
        draw(st.integers(0, 10**6)),
        draw(st.sampled_from([1, 2, 5, 40, 255, 256, 300])),
        draw(st.sampled_from([0.1, 0.5, 0.9, 1.0])),
        shape,  # type: ignore[arg-type]
    )


FLAT = st.sampled_from([None, 0, 1, 2])
DISTANCES = st.sampled_from([(1,), (2,), (1, 2), (1, 3)])


def flat_arguments(flat_axis: int | None) -> tuple[bool, int]:
    return flat_axis is not None, flat_axis or 0


def pairs_as_matrices(case: Case, pairs: Iterable[PairCounts]) -> npt.NDArray[np.float64]:
    level, dense = case.codes_of_levels, []
    for matrix in pairs:
        dense.append(np.zeros((case.top, case.top)))
        dense[-1][level[matrix.row] - 1, level[matrix.column] - 1] = matrix.count
    return np.stack(dense, axis=2)


def oracle_has_angles(case: Case, distances: tuple[int, ...], flat_axis: int | None) -> bool:
    sizes = [n for axis, n in enumerate(case.mask.shape) if axis != flat_axis]
    return any(d < n for d in distances for n in sizes)


@given(cases(), DISTANCES, FLAT, st.booleans())
@settings(max_examples=60, deadline=None)
def test_pairs(case: Case, distances: tuple[int, ...], flat_axis: int | None, sort: bool) -> None:
    if not oracle_has_angles(case, distances, flat_axis):
        return
    offsets = half_offsets(distances, flat_axis)
    with pytest.MonkeyPatch.context() as patch:
        if sort:
            patch.setattr(cooccurrence, "_TABLE_BYTES", 0)
        found = pairs_as_matrices(case, count_pairs(case.image, offsets, symmetrical=False))
        both = pairs_as_matrices(case, count_pairs(case.image, offsets, symmetrical=True))
    expected, angles = matrices.calculate_glcm(
        case.levels, case.mask, np.array(distances), case.top, *flat_arguments(flat_axis)
    )
    places = [int(np.flatnonzero((offsets == angle).all(axis=1))[0]) for angle in angles]
    assert places == sorted(places)  # the same order; offsets that leave the box have no angle
    np.testing.assert_array_equal(found[:, :, places], expected[0])
    assert found.sum() == expected.sum()
    np.testing.assert_array_equal(both, found + found.transpose(1, 0, 2))


@given(cases(), FLAT, st.booleans())
@settings(max_examples=60, deadline=None)
def test_runs(case: Case, flat_axis: int | None, sort: bool) -> None:
    if not oracle_has_angles(case, (1,), flat_axis):
        return
    offsets = half_offsets((1,), flat_axis)
    with pytest.MonkeyPatch.context() as patch:
        if sort:
            patch.setattr(runs, "_TABLE_BYTES", 0)
        cells = count_runs(case.image, case.voi, offsets)
    longest = max(case.mask.shape)
    expected, angles = matrices.calculate_glrlm(case.levels, case.mask, case.top, longest, *flat_arguments(flat_axis))
    found = np.zeros((case.top, longest, len(offsets)))
    angle = np.repeat(np.arange(len(offsets)), np.diff(cells.starts))
    found[case.codes_of_levels[cells.code] - 1, cells.size - 1, angle] = cells.count
    places = [int(np.flatnonzero((offsets == a).all(axis=1))[0]) for a in angles]
    np.testing.assert_array_equal(found[:, :, places], expected[0])
    assert found.sum() == expected.sum()


@given(cases(), FLAT)
@settings(max_examples=60, deadline=None)
def test_zones(case: Case, flat_axis: int | None) -> None:
    if not oracle_has_angles(case, (1,), flat_axis):
        return
    cells = count_zones(case.image, flat_axis)
    expected = matrices.calculate_glszm(
        case.levels, case.mask.copy(), case.top, int(case.mask.sum()), *flat_arguments(flat_axis)
    )[0]
    found = np.zeros_like(expected)
    found[case.codes_of_levels[cells.code] - 1, cells.size - 1] = cells.count
    np.testing.assert_array_equal(found, expected)


@given(cases(), DISTANCES, FLAT, st.sampled_from([0, 1, 7]))
@settings(max_examples=60, deadline=None)
def test_neighbours(case: Case, distances: tuple[int, ...], flat_axis: int | None, alpha: int) -> None:
    if not oracle_has_angles(case, distances, flat_axis):
        return
    offsets = half_offsets(distances, flat_axis)
    found = count_neighbours(case.image, offsets, alpha)
    arguments = (case.levels, case.mask, np.array(distances), case.top)
    expected = matrices.calculate_gldm(*arguments, alpha, *flat_arguments(flat_axis))[0]
    level = case.codes_of_levels[1:] - 1
    dependence = np.zeros((case.top, max(expected.shape[1], found.dependence.shape[1])))
    dependence[level, : found.dependence.shape[1]] = found.dependence[1:]
    np.testing.assert_array_equal(dependence[:, : expected.shape[1]], expected)
    assert dependence.sum() == expected.sum()
    tones = matrices.calculate_ngtdm(*arguments, *flat_arguments(flat_axis))[0]
    np.testing.assert_array_equal(found.voxels[1:].sum(axis=1), tones[level, 0])
    mean = (found.difference[1:, 1:] / np.arange(1, found.difference.shape[1])).sum(axis=1)
    np.testing.assert_allclose(mean, tones[level, 1], rtol=1e-12, atol=1e-12)


def test_a_zone_that_touches_only_by_corners_is_one_zone() -> None:
    mask = np.zeros((4, 4, 4), dtype=bool)
    for step in range(4):
        mask[step, 3 - step, step] = True
    levels = Levels(np.full(4, 3, dtype=np.int32), np.array([0, 0, 0, 4]))
    cells = count_zones(levels.padded(Voi.from_mask(mask), 1), None)
    assert (cells.code.tolist(), cells.size.tolist(), cells.count.tolist()) == ([3], [4], [1.0])
    apart = count_zones(levels.padded(Voi.from_mask(mask), 1), 0)  # in planes they are four zones of one voxel
    assert (apart.size.tolist(), apart.count.tolist()) == ([1], [4.0])


def test_runs_of_a_line_with_a_gap() -> None:
    mask = np.array([[[1, 1, 0, 1, 1, 1]]], dtype=bool)
    level = np.array([2, 2, 2, 2, 1], dtype=np.int32)
    voi = Voi.from_mask(mask)
    cells = count_runs(Levels(level, np.array([0, 1, 4])).padded(voi, 1), voi, half_offsets())
    along = cells.matrices()[-1]  # the last direction is (0, 0, 1); no other line holds two voxels
    assert sorted(zip(along.code.tolist(), along.size.tolist(), along.count.tolist(), strict=True)) == [
        (1, 1, 1.0),
        (2, 2, 2.0),
    ]
    assert [m.count.sum() for m in cells.matrices()[:-1]] == [0.0] * 12


@pytest.mark.parametrize("distances", [(1,), (2,), (1, 2), (3, 1)])
@pytest.mark.parametrize("flat_axis", [None, 0, 1, 2])
def test_offsets_are_pyradiomics_angles(distances: tuple[int, ...], flat_axis: int | None) -> None:
    angles = matrices.generate_angles(np.array([9, 9, 9]), np.array(distances), False, *flat_arguments(flat_axis))
    np.testing.assert_array_equal(half_offsets(distances, flat_axis), angles)


def test_weights_by_hand() -> None:
    offset = np.array([[1, -1, 0]])
    spacing = (3.0, 0.5, 2.0)
    assert weights(offset, spacing, "manhattan", decay=False) == pytest.approx([3.5])
    assert weights(offset, spacing, "infinity", decay=False) == pytest.approx([3.0])
    assert weights(offset, spacing, "euclidean", decay=False) == pytest.approx([9.25**0.5])
    assert weights(offset, spacing, "euclidean", decay=True) == pytest.approx([np.exp(-9.25)])
    assert weights(offset, spacing, "no_weighting", decay=True) == pytest.approx([1.0])


@given(
    st.lists(st.floats(-1e6, 1e6, width=32) | st.integers(-3, 3).map(float), min_size=1, max_size=200),
    st.sampled_from([(10, 25, 50, 75, 90), (0, 100), (33.3,)]),
)
@settings(max_examples=200, deadline=None)
def test_percentiles_are_numpys(values: list[float], at: tuple[float, ...]) -> None:
    vector = np.array(values)
    np.testing.assert_array_equal(percentiles(vector, at), np.percentile(vector, at))


@pytest.mark.parametrize("kind", ["normal", "integers", "skewed", "constant"])
def test_percentiles_of_a_long_vector(kind: str) -> None:
    rng = np.random.default_rng(0)
    make: dict[str, Any] = {
        "normal": lambda: rng.normal(size=100_001),
        "integers": lambda: rng.integers(-80, 200, 100_000).astype(float),
        "skewed": lambda: np.exp(rng.normal(0, 9, 100_000)),
        "constant": lambda: np.full(1000, 0.1),
    }
    vector = make[kind]()
    np.testing.assert_array_equal(
        percentiles(vector, (10, 25, 50, 75, 90)), np.percentile(vector, (10, 25, 50, 75, 90))
    )


def test_voi_is_the_mask() -> None:
    mask = np.random.default_rng(5).random((6, 7, 40)) < 0.4
    mask[:, 0], mask[0] = False, False
    voi = Voi.from_mask(mask)
    rebuilt = np.zeros(mask.size, dtype=bool)
    for start, length in zip(voi.starts, voi.lengths, strict=True):
        assert not rebuilt[start : start + length].any()
        rebuilt[start : start + length] = True
    np.testing.assert_array_equal(rebuilt.reshape(mask.shape), mask)
    assert voi.n_voxels == mask.sum()
    assert voi.low == tuple(np.argwhere(mask).min(axis=0))
    assert voi.high == tuple(np.argwhere(mask).max(axis=0))
