"""Decision curve for a time-to-event outcome at a horizon.

Source: Vickers AJ, Cronin AM, Elkin EB, Gonen M. BMC Med Inform Decis Mak 2008;8:53; R package dcurves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from hepacast.errors import OutcomeError
from hepacast.stats.kaplan_meier import check_follow_up, kaplan_meier


def survival_decision_curve(
    time: npt.ArrayLike,
    event: npt.ArrayLike,
    risks: Mapping[str, npt.ArrayLike],
    t: float,
    thresholds: Sequence[float] | None = None,
) -> pd.DataFrame:
    """Net benefit of treating those whose predicted risk of the event by `t` is at or above each threshold.

    Parameters
    ----------
    time, event
        Shape (n,).
    risks
        Predicted risk by `t` of each model, shape (n,).
    thresholds
        Default 0.05 to 0.95.

    Returns
    -------
    DataFrame
        Index threshold; columns ``treat all``, ``treat none`` and one a model. NaN where nobody of those at or above
        the threshold is followed up to `t`, since their event rate is then unknown.

    Raises
    ------
    OutcomeError
        A risk is no probability, or nobody is followed up to `t`.
    """
    times, events = check_follow_up(time, event)
    grid = np.round(np.arange(0.05, 0.951, 0.05), 10) if thresholds is None else np.asarray(thresholds, dtype=float)
    if ((grid <= 0) | (grid >= 1)).any():
        raise OutcomeError("Thresholds must lie between 0 and 1.", found=f"{grid.min():g} to {grid.max():g}")
    overall = _event_rate(times, events, t)
    if np.isnan(overall):
        raise OutcomeError(f"Nobody is followed up to {t:g}.", found=f"longest follow-up {times.max():g}")
    odds = grid / (1 - grid)
    columns = {"treat all": overall - (1 - overall) * odds, "treat none": np.zeros(len(grid))}
    for name, values in risks.items():
        risk = np.asarray(values, dtype=float)
        if risk.shape != times.shape or not ((risk >= 0) & (risk <= 1)).all():
            raise OutcomeError(f"The risks of {name!r} are no probabilities.", expected="0 to 1 for every patient")
        columns[name] = np.array([_net_benefit(times, events, risk, t, p) for p in grid])
    return pd.DataFrame(columns, index=pd.Index(grid, name="threshold"))


def _net_benefit(times: np.ndarray, events: np.ndarray, risk: np.ndarray, t: float, threshold: float) -> float:
    above = risk >= threshold
    share = float(above.mean())
    if share == 0:
        return 0.0
    rate = _event_rate(times[above], events[above], t)
    return rate * share - (1 - rate) * share * threshold / (1 - threshold)


def _event_rate(times: np.ndarray, events: np.ndarray, t: float) -> float:
    curve = kaplan_meier(times, events)
    if curve.time[-1] < t and curve.survival[-1] > 0:
        return float("nan")
    return float(1 - curve.at([t])[0])
