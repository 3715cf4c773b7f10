"""Ridge regression for risk models of few, named predictors: logistic and Cox, the penalty by marginal likelihood.

Each coefficient of a standardized column has a normal prior around 0; its variance, one for all, is the one under which
the data are most probable (Laplace's approximation of the marginal likelihood, as mgcv's ``method = "ML"``). No folds
and no random numbers are needed, and where no variance beats 0 the answer is that nothing was found.

Columns of several sources (laboratory values, biomarkers, scores) can have a variance each: a source that tells nothing
beside the others gets the variance 0 and is left out, and costs the others nothing.

Candidates, of which most tell nothing, come in one by one where they probably belong (`RidgeFit.inclusion`): a
candidate's coefficients are 0 or drawn from the prior (spike and slab), and its probability is the sum of those of all
models that hold it. Those of the most probable model come in anyway: of many that tell the same, each is improbable.

Sources: Hoerl AE, Kennard RW. Technometrics 1970;12:55. le Cessie S, van Houwelingen JC. Appl Stat 1992;41:191.
Verweij PJM, van Houwelingen HC. Stat Med 1994;13:2427 (Cox). Wood SN. J R Stat Soc B 2011;73:3 (marginal likelihood).
van de Wiel MA, te Beest DE, Munch MM. Scand J Stat 2019;46:2 (penalties by source, by marginal likelihood).
Mitchell TJ, Beauchamp JJ. J Am Stat Assoc 1988;83:1023 (spike and slab). Castillo I, Schmidt-Hieber J, van der Vaart A.
Ann Stat 2015;43:1986 (prior of the number of candidates that belong).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaln, expit, logsumexp

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
#: Penalties of a candidate's coefficients where it belongs: prior standard deviations of 1, 1/2 and 1/4 per SD.
SLABS = (1.0, 4.0, 16.0)
#: Candidates that belong with a probability of at least this come in, and those of the most probable model.
PROBABLE = 0.2
#: A column that varies by less than this part of its size is constant: standardized, its rounding would be a predictor.
ROUNDING = 1e-12
#: Models whose neighbors are looked at are at most so many times (logarithm) less probable than the best; once so many
#: models were looked at and the best is among them, it is enough.
WINDOW, MOST_MODELS = 3.0, 400


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
    inclusion
        Probability that each candidate belongs.
    came_in
        Whether each candidate did; coefficients of the others are 0.
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
    inclusion: tuple[float, ...] = ()
    came_in: tuple[bool, ...] = ()

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
    candidates: Sequence[int] | None = None,
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
    candidates
        Candidate of each column, 0, 1, ..., which comes in with all its columns or none; -1: always in.
    """
    matrix, means, scale = _standardized(x)
    matrix, turn = _thin(matrix) if groups is None and candidates is None else (matrix, None)
    outcome = np.asarray(y, dtype=float)
    w = np.ones(len(outcome)) if weights is None else np.asarray(weights, dtype=float)
    sign = 2.0 * outcome - 1.0

    def likelihood_of(columns: NDArray[np.int64]) -> Likelihood:
        design = np.column_stack([np.ones(len(outcome)), matrix[:, columns]])

        def likelihood(beta: Array) -> tuple[float, Array, Array]:
            eta = design @ beta
            risk = expit(eta)
            information = (design * (w * risk * (1.0 - risk))[:, None]).T @ design
            return log_likelihood(eta, sign, w), design.T @ (w * (outcome - risk)), information

        return likelihood

    rate = float(w @ outcome / w.sum())
    start = np.array([np.log(rate / (1.0 - rate))])
    fit = _turned_back(_fitted(likelihood_of, start, matrix.shape[1], groups, penalties, candidates), turn, free=1)
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
    candidates: Sequence[int] | None = None,
) -> RidgeFit:
    """Ridge Cox regression, ties by Efron's method; where codes of 2 compete, Fine and Gray's of the subdistribution.

    Parameters
    ----------
    x
        Shape (n, p), finite, no constant column.
    time, code
        Follow-up, and 0, 1 (event) or 2 (competing event), shape (n,).
    groups, penalties, candidates
        As in `ridge_logistic`.
    """
    matrix, _, scale = _standardized(x)
    matrix, turn = _thin(matrix) if groups is None and candidates is None else (matrix, None)
    times, codes = np.asarray(time, dtype=float), np.asarray(code, dtype=float)
    if not (codes == 1).any():
        raise ModelError("A Cox model needs events.", found="0 events")

    def likelihood_of(columns: NDArray[np.int64]) -> Likelihood:
        if (codes == 2).any():
            return Subdistribution(matrix[:, columns], times, codes).likelihood
        data = SortedFollowUp(matrix[:, columns], times, codes)
        return lambda beta: data.partial(beta, efron=True)

    found = _fitted(likelihood_of, np.zeros(0), matrix.shape[1], groups, penalties, candidates)
    fit = _turned_back(found, turn, free=0)
    covariance = np.zeros((len(scale) + 1, len(scale) + 1))
    covariance[1:, 1:] = fit.covariance / np.outer(scale, scale)
    return replace(fit, coef=fit.coef / scale, covariance=covariance)


