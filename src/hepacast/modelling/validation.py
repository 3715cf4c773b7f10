"""Honest estimates: every step refitted where the judged patients were not seen.

`nested_validation` (repeated cross-validation of the whole chain), `leave_one_center_out`. The
folds come from the seed and the patients' identifiers, stratified by event, so neither the order of the rows nor the
number of workers changes a number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from hepacast.core.estimates import Estimate
from hepacast.core.executor import Progress
from hepacast.errors import ModelError
from hepacast.modelling.base import Array, as_frame
from hepacast.modelling.described import Nested
from hepacast.modelling.folds import stratified_folds
from hepacast.modelling.predictions import Predictions, horizons_of, target_of
from hepacast.modelling.refit import Refit, Split, model_names, refit_all
from hepacast.modelling.targets import (
    event_classes,
    rank_difference,
    rank_estimate,
    rank_score,
    sorted_patients,
)
from hepacast.stats.resampling import repeated_folds


@dataclass(frozen=True)
class OutOfFold:
    """Predictions of patients by models that did not see them.

    Attributes
    ----------
    predictions
        One row a patient, repeat, model and horizon (columns as of `Predictions`). A failed refit leaves NaN.
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
    failures: list[dict[str, Any]] = field(default_factory=list)
    selections: list[dict[str, list[str]]] = field(default_factory=list)
    folds: int = 0
    repeats: int = 1
    labels: tuple[str, ...] = field(default=())

    @classmethod
    def of(cls, predictions: Predictions) -> OutOfFold | None:
        """The nested cross-validation that a table of predictions holds; None where it was not run."""
        part = predictions.of("nested").table
        if part.empty:
            return None
        return cls(part, folds=int(part["fold"].nunique()), repeats=int(part["repeat"].nunique()))

    @property
    def models(self) -> list[str]:
        """Names of the models."""
        return list(dict.fromkeys(self.predictions["model"]))

    @property
    def measure(self) -> str:
        """How well risks rank patients is told by this: ``"AUC"`` or ``"C"``."""
        return "AUC" if "outcome" in self.predictions.columns else "C"

    def _of(self, model: str) -> pd.DataFrame:
        """Predictions of one model at the main horizon."""
        part = self.predictions[self.predictions["model"] == model]
        return part[part["horizon"] == part["horizon"].max()]

    def risks(self, model: str) -> pd.DataFrame:
        """Risks of one model (by the main horizon): patients x repeats."""
        return self._of(model).pivot(index="patient", columns="repeat", values="risk")

    def mean_risk(self, model: str) -> pd.Series:
        """Each patient's mean risk over the repeats."""
        return self.risks(model).mean(axis=1).rename("risk")

    def fold_values(self, model: str) -> pd.DataFrame:
        """AUC or C within each fold (repeat, fold, n, value, variance); NaN where nobody can be compared.

        Variances are DeLong's, or of C those of the infinitesimal jackknife.
        """
        return _by_fold(
            self._of(model),
            lambda group: rank_estimate(target_of(group), group["linear_predictor"].to_numpy(dtype=float)),
        )

    def repeat_values(self, model: str, how: str = "folds") -> Array:
        """One AUC or C a repeat: the mean within folds (``"folds"``), or of all patients together (``"pooled"``).

        The pooled one compares risks of different fits. It is what most papers print, but a model that predicts its
        training rate for everybody gets less than 0.5 from it, as a fold rich in events leaves a training set poor
        in them.
        """
        if how == "folds":
            return self.fold_values(model).groupby("repeat")["value"].mean().to_numpy(dtype=float)
        return np.array([_pooled(group) for _, group in self._of(model).groupby("repeat", sort=True)])

    def estimate(self, model: str, level: float = 0.95) -> dict[str, float]:
        """Mean over the repeats of the AUC or C within folds (``value``) with standard error and limits.

        See `hepacast.stats.resampling.repeated_folds`; ``n`` is the number of folds that could be judged.
        """
        table = self.fold_values(model)
        found = repeated_folds(by_repeat(table, "value"), by_repeat(table, "variance"), level=level)
        return {
            "value": found.estimate,
            "low": float(np.maximum(0.0, found.low)),
            "high": float(np.minimum(1.0, found.high)),
            "se": found.se,
            "n": float(found.n),
        }

    def pooled(self, model: str) -> float:
        """Mean over the repeats of the AUC or C of all patients together (see `repeat_values`)."""
        values = self.repeat_values(model, "pooled")
        return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")

    def told(self, model: str, level: float) -> Nested:
        """How one model was validated."""
        found = self.estimate(model, level)
        return Nested(
            estimate=Estimate(found["value"], found["low"], found["high"], level, found["se"]),
            folds=self.folds,
            repeats=self.repeats,
            per_repeat=[float(value) for value in self.repeat_values(model)],
            n_failed=len(self.failures),
            failures=self.failures,
            pooled=self.pooled(model),
        )

    def compare(self, first: str, second: str, level: float = 0.95) -> dict[str, float]:
        """Difference of two models' AUCs or Cs within the folds that both judged: value, low, high, z, two-sided P.

        Its variance is that of `estimate`, with the variance of the paired difference in each fold. NaN where there is
        none.
        """
        keys = ["repeat", "fold", "patient"]
        one, two = (self._of(name).set_index(keys) for name in (first, second))
        both = one.join(two[["linear_predictor"]], how="inner", rsuffix="_2").reset_index()

        def difference(group: pd.DataFrame) -> tuple[float, float]:
            scores = group[["linear_predictor", "linear_predictor_2"]].to_numpy(dtype=float)
            return rank_difference(target_of(group), scores[:, 0], scores[:, 1])

        return tested_difference(_by_fold(both, difference), level)

    def compare_with(self, score: pd.Series, level: float = 0.95) -> dict[str, float]:
        """As `compare`, of the first model and a score that needs no fit, of the patients who have it.

        Parameters
        ----------
        score
            By patient, higher is worse.
        """
        first = self.models[0]
        own = self._of(first)
        values = own["patient"].map(score.set_axis(score.index.astype(str)))
        other = own.assign(model="score", risk=values, linear_predictor=values).dropna(subset=["risk"])
        return replace(self, predictions=pd.concat([own, other])).compare(first, "score", level)

    def to_frame(self) -> pd.DataFrame:
        """One row a model: the numbers of `estimate`."""
        return pd.DataFrame({name: self.estimate(name) for name in self.models}).T.rename_axis("model")


