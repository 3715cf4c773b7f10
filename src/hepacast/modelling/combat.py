"""ComBat's arithmetic, equal to sva 3.46: fitted on training rows, applied to any rows of a known site.

Source: Johnson, Li, Rabinovic. Biostatistics 2007;8(1):118-127 (empirical Bayes for location and scale of batches);
``sva::ComBat`` for priors, stopping rule and the reference-batch variant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from hepacast.errors import ModelError
from hepacast.modelling.base import Array, listed

Prior = Literal["parametric", "nonparametric"]

#: sva stops when no estimate changes by more than this share.
_TOLERANCE = 1e-4


@dataclass(frozen=True)
class ComBat:
    """A fitted harmonization; all arrays have one row a site and one column a feature unless said otherwise.

    Attributes
    ----------
    sites
        Names of the training sites, sorted.
    grand_mean, spread
        Location and scale to which all sites are brought, shape (p,).
    covariate_effects
        Effects of the covariates that are kept, shape (covariates, p).
    shift, scale
        Posterior location (in units of `spread`) and variance ratio of each site.
    adjusted
        Features that are harmonized, shape (p,); the others vary in no way within a site.
    """

    sites: tuple[str, ...]
    grand_mean: Array
    spread: Array
    covariate_effects: Array
    shift: Array
    scale: Array
    adjusted: NDArray[np.bool_]

    def apply(self, values: Array, site: NDArray[np.int64], covariates: Array) -> Array:
        """Harmonized copy of (n, p) `values`; `site` is each row's site number, -1 for a row to be left as it is."""
        known = site >= 0
        out = values.copy()
        columns = self.adjusted
        mean = self.grand_mean[columns] + covariates[known] @ self.covariate_effects[:, columns]
        standard = (values[np.ix_(known, columns)] - mean) / self.spread[columns]
        rows = site[known]
        moved = (standard - self.shift[rows][:, columns]) / np.sqrt(self.scale[rows][:, columns])
        out[np.ix_(known, columns)] = moved * self.spread[columns] + mean
        return out


def fit_combat(
    values: Array,
    site: NDArray[np.object_],
    covariates: Array,
    *,
    prior: Prior = "parametric",
    mean_only: bool = False,
    reference: str | None = None,
) -> ComBat:
    """Fit ComBat.

    Parameters
    ----------
    values
        Training features, shape (n, p), complete.
    site
        Site of each row.
    covariates
        Variables whose effect must be kept, shape (n, c); c may be 0. Never the outcome, unknown in a new patient.
    prior
        Of the sites' effects: inverse gamma and normal, or empirical.
    mean_only
        Correct the location only. Always so when a site has a single row, as in sva.
    reference
        Site to whose location and scale the others are brought.

    Raises
    ------
    ModelError
        The reference is not among the sites, or a covariate cannot be told from the sites.
    """
    sites, number = np.unique(site.astype(str), return_inverse=True)
    if reference is not None and reference not in sites:
        raise ModelError("The reference site has no training row.", expected=listed(sites), found=str(reference))
    counts, design = np.bincount(number), _design(sites, number, covariates)
    adjusted = np.ones(values.shape[1], dtype=bool)
    for s in range(len(sites)):
        if counts[s] > 1:
            adjusted &= np.ptp(values[number == s], axis=0) > 0
    fitted = values[:, adjusted]
    grand, spread, effects, standard = _standardize(fitted, design, counts, number, sites, reference)
    shift, scale = _site_effects(standard, number, counts, prior, mean_only or bool((counts == 1).any()))
    if reference is not None:
        row = int(np.flatnonzero(sites == reference)[0])
        shift[row], scale[row] = 0.0, 1.0
    p = values.shape[1]
    full = ComBat(
        sites=tuple(str(name) for name in sites),
        grand_mean=np.zeros(p),
        spread=np.ones(p),
        covariate_effects=np.zeros((covariates.shape[1], p)),
        shift=np.zeros((len(sites), p)),
        scale=np.ones((len(sites), p)),
        adjusted=adjusted,
    )
    full.grand_mean[adjusted], full.spread[adjusted] = grand, spread
    full.covariate_effects[:, adjusted] = effects
    full.shift[:, adjusted], full.scale[:, adjusted] = shift, scale
    return full


def _design(sites: NDArray[np.str_], number: NDArray[np.int64], covariates: Array) -> Array:
    """One column a site, then the covariates, which must be told from the sites."""
    design = np.column_stack([np.eye(len(sites))[number], covariates])
    rank = np.linalg.matrix_rank(design)
    if rank < design.shape[1]:
        raise ModelError(
            "The covariates of the harmonization cannot be told from the sites.",
            found=f"{len(sites)} sites, {covariates.shape[1]} covariates, rank {rank}",
            remedy="leave the confounded covariate out",
        )
    return design


