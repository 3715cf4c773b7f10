"""The table of a paper: univariate and multivariate logistic regression of a table's columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from hepacast.core.p_values import p_text
from hepacast.errors import OutcomeError, TableError
from hepacast.stats.design import Design, binary_outcome, one_class_allowed, treatment_design
from hepacast.stats.effects import number_text, ratio_digits, ratio_of
from hepacast.stats.firth import fit_firth
from hepacast.stats.intervals import ci_label
from hepacast.stats.logistic import fit_logistic
from hepacast.stats.logistic_fit import Interval, LogisticFit
from hepacast.stats.selection import vif


@dataclass(frozen=True)
class TableLine:
    """One coefficient in one of the two analyses; NaN with a reason where there is no estimate.

    `method` is `ml` or `firth`; `p_term` is the likelihood-ratio P of the whole predictor (all levels of a category
    together), on its first line only.
    """

    predictor: str
    term: str
    odds_ratio: float
    low: float
    high: float
    p: float
    p_term: float
    coef: float
    se: float
    n: int
    n_events: int
    method: str
    reason: str = ""


@dataclass(frozen=True, repr=False)
class LogisticTable:
    """Univariate and multivariate logistic regression side by side.

    Attributes
    ----------
    univariate
        Lines of each predictor on its own, fitted to all patients with a value of it; empty when not asked for.
    multivariate
        Lines of the model with all chosen predictors, fitted to the patients who have all of them.
    fit
        The multivariate fit; None when no predictor was chosen or there was no multivariate analysis.
    vif
        Variance inflation of the multivariate predictors.
    chosen
        Predictors of the multivariate model.
    excluded
        Patients left out of the multivariate fit (outcome or predictor missing).
    notes
        What a reader must know: separation and Firth's answer to it, what could not be fitted.
    """

    outcome: str
    univariate: tuple[TableLine, ...]
    multivariate: tuple[TableLine, ...]
    fit: LogisticFit | None
    vif: pd.Series
    chosen: tuple[str, ...]
    excluded: int
    level: float
    interval: str
    notes: tuple[str, ...]

    def to_frame(self) -> pd.DataFrame:
        """One row a term: OR, limits and P of both analyses, as numbers."""
        parts = []
        for name, lines in (("univariate", self.univariate), ("multivariate", self.multivariate)):
            if lines:
                part = pd.DataFrame([line.__dict__ for line in lines]).set_index("term")
                parts.append(part[["odds_ratio", "low", "high", "p"]].add_prefix(f"{name}_"))
        if not parts:
            return pd.DataFrame()
        table = parts[0] if len(parts) == 1 else parts[0].join(parts[1], how="outer")
        order = list(dict.fromkeys(line.term for line in (*self.univariate, *self.multivariate)))
        return table.loc[order]

    def to_text(self) -> pd.DataFrame:
        """The table as a paper prints it: "OR (95% CI)" and P."""
        table = self.to_frame()
        printed = pd.DataFrame(index=table.index)
        for name in ("univariate", "multivariate"):
            if f"{name}_p" in table:
                printed[f"{name} OR ({ci_label(self.level)})"] = [
                    _ratio_text(*row) for row in table[[f"{name}_odds_ratio", f"{name}_low", f"{name}_high"]].to_numpy()
                ]
                printed[f"{name} P"] = [p_text(value) for value in table[f"{name}_p"]]
        return printed

    def to_json(self) -> dict[str, Any]:
        """Every number as plain values."""
        return {
            "outcome": self.outcome,
            "interval": self.interval,
            "confidence": self.level,
            "univariate": [_line_json(line) for line in self.univariate],
            "multivariate": [_line_json(line) for line in self.multivariate],
            "chosen": list(self.chosen),
            "excluded": self.excluded,
            "vif": {str(name): float(value) for name, value in self.vif.items()},
            "fit": None if self.fit is None else self.fit.to_json(self.level),
            **({"fit_reason": "there is no multivariate model"} if self.fit is None else {}),
            "notes": list(self.notes),
        }

    def __repr__(self) -> str:
        return self.to_text().to_string() + "".join(f"\n{note}" for note in self.notes)

    def _repr_html_(self) -> str:
        return self.to_text().to_html(border=0) + "".join(f"<p><small>{note}</small></p>" for note in self.notes)


def _line_json(line: TableLine) -> dict[str, Any]:
    values = dict(line.__dict__)
    if np.isnan(line.p_term) and np.isfinite(line.p):
        values["p_term_reason"] = "the P of the whole predictor stands in its first line"
    return values


def _ratio_text(ratio: float, low: float, high: float) -> str:
    if np.isnan(ratio):
        return "–"
    shown, *limits = (number_text(value, ratio_digits(ratio)) for value in (ratio, low, high))
    return f"{shown} ({'–'.join(limits)})" if not np.isnan([low, high]).any() else shown


def logistic_table(
    frame: pd.DataFrame,
    outcome: str | pd.Series,
    predictors: Sequence[str],
    *,
    univariate: bool = True,
    multivariate: bool = True,
    keep_p: float | None = None,
    firth: bool | str = "when separated",
    references: Mapping[str, str] | None = None,
    per: Mapping[str, float | str] | float | str | None = None,
    interval: Interval = "wald",
    level: float = 0.95,
) -> LogisticTable:
    """Univariate and multivariate logistic regression.

    Parameters
    ----------
    frame
        One row a patient.
    outcome
        Column with 0 and 1 (or a Series with the same index).
    predictors
        Columns; text and categories are coded against a reference level.
    univariate, multivariate
        Which analyses to make.
    keep_p
        Take into the multivariate model only predictors whose univariate P (of the whole predictor) is below this;
        None takes all. Such screening is common and makes the remaining P values too small.
    firth
        True (always), False (never), or "when separated".
    per
        Step of the odds ratios, as `LogisticFit.odds_ratios`.
    interval
        `wald`, `profile` (as R prints it) or `exact`; Firth's fits always have profile limits.

    Raises
    ------
    TableError, OutcomeError
        A column is missing, or the outcome is not binary or of one class.
    """
    y, name = _outcome(frame, outcome)
    known = ~np.isnan(y)
    if not predictors:
        raise TableError("There are no predictors.", expected="names of columns")
    used = frame.loc[known]
    binary_outcome(y[known], what=f"outcome {name}")
    notes: list[str] = []
    single: list[TableLine] = []
    screened: list[str] = []
    for predictor in predictors:
        if univariate or keep_p is not None:
            design = treatment_design(used, [predictor], references=references)
            fit = _fit(design, y[known], firth, notes, predictor)
            lines = _lines(fit, design, per, interval, level)
            single.extend(lines if univariate else [])
            if keep_p is None or (lines and lines[0].p_term < keep_p):
                screened.append(predictor)
        else:
            screened.append(predictor)
    fit_all, several = None, []
    excluded, inflation = 0, pd.Series(dtype=float, name="vif")
    if multivariate and screened:
        design = treatment_design(used, screened, references=references)
        excluded = int((~known).sum() + (~design.rows).sum())
        fit_all = _fit(design, y[known], firth, notes, "the multivariate model")
        several = _lines(fit_all, design, per, interval, level)
        inflation = vif(fit_all, design.terms) if fit_all is not None else inflation
    elif multivariate:
        notes.append("No predictor passed the univariate screen, so there is no multivariate model.")
    notes += _unsuitable_steps(used, single or several)
    return LogisticTable(
        outcome=name,
        univariate=tuple(single),
        multivariate=tuple(several),
        fit=fit_all,
        vif=inflation,
        chosen=tuple(screened),
        excluded=excluded,
        level=level,
        interval=interval,
        notes=tuple(notes),
    )


def _outcome(frame: pd.DataFrame, outcome: str | pd.Series) -> tuple[np.ndarray, str]:
    if isinstance(outcome, pd.Series):
        column, name = outcome.reindex(frame.index), str(outcome.name or "outcome")
    elif outcome in frame.columns:
        column, name = frame[outcome], outcome
    else:
        raise TableError(
            "The outcome is not a column of the table.",
            expected=", ".join(str(item) for item in frame.columns[:20]),
            found=str(outcome),
        )
    known = column.notna().to_numpy()
    if not known.any():
        raise OutcomeError("The outcome has no values.", where=f"column {name}")
    y = np.full(len(column), np.nan)
    y[known] = one_class_allowed(column[known].to_numpy(), what=f"outcome {name}")
    return y, name


def _fit(design: Design, y: np.ndarray, firth: bool | str, notes: list[str], what: str) -> LogisticFit | None:
    """The fit, by Firth's method where asked for or needed; None (with a note) where only one class is left."""
    outcome = y[design.rows]
    if outcome.min() == outcome.max():
        notes.append(f"{what}: the patients with a value have one class only.")
        return None
    if firth is True:
        return fit_firth(design.matrix, outcome, design.names)
    fit = fit_logistic(design.matrix, outcome, design.names)
    if fit.status == "separated" and firth:
        notes.append(f"{what}: {fit.reason}; Firth's penalized fit is shown.")
        return fit_firth(design.matrix, outcome, design.names)
    if not fit.ok:
        notes.append(f"{what}: no estimate ({fit.status}: {fit.reason}).")
    return fit


