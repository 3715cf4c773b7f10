"""Volumes in and out: every format gives back values and geometry; every broken file is refused in words."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hepacast.errors import GeometryError, ImageError, StorageError
from hepacast.imaging import (
    Geometry,
    LabelMap,
    Volume,
    place_mask,
    read_labelmap,
    read_mask,
    read_volume,
    write_labelmap,
    write_volume,
)

FORMATS = (".nii", ".nii.gz", ".nrrd", ".mha")


def rotation(angle: float) -> tuple[tuple[float, float, float], ...]:
    c, s = float(np.cos(angle)), float(np.sin(angle))
    return ((c, -s, 0.0), (s, c, 0.0), (0.0, 0.0, 1.0))


def volume(seed: int = 0, angle: float = 0.0) -> Volume:
    generator = np.random.default_rng(seed)
    array = generator.integers(-1024, 2000, size=(5, 7, 9)).astype(np.int16)
    return Volume(array, Geometry((9, 7, 5), (0.7, 0.8, 5.0), (-120.5, 33.25, -700.0), rotation(angle)))


def mask_like(image: Volume) -> Volume:
    array = np.zeros(image.geometry.shape, dtype=bool)
    array[1:4, 2:6, 3:7] = True
    return image.with_array(array)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("angle", [0.0, 0.3, np.pi])
def test_a_volume_comes_back_as_written(tmp_path: Path, suffix: str, angle: float) -> None:
    image = volume(angle=angle)
    write_volume(image, tmp_path / f"a{suffix}")
    back = read_volume(tmp_path / f"a{suffix}")
    assert back.array.dtype == np.int16
    np.testing.assert_array_equal(back.array, image.array)
    image.geometry.require_same(back.geometry)
    assert list(tmp_path.iterdir()) == [tmp_path / f"a{suffix}"]


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_our_nifti_means_the_same_to_itk(tmp_path: Path, suffix: str) -> None:
    image = volume(angle=0.4)
    write_volume(image, tmp_path / f"a{suffix}")
    theirs = Volume.from_sitk(sitk.ReadImage(str(tmp_path / f"a{suffix}")))
    np.testing.assert_array_equal(theirs.array, image.array)
    image.geometry.require_same(theirs.geometry)


def test_itks_nifti_means_the_same_to_us(tmp_path: Path) -> None:
    image = volume(angle=-0.7)
    sitk.WriteImage(image.to_sitk(), str(tmp_path / "a.nii.gz"))
    back = read_volume(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(back.array, image.array)
    image.geometry.require_same(back.geometry)


def test_real_scan_reads_as_itk_reads_it(data_dir) -> None:
    path = data_dir("ct/totalseg_small") / "example_ct_sm.nii.gz"
    ours, theirs = read_volume(path), Volume.from_sitk(sitk.ReadImage(str(path)))
    np.testing.assert_array_equal(ours.array, theirs.array)
    ours.geometry.require_same(theirs.geometry)


@settings(max_examples=40, deadline=None)
@given(
    array=hnp.arrays(
        dtype=st.sampled_from([np.uint8, np.int16, np.int32, np.float32, np.float64]),
        shape=st.tuples(*[st.integers(2, 5)] * 3),
        elements=st.integers(0, 200),
    ),
    spacing=st.tuples(*[st.floats(0.25, 10.0)] * 3),
    origin=st.tuples(*[st.floats(-900.0, 900.0)] * 3),
    angle=st.floats(-3.0, 3.0),
)
def test_nifti_round_trip(tmp_path_factory, array, spacing, origin, angle) -> None:
    path = tmp_path_factory.mktemp("round") / "a.nii"
    size = (array.shape[2], array.shape[1], array.shape[0])
    image = Volume(array, Geometry(size, spacing, origin, rotation(angle)))
    write_volume(image, path)
    back = read_volume(path)
    assert back.array.dtype == array.dtype
    np.testing.assert_array_equal(back.array, array)
    image.geometry.require_same(back.geometry)


def test_equal_volumes_give_equal_bytes(tmp_path: Path) -> None:
    for suffix in FORMATS:
        for name in ("a", "b"):
            write_volume(volume(), tmp_path / f"{name}{suffix}")
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("part", [0.3, 0.7, 0.99])
def test_a_truncated_file_is_refused(tmp_path: Path, suffix: str, part: float) -> None:
    path = tmp_path / f"a{suffix}"
    write_volume(Volume(np.random.default_rng(1).normal(size=(8, 32, 32)), Geometry((32, 32, 8), (1, 1, 5))), path)
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(ImageError, match="damaged or incomplete"):
        read_volume(path)


def test_a_gz_with_a_wrong_checksum_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    write_volume(volume(), path)
    content = bytearray(path.read_bytes())
    content[-6] ^= 0xFF
    path.write_bytes(bytes(content))
    with pytest.raises(ImageError, match="damaged or incomplete"):
        read_volume(path)


def nifti(path: Path, array: np.ndarray, dtype: object = None) -> Path:
    image = nib.Nifti1Image(array, np.eye(4), dtype=dtype or array.dtype)
    nib.save(image, path)
    return path


def test_what_is_no_volume_is_refused(tmp_path: Path) -> None:
    rgb = np.zeros((4, 4, 4), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    cases = {
        "two-dimensional": nifti(tmp_path / "flat.nii", np.zeros((8, 8), np.int16)),
        "8 x 8 pixels": nifti(tmp_path / "one.nii", np.zeros((8, 8, 1), np.int16)),
        "4-D: 4 x 4 x 4 x 3": nifti(tmp_path / "four.nii.gz", np.zeros((4, 4, 4, 3), np.int16)),
        "complex": nifti(tmp_path / "complex.nii", np.zeros((4, 4, 4), np.complex64)),
        "color": nifti(tmp_path / "rgb.nii", rgb),
        "every voxel is NaN": nifti(tmp_path / "nan.nii", np.full((4, 4, 4), np.nan, np.float32)),
        "does not exist": tmp_path / "absent.nii.gz",
    }
    for words, path in cases.items():
        with pytest.raises(ImageError, match=words) as caught:
            read_volume(path)
        assert caught.value.exit_code == 2
        assert caught.value.where == str(path)


def test_a_picture_and_an_unknown_suffix_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    (tmp_path / "a.xyz").write_bytes(b"hello")
    with pytest.raises(ImageError, match="not a volume"):
        read_volume(tmp_path / "a.png")
    with pytest.raises(ImageError, match=r"\.xyz"):
        read_volume(tmp_path / "a.xyz")


def test_itk_files_that_are_no_volumes_are_refused(tmp_path: Path) -> None:
    color = sitk.Image([4, 4, 4], sitk.sitkVectorUInt8, 3)
    sitk.WriteImage(color, str(tmp_path / "rgb.nrrd"))
    sitk.WriteImage(sitk.Image([4, 4], sitk.sitkInt16), str(tmp_path / "flat.mha"))
    with pytest.raises(ImageError, match="3 components"):
        read_volume(tmp_path / "rgb.nrrd")
    with pytest.raises(ImageError, match="two-dimensional"):
        read_volume(tmp_path / "flat.mha")


def test_a_trailing_axis_of_one_is_no_fourth_dimension(tmp_path: Path) -> None:
    path = nifti(tmp_path / "a.nii", np.arange(60, dtype=np.int16).reshape(3, 4, 5, 1))
    assert read_volume(path).geometry.size == (3, 4, 5)


def test_scaled_integers_stay_integers(tmp_path: Path) -> None:
    stored = np.arange(2 * 3 * 4, dtype=np.int16).reshape(4, 3, 2)
    image = nib.Nifti1Image(stored, np.eye(4))
    image.header.set_slope_inter(1.0, -1024.0)
    raw = tmp_path / "a.nii"
    nib.save(image, raw)
    back = read_volume(raw)
    assert back.array.dtype == np.int16


def test_big_endian_files_are_read(tmp_path: Path) -> None:
    stored = np.arange(24, dtype=">i2").reshape(4, 3, 2)
    header = nib.Nifti1Header(endianness=">")
    header.set_data_dtype(">i2")
    nib.save(nib.Nifti1Image(stored, np.eye(4), header), tmp_path / "a.nii")
    back = read_volume(tmp_path / "a.nii")
    np.testing.assert_array_equal(back.array, stored.T)
    assert back.array.dtype.isnative


def test_writing_refuses_other_formats_and_reports_a_full_disk(tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(ImageError, match="mhd"):
        write_volume(volume(), tmp_path / "a.mhd")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hepacast.imaging.io.write_nifti", full)
    with pytest.raises(StorageError, match="disk is full"):
        write_volume(volume(), tmp_path / "a.nii.gz")
    assert list(tmp_path.iterdir()) == []


def test_masks_by_name(tmp_path: Path) -> None:
    image = volume()
    array = np.zeros(image.geometry.shape, np.float64)
    array[1:3, 1:5, 1:5], array[1:3, 2:4, 2:4] = 1, 2
    write_volume(image.with_array(array), tmp_path / "seg.nii.gz")
    masks = read_mask(tmp_path / "seg.nii.gz", {"parenchyma": 1, "tumor": 2}, reference=image)
    assert list(masks) == ["parenchyma", "tumor"]
    assert masks["tumor"].array.dtype == bool
    assert (int(masks["parenchyma"].array.sum()), int(masks["tumor"].array.sum())) == (2 * 16 - 8, 8)
    with pytest.raises(ImageError, match="several labels and no names"):
        read_mask(tmp_path / "seg.nii.gz")
    with pytest.raises(ImageError, match="labels 1, 2"):
        read_mask(tmp_path / "seg.nii.gz", {"liver": 5})
    absent = read_mask(tmp_path / "seg.nii.gz", {"liver": 1, "cyst": 7})
    assert not absent["cyst"].array.any()


def test_one_value_needs_no_name(tmp_path: Path) -> None:
    image = volume()
    write_volume(image.with_array(mask_like(image).array.astype(np.uint8) * 255), tmp_path / "m.nrrd")
    assert int(read_mask(tmp_path / "m.nrrd")["mask"].array.sum()) == 3 * 4 * 4


def test_a_probability_map_is_no_mask(tmp_path: Path) -> None:
    image = volume()
    write_volume(image.with_array(np.linspace(0, 1, image.array.size).reshape(image.array.shape)), tmp_path / "p.nii")
    with pytest.raises(ImageError, match="not whole numbers"):
        read_mask(tmp_path / "p.nii")


def test_an_image_in_the_place_of_the_mask_is_refused(tmp_path: Path) -> None:
    """Among its gray levels 1 and 2 occur by chance."""
    array = np.random.default_rng(0).integers(-1024, 2000, size=(20, 30, 30)).astype(np.int16)
    gray = Volume(array, Geometry((30, 30, 20), (1.0, 1.0, 2.0)))
    for content in (array, np.abs(array), np.clip(array, -40, 40)):
        assert {1, 2} <= set(np.unique(content).tolist())
        write_volume(gray.with_array(content), tmp_path / "gray.nii.gz")
        with pytest.raises(ImageError, match="an image, not a mask"):
            read_mask(tmp_path / "gray.nii.gz", {"parenchyma": 1, "tumor": 2})
    many = gray.with_array((array % 120).astype(np.uint8))
    write_volume(many, tmp_path / "organs.nii.gz")
    assert read_mask(tmp_path / "organs.nii.gz", {"liver": 5})["liver"].array.sum() == (many.array == 5).sum()


def test_label_maps(tmp_path: Path) -> None:
    image = volume()
    tumor = mask_like(image)
    rest = image.with_array(~tumor.array)
    labelmap = LabelMap.from_masks({"parenchyma": rest, "tumor": tumor})
    write_labelmap(labelmap, tmp_path / "l.nii.gz")
    back = read_labelmap(tmp_path / "l.nii.gz", {"parenchyma": 1, "tumor": 2}, reference=image)
    np.testing.assert_array_equal(back.volume.array, labelmap.volume.array)
    assert back.volume.array.dtype == np.uint8
    assert read_labelmap(tmp_path / "l.nii.gz", {"tumor": 2}).unnamed == (1,)
    assert read_labelmap(tmp_path / "l.nii.gz").names == ("label_1", "label_2")
    with pytest.raises(ImageError, match="shares 48 voxels"):
        LabelMap.from_masks({"a": tumor, "b": tumor})
    with pytest.raises(ImageError, match="no structure 'cyst'"):
        back.mask("cyst")
    with pytest.raises(ImageError, match="label of its own"):
        LabelMap(labelmap.volume, {"a": 1, "b": 1})


def test_slicer_segment_names_are_used(tmp_path: Path) -> None:
    image = mask_like(volume()).to_sitk()
    image.SetMetaData("Segment0_Name", "Leber")
    image.SetMetaData("Segment0_LabelValue", "1")
    sitk.WriteImage(image, str(tmp_path / "a.seg.nrrd"))
    assert list(read_mask(tmp_path / "a.seg.nrrd")) == ["Leber"]


@pytest.mark.parametrize("shift", [(3.0, 0.0, 0.0), (0.0, 0.0, -5.0), (0.05, 0.0, 0.0)])
def test_a_shifted_mask_is_refused_with_its_offset_and_a_picture(tmp_path: Path, shift) -> None:
    image = volume()
    origin = tuple(float(a + b) for a, b in zip(image.geometry.origin, shift))
    mask = Volume(mask_like(image).array, replace(image.geometry, origin=origin))
    write_volume(mask, tmp_path / "m.nii.gz")
    picture = tmp_path / "mismatch.png"
    with pytest.raises(GeometryError, match=f"{np.linalg.norm(shift):.2f} mm away") as caught:
        read_mask(tmp_path / "m.nii.gz", reference=image, overlay_path=picture)
    assert str(picture) in str(caught.value)
    assert picture.read_bytes()[:4] == b"\x89PNG"


def test_a_mask_of_another_patient_is_refused(tmp_path: Path) -> None:
    image = volume()
    other = Volume(np.ones((4, 4, 4), bool), Geometry((4, 4, 4), (1, 1, 1), (900, 900, 900)))
    with pytest.raises(GeometryError, match="another patient"):
        place_mask(image, other, overlay_path=tmp_path / "m.png")
    assert (tmp_path / "m.png").exists()
    place_mask(image, mask_like(image))


def test_a_gz_that_is_no_nifti_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(b"not an image" * 50))
    with pytest.raises(ImageError, match="damaged or incomplete"):
        read_volume(tmp_path / "a.nii.gz")
