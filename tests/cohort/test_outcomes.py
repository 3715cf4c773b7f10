"""Outcomes and their definitions."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hepacast.cohort import BinaryOutcome, ClinicalTable, ColumnSpec, SurvivalOutcome, derive_outcome
from hepacast.cohort.mrecist import mrecist_category, sums_of_viable_diameters
from hepacast.cohort.outcome import outcome_from_json
from hepacast.errors import OutcomeError, StudyFileError, TableError

NAN = float("nan")


def table(rows, **specs):
    """A table from `{patient: {column: value}}` with specs by name (numeric when not given)."""
    frame = pd.DataFrame.from_dict(rows, orient="index").rename_axis("patient")
    described = tuple(specs.get(name) or ColumnSpec(name) for name in frame.columns)
    return ClinicalTable(frame, described)


# --- outcome objects -----------------------------------------------------------------------------------------------


def test_binary_outcome_counts():
    outcome = BinaryOutcome("PTLF", pd.Series([1, 0, 0], index=["a", "b", "c"]), "PTLF", "no PTLF")
    assert (outcome.n, outcome.n_events, outcome.prevalence) == (3, 1, 1 / 3)
    assert outcome.labels().tolist() == ["PTLF", "no PTLF", "no PTLF"]
    assert outcome.select(["b", "a"]).patients == ["b", "a"]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"a": 1, "b": 1}, "one class only"),
        ({"a": 1, "b": NAN}, "missing for 1 of 2 patients"),
        ({"a": 1, "b": 2}, "other than 0 and 1"),
        ({"a": 1, "b": "yes"}, "other than 0 and 1"),
    ],
)
def test_binary_outcome_is_validated(values, words):
    with pytest.raises(OutcomeError, match=words):
        BinaryOutcome("x", pd.Series(values))


def test_a_patient_twice_is_refused():
    with pytest.raises(OutcomeError, match="twice"):
        BinaryOutcome("x", pd.Series([1, 0], index=["a", "a"]))


@pytest.mark.parametrize(
    ("time", "event", "words"),
    [
        ([1.0, 0.0], [1, 0], "time of 0 or less"),
        ([1.0, -3.0], [1, 0], "time of 0 or less"),
        ([1.0, NAN], [1, 0], "missing"),
        ([1.0, 2.0], [1, 2], "other than 0 and 1"),
        ([1.0, 2.0], [0, 0], "no event"),
        ([1.0, np.inf], [0, 1], "time of 0 or less"),
    ],
)
def test_survival_outcome_is_validated(time, event, words):
    with pytest.raises(OutcomeError, match=words):
        SurvivalOutcome("TTP", pd.Series(time, index=["a", "b"]), pd.Series(event, index=["a", "b"]))


def test_survival_units():
    outcome = SurvivalOutcome("TTP", pd.Series({"a": 52.0, "b": 10.0}), pd.Series({"a": 1, "b": 0}), "weeks")
    assert outcome.in_unit("days").time["a"] == 364
    assert outcome.in_unit("months").time["a"] == pytest.approx(364 / (365.25 / 12))
    with pytest.raises(OutcomeError, match="unit of time"):
        outcome.in_unit("fortnights")


# --- post-TACE liver failure ---------------------------------------------------------------------------------------

PTLF = {"bilirubin": "tb", "inr": "inr", "pta": "pta", "ascites": "asc", "encephalopathy": "he"}
TB = ColumnSpec("tb", quantity="bilirubin", unit="umol/L")
PTA = ColumnSpec("pta", unit="%")


def ptlf(rows, columns=None, **options):
    flags = {name: ColumnSpec(name, kind="binary") for name in ("asc", "he", "both")}
    return derive_outcome(
        table(rows, tb=TB, pta=PTA, **flags), "apasl2019-ptlf", columns or PTLF, name="PTLF", **options
    )


def row(tb=20.0, inr=1.1, pta=80.0, asc=0.0, he=0.0, **more):
    return {"tb": tb, "inr": inr, "pta": pta, "asc": asc, "he": he, **more}


def test_each_condition_fires_alone_and_at_its_limit():
    outcome = ptlf(
        {
            "none": row(),
            "tb 84.9": row(tb=84.9),
            "tb 85": row(tb=85.0),
            "inr 1.5": row(inr=1.5),
            "inr 1.51": row(inr=1.51),
            "pta 40": row(pta=40.0),
            "pta 39": row(pta=39.0),
            "ascites": row(asc=1.0),
            "encephalopathy": row(he=1.0),
        }
    )
    assert outcome.values.to_dict() == {
        "none": 0,
        "tb 84.9": 0,
        "tb 85": 1,
        "inr 1.5": 0,
        "inr 1.51": 1,
        "pta 40": 0,
        "pta 39": 1,
        "ascites": 1,
        "encephalopathy": 1,
    }
    assert outcome.conditions.loc["tb 85"].to_dict() == {"bilirubin": 1, "coagulation": 0, "decompensation": 0}
    assert outcome.facts().to_json()["conditions"] == {"bilirubin": 1, "coagulation": 2, "decompensation": 2}
    assert "Sarin" in outcome.source


def test_a_missing_part_makes_a_negative_unknown_but_not_a_positive():
    outcome = ptlf(
        {
            "negative": row(),
            "no bilirubin": row(tb=NAN),
            "no INR but PTA": row(inr=NAN),
            "neither INR nor PTA": row(inr=NAN, pta=NAN),
            "no encephalopathy": row(he=NAN),
            "ascites, rest missing": row(tb=NAN, inr=NAN, pta=NAN, he=NAN, asc=1.0),
        }
    )
    assert outcome.values.to_dict() == {"negative": 0, "no INR but PTA": 0, "ascites, rest missing": 1}
    assert outcome.unknown == {
        "no bilirubin": "not recorded: bilirubin; the rest is negative",
        "neither INR nor PTA": "not recorded: coagulation; the rest is negative",
        "no encephalopathy": "not recorded: decompensation; the rest is negative",
    }
    assert np.isnan(outcome.conditions.loc["no bilirubin", "bilirubin"])


def test_missing_parts_by_policy():
    rows = {"p": row(tb=90.0), "q": row(tb=NAN), "r": row()}
    assumed = ptlf(rows, missing="negative")
    assert assumed.values.to_dict() == {"p": 1, "q": 0, "r": 0}
    assert assumed.findings[0].code == "outcome-assumed"
    assert "q" in assumed.findings[0].message
    with pytest.raises(OutcomeError, match="cannot be told for 1 patients"):
        ptlf(rows, missing="refuse")


def test_the_rule_of_acute_on_chronic_failure_asks_for_all():
    rows = {
        "all": row(tb=90.0, inr=1.8, asc=1.0),
        "two": row(tb=90.0, inr=1.8),
        "none, bilirubin missing": row(tb=NAN),
        "two, bilirubin missing": row(tb=NAN, inr=1.8, asc=1.0),
    }
    outcome = ptlf(rows, rule="all")
    assert outcome.values.to_dict() == {"all": 1, "two": 0, "none, bilirubin missing": 0}
    assert list(outcome.unknown) == ["two, bilirubin missing"]


def test_bilirubin_in_mg_per_dl_is_converted():
    rows = {"4.9": row(tb=4.9), "5.0": row(tb=5.0)}
    columns = table(
        rows,
        tb=ColumnSpec("tb", quantity="bilirubin", unit="mg/dL"),
        pta=PTA,
        asc=ColumnSpec("asc", kind="binary"),
        he=ColumnSpec("he", kind="binary"),
    )
    assert derive_outcome(columns, "apasl2019-ptlf", PTLF).values.to_dict() == {"4.9": 0, "5.0": 1}


def test_bilirubin_without_a_unit_is_refused():
    unstated = ColumnSpec("tb", quantity="none")
    columns = table({"a": row(), "b": row(tb=90.0)}, tb=unstated, asc=ColumnSpec("asc", kind="binary"))
    with pytest.raises(OutcomeError, match="unit of 'tb' is not stated"):
        derive_outcome(columns, "apasl2019-ptlf", PTLF)


def test_the_window_of_four_weeks():
    rows = {
        "day 28": row(tb=90.0, day=28.0),
        "day 29": row(tb=90.0, day=29.0),
        "no day": row(tb=90.0, day=NAN),
        "before": row(tb=90.0, day=-2.0),
        "negative": row(day=NAN),
    }
    outcome = ptlf(rows, {**PTLF, "onset_days": "day"})
    assert outcome.values.to_dict() == {"day 28": 1, "day 29": 0, "negative": 0}
    assert outcome.unknown["no day"] == "day of onset not recorded"
    assert "before TACE" in outcome.unknown["before"]


def test_one_column_for_decompensation_and_one_allowed_gap():
    rows = {"a": {"tb": 20.0, "inr": 1.0, "both": 1.0}, "b": {"tb": 20.0, "inr": 1.0, "both": 0.0}}
    mapping = {"bilirubin": "tb", "inr": "inr", "ascites_or_encephalopathy": "both"}
    assert ptlf(rows, mapping).values.to_dict() == {"a": 1, "b": 0}
    lacking = {"bilirubin": "tb", "inr": "inr", "ascites": "both"}
    with pytest.raises(OutcomeError, match="encephalopathy: hepatic encephalopathy"):
        ptlf(rows, lacking)
    assert ptlf(rows, lacking, allow_unrecorded=True).values.to_dict() == {"a": 1, "b": 0}


@pytest.mark.parametrize(
    ("columns", "options", "words"),
    [
        ({"billirubin": "tb"}, {}, "did you mean 'bilirubin'"),
        (PTLF, {"missin": "negative"}, "did you mean 'missing'"),
        (PTLF, {"rule": "some"}, "any, all"),
    ],
)
def test_unknown_parts_and_options_name_the_nearest(columns, options, words):
    with pytest.raises(StudyFileError, match=words):
        ptlf({"a": row(), "b": row(tb=90.0)}, columns, **options)


def test_unknown_definition_names_the_nearest():
    with pytest.raises(StudyFileError, match="did you mean 'apasl2019-ptlf'"):
        derive_outcome(table({"a": row()}), "apasl2019_ptlf", {})


# --- mRECIST -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("baseline", "followup", "nadir", "new", "category"),
    [
        (100, 0, None, False, "CR"),
        (100, 70, None, False, "PR"),
        (100, 70.1, None, False, "SD"),
        (100, 119.9, None, False, "SD"),
        (100, 120, None, False, "PD"),
        (100, 60, 50, False, "PD"),
        (100, 59, 50, False, "PR"),
        (100, 10, 0, False, "PD"),
        (100, 0, None, True, "PD"),
        (100, 50, None, None, None),
        (100, 130, None, None, "PD"),
        (100, NAN, None, False, None),
        (NAN, 50, None, True, "PD"),
        (62.2, 43.54, None, False, "PR"),
    ],
)
def test_mrecist_category(baseline, followup, nadir, new, category):
    assert mrecist_category(baseline, followup, nadir=nadir, new_lesion=new) == category


def test_no_viable_tumor_at_baseline_has_no_category():
    with pytest.raises(TableError, match="baseline above 0"):
        mrecist_category(0, 0)


@given(st.floats(1, 300), st.just(0.0) | st.floats(0.01, 400), st.floats(0.1, 10))
def test_mrecist_does_not_depend_on_the_unit(baseline, followup, scale):
    ratio = followup / baseline
    if min(abs(ratio - 0.7), abs(ratio - 1.2)) < 1e-6:
        return
    assert mrecist_category(baseline, followup) == mrecist_category(baseline * scale, followup * scale)


def test_sums_from_single_lesions():
    lesions = pd.DataFrame(
        [
            ("a", "L1", 0, 40), ("a", "L2", 0, 30), ("a", "L3", 0, 10),
            ("a", "L1", 1, 20), ("a", "L2", 1, 10), ("a", "L3", 1, 40),
            ("a", "L1", 2, 25), ("a", "L2", 2, 15), ("a", "L3", 2, 60),
            ("b", "L1", 0, 50), ("b", "L2", 0, 20), ("b", "L1", 1, 0),
            ("c", "L1", 1, 30),
            ("d", "L1", 0, 30), ("d", "L1", 1, 0),
        ],
        columns=["patient", "lesion", "visit", "viable_mm"],
    )  # fmt: skip
    sums = sums_of_viable_diameters(lesions)
    assert sums.loc["a", ["baseline", "nadir", "followup", "n_targets"]].tolist() == [70, 30, 40, 2]
    assert mrecist_category(70, 40, nadir=30) == "PD"
    assert np.isnan(sums.loc["b", "followup"])
    assert "not measured at visit 1" in sums.loc["b", "reason"]
    assert sums.loc["c", "reason"] == "no baseline visit"
    assert sums.loc["d", "followup"] == 0


def test_objective_response_from_codes():
    codes = ColumnSpec("code", kind="categorical", levels={str(k): (str(k),) for k in (1, 2, 3, 4)})
    rows = {name: {"code": code} for name, code in zip("abcde", ["1", "2", "3", "4", None], strict=True)}
    outcome = derive_outcome(table(rows, code=codes), "mrecist-objective-response", {"category": "code"})
    assert outcome.values.to_dict() == {"a": 1, "b": 1, "c": 0, "d": 0}
    assert outcome.unknown == {"e": "no response category recorded"}
    swapped = derive_outcome(
        table(rows, code=codes),
        "mrecist-objective-response",
        {"category": "code"},
        codes={4: "CR", 3: "PR", 2: "SD", 1: "PD"},
    )
    assert swapped.values.to_dict() == {"a": 0, "b": 0, "c": 1, "d": 1}


def test_objective_response_from_sums():
    rows = {
        "complete": {"before": 50.0, "after": 0.0, "new": 0.0},
        "new lesion": {"before": 50.0, "after": 0.0, "new": 1.0},
        "stable": {"before": 50.0, "after": 45.0, "new": 0.0},
        "no follow-up": {"before": 50.0, "after": NAN, "new": 0.0},
        "nothing viable": {"before": 0.0, "after": 0.0, "new": 0.0},
    }
    mapping = {"baseline_sum": "before", "followup_sum": "after", "new_lesion": "new"}
    new = ColumnSpec("new", kind="binary")
    outcome = derive_outcome(table(rows, new=new), "mrecist-objective-response", mapping)
    assert outcome.values.to_dict() == {"complete": 1, "new lesion": 0, "stable": 0}
    assert set(outcome.unknown) == {"no follow-up", "nothing viable"}


def test_unknown_category():
    rows = {"a": {"code": "CR"}, "b": {"code": "XR"}}
    columns = table(rows, code=ColumnSpec("code", kind="categorical"))
    with pytest.raises(OutcomeError, match="'XR' for patient b"):
        derive_outcome(columns, "mrecist-objective-response", {"category": "code"})


# --- columns of the table ------------------------------------------------------------------------------------------


def test_early_recurrence_and_who_is_unknown():
    rows = {
        "early": {"rfs": 10.0, "rec": 1.0},
        "at 24": {"rfs": 24.0, "rec": 1.0},
        "free": {"rfs": 40.0, "rec": 0.0},
        "censored": {"rfs": 12.0, "rec": 0.0},
        "missing": {"rfs": NAN, "rec": 1.0},
        "late, event missing": {"rfs": 30.0, "rec": NAN},
    }
    outcome = derive_outcome(table(rows), "early-recurrence", {"time": "rfs", "event": "rec"})
    assert outcome.values.to_dict() == {"early": 1, "at 24": 0, "free": 0, "late, event missing": 0}
    assert outcome.unknown == {
        "censored": "censored at 12.0 months, before 24 months",
        "missing": "time not recorded",
    }
    weeks = {name: {**row, "rfs": row["rfs"] * (365.25 / 12 / 7)} for name, row in rows.items()}
    same = derive_outcome(
        table(weeks), "early-recurrence", {"time": "rfs", "event": "rec"}, unit="weeks", limit_months=23.9
    )
    assert same.values.to_dict() == outcome.values.to_dict()


def test_binary_column_by_words():
    rows = {name: {"result": word} for name, word in zip("abcd", ["fail", "ok", "fail", None], strict=True)}
    columns = table(rows, result=ColumnSpec("result", kind="categorical", levels={"ok": (), "fail": ()}))
    outcome = derive_outcome(
        columns, "binary-column", {"column": "result"}, positive_values=["fail"], negative_values=["ok"]
    )
    assert outcome.values.to_dict() == {"a": 1, "b": 0, "c": 1}
    assert outcome.unknown == {"d": "no outcome recorded"}
    mixed = table({"a": {"x": 1.0}, "b": {"x": 2.0}, "c": {"x": 3.0}})
    with pytest.raises(OutcomeError, match="neither positive nor negative"):
        derive_outcome(mixed, "binary-column", {"column": "x"}, positive_values=[1], negative_values=[2])


def test_binary_column_that_was_read_as_binary_takes_the_words_of_the_table():
    spec = ColumnSpec("x", kind="binary", levels={"responder": ("1",), "non-responder": ("2",)})
    columns = table({"a": {"x": 0.0}, "b": {"x": 1.0}}, x=spec)
    by_code = derive_outcome(columns, "binary-column", {"column": "x"}, positive_values=[1], negative_values=[2])
    assert by_code.values.to_dict() == {"a": 1, "b": 0}
    by_default = derive_outcome(columns, "binary-column", {"column": "x"})
    assert by_default.values.to_dict() == {"a": 0, "b": 1}
    with pytest.raises(StudyFileError, match="has no value 3"):
        derive_outcome(columns, "binary-column", {"column": "x"}, positive_values=[3])


@pytest.mark.parametrize(
    ("times", "unit", "word"),
    [
        ([30.0, 610.0, 900.0], "months", "75 years"),  # days
        ([3.0, 41.5, 12.0], "years", "longest follow-up is 41.5 years"),
        ([1.31, 14.2, 60.5], "days", "3 of 3 times in days have decimals"),  # months
        ([30.0, 610.0, 900.0], "days", ""),
        ([12.5, 183.3, 730.5], "days", ""),  # months that were converted
        ([1.31, 14.2, 60.5], "months", ""),
    ],
)
def test_times_that_look_like_those_of_another_unit_are_told(times, unit, word):
    rows = {name: {"time": value, "event": place % 2} for place, (name, value) in enumerate(zip("abc", times))}
    found = derive_outcome(table(rows), "survival", {"time": "time", "event": "event"}, unit=unit)
    told = [item.message for item in found.findings if item.code == "time-unit"]
    assert bool(told) == bool(word) and all(word in text for text in told)


def test_survival_definition():
    rows = {"a": {"t": 10.0, "e": 1.0}, "b": {"t": 0.0, "e": 0.0}, "c": {"t": 5.0, "e": NAN}, "d": {"t": 7.0, "e": 2.0}}
    mapping = {"time": "t", "event": "e"}
    with pytest.raises(OutcomeError, match="other than 0 and 1"):
        derive_outcome(table(rows), "survival", mapping)
    with pytest.raises(OutcomeError, match="time of 0 or less"):
        derive_outcome(table(rows), "survival", mapping, event_values=[2])
    outcome = derive_outcome(table(rows), "survival", mapping, event_values=[2], zero_times="exclude", unit="weeks")
    assert outcome.event.to_dict() == {"a": 0, "d": 1}
    assert set(outcome.unknown) == {"b", "c"}


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("PTLF", "Risk of PTLF"),
        ("Early recurrence", "Risk of early recurrence"),
        ("Proliferative HCC", "Risk of proliferative HCC"),
        ("mRECIST response", "Risk of mRECIST response"),
    ],
)
def test_an_axis_of_risks_names_the_outcome(name, label):
    assert BinaryOutcome(name, pd.Series([1, 0], index=["a", "b"])).risk_label == label


# --- one face ------------------------------------------------------------------------------------------------------

FOLLOW_UP = SurvivalOutcome(
    "TTP",
    pd.Series([2.0, 3.0, 4.0, 5.0, 6.0], index=list("abcde")),
    pd.Series([1, 0, 0, 1, 0], index=list("abcde")),
    "months",
    competing=pd.Series([0, 0, 1, 0, 0], index=list("abcde")),
    positive="progression",
    horizons=(3.0, 4.5),
)
YES_OR_NO = BinaryOutcome(
    "PTLF",
    pd.Series([1, 0, 0], index=list("abc")),
    "PTLF",
    "none",
    conditions=pd.DataFrame({"x": [1.0, np.nan, 0.0]}, index=list("abc")),
)


@pytest.mark.parametrize("outcome", [FOLLOW_UP, YES_OR_NO], ids=["time", "yes or no"])
def test_both_outcomes_have_one_face(outcome):
    n = outcome.n
    assert list(outcome.events.index) == list(outcome.codes.index) == outcome.patients
    assert outcome.classes.sum() == outcome.n_events == outcome.events.sum()
    assert len(outcome.y) == n and len(outcome.labels()) == n
    assert outcome.suffices(outcome.patients) and not outcome.suffices(["b", "c"])
    for horizon in outcome.horizons:
        state, weight = outcome.known_at(horizon)
        assert state.shape == weight.shape == (n,) and set(state) <= {0, 1, 2}
    again = outcome_from_json({**outcome.facts().to_json(), **outcome.by_patient()})
    assert again.facts().to_json() == outcome.facts().to_json() and (again.y == outcome.y).all()
    assert again.horizons == outcome.horizons
    assert (outcome.select(["b", "a"]).y == outcome.y[[1, 0]]).all()


def test_states_at_a_horizon_are_weighted_for_those_censored_before():
    assert YES_OR_NO.known_at()[0].tolist() == [1, 0, 0] and YES_OR_NO.known_at().weight.tolist() == [1, 1, 1]
    state, weight = FOLLOW_UP.known_at(4.5)
    assert state.tolist() == [1, 0, 2, 0, 0]
    # One of the four under observation is censored at 3: who is seen after it stands for 4/3 patients.
    assert weight == pytest.approx([1, 0, 4 / 3, 4 / 3, 4 / 3])
    # Under observation at the very horizon is without the event at it.
    assert FOLLOW_UP.known_at(3.0).weight == pytest.approx([1, 1, 1, 1, 1])
    assert FOLLOW_UP.risk_label == "Risk of progression by 4.5 months" and FOLLOW_UP.measure == "C"
    assert FOLLOW_UP.labels().tolist() == ["progression", "censored", "competing event", "progression", "censored"]


def follow_up(words, spec, **options):
    rows = {f"p{i}": {"t": 5.0 + i, "status": word} for i, word in enumerate(words)}
    mapping = {"time": "t", "event": "status"}
    return derive_outcome(table(rows, status=spec), "survival", mapping, unit="months", **options)


STATUS = ColumnSpec("status", kind="categorical", levels={word: (word,) for word in ("alive", "dead", "lost", "LT")})
CODED = ColumnSpec("status", kind="binary", levels={"alive": ("1",), "dead": ("2", "verstorben")})


def test_values_that_all_count_as_censored_are_told():
    two = follow_up(["alive", "dead", "alive"], STATUS, event_values=["dead"])
    assert two.findings == () and two.event.tolist() == [0, 1, 0]
    more = follow_up(["alive", "dead", "lost"], STATUS, event_values=["Dead "])
    (told,) = more.findings
    assert told.code == "several-values" and told.severity == "warning"
    assert "'alive' (1 patient), 'lost' (1 patient) all count as censored" in told.message
    competing = {"event_values": ["dead"], "competing_values": ["LT"]}
    assert follow_up(["alive", "dead", "LT"], STATUS, **competing).findings == ()
    assert [item.code for item in follow_up(["alive", "dead", "alive"], STATUS, **competing).findings] == [
        "no-competing-event"
    ]


@pytest.mark.parametrize("given", [[2], ["2"], ["verstorben"], ["dead"], [2.0]])
def test_event_values_are_words_of_the_table_whatever_the_kind_of_the_column(given):
    assert follow_up([0.0, 1.0, 0.0], CODED, event_values=given).event.tolist() == [0, 1, 0]
    coded = ColumnSpec("status", kind="categorical", levels=CODED.levels)
    assert follow_up(["alive", "dead", "alive"], coded, event_values=given).event.tolist() == [0, 1, 0]


def test_event_values_that_nobody_has_are_refused_with_those_that_there_are():
    # 1 is the word for "alive" here, whatever the column holds inside.
    assert follow_up([0.0, 1.0], CODED, event_values=[1]).event.tolist() == [1, 0]
    with pytest.raises(OutcomeError, match="means the event") as caught:
        follow_up(["alive", "alive"], STATUS, event_values=["dead", "died"])
    assert "'alive' (2 patients)" in str(caught.value) and "dead, died" in str(caught.value)


def test_values_that_all_count_as_without_the_event_are_told():
    rows = {f"p{i}": {"x": word} for i, word in enumerate(["CR", "PD", "NE", "PD"])}
    spec = ColumnSpec("x", kind="categorical", levels={word: (word,) for word in ("CR", "PD", "NE")})
    (told,) = derive_outcome(table(rows, x=spec), "binary-column", {"column": "x"}, positive_values=["CR"]).findings
    assert told.code == "several-values" and "'PD' (2 patients), 'NE' (1 patient)" in told.message
    both = {"positive_values": ["CR"], "negative_values": ["PD", "NE"]}
    assert derive_outcome(table(rows, x=spec), "binary-column", {"column": "x"}, **both).findings == ()


@pytest.mark.parametrize("definition", ["survival", "early-recurrence"])
def test_nobody_is_followed_for_longer_than_a_life(definition):
    rows = {"a": {"t": 36.0, "e": 1}, "b": {"t": 1830.0, "e": 0}, "c": {"t": 3.0, "e": 0}}
    with pytest.raises(OutcomeError, match="longer than a life") as caught:  # days in a column of months
        derive_outcome(table(rows), definition, {"time": "t", "event": "e"}, unit="months")
    assert caught.value.found == "b: 1830" and "1,320 months" in str(caught.value)
    assert derive_outcome(table(rows), definition, {"time": "t", "event": "e"}, unit="days") is not None
