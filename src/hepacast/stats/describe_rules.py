"""How Table 1 treats a column: its kind, its test, and how its numbers are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from hepacast.errors import TableError
from hepacast.stats.contingency import chi_square
from hepacast.stats.design import Array, is_categorical
from hepacast.stats.effects import smd, smd_categorical
from hepacast.stats.fisher_exact import fisher_exact
from hepacast.stats.normality import MAX_N, shapiro
from hepacast.stats.results import TestResult
from hepacast.stats.tests import anova, kruskal, mann_whitney, t_test

KINDS = ("numeric", "binary", "categorical")
#: Shapiro-Wilk's P above which a group counts as normal.
NORMALITY = 0.05

#: Types of quartiles (Hyndman & Fan, Am Stat 1996;50:361) and who computes them so.
QUARTILE_TYPES = {7: "of type 7, as R", 6: "of type 6, as SPSS"}


def rule_text(*, n_groups: int, alpha: float, equal_var: bool, yates: bool, quartiles: int) -> str:
    """The footnote of Table 1: what was printed and which tests ran, as they were asked for."""
    middle = f"median (first to third quartile, {QUARTILE_TYPES[quartiles]})"
    normal = f"when Shapiro-Wilk's P exceeds {f'{alpha:g}'.removeprefix('0')} in every group"
    if n_groups < 2:
        return (
            f"Numbers: mean ± SD {normal}, otherwise {middle}. Categories: n (%) of the patients with a value. "
            "Missing values are counted and left out."
        )
    if n_groups == 2:
        means, ranks = ("Student's t test" if equal_var else "Welch's t test"), "the Mann-Whitney test"
    else:
        means, ranks = ("ANOVA with equal variances" if equal_var else "Welch's ANOVA"), "the Kruskal-Wallis test"
    return (
        f"Numbers: mean ± SD and {means} {normal}, otherwise {middle} and {ranks}. Categories: n (%) of the patients "
        f"with a value, and Pearson's chi-square test{' (2 x 2 tables with Yates correction)' if yates else ''}, or "
        "Fisher's exact test when more than a fifth of the expected counts are below 5 or one is below 1. SMD: "
        f"standardized mean difference{'' if n_groups == 2 else ' (mean of all pairs)'}. Missing values are counted "
        "and left out."
    )


@dataclass(frozen=True)
class VariableSpec:
    """What a column is: kind, label, unit, levels in order, and the decimals to print (None: from the numbers)."""

    name: str
    kind: str
    label: str
    unit: str = ""
    levels: tuple[str, ...] = ()
    digits: int | None = None


def column_specs(
    frame: pd.DataFrame, specs: Mapping[str, Any] | Sequence[Mapping[str, Any] | str] | None, skip: str | None
) -> list[VariableSpec]:
    """Specs of the columns to describe; what is not said is taken from the data.

    `specs` is a list of mappings with `name` and optionally kind, label, unit, levels, digits; a mapping from name to
    such a mapping (or to a kind); or None for all columns.
    """
    if specs is None:
        given: list[dict[str, Any]] = [{"name": str(name)} for name in frame.columns if name != skip]
    elif isinstance(specs, Mapping):
        given = [
            {"name": name, **(dict(value) if isinstance(value, Mapping) else {"kind": value})}
            for name, value in specs.items()
        ]
    else:
        given = [{"name": item} if isinstance(item, str) else dict(item) for item in specs]
    result = []
    for item in given:
        name = item["name"]
        if name not in frame.columns:
            raise TableError(
                "A column to describe is not in the table.",
                expected=", ".join(str(column) for column in frame.columns[:20]),
                found=str(name),
            )
        kind = item.get("kind") or guess_kind(frame[name])
        if kind not in KINDS:
            raise TableError("Unknown kind of column.", expected=", ".join(KINDS), found=str(kind), where=str(name))
        levels = tuple(level_text(level) for level in item.get("levels") or ()) or observed_levels(frame[name], kind)
        label, unit = str(item.get("label") or name), str(item.get("unit") or "")
        result.append(VariableSpec(str(name), kind, label, unit, levels, item.get("digits")))
    return result


def guess_kind(column: pd.Series) -> str:
    """`binary` for two texts or 0/1, `categorical` for other text or up to five whole numbers, else `numeric`."""
    values = column.dropna()
    distinct = values.unique()
    if is_categorical(column):
        return "binary" if len(distinct) == 2 else "categorical"
    if set(distinct) <= {0, 1}:
        return "binary"
    whole = bool((values == np.rint(values)).all())
    return "categorical" if whole and len(distinct) <= 5 else "numeric"


def level_text(value: Any) -> str:
    """A level as text; whole numbers without decimals, so that 1, 1.0 and "1" are one level."""
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    return str(value)


def observed_levels(column: pd.Series, kind: str) -> tuple[str, ...]:
    """Levels in the order of the categories or of the values; empty for numbers."""
    if kind == "numeric":
        return ()
    if isinstance(column.dtype, pd.CategoricalDtype):
        return tuple(level_text(level) for level in column.cat.categories if (column == level).any())
    return tuple(dict.fromkeys(level_text(value) for value in sorted(column.dropna().unique(), key=_order)))


def _order(value: Any) -> tuple[int, Any]:
    return (0, float(value)) if isinstance(value, int | float | np.number | np.bool_) else (1, str(value))


def is_normal(groups: Sequence[Array], alpha: float) -> bool:
    """Whether every group passes: Shapiro-Wilk's P > alpha; beyond 5000 values, where every P is small, the shape.

    Shape: absolute skewness below 1 and absolute excess kurtosis below 3.
    """
    from scipy.stats import kurtosis, skew

    for group in groups:
        if group.size > MAX_N:
            if abs(skew(group)) >= 1 or abs(kurtosis(group)) >= 3:
                return False
        elif not shapiro(group).p > alpha:
            return False
    return True


def numeric_test(groups: Sequence[Array], normal: bool, equal_var: bool) -> TestResult:
    """The test of a numeric column."""
    if len(groups) == 2:
        return t_test(*groups, equal_var=equal_var) if normal else mann_whitney(*groups)
    return anova(groups, equal_var=equal_var) if normal else kruskal(groups)


def categorical_test(table: Array, yates: bool) -> TestResult:
    """Chi-square, or Fisher's exact test where the expected counts are small."""
    result = chi_square(table, yates=yates)
    if result.ok and (result.expected_below_5 > 0.2 * result.cells or result.expected_min < 1):
        exact = fisher_exact(table)
        if exact.ok:
            return exact
    return result


def mean_smd_numeric(groups: Sequence[Array]) -> float:
    """SMD of two groups, or the mean absolute SMD of all pairs."""
    if len(groups) == 2:
        return smd(*groups)
    values = [abs(smd(a, b)) for a, b in combinations(groups, 2)]
    return float(np.mean(values)) if values else float("nan")


def smd_reason(groups: Sequence[Array]) -> str:
    """Why the SMD of a numeric column is not defined."""
    if len(groups) < 2:
        return "there are no groups to compare"
    if min(np.isfinite(group).sum() for group in groups) < 2:
        return "a group has fewer than two values"
    return "no spread within the groups"


def smd_categorical_reason(table: Array) -> str:
    """Why the SMD of a categorical column is not defined."""
    if table.ndim != 2 or table.shape[1] < 2:
        return "there are no groups to compare"
    if not table.size or (table.sum(axis=0) == 0).any():
        return "a group has no value"
    return "the groups share no level, or a level fills a whole group"


def mean_smd_categorical(table: Array) -> float:
    """As `mean_smd_numeric`, for levels in rows and groups in columns."""
    values = [smd_categorical(table[:, [i, j]]) for i, j in combinations(range(table.shape[1]), 2)]
    return float(np.mean(values)) if values else float("nan")
