"""Choice of the penalty by cross-validation, equal to R's ``cv.glmnet``.

By default every fold fits its *own* sequence of penalties and its coefficients are interpolated to the sequence of all
rows (glmnet's ``alignment = "lambda"``); with `lambdas` given, every fold is fitted at exactly these.
Source: Friedman, Hastie, Tibshirani. J Stat Softw 2010;33(1):1-22, section 6; Simon et al. 2011 for Cox (grouped).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit
from scipy.stats import rankdata

from hepacast.errors import ModelError, OutcomeError
from hepacast.stats.penalized import Family, PenalizedPath, glmnet_path

Array = NDArray[np.float64]
Measure = Literal["deviance", "auc", "class"]
Rule = Literal["min", "1se"]

#: ``cv.glmnet`` keeps fitted probabilities this far from 0 and 1 before it takes logarithms.
_PROBABILITY_FLOOR = 1e-5


@dataclass(frozen=True)
class PenaltyChoice:
    """A path and the cross-validated loss along it.

    Attributes
    ----------
    path
        The models fitted to all rows.
    measure
        ``"deviance"``, ``"auc"`` or ``"class"`` (share of errors).
    mean, se
        Mean over the folds and its standard error at each step, shape (steps,).
    index_min, index_1se
        Steps with the best mean, and with the strongest penalty within one SE of it.
    folds
        Number of folds.
    """

    path: PenalizedPath
    measure: Measure
    mean: Array
    se: Array
    index_min: int
    index_1se: int
    folds: int

    @property
    def lambda_min(self) -> float:
        """Penalty with the best cross-validated measure."""
        return float(self.path.lambdas[self.index_min])

    @property
    def lambda_1se(self) -> float:
        """Largest penalty whose measure lies within one standard error of the best."""
        return float(self.path.lambdas[self.index_1se])

    def index(self, rule: Rule) -> int:
        """Step chosen by a rule."""
        return self.index_min if rule == "min" else self.index_1se

    def coefficients(self, rule: Rule = "min") -> tuple[float, Array]:
        """Intercept and coefficients (p,) at the chosen step."""
        step = self.index(rule)
        return float(self.path.intercepts[step]), self.path.coefficients[step].copy()

    def to_frame(self) -> pd.DataFrame:
        """The curve: lambda, mean, standard error, number of coefficients."""
        return pd.DataFrame(
            {"lambda": self.path.lambdas, "mean": self.mean, "se": self.se, "n_nonzero": self.path.n_nonzero}
        )


def cv_glmnet(
    X: ArrayLike,
    y: ArrayLike | tuple[ArrayLike, ArrayLike],
    foldid: ArrayLike,
    *,
    family: Family = "binomial",
    measure: Measure = "deviance",
    lambdas: ArrayLike | None = None,
    shared_path: bool = False,
    weights: ArrayLike | None = None,
    names: Sequence[str] | None = None,
    **settings: Any,
) -> PenaltyChoice:
    """Fit the path to all rows and to each fold's training rows; choose the penalty.

    Parameters
    ----------
    X, y, family, lambdas, weights, names, **settings
        As for `glmnet_path`.
    foldid
        Fold of each row, shape (n,).
    measure
        Binomial: ``"deviance"``, ``"auc"`` (needs 10 rows a fold, else deviance is asked for), ``"class"``.
        Cox: ``"deviance"`` (partial likelihood of all rows less that of the training rows).
    shared_path
        Fit the folds at the penalties of all rows rather than at their own.

    Raises
    ------
    ModelError
        Fewer than three folds, or a measure that the family does not know.
    OutcomeError
        A fold's training rows have one class or no event.
    """
    matrix = np.asarray(X, dtype=float)
    folds, fold_of_row = np.unique(np.asarray(foldid), return_inverse=True)
    if len(folds) < 3:
        raise ModelError("Cross-validation of the penalty needs at least three folds.", found=f"{len(folds)}")
    if family == "cox" and measure != "deviance":
        raise ModelError("The penalty of a Cox model is chosen by deviance.", found=str(measure))
    row_weights = np.ones(len(matrix)) if weights is None else np.asarray(weights, dtype=float)
    path = glmnet_path(matrix, y, family=family, lambdas=lambdas, weights=weights, names=names, **settings)
    settings |= {"family": family, "lambdas": path.lambdas if shared_path or lambdas is not None else None}
    fits = []
    for fold in range(len(folds)):
        train = fold_of_row != fold
        own = row_weights[train] if weights is not None else None
        fits.append(glmnet_path(matrix[train], _rows(y, family, train), weights=own, **settings))
    if family == "cox":
        losses, fold_weights = _cox_losses(fits, matrix, y, row_weights, fold_of_row, path.lambdas)  # type: ignore[arg-type]
    else:
        losses, fold_weights = _binomial_losses(
            fits, matrix, np.asarray(y, float), row_weights, fold_of_row, path.lambdas, measure
        )
    return _choose(path, measure, losses, fold_weights)


def _rows(y: Any, family: Family, rows: NDArray[np.bool_]) -> Any:
    if family == "cox":
        return np.asarray(y[0], dtype=float)[rows], np.asarray(y[1], dtype=float)[rows]
    return np.asarray(y, dtype=float)[rows]


def _binomial_losses(
    fits: list[PenalizedPath],
    X: Array,
    y: Array,
    weights: Array,
    fold_of_row: NDArray[np.int64],
    lambdas: Array,
    measure: Measure,
) -> tuple[Array, Array]:
    """Loss of each fold at each penalty, and the folds' weights."""
    losses = np.full((len(fits), len(lambdas)), np.nan)
    fold_weights = np.zeros(len(fits))
    for fold, fit in enumerate(fits):
        rows = fold_of_row == fold
        w, truth = weights[rows], y[rows]
        fold_weights[fold] = w.sum()
        risk = expit(fit.link(X[rows], lambdas))
        if measure == "auc":
            losses[fold] = -_auc(risk, truth, w)
        elif measure == "class":
            losses[fold] = w @ np.where(risk > 0.5, 1.0 - truth[:, None], truth[:, None]) / w.sum()
        else:
            inside = np.clip(risk, _PROBABILITY_FLOOR, 1.0 - _PROBABILITY_FLOOR)
            likelihood = np.where(truth[:, None] == 1.0, np.log(inside), np.log1p(-inside))
            losses[fold] = -2.0 * (w @ likelihood) / w.sum()
    return losses, fold_weights


