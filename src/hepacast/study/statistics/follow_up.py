"""`hepacast stats survival`: Kaplan-Meier by group or score, log-rank, Cox with its checks, AUC(t)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import norm

from hepacast.cohort.patient_rows import name_rows
from hepacast.core import views
from hepacast.core.formatting import (
    NOT_ESTIMABLE,
    number,
    p_sentence,
    ratio_with_interval,
    short,
    with_interval,
)
from hepacast.core.records import Record, sparse
from hepacast.core.tables import Table, make_table
from hepacast.errors import HepacastError, ModelError, OutcomeError
from hepacast.evaluation.delong import check_level
from hepacast.evaluation.time_dependent import auc_at
from hepacast.stats.adjust import p_adjust
from hepacast.stats.cox_checks import concordance
from hepacast.stats.effects import ratio_of
from hepacast.stats.intervals import ci_label
from hepacast.stats.kaplan_meier import ConfidenceType, KaplanMeier, LogRank, check_follow_up, kaplan_meier, log_rank
from hepacast.study.statistics.cut_points import ChosenCut, choose_cut
from hepacast.study.statistics.fits import cox_estimate, default_times
from hepacast.study.statistics.reading import load
from hepacast.study.statistics.regression import CoxModels, cox_models
from hepacast.study.statistics.result import StatisticsResult, note_lines
from hepacast.study.statistics.table import AnalysisTable, RowsUsed, complete_rows

Array = npt.NDArray[np.float64]
HIGH, LOW = "high", "low"
NAN = float("nan")


@dataclass(frozen=True)
class MedianTime(Record):
    """Median of a curve with its limits; NaN, with a reason, where the curve or a limit does not fall to one half."""

    estimate: float
    lower: float
    upper: float
    reason: str = sparse("")

    def text(self) -> str:
        """``310 (285-363)``, or what was not reached."""
        if np.isnan(self.estimate):
            return "not reached"
        if np.isnan(self.lower):
            return f"{short(self.estimate)} (no lower limit)"
        upper = "not reached" if np.isnan(self.upper) else short(self.upper)
        return f"{short(self.estimate)} ({short(self.lower)} to {upper})"


@dataclass(frozen=True)
class SurvivalAt(Record):
    """Survival at a time, and patients at risk; NaN, with a reason, beyond the follow-up."""

    time: float
    survival: float
    lower: float
    upper: float
    at_risk: int
    reason: str = sparse("")


@dataclass(frozen=True)
class KaplanMeierSummary(Record):
    """The Kaplan-Meier curve of a group, with what is read off it; `reason` tells of limits that its end has not."""

    n: int
    events: int
    median: MedianTime
    at: tuple[SurvivalAt, ...]
    curve: KaplanMeier
    reason: str = sparse("")


@dataclass(frozen=True)
class HazardRatioEstimate(Record):
    """A hazard ratio with its limits, and its P; NaN with a reason."""

    hr: float
    lower: float = sparse(NAN)
    upper: float = sparse(NAN)
    p: float = sparse(NAN)
    reason: str = sparse("")

    @property
    def known(self) -> bool:
        """Whether there is an estimate."""
        return not np.isnan(self.hr)

    def text(self) -> str:
        """The ratio with its limits."""
        return ratio_with_interval(self.hr, self.lower, self.upper, words=True)


@dataclass(frozen=True)
class GroupPair(Record):
    """Log-rank P of two of several groups, and the same adjusted after Holm."""

    a: str
    b: str
    p: float
    p_holm: float


@dataclass(frozen=True)
class GroupComparison(Record, views.Shown):
    """Log-rank test of all groups, of their pairs, and the hazard ratio of the second of two groups over the first.

    `observed` and `expected` events are in the order of the groups.
    """

    groups: tuple[str, ...]
    confidence: float
    hazard_ratio: HazardRatioEstimate
    chi2: float = NAN
    df: int | None = None
    p: float = NAN
    reason: str = ""
    observed: tuple[float, ...] = sparse(())
    expected: tuple[float, ...] = sparse(())
    pairs: tuple[GroupPair, ...] = ()


@views.sentence.register
def _(found: GroupComparison) -> str:
    if found.df is None:
        return f"Log-rank test: not possible ({found.reason})."
    lines = [f"Log-rank test: chi2 {number(found.chi2, 3)}, df {found.df}, {p_sentence(found.p)}."]
    ratio = found.hazard_ratio
    if ratio.known:
        title = f"Hazard ratio ({ci_label(found.confidence)}), {found.groups[1]} against {found.groups[0]}"
        lines.append(f"{title}: {ratio.text()}, {p_sentence(ratio.p)}.")
    elif len(found.groups) == 2:
        lines.append(f"Hazard ratio: {NOT_ESTIMABLE} ({ratio.reason}).")
    for pair in found.pairs:
        lines.append(f"  {pair.a} and {pair.b}: {p_sentence(pair.p)}, Holm-adjusted {p_sentence(pair.p_holm)}.")
    return "\n".join(lines)


@dataclass(frozen=True)
class ScoreAuc(Record):
    """AUC of a score for the event by a time, with events by then and patients followed beyond."""

    time: float
    auc: float
    se: float
    lower: float
    upper: float
    n_events: int
    n_at_risk: int


@dataclass(frozen=True)
class ScoreOverTime(Record, views.Shown):
    """A score over time: C-index, hazard ratio per unit and per SD, AUC at each time; what is not there has a reason.

    `auc_impossible` names the times without AUC, with the reason.
    """

    name: str
    confidence: float
    c: float = NAN
    c_se: float = NAN
    c_ci: tuple[float, float] = (NAN, NAN)
    uno_c: float = NAN
    uno_c_reason: str = ""
    hazard_ratio: HazardRatioEstimate | None = None
    hazard_ratio_per_sd: HazardRatioEstimate | None = None
    reason: str = ""
    auc: tuple[ScoreAuc, ...] = ()
    auc_impossible: dict[str, str] = field(default_factory=dict)


@views.sentence.register
def _(found: ScoreOverTime) -> str:
    ci = ci_label(found.confidence)
    lines = [f"Score {found.name} (higher: earlier event)"]
    if not np.isnan(found.c):
        lines[0] += f": Harrell's C ({ci}) {with_interval(found.c, *found.c_ci, words=True)}"
        lines[0] += "." if np.isnan(found.uno_c) else f", Uno's C {number(found.uno_c, 3)}."
    ratio, per_sd = found.hazard_ratio, found.hazard_ratio_per_sd
    if ratio is not None and per_sd is not None:
        lines.append(f"Hazard ratio ({ci}) per unit {ratio.text()}, per SD {per_sd.text()}, {p_sentence(ratio.p)}.")
    elif found.reason:
        lines.append(f"Hazard ratio: {NOT_ESTIMABLE} ({found.reason}).")
    lines += [f"AUC at {t}: not possible ({why})." for t, why in found.auc_impossible.items()]
    return "\n".join(lines)


@views.table.register
def _(found: ScoreOverTime) -> Table:
    rows = [
        (f"{row.time:g}", with_interval(row.auc, row.lower, row.upper), str(row.n_events), str(row.n_at_risk))
        for row in found.auc
    ]
    return make_table("", ("Time", f"AUC(t) ({ci_label(found.confidence)})", "Events by then", "Followed beyond"), rows)


@dataclass(frozen=True, repr=False)
class FollowUpResult(StatisticsResult):
    """Survival: curves by group, tests, Cox models, a score's C and AUC(t).

    Attributes
    ----------
    time, event
        Columns.
    groups
        Curves by group; one, "All", without groups.
    cut, score
        How a score was cut, and how well it orders patients; None without a score.
    log_rank
        Test of the groups and of their pairs; None with one group.
    cox
        Models of the predictors; None when none were named.
    """

    time: str
    event: str
    confidence: float
    flow: RowsUsed
    groups: dict[str, KaplanMeierSummary]
    cut: ChosenCut | None = None
    log_rank: GroupComparison | None = None
    score: ScoreOverTime | None = None
    cox: CoxModels | None = None
    unit: str = ""
    notes: tuple[str, ...] = ()
    cut_reason: str = sparse("")
    log_rank_reason: str = sparse("")
    score_reason: str = sparse("")
    cox_reason: str = sparse("")

    def __post_init__(self) -> None:
        for name, why in _NOT_ASKED.items():
            if getattr(self, name) is None:
                object.__setattr__(self, f"{name}_reason", why)

    def to_frame(self) -> pd.DataFrame:
        """One row a group: n, events, median and limits, survival at the times."""
        rows = {}
        for name, group in self.groups.items():
            median = group.median
            rows[name] = {"n": group.n, "events": group.events, "median": median.estimate}
            rows[name] |= {"lower": median.lower, "upper": median.upper}
            rows[name] |= {f"survival_{row.time:g}": row.survival for row in group.at}
        return pd.DataFrame.from_dict(rows, orient="index")


_NOT_ASKED = {
    "cut": "no score was cut",
    "log_rank": "there are no groups to compare",
    "score": "no score was given",
    "cox": "no predictors were given",
}


@views.table.register
def _(found: FollowUpResult) -> Table:
    ci = ci_label(found.confidence)
    times = next(iter(found.groups.values())).at
    columns = ["Group", "n", "Events", f"Median ({ci})", *(f"S({row.time:g}) ({ci}), at risk" for row in times)]
    rows = []
    for name, group in found.groups.items():
        at = [
            "beyond follow-up"
            if np.isnan(row.survival)
            else f"{with_interval(row.survival, row.lower, row.upper)}, {row.at_risk}"
            for row in group.at
        ]
        rows.append((name, str(group.n), str(group.events), group.median.text(), *at))
    return make_table("Kaplan-Meier", columns, rows)


@views.page.register
def _(found: FollowUpResult) -> Sequence[str | Table]:
    n, events = (sum(getattr(group, name) for group in found.groups.values()) for name in ("n", "events"))
    parts: list[str | Table] = [
        f"Survival ({found.time}, {found.event}): n = {n}, events = {events}. {found.flow.text()}",
        "" if found.cut is None else _cut_text(found.cut),
        views.table(found),
    ]
    if found.log_rank is not None:
        parts.append(views.sentence(found.log_rank))
    if found.score is not None:
        parts += [views.sentence(found.score), *([views.table(found.score)] if found.score.auc else [])]
    if found.cox is not None:
        parts += views.page(found.cox)
    return [*parts, note_lines(found.notes)]


def _cut_text(cut: ChosenCut) -> str:
    line = f"Cut-off {short(cut.value)}: {cut.label}."
    if cut.same_data:
        line += " The log-rank P and the hazard ratio of the groups are too good."
    if not np.isnan(cut.p_corrected):
        line += f" Corrected {p_sentence(cut.p_corrected)} (Lausen 1994; 1992: {p_sentence(cut.p_lau92)})."
    return line


@views.drawings.register
def _(found: FollowUpResult) -> views.Drawings:
    """`kaplan-meier`, `time-dependent-auc` and `forest` where there is such a thing."""
    from hepacast.study.statistics.drawing import draw_auc_over_time, draw_ratios

    ci, label = ci_label(found.confidence), f"Time ({found.unit})" if found.unit else "Time"
    drawn: dict[str, Callable[[], Any]] = {"kaplan-meier": partial(_draw_curves, found, label)}
    if found.score is not None and len(found.score.auc) > 1:
        rows = pd.DataFrame([vars(row) for row in found.score.auc])
        values = [rows[name].to_numpy() for name in ("time", "auc", "lower", "upper")]
        drawn["time-dependent-auc"] = partial(draw_auc_over_time, *values, x_label=label, ci=ci)
    if found.cox is not None and found.cox.multivariate:
        drawn["forest"] = partial(draw_ratios, found.cox.multivariate, measure="Hazard ratio", short="HR", ci=ci)
    return drawn


def _draw_curves(found: FollowUpResult, label: str) -> Any:
    """Kaplan-Meier curves with bands, marks of censoring, numbers at risk, and the P that pays for the cut-off."""
    from hepacast.study.statistics.drawing import draw_curves

    p, test, note = None, "log-rank", ""
    same = found.cut is not None and found.cut.same_data
    if found.log_rank is not None and not np.isnan(found.log_rank.p):
        p = found.log_rank.p
        if found.cut is not None and not np.isnan(found.cut.p_corrected):
            p, test = found.cut.p_corrected, "maxstat, corrected"
        elif same:
            test = "log-rank, cut-off from these patients"
        if found.log_rank.hazard_ratio.known:
            note = f"HR ({ci_label(found.confidence)}) {found.log_rank.hazard_ratio.text()}"
            note += ", not corrected" if same else ""
    curves = {name: group.curve for name, group in found.groups.items()}
    return draw_curves(curves, p=p, test=test, note=note, x_label=label)


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
) -> FollowUpResult:
    """Survival of all patients, of groups, or of patients below and above a score's cut-off.

    Patients without time, event, group or score are left out; those without a predictor only of the Cox model.

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
    level, table = check_level(level), load(source)
    t, e, split = table.numbers(time), table.binary(event, positive), _split_column(table, group, score)
    rows, flow = complete_rows({str(c.name): c for c in (t, e, split) if c is not None})
    times, events = _checked(table, t, e, rows)
    if events.sum() == 0:
        table.note("Nobody had the event: there is nothing to test or to model.")
    horizons = _horizons(at, times, events)
    chosen = scored = None
    if split is not None and score is not None:
        chosen = choose_cut(str(cut), split[rows].to_numpy(float), times, events, float(at[0]) if at else None)
        scored = judge_score(str(split.name), split[rows].to_numpy(float), times, events, horizons, level=level)
    labels, order = (np.full(len(times), "All"), ["All"]) if split is None else _groups(split[rows], chosen)
    if split is not None and len(order) == 1:
        table.note(f"All patients are in the group {order[0]}: there is nothing to compare.")
    curve = partial(kaplan_meier, level=level, confidence=confidence)
    groups = {name: group_curve(curve(times[labels == name], events[labels == name]), horizons) for name in order}
    compared = compare_groups(times, events, labels, order, level=level) if len(order) > 1 else None
    cox = _cox(table, predictors, t, e, rows, level) if predictors else None
    return FollowUpResult(
        str(t.name), str(e.name), level, flow, groups, chosen, compared, scored, cox, unit, tuple(table.notes)
    )


