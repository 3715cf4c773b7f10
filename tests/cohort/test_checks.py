"""Checks of values and of the design."""

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from hepacast.cohort import (
    BinaryOutcome,
    ClinicalTable,
    ColumnSpec,
    SurvivalOutcome,
    blank_impossible,
    check_sample_size,
    check_table,
    count_parameters,
)
from hepacast.cohort.checks import check_dates, check_identity, check_predictors, check_values
from hepacast.cohort.columns import ColumnSpec as Spec
from hepacast.cohort.quantities import convert, get_quantity
from hepacast.cohort.tables import TableProvenance

N = 60
PATIENTS = [f"P{number:03d}" for number in range(N)]
GENERATOR = np.random.default_rng(7)
LABELS = pd.Series([int(number % 3 == 0) for number in range(N)], index=PATIENTS)


def table(columns, **provenance):
    """A table of `{spec: values}`, completed as reading does."""
    specs, data = [], {}
    for spec, values in columns.items():
        if spec.quantity and spec.plausible is None:
            known = get_quantity(spec.quantity)
            unit = spec.unit or known.unit
            low, high = (convert(value, known.unit, unit, known.name) for value in known.plausible)
            spec = Spec(**{**spec.__dict__, "unit": unit, "plausible": (low, high)})
        specs.append(spec)
        data[spec.name] = values
    frame = pd.DataFrame(data, index=pd.Index(PATIENTS, name="patient", dtype=object))
    rows = pd.Series(range(2, N + 2), index=PATIENTS)
    return ClinicalTable(frame, tuple(specs), provenance=TableProvenance(**provenance), rows=rows)


class HashableSpec(ColumnSpec):
    """A spec as a dictionary key (its levels are not hashable)."""

    __hash__ = object.__hash__


def spec(name, **keywords):
    return HashableSpec(name, **keywords)


def only(findings, code):
    found = [item for item in findings if item.code == code]
    assert len(found) == 1, [str(item) for item in findings]
    return found[0]


def usual(low, high):
    return GENERATOR.uniform(low, high, N)


@pytest.mark.parametrize(
    ("name", "unit", "low", "high", "wrong", "words"),
    [
        ("bilirubin", "umol/L", 8, 40, 1.2, "looks like mg/dL"),
        ("albumin", "g/L", 30, 45, 3.8, "looks like g/dL"),
        ("inr", "", 0.9, 1.4, 12.0, "a prothrombin time in seconds"),
        ("inr", "", 0.9, 1.4, 85.0, "a prothrombin activity"),
        ("child_pugh", "points", 5, 9, 1.0, "a class"),
        ("creatinine", "umol/L", 50, 120, 0.9, "looks like mg/dL"),
        ("hemoglobin", "g/L", 90, 150, 12.5, "looks like g/dL"),
        ("age", "years", 30, 80, 610.0, "not possible"),
    ],
)
def test_one_impossible_value(name, unit, low, high, wrong, words):
    values = usual(low, high)
    values[4] = wrong
    finding = only(check_values(table({spec(name, unit=unit): values})), "impossible-value")
    assert (finding.severity, finding.patient, finding.row) == ("error", "P004", 6)
    assert words in finding.message


@pytest.mark.parametrize(
    ("name", "unit", "low", "high", "words"),
    [
        ("bilirubin", "umol/L", 0.4, 3.5, "factor 17.1"),
        ("albumin", "g/L", 2.5, 4.8, "looks like g/dL"),
        ("albumin", "g/dL", 28, 45, "looks like g/L"),
        ("platelets", "10^9/L", 60_000, 250_000, "looks like /uL"),
        ("tumor_diameter", "cm", 20, 120, "looks like mm"),
        ("glucose", "mmol/L", 80, 140, "looks like mg/dL"),
    ],
)
def test_a_whole_column_in_another_unit(name, unit, low, high, words):
    findings = check_values(table({spec(name, unit=unit): usual(low, high)}))
    finding = only(findings, "unit-mix-up")
    assert finding.severity == "error"
    assert words in finding.message
    assert len(findings) == 1


