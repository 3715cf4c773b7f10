"""Points, axes and total points of a nomogram, as ``rms::nomogram`` makes them.

Every axis shows the contribution of its predictor to the linear predictor, measured from the smallest contribution
on that axis and scaled so that the longest axis has 100 points. The sum of the points is then a linear function of
the linear predictor, which the lower axes translate into risk.

Source: Harrell FE. Regression Modeling Strategies, 2nd ed. Springer 2015, chapter 10; R package rms 6.5,
whose values are the frozen truth of the tests.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hepacast.errors import ModelError
from hepacast.nomogram.model import Interaction, NomogramModel, NomogramPredictor, Value
from hepacast.stats.ticks import pretty, tick_label

MAX_POINTS = 100.0
N_INTERVALS = 10
#: Where the risks take up less of the totals than this, the axis of totals shows their part of it alone; and how much
#: of that part it shows beyond either end.
_LEAST_OF_TOTALS, _BEYOND = 0.4, 0.1
RISK_TICKS = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)


@dataclass(frozen=True)
class Axis:
    """One axis: a predictor, at fixed values of those that it interacts with.

    `values`, `contributions` (to the linear predictor) and `points` have one entry a tick.
    """

    name: str
    label: str
    predictor: str
    given: Mapping[str, Value]
    values: tuple[Value, ...]
    contributions: tuple[float, ...]
    points: tuple[float, ...]


@dataclass(frozen=True)
class OutputAxis:
    """An axis below the total points: linear predictor, risk, or survival at a time."""

    name: str
    label: str
    values: tuple[float, ...]
    total_points: tuple[float, ...]


@dataclass(frozen=True)
class Reading:
    """One patient read off the nomogram."""

    values: Mapping[str, Value]
    points: Mapping[str, float]
    total_points: float
    linear_predictor: float
    outputs: Mapping[str, float]


@dataclass(frozen=True)
class Nomogram:
    """The axes, and the linear map from total points to linear predictor: lp = intercept + slope * points."""

    model: NomogramModel
    axes: tuple[Axis, ...]
    total_ticks: tuple[float, ...]
    outputs: tuple[OutputAxis, ...]
    scale: float
    intercept: float

    @property
    def slope(self) -> float:
        """Linear predictor per point."""
        return 1.0 / self.scale

    def total_points(self, linear_predictor: float) -> float:
        """Total points that belong to a linear predictor."""
        return (linear_predictor - self.intercept) * self.scale

    def read(self, values: Mapping[str, Value]) -> Reading:
        """Points of each axis, total points and risk for one patient.

        Raises
        ------
        ModelError
            A value is missing or not legal.
        """
        lp = self.model.linear_predictor(values)
        points = {}
        for group in _groups(self.model):
            base = self._group_minimum(group)
            points[group[0]] = (_group_effect(self.model, group, values) - base) * self.scale
        return Reading(dict(values), points, self.total_points(lp), lp, self.model.outputs(lp))

    def _group_minimum(self, group: Sequence[str]) -> float:
        return min(min(axis.contributions) for axis in self.axes if axis.predictor == group[0])

    def to_spec(self, example: Reading | None = None) -> dict[str, Any]:
        """Plain numbers for drawing and for the report's JSON."""
        predictors = [
            {
                "name": axis.name,
                "label": axis.label,
                "ticks": [
                    {"value": value, "label": value if isinstance(value, str) else tick_label(value), "points": points}
                    for value, points in zip(axis.values, axis.points, strict=True)
                ],
            }
            for axis in self.axes
        ]
        outputs = [
            {
                "label": axis.label,
                "ticks": [
                    {"value": value, "label": tick_label(value), "total_points": points}
                    for value, points in zip(axis.values, axis.total_points, strict=True)
                ],
            }
            for axis in self.outputs
        ]
        spec: dict[str, Any] = {
            "predictors": predictors,
            "points_max": MAX_POINTS,
            "total_ticks": shown_totals(self.total_ticks, outputs, None if example is None else example.total_points),
            "outputs": outputs,
            "example": None,
            "scale": self.scale,
            "minimum": {group[0]: self._group_minimum(group) for group in _groups(self.model)},
        }
        if example is not None:
            spec["example"] = self._example(example)
        return spec

    def _example(self, reading: Reading) -> dict[str, Any]:
        shown = {}
        for axis in self.axes:
            if any(str(reading.values[name]) != str(value) for name, value in axis.given.items()):
                continue
            value = reading.values[axis.predictor]
            shown[axis.name] = {
                "label": value if isinstance(value, str) else f"{float(value):.4g}",
                "points": reading.points[axis.predictor],
            }
        labels = [axis.label for axis in self.outputs if axis.name != "lp"]
        return {
            "values": shown,
            "total": reading.total_points,
            "output": dict(zip(labels, reading.outputs.values(), strict=True)),
        }


