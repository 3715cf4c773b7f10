"""`hepacast stats describe`: Table 1, with the test of each row chosen and named."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from hepacast.cohort.design_checks import can_name_a_person
from hepacast.cohort.known_columns import role_of
from hepacast.errors import TableError
from hepacast.stats import describe as table_one
from hepacast.study.statistics.reading import load
from hepacast.study.statistics.result import StatisticsResult, note_lines, paragraphs, text_table
from hepacast.study.statistics.table import MAX_LEVELS, AnalysisTable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MAX_GROUPS = 10


@dataclass(frozen=True, repr=False)
class Description(StatisticsResult):
    """A description of patients; `table` holds the rows, `left_out` the columns that were not described, and why."""

    table: table_one.TableOne
    left_out: Mapping[str, str]
    notes: tuple[str, ...]

    def text(self) -> str:
        """Table 1 as text."""
        lines = [f"{name} is not described: {why}." for name, why in self.left_out.items()]
        if self.table.excluded:
            lines.append(f"{self.table.excluded} patients without a value of {self.table.by} are left out.")
        return paragraphs(text_table(self.table.to_frame()), self.table.rule, note_lines([*self.notes, *lines]))

    def to_json(self) -> dict[str, Any]:
        """Every number behind the table."""
        return {**self.table.to_json(), "left_out": dict(self.left_out), "notes": list(self.notes)}

    def to_frame(self) -> pd.DataFrame:
        """The table as printed, one line a variable or level."""
        return self.table.to_frame()

    def drawings(self) -> Mapping[str, Callable[[], Figure]]:
        """`balance`: standardized mean differences, where there are groups."""
        from hepacast.study.statistics.drawing import draw_balance

        values = {row.spec.label: abs(row.smd) for row in self.table.rows if row.smd == row.smd}
        if not values:
            return {}
        return {"balance": lambda: draw_balance(values, groups=self.table.groups)}


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
    left_out: dict[str, str] = {}
    if columns is None:
        names = []
        for name in table.headers:
            why = _why_not(table, name)
            if group is not None and name == group.name:
                continue
            if why:
                left_out[name] = why
            else:
                names.append(name)
    else:
        names = [name for name in table.columns(columns) if group is None or name != group.name]
    if not names:
        raise TableError("There is no column to describe.", found=", ".join(table.headers[:20]), where=table.name)
    frame, specs = pd.DataFrame(index=range(len(table))), []
    for name in names:
        series = table.predictor(name)
        frame[name] = series
        specs.append(_spec(table, name, series))
    found = table_one.describe(frame, group, specs, equal_var=equal_var, yates=yates, quartiles=quartiles)
    if group is not None and len(found.groups) == 1:
        table.note(f"All patients are in the group {found.groups[0]}: there is nothing to compare.")
    return Description(found, left_out, tuple(table.notes))


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


def _spec(table: AnalysisTable, name: str, series: pd.Series) -> dict[str, Any]:
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
