"""A table in, columns out: scores of every patient, with a reason wherever one cannot be computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from hepacast.cohort.columns import ColumnSpec, nearest
from hepacast.cohort.quantities import Measurement, get_quantity, unit_factor
from hepacast.cohort.scores.base import (
    SCORES,
    Score,
    ScoreInput,
    compute_score,
    get_score,
    parse_inputs,
    possible_grades,
)
from hepacast.cohort.tables import ClinicalTable
from hepacast.errors import HepacastError, StudyFileError


def score_table(table: ClinicalTable, names: Sequence[str], columns: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Compute scores for every patient.

    Parameters
    ----------
    table
        The clinical table; units come from its columns.
    names
        Scores.
    columns
        Input -> column of the study, where their names differ. Otherwise an input takes the column of its own name,
        or the one column of its quantity.

    Returns
    -------
    DataFrame
        For each score three columns: ``NAME`` (float), ``NAME_grade`` and ``NAME_reason``. Where an input is missing
        the value is NaN and the reason says which; where the missing inputs cannot change the stage, the stage is
        given and the reason says what it was decided without.

    Raises
    ------
    StudyFileError
        An unknown score, or `columns` names an input or a column that does not exist.
    """
    mapping = dict(columns or {})
    scores = [get_score(name) for name in names]
    known = {item.name for score in scores for item in score.inputs}
    for name, column in mapping.items():
        if name not in known:
            raise StudyFileError(
                f"No chosen score has the input {name!r}.", expected=", ".join(sorted(known)),
                remedy=nearest(name, sorted(known)) or None,
            )  # fmt: skip
        table.spec(column)
    result: dict[str, list[Any]] = {}
    for score in scores:
        found = {item.name: _column_for(item, table, mapping) for item in score.inputs}
        rows = [_one(score, table, found, patient) for patient in table.patients]
        for place, suffix in enumerate(("", "_grade", "_reason")):
            result[score.name + suffix] = [row[place] for row in rows]
    return pd.DataFrame(result, index=table.frame.index)


def _column_for(item: ScoreInput, table: ClinicalTable, mapping: Mapping[str, str]) -> ColumnSpec | None:
    if item.name in mapping:
        return table.spec(mapping[item.name])
    for spec in table.specs:
        if spec.name == item.name:
            return spec
    alike = [spec for spec in table.specs if item.quantity and spec.quantity == item.quantity]
    # Two AST columns (before and after) must be told apart by name, so only a lone one is taken.
    return alike[0] if len(alike) == 1 and item.name == item.quantity else None


def _one(
    score: Score, table: ClinicalTable, found: Mapping[str, ColumnSpec | None], patient: str
) -> tuple[float, str, str]:
    values: dict[str, Any] = {}
    for name, spec in found.items():
        value = _value(score.input(name), spec, table.frame.at[patient, spec.name]) if spec is not None else None
        if value is not None:
            values[name] = value
    try:
        _, lacking = parse_inputs(score, values)
        if not lacking:
            result = compute_score(score.name, values)
            return result.value, result.grade, ""
        return _without(score, values, lacking)
    except HepacastError as problem:
        return np.nan, "", problem.message


def _without(score: Score, values: Mapping[str, Any], lacking: Sequence[str]) -> tuple[float, str, str]:
    """The stage when the missing inputs cannot change it, else NaN with the reason."""
    if all(score.input(name).probes for name in lacking):
        grades = possible_grades(score.name, values)
        if len(grades) == 1:
            grade = grades.pop()
            value = float(score.ordered.index(grade)) if score.ordered else np.nan
            return value, grade, f"decided without: {', '.join(lacking)}"
    return np.nan, "", f"missing: {', '.join(lacking)}"


def _value(item: ScoreInput, spec: ColumnSpec, cell: Any) -> Any:
    if cell is None or pd.isna(cell):
        return None
    if item.kind == "quantity":
        known = get_quantity(item.quantity)
        factor = unit_factor(spec.unit, known) if spec.unit else 1.0
        unit = spec.unit or known.unit
        return Measurement(known.name, float(cell) * factor, known.unit, float(cell), unit)
    if spec.kind == "binary":
        level = spec.level_names[int(cell)]
        return level if item.kind == "choice" else bool(cell)
    return float(cell) if isinstance(cell, int | float) and item.kind == "count" else cell


def usable(table: ClinicalTable, columns: Mapping[str, str] | None = None) -> list[str]:
    """Names of the scores whose inputs all have a column in the table."""
    mapping = dict(columns or {})
    return [
        name
        for name, score in SCORES.items()
        if all(item.default is not None or _column_for(item, table, mapping) for item in score.inputs)
    ]
