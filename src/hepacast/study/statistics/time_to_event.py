"""`hepacast stats survival`: Kaplan-Meier by group or score, log-rank, Cox with its checks, AUC(t)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from hepacast.core.p_values import p_sentence
from hepacast.errors import HepacastError, ModelError
from hepacast.evaluation.delong import check_level
from hepacast.stats.intervals import ci_label
from hepacast.stats.kaplan_meier import ConfidenceType, KaplanMeier, check_follow_up, kaplan_meier
from hepacast.study.statistics import survival_parts as parts
from hepacast.study.statistics.cox_fits import default_times
from hepacast.study.statistics.cut_points import Cut, choose_cut
from hepacast.study.statistics.reading import load
from hepacast.study.statistics.result import (
    StatisticsResult,
    note_lines,
    paragraphs,
    ratio,
    short,
    text_table,
    with_limits,
)
from hepacast.study.statistics.table import AnalysisTable, Flow, complete_rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HIGH, LOW = "high", "low"


@dataclass(frozen=True, repr=False)
class SurvivalResult(StatisticsResult):
    """Survival: curves by group, tests, Cox tables, a score's C and AUC(t).

    Attributes
    ----------
    curves
        By group; one, "All", without groups.
    comparison
        Log-rank test and pairs of groups; None with one group.
    cox
        Analyses of the predictors; None when none were named.
    score
        C-index, hazard ratio and AUC(t) of the score; None without.
    """

    time_name: str
    event_name: str
    flow: Flow
    times: tuple[float, ...]
    curves: Mapping[str, KaplanMeier]
    comparison: parts.Comparison | None
    cut: Cut | None
    score: parts.ScoreResult | None
    cox: parts.CoxResult | None
    unit: str
    notes: tuple[str, ...]
    level: float = 0.95

    def text(self) -> str:
        """All tables."""
        events = sum(curve.n_events for curve in self.curves.values())
        n = sum(curve.n for curve in self.curves.values())
        head = f"Survival ({self.time_name}, {self.event_name}): n = {n}, events = {events}. {self.flow.text()}"
        return paragraphs(
            head,
            "" if self.cut is None else self._cut_text(),
            text_table(self._curve_table(), title="Kaplan-Meier"),
            "" if self.comparison is None else self.comparison.text(),
            "" if self.score is None else self.score.text(),
            "" if self.cox is None else self.cox.text(),
            note_lines(self.notes),
        )

    def _cut_text(self) -> str:
        assert self.cut is not None
        line = f"Cut-off {short(self.cut.value)}: {self.cut.label}."
        if self.cut.same_data:
            line += " The log-rank P and the hazard ratio of the groups are too good."
        if np.isfinite(self.cut.p_corrected):
            line += (
                f" Corrected {p_sentence(self.cut.p_corrected)} (Lausen 1994; 1992: {p_sentence(self.cut.p_lau92)})."
            )
        return line

    def _curve_table(self) -> pd.DataFrame:
        rows = []
        for name, curve in self.curves.items():
            row = {"Group": name, "n": str(curve.n), "Events": str(curve.n_events)}
            row[f"Median ({ci_label(self.level)})"] = _median(curve)
            for t in self.times:
                s, low, high = parts.survival_at(curve, t)
                row[f"S({t:g}) ({ci_label(self.level)}), at risk"] = (
                    f"{with_limits(s, low, high)}, {int(curve.at_risk([t])[0])}"
                    if np.isfinite(s)
                    else "beyond follow-up"
                )
            rows.append(row)
        return pd.DataFrame(rows)

    def to_json(self) -> dict[str, Any]:
        """Every number; the curves with all their steps."""
        return {
            "time": self.time_name,
            "event": self.event_name,
            "confidence": self.level,
            "flow": self.flow.to_json(),
            "groups": {name: parts.curve_json(curve, self.times) for name, curve in self.curves.items()},
            "cut": None if self.cut is None else self.cut.to_json(),
            "log_rank": None if self.comparison is None else self.comparison.to_json(),
            "score": None if self.score is None else self.score.to_json(),
            "cox": None if self.cox is None else self.cox.to_json(),
            "notes": list(self.notes),
            **{f"{name}_reason": why for name, why in self._not_asked().items() if getattr(self, name) is None},
            **({"log_rank_reason": "there are no groups to compare"} if self.comparison is None else {}),
        }

    def _not_asked(self) -> dict[str, str]:
        return {
            "cut": "no score was cut",
            "score": "no score was given",
            "cox": "no predictors were given",
        }

    def to_frame(self) -> pd.DataFrame:
        """One row a group: n, events, median and limits, survival at the times."""
        rows = {}
        for name, curve in self.curves.items():
            median, low, high = curve.median
            rows[name] = {"n": curve.n, "events": curve.n_events, "median": median, "lower": low, "upper": high}
            rows[name] |= {f"survival_{t:g}": parts.survival_at(curve, t)[0] for t in self.times}
        return pd.DataFrame.from_dict(rows, orient="index")

    def drawings(self) -> Mapping[str, Callable[[], Figure]]:
        """`kaplan-meier`, `time-dependent-auc` and `forest` where there is such a thing."""
        found: dict[str, Callable[[], Figure]] = {"kaplan-meier": self._draw_curves}
        if self.score is not None and len(self.score.auc) > 1:
            found["time-dependent-auc"] = lambda: parts.draw_auc(self.score, self._label("Time"))
        if self.cox is not None and not self.cox.table.empty:
            found["forest"] = self.cox.draw
        return found

    def _label(self, what: str) -> str:
        return f"{what} ({self.unit})" if self.unit else what

    def _draw_curves(self) -> Figure:
        p, test, note = None, "log-rank", ""
        if self.comparison is not None and np.isfinite(self.comparison.p):
            p = self.comparison.p
            if self.cut is not None and np.isfinite(self.cut.p_corrected):
                p, test = self.cut.p_corrected, "maxstat, corrected"
            elif self.cut is not None and self.cut.same_data:
                test = "log-rank, cut-off from these patients"
            if self.comparison.hazard_ratio is not None:
                hr, low, high, _ = self.comparison.hazard_ratio
                note = f"HR ({ci_label(self.level)}) {ratio(hr, low, high)}"
                if self.cut is not None and self.cut.same_data:
                    note += ", not corrected"
        return parts.draw_curves(self.curves, p=p, test=test, note=note, x_label=self._label("Time"))


def _median(curve: KaplanMeier) -> str:
    median, low, high = curve.median
    if not np.isfinite(median):
        return "not reached"
    upper = "not reached" if not np.isfinite(high) else short(high)
    return f"{short(median)} ({short(low)} to {upper})" if np.isfinite(low) else f"{short(median)} (no lower limit)"


def survival(
    source: str | Path | pd.DataFrame | AnalysisTable,
    *,
    time: str,
    event: str,
    positive: str | None = None,
    group: str | None = None,
    score: str | None = None,
    cut: str | float = "median",
    predictors: str | Sequence[str] = (),
    at: Sequence[float] = (),
    confidence: ConfidenceType = "log",
    unit: str = "",
    level: float = 0.95,
) -> SurvivalResult:
    """Survival of all patients, of groups, or of patients below and above a score's cut-off.

    Patients without time, event, group or score are left out of everything; those without a predictor only of the
    Cox model, which counts them itself.

    Parameters
    ----------
    group, score
        One of them, or neither.
    cut
        ``median``, ``youden``, ``maxstat`` or a value chosen elsewhere.
    predictors
        Columns of the Cox models (each alone, and all together).
    at
        Times for survival and AUC(t); round times within the follow-up otherwise.
    confidence
        Scale of the Kaplan-Meier limits: ``log`` (R's default), ``log-log`` or ``plain``.
    level
        Of the confidence intervals.

    Raises
    ------
    TableError, OutcomeError, ModelError
        Columns that cannot be used, negative times, a cut-off that puts all patients on one side.
    """
    if group is not None and score is not None:
        raise ModelError("Give a group or a score, not both.", found=f"{group} and {score}")
    level, table = check_level(level), load(source)
    t, e = table.numbers(time), table.binary(event, positive)
    needed = {str(t.name): t, str(e.name): e}
    if group is not None:
        needed[table.column(group)] = table.categories(group)
    if score is not None:
        needed[table.column(score)] = table.numbers(score)
    rows, flow = complete_rows(needed)
    times, events = check_follow_up(t[rows].to_numpy(), e[rows].to_numpy())
    if any(value <= 0 for value in at):
        raise ModelError("Times must be above 0.", found=", ".join(f"{value:g}" for value in at))
    horizons = tuple(float(value) for value in at) or tuple(default_times(times, events))
    if events.sum() == 0:
        table.note("Nobody had the event: there is nothing to test or to model.")
    labels, chosen, scored = np.full(len(times), "All", dtype=object), None, None
    if group is not None:
        labels = needed[table.column(group)][rows].astype(str).to_numpy(dtype=object)
    elif score is not None:
        values = needed[table.column(score)][rows].to_numpy(dtype=float)
        chosen = choose_cut(str(cut), values, times, events, float(at[0]) if at else None)
        labels = np.where(values >= chosen.value, HIGH, LOW).astype(object)
        scored = parts.judge_score(table.column(score), values, times, events, horizons, level=level)
        if len(set(labels)) < 2:
            raise ModelError(
                "The cut-off puts all patients into one group.",
                expected=f"between {short(values.min())} and {short(values.max())}",
                found=short(chosen.value),
            )
    order = (
        [LOW, HIGH] if score is not None
        else [str(level) for level in needed[table.column(group)].cat.categories] if group is not None
        else ["All"]
    )  # fmt: skip
    order = [name for name in order if (labels == name).any()]
    curves = {
        name: kaplan_meier(times[labels == name], events[labels == name], level=level, confidence=confidence)
        for name in order
    }
    comparison = parts.compare_groups(times, events, labels, order, level=level) if len(order) > 1 else None
    if group is not None and len(order) == 1:
        table.note(f"All patients are in the group {order[0]}: there is nothing to compare.")
    cox = _cox(table, predictors, t, e, rows, level) if predictors else None
    return SurvivalResult(
        str(t.name),
        str(e.name),
        flow,
        horizons,
        curves,
        comparison,
        chosen,
        scored,
        cox,
        unit,
        tuple(table.notes),
        level,
    )


def _cox(
    table: AnalysisTable, predictors: str | Sequence[str], t: pd.Series, e: pd.Series, rows: Any, level: float
) -> parts.CoxResult:
    names = [name for name in table.columns(predictors) if name not in (t.name, e.name)]
    if not names:
        raise ModelError("There are no predictors.", expected="columns other than time and event")
    columns = {name: table.predictor(name)[rows] for name in names}
    try:
        return parts.cox_result(columns, t[rows], e[rows], level=level)
    except HepacastError as problem:
        if float(e[rows].sum()) == 0:
            return parts.CoxResult.failed(problem.message)
        raise
