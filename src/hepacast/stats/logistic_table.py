"""The table of a paper: univariate and multivariate logistic regression of a table's columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd

from hepacast.core import views
from hepacast.core.formatting import number, p_value, ratio_with_interval
from hepacast.core.records import Record, sparse
from hepacast.core.tables import Table, make_table
from hepacast.errors import OutcomeError, TableError
from hepacast.stats.design import Design, binary_outcome, one_class_allowed, treatment_design
from hepacast.stats.effects import ratio_of
from hepacast.stats.firth import fit_firth
from hepacast.stats.intervals import ci_label, level_text
from hepacast.stats.logistic import fit_logistic
from hepacast.stats.logistic_fit import Interval, LogisticFit, LogisticSummary
from hepacast.stats.selection import vif

_LATER = "the P of the whole predictor stands in its first line"


@dataclass(frozen=True)
class TableLine(Record):
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
    p_term_reason: str = sparse("")

    @property
    def with_limits(self) -> tuple[float, float, float]:
        """Odds ratio and its limits."""
        return self.odds_ratio, self.low, self.high


@dataclass(frozen=True, repr=False)
class LogisticTable(Record, views.Shown):
    """Univariate and multivariate logistic regression side by side.

    Attributes
    ----------
    interval, confidence
        Kind and level of the limits.
    univariate
        Lines of each predictor on its own, fitted to all patients with a value of it; empty when not asked for.
    multivariate
        Lines of the model with all chosen predictors, fitted to the patients who have all of them.
    chosen
        Predictors of the multivariate model.
    excluded
        Patients left out of the multivariate fit (outcome or predictor missing).
    vif
        Variance inflation of the multivariate predictors.
    fit
        The multivariate fit; None, with a reason, when no predictor was chosen or there was no multivariate analysis.
    notes
        What a reader must know: separation and Firth's answer to it, what could not be fitted.
    """

    outcome: str
    interval: str
    confidence: float
    univariate: tuple[TableLine, ...]
    multivariate: tuple[TableLine, ...]
    chosen: tuple[str, ...]
    excluded: int
    vif: dict[str, float]
    fit: LogisticSummary | None
    notes: tuple[str, ...]
    fit_reason: str = sparse("")

    @property
    def analyses(self) -> dict[str, dict[str, TableLine]]:
        """Lines by term of each analysis that was made."""
        made = {"univariate": self.univariate, "multivariate": self.multivariate}
        return {name: {line.term: line for line in lines} for name, lines in made.items() if lines}

    def to_frame(self) -> pd.DataFrame:
        """One row a term: OR, limits and P of both analyses, as numbers."""
        terms = dict.fromkeys(term for lines in self.analyses.values() for term in lines)
        columns = {
            f"{name}_{key}": [getattr(lines[term], key) if term in lines else np.nan for term in terms]
            for name, lines in self.analyses.items()
            for key in ("odds_ratio", "low", "high", "p")
        }
        return pd.DataFrame(columns, index=pd.Index(terms, name="term"))


@views.table.register
def _(found: LogisticTable) -> Table:
    inflation = {line.term: found.vif[line.predictor] for line in found.multivariate if line.predictor in found.vif}
    return ratio_table(found.analyses, f"OR ({ci_label(found.confidence)})", {"VIF": inflation} if inflation else {})


@views.sentence.register
def _(found: LogisticTable) -> str:
    fit = found.fit
    if fit is None or fit.status != "ok":
        return ""
    return f"Multivariate model, {views.sentence(fit)}"


@views.page.register
def logistic_page(found: LogisticTable) -> Sequence[str | Table]:
    """The table, the fit of the multivariate model, and the notes."""
    kind = "Wald" if found.interval == "wald" else "profile likelihood"
    limits = f"Limits: {level_text(found.confidence)}, {kind} (Firth: penalized profile)."
    notes = [*found.notes, f"{limits} P: Wald (Firth: penalized likelihood ratio)."]
    return views.table(found), views.sentence(found), "\n".join(f"Note: {note}" for note in notes)


class HasRatio(Protocol):
    """A coefficient as a ratio with limits, and its P."""

    @property
    def with_limits(self) -> tuple[float, float, float]: ...

    @property
    def p(self) -> float: ...


def ratio_table(
    analyses: Mapping[str, Mapping[str, HasRatio]],
    head: str,
    more: Mapping[str, Mapping[str, float]] | None = None,
    *,
    title: str = "",
) -> Table:
    """One row a term: ratio with limits and P of each analysis, then further numbers.

    Parameters
    ----------
    analyses
        Name -> term -> its coefficient.
    head
        What the ratios are: ``OR (95% CI)``.
    more
        Head -> term -> number; those under a head that begins with P are P values.
    """
    columns = ["Term"]
    for name in analyses:
        columns += [f"{head}, {name}", f"P, {name}"] if name else [head, "P"]
    rows = []
    for term in dict.fromkeys(term for lines in analyses.values() for term in lines):
        row = [term]
        for lines in analyses.values():
            row += (
                [ratio_with_interval(*lines[term].with_limits), p_value(lines[term].p)] if term in lines else ["", ""]
            )
        for what, values in (more or {}).items():
            shown = p_value if what.startswith("P") else number
            row.append(shown(values[term]) if term in values else "")
        rows.append(row)
    return make_table(title, [*columns, *(more or {})], rows)


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
    binary_outcome(y[known], what=f"outcome {name}")
    fits = _Fits(frame.loc[known], y[known], references, firth, per, interval, level, [])
    single: list[TableLine] = []
    screened = list(predictors)
    if univariate or keep_p is not None:
        for predictor in predictors:
            lines, *_ = fits.of([predictor], predictor)
            single.extend(lines if univariate else [])
            if keep_p is not None and not (lines and lines[0].p_term < keep_p):
                screened.remove(predictor)
    return fits.table(name, single, screened, len(y), multivariate)


@dataclass
class _Fits:
    """Fits of one table's predictors, and what must be said of them."""

    frame: pd.DataFrame
    y: np.ndarray
    references: Mapping[str, str] | None
    firth: bool | str
    per: Mapping[str, float | str] | float | str | None
    interval: Interval
    level: float
    notes: list[str]

    def of(self, predictors: Sequence[str], what: str) -> tuple[list[TableLine], LogisticFit | None, Design]:
        """Lines of a model, its fit, and its columns."""
        design = treatment_design(self.frame, predictors, references=self.references)
        fit = _fit(design, self.y, self.firth, self.notes, what)
        return _lines(fit, design, self.per, self.interval, self.level), fit, design

    def table(
        self, outcome: str, single: list[TableLine], chosen: list[str], n: int, multivariate: bool
    ) -> LogisticTable:
        """The lines of each predictor beside those of the model with the chosen ones."""
        several: list[TableLine] = []
        fit, excluded, inflation = None, 0, {}
        if multivariate and chosen:
            several, fit, design = self.of(chosen, "the multivariate model")
            excluded = n - len(self.y) + int((~design.rows).sum())
            if fit is not None:
                inflation = {str(name): float(value) for name, value in vif(fit, design.terms).items()}
        elif multivariate:
            self.notes.append("No predictor passed the univariate screen, so there is no multivariate model.")
        return LogisticTable(
            outcome=outcome,
            interval=self.interval,
            confidence=self.level,
            univariate=tuple(single),
            multivariate=tuple(several),
            chosen=tuple(chosen),
            excluded=excluded,
            vif=inflation,
            fit=None if fit is None else fit.summary(self.level),
            notes=(*self.notes, *_unsuitable_steps(self.frame, single or several)),
            fit_reason="there is no multivariate model" if fit is None else "",
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
                    p_term_reason=_LATER if position and np.isfinite(row["p"]) else "",
                )
            )
    return lines
