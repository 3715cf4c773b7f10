"""Texts of strangers on the terminal, in tables and figures: shown, and neither obeyed nor computed."""

import csv
import io

import matplotlib as mpl
import pandas as pd
import pytest

from hepacast.core.progress import LineReporter
from hepacast.core.texts import cell, cells, plain_cell, visible, visible_document
from hepacast.figures.style import new_figure, styled


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, 白蛋白 µmol/L ± é", "plain, 白蛋白 µmol/L ± é"),
        ("a\x1b[31mb\x07", "a\\x1b[31mb\\x07"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("a\u2066b\u200fc\u0085d", "a\\u2066b\\u200fc\\x85d"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("\ud800", "\\ud800"),
    ],
)
def test_what_would_be_obeyed_is_shown(text, shown):
    assert visible(text) == shown
    assert visible_document({text: [text, 1, None]}) == {shown: [shown, 1, None]}


def test_progress_is_shown_too():
    stream = io.StringIO()
    LineReporter(stream).say("patient \x1b]0;x\x07")
    assert stream.getvalue() == "patient \\x1b]0;x\\x07\n"


COMPUTED = ["=1+1", "+1+1", "-2+3+cmd|' /C calc'!A0", "@SUM(A1)", "\t=1", "\r=1", "=HYPERLINK(1)", "-(1)", "+A1", "'=1"]
PLAIN = [
    "-0.12",
    "-1,234.5",
    "+3",
    "-.5e-3",
    "-0.12 (-0.30 to 0.10)",
    "-3%",
    "-",
    "+",
    "++",
    "-/+",
    "P001",
    "",
    "O'Hara",
]


@pytest.mark.parametrize("text", COMPUTED)
def test_a_cell_that_a_spreadsheet_would_compute_becomes_a_text_and_is_read_back(text):
    assert cell(text) == f"'{text}"
    assert plain_cell(cell(text)) == text


@pytest.mark.parametrize("text", PLAIN)
def test_numbers_and_words_stay(text):
    assert cell(text) == text
    assert plain_cell(text) == text


def test_a_table_of_cells_keeps_its_numbers():
    table = pd.DataFrame({"=id": ["=1+1", "-5"], "x": [-1.5, 2.0]}, index=[3, 4])
    found = cells(table)
    assert list(found.columns) == ["'=id", "x"] and list(found["'=id"]) == ["'=1+1", "-5"]
    assert found["x"].dtype == float and list(table["=id"]) == ["=1+1", "-5"]
    back = list(csv.reader(io.StringIO(found.to_csv(index=False))))
    assert [plain_cell(item) for item in back[1]] == ["=1+1", "-1.5"]


@pytest.mark.parametrize("label", ["$\\frac{1}{$ ($x^{$)", "100 $ and 200 $", "a_b^c % \\ $x$", "x\\$"])
def test_a_label_is_a_text_in_every_figure(label, tmp_path):
    @styled
    def draw():
        figure = new_figure(60, 40)
        axes = figure.add_subplot()
        axes.set_xlabel(label)
        axes.plot([0, 1], [0, 1], label=label)
        axes.legend()
        return figure

    draw().savefig(tmp_path / "a.png")
    assert mpl.rcParams["text.parse_math"], "the caller's settings stay"
