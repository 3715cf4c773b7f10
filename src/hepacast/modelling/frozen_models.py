"""The models of a study as plain numbers and arrays: what a bundle keeps, and all that a prediction needs.

A score by a chain with a formula, or by a classifier, is computed here from the features; the networks' score is a
column like a feature, which whoever has the image computes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hepacast.cohort.outcome import EVER
from hepacast.core.entries import Entry, require
from hepacast.errors import ModelError
from hepacast.modelling.base import Array, listed
from hepacast.modelling.classifier_score import ClassifierScore
from hepacast.modelling.frozen_classifiers import held_patients
from hepacast.modelling.frozen_cox import FrozenCox
from hepacast.modelling.frozen_logistic import FrozenLinear, FrozenLogistic, FrozenLogisticAt
from hepacast.modelling.frozen_score import DL_SCORE, RADSCORE, FrozenScore

#: Versions of the dictionary that `to_dict` writes, by kind: the oldest that holds what there is, for earlier versions
#: of hepacast read it. No kind: logistic models, with a Radscore that has a formula.
SCHEMAS: dict[str | None, int] = {None: 1, "survival": 1, "fusion": 2, "survival-fusion": 3}
_KINDS: dict[str, type[FrozenLinear]] = {kind.kind: kind for kind in (FrozenLogistic, FrozenCox, FrozenLogisticAt)}


@dataclass(frozen=True)
class FrozenModels:
    """Clinical, radiomics and combined model, or those of a fusion; of any outcome.

    Attributes
    ----------
    models
        By name, in the order of the study, the main one last; logistic ones, or of time to an event Cox models and
        logistic ones at a horizon.
    score
        The Radscore; None when no model uses one, or it is one of `parts`.
    cutoffs
        Risk (by the main horizon) at or above which a patient counts as high-risk, by model; fixed in training.
    horizons, unit
        Of time to an event: times at which risks are given, the last is the main one. Empty without time.
    parts
        Scores by classifiers that the models read, by name (``Radscore``, ``DLR score``).
    """

    models: Mapping[str, FrozenLinear]
    score: FrozenScore | None
    cutoffs: Mapping[str, float]
    horizons: tuple[float, ...] = ()
    unit: str = ""
    parts: Mapping[str, ClassifierScore] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """Names of the models."""
        return list(self.models)

    @property
    def main_horizon(self) -> float:
        """The horizon that cut-offs belong to; `EVER` without time."""
        return self.horizons[-1] if self.horizons else EVER

    def model(self, name: str) -> FrozenLinear:
        """One model; an unknown name is a ModelError."""
        if name not in self.models:
            raise ModelError("There is no model of this name.", expected=listed(self.names), found=name)
        return self.models[name]

    @property
    def score_names(self) -> tuple[str, ...]:
        """Sources of the models that are no clinical columns, but scores."""
        return tuple(dict.fromkeys((RADSCORE, *self.parts, DL_SCORE)))

    def _sources(self, name: str | None) -> list[str]:
        """Columns and scores that one model reads, or any."""
        wanted = self.names if name is None else [name]
        return list(dict.fromkeys(column for item in wanted for column in self.model(item).names))

    def _scores_of(self, name: str | None) -> dict[str, FrozenScore | ClassifierScore]:
        """The scores that one model reads, or any.

        Selection may have left a score out of all models, and then nothing is measured.
        """
        known: dict[str, FrozenScore | ClassifierScore] = {} if self.score is None else {RADSCORE: self.score}
        known |= self.parts
        sources = self._sources(name)
        return {part: item for part, item in known.items() if part in sources}

    def measured(self, name: str | None = None) -> list[str]:
        """Columns that come from the image, of one model or all: features of scores, the networks' score."""
        found = [feature for item in self._scores_of(name).values() for feature in item.inputs.names]
        return list(dict.fromkeys([*found, *([DL_SCORE] if DL_SCORE in self._sources(name) else [])]))

    def columns(self, name: str | None = None) -> list[str]:
        """Columns of the table that a model reads (all models by default): clinical ones, those of the image, then site
        columns where there is a harmonization."""
        clinical = [column for column in self._sources(name) if column not in self.score_names]
        sites: list[str] = []
        for correction in (item.inputs.correction for item in self._scores_of(name).values()):
            sites += [] if correction is None else [correction.site_column, *correction.covariates]
        return list(dict.fromkeys([*clinical, *self.measured(name), *sites]))

    def divided(self, name: str) -> tuple[str, ...]:
        """Scores of a model whose share `contributions` divides among their features: the linear ones."""
        return tuple(part for part, item in self._scores_of(name).items() if item.is_linear)

    def radscore(self, frame: pd.DataFrame) -> pd.Series:
        """The Radscore of each row."""
        if self.score is None:
            raise ModelError("These models have no Radscore with a formula.", expected="scores(frame)")
        return pd.Series(self.score.score(frame), index=frame.index, name=RADSCORE)

    def scores(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The scores that models read, of each row; the networks' where the table has it."""
        found = {part: item.score(frame) for part, item in self._scores_of(None).items()}
        if DL_SCORE in frame.columns:
            found[DL_SCORE] = frame[DL_SCORE].to_numpy(dtype=float)
        return pd.DataFrame(found, index=frame.index)

    def inputs(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The clinical columns and the scores; the table itself where no score has to be computed."""
        if not self._scores_of(None):
            return frame
        clinical = [column for column in self._sources(None) if column not in self.score_names]
        known = frame[[column for column in clinical if column in frame.columns]]
        return known.assign(**{str(part): values.to_numpy() for part, values in self.scores(frame).items()})

    def linear_predictor(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Log odds or log hazard by model; index of `frame`."""
        table = self.inputs(frame)
        found = {name: model.linear_predictor(table) for name, model in self.models.items()}
        return pd.DataFrame(found, index=frame.index)

    def predict_risk(self, frame: pd.DataFrame, time: float | None = None) -> pd.DataFrame:
        """Risk by model, 0 to 1 (of time to an event: by a time, default the main horizon); index of `frame`."""
        at, table = self.main_horizon if time is None else float(time), self.inputs(frame)
        return pd.DataFrame({name: model.risk(table, at) for name, model in self.models.items()}, index=frame.index)

    def interval(self, frame: pd.DataFrame, name: str, level: float = 0.95, time: float | None = None) -> Array:
        """Limits of each row's risk by one model, shape (n, 2), NaN where it has none; see its `interval`."""
        at = self.main_horizon if time is None else float(time)
        return self.model(name).interval(self.inputs(frame), level, at)

    def contributions(self, frame: pd.DataFrame, name: str, *, features: bool = True) -> pd.DataFrame:
        """Share of each term in the linear predictor of one model, against the training mean.

        With `features` the share of a linear score is divided among its features (what is left of it, a constant, keeps
        the score's name). Other classifiers' scores have no such parts and stay whole.
        """
        model = self.model(name)
        found: dict[str, Any] = {str(key): item for key, item in model.contributions(self.inputs(frame)).items()}
        for part in self.divided(name) if features else ():
            shares = self._scores_of(name)[part].shares(frame)
            slope = model.coefficients[1 + [term.name for term in model.terms].index(part)]
            rest = found.pop(part)
            for feature, values in (shares * slope).items():
                found[str(feature)] = found.get(str(feature), 0.0) + values
                rest = rest - values
            found[part] = rest
        return pd.DataFrame(found, index=frame.index)

    def unusual(self, frame: pd.DataFrame, name: str | None = None) -> list[dict[str, Any]]:
        """Values that are missing, of an unknown level or outside the training range, for one model or all."""
        wanted = self.names if name is None else [name]
        table = self.inputs(frame)
        found = [entry for item in wanted for entry in self.model(item).unusual(table)]
        found += [entry for item in self._scores_of(name).values() for entry in item.inputs.unusual(frame)]
        return list({(str(entry["row"]), entry["name"]): entry for entry in found}.values())

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Arrays of all classifiers, ``score/array``."""
        return {
            f"{part}/{key}": np.asarray(value)
            for part, item in self.parts.items()
            for key, value in item.classifier.arrays.items()
        }

    def held_patients(self) -> dict[str, list[str]]:
        """By score, what its classifier holds of single training patients (`frozen_classifiers.held_patients`)."""
        found = {part: held_patients(item.classifier.arrays) for part, item in self.parts.items()}
        return {part: held for part, held in found.items() if held}

    @property
    def kind(self) -> str | None:
        """Name of what `to_dict` writes (`SCHEMAS`)."""
        joined = bool(self.parts) or DL_SCORE in self._sources(None)
        return ("survival-fusion" if joined else "survival") if self.horizons else "fusion" if joined else None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able description; with `arrays`, `from_dict` predicts the same numbers."""
        content: dict[str, Any] = {
            "schema": SCHEMAS[self.kind],
            "models": {name: model.to_dict() for name, model in self.models.items()},
            "score": None if self.score is None else self.score.to_dict(),
            "cutoffs": {name: float(value) for name, value in self.cutoffs.items()},
        }
        if self.kind is not None:
            content["kind"] = self.kind
        if self.horizons:
            content |= {"horizons": list(self.horizons), "unit": self.unit}
        if self.parts or self.kind in ("fusion", "survival-fusion"):
            content["parts"] = {name: item.to_dict() for name, item in self.parts.items()}
        return content

    @classmethod
    def from_dict(cls, entry: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]] | None = None) -> FrozenModels:
        """The inverse of `to_dict`, also after a journey through JSON, with the arrays of classifiers where there are.

        Raises
        ------
        ModelError
            Written by a newer version, or a value that a model cannot have; the message names it.
        """
        own = Entry(entry, "")
        kind = own.text("kind") if "kind" in entry else None
        require(kind in SCHEMAS, "models: kind", listed(filter(None, SCHEMAS)), kind)
        if entry.get("schema") != SCHEMAS[kind]:
            raise ModelError(
                "The models were written by another version.",
                expected=f"{kind or 'binary'} models of schema {SCHEMAS[kind]}",
                found=f"schema {entry.get('schema')}",
                remedy="use the version of hepacast that is named in the bundle",
            )
        models = {name: _model(item, own.entry("models").raw(name), name) for name, item in own.named("models").items()}
        parts = _parts(own, arrays or {}) if kind in ("fusion", "survival-fusion") else {}
        horizons = own.numbers("horizons") if kind in ("survival", "survival-fusion") else ()
        require(not kind or "survival" not in kind or bool(horizons), "horizons", "times above 0", horizons)
        require(min(horizons, default=1.0) > 0, "horizons", "times above 0", horizons)
        return cls(
            models=models,
            score=_read_score(own, models, set() if parts else {RADSCORE}),
            cutoffs=_read_cutoffs(own, models),
            horizons=horizons,
            unit=own.text("unit") if horizons else "",
            parts=parts,
        )


