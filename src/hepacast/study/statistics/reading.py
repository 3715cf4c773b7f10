"""Read any table: CSV, Excel, Parquet or a data frame, headers in the first row."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from hepacast.cohort.numbers import is_missing_word
from hepacast.cohort.sheets import CellProblem, read_sheets
from hepacast.errors import TableError
from hepacast.study.statistics.table import AnalysisTable


def load(
    source: str | Path | pd.DataFrame | AnalysisTable,
    *,
    sheet: str | None = None,
    levels: Mapping[str, Sequence[str]] | None = None,
    categorical: Sequence[str] = (),
) -> AnalysisTable:
    """Read a CSV, Excel or Parquet file (headers in the first row), or take a DataFrame.

    Parameters
    ----------
    sheet
        Excel sheet; the first that is not empty otherwise.
    levels, categorical
        As in `AnalysisTable`.

    Raises
    ------
    TableError
        The file cannot be read, the sheet is missing, a header stands twice, or there are no rows.
    """
    if isinstance(source, AnalysisTable):
        return source
    notes: list[str] = []
    if isinstance(source, pd.DataFrame):
        cells = {str(name): source.iloc[:, j].tolist() for j, name in enumerate(source.columns)}
        rows, name, headers = list(range(2, len(source) + 2)), "table", [str(item) for item in source.columns]
    else:
        found = read_sheets(source, id_column="", header_row=1)
        filled = [item for item in found if item.headers and item.rows]
        if sheet is not None:
            filled = [item for item in found if item.name == sheet]
            if not filled:
                raise TableError(
                    "The sheet is not in the file.", expected=", ".join(item.name for item in found), found=sheet
                )
        if not filled or not filled[0].rows:
            raise TableError("The table has no rows.", found=Path(source).name)
        chosen = filled[0]
        if len(filled) > 1:
            notes.append(f"Sheet {chosen.name!r} was read, the first of {len(filled)}; choose with --sheet.")
        headers, rows, name = list(chosen.headers), list(chosen.rows), Path(source).name
        cells = {header: chosen.column(header) for header in headers}
    twice = sorted({header for header in headers if headers.count(header) > 1})
    if twice:
        raise TableError("A column name stands twice.", found=", ".join(twice), where=name, remedy="rename one")
    if not rows:
        raise TableError("The table has no rows.", found=name)
    tidy = {header: [_tidy(cell, header, row) for cell, row in zip(column, rows)] for header, column in cells.items()}
    return AnalysisTable(tidy, rows, name, levels or {}, list(categorical), notes)


def _tidy(cell: Any, header: str, row: int) -> Any:
    if isinstance(cell, CellProblem):
        raise TableError("A cell holds no usable value.", found=cell.text, where=f"column {header}, row {row}")
    if hasattr(cell, "item") and not isinstance(cell, dt.date):
        cell = cell.item()
    if cell is None or cell is pd.NaT or cell is pd.NA or (isinstance(cell, float) and math.isnan(cell)):
        return None
    return None if isinstance(cell, str) and is_missing_word(cell) else cell
