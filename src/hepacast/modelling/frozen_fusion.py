"""The models of a fusion as plain numbers and arrays: scores by classifiers and networks, joined by logistic models.

A score by a classifier is computed here from the features; the networks' score is a column like a feature, which
whoever has the image computes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hepacast.core.entries import Entry
from hepacast.errors import ModelError
from hepacast.modelling.base import Array
from hepacast.modelling.frozen_arrays import read_classifier
from hepacast.modelling.frozen_classifiers import FrozenClassifier, freeze_classifier
from hepacast.modelling.frozen_logistic import FrozenLogistic
from hepacast.modelling.frozen_models import FrozenModels, read_cutoffs
from hepacast.modelling.frozen_score import FrozenScore
from hepacast.modelling.radscore import freeze_inputs

KIND = "fusion"
#: Version of the dictionary that `to_dict` writes; other than that of models with a formula, which earlier versions
#: of hepacast read.
SCHEMA = 2

#: Name of the networks' score in tables and nomograms.
DL_SCORE = "DL score"
#: Columns of features that a network learned are called ``deep:1``, ``deep:2``, ...
DEEP_PREFIX = "deep:"


@dataclass(frozen=True, eq=False)
class ClassifierScore:
    """A score: what is done to the features, and the classifier that is applied to them.

    Parameters
    ----------
    inputs
        Features in the order that the classifier knows, with what stands in for missing values, mean and SD; all
        weights are 1.
    classifier
        The frozen classifier.
    name
        Of the classifier in the registry.
    """

    inputs: FrozenScore
    classifier: FrozenClassifier
    name: str

    def values(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Features as the classifier reads them: filled, harmonized, scaled."""
        return self.inputs.shares(frame)

    def score(self, frame: pd.DataFrame) -> Array:
        """The score of each row, shape (n,)."""
        return self.classifier.score(self.values(frame).to_numpy())

    def shares(self, frame: pd.DataFrame) -> pd.DataFrame | None:
        """Each feature's part of the score, where the classifier is linear; None where there are no such parts."""
        if self.classifier.kind != "linear":
            return None
        return self.values(frame) * self.classifier.arrays["coefficients"]

    def to_dict(self) -> dict[str, Any]:
        """All but the arrays."""
        return {
            "inputs": self.inputs.to_dict(),
            "classifier": {"kind": self.classifier.kind, "settings": dict(self.classifier.settings)},
            "name": self.name,
        }

    @classmethod
    def from_dict(
        cls, entry: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], place: str = "score"
    ) -> ClassifierScore:
        """The inverse of `to_dict`, with the classifier's arrays.

        Raises
        ------
        ModelError
            A value or an array is not what its kind of classifier has.
        """
        own = Entry(entry, place)
        inputs = FrozenScore.from_dict(own.raw("inputs"), own.at("inputs"))
        kind, settings = own.entry("classifier").text("kind"), own.entry("classifier").raw("settings")
        classifier = read_classifier(kind, settings, arrays, len(inputs.features), own.at("classifier"))
        return cls(inputs, classifier, own.text("name"))


def freeze_classifier_score(steps: Sequence[Any], frame: pd.DataFrame, classifier: Any, name: str) -> ClassifierScore:
    """Fitted steps and the classifier behind them, as arrays.

    Parameters
    ----------
    steps
        Fitted steps before the classifier.
    frame
        The training rows before these steps (for the ranges).
    classifier, name
        Fitted, and its name in the registry.

    Raises
    ------
    ModelError
        A step or a classifier that has no array form.
    """
    names = [str(item) for item in steps[-1].get_feature_names_out()]
    features, correction = freeze_inputs(steps, frame, pd.Series(1.0, index=names))
    return ClassifierScore(FrozenScore(0.0, features, correction), freeze_classifier(classifier), name)


