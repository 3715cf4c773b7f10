"""The outcome that survival models learn from: time and event of each patient, as a table of two columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from hepacast.errors import ModelError, OutcomeError
from hepacast.modelling.base import Array, as_frame, listed
from hepacast.modelling.folds import Integers
from hepacast.stats.competing_risks import check_codes


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


def event_classes(codes: Array) -> Integers:
    """1 for the event of interest, else 0: what folds and bootstrap samples are stratified by."""
    return (np.asarray(codes) == 1).astype(np.int64)


def sorted_follow_up(X: Any, y: ArrayLike) -> tuple[pd.DataFrame, Array]:
    """Table and follow-up (n, 2) in the order of the patients' identifiers.

    Raises
    ------
    ModelError
        A patient stands in the table twice.
    """
    frame = as_frame(X)
    outcome = np.column_stack(as_follow_up(y, len(frame)))
    if not frame.index.is_unique:
        twice = frame.index[frame.index.duplicated()].unique()
        raise ModelError(
            "A patient stands in the table twice.", expected="one row a patient", found=f"patients {listed(twice)}"
        )
    order = np.argsort(frame.index.astype(str), kind="stable")
    return frame.iloc[order], outcome[order]
