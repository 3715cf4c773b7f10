"""The planted truth: rates, AUCs, outcomes, and nothing where nothing is planted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from hepacast.core.seeds import rng
from hepacast.errors import ModelError
from hepacast.phantom.labs import DAYS_LIMIT, child_pugh, draw_patient, meets_definition
from hepacast.phantom.truth import (
    NOTHING,
    PLANTED,
    bayes_auc,
    coefficients_of,
    draw_predictors,
    drawn_auc,
    expected_auc,
    risk,
)


def test_targets_of_the_planted_truth() -> None:
    auc = bayes_auc(PLANTED)
    assert auc.event_rate == pytest.approx(0.25, abs=0.003)
    assert auc.combined == pytest.approx(0.967, abs=0.003)
    assert auc.clinical == pytest.approx(0.787, abs=0.004)
    assert auc.texture == pytest.approx(0.854, abs=0.004)


def test_bayes_auc_is_the_auc_of_many_drawn_outcomes() -> None:
    drawn = draw_predictors(rng(5, "check"), 60_000)
    score = PLANTED.linear_predictor(drawn.inr, drawn.alb, drawn.texture)
    outcome = rng(6, "check").random(len(score)) < risk(score)
    clinical = PLANTED.clinical_part(drawn.inr, drawn.alb)
    # Standard error of an AUC at this size is about 0.0015.
    assert roc_auc_score(outcome, score) == pytest.approx(bayes_auc(PLANTED).combined, abs=0.006)
    assert roc_auc_score(outcome, clinical) == pytest.approx(bayes_auc(PLANTED).clinical, abs=0.008)
    assert drawn_auc(PLANTED, drawn, outcome).combined == pytest.approx(roc_auc_score(outcome, score), abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(data=st.data(), number=st.integers(4, 40))
def test_expected_auc_of_certain_outcomes_is_the_usual_auc(data, number: int) -> None:
    score = np.array(data.draw(st.lists(st.integers(0, 6), min_size=number, max_size=number)), dtype=float)
    outcome = np.array(data.draw(st.lists(st.integers(0, 1), min_size=number, max_size=number)), dtype=float)
    if 0 < outcome.sum() < number:
        assert expected_auc(score, outcome) == pytest.approx(roc_auc_score(outcome, score))


def test_marginals_are_those_of_the_paper() -> None:
    drawn = draw_predictors(rng(1, "marginals"), 20_000)
    assert np.median(drawn.inr) == pytest.approx(1.06, abs=0.01)
    assert drawn.inr.max() <= 1.5
    assert (drawn.alb.mean(), drawn.alb.std()) == pytest.approx((38.0, 5.2), abs=0.15)
    assert np.corrcoef(np.log(drawn.inr), drawn.alb)[0, 1] == pytest.approx(-0.3, abs=0.03)
    assert abs(np.corrcoef(drawn.texture, drawn.inr)[0, 1]) < 0.03
    assert abs(np.corrcoef(drawn.texture, drawn.alb)[0, 1]) < 0.03


def test_the_definition_gives_exactly_the_drawn_outcome() -> None:
    for truth in (PLANTED, NOTHING):
        people = [draw_patient(f"P{n}", 1, 3, truth) for n in range(1500)]
        for person in people:
            assert meets_definition(person.follow_up) == bool(person.outcome)
            days = person.follow_up["onset_days"]
            assert (days is None) == (person.outcome == 0)
            assert days is None or 1 <= days <= DAYS_LIMIT
        events = [person.follow_up for person in people if person.outcome]
        for part in ("ascites_after", "encephalopathy_after"):
            assert 0 < sum(row[part] for row in events) < len(events)
        assert 0 < sum(row["tb_after"] >= 85 for row in events) < len(events)
        assert 0 < sum(row["inr_after"] > 1.5 for row in events) < len(events)
        assert any(row["pta_after"] < 40 and row["inr_after"] <= 1.5 for row in events)


def test_nothing_planted_is_nothing() -> None:
    people = [draw_patient(f"P{n}", 1, 11, NOTHING) for n in range(3000)]
    outcome = np.array([person.outcome for person in people])
    assert outcome.mean() == pytest.approx(0.25, abs=0.03)
    would_be = [
        PLANTED.linear_predictor(p.baseline["inr"], p.baseline["alb"], p.texture) for p in people
    ]  # fmt: skip
    for score in (would_be, [p.baseline["inr"] for p in people], [p.texture for p in people]):
        # Standard error about 0.012.
        assert roc_auc_score(outcome, np.array(score, dtype=float)) == pytest.approx(0.5, abs=0.035)
    assert bayes_auc(NOTHING).combined == pytest.approx(0.5)
    assert bayes_auc(NOTHING).event_rate == pytest.approx(0.25)


def test_a_patient_is_the_same_in_any_company() -> None:
    alone = draw_patient("P017", 1, 4, PLANTED)
    draw_patient("P016", 1, 4, PLANTED)
    again = draw_patient("P017", 1, 4, PLANTED)
    assert alone == again
    assert draw_patient("P017", 1, 5, PLANTED).baseline != alone.baseline
    assert draw_patient("P018", 1, 4, PLANTED).baseline != alone.baseline


def test_baseline_values_are_plausible_and_related() -> None:
    people = [draw_patient(f"P{n}", 1, 8, PLANTED) for n in range(1200)]
    rows = [person.baseline for person in people]
    column = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    assert len(column) == 25
    medians = {"age": 61.5, "wbc": 5.4, "neutrophil": 65.6, "rbc": 4.12, "hb": 126, "plt": 145, "pt": 12.8, "tt": 18.2,
               "aptt": 30.2, "ast": 54, "alt": 42, "tb": 18.6, "glu": 5.05, "ggt": 120}  # fmt: skip
    for name, expected in medians.items():
        assert np.median(column[name].astype(float)) == pytest.approx(expected, rel=0.08), name
    assert 0.15 < np.corrcoef(column["inr"].astype(float), column["pt"].astype(float))[0, 1] < 0.6
    assert (column["sex"] == "M").mean() == pytest.approx(0.87, abs=0.04)
    assert (column["ctp"] == "A").mean() == pytest.approx(0.85, abs=0.05)
    assert set(column["ctp"]) <= {"A", "B"}
    assert (column["tumor_location"] == "right").mean() == pytest.approx(0.83, abs=0.06)
    assert (column["hydroperitoneum"].astype(int)).mean() == pytest.approx(0.24, abs=0.05)
    for person in people:
        lobes = {tumor.lobe for tumor in person.spec.tumors}
        assert person.baseline["tumor_location"] == ("both" if len(lobes) == 2 else lobes.pop())
        assert (person.baseline["tumor_number"] == "1") == (len(person.spec.tumors) == 1)
        total = sum(tumor.diameter_mm for tumor in person.spec.tumors)
        assert person.baseline["tumor_diameter"] == pytest.approx(total / 10, abs=0.051)
        assert person.spec.ascites == bool(person.baseline["hydroperitoneum"])


def test_child_pugh_by_hand() -> None:
    assert child_pugh(20, 40, 1.0, False) == "A"  # 5 points
    assert child_pugh(20, 34, 1.0, False) == "A"  # 6
    assert child_pugh(20, 34, 1.0, True) == "B"  # 7
    assert child_pugh(40, 27, 1.0, True) == "B"  # 1 + 2 + 3 + 1 + 2 = 9
    assert child_pugh(40, 27, 1.8, True) == "C"  # 10
    assert child_pugh(60, 27, 2.4, True) == "C"


def test_an_unknown_effect_is_refused() -> None:
    with pytest.raises(ModelError, match="planted, none"):
        coefficients_of("strong")
