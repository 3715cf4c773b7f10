"""Studies C and D from table and images to the report, on tiny virtual patients: a slow test of the whole way."""

import copy

import numpy as np
import pandas as pd
import pytest

from hepacast.bundle import Bundle
from hepacast.cohort import read_cohort
from hepacast.core.files import read_json, write_json, write_text
from hepacast.errors import BundleError, StudyFileError
from hepacast.phantom.early_recurrence import make_recurrence_cohort
from hepacast.phantom.proliferative import make_proliferative_cohorts
from hepacast.study.demos import early_recurrence, proliferative
from hepacast.study.predict import predict_patient
from hepacast.study.run import run_study
from hepacast.study.template import render_study

pytestmark = pytest.mark.usefixtures("figures_as_words")

FEW_FEATURES = """
imageType: {Original: {}}
featureClass: {shape: [], firstorder: []}
setting: {binWidth: 10}
"""
SMALL = {
    "crop": {"voi": "tumor", "size": [8, 12, 12], "size_mm": [72.0, 96.0, 96.0]},
    "network": {"tasks": "classifier", "width": 4, "stages": 2, "features": 8, "stem_stride": 1},
    "training": {"epochs": 2, "batch": 16, "warmup_epochs": 0.5, "patience": 2, "device": "cpu"},
}


def smaller(study, classifiers):
    study = copy.deepcopy(study)
    study["features"] = {"settings": "few.yaml"}
    study["fusion"] |= {"folds": 3, "classifiers": classifiers, "deep": SMALL}
    study["fusion"]["networks"] = [
        {"encoder": "resnet10", "dimensions": "3d"},
        {"encoder": "resnet10", "dimensions": "2.5d"},
    ]
    study["evaluation"] = {"bootstrap": 20}
    study["report"] = {"formats": ["html"]}
    return study


def put(folder, study, planted):
    write_text(folder / "few.yaml", FEW_FEATURES)
    write_json(folder / "planted.json", planted)
    write_text(folder / "study.yaml", render_study(study))


@pytest.fixture(scope="module")
def recurrence(tmp_path_factory):
    folder = tmp_path_factory.mktemp("d")
    truth = read_json(make_recurrence_cohort(folder, 36, 14, size="tiny", seed=11))
    study = smaller(early_recurrence.DEMO.study(early_recurrence.DEMO.choose({}, seed=11)), ["logistic", "knn"])
    study["images"]["preprocessing"] |= {"bias_voxel_mm": 30.0, "normalization": "nyul", "pictures": 1}
    put(folder, study, early_recurrence.planted_truth(truth))
    return run_study(folder, out=folder / "results", workers=1)


@pytest.mark.slow
def test_study_d_writes_all_its_parts(recurrence):
    out = recurrence.out
    predictions = pd.read_parquet(out / "modelling" / "predictions.parquet")
    assert set(predictions["model"]) == {"CR", "R", "RCR", "DL", "DLRCR", "Auto", "Biomarkers", "DLRCR+B"}
    assert set(zip(predictions["set"], predictions["kind"])) == {
        ("training", "apparent"), ("training", "nested"), ("validation", "frozen"),
    }  # fmt: skip
    assert predictions["risk"].between(0, 1).all()
    nested = predictions[predictions["kind"] == "nested"].groupby("model")["patient"].nunique()
    assert (nested == 36).all()
    competitors = read_json(out / "modelling" / "fusion.json")["competitors"]
    assert {c["name"] for c in competitors} == {
        "Logistic regression", "k nearest neighbors", "Average of seven learners", "ResNet-10 3D", "ResNet-10 2.5D",
    }  # fmt: skip
    # Classifiers are averaged, but for one that tells nothing in a fold; of the networks one is chosen.
    networks = [c for c in competitors if c["score"] == "DL score"]
    assert all(c["chosen"] for c in competitors if c["score"] == "Radscore")
    assert sum(c["times_chosen"] for c in competitors if c["score"] == "Radscore") > 3
    assert sum(c["chosen"] for c in networks) == 1 and sum(c["times_chosen"] for c in networks) == 3
    indexes = read_json(out / "indexes" / "indexes.json")
    assert len(indexes["scores"]) >= 25
    report = recurrence.report.read_text(encoding="utf-8")
    for heading in ("Preprocessing of images", "Networks and classifiers", "Staging systems and indexes", "Nomogram"):
        assert f">{heading}<" in report or heading in report


def values_of(out, model, patient):
    """What the clinic knows of a patient, as `predict` is told it."""
    opened = Bundle.read(out / "bundle" / "model.hepacast")
    row = read_cohort(out / "cohort").table.frame.loc[patient]
    told = []
    for name in opened.clinical_names(model):
        if name.startswith("biomarker/"):  # measured in the image
            continue
        spec = opened.column(name)
        value = row[name]
        if spec.kind == "binary":
            value = spec.level_names[int(value)]
        told.append(f"{name}={'NA' if pd.isna(value) else value if isinstance(value, str) else repr(float(value))}")
    return told


