"""What a study's networks are and what was found out about them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from hepacast.core.estimates import Estimate
from hepacast.core.records import Record


@dataclass(frozen=True)
class NetworkFacts(Record):
    """One network as trained; lists have one entry a fold."""

    kind: str
    encoder: str
    dimensions: str
    width: int
    stages: int
    parameters: int
    epochs: list[int]
    n_labelled: list[int]
    n_masked: list[int]
    seconds: list[float]
    device: str = "cpu"


@dataclass(frozen=True)
class DiceRow(Record):
    """Agreement of one patient's predicted mask with the expert's.

    `on_expert`: on a crop centered on the expert's mask, where the study's crops are centered on predicted ones.
    """

    patient: str
    set: str
    model: str
    dice: float
    hd95_mm: float = float("nan")
    volume_difference_pct: float = float("nan")
    on_expert: bool = False


@dataclass(frozen=True)
class DiceTest(Record):
    """Wilcoxon's signed-rank test of two networks' Dice in one set."""

    set: str
    first: str
    second: str
    n: int
    mean_first: float
    mean_second: float
    difference: float
    p: float = float("nan")


@dataclass(frozen=True)
class ControlRow(Record):
    """AUC on altered images."""

    control: str
    words: str
    auc: Estimate
    p: float = float("nan")
    n: int = 0


@dataclass(frozen=True)
class ExplainedPatient(Record):
    """Maps of one patient, two-dimensional arrays of one slice."""

    patient: str
    set: str
    outcome: int
    score: float
    image: list[list[float]]
    mask: list[list[int]]
    grad_cam: list[list[float]]
    occlusion: list[list[float]]
    spacing_mm: list[float] = field(default_factory=lambda: [1.0, 1.0])
    why: str = ""
    n_networks: int = 1


@dataclass(frozen=True)
class PermutedNetwork(Record):
    """AUCs of the main network when it was trained on permuted outcomes."""

    model: str
    aucs: list[float]
    mean: float
    standard_error: float


@dataclass(frozen=True)
class AdjustedRow(Record):
    """One term of a Cox model of the risk group and clinical factors."""

    set: str
    label: str
    hazard_ratio: float
    low: float
    high: float
    p: float
    n: int = 0
    events: int = 0


@dataclass(frozen=True)
class DeepResults(Record):
    """`deep/deep.json`."""

    folds: int
    n_training: int
    networks: dict[str, NetworkFacts]
    histories: dict[str, Any] = field(default_factory=dict)
    crop: dict[str, Any] = field(default_factory=dict)
    dice: list[DiceRow] = field(default_factory=list)
    dice_tests: list[DiceTest] = field(default_factory=list)
    controls: list[ControlRow] = field(default_factory=list)
    explained: list[ExplainedPatient] = field(default_factory=list)
    permutation: PermutedNetwork | None = None
    adjusted: list[AdjustedRow] = field(default_factory=list)
    structure: str = "tumor"
    centered: str = ""

    @property
    def seen(self) -> str:
        """What the crops are centered on, in a word: tumor, liver or VOI."""
        names = set(re.findall(r"[a-z]+", str(self.crop.get("voi", "tumor")).lower())) - {"largest"}
        if names == {"tumor"}:
            return "tumor"
        return "liver" if names & {"liver", "parenchyma"} else "VOI"
