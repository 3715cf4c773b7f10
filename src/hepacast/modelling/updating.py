"""Taking a model to a new center: how far its calibration has drifted, and the smallest correction that is enough.

Source: Vergouwe et al. Stat Med 2017;36:4529-4539 (closed testing of update methods); Steyerberg, Clinical Prediction
Models, 2nd ed., chapter 20.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from hepacast.errors import ModelError
from hepacast.modelling.base import as_outcome
from hepacast.modelling.frozen_logistic import FrozenLogistic
from hepacast.stats.closed_test import closed_test
from hepacast.stats.firth import fit_firth
from hepacast.stats.logistic import fit_logistic

Method = Literal["none", "intercept", "slope", "refit"]
METHODS: tuple[Method, ...] = ("none", "intercept", "slope", "refit")


@dataclass(frozen=True)
class Update:
    """What new patients say of a model.

    Attributes
    ----------
    table
        One row a method: log-likelihood, coefficients estimated, intercept and slope added, P against the refit.
    chosen
        The simplest method that the refit does not improve on at the level given.
    models
        The model after each method.
    n, n_events
        New patients and events.
    """

    table: pd.DataFrame
    chosen: Method
    models: dict[str, FrozenLogistic]
    n: int
    n_events: int


def recalibrated(model: FrozenLogistic, intercept: float, slope: float, note: str) -> FrozenLogistic:
    """The model whose log odds are intercept + slope x the old log odds."""
    old = np.array(model.coefficients)
    new = slope * old
    new[0] += intercept
    covariance = np.array(model.covariance, dtype=float) * slope**2
    return replace(
        model,
        coefficients=tuple(float(value) for value in new),
        covariance=tuple(tuple(float(value) for value in row) for row in covariance),
        note="; ".join(part for part in (model.note, note) if part),
    )


def update_model(model: FrozenLogistic, frame: pd.DataFrame, y: ArrayLike, alpha: float = 0.05) -> Update:
    """Compare leaving a model as it is, a new intercept, intercept and slope, and new coefficients, in new patients.

    The test is closed: each method is compared with the refit by its likelihood ratio, from the simplest on, and the
    first that is not worse at level `alpha` is chosen. With few events this keeps the model as it is, as it should.

    Parameters
    ----------
    model
        The frozen model; `frame` holds its columns (a Radscore as the column ``Radscore``).
    y
        Outcome of the new patients.

    Raises
    ------
    ModelError
        The model has no predictor.
    """
    outcome = as_outcome(y, len(frame))
    if not model.terms:
        raise ModelError("A model without predictors can only take a new rate.", found=model.note)
    old = model.linear_predictor(frame)
    fits = {"none": (0.0, 1.0), "intercept": (_shift(old, outcome), 1.0), "slope": _line(old, outcome)}
    models = {
        name: model if name == "none" else recalibrated(model, a, b, f"updated in {len(outcome)} patients: {name}")
        for name, (a, b) in fits.items()
    }
    models["refit"] = _refit(model, frame, outcome)
    loglik = {name: _loglik(item.linear_predictor(frame), outcome) for name, item in models.items()}
    estimated = {"none": 0, "intercept": 1, "slope": 2, "refit": len(model.coefficients)}
    chosen, p = closed_test({name: loglik[name] for name in METHODS}, estimated, alpha=alpha)
    nan = float("nan")
    rows = []
    for name in METHODS:
        a, b = fits.get(name, (nan, nan))
        found = {
            "loglik": loglik[name],
            "estimated": estimated[name],
            "intercept": a,
            "slope": b,
            "p": p.get(name, nan),
        }
        rows.append({"method": name, **found, "intercept": a, "slope": b})
    return Update(pd.DataFrame(rows), chosen, models, len(outcome), int(outcome.sum()))  # type: ignore[arg-type]


def _shift(old: np.ndarray, outcome: np.ndarray) -> float:
    return fit_logistic(np.empty((len(outcome), 0)), outcome, offset=old).require().intercept


def _line(old: np.ndarray, outcome: np.ndarray) -> tuple[float, float]:
    fit = fit_logistic(old[:, None], outcome, ["log odds"])
    if not fit.ok:
        fit = fit_firth(old[:, None], outcome, ["log odds"]).require()
    return fit.intercept, float(fit.coef[0])


def _refit(model: FrozenLogistic, frame: pd.DataFrame, outcome: np.ndarray) -> FrozenLogistic:
    design = model.design(frame)
    names = [term.name for term in model.terms]
    fit = fit_logistic(design, outcome, names)
    if not fit.ok:
        fit = fit_firth(design, outcome, names).require()
    return replace(
        model,
        coefficients=tuple(float(value) for value in fit.beta),
        covariance=tuple(tuple(float(value) for value in row) for row in fit.covariance),
        p_values=tuple(float(value) for value in fit.p_values),
        method=fit.method,
        note=f"refitted in {len(outcome)} patients",
        n=len(outcome),
        n_events=int(outcome.sum()),
    )


def _loglik(linear_predictor: np.ndarray, outcome: np.ndarray) -> float:
    return -float(np.logaddexp(0.0, np.where(outcome == 1, -linear_predictor, linear_predictor)).sum())
