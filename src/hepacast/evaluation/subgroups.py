"""How a model does in groups of patients: by sex, stage, center, scanner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.stats import chi2

from hepacast.core.estimates import Estimate, missing
from hepacast.core.records import Record
from hepacast.errors import HepacastError, ModelError
from hepacast.evaluation.calibration import (
    brier_score,
    cloglog_slope,
    logistic_recalibration,
    observed_over_expected,
)
from hepacast.evaluation.event_by import EventBy, event
from hepacast.evaluation.predictions import Array, score_array
from hepacast.evaluation.roc import roc
from hepacast.stats.competing_risks import never_after_competing
from hepacast.stats.cox_checks import concordance
from hepacast.stats.describe_rules import level_text

#: Events, and patients without, that a subgroup needs to be judged.
FEWEST_OF_CLASS = 10
#: Events of follow-up that all patients together, or a center, need.
FEWEST_EVENTS = 5


@dataclass(frozen=True, kw_only=True)
class Performance(Record):
    """Discrimination and calibration of one model in some patients.

    Attributes
    ----------
    n, events
        Patients; events, whenever they came.
    discrimination, measure
        ``AUC`` with DeLong's limits, or Harrell's ``C`` of follow-up.
    observed_expected, slope, citl, brier
        Of the risk (by the horizon); not of scores, and `citl` and `brier` not of follow-up.
    reason
        Where numbers are missing.
    """

    n: int
    events: int
    measure: str
    discrimination: Estimate = field(default_factory=lambda: missing(""))
    observed_expected: Estimate = field(default_factory=lambda: missing(""))
    slope: Estimate = field(default_factory=lambda: missing(""))
    citl: Estimate = field(default_factory=lambda: missing(""))
    brier: float = float("nan")
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class SubgroupRow(Performance):
    """One level of a grouping; `p_equal` (on the first row of a grouping): the levels' AUCs or Cs are equal."""

    group: str
    level: str
    p_equal: float = float("nan")


def performance(
    y: ArrayLike | EventBy,
    risk: ArrayLike,
    score: ArrayLike | None = None,
    *,
    level: float = 0.95,
    fewest: tuple[int, int] = (0, 0),
) -> Performance:
    """Discrimination and calibration of one model; where they are missing, `reason` says why.

    Parameters
    ----------
    y
        Outcome, 0 or 1, or of `event_by`.
    risk
        Predicted risks (scores without calibration are allowed where there is no time).
    score
        What C of follow-up ranks (higher: earlier event); the risk by default.
    fewest
        With fewer events, or fewer patients without, there are counts only.
    """
    known = y if isinstance(y, EventBy) else EventBy(np.asarray(y, dtype=float))
    risks = np.asarray(risk, dtype=float)
    events = known.n_events if known.codes is None else int((known.codes == 1).sum())
    row = Performance(n=known.n, events=events, measure="AUC" if known.complete else "C")
    one_class = known.complete and min(events, known.n - events) == 0
    if events < fewest[0] and not one_class:
        return replace(row, reason=f"fewer than {fewest[0]} events")
    if known.n - events < fewest[1] and not one_class:
        return replace(row, reason=f"fewer than {fewest[1]} patients without the event")
    scores = risks if score is None else np.asarray(score, dtype=float)
    if not (np.isfinite(risks).all() and np.isfinite(scores).all()):
        return replace(row, reason="a patient has no prediction")
    judge = _without_time if known.complete else _of_follow_up
    return judge(row, known, risks, scores, level)


def _without_time(row: Performance, known: EventBy, risks: Array, scores: Array, level: float) -> Performance:
    is_risk = bool(risks.min() >= 0.0 and risks.max() <= 1.0)
    if is_risk:
        ratio = observed_over_expected(known.risk(level), risks)
        row = replace(row, brier=brier_score(known, risks, level).value, observed_expected=ratio)
    if min(row.events, row.n - row.events) == 0:
        return replace(row, reason="one class only")
    curve = roc(known.y, scores, level=level)
    row = replace(row, discrimination=curve.estimate, reason=curve.reason)
    if is_risk:
        slope, _, citl = logistic_recalibration(known.y, risks, level=level)
        row = replace(row, citl=citl, slope=slope, reason=row.reason or slope.reason)
    return row


def _of_follow_up(row: Performance, known: EventBy, risks: Array, scores: Array, level: float) -> Performance:
    times, codes = known.follow_up()
    reasons = []
    try:
        c = concordance(*never_after_competing(times, codes), scores)
        row = replace(row, discrimination=Estimate(c.c, *c.interval(level), level=level, se=c.se))
    except HepacastError as error:
        reasons.append(error.message.rstrip("."))
    observed = known.risk(level)
    if observed.known:
        row = replace(row, observed_expected=observed_over_expected(observed, risks))
    else:
        reasons.append(observed.reason)
    slope = cloglog_slope(times, codes, risks, level)
    reasons += [slope.reason] if slope.reason else []
    return replace(row, slope=slope, reason="; ".join(reasons))


def subgroup_performance(
    y: ArrayLike | EventBy,
    risk: ArrayLike,
    groups: Mapping[str, ArrayLike] | pd.DataFrame,
    score: ArrayLike | None = None,
    *,
    level: float = 0.95,
) -> tuple[SubgroupRow, ...]:
    """Discrimination and calibration in subgroups.

    Parameters
    ----------
    y, risk, score
        As in `performance`.
    groups
        Labels by name of the grouping, each of shape (n,); patients without a label are a group of their own,
        "(missing)".

    Returns
    -------
    tuple
        One row a grouping and level, first "All". A subgroup with fewer than 10 events or 10 patients without has
        counts only: an area of so few says nothing, and its limits pretend otherwise. No difference found is not
        equality.
    """
    known = event(y)
    risks = score_array(risk, known.n, "risk")
    scores = risks if score is None else score_array(score, known.n, "score")
    everybody = performance(known, risks, scores, level=level, fewest=(2, 2) if known.complete else (FEWEST_EVENTS, 0))
    rows = [_row(everybody, "All", "")]
    for name, labels in groups.items():
        values = np.asarray(labels, dtype=object).ravel()
        if values.size != known.n:
            raise ModelError(f"The grouping {name} does not fit the patients.", expected=f"{known.n} labels")
        text = np.array(["(missing)" if pd.isna(value) else level_text(value) for value in values])
        parts = []
        for label in sorted(set(text)):
            inside = text == label
            fewest = (FEWEST_OF_CLASS, FEWEST_OF_CLASS)
            found = performance(known.select(inside), risks[inside], scores[inside], level=level, fewest=fewest)
            parts.append(_row(found, str(name), label))
        told = [(part.discrimination.value, part.discrimination.se) for part in parts if part.level != "(missing)"]
        rows += [replace(parts[0], p_equal=equal_estimates(told)), *parts[1:]]
    return tuple(rows)


def _row(found: Performance, group: str, level: str) -> SubgroupRow:
    return SubgroupRow(**found.__dict__, group=group, level=level)


def equal_estimates(estimates: Sequence[tuple[float, float]]) -> float:
    """P of the chi-square test that independent areas (or Cs), each with its standard error, are equal.

    NaN where fewer than two have a standard error.
    """
    usable = [(value, se) for value, se in estimates if not np.isnan(se) and se > 0.0]
    if len(usable) < 2:
        return float("nan")
    values = np.array([value for value, _ in usable])
    weights = np.array([1.0 / se**2 for _, se in usable])
    center = np.average(values, weights=weights)
    return float(chi2.sf(float((weights * (values - center) ** 2).sum()), len(usable) - 1))
