"""Decision curves: net benefit of acting on a predicted risk, with bootstrap bands. Equal to R's dcurves and rmda.

By a horizon the event rate of those at or above a threshold is that of their follow-up.

References
----------
Vickers AJ, Elkin EB. Med Decis Making 2006;26:565-74. Vickers AJ et al. Diagn Progn Res 2019;3:18. Vickers AJ, Cronin
AM, Elkin EB, Gonen M. BMC Med Inform Decis Mak 2008;8:53 (by a horizon).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from hepacast.core.records import Record
from hepacast.errors import ModelError, OutcomeError
from hepacast.evaluation.event_by import EventBy, event
from hepacast.evaluation.predictions import Array, probability, score_array

DEFAULT_THRESHOLDS = np.round(np.arange(0.01, 1.0, 0.01), 2)


@dataclass(frozen=True)
class NetBenefit(Record):
    """Net benefit of one model over threshold probabilities.

    Attributes
    ----------
    net_benefit
        TP/n - FP/n × pt / (1 - pt), shape (k,); NaN where nobody of those at or above the threshold is followed to the
        horizon, since their event rate is then unknown.
    standardized
        Net benefit / prevalence.
    tp_rate, fp_rate
        TP/n and FP/n (of all patients, weighted to the given prevalence if there is one).
    interventions_avoided
        Patients per patient spared the intervention, against treating everybody, at no cost in true positives.
    low, high
        Percentile band over bootstrap resamples; empty without.
    useful_range
        Stretches of thresholds where the model beats both treating everybody and treating nobody.
    """

    thresholds: Array
    net_benefit: Array
    standardized: Array
    tp_rate: Array
    fp_rate: Array
    interventions_avoided: Array
    low: Array = field(default_factory=lambda: np.empty(0))
    high: Array = field(default_factory=lambda: np.empty(0))
    useful_range: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, repr=False)
class DecisionCurves:
    """Decision curves of several models for the same patients.

    Attributes
    ----------
    thresholds
        Threshold probabilities, shape (k,).
    treat_all
        Net benefit of treating everybody (treating nobody has 0 everywhere).
    models
        By name.
    prevalence
        Risk of the event (by the horizon) in all patients, or as given.
    n_boot
        Resamples behind the bands.
    """

    thresholds: Array
    treat_all: Array
    models: Mapping[str, NetBenefit]
    prevalence: float
    n: int
    n_boot: int

    def to_frame(self) -> pd.DataFrame:
        """Long table: one row a strategy and threshold."""
        parts = [
            pd.DataFrame({"strategy": "Treat all", "threshold": self.thresholds, "net_benefit": self.treat_all}),
            pd.DataFrame({"strategy": "Treat none", "threshold": self.thresholds, "net_benefit": 0.0}),
        ]
        for name, curve in self.models.items():
            part = pd.DataFrame(
                {
                    "strategy": name,
                    "threshold": self.thresholds,
                    "net_benefit": curve.net_benefit,
                    "standardized": curve.standardized,
                    "tp_rate": curve.tp_rate,
                    "fp_rate": curve.fp_rate,
                    "interventions_avoided": curve.interventions_avoided,
                }
            )
            if curve.low.size:
                part = part.assign(low=curve.low, high=curve.high)
            parts.append(part)
        return pd.concat(parts, ignore_index=True)

    def plot(self, *, title: str = "") -> Any:
        """The decision curves (matplotlib figure)."""
        from hepacast.evaluation.drawing import decision_figure

        return decision_figure(self.models, self.thresholds, self.treat_all, self.prevalence, title=title)

    def __repr__(self) -> str:
        return f"<DecisionCurves {', '.join(self.models)}; prevalence {self.prevalence:.3f}, n={self.n}>"

    def _repr_html_(self) -> str:
        wide = self.to_frame().pivot(index="threshold", columns="strategy", values="net_benefit")
        return wide.to_html(border=0, float_format=lambda value: f"{value:.4f}")


def checked_thresholds(thresholds: ArrayLike | None) -> Array:
    """Threshold probabilities, rising, inside (0, 1)."""
    values = DEFAULT_THRESHOLDS if thresholds is None else np.atleast_1d(np.asarray(thresholds, dtype=float))
    if values.size == 0 or np.isnan(values).any() or values.min() <= 0.0 or values.max() >= 1.0:
        raise ModelError("Threshold probabilities lie between 0 and 1 (both excluded).", found=f"{values.tolist()[:5]}")
    return np.asarray(np.sort(values), dtype=float)


def rates(y: Array, risk: Array, thresholds: Array, prevalence: float | None = None) -> tuple[Array, Array]:
    """TP/n and FP/n of calling patients with risk >= threshold positive, for every threshold, in O(n log n).

    With a prevalence, the class rates are weighted to it (case-control data).
    """
    events, others = np.sort(risk[y == 1.0]), np.sort(risk[y == 0.0])
    tpr = 1.0 - np.searchsorted(events, thresholds, side="left") / max(events.size, 1)
    fpr = 1.0 - np.searchsorted(others, thresholds, side="left") / max(others.size, 1)
    share = events.size / y.size if prevalence is None else prevalence
    return tpr * share, fpr * (1.0 - share)


def _tp_fp(known: EventBy, risk: Array, thresholds: Array, prevalence: float | None) -> tuple[Array, Array]:
    """TP/n and FP/n at every threshold."""
    if known.complete:
        return rates(known.y, risk, thresholds, prevalence)
    above = risk[None, :] >= thresholds[:, None]
    share = above.mean(axis=1)
    rate = np.where(share == 0, 0.0, known.rates(above))
    return rate * share, (1.0 - rate) * share


def net_benefit(
    y: ArrayLike | EventBy, risk: ArrayLike, thresholds: ArrayLike | None = None, *, prevalence: float | None = None
) -> NetBenefit:
    """Net benefit of one model.

    Parameters
    ----------
    y, risk
        Outcome (0 or 1; or of `event_by`) and predicted probabilities, shape (n,).
    thresholds
        Threshold probabilities; 0.01, 0.02 ... 0.99 by default.
    prevalence
        Of the target population, where the data are case-control; not of follow-up.

    Raises
    ------
    OutcomeError, ModelError
        The outcome, the risks or the thresholds cannot be used; nobody is followed to the horizon.
    """
    known = event(y)
    p = probability(score_array(risk, known.n, "risk"), "risk")
    pt = checked_thresholds(thresholds)
    share = _checked_prevalence(known, prevalence)
    tp, fp = _tp_fp(known, p, pt, prevalence)
    odds = pt / (1.0 - pt)
    benefit = tp - fp * odds
    everybody = share - (1.0 - share) * odds
    useful = _stretches(pt, benefit > np.maximum(everybody, 0.0) + 1e-12)
    return NetBenefit(pt, benefit, benefit / share, tp, fp, (benefit - everybody) / odds, useful_range=useful)


def _stretches(pt: Array, better: NDArray[np.bool_]) -> tuple[tuple[float, float], ...]:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], better.astype(int), [0]])))
    return tuple((float(pt[start]), float(pt[stop - 1])) for start, stop in edges.reshape(-1, 2))


def _checked_prevalence(known: EventBy, prevalence: float | None) -> float:
    if prevalence is None:
        observed = known.risk().value if not known.complete else float(known.y.mean())
        if np.isnan(observed):
            longest = known.follow_up()[0].max()
            raise OutcomeError(f"Nobody is followed up to {known.horizon:g}.", found=f"longest follow-up {longest:g}")
        return observed
    if not known.complete:
        raise ModelError("Risks by a horizon cannot be weighted to a prevalence.", found=f"{prevalence:g}")
    if not 0.0 < prevalence < 1.0:
        raise ModelError("A prevalence lies between 0 and 1.", found=f"{prevalence:g}")
    return float(prevalence)


def decision_curves(
    y: ArrayLike | EventBy,
    models: Mapping[str, ArrayLike],
    thresholds: ArrayLike | None = None,
    *,
    prevalence: float | None = None,
    indices: Iterable[ArrayLike] | None = None,
    level: float = 0.95,
) -> DecisionCurves:
    """Decision curves of several models for the same patients.

    Parameters
    ----------
    indices
        Rows (from 0) of bootstrap resamples for the band; each resample serves all models. None: no band.

    Raises
    ------
    OutcomeError, ModelError
        As `net_benefit`.
    """
    if not models:
        raise ModelError("There is no model to evaluate.", expected="risks by model name")
    known = event(y)
    pt = checked_thresholds(thresholds)
    share = _checked_prevalence(known, prevalence)
    odds = pt / (1.0 - pt)
    resamples = [] if indices is None else [np.asarray(rows, dtype=int) for rows in indices]
    curves = {}
    for name, values in models.items():
        what = f"risk of {name}"
        p = probability(score_array(values, known.n, what), what)
        curve = net_benefit(known, p, pt, prevalence=prevalence)
        if resamples:
            low, high = _band(known, p, pt, resamples, prevalence, level)
            curve = replace(curve, low=low, high=high)
        curves[str(name)] = curve
    return DecisionCurves(pt, share - (1.0 - share) * odds, curves, share, known.n, len(resamples))


def _band(
    known: EventBy, p: Array, pt: Array, resamples: list[Array], prevalence: float | None, level: float
) -> tuple[Array, Array]:
    """Percentiles; none where more than a tenth of the samples have no value."""
    odds = pt / (1.0 - pt)
    values = np.empty((len(resamples), pt.size))
    for row, chosen in enumerate(resamples):
        tp, fp = _tp_fp(known.select(chosen), p[chosen], pt, prevalence)
        values[row] = tp - fp * odds
    told = np.isfinite(values).mean(axis=0) >= 0.9
    low, high = np.full(pt.size, np.nan), np.full(pt.size, np.nan)
    if told.any():
        low[told], high[told] = np.nanquantile(values[:, told], [(1.0 - level) / 2.0, (1.0 + level) / 2.0], axis=0)
    return low, high