@dataclass(frozen=True)
class FrozenFusion(FrozenModels):
    """Logistic models of scores and clinical predictors.

    Attributes
    ----------
    parts
        Scores by classifiers that the models read, by name (``Radscore``, ``DLR score``).
    """

    parts: Mapping[str, ClassifierScore] = field(default_factory=dict)

    @property
    def score_names(self) -> tuple[str, ...]:
        """Sources of the logistic models that are no clinical columns."""
        return (*self.parts, DL_SCORE)

    def measured(self, name: str | None = None) -> list[str]:
        """Columns that come from the image: features of the scores, features and score of the networks."""
        wanted = self.names if name is None else [name]
        sources = {column for item in wanted for column in self.model(item).names}
        found = [feature for part, item in self.parts.items() if part in sources for feature in item.inputs.names]
        if DL_SCORE in sources:
            found.append(DL_SCORE)
        return list(dict.fromkeys(found))

    def columns(self, name: str | None = None) -> list[str]:
        """Columns of the table that a model reads (all models by default): clinical ones, then those of the image."""
        wanted = self.names if name is None else [name]
        found = [column for item in wanted for column in self.model(item).names]
        clinical = [column for column in dict.fromkeys(found) if column not in self.score_names]
        sites = []
        for part in (item for key, item in self.parts.items() if key in found):
            correction = part.inputs.correction
            sites += [] if correction is None else [correction.site_column, *correction.covariates]
        return list(dict.fromkeys([*clinical, *self.measured(name), *sites]))

    def divided(self, name: str) -> tuple[str, ...]:
        """Scores of a model whose share `contributions` divides among their features: those of linear classifiers."""
        sources = self.model(name).names
        return tuple(part for part, item in self.parts.items() if part in sources and item.classifier.kind == "linear")

    def scores(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The scores of each row: by classifiers, and the networks' where the table has it."""
        found = {name: item.score(frame) for name, item in self.parts.items()}
        if DL_SCORE in frame.columns:
            found[DL_SCORE] = frame[DL_SCORE].to_numpy(dtype=float)
        return pd.DataFrame(found, index=frame.index)

    def radscore(self, frame: pd.DataFrame) -> pd.Series:
        """A fusion has several scores; see `scores`."""
        raise ModelError("The models of a fusion have several scores.", expected="scores(frame)")

    def inputs(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The clinical columns, and the scores."""
        clinical = [column for model in self.models.values() for column in model.names if column in frame.columns]
        kept = [column for column in dict.fromkeys(clinical) if column not in self.score_names]
        return frame[kept].join(self.scores(frame))

    def contributions(self, frame: pd.DataFrame, name: str, *, features: bool = True) -> pd.DataFrame:
        """Share of each term in the log odds of one model, against the training mean.

        With `features` the share of a score by a linear classifier is divided among its features (what is left of it,
        a constant, keeps the score's name). Other classifiers' scores have no such parts and stay whole.
        """
        model = self.model(name)
        found = dict(model.contributions(self.inputs(frame)).items())
        for part, item in self.parts.items():
            shares = item.shares(frame) if features and part in self.divided(name) else None
            if shares is None:
                continue
            slope = model.coefficients[1 + [term.name for term in model.terms].index(part)]
            for feature, values in (shares * slope).items():
                found[feature] = found.get(feature, 0.0) + values
                found[part] = found[part] - values
        return pd.DataFrame(found, index=frame.index)

    def unusual(self, frame: pd.DataFrame, name: str | None = None) -> list[dict[str, Any]]:
        """Values that are missing, of an unknown level or outside the training range, for one model or all."""
        wanted = self.names if name is None else [name]
        found = super().unusual(frame, name)
        used = {source for item in wanted for source in self.model(item).names}
        found += [entry for part, item in self.parts.items() if part in used for entry in item.inputs.unusual(frame)]
        return list({(str(entry["row"]), entry["name"]): entry for entry in found}.values())

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Arrays of all classifiers, ``score/array``."""
        return {
            f"{part}/{key}": np.asarray(value)
            for part, item in self.parts.items()
            for key, value in item.classifier.arrays.items()
        }

    def to_dict(self) -> dict[str, Any]:
        """JSON-able description; with `arrays`, `from_dict` predicts the same numbers."""
        parts = {name: item.to_dict() for name, item in self.parts.items()}
        return super().to_dict() | {"schema": SCHEMA, "kind": KIND, "parts": parts}

    @classmethod
    def from_dict(cls, entry: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]] | None = None) -> FrozenFusion:
        """The inverse of `to_dict`, also after a journey through JSON.

        Raises
        ------
        ModelError
            Written by a newer version.
        """
        if entry.get("schema") != SCHEMA or entry.get("kind") != KIND:
            raise ModelError(
                "The models were written by another version.",
                expected=f"models of a fusion, schema {SCHEMA}",
                found=f"{entry.get('kind', 'binary')} models of schema {entry.get('schema')}",
                remedy="use the version of hepacast that is named in the bundle",
            )
        own = Entry(entry, "")
        known = arrays or {}
        parts = {
            part: ClassifierScore.from_dict(
                own.entry("parts").raw(part),
                {key.removeprefix(f"{part}/"): item for key, item in known.items() if key.startswith(f"{part}/")},
                part,
            )
            for part in own.entry("parts")
        }
        models = {name: FrozenLogistic.from_dict(own.entry("models").raw(name), name) for name in own.entry("models")}
        return cls(models=models, score=None, cutoffs=read_cutoffs(own, models), parts=parts)
