"""Honest estimates of survival models: nested cross-validation, leaving a center out, frozen predictions.

Folds come from the seed and the patients' identifiers, stratified by event, so neither the order of the rows nor the
number of workers changes a number.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import clone

from hepacast.core.executor import Progress, map_items
from hepacast.errors import HepacastError, ModelError
from hepacast.modelling.base import Array, as_frame
from hepacast.modelling.folds import stratified_folds
from hepacast.modelling.refit import Split
from hepacast.modelling.survival_follow_up import as_follow_up, event_classes, sorted_follow_up
from hepacast.modelling.survival_models import MODELS
from hepacast.modelling.validation import by_repeat, tested_difference
from hepacast.stats.competing_risks import never_after_competing
from hepacast.stats.cox_checks import Concordance, compare_concordance, concordance
from hepacast.stats.resampling import repeated_folds

#: Columns of a table of predictions.
COLUMNS = ("patient", "repeat", "fold", "model", "horizon", "risk", "linear_predictor", "time", "event")


@dataclass(frozen=True)
class SurvivalRefit:
    """What one refit gave: risks (n, models, horizons), linear predictors (n, models); None after a failure."""

    label: tuple[int, ...]
    risk: Array | None
    linear_predictor: Array | None
    selections: dict[str, list[str]] = field(default_factory=dict)
    failure: str = ""


@dataclass(frozen=True)
class SurvivalRefitter:
    """Callable that does one `Split`; holds the data, so that a worker process gets them with the task."""

    models: Any
    frame: pd.DataFrame
    outcome: Array

    def __call__(self, split: Split) -> SurvivalRefit:
        """Fit a clone on the split's training rows and predict its test rows."""
        try:
            fitted = clone(self.models).fit(self.frame.iloc[split.train], self.outcome[split.train])
            risk, linear = predicted_risks(fitted, self.frame.iloc[split.test])
        except (HepacastError, np.linalg.LinAlgError) as error:
            # A refit that cannot be made has no prediction: never a substitute.
            return SurvivalRefit(split.label, None, None, failure=str(error).replace("\n ", ";"))
        return SurvivalRefit(split.label, risk, linear, fitted.selections())


def survival_names(models: Any) -> list[str]:
    """Names of the models that an estimator fits, the main one last."""
    return [name for name in MODELS if name in models.models]


def predicted_risks(fitted: Any, frame: pd.DataFrame) -> tuple[Array, Array]:
    """Risks (n, models, horizons) and linear predictors (n, models) of fitted `SurvivalModels`."""
    risks = [fitted.predict_risk(frame, float(t)).to_numpy(dtype=float) for t in fitted.horizons]
    return np.stack(risks, axis=2), fitted.linear_predictor(frame).to_numpy(dtype=float)


def refit_survival(
    models: Any,
    frame: pd.DataFrame,
    outcome: Array,
    splits: Iterable[Split],
    *,
    workers: int | None = 1,
    progress: Progress | None = None,
) -> list[SurvivalRefit]:
    """Do all splits, on one process or several; the results do not depend on how many."""
    todo = list(splits)
    return map_items(SurvivalRefitter(models, frame, outcome), todo, workers=workers, progress=progress)


def c_index(outcome: Array, score: Array) -> float:
    """Harrell's C of a score; NaN where nobody can be compared or a score is missing."""
    found = _concordance(outcome, score)
    return float("nan") if found is None else found.c


def _concordance(outcome: Array, score: Array) -> Concordance | None:
    if not np.isfinite(score).all():
        return None
    times, events = never_after_competing(outcome[:, 0], outcome[:, 1])
    try:
        return concordance(times, events, score)
    except HepacastError:
        return None


def fold_concordance(group: pd.DataFrame) -> Concordance | None:
    """Harrell's C of one fold of a table of predictions; None where there is none."""
    return _concordance(group[["time", "event"]].to_numpy(float), group["linear_predictor"].to_numpy(float))


