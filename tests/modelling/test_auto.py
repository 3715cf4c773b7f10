"""The one default: sparse, dense and bent signals, noise, and reproducibility."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from hepacast.modelling.auto import SHOWN, AutoClassifier, member_weights
from hepacast.modelling.auto_members import NAMES, fit_members, univariate_t
from hepacast.modelling.frozen_classifiers import freeze_classifier
from hepacast.modelling.grammar import build_radiomics_model
from hepacast.modelling.scale import RankToNormal
from hepacast.stats.global_test import global_test
from hepacast.stats.ranks import auc_from_ranks
from hepacast.stats.tests_columns import univariate_tests


def table(kind: str, n: int = 200, p: int = 120, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p))
    if kind == "sparse":
        log_odds = 2.5 * X[:, 3]
    elif kind == "dense":
        log_odds = X @ rng.normal(size=p) / np.sqrt(p) * 2.5 + 2.0 * X[:, :40].mean(axis=1) * 6
    elif kind == "correlated":
        common = rng.normal(size=n)
        X[:, :60] += common[:, None]
        log_odds = 1.8 * common
    else:
        log_odds = np.zeros(n)
    y = (rng.uniform(size=n) < 1 / (1 + np.exp(-log_odds))).astype(int)
    frame = pd.DataFrame(np.exp(X), index=[f"P{i:03d}" for i in range(n)], columns=[f"f{j}" for j in range(p)])
    return frame, y


@pytest.mark.parametrize(("kind", "least"), [("sparse", 0.82), ("dense", 0.65), ("correlated", 0.75)])
def test_each_kind_of_signal_is_found(kind: str, least: float) -> None:
    X, y = table(kind)
    model = AutoClassifier(n_trees=60).fit(X.iloc[:120], y[:120])
    score = model.decision_function(X.iloc[120:])
    assert auc_from_ranks(y[120:], score) > least
    assert model.status_ == "ok" and sum(model.weights_.values()) == pytest.approx(1)
    risk = model.predict_proba(X.iloc[120:])[:, 1]
    assert abs(risk.mean() - y[120:].mean()) < 0.15
    # A monotone change of a feature changes nothing: only ranks are used.
    changed = AutoClassifier(n_trees=60).fit(np.log(X.iloc[:120]), y[:120])
    np.testing.assert_allclose(changed.predict_proba(np.log(X.iloc[:120])), model.predict_proba(X.iloc[:120]))


def test_noise_is_one_half_and_often_nothing_found() -> None:
    aucs, shown = [], 0
    for seed in range(10):
        X, y = table("noise", n=400, p=60, seed=seed)
        model = AutoClassifier(n_trees=30).fit(X.iloc[:60], y[:60])
        score = model.decision_function(X.iloc[60:])
        shown += model.shown_
        if model.status_ == "no signal":
            assert model.note_.startswith("nothing was found") and not model.weights_ and not model.shown_
            np.testing.assert_array_equal(score, 0.0)  # one score for everybody, the same from fit to fit
            np.testing.assert_allclose(model.predict_proba(X)[:, 1], y[:60].mean())
        elif not model.shown_:
            assert "may be chance" in model.note_ and model.evidence_p_ > SHOWN
        aucs.append(auc_from_ranks(y[60:], score))
    assert aucs.count(0.5) >= 5 and shown <= 1
    assert abs(np.mean(aucs) - 0.5) < 3 * np.std(aucs, ddof=1) / np.sqrt(len(aucs)) + 1e-9


def test_of_permuted_outcomes_one_in_twenty_is_shown() -> None:
    # Correlated columns of skewed values, more of them than rows, a rare outcome: what real tables have.
    X, y = table("correlated", n=50, p=90, seed=4)
    Z = RankToNormal().fit_transform(X).to_numpy()
    generator = np.random.default_rng(1)
    rare = np.arange(50) < 12
    p = np.array([global_test(Z, generator.permutation(rare) - 0.24, generator, 99) for _ in range(400)])
    # 400 x .05: 20, SD 4.4; and .5 as often as it should be.
    assert (p <= SHOWN).sum() <= 33 and abs((p <= 0.5).mean() - 0.5) < 0.08
    assert global_test(Z, y - y.mean(), generator) < 0.02
    # Of many rows the kernel, whose cost goes with their square, is left out: quick, and weak relations are seen.
    wide = generator.normal(size=(2500, 30))
    weak = generator.random(2500) < 0.5 + 0.1 * np.tanh(wide[:, 0])
    assert global_test(wide, weak - weak.mean(), generator, 99) <= SHOWN


@pytest.mark.parametrize("of_time", [False, True])
def test_nothing_is_given_when_only_what_is_shown_is_asked_for(of_time: bool) -> None:
    X, y = table("noise", n=70, p=40, seed=2)
    outcome = np.column_stack([np.random.default_rng(0).exponential(10, 70), y]) if of_time else y
    model = AutoClassifier(n_trees=20, nothing_above=0.05).fit(X, outcome)
    assert model.evidence_p_ > 0.05 and model.status_ == "no signal" and "permuted outcomes" in model.note_
    np.testing.assert_array_equal(model.decision_function(X), 0.0)
    frozen = freeze_classifier(model)
    np.testing.assert_array_equal(frozen.score(X.to_numpy()), 0.0)


def test_seed_and_rows_decide_nothing_else() -> None:
    X, y = table("sparse", n=80)
    first = AutoClassifier(n_trees=30, seed=3).fit(X, y)
    np.testing.assert_array_equal(clone(first).fit(X, y).predict_proba(X), first.predict_proba(X))
    one = first.predict_proba(X.iloc[[7]])
    np.testing.assert_allclose(one, first.predict_proba(X)[[7]])


def test_constant_features_and_none_that_varies() -> None:
    X, y = table("sparse", n=60, p=10)
    flat = pd.DataFrame(np.ones((60, 3)), index=X.index, columns=["a", "b", "c"])
    model = AutoClassifier(n_trees=20).fit(flat, y)
    assert model.status_ == "no signal" and "varies" in model.note_
    np.testing.assert_allclose(model.predict_proba(flat)[:, 1], y.mean())
    mixed = AutoClassifier(n_trees=20).fit(X.assign(flat=1.0), y)
    assert mixed.status_ == "ok"


def test_members() -> None:
    X, y = table("sparse", n=80, p=30)
    Z = ((X - X.mean()) / X.std()).to_numpy()
    t = univariate_t(Z, y)
    np.testing.assert_allclose(t, np.clip(univariate_tests(Z, y, choose="t", equal_var=True).t, -9, 9), rtol=1e-9)
    members = fit_members(Z, y)
    assert set(members) | {"extra trees"} == set(NAMES)
    for name, member in members.items():
        assert auc_from_ranks(y, member.score(Z)) > 0.7, name
    assert np.flatnonzero(members["best two"].coefficients).tolist() == sorted(np.argsort(-np.abs(t))[:2])  # type: ignore[attr-defined]
    assert list(fit_members(Z, y, {"best two": 1.0})) == ["best two"]


def test_clear_signals_choose_and_weak_ones_average() -> None:
    clear = member_weights({"a": 0.80, "b": 0.80, "c": 0.78, "d": 0.6}, 0.04)
    assert clear["a"] == clear["b"] and "d" not in clear
    assert clear["c"] / clear["a"] == pytest.approx(np.exp(-1.0))
    weak = member_weights({"a": 0.56, "b": 0.52, "c": 0.46}, 0.04)
    assert set(weak) == {"a", "b", "c"} and weak["c"] / weak["a"] > 0.6
    assert sum(weak.values()) == pytest.approx(1)


def test_auto_is_a_chain(cohort: Any, feature_table: pd.DataFrame) -> None:
    holes = feature_table.copy()
    holes.iloc[3, 5] = np.nan
    model = build_radiomics_model("auto", score="apparent").fit(holes, cohort.y)
    assert model.status_ == "ok" and model.predict_proba(holes).shape == (150, 2)
    assert model.chain_[-1].weights_
