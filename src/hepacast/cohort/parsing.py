"""From raw cells to typed values, with a finding for everything that was assumed, changed or refused."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from hepacast.cohort.columns import (
    BINARY_WORDS,
    SEX_LEVELS,
    ColumnSpec,
    has_plus,
    is_no_level,
    level_key,
    level_words,
    levels_from_cells,
    nearest,
)
from hepacast.cohort.dates import DateProblem, doubtful_order, parse_date
from hepacast.cohort.findings import Finding, Severity
from hepacast.cohort.joining import Cell
from hepacast.cohort.layout import CellProblem, CodedCell, Sheet
from hepacast.cohort.numbers import (
    CensoredPolicy,
    FileDecimal,
    decimal_mark,
    guess_decimal,
    is_lone_group,
    is_missing_word,
    missing_codes,
    normalize_text,
    parse_number,
    plain_mark,
)
from hepacast.cohort.quantities import (
    convert,
    get_quantity,
    is_unit_of,
    known_units,
    split_unit,
    tidy_unit,
    unit_factor,
    unit_key,
)

#: Share of cells that must be numbers for a column to count as numeric; the others are then errors, not levels.
NUMERIC_SHARE = 0.9


@dataclass
class _Collector:
    """Gathers the findings of one column."""

    column: str
    findings: list[Finding]

    def add(
        self, severity: Severity, code: str, message: str, patient: str | None = None, row: int | None = None
    ) -> None:
        self.findings.append(Finding(severity, code, message, patient, row, self.column))


def parse_column(
    spec: ColumnSpec,
    cells: Mapping[str, Cell],
    *,
    header_unit: str = "",
    decimal: Literal["auto", ".", ","] = "auto",
    file_decimal: FileDecimal = "",
    date1904: bool = False,
    censored: CensoredPolicy = "half",
) -> tuple[pd.Series, ColumnSpec, list[Finding]]:
    """Read one column.

    Parameters
    ----------
    spec
        What the column is.
    cells
        Raw cells by patient.
    header_unit
        Unit in the header or in the row beneath it.
    decimal
        Decimal mark, or ``auto``: the one that the column's cells prove, else the file's.
    file_decimal
        The mark that all columns of the file together prove.
    date1904
        Numbers that are days count from 1904-01-01.
    censored
        What ``<0.8`` becomes.

    Returns
    -------
    values
        float64 (numeric; binary as 0 and 1), level names (categorical) or datetime64, indexed by patient.
    spec
        Completed: unit, plausible range, levels.
    findings
        What was assumed, changed or refused.
    """
    log = _Collector(spec.name, [])
    readable = _without_problems(cells, log)
    if spec.kind == "numeric":
        spec, factor = _resolve_units(spec, header_unit, log)
        values = _numbers(spec, readable, decimal, file_decimal, censored, log)
        _refuse_mixed_percent(readable, values, log)
        if suspects := missing_codes(values):
            shown = ", ".join(f"{code:g} ({values.count(code)})" for code in suspects)
            message = f"values far from all others, often codes for missing, were read as numbers: {shown}; empty them"
            log.add("warning", "missing-code", message)
        series = pd.Series(values, index=list(cells), dtype="float64") * factor
    elif spec.kind == "date":
        series = pd.Series(_dates(spec, readable, date1904, log), index=list(cells), dtype="datetime64[ns]")
    else:
        spec, levels = _levels(spec, readable, log)
        series = pd.Series([levels.get(patient) for patient in cells], index=list(cells), dtype=object)
        if spec.kind == "binary":
            codes = {name: float(code) for code, name in enumerate(spec.level_names)}
            series = series.map(codes).astype("float64")
    return series.rename(spec.name), spec, log.findings


def _without_problems(cells: Mapping[str, Cell], log: _Collector) -> dict[str, Cell]:
    kept = {}
    for patient, cell in cells.items():
        if isinstance(cell.value, CellProblem):
            log.add("error", "unreadable-cell", cell.value.text, patient, cell.row)
            cell = cell._replace(value=None)
        kept[patient] = cell
    return kept


def _resolve_units(spec: ColumnSpec, header_unit: str, log: _Collector) -> tuple[ColumnSpec, float]:
    """The unit in the table and the unit that is kept; returns the factor between them."""
    if not spec.quantity:
        stated = spec.source_unit or spec.unit
        if header_unit and stated and unit_key(header_unit) != unit_key(stated):
            log.add("error", "unit-conflict", f"the header says {header_unit}, the study file says {stated}")
        elif spec.contradicted:
            known = get_quantity(spec.contradicted)
            message = (
                f"{stated or header_unit} is no unit of {known.label} ({', '.join(known_units(known))}): the values "
                "are not judged; correct the unit, or write `quantity: none` if it is something else"
            )
            log.add("warning", "unit-of-no-quantity", message)
        return replace(spec, unit=spec.unit or header_unit, quantity="none"), 1.0
    known = get_quantity(spec.quantity)
    if header_unit and not is_unit_of(header_unit, known):
        message = f"the header gives {header_unit}, which is no unit of {known.label} ({', '.join(known_units(known))})"
        log.add("error", "wrong-unit", message)
        header_unit = ""
    if header_unit and spec.source_unit and unit_factor(header_unit, known) != unit_factor(spec.source_unit, known):
        log.add(
            "error",
            "unit-conflict",
            f"the header says {header_unit}, the study file says {spec.source_unit}; correct the one that is wrong",
        )
    in_table = spec.source_unit or tidy_unit(header_unit, known) or spec.unit or known.unit
    kept = spec.unit or in_table
    if not (spec.source_unit or header_unit or spec.unit) and set(known.units.values()) - {1.0}:
        message = f"neither the header nor the study file gives a unit; taken as {known.unit}"
        log.add("warning", "unit-not-stated", message)
    factor = unit_factor(in_table, known) / unit_factor(kept, known)
    if factor != 1.0:
        log.add("note", "unit-converted", f"converted from {in_table} to {kept} (factor {factor:g})")
    plausible = spec.plausible or (
        convert(known.plausible[0], known.unit, kept, known.name),
        convert(known.plausible[1], known.unit, kept, known.name),
    )
    return replace(spec, unit=kept, source_unit=in_table, plausible=plausible), factor


def _numbers(
    spec: ColumnSpec,
    cells: Mapping[str, Cell],
    decimal: Literal["auto", ".", ","],
    file_decimal: FileDecimal,
    censored: CensoredPolicy,
    log: _Collector,
) -> list[float]:
    bare = [split_unit(cell.value)[0] for cell in cells.values() if isinstance(cell.value, str)]
    own = guess_decimal(bare) if decimal == "auto" else decimal
    if own == "mixed":
        log.add(
            "warning", "mixed-decimal", "some cells have a decimal comma, others a decimal point; each is read as it is"
        )
    coded = {cell.value: cell.value.code for cell in cells.values() if isinstance(cell.value, CodedCell)}
    if coded:
        shown = ", ".join(f"{label} = {code}" for label, code in list(coded.items())[:6])
        log.add("note", "codes-as-numbers", f"labelled values were taken by their codes: {shown}")
    values = []
    for patient, cell in cells.items():
        if isinstance(cell.value, CodedCell):
            cell = cell._replace(value=None if is_missing_word(cell.value) else cell.value.code)
        if isinstance(cell.value, dt.date | dt.datetime):
            message = f"a date ({cell.value:%Y-%m-%d}) in a column of numbers: Excel turns 1-2 or 3.4 into dates"
            log.add("error", "date-in-number", message, patient, cell.row)
            values.append(np.nan)
            continue
        values.append(_number(spec, patient, cell, own, file_decimal, censored, log))
    return values


def _number(
    spec: ColumnSpec,
    patient: str,
    cell: Cell,
    own: str,
    file_decimal: FileDecimal,
    censored: CensoredPolicy,
    log: _Collector,
) -> float:
    text, factor = cell.value, 1.0
    if isinstance(text, str) and not is_missing_word(text):
        text, factor = _strip_unit(spec, text, patient, cell.row, log)
    mark, doubt = decimal_mark(text, own, file_decimal)
    parsed = parse_number(text, decimal=mark, censored=censored)
    if doubt and parsed.status in ("ok", "censored"):
        message = f"{cell.value!r} can be read in two ways; say `decimal: ','` or `decimal: '.'` in the study file"
        log.add("error", "ambiguous-number", message, patient, cell.row)
        return np.nan
    if parsed.status in ("text", "ambiguous"):
        what = "is not a number" if parsed.status == "text" else f"does not fit the decimal mark {mark!r} of the column"
        log.add("error", "not-a-number", f"{cell.value!r} {what}", patient, cell.row)
        return np.nan
    if parsed.status == "censored":
        message = f"{cell.value!r} is {'below' if parsed.comparator == '<' else 'above'} a limit: {parsed.remark}"
        log.add("note", "censored-value", message, patient, cell.row)
    elif parsed.remark:
        log.add("note", "mark-removed", f"{cell.value!r}: {parsed.remark}", patient, cell.row)
    elif isinstance(text, str) and is_lone_group(text, "," if mark == "." else "."):
        log.add("note", "thousands-mark", f"{cell.value!r} was read as {parsed.value:g}", patient, cell.row)
    return parsed.value * factor


def _refuse_mixed_percent(cells: Mapping[str, Cell], values: list[float], log: _Collector) -> None:
    """Refuse the 70 of a column of pure numbers in which 65 % is 0.65: it may be 70 %."""
    share = [isinstance(cell.value, str) and split_unit(cell.value)[1] == "%" for cell in cells.values()]
    if not any(share) or not any(item.code == "unit-in-cell" for item in log.findings):
        return
    for place, (patient, cell) in enumerate(cells.items()):
        if not share[place] and values[place] > 1:
            message = f"{cell.value!r} stands beside percentages: is it one? Write all cells with % or none"
            log.add("error", "ambiguous-number", message, patient, cell.row)
            values[place] = np.nan


def _strip_unit(spec: ColumnSpec, text: str, patient: str, row: int, log: _Collector) -> tuple[str, float]:
    """`65 %` in a cell: the number and the factor to the table's unit; the text unchanged when it has no unit."""
    number, unit = split_unit(text)
    in_table = spec.source_unit or spec.unit
    if not unit or number == normalize_text(text):
        return text, 1.0
    if spec.quantity and is_unit_of(unit, spec.quantity):
        factor = convert(1.0, unit, in_table, spec.quantity)
    elif not spec.quantity and unit_key(unit) == unit_key(in_table):
        factor = 1.0
    elif unit == "%" and unit_key(in_table) in ("", "1"):
        factor = 0.01
    else:
        return text, 1.0
    if factor != 1.0:
        message = f"the cell gives its own unit, {text!r}; converted to {in_table or 'a pure number'}"
        log.add("note", "unit-in-cell", message, patient, row)
    return number, factor


