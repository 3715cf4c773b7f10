"""`hepacast stats describe`: Table 1, with the test of each row chosen and named."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from hepacast.cohort.design_checks import can_name_a_person
from hepacast.cohort.known_columns import role_of
from hepacast.core import views
from hepacast.errors import TableError
from hepacast.stats.describe import describe as table_one
from hepacast.stats.table_one import TableOne
from hepacast.study.statistics.reading import load
from hepacast.study.statistics.result import StatisticsResult
from hepacast.study.statistics.table import MAX_LEVELS, AnalysisTable

_MAX_GROUPS = 10


@dataclass(frozen=True, repr=False)
class Description(TableOne, StatisticsResult):
    """A description of a table's patients."""


@views.drawings.register
def _(found: Description) -> views.Drawings:
    """`balance`: standardized mean differences, where there are groups."""
    from hepacast.study.statistics.drawing import draw_balance

    values = {item.label: abs(item.smd) for item in found.variables.values() if not math.isnan(item.smd)}
    return {"balance": lambda: draw_balance(values, groups=found.groups)} if values else {}


def describe(
    source: str | Path | pd.DataFrame | AnalysisTable,
    *,
    by: str | None = None,
    columns: str | Sequence[str] | None = None,
    equal_var: bool = False,
    yates: bool = False,
    quartiles: int = 7,
) -> Description:
    """Describe patients, overall and by group.

    Parameters
    ----------
    source
        File, data frame or loaded table.
    by
        Grouping column.
    columns
        What to describe; all but identifiers, dates and free text otherwise.
    equal_var, yates, quartiles
        As in `hepacast.stats.describe.describe`.

    Raises
    ------
    TableError
        An unknown column, a column that cannot be read, or too many groups.
    """
    table = load(source)
    group = None if by is None else _groups(table, table.column(by))
    names, left_out = _chosen(table, columns, "" if group is None else str(group.name))
    series = {name: table.predictor(name) for name in names}
    found = table_one(
        pd.DataFrame(series),
        group,
        [_spec(name, column) for name, column in series.items()],
        equal_var=equal_var,
        yates=yates,
        quartiles=quartiles,
    )
    if group is not None and len(found.groups) == 1:
        table.note(f"All patients are in the group {found.groups[0]}: there is nothing to compare.")
    return Description(**{**vars(found), "left_out": left_out, "notes": tuple(table.notes)})


def _chosen(table: AnalysisTable, columns: str | Sequence[str] | None, group: str) -> tuple[list[str], dict[str, str]]:
    """Columns to describe, and why others are not."""
    left_out: dict[str, str] = {}
    if columns is not None:
        names = [name for name in table.columns(columns) if name != group]
    else:
        why = {name: _why_not(table, name) for name in table.headers if name != group}
        names, left_out = [name for name in why if not why[name]], {name: text for name, text in why.items() if text}
    if not names:
        raise TableError("There is no column to describe.", found=", ".join(table.headers[:20]), where=table.name)
    return names, left_out


def _groups(table: AnalysisTable, name: str) -> pd.Series:
    series = table.predictor(name)
    count = series.nunique()
    if count > _MAX_GROUPS:
        raise TableError(
            f"The column {name!r} has {count} different values: it makes no groups.",
            expected=f"at most {_MAX_GROUPS} groups",
            where=table.name,
        )
    return series


def _spec(name: str, series: pd.Series) -> dict[str, Any]:
    if isinstance(series.dtype, pd.CategoricalDtype):
        levels = [str(level) for level in series.cat.categories]
        return {"name": name, "kind": "binary" if len(levels) == 2 else "categorical", "levels": levels}
    return {"name": name}


def _why_not(table: AnalysisTable, name: str) -> str:
    """Why a column that nobody asked for is not described; empty if it is."""
    present = [cell for cell in table.cells[name] if cell is not None]
    if not present:
        return "it has no values"
    if all(isinstance(cell, dt.date) for cell in present):
        return "it holds dates"
    distinct = len({str(cell) for cell in present})
    if (
        distinct == len(present)
        and len(present) > 2
        and (role_of(name) in ("id", "hospital number") or can_name_a_person(name))
    ):
        return "it is an identifier"
    if not table.is_numeric(name) and distinct > MAX_LEVELS:
        return f"it holds {distinct} different texts"
    return ""
