"""Chains without a formula: in the bundle as arrays, and a new patient gets the study's risk from image and mask."""

import json
import zipfile

import pandas as pd
import pytest
import yaml

pytestmark = pytest.mark.usefixtures("figures_as_words")

FEW_TREES = {"kind": "extra_trees", "parameters": {"n_estimators": 50}}


def test_a_chain_without_a_formula_predicts_from_the_bundle(write_study, hepacast, virtual_cohort):
    few = {"folds": 2, "repeats": 1, "bootstrap": 0, "usual_way": False, "centers": False}
    few |= {"learning_curve": 0, "importance": 0}
    study = write_study(changes={"modelling.models": ["radiomics"], "modelling.validation": few})
    # Masks and features of the first run are the second's too.
    for chain in ("auto", {"classifier": FEW_TREES, "n_features": 5}):
        content = yaml.safe_load((study / "study.yaml").read_text(encoding="utf-8"))
        content["modelling"]["chain"] = chain
        (study / "study.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
        answer = hepacast("run", study, "--workers", "1", "--until", "bundle", "--quiet")
        assert answer.code == 0, answer.err
        predicts_what_the_study_predicted(study / "results", hepacast, virtual_cohort)


def predicts_what_the_study_predicted(results, hepacast, virtual_cohort):
    assert not (results / "bundle" / "no-bundle.txt").exists()
    frozen = pd.read_parquet(results / "modelling" / "predictions.parquet").query("kind == 'frozen'")
    row = frozen.sort_values("patient").iloc[0]
    patient = row["patient"]
    images = ("--image", virtual_cohort / "images" / f"{patient}.nii.gz")
    mask = ("--mask", virtual_cohort / "truth_masks" / f"{patient}.nii.gz")
    answer = hepacast("predict", results / "model.hepacast", *images, *mask, "--json", "--quiet")
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)
    assert found["model"] == "radiomics"
    assert found["risk"] == pytest.approx(row["risk"], abs=1e-6)
    with zipfile.ZipFile(results / "model.hepacast") as archive:
        names = archive.namelist()
    assert not [name for name in names if not name.endswith((".json", ".safetensors"))]
