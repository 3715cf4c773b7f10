"""`check` says everything at once, with the key to change; `run` refuses by the same judgement."""

import json

import numpy as np
import pandas as pd
import pytest

from hepacast.core.files import write_text
from hepacast.core.progress import SilentReporter
from hepacast.errors import HepacastError, StudyFileError
from hepacast.study.check import check_study
from hepacast.study.run import run_study

STUDY = """hepacast: 1
name: judged
seed: 3
cohort:
  table: {table}
  id: Pat
  columns:
    age: {{column: Age, unit: years}}
    sex: {{column: Sex, kind: binary}}
    alb: {{column: Albumin, unit: g/L}}
    size: {{column: Diameter, unit: cm, quantity: none}}
    stage: {{column: Stage, kind: categorical}}
    relapse: {{column: Relapse, kind: binary, after_event: true}}
    months: {{column: Months, unit: months, quantity: none, after_event: true}}
{more}  exclude: [{exclude}]
  split: {split}
outcome: {outcome}
modelling:
  candidates: [{candidates}]
  models: [clinical]
  validation: {{folds: 3, repeats: 1, bootstrap: 0, importance: 0, learning_curve: 0, usual_way: false}}
evaluation: {{bootstrap: 0}}
report: {{formats: [html]}}
"""
TIMES = "{definition: survival, name: RFS, columns: {time: months, event: relapse}, unit: months, horizons: [%s]}"
BY_SITE = "{by: column, column: Site, training: [north], validation: [south]}"


def patients(n=80):
    r = np.random.default_rng(11)
    size = r.gamma(4, 1.2, n).round(1) + 0.5
    return pd.DataFrame(
        {
            "Pat": [f"H{i:02d}" for i in range(n)],
            "Site": ["north" if i % 3 else "south" for i in range(n)],
            "Age": r.integers(30, 85, n),
            "Sex": r.choice(["m", "f"], n),
            "Albumin": r.normal(37, 4, n).round(1),
            "Diameter": size,
            "Stage": r.choice(["I", "II"], n),
            "Relapse": np.where(r.random(n) < 1 / (1 + np.exp(4 - size)), "yes", "no"),
            "Months": r.exponential(20, n).round(1) + 0.5,
            "Remark": "",
        }
    )


@pytest.fixture
def judged(tmp_path):
    """`judged(table, exclude="...")`: what `check` says of the study, and the study's folder."""

    def write(table, **parts):
        text = {
            "table": "clinical.csv", "more": "", "exclude": "", "split": BY_SITE,
            "outcome": "{definition: binary-column, column: relapse}", "candidates": "age, sex, alb, size, stage",
        }  # fmt: skip
        table.to_csv(tmp_path / "clinical.csv", index=False)
        write_text(tmp_path / "study.yaml", STUDY.format(**{**text, **parts}))
        return check_study(tmp_path)

    write.folder = tmp_path
    return write


def errors(result):
    return [item for _, item in result.findings if item.severity == "error"]


def test_a_sound_study_is_ready(judged):
    result = judged(patients())
    assert not result.has_errors, result.text()
    assert "Ready to run." in result.text()


def test_what_follows_from_another_finding_is_not_told_again(judged):
    table = patients().assign(Sex="neither").rename(columns={"Albumin": "Albumin (g/dL)"})
    table["Albumin (g/dL)"] /= 10
    found = errors(judged(table))
    assert sorted({item.code for item in found}) == ["unit-conflict", "unknown-level"]


def test_every_missing_header_and_every_wrong_value_in_one_answer(judged):
    table = patients().rename(columns={"Age": "Alter_bei_OP", "Diameter": "Diametre", "Stage": "TNM"})
    table["Albumin"] = table["Albumin"].astype(object)
    table.loc[4, "Albumin"] = "clotted"
    table.loc[9, "Albumin"] = 250
    table.loc[6, "Sex"] = "x"
    result = judged(table)
    text = result.text()
    by_code = {(item.code, item.column) for item in errors(result)}
    assert {("missing-column", name) for name in ("age", "size", "stage")} <= by_code
    assert {("not-a-number", "alb"), ("impossible-value", "alb"), ("unknown-level", "sex")} <= by_code
    assert "did you mean 'Diametre'?" in text and "'Alter_bei_OP'" in text and "'TNM'" in text
    lines = (judged.folder / "study.yaml").read_text("utf-8").splitlines()
    line = 1 + next(n for n, content in enumerate(lines) if "size:" in content)
    assert f"cohort.columns.size.column [study file, line {line}]" in text
    assert "[study file: cohort.columns.sex.levels, line" in text


