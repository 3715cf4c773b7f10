"""The study file: recipes are legal, every option is explained, and mistakes are told with line and nearest key."""

import json

import openpyxl
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hepacast.errors import HepacastError, StorageError, StudyFileError
from hepacast.study.load import load_study, parse_study
from hepacast.study.schema import Study
from hepacast.study.template import (
    RECIPES,
    init_study,
    proposed_values,
    recipe_values,
    reference_markdown,
    render_study,
    schema_json,
)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_new_study_says_what_its_recipe_says(tmp_path, recipe):
    study_file, table = init_study(tmp_path / "new", recipe)
    values, _ = proposed_values(recipe)
    values["cohort"]["table"] = "clinical.xlsx"
    assert load_study(study_file) == Study.model_validate(values)
    assert load_study(tmp_path / "new").recipe == recipe
    header = [cell.value for cell in openpyxl.load_workbook(table)["patients"][1]]
    assert header[0] == "patient"
    assert len(header) == len(set(header)) > 5
    with pytest.raises(StorageError, match="already"):
        init_study(tmp_path / "new", recipe)


def test_every_option_is_in_a_new_study_file_with_its_help():
    text = render_study(recipe_values("ptlf"))
    for name, field in Study.model_fields.items():
        assert f"{name}:" in text
        assert field.description
    assert "# below_detection: half" in text
    assert "# min_lesion_ml: 0.0" in text


def test_schema_and_reference_cover_all_fields():
    schema = schema_json()
    assert set(schema["properties"]) == set(Study.model_fields)
    json.dumps(schema)
    reference = reference_markdown()
    for definition in schema["$defs"].values():
        for name, field in definition.get("properties", {}).items():
            assert f"`{name}`" in reference
            assert field.get("description"), f"{definition['title']}.{name} has no help"


def _broken(**changes):
    values = recipe_values("ptlf")
    for place, value in changes.items():
        target = values
        *path, last = place.split("__")
        for part in path:
            target = target[part]
        if value is None:
            del target[last]
        else:
            target[last] = value
    return yaml.safe_dump(values, sort_keys=False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modelling__canditates": ["a"]}, r"unknown key 'canditates'; did you mean 'candidates'\?"),
        ({"modelling__candidates": None}, r"modelling\.candidates: this key is required"),
        (
            {"cohort__split": {"by": "column", "column": "c", "trainin": [1], "validation": [2]}},
            "did you mean 'training'",
        ),
        ({"cohort__split": {"by": "magic"}}, "'column', 'list', 'random', 'none'"),
        ({"cohort__columns__inr__untit": "1"}, "did you mean 'unit'"),
        ({"features__backend": "numpy"}, "'hepacast' or 'pyradiomics'"),
        ({"seed": "today"}, "valid integer"),
        ({"seed": True}, "seed: input should be a valid integer.*truth value"),
        ({"modelling__alpha": False}, r"modelling\.alpha: input should be a valid number.*truth value"),
        ({"modelling__validation": {"folds": 5, "repeats": True}}, r"validation\.repeats: .*truth value"),
        ({"images__segmentation__labels": {"tumor": True}}, r"labels\.tumor: .*truth value"),
        ({"images": None}, "need `images`, or `features.table`"),
        ({"features__table": "x.csv"}, "not both"),
        ({"cohort__exclude": [{"reason": "r", "column": "c"}]}, "an exclusion needs one of"),
    ],
)
def test_mistakes_are_told(changes, message):
    with pytest.raises(StudyFileError, match=message) as caught:
        parse_study(_broken(**changes))
    assert "line " in str(caught.value)


def test_the_line_is_right():
    text = render_study(recipe_values("ptlf")).replace("  chain: ptlf", "  chian: ptlf")
    line = next(i for i, row in enumerate(text.splitlines(), start=1) if "chian" in row)
    with pytest.raises(StudyFileError, match=f"line {line}, modelling.chian"):
        parse_study(text)


@pytest.mark.parametrize("text", ["", "[1, 2]", "a: [", "name: x\nname: y\n"])
def test_what_is_no_study_file_is_refused(text):
    with pytest.raises(StudyFileError):
        parse_study(text)


@given(st.text(max_size=200))
def test_any_text_gives_a_study_or_a_clear_error(text):
    with pytest.raises(HepacastError):
        parse_study(text)


def test_a_missing_file_names_the_next_step(tmp_path):
    with pytest.raises(StudyFileError, match="hepacast init"):
        load_study(tmp_path / "none.yaml")


def test_a_column_that_numbers_the_patients_is_no_feature():
    import pandas as pd

    from hepacast.study.stages.feature_table import _counts_rows

    assert _counts_rows(pd.Series(range(100, 130)))
    assert not _counts_rows(pd.Series([1.0, 2.0, 3.0]))
    assert not _counts_rows(pd.Series([float(k * k) for k in range(30)]))
    assert not _counts_rows(pd.Series([float("nan")] * 30))


@pytest.mark.parametrize("name", ["../portal", "a/b", "a:b", "", "a\\b", "x" * 65])
def test_a_sequence_has_a_name_that_can_name_a_file(name):
    from hepacast.study.schema.images import Images

    with pytest.raises(ValueError, match="cannot name a sequence or VOI"):
        Images.model_validate({"sequences": {name: {"path": "{patient}.nii.gz"}}})
    assert Images.model_validate({"sequences": {"portal venous 2": {"path": "x"}}, "vois": {"动脉期": "tumor"}})


def test_a_key_of_another_way_to_split_is_no_suggestion():
    cohort = "cohort: {table: t.csv, id: ID, split: {by: random, validation: 0.3}}"
    with pytest.raises(StudyFileError) as raised:
        parse_study(f"hepacast: 1\nname: x\n{cohort}\noutcome: {{definition: binary-column}}\n")
    assert "unknown key 'validation'; did you mean 'validation_fraction'?" in str(raised.value)


def test_a_new_study_has_what_is_recommended_beside_what_was_published():
    for recipe in RECIPES:
        published, (values, notes) = recipe_values(recipe), proposed_values(recipe)
        assert "biomarkers" not in published and "published" in notes["biomarkers"][0]
        assert values["biomarkers"]["use"] == ["liver" if recipe.startswith("ptlf") else "tumor"]
        assert values["modelling"]["combination"] == "auto" and "combination" not in published["modelling"]
        fusion = published.get("fusion")
        if fusion is not None:
            models = values["fusion"]["models"]
            assert list(models.items())[: len(fusion["models"])] == list(fusion["models"].items())
            assert "biomarkers" in list(models.values())[-1]
            assert values["fusion"]["competition"] == "averaged" and "fusion.competition" in notes
        else:
            assert values["modelling"]["models"][-1] == "joint"
            assert {"clinical", "biomarkers", "radiomics"} < set(values["modelling"]["models"])
    assert recipe_values("early-recurrence")["images"]["preprocessing"]["normalization"] == "zscore"
    values, notes = proposed_values("early-recurrence")
    assert values["images"]["preprocessing"]["normalization"] == "reference-tissue"
    assert "zscore of the body" in render_study(values, notes)
