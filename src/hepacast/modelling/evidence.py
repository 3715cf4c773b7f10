"""Whether anything is related to an outcome at all, of one family of columns or of several, before anything is fitted.

A P value against permuted outcomes (`hepacast.stats.global_test`), which no choice of features or members can flatter,
and what is answered by it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hepacast.core.p_values import p_sentence
from hepacast.core.seeds import rng
from hepacast.modelling.base import Array
from hepacast.modelling.frozen_logistic import design_matrix
from hepacast.modelling.logistic_model import LogisticModel
from hepacast.modelling.predictors import Predictor
from hepacast.modelling.scale import normal_scores
from hepacast.modelling.targets import null_residuals
from hepacast.stats.global_test import global_test

#: P value, against permuted outcomes, up to which something is shown; above the second nothing was found, and in
#: between there is a model that is said not to be shown.
SHOWN = 0.05
NOTHING = 0.5
_CHANCE = "what was found may be chance"


def evidence(
    families: Mapping[str, pd.DataFrame], outcome: NDArray[Any], seed: int, scores: pd.DataFrame | None = None
) -> float:
    """P value of no relation between any column of any family and the outcome.

    Families count alike, however many columns they have.

    Parameters
    ----------
    families
        By name: numbers, one row a patient; missing ones count as the column's median.
    scores
        Scores that were made to be higher where the event is likelier, of patients whom their makers did not see: a
        family that is asked in this direction only.
    """
    tables = [_standing(table) for table in families.values()]
    told = None if scores is None else _standing(scores)
    return global_test(tables, null_residuals(outcome), rng(seed, "evidence"), scores=told)


def _standing(table: pd.DataFrame) -> Array:
    """Normal scores of the columns that have values."""
    values = table.dropna(axis=1, how="all").to_numpy(dtype=float)
    if np.isnan(values).any():
        values = np.where(np.isnan(values), np.nanmedian(values, axis=0), values)
    return normal_scores(values) if values.size else values


def columns_of(predictors: Sequence[Predictor], frame: pd.DataFrame) -> pd.DataFrame:
    """Predictors as numbers: as they stand, levels as columns of 0 and 1."""
    sources, terms, _ = LogisticModel(penalty="ridge").columns_of(frame, predictors)
    return pd.DataFrame(design_matrix(sources, terms, frame), frame.index, [term.name for term in terms])


def nothing_sentence(p: float, what: str) -> str:
    """Why nothing was found in these."""
    return f"{p:.0%} of permuted outcomes are related to {what} at least as much"


def chance_sentence(p: float) -> str:
    """What is said of a model that is not shown; empty of one that is."""
    return "" if p <= SHOWN else f"{_CHANCE}: {p_sentence(p)} against permuted outcomes"


def chance_in(note: str) -> str:
    """What `chance_sentence` said among the remarks of a model; empty where it said nothing."""
    return next((item for item in note.split("; ") if item.startswith(_CHANCE)), "")
