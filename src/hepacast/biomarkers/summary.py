"""`BiomarkerSummary`: what was measured of a study's patients, what is missing, and how it agrees with what readers
recorded."""

from __future__ import annotations

from dataclasses import dataclass, field

from hepacast.core.estimates import Estimate
from hepacast.core.records import Record


@dataclass(frozen=True)
class MeasuredBiomarker(Record):
    """One biomarker that is a candidate, over all patients.

    Parameters
    ----------
    name, label, unit
        As in tables and models.
    n, missing
        Patients with and without a value.
    median, q1, q3
        Of the values.
    """

    name: str
    label: str
    unit: str
    n: int
    missing: int
    median: float
    q1: float
    q3: float


@dataclass(frozen=True)
class RecordedAgreement(Record):
    """A number or stage that readers recorded beside the biomarker that measures the same.

    Parameters
    ----------
    recorded
        What was recorded.
    measure
        ``ICC`` (absolute agreement, single measure), or ``weighted kappa``.
    agreement
        Its value with limits; where there is none the reason.
    n
        Patients that have both.
    difference
        Mean of measured minus recorded; of stages in steps.
    """

    recorded: str
    measure: str
    agreement: Estimate
    n: int
    difference: float


@dataclass(frozen=True)
class BiomarkerSummary(Record):
    """`biomarkers/summary.json`.

    Parameters
    ----------
    candidates
        Every biomarker that models may hold.
    left_out
        Others that were asked for, with the reason.
    recorded
        Agreement with what the table has recorded.
    """

    candidates: list[MeasuredBiomarker] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    recorded: list[RecordedAgreement] = field(default_factory=list)