@pytest.mark.slow
def test_study_d_predicts_a_patient_from_the_scanners_images(recurrence):
    """Three raw phases and a mask: bias field, registration, Nyul's scale, features, network, classifier, labs."""
    out, cohort = recurrence.out, recurrence.out.parent
    frozen = pd.read_parquet(out / "modelling" / "predictions.parquet").query("kind == 'frozen'")
    patient = str(sorted(frozen["patient"].unique())[0])
    patterns = early_recurrence.DEMO.study(early_recurrence.DEMO.choose({}, seed=11))["images"]
    images = [f"{name}={cohort / item['path'].format(patient=patient)}" for name, item in patterns["sequences"].items()]
    mask = cohort / patterns["segmentation"]["masks"].format(patient=patient)
    for model in ("DLRCR+B", "DLRCR", "DL"):
        expected = frozen.query("patient == @patient and model == @model")["risk"].item()
        result = predict_patient(
            recurrence.bundle, image=images, mask=mask, labs=values_of(out, model, patient), model=model,
        )  # fmt: skip
        assert result.risk == pytest.approx(expected, abs=1e-6), model
    # Every network sees all phases; in so small a cohort it may be that no score comes from one.
    if Bundle.read(recurrence.bundle).networks is not None:
        with pytest.raises(BundleError, match="--image delayed=PATH"):
            predict_patient(
                recurrence.bundle, image=images[:2], mask=mask, labs=values_of(out, "DL", patient), model="DL",
            )  # fmt: skip
    opened = Bundle.read(recurrence.bundle)
    seeing = next(name for name in opened.models.names if opened.needs_features(name))
    with pytest.raises(StudyFileError, match="which sequence"):
        predict_patient(
            recurrence.bundle, image=images[0].partition("=")[2], mask=mask, labs=values_of(out, seeing, patient),
            model=seeing,
        )  # fmt: skip


@pytest.mark.slow
def test_landmarks_are_of_the_training_patients(recurrence):
    landmarks = read_json(recurrence.out / "preprocessing" / "landmarks.json")
    assert set(landmarks) == {"arterial", "portal", "delayed"}
    assert all(item["n_patients"] == 36 for item in landmarks.values())
    content = read_json(recurrence.out / "preprocessing" / "preprocessing.json")
    for item in content["summary"]["registration"].values():
        assert item["mutual_information_after"] > item["mutual_information_before"]
    assert (recurrence.out / "preprocessing" / content["pictures"][0]["file"]).is_file()


@pytest.mark.slow
def test_a_second_run_does_nothing(recurrence):
    again = run_study(recurrence.out.parent, out=recurrence.out, workers=1)
    assert again.ran == ()


@pytest.mark.slow
def test_study_c_goes_through_to_the_further_cohorts(tmp_path):
    sizes = {"training": 36, "validation": 14, "external": 14, "RFA": 16, "TACE": 16}
    truth = read_json(make_proliferative_cohorts(tmp_path, sizes, size="tiny", seed=5))
    study = smaller(proliferative.DEMO.study(proliferative.DEMO.choose({}, seed=5)), ["logistic", "random_forest"])
    put(tmp_path, study, proliferative.planted_truth(truth))
    result = run_study(tmp_path, out=tmp_path / "results", workers=1)
    evaluation = read_json(result.out / "evaluation" / "evaluation.json")
    assert set(evaluation["sets"]) == {"training", "validation", "external", "nested"}
    assert [evaluation["sets"][name]["n"] for name in ("validation", "external")] == [14, 14]
    further = read_json(result.out / "further" / "further.json")
    assert [(item["cohort"], item["n"], item["model"]) for item in further] == [
        ("RFA", 16, "DLR+B"), ("TACE", 16, "DLR+B"),
    ]  # fmt: skip
    groups = [item["groups"] for item in further if item["groups"] is not None]
    assert groups and all(item["unit"] == "months" and item["end_point"] for item in groups)
    risks = pd.read_parquet(result.out / "modelling" / "further.parquet")
    assert np.isfinite(risks["risk"]).all() and risks.groupby("model")["patient"].nunique().eq(32).all()
    assert "Further cohorts" in result.report.read_text(encoding="utf-8")
    check_predictions_of_c(result, tmp_path)


def check_predictions_of_c(result, cohort):
    """A patient of another set gets from the file, from image and mask, what the study predicted."""
    frozen = pd.read_parquet(result.out / "modelling" / "predictions.parquet").query("kind == 'frozen'")
    opened = Bundle.read(result.bundle)
    # Networks are in the file where a model's score comes from them; in so small a cohort it may be that none does.
    if opened.networks is not None:
        assert len(opened.networks.networks) == 3
    for patient in (frozen.query("set == 'external'")["patient"].min(), frozen["patient"].max()):
        for model in opened.models.names:
            expected = frozen.query("patient == @patient and model == @model")["risk"].item()
            predicted = predict_patient(
                result.bundle, image=cohort / "images" / f"{patient}.nii.gz",
                mask=cohort / "masks" / f"{patient}.nii.gz", labs=values_of(result.out, model, patient), model=model,
            )  # fmt: skip
            assert predicted.risk == pytest.approx(expected, abs=1e-6), (patient, model)