def build_nomogram(
    model: NomogramModel,
    *,
    lp_range: tuple[float, float],
    risk_label: str = "Risk",
    risk_ticks: Sequence[float] = RISK_TICKS,
    survival_labels: Mapping[float, str] | None = None,
    interact: Mapping[str, Sequence[float]] | None = None,
    show_lp: bool = False,
) -> Nomogram:
    """Make the axes of a nomogram.

    Parameters
    ----------
    model
        The fitted model.
    lp_range
        Smallest and largest linear predictor of the training patients: the lower axes cover it.
    risk_label, survival_labels
        Names of the lower axes; survival by time.
    risk_ticks
        Probabilities to mark where they fall into the range.
    interact
        Values at which a numeric predictor that modifies another's effect is held; default its low, middle and high.
    show_lp
        Whether to show an axis with the linear predictor itself.

    Raises
    ------
    ModelError
        No predictor has an effect, so there is nothing to draw.
    """
    drafts = [draft for group in _groups(model) for draft in _draft_axes(model, group, interact or {})]
    lows: dict[str, float] = {}
    highs: dict[str, float] = {}
    for draft in drafts:
        lows[draft.predictor] = min(lows.get(draft.predictor, math.inf), *draft.contributions)
        highs[draft.predictor] = max(highs.get(draft.predictor, -math.inf), *draft.contributions)
    longest = max((highs[name] - lows[name] for name in lows), default=0.0)
    if not longest > 0:
        raise ModelError("No predictor has an effect: a nomogram of this model would be empty.")
    scale = MAX_POINTS / longest
    intercept = model.intercept + sum(lows.values())
    axes = tuple(_with_points(draft, lows[draft.predictor], scale) for draft in drafts)
    lp_ticks = pretty(*lp_range, N_INTERVALS)
    total_max = (lp_ticks[-1] - intercept) * scale
    outputs = _output_axes(model, lp_ticks, scale, intercept, risk_label, risk_ticks, survival_labels or {}, show_lp)
    total_ticks = tuple(float(v) for v in pretty(0.0, total_max, N_INTERVALS))
    return Nomogram(model, axes, total_ticks, outputs, scale, intercept)


def shown_totals(
    ticks: Sequence[float], outputs: Sequence[Mapping[str, Any]], total: float | None = None
) -> list[float]:
    """Ticks of the axis of total points as it is drawn, which it begins and ends with.

    From 0, unless the risks lie close together far along it, as where predictors that go together outweigh each other:
    then the part that they lie in, or risks could not be read off.

    Parameters
    ----------
    ticks
        From 0 to the most points.
    outputs
        Axes below, as in `Nomogram.to_spec`.
    total
        Of a patient who is shown too.
    """
    reached = [float(tick["total_points"]) for item in outputs for tick in item["ticks"]]
    width = max(reached, default=0.0) - min(reached, default=0.0)
    if not 0 < width < _LEAST_OF_TOTALS * (ticks[-1] - ticks[0]):
        return [float(value) for value in ticks]
    shown = [min(reached) - _BEYOND * width, max(reached) + _BEYOND * width, *([] if total is None else [total])]
    return [float(value) for value in pretty(max(min(shown), 0.0), max(shown), N_INTERVALS)]


