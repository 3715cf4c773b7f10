"""The averaged combination: never worse than its best part by more than chance, one model when frozen, for any outcome;
competitors averaged, and the first within one standard error."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from tests.modelling.test_frozen_fusion import make_view, rows_of

from hepacast.core.files import to_jsonable
from hepacast.core.records import plain
from hepacast.modelling.combination import AveragedModel
from hepacast.modelling.cox_model import CoxModel
from hepacast.modelling.evidence import NOTHING, SHOWN, chance_in, evidence
from hepacast.modelling.frozen_models import FrozenModels
from hepacast.modelling.frozen_score import DL_SCORE, RADSCORE
from hepacast.modelling.fusion import BIOMARKERS, CLINICAL, NETWORK, Family, FusionSpec, fit_view, preferred
from hepacast.modelling.grammar import ChainSpec, build_radiomics_model
from hepacast.modelling.logistic_model import LogisticModel
from hepacast.modelling.predictors import Predictor
from hepacast.modelling.study_models import StudyModels
from hepacast.modelling.targets import rank_score
from hepacast.stats.ridge import PROBABLE

VALUES = [f"v{number}" for number in range(12)]
PREDICTORS = (*(Predictor(name) for name in VALUES), Predictor(RADSCORE))


def outcome_of(risk: np.ndarray, rng: np.random.Generator, *, time: bool) -> np.ndarray:
    if not time:
        return (rng.random(len(risk)) < 1 / (1 + np.exp(-risk))).astype(int)
    times = rng.exponential(500 * np.exp(-risk))
    return np.column_stack([np.minimum(times, 1500), times < 1500]).astype(float)


def drawn(n: int, seed: int, of_values: float, of_score: float, *, time: bool) -> tuple[pd.DataFrame, np.ndarray]:
    """Twelve values of which three count, and a score, each telling so much; the score is on an arbitrary scale."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(rng.normal(size=(n, 12)), columns=VALUES, index=[f"P{row:04d}" for row in range(n)])
    hidden = rng.normal(size=n)
    frame[RADSCORE] = 0.3 * (hidden + rng.normal(size=n)) - 2
    risk = of_values * frame[VALUES[:3]].sum(axis=1).to_numpy() / np.sqrt(3) + of_score * hidden
    return frame, outcome_of(risk, rng, time=time)


def averaged(*, time: bool) -> AveragedModel:
    base = CoxModel(penalty="ridge", horizons=(365.0,)) if time else LogisticModel(penalty="ridge")
    return AveragedModel(PREDICTORS, (RADSCORE,), base, seed=1)


@pytest.mark.parametrize("time", [False, True])
def test_candidates_of_noise_take_no_part(time):
    """Of 15 beside a score that tells the event, and beside values that do."""
    with_noise = 0
    for seed in range(10):
        train, y = drawn(120, seed, 0.0 if seed % 2 else 1.5, 2.0, time=time)
        rng = np.random.default_rng(seed + 100)
        noise = pd.DataFrame(rng.normal(size=(120, 15)), columns=[f"noise{j}" for j in range(15)], index=train.index)
        base = (CoxModel() if time else LogisticModel()).set_params(penalty="ridge", optional=tuple(noise.columns))
        predictors = (*PREDICTORS, *(Predictor(name) for name in noise.columns))
        model = AveragedModel(predictors, (RADSCORE,), base, seed=1).fit(train.join(noise), y)
        held = set(model.frozen_.names) & set(noise.columns)
        with_noise += bool(held)
        assert set(model.inclusion_) == set(noise.columns)
        improbable = {name for name, p in model.inclusion_.items() if p < PROBABLE}
        assert not held & improbable and all("probability" in model.dropped_[name] for name in improbable)
    assert with_noise <= 3


@pytest.mark.parametrize("time", [False, True])
@pytest.mark.parametrize(("of_values", "of_score"), [(1.5, 0.0), (0.0, 2.0), (1.2, 1.5), (0.0, 0.0)])
def test_combination_is_not_worse_than_its_best_part(of_values, of_score, time):
    """AUC or C in new patients: over ten cohorts of 120 at most 0.015 below the better part, in the mean."""
    lost = []
    for seed in range(10):
        train, y = drawn(120, seed, of_values, of_score, time=time)
        test, truth = drawn(800, seed + 1000, of_values, of_score, time=time)
        both = averaged(time=time).fit(train, y)
        values = both._of([item for item in PREDICTORS if item.name != RADSCORE]).fit(train, y)
        parts = [values.frozen_.linear_predictor(test), test[RADSCORE].to_numpy()]
        best = max(rank_score(truth, part) for part in parts) if of_values or of_score else 0.5
        lost.append(best - rank_score(truth, both.frozen_.linear_predictor(test)))
    assert np.mean(lost) < 0.015


