"""METRICS with its score, PROBAST+AI flags: computed by hand, true of the run, every reference resolved."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hepacast.report.content import compose
from hepacast.report.content.checklists import load_checklists
from hepacast.report.content.metrics_score import (
    CONDITIONS,
    RULES,
    Met,
    MetricsItem,
    metrics_score,
    metrics_table,
    score_items,
)
from hepacast.report.content.probast import DOMAINS, Judgement, domain_flag, judge
from hepacast.report.model import TableBlock, number_blocks
from hepacast.report.results import load_results

Changed = Callable[..., Path]


def item(number: int, weight: float, met: bool | None, applies: bool | None = True) -> MetricsItem:
    return MetricsItem(number, "part", "item", weight, applies, Met(met))


def test_score_by_hand() -> None:
    # 0.3 of 0.8 is met, 0.1 of it waits for the author; the item of weight 0.2 does not apply.
    score = score_items(
        (item(1, 0.3, True), item(2, 0.4, False), item(3, 0.1, None), item(4, 0.2, True, applies=False))
    )
    assert score.low == pytest.approx(37.5)
    assert score.high == pytest.approx(50.0)
    assert score.open_items == 1
    assert "37.5% (low)" in score.text() and "50.0% (moderate)" in score.text()
    # A study that meets every item has 100%, whatever its conditions.
    everything = score_items((item(1, 0.3, True), item(2, 0.4, False, applies=False)))
    assert everything.low == everything.high == pytest.approx(100.0)
    assert everything.text() == "METRICS score 100.0% (excellent)."


def test_published_weights() -> None:
    items = load_checklists()["metrics"]["items"]
    assert [entry["number"] for entry in items] == list(range(1, 31))
    assert sum(entry["weight"] for entry in items) == pytest.approx(1.0)
    assert {entry["condition"] for entry in items if "condition" in entry} == set(CONDITIONS)
    assert {entry["number"] for entry in items if "condition" in entry} == {8, 9, 10, 12, 14, 15, 16, 17}
    assert set(RULES) <= set(range(1, 31))


def tables(folder: Path) -> dict[str, Any]:
    report = compose(load_results(folder))
    numbers = number_blocks(report)
    found = {b.key: b.table for b in report.blocks() if isinstance(b, TableBlock)}
    for key in ("checklist-metrics", "checklist-probast", "probast-domains"):
        for row in found[key].rows:
            for cell in row.cells:
                for name in re.findall(r"\{([\w-]+)\}", cell):
                    assert name in numbers, (key, row.cells[0], name)
    return found


def test_a_run_is_scored(complete: Path) -> None:
    found = tables(complete)
    assert len(found["checklist-metrics"].rows) == 30
    results = load_results(complete)
    score = metrics_score(load_checklists()["metrics"], results)
    answers = {entry.number: entry for entry in score.items}
    assert answers[17].applies is False
    assert answers[22].answer.met is True
    assert answers[2].answer.met is None and "author" in answers[2].answer.text
    assert 0 < score.low < score.high < 100
    total = sum(entry.weight for entry in score.items if entry.applies is not False)
    by_hand = sum(entry.weight for entry in score.items if entry.applies is not False and entry.answer.met)
    assert score.low == pytest.approx(100 * by_hand / total)
    row = metrics_table(load_checklists()["metrics"], score).rows[16]
    assert row.cells[4] == "n/a"


@pytest.mark.parametrize("missing", ["segmentation", "radiomics", "modelling/validation.json", "run.json"])
def test_scored_with_a_part_missing(changed: Changed, missing: str) -> None:
    folder = changed(missing)
    found = tables(folder)
    metrics = {row.cells[0]: row.cells for row in found["checklist-metrics"].rows}
    if missing == "segmentation":
        assert metrics["8"][4] == "Author to fill"
    if missing == "radiomics":
        assert metrics["13"][4] == "Author to fill"
    if missing == "run.json":
        assert metrics["18"][4] == "Author to fill"


def flags(folder: Path) -> dict[tuple[str, str], Judgement]:
    return {(entry.part, entry.question): entry for entry in judge(load_results(folder))}


def test_flags_are_read_off_the_run(complete: Path, changed: Changed) -> None:
    found = flags(complete)
    assert found[("development", "Appropriate source of data")].flag == "unclear"
    assert found[("evaluation", "Patients that the model had not seen")].flag == "low"
    assert found[("development", "Selection by univariable P")].flag == "high"

    folder = changed("modelling/validation.json", lambda c: {"models": {}, "stability": {}, "refits": 0})
    assert flags(folder)[("evaluation", "Resampling repeats all steps")].flag == "high"

    def fail(content: dict[str, Any]) -> dict[str, Any]:
        name = "No patient is in training and validation"
        return content | {"checks": [{"name": name, "passed": False, "message": "2 in both"}]}

    folder = changed("run.json", fail)
    leaked = flags(folder)[("evaluation", "No leakage between the parts")]
    assert leaked.flag == "high" and "No patient is in training" in leaked.reason
    assert domain_flag(judge(load_results(folder)), "evaluation", "analysis") == "high"


def test_small_evaluation_is_flagged_with_its_numbers(complete: Path) -> None:
    found = flags(complete)[("evaluation", "Sample size")]
    assert found.flag == "high" and re.search(r"\d+ events and \d+ without", found.reason)


def test_the_worst_flag_decides_a_domain() -> None:
    def one(flag: Any) -> Judgement:
        return Judgement("development", "analysis", "q", flag, "r")

    assert domain_flag([one("low")], "development", "analysis") == "low"
    assert domain_flag([one("low"), one("unclear")], "development", "analysis") == "unclear"
    assert domain_flag([one("high"), one("unclear")], "development", "analysis") == "high"
    assert domain_flag([one("high")], "evaluation", "analysis") == "low"
    assert len(DOMAINS) == 4
