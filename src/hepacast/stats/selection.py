"""Choosing predictors the classical way, and variance inflation.

Both exist because papers use them. Stepwise P values are too small and its coefficients too large; the bootstrap of
the whole chain (`hepacast.modelling`) shows by how much.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from hepacast.errors import ModelError
from hepacast.stats.design import finite_matrix
from hepacast.stats.firth import fit_firth
from hepacast.stats.logistic import fit_logistic
from hepacast.stats.logistic_fit import LogisticFit, likelihood_ratio_p

Terms = Mapping[str, Sequence[int]]


def _terms(names: Sequence[str], terms: Terms | None) -> dict[str, tuple[int, ...]]:
    if terms is None:
        return {name: (index,) for index, name in enumerate(names)}
    return {str(name): tuple(columns) for name, columns in terms.items()}


def vif(fit: LogisticFit, terms: Terms | None = None) -> pd.Series:
    """Variance inflation of each predictor in a fitted model, as `car::vif`.

    From the correlation matrix R of the estimated coefficients: GVIF = |R_11| |R_22| / |R|, where R_11 belongs to
    the term; for a term with one column that is the usual VIF, in which the patients carry the weights they have in
    the logistic fit. `terms` gives the columns of predictors with several (categories).

    References
    ----------
    Fox J, Monette G. Generalized collinearity diagnostics. JASA 1992;87:178-83.
    """
    groups = _terms(fit.names, terms)
    if not fit.ok:
        return pd.Series(np.nan, index=list(groups), name="vif")
    covariance = fit.covariance[1:, 1:]
    spread = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(spread, spread)
    whole = np.linalg.det(correlation)
    values = {}
    for name, columns in groups.items():
        inside = list(columns)
        outside = [j for j in range(len(fit.names)) if j not in inside]
        values[name] = (
            np.linalg.det(correlation[np.ix_(inside, inside)]) * np.linalg.det(correlation[np.ix_(outside, outside)])
        ) / whole
    return pd.Series(values, name="vif", dtype=float)


def drop_one(fit: LogisticFit, terms: Terms | None = None) -> pd.DataFrame:
    """What leaving out each predictor costs: AIC and likelihood-ratio P (R's `drop1(test = "LRT")`)."""
    rows = {}
    for name, columns in _terms(fit.names, terms).items():
        keep = [j for j in range(len(fit.names)) if j not in columns]
        refit = fit_firth if fit.method == "firth" else fit_logistic
        smaller = refit(fit.x[:, keep], fit.y, [fit.names[j] for j in keep], weights=fit.weights, offset=fit.offset)
        # Penalized likelihoods of two designs cannot be compared: the whole design's is restricted instead.
        p = fit.term_p(columns) if fit.method == "firth" else likelihood_ratio_p(smaller, fit)
        rows[name] = {"aic": smaller.aic, "p": p}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["aic", "p"])


@dataclass(frozen=True)
class Stepwise:
    """The end of a stepwise selection: terms kept, the fit, and the steps (what was dropped or added, AIC after)."""

    kept: tuple[str, ...]
    fit: LogisticFit
    steps: tuple[tuple[str, float], ...]


def backward_aic(
    x: ArrayLike,
    y: ArrayLike,
    names: Sequence[str] | None = None,
    *,
    terms: Terms | None = None,
    direction: str = "backward",
) -> Stepwise:
    """Stepwise selection by AIC, as `MASS::stepAIC`.

    Parameters
    ----------
    x, y, names
        As in `fit_logistic`.
    terms
        Columns of predictors that have several; such a predictor enters or leaves as a whole.
    direction
        `backward` (from all), `both` (from all, dropped ones may return) or `forward` (from none).

    Raises
    ------
    ModelError
        The full model has no estimate (backward, both): separated, singular.
    """
    if direction not in ("backward", "both", "forward"):
        raise ModelError("Unknown direction.", expected="backward, both or forward", found=direction)
    matrix, labels = finite_matrix(x, int(np.asarray(y).size), names)
    groups = _terms(labels, terms)

    def fitted(chosen: Sequence[str]) -> LogisticFit:
        columns = [j for name in chosen for j in groups[name]]
        return fit_logistic(matrix[:, columns], y, [labels[j] for j in columns])

    chosen = [] if direction == "forward" else list(groups)
    current = fitted(chosen).require()
    steps: list[tuple[str, float]] = []
    while True:
        candidates: dict[str, list[str]] = {}
        if direction != "forward":
            candidates |= {f"- {name}": [other for other in chosen if other != name] for name in chosen}
        if direction != "backward":
            candidates |= {f"+ {name}": [*chosen, name] for name in groups if name not in chosen}
        fits = {move: fit for move, names_ in candidates.items() if (fit := fitted(names_)).ok}
        if not fits:
            break
        best = min(fits, key=lambda move: fits[move].aic)
        if fits[best].aic >= current.aic - 1e-7:
            break
        chosen, current = candidates[best], fits[best]
        steps.append((best, current.aic))
    return Stepwise(tuple(chosen), current, tuple(steps))
