"""Whole studies give the numbers that they gave before: what does not depend on the machine, to a millionth.

The references beside this file are made by `make_references` of a commit whose numbers are right; on one machine,
`benchmarks/golden_runs.py` compares every number at 1e-12.
"""

import importlib.util
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
QUICK = ("clinical", "cox", "horizon")
SLOW = ("competing", "auto")


def load():
    folder = HERE.parents[1] / "benchmarks"
    sys.path.insert(0, str(folder))
    spec = importlib.util.spec_from_file_location("golden_runs", folder / "golden_runs.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    sys.path.remove(str(folder))
    return module


@pytest.fixture(scope="module")
def golden_runs():
    return load()


@pytest.mark.parametrize("name", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_a_study_gives_the_numbers_that_it_gave(golden_runs, name, tmp_path):
    old = golden_runs.read_golden(HERE / f"{name}.json.gz")
    new = golden_runs.run_golden(golden_runs.STUDIES[name], tmp_path)
    found = golden_runs.compare(old, new, golden_runs.Names(), 1e-6)
    differences = [*found["changed"], *found["gone"]]
    assert not differences, "\n".join(golden_runs.grouped(differences, 20))


def test_differences_are_told_by_kind(golden_runs, tmp_path):
    names = tmp_path / "names.yaml"
    names.write_text(
        "evaluation:\n"
        "  moved: [{from: 'e/a\\.json/(.*)', to: 'e/b.json/all/\\1'}]\n"
        "  dropped: [{pattern: 'e/a\\.json/unused', reason: never read}]\n"
        "  decided: [{pattern: '.*/p', reason: another test}]\n"
    )
    rows = {"table": {"patient": ["x", "y"], "fold": [0.0, 0.0], "risk": [0.1, 0.2]}}
    old = {"e/a.json": {"auc": 0.7, "p": 0.04, "unused": 1.0, "lost": 3.25, "named": [{"name": "k", "v": 5.5}]},
           "e/t.csv": rows}  # fmt: skip
    new = {"e/b.json": {"all": {"auc": 0.7 + 1e-14, "p": 0.05, "named": {"k": {"name": "k", "v": 5.5}}}},
           "e/t.csv": {"table": {"risk": [0.2, 0.1], "fold": [0.0, 0.0], "patient": ["y", "x"], "extra": [1.0, 2.0]}},
           "e/c.json": {"elsewhere": 3.25}}  # fmt: skip
    found = golden_runs.compare(old, new, golden_runs.Names(names))
    assert not found["changed"] and not found["gone"]
    assert found["moved"] == ["e/a.json/lost = 3.25"]
    assert len(found["decided"]) == 1
    new["e/b.json"]["all"]["auc"] = 0.7001
    del new["e/c.json"]
    found = golden_runs.compare(old, new, golden_runs.Names(names))
    assert [line.partition(":")[0] for line in found["changed"]] == ["e/a.json/auc"]
    assert found["gone"] == ["e/a.json/lost = 3.25"]


def make_references(reference: Path) -> None:
    """Write the references from a folder of `golden_runs.py make`."""
    runs = load()
    for name in (*QUICK, *SLOW):
        runs.write_golden(HERE / f"{name}.json.gz", runs.portable(runs.read_golden(reference / f"{name}.json.gz")))
