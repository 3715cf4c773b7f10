"""Random-effects meta-analysis of estimates from several places: the mean place, and where the next one may lie.

The variance between places is estimated by restricted maximum likelihood, the mean's limits are those of Hartung,
Knapp, Sidik and Jonkman with k - 1 degrees of freedom, and the prediction interval is of a new place's true value
(Higgins, Thompson, Spiegelhalter).

References
----------
Viechtbauer W. J Educ Behav Stat 2005;30:261 (REML). IntHout J, Ioannidis JPA, Borm GF. BMC Med Res Methodol 2014;14:25
(limits). Higgins JPT et al. J R Stat Soc A 2009;172:137 (prediction interval). Debray TPA et al. BMJ 2017;356:i6460 (of
prediction models: AUC and C by their logit, observed over expected by its logarithm).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.stats import chi2, t

from hepacast.core.records import Record
from hepacast.errors import ModelError

_NAN = math.nan


@dataclass(frozen=True)
class PooledEstimate(Record):
    """Estimates of several places together, on the scale that they were given on.

    Attributes
    ----------
    k
        Places.
    value, low, high, se
        Mean over places with limits (Hartung-Knapp).
    tau2
        Variance between places (REML).
    i2
        Share of the variation that is between places.
    q, p
        Cochran's test that places do not differ.
    prediction
        Limits of a new place's true value; NaN of fewer than three places.
    level
        Of all limits.
    """

    k: int
    value: float
    low: float
    high: float
    se: float
    tau2: float
    i2: float
    q: float
    p: float
    prediction: tuple[float, float] = (_NAN, _NAN)
    level: float = 0.95


def pool_estimates(values: ArrayLike, se: ArrayLike, level: float = 0.95) -> PooledEstimate:
    """Pool estimates of several places.

    Parameters
    ----------
    values, se
        Estimates and their standard errors, shape (k,), on a scale on which they are about normal.
    level
        Of the limits.

    Raises
    ------
    ModelError
        Fewer than two estimates, or one without a standard error.
    """
    y, v = np.asarray(values, dtype=float).ravel(), np.asarray(se, dtype=float).ravel() ** 2
    if y.size < 2 or y.size != v.size:
        raise ModelError("There is nothing to pool.", expected="estimates of two places or more", found=str(y.size))
    if not (np.isfinite(y).all() and np.isfinite(v).all() and (v > 0).all()):
        raise ModelError("An estimate has no standard error.", expected="finite values with standard errors above 0")
    k, tau2 = int(y.size), _between(y, v)
    w = 1.0 / (v + tau2)
    mean = float((w * y).sum() / w.sum())
    spread = float((w * (y - mean) ** 2).sum() / (k - 1))
    se_mean = math.sqrt(spread / w.sum())
    quantile = float(t.ppf(0.5 + level / 2, k - 1))
    fixed = 1.0 / v
    q = float((fixed * (y - (fixed * y).sum() / fixed.sum()) ** 2).sum())
    typical = (k - 1) * fixed.sum() / (fixed.sum() ** 2 - (fixed**2).sum())
    prediction = (_NAN, _NAN)
    if k > 2:
        half = float(t.ppf(0.5 + level / 2, k - 2)) * math.sqrt(tau2 + se_mean**2)
        prediction = (mean - half, mean + half)
    return PooledEstimate(
        k=k,
        value=mean,
        low=mean - quantile * se_mean,
        high=mean + quantile * se_mean,
        se=se_mean,
        tau2=tau2,
        i2=tau2 / (tau2 + float(typical)),
        q=q,
        p=float(chi2.sf(q, k - 1)),
        prediction=prediction,
        level=level,
    )


def _between(y: np.ndarray, v: np.ndarray) -> float:
    """Variance between places by restricted maximum likelihood; 0 where the likelihood falls from 0 on."""

    def slope(tau2: float) -> float:
        w = 1.0 / (v + tau2)
        mean = (w * y).sum() / w.sum()
        return float((w**2 * (y - mean) ** 2).sum() - w.sum() + (w**2).sum() / w.sum())

    if slope(0.0) <= 0:
        return 0.0
    high = float(np.var(y) + v.max())
    while slope(high) > 0:
        high *= 2
    return float(brentq(slope, 0.0, high, xtol=1e-14, rtol=1e-12))
