"""From raw sheets to cells by patient: identifiers, duplicates, several sheets of one workbook."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from hepacast.cohort.columns import nearest
from hepacast.cohort.findings import Finding, name_patients
from hepacast.cohort.headers import find_header
from hepacast.cohort.layout import CellProblem, CodedCell, Sheet
from hepacast.cohort.numbers import is_missing_word, normalize_text
from hepacast.cohort.patient_rows import name_rows
from hepacast.errors import TableError

#: Excel and SPSS keep 15 digits of a number; an identifier with more of them has lost the others.
_EXACT_DIGITS = 15
_POWER_OF_TEN = re.compile(r"\d([.,]\d+)?[eE]\+?\d{2,}")
_WHOLE_FLOAT = re.compile(r"(\d+)[.]0+")


class Cell(NamedTuple):
    """One raw cell and where it stands."""

    value: Any
    row: int
    sheet: str


@dataclass(frozen=True)
class RawTable:
    """Raw sheets that carry the ID column, read by patient.

    Parameters
    ----------
    sheets
        The sheets in the file's order.
    rows
        For each sheet: patient -> position of the row in that sheet.
    patients
        All patients, in the order of their first appearance.
    id_headers
        Header of the identifier in each sheet.
    """

    sheets: tuple[Sheet, ...]
    rows: tuple[dict[str, int], ...]
    patients: tuple[str, ...]
    id_headers: tuple[str, ...]

    @property
    def headers(self) -> list[str]:
        """All headers but the identifiers', each once, in order."""
        listed = [head for sheet, own in zip(self.sheets, self.id_headers) for head in sheet.headers if head != own]
        return list(dict.fromkeys(listed))

    @property
    def date1904(self) -> bool:
        """Whether numbers that are days count from 1904-01-01."""
        return any(sheet.date1904 for sheet in self.sheets)

    def unit_below(self, header: str, sheet_name: str = "") -> str:
        """The unit in the row beneath a header, empty when there is none."""
        return next(filter(None, self.units_below(header, sheet_name).values()), "")

    def units_below(self, header: str, sheet_name: str = "") -> dict[str, str]:
        """Sheet -> unit in the row beneath a header there, empty when there is none."""
        return {
            sheet.name: sheet.units.get(header, "")
            for sheet in self.sheets
            if header in sheet.headers and sheet_name in ("", sheet.name)
        }

    def label_of(self, header: str) -> str:
        """The label that SPSS or REDCap gives a column, empty when there is none."""
        return next((text for sheet in self.sheets for name, text in sheet.labels if name == header), "")

    def row_of(self, patient: str, header: str | None = None) -> int | None:
        """Row of a patient as Excel counts, in the sheet that has `header` (any sheet when None)."""
        for sheet, rows in zip(self.sheets, self.rows):
            if patient in rows and (header is None or header in sheet.headers):
                return sheet.rows[rows[patient]]
        return None

    def values(self, header: str) -> list[Any]:
        """What the cells of a column hold, one for each of `patients`: as `collect`, but not where it stands."""
        own = [(sheet, rows) for sheet, rows in zip(self.sheets, self.rows) if header in sheet.headers]
        if len(own) != 1 or own[0][0].headers.count(header) > 1:
            cells, _ = self.collect(header)
            return [cells[patient].value if patient in cells else None for patient in self.patients]
        # A long table: an object less for each of its cells.
        column, rows = own[0][0].column(header), own[0][1]
        return [column[rows[patient]] if patient in rows else None for patient in self.patients]

    def collect(self, header: str, sheet_name: str = "") -> tuple[dict[str, Cell], list[Finding]]:
        """The cells of one column by patient; sheets that disagree about a cell give an error finding.

        Raises
        ------
        TableError
            The header stands twice in one sheet, so nobody can tell which column is meant.
        """
        cells: dict[str, Cell] = {}
        findings: list[Finding] = []
        for sheet, rows in zip(self.sheets, self.rows):
            if header not in sheet.headers or sheet_name not in ("", sheet.name):
                continue
            if sheet.headers.count(header) > 1:
                raise TableError(
                    f"The header {header!r} stands {sheet.headers.count(header)} times in one sheet.",
                    where=f"sheet {sheet.name}",
                    remedy="give each column its own header",
                )
            column = sheet.column(header)
            for patient, position in rows.items():
                cell = Cell(column[position], sheet.rows[position], sheet.name)
                known = cells.get(patient)
                if known is None or _empty(known.value):
                    cells[patient] = cell
                elif not _empty(cell.value) and not _same(known.value, cell.value):
                    findings.append(_disagreement(header, patient, known, cell))
        return cells, findings


