"""Excel workbooks as grids: values as they are shown, and what Excel hides or merges."""

from __future__ import annotations

import re
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hepacast.cohort.headers import is_unit
from hepacast.cohort.layout import CellGrid, CellProblem
from hepacast.errors import TableError

if TYPE_CHECKING:
    from openpyxl import Workbook
    from openpyxl.worksheet.worksheet import Worksheet

#: What openpyxl, zipfile and the XML parsers (theirs are kinds of SyntaxError) raise on damaged or unusual files.
_DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, SyntaxError, EOFError, OSError, ArithmeticError, AssertionError),
    *(AttributeError, LookupError, RuntimeError, TypeError, ValueError),
)
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
#: Number formats that show an identifier with leading zeros (`0000`), perhaps behind a text (`"P"000`).
_ZEROS = re.compile(r'(?:"([^"]*)"|\\(.))?(0{2,})')

#: A number format that shows a unit behind the number (`0.0" mg/dL"`).
_UNIT = re.compile(r'[#0.,]+\s*"([^"]+)"')


def read_workbook(path: Path) -> list[CellGrid]:
    """The worksheets of an Excel file.

    Raises
    ------
    TableError
        The file is damaged, protected by a password, or of the old binary format.
    """
    with path.open("rb") as stream:
        if stream.read(len(_OLE)) == _OLE:
            raise TableError(
                "The Excel file is protected by a password, or is of the old format under a new name.",
                found=path.name,
                remedy="open it in Excel and save it as .xlsx without password",
            )
    try:
        values, formulas = _load(path, data_only=True), _load(path, data_only=False)
        return [_grid(sheet, formulas[sheet.title], values.epoch.year == 1904) for sheet in values.worksheets]
    except _DAMAGE as error:
        raise TableError(
            "The Excel file cannot be read; it may be damaged.",
            found=f"{path.name}: {error or type(error).__name__}",
            remedy="open it in Excel and save it again as .xlsx",
        ) from error


def _load(path: Path, *, data_only: bool) -> Workbook:
    import openpyxl
    from openpyxl.utils.exceptions import InvalidFileException

    try:
        with warnings.catch_warnings():
            # Remarks on styles and validations that this reader does not need.
            warnings.simplefilter("ignore")
            return openpyxl.load_workbook(path, data_only=data_only, rich_text=data_only)
    except InvalidFileException as error:
        raise ValueError(str(error)) from error


def _grid(sheet: Worksheet, formulas: Worksheet, date1904: bool) -> CellGrid:
    rows = []
    for number, row in enumerate(sheet.iter_rows(min_col=1), start=sheet.min_row):
        rows.append((number, [_value(cell, formulas[cell.coordinate].data_type == "f") for cell in row]))
    return CellGrid(
        sheet.title,
        rows,
        hidden_rows=frozenset(number for number, row in sheet.row_dimensions.items() if row.hidden or row.height == 0),
        hidden_columns=_hidden_columns(sheet),
        merged=tuple(
            (item.min_row, item.max_row, item.min_col - 1, item.max_col - 1) for item in sheet.merged_cells.ranges
        ),
        hidden=sheet.sheet_state != "visible",
        date1904=date1904,
    )


def _hidden_columns(sheet: Worksheet) -> frozenset[int]:
    found: set[int] = set()
    for column in sheet.column_dimensions.values():
        if column.hidden or column.width == 0:
            found |= set(range((column.min or 1) - 1, min(column.max or 1, sheet.max_column)))
    return frozenset(found)


def _value(cell: Any, is_formula: bool) -> Any:
    value = cell.value
    if type(value).__name__ == "CellRichText":
        value = _without_runs(value)
    if is_formula and value is None:
        return CellProblem("a formula whose result is not stored: open the file in Excel and save it")
    if cell.data_type == "e":
        return CellProblem(f"the Excel error {value}") if value != "#N/A" else None
    if isinstance(value, int | float) and not isinstance(value, bool):
        style = str(cell.number_format or "")
        if style.split(";")[0].rstrip().endswith("%"):
            return f"{value * 100:.12g} %"
        if (unit := _UNIT.fullmatch(style.split(";")[0])) and is_unit(unit.group(1).strip()):
            return f"{value:.15g} {unit.group(1).strip()}"
        # An ID kept as a number but shown with leading zeros (format 00000).
        shown = _ZEROS.fullmatch(style)
        if shown and float(value).is_integer():
            return (shown.group(1) or shown.group(2) or "") + str(int(value)).zfill(len(shown.group(3)))
    return value


def _without_runs(text: Any) -> Any:
    """A text of several fonts as one; digits of which some are raised, lowered or struck through are no number."""
    marked = any(
        font.strike or font.vertAlign in ("superscript", "subscript")
        for run in text
        if (font := getattr(run, "font", None)) is not None
    )
    if marked and re.fullmatch(r"[\d.,\s]+", str(text)):
        return CellProblem(f"{str(text)!r}, of which a part is raised, lowered or struck through")
    return str(text)
