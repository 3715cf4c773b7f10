"""`hepacast init --table`: what a stranger's table is taken for, and that its study file passes `check`."""

import datetime as dt

import numpy as np
import openpyxl
import pandas as pd
import pytest

from hepacast.cohort.known_columns import known_columns
from hepacast.cohort.proposal import propose_columns
from hepacast.errors import StorageError, TableError
from hepacast.study.check import check_study
from hepacast.study.load import load_study
from hepacast.study.propose import init_from_table


def rows_of(n=90, seed=4):
    r = np.random.default_rng(seed)
    size = r.gamma(4, 1.1, n) + 0.6
    event = r.random(n) < 1 / (1 + np.exp(4.5 - size))
    return r, size, event


def german(path):
    """Title rows, umlauts, decimal commas, a date of operation, remarks and a name."""
    r, size, event = rows_of()
    head = "Pat.-Nr.;Geschlecht;Alter;GOT (U/l);gamma-GT;Bili gesamt (mg/dl);Quick;Größter Herd in mm;Aszites;OP-Datum"
    lines = ["Leberdatenbank;;;;;;;;;;;;", f"{head};Rezidiv;Bemerkung;Nachname"]
    for i in range(len(size)):
        bili = f"{r.lognormal(0, 0.4):.1f}".replace(".", ",")
        lines.append(
            f"{i + 1:04d};{r.choice(['m', 'w'])};{r.integers(35, 85)};{r.integers(15, 150)};{r.integers(20, 300)};"
            f"{bili};{r.integers(60, 110)};{size[i] * 10:.0f};{r.choice(['keine', 'mäßig'])};{1 + i % 28}.05.2021;"
            f"{'ja' if event[i] else 'nein'};{'LTX' if i == 3 else ''};N{i}"
        )
    path.write_bytes("\n".join(lines).encode("cp1252"))


def chinese(path):
    """Excel: a merged title, a row of units, words with two spellings, a column that names the sets."""
    r, size, event = rows_of(seed=6)
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.append(["肝癌患者资料"])
    sheet.merge_cells("A1:J1")
    sheet.append(
        ["编号", "分组", "性别", "年龄", "总胆红素", "白蛋白", "甲胎蛋白", "HBsAg", "Child-Pugh分级", "早期复发"]
    )
    sheet.append([None, None, None, "岁", "μmol/L", "g/L", "ng/mL", None, None, None])
    for i in range(len(size)):
        sheet.append(
            [f"HCC{i:03d}", "训练集" if i < 60 else "验证集", str(r.choice(["男", "女"])), int(r.integers(30, 80)),
             round(float(r.lognormal(2.7, 0.4)), 1), round(float(r.normal(38, 4)), 1),
             round(float(r.lognormal(3, 2)), 1), str(r.choice(["+", "-"])), "a" if i == 5 else "AAB"[i % 3],
             "是" if event[i] else "否"]
        )  # fmt: skip
    book.save(path)


def coded(path):
    """Codes, months of follow-up, dates that only a format can tell, a column without a name for the identifier."""
    r, size, event = rows_of(seed=8)
    pd.DataFrame(
        {
            "who": [f"s{i:02d}" for i in range(len(size))],
            "hospital": [("one", "two", "three")[i % 3] for i in range(len(size))],
            "sex": r.integers(1, 3, len(size)),
            "tumor size": (size * 10).round(0),
            "PLT": r.integers(60, 320, len(size)),
            "grade": r.integers(1, 4, len(size)),
            "surgery": [f"{1 + i % 12:02d}/{13 + i % 15:02d}/2020" for i in range(len(size))],
            "RFS days": r.integers(40, 1500, len(size)),
            "recurrence": event.astype(int),
            "death": r.integers(0, 2, len(size)),
            "empty": "",
        }
    ).to_csv(path, index=False)


def propose(tmp_path, maker, name, recipe=None):
    (tmp_path / "tables").mkdir()
    maker(tmp_path / "tables" / name)
    study, proposed = init_from_table(tmp_path / "study", tmp_path / "tables" / name, recipe)
    return load_study(study), study.read_text("utf-8"), proposed


