"""Tables that compare groups of patients, laid out as papers print them."""

from __future__ import annotations

from hepacast.report.formatting import (
    EN_DASH,
    MISSING,
    count_percent,
    decimals_for,
    number,
    p_value,
)
from hepacast.report.inputs import ComparedVariable, Comparison, GroupValue
from hepacast.report.tables import Row, Table, make_table

_SHORT_TESTS = {"Mann-Whitney U": "Mann-Whitney", "chi-square": "chi-squared", "chi2": "chi-squared"}


def comparison_table(comparison: Comparison, title: str, *, smd: bool = False) -> Table:
    """One row a variable (one more a level), one column a group, then P, the test, and on request the SMD."""
    heads = [f"{column.name} (n\u00a0=\u00a0{column.n})" for column in comparison.columns]
    tested = any(item.test for item in comparison.variables)
    columns = ["Characteristic", *heads, *(["P", "Test"] if tested else []), *(["SMD"] if smd else [])]
    rows: list[Row] = []
    for item in comparison.variables:
        tail = [p_value(item.p), _SHORT_TESTS.get(item.test or "", item.test or MISSING)] if tested else []
        tail += [number(abs(item.smd), 2)] if smd else []
        rows += _numeric_rows(item, tail) if item.show != "count" else _level_rows(item, tail)
    return make_table(title, columns, rows, _notes(comparison, smd))


def _named(item: ComparedVariable) -> str:
    return f"{item.label} ({item.unit})" if item.unit else item.label


def _numeric_rows(item: ComparedVariable, tail: list[str]) -> list[Row]:
    values = [v for g in item.groups for v in ((g.mean, g.sd) if item.show == "mean" else (g.median, g.q1, g.q3))]
    digits = decimals_for(*values)
    return [Row((_named(item), *(_numeric_cell(group, item.show, digits) for group in item.groups), *tail))]


def _numeric_cell(group: GroupValue, show: str, digits: int) -> str:
    if group.n == 0:
        return MISSING
    if show == "mean":
        return f"{number(group.mean, digits)} ± {number(group.sd, digits)}"
    return f"{number(group.median, digits)} ({number(group.q1, digits)}{EN_DASH}{number(group.q3, digits)})"


def _level_rows(item: ComparedVariable, tail: list[str]) -> list[Row]:
    """Two levels: one row for the second; more: a heading and a row each."""
    levels = list(dict.fromkeys(level for group in item.groups for level in group.counts or {}))
    if len(levels) == 2 and not item.of_numbers:
        name = _named(item)
        if levels[1].lower() not in ("yes", "1", "true", "present", "positive"):
            name = f"{name}: {levels[1]}"
        return [Row((f"{name}, n (%)", *(_count(group, levels[1]) for group in item.groups), *tail))]
    head = Row((f"{_named(item)}, n (%)", *("" for _ in item.groups), *tail))
    empty = _empty_levels(item)
    there = [level for level in levels if level not in empty]
    return [head, *(Row((level, *(_count(g, level) for g in item.groups)), "indent") for level in there)]


def _count(group: GroupValue, level: str) -> str:
    counts = group.counts or {}
    return count_percent(counts.get(level, 0), sum(counts.values()))


def _empty_levels(item: ComparedVariable) -> list[str]:
    levels = dict.fromkeys(level for group in item.groups for level in group.counts or {})
    return [level for level in levels if not any((group.counts or {}).get(level) for group in item.groups)]


def _notes(comparison: Comparison, smd: bool) -> list[str]:
    notes = []
    shown = {item.show for item in comparison.variables}
    if "mean" in shown or "median" in shown:
        parts = ["mean ± SD"] * ("mean" in shown) + [f"median (Q1{EN_DASH}Q3)"] * ("median" in shown)
        notes.append(f"Numbers are {' or '.join(parts)}" + (", or n (%)." if "count" in shown else "."))
    notes.append(comparison.rule)
    missing = [
        f"{item.label} {sum(g.missing for g in item.groups)}"
        for item in comparison.variables
        if sum(g.missing for g in item.groups)
    ]
    if missing:
        notes.append(f"Missing values: {', '.join(missing)}.")
    empty = [
        f"{item.label} ({', '.join(levels)})"
        for item in comparison.variables
        if item.show == "count" and len(item.groups[0].counts or {}) > 2 and (levels := _empty_levels(item))
    ]
    if empty:
        notes.append(f"Levels without a patient are not shown: {'; '.join(empty)}.")
    untested = [f"{item.label} ({item.reason})" for item in comparison.variables if item.test is None and item.reason]
    if untested:
        notes.append(f"Not tested: {'; '.join(untested)}.")
    if smd:
        notes.append("SMD, standardized mean difference; above 0.1 is often taken as a difference that matters.")
    return notes
