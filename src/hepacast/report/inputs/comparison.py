"""What the report reads of MR preprocessing and of competing networks and classifiers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hepacast.core.estimates import Estimate


@dataclass(frozen=True)
class RegistrationSummary:
    """Registration of one sequence over the patients: medians, the largest displacement, how many were kept."""

    mutual_information_before: float
    mutual_information_after: float
    displacement_mm: float
    largest_displacement_mm: float
    n: int
    n_kept: int


@dataclass(frozen=True)
class PreprocessingSummary:
    """By sequence: median spread of the bias field's logarithm, and the registration."""

    bias_spread: dict[str, float] = field(default_factory=dict)
    registration: dict[str, RegistrationSummary] = field(default_factory=dict)


@dataclass(frozen=True)
class CheckPicture:
    """A picture of one patient's registration, in the stage's folder."""

    patient: str
    file: str


@dataclass(frozen=True)
class Preprocessing:
    """`preprocessing/preprocessing.json`."""

    reference: str
    summary: PreprocessingSummary
    pictures: list[CheckPicture] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Competitor:
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
        Whether it is in the final models.
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
class Choice:
    """A score as it was chosen within each outer fold: AUC of the choice itself, and of the final choice elsewhere."""

    score: str
    nested: Estimate
    sets: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainedVariant:
    """One network: how many trainings, its size, epochs of each, seconds in all, losses by epoch."""

    name: str
    trainings: int
    parameters: int
    epochs: list[int]
    seconds: float
    curves: list[dict[str, list[float]]] = field(default_factory=list)


@dataclass(frozen=True)
class FusionResult:
    """`modelling/fusion.json`."""

    folds: int
    competitors: list[Competitor]
    choices: list[Choice] = field(default_factory=list)
    networks: list[TrainedVariant] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)
