"""What Python can say on a page, read from the source: messages and remedies of errors, messages of findings."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import hepacast

HOME = Path(hepacast.__file__).parent
_FINDINGS = ("Finding", "add", "finding", "Remark")


def error_classes(trees: dict[Path, ast.Module]) -> set[str]:
    """Names of `HepacastError` and all that inherit from it."""
    classes = [node for tree in trees.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    found = {"HepacastError"}
    while True:
        more = {item.name for item in classes if any(getattr(base, "id", "") in found for base in item.bases)} - found
        if not more:
            return found
        found |= more


def texts(node: ast.AST) -> Iterator[str]:
    """The texts that an expression can be; ``{}`` stands for what is filled in."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
    elif isinstance(node, ast.IfExp):
        yield from texts(node.body)
        yield from texts(node.orelse)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        yield from (left + right for left in texts(node.left) for right in texts(node.right))


def _of(call: ast.Call, scope: ast.AST) -> Iterator[ast.AST]:
    """An argument, or what a name of the same function was given."""
    for part in [*call.args[:1], *(word.value for word in call.keywords if word.arg == "remedy")]:
        yield from _meant(part, scope)


def _meant(part: ast.AST, scope: ast.AST) -> Iterator[ast.AST]:
    yield part
    if isinstance(part, ast.Name):
        for node in ast.walk(scope):
            if isinstance(node, ast.Assign) and any(getattr(target, "id", "") == part.id for target in node.targets):
                yield node.value


@cache
def _trees() -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(HOME.rglob("*.py"))}


@cache
def sentences(rooms: tuple[str, ...], *, errors: bool) -> set[str]:
    """Templates of three words and more."""
    trees = _trees()
    kinds, found = error_classes(trees), set()
    for path, tree in trees.items():
        if path.relative_to(HOME).parts[0] not in rooms:
            continue
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        for function in functions:
            for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
                name = getattr(call.func, "id", getattr(call.func, "attr", ""))
                if errors and name in kinds:
                    found |= {text for part in _of(call, function) for text in texts(part)}
                elif not errors and name in _FINDINGS and len(call.args) >= 3:
                    found |= {
                        text for part in call.args[2:4] for each in _meant(part, function) for text in texts(each)
                    }
    return {text.strip() for text in found if len(re.findall(r"[A-Za-z]{2,}", text)) >= 3}
