"""What validation showed, from the results of a run; and when a promised coverage is refuted."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from hepacast.core.estimates import Estimate
from hepacast.evaluation.calibration import Calibration
from hepacast.evaluation.results import HorizonResult, ModelResult, SetResult
from hepacast.evaluation.validated import (
    ValidatedPerformance,
    performance_verdicts,
    validated_performance,
    verdicts_of,
)


def limits(value, low, high):
    return Estimate(value, low, high, 0.95)


def result(auc, slope, ratio, c=None, n=120, events=38):
    """A set with one model, of which the last horizon has this AUC and calibration."""
    nothing = Estimate(math.nan)
    fit = Calibration(
        n, events, limits(*slope), limits(*ratio), nothing, math.nan, math.nan, nothing, math.nan, math.nan, math.nan,
        None, (), 0.95,
    )  # fmt: skip
    early = replace(fit, slope=limits(9, 9, 9), observed_expected=limits(9, 9, 9))
    horizons = tuple(HorizonResult(t, limits(*auc), calibration=at) for t, at in ((1.0, early), (2.0, fit)))
    model = ModelResult(horizons, None if c is None else limits(*c))
    return SetResult(n, events, "frozen", {"clinical": model}, (), (), 0.95)


@pytest.fixture
def sets():
    return {
        "training": result((0.95, 0.9, 1.0), (1.0, 0.7, 1.3), (1.0, 0.8, 1.2)),
        "nested": result((0.77, 0.66, 0.88), (0.9, 0.6, 1.2), (1.0, 0.8, 1.2)),
        "validation": result((0.74, 0.64, 0.84), (0.8, 0.5, 1.1), (1.1, 0.9, 1.3)),
    }


def test_new_patients_come_first_and_apparent_numbers_never(sets):
    first, second = validated_performance(sets, "clinical")
    assert (first.set, first.value, first.slope[0], first.observed_expected[0]) == ("validation", 0.74, 0.8, 1.1)
    assert (second.set, second.value) == ("nested", 0.77)
    told = first.text(0.95)
    assert told.startswith(
        "AUC 0.74 (95% CI 0.64 to 0.84), calibration slope 0.80, observed/expected events 1.10: 120 patients"
    )
    assert told.endswith("(38 with the event), validation set")
    assert performance_verdicts([first, second], {}, "clinical", 0.95) == []
    assert verdicts_of(sets, {"clinical": {}}, 0.95) == {"clinical": []}


def test_failures_are_sentences(sets):
    sets["validation"] = result((0.3, 0.18, 0.42), (0.8, 0.5, 1.1), (0.4, 0.3, 0.5))
    rows = validated_performance(sets, "clinical")
    told = " ".join(performance_verdicts(rows, {}, "clinical", 0.95))
    for words in ("worse than chance", "disagree", "do not carry over"):
        assert words in told
    # Bootstrap far above nested validation is told without a validation set too.
    alone = performance_verdicts(rows[1:], {"bootstrap": {"corrected": {"value": 0.97}}}, "clinical", 0.95)
    assert len(alone) == 1 and "nested cross-validation is the number to trust" in alone[0]


def test_times_to_an_event_are_judged_at_the_main_horizon():
    found = result((0.7, 0.6, 0.8), (0.6, 0.3, 0.9), (1.4, 1.1, 1.8), c=(0.61, 0.5, 0.72), n=50, events=20)
    (row,) = validated_performance({"external": found}, "clinical")
    assert row.measure == "C" and row.slope[0] == 0.6 and row.observed_expected[0] == 1.4
    told = performance_verdicts([row], {}, "clinical", 0.95)
    assert len(told) == 2 and "external set" in told[0]


def test_what_is_not_known_says_nothing():
    row = ValidatedPerformance("validation", 9, 0, "AUC", math.nan, math.nan, math.nan)
    assert "97.5% CI" in ValidatedPerformance("validation", 9, 2, "AUC", 0.7, 0.6, 0.8).text(0.975)
    assert row.text(0.95) == "AUC not known: 9 patients (0 with the event), validation set"
    assert performance_verdicts([row], {}, "clinical", 0.95) == []
    assert validated_performance({}, "clinical") == []