@pytest.mark.parametrize("time", [False, True])
def test_mean_of_the_members_is_one_calibrated_model(time):
    train, y = drawn(300, 3, 1.2, 1.5, time=time)
    test, truth = drawn(3000, 4, 1.2, 1.5, time=time)
    model = averaged(time=time).fit(train, y)
    assert len(model.members_) == 2 and model.scale_ > 1
    frozen = model.frozen_
    assert frozen.names == [*VALUES, RADSCORE] and frozen.method == "averaged"
    mean = np.mean([item.linear_predictor(test) for item in model.members_], axis=0)
    assert np.ptp(frozen.linear_predictor(test) - model.scale_ * mean) < 1e-10
    again = type(frozen).from_dict(json.loads(json.dumps(to_jsonable(frozen.to_dict()))))
    risk = frozen.risk(test, 365.0 if time else None)
    assert again.risk(test, 365.0 if time else None) == pytest.approx(risk, abs=1e-12)
    low, high = frozen.interval(test, 0.95, 365.0).T
    assert ((low < risk) & (risk < high)).all()
    happened = (truth[:, 0] <= 365.0).mean() if time else truth.mean()
    assert risk.mean() == pytest.approx(happened, abs=0.04)
    line = (CoxModel() if time else LogisticModel()).fit(pd.DataFrame({"x": frozen.linear_predictor(test)}), truth)
    assert line.frozen_.coefficients[1] == pytest.approx(1.0, abs=0.25)


@pytest.mark.parametrize("time", [False, True])
def test_where_a_column_begins_changes_nothing(time):
    """Body weights are no logarithms around 0: a Cox model has no intercept, and its folds have no zero in common but
    that of the mean patient."""
    train, y = drawn(150, 5, 1.5, 0.6, time=time)
    test, _ = drawn(100, 6, 1.5, 0.6, time=time)
    begins = pd.Series({name: 40.0 * (number - 5) for number, name in enumerate(VALUES)} | {RADSCORE: 7.0})
    plain_, moved = averaged(time=time).fit(train, y), averaged(time=time).fit(train + begins, y)
    assert moved.frozen_.names == plain_.frozen_.names and set(VALUES) <= set(plain_.frozen_.names)
    risk, again = plain_.frozen_.linear_predictor(test), moved.frozen_.linear_predictor(test + begins)
    np.testing.assert_allclose(again, risk, atol=1e-5)


@pytest.mark.parametrize("rest", [{"selector": "lasso"}, {"selector": "none", "stack": ["ridge", "logistic"]}])
def test_scores_of_patients_left_out_have_one_zero_where_a_column_begins_elsewhere(rest):
    train, y = drawn(120, 5, 1.5, 0.0, time=True)
    spec = {"scaler": "none", "redundancy": None, "univariate": None, **rest}
    scores = [build_radiomics_model(spec, seed=3, horizon=365.0).fit(train[VALUES] + b, y) for b in (0.0, 300.0)]
    first, moved = (item.train_score_ for item in scores)
    assert np.ptp(moved - first) < 1e-4 * np.ptp(first)


def test_what_tells_nothing_is_no_member():
    rng = np.random.default_rng(7)
    train, y = drawn(150, 5, 0.0, 2.5, time=False)
    alone = averaged(time=False).fit(train.assign(**dict.fromkeys(VALUES, 1.0)), y)
    assert alone.frozen_.names == [RADSCORE] and alone.frozen_.method == "ml"
    against = averaged(time=False).fit(train.assign(**{RADSCORE: -y + rng.normal(size=150)}), y)
    assert RADSCORE not in against.frozen_.names and "left out" in against.dropped_[RADSCORE]


