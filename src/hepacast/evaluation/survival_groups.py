"""Survival or cumulative incidence by risk group, at a cut-off that was fixed elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from hepacast.errors import OutcomeError
from hepacast.evaluation.risk_groups import HIGH, LOW, risk_groups
from hepacast.stats.competing_risks import (
    CumulativeIncidence,
    check_codes,
    cumulative_incidence,
    fit_fine_gray,
    never_after_competing,
)
from hepacast.stats.cox_checks import concordance
from hepacast.stats.ticks import pretty

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SurvivalGroups:
    """Plain numbers of two risk groups, as the report reads them."""

    content: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """The numbers."""
        return self.content


def survival_groups(
    time: npt.ArrayLike, code: npt.ArrayLike, risk: npt.ArrayLike, cut: float, *, level: float = 0.95
) -> SurvivalGroups:
    """Patients with a risk at or above `cut` against the others.

    Kaplan-Meier, log-rank test and hazard ratio; with competing events (code 2) cumulative incidence and the
    subdistribution hazard ratio with its Wald test. `level` is that of all limits.

    Raises
    ------
    OutcomeError
        All patients fall into one group, or there is no event.
    """
    times, codes = check_codes(time, code)
    values = np.asarray(risk, dtype=float)
    if not (codes == 2).any():
        return SurvivalGroups(_kaplan_meier(times, codes, values, cut, level))
    high = values >= cut
    if high.all() or not high.any():
        raise OutcomeError(
            "The cut-off puts all patients into one risk group.",
            found=f"{int(high.sum())} at or above, {int((~high).sum())} below {cut:.4g}",
        )
    return SurvivalGroups(_incidence(times, codes, values, high, level))


def _kaplan_meier(times: Array, codes: Array, values: Array, cut: float, level: float) -> dict[str, Any]:
    item = risk_groups(times, codes, values, cut, level=level).to_json()
    ratio = item["hazard_ratio"]
    return {
        "kind": "survival",
        "groups": [
            {
                "name": group["name"],
                "n": group["n"],
                "events": group["events"],
                "time": group["time"],
                "survival": group["survival"],
                "low": group["lower"],
                "high": group["upper"],
                "censored": group["censored"],
                "median": group["median"][0],
                "median_low": group["median"][1],
                "median_high": group["median"][2],
            }
            for group in item["groups"]
        ],
        "at_risk_times": item["at_risk_times"],
        "at_risk": {group["name"]: group["at_risk"] for group in item["groups"]},
        "p": item["log_rank"]["p"],
        "test": "log-rank",
        "hazard_ratio": None
        if ratio is None
        else {"value": ratio["hr"], "low": ratio["lower"], "high": ratio["upper"]},
        "concordance": item["concordance"],
    }


def _incidence(times: Array, codes: Array, values: Array, high: npt.NDArray[np.bool_], level: float) -> dict[str, Any]:
    curves = {
        LOW: cumulative_incidence(times[~high], codes[~high], level=level),
        HIGH: cumulative_incidence(times[high], codes[high], level=level),
    }
    ratio, p = None, float("nan")
    if all(curve.n_events for curve in curves.values()):
        fit = fit_fine_gray(high.astype(float), times, codes, ["high"])
        if fit.status == "ok":
            row = fit.to_frame(level).iloc[0]
            ratio = {"value": float(row["hr"]), "low": float(row["hr_low"]), "high": float(row["hr_high"])}
            p = float(2 * norm.sf(abs(float(row["z"]))))
    ticks = [float(t) for t in pretty(0.0, float(times.max()), 6) if t <= times.max()]
    moved, events = never_after_competing(times, codes)
    found = concordance(moved, events, values)
    low, upper = found.interval(level)
    return {
        "kind": "incidence",
        "groups": [
            _curve(name, curve, times[high if name == HIGH else ~high], codes[high if name == HIGH else ~high])
            for name, curve in curves.items()
        ],
        "at_risk_times": ticks,
        "at_risk": {name: curve.at_risk(ticks).tolist() for name, curve in curves.items()},
        "p": p,
        "test": "Fine-Gray",
        "hazard_ratio": ratio,
        "concordance": {"c": found.c, "lower": low, "upper": upper},
    }


def _curve(name: str, curve: CumulativeIncidence, times: Array, codes: Array) -> dict[str, Any]:
    return {
        "name": name,
        "n": curve.n,
        "events": curve.n_events,
        "time": [0.0, *curve.time.tolist()],
        "survival": [0.0, *curve.incidence.tolist()],
        "low": [0.0, *curve.lower.tolist()],
        "high": [0.0, *curve.upper.tolist()],
        "censored": np.sort(times[codes == 0]).tolist(),
        "competing": [0.0, *curve.competing.tolist()],
        "median": float("nan"),
    }
