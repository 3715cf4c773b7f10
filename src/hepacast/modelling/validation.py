"""Honest estimates: every step refitted where the judged patients were not seen.

`nested_validation` (repeated cross-validation of the whole chain), `leave_one_center_out`, `frozen_predictions`. The
folds come from the seed and the patients' identifiers, so neither the order of the rows nor the number of workers
changes a number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm
from sklearn.base import clone

from hepacast.core.executor import Progress
from hepacast.errors import ModelError
from hepacast.modelling.base import Array, as_frame, as_outcome
from hepacast.modelling.folds import stratified_folds
from hepacast.modelling.refit import Refit, Split, model_names, predicted, refit_all, sorted_patients
from hepacast.stats.ranks import auc_covariance, auc_from_ranks
from hepacast.stats.resampling import repeated_folds


@dataclass(frozen=True)
class OutOfFold:
    """Predictions of patients by models that did not see them.

    Attributes
    ----------
    predictions
        One row a patient, repeat and model: patient, repeat, fold, model, risk, linear_predictor, outcome. A failed
        refit leaves NaN.
    failures
        One entry a failed refit: repeat, fold, reason.
    selections
        One entry a refit: part (``radiomics``, ``clinical``) -> names.
    folds, repeats
        As run.
    labels
        Name of each fold, where it has one (the center left out).
    """

    predictions: pd.DataFrame
    failures: list[dict[str, Any]]
    selections: list[dict[str, list[str]]]
    folds: int
    repeats: int
    labels: tuple[str, ...] = field(default=())

    @property
    def models(self) -> list[str]:
        """Names of the models."""
        return list(dict.fromkeys(self.predictions["model"]))

    def risks(self, model: str) -> pd.DataFrame:
        """Risks of one model: patients x repeats."""
        part = self.predictions[self.predictions["model"] == model]
        return part.pivot(index="patient", columns="repeat", values="risk")

    def mean_risk(self, model: str) -> pd.Series:
        """Each patient's mean risk over the repeats."""
        return self.risks(model).mean(axis=1).rename("risk")

    def fold_aucs(self, model: str) -> pd.DataFrame:
        """AUC within each fold (repeat, fold, n, auc, variance); NaN where a fold has one class or failed."""
        part = self.predictions[self.predictions["model"] == model]
        rows = []
        for (repeat, fold), group in part.groupby(["repeat", "fold"], sort=True):
            (auc,), covariance = _aucs(group["outcome"], group[["risk"]], group[["linear_predictor"]])
            rows.append((repeat, fold, len(group), auc, covariance[0, 0]))
        return pd.DataFrame(rows, columns=["repeat", "fold", "n", "auc", "variance"])

    def repeat_aucs(self, model: str, how: str = "folds") -> Array:
        """One AUC a repeat: the mean within folds (``"folds"``), or of all patients together (``"pooled"``).

        The pooled AUC compares risks of different fits. It is what most papers print, but a model that predicts its
        training rate for everybody gets less than 0.5 from it, as a fold rich in events leaves a training set poor
        in them.
        """
        if how == "folds":
            table = self.fold_aucs(model)
            return table.groupby("repeat")["auc"].mean().to_numpy(dtype=float)
        part = self.predictions[self.predictions["model"] == model]
        return np.array([_auc(group) for _, group in part.groupby("repeat", sort=True)])

    def auc(self, model: str, level: float = 0.95) -> dict[str, float]:
        """Mean over the repeats of the AUC within folds, its standard error and limits, and the pooled mean.

        See `hepacast.stats.resampling.repeated_folds`, with DeLong's variance of each fold.
        """
        table = self.fold_aucs(model)
        found = repeated_folds(by_repeat(table, "auc"), by_repeat(table, "variance"), level=level)
        pooled = self.repeat_aucs(model, "pooled")
        return {
            "auc": found.estimate,
            "se": found.se,
            "ci_low": float(np.maximum(0.0, found.low)),
            "ci_high": float(np.minimum(1.0, found.high)),
            "auc_pooled": float(np.nanmean(pooled)) if np.isfinite(pooled).any() else float("nan"),
            "n_aucs": float(found.n),
        }

    def to_json(self, model: str, level: float) -> dict[str, Any]:
        """How one model was validated, as `validation.json` holds it."""
        auc = self.auc(model, level)
        return {
            "auc": {"value": auc["auc"], "low": auc["ci_low"], "high": auc["ci_high"], "se": auc["se"]},
            "auc_pooled": auc["auc_pooled"],
            "folds": self.folds,
            "repeats": self.repeats,
            "per_repeat": self.repeat_aucs(model),
            "n_failed": len(self.failures),
            "failures": self.failures,
        }

    def compare(self, first: str, second: str, level: float = 0.95) -> dict[str, float]:
        """Difference of two models' AUCs within the folds that both judged: value, low, high, z and two-sided P.

        Its variance is that of `auc`, with DeLong's variance of the paired difference in each fold. NaN where there is
        none.
        """
        keys = ["repeat", "fold", "patient"]
        one, two = (self.predictions[self.predictions["model"] == name].set_index(keys) for name in (first, second))
        both = one.join(two[["risk", "linear_predictor"]], how="inner", rsuffix="_2").reset_index()
        rows = []
        for (repeat, fold), group in both.groupby(["repeat", "fold"], sort=True):
            aucs, covariance = _aucs(
                group["outcome"], group[["risk", "risk_2"]], group[["linear_predictor", "linear_predictor_2"]]
            )
            variance = covariance[0, 0] + covariance[1, 1] - 2.0 * covariance[0, 1]
            rows.append((repeat, fold, aucs[0] - aucs[1], max(variance, 0.0) if variance == variance else np.nan))
        table = pd.DataFrame(rows, columns=["repeat", "fold", "difference", "variance"])
        return tested_difference(table, level)

    def compare_with(self, score: pd.Series, level: float = 0.95) -> dict[str, float]:
        """As `compare`, of the first model and a score that needs no fit, of the patients who have it.

        Parameters
        ----------
        score
            By patient, higher is worse.
        """
        first = self.models[0]
        own = self.predictions[self.predictions["model"] == first]
        values = own["patient"].map(score.set_axis(score.index.astype(str)))
        other = own.assign(model="score", risk=values, linear_predictor=values).dropna(subset=["risk"])
        return replace(self, predictions=pd.concat([own, other])).compare(first, "score", level)

    def to_frame(self) -> pd.DataFrame:
        """One row a model: the numbers of `auc`."""
        return pd.DataFrame({name: self.auc(name) for name in self.models}).T.rename_axis("model")


