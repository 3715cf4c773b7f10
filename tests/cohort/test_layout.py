"""What files say beside their cells: hidden and merged parts, epochs, totals, separators, damage."""

import datetime as dt
import random
import zipfile

import openpyxl
import pandas as pd
import pytest
from openpyxl.cell.rich_text import CellRichText, TextBlock
from openpyxl.cell.text import InlineFont
from openpyxl.utils.datetime import CALENDAR_MAC_1904

from hepacast.cohort import ColumnSpec, read_table
from hepacast.cohort.joining import near_ids
from hepacast.cohort.patient_rows import name_rows
from hepacast.cohort.sheets import read_sheets
from hepacast.errors import HepacastError, TableError
from hepacast.study.statistics import load

ROWS = [["ID", "center", "Age"], *[[f"P{i}", "north" if i < 4 else "south", 40 + i] for i in range(1, 9)]]


def workbook(path, rows=ROWS, change=None):
    book = openpyxl.Workbook()
    page = book.active
    for row in rows:
        page.append(row)
    if change:
        change(book, page)
    book.save(path)
    return path


def said(table, code):
    return [item.message for item in table.findings if item.code == code]


def test_hidden_rows_and_columns_are_read_and_said(tmp_path):
    def hide(book, page):
        for row in (3, 4, 7):
            page.row_dimensions[row].hidden = True
        page.column_dimensions["C"].hidden = True

    table = read_table(workbook(tmp_path / "t.xlsx", change=hide), id_column="ID", columns=[ColumnSpec("age")])
    assert len(table.patients) == 8
    assert "3 rows" in said(table, "hidden-rows")[0] and "rows 3 to 4, 7" in said(table, "hidden-rows")[0]
    assert "Age" in said(table, "hidden-columns")[0]


def test_hidden_columns_of_a_group(tmp_path):
    def hide(book, page):
        page.column_dimensions.group("B", "C", hidden=True)

    table = read_table(workbook(tmp_path / "t.xlsx", change=hide), id_column="ID", columns=[ColumnSpec("age")])
    assert said(table, "hidden-columns")[0].endswith("center, Age")


@pytest.mark.parametrize("state", ["hidden", "veryHidden"])
def test_hidden_sheets_are_read_only_when_named(tmp_path, state):
    def add(book, page):
        old = book.create_sheet("old")
        for row in (["ID", "Age"], ["Q1", 70], ["Q2", 71]):
            old.append(row)
        old.sheet_state = state

    path = workbook(tmp_path / "t.xlsx", change=add)
    table = read_table(path, id_column="ID", columns=[ColumnSpec("age")])
    assert len(table.patients) == 8
    assert "old (2 rows)" in said(table, "hidden-sheets")[0]
    assert read_table(path, id_column="ID", columns=[ColumnSpec("age")], sheet="old").patients == ["Q1", "Q2"]


def test_merged_cells_count_for_each_of_their_rows(tmp_path):
    def merge(book, page):
        page.merge_cells("B2:B4")
        page.merge_cells("B5:B9")

    path = workbook(tmp_path / "t.xlsx", change=merge)
    table = read_table(path, id_column="ID", columns=[ColumnSpec("center", kind="categorical")])
    assert table.frame["center"].tolist() == ["north"] * 3 + ["south"] * 5
    assert "center (2)" in said(table, "merged-cells")[0]


def test_cells_merged_over_columns_are_named(tmp_path):
    path = workbook(tmp_path / "t.xlsx", change=lambda book, page: page.merge_cells("B3:C3"))
    table = read_table(path, id_column="ID", columns=[ColumnSpec("age")])
    assert pd.isna(table.frame.loc["P2", "age"])
    assert "row 3" in said(table, "merged-columns")[0]


