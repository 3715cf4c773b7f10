"""The guide names every finding, score and definition that the code has."""

import re
from pathlib import Path

import pytest

import hepacast.cohort
import hepacast.study.stages
from hepacast.cohort import OUTCOME_DEFINITIONS, known_quantities
from hepacast.cohort.scores import SCORES

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs" / "guide" / "cohort.md"
STAGES = Path(hepacast.study.stages.__file__).parent
SOURCES = [*Path(hepacast.cohort.__file__).parent.rglob("*.py"), STAGES / "judging.py", STAGES / "selection.py"]


@pytest.fixture(scope="module")
def guide():
    return GUIDE.read_text(encoding="utf-8")


def codes_in_source():
    found = set()
    call = re.compile(r'(?:Finding|\.add|\.finding)\(\s*(?:"(?:error|warning|note)"|severity),?\s*"([a-z-]+)"')
    chosen = re.compile(r'Finding\("note" if .*? else "warning", "([a-z-]+)"')
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        found |= set(call.findall(text)) | set(chosen.findall(text))
    return found


def test_every_finding_is_explained(guide):
    explained = set(re.findall(r"^\| `([a-z-]+)` \| (?:error|warning|note)", guide, flags=re.MULTILINE))
    assert len(explained) > 40
    assert codes_in_source() == explained


def test_every_score_is_listed(guide):
    for score in SCORES.values():
        assert f"| {score.name} | " in guide
        assert score.source in guide


def test_every_definition_is_listed(guide):
    for name in OUTCOME_DEFINITIONS:
        assert f"| `{name}` | " in guide


def test_the_number_of_quantities(guide):
    assert f"holds {len(known_quantities())} quantities" in guide
