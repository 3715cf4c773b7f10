"""Changing a study file: what it says changes, what people wrote stays."""

from pathlib import Path

import pytest

from hepacast.errors import StudyFileError
from hepacast.study.edit import comments, edit_study, study_values
from hepacast.study.template import proposed_values, render_study

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*/study.yaml"))
HAND = """# Our own study.
hepacast: 1
name: Test
cohort:
  table: t.csv   # from the registry, May
  id: ID
  columns:
    # Albumin of the day before.
    alb: {column: ALB, unit: g/L}
    inr: {column: "INR #1"}
outcome: {column: bad}
modelling: {candidates: [alb, inr], models: [clinical]}
"""


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_without_changes_it_says_the_same_and_keeps_comments(path):
    text = path.read_text(encoding="utf-8")
    edited = edit_study(text, {})
    assert study_values(edited) == study_values(text)
    for line in text.splitlines():
        if line.lstrip().startswith("# "):
            assert line.strip().lstrip("# ") in edited
    assert edit_study(edited, {}) == edited


def test_what_init_writes_is_left_as_it_is():
    values, notes = proposed_values("ptlf")
    text = render_study(values, {**notes, "cohort.id": ["is it a study number?"]})
    assert edit_study(text, {}) == text
    assert comments(text, study_values(text))["cohort.id"] == ["is it a study number?"]


def test_comments_of_hands_are_known_beside_and_above_keys():
    assert comments(HAND, study_values(HAND)) == {
        "hepacast": ["Our own study."],
        "cohort.table": ["from the registry, May"],
        "cohort.columns.alb": ["Albumin of the day before."],
    }


def test_a_change_drops_only_the_comments_about_it():
    edited = edit_study(HAND, {"cohort.columns.alb": {"column": "ALB", "unit": "g/dL"}, "cohort.columns.inr": None})
    values = study_values(edited)
    assert values["cohort"]["columns"] == {"alb": {"column": "ALB", "unit": "g/dL"}}
    assert "Albumin of the day before" not in edited and "from the registry, May" in edited


def test_the_same_value_is_no_change():
    assert "Albumin of the day before" in edit_study(HAND, {"cohort.columns.alb": {"column": "ALB", "unit": "g/L"}})


def test_what_would_be_no_study_file_is_refused():
    with pytest.raises(StudyFileError, match="modelling"):
        edit_study(HAND, {"modelling.models": ["oracle"]})
    with pytest.raises(StudyFileError):
        edit_study("name: [", {})
