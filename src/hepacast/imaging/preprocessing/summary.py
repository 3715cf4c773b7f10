"""What was done to the MR images of a study, in numbers and pictures."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hepacast.core.records import Record


@dataclass(frozen=True)
class RegistrationSummary(Record):
    """Registration of one sequence over the patients: medians, the largest displacement, how many were kept."""

    mutual_information_before: float
    mutual_information_after: float
    displacement_mm: float
    largest_displacement_mm: float
    n: int
    n_kept: int


@dataclass(frozen=True)
class PreprocessingSummary(Record):
    """By sequence: median spread of the bias field's logarithm, and the registration."""

    bias_spread: dict[str, float] = field(default_factory=dict)
    registration: dict[str, RegistrationSummary] = field(default_factory=dict)


@dataclass(frozen=True)
class CheckPicture(Record):
    """A picture of one patient's registration, in the stage's folder."""

    patient: str
    file: str


@dataclass(frozen=True)
class Preprocessing(Record):
    """`preprocessing/preprocessing.json`."""

    reference: str
    summary: PreprocessingSummary
    pictures: list[CheckPicture] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
