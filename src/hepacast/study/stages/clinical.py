"""The clinical table as the study file describes it: its columns, read and typed, tables of several sources stacked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from hepacast.cohort import ColumnSpec, read_table
from hepacast.cohort.headers import find_header
from hepacast.cohort.matching import nearest_headers
from hepacast.cohort.stacking import stack_tables
from hepacast.cohort.tables import ClinicalTable
from hepacast.errors import HepacastError, StudyFileError
from hepacast.study.context import Context
from hepacast.study.schema import Column


def column_specs(context: Context) -> list[ColumnSpec]:
    """The study's columns as the cohort room describes them.

    Raises
    ------
    StudyFileError
        A candidate is no column of the study, or is known only after the event or is part of the outcome; or a
        column is not described well.
    """
    for problem in candidate_problems(context):
        raise problem
    specs, problems = describe_columns(context)
    for wrong in problems.values():
        raise wrong
    return specs


def candidate_problems(context: Context) -> list[StudyFileError]:
    """One error for each candidate that is no column of the study, or would let the model see the outcome."""
    columns, parts = context.study.cohort.columns, outcome_parts(context)
    problems = []
    for name in context.study.modelling.candidates:
        if name not in columns:
            problems.append(
                StudyFileError(
                    f"The candidate {name!r} is no column of the study.",
                    expected="a name under cohort.columns: " + ", ".join(columns),
                    where="modelling.candidates",
                )
            )
        elif name in parts or columns[name].after_event:
            problems.append(
                StudyFileError(
                    f"The candidate {name!r} would let the model see the outcome.",
                    expected="predictors that are known before the event",
                    found="it is part of the outcome" if name in parts else "it is marked after_event",
                    where="modelling.candidates",
                    remedy="take it out of the candidates",
                )
            )
    return problems


def column_problems(context: Context, headers: Iterable[str]) -> list[StudyFileError]:
    """One error for each place of the study file that names a column which neither the study nor the table has.

    Parameters
    ----------
    headers
        Of the table: the outcome, the follow-up and the center may be named by them.
    """
    study, known = context.study, list(context.study.cohort.columns)
    places = [(f"outcome.columns.{part}", name, True) for part, name in study.outcome.columns.items()]
    places += [("evaluation.subgroups", name, False) for name in study.evaluation.subgroups or ()]
    if study.survival is not None:
        places += [("survival.time", study.survival.time, True), ("survival.event", study.survival.event, True)]
    if study.deep is not None:
        places += [("deep.adjust", name, False) for name in study.deep.adjust]
        places += [("deep.network.covariates", name, False) for name in study.deep.network.covariates]
    if study.biomarkers is not None:
        places += [(f"biomarkers.{key}", name, False) for key, name in study.biomarkers.columns.items()]
    if study.indexes is not None:
        places += [(f"indexes.columns.{key}", name, False) for key, name in study.indexes.columns.items()]
    problems = []
    for where, name, also_headers in places:
        names = [*known, *headers] if also_headers else known
        if name not in names and not (also_headers and find_header(list(headers), [name])):
            near = nearest_headers([name], names)
            problems.append(
                StudyFileError(
                    f"{where} names the column {name!r}, which the study does not have.",
                    expected="a name under cohort.columns: " + ", ".join(known),
                    where=where,
                    remedy=f"did you mean {' or '.join(map(repr, near))}?" if near else None,
                )
            )
    return problems


def outcome_parts(context: Context) -> set[str]:
    """The study's columns that the outcome is made of."""
    outcome = context.study.outcome
    parts = set(outcome.columns.values())
    if outcome.column in context.study.cohort.columns:
        parts.add(str(outcome.column))
    return parts


def describe_columns(context: Context) -> tuple[list[ColumnSpec], dict[str, HepacastError]]:
    """The study's columns that are described well, and what is wrong with the description of the others."""
    parts, candidates = outcome_parts(context), set(context.study.modelling.candidates)
    specs: list[ColumnSpec] = []
    problems: dict[str, HepacastError] = {}
    for name, column in context.study.cohort.columns.items():
        try:
            specs.append(column_spec(name, column, name in candidates, name in parts))
        except HepacastError as error:
            problems[name] = error
    return specs, problems


def column_spec(name: str, column: Column, candidate: bool, outcome: bool) -> ColumnSpec:
    """One column of the study file as the cohort room describes it; a candidate, or a part of the outcome."""
    source = [column.column] if isinstance(column.column, str) else list(column.column or ())
    role = "candidate" if candidate else "outcome" if outcome else "covariate"
    return ColumnSpec(
        name=name,
        source=tuple(source) or (name,),
        kind=column.kind,
        label=column.label or "",
        quantity=column.quantity or "",
        unit=column.unit or "",
        source_unit=column.unit or "",
        levels={level: tuple(str(word) for word in words) for level, words in (column.levels or {}).items()},
        plausible=column.plausible,
        role=role,  # type: ignore[arg-type]
        after_event=column.after_event or outcome,
        sheet=column.sheet or "",
        date_format=column.date_format or "",
        accept=tuple(column.accept),
    )


def load_table(
    context: Context, *, absent: Literal["raise", "report"] = "raise", id_column: str | None = None
) -> ClinicalTable:
    """Read the clinical table as the study file describes it, patients in the order of their identifiers.

    The order of the table's rows is chance; sums of the same numbers in another order differ in their last digits.

    Parameters
    ----------
    absent
        Whether columns without a header raise, or are reported beside everything else that is found.
    id_column
        Header of the identifier, where not that of the study file.

    Raises
    ------
    TableError
        The table cannot be read.
    """
    cohort = context.study.cohort
    named = [cohort.table, *cohort.stacked.values(), *([] if cohort.dictionary is None else [cohort.dictionary])]
    files = [file for file in map(context.path, named) if file.exists()]
    key = absent, id_column, *map(context.fingerprints.of, files)
    if key not in context.tables:
        context.tables[key] = _read_tables(context, absent, id_column)
    return context.tables[key]


def _read_tables(context: Context, absent: Literal["raise", "report"], id_column: str | None) -> ClinicalTable:
    cohort = context.study.cohort
    specs = column_specs(context) if absent == "raise" else describe_columns(context)[0]

    def read(path: str) -> ClinicalTable:
        return read_table(
            context.path(path),
            id_column=id_column or cohort.id,
            columns=specs,
            sheet=cohort.sheet,
            decimal=cohort.decimal,
            censored=cohort.below_detection,
            absent=absent,
            dictionary=None if cohort.dictionary is None else context.path(cohort.dictionary),
        )

    table = read(cohort.table)
    if cohort.stacked:
        table = stack_tables(table, {name: read(path) for name, path in cohort.stacked.items()})
    return table.select(sorted(table.patients))
