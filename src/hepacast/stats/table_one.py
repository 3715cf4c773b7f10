"""Table 1 as a record, and as papers print it: numbers by group, the test and P of each variable, the SMD."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import pandas as pd

from hepacast.core import views
from hepacast.core.formatting import EN_DASH, MISSING, count_percent, decimals_for, number, p_value
from hepacast.core.records import Record, sparse
from hepacast.core.tables import Row, Table, make_table

NAN = float("nan")
OVERALL = "Overall"
_SHORT_TESTS = {"chi-square": "chi-squared"}
#: Levels that the name of their column says already.
_PLAIN_LEVELS = ("yes", "1", "true", "present", "positive")


@dataclass(frozen=True)
class NumericSummary(Record):
    """A numeric variable in one group; NaN, with a reason, where too few patients have a value.

    `counts` holds the patients by value where the variable is shown so: a score with hardly any values.
    """

    n: int
    missing: int
    mean: float
    sd: float
    median: float
    q1: float
    q3: float
    min: float
    max: float
    counts: dict[str, int] | None = sparse(None)
    reason: str = sparse("")


@dataclass(frozen=True)
class CategorySummary(Record):
    """A categorical variable in one group: patients by level, every level present (0 included)."""

    n: int
    missing: int
    counts: dict[str, int]


@dataclass(frozen=True)
class DescribedVariable(Record):
    """One variable of the table.

    Attributes
    ----------
    kind
        ``numeric``, ``binary`` or ``categorical``.
    missing
        Patients without a value.
    normal
        Whether the distribution counts as normal in every group; None for categories.
    groups
        Summary by group, "Overall" among them.
    smd
        Standardized mean difference of the second group against the first, or the mean of all pairs without a sign;
        NaN with a reason.
    digits
        Decimals that were asked for.
    test, statistic, p, df, estimate, ci, status, reason
        Of the test as `hepacast.stats.results.TestResult`; without groups to compare only the reason says so.
    """

    label: str
    unit: str
    kind: Literal["numeric", "binary", "categorical"]
    missing: int
    normal: bool | None
    groups: dict[str, NumericSummary | CategorySummary]
    smd: float = NAN
    smd_reason: str = sparse("")
    digits: int | None = sparse(None)
    test: str = sparse("")
    statistic: float = sparse(NAN)
    p: float = NAN
    df: float = sparse(NAN)
    estimate: float = sparse(NAN)
    ci: tuple[float, float] = sparse((NAN, NAN))
    status: str = sparse("")
    reason: str = ""

    @property
    def show(self) -> Literal["mean", "median", "count"]:
        """What stands for a group: mean and SD, median and quartiles, or counts."""
        if all(group.counts is not None for group in self.groups.values()):
            return "count"
        return "mean" if self.normal else "median"

    @property
    def tested(self) -> bool:
        """Whether there is a P."""
        return self.status == "ok"


@dataclass(frozen=True, repr=False)
class TableOne(Record, views.Shown):
    """A description of patients, overall and by group.

    Attributes
    ----------
    by
        Name of the grouping column, or None.
    groups
        Group labels in order.
    sizes
        Patients by group, and "Overall".
    variables
        By name.
    rule
        How tests and summaries were chosen, as a sentence for the footnote.
    excluded
        Patients left out because their group is missing.
    left_out
        Columns that are not described, and why.
    """

    by: str | None
    groups: tuple[str, ...]
    sizes: dict[str, int]
    variables: dict[str, DescribedVariable]
    rule: str
    excluded: int = 0
    notes: tuple[str, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)

    def to_frame(self) -> pd.DataFrame:
        """The table as printed, one line a variable or level."""
        shown = views.table(self)
        rows = [["  " * (row.kind == "indent") + row.cells[0], *row.cells[1:]] for row in shown.padded()]
        return pd.DataFrame(rows, columns=list(shown.columns)).replace({MISSING: ""})


@views.table.register
def _(found: TableOne) -> Table:
    return characteristics(found, smd=True, overall=True, missing=True)


@views.page.register
def _(found: TableOne) -> Sequence[str | Table]:
    return (views.table(found),)


def characteristics(
    found: TableOne, title: str = "", *, smd: bool = False, overall: bool = False, missing: bool = False
) -> Table:
    """One row a variable (one more a level), one column a group, then P and the test.

    Parameters
    ----------
    smd, overall
        Add the standardized mean difference, and a column of all patients.
    missing
        Count the missing values in a column, instead of below the table.
    """
    several = len(found.groups) > 1
    names = ([OVERALL] if overall or not found.groups else []) + list(found.groups if several or not overall else ())
    heads = [f"{name} (n\u00a0=\u00a0{found.sizes[name]})" for name in names]
    tested = several and any(item.tested for item in found.variables.values())
    columns = ["Characteristic", *heads, *(["Missing"] if missing else [])]
    columns += (["P", "Test"] if tested else []) + (["SMD"] if smd and several else [])
    rows: list[Row] = []
    for item in found.variables.values():
        tail = [str(item.missing)] if missing else []
        test = _SHORT_TESTS.get(item.test, item.test) if item.tested else MISSING
        tail += [p_value(item.p), test] if tested else []
        tail += [number(abs(item.smd), 2)] if smd and several else []
        rows += _numeric_rows(item, names, tail) if item.show != "count" else _level_rows(item, names, tail)
    return make_table(title, columns, rows, _notes(found, names, smd=smd and several, missing=not missing))


def _named(item: DescribedVariable) -> str:
    return f"{item.label} ({item.unit})" if item.unit else item.label


def _numeric_rows(item: DescribedVariable, names: Sequence[str], tail: list[str]) -> list[Row]:
    groups = [item.groups[name] for name in names]
    values = [value for group in groups for value in _shown(group, item.show)]
    digits = item.digits if item.digits is not None else _digits(item, values)
    return [Row((_named(item), *(_numeric_cell(group, item.show, digits) for group in groups), *tail))]


def _shown(group: NumericSummary | CategorySummary, show: str) -> tuple[float, ...]:
    assert isinstance(group, NumericSummary)
    return (group.mean, group.sd) if show == "mean" else (group.median, group.q1, group.q3)


def _digits(item: DescribedVariable, values: Sequence[float]) -> int | None:
    """Decimals by the size of the numbers, or two figures of a small spread; None where four decimals show none."""
    whole = item.groups.get(OVERALL)
    sd = whole.sd if isinstance(whole, NumericSummary) else NAN
    if 0.0 < sd < 1e-4:
        return None
    return max(decimals_for(*values), 1 - math.floor(math.log10(sd)) if sd > 0 and math.isfinite(sd) else 0)


def _numeric_cell(group: NumericSummary | CategorySummary, show: str, digits: int | None) -> str:
    if group.n == 0:
        return MISSING
    first, *spread = (number(value, digits) for value in _shown(group, show))
    return f"{first} ± {spread[0]}" if show == "mean" else f"{first} ({EN_DASH.join(spread)})"


def _counts(item: DescribedVariable, names: Sequence[str]) -> list[dict[str, int]]:
    return [item.groups[name].counts or {} for name in names]


def _level_rows(item: DescribedVariable, names: Sequence[str], tail: list[str]) -> list[Row]:
    """Two levels: one row for the second; more: a heading and a row each."""
    counts = _counts(item, names)
    levels = list(dict.fromkeys(level for group in counts for level in group))
    if len(levels) == 2 and item.kind != "numeric":
        name = _named(item)
        if levels[1].lower() not in _PLAIN_LEVELS:
            name = f"{name}: {levels[1]}"
        return [Row((f"{name}, n (%)", *(_count(group, levels[1]) for group in counts), *tail))]
    head = Row((f"{_named(item)}, n (%)", *("" for _ in names), *tail))
    empty = _empty_levels(counts)
    there = [level for level in levels if level not in empty]
    return [head, *(Row((level, *(_count(group, level) for group in counts)), "indent") for level in there)]


def _count(group: Mapping[str, int], level: str) -> str:
    return count_percent(group.get(level, 0), sum(group.values()))


def _empty_levels(counts: Sequence[Mapping[str, int]]) -> list[str]:
    levels = dict.fromkeys(level for group in counts for level in group)
    return [level for level in levels if not any(group.get(level) for group in counts)]


def _notes(found: TableOne, names: Sequence[str], *, smd: bool, missing: bool) -> list[str]:
    notes = []
    variables = list(found.variables.values())
    shown = {item.show for item in variables}
    if "mean" in shown or "median" in shown:
        parts = ["mean ± SD"] * ("mean" in shown) + [f"median (Q1{EN_DASH}Q3)"] * ("median" in shown)
        notes.append(f"Numbers are {' or '.join(parts)}" + (", or n (%)." if "count" in shown else "."))
    # One group is compared with none.
    notes.append(found.rule if len(found.groups) > 1 or OVERALL in names else "")
    lacking = [
        f"{item.label} {count}"
        for item in variables
        if (count := sum(item.groups[name].missing for name in names if name != OVERALL or len(names) == 1))
    ]
    if lacking and missing:
        notes.append(f"Missing values: {', '.join(lacking)}.")
    empty = [
        f"{item.label} ({', '.join(levels)})"
        for item in variables
        if item.show == "count" and len(_counts(item, names)[0]) > 2 and (levels := _empty_levels(_counts(item, names)))
    ]
    if empty:
        notes.append(f"Levels without a patient are not shown: {'; '.join(empty)}.")
    untested = [f"{item.label} ({item.reason})" for item in variables if item.status == "impossible"]
    if untested:
        notes.append(f"Not tested: {'; '.join(untested)}.")
    if smd:
        notes.append("SMD, standardized mean difference; above 0.1 is often taken as a difference that matters.")
    if found.excluded:
        notes.append(f"{found.excluded} patients without a value of {found.by} are left out.")
    notes += [f"{name} is not described: {why}." for name, why in found.left_out.items()]
    return [*notes, *(f"Note: {note}" for note in found.notes)]
