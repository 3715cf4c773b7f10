"""`Finding`: one thing that a check has to say about a table, with patient, row and column.

Reading and checking never stop at the first problem: they collect findings, so that a person can put a
table right in one go. `raise_on_errors` turns the errors among them into one exception.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Literal, get_args

from hepacast.core.records import Record
from hepacast.core.tables import Table, make_table
from hepacast.errors import HepacastError, TableError

if TYPE_CHECKING:
    import pandas as pd

Severity = Literal["error", "warning", "note"]

#: How many findings an exception prints before it says how many more there are.
SHOWN = 20


@dataclass(frozen=True)
class Finding(Record):
    """One remark on a table.

    Parameters
    ----------
    severity
        ``error`` (the study must not run on this), ``warning`` (it may, but read this) or ``note`` (what was done).
    code
        Stable short name, for example ``impossible-value``; a column may accept codes by name.
    message
        What was found and what to do about it.
    patient
        Study identifier, or None when the remark is about a column or the table.
    row
        Row in the sheet as Excel counts (the first row is 1).
    column
        Name of the column in the study.
    """

    severity: Severity
    code: str
    message: str
    patient: str | None = None
    row: int | None = None
    column: str | None = None

    def __post_init__(self) -> None:
        if self.severity not in get_args(Severity):
            raise ValueError(f"severity must be one of {get_args(Severity)}, not {self.severity!r}")

    def __str__(self) -> str:
        place = [
            f"row {self.row}" if self.row is not None else "",
            f"patient {self.patient}" if self.patient is not None else "",
            f"column {self.column}" if self.column is not None else "",
        ]
        where = ", ".join(part for part in place if part)
        return f"{self.severity} [{self.code}]{' ' + where if where else ''}: {self.message}"


def sort_findings(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Errors first, then warnings, then notes; inside each by column, row and patient."""
    order = {name: rank for rank, name in enumerate(get_args(Severity))}
    return tuple(
        sorted(
            findings,
            key=lambda item: (order[item.severity], item.column or "", item.row or 0, item.patient or "", item.code),
        )
    )


#: Remarks that differ from row to row but have one cause; the first one shows what it is.
_SUMMED = frozenset({"sheets-disagree", "duplicate-id"})


def condense(findings: Iterable[Finding], limit: int = 5) -> list[Finding]:
    """Put equal remarks on many cells of one column into one, which names the first patients."""
    groups: dict[tuple[str, str, str, str | None], list[Finding]] = {}
    for item in findings:
        text = "" if item.code in _SUMMED else item.message
        groups.setdefault((item.severity, item.code, text, item.column), []).append(item)
    kept = []
    for items in groups.values():
        if len(items) <= limit:
            kept += items
            continue
        patients = name_patients([item.patient for item in items if item.patient is not None])
        kept.append(replace(items[0], message=f"{items[0].message} ({len(items)} cells: {patients})", patient=None))
    return kept


def accept(findings: Iterable[Finding], accepted: Mapping[str, Sequence[str]]) -> tuple[Finding, ...]:
    """Turn into notes the findings whose code the study's author has accepted for their column.

    Parameters
    ----------
    accepted
        For each column the codes that its author has looked at and accepts.
    """
    kept = []
    for item in findings:
        if item.column is not None and item.code in accepted.get(item.column, ()):
            item = replace(item, severity="note", message=f"{item.message} (accepted in the study file)")
        kept.append(item)
    return tuple(kept)


def raise_on_errors(findings: Iterable[Finding], *, kind: type[HepacastError] = TableError, where: str = "") -> None:
    """Raise one exception that lists the errors; do nothing when there are only warnings and notes.

    Raises
    ------
    HepacastError
        Of the class `kind` (default `TableError`).
    """
    errors = [item for item in sort_findings(condense(findings)) if item.severity == "error"]
    if not errors:
        return
    lines = [str(item) for item in errors[:SHOWN]]
    if len(errors) > SHOWN:
        lines.append(f"... and {len(errors) - SHOWN} more")
    raise kind(
        f"The table has {len(errors)} error{'s' if len(errors) != 1 else ''}.",
        found="\n    " + "\n    ".join(lines),
        where=where or None,
        remedy="correct these cells, or the column's description in the study file",
    )


def name_patients(patients: Iterable[str], limit: int = 10) -> str:
    """`P1, P2, P3 and 7 more`: a list short enough for a message."""
    names = list(patients)
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"


def findings_table(findings: Iterable[Finding], title: str = "Findings") -> Table:
    """One row a finding; equal ones of many cells are one row."""
    rows = []
    for item in condense(sort_findings(findings)):
        place = [f"row {item.row}" if item.row else "", item.patient or "", item.column or ""]
        rows.append([item.severity, ", ".join(word for word in place if word), item.message, item.code])
    return make_table(title, ["", "Where", "What", "Code"], rows, words=True)


def findings_frame(findings: Iterable[Finding]) -> pd.DataFrame:
    """One row a finding."""
    import pandas as pd

    return pd.DataFrame([asdict(item) for item in findings], columns=[item.name for item in fields(Finding)])
