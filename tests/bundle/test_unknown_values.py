"""A value that nobody knows widens the interval, and says so; the page tells what the model has shown."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hepacast.bundle import Bundle, Prediction, predict
from hepacast.bundle.page import write_page
from hepacast.bundle.prediction import COEFFICIENTS
from hepacast.cohort import ColumnSpec
from hepacast.errors import BundleError
from hepacast.evaluation.validated import ValidatedPerformance
from hepacast.modelling.frozen_models import FrozenModels
from hepacast.modelling.known_values import PROBABILITIES, TrainingDistribution
from hepacast.modelling.logistic_model import LogisticModel
from hepacast.modelling.predictors import Predictor
from hepacast.radiomics.recipe import ImageRecipe

N = 400
COLUMNS = ("alb", "bili", "stage")


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    g = np.random.default_rng(5)
    frame = pd.DataFrame({"alb": g.normal(38, 5, N).round(1), "bili": np.exp(g.normal(2.7, 0.5, N)).round(1)})
    return frame.assign(stage=g.choice(["A", "B", "C"], N, p=[0.5, 0.3, 0.2]))


def model_of(table: pd.DataFrame) -> FrozenModels:
    shift = table["stage"].map({"A": 0.0, "B": 0.7, "C": 1.6})
    lp = -0.25 * (table["alb"] - 38) + 0.05 * (table["bili"] - 15) + shift - 0.4
    y = (np.random.default_rng(6).random(N) < 1 / (1 + np.exp(-lp))).astype(int)
    predictors = [
        Predictor("alb", label="Albumin"),
        Predictor("bili", label="Bilirubin"),
        Predictor("stage", "categorical", ("A", "B", "C"), label="Stage"),
    ]
    fitted = LogisticModel(predictors).fit(table, y)
    return FrozenModels({"clinical": fitted.frozen_}, None, {"clinical": 0.5})


@pytest.fixture(scope="module")
def bundle(table: pd.DataFrame) -> Bundle:
    columns = (
        ColumnSpec("alb", label="Albumin", unit="g/L", kind="numeric"),
        ColumnSpec("bili", label="Bilirubin", unit="umol/L", kind="numeric"),
        ColumnSpec("stage", label="Stage", kind="categorical", levels={level: (level,) for level in "ABCD"}),
    )
    row = ValidatedPerformance("validation", 90, 31, "AUC", 0.74, 0.63, 0.85, (0.8, 0.5, 1.1), (1.1, 0.8, 1.5))
    card = {
        "name": "Liver study",
        "outcome": {"name": "PTLF"},
        "intended_use": "tests",
        "conformal": {"model": "clinical", "level": 0.9, "event_from": 0.2, "no_event_to": 0.6, "coverage": []},
        "validated": {"level": 0.95, "models": {"clinical": [row.to_json()]}},
        "verdicts": {"clinical": ["Risks of the clinical model do not carry over to the validation set."]},
    }
    training = TrainingDistribution.of(table, ["stage"])
    return Bundle(model_of(table), columns, ImageRecipe("none"), None, card, training=training)


def of(bundle: Bundle, **labs: object) -> Prediction:
    known = {"alb": 38, "bili": 15, "stage": "A"} | labs
    return predict(bundle, {name: str(value) for name, value in known.items()})


@pytest.mark.parametrize("others", [{}, {"bili": 40}, {"stage": "C"}, {"bili": 8, "stage": "B"}])
def test_the_interval_holds_the_risks_of_the_known_values(bundle, table, others):
    for name in COLUMNS:
        rest = {key: value for key, value in others.items() if key != name}
        unknown = of(bundle, **rest, **{name: "NA"})
        if name == "stage":
            values = ["A", "B", "C"]
        else:
            low, high = np.quantile(table[name], [0.025, 0.975])
            values = [round(float(value), 1) for value in np.linspace(low, high, 9)]
        risks = [of(bundle, **rest, **{name: value}).risk for value in values]
        assert unknown.low <= min(risks) and unknown.high >= max(risks)
        typical = of(bundle, **rest, **{name: "A" if name == "stage" else round(float(table[name].median()), 1)})
        assert unknown.high - unknown.low > typical.high - typical.low
        assert unknown.interval_of != COEFFICIENTS and "not known" in unknown.text()


def test_more_that_is_unknown_is_never_narrower(bundle):
    one, two, all_three = (
        of(bundle, alb="NA"),
        of(bundle, alb="NA", stage="NA"),
        of(bundle, alb="NA", stage="NA", bili="NA"),
    )
    widths = [item.high - item.low for item in (of(bundle), one, two, all_three)]
    assert widths == sorted(widths) and widths[3] > 0.5
    assert of(bundle, alb="NA") == one  # the same patient, the same draws


def test_a_level_that_training_never_had_is_as_unknown_as_none(bundle):
    new, none = of(bundle, stage="D"), of(bundle, stage="NA")
    assert (new.low, new.high) == (none.low, none.high)
    assert new.conformal is not None and new.conformal.label is None and "Stage" in new.conformal.reason


def test_what_stands_in_has_the_words_of_the_study(bundle, table):
    assert "Stage: missing; the most frequent level stands in for it: A" in of(bundle, stage="NA").warnings
    cirrhotic = table.assign(cirrhosis=(table["alb"] < 41).astype(float))
    y = (np.random.default_rng(6).random(N) < 0.2 + 0.5 * cirrhotic["cirrhosis"]).astype(int)
    fitted = LogisticModel([Predictor("cirrhosis", "binary", label="Cirrhosis")]).fit(cirrhotic, y)
    words = {"absent": ("absent",), "present": ("present",)}
    other = replace(
        bundle,
        columns=(ColumnSpec("cirrhosis", label="Cirrhosis", kind="binary", levels=words),),
        models=FrozenModels({"clinical": fitted.frozen_}, None, {"clinical": 0.5}),
    )
    told = predict(other, {"cirrhosis": "NA"}).warnings
    assert "Cirrhosis: missing; the most frequent level stands in for it: present" in told


def test_what_a_bundle_of_earlier_versions_cannot_tell(bundle):
    old = replace(bundle, training=None)
    assert of(old).low == of(bundle).low
    found = of(old, alb="NA")
    assert np.isnan(found.low) and np.isnan(found.high)
    assert "no interval: the bundle does not say what the value that is not known may be (Albumin)" in found.text()
    assert found.to_json()["low"] is None
    json.dumps(found.to_json(), allow_nan=False)


def test_out_of_range_unknown_and_doubtful_get_no_set(bundle):
    assert of(bundle).conformal.label is not None
    for labs in ({"alb": 70}, {"bili": "NA"}):
        found = of(bundle, **labs)
        assert found.conformal.label is None and "like those of the training" in found.conformal.reason
    doubtful = predict(bundle, {"alb": "38", "bili": "15", "stage": "A"}, doubts=("liver: the mask holds air",))
    assert doubtful.conformal.label is None and "holds air" in doubtful.conformal.reason
    assert "warning: liver: the mask holds air" in doubtful.text()


def test_the_distribution_holds_no_patient_and_is_checked_when_read(bundle, table, tmp_path):
    assert bundle.training is not None
    entry = bundle.training.to_dict()
    for name in ("alb", "bili"):
        kept = entry["quantiles"][name]
        assert len(kept) == len(PROBABILITIES) and min(kept) > table[name].min() and max(kept) < table[name].max()
    bundle.write(tmp_path / "m.hepacast")
    read = Bundle.read(tmp_path / "m.hepacast")
    assert of(read, alb="NA").low == of(bundle, alb="NA").low
    for key, value in (
        ("quantiles", {"alb": [1, 2, 3, 2, 5, 6, 7], "bili": entry["quantiles"]["bili"]}),
        ("correlation", [[1.0, 2.0], [2.0, 1.0]]),
        ("shares", {"stage": {"A": "1"}}),
        ("probabilities", [0.1]),
    ):
        with pytest.raises(BundleError) as refusal:
            spoilt = tmp_path / f"{key}.hepacast"
            replace(bundle, training=_Spoilt(entry | {key: value})).write(spoilt)  # type: ignore[arg-type]
            Bundle.read(spoilt)
        assert "not valid" in str(refusal.value)


class _Spoilt:
    def __init__(self, entry: dict) -> None:
        self.to_dict = lambda: entry


def test_correlated_values_are_drawn_given_each_other():
    g = np.random.default_rng(1)
    x = g.normal(size=300)
    frame = pd.DataFrame({"a": 50 + 10 * x, "b": np.exp(2 + 0.5 * (0.9 * x + 0.436 * g.normal(size=300)))})
    known = TrainingDistribution.of(frame.assign(c=np.random.default_rng(8).normal(size=300)), [])
    assert known.correlation[0][1] == pytest.approx(0.9, abs=0.03) and known.correlation[0][2] == 0.0
    low, high = (known.draw({"a": value, "c": 0.0}, ["b"], 2000)["b"] for value in (35, 65))
    anyone = known.draw({}, ["b"], 2000)["b"]
    # exp(2 + 0.5 * 0.9 * z) at z = -1.5, 1.5 and 0.
    assert np.median(low) == pytest.approx(np.exp(2 - 0.675), rel=0.15)
    assert np.median(high) == pytest.approx(np.exp(2 + 0.675), rel=0.15)
    assert np.quantile(anyone, 0.975) == pytest.approx(np.quantile(frame["b"], 0.975), rel=0.05)
    assert np.log(low).std() < 0.7 * np.log(anyone).std() and anyone.min() > 0
    assert not TrainingDistribution.of(frame.iloc[:10], []).knows("a")


@pytest.mark.parametrize("n", [20, 30, 69, 70, 80])
def test_no_smallest_and_no_largest_value_is_kept(n):
    values = np.sort(np.exp(np.random.default_rng(n).normal(2, 1, n)))
    kept = TrainingDistribution.of(pd.DataFrame({"x": values}), []).quantiles["x"]
    rounded = [float(f"{value:.3g}") for value in values]
    assert kept[0] != rounded[0] and kept[-1] != rounded[-1]
    assert list(kept) == sorted(kept) and min(kept) > 0
    assert np.isfinite(np.log(TrainingDistribution({"x": kept}, ((1.0,),)).draw({}, ["x"], 500)["x"])).all()


def test_text_and_page_say_what_validation_showed(bundle, tmp_path):
    pypdf = pytest.importorskip("pypdf", reason="pypdf is not installed")
    found = replace(of(bundle, alb=70), patient="S-017", date="2026-03-01")
    text = found.text()
    assert text.startswith("caution: Risks of the clinical model do not carry over")
    assert "validated: AUC 0.74 (95% CI 0.63 to 0.85), calibration slope 0.80, observed/expected events 1.10" in text
    assert "90 patients (31 with the event), validation set" in text
    page = write_page(bundle, found, tmp_path / "p.pdf")
    shown = re.sub(r"\s+", " ", " ".join(part.extract_text() for part in pypdf.PdfReader(page).pages))
    for words in ("Patient code: S-017", "Date: 2026-03-01", "AUC 0.74", "do not carry over", "conformal set: none"):
        assert words.lower() in shown.lower()
    assert Path(page).stat().st_size > 5000


def test_texts_that_no_page_holds_are_cut(bundle, tmp_path):
    long = "Word" * 5000
    card = {**bundle.card, "name": long, "outcome": {"name": long}, "verdicts": {"clinical": [long]}}
    columns = tuple(replace(item, label=long) if item.name == "alb" else item for item in bundle.columns)
    told = replace(bundle, card=card, columns=columns)
    assert write_page(told, of(told), tmp_path / "p.pdf").stat().st_size > 5000