def _dates(spec: ColumnSpec, cells: Mapping[str, Cell], date1904: bool, log: _Collector) -> list[dt.datetime | None]:
    values: list[dt.datetime | None] = []
    for patient, cell in cells.items():
        if cell.value is None or (isinstance(cell.value, str) and is_missing_word(cell.value)):
            values.append(None)
            continue
        try:
            values.append(parse_date(cell.value, spec.date_format, date1904=date1904))
        except DateProblem as problem:
            log.add("error", "not-a-date", str(problem), patient, cell.row)
            values.append(None)
    if not spec.date_format and (remark := doubtful_order([cell.value for cell in cells.values()])):
        severity: Severity = "warning" if remark.startswith("Excel") else "error"
        log.add(severity, "mixed-dates", remark)
    return values


def _levels(spec: ColumnSpec, cells: Mapping[str, Cell], log: _Collector) -> tuple[ColumnSpec, dict[str, str | None]]:
    values = [cell.value for cell in cells.values()]
    minus = has_plus(values)
    if spec.kind == "categorical" and not spec.levels:
        levels, joined = levels_from_cells(values)
        spec = replace(spec, levels=levels)
        log.add("note", "levels-from-data", f"levels as found in the table: {', '.join(spec.level_names)}")
        if joined:
            log.add("note", "spellings-joined", joined)
    words = level_words(spec)
    if spec.kind == "binary" and minus and words.get("+") == spec.level_names[1] and "-" not in words:
        # A new patient's `-` means the same.
        negative = spec.level_names[0]
        spec = replace(spec, levels={**spec.levels, negative: (*spec.levels[negative], "-")})
        words = level_words(spec)
    by_code = spec.levels not in (dict(SEX_LEVELS), {"no": BINARY_WORDS[0], "yes": BINARY_WORDS[1]})
    found: dict[str, str | None] = {}
    for patient, cell in cells.items():
        level = None if cell.value is None else words.get(level_key(cell.value))
        if level is None and by_code and isinstance(cell.value, CodedCell):
            level = words.get(level_key(cell.value.code))
        if level is None and not is_no_level(cell.value, minus=minus):
            known = sorted(words)
            code = f" (code {cell.value.code})" if isinstance(cell.value, CodedCell) else ""
            message = f"{normalize_text(cell.value)!r}{code} is none of the words {', '.join(known)}"
            hint = nearest(level_key(cell.value), known) or "add it to the column's levels in the study file"
            log.add("error", "unknown-level", f"{message}; {hint}", patient, cell.row)
        found[patient] = level
    dashes = [patient for patient, cell in cells.items() if found[patient] is None and level_key(cell.value) == "-"]
    if dashes and not minus:
        message = f"a dash was taken as missing in {len(dashes)} cells; where it means no, list it among the levels"
        log.add("note", "dash-missing", message)
    return spec, found


