"""Read any table for `hepacast stats`: a file of `hepacast.cohort.sheets`, or a data frame."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import pandas as pd

from hepacast.cohort.findings import Finding, name_patients
from hepacast.cohort.joining import read_ids
from hepacast.cohort.known_columns import id_header
from hepacast.cohort.layout import CellProblem, Sheet
from hepacast.cohort.one_sheet import one_sheet, refuse_repeated_headers
from hepacast.cohort.parsing import file_decimal_of
from hepacast.cohort.patient_rows import name_rows
from hepacast.cohort.redcap import read_dictionary, with_dictionary
from hepacast.errors import TableError
from hepacast.study.statistics.table import AnalysisTable

#: Share of identifiers that may be repeated by mistake; where more are, rows are readings or visits.
_FEW = 0.2


def load(
    source: str | Path | pd.DataFrame | AnalysisTable,
    *,
    sheet: str | None = None,
    levels: Mapping[str, Sequence[str]] | None = None,
    categorical: Sequence[str] = (),
    decimal: Literal["auto", ".", ","] = "auto",
    dictionary: str | Path | None = None,
    rows_are_patients: bool = True,
) -> AnalysisTable:
    """Read a table as `hepacast.cohort.sheets.read_sheets` does, or take a DataFrame.

    Parameters
    ----------
    sheet
        Excel sheet; the first visible one that is not empty otherwise.
    levels, categorical
        As in `AnalysisTable`.
    decimal
        Decimal mark of numbers kept as text; ``auto`` takes the one that the file's cells prove.
    dictionary
        Data dictionary of REDCap, for an export of it.
    rows_are_patients
        Whether every row counts as a patient, which is said where one stands in several.

    Raises
    ------
    TableError
        The file cannot be read, the sheet is missing, a header stands twice, or there are no rows.
    """
    if isinstance(source, AnalysisTable):
        return source
    name = "table" if isinstance(source, pd.DataFrame) else Path(source).name
    chosen, findings = one_sheet(source, sheet=sheet, several="first")
    if dictionary is not None:
        chosen = with_dictionary(chosen, read_dictionary(dictionary))
        findings += [item for item in chosen.findings if item not in findings]
    refuse_repeated_headers(chosen, name)
    headers = list(chosen.headers)
    about_rows = _repeated_ids(chosen) if rows_are_patients else []
    notes = [*(_sentence(item) for item in findings), *about_rows]
    for header in headers:
        for cell, row in zip(chosen.column(header), chosen.rows):
            if isinstance(cell, CellProblem):
                raise TableError("A cell holds no usable value.", found=cell.text, where=f"column {header}, row {row}")
    return AnalysisTable(
        {header: chosen.column(header) for header in headers},
        list(chosen.rows),
        name,
        levels or {},
        list(categorical),
        notes,
        decimal=decimal,
        file_decimal=file_decimal_of([chosen]),
        units=chosen.units,
        about_rows=about_rows,
    )


def _repeated_ids(sheet: Sheet) -> list[str]:
    """A word on identifiers that stand in several rows or in none, where most do not: a row counts as a patient."""
    header = id_header(sheet.headers)
    if not header:
        return []
    ids = read_ids(sheet.column(header))
    counts = Counter(name for name in ids if name is not None)
    several = [name for name, count in counts.items() if count > 1]
    nameless = [row for row, name in zip(sheet.rows, ids) if name is None]
    notes = []
    visits = [head for head in sheet.headers if head.startswith(("redcap_event_name", "redcap_repeat_"))]
    if several and (visits or len(several) <= _FEW * len(counts)):
        notes.append(f"{header}: {name_patients(several)} stand in several rows; each row counts.")
    elif several:
        message = f"{header}: {len(several)} of {len(counts)} identifiers stand in several rows; each row counts as a "
        notes.append(message + "patient, and limits and P take them for independent.")
    if 0 < len(nameless) <= _FEW * len(ids):
        notes.append(f"{header}: nothing stands in {name_rows(nameless)}; each row counts.")
    return notes


def _sentence(finding: Finding) -> str:
    if finding.column is not None:
        return f"{finding.column}: {finding.message}."
    return f"{finding.message[0].upper()}{finding.message[1:]}."
