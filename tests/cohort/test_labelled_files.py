"""SPSS, Stata and REDCap: words for codes, codes for "missing", labels and units."""

import datetime as dt

import numpy as np
import pandas as pd
import pyreadstat
import pytest

from hepacast.cohort import ColumnSpec, raise_on_errors, read_table
from hepacast.cohort.exclusions import find_excluded
from hepacast.cohort.sheets import read_sheets
from hepacast.cohort.split import split_by_column
from hepacast.errors import TableError
from hepacast.study.statistics import load
from hepacast.study.statistics.describing import describe

COLUMNS = [
    ColumnSpec("sex", ("geschl",), kind="binary"),
    ColumnSpec("bclc", kind="categorical"),
    ColumnSpec("alb", unit="g/L", quantity="albumin"),
    ColumnSpec("ecog", quantity="none"),
    ColumnSpec("op", kind="date"),
]


def write(path):
    frame = pd.DataFrame(
        {
            "pat": [1.0, 2, 3, 4, 5],
            "geschl": [1.0, 2, 2, 9, 1],
            "bclc": [2.0, 3, 1, 2, np.nan],
            "alb": [3.8, 4.1, 99, 3.0, -1],
            "ecog": [0.0, 1, 2, 8, 1],
            "number": [1.0, 2, 6, 3, 1],
            "op": [dt.date(2020, 2, d) for d in range(1, 6)],
        }
    )
    pyreadstat.write_sav(
        frame,
        path,
        compress=path.suffix == ".zsav",
        column_labels={"alb": "Albumin (g/dL)", "bclc": "BCLC stage"},
        variable_value_labels={
            "geschl": {1: "weiblich", 2: "männlich", 9: "fehlt"},
            "bclc": {1: "stage 0", 2: "stage A", 3: "before C: B"},
            "ecog": {0: "asymptomatic", 1: "ambulatory", 2: "in bed", 8: "unknown"},
            "number": {6: "six or more"},
        },
        missing_ranges={"geschl": [9], "alb": [{"lo": 90, "hi": 99}, -1]},
        variable_format={"pat": "N5"},
    )
    return path


@pytest.mark.parametrize("suffix", [".sav", ".zsav"])
def test_a_study_reads_spss(tmp_path, suffix):
    table = read_table(write(tmp_path / f"t{suffix}"), id_column="pat", columns=COLUMNS)
    raise_on_errors(table.findings)
    assert table.patients == ["00001", "00002", "00003", "00004", "00005"]
    np.testing.assert_array_equal(table.frame["sex"], [0, 1, 1, np.nan, 0])
    assert table.spec("bclc").level_names == ("stage 0", "stage A", "before C: B")
    assert table.frame["bclc"].tolist()[:4] == ["stage A", "before C: B", "stage 0", "stage A"]
    np.testing.assert_allclose(table.frame["alb"], [38, 41, np.nan, 30, np.nan])
    np.testing.assert_array_equal(table.frame["ecog"], [0, 1, 2, np.nan, 1])
    assert table.frame["op"].tolist()[0] == pd.Timestamp(2020, 2, 1)
    assert table.spec("bclc").label == "BCLC stage"
    said = {(item.code, item.column): item.message for item in table.findings}
    assert "9 (fehlt)" in said["user-missing", "geschl"] and "99, -1" in said["user-missing", "alb"]
    assert ("labels-not-used", "number") in said and ("codes-as-numbers", "ecog") in said


def test_labels_and_codes_name_levels_sets_and_exclusions(tmp_path):
    path = write(tmp_path / "t.sav")
    spec = ColumnSpec("sex", ("geschl",), kind="binary", levels={"woman": (1,), "man": (2,)})
    table = read_table(path, id_column="pat", columns=[spec])
    np.testing.assert_array_equal(table.frame["sex"], [0, 1, 1, np.nan, 0])
    assert find_excluded(table, "bclc", equals=3) == find_excluded(table, "bclc", equals="before C: B") == ["00002"]
    sets = split_by_column(table.values("bclc"), {"training": [2, "stage 0"], "validation": [3]})
    assert sets.to_dict() == {"00001": "training", "00002": "validation", "00003": "training", "00004": "training"}


def test_labels_that_do_not_say_which_is_yes_are_refused(tmp_path):
    path = tmp_path / "t.sav"
    pyreadstat.write_sav(
        pd.DataFrame({"pat": ["a", "b"], "dead": [0.0, 1.0]}), path,
        variable_value_labels={"dead": {0: "verstorben", 1: "lebt"}},
    )  # fmt: skip
    table = read_table(path, id_column="pat", columns=[ColumnSpec("dead", kind="binary")])
    assert [item.code for item in table.findings if item.severity == "error"] == ["unknown-level"] * 2
    assert "code 1" in table.findings[0].message or "code 1" in table.findings[1].message


def test_stats_read_spss_and_stata(tmp_path):
    table = load(write(tmp_path / "t.sav"))
    assert list(table.categories("bclc").cat.categories) == ["stage 0", "stage A", "before C: B"]
    assert table.numbers("ecog").tolist()[:3] == [0, 1, 2]
    assert table.numbers("alb").isna().sum() == 2
    assert table.binary("geschl", positive="weiblich").tolist()[:3] == [1, 0, 0]
    assert "männlich" in describe(table, columns="geschl,number").text()
    frame = pd.DataFrame({"id": ["a", "b"], "sex": [1, 2]})
    pyreadstat.write_dta(frame, tmp_path / "t.dta", variable_value_labels={"sex": {1: "f", 2: "m"}})
    assert load(tmp_path / "t.dta").categories("sex").tolist() == ["f", "m"]