def _standardize(
    values: Array,
    design: Array,
    counts: NDArray[np.int64],
    number: NDArray[np.int64],
    sites: NDArray[Any],
    reference: str | None,
) -> tuple[Array, Array, Array, Array]:
    beta = np.linalg.lstsq(design, values, rcond=None)[0]
    n_sites = len(counts)
    residual = values - design @ beta
    if reference is None:
        grand = counts / counts.sum() @ beta[:n_sites]
        variance = (residual**2).mean(axis=0)
    else:
        row = int(np.flatnonzero(sites == reference)[0])
        grand = beta[row]
        variance = (residual[number == row] ** 2).mean(axis=0)
    # A feature that sites and covariates explain without rest has no scale to be brought to.
    spread = np.sqrt(np.where(variance > 0, variance, 1.0))
    effects = beta[n_sites:]
    standard: Array = (values - grand - design[:, n_sites:] @ effects) / spread
    return np.asarray(grand, dtype=float), spread, np.asarray(effects), standard


def _site_effects(
    standard: Array, number: NDArray[np.int64], counts: NDArray[np.int64], prior: Prior, mean_only: bool
) -> tuple[Array, Array]:
    """Posterior shift and variance ratio of every site."""
    shift = np.zeros((len(counts), standard.shape[1]))
    scale = np.ones_like(shift)
    if standard.shape[1] < 2:
        # Empirical Bayes borrows from other features; a single one keeps its own estimates.
        for s in range(len(counts)):
            shift[s] = standard[number == s].mean(axis=0)
        return shift, scale
    for s in range(len(counts)):
        rows = standard[number == s]
        raw_shift = rows.mean(axis=0)
        if mean_only:
            spread_of_shifts = raw_shift.var(ddof=1)
            if prior == "nonparametric":
                shift[s] = _nonparametric(rows, raw_shift, np.ones_like(raw_shift))[0]
            else:
                # sva: one observation of variance 1.
                shift[s] = (spread_of_shifts * raw_shift + raw_shift.mean()) / (spread_of_shifts + 1.0)
            continue
        raw_scale = rows.var(axis=0, ddof=1)
        solve = _nonparametric if prior == "nonparametric" else _parametric
        shift[s], scale[s] = solve(rows, raw_shift, raw_scale)
    return shift, scale


def _parametric(rows: Array, raw_shift: Array, raw_scale: Array) -> tuple[Array, Array]:
    n = len(rows)
    mean_shift, var_shift = raw_shift.mean(), raw_shift.var(ddof=1)
    m, s2 = raw_scale.mean(), raw_scale.var(ddof=1)
    a, b = (2 * s2 + m**2) / s2, (m * s2 + m**3) / s2
    shift, scale = raw_shift, raw_scale
    sum_x, sum_xx = rows.sum(axis=0), (rows**2).sum(axis=0)
    for _ in range(10_000):
        new_shift = (var_shift * n * raw_shift + scale * mean_shift) / (var_shift * n + scale)
        squares = sum_xx - 2 * new_shift * sum_x + n * new_shift**2
        new_scale = (0.5 * squares + b) / (n / 2 + a - 1)
        # sva divides by the signed old value, so a negative one never holds the loop up.
        change = max((np.abs(new_shift - shift) / shift).max(), (np.abs(new_scale - scale) / scale).max())
        shift, scale = new_shift, new_scale
        if change <= _TOLERANCE:
            break
    return shift, scale


def _nonparametric(rows: Array, raw_shift: Array, raw_scale: Array) -> tuple[Array, Array]:
    """Each feature's posterior means over the other features' raw estimates, weighted by their likelihood."""
    n, p = rows.shape
    sum_x, sum_xx = rows.sum(axis=0), (rows**2).sum(axis=0)
    shift, scale = np.empty(p), np.empty(p)
    log_scale = np.log(raw_scale)
    for j in range(p):
        squares = sum_xx[j] - 2 * raw_shift * sum_x[j] + n * raw_shift**2
        log_likelihood = -0.5 * n * log_scale - squares / (2 * raw_scale)
        log_likelihood[j] = -np.inf
        weight = np.exp(log_likelihood - logsumexp(log_likelihood))
        shift[j], scale[j] = weight @ raw_shift, weight @ raw_scale
    return shift, scale
