"""What the report reads from the `survival_scrutiny.json` files of a time-to-event study."""

from __future__ import annotations

from dataclasses import dataclass, field

from hepacast.report.inputs.modelling import Estimate
from hepacast.report.inputs.scrutiny import ConformalInfo, Importance
from hepacast.report.inputs.survival_calibration import SurvivalCalibrationInfo


@dataclass(frozen=True)
class HazardCenterRow:
    """One center, predicted by models of the others: C, and calibration of the risk by the main horizon."""

    model: str
    center: str
    n: int
    events: int
    c: float = float("nan")
    c_low: float = float("nan")
    c_high: float = float("nan")
    observed_expected: float = float("nan")
    oe_low: float = float("nan")
    oe_high: float = float("nan")
    slope: float = float("nan")
    slope_low: float = float("nan")
    slope_high: float = float("nan")
    reason: str | None = None


@dataclass(frozen=True)
class HazardCenters:
    """Leave one center out; empty rows with the reason."""

    rows: list[HazardCenterRow]
    reason: str | None = None


@dataclass(frozen=True)
class HazardLearningRow:
    """C in held-out folds after training on a share of the others."""

    model: str
    share: float
    n_train: float
    c: float
    sd: float = float("nan")
    n_failed: int = 0


@dataclass(frozen=True)
class HazardLearning:
    """The learning curve; empty rows with the reason."""

    rows: list[HazardLearningRow]
    reason: str | None = None


@dataclass(frozen=True)
class HazardScrutiny:
    """`modelling/survival_scrutiny.json`."""

    horizon: float
    centers: HazardCenters
    learning_curve: HazardLearning
    importance: Importance


@dataclass(frozen=True)
class HazardSubgroupRow:
    """One level of a grouping."""

    group: str
    level: str
    n: int
    events: int
    c: float = float("nan")
    c_low: float = float("nan")
    c_high: float = float("nan")
    observed_expected: float = float("nan")
    oe_low: float = float("nan")
    oe_high: float = float("nan")
    slope: float = float("nan")
    slope_low: float = float("nan")
    slope_high: float = float("nan")
    reason: str | None = None
    p_c: float = float("nan")


@dataclass(frozen=True)
class HazardSubgroups:
    """The main model in subgroups of the judged set."""

    rows: list[HazardSubgroupRow]
    set: str = ""
    reason: str | None = None


@dataclass(frozen=True)
class HazardMethod:
    """One change of a frozen model: log of the baseline's factor, slope, P against the largest change."""

    method: str
    shift: float = float("nan")
    slope: float = float("nan")
    p: float = float("nan")
    mean_risk: float = float("nan")
    brier: float = float("nan")
    reason: str | None = None


@dataclass(frozen=True)
class HazardRecalibrationInfo:
    """What a new set's patients would have changed; calibration before and after the change that was chosen."""

    set: str
    n: int
    events: int
    chosen: str | None = None
    reason: str | None = None
    ratio: float = float("nan")
    observed: Estimate | None = None
    methods: list[HazardMethod] = field(default_factory=list)
    before: SurvivalCalibrationInfo | None = None
    after: SurvivalCalibrationInfo | None = None


@dataclass(frozen=True)
class HazardPredictionScrutiny:
    """`evaluation/survival_scrutiny.json`."""

    model: str
    horizon: float
    subgroups: HazardSubgroups
    recalibration: list[HazardRecalibrationInfo]
    conformal: ConformalInfo