def join_sheets(
    sheets: Sequence[Sheet], *, id_column: str, sheet: str | Sequence[str] | None
) -> tuple[RawTable, list[Finding]]:
    """Choose the sheets and read their identifiers.

    Parameters
    ----------
    sheets
        As `read_sheets` gives them.
    id_column
        Header of the patient identifier.
    sheet
        One name, several names, or None for every visible sheet that has the ID column. Several sheets are joined by
        patient: sheets of different patients are put below each other, sheets of the same patients side by side.

    Raises
    ------
    TableError
        A named sheet is missing, or no sheet has the ID column.
    """
    chosen, findings = choose_sheets(sheets, sheet)
    usable = [item for item in chosen if item.headers and find_header(item.headers, [id_column])]
    if not usable or (sheet is not None and len(usable) < len(chosen)):
        lacking = [item for item in chosen if item not in usable]
        heads = sorted({head for item in lacking for head in item.headers})
        raise TableError(
            f"The ID column {id_column!r} was not found.",
            expected=f"a header {id_column!r} in one of the first 25 rows",
            found=f"headers {', '.join(heads[:12])}" if heads else "no row with that header",
            where=", ".join(f"sheet {item.name}" for item in lacking) or None,
            remedy=nearest(id_column, heads) or "say in the study file how the ID column is called",
        )
    rows: list[dict[str, int]] = []
    id_headers: list[str] = []
    for item in usable:
        findings += item.findings
        header = one_header(item, id_column)
        id_headers.append(header)
        index, remarks = _index(item, header)
        rows.append(index)
        findings += remarks
    patients = tuple(dict.fromkeys(patient for index in rows for patient in index))
    if not patients:
        raise TableError("The table has no patients.", where=", ".join(f"sheet {item.name}" for item in usable))
    findings += similar_ids(patients)
    findings += _coverage(usable, rows, patients)
    return RawTable(tuple(usable), tuple(rows), patients, tuple(id_headers)), findings


def one_header(sheet: Sheet, name: str) -> str:
    """The one header of a sheet that a name means.

    Raises
    ------
    TableError
        There is none, several may be, or it stands twice: a column that nobody chose would be read.
    """
    found = find_header(sheet.headers, [name])
    if len(found) != 1:
        raise TableError(
            f"Several columns may be meant by {name!r}." if found else f"There is no column {name!r}.",
            expected="one column of this name",
            found=", ".join(map(repr, found or sheet.headers[:12])),
            where=f"sheet {sheet.name}",
            remedy="give each column its own header",
        )
    return found[0]


def clean_id(cell: Any) -> str:
    """An identifier as text: leading zeros kept, whitespace around it removed, ``7.0`` of Excel is ``7``."""
    if isinstance(cell, CodedCell):
        cell = cell.code
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return str(cell).replace("\u00a0", " ").replace("\u3000", " ").replace("\ufeff", "").strip()


def read_ids(cells: Sequence[Any]) -> list[str | None]:
    """A column of identifiers as text, None where nothing stands.

    ``7.0`` is ``7`` in a number of Excel, and in text where all identifiers are written so (a program kept them as
    numbers); elsewhere it stays as it is.
    """
    ids = [
        None if _empty(cell) or isinstance(cell, CellProblem) or is_missing_word(cell) else clean_id(cell)
        for cell in cells
    ]
    whole = [None if text is None else _WHOLE_FLOAT.fullmatch(text) for text in ids]
    if any(whole) and all(match is not None for match, text in zip(whole, ids) if text is not None):
        return [None if match is None else match.group(1) for match in whole]
    return ids


