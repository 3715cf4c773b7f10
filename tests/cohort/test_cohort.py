"""Patient flow, sets, exclusions, and the cohort's files."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepacast.cohort import (
    BinaryOutcome,
    ClinicalTable,
    ColumnSpec,
    Finding,
    PatientFlow,
    SurvivalOutcome,
    assemble_cohort,
    find_excluded,
    read_cohort,
    read_patient_list,
    read_table,
    split_at_random,
    split_by_column,
    split_by_list,
    write_cohort,
)
from hepacast.errors import OutcomeError, StorageError, StudyFileError, TableError

PATIENTS = [f"{number:03d}" for number in range(40)]


def make_table():
    generator = np.random.default_rng(1)
    index = pd.Index(PATIENTS, name="patient", dtype=object)
    frame = pd.DataFrame(
        {
            "albumin": generator.uniform(30, 45, 40),
            "sex": (generator.random(40) < 0.8).astype(float),
            "ctp": pd.Series(["A", "B", "A", None] * 10, index=index, dtype=object),
            "center": pd.Series(["1"] * 25 + ["2"] * 15, index=index, dtype=object),
            "visit": pd.Timestamp(2024, 1, 1),
        },
        index=index,
    )
    specs = (
        ColumnSpec("albumin", unit="g/L", role="candidate", plausible=(10, 65)),
        ColumnSpec("sex", kind="binary", role="candidate", levels={"female": ("F", "2"), "male": ("M", "1")}),
        ColumnSpec("ctp", kind="categorical", levels={"A": ("A",), "B": ("B",)}, accept=("rare-level",)),
        ColumnSpec("center", kind="categorical", role="center", levels={"1": ("1",), "2": ("2",)}),
        ColumnSpec("visit", kind="date"),
    )
    return ClinicalTable(frame, specs, (Finding("note", "x", "y", "003", 5, "albumin"),))


def make_outcome(patients=None, unknown=None):
    values = pd.Series([int(number % 4 == 0) for number in range(40)], index=PATIENTS)
    values = values if patients is None else values[patients]
    conditions = pd.DataFrame({"bilirubin": values.astype(float), "coagulation": np.nan}, index=values.index)
    return BinaryOutcome("PTLF", values, "PTLF", "no PTLF", "a source", conditions, unknown or {})


def test_flow_counts_add_up_and_keep_the_first_reason():
    flow = PatientFlow.start("abcdef").exclude("no CT", "ab").exclude("metastases", "bc")
    assert flow.included == ("d", "e", "f")
    assert flow.reason_of("b") == "no CT"
    flow = flow.with_sets({"training": ["d", "e"], "validation": ["f"]}, {"training": 1, "validation": 0})
    entry = flow.counts().to_json()
    assert entry["reviewed"] == 6
    assert [(step["reason"], step["n"]) for step in entry["excluded"]] == [("no CT", 2), ("metastases", 1)]
    assert entry["reviewed"] - sum(step["n"] for step in entry["excluded"]) == entry["included"] == 3
    assert entry["sets"]["training"] == {"n": 2, "events": 1}
    assert flow.to_frame().loc["c"].to_dict() == {"set": "", "reason": "metastases"}


@pytest.mark.parametrize(
    "wrong",
    [
        lambda flow: flow.exclude("x", ["stranger"]),
        lambda flow: flow.with_sets({"training": ["a"]}),
        lambda flow: flow.with_sets({"training": ["a", "b", "c"], "validation": ["c"]}),
        lambda flow: PatientFlow.start("aa"),
    ],
)
def test_flow_that_does_not_add_up_raises(wrong):
    with pytest.raises(TableError):
        wrong(PatientFlow.start("abc"))


@settings(deadline=None)
@given(st.permutations(PATIENTS), st.integers(0, 10_000))
def test_random_split_does_not_depend_on_row_order(order, seed):
    outcome = make_outcome()
    first = split_at_random(outcome, seed=seed)
    second = split_at_random(outcome.select(order), seed=seed)
    assert first.sort_index().equals(second.sort_index())


def test_random_split_is_stratified_and_seeded():
    outcome = make_outcome()
    sets = split_at_random(outcome, seed=3, validation_fraction=0.3)
    validation = outcome.values[sets == "validation"]
    assert (len(validation), int(validation.sum())) == (12, 3)
    assert not sets.equals(split_at_random(outcome, seed=4, validation_fraction=0.3))


def test_random_split_hardly_moves_when_a_patient_leaves():
    """A patient's place depends on its own hash: without one, at most one other per class changes its set."""
    outcome = make_outcome()
    before = split_at_random(outcome, seed=3)
    after = split_at_random(outcome.select(PATIENTS[1:]), seed=3)
    assert (before[PATIENTS[1:]] != after).sum() <= 1


def test_split_by_column():
    sets = split_by_column(make_table().values("center"), {"training": [1], "validation": ["2"]})
    assert sets.value_counts().to_dict() == {"training": 25, "validation": 15}
    with pytest.raises(StudyFileError, match="No patient has '3'"):
        split_by_column(make_table().values("center"), {"training": [1], "validation": [3]})
    with pytest.raises(StudyFileError, match="marks both sets"):
        split_by_column(make_table().values("center"), {"training": [1], "validation": [1]})


def test_split_by_list(tmp_path):
    path = tmp_path / "training.txt"
    path.write_text("# training\n001\n002 # comment\n\n", encoding="utf-8")
    listed = read_patient_list(path)
    assert listed == ["001", "002"]
    sets = split_by_list(PATIENTS, {"training": listed, "validation": ["003"]})
    assert sets.to_dict() == {"001": "training", "002": "training", "003": "validation"}
    with pytest.raises(TableError, match="not in the table"):
        split_by_list(PATIENTS, {"training": ["1"], "validation": ["003"]})
    with pytest.raises(TableError, match="lists of two sets"):
        split_by_list(PATIENTS, {"training": ["003"], "validation": ["003"]})


