"""How many patients a prediction model needs: the criteria of Riley et al., equal to R's ``pmsampsize``.

Sources: Riley RD et al., Stat Med 2019;38:1276-1296 (binary and time-to-event outcomes); Riley RD et al., BMJ
2020;368:m441 (guidance). A model with P candidate parameters (a category with k levels counts k - 1) needs

1. little overfitting: expected shrinkage S of at least 0.9, ``n = P / ((S - 1) ln(1 - R2cs / S))``;
2. a small optimism (0.05) in Nagelkerke's R2: the same formula with
   ``S = R2cs / (R2cs + 0.05 max R2cs)``;
3. the overall risk within 0.05 (95 % CI): ``n = (1.96 / 0.05)^2 p (1 - p)`` for a binary outcome; for a
   time-to-event outcome the precision of the risk at one time point is reported.

R2cs is the Cox-Snell R2 that the model is expected to reach; where nothing is known, 15 % of Nagelkerke's R2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm

from hepacast.core.estimates import Estimate
from hepacast.core.records import Record, sparse
from hepacast.errors import ModelError

DEFAULT_NAGELKERKE_R2 = 0.15
SHRINKAGE = 0.9
OPTIMISM = 0.05
RISK_MARGIN = 0.05
_Z95 = 1.96  # pmsampsize uses the rounded quantile
#: Widths of 95 % intervals that an external validation should reach, by measure (Riley et al. 2021).
VALIDATION_WIDTHS = {"O/E": 0.2, "slope": 0.2, "AUC": 0.1, "C": 0.1}


@dataclass(frozen=True)
class Criterion(Record):
    """One criterion: the patients it asks for and the shrinkage at that number."""

    name: str
    n: int
    shrinkage: float
    events_per_parameter: float


@dataclass(frozen=True)
class SampleSize(Record):
    """The number of patients that a model needs.

    Parameters
    ----------
    n
        Patients: the largest of the criteria.
    events
        Events expected among them.
    events_per_parameter
        ``events / n_parameters``.
    n_parameters
        Candidate parameters.
    cox_snell_r2, max_cox_snell_r2, nagelkerke_r2
        Expected R2, its largest possible value, and their ratio.
    criteria
        The single criteria.
    risk_interval
        For a time-to-event outcome: 95 % CI of the overall risk at the time point with `n` patients.
    """

    n: int
    events: float
    events_per_parameter: float
    n_parameters: int
    cox_snell_r2: float
    max_cox_snell_r2: float
    nagelkerke_r2: float
    criteria: tuple[Criterion, ...]
    risk_interval: tuple[float, float] | None = sparse(None)


def max_cox_snell_r2_binary(prevalence: float) -> float:
    """Largest Cox-Snell R2 of a binary outcome: ``1 - exp(2 (p ln p + (1 - p) ln(1 - p)))``."""
    _check_share("prevalence", prevalence)
    return 1 - math.exp(2 * (prevalence * math.log(prevalence) + (1 - prevalence) * math.log(1 - prevalence)))


def max_cox_snell_r2_survival(rate: float, mean_follow_up: float, *, n: int = 10_000) -> float:
    """Largest Cox-Snell R2 of a time-to-event outcome, from an exponential null model of `n` patients."""
    events = math.ceil(rate * mean_follow_up * n)
    log_likelihood = events * math.log(events / n) - events
    return 1 - math.exp(2 * log_likelihood / n)


def riley_binary(
    n_parameters: int,
    prevalence: float,
    *,
    cox_snell_r2: float | None = None,
    nagelkerke_r2: float = DEFAULT_NAGELKERKE_R2,
    shrinkage: float = SHRINKAGE,
) -> SampleSize:
    """Patients needed to develop a model of a binary outcome.

    Parameters
    ----------
    n_parameters
        Candidate parameters, those that selection later drops included.
    prevalence
        Share of patients with the event.
    cox_snell_r2
        Expected Cox-Snell R2; by default `nagelkerke_r2` times its largest value.
    nagelkerke_r2
        Expected Nagelkerke R2 where `cox_snell_r2` is not given.
    shrinkage
        Expected shrinkage to reach.

    Returns
    -------
    SampleSize
        Equal to ``pmsampsize(type = "b", ...)``.

    Raises
    ------
    ModelError
        A number is outside its range.

    Examples
    --------
    >>> riley_binary(24, 0.174, cox_snell_r2=0.288).n
    662
    """
    ceiling = max_cox_snell_r2_binary(prevalence)
    r2 = _expected_r2(cox_snell_r2, nagelkerke_r2, ceiling, n_parameters, shrinkage)
    first = needed_for_shrinkage(n_parameters, r2, shrinkage)
    small = _shrinkage_for_optimism(r2, ceiling)
    second = needed_for_shrinkage(n_parameters, r2, small)
    third = math.ceil((_Z95 / RISK_MARGIN) ** 2 * prevalence * (1 - prevalence))
    reached = shrinkage if first >= second else small
    n = max(first, second, third)

    def row(name: str, size: int, factor: float) -> Criterion:
        return Criterion(name, size, factor, size * prevalence / n_parameters)

    criteria = (
        row("expected shrinkage", first, shrinkage),
        row("optimism in Nagelkerke's R2", second, small),
        row("overall risk", third, reached),
    )
    events = n * prevalence
    return SampleSize(n, events, events / n_parameters, n_parameters, r2, ceiling, r2 / ceiling, criteria)


def riley_survival(
    n_parameters: int,
    rate: float,
    time_point: float,
    mean_follow_up: float,
    *,
    cox_snell_r2: float | None = None,
    nagelkerke_r2: float = DEFAULT_NAGELKERKE_R2,
    shrinkage: float = SHRINKAGE,
) -> SampleSize:
    """Patients needed to develop a model of a time-to-event outcome.

    Parameters
    ----------
    n_parameters
        Candidate parameters.
    rate
        Events per person and unit of time.
    time_point
        Time at which risks are predicted, in that unit.
    mean_follow_up
        Mean follow-up, in that unit.
    cox_snell_r2, nagelkerke_r2, shrinkage
        As in `riley_binary`.

    Returns
    -------
    SampleSize
        Equal to ``pmsampsize(type = "s", ...)``.

    Raises
    ------
    ModelError
        A number is outside its range.
    """
    if min(rate, time_point, mean_follow_up) <= 0:
        raise ModelError("Rate, time point and follow-up must be above 0.")
    ceiling = max_cox_snell_r2_survival(rate, mean_follow_up)
    r2 = _expected_r2(cox_snell_r2, nagelkerke_r2, ceiling, n_parameters, shrinkage)
    first = needed_for_shrinkage(n_parameters, r2, shrinkage)
    small = _shrinkage_for_optimism(r2, ceiling)
    second = needed_for_shrinkage(n_parameters, r2, small)
    n = max(first, second)
    reached = shrinkage if first >= second else small
    per_patient = rate * mean_follow_up / n_parameters
    half_width = _Z95 * math.sqrt(rate / round(mean_follow_up * n, 1))
    interval = (1 - math.exp(-(rate - half_width) * time_point), 1 - math.exp(-(rate + half_width) * time_point))
    criteria = (
        Criterion("expected shrinkage", first, shrinkage, first * per_patient),
        Criterion("optimism in Nagelkerke's R2", second, small, second * per_patient),
        Criterion("overall risk", n, reached, n * per_patient),
    )
    events = n * mean_follow_up * rate
    return SampleSize(n, events, events / n_parameters, n_parameters, r2, ceiling, r2 / ceiling, criteria, interval)


@dataclass(frozen=True)
class PrecisionSize(Record):
    """Patients that an external validation needs to tell one measure so precisely.

    Attributes
    ----------
    measure
        ``O/E``, ``slope``, ``AUC`` or ``C``.
    width
        Of the 95 % interval that is aimed at.
    n
        Patients.
    """

    measure: str
    width: float
    n: int


def validation_binary(
    prevalence: float, c_statistic: float, linear_predictor: ArrayLike, widths: Mapping[str, float] = VALIDATION_WIDTHS
) -> tuple[PrecisionSize, ...]:
    """Patients needed to validate a model of a binary outcome that is right (Riley et al., Stat Med 2021;40:4230).

    Parameters
    ----------
    prevalence, c_statistic
        Expected in the patients of the validation.
    linear_predictor
        Log odds of such patients, any number.
    widths
        Of the 95 % intervals, by measure: ``O/E``, ``slope``, ``AUC``.

    Returns
    -------
    tuple
        One a measure; O/E and AUC as R's ``pmvalsampsize``, whose slope draws the linear predictor at random.

    Raises
    ------
    ModelError
        A number is outside its range.
    """
    _check_share("prevalence", prevalence)
    _check_share("C statistic", c_statistic)
    lp = np.asarray(linear_predictor, dtype=float)
    chance = 1.0 / (1.0 + np.exp(-lp))
    weight = chance * (1.0 - chance)
    one, cross, two = weight.mean(), (weight * lp).mean(), (weight * lp**2).mean()
    determinant = float(one * two - cross**2)
    slope_se, area_se = (widths[name] / (2 * _Z95) for name in ("slope", "AUC"))
    found = {
        "O/E": (1 - prevalence) / (prevalence * _log_ratio_se(widths["O/E"]) ** 2),
        "slope": float(one) / (slope_se**2 * determinant) if determinant > 0 else math.inf,
        "AUC": _needed_for_area(prevalence, c_statistic, area_se),
    }
    return tuple(PrecisionSize(name, widths[name], math.ceil(n)) for name, n in found.items() if math.isfinite(n))


def validation_like(n: int, found: Mapping[str, Estimate], widths: Mapping[str, float]) -> tuple[PrecisionSize, ...]:
    """Patients needed, from the precision that so many of the same kind gave: intervals narrow with the root of n.

    For outcomes without a formula (of follow-up, where censoring decides); `found` by measure, ``O/E`` on the scale of
    its logarithm.
    """
    rows = []
    for name, item in found.items():
        if not item.has_limits or (name == "O/E" and item.low <= 0):
            continue
        z = float(norm.ppf(0.5 + item.level / 2))
        ends = (math.log(item.low), math.log(item.high)) if name == "O/E" else item.ci
        aimed = _log_ratio_se(widths[name]) if name == "O/E" else widths[name] / (2 * _Z95)
        se = (ends[1] - ends[0]) / (2 * z)
        rows.append(PrecisionSize(name, widths[name], math.ceil(n * (se / aimed) ** 2)))
    return tuple(rows)


def _log_ratio_se(width: float) -> float:
    """Standard error of the logarithm of a ratio around 1 whose 95 % interval has a width."""
    return math.asinh(width / 2) / _Z95


def _needed_for_area(prevalence: float, area: float, se: float) -> float:
    """Patients for a standard error of the C statistic (Newcombe's formula)."""

    def variance(n: float) -> float:
        half = n / 2 - 1
        inner = 1 + half * (1 - area) / (2 - area) + half * area / (1 + area)
        return area * (1 - area) * inner / (n**2 * prevalence * (1 - prevalence))

    low, high = 2.0, 1e9
    while high - low > 0.5:
        middle = math.sqrt(low * high) if low * 2 < high else (low + high) / 2
        low, high = (middle, high) if variance(middle) > se**2 else (low, middle)
    whole = math.floor(low)
    return next(float(n) for n in range(max(whole, 2), whole + 3) if variance(n) <= se**2)


def needed_for_shrinkage(n_parameters: int, cox_snell_r2: float, shrinkage: float) -> int:
    """Patients for an expected shrinkage: ``P / ((S - 1) ln(1 - R2cs / S))``, rounded up."""
    if cox_snell_r2 >= shrinkage:
        raise ModelError(
            "The expected R2 is too high for this shrinkage.",
            expected=f"a Cox-Snell R2 below {shrinkage:g}",
            found=f"{cox_snell_r2:g}",
        )
    return math.ceil(n_parameters / ((shrinkage - 1) * math.log(1 - cox_snell_r2 / shrinkage)))


def expected_shrinkage(n: int, n_parameters: int, cox_snell_r2: float) -> float:
    """Shrinkage to expect with `n` patients, the inverse of `needed_for_shrinkage`.

    Returns
    -------
    float
        Between the R2 and 1. The number needed grows with the shrinkage from 0 to infinity, so there is one answer.
    """
    from scipy.optimize import brentq

    def surplus(shrinkage: float) -> float:
        return n_parameters / ((shrinkage - 1) * math.log(1 - cox_snell_r2 / shrinkage)) - n

    return float(brentq(surplus, cox_snell_r2 * (1 + 1e-12), 1 - 1e-12))


def _expected_r2(given: float | None, nagelkerke: float, ceiling: float, n_parameters: int, shrinkage: float) -> float:
    if n_parameters < 1:
        raise ModelError("A model needs at least one candidate parameter.", found=str(n_parameters))
    _check_share("shrinkage", shrinkage)
    r2 = given if given is not None else nagelkerke * ceiling
    if not 0 < r2 < ceiling:
        raise ModelError(
            "The expected Cox-Snell R2 is not possible.",
            expected=f"above 0 and below {ceiling:.3f}, its largest value for this outcome",
            found=f"{r2:g}",
        )
    return r2


def _shrinkage_for_optimism(r2: float, ceiling: float) -> float:
    return r2 / (r2 + OPTIMISM * ceiling)


def _check_share(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise ModelError(f"The {name} must lie between 0 and 1.", found=f"{value:g}")