def test_weak_member_beside_a_strong_one_is_left_out():
    train, y = drawn(200, 6, 3.0, 0.0, time=False)
    model = averaged(time=False).fit(train, y)
    assert RADSCORE not in model.frozen_.names and set(model.frozen_.names) == set(VALUES)
    # Its best part is the model itself.
    alone = model._of([item for item in PREDICTORS if item.name != RADSCORE]).fit(train, y)
    assert model.frozen_.coefficients == alone.frozen_.coefficients


def test_evidence_is_asked_of_every_family_alike():
    """Of permuted outcomes one in twenty is shown; five columns are not drowned by 150; a score counts if it rises."""
    rng = np.random.default_rng(5)
    table = pd.DataFrame(rng.normal(size=(60, 5)) + rng.normal(size=(60, 1))).mask(rng.random((60, 5)) < 0.1)
    families = {
        "clinical": table,
        "features": pd.DataFrame(rng.normal(size=(60, 150))),
        "none": pd.DataFrame(index=range(60)),
    }
    score = pd.DataFrame(rng.normal(size=(60, 2)))
    p = [evidence(families, rng.permutation(60) < 25, seed, score) for seed in range(150)]
    # 150 x .05: 7.5, SD 2.7; and .5 as often as it should be.
    assert 1 <= sum(value <= SHOWN for value in p) <= 15 and abs(np.mean(np.array(p) <= NOTHING) - 0.5) < 0.13
    y = (table[0].fillna(0) + 0.5 * rng.normal(size=60) > 0).to_numpy().astype(int)
    times = np.column_stack([rng.exponential(np.exp(-2.0 * y)), np.ones(60)])
    assert evidence(families, y, 1) <= SHOWN and evidence(families, times, 1) <= SHOWN
    rises = pd.DataFrame({"network": y + rng.normal(size=60)})
    assert evidence({}, y, 1, rises) <= SHOWN and evidence({}, y, 1, -rises) > 1 - SHOWN
    assert evidence({}, y, 1) == 1.0


@pytest.mark.parametrize("time", [False, True])
def test_auto_is_averaged_or_finds_nothing(time):
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(rng.normal(size=(90, 22)), columns=["alb", "measured", *(f"x{j}" for j in range(20))])
    frame.index = pd.Index([f"P{row:03d}" for row in range(90)])
    rules = {
        "predictors": (Predictor("alb"), Predictor("measured")),
        "models": ("clinical", "biomarkers", "radiomics", "joint"),
        "horizons": (365.0,) if time else (),
        "biomarkers": ("measured",),
        "kinds": {"measured": "enhancement"},
    }
    asked, averaged_ = StudyModels(**rules, combination="auto"), StudyModels(**rules, combination="averaged")
    y = outcome_of((1.5 * frame["x3"] + frame["alb"]).to_numpy(), rng, time=time)
    found, known = asked.fit(frame, y), averaged_.fit(frame, y)
    assert found.joint_.evidence <= SHOWN and found.status_["joint"] == "ok"
    assert found.frozen_.model("joint").coefficients == known.frozen_.model("joint").coefficients
    seen = set()
    for _ in range(6):
        y = outcome_of(np.zeros(90), rng, time=time)
        fitted = asked.fit(frame, y)
        p, note = fitted.joint_.evidence, fitted.notes_["joint"]
        risk = fitted.predict_risk(frame)["joint"]
        if p > NOTHING:
            assert note.startswith("nothing was found") and fitted.status_["joint"] == "no signal"
            assert risk.nunique() == 1
            assert risk.iloc[0] == pytest.approx((y[:, 0] <= 365).mean() if time else y.mean(), abs=0.02)
            frozen = FrozenModels.from_dict(plain(fitted.to_dict()))
            assert frozen.predict_risk(frame)["joint"].to_numpy() == pytest.approx(risk.to_numpy(), abs=1e-12)
        elif fitted.status_["joint"] == "ok":
            assert bool(chance_in(note)) == (p > SHOWN)
        seen.add(p > NOTHING)
    assert seen == {False, True}


