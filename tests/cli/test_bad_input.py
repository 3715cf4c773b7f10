"""Bad input, each with a clear message, exit code 2, and nothing half-written."""

import errno
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from hepacast.imaging.io import read_volume, write_volume
from hepacast.imaging.volume import Geometry, Volume

pytestmark = pytest.mark.usefixtures("figures_as_words")

GRID = Geometry((24, 22, 10), (3.0, 3.0, 5.0), (-36.0, -33.0, -25.0))


def refused(study, hepacast, *expected, command=("run",), extra=("--workers", "1", "--quiet")):
    """Run the spoilt study: exit code 2, every expected text in the message, no traceback, results clean."""
    answer = hepacast(*command, study.folder, *(extra if command == ("run",) else ()))
    assert answer.code == 2, answer
    message = answer.err if command == ("run",) else answer.out + answer.err
    assert "Traceback" not in answer.err
    for text in expected:
        assert text in message, message
    study.left_clean()
    return message


def test_the_study_itself_is_right(small, hepacast):
    answer = hepacast("run", small.folder, "--until", "segmentation", "--workers", "1", "--quiet")
    assert answer.code == 0, answer.err
    assert sorted(item.name for item in small.out.iterdir() if item.is_dir()) == [".cache", "cohort", "segmentation"]
    small.left_clean()


# -- the study file ----------------------------------------------------------------------------------------------------


def test_no_study_file(tmp_path, hepacast):
    for command in ("check", "run", "model"):
        answer = hepacast(command, tmp_path / "nowhere.yaml")
        assert answer.code == 2
        assert "The study file does not exist" in answer.err
        assert "hepacast init" in answer.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "# only a comment\n", "just words\n", "- a\n- list\n"])
def test_empty_study_file(small, hepacast, text):
    small.text = text
    small.write()
    refused(small, hepacast, "empty or not a list of keys", "study.yaml")
    assert not small.out.exists()


def test_study_file_that_is_not_yaml(small, hepacast):
    small.text = "name: [unclosed\ncohort: {"
    small.write()
    refused(small, hepacast, "not valid YAML", "line 2")


def test_unknown_key(small, hepacast):
    small.values["cohort"]["tabel"] = small.values["cohort"].pop("table")
    small.write()
    message = refused(small, hepacast, "2 mistakes", "unknown key 'tabel'; did you mean 'table'?")
    assert "cohort.table: this key is required" in message
    assert not small.out.exists()


def test_value_of_the_wrong_kind_with_its_line(small, hepacast):
    small.values["modelling"]["validation"]["folds"] = "many"
    small.values["modelling"]["alpha"] = 5
    small.write()
    lines = (small.folder / "study.yaml").read_text().splitlines()
    folds = 1 + next(n for n, line in enumerate(lines) if "folds" in line)
    alpha = 1 + next(n for n, line in enumerate(lines) if "alpha" in line)
    refused(small, hepacast, f"line {folds}, modelling.validation.folds", f"line {alpha}, modelling.alpha")


def test_unknown_stage_and_recipe(small, tmp_path, hepacast):
    answer = hepacast("run", small.folder, "--until", "radiomix")
    assert answer.code == 2
    assert "There is no stage 'radiomix'" in answer.err
    assert "radiomics" in answer.err
    answer = hepacast("init", tmp_path / "new", "--recipe", "ptfl")
    assert answer.code == 2
    assert "There is no recipe 'ptfl'" in answer.err
    assert not (tmp_path / "new").exists()


def test_candidate_that_is_no_column_or_the_outcome(small, hepacast):
    small.values["modelling"]["candidates"] = ["alb", "inr", "ctp"]
    small.write()
    refused(small, hepacast, "'ctp' is no column of the study", "alb, inr")
    small.values["cohort"]["columns"]["event"] = {
        "column": "PTLF",
        "kind": "binary",
        "levels": {"no": ["no"], "yes": ["yes"]},
    }
    small.values["outcome"]["column"] = "event"
    small.values["modelling"]["candidates"] = ["alb", "event"]
    small.write()
    refused(small, hepacast, "'event' would let the model see the outcome")


