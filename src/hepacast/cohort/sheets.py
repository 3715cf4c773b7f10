"""Raw sheets: cells as they stand in a CSV, Excel or Parquet file, each with its row as Excel counts.

Nothing is interpreted here but the layout: encoding, delimiter, title rows above the header, a row of units below it.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hepacast.cohort.headers import find_header, looks_like_units
from hepacast.cohort.numbers import normalize_text
from hepacast.errors import TableError

#: Tried in this order; the last reads any bytes, so nothing after it would be reached.
ENCODINGS = ("utf-8-sig", "gb18030", "cp1252")
_DELIMITERS = (",", ";", "\t", "|")
_HEADER_ROWS = 25


@dataclass(frozen=True)
class CellProblem:
    """Stands in a cell that holds no usable value, with the reason (an Excel error, a formula without result)."""

    text: str


@dataclass(frozen=True)
class Sheet:
    """One sheet: headers, rows of cells, and where they stand.

    Parameters
    ----------
    name
        Sheet name; the file's name for CSV and Parquet.
    headers
        Column headers, empty ones left out of `cells` too.
    units
        Header -> unit from a row beneath the headers.
    rows
        Row numbers as Excel counts (1 is the first row of the file).
    cells
        One tuple of cells per row, in the order of `headers`.
    encoding, delimiter
        Of a CSV file.
    """

    name: str
    headers: tuple[str, ...]
    rows: tuple[int, ...]
    cells: tuple[tuple[Any, ...], ...]
    units: dict[str, str]
    encoding: str = ""
    delimiter: str = ""

    def column(self, header: str) -> list[Any]:
        """All cells beneath one header."""
        position = self.headers.index(header)
        return [row[position] for row in self.cells]


def read_sheets(path: str | Path, *, id_column: str, header_row: int | None = None) -> list[Sheet]:
    """Read all sheets of a file; those without the ID column come back with no headers.

    Parameters
    ----------
    path
        ``.csv``, ``.tsv``, ``.txt``, ``.xlsx``, ``.xlsm`` or ``.parquet``.
    id_column
        Header of the patient identifier; it tells the header's row from the titles above.
    header_row
        Row of the header as Excel counts; found by `id_column` when None.

    Raises
    ------
    TableError
        The file is missing, of another kind, damaged or empty.
    """
    path = Path(path)
    if not path.is_file():
        raise TableError("The clinical table was not found.", expected="a CSV, Excel or Parquet file", found=str(path))
    kind = path.suffix.casefold()
    if kind in (".csv", ".tsv", ".txt"):
        return [_read_text(path, id_column, header_row)]
    if kind in (".xlsx", ".xlsm"):
        return _read_excel(path, id_column, header_row)
    if kind in (".parquet", ".pq"):
        return [_read_parquet(path)]
    raise TableError(
        f"Files of the kind {kind or 'without a suffix'} are not read as clinical tables.",
        expected=".csv, .tsv, .txt, .xlsx, .xlsm or .parquet",
        found=str(path.name),
        remedy="open it in Excel and save it as .xlsx" if kind in (".xls", ".ods", ".xlsb") else None,
    )


def _read_text(path: Path, id_column: str, header_row: int | None) -> Sheet:
    content = path.read_bytes()
    text, encoding = decode(content, path.name)
    delimiter = _delimiter(text, id_column)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    # A quoted cell may hold line breaks; Excel still counts one row for the record.
    grid = [(number, list(row)) for number, row in enumerate(reader, start=1)]
    sheet = _to_sheet(path.name, grid, id_column, header_row)
    return replace(sheet, encoding=encoding, delimiter=delimiter)


def decode(content: bytes, name: str = "the file") -> tuple[str, str]:
    """Text and encoding of a CSV file: UTF-8 (with or without mark), UTF-16 with mark, GB 18030, Windows-1252.

    GB 18030 accepts many Western texts by accident, so it counts only when it yields Chinese characters and no
    private or rare ones beside Latin letters.
    """
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16"), "utf-16"
    if b"\x00" in content:
        raise TableError(
            "The table is not a text file.", found=f"zero bytes in {name}", remedy="export it as CSV UTF-8"
        )
    for encoding in ENCODINGS:
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if encoding != "gb18030" or _plausible_chinese(text):
            return text, encoding
    raise TableError("The table's encoding is not known.", found=name, remedy="save it as CSV UTF-8")


def _plausible_chinese(text: str) -> bool:
    foreign = [index for index, char in enumerate(text) if ord(char) > 0x7F]
    if not foreign:
        return True
    chinese = [index for index in foreign if _is_cjk(text[index])]
    if len(chinese) < 0.8 * len(foreign):
        return False
    # `Größe` in Windows-1252 turns into one lone CJK character between Latin letters.
    lone = sum(_between_letters(text, index) for index in chinese)
    return lone < 0.5 * len(chinese)


def _is_cjk(char: str) -> bool:
    code = ord(char)
    return 0x4E00 <= code <= 0x9FFF or 0x3000 <= code <= 0x303F or 0xFF00 <= code <= 0xFFEF or char in "μα-γ×≥≤℃↑↓·"


def _between_letters(text: str, index: int) -> bool:
    around = text[max(index - 1, 0) : index] + text[index + 1 : index + 2]
    return any(char.isascii() and char.isalpha() for char in around) and not any(_is_cjk(char) for char in around)


def _delimiter(text: str, id_column: str) -> str:
    """The delimiter under which most lines have the same number of columns, more than one."""
    lines = [line for line in text.splitlines()[:200] if line.strip()]
    if not lines:
        raise TableError("The table is empty.")
    best, best_score = ",", (-1.0, 0)
    for delimiter in _DELIMITERS:
        rows = list(csv.reader(lines, delimiter=delimiter))
        counts = [len(row) for row in rows]
        common = max(set(counts), key=lambda count: (counts.count(count), count))
        has_id = any(find_header([cell for cell in row if cell], [id_column]) for row in rows[:_HEADER_ROWS])
        score = (float(has_id) + (counts.count(common) / len(counts) if common > 1 else 0.0), common)
        if score > best_score:
            best, best_score = delimiter, score
    return best


def _read_excel(path: Path, id_column: str, header_row: int | None) -> list[Sheet]:
    import openpyxl
    from openpyxl.utils.exceptions import InvalidFileException

    try:
        values = openpyxl.load_workbook(path, data_only=True)
        formulas = openpyxl.load_workbook(path, data_only=False)
    except (zipfile.BadZipFile, InvalidFileException, KeyError, ValueError, OSError) as error:
        raise TableError(
            "The Excel file cannot be read.",
            found=f"{path.name}: {error}",
            remedy="open it in Excel and save it again as .xlsx (an encrypted file must be saved without password)",
        ) from error
    sheets = []
    for worksheet in values.worksheets:
        with_formulas = formulas[worksheet.title]
        grid = []
        for number, row in enumerate(worksheet.iter_rows(), start=worksheet.min_row):
            cells = [_excel_value(cell, with_formulas[cell.coordinate].data_type == "f") for cell in row]
            grid.append((number, cells))
        sheets.append(_to_sheet(worksheet.title, grid, id_column, header_row))
    return sheets


def _excel_value(cell: Any, is_formula: bool) -> Any:
    value = cell.value
    if is_formula and value is None:
        return CellProblem("a formula whose result is not stored: open the file in Excel and save it")
    if cell.data_type == "e":
        return CellProblem(f"the Excel error {value}") if value != "#N/A" else None
    if isinstance(value, int | float) and not isinstance(value, bool):
        style = str(cell.number_format or "")
        if style.split(";")[0].rstrip().endswith("%"):
            return f"{value * 100:.12g} %"
        # An ID kept as a number but shown with leading zeros (format 00000).
        if style and set(style) == {"0"} and float(value).is_integer() and len(style) > 1:
            return str(int(value)).zfill(len(style))
    return value


def _read_parquet(path: Path) -> Sheet:
    import pandas as pd
    from pyarrow import ArrowInvalid

    try:
        frame = pd.read_parquet(path)
    except (ArrowInvalid, OSError) as error:
        raise TableError("The Parquet file cannot be read.", found=f"{path.name}: {error}") from error
    if frame.index.name is not None:
        frame = frame.reset_index()
    cells = []
    for row in frame.itertuples(index=False, name=None):
        cells.append(tuple(None if _is_null(value) else _plain(value) for value in row))
    headers = tuple(str(name) for name in frame.columns)
    return Sheet(path.name, headers, tuple(range(2, len(frame) + 2)), tuple(cells), {})


def _is_null(value: Any) -> bool:
    import pandas as pd

    return bool(pd.isna(value)) if not isinstance(value, list | dict) else False


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") and not hasattr(value, "isoformat") else value


def _to_sheet(name: str, grid: list[tuple[int, list[Any]]], id_column: str, header_row: int | None) -> Sheet:
    start = _find_header_row(grid, id_column, header_row)
    if start is None:
        return Sheet(name, (), (), (), {})
    titles = [normalize_text(cell) if cell is not None else "" for cell in grid[start][1]]
    columns = [index for index, title in enumerate(titles) if title]
    headers = tuple(titles[index] for index in columns)
    body = grid[start + 1 :]
    units: dict[str, str] = {}
    if body:
        below = _pick(body[0][1], columns)
        if _is_unit_row(headers, below, id_column):
            units = {head: normalize_text(cell).strip("[]()【】") for head, cell in zip(headers, below) if cell}
            body = body[1:]
    kept = [(number, _pick(row, columns)) for number, row in body]
    kept = [(number, row) for number, row in kept if any(not _blank(cell) for cell in row)]
    return Sheet(name, headers, tuple(number for number, _ in kept), tuple(row for _, row in kept), units)


def _find_header_row(grid: list[tuple[int, list[Any]]], id_column: str, header_row: int | None) -> int | None:
    for position, (number, row) in enumerate(grid):
        if header_row is not None:
            if number == header_row:
                return position
            continue
        if position >= _HEADER_ROWS:
            return None
        texts = [normalize_text(cell) for cell in row if isinstance(cell, str) and normalize_text(cell)]
        # A merged title that happens to hold the word stands alone in its row.
        if find_header(texts, [id_column]) and (len(texts) > 1 or len(row) == 1):
            return position
    return None


def _is_unit_row(headers: Sequence[str], below: Sequence[Any], id_column: str) -> bool:
    match = find_header(headers, [id_column])
    if not match:
        return False
    cell = below[headers.index(match[0])]
    blank_id = _blank(cell) or normalize_text(cell).casefold() in ("unit", "units", "einheit", "einheiten", "单位")
    others = [other for position, other in enumerate(below) if position != headers.index(match[0])]
    return blank_id and looks_like_units(others)


def _pick(row: Sequence[Any], columns: Sequence[int]) -> tuple[Any, ...]:
    return tuple(row[index] if index < len(row) else None for index in columns)


def _blank(cell: Any) -> bool:
    return cell is None or (isinstance(cell, str) and not normalize_text(cell))
