"""One patient's clinical values as somebody types them: ``inr=1.2``, ``alb=3.8 g/dL``, ``sex=male``."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from hepacast.cohort import ColumnSpec, parse_quantity
from hepacast.cohort.columns import level_key, level_words
from hepacast.cohort.headers import find_by_quantity, find_header, is_unit, split_header
from hepacast.cohort.layout import CellProblem, CodedCell, Sheet
from hepacast.cohort.numbers import FileDecimal, is_missing_word, normalize_text, read_numbers
from hepacast.cohort.one_sheet import one_sheet
from hepacast.cohort.parsing import file_decimal_of
from hepacast.cohort.quantities import split_unit, unit_key
from hepacast.errors import HepacastError, TableError

#: Words that say that a value is not known.
UNKNOWN = frozenset({"na", "n/a", "nan", "unknown", "missing", "?"})


@dataclass(frozen=True)
class ClinicalValue:
    """A value as the model reads it (NaN or None: not known), and as it is shown."""

    value: float | str | None
    shown: str


def read_labs(
    values: Mapping[str, str], columns: Sequence[ColumnSpec], needed: Sequence[str]
) -> dict[str, ClinicalValue]:
    """Read and check clinical values.

    Parameters
    ----------
    values
        Text by name; the name is the study's, or the label.
    columns
        The bundle's columns.
    needed
        Columns that the model reads: each must be given, if only as ``NA``.

    Raises
    ------
    HepacastError
        An unknown name, a missing value, a word that is no level, a number outside the plausible range.
    """
    known = {spec.name: spec for spec in columns}
    labels = {spec.label.casefold(): spec.name for spec in columns} | {name.casefold(): name for name in known}
    read: dict[str, ClinicalValue] = {}
    for given, text in values.items():
        name = labels.get(given.casefold())
        if name is None:
            near = difflib.get_close_matches(given.casefold(), list(labels), n=1, cutoff=0.5)
            raise HepacastError(
                f"The model knows no clinical value {given!r}.",
                expected=", ".join(f"{item} ({_describe(known[item])})" for item in needed) or "none",
                remedy=f"did you mean {labels[near[0]]!r}?" if near else None,
            )
        if name in read:
            raise HepacastError(f"The clinical value {name!r} is given twice.", found=f"{read[name].shown} and {text}")
        read[name] = _read(known[name], text)
    lacking = [name for name in needed if name not in read]
    if lacking:
        raise HepacastError(
            "Clinical values are missing.",
            expected=", ".join(f"{name} ({_describe(known[name])})" for name in needed),
            found=f"no {', '.join(lacking)}",
            remedy="give each as name=value; one that nobody knows as name=NA (what is typical in training stands in)",
        )
    return read


def values_of_table(path: str | Path | pd.DataFrame, columns: Sequence[ColumnSpec]) -> dict[str, str]:
    """One patient's clinical values from a table with one row, read as the clinical table of a study is.

    Parameters
    ----------
    columns
        The bundle's columns; a header is one of their names, labels or sources, or another name of the quantity.

    Returns
    -------
    dict
        Text by name, with the header's unit; ``NA`` where nothing stands. Other headers are left alone.

    Raises
    ------
    TableError
        The table cannot be read, has not one row, or two headers fit a column.
    """
    name = "table" if isinstance(path, pd.DataFrame) else Path(path).name
    sheet, _ = one_sheet(path, what="table of one patient")
    if len(sheet.rows) != 1:
        raise TableError(
            "The values of one patient are one row.", expected="headers and one row",
            found=f"{len(sheet.rows)} rows in {sheet.name}", where=name,
        )  # fmt: skip
    (values,) = values_of_sheet(sheet, columns, name)
    if isinstance(values, HepacastError):
        raise values
    return values


def values_of_sheet(sheet: Sheet, columns: Sequence[ColumnSpec], where: str) -> list[dict[str, str] | HepacastError]:
    """Each row's clinical values, as `values_of_table` gives those of one; of a row that cannot be read the error.

    Raises
    ------
    TableError
        Two headers fit a column.
    """
    mark = file_decimal_of([sheet])
    headers: dict[str, str] = {}
    for spec in columns:
        found = find_header(sheet.headers, [spec.name, spec.label, *spec.source])
        if not found and spec.quantity:
            found = find_by_quantity(sheet.headers, spec.quantity)
        if len(found) > 1:
            raise TableError(f"Several headers may be {spec.label!r}.", found=", ".join(found), where=where)
        headers |= {spec.name: found[0]} if found else {}
    units = {header: sheet.units.get(header) or split_header(header)[1] for header in headers.values()}
    cells = {name: sheet.column(header) for name, header in headers.items()}
    known = [spec for spec in columns if spec.name in headers]
    rows: list[dict[str, str] | HepacastError] = []
    for place in range(len(sheet.rows)):
        try:
            rows.append(
                {spec.name: _as_typed(spec, cells[spec.name][place], units[headers[spec.name]], mark) for spec in known}
            )
        except HepacastError as error:
            rows.append(error)
    return rows


def _as_typed(spec: ColumnSpec, cell: Any, unit: str, mark: FileDecimal) -> str:
    """A cell of a table as somebody would type it."""
    if isinstance(cell, CellProblem):
        raise TableError(f"{spec.label} holds no usable value.", found=cell.text)
    if isinstance(cell, CodedCell):
        cell = cell if spec.kind != "numeric" else cell.code
    if spec.kind != "numeric":
        known = cell is not None and (level_key(cell) in level_words(spec) or not is_missing_word(cell))
        return normalize_text(cell) if known else "NA"
    number, own = split_unit(cell) if isinstance(cell, str) else (cell, "")
    if own != "%" and not is_unit(own):
        number, own = cell, ""  # a laboratory's mark, as in `38 H`
    (parsed,) = read_numbers([number], mark)
    if parsed.status == "missing":
        return "NA"
    if parsed.status == "ambiguous":
        raise TableError(f"{spec.label} can be read in two ways.", found=str(cell), remedy="write a decimal point")
    if parsed.status != "ok":
        return str(cell) if parsed.status == "text" else f"{number} {own or unit}".strip()
    return f"{parsed.value!r} {own or unit}".strip()


def _describe(spec: ColumnSpec) -> str:
    if spec.kind != "numeric":
        return f"{spec.label}: {' or '.join(spec.level_names)}"
    return f"{spec.label}, {spec.unit}" if spec.unit else spec.label


def _read(spec: ColumnSpec, text: str) -> ClinicalValue:
    level = level_words(spec).get(level_key(text)) if spec.kind != "numeric" else None
    if level is None and text.strip().casefold() in UNKNOWN:
        return ClinicalValue(math.nan if spec.kind != "categorical" else None, "not known")
    if spec.kind == "numeric":
        return _number(spec, text)
    if level is None:
        raise HepacastError(f"{spec.label} has no level {text!r}.", expected=", ".join(spec.level_names))
    if spec.kind == "binary":
        return ClinicalValue(float(spec.level_names.index(level)), level)
    return ClinicalValue(level, level)


def _require_no_limit(spec: ColumnSpec, text: str, comparator: str) -> None:
    """Only who measured knows how far from a limit of detection the value may be: none stands in unasked."""
    if comparator:
        raise HepacastError(
            f"{spec.label} is given as a limit, which is no value.",
            expected="a number",
            found=text,
            remedy="give the number that is to stand for it (of <0.8 many studies take half, 0.4), or NA: not known",
        )


def _number(spec: ColumnSpec, text: str) -> ClinicalValue:
    if spec.quantity:
        from hepacast.cohort import convert

        measured = parse_quantity(text, quantity=spec.quantity, default_unit=spec.unit or None)
        _require_no_limit(spec, text, measured.comparator)
        value = (
            measured.value
            if measured.unit == spec.unit
            else convert(measured.value, measured.unit, spec.unit or measured.unit, spec.quantity)
        )
    else:
        number, unit = split_unit(text)
        # A percentage of a pure number is a hundredth, as in a table.
        percent = unit == "%" and unit_key(spec.unit) in ("", "1")
        if unit and not percent and unit_key(unit) != unit_key(spec.unit):
            raise HepacastError(f"{spec.label} must be a number in {spec.unit or 'no unit'}.", found=text)
        (parsed,) = read_numbers([number], "")
        if parsed.status == "ambiguous":
            raise HepacastError(
                f"{spec.label} of {text!r} can be read in two ways.",
                remedy="write the number without a mark for thousands, and with a decimal point",
            )
        if not math.isfinite(parsed.value):
            raise HepacastError(f"{spec.label} must be a number.", found=text)
        _require_no_limit(spec, text, parsed.comparator)
        value = parsed.value * (0.01 if percent else 1.0)
    if spec.plausible is not None and not spec.plausible[0] <= value <= spec.plausible[1]:
        raise HepacastError(
            f"{spec.label} of {value:g} {spec.unit} is not possible.".replace("  ", " "),
            expected=f"{spec.plausible[0]:g} to {spec.plausible[1]:g} {spec.unit}".strip(),
            found=text,
            remedy="check the value and its unit; a unit can be given, as alb='3.8 g/dL'",
        )
    return ClinicalValue(value, f"{value:.4g} {spec.unit}".strip())
