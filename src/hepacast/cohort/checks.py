"""All checks of a cohort in one call; the codes that findings carry are listed in the guide."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hepacast.cohort.design_checks import (
    check_identity,
    check_predictors,
    check_sample_size,
    check_unseen_levels,
    count_parameters,
)
from hepacast.cohort.equal_rows import tell_equal_rows
from hepacast.cohort.findings import Finding, accept, sort_findings
from hepacast.cohort.outcome import Outcome, unknown_findings
from hepacast.cohort.tables import ClinicalTable
from hepacast.cohort.value_checks import blank_impossible, check_dates, check_values

__all__ = [
    "check_table",
    "check_values",
    "check_dates",
    "check_identity",
    "check_predictors",
    "check_sample_size",
    "check_unseen_levels",
    "count_parameters",
    "blank_impossible",
]


def check_table(
    table: ClinicalTable,
    outcome: Outcome | None = None,
    *,
    candidates: Sequence[str] | None = None,
    outcome_columns: Iterable[str] = (),
    date_order: Sequence[str] = (),
    extra_parameters: int = 0,
) -> tuple[Finding, ...]:
    """Every check of values and design, with the findings that the author accepted turned into notes.

    Parameters
    ----------
    table
        The clinical table; the findings of its reading are not repeated.
    outcome
        The outcome, when it is known.
    candidates
        Candidate predictors; default: the columns of role ``candidate``.
    outcome_columns
        Columns that the outcome is made of.
    date_order
        Date columns, the earliest first.
    extra_parameters
        Parameters of the model beside the clinical candidates (1 for a Radscore).

    Returns
    -------
    tuple of Finding
        Errors first.
    """
    findings = tell_equal_rows(table.frame, "values")
    findings += check_identity(table) + check_values(table) + check_dates(table, date_order)
    findings += check_predictors(table, outcome, candidates=candidates, outcome_columns=outcome_columns)
    if outcome is not None:
        findings += unknown_findings(outcome)
        findings += check_sample_size(outcome, count_parameters(table, candidates) + extra_parameters)
    return sort_findings(accept(findings, {spec.name: spec.accept for spec in table.specs}))