def test_a_german_table(tmp_path):
    study, text, proposed = propose(tmp_path, german, "daten.csv")
    columns = study.cohort.columns
    assert study.cohort.id == "Pat.-Nr." and study.cohort.table == "../tables/daten.csv"
    assert columns["sex"].levels == {"female": ["w"], "male": ["m"]}
    found = {name: (column.quantity, column.unit) for name, column in columns.items() if column.quantity}
    assert found["ast"] == ("ast", "U/L") and found["ggt"] == ("ggt", "U/L")
    assert found["bilirubin"] == ("bilirubin", "mg/dL") and found["pta"] == ("pta", "%")
    assert columns["ascites"].levels == {"keine": ["keine"], "mäßig": ["mäßig"]}
    assert columns["op_datum"].kind == "date" and columns["rezidiv"].after_event
    assert study.outcome.column == "rezidiv" and "rezidiv" not in study.modelling.candidates
    assert [line for line in proposed.unmapped if "Nachname" in line and "person" in line]
    assert "exclude: [{reason: remark, column: Bemerkung, filled: true}]" in text
    assert "N3" not in text and "LTX" not in text
    assert not check_study(tmp_path / "study").has_errors, check_study(tmp_path / "study").text()


def test_a_chinese_workbook(tmp_path):
    study, _, _ = propose(tmp_path, chinese, "表.xlsx")
    columns = study.cohort.columns
    assert study.cohort.id == "编号"
    assert (columns["bilirubin"].unit, columns["albumin"].unit, columns["afp"].unit) == ("umol/L", "g/L", "ng/mL")
    assert columns["hbsag"].levels == {"no": ["-"], "yes": ["+"]}
    assert columns["child_pugh_class"].levels == {"A": ["A", "a"], "B": ["B"]}
    split = study.cohort.split
    assert (split.by, split.column, split.training, split.validation) == ("column", "分组", ["训练集"], ["验证集"])
    checked = check_study(tmp_path / "study")
    assert not checked.has_errors, checked.text()
    assert "validation set: 30 patients" in checked.text()


def test_codes_follow_up_and_what_is_not_sure(tmp_path):
    study, text, proposed = propose(tmp_path, coded, "coded.csv")
    columns = study.cohort.columns
    assert study.cohort.id == "who" and any("is it a study number" in line for line in proposed.unsure)
    assert columns["sex"].levels == {"code 1": [1], "code 2": [2]} and any("sex" in line for line in proposed.unsure)
    assert columns["tumor_diameter"].unit == "mm"
    assert columns["surgery"].kind == "date"
    assert study.outcome.column == "recurrence"
    assert "column: death" in text and "time: rfs_days, event: recurrence}, unit: days" in text
    assert study.cohort.center == "hospital" and study.cohort.split.by == "none"
    assert "training: [one], validation: [two, three]}" in text
    assert any("'empty'" in line for line in proposed.unmapped)
    checked = check_study(tmp_path / "study")
    assert not checked.has_errors, checked.text()


def test_a_recipe_is_looked_for_in_the_table(tmp_path):
    study, text, proposed = propose(tmp_path, german, "daten.csv", recipe="ptlf")
    columns = study.cohort.columns
    assert {"sex", "age", "hydroperitoneum", "ast", "ggt", "tb"} <= set(columns)
    assert columns["tb"].column == "Bili gesamt (mg/dl)" and columns["tb"].unit == "mg/dL"
    assert "tb_after" not in columns and "inr" not in study.modelling.candidates
    assert any(line.startswith("tb_after") for line in proposed.unsure) and "not found: tb_after" in text
    assert proposed.errors > 0
    assert "tb_after" in check_study(tmp_path / "study").text()


