"""What a network is to learn, patient by patient; what is not known of a patient is left out of the loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hepacast.core.seeds import rng
from hepacast.errors import ModelError, OutcomeError

Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Targets:
    """Outcomes and masks of n patients.

    Parameters
    ----------
    outcome
        Shape (n,): 1 event, 0 none, NaN not known. For ``cox`` and ``hazard`` whether the event was seen.
    time
        Shape (n,): time to event or last contact; NaN not known. Only for ``cox`` and ``hazard``.
    masks
        Shape (n, z, y, x), boolean or 0/1, on the crops' grid; any array that gives one patient for one index.
    has_mask
        Shape (n,): whether there is a mask to learn from; all when left out.
    covariates
        Shape (n, p): clinical values; NaN is filled with the training mean.
    """

    outcome: Floats
    time: Floats | None = None
    masks: Any = None
    has_mask: npt.NDArray[np.bool_] | None = None
    covariates: Floats | None = None

    def __post_init__(self) -> None:
        n = len(self.outcome)
        for name in ("time", "masks", "has_mask", "covariates"):
            value = getattr(self, name)
            if value is not None and len(value) != n:
                raise ModelError(
                    f"The targets' {name} do not fit the outcomes.", expected=f"{n} patients", found=str(len(value))
                )
        known = np.asarray(self.outcome, dtype=float)
        if not np.isin(known[np.isfinite(known)], (0.0, 1.0)).all():
            raise OutcomeError("An outcome to learn must be 0, 1 or not known (NaN).")

    def __len__(self) -> int:
        return len(self.outcome)

    @property
    def labelled(self) -> npt.NDArray[np.bool_]:
        """Who has an outcome, shape (n,)."""
        known = np.isfinite(np.asarray(self.outcome, dtype=float))
        return known if self.time is None else known & np.isfinite(np.asarray(self.time, dtype=float))

    @property
    def masked(self) -> npt.NDArray[np.bool_]:
        """Who has a mask, shape (n,)."""
        if self.masks is None:
            return np.zeros(len(self), dtype=bool)
        return np.ones(len(self), dtype=bool) if self.has_mask is None else np.asarray(self.has_mask, dtype=bool)


def inner_split(targets: Targets, rows: Rows, fraction: float, seed: int) -> tuple[Rows, Rows]:
    """Patients to fit and patients to stop by, the outcomes spread evenly over both."""
    if fraction <= 0:
        return rows, rows[:0]
    outcome = np.nan_to_num(np.asarray(targets.outcome, dtype=float)[rows], nan=2.0)
    order = rng(seed, "inner").permutation(len(rows))
    order = order[np.argsort(outcome[order], kind="stable")]
    every = max(2, round(1.0 / fraction))
    chosen = np.zeros(len(rows), dtype=bool)
    chosen[order[every // 2 :: every]] = True
    return rows[~chosen], rows[chosen]
