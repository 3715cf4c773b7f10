"""Competing classifiers and networks: chosen inside, judged outside, and blind to who is predicted."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from hepacast.errors import ModelError
from hepacast.modelling.auto import AutoClassifier
from hepacast.modelling.fusion import (
    BIOMARKERS,
    CLINICAL,
    DL_SCORE,
    NETWORK,
    Family,
    FusionSpec,
    View,
    fit_view,
    inner_rank,
)
from hepacast.modelling.grammar import NAMED, ChainSpec, classifier_of
from hepacast.modelling.predictors import Predictor
from hepacast.modelling.targets import rank_score

CHAIN = ChainSpec.load({"univariate": 0.1, "selector": "none", "redundancy": 0.9})


def data(n=90, n_test=30, p=12, signal=1.4, seed=0):
    rng = np.random.default_rng(seed)
    index = [f"P{i:03d}" for i in range(n + n_test)]
    hidden, age = rng.normal(size=(2, n + n_test))
    y = (rng.random(n + n_test) < 1 / (1 + np.exp(-(signal * hidden + 0.7 * signal * age)))).astype(int)
    features = pd.DataFrame(rng.normal(size=(n + n_test, p)), index=index, columns=[f"f{j}" for j in range(p)])
    features["f0"] += 1.2 * hidden
    features["f1"] -= 1.0 * hidden
    clinical = pd.DataFrame({"age": 60 + 8 * age, "alt": rng.gamma(3, 12, n + n_test)}, index=index)
    networks = {
        "good": pd.Series(hidden + rng.normal(size=n + n_test), index=index),
        "noise": pd.Series(rng.normal(size=n + n_test), index=index),
    }
    outcome = pd.Series(y, index=index)
    inner = pd.Series(np.arange(n) % 4, index=index[:n])
    view = View("final", outcome[:n], inner, tuple(index[n:]), clinical, {"Radscore": features}, networks)
    return view, outcome


def spec(classifiers=("logistic", "knn"), models=None):
    models = models or {
        "CR": (CLINICAL,), "R": ("Radscore",), "DL": (NETWORK,), "DLRCR": (NETWORK, "Radscore", CLINICAL),
    }  # fmt: skip
    predictors = (Predictor("age"), Predictor("alt"))
    return FusionSpec((Family("Radscore", CHAIN, classifiers),), models, predictors, seed=3)


def test_the_joined_model_uses_all_parts_and_is_at_least_as_good():
    view, outcome = data(n=240, n_test=200)
    result = fit_view(view, spec())
    y = outcome[list(view.test)].to_numpy()

    def auc(risk):
        r = risk.to_numpy()
        return (r[y == 1][:, None] > r[y == 0][None, :]).mean()

    risks = result.test.main
    aucs = {name: auc(risks[name]) for name in risks}
    assert aucs["DLRCR"] > max(aucs["CR"], aucs["R"], aucs["DL"]) - 0.02
    assert aucs["DLRCR"] > 0.75
    names = {source.name for source in result.models["DLRCR"].sources}
    assert {DL_SCORE, "Radscore", "age"} <= names
    assert set(result.scores.columns) == {DL_SCORE, "Radscore"}
    assert {c.name for c in result.candidates if c.part == NETWORK and c.chosen} == {"good"}


@pytest.mark.parametrize("time", [False, True])
def test_biomarkers_are_a_part_of_their_own_and_leave_the_other_models_as_they_were(time):
    view, outcome = data(n=150, n_test=60)
    rules = spec(("logistic",))
    if time:
        times = pd.DataFrame({"time": 900.0 - 400 * outcome + view.clinical["alt"], "code": outcome.astype(float)})
        view = replace(view, outcome=times.loc[view.outcome.index])
        rules = replace(rules, horizons=(500.0,), unit="days", cut="median")
    rng = np.random.default_rng(8)
    measured = "biomarker/portal/tumor_minus_liver"
    clinical = view.clinical.assign(**{measured: outcome + rng.normal(size=len(outcome))})
    models = {**rules.models, "B": (BIOMARKERS,), "all": (BIOMARKERS, CLINICAL, "Radscore", NETWORK)}
    predictors = (*rules.predictors, Predictor(measured))
    wider = replace(rules, models=models, predictors=predictors, biomarkers=frozenset({measured}))
    before, after = fit_view(view, rules), fit_view(replace(view, clinical=clinical), wider)
    pd.testing.assert_frame_equal(after.test.main[list(rules.models)], before.test.main)
    assert after.models["B"].names == [measured]
    # What Akaike's criterion keeps enters; all is shrunk, so nothing has a P.
    assert {"age", measured, "Radscore", DL_SCORE} <= set(after.models["all"].names)
    assert all(np.isnan(p) for p in list(after.models["all"].p_values)[1:])
    y = outcome[list(view.test)].to_numpy()
    better = rank_score(y, after.test.linear_predictors["all"].to_numpy())
    assert better > rank_score(y, after.test.linear_predictors["DLRCR"].to_numpy())


def test_a_score_of_all_features_is_not_made_of_those_that_a_chain_selects():
    """What many features tell together is lost where each must tell something by itself."""
    rng = np.random.default_rng(2)
    view, outcome = data(n=120, n_test=300, p=40, signal=3.0)
    hidden = outcome.to_numpy() - 0.5
    weak = pd.DataFrame({f"f{j}": rng.normal(size=len(hidden)) + 0.35 * hidden for j in range(60)}, index=outcome.index)
    families = (*spec().families, Family("Auto score", NAMED["auto"], ("auto",)))
    rules = replace(spec(), models={"R": ("Radscore",), "A": ("Auto score",)}, families=families)
    tables = {"Radscore": weak, "Auto score": weak}
    result = fit_view(replace(view, features=tables), rules)
    y = outcome[list(view.test)].to_numpy()
    reached = {name: rank_score(y, result.test.main[name].to_numpy()) for name in ("R", "A")}
    assert reached["A"] > reached["R"] + 0.03
    assert isinstance(classifier_of("auto", {}, "none", 3, horizon=24.0), AutoClassifier)


def test_the_choice_is_the_best_of_the_inner_folds():
    view, _ = data()
    result = fit_view(view, spec(("knn", "logistic", "naive_bayes")))
    for part in ("Radscore", NETWORK):
        rows = [c for c in result.candidates if c.part == part]
        assert sum(c.chosen for c in rows) == 1
        assert max(rows, key=lambda c: c.inner).chosen
    for name, score in view.networks.items():
        row = next(c for c in result.candidates if c.name == name)
        assert row.inner == pytest.approx(inner_rank(view, score)[0])


def test_predicted_patients_have_no_say():
    """Other values of the predicted patients change no choice, no model and no training score."""
    view, _ = data()
    altered_features = view.features["Radscore"].copy()
    altered_features.loc[list(view.test)] = 99.0
    altered = View(view.label, view.outcome, view.inner, view.test, view.clinical, {"Radscore": altered_features},
                   view.networks)  # fmt: skip
    first, second = fit_view(view, spec()), fit_view(altered, spec())
    pd.testing.assert_frame_equal(first.training.main, second.training.main)
    assert first.candidates == second.candidates
    assert first.cutoffs == second.cutoffs


def test_a_patients_own_label_does_not_make_the_patients_training_score():
    """Scores of training patients are of fits without their inner fold."""
    view, _ = data()
    fold = view.inner.index[view.inner == 2]
    flipped = view.outcome.copy()
    flipped[fold] = 1 - flipped[fold]
    other = View(view.label, flipped, view.inner, view.test, view.clinical, view.features, view.networks)
    one = FusionSpec((Family("Radscore", CHAIN, ("logistic",)),), {"R": ("Radscore",)}, ())
    a, b = fit_view(view, one), fit_view(other, one)
    pd.testing.assert_series_equal(a.scores.loc[fold, "Radscore"], b.scores.loc[fold, "Radscore"])
    rest = view.inner.index[view.inner != 2]
    assert not np.allclose(a.scores.loc[rest, "Radscore"], b.scores.loc[rest, "Radscore"])


def test_order_of_patients_changes_nothing():
    view, _ = data()
    order = np.random.default_rng(1).permutation(len(view.outcome))
    clinical = view.clinical.sample(frac=1, random_state=1)
    features = {"Radscore": view.features["Radscore"].sample(frac=1, random_state=2)}
    outcome, inner = view.outcome.iloc[order], view.inner.iloc[order]
    shuffled = View(view.label, outcome, inner, view.test, clinical, features, view.networks)
    a, b = fit_view(view, spec()), fit_view(shuffled, spec())
    pd.testing.assert_frame_equal(a.test.main, b.test.main)


def test_pure_noise_gives_no_score():
    aucs = []
    for seed in range(12):
        view, outcome = data(n=60, n_test=60, signal=0.0, seed=seed)
        one = FusionSpec(
            (Family("Radscore", CHAIN, ("logistic", "knn")),), {"R": ("Radscore",), "DL": (NETWORK,)}, (), seed=seed
        )
        result = fit_view(view, one)
        y = outcome[list(view.test)].to_numpy()
        r = result.test.main["R"].to_numpy()
        pairs = r[y == 1][:, None] - r[y == 0][None, :]
        aucs.append(((pairs > 0) + 0.5 * (pairs == 0)).mean())
    # 12 sets of 60 patients: standard error about 0.02
    assert abs(np.mean(aucs) - 0.5) < 0.07


def test_a_score_no_better_than_chance_is_left_out_with_the_reason():
    view, _ = data()
    worst = {"upside down": -view.networks["good"]}
    altered = View(view.label, view.outcome, view.inner, view.test, view.clinical, view.features, worst)
    result = fit_view(altered, spec(models={"DL": (NETWORK,), "DLR": (NETWORK, "Radscore")}))
    assert "no competitor was better than chance" in result.notes[DL_SCORE]
    assert result.models["DL"].status == "no signal"
    assert DL_SCORE not in {source.name for source in result.models["DLR"].sources}


def test_wrong_models_are_refused():
    with pytest.raises(ModelError, match="unknown parts"):
        spec(models={"X": ("texture",)})
    view, _ = data()
    bare = View(view.label, view.outcome, view.inner, view.test, view.clinical, view.features, {})
    with pytest.raises(ModelError, match="there is no network"):
        fit_view(bare, spec())


def test_times_are_joined_by_cox_models_and_classifiers_tell_the_event_by_the_horizon():
    view, outcome = data(n=160, n_test=80)
    generator = np.random.default_rng(4)
    everybody = outcome.loc[[*view.outcome.index, *view.test]]
    event = generator.exponential(np.where(everybody == 1, 4.0, 70.0))
    last = generator.uniform(6, 60, len(everybody))
    times = pd.DataFrame({"time": np.minimum(event, last), "code": (event <= last).astype(float)}, everybody.index)
    known = times.loc[view.outcome.index]
    of_time = replace(view, outcome=known)
    families = (Family("Radscore", CHAIN, ("logistic", "random_forest"), 24.0),)
    names = {"R": ("Radscore",), "all": ("Radscore", NETWORK, CLINICAL)}
    asked = FusionSpec(families, names, spec().predictors, horizons=(12.0, 24.0), unit="months", cut="median")
    result = fit_view(of_time, asked)
    assert list(result.test.risks) == [12.0, 24.0]
    assert (result.test.risks[12.0] <= result.test.risks[24.0]).all(axis=None)
    strangers = times.loc[list(view.test)].to_numpy()
    assert rank_score(strangers, result.test.linear_predictors["all"].to_numpy()) > 0.6
    frozen = result.freeze()
    table = view.clinical.loc[list(view.test)].join(view.features["Radscore"]).join(result.scores[[DL_SCORE]])
    for horizon in (12.0, 24.0):
        again = frozen.predict_risk(table, horizon)
        np.testing.assert_allclose(again["R"], result.test.risks[horizon]["R"], atol=1e-9)
        np.testing.assert_allclose(again["all"], result.test.risks[horizon]["all"], atol=1e-9)
