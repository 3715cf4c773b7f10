"""Reading tables as hospitals have them."""

import datetime as dt
import gzip
from dataclasses import replace

import numpy as np
import openpyxl
import pandas as pd
import pytest

from hepacast.cohort import ColumnSpec, levels_from_words, raise_on_errors, read_table
from hepacast.cohort.joining import join_sheets
from hepacast.cohort.sheets import read_sheets
from hepacast.errors import StudyFileError, TableError


def workbook(path, sheets):
    """Write `{sheet: rows}`."""
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


def codes(table, severity=None):
    return [item.code for item in table.findings if severity in (None, item.severity)]


def finding(table, code):
    found = [item for item in table.findings if item.code == code]
    assert len(found) == 1, [str(item) for item in table.findings]
    return found[0]


CSV = "ID,Age,TB (µmol/L),ALB[g/dL],sex\n001,61,12.5,3.9,M\n002,58,<3.4,4.1,F\n010,72,20.1,3.0,M\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
def test_csv_in_any_encoding(tmp_path, encoding):
    path = tmp_path / "clinical.csv"
    path.write_bytes(CSV.encode(encoding))
    columns = [
        ColumnSpec("age"),
        ColumnSpec("bilirubin"),
        ColumnSpec("albumin", unit="g/L"),
        ColumnSpec("sex", kind="binary"),
    ]
    table = read_table(path, id_column="ID", columns=columns)
    assert table.patients == ["001", "002", "010"]
    assert table.frame["bilirubin"].tolist() == [12.5, 1.7, 20.1]
    assert table.frame["albumin"].tolist() == pytest.approx([39, 41, 30])
    assert table.frame["sex"].tolist() == [1, 0, 1]
    assert table.spec("sex").level_names == ("female", "male")
    assert table.spec("bilirubin").unit == "umol/L"
    censored = finding(table, "censored-value")
    assert (censored.patient, censored.row, censored.column) == ("002", 3, "bilirubin")
    assert "converted from g/dL to g/L" in finding(table, "unit-converted").message


def test_german_csv_with_semicolons_and_decimal_commas(tmp_path):
    path = tmp_path / "daten.csv"
    text = (
        "Patientennr;Geschlecht;Größe;Gesamtbilirubin (mg/dl);Quick (%);Zirrhose;AFP (ng/ml)\n"
        "P01;männlich;176;1,2;85;ja;1.234,5\nP02;weiblich;165;0,9;n.b.;nein;12,5\nP03;männlich;181;2,45;64;ja;3\n"
    )
    path.write_bytes(text.encode("cp1252"))
    columns = [
        ColumnSpec("sex", ("Geschlecht",), kind="binary"),
        ColumnSpec("height"),
        ColumnSpec("bilirubin", unit="umol/L"),
        ColumnSpec("pta"),
        ColumnSpec("cirrhosis", ("Zirrhose",), kind="binary"),
        ColumnSpec("afp"),
    ]
    table = read_table(path, id_column="Patientennr", columns=columns)
    assert (table.provenance.delimiter, table.provenance.encoding, table.provenance.decimal) == (";", "cp1252", ",")
    assert table.frame["bilirubin"].tolist() == pytest.approx([20.52, 15.39, 41.895])
    assert table.frame["cirrhosis"].tolist() == [1, 0, 1]
    assert np.isnan(table.frame.loc["P02", "pta"])
    assert table.frame["afp"].tolist() == [1234.5, 12.5, 3.0]
    assert not codes(table, "error")


def test_chinese_csv_in_gb18030(tmp_path):
    path = tmp_path / "临床.csv"
    text = "编号,性别,年龄(岁),总胆红素(μmol/L),白蛋白（g/L）,腹水\n0001,男,55,15.2,41,无\n0002,女,61,未测,38.5,有\n"
    path.write_bytes(text.encode("gb18030"))
    columns = [
        ColumnSpec("sex", ("性别",), kind="binary"),
        ColumnSpec("age"),
        ColumnSpec("bilirubin"),
        ColumnSpec("albumin"),
        ColumnSpec("ascites", ("腹水",), kind="binary"),
    ]
    table = read_table(path, id_column="编号", columns=columns)
    assert table.provenance.encoding == "gb18030"
    assert table.patients == ["0001", "0002"]
    assert table.frame["sex"].tolist() == [1, 0]
    assert table.frame["age"].tolist() == [55, 61]
    assert table.frame["ascites"].tolist() == [0, 1]
    assert np.isnan(table.frame.loc["0002", "bilirubin"])
    assert table.spec("albumin").unit == "g/L"
    assert not codes(table, "error")


