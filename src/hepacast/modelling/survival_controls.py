"""The usual way of estimating survival models, which flatters (null distributions: `controls` with `SURVIVAL`)."""

from __future__ import annotations

from typing import Any

import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from hepacast.core.executor import Progress
from hepacast.modelling.base import Array
from hepacast.modelling.cox_radscore import CoxRadscore
from hepacast.modelling.cox_selectors import CoxLassoSelector
from hepacast.modelling.impute import TypedImputer
from hepacast.modelling.scale import ZScore
from hepacast.modelling.survival_models import SurvivalModels
from hepacast.modelling.survival_selection import CoxClinicalModel
from hepacast.modelling.targets import sorted_patients
from hepacast.modelling.validation import OutOfFold, nested_validation


def usual_survival_way(
    models: SurvivalModels,
    X: Any,
    y: ArrayLike,
    *,
    folds: int = 5,
    repeats: int = 10,
    seed: int = 0,
    workers: int | None = 1,
    progress: Progress | None = None,
) -> OutOfFold:
    """The estimate that most papers print: selection on *all* patients, then cross-validation of the last step.

    As `usual_way`; on pure noise its C is far above 0.5.
    """
    frame, outcome = sorted_patients(X, y)
    return nested_validation(
        usual_survival_models(models, frame, outcome),
        frame,
        outcome,
        folds=folds,
        repeats=repeats,
        seed=seed,
        workers=workers,
        progress=progress,
    )


def usual_survival_models(models: SurvivalModels, frame: pd.DataFrame, outcome: Array) -> SurvivalModels:
    """The models whose features and clinical predictors were selected on all patients of the table."""
    fitted = clone(models).fit(frame, outcome)
    chosen = fitted.selections()
    kept = set(chosen.get("clinical", []))
    seed = 0 if models.radiomics is None else models.radiomics.seed
    chain = Pipeline(
        [
            ("impute", TypedImputer(all_missing="drop")),
            ("scale", ZScore()),
            ("weights", CoxLassoSelector(seed=seed)),
        ]
    )
    usual: SurvivalModels = clone(models).set_params(
        predictors=tuple(item for item in models.predictors if item.name in kept),
        radiomics=CoxRadscore(chain, score="apparent", seed=seed),
        clinical=CoxClinicalModel(keep="given"),
        features=chosen.get("radiomics", []),
        site_column=None,
        # The binary model chooses its predictors by itself.
        models=tuple(name for name in models.models if name != "binary"),
    )
    return usual


def selects(models: SurvivalModels) -> bool:
    """Whether a Cox model selects anything: with given predictors alone the usual way is the honest one."""
    given = models.clinical is not None and models.clinical.keep == "given"
    names = set(models.models) - {"binary"}
    return bool({"radiomics", "combined"} & names) or bool(names and not given)