def test_unknown_feature_setting_and_voi(small, hepacast):
    small.values["features"]["settings"] = "ptfl"
    small.write()
    refused(small, hepacast, "feature settings cannot be found", "ptfl", "ptlf")
    small.values["features"]["settings"] = "features.yaml"
    small.values["images"]["vois"] = {"ring": "dilate(tumour, 10 mm) - tumor"}
    small.write()
    refused(small, hepacast, "tumour")


# -- the clinical table ------------------------------------------------------------------------------------------------


def test_missing_table(small, hepacast):
    (small.folder / "clinical.csv").unlink()
    refused(small, hepacast, "clinical.csv")
    assert not small.out.exists()
    small.out.mkdir()
    refused(small, hepacast, "clinical.csv")
    assert small.out.exists(), "a folder that was there is left alone"


def test_missing_column(small, hepacast):
    small.table = small.table.rename(columns={"ALB (g/L)": "Albumine g/L"})
    small.write()
    refused(small, hepacast, "ALB (g/L)", "Albumine g/L")


def test_missing_identifier(small, hepacast):
    small.table = small.table.rename(columns={"patient": "Patient-ID"})
    small.write()
    refused(small, hepacast, "The ID column 'patient' was not found", "clinical.csv")


def test_albumin_in_another_unit(small, hepacast):
    small.table["ALB (g/L)"] /= 10
    small.write()
    refused(small, hepacast, "alb", "g/dL", "g/L")


def test_one_value_in_another_unit_is_told_with_row_and_patient(small, hepacast):
    small.table.loc[6, "ALB (g/L)"] = 3.9
    small.write()
    refused(small, hepacast, "row 8", "S07", "alb")


def test_impossible_inr(small, hepacast):
    small.table.loc[2, "INR"] = 12
    small.write()
    refused(small, hepacast, "row 4", "S03", "inr", "12")


def test_duplicate_patient(small, hepacast):
    small.table.loc[5, "patient"] = "S01"
    small.write()
    refused(small, hepacast, "S01", "row 2", "row 7")


def test_text_in_a_number(small, hepacast):
    small.table["INR"] = small.table["INR"].astype(object)
    small.table.loc[9, "INR"] = "haemolytic"
    small.write()
    refused(small, hepacast, "haemolytic", "S10")


def test_outcome_with_one_class(small, hepacast):
    small.table["PTLF"] = "no"
    small.write()
    refused(small, hepacast, "PTLF", "one")


def test_outcome_with_one_class_in_a_set(small, hepacast):
    small.table.loc[small.table["center"] == 2, "PTLF"] = "no"
    small.write()
    refused(small, hepacast, "validation")


def test_fewer_events_than_variables(small, hepacast):
    small.table["PTLF"] = ["yes", *["no"] * 27, "yes", *["no"] * 11]
    small.write()
    refused(small, hepacast, "1 event", "2 parameters")


def test_a_center_that_belongs_to_no_set(small, hepacast):
    small.table.loc[4, "center"] = 3
    small.write()
    answer = hepacast("check", small.folder)
    assert answer.code == 0
    assert "39 in the study" in answer.out
    assert "left out: 1 (" in answer.out


def test_nobody_has_an_image(small, hepacast):
    small.values["images"]["sequences"]["portal"]["path"] = "scans/{patient}.nii.gz"
    small.write()
    refused(small, hepacast, "No patient of the table has portal images", "scans/{patient}.nii.gz")


def test_placeholder_that_does_not_exist(small, hepacast):
    small.values["images"]["sequences"]["portal"]["path"] = "images/{name}.nii.gz"
    small.write()
    refused(small, hepacast, "unknown placeholder", "{patient}")


