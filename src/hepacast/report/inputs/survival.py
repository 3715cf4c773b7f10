"""What the report reads of the models of a time-to-event study: `modelling/survival*.json`."""

from __future__ import annotations

from dataclasses import dataclass, field

from hepacast.report.inputs.modelling import FittedModel, Share, Term


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
    models: dict[str, FittedModel]
    cuts: dict[str, Cut]
    selection: str = "independent"
    alpha: float = 0.05
    confidence: float = 0.95
    before_horizon: bool = False
    competing: bool = False
    notes: dict[str, str] = field(default_factory=dict)
    univariate: list[Term] = field(default_factory=list)
    multivariate: FittedModel | None = None
    selected: list[str] = field(default_factory=list)
    binary: BinaryStates | None = None
    cause_specific: FittedModel | None = None


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
    example: SurvivalExample | None = None
