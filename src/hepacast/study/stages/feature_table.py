"""Features made elsewhere, given as a table with one row a patient."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from hepacast.cohort import Finding
from hepacast.cohort.joining import one_header
from hepacast.cohort.layout import Sheet
from hepacast.cohort.numbers import guess_decimal, read_numbers
from hepacast.cohort.one_sheet import one_row_a_patient, one_sheet
from hepacast.cohort.parsing import file_decimal_of
from hepacast.cohort.patient_rows import name_rows
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

    Raises
    ------
    TableError
        The identifier is missing or not unique, or no column is a feature.
    """
    features = context.study.features
    path = table_path(context)
    name = features.id or context.study.cohort.id
    sheet, findings = one_sheet(path, name, what="feature table")
    index = one_row_a_patient(sheet, name, what="feature table", where=path.name)
    wide, remarks = _wide(
        sheet, {one_header(sheet, name), *features.ignore}, features.vois, context.study.cohort.decimal
    )
    if not wide:
        raise TableError("The feature table has no feature columns.", where=path.name, remedy="check features.vois")
    return pd.DataFrame(wide, index=index), [*findings, *remarks]


def _wide(
    sheet: Sheet, ignored: set[str], prefixes: dict[str, str], decimal: Literal["auto", ".", ","]
) -> tuple[dict[str, npt.NDArray[np.float64]], list[Finding]]:
    """Columns ``voi:feature``, and why the others are none."""
    wide: dict[str, npt.NDArray[np.float64]] = {}
    findings = []
    proven = file_decimal_of([sheet])
    # Features come from another program than the clinical table: its mark helps where theirs is not proven.
    file_decimal = decimal if decimal != "auto" and proven in ("", "unknown") else proven
    for position, header in enumerate(sheet.headers):
        if header in ignored:
            continue
        column = _feature_name(header, prefixes)
        cells = [row[position] for row in sheet.cells]
        parsed = read_numbers(cells, file_decimal)
        values = np.array([item.value for item in parsed], dtype=float)
        two_ways = [row for row, item in zip(sheet.rows, parsed) if item.status == "ambiguous"]
        if column is not None and two_ways:
            message = f"{name_rows(two_ways)} hold numbers that can be read in two ways; say which mark is decimal "
            message += "with cohort.decimal"
            findings.append(Finding("error", "ambiguous-number", f"features: {message}", column=header))
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
        wide[column] = values
    return wide, findings


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
