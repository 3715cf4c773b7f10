"""Bootstrap validation and calibration of a Cox model, as ``rms::validate`` and ``rms::calibrate`` (KM).

Source: Harrell FE. Regression Modeling Strategies, 2nd ed. Springer 2015, sections 5.3 and 20.11; rms 6.5.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pandas as pd

from hepacast.errors import HepacastError, OutcomeError
from hepacast.evaluation.val_prob import gini_mean_difference
from hepacast.stats.cox import CoxFit, fit_cox
from hepacast.stats.cox_checks import concordance
from hepacast.stats.kaplan_meier import check_follow_up, kaplan_meier

Array = npt.NDArray[np.float64]
INDEXES = ("Dxy", "R2", "Slope", "D", "U", "Q", "g")


def cox_indexes(
    score: npt.ArrayLike, time: npt.ArrayLike, event: npt.ArrayLike, *, own: bool = False
) -> dict[str, float]:
    """Somers' Dxy, Nagelkerke's R2, calibration slope, and D, U, Q, g of a linear predictor.

    `own` says that the score was fitted on these very patients: then U pays for the two parameters of the recalibration
    (-2 / null deviance), as in rms; g is that of the recalibrated score.
    """
    lp = np.asarray(score, dtype=float)
    slope = fit_cox(lp, time, event)
    fixed = _loglik_at_one(lp, time, event)
    null = -2 * slope.loglik_null
    ratio = 2 * (slope.loglik - slope.loglik_null)
    d = (ratio - 1) / null
    u = (2 * (slope.loglik - fixed) - (2 if own else 0)) / null
    n = len(lp)
    gamma = float(slope.coef[0])
    return {
        "Dxy": 2 * concordance(time, event, lp).c - 1,
        "R2": (1 - np.exp(-ratio / n)) / (1 - np.exp(-null / n)),
        "Slope": gamma,
        "D": d,
        "U": u,
        "Q": d - u,
        "g": gini_mean_difference(gamma * lp),
    }


def _loglik_at_one(lp: Array, time: npt.ArrayLike, event: npt.ArrayLike) -> float:
    from hepacast.stats.cox import SortedFollowUp

    times, events = check_follow_up(time, event)
    return SortedFollowUp(lp[:, None], times, events).partial(np.ones(1), efron=True)[0]


def validate_cox(
    x: npt.ArrayLike, time: npt.ArrayLike, event: npt.ArrayLike, resamples: Iterable[npt.ArrayLike]
) -> pd.DataFrame:
    """Optimism-corrected indexes of a Cox model with fixed predictors.

    Parameters
    ----------
    x
        Shape (n, p).
    time, event
        Shape (n,).
    resamples
        Row numbers (from 0) of each bootstrap sample.

    Returns
    -------
    DataFrame
        One row an index: original, training, test, optimism, corrected, n (resamples in which the model converged;
        the others are left out and counted by their absence), outside (Dxy only: mean in the patients whom a sample
        left out, for the .632+ estimate).
    """
    matrix = np.asarray(x, dtype=float)
    times, events = check_follow_up(time, event)
    whole = fit_cox(matrix, times, events)
    original = cox_indexes(whole.linear_predictor(matrix), times, events, own=True)
    training, test, outside = [], [], []
    for rows in resamples:
        index = np.asarray(rows, dtype=int)
        fit = fit_cox(matrix[index], times[index], events[index])
        if fit.status != "ok":
            continue
        left = np.setdiff1d(np.arange(len(times)), index)
        outside.append(_dxy(fit.linear_predictor(matrix[left]), times[left], events[left]))
        training.append(cox_indexes(fit.linear_predictor(matrix[index]), times[index], events[index], own=True))
        test.append(cox_indexes(fit.linear_predictor(matrix), times, events))
    known = [value for value in outside if np.isfinite(value)]
    return _optimism_table(original, training, test).assign(
        outside=pd.Series({"Dxy": float(np.mean(known)) if known else np.nan})
    )


def _dxy(lp: Array, times: Array, events: Array) -> float:
    """Somers' Dxy of a few patients; NaN where nobody can be compared."""
    try:
        return 2.0 * concordance(times, events, lp).c - 1.0
    except HepacastError:
        return float("nan")


