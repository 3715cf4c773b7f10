"""Negative controls: what the whole chain finds where there is nothing to find."""

from __future__ import annotations

from dataclasses import dataclass, field

from hepacast.core.records import Record


@dataclass(frozen=True)
class NoiseModel(Record):
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
class NoiseControl(Record):
    """One control of the table."""

    control: str
    rounds: int
    models: dict[str, NoiseModel]


@dataclass(frozen=True)
class NoiseImages(Record):
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
class Noise(Record):
    """`noise/noise.json`."""

    folds: int
    controls: list[NoiseControl]
    made_from: dict[str, str]
    images: list[NoiseImages] = field(default_factory=list)
    measure: str = "AUC"
