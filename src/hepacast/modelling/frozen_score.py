"""The Radscore as plain numbers: a linear combination of features, with everything that comes before it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd

from hepacast.core.entries import Entry, require
from hepacast.errors import ModelError
from hepacast.modelling.base import Array, listed

#: Columns of scores in the models that build on them: of the radiomics chain, and of networks.
RADSCORE, DL_SCORE = "Radscore", "DL score"
#: Columns of features that a network learned are called ``deep:1``, ``deep:2``, ...
DEEP_PREFIX = "deep:"


def learned_by_networks(column: str) -> bool:
    """Whether a column of a model is the score of networks, or a feature that they learned."""
    return column == DL_SCORE or column.startswith(DEEP_PREFIX)


@dataclass(frozen=True)
class ScoreFeature:
    """One feature of the score.

    Attributes
    ----------
    name
        Column of the feature table.
    weight
        Coefficient of (value - mean) / sd.
    mean, sd
        Training mean and SD, after harmonization where there is one.
    fill
        Training median, in the feature's own unit: stands in for a missing value.
    minimum, maximum
        About the training range, in the feature's own unit (`hepacast.stats.coarse.coarse_range`).
    """

    name: str
    weight: float
    mean: float
    sd: float
    fill: float
    minimum: float
    maximum: float


@dataclass(frozen=True)
class SiteCorrection:
    """ComBat's correction of the score's features; arrays by feature, `shift` and `scale` one row a site."""

    site_column: str
    sites: tuple[str, ...]
    unseen: str
    reference: str | None
    covariates: tuple[str, ...]
    grand_mean: tuple[float, ...]
    spread: tuple[float, ...]
    covariate_effects: tuple[tuple[float, ...], ...]
    shift: tuple[tuple[float, ...], ...]
    scale: tuple[tuple[float, ...], ...]
    adjusted: tuple[bool, ...]

    def apply(self, values: Array, frame: pd.DataFrame) -> Array:
        """Corrected copy of the features (n, p); the site comes from the frame's site column."""
        missing = [name for name in (self.site_column, *self.covariates) if name not in frame.columns]
        if missing:
            raise ModelError("The harmonization's columns are missing.", found=f"no {listed(missing)}")
        numbers = {name: index for index, name in enumerate(self.sites)}
        site = frame[self.site_column].astype(str)
        unknown = sorted(set(site) - set(numbers))
        if unknown and self.unseen == "refuse":
            raise ModelError(
                "The model was not trained on patients of this site.",
                expected=listed(self.sites),
                found=listed(unknown),
            )
        other = numbers.get(str(self.reference), -1) if self.unseen == "reference" else -1
        rows = np.array([numbers.get(name, other) for name in site], dtype=np.int64)
        known = rows >= 0
        covariates = frame[list(self.covariates)].to_numpy(dtype=float)
        mean = np.array(self.grand_mean) + covariates @ np.array(self.covariate_effects).reshape(-1, values.shape[1])
        spread = np.array(self.spread)
        shift, scale = np.array(self.shift)[rows], np.array(self.scale)[rows]
        corrected = ((values - mean) / spread - shift) / np.sqrt(scale) * spread + mean
        return np.where(known[:, None] & np.array(self.adjusted), corrected, values)


