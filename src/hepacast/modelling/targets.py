"""What estimators learn from, as one array: 0/1 of each patient, shape (n,), or time and code, shape (n, 2).

The shape says which of the two it is, as in ``Outcome.y``; what a validation must know of an outcome (what folds are
stratified by, how well a score ranks patients) is answered here for both.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from hepacast.errors import HepacastError, ModelError, OutcomeError
from hepacast.modelling.base import Array, as_frame, as_outcome, listed
from hepacast.modelling.folds import Integers, inner_fold_count
from hepacast.stats.competing_risks import check_codes, never_after_competing
from hepacast.stats.cox_checks import Concordance, compare_concordance, concordance
from hepacast.stats.ranks import auc_covariance, auc_from_ranks


def follow_up(time: ArrayLike, event: ArrayLike) -> Array:
    """Time and event as one array, shape (n, 2): what estimators take as ``y``.

    Parameters
    ----------
    time
        Shape (n,), not negative.
    event
        0 censored, 1 event, 2 competing event.
    """
    return np.column_stack(check_codes(time, event))


def as_follow_up(y: ArrayLike | None, n: int) -> tuple[Array, Array]:
    """Times and event codes, each shape (n,), with at least one event.

    Raises
    ------
    OutcomeError
        Missing, of another length, not usable, or without an event.
    """
    if y is None:
        raise OutcomeError("This model learns from time and event, and none were given.")
    values = np.asarray(y, dtype=float)
    if values.shape != (n, 2):
        raise OutcomeError(
            "The follow-up does not fit the table.", expected=f"{n} rows of time and event", found=f"{values.shape}"
        )
    times, codes = check_codes(values[:, 0], values[:, 1])
    if not (codes == 1).any():
        raise OutcomeError("There is no event to learn from.", expected="at least one event", found=f"{n} without")
    return times, codes


def has_time(y: ArrayLike | None) -> bool:
    """Whether an outcome is time and event, shape (n, 2)."""
    return np.ndim(y) == 2 if y is not None else False


def as_target(y: ArrayLike | None, n: int) -> NDArray[Any]:
    """The outcome of either shape, checked.

    Raises
    ------
    OutcomeError
        See `as_outcome` and `as_follow_up`.
    """
    return np.column_stack(as_follow_up(y, n)) if has_time(y) else as_outcome(y, n)


def event_classes(y: NDArray[Any]) -> Integers:
    """1 for the event of interest, else 0: what folds and bootstrap samples are stratified by."""
    return (np.asarray(y[:, 1]) == 1).astype(np.int64) if has_time(y) else y.astype(np.int64)


def inner_folds(y: NDArray[Any], wanted: int, ids: pd.Index | None = None) -> int:
    """Folds within training rows that the outcome allows, at most `wanted`.

    Of 0 and 1 the rarer class must reach; of time and event the events, few censored patients hinder nothing.

    Raises
    ------
    OutcomeError
        Fewer than three patients of a class that counts.
    """
    classes = event_classes(y)
    if has_time(y):
        if classes.min() == classes.max():
            return int(min(wanted, len(classes if ids is None else set(map(str, ids)))))
        counts = np.bincount(classes, minlength=2)
        if counts[0] < counts[1]:
            return int(min(wanted, counts[1]))
    return inner_fold_count(classes, wanted, ids)


def null_residuals(y: NDArray[Any]) -> Array:
    """What a learner of numbers can learn of an outcome: how much more happened to each patient than to the others.

    Of 0 and 1 the difference from the rate. Of time and event the martingale residual of the model without predictors,
    the event less the cumulative hazard (Nelson-Aalen) at the patient's time: high where the event came early
    (Therneau, Grambsch, Fleming. Biometrika 1990;77:147). Who had a competing event counts as never having the other.
    """
    if not has_time(y):
        return np.asarray(y - y.mean(), dtype=float)
    times, events = never_after_competing(y[:, 0], y[:, 1])
    _, place = np.unique(times, return_inverse=True)
    count, left = np.bincount(place, weights=events), np.bincount(place)
    at_risk = len(times) - np.concatenate([[0], np.cumsum(left)[:-1]])
    return np.asarray(events - np.cumsum(count / at_risk)[place], dtype=float)


def for_penalized(y: NDArray[Any]) -> dict[str, Any]:
    """An outcome as `stats.penalized` takes it: ``y`` and ``family``."""
    return {"y": (y[:, 0], (y[:, 1] == 1).astype(float)), "family": "cox"} if has_time(y) else {"y": y}


def sorted_patients(X: Any, y: ArrayLike) -> tuple[pd.DataFrame, NDArray[Any]]:
    """Table and outcome in the order of the patients' identifiers.

    Raises
    ------
    ModelError
        A patient stands in the table twice.
    """
    frame = as_frame(X)
    outcome = as_target(y, len(frame))
    if not frame.index.is_unique:
        twice = frame.index[frame.index.duplicated()].unique()
        raise ModelError(
            "A patient stands in the table twice.", expected="one row a patient", found=f"patients {listed(twice)}"
        )
    return by_patient(frame, outcome)


def by_patient(frame: pd.DataFrame, outcome: NDArray[Any]) -> tuple[pd.DataFrame, NDArray[Any]]:
    """Rows in the order of their names, those of one name as they stand; not copied where they are."""
    order = np.argsort(frame.index.astype(str), kind="stable")
    if (order == np.arange(len(order))).all():
        return frame, outcome
    return frame.iloc[order], outcome[order]


def rank_measure(y: NDArray[Any]) -> str:
    """``"AUC"``, or ``"C"`` of time and event."""
    return "C" if has_time(y) else "AUC"


def rank_score(y: NDArray[Any], score: Array) -> float:
    """AUC, or Harrell's C, of a score; NaN where nobody can be compared or a score is missing."""
    if not has_time(y):
        return auc_from_ranks(y, score)
    found = _concordance(y, score)
    return float("nan") if found is None else found.c


