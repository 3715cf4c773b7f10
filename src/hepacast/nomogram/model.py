"""The model behind a nomogram: a linear predictor as a sum of terms, and how it becomes a risk."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from hepacast.errors import ModelError
from hepacast.stats.splines import rcs_basis

Value = float | str


@dataclass(frozen=True)
class NomogramPredictor:
    """One predictor of the model.

    Parameters
    ----------
    name, label, unit
        Name in the model, name on the axis, unit on the axis.
    levels
        Levels of a categorical predictor, the reference first; None for a numeric one.
    low, high
        Range of a numeric predictor in the training data: the axis covers it.
    values
        The distinct values of a numeric predictor that has at most ten of them: they become the ticks.
    knots
        Knots of a restricted cubic spline.
    log
        Whether the model holds the natural logarithm of the value.
    plus
        What is added before the logarithm is taken, so that a value of 0 has one.
    ticks
        Tick values of the axis, where the round ones are not wanted.
    """

    name: str
    label: str | None = None
    unit: str = ""
    levels: tuple[str, ...] | None = None
    low: float = math.nan
    high: float = math.nan
    values: tuple[float, ...] | None = None
    knots: tuple[float, ...] | None = None
    log: bool = False
    ticks: tuple[float, ...] | None = None
    plus: float = 0.0

    def __post_init__(self) -> None:
        if self.levels is None and not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ModelError(
                f"The nomogram's axis {self.name!r} has no length.",
                expected="a numeric predictor that varies, or levels",
                found=f"range {self.low} to {self.high}",
            )

    @property
    def n_columns(self) -> int:
        """Number of coefficients."""
        if self.levels is not None:
            return len(self.levels) - 1
        return len(self.knots) - 1 if self.knots else 1

    def columns(self, value: Value) -> np.ndarray:
        """The predictor's columns of the design matrix for one value, shape (n_columns,).

        Raises
        ------
        ModelError
            An unknown level, a value that is no number, or a logarithm of a value not above 0.
        """
        if self.levels is not None:
            text = str(value)
            if text not in self.levels:
                raise ModelError(
                    f"Unknown level of {self.name!r}.", expected=", ".join(self.levels), found=text, where=self.name
                )
            return np.array([float(text == level) for level in self.levels[1:]])
        try:
            number = float(value)
        except ValueError as error:
            raise ModelError(f"{self.name!r} must be a number.", found=str(value), where=self.name) from error
        if self.log:
            if number + self.plus <= 0:
                least = f"above {-self.plus:g}"
                raise ModelError(f"{self.name!r} enters as a logarithm.", expected=least, found=str(value))
            number = math.log(number + self.plus)
        if self.knots:
            return rcs_basis([number], self.knots)[0]
        return np.array([number])


@dataclass(frozen=True)
class Interaction:
    """Product terms of two predictors; `coefficients` has one row a column of `first`, one column a column of
    `second`."""

    first: str
    second: str
    coefficients: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class NomogramModel:
    """A fitted model that can be drawn as a nomogram.

    Parameters
    ----------
    predictors
        In the order of the axes.
    coefficients
        Main effects by predictor, each of its `n_columns`.
    intercept
        Of the logistic model; of a Cox model minus the mean linear predictor, so that `baseline` belongs to 0.
    interactions
        Products of two predictors.
    kind
        ``logistic`` (risk = 1 / (1 + exp(-lp))) or ``cox`` (survival at t = S0(t) ^ exp(lp)).
    baseline
        Cox: S0(t) by time.
    """

    predictors: tuple[NomogramPredictor, ...]
    coefficients: Mapping[str, tuple[float, ...]]
    intercept: float
    interactions: tuple[Interaction, ...] = ()
    kind: Literal["logistic", "cox"] = "logistic"
    baseline: Mapping[float, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for item in self.predictors:
            count = len(self.coefficients.get(item.name, ()))
            if count != item.n_columns:
                raise ModelError(
                    f"The coefficients of {item.name!r} do not fit.",
                    expected=f"{item.n_columns} coefficients",
                    found=str(count),
                )

    def predictor(self, name: str) -> NomogramPredictor:
        """The predictor of that name."""
        for item in self.predictors:
            if item.name == name:
                return item
        raise ModelError(f"The model has no predictor {name!r}.", expected=", ".join(p.name for p in self.predictors))

    def main_effect(self, name: str, value: Value) -> float:
        """Contribution of one predictor to the linear predictor."""
        return float(self.predictor(name).columns(value) @ np.array(self.coefficients[name]))

    def interaction_effect(self, term: Interaction, first: Value, second: Value) -> float:
        """Contribution of a product term."""
        left = self.predictor(term.first).columns(first)
        right = self.predictor(term.second).columns(second)
        return float(left @ np.array(term.coefficients) @ right)

    def linear_predictor(self, values: Mapping[str, Value]) -> float:
        """Intercept plus all contributions for one patient.

        Raises
        ------
        ModelError
            A value is missing or not legal.
        """
        missing = [item.name for item in self.predictors if item.name not in values]
        if missing:
            raise ModelError("A predictor has no value.", expected="a value each", found=f"missing: {missing}")
        total = self.intercept + sum(self.main_effect(item.name, values[item.name]) for item in self.predictors)
        return total + sum(self.interaction_effect(t, values[t.first], values[t.second]) for t in self.interactions)

    def outputs(self, linear_predictor: float) -> dict[str, float]:
        """Risk (logistic) or survival by time (Cox) at a linear predictor."""
        if self.kind == "logistic":
            return {"risk": 1.0 / (1.0 + math.exp(-linear_predictor))}
        return {f"{t:g}": s0 ** math.exp(linear_predictor) for t, s0 in self.baseline.items()}
