"""Table 1: patients described by group, with the test chosen by a stated rule, its P value and the SMD."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hepacast.core.p_values import p_text
from hepacast.errors import TableError
from hepacast.stats.describe_rules import (
    NORMALITY,
    ColumnSpec,
    categorical_test,
    column_specs,
    decimals,
    is_normal,
    level_text,
    mean_smd_categorical,
    mean_smd_numeric,
    numeric_test,
    observed_levels,
    rule_text,
    smd_categorical_reason,
    smd_reason,
)
from hepacast.stats.effects import number_text
from hepacast.stats.results import TestResult, impossible

OVERALL = "Overall"
#: What a cell may show of a numeric column.
_PRINTED = ("mean", "sd", "median", "q1", "q3")
QUARTILES = {7: "linear", 6: "weibull"}
"""NumPy's names of the quantile types."""


@dataclass(frozen=True)
class Row:
    """One variable of the table: its cells as text and as numbers.

    Attributes
    ----------
    lines
        (text at the left, cells by group) a printed line; the first carries P, test and SMD.
    numbers
        By group: n, missing, and mean, sd, median, q1, q3, min, max, or counts by level.
    """

    spec: ColumnSpec
    lines: tuple[tuple[str, tuple[str, ...]], ...]
    numbers: dict[str, dict[str, Any]]
    missing: int
    normal: bool | None
    test: TestResult | None
    smd: float
    smd_reason: str = ""


@dataclass(frozen=True)
class TableOne:
    """A description of patients, overall and by group.

    Attributes
    ----------
    by
        Name of the grouping column, or None.
    groups
        Group labels in order; the first column of the table is "Overall".
    sizes
        Patients by group (with "Overall").
    rows
        One `Row` a variable.
    rule
        How tests and summaries were chosen, as a sentence for the footnote.
    excluded
        Patients left out because their group is missing.
    """

    by: str | None
    groups: tuple[str, ...]
    sizes: dict[str, int]
    rows: tuple[Row, ...]
    rule: str
    excluded: int = 0
    notes: tuple[str, ...] = field(default=())

    def to_frame(self) -> pd.DataFrame:
        """The table as text, ready to be written: one line a variable or level."""
        heads = [f"{name} (n = {self.sizes[name]})" for name in self._columns]
        records = []
        for row in self.rows:
            for index, (label, cells) in enumerate(row.lines):
                record = {"Variable": label, **dict(zip(heads, cells))}
                first = index == 0
                record["Missing"] = str(row.missing) if first else ""
                if len(self.groups) > 1:
                    record["P"] = p_text(row.test.p) if first and row.test is not None else ""
                    record["Test"] = _test_text(row.test) if first else ""
                    record["SMD"] = f"{abs(row.smd):.3f}" if first and not np.isnan(row.smd) else ""
                records.append(record)
        return pd.DataFrame(records)

    @property
    def _columns(self) -> tuple[str, ...]:
        return (OVERALL, *self.groups) if len(self.groups) > 1 else (OVERALL,)

    def to_json(self) -> dict[str, Any]:
        """Every number behind the table."""
        return {
            "by": self.by,
            "groups": list(self.groups),
            "sizes": self.sizes,
            "excluded": self.excluded,
            "rule": self.rule,
            "notes": list(self.notes),
            "variables": {
                row.spec.name: {
                    "label": row.spec.label,
                    "unit": row.spec.unit,
                    "kind": row.spec.kind,
                    "missing": row.missing,
                    "normal": row.normal,
                    "smd": row.smd,
                    **({"smd_reason": row.smd_reason} if np.isnan(row.smd) else {}),
                    "groups": row.numbers,
                    **(row.test.to_json() if row.test is not None else {}),
                }
                for row in self.rows
            },
        }

    def _repr_html_(self) -> str:
        notes = "".join(f"<p><small>{note}</small></p>" for note in (self.rule, *self.notes))
        return self.to_frame().to_html(index=False, border=0) + notes

    def __repr__(self) -> str:
        return self.to_frame().to_string(index=False)


def _test_text(test: TestResult | None) -> str:
    if test is None:
        return ""
    return test.name if test.ok else f"none: {test.reason}"


