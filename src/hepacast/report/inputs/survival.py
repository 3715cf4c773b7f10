"""What the report reads of the models of a time-to-event study: `modelling/survival*.json`."""

from __future__ import annotations

from dataclasses import dataclass, field

from hepacast.core.estimates import Estimate
from hepacast.report.inputs.modelling import Share


@dataclass(frozen=True)
class HazardScale:
    """A hazard (or odds) ratio for a stated change of the variable."""

    label: str
    ratio: float
    low: float
    high: float


@dataclass(frozen=True)
class HazardTerm:
    """One term: log ratio per unit, ratio with limits, P; `reason` says why there is no estimate.

    `p_predictor`, of the first level of a predictor of several: P of all of them together.
    """

    name: str
    label: str
    coefficient: float
    ratio: float
    low: float
    high: float
    p: float
    se: float = float("nan")
    unit: str | None = None
    scales: list[HazardScale] = field(default_factory=list)
    numeric: bool = False
    p_predictor: float = float("nan")
    n: int = 0
    method: str = ""
    reason: str | None = None


@dataclass(frozen=True)
class ProportionalTest:
    """Test of proportional hazards of one term, or of all."""

    label: str
    chi2: float
    df: int
    p: float


@dataclass(frozen=True)
class BaselineAt:
    """Survival of a patient with the mean of every term."""

    time: float
    survival: float


@dataclass(frozen=True)
class HazardModel:
    """A Cox, Firth, Fine-Gray or weighted logistic model.

    Parameters
    ----------
    kind
        ``cox`` or ``logistic``.
    method
        ``cox``, ``cox-firth``, ``fine-gray``, ``baseline only``, ``ipcw``, ``intercept only``.
    """

    kind: str
    method: str
    terms: list[HazardTerm]
    n: int
    events: int
    status: str = "ok"
    reason: str | None = None
    intercept: float = float("nan")
    zph: list[ProportionalTest] = field(default_factory=list)
    baseline: list[BaselineAt] = field(default_factory=list)
    horizon: float = float("nan")
    n_censored: int = 0


@dataclass(frozen=True)
class BinaryStates:
    """Who is known at the binary model's horizon: events, free of it, censored before (weight 0)."""

    horizon: float
    events: int
    free: int
    censored: int
    largest_weight: float = float("nan")
    selected: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Cut:
    """Cut-off of the risk groups."""

    value: float
    rule: str
    p: float = float("nan")
    note: str = ""


@dataclass(frozen=True)
class SurvivalModelsInfo:
    """`modelling/survival.json`."""

    end_point: str
    event: str
    unit: str
    horizons: list[float]
    names: list[str]
    main: str
    models: dict[str, HazardModel]
    cuts: dict[str, Cut]
    selection: str = "independent"
    alpha: float = 0.05
    confidence: float = 0.95
    before_horizon: bool = False
    competing: bool = False
    notes: dict[str, str] = field(default_factory=dict)
    univariate: list[HazardTerm] = field(default_factory=list)
    multivariate: HazardModel | None = None
    selected: list[str] = field(default_factory=list)
    binary: BinaryStates | None = None
    cause_specific: HazardModel | None = None


@dataclass(frozen=True)
class NestedC:
    """C of the whole chain in nested cross-validation, mean within folds."""

    c: Estimate
    folds: int
    repeats: int
    per_repeat: list[float] = field(default_factory=list)
    n_failed: int = 0


@dataclass(frozen=True)
class OptimismC:
    """Bootstrap optimism of C (Harrell)."""

    apparent: float
    optimism: float
    corrected: Estimate
    resamples: int
    n_failed: int = 0
    slope: float = float("nan")
    plus_632: float = float("nan")
    reason: str | None = None


@dataclass(frozen=True)
class ModelC:
    """How one model was validated."""

    nested: NestedC | None = None
    bootstrap: OptimismC | None = None
    usual: Estimate | None = None


@dataclass(frozen=True)
class NullC:
    """C of the whole chain with follow-up dealt at random."""

    model: str
    null: list[float]
    observed: float
    p: float


@dataclass(frozen=True)
class SurvivalValidation:
    """`modelling/survival_validation.json`."""

    models: dict[str, ModelC]
    permutation: NullC | None = None


@dataclass(frozen=True)
class RiskBy:
    """Risk of the example patient by one horizon."""

    time: float
    risk: float
    low: float = float("nan")
    high: float = float("nan")


@dataclass(frozen=True)
class SurvivalExample:
    """The patient worked through on the nomogram."""

    patient: str
    horizons: list[RiskBy]
    observed: str = ""
    shares: list[Share] = field(default_factory=list)


@dataclass(frozen=True)
class Survival:
    """The models of a time-to-event study."""

    models: SurvivalModelsInfo
    validation: SurvivalValidation
    example: SurvivalExample | None = None