def _optimism_table(
    original: dict[str, float], training: list[dict[str, float]], test: list[dict[str, float]]
) -> pd.DataFrame:
    if not training:
        raise OutcomeError("The model converged in no bootstrap sample.", remedy="use fewer predictors or a penalty")
    a, b = pd.DataFrame(training).mean(), pd.DataFrame(test).mean()
    table = pd.DataFrame({"original": pd.Series(original), "training": a, "test": b})
    table["optimism"] = table["training"] - table["test"]
    table["corrected"] = table["original"] - table["optimism"]
    table["n"] = len(training)
    return table


def calibrate_cox(
    x: npt.ArrayLike,
    time: npt.ArrayLike,
    event: npt.ArrayLike,
    horizon: float,
    resamples: Iterable[npt.ArrayLike],
    *,
    group_size: int = 75,
) -> pd.DataFrame:
    """Observed (Kaplan-Meier) against predicted survival at a horizon in groups of similar prediction, corrected for
    optimism by the bootstrap.

    Parameters
    ----------
    horizon
        In the unit of `time`.
    group_size
        Patients a group, about.

    Returns
    -------
    DataFrame
        One row a group: predicted (mean), observed (KM), corrected (KM less optimism), se, n, resamples.
    """
    matrix = np.asarray(x, dtype=float)
    times, events = check_follow_up(time, event)

    def predicted(fit: CoxFit, rows: Array) -> Array:
        return fit.survival(rows, [horizon])[:, 0]

    whole = fit_cox(matrix, times, events)
    survival = predicted(whole, matrix)
    cuts = _group_cuts(survival, group_size)
    original = _group_km(survival, times, events, horizon, cuts)
    optimism = []
    for rows in resamples:
        index = np.asarray(rows, dtype=int)
        fit = fit_cox(matrix[index], times[index], events[index])
        if fit.status != "ok":
            continue
        own = _group_km(predicted(fit, matrix[index]), times[index], events[index], horizon, cuts)
        other = _group_km(predicted(fit, matrix), times, events, horizon, cuts)
        optimism.append((own["km"] - own["mean"]) - (other["km"] - other["mean"]))
    differences = pd.DataFrame(optimism)
    return pd.DataFrame(
        {
            "predicted": original["mean"],
            "observed": original["km"],
            "corrected": original["km"] - differences.mean(),
            "se": original["se"],
            "n": original["n"].astype(int),
            "resamples": differences.notna().sum(),
        }
    )


def _group_cuts(values: Array, size: int) -> Array:
    """Cut points of groups of about `size` patients (as ``Hmisc::cut2`` with ``m``)."""
    n_groups = max(1, len(values) // size)
    quantiles = np.quantile(values, np.linspace(0, 1, n_groups + 1))
    quantiles[0], quantiles[-1] = min(0.0, quantiles[0]), max(1.0, quantiles[-1])
    return np.unique(quantiles)


def _group_km(values: Array, times: Array, events: Array, horizon: float, cuts: Array) -> pd.DataFrame:
    group = np.clip(np.searchsorted(cuts, values, side="right") - 1, 0, len(cuts) - 2)
    rows: list[dict[str, float]] = []
    for j in range(len(cuts) - 1):
        index = np.flatnonzero(group == j)
        if len(index) == 0 or times[index].max() < horizon:
            rows.append({"mean": np.nan, "km": np.nan, "se": np.nan, "n": len(index)})
            continue
        curve = kaplan_meier(times[index], events[index])
        at = np.searchsorted(curve.time, horizon, side="right") - 1
        se = float(curve.std_error[at]) if at >= 0 else 0.0
        rows.append(
            {"mean": float(values[index].mean()), "km": float(curve.at([horizon])[0]), "se": se, "n": len(index)}
        )
    return pd.DataFrame(rows)
