"""What validation showed, from the results of a run; and when a promised coverage is refuted."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hepacast.evaluation.validated import (
    ValidatedPerformance,
    performance_verdicts,
    ratio_with_limits,
    validated_performance,
)


def limits(value, low, high):
    return {"value": value, "low": low, "high": high}


def binary(auc, slope, risks, outcomes):
    model = {"auc": limits(*auc), "calibration": {"slope": limits(*slope)}, "risks": risks, "outcomes": outcomes}
    return {"n": len(risks), "events": int(sum(outcomes)), "models": {"clinical": model}}


@pytest.fixture
def sets():
    g = np.random.default_rng(3)
    risks = g.uniform(0.05, 0.6, 120)
    outcomes = (g.random(120) < risks).astype(int)
    return {
        "training": binary((0.95, 0.9, 1.0), (1.0, 0.7, 1.3), risks, outcomes),
        "nested": binary((0.80, 0.7, 0.9), (0.9, 0.6, 1.2), risks, outcomes),
        "validation": binary((0.74, 0.64, 0.84), (0.8, 0.5, 1.1), risks, outcomes),
    }


def test_new_patients_come_first_and_apparent_numbers_never(sets):
    validation = {"nested": {"auc": limits(0.77, 0.66, 0.88)}}
    first, second = validated_performance(sets, validation, "clinical", 0.95)
    assert (first.set, first.value, first.slope[0]) == ("validation", 0.74, 0.8)
    assert (second.set, second.value) == ("nested", 0.77)  # of the validation's own table, not of averaged repeats
    events, expected = first.events, sets["validation"]["models"]["clinical"]["risks"].sum()
    assert first.observed_expected[0] == pytest.approx(events / expected)
    told = first.text(0.95)
    assert told.startswith("AUC 0.74 (95% CI 0.64 to 0.84), calibration slope 0.80, observed/expected events ")
    assert f"120 patients ({events} with the event), validation set" in told
    assert performance_verdicts([first, second], validation, "clinical", 0.95) == []


def test_failures_are_sentences(sets):
    few = sets["validation"]["models"]["clinical"]
    few["auc"], few["risks"] = limits(0.3, 0.18, 0.42), np.full(120, 0.9)
    rows = validated_performance(sets, {}, "clinical", 0.95)
    told = " ".join(performance_verdicts(rows, {}, "clinical", 0.95))
    for words in ("worse than chance", "disagree", "do not carry over"):
        assert words in told
    # Bootstrap far above nested validation is told without a validation set too.
    alone = performance_verdicts(rows[1:], {"bootstrap": {"corrected": limits(0.97, 0.9, 1.0)}}, "clinical", 0.95)
    assert len(alone) == 1 and "nested cross-validation is the number to trust" in alone[0]


def test_times_to_an_event_are_judged_at_the_main_horizon():
    rows = [
        {"calibration": {"slope": limits(9, 9, 9), "observed_expected": limits(9, 9, 9)}},
        {"calibration": {"slope": limits(0.6, 0.3, 0.9), "observed_expected": limits(1.4, 1.1, 1.8)}},
    ]
    entry = {"n": 50, "events": 20, "models": {"combined": {"c": limits(0.61, 0.5, 0.72), "horizons": rows}}}
    (row,) = validated_performance({"external": entry}, {}, "combined", 0.95)
    assert row.measure == "C" and row.slope[0] == 0.6 and row.observed_expected[0] == 1.4
    told = performance_verdicts([row], {}, "combined", 0.95)
    assert len(told) == 2 and "external set" in told[0]


def test_what_is_not_known_says_nothing():
    row = ValidatedPerformance("validation", 9, 0, "AUC", math.nan, math.nan, math.nan)
    assert row.text(0.95) == "AUC not known: 9 patients (0 with the event), validation set"
    assert performance_verdicts([row], {}, "clinical", 0.95) == []
    assert validated_performance({"training": {}}, {}, "clinical", 0.95) == []


def test_limits_of_observed_over_expected():
    # Debray et al. 2017: SE of log O/E is sqrt((1 - O/n) / O); O 30 of 100, E 25.
    value, low, high = ratio_with_limits(30, 25, 100, 0.95)
    se = math.sqrt(0.7 / 30)
    assert value == 1.2 and low == pytest.approx(1.2 * math.exp(-1.959964 * se), rel=1e-6)
    assert high == pytest.approx(1.2 * math.exp(1.959964 * se), rel=1e-6)
    assert math.isnan(ratio_with_limits(0, 25, 100, 0.95)[1])