def _horizons(at: Sequence[float], times: Array, events: Array) -> tuple[float, ...]:
    """The times that were asked for, or round ones within the follow-up."""
    if any(value <= 0 for value in at):
        raise ModelError("Times must be above 0.", found=", ".join(f"{value:g}" for value in at))
    return tuple(float(value) for value in at) or tuple(default_times(times, events))


def _checked(
    table: AnalysisTable, time: pd.Series, event: pd.Series, rows: npt.NDArray[np.bool_]
) -> tuple[Array, Array]:
    """Times and events of the complete rows; negative times are refused with their rows."""
    wrong = np.flatnonzero((time < 0).to_numpy() & rows)
    if len(wrong):
        raise OutcomeError(
            "A follow-up time is negative.",
            expected="0 or more",
            found=f"{time.min():g} in {name_rows(table.rows[place] for place in wrong)}",
            where=f"{table.name}, column {time.name}",
            remedy="correct the dates, or leave these patients out with a reason",
        )
    return check_follow_up(time[rows].to_numpy(), event[rows].to_numpy())


def _split_column(table: AnalysisTable, group: str | None, score: str | None) -> pd.Series | None:
    """The column that makes the groups."""
    if group is not None and score is not None:
        raise ModelError("Give a group or a score, not both.", found=f"{group} and {score}")
    return table.categories(group) if group is not None else table.numbers(score) if score is not None else None


