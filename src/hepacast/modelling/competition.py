"""Classifiers and networks that competed for a score, and what was chosen."""

from __future__ import annotations

from dataclasses import dataclass, field

from hepacast.core.estimates import Estimate
from hepacast.core.records import Record


@dataclass(frozen=True)
class Competitor(Record):
    """One classifier or network that competed for a score.

    Parameters
    ----------
    inner_auc
        In the inner folds of all training patients: what decides in the final models.
    nested
        Cross-validated: mean of the folds, with limits.
    sets
        AUC in the other sets.
    times_chosen
        In how many outer folds the inner result chose it.
    chosen
        Whether it is in the final models; of averaged ones, each that tells anything is.
    """

    score: str
    name: str
    kind: str
    inner_auc: float
    nested: Estimate
    sets: dict[str, float] = field(default_factory=dict)
    times_chosen: int = 0
    chosen: bool = False


@dataclass(frozen=True)
class Choice(Record):
    """A score as it was chosen within each outer fold: AUC of the choice itself, and of the final choice elsewhere."""

    score: str
    nested: Estimate
    sets: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainedVariant(Record):
    """One network: how many trainings, its size, epochs of each, seconds in all, losses by epoch."""

    name: str
    trainings: int
    parameters: int
    epochs: list[int]
    seconds: float
    curves: list[dict[str, list[float]]] = field(default_factory=list)


@dataclass(frozen=True)
class FusionResult(Record):
    """`modelling/fusion.json`; `competition`: which of the competitors makes a score (`FusionSpec`)."""

    folds: int
    competitors: list[Competitor]
    choices: list[Choice] = field(default_factory=list)
    networks: list[TrainedVariant] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)
    competition: str = "best"
