"""Stage 1, cohort: table, exclusions, outcome, sets, checks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from hepacast.cohort import (
    Cohort,
    ColumnSpec,
    Finding,
    Outcome,
    SurvivalOutcome,
    assemble_cohort,
    derive_outcome,
    find_excluded,
    raise_on_errors,
    read_patient_list,
    read_table,
    split_at_random,
    split_by_column,
    split_by_list,
    write_cohort,
)
from hepacast.cohort.checks import (
    blank_impossible,
    check_dates,
    check_identity,
    check_predictors,
    check_sample_size,
    check_values,
    count_parameters,
)
from hepacast.cohort.findings import accept
from hepacast.cohort.stacking import stack_tables
from hepacast.cohort.tables import ClinicalTable
from hepacast.compute.files import read_json, write_json
from hepacast.compute.seeds import derive_seed
from hepacast.errors import StudyFileError, TableError
from hepacast.study.context import Context
from hepacast.study.schema import Column, SplitAtRandom, SplitByColumn, SplitByList
from hepacast.study.stages.feature_table import read_feature_table


def column_specs(context: Context) -> list[ColumnSpec]:
    """The study's columns as the cohort room describes them.

    Raises
    ------
    StudyFileError
        A candidate is no column of the study, or is known only after the event or is part of the outcome.
    """
    study = context.study
    columns = dict(study.cohort.columns)
    parts = set(study.outcome.columns.values())
    if study.outcome.column in columns:
        parts.add(str(study.outcome.column))
    for name in study.modelling.candidates:
        if name not in columns:
            raise StudyFileError(
                f"The candidate {name!r} is no column of the study.",
                expected="a name under cohort.columns: " + ", ".join(columns),
                where="modelling.candidates",
            )
        if name in parts or columns[name].after_event:
            raise StudyFileError(
                f"The candidate {name!r} would let the model see the outcome.",
                expected="predictors that are known before the event",
                found="it is part of the outcome" if name in parts else "it is marked after_event",
                where="modelling.candidates",
                remedy="take it out of the candidates",
            )
    return [_spec(name, column, name in study.modelling.candidates, name in parts) for name, column in columns.items()]


def _spec(name: str, column: Column, candidate: bool, outcome: bool) -> ColumnSpec:
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


def load_table(context: Context) -> ClinicalTable:
    """Read the clinical table as the study file describes it, patients in the order of their identifiers.

    The order of the table's rows is chance; sums of the same numbers in another order differ in their last digits.
    """
    cohort = context.study.cohort

    def read(path: str) -> ClinicalTable:
        return read_table(
            context.path(path),
            id_column=cohort.id,
            columns=column_specs(context),
            sheet=cohort.sheet,
            decimal=cohort.decimal,
            censored=cohort.below_detection,
        )

    table = read(cohort.table)
    if cohort.stacked:
        table = stack_tables(table, {name: read(path) for name, path in cohort.stacked.items()})
    return table.select(sorted(table.patients))


def build_cohort(context: Context, *, strict: bool = True) -> Cohort:
    """Table, outcome, sets and flow of the study, checked.

    Parameters
    ----------
    strict
        Raise on errors in the table (unless the study file says ``findings: report``); `hepacast check` lists them.

    Raises
    ------
    TableError
        The table has errors.
    OutcomeError
        The outcome cannot be derived, or a set has one class.
    """
    study = context.study
    table = load_table(context)
    findings = [*table.findings, *_check_table(context, table)]
    if strict and study.cohort.findings == "stop":
        raise_on_errors(findings, where=study.cohort.table)
    if study.cohort.findings == "report":
        table, findings = blank_impossible(table, findings)
        raise_on_errors(findings, where=study.cohort.table)
    outcome = _outcome(context, table)
    cohort = assemble_cohort(
        table,
        outcome,
        exclusions=_exclusions(context, table, findings),
        split=_splitter(context, table),
        centers=table.values(study.cohort.center) if study.cohort.center else None,
        findings=findings,
        survival=_survival(context, table),
    )
    cohort = replace(cohort, findings=(*cohort.findings, *_check_cohort(context, cohort)))
    if strict and study.cohort.findings == "stop":
        raise_on_errors(cohort.findings, where=study.cohort.table)
    if study.outcome.unknown == "stop" and outcome.unknown:
        raise TableError(
            "The outcome of some patients cannot be told.",
            found="; ".join(f"{patient}: {why}" for patient, why in list(outcome.unknown.items())[:8]),
            remedy="complete the table, or set outcome.unknown: exclude",
        )
    example = study.report.example_patient
    if example is not None and example not in cohort.patients:
        raise StudyFileError(
            "The patient to be worked through on the nomogram is not in the study.",
            expected=f"one of {', '.join(cohort.patients[:5])}, ...",
            found=example,
            where="report.example_patient",
        )
    return cohort


def _outcome(context: Context, table: ClinicalTable) -> Outcome:
    item = context.study.outcome
    columns, options = dict(item.columns), dict(item.options)
    if item.definition == "binary-column":
        if item.column is None:
            raise StudyFileError("The outcome names no column.", expected="outcome.column", where="outcome")
        columns["column"] = item.column
        options |= {"positive_values": item.positive, "negative_values": item.negative}
    if item.definition == "survival":
        options |= {"unit": item.unit, "event_values": item.event_values, "competing_values": item.competing_values}
    if item.within_days is not None:
        options["within_days"] = item.within_days
    return derive_outcome(
        table,
        item.definition,
        columns,
        name=item.name or "",
        positive=item.positive_label or "",
        negative=item.negative_label or "",
        **options,
    )


def _survival(context: Context, table: ClinicalTable) -> dict[str, SurvivalOutcome]:
    item = context.study.survival
    if item is None:
        return {}
    outcome = derive_outcome(
        table,
        "survival",
        {"time": item.time, "event": item.event},
        name=item.name,
        unit=item.unit,
        event_values=item.event_values,
    )
    assert isinstance(outcome, SurvivalOutcome)
    return {item.name: outcome}


def _exclusions(context: Context, table: ClinicalTable, findings: list[Finding]) -> dict[str, list[str]]:
    """Reason -> patients: the study's own rules, then those without an image, a mask or features."""
    study = context.study
    reasons: dict[str, list[str]] = {}
    for rule in study.cohort.exclude:
        found = find_excluded(
            table, rule.column, equals=rule.equals, above=rule.above, below=rule.below, missing=rule.missing
        )
        reasons.setdefault(rule.reason, []).extend(found)
    if study.images is not None:
        for name, image in study.images.sequences.items():
            lacking = [p for p in table.patients if not context.path(image.path, patient=p).exists()]
            _all_lacking(lacking, table, f"{name} images", image.path)
            if lacking:
                reasons[f"no {name} image"] = lacking
        masks = study.images.segmentation.masks
        if study.images.segmentation.source == "given":
            if masks is None:
                raise StudyFileError("The masks are given, but where?", expected="images.segmentation.masks")
            lacking = [p for p in table.patients if not context.path(masks, patient=p).exists()]
            _all_lacking(lacking, table, "masks", masks)
            if lacking:
                reasons["no mask"] = lacking
    if study.features.table is not None:
        wide, remarks = read_feature_table(context)
        findings += remarks
        lacking = [p for p in table.patients if p not in wide.index]
        _all_lacking(lacking, table, "features", study.features.table)
        if lacking:
            reasons["no radiomics features"] = lacking
    return reasons


