"""Ridge regression for risk models of few, named predictors: logistic and Cox, the penalty by marginal likelihood.

Each coefficient of a standardized column has a normal prior around 0; its variance, one for all, is the one under which
the data are most probable (Laplace's approximation of the marginal likelihood, as mgcv's ``method = "ML"``). No folds
and no random numbers are needed, and where no variance beats 0 the answer is that nothing was found.

Columns of several sources (laboratory values, biomarkers, scores) can have a variance each: a source that tells nothing
beside the others gets the variance 0 and is left out, and costs the others nothing.

Sources: Hoerl AE, Kennard RW. Technometrics 1970;12:55. le Cessie S, van Houwelingen JC. Appl Stat 1992;41:191.
Verweij PJM, van Houwelingen HC. Stat Med 1994;13:2427 (Cox). Wood SN. J R Stat Soc B 2011;73:3 (marginal likelihood).
van de Wiel MA, te Beest DE, Munch MM. Scand J Stat 2019;46:2 (penalties by source, by marginal likelihood).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from hepacast.errors import ModelError
from hepacast.stats.competing_risks import Subdistribution
from hepacast.stats.cox import SortedFollowUp
from hepacast.stats.irls import log_likelihood

Array = NDArray[np.float64]
#: Value, gradient and information of a log-likelihood.
Likelihood = Callable[[Array], tuple[float, Array, Array]]

#: Penalties tried: prior standard deviations of a coefficient per SD from 0.01 to 10, each a factor 1.26 apart.
PENALTIES: Array = 10.0 ** np.arange(4.0, -2.01, -0.2)
#: Those tried for each of several groups; infinity leaves a group out.
GROUP_PENALTIES: Array = np.concatenate([[np.inf], PENALTIES[5::2]])
#: Rounds over the groups; each ends at once when no penalty changes.
_MOST_ROUNDS = 10


@dataclass(frozen=True)
class RidgeFit:
    """A fitted ridge regression.

    Attributes
    ----------
    coef
        Of the columns as given, shape (p,).
    intercept
        0 of a Cox model.
    covariance
        Of intercept and coefficients given the data and the prior, shape (p + 1, p + 1); limits made of it are those
        of a shrunk estimate. The intercept's row is 0 in a Cox model.
    penalty
        Half of it times the sum of the squared standardized coefficients is taken from the log-likelihood; infinite
        where nothing was found, and all coefficients are 0. Of several groups the smallest.
    penalties
        Of each group of columns, in the order of `groups`; infinite of a group whose coefficients are all 0.
    df
        Effective degrees of freedom, the intercept aside.
    loglik
        Log-likelihood (of Cox models: partial) at the estimate, without the penalty.
    gain
        Logarithm of the marginal likelihood above that without predictors.
    """

    coef: Array
    intercept: float
    covariance: Array
    penalty: float
    df: float
    loglik: float
    gain: float
    penalties: tuple[float, ...] = ()

    @property
    def found(self) -> bool:
        """Whether the predictors tell more than none."""
        return bool(np.isfinite(self.penalty))

    @property
    def beta(self) -> Array:
        """Intercept and coefficients, shape (p + 1,)."""
        return np.concatenate([[self.intercept], self.coef])

    def of_columns(self, kept: Sequence[bool]) -> RidgeFit:
        """The fit without columns whose coefficients are 0."""
        rows = np.flatnonzero([True, *kept])
        return replace(self, coef=self.coef[list(kept)], covariance=self.covariance[np.ix_(rows, rows)])

    @property
    def note(self) -> str:
        """What was done, in words."""
        each = ", ".join(f"{value:.3g}" for value in self.penalties if np.isfinite(value))
        what = f"a penalty for each part ({each})" if len(self.penalties) > 1 else f"penalty {self.penalty:.3g}"
        return (
            f"ridge regression: {what} by marginal likelihood, {self.df:.1f} effective degrees of "
            "freedom of the coefficients, which are shrunk and have no P"
        )


def ridge_logistic(
    x: ArrayLike,
    y: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    groups: Sequence[int] | None = None,
    penalties: Sequence[float] | None = None,
) -> RidgeFit:
    """Ridge logistic regression, the intercept not penalized.

    Parameters
    ----------
    x
        Shape (n, p), finite, no constant column.
    y
        0 or 1, shape (n,), both present.
    weights
        Case weights >= 0; they should sum to the number of patients.
    groups
        Group of each column, 0, 1, ...: each group has a prior variance of its own. None: one for all.
    penalties
        Of each group, where they are known already; None: those of the largest marginal likelihood.
    """
    matrix, means, scale = _standardized(x)
    matrix, turn = _thin(matrix) if groups is None else (matrix, None)
    outcome = np.asarray(y, dtype=float)
    w = np.ones(len(outcome)) if weights is None else np.asarray(weights, dtype=float)
    design = np.column_stack([np.ones(len(outcome)), matrix])
    sign = 2.0 * outcome - 1.0

    def likelihood(beta: Array) -> tuple[float, Array, Array]:
        eta = design @ beta
        risk = expit(eta)
        information = (design * (w * risk * (1.0 - risk))[:, None]).T @ design
        return log_likelihood(eta, sign, w), design.T @ (w * (outcome - risk)), information

    rate = float(w @ outcome / w.sum())
    start = np.zeros(design.shape[1])
    start[0] = np.log(rate / (1.0 - rate))
    fit = _turned_back(_most_probable(likelihood, start, 1, groups, penalties), turn, free=1)
    # From standardized columns to the columns as given: beta = M gamma.
    back = np.eye(len(scale) + 1)
    back[1:, 1:] = np.diag(1.0 / scale)
    back[0, 1:] = -means / scale
    return replace(
        fit,
        coef=fit.coef / scale,
        intercept=fit.intercept - float(fit.coef @ (means / scale)),
        covariance=back @ fit.covariance @ back.T,
    )


def ridge_cox(
    x: ArrayLike,
    time: ArrayLike,
    code: ArrayLike,
    *,
    groups: Sequence[int] | None = None,
    penalties: Sequence[float] | None = None,
) -> RidgeFit:
    """Ridge Cox regression, ties by Efron's method; where codes of 2 compete, Fine and Gray's of the subdistribution.

    Parameters
    ----------
    x
        Shape (n, p), finite, no constant column.
    time, code
        Follow-up, and 0, 1 (event) or 2 (competing event), shape (n,).
    groups, penalties
        As in `ridge_logistic`.
    """
    matrix, _, scale = _standardized(x)
    matrix, turn = _thin(matrix) if groups is None else (matrix, None)
    times, codes = np.asarray(time, dtype=float), np.asarray(code, dtype=float)
    if not (codes == 1).any():
        raise ModelError("A Cox model needs events.", found="0 events")
    if (codes == 2).any():
        likelihood = Subdistribution(matrix, times, codes).likelihood
    else:
        data = SortedFollowUp(matrix, times, codes)

        def likelihood(beta: Array) -> tuple[float, Array, Array]:
            return data.partial(beta, efron=True)

    fit = _turned_back(_most_probable(likelihood, np.zeros(matrix.shape[1]), 0, groups, penalties), turn, free=0)
    covariance = np.zeros((len(scale) + 1, len(scale) + 1))
    covariance[1:, 1:] = fit.covariance / np.outer(scale, scale)
    return replace(fit, coef=fit.coef / scale, covariance=covariance)


def _standardized(x: ArrayLike) -> tuple[Array, Array, Array]:
    matrix = np.asarray(x, dtype=float)
    means, scale = matrix.mean(axis=0), matrix.std(axis=0)
    if not np.isfinite(matrix).all() or (scale == 0).any():
        raise ModelError(
            "A ridge regression needs predictors that are known and vary.",
            found=f"{int((~np.isfinite(matrix)).any(axis=0).sum())} with gaps, {int((scale == 0).sum())} constant",
        )
    return (matrix - means) / scale, means, scale


def _thin(matrix: Array) -> tuple[Array, Array | None]:
    """With more columns than patients: as many scores as patients, and what turns coefficients of them back.

    A ridge penalty is the same in every rotation of the columns, and directions in which no patient differs stay 0.
    """
    if matrix.shape[1] <= matrix.shape[0]:
        return matrix, None
    left, values, turn = np.linalg.svd(matrix, full_matrices=False)
    known = values > 1e-10 * values[0]
    return left[:, known] * values[known], turn[known]


def _turned_back(fit: RidgeFit, turn: Array | None, free: int) -> RidgeFit:
    """The fit of the scores of `_thin` as one of the columns; their prior stays where no patient differs."""
    if turn is None:
        return fit
    back = np.zeros((free + turn.shape[1], free + turn.shape[0]))
    back[:free, :free], back[free:, free:] = np.eye(free), turn.T
    covariance = back @ fit.covariance @ back.T
    if np.isfinite(fit.penalty):
        covariance[free:, free:] += (np.eye(turn.shape[1]) - turn.T @ turn) / fit.penalty
    return replace(fit, coef=turn.T @ fit.coef, covariance=covariance)


def _most_probable(
    likelihood: Likelihood,
    start: Array,
    free: int,
    groups: Sequence[int] | None,
    given: Sequence[float] | None,
) -> RidgeFit:
    """The penalties of the largest marginal likelihood; the first `free` coefficients carry none."""
    label = np.zeros(len(start) - free, dtype=np.int64) if groups is None else np.asarray(groups, dtype=np.int64)
    null = likelihood(start)
    # Evidence without predictors: only what is free remains to be integrated over.
    none = null[0] - 0.5 * _log_det(null[2][:free, :free])
    count = int(label.max(initial=0)) + 1
    if given is None:
        gain, beta, penalties = _of_one_penalty(likelihood, start, free, none, count)
        if count > 1:
            gain, beta, penalties = _of_each_group(likelihood, (gain, beta, penalties), free, none, label)
    else:
        penalties = np.asarray(given, dtype=float)
        prior = np.concatenate([np.zeros(free), penalties[label]])
        beta = _maximized(likelihood, start, prior)
        gain = _evidence(likelihood, beta, prior) - none
    if (gain <= 0.0 and given is None) or not np.isfinite(penalties[label]).any():
        covariance = np.zeros((len(start), len(start)))
        covariance[:free, :free] = np.linalg.inv(null[2][:free, :free])
        nothing = RidgeFit(start[free:], 0.0, covariance, np.inf, 0.0, null[0], 0.0, (np.inf,) * count)
        return replace(nothing, intercept=float(start[0]) if free else 0.0)
    value, _, information = likelihood(beta)
    prior = np.concatenate([np.zeros(free), penalties[label]])
    used = np.isfinite(prior)
    posterior = np.zeros_like(information)
    posterior[np.ix_(used, used)] = np.linalg.inv(
        (information + np.diag(np.where(used, prior, 0.0)))[np.ix_(used, used)]
    )
    df = float(np.trace(posterior @ information)) - free
    coefficients = beta[free:], float(beta[0]) if free else 0.0
    each = tuple(float(item) for item in penalties)
    return RidgeFit(*coefficients, posterior, min(each), df, value, gain, each)


def _of_one_penalty(
    likelihood: Likelihood, start: Array, free: int, none: float, count: int
) -> tuple[float, Array, Array]:
    """Gain, coefficients and penalties (the same for every group) where all groups share one."""
    best: tuple[float, Array, float] | None = None
    beta = start
    for penalty in PENALTIES:
        prior = np.concatenate([np.zeros(free), np.full(len(start) - free, penalty)])
        beta = _maximized(likelihood, beta, prior)
        gain = _evidence(likelihood, beta, prior) - none
        if best is None or gain > best[0]:
            best = (gain, beta, float(penalty))
    assert best is not None
    return best[0], best[1], np.full(count, best[2])


def _of_each_group(
    likelihood: Likelihood, found: tuple[float, Array, Array], free: int, none: float, label: NDArray[np.int64]
) -> tuple[float, Array, Array]:
    """One group's penalty after the other, the rest as they are, until none changes."""
    gain, beta, penalties = found
    for _ in range(_MOST_ROUNDS):
        before = penalties.copy()
        for group in range(len(penalties)):
            gain, beta, penalties = _along(likelihood, (gain, beta, penalties), free, none, label, group)
        if (penalties == before).all():
            break
    return gain, beta, penalties


