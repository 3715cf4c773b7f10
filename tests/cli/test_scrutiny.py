"""What a reviewer asks next, from the study file to the report: centers, learning curve, importance, subgroups."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from hepacast.core.files import read_json


def as_table_study(small, *, chain: object = "ptlf", n: int = 90) -> None:
    """The small study with more patients, three centers, and features from a table."""
    rng = np.random.default_rng(3)
    ids = [f"S{i:03d}" for i in range(n)]
    inr, sex = rng.normal(1.15, 0.12, n).round(2), rng.choice(["f", "m"], n)
    signal = rng.normal(size=n)
    risk = 1 / (1 + np.exp(-((inr - 1.15) / 0.12 + 1.2 * signal - 0.3)))
    center = np.array([1, 2, 3])[np.arange(n) % 3]
    small.table = pd.DataFrame(
        {
            "patient": ids,
            "center": center,
            "ALB (g/L)": rng.normal(38, 4, n).round(1),
            "INR": inr,
            "Sex": sex,
            "PTLF": np.where(rng.random(n) < risk, "yes", "no"),
        }
    )
    features = pd.DataFrame(rng.normal(size=(n, 12)), columns=[f"tumor:original_glcm_F{j}" for j in range(12)])
    features["tumor:original_glcm_F0"] = signal + 0.3 * rng.normal(size=n)
    features.insert(0, "patient", ids)
    features.to_csv(small.folder / "features.csv", index=False)
    small.values.pop("images")
    small.values["features"] = {"table": "features.csv"}
    small.values["cohort"]["columns"]["sex"] = {"column": "Sex", "kind": "binary", "levels": {"f": ["f"], "m": ["m"]}}
    small.values["cohort"]["split"] = {"by": "column", "column": "center", "training": [1, 2], "validation": [3]}
    small.values["modelling"] |= {"candidates": ["alb", "inr", "sex"], "chain": chain}
    small.values["evaluation"] = {"bootstrap": 10, "coverage": 0.8}
    small.values["report"] = {"formats": ["html"]}
    small.write()


@pytest.mark.slow
def test_everything_is_reached_and_reported(hepacast, small):
    as_table_study(small)
    answer = hepacast("run", small.folder, "--workers", "1", "--quiet")
    assert answer.code == 0, answer.err
    found = read_json(small.out / "modelling" / "scrutiny.json")
    centers = [row for row in found["centers"]["rows"] if row["model"] == "combined"]
    assert [row["center"] for row in centers] == ["1", "2", "3"]
    assert sum(row["n"] for row in centers) == 90
    curve = [row for row in found["learning_curve"]["rows"] if row["model"] == "combined"]
    assert len(curve) == 4 and curve[0]["n_train"] < curve[-1]["n_train"]
    losses = {row["name"]: row["loss"] for row in found["importance"]["rows"] if row["model"] == "combined"}
    assert max(losses, key=losses.get) in ("inr", "tumor:original_glcm_F0")
    assert found["shapley"]["reason"] == "the radiomics model has coefficients"

    later = read_json(small.out / "evaluation" / "scrutiny.json")
    groups = later["subgroups"]["rows"]
    assert groups[0]["group"] == "All"
    assert sum(row["n"] for row in groups if row["group"] == groups[1]["group"]) == groups[0]["n"]
    (entry,) = later["recalibration"]
    assert entry["set"] == "validation" and entry["chosen"] in ("none", "intercept", "slope")
    shifted = next(row for row in entry["methods"] if row["method"] == "intercept")
    assert shifted["mean_risk"] == pytest.approx(entry["events"] / entry["n"], abs=1e-6)
    (covered,) = later["conformal"]["rows"]
    assert covered["event"] + covered["no_event"] + covered["either"] + covered["neither"] == pytest.approx(1)

    page = "".join(file.read_text(encoding="utf-8") for file in sorted((small.out / "report").glob("*.html")))
    from hepacast.report.content.checklists import FILLS
    from hepacast.report.results import load_results

    results = load_results(small.out)
    assert "3 centers" in FILLS["heterogeneity"](results)
    assert "{subgroups}" in FILLS["fairness"](results)
    assert "{recalibration-validation}" in FILLS["updating"](results)
    for words in ("Each center predicted", "Learning curve", "Importance", "Subgroups", "closed test", "Conformal"):
        assert words in page, words


@pytest.mark.slow
def test_shapley_values_where_there_are_no_coefficients(hepacast, small):
    as_table_study(small, chain={"classifier": "naive_bayes", "n_features": 5})
    rules = {"folds": 3, "repeats": 1, "bootstrap": 0, "learning_curve": 0, "importance": 0, "centers": False}
    small.values["modelling"]["validation"] = rules
    small.write()
    answer = hepacast("run", small.folder, "--workers", "1", "--quiet")
    assert answer.code == 0, answer.err
    found = read_json(small.out / "modelling" / "scrutiny.json")
    assert found["centers"]["reason"] == found["learning_curve"]["reason"] == "not asked for"
    rows = found["shapley"]["rows"]
    assert rows[0]["name"] == "tumor:original_glcm_F0" and rows[0]["direction"] > 0.5
    assert "Shapley" in (small.out / "report" / "supplement.html").read_text(encoding="utf-8")


def test_unknown_subgroup(small):
    from hepacast.errors import HepacastError
    from hepacast.modelling.importance import feature_groups
    from hepacast.study.analysis_set import analysis_cohort
    from hepacast.study.context import make_context
    from hepacast.study.run import run_study
    from hepacast.study.stages.scrutiny import groupings

    small.values["evaluation"] = {"subgroups": ["inr"]}
    small.write()
    run_study(small.folder, until="radiomics", workers=1)
    context = make_context(small.folder)
    cohort = analysis_cohort(context)
    (labels,) = groupings(context, cohort, cohort.patients).values()
    low, high = sorted(set(labels))
    assert low.startswith("< ") and high == f">= {low[2:]}"
    small.values["evaluation"] = {"subgroups": ["height"]}
    small.write()
    with pytest.raises(HepacastError, match="column that the study does not have"):
        groupings(make_context(small.folder), cohort, cohort.patients)
    names = ["tumor:original_glcm_Idn", "tumor:wavelet-HHH_glcm_Idn", "tumor:original_shape_Volume", "x"]
    assert {name: len(items) for name, items in feature_groups(names).items()} == {
        "tumor, glcm": 2,
        "tumor, shape": 1,
        "x": 1,
    }
