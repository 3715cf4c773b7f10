"""Mask files: where their voxels lie, what their values are called, and how many files there are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from hepacast.errors import GeometryError, ImageError
from hepacast.imaging import Geometry, Volume, place_mask, read_mask, write_volume
from hepacast.imaging.io import MaskRules, read_labelmap, read_mask_set

GRID = Geometry(size=(9, 7, 5), spacing=(0.8, 0.9, 3.0), origin=(-11.0, 4.0, 20.0))

ORDERS = [((0, 1, 2), (1,)), ((2, 0, 1), (0, 2)), ((1, 0, 2), ()), ((2, 1, 0), (0, 1, 2))]


def oblique(geometry: Geometry = GRID, degrees: tuple[float, float] = (17.0, -31.0)) -> Geometry:
    """The grid turned about two axes."""
    a, b = np.radians(degrees)
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    turned = about_x @ about_z
    return Geometry(geometry.size, geometry.spacing, geometry.origin, tuple(tuple(row) for row in turned))


def labels_of(geometry: Geometry) -> Volume:
    """A label map without any symmetry: 1 and 2, the latter in one corner."""
    array = np.random.default_rng(3).integers(0, 2, geometry.shape).astype(np.uint8)
    array[0, 1, :3] = 2
    return Volume(array, geometry)


def in_another_order(volume: Volume, order: tuple[int, int, int], flipped: tuple[int, ...]) -> Volume:
    """The same voxels in the same places, with axes permuted (SimpleITK's order i, j, k) and reversed."""
    image = sitk.PermuteAxes(volume.to_sitk(), order)
    image = sitk.Flip(image, [axis in flipped for axis in range(3)], False)
    # sitk.Flip turns the picture's direction with it: every voxel keeps its place.
    return Volume.from_sitk(image)


@pytest.mark.parametrize("geometry", [GRID, oblique()], ids=["straight", "oblique"])
@pytest.mark.parametrize(
    ("order", "flipped"), [((0, 1, 2), (1,)), ((2, 0, 1), (0, 2)), ((1, 0, 2), ()), ((2, 1, 0), (0, 1, 2))]
)
def test_voxels_in_another_order_are_put_in_their_places(
    geometry: Geometry, order: tuple[int, int, int], flipped: tuple[int, ...], tmp_path: Path
) -> None:
    mask = labels_of(geometry)
    other = in_another_order(mask, order, flipped)
    assert other.geometry.corner_offset_mm(other.geometry) == 0
    write_volume(other, tmp_path / "m.nii.gz")
    image = Volume(np.zeros(geometry.shape, np.int16), geometry)
    for found in (place_mask(image, other), read_labelmap(tmp_path / "m.nii.gz", reference=image).volume):
        assert found.geometry == geometry
        assert np.array_equal(found.array, mask.array)


def test_the_distance_of_a_turned_mask_is_that_of_its_voxels() -> None:
    image = Volume(np.zeros(GRID.shape, np.int16), GRID)
    moved = Geometry(GRID.size, GRID.spacing, (-9.5, 4.0, 20.0))
    other = in_another_order(labels_of(moved), (0, 1, 2), (1, 2))
    with pytest.raises(GeometryError, match=r"1\.50 mm"):
        place_mask(image, other)


def write_segments(path: Path, volume: Volume, names: list[tuple[str, int]]) -> None:
    """A file as 3D Slicer writes it."""
    image = volume.to_sitk()
    for number, (name, value) in enumerate(names):
        image.SetMetaData(f"Segment{number}_Name", name)
        image.SetMetaData(f"Segment{number}_LabelValue", str(value))
    sitk.WriteImage(image, str(path))


def test_a_cropped_segmentation_is_padded_where_its_voxels_are_the_images(tmp_path: Path) -> None:
    whole = labels_of(oblique())
    box = (slice(1, 4), slice(2, 6), slice(3, 9))
    corner = whole.geometry.affine_lps @ [3, 2, 1, 1]
    part = Geometry((6, 4, 3), GRID.spacing, tuple(corner[:3]), whole.geometry.direction)
    write_segments(tmp_path / "c.seg.nrrd", Volume(whole.array[box], part), [("liver", 1), ("tumor", 2)])
    image = Volume(np.zeros(GRID.shape, np.int16), whole.geometry)
    expected = np.zeros(GRID.shape, bool)
    expected[box] = whole.array[box] == 1
    assert np.array_equal(read_mask(tmp_path / "c.seg.nrrd", reference=image)["liver"].array, expected)
    # Of another program's file a size of its own says that it may belong to another series.
    write_volume(Volume(whole.array[box], part), tmp_path / "c.nii.gz")
    with pytest.raises(GeometryError, match="correctMask"):
        read_mask(tmp_path / "c.nii.gz", {"liver": 1, "tumor": 2}, reference=image)
    corrected = read_mask_set(
        tmp_path / "c.nii.gz", {"liver": 1, "tumor": 2}, reference=image, rules=MaskRules(correct=True)
    )
    assert np.array_equal(corrected.masks["liver"].array, expected)


def test_half_a_voxel_beside_the_grid_is_no_crop(tmp_path: Path) -> None:
    image = Volume(np.zeros(GRID.shape, np.int16), GRID)
    part = Geometry((6, 4, 3), GRID.spacing, (-11.0 + 2.5 * 0.8, 4.0, 20.0))
    write_segments(tmp_path / "c.seg.nrrd", labels_of(part), [("liver", 1), ("tumor", 2)])
    with pytest.raises(GeometryError):
        read_mask(tmp_path / "c.seg.nrrd", reference=image)


def test_a_corrected_mask_must_lie_in_the_image() -> None:
    image = Volume(np.zeros(GRID.shape, np.int16), GRID)
    far = Geometry(GRID.size, GRID.spacing, (-11.0 + 4 * 0.8, 4.0, 20.0))
    with pytest.raises(GeometryError, match=r"3\.20 mm beyond"):
        place_mask(image, Volume(np.ones(GRID.shape, np.uint8), far), correct=True)


def test_two_segments_of_one_name_are_both_there(tmp_path: Path) -> None:
    mask = labels_of(GRID)
    mask.array[3, 3, 3:6] = 4
    write_segments(tmp_path / "m.seg.nrrd", mask, [("liver", 1), ("lesion", 2), ("lesion", 4)])
    found = read_mask(tmp_path / "m.seg.nrrd")
    assert list(found) == ["liver", "lesion (2)", "lesion (4)"]
    assert [int(item.array.sum()) for item in found.values()][1:] == [3, 3]


@pytest.mark.parametrize(
    ("own", "labels"),
    [
        ([("Tumor", 1), ("Liver", 2)], {"parenchyma": 1, "tumor": 2}),
        ([("HCC", 1), ("Leber", 2)], {"liver": 1, "tumor": 2}),
        ([("liver", 1), ("spleen", 2)], {"spleen": 1}),
        ([("肝脏", 2), ("肿瘤", 1)], {"liver": 1, "tumor": 2}),
    ],
)
def test_names_that_contradict_the_files_are_refused(
    own: list[tuple[str, int]], labels: dict[str, int], tmp_path: Path
) -> None:
    write_segments(tmp_path / "m.seg.nrrd", labels_of(GRID), own)
    with pytest.raises(ImageError, match="contradict") as caught:
        read_mask(tmp_path / "m.seg.nrrd", labels)
    assert own[0][0] in str(caught.value)


def test_other_names_for_the_same_are_taken(tmp_path: Path) -> None:
    write_segments(tmp_path / "m.seg.nrrd", labels_of(GRID), [("Liver", 1), ("Lesion 1", 2)])
    assert read_mask_set(tmp_path / "m.seg.nrrd", {"parenchyma": 1, "tumor": 2}).notes == ()
    write_segments(tmp_path / "m.seg.nrrd", labels_of(GRID), [("Segment_1", 1), ("portal vein", 2)])
    (note,) = read_mask_set(tmp_path / "m.seg.nrrd", {"parenchyma": 1, "tumor": 2}).notes
    assert "'portal vein'" in note and "'tumor'" in note


def test_a_value_without_a_name_is_told(tmp_path: Path) -> None:
    mask = labels_of(GRID)
    mask.array[4, :2, 0] = (7, 9)
    write_volume(mask, tmp_path / "m.nii.gz")
    (note,) = read_mask_set(tmp_path / "m.nii.gz", {"parenchyma": 1, "tumor": 2}).notes
    assert "7, 9" in note and "no name" in note


def test_one_file_a_structure(tmp_path: Path) -> None:
    mask = labels_of(GRID)
    folder = tmp_path / "patient"
    folder.mkdir()
    for name, value in (("liver", 1), ("tumor", 2)):
        write_volume(mask.with_array((mask.array == value).astype(np.uint8) * 255), folder / f"{name}.nii.gz")
    files = {"liver": folder / "liver.nii.gz", "tumor": folder / "tumor.nii.gz"}
    for given in (folder, files):
        found = read_mask(given, {"parenchyma": 1, "tumor": 2}, reference=mask)
        assert list(found) == ["liver", "tumor"]
        assert np.array_equal(found["tumor"].array, mask.array == 2)


def test_a_folder_may_hold_a_label_map_alone(tmp_path: Path) -> None:
    mask = labels_of(GRID)
    write_volume(mask, tmp_path / "seg-P01.nii.gz")
    found = read_mask(tmp_path, {"parenchyma": 1, "tumor": 2}, reference=mask)
    assert np.array_equal(found["tumor"].array, mask.array == 2)
    (tmp_path / "seg-P01.nii.gz").unlink()
    write_volume(mask.with_array((mask.array == 2).astype(np.uint8)), tmp_path / "tumor.nii.gz")
    # Its value 1 is not the parenchyma of the labels.
    assert list(read_mask(tmp_path, {"parenchyma": 1, "lesion": 2}, reference=mask)) == ["tumor"]


def test_values_almost_whole_are_whole_and_others_are_shown(tmp_path: Path) -> None:
    mask = labels_of(GRID)
    write_volume(mask.with_array(mask.array * np.float32(0.99997)), tmp_path / "m.nii.gz")
    assert np.array_equal(read_mask(tmp_path / "m.nii.gz", {"a": 1, "b": 2})["b"].array, mask.array == 2)
    write_volume(mask.with_array(mask.array * np.float32(0.9971)), tmp_path / "m.nii.gz")
    with pytest.raises(ImageError, match=r"0\.9971|1\.9942"):
        read_mask(tmp_path / "m.nii.gz")


def test_the_label_of_the_settings_chooses_and_must_be_there(tmp_path: Path) -> None:
    mask = labels_of(GRID)
    write_volume(mask, tmp_path / "m.nii.gz")
    found = read_mask_set(tmp_path / "m.nii.gz", rules=MaskRules(label=2)).masks
    assert {name: int(item.array.sum()) for name, item in found.items()} == {"mask": 3}
    with pytest.raises(ImageError, match="no label 5"):
        read_mask_set(tmp_path / "m.nii.gz", rules=MaskRules(label=5))
    with pytest.raises(ImageError, match="--labels"):
        read_mask_set(tmp_path / "m.nii.gz")


def test_a_channel_of_overlapping_segments(tmp_path: Path) -> None:
    mask = labels_of(GRID)
    layers = [mask.with_array((mask.array == value).astype(np.uint8)).to_sitk() for value in (1, 2)]
    sitk.WriteImage(sitk.Compose(*layers), str(tmp_path / "m.nrrd"))
    found = read_mask_set(tmp_path / "m.nrrd", rules=MaskRules(channel=1)).masks["mask"]
    assert int(found.array.sum()) == 3
    with pytest.raises(ImageError, match="label_channel 0 to 1"):
        read_mask_set(tmp_path / "m.nrrd", rules=MaskRules(channel=2))


@pytest.mark.parametrize("names", [("Lebertumor", "Leber"), ("livertumor1", "liver"), ("опухоль", "печень")])
def test_compound_and_foreign_names_of_tumors_are_known(tmp_path: Path, names: tuple[str, str]) -> None:
    tumor, liver = names
    array = np.zeros(GRID.shape, np.uint8)
    array[1:3, 2:6, 2:6], array[1:3, 2:4, 2:4] = 1, 2
    write_segments(tmp_path / "m.seg.nrrd", Volume(array, GRID), [(liver, 1), (tumor, 2)])
    assert set(read_mask(tmp_path / "m.seg.nrrd", {"liver": 1, "tumor": 2})) == {"liver", "tumor"}
    write_segments(tmp_path / "r.seg.nrrd", Volume(array, GRID), [(tumor, 1), (liver, 2)])
    with pytest.raises(ImageError, match="contradict"):
        read_mask(tmp_path / "r.seg.nrrd", {"liver": 1, "tumor": 2})