def tested_difference(table: pd.DataFrame, level: float) -> dict[str, float]:
    """Mean difference over repeats and folds (columns difference, variance) with limits, z and two-sided P.

    Two models that say the same of everybody differ by 0, with P = 1.
    """
    found = repeated_folds(by_repeat(table, "difference"), by_repeat(table, "variance"), level=level)
    same = found.n > 0 and bool((table["difference"].dropna().abs() < 1e-12).all())
    z = 0.0 if same else found.estimate / found.se
    limits = (0.0, 0.0) if same else (found.low, found.high)
    return {
        "value": found.estimate, "low": limits[0], "high": limits[1], "z": z, "p": float(2 * norm.sf(abs(z))),
    }  # fmt: skip


def by_repeat(table: pd.DataFrame, column: str) -> Array:
    """A column of a table with one row a repeat and fold, as an array (repeats, folds)."""
    return table.pivot(index="repeat", columns="fold", values=column).to_numpy(dtype=float)


def _aucs(outcome: pd.Series, risks: pd.DataFrame, scores: pd.DataFrame) -> tuple[Array, Array]:
    """AUCs of several scores of one fold and their covariance; NaN where a fit failed or a class is absent."""
    nothing = np.full((scores.shape[1],) * 2, np.nan)
    if risks.isna().any(axis=None):
        return nothing[0], nothing
    return auc_covariance(outcome.to_numpy(dtype=float), list(scores.to_numpy(dtype=float).T))


def _auc(group: pd.DataFrame) -> float:
    if group["risk"].isna().any() or group["outcome"].nunique() < 2:
        return float("nan")
    return auc_from_ranks(group["outcome"], group["linear_predictor"])


