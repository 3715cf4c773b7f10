"""Competing risks: cumulative incidence (Aalen-Johansen), and Fine and Gray's regression of it.

Events are coded 0 censored, 1 the event of interest, 2 a competing event after which it cannot come any more.

Sources: Aalen OO, Johansen S. Scand J Stat 1978;5:141. Fine JP, Gray RJ. J Am Stat Assoc 1999;94:496. Variance of the
cumulative incidence as in Marubini & Valsecchi, Analysing Survival Data, Wiley 1995 (delta method).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from hepacast.errors import ModelError, OutcomeError
from hepacast.stats.censoring import censoring_model
from hepacast.stats.cox import CoxFit, _check_design, _newton
from hepacast.stats.kaplan_meier import check_follow_up

Array = npt.NDArray[np.float64]


def check_codes(time: npt.ArrayLike, code: npt.ArrayLike) -> tuple[Array, Array]:
    """Times and codes (0, 1, 2) as float arrays.

    Raises
    ------
    OutcomeError
        Lengths differ, a value is missing, a time is negative, or a code is none of the three.
    """
    codes = np.asarray(code, dtype=float)
    if not np.isin(codes[np.isfinite(codes)], (0.0, 1.0, 2.0)).all():
        raise OutcomeError(
            "Events must be coded 0 (censored), 1 (event) or 2 (competing event).",
            found=f"values {sorted(set(codes.tolist()))[:6]}",
        )
    times, _ = check_follow_up(time, np.where(codes == 2.0, 1.0, codes))
    return times, codes


def never_after_competing(time: npt.ArrayLike, code: npt.ArrayLike) -> tuple[Array, Array]:
    """Times and events (0, 1) for a concordance: who had the competing event never has the other (Wolbers, 2009).

    Their time is moved beyond the longest follow-up; without competing events nothing changes.
    Source: Wolbers M et al. Epidemiology 2009;20:555.
    """
    times, codes = check_codes(time, code)
    return np.where(codes == 2, times.max() + 1.0, times), (codes == 1).astype(float)


@dataclass(frozen=True)
class CumulativeIncidence:
    """Aalen-Johansen estimate of the probability of the event by each time; arrays have one entry a distinct time.

    Attributes
    ----------
    incidence, std_error, lower, upper
        Of the event of interest; limits on the complementary log-log scale.
    competing
        Cumulative incidence of the competing event.
    n_risk
        Under observation just before each time.
    """

    time: Array
    n_risk: Array
    incidence: Array
    std_error: Array
    lower: Array
    upper: Array
    competing: Array
    n: int
    n_events: int
    n_competing: int

    def at(self, times: npt.ArrayLike) -> Array:
        """Incidence at times, a step function continuous from the right; 0 before the first time."""
        index = np.searchsorted(self.time, np.asarray(times, dtype=float), side="right") - 1
        return np.where(index >= 0, self.incidence[np.maximum(index, 0)], 0.0)

    def interval_at(self, t: float) -> tuple[float, float]:
        """Limits at one time."""
        index = int(np.searchsorted(self.time, t, side="right")) - 1
        return (float(self.lower[index]), float(self.upper[index])) if index >= 0 else (0.0, 0.0)

    def at_risk(self, times: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Number under observation just before each time."""
        index = np.searchsorted(self.time, np.asarray(times, dtype=float), side="left")
        return np.append(self.n_risk, 0.0)[index].astype(np.int64)


def cumulative_incidence(time: npt.ArrayLike, code: npt.ArrayLike, *, level: float = 0.95) -> CumulativeIncidence:
    """Aalen-Johansen estimate. Without competing events it is 1 - Kaplan-Meier.

    Parameters
    ----------
    time, code
        Shape (n,); codes 0 censored, 1 event, 2 competing event.
    """
    times, codes = check_codes(time, code)
    distinct, inverse = np.unique(times, return_inverse=True)
    own = np.bincount(inverse, weights=codes == 1).astype(float)
    other = np.bincount(inverse, weights=codes == 2).astype(float)
    total = np.bincount(inverse).astype(float)
    risk = len(times) - np.concatenate([[0.0], np.cumsum(total)[:-1]])
    survival = np.cumprod(1.0 - (own + other) / risk)
    before = np.concatenate([[1.0], survival[:-1]])
    incidence = np.cumsum(before * own / risk)
    error = _standard_error(own, other, risk, before, incidence)
    z = float(stats.norm.ppf(0.5 + level / 2))
    inside = (incidence > 0) & (incidence < 1)
    safe = np.where(inside, incidence, 0.5)
    # Beyond e^50 the limits are 0 and 1 to every digit.
    spread = np.minimum(z * error / ((1 - safe) * np.abs(np.log1p(-safe))), 50.0)
    lower = np.where(inside, 1 - (1 - safe) ** np.exp(-spread), incidence)
    upper = np.where(inside, 1 - (1 - safe) ** np.exp(spread), incidence)
    return CumulativeIncidence(
        distinct,
        risk,
        incidence,
        error,
        lower,
        upper,
        np.cumsum(before * other / risk),
        len(times),
        int(own.sum()),
        int(other.sum()),
    )


