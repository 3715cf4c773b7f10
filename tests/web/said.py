"""What Python can say on a page, read from the source: all parts of errors, messages of findings."""

from __future__ import annotations

import ast
import re
from collections.abc import Container, Iterable, Iterator
from functools import cache
from itertools import chain
from pathlib import Path

import hepacast

HOME = Path(hepacast.__file__).parent
_FINDINGS = ("Finding", "add", "finding", "Remark")
#: Parts of an error beside its message.
_PARTS = ("expected", "found", "where", "remedy")
#: Rooms whose errors no screen can show: commands of their own.
_ELSEWHERE = ("cli", "public")
#: All others.
ROOMS = tuple(path.name for path in HOME.iterdir() if path.is_dir() and path.name not in _ELSEWHERE)


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
    elif isinstance(node, ast.Dict):
        yield from (text for value in node.values for text in texts(value))
    elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "get":
        yield from (text for value in node.args[1:] for text in texts(value))
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        yield from (left + right for left in texts(node.left) for right in texts(node.right))


def _of(call: ast.Call, *scopes: ast.AST) -> Iterator[ast.AST]:
    """An argument, or what a name of the same function or module was given."""
    for part in [*call.args[:1], *(word.value for word in call.keywords if word.arg in _PARTS)]:
        yield from _meant(part, *scopes)


def _meant(part: ast.AST, *scopes: ast.AST) -> Iterator[ast.AST]:
    yield part
    if isinstance(part, ast.Call) and getattr(part.func, "attr", "") == "get":
        part = part.func.value  # type: ignore[attr-defined]
    if isinstance(part, ast.Subscript):
        part = part.value
    if isinstance(part, ast.Dict):
        yield part
    if isinstance(part, ast.Name):
        for node in chain.from_iterable(map(ast.walk, scopes)):
            if isinstance(node, ast.Assign) and any(getattr(target, "id", "") == part.id for target in node.targets):
                yield node.value


def _handed_on(trees: dict[Path, ast.Module], kinds: set[str]) -> dict[str, list[tuple[Path, list[str], set[str]]]]:
    """Functions of which a parameter becomes a part of an error: place, names of the parameters, which of them."""
    found: dict[str, list[tuple[Path, list[str], set[str]]]] = {}
    for path, tree in trees.items():
        for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
            names = [item.arg for item in function.args.posonlyargs + function.args.args]
            own = {*names, *(item.arg for item in function.args.kwonlyargs)}
            parts = [part for call in _calls(function, kinds) for part in _of(call)]
            used = {node.id for part in parts for node in ast.walk(part) if isinstance(node, ast.Name)} & own
            if used:
                names = names[1:] if names[:1] in (["self"], ["cls"]) else names
                found.setdefault(function.name, []).append((path, names, used))
    return found


def _calls(inside: ast.AST, names: Container[str]) -> Iterator[ast.Call]:
    for call in (node for node in ast.walk(inside) if isinstance(node, ast.Call)):
        if getattr(call.func, "id", getattr(call.func, "attr", "")) in names:
            yield call


@cache
def handed_on(rooms: tuple[str, ...]) -> set[str]:
    """What is given to functions that make an error of it."""
    trees = source_trees()
    makers, found = _handed_on(trees, error_classes(trees)), set()
    for path, tree in trees.items():
        for call in _calls(tree, makers) if path.relative_to(HOME).parts[0] in rooms else ():
            for home, names, used in makers[getattr(call.func, "id", getattr(call.func, "attr", ""))]:
                # A method of this name in another module is another one.
                if home == path or isinstance(call.func, ast.Name):
                    given = [*zip(names, call.args), *((word.arg, word.value) for word in call.keywords)]
                    found |= {text for name, part in given if name in used for text in texts(part)}
    return _sentences(found)


@cache
def source_trees() -> dict[Path, ast.Module]:
    """The syntax tree of every module."""
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(HOME.rglob("*.py"))}


@cache
def sentences(rooms: tuple[str, ...], *, errors: bool) -> set[str]:
    """Templates of what is said."""
    trees = source_trees()
    kinds, found = error_classes(trees), set()
    for path, tree in trees.items():
        if path.relative_to(HOME).parts[0] not in rooms:
            continue
        # What pydantic hands on: complaints about a study file, a node's file.
        own = {"ValueError"} if {"schema", "config.py"} & {*path.parts} else set()
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        constants = [node for node in tree.body if isinstance(node, ast.Assign)]
        for function in functions:
            for call in _calls(function, kinds | own if errors else _FINDINGS):
                if errors:
                    found |= {text for part in _of(call, function, *constants) for text in texts(part)}
                elif len(call.args) >= 3:
                    found |= {
                        text for part in call.args[2:4] for each in _meant(part, function) for text in texts(each)
                    }
    return _sentences(found)


def _sentences(found: Iterable[str]) -> set[str]:
    """Those of three words and more; a setting is none."""
    return {text.strip() for text in found if len(re.findall(r"[A-Za-z]{2,}", text)) >= 3 and " " in text.strip()}
