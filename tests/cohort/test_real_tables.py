"""The real tables beside the checkout."""

import csv

import numpy as np
import pandas as pd
import pytest

from hepacast.cohort import (
    ColumnSpec,
    assemble_cohort,
    check_table,
    derive_outcome,
    raise_on_errors,
    read_table,
    split_at_random,
)
from hepacast.errors import TableError

HCC = "tables/hcc_tace_seg"
XLSX, CSV = "HCC-TACE-Seg_clinical_data-V2.xlsx", "HCC-TACE-Seg_clinical_data-V2_copy.csv"
RESPONSE = [
    ColumnSpec("response", ("1_mRECIST",), kind="categorical", role="outcome"),
    ColumnSpec("before", ("1_mRECIST_BL",), unit="mm", role="outcome"),
    ColumnSpec("after", ("1_mRECIST_FU",), unit="mm", role="outcome"),
    ColumnSpec("ttp", ("TTP",), role="outcome"),
    ColumnSpec("progressed", ("Censored_0_progressed_1",), kind="binary", role="outcome"),
    ColumnSpec("sex", ("Sex",), kind="binary", levels={"female": ("2",), "male": ("1",)}, role="candidate"),
    ColumnSpec("age", role="candidate"),
    ColumnSpec("afp", unit="ng/mL", role="candidate", log="log10"),
]


def test_excel_and_csv_copies_agree_in_every_cell(data_dir):
    folder = data_dir(HCC)
    excel = read_table(folder / XLSX, id_column="TCIA_ID", sheet="data table")
    text = read_table(folder / CSV, id_column="TCIA_ID")
    assert excel.frame.shape == (105, 56)
    pd.testing.assert_frame_equal(excel.frame, text.frame)
    assert not [item for item in text.findings if item.severity == "error"]


def test_the_glossary_sheet_is_left_alone(data_dir):
    table = read_table(data_dir(HCC) / XLSX, id_column="TCIA_ID", columns=RESPONSE, sheet="data table")
    assert len(table.patients) == 105


def test_objective_response_is_61_of_96(data_dir):
    table = read_table(data_dir(HCC) / CSV, id_column="TCIA_ID", columns=RESPONSE)
    outcome = derive_outcome(table, "mrecist-objective-response", {"category": "response"}, name="OR")
    assert (outcome.n, outcome.n_events, len(outcome.unknown)) == (96, 61, 9)
    assert outcome.facts().to_json()["conditions"] == {"CR": 21, "PR": 40, "SD": 29, "PD": 6}
    cohort = assemble_cohort(table, outcome, split=lambda known: split_at_random(known, seed=1))
    assert cohort.flow.counts().to_json()["included"] == 96


@pytest.mark.parametrize(("reader", "agree", "n"), [(1, 96, 96), (2, 96, 96), (3, 95, 95)])
def test_sums_of_diameters_against_the_readers_categories(data_dir, reader, agree, n):
    """Our rule on the recorded sums against the category that each reader recorded."""
    columns = [
        ColumnSpec("code", (f"{reader}_mRECIST",), kind="categorical"),
        ColumnSpec("before", (f"{reader}_mRECIST_BL",)),
        ColumnSpec("after", (f"{reader}_mRECIST_FU",)),
    ]
    table = read_table(data_dir(HCC) / CSV, id_column="TCIA_ID", columns=columns)
    mapping = {"category": "code", "baseline_sum": "before", "followup_sum": "after"}
    outcome = derive_outcome(table, "mrecist-objective-response", mapping)
    assert outcome.n == n
    assert n - len([item for item in outcome.findings if item.code == "category-differs"]) == agree


def test_survival_of_the_real_table(data_dir):
    table = read_table(data_dir(HCC) / CSV, id_column="TCIA_ID", columns=RESPONSE)
    outcome = derive_outcome(table, "survival", {"time": "ttp", "event": "progressed"}, unit="weeks")
    assert (outcome.n, outcome.n_events) == (105, 45)


@pytest.mark.parametrize(("file", "patient", "row"), [("train_and_internal.csv", "82", 83), ("external.csv", "46", 47)])
def test_the_impossible_child_pugh_is_caught(data_dir, file, patient, row):
    table = read_table(data_dir("tables/mi12_tace") / file, id_column="Order")
    findings = check_table(table)
    errors = [item for item in findings if item.severity == "error"]
    assert [(item.code, item.patient, item.row, item.column) for item in errors] == [
        ("impossible-value", patient, row, "child_pugh")
    ]
    with pytest.raises(TableError, match=f"row {row}, patient {patient}, column child_pugh: 1 points is not possible"):
        raise_on_errors(findings)


def test_early_recurrence_against_a_plain_count(data_dir):
    path = data_dir("tables/asaur_resection") / "hepatoCellular.csv"
    columns = [ColumnSpec("rfs", ("RFS",)), ColumnSpec("recurrence", kind="binary")]
    table = read_table(path, id_column="Number", columns=columns)
    outcome = derive_outcome(table, "early-recurrence", {"time": "rfs", "event": "recurrence"})
    with path.open(encoding="utf-8") as stream:
        rows = [(float(row["RFS"]), int(row["Recurrence"])) for row in csv.DictReader(stream)]
    early = sum(time < 24 and event == 1 for time, event in rows)
    unknown = sum(time < 24 and event == 0 for time, event in rows)
    assert len(rows) == 227
    assert (outcome.n_events, len(outcome.unknown), outcome.n) == (early, unknown, 227 - unknown)


def test_codes_of_the_resection_table_are_not_taken_for_laboratory_values(data_dir):
    table = read_table(data_dir("tables/asaur_resection") / "hepatoCellular.csv", id_column="Number")
    coded = {item.column for item in check_table(table) if item.code == "coded-values"}
    assert {"alt", "ast"} <= coded
    assert np.isfinite(table.frame["age"]).all()