@pytest.mark.parametrize("time", [False, True])
def test_frozen_study_predicts_as_fitted_and_twice_the_same(time):
    rng = np.random.default_rng(11)
    frame = pd.DataFrame(rng.normal(size=(140, 20)), columns=[f"x{j}" for j in range(20)])
    frame = frame.assign(alb=rng.normal(size=140), measured=rng.normal(size=140)).rename(
        index=lambda row: f"P{row:03d}"
    )
    risk = (1.5 * frame["x3"] + frame["alb"] + frame["measured"]).to_numpy()
    y = outcome_of(risk, rng, time=time)
    models = StudyModels(
        predictors=(Predictor("alb"), Predictor("measured")),
        models=("clinical", "biomarkers", "radiomics", "combined", "joint"),
        horizons=(365.0,) if time else (),
        biomarkers=("measured",),
        kinds={"measured": "enhancement"},
        combination="averaged",
    )
    fitted = models.fit(frame, y)
    assert set(fitted.frozen_.model("joint").names) == {"alb", "measured", RADSCORE}
    expected = fitted.predict_risk(frame)
    frozen = FrozenModels.from_dict(plain(fitted.to_dict()))
    assert frozen.predict_risk(frame).to_numpy() == pytest.approx(expected.to_numpy(), abs=1e-12)
    order = rng.permutation(140)
    again = models.fit(frame.iloc[order], y[order]).predict_risk(frame)
    assert (again.to_numpy() == expected.to_numpy()).all()


def test_first_within_one_standard_error():
    ranks = {"simple": (0.78, 0.03), "middle": (0.80, 0.03), "lucky": (0.81, 0.02), "weak": (0.60, 0.03)}
    assert preferred(ranks, "best") == "lucky"
    # 0.81 less its own error is 0.79: the first that reaches it.
    assert preferred(ranks, "averaged") == "middle"
    assert preferred({**ranks, "lucky": (0.81, 0.031)}, "averaged") == "simple"
    assert preferred({"a": (0.5, np.nan), "b": (np.nan, np.nan)}, "averaged") == "a"


def test_auto_asks_features_and_networks_of_a_fusion():
    view = make_view()
    family = Family("Radscore", ChainSpec.load({"univariate": 0.1, "selector": "none"}), ("logistic",))
    models = {"R": ("Radscore",), "N+B": (NETWORK, "Radscore", CLINICAL, BIOMARKERS)}
    rules = {"seed": 3, "biomarkers": {"age": "enhancement"}}
    spec = FusionSpec((family,), models, (Predictor("age"), Predictor("alt")), combination="auto", **rules)
    found, averaged_ = fit_view(view, spec), fit_view(view, replace(spec, combination="averaged"))
    assert found.models["N+B"].coefficients == averaged_.models["N+B"].coefficients
    notes = []
    for seed in range(8):
        shuffled = np.random.default_rng(seed).permutation(view.outcome.to_numpy())
        made = fit_view(replace(view, outcome=pd.Series(shuffled, index=view.outcome.index)), spec).models["N+B"]
        notes += [made.note]
        assert (made.status == "no signal") >= made.note.startswith("nothing was found")
    assert 1 <= sum(note.startswith("nothing was found") for note in notes) < 8 and any(map(chance_in, notes))


def test_averaged_competitors_are_frozen_as_one_score():
    view = make_view()
    classifiers = ("logistic", "svm", "knn", "naive_bayes", "random_forest")
    family = Family("Radscore", ChainSpec.load({"univariate": 0.1, "selector": "none", "redundancy": 0.9}), classifiers)
    models = {"R": ("Radscore",), "DLRCR": (NETWORK, "Radscore", CLINICAL, BIOMARKERS)}
    spec = FusionSpec(
        (family,),
        models,
        (Predictor("age"), Predictor("alt")),
        seed=3,
        biomarkers={"age": "enhancement"},
        combination="averaged",
        competition="averaged",
    )
    result = fit_view(view, spec)
    assert sum(item.chosen for item in result.candidates if item.part == "Radscore") >= 4
    assert set(result.models["DLRCR"].names) & {"Radscore", DL_SCORE}
    frozen = result.freeze()
    again = FrozenModels.from_dict(json.loads(json.dumps(to_jsonable(frozen.to_dict()))), frozen.arrays())
    rows = rows_of(view)
    assert again.scores(rows)["Radscore"].to_numpy() == pytest.approx(
        result.scores.loc[rows.index, "Radscore"].to_numpy(), abs=1e-9
    )
    assert again.predict_risk(rows).to_numpy() == pytest.approx(result.test.main.to_numpy(), abs=1e-9)