def test_excel_with_titles_unit_row_and_own_words(tmp_path):
    rows = [
        ["肝癌 TACE 队列 2024"],
        [],
        ["病例号", "性别", "总胆红素", "INR", "肝硬化", "手术日期"],
        ["单位", None, "umol/L", None, None, None],
        [7, "男", 18.2, 1.1, "ja", dt.datetime(2024, 3, 1)],
        ["008", "女", " 22,5 ", "1.05", "nein", "2024年3月9日"],
        [9.0, "男", "<3", 1.3, "ja", 45360],
    ]
    path = workbook(tmp_path / "队列.xlsx", {"数据": rows, "说明": [["nothing here"]]})
    book = openpyxl.load_workbook(path)
    book["数据"].merge_cells("A1:F1")
    book.save(path)
    columns = [
        ColumnSpec("sex", ("性别",), kind="binary", levels=levels_from_words({"女": "female", "男": "male"})),
        ColumnSpec("bilirubin"),
        ColumnSpec("inr"),
        ColumnSpec("cirrhosis", ("肝硬化",), kind="binary", levels=levels_from_words({"ja": 1, "nein": 0})),
        ColumnSpec("tace", ("手术日期",), kind="date"),
    ]
    table = read_table(path, id_column="病例号", columns=columns)
    assert table.patients == ["7", "008", "9"]
    assert table.spec("bilirubin").unit == "umol/L"
    assert table.frame["bilirubin"].tolist() == [18.2, 22.5, 1.5]
    assert table.frame["sex"].tolist() == [1, 0, 1]
    assert table.frame["cirrhosis"].tolist() == [1, 0, 1]
    assert table.frame["tace"].tolist() == [
        pd.Timestamp(2024, 3, 1),
        pd.Timestamp(2024, 3, 9),
        pd.Timestamp(2024, 3, 9),
    ]
    assert finding(table, "censored-value").row == 7
    assert table.row_of("008") == 6
    assert not codes(table, "error")


def test_excel_sheets_of_the_same_patients_are_joined(tmp_path):
    path = workbook(
        tmp_path / "two.xlsx",
        {
            "clinic": [["ID", "Age"], ["a", 50], ["b", 60]],
            "lab": [["ID", "ALB (g/L)"], ["b", 38], ["a", 41], ["c", 30]],
            "notes": [["written by", "somebody"]],
        },
    )
    table = read_table(path, id_column="ID", columns=[ColumnSpec("age"), ColumnSpec("albumin")])
    assert table.frame["albumin"].to_dict() == {"a": 41, "b": 38, "c": 30}
    assert np.isnan(table.frame.loc["c", "age"])
    assert "c" in finding(table, "sheet-incomplete").message
    only = read_table(path, id_column="ID", columns=[ColumnSpec("age")], sheet="clinic")
    assert only.patients == ["a", "b"]


def test_excel_sheets_of_other_patients_are_stacked(tmp_path):
    path = workbook(
        tmp_path / "centers.xlsx",
        {"center 1": [["ID", "Age"], ["a", 50]], "center 2": [["Age", "ID"], [61, "b"]]},
    )
    table = read_table(path, id_column="ID", columns=[ColumnSpec("age")])
    assert table.frame["age"].to_dict() == {"a": 50, "b": 61}
    assert codes(table) == ["sheets-stacked"]


def test_a_glossary_of_the_columns_is_no_sheet_of_patients(tmp_path):
    """Its first column is headed as the identifier is, since it explains that column first."""
    words = [["ID", "study number"], ["Age", "years at treatment"], ["ALB ", "albumin, g/L"], ["AFP", "ng/mL"]]
    path = workbook(
        tmp_path / "t.xlsx",
        {"data": [["ID", "Age", "ALB", "AFP"], ["a", 50, 38, 9], ["b", 61, 35, 12]], "glossary": words},
    )
    table = read_table(path, id_column="ID", columns=[ColumnSpec("age")])
    assert table.patients == ["a", "b"]
    assert "glossary (3 rows)" in finding(table, "glossary-sheets").message


