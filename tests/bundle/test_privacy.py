"""What a bundle tells of its training patients: no value of a single one, but for classifiers that need them, told."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from hepacast.bundle import Bundle
from hepacast.bundle.container import read_container
from hepacast.cohort import ColumnSpec
from hepacast.errors import BundleError
from hepacast.modelling.cox_model import CoxModel
from hepacast.modelling.frozen_models import FrozenModels
from hepacast.modelling.known_values import TrainingDistribution
from hepacast.modelling.logistic_model import LogisticModel
from hepacast.modelling.predictors import Predictor
from hepacast.modelling.targets import follow_up
from hepacast.radiomics.recipe import ImageRecipe
from hepacast.stats.coarse import coarse_range
from hepacast.study.stages import bundle as stage
from hepacast.web.predictions import form_of

OLD = Path(__file__).parent / "old" / "2313617"
CARD = {"name": "Study", "intended_use": "tests", "outcome": {"name": "Event", "positive": "event"}}


def numbers_in(value):
    """Every number of a document, also those that are texts."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from numbers_in(key)
            yield from numbers_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from numbers_in(item)
    elif isinstance(value, np.ndarray):
        yield from (float(item) for item in value.ravel())
    else:
        try:
            yield float(value)
        except (TypeError, ValueError):
            return


def told_of(path):
    """Every number of a bundle."""
    content = read_container(path, lambda name: True)
    return np.array(
        [*numbers_in(dict(content.documents)), *numbers_in({k: dict(v) for k, v in content.tensors.items()})]
    )


def training(n=140, seed=3):
    g = np.random.default_rng(seed)
    table = pd.DataFrame({"alb": g.normal(38, 5, n), "afp": np.exp(g.normal(4, 2, n)), "size": g.uniform(1, 9, n)})
    lp = -0.15 * (table["alb"] - 38) + 0.25 * np.log(table["afp"]) - 1.2
    return table, lp, g


@pytest.mark.parametrize("timed", [False, True])
def test_no_extreme_value_of_training_is_in_a_bundle(tmp_path, timed):
    table, lp, g = training()
    predictors = [Predictor("alb"), Predictor("afp", log="log2"), Predictor("size")]
    if timed:
        time, censored = g.exponential(30 * np.exp(-lp)), g.uniform(5, 60, len(table))
        y = follow_up(np.minimum(time, censored), (time <= censored).astype(int))
        fitted = CoxModel(predictors, (12.0,)).fit(table, y)
        extremes = [np.sort(y[:, 0])[-3:]]
    else:
        fitted = LogisticModel(predictors).fit(table, (g.random(len(table)) < 1 / (1 + np.exp(-lp))).astype(int))
        extremes = []
    models = FrozenModels({"m": fitted.frozen_}, None, {"m": 0.4}, (12.0,) if timed else (), "months" if timed else "")
    columns = tuple(ColumnSpec(name, "numeric") for name in table)
    bundle = Bundle(models, columns, ImageRecipe("none"), None, CARD, training=TrainingDistribution.of(table, []))
    bundle.write(tmp_path / "model.hepacast")
    told = told_of(tmp_path / "model.hepacast")
    assert len(told) > 60
    extremes += [np.sort(table[name])[[0, 1, 2, -3, -2, -1]] for name in table]
    for value in np.concatenate(extremes):
        close = told[np.isclose(told, value, rtol=1e-5, atol=0)]
        assert not len(close), f"{value} of one patient is told as {close}"
    # The mark of what is unlike the training is still there.
    far = pd.DataFrame({"alb": [80.0, 38.0], "afp": [60.0, 60.0], "size": [4.0, 40.0]})
    marked = {(entry["row"], entry["name"]) for entry in models.unusual(far)}
    assert marked == {(0, "alb"), (1, "size")}


