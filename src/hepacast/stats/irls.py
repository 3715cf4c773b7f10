"""Newton's method for the logistic likelihood, and the exact test for separation. Shared by every logistic fit.

The weighted least-squares step is solved by QR, as R's `glm.fit` does, with step-halving, and run until the Newton
decrement (the squared length of the step in standard errors) is below 1e-18: twelve digits and more in every result.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

DECREMENT = 1e-18
"""Newton decrement at which a fit counts as converged (the step is still taken)."""

SUSPECT_LOGIT = 15.0
"""A fitted |logit| beyond this asks for a proof that data are not separated; few finite fits need it."""

HOPELESS_LOGIT = 25.0
"""A fit that passes this is given up: residuals that small prove nothing."""


@dataclass(frozen=True)
class Irls:
    """Where Newton's method stopped: coefficients, log-likelihood, R of the weighted design, and how."""

    beta: Array
    loglik: float
    r: Array
    iterations: int
    converged: bool
    largest_logit: float

    @property
    def covariance(self) -> Array:
        """Inverse of the Fisher information, from R: (R'R)^-1."""
        inverse = np.linalg.inv(self.r)
        return np.asarray(inverse @ inverse.T)


def log_likelihood(eta: Array, sign: Array, weights: Array) -> float:
    """Weighted binomial log-likelihood at the linear predictor `eta`; `sign` is +1 for events and -1 otherwise."""
    return -float(weights @ np.logaddexp(0.0, -sign * eta))


def _weighted_system(design: Array, eta: Array, sign: Array, weights: Array) -> tuple[Array, Array]:
    # sqrt(mu (1 - mu)) and (y - mu) / sqrt(mu (1 - mu)) without cancellation in the tails.
    half = np.clip(np.abs(eta) / 2.0, None, 300.0)
    root = np.exp(-half) / (1.0 + np.exp(-2.0 * half)) * np.sqrt(weights)
    residual = sign * np.exp(np.clip(-sign * eta / 2.0, -300.0, 300.0)) * np.sqrt(weights)
    return design * root[:, None], residual


def irls(
    design: Array,
    y: Array,
    *,
    weights: Array,
    offset: Array,
    start: Array | None = None,
    max_iter: int = 60,
    stop_at_logit: float = np.inf,
) -> Irls:
    """Maximize the weighted binomial log-likelihood.

    Parameters
    ----------
    design
        Full-rank design (n, q) with the intercept column, if there is to be one. q may be 0.
    y
        0 or 1, shape (n,).
    weights, offset
        Case weights (> 0) and a known part of the linear predictor, shape (n,).
    start
        First guess of the coefficients; zeros otherwise.
    stop_at_logit
        Stop (not converged) once a fitted |logit| passes this, so that separated data cost no 60 iterations.
    """
    n_columns = design.shape[1]
    sign = 2.0 * y - 1.0
    scale = np.sqrt(np.mean(design**2, axis=0))
    scale[scale == 0.0] = 1.0
    scaled, turn = _at_right_angles(design / scale)
    gamma = np.zeros(n_columns) if start is None else turn @ (np.asarray(start, dtype=float) * scale)
    eta = offset + scaled @ gamma
    loglik = log_likelihood(eta, sign, weights)
    converged = n_columns == 0
    iterations = 0
    while not converged and iterations < max_iter:
        iterations += 1
        newton = _newton(scaled, eta, sign, weights)
        if newton is None:
            break
        step, decrement = newton
        gamma, eta, loglik, moved = _halve(scaled, gamma, step, offset, sign, weights, loglik)
        converged = decrement < DECREMENT
        if not moved:
            break
        if np.abs(eta).max() > stop_at_logit:
            break
    weighted, _ = _weighted_system(design, eta, sign, weights)
    return Irls(
        beta=np.linalg.solve(turn, gamma) / scale,
        loglik=loglik,
        r=np.asarray(np.linalg.qr(weighted, mode="r")) if n_columns else np.zeros((0, 0)),
        iterations=iterations,
        converged=converged,
        largest_logit=float(np.abs(eta).max()) if eta.size else 0.0,
    )


def _at_right_angles(scaled: Array) -> tuple[Array, Array]:
    """Columns of the same span, and what turns coefficients of the given ones into theirs.

    Columns far from 0 beside an intercept are nearly the same direction; steps in these cost the digits by which
    convergence is told. Others stay as they are.
    """
    size = scaled.shape[1]
    diagonal = np.abs(np.diag(np.linalg.qr(scaled, mode="r"))) if size else np.ones(1)
    if diagonal.min() >= 1e-3 * diagonal.max() or diagonal.min() <= 1e-13 * diagonal.max():
        return scaled, np.eye(size)
    basis, turn = np.linalg.qr(scaled)
    return np.asarray(basis), np.asarray(turn)


def _newton(scaled: Array, eta: Array, sign: Array, weights: Array) -> tuple[Array, float] | None:
    """Newton's step and its squared length in standard errors; None where the weighted columns are dependent."""
    weighted, residual = _weighted_system(scaled, eta, sign, weights)
    # With the residual as a further column no Q is made: what it is multiplied to stands beside R.
    factor = np.asarray(np.linalg.qr(np.column_stack([weighted, residual]), mode="r"))
    columns = scaled.shape[1]
    r, projected = factor[:columns, :columns], factor[:columns, columns]
    diagonal = np.abs(np.diag(r))
    if not diagonal.min() > 1e-13 * diagonal.max():
        return None
    return np.linalg.solve(r, projected), float(projected @ projected)