def test_sheets_that_disagree(tmp_path):
    path = workbook(
        tmp_path / "two.xlsx",
        {"one": [["ID", "Age"], ["a", 50], ["b", 40]], "two": [["ID", "Age"], ["a", 51], ["b", 40]]},
    )
    table = read_table(path, id_column="ID", columns=[ColumnSpec("age")])
    remark = finding(table, "sheets-disagree")
    assert (remark.patient, remark.row, remark.severity) == ("a", 2, "error")
    named = read_table(path, id_column="ID", columns=[ColumnSpec("age", sheet="two")])
    assert named.frame.loc["a", "age"] == 51


@pytest.mark.parametrize("identifier", ["", "ID"])
def test_groups_merged_over_the_headers_are_no_headers(tmp_path, identifier):
    path = tmp_path / "t.xlsx"
    book = openpyxl.Workbook()
    for row in (["Patient", None, "AFP", None], ["ID", "Age", "before", "after"], ["a", 50, 3, 4], ["b", 61, 5, 6]):
        book.active.append(row)
    for area in ("A1:B1", "C1:D1"):
        book.active.merge_cells(area)
    book.save(path)
    sheet = read_sheets(path, id_column=identifier)[0]
    assert sheet.headers == ("ID", "Age", "before", "after") and sheet.column("after") == [4, 6]


@pytest.mark.parametrize("second", [None, [["ID", "INR"], ["c", 1.1], ["a", 1]], [["ID", "Age"], ["c", 7], ["a", 50]]])
def test_values_of_a_column_are_those_of_its_cells(tmp_path, second):
    sheets = {"one": [["ID", "Age"], ["b", 40], ["a", None]]} | ({"two": second} if second else {})
    raw, _ = join_sheets(read_sheets(workbook(tmp_path / "t.xlsx", sheets)), id_column="ID", sheet=None)
    for header in raw.headers:
        cells, _ = raw.collect(header)
        assert raw.values(header) == [cells[one].value if one in cells else None for one in raw.patients]


def test_excel_percent_leading_zeros_formula_and_error(tmp_path):
    path = tmp_path / "odd.xlsx"
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.append(["ID", "PTA", "Age", "ALB (g/L)"])
    sheet.append([12, 0.65, "=1+1", 40])
    sheet.append([345, 0.8, 55, "#DIV/0!"])
    sheet["D3"].data_type = "e"
    for row in (2, 3):
        sheet.cell(row, 1).number_format = "00000"
        sheet.cell(row, 2).number_format = "0%"
    book.save(path)
    columns = [ColumnSpec("pta", unit="%"), ColumnSpec("age"), ColumnSpec("albumin")]
    table = read_table(path, id_column="ID", columns=columns)
    assert table.patients == ["00012", "00345"]
    assert table.frame["pta"].tolist() == pytest.approx([65, 80])
    problems = [item for item in table.findings if item.code == "unreadable-cell"]
    assert {(item.patient, item.column) for item in problems} == {("00012", "age"), ("00345", "albumin")}
    assert table.frame[["age", "albumin"]].isna().to_numpy().tolist() == [[True, False], [False, True]]


def test_parquet(tmp_path):
    path = tmp_path / "clinical.parquet"
    pd.DataFrame({"ID": ["01", "02"], "Age": [50.0, np.nan], "sex": ["m", None]}).to_parquet(path)
    table = read_table(path, id_column="ID", columns=[ColumnSpec("age"), ColumnSpec("sex", kind="binary")])
    assert table.patients == ["01", "02"]
    assert table.frame["age"].isna().tolist() == [False, True]
    assert table.frame["sex"].isna().tolist() == [False, True]


def test_numbers_written_in_two_ways_may_be_one_patient(tmp_path):
    path = tmp_path / "ids.csv"
    path.write_text("ID,Age\n1,50\n1.0,51\n2,52\nP1.0,53\n", encoding="utf-8")
    table = read_table(path, id_column="ID", columns=[ColumnSpec("age")])
    assert "'1', '1.0'" in finding(table, "similar-id").message


