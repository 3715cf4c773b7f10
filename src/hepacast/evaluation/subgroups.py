"""How a model does in groups of patients: by sex, stage, center, scanner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.stats import chi2, norm

from hepacast.errors import ModelError
from hepacast.evaluation.calibration import logistic_recalibration, observed_over_expected
from hepacast.evaluation.predictions import Array, checked
from hepacast.evaluation.roc import auc_with_variance
from hepacast.stats.describe_rules import level_text

#: Events, and patients without, that a subgroup needs to be judged.
FEWEST_OF_CLASS = 10


def subgroup_performance(
    y: ArrayLike, risk: ArrayLike, groups: Mapping[str, ArrayLike] | pd.DataFrame, *, level: float = 0.95
) -> pd.DataFrame:
    """Discrimination and calibration in subgroups.

    Parameters
    ----------
    y, risk
        Outcome and predicted risks of all patients (scores without calibration are allowed).
    groups
        Labels by name of the grouping, each of shape (n,); patients without a label are a group of their own,
        "(missing)".

    Returns
    -------
    DataFrame
        One row a grouping and level, first "All": n, events, auc with DeLong's limits, brier, observed_expected,
        citl, slope with limits, `p_auc` (chi-square test that the levels' areas are equal, on the first row of a
        grouping) and `reason` where numbers are missing. A subgroup with fewer than 10 events or 10 non-events has
        counts only: an area of so few says nothing, and its limits pretend otherwise. No difference found is not
        equality.
    """
    outcome, p = checked(y, risk)
    is_risk = bool(p.min() >= 0.0 and p.max() <= 1.0)
    rows = [{"group": "All", "level": "", **_row(outcome, p, is_risk, level, fewest=2), "p_auc": np.nan}]
    for name, labels in groups.items():
        values = np.asarray(labels, dtype=object).ravel()
        if values.size != outcome.size:
            raise ModelError(f"The grouping {name} does not fit the patients.", expected=f"{outcome.size} labels")
        text = np.array(["(missing)" if pd.isna(value) else level_text(value) for value in values])
        parts = [
            {"group": str(name), "level": label, **_row(outcome[text == label], p[text == label], is_risk, level)}
            for label in sorted(set(text))
        ]
        areas = [(part["auc"], part["auc_se"]) for part in parts if part["level"] != "(missing)"]
        for index, part in enumerate(parts):
            part["p_auc"] = equal_estimates(areas) if index == 0 else np.nan
        rows.extend(parts)
    return pd.DataFrame(rows)


def _row(y: Array, p: Array, is_risk: bool, level: float, *, fewest: int = FEWEST_OF_CLASS) -> dict[str, Any]:
    nan = float("nan")
    row: dict[str, Any] = {"n": y.size, "events": int(y.sum()), "auc": nan, "auc_low": nan, "auc_high": nan}
    row |= {"auc_se": nan, "brier": nan, "observed_expected": nan, "citl": nan}
    row |= {"slope": nan, "slope_low": nan, "slope_high": nan, "reason": ""}
    least = min(row["events"], y.size - row["events"])
    if 0 < least < fewest:
        return row | {"reason": f"fewer than {fewest} patients with or without the event"}
    if is_risk:
        row["brier"] = float(np.mean((p - y) ** 2))
        row["observed_expected"] = observed_over_expected(y, p)[0]
    if least == 0:
        return row | {"reason": "one class only"}
    auc, variance = auc_with_variance(y, p)
    half = float(norm.ppf(0.5 + level / 2.0) * np.sqrt(variance))
    row |= {"auc": auc, "auc_se": float(np.sqrt(variance))}
    row |= {"auc_low": max(0.0, auc - half), "auc_high": min(1.0, auc + half)}
    if is_risk:
        slope, _, citl = logistic_recalibration(y, p, level=level)
        row |= {"citl": citl.estimate, "slope": slope.estimate, "slope_low": slope.ci[0], "slope_high": slope.ci[1]}
        row["reason"] = row["reason"] or slope.reason
    return row


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