def test_data_folder_that_is_not_given(small, hepacast, monkeypatch):
    monkeypatch.delenv("HEPACAST_DATA", raising=False)
    small.values["cohort"]["table"] = "{data}/clinical.csv"
    small.write()
    refused(small, hepacast, "--data")


# -- images and masks --------------------------------------------------------------------------------------------------


def rewrite(path, content, geometry):
    write_volume(Volume(content, geometry), path)


def test_mask_of_another_patient_with_another_grid(small, hepacast):
    other = Geometry((20, 22, 10), GRID.spacing, GRID.origin)
    rewrite(small.mask("S03"), small.labels("S03")[:, :, :20], other)
    message = refused(small, hepacast, "S03", "24", "20")
    assert "masks/S03.nii.gz" in message


def test_mask_of_another_patient_on_the_same_grid(small, hepacast):
    """Nothing in the geometry tells it; that two patients have one mask does."""
    shutil.copyfile(small.mask("S09"), small.mask("S03"))
    refused(small, hepacast, "The mask of patient S09 is the same file as that of patient S03", "masks/S03.nii.gz")
    answer = hepacast("check", small.folder)
    assert answer.code == 2
    assert "1 error:" in answer.out
    assert "S09" in answer.out


def test_image_of_another_patient(small, hepacast):
    shutil.copyfile(small.image("S03"), small.image("S30"))
    refused(small, hepacast, "The image of patient S30 is the same file as that of patient S03")


def test_mask_with_other_spacing(small, hepacast):
    rewrite(small.mask("S03"), small.labels("S03"), Geometry(GRID.size, (3.0, 3.0, 2.5), GRID.origin))
    refused(small, hepacast, "S03", "spacing", "2.5")


def test_mask_shifted_by_3_mm_is_refused_with_a_picture(small, hepacast):
    moved = Geometry(GRID.size, GRID.spacing, (GRID.origin[0] + 3.0, *GRID.origin[1:]))
    rewrite(small.mask("S07"), small.labels("S07"), moved)
    message = refused(small, hepacast, "S07", "3.00 mm")
    pictures = [word.strip(".,;") for word in message.split() if word.strip(".,;").endswith(".png")]
    assert pictures, message
    picture = Path(pictures[0])
    assert picture.is_file()
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert picture.parent == small.out


def test_mask_flipped_left_to_right(small, hepacast):
    """The same numbers, another direction of the first axis: only the header says so."""
    flipped = Geometry(GRID.size, GRID.spacing, GRID.origin, ((-1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)))
    rewrite(small.mask("S07"), small.labels("S07"), flipped)
    refused(small, hepacast, "S07", "69.00 mm")


def test_empty_mask(small, hepacast):
    rewrite(small.mask("S04"), np.zeros_like(small.labels("S04")), GRID)
    refused(small, hepacast, "S04", "empty")


def test_mask_without_one_of_the_structures(small, hepacast):
    labels = small.labels("S04")
    rewrite(small.mask("S04"), np.where(labels == 1, labels, 0).astype(np.uint8), GRID)
    refused(small, hepacast, "S04", "tumor")


def test_mask_of_one_voxel(small, hepacast):
    labels = np.where(small.labels("S04") > 0, 1, 0).astype(np.uint8)
    labels[5, 11, 12] = 2
    rewrite(small.mask("S04"), labels, GRID)
    refused(small, hepacast, "S04", "tumor", "voxel")


def test_mask_with_other_label_values(small, hepacast):
    rewrite(small.mask("S04"), small.labels("S04") * 7, GRID)
    refused(small, hepacast, "S04", "7, 14", "parenchyma: 1, tumor: 2")


def test_mask_of_fractions(small, hepacast):
    rewrite(small.mask("S04"), small.labels("S04").astype(np.float32) * 0.5, GRID)
    refused(small, hepacast, "S04", "whole numbers")


def test_two_dimensional_image(small, hepacast):
    import nibabel

    nibabel.save(nibabel.Nifti1Image(np.zeros((24, 22), np.int16), np.eye(4)), small.image("S05"))
    refused(small, hepacast, "S05", "2")