def id_key(patient: str) -> str:
    """What identifiers share that differ in case, zeros before a number or ``.0`` behind it, width and marks only."""
    text = re.sub(r"(?<!\d)0+(?=\d)", "", normalize_text(patient).casefold())
    text = re.sub(r"^(\d+)\.0+$", r"\1", text)
    return "".join(char for char in text if char.isprintable() and char not in " -_")


def near_ids(lacking: Iterable[str], there: Iterable[str]) -> dict[str, str]:
    """For identifiers that are not there, those that are and differ in case, zeros, spaces or marks only."""
    by_key: dict[str, str] = {}
    for patient in there:
        by_key.setdefault(id_key(patient), patient)
    return {patient: by_key[id_key(patient)] for patient in lacking if id_key(patient) in by_key}


def tell_near_ids(near: dict[str, str], what: str) -> str:
    """A sentence for a message: ``the features have '1' for '001', ...``; empty when nothing is near."""
    if not near:
        return ""
    pairs = ", ".join(f"{found!r} where the table has {patient!r}" for patient, found in list(near.items())[:3])
    more = f" and {len(near) - 3} more" if len(near) > 3 else ""
    return f"the {what} have {pairs}{more}: these differ only in zeros, case or marks; write them alike"


def choose_sheets(sheets: Sequence[Sheet], wanted: str | Sequence[str] | None) -> tuple[list[Sheet], list[Finding]]:
    """The sheets of these names; all visible ones when none is named, with a note on the hidden ones.

    Raises
    ------
    TableError
        A named sheet is missing.
    """
    if wanted is None:
        hidden = [item for item in sheets if item.hidden]
        findings = []
        if hidden:
            listed = ", ".join(f"{item.name} ({len(item.rows)} rows)" for item in hidden)
            message = f"hidden sheets were not read: {listed}; name a sheet to read it although it is hidden"
            findings.append(Finding("warning", "hidden-sheets", message))
        seen = [item for item in sheets if not item.hidden]
        glossaries = [item for item in seen if any(_describes(item, other) for other in seen if other is not item)]
        if glossaries:
            listed = ", ".join(f"{item.name} ({len(item.rows)} rows)" for item in glossaries)
            message = f"sheets that describe the columns of another were not read as patients: {listed}"
            findings.append(Finding("note", "glossary-sheets", message))
        return [item for item in seen if item not in glossaries], findings
    names = [wanted] if isinstance(wanted, str) else list(wanted)
    by_name = {item.name: item for item in sheets}
    for name in names:
        if name not in by_name:
            raise TableError(
                f"The sheet {name!r} was not found.",
                expected=name,
                found=", ".join(by_name),
                remedy=nearest(name, list(by_name)) or None,
            )
    return [by_name[name] for name in names], []


#: Share of a column's words that are headers of another sheet, above which the column lists those headers.
_LISTED = 0.8


def _describes(sheet: Sheet, other: Sheet) -> bool:
    """Whether a sheet is the glossary of another: one of its columns lists the other's headers."""
    headers = {normalize_text(header).casefold() for header in other.headers}
    for name in sheet.headers:
        words = [normalize_text(cell).casefold() for cell in sheet.column(name) if isinstance(cell, str)]
        if len(words) >= 3 and sum(word in headers for word in words) >= _LISTED * len(sheet.rows):
            return True
    return False


