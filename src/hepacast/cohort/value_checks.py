"""Checks of values: impossible ones, units mixed up, dates out of order, what is missing, what never varies."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import pandas as pd

from hepacast.cohort.columns import ColumnSpec
from hepacast.cohort.findings import Finding, name_patients
from hepacast.cohort.quantities import Quantity, convert, get_quantity, unit_factor
from hepacast.cohort.tables import ClinicalTable

#: A column with fewer values says nothing about its median.
_MIN_FOR_MEDIAN = 8
_MUCH_MISSING = 0.2
_MANY_LEVELS = 12
_RARE_LEVEL = 5


def check_values(table: ClinicalTable) -> list[Finding]:
    """All checks of single columns: units, plausible ranges, missing and constant values, levels."""
    findings: list[Finding] = []
    for spec in table.specs:
        values = table.frame[spec.name]
        if spec.kind == "numeric":
            findings += _check_numbers(table, spec, values)
        findings += _check_filled(spec, values)
        findings += _check_levels(spec, values)
    return findings


def _check_numbers(table: ClinicalTable, spec: ColumnSpec, values: pd.Series) -> list[Finding]:
    known = values.dropna()
    if spec.quantity:
        whole = _whole_column(spec, known)
        if whole is not None:
            return [whole]
    if spec.plausible is None:
        return []
    low, high = spec.plausible
    return [
        Finding(
            "error",
            "impossible-value",
            impossible_message(spec, float(value), low, high),
            str(patient),
            table.row_of(str(patient)),
            spec.name,
        )
        for patient, value in known[(known < low) | (known > high)].items()
    ]


def _whole_column(spec: ColumnSpec, known: pd.Series) -> Finding | None:
    """A finding when the column as a whole is in another unit, or holds codes."""
    quantity = get_quantity(spec.quantity)
    if len(known) < _MIN_FOR_MEDIAN or quantity.cohort_median is None:
        return None
    median = float(known.median()) * unit_factor(spec.unit, quantity)
    low, high = quantity.cohort_median
    if low <= median <= high:
        return None
    if known.nunique() <= 3 and (known == known.round()).all():
        codes = ", ".join(f"{value:g}" for value in sorted(known.unique()))
        message = (
            f"the column holds only {codes}: codes, not {quantity.label} in {spec.unit or 'its own unit'}. "
            "Describe it with `kind: categorical` (or binary), or `quantity: none`"
        )
        return Finding("error", "coded-values", message, column=spec.name)
    unit = _other_unit(spec, quantity, float(known.median()), quantity.cohort_median)
    if unit is None:
        return None
    factor = convert(1.0, unit, spec.unit, quantity.name)
    message = (
        f"the whole column looks like {unit or 'a number without unit'}: its median is {known.median():g}, the study "
        f"file says {spec.unit or 'no unit'}, in which {low_high(quantity, spec.unit)} would be usual "
        f"(factor {factor:g}). Correct the column's `unit:`"
    )
    return Finding("error", "unit-mix-up", message, column=spec.name)


def low_high(quantity: Quantity, unit: str) -> str:
    """The usual range of a cohort's median, in `unit`."""
    low, high = quantity.cohort_median or quantity.plausible
    return (
        f"{convert(low, quantity.unit, unit, quantity.name):g} to {convert(high, quantity.unit, unit, quantity.name):g}"
    )


def _other_unit(
    spec: ColumnSpec,
    quantity: Quantity,
    value: float,
    span: tuple[float, float],
    limits: tuple[float, float] | None = None,
) -> str | None:
    """The unit in which `value` would be most usual, if it would then be within `limits` (canonical unit)."""
    low, high = limits or span
    center = math.sqrt(max(span[0], 1e-6) * span[1])
    best, distance = None, math.inf
    for unit in (quantity.unit, *quantity.units):
        if unit_factor(unit, quantity) == unit_factor(spec.unit, quantity):
            continue
        canonical = value * unit_factor(unit, quantity)
        if low <= canonical <= high and abs(math.log(canonical / center)) < distance:
            best, distance = unit, abs(math.log(canonical / center))
    return best


