"""What ``docs/architecture.md`` names exists: files, and the functions and classes in them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "hepacast"
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
#: ``cohort/outcome.py:BinaryOutcome.select``, ``core/records.py``, with or without a name in it.
NAMES = sorted(
    {found for found in re.findall(r"`((?:\w+/)+\w+\.py)(?::([\w.]+))?`", PAGE) if "/NAME.py" not in found[0]}
)


def _defined(tree: ast.AST) -> dict[str, ast.AST]:
    """What a module or a class defines: functions, classes, names that are assigned."""
    found: dict[str, ast.AST] = {}
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found[node.name] = node
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found[node.target.id] = node
        elif isinstance(node, ast.Assign):
            found |= {target.id: node for target in node.targets if isinstance(target, ast.Name)}
    return found


@pytest.mark.parametrize(("file", "name"), NAMES)
def test_what_the_page_names_exists(file, name):
    path = SOURCE / file if (SOURCE / file).is_file() else ROOT / file
    assert path.is_file(), f"{file} is no file"
    node: ast.AST = ast.parse(path.read_text(encoding="utf-8"))
    for part in filter(None, name.split(".")):
        inside = _defined(node)
        assert part in inside, f"{file} has no {part}"
        node = inside[part]


def test_the_tour_walks_by_file_and_function():
    tour = PAGE.split("\n## The tour\n")[1].split("\n## ")[0]
    walks = tour.split("\n### ")[1:]
    assert len(walks) == 2
    for walk in walks:
        assert len(re.findall(r"`(?:\w+/)+\w+\.py:[\w.]+`", walk)) >= 10


def test_every_room_says_what_lives_there_and_what_may_not():
    for room in sorted(item.parent for item in SOURCE.glob("*/__init__.py")):
        text = ast.get_docstring(ast.parse((room / "__init__.py").read_text(encoding="utf-8"))) or ""
        assert "What lives here" in text and re.search(r"What\s+may\s+not", text), room.name
        assert f"`{room.name}/`" in PAGE, room.name