@dataclass(frozen=True)
class FrozenScore:
    """Radscore = intercept + sum of weight x (feature - mean) / sd.

    Attributes
    ----------
    features
        In the order of decreasing |weight|.
    correction
        Harmonization that comes first; None without.
    status, note
        ``ok``, or ``no signal`` with the reason; the score is then the intercept for everybody.
    """

    intercept: float
    features: tuple[ScoreFeature, ...]
    correction: SiteCorrection | None = None
    status: str = "ok"
    note: str = ""

    is_linear: ClassVar[bool] = True

    @property
    def inputs(self) -> FrozenScore:
        """What is done to the features: the score itself."""
        return self

    @property
    def names(self) -> list[str]:
        """Features that the score reads."""
        return [feature.name for feature in self.features]

    def values(self, frame: pd.DataFrame) -> Array:
        """Features as measured, missing ones filled, shape (n, features)."""
        missing = [name for name in self.names if name not in frame.columns]
        if missing:
            raise ModelError(
                "Features of the Radscore are missing.",
                expected=f"{len(self.features)} features",
                found=f"no {listed(missing)}",
                remedy="extract the features with the settings that the model was trained with",
            )
        values = frame[self.names].to_numpy(dtype=float)
        fill = np.array([feature.fill for feature in self.features])
        return np.where(np.isfinite(values), values, fill)

    def shares(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Each feature's part of the score, weight x (value - mean) / sd; columns are the features' names."""
        values = self.values(frame)
        if self.correction is not None:
            values = self.correction.apply(values, frame)
        center = np.array([feature.mean for feature in self.features])
        spread = np.array([feature.sd for feature in self.features])
        weight = np.array([feature.weight for feature in self.features])
        return pd.DataFrame((values - center) / spread * weight, index=frame.index, columns=self.names)

    def score(self, frame: pd.DataFrame) -> Array:
        """The Radscore of each row, shape (n,)."""
        if not self.features:
            return np.full(len(frame), self.intercept)
        return self.intercept + self.shares(frame).to_numpy().sum(axis=1)

    def formula(self, units: Literal["z", "original"] = "z", digits: int = 4) -> str:
        """The formula as text, of Z-scored features or in their own units.

        In own units there is one formula only without harmonization; with it, the features are the harmonized ones.
        """
        intercept = self.intercept
        parts = []
        for feature in self.features:
            weight = feature.weight
            name = f"z({feature.name})"
            if units == "original":
                weight = feature.weight / feature.sd
                intercept -= weight * feature.mean
                name = feature.name
            parts.append(f"{'-' if weight < 0 else '+'} {abs(weight):.{digits}g} x {name}")
        return " ".join([f"Radscore = {intercept:.{digits}g}", *parts])

    def unusual(self, frame: pd.DataFrame) -> list[dict[str, Any]]:
        """Feature values that are missing or outside the training range."""
        found: list[dict[str, Any]] = []
        for feature in self.features:
            for row, value in frame[feature.name].items():
                if not np.isfinite(value):
                    problem = "missing; the training median stands in for it"
                elif not feature.minimum <= value <= feature.maximum:
                    problem = f"outside the training range, {feature.minimum:.4g} to {feature.maximum:.4g}"
                else:
                    continue
                unknown = not np.isfinite(value)
                found.append({"row": row, "name": feature.name, "value": value, "problem": problem, "unknown": unknown})
        return found

    def to_dict(self) -> dict[str, Any]:
        """JSON-able description, complete."""
        return {
            "intercept": self.intercept,
            "features": [asdict(feature) for feature in self.features],
            "correction": None if self.correction is None else asdict(self.correction),
            "status": self.status,
            "note": self.note,
        }

    @classmethod
    def from_dict(cls, entry: Mapping[str, Any], place: str = "score") -> FrozenScore:
        """The inverse of `to_dict`, also after a journey through JSON.

        Raises
        ------
        ModelError
            A value is not of its kind, or impossible; the message names it within `place`.
        """
        own = Entry(entry, place)
        features = tuple(_feature(item) for item in own.entries("features"))
        correction = own.raw("correction")
        return cls(
            intercept=own.number("intercept"),
            features=features,
            correction=None if correction is None else _correction(own.entry("correction"), len(features)),
            status=own.text("status"),
            note=own.text("note"),
        )


def _feature(entry: Entry) -> ScoreFeature:
    name = entry.text("name")
    values = {key: entry.number(key) for key in ("weight", "mean", "sd", "fill", "minimum", "maximum")}
    require(values["sd"] > 0, entry.at("sd"), "above 0", values["sd"])
    require(values["minimum"] <= values["maximum"], entry.at("maximum"), "at least the minimum", values["maximum"])
    return ScoreFeature(name, **values)


def _correction(entry: Entry, p: int) -> SiteCorrection:
    """ComBat's numbers: p features, one row of shift and scale a site."""
    sites, covariates = entry.texts("sites"), entry.texts("covariates")
    spread, scale = entry.numbers("spread", p), entry.matrix("scale", len(sites), p)
    require(min(spread, default=1.0) > 0, entry.at("spread"), "above 0", spread)
    require(min((min(row, default=1.0) for row in scale), default=1.0) > 0, entry.at("scale"), "above 0", scale)
    adjusted = entry.raw("adjusted")
    good = isinstance(adjusted, list | tuple) and len(adjusted) == p and all(isinstance(x, bool) for x in adjusted)
    require(good, entry.at("adjusted"), f"{p} times true or false", adjusted)
    return SiteCorrection(
        site_column=entry.text("site_column"),
        sites=sites,
        unseen=entry.text("unseen", ("refuse", "pooled", "reference")),
        reference=None if entry.raw("reference") is None else entry.text("reference"),
        covariates=covariates,
        grand_mean=entry.numbers("grand_mean", p),
        spread=spread,
        covariate_effects=entry.matrix("covariate_effects", len(covariates), p),
        shift=entry.matrix("shift", len(sites), p),
        scale=scale,
        adjusted=tuple(adjusted),
    )
