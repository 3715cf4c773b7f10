"""A logistic model as plain numbers: enough to recompute every prediction, its interval and its parts.

`FrozenLinear` is the face of every frozen model of named columns: `names`, `linear_predictor`, `risk`, `risk_of`,
`interval`, `contributions`, `unusual`; its numbers are checked when they are read.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit
from scipy.stats import norm

from hepacast.core.entries import Entry, require
from hepacast.modelling.base import Array
from hepacast.modelling.predictors import Predictor, coded_levels, level_text, numeric_values, require_columns

#: How the problem of a value begins that is known, but beyond those of training.
OUTSIDE = "outside the training range"


@dataclass(frozen=True)
class Source:
    """A column that the model reads, and what stands in for a missing value.

    Attributes
    ----------
    predictor
        What the column is.
    fill
        Training median (on the model's scale, so of the logarithm where there is one), or most frequent level.
    known_levels
        Levels that occurred in training; any other is treated as missing, and reported by `unusual`.
    minimum, maximum
        About the training range of a number, in its own unit (`hepacast.stats.coarse.coarse_range`).
    n_missing
        Training values that were missing.
    """

    predictor: Predictor
    fill: float | str
    known_levels: tuple[str, ...] = ()
    minimum: float = float("nan")
    maximum: float = float("nan")
    n_missing: int = 0

    @property
    def name(self) -> str:
        """Name of the column."""
        return self.predictor.name

    def read(self, frame: pd.DataFrame) -> NDArray[Any]:
        """The column on the model's scale, missing values filled."""
        column = frame[self.name]
        if self.predictor.is_level:
            codes, texts = coded_levels(column)
            known = [text if text in self.known_levels else self.fill for text in texts]
            return np.array(known, dtype=object)[codes]
        values = numeric_values(column, self.predictor)
        return np.where(np.isnan(values), float(self.fill), values)


@dataclass(frozen=True)
class ModelTerm:
    """One column of the design matrix.

    Attributes
    ----------
    name
        ``inr``, or ``child_pugh=B`` for a level against the reference.
    source
        The column that it is made from.
    level
        The level that it marks; None for a number.
    mean, sd
        Of the design column in training.
    """

    name: str
    source: str
    level: str | None
    mean: float
    sd: float


def design_matrix(sources: Sequence[Source], terms: Sequence[ModelTerm], frame: pd.DataFrame) -> Array:
    """Design matrix of terms without intercept, shape (n, terms)."""
    require_columns(frame, [source.predictor for source in sources])
    read = {source.name: source.read(frame) for source in sources}
    columns = [
        np.asarray(read[term.source] == term.level, dtype=float)
        if term.level is not None
        else np.asarray(read[term.source], dtype=float)
        for term in terms
    ]
    return np.column_stack(columns) if columns else np.empty((len(frame), 0))


@dataclass(frozen=True)
class FrozenLinear:
    """intercept + sum of coefficient x term, of named columns: what a logistic and a Cox model share.

    Attributes
    ----------
    coefficients, covariance
        Intercept first; shapes (terms + 1,) and (terms + 1, terms + 1).
    p_values
        Of the coefficients, intercept first.
    method
        ``ml``, ``firth`` or ``intercept only`` (and the Cox model's own).
    status, note
        ``ok``, or ``no signal`` with the reason when there is only an intercept.
    n, n_events
        Training patients and events.
    references
        Reference level of each categorical source.
    """

    sources: tuple[Source, ...]
    terms: tuple[ModelTerm, ...]
    coefficients: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]
    p_values: Sequence[float]
    method: str
    status: str
    note: str
    n: int
    n_events: int
    references: Mapping[str, str] = field(default_factory=dict)

    #: Name in files, and whether risks are known at every time up to the end of follow-up.
    kind: ClassVar[str] = ""
    every_time: ClassVar[bool] = False

    @property
    def names(self) -> list[str]:
        """Columns that the model reads."""
        return [source.name for source in self.sources]

    def design(self, frame: pd.DataFrame) -> Array:
        """Design matrix without intercept, shape (n, terms)."""
        return design_matrix(self.sources, self.terms, frame)

    def linear_predictor(self, frame: pd.DataFrame) -> Array:
        """Intercept and terms of each row, shape (n,): log odds, or log hazard against the mean patient."""
        return self.coefficients[0] + self.design(frame) @ np.array(self.coefficients[1:])

    @abstractmethod
    def risk_of(self, linear_predictor: ArrayLike, time: float | None = None) -> Array:
        """Risk of given linear predictors (by a time, where the model knows times)."""

    def risk(self, frame: pd.DataFrame, time: float | None = None) -> Array:
        """Risk of each row, 0 to 1, by a time where the model knows times."""
        return self.risk_of(self.linear_predictor(frame), time)

    @abstractmethod
    def interval(self, frame: pd.DataFrame, level: float = 0.95, time: float | None = None) -> Array:
        """Limits of each row's risk, shape (n, 2); NaN where there are none."""

    def contributions(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Each term's share in the linear predictor against the training mean; rows of `frame`, columns the terms."""
        means = np.array([term.mean for term in self.terms])
        shares = (self.design(frame) - means) * np.array(self.coefficients[1:])
        return pd.DataFrame(shares, index=frame.index, columns=[term.name for term in self.terms])

    def unusual(self, frame: pd.DataFrame) -> list[dict[str, Any]]:
        """Values that the model cannot know from training: missing or of an unknown level (``unknown``: another value
        stands in, of a column of levels ``level``), or outside the range.
        """
        require_columns(frame, [source.predictor for source in self.sources])
        found: list[dict[str, Any]] = []
        for source in self.sources:
            for row, value in frame[source.name].items():
                problem = _problem(source, value)
                if problem:
                    unknown = not problem.startswith(OUTSIDE)
                    told = {"row": row, "name": source.name, "value": value, "problem": problem, "unknown": unknown}
                    found.append({**told, "level": source.fill if source.predictor.is_level else None})
        return found

    def to_dict(self) -> dict[str, Any]:
        """JSON-able description, complete."""
        return {
            "sources": [{**asdict(source), "predictor": source.predictor.to_dict()} for source in self.sources],
            "terms": [asdict(term) for term in self.terms],
            "coefficients": list(self.coefficients),
            "covariance": [list(row) for row in self.covariance],
            "p_values": list(self.p_values),
            "method": self.method,
            "status": self.status,
            "note": self.note,
            "n": self.n,
            "n_events": self.n_events,
            "references": dict(self.references),
        }

    @classmethod
    def from_dict(cls, entry: Mapping[str, Any], place: str = "model") -> Self:
        """The inverse of `to_dict`, also after a journey through JSON (where NaN is null).

        Raises
        ------
        ModelError
            A value is not of its kind, or impossible; the message names it within `place`.
        """
        return cls(**cls._fields_of(Entry(entry, place)))

    @staticmethod
    def _fields_of(entry: Entry) -> dict[str, Any]:
        sources = tuple(_source(item) for item in entry.entries("sources"))
        known = {source.name: source for source in sources}
        terms = tuple(_term(item, known) for item in entry.entries("terms"))
        size = len(terms) + 1
        status = entry.text("status")
        # A model without a fit has no covariance; whoever applies it gets no interval.
        gaps = [[None] * size] * size
        none = status != "ok" and entry.raw("covariance") == gaps
        return {
            "sources": sources,
            "terms": terms,
            "coefficients": entry.numbers("coefficients", size),
            "covariance": ((math.nan,) * size,) * size if none else entry.covariance("covariance", size),
            "p_values": entry.numbers("p_values", size, gaps=True),
            "method": entry.text("method"),
            "status": status,
            "note": entry.text("note"),
            "n": entry.whole("n"),
            "n_events": entry.whole("n_events"),
            "references": {name: entry.entry("references").text(name) for name in entry.entry("references")},
        }


@dataclass(frozen=True)
class FrozenLogistic(FrozenLinear):
    """risk = 1 / (1 + exp(-(intercept + sum of coefficient x term)))."""

    kind: ClassVar[str] = "logistic"

    def risk_of(self, linear_predictor: ArrayLike, time: float | None = None) -> Array:
        """Risk of given log odds; there is no time."""
        return np.asarray(expit(linear_predictor))

    def interval(self, frame: pd.DataFrame, level: float = 0.95, time: float | None = None) -> Array:
        """Limits of each row's risk, shape (n, 2), from the coefficients' covariance (Wald, on the logit scale).

        The uncertainty of the selection and of the Radscore's weights is not in it: see the bootstrap for that.
        """
        design = np.column_stack([np.ones(len(frame)), self.design(frame)])
        center = design @ np.array(self.coefficients)
        variance = np.einsum("ij,jk,ik->i", design, np.array(self.covariance, dtype=float), design)
        half = norm.ppf(0.5 + level / 2) * np.sqrt(np.maximum(variance, 0.0))
        return np.asarray(expit(np.column_stack([center - half, center + half])))


@dataclass(frozen=True)
class FrozenLogisticAt(FrozenLogistic):
    """A logistic model of the event by one horizon; there is no risk at any other time."""

    horizon: float = float("nan")
    n_censored: int = 0

    kind: ClassVar[str] = "logistic-at"

    def risk_of(self, linear_predictor: ArrayLike, time: float | None = None) -> Array:
        """Risk of the event by the horizon; NaN at other times."""
        risk = super().risk_of(linear_predictor)
        return risk if self._knows(time) else np.full(len(risk), np.nan)

    def interval(self, frame: pd.DataFrame, level: float = 0.95, time: float | None = None) -> Array:
        """Limits of each row's risk by the horizon; NaN at other times."""
        return super().interval(frame, level) if self._knows(time) else np.full((len(frame), 2), np.nan)

    def _knows(self, time: float | None) -> bool:
        return time is None or bool(np.isclose(time, self.horizon))

    def to_dict(self) -> dict[str, Any]:
        """JSON-able description, complete."""
        return super().to_dict() | {"kind": self.kind, "horizon": self.horizon, "n_censored": self.n_censored}

    @classmethod
    def from_dict(cls, entry: Mapping[str, Any], place: str = "model") -> Self:
        """The inverse of `to_dict`; see `FrozenLinear.from_dict`."""
        own = Entry(entry, place)
        return cls(**cls._fields_of(own), horizon=own.number("horizon", low=0.0), n_censored=own.whole("n_censored"))


def _problem(source: Source, value: Any) -> str:
    single = pd.Series([value])
    if source.predictor.is_level:
        text = level_text(single).iloc[0]
        if text is None:
            return "missing; the most frequent level stands in for it"
        known = text in source.known_levels
        return "" if known else "a level that training did not have; the most frequent one stands in for it"
    number = pd.to_numeric(single, errors="coerce").iloc[0]
    if not np.isfinite(number):
        return "missing; the training median stands in for it"
    if not source.minimum <= number <= source.maximum:
        return f"{OUTSIDE}, {source.minimum:.4g} to {source.maximum:.4g}"
    return ""


def _source(entry: Entry) -> Source:
    own = entry.entry("predictor")
    predictor = Predictor(
        name=own.text("name"),
        kind=own.text("kind"),  # type: ignore[arg-type]
        levels=own.texts("levels"),
        label=own.text("label"),
        unit=own.text("unit"),
        log=own.text("log"),
    )
    low, high = entry.number_or_nan("minimum"), entry.number_or_nan("maximum")
    levels = entry.texts("known_levels")
    fill: float | str = entry.text("fill") if predictor.is_level else entry.number("fill")
    require(not low > high, entry.at("maximum"), f"at least the minimum, {low:g}", high)
    require(not predictor.is_level or fill in levels, entry.at("fill"), f"one of {', '.join(levels)}", fill)
    return Source(predictor, fill, levels, low, high, entry.whole("n_missing"))


def _levels(source: Source) -> tuple[str, ...]:
    return (*source.known_levels, *source.predictor.levels)


def _term(entry: Entry, sources: Mapping[str, Source]) -> ModelTerm:
    source = entry.text("source", tuple(sources))
    level = None if entry.raw("level") is None else entry.text("level", _levels(sources[source]))
    require(
        (level is not None) == sources[source].predictor.is_level,
        entry.at("level"),
        "a level of a column of levels, none of a number",
        level,
    )
    return ModelTerm(entry.text("name"), source, level, entry.number("mean"), entry.number("sd", low=0.0))
