"""Check an outcome and the predictions for it before anything is computed."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hepacast.errors import ModelError
from hepacast.stats.design import binary_outcome

Array = NDArray[np.float64]


def checked(y: ArrayLike, score: ArrayLike, *, what: str = "prediction") -> tuple[Array, Array]:
    """Outcome (0/1, both classes present) and score as float arrays of equal length.

    Raises
    ------
    OutcomeError
        The outcome is missing, not binary, or of one class.
    ModelError
        Lengths differ, or a score is missing or infinite.
    """
    outcome = binary_outcome(y)
    return outcome, score_array(score, outcome.size, what)


def score_array(score: ArrayLike, n: int, what: str) -> Array:
    """A score of n finite numbers."""
    try:
        values = np.asarray(score, dtype=float).ravel()
    except (TypeError, ValueError) as error:
        raise ModelError(f"The {what} is not numeric.", expected="a number for every patient") from error
    if values.size != n:
        raise ModelError(
            f"The {what} and the outcome differ in length.", expected=f"{n} values", found=f"{values.size}"
        )
    bad = ~np.isfinite(values)
    if bad.any():
        raise ModelError(
            f"The {what} has missing or infinite values.",
            expected="a number for every patient",
            found=f"{int(bad.sum())} of {n}",
            where=f"first at row {int(np.flatnonzero(bad)[0])} (counting from 0)",
            remedy="leave these patients out of all models and count them",
        )
    return values


def risks(y: ArrayLike, risk: ArrayLike, *, what: str = "risk") -> tuple[Array, Array]:
    """As `checked`, for predictions that must be probabilities.

    Raises
    ------
    ModelError
        A value lies outside [0, 1].
    """
    outcome, values = checked(y, risk, what=what)
    return outcome, probability(values, what)


def probability(values: Array, what: str) -> Array:
    """`values`, all of them between 0 and 1."""
    if values.min() < 0.0 or values.max() > 1.0:
        raise ModelError(
            f"The {what} is not a probability.",
            expected="values from 0 to 1",
            found=f"{values.min():g} to {values.max():g}",
            remedy="give risks; a score or linear predictor has a ROC curve but no calibration",
        )
    return values