def test_codes_instead_of_measurements():
    values = np.where(GENERATOR.random(N) < 0.5, 1.0, 2.0)
    assert "holds only 1, 2" in only(check_values(table({spec("alt"): values})), "coded-values").message


def test_sick_patients_are_possible():
    columns = {
        spec("bilirubin"): np.append(usual(8, 40)[1:], 480.0),
        spec("albumin"): np.append(usual(30, 45)[1:], 17.0),
        spec("inr"): np.append(usual(0.9, 1.4)[1:], 4.2),
        spec("afp"): np.append(usual(2, 400)[1:], 350_000.0),
    }
    assert check_values(table(columns)) == []


def test_impossible_values_can_be_blanked_and_stay_reported():
    values = usual(8, 40)
    values[4] = 1.2
    bad = table({spec("bilirubin", unit="umol/L"): values})
    clean, findings = blank_impossible(bad, check_values(bad))
    assert np.isnan(clean.frame.loc["P004", "bilirubin"])
    assert clean.frame["bilirubin"].notna().sum() == N - 1
    assert [item.severity for item in findings] == ["warning"]
    assert "taken as missing" in findings[0].message


def test_missing_constant_and_empty_columns():
    values = usual(30, 45)
    values[:20] = np.nan
    columns = {
        spec("albumin", role="candidate"): values,
        spec("flat", kind="binary", role="candidate"): np.zeros(N),
        spec("empty", role="candidate"): np.full(N, np.nan),
    }
    findings = check_values(table(columns))
    assert "20 of 60" in only(findings, "missing-values").message
    assert "'no'" in only(findings, "constant-column").message
    assert only(findings, "all-missing").severity == "error"


def test_dates_out_of_order():
    tace = [dt.datetime(2024, 1, 10)] * N
    imaging = [dt.datetime(2024, 1, 5)] * (N - 1) + [dt.datetime(2024, 2, 1)]
    dates = table({spec("imaging", kind="date"): imaging, spec("tace", kind="date"): tace})
    finding = only(check_dates(dates, ["imaging", "tace"]), "dates-out-of-order")
    assert (finding.patient, finding.severity, finding.row) == ("P059", "error", 61)


def outcome():
    return BinaryOutcome("PTLF", LABELS)


@pytest.mark.parametrize(
    ("column", "values", "code", "severity"),
    [
        (spec("number"), np.arange(1.0, N + 1), "identifier", "error"),
        (spec("chart"), GENERATOR.permutation(10_000)[:N].astype(float), "identifier-like", "warning"),
        (spec("who", kind="categorical"), [f"w{number}" for number in range(N)], "identifier", "error"),
        (spec("alb_post"), usual(30, 45), "after-event-name", "warning"),
        (spec("x", source=("术后白蛋白",)), usual(30, 45), "after-event-name", "warning"),
        (spec("late", after_event=True), usual(30, 45), "after-event", "error"),
        (spec("part", role="outcome"), usual(30, 45), "outcome-as-predictor", "error"),
        (spec("leak"), LABELS.to_numpy() + usual(0, 0.5), "perfect-predictor", "error"),
        (spec("mirror"), -LABELS.to_numpy() + usual(0, 0.5), "perfect-predictor", "error"),
        (
            spec("group", kind="categorical", levels={"a": ("a",), "b": ("b",)}),
            ["b", "a", "a"] * 20,
            "perfect-predictor",
            "error",
        ),
    ],
)
def test_predictors_that_must_not_be(column, values, code, severity):
    checked = table({column: values})
    finding = only(check_predictors(checked, outcome(), candidates=[column.name]), code)
    assert (finding.severity, finding.column) == (severity, column.name)


def test_a_date_is_no_predictor():
    checked = table({spec("day", kind="date"): [dt.datetime(2024, 1, 1)] * N})
    assert only(check_predictors(checked, candidates=["day"]), "date-as-predictor").severity == "error"


