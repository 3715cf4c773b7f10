"""DICOM SEG against the label maps that were published beside it, and our own SEG read by another reader."""

from __future__ import annotations

import copy
import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

from hepacast.errors import GeometryError, ImageError
from hepacast.imaging import Volume, read_labelmap, read_mask, read_volume
from hepacast.imaging.dicom import read_series
from hepacast.imaging.dicom_seg import is_dicom_seg, read_dicom_seg, segment_names
from hepacast.imaging.dicom_seg_write import write_dicom_seg
from hepacast.imaging.io import read_mask_set

_spec = importlib.util.spec_from_file_location("dicom_files_seg", Path(__file__).with_name("dicom_files.py"))
dicom_files = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(dicom_files)


def test_liver_seg_equals_the_published_nrrd(data_dir) -> None:
    folder = data_dir("dicom/ct_3slices_with_seg")
    image = read_volume(folder / "ct-3slice")
    published = read_mask(folder / "liver_seg.nrrd", reference=image)["mask"]
    for reference in (None, image):
        liver = read_dicom_seg(folder / "liver.dcm", reference)["Liver"]
        np.testing.assert_array_equal(liver.array, published.array)
        published.geometry.require_same(liver.geometry)


def test_overlapping_sparse_segments_equal_the_published_nrrds(data_dir) -> None:
    folder = data_dir("dicom/ct_3slices_with_seg")
    image = read_volume(folder / "ct-3slice")
    masks = read_dicom_seg(folder / "partial_overlaps.dcm", image)
    names = segment_names(folder / "partial_overlaps.dcm")
    seen = set()
    for file in ("partial_overlaps-1.nrrd", "partial_overlaps-2.nrrd", "partial_overlaps-3.nrrd"):
        labelmap = read_labelmap(folder / file, reference=image)
        for value in labelmap.labels.values():
            published = labelmap.volume.array == value
            np.testing.assert_array_equal(masks[names[value]].array, published, err_msg=f"segment {value}")
            seen.add(value)
    assert seen == set(names) == {1, 2, 3, 4, 5}


def test_a_seg_is_a_mask_file(data_dir) -> None:
    folder = data_dir("dicom/ct_3slices_with_seg")
    image = read_volume(folder / "ct-3slice")
    assert is_dicom_seg(folder / "liver.dcm") and not is_dicom_seg(folder / "ct-3slice" / "01.dcm")
    masks = read_mask(folder / "liver.dcm", {"liver": 1}, reference=image)
    assert list(masks) == ["liver"] and masks["liver"].array.sum() == 107098
    with pytest.raises(ImageError, match="no segment tumor: 2"):
        read_mask(folder / "liver.dcm", {"tumor": 2}, reference=image)


def test_a_seg_of_another_place_is_refused(data_dir) -> None:
    folder = data_dir("dicom/ct_3slices_with_seg")
    image = read_volume(folder / "ct-3slice")
    origin = image.geometry.origin
    moved = Volume(image.array, replace(image.geometry, origin=(origin[0], origin[1], origin[2] + 0.4)))
    with pytest.raises(GeometryError, match=r"0\.40 mm away"):
        read_dicom_seg(folder / "liver.dcm", moved)
    far = Volume(image.array, replace(image.geometry, origin=(origin[0], origin[1], origin[2] + 30.0)))
    with pytest.raises(GeometryError, match=r"30\.00 mm away"):
        read_dicom_seg(folder / "liver.dcm", far)
    with pytest.raises(ImageError, match="not a DICOM segmentation"):
        read_dicom_seg(folder / "ct-3slice" / "01.dcm")


