"""The models of a study as plain numbers: what a bundle keeps, and all that a prediction needs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from hepacast.core.entries import Entry, require
from hepacast.errors import ModelError
from hepacast.modelling.base import Array, listed
from hepacast.modelling.frozen_logistic import FrozenLinear, FrozenLogistic
from hepacast.modelling.frozen_score import FrozenScore

#: Version of the dictionary that `to_dict` writes.
SCHEMA = 1

#: Column name of the score in the models that build on it.
RADSCORE = "Radscore"


@dataclass(frozen=True)
class FrozenModels:
    """Clinical, radiomics and combined model.

    Attributes
    ----------
    models
        By name, in the order of the study: ``clinical``, ``radiomics`` (of the Radscore alone), ``combined``.
    score
        The Radscore; None when no model uses one.
    cutoffs
        Risk at or above which a patient counts as high-risk, by model (Youden's index in training).
    """

    models: Mapping[str, FrozenLogistic]
    score: FrozenScore | None
    cutoffs: Mapping[str, float]

    @property
    def names(self) -> list[str]:
        """Names of the models."""
        return list(self.models)

    def model(self, name: str) -> FrozenLogistic:
        """One model; an unknown name is a ModelError."""
        if name not in self.models:
            raise ModelError("There is no model of this name.", expected=listed(self.names), found=name)
        return self.models[name]

    @property
    def score_names(self) -> tuple[str, ...]:
        """Sources of the models that are no clinical columns, but scores."""
        return (RADSCORE,)

    def measured(self, name: str | None = None) -> list[str]:
        """Columns that come from the image, of one model or all."""
        wanted = self.names if name is None else [name]
        used = self.score is not None and any(RADSCORE in self.model(item).names for item in wanted)
        return self.score.names if used and self.score is not None else []

    def divided(self, name: str) -> tuple[str, ...]:
        """Scores of a model whose share `contributions` divides among their features."""
        return (RADSCORE,) if self.score is not None and RADSCORE in self.model(name).names else ()

    def scores(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The scores of each row; no column where no model has one."""
        return self.radscore(frame).to_frame() if self._reads_score else pd.DataFrame(index=frame.index)

    @property
    def _reads_score(self) -> bool:
        """Whether any model reads the Radscore: selection may have left it out of all, and then nothing is measured."""
        return self.score is not None and any(RADSCORE in model.names for model in self.models.values())

    def columns(self, name: str | None = None) -> list[str]:
        """Columns of the table that a model reads (all models by default): clinical names, then features, then the site
        column where there is a harmonization."""
        wanted = self.names if name is None else [name]
        found = [column for item in wanted for column in self.model(item).names]
        clinical = [column for column in dict.fromkeys(found) if column != RADSCORE]
        if RADSCORE not in found or self.score is None:
            return clinical
        correction = self.score.correction
        site = [] if correction is None else [correction.site_column, *correction.covariates]
        return [*clinical, *self.score.names, *site]

    def radscore(self, frame: pd.DataFrame) -> pd.Series:
        """The Radscore of each row."""
        if self.score is None:
            raise ModelError("These models have no Radscore.")
        return pd.Series(self.score.score(frame), index=frame.index, name=RADSCORE)

    def inputs(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The table with the Radscore as a column, where a model uses it."""
        if not self._reads_score:
            return frame
        clinical = [column for model in self.models.values() for column in model.names if column != RADSCORE]
        kept = frame[[column for column in dict.fromkeys(clinical) if column in frame.columns]]
        return kept.assign(**{RADSCORE: self.radscore(frame)})

    def linear_predictor(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Log odds by model; index of `frame`."""
        table = self.inputs(frame)
        return pd.DataFrame(
            {name: model.linear_predictor(table) for name, model in self.models.items()}, index=frame.index
        )

    def predict_risk(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Risk by model, 0 to 1; index of `frame`."""
        table = self.inputs(frame)
        return pd.DataFrame({name: model.risk(table) for name, model in self.models.items()}, index=frame.index)

    def interval(self, frame: pd.DataFrame, name: str, level: float = 0.95) -> Array:
        """Limits of each row's risk by one model, shape (n, 2); see `FrozenLogistic.interval`."""
        return self.model(name).interval(self.inputs(frame), level)

    def contributions(self, frame: pd.DataFrame, name: str, *, features: bool = True) -> pd.DataFrame:
        """Share of each term in the log odds of one model, against the training mean.

        With `features` the Radscore's share is divided among its features (what is left of it, a constant, has the
        name ``Radscore``).
        """
        model = self.model(name)
        shares = model.contributions(self.inputs(frame))
        if not features or RADSCORE not in shares.columns or self.score is None:
            return shares
        slope = model.coefficients[1 + [term.name for term in model.terms].index(RADSCORE)]
        parts = self.score.shares(frame) * slope
        rest = shares.pop(RADSCORE) - parts.sum(axis=1)
        return pd.concat([shares, parts, rest.rename(RADSCORE)], axis=1)

    def unusual(self, frame: pd.DataFrame, name: str | None = None) -> list[dict[str, Any]]:
        """Values that are missing, of an unknown level or outside the training range, for one model or all."""
        wanted = self.names if name is None else [name]
        table = self.inputs(frame)
        found = [entry for item in wanted for entry in self.model(item).unusual(table)]
        if self.score is not None and any(RADSCORE in self.model(item).names for item in wanted):
            found += self.score.unusual(frame)
        unique = {(str(entry["row"]), entry["name"]): entry for entry in found}
        return list(unique.values())

    def to_dict(self) -> dict[str, Any]:
        """JSON-able description from which `from_dict` predicts the same numbers."""
        return {
            "schema": SCHEMA,
            "models": {name: model.to_dict() for name, model in self.models.items()},
            "score": None if self.score is None else self.score.to_dict(),
            "cutoffs": {name: float(value) for name, value in self.cutoffs.items()},
        }

    @classmethod
    def from_dict(cls, entry: Mapping[str, Any]) -> FrozenModels:
        """The inverse of `to_dict`, also after a journey through JSON.

        Raises
        ------
        ModelError
            Written by a newer version.
        """
        if entry.get("schema") != SCHEMA:
            raise ModelError(
                "The models were written by another version.",
                expected=f"schema {SCHEMA}",
                found=f"schema {entry.get('schema')}",
                remedy="use the version of hepacast that is named in the bundle",
            )
        own = Entry(entry, "")
        models = {name: FrozenLogistic.from_dict(own.entry("models").raw(name), name) for name in own.entry("models")}
        score = read_score(own, models, (RADSCORE,))
        return cls(models=models, score=score, cutoffs=read_cutoffs(own, models))


def read_score(entry: Entry, models: Mapping[str, FrozenLinear], scores: Collection[str]) -> FrozenScore | None:
    """The Radscore of an entry of `to_dict`, which has to be there where a model reads one of `scores`.

    Raises
    ------
    ModelError
        It is missing, or a value of it is impossible.
    """
    score = None if entry.raw("score") is None else FrozenScore.from_dict(entry.raw("score"), entry.at("score"))
    used = [name for name, model in models.items() if set(scores) & set(model.names)]
    require(score is not None or not used, entry.at("score"), f"the score that {listed(used)} reads", "none")
    return score


def read_cutoffs(entry: Entry, models: Mapping[str, FrozenLinear]) -> dict[str, float]:
    """The cut-off of every model of an entry of `to_dict`: a risk, or NaN where there are no groups.

    Raises
    ------
    ModelError
        There is no model, one has no cut-off, or it is no risk.
    """
    require(bool(models), entry.at("models"), "at least one model", "none")
    known = entry.entry("cutoffs")
    return {name: known.number_or_nan(name, low=0.0, high=1.0) for name in models}


def youden_cutoff(y: Array, risk: Array) -> float:
    """Risk with the greatest sensitivity + specificity - 1 when "high" means at or above it.

    Candidates lie halfway between neighboring risks; of equal ones the lowest (most sensitive) is taken. NaN when all
    risks are equal: there is nothing to cut.
    """
    events = np.asarray(y) == 1
    values = np.unique(risk)
    if len(values) < 2:
        return float("nan")
    cuts = (values[1:] + values[:-1]) / 2
    sorted_events, sorted_others = np.sort(risk[events]), np.sort(risk[~events])
    sensitivity = 1 - np.searchsorted(sorted_events, cuts) / len(sorted_events)
    specificity = np.searchsorted(sorted_others, cuts) / len(sorted_others)
    return float(cuts[np.argmax(np.round(sensitivity + specificity, 12))])
