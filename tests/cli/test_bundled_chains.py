"""Chains without a formula: in the bundle as arrays, and a new patient gets the study's risk from image and mask."""

import json
import zipfile

import pandas as pd
import pytest


@pytest.mark.parametrize("chain", ["auto", {"classifier": "extra_trees", "n_features": 5}])
def test_a_chain_without_a_formula_predicts_from_the_bundle(chain, write_study, hepacast, virtual_cohort):
    few = {"folds": 3, "repeats": 1, "bootstrap": 0, "usual_way": False, "centers": False}
    few |= {"learning_curve": 0, "importance": 0}
    study = write_study(
        changes={"modelling.chain": chain, "modelling.models": ["radiomics"], "modelling.validation": few}
    )
    answer = hepacast("run", study, "--workers", "1", "--quiet")
    assert answer.code == 0, answer.err
    results = study / "results"
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