def _all_lacking(lacking: list[str], table: ClinicalTable, what: str, where: str) -> None:
    if len(lacking) == len(table.patients):
        raise TableError(
            f"No patient of the table has {what}.",
            expected="files or rows named by the study's identifiers",
            found=f"nothing for {', '.join(lacking[:5])}, ...",
            where=where,
            remedy="check the path, and that the table and the files use one identifier",
        )


def _splitter(context: Context, table: ClinicalTable) -> Callable[[Outcome], pd.Series] | pd.Series | None:
    split = context.study.cohort.split
    if isinstance(split, SplitByColumn):
        sets = {"training": split.training, "validation": split.validation}
        if split.external:
            sets["external"] = split.external
        return split_by_column(table.values(split.column), sets)
    if isinstance(split, SplitByList):
        lists = {"training": split.training, "validation": split.validation}
        return split_by_list(
            table.patients, {name: read_patient_list(context.path(path)) for name, path in lists.items()}
        )
    if isinstance(split, SplitAtRandom):
        seed, fraction = derive_seed(context.study.seed, "split"), split.validation_fraction
        return lambda outcome: split_at_random(outcome, seed=seed, validation_fraction=fraction)
    return None


def _check_table(context: Context, table: ClinicalTable) -> list[Finding]:
    """Checks of single values, before anybody is left out."""
    accepted = {spec.name: spec.accept for spec in table.specs}
    findings = [*check_identity(table), *check_values(table), *check_dates(table, context.study.cohort.date_order)]
    return list(accept(findings, accepted))


def _check_cohort(context: Context, cohort: Cohort) -> list[Finding]:
    """Checks of the design, on the patients that the models are fitted on."""
    training = cohort.members("training")
    table, outcome = cohort.table.select(training), cohort.outcome.select(training)
    candidates = context.study.modelling.candidates
    findings = check_predictors(
        table, outcome, candidates=candidates, outcome_columns=context.study.outcome.columns.values()
    )
    findings += check_sample_size(outcome, count_parameters(table, candidates))
    return list(accept(findings, {spec.name: spec.accept for spec in table.specs}))


def write(context: Context, folder: Path) -> None:
    """Run the stage: the cohort's files, the tables that compare groups, the sentences for the Methods."""
    from hepacast.study.stages.comparisons import comparisons

    cohort = build_cohort(context)
    write_cohort(cohort, folder)
    tables = comparisons(context, cohort)
    write_json(folder / "comparisons.json", tables)
    write_json(folder / "methods.json", _sentences(cohort, tables))
    if context.study.cohort.truth is not None:
        write_json(folder / "truth.json", read_json(context.path(context.study.cohort.truth)))


def _sentences(cohort: Cohort, tables: dict[str, Any]) -> list[dict[str, Any]]:
    sizes = {name: len(patients) for name, patients in cohort.flow.sets}
    parts = ", ".join(f"{n} in the {name} set" for name, n in sizes.items())
    who = f"Of {len(cohort.flow.reviewed)} patients reviewed, {len(cohort.patients)} were included ({parts})."
    outcome = f"The outcome was {cohort.outcome.name}: {cohort.outcome.source}."
    texts = [who, outcome]
    if "by_outcome" in tables:
        texts.append(tables["by_outcome"]["rule"])
    return [{"stage": "cohort", "text": text, "citations": []} for text in texts]
