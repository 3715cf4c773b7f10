"""What a bundle says of one patient's conformal set: the sentence, or the reason why there is none."""

from types import SimpleNamespace

import pytest

from hepacast.bundle.prediction import HorizonRisk, _conformal, _coverage, conformal_text, horizon_text
from hepacast.evaluation.validated import coverage_is_broken

RULE = {"model": "combined", "level": 0.9, "event_from": 0.2, "no_event_to": 0.6}


def bundle(**card):
    return SimpleNamespace(card=card)


@pytest.mark.parametrize(("risk", "label"), [(0.1, "no event"), (0.4, "either"), (0.9, "event")])
def test_the_rule_of_the_card_is_applied(risk, label):
    found = _conformal(bundle(conformal=RULE), "combined", risk, ())
    assert found.label == label and found.level == 0.9
    assert conformal_text(found) == f"conformal 90% set {found.sentence}"
    assert "ruled out" not in found.sentence and "(seen)" in conformal_text(found, "seen")


def test_time_to_an_event_names_the_main_horizon():
    horizons = (HorizonRisk(180, "days", 0.5, 0.4, 0.6), HorizonRisk(365, "days", 0.9, 0.8, 0.95))
    assert "the event by 365 days" in _conformal(bundle(conformal=RULE), "combined", 0.9, horizons).sentence


@pytest.mark.parametrize(
    ("card", "words"),
    [
        ({}, "holds no rule"),
        ({"conformal": {"reason": "too few calibration patients"}}, "too few calibration patients"),
        ({"conformal": {**RULE, "model": "clinical"}}, "clinical model only"),
    ],
)
def test_without_a_set_there_is_a_reason(card, words):
    found = _conformal(bundle(**card), "combined", 0.5, ())
    assert found.label is None and words in found.reason
    assert conformal_text(found) == f"conformal set: none ({found.reason})"


SEEN = {"set": "validation", "n_events": 30, "n_others": 60, "coverage_events": 0.87, "coverage_others": 0.95}


def test_what_the_sets_held_in_new_patients_is_said():
    assert "not in this bundle" in _coverage(bundle(conformal=RULE))
    assert "not observed in new patients" in _coverage(bundle(conformal={**RULE, "coverage": []}))
    told = _coverage(bundle(conformal={**RULE, "coverage": [SEEN]}))
    assert "validation set" in told and "87% of the 30 with the event" in told and "95% of the 60 without it" in told
    assert _conformal(bundle(conformal={**RULE, "coverage": [SEEN]}), "combined", 0.9, ()).label == "event"


@pytest.mark.parametrize(("events", "others"), [(0.6, 0.95), (0.95, 0.7), (0.2, None)])
def test_a_level_that_validation_broke_is_not_promised(events, others):
    row = {**SEEN, "coverage_events": events, "coverage_others": others}
    found = _conformal(bundle(conformal={**RULE, "coverage": [SEEN, row]}), "combined", 0.9, ())
    assert found.label is None and "did not hold in new patients" in found.reason and f"{events:.0%}" in found.reason


def test_a_few_patients_break_nothing():
    assert not coverage_is_broken(0.5, 2, 0.9) and not coverage_is_broken(float("nan"), 40, 0.9)
    # R: pbinom(21, 30, 0.9) is 0.0020, pbinom(24, 30, 0.9) is 0.0732.
    assert coverage_is_broken(21 / 30, 30, 0.9) and not coverage_is_broken(24 / 30, 30, 0.9)


def test_a_patient_against_whom_something_speaks_gets_no_set():
    found = _conformal(bundle(conformal=RULE), "combined", 0.9, (), ["albumin (60): outside the training range"])
    assert found.label is None and "albumin" in found.reason and "like those of the training" in found.reason


def test_a_level_is_not_rounded_to_whole_percent():
    item = HorizonRisk(12, "months", 0.4, 0.3, 0.5)
    assert horizon_text(item, 0.975) == "by 12 months: 40.0% (97.5% interval 30.0% to 50.0%)"
