"""Coordinate descent for penalized likelihoods, compiled: the inner loops of `hepacast.stats.penalized`.

The order of the steps follows glmnet (Friedman, Hastie, Tibshirani, J Stat Softw 2010;33(1), and Simon et al.,
J Stat Softw 2011;39(5)): Newton steps outside, weighted least squares by coordinate descent inside, warm starts along
the path, the sequential strong rule with a check of the Kuhn-Tucker conditions (Tibshirani et al., JRSS B 2012;74:245).
Predictors come as rows (`xt`, p x n), so that each one is contiguous. Imported only when a fit is asked for, since
compiling is slow to import.
"""

from __future__ import annotations

import numpy as np
from numba import njit

#: glmnet's internal constants (glmnet.control).
FDEV = 1e-5  # smallest gain of explained deviance along the path
DEVMAX = 0.999  # largest explained deviance
MNLAM = 5  # steps of the path that are always made
PMIN = 1e-9  # fitted probabilities closer to 0 or 1 than this end the path

#: Sums may be reordered, so that they use the processor's vector units; NaN and infinities keep their meaning.
VECTORIZE = {"reassoc", "contract", "nsz"}

#: How a path ended.
DONE, SATURATED, NOT_CONVERGED = 0, 1, 2


@njit(cache=True, fastmath=VECTORIZE)
def _sweep(xt, v, r, b, xv, factor, lam1, lam2, candidates, n_candidates):  # type: ignore[no-untyped-def]
    """One cycle over the coordinates: the largest weighted squared change. Changes `r` and `b` in place."""
    n = r.size
    largest = 0.0
    for position in range(n_candidates):
        k = candidates[position]
        row = xt[k]
        old = b[k]
        gradient = 0.0
        for i in range(n):
            gradient += r[i] * row[i]
        u = gradient + xv[k] * old
        excess = abs(u) - factor[k] * lam1
        new = 0.0
        if excess > 0.0:
            new = (excess if u > 0 else -excess) / (xv[k] + factor[k] * lam2)
        step = new - old
        if step != 0.0:
            b[k] = new
            largest = max(largest, xv[k] * step * step)
            for i in range(n):
                r[i] -= step * v[i] * row[i]
    return largest


@njit(cache=True, fastmath=VECTORIZE)
def _move_intercept(r, v, xmz):  # type: ignore[no-untyped-def]
    """The Newton step of the unpenalized intercept; `r` changes in place."""
    step = r.sum() / xmz
    for i in range(r.size):
        r[i] -= step * v[i]
    return step


@njit(cache=True)
def _enlist(b, members, is_member, n_members):  # type: ignore[no-untyped-def]
    """Add the predictors that have just entered to the active set; they stay in it, in the order of their entry."""
    for k in range(b.size):
        if b[k] != 0.0 and not is_member[k]:
            is_member[k] = True
            members[n_members] = k
            n_members += 1
    return n_members


@njit(cache=True)
def _least_squares(xt, v, r, b, b0, xv, factor, lam1, lam2, eligible, active, intercept, xmz, tol, budget):  # type: ignore[no-untyped-def]
    """Solve the weighted penalized least squares; returns (intercept, sweeps used), sweeps < 0 when out of budget.

    `active` is (members, is_member, how many [0]), kept along the whole path as glmnet keeps it.
    """
    members, is_member, counter = active
    everyone = np.flatnonzero(eligible)
    used = 0
    while True:
        used += 1
        change = _sweep(xt, v, r, b, xv, factor, lam1, lam2, everyone, everyone.size)
        counter[0] = _enlist(b, members, is_member, counter[0])
        if intercept:
            step = _move_intercept(r, v, xmz)
            b0 += step
            change = max(change, xmz * step * step)
        if change < tol:
            return b0, used
        while change >= tol:
            used += 1
            if used > budget:
                return b0, -used
            change = _sweep(xt, v, r, b, xv, factor, lam1, lam2, members, counter[0])
            if intercept:
                step = _move_intercept(r, v, xmz)
                b0 += step
                change = max(change, xmz * step * step)


@njit(cache=True)
def _linear_predictor(xt, b, b0, eta):  # type: ignore[no-untyped-def]
    for i in range(eta.size):
        eta[i] = b0
    for k in range(b.size):
        if b[k] != 0.0:
            for i in range(eta.size):
                eta[i] += b[k] * xt[k, i]