@pytest.mark.parametrize("epoch1904", [False, True])
def test_days_are_counted_from_the_workbook_s_epoch(tmp_path, epoch1904):
    day = dt.datetime(2021, 5, 17)

    def plain(book, page):
        if epoch1904:
            book.epoch = CALENDAR_MAC_1904
        zero = dt.datetime(1904, 1, 1) if epoch1904 else dt.datetime(1899, 12, 30)
        page.append(["B", (day - zero).days])
        page.append(["C", str((day - zero).days)])

    path = workbook(tmp_path / "t.xlsx", [["ID", "tace"], ["A", day]], plain)
    table = read_table(path, id_column="ID", columns=[ColumnSpec("tace", kind="date")])
    assert table.frame["tace"].tolist() == [pd.Timestamp(day)] * 3


@pytest.mark.parametrize("word", ["Total", "Mean ± SD", "合 计", "平均值", "Mittelwert:", "Total (n = 2)", "SUM"])
def test_rows_of_totals_are_no_patients(tmp_path, word):
    path = tmp_path / "t.csv"
    path.write_text(f"ID,Age\nA,50\nB,60\n{word},110\nMax,60\n", encoding="utf-8")
    table = read_table(path, id_column="ID", columns=[ColumnSpec("age")])
    assert table.patients == ["A", "B"]
    assert "rows 4 to 5" in said(table, "total-row")[0]


