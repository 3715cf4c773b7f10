"""`ImageRemark`: what is not plausible about a patient's image or mask, as results hold it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hepacast.core.records import Record


@dataclass(frozen=True)
class ImageRemark(Record):
    """What is not plausible about a patient's image and mask (`hepacast.segmentation.plausibility.Remark`)."""

    patient: str
    severity: Literal["doubtful", "impossible"]
    code: str
    structure: str
    problem: str
    detail: str = ""
