"""The code that a module runs: the modules of hepacast that it imports, and theirs, and the data that lie beside them.

What a stage of a study has computed is kept as long as its code is the same. Which code that is, is read from the
source (as statements of import, also inside functions), so that no list has to be kept by hand and no module is
forgotten in it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from hepacast.core.hashing import hash_file, hash_value

PACKAGE = "hepacast"
_START = re.compile(r"^[ \t]*(?:from[ \t]+(?:hepacast\b|\.)|import[ \t]+hepacast\b)", re.MULTILINE)
_WORD = re.compile(r"[\"']([A-Za-z_][\w.]*)[\"']")
#: Longest statement of import.
_MOST_LINES = 80
ROOT = Path(__file__).parents[1]


def code_hash(*modules: str, alone: tuple[str, ...] = ()) -> str:
    """Hash of all code and data that running these modules needs.

    Parameters
    ----------
    modules
        Dotted names: ``hepacast.study.stages.radiomics``; a package stands for its ``__init__`` and what it imports.
    alone
        Modules that count without what they import.

    Raises
    ------
    LookupError
        There is no such module.
    """
    return _hash_of(ROOT, frozenset(modules), frozenset(alone))


def closure(*modules: str, root: Path = ROOT) -> dict[str, Path]:
    """The modules of hepacast that these import, directly or not, themselves too, by name, with their files.

    Raises
    ------
    LookupError
        There is no such module.
    """
    found: dict[str, Path] = {}
    todo = list(modules)
    while todo:
        name = todo.pop()
        if name in found:
            continue
        file = _file_of(root, name)
        if file is None:
            raise LookupError(f"{PACKAGE} has no module {name}")
        found[name] = file
        if name == PACKAGE:
            # It offers functions of all rooms to users, who ask for them by name; no room does.
            continue
        parent = name.rpartition(".")[0]
        todo += ([parent] if parent else []) + list(_imports(root, name, file))
    return dict(sorted(found.items()))


@cache
def _hash_of(root: Path, modules: frozenset[str], alone: frozenset[str]) -> str:
    files = set(closure(*modules, root=root).values())
    files |= {item for folder in {file.parent for file in files} for item in _data(folder)}
    files |= {file for name in alone if (file := _file_of(root, name)) is not None}
    return hash_value([(item.relative_to(root).as_posix(), _hash_once(item)) for item in sorted(files)])


@cache
def _hash_once(file: Path) -> str:
    return hash_file(file)


@cache
def _data(folder: Path) -> tuple[Path, ...]:
    """Files beside the modules of a folder that are no modules, also in folders that hold none."""
    found: list[Path] = []
    for item in sorted(folder.iterdir()):
        if item.is_dir():
            if item.name != "__pycache__" and not any(item.glob("*.py")):
                found += _data(item)
        elif item.suffix not in (".py", ".pyc", ".pyi"):
            found.append(item)
    return tuple(found)


@cache
def _file_of(root: Path, name: str) -> Path | None:
    place = root.joinpath(*name.split(".")[1:])
    for file in (place / "__init__.py", place.with_suffix(".py")):
        if name.split(".")[0] == PACKAGE and file.is_file():
            return file
    return None


@cache
def _imports(root: Path, name: str, file: Path) -> tuple[str, ...]:
    """What the source of a module imports of hepacast, wherever the statement stands."""
    text = file.read_text(encoding="utf-8")
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    found: set[str] = set()
    for node in statements(text):
        if isinstance(node, ast.Import):
            found |= {item.name for item in node.names}
            continue
        base = node.module or ""
        if node.level:
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*above, *([base] if base else [])])
        found |= {base, *(f"{base}.{item.name}" for item in node.names)}
    if "import_module(" in text:
        # A package that loads what it offers when it is asked for names its modules in texts.
        found |= {full for word in _WORD.findall(text) for full in (word, f"{package}.{word}")}
    return tuple(sorted(item for item in found if _file_of(root, item) is not None))


def statements(text: str) -> Iterator[ast.Import | ast.ImportFrom]:
    """The statements of a source that import something of hepacast.

    Only these lines are parsed: the syntax trees of all modules would take seconds.
    """
    for match in _START.finditer(text):
        end = match.end() - 1
        for _ in range(_MOST_LINES):
            end = text.find("\n", end + 1)
            end = len(text) if end < 0 else end
            try:
                (node,) = ast.parse(text[match.start() : end].strip()).body
            except (SyntaxError, ValueError):
                if end == len(text):
                    break
                continue
            if isinstance(node, ast.Import | ast.ImportFrom):
                yield node
            break
