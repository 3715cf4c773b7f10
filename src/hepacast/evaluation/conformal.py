"""Conformal prediction for one patient: which outcomes cannot be ruled out at a stated error rate.

By a horizon, the sets say whether the event by then, or its absence, cannot be ruled out.

References
----------
Vovk V, Gammerman A, Shafer G. Algorithmic Learning in a Random World, 2005 (Mondrian, i.e. class-conditional form).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from hepacast.core.records import Record
from hepacast.errors import ModelError
from hepacast.evaluation.event_by import EventBy, event
from hepacast.evaluation.predictions import Array, probability, score_array


@dataclass(frozen=True)
class ConformalSet:
    """Outcomes that remain possible for one patient.

    Attributes
    ----------
    p_event, p_no_event
        Conformal P value of each outcome: the share of calibration patients with that outcome who fit it no better
        than this patient would.
    event_possible, no_event_possible
        Whether the P value exceeds 1 - level.
    level
        Wanted coverage: among patients of each class, at least this share has its true outcome in the set.
    """

    p_event: float
    p_no_event: float
    event_possible: bool
    no_event_possible: bool
    level: float

    @property
    def label(self) -> str:
        """`event`, `no event`, `either` (uncertain) or `neither` (unlike every calibration patient)."""
        if self.event_possible and self.no_event_possible:
            return "either"
        if self.event_possible:
            return "event"
        return "no event" if self.no_event_possible else "neither"


@dataclass(frozen=True)
class Conformal(Record):
    """A calibrated conformal predictor: sorted risks of calibration patients, by outcome.

    Made from predictions for patients that the model had not seen (out-of-fold or a held-out set); with risks of the
    patients of the fit the coverage does not hold.

    Attributes
    ----------
    events, others
        Sorted risks of those with and without the event.
    event_weights, other_weights
        Of time to an event: inverse probability of not being censored, in the same order; None: 1 each.
    """

    events: Array
    others: Array
    event_weights: Array | None = None
    other_weights: Array | None = None

    def p_values(self, risk: ArrayLike) -> tuple[Array, Array]:
        """P values of event and of no event for new risks, each of shape (m,)."""
        values = np.atleast_1d(np.asarray(risk, dtype=float)).ravel()
        p = probability(score_array(values, values.size, "risk"), "risk")
        # An event patient is the stranger the lower the risk, one without the event the higher it is.
        event = _share(np.searchsorted(self.events, p, side="right"), _weights(self.events, self.event_weights))
        others = _weights(self.others, self.other_weights)
        other = _share(self.others.size - np.searchsorted(self.others, p, side="left"), others[::-1])
        return event, other

    def predict(self, risk: float, *, level: float = 0.9) -> ConformalSet:
        """The conformal set of one patient."""
        return self.predict_all([risk], level=level)[0]

    def predict_all(self, risk: ArrayLike, *, level: float = 0.9) -> list[ConformalSet]:
        """The conformal sets of several patients.

        Raises
        ------
        ModelError
            The level is not between 0 and 1, or a class has too few calibration patients for it: with fewer than
            level / (1 - level) of them no outcome could ever be ruled out.
        """
        if not 0.0 < level < 1.0:
            raise ModelError("A coverage lies between 0 and 1.", found=f"{level:g}")
        smallest = min(
            _count(_weights(self.events, self.event_weights)), _count(_weights(self.others, self.other_weights))
        )
        if 1.0 / (smallest + 1.0) > 1.0 - level + 1e-12:
            raise ModelError(
                "Too few calibration patients for this coverage.",
                expected=f"at least {int(np.ceil(level / (1.0 - level) - 1e-9))} of each class",
                found=f"{smallest:.4g}",
                remedy="ask for a lower coverage",
            )
        limit = 1.0 - level + 1e-12
        return [
            ConformalSet(float(a), float(b), bool(a > limit), bool(b > limit), float(level))
            for a, b in zip(*self.p_values(risk))
        ]


def _weights(values: Array, weights: Array | None) -> Array:
    return np.ones(values.size) if weights is None else weights


def _count(weights: Array) -> float:
    """Patients that the weights stand for; the new one counts as the heaviest of them."""
    return float(weights.sum() / weights.max()) if weights.size else 0.0


def _share(below: Any, weights: Array) -> Array:
    """Weight of the first `below` patients and of the new one, over the weight of all of them."""
    own = float(weights.max()) if weights.size else 1.0
    sums = np.concatenate([[0.0], np.cumsum(weights)])
    return np.asarray((sums[below] + own) / (sums[-1] + own), dtype=float)


def conformal(y: ArrayLike | EventBy, risk: ArrayLike) -> Conformal:
    """Calibrate a class-conditional conformal predictor.

    Patients censored before a horizon belong to neither class; those whose state is known stand for them, weighted with
    the inverse of their probability of not being censored (coverage holds as far as that probability is known).

    Parameters
    ----------
    y
        Outcome, 0 or 1, or of `event_by`, of calibration patients.
    risk
        Their risks (by the horizon), of models that had not seen them.

    Raises
    ------
    OutcomeError, ModelError
        The outcome or the risks cannot be used; no event by the horizon, or nobody observed beyond it.

    References
    ----------
    Tibshirani RJ et al. Conformal prediction under covariate shift. NeurIPS 2019 (weighted form).
    """
    known = event(y)
    p = probability(score_array(risk, known.n, "risk"), "risk")
    parts = []
    for weight in (known.weights.case, known.weights.control):
        inside = np.flatnonzero(weight > 0)
        order = inside[np.argsort(p[inside], kind="stable")]
        parts.append((p[order], None if known.complete else weight[order]))
    (events, event_weights), (others, other_weights) = parts
    return Conformal(events, others, event_weights, other_weights)


@dataclass(frozen=True)
class CoverageRow(Record):
    """Conformal sets in new patients.

    Attributes
    ----------
    n, n_events, n_others
        Patients; those known to have the event (by the horizon), and known not to.
    coverage_events, coverage_others
        Share of each whose true outcome was in the set, weighted for censoring.
    event, no_event, either, neither
        Shares of the four answers.
    set
        Which patients.
    """

    n: int
    n_events: int
    n_others: int
    coverage_events: float
    coverage_others: float
    event: float
    no_event: float
    either: float
    neither: float
    set: str = ""


@dataclass(frozen=True)
class ConformalInfo(Record):
    """Conformal sets of a study: what they held in new patients, and what a frozen model needs to make them.

    Attributes
    ----------
    level
        Coverage promised.
    rows
        One a set of new patients.
    calibration, rule
        The predictor, and the two risks that decide; None with the reason.
    patients
        Each new patient's answer.
    """

    level: float
    rows: tuple[CoverageRow, ...] = ()
    reason: str = ""
    calibration: Conformal | None = None
    rule: ConformalRule | None = None
    patients: dict[str, str] = field(default_factory=dict)


def covered(y: ArrayLike | EventBy, sets: Sequence[ConformalSet | ConformalAnswer]) -> CoverageRow:
    """Coverage in each class, weighted for censoring, and how often each answer is given; NaN of an absent class."""
    known = event(y)
    weights = known.weights
    labels = [item.label for item in sets]
    return CoverageRow(
        n=len(sets),
        n_events=int((weights.case > 0).sum()),
        n_others=int((weights.control > 0).sum()),
        coverage_events=_covered(weights.case, [bool(item.event_possible) for item in sets]),
        coverage_others=_covered(weights.control, [bool(item.no_event_possible) for item in sets]),
        event=labels.count("event") / len(labels),
        no_event=labels.count("no event") / len(labels),
        either=labels.count("either") / len(labels),
        neither=labels.count("neither") / len(labels),
    )


def _covered(weights: Array, held: Sequence[bool]) -> float:
    """Weighted share of those who were held; the sums are exact, for a share of 1 + 2e-16 is none."""
    total = math.fsum(weights)
    return math.fsum(weights[np.asarray(held, dtype=bool)]) / total if total else float("nan")


@dataclass(frozen=True)
class ConformalRule(Record):
    """What a frozen model needs for the conformal set of one patient: two risks, and no calibration patient.

    Attributes
    ----------
    level
        Coverage.
    event_from
        Lowest risk at which the event remains possible.
    no_event_to
        Highest risk at which it remains possible that there is no event.
    """

    level: float
    event_from: float
    no_event_to: float

    @classmethod
    def of(cls, fitted: Conformal, level: float) -> ConformalRule:
        """The rule of a calibrated predictor.

        Raises
        ------
        ModelError
            Too few calibration patients for the level.
        """
        fitted.predict(0.5, level=level)
        event, _ = fitted.p_values(fitted.events)
        _, other = fitted.p_values(fitted.others)
        limit = 1.0 - level + 1e-12
        return cls(level, float(fitted.events[event > limit].min()), float(fitted.others[other > limit].max()))

    def predict(self, risk: float, *, by: str = "") -> ConformalAnswer:
        """The set of one patient."""
        event, other = risk >= self.event_from, risk <= self.no_event_to
        label = "either" if event and other else "event" if event else "no event" if other else "neither"
        return ConformalAnswer(label, bool(event), bool(other), self.level, plain_meaning(label, by=by))


@dataclass(frozen=True)
class ConformalAnswer:
    """A conformal set in words; without one, `label` is None and `reason` says why.

    Attributes
    ----------
    label
        ``event``, ``no event``, ``either`` or ``neither``.
    sentence
        What it holds.
    """

    label: str | None
    event_possible: bool | None = None
    no_event_possible: bool | None = None
    level: float | None = None
    sentence: str = ""
    reason: str = ""


def plain_meaning(label: str, *, by: str = "") -> str:
    """What a set holds, for the patient's doctor.

    Parameters
    ----------
    label
        Of the set.
    by
        Of time to an event: ``"by 365 days"``.
    """
    at = f" {by}" if by else ""
    return {
        "event": f"holds the event{at} and not its absence",
        "no event": f"holds the absence of the event{at} and not the event",
        "either": f"holds the event{at} and its absence: the model cannot tell for this patient",
        "neither": "is empty: this patient is unlike the training patients with the event and those without it, do not "
        "rely on the risk",
    }[label]