def test_flipped_grids_get_the_same_voxels(data_dir) -> None:
    folder = data_dir("dicom/ct_3slices_with_seg")
    image = read_volume(folder / "ct-3slice")
    geometry = image.geometry
    ends = (geometry.affine_lps @ [geometry.size[0] - 1, geometry.size[1] - 1, 0, 1])[:3]
    flipped = replace(geometry, origin=tuple(ends), direction=((-1.0, 0, 0), (0, -1.0, 0), (0, 0, 1.0)))
    turned = read_dicom_seg(folder / "liver.dcm", Volume(image.array, flipped))["Liver"]
    plain = read_dicom_seg(folder / "liver.dcm", image)["Liver"]
    np.testing.assert_array_equal(turned.array[:, ::-1, ::-1], plain.array)


def test_written_segs_come_back(data_dir, tmp_path: Path) -> None:
    folder = data_dir("dicom/ct_3slices_with_seg/ct-3slice")
    image = read_volume(folder)
    liver = image.with_array(image.array > 60)
    tumor = np.zeros(image.geometry.shape, bool)
    tumor[1, 200:240, 150:220] = True
    masks = {"liver": liver, "tumor": image.with_array(tumor), "my own": image.with_array(tumor & liver.array)}
    write_dicom_seg(masks, folder, tmp_path / "seg.dcm", version="0.1")
    back = read_dicom_seg(tmp_path / "seg.dcm", image)
    assert list(back) == list(masks)
    for key, mask in masks.items():
        np.testing.assert_array_equal(back[key].array, mask.array)
    header = pydicom.dcmread(tmp_path / "seg.dcm")
    assert header.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Liver"
    referenced = {
        str(i.ReferencedSOPInstanceUID) for i in header.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    }
    assert len(referenced) == image.geometry.size[2]


def test_a_series_without_identifiers_gets_no_seg(data_dir, tmp_path: Path) -> None:
    folder = data_dir("dicom/ct_20slices")
    image = read_volume(folder)
    with pytest.raises(ImageError, match=r"no StudyInstanceUID, SeriesInstanceUID"):
        write_dicom_seg({"liver": image.with_array(image.array > 60)}, folder, tmp_path / "seg.dcm")
    assert not (tmp_path / "seg.dcm").exists()


def test_slices_of_several_series_get_no_seg(tmp_path: Path) -> None:
    series = tmp_path / "series"
    for n in range(4):
        dicom_files.write_slice(series / f"{n}.dcm", (0, 0, 5.0 * n), instance=n + 1, series=f"1.2.3.{n}")
    image = read_series(series)
    with pytest.raises(ImageError, match="SeriesInstanceUID of its own in every slice"):
        write_dicom_seg({"tumor": image.with_array(image.array > -100)}, series, tmp_path / "s.dcm")


def test_the_same_masks_are_the_same_instance(tmp_path: Path) -> None:
    series = tmp_path / "series"
    dicom_files.write_series(series, [0.0, 5.0, 10.0])
    image = read_series(series)
    array = image.array > -100
    for name in ("a", "b"):
        write_dicom_seg({"tumor": image.with_array(array)}, series, tmp_path / f"{name}.dcm")
    assert (tmp_path / "a.dcm").read_bytes() == (tmp_path / "b.dcm").read_bytes()
    changed = array.copy()
    changed[0, 0, 0] = not changed[0, 0, 0]
    write_dicom_seg({"tumor": image.with_array(changed)}, series, tmp_path / "c.dcm")
    first, other = (pydicom.dcmread(tmp_path / f"{name}.dcm") for name in "ac")
    assert first.SOPInstanceUID != other.SOPInstanceUID and first.SeriesInstanceUID != other.SeriesInstanceUID


