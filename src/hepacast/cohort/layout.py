"""Where a table stands in its sheet: titles above it, header, units, patients, totals and notes below, hidden parts.

Every kind of file becomes a `CellGrid`, and `arrange` makes of it a `Sheet` whose rows are patients. Whatever is left
out or filled in on the way is a finding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest
from typing import Any

from hepacast.cohort.findings import Finding
from hepacast.cohort.headers import find_header, is_unit, looks_like_units
from hepacast.cohort.known_columns import id_header
from hepacast.cohort.numbers import normalize_text, parse_number
from hepacast.cohort.patient_rows import is_blank, name_rows, patient_rows
from hepacast.errors import TableError

_HEADER_ROWS = 25
_UNIT_WORDS = ("unit", "units", "einheit", "einheiten", "单位")


@dataclass(frozen=True)
class CellProblem:
    """Stands in a cell that holds no usable value, with the reason (an Excel error, a formula without result)."""

    text: str


class CodedCell(str):
    """The label of a coded value, as SPSS and REDCap have them; `code` is what was entered."""

    code: Any

    def __new__(cls, label: str, code: Any) -> CodedCell:
        """A text that remembers its code."""
        cell = super().__new__(cls, label)
        cell.code = code
        return cell

    def __getnewargs__(self) -> tuple[str, Any]:  # type: ignore[override]
        """What copies are made of."""
        return str(self), self.code


@dataclass(frozen=True)
class CellGrid:
    """The cells of one sheet and what the file says about them.

    Parameters
    ----------
    rows
        Number of each row as Excel counts (1 is the first), and its cells.
    hidden_rows, hidden_columns
        Row numbers, and positions of columns, that the file hides.
    merged
        First and last row, position of the first and of the last column of each merged range.
    hidden
        The sheet itself is hidden.
    date1904
        Days are counted from 1904-01-01.
    broken_off
        The file's last line does not end.
    """

    name: str
    rows: Sequence[tuple[int, list[Any]]]
    hidden_rows: frozenset[int] = frozenset()
    hidden_columns: frozenset[int] = frozenset()
    merged: tuple[tuple[int, int, int, int], ...] = ()
    hidden: bool = False
    date1904: bool = False
    broken_off: bool = False


@dataclass(frozen=True)
class Sheet:
    """One sheet: headers, rows of cells, and where they stand.

    Parameters
    ----------
    name
        Sheet name; the file's name for CSV, Parquet and SPSS.
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
    findings
        What was left out or filled in, and what is hidden.
    hidden
        The file hides this sheet.
    date1904
        Numbers that are days count from 1904-01-01.
    labels
        Header -> label of the variable, as SPSS and REDCap have them.
    """

    name: str
    headers: tuple[str, ...]
    rows: tuple[int, ...]
    cells: tuple[tuple[Any, ...], ...]
    units: dict[str, str]
    encoding: str = ""
    delimiter: str = ""
    findings: tuple[Finding, ...] = ()
    hidden: bool = False
    date1904: bool = False
    labels: tuple[tuple[str, str], ...] = ()

    def column(self, header: str) -> list[Any]:
        """All cells beneath one header."""
        return list(self.columns[self.headers.index(header)])

    @cached_property
    def columns(self) -> tuple[tuple[Any, ...], ...]:
        """The cells beneath each header, in the order of `headers`."""
        return tuple(zip(*self.cells, strict=True)) or ((),) * len(self.headers)


def arrange(grid: CellGrid, id_column: str, header_row: int | None = None, *, patients: bool = True) -> Sheet:
    """Find header, units and patients in a grid.

    Parameters
    ----------
    id_column
        Header of the patient identifier, which tells the header's row from the titles above; when empty, the first
        row that has more than one cell is the header.
    header_row
        Row of the header as Excel counts; found when None.
    patients
        The rows are patients: sums of them and notes beneath the table are left out.

    Returns
    -------
    Sheet
        Without headers where none was found.

    Raises
    ------
    TableError
        Rows have more cells than there are headers, so that their values may stand under the wrong one.
    """
    start = _find_header_row(grid.rows, id_column, header_row)
    if start is None:
        return Sheet(grid.name, (), (), (), {}, hidden=grid.hidden, date1904=grid.date1904)
    last = _last_header_row(grid, start, id_column)
    titles = _titles(grid, start, last)
    columns = [index for index, title in enumerate(titles) if title]
    headers = tuple(titles[index] for index in columns)
    body, findings = _filled(grid, last, titles)
    _refuse_surplus(grid.name, body, len(titles))
    findings += _short_rows(grid, body, len(titles))
    key = _key_position(headers, id_column)
    units: dict[str, str] = {}
    if body:
        below = _pick(body[0][1], columns)
        if _is_unit_row(below, key):
            units = {head: normalize_text(cell).strip("[]()【】") for head, cell in zip(headers, below) if cell}
            body = body[1:]
    findings += _nameless(body, titles)
    kept, more = patient_rows([(number, _pick(row, columns)) for number, row in body], headers, key, patients=patients)
    findings += more
    findings += _hidden_parts(grid, [number for number, _ in kept], columns, headers)
    findings += _told_header(grid, start, last, headers, found=not id_column and header_row is None)
    return Sheet(
        grid.name,
        headers,
        tuple(number for number, _ in kept),
        tuple(row for _, row in kept),
        units,
        findings=tuple(findings),
        hidden=grid.hidden,
        date1904=grid.date1904,
    )


def _told_header(grid: CellGrid, start: int, last: int, headers: Sequence[str], *, found: bool) -> list[Finding]:
    findings = []
    if last > start:
        message = f"the headers stand in {name_rows(number for number, _ in grid.rows[start : last + 1])}: "
        findings.append(Finding("note", "header-rows", message + ", ".join(headers[:12])))
    if start and found:
        above = f"the headers were found in row {grid.rows[start][0]}; the rows above were taken for titles"
        findings.append(Finding("note", "title-rows", above))
    return findings


def _find_header_row(rows: Sequence[tuple[int, list[Any]]], id_column: str, header_row: int | None) -> int | None:
    single: int | None = None
    for position, (number, row) in enumerate(rows):
        if header_row is not None:
            if number == header_row:
                return position
            continue
        if position >= _HEADER_ROWS:
            break
        if not id_column:
            filled = sum(not is_blank(cell) for cell in row)
            if filled > 1:
                return position
            single = position if single is None and filled else single
            continue
        texts = [normalize_text(cell) for cell in row if isinstance(cell, str) and normalize_text(cell)]
        # A merged title that happens to hold the word stands alone in its row.
        if find_header(texts, [id_column]) and (len(texts) > 1 or len(row) == 1):
            return position
    return single


def _last_header_row(grid: CellGrid, start: int, id_column: str) -> int:
    """Position of the header's last row: the cell of the identifier may be merged over two or three rows, or the first
    row be one of groups.

    Without merged cells (a text file has none), a row below without an identifier and of words alone, some of them
    where the row above is empty, is the second row of the header.
    """
    number, row = grid.rows[start]
    wide = {left for first, _, left, right in grid.merged if first == number and right > left}
    filled = {index for index, cell in enumerate(row) if not is_blank(cell)}
    if filled and filled <= wide:
        # Groups alone, each over several columns, whose names stand below.
        return min(start + 1, len(grid.rows) - 1)
    texts = [normalize_text(cell) if isinstance(cell, str) else "" for cell in row]
    named = [index for index, text in enumerate(texts) if text]
    if not named:
        return start
    column = named[_key_position([texts[index] for index in named], id_column) or 0]
    for first, last, left, right in grid.merged:
        if first == number and left == right == column and last - first in (1, 2):
            return min(start + last - first, len(grid.rows) - 1)
    return start + 1 if _is_second_header(grid.rows[start + 1 : start + 3], texts, column) else start


def _is_second_header(below: Sequence[tuple[int, list[Any]]], texts: Sequence[str], column: int) -> bool:
    """Whether the first of two rows names columns, and the second one begins with a patient."""
    if len(below) < 2 or any(column >= len(row) for _, row in below) or is_blank(below[1][1][column]):
        return False
    words = {index: cell for index, cell in enumerate(below[0][1]) if not is_blank(cell)}
    nameless = [index for index in words if index >= len(texts) or not texts[index]]
    plain = [isinstance(cell, str) and not is_unit(normalize_text(cell).strip("[]()【】")) for cell in words.values()]
    numbers = [parse_number(cell).status != "text" for cell in words.values()]
    return column not in words and bool(nameless) and all(plain) and not any(numbers)


def _titles(grid: CellGrid, start: int, last: int) -> list[str]:
    """The header of every column; of several rows the lowest text, with the groups above it where needed."""
    rows = [
        [normalize_text(cell) if cell is not None else "" for cell in row] for _, row in grid.rows[start : last + 1]
    ]
    if len(rows) == 1:
        return rows[0]
    numbers = [number for number, _ in grid.rows[start : last + 1]]
    for first, _, left, right in grid.merged:
        if first in numbers and right > left:
            row = rows[numbers.index(first)]
            row[left : right + 1] = [row[left]] * (right + 1 - left)
    for index in range(1, len(rows[0])):
        # A group that is written once, not merged, stands above all its columns.
        if not rows[0][index] and any(row[index] for row in rows[1:] if index < len(row)):
            rows[0][index] = rows[0][index - 1]
    paths = [[text for text in column if text] for column in zip_longest(*rows, fillvalue="")]
    lowest = [path[-1] if path else "" for path in paths]
    return [" ".join(path) if lowest.count(text) > 1 else text for path, text in zip(paths, lowest)]


def _key_position(headers: Sequence[str], id_column: str) -> int | None:
    """Position of the identifier: as it was named, else by a usual name; None when there is none."""
    if id_column:
        match = find_header(headers, [id_column])
        return headers.index(match[0]) if match else None
    usual = id_header(headers)
    return headers.index(usual) if usual else None


def _is_unit_row(below: Sequence[Any], key: int | None) -> bool:
    if key is None:
        # Without an identifier, `m` beneath a header may be somebody's sex.
        texts = [normalize_text(cell).strip("[]()【】") for cell in below if not is_blank(cell)]
        return bool(texts) and all(is_unit(text, short=False) for text in texts)
    blank_id = is_blank(below[key]) or normalize_text(below[key]).casefold() in _UNIT_WORDS
    return blank_id and looks_like_units([cell for position, cell in enumerate(below) if position != key])


def _pick(row: Sequence[Any], columns: Sequence[int]) -> tuple[Any, ...]:
    if len(columns) == len(row) and columns[-1:] == [len(row) - 1]:
        return tuple(row)
    return tuple(row[index] if index < len(row) else None for index in columns)


def _filled(grid: CellGrid, start: int, titles: Sequence[str]) -> tuple[list[tuple[int, list[Any]]], list[Finding]]:
    """The rows beneath the header; the value of a merged cell counts for all its rows."""
    header = grid.rows[start][0]
    body = [(number, list(row) if grid.merged else row) for number, row in grid.rows[start + 1 :]]
    by_number = dict(body)
    tall: dict[str, int] = {}
    wide: list[int] = []
    for first, last, left, right in grid.merged:
        if first <= header or first not in by_number:
            continue
        if right > left:
            wide += [number for number in range(first, last + 1) if number in by_number]
        if last > first and left < len(by_number[first]):
            title = titles[left] if left < len(titles) else ""
            tall[title or f"column {left + 1}"] = tall.get(title or f"column {left + 1}", 0) + 1
            for number in range(first + 1, last + 1):
                if number in by_number and left < len(by_number[number]):
                    by_number[number][left] = by_number[first][left]
    findings = []
    if tall:
        names = ", ".join(f"{name} ({count})" for name, count in tall.items())
        message = f"merged cells in sheet {grid.name}: their value was taken for each of their rows: {names}"
        findings.append(Finding("warning", "merged-cells", message))
    if wide:
        message = (
            f"cells merged over several columns in sheet {grid.name} in {name_rows(wide)}: their value counts for the "
            "first of these columns only, the others are empty"
        )
        findings.append(Finding("warning", "merged-columns", message))
    return body, findings


def _refuse_surplus(name: str, body: Sequence[tuple[int, list[Any]]], width: int) -> None:
    surplus = [number for number, row in body if any(not is_blank(cell) for cell in row[width:])]
    if surplus:
        raise TableError(
            "Rows have more cells than the header, so that values may stand beneath the wrong header.",
            expected=f"{width} cells in every row",
            found=name_rows(surplus),
            where=name,
            remedy="put cells that hold the separator (such as decimal commas) into quotes, and give every column a "
            "header",
        )


def _short_rows(grid: CellGrid, body: Sequence[tuple[int, list[Any]]], width: int) -> list[Finding]:
    """Rows that end before the header does: their last values may be lost."""
    short = [number for number, row in body if len(row) < width and any(not is_blank(cell) for cell in row)]
    if short and grid.broken_off and short[-1] == body[-1][0]:
        raise TableError(
            "The file ends in the middle of a row; it may be cut off.",
            expected=f"{width} cells",
            found=f"row {short[-1]} with {len(body[-1][1])} cells and no end of line",
            where=grid.name,
            remedy="copy or export the file again; if nothing is lost, end the last line",
        )
    if not short:
        return []
    message = f"{name_rows(short)} have fewer than {width} cells: what is not there was taken as missing"
    return [Finding("warning", "short-row", message)]


def _nameless(body: Sequence[tuple[int, list[Any]]], titles: Sequence[str]) -> list[Finding]:
    empty = [
        index
        for index, title in enumerate(titles)
        if not title and any(index < len(row) and not is_blank(row[index]) for _, row in body)
    ]
    if not empty:
        return []
    listed = ", ".join(str(index + 1) for index in empty[:10])
    many = len(empty) > 1
    message = f"column{'s' if many else ''} {listed} of the sheet {'have' if many else 'has'} values but no header: "
    message += "not read"
    return [Finding("warning", "no-header", message)]


def _hidden_parts(grid: CellGrid, rows: Sequence[int], columns: Sequence[int], headers: Sequence[str]) -> list[Finding]:
    findings = []
    hidden = [number for number in rows if number in grid.hidden_rows]
    if hidden:
        message = (
            f"sheet {grid.name} hides {len(hidden)} row{'s' if len(hidden) > 1 else ''}, by a filter or by hand "
            f"({name_rows(hidden)}): they were read like all others; delete them, or exclude them by a column, if "
            "they do not belong to the table"
        )
        findings.append(Finding("warning", "hidden-rows", message))
    names = [head for head, index in zip(headers, columns) if index in grid.hidden_columns]
    if names:
        shown = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
        message = f"columns that are hidden in Excel in sheet {grid.name} were read like all others: {shown}"
        findings.append(Finding("note", "hidden-columns", message))
    return findings