def describe(
    frame: pd.DataFrame,
    by: str | pd.Series | None = None,
    specs: Mapping[str, Any] | Sequence[Mapping[str, Any] | str] | None = None,
    *,
    alpha: float = NORMALITY,
    equal_var: bool = False,
    yates: bool = False,
    quartiles: int = 7,
) -> TableOne:
    """Describe patients, overall and by group.

    Parameters
    ----------
    frame
        One row a patient.
    by
        Grouping column (name, or a Series with the same index); patients whose group is missing are counted and left
        out. None describes all patients without tests.
    specs
        Which columns, and what they are: a list of mappings (`name`, `kind` = numeric, binary or categorical,
        `label`, `unit`, `levels`, `digits`), a mapping by name, or None for all columns with guessed kinds.
        A binary column prints its last level only.
    alpha
        Shapiro-Wilk's P above which a group counts as normal.
    equal_var
        Student's t and Fisher's ANOVA instead of Welch's.
    yates
        Continuity correction of 2 x 2 chi-square tests.
    quartiles
        Hyndman and Fan's type: 7 (R, NumPy) or 6 (SPSS).

    Raises
    ------
    TableError
        A column does not exist, is not numeric where it should be, or no patient has a group.
    """
    if quartiles not in QUARTILES:
        raise TableError("Unknown type of quartiles.", expected="7 (R) or 6 (SPSS)", found=str(quartiles))
    group_name, labels = _grouping(frame, by)
    kept = labels.notna().to_numpy()
    if not kept.any():
        raise TableError("No patient has a value in the grouping column.", where=str(group_name))
    used, labels = frame.loc[kept], labels[kept]
    groups = observed_levels(labels, "categorical")
    text = labels.map(level_text).to_numpy()
    members = {OVERALL: np.ones(len(used), dtype=bool), **{group: text == group for group in groups}}
    rows = []
    for spec in column_specs(used, specs, group_name):
        if spec.kind == "numeric":
            rows.append(_numeric_row(used[spec.name], spec, members, groups, alpha, equal_var, QUARTILES[quartiles]))
        else:
            rows.append(_categorical_row(used[spec.name], spec, members, groups, yates))
    return TableOne(
        by=group_name,
        groups=groups if by is not None else (),
        sizes={name: int(mask.sum()) for name, mask in members.items()},
        rows=tuple(rows),
        rule=rule_text(n_groups=len(groups), alpha=alpha, equal_var=equal_var, yates=yates, quartiles=quartiles),
        excluded=int((~kept).sum()),
    )


def _grouping(frame: pd.DataFrame, by: str | pd.Series | None) -> tuple[str | None, pd.Series]:
    if by is None:
        return None, pd.Series([OVERALL] * len(frame), index=frame.index)
    if isinstance(by, pd.Series):
        return str(by.name or "group"), by.reindex(frame.index)
    if by not in frame.columns:
        raise TableError(
            "The grouping column is not in the table.",
            expected=", ".join(str(column) for column in frame.columns[:20]),
            found=str(by),
        )
    return by, frame[by]


def _numeric_row(
    column: pd.Series,
    spec: ColumnSpec,
    members: Mapping[str, NDArray[np.bool_]],
    groups: Sequence[str],
    alpha: float,
    equal_var: bool,
    quartiles: str,
) -> Row:
    values = pd.to_numeric(column, errors="coerce").to_numpy(dtype=float)
    unreadable = np.isnan(values) & column.notna().to_numpy()
    if unreadable.any():
        raise TableError(
            "A numeric column holds text.",
            expected="numbers",
            found=", ".join(sorted({repr(value) for value in column[unreadable]})[:3]),
            where=f"column {spec.name}, {int(unreadable.sum())} patients",
        )
    if np.isinf(values).any():
        raise TableError("A numeric column holds infinite values.", where=f"column {spec.name}")
    present = ~np.isnan(values)
    samples = {name: values[mask & present] for name, mask in members.items()}
    by_group = [samples[group] for group in groups]
    normal = is_normal(by_group, alpha)
    places = decimals(samples[OVERALL], spec.digits)
    numbers, cells = {}, []
    for name, sample in samples.items():
        summary = _summary(sample, quartiles)
        numbers[name] = {**summary, "missing": int(members[name].sum() - sample.size)}
        cells.append(_numeric_cell(summary, normal, places))
    several = len(groups) > 1
    label = spec.label + (f", {spec.unit}" if spec.unit else "")
    return Row(
        spec=spec,
        lines=((label + (", mean ± SD" if normal else ", median (IQR)"), tuple(cells if several else cells[:1])),),
        numbers=numbers,
        missing=int((~present).sum()),
        normal=normal,
        test=numeric_test(by_group, normal, equal_var) if several else None,
        smd=mean_smd_numeric(by_group) if several else float("nan"),
        smd_reason=smd_reason(by_group),
    )


