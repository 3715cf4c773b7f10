"""Phases, a breath apart: registered, one missing, on one road; CT, and MR with all its steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from hepacast.core.files import read_json
from hepacast.errors import HepacastError
from hepacast.imaging import read_volume
from hepacast.imaging.io import read_labelmap, write_labelmap, write_volume
from hepacast.imaging.structures import structure_mask
from hepacast.phantom.ct import make_ct
from hepacast.phantom.motion import breath
from hepacast.phantom.spec import PatientSpec, TumorSpec
from hepacast.segmentation.base import LabelMapResult
from hepacast.study.predict import predict_patient
from hepacast.study.run import run_study

PATIENTS = [f"P{n:02d}" for n in range(1, 17)]
#: Lacks the arterial phase: one of the training set, one of the others.
LACKING = ["P03", "P14"]
FEATURES = "imageType: {Original: {}}\nfeatureClass: {firstorder: [Mean], shape: [VoxelVolume]}\n"
DEEP = {
    "models": ["classifier"],
    "crop": {"voi": "tumor", "size": [8, 8, 8], "size_mm": [80.0, 80.0, 80.0], "missing": "flag"},
    "network": {"encoder": "resnet10", "width": 4, "stages": 2, "features": 4, "stem_stride": 1},
    "training": {"epochs": 1, "batch": 8, "warmup_epochs": 0.5, "device": "cpu"},
    "folds": 2,
    "explained": 0,
    "controls": False,
}


#: How the models are judged is not what is tested here.
VALIDATION = {"folds": 2, "repeats": 1, "bootstrap": 0, "usual_way": False, "learning_curve": 0, "importance": 0}
#: Twelve to train (a third still has both outcomes), and two to predict.
MR_PATIENTS = [*PATIENTS[:12], "P13", "P14"]
#: MR: every step before anything is measured, and models that join features of both sequences with a network.
MR_STEPS = {
    "bias_correction": "n4",
    "bias_voxel_mm": 60.0,
    "registration": "rigid",
    "normalization": "nyul",
    "pictures": 1,
}
FUSION = {
    "folds": 3,
    "classifiers": ["logistic"],
    "networks": [{"encoder": "resnet10"}],
    "deep": {key: DEEP[key] for key in ("crop", "training")} | {"network": DEEP["network"] | {"tasks": "classifier"}},
    "models": {"R": ["radiomics"], "DL": ["network"], "DLRCR": ["dlr", "clinical"]},
}


def write_cohort(folder: Path, deep: dict[str, Any] | None = DEEP) -> Path:
    for n, patient in enumerate(PATIENTS):
        made = make_ct(PatientSpec(patient, 5, tumors=(TumorSpec("right", 50.0 + n),)), "tiny")
        liver = structure_mask(made.labels, "liver")
        array = made.image.array.astype(np.float32)
        arterial = made.image.with_array(np.where(array > 60, 60 + 0.5 * (array - 60), array).astype(np.int16))
        write_volume(made.image, folder / "images" / patient / "portal.nii.gz")
        if patient not in LACKING:
            moved = breath(liver, (0.0, 0.0, 12.0)).move(arterial)
            write_volume(moved, folder / "images" / patient / "arterial.nii.gz")
        write_labelmap(made.labels, folder / "masks" / f"{patient}.nii.gz")
    table = {"id": PATIENTS, "alb": [30 + (7 * n) % 11 for n in range(16)], "bad": ["yes", "no"] * 8}
    pd.DataFrame(table | {"center": ["a"] * 12 + ["b"] * 4}).to_csv(folder / "clinical.csv", index=False)
    (folder / "features.yaml").write_text(FEATURES)
    study: dict[str, Any] = {
        "name": "Phases",
        "cohort": {
            "table": "clinical.csv",
            "id": "id",
            "columns": {"alb": {"unit": "g/L", "quantity": "albumin"}},
            "split": {"by": "column", "column": "center", "training": ["a"], "validation": ["b"]},
        },
        "outcome": {"column": "bad", "positive": ["yes"], "negative": ["no"], "name": "event"},
        "images": {
            "sequences": {name: {"path": f"images/{{patient}}/{name}.nii.gz"} for name in ("portal", "arterial")},
            "segmentation": {"source": "given", "masks": "masks/{patient}.nii.gz", "accept_doubtful": PATIENTS},
            "preprocessing": {"registration": "rigid", "registration_region": "liver", "pictures": 1},
        },
        "features": {"settings": "features.yaml"},
        "modelling": {"candidates": ["alb"], "validation": VALIDATION},
        "evaluation": {"bootstrap": 20},
        "report": {"formats": ["html"]},
    }
    if deep is not None:
        study["deep"] = deep
    (folder / "study.yaml").write_text(yaml.safe_dump(study, sort_keys=False))
    return folder


@pytest.fixture(scope="module")
def phases(tmp_path_factory):
    return run_study(write_cohort(tmp_path_factory.mktemp("phases")), workers=1, until="bundle")


@pytest.fixture(scope="module")
def mr(tmp_path_factory):
    folder = write_cohort(tmp_path_factory.mktemp("mr"), deep=None)
    study = yaml.safe_load((folder / "study.yaml").read_text())
    for sequence in study["images"]["sequences"].values():
        sequence["modality"] = "MR"
    table = pd.read_csv(folder / "clinical.csv")
    table[table["id"].isin(MR_PATIENTS)].to_csv(folder / "clinical.csv", index=False)
    for path in sorted(folder.glob("images/*/*.nii.gz")):
        image = read_volume(path)
        # No MR is below 0; a coil that fades away from the front, and a scale of its own in every patient.
        fade = np.linspace(1.3, 0.7, image.array.shape[1])[None, :, None]
        gain = 0.5 + 0.1 * int(path.parent.name[1:])
        write_volume(image.with_array((gain * fade * (image.array + 1024.0)).astype(np.float32)), path)
    study["images"]["preprocessing"] = MR_STEPS
    study["fusion"] = FUSION
    study["modelling"] |= {"models": ["clinical", "radiomics"], "selection": "given"}
    (folder / "study.yaml").write_text(yaml.safe_dump(study, sort_keys=False))
    return run_study(folder, workers=1, until="bundle")


@pytest.mark.parametrize("patient", ["P13", "P14"])
def test_mr_with_and_without_a_sequence_is_predicted_as_in_the_study(mr, patient):
    found = read_json(mr.out / "preprocessing" / "preprocessing.json")
    assert [row["patient"] for row in found["registered"]] == [p for p in MR_PATIENTS if p not in LACKING]
    assert not (mr.out / "preprocessing" / "images" / "P14" / "arterial.nii.gz").exists()
    folder = mr.out.parent
    table = pd.read_parquet(mr.out / "modelling" / "predictions.parquet").query("kind == 'frozen'")
    images = [f"{path.name.split('.')[0]}={path}" for path in sorted((folder / "images" / patient).iterdir())]
    row = pd.read_csv(folder / "clinical.csv").set_index("id").loc[patient]
    for model in ("R", "DL", "DLRCR"):
        expected = table[(table["patient"] == patient) & (table["model"] == model)]["risk"].item()
        result = predict_patient(
            mr.out / "bundle" / "model.hepacast",
            image=images,
            mask=folder / "masks" / f"{patient}.nii.gz",
            labs=[f"alb={row['alb']} g/L"],
            model=model,
            accept_doubtful=True,
        )
        assert result.risk == pytest.approx(expected, abs=1e-6)


def test_who_lacks_an_mr_sequence_trains_the_networks_and_teaches_no_intensity_scale(mr):
    features = pd.read_parquet(mr.out / "radiomics" / "features.parquet")
    rows = features[(features["patient"] == "P03") & (features["sequence"] == "arterial")]
    assert set(rows["status"]) == {"undefined"} and rows["value"].isna().all()
    assert features[(features["patient"] == "P03") & (features["sequence"] == "portal")]["value"].notna().all()
    scores = pd.read_parquet(mr.out / "modelling" / "scores.parquet")
    assert set(LACKING) <= set(scores.get("patient", scores.index))


def test_the_liver_lies_on_the_reference_after_a_breath(phases):
    found = read_json(phases.out / "preprocessing" / "preprocessing.json")
    rows = found["registered"]
    assert [row["patient"] for row in rows] == [p for p in PATIENTS if p not in LACKING]
    assert pd.read_csv(phases.out / "preprocessing" / "registration.csv")["patient"].tolist() == [
        row["patient"] for row in rows
    ]
    moved = [row for row in rows if row["used"] == "rigid"]
    assert len(moved) >= 12
    # 12 mm is a slice and a fifth: within half a slice
    assert np.median([abs(row["shift_mm"] - 12.0) for row in moved]) < 5.0
    assert all(row["mutual_information_after"] >= row["mutual_information_before"] for row in rows)
    # CT stays in HU, and outside of a moved phase is its air
    image = read_volume(phases.out / "preprocessing" / "images" / "P01" / "arterial.nii.gz").array
    raw = read_volume(phases.out.parent / "images" / "P01" / "arterial.nii.gz").array
    assert image.min() >= raw.min()
    text = " ".join(item["text"] for item in read_json(phases.out / "preprocessing" / "methods.json"))
    assert "liver and 10 mm around it" in text
    assert "bias field" not in text
    assert "scaled" not in text
    assert (phases.out / "preprocessing" / "registration-P01.png").is_file()


def test_without_masks_the_liver_that_the_segmenter_finds_is_the_region(tmp_path, monkeypatch):
    """The built-in networks are asked once a patient, for the liver alone, in the reference as it was given."""
    folder, asked = write_cohort(tmp_path, deep=None), []
    study = yaml.safe_load((folder / "study.yaml").read_text())
    study["images"]["segmentation"] = {"source": "builtin"}
    (folder / "study.yaml").write_text(yaml.safe_dump(study, sort_keys=False))

    class Outliner:
        def segment(self, volume):
            patient = next(p for p in left if np.array_equal(left[p].array, volume.array))
            asked.append(patient)
            labels = read_labelmap(folder / "masks" / f"{patient}.nii.gz", {"parenchyma": 1, "tumor": 2})
            return LabelMapResult(labels, "builtin", 0.0, ())

    def maker(name, **options):
        assert (name, options) == ("builtin", {"lesions": False})
        return Outliner()

    left = {p: read_volume(folder / "images" / p / "portal.nii.gz") for p in PATIENTS}
    monkeypatch.setattr("hepacast.study.stages.preprocessing.make_segmenter", maker)
    found = run_study(folder, workers=1, until="preprocessing").out / "preprocessing"
    assert asked == [p for p in PATIENTS if p not in LACKING]
    moved = [row for row in read_json(found / "preprocessing.json")["registered"] if row["used"] == "rigid"]
    assert len(moved) >= 12 and np.median([abs(row["shift_mm"] - 12.0) for row in moved]) < 5.0


def test_a_patient_without_a_phase_stays_with_a_reason(phases):
    table = pd.read_parquet(phases.out / "radiomics" / "features.parquet")
    rows = table[table["patient"].isin(LACKING) & (table["sequence"] == "arterial")]
    assert len(rows) == 2 * len(table[(table["patient"] == "P01") & (table["sequence"] == "arterial")])
    assert set(rows["status"]) == {"undefined"}
    assert set(rows["reason"]) == {"the patient lacks this sequence"}
    assert read_json(phases.out / "radiomics" / "excluded.json") == []
    predictions = pd.read_parquet(phases.out / "modelling" / "predictions.parquet")
    assert set(LACKING) <= set(predictions["patient"])


@pytest.mark.parametrize("patient", ["P13", "P14"])
def test_prediction_is_the_studys_with_and_without_the_phase(phases, patient):
    folder = phases.out.parent
    frozen = pd.read_parquet(phases.out / "deep" / "predictions.parquet").query("kind == 'frozen'")
    expected = frozen[frozen["patient"] == patient]["risk"].item()
    images = [f"{path.name.split('.')[0]}={path}" for path in sorted((folder / "images" / patient).iterdir())]
    result = predict_patient(
        phases.out / "bundle" / "networks.hepacast",
        image=images,
        mask=folder / "masks" / f"{patient}.nii.gz",
        accept_doubtful=True,
    )
    assert result.risk == pytest.approx(expected, abs=1e-6)


def test_who_lacks_a_phase_leaves_the_cohort_where_nothing_stands_in_for_it(tmp_path):
    done = run_study(write_cohort(tmp_path, deep=None), workers=1, until="cohort")
    assert read_json(done.out / "cohort" / "flow.json")["excluded"][0] == {
        "reason": "no arterial image", "patients": LACKING, "after_inclusion": False, "n": 2,
    }  # fmt: skip


def test_the_reference_is_never_missing(phases):
    with pytest.raises(HepacastError, match="--image portal=PATH"):
        predict_patient(
            phases.out / "bundle" / "networks.hepacast",
            image=[f"arterial={phases.out.parent / 'images' / 'P13' / 'arterial.nii.gz'}"],
            mask=phases.out.parent / "masks" / "P13.nii.gz",
        )
