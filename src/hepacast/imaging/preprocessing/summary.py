"""What was done to the images of a study before they were measured, in numbers and pictures."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from hepacast.core.records import Record


@dataclass(frozen=True)
class RegistrationSummary(Record):
    """Registration of one sequence over the patients: medians, the largest displacement, what became of it.

    `n_kept` stayed where the headers say, `n_doubtful` were moved and should be looked at, `used` counts the last step
    that was taken.
    """

    mutual_information_before: float
    mutual_information_after: float
    displacement_mm: float
    largest_displacement_mm: float
    n: int
    n_kept: int
    n_doubtful: int = 0
    shift_mm: float = math.nan
    used: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class RegisteredImage(Record):
    """One patient's registration of one sequence, as `Registration` has it; `doubt` is empty where there is none."""

    patient: str
    sequence: str
    used: str
    shift_mm: float
    displacement_mm: float
    mutual_information_before: float
    mutual_information_after: float
    covered: float
    doubt: str


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
    registered: list[RegisteredImage] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
