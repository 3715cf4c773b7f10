"""Rates of events by Poisson regression with a known exposure: what follow-up tells beside a given baseline hazard."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hepacast.errors import ModelError

Array = npt.NDArray[np.float64]

_MAX_STEPS = 100
#: A rate so far from the mean one, on the log scale, is on its way to 0 or infinity.
_MAX_LOG_RATE = 25.0


def poisson_loglik(eta: Array, event: Array, exposure: Array) -> float:
    """Poisson log-likelihood, without what does not depend on eta."""
    return float(event @ eta - exposure @ np.exp(eta))


def poisson_fit(x: Array, event: Array, exposure: Array) -> Array:
    """Coefficients of a log-linear rate: events are Poisson with mean exposure * exp(x beta); Newton, step-halving.

    Parameters
    ----------
    x
        Shape (n, p), with the column of ones if there is to be one.
    event, exposure
        Shape (n,); exposure 0 or more.

    Raises
    ------
    ModelError
        There is no finite estimate.
    """
    total, count = float(exposure.sum()), float(event.sum())
    if total <= 0 or count <= 0:
        raise ModelError("A rate needs events and follow-up.", found=f"{count:g} events, exposure {total:g}")
    beta = np.zeros(x.shape[1])
    value = poisson_loglik(x @ beta, event, exposure)
    for _ in range(_MAX_STEPS):
        mean = exposure * np.exp(x @ beta)
        gradient, information = x.T @ (event - mean), (x * mean[:, None]).T @ x
        try:
            step = np.linalg.solve(information, gradient)
        except np.linalg.LinAlgError as error:
            raise ModelError("The columns are collinear in these patients.") from error
        if np.abs(x @ (beta + step) - np.log(count / total)).max() > _MAX_LOG_RATE:
            break
        if float(np.abs(gradient @ step)) < 1e-20 * max(1.0, count) or np.abs(step).max() < 1e-11:
            return np.asarray(beta + step)
        for _ in range(40):
            with np.errstate(over="ignore"):
                new = poisson_loglik(x @ (beta + step), event, exposure)
            if np.isfinite(new) and new >= value - 1e-12 * abs(value):
                break
            step = step / 2
        beta, value = beta + step, new
    raise ModelError("There is no finite estimate: a column separates the events.")
