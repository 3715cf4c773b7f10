"""A score by a classifier as plain numbers and arrays: what is done to the features, and the classifier itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from numpy.typing import NDArray

from hepacast.core.entries import Entry
from hepacast.modelling.base import Array
from hepacast.modelling.frozen_classifiers import FrozenClassifier, read_classifier
from hepacast.modelling.frozen_score import FrozenScore


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

    @property
    def is_linear(self) -> bool:
        """Whether the score is a sum of parts, one a feature (`shares`)."""
        return self.classifier.kind == "linear"

    def values(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Features as the classifier reads them: filled, harmonized, scaled."""
        return self.inputs.shares(frame)

    def score(self, frame: pd.DataFrame) -> Array:
        """The score of each row, shape (n,)."""
        return self.classifier.score(self.values(frame).to_numpy())

    def shares(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Each feature's part of the score of a linear classifier (`is_linear`)."""
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
