"""A result is its own file format: a frozen dataclass that derives from `Record` is written and read by its fields.

The class of a result lives in the room where the result is computed, and whoever shows it reads that very class. So a
number has one name, one type and one place. What is read back may be damaged, or of another version: each value is
checked against the type of its field, and a file that does not fit is an error that names the place in it.

The types a field can have: numbers, texts, booleans, `NDArray[np.float64]` (or another number type) of any shape,
lists, tuples, dictionaries, optional values, ``Literal`` choices, other dataclasses, `Any`. JSON knows no NaN: a number
that is missing is ``null`` and comes back as NaN, infinities are the texts ``"inf"`` and ``"-inf"``.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import numpy as np

from hepacast.core.files import read_json, write_json
from hepacast.core.texts import visible, visible_document
from hepacast.errors import HepacastError

T = TypeVar("T")

#: Key of the version of a record's shape, where it is not the first.
VERSION = "record_version"
_REMEDY = "run the study again with this version of hepacast; results are read as a run has written them"


class ResultsError(HepacastError):
    """A file in the results folder is not what is read here; it was made by hand or by another version."""


class Record:
    """Base of results that are files: frozen dataclasses of plain fields.

    A class that changes the meaning or the name of a field counts `record_version` up; files of another version are
    then refused instead of being misread. A new field with a default needs no new version. A field with
    ``metadata={"stored": False}`` is not written, and takes its default when the record is read; one made by `sparse`
    is written only where it differs from its default.
    """

    record_version: ClassVar[int] = 1

    def to_json(self) -> dict[str, Any]:
        """The record as plain JSON values."""
        content: dict[str, Any] = plain(self)
        return content

    @classmethod
    def from_json(cls, value: Any, where: str = "value") -> Self:
        """The record of a JSON object.

        Raises
        ------
        ResultsError
            A field lacks, has the wrong type, or the record is of another version.
        """
        record: Self = typed(cls, value, where)
        return record


def sparse(default: Any) -> Any:
    """A field that is written only where it differs from its default: a reason, counts that numbers do not have."""
    return dataclasses.field(default=default, metadata={"sparse": True})


def write_record(path: Path, value: Any) -> None:
    """Write a record, or a list or dictionary of records, as JSON, atomically."""
    write_json(path, plain(value))


def read_record(kind: type[T], path: Path) -> T:
    """Read a file that `write_record` wrote.

    Parameters
    ----------
    kind
        The class, or a list or dictionary of it (``list[Sentence]``).

    Raises
    ------
    ResultsError
        The file is no JSON, a required field lacks, or a value has the wrong type.
    """
    try:
        value = read_json(path)
    except ValueError as error:
        raise ResultsError("A results file is not JSON.", found=str(error), where=str(path), remedy=_REMEDY) from error
    record: T = typed(kind, value, str(path))
    return record


def plain(value: Any) -> Any:
    """Records, arrays, tuples and numpy numbers as what JSON knows."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        content = {field.name: plain(getattr(value, field.name)) for field in _written(value)}
        version = getattr(value, "record_version", 1)
        return content if version == 1 else {VERSION: version, **content}
    if isinstance(value, Mapping):
        return {_key(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in (sorted(value) if isinstance(value, set | frozenset) else value)]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return str(value) if isinstance(value, Path) else value


def _written(record: Any) -> Iterator[dataclasses.Field[Any]]:
    for field in dataclasses.fields(record):
        left_out = field.metadata.get("sparse") and plain(getattr(record, field.name)) == plain(field.default)
        if field.metadata.get("stored", True) and not left_out:
            yield field


def _key(key: Any) -> str:
    number = key.item() if isinstance(key, np.generic) else key
    return repr(number) if isinstance(number, float) else str(number)


def typed(kind: Any, value: Any, where: str = "value") -> Any:
    """Convert a JSON value to `kind`; see the module for the types.

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
        if dataclasses.is_dataclass(choice) and isinstance(value, Mapping) and _required(choice) <= set(value):
            return typed(choice, value, where)
        shape = typing.get_origin(choice) or choice
        if isinstance(shape, type) and isinstance(value, shape):
            return typed(choice, value, where)
    return typed(choices[-1], value, where)


def _required(kind: Any) -> set[str]:
    """Names of the fields without a default."""
    missing = dataclasses.MISSING
    return {item.name for item in dataclasses.fields(kind) if item.default is missing is item.default_factory}


def _container(kind: Any, origin: Any, value: Any, where: str) -> Any:
    arguments = typing.get_args(kind)
    if origin is typing.Literal:
        if value not in arguments:
            raise _wrong(where, " | ".join(map(str, arguments)), value)
        return value
    if origin is np.ndarray:
        return _array(arguments[1], value, where)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise _wrong(where, "an object", value)
        return {
            _typed_key(arguments[0], key, where): typed(arguments[1], item, f"{where}.{key}")
            for key, item in value.items()
        }
    if not isinstance(value, list):
        raise _wrong(where, "a list", value)
    kinds: tuple[Any, ...] = (arguments[0],) * len(value)
    if origin is tuple and arguments[1:] != (Ellipsis,) and len(arguments) != 1:
        if len(value) != len(arguments):
            raise _wrong(where, f"{len(arguments)} values", value)
        kinds = arguments
    items = [typed(each, item, f"{where}[{i}]") for i, (each, item) in enumerate(zip(kinds, value, strict=True))]
    return items if origin is list else origin(items) if origin in (tuple, frozenset, set) else tuple(items)


def _typed_key(kind: Any, key: str, where: str) -> Any:
    if kind in (int, float):
        try:
            return kind(key)
        except ValueError as error:
            raise _wrong(where, "a number as key", key) from error
    return visible(str(key))


def _array(dtype: Any, value: Any, where: str) -> np.ndarray:
    """An array of numbers; its rows are of equal length."""
    (number,) = typing.get_args(dtype) or (np.float64,)
    if not isinstance(value, list):
        raise _wrong(where, "a list of numbers", value)
    kind = bool if issubclass(number, np.bool_) else int if issubclass(number, np.integer) else float
    try:
        return np.array(_numbers(kind, value, where), dtype=number)
    except ValueError as error:
        raise _wrong(where, "rows of equal length", value) from error


def _numbers(kind: type, value: list[Any], where: str) -> list[Any]:
    return [
        _numbers(kind, item, f"{where}[{i}]") if isinstance(item, list) else _scalar(kind, item, f"{where}[{i}]")
        for i, item in enumerate(value)
    ]


@cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _dataclass(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, Mapping):
        raise _wrong(where, f"an object ({kind.__name__})", value)
    expected = getattr(kind, "record_version", 1)
    if value.get(VERSION, 1) != expected:
        raise ResultsError(
            "A results file is of another version.",
            expected=f"version {expected} of {kind.__name__}",
            found=f"version {value.get(VERSION, 1)}",
            where=where,
            remedy=_REMEDY,
        )
    hints, arguments = _hints(kind), {}
    for field in dataclasses.fields(kind):
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if field.name in value and field.metadata.get("stored", True):
            arguments[field.name] = typed(hints[field.name], value[field.name], f"{where}.{field.name}")
        elif required:
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
    if kind is Path and isinstance(value, str):
        return Path(visible(value))
    if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return visible(value) if isinstance(value, str) else value
    raise _wrong(where, getattr(kind, "__name__", str(kind)), value)


def _wrong(where: str, expected: str, value: Any) -> ResultsError:
    found = repr(value)
    return ResultsError(
        "A field of a results file has the wrong type.",
        expected=expected,
        found=found if len(found) < 80 else found[:77] + "...",
        where=where,
        remedy=_REMEDY,
    )
