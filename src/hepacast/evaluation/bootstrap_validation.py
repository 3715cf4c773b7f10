"""Optimism-corrected calibration and performance, as `rms::calibrate` and `rms::validate` (Harrell's bootstrap).

The functions need only linear predictors: of the model fitted to all patients, and of each refit (on a bootstrap
sample) for all patients. So they serve any model whose whole chain was refitted in each sample.

References
----------
Harrell FE, Lee KL, Mark DB. Stat Med 1996;15:361-87.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import expit, logit

from hepacast.core.records import Record
from hepacast.errors import ModelError
from hepacast.evaluation.predictions import Array, checked
from hepacast.evaluation.val_prob import emax_of_line, fixed_fit, gini_mean_difference
from hepacast.stats.logistic import fit_logistic
from hepacast.stats.ranks import auc_from_ranks
from hepacast.stats.resampling import plus_632
from hepacast.stats.smoothing import interpolate, lowess

INDICES = ("Dxy", "R2", "Intercept", "Slope", "Emax", "D", "U", "Q", "B", "g", "gp")


@dataclass(frozen=True)
class BootstrapFits:
    """Linear predictors of a model and of its bootstrap refits.

    Attributes
    ----------
    y
        Outcome, shape (n,).
    apparent
        Linear predictor (logit of the risk) of the model fitted to all patients, shape (n,).
    rows
        Rows drawn for each sample (from 0), shape (B, n).
    refits
        Linear predictor of each refit for all n patients, shape (B, n).
    failed
        Samples whose refit had no estimate, with the reason; they are not among `rows`.
    """

    y: Array
    apparent: Array
    rows: tuple[Array, ...]
    refits: Array
    failed: tuple[str, ...] = ()


def logistic_bootstrap(x: ArrayLike, y: ArrayLike, rows: Iterable[ArrayLike]) -> BootstrapFits:
    """Refit a logistic regression on given bootstrap rows (from 0)."""
    whole = fit_logistic(x, y).require()
    kept, refits, failed = [], [], []
    for number, item in enumerate(rows):
        chosen = np.asarray(item, dtype=int)
        if 0.0 < whole.y[chosen].mean() < 1.0:
            fit = fit_logistic(whole.x[chosen], whole.y[chosen])
            if fit.ok:
                kept.append(chosen)
                refits.append(fit.linear_predictor(whole.x))
            else:
                failed.append(f"sample {number}: {fit.status}, {fit.reason}")
        else:
            failed.append(f"sample {number}: one class only")
    if not kept:
        raise ModelError("No bootstrap sample could be fitted.", found="; ".join(failed[:3]))
    return BootstrapFits(whole.y, whole.linear_predictor(whole.x), tuple(kept), np.array(refits), tuple(failed))


@dataclass(frozen=True, repr=False)
class CorrectedCalibration(Record):
    """Calibration curve corrected for optimism.

    Attributes
    ----------
    predicted
        Grid of predicted risks.
    apparent, corrected, optimism
        Smoothed observed risk in the patients of the fit, the same minus the optimism, and the optimism.
    mean_abs_error, mean_sq_error, q90_abs_error
        Of |corrected - predicted| over the patients.
    """

    predicted: Array
    apparent: Array
    corrected: Array
    optimism: Array
    mean_abs_error: float
    mean_sq_error: float
    q90_abs_error: float
    n_samples: int
    failed: tuple[str, ...]

    def to_frame(self) -> pd.DataFrame:
        """The curve, one row a grid point."""
        return pd.DataFrame(
            {
                "predicted": self.predicted,
                "apparent": self.apparent,
                "corrected": self.corrected,
                "optimism": self.optimism,
            }
        )


def calibrate(fits: BootstrapFits, *, points: int = 50) -> CorrectedCalibration:
    """Optimism-corrected lowess calibration curve (`rms::calibrate` with its default smoother).

    For each sample: (smooth of the refit in its own sample) - (smooth of the refit in all patients), averaged over
    the samples in which a grid point lies inside the range of the risks.
    """
    y, apparent = checked(fits.y, fits.apparent, what="linear predictor")
    if y.size < 11:
        raise ModelError("A bootstrap calibration needs at least 11 patients.", found=str(y.size))
    p = expit(apparent)
    ordered = np.sort(p)
    grid = np.linspace(ordered[4], ordered[-5], points)
    original = _smooth(p, y, grid)
    gaps = []
    for rows, lp in zip(fits.rows, fits.refits):
        risk = expit(lp)
        gaps.append(_smooth(risk[rows], y[rows], grid) - _smooth(risk, y, grid))
    gap = np.array(gaps)
    counted = (~np.isnan(gap)).sum(axis=0)
    optimism = np.where(counted > 0, np.nansum(gap, axis=0) / np.maximum(counted, 1), np.nan)
    corrected = original - optimism
    error = np.abs(interpolate(grid, corrected, p) - p)
    error = error[~np.isnan(error)]
    return CorrectedCalibration(
        predicted=grid,
        apparent=original,
        corrected=corrected,
        optimism=optimism,
        mean_abs_error=float(error.mean()),
        mean_sq_error=float((error**2).mean()),
        q90_abs_error=float(np.quantile(error, 0.9)),
        n_samples=len(fits.rows),
        failed=fits.failed,
    )


def _smooth(risk: Array, y: Array, grid: Array) -> Array:
    xs, smooth = lowess(risk, y)
    return interpolate(xs, smooth, grid, ties="first")


def validate(fits: BootstrapFits) -> pd.DataFrame:
    """Optimism-corrected indices (`rms::validate` of an `lrm` fit).

    Returns
    -------
    DataFrame
        Rows Dxy, R2, Intercept, Slope, Emax, D, U, Q, B, g, gp; columns index_orig, training, test, optimism,
        index_corrected, n (samples counted).
    """
    y, apparent = checked(fits.y, fits.apparent, what="linear predictor")
    original = _own_indices(y, apparent)
    training, test = [], []
    for rows, lp in zip(fits.rows, fits.refits):
        training.append(_own_indices(y[rows], lp[rows]))
        test.append(_new_indices(y, lp))
    table = pd.DataFrame(
        {"index_orig": original, "training": pd.DataFrame(training).mean(), "test": pd.DataFrame(test).mean()}
    )
    table["optimism"] = table["training"] - table["test"]
    table["index_corrected"] = table["index_orig"] - table["optimism"]
    # rms prints the Emax of the corrected line, with its sign turned in the optimism.
    emax = emax_of_line(*table.loc[["Intercept", "Slope"], "index_corrected"])
    table.loc["Emax"] = {"index_orig": 0.0, "training": 0.0, "test": emax, "optimism": emax, "index_corrected": emax}
    table["n"] = len(fits.rows)
    return table.loc[list(INDICES)]


def c_plus_632(fits: BootstrapFits) -> float:
    """C by the .632+ bootstrap, from the patients outside each sample (see `hepacast.stats.resampling.plus_632`)."""
    y, apparent = checked(fits.y, fits.apparent, what="linear predictor")
    outside = []
    for rows, lp in zip(fits.rows, fits.refits):
        left = np.setdiff1d(np.arange(y.size), rows)
        outside.append(auc_from_ranks(y[left], lp[left]))
    return plus_632(auc_from_ranks(y, apparent), float(np.nanmean(outside)), 0.5)


def _own_indices(y: Array, lp: Array) -> dict[str, float]:
    """Indices of a model in the patients it was fitted to: slope 1, intercept 0 by construction."""
    fixed = fixed_fit(y, lp)
    u = -2.0 / y.size
    return {
        "Dxy": 2.0 * (auc_from_ranks(y, lp) - 0.5),
        "R2": fixed["r2"],
        "Intercept": 0.0,
        "Slope": 1.0,
        "D": fixed["d"],
        "U": u,
        "Q": fixed["d"] - u,
        "B": float(np.mean((expit(lp) - y) ** 2)),
        "g": gini_mean_difference(lp),
        "gp": gini_mean_difference(expit(lp)),
    }


def _new_indices(y: Array, lp: Array) -> dict[str, float]:
    """Indices of a model in other patients: discrimination after recalibration, and what recalibration gains."""
    fit = fit_logistic(lp, y, ["linear predictor"])
    if not fit.ok:
        return dict.fromkeys(("Dxy", "R2", "Intercept", "Slope", "D", "U", "Q", "B", "g", "gp"), float("nan"))
    slope, intercept, n = float(fit.coef[0]), fit.intercept, y.size
    d = (fit.lrt[0] - 1.0) / n
    u = (fixed_fit(y, lp)["deviance"] - fit.deviance - 2.0) / n
    return {
        "Dxy": 2.0 * (auc_from_ranks(y, lp) - 0.5),
        "R2": fit.nagelkerke_r2,
        "Intercept": intercept,
        "Slope": slope,
        "D": d,
        "U": u,
        "Q": d - u,
        "B": float(np.mean((expit(lp) - y) ** 2)),
        "g": gini_mean_difference(slope * lp),
        "gp": gini_mean_difference(expit(intercept + slope * lp)),
    }


def linear_predictors(risk: ArrayLike) -> Array:
    """Logits of risks, for models that give risks; 0 and 1 are moved inwards by 1e-12."""
    return np.asarray(logit(np.clip(np.asarray(risk, dtype=float), 1e-12, 1.0 - 1e-12)))
