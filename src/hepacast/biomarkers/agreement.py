"""Measured beside recorded: agreement of sizes and stages from masks with those in the clinical table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from hepacast.biomarkers.staging import T_STAGES
from hepacast.errors import HepacastError
from hepacast.stats.agreement import cohen_kappa, icc

#: Recorded column -> biomarker, and for stages their order.
_NUMBERS = {"tumor_number": "biomarker/shape/tumor_number", "tumor_diameter_mm": "biomarker/shape/longest_diameter"}
_GRADES = {
    "t_stage": ("biomarker/stage/t_stage", T_STAGES),
    "li_rads": ("biomarker/stage/li_rads", ("LR-3", "LR-4", "LR-5")),
}


def compare_recorded(long: pd.DataFrame, recorded: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """Agreement of each recorded column with the biomarker that measures the same.

    Parameters
    ----------
    long
        One row a patient and biomarker (columns patient, biomarker, value, grade).
    recorded
        Index patient; columns of ``tumor_number``, ``tumor_diameter_mm``, ``t_stage``, ``li_rads``.
    level
        Of the limits.

    Returns
    -------
    DataFrame
        One row a column: measure (ICC of absolute agreement, or kappa weighted by squared distance), its value with
        limits, patients that have both, mean of measured minus recorded, and why there is none.
    """
    rows = []
    for name in recorded.columns:
        if name in _NUMBERS:
            measured = long[long["biomarker"] == _NUMBERS[name]].set_index("patient")["value"]
            rows.append(_of_numbers(name, measured, pd.to_numeric(recorded[name], errors="coerce"), level))
        else:
            biomarker, levels = _GRADES[name]
            graded = long[long["biomarker"] == biomarker].set_index("patient")["grade"]
            rows.append(_of_grades(name, graded, recorded[name], levels, level))
    return pd.DataFrame(rows, columns=["recorded", "measure", "value", "lower", "upper", "n", "difference", "reason"])


def _both(first: pd.Series[Any], second: pd.Series[Any]) -> pd.DataFrame:
    return pd.DataFrame({"measured": first, "recorded": second}).dropna()


def _of_numbers(name: str, measured: pd.Series[Any], recorded: pd.Series[Any], level: float) -> tuple[Any, ...]:
    both = _both(measured, recorded)
    try:
        found = icc(both.to_numpy(dtype=float), level=level).loc["ICC2"]
    except HepacastError as error:
        return (name, "ICC", np.nan, np.nan, np.nan, len(both), np.nan, error.message)
    difference = float((both["measured"] - both["recorded"]).mean())
    return (name, "ICC", found["icc"], found["lower"], found["upper"], len(both), difference, "")


def _of_grades(
    name: str, graded: pd.Series[Any], recorded: pd.Series[Any], levels: tuple[str, ...], level: float
) -> tuple[Any, ...]:
    spelt = {level.casefold().replace("-", "").replace(" ", ""): level for level in levels}
    spelt |= {key.removeprefix("lr").removeprefix("t"): level for key, level in list(spelt.items())}

    def level_of(text: Any) -> Any:
        return spelt.get(str(text).casefold().replace("-", "").replace(" ", ""), np.nan)

    both = _both(graded.map(level_of), recorded.map(level_of))
    try:
        kappa = cohen_kappa(both["measured"], both["recorded"], weights="quadratic", levels=levels, level=level)
    except HepacastError as error:
        return (name, "weighted kappa", np.nan, np.nan, np.nan, len(both), np.nan, error.message)
    places = [both[column].map(levels.index).to_numpy(dtype=float) for column in both]
    difference = float((places[0] - places[1]).mean())
    return (name, "weighted kappa", kappa.kappa, kappa.lower, kappa.upper, len(both), difference, kappa.reason)
