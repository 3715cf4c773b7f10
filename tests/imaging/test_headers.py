"""What a header says of voxels and their size: taken as meant, converted, or refused in words; never guessed."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from hepacast.errors import ImageError
from hepacast.imaging import Geometry, Volume, read_volume, write_volume
from hepacast.imaging.nifti import NiftiHeader

GRID = Geometry(size=(11, 8, 6), spacing=(0.6, 0.7, 2.5), origin=(3.0, -9.0, 40.0))
VALUES = np.random.default_rng(5).integers(-900, 900, GRID.shape).astype(np.int16)


def nifti(path: Path, *changes: tuple[int, str, Any], data: bytes = b"", size: int | None = None) -> Path:
    """A sound file with fields of its header changed at byte offsets, cut or lengthened."""
    write_volume(Volume(VALUES, GRID), path.with_name("sound.nii"))
    raw = bytearray(path.with_name("sound.nii").read_bytes()[:size] + data)
    for offset, kind, value in changes:
        struct.pack_into("<" + kind, raw, offset, value)
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return path


@pytest.mark.parametrize("name", ["x.nii", "x.nii.gz"])
@pytest.mark.parametrize(
    "changes",
    [
        [],
        [(108, "f", 0.0)],  # vox_offset: the voxels follow the header
        [(112, "f", 0.0), (116, "f", 7.0)],  # a slope of 0 is none, and the intercept with it
        [(112, "f", float("nan"))],
    ],
)
def test_headers_that_mean_the_same(name: str, changes: list[tuple[int, str, Any]], tmp_path: Path) -> None:
    found = read_volume(nifti(tmp_path / name, *changes))
    assert np.array_equal(found.array, VALUES)
    assert found.spacing == pytest.approx(GRID.spacing)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ([(108, "f", 96.0)], "inside the header"),
        ([(108, "f", float("nan"))], "inside the header"),
        ([(70, "h", 777)], "datatype 777"),
        ([(0, "i", 1234)], "no NIfTI header"),
        ([(344, "4s", b"ni1\0")], "magic"),
        ([(112, "f", float("inf"))], "slope inf"),
        ([(112, "f", 2.0), (116, "f", float("nan"))], "intercept nan"),
        ([(42, "h", 10)], "more are there"),
        ([(46, "h", 7)], "are there"),
        ([(42, "h", 32000), (44, "h", 32000), (46, "h", 32000)], "are there"),
        ([(44, "h", -8)], "below 1"),
    ],
)
@pytest.mark.parametrize("name", ["x.nii", "x.nii.gz"])
def test_headers_that_cannot_be(changes: list[tuple[int, str, Any]], words: str, name: str, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=words):
        read_volume(nifti(tmp_path / name, *changes))


@pytest.mark.parametrize("more", [{"data": b"\1" * 40}, {"size": -1}, {"size": 200}, {"size": 0}])
def test_too_many_or_too_few_bytes(more: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="damaged or incomplete"):
        read_volume(nifti(tmp_path / "x.nii", **more))


def test_zeros_that_fill_a_block_are_no_voxels(tmp_path: Path) -> None:
    assert np.array_equal(read_volume(nifti(tmp_path / "x.nii", data=bytes(300))).array, VALUES)


def in_unit(path: Path, factor: float, unit: int) -> Path:
    """GRID with its lengths times a factor, and xyzt_units."""
    import nibabel as nib

    write_volume(Volume(VALUES, GRID), path)
    image = nib.load(path)
    affine = np.diag([factor, factor, factor, 1.0]) @ image.affine
    other = nib.Nifti1Image(np.asanyarray(image.dataobj), affine)
    other.header["xyzt_units"] = unit
    nib.save(other, path)
    return path


@pytest.mark.parametrize(("factor", "unit"), [(1.0, 2), (1.0, 0), (0.001, 1), (1000.0, 3), (1.0, 2 + 8)])
def test_lengths_are_in_mm_whatever_the_header_has(factor: float, unit: int, tmp_path: Path) -> None:
    found = read_volume(in_unit(tmp_path / "x.nii", factor, unit)).geometry
    assert found.spacing == pytest.approx(GRID.spacing)
    assert found.origin == pytest.approx(GRID.origin)


@pytest.mark.parametrize(("factor", "unit"), [(0.001, 2), (1000.0, 0), (1000.0, 1), (0.01, 2)])
def test_voxels_that_no_scan_has(factor: float, unit: int, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="implausible") as caught:
        read_volume(in_unit(tmp_path / "x.nii", factor, unit))
    assert "what to do" in str(caught.value)


def test_no_voxel_size_in_nifti(tmp_path: Path) -> None:
    none = [(80, "f", 0.0), (84, "f", 0.0), (88, "f", 0.0)]
    for codes in ([(252, "h", 0), (254, "h", 0)], [(254, "h", 0)]):
        with pytest.raises(ImageError, match="no voxel size"):
            read_volume(nifti(tmp_path / "x.nii", *none, *codes))
    # The sform has the size by itself.
    assert read_volume(nifti(tmp_path / "x.nii", *none)).spacing == pytest.approx(GRID.spacing)


def test_two_voxel_sizes_or_two_ways(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ImageError, match="two voxel sizes"):
        read_volume(nifti(tmp_path / "x.nii", (80, "f", 1.2)))
    with pytest.raises(ImageError, match="two directions of the axes"):
        read_volume(nifti(tmp_path / "x.nii", (256, "f", 1.0), (260, "f", 0.0), (264, "f", 0.0)))
    assert capfd.readouterr().err == ""


RAW = VALUES.tobytes()
MHD = "ObjectType = Image\nNDims = 3\nDimSize = 11 8 6\nElementType = MET_SHORT\n{}ElementDataFile = x.raw\n"
NRRD = "NRRD0004\ntype: short\ndimension: 3\nsizes: 11 8 6\nendian: little\nencoding: raw\n{}\n"


@pytest.mark.parametrize("spacing", ["", "spacings: nan nan nan\n"])
def test_no_voxel_size_in_nrrd(spacing: str, tmp_path: Path) -> None:
    (tmp_path / "x.nrrd").write_bytes(NRRD.format(spacing).encode() + RAW)
    with pytest.raises(ImageError, match="no voxel size"):
        read_volume(tmp_path / "x.nrrd")


def test_no_voxel_size_in_metaimage(tmp_path: Path) -> None:
    (tmp_path / "x.raw").write_bytes(RAW)
    (tmp_path / "x.mhd").write_text(MHD.format(""))
    with pytest.raises(ImageError, match="no voxel size"):
        read_volume(tmp_path / "x.mhd")
    (tmp_path / "x.mhd").write_text(MHD.format("ElementSpacing = 0.6 0.7 2.5\n"))
    assert np.array_equal(read_volume(tmp_path / "x.mhd").array, VALUES)
    (tmp_path / "x.raw").write_bytes(RAW + bytes(11 * 8 * 2))
    with pytest.raises(ImageError, match="are there"):
        read_volume(tmp_path / "x.mhd")


def test_a_scale_that_itk_leaves_alone_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.raw").write_bytes(RAW)
    fields = "ElementSpacing = 1 1 2\nElementToIntensityFunctionSlope = {}\nElementToIntensityFunctionOffset = {}\n"
    for scale, told in (((2, -1024), True), (("1.0", "0"), False)):
        (tmp_path / "x.mhd").write_text(MHD.format(fields.format(*scale)))
        found = read_volume(tmp_path / "x.mhd")
        assert np.array_equal(found.array, VALUES) and bool(found.notes) == told


def test_units_of_nrrd(tmp_path: Path) -> None:
    for spacing, unit in (("0.6 0.7 2.5", "mm"), ("600 700 2500", "um"), ("0.0006 0.0007 0.0025", "m")):
        words = f'spacings: {spacing}\nunits: "{unit}" "{unit}" "{unit}"\n'
        (tmp_path / "x.nrrd").write_bytes(NRRD.format(words).encode() + RAW)
        assert read_volume(tmp_path / "x.nrrd").spacing == pytest.approx(GRID.spacing)
    words = 'spacings: 0.6 0.7 2.5\nunits: "furlong" "furlong" "furlong"\n'
    (tmp_path / "x.nrrd").write_bytes(NRRD.format(words).encode() + RAW)
    with pytest.raises(ImageError, match="unit of length"):
        read_volume(tmp_path / "x.nrrd")


def test_what_itk_writes_is_read_again(tmp_path: Path) -> None:
    for name in ("x.nrrd", "x.nhdr", "x.mha", "x.mhd"):
        for packed in (False, True):
            sitk.WriteImage(Volume(VALUES, GRID).to_sitk(), str(tmp_path / name), packed)
            found = read_volume(tmp_path / name)
            assert np.array_equal(found.array, VALUES) and found.geometry == GRID


def test_a_header_without_orientation_is_told(tmp_path: Path) -> None:
    neither = read_volume(nifti(tmp_path / "n.nii", (252, "h", 0), (254, "h", 0)))
    np.testing.assert_array_equal(neither.array, VALUES)
    assert neither.spacing == pytest.approx(GRID.spacing) and "left and right" in " ".join(neither.notes)
    for only in (252, 254):
        found = read_volume(nifti(tmp_path / "o.nii", (only, "h", 0)))
        assert found.notes == () and found.geometry.is_same(GRID)


def test_two_places_in_the_patient_are_told(tmp_path: Path) -> None:
    moved = read_volume(nifti(tmp_path / "m.nii", (268, "f", 16.0)))  # the qform's origin
    assert moved.geometry.is_same(GRID)
    assert moved.notes == (
        "the header gives two places in the patient, up to 19.0 mm apart (sform and qform): sform's is taken",
    )
    assert read_volume(nifti(tmp_path / "r.nii", (268, "f", -3.1))).notes == ()  # rounding


@pytest.mark.parametrize("name", ["packed.nii", "plain.nii.gz"])
def test_the_content_tells_whether_a_file_is_packed(name: str, tmp_path: Path) -> None:
    raw = nifti(tmp_path / "x.nii").read_bytes()
    (tmp_path / name).write_bytes(gzip.compress(raw) if name == "packed.nii" else raw)
    found = read_volume(tmp_path / name)
    assert np.array_equal(found.array, VALUES) and found.geometry.is_same(GRID)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("order", ["<", ">"])
def test_files_are_read_as_nibabel_reads_them(version: int, order: str, tmp_path: Path) -> None:
    generator, kinds = np.random.default_rng(version), ("u1", "i2", "i4", "f4", "f8", "i1", "u2", "u4", "i8", "u8")
    for turn in range(40):
        values = generator.integers(0, 100, (5, 4, 3)).astype(kinds[turn % 10])
        image = (nib.Nifti1Image if version == 1 else nib.Nifti2Image)(values, None, dtype=values.dtype)
        header = image.header.as_byteswapped(order)
        matrix = Rotation.random(random_state=turn).as_matrix() if turn % 5 else np.diag([1.0, -1.0, -1.0])
        affine = np.eye(4)
        affine[:3, :3], affine[:3, 3] = matrix * generator.uniform(0.5, 3, 3), generator.uniform(-200, 200, 3)
        if turn % 3 == 2:
            header.set_zooms((0.7, 0.8, 2.5))
        else:
            header.set_qform(affine, code=int(turn % 3 == 0) or 2)
            header["pixdim"][0] = 0 if turn % 7 == 0 else header["pixdim"][0]
        if turn % 3 == 1:
            header.set_sform(affine, code=4)
        if turn % 4 == 1:
            header.set_slope_inter(0.7, -3)
        elif turn % 4 == 2:
            header.set_slope_inter(1, -1024)
        path = tmp_path / f"{turn}.nii"
        shift = header["vox_offset"] = 352 if version == 1 else 544
        path.write_bytes(
            header.binaryblock
            + bytes(int(shift) - len(header.binaryblock))
            + values.astype(values.dtype.newbyteorder(order)).tobytes(order="F")
        )
        theirs, ours = nib.load(path), read_volume(path)
        assert np.array_equal(ours.array.T, np.asanyarray(theirs.dataobj).astype(ours.array.dtype)), turn
        assert NiftiHeader.read(path.read_bytes()).affine().tolist() == theirs.affine.tolist(), turn
        assert ours.array.flags.writeable


def test_a_packed_file_may_have_parts(tmp_path: Path) -> None:
    raw = nifti(tmp_path / "whole.nii").read_bytes()
    path = tmp_path / "parts.nii.gz"
    path.write_bytes(gzip.compress(raw[:400]) + gzip.compress(raw[400:]) + bytes(100))
    assert np.array_equal(read_volume(path).array, VALUES)
    for wrong in (gzip.compress(raw)[:-4], gzip.compress(raw) + b"more", gzip.compress(raw)[:-8] + bytes(8)):
        path.write_bytes(wrong)
        with pytest.raises(ImageError, match="damaged"):
            read_volume(path)
