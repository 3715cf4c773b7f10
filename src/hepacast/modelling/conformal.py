"""Conformal sets: for one patient, the outcomes that cannot be ruled out at a stated error rate.

Class-conditional (Mondrian) conformal prediction from out-of-fold risks: among patients like those of training, the set
misses the true outcome in at most `alpha` of the events and of the non-events each, whatever the model is worth.
Source: Vovk, Gammerman, Shafer. Algorithmic Learning in a Random World, 2005; out-of-fold scores as in Vovk 2015
(cross-conformal).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from hepacast.errors import OutcomeError
from hepacast.modelling.base import Array, as_outcome


@dataclass(frozen=True)
class ConformalSets:
    """Out-of-fold risks of the training patients, sorted, by class.

    Attributes
    ----------
    events, others
        Out-of-fold risks of patients with and without the event.
    """

    events: tuple[float, ...]
    others: tuple[float, ...]

    @classmethod
    def from_out_of_fold(cls, y: ArrayLike, risk: ArrayLike) -> ConformalSets:
        """From each training patient's outcome and out-of-fold risk (`OutOfFold.mean_risk`); missing ones are left out.

        Raises
        ------
        OutcomeError
            A class has no patient with a risk.
        """
        values = np.asarray(risk, dtype=float)
        outcome = as_outcome(y, len(values))
        known = np.isfinite(values)
        events, others = np.sort(values[known & (outcome == 1)]), np.sort(values[known & (outcome == 0)])
        if not len(events) or not len(others):
            raise OutcomeError("Conformal sets need out-of-fold risks of both classes.")
        return cls(tuple(events.tolist()), tuple(others.tolist()))

    def p_values(self, risk: ArrayLike) -> Array:
        """How well each new risk fits the non-events and the events, shape (n, 2): conformal P values."""
        new = np.atleast_1d(np.asarray(risk, dtype=float))
        events, others = np.array(self.events), np.array(self.others)
        # A non-event fits badly when its risk is high, an event when it is low.
        as_other = (1 + len(others) - np.searchsorted(others, new, side="left")) / (1 + len(others))
        as_event = (1 + np.searchsorted(events, new, side="right")) / (1 + len(events))
        return np.column_stack([as_other, as_event])

    def sets(self, risk: ArrayLike, alpha: float = 0.1) -> pd.DataFrame:
        """One row a patient: whether ``no event`` and ``event`` remain possible, and the P values.

        Both: the model cannot tell. Neither: unlike the training patients of either class.
        """
        p = self.p_values(risk)
        index = risk.index if isinstance(risk, pd.Series) else None
        return pd.DataFrame(
            {"no_event": p[:, 0] > alpha, "event": p[:, 1] > alpha, "p_no_event": p[:, 0], "p_event": p[:, 1]},
            index=index,
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON-able description."""
        return {"events": list(self.events), "others": list(self.others)}

    @classmethod
    def from_dict(cls, entry: Mapping[str, Any]) -> ConformalSets:
        """The inverse of `to_dict`."""
        return cls(tuple(entry["events"]), tuple(entry["others"]))
