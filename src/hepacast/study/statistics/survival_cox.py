"""Cox models of a table's columns: each predictor alone, all together, proportional hazards, concordance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from hepacast.core.p_values import p_sentence
from hepacast.errors import HepacastError, ModelError
from hepacast.stats.cox import CoxFit
from hepacast.stats.cox_checks import Concordance, concordance, proportional_hazards
from hepacast.stats.design import treatment_design
from hepacast.stats.intervals import ci_label, level_text
from hepacast.study.statistics.cox_fits import cox_estimate
from hepacast.study.statistics.result import NOT_THERE, p_value, ratio, short, text_table, with_limits
from hepacast.study.statistics.table import Flow, complete_rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS = ("coef", "se", "z", "p", "hr", "hr_low", "hr_high")


@dataclass(frozen=True)
class CoxResult:
    """Cox models.

    Attributes
    ----------
    univariate, table
        Coefficients of each predictor alone (all patients with a value) and of the model with all of them.
    fit, zph, c
        The model with all predictors, its test of proportional hazards, its concordance; None with a reason.
    level
        Of the intervals.
    """

    univariate: pd.DataFrame
    table: pd.DataFrame
    fit: CoxFit | None
    zph: pd.DataFrame | None
    c: Concordance | None
    flow: Flow | None
    reason: str = ""
    notes: tuple[str, ...] = ()
    level: float = 0.95

    @classmethod
    def failed(cls, reason: str) -> CoxResult:
        """No model at all."""
        empty = pd.DataFrame(columns=list(_COLUMNS))
        return cls(empty, empty, None, None, None, None, reason.rstrip("."))

    def text(self) -> str:
        """Hazard ratios of both analyses, tests, checks."""
        if self.univariate.empty and self.table.empty:
            return f"Cox model: not possible ({self.reason})."
        rows = []
        for term in dict.fromkeys([*self.univariate.index, *self.table.index]):
            row = {"Term": str(term)}
            for name, table in (("univariate", self.univariate), ("multivariate", self.table)):
                known = term in table.index
                values = table.loc[term] if known else None
                row[f"HR ({ci_label(self.level)}), {name}"] = (
                    ratio(*values[["hr", "hr_low", "hr_high"]]) if values is not None else NOT_THERE
                )
                row[f"P, {name}"] = p_value(float(values["p"])) if values is not None else NOT_THERE
            if self.zph is not None:
                row["P, proportional hazards"] = (
                    p_value(float(self.zph.loc[term, "p"])) if term in self.zph.index else ""
                )
            rows.append(row)
        parts = [text_table(pd.DataFrame(rows), title=f"Cox models (Efron; limits {level_text(self.level)}, Wald)")]
        if self.fit is not None and self.flow is not None:
            chi2, df, p = self.fit.lrt
            line = f"Multivariate: {self.flow.text()} n = {self.fit.n}, events = {self.fit.n_events}; "
            line += f"likelihood ratio chi2 {chi2:.3f} (df {df}, {p_sentence(p)}); AIC {short(self.fit.aic)}"
            if self.c is not None:
                line += f"; Harrell's C {with_limits(self.c.c, *self.c.interval(self.level))} (apparent)"
            parts.append(line + ".")
            if self.zph is not None:
                chi2, degrees, p = (float(value) for value in self.zph[["chi2", "df", "p"]].to_numpy()[-1])
                parts.append(f"Proportional hazards, all terms: chi2 {chi2:.3f}, df {degrees:.0f}, {p_sentence(p)}.")
        else:
            parts.append(f"Multivariate model: no estimate ({self.reason}).")
        return "\n".join([*parts, *(f"Note: {note}" for note in self.notes)])

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        fit = self.fit
        low, high = self.c.interval(self.level) if self.c is not None else (np.nan, np.nan)
        return {
            "status": "ok" if fit is not None else "failed",
            "reason": self.reason,
            "confidence": self.level,
            "univariate": self.univariate.to_dict(orient="index"),
            "multivariate": self.table.to_dict(orient="index"),
            "n": None if fit is None else fit.n,
            "n_events": None if fit is None else fit.n_events,
            "flow": None if self.flow is None else self.flow.to_json(),
            "loglik": None if fit is None else [fit.loglik_null, fit.loglik],
            "likelihood_ratio": None if fit is None else dict(zip(("chi2", "df", "p"), fit.lrt, strict=True)),
            "zph": None if self.zph is None else self.zph.to_dict(orient="index"),
            "c": None if self.c is None else self.c.c,
            "c_se": None if self.c is None else self.c.se,
            "c_ci": [low, high],
            "notes": list(self.notes),
        }

    def draw(self) -> Figure:
        """Forest plot of the model with all predictors."""
        from hepacast.study.statistics.drawing import draw_hazard_forest

        return draw_hazard_forest(self.table, ci=ci_label(self.level))


def cox_result(
    columns: Mapping[str, pd.Series], time: pd.Series, event: pd.Series, *, level: float = 0.95
) -> CoxResult:
    """Cox models of each column alone and of all together.

    Raises
    ------
    TableError, ModelError
        No event, no complete patient, or no predictor that varies.
    """
    if float(event.sum()) == 0:
        raise ModelError("A Cox model needs events.", found="0 events")
    frame = pd.DataFrame(dict(columns))
    notes: list[str] = []
    alone = [_alone(frame, name, time, event, notes, level) for name in columns]
    kept, rows, flow = _varying(columns, notes)
    design = treatment_design(frame[rows], kept)
    t, e = time[rows].to_numpy(), event[rows].to_numpy()
    univariate = pd.concat(alone)
    try:
        fit = cox_estimate(design.matrix, t, e, design.names)
    except HepacastError as problem:
        why = problem.message.rstrip(".") + (f": {problem.found}" if problem.found else "")
        table = pd.DataFrame(np.nan, index=list(design.names), columns=list(_COLUMNS))
        return CoxResult(univariate, table, None, None, None, flow, why, tuple(notes), level)
    zph = None
    try:
        zph = proportional_hazards(fit, design.matrix, t, e)
    except np.linalg.LinAlgError:
        notes.append("Proportional hazards could not be tested: too few events for these predictors.")
    found = concordance(t, e, fit.linear_predictor(design.matrix))
    return CoxResult(univariate, fit.to_frame(level), fit, zph, found, flow, "", tuple(notes), level)


def _alone(
    frame: pd.DataFrame, name: str, time: pd.Series, event: pd.Series, notes: list[str], level: float
) -> pd.DataFrame:
    """One predictor on its own; NaN and a note where there is no estimate."""
    known = frame[name].notna()
    if not known.any():
        notes.append(f"{name} has no values.")
        return pd.DataFrame(np.nan, index=[name], columns=list(_COLUMNS))
    design = treatment_design(frame[known], [name])
    names = design.names or (name,)
    try:
        if not design.names:
            raise ModelError("A predictor is constant.", found=name)
        return cox_estimate(design.matrix, time[known].to_numpy(), event[known].to_numpy(), names).to_frame(level)
    except HepacastError as problem:
        why = problem.message.rstrip(".") + (f" ({problem.found})" if problem.found else "")
        notes.append(f"{name} alone: no estimate; {why[0].lower()}{why[1:]}.")
        return pd.DataFrame(np.nan, index=list(names), columns=list(_COLUMNS))


def _varying(columns: Mapping[str, pd.Series], notes: list[str]) -> tuple[list[str], Any, Flow]:
    kept = list(columns)
    while kept:
        rows, flow = complete_rows({name: columns[name] for name in kept})
        constant = [name for name in kept if columns[name][rows].nunique() < 2]
        if not constant:
            return kept, rows, flow
        notes.extend(f"{name} takes one value only in the complete patients and was left out." for name in constant)
        kept = [name for name in kept if name not in constant]
    raise ModelError("No predictor varies among the complete patients.", found=", ".join(columns))