def test_a_value_after_the_treatment_of_the_recipe(tmp_path):
    r, _, _ = rows_of()
    table = pd.DataFrame({"ID": range(1, 91), "TBIL": 12, "TBIL post TACE": 20, "INR": r.normal(1.1, 0.1, 90).round(2)})
    table.to_csv(tmp_path / "t.csv", index=False)
    study, proposed = init_from_table(tmp_path / "s", tmp_path / "t.csv", "ptlf")
    columns = load_study(study).cohort.columns
    assert columns["tb"].column == "TBIL" and columns["tb_after"].column == "TBIL post TACE"
    assert any("tb_after" in line and "is it?" in line for line in proposed.unsure)


def test_words_for_a_time_beside_a_quantity(tmp_path):
    r, _, _ = rows_of()
    table = pd.DataFrame({"ID": range(1, 41)})
    for head in ("术前ALB", "preop. AST", "AFP_baseline", "术后TB", "Child-Pugh points post"):
        table[head] = r.normal(36, 3, 40).round(1)
    table.to_csv(tmp_path / "t.csv", index=False)
    found = {item.header: item for item in propose_columns(tmp_path / "t.csv").columns}
    quantities = {head: item.spec.quantity for head, item in found.items()}
    assert (
        quantities["术前ALB"] == "albumin" and quantities["preop. AST"] == "ast" and quantities["AFP_baseline"] == "afp"
    )
    assert found["术后TB"].role == "after" and found["术后TB"].spec.quantity == "bilirubin"
    assert found["术前ALB"].role == "covariate" and "taken for Albumin" in found["术前ALB"].doubts[0]


def test_candidates_that_check_would_refuse_are_left_out(tmp_path):
    r, _, event = rows_of(60)
    table = pd.DataFrame({"ID": [f"x{i}" for i in range(60)], "relapse": np.where(event, "yes", "no")})
    table["twin"] = np.where(event, 7.0, 3.0) + r.normal(0, 0.1, 60)
    table["running"] = range(101, 161)
    for place in range(40):
        table[f"marker {place}"] = r.normal(size=60).round(3)
    table.to_csv(tmp_path / "t.csv", index=False)
    study, proposed = init_from_table(tmp_path / "s", tmp_path / "t.csv")
    candidates = load_study(study).modelling.candidates
    assert "twin" not in candidates and "running" not in candidates and 0 < len(candidates) < 30
    assert any("too few events" in line for line in proposed.unsure)
    assert not check_study(tmp_path / "s").has_errors


def test_units_by_magnitude(tmp_path):
    r, _, _ = rows_of()
    n = 40
    table = pd.DataFrame(
        {
            "ID": [f"p{i}" for i in range(n)],
            "albumin": r.normal(3.8, 0.3, n).round(1),
            "creatinine": r.normal(0.9, 0.1, n).round(2),
            "hemoglobin": r.normal(13, 1, n).round(1),
            "inr": r.normal(1.1, 0.1, n).round(2),
            "height": r.normal(1.7, 0.1, n).round(2),
            "sodium": r.integers(1, 3, n),
        }
    )
    table.to_csv(tmp_path / "t.csv", index=False)
    found = {item.header: item for item in propose_columns(tmp_path / "t.csv").columns}
    units = {name: item.spec.unit for name, item in found.items()}
    assert units == {
        "albumin": "g/dL",
        "creatinine": "mg/dL",
        "hemoglobin": "g/dL",
        "inr": "",
        "height": "m",
        "sodium": "",
    }
    assert found["sodium"].spec.kind == "binary" and "no values of" in found["sodium"].doubts[0]


def test_codes_are_never_taken_for_what_they_are_not(tmp_path):
    n = 40
    table = pd.DataFrame({"ID": [f"p{i}" for i in range(n)]})
    for place, head in enumerate(("sex", "ALT", "AFP", "tumor number", "HBsAg", "Censored_0_progressed_1")):
        table[head] = [(i + place) % 2 + (1 if head in ("ALT", "AFP", "tumor number") else 0) for i in range(n)]
    table.to_csv(tmp_path / "t.csv", index=False)
    found = {item.header: item for item in propose_columns(tmp_path / "t.csv").columns}
    assert list(found["sex"].spec.levels) == ["code 0", "code 1"] and found["sex"].doubts
    assert found["ALT"].spec.kind == found["AFP"].spec.kind == "binary" and "no values of ALT" in found["ALT"].doubts[0]
    assert found["tumor number"].spec.quantity == "tumor_number"
    assert list(found["HBsAg"].spec.levels) == ["no", "yes"] and not found["HBsAg"].doubts
    assert found["Censored_0_progressed_1"].role == "outcome"


