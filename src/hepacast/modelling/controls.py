"""Controls: the null distribution of the whole chain, and the usual way of estimating, which flatters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from hepacast.compute.executor import Progress, map_items
from hepacast.compute.seeds import rng
from hepacast.errors import ModelError
from hepacast.modelling.base import Array
from hepacast.modelling.clinical import ClinicalModel
from hepacast.modelling.folds import Integers, stratified_folds
from hepacast.modelling.impute import TypedImputer
from hepacast.modelling.radscore import Radscore
from hepacast.modelling.refit import Refitter, Split, model_names, sorted_patients
from hepacast.modelling.scale import ZScore
from hepacast.modelling.selectors import KBest
from hepacast.modelling.study_models import StudyModels
from hepacast.modelling.validation import OutOfFold, nested_validation
from hepacast.stats.ranks import auc_from_ranks

CONTROLS = ("permuted outcome", "shuffled features", "noise features")


@dataclass(frozen=True)
class NullDistribution:
    """AUCs of the whole chain where there is nothing to find.

    Attributes
    ----------
    control
        What was done to the data.
    auc
        By model: one cross-validated AUC a round (mean within folds).
    observed
        By model: the AUC of the real data, from the same kind of cross-validation.
    p
        By model: (1 + rounds with an AUC of `observed` or more) / (1 + rounds).
    failures
        Rounds that could not be fitted, with the reason.
    """

    control: str
    auc: dict[str, Array]
    observed: dict[str, float]
    p: dict[str, float]
    failures: list[dict[str, Any]]

    def summary(self) -> pd.DataFrame:
        """One row a model: mean of the null AUCs, its standard error, observed AUC and P."""
        rows = {
            name: {
                "null_mean": float(values.mean()) if len(values) else float("nan"),
                "null_se": float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan"),
                "observed": self.observed[name],
                "p": self.p[name],
            }
            for name, values in self.auc.items()
        }
        return pd.DataFrame(rows).T.rename_axis("model")


def null_distribution(
    models: Any,
    X: Any,
    y: ArrayLike,
    n: int = 100,
    *,
    control: str = "permuted outcome",
    features: Sequence[str] | None = None,
    folds: int = 5,
    seed: int = 0,
    workers: int | None = 1,
    progress: Progress | None = None,
) -> NullDistribution:
    """Cross-validate the whole chain on data without a relation, again and again.

    Parameters
    ----------
    models, X, y, folds, seed, workers, progress
        As in `nested_validation`; one division of the patients a round.
    n
        Rounds.
    control
        ``"permuted outcome"``: the outcomes are dealt anew. ``"shuffled features"``: each patient gets the features of
        another (clinical columns and outcome stay). ``"noise features"``: features are normal random numbers.
    features
        Columns that are features; None: those of `StudyModels`, or all.

    Raises
    ------
    ModelError
        Unknown control.
    """
    if control not in CONTROLS:
        raise ModelError("Unknown control.", expected=", ".join(CONTROLS), found=control)
    frame, outcome = sorted_patients(X, y)
    columns = _feature_columns(models, frame, features)
    rounds = [_Round(number, control, columns, folds, seed) for number in range(-1, n)]

    results = map_items(_RoundRunner(models, frame, outcome), rounds, workers=workers, progress=progress)
    names = model_names(models)
    observed = dict(zip(names, results[0]["auc"]))
    auc = {name: np.array([r["auc"][k] for r in results[1:]], dtype=float) for k, name in enumerate(names)}
    auc = {name: values[np.isfinite(values)] for name, values in auc.items()}
    return NullDistribution(
        control=control,
        auc=auc,
        observed=observed,
        p={name: (1 + int((auc[name] >= observed[name] - 1e-12).sum())) / (1 + len(auc[name])) for name in names},
        failures=[failure for r in results for failure in r["failures"]],
    )


@dataclass(frozen=True)
class _Round:
    """One round of a control; number -1 is the real data."""

    number: int
    control: str
    columns: list[str]
    folds: int
    seed: int

    def altered(self, frame: pd.DataFrame, outcome: Integers) -> tuple[pd.DataFrame, Integers]:
        """Table and outcome without their relation."""
        if self.number < 0:
            return frame, outcome
        generator = rng(self.seed, "control", self.control, self.number)
        if self.control == "permuted outcome":
            return frame, generator.permutation(outcome)
        changed = frame.copy()
        if self.control == "shuffled features":
            changed[self.columns] = frame[self.columns].to_numpy()[generator.permutation(len(frame))]
        else:
            noise = generator.normal(size=(len(frame), len(self.columns)))
            others = frame.drop(columns=self.columns)
            features = pd.DataFrame(noise, index=frame.index, columns=self.columns)
            changed = pd.concat([others, features], axis=1)[list(frame.columns)]
        return changed, outcome


@dataclass(frozen=True)
class _RoundRunner:
    models: Any
    frame: pd.DataFrame
    outcome: Integers

    def __call__(self, item: _Round) -> dict[str, Any]:
        frame, outcome = item.altered(self.frame, self.outcome)
        fold = stratified_folds(frame.index, outcome, item.folds, item.seed, "control-folds", item.number)
        run = Refitter(self.models, frame, outcome)
        aucs, failures = [], []
        for number in range(item.folds):
            rows = np.flatnonzero(fold == number)
            refit = run(Split((item.number, number), np.flatnonzero(fold != number), rows))
            if refit.linear_predictor is None:
                failures.append({"round": item.number, "fold": number, "reason": refit.failure})
                continue
            aucs.append([auc_from_ranks(outcome[rows], column) for column in refit.linear_predictor.T])
        width = len(model_names(self.models))
        complete = aucs and not failures
        return {"auc": np.nanmean(aucs, axis=0) if complete else np.full(width, np.nan), "failures": failures}


def _feature_columns(models: Any, frame: pd.DataFrame, features: Sequence[str] | None) -> list[str]:
    if features is not None:
        return list(features)
    if isinstance(models, StudyModels):
        return models._feature_names(frame)
    return [str(name) for name in frame.columns]


def usual_way(
    models: StudyModels,
    X: Any,
    y: ArrayLike,
    *,
    folds: int = 5,
    repeats: int = 10,
    seed: int = 0,
    workers: int | None = 1,
    progress: Progress | None = None,
) -> OutOfFold:
    """The estimate that most papers print, to be shown beside the honest one and labelled as what it is.

    Features and clinical predictors are selected on *all* patients; only the last step, the logistic models of what was
    selected, is then cross-validated. The patients that are judged took part in the selection, so the estimate is too
    good: on pure noise it is far above 0.5.
    """
    frame, outcome = sorted_patients(X, y)
    fitted = clone(models).fit(frame, outcome)
    chosen = fitted.selections()
    features = chosen.get("radiomics", [])
    kept = [item for item in models.predictors if item.name in set(chosen.get("clinical", []))]
    chain = Pipeline([("impute", TypedImputer(all_missing="drop")), ("scale", ZScore()), ("keep", KBest(k=10**6))])
    reduced = StudyModels(
        predictors=kept,
        radiomics=Radscore(chain, weights="refit"),
        clinical=ClinicalModel(alpha=1.1, keep="all"),
        features=features,
        models=models.models,
    )
    return nested_validation(
        reduced, frame, outcome, folds=folds, repeats=repeats, seed=seed, workers=workers, progress=progress
    )
