"""The members of `AutoClassifier`: seven ways to use a wide table, from two features to all of them.

All work on rank-to-normal features Z (n x p, variance 1) and on one vector of univariate t statistics. Most end in a
vector of coefficients; so a member is fitted in milliseconds, and can be judged by an inner cross-validation.

Of time and event the t statistics are the signed roots of the Cox model's score tests, the LASSO's models are Cox
models, and what learns numbers (ridge, support vectors, trees) learns the martingale residuals of the model without
predictors (`targets.null_residuals`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from hepacast.modelling.base import Array
from hepacast.modelling.filters import cox_score_z
from hepacast.modelling.targets import for_penalized, has_time, null_residuals
from hepacast.stats.global_test import squared_distances
from hepacast.stats.penalized import glmnet_path

#: t statistics beyond this all count as overwhelming.
_T_MAX = 9.0


class Member(Protocol):
    """A fitted member."""

    def score(self, Z: Array) -> Array:
        """Score of each row; higher is likelier."""


@dataclass(frozen=True)
class Linear:
    """Coefficients of the features."""

    coefficients: Array

    def score(self, Z: Array) -> Array:
        """Z times the coefficients."""
        return np.asarray(Z @ self.coefficients)


@dataclass(frozen=True)
class Radial:
    """Ridge regression with a radial kernel on weighted features."""

    root: Array
    train: Array
    alpha: Array
    width: float

    def score(self, Z: Array) -> Array:
        """Kernel with the training rows, times the dual coefficients."""
        rows = Z[:, self.root > 0] * self.root[self.root > 0]
        return np.asarray(np.exp(-squared_distances(rows, self.train) / self.width) @ self.alpha)


@dataclass(frozen=True)
class Machine:
    """A support-vector machine on a few columns."""

    estimator: Any
    columns: NDArray[np.int64]

    def score(self, Z: Array) -> Array:
        """Its decision function, or the number it has learned to tell."""
        tell = getattr(self.estimator, "decision_function", None) or self.estimator.predict
        return np.asarray(tell(Z[:, self.columns]))


def fit_members(Z: Array, y: NDArray[Any], wanted: Mapping[str, float] | None = None) -> dict[str, Member]:
    """Fit the members (all but the trees), or those that are wanted."""
    t = univariate_t(Z, y)
    target = told_as_number(y)
    fitted: dict[str, Member] = {}
    for name, fit in _MEMBERS.items():
        if wanted is None or wanted.get(name, 0.0) > 0.0:
            fitted[name] = fit(Z, y, target, t)
    return fitted


def univariate_t(Z: Array, y: NDArray[Any]) -> Array:
    """Student's t of each column (of time and event, the root of the Cox score test); 0 for one that does not vary."""
    if has_time(y):
        return np.clip(cox_score_z(Z, y[:, 0], y[:, 1]), -_T_MAX, _T_MAX)
    a, b = Z[y == 1], Z[y == 0]
    n1, n0 = len(a), len(b)
    spread = (a.var(axis=0) * n1 + b.var(axis=0) * n0) / max(n1 + n0 - 2, 1)
    error = np.sqrt(spread * (1 / n1 + 1 / n0))
    t = (a.mean(axis=0) - b.mean(axis=0)) / np.where(error > 1e-9, error, np.inf)
    return np.clip(t, -_T_MAX, _T_MAX)


def told_as_number(y: NDArray[Any]) -> Array:
    """Targets of a least-squares fit, mean square 1: classes weighted alike, or martingale residuals."""
    if has_time(y):
        target = null_residuals(y)
    else:
        share = y.mean()
        target = np.where(y == 1, 1 / share, -1 / (1 - share))
    return target / np.sqrt((target**2).mean())


def _sparse_average(Z: Array, y: Array, target: Array, t: Array) -> Member:
    """Mean of all features, signed, with weights |t|^6: a few when they stand out, many when none does."""
    weight = np.abs(t) ** 6
    return Linear(np.sign(t) * weight / max(weight.sum(), 1e-300))