def test_duplicate_missing_and_similar_ids(tmp_path):
    path = tmp_path / "ids.csv"
    path.write_text("ID,Age\nHCC_01,50\nHCC_02,51\nHCC_01,52\n,53\nhcc-02,54\n\n", encoding="utf-8")
    table = read_table(path, id_column="ID", columns=[ColumnSpec("age")])
    duplicate = finding(table, "duplicate-id")
    assert (duplicate.severity, duplicate.patient, duplicate.row) == ("error", "HCC_01", 4)
    assert "row 2" in duplicate.message
    assert finding(table, "missing-id").row == 5
    assert finding(table, "similar-id").severity == "warning"
    with pytest.raises(TableError, match=r"row 4, patient HCC_01") as caught:
        raise_on_errors(table.findings)
    assert caught.value.exit_code == 2


def test_text_in_a_column_of_numbers_is_an_error_with_its_place(tmp_path):
    path = tmp_path / "text.csv"
    path.write_text("ID,Age\na,50\nb,fifty\nc,1-2\n", encoding="utf-8")
    table = read_table(path, id_column="ID", columns=[ColumnSpec("age")])
    errors = [item for item in table.findings if item.severity == "error"]
    assert [(item.patient, item.row, item.column) for item in errors] == [("b", 3, "age"), ("c", 4, "age")]
    assert table.frame["age"].isna().tolist() == [False, True, True]


def test_a_number_with_two_readings_is_refused_unless_said(tmp_path):
    path = tmp_path / "two.csv"
    path.write_text("ID;AFP\na;1,234\nb;2,345\n", encoding="utf-8")
    column = ColumnSpec("afp", unit="ng/mL")
    table = read_table(path, id_column="ID", columns=[column])
    assert codes(table, "error") == ["ambiguous-number"] * 2
    assert table.frame["afp"].isna().all()
    comma = read_table(path, id_column="ID", columns=[column], decimal=",")
    assert comma.frame["afp"].tolist() == [1.234, 2.345]
    point = read_table(path, id_column="ID", columns=[column], decimal=".")
    assert point.frame["afp"].tolist() == [1234, 2345]


def test_the_decimal_mark_proven_elsewhere_in_the_file_counts(tmp_path):
    path = tmp_path / "proof.csv"
    path.write_text("ID;INR;AFP\na;1,1;1,234\nb;1,05;2,345\n", encoding="utf-8")
    table = read_table(path, id_column="ID", columns=[ColumnSpec("inr"), ColumnSpec("afp", unit="ng/mL")])
    assert table.frame["afp"].tolist() == [1.234, 2.345]


def test_units_that_contradict(tmp_path):
    path = tmp_path / "units.csv"
    path.write_text("ID,TB (mg/dL)\na,1.2\nb,0.9\n", encoding="utf-8")
    stated = ColumnSpec("tb", ("TB",), quantity="bilirubin", unit="umol/L", source_unit="umol/L")
    assert codes(read_table(path, id_column="ID", columns=[stated]), "error") == ["unit-conflict"]
    wanted = ColumnSpec("tb", ("TB",), quantity="bilirubin", unit="umol/L")
    assert read_table(path, id_column="ID", columns=[wanted]).frame["tb"].tolist() == pytest.approx([20.52, 15.39])


def test_a_header_with_an_impossible_unit(tmp_path):
    path = tmp_path / "units.csv"
    path.write_text("ID,TB (g/L)\na,1.2\n", encoding="utf-8")
    table = read_table(path, id_column="ID", columns=[ColumnSpec("tb", ("TB (g/L)",), quantity="bilirubin")])
    assert codes(table, "error") == ["wrong-unit"]


def test_a_cell_with_its_own_unit(tmp_path):
    path = tmp_path / "units.csv"
    path.write_text("ID,ALB (g/L)\na,38\nb,4.1 g/dL\nc,36 g/L\n", encoding="utf-8")
    table = read_table(path, id_column="ID", columns=[ColumnSpec("albumin")])
    assert table.frame["albumin"].tolist() == pytest.approx([38, 41, 36])
    assert finding(table, "unit-in-cell").patient == "b"


