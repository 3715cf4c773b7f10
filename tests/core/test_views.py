"""Results show themselves by views that terminal, notebook and report share."""

import math
from dataclasses import dataclass

import pytest

from hepacast.core import views
from hepacast.core.formatting import number, ratio_with_interval, short, with_interval
from hepacast.core.tables import Row, make_table
from hepacast.errors import ModelError


@dataclass(frozen=True, repr=False)
class Found(views.Shown):
    """A result of this test."""

    value: float


@views.table.register
def _(record: Found):
    rows = [Row(("Group",), "group"), Row(("a <b>", number(record.value)), "indent")]
    return make_table("Values", ["", "Value"], rows, ["A note."])


@views.sentence.register
def _(record: Found) -> str:
    return f"Found {number(record.value)}."


def test_text_and_html_hold_the_sentence_and_the_table():
    found = Found(-1.5)
    assert found.text().splitlines() == [
        "Found \N{MINUS SIGN}1.50.", "", "Values", "         Value", "--------------", "Group",
        "  a <b>  \N{MINUS SIGN}1.50", "A note.",
    ]  # fmt: skip
    shown = found._repr_html_()
    assert "<p>Found" in shown and "a &lt;b&gt;" in shown and "<b>Values</b></caption>" in shown


def test_a_figure_that_is_not_there_is_named():
    with pytest.raises(ModelError, match="no such figure"):
        Found(1.0).plot("roc")
    with pytest.raises(TypeError, match="no table"):
        views.table(3)


def test_numbers_have_one_form():
    assert [short(v) for v in (0.5, 12.345, 12345.6, 2.0, 0.000123456)] == [
        "0.5", "12.35", "12,346", "2", "1.235e\N{MINUS SIGN}4",
    ]  # fmt: skip
    assert with_interval(0.731, 0.63, 0.833) == "0.731 (0.630\N{EN DASH}0.833)"
    assert with_interval(-0.2, -0.5, 0.1, 1) == "\N{MINUS SIGN}0.2 (\N{MINUS SIGN}0.5 to 0.1)"
    assert with_interval(0.5, math.nan, math.nan) == "0.500" and with_interval(math.nan, 0, 1) == "not estimable"
    assert ratio_with_interval(250.0, 3.1e-12, 4e20) == "250.0 (3.1e\N{MINUS SIGN}12\N{EN DASH}4.0e20)"
    assert ratio_with_interval(2.5, 0.0, math.inf) == "2.50 (0 to infinite)"
