"""The one call that evaluates predictions, on real data and on every kind of awkward input."""

from __future__ import annotations

import json
from dataclasses import is_dataclass

import numpy as np
import pytest
from numpy.testing import assert_allclose

from hepacast.cohort.outcome import EVER
from hepacast.core.estimates import Estimate
from hepacast.core.records import plain
from hepacast.errors import ModelError, OutcomeError
from hepacast.evaluation.evaluate import Judging, evaluate_set
from hepacast.evaluation.evaluate import evaluate_risks as evaluate
from hepacast.evaluation.results import SetResult
from hepacast.modelling.predictions import JudgedSet
from hepacast.study.statistics.evaluating import printed

MODELS = ["p_clin", "p_lab", "p_comb"]


@pytest.fixture
def pima(golden):
    _, data = golden("d_dca_pima")
    return data


def test_numbers_are_those_of_r(golden, pima):
    calibration, _ = golden("c_calibration_pima")
    decision, _ = golden("d_dca_pima")
    gain, _ = golden("h_nri_idi_pima")
    found = evaluate(
        pima.type, {name: pima[name] for name in MODELS}, decision_thresholds=decision["thresholds"],
        nri_cuts=(0.2, 0.4), n_boot=0, external=True,
    )  # fmt: skip
    found = printed(found)
    for name in MODELS:
        truth, model = calibration["test"][name], found["models"][name]
        assert_allclose(model["brier"], truth["brier"], rtol=1e-9)
        assert_allclose(model["slope"], truth["slope_intercept"]["slope"], rtol=1e-9)
        assert_allclose(model["intercept"], truth["slope_intercept"]["intercept_recal"], rtol=1e-9)
        assert_allclose(model["hosmer_lemeshow"]["p"], truth["hosmer_lemeshow"]["p_external_df_g"], rtol=1e-9)
        assert_allclose(model["ici"], truth["loess"]["interpolate"]["ICI"], rtol=1e-9)
        assert_allclose(model["net_benefit"]["net_benefit"], decision["models"][name]["net_benefit"], rtol=1e-9)
    pair = next(p for p in found["pairs"] if (p["a"], p["b"]) == ("p_clin", "p_comb"))
    truth = gain["improveProb"]
    assert_allclose([pair["nri"], pair["nri_se"]], [truth["nri"], truth["se.nri"]], rtol=1e-9)
    assert_allclose([pair["idi"], pair["idi_se"]], [truth["idi"], truth["se.idi"]], rtol=1e-9)
    assert_allclose(pair["categorical_nri"]["estimate"], gain["categorical_hand"]["nri"], rtol=1e-9)


def test_roc_numbers_are_those_of_proc(golden):
    reference, data = golden("b_roc_asah")
    found = printed(evaluate(data.outcome, {"s100b": data.s100b, "wfns": data.wfns}, n_boot=0))
    model, truth = found["models"]["s100b"], reference["markers"]["s100b"]
    assert_allclose([model["auc"], *model["auc_ci"]], [truth["auc"], *truth["ci_delong"]], rtol=1e-9)
    assert_allclose(model["youden"]["threshold"], truth["youden"]["threshold"])
    pair = found["pairs"][0]
    other = next(p for p in reference["paired"] if (p["a"], p["b"]) == ("wfns", "s100b"))
    assert_allclose([-pair["delong_z"], pair["delong_p"]], [other["Z"], other["p"]], rtol=1e-9)
    # wfns takes values from 1 to 5: a score, not a risk
    assert found["models"]["wfns"]["slope"] is None and "not a probability" in found["models"]["wfns"]["reason"]
    assert pair["nri"] is None and found["models"]["wfns"]["net_benefit"] is None