def _best_two(Z: Array, y: Array, target: Array, t: Array) -> Member:
    """The two features of the largest |t|."""
    coefficients = np.zeros(len(t))
    best = np.argsort(-np.abs(t), kind="stable")[:2]
    coefficients[best] = np.sign(t[best]) / 2
    return Linear(coefficients)


def _weighted_ridge(Z: Array, y: Array, target: Array, t: Array) -> Member:
    """Ridge regression in which a feature's prior variance is t^2: all features, the better ones more."""
    weight = t**2 / max((t**2).sum(), 1e-300)
    rows = Z * np.sqrt(weight)
    kernel = rows @ rows.T
    scale = max(np.trace(kernel) / len(Z), 1e-300)
    alpha = np.linalg.solve(kernel / scale + 0.1 * np.eye(len(Z)), target)
    return Linear(np.sqrt(weight) * (rows.T @ alpha))


def _radial_ridge(Z: Array, y: Array, target: Array, t: Array) -> Member:
    """The same with a radial kernel, so that it may bend; prior variance exp(t^2 / 10)."""
    weight = np.exp(0.1 * (t**2 - (t**2).max()))
    weight /= weight.sum()
    root = np.where(weight > 1e-8, np.sqrt(weight), 0.0)
    rows = Z[:, root > 0] * root[root > 0]
    squares = squared_distances(rows, rows)
    width = 8.0 * max(float(np.median(squares[np.triu_indices(len(Z), 1)])), 1e-12)
    alpha = np.linalg.solve(np.exp(-squares / width) + 0.3 * np.eye(len(Z)), target)
    return Radial(root, rows, np.asarray(alpha, dtype=float), width)


def _lasso_average(Z: Array, y: Array, target: Array, t: Array) -> Member:
    """Mean of the LASSO's models from the first feature down to 0.15 of the largest penalty."""
    path = glmnet_path(Z, **for_penalized(y), n_lambda=15, lambda_min_ratio=0.15, thresh=1e-4)
    return Linear(path.coefficients.mean(axis=0))


def _machine(Z: Array, y: Array, target: Array, t: Array) -> Member:
    """Radial support-vector machine on the 16 features of the largest |t|."""
    from sklearn.svm import SVC, SVR

    columns = np.argsort(-np.abs(t), kind="stable")[:16].astype(np.int64)
    if has_time(y):
        return Machine(SVR(C=1.0).fit(Z[:, columns], target), columns)
    return Machine(SVC(C=1.0, class_weight="balanced").fit(Z[:, columns], y), columns)


_MEMBERS: dict[str, Any] = {
    "sparse average": _sparse_average,
    "best two": _best_two,
    "weighted ridge": _weighted_ridge,
    "radial ridge": _radial_ridge,
    "LASSO average": _lasso_average,
    "SVM of 16": _machine,
}

#: Name of the member that judges itself by the rows outside each tree's sample.
TREES = "extra trees"
NAMES = (*_MEMBERS, TREES)


def fit_trees(Z: Array, y: NDArray[Any], n_trees: int, seed: int) -> tuple[Any, Array]:
    """Extremely randomized trees and each training row's out-of-bag risk.

    Of time and event they tell the place of the martingale residual, between 0 and 1.

    Without class weights: recent scikit-learn draws bootstrap samples by them, and rows of a rare class would then
    stand in nearly every sample and have no out-of-bag risk.
    """
    from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

    of_time = has_time(y)
    told = (rankdata(null_residuals(y)) - 0.5) / len(y) if of_time else y
    grown = ExtraTreesRegressor if of_time else ExtraTreesClassifier
    forest = grown(
        n_estimators=n_trees,
        max_features=max(1, Z.shape[1] // 10),
        min_samples_leaf=3,
        bootstrap=True,
        oob_score=True,
        random_state=seed,
        n_jobs=1,
    ).fit(Z, told)
    inside = forest.oob_prediction_ if of_time else forest.oob_decision_function_[:, 1]
    return forest, np.asarray(inside, dtype=float)


def tree_scores(forest: Any, Z: Array) -> Array:
    """What the trees tell of other rows, between 0 and 1."""
    told = forest.predict_proba(Z)[:, 1] if hasattr(forest, "predict_proba") else forest.predict(Z)
    return np.asarray(told, dtype=float)
