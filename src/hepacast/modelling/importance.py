"""What a model needs: permutation importance in patients that it did not see, and the learning curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone

from hepacast.core.executor import Progress, map_items
from hepacast.core.seeds import rng
from hepacast.modelling.folds import Integers, shuffle_key, stratified_folds
from hepacast.modelling.refit import Split, model_names, predicted, refit_all
from hepacast.modelling.table_order import TableOrder, known_order, order_of
from hepacast.modelling.targets import event_classes, rank_measure, rank_score, sorted_patients

#: Features whose importance and Shapley values are told one by one; more of them in groups.
MOST_SINGLE = 40


def permutation_importance(
    models: Any,
    X: Any,
    y: ArrayLike,
    groups: Mapping[str, Sequence[str]] | None = None,
    *,
    folds: int = 5,
    shuffles: int = 10,
    seed: int = 0,
    workers: int | None = 1,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Loss of AUC (or C) when a column (or a group of columns together) is shuffled in the held-out fold.

    Parameters
    ----------
    models, X, y, folds, seed, workers, progress
        As in `nested_validation`; one division of the patients.
    groups
        Name -> columns that are shuffled together (all features of one VOI, say); None: each selected or clinical
        column by itself, and of a score that reads many features those of a VOI and class (`told_apart`).
    shuffles
        Shuffles of each group in each fold.

    Returns
    -------
    One row a model and group: model, name, loss (mean), sd (over folds).
    """
    frame, outcome = sorted_patients(X, y)
    fold = stratified_folds(frame.index, event_classes(outcome), folds, seed, "importance")
    judge = _FoldLosses(models, frame, outcome, order_of(frame), fold, groups, shuffles, seed)
    found = map_items(judge, range(folds), workers=workers, progress=progress)
    table = pd.DataFrame([row for rows in found for row in rows], columns=["model", "name", "fold", "loss"])
    # A column that a fold's model does not use loses nothing there.
    wide = table.pivot_table(index=["model", "name"], columns="fold", values="loss", sort=False)
    wide = wide.reindex(columns=range(folds)).fillna(0.0)
    result = pd.DataFrame({"loss": wide.mean(axis=1), "sd": wide.std(axis=1, ddof=1)}).reset_index()
    return result.sort_values(["model", "loss", "name"], ascending=[True, False, True], ignore_index=True)


@dataclass(frozen=True)
class _FoldLosses:
    """Callable that fits the models without one fold and shuffles columns in it."""

    models: Any
    frame: pd.DataFrame
    outcome: NDArray[Any]
    order: TableOrder
    fold: Integers
    groups: Mapping[str, Sequence[str]] | None
    shuffles: int
    seed: int

    def __call__(self, number: int) -> list[dict[str, Any]]:
        held = self.fold == number
        with known_order(self.order):
            fitted = clone(self.models).fit(self.frame[~held], self.outcome[~held])
        groups, truth, names = self.groups or _used_columns(fitted, self.frame), self.outcome[held], model_names(fitted)
        # Of thousands of columns the models read a few: only those are copied and changed.
        read = self.frame.columns
        if getattr(fitted, "has_formula", False):
            read = read[read.isin(fitted.frozen_.columns())]
        test = self.frame.loc[held, read]
        base = np.array([rank_score(truth, column) for column in predicted(fitted, test)[1].T])
        changed, rows = test.copy(), []
        for name, group in groups.items():
            columns = [column for column in group if column in read]
            generator = rng(self.seed, "importance", number, name)
            losses = np.zeros((self.shuffles, len(names)))
            for shuffle in range(self.shuffles if columns else 0):
                changed[columns] = test[columns].to_numpy()[generator.permutation(len(test))]
                scores = predicted(fitted, changed)[1]
                losses[shuffle] = base - [rank_score(truth, column) for column in scores.T]
            changed[columns] = test[columns]
            rows += [
                {"model": model, "name": name, "fold": number, "loss": float(value)}
                for model, value in zip(names, losses.mean(axis=0))
            ]
        return rows


def _used_columns(fitted: Any, frame: pd.DataFrame) -> dict[str, list[str]]:
    if not hasattr(fitted, "selections"):
        return {str(name): [str(name)] for name in frame.columns}
    chosen = fitted.selections()
    single = {name: [name] for part in ("clinical", "biomarkers", "binary") for name in chosen.get(part, [])}
    return single | told_apart(chosen.get("radiomics", []))


def told_apart(features: Sequence[str]) -> dict[str, list[str]]:
    """Each feature by itself; of a score that reads many, those of a VOI and class together."""
    return {name: [name] for name in features} if len(features) <= MOST_SINGLE else feature_groups(features)


def feature_groups(names: Sequence[str]) -> dict[str, list[str]]:
    """Features by VOI and class: ``tumor, glcm``; the last underscore of a PyRadiomics name parts off the feature."""
    groups: dict[str, list[str]] = {}
    for name in names:
        *place, feature = name.split(":")
        parts = feature.split("_")
        kind = parts[-2] if len(parts) > 2 else parts[0]
        groups.setdefault(", ".join([*place, kind]), []).append(name)
    return groups


def learning_curve(
    models: Any,
    X: Any,
    y: ArrayLike,
    shares: Sequence[float] = (0.4, 0.55, 0.7, 0.85, 1.0),
    *,
    folds: int = 5,
    repeats: int = 3,
    seed: int = 0,
    workers: int | None = 1,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """AUC (or C) in held-out folds after training on a share of the other patients: would more patients help?

    The smaller training sets are parts of the larger ones, and the tested patients are the same.

    Returns
    -------
    One row a model and share: model, share, n_train, auc or c (mean over folds and repeats), sd, n_failed.
    """
    frame, outcome = sorted_patients(X, y)
    classes, measure = event_classes(outcome), rank_measure(outcome).lower()
    splits = []
    for repeat in range(repeats):
        fold = stratified_folds(frame.index, classes, folds, seed, "learning", repeat)
        keys = [shuffle_key(seed, ("learning-order", repeat), name) for name in frame.index]
        order = np.array(sorted(range(len(frame)), key=lambda row: keys[row]))
        for number in range(folds):
            test = np.flatnonzero(fold == number)
            for step, share in enumerate(shares):
                train = np.sort(_first_of_each_class(order[fold[order] != number], classes, share))
                splits.append(Split((repeat, number, step), train, test))
    refits = refit_all(models, frame, outcome, splits, workers=workers, progress=progress)
    rows = []
    for split, refit in zip(splits, refits):
        scores = refit.linear_predictor
        for column, name in enumerate(model_names(models)):
            value = float("nan") if scores is None else rank_score(outcome[split.test], scores[:, column])
            share = shares[split.label[2]]
            rows.append({"model": name, "share": share, "n_train": len(split.train), measure: value})
    table = pd.DataFrame(rows)
    grouped = table.groupby(["model", "share"], sort=False)
    return pd.DataFrame(
        {
            "n_train": grouped["n_train"].mean(),
            measure: grouped[measure].mean(),
            "sd": grouped[measure].std(ddof=1),
            "n_failed": grouped[measure].agg(lambda values: int(values.isna().sum())),
        }
    ).reset_index()


def _first_of_each_class(order: np.ndarray, classes: np.ndarray, share: float) -> np.ndarray:
    parts = []
    for value in (0, 1):
        members = order[classes[order] == value]
        parts.append(members[: max(1, round(share * len(members)))] if len(members) else members)
    return np.concatenate(parts)
