"""Survival by risk group: Kaplan-Meier curves, log-rank test and hazard ratio of groups made by a frozen cut-off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hepacast.errors import OutcomeError
from hepacast.stats.cox import fit_cox
from hepacast.stats.cox_checks import Concordance, concordance
from hepacast.stats.kaplan_meier import KaplanMeier, LogRank, check_follow_up, kaplan_meier, log_rank
from hepacast.stats.ticks import pretty

LOW, HIGH = "low risk", "high risk"


@dataclass(frozen=True)
class RiskGroups:
    """Two groups of patients, split at `cut` (high: score at or above it).

    Attributes
    ----------
    curves
        Kaplan-Meier curve by group.
    test
        Log-rank test.
    hazard_ratio
        High against low: ratio, lower, upper, P (Cox, Efron); None when a group has no event.
    concordance
        Of the score itself with survival, not of the groups.
    level
        Confidence level of all limits.
    """

    cut: float
    curves: dict[str, KaplanMeier]
    test: LogRank
    hazard_ratio: tuple[float, float, float, float] | None
    concordance: Concordance
    level: float = 0.95

    def to_json(self) -> dict[str, Any]:
        """Plain numbers for the report: curves, numbers at risk, test and hazard ratio."""
        end = max(float(curve.time[-1]) for curve in self.curves.values())
        times = [float(t) for t in pretty(0.0, end, 6) if t <= end]
        groups = []
        for name, curve in self.curves.items():
            groups.append(
                {
                    "name": name,
                    "n": curve.n,
                    "events": curve.n_events,
                    "median": list(curve.median),
                    "time": [0.0, *curve.time.tolist()],
                    "survival": [1.0, *curve.survival.tolist()],
                    "lower": [1.0, *curve.lower.tolist()],
                    "upper": [1.0, *curve.upper.tolist()],
                    "censored": np.repeat(curve.time, curve.n_censor.astype(int)).tolist(),
                    "at_risk": curve.at_risk(times).tolist(),
                }
            )
        ratio = self.hazard_ratio
        low, high = self.concordance.interval(self.level)
        return {
            "cut": self.cut,
            "groups": groups,
            "at_risk_times": times,
            "log_rank": {"chi2": self.test.chi2, "df": self.test.df, "p": self.test.p},
            "hazard_ratio": None if ratio is None else dict(zip(("hr", "lower", "upper", "p"), ratio, strict=True)),
            "concordance": {"c": self.concordance.c, "lower": low, "upper": high},
        }


def risk_groups(
    time: npt.ArrayLike,
    event: npt.ArrayLike,
    score: npt.ArrayLike,
    cut: float,
    *,
    names: tuple[str, str] = (LOW, HIGH),
    level: float = 0.95,
) -> RiskGroups:
    """Split patients at a cut-off that was fixed elsewhere (in training) and compare their survival.

    Parameters
    ----------
    time, event, score
        Shape (n,).
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
    times, events = check_follow_up(time, event)
    high = np.asarray(score, dtype=float) >= cut
    if high.all() or not high.any():
        raise OutcomeError(
            "The cut-off puts all patients into one risk group.",
            expected="patients on both sides",
            found=f"{int(high.sum())} at or above, {int((~high).sum())} below {cut:.4g}",
        )
    low_name, high_name = names
    curves = {
        low_name: kaplan_meier(times[~high], events[~high], level=level),
        high_name: kaplan_meier(times[high], events[high], level=level),
    }
    ratio = None
    if all(curve.n_events > 0 for curve in curves.values()):
        row = fit_cox(high.astype(float), times, events, ["high"]).to_frame(level).iloc[0]
        ratio = (float(row["hr"]), float(row["hr_low"]), float(row["hr_high"]), float(row["p"]))
    groups = np.where(high, high_name, low_name)
    c = concordance(times, events, score)
    return RiskGroups(float(cut), curves, log_rank(times, events, groups), ratio, c, level)
