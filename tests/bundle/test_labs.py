"""A new patient's clinical values: typed, or from a table with one row."""

import math

import openpyxl
import pandas as pd
import pyreadstat
import pytest

from hepacast.bundle.labs import read_labs, values_of_table
from hepacast.cohort import ColumnSpec, read_table
from hepacast.errors import HepacastError, StudyFileError, TableError
from hepacast.study.predict import _given

COLUMNS = [
    ColumnSpec("alb", unit="g/L", quantity="albumin"),
    ColumnSpec("tb", unit="umol/L", quantity="bilirubin", label="Total bilirubin"),
    ColumnSpec("size", unit="cm", quantity="none"),
    ColumnSpec("share", quantity="none"),
    ColumnSpec("ratio", unit="1", quantity="none"),
    ColumnSpec("sex", kind="binary"),
    ColumnSpec("grade", kind="categorical", levels={"unknown": ("unknown",), "high": ("++",)}),
]


def values(given, names):
    return [read_labs(given, COLUMNS, names)[name].value for name in names]


def test_typed_values_follow_the_rules_of_tables():
    assert values({"size": "1,5"}, ["size"]) == [1.5]
    assert values({"size": "3.5 cm"}, ["size"]) == [3.5]
    assert values({"share": "65 %"}, ["share"]) == [0.65]
    assert values({"ratio": "12"}, ["ratio"]) == [12]
    assert values({"grade": "unknown"}, ["grade"]) == ["unknown"]
    assert math.isnan(values({"size": "unknown"}, ["size"])[0])
    for wrong in ("1,234", "35 mm", "x"):
        with pytest.raises(HepacastError):
            read_labs({"size": wrong}, COLUMNS, ["size"])
    with pytest.raises(HepacastError, match="given twice"):
        read_labs({"tb": "20", "Total bilirubin": "30"}, COLUMNS, ["tb"])


def test_a_dash_that_was_a_level_in_training_is_one_now(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("ID,hbv\nA,+\nB,-\n", encoding="utf-8")
    (spec,) = read_table(path, id_column="ID", columns=[ColumnSpec("hbv", kind="binary")]).specs
    again = ColumnSpec.from_json(spec.to_json())
    assert read_labs({"hbv": "-"}, [again], ["hbv"])["hbv"].value == 0


def test_values_from_tables(tmp_path):
    german = tmp_path / "g.csv"
    german.write_bytes(
        "sep=;\nName;ALB (g/dl);Bilirubin gesamt;size;Geschlecht;sex\nX;3,8;;1,25;x;männlich\n".encode("utf-16")
    )
    assert values_of_table(german, COLUMNS[:3] + COLUMNS[5:]) == {
        "alb": "3.8 g/dl", "size": "1.25", "sex": "männlich", "tb": "NA",
    }  # fmt: skip
    read = values(_given([str(german)], COLUMNS), ["alb", "size", "sex"])
    assert read == pytest.approx([38, 1.25, 1])
    book = openpyxl.Workbook()
    page = book.active
    for row in (["share", "TB"], [None, "mg/dL"], [0.4, 1.2]):
        page.append(row)
    page["A3"].number_format = "0%"
    book.save(tmp_path / "t.xlsx")
    assert values(_given([str(tmp_path / "t.xlsx")], COLUMNS), ["share", "tb"]) == pytest.approx([0.4, 20.52])
    frame = pd.DataFrame({"sex": [2.0], "size": [3.0]})
    pyreadstat.write_sav(frame, tmp_path / "t.sav", variable_value_labels={"sex": {1: "female", 2: "male"}})
    assert values(_given([str(tmp_path / "t.sav")], COLUMNS), ["sex", "size"]) == [1, 3]


def test_tables_that_are_not_one_patient_s(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("alb,size\n38,2\n40,3\n", encoding="utf-8")
    with pytest.raises(TableError, match="one row"):
        values_of_table(path, COLUMNS)
    path.write_text("alb;size\n38;2,554\n", encoding="utf-8")
    with pytest.raises(TableError, match="two ways"):
        values_of_table(path, COLUMNS)
    path.write_text("alb,size\n38,2\n", encoding="utf-8")
    with pytest.raises(StudyFileError, match="given twice"):
        _given([str(path), "alb=40"], COLUMNS)


def test_marks_of_a_laboratory_behind_a_value_are_no_unit(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("alb,tb\n38*,25.5 H\n", encoding="utf-8")
    assert values_of_table(path, COLUMNS) == {"alb": "38.0", "tb": "25.5"}


@pytest.mark.parametrize(("name", "text"), [("alb", "<40"), ("tb", "> 20 umol/L"), ("size", "<2.5"), ("size", "≥3")])
def test_a_limit_is_no_value(name, text, tmp_path):
    """Half of a limit of detection stands in within a study, which reports it; here it would be a number in silence."""
    with pytest.raises(HepacastError, match=r"limit|number"):
        values({name: text}, [name])
    path = tmp_path / "t.csv"
    path.write_text(f"{name},other\n{text},1\n", encoding="utf-8")
    with pytest.raises(HepacastError, match=r"limit|number"):
        values(_given([str(path)], COLUMNS), [name])
