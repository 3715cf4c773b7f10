"""The survival models of a study as plain numbers: what a bundle keeps, and all that a prediction needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hepacast.core.entries import Entry, require
from hepacast.errors import ModelError
from hepacast.modelling import frozen_fusion
from hepacast.modelling.base import Array
from hepacast.modelling.cox_frozen import FrozenCox
from hepacast.modelling.frozen_logistic import FrozenLinear
from hepacast.modelling.frozen_models import RADSCORE, SCHEMA, FrozenModels, read_cutoffs, read_score
from hepacast.modelling.survival_logistic import FrozenLogisticAt

KIND = "survival"


@dataclass(frozen=True)
class FrozenSurvivalModels(FrozenModels):
    """Cox models (and a binary one) of one outcome; risks are those of the event by a horizon.

    Attributes
    ----------
    models
        `FrozenCox` or `FrozenLogisticAt` by name.
    cutoffs
        Risk by the main horizon at or above which a patient counts as high-risk, fixed in training.
    horizons, unit
        Times at which risks are given; the last one is the main one.
    """

    horizons: tuple[float, ...] = ()
    unit: str = "days"

    @property
    def main_horizon(self) -> float:
        """The horizon that cut-offs belong to."""
        return self.horizons[-1]

    def predict_risk(self, frame: pd.DataFrame, time: float | None = None) -> pd.DataFrame:
        """Risk of the event by a time (default: the main horizon) by model; index of `frame`."""
        at = self.main_horizon if time is None else float(time)
        table = self.inputs(frame)
        return pd.DataFrame({name: risk_at(model, table, at) for name, model in self.models.items()}, index=frame.index)

    def interval(self, frame: pd.DataFrame, name: str, level: float = 0.95, time: float | None = None) -> Array:
        """Limits of each row's risk by a time (default: the main horizon), shape (n, 2)."""
        at = self.main_horizon if time is None else float(time)
        model: FrozenLinear = self.model(name)
        table = self.inputs(frame)
        if isinstance(model, FrozenCox):
            return model.interval(table, at, level)
        assert isinstance(model, FrozenLogisticAt)
        if not np.isclose(at, model.horizon):
            return np.full((len(frame), 2), np.nan)
        return model.interval(table, level)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able description from which `from_dict` predicts the same numbers."""
        return super().to_dict() | {"kind": KIND, "horizons": list(self.horizons), "unit": self.unit}

    @classmethod
    def from_dict(cls, entry: Mapping[str, Any]) -> FrozenSurvivalModels:
        """The inverse of `to_dict`, also after a journey through JSON.

        Raises
        ------
        ModelError
            Written by a newer version.
        """
        if entry.get("schema") != SCHEMA or entry.get("kind") != KIND:
            raise ModelError(
                "The models were written by another version.",
                expected=f"survival models of schema {SCHEMA}",
                found=f"{entry.get('kind', 'binary')} models of schema {entry.get('schema')}",
                remedy="use the version of hepacast that is named in the bundle",
            )
        own = Entry(entry, "")
        kinds: dict[str, Any] = {"cox": FrozenCox, "logistic-at": FrozenLogisticAt}
        models = {
            name: kinds[item.text("kind", tuple(kinds))].from_dict(own.entry("models").raw(name), name)
            for name, item in own.named("models").items()
        }
        horizons = own.numbers("horizons")
        require(bool(horizons) and min(horizons) > 0, "horizons", "times above 0", horizons)
        return cls(
            models=models,
            score=read_score(own, models, (RADSCORE,)),
            cutoffs=read_cutoffs(own, models),
            horizons=horizons,
            unit=own.text("unit"),
        )


def risk_at(model: FrozenLinear, table: pd.DataFrame, time: float) -> Array:
    """Risk by a time from either kind of model; NaN where a binary model does not know that time."""
    if isinstance(model, FrozenCox):
        return model.risk(table, time)
    assert isinstance(model, FrozenLogisticAt)
    return model.risk_at(table, time)


def load_models(entry: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]] | None = None) -> FrozenModels:
    """Models of any kind from their dictionary, and the arrays of classifiers where there are some.

    Raises
    ------
    ModelError
        An unknown kind or version, or a value that a model cannot have.
    """
    kinds: dict[Any, type[FrozenModels]] = {None: FrozenModels, KIND: FrozenSurvivalModels}
    kind = Entry(entry, "models").text("kind") if "kind" in entry else None
    if kind == frozen_fusion.KIND:
        return frozen_fusion.FrozenFusion.from_dict(entry, arrays)
    require(kind in kinds, "models: kind", f"{KIND} or {frozen_fusion.KIND}", kind)
    return kinds[kind].from_dict(entry)
