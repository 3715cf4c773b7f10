"""Conformal prediction for one patient: which outcomes cannot be ruled out at a stated error rate.

References
----------
Vovk V, Gammerman A, Shafer G. Algorithmic Learning in a Random World, 2005 (Mondrian, i.e. class-conditional form).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from hepacast.errors import ModelError
from hepacast.evaluation.predictions import Array, probability, risks, score_array


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

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "label": self.label,
            "p_event": self.p_event,
            "p_no_event": self.p_no_event,
            "event_possible": self.event_possible,
            "no_event_possible": self.no_event_possible,
            "level": self.level,
        }


@dataclass(frozen=True)
class Conformal:
    """A calibrated conformal predictor: sorted risks of calibration patients, by outcome.

    Made from predictions for patients that the model had not seen (out-of-fold or a held-out set); with risks of the
    patients of the fit the coverage does not hold.
    """

    events: Array
    others: Array

    def p_values(self, risk: ArrayLike) -> tuple[Array, Array]:
        """P values of event and of no event for new risks, each of shape (m,)."""
        values = np.atleast_1d(np.asarray(risk, dtype=float)).ravel()
        p = probability(score_array(values, values.size, "risk"), "risk")
        # An event patient is the stranger the lower the risk, one without the event the higher it is.
        event = (np.searchsorted(self.events, p, side="right") + 1.0) / (self.events.size + 1.0)
        other = (self.others.size - np.searchsorted(self.others, p, side="left") + 1.0) / (self.others.size + 1.0)
        return np.asarray(event, dtype=float), np.asarray(other, dtype=float)

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
        smallest = min(self.events.size, self.others.size)
        if 1.0 / (smallest + 1.0) > 1.0 - level + 1e-12:
            raise ModelError(
                "Too few calibration patients for this coverage.",
                expected=f"at least {int(np.ceil(level / (1.0 - level) - 1e-9))} of each class",
                found=str(smallest),
                remedy="ask for a lower coverage",
            )
        limit = 1.0 - level + 1e-12
        return [
            ConformalSet(float(a), float(b), bool(a > limit), bool(b > limit), float(level))
            for a, b in zip(*self.p_values(risk))
        ]

    def to_json(self) -> dict[str, Any]:
        """Plain values, enough to rebuild the predictor."""
        return {"events": self.events.tolist(), "others": self.others.tolist()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Conformal:
        """Rebuild a predictor."""
        return cls(np.asarray(values["events"], dtype=float), np.asarray(values["others"], dtype=float))


def conformal(y: ArrayLike, risk: ArrayLike) -> Conformal:
    """Calibrate a class-conditional conformal predictor.

    Parameters
    ----------
    y, risk
        Outcome and risks of calibration patients that the model had not seen.

    Raises
    ------
    OutcomeError, ModelError
        The outcome or the risks cannot be used.
    """
    outcome, p = risks(y, risk)
    return Conformal(np.sort(p[outcome == 1.0]), np.sort(p[outcome == 0.0]))
