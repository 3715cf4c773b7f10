"""What a validation must know of an outcome: how patients are sorted, folds stratified, models refitted and judged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hepacast.modelling.base import Array
from hepacast.modelling.folds import Integers
from hepacast.modelling.refit import Refitter, Split, model_names, predicted, sorted_patients
from hepacast.modelling.survival_follow_up import event_classes, sorted_follow_up
from hepacast.modelling.survival_validation import SurvivalRefitter, c_index, survival_names
from hepacast.stats.ranks import auc_from_ranks


@dataclass(frozen=True)
class OutcomeKind:
    """Functions of one kind of outcome; `BINARY` and `SURVIVAL` are the two.

    Attributes
    ----------
    measure
        ``"AUC"`` or ``"C"``.
    sorted
        Table and outcome in the order of the patients' identifiers.
    names
        Names of the models that an estimator fits.
    classes
        What folds are stratified by, 0 and 1.
    refitter
        Does one `Split`; what it returns has ``linear_predictor`` (n, models) and ``failure``.
    linear
        Linear predictors (n, models) of a fitted estimator.
    score
        The measure, from outcome and linear predictor.
    """

    measure: str
    sorted: Callable[[Any, Any], tuple[pd.DataFrame, NDArray[Any]]]
    names: Callable[[Any], list[str]]
    classes: Callable[[NDArray[Any]], Integers]
    refitter: Callable[[Any, pd.DataFrame, NDArray[Any]], Callable[[Split], Any]]
    linear: Callable[[Any, pd.DataFrame], Array]
    score: Callable[[NDArray[Any], Array], float]


def _as_classes(outcome: NDArray[Any]) -> Integers:
    return outcome


def _log_odds(fitted: Any, frame: pd.DataFrame) -> Array:
    return predicted(fitted, frame)[1]


def _event_classes(outcome: NDArray[Any]) -> Integers:
    return event_classes(outcome[:, 1])


def _log_hazard(fitted: Any, frame: pd.DataFrame) -> Array:
    return np.asarray(fitted.linear_predictor(frame), dtype=float)


BINARY = OutcomeKind("AUC", sorted_patients, model_names, _as_classes, Refitter, _log_odds, auc_from_ranks)
#: ``y`` is time and event, shape (n, 2).
SURVIVAL = OutcomeKind(
    "C", sorted_follow_up, survival_names, _event_classes, SurvivalRefitter, _log_hazard, c_index
)  # fmt: skip