def test_order_of_patients_changes_nothing(pima):
    order = np.random.default_rng(1).permutation(len(pima))
    once = printed(evaluate(pima.type, {"m": pima.p_lab}, n_boot=60, seed=3))
    shuffled = pima.iloc[order]
    again = printed(evaluate(shuffled.type, {"m": shuffled.p_lab}, n_boot=60, seed=3))
    assert_allclose(again["models"]["m"]["ici_ci"], once["models"]["m"]["ici_ci"], rtol=1e-9)
    assert_allclose(again["models"]["m"]["net_benefit"]["low"], once["models"]["m"]["net_benefit"]["low"], atol=1e-12)
    other = printed(evaluate(pima.type, {"m": pima.p_lab}, n_boot=60, seed=4))
    assert other["models"]["m"]["ici_ci"] != once["models"]["m"]["ici_ci"]


def test_bootstrap_limits_hold_the_estimates(pima):
    found = evaluate(pima.type, {"m": pima.p_comb}, n_boot=200).models["m"]
    fit = found.main.calibration
    assert fit.brier.low < fit.brier.value < fit.brier.high
    assert fit.ici.low < fit.ici.high


def test_missing_values_are_left_out_of_all_models_and_counted(pima):
    y, a, b = (pima[name].to_numpy(dtype=float).copy() for name in ("type", "p_clin", "p_comb"))
    y[0], a[1], a[2], b[2] = np.nan, np.nan, np.nan, np.nan
    found = evaluate(y, {"a": a, "b": b}, n_boot=0)
    assert found.excluded == {"outcome missing": 1, "a missing": 2, "b missing": 1}
    assert found.n == len(pima) - 3
    clean = evaluate(y[3:], {"a": a[3:], "b": b[3:]}, n_boot=0)
    assert found.models["a"].main.auc == clean.models["a"].main.auc
    assert "left out" in found._repr_html_()


def test_cut_off_comes_from_training_or_is_marked(pima):
    found = evaluate(pima.type, {"a": pima.p_clin, "b": pima.p_comb}, thresholds={"a": 0.3}, n_boot=0)
    assert found.models["a"].main.thresholds[0].threshold == 0.3
    assert [printed(found)["models"][name]["cutoff"]["source"] for name in "ab"] == ["given", "youden"]
    names = [found.models[name].main.thresholds[0].name for name in "ab"]
    assert names == ["Youden (training)", "Youden (these patients)"]
    with pytest.raises(ModelError, match="no model"):
        evaluate(pima.type, {"a": pima.p_clin}, thresholds={"c": 0.3}, n_boot=0)


@pytest.mark.parametrize(
    ("name", "risk"),
    [
        ("constant", np.full(60, 0.4)),
        ("two values", np.repeat([0.2, 0.7], 30)),
        ("zero and one", np.repeat([0.0, 1.0], 30)),
        ("perfect", np.linspace(0.01, 0.99, 60)),
        ("reversed", np.linspace(0.99, 0.01, 60)),
    ],
)
def test_awkward_risks_give_numbers_or_reasons(name, risk):
    y = np.repeat([0, 1], 30)
    found = evaluate(y, {"m": risk, "other": np.tile([0.3, 0.5], 30)}, n_boot=20)
    values = printed(found)
    json.dumps(values, allow_nan=False)
    model = values["models"]["m"]
    assert model["auc"] is not None and model["brier"] is not None and model["ici"] is not None
    if model["slope"] is None:
        assert model["calibration"]["notes"], name
    if model["hosmer_lemeshow"]["p"] is None:
        assert model["hosmer_lemeshow"]["reason"]
    for pair in values["pairs"]:
        assert pair["delong_p"] is not None or pair["reason"]
    assert "m" in repr(found) and found._repr_html_()


def test_tiny_sets():
    found = evaluate([0, 1, 1], {"a": [0.1, 0.8, 0.6], "b": [0.3, 0.2, 0.9]}, n_boot=10)
    values = printed(found)
    json.dumps(values, allow_nan=False)
    assert values["models"]["a"]["auc"] == 1.0 and values["models"]["a"]["auc_ci"] == [None, None]
    assert values["models"]["a"]["reason"]