def _groups(values: pd.Series, cut: ChosenCut | None) -> tuple[npt.NDArray[Any], list[str]]:
    """Group of each patient, and the groups that have patients, in order."""
    if cut is None:
        labels = values.astype(str).to_numpy(dtype=object)
        order = [str(level) for level in values.cat.categories]
    else:
        labels, order = np.where(values >= cut.value, HIGH, LOW).astype(object), [LOW, HIGH]
    order = [name for name in order if (labels == name).any()]
    if cut is not None and len(order) < 2:
        raise ModelError(
            "The cut-off puts all patients into one group.",
            expected=f"between {short(values.min())} and {short(values.max())}",
            found=short(cut.value),
        )
    return labels, order


def group_curve(curve: KaplanMeier, times: Sequence[float]) -> KaplanMeierSummary:
    """A curve with its median, and survival with number at risk at the times."""
    at = []
    for t in times:
        s, low, high = curve.with_limits(t)
        why = (
            "no estimate, or no limits, at a time that nobody is followed to" if np.isnan([s, low, high]).any() else ""
        )
        at.append(SurvivalAt(t, s, low, high, int(curve.at_risk([t])[0]), why))
    why = "the curve, or its limit, does not fall to 50% within the follow-up" if np.isnan(curve.median).any() else ""
    open_end = np.isnan([curve.std_error, curve.lower, curve.upper]).any() or np.isinf(curve.std_error).any()
    last = "there is no standard error, and there are no limits, once nobody is left" if open_end else ""
    return KaplanMeierSummary(curve.n, curve.n_events, MedianTime(*curve.median, why), tuple(at), curve, last)