def _halve(
    scaled: Array, gamma: Array, step: Array, offset: Array, sign: Array, weights: Array, loglik: float
) -> tuple[Array, Array, float, bool]:
    """Take the step, or half of it, a quarter ..., until the likelihood does not fall (up to rounding)."""
    slack = 1e-13 * (abs(loglik) + 1.0)
    for _ in range(40):
        candidate = gamma + step
        eta = offset + scaled @ candidate
        new = log_likelihood(eta, sign, weights)
        if new >= loglik - slack:
            return candidate, eta, new, True
        step = step / 2.0
    return gamma, offset + scaled @ gamma, loglik, False


def dependent_columns(design: Array, tolerance: float = 1e-9) -> list[int]:
    """Columns that are (nearly) linear combinations of the columns before them.

    The first column is taken to be the intercept, so a constant predictor is found too. A column counts when the
    part of it that its predecessors do not explain is shorter than `tolerance` times its own length.
    """
    if 0 < design.shape[1] <= len(design):
        # As a rule nothing is near: the diagonal of R are the same lengths, up to rounding.
        diagonal = np.abs(np.diag(np.linalg.qr(design, mode="r")))
        if (diagonal > 1e3 * tolerance * np.linalg.norm(design, axis=0)).all():
            return []
    kept = np.empty((design.shape[1], len(design)))
    n_kept = 0
    dependent: list[int] = []
    for index in range(design.shape[1]):
        column = design[:, index].astype(float)
        length = float(np.linalg.norm(column))
        rest = column.copy()
        for _ in range(2):  # twice: Gram-Schmidt loses digits once
            rest -= (kept[:n_kept] @ rest) @ kept[:n_kept]
        remaining = float(np.linalg.norm(rest))
        if length == 0.0 or remaining <= tolerance * length:
            dependent.append(index)
        else:
            kept[n_kept] = rest / remaining
            n_kept += 1
    return dependent


def separation_direction(design: Array, y: Array) -> Array | None:
    """A direction along which the likelihood never falls, if there is one: then no finite estimate exists.

    Konis' linear program: maximize sum_i s_i x_i'b subject to s_i x_i'b >= 0 for all i and -1 <= b <= 1, with
    s_i = +1 for events and -1 otherwise. The data are separated (completely or quasi-completely) exactly when the
    maximum is above zero.

    Returns
    -------
    ndarray or None
        The direction in units of the columns' root mean square, shape (q,), or None when the data overlap.

    References
    ----------
    Albert A, Anderson JA. Biometrika 1984;71:1-10. Konis K. DPhil thesis, Oxford 2007.
    """
    from scipy.optimize import linprog

    scale = np.sqrt(np.mean(design**2, axis=0))
    scale[scale == 0.0] = 1.0
    signed = (2.0 * y - 1.0)[:, None] * (design / scale)
    solution = linprog(
        -signed.sum(axis=0), A_ub=-signed, b_ub=np.zeros(len(y)), bounds=[(-1.0, 1.0)] * design.shape[1], method="highs"
    )
    if solution.status != 0:
        return None
    direction = np.asarray(solution.x, dtype=float)
    margin = signed @ direction
    # The solver's feasibility tolerance is 1e-7; a true separation moves at least one patient by far more.
    if margin.max() < 1e-5 or margin.min() < -1e-6:
        return None
    direction[np.abs(direction) < 1e-7] = 0.0
    return direction


def _surely_overlap(design: Array, beta: Array, y: Array, weights: Array, offset: Array) -> bool:
    """Whether the residuals of a fit prove that the data overlap; it takes far less time than the linear program.

    They do if and only if there are numbers above zero, one a patient, that make the sum of the s_i x_i zero (Stiemke's
    lemma). At a maximum the residuals' sizes are such numbers up to rounding, and what is left is projected away.
    """
    sign = 2.0 * y - 1.0
    q = np.linalg.qr(sign[:, None] * design)[0]
    sizes = weights / (1.0 + np.exp(np.clip(sign * (offset + design @ beta), -700.0, 700.0)))
    sizes -= q @ (q.T @ sizes)
    return bool(sizes.min() > 1e3 * np.abs(q @ (q.T @ sizes)).max())


def maximize(design: Array, y: Array, weights: Array, offset: Array) -> tuple[Irls, Array | None]:
    """Fit, and give the direction of separation where there is one instead of a finite maximum."""
    limit = HOPELESS_LOGIT + float(np.abs(offset).max())
    fit = irls(design, y, weights=weights, offset=offset, stop_at_logit=limit)
    if fit.converged and (fit.largest_logit <= SUSPECT_LOGIT or _surely_overlap(design, fit.beta, y, weights, offset)):
        return fit, None
    direction = separation_direction(design, y)
    if direction is None:
        fit = irls(design, y, weights=weights, offset=offset, max_iter=200)
    return fit, direction