def test_an_mr_series_gets_its_results(tmp_path: Path) -> None:
    from PIL import Image
    from pydicom.uid import MRImageStorage

    from hepacast.imaging.dicom_documents import make_capture, make_pdf
    from hepacast.imaging.dicom_seg_write import make_segmentation
    from hepacast.imaging.dicom_source import Origin, read_source

    series = tmp_path / "series"
    more = {"SOPClassUID": MRImageStorage, "Modality": "MR", "slope": None, "SpecificCharacterSet": "GB18030"}
    dicom_files.write_series(series, [0.0, 5.0, 10.0], PatientName="Zhang^X=张^小东", **more)
    image, source, origin = read_series(series), read_source(series), Origin("key")
    (tmp_path / "page.pdf").write_bytes(b"%PDF-1.4\n")
    Image.new("RGB", (20, 10), "gray").save(tmp_path / "picture.png")
    made = [
        make_segmentation({"liver": image.with_array(image.array > 1001)}, source, origin),
        make_pdf(tmp_path / "page.pdf", source, origin, title="Risk", number=2),
        make_capture(tmp_path / "picture.png", source, origin, number=3),
    ]
    for item in made:
        item.save_as(tmp_path / "a.dcm", enforce_file_format=True)
        back = pydicom.dcmread(tmp_path / "a.dcm")
        assert str(back.PatientName) == "Zhang^X=张^小东" and back.StudyInstanceUID == "1.2.3"
    assert made[0].ReferencedSeriesSequence[0].ReferencedInstanceSequence[0].ReferencedSOPClassUID == MRImageStorage
    assert made[1].EncapsulatedDocument[: made[1].EncapsulatedDocumentLength] == b"%PDF-1.4\n"


#: Bytes of a name as scanners write it, with its declared character set (PS3.5, annexes H to K), and the name.
NAMES = {
    "escapes of GB 2312": ("\\ISO 2022 IR 58", b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab"),
    "GB 2312 without escapes": ("\\ISO 2022 IR 58", b"Zhang^XiaoDong=\xd5\xc5^\xd0\xa1\xb6\xab"),
    "GB 18030": ("GB18030", b"Zhang^XiaoDong=\xd5\xc5^\xd0\xa1\xb6\xab"),
    "GBK": ("GBK", b"Zhang^XiaoDong=\xd5\xc5^\xd0\xa1\xb6\xab"),
    "UTF-8": ("ISO_IR 192", "Zhang^XiaoDong=张^小东".encode()),
}


@pytest.mark.parametrize("kind", NAMES)
def test_names_of_chinese_scanners_come_through(tmp_path: Path, kind: str) -> None:
    charset, raw = NAMES[kind]
    series, mark = tmp_path / "series", b"N" * len(raw)
    for file in dicom_files.write_series(series, [0.0, 5.0, 10.0], PatientName=mark.decode(), PatientID=mark.decode()):
        content = file.read_bytes().replace(mark, raw)
        at = content.index(b"\x08\x00\x08\x00CS")
        stated = charset.encode() + b" " * (len(charset) % 2)
        element = b"\x08\x00\x05\x00CS" + len(stated).to_bytes(2, "little") + stated
        file.write_bytes(content[:at] + element + content[at:])
    image = read_series(series)
    write_dicom_seg({"tumor": image.with_array(image.array > -100)}, series, tmp_path / "seg.dcm")
    written = pydicom.dcmread(tmp_path / "seg.dcm")
    assert str(written.PatientName) == "Zhang^XiaoDong=张^小东" and written.PatientID == "Zhang^XiaoDong=张^小东"
    assert written.SpecificCharacterSet == "ISO_IR 192"


def test_highdicom_reads_our_seg(tmp_path: Path) -> None:
    import highdicom

    series = tmp_path / "series"
    dicom_files.write_series(series, [0.0, 5.0, 10.0, 15.0])
    image = read_series(series)
    array = np.zeros(image.geometry.shape, bool)
    array[2, 1:4, 2:7] = True
    write_dicom_seg({"tumor": image.with_array(array)}, series, tmp_path / "seg.dcm")
    theirs = highdicom.seg.segread(tmp_path / "seg.dcm")
    positions = [f.PlanePositionSequence[0].ImagePositionPatient[2] for f in theirs.PerFrameFunctionalGroupsSequence]
    assert [float(p) for p in positions] == [10.0]
    np.testing.assert_array_equal(theirs.pixel_array.reshape(6, 8).astype(bool), array[2])


def test_bad_masks_are_not_written(tmp_path: Path, capsys) -> None:
    series = tmp_path / "series"
    dicom_files.write_series(series, [0.0, 5.0, 10.0])
    image = read_series(series)
    with pytest.raises(ImageError, match="only empty masks"):
        write_dicom_seg({"tumor": image.with_array(image.array > 9999)}, series, tmp_path / "s.dcm")
    moved = Volume(image.array > 0, replace(image.geometry, origin=(0.0, 0.0, 3.0)))
    with pytest.raises(GeometryError):
        write_dicom_seg({"tumor": moved}, series, tmp_path / "s.dcm")
    assert not (tmp_path / "s.dcm").exists()


def test_no_patient_name_is_printed(tmp_path: Path, recwarn) -> None:
    series = tmp_path / "series"
    dicom_files.write_series(series, [0.0, 5.0, 10.0], PatientName="SINGLE")
    image = read_series(series)
    write_dicom_seg({"tumor": image.with_array(image.array > -100)}, series, tmp_path / "s.dcm")
    assert not [w for w in recwarn if "SINGLE" in str(w.message)]


def test_another_frame_of_reference_is_told(tmp_path: Path) -> None:
    series = tmp_path / "series"
    dicom_files.write_series(series, [0.0, 5.0, 10.0, 15.0])
    image = read_series(series)
    write_dicom_seg({"tumor": image.with_array(image.array > -22)}, series, tmp_path / "seg.dcm")
    assert read_mask_set(tmp_path / "seg.dcm", reference=image).notes == ()
    moved = replace(image, frame="1.2.77")
    (note,) = read_mask_set(tmp_path / "seg.dcm", reference=moved).notes
    assert "another frame of reference" in note


def test_a_position_far_away_is_no_grid(tmp_path: Path) -> None:
    series = tmp_path / "series"
    dicom_files.write_series(series, [0.0, 5.0, 10.0, 15.0])
    image = read_series(series)
    write_dicom_seg({"tumor": image.with_array(image.array > -9999)}, series, tmp_path / "seg.dcm")
    header = pydicom.dcmread(tmp_path / "seg.dcm")
    header.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0].ImagePositionPatient[2] = -9e7
    header.save_as(tmp_path / "seg.dcm")
    with pytest.raises(ImageError, match="too far apart"):
        read_dicom_seg(tmp_path / "seg.dcm")