def _standardized(x: ArrayLike) -> tuple[Array, Array, Array]:
    matrix = np.asarray(x, dtype=float)
    means, scale = matrix.mean(axis=0), matrix.std(axis=0)
    constant = scale <= ROUNDING * np.abs(means)
    if not np.isfinite(matrix).all() or constant.any():
        raise ModelError(
            "A ridge regression needs predictors that are known and vary.",
            found=f"{int((~np.isfinite(matrix)).any(axis=0).sum())} with gaps, {int(constant.sum())} constant",
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


def _fitted(
    likelihood_of: Callable[[NDArray[np.int64]], Likelihood],
    free: Array,
    size: int,
    groups: Sequence[int] | None,
    given: Sequence[float] | None,
    candidates: Sequence[int] | None,
) -> RidgeFit:
    """The most probable fit of the columns that are always in and of the candidates that probably belong.

    `likelihood_of` some of the `size` columns takes the coefficients without a penalty first; `free` is where these
    start.
    """
    label = np.zeros(size, dtype=np.int64) if groups is None else np.asarray(groups, dtype=np.int64)
    candidate = np.full(size, -1) if candidates is None else np.asarray(candidates, dtype=np.int64)
    penalties = None if given is None else np.asarray(given, dtype=float)
    count = int(label.max(initial=0)) + 1
    always = np.flatnonzero(candidate < 0)
    inclusion, came_in = np.zeros(0), np.zeros(0, dtype=bool)
    used = always
    if (candidate >= 0).any():
        beside = _most_probable(likelihood_of(always), free, label[always], count, penalties)
        prior = np.where(candidate < 0, np.array(beside.penalties)[label], np.inf)
        inclusion, best = inclusion_probabilities(likelihood_of(np.arange(size)), free, prior, candidate)
        came_in = (inclusion >= PROBABLE) | best
        used = np.flatnonzero((candidate < 0) | came_in[candidate])
    fit = _most_probable(likelihood_of(used), free, label[used], count, penalties)
    if not len(inclusion):
        return fit
    places = np.concatenate([np.arange(len(free)), len(free) + used])
    coef, covariance = np.zeros(size), np.zeros((len(free) + size, len(free) + size))
    coef[used], covariance[np.ix_(places, places)] = fit.coef, fit.covariance
    each = tuple(float(value) for value in inclusion), tuple(bool(value) for value in came_in)
    return replace(fit, coef=coef, covariance=covariance, inclusion=each[0], came_in=each[1])


def inclusion_probabilities(
    likelihood: Likelihood, free: Array, prior: Array, candidate: NDArray[np.int64]
) -> tuple[Array, NDArray[np.bool_]]:
    """Probability that each candidate belongs, given the data, and whether the most probable model holds it.

    Before the data about one candidate is expected to belong, however many there are (of m, m / (m + 1)), and every
    choice of as many is as probable; one that belongs has coefficients with one of the penalties of `SLABS`, the same
    for all. Models are compared by Laplace's approximation, beside the columns that are always in, and without them:
    where these tell nothing, what they fit by chance must not hide a candidate.

    Parameters
    ----------
    likelihood
        Of all coefficients: those without a penalty, then the columns.
    free
        Where the coefficients without a penalty start.
    prior
        Penalty of each column that is always in; infinite: not in, or a candidate's.
    candidate
        Of each column, -1: none.
    """
    count = int(candidate.max()) + 1
    columns = [len(free) + np.flatnonzero(candidate == number) for number in range(count)]
    found: dict[frozenset[int], float] = {}
    for beside in (prior, np.full(len(prior), np.inf)):
        for (_, model), value in _models_of(likelihood, free, beside, columns).items():
            found[model] = float(np.logaddexp(found.get(model, -np.inf), value))
        if not np.isfinite(prior).any():
            break
    worth = np.array(list(found.values()))
    held = np.array([[number in model for number in range(count)] for model in found])
    return np.exp(worth - logsumexp(worth)) @ held.astype(float), held[np.argmax(worth)]


def _models_of(
    likelihood: Likelihood, free: Array, prior: Array, columns: Sequence[NDArray[np.int64]]
) -> dict[tuple[float, frozenset[int]], float]:
    """Penalty and choice of candidates -> logarithm of its probability, around the best one that was found.

    The log-likelihood is taken for the parabola that touches it at the best model's maximum; the models of that
    parabola are looked at, and if another one is best, all is done again around that one.
    """
    always = np.concatenate([np.zeros(len(free)), prior])
    best: tuple[float, frozenset[int]] = (SLABS[0], frozenset())
    around, penalty = np.concatenate([free, np.zeros(len(prior))]), always
    seen: set[tuple[float, frozenset[int]]] = set()
    while best not in seen:
        seen.add(best)
        penalty = always.copy()
        for number in best[1]:
            penalty[columns[number]] = best[0]
        around = _maximized(likelihood, np.where(np.isfinite(penalty), around, 0.0), penalty)
        worth = _Worth.around(likelihood, around, always, columns)
        found = {(slab, model): value for slab in SLABS for model, value in worth.explored(best[1], slab).items()}
        middle, best = best, max(found, key=lambda item: found[item])
    exact = _evidence(likelihood, around, penalty) + worth.chance(len(middle[1])) - worth.of(middle[1], middle[0])
    return {model: value + exact for model, value in found.items()}


@dataclass(frozen=True)
class _Worth:
    """How probable a choice of candidates is: the likelihood as a parabola, integrated over what is always in.

    `slope` and `curve` are those of the candidates' coefficients at 0, `columns` the places of each candidate in them.
    """

    slope: Array
    curve: Array
    columns: list[NDArray[np.int64]]

    @classmethod
    def around(cls, likelihood: Likelihood, beta: Array, prior: Array, columns: Sequence[NDArray[np.int64]]) -> _Worth:
        """The parabola that touches the log-likelihood at `beta`."""
        _, gradient, information = likelihood(beta)
        linear = gradient + information @ beta
        inside, own = np.flatnonzero(np.isfinite(prior)), np.concatenate(columns)
        held = np.linalg.solve(
            information[np.ix_(inside, inside)] + np.diag(prior[inside]), information[np.ix_(inside, own)]
        )
        starts = np.cumsum([0, *(len(item) for item in columns)])
        places = [np.arange(low, high) for low, high in pairwise(starts)]
        curve = information[np.ix_(own, own)] - information[np.ix_(own, inside)] @ held
        return cls(linear[own] - held.T @ linear[inside], curve, places)

    def chance(self, size: int) -> float:
        """Logarithm of the probability of a choice of so many candidates, before the data."""
        count = len(self.columns)
        return float(betaln(1 + size, 2 * count - size) - betaln(1, count))

    def of(self, model: frozenset[int], slab: float) -> float:
        """Logarithm of the probability of a model, up to a constant."""
        if not model:
            return self.chance(0)
        used = np.concatenate([self.columns[number] for number in sorted(model)])
        curve = self.curve[np.ix_(used, used)] + slab * np.eye(len(used))
        gain = 0.5 * float(self.slope[used] @ np.linalg.solve(curve, self.slope[used]))
        return self.chance(len(model)) + gain + 0.5 * (len(used) * float(np.log(slab)) - _log_det(curve))

    def explored(self, begin: frozenset[int], slab: float) -> dict[frozenset[int], float]:
        """Models with one penalty: from the given one on, the neighbors (by one candidate) of the best that has not
        been left, as long as one of those is within `WINDOW` of the best."""
        found = {begin: self.of(begin, slab)}
        left: set[frozenset[int]] = set()
        while True:
            top = max(found, key=lambda model: found[model])
            waiting = [item for item in found if found[item] >= found[top] - WINDOW and item not in left]
            if not waiting or (top in left and len(found) >= MOST_MODELS):
                break
            best = max(waiting, key=lambda model: found[model])
            left.add(best)
            for number in range(len(self.columns)):
                near = best ^ {number}
                if near not in found:
                    found[near] = self.of(near, slab)
        return found


def _most_probable(
    likelihood: Likelihood, begin: Array, label: NDArray[np.int64], count: int, given: Array | None
) -> RidgeFit:
    """The penalties of the largest marginal likelihood; the first coefficients, which start at `begin`, have none."""
    free = len(begin)
    start = np.concatenate([begin, np.zeros(len(label))])
    null = likelihood(start)
    # Evidence without predictors: only what is free remains to be integrated over.
    none = null[0] - 0.5 * _log_det(null[2][:free, :free])
    if not len(label):
        gain, beta, penalties = 0.0, start, np.full(count, np.inf)
    elif given is None:
        gain, beta, penalties = _of_one_penalty(likelihood, start, free, none, count)
        if count > 1:
            gain, beta, penalties = _of_each_group(likelihood, (gain, beta, penalties), free, none, label)
            penalties[[group not in label for group in range(count)]] = np.inf
    else:
        penalties = given
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
