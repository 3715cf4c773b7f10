"""Table 1: patients described by group, with the test chosen by a stated rule, its P value and the SMD."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hepacast.errors import TableError
from hepacast.stats.describe_rules import (
    NORMALITY,
    VariableSpec,
    categorical_test,
    column_specs,
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
from hepacast.stats.results import TestResult, impossible
from hepacast.stats.table_one import NAN, OVERALL, CategorySummary, DescribedVariable, NumericSummary, TableOne

QUARTILES = {7: "linear", 6: "weibull"}
"""NumPy's names of the quantile types."""
#: A number with so few values, each with so many patients on average, can be shown by value.
_FEW_VALUES, _ENOUGH = 4, 10


def describe(
    frame: pd.DataFrame,
    by: str | pd.Series | None = None,
    specs: Mapping[str, Any] | Sequence[Mapping[str, Any] | str] | None = None,
    *,
    alpha: float = NORMALITY,
    equal_var: bool = False,
    yates: bool = False,
    quartiles: int = 7,
    count_few: bool = False,
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
    count_few
        Show a score or a count that has hardly any values (performance status, tumors) by value: a median of 0
        (0 to 0) would say nothing of it.

    Raises
    ------
    TableError
        A column does not exist, is not numeric where it should be, or no patient has a group.
    """
    if quartiles not in QUARTILES:
        raise TableError("Unknown type of quartiles.", expected="7 (R) or 6 (SPSS)", found=str(quartiles))
    options: dict[str, Any] = {"alpha": alpha, "equal_var": equal_var, "yates": yates, "quartiles": quartiles}
    return _described(frame, by, specs, count_few, **options)


def _described(
    frame: pd.DataFrame,
    by: str | pd.Series | None,
    specs: Any,
    count_few: bool,
    *,
    alpha: float,
    equal_var: bool,
    yates: bool,
    quartiles: int,
) -> TableOne:
    group_name, labels = _grouping(frame, by)
    kept = labels.notna().to_numpy()
    if not kept.any():
        raise TableError("No patient has a value in the grouping column.", where=str(group_name))
    used, labels = frame.loc[kept], labels[kept]
    groups = observed_levels(labels, "categorical")
    text = labels.map(level_text).to_numpy()
    members = {OVERALL: np.ones(len(used), dtype=bool), **{group: text == group for group in groups}}
    variables = {}
    for spec in column_specs(used, specs, group_name):
        if spec.kind == "numeric":
            variables[spec.name] = _numeric(
                used[spec.name], spec, members, groups, alpha, equal_var, QUARTILES[quartiles], count_few
            )
        else:
            variables[spec.name] = _categorical(used[spec.name], spec, members, groups, yates)
    return TableOne(
        by=group_name,
        groups=groups if by is not None else (),
        sizes={name: int(mask.sum()) for name, mask in members.items()},
        variables=variables,
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


def _numeric(
    column: pd.Series,
    spec: VariableSpec,
    members: Mapping[str, NDArray[np.bool_]],
    groups: Sequence[str],
    alpha: float,
    equal_var: bool,
    quartiles: str,
    count_few: bool,
) -> DescribedVariable:
    values = _numbers(column, spec.name)
    present = ~np.isnan(values)
    samples = {name: values[mask & present] for name, mask in members.items()}
    few = _few_values(values[present]) if count_few else []
    by_group = [samples[group] for group in groups]
    normal = is_normal(by_group, alpha)
    several = len(groups) > 1
    difference = mean_smd_numeric(by_group) if several else NAN
    return DescribedVariable(
        label=spec.label,
        unit=spec.unit,
        kind="numeric",
        missing=int((~present).sum()),
        normal=normal,
        groups={
            name: _summary(sample, int(members[name].sum()) - sample.size, quartiles, few)
            for name, sample in samples.items()
        },
        smd=difference,
        smd_reason=smd_reason(by_group) if math.isnan(difference) else "",
        digits=spec.digits,
        **_tested(numeric_test(by_group, normal, equal_var) if several else None),
    )


def _numbers(column: pd.Series, name: str) -> NDArray[np.float64]:
    values: NDArray[np.float64] = pd.to_numeric(column, errors="coerce").to_numpy(dtype=float)
    unreadable = np.isnan(values) & column.notna().to_numpy()
    if unreadable.any():
        raise TableError(
            "A numeric column holds text.",
            expected="numbers",
            found=", ".join(sorted({repr(value) for value in column[unreadable]})[:3]),
            where=f"column {name}, {int(unreadable.sum())} patients",
        )
    if np.isinf(values).any():
        raise TableError("A numeric column holds infinite values.", where=f"column {name}")
    return values


def _few_values(values: NDArray[np.float64]) -> list[float]:
    """The values of a score or a count that has hardly any; none of other numbers."""
    found: list[float] = np.unique(values).tolist()
    whole = all(value == round(value) for value in found)
    return found if whole and 2 <= len(found) <= _FEW_VALUES and len(values) >= _ENOUGH * len(found) else []


def _summary(sample: NDArray[np.float64], missing: int, quartiles: str, few: Sequence[float]) -> NumericSummary:
    counts = {f"{value:g}": int((sample == value).sum()) for value in few} if few else None
    if sample.size == 0:
        return NumericSummary(0, missing, NAN, NAN, NAN, NAN, NAN, NAN, NAN, counts, "nobody has a value")
    q1, median, q3 = np.quantile(sample, [0.25, 0.5, 0.75], method=quartiles)  # type: ignore[call-overload]
    return NumericSummary(
        n=int(sample.size),
        missing=missing,
        mean=float(sample.mean()),
        sd=float(sample.std(ddof=1)) if sample.size > 1 else NAN,
        median=float(median),
        q1=float(q1),
        q3=float(q3),
        min=float(sample.min()),
        max=float(sample.max()),
        counts=counts,
        reason="" if sample.size > 1 else "one value has no spread",
    )


def _categorical(
    column: pd.Series,
    spec: VariableSpec,
    members: Mapping[str, NDArray[np.bool_]],
    groups: Sequence[str],
    yates: bool,
) -> DescribedVariable:
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
    difference = mean_smd_categorical(table) if several and table.size else NAN
    return DescribedVariable(
        label=spec.label,
        unit=spec.unit,
        kind="binary" if spec.kind == "binary" else "categorical",
        missing=int((~present).sum()),
        normal=None,
        groups={
            name: CategorySummary(sum(own.values()), int(members[name].sum()) - sum(own.values()), own)
            for name, own in counts.items()
        },
        smd=difference,
        smd_reason=smd_categorical_reason(table) if math.isnan(difference) else "",
        **_tested(test),
    )


def _tested(test: TestResult | None) -> dict[str, Any]:
    """The test of a variable as fields of its record."""
    if test is None:
        return {"reason": "there are no groups to compare"}
    return {
        "test": test.name, "statistic": test.statistic, "p": test.p, "df": test.df, "estimate": test.estimate,
        "ci": test.ci, "status": test.status, "reason": test.reason,
    }  # fmt: skip
