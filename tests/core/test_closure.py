"""The code behind a stage is computed from the source: every module and every file beside it counts."""

import ast
import shutil
from pathlib import Path

import pytest

from hepacast.core import closure as closure_module
from hepacast.core.closure import ROOT, closure, code_hash, statements

LAZY = """from hepacast.room import b, extract


def run():
    from hepacast.room.lazy import (
        # a note (in parentheses)
        x,
        y,
    )
"""
PACKAGE = """from importlib import import_module

_PUBLIC = {'extract': 'late', 'not_asked_for': 'unused'}


def __getattr__(name):
    return import_module(f'{__name__}.{_PUBLIC[name]}')
"""
FILES = {
    "__init__.py": "",
    "a.py": LAZY,
    "room/__init__.py": PACKAGE,
    "room/b.py": "from . import sibling\n",
    "room/sibling.py": "import hepacast.other.deep\nfrom hepacast.face import taken\n",
    "room/lazy.py": "x = y = 1\n",
    "room/late.py": "",
    "room/named/ptlf.yaml": "binWidth: 25\n",
    "other/__init__.py": "",
    "other/deep.py": '"""from hepacast.alone import nothing"""\n',
    "face/__init__.py": "from . import enters\nfrom hepacast.alone import left\nfrom hepacast.face.source import taken",
    "face/enters.py": "",
    "face/source.py": "taken = 1\n",
    "room/unused.py": "",
    "alone.py": "left = 1",
}
#: Names that only pass by: of a face, what nobody asks for.
PASSED_BY = {"room/unused.py", "alone.py"}


@pytest.fixture
def package(tmp_path):
    root = tmp_path / "hepacast"
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def fresh(root: Path, *modules: str) -> str:
    for name in ("_hash_of", "_files_of", "_hash_once", "_data", "_file_of", "_all_uses", "_faces", "_whole_modules"):
        getattr(closure_module, name).cache_clear()
    return closure_module._hash_of(root, frozenset(modules), frozenset())


def test_lazy_and_relative_imports_and_those_of_packages_are_followed(package):
    found = set(closure("hepacast.a", root=package))
    assert found == {
        "hepacast",
        "hepacast.a",
        "hepacast.room",
        "hepacast.room.b",
        "hepacast.room.sibling",
        "hepacast.room.lazy",
        "hepacast.room.late",
        "hepacast.other",
        "hepacast.other.deep",
        "hepacast.face",
        "hepacast.face.source",
        "hepacast.face.enters",
    }
    assert "hepacast.room.unused" in closure("hepacast.room", root=package)
    with pytest.raises(LookupError, match="nowhere"):
        closure("hepacast.nowhere", root=package)


def test_the_hash_changes_with_every_file_of_the_closure_and_no_other(package):
    first = fresh(package, "hepacast.a")
    (package / "unrelated.py").write_text("x = 2\n")
    (package / "room" / "__pycache__").mkdir()
    (package / "room" / "__pycache__" / "b.pyc").write_bytes(b"x")
    assert fresh(package, "hepacast.a") == first
    seen = {first}
    for name in FILES:
        if name not in PASSED_BY:
            (package / name).write_text(FILES[name] + "\n#\n")
            seen.add(fresh(package, "hepacast.a"))
    assert len(seen) == len(FILES) - 1


def test_the_quick_search_finds_what_the_syntax_tree_has():
    """Of every module of hepacast: only lines that begin with an import are parsed, and none is missed."""
    for file in sorted(ROOT.rglob("*.py")):
        text = file.read_text(encoding="utf-8")
        right = {
            ast.dump(node)
            for node in ast.walk(ast.parse(text))
            if (isinstance(node, ast.Import) and any(item.name.split(".")[0] == "hepacast" for item in node.names))
            or (isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").split(".")[0] == "hepacast"))
        }
        assert right <= {ast.dump(node) for node in statements(text)}, file


def test_a_hash_is_one_of_the_code_that_runs(tmp_path):
    assert code_hash("hepacast.core.seeds") == code_hash("hepacast.core.seeds")
    assert code_hash("hepacast.core.seeds") != code_hash("hepacast.core.names")
    assert code_hash(alone=("hepacast.study.run",)) != code_hash("hepacast.study.run")
    copy = tmp_path / "hepacast"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns("__pycache__"))
    before = fresh(copy, "hepacast.study.stages.radiomics")
    (copy / "radiomics" / "named" / "ptlf.yaml").write_text("binWidth: 10\n")
    assert fresh(copy, "hepacast.study.stages.radiomics") != before
