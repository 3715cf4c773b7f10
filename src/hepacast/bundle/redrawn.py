"""The nomogram of a bundle whose model has new numbers: the same axes and ticks, points of the new coefficients."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from hepacast.bundle.model import Bundle
from hepacast.modelling.frozen_cox import FrozenCox
from hepacast.modelling.frozen_logistic import FrozenLinear, Source
from hepacast.modelling.predictors import on_model_scale
from hepacast.nomogram.build import MAX_POINTS, N_INTERVALS, RISK_TICKS, shown_totals
from hepacast.stats.ticks import pretty, tick_label


def redrawn_nomogram(bundle: Bundle, model: FrozenLinear) -> dict[str, Any] | None:
    """Axes of the bundle's nomogram for another model of the same predictors.

    Parameters
    ----------
    bundle
        With the nomogram of its main model.
    model
        What stands in for that model: updated in other patients.

    Returns
    -------
    dict or None
        As `hepacast.nomogram.Nomogram.to_spec`; None where there was none, or the model has no effect to draw.
    """
    spec = bundle.nomogram
    if spec is None or model.status != "ok":
        return None
    sources = {source.name: source for source in model.sources}
    if {axis["name"] for axis in spec["predictors"]} != set(sources):
        return None
    added = {
        axis["name"]: [_added(bundle, model, sources[axis["name"]], tick["value"]) for tick in axis["ticks"]]
        for axis in spec["predictors"]
    }
    minimum = {name: min(values) for name, values in added.items()}
    longest = max(max(values) - minimum[name] for name, values in added.items())
    if not longest > 0:
        return None
    scale = MAX_POINTS / longest
    start = model.coefficients[0] + sum(minimum.values())
    most = scale * sum(max(values) - minimum[name] for name, values in added.items())
    predictors = [
        {
            **axis,
            "ticks": [
                {**tick, "points": (value - minimum[axis["name"]]) * scale}
                for tick, value in zip(axis["ticks"], added[axis["name"]], strict=True)
            ],
        }
        for axis in spec["predictors"]
    ]
    ways = _ways(bundle, model)
    if len(ways) != len(spec["outputs"]):
        return None
    outputs = [
        {**axis, "ticks": _output(axis, way, lambda lp: (lp - start) * scale, most)}
        for axis, way in zip(spec["outputs"], ways, strict=True)
    ]
    totals = shown_totals(pretty(0.0, most, N_INTERVALS).tolist(), outputs)
    return {
        **spec,
        "predictors": predictors,
        "outputs": outputs,
        "total_ticks": totals,
        "scale": scale,
        "minimum": minimum,
        "example": None,
    }


def _added(bundle: Bundle, model: FrozenLinear, source: Source, value: Any) -> float:
    """What a tick's value adds to the linear predictor."""
    terms = [
        (term, beta)
        for term, beta in zip(model.terms, model.coefficients[1:], strict=True)
        if term.source == source.name
    ]
    if not source.predictor.is_level:
        number = on_model_scale(float(value), source.predictor.log)
        return sum(beta * number for _, beta in terms)
    spec = next((item for item in bundle.columns if item.name == source.name), None)
    level = str(value)
    if spec is not None and spec.kind == "binary" and level in spec.level_names:
        level = str(spec.level_names.index(level))
    return sum(beta for term, beta in terms if term.level == level)


def _ways(bundle: Bundle, model: FrozenLinear) -> list[Callable[[float], float]]:
    """From the value on each lower axis to the linear predictor: risk, or the probability of no event by a horizon."""
    if not isinstance(model, FrozenCox):
        return [lambda risk: math.log(risk / (1 - risk))]
    survival = np.exp(-model.cumulative_hazard(bundle.models.horizons))
    return [
        lambda value, left=float(left): math.log(math.log(value) / math.log(left))  # type: ignore[misc]
        for left in survival
        if 1e-6 < left < 1 - 1e-6
    ]


def _output(
    axis: Mapping[str, Any], way: Callable[[float], float], points: Callable[[float], float], most: float
) -> list[dict[str, Any]]:
    """Ticks that somebody can reach; of an axis that shifted, those of the usual probabilities."""
    values = sorted({*(float(tick["value"]) for tick in axis["ticks"]), *RISK_TICKS})
    placed = sorted((points(way(value)), value) for value in values)
    return [{"value": value, "label": tick_label(value), "total_points": at} for at, value in placed if 0 <= at <= most]