def rank_estimate(y: NDArray[Any], score: Array) -> tuple[float, float]:
    """AUC with DeLong's variance, or C with that of the infinitesimal jackknife; NaN where there is none."""
    if has_time(y):
        found = _concordance(y, score)
        return (np.nan, np.nan) if found is None else (found.c, found.se**2)
    if not np.isfinite(score).all():
        return np.nan, np.nan
    (auc,), covariance = auc_covariance(y.astype(float), [score])
    return float(auc), float(covariance[0, 0])


def rank_limits(y: NDArray[Any], score: Array, level: float) -> dict[str, float]:
    """AUC or C of a score with Wald limits: ``value``, ``low``, ``high``."""
    value, variance = rank_estimate(y, score)
    half = float(norm.ppf(0.5 + level / 2) * np.sqrt(variance)) if variance == variance else float("nan")
    return {"value": value, "low": max(0.0, value - half), "high": min(1.0, value + half)}


def rank_p(y: NDArray[Any], first: Array, second: Array) -> float:
    """Two-sided P of equal AUC or C of two scores in the same patients; NaN where there is none."""
    difference, variance = rank_difference(y, first, second)
    return float(2 * norm.sf(abs(difference) / np.sqrt(variance))) if variance > 0 else float("nan")


def rank_difference(y: NDArray[Any], first: Array, second: Array) -> tuple[float, float]:
    """Difference of two scores' AUC or C in the same patients, and its variance; NaN where there is none."""
    if has_time(y):
        one, two = _concordance(y, first), _concordance(y, second)
        if one is None or two is None:
            return np.nan, np.nan
        difference, se, _, _ = compare_concordance(one, two)
        return difference, se**2
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        return np.nan, np.nan
    aucs, covariance = auc_covariance(y.astype(float), [first, second])
    variance = covariance[0, 0] + covariance[1, 1] - 2.0 * covariance[0, 1]
    return float(aucs[0] - aucs[1]), max(float(variance), 0.0) if variance == variance else np.nan


def _concordance(y: NDArray[Any], score: Array) -> Concordance | None:
    if not len(score) or not np.isfinite(score).all():
        return None
    times, events = never_after_competing(y[:, 0], y[:, 1])
    try:
        return concordance(times, events, score)
    except HepacastError:
        return None