def test_frames_of_two_pixel_sizes_are_no_grid(tmp_path: Path) -> None:
    series = tmp_path / "series"
    dicom_files.write_series(series, [0.0, 5.0, 10.0, 15.0])
    image = read_series(series)
    write_dicom_seg({"tumor": image.with_array(image.array > -9999)}, series, tmp_path / "seg.dcm")
    header = pydicom.dcmread(tmp_path / "seg.dcm")
    measures = header.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
    del header.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
    for group in header.PerFrameFunctionalGroupsSequence:
        group.PixelMeasuresSequence = copy.deepcopy(measures)
    header.save_as(tmp_path / "seg.dcm")
    assert read_dicom_seg(tmp_path / "seg.dcm", image)["tumor"].array.all()
    header.PerFrameFunctionalGroupsSequence[1].PixelMeasuresSequence[0].PixelSpacing = [0.4, 0.35]
    header.save_as(tmp_path / "seg.dcm")
    for reference in (image, None):
        with pytest.raises(ImageError, match="differ in orientation or voxel size"):
            read_dicom_seg(tmp_path / "seg.dcm", reference)


def test_the_sign_of_the_spacing_is_no_size(tmp_path: Path) -> None:
    series = tmp_path / "series"
    dicom_files.write_series(series, [0.0, 5.0, 10.0, 15.0])
    image = read_series(series)
    write_dicom_seg({"tumor": image.with_array(image.array > -9999)}, series, tmp_path / "seg.dcm")
    header = pydicom.dcmread(tmp_path / "seg.dcm")
    header.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SpacingBetweenSlices = -5
    header.save_as(tmp_path / "seg.dcm")
    assert read_dicom_seg(tmp_path / "seg.dcm")["tumor"].geometry == image.geometry