def _standard_error(own: Array, other: Array, risk: Array, before: Array, incidence: Array) -> Array:
    """Delta-method standard error; sums over earlier times are carried as cumulative sums."""
    both = own + other
    with np.errstate(divide="ignore", invalid="ignore"):
        first = np.where(risk > both, both / (risk * (risk - both)), 0.0)
    second = before**2 * own * (risk - own) / risk**3
    third = before * own / risk**2
    # sum_j (F(t) - F_j)^2 a_j + sum_j b_j - 2 sum_j (F(t) - F_j) c_j, written out in powers of F(t).
    f = incidence
    variance = (
        f**2 * np.cumsum(first)
        - 2 * f * np.cumsum(f * first)
        + np.cumsum(f**2 * first)
        + np.cumsum(second)
        - 2 * (f * np.cumsum(third) - np.cumsum(f * third))
    )
    return np.asarray(np.sqrt(np.maximum(variance, 0.0)))


def fit_fine_gray(
    x: npt.ArrayLike, time: npt.ArrayLike, code: npt.ArrayLike, names: Sequence[str] | None = None
) -> CoxFit:
    """Fine and Gray's model: proportional hazards of the subdistribution, so that covariates speak of the risk itself.

    Patients with a competing event stay in the risk set with the weight G(t-) / G(T-) of not being censored
    meanwhile (G: Kaplan-Meier estimate of the censoring distribution). Breslow's ties. The covariance is the robust
    one of independent patients, with the part that comes from estimating G (as ``cmprsk::crr``).

    Returns
    -------
    CoxFit
        ``survival`` is 1 - cumulative incidence; ``ties`` is ``fine-gray``.

    Raises
    ------
    ModelError
        No event, missing values, constant or collinear columns.
    """
    matrix = np.asarray(x, dtype=float)
    matrix = matrix[:, None] if matrix.ndim == 1 else matrix
    times, codes = check_codes(time, code)
    labels = tuple(names) if names is not None else tuple(f"x{j + 1}" for j in range(matrix.shape[1]))
    if len(matrix) != len(times):
        raise ModelError("Predictors and follow-up differ in length.", found=f"{len(matrix)} and {len(times)}")
    _check_design(matrix, times, (codes == 1).astype(float), labels)
    means, scale = matrix.mean(axis=0), matrix.std(axis=0)
    data = Subdistribution((matrix - means) / scale, times, codes)
    zero = data.likelihood(np.zeros(matrix.shape[1]))
    beta, final, status = _newton(data.likelihood, matrix.shape[1], np.zeros(matrix.shape[1]))
    inverse = np.linalg.inv(final[2])
    residual = data.score_residuals(beta) @ inverse
    coef = beta / scale
    return CoxFit(
        labels,
        coef,
        residual.T @ residual / np.outer(scale, scale),
        zero[0],
        final[0],
        float(zero[1] @ np.linalg.solve(zero[2], zero[1])),
        len(times),
        int((codes == 1).sum()),
        means,
        "fine-gray",
        status,
        data.deaths,
        np.cumsum(data.jumps(beta)),
    )


