"""Recognize the columns of a table that nobody has described yet (for `hepacast init` and a first look)."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable
from typing import Any

from hepacast.cohort.columns import BINARY_WORDS, SEX_LEVELS, ColumnSpec, word_key
from hepacast.cohort.headers import split_header
from hepacast.cohort.joining import RawTable
from hepacast.cohort.known_columns import find_known, known_columns
from hepacast.cohort.layout import CellProblem
from hepacast.cohort.numbers import ParsedNumber, guess_decimal, is_missing_word, parse_number
from hepacast.cohort.quantities import all_unit_keys, find_quantity, split_unit, unit_key

_MANY_LEVELS = 12


def infer_columns(raw: RawTable) -> list[ColumnSpec]:
    """A description of every column, by name and content; every role is ``covariate``.

    A column is a date when all its cells are, binary when its words are yes and no (or the sexes) in one of the
    three languages, numeric when nine of ten cells are numbers, categorical otherwise.
    """
    specs: list[ColumnSpec] = []
    taken: set[str] = set()
    for header in raw.headers:
        if any(sheet.headers.count(header) > 1 for sheet in raw.sheets):
            continue
        specs.append(_infer(header, known_cells(raw.values(header)), taken))
        taken.add(specs[-1].name)
    return specs


def _infer(header: str, values: list[Any], taken: set[str]) -> ColumnSpec:
    bare, _ = split_header(header)
    known = find_quantity(header) or find_quantity(bare)
    words = {word_key(value) for value in set(values)}
    sexes = {word for level in SEX_LEVELS.values() for word in level}
    if values and all(isinstance(value, dt.date | dt.datetime) for value in values):
        return ColumnSpec(_free(header, taken), (header,), kind="date", label=header)
    if words and words <= sexes:
        return ColumnSpec(_free(header, taken), (header,), kind="binary", label=header, levels=dict(SEX_LEVELS))
    if known is None and words and words <= {word for side in BINARY_WORDS for word in side} | {"-"}:
        levels = {"0": ("0",), "1": ("1",)} if words <= {"0", "1"} else {}
        return ColumnSpec(_free(header, taken), (header,), kind="binary", label=header, levels=levels)
    if not values or _share_of_numbers(values) >= 0.9:
        if known is not None and values:
            name = known.name if known.name not in taken else _free(header, taken)
            return ColumnSpec(name, (header,), quantity=known.name)
        return ColumnSpec(_free(header, taken), (header,), label=header, quantity="none")
    return ColumnSpec(_free(header, taken), (header,), kind="categorical", label=header)


def known_cells(values: Iterable[Any]) -> list[Any]:
    """The cells that hold something."""
    return [value for value in values if not _nothing(value)]


def cell_numbers(values: Iterable[Any]) -> list[float]:
    """The numbers among cells, with the decimal mark that they prove."""
    return [item.value for item in _parsed(values) if item.status in ("ok", "censored")]


def _parsed(values: Iterable[Any]) -> list[ParsedNumber]:
    texts = [_without_unit(value) for value in values]
    mark = guess_decimal(texts)
    return [parse_number(text, decimal="," if mark == "," else ".") for text in texts]


def _share_of_numbers(values: list[Any]) -> float:
    """Share of cells that are plain numbers; a column of `<400` and `>=400` only is one of categories."""
    states = [item.status for item in _parsed(values)]
    if states.count("ok") < len(states) / 2:
        return 0.0
    return (states.count("ok") + states.count("censored")) / len(states)


def _without_unit(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    number, unit = split_unit(value)
    return number if unit and unit_key(unit) in all_unit_keys() else value


def _nothing(value: Any) -> bool:
    return value is None or isinstance(value, CellProblem) or is_missing_word(value)


def _free(header: str, taken: set[str]) -> str:
    """A name of letters, digits and underscores that is not taken yet: that of a known column, else the header's."""
    known = known_columns().get(find_known(header))
    plain = known.name if known is not None and not known.role else split_header(header)[0].strip().casefold()
    base = re.sub(r"\W+", "_", plain).strip("_") or "column"
    name, number = base, 2
    while name in taken:
        name, number = f"{base}_{number}", number + 1
    return name
