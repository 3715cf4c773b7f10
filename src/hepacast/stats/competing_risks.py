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
    meanwhile (G: Kaplan-Meier estimate of the censoring distribution; at equal times events leave before the censored,
    as in ``survival::finegray``; ``cmprsk::crr`` keeps them at risk). Breslow's ties. The covariance is the robust one
    of independent patients, with the part that comes from estimating G (as ``cmprsk::crr``).

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
    """Sums over the patients at risk at every event time, a competing event's weighted; no table of all with all.

    At an event time s, who is still observed counts 1, and who had a competing event at T < s counts G(s-) / G(T-).
    """

    def __init__(self, x: Array, time: Array, code: Array) -> None:
        self.x, self.time, self.code = x, time, code
        self.deaths = np.unique(time[code == 1])
        self.censoring = model = censoring_model(time, (code > 0).astype(float))
        self._now = model.before(self.deaths)
        before = model.before(time)
        self._left = np.where(code == 2, 1.0 / np.where(before > 0, before, 1.0), 0.0)
        self._order = np.argsort(time, kind="stable")
        self._start = np.searchsorted(time[self._order], self.deaths)
        # Event times up to a patient's own, and which one is his event.
        self._upto = np.searchsorted(self.deaths, time, side="right")
        self._dead = code == 1
        place = self._upto[self._dead] - 1
        self.count = np.bincount(place, minlength=len(self.deaths)).astype(float)
        self._dead_x = x[self._dead].sum(axis=0)

    def _at_deaths(self, values: Array) -> Array:
        """Weighted sums of patients' values (n, k) at every event time."""
        ordered = values[self._order]
        gone = _sums_before(ordered * self._left[self._order][:, None])[self._start]
        return _sums_from(ordered)[self._start] + self._now[:, None] * gone

    def _of_patients(self, values: Array) -> Array:
        """Weighted sums over the event times (values of shape (D, k)) for every patient."""
        later = _sums_from(values * self._now[:, None])[self._upto]
        return _sums_before(values)[self._upto] + self._left[:, None] * later

    def _sums(self, beta: Array) -> tuple[Array, Array, Array, float]:
        """Hazards relative to the largest, their sum and the mean of x at every event time, and the shift."""
        eta = self.x @ beta
        shift = float(eta.max())
        hazard = np.exp(eta - shift)
        found = self._at_deaths(np.column_stack([hazard, hazard[:, None] * self.x]))
        return hazard, found[:, 0], found[:, 1:] / found[:, :1], shift

    def likelihood(self, beta: Array) -> tuple[float, Array, Array]:
        """Log partial likelihood, gradient, information."""
        hazard, total, mean, shift = self._sums(beta)
        value = float(self._dead_x @ beta - self.count @ (np.log(total) + shift))
        gradient = self._dead_x - self.count @ mean
        share = hazard * self._of_patients((self.count / total)[:, None])[:, 0]
        information = (self.x * share[:, None]).T @ self.x - (mean * self.count[:, None]).T @ mean
        return value, gradient, information

    def jumps(self, beta: Array) -> Array:
        """Jumps of the baseline cumulative subdistribution hazard for the means of the columns."""
        _, total, _, shift = self._sums(beta)
        with np.errstate(over="ignore"):  # of runaway fits
            return np.asarray(self.count / (total * np.exp(shift)))

    def score_residuals(self, beta: Array) -> Array:
        """Each patient's part of the score, shape (n, p), with the part in the estimate of the weights."""
        hazard, total, mean, _ = self._sums(beta)
        rate = (self.count / total)[:, None]
        expected = hazard[:, None] * self._of_patients(np.column_stack([rate, rate * mean]))
        own = expected[:, 1:] - self.x * expected[:, :1]
        own[self._dead] += self.x[self._dead] - mean[self._upto[self._dead] - 1]
        return np.asarray(own + self._of_weights(hazard, rate * self._now[:, None], mean))

    def _of_weights(self, hazard: Array, rate: Array, mean: Array) -> Array:
        """What each patient does to the score through G, shape (n, p): psi of Fine and Gray's section 3.

        A patient with a competing event at T is weighted at s by the censoring that came from T on and before s.
        """
        moments = np.flatnonzero(self.censoring.hazard > 0)
        result = np.zeros_like(self.x)
        if not (self.code == 2).any() or not len(moments):
            return result
        at = self.censoring.time[moments]
        # Sums over the events after each moment, and over those who had left by it.
        later = _sums_from(np.column_stack([rate, rate * mean]))[np.searchsorted(self.deaths, at, side="right")]
        weight = (hazard * self._left)[:, None]
        left = _sums_before(np.column_stack([weight, weight * self.x])[self._order])
        left = left[np.searchsorted(self.time[self._order], at, side="right")]
        score = later[:, :1] * left[:, 1:] - later[:, 1:] * left[:, :1]
        per_risk = score / self.censoring.at_risk[moments][:, None]
        compensator = _sums_before(per_risk * self.censoring.hazard[moments][:, None])
        # Who has an event at a moment is not at risk of censoring at it any more.
        censored = self.code == 0
        upto = np.where(censored, np.searchsorted(at, self.time, "right"), np.searchsorted(at, self.time, "left"))
        result -= compensator[upto]
        result[censored] += per_risk[np.searchsorted(at, self.time[censored])]
        return result


def _sums_from(values: Array) -> Array:
    """Sums of the rows from each on, with a last row of zeros."""
    return np.concatenate([np.cumsum(values[::-1], axis=0)[::-1], np.zeros((1, values.shape[1]))])


def _sums_before(values: Array) -> Array:
    """Sums of the rows before each, with the sum of all at the end."""
    return np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0)])


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