@dataclass(frozen=True)
class SurvivalOutOfFold:
    """Predictions of patients by models that did not see them.

    Attributes
    ----------
    predictions
        One row a patient, repeat, model and horizon (`COLUMNS`). A failed refit leaves NaN.
    failures, selections, folds, repeats, labels
        As in `OutOfFold`.
    """

    predictions: pd.DataFrame
    failures: list[dict[str, Any]]
    selections: list[dict[str, list[str]]]
    folds: int
    repeats: int
    labels: tuple[str, ...] = ()

    def fold_cs(self, model: str) -> pd.DataFrame:
        """Harrell's C within each fold (repeat, fold, n, c, variance), its variance by the infinitesimal jackknife.

        NaN where nobody can be compared or the fit failed.
        """
        rows = []
        for repeat, fold, group in self._folds(model):
            found = fold_concordance(group)
            c, variance = (np.nan, np.nan) if found is None else (found.c, found.se**2)
            rows.append((repeat, fold, len(group), c, variance))
        return pd.DataFrame(rows, columns=["repeat", "fold", "n", "c", "variance"])

    def _folds(self, model: str) -> list[tuple[int, int, pd.DataFrame]]:
        part = self.predictions[self.predictions["model"] == model]
        part = part[part["horizon"] == part["horizon"].max()].sort_values("patient", kind="stable")
        return [(repeat, fold, group) for (repeat, fold), group in part.groupby(["repeat", "fold"], sort=True)]

    def c(self, model: str, level: float = 0.95) -> dict[str, float]:
        """Mean over the repeats of C within folds, its standard error and limits (see `OutOfFold.auc`)."""
        table = self.fold_cs(model)
        found = repeated_folds(by_repeat(table, "c"), by_repeat(table, "variance"), level=level)
        return {
            "c": found.estimate,
            "se": found.se,
            "ci_low": float(np.maximum(0.0, found.low)),
            "ci_high": float(np.minimum(1.0, found.high)),
        }

    def compare(self, first: str, second: str, level: float = 0.95) -> dict[str, float]:
        """Difference of two models' C within the folds: value, low, high, z and P (see `OutOfFold.compare`)."""
        second_of = {(repeat, fold): group for repeat, fold, group in self._folds(second)}
        rows = []
        for repeat, fold, group in self._folds(first):
            one, two = fold_concordance(group), fold_concordance(second_of[repeat, fold])
            if one is None or two is None:
                rows.append((repeat, fold, np.nan, np.nan))
            else:
                difference, se, _, _ = compare_concordance(one, two)
                rows.append((repeat, fold, difference, se**2))
        return tested_difference(pd.DataFrame(rows, columns=["repeat", "fold", "difference", "variance"]), level)

    def repeat_cs(self, model: str) -> Array:
        """Mean C within folds of each repeat."""
        return self.fold_cs(model).groupby("repeat")["c"].mean().to_numpy(dtype=float)


def nested_survival(
    models: Any,
    X: Any,
    y: ArrayLike,
    *,
    folds: int = 5,
    repeats: int = 10,
    seed: int = 0,
    workers: int | None = 1,
    progress: Progress | None = None,
) -> SurvivalOutOfFold:
    """Repeated cross-validation stratified by event, every choice refitted inside; see `nested_validation`.

    Parameters
    ----------
    models
        `SurvivalModels`; cloned, never changed.
    X
        One row a patient (index: identifiers).
    y
        Time and event, shape (n, 2).
    """
    frame, outcome = sorted_follow_up(X, y)
    splits = []
    for repeat in range(repeats):
        fold = stratified_folds(frame.index, event_classes(outcome[:, 1]), folds, seed, "nested", repeat)
        splits += [
            Split((repeat, number), np.flatnonzero(fold != number), np.flatnonzero(fold == number))
            for number in range(folds)
        ]
    refits = refit_survival(models, frame, outcome, splits, workers=workers, progress=progress)
    return _collect(models, frame, outcome, splits, refits, folds, repeats)


