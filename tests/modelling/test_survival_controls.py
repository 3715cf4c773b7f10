"""Controls of survival models: C is 0.50 where there is nothing to find, and a selection on all patients is caught."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import pytest

from hepacast.modelling.clinical import ClinicalModel
from hepacast.modelling.controls import REAL, ControlRunner, null_distribution, selects, usual_models, usual_way
from hepacast.modelling.importance import learning_curve, permutation_importance
from hepacast.modelling.predictors import Predictor
from hepacast.modelling.study_models import StudyModels
from hepacast.modelling.targets import follow_up
from hepacast.modelling.validation import nested_validation


@pytest.fixture(scope="module")
def noise_table() -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(7)
    n = 80
    table = pd.DataFrame(
        rng.normal(size=(n, 40)), index=[f"P{i:03d}" for i in range(n)], columns=[f"f{j}" for j in range(40)]
    )
    return table, follow_up(rng.exponential(10, n).round(1) + 0.1, rng.uniform(size=n) < 0.7)


def models_of(table: pd.DataFrame) -> StudyModels:
    """A clinical model that chooses among 40 candidates of noise by P."""
    return StudyModels([Predictor(name) for name in table.columns], horizons=(5.0,), models=("clinical",))


def test_time_and_event_stay_together(noise_table) -> None:
    table, outcome = noise_table
    runner = ControlRunner.of(models_of(table), table, outcome, folds=3, seed=1)
    pairs = sorted(map(tuple, outcome))
    for number in range(3):
        frame, dealt = runner.altered(number)
        assert frame is runner.frame
        assert sorted(map(tuple, dealt)) == pairs
        assert not np.array_equal(dealt, runner.outcome)
    assert runner.altered(REAL)[1] is runner.outcome
    rows = np.random.default_rng(0).permutation(len(table))
    other = ControlRunner.of(models_of(table), table.iloc[rows], outcome[rows], folds=3, seed=1)
    assert other(2) == runner(2)


def test_selection_on_all_patients_is_caught_and_the_refitted_chain_is_not(noise_table) -> None:
    table, outcome = noise_table
    models = models_of(table)
    sound = null_distribution(models, table, outcome, 8, folds=4, seed=3)
    leaky = null_distribution(partial(usual_models, models), table, outcome, 8, folds=4, seed=3)
    assert sound.measure == "C"
    assert sound.verdict("clinical").status == "holds"
    found = leaky.verdict("clinical")
    assert found.status == "leak" and found.mean > 0.58
    assert 0 < sound.p["clinical"] <= 1


def test_importance_and_learning_curve_of_a_planted_predictor() -> None:
    rng = np.random.default_rng(2)
    n = 120
    table = pd.DataFrame(rng.normal(size=(n, 3)), index=[f"P{i:03d}" for i in range(n)], columns=["a", "b", "c"])
    time = rng.exponential(np.exp(-1.5 * table["a"]) * 10)
    outcome = follow_up(np.minimum(time, 15) + 0.01, time < 15)
    models = StudyModels(
        [Predictor(name) for name in table.columns],
        horizons=(5.0,),
        models=("clinical",),
        clinical=ClinicalModel(keep="given"),
    )
    losses = permutation_importance(models, table, outcome, folds=3, shuffles=3, seed=1)
    assert losses["name"].iloc[0] == "a" and losses["loss"].iloc[0] > 0.2
    assert losses["loss"].iloc[1:].abs().max() < 0.05
    curve = learning_curve(models, table, outcome, (0.4, 1.0), folds=3, repeats=1, seed=1)
    assert list(curve.columns) == ["model", "share", "n_train", "c", "sd", "n_failed"]
    assert curve["c"].min() > 0.7 and curve["n_failed"].sum() == 0
    # Everybody has the event: there is one class only, and no share of the other.
    everyone = follow_up(time, np.ones(n))
    assert learning_curve(models, table, everyone, (0.5,), folds=3, repeats=1)["c"].iloc[0] > 0.7


def test_the_usual_way_flatters_on_noise(noise_table) -> None:
    table, outcome = noise_table
    models = models_of(table)
    usual = usual_way(models, table, outcome, folds=4, repeats=2, seed=5).estimate("clinical")["value"]
    honest = nested_validation(models, table, outcome, folds=4, repeats=2, seed=5).estimate("clinical")["value"]
    assert usual > honest + 0.05


def test_what_counts_as_selection(noise_table) -> None:
    table, _ = noise_table
    models = models_of(table)
    assert selects(models)
    given = models_of(table).set_params(clinical=ClinicalModel(keep="given"))
    assert not selects(given)
    assert selects(given.set_params(models=("clinical", "radiomics")))
    assert not selects(models.set_params(models=("binary",)))
