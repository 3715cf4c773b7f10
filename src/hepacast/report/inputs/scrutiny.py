"""What the report reads from the `scrutiny.json` files and from the negative controls (`noise/noise.json`)."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class CenterRow:
    """One center, predicted by models of the others."""

    model: str
    center: str
    n: int
    events: int
    auc: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    slope: float = float("nan")
    intercept: float = float("nan")
    reason: str | None = None


@dataclass(frozen=True)
class LearningRow:
    """AUC in held-out folds after training on a share of the others."""

    model: str
    share: float
    n_train: float
    auc: float
    sd: float = float("nan")
    n_failed: int = 0


@dataclass(frozen=True)
class ImportanceRow:
    """Loss of AUC in held-out folds when one predictor is shuffled."""

    model: str
    name: str
    loss: float
    sd: float = float("nan")


@dataclass(frozen=True)
class ShapleyRow:
    """Mean absolute Shapley value of a feature or group; `direction`: rho of value and contribution."""

    name: str
    mean_absolute: float
    features: int = 1
    direction: float = float("nan")


@dataclass(frozen=True)
class Centers:
    """Leave one center out; empty rows with the reason."""

    rows: list[CenterRow]
    reason: str | None = None


@dataclass(frozen=True)
class Learning:
    """The learning curve; empty rows with the reason."""

    rows: list[LearningRow]
    reason: str | None = None


@dataclass(frozen=True)
class Importance:
    """Permutation importance; empty rows with the reason."""

    rows: list[ImportanceRow]
    reason: str | None = None


@dataclass(frozen=True)
class Shapley:
    """Shapley values of the radiomics score; empty rows with the reason."""

    rows: list[ShapleyRow]
    reason: str | None = None
    patients: int = 0


@dataclass(frozen=True)
class ModelScrutiny:
    """`modelling/scrutiny.json`."""

    centers: Centers
    learning_curve: Learning
    importance: Importance
    shapley: Shapley


@dataclass(frozen=True)
class SubgroupRow:
    """One level of a grouping."""

    group: str
    level: str
    n: int
    events: int
    auc: float = float("nan")
    auc_low: float = float("nan")
    auc_high: float = float("nan")
    auc_se: float = float("nan")
    brier: float = float("nan")
    observed_expected: float = float("nan")
    citl: float = float("nan")
    slope: float = float("nan")
    slope_low: float = float("nan")
    slope_high: float = float("nan")
    reason: str = ""
    p_auc: float = float("nan")


@dataclass(frozen=True)
class Subgroups:
    """The main model in subgroups of the judged set."""

    rows: list[SubgroupRow]
    set: str = ""
    reason: str | None = None


@dataclass(frozen=True)
class MethodRow:
    """One change of the calibration: new log odds = intercept + slope x old; P against the largest change."""

    method: str
    intercept: float = float("nan")
    slope: float = float("nan")
    p: float = float("nan")
    mean_risk: float = float("nan")
    brier: float = float("nan")
    reason: str | None = None


@dataclass(frozen=True)
class RecalibrationInfo:
    """What a new set's patients would have changed."""

    set: str
    n: int
    events: int
    chosen: str | None = None
    reason: str | None = None
    methods: list[MethodRow] = field(default_factory=list)


@dataclass(frozen=True)
class CoverageRow:
    """Conformal sets of one set: coverage in each class, and the shares of the four answers."""

    set: str
    n: int
    n_events: int | None = None
    n_others: int | None = None
    coverage_events: float = float("nan")
    coverage_others: float = float("nan")
    event: float = float("nan")
    no_event: float = float("nan")
    either: float = float("nan")
    neither: float = float("nan")


@dataclass(frozen=True)
class ConformalInfo:
    """Conformal sets; `patients` holds each new patient's answer."""

    level: float
    rows: list[CoverageRow] = field(default_factory=list)
    reason: str | None = None
    calibration: dict[str, list[float]] | None = None
    patients: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PredictionScrutiny:
    """`evaluation/scrutiny.json`."""

    model: str
    subgroups: Subgroups
    recalibration: list[RecalibrationInfo]
    conformal: ConformalInfo


@dataclass(frozen=True)
class NoiseModel:
    """AUCs (of time to an event: C) of one model where there is nothing to find."""

    null: list[float]
    mean: float = float("nan")
    se: float = float("nan")
    sd: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    observed: float = float("nan")
    p: float = float("nan")
    verdict: str | None = None
    sentence: str | None = None


@dataclass(frozen=True)
class NoiseControl:
    """One control of the table."""

    control: str
    rounds: int
    models: dict[str, NoiseModel]


@dataclass(frozen=True)
class NoiseImages:
    """One control with images."""

    control: str
    left: str
    verdict: str
    sentence: str
    value: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    p: float = float("nan")


@dataclass(frozen=True)
class Noise:
    """`noise/noise.json`."""

    folds: int
    controls: list[NoiseControl]
    made_from: dict[str, str]
    images: list[NoiseImages] = field(default_factory=list)
    measure: str = "AUC"
