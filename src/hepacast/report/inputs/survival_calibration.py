"""Calibration of a survival model's risk by one horizon, as the report reads it."""

from __future__ import annotations

from dataclasses import dataclass, field

from hepacast.report.inputs.evaluation import CalibrationGroup, SmoothCurve
from hepacast.report.inputs.modelling import Estimate


@dataclass(frozen=True)
class SurvivalCalibrationInfo:
    """Calibration of one model at one horizon; `reason` where it cannot be judged."""

    observed_expected: Estimate | None = None
    slope: Estimate | None = None
    ici: float = float("nan")
    e50: float = float("nan")
    e90: float = float("nan")
    groups: list[CalibrationGroup] = field(default_factory=list)
    smooth: SmoothCurve | None = None
    notes: list[str] = field(default_factory=list)
    reason: str | None = None
