"""The indices of `rms::val.prob` for predicted risks, to reproduce tables made with it."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logit
from scipy.stats import chi2, norm

from hepacast.evaluation.predictions import Array, risks
from hepacast.stats.irls import log_likelihood
from hepacast.stats.logistic import fit_logistic
from hepacast.stats.ranks import auc_binned
from hepacast.stats.smoothing import interpolate, lowess


def val_prob(y: ArrayLike, risk: ArrayLike) -> dict[str, float]:
    """Indices of `rms::val.prob` (rms 6): keys as R prints them.

    Dxy and C are counted, as rms does, after sorting the risks into 5000 bins (see `auc_binned`); D, U and Q are the
    discrimination, unreliability and quality indices; Emax, E90 and Eavg refer to a lowess smooth without
    robustifying; S:z and S:p are Spiegelhalter's test. Indices that need the recalibration model are NaN if it cannot
    be fitted (constant risks, perfect separation).

    References
    ----------
    Harrell FE. Regression Modeling Strategies, 2nd ed., 2015, section 10.9.
    """
    outcome, p = risks(y, risk)
    n = outcome.size
    inside = (p > 0.0) & (p < 1.0)
    lp, kept = logit(p[inside]), outcome[inside]
    fixed = fixed_fit(kept, lp)
    fit = fit_logistic(lp, kept, ["logit risk"]) if kept.size and 0.0 < kept.mean() < 1.0 else None
    intercept, slope, deviance = float("nan"), float("nan"), float("nan")
    if fit is not None and fit.ok:
        intercept, slope, deviance = fit.intercept, float(fit.coef[0]), fit.deviance
    u_chi2 = fixed["deviance"] - deviance
    c = auc_binned(outcome, p)
    xs, smooth = lowess(p, outcome)
    error = np.abs(p - interpolate(xs, smooth, p))
    z, z_p = spiegelhalter(outcome, p)
    u = (u_chi2 - 2.0) / n
    return {
        "Dxy": 2.0 * (c - 0.5),
        "C (ROC)": c,
        "R2": fixed["r2"],
        "D": fixed["d"],
        "D:Chi-sq": fixed["lr"],
        "D:p": float("nan"),
        "U": u,
        "U:Chi-sq": u_chi2,
        "U:p": float(chi2.sf(max(u_chi2, 0.0), 2)) if not np.isnan(u_chi2) else float("nan"),
        "Q": fixed["d"] - u,
        "Brier": float(np.mean((p - outcome) ** 2)),
        "Intercept": intercept,
        "Slope": slope,
        "Emax": float(error.max()),
        "E90": float(np.quantile(error, 0.9)),
        "Eavg": float(error.mean()),
        "S:z": z,
        "S:p": z_p,
    }


def fixed_fit(y: Array, lp: Array) -> dict[str, float]:
    """Deviance, model chi-square, Nagelkerke R2 and D of a linear predictor as it is, without refitting."""
    n = y.size
    ones = np.ones(n)
    sign = 2.0 * y - 1.0
    share = float(y.mean()) if n else float("nan")
    deviance = -2.0 * log_likelihood(lp, sign, ones)
    null = -2.0 * log_likelihood(np.full(n, float(logit(share))), sign, ones) if 0.0 < share < 1.0 else 0.0
    lr = null - deviance
    r2 = float(np.expm1(-lr / n) / np.expm1(-null / n)) if null > 0 else float("nan")
    return {"deviance": deviance, "lr": lr, "r2": r2, "d": (lr - 1.0) / n, "null_deviance": null}


def spiegelhalter(y: ArrayLike, risk: ArrayLike) -> tuple[float, float]:
    """Spiegelhalter's z and P: whether the Brier score is what the risks themselves promise.

    References
    ----------
    Spiegelhalter DJ. Stat Med 1986;5:421-33.
    """
    outcome, p = risks(y, risk)
    spread = float(np.sqrt((((1.0 - 2.0 * p) ** 2) * p * (1.0 - p)).sum()))
    if spread == 0.0:
        return float("nan"), float("nan")
    z = float(((outcome - p) * (1.0 - 2.0 * p)).sum()) / spread
    return z, float(2.0 * norm.sf(abs(z)))


def gini_mean_difference(values: ArrayLike) -> float:
    """Mean absolute difference of all pairs (Gini), the g and gp indices of rms."""
    ordered = np.sort(np.asarray(values, dtype=float))
    n = ordered.size
    if n < 2:
        return float("nan")
    return float(2.0 * ((2.0 * np.arange(1, n + 1) - n - 1) @ ordered) / (n * (n - 1)))


def emax_of_line(intercept: float, slope: float) -> float:
    """Largest distance between a logistic recalibration curve and the diagonal (risks 0 to 1 by 0.0005)."""
    grid = np.arange(1, 2000) * 0.0005
    return float(np.abs(grid - expit(intercept + slope * logit(grid))).max())