@pytest.mark.parametrize(
    ("column", "rule", "n"),
    [
        ("ctp", {"equals": "B"}, 10),
        ("ctp", {"equals": ["A", "B"]}, 30),
        ("ctp", {"missing": True}, 10),
        ("albumin", {"above": 100}, 0),
        ("albumin", {"below": 100}, 40),
    ],
)
def test_exclusion_rules(column, rule, n):
    assert len(find_excluded(make_table(), column, **rule)) == n


def test_exclusion_by_the_words_of_a_binary_column():
    table = make_table()
    women = int((table.frame["sex"] == 0).sum())
    assert len(find_excluded(table, "sex", equals=2)) == women
    assert len(find_excluded(table, "sex", equals="female")) == women
    assert len(find_excluded(table, "sex", equals=1)) == 40 - women
    with pytest.raises(StudyFileError, match="has no value 'x'"):
        find_excluded(table, "sex", equals="x")
    with pytest.raises(StudyFileError, match="needs numbers"):
        find_excluded(table, "ctp", above=1)
    with pytest.raises(StudyFileError, match="has no rule"):
        find_excluded(table, "ctp")


def test_patients_are_excluded_by_their_identifiers(tmp_path):
    (tmp_path / "t.csv").write_text("Study ID,albumin\nH-01,40\nH-02,35\n007,38\n", encoding="utf-8")
    table = read_table(tmp_path / "t.csv", id_column="Study ID", columns=[ColumnSpec("albumin", unit="g/L")])
    assert find_excluded(table, "Study ID", equals=["H-02", "007"]) == ["H-02", "007"]
    with pytest.raises(StudyFileError, match="not in the table"):
        find_excluded(table, "Study ID", equals="H-03")
    with pytest.raises(TableError, match="has no column"):
        find_excluded(table, "ID of the visit", equals="H-02")


def test_assembled_cohort_counts_everybody():
    outcome = make_outcome(PATIENTS[2:], {"000": "not recorded: bilirubin; the rest is negative", "001": "x: y"})
    centers = make_table().values("center")
    cohort = assemble_cohort(
        make_table(),
        outcome,
        exclusions={"too young": ["005"], "no CT": ["006", "005"]},
        split=split_by_column(centers, {"training": [1], "validation": [2]}),
        centers=centers,
    )
    entry = cohort.flow.counts().to_json()
    assert entry["reviewed"] == 40
    assert entry["included"] == 36 == len(cohort.patients)
    assert [step["n"] for step in entry["excluded"]] == [1, 1, 1, 1]
    assert entry["sets"]["training"]["n"] + entry["sets"]["validation"]["n"] == 36
    assert entry["sets"]["training"]["events"] == int(cohort.outcome.values[cohort.members("training")].sum())
    assert any(item.code == "outcome-unknown" and item.patient == "000" for item in cohort.findings)


def test_patients_in_no_set_are_counted():
    sets = split_by_list(PATIENTS, {"training": PATIENTS[:20], "validation": PATIENTS[20:30]})
    cohort = assemble_cohort(make_table(), make_outcome(), split=sets)
    assert cohort.flow.counts().to_json()["excluded"][-1]["n"] == 10


def test_a_set_of_one_class_is_refused():
    events = [patient for number, patient in enumerate(PATIENTS) if number % 4 == 0]
    rest = [patient for patient in PATIENTS if patient not in events]
    sets = split_by_list(PATIENTS, {"training": rest + events[:5], "validation": events[5:]})
    with pytest.raises(OutcomeError, match="validation set cannot be used: its 5 patients have 5 events"):
        assemble_cohort(make_table(), make_outcome(), split=sets)


def test_files_round_trip(tmp_path):
    survival = SurvivalOutcome(
        "TTP", pd.Series(np.arange(1.0, 41), index=PATIENTS), pd.Series([1, 0] * 20, index=PATIENTS), "weeks"
    )
    cohort = assemble_cohort(
        make_table(),
        make_outcome(),
        exclusions={"too young": ["005"]},
        split=lambda outcome: split_at_random(outcome, seed=1),
        centers=make_table().values("center"),
        survival={"TTP": survival},
    )
    write_cohort(cohort, tmp_path)
    again = read_cohort(tmp_path)
    pd.testing.assert_frame_equal(cohort.table.frame, again.table.frame)
    assert [spec.to_json() for spec in cohort.table.specs] == [spec.to_json() for spec in again.table.specs]
    pd.testing.assert_series_equal(cohort.outcome.values, again.outcome.values)
    pd.testing.assert_frame_equal(cohort.outcome.conditions, again.outcome.conditions)
    pd.testing.assert_series_equal(cohort.sets, again.sets)
    pd.testing.assert_series_equal(cohort.centers, again.centers)
    assert (cohort.flow, cohort.findings) == (again.flow, again.findings)
    pd.testing.assert_series_equal(cohort.survival["TTP"].time, again.survival["TTP"].time)
    assert {path.name for path in tmp_path.iterdir()} == {
        "clinical.parquet", "columns.json", "flow.json", "outcome.json", "sets.csv", "findings.json",
    }  # fmt: skip
    entry = json.loads((tmp_path / "outcome.json").read_text(encoding="utf-8"))
    assert (entry["kind"], entry["n"], entry["n_events"]) == ("binary", 39, 10)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(StorageError, match=r"clinical\.parquet"):
        read_cohort(tmp_path)
