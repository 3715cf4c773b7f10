"""Scores that are noisier where a model is fitted than where it is used."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

#: Share of a group's variance that is kept at least: noise is estimated, and may seem to be all there is.
_LEAST = 0.1


def moment_reconstruction(scores: npt.ArrayLike, outcome: npt.ArrayLike, excess: float) -> npt.NDArray[np.float64]:
    """Scores with the mean and the variance that they would have without some noise, within each outcome.

    A model that is fitted to noisy scores has too small a slope for scores with less noise (means of several
    networks). Each group's scores are drawn toward their mean until the excess of variance is gone; what is fitted to
    them has the slope of the less noisy ones. They are for fitting only: the outcome is used.

    Parameters
    ----------
    scores
        (n,).
    outcome
        0 or 1, (n,).
    excess
        Variance of the noise that the scores of new patients do not have.

    Notes
    -----
    Freedman LS, Fainberg V, Kipnis V, Midthune D, Carroll RJ. A new method for dealing with measurement error in
    explanatory variables of regression models. Biometrics 2004;60:172-181.
    """
    values, groups = np.asarray(scores, dtype=float), np.asarray(outcome)
    result = values.copy()
    for group in np.unique(groups):
        inside = groups == group
        spread = float(values[inside].var(ddof=1)) if inside.sum() > 1 else 0.0
        if spread > 0 and excess > 0:
            mean = float(values[inside].mean())
            share = max(spread - excess, _LEAST * spread) / spread
            result[inside] = mean + np.sqrt(share) * (values[inside] - mean)
    return result
