"""`PlantedTruth`: what was planted in virtual patients, as it stands beside the estimates."""

from __future__ import annotations

from dataclasses import dataclass, field

from hepacast.core.records import Record


@dataclass(frozen=True)
class PlantedEffect(Record):
    """One planted effect of a virtual cohort: log odds per unit or per SD, as the label says."""

    label: str
    coefficient: float


@dataclass(frozen=True)
class PlantedTruth(Record):
    """`cohort/truth.json`, only for virtual patients: what was planted.

    Parameters
    ----------
    planted
        False where no effect was planted: then every AUC should be 0.50.
    bayes_auc
        AUC of the true risk, by set: no model can be better in the long run.
    terms
        The planted effects.
    description
        One sentence on the truth.
    """

    planted: bool
    bayes_auc: dict[str, float]
    terms: list[PlantedEffect] = field(default_factory=list)
    description: str = ""
