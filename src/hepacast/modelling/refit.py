"""The unit of every validation: fit all models on some patients, predict others, say what was selected or failed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import logit
from sklearn.base import clone

from hepacast.core.executor import Progress, map_items, resolve_workers
from hepacast.errors import HepacastError
from hepacast.modelling.base import Array
from hepacast.modelling.folds import Integers
from hepacast.modelling.table_order import TableOrder, known_order, order_of

#: Risks this close to 0 or 1 have no finite log odds in float64.
_EDGE = 1e-12
#: Order of the models of a study; the main one is the last.
ORDER = ("binary", "clinical", "biomarkers", "radiomics", "combined", "joint")
#: Those that read features.
OF_FEATURES = frozenset({"radiomics", "combined", "joint"})


@dataclass(frozen=True)
class Split:
    """One refit: rows to fit (may repeat), rows to predict, and what it is called."""

    label: tuple[int, ...]
    train: Integers
    test: Integers


@dataclass(frozen=True)
class Refit:
    """What one refit gave.

    Attributes
    ----------
    risk
        Of each predicted patient (in the order of `Split.test`), model and horizon; None after a failure.
    linear_predictor
        Of each predicted patient and model.
    selections
        What was selected, by part (``radiomics``, ``clinical``).
    failure
        Why there are no predictions; empty otherwise.
    """

    label: tuple[int, ...]
    risk: Array | None
    linear_predictor: Array | None
    selections: dict[str, list[str]] = field(default_factory=dict)
    failure: str = ""


def model_names(models: Any) -> list[str]:
    """Names of the risks that an estimator predicts: its ``models`` parameter, or ``model`` for a plain classifier."""
    names = getattr(models, "models", None)
    if names is None or not hasattr(models, "predict_risk"):
        return ["model"]
    return sorted(names, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))


def predicted(models: Any, frame: pd.DataFrame) -> tuple[Array, Array]:
    """Risks (n, models, horizons) and linear predictors (n, models) of a fitted estimator.

    An estimator without horizons has the one of an outcome without time; plain classifiers give ``predict_proba``.
    """
    if not hasattr(models, "predict_risk"):
        risk = np.asarray(models.predict_proba(frame), dtype=float)[:, [1]]
    elif len(getattr(models, "horizons", ())):
        risks = [np.asarray(models.predict_risk(frame, float(t)), dtype=float) for t in models.horizons]
        return np.stack(risks, axis=2), np.asarray(models.linear_predictor(frame), dtype=float)
    else:
        risk = np.asarray(models.predict_risk(frame), dtype=float)
        if hasattr(models, "linear_predictor"):
            return risk[:, :, None], np.asarray(models.linear_predictor(frame), dtype=float)
    return risk[:, :, None], logit(np.clip(risk, _EDGE, 1 - _EDGE))


@dataclass(frozen=True)
class Refitter:
    """Callable that does one `Split`; holds the data, so that a worker process gets them once.

    Parameters
    ----------
    order
        That of the table's columns, from which ranks and medians of each split follow; None: each split sorts.
    """

    models: Any
    frame: pd.DataFrame
    outcome: NDArray[Any]
    order: TableOrder | None = None

    def __call__(self, split: Split) -> Refit:
        """Fit a clone on the split's training rows and predict its test rows."""
        try:
            with known_order(self.order):
                fitted = clone(self.models).fit(self.frame.iloc[split.train], self.outcome[split.train])
            risk, linear = predicted(fitted, self.frame.iloc[split.test])
        except (HepacastError, np.linalg.LinAlgError) as error:
            # A refit that cannot be made has no prediction: never a substitute.
            return Refit(split.label, None, None, failure=str(error).replace("\n ", ";"))
        selections = fitted.selections() if hasattr(fitted, "selections") else {}
        return Refit(split.label, risk, linear, selections)


def refit_all(
    models: Any,
    frame: pd.DataFrame,
    outcome: NDArray[Any],
    splits: Iterable[Split],
    *,
    workers: int | None = 1,
    progress: Progress | None = None,
) -> list[Refit]:
    """Do all splits, on one process or several; the results do not depend on how many."""
    todo = list(splits)
    if resolve_workers(workers) > 1 and len(todo) > 1:
        compile_once()
    return map_items(Refitter(models, frame, outcome, order_of(frame)), todo, workers=workers, progress=progress)


def compile_once() -> None:
    """Compile the coordinate descent before workers start."""
    # Otherwise every worker of a fresh installation compiles the same loops at the same time.
    from hepacast.stats.penalized import glmnet_path

    X = np.column_stack([np.arange(8.0), np.arange(8.0) % 3])
    glmnet_path(X, np.array([0, 1, 0, 0, 1, 1, 0, 1]), n_lambda=3)