def _by_fold(table: pd.DataFrame, judge: Callable[[pd.DataFrame], tuple[float, float]]) -> pd.DataFrame:
    """A value with its variance of each repeat and fold."""
    rows = [
        (repeat, fold, len(group), *judge(group))
        for (repeat, fold), group in table.groupby(["repeat", "fold"], sort=True)
    ]
    return pd.DataFrame(rows, columns=["repeat", "fold", "n", "value", "variance"])


def tested_difference(table: pd.DataFrame, level: float) -> dict[str, float]:
    """Mean difference over repeats and folds (columns value, variance) with limits, z and two-sided P.

    Two models that say the same of everybody differ by 0, with P = 1.
    """
    found = repeated_folds(by_repeat(table, "value"), by_repeat(table, "variance"), level=level)
    same = found.n > 0 and bool((table["value"].dropna().abs() < 1e-12).all())
    z = 0.0 if same else found.estimate / found.se
    limits = (0.0, 0.0) if same else (found.low, found.high)
    return {
        "value": found.estimate, "low": limits[0], "high": limits[1], "z": z, "p": float(2 * norm.sf(abs(z))),
    }  # fmt: skip


def by_repeat(table: pd.DataFrame, column: str) -> Array:
    """A column of a table with one row a repeat and fold, as an array (repeats, folds)."""
    return table.pivot(index="repeat", columns="fold", values=column).to_numpy(dtype=float)


def _pooled(group: pd.DataFrame) -> float:
    score = group["linear_predictor"].to_numpy(dtype=float)
    return rank_score(target_of(group), score) if np.isfinite(score).all() else float("nan")


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
        Outcome: 0 or 1, shape (n,), or time and code, shape (n, 2).
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
    classes = event_classes(outcome)
    splits = []
    for repeat in range(repeats):
        fold = stratified_folds(frame.index, classes, folds, seed, "nested", repeat)
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
    without = sites.isna() | (sites == "")
    if without.any() or sites.nunique() < 2:
        raise ModelError(
            "Leaving one center out needs two or more centers, and one for every patient.",
            found=f"{sites[~without].nunique()} centers, {int(without.sum())} patients without",
        )
    frame, outcome = sorted_patients(X, y)
    site = sites.loc[frame.index].astype(str).to_numpy()
    names = sorted(set(site))
    splits = [
        Split((0, number), np.flatnonzero(site != name), np.flatnonzero(site == name))
        for number, name in enumerate(names)
    ]
    refits = refit_all(models, frame, outcome, splits, workers=workers, progress=progress)
    return replace(_collect(models, frame, outcome, splits, refits, len(names), 1), labels=tuple(names))


def _collect(
    models: Any,
    frame: pd.DataFrame,
    outcome: NDArray[Any],
    splits: Sequence[Split],
    refits: Sequence[Refit],
    folds: int,
    repeats: int,
) -> OutOfFold:
    names, horizons = model_names(models), horizons_of(models)
    parts = [
        Predictions.make(
            frame.index[split.test],
            outcome[split.test],
            refit.risk,
            refit.linear_predictor,
            models=names,
            horizons=horizons,
            set="training",
            kind="nested",
            repeat=split.label[0],
            fold=split.label[1],
        )
        for split, refit in zip(splits, refits)
    ]
    table = Predictions.join(parts).table
    table["model"] = pd.Categorical(table["model"], names)
    table = table.sort_values(["model", "repeat", "patient", "horizon"], kind="stable", ignore_index=True)
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
