"""Rules of the house that reading the source can hold. What does not keep them yet stands in ``house_debt.toml``.

A new breach fails; so does a line of ``house_debt.toml`` that is paid: ``python tests/test_house.py`` strikes it out.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "hepacast"
DEBT = Path(__file__).with_name("house_debt.toml")
LONGEST = 60  # lines of a function, its docstring too


@cache
def trees() -> dict[str, ast.Module]:
    """The syntax tree of every module, by its path in the package."""
    return {
        path.relative_to(SOURCE).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted(SOURCE.rglob("*.py"))
    }


def class_names_twice() -> set[str]:
    """Names that more than one class has."""
    seen: dict[str, int] = {}
    for tree in trees().values():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                seen[node.name] = seen.get(node.name, 0) + 1
    return {name for name, count in seen.items() if count > 1}


def long_functions() -> set[str]:
    return {
        f"{file}:{node.name}"
        for file, tree in trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or node.lineno) - node.lineno + 1 > LONGEST
    }


def named_for_one_outcome() -> set[str]:
    """Modules that name one kind of outcome: the twin of another module."""
    return {file for file in trees() if Path(file).stem.startswith(("survival_", "binary_"))}


def import_circles(*, lazily: bool) -> set[str]:
    """Groups of modules that import each other; `lazily`: counting imports inside functions too."""
    grimp = pytest.importorskip("grimp")
    graph = grimp.build_graph("hepacast", exclude_type_checking_imports=True, cache_dir=None)
    imports: dict[str, set[str]] = {}
    for module in graph.modules:
        inside = set() if lazily else _lines_in_functions(module)
        imports[module] = {
            other
            for other in graph.find_modules_directly_imported_by(module)
            if any(
                detail["line_number"] not in inside
                for detail in graph.get_import_details(importer=module, imported=other)
            )
        }
    reached = {module: _reached(imports, module) for module in imports}
    groups = {
        frozenset({module, *(other for other in reached[module] if module in reached[other])})
        for module in imports
        if module in reached[module]
    }
    return {" ".join(sorted(name.removeprefix("hepacast.") for name in group)) for group in groups}


def _reached(imports: dict[str, set[str]], start: str) -> set[str]:
    found: set[str] = set()
    todo = [start]
    while todo:
        for other in imports[todo.pop()] - found:
            found.add(other)
            todo.append(other)
    return found


def _lines_in_functions(module: str) -> set[int]:
    place = "/".join(module.split(".")[1:])
    tree = next(
        (trees()[name] for name in (f"{place}.py", f"{place}/__init__.py".lstrip("/")) if name in trees()), None
    )
    return {
        line
        for node in (ast.walk(tree) if tree else ())
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }


#: What is counted, under its heading in ``house_debt.toml``.
RULES = {
    "class_names_twice": class_names_twice,
    "long_functions": long_functions,
    "named_for_one_outcome": named_for_one_outcome,
    "lazy_import_circles": lambda: import_circles(lazily=True),
}


def debt() -> dict[str, list[str]]:
    return tomllib.loads(DEBT.read_text(encoding="utf-8"))


@pytest.mark.parametrize("rule", RULES)
def test_no_new_breach_and_no_paid_debt(rule):
    found, known = RULES[rule](), set(debt()[rule])
    assert not found - known, f"{rule}: give them another name or shape, do not add them to {DEBT.name}"
    assert not known - found, f"{rule}: paid; python tests/test_house.py strikes them out of {DEBT.name}"


def test_no_import_circle_when_modules_are_imported():
    assert not import_circles(lazily=False)


def test_what_only_posix_has_is_imported_where_it_is_guarded():
    posix = {"fcntl", "grp", "posix", "pwd", "resource", "termios"}
    for file, tree in trees().items():
        for node in tree.body:
            names = [item.name for item in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not posix.intersection(names), file


# -- dependencies ------------------------------------------------------------------------------------------------------

#: What a package is imported as, where that is not its name.
IMPORTED_AS = {
    "scikit-learn": "sklearn",
    "pyyaml": "yaml",
    "pywavelets": "pywt",
    "pillow": "pil",
    "dicom-anonymizer": "dicomanonymizer.simpledicomanonymizer",
    "dicomweb-client": "dicomweb_client.api",
    "python-docx": "docx",
    "dask-jobqueue": "dask_jobqueue",
    "python-multipart": "python_multipart",
    "pyradiomics-bhklab": "radiomics",
    "scikit-image": "skimage",
}


def _texts_without_encoding(tree: ast.Module) -> Iterator[int]:
    """Lines that read or write text in the system's own encoding: cp1252, cp936, and UTF-8 only by luck."""
    modes = re.compile(r"[rwax][bt+]*")
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or any(item.arg == "encoding" for item in node.keywords):
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        words = {item.arg: getattr(item.value, "value", None) for item in node.keywords}
        mode = words.get("mode") or next(
            (a.value for a in node.args if isinstance(a, ast.Constant) and modes.fullmatch(str(a.value))), None
        )
        method = isinstance(node.func, ast.Attribute)
        if (
            (name in ("read_text", "write_text") and method)
            or (words.get("text") is True or words.get("universal_newlines") is True)
            or (name in ("TemporaryFile", "NamedTemporaryFile") and mode and "b" not in mode)
            or (name in ("open", "fdopen") and mode and "b" not in mode)
            # `path.open()` reads text; what another package opens has a name for an argument.
            or (name == "open" and not mode and (not method or not node.args))
        ):
            yield node.lineno