def test_somebody_called_max_is_a_patient(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("ID,Age\nA,50\nMax,60\n", encoding="utf-8")
    assert read_table(path, id_column="ID", columns=[ColumnSpec("age")]).patients == ["A", "Max"]


def test_notes_beneath_the_table_are_no_patients(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("ID,Age\nA,50\nB,60\n\nNote: ages at admission,\n注：数据截至2024年,\n", encoding="utf-8")
    table = read_table(path, id_column="ID", columns=[ColumnSpec("age")])
    assert table.patients == ["A", "B"]
    assert "rows 5 to 6" in said(table, "note-row")[0]


def test_a_level_called_total_is_kept_where_no_identifier_leads(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("resection,y\ntotal,1\npartial,0\npartial,1\n", encoding="utf-8")
    assert len(read_sheets(path)[0].rows) == 3


def test_the_line_of_excel_that_names_the_separator(tmp_path):
    for number, line in enumerate(("sep=|\n", '\ufeff"sep=|"\r\n', "SEP=|\n")):
        path = tmp_path / f"{number}.csv"
        path.write_text(line + "ID|Age, years|x\nA|1,5|2\nB|2,5|3\n", encoding="utf-8")
        sheet = read_sheets(path, id_column="ID")[0]
        assert sheet.headers == ("ID", "Age, years", "x")
        assert sheet.rows == (2, 3)


def test_a_semicolon_wins_over_as_many_decimal_commas(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("ID;AFP, ng/mL\nA;1,5\nB;2,5\n", encoding="utf-8")
    assert read_sheets(path)[0].headers == ("ID", "AFP, ng/mL")


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"ID,size,y\nA,1,5,1\nB,2,5,0\n", "more cells than the header"),
        (b'ID,Age\nA,"50\nB,60\nC,70\n', "quotes"),
        (b'ID,Age\n"A,50\nB",60,70\nC,70\n', "more cells|quotes"),
        (b"\xff\xfeI\x00D", "columns|found|empty|rows|ID"),
        (b"\xff\xfeI\x00D\x00,", "text file"),
        (b"ID,Age\nA,\x0050\n", "text file"),
        (b"sep=;\n", "empty"),
        (b"PK\x03\x04 and so on", "xlsx"),
    ],
)
def test_texts_that_would_shift_or_lose_values_are_refused(tmp_path, content, word):
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(TableError, match=f"(?i){word}"):
        read_table(path, id_column="ID", columns=[ColumnSpec("age")])


def test_values_without_a_header_are_said(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("ID,Age,\nA,50,7\nB,60,\n", encoding="utf-8")
    table = read_table(path, id_column="ID", columns=[ColumnSpec("age")])
    assert "column 3" in said(table, "no-header")[0]


def test_damaged_workbooks_are_refused_in_words(tmp_path):
    whole = workbook(tmp_path / "whole.xlsx")
    with zipfile.ZipFile(whole) as source:
        parts = {name: source.read(name) for name in source.namelist()}
    for number, name in enumerate(parts):
        for change in (lambda data: data[: len(data) // 2], lambda data: b"", lambda data: data.replace(b"r", b"<", 3)):
            path = tmp_path / f"d{number}.xlsx"
            with zipfile.ZipFile(path, "w") as target:
                for other, data in parts.items():
                    target.writestr(other, change(data) if other == name else data)
            try:
                read_sheets(path, id_column="ID")
            except TableError as error:
                assert path.name in str(error)
    content = whole.read_bytes()
    for start in range(30, len(content), 311):
        path = tmp_path / "bits.xlsx"
        path.write_bytes(content[:start] + bytes([content[start] ^ 0x10]) + content[start + 1 :])
        try:
            read_sheets(path, id_column="ID")
        except TableError as error:
            assert path.name in str(error)


def test_a_protected_workbook_and_a_damaged_parquet_are_named(tmp_path):
    locked = tmp_path / "locked.xlsx"
    locked.write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600)
    with pytest.raises(TableError, match="password"):
        read_sheets(locked)
    good = tmp_path / "good.parquet"
    pd.DataFrame({"ID": ["a", "b"], "Age": [1.0, 2.0]}).to_parquet(good)
    content = good.read_bytes()
    for start in range(4, len(content), 97):
        bad = tmp_path / "bad.parquet"
        bad.write_bytes(content[:start] + bytes([content[start] ^ 0xFF]) + content[start + 1 :])
        try:
            read_sheets(bad, id_column="ID")
        except TableError as error:
            assert "bad.parquet" in str(error)


def test_identifiers_of_numbers(tmp_path):
    def styled(book, page):
        for row, style in ((2, "0000"), (3, '"HCC"000'), (4, "General")):
            page.cell(row, 1).number_format = style

    path = workbook(tmp_path / "t.xlsx", [["ID", "Age"], [7, 1], [8, 2], [9.0, 3]], styled)
    assert read_table(path, id_column="ID", columns=[ColumnSpec("age")]).patients == ["0007", "HCC008", "9"]
    path = tmp_path / "t.csv"
    path.write_text("ID,Age\n1.0,50\n2.0,51\n,\n", encoding="utf-8")
    assert read_table(path, id_column="ID", columns=[ColumnSpec("age")]).patients == ["1", "2"]
    path.write_text("ID,Age\n1.0,50\n2.5,51\n", encoding="utf-8")
    assert read_table(path, id_column="ID", columns=[ColumnSpec("age")]).patients == ["1.0", "2.5"]


@pytest.mark.parametrize(
    ("cell", "lost"), [(110101199003071234, True), ("110101199003071234", False), (20240001, False)]
)
def test_identifiers_that_lost_their_last_digits(tmp_path, cell, lost):
    path = workbook(tmp_path / "t.xlsx", [["ID", "Age"], [cell, 1], ["B", 2]])
    table = read_table(path, id_column="ID", columns=[ColumnSpec("age")])
    assert bool(said(table, "id-digits-lost")) == lost
    assert lost or table.patients[0] == str(cell)
    text = tmp_path / "t.csv"
    text.write_text("ID,Age\n1.10101E+17,1\n", encoding="utf-8")
    assert said(read_table(text, id_column="ID", columns=[ColumnSpec("age")]), "id-digits-lost")


def test_rows_by_name():
    assert name_rows([3]) == "row 3"
    assert name_rows([7, 3, 4, 5]) == "rows 3 to 5, 7"


def test_a_header_of_two_rows(tmp_path):
    rows = [
        ["ID", "Age", "before", None, "after", None],
        [None, None, "TB", "ALB", "TB", "Remark"],
        ["A", 50, 10, 40, 20, "x"],
        ["B", 60, 11, 41, 21, "y"],
    ]

    def merge(book, page):
        for cells in ("A1:A2", "B1:B2", "C1:D1", "E1:F1"):
            page.merge_cells(cells)

    path = workbook(tmp_path / "t.xlsx", rows, merge)
    sheet = read_sheets(path, id_column="ID")[0]
    assert sheet.headers == ("ID", "Age", "before TB", "ALB", "after TB", "Remark")
    assert sheet.rows == (3, 4)
    assert [item.code for item in sheet.findings] == ["header-rows"]


def test_rows_that_end_too_early(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("ID,Age,size\nA,50\nB,60,2\n", encoding="utf-8")
    assert "row 2" in said(read_table(path, id_column="ID", columns=[ColumnSpec("age")]), "short-row")[0]
    path.write_text("ID,Age,size\nA,50,1\nB,6", encoding="utf-8")
    with pytest.raises(TableError, match="cut off"):
        read_sheets(path, id_column="ID")


def test_mutated_texts_are_read_or_refused(tmp_path):
    draw = random.Random(12)
    rows = "".join(f"{i:03d};{40 + i};{i % 3},5;{'+-'[i % 2]};2021-05-{1 + i % 28:02d}\n" for i in range(30))
    content = ("ID;Age;size;HBV;op\n" + rows).encode()
    columns = [ColumnSpec("age"), ColumnSpec("size", quantity="none"), ColumnSpec("hbv", kind="binary")]
    columns.append(ColumnSpec("op", kind="date"))
    path = tmp_path / "t.csv"
    for _ in range(150):
        bad = bytearray(content)
        for _ in range(draw.choice([1, 1, 5])):
            at = draw.randrange(len(bad))
            bad[at : at + draw.choice([0, 1, 1, 9])] = bytes([draw.randrange(256)] * draw.choice([0, 1, 1, 3]))
        path.write_bytes(bytes(bad))
        try:
            read_table(path, id_column="ID", columns=columns)
        except HepacastError as error:
            assert error.exit_code == 2


@pytest.mark.parametrize(
    ("first", "second"),
    [("001", "1"), ("P001", "P1"), ("p-1", "P_01"), ("００１", "001"), ("A\u200b7", "A7"), ("7 ", "07")],
)
def test_identifiers_that_look_alike(first, second):
    assert near_ids([first], [second]) == {first: second}


def test_identifiers_that_do_not(tmp_path):
    assert not near_ids(["P10", "1.5"], ["P1", "15", "P100"])


@pytest.mark.parametrize("at", [1, 4, -8])
def test_damaged_utf8_is_no_other_encoding(tmp_path, at):
    content = bytearray("编号,性别,备注\n1,男,正常\n2,女,肝硬化\n".encode())
    content[at] = 0xFF
    path = tmp_path / "t.csv"
    path.write_bytes(bytes(content))
    with pytest.raises(TableError, match="damaged UTF-8 in line"):
        read_sheets(path)


PATIENTS = [[f"L-{i:03d}", 20 + 3 * i, 40 + i * i] for i in range(1, 13)]
AGE = [ColumnSpec("age", ("Age",))]


@pytest.mark.parametrize(
    "last",
    [
        ["Total patients (n = 12)", 474, 1130],
        ["Mittelwert ± SD", "39.5±10.8", None],
        ["均值±标准差", 1, 2],
        ["合计（例）", 12, 12],
        ["Sum total: 12", 1, 2],
        ["Moyenne", 39.5, 94.2],
        [None, 474, 1130],
        ["x\u0303", 39.5, 94.16667],
    ],
)
def test_rows_that_sum_up_the_patients_by_word_or_by_value(tmp_path, last):
    path = workbook(tmp_path / "t.xlsx", [["ID", "Age", "AFP"], *PATIENTS, [None] * 3, last])
    table = read_table(path, id_column="ID", columns=AGE)
    assert table.patients == [row[0] for row in PATIENTS] and "row 15" in said(table, "total-row")[0]
    assert len(load(path)) == 12


def test_the_sum_and_the_mean_below_it(tmp_path):
    rows = [["ID", "Age", "AFP"], *PATIENTS, ["somme", 474, 1130], ["moyenne", 39.5, 94.2]]
    table = read_table(workbook(tmp_path / "t.xlsx", rows), id_column="ID", columns=AGE)
    assert len(table.patients) == 12 and "rows 14 to 15" in said(table, "total-row")[0]


@pytest.mark.parametrize("name", ["SD 13", "N-013", "Q-001", "L-13"])
def test_patients_with_identifiers_like_words_for_sums_are_kept(tmp_path, name):
    rows = [["ID", "Age", "AFP"], *PATIENTS, [name, 50, 200.5]]
    assert name in read_table(workbook(tmp_path / "t.xlsx", rows), id_column="ID", columns=AGE).patients


@pytest.mark.parametrize("note", ["0=female, 1=male", "Stand 3/24", "end"])
def test_a_text_alone_that_is_no_identifier_is_a_note(tmp_path, note):
    rows = [["ID", "Age", "AFP"], *PATIENTS, [note, None, None]]
    table = read_table(workbook(tmp_path / "t.xlsx", rows), id_column="ID", columns=AGE)
    assert len(table.patients) == 12 and note in said(table, "note-row")[0]


@pytest.mark.parametrize("words", [("Subtotal A", "Subtotal B"), ("A total", "B total"), ("小计 A", "合计 B")])
def test_sums_of_groups_are_no_patients(tmp_path, words):
    rows = [("ID", "center", "age")]
    for center, word in zip("AB", words):
        rows += [(f"{center}{i}", center, 50 + i) for i in range(6)] + [(word, None, 315)]
    path = workbook(tmp_path / "t.xlsx", rows)
    table = read_table(path, id_column="ID", columns=[ColumnSpec("age")])
    assert len(table.patients) == 12 and "rows 8, 15" in said(table, "total-row")[0]
    assert load(path).numbers("age").sum() == 2 * 315
    # What no other column has may be somebody.
    rows[7] = ("Total eclipse", "A", 60)
    named = read_table(workbook(tmp_path / "n.xlsx", rows), id_column="ID", columns=[ColumnSpec("age")])
    assert "Total eclipse" in named.patients


def test_a_second_table_beneath_the_first_is_told(tmp_path):
    rows = [["ID", "Age", "AFP"], *PATIENTS, [None] * 3, ["sex", 4, 0], ["men", 7, 0]]
    path = workbook(tmp_path / "t.xlsx", rows)
    table = read_table(path, id_column="ID", columns=AGE)
    assert len(table.patients) == 14 and "rows 15 to 16 ('sex', 'men')" in said(table, "unlike-rows")[0]
    assert any("unlike all others" in note for note in load(path).notes)


def test_headers_that_are_repeated_on_every_page(tmp_path):
    head = ["ID", "Age", "AFP"]
    path = workbook(tmp_path / "t.xlsx", [head, *PATIENTS[:6], head, *PATIENTS[6:]])
    table = read_table(path, id_column="ID", columns=AGE)
    assert len(table.patients) == 12 and "row 8" in said(table, "repeated-header")[0]
    assert load(path).is_numeric("Age")


def test_a_header_of_two_rows_without_merged_cells(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("ID,sex,before,,after,\n,,TB,ALB,TB,ALB\n01,m,10,41,30,35\n02,f,12,42,31,36\n")
    table = load(path)
    assert table.headers == ["ID", "sex", "before TB", "before ALB", "after TB", "after ALB"]
    assert table.numbers("after TB").tolist() == [30, 31]
    read = read_table(
        path, id_column="ID", columns=[ColumnSpec("tb", ("after TB",), quantity="bilirubin", unit="umol/L")]
    )
    assert read.frame["tb"].tolist() == [30, 31] and said(read, "header-rows")


@pytest.mark.parametrize("row", [",,umol/L,g/L", ",m,10,41"])
def test_units_and_values_without_an_identifier_are_no_second_header(tmp_path, row):
    path = tmp_path / "t.csv"
    path.write_text(f"ID,,TB,ALB\n{row}\n01,m,10,41\n02,f,12,42\n")
    assert load(path).headers == ["ID", "TB", "ALB"]


def test_an_identifier_that_stands_twice_is_refused(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("ID,ID,Age\n1,9,50\n2,8,60\n")
    with pytest.raises(TableError, match="Several columns may be meant by 'ID'"):
        read_table(path, id_column="ID", columns=AGE)


@pytest.mark.parametrize("cell", [dt.datetime(2024, 1, 2), True])
def test_identifiers_that_excel_took_for_something_else(tmp_path, cell):
    rows = [["ID", "Age"], [cell, 50], ["1-3", 60]]
    table = read_table(workbook(tmp_path / "t.xlsx", rows), id_column="ID", columns=AGE)
    assert said(table, "id-digits-lost")


def test_digits_that_are_raised_or_struck_through_are_no_number(tmp_path):
    def change(book, page):
        page["B2"] = CellRichText("5", TextBlock(InlineFont(vertAlign="superscript"), "1"))
        page["B3"] = CellRichText(TextBlock(InlineFont(strike=True), "45"), "54")
        page["B4"] = CellRichText(TextBlock(InlineFont(b=True), "6"), "1")

    rows = [["ID", "Age"], ["a", 1], ["b", 2], ["c", 3]]
    table = read_table(workbook(tmp_path / "t.xlsx", rows, change), id_column="ID", columns=AGE)
    assert table.frame["age"].isna().tolist() == [True, True, False] and table.frame["age"]["c"] == 61
    assert "raised, lowered or struck through" in said(table, "unreadable-cell")[0]


@pytest.mark.parametrize(("first", "second"), [("umol/L", "mg/dL"), ("", "mg/dL"), ("umol/L", "")])
def test_centers_that_put_other_units_beneath_one_header(tmp_path, first, second):
    def add(book, page):
        south = book.create_sheet("south")
        for row in (["ID", "TB"], [None, second], ["S1", 0.9], ["S2", 1.1]):
            south.append(row)

    rows = [["ID", "TB"], [None, first], ["N1", 12], ["N2", 14]]
    column = [ColumnSpec("tb", ("TB",), quantity="bilirubin", unit="umol/L")]
    table = read_table(workbook(tmp_path / "t.xlsx", rows, add), id_column="ID", columns=column)
    assert "in south" in said(table, "unit-conflict")[0]


def test_texts_that_are_guarded_from_excel(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('ID,Age\n="007",="51"\n="008",60\n')
    table = read_table(path, id_column="ID", columns=AGE)
    assert table.patients == ["007", "008"] and table.frame["age"].tolist() == [51, 60]


def test_dates_of_two_orders_and_dates_that_excel_exchanged(tmp_path):
    days = [ColumnSpec("seen", ("seen",), kind="date")]
    both = tmp_path / "t.csv"
    both.write_text("ID,seen\n1,25/03/2024\n2,03/25/2024\n")
    found = [item for item in read_table(both, id_column="ID", columns=days).findings if item.code == "mixed-dates"]
    assert [item.severity for item in found] == ["error"]
    cells = [dt.datetime(2024, 4, 3), dt.datetime(2024, 1, 9), dt.datetime(2024, 2, 12), "25/03/2024"]
    path = workbook(tmp_path / "t.xlsx", [["ID", "seen"], *[[f"P{i}", cell] for i, cell in enumerate(cells)]])
    found = [item for item in read_table(path, id_column="ID", columns=days).findings if item.code == "mixed-dates"]
    assert [item.severity for item in found] == ["warning"] and "exchanged" in found[0].message
    cells[0] = dt.datetime(2024, 4, 23)
    path = workbook(tmp_path / "t.xlsx", [["ID", "seen"], *[[f"P{i}", cell] for i, cell in enumerate(cells)]])
    assert not said(read_table(path, id_column="ID", columns=days), "mixed-dates")