def test_truncated_nifti(small, hepacast):
    for patient in ("S06",):
        content = small.image(patient).read_bytes()
        small.image(patient).write_bytes(content[: len(content) // 2])
    refused(small, hepacast, "S06.nii.gz", "trunc")


def test_truncated_mask(small, hepacast):
    content = small.mask("S06").read_bytes()
    small.mask("S06").write_bytes(content[: len(content) // 2])
    refused(small, hepacast, "masks/S06.nii.gz")


def test_a_file_that_is_no_image(small, hepacast):
    small.image("S06").write_bytes(b"<html>404 Not Found</html>")
    refused(small, hepacast, "S06.nii.gz")


def test_dicom_series_with_a_missing_slice(small, hepacast):
    small.values["images"]["sequences"]["portal"]["path"] = "dicom/{patient}"
    small.table = small.table.iloc[[*range(12), *range(28, 36)]]
    small.write()
    for patient in small.table["patient"]:
        write_dicom(small.folder / "dicom" / patient, read_volume(small.image(patient)))
    answer = hepacast("run", small.folder, "--until", "segmentation", "--workers", "1", "--quiet")
    assert answer.code == 0, answer.err
    shutil.rmtree(small.out)
    (small.folder / "dicom" / "S08" / "slice04.dcm").unlink()
    refused(small, hepacast, "S08", "slice", "5")


def write_dicom(folder, volume):
    """A synthetic CT series, one file a slice."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    folder.mkdir(parents=True)
    series, study, frame = generate_uid(), generate_uid(), generate_uid()
    geometry = volume.geometry
    for number, plane in enumerate(volume.array):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        file = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        file.SOPClassUID, file.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        file.SeriesInstanceUID, file.StudyInstanceUID, file.FrameOfReferenceUID = series, study, frame
        file.Modality, file.PatientID, file.SeriesNumber, file.InstanceNumber = "CT", "anonymous", 3, number + 1
        file.SeriesDescription = "portal venous"
        file.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        file.ImagePositionPatient = [*geometry.origin[:2], geometry.origin[2] + number * geometry.spacing[2]]
        file.PixelSpacing, file.SliceThickness = list(geometry.spacing[1::-1]), geometry.spacing[2]
        file.Rows, file.Columns = plane.shape
        file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
        file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 16, 16, 15, 1
        file.RescaleSlope, file.RescaleIntercept, file.RescaleType = 1, 0, "HU"
        file.PixelData = plane.astype("<i2").tobytes()
        file.save_as(folder / f"slice{number:02d}.dcm", enforce_file_format=True)


# -- the disk ----------------------------------------------------------------------------------------------------------


def mounted(folder, *options):
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(folder)], capture_output=True)
    if done.returncode:
        pytest.skip("this machine does not let tests mount a small disk")


@pytest.fixture
def disk(tmp_path):
    """`disk("size=64k")`: a real disk of that kind, taken away afterwards."""
    if shutil.which("mount") is None:
        pytest.skip("this machine has no mount")
    folder = tmp_path / "disk"

    def mount(*options):
        mounted(folder, *options)
        return folder

    yield mount
    subprocess.run(["umount", str(folder)], capture_output=True)


@pytest.mark.parametrize("size", ["4k", "40k", "160k"])
def test_disk_full(small, hepacast, disk, size):
    """Full at the first file, in the cohort's stage, among the masks."""
    out = disk(f"size={size}") / "results"
    answer = hepacast("run", small.folder, "--out", out, "--workers", "1", "--quiet", "--until", "radiomics")
    assert answer.code == 2
    assert "The disk is full" in answer.err
    assert "Traceback" not in answer.err
    assert "run the same command again" in answer.err
    for stage in out.iterdir():
        assert not stage.name.endswith((".partial", ".old"))
        assert not stage.name.startswith(".tmp-")
        if stage.is_dir() and not stage.name.startswith("."):
            assert (stage / "stage.json").is_file()


def test_a_run_goes_on_when_there_is_room_again(small, hepacast, disk):
    folder = disk("size=160k")
    words = ("run", small.folder, "--out", folder / "results", "--workers", "1", "--quiet", "--until", "segmentation")
    assert hepacast(*words).code == 2
    kept = (folder / "results" / "cohort" / "stage.json").stat().st_mtime_ns
    subprocess.run(["mount", "-o", "remount,size=20m", str(folder)], check=True)
    answer = hepacast(*words)
    assert answer.code == 0, answer.err
    assert (folder / "results" / "cohort" / "stage.json").stat().st_mtime_ns == kept


def test_read_only_output(small, hepacast, disk):
    answer = hepacast("run", small.folder, "--out", disk("ro") / "results")
    assert answer.code == 2
    assert "cannot be written" in answer.err
    assert "choose another folder with --out" in answer.err


def test_output_that_nobody_can_write(small, hepacast):
    """Root passes permission bits, but not the kernel's own folders."""
    if not Path("/proc/self").exists():
        pytest.skip("no /proc here")
    answer = hepacast("run", small.folder, "--out", "/proc/hepacast-results")
    assert answer.code == 2
    assert "cannot be written" in answer.err


def test_disk_full_without_a_real_disk(small, hepacast, monkeypatch):
    """The same where no disk can be mounted: the system refuses the third mask."""
    original, count = Path.replace, []

    def replace(self, target):
        if "masks" in str(target):
            count.append(target)
            if len(count) > 2:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return original(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        refused(small, hepacast, "The disk is full", "masks")
    assert [item.name for item in small.out.iterdir() if item.is_dir()].count("segmentation") == 0


def test_results_folder_is_a_file(small, hepacast):
    small.out.write_text("something else")
    answer = hepacast("run", small.folder)
    assert answer.code == 2
    assert "The results folder is a file" in answer.err
    assert small.out.read_text() == "something else"


def test_results_among_the_studys_own_files(small, hepacast):
    before = sorted(small.folder.rglob("*"))
    answer = hepacast("run", small.folder, "--out", small.folder)
    assert answer.code == 2
    assert "mixed" in answer.err
    assert sorted(small.folder.rglob("*")) == before


def test_an_input_that_may_not_be_read(small, hepacast, monkeypatch):
    original = Path.open

    def refuse(self, *args, **named):
        if self.name == "S02.nii.gz":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))
        return original(self, *args, **named)

    monkeypatch.setattr(Path, "open", refuse)
    refused(small, hepacast, "S02.nii.gz", "Permission denied")


def test_earlier_results_stay_when_a_later_run_is_refused(small, hepacast):
    words = ("run", small.folder, "--until", "segmentation", "--workers", "1", "--quiet")
    assert hepacast(*words).code == 0
    before = {item: item.read_bytes() for item in small.out.rglob("*") if item.is_file() and ".cache" not in item.parts}
    small.table.loc[2, "INR"] = 12
    small.write()
    assert hepacast(*words).code == 2
    after = {item: item.read_bytes() for item in small.out.rglob("*") if item.is_file() and ".cache" not in item.parts}
    assert after == before


# -- one image: extract, segment ---------------------------------------------------------------------------------------


def spoil(small, kind):
    """A bad image made of S05's, and a word that the message must have."""
    import nibabel

    path = small.folder / "bad.nii.gz"
    content = small.image("S05").read_bytes()
    if kind == "truncated":
        path.write_bytes(content[: len(content) // 2])
        return path, "damaged or incomplete"
    if kind == "two-dimensional":
        nibabel.save(nibabel.Nifti1Image(np.zeros((24, 22), np.int16), np.eye(4)), path)
        return path, "2"
    if kind == "time series":
        nibabel.save(nibabel.Nifti1Image(np.zeros((8, 8, 4, 3), np.int16), np.eye(4)), path)
        return path, "4"
    if kind == "not a number":
        write_volume(Volume(np.full(GRID.size[::-1], np.nan, np.float32), GRID), path)
        return path, "number"
    if kind == "no image":
        path.write_bytes(b"<html>404 Not Found</html>")
        return path, "bad.nii.gz"
    if kind == "missing":
        return path, "does not exist"
    write_dicom(small.folder / "bad", read_volume(small.image("S05")))
    (small.folder / "bad" / "slice04.dcm").unlink()
    return small.folder / "bad", "slice"


BAD_IMAGES = ("truncated", "two-dimensional", "time series", "not a number", "no image", "missing", "missing slice")


@pytest.mark.parametrize("kind", BAD_IMAGES)
def test_an_image_that_cannot_be_used_is_refused_by_every_command(small, hepacast, kind):
    path, word = spoil(small, kind)
    before = sorted(small.folder.rglob("*"))
    out = small.folder / "new"
    for words in (
        ("extract", path, small.mask("S05"), "--labels", "parenchyma=1,tumor=2", "-o", out / "features.csv"),
        ("segment", path, "-o", out / "mask.nii.gz", "--overlay", out / "mask.png"),
    ):
        answer = hepacast(*words, "--quiet")
        assert answer.code == 2, answer
        assert word in answer.err
        assert "Traceback" not in answer.err
    assert sorted(small.folder.rglob("*")) == before


def test_a_mask_that_cannot_be_used_is_refused_by_extract(small, hepacast):
    labels = small.labels("S05")
    moved = Geometry(GRID.size, GRID.spacing, (GRID.origin[0] + 3.0, *GRID.origin[1:]))
    smaller = Geometry((20, 22, 10), GRID.spacing, GRID.origin)
    bad = small.folder / "bad.nii.gz"
    for content, grid, text in (
        (labels, moved, "3.00 mm"),
        (labels[:, :, :20], smaller, "24"),
        (labels * 7, GRID, "7, 14"),
        (labels * np.float32(0.5), GRID, "whole numbers"),
        (read_volume(small.image("S05")).array, GRID, "an image, not a mask"),
    ):
        rewrite(bad, content, grid)
        answer = hepacast(
            *("extract", small.image("S05"), bad, "--labels", "parenchyma=1,tumor=2", "--quiet"),
            *("--settings", small.folder / "features.yaml", "-o", small.folder / "features.csv"),
        )
        assert answer.code == 2, answer
        assert text in answer.err
        assert not (small.folder / "features.csv").exists()


def test_an_empty_voi_is_a_row_with_its_reason(small, hepacast):
    """Extract measures what it can: a failure is a status, never a number."""
    import pandas as pd

    rewrite(small.mask("S05"), np.where(small.labels("S05") == 1, 1, 0).astype(np.uint8), GRID)
    words = ("extract", small.image("S05"), small.mask("S05"), "--labels", "parenchyma=1,tumor=2", "--quiet")
    answer = hepacast(*words, "--settings", small.folder / "features.yaml", "-o", small.folder / "features.parquet")
    assert answer.code == 0, answer.err
    assert "tumor: failed" in answer.out
    table = pd.read_parquet(small.folder / "features.parquet")
    tumor = table[table["voi"] == "tumor"]
    assert len(tumor) == (table["voi"] == "parenchyma").sum() > 0
    assert (tumor["status"] == "failed").all()
    assert tumor["value"].isna().all()
    assert tumor["reason"].str.contains("empty").all()


def test_results_of_one_image_that_cannot_be_written(small, hepacast, disk):
    """Refused before the work where that can be known, and without a trace where the disk is full at the end."""
    fast = ("--labels", "parenchyma=1,tumor=2", "--settings", small.folder / "features.yaml", "--quiet")
    extract = ("extract", small.image("S05"), small.mask("S05"), *fast, "-o")
    segment = ("segment", small.image("S05"), "--quiet", "-o")
    (small.folder / "file").write_text("a file, no folder")
    full = disk("size=4k")
    (full / "others.bin").write_bytes(b"x" * 4096)
    cases = [
        ((*extract, small.folder / "file" / "features.csv"), "cannot be written"),
        ((*extract, small.folder), ".csv or .parquet"),
        ((*segment, small.folder / "file" / "mask.nii.gz"), "cannot be written"),
        ((*segment, small.folder / "mask.txt"), "Images cannot be written as .txt"),
        ((*segment, small.folder / "mask.nii.gz", "--overlay", small.folder / "mask.jpg"), ".png"),
        ((*segment, small.folder / "mask.nii.gz", "--overlay", small.folder / "file" / "x.png"), "cannot be written"),
        ((*extract, full / "features.csv"), "The disk is full"),
        (("init", full / "study"), "The disk is full"),
    ]
    before = sorted(small.folder.rglob("*"))
    for words, text in cases:
        answer = hepacast(*words)
        assert answer.code == 2, (words, answer)
        assert text in answer.err, (words, answer.err)
    assert sorted(small.folder.rglob("*")) == before
    assert [item.name for item in full.iterdir()] == ["others.bin"]


# -- check lists everything at once ------------------------------------------------------------------------------------


def test_check_says_that_all_is_well(small, hepacast):
    answer = hepacast("check", small.folder)
    assert answer.code == 0
    assert "Ready to run." in answer.out
    assert "training set: 28 patients" in answer.out
    assert not small.out.exists()


def test_check_lists_all_mistakes_at_once(small, hepacast):
    small.table.loc[2, "INR"] = 12
    small.table.loc[5, "ALB (g/L)"] = 3.7
    small.table.loc[7, "ALB (g/L)"] = 400
    small.values["features"]["settings"] = "ptfl"
    small.write()
    rewrite(small.mask("S10"), np.zeros_like(small.labels("S10")), GRID)
    content = small.image("S12").read_bytes()
    small.image("S12").write_bytes(content[: len(content) // 2])
    moved = Geometry(GRID.size, GRID.spacing, (GRID.origin[0] + 3.0, *GRID.origin[1:]))
    rewrite(small.mask("S14"), small.labels("S14"), moved)
    answer = hepacast("check", small.folder)
    assert answer.code == 2
    for text in ("S03", "S06", "S08", "ptfl", "S10", "S12", "S14", "3.00 mm"):
        assert text in answer.out, answer.out
    assert "7 errors" in answer.out, answer.out
    assert not small.out.exists(), "a check writes nothing"


# -- a mask that cannot be a liver -------------------------------------------------------------------------------------


def test_a_mask_that_is_hardly_a_liver_is_told(small, hepacast, monkeypatch):
    """Networks outline something in any scan; the volume tells that it is no liver."""
    from hepacast import segmentation

    made = segmentation.GivenSegmenter(small.mask("S05"), {"parenchyma": 1, "tumor": 2})
    monkeypatch.setattr(segmentation, "make_segmenter", lambda *_args, **_named: made)
    answer = hepacast("segment", small.image("S05"), "-o", small.folder / "m.nii.gz", "--quiet")
    assert answer.code == 0, answer.err
    assert re.search(r"impossible: liver: .* not plausible for an adult's liver .*\(\d+.* mL\)", answer.out), answer.out


def test_check_tells_every_image_of_a_patient(small, hepacast):
    """A broken image of one sequence does not hide that of another, nor a mask's fault."""
    small.values["images"]["sequences"]["late"] = {"path": "late/{patient}.nii.gz", "modality": "CT"}
    (small.folder / "late").mkdir()
    for file in small.image("S05").parent.iterdir():
        shutil.copy(file, small.folder / "late" / file.name)
    small.write()
    for file, text in ((small.image("S05"), b"first"), (small.folder / "late" / "S05.nii.gz", b"second, longer")):
        file.write_bytes(text)
    answer = hepacast("check", small.folder)
    assert answer.code == 2
    assert "images/S05.nii.gz" in answer.out and "late/S05.nii.gz" in answer.out, answer.out