def test_damaged_files_of_spss_never_end_the_program(tmp_path):
    content = write(tmp_path / "t.sav").read_bytes()
    path = tmp_path / "d.sav"
    # At bytes 180 and 212 (widths of the first variables) ReadStat does not raise but dies.
    for bad in (content[: len(content) // 2], *(flipped(content, at) for at in (180, 212))):
        path.write_bytes(bad)
        with pytest.raises(TableError, match=r"d\.sav"):
            read_sheets(path)


def flipped(content, at):
    return content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :]


DICTIONARY = (
    "Variable / Field Name,Form Name,Section Header,Field Type,Field Label,"
    '"Choices, Calculations, OR Slider Labels",Field Note,Text Validation Type OR Show Slider Number\n'
    "record_id,base,,text,Study ID,,,\n"
    'sex,base,,radio,Sex,"1, Male | 2, Female",,\n'
    'ascites,base,,dropdown,<b>Ascites</b>,"0, none | 1, mild, treated | 2, severe",,\n'
    "hbv,base,,yesno,HBV,,,\n"
    'drug,base,,checkbox,Drugs,"1, sorafenib | -2, none",,\n'
    "alb,base,,text,Albumin,,g/dL,number_1dp_comma_decimal\n"
    "tb,base,,text,Total bilirubin (mg/dL),,,number\n"
    "total,base,,calc,Score,[alb]+1,,\n"
)
RAW = (
    "record_id,sex,ascites,hbv,drug___1,drug____2,alb,tb,total\n"
    '001,1,0,1,1,0,"3,8",1.2,4\n002,2,2,0,0,1,"4,1",0.9,5\n003,2,1,,0,0,"3,125",2.0,4\n'
)
LABELLED = (
    "Study ID,Sex,Ascites,HBV,Drugs (choice=sorafenib),Drugs (choice=none),Albumin,Total bilirubin (mg/dL),Score\n"
    '001,Male,none,Yes,Checked,Unchecked,"3,8",1.2,4\n002,Female,severe,No,Unchecked,Checked,"4,1",0.9,5\n'
    '003,Female,"mild, treated",,Unchecked,Unchecked,"3,125",2.0,4\n'
)


@pytest.mark.parametrize("labelled", [False, True])
def test_redcap_exports_with_their_dictionary(tmp_path, labelled):
    export, dictionary = tmp_path / "export.csv", tmp_path / "dictionary.csv"
    export.write_text(LABELLED if labelled else RAW, encoding="utf-8")
    dictionary.write_text(DICTIONARY, encoding="utf-8-sig")
    columns = [
        ColumnSpec("sex", kind="binary"),
        ColumnSpec("ascites", kind="categorical"),
        ColumnSpec("hbv", kind="binary"),
        ColumnSpec("sorafenib", ("drug___1", "Drugs (choice=sorafenib)"), kind="binary"),
        ColumnSpec("untreated", ("drug____2", "Drugs (choice=none)"), kind="binary"),
        ColumnSpec("alb", ("alb", "Albumin"), unit="g/L", quantity="albumin"),
        ColumnSpec("tb", ("tb", "Total bilirubin (mg/dL)"), unit="umol/L", quantity="bilirubin"),
        ColumnSpec("total", ("total", "Score"), quantity="none"),
    ]
    name = "Study ID" if labelled else "record_id"
    table = read_table(export, id_column=name, columns=columns, dictionary=dictionary)
    raise_on_errors(table.findings)
    assert table.patients == ["001", "002", "003"]
    assert table.frame["sex"].tolist() == [1, 0, 0]
    assert table.spec("ascites").level_names == ("none", "mild, treated", "severe")
    assert table.frame["sorafenib"].tolist() == [1, 0, 0] and table.frame["untreated"].tolist() == [0, 1, 0]
    np.testing.assert_array_equal(table.frame["hbv"], [1, 0, np.nan])
    np.testing.assert_allclose(table.frame["alb"], [38, 41, 31.25])
    np.testing.assert_allclose(table.frame["tb"], [20.52, 15.39, 34.2])
    assert table.spec("total").label == "Score"
    stats = load(export, dictionary=dictionary)
    assert stats.categories("Ascites" if labelled else "ascites").tolist() == ["none", "severe", "mild, treated"]
    assert stats.numbers("Albumin" if labelled else "alb").tolist() == [3.8, 4.1, 3.125]


def test_codes_that_the_dictionary_does_not_know(tmp_path):
    export, dictionary = tmp_path / "export.csv", tmp_path / "dictionary.csv"
    export.write_text("record_id,sex\n1,1\n2,-99\n", encoding="utf-8")
    dictionary.write_text(DICTIONARY, encoding="utf-8")
    table = read_table(export, id_column="record_id", columns=[ColumnSpec("sex", kind="binary")], dictionary=dictionary)
    assert {item.code for item in table.findings} >= {"code-unknown", "unknown-level"}
    with pytest.raises(TableError, match="no data dictionary"):
        read_table(export, id_column="record_id", dictionary=export)
