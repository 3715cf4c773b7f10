"""`stats` reads tables as a study does."""

import openpyxl
import pandas as pd
import pytest

from hepacast.cohort import ColumnSpec, read_table
from hepacast.errors import OutcomeError, TableError
from hepacast.study.statistics import load
from hepacast.study.statistics.calculators import score_columns
from hepacast.study.statistics.nomograms import _patient
from hepacast.study.statistics.raters import agreement


def written(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


def test_the_file_decides_on_the_decimal_mark(tmp_path):
    german = written(tmp_path / "g.csv", "a;b;c\n1,234;3,5;2.554\n0,9;4,5;491\n1,101;5,25;312\n")
    table = load(german)
    assert table.numbers("a").tolist() == [1.234, 0.9, 1.101]
    assert table.numbers("c").tolist() == [2554, 491, 312]
    assert any("c: 1 cells such as '2.554': read as 2554" in note for note in table.notes)
    english = written(tmp_path / "e.csv", 'a,b\n"1,234",3.5\n567,4.5\n')
    assert load(english).numbers("a").tolist() == [1234, 567]


@pytest.mark.parametrize(
    "text", ["a;b\n1,234;x\n2,345;y\n", "a;b\n2.554;1\n3.125;0\n", "a;b;c\n1,5;2.5;1,234\n2,5;3.5;2\n"]
)
def test_numbers_with_two_readings_are_refused_until_it_is_said(tmp_path, text):
    path = written(tmp_path / "t.csv", text)
    header = "c" if "c" in text else "a"
    with pytest.raises(TableError, match=rf"'{header}' holds cells that can be read in two ways[\s\S]*--decimal"):
        load(path).numbers(header)
    assert load(path, decimal=",").numbers(header).notna().all()


def test_numbers_with_two_readings_at_the_command_line(tmp_path, hepacast):
    path = written(tmp_path / "t.csv", "a;y\n1,234;1\n2,345;0\n1,125;1\n2,5000;0\n".replace("2,5000", "2,500"))
    code, _, err = hepacast("stats", "describe", path, "--columns", "a")
    assert code == 2 and "--decimal" in err
    code, out, _ = hepacast("stats", "describe", path, "--columns", "a", "--decimal", ",")
    assert code == 0 and "1.8" in out


def test_dashes_are_levels_beside_plus_signs_and_where_declared(tmp_path):
    path = written(tmp_path / "t.csv", "hbv,ascites,afp,note\n+,-,-,-\n-,++,5,a\n–,+/-,6,b\n+,1+,7,c\n")
    table = load(path, levels={"note": ["a", "b", "c", "-"]})
    assert table.binary("hbv").tolist() == [1, 0, 0, 1]
    assert list(table.categories("ascites").cat.categories) == ["-", "+/-", "1+", "++"]
    assert table.numbers("afp").isna().tolist() == [True, False, False, False]
    assert table.categories("note").tolist() == ["-", "a", "b", "c"]
    bare = load(path)
    assert bare.categories("note").isna().tolist() == [True, False, False, False]
    assert [note for note in bare.notes if "dash" in note] == [
        "note: a dash was taken as missing in 1 cells; where it is a level, list it (--levels)."
    ]


def test_spellings_of_one_level_are_joined(tmp_path):
    path = written(tmp_path / "t.csv", "sex,smoker,grade\nmale,是,I\nMale,Yes,II\n男 ,no,ii\nfemale,否,I\nＦ,yes,III\n")
    table = load(path)
    assert table.categories("sex").value_counts().to_dict() == {"male": 3, "female": 2}
    assert table.categories("smoker").nunique() == 2
    assert table.categories("grade").value_counts().to_dict() == {"I": 2, "II": 2, "III": 1}
    assert sum("joined" in note for note in table.notes) == 3
    declared = load(path, levels={"smoker": ["No", "Yes"]}).categories("smoker")
    assert declared.tolist() == ["Yes", "Yes", "No", "No", "Yes"]


def test_raters_who_spell_alike_agree(tmp_path):
    rows = [("s1", "Yes", "yes"), ("s2", "no", "NO"), ("s3", "Yes", "YES"), ("s4", "no", "no")]
    path = tmp_path / "t.csv"
    pd.DataFrame(rows, columns=["s", "a", "b"]).to_csv(path, index=False)
    found = agreement(path, subject="s", raters="a,b")
    assert found.kappa["a and b"].kappa == 1.0


def test_percentages(tmp_path):
    book = openpyxl.Workbook()
    page = book.active
    for row in (["PTA (%)", "share"], [0.65, 0.5], [0.8, 0.25]):
        page.append(row)
    for row in (2, 3):
        page.cell(row, 1).number_format = page.cell(row, 2).number_format = "0.0%"
    book.save(tmp_path / "t.xlsx")
    table = load(tmp_path / "t.xlsx")
    assert table.numbers("PTA (%)").tolist() == [65, 80]
    assert table.numbers("share").tolist() == [0.5, 0.25]
    assert any(note.startswith("share: 2 cells such as '50 %'") for note in table.notes)


def test_titles_units_totals_and_hidden_sheets(tmp_path):
    book = openpyxl.Workbook()
    old = book.active
    old.title = "old"
    old.append(["x", "y"])
    old.append([1, 2])
    old.sheet_state = "hidden"
    page = book.create_sheet("new")
    for row in (["Cohort 2024"], [], ["ID", "TB"], [None, "umol/L"], ["A", 10], ["B", 20], ["合计", 30]):
        page.append(row)
    page.row_dimensions[6].hidden = True
    book.save(tmp_path / "t.xlsx")
    table = load(tmp_path / "t.xlsx")
    assert table.numbers("TB").tolist() == [10, 20]
    text = " ".join(table.notes)
    for word in ("old (1 rows)", "row 3", "(row 6)", "Row 7 ('合计')"):
        assert word in text


def test_scores_of_all_sheets_and_of_a_german_file(tmp_path):
    with pd.ExcelWriter(tmp_path / "t.xlsx") as writer:
        pd.DataFrame({"ID": ["01", "02"], "Bilirubin (umol/L)": [17, 20], "Albumin (g/L)": [40, 38]}).to_excel(
            writer, sheet_name="a", index=False
        )
        pd.DataFrame({"ID": ["03"], "Bilirubin (umol/L)": [30], "Albumin (g/L)": [30]}).to_excel(
            writer, sheet_name="b", index=False
        )
    found = score_columns("ALBI", tmp_path / "t.xlsx").to_frame()
    assert found["ID"].tolist() == ["01", "02", "03"]
    assert found["ALBI"].notna().all()
    text = "sep=;\nID;Bilirubin (mg/dL);Albumin (g/dL)\n007;1,2;3,8\nSumme;1,2;3,8\n"
    one = score_columns("ALBI", written(tmp_path / "t.csv", text, "utf-16")).to_frame()
    assert one["ID"].tolist() == ["007"]
    assert one["ALBI"].tolist() == pytest.approx([-2.3634], abs=1e-3)


def test_units_in_cells_and_in_number_formats(tmp_path):
    path = written(tmp_path / "t.csv", "a,b,c\n3.8 g/dL,3.8 g/dL,1\n4.1 g/dL,41 g/L,2\n")
    table = load(path)
    assert table.numbers("a").tolist() == [3.8, 4.1]
    with pytest.raises(TableError):
        table.numbers("b")
    book = openpyxl.Workbook()
    page = book.active
    for row in (["ID", "TB"], ["A", 1.2], ["B", 0.9]):
        page.append(row)
    page["B2"].number_format = page["B3"].number_format = '0.0" mg/dL"'
    book.save(tmp_path / "t.xlsx")
    assert load(tmp_path / "t.xlsx").numbers("TB").tolist() == [1.2, 0.9]
    clinical = read_table(
        tmp_path / "t.xlsx", id_column="ID", columns=[ColumnSpec("tb", quantity="bilirubin", unit="umol/L")]
    )
    assert clinical.frame["tb"].tolist() == pytest.approx([20.52, 15.39])


def test_identifiers_of_patients_and_subjects(tmp_path):
    rows = [f"{i:03d},{i % 2},{i % 5}" for i in range(1, 30)]
    table = load(written(tmp_path / "t.csv", "ID,y,x\n" + "\n".join([*rows, "007,1,2"]) + "\n"))
    assert any("007 stand in several rows" in note for note in table.notes)
    columns = {"x": table.numbers("x")}
    with pytest.raises(TableError, match="did you mean '008'"):
        _patient(table, "8", None, columns)
    assert _patient(table, "008", None, columns) == {"x": 3.0}
    frame = pd.DataFrame({"s": [1.0, 2.0, "1", "2"], "r": ["a", "a", "b", "b"], "v": [1, 2, 1, 2]})
    assert len(agreement(frame, subject="s", rater="r", value="v").ratings) == 2


@pytest.mark.parametrize("cells", ["38 g/L|4.1 g/dL|41|39|44", "3.1|(4.2)|5.3|6.1|7.7", "12|14|n. q.|15|11"])
def test_measurements_with_cells_that_cannot_be_read_do_not_become_categories(tmp_path, cells):
    path = written(tmp_path / "t.csv", "x\n" + "\n".join(cells.split("|")) + "\n")
    with pytest.raises(TableError, match=r"holds numbers, and cells that are none"):
        load(path).predictor("x")
    assert len(load(path, categorical=["x"]).predictor("x").cat.categories) == 5


def test_grades_and_codes_remain_categories(tmp_path):
    path = written(tmp_path / "t.csv", "grade,sat\n0,<400\n1,>=400\n2,<400\n3+,<400\n2,>=400\n")
    assert list(load(path).predictor("grade").cat.categories) == ["0", "1", "2", "3+"]


def test_points_behind_thousands_with_spaces_prove_the_mark(tmp_path):
    path = written(tmp_path / "t.csv", "a;b\n1 234,5;1'234,5\n12 345;7\n900;8\n")
    assert load(path).numbers("a").tolist() == [1234.5, 12345, 900]
    assert load(path).numbers("b").tolist() == [1234.5, 7, 8]


def test_rows_without_an_identifier_are_told(tmp_path):
    rows = "\n".join(f"{'' if i == 4 else f'p{i}'},{i}" for i in range(1, 11))
    assert "id: nothing stands in row 5; each row counts." in load(written(tmp_path / "t.csv", f"id,x\n{rows}\n")).notes


def test_words_for_negative_beside_grades_are_the_lowest_grade(tmp_path):
    text = "x\nneg\n1+\n阴性\n2+\n(-)\n—\n±\n+/-\n"
    found = load(written(tmp_path / "t.csv", text)).categories("x")
    assert found.cat.codes.tolist() == [0, 2, 0, 3, 0, 0, 1, 1]


def test_a_declared_dash_of_any_length_is_a_level(tmp_path):
    path = written(tmp_path / "t.csv", "id,x\n1,—\n2,mild\n3,-\n")
    spec = ColumnSpec("x", ("x",), kind="categorical", levels={"none": ("—",), "mild": ("mild",)})
    assert read_table(path, id_column="id", columns=[spec]).frame["x"].tolist() == ["none", "mild", "none"]


def test_bare_numbers_beside_percentages_are_refused_and_codes_for_missing_told(tmp_path):
    path = written(tmp_path / "t.csv", "id,share,afp\n1,65%,12\n2,70,15\n3,80%,999\n4,0.4,18\n")
    with pytest.raises(TableError, match=r"row 3: '70'"):
        load(path).numbers("share")
    columns = [ColumnSpec("share", ("share",), quantity="none"), ColumnSpec("afp", ("afp",), quantity="none")]
    table = read_table(path, id_column="id", columns=columns)
    assert table.frame["share"].isna().tolist() == [False, True, False, False]
    assert {"ambiguous-number", "missing-code"} <= {item.code for item in table.findings}
    both = load(path)
    both.numbers("afp")
    assert any("999 (1)" in note for note in both.notes)


def test_the_event_of_a_labelled_file_is_named_by_label_or_code(tmp_path):
    pyreadstat = pytest.importorskip("pyreadstat")
    frame = pd.DataFrame({"state": [1.0, 2.0, 2.0, 1.0], "t": [1.0, 2.0, 3.0, 4.0]})
    pyreadstat.write_sav(frame, tmp_path / "t.sav", variable_value_labels={"state": {1.0: "alive", 2.0: "dead"}})
    table = load(tmp_path / "t.sav")
    assert table.binary("state", "dead").tolist() == table.binary("state", "2").tolist() == [0, 1, 1, 0]
    with pytest.raises(OutcomeError, match="does not occur"):
        table.binary("state", "3")