def _groups(model: NomogramModel) -> list[list[str]]:
    """Predictors that interact share their axes; the first of a group gives the axis, the others are held fixed."""
    groups: list[list[str]] = [[item.name] for item in model.predictors]
    for term in model.interactions:
        first = next(group for group in groups if term.first in group)
        second = next(group for group in groups if term.second in group)
        if first is not second:
            order = [term.first, *[n for n in first if n != term.first]] if len(first) == 1 else first
            groups[groups.index(first)] = order + second
            groups.remove(second)
    return groups


def _terms_within(model: NomogramModel, group: Sequence[str]) -> list[Interaction]:
    return [term for term in model.interactions if term.first in group]


def _group_effect(model: NomogramModel, group: Sequence[str], values: Mapping[str, Value]) -> float:
    total = sum(model.main_effect(name, values[name]) for name in group)
    for term in _terms_within(model, group):
        total += model.interaction_effect(term, values[term.first], values[term.second])
    return total


def _axis_values(item: NomogramPredictor) -> tuple[Value, ...]:
    if item.levels is not None:
        return item.levels
    if item.ticks is not None:
        return item.ticks
    if item.values is not None and len(item.values) <= N_INTERVALS:
        return tuple(sorted(item.values))
    ticks = pretty(item.low, item.high, N_INTERVALS)
    return tuple(float(v) for v in ticks if not item.log or v > 0)


def _held_values(item: NomogramPredictor, interact: Mapping[str, Sequence[float]]) -> tuple[Value, ...]:
    if item.levels is not None:
        return item.levels
    if item.name in interact:
        return tuple(interact[item.name])
    return tuple(float(v) for v in np.linspace(item.low, item.high, 3))


def _draft_axes(model: NomogramModel, group: Sequence[str], interact: Mapping[str, Sequence[float]]) -> list[Axis]:
    lead, others = model.predictor(group[0]), [model.predictor(name) for name in group[1:]]
    values = _axis_values(lead)
    axes = []
    for held in itertools.product(*[_held_values(item, interact) for item in others]):
        given = dict(zip([item.name for item in others], held, strict=True))
        contributions = tuple(_group_effect(model, group, {lead.name: value, **given}) for value in values)
        suffix = ", ".join(f"{k}={v if isinstance(v, str) else tick_label(v)}" for k, v in given.items())
        shown = ", ".join(
            f"{item.label or item.name}={v if isinstance(v, str) else tick_label(v)}"
            for item, v in zip(others, held, strict=True)
        )
        unit = f" ({lead.unit})" if lead.unit else ""
        label = f"{lead.label or lead.name}{unit}" + (f" ({shown})" if shown else "")
        name = f"{lead.name} ({suffix})" if suffix else lead.name
        axes.append(Axis(name, label, lead.name, given, values, contributions, ()))
    return axes


def _with_points(draft: Axis, low: float, scale: float) -> Axis:
    points = tuple((value - low) * scale for value in draft.contributions)
    return Axis(draft.name, draft.label, draft.predictor, draft.given, draft.values, draft.contributions, points)


def _output_axes(
    model: NomogramModel,
    lp_ticks: np.ndarray,
    scale: float,
    intercept: float,
    risk_label: str,
    risk_ticks: Sequence[float],
    survival_labels: Mapping[float, str],
    show_lp: bool,
) -> tuple[OutputAxis, ...]:
    axes = []
    if show_lp:
        points = tuple(float((v - intercept) * scale) for v in lp_ticks)
        axes.append(OutputAxis("lp", "Linear predictor", tuple(float(v) for v in lp_ticks), points))

    def add(name: str, label: str, pairs: list[tuple[float, float]]) -> None:
        inside = [(value, lp) for value, lp in pairs if lp_ticks[0] - 1e-12 <= lp <= lp_ticks[-1] + 1e-12]
        values = tuple(value for value, _ in inside)
        axes.append(OutputAxis(name, label, values, tuple((lp - intercept) * scale for _, lp in inside)))

    if model.kind == "logistic":
        add("risk", risk_label, [(p, math.log(p / (1 - p))) for p in risk_ticks])
    else:
        for t, s0 in model.baseline.items():
            pairs = [(s, math.log(math.log(s) / math.log(s0))) for s in sorted(risk_ticks, reverse=True)]
            add(f"{t:g}", survival_labels.get(t, f"Survival at {t:g}"), pairs)
    return tuple(axes)