def test_unknown_words_name_the_known_ones(tmp_path):
    path = tmp_path / "words.csv"
    path.write_text("ID,sex\na,M\nb,mle\nc,F\n", encoding="utf-8")
    table = read_table(path, id_column="ID", columns=[ColumnSpec("sex", kind="binary")])
    remark = finding(table, "unknown-level")
    assert (remark.severity, remark.patient, remark.row) == ("error", "b", 3)
    assert "did you mean 'male'" in remark.message


def test_plus_and_minus(tmp_path):
    path = tmp_path / "serology.csv"
    path.write_text("ID,HBsAg,HCV\na,+,-\nb,-,-\nc,+,1\n", encoding="utf-8")
    columns = [ColumnSpec("hbsag", kind="binary"), ColumnSpec("hcv", kind="binary")]
    table = read_table(path, id_column="ID", columns=columns)
    assert table.frame["hbsag"].tolist() == [1, 0, 1]
    assert table.frame["hcv"].isna().tolist() == [True, True, False]
    assert "2 cells" in finding(table, "dash-missing").message


def test_missing_column_names_the_nearest(tmp_path):
    path = tmp_path / "c.csv"
    path.write_text("ID,Albumine\na,1\n", encoding="utf-8")
    with pytest.raises(TableError, match="did you mean 'Albumine'"):
        read_table(path, id_column="ID", columns=[ColumnSpec("x", ("Albumin",))])


def test_two_headers_for_one_column(tmp_path):
    path = tmp_path / "c.csv"
    path.write_text("ID,ALB (g/L),白蛋白\na,40,41\n", encoding="utf-8")
    with pytest.raises(TableError, match="Several headers"):
        read_table(path, id_column="ID", columns=[ColumnSpec("albumin")])


@pytest.mark.parametrize("name", ["t.csv.gz", "t.gz"])
def test_a_compressed_table_and_a_damaged_one(tmp_path, name):
    path = tmp_path / name
    packed = gzip.compress(b"ID;age\n01;44,5\n02;51\n")
    path.write_bytes(packed)
    assert read_table(path, id_column="ID", columns=[ColumnSpec("age")]).frame["age"].to_dict() == {
        "01": 44.5,
        "02": 51,
    }
    for content in (packed[:-9], b"no gzip", packed[:10] + b"\xff" * 20):
        path.write_bytes(content)
        with pytest.raises(TableError, match="unpacked"):
            read_table(path, id_column="ID")


def test_a_compressed_file_of_another_kind_is_no_table(tmp_path):
    path = tmp_path / "t.nii.gz"
    path.write_bytes(gzip.compress(b"ID;age\n01;44,5\n"))
    with pytest.raises(TableError, match="not read as tables"):
        read_table(path, id_column="ID")


def test_missing_id_column(tmp_path):
    path = tmp_path / "c.csv"
    path.write_text("Patient,Age\na,40\n", encoding="utf-8")
    with pytest.raises(TableError, match="ID column 'PatientID'"):
        read_table(path, id_column="PatientID")


@pytest.mark.parametrize(
    ("name", "content"),
    [("none.csv", None), ("empty.csv", b""), ("old.xls", b"x"), ("broken.xlsx", b"not a zip"), ("bad.parquet", b"PAR")],
)
def test_files_that_cannot_be_read(tmp_path, name, content):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TableError):
        read_table(path, id_column="ID")


def test_dates_that_cannot_be_told_apart(tmp_path):
    path = tmp_path / "dates.csv"
    path.write_text("ID,tace\na,03/04/2024\nb,25/12/2023\nc,31.01.2024\nd,30.02.2024\n", encoding="utf-8")
    table = read_table(path, id_column="ID", columns=[ColumnSpec("tace", kind="date")])
    assert [item.patient for item in table.findings if item.code == "not-a-date"] == ["a", "d"]
    said = ColumnSpec("tace", kind="date", date_format="%d/%m/%Y")
    assert read_table(path, id_column="ID", columns=[said]).frame.loc["a", "tace"] == pd.Timestamp(2024, 4, 3)


def test_excel_turned_a_number_into_a_date(tmp_path):
    path = workbook(tmp_path / "d.xlsx", {"s": [["ID", "Age"], ["a", dt.datetime(2024, 1, 2)], ["b", 50]]})
    table = read_table(path, id_column="ID", columns=[ColumnSpec("age")])
    assert finding(table, "date-in-number").patient == "a"


