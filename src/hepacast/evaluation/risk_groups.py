"""Survival, or cumulative incidence where events compete, by risk group, at a cut-off that was fixed elsewhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from hepacast.core.estimates import Estimate, missing
from hepacast.core.records import Record
from hepacast.errors import OutcomeError
from hepacast.stats.competing_risks import (
    check_codes,
    cumulative_incidence,
    fit_fine_gray,
    never_after_competing,
)
from hepacast.stats.cox import CoxFit, fit_cox
from hepacast.stats.cox_checks import concordance
from hepacast.stats.kaplan_meier import KaplanMeier, kaplan_meier, log_rank
from hepacast.stats.ticks import pretty

Array = npt.NDArray[np.float64]
LOW, HIGH = "low risk", "high risk"


@dataclass(frozen=True)
class RiskGroupCurve:
    """One group's Kaplan-Meier curve (cumulative incidence where events compete).

    Attributes
    ----------
    time, survival, low, high
        Steps with limits, from time 0 on.
    competing
        Incidence of the competing event; empty where none competes.
    censored
        Times of censoring.
    at_risk
        Under observation at the `at_risk_times` of the groups.
    median
        Time by which half have the event; not of an incidence.
    """

    name: str
    n: int
    events: int
    time: Array
    survival: Array
    low: Array
    high: Array
    censored: Array
    at_risk: tuple[int, ...]
    median: Estimate
    competing: Array = field(default_factory=lambda: np.empty(0))


@dataclass(frozen=True)
class RiskGroups(Record):
    """Two groups of patients, split at `cut` (high: score at or above it), with all limits of one level.

    Attributes
    ----------
    kind
        ``survival`` (Kaplan-Meier) or ``incidence`` (competing events).
    groups
        The low-risk group first.
    test, p, statistic
        Log-rank test; where events compete, the Wald test of the subdistribution hazard ratio.
    hazard_ratio, hazard_ratio_p
        High against low (Cox, Efron; of the subdistribution where events compete); None when a group has no event.
    concordance
        Harrell's C of the score itself, not of the groups.
    set, end_point, unit, cutoff
        Which patients, end point, unit of time, and where the cut-off comes from, in words.
    """

    cut: float
    kind: Literal["survival", "incidence"]
    groups: tuple[RiskGroupCurve, ...]
    at_risk_times: tuple[float, ...]
    test: str
    p: float
    statistic: float
    hazard_ratio: Estimate | None
    hazard_ratio_p: float
    concordance: Estimate
    level: float = 0.95
    set: str = ""
    end_point: str = ""
    unit: str = ""
    cutoff: str = ""


def risk_groups(
    time: npt.ArrayLike,
    code: npt.ArrayLike,
    score: npt.ArrayLike,
    cut: float,
    *,
    names: tuple[str, str] = (LOW, HIGH),
    level: float = 0.95,
) -> RiskGroups:
    """Split patients at a cut-off that was fixed elsewhere (in training) and compare what comes of them.

    Parameters
    ----------
    time, code, score
        Shape (n,); codes 0 censored, 1 event, 2 competing event.
    cut
        Patients with a score at or above it are the high-risk group, as everywhere in hepacast.
    names
        Of the group below the cut-off and of the group at or above it.
    level
        Confidence level of all limits.

    Raises
    ------
    OutcomeError
        All patients fall into one group, or there is no event.
    """
    times, codes = check_codes(time, code)
    values = np.asarray(score, dtype=float)
    high = values >= cut
    if high.all() or not high.any():
        found = f"{int(high.sum())} at or above, {int((~high).sum())} below {cut:.4g}"
        raise OutcomeError("The cut-off puts all patients into one risk group.", found=found)
    competing = bool((codes == 2).any())
    members = dict(zip(names, (~high, high), strict=True))
    ticks = [float(t) for t in pretty(0.0, float(times.max()), 6) if t <= times.max()]
    curve = _incidence if competing else _kaplan_meier
    groups = tuple(curve(name, times[rows], codes[rows], ticks, level) for name, rows in members.items())
    with_events = all(group.events for group in groups)
    ratio, ratio_p = _hazard_ratio(high, times, codes, competing, level) if with_events else (None, float("nan"))
    test, p, statistic = "Fine-Gray", ratio_p, float("nan")
    if not competing:
        ranks = log_rank(times, codes, np.where(high, names[1], names[0]))
        test, p, statistic = "log-rank", ranks.p, ranks.chi2
    c = concordance(*never_after_competing(times, codes), values)
    return RiskGroups(
        cut=float(cut),
        kind="incidence" if competing else "survival",
        groups=groups,
        at_risk_times=tuple(ticks),
        test=test,
        p=p,
        statistic=statistic,
        hazard_ratio=ratio,
        hazard_ratio_p=ratio_p,
        concordance=Estimate(c.c, *c.interval(level), level=level, se=c.se),
        level=level,
    )


def _hazard_ratio(
    high: npt.NDArray[np.bool_], times: Array, codes: Array, competing: bool, level: float
) -> tuple[Estimate | None, float]:
    fit: CoxFit = (fit_fine_gray if competing else fit_cox)(high.astype(float), times, codes, ["high"])
    if competing and fit.status != "ok":
        return None, float("nan")
    row = fit.to_frame(level).iloc[0]
    p = float(2 * norm.sf(abs(float(row["z"])))) if competing else float(row["p"])
    return Estimate(float(row["hr"]), float(row["hr_low"]), float(row["hr_high"]), level), p


def _from_start(first: float, line: Array) -> Array:
    """A curve from time 0 on, where it is at `first`."""
    return np.concatenate([[first], np.asarray(line, dtype=float)])


def _kaplan_meier(name: str, times: Array, codes: Array, ticks: list[float], level: float) -> RiskGroupCurve:
    return group_curve(name, kaplan_meier(times, codes, level=level), ticks, level)


def group_curve(name: str, curve: KaplanMeier, ticks: Sequence[float], level: float = math.nan) -> RiskGroupCurve:
    """A Kaplan-Meier estimate as a group's curve from time 0 on, with numbers at risk at the ticks."""
    median, low, high = curve.median
    return RiskGroupCurve(
        name=name,
        n=curve.n,
        events=curve.n_events,
        time=_from_start(0.0, curve.time),
        survival=_from_start(1.0, curve.survival),
        low=_from_start(1.0, curve.lower),
        high=_from_start(1.0, curve.upper),
        censored=np.repeat(curve.time, curve.n_censor.astype(int)),
        at_risk=tuple(int(n) for n in curve.at_risk(ticks)),
        median=Estimate(median, low, high, level),
    )


def _incidence(name: str, times: Array, codes: Array, ticks: list[float], level: float) -> RiskGroupCurve:
    curve = cumulative_incidence(times, codes, level=level)
    return RiskGroupCurve(
        name=name,
        n=curve.n,
        events=curve.n_events,
        time=_from_start(0.0, curve.time),
        survival=_from_start(0.0, curve.incidence),
        low=_from_start(0.0, curve.lower),
        high=_from_start(0.0, curve.upper),
        censored=np.sort(times[codes == 0]),
        at_risk=tuple(int(n) for n in curve.at_risk(ticks)),
        median=missing("not of an incidence"),
        competing=_from_start(0.0, curve.competing),
    )
