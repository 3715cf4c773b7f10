"""Which DICOM slices are one volume, what is told about them, and what damaged files give."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from hepacast.errors import HepacastError, ImageError
from hepacast.imaging import read_mask, read_volume
from hepacast.imaging.dicom import read_series, scan_folder, series_files, series_notes
from hepacast.imaging.dicom_seg_write import write_dicom_seg

sys.path.insert(0, str(Path(__file__).parent))
from dicom_files import write_series, write_slice
from rtstruct_files import rectangle, write_rtstruct

EVEN = [float(z) for z in range(0, 50, 5)]


def refusal(folder: Path, **kwargs: object) -> str:
    with pytest.raises(ImageError) as caught:
        read_volume(folder, **kwargs)
    text = str(caught.value)
    assert not any(word in text for word in ("Secret", "SECRET", "1901"))
    return text


@pytest.mark.parametrize(
    ("name", "value", "word"),
    [
        ("PatientID", "another", "2 patients"),
        ("FrameOfReferenceUID", "1.2.77", "2 frames of reference"),
        ("SeriesNumber", 9, "2 series numbers"),
        ("StudyInstanceUID", "1.2.88", "2 studies"),
        ("Modality", "MR", "2 modalities"),
        ("PatientName", "Other^Person", "2 patients"),
        ("PatientBirthDate", "19990909", "2 patients"),
        ("PatientID", None, "2 patients"),
        ("SeriesDescription", "arterial", "2 series descriptions"),
    ],
)
def test_slices_of_two_sources_are_no_volume(tmp_path: Path, name: str, value: object, word: str) -> None:
    write_series(tmp_path / "a", EVEN)
    write_series(tmp_path / "b", [z + 2.5 for z in EVEN], **{name: value})
    assert word in refusal(tmp_path)
    assert name in refusal(tmp_path, series=3)


def test_one_foreign_slice_is_enough(tmp_path: Path) -> None:
    write_series(tmp_path, EVEN[:-1])
    write_slice(tmp_path / "last.dcm", (-50.0, -60.0, EVEN[-1]), instance=10, PatientID="another")
    assert "2 patients" in refusal(tmp_path)


def test_without_series_uids_the_rest_of_the_header_tells(tmp_path: Path) -> None:
    write_series(tmp_path / "a", EVEN, series="", SeriesNumber=2, pixels=np.full((6, 8), 50))
    assert read_volume(tmp_path).geometry.size[2] == 10
    write_series(tmp_path / "b", [z + 2.5 for z in EVEN], series="", SeriesNumber=5, PatientID="another")
    assert "2 series or phases" in refusal(tmp_path)
    chosen = read_volume(tmp_path, series=2)
    assert chosen.array[0, 0, 0] == 50 - 1024
    assert any("several patients" in note for note in chosen.notes)


def test_a_uid_for_every_slice_is_one_series_where_geometry_says_so(tmp_path: Path) -> None:
    for n, z in enumerate(EVEN):
        uids = {"series": f"1.2.9.{n}", "FrameOfReferenceUID": f"1.3.{n}", "StudyInstanceUID": f"1.4.{n}"}
        write_slice(tmp_path / f"{n}.dcm", (0.0, 0.0, z), instance=n + 1, **uids)
    volume = read_volume(tmp_path)
    assert volume.geometry.size == (8, 6, 10) and volume.frame == ""
    assert any("SeriesInstanceUID of its own" in note for note in volume.notes)
    assert any("FrameOfReferenceUID of its own" in note for note in volume.notes)
    # With a gap they are ten images and no series.
    (tmp_path / "4.dcm").unlink()
    assert "only 1 slices" in refusal(tmp_path)


@pytest.mark.parametrize("backwards", [False, True])
def test_a_time_in_every_slice_makes_two_phases(tmp_path: Path, backwards: bool) -> None:
    heights = {0: EVEN, 1: EVEN[::-1] if backwards else EVEN}
    for phase, name in enumerate(("late.dcm", "early.dcm")):
        for n, z in enumerate(heights[phase]):
            made = 10 * phase + n
            values = np.full((6, 8), 100 * (phase + 1))
            time = {"AcquisitionNumber": 1, "AcquisitionTime": f"1200{made:02d}.50", "ContentTime": "130000"}
            write_slice(tmp_path / f"{n}-{name}", (0.0, 0.0, z), instance=made + 1, pixels=values, **time)
    text = refusal(tmp_path)
    assert "2 series or phases" in text
    assert text.count("10 slices of") == 2 and "AcquisitionTime 120000.50 to 120009.50" in text
    for phase in (1, 2):
        assert np.all(read_volume(tmp_path, series=f"portal#{phase}").array == 100 * phase - 1024)


@pytest.mark.parametrize("name", ["TriggerTime", "AcquisitionNumber", "TemporalPositionIdentifier", "InstanceNumber"])
def test_a_number_in_every_slice_makes_two_phases(tmp_path: Path, name: str) -> None:
    for made in range(20):
        values = np.full((6, 8), 100 + 100 * (made // 10))
        more = {name: made + 1}
        write_slice(tmp_path / f"{made}.dcm", (0, 0, EVEN[made % 10]), instance=1, pixels=values, **more)
    assert refusal(tmp_path).count("10 slices of") == 2
    assert np.all(read_volume(tmp_path, series="portal#2").array == 200 - 1024)


def test_a_uid_in_every_slice_of_two_phases(tmp_path: Path) -> None:
    for made in range(20):
        more = {"series": f"1.9.{made}", "SeriesNumber": 3 + made // 10, "SeriesDescription": f"phase {made // 10}"}
        values = np.full((6, 8), 100 + 100 * (made // 10))
        write_slice(tmp_path / f"{made}.dcm", (0, 0, EVEN[made % 10]), instance=made, pixels=values, **more)
    assert refusal(tmp_path).count("10 slices of") == 2
    assert np.all(read_volume(tmp_path, series="phase 1").array == 200 - 1024)


def test_a_folder_of_several_mask_files_is_refused_with_their_names(tmp_path: Path) -> None:
    write_series(tmp_path / "ct", EVEN)
    image = read_volume(tmp_path / "ct")
    for name in ("first", "second"):
        write_dicom_seg(
            {"liver": image.with_array(image.array > -20)}, tmp_path / "ct", tmp_path / "ct" / f"{name}.dcm"
        )
    with pytest.raises(ImageError, match=r"SEG first\.dcm; SEG second\.dcm"):
        read_mask(tmp_path / "ct", reference=image)
    (tmp_path / "ct" / "second.dcm").unlink()
    assert read_mask(tmp_path / "ct", reference=image)["liver"].array.any()
    assert any("no image (SEG)" in note for note in read_volume(tmp_path / "ct").notes)


def test_a_time_for_every_few_slices_makes_two_phases(tmp_path: Path) -> None:
    """A wide detector: two slices a rotation share a time, which repeats no position either."""
    for made in range(20):
        time = {"AcquisitionTime": f"12{made // 2:02d}00"}
        values = np.full((6, 8), 100 + 100 * (made // 10))
        write_slice(tmp_path / f"{made}.dcm", (0, 0, EVEN[made % 10]), instance=made + 1, pixels=values, **time)
    assert refusal(tmp_path).count("10 slices of") == 2


def test_acquisitions_between_each_other_are_two_volumes(tmp_path: Path) -> None:
    write_series(tmp_path / "a", EVEN, AcquisitionNumber=1)
    write_series(tmp_path / "b", [z + 2.5 for z in EVEN], AcquisitionNumber=2)
    assert "AcquisitionNumber 1" in refusal(tmp_path)
    # Blocks that follow each other are one.
    write_series(tmp_path / "c" / "1", EVEN[:5], series="1.5", AcquisitionNumber=1)
    write_series(tmp_path / "c" / "2", EVEN[5:], series="1.5", AcquisitionNumber=2)
    assert read_volume(tmp_path / "c").geometry.size[2] == 10


def test_notes_tell_what_is_not_refused(tmp_path: Path) -> None:
    write_series(tmp_path, EVEN, slope=None, ImagesInAcquisition=14)
    (tmp_path / "notes.txt").write_text("no image")
    words = ("no rescale slope", "announced 14", "not DICOM files")
    for notes in (read_volume(tmp_path).notes, series_notes(tmp_path)):
        assert all(any(word in note for note in notes) for word in words)
    write_slice(tmp_path / "z.dcm", (-50.0, -60.0, 50.0), instance=11)
    assert "10 of 11 slices have no rescale" in refusal(tmp_path)
    plain = write_series(tmp_path / "plain", EVEN)
    assert read_volume(tmp_path / "plain").notes == ()
    scaled = pydicom.dcmread(plain[2])
    scaled.RescaleIntercept = 0
    scaled.save_as(plain[2])
    assert "2 different rescale" in read_volume(tmp_path / "plain").notes[0]


def test_the_modality_must_be_the_one_that_is_meant(tmp_path: Path) -> None:
    write_series(tmp_path / "mr", EVEN, Modality="MR")
    write_series(tmp_path / "ot", EVEN, Modality="OT")
    assert read_volume(tmp_path / "mr", modality="MR").modality == "MR"
    assert "another modality: MR" in refusal(tmp_path / "mr", modality="CT")
    assert read_volume(tmp_path / "ot", modality="CT").array.size  # a converter's word that says nothing


@pytest.mark.parametrize(
    ("stored", "header", "air"),
    [
        (63536, {"PixelPaddingValue": 63536}, -1000),
        (5, {"PixelPaddingValue": 0, "PixelPaddingRangeLimit": 10, "intercept": -3000.0}, -1000),
        (60000, {"PixelPaddingValue": 60000}, -1000),
        (24, {"PixelPaddingValue": 24}, 24 - 1024),  # reads as air already
        (0, {"PixelPaddingValue": 0, "Modality": "MR", "slope": None}, 0),
        (65535, {"PixelPaddingValue": 65535, "Modality": "MR", "slope": None}, 0),
    ],
)
def test_padding_is_read_as_air(tmp_path: Path, stored: int, header: dict, air: int) -> None:
    pixels = np.full((6, 8), 1100)
    pixels[:, :2] = stored
    write_series(tmp_path, EVEN, pixels=pixels, **header)
    array = read_volume(tmp_path).array
    assert (array[:, :, :2] == air).all()
    assert len(np.unique(array)) == 2 and (array[:, :, 2:] == array[0, 0, 5]).all()


def test_padding_in_the_sign_of_the_pixels(tmp_path: Path) -> None:
    """Signed pixels of -2000 whose padding is written as the unsigned 63536."""
    pixels = np.full((6, 8), 40, np.int16)
    pixels[0] = -2000
    for file in write_series(tmp_path, EVEN, pixels=pixels.view(np.uint16), intercept=0.0):
        data = pydicom.dcmread(file)
        data.PixelRepresentation = 1
        data[0x00280120] = RawDataElement(Tag(0x00280120), "US", 2, b"\x30\xf8", 0, False, True)
        data.save_as(file)
    volume = read_volume(tmp_path)
    assert (volume.array[:, 0] == -1000).all() and (volume.array[:, 1:] == 40).all()
    assert volume.notes == ("pixel padding outside the field of view is read as air, -1000 HU",)


def test_a_padding_value_that_tissue_has_is_padding_at_the_edge_only(tmp_path: Path) -> None:
    pixels = np.full((6, 8), 1074)
    pixels[:, 0] = pixels[3, 4] = 1024  # 0 HU: the border, and a cyst
    write_series(tmp_path, EVEN, pixels=pixels, PixelPaddingValue=1024)
    array = read_volume(tmp_path).array
    assert (array[:, :, 0] == -1000).all() and (array[:, 3, 4] == 0).all()
    # A range from below air into tissue would make the whole body padding: only its value counts.
    write_series(tmp_path / "range", EVEN, pixels=pixels, PixelPaddingValue=0, PixelPaddingRangeLimit=1100)
    assert (read_volume(tmp_path / "range").array[:, 1, 4] == 50).all()


@pytest.mark.parametrize(
    ("tag", "vr", "value", "word"),
    [
        (0x00280030, "DS", b"0,7\\0,7 ", "PixelSpacing"),
        (0x00280030, "DS", b"0\\0.7 ", "PixelSpacing"),
        (0x00280030, "DS", b"nan\\nan ", "PixelSpacing"),
        (0x00280030, "DS", b"0.7 ", "PixelSpacing"),
        (0x00200032, "DS", b"0\\0\\z ", "ImagePositionPatient"),
        (0x00200032, "DS", b"0\\0", "ImagePositionPatient"),
        (0x00200037, "DS", b"0\\0\\0\\0\\0\\0 ", "ImageOrientationPatient"),
        (0x00200037, "DS", b"1\\0\\0\\1\\0\\0 ", "ImageOrientationPatient"),
        (0x00281053, "DS", b"zero", "RescaleSlope"),
        (0x00281053, "DS", b"0 ", "RescaleSlope"),
        (0x00280010, "US", b"\x00\x00", "Rows"),
        (0x00280010, "US", b"\x01\x00\x00", "Rows"),
    ],
)
@pytest.mark.parametrize("every", [True, False])
def test_values_that_are_no_numbers_are_refused_by_name(
    tmp_path: Path, tag: int, vr: str, value: bytes, word: str, every: bool
) -> None:
    files = write_series(tmp_path, EVEN)
    for file in files if every else files[-1:]:
        data = pydicom.dcmread(file)
        data[tag] = RawDataElement(Tag(tag), vr, len(value), value, 0, False, True)
        data.save_as(file)
    assert word in refusal(tmp_path)
    assert word in refusal(files[-1])


def test_files_without_preamble_endings_in_capitals_and_a_dicomdir(tmp_path: Path) -> None:
    files = write_series(tmp_path / "disc" / "SUB", EVEN)
    expected = read_volume(tmp_path / "disc").array
    for file in files:
        (tmp_path / "disc" / "SUB" / file.with_suffix("").name).write_bytes(file.read_bytes()[132:])
        file.unlink()
    np.testing.assert_array_equal(read_volume(tmp_path / "disc").array, expected)
    assert read_volume(tmp_path / "disc" / "SUB" / "000").geometry.size[2] == 10
    directory = tmp_path / "disc" / "DICOMDIR"
    directory.write_bytes(b"\0" * 128 + b"DICM")
    volume = read_volume(directory)
    np.testing.assert_array_equal(volume.array, expected)
    assert volume.notes == ()
    for number, file in enumerate(write_series(tmp_path / "upper", EVEN)):
        file.rename(tmp_path / "upper" / f"{number}.{'DCM' if number % 2 else 'IMA'}")
    assert read_volume(tmp_path / "upper").geometry.size[2] == 10
    assert read_volume(tmp_path / "upper" / "0.IMA").geometry.size[2] == 10


def test_short_series_are_left_out_and_told_unless_they_are_torn_off(tmp_path: Path) -> None:
    write_series(tmp_path, EVEN)
    write_series(tmp_path / "dose", EVEN[:1], series="1.7", SeriesNumber=99, SeriesDescription="bolus")
    (note,) = read_volume(tmp_path).notes
    assert note.startswith("not read, as too short") and '"bolus"' in note
    write_slice(tmp_path / "torn.dcm", (-50.0, -60.0, 50.0), instance=11, series="1.2.3.5")
    assert "which one is meant" in refusal(tmp_path)


@pytest.mark.parametrize("kind", ["ct", "seg", "rtstruct"])
def test_damaged_bytes_are_refused_or_read_and_never_quoted(tmp_path: Path, kind: str) -> None:
    """Flipped bits, lost ends, holes: no traceback, no text of the patient; and no slice is lost without a word."""
    generator, values = random.Random(5), np.random.default_rng(5).integers(900, 1100, (6, 6, 8))
    ct, target = tmp_path / "ct", tmp_path / "x.dcm"
    for n in range(6):
        write_slice(ct / f"{n}.dcm", (-50.0, -60.0, 5.0 * n), instance=n + 1, pixels=values[n])
    image = read_volume(ct)
    if kind == "ct":
        target = ct / "5.dcm"
    elif kind == "seg":
        write_dicom_seg({"liver": image.with_array(image.array > -20)}, ct, target)
    else:
        write_rtstruct(target, {"liver": [rectangle((-48, -46), (-59, -57), 5.0 * n) for n in range(1, 5)]})
    whole = target.read_bytes()
    for _ in range(150):
        data = bytearray(whole)
        place = generator.randrange(len(data))
        match generator.randrange(4):
            case 0:
                del data[place:]
            case 1:
                data[place : place + 20] = bytes(len(data[place : place + 20]))
            case _:
                for place in generator.sample(range(len(data)), generator.choice([1, 1, 5])):
                    data[place] ^= 1 << generator.randrange(8)
        target.write_bytes(data)
        try:
            if kind == "ct":
                found = read_volume(ct)
                assert found.geometry.size[2] == 6 or found.notes
            else:
                read_mask(target, reference=image)
        except HepacastError as error:
            assert not any(word in str(error) for word in ("Secret", "SECRET", "1901"))


def test_the_real_series_has_no_remarks(data_dir) -> None:
    folder = data_dir("dicom/ct_20slices")
    volume = read_volume(folder, modality="CT")
    assert volume.notes == () and volume.modality == "CT" and volume.frame
    assert [series.usable for series in scan_folder(folder).series] == [True]
    assert read_series(folder, series=scan_folder(folder).series[0].uid).geometry == volume.geometry


def test_a_series_is_named_by_words_and_a_file_must_be_of_it(tmp_path: Path) -> None:
    early = write_series(tmp_path, EVEN, series="1.1", SeriesNumber=2, SeriesDescription="LIVER early arterial 2mm")
    late = write_series(tmp_path / "x", EVEN[:8], series="1.2", SeriesNumber=3, SeriesDescription="LIVER portal 2mm")
    for words in ("liver portal", "portal 2MM", "portal liver", 3, " 3 "):
        assert read_volume(tmp_path, series=words).geometry.size[2] == 8
    assert "More than one" in refusal(tmp_path, series="liver")
    assert read_volume(late[0], series="portal").geometry.size[2] == 8
    assert "No series" in refusal(early[0], series="portal")


def test_values_are_those_of_the_file_however_it_is_shown_or_packed(tmp_path: Path) -> None:
    pixels = np.arange(48).reshape(6, 8) + 1000
    write_series(tmp_path / "inverse", EVEN, pixels=pixels, PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(read_volume(tmp_path / "inverse").array[3], pixels - 1024)
    for file in write_series(tmp_path / "rle", EVEN, pixels=pixels):
        data = pydicom.dcmread(file)
        data.compress("1.2.840.10008.1.2.5")
        data.save_as(file)
    np.testing.assert_array_equal(read_volume(tmp_path / "rle").array[3], pixels - 1024)
    write_series(tmp_path / "short", EVEN, pixels=pixels, BitsAllocated=8)
    assert "96 bytes of pixels where the header states 48" in refusal(tmp_path / "short")
    write_series(tmp_path / "large", EVEN, Rows=60000, Columns=60000)
    assert "Rows" in refusal(tmp_path / "large")


def test_a_number_is_that_of_a_series_and_no_digit_of_a_description(tmp_path: Path) -> None:
    write_series(tmp_path / "a", EVEN, series="1.2.1", SeriesNumber=4, SeriesDescription="B20f 2.0 arterial")
    write_series(tmp_path / "b", EVEN, series="1.2.2", SeriesNumber=31, SeriesDescription="portal")
    for absent in ("2", 2, "1", "20"):
        assert "No series in the folder matches" in refusal(tmp_path, series=absent)
    assert series_files(tmp_path, series="4")[0].parent.name == "a"
    assert "No series in the folder matches" in refusal(tmp_path, series="4#x")
    assert series_files(tmp_path, series="2.0 art")[0].parent.name == "a"


def test_a_phase_is_named_as_the_list_shows_it(tmp_path: Path) -> None:
    for number in (1, 2):
        write_series(tmp_path / str(number), EVEN, AcquisitionNumber=number, pixels=np.full((6, 8), 50 * number))
    assert read_series(tmp_path, series="acquisitionnumber 2").array[0, 0, 0] == 100 - 1024


@pytest.mark.parametrize(
    ("header", "word"),
    [
        ({"SpacingBetweenSlices": 2.5}, "the header states 2.5 mm"),
        ({"SliceThickness": 2.0}, "2 mm thick"),
        ({"SliceThickness": 5.0, "SpacingBetweenSlices": 5.0}, ""),
        ({"SliceThickness": 8.0}, ""),
        ({"SliceThickness": None}, ""),
    ],
)
def test_slices_left_out_evenly_are_told(tmp_path: Path, header: dict, word: str) -> None:
    write_series(tmp_path, [5.0 * k for k in range(8)], **header)
    notes = " ".join(read_series(tmp_path).notes)
    assert (word in notes) if word else not notes


def test_every_second_instance_is_told(tmp_path: Path) -> None:
    for n in range(6):
        write_slice(tmp_path / f"{n}.dcm", (0.0, 0.0, 5.0 * n), instance=2 * n + 1)
    assert "steps of 2" in " ".join(read_series(tmp_path).notes)


def test_the_way_out_for_a_modality_that_no_study_has(tmp_path: Path) -> None:
    write_series(tmp_path, EVEN, Modality="PT")
    with pytest.raises(ImageError) as caught:
        read_volume(tmp_path, modality="CT")
    assert "PT" in str(caught.value) and "study file" not in str(caught.value)


def moved(n: int) -> tuple[float, float, float]:
    return (-50.0 + (3.0 if n == 5 else 0.0), -60.0, EVEN[n])


@pytest.mark.parametrize(
    ("of_slice", "words"),
    [
        (lambda n: {"Modality": "MR", "slope": None if n < 3 else 2.5, "intercept": 0}, ["3 of 10 slices", "rescale"]),
        (lambda n: {"position": moved(n)}, ["sideways", "3.00 mm between 20.00 and 25.00 mm"]),
        (lambda n: {"BitsStored": 12, "HighBit": 15}, ["high bit 15 where 12 bits", "000.dcm"]),
        (lambda n: {"ConvolutionKernel": "B20f" if n % 2 else "B60f"}, ["ConvolutionKernel B60f, 5 slices"]),
        (lambda n: {"Modality": "MR", "EchoTime": 1.2 + n % 2}, ["EchoTime 2.2, 5 slices"]),
    ],
)
def test_values_that_would_be_wrong_are_refused(tmp_path: Path, of_slice, words: list[str]) -> None:
    for n, z in enumerate(EVEN):
        write_slice(tmp_path / f"{n:03d}.dcm", instance=n + 1, **{"position": (-50.0, -60.0, z), **of_slice(n)})
    said = refusal(tmp_path)
    assert [word for word in words if word not in said] == [], said


@pytest.mark.parametrize(
    ("of_slice", "word"),
    [
        (lambda n: {"RescaleType": "Z_EFF"}, "Z_EFF (Rescale Type) and not HU"),
        (lambda n: {"LossyImageCompression": "01"}, "10 of 10 slices were compressed with loss"),
        (lambda n: {"ContrastBolusAgent": "" if n < 5 else "Iohexol"}, "ContrastBolusAgent: (none), Iohexol"),
        (lambda n: {"KVP": 80 if n < 5 else 140}, "KVP: 140.0, 80.0"),
    ],
)
def test_values_that_may_be_others_are_told(tmp_path: Path, of_slice, word: str) -> None:
    for n, z in enumerate(EVEN):
        write_slice(tmp_path / f"{n:03d}.dcm", (-50.0, -60.0, z), instance=n + 1, **of_slice(n))
    assert word in " ".join(read_volume(tmp_path).notes)


def test_two_passes_between_each_other_are_two_volumes(tmp_path: Path) -> None:
    write_series(tmp_path / "first", EVEN)
    for n, z in enumerate(EVEN):
        write_slice(tmp_path / f"{n}.dcm", (-50.0, -60.0, z + 2.5), instance=11 + n)
    assert "InstanceNumber 11 to 20, 10 slices" in refusal(tmp_path)
    assert read_volume(tmp_path, series="InstanceNumber 11 to 20").array[:, 0, 0].tolist() == list(range(-13, -3))


def test_a_second_pass_on_the_way_back_is_no_part_of_the_first(tmp_path: Path) -> None:
    write_series(tmp_path / "first", EVEN)
    for n, z in enumerate(reversed(EVEN)):
        write_slice(tmp_path / f"{n}.dcm", (-50.0, -60.0, z + 2.5), instance=11 + n)
    assert "2 series or phases" in refusal(tmp_path)
    # Instance numbers of an anonymizer are in no order.
    for n, z in enumerate((30.0, 0.0, 25.0, 5.0, 20.0, 10.0, 15.0, 35.0)):
        write_slice(tmp_path / "shuffled" / f"{n}.dcm", (-50.0, -60.0, z), instance=n + 1)
    assert read_volume(tmp_path / "shuffled").array.shape[0] == 8


def test_two_versions_of_one_instance_are_no_duplicate(tmp_path: Path) -> None:
    paths = write_series(tmp_path, EVEN)
    other = pydicom.dcmread(paths[4])
    other.PixelData = np.zeros((6, 8), np.uint16).tobytes()
    other.save_as(tmp_path / "copy.dcm")
    assert "several images lie at one position" in refusal(tmp_path)
    other.PixelData = pydicom.dcmread(paths[4]).PixelData
    other.save_as(tmp_path / "copy.dcm")
    assert "occur twice" in read_volume(tmp_path).notes[0]


def test_a_table_of_values_is_refused(tmp_path: Path) -> None:
    table = pydicom.Dataset()
    table.LUTDescriptor, table.ModalityLUTType = [4096, 0, 16], "US"
    table["LUTDescriptor"].VR = "US"
    table.add_new("LUTData", "OW", bytes(8192))
    write_series(tmp_path, EVEN, slope=None, ModalityLUTSequence=[table])
    assert "Modality LUT" in refusal(tmp_path)
