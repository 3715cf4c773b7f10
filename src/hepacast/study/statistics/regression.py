"""`hepacast stats logistic`: univariate and multivariate logistic regression of a table's columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from hepacast.core.p_values import p_sentence
from hepacast.errors import ModelError
from hepacast.evaluation.delong import check_level
from hepacast.stats.design import binary_outcome
from hepacast.stats.intervals import ci_label, level_text
from hepacast.stats.logistic_fit import Interval
from hepacast.stats.logistic_table import LogisticTable, logistic_table
from hepacast.study.statistics.model_fits import enough_patients
from hepacast.study.statistics.reading import load
from hepacast.study.statistics.result import (
    StatisticsResult,
    note_lines,
    number,
    p_value,
    paragraphs,
    ratio,
    text_table,
)
from hepacast.study.statistics.table import AnalysisTable, Flow, complete_rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, repr=False)
class LogisticResult(StatisticsResult):
    """Logistic regression: the table, how the multivariate patients came about, and what must be known."""

    table: LogisticTable
    flow: Flow
    notes: tuple[str, ...]

    def text(self) -> str:
        """Odds ratios of both analyses, then the fit of the multivariate model."""
        table, fit = self.table, self.table.fit
        parts = [f"Logistic regression of {table.outcome}. {self.flow.text()}", text_table(self._printed())]
        if fit is not None and fit.ok:
            chi2, df, p = fit.lrt
            parts.append(
                f"Multivariate model ({'Firth' if fit.method == 'firth' else 'maximum likelihood'}): n = {fit.n}, "
                f"events = {fit.n_events}; likelihood ratio chi2 {chi2:.2f} (df {df}, {p_sentence(p)}); "
                f"AIC {fit.aic:.2f}; Nagelkerke R2 {fit.nagelkerke_r2:.3f}; C (apparent) {fit.c_index:.3f}; "
                f"Brier (apparent) {fit.brier:.4f}.\n{fit.formula()}"
            )
        kind = "Wald" if table.interval == "wald" else "profile likelihood"
        limits = f"Limits: {level_text(table.level)}, {kind} (Firth: penalized profile)."
        tests = "P: Wald (Firth: penalized likelihood ratio)."
        parts.append(note_lines([*self.notes, f"{limits} {tests}"]))
        return paragraphs(*parts)

    def _printed(self) -> pd.DataFrame:
        table = self.table
        single = {line.term: line for line in table.univariate}
        several = {line.term: line for line in table.multivariate}
        rows, ci = [], ci_label(table.level)
        for term in dict.fromkeys([*single, *several]):
            row = {"Term": term}
            for name, lines in (("univariate", single), ("multivariate", several)):
                if not lines:
                    continue
                line = lines.get(term)
                row[f"OR ({ci}), {name}"] = ratio(line.odds_ratio, line.low, line.high) if line else ""
                row[f"P, {name}"] = p_value(line.p) if line else ""
            if several and not table.vif.empty:
                predictor = several[term].predictor if term in several else ""
                row["VIF"] = number(float(table.vif.get(predictor, np.nan)), 2) if predictor else ""
            rows.append(row)
        return pd.DataFrame(rows)

    def to_json(self) -> dict[str, Any]:
        """Every number of both analyses and of the fit."""
        return {**self.table.to_json(), "flow": self.flow.to_json(), "notes": list(self.notes)}

    def to_frame(self) -> pd.DataFrame:
        """One row a term: odds ratio, limits and P of both analyses."""
        return self.table.to_frame()

    def drawings(self) -> Mapping[str, Callable[[], Figure]]:
        """Forest plots of the analyses that were made."""
        from hepacast.evaluation.drawing import forest_figure

        found: dict[str, Callable[[], Figure]] = {}
        if self.table.multivariate:
            found["forest-multivariate"] = lambda: forest_figure(self.table, which="multivariate")
        if self.table.univariate:
            found["forest-univariate"] = lambda: forest_figure(self.table, which="univariate")
        return found


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
    table = load(source)
    y = table.binary(outcome, positive)
    names = _without(table, table.columns(predictors), str(y.name))
    columns = {name: table.predictor(name) for name in names}
    frame = pd.DataFrame(columns)
    binary_outcome(y[y.notna()], what=f"outcome {y.name}")
    options: dict[str, Any] = {"firth": True if firth else "when separated", "interval": interval}
    options["level"] = check_level(level)
    single = (
        _fitted(frame, y, names, univariate=True, multivariate=False, **options)
        if univariate or keep_p is not None
        else None
    )
    chosen = names
    if single is not None and keep_p is not None:
        small = {line.predictor for line in single.univariate if line.p_term < keep_p}
        chosen = [name for name in names if name in small]
        table.note(f"Predictors with a univariate P below {keep_p:g} entered: the remaining P values are too small.")
    if not multivariate or not chosen:
        if single is None:
            raise ModelError("Neither a univariate nor a multivariate analysis was asked for.")
        if multivariate:
            table.note("No predictor passed the univariate screen, so there is no multivariate model.")
        _, flow = complete_rows({str(y.name): y})
        return LogisticResult(single, flow, (*table.notes, *single.notes))
    chosen, flow = _varying(table, y, columns, chosen)
    several = _fitted(frame, y, chosen, univariate=False, **options)
    notes = (*table.notes, *(single.notes if single is not None else ()), *several.notes)
    if single is not None and univariate:
        several = replace(several, univariate=single.univariate)
    return LogisticResult(replace(several, notes=notes), flow, notes)


def _fitted(frame: pd.DataFrame, y: pd.Series, names: Sequence[str], **options: Any) -> LogisticTable:
    """`logistic_table`; where the limits of a penalized fit are not found, the separated terms have no estimate."""
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


def _without(table: AnalysisTable, names: list[str], outcome: str) -> list[str]:
    kept = [name for name in names if name != outcome]
    if len(kept) < len(names):
        table.note(f"{outcome} is the outcome and was left out of the predictors.")
    if not kept:
        raise ModelError("There are no predictors.", expected="names of columns other than the outcome")
    return kept


def _varying(
    table: AnalysisTable, y: pd.Series, columns: Mapping[str, pd.Series], names: Sequence[str]
) -> tuple[list[str], Flow]:
    """Predictors that vary among the patients who have all of them; a constant one would make the fit impossible."""
    kept = list(names)
    while kept:
        rows, flow = complete_rows({str(y.name): y, **{name: columns[name] for name in kept}})
        constant = [name for name in kept if columns[name][rows].nunique() < 2]
        if not constant:
            binary_outcome(y[rows], what=f"outcome {y.name} of the complete patients")
            levels = [columns[name][rows].nunique() if columns[name].dtype == "category" else 2 for name in kept]
            enough_patients(flow.used, sum(levels) - len(levels))
            return kept, flow
        for name in constant:
            table.note(
                f"{name} takes one value only in the complete patients and was left out of the multivariate model."
            )
        kept = [name for name in kept if name not in constant]
    raise ModelError("No predictor varies among the complete patients.", found=", ".join(names))