def test_mistakes_are_explained():
    with pytest.raises(OutcomeError, match="only one class"):
        evaluate([1, 1, np.nan, 0], {"m": [0.1, 0.2, 0.3, np.nan]})
    with pytest.raises(OutcomeError, match="not binary"):
        evaluate([1, 2, 1, 2], {"m": [0.1, 0.2, 0.3, 0.4]})
    with pytest.raises(OutcomeError, match="not numeric"):
        evaluate(["yes", "no"], {"m": [0.1, 0.2]})
    with pytest.raises(ModelError, match="differ in length"):
        evaluate([0, 1], {"m": [0.1]})
    with pytest.raises(ModelError, match="not numeric"):
        evaluate([0, 1], {"m": ["a", "b"]})
    with pytest.raises(ModelError, match="no model"):
        evaluate([0, 1], {})
    with pytest.raises(ModelError, match="No patient"):
        evaluate([0, np.nan], {"m": [np.nan, 0.2]})


def test_a_set_is_read_back_as_it_was_written(pima):
    found = evaluate(pima.type, {"a": pima.p_clin, "b": pima.p_comb}, n_boot=20)
    read = SetResult.from_json(json.loads(json.dumps(found.to_json())))
    assert plain(read) == plain(found) and printed(read) == printed(found)
    assert read.models["b"].main.calibration.slope.value == pytest.approx(0.9534, abs=1e-3)
    assert (read.comparisons[0].first, read.comparisons[0].second) == ("b", "a")


def test_figures_are_drawn(pima):
    found = evaluate(pima.type, {"a": pima.p_clin, "b": pima.p_comb}, n_boot=20)
    for kind in ("roc", "calibration", "decision"):
        assert found.plot(kind, model="b").axes
    with pytest.raises(ModelError, match="figure"):
        found.plot("pie")
    with pytest.raises(ModelError, match="calibration"):
        found.plot("calibration", model="c")


def test_forest_figure_of_a_logistic_table(golden):
    from hepacast.study.statistics import logistic

    _, data = golden("a1_logistic_pima")
    table = logistic(data, outcome="type", predictors=["glu", "bmi"], univariate=False)
    assert table.plot("forest-multivariate").axes
    with pytest.raises(ModelError, match="no such figure"):
        table.plot("forest-univariate")


def estimates_in(value):
    """Every estimate anywhere in a record."""
    if isinstance(value, Estimate):
        yield value
    if is_dataclass(value):
        value = list(vars(value).values())
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from estimates_in(item)


@pytest.mark.parametrize("timed", [False, True])
def test_every_limit_carries_its_level(timed):
    """With and without time: no limits of a set of results without the level that was asked for."""
    rng = np.random.default_rng(3)
    lp = rng.normal(size=150)
    times, codes = rng.exponential(20 * np.exp(-lp)) + 0.1, (rng.random(150) < 0.7).astype(int)
    y = np.column_stack([times, codes]) if timed else (lp + rng.normal(size=150) > 0).astype(int)
    risks = {name: 1 / (1 + np.exp(-scale * lp)) for name, scale in (("a", 0.4), ("b", 1.2))}
    horizons = (8.0, 16.0) if timed else (EVER,)
    judged = JudgedSet(
        "validation", "frozen", [str(i) for i in range(150)], y,
        {name: dict.fromkeys(horizons, risk) for name, risk in risks.items()}, risks,
    )  # fmt: skip
    rows = [rng.integers(0, 150, 150) for _ in range(10)]
    cuts = {name: {"median (training)": 0.5} for name in risks}
    found = evaluate_set(judged, Judging(level=0.8, cutoffs=cuts, rows=lambda horizon: rows))
    limited = [item for item in estimates_in(found) if item.has_limits]
    assert len(limited) > 20 and {item.level for item in limited} == {0.8}
    assert [item.measure for item in found.models.values()] == ["C" if timed else "AUC"] * 2
    assert all(len(item.main.thresholds) == 1 and item.main.decision for item in found.models.values())
    assert SetResult.from_json(json.loads(json.dumps(found.to_json()))).to_json() == found.to_json()
