"""Several tables of different patients under one another: the files of several centers, or of cohorts by year."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pandas as pd

from hepacast.cohort.tables import ClinicalTable
from hepacast.errors import TableError


def stack_tables(first: ClinicalTable, others: Mapping[str, ClinicalTable]) -> ClinicalTable:
    """Put further tables under the first one.

    Files of different sources number their patients from 1 each, so the patients of a further table are called
    ``NAME-ID``.

    Parameters
    ----------
    first
        Its patients keep their identifiers.
    others
        Name -> table, read with the same columns.

    Raises
    ------
    TableError
        A column has another unit or other levels in one of the tables, or two patients would share an identifier.
    """
    named = {name: _renamed(name, table) for name, table in others.items()}
    lacking = tuple(dict.fromkeys(item for table in (first, *named.values()) for item in table.absent))
    first = _without(first, lacking)
    named = {name: _without(table, lacking) for name, table in named.items()}
    _must_be_alike(first, named)
    tables = [first, *named.values()]
    taken = pd.Index([patient for table in tables for patient in table.patients])
    if not taken.is_unique:
        raise TableError(
            "Two tables have a patient of the same name.",
            found=", ".join(taken[taken.duplicated()][:5]),
            remedy="give the further tables other names under `cohort.stacked`",
        )
    raws = [table.raw for table in tables if table.raw is not None]
    rows = [table.rows for table in tables if table.rows is not None]
    hashes = "+".join(table.provenance.sha256 for table in tables)
    provenance = replace(
        first.provenance,
        file=" + ".join(table.provenance.file for table in tables),
        sha256=hashes,
        rows=sum(table.provenance.rows for table in tables),
    )
    return replace(
        first,
        frame=pd.concat([table.frame for table in tables]),
        findings=tuple(item for table in tables for item in table.findings),
        provenance=provenance,
        raw=pd.concat(raws) if raws else None,
        rows=pd.concat(rows) if rows else None,
    )


def _without(table: ClinicalTable, absent: tuple[str, ...]) -> ClinicalTable:
    """The table without the columns that one of the tables does not have."""
    specs = tuple(spec for spec in table.specs if spec.name not in absent)
    return replace(table, frame=table.frame[[spec.name for spec in specs]], specs=specs, absent=absent)


def _must_be_alike(first: ClinicalTable, others: Mapping[str, ClinicalTable]) -> None:
    """Raise a TableError that names every column with another unit or other levels in one of the tables."""
    unlike = []
    for name, table in others.items():
        for mine, other in zip(first.specs, table.specs, strict=True):
            differ = mine.kind == "binary" and mine.level_names != other.level_names
            more = mine.kind == "categorical" and not set(other.level_names) <= set(mine.level_names)
            if mine.unit != other.unit or differ or more:
                unlike.append(
                    f"{mine.name}: unit {mine.unit or 'none'}, levels {', '.join(mine.level_names) or 'none'}; "
                    f"in table {name}: unit {other.unit or 'none'}, levels {', '.join(other.level_names) or 'none'}"
                )
    if unlike:
        one = f"The column {unlike[0].split(':')[0]!r} is" if len(unlike) == 1 else f"{len(unlike)} columns are"
        raise TableError(
            f"{one} not the same in all tables.",
            expected="one unit and the same levels",
            found="\n    ".join(unlike),
            where="cohort.stacked",
            remedy="state `unit:` and `levels:` of the column in the study file",
        )


def _renamed(name: str, table: ClinicalTable) -> ClinicalTable:
    names = {patient: f"{name}-{patient}" for patient in table.patients}
    findings = tuple(
        item if item.patient is None else replace(item, patient=names.get(item.patient, item.patient))
        for item in table.findings
    )
    return replace(
        table,
        frame=table.frame.rename(index=names),
        findings=findings,
        raw=None if table.raw is None else table.raw.rename(index=names),
        rows=None if table.rows is None else table.rows.rename(index=names),
    )