def _model(item: Entry, entry: Any, name: str) -> FrozenLinear:
    kind = item.text("kind", tuple(_KINDS)) if "kind" in item else FrozenLogistic.kind
    return _KINDS[kind].from_dict(entry, name)


def _parts(own: Entry, arrays: Mapping[str, NDArray[Any]]) -> dict[str, ClassifierScore]:
    return {
        part: ClassifierScore.from_dict(
            own.entry("parts").raw(part),
            {key.removeprefix(f"{part}/"): item for key, item in arrays.items() if key.startswith(f"{part}/")},
            part,
        )
        for part in own.entry("parts")
    }


def _read_score(entry: Entry, models: Mapping[str, FrozenLinear], scores: set[str]) -> FrozenScore | None:
    """The Radscore of an entry of `to_dict`, which has to be there where a model reads one of `scores`."""
    score = None if entry.raw("score") is None else FrozenScore.from_dict(entry.raw("score"), entry.at("score"))
    used = [name for name, model in models.items() if scores & set(model.names)]
    require(score is not None or not used, entry.at("score"), f"the score that {listed(used)} reads", "none")
    return score


def _read_cutoffs(entry: Entry, models: Mapping[str, FrozenLinear]) -> dict[str, float]:
    """The cut-off of every model of an entry of `to_dict`: a risk, or NaN where there are no groups."""
    require(bool(models), entry.at("models"), "at least one model", "none")
    known = entry.entry("cutoffs")
    return {name: known.number_or_nan(name, low=0.0, high=1.0) for name in models}
