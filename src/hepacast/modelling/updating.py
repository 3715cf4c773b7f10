"""Taking a model to a new center: how far its calibration has drifted, and the smallest correction that is enough.

A logistic model is judged by the likelihood of the new outcomes. A Cox model keeps the shape of its baseline hazard H0:
the event of a patient followed to T is then Poisson with mean exp(intercept + slope lp) H0(T) (Crowson, Atkinson,
Therneau. Stat Methods Med Res 2016;25:1692), so that the methods are nested there too.

Source: Vergouwe et al. Stat Med 2017;36:4529-4539 (closed testing of update methods); Steyerberg, Clinical Prediction
Models, 2nd ed., chapter 20.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.stats import norm

from hepacast.errors import ModelError
from hepacast.modelling.base import Array, as_outcome
from hepacast.modelling.frozen_cox import FrozenCox
from hepacast.modelling.frozen_logistic import FrozenLinear
from hepacast.modelling.targets import as_follow_up
from hepacast.stats.closed_test import closed_test
from hepacast.stats.firth import fit_firth
from hepacast.stats.logistic import fit_logistic
from hepacast.stats.poisson import poisson_fit, poisson_loglik

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
    models: dict[str, FrozenLinear]
    n: int
    n_events: int


@dataclass(frozen=True)
class _Line:
    """Intercept first, then slopes."""

    beta: Array
    covariance: Array
    p_values: Array
    method: str


class _Odds:
    """What 0 and 1 of new patients tell of log odds."""

    def __init__(self, model: FrozenLinear, y: ArrayLike, n: int) -> None:
        self.outcome = as_outcome(y, n)
        self.events = int(self.outcome.sum())

    def fit(self, design: Array, names: Sequence[str], offset: Array | None = None) -> _Line:
        """Logistic regression; Firth's where the events are separated."""
        fit = fit_logistic(design, self.outcome, names, offset=offset)
        if not fit.ok and offset is None:
            fit = fit_firth(design, self.outcome, names)
        found = fit.require()
        return _Line(found.beta, found.covariance, found.p_values, found.method)

    def loglik(self, lp: Array) -> float:
        """Log-likelihood."""
        return -float(np.logaddexp(0.0, np.where(self.outcome == 1, -lp, lp)).sum())


class _Rates:
    """What follow-up of new patients tells of the log hazard beside a baseline that is given."""

    def __init__(self, model: FrozenCox, y: ArrayLike, n: int) -> None:
        times, codes = as_follow_up(y, n)
        if (codes == 2).any():
            raise ModelError(
                "A model of competing risks is not updated: the subdistribution has no likelihood of this kind.",
                found=f"{int((codes == 2).sum())} competing events",
            )
        self.exposure = model.cumulative_hazard(np.minimum(times, model.last_time))
        self.event = ((codes == 1) & (times <= model.last_time)).astype(float)
        self.events = int(self.event.sum())

    def fit(self, design: Array, names: Sequence[str], offset: Array | None = None) -> _Line:
        """Poisson regression with the baseline's cumulative hazard as exposure."""
        x = np.column_stack([np.ones(len(self.event)), design])
        exposure = self.exposure if offset is None else self.exposure * np.exp(offset)
        beta = poisson_fit(x, self.event, exposure)
        information = (x * (exposure * np.exp(x @ beta))[:, None]).T @ x
        covariance = np.asarray(np.linalg.inv(information), dtype=float)
        p = 2 * norm.sf(np.abs(beta) / np.sqrt(np.diag(covariance)))
        return _Line(beta, covariance, np.asarray(p), "poisson")

    def loglik(self, lp: Array) -> float:
        """Log-likelihood, without what does not depend on the linear predictor."""
        return poisson_loglik(lp, self.event, self.exposure)


def recalibrated(model: FrozenLinear, intercept: float, slope: float, note: str) -> FrozenLinear:
    """The model whose linear predictor is intercept + slope x the old one."""
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


def _refitted(model: FrozenLinear, new: _Rates | _Odds, frame: pd.DataFrame) -> FrozenLinear:
    """The model with coefficients of the new patients."""
    refit = new.fit(model.design(frame), [term.name for term in model.terms])
    return replace(
        model,
        coefficients=tuple(float(value) for value in refit.beta),
        covariance=tuple(tuple(float(value) for value in row) for row in refit.covariance),
        p_values=tuple(float(value) for value in refit.p_values),
        method=refit.method,
        note=f"refitted in {len(frame)} patients",
        n=len(frame),
        n_events=new.events,
    )


def update_model(model: FrozenLinear, frame: pd.DataFrame, y: ArrayLike, alpha: float = 0.05) -> Update:
    """Compare leaving a model as it is, a new intercept, intercept and slope, and new coefficients, in new patients.

    The test is closed: each method is compared with the refit by its likelihood ratio, from the simplest on, and the
    first that is not worse at level `alpha` is chosen. With few events this keeps the model as it is, as it should.
    Where there is no refit (too few patients for its coefficients), intercept and slope are the largest change.

    Parameters
    ----------
    model
        The frozen model; `frame` holds its columns (a Radscore as the column ``Radscore``).
    y
        Outcome of the new patients: 0 and 1, or of a Cox model time and event, shape (n, 2).

    Raises
    ------
    ModelError
        The model has no predictor, or risks compete.
    """
    n = len(frame)
    new = _Rates(model, y, n) if isinstance(model, FrozenCox) else _Odds(model, y, n)
    if not model.terms:
        raise ModelError("A model without predictors can only take a new rate.", found=model.note)
    old = model.linear_predictor(frame)
    shift, line = new.fit(np.empty((n, 0)), [], old).beta, new.fit(old[:, None], ["old model"]).beta
    fits = {"none": (0.0, 1.0), "intercept": (float(shift[0]), 1.0), "slope": (float(line[0]), float(line[1]))}
    models = {
        name: model if name == "none" else recalibrated(model, a, b, f"updated in {n} patients: {name}")
        for name, (a, b) in fits.items()
    }
    # Too few patients for so many coefficients: then the largest change is intercept and slope.
    with suppress(ModelError):
        models["refit"] = _refitted(model, new, frame)
    loglik = {name: new.loglik(item.linear_predictor(frame)) for name, item in models.items()}
    estimated = {"none": 0, "intercept": 1, "slope": 2, "refit": len(model.coefficients)}
    tried = [name for name in METHODS if name in models]
    chosen, p = closed_test({name: loglik[name] for name in tried}, estimated, alpha=alpha)
    nan = float("nan")
    rows = []
    for name in tried:
        a, b = fits.get(name, (nan, nan))
        found = {
            "loglik": loglik[name],
            "estimated": estimated[name],
            "intercept": a,
            "slope": b,
            "p": p.get(name, nan),
        }
        rows.append({"method": name, **found, "intercept": a, "slope": b})
    return Update(pd.DataFrame(rows), chosen, models, n, new.events)  # type: ignore[arg-type]
