"""`RadiomicsSummary`: what was measured, with which settings, and what has no value."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hepacast.core.records import Record
from hepacast.imaging.remarks import ImageRemark


@dataclass(frozen=True)
class RadiomicsSummary(Record):
    """`radiomics/summary.json`.

    Parameters
    ----------
    engine
        Name and version of what computed the values, or ``feature table``.
    settings, settings_hash
        All settings, and their SHA-256.
    vois
        Names of the volumes of interest.
    features_per_voi, n_features
        Features of each (by name, of a table), and in all.
    status_counts
        Values by status (``ok``, ``failed``...).
    failed_patients
        Patients of whom a volume of interest could not be measured.
    undefined
        Values of the other patients that their formula does not define: ``values``, ``features``, ``patients``.
    image_types
        ``original``, ``wavelet`` ...
    gray_levels
        VOIs with too few or too many gray levels at the settings' bin width.
    """

    engine: str
    n_features: int
    vois: list[str]
    features_per_voi: dict[str, int] | int | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    settings_hash: str = ""
    status_counts: dict[str, int] = field(default_factory=dict)
    failed_patients: int = 0
    undefined: dict[str, int] = field(default_factory=dict)
    image_types: list[str] | dict[str, Any] | None = None
    gray_levels: list[ImageRemark] = field(default_factory=list)
