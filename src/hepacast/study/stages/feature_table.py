"""Features made elsewhere, given as a table with one row a patient, or as `hepacast extract` writes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from hepacast.cohort import Finding
from hepacast.cohort.equal_rows import tell_equal_rows
from hepacast.cohort.joining import one_header
from hepacast.cohort.layout import Sheet
from hepacast.cohort.numbers import FileDecimal, guess_decimal, plain_numbers, read_numbers
from hepacast.cohort.one_sheet import one_row_a_patient, one_sheet
from hepacast.cohort.parsing import file_decimal_of
from hepacast.cohort.patient_rows import name_rows
from hepacast.core.kept import State, state_of
from hepacast.errors import TableError
from hepacast.study.context import Context


def table_path(context: Context) -> Path:
    """The feature table of the study file.

    Raises
    ------
    TableError
        The file does not exist.
    """
    assert context.study.features.table is not None
    path = context.path(context.study.features.table)
    if not path.is_file():
        raise TableError("The feature table does not exist.", where=str(path), remedy="check features.table")
    return path


def read_feature_table(context: Context) -> tuple[pd.DataFrame, list[Finding]]:
    """Read the table as wide features, columns ``voi:feature``, and say what was left out.

    Two stages ask for it: the last one is remembered until `forget_feature_table`, or until its file changes.

    Raises
    ------
    TableError
        The identifier is missing or not unique, or no column is a feature.
    """
    features, path = context.study.features, table_path(context)
    name = features.id or context.study.cohort.id
    prefixes, decimal = tuple(features.vois.items()), context.study.cohort.decimal
    wide, findings = _read(path, state_of(path), name, tuple(features.ignore), prefixes, decimal)
    return wide, list(findings)


def forget_feature_table() -> None:
    """Give back the memory of the table that was read last."""
    _read.cache_clear()


@lru_cache(maxsize=1)
def _read(
    path: Path,
    state: State,
    name: str,
    ignored: tuple[str, ...],
    prefixes: tuple[tuple[str, str], ...],
    decimal: Literal["auto", ".", ","],
) -> tuple[pd.DataFrame, tuple[Finding, ...]]:
    sheet, findings = one_sheet(path, name, what="feature table")
    sheet = _one_row_a_patient(sheet, one_header(sheet, name), path.name)
    index = one_row_a_patient(sheet, name, what="feature table", where=path.name)
    wide, remarks = _wide(sheet, {one_header(sheet, name), *ignored}, dict(prefixes), decimal)
    if not wide:
        raise TableError("The feature table has no feature columns.", where=path.name, remedy="check features.vois")
    found = pd.DataFrame(np.array(list(wide.values())).T, index=index, columns=list(wide), copy=False)
    return found, (*findings, *remarks, *tell_equal_rows(found, "features"))


def _one_row_a_patient(sheet: Sheet, identifier: str, where: str) -> Sheet:
    """The sheet itself, or what `hepacast extract -o` wrote of several VOIs: by value (Parquet), or by VOI (CSV).

    Raises
    ------
    TableError
        A feature stands twice for a patient.
    """
    by_value = {"voi", "feature", "value"} <= set(sheet.headers)
    if not by_value and not ("voi" in sheet.headers and len(set(sheet.column(identifier))) < len(sheet.rows)):
        return sheet
    known = {identifier, "voi", "sequence", "feature", "value", "status", "reason"}
    features = [head for head in sheet.headers if head not in known]
    sequences = sheet.column("sequence") if "sequence" in sheet.headers else [None] * len(sheet.rows)
    several = len(set(sequences)) > 1
    found: dict[Any, dict[str, Any]] = {}
    rows: dict[Any, int] = {}
    for number, patient, sequence, voi, cells in zip(
        sheet.rows, sheet.column(identifier), sequences, sheet.column("voi"), sheet.cells, strict=True
    ):
        row = dict(zip(sheet.headers, cells, strict=True))
        own = {row["feature"]: row["value"]} if by_value else {head: row[head] for head in features}
        kept, prefix = found.setdefault(patient, {}), f"{sequence}:{voi}" if several else str(voi)
        rows.setdefault(patient, number)
        for feature, value in own.items():
            if f"{prefix}:{feature}" in kept:
                raise TableError("A feature stands twice for a patient.", found=f"{prefix}:{feature}", where=where)
            kept[f"{prefix}:{feature}"] = value
    names = tuple(dict.fromkeys(name for kept in found.values() for name in kept))
    cells = tuple((patient, *(kept.get(name) for name in names)) for patient, kept in found.items())
    return replace(sheet, headers=(identifier, *names), rows=tuple(rows.values()), cells=cells)


def _wide(
    sheet: Sheet, ignored: set[str], prefixes: dict[str, str], decimal: Literal["auto", ".", ","]
) -> tuple[dict[str, npt.NDArray[np.float64]], list[Finding]]:
    """Columns ``voi:feature``, and why the others are none."""
    wide: dict[str, npt.NDArray[np.float64]] = {}
    findings = []
    proven = file_decimal_of([sheet])
    # Features come from another program than the clinical table: its mark helps where theirs is not proven.
    file_decimal = decimal if decimal != "auto" and proven in ("", "unknown") else proven
    for header, cells in zip(sheet.headers, sheet.columns, strict=True):
        if header in ignored:
            continue
        column = _feature_name(header, prefixes)
        values, remarks = _values(header, cells, sheet.rows, file_decimal)
        # Of a column that is no feature nobody has to know how it is read.
        findings += [item for item in remarks if item.severity == "error" and column is not None]
        if column is None or np.isnan(values).all():
            why = "its name begins with no VOI prefix" if column is None else "it holds no numbers"
            findings.append(Finding("note", "not-a-feature", f"column {header!r} is no feature: {why}"))
            continue
        if column in wide:
            raise TableError("A feature stands twice in the feature table.", found=header, where=sheet.name)
        if _counts_rows(values):
            why = "it numbers the patients (where they are sorted by outcome, the number gives it away)"
            findings.append(Finding("warning", "not-a-feature", f"column {header!r} is left out: {why}"))
            continue
        findings += [item for item in remarks if item.severity != "error"]
        wide[column] = values
    return wide, findings


def _values(
    header: str, cells: Sequence[Any], rows: Sequence[int], file_decimal: FileDecimal
) -> tuple[npt.NDArray[np.float64], list[Finding]]:
    """The numbers of one column, and what was said about reading them."""
    plain = plain_numbers(cells, file_decimal)
    if plain is not None:
        return plain, []
    parsed, findings = read_numbers(cells, file_decimal), []
    two_ways = [row for row, item in zip(rows, parsed) if item.status == "ambiguous"]
    if two_ways:
        message = f"{name_rows(two_ways)} hold numbers that can be read in two ways; say which mark is decimal "
        message += "with cohort.decimal"
        findings.append(Finding("error", "ambiguous-number", f"features: {message}", column=header))
    if guess_decimal(cells) == "mixed":
        message = f"some cells of {header!r} have a decimal comma, others a decimal point; each is read as it is"
        findings.append(Finding("warning", "mixed-decimal", message))
    grouped = [(cell, item) for cell, item in zip(cells, parsed) if item.status == "ok" and item.remark]
    if grouped:
        message = f"{len(grouped)} cells of {header!r} such as {grouped[0][0]!r}: {grouped[0][1].remark}"
        findings.append(Finding("warning", "thousands-mark", message))
    text = sum(item.status == "text" for item in parsed)
    if text:
        findings.append(Finding("warning", "not-a-number", f"{text} cells of {header!r} are no numbers: missing"))
    limits = sum(item.status == "censored" for item in parsed)
    if limits:
        message = f"{limits} cells of {header!r} are beyond a limit (such as <0.8): half of a lower limit was taken"
        findings.append(Finding("note", "censored-value", message))
    return np.array([item.value for item in parsed], dtype=float), findings


def _counts_rows(values: npt.NDArray[np.float64]) -> bool:
    """Whether a column of at least ten rows goes up by one from row to row."""
    return len(values) >= 10 and bool((np.diff(values) == 1).all())


def _feature_name(header: str, prefixes: dict[str, str]) -> str | None:
    if not prefixes:
        return header if ":" in header else f"voi:{header}"
    for voi, prefix in prefixes.items():
        if header.startswith(prefix):
            return f"{voi}:{header[len(prefix) :]}"
    return None
