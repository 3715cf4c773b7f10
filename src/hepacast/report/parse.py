"""JSON to typed results: every file between stages is read through one function that names what is wrong with it."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from hepacast.core.files import read_json
from hepacast.core.texts import visible, visible_document
from hepacast.errors import HepacastError

T = TypeVar("T")


class ResultsError(HepacastError):
    """A file in the results folder is not what the report expects; it was made by hand or by another version."""


def read_typed(kind: type[T], path: Path) -> T:
    """Read a JSON file into a dataclass.

    Raises
    ------
    ResultsError
        The file is no JSON, a required field is missing, or a value has the wrong type.
    """
    try:
        value = read_json(path)
    except ValueError as error:
        raise ResultsError("A results file is not JSON.", found=str(error), where=str(path), remedy=_REMEDY) from error
    return typed(kind, value, str(path.name))


_REMEDY = "run the study again with this version of hepacast; the report only reads what a run has written"


def typed(kind: Any, value: Any, where: str = "value") -> Any:
    """Convert a JSON value to `kind`: a dataclass, list, tuple, dict, optional, number, string or Any.

    Unknown keys are ignored, so that a newer stage may write more; ``null`` for a number becomes NaN; a field with a
    default may be left out.

    Raises
    ------
    ResultsError
        With the path of the offending field.
    """
    if kind is Any:
        return visible_document(value)
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        return _optional(kind, value, where)
    if origin is not None:
        return _container(kind, origin, value, where)
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind, value, where)
    return _scalar(kind, value, where)


def _optional(kind: Any, value: Any, where: str) -> Any:
    choices = [item for item in typing.get_args(kind) if item is not type(None)]
    if value is None and len(choices) < len(typing.get_args(kind)):
        return None
    if len(choices) == 1:
        return typed(choices[0], value, where)
    for choice in choices:
        plain = typing.get_origin(choice) or choice
        if isinstance(plain, type) and isinstance(value, plain):
            return typed(choice, value, where)
    return typed(choices[-1], value, where)


def _container(kind: Any, origin: Any, value: Any, where: str) -> Any:
    arguments = typing.get_args(kind)
    if origin is typing.Literal:
        if value not in arguments:
            raise _wrong(where, " | ".join(map(str, arguments)), value)
        return value
    if origin in (list, tuple):
        if not isinstance(value, list):
            raise _wrong(where, "a list", value)
        items = [typed(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value)]
        return tuple(items) if origin is tuple else items
    if not isinstance(value, Mapping):
        raise _wrong(where, "an object", value)
    return {visible(str(key)): typed(arguments[1], item, f"{where}.{key}") for key, item in value.items()}


@cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _dataclass(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, Mapping):
        raise _wrong(where, f"an object ({kind.__name__})", value)
    hints, arguments = _hints(kind), {}
    for field in dataclasses.fields(kind):
        if field.name in value:
            arguments[field.name] = typed(hints[field.name], value[field.name], f"{where}.{field.name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ResultsError(
                "A results file lacks a field.",
                expected=f"{field.name!r} in {kind.__name__}",
                found=", ".join(map(str, value)) or "nothing",
                where=where,
                remedy=_REMEDY,
            )
    return kind(**arguments)


def _scalar(kind: Any, value: Any, where: str) -> Any:
    if kind is float:
        if value is None:
            return math.nan
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        if isinstance(value, str) and value.lower() in ("inf", "-inf", "nan"):
            return float(value)
        raise _wrong(where, "a number", value)
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return visible(value) if isinstance(value, str) else value
    raise _wrong(where, kind.__name__, value)


def _wrong(where: str, expected: str, value: Any) -> ResultsError:
    found = repr(value)
    return ResultsError(
        "A field of a results file has the wrong type.",
        expected=expected,
        found=found if len(found) < 80 else found[:77] + "...",
        where=where,
        remedy=_REMEDY,
    )
