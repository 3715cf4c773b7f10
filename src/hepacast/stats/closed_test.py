"""The closed test of nested updates of a model: the smallest change that fits no worse than the largest.

References
----------
Vergouwe Y et al. A closed testing procedure to select an appropriate method for updating prediction models.
Stat Med 2017;36:4529-39.
"""

from __future__ import annotations

from collections.abc import Mapping

from scipy.stats import chi2


def closed_test(
    loglik: Mapping[str, float], estimated: Mapping[str, int], *, alpha: float = 0.05
) -> tuple[str, dict[str, float]]:
    """Choose among nested updates by likelihood-ratio tests against the largest.

    Parameters
    ----------
    loglik, estimated
        Log-likelihood and number of estimated coefficients by update, from the smallest change to the largest.
    alpha
        Level of each test.

    Returns
    -------
    tuple
        The smallest update whose P is `alpha` or more (else the largest), and P by update, the largest left out.
    """
    names = list(loglik)
    largest = names[-1]
    p = {
        name: float(chi2.sf(max(0.0, 2.0 * (loglik[largest] - loglik[name])), estimated[largest] - estimated[name]))
        for name in names[:-1]
    }
    return next((name for name in names[:-1] if p[name] >= alpha), largest), p
