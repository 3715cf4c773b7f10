"""DICOM through every door: a study, `extract` and `predict` read the series, masks and notes that `check` reads."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from hepacast.core.files import read_json
from hepacast.errors import HepacastError
from hepacast.imaging import read_volume
from hepacast.imaging.dicom_seg_write import write_dicom_seg
from hepacast.imaging.io import write_volume
from hepacast.study.check import check_study
from hepacast.study.extract import extract_image
from hepacast.study.run import run_study

sys.path.insert(0, str(Path(__file__).parents[1] / "imaging"))
from dicom_files import write_slice
from rtstruct_files import rectangle, write_rtstruct

pytestmark = pytest.mark.usefixtures("figures_as_words")

SHAPE, SPACING, ORIGIN = (9, 26, 28), (3.0, 3.0, 5.0), (-40.0, -38.0, 20.0)
PATIENTS = [f"D{n:02d}" for n in range(1, 7)]
FEATURES = "imageType: {Original: {}}\nfeatureClass: {firstorder: [Mean], shape: [VoxelVolume]}\n"


def labels(n: int) -> np.ndarray:
    """1 = parenchyma, 2 = tumor, boxes of whole voxels."""
    found = np.zeros(SHAPE, np.uint8)
    found[1:8, 5:21, 4 : 20 + n % 3] = 1
    found[3:6, 9:14, 8 : 12 + n % 4] = 2
    return found


def voxels(n: int, tumor: int) -> np.ndarray:
    found = labels(n)
    noise = np.random.default_rng(n).normal(0, 10, SHAPE)
    return (-90 + 155 * (found > 0) + (tumor - 65) * (found == 2) + noise).round().astype(int)


def write_phase(folder: Path, values: np.ndarray, uid: str, **attributes: Any) -> None:
    for k, plane in enumerate(values):
        place = (ORIGIN[0], ORIGIN[1], ORIGIN[2] + k * SPACING[2])
        more = {"PixelSpacing": [3.0, 3.0], "SliceThickness": 5.0, **attributes}
        write_slice(folder / f"{uid}-{k}.dcm", place, instance=k + 1, series=uid, pixels=plane + 1024, **more)


def write_study(folder: Path, masks: str = "masks/{patient}.nii.gz", **sequence: Any) -> Path:
    """Images of two phases in one folder a patient: an early one (tumor of 90 HU), a late one (tumor of 40 HU)."""
    for n, patient in enumerate(PATIENTS):
        place = folder / "images" / patient
        write_phase(place, voxels(n, 90), f"1.2.{n}.1", SeriesDescription="early arterial", SeriesNumber=2)
        write_phase(place, voxels(n, 40), f"1.2.{n}.2", SeriesDescription="late portal", SeriesNumber=5)
        image = read_volume(place, series="late")
        write_volume(image.with_array(labels(n)), folder / "masks" / f"{patient}.nii.gz")
    table = {"id": PATIENTS, "alb": np.arange(30, 36), "ptlf": ["yes", "no"] * 3, "center": ["a"] * 4 + ["b"] * 2}
    pd.DataFrame(table).to_csv(folder / "clinical.csv", index=False)
    (folder / "features.yaml").write_text(FEATURES)
    write_study_file(folder, masks, **sequence)
    return folder


def write_study_file(folder: Path, masks: str = "masks/{patient}.nii.gz", **sequence: Any) -> None:
    study = {
        "name": "Phases",
        "cohort": {
            "table": "clinical.csv",
            "id": "id",
            "columns": {"alb": {"unit": "g/L", "quantity": "albumin"}},
            "split": {"by": "column", "column": "center", "training": ["a"], "validation": ["b"]},
        },
        "outcome": {"column": "ptlf", "positive": ["yes"], "negative": ["no"], "name": "PTLF"},
        "images": {
            "sequences": {"portal": {"path": "images/{patient}", **sequence}},
            "segmentation": {"source": "given", "masks": masks, "accept_doubtful": PATIENTS},
        },
        "features": {"settings": "features.yaml"},
        "modelling": {"candidates": ["alb"], "models": ["clinical"], "validation": {"folds": 2, "repeats": 1}},
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(study))


@pytest.fixture(scope="module")
def phases(tmp_path_factory) -> Path:
    return write_study(tmp_path_factory.mktemp("phases"))


def measured(folder: Path, feature: str = "firstorder_Mean", voi: str = "tumor") -> dict[str, float]:
    table = pd.read_parquet(folder / "results" / "radiomics" / "features.parquet")
    rows = table[(table["voi"] == voi) & table["feature"].str.endswith(feature)]
    return dict(zip(rows["patient"], rows["value"], strict=True))


def means(tumor: int) -> dict[str, float]:
    return {patient: float(voxels(n, tumor)[labels(n) == 2].mean()) for n, patient in enumerate(PATIENTS)}


def image_errors(folder: Path) -> list[str]:
    return [
        item.message for part, item in check_study(folder).findings if part == "images" and item.severity == "error"
    ]


@pytest.mark.parametrize(("series", "tumor"), [("late", 40), ("early arterial", 90), ("5", 40), (None, 0)])
def test_the_series_of_the_study_file_is_read_by_every_stage(phases: Path, series: str | None, tumor: int) -> None:
    """One folder of results: features of another series are never kept under the choice of this one."""
    write_study_file(phases, **({"series": series} if series else {}))
    if series is None:
        (message,) = {text.partition("\n")[0] for text in image_errors(phases)}
        assert "2 series or phases" in message
        with pytest.raises(HepacastError, match=r"images\.sequences\.NAME\.series"):
            run_study(phases, until="radiomics", workers=1)
        return
    assert image_errors(phases) == []
    run_study(phases, until="radiomics", workers=1)
    assert measured(phases) == pytest.approx(means(tumor))


@pytest.mark.parametrize("kind", ["seg", "seg-folder", "rtstruct"])
def test_dicom_masks_measure_what_label_maps_measure(phases: Path, kind: str) -> None:
    for n, patient in enumerate(PATIENTS):
        image, found = read_volume(phases / "images" / patient, series="late"), labels(n)
        target = phases / kind / (f"{patient}/1-1.dcm" if kind == "seg-folder" else f"{patient}.dcm")
        target.parent.mkdir(parents=True, exist_ok=True)
        if kind == "rtstruct":
            write_rtstruct(target, {"Tumor": outlines(found == 2), "Parenchyma": outlines(found == 1)})
        else:
            masks = {"parenchyma": image.with_array(found == 1), "tumor": image.with_array(found == 2)}
            write_dicom_seg(masks, phases / "images" / patient, target, series="late")
    write_study_file(phases, f"{kind}/{{patient}}" + ("" if kind == "seg-folder" else ".dcm"), series="late")
    assert image_errors(phases) == []
    run_study(phases, until="radiomics", workers=1)
    for voi, value in (("tumor", 2), ("parenchyma", 1)):
        expected = {p: float((labels(n) == value).sum() * 45.0) for n, p in enumerate(PATIENTS)}
        assert measured(phases, "shape_VoxelVolume", voi) == pytest.approx(expected)
    assert measured(phases) == pytest.approx(means(40))


def outlines(mask: np.ndarray) -> list[Any]:
    """Contours between the voxels of a mask, a rectangle a row."""
    found = []
    for k, j in zip(*np.nonzero(mask.any(axis=2)), strict=True):
        inside = np.flatnonzero(np.diff(np.concatenate([[0], mask[k, j].astype(int), [0]])))
        for start, end in inside.reshape(-1, 2):
            x = (ORIGIN[0] + 3 * start - 1.5, ORIGIN[0] + 3 * end - 1.5)
            y = (ORIGIN[1] + 3 * j - 1.5, ORIGIN[1] + 3 * j + 1.5)
            found.append(rectangle(x, y, ORIGIN[2] + 5 * k))
    return found


def test_what_the_reader_notes_reaches_check_run_and_extract(tmp_path: Path) -> None:
    folder = write_study(tmp_path, series="late")
    place = folder / "images" / PATIENTS[3]
    for file in place.glob("1.2.3.2-*.dcm"):
        file.unlink()
    late = {"SeriesDescription": "late portal", "ImagesInAcquisition": 30}
    write_phase(place, voxels(3, 40), "1.2.3.2", slope=1.0, intercept=-1024.0, **late)
    (folder / "images" / PATIENTS[5] / "reader.txt").write_text("seen")
    told = [str(item) for part, item in check_study(folder).findings if part == "images"]
    assert any(f"patient {PATIENTS[3]}" in text and "announced 30" in text for text in told)
    assert any(f"patient {PATIENTS[5]}" in text and "not DICOM files" in text for text in told)
    result = run_study(folder, until="segmentation", workers=1)
    again = run_study(folder, until="segmentation", workers=1)
    assert again.warnings == result.warnings and "segmentation" in again.cached
    assert any(text.startswith(f"{PATIENTS[3]}: ") and "announced 30" in text for text in result.warnings)
    assert "announced 30" in result.text()
    notes = read_json(folder / "results" / "segmentation" / "segmentation.json")["notes"]
    assert [item["patient"] for item in notes] == [PATIENTS[3], PATIENTS[5]]
    mask = folder / "masks" / f"{PATIENTS[3]}.nii.gz"
    options = {"labels": {"parenchyma": "1", "tumor": "2"}, "settings": str(folder / "features.yaml"), "workers": 1}
    text = extract_image(place, mask, None, series="late", accept_doubtful=True, **options)
    assert "note: 9 slices are here, the scanner announced 30" in text
    assert f"tumor original_firstorder_Mean = {means(40)[PATIENTS[3]]:.6g}" in text
    with pytest.raises(HepacastError, match="--series"):
        extract_image(place, mask, None, **options)
    rows = [{"patient": p, "image": f"images/{p}", "mask": f"masks/{p}.nii.gz", "series": s} for p, s in
            ((PATIENTS[3], "early"), (PATIENTS[5], ""))]  # fmt: skip
    pd.DataFrame(rows).to_csv(folder / "rows.csv", index=False)
    target = folder / "features.csv"
    text = extract_image(folder / "rows.csv", None, target, series="late", accept_doubtful=True, **options)
    assert f"note: {PATIENTS[5]}: 1 file set aside" in text
    found = pd.read_csv(target).set_index(["patient", "voi"])["original_firstorder_Mean"]
    assert found[PATIENTS[3], "tumor"] == pytest.approx(means(90)[PATIENTS[3]])
    assert found[PATIENTS[5], "tumor"] == pytest.approx(means(40)[PATIENTS[5]])


def test_one_series_cannot_be_two_sequences(phases: Path) -> None:
    write_study_file(phases, series="late")
    study = yaml.safe_load((phases / "study.yaml").read_text())
    for series, right in (("portal", False), ("arterial", True)):
        study["images"]["sequences"]["other"] = {"path": "images/{patient}", "series": series}
        (phases / "study.yaml").write_text(yaml.safe_dump(study))
        told = [text for text in image_errors(phases) if "are the same series" in text]
        assert len(told) == (0 if right else len(PATIENTS))
    study["images"]["sequences"]["other"]["series"] = "5"
    (phases / "study.yaml").write_text(yaml.safe_dump(study))
    with pytest.raises(HepacastError, match=r"(portal and other|other and portal)"):
        run_study(phases, until="segmentation", workers=1)


def test_mr_files_in_a_study_of_ct_are_refused(tmp_path: Path) -> None:
    folder = write_study(tmp_path, series="late")
    place = folder / "images" / PATIENTS[0]
    for file in place.glob("1.2.0.2-*.dcm"):
        file.unlink()
    write_phase(place, voxels(0, 40), "1.2.0.2", SeriesDescription="late portal", Modality="MR")
    (message,) = image_errors(folder)
    assert "another modality: MR" in message
    with pytest.raises(HepacastError, match="another modality: MR"):
        run_study(folder, until="segmentation", workers=1)


def test_two_mr_sequences_of_one_folder_with_contours_are_preprocessed(tmp_path: Path) -> None:
    """Both sequences lie in one folder; the intensity scale is taken in a structure that is drawn as contours."""
    folder = tmp_path
    for n, patient in enumerate(PATIENTS):
        place = folder / "images" / patient
        for number, words, tumor in ((2, "early arterial", 90), (5, "late portal", 40)):
            more = {"SeriesDescription": words, "SeriesNumber": number, "Modality": "MR", "ImagesInAcquisition": 11}
            write_phase(place, voxels(n, tumor) + 300, f"1.2.{n}.{number}", **more)
        found = labels(n)
        rois = {"Tumor": outlines(found == 2), "Parenchyma": outlines(found == 1)}
        write_rtstruct(folder / "masks" / f"{patient}.dcm", rois)
    table = {"id": PATIENTS, "alb": np.arange(30, 36), "ptlf": ["yes", "no"] * 3, "center": ["a"] * 4 + ["b"] * 2}
    pd.DataFrame(table).to_csv(folder / "clinical.csv", index=False)
    (folder / "features.yaml").write_text(FEATURES)
    write_study_file(folder, "masks/{patient}.dcm")
    study = yaml.safe_load((folder / "study.yaml").read_text())
    phases = {name: {"path": "images/{patient}", "series": name, "modality": "MR"} for name in ("portal", "arterial")}
    rules = {"bias_correction": "none", "registration": "none", "region": "parenchyma", "pictures": 0}
    study["images"] |= {"sequences": phases, "preprocessing": rules}
    (folder / "study.yaml").write_text(yaml.safe_dump(study, sort_keys=False))
    assert image_errors(folder) == []
    result = run_study(folder, until="radiomics", workers=1)
    assert len([text for text in result.warnings if "announced 11" in text]) == 2
    values = pd.read_parquet(folder / "results" / "radiomics" / "features.parquet")
    values = values[values["feature"].str.endswith("firstorder_Mean") & (values["voi"] == "tumor")]
    for sequence, tumor in (("portal", 40), ("arterial", 90)):
        rows = values[values["sequence"] == sequence].set_index("patient")["value"]
        for n, patient in enumerate(PATIENTS):
            image = voxels(n, tumor).astype(float)
            scale = image[labels(n) == 1]
            expected = 100 * (image[labels(n) == 2].mean() - scale.mean()) / scale.std()
            assert rows[patient] == pytest.approx(expected, rel=2e-3)


def test_results_of_every_patient_are_written(tmp_path: Path, hepacast) -> None:
    """By a bundle that reads images; a patient whose series lacks identifiers is told and not written."""
    import pydicom

    from hepacast.study.dicom_results import SEEN, write_study_dicom

    folder = write_study(tmp_path / "s", series="late")
    (lost, *others) = PATIENTS
    for file in (folder / "images" / lost).iterdir():
        header = pydicom.dcmread(file)
        header.StudyInstanceUID = ""
        header.save_as(file)
    run_study(folder, until="radiomics", workers=1)
    with pytest.raises(HepacastError, match="no model bundle yet"):
        write_study_dicom(folder)
    old = Path(__file__).parents[1] / "bundle" / "old" / "2313617" / "ptlf.hepacast"
    (folder / "results" / "bundle").mkdir()
    (folder / "results" / "bundle" / "model.hepacast").write_bytes(old.read_bytes())
    found = write_study_dicom(folder).rows.set_index("patient")
    assert list(found["status"]) == ["refused"] + ["written"] * 5
    assert "no StudyInstanceUID" in found.loc[lost, "reason"]
    for patient in others:
        report = (folder / "results" / "dicom" / patient / "report.dcm").read_bytes()
        assert (SEEN.encode() in report) == (found.loc[patient, "set"] == "training")
    assert not (folder / "results" / "dicom" / lost).exists()
    assert len(pd.read_csv(folder / "results" / "dicom" / "dicom.csv")) == 6
    said = hepacast("dicom", folder, "--to", tmp_path / "again")
    assert said.code == 0 and said.out.startswith("5 of 6 patients written")
    for patient in others:
        for name in ("report.dcm", "page.dcm"):
            first = folder / "results" / "dicom" / patient / name
            assert (tmp_path / "again" / patient / name).read_bytes() == first.read_bytes()
    # A study of networks alone has another bundle.
    write_networks(folder / "results" / "bundle" / "networks.hepacast")
    (folder / "results" / "bundle" / "model.hepacast").unlink()
    found = write_study_dicom(folder, folder=tmp_path / "networks").rows.set_index("patient")
    assert list(found["status"]) == ["refused"] + ["written"] * 5
    for patient in others:
        segmentation = pydicom.dcmread(tmp_path / "networks" / patient / "segmentation.dcm")
        source = pydicom.dcmread(next((folder / "images" / patient).iterdir()))
        assert segmentation.StudyInstanceUID == source.StudyInstanceUID
        assert b"multi-task network" in (tmp_path / "networks" / patient / "report.dcm").read_bytes()


def write_networks(path: Path) -> None:
    """A bundle of two untrained networks of one CT."""
    pytest.importorskip("torch")
    from hepacast.bundle.networks import NetworkBundle
    from hepacast.deep import CropSpec, DeepSpec, NetworkSpec, TrainedNetwork
    from hepacast.deep.training import new_network
    from hepacast.modelling.score_scale import ScoreScale
    from hepacast.radiomics.recipe import ImageRecipe

    crop = CropSpec(voi="tumor", size=(8, 8, 8), size_mm=(40.0, 40.0, 40.0), channels=["portal"])
    spec = DeepSpec(crop=crop, network=NetworkSpec(encoder="resnet10", width=4, stages=2, features=4))
    networks = []
    for seed in (1, 2):
        state = new_network(spec, 1, 0, seed).state_dict()
        networks.append(TrainedNetwork(spec.network, 1, {name: value.numpy() for name, value in state.items()}))
    card = {"name": "Phases", "outcome": {"name": "PTLF"}, "intended_use": "tests"}
    recipe = ImageRecipe("images", sequences={"portal": "CT"}, labels={"tumor": 2})
    NetworkBundle("multi-task network", crop, recipe, ScoreScale(0.0, 1.0), 0.5, tuple(networks), card).write(path)
