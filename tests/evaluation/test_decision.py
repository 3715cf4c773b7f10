"""Decision curves against dcurves and rmda (golden d)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from hepacast.errors import ModelError, OutcomeError
from hepacast.evaluation.decision import decision_curves, net_benefit

TIGHT = {"rtol": 1e-9, "atol": 1e-12}
MODELS = ["p_clin", "p_lab", "p_comb"]


@pytest.fixture
def pima(golden):
    return golden("d_dca_pima")


def test_curves_equal_dcurves_and_rmda(pima):
    reference, data = pima
    curves = decision_curves(data.type, {name: data[name] for name in MODELS}, reference["thresholds"])
    assert_allclose(curves.prevalence, reference["prevalence"], **TIGHT)
    assert_allclose(curves.treat_all, reference["treat_all"], **TIGHT)
    for name in MODELS:
        truth, found = reference["models"][name], curves.models[name]
        assert_allclose(found.net_benefit, truth["net_benefit"], **TIGHT)
        assert_allclose(found.net_benefit, reference["rmda_net_benefit"][name], **TIGHT)
        assert_allclose(found.standardized, truth["standardized_net_benefit"], **TIGHT)
        assert_allclose(found.tp_rate, truth["tp_rate"], **TIGHT)
        assert_allclose(found.fp_rate, truth["fp_rate"], **TIGHT)
        assert_allclose(found.interventions_avoided, truth["net_intervention_avoided"], **TIGHT)


def test_given_prevalence_equals_dcurves(pima):
    reference, data = pima
    found = net_benefit(data.type, data.p_comb, reference["thresholds"], prevalence=0.15)
    assert_allclose(found.net_benefit, reference["prevalence_0.15_p_comb"], **TIGHT)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 20)), min_size=3, max_size=50), st.integers(1, 19))
def test_net_benefit_is_its_definition(pairs, step):
    y = np.array([float(event) for event, _ in pairs])
    p = np.array([value / 20 for _, value in pairs])
    if y.min() == y.max():
        return
    pt = step / 20
    positive = p >= pt
    expected = ((positive & (y == 1)).sum() - (positive & (y == 0)).sum() * pt / (1 - pt)) / y.size
    assert_allclose(net_benefit(y, p, [pt]).net_benefit[0], expected, atol=1e-12)


def test_band_covers_the_curve_and_uses_the_given_rows(pima):
    _, data = pima
    rng = np.random.default_rng(0)
    rows = [rng.integers(0, len(data), len(data)) for _ in range(200)]
    curves = decision_curves(data.type, {"a": data.p_comb}, [0.1, 0.3, 0.5], indices=rows)
    model = curves.models["a"]
    assert curves.n_boot == 200
    assert (model.low < model.net_benefit).all() and (model.net_benefit < model.high).all()
    by_hand = [net_benefit(data.type.to_numpy()[r], data.p_comb.to_numpy()[r], [0.3]).net_benefit[0] for r in rows]
    assert_allclose([model.low[1], model.high[1]], np.quantile(by_hand, [0.025, 0.975]))


def test_useful_range(pima):
    _, data = pima
    curves = decision_curves(data.type, {"good": data.p_comb, "chance": np.full(len(data), 0.33)})
    assert curves.models["chance"].useful_range == ()
    low, high = curves.models["good"].useful_range[0]
    assert low < 0.2 and high > 0.5
    assert set(curves.to_frame().strategy) == {"Treat all", "Treat none", "good", "chance"}


def test_mistakes_are_explained():
    with pytest.raises(ModelError, match="Threshold"):
        net_benefit([0, 1], [0.1, 0.9], [0.0, 0.5])
    with pytest.raises(ModelError, match="not a probability"):
        net_benefit([0, 1], [0.1, 9], [0.5])
    with pytest.raises(OutcomeError):
        net_benefit([1, 1], [0.1, 0.9], [0.5])
    with pytest.raises(ModelError, match="no model"):
        decision_curves([0, 1], {})
