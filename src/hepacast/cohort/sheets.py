"""Any file of a table as sheets: text, Excel, Parquet, SPSS and Stata, one reader for every command.

Nothing is interpreted here: a file becomes grids of cells, `hepacast.cohort.layout.arrange` finds the table in them.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hepacast.cohort.headers import find_header
from hepacast.cohort.layout import CellGrid, Sheet, arrange
from hepacast.cohort.spss import LABELLED_SUFFIXES, read_labelled
from hepacast.core.texts import plain_cell
from hepacast.errors import TableError

if TYPE_CHECKING:
    import pandas as pd

_TEXT, _EXCEL, _PARQUET = (
    (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz"),
    (".xlsx", ".xlsm"),
    (".parquet", ".pq"),
)
#: Suffixes of the files that are read as tables.
TABLE_SUFFIXES = (*_TEXT, *_EXCEL, *_PARQUET, *LABELLED_SUFFIXES)
#: Tried in this order; the last reads any bytes, so nothing after it would be reached.
ENCODINGS = ("utf-8-sig", "gb18030", "cp1252")
#: What stands in texts most rarely comes first: it decides where two divide all lines alike.
_DELIMITERS = ("\t", ";", "|", ",")
_LINES_LOOKED_AT = 200
#: Bytes that a compressed text may unpack to.
_LARGEST = 1_000_000_000
_HEADER_ROWS = 25
_CONSTANT = re.compile(r'^="([^"]*)"$')
_SEPARATOR_LINE = re.compile(r'^\ufeff?"?sep=(.)"?[ ;,\t]*\r?\n', re.IGNORECASE)


def read_sheets(
    path: str | Path, *, id_column: str = "", header_row: int | None = None, patients: bool = True
) -> list[Sheet]:
    """Read all sheets of a file; those without the ID column come back with no headers.

    Parameters
    ----------
    path
        A file with one of `TABLE_SUFFIXES`.
    id_column
        Header of the patient identifier; it tells the header's row from the titles above. When empty, the header is
        the first row with more than one cell.
    header_row
        Row of the header as Excel counts; found when None.
    patients
        The rows are patients, so that sums of them and notes beneath the table are left out.

    Raises
    ------
    TableError
        The file is missing, of another kind, damaged, protected or empty, or rows have more cells than the header.
    """
    path = Path(path)
    if not path.is_file():
        raise TableError("The table was not found.", expected="a CSV, Excel, Parquet or SPSS file", found=str(path))
    kind = path.suffix.casefold()
    if _is_text(path):
        return [_read_text(path, id_column, header_row, patients)]
    if kind in _EXCEL:
        from hepacast.cohort.workbooks import read_workbook

        return [arrange(grid, id_column, header_row, patients=patients) for grid in read_workbook(path)]
    if kind in _PARQUET:
        return [_read_parquet(path)]
    if kind in LABELLED_SUFFIXES:
        return [read_labelled(path)]
    raise TableError(
        f"Files of the kind {kind or 'without a suffix'} are not read as tables.",
        expected=", ".join(TABLE_SUFFIXES),
        found=str(path.name),
        remedy="open it in Excel and save it as .xlsx" if kind in (".xls", ".ods", ".xlsb") else None,
    )


def _read_text(path: Path, id_column: str, header_row: int | None, patients: bool) -> Sheet:
    text, encoding = decode(_content(path), path.name)
    stated = _SEPARATOR_LINE.match(text)
    if stated:
        # Excel writes, heeds and hides this line: it does not count as a row.
        text = text[stated.end() :]
    delimiter = stated.group(1) if stated else _delimiter(text, id_column)
    if not text.strip():
        raise TableError("The table is empty.", found=path.name)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        # A quoted cell may hold line breaks; Excel still counts one row for the record.
        rows = list(enumerate(reader, start=1))
        if "'" in text or '="' in text:
            # `="001"` is how programs keep Excel from reading a text as a number.
            rows = [(number, [_CONSTANT.sub(r"\1", plain_cell(item)) for item in row]) for number, row in rows]
    except csv.Error as error:
        raise TableError(
            "The table's quotes do not close, so that its cells cannot be told apart.",
            expected='a cell that begins with " ends with " before the next separator',
            found=f"line {reader.line_num} of {path.name}: {error}",
            remedy="correct the quotes there, or save the table as .xlsx",
        ) from error
    sheet = arrange(
        CellGrid(path.name, rows, broken_off=not text.endswith(("\n", "\r"))), id_column, header_row, patients=patients
    )
    return replace(sheet, encoding=encoding, delimiter=delimiter)


def is_table(path: str | Path) -> bool:
    """Whether a file is one that `read_sheets` reads, by its name (``.nii.gz`` is none)."""
    return _is_text(Path(path)) or Path(path).name.casefold().endswith(TABLE_SUFFIXES)


def _is_text(path: Path) -> bool:
    """``.csv`` and its kind, packed or not; also ``NAME.gz``, which tells no other kind."""
    name = path.name.casefold()
    return name.endswith(_TEXT) or (name.endswith(".gz") and "." not in name.removesuffix(".gz"))


def _content(path: Path) -> bytes:
    """The bytes of a text file, those of ``.csv.gz`` unpacked."""
    if path.suffix.casefold() != ".gz":
        content = path.read_bytes()
        if content.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
            remedy = "name it .xlsx" if content.startswith(b"PK") else "open it in Excel and save it as .xlsx"
            raise TableError("The file is no text but a workbook under another name.", found=path.name, remedy=remedy)
        return content
    try:
        with gzip.open(path) as stream:
            content = stream.read(_LARGEST + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise TableError(
            "The compressed table cannot be unpacked; it may be damaged.",
            expected="a text file compressed by gzip (.csv.gz)",
            found=f"{path.name}: {error}",
        ) from error
    if len(content) > _LARGEST:
        raise TableError("The compressed table unpacks to more than 1 GB.", found=path.name)
    return content


def decode(content: bytes, name: str = "the file") -> tuple[str, str]:
    """Text and encoding of a text file: UTF-8 (with or without mark), UTF-16 with mark, GB 18030, Windows-1252.

    GB 18030 accepts many Western texts by accident, so it counts only when it yields Chinese characters and no
    private or rare ones beside Latin letters.

    Raises
    ------
    TableError
        The bytes are no text.
    """
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        try:
            text = content.decode("utf-16")
        except UnicodeDecodeError as error:
            raise _no_text(name, f"damaged UTF-16: {error}") from error
        if "\x00" not in text:
            return text, "utf-16"
    if b"\x00" in content:
        raise _no_text(name, "zero bytes")
    for encoding in ENCODINGS:
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError as error:
            if encoding == ENCODINGS[0] and _almost_utf8(content):
                line = content.count(b"\n", 0, error.start) + 1
                raise _no_text(name, f"damaged UTF-8 in line {line}") from error
            continue
        if encoding != "gb18030" or _plausible_chinese(text):
            return text, encoding
    raise _no_text(name, "bytes of no known encoding")


def _almost_utf8(content: bytes) -> bool:
    """Whether nearly all foreign characters are UTF-8: then the others are damage, and no other encoding."""
    foreign = [char for char in content.decode("utf-8", errors="replace") if ord(char) > 0x7F]
    bad = foreign.count("\ufffd")
    return len(foreign) - bad >= 5 and bad <= 0.2 * len(foreign)


def _no_text(name: str, found: str) -> TableError:
    return TableError(
        "The table is not a text file.", found=f"{found} in {name}", remedy="save it with the encoding CSV UTF-8"
    )


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
    lines = [line for line in text.splitlines()[:_LINES_LOOKED_AT] if line.strip()]
    best, best_score = ",", -1.0
    for delimiter in _DELIMITERS:
        rows = list(csv.reader(lines, delimiter=delimiter))
        counts = [len(row) for row in rows]
        common = max(set(counts), key=lambda count: (counts.count(count), count), default=0)
        has_id = any(find_header([cell for cell in row if cell], [id_column]) for row in rows[:_HEADER_ROWS])
        score = float(has_id and common > 1) + (counts.count(common) / len(counts) if common > 1 else 0.0)
        if score > best_score:
            best, best_score = delimiter, score
    return best if best_score > 0 else ","


def _read_parquet(path: Path) -> Sheet:
    import pandas as pd
    from pyarrow import ArrowException

    try:
        frame = pd.read_parquet(path)
    except (ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        raise TableError(
            "The Parquet file cannot be read; it may be damaged.", found=f"{path.name}: {error}"
        ) from error
    return frame_sheet(frame.reset_index() if any(name is not None for name in frame.index.names) else frame, path.name)


def frame_sheet(frame: Any, name: str) -> Sheet:
    """A data frame as a sheet: plain Python values, missing ones None."""
    columns = []
    for position in range(frame.shape[1]):
        values = frame.iloc[:, position].astype(object)
        columns.append([_plain(value) for value in values.where(values.notna(), None)])
    headers = tuple(str(item) for item in frame.columns)
    cells = tuple(zip(*columns)) if columns else ()
    return Sheet(name, headers, tuple(range(2, len(frame) + 2)), cells, {})


def frame_file(frame: pd.DataFrame, folder: Path) -> Path:
    """Write a data frame where a file is asked for: a Parquet file in a folder; a named index is its first column."""
    kept = frame.reset_index() if frame.index.name is not None else frame.copy()
    for name in [name for name, kind in kept.dtypes.items() if kind.kind == "O"]:
        # Parquet knows one type a column.
        kept[name] = kept[name].map(lambda value: value if value is None or value != value else str(value))
    target = folder / "table.parquet"
    kept.rename(columns=str).to_parquet(target)
    return target


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") and not hasattr(value, "isoformat") else value
