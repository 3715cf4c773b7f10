"""How a survival model does in groups of patients: C, and calibration of the risk by a horizon."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from hepacast.errors import HepacastError, ModelError
from hepacast.evaluation.subgroups import FEWEST_OF_CLASS, equal_estimates
from hepacast.evaluation.survival_accuracy import observed_risk
from hepacast.evaluation.survival_calibration import calibration_slope
from hepacast.stats.competing_risks import check_codes, never_after_competing
from hepacast.stats.cox_checks import concordance
from hepacast.stats.describe_rules import level_text

Array = npt.NDArray[np.float64]

#: Events that a center or a subgroup needs to be looked at by itself.
MIN_EVENTS = 5
_EMPTY = ("c", "c_low", "c_high", "c_se", "observed", "expected", "observed_expected", "oe_low", "oe_high")


def survival_performance(
    time: npt.ArrayLike,
    code: npt.ArrayLike,
    score: npt.ArrayLike,
    risk: npt.ArrayLike,
    t: float,
    *,
    level: float = 0.95,
    minimum: int = MIN_EVENTS,
    others: int = 0,
) -> dict[str, Any]:
    """C of a score, and calibration of the risk by `t`: observed over expected, slope.

    With fewer events than `minimum`, or fewer patients without than `others`, there are counts only.

    Returns
    -------
    dict
        n, events (all), events_by (by `t`), c with limits and standard error, observed and expected risk, their ratio
        and the slope of the complementary log-log risk with limits, and `reason` where a number is missing (NaN).
    """
    times, codes = check_codes(time, code)
    scores, risks = np.asarray(score, dtype=float), np.asarray(risk, dtype=float)
    events = int((codes == 1).sum())
    row: dict[str, Any] = {"n": len(times), "events": events, "events_by": int(((codes == 1) & (times <= t)).sum())}
    row |= dict.fromkeys((*_EMPTY, "slope", "slope_low", "slope_high"), float("nan"))
    if events < minimum:
        return row | {"reason": f"fewer than {minimum} events"}
    if len(times) - events < others:
        return row | {"reason": f"fewer than {others} patients without the event"}
    if not (np.isfinite(scores).all() and np.isfinite(risks).all()):
        return row | {"reason": "a patient has no prediction"}
    reasons = []
    try:
        found = concordance(*never_after_competing(times, codes), scores)
        low, high = found.interval(level)
        row |= {"c": found.c, "c_low": low, "c_high": high, "c_se": found.se}
    except HepacastError as error:
        reasons.append(error.message.rstrip("."))
    observed, low, high = observed_risk(times, codes, t, level)
    expected = float(risks.mean())
    row |= {"observed": observed, "expected": expected}
    if not np.isfinite(observed):
        reasons.append("nobody is followed to the horizon")
    elif expected > 0:
        row |= {"observed_expected": observed / expected, "oe_low": low / expected, "oe_high": high / expected}
    slope = calibration_slope(times, codes, risks, level)
    row |= {"slope": slope.value, "slope_low": slope.low, "slope_high": slope.high}
    reasons += [slope.reason] if slope.reason else []
    return row | {"reason": "; ".join(reasons)}


def survival_subgroups(
    time: npt.ArrayLike,
    code: npt.ArrayLike,
    score: npt.ArrayLike,
    risk: npt.ArrayLike,
    t: float,
    groups: Mapping[str, npt.ArrayLike],
    *,
    level: float = 0.95,
) -> pd.DataFrame:
    """C and calibration in subgroups.

    Parameters
    ----------
    time, code
        Follow-up; codes 0 censored, 1 event, 2 competing event.
    score, risk
        Linear predictor (higher: earlier event), and risk of the event by `t`.
    groups
        Labels by name of the grouping, each of shape (n,); patients without a label are a group of their own,
        "(missing)".

    Returns
    -------
    DataFrame
        One row a grouping and level, first "All": columns of `survival_performance`, and `p_c` (chi-square test that
        the levels' C are equal, on the first row of a grouping). A subgroup with fewer than 10 events, or 10 patients
        without, has counts only. No difference found is not equality.
    """
    times, codes = check_codes(time, code)
    scores, risks = np.asarray(score, dtype=float), np.asarray(risk, dtype=float)
    everybody = survival_performance(times, codes, scores, risks, t, level=level)
    rows: list[dict[str, Any]] = [{"group": "All", "level": "", **everybody, "p_c": float("nan")}]
    for name, labels in groups.items():
        values = np.asarray(labels, dtype=object).ravel()
        if values.size != times.size:
            raise ModelError(f"The grouping {name} does not fit the patients.", expected=f"{times.size} labels")
        text = np.array(["(missing)" if pd.isna(value) else level_text(value) for value in values])
        parts: list[dict[str, Any]] = []
        for label in sorted(set(text)):
            inside = text == label
            found = survival_performance(
                times[inside], codes[inside], scores[inside], risks[inside], t, level=level,
                minimum=FEWEST_OF_CLASS, others=FEWEST_OF_CLASS,
            )  # fmt: skip
            parts.append({"group": str(name), "level": label, **found})
        known = [(part["c"], part["c_se"]) for part in parts if part["level"] != "(missing)"]
        for index, part in enumerate(parts):
            part["p_c"] = equal_estimates(known) if index == 0 else float("nan")
        rows.extend(parts)
    return pd.DataFrame(rows)
