"""Logistic regression by maximum likelihood with everything that a table of a paper needs.

Equal to R's `glm(..., family = binomial)` and the statistics of `rms::lrm`. A fit that has no finite estimate
(separation) or no unique one (a constant or collinear column) says so in `status` and `reason`; its numbers are NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from hepacast.errors import ModelError
from hepacast.stats.design import Array, binary_outcome, finite_matrix
from hepacast.stats.irls import dependent_columns, irls, maximize
from hepacast.stats.logistic_fit import LogisticFit

__all__ = ["LogisticFit", "fit_logistic", "univariate_logistic"]


def fit_logistic(
    x: ArrayLike,
    y: ArrayLike,
    names: Sequence[str] | None = None,
    *,
    weights: ArrayLike | None = None,
    offset: ArrayLike | None = None,
) -> LogisticFit:
    """Fit P(y = 1) = 1 / (1 + exp(-(a + x b))) by maximum likelihood.

    Parameters
    ----------
    x
        Predictors without intercept, shape (n, p); p may be 0. A DataFrame gives its own names.
    y
        Outcome, 0 or 1, shape (n,).
    names
        Names of the p predictors.
    weights
        Case weights >= 0 (a weight of 2 counts a patient twice); rows of weight 0 are left out.
    offset
        Known part of the linear predictor, shape (n,).

    Returns
    -------
    LogisticFit
        `status` is `ok`, `separated` (no finite estimate: use `fit_firth`), `singular` (a predictor is constant or
        a combination of others; `reason` names it) or `not_converged`. Unless it is `ok`, coefficients are NaN.

    Raises
    ------
    OutcomeError
        The outcome is missing, not binary, or of one class.
    ModelError
        Shapes do not agree, or predictors are missing or infinite.

    Notes
    -----
    Newton's method with QR and step-halving until the Newton decrement is below 1e-18. Separation is decided
    exactly, by a linear program (`hepacast.stats.irls.separation_direction`), whenever a fitted |logit| passes 15 or
    the iteration does not converge.
    """
    return _maximum_likelihood(*prepared(x, y, names, weights, offset))


def _maximum_likelihood(
    outcome: Array, matrix: Array, labels: tuple[str, ...], case: Array, known: Array
) -> LogisticFit:
    """The fit of data that were checked, or the fit without numbers that says why there is none."""
    design = np.column_stack([np.ones(len(outcome)), matrix])
    dependent = dependent_columns(design)
    if dependent:
        return LogisticFit.failed("singular", singular_reason(dependent, design, labels), labels, outcome, matrix)
    if design.shape[1] > len(outcome):
        reason = f"{len(outcome)} patients cannot determine {design.shape[1]} coefficients"
        return LogisticFit.failed("singular", reason, labels, outcome, matrix)
    fit, direction = maximize(design, outcome, case, known)
    if direction is not None:
        return LogisticFit.failed("separated", _separation_reason(direction, labels), labels, outcome, matrix)
    if not fit.converged:
        return LogisticFit.failed(
            "not_converged", f"no convergence in {fit.iterations} iterations", labels, outcome, matrix
        )
    return LogisticFit(
        names=labels,
        beta=fit.beta,
        covariance=fit.covariance,
        loglik=fit.loglik,
        null=partial(null_loglik, outcome, case, known),
        iterations=fit.iterations,
        status="ok",
        reason="",
        y=outcome,
        x=matrix,
        weights=case,
        offset=known,
    )


def null_loglik(y: Array, weights: Array, offset: Array) -> float:
    """Log-likelihood of the intercept alone (with the offset); in closed form where there is no offset."""
    if offset.any():
        return irls(np.ones((len(y), 1)), y, weights=weights, offset=offset).loglik
    total, events = float(weights.sum()), float(weights @ y)
    return events * np.log(events / total) + (total - events) * np.log1p(-events / total)


def prepared(
    x: ArrayLike, y: ArrayLike, names: Sequence[str] | None, weights: ArrayLike | None, offset: ArrayLike | None
) -> tuple[Array, Array, tuple[str, ...], Array, Array]:
    """Checked outcome, predictors, names, weights and offset; rows of weight 0 are gone."""
    n = int(np.asarray(y).size)
    matrix, labels = finite_matrix(x, n, names)
    case = np.ones(n) if weights is None else np.asarray(weights, dtype=float).ravel()
    known = np.zeros(n) if offset is None else np.asarray(offset, dtype=float).ravel()
    if case.size != n or known.size != n:
        raise ModelError("Weights or offset do not fit the outcome.", expected=f"{n} values each")
    if not (np.isfinite(case).all() and np.isfinite(known).all() and (case >= 0).all()):
        raise ModelError("Weights or offset are not usable.", expected="finite numbers, weights >= 0")
    keep = case > 0
    outcome = binary_outcome(np.asarray(y).ravel()[keep])
    return outcome, matrix[keep], labels, case[keep], known[keep]


def singular_reason(dependent: Sequence[int], design: Array, names: Sequence[str]) -> str:
    """Why columns of a design have no coefficient of their own."""
    spread = {j: float(np.ptp(design[:, j])) for j in dependent}
    constant = [names[j - 1] for j in dependent if spread[j] == 0.0]
    # What varies by less than a billionth of its size is constant to the arithmetic of a fit.
    almost = [names[j - 1] for j in dependent if 0.0 < spread[j] <= 1e-8 * float(np.abs(design[:, j]).max())]
    combined = [names[j - 1] for j in dependent if names[j - 1] not in (*constant, *almost)]
    parts = []
    if constant:
        parts.append("constant: " + ", ".join(constant))
    if almost:
        parts.append("almost constant: " + ", ".join(almost))
    if combined:
        parts.append("determined by the predictors before it: " + ", ".join(combined))
    return "; ".join(parts)


def _separation_reason(direction: Array, names: Sequence[str]) -> str:
    involved = [name for name, value in zip(names, direction[1:]) if value != 0.0]
    who = f"{', '.join(involved[:-1])} and {involved[-1]} together" if len(involved) > 1 else "".join(involved)
    return (
        f"{who or 'the predictors'} separate{'s' if len(involved) == 1 else ''} events from non-events, so the "
        "maximum-likelihood estimate is infinite"
    )


def univariate_logistic(x: ArrayLike, y: ArrayLike, names: Sequence[str] | None = None) -> list[LogisticFit]:
    """One logistic fit a predictor, each on its own (the univariate column of a paper's table)."""
    matrix, labels = finite_matrix(x, int(np.asarray(y).size), names)
    return [fit_logistic(matrix[:, [j]], y, [labels[j]]) for j in range(matrix.shape[1])]
