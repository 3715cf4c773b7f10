"""LASSO, elastic-net and ridge paths of logistic and Cox models, equal to R's glmnet.

`glmnet_path` fits a path of penalized models, `cv_glmnet` chooses the penalty by cross-validation. The objective is
glmnet's: ``-(1/n) loglik + lambda * sum(factor_j * ((1 - alpha)/2 * b_j**2 + alpha * |b_j|))`` with an unpenalized
intercept (none for Cox, whose ties are Breslow's).

Sources: Friedman, Hastie, Tibshirani. J Stat Softw 2010;33(1):1-22; Simon, Friedman, Hastie, Tibshirani.
J Stat Softw 2011;39(5):1-13; frozen against glmnet 4.1-6.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from hepacast.errors import ModelError, OutcomeError

Array = NDArray[np.float64]
Family = Literal["binomial", "cox"]


@dataclass(frozen=True)
class PenalizedPath:
    """A path of penalized models, from the largest penalty down.

    Attributes
    ----------
    family
        ``"binomial"`` or ``"cox"``.
    lambdas
        Penalties, shape (steps,).
    intercepts
        Shape (steps,), on the logit scale; zeros for Cox.
    coefficients
        Shape (steps, p), in the units of the predictors as given.
    explained
        Explained share of the null deviance (glmnet's ``dev.ratio``), shape (steps,).
    null_deviance
        Deviance without predictors, per unit of weight.
    names
        Names of the predictors.
    alpha
        Mixing of the penalties: 1 LASSO, 0 ridge.
    converged
        False when the budget of sweeps ended the path early; the steps that are there did converge.
    """

    family: Family
    lambdas: Array
    intercepts: Array
    coefficients: Array
    explained: Array
    null_deviance: float
    names: tuple[str, ...]
    alpha: float
    converged: bool

    @property
    def n_nonzero(self) -> NDArray[np.int64]:
        """Predictors with a coefficient at each step."""
        return np.asarray(np.count_nonzero(self.coefficients, axis=1), dtype=np.int64)

    def at(self, lambdas: float | ArrayLike) -> tuple[Array, Array]:
        """Intercepts (m,) and coefficients (m, p) at any penalties, linear between the steps as glmnet does it."""
        left, right, share = _interpolation(self.lambdas, np.atleast_1d(np.asarray(lambdas, dtype=float)))
        intercepts = share * self.intercepts[left] + (1.0 - share) * self.intercepts[right]
        column = share[:, None]
        return intercepts, column * self.coefficients[left] + (1.0 - column) * self.coefficients[right]

    def link(self, X: ArrayLike, lambdas: float | ArrayLike) -> Array:
        """Linear predictor, shape (n, m), at the penalties."""
        intercepts, coefficients = self.at(lambdas)
        return np.asarray(np.asarray(X, dtype=float) @ coefficients.T + intercepts)

    def to_frame(self) -> pd.DataFrame:
        """One row a step: lambda, number of coefficients, explained deviance, then intercept and coefficients."""
        frame = pd.DataFrame(self.coefficients, columns=list(self.names))
        frame.insert(0, "(Intercept)", self.intercepts)
        frame.insert(0, "explained", self.explained)
        frame.insert(0, "n_nonzero", self.n_nonzero)
        frame.insert(0, "lambda", self.lambdas)
        return frame


def _interpolation(path: Array, wanted: Array) -> tuple[NDArray[np.int64], NDArray[np.int64], Array]:
    """Neighbors on the path and the left one's share (glmnet's ``lambda.interp``)."""
    if len(path) == 1:
        zeros = np.zeros(len(wanted), dtype=np.int64)
        return zeros, zeros, np.ones(len(wanted))
    scale = path[0] - path[-1]
    places = (path[0] - path) / scale
    fraction = np.clip((path[0] - wanted) / scale, places[0], places[-1])
    coordinate = np.interp(fraction, places, np.arange(len(path)))
    left = np.floor(coordinate).astype(np.int64)
    right = np.ceil(coordinate).astype(np.int64)
    gap = places[left] - places[right]
    share = np.ones(len(wanted))
    apart = np.abs(gap) >= np.finfo(float).eps
    share[apart] = (fraction[apart] - places[right[apart]]) / gap[apart]
    return left, right, share


def glmnet_path(
    X: ArrayLike,
    y: ArrayLike | tuple[ArrayLike, ArrayLike],
    *,
    family: Family = "binomial",
    alpha: float = 1.0,
    lambdas: ArrayLike | None = None,
    n_lambda: int = 100,
    lambda_min_ratio: float | None = None,
    standardize: bool = True,
    weights: ArrayLike | None = None,
    penalty_factors: ArrayLike | None = None,
    thresh: float = 1e-7,
    max_sweeps: int = 100_000,
    names: Sequence[str] | None = None,
) -> PenalizedPath:
    """Fit penalized logistic or Cox models along a path of penalties.

    Parameters
    ----------
    X
        Predictors, shape (n, p), no missing values.
    y
        Binomial: 0/1, shape (n,). Cox: the pair (time, event).
    alpha
        1 LASSO, 0 ridge, between them elastic net.
    lambdas
        Penalties to fit; by default `n_lambda` values, log-spaced from the smallest one that leaves no predictor in,
        down to `lambda_min_ratio` times it (1e-4, or 1e-2 when n < p). A path made so may stop early, as glmnet's does.
    standardize
        Scale the predictors to SD 1 (SD with 1/n) for the penalty; coefficients are given back in their own units.
    weights, penalty_factors
        Per row and per predictor; penalty factors are rescaled to mean 1. A factor of 0 leaves the predictor in.
    thresh
        Convergence: largest weighted squared change of a coefficient, relative to the null deviance.

    Raises
    ------
    ModelError
        Missing or infinite values, or the first step of the path does not converge.
    OutcomeError
        One class only, or no event.
    """
    from hepacast.stats import _descent

    data = _standardized(X, y, family, standardize, weights)
    n, p = len(data.outcome), len(data.scale)
    factors = np.ones(p) if penalty_factors is None else np.asarray(penalty_factors, dtype=float)
    ratio = lambda_min_ratio if lambda_min_ratio is not None else (1e-2 if n < p else 1e-4)
    sequence = np.empty(0) if lambdas is None else np.sort(np.asarray(lambdas, dtype=float))[::-1].copy()
    found = _descent.fit_path(
        data.columns, data.outcome, data.weights, data.group, family == "cox", factors * p / factors.sum(),
        float(alpha), sequence, int(n_lambda), max(1e-6, float(ratio)), float(thresh), int(max_sweeps),
    )  # fmt: skip
    if not len(found[0]):
        raise ModelError(
            "The penalized model does not converge at its largest penalty.",
            expected=f"convergence within {max_sweeps} sweeps", remedy="scale the predictors, or raise `max_sweeps`",
        )  # fmt: skip
    return _path(found, data, family, float(alpha), names, own=lambdas is None)


class _Standardized(NamedTuple):
    """Rows in the order in which they are fitted, the predictors centered and scaled, one row of `columns` each."""

    columns: Array
    outcome: Array
    weights: Array
    group: NDArray[np.int64]
    center: Array
    scale: Array


def _standardized(X: ArrayLike, y: Any, family: Family, standardize: bool, weights: ArrayLike | None) -> _Standardized:
    matrix = _checked(X)
    n, p = matrix.shape
    row_weights = np.ones(n) if weights is None else np.asarray(weights, dtype=float)
    row_weights = row_weights / row_weights.sum()
    order, outcome, group = _response(y, family, n)
    matrix, row_weights = matrix[order], row_weights[order]
    center = row_weights @ matrix
    centered = matrix - center
    scale = np.sqrt(row_weights @ centered**2) if standardize else np.ones(p)
    usable = np.ptp(matrix, axis=0) > 0 if n else np.zeros(p, dtype=bool)
    scale = np.where(usable, scale, 1.0)
    centered[:, ~usable] = 0.0
    return _Standardized(np.ascontiguousarray((centered / scale).T), outcome, row_weights, group, center, scale)


def _path(
    found: Any, data: _Standardized, family: Family, alpha: float, names: Sequence[str] | None, *, own: bool
) -> PenalizedPath:
    """What the descent found, in the units of the predictors; `own`: it chose the penalties."""
    from hepacast.stats import _descent

    fitted, intercepts, scaled, explained, null, ending = found
    if own and len(fitted) > 2:
        fitted[0] = np.exp(2 * np.log(fitted[1]) - np.log(fitted[2]))
    coefficients = scaled / data.scale
    return PenalizedPath(
        family=family,
        lambdas=fitted,
        intercepts=intercepts - coefficients @ data.center if family == "binomial" else np.zeros(len(fitted)),
        coefficients=coefficients,
        explained=explained,
        null_deviance=2.0 * float(null),
        names=tuple(names) if names is not None else tuple(f"x{j + 1}" for j in range(len(data.scale))),
        alpha=alpha,
        converged=ending != _descent.NOT_CONVERGED,
    )


def _checked(X: ArrayLike) -> Array:
    matrix = np.asarray(X, dtype=float)
    if matrix.ndim != 2 or matrix.shape[1] == 0:
        raise ModelError("A penalized model needs at least one predictor.", found=f"shape {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise ModelError(
            "The predictors hold missing or infinite values.",
            found=f"{int((~np.isfinite(matrix)).sum())} of {matrix.size} values",
            remedy="impute them first",
        )
    return matrix


def _response(
    y: ArrayLike | tuple[ArrayLike, ArrayLike], family: Family, n: int
) -> tuple[NDArray[np.int64], Array, NDArray[np.int64]]:
    """(order of the rows, outcome or event in that order, number of each row's time among the times)."""
    if family == "binomial":
        outcome = np.asarray(y, dtype=float)
        if outcome.shape != (n,) or not np.isin(outcome, (0.0, 1.0)).all():
            raise OutcomeError("The outcome must be 0 or 1 for every row.", expected=f"{n} values")
        if outcome.min() == outcome.max():
            raise OutcomeError("The outcome has one class only.", found=f"{n} rows of class {int(outcome[0])}")
        return np.arange(n), outcome, np.zeros(n, dtype=np.int64)
    time, event = (np.asarray(part, dtype=float) for part in y)  # type: ignore[union-attr]
    if time.shape != (n,) or event.shape != (n,) or not np.isfinite(time).all():
        raise OutcomeError("Time and event must be given for every row.", expected=f"{n} values")
    if not event.any():
        raise OutcomeError("There is no event.", found=f"{n} censored rows")
    order = np.lexsort((1.0 - event, time))
    return order, event[order], np.unique(time[order], return_inverse=True)[1].astype(np.int64)