def leave_one_center_out_survival(
    models: Any,
    X: Any,
    y: ArrayLike,
    center: Sequence[object] | pd.Series,
    *,
    workers: int | None = 1,
    progress: Progress | None = None,
) -> SurvivalOutOfFold:
    """Each center predicted by models of the others; the folds of the result are the centers, in alphabetical order.

    Raises
    ------
    ModelError
        Fewer than two centers, or a patient without one.
    """
    sites = pd.Series(np.asarray(center, dtype=object), index=as_frame(X).index)
    if sites.isna().any() or (sites == "").any() or sites.nunique() < 2:
        raise ModelError(
            "Leaving one center out needs two or more centers, and one for every patient.",
            found=f"{sites.nunique()} centers, {int((sites.isna() | (sites == '')).sum())} patients without",
        )
    frame, outcome = sorted_follow_up(X, y)
    site = sites.loc[frame.index].astype(str).to_numpy()
    names = sorted(set(site))
    splits = [
        Split((0, number), np.flatnonzero(site != name), np.flatnonzero(site == name))
        for number, name in enumerate(names)
    ]
    refits = refit_survival(models, frame, outcome, splits, workers=workers, progress=progress)
    result = _collect(models, frame, outcome, splits, refits, len(names), 1)
    return SurvivalOutOfFold(**{**result.__dict__, "labels": tuple(names)})


def _collect(
    models: Any,
    frame: pd.DataFrame,
    outcome: Array,
    splits: Sequence[Split],
    refits: Sequence[SurvivalRefit],
    folds: int,
    repeats: int,
) -> SurvivalOutOfFold:
    parts = []
    for split, refit in zip(splits, refits):
        table = prediction_rows(
            models, frame.index[split.test], outcome[split.test], refit.risk, refit.linear_predictor
        )
        parts.append(table.assign(repeat=split.label[0], fold=split.label[1]))
    table = pd.concat(parts, ignore_index=True)[list(COLUMNS)]
    table["model"] = pd.Categorical(table["model"], survival_names(models))
    table = table.sort_values(["model", "repeat", "patient", "horizon"], kind="stable", ignore_index=True)
    return SurvivalOutOfFold(
        predictions=table.astype({"model": str}),
        failures=[
            {"repeat": refit.label[0], "fold": refit.label[1], "reason": refit.failure}
            for refit in refits
            if refit.failure
        ],
        selections=[refit.selections for refit in refits if not refit.failure],
        folds=folds,
        repeats=repeats,
    )


def prediction_rows(
    models: Any, patients: pd.Index, outcome: Array, risk: Array | None, linear_predictor: Array | None
) -> pd.DataFrame:
    """One row a patient, model and horizon; NaN where there is no prediction."""
    missing = np.full(len(patients), np.nan)
    parts = []
    for column, name in enumerate(survival_names(models)):
        for place, horizon in enumerate(models.horizons):
            parts.append(
                pd.DataFrame(
                    {
                        "patient": patients.astype(str),
                        "model": name,
                        "horizon": float(horizon),
                        "risk": missing if risk is None else risk[:, column, place],
                        "linear_predictor": missing if linear_predictor is None else linear_predictor[:, column],
                        "time": outcome[:, 0],
                        "event": outcome[:, 1].astype(np.int64),
                    }
                )
            )
    return pd.concat(parts, ignore_index=True)


def survival_predictions(fitted: Any, X: Any, y: ArrayLike, name: str) -> pd.DataFrame:
    """Predictions of fitted models for one set of patients, as `prediction_rows`, with the set's name."""
    frame = as_frame(X)
    outcome = np.column_stack(as_follow_up(y, len(frame)))
    risk, linear = predicted_risks(fitted, frame)
    return prediction_rows(fitted, frame.index, outcome, risk, linear).assign(set=name)
