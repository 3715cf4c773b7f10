"""`hepacast stats logistic` and the Cox models of `hepacast stats survival`: each predictor alone, and all together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from hepacast.core import views
from hepacast.core.formatting import number, p_sentence, with_interval
from hepacast.core.records import Record
from hepacast.core.tables import Table
from hepacast.errors import HepacastError, ModelError
from hepacast.evaluation.delong import check_level
from hepacast.stats.cox import HazardRatio
from hepacast.stats.cox_checks import concordance, proportional_hazards
from hepacast.stats.design import Design, binary_outcome, treatment_design
from hepacast.stats.intervals import ci_label, level_text
from hepacast.stats.logistic_fit import Interval
from hepacast.stats.logistic_table import LogisticTable, logistic_page, logistic_table, ratio_table
from hepacast.stats.results import ModelTest
from hepacast.study.statistics.fits import cox_estimate, enough_patients
from hepacast.study.statistics.reading import load
from hepacast.study.statistics.result import StatisticsResult, note_lines
from hepacast.study.statistics.table import AnalysisTable, RowsUsed, complete_rows, varying_rows

NAN = float("nan")


@dataclass(frozen=True, repr=False)
class LogisticResult(LogisticTable, StatisticsResult):
    """Logistic regression: the table, how the multivariate patients came about, and what must be known."""

    flow: RowsUsed | None = None


@views.page.register
def _(found: LogisticResult) -> Sequence[str | Table]:
    flow = found.flow.text() if found.flow is not None else ""
    return f"Logistic regression of {found.outcome}. {flow}", *logistic_page(found)


@views.drawings.register
def _(found: LogisticResult) -> views.Drawings:
    """Forest plots of the analyses that were made."""
    from hepacast.study.statistics.drawing import draw_ratios

    ci = ci_label(found.confidence)
    return {f"forest-{name}": partial(draw_ratios, lines, ci=ci) for name, lines in sorted(found.analyses.items())}


def logistic(
    source: str | Path | pd.DataFrame | AnalysisTable,
    *,
    outcome: str,
    predictors: str | Sequence[str],
    positive: str | None = None,
    univariate: bool = True,
    multivariate: bool = True,
    keep_p: float | None = None,
    firth: bool = False,
    interval: Interval = "wald",
    level: float = 0.95,
) -> LogisticResult:
    """Univariate and multivariate logistic regression.

    Parameters
    ----------
    outcome, positive
        Column, and the value that is the event where it does not say so itself.
    predictors
        Columns; text becomes categories against the first level.
    univariate, multivariate, keep_p, interval, level
        As in `hepacast.stats.logistic_table.logistic_table`.
    firth
        Penalize all fits; otherwise only those whose data are separated.

    Raises
    ------
    TableError, OutcomeError, ModelError
        An unknown column, an outcome that is not binary or of one class, no predictor that varies.
    """
    if not univariate and not multivariate:
        raise ModelError("Neither a univariate nor a multivariate analysis was asked for.")
    table = load(source)
    y = table.binary(outcome, positive)
    columns = table.predictors(predictors, y)
    binary_outcome(y[y.notna()], what=f"outcome {y.name}")
    options: dict[str, Any] = {"firth": True if firth else "when separated", "interval": interval}
    options["level"] = check_level(level)
    single, chosen = None, columns
    if univariate or keep_p is not None:
        single = _fitted(columns, y, multivariate=False, **options)
    if single is not None and keep_p is not None:
        small = {line.predictor for line in single.univariate if line.p_term < keep_p}
        chosen = {name: column for name, column in columns.items() if name in small}
        table.note(f"Predictors with a univariate P below {keep_p:g} entered: the remaining P values are too small.")
    if not multivariate or not chosen:
        assert single is not None
        if multivariate:
            table.note("No predictor passed the univariate screen, so there is no multivariate model.")
        _, flow = complete_rows({str(y.name): y})
        return _result(single, flow, (*table.notes, *single.notes))
    several, flow = _together(table, y, chosen, options)
    if single is not None:
        several = replace(several, univariate=single.univariate if univariate else ())
    return _result(several, flow, (*table.notes, *(single.notes if single is not None else ()), *several.notes))


def _result(found: LogisticTable, flow: RowsUsed, notes: tuple[str, ...]) -> LogisticResult:
    return LogisticResult(**{**vars(found), "notes": notes}, flow=flow)


def _together(
    table: AnalysisTable, y: pd.Series, columns: Mapping[str, pd.Series], options: Mapping[str, Any]
) -> tuple[LogisticTable, RowsUsed]:
    """All predictors that vary among the patients who have all of them."""
    kept, rows, flow = varying_rows({str(y.name): y}, columns, table.note)
    binary_outcome(y[rows], what=f"outcome {y.name} of the complete patients")
    levels = [columns[name][rows].nunique() if columns[name].dtype == "category" else 2 for name in kept]
    enough_patients(flow.used, sum(levels) - len(levels))
    return _fitted({name: columns[name] for name in kept}, y, univariate=False, **options), flow


def _fitted(columns: Mapping[str, pd.Series], y: pd.Series, **options: Any) -> LogisticTable:
    """`logistic_table`; where the limits of a penalized fit are not found, the separated terms have no estimate."""
    frame, names = pd.DataFrame(dict(columns)), list(columns)
    try:
        return logistic_table(frame, y, names, **options)
    except ValueError as error:
        # The penalized profile of a nearly separated fit can have several branches between which no root is found.
        if options["firth"] is True:
            raise ModelError("The profile limits of Firth's fit were not found.", found=", ".join(names)) from error
        table = logistic_table(frame, y, names, **{**options, "firth": False})
        return replace(
            table, notes=(*table.notes, "Limits of Firth's fit were not found: separated terms are left empty.")
        )


@dataclass(frozen=True, repr=False)
class CoxModels(Record, views.Shown):
    """Cox models of a table's columns.

    Attributes
    ----------
    status, reason
        ``failed``, with the reason, where the model with all predictors has no estimate.
    univariate, multivariate
        Coefficients of each predictor alone (all patients with a value) and of the model with all of them.
    loglik
        Log partial likelihood without predictors, and of the model with all.
    zph
        Test of proportional hazards by term; ``GLOBAL`` is that of all terms.
    c, c_se, c_ci
        Harrell's C (apparent), its standard error and limits.
    """

    status: Literal["ok", "failed"]
    reason: str
    confidence: float
    univariate: dict[str, HazardRatio] = field(default_factory=dict)
    multivariate: dict[str, HazardRatio] = field(default_factory=dict)
    n: int | None = None
    n_events: int | None = None
    flow: RowsUsed | None = None
    loglik: tuple[float, float] | None = None
    likelihood_ratio: ModelTest | None = None
    aic: float = NAN
    zph: dict[str, ModelTest] | None = None
    c: float = NAN
    c_se: float = NAN
    c_ci: tuple[float, float] = (NAN, NAN)
    notes: tuple[str, ...] = ()

    @property
    def analyses(self) -> dict[str, dict[str, HazardRatio]]:
        """Coefficients by term of both analyses."""
        return {"univariate": self.univariate, "multivariate": self.multivariate}


@views.table.register
def _(found: CoxModels) -> Table:
    more = {"P, proportional hazards": {term: test.p for term, test in found.zph.items()}} if found.zph else {}
    title = f"Cox models (Efron; limits {level_text(found.confidence)}, Wald)"
    return ratio_table(found.analyses, f"HR ({ci_label(found.confidence)})", more, title=title)


@views.sentence.register
def _(found: CoxModels) -> str:
    test = found.likelihood_ratio
    if test is None or found.flow is None:
        return f"Multivariate model: no estimate ({found.reason})."
    line = f"Multivariate: {found.flow.text()} n = {found.n}, events = {found.n_events}; "
    line += f"likelihood ratio chi2 {number(test.chi2, 3)} (df {test.df}, {p_sentence(test.p)}); "
    line += f"AIC {number(found.aic)}; Harrell's C {with_interval(found.c, *found.c_ci, words=True)} (apparent)."
    if found.zph:
        check = found.zph["GLOBAL"]
        line += f"\nProportional hazards, all terms: chi2 {number(check.chi2, 3)}, df {check.df}, "
        line += f"{p_sentence(check.p)}."
    return line


@views.page.register
def _(found: CoxModels) -> Sequence[str | Table]:
    if not found.univariate and not found.multivariate:
        return (f"Cox model: not possible ({found.reason}).",)
    return views.table(found), views.sentence(found), note_lines(found.notes)


def cox_models(
    columns: Mapping[str, pd.Series], time: pd.Series, event: pd.Series, *, level: float = 0.95
) -> CoxModels:
    """Cox models of each column alone and of all together.

    Raises
    ------
    TableError, ModelError
        No event, no complete patient, or no predictor that varies.
    """
    if float(event.sum()) == 0:
        raise ModelError("A Cox model needs events.", found="0 events")
    notes: list[str] = []
    alone: dict[str, HazardRatio] = {}
    for column in columns.values():
        alone |= _alone(column, time, event, notes, level)
    kept, rows, flow = varying_rows({}, columns, notes.append)
    design = treatment_design(pd.DataFrame(dict(columns))[rows], kept)
    return _joint_cox(design, time[rows].to_numpy(), event[rows].to_numpy(), alone, flow, notes, level)


def _joint_cox(
    design: Design,
    time: npt.NDArray[Any],
    event: npt.NDArray[Any],
    alone: dict[str, HazardRatio],
    flow: RowsUsed,
    notes: list[str],
    level: float,
) -> CoxModels:
    """The model with all predictors, its test of proportional hazards, its concordance."""
    try:
        fit = cox_estimate(design.matrix, time, event, design.names)
    except HepacastError as problem:
        why = problem.message.rstrip(".") + (f": {problem.found}" if problem.found else "")
        nothing = dict.fromkeys(design.names, HazardRatio())
        return CoxModels("failed", why, level, alone, nothing, flow=flow, notes=tuple(notes))
    zph = None
    try:
        checks = proportional_hazards(fit, design.matrix, time, event)
        rows = zip(checks.index, checks[["chi2", "df", "p"]].to_numpy())
        zph = {str(term): ModelTest(float(chi2), int(df), float(p)) for term, (chi2, df, p) in rows}
    except np.linalg.LinAlgError:
        notes.append("Proportional hazards could not be tested: too few events for these predictors.")
    c = concordance(time, event, fit.linear_predictor(design.matrix))
    return CoxModels(
        "ok", "", level, alone, fit.ratios(level), fit.n, fit.n_events, flow, (fit.loglik_null, fit.loglik),
        ModelTest(*fit.lrt), fit.aic, zph, c.c, c.se, c.interval(level), tuple(notes),
    )  # fmt: skip


def _alone(
    column: pd.Series, time: pd.Series, event: pd.Series, notes: list[str], level: float
) -> dict[str, HazardRatio]:
    """One predictor on its own; NaN and a note where there is no estimate."""
    name, known = str(column.name), column.notna()
    if not known.any():
        notes.append(f"{name} has no values.")
        return {name: HazardRatio()}
    design = treatment_design(column[known].to_frame(), [name])
    names = design.names or (name,)
    try:
        if not design.names:
            raise ModelError("A predictor is constant.", found=name)
        return cox_estimate(design.matrix, time[known].to_numpy(), event[known].to_numpy(), names).ratios(level)
    except HepacastError as problem:
        why = problem.message.rstrip(".") + (f" ({problem.found})" if problem.found else "")
        notes.append(f"{name} alone: no estimate; {why[0].lower()}{why[1:]}.")
        return dict.fromkeys(names, HazardRatio())
