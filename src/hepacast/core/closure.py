"""The code that a module runs: the modules of hepacast that it imports, and theirs, and the data that lie beside them.

What a stage of a study has computed is kept as long as its code is the same. Which code that is, is read from the
source (as statements of import, also inside functions), so that no list has to be kept by hand and no module is
forgotten in it. A package that offers what its modules hold is a face and no code: who takes a name from it gets the
module that the name comes from, and not all that stands beside it. So a room may offer everything it has, and a change
of one module makes again what reads that module. Whole modules that a package imports count always: they are imported
for what that does (a register that they enter).
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
#: A line of such a table: ``"extract": "extraction"``, or with more behind the module.
_PAIR = re.compile(r"[\"']([A-Za-z_]\w*)[\"']\s*:\s*\(?\s*[\"']([A-Za-z_][\w.]*)[\"']")
#: Longest statement of import.
_MOST_LINES = 80
ROOT = Path(__file__).parents[1]

#: A module of which everything is used, or a name of it.
_Use = tuple[str, str | None]


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
    seen: set[_Use] = set()
    todo: list[_Use] = [(name, None) for name in modules]
    while todo:
        use = todo.pop()
        if use in seen:
            continue
        seen.add(use)
        module, name = use
        file = _file_of(root, module)
        if file is None:
            raise LookupError(f"{PACKAGE} has no module {module}")
        found[module] = file
        for package in _packages(module, file):
            found[package] = face = root.joinpath(*package.split(".")[1:], "__init__.py")
            todo += _whole_modules(root, package, face)
        # The package offers functions of all rooms to users, who ask for them by name; no room does.
        if module != PACKAGE:
            todo += _all_uses(root, module, file) if name is None else _uses_of(root, module, name, file)
    return dict(sorted(found.items()))


def _packages(module: str, file: Path) -> list[str]:
    """The packages that a module lies in, and itself if it is one."""
    parts = module.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts) + (file.name == "__init__.py"))]


@cache
def _whole_modules(root: Path, package: str, file: Path) -> tuple[_Use, ...]:
    """The modules that a package imports as such, and not a name of theirs."""
    nodes = statements(file.read_text(encoding="utf-8"))
    found = [use for node in nodes for _, use in _uses(root, package, file, node) if use[1] is None]
    return tuple(use for use in found if _file_of(root, use[0]) is not None)


def _uses_of(root: Path, module: str, name: str, file: Path) -> list[_Use]:
    """What is used when a name is taken from a module: of a package that only passes it on, where it comes from."""
    if file.name != "__init__.py":
        return [(module, None)]
    return list(_faces(root, module, file).get(name, ((module, None),)))


@cache
def _hash_of(root: Path, modules: frozenset[str], alone: frozenset[str]) -> str:
    return hash_value([(name, _hash_once(file)) for name, file in _files_of(root, modules, alone)])


@cache
def _files_of(root: Path, modules: frozenset[str], alone: frozenset[str]) -> tuple[tuple[str, Path], ...]:
    """Code and data by their names within the package."""
    files = set(closure(*modules, root=root).values())
    files |= {item for folder in {file.parent for file in files} for item in _data(folder)}
    files |= {file for name in alone if (file := _file_of(root, name)) is not None}
    return tuple((file.relative_to(root).as_posix(), file) for file in sorted(files))


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
def _all_uses(root: Path, name: str, file: Path) -> tuple[_Use, ...]:
    """What the source of a module imports of hepacast, wherever the statement stands."""
    text = file.read_text(encoding="utf-8")
    uses = {use for node in statements(text) for _, use in _uses(root, name, file, node)}
    if "import_module(" in text:
        # A package that loads what it offers when it is asked for names its modules in texts.
        package = _package(name, file)
        words = {full for word in _WORD.findall(text) for full in (word, f"{package}.{word}")}
        uses |= {(word, None) for word in words}
    return tuple(sorted((use for use in uses if _file_of(root, use[0]) is not None), key=str))


@cache
def _faces(root: Path, package: str, file: Path) -> dict[str, tuple[_Use, ...]]:
    """Where the names come from that a package passes on: of its statements, and of a table of what is loaded later."""
    text = file.read_text(encoding="utf-8")
    found: dict[str, tuple[_Use, ...]] = {
        name: (use,) for node in statements(text) for name, use in _uses(root, package, file, node)
    }
    if "import_module(" in text:
        for name, word in _PAIR.findall(text):
            places: list[_Use] = [
                (full, None) for full in (word, f"{package}.{word}") if _file_of(root, full) is not None
            ]
            if places:
                found.setdefault(name, tuple(places))
    return {name: uses for name, uses in found.items() if all(_file_of(root, use[0]) is not None for use in uses)}


def _package(name: str, file: Path) -> str:
    return name if file.name == "__init__.py" else name.rpartition(".")[0]


def _uses(root: Path, name: str, file: Path, node: ast.Import | ast.ImportFrom) -> list[tuple[str, _Use]]:
    """Each name that a statement binds, and what is used by that."""
    if isinstance(node, ast.Import):
        return [(item.asname or item.name, (item.name, None)) for item in node.names]
    base = node.module or ""
    if node.level:
        package = _package(name, file).split(".")
        base = ".".join([*package[: len(package) - node.level + 1], *([base] if base else [])])
    return [(item.asname or item.name, _use(root, base, item.name)) for item in node.names]


def _use(root: Path, base: str, name: str) -> _Use:
    inner = f"{base}.{name}"
    if name == "*":
        return (base, None)
    return (inner, None) if _file_of(root, inner) is not None else (base, name)


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