def _index(sheet: Sheet, header: str) -> tuple[dict[str, int], list[Finding]]:
    index: dict[str, int] = {}
    findings: list[Finding] = []
    column = sheet.column(header)
    for position, (row, patient) in enumerate(zip(sheet.rows, read_ids(column))):
        if patient is None:
            message = "a row with values but without a patient identifier was left out"
            findings.append(Finding("error", "missing-id", message, row=row, column=header))
            continue
        if changed := _changed(column[position]):
            message = (
                f"the identifier {patient} {changed}: enter identifiers as text (in Excel: format the column as text "
                "before they are entered)"
            )
            findings.append(Finding("error", "id-digits-lost", message, patient, row, header))
        if patient in index:
            first = sheet.rows[index[patient]]
            same = sheet.cells[index[patient]] == sheet.cells[position]
            what = "an identical row" if same else "a row with other values"
            findings.append(
                Finding(
                    "error",
                    "duplicate-id",
                    f"a duplicate identifier: the patient is already in row {first} ({what}); keep one row per patient",
                    patient,
                    row,
                    header,
                )
            )
            continue
        index[patient] = position
    return index, findings


def refuse_lost_digits(ids: Sequence[Any], rows: Sequence[int], where: str) -> None:
    """Refuse identifiers that were kept as numbers and have lost digits, or that Excel turned into dates.

    Raises
    ------
    TableError
        There is one; the rows are named.
    """
    lost = {row: changed for row, cell in zip(rows, ids) if (changed := _changed(cell))}
    if lost:
        raise TableError(
            f"An identifier {next(iter(lost.values()))}.",
            expected="identifiers as text",
            found=name_rows(lost),
            where=where,
            remedy="in Excel, format the column as text before the identifiers are entered",
        )


def _changed(cell: Any) -> str:
    """What a program made of an identifier, empty where it is as it was entered.

    A number of more than 15 digits (18 that end in 000, or 1.23457E+17), or the date that Excel takes `1-2` for.
    """
    if isinstance(cell, bool):
        return "was kept as a truth value"
    if isinstance(cell, dt.date):
        return "was turned into a date"
    if isinstance(cell, str):
        lost = bool(_POWER_OF_TEN.fullmatch(cell.strip()))
    else:
        digits = str(int(cell)) if isinstance(cell, int | float) and abs(cell) < 1e300 else ""
        lost = len(digits) > _EXACT_DIGITS and (isinstance(cell, float) or digits[_EXACT_DIGITS:].strip("0") == "")
    return "was kept as a number and has lost digits" if lost else ""


def similar_ids(patients: Sequence[str]) -> list[Finding]:
    """A warning for identifiers that differ in case, zeros, width or marks only (`id_key`): one patient or several?"""
    groups: dict[str, list[str]] = {}
    for patient in patients:
        groups.setdefault(id_key(patient), []).append(patient)
    return [
        Finding(
            "warning",
            "similar-id",
            f"the identifiers {', '.join(repr(name) for name in names)} differ only in case, zeros or marks: "
            "one patient or several?",
            patient=names[0],
        )
        for names in groups.values()
        if len(names) > 1
    ]


def _coverage(sheets: Sequence[Sheet], rows: Sequence[dict[str, int]], patients: Sequence[str]) -> list[Finding]:
    if len(sheets) < 2:
        return []
    if sum(len(index) for index in rows) == len(patients):
        names = ", ".join(f"{sheet.name} ({len(index)})" for sheet, index in zip(sheets, rows))
        return [Finding("note", "sheets-stacked", f"sheets of different patients were put below each other: {names}")]
    findings = []
    for sheet, index in zip(sheets, rows):
        lacking = [patient for patient in patients if patient not in index]
        if lacking:
            message = f"{len(lacking)} patients have no row in sheet {sheet.name}: {name_patients(lacking)}"
            findings.append(Finding("warning", "sheet-incomplete", message))
    return findings


def _disagreement(header: str, patient: str, first: Cell, second: Cell) -> Finding:
    return Finding(
        "error",
        "sheets-disagree",
        f"two sheets disagree: {first.sheet} (row {first.row}) says {first.value!r}, {second.sheet} says "
        f"{second.value!r}; correct one, or name the sheet of this column in the study file (different patients of two "
        "centers need different identifiers)",
        patient,
        second.row,
        header,
    )


def _empty(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _same(first: Any, second: Any) -> bool:
    return first == second or str(first).strip() == str(second).strip()