@njit(cache=True)
def _binomial_state(eta, y, w, v, r):  # type: ignore[no-untyped-def]
    """Newton weights `v`, residuals `r` (in place); returns (sum of weights, deviance / 2)."""
    ceiling = np.log(1.0 / PMIN - 1.0)
    total = 0.0
    half_deviance = 0.0
    for i in range(eta.size):
        if eta[i] < -ceiling:
            q = 0.0
        elif eta[i] > ceiling:
            q = 1.0
        else:
            q = 1.0 / (1.0 + np.exp(-eta[i]))
        v[i] = w[i] * q * (1.0 - q)
        r[i] = w[i] * (y[i] - q)
        total += v[i]
        inside = min(max(q, PMIN), 1.0 - PMIN)
        half_deviance -= w[i] * (y[i] * np.log(inside) + (1.0 - y[i]) * np.log(1.0 - inside))
    return total, half_deviance


@njit(cache=True)
def _cox_state(eta, group, event, w, v, r):  # type: ignore[no-untyped-def]
    """The same for Cox's partial likelihood (Breslow's ties); rows sorted by time, `group` numbers the times.

    The deviance is relative to the saturated model, in which each group of deaths stands alone in its risk set.
    """
    n = eta.size
    shift = eta.max()
    n_groups = group[n - 1] + 1
    risk = np.zeros(n_groups)
    dead = np.zeros(n_groups)
    half_deviance = 0.0
    for i in range(n):
        risk[group[i]] += w[i] * np.exp(eta[i] - shift)
        if event[i]:
            dead[group[i]] += w[i]
            half_deviance -= w[i] * (eta[i] - shift)
    for g in range(n_groups - 2, -1, -1):
        risk[g] += risk[g + 1]
    first = np.zeros(n_groups)
    second = np.zeros(n_groups)
    running1 = 0.0
    running2 = 0.0
    for g in range(n_groups):
        if dead[g] > 0.0:
            running1 += dead[g] / risk[g]
            running2 += dead[g] / (risk[g] * risk[g])
            half_deviance += dead[g] * np.log(risk[g] / dead[g])
        first[g] = running1
        second[g] = running2
    total = 0.0
    for i in range(n):
        e = w[i] * np.exp(eta[i] - shift)
        v[i] = e * first[group[i]] - e * e * second[group[i]]
        r[i] = (w[i] if event[i] else 0.0) - e * first[group[i]]
        total += v[i]
    return total, half_deviance


@njit(cache=True, fastmath=VECTORIZE)
def _gradients(xt, r, eligible, gradient):  # type: ignore[no-untyped-def]
    """|gradient| of the predictors that are not yet eligible."""
    for k in range(gradient.size):
        if not eligible[k]:
            total = 0.0
            for i in range(r.size):
                total += r[i] * xt[k, i]
            gradient[k] = abs(total)


@njit(cache=True, fastmath=VECTORIZE)
def _weighted_norms(xt, v, eligible, xv):  # type: ignore[no-untyped-def]
    for k in range(xv.size):
        if eligible[k]:
            total = 0.0
            for i in range(v.size):
                total += v[i] * xt[k, i] * xt[k, i]
            xv[k] = total


@njit(cache=True)
def _state(eta, group, y, w, v, r, cox):  # type: ignore[no-untyped-def]
    if cox:
        return _cox_state(eta, group, y > 0.5, w, v, r)
    return _binomial_state(eta, y, w, v, r)


@njit(cache=True)
def _has_moved(b, before, xv, tol):  # type: ignore[no-untyped-def]
    for k in range(b.size):  # noqa: SIM110 (numba compiles no generators)
        if b[k] != before[k] and xv[k] * (b[k] - before[k]) ** 2 >= tol:
            return True
    return False


@njit(cache=True)
def _admit(gradient, eligible, bound):  # type: ignore[no-untyped-def]
    """Make the predictors whose gradient exceeds the bound eligible; says whether there were any."""
    any_new = False
    for k in range(gradient.size):
        if not eligible[k] and gradient[k] > bound[k]:
            eligible[k] = True
            any_new = True
    return any_new