def compare_groups(
    time: Array, event: Array, labels: npt.NDArray[Any], order: Sequence[str], *, level: float = 0.95
) -> GroupComparison:
    """Log-rank tests of all groups and of pairs, and the hazard ratio of two groups."""
    test, reason = _tested(time, event, labels)
    hazard = HazardRatioEstimate(NAN, reason=reason or "there are more than two groups")
    if len(order) == 2 and test is not None:
        try:
            second = (labels == order[1]).astype(float)
            hazard = _hazard_ratio(second, time, event, order[1], level)
        except HepacastError:
            all_in_one = len({str(label) for label, came in zip(labels, event) if came}) < 2
            why = "one group has no event, or all events" if all_in_one else "the events' order separates the groups"
            hazard = HazardRatioEstimate(NAN, reason=why)
    pairs = list(itertools.combinations(order, 2)) if len(order) > 2 else []
    values = []
    for pair in pairs:
        rows = np.isin(labels, pair)
        found, _ = _tested(time[rows], event[rows], labels[rows])
        values.append(NAN if found is None else found.p)
    adjusted = p_adjust(values, "holm").tolist() if values else []
    made = tuple(GroupPair(*pair, p, float(q)) for pair, p, q in zip(pairs, values, adjusted, strict=True))
    if test is None:
        return GroupComparison(tuple(order), level, hazard, reason=reason, pairs=made)
    at = [test.groups.index(name) for name in order]
    observed, expected = (tuple(values[at].tolist()) for values in (test.observed, test.expected))
    return GroupComparison(tuple(order), level, hazard, test.chi2, test.df, test.p, "", observed, expected, made)


