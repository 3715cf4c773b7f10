"""The interface, given masks, the choice by name, turning of axes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepacast.errors import GeometryError, ImageError, MissingPackageError, StudyFileError
from hepacast.imaging import Geometry, Volume
from hepacast.imaging.io import write_volume
from hepacast.imaging.labels import LabelMap
from hepacast.imaging.morphology import largest
from hepacast.imaging.structures import structure_mask
from hepacast.segmentation import GivenSegmenter, Segmenter, make_segmenter
from hepacast.segmentation.axes import turn
from hepacast.segmentation.base import parenchyma_tumor_map
from hepacast.segmentation.builtin import BuiltinSegmenter

GRID = Geometry((12, 11, 10), (20.0, 20.0, 20.0))


def volume(array, grid=GRID):
    return Volume(np.asarray(array), grid)


def ball():
    array = np.zeros(GRID.shape, dtype=bool)
    array[2:8, 2:8, 2:8] = True
    return volume(array)


def spot():
    array = np.zeros(GRID.shape, dtype=bool)
    array[3:5, 3:5, 3:5] = True
    return volume(array)


IMAGE = volume(np.zeros(GRID.shape, dtype=np.int16))


def test_liver_is_the_union_of_its_parts():
    labelmap = parenchyma_tumor_map(ball(), spot())
    assert labelmap.labels == {"parenchyma": 1, "tumor": 2}
    np.testing.assert_array_equal(structure_mask(labelmap, "liver").array, ball().array)
    np.testing.assert_array_equal(structure_mask(labelmap, "parenchyma").array, ball().array & ~spot().array)
    with pytest.raises(ImageError, match="no structure 'spleen'"):
        structure_mask(labelmap, "spleen")


def test_given_masks_in_one_file_or_several(tmp_path):
    labels = volume(ball().array.astype(np.uint8) + spot().array)
    write_volume(labels, tmp_path / "both.nii.gz")
    for name, one in (("liver", ball()), ("tumor", spot())):
        write_volume(volume(one.array.astype(np.uint8)), tmp_path / f"{name}.nii.gz")
    by_label = GivenSegmenter(tmp_path / "both.nii.gz", {"parenchyma": 1, "tumor": 2}).segment(IMAGE)
    by_file = GivenSegmenter({n: tmp_path / f"{n}.nii.gz" for n in ("liver", "tumor")}).segment(IMAGE)
    as_liver = GivenSegmenter(tmp_path / "both.nii.gz", {"liver": 1, "tumor": 2}).segment(IMAGE)
    for result in (by_label, by_file, as_liver):
        assert result.structures == ("parenchyma", "tumor", "liver")
        np.testing.assert_array_equal(result.volume.array, labels.array)
    assert isinstance(GivenSegmenter(tmp_path / "both.nii.gz"), Segmenter)


def test_a_given_mask_on_another_grid_is_refused_by_its_offset():
    moved = Volume(ball().array, Geometry(GRID.size, GRID.spacing, origin=(0.0, 0.0, 3.0)))
    with pytest.raises(GeometryError, match=r"3\.00 mm"):
        GivenSegmenter({"liver": moved}).segment(IMAGE)


def test_an_empty_given_mask_is_said(tmp_path):
    empty = volume(np.zeros(GRID.shape, dtype=bool))
    result = GivenSegmenter({"liver": ball(), "tumor": empty}).segment(IMAGE)
    assert result.notes == ("empty in the given masks: tumor",)


def test_segmenters_by_name(tmp_path):
    assert isinstance(make_segmenter("builtin"), BuiltinSegmenter)
    assert isinstance(make_segmenter("builtin"), Segmenter)
    with pytest.raises(StudyFileError, match="did you mean 'builtin'"):
        make_segmenter("bultin")
    for spec in ("nnunet", "totalsegmentator:x", "given"):
        with pytest.raises(StudyFileError, match="not written as expected"):
            make_segmenter(spec)
    with pytest.raises(StudyFileError, match="does not know one of the options"):
        make_segmenter("builtin", colour="red")


def test_totalsegmentator_says_how_to_get_it(monkeypatch):
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match="pip install TotalSegmentator"):
        make_segmenter("totalsegmentator")


def test_the_largest_piece_is_kept():
    array = ball().array.copy()
    array[8:10, 8:11, 9:12] = True
    np.testing.assert_array_equal(largest(volume(array)).array, ball().array)


def _directions():
    import itertools

    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1, -1), repeat=3):
            matrix = np.zeros((3, 3))
            for column, (row, sign) in enumerate(zip(order, signs)):
                matrix[row, column] = sign
            yield tuple(tuple(float(v) for v in row) for row in matrix)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(list(_directions())), st.sampled_from(["RAS", "LPS"]))
def test_turning_follows_the_patient_and_comes_back(direction, frame):
    grid = Geometry((4, 3, 2), (1.0, 2.0, 3.0), direction=direction)
    array = np.arange(24).reshape(grid.shape)
    turned = turn(Volume(array, grid), frame)
    np.testing.assert_array_equal(turned.back(turned.array), array)
    np.testing.assert_array_equal(turned.like(array), turned.array)
    # Walking along axis n of the turned array leads toward side n of the frame.
    sides = {"R": (-1, 0, 0), "A": (0, -1, 0), "S": (0, 0, 1), "L": (1, 0, 0), "P": (0, 1, 0)}
    points = {}
    for k, j, i in np.ndindex(grid.shape):
        points[array[k, j, i]] = (grid.affine_lps @ [i, j, k, 1])[:3]
    for axis, side in enumerate(frame):
        first = [0, 0, 0]
        second = [0, 0, 0]
        second[axis] = 1
        step = points[turned.array[tuple(second)]] - points[turned.array[tuple(first)]]
        np.testing.assert_allclose(step, np.array(sides[side]) * turned.spacing[axis])


def test_a_label_map_result_names_its_structures():
    labelmap = LabelMap(volume(ball().array.astype(np.uint8)), {"liver": 1})
    result = GivenSegmenter({"liver": ball()}).segment(IMAGE)
    assert result.names == labelmap.labels and set(result.masks()) == {"liver"}