def test_equal_remarks_are_put_together(tmp_path):
    path = tmp_path / "many.csv"
    path.write_text("ID,sex\n" + "".join(f"p{number},1\n" for number in range(50)), encoding="utf-8")
    table = read_table(path, id_column="ID", columns=[ColumnSpec("sex", kind="binary")])
    assert "50 cells" in finding(table, "unknown-level").message


def test_inferred_columns(tmp_path):
    path = tmp_path / "c.csv"
    path.write_text(
        "ID,白蛋白 (g/L),Sex,Group,AFP band\na,40,M,x,<400\nb,41,F,y,>=400\nc,39,M,z,<400\n", encoding="utf-8"
    )
    table = read_table(path, id_column="ID")
    kinds = {spec.name: spec.kind for spec in table.specs}
    assert kinds == {"albumin": "numeric", "sex": "binary", "group": "categorical", "afp_band": "categorical"}
    assert table.candidates == []


def test_predictors_apply_the_logarithm(tmp_path):
    path = tmp_path / "c.csv"
    path.write_text("ID,AFP (ng/mL),CTP\na,10,A\nb,1000,B\n", encoding="utf-8")
    columns = [
        ColumnSpec("afp", role="candidate", log="log10"),
        ColumnSpec("ctp", kind="categorical", role="candidate", levels={"A": ("A",), "B": ("B",), "C": ("C",)}),
    ]
    table = read_table(path, id_column="ID", columns=columns)
    predictors = table.predictors()
    assert predictors["afp"].tolist() == [1, 3]
    assert list(predictors["ctp"].cat.categories) == ["A", "B", "C"]
    assert table.frame["afp"].tolist() == [10, 1000]


def test_bad_descriptions_are_refused():
    with pytest.raises(StudyFileError, match="is not a unit of Albumin"):
        ColumnSpec("albumin", quantity="albumin", unit="mmol/L")
    with pytest.raises(StudyFileError, match="two levels"):
        ColumnSpec("x", kind="binary", levels={"a": ("a",), "b": ("b",), "c": ("c",)})
    with pytest.raises(StudyFileError, match="unknown kind"):
        ColumnSpec("x", kind="nummeric")
    with pytest.raises(TableError, match="did you mean 'albumin'"):
        ColumnSpec("x", quantity="albumine")


def test_row_order_changes_nothing(tmp_path):
    lines = CSV.strip().split("\n")
    first, second = tmp_path / "a.csv", tmp_path / "b.csv"
    first.write_text("\n".join(lines), encoding="utf-8")
    second.write_text("\n".join([lines[0], *reversed(lines[1:])]), encoding="utf-8")
    one, two = (read_table(path, id_column="ID").frame.sort_index() for path in (first, second))
    pd.testing.assert_frame_equal(one, two)


@pytest.mark.parametrize("cell", ["6020-01-16", "0020-01-16", "16.1.1020", dt.date(2920, 1, 16)])
def test_dates_outside_a_patient_s_time_are_refused(tmp_path, cell):
    path = workbook(tmp_path / "t.xlsx", {"a": [["ID", "op"], ["A", cell], ["B", "2020-01-16"]]})
    table = read_table(path, id_column="ID", columns=[ColumnSpec("op", kind="date")])
    assert finding(table, "not-a-date").patient == "A"
    assert table.frame["op"].isna().tolist() == [True, False]


@pytest.mark.parametrize(("unit", "told"), [("g/Ll", True), ("mmol/L", True), ("g/dL", False), ("", False)])
def test_a_unit_that_the_quantity_of_the_name_does_not_have_is_told(tmp_path, unit, told):
    path = tmp_path / "t.csv"
    path.write_text("ID,ALB\na,3.8\nb,4.1\n")
    spec = ColumnSpec("albumin", ("ALB",), unit=unit)
    assert ("unit-of-no-quantity" in codes(read_table(path, id_column="ID", columns=[spec]), "warning")) == told
    other = replace(spec, quantity="none")
    assert "unit-of-no-quantity" not in codes(read_table(path, id_column="ID", columns=[other]), "warning")
