"""The one sheet of a table that holds certain columns, and its patients: for all who read a table but the cohort.

The cohort joins several sheets and interprets declared columns (`read_table`). Features made elsewhere, lists of
images, the values of one patient and anybody's table for statistics are one sheet; here it is chosen, its rows named.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pandas as pd

from hepacast.cohort.findings import Finding, name_patients
from hepacast.cohort.headers import find_header
from hepacast.cohort.joining import choose_sheets, one_header, read_ids, refuse_lost_digits, similar_ids
from hepacast.cohort.layout import Sheet
from hepacast.cohort.patient_rows import name_rows
from hepacast.cohort.sheets import frame_sheet, read_sheets
from hepacast.errors import TableError


def one_sheet(
    source: str | Path | pd.DataFrame,
    *columns: str,
    what: str = "table",
    sheet: str | None = None,
    several: Literal["refuse", "first"] = "refuse",
    id_column: str = "",
) -> tuple[Sheet, list[Finding]]:
    """Read the sheet that has rows and these columns, and say what was left out or passed over.

    Parameters
    ----------
    source
        A file of `hepacast.cohort.sheets`, or a DataFrame.
    columns
        Names; a header is alike without case, marks and unit.
    what
        The table in messages.
    sheet
        Name of the sheet; all that are visible and no glossary of another otherwise.
    several
        What to do where several sheets would do.
    id_column
        Helps to find the row of headers; the first of `columns` otherwise.

    Raises
    ------
    TableError
        The file cannot be read; no sheet, or more than one, has rows and these columns.
    """
    if isinstance(source, pd.DataFrame):
        where, sheets = "table", [frame_sheet(source, "table")]
    else:
        where, sheets = Path(source).name, read_sheets(source, id_column=id_column or next(iter(columns), ""))
    chosen, findings = choose_sheets(sheets, sheet)
    filled = [item for item in chosen if item.headers and item.rows]
    usable = [item for item in filled if all(find_header(item.headers, [name]) for name in columns)]
    if not usable:
        # Without the name of a column the row of headers is found as in any table.
        plain = sheets[0] if isinstance(source, pd.DataFrame) else read_sheets(source)[0]
        if not filled and (findings or not (plain.headers and plain.rows and columns)):
            remedy = findings[0].message if findings else None
            raise TableError(f"The {what} has no rows.", found=where, remedy=remedy)
        raise TableError(
            f"The {what} lacks columns.",
            expected="one sheet with " + ", ".join(columns),
            found="headers " + ", ".join(plain.headers[:12]) + (", ..." if len(plain.headers) > 12 else ""),
            where=where,
        )
    if len(usable) > 1 and several == "refuse":
        raise TableError(
            f"Several sheets may hold the {what}.",
            found=", ".join(f"{item.name} ({len(item.rows)} rows)" for item in usable),
            where=where,
            remedy="keep it in one visible sheet",
        )
    if len(usable) > 1:
        message = f"sheet {usable[0].name!r} was read, the first of {len(usable)}; choose with --sheet"
        findings.append(Finding("note", "other-sheets", message))
    return usable[0], [*findings, *usable[0].findings]


def refuse_repeated_headers(sheet: Sheet, where: str) -> None:
    """Refuse a sheet with two columns of one name: nobody could say which is meant.

    Raises
    ------
    TableError
        With the names.
    """
    twice = sorted({header for header in sheet.headers if sheet.headers.count(header) > 1})
    if twice:
        raise TableError("A column name stands twice.", found=", ".join(twice), where=where, remedy="rename one")


def one_row_a_patient(sheet: Sheet, name: str, *, what: str, where: str) -> pd.Index:
    """Identifiers of a sheet with one row a patient, under the header that a name means.

    Raises
    ------
    TableError
        No such column, or several; an identifier that lacks, stands twice, or lost digits in Excel.
    """
    header = one_header(sheet, name)
    refuse_lost_digits(sheet.column(header), sheet.rows, where)
    patients = read_ids(sheet.column(header))
    lacking = [row for row, patient in zip(sheet.rows, patients) if patient is None]
    if lacking:
        raise TableError(
            f"The {what} has rows without an identifier.", found=name_rows(lacking), where=where,
            remedy="complete or delete them",
        )  # fmt: skip
    index = pd.Index(patients, name="patient", dtype=object)
    double = index[index.duplicated()].unique().tolist()
    if double:
        raise TableError(
            f"A patient stands twice in the {what}.", found=", ".join(double[:10]), where=where,
            remedy="keep one row a patient (for several lesions, choose one or measure their union)",
        )  # fmt: skip
    return index


def doubtful_patients(patients: Sequence[str], files: Sequence[Sequence[object]]) -> list[Finding]:
    """What makes one think that two rows of a table of patients are one patient.

    Parameters
    ----------
    patients
        Identifiers, in the order of the rows.
    files
        Image and mask of each; empty where a row has none.

    Returns
    -------
    list of Finding
        ``similar-id``: identifiers that differ in case, zeros or marks only; ``same-files``: the same image and mask.
    """
    rows: dict[tuple[str, ...], list[str]] = {}
    for patient, own in zip(patients, files, strict=True):
        if own:
            rows.setdefault(tuple(map(str, own)), []).append(patient)
    shared = [names for names in rows.values() if len(names) > 1]
    same = [
        Finding(
            "warning",
            "same-files",
            f"{name_patients(names)} have one and the same image and mask: is a row a copy of another one?",
            patient=names[0],
        )
        for names in shared
    ]
    return [*similar_ids(patients), *same]