def test_a_missing_identifier_does_not_hide_the_rest(judged):
    table = patients().rename(columns={"Pat": "Fall-Nr", "Age": "a"})
    table.loc[4, "Albumin"] = 600
    result = judged(table)
    codes = {item.code for _, item in result.findings}
    assert {"missing-column", "impossible-value", "other-identifier"} <= codes
    assert "The ID column 'Pat' was not found" in result.text() and "'Fall-Nr'" in result.text()


def test_run_refuses_with_the_same_list_and_writes_nothing(judged):
    table = patients().rename(columns={"Age": "a", "Diameter": "b"})
    table.loc[3, "Sex"] = "neither"
    result = judged(table)
    with pytest.raises(HepacastError) as refused:
        run_study(judged.folder, out=judged.folder / "out", workers=1)
    for item in errors(result):
        assert item.message.split(";")[0] in str(refused.value)
    assert not (judged.folder / "out").exists()


@pytest.mark.parametrize("command", ["check", "run"])
def test_the_cause_stands_beside_what_follows_from_it(judged, command):
    """Half of the identifiers lost their zeros: the outcome of the others is on rows that nobody finds."""
    table = patients().assign(Pat=[f"{i:03d}" for i in range(1, 81)])
    copy = table.assign(Pat=[str(i) for i in range(1, 81)], Relapse=None)
    both = pd.concat([table.assign(Relapse="no"), copy], ignore_index=True)
    result = judged(both)
    said = result.text()
    if command == "run":
        with pytest.raises(HepacastError) as refused:
            run_study(judged.folder, out=judged.folder / "out", workers=1)
        said = str(refused.value)
    assert "one class only" in said
    assert "similar-id" in said and "001" in said


def test_a_wrong_split_outcome_and_candidate_are_told_together(judged):
    split = "{by: column, column: Site, training: [nort], validation: [east, south]}"
    text = judged(
        patients(), split=split, candidates="age, weight", outcome="{column: relapse, positive: [perhaps]}"
    ).text()
    for words in ("'weight' is no column", "No patient has 'nort' or 'east'", "no value 'perhaps'"):
        assert words in text


def test_a_synonym_is_found_where_the_study_file_names_the_quantity(judged):
    table = patients().rename(columns={"Albumin": "白蛋白 (g/dL)", "Sex": "Geschlecht"})
    table["白蛋白 (g/dL)"] /= 10
    more = "    got: {column: AST, unit: U/L}\n"
    result = judged(table.assign(GOT=31), more=more.replace("unit", "kind: numeric, unit"))
    codes = [(item.code, item.column) for _, item in result.findings if item.code == "header-by-synonym"]
    assert {column for _, column in codes} == {"alb", "sex", "got"}
    assert ("unit-conflict", "alb") in {(item.code, item.column) for item in errors(result)}


@pytest.mark.parametrize(
    ("more", "headers", "lacking"),
    [
        ("    late: {column: highest TB, quantity: bilirubin, unit: umol/L}\n", ["TB"], ["late"]),
        ("    tb: {column: TB, unit: umol/L}\n    tb2: {column: TBIL, unit: umol/L}\n", ["TB"], ["tb2"]),
        ("    tb: {column: TB, unit: umol/L}\n    tb2: {column: TBIL, unit: umol/L}\n", ["总胆红素"], ["tb", "tb2"]),
        ("    tb: {column: TB, unit: umol/L}\n", ["bili", "总胆红素"], ["tb"]),
    ],
)
def test_another_measurement_is_never_taken_for_a_missing_one(judged, more, headers, lacking):
    result = judged(patients().assign(**dict.fromkeys(headers, 14)), more=more)
    assert [item.column for item in errors(result)] == lacking


def test_who_is_left_out_is_not_judged(judged):
    table = patients()
    table["Albumin"] = table["Albumin"].astype(object)
    table.loc[5, ["Albumin", "Months", "Remark"]] = ["lost", -3, "second primary"]
    table.loc[8, ["Albumin", "Remark"]] = [3.9, "transplanted 2019"]
    outcome = TIMES % "12"
    assert {item.patient for item in errors(judged(table, outcome=outcome))} >= {"H05", "H08"}
    result = judged(table, outcome=outcome, exclude="{reason: any remark, column: Remark, filled: true}")
    assert not result.has_errors, result.text()
    assert "left out: 2 (any remark)" in result.text()
    assert "not judged: the patient is left out, any remark" in result.text()


def test_a_remark_of_no_is_told(judged):
    table = patients()
    table.loc[[3, 4], "Remark"] = ["none", "ascites"]
    table.loc[5, "Remark"] = "-"
    text = judged(table, exclude="{reason: remark, column: Remark, filled: true}").text()
    assert "left out: 2 (remark)" in text
    assert "1 of the 2 patients" in text and "remark-says-no" in text