def file_decimal_of(sheets: Sequence[Sheet], *, leave_out: Sequence[str] = ()) -> FileDecimal:
    """The decimal mark that the columns of numbers of a file prove together.

    Without any proof, a semicolon between the cells suggests decimal commas: then ``2.554`` may be 2554.
    """
    marks: set[str] = set()
    for sheet in sheets:
        for header, cells in zip(sheet.headers, sheet.columns, strict=True):
            kinds = set(map(type, cells))
            if header in leave_out or kinds <= {float, int, type(None)}:
                continue
            texts: Sequence[str] = cells
            if kinds != {str}:
                texts = [cell for cell in cells if isinstance(cell, str) and not isinstance(cell, CodedCell)]
            mark: str | None = plain_mark(texts)
            plain = mark is not None
            if not plain:
                texts = [split_unit(text)[0] for text in texts]
                mark = guess_decimal(texts)
            if mark and (plain or _mostly_numbers(texts)):
                marks |= {".", ","} if mark == "mixed" else {mark}
    if len(marks) == 2:
        return "mixed"
    if marks:
        return "," if "," in marks else "."
    return "unknown" if any(sheet.delimiter == ";" for sheet in sheets) else ""


def _mostly_numbers(texts: Sequence[str]) -> bool:
    present = [text for text in texts if not is_missing_word(text)]
    numbers = sum(
        parse_number(text).status != "text" or parse_number(text, decimal=",").status == "ok" for text in present
    )
    return numbers >= NUMERIC_SHARE * len(present)