def test_a_header_cannot_break_the_study_file(tmp_path):
    heads = ["ID", "bell\x07 ALT", "two: [lines", "# mark", "'quote", "{data}", "\u202eturned", "Bemerkung: }"]
    rows = [
        [f"p{i}", 20 + i, "a b c d e"[: i % 9] + str(i), i % 2, "x,y"[i % 3], i, i % 3, f"text {i}"] for i in range(30)
    ]
    pd.DataFrame(rows, columns=heads).to_csv(tmp_path / "t.csv", index=False)
    study, _ = init_from_table(tmp_path / "s", tmp_path / "t.csv")
    columns = load_study(study).cohort.columns.values()
    assert {"# mark", "'quote"} <= {column.column for column in columns}


def test_sheets_without_the_identifier_are_told(tmp_path):
    book = openpyxl.Workbook()
    page = book.active
    page.append(["patient", "age", "event"])
    for i in range(30):
        page.append([f"a{i}", 40 + i, i % 2])
    legend = book.create_sheet("legend")
    legend.append(["code", "meaning"])
    legend.append([1, "yes"])
    book.save(tmp_path / "t.xlsx")
    _, proposed = init_from_table(tmp_path / "s", tmp_path / "t.xlsx")
    assert any(line.startswith("sheet legend") for line in proposed.unmapped)


@pytest.mark.parametrize("text", ["a,b\n1,2\n1,2\n", "a\n", "only one cell", "x,y\n,\n"])
def test_a_table_without_patients(tmp_path, text):
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    with pytest.raises(TableError):
        init_from_table(tmp_path / "s", tmp_path / "t.csv")
    assert not (tmp_path / "s").exists()


def test_a_study_that_is_there_is_left_alone(tmp_path):
    german(tmp_path / "t.csv")
    init_from_table(tmp_path / "s", tmp_path / "t.csv")
    with pytest.raises(StorageError):
        init_from_table(tmp_path / "s", tmp_path / "t.csv")
    init_from_table(tmp_path / "s", tmp_path / "t.csv", force=True)


def test_dates_of_one_format_only(tmp_path):
    table = pd.DataFrame(
        {"ID": [f"p{i}" for i in range(20)], "visit": [f"0{1 + i % 9}/1{i % 3}/2022" for i in range(20)]}
    )
    table["seen"] = [dt.date(2021, 3, 1 + i).strftime("%m/%d/%Y") for i in range(20)]
    table.to_csv(tmp_path / "t.csv", index=False)
    found = {item.header: item for item in propose_columns(tmp_path / "t.csv").columns}
    assert found["seen"].spec.date_format in ("", "%m/%d/%Y") and found["visit"].spec.kind == "date"
    assert any("cannot be told apart" in doubt for doubt in found["visit"].doubts)


def test_grades_stand_in_their_order_and_a_running_number_is_an_identifier(tmp_path):
    grades = ["-", "++", "—", "+++", "±"]
    rows = "\n".join(f"{i},{grades[i % 5]},{40 + i}" for i in range(1, 21))
    path = tmp_path / "t.csv"
    path.write_text(f"No.,腹水,Age (y)\n{rows}\n", encoding="utf-8")
    found = propose_columns(path)
    assert (found.id_header, found.id_is_sure) == ("No.", True)
    ascites, age = (item.spec for item in found.columns)
    assert list(ascites.levels) == ["-", "±", "++", "+++"]
    assert (age.quantity, age.unit) == ("age", "years")


def test_every_known_name_is_a_text():
    assert not {"False", "True"} & {name for item in known_columns().values() for name in item.names}
