"""Controls: a sound chain is at 0.50 where there is nothing to find, and a chain that leaks is caught."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import pytest

from hepacast.modelling.controls import (
    REAL,
    ControlRunner,
    NullDistribution,
    RoundResult,
    Verdict,
    null_distribution,
    usual_models,
)
from hepacast.modelling.study_models import StudyModels
from hepacast.stats.ranks import auc_from_ranks

from .conftest import Planted


@pytest.fixture(scope="module")
def noise_table() -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(4)
    ids = [f"P{i:03d}" for i in range(70)]
    table = pd.DataFrame(rng.normal(size=(70, 120)), index=ids, columns=[f"f{j}" for j in range(120)])
    return table, (rng.uniform(size=70) < 0.4).astype(int)


def test_a_leaky_chain_is_caught_and_the_same_chain_refitted_is_not(noise_table) -> None:
    X, y = noise_table
    models = StudyModels(models=("radiomics",))
    sound = null_distribution(models, X, y, 8, folds=4, seed=2).verdict("radiomics")
    leaky = null_distribution(partial(usual_models, models), X, y, 8, folds=4, seed=2).verdict("radiomics")
    assert sound.status == "holds" and sound.low < 0.5 < sound.high
    assert leaky.status == "leak" and leaky.mean > 0.65
    assert "may not" in leaky.text() and "as it must be" in sound.text()


def test_rounds_do_not_depend_on_one_another(noise_table) -> None:
    X, y = noise_table
    runner = ControlRunner.of(StudyModels(models=("radiomics",)), X, y, folds=3, seed=1)
    assert runner(3) == runner(3)
    rows = np.random.default_rng(0).permutation(len(y))
    other = ControlRunner.of(StudyModels(models=("radiomics",)), X.iloc[rows], y[rows], folds=3, seed=1)
    assert other(3) == runner(3)
    outcomes = {tuple(runner.altered(number)[1]) for number in range(5)}
    assert len(outcomes) == 5 and {sum(item) for item in outcomes} == {y.sum()}


def test_what_each_control_leaves(cohort: Planted) -> None:
    models = StudyModels(cohort.predictors)
    for control in ("shuffled features", "noise features"):
        runner = ControlRunner.of(models, cohort.table, cohort.y, control=control)
        frame, outcome = runner.altered(0)
        assert list(frame.columns) == list(cohort.table.columns)
        pd.testing.assert_frame_equal(frame[["inr", "child"]], runner.frame[["inr", "child"]])
        np.testing.assert_array_equal(outcome, runner.outcome)
        assert not np.allclose(frame[cohort.features], runner.frame[cohort.features])
        assert runner.altered(REAL)[0] is runner.frame
    shuffled = ControlRunner.of(models, cohort.table, cohort.y, control="shuffled features").altered(0)[0]
    rows = {tuple(row) for row in shuffled[cohort.features].to_numpy()}
    assert rows == {tuple(row) for row in cohort.table[cohort.features].to_numpy()}


def test_permutation_p_by_hand() -> None:
    rounds = [RoundResult(REAL, (0.7,))] + [RoundResult(k, (v,)) for k, v in enumerate((0.4, 0.7, 0.5, 0.6))]
    found = NullDistribution.of("permuted outcome", ["m"], rounds)
    assert found.p["m"] == pytest.approx(2 / 5)
    failed = NullDistribution.of("permuted outcome", ["m"], [*rounds, RoundResult(9, (np.nan,), ({"round": 9},))])
    assert len(failed.values["m"]) == 4 and failed.failures == [{"round": 9}]
    unknown = NullDistribution.of("permuted outcome", ["m"], [RoundResult(REAL, (np.nan,)), *rounds[1:]])
    assert np.isnan(unknown.p["m"])


def test_verdicts() -> None:
    assert Verdict.of(np.array([0.5])).status == "unknown"
    assert Verdict.of(np.full(20, 0.5)).status == "holds"
    rng = np.random.default_rng(0)
    assert Verdict.of(0.40 + 0.05 * rng.normal(size=50)).status == "biased"
    # A scorer of nothing: random scores of random outcomes, many times.
    aucs = np.array([auc_from_ranks(rng.permutation([0, 1] * 20), rng.normal(size=40)) for _ in range(300)])
    found = Verdict.of(aucs)
    assert found.status == "holds"
    assert found.se == pytest.approx(aucs.std(ddof=1) / np.sqrt(300))