def _auc(risk: Array, truth: Array, weights: Array) -> Array:
    """AUC of each column (ties count half); NaN for a fold of one class, which is then left out."""
    events = truth == 1.0
    n_events, n_others = int(events.sum()), int((~events).sum())
    if n_events == 0 or n_others == 0:
        return np.full(risk.shape[1], np.nan)
    if np.ptp(weights) > 0:
        above = risk[events][:, None, :] - risk[~events][None, :, :]
        pair = weights[events][:, None] * weights[~events][None, :]
        return np.asarray(np.einsum("ij,ijk->k", pair, (above > 0) + 0.5 * (above == 0)) / pair.sum())
    ranks = rankdata(risk, axis=0)
    return np.asarray((ranks[events].sum(axis=0) - n_events * (n_events + 1) / 2) / (n_events * n_others))


def _cox_losses(
    fits: list[PenalizedPath],
    X: Array,
    y: tuple[ArrayLike, ArrayLike],
    weights: Array,
    fold_of_row: NDArray[np.int64],
    lambdas: Array,
) -> tuple[Array, Array]:
    """Deviance of all rows less that of the training rows (glmnet's grouped Cox loss), per event of the fold."""
    time, event = (np.asarray(part, dtype=float) for part in y)
    losses = np.full((len(fits), len(lambdas)), np.nan)
    fold_weights = np.zeros(len(fits))
    for fold, fit in enumerate(fits):
        train = fold_of_row != fold
        link = fit.link(X, lambdas)
        everything = cox_deviance(link, time, event, weights)
        training = cox_deviance(link[train], time[train], event[train], weights[train])
        fold_weights[fold] = (weights * event)[~train].sum()
        if fold_weights[fold] > 0:
            losses[fold] = (everything - training) / fold_weights[fold]
    return losses, fold_weights


def cox_deviance(link: Array, time: Array, event: Array, weights: Array) -> Array:
    """Twice (saturated - partial log-likelihood), Breslow's ties, for each column of `link` (n, m)."""
    order = np.argsort(time, kind="stable")
    link, event, weights = link[order], event[order], weights[order]
    _, start = np.unique(time[order], return_index=True)
    dead = np.add.reduceat(weights * event, start)
    shift = link.max(axis=0)
    risk = np.add.reduceat(weights[:, None] * np.exp(link - shift), start, axis=0)
    risk = np.cumsum(risk[::-1], axis=0)[::-1]
    with_deaths = dead > 0
    d = dead[with_deaths]
    loglik = (weights * event) @ (link - shift) - d @ np.log(risk[with_deaths])
    saturated = -float(d @ np.log(d))
    return np.asarray(2.0 * (saturated - loglik))


def _choose(path: PenalizedPath, measure: Measure, losses: Array, fold_weights: Array) -> PenaltyChoice:
    usable = np.isfinite(losses).all(axis=1) & (fold_weights > 0)
    if usable.sum() < 2:
        raise OutcomeError(
            "The penalty cannot be chosen: fewer than two folds can be scored.",
            found=f"{int(usable.sum())} of {len(usable)} folds",
            remedy="use fewer folds, or the deviance instead of the AUC",
        )
    losses, weights = losses[usable], fold_weights[usable] / fold_weights[usable].sum()
    mean = weights @ losses
    se = np.sqrt(weights @ (losses - mean) ** 2 / (len(losses) - 1))
    best = int(np.argmin(mean))
    within = int(np.argmax(mean <= mean[best] + se[best]))
    shown = -mean if measure == "auc" else mean
    return PenaltyChoice(path, measure, shown, se, best, within, len(fold_weights))