def _along(
    likelihood: Likelihood,
    found: tuple[float, Array, Array],
    free: int,
    none: float,
    label: NDArray[np.int64],
    group: int,
) -> tuple[float, Array, Array]:
    """One group's penalty moved up and down as long as that helps; and left out, where that is better still."""
    gain, beta, penalties = found
    start = int(np.argmin(np.abs(np.log(np.minimum(GROUP_PENALTIES, 1e9)) - np.log(min(penalties[group], 1e9)))))
    for steps in (range(start + 1, len(GROUP_PENALTIES)), range(start - 1, -1, -1), (0,)):
        for step in steps:
            tried = penalties.copy()
            tried[group] = GROUP_PENALTIES[step]
            prior = np.concatenate([np.zeros(free), tried[label]])
            trial = _maximized(likelihood, np.where(np.isfinite(prior), beta, 0.0), prior)
            reached = _evidence(likelihood, trial, prior) - none
            if reached <= gain + 1e-9:
                break
            gain, beta, penalties = reached, trial, tried
    return gain, beta, penalties


def _log_det(matrix: Array) -> float:
    return float(np.linalg.slogdet(matrix)[1]) if matrix.size else 0.0


def _evidence(likelihood: Likelihood, beta: Array, prior: Array) -> float:
    """Laplace's approximation; coefficients of an infinite penalty are 0 and take no part, those of 0 are free."""
    value, _, information = likelihood(beta)
    used = np.isfinite(prior)
    known = prior[used]
    return (
        value
        - 0.5 * float(known @ beta[used] ** 2)
        + 0.5 * float(np.log(known[known > 0]).sum())
        - 0.5 * _log_det(information[np.ix_(used, used)] + np.diag(known))
    )


def _maximized(likelihood: Likelihood, start: Array, prior: Array) -> Array:
    """Newton's method with step-halving; a proper prior makes the maximum unique and finite."""
    beta = start
    used = np.flatnonzero(np.isfinite(prior))
    inside, known = np.ix_(used, used), prior[used]
    value, gradient, information = likelihood(beta)
    objective = value - 0.5 * float(known @ beta[used] ** 2)
    for _ in range(100):
        slope = gradient[used] - known * beta[used]
        step = np.zeros(len(beta))
        step[used] = np.linalg.solve(information[inside] + np.diag(known), slope)
        decrement = float(slope @ step[used])
        for _half in range(40):
            trial = beta + step
            result = likelihood(trial)
            new = result[0] - 0.5 * float(known @ trial[used] ** 2)
            if np.isfinite(new) and new >= objective - 1e-13 * (abs(objective) + 1.0):
                break
            step = step / 2.0
        beta, objective = trial, new
        value, gradient, information = result
        if decrement < 1e-16:
            break
    return beta