@njit(cache=True)
def _solve(xt, y, w, group, cox, b, b0, v, r, gradient, eligible, active, factor, lam1, lam2, xmz, tol, budget):  # type: ignore[no-untyped-def]
    """The penalized maximum at one lambda; returns (intercept, deviance / 2, sum of weights, budget left, ending)."""
    before = np.empty_like(b)
    xv = np.zeros_like(b)
    eta = np.empty_like(y)
    half = 0.0
    while True:
        before0 = b0
        before[:] = b
        _weighted_norms(xt, v, eligible, xv)
        b0, used = _least_squares(xt, v, r, b, b0, xv, factor, lam1, lam2, eligible, active, not cox, xmz, tol, budget)
        budget -= abs(used)
        if used < 0 or budget <= 0:
            return b0, half, xmz, budget, NOT_CONVERGED
        _linear_predictor(xt, b, b0, eta)
        xmz, half = _state(eta, group, y, w, v, r, cox)
        if not cox and xmz <= (1.0 + PMIN) * PMIN * (1.0 - PMIN):
            return b0, half, xmz, budget, SATURATED
        if xmz * (b0 - before0) ** 2 >= tol or _has_moved(b, before, xv, tol):
            continue
        _gradients(xt, r, eligible, gradient)
        if not _admit(gradient, eligible, lam1 * factor):
            return b0, half, xmz, budget, DONE


@njit(cache=True)
def _next_lambda(step, lambdas, previous, gradient, factor, floor, shrink):  # type: ignore[no-untyped-def]
    """(this step's lambda, the one that the strong rule looks back to)."""
    if lambdas.size > 0:
        return lambdas[step], previous
    if step == 0:
        return 9.9e35, previous
    if step > 1:
        return previous * shrink, previous
    entry = 0.0
    for k in range(gradient.size):
        if factor[k] > 0.0:
            entry = max(entry, gradient[k] / factor[k])
    return shrink * entry / floor, entry / floor


@njit(cache=True)
def fit_path(xt, y, w, group, cox, factor, alpha, lambdas, n_lambda, ratio, tol, budget):  # type: ignore[no-untyped-def]
    """The whole path, from the largest lambda down.

    `lambdas` empty: the sequence is made from the data (n_lambda values down to `ratio` times the largest), and the
    path may stop early as glmnet's does. Returns lambdas, intercepts, coefficients (steps x p), explained deviance,
    the null deviance / 2, and how the path ended.
    """
    p, n = xt.shape
    steps = lambdas.size if lambdas.size > 0 else n_lambda
    out_lambda = np.zeros(steps)
    out_b0 = np.zeros(steps)
    out_b = np.zeros((steps, p))
    explained = np.zeros(steps)
    b = np.zeros(p)
    gradient = np.zeros(p)
    eligible = np.zeros(p, np.bool_)
    active = (np.zeros(p, np.int64), np.zeros(p, np.bool_), np.zeros(1, np.int64))
    v = np.empty(n)
    r = np.empty(n)
    mean = (w * y).sum()
    b0 = 0.0 if cox else np.log(mean / (1.0 - mean))
    xmz, null = _state(np.full(n, b0), group, y, w, v, r, cox)
    _gradients(xt, r, eligible, gradient)
    shrink = ratio ** (1.0 / (n_lambda - 1)) if n_lambda > 1 else 1.0
    floor = max(alpha, 1e-3)  # ridge has no entry point; glmnet takes that of alpha = 0.001
    lam = 0.0
    ending = DONE
    made = 0
    for step in range(steps):
        lam, previous = _next_lambda(step, lambdas, lam, gradient, factor, floor, shrink)
        _admit(gradient, eligible, alpha * (2.0 * lam - previous) * factor)
        b0, half, xmz, budget, ending = _solve(
            xt, y, w, group, cox, b, b0, v, r, gradient, eligible, active, factor,
            lam * alpha, lam * (1.0 - alpha), xmz, tol * null, budget,
        )  # fmt: skip
        if ending == NOT_CONVERGED:
            break
        out_lambda[step] = lam
        out_b0[step] = b0
        out_b[step] = b
        explained[step] = (null - half) / null
        made = step + 1
        if ending == SATURATED:
            break
        enough = explained[step] > DEVMAX or (step > 0 and explained[step] - explained[step - 1] < FDEV)
        if lambdas.size == 0 and made >= MNLAM and enough:
            break
    return out_lambda[:made], out_b0[:made], out_b[:made], explained[:made], null, ending
