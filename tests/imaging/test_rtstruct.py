"""RTSTRUCT: contours written by hand whose volume is known."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

from hepacast.errors import GeometryError, ImageError
from hepacast.imaging import Geometry, Volume, read_labelmap, read_mask
from hepacast.imaging.io import read_mask_set
from hepacast.imaging.rtstruct import fill_contours, roi_names

sys.path.insert(0, str(Path(__file__).parent))
from rtstruct_files import circle, rectangle, write_rtstruct

#: 0.8 x 0.8 x 3 mm, voxel centres at -20.0, -19.2, ... mm.
GRID = Geometry((60, 50, 12), (0.8, 0.8, 3.0), (-20.0, -10.0, 100.0))
IMAGE = Volume(np.zeros(GRID.shape, np.int16), GRID, modality="CT", frame="1.2.9")
SLICES = [100.0 + 3.0 * k for k in range(2, 8)]


def volume_mm3(mask: Volume) -> float:
    return float(mask.array.sum()) * mask.geometry.voxel_volume_mm3


def read(path: Path, image: Volume = IMAGE, labels: dict[str, int] | None = None) -> dict[str, Volume]:
    return read_mask(path, labels, reference=image)


def test_a_box_of_whole_voxels_has_its_volume(tmp_path: Path) -> None:
    # Edges between voxels: from -0.4 mm beside the centre of voxel 5 to voxel 24's other side, 20 x 10 voxels.
    x, y = (-20 + 5 * 0.8 - 0.4, -20 + 24 * 0.8 + 0.4), (-10 + 8 * 0.8 - 0.4, -10 + 17 * 0.8 + 0.4)
    path = write_rtstruct(tmp_path / "box.dcm", {"liver": [rectangle(x, y, z) for z in SLICES]})
    mask = read(path)["liver"]
    assert volume_mm3(mask) == pytest.approx((x[1] - x[0]) * (y[1] - y[0]) * 3.0 * len(SLICES))
    expected = np.zeros(GRID.shape, bool)
    expected[2:8, 8:18, 5:25] = True
    np.testing.assert_array_equal(mask.array, expected)


def test_contours_through_voxel_centres_count_one_of_two_edges(tmp_path: Path) -> None:
    # Both regions go through the centres at x = 4 mm: each voxel there belongs to one of them, none to both.
    parts = {"a": [rectangle((-4, 4), (0, 8), z) for z in SLICES], "b": [rectangle((4, 12), (0, 8), z) for z in SLICES]}
    masks = read(write_rtstruct(tmp_path / "two.dcm", parts))
    assert not (masks["a"].array & masks["b"].array).any()
    for mask in masks.values():
        assert volume_mm3(mask) == pytest.approx(8 * 8 * 3.0 * len(SLICES))


def test_a_cylinder_and_a_ring(tmp_path: Path) -> None:
    center = (3.3, 8.1)
    path = write_rtstruct(
        tmp_path / "round.dcm",
        {
            "cylinder": [circle(center, 12, z) for z in SLICES],
            # The hole is a contour of its own inside the outer one, in whatever direction it turns.
            "ring": [c for z in SLICES for c in (circle(center, 12, z), circle(center, 6, z)[::-1])],
        },
    )
    masks = read(path)
    depth = 3.0 * len(SLICES)
    assert volume_mm3(masks["cylinder"]) == pytest.approx(np.pi * 144 * depth, rel=0.01)
    assert volume_mm3(masks["ring"]) == pytest.approx(np.pi * (144 - 36) * depth, rel=0.01)
    middle = np.round((np.array([*center, 109.0]) - GRID.origin) / GRID.spacing).astype(int)
    assert masks["cylinder"].array[3, middle[1], middle[0]] and not masks["ring"].array[3, middle[1], middle[0]]


def test_a_hole_through_a_channel_and_an_island_in_a_hole(tmp_path: Path) -> None:
    z = SLICES[0]
    outer, hole = rectangle((-10.4, 10.0), (-6.4, 6.4), z), rectangle((-4.0, 4.0), (-3.2, 3.2), z)[::-1]
    keyhole = [outer[0], hole[0], *hole[1:], hole[0], *[outer[0], *outer[1:]]]
    island = rectangle((-1.6, 1.6), (-1.6, 1.6), z)
    rois = {
        "keyhole": [[(x, y, s) for x, y, _ in keyhole] for s in SLICES],
        "xor": [[(x, y, s) for x, y, _ in c] for s in SLICES for c in (outer, hole)],
        "island": [[(x, y, s) for x, y, _ in c] for s in SLICES for c in (outer, hole, island)],
    }
    masks = read(write_rtstruct(tmp_path / "holes.dcm", rois))
    np.testing.assert_array_equal(masks["keyhole"].array, masks["xor"].array)
    assert volume_mm3(masks["island"]) > volume_mm3(masks["xor"]) > 0


def test_slices_are_found_by_position_on_flipped_and_oblique_grids(tmp_path: Path) -> None:
    boxes = [rectangle((-4.4, 3.6), (-2.4, 5.6), z) for z in SLICES]
    path = write_rtstruct(tmp_path / "box.dcm", {"liver": boxes[::-1]})
    plain = read(path)["liver"]
    ends = (GRID.affine_lps @ [GRID.size[0] - 1, GRID.size[1] - 1, GRID.size[2] - 1, 1])[:3]
    flipped = replace(GRID, origin=tuple(ends), direction=((-1.0, 0, 0), (0, -1.0, 0), (0, 0, -1.0)))
    turned = read(path, Volume(np.zeros(GRID.shape), flipped))["liver"]
    assert volume_mm3(turned) == pytest.approx(volume_mm3(plain))
    np.testing.assert_array_equal(turned.array[1:11, 1:49, 1:59][::-1, ::-1, ::-1], plain.array[1:11, 1:49, 1:59])
    # The same voxels stored with their axes in another order, as some converters do.
    axes = (2, 0, 1)
    columns = np.array(GRID.direction)[:, axes]
    exchanged = Geometry(
        tuple(GRID.size[a] for a in axes),
        tuple(GRID.spacing[a] for a in axes),
        GRID.origin,
        tuple(tuple(row) for row in columns),
    )
    other = read(path, Volume(np.zeros(exchanged.shape), exchanged))["liver"].array
    np.testing.assert_array_equal(other.transpose(2, 0, 1), plain.array)
    angle = np.radians(20)
    axes = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    oblique = replace(GRID, origin=tuple(axes @ GRID.origin), direction=tuple(tuple(row) for row in axes))
    moved = [[tuple(axes @ np.array(point)) for point in contour] for contour in boxes]
    same = read(write_rtstruct(tmp_path / "oblique.dcm", {"liver": moved}), Volume(np.zeros(GRID.shape), oblique))
    np.testing.assert_array_equal(same["liver"].array, plain.array)


def test_names_choose_rois_whatever_their_numbers(tmp_path: Path) -> None:
    whole = [rectangle((-12, 12), (-6, 10), z) for z in SLICES]
    lesion = [rectangle((-2, 6), (0, 4), z) for z in SLICES[1:3]]
    point = {"isocenter": []}
    path = write_rtstruct(tmp_path / "a.dcm", {"Tumor": lesion, "LIVER": whole, **point}, numbers=(7, 3, 1))
    assert roi_names(path) == {7: "Tumor", 3: "LIVER", 1: "isocenter"}
    named = read(path, labels={"liver": 1, "tumor": 2})
    assert volume_mm3(named["liver"]) > volume_mm3(named["tumor"]) > 0
    # By number, where no ROI has the name.
    other = write_rtstruct(tmp_path / "b.dcm", {"GTV 1": lesion, "Leber": whole})
    assert volume_mm3(read(other, labels={"tumor": 1})["tumor"]) == volume_mm3(named["tumor"])
    with pytest.raises(ImageError, match="has no ROI tumor: 5"):
        read(other, labels={"tumor": 5})
    with pytest.raises(ImageError, match="Two structures would be one ROI"):
        read(path, labels={"tumor": 2, "lesion": 7})
    twice = write_rtstruct(tmp_path / "c.dcm", {"Tumor": lesion, "Tumor ": [rectangle((-9, -5), (0, 4), SLICES[0])]})
    assert set(read(twice)) == {"Tumor (1)", "Tumor (2)"}


def test_a_label_map_is_made_of_rois_that_do_not_overlap(tmp_path: Path) -> None:
    left, right = ([rectangle(x, (0, 8), z) for z in SLICES] for x in ((-8, 0), (0, 8)))
    path = write_rtstruct(tmp_path / "set" / "a.dcm", {"tumor": left, "parenchyma": right})
    labelmap = read_labelmap(path.parent, {"parenchyma": 1, "tumor": 2}, reference=IMAGE)
    assert {int(v) for v in np.unique(labelmap.volume.array)} == {0, 1, 2}
    assert labelmap.mask("tumor").array.sum() == read(path)["tumor"].array.sum()


def test_what_does_not_belong_to_the_image_is_refused(tmp_path: Path) -> None:
    def refused(name: str, contours: list, image: Volume = IMAGE, **options: str) -> str:
        with pytest.raises(ImageError) as caught:
            read(write_rtstruct(tmp_path / f"{name}.dcm", {"liver": contours}, **options), image)
        assert "Secret" not in str(caught.value)
        return str(caught.value)

    box = [rectangle((-4, 4), (0, 8), z) for z in SLICES]
    assert "another frame of reference" in refused("frame", box, frame="1.2.10")
    assert "1.50 mm away from the image's nearest slice" in refused("between", [rectangle((-4, 4), (0, 8), 107.5)])
    assert "mm outside the image" in refused("above", [rectangle((-4, 4), (0, 8), 145.0)])
    assert "mm outside the image" in refused("beside", [rectangle((-4, 44), (0, 8), 103.0)])
    slanted = [[(0, 0, 103), (8, 0, 103), (8, 8, 106), (0, 8, 106)]]
    assert "not parallel to the slices" in refused("slanted", slanted)
    assert "enclose nothing (OPEN_PLANAR)" in refused("open", box, kind="OPEN_PLANAR")
    assert "no closed contour" in refused("points", [[(0, 0, 103)]], kind="POINT")
    # The same file fits an image that names no frame of reference.
    assert read(tmp_path / "frame.dcm", replace(IMAGE, frame=""))["liver"].array.any()
    with pytest.raises(ImageError, match="on an image's grid only"):
        read_mask(tmp_path / "frame.dcm")


def test_the_frame_of_reference_is_that_of_each_roi(tmp_path: Path) -> None:
    boxes = [rectangle((-8, 8), (0, 8), z) for z in SLICES]
    path = write_rtstruct(tmp_path / "a.dcm", {"liver": boxes, "tumor": boxes}, frame="1.2.9")
    dataset = pydicom.dcmread(path)
    dataset.StructureSetROISequence[1].ReferencedFrameOfReferenceUID = "1.2.77"
    dataset.save_as(path)
    image = replace(IMAGE, frame="1.2.9")
    assert set(read(path, image, {"liver": 1})) == {"liver"}
    for labels in (None, {"tumor": 2}):
        with pytest.raises(GeometryError, match="different FrameOfReferenceUID of ROI 2"):
            read(path, image, labels)


def test_slices_without_a_contour_are_told_or_refused(tmp_path: Path) -> None:
    box = [rectangle((-4, 4), (0, 8), z) for z in SLICES]
    every_other = write_rtstruct(tmp_path / "other.dcm", {"liver": box[::2]})
    with pytest.raises(ImageError, match=r"contour in every 2\. slice only"):
        read(every_other)
    one_missing = write_rtstruct(tmp_path / "gap.dcm", {"liver": [*box[:2], *box[3:]]})
    (note,) = read_mask_set(one_missing, None, reference=IMAGE).notes
    assert "no contour in 1 slice between" in note
    # Two lesions above each other's side are two lesions.
    lesions = [rectangle((-9, -5), (0, 4), SLICES[0]), rectangle((5, 9), (0, 4), SLICES[5])]
    assert read_mask_set(write_rtstruct(tmp_path / "two.dcm", {"tumor": lesions}), None, reference=IMAGE).notes == ()


def test_voxels_inside_equal_an_independent_rule() -> None:
    """A star with crossings, against the winding-free test of Matplotlib on points off the edges."""
    from matplotlib.path import Path as Outline

    generator = np.random.default_rng(8)
    for _ in range(20):
        n = int(generator.integers(3, 12))
        radius, angles = generator.uniform(3, 18, n), np.sort(generator.uniform(0, 2 * np.pi, n))
        points = np.column_stack([20 + radius * np.cos(angles), 20 + radius * np.sin(angles)])
        found = fill_contours([np.column_stack([points, np.full(n, 1.0)])], (3, 40, 40))
        j, i = np.mgrid[:40, :40]
        inside = Outline(np.vstack([points, points[:1]])).contains_points(np.column_stack([i.ravel(), j.ravel()]))
        assert not found[[0, 2]].any()
        np.testing.assert_array_equal(found[1], inside.reshape(40, 40))


def test_a_contour_that_is_there_twice_is_no_hole(tmp_path: Path) -> None:
    once = [circle((3.3, 8.1), 12, z) for z in SLICES]
    shifted = [points[40:] + points[:40] for points in once]  # the copy begins at another point
    single = read(write_rtstruct(tmp_path / "1.dcm", {"liver": once}))["liver"]
    found = read_mask_set(write_rtstruct(tmp_path / "2.dcm", {"liver": once + shifted}), reference=IMAGE)
    np.testing.assert_array_equal(found.masks["liver"].array, single.array)
    assert "6 contours twice" in " ".join(found.notes)


def test_contours_that_cross_are_told(tmp_path: Path) -> None:
    crossing = [circle((x, 8.0), 6, z) for z in SLICES for x in (0.0, 5.0)]
    found = read_mask_set(write_rtstruct(tmp_path / "x.dcm", {"liver": crossing}), reference=IMAGE)
    assert "cross in 6 slices" in " ".join(found.notes)
    nested = [circle((0.0, 8.0), radius, z) for z in SLICES for radius in (8, 3)]
    apart = [circle((x, 8.0), 3, z) for z in SLICES for x in (-6.0, 6.0)]
    for n, contours in enumerate((nested, apart)):
        assert read_mask_set(write_rtstruct(tmp_path / f"{n}.dcm", {"liver": contours}), reference=IMAGE).notes == ()