def _tested(time: Array, event: Array, labels: npt.NDArray[Any]) -> tuple[LogRank | None, str]:
    try:
        test = log_rank(time, event, labels.astype(str))
    except HepacastError as problem:
        return None, problem.message.rstrip(".") + (f": {problem.found}" if problem.found else "")
    except np.linalg.LinAlgError:
        return None, "nobody else was at risk when the events happened"
    if test.df < 1 or not np.isfinite(test.p):
        return None, "only one group was still followed when the events happened"
    return test, ""


def _hazard_ratio(x: Array, time: Array, event: Array, name: str, level: float) -> HazardRatioEstimate:
    found = cox_estimate(x[:, None], time, event, [name]).ratios(level)[name]
    return HazardRatioEstimate(*found.with_limits, found.p)


def judge_score(
    name: str, score: Array, time: Array, event: Array, horizons: Sequence[float], *, level: float = 0.95
) -> ScoreOverTime:
    """C-index, hazard ratio and AUC(t) of a score; what cannot be computed has its reason."""
    found: dict[str, Any] = {"uno_c_reason": "nobody is followed long enough to weight the events"}
    try:
        c = concordance(time, event, score)
        found |= {"c": c.c, "c_se": c.se, "c_ci": c.interval(level)}
        uno = concordance(time, event, score, weights="uno")
        if np.isfinite(uno.c):
            found |= {"uno_c": uno.c, "uno_c_reason": ""}
        fit = cox_estimate(score[:, None], time, event, [name])
        ratio = fit.ratios(level)[name]
        found["hazard_ratio"] = HazardRatioEstimate(*ratio.with_limits, ratio.p)
        sd, spread = float(score.std(ddof=1)), float(norm.ppf(0.5 + level / 2.0)) * float(fit.se[0])
        middle, low, high = (float(ratio_of((fit.coef[0] + shift) * sd)) for shift in (0.0, -spread, spread))
        found["hazard_ratio_per_sd"] = HazardRatioEstimate(middle, low, high)
    except (HepacastError, ZeroDivisionError) as problem:
        found["reason"] = str(problem).split("\n")[0].rstrip(".")
    rows, impossible = [], {}
    for t in horizons:
        try:
            auc = auc_at(time, event, score, t)
        except OutcomeError as problem:
            impossible[f"{t:g}"] = problem.message.rstrip(".")
            continue
        low, high = (float(np.clip(limit, 0.0, 1.0)) for limit in auc.interval(level))
        rows.append(ScoreAuc(t, auc.value, auc.se, low, high, auc.n_events, auc.n_at_risk))
    return ScoreOverTime(name, level, auc=tuple(rows), auc_impossible=impossible, **found)


def _cox(
    table: AnalysisTable, predictors: str | Sequence[str], t: pd.Series, e: pd.Series, rows: Any, level: float
) -> CoxModels:
    columns = {name: column[rows] for name, column in table.predictors(predictors, t, e).items()}
    try:
        return cox_models(columns, t[rows], e[rows], level=level)
    except HepacastError as problem:
        if float(e[rows].sum()) == 0:
            return CoxModels("failed", problem.message.rstrip("."), level)
        raise
