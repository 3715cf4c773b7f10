"""Numbers as printed, markup, tables, typed reading, references."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hepacast.cohort.comparisons import Comparisons
from hepacast.core import formatting as fmt
from hepacast.core.records import ResultsError, typed
from hepacast.core.sentences import Sentence
from hepacast.core.tables import Row, make_table
from hepacast.evaluation.conformal import ConformalInfo, CoverageRow
from hepacast.evaluation.results import EvaluationResults
from hepacast.evaluation.risk_groups import RiskGroups
from hepacast.imaging.remarks import ImageRemark
from hepacast.modelling.described import DescribedModels, SelectedShare, StabilityIndex, Validation
from hepacast.report.content.plausibility import doubts, doubts_by_patient
from hepacast.report.content.scrutiny import conformal_rows
from hepacast.report.content.validation import stability_text
from hepacast.report.methods import Numbering, load_bibliography, write_methods
from hepacast.report.model import (
    Details,
    Document,
    Paragraph,
    Place,
    Report,
    Section,
    Span,
    TableBlock,
    number_blocks,
    spans,
)
from hepacast.segmentation.results import PlausibilityInfo

NAN = float("nan")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.00001, "<.001"),
        (0.0009999, "<.001"),
        (0.001, ".001"),
        (0.0042, ".004"),
        (0.0096, ".01"),
        (0.0495, ".0495"),
        (0.0499, ".0499"),
        (0.05, ".050"),
        (0.463, ".46"),
        (0.99, ".99"),
        (0.9951, ">.99"),
        (NAN, "—"),
    ],
)
def test_p_values(value: float, text: str) -> None:
    assert fmt.p_value(value) == text


@given(st.floats(0.001, 0.99))
def test_printed_p_is_never_on_the_other_side_of_five_percent(p: float) -> None:
    printed = float("0" + fmt.p_value(p).lstrip("<>"))
    if p < 0.0495:
        assert printed < 0.05
    if p > 0.0505:
        assert printed > 0.05


def test_intervals() -> None:
    assert fmt.with_interval(0.878, 0.761, 0.994) == "0.878 (0.761–0.994)"
    assert fmt.with_interval(0.1, -0.4, 0.6, 2) == "0.10 (−0.40 to 0.60)"
    assert fmt.with_interval(0.5, NAN, NAN) == "0.500"
    assert fmt.with_interval(NAN, 0, 1) == "not estimable"
    assert fmt.percent_with_interval(0.8125, 0.57, 0.934) == "81.2% (57.0–93.4)"
    assert fmt.ratio_with_interval(1992.169, 46.629, 85113.563) == "1,992 (46.63–85,114)"
    assert fmt.ratio_with_interval(0.05, 0.002, 0.9) == "0.050 (0.002–0.90)"


def test_numbers() -> None:
    assert fmt.number(-0.001, 2) == "0.00"
    assert fmt.number(-1.5, 1) == "−1.5"
    assert fmt.number(math.inf) == "—"
    assert fmt.significant(0.000012345) == "1.23e−5"
    assert fmt.significant(1234.5) == "1,234"
    assert fmt.significant(0.0) == "0"
    assert fmt.count_percent(30, 36) == "30 (83.3)"
    assert fmt.count_percent(0, 0) == "0 (—)"
    assert fmt.listing(["a", "b", "c"]) == "a, b and c"
    assert fmt.plural(1, "patient") == "1 patient"


def test_spans_and_references_to_tables() -> None:
    assert spans("see **this**^1,2^ and {flow}", {"flow": Place("report", "Figure 1")}) == [
        Span("see "),
        Span("this", bold=True),
        Span("1,2", superscript=True),
        Span(" and "),
        Span("Figure 1", target="flow"),
    ]
    assert spans("2*3*4 is a product") == [Span("2*3*4 is a product")]
    assert spans("an *italic* word")[1] == Span("italic", italic=True)


@given(st.text())
def test_markup_never_loses_words(text: str) -> None:
    plain = "".join(span.text for span in spans(text))
    assert plain.replace("*", "").replace("^", "") == text.replace("*", "").replace("^", "")


def test_table_pads_and_indents() -> None:
    table = make_table("T", ["Name", "a", "b"], [Row(("Group",), "group"), Row(("x", "1"), "indent"), ("y", "2", "3")])
    assert table.to_csv().splitlines() == ["Name,a,b", "Group,,", "  x,1,", "y,2,3"]
    assert table.rows[0].is_heading
    with pytest.raises(ValueError, match="4 cells under 3 headings"):
        make_table("T", ["Name", "a", "b"], [("1", "2", "3", "4")])


def test_each_document_is_numbered_by_itself() -> None:
    blank = make_table("T", ["a"], [])
    one, two, three = (TableBlock(name, blank) for name in ("one", "two", "three"))
    main = Document("report", "", "", (Section("A b!", (Paragraph("x"), one, three)),))
    more = Document("supplement", "Supplement", "S", (Section("A", (Details("d", (two,)),)),))
    report = Report("t", "s", (), "r", (main, more))
    places = number_blocks(report)
    assert {key: place.number for key, place in places.items()} == {
        "one": "Table 1",
        "two": "Table S1",
        "three": "Table 2",
    }
    assert (places["two"].document, places["two"].anchor) == ("supplement", "table-s1")
    assert report.sections[0].anchor == "a-b"
    twice = Report("t", "s", (), "r", (main, replace(more, sections=main.sections)))
    with pytest.raises(ValueError, match="two tables"):
        number_blocks(twice)


def test_references_are_numbered_by_first_mention() -> None:
    sentences = [
        Sentence("modelling", "A LASSO [@b] chose.", ["b"]),
        Sentence("cohort", "Defined [@a; @b].", []),
        Sentence("cohort", "Free text.", ["Doe J. A book. 2020."]),
    ]
    text = write_methods(sentences, Numbering({"a": "Ref A", "b": "Ref B"}))
    assert text.paragraphs == (
        ("Patients and outcome", "Defined^1,2^. Free text.^3^"),
        ("Models", "A LASSO^2^ chose."),
    )
    assert text.references == ("Ref A", "Ref B", "Doe J. A book. 2020.")


def test_bibliography_has_full_references() -> None:
    for key, text in load_bibliography().items():
        assert any(str(year) in text for year in range(1925, 2027)), key
        assert text.count(".") >= 3, key


@dataclass(frozen=True)
class Inner:
    value: float
    kind: Literal["a", "b"] = "a"


@dataclass(frozen=True)
class Outer:
    items: list[Inner]
    table: dict[str, int] = field(default_factory=dict)
    other: Inner | None = None
    several: dict[str, int] | int | None = None


GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guide" / "report.md"
EXAMPLES = {
    "modelling/comparisons.json": Comparisons,
    "modelling/models.json": DescribedModels,
    "modelling/validation.json": Validation,
    "evaluation/evaluation.json": EvaluationResults,
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_of_the_guide_can_be_read(name: str) -> None:
    part = GUIDE.read_text(encoding="utf-8").split(f"### `{name}`")[1]
    examples = re.findall(r"```json\n(.*?)```", part.split("\n### ")[0], flags=re.DOTALL)
    assert examples
    typed(EXAMPLES[name], json.loads(examples[0]), name)
    for more in examples[1:]:
        typed(RiskGroups, json.loads(more), name)


def test_typed_reading() -> None:
    found = typed(Outer, {"items": [{"value": 1, "new": "ignored"}, {"value": None}], "other": None})
    assert found.items[0] == Inner(1.0)
    assert math.isnan(found.items[1].value)
    assert found.other is None
    for value in ({"liver": 3}, 3, None):
        assert typed(Outer, {"items": [], "several": value}).several == value


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ({"items": [{"value": "x"}]}, "v.items[0].value"),
        ({"items": {}}, "v.items"),
        ({}, "v"),
        ({"items": [], "table": {"a": "b"}}, "v.table.a"),
        ({"items": [], "several": {"a": "b"}}, "v.several.a"),
        ({"items": [{"value": 1, "kind": "c"}]}, "v.items[0].kind"),
        ({"items": [{"value": True}]}, "v.items[0].value"),
    ],
)
def test_wrong_content_is_named(value: object, where: str) -> None:
    with pytest.raises(ResultsError) as caught:
        typed(Outer, value, "v")
    assert caught.value.where == where


@pytest.mark.parametrize(
    ("text", "shown"),
    [("multi-task network", "Multi-task network"), ("nnU-Net", "nnU-Net"), ("mRECIST response", "mRECIST response")],
)
def test_names_with_capitals_of_their_own_keep_them(text: str, shown: str) -> None:
    assert fmt.capital(text) == shown


def test_the_stability_of_one_variable_is_told_in_the_singular() -> None:
    shares = [SelectedShare("size", 0.9)]
    text = stability_text("clinical", "predictor", shares, StabilityIndex(0.8, 0.6, 1.0), "90% CI")
    assert text.startswith("1 predictor was selected in one refit or more, 1 of them in at least 80%")
    assert text.endswith("Nogueira's stability index (90% CI) is 0.80 (0.60\N{EN DASH}1.00).")


def test_gray_levels_are_no_fault_of_a_patient() -> None:
    """Two patients with few gray levels, one whose scan ends in the liver: one to look at, all remarks listed."""
    few = [ImageRemark(name, "doubtful", "gray-levels", "tumor", "fewer than 8 gray levels") for name in ("P1", "P2")]
    found = PlausibilityInfo(remarks=[ImageRemark("P3", "doubtful", "cut-off", "liver", "reaches the last slice")])
    results = SimpleNamespace(plausibility=found, radiomics=SimpleNamespace(gray_levels=few))
    (callout,) = doubts(results)  # type: ignore[arg-type]
    (bullets,) = doubts_by_patient(results)  # type: ignore[arg-type]
    assert callout.text.startswith("1 patient of 3;")
    assert len(bullets.items) == 3


def test_conformal_sets_that_did_not_keep_their_level_are_said_to() -> None:
    """22 % of 50 patients with the event is no chance at 90 %; 80 % of 10 without it may be."""
    row = CoverageRow(60, 50, 10, 0.22, 0.8, 0.2, 0.3, 0.4, 0.1, set="validation")
    kept = CoverageRow(60, 50, 10, 0.88, 0.9, 0.2, 0.3, 0.4, 0.1, set="external")
    item = ConformalInfo(0.9, (row, kept))
    names = {"validation": "Validation set", "external": "External set"}
    text = conformal_rows(item, names, "combined", "Sets.", "")[0].text
    assert "In the validation set they held the outcome of only 22.0% of 50 patients with the event" in text
    assert text.count("not kept there") == 1


def test_masks_of_one_fault_are_named_together_and_those_that_cannot_be_measured_first():
    from hepacast.report.content.segmentation import _status
    from hepacast.segmentation.results import CaseStatus, Segmentation

    empty, flat = "tumor: the mask is empty", "tumor: the mask lies in one slice"
    status = [CaseStatus("P1", "warning", flat), CaseStatus("P2", "failed", empty), CaseStatus("P3", "warning")]
    item = Segmentation("nnunet", status=[*status, CaseStatus("P4", "failed", empty)])
    expected = f"Masks that cannot be measured (2): {empty} (P2, P4). Masks to look at (1): {flat} (P1)."
    assert _status(item) == expected
    assert _status(Segmentation("nnunet", status=status[:1])) == f"Masks to look at (1): {flat} (P1)."