class Subdistribution:
    """Weights of every patient at every event time."""

    def __init__(self, x: Array, time: Array, code: Array) -> None:
        self.x, self.time, self.code = x, time, code
        self.deaths = np.unique(time[code == 1])
        self.censoring = model = censoring_model(time, (code > 0).astype(float))
        now = model.before(self.deaths)[:, None]
        at_risk = (time[None, :] >= self.deaths[:, None]).astype(float)
        gone = (code == 2)[None, :] & (time[None, :] < self.deaths[:, None])
        own = np.where(code == 2, model.before(time), 1.0)[None, :]
        self.weight = np.where(gone, now / np.where(own > 0, own, 1.0), at_risk)
        self.dead = (time[None, :] == self.deaths[:, None]) & (code == 1)[None, :]
        self.count = self.dead.sum(axis=1).astype(float)
        self.dead_sum = self.dead.astype(float) @ x

    def _sums(self, beta: Array) -> tuple[Array, Array, float]:
        eta = self.x @ beta
        shift = float(eta.max())
        weighted = self.weight * np.exp(eta - shift)
        return weighted, weighted.sum(axis=1), shift

    def likelihood(self, beta: Array) -> tuple[float, Array, Array]:
        """Log partial likelihood, gradient, information."""
        weighted, total, shift = self._sums(beta)
        mean = weighted @ self.x / total[:, None]
        value = float((self.dead_sum @ beta).sum() - self.count @ (np.log(total) + shift))
        gradient = (self.dead_sum - self.count[:, None] * mean).sum(axis=0)
        share = (self.count[:, None] * weighted / total[:, None]).sum(axis=0)
        information = (self.x * share[:, None]).T @ self.x - (mean * self.count[:, None]).T @ mean
        return value, gradient, information

    def jumps(self, beta: Array) -> Array:
        """Jumps of the baseline cumulative subdistribution hazard for the means of the columns."""
        _, total, shift = self._sums(beta)
        with np.errstate(over="ignore"):  # of runaway fits
            return np.asarray(self.count / (total * np.exp(shift)))

    def score_residuals(self, beta: Array) -> Array:
        """Each patient's part of the score, shape (n, p), with the part in the estimate of the weights."""
        weighted, total, _ = self._sums(beta)
        mean = weighted @ self.x / total[:, None]
        expected = weighted * (self.count / total)[:, None]
        difference = self.dead.astype(float) - expected
        own = self.x * difference.sum(axis=0)[:, None] - difference.T @ mean
        return np.asarray(own + self._of_weights(expected, mean))

    def _of_weights(self, expected: Array, mean: Array) -> Array:
        """What each patient does to the score through G, shape (n, p): psi of Fine and Gray's section 3.

        A patient with a competing event at T is weighted at s by the censoring that came from T on and before s.
        """
        gone = np.flatnonzero(self.code == 2)
        moments = np.flatnonzero(self.censoring.hazard > 0)
        result = np.zeros_like(self.x)
        if not len(gone) or not len(moments):
            return result
        at = self.censoring.time[moments]
        # Sums over the events after each moment, of those who had left before it.
        first_later = np.searchsorted(self.deaths, at, side="right")
        had_left = (self.time[gone][None, :] <= at[:, None]).astype(float)
        later = _sums_from(expected[:, gone])[first_later] * had_left
        score = later @ self.x[gone]
        for column in range(self.x.shape[1]):
            moved = _sums_from(expected[:, gone] * mean[:, [column]])[first_later]
            score[:, column] -= (moved * had_left).sum(axis=1)
        per_risk = score / self.censoring.at_risk[moments][:, None]
        compensator = np.concatenate(
            [np.zeros((1, self.x.shape[1])), np.cumsum(per_risk * self.censoring.hazard[moments][:, None], axis=0)]
        )
        # Who has an event at a moment is not at risk of censoring at it any more.
        censored = self.code == 0
        upto = np.where(censored, np.searchsorted(at, self.time, "right"), np.searchsorted(at, self.time, "left"))
        result -= compensator[upto]
        result[censored] += per_risk[np.searchsorted(at, self.time[censored])]
        return result


def _sums_from(values: Array) -> Array:
    """Sums of the rows from each on, with a last row of zeros."""
    return np.concatenate([np.cumsum(values[::-1], axis=0)[::-1], np.zeros((1, values.shape[1]))])


def baseline_hazard(
    linear_predictor: npt.ArrayLike, time: npt.ArrayLike, code: npt.ArrayLike
) -> tuple[Array, Array]:  # fmt: skip
    """Cumulative baseline hazard that belongs to given linear predictors (Breslow's estimate).

    With competing events it is that of the subdistribution (Fine and Gray). Source: Breslow NE. Biometrics 1974;30:89.

    Returns
    -------
    tuple
        Times of the events of interest, and the cumulative hazard at a linear predictor of 0 from each on.
    """
    times, codes = check_codes(time, code)
    lp = np.asarray(linear_predictor, dtype=float)
    if lp.shape != times.shape or not np.isfinite(lp).all():
        raise ModelError(
            "A baseline needs a linear predictor of every patient.", expected=f"{len(times)} finite values"
        )
    data = Subdistribution(lp[:, None], times, codes)
    return data.deaths, np.asarray(np.cumsum(data.jumps(np.ones(1))))
