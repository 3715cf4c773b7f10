"""The template of the clinical table: its example is never a patient, and its words are those of the study file."""

import openpyxl
import pytest

from hepacast.cohort import read_table
from hepacast.cohort.patient_rows import EXAMPLE_ROW
from hepacast.errors import TableError
from hepacast.study.load import load_study
from hepacast.study.stages.clinical import column_spec
from hepacast.study.statistics.reading import load
from hepacast.study.template import RECIPES, init_study


@pytest.fixture(params=RECIPES)
def template(request, tmp_path):
    study, table = init_study(tmp_path / "study", request.param)
    return load_study(study), table


def specs_of(study):
    return [column_spec(name, column, False, False) for name, column in study.cohort.columns.items()]


def test_the_example_is_no_patient(template):
    study, path = template
    with pytest.raises(TableError, match="no patients"):
        read_table(path, id_column=study.cohort.id, columns=specs_of(study))


def test_what_the_example_shows_can_be_read(template):
    study, path = template
    book = openpyxl.load_workbook(path)
    sheet = book["patients"]
    example = [cell.value for cell in sheet[2]]
    assert example[0] == EXAMPLE_ROW
    for number in range(1, 4):
        sheet.append([f"S{number}", *example[1:]])
    book.save(path)
    table = read_table(path, id_column=study.cohort.id, columns=specs_of(study))
    assert table.patients == ["S1", "S2", "S3"]
    assert [str(item) for item in table.findings if item.severity == "error"] == []
    assert {item.code for item in table.findings} >= {"example-row"}
    assert table.frame.notna().all(axis=None), table.frame.isna().any()


def test_every_column_is_explained_and_its_words_can_be_chosen(template):
    study, path = template
    book = openpyxl.load_workbook(path)
    headers = [cell.value for cell in book["patients"][1]]
    explained = [row[0].removesuffix(" (identifier)") for row in book["columns"].iter_rows(min_row=2, values_only=True)]
    assert explained == headers
    lists = [rule for rule in book["patients"].data_validations.dataValidation if rule.type == "list"]
    offered = {str(rule.sqref).split("3:")[0]: rule.formula1.strip('"').split(",") for rule in lists}
    for spec in specs_of(study):
        if spec.levels:
            letter = book["patients"].cell(1, headers.index(spec.source[0]) + 1).column_letter
            meant = {level for word in offered[letter] for level, words in spec.levels.items() if word in words}
            assert meant == set(spec.levels)


def test_the_example_is_no_patient_of_stats_either(tmp_path):
    _, path = init_study(tmp_path / "study", "ptlf")
    book = openpyxl.load_workbook(path)
    example = [cell.value for cell in book["patients"][2]]
    for number in range(1, 6):
        book["patients"].append([f"S{number}", *example[1:]])
    book.save(path)
    assert len(load(path).rows) == 5
