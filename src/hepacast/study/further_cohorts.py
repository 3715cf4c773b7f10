"""Further cohorts of a study: patients with images and follow-up but without the outcome, as their tables say."""

from __future__ import annotations

from dataclasses import dataclass

from hepacast.cohort import ColumnSpec, SurvivalOutcome, derive_outcome, read_table
from hepacast.cohort.checks import blank_impossible, check_values
from hepacast.cohort.findings import raise_on_errors
from hepacast.cohort.tables import ClinicalTable
from hepacast.core.hashing import hash_value
from hepacast.errors import StudyFileError, TableError
from hepacast.imaging.io import image_files
from hepacast.study.context import Context
from hepacast.study.mask_files import MaskPattern, mask_files
from hepacast.study.schema import FurtherCohort
from hepacast.study.stages.clinical import column_specs

#: Predictions of further cohorts, in the folder of the stage that makes the models.
PREDICTIONS = "further.parquet"
TIME, EVENT = "follow_up_time", "follow_up_event"


@dataclass(frozen=True)
class FurtherTable:
    """One further cohort: its clinical table and follow-up."""

    name: str
    rules: FurtherCohort
    table: ClinicalTable
    outcome: SurvivalOutcome


def read_further(context: Context) -> list[FurtherTable]:
    """The further cohorts of the study file.

    Raises
    ------
    StudyFileError
        Masks are not given: the patients cannot be measured.
    TableError
        A table cannot be read, has errors, or shares a patient with the study or another cohort.
    """
    study = context.study
    if study.further and study.images is not None and study.images.segmentation.source != "given":
        raise StudyFileError(
            "Further cohorts need given masks.",
            expected="images.segmentation.source: given",
            found=study.images.segmentation.source,
            remedy="segment their images first (hepacast segment) and give the masks",
        )
    tables = [read_further_cohort(context, name) for name in study.further]
    seen: dict[str, str] = {}
    for item in tables:
        for patient in item.table.patients:
            if patient in seen:
                raise TableError(
                    f"Patient {patient} stands in two further cohorts.", found=f"{seen[patient]} and {item.name}"
                )
            seen[patient] = item.name
    return tables


def read_further_cohort(context: Context, name: str) -> FurtherTable:
    """One further cohort, its cells judged as those of the study's own table.

    Raises
    ------
    TableError
        The table cannot be read, or has errors.
    OutcomeError
        The follow-up cannot be used.
    """
    rules = context.study.further[name]
    after = {name for name, column in context.study.cohort.columns.items() if column.after_event}
    own = [spec for spec in column_specs(context) if spec.name not in after and not spec.after_event]
    more = [
        ColumnSpec(TIME, (rules.time,), quantity="none", after_event=True, role="outcome"),
        ColumnSpec(EVENT, (rules.event,), kind="categorical", after_event=True, role="outcome"),
    ]
    cohort = context.study.cohort
    table = read_table(
        context.path(rules.table), id_column=cohort.id, columns=[*own, *more], decimal=cohort.decimal,
        censored=cohort.below_detection,
        dictionary=None if cohort.dictionary is None else context.path(cohort.dictionary),
    )  # fmt: skip
    table = table.select(sorted(table.patients))
    findings = list(table.with_findings(check_values(table)).findings)
    if cohort.findings == "report":
        table, findings = blank_impossible(table, findings)
    raise_on_errors(findings, where=f"further.{name}: {rules.table}")
    outcome = derive_outcome(
        table, "survival", {"time": TIME, "event": EVENT}, name=rules.name, unit=rules.unit,
        event_values=rules.event_values,
    )  # fmt: skip
    assert isinstance(outcome, SurvivalOutcome)
    if outcome.unknown:
        patient, why = next(iter(outcome.unknown.items()))
        raise TableError(
            f"The follow-up of {len(outcome.unknown)} patients of the cohort {name!r} is not known.",
            found=f"{patient}: {why}",
            where=rules.table,
            remedy="complete the table, or take these patients out of it",
        )
    return FurtherTable(name, rules, table, outcome)


def further_patients(context: Context) -> list[str]:
    """Patients of all further cohorts."""
    return [patient for item in read_further(context) for patient in item.table.patients]


def further_inputs(context: Context) -> dict[str, str]:
    """Content hashes of tables, images and masks of further cohorts."""
    if not context.study.further:
        return {}
    prints, images = context.fingerprints, context.study.images
    found = {f"table {name}": prints.of(context.path(item.table)) for name, item in context.study.further.items()}
    if images is None:
        return found
    patterns: list[MaskPattern] = [item.path for item in images.sequences.values()]
    patterns += [images.segmentation.masks] if images.segmentation.masks else []
    patients = further_patients(context)
    files = [path for p in patients for text in patterns for _, path in mask_files(context, text, p).files]
    there = [item for path in files if path.exists() for item in image_files(path)]
    found["files of further cohorts"] = hash_value([prints.of(path) for path in there])
    return found
