"""DICOM series: the rules, the choice among series, HU, and no word about the patient."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest

from hepacast.errors import ImageError
from hepacast.imaging import read_volume
from hepacast.imaging.dicom import read_series, scan_folder
from hepacast.imaging.dicom_pixels import read_pixels

_spec = importlib.util.spec_from_file_location("dicom_files", Path(__file__).with_name("dicom_files.py"))
dicom_files = importlib.util.module_from_spec(_spec)
sys.modules["dicom_files"] = dicom_files
_spec.loader.exec_module(dicom_files)
write_series, write_slice = dicom_files.write_series, dicom_files.write_slice

EVEN = [float(z) for z in range(0, 50, 5)]


def codes(folder: Path) -> set[str]:
    scanned = scan_folder(folder)
    return {f.code for f in scanned.quarantine} | {f.code for s in scanned.series for f in s.findings}


def refusal(folder: Path, **kwargs: object) -> str:
    with pytest.raises(ImageError) as caught:
        read_series(folder, **kwargs)
    text = str(caught.value)
    for word in ("Secret", "SECRET", "1901"):
        assert word not in text
    return text


def test_a_clean_series(tmp_path: Path) -> None:
    write_series(tmp_path, EVEN[::-1])
    volume = read_series(tmp_path)
    assert volume.geometry.size == (8, 6, 10)
    assert volume.geometry.spacing == pytest.approx((0.7, 0.8, 5.0))
    assert volume.geometry.origin == (-50.0, -60.0, 0.0)
    assert volume.array.dtype == np.int16
    # Written from high to low: the lowest slice is the last instance, 10.
    assert volume.array[0, 0, 0] == 1000 + 10 - 1024
    assert (np.diff(volume.array[:, 0, 0].astype(int)) == -1).all()


def test_one_file_stands_for_its_series(tmp_path: Path) -> None:
    files = write_series(tmp_path, EVEN)
    write_series(tmp_path / "other", EVEN, series="1.2.3.5")
    assert read_volume(files[3]).geometry.size == (8, 6, 10)


def test_rescale_differs_by_slice(tmp_path: Path) -> None:
    for n, (slope, intercept) in enumerate([(1.0, -1024.0), (2.0, -1000.0), (0.5, 0.0)]):
        write_slice(tmp_path / f"{n}.dcm", (0, 0, 5.0 * n), instance=n + 1, slope=slope, intercept=intercept)
    volume = read_series(tmp_path)
    np.testing.assert_allclose(volume.array[:, 0, 0], [1001 - 1024, 2 * 1002 - 1000, 0.5 * 1003])


def test_a_missing_slice_is_named(tmp_path: Path) -> None:
    write_series(tmp_path, [z for z in EVEN if z not in (20.0, 25.0)])
    text = refusal(tmp_path)
    assert "2 slices are missing between 15.00 and 30.00 mm" in text
    assert "between instance numbers 4 and 5" in text


def test_uneven_steps_are_named(tmp_path: Path) -> None:
    write_series(tmp_path, [0, 5, 10, 15, 21.5, 26.5, 31.5])
    assert "6.50 mm between 15.00 and 21.50 mm" in refusal(tmp_path)


def test_rounded_positions_are_even(tmp_path: Path) -> None:
    write_series(tmp_path, [round(1.25 * n, 1) for n in range(20)])
    assert read_series(tmp_path).geometry.spacing[2] == pytest.approx(1.25, abs=0.01)


def test_duplicates_are_set_aside(tmp_path: Path) -> None:
    write_series(tmp_path, EVEN)
    write_slice(tmp_path / "again.dcm", (-50.0, -60.0, 10.0), instance=3)
    assert read_series(tmp_path).geometry.size[2] == 10
    assert codes(tmp_path) == {"duplicate"}


def test_gantry_tilt_is_refused(tmp_path: Path) -> None:
    for n in range(6):
        write_slice(tmp_path / f"{n}.dcm", (0, 1.0 * n, 5.0 * n), instance=n + 1)
    text = refusal(tmp_path)
    assert f"gantry tilt of {np.degrees(np.arctan2(1, 5)):.1f} degrees" in text
    assert "5.0 mm over the stack" in text


def test_mixed_sizes_and_orientations(tmp_path: Path) -> None:
    write_series(tmp_path / "a", [float(z) for z in range(0, 100, 5)])
    write_slice(tmp_path / "a" / "x.dcm", (0, 0, 7.0), instance=99, orientation=(0, 1, 0, 0, 0, -1))
    assert read_series(tmp_path / "a").geometry.size[2] == 20
    assert codes(tmp_path / "a") == {"mixed_orientation"}
    write_series(tmp_path / "b", EVEN)
    write_series(tmp_path / "b" / "big", EVEN, pixels=np.ones((9, 9)))
    assert "mixes slices of 2 sizes (10 + 10 slices)" in refusal(tmp_path / "b")


def test_phases_in_one_series_must_be_chosen(tmp_path: Path) -> None:
    write_series(tmp_path / "1", EVEN, AcquisitionNumber=1)
    write_series(tmp_path / "2", EVEN, AcquisitionNumber=2, pixels=np.full((6, 8), 77))
    text = refusal(tmp_path)
    assert "AcquisitionNumber 1" in text and "AcquisitionNumber 2" in text
    assert read_series(tmp_path, series="portal#2").array[0, 0, 0] == 77 - 1024
    assert "More than one series" in refusal(tmp_path, series="portal")


def test_phases_that_nothing_tells_apart_are_refused(tmp_path: Path) -> None:
    write_series(tmp_path / "1", EVEN)
    write_series(tmp_path / "2", EVEN, pixels=np.full((6, 8), 77))
    assert "no attribute" in refusal(tmp_path)


def test_series_are_listed_and_chosen(tmp_path: Path) -> None:
    write_series(tmp_path / "a", EVEN, series="1.2.1", SeriesNumber=2, SeriesDescription="arterial")
    write_series(tmp_path / "b", EVEN[:-1], series="1.2.2", SeriesNumber=3, SeriesDescription="portal venous 5mm")
    text = refusal(tmp_path)
    assert 'series 2 "arterial" CT, 10 slices of 8 x 6' in text and 'series 3 "portal venous 5mm"' in text
    for wanted in (3, "3", "PORTAL", "1.2.2", "portal venous 5mm"):
        assert read_series(tmp_path, series=wanted).geometry.size[2] == 9
    assert "No series" in refusal(tmp_path, series="delayed")


def test_a_broken_series_is_not_silently_replaced_by_an_intact_one(tmp_path: Path) -> None:
    write_series(tmp_path / "a", EVEN, series="1.2.1", SeriesNumber=2, SeriesDescription="arterial")
    write_series(tmp_path / "b", EVEN[:4] + EVEN[6:], series="1.2.2", SeriesDescription="portal")
    text = refusal(tmp_path)
    assert "which one is meant" in text and "not usable: 2 slices are missing" in text
    assert "missing between" in refusal(tmp_path, series="portal")


def test_what_is_no_slice_is_set_aside(tmp_path: Path) -> None:
    write_series(tmp_path, EVEN)
    (tmp_path / "notes.txt").write_text("hello")
    write_slice(
        tmp_path / "scout.dcm", (0, 0, 0), instance=1, series="1.9", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]
    )
    write_slice(tmp_path / "photo.dcm", (0, 0, 0), instance=1, series="1.8", ImagePositionPatient=None)
    write_slice(tmp_path / "frames.dcm", (0, 0, 0), instance=1, series="1.7", NumberOfFrames=2)
    assert read_series(tmp_path).geometry.size[2] == 10
    assert codes(tmp_path) == {"not_dicom", "localizer", "no_position", "multiframe"}
    with pytest.raises(ImageError, match="localizer"):
        read_volume(tmp_path / "scout.dcm")


def test_warnings(tmp_path: Path) -> None:
    write_series(tmp_path, EVEN, slope=None, ImagesInAcquisition=12)
    assert codes(tmp_path) == {"no_rescale", "fewer_than_announced"}
    assert read_series(tmp_path).array[0, 0, 0] == 1001


def test_empty_and_short_folders(tmp_path: Path) -> None:
    assert "no DICOM series" in refusal(tmp_path)
    write_series(tmp_path, [0.0, 5.0])
    assert "only 2 slices" in refusal(tmp_path)
    with pytest.raises(ImageError, match="does not exist"):
        scan_folder(tmp_path / "absent")


def test_a_truncated_slice_is_refused(tmp_path: Path) -> None:
    files = write_series(tmp_path, EVEN)
    files[4].write_bytes(files[4].read_bytes()[:-40])
    assert "cannot be decoded" in refusal(tmp_path)


def test_real_series_has_the_stored_values_times_slope_plus_intercept(data_dir) -> None:
    folder = data_dir("dicom/ct_20slices")
    volume = read_volume(folder)
    headers = [pydicom.dcmread(file) for file in folder.iterdir()]
    headers.sort(key=lambda h: float(h.ImagePositionPatient[2]))
    assert volume.geometry.size == (512, 512, 20)
    assert volume.geometry.spacing == pytest.approx((0.9765625, 0.9765625, 2.0))
    assert volume.geometry.origin == pytest.approx([float(v) for v in headers[0].ImagePositionPatient])
    for k in (0, 7, 19):
        expected = headers[k].pixel_array * float(headers[k].RescaleSlope) + float(headers[k].RescaleIntercept)
        np.testing.assert_array_equal(volume.array[k], expected)


@pytest.mark.parametrize("bits", [12, 16])
@pytest.mark.parametrize("signed", [0, 1])
@pytest.mark.parametrize(("slope", "intercept"), [(1.0, -1024.0), (1.0, 0.0), (2.0, -1024.0), (0.5, 0.25)])
@pytest.mark.parametrize("overlay", [False, True])
def test_pixels_are_those_that_itk_reads(tmp_path, bits, signed, slope, intercept, overlay):
    """Plain slices are read without ITK; whatever is unusual (bits above those that are stored) is left to it."""
    import SimpleITK as sitk

    rng = np.random.default_rng(5)
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1)) if signed else (0, 2**bits)
    values = rng.integers(low, high, (6, 8)).astype(np.int32) & 0xFFFF
    if overlay and bits == 12:
        values[2, 3] |= 0x1000 if not signed else 0x7000
    more = {"BitsStored": bits, "HighBit": bits - 1, "PixelRepresentation": signed}
    path = write_slice(
        tmp_path / "s.dcm", (0, 0, 0), instance=1, pixels=values, slope=slope, intercept=intercept, **more
    )
    expected = sitk.GetArrayFromImage(sitk.ReadImage(str(path), imageIO="GDCMImageIO"))[0]
    assert np.array_equal(read_pixels(path), expected)
