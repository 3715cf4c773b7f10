"""What a bundle says of one patient's conformal set: the sentence, or the reason why there is none."""

from types import SimpleNamespace

import pytest

from hepacast.bundle.prediction import HorizonRisk, _conformal, conformal_text

RULE = {"model": "combined", "level": 0.9, "event_from": 0.2, "no_event_to": 0.6}


def bundle(**card):
    return SimpleNamespace(card=card)


@pytest.mark.parametrize(("risk", "label"), [(0.1, "no event"), (0.4, "either"), (0.9, "event")])
def test_the_rule_of_the_card_is_applied(risk, label):
    found = _conformal(bundle(conformal=RULE), "combined", risk, ())
    assert found.label == label and found.level == 0.9
    assert conformal_text(found) == f"conformal set, 90%: {found.sentence}"


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
