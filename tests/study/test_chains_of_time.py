"""Time-to-event studies with the chains that binary ones have: from the study file to report and bundle."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hepacast.bundle import Bundle
from hepacast.modelling.predictions import Predictions
from hepacast.study.run import run_study

pytestmark = pytest.mark.usefixtures("figures_as_words")

STUDY = """
hepacast: 1
name: Chains
cohort:
  table: table.csv
  id: id
  columns:
    size: {column: size, quantity: none}
    bilirubin: {column: tb, quantity: bilirubin, unit: umol/L}
    albumin: {column: alb, quantity: albumin, unit: g/L}
    time: {column: time, quantity: none, after_event: true}
    event: {column: event, quantity: none, after_event: true}
  split: {by: column, column: set, training: [1], validation: [2]}
outcome: {definition: survival, columns: {time: time, event: event}, horizons: [10, 20], unit: months}
features: {table: features.csv}
modelling:
  candidates: [size]
  models: [clinical, radiomics, combined]
  chain: CHAIN
  validation: {folds: 3, repeats: 1, bootstrap: 0, permutations: 1, learning_curve: 0}
indexes: {scores: [ALBI]}
evaluation: {bootstrap: 5}
report: {formats: [html]}
"""


def write_study(folder: Path, chain: str, n: int = 120) -> Path:
    """Size and the first feature matter."""
    rng = np.random.default_rng(5)
    ids = [f"S{i:03d}" for i in range(n)]
    size, signal = rng.normal(50, 10, n).round(1), rng.normal(size=n)
    event = rng.exponential(1 / (0.06 * np.exp(0.08 * (size - 50) + signal)))
    censored = rng.uniform(8, 60, n)
    time, happened = np.minimum(event, censored).round(2) + 0.01, (event <= censored).astype(int)
    table = {"id": ids, "set": np.where(np.arange(n) % 3 == 0, 2, 1), "size": size, "time": time, "event": happened}
    table |= {"tb": rng.normal(15, 4, n).clip(4).round(1), "alb": rng.normal(40, 4, n).round(1)}
    pd.DataFrame(table).to_csv(folder / "table.csv", index=False)
    features = pd.DataFrame(rng.normal(size=(n, 8)), columns=[f"tumor:original_glcm_F{j}" for j in range(8)])
    features["tumor:original_glcm_F0"] = signal + 0.2 * rng.normal(size=n)
    features.insert(0, "id", ids)
    features.to_csv(folder / "features.csv", index=False)
    (folder / "study.yaml").write_text(STUDY.replace("CHAIN", chain), encoding="utf-8")
    return folder / "study.yaml"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("chain", "said"),
    [
        ("auto", "weighted by their C in inner folds"),
        ("{classifier: random_forest}", "classifiers learned the event by 20 months"),
        ("{stack: [ridge, svm]}", "weighted by the inverse of their probability of not being censored"),
        ("{selector: mrmr, n_features: 3, classifier: ridge}", "linear predictor of a Cox model"),
    ],
)
def test_a_chain_goes_to_report_and_bundle(tmp_path: Path, chain: str, said: str) -> None:
    out = tmp_path / "results"
    run_study(write_study(tmp_path, chain), out=out, workers=1)
    predictions = Predictions.read(out / "modelling" / "predictions.parquet")
    assert predictions.horizons == (10.0, 20.0) and predictions.models == ["clinical", "radiomics", "combined"]
    item = predictions.judged()["validation"]
    assert all(np.isfinite(risk).all() for by_time in item.risks.values() for risk in by_time.values())
    assert (item.risks["radiomics"][10.0] <= item.risks["radiomics"][20.0]).all()
    content = json.loads((out / "modelling" / "methods.json").read_text(encoding="utf-8"))
    assert any(said in entry["text"] for entry in content)
    html = " ".join(path.read_text(encoding="utf-8") for path in (out / "report").glob("*.html"))
    text = " ".join(re.sub(r"<[^>]+>", " ", html).split())
    assert "Harrell" in text and not re.search(r"\b(nan|None|inf)\b", text)
    found = json.loads((out / "indexes" / "indexes.json").read_text(encoding="utf-8"))
    assert found["measure"] == "C" and set(found["sets"]) == {"training", "validation"}
    row = found["sets"]["validation"]["rows"][0]
    assert row["name"] == "ALBI" and 0 <= row["p"] <= 1 and row["nri"] is None
    assert found["sets"]["validation"]["discrimination"]["value"] > row["discrimination"]["value"]
    # The run compared the bundle's risks with its own (they are the same); here that they can be opened.
    assert Bundle.read(out / "model.hepacast").models.horizons == (10.0, 20.0)