def impossible_message(spec: ColumnSpec, value: float, low: float, high: float) -> str:
    """What to say of a value outside its range: the unit or quantity that it probably is, where one fits."""
    message = f"{value:g} {spec.unit}".rstrip() + f" is not possible ({low:g} to {high:g})"
    if not spec.quantity:
        return message
    quantity = get_quantity(spec.quantity)
    canonical = value * unit_factor(spec.unit, quantity)
    for lowest, highest, text in quantity.hints:
        if lowest <= canonical <= highest:
            return f"{message}; it looks like {text}"
    usual = quantity.cohort_median or quantity.plausible
    unit = _other_unit(spec, quantity, value, usual, quantity.plausible) if value > 0 else None
    if unit is None:
        return message
    converted = convert(value, unit, spec.unit, quantity.name)
    factor = convert(1.0, unit, spec.unit, quantity.name)
    return (
        f"{message}; it looks like {unit or 'a number without unit'} ({value:g} {unit} = {converted:g} {spec.unit}, "
        f"factor {factor:g}); the study file says {spec.unit or 'no unit'}"
    )


def _check_filled(spec: ColumnSpec, values: pd.Series) -> list[Finding]:
    missing = int(values.isna().sum())
    if missing == len(values):
        return [Finding("error", "all-missing", "the column has no value at all", column=spec.name)]
    findings = []
    if missing:
        share = missing / len(values)
        severity = "warning" if share > _MUCH_MISSING and spec.role == "candidate" else "note"
        who = name_patients([str(patient) for patient in values.index[values.isna()]])
        message = f"{missing} of {len(values)} values are missing ({share:.0%}): {who}"
        findings.append(Finding(severity, "missing-values", message, column=spec.name))  # type: ignore[arg-type]
    if values.nunique(dropna=True) == 1 and len(values) > 1:
        severity = "warning" if spec.role == "candidate" else "note"
        only = values.dropna().iloc[0]
        message = f"every patient has the same value, {_shown(spec, only)}: it cannot tell patients apart"
        findings.append(Finding(severity, "constant-column", message, column=spec.name))  # type: ignore[arg-type]
    return findings


def _shown(spec: ColumnSpec, value: object) -> str:
    if spec.kind == "binary":
        return repr(spec.level_names[int(float(str(value)))])
    return f"{value:g}" if isinstance(value, float) else repr(value)


def _check_levels(spec: ColumnSpec, values: pd.Series) -> list[Finding]:
    if spec.kind not in ("binary", "categorical") or spec.role != "candidate":
        return []
    counts = values.value_counts()
    if spec.kind == "binary":
        counts.index = pd.Index([spec.level_names[int(code)] for code in counts.index])
    if len(counts) > _MANY_LEVELS:
        message = f"{len(counts)} levels are too many for one predictor; join some in the study file"
        return [Finding("warning", "many-levels", message, column=spec.name)]
    rare = [f"{level} ({count})" for level, count in counts.items() if count < _RARE_LEVEL]
    if not rare or len(counts) < 2:
        return []
    message = f"levels with fewer than {_RARE_LEVEL} patients: {', '.join(rare)}"
    return [Finding("note", "rare-level", message, column=spec.name)]


def check_dates(table: ClinicalTable, order: Sequence[str]) -> list[Finding]:
    """Dates that contradict the order in which things happen (``["imaging", "tace", "follow_up"]``).

    Parameters
    ----------
    order
        Date columns, the earliest first; each is compared with all later ones where both are known.
    """
    findings = []
    for place, first in enumerate(order):
        for second in order[place + 1 :]:
            before, after = table.frame[table.spec(first).name], table.frame[table.spec(second).name]
            for patient in table.frame.index[before > after]:
                message = f"{first} ({before[patient]:%Y-%m-%d}) is after {second} ({after[patient]:%Y-%m-%d})"
                row = table.row_of(str(patient))
                findings.append(Finding("error", "dates-out-of-order", message, str(patient), row, second))
    return findings


def blank_impossible(table: ClinicalTable, findings: Iterable[Finding]) -> tuple[ClinicalTable, list[Finding]]:
    """Make impossible values missing instead of stopping; each stays in the findings, as a warning."""
    frame = table.frame.copy()
    kept = []
    for item in findings:
        if item.code == "impossible-value" and item.severity == "error" and item.patient is not None and item.column:
            frame.loc[item.patient, item.column] = float("nan")
            item = replace(item, severity="warning", message=f"{item.message}; taken as missing")
        kept.append(item)
    return replace(table, frame=frame), kept
