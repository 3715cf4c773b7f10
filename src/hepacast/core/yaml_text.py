"""YAML that a person wrote: read with limits, and refused with the line where it would mean another thing than it says.

Aliases may stand for any number of items, a list may be a key, ``010`` is eight and ``1:30`` is ninety in YAML 1.1.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NoReturn

import yaml

from hepacast.errors import StudyFileError

MAX_DEPTH = 40
#: Items of a document when every alias is written out.
MAX_ITEMS = 50_000
MAX_DIGITS = 18
_TAG = "tag:yaml.org,2002:"
_RESOLVER = yaml.resolver.Resolver()


def read_yaml(text: str, *, what: str, where: str) -> tuple[Any, yaml.Node | None]:
    """The content of a YAML text, and its nodes, which know their lines.

    Parameters
    ----------
    what
        For messages: ``study file``.
    where
        Path of the file.

    Raises
    ------
    StudyFileError
        It is no YAML, or too deep, too large when its aliases are written out, refers to itself, has a key that is no
        text or number, merges keys, has a tag, or holds a number that would be read as another one.
    """
    try:
        _require_shallow(text, what, where)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is not None:
            _require_small(node, {}, what, where)
            _require_plain(node, what, where)
        return yaml.safe_load(text), node
    except yaml.YAMLError as error:
        raise StudyFileError(f"The {what} is not valid YAML.", found=str(error), where=where) from error
    except (ValueError, OverflowError, RecursionError) as error:
        raise StudyFileError(f"A value of the {what} cannot be read.", found=str(error), where=where) from error


def replace_scalars(text: str, values: Mapping[tuple[str, ...], str], *, what: str, where: str) -> str:
    """A YAML text with other texts at some keys; everything around them stays as it was written.

    Parameters
    ----------
    values
        New texts by the keys that lead to them.

    Raises
    ------
    StudyFileError
        As `read_yaml`; or there is no such key, or it holds more than one value.
    """
    _, node = read_yaml(text, what=what, where=where)
    places = []
    for keys, value in values.items():
        found = node
        for key in keys:
            pairs = found.value if isinstance(found, yaml.MappingNode) else []
            found = next((inner for name, inner in pairs if name.value == key), None)
        if not isinstance(found, yaml.ScalarNode):
            raise StudyFileError(f"The {what} has no such value.", expected=".".join(keys), where=where)
        # JSON is YAML: quoted, so that digits alone stay a text.
        places.append((found.start_mark.index, found.end_mark.index, json.dumps(value, ensure_ascii=False)))
    for start, end, written in sorted(places, reverse=True):
        text = text[:start] + written + text[end:]
    return text


def _require_shallow(text: str, what: str, where: str) -> None:
    """By the events of the parser, which neither nest nor write out anything."""
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=yaml.SafeLoader)):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            _refuse("is nested too deep", f"at most {MAX_DEPTH} levels", "more", event, what, where)
        if count > 4 * MAX_ITEMS:
            _refuse("is too long", f"at most {MAX_ITEMS} items", "more", event, what, where)


def _require_small(node: yaml.Node, sizes: dict[int, int], what: str, where: str) -> int:
    """Number of items of a node with every alias written out; 0 marks a node that is being counted."""
    known = sizes.get(id(node))
    if known == 0:
        _refuse("refers to itself", "aliases of what stands above them", "an alias of its own list", node, what, where)
    if known is not None:
        return known
    sizes[id(node)] = 0
    parts = [item for pair in node.value for item in pair] if isinstance(node, yaml.MappingNode) else node.value
    total = 1 + (
        sum(_require_small(item, sizes, what, where) for item in parts) if isinstance(node, yaml.CollectionNode) else 0
    )
    if total > MAX_ITEMS:
        _refuse(
            "is too large with its aliases written out", f"at most {MAX_ITEMS:,} items", f"{total:,}", node, what, where
        )
    sizes[id(node)] = total
    return total


def _require_plain(node: yaml.Node, what: str, where: str) -> None:
    """Keys are texts or numbers, numbers are what they look like, and nothing is said to be of another kind."""
    todo, seen = [node], set()
    while todo:
        item = todo.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        _require_own_kind(item, what, where)
        if isinstance(item, yaml.ScalarNode):
            _require_number(item, what, where)
        elif isinstance(item, yaml.SequenceNode):
            todo += item.value
        elif isinstance(item, yaml.MappingNode):
            for key, value in item.value:
                if not isinstance(key, yaml.ScalarNode):
                    _refuse(
                        "has a key that is a list or a map", "a word as the key", "a list or a map", key, what, where
                    )
                if key.tag == f"{_TAG}merge":
                    _refuse("merges keys (<<)", "every key written out", "<<", key, what, where)
                todo += [key, value]


def _require_own_kind(node: yaml.Node, what: str, where: str) -> None:
    """No tag (``!!float abc``) makes a value another one than it looks; ``!!str`` is no more than quotes."""
    plain = isinstance(node, yaml.ScalarNode) and node.style is None
    if node.tag not in (_RESOLVER.resolve(type(node), node.value, (plain, not plain)), f"{_TAG}str"):
        found = node.tag.replace(_TAG, "!!")
        _refuse("gives a value a kind of its own", "the value alone, or quotes", found, node, what, where)


def _require_number(node: yaml.ScalarNode, what: str, where: str) -> None:
    text = node.value.replace("_", "").lstrip("+-")
    if node.tag == f"{_TAG}int":
        if ":" in text or re.fullmatch(r"0\d+|0[bo][0-7]+", text):
            read = f"YAML would read {node.value} as {yaml.safe_load(node.value)}"
            _refuse(
                "has a number with two meanings", f"the number, or {node.value!r} in quotes", read, node, what, where
            )
        if len(text) > MAX_DIGITS:
            _refuse("has a number that is too long", f"at most {MAX_DIGITS} digits, or quotes", f"{len(text)} digits",
                    node, what, where)  # fmt: skip
    if node.tag == f"{_TAG}float" and (":" in text or text.lower() in (".inf", ".nan")):
        _refuse("has a number that is none", "a finite number, or quotes", node.value, node, what, where)


def _refuse(problem: str, expected: str, found: str, item: Any, what: str, where: str) -> NoReturn:
    line = item.start_mark.line + 1
    raise StudyFileError(f"The {what} {problem} (line {line}).", expected=expected, found=found, where=where)