def test_a_single_event_cannot_be_validated(judged):
    table = patients()
    table["Relapse"] = "no"
    table.loc[10, "Relapse"] = "yes"
    result = judged(table, split="{by: none}", candidates="age")
    assert [item.code for item in errors(result)] == ["too-few-events"]
    table.loc[11, "Relapse"] = "yes"
    assert not errors(judged(table, split="{by: none}", candidates="age"))


def test_columns_that_other_parts_of_the_study_file_name(judged):
    outcome = "{definition: apasl2019-ptlf, columns: {bilirubin: tb_late, inr: Ages, ascites: sex}}"
    write_text(judged.folder / "study.yaml", "")
    text = judged(patients(), outcome=outcome).text()
    assert "outcome.columns.bilirubin names the column 'tb_late'" in text
    assert "outcome.columns.inr names the column 'Ages'" in text and "'Age'" in text
    assert "outcome.columns.ascites" not in text


def test_settings_that_modelling_would_refuse(judged):
    judged(patients())
    file = judged.folder / "study.yaml"
    text = file.read_text("utf-8").replace("models: [clinical]", "models: [clinical]\n  harmonize: combat")
    write_text(file, text.replace("evaluation: {", "evaluation: {subgroups: [sex, weight], "))
    text = check_study(judged.folder).text()
    assert "no centers to harmonize" in text and "evaluation.subgroups names the column 'weight'" in text


def test_run_says_the_warnings_about_its_numbers(judged):
    lines = []

    class Told(SilentReporter):
        def say(self, text):
            lines.append(text)

    table = patients()
    table.loc[table["Site"] == "north", "Sex"] = "m"
    judged(table)
    run_study(judged.folder, out=judged.folder / "out", workers=1, until="cohort", reporter=Told())
    assert any("'female'" in line for line in lines if line.startswith("warning: sex"))


def test_an_exclusion_that_cannot_be_applied_does_not_hide_the_others(judged):
    rules = (
        "{reason: first, column: Remarks, filled: true}, {reason: second, column: Age, above: 70},"
        " {reason: third, column: Stage, below: 2}"
    )
    text = judged(patients(), exclude=rules).text()
    assert "rule 1 (first)" in text and "'Remark'" in text
    assert "rule 3 (third)" in text and "(second)" in text


def test_a_set_of_which_nobody_is_left(judged):
    result = judged(patients(), exclude="{reason: other hospital, column: Site, equals: south}")
    assert [item.code for item in errors(result)] == ["empty-set"]
    assert "validation set are left out: other hospital" in result.text()


def test_horizons_after_the_follow_up(judged):
    table = patients()
    table.loc[table["Site"] == "south", "Months"] = table["Months"].clip(upper=15)
    result = judged(table, outcome=TIMES % "12, 24, 400")
    stopped = [item.message for item in errors(result)]
    assert len(stopped) == 1 and "horizon 400 months" in stopped[0] and "outcome.horizons" in stopped[0]
    assert "nobody of the validation set is followed to 24 months" in result.text()


def test_levels_that_the_training_set_never_saw(judged):
    table = patients()
    south = table.index[table["Site"] == "south"]
    table.loc[south[:5], "Stage"] = "IV"
    table.loc[table["Site"] == "north", "Sex"] = "m"
    result = judged(table)
    told = {item.column: item.message for _, item in result.findings if item.code == "level-not-in-training"}
    assert set(told) == {"stage", "sex"} and "'IV' occurs in 5 patients of the validation set" in told["stage"]
    run_study(judged.folder, out=judged.folder / "out", workers=1, until="cohort")
    kept = json.loads((judged.folder / "out" / "cohort" / "findings.json").read_text("utf-8"))
    assert {item["column"] for item in kept if item["code"] == "level-not-in-training"} == {"stage", "sex"}


def test_a_data_folder_starts_where_it_is_typed(judged, monkeypatch, tmp_path):
    judged(patients())
    (tmp_path / "typed").mkdir()
    (tmp_path / "clinical.csv").rename(tmp_path / "typed" / "clinical.csv")
    (tmp_path / "files").mkdir()
    text = (tmp_path / "study.yaml").read_text("utf-8").replace("clinical.csv", '"{data}/clinical.csv"')
    write_text(tmp_path / "files" / "study.yaml", text)
    monkeypatch.chdir(tmp_path)
    assert not check_study("files/study.yaml", data="typed").has_errors
    monkeypatch.setenv("HEPACAST_DATA", "typed")
    assert not check_study("files").has_errors
    monkeypatch.delenv("HEPACAST_DATA")
    assert "--data" in check_study("files").text()
    assert run_study("files", data="typed", out="out", workers=1, until="cohort").ran == ("cohort",)


def test_a_study_file_that_cannot_be_read_still_raises(tmp_path):
    with pytest.raises(StudyFileError):
        check_study(tmp_path / "none.yaml")