def test_the_coarse_range_marks_no_more_patients_than_the_exact_one():
    g = np.random.default_rng(5)
    draws = {
        "normal": lambda n: g.normal(38, 5, n),
        "lognormal": lambda n: np.exp(g.normal(3.5, 0.8, n)),
        "uniform": lambda n: g.uniform(1, 9, n),
    }
    for draw in draws.values():
        exact, coarse = [], []
        for _ in range(200):
            old, new = draw(150), draw(300)
            low, high = coarse_range(old)
            exact.append(np.mean((new < old.min()) | (new > old.max())))
            coarse.append(np.mean((new < low) | (new > high)))
            assert high - low < 2 * np.ptp(old), "what is far outside is marked"
        assert np.mean(coarse) <= np.mean(exact) + 0.001


def test_ends_that_many_patients_share_are_told_as_they_are():
    assert coarse_range([0] * 20 + [1] * 15 + [2] * 6) == (0.0, 2.0)
    assert coarse_range([np.nan, 3.0, 3.0]) == (3.0, 3.0)
    low, high = coarse_range(np.exp(np.random.default_rng(1).normal(0, 2, 100)))
    assert 0 < low < 0.1 and high > 20, "a concentration has no end at 0: its logarithm would have none"


def test_rare_levels_are_not_told():
    table = pd.DataFrame({"stage": ["A"] * 60 + ["B"] * 30 + ["D"] * 4})
    assert TrainingDistribution.of(table, ["stage"]).shares == {"stage": {"A": 0.64, "B": 0.32}}


@pytest.mark.parametrize(
    ("name", "held"), [("auto", ["patients of a kernel machine", "values of each feature"]), ("fusion", [])]
)
def test_models_that_hold_training_patients_say_so_and_are_refused(name, held):
    bundle = Bundle.read(OLD / f"{name}.hepacast")
    text = bundle.text()
    assert all(words in text for words in held) and ("single training patients" in text) == bool(held)
    assert form_of(bundle)["held"] == bundle.held_text(), "the page of one patient shows it"
    if held:
        with pytest.raises(BundleError, match="single training patients"):
            bundle.require_without_rows()
    else:
        bundle.require_without_rows()


def test_a_run_says_so_when_it_writes_and_writes_none_without_rows(tmp_path, monkeypatch):
    for name in ("write_network_bundle", "require_same_predictions"):
        monkeypatch.setattr(stage, name, lambda *_: None)
    monkeypatch.setattr(stage, "require_frozen", lambda _: {})
    monkeypatch.setattr(stage, "make_bundle", lambda _: Bundle.read(OLD / "auto.hepacast"))
    for without in (False, True):
        said, folder = [], tmp_path / str(without)
        folder.mkdir()
        stage.write(SimpleNamespace(without_rows=without, reporter=SimpleNamespace(say=said.append)), folder)
        assert (folder / stage.FILE).exists() != without and "single training patients" in said[0]
        told = folder / ("no-bundle.txt" if without else stage.HELD)
        assert "confidential" in told.read_text() or "training table" in told.read_text()


AUTO, HELD = str(OLD / "auto.hepacast"), "holds measured values of single training patients"


@pytest.mark.parametrize(
    "words",
    [
        ["predict", AUTO, "size=2.2", "--model", "clinical"],
        ["predict", AUTO, "--table", "patients.csv", "--out", "out"],
        ["validate", AUTO, "study.yaml"],
        ["compare", AUTO, str(OLD / "clinical.hepacast"), "study.yaml"],
        ["monitor", AUTO, "risks.csv", "--out", "out"],
        ["page", AUTO, "--out", "page.html"],
        ["sign", AUTO, "--key", "key.pem", "--out", "signed.hepacast"],
    ],
    ids=lambda words: " ".join(words[:1] + [word for word in words if word == "--table"]),
)
def test_whoever_reads_or_sends_such_a_model_is_told_or_has_it_refused(hepacast, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "patients.csv").write_text("patient,size\nA,2.2\n")
    refused = hepacast(*words, "--without-rows")
    assert refused.code == 2 and HELD not in refused.err and "patients of a kernel machine" in refused.err
    assert [item.name for item in tmp_path.iterdir()] == ["patients.csv"]
    assert HELD in hepacast(*words).err
    plain = [str(OLD / "clinical.hepacast") if word == AUTO else word for word in words]
    assert "single training patients" not in hepacast(*plain, "--without-rows").err
