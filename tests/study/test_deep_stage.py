"""Study B from table and images to the report, with networks that are trained for an epoch or two."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hepacast.core.files import read_json
from hepacast.errors import StudyFileError
from hepacast.modelling.score_scale import ScoreScale
from hepacast.study.demos import run_demo_of
from hepacast.study.demos.tace_response import DEMO, planted_truth
from hepacast.study.schema import Study

pytest.importorskip("torch")

NETWORKS = ("single-task network", "multi-task network")
CHANGES = {
    "deep.training": {"epochs": 1, "batch": 8, "inner_fraction": 0.0},
    "deep.network": {"encoder": "resnet10", "width": 4, "stages": 2, "features": 4, "covariates": ["alb", "ctp"]},
    "deep.crop": {"voi": "largest(tumor)", "size": [16, 16, 16], "size_mm": [96.0, 96.0, 96.0]},
    "deep.explained": 1,
    "deep.permutations": 1,
    "modelling.models": ["clinical"],
    "biomarkers": None,
    "modelling.validation": {"folds": 3, "repeats": 1, "bootstrap": 0, "usual_way": False},
    "evaluation": {"bootstrap": 5},
    "report.formats": ["html"],
}


def test_the_demo_is_a_legal_study_and_its_truth_is_told() -> None:
    study = Study.model_validate(DEMO.study(DEMO.choose({}, seed=1)))
    assert study.deep is not None
    assert study.deep.spec.network.pooled_levels == 2
    bayes = {"combined": 0.9, "clinical": 0.6}
    coefficients = dict.fromkeys(("rim_per_sd", "texture_per_sd", "log_diameter_per_sd", "vascular_invasion"), 1.0)
    truth = {
        "effect": "planted",
        "bayes_auc": bayes,
        "auc_of_the_truth_on_these_patients": {"all": bayes, "external": {"combined": 0.8}},
        "coefficients": coefficients,
    }
    told = planted_truth(truth)
    assert told["bayes_auc"] == {"any number of patients": 0.9, "external": 0.8}
    assert len(told["terms"]) == 4
    assert planted_truth({**truth, "effect": "none"})["terms"] == []


def test_unknown_choices_are_refused(tmp_path: Path) -> None:
    for choice in ({"effect": "some"}, {"segmenter": "builtin"}, {"n_external": 30}):
        with pytest.raises(StudyFileError, match="does not know this choice"):
            run_demo_of("tace-response", tmp_path, **choice)
    with pytest.raises(StudyFileError, match="segmenter given"):
        run_demo_of("proliferative", tmp_path, segmenter="nnunet")
    assert not list(tmp_path.iterdir())


def test_with_nnunet_the_demo_trains_on_the_expert_masks() -> None:
    study = Study.model_validate(DEMO.study(DEMO.choose({}, seed=1, segmenter="nnunet")))
    assert study.images is not None
    assert study.images.segmentation.source == "nnunet"
    assert study.images.segmentation.masks == "expert/{patient}.nii.gz"


def test_recalibration_finds_the_slope_and_never_turns_the_order() -> None:
    generator = np.random.default_rng(3)
    lp = 3.0 * generator.standard_normal(4000)
    y = (generator.random(4000) < 1 / (1 + np.exp(-(0.4 + 0.5 * lp)))).astype(float)
    known = np.arange(4000) < 3500
    scale = ScoreScale.fit(lp[known], y[known])
    assert scale.intercept == pytest.approx(0.4, abs=0.12)
    assert scale.slope == pytest.approx(0.5, abs=0.06)
    assert np.corrcoef(scale.risk(lp[~known]), lp[~known])[0, 1] > 0.9
    against = ScoreScale.fit(-lp[known], y[known]).risk(-lp[~known])
    assert (np.argsort(against) == np.argsort(-lp[~known])).all()
    assert abs(against.mean() - y[known].mean()) < 0.05


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("demo-b")
    return run_demo_of("tace-response", folder, n_training=40, n_validation=22, changes=CHANGES, workers=2).out


@pytest.mark.slow
def test_networks_stand_beside_the_other_models(results: Path) -> None:
    described = read_json(results / "modelling" / "models.json")
    assert described["names"] == ["clinical", *NETWORKS]
    evaluation = read_json(results / "evaluation" / "evaluation.json")
    assert set(evaluation["sets"]) == {"training", "validation", "external", "nested"}
    for part in evaluation["sets"].values():
        assert set(NETWORKS) <= set(part["models"])
        assert len(part["comparisons"]) == 3
    nested = read_json(results / "modelling" / "validation.json")["models"]
    assert all(math.isfinite(nested[name]["nested"]["estimate"]["value"]) for name in NETWORKS)


@pytest.mark.slow
def test_out_of_fold_predictions_use_the_folds_of_the_other_models(results: Path) -> None:
    table = pd.read_parquet(results / "modelling" / "predictions.parquet")
    nested = table[(table["kind"] == "nested") & (table["repeat"] == 0)]
    counts = nested.groupby("model")["patient"].agg(["count", "nunique"])
    assert (counts["count"] == counts["nunique"]).all()
    assert len(set(counts["count"])) == 1


@pytest.mark.slow
def test_what_the_stage_found_is_there(results: Path) -> None:
    content = read_json(results / "deep" / "deep.json")
    assert {row["model"] for row in content["dice"]} == {"multi-task network", "single-task segmenter"}
    assert {row["set"] for row in content["dice_tests"]} == {"training", "validation", "external"}
    assert len(content["controls"]) == 5
    assert len(content["explained"]) == 1
    assert len(content["permutation"]["aucs"]) == 1
    # Four of forty training patients have no expert mask, and train the outcome alone.
    facts = content["networks"]["multi-task network"]
    assert all(masked < labelled for masked, labelled in zip(facts["n_masked"], facts["n_labelled"], strict=True))
    features = pd.read_parquet(results / "deep" / "features.parquet")
    assert len(features) == 62
    assert features["multi-task:score"].notna().all()


@pytest.mark.slow
def test_the_report_has_the_section_and_the_bundle_predicts(results: Path, tmp_path: Path) -> None:
    from hepacast.study.predict import predict_patient

    page = "".join(file.read_text(encoding="utf-8") for file in sorted((results / "report").glob("*.html")))
    for text in ("Deep networks", "Multi-task network", "Tumor masks of the networks", "Grad-CAM"):
        assert text in page
    cohort = results.parent / "cohort"
    person = pd.read_csv(cohort / "clinical.csv", dtype=str).set_index("patient").loc["T060"]
    predicted = predict_patient(
        results / "bundle" / "networks.hepacast",
        image=cohort / "images" / "T060.nii.gz",
        mask=cohort / "masks" / "T060.nii.gz",
        labs=[f"alb={person['ALB (g/L)']}", f"ctp={person['CTP']}"],
        out=tmp_path / "one",
    )
    assert (tmp_path / "one" / "prediction.pdf").stat().st_size > 5000
    table = pd.read_parquet(results / "modelling" / "predictions.parquet")
    row = table[(table["patient"] == "T060") & (table["model"] == "multi-task network")]
    assert predicted.risk == pytest.approx(float(row["risk"].iloc[0]), abs=1e-6)
    assert (tmp_path / "one" / "grad-cam.nii.gz").is_file()
