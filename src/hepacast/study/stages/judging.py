"""One judgement of table, outcome and sets: `check` shows it, `run` begins with it, the cohort stage keeps it.

Nothing stops at the first mistake. A step that cannot be done leaves its error and the next steps go on with what there
is, so that the cause of an error (identifiers that differ in zeros, sheets that disagree) stands beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

import pandas as pd

from hepacast.cohort import Cohort, Finding, Outcome, SurvivalOutcome, assemble_cohort
from hepacast.cohort.checks import (
    blank_impossible,
    check_dates,
    check_identity,
    check_predictors,
    check_sample_size,
    check_unseen_levels,
    check_values,
    count_parameters,
)
from hepacast.cohort.findings import accept, condense, sort_findings
from hepacast.cohort.outcome import check_horizons, unknown_findings
from hepacast.cohort.proposal import find_identifier
from hepacast.cohort.tables import ClinicalTable
from hepacast.errors import HepacastError, OutcomeError, StudyFileError, TableError
from hepacast.study.context import Context
from hepacast.study.further_cohorts import read_further, read_further_cohort
from hepacast.study.stages.clinical import (
    candidate_problems,
    column_problems,
    describe_columns,
    load_table,
    outcome_parts,
)
from hepacast.study.stages.selection import derive_survival, exclusions, outcome_of, splitter

T = TypeVar("T")
Split = Callable[[Outcome], pd.Series] | pd.Series | None
#: Lines of an error that lists what is wrong.
_SHOWN = 40
#: Patients of the rarer class that a cross-validation needs.
_FEWEST = 2


@dataclass
class StudyJudgement:
    """What was found, and how far the cohort could be made.

    Parameters
    ----------
    findings
        Remarks on the table, its cells and the design.
    errors
        What stopped a step, with the part of the study where it happened.
    table
        All reviewed patients; None when the table cannot be read.
    left_out
        Patient -> reason, by the study's exclusions and its sets.
    cohort
        None when a step before it failed.
    """

    findings: list[Finding] = field(default_factory=list)
    errors: list[tuple[str, HepacastError]] = field(default_factory=list)
    table: ClinicalTable | None = None
    left_out: dict[str, str] = field(default_factory=dict)
    cohort: Cohort | None = None

    @property
    def patients(self) -> list[str]:
        """Patients of the table whom nothing leaves out."""
        return [] if self.table is None else [name for name in self.table.patients if name not in self.left_out]

    def attempt(self, part: str, step: Callable[[], T]) -> T | None:
        """Do a step; its error is kept, and None is the answer."""
        try:
            return step()
        except HepacastError as error:
            self.errors.append((part, error))
            return None

    def raise_errors(self, *, where: str) -> None:
        """Raise what is wrong, as one error with everything that may explain it; do nothing when nothing is.

        Raises
        ------
        HepacastError
            The one error that stopped a step, where there is nothing else to say; else a list.
        """
        stopped = [error for _, error in self.errors]
        told = sort_findings(condense(self.findings))
        wrong = [item for item in told if item.severity == "error"]
        hints = [item for item in told if item.severity == "warning" and item.code in EXPLAINING]
        if not stopped and not wrong:
            return
        if len(stopped) == 1 and not wrong and not hints:
            raise stopped[0]
        lines = [*(str(item) for item in wrong), *(str(error).replace("\n", "\n    ") for error in stopped)]
        count = len(lines)
        lines += [str(item) for item in hints]
        if len(lines) > _SHOWN:
            lines = [*lines[:_SHOWN], f"... and {len(lines) - _SHOWN} more"]
        raise TableError(
            f"The {'study' if stopped else 'table'} has {count} error{'s' if count != 1 else ''}.",
            found="\n    " + "\n    ".join(lines),
            where=where,
            remedy="correct these cells, or the columns' descriptions in the study file; `hepacast check` lists all",
        )


#: Warnings that often are the cause of an error elsewhere, and are shown beside it.
EXPLAINING = frozenset(
    (
        *("similar-id", "sheet-incomplete", "unit-not-stated", "outcome-unknown", "other-identifier"),
        *("hidden-sheets", "hidden-rows", "merged-cells", "merged-columns", "no-header"),
    )
)


def judge_cohort(context: Context) -> StudyJudgement:
    """Read and judge everything about the patients but their images: nothing raises, nothing is written."""
    seen = StudyJudgement()
    seen.errors += [("settings", problem) for problem in candidate_problems(context)]
    seen.errors += [("settings", problem) for problem in describe_columns(context)[1].values()]
    table = seen.attempt("table", lambda: load_table(context, absent="report"))
    if table is None:
        table = _by_another_identifier(context, seen)
    if table is None:
        return seen
    seen.table = table
    headers = [] if table.raw is None else [str(head) for head in table.raw.columns]
    seen.errors += [("settings", problem) for problem in column_problems(context, headers)]
    reasons = exclusions(context, table, seen.findings, lambda step: seen.attempt("exclusions", step))
    split = _sets(context, table, seen, reasons)
    for reason, patients in reasons.items():
        for patient in patients:
            seen.left_out.setdefault(patient, reason)
    _judge_sets(split, seen)
    _judge_values(context, seen)
    _assemble(context, seen, reasons, split)
    if seen.cohort is None:
        _judge_candidates(context, seen, seen.patients, None)
    else:
        _judge_design(context, seen.cohort, seen)
        remarks = dict.fromkeys(condense(seen.findings))
        seen.cohort = replace(seen.cohort, findings=sort_findings(remarks))
    return seen


def _by_another_identifier(context: Context, seen: StudyJudgement) -> ClinicalTable | None:
    """Where the identifier is not found, the table by the column that looks like it: to see what else is wrong."""
    try:
        header = find_identifier(context.path(context.study.cohort.table))
        table = load_table(context, absent="report", id_column=header)
    except HepacastError:  # the error that is kept already says what is wrong
        return None
    message = (
        f"to see what else is wrong, the column {header!r} was taken as the identifier; if it is, write it as cohort.id"
    )
    seen.findings.append(Finding("warning", "other-identifier", message))
    return table


def _sets(context: Context, table: ClinicalTable, seen: StudyJudgement, reasons: dict[str, list[str]]) -> Split:
    """How the sets are made; who is in none of them joins those who are left out."""
    split = seen.attempt("sets", lambda: splitter(context, table))
    if isinstance(split, pd.Series):
        strangers = [patient for patient in table.patients if patient not in split.index]
        if strangers:
            reasons["in none of the study's sets"] = strangers
    return split


def _judge_sets(split: Split, seen: StudyJudgement) -> None:
    """A set that the study names and of which nobody is left would vanish without a word."""
    if isinstance(split, pd.Series):
        for name in dict.fromkeys(split):
            members = list(split.index[split == name])
            if all(patient in seen.left_out for patient in members):
                reasons = sorted({seen.left_out[patient] for patient in members})
                message = f"all {len(members)} patients of the {name} set are left out: {'; '.join(reasons)}"
                seen.findings.append(Finding("error", "empty-set", message))


def _judge_values(context: Context, seen: StudyJudgement) -> None:
    """Findings of reading and of values; the cells of patients who are left out are told, not judged."""
    assert seen.table is not None
    table = seen.table.select(seen.patients) if seen.patients else seen.table
    accepted = {spec.name: spec.accept for spec in table.specs}
    order = [name for name in context.study.cohort.date_order if name not in table.absent]
    found = list(check_identity(table))
    if seen.patients:
        found += check_values(table)
    found += seen.attempt("table", lambda: check_dates(table, order)) or []
    found = [*seen.table.findings, *accept(found, accepted)]
    if context.study.cohort.findings == "report":
        seen.table, found = blank_impossible(seen.table, found)
    seen.findings += [_not_judged(item, seen.left_out) for item in found if not _follows(item, found)]


#: Findings of a whole column that only repeat others of it.
_FOLLOWS = {
    "all-missing": frozenset({"unknown-level", "not-a-number", "not-a-date", "date-in-number", "ambiguous-number"}),
    "unit-mix-up": frozenset({"unit-conflict", "wrong-unit"}),
}


def _follows(item: Finding, found: list[Finding]) -> bool:
    causes = _FOLLOWS.get(item.code, frozenset())
    return any(other.column == item.column and other.code in causes and other.severity == "error" for other in found)


def _not_judged(item: Finding, left_out: dict[str, str]) -> Finding:
    about_cell = item.patient in left_out and item.code not in _OF_THE_ROWS
    if not about_cell or item.severity == "note":
        return item
    reason = left_out[str(item.patient)]
    return replace(item, severity="note", message=f"{item.message} (not judged: the patient is left out, {reason})")


#: Remarks on who a row is about; they matter although the patient is left out.
_OF_THE_ROWS = frozenset({"duplicate-id", "missing-id", "similar-id", "id-digits-lost"})


def _assemble(context: Context, seen: StudyJudgement, reasons: dict[str, list[str]], split: Split) -> None:
    """Outcome, sets and flow, where nothing that they need is missing."""
    assert seen.table is not None
    study, table = context.study, seen.table
    if not seen.patients:
        seen.errors.append(("cohort", _nobody(seen)))
        return
    outcome: Outcome | None = None
    unnamed = {str(problem.where) for _, problem in seen.errors}
    judged = table.select(seen.patients)
    if not outcome_parts(context) & set(table.absent) and not any(key.startswith("outcome.") for key in unnamed):
        outcome = seen.attempt("outcome", lambda: outcome_of(context, judged))
    if outcome is not None:
        seen.findings += [*outcome.findings, *unknown_findings(outcome)]
    survival: dict[str, SurvivalOutcome] | None = None
    parts = set() if study.survival is None else {study.survival.time, study.survival.event}
    if not parts & set(table.absent) and not unnamed & {"survival.time", "survival.event"}:
        survival = seen.attempt("survival", lambda: derive_survival(context, judged))
    centers = None
    told = (
        any(part == "sets" for part, _ in seen.errors)
        and getattr(study.cohort.split, "column", "") == study.cohort.center
    )
    if study.cohort.center and study.cohort.center not in table.absent and not told:
        centers = seen.attempt("cohort.center", lambda: table.values(str(study.cohort.center)))
    if outcome is None or survival is None or any(part == "sets" for part, _ in seen.errors):
        return
    seen.cohort = seen.attempt(
        "cohort",
        lambda: assemble_cohort(
            replace(table, findings=()),
            outcome,
            exclusions=reasons,
            split=split,
            centers=centers,
            survival=survival,
        ),
    )
    if study.outcome.unknown == "stop" and outcome.unknown:
        shown = "; ".join(f"{patient}: {why}" for patient, why in list(outcome.unknown.items())[:8])
        problem = TableError(
            "The outcome of some patients cannot be told.",
            found=shown,
            remedy="complete the table, or set outcome.unknown: exclude",
        )
        seen.errors.append(("outcome", problem))


def _nobody(seen: StudyJudgement) -> TableError:
    counts: dict[str, int] = {}
    for reason in seen.left_out.values():
        counts[reason] = counts.get(reason, 0) + 1
    return TableError(
        "No patient is left in the study.",
        expected="patients whom no exclusion fits",
        found="; ".join(f"{reason}: {n}" for reason, n in counts.items()),
        where="cohort.exclude",
    )


def _judge_candidates(context: Context, seen: StudyJudgement, patients: list[str], outcome: Outcome | None) -> None:
    """Predictors that must not be predictors, and how many there are for the events."""
    assert seen.table is not None
    seen.findings += candidate_findings(context, seen.table.select(patients), outcome)


def candidate_findings(context: Context, table: ClinicalTable, outcome: Outcome | None) -> tuple[Finding, ...]:
    """Checks of the candidates on the patients that models are fitted on, accepted ones as notes."""
    candidates = [name for name in context.study.modelling.candidates if name in table.frame.columns]
    findings = check_predictors(
        table, outcome, candidates=candidates, outcome_columns=context.study.outcome.columns.values()
    )
    if outcome is not None:
        findings += check_sample_size(outcome, count_parameters(table, candidates))
    return accept(findings, {spec.name: spec.accept for spec in table.specs})


def _judge_design(context: Context, cohort: Cohort, seen: StudyJudgement) -> None:
    """What the models will need: checks of the design, on the patients that they are fitted on."""
    if context.models:  # nothing is fitted, so there are no candidates and no patients to learn from
        return
    training = cohort.members("training")
    outcome = cohort.outcome.select(training)
    _judge_candidates(context, seen, training, outcome)
    candidates = [name for name in context.study.modelling.candidates if name in cohort.table.frame.columns]
    others = {f"{name} set": cohort.table.select(cohort.members(name)) for name in dict.fromkeys(cohort.sets)}
    for name in context.study.further:
        further = seen.attempt(f"further {name}", partial(read_further_cohort, context, name))
        if further is not None:
            others[f"further cohort {name}"] = further.table
    if len(others) == len(set(cohort.sets)) + len(context.study.further):
        seen.attempt("further", partial(read_further, context))
    unseen = check_unseen_levels(cohort.table.select(training), others, candidates)
    seen.findings += accept(unseen, {spec.name: spec.accept for spec in cohort.table.specs})
    rarer = (
        outcome.n_events
        if isinstance(outcome, SurvivalOutcome)
        else min(outcome.n_events, outcome.n - outcome.n_events)
    )
    if rarer < _FEWEST:
        message = (
            f"{rarer} patient of the rarer class in training: a cross-validation needs one to learn from and one "
            f"to judge by ({_FEWEST} or more)"
        )
        seen.findings.append(Finding("error", "too-few-events", message, column=outcome.name))
    if isinstance(outcome, SurvivalOutcome):
        times = context.study.outcome.times
        seen.errors += [("outcome", problem) for problem in check_horizons(outcome, times)]
        seen.findings += _beyond_follow_up(cohort, times)
    seen.errors += [("report", problem) for problem in _example(context, cohort)]


def _beyond_follow_up(cohort: Cohort, times: Iterable[float]) -> list[Finding]:
    """Sets in which nobody is followed to a horizon: the model is not judged there."""
    assert isinstance(cohort.outcome, SurvivalOutcome)
    found = []
    for name in dict.fromkeys(cohort.sets):
        longest = float(cohort.outcome.time.loc[cohort.members(name)].max())
        for t in times if name != "training" else ():
            if t > longest:
                message = (
                    f"nobody of the {name} set is followed to {t:g} {cohort.outcome.unit} (the longest: {longest:g}), "
                    "so the models cannot be judged there (outcome.horizons)"
                )
                found.append(Finding("warning", "horizon-beyond-set", message, column=cohort.outcome.name))
    return found


def _example(context: Context, cohort: Cohort) -> list[StudyFileError]:
    example = context.study.report.example_patient
    if example is None or example in cohort.patients:
        return []
    return [
        StudyFileError(
            "The patient to be worked through on the nomogram is not in the study.",
            expected=f"one of {', '.join(cohort.patients[:5])}, ...",
            found=example,
            where="report.example_patient",
        )
    ]


def build_cohort(context: Context) -> Cohort:
    """Table, outcome, sets and flow of the study, checked.

    Raises
    ------
    HepacastError
        The table or the study file has errors; all of them are listed.
    OutcomeError
        The outcome cannot be derived, or a set has one class, and nothing else is wrong.
    """
    seen = judge_cohort(context)
    seen.raise_errors(where=context.study.cohort.table)
    if seen.cohort is None:
        raise OutcomeError("The cohort could not be made.")
    return seen.cohort