def _without(row: pd.Series) -> str:
    """Why a ratio or a limit of an estimated coefficient is no finite number; empty where all are."""
    shown = row[["odds_ratio", "ci_low", "ci_high"]].to_numpy(dtype=float)
    if np.isnan(shown).any():
        return "no limit of the profile likelihood was found"
    if np.isinf(shown[0]) or shown[0] == 0.0:
        return "the odds ratio for this step lies beyond every number: choose another step"
    return "a limit lies beyond every number" if np.isinf(shown).any() else ""


def _unsuitable_steps(frame: pd.DataFrame, lines: Sequence[TableLine]) -> list[str]:
    """A sentence a numeric predictor whose odds ratio is that of a step unlike the differences of its values.

    Beyond a ratio of 10,000 a step is none that patients differ by; within half a hundredth of 1 nothing can be read.
    """
    found = []
    for line in lines:
        if line.method == "none" or line.term not in frame or not np.isfinite(line.coef):
            continue
        sizes = np.abs(np.log(np.clip([line.odds_ratio, line.low, line.high], 1e-300, 1e300)))
        spread = float(np.std(frame[line.term].to_numpy(dtype=float)[frame[line.term].notna()]))
        large, small = float(sizes[0]) > np.log(1e4), float(np.nanmax(sizes)) < 0.005
        if (large and abs(line.coef) * spread < 8) or small:
            found.append(
                f"{line.term}: its odds ratio is that of a step much {'larger' if large else 'smaller'} than its "
                f"values differ by; per standard deviation ({spread:.3g}) it is {ratio_of(line.coef * spread):.3g}. "
                "Another unit would suit it."
            )
    return found