def nested_validation(
    models: Any,
    X: Any,
    y: ArrayLike,
    *,
    folds: int = 5,
    repeats: int = 10,
    seed: int = 0,
    workers: int | None = 1,
    progress: Progress | None = None,
) -> OutOfFold:
    """Repeated stratified cross-validation with everything refitted inside; inner choices have their own inner folds.

    Parameters
    ----------
    models
        `StudyModels`, or any classifier with ``predict_proba``; cloned, never changed.
    X
        One row a patient (index: identifiers).
    y
        Outcome, 0 or 1.
    folds, repeats
        Folds, and divisions of the patients.
    seed
        Of the divisions.
    workers
        Processes; None or 0: one a core.
    progress
        Called with (refits done, refits in all).
    """
    frame, outcome = sorted_patients(X, y)
    splits, fold_of = [], []
    for repeat in range(repeats):
        fold = stratified_folds(frame.index, outcome, folds, seed, "nested", repeat)
        fold_of.append(fold)
        splits += [
            Split((repeat, number), np.flatnonzero(fold != number), np.flatnonzero(fold == number))
            for number in range(folds)
        ]
    refits = refit_all(models, frame, outcome, splits, workers=workers, progress=progress)
    return _collect(models, frame, outcome, splits, refits, folds, repeats)


def leave_one_center_out(
    models: Any,
    X: Any,
    y: ArrayLike,
    center: Sequence[object] | pd.Series,
    *,
    workers: int | None = 1,
    progress: Progress | None = None,
) -> OutOfFold:
    """Each center predicted by models of the others; the folds of the result are the centers, in alphabetical order.

    Raises
    ------
    ModelError
        Fewer than two centers, or a patient without one.
    """
    sites = pd.Series(np.asarray(center, dtype=object), index=as_frame(X).index)
    if sites.isna().any() or sites.nunique() < 2:
        raise ModelError(
            "Leaving one center out needs two or more centers, and one for every patient.",
            found=f"{sites.nunique()} centers, {int(sites.isna().sum())} patients without",
        )
    frame, outcome = sorted_patients(X, y)
    site = sites.loc[frame.index].astype(str).to_numpy()
    names = sorted(set(site))
    splits = [
        Split((0, number), np.flatnonzero(site != name), np.flatnonzero(site == name))
        for number, name in enumerate(names)
    ]
    refits = refit_all(models, frame, outcome, splits, workers=workers, progress=progress)
    result = _collect(models, frame, outcome, splits, refits, len(names), 1)
    return OutOfFold(**{**result.__dict__, "labels": tuple(names)})


def _collect(
    models: Any,
    frame: pd.DataFrame,
    outcome: NDArray[np.int64],
    splits: Sequence[Split],
    refits: Sequence[Refit],
    folds: int,
    repeats: int,
) -> OutOfFold:
    names = model_names(models)
    patients = frame.index.astype(str).to_numpy()
    parts = []
    for split, refit in zip(splits, refits):
        n = len(split.test)
        for column, name in enumerate(names):
            missing = np.full(n, np.nan)
            parts.append(
                pd.DataFrame(
                    {
                        "patient": patients[split.test],
                        "repeat": split.label[0],
                        "fold": split.label[1],
                        "model": name,
                        "risk": missing if refit.risk is None else refit.risk[:, column],
                        "linear_predictor": missing
                        if refit.linear_predictor is None
                        else refit.linear_predictor[:, column],
                        "outcome": outcome[split.test],
                    }
                )
            )
    table = pd.concat(parts, ignore_index=True)
    table["model"] = pd.Categorical(table["model"], names)
    table = table.sort_values(["model", "repeat", "patient"], kind="stable", ignore_index=True)
    return OutOfFold(
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


def frozen_predictions(models: Any, X_train: Any, y_train: ArrayLike, X_new: Any, y_new: ArrayLike) -> pd.DataFrame:
    """Models fitted once on the training patients and applied unchanged to new ones.

    Returns
    -------
    One row a patient and model: patient, model, risk, linear_predictor, outcome, set (``training`` or ``validation``).
    """
    train, outcome = sorted_patients(X_train, y_train)
    fitted = clone(models).fit(train, outcome)
    new = as_frame(X_new)
    parts = [
        (train, outcome, "training"),
        (new, np.asarray(as_outcome(y_new, len(new))), "validation"),
    ]
    return pd.concat([predictions_table(fitted, *part) for part in parts], ignore_index=True)


def predictions_table(fitted: Any, X: Any, y: ArrayLike, name: str) -> pd.DataFrame:
    """Predictions of fitted models for one set of patients, as in `frozen_predictions`."""
    frame = as_frame(X)
    risk, linear = predicted(fitted, frame)
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "patient": frame.index.astype(str),
                    "model": model,
                    "risk": risk[:, column],
                    "linear_predictor": linear[:, column],
                    "outcome": np.asarray(y),
                    "set": name,
                }
            )
            for column, model in enumerate(model_names(fitted))
        ],
        ignore_index=True,
    )