def test_a_nearly_perfect_predictor_is_suspected():
    values = LABELS.to_numpy() + usual(0, 0.5)
    values[0] = 0.3
    finding = only(check_predictors(table({spec("x"): values}), outcome(), candidates=["x"]), "leak-suspected")
    assert finding.severity == "warning"


def test_missing_values_that_tell_the_outcome():
    values = np.where(LABELS == 1, usual(1, 2), np.nan)
    values[1::3] = usual(1, 2)[1::3]
    finding = only(check_predictors(table({spec("x"): values}), outcome(), candidates=["x"]), "missing-tells-outcome")
    assert finding.severity == "warning"


def test_honest_predictors_pass():
    columns = {
        spec("albumin", role="candidate"): usual(30, 45),
        spec("age", role="candidate"): GENERATOR.integers(35, 80, N).astype(float),
        spec("cirrhosis", kind="binary", role="candidate"): (GENERATOR.random(N) < 0.6).astype(float),
    }
    assert check_predictors(table(columns), outcome()) == []


def test_two_columns_that_say_the_same():
    values = usual(30, 45)
    columns = {spec("albumin", role="candidate"): values, spec("alb_g_dl", role="candidate"): values / 10}
    assert only(check_predictors(table(columns)), "same-as-other").column == "alb_g_dl"


@pytest.mark.parametrize("name", ["姓名", "date of birth", "MRN", "住院号", "Vorname", "Phone"])
def test_columns_that_name_a_person(name):
    checked = table({spec("x", source=(name,), kind="categorical"): ["a"] * N})
    assert only(check_identity(checked), "identity-column").severity == "error"


@pytest.mark.parametrize(("header", "severity"), [("姓名", "error"), ("住院号", "warning"), ("study_id", None)])
def test_identifiers_that_name_a_person(header, severity):
    findings = check_identity(table({spec("age"): usual(30, 80)}, id_header=header))
    assert [item.severity for item in findings] == ([severity] if severity else [])


def test_accepted_findings_become_notes():
    column = spec("alb_post", role="candidate", accept=("after-event-name",))
    finding = only(check_table(table({column: usual(30, 45)})), "after-event-name")
    assert finding.severity == "note"
    assert "accepted" in finding.message


def test_fewer_events_than_variables_is_an_error():
    finding = only(check_sample_size(outcome(), 21), "fewer-events-than-variables")
    assert finding.severity == "error"
    assert "20 events" in finding.message


def test_too_few_patients_by_riley():
    findings = check_sample_size(outcome(), 5)
    assert only(findings, "events-per-variable").severity == "warning"
    # By hand: max R2cs of p = 1/3 is 1 - exp(2(1/3 ln 1/3 + 2/3 ln 2/3)) = 0.7200, R2cs = 0.1080,
    # n = 5 / ((0.9 - 1) ln(1 - 0.1080/0.9)) = 391.1 -> 392
    assert "392" in only(findings, "sample-too-small").message


def test_the_rarer_class_has_its_name():
    """28 of 40 patients have the event: the 12 others limit the number of parameters, and are not called events."""
    values = pd.Series([1] * 28 + [0] * 12, index=[f"P{i}" for i in range(40)])
    few = BinaryOutcome("Response", values, "responder", "non-responder")
    note = only(check_sample_size(few, 3), "events-per-variable")
    assert note.message.startswith("4.0 patients without the event (non-responder) per parameter (12 for 3 parameters")
    assert "28 patients have the event" in note.message
    error = only(check_sample_size(few, 15), "fewer-events-than-variables")
    assert error.message.startswith("12 patients without the event (non-responder) for 15 parameters")


def test_sample_size_of_survival_counts_events():
    time = pd.Series(np.arange(1.0, N + 1), index=PATIENTS)
    assert check_sample_size(SurvivalOutcome("TTP", time, LABELS), 2)[0].severity == "note"


def test_parameters_of_categories():
    columns = {
        spec("age", role="candidate"): usual(30, 80),
        spec("ctp", kind="categorical", role="candidate", levels={"A": ("A",), "B": ("B",), "C": ("C",)}): ["A", "B"]
        * 30,
    }
    assert count_parameters(table(columns)) == 3