def test_every_text_has_its_encoding():
    found = [f"{file}:{line}" for file, tree in trees().items() for line in _texts_without_encoding(tree)]
    assert not found


@pytest.mark.parametrize(
    "code",
    [
        *("open(p)", "open(p, 'w')", "p.open()", "p.open('r')", "p.read_text()", "p.write_text(t)"),
        *("run(c, text=True)", "os.fdopen(h, 'w')", "TemporaryFile('w+')"),
    ],
)
def test_a_text_without_encoding_is_found(code):
    assert list(_texts_without_encoding(ast.parse(code)))


@pytest.mark.parametrize("code", ["p.open('rb')", "Image.open(p)", "p.read_text(encoding='utf-8')", "TemporaryFile()"])
def test_bytes_need_no_encoding(code):
    assert not list(_texts_without_encoding(ast.parse(code)))


def _project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def _names(requirements: list[str]) -> set[str]:
    """Names of packages, without bounds and extras."""
    return {re.match(r"[A-Za-z0-9-]+", item)[0].lower() for item in requirements}


def _modules(requirements: list[str]) -> set[str]:
    return {IMPORTED_AS.get(name, name) for name in _names(requirements)}


def _imported() -> Iterator[str]:
    """Packages that the source imports, by statement or by ``require("name", ...)``."""
    for tree in trees().values():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                yield from (item.name.split(".")[0] for item in node.names)
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                yield node.module.split(".")[0]
            elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "require":
                yield from (item.value for item in node.args[:1] if isinstance(item, ast.Constant))


def test_dependencies_are_what_the_source_imports():
    project = _project()
    required = _modules(project["dependencies"])
    extras = set()
    for extra, items in project["optional-dependencies"].items():
        if extra not in ("dev", "docs", "all"):
            extras |= _modules(items)
    imported = {name.lower() for name in set(_imported()) - set(sys.stdlib_module_names) - {"hepacast"}}
    assert required <= imported, "required, and imported by nothing in src"
    assert extras <= imported, "in an extra, and imported by nothing in src"
    assert imported <= required | extras, "imported, and neither required nor in an extra"


def test_every_dependency_has_its_reason():
    project = _project()
    packages = _names(project["dependencies"]).union(*map(_names, project["optional-dependencies"].values()))
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = page.split("\n## Dependencies\n")[1].split("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    assert {word.strip("` ").lower() for row in rows for word in row.split(",")} == packages - {"hepacast"}


def _strike_out_what_is_paid() -> None:
    text = ["# What does not keep the rules of test_house.py yet. Lines go, none come.\n"]
    for rule, known in debt().items():
        left = sorted(set(known) & RULES[rule]())
        text.append(f"{rule} = [\n" + "".join(f'    "{item}",\n' for item in left) + "]\n")
        print(f"{rule}: {len(left)} left, {len(known) - len(left)} struck out")  # noqa: T201
    DEBT.write_text("\n".join(text), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    _strike_out_what_is_paid()