def _lines(
    fit: LogisticFit | None,
    design: Design,
    per: Mapping[str, float | str] | float | str | None,
    interval: Interval,
    level: float,
) -> list[TableLine]:
    if fit is None:
        nan = float("nan")
        reason = "one class only"
        return [
            TableLine(term, name, nan, nan, nan, nan, nan, nan, nan, int(design.rows.sum()), 0, "none", reason)
            for term, columns in design.terms.items()
            for name in (design.names[j] for j in columns)
        ]
    method: Interval | None = None if fit.method == "firth" else interval
    table = fit.odds_ratios(per, level=level, method=method)
    lines = []
    for term, columns in design.terms.items():
        whole = fit.term_p(columns)
        for position, j in enumerate(columns):
            row = table.iloc[j]
            lines.append(
                TableLine(
                    predictor=term,
                    term=design.names[j],
                    odds_ratio=float(row["odds_ratio"]),
                    low=float(row["ci_low"]),
                    high=float(row["ci_high"]),
                    p=float(row["p"]),
                    p_term=whole if position == 0 else float("nan"),
                    coef=float(fit.coef[j]),
                    se=float(fit.se[j + 1]),
                    n=fit.n,
                    n_events=fit.n_events,
                    method=fit.method,
                    reason=fit.reason or _without(row),
                )
            )
    return lines
