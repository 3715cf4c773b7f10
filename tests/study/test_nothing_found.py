"""`auto` where the features hold nothing, and where they do: report, Methods, bundle and prediction say which."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hepacast.bundle import Bundle
from hepacast.bundle.prediction import predict
from hepacast.study.run import run_study

pytestmark = pytest.mark.usefixtures("figures_as_words")

STUDY = """
hepacast: 1
name: Nothing
cohort:
  table: table.csv
  id: id
  columns:
    time: {column: time, quantity: none, after_event: true}
    event: {column: event, quantity: none, after_event: true}
outcome: OUTCOME
features: {table: features.csv}
modelling:
  candidates: []
  models: [radiomics]
  chain: auto
  validation: {folds: 3, repeats: 1, bootstrap: 0, permutations: 0, learning_curve: 0}
evaluation: {bootstrap: 5}
report: {formats: [html]}
"""
OF_ODDS = "{definition: binary-column, column: event}"
OF_TIMES = "{definition: survival, columns: {time: time, event: event}, horizons: [12], unit: months}"


def run(folder: Path, outcome: str, seed: int, effect: float, n: int = 90, study: str = STUDY) -> Path:
    """A study of twelve features, the first of which may matter; its results folder."""
    rng = np.random.default_rng(seed)
    ids = [f"N{i:03d}" for i in range(n)]
    values = rng.normal(size=(n, 12))
    time = rng.exponential(15 * np.exp(-effect * values[:, 0])).round(2) + 0.01
    stop = rng.uniform(6, 40, n).round(2)
    table = {
        "id": ids,
        "age": rng.integers(40, 80, n),
        "time": np.minimum(time, stop),
        "event": (time <= np.minimum(stop, 15)).astype(int),
    }
    pd.DataFrame(table).to_csv(folder / "table.csv", index=False)
    features = pd.DataFrame(values, columns=[f"tumor:original_glcm_F{j}" for j in range(12)])
    features.insert(0, "id", ids)
    features.to_csv(folder / "features.csv", index=False)
    (folder / "study.yaml").write_text(study.replace("OUTCOME", outcome), encoding="utf-8")
    run_study(folder / "study.yaml", out=folder / "results", workers=1)
    return folder / "results"


def report_text(out: Path) -> str:
    html = " ".join(path.read_text(encoding="utf-8") for path in (out / "report").glob("*.html"))
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


@pytest.mark.parametrize("outcome", [OF_ODDS, OF_TIMES], ids=["odds", "hazards"])
def test_nothing_found_is_said_everywhere(tmp_path: Path, outcome: str) -> None:
    out = run(tmp_path, outcome, seed=3, effect=0.0)
    text = report_text(out)
    assert "Nothing was found" in text and "permuted outcomes" in text
    assert "No signature" in text and not re.search(r"\b(nan|None|inf)\b", text)
    methods = " ".join(item["text"] for item in json.loads((out / "modelling" / "methods.json").read_text()))
    assert "every patient has the same score" in methods and "weighted by their" not in methods
    bundle = Bundle.read(out / "model.hepacast")
    assert not bundle.needs_features("radiomics")
    found = predict(bundle, {})
    assert any("nothing was found" in line for line in found.warnings)
    table = pd.read_csv(tmp_path / "table.csv")
    if outcome == OF_ODDS:
        assert found.risk == pytest.approx(table["event"].mean(), abs=1e-6)
    else:
        # The cumulative hazard of everybody (Nelson-Aalen, as Breslow without predictors), by 12 months.
        order = table.sort_values("time")
        at_risk = np.array([(order["time"] >= t).sum() for t in order["time"]])
        hazard = (order["event"] / at_risk)[order["time"] <= 12].sum()
        assert found.risk == pytest.approx(1 - np.exp(-hazard), abs=0.01)


@pytest.mark.parametrize("outcome", [OF_ODDS, OF_TIMES], ids=["odds", "hazards"])
def test_what_is_there_is_found(tmp_path: Path, outcome: str) -> None:
    out = run(tmp_path, outcome, seed=1, effect=1.2)
    text = report_text(out)
    assert "Nothing was found" not in text and "may be chance" not in text
    methods = " ".join(item["text"] for item in json.loads((out / "modelling" / "methods.json").read_text()))
    assert "weighted by their" in methods and "against permuted outcomes" in methods
    bundle = Bundle.read(out / "model.hepacast")
    names = bundle.models.columns("radiomics")
    low, high = (predict(bundle, {}, dict.fromkeys(names, value)) for value in (-1.0, 1.0))
    assert not any("nothing was found" in line for line in (*low.warnings, *high.warnings))
    assert high.risk > low.risk


def test_what_may_be_chance_is_said(tmp_path: Path) -> None:
    out = run(tmp_path, OF_ODDS, seed=2, effect=0.35)
    text = report_text(out)
    assert "Not shown" in text and "what was found may be chance" in text
    bundle = Bundle.read(out / "model.hepacast")
    found = predict(bundle, {}, dict.fromkeys(bundle.models.columns("radiomics"), 0.0))
    assert any("may be chance" in line for line in found.cautions)


#: A model of a clinical candidate, the features' score and nothing else, whatever the chain.
OF_EVERYTHING = (
    STUDY.replace("[radiomics]", "[clinical, radiomics, joint]\n  combination: auto")
    .replace("chain: auto", "chain: ptlf")
    .replace("candidates: []", "candidates: [age]")
    .replace("  columns:\n", "  columns:\n    age: {column: age}\n")
)


@pytest.mark.parametrize(
    ("outcome", "seed", "effect", "answer"),
    [(OF_ODDS, 3, 0.0, "nothing"), (OF_TIMES, 3, 0.0, "nothing"), (OF_ODDS, 4, 0.4, "chance"), (OF_TIMES, 5, 1.2, "")],
)
def test_a_model_of_everything_says_whether_anything_was_found(tmp_path, outcome, seed, effect, answer) -> None:
    out = run(tmp_path, outcome, seed, effect, study=OF_EVERYTHING)
    text, bundle = report_text(out), Bundle.read(out / "model.hepacast")
    found = predict(bundle, {}, dict.fromkeys(bundle.models.columns("joint"), 0.0))
    told = " ".join((*found.warnings, *found.cautions))
    assert ("nothing was found" in told) == (answer == "nothing")
    assert ("Nothing was found" in text) == (answer != "")  # of chance its nested limits say so
    assert ("may be chance" in told) == ("joint model, what was found may be chance" in text) == (answer == "chance")
    assert ("every patient" in text or "everybody has the same risk" in text) and "counting alike" in text
    if answer == "nothing":
        assert bundle.models.model("joint").names == [] and "permuted outcomes are related to all" in text