def _summary(sample: NDArray[np.float64], quartiles: str) -> dict[str, Any]:
    if sample.size == 0:
        return {"n": 0} | dict.fromkeys(("mean", "sd", "median", "q1", "q3", "min", "max"), float("nan"))
    q1, median, q3 = np.quantile(sample, [0.25, 0.5, 0.75], method=quartiles)  # type: ignore[call-overload]
    return {
        "n": int(sample.size),
        "mean": float(sample.mean()),
        "sd": float(sample.std(ddof=1)) if sample.size > 1 else float("nan"),
        "median": float(median),
        "q1": float(q1),
        "q3": float(q3),
        "min": float(sample.min()),
        "max": float(sample.max()),
    }


def _numeric_cell(summary: Mapping[str, Any], normal: bool, places: int | None) -> str:
    if summary["n"] == 0:
        return "–"
    shown = {name: "–" if np.isnan(summary[name]) else number_text(summary[name], places) for name in _PRINTED}
    if normal:
        return f"{shown['mean']} ± {shown['sd']}"
    return f"{shown['median']} ({shown['q1']}–{shown['q3']})"


def _categorical_row(
    column: pd.Series,
    spec: ColumnSpec,
    members: Mapping[str, NDArray[np.bool_]],
    groups: Sequence[str],
    yates: bool,
) -> Row:
    present = column.notna().to_numpy()
    text = np.array([level_text(value) if known else "" for value, known in zip(column, present)], dtype=object)
    unknown = sorted(set(text[present]) - set(spec.levels))
    if unknown:
        raise TableError(
            "A category is not among the column's levels.",
            expected=", ".join(spec.levels),
            found=", ".join(unknown[:5]),
            where=f"column {spec.name}",
        )
    counts = {
        name: {level: int((mask & present & (text == level)).sum()) for level in spec.levels}
        for name, mask in members.items()
    }
    several = len(groups) > 1
    table = np.array([[counts[group][level] for group in groups] for level in spec.levels], dtype=float)
    test: TestResult | None = None
    if several:
        test = categorical_test(table, yates) if table.size else impossible("chi-square", "no patient has a value")
    return Row(
        spec=spec,
        lines=_categorical_lines(spec, counts, several),
        numbers={
            name: {
                "n": sum(levels.values()),
                "missing": int(members[name].sum()) - sum(levels.values()),
                "counts": levels,
            }
            for name, levels in counts.items()
        },
        missing=int((~present).sum()),
        normal=None,
        test=test,
        smd=mean_smd_categorical(table) if several and table.size else float("nan"),
        smd_reason=smd_categorical_reason(table),
    )


def _categorical_lines(
    spec: ColumnSpec, counts: Mapping[str, Mapping[str, int]], several: bool
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    shown = list(counts) if several else [OVERALL]

    def cell(name: str, level: str) -> str:
        total = sum(counts[name].values())
        return f"{counts[name][level]} ({100 * counts[name][level] / total:.1f}%)" if total else "–"

    if spec.kind == "binary" and len(spec.levels) <= 2 and spec.levels:
        level = spec.levels[-1]
        label = spec.label if level in ("1", "yes") else f"{spec.label}: {level}"
        return ((f"{label}, n (%)", tuple(cell(name, level) for name in shown)),)
    head = (f"{spec.label}, n (%)", tuple("" for _ in shown))
    return (head, *((f"    {level}", tuple(cell(name, level) for name in shown)) for level in spec.levels))
