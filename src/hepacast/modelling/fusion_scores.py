"""Scores by classifiers on a table of features: fitted without the patients whom they score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from hepacast.core.seeds import derive_seed
from hepacast.modelling.base import Array
from hepacast.modelling.classifier_score import ClassifierScore
from hepacast.modelling.classifiers import raw_score
from hepacast.modelling.frozen_chain import freeze_classifier_score
from hepacast.modelling.grammar import ChainSpec, classifier_of, filter_steps
from hepacast.modelling.score_model import ChainCount, fit_counting


@dataclass(frozen=True)
class Family:
    """Classifiers on one table of features; the best becomes the family's score.

    Parameters
    ----------
    name
        Of the score: ``Radscore``, ``DLR score``.
    chain
        Its filters and selection stand before every classifier; its own classifier is not used.
    classifiers
        Names in `hepacast.modelling.classifiers.CLASSIFIERS`, or ``auto``; of equals the first wins.
    horizon
        Of a time to an event: the classifiers tell the event by it (`AtHorizon`).
    """

    name: str
    chain: ChainSpec
    classifiers: tuple[str, ...]
    horizon: float | None = None


@dataclass(frozen=True)
class View:
    """What one round of choosing and fitting may see.

    Parameters
    ----------
    label
        ``final``, or the outer fold.
    outcome
        Of the training patients (the index): 0 or 1, or two columns, time and code.
    inner
        Inner fold of each training patient.
    test
        Patients to predict; nothing is learned from their rows.
    clinical
        Clinical columns, training and test patients.
    features
        By family: features of training and test patients. Features learned by a network are, for every patient, of
        networks that did not see the patient.
    networks
        By network: log odds of training patients (of networks that did not see the patient) and of test patients.
    excess
        By network: by how much the variance of a training patient's log odds is greater, for want of further networks
        to average over, than a test patient's.
    """

    label: str
    outcome: pd.Series | pd.DataFrame
    inner: pd.Series
    test: tuple[str, ...]
    clinical: pd.DataFrame
    features: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    networks: Mapping[str, pd.Series] = field(default_factory=dict)
    excess: Mapping[str, float] = field(default_factory=dict)

    @property
    def y(self) -> NDArray[Any]:
        """The outcome as estimators take it, (n,) or (n, 2)."""
        return self.outcome.to_numpy()


@dataclass(frozen=True, eq=False)
class PartScores:
    """Scores of all competitors for one part: (training and test patients) x competitors."""

    table: pd.DataFrame
    counts: list[ChainCount] = field(default_factory=list)
    selected: list[str] = field(default_factory=list)
    fitted: FittedFamily | None = None


@dataclass(frozen=True, eq=False)
class FittedFamily:
    """Steps and classifiers, fitted to the rows of `train`."""

    steps: list[Any]
    classifiers: dict[str, Any]
    train: pd.DataFrame
    counts: list[ChainCount]
    selected: list[str]

    def scores(self, new: pd.DataFrame, names: Sequence[str]) -> Array:
        """Scores of other rows, (n, classifiers); 0 where no feature is left."""
        table = new
        for step in self.steps:
            table = step.transform(table)
        scores = np.zeros((len(new), len(names)))
        for column, name in enumerate(names if len(new) else ()):
            if name in self.classifiers:
                scores[:, column] = raw_score(self.classifiers[name], table)
        return scores

    def freeze(self, name: str) -> ClassifierScore:
        """One classifier with the steps before it, as arrays."""
        return freeze_classifier_score(self.steps, self.train, self.classifiers[name], name)


def family_scores(view: View, family: Family, seed: int) -> PartScores:
    """Scores by every classifier of a family: of training patients by fits on the other inner folds."""
    features, y = view.features[family.name], view.y
    train = features.loc[view.outcome.index]
    inner = view.inner.to_numpy()
    held_out = np.full((len(train), len(family.classifiers)), np.nan)
    for fold in np.unique(inner):
        rows = inner != fold
        held_out[~rows] = fit_family(train[rows], y[rows], family, seed).scores(train[~rows], family.classifiers)
    final = fit_family(train, y, family, seed)
    test = final.scores(features.loc[list(view.test)], family.classifiers)
    table = pd.DataFrame(
        np.vstack([held_out, test]), index=[*view.outcome.index, *view.test], columns=list(family.classifiers)
    )
    return PartScores(table, final.counts, final.selected, final)


def fit_family(train: pd.DataFrame, y: NDArray[Any], family: Family, seed: int) -> FittedFamily:
    """Filters and selection once, then every classifier on what is left."""
    steps = filter_steps(family.chain, seed)
    counts = fit_counting(Pipeline(steps), train, y)
    known = train
    for _, step in steps:
        known = step.transform(known)
    classifiers = {}
    for name in family.classifiers if known.shape[1] else ():
        classifier = classifier_of(name, _parameters(name, len(known)), "none", derive_seed(seed, name), family.horizon)
        classifiers[name] = classifier.fit(known, y)
    return FittedFamily([step for _, step in steps], classifiers, train, counts, [str(name) for name in known.columns])


def _parameters(name: str, n: int) -> dict[str, int]:
    """The registry's defaults but for neighbors, of which there cannot be more than half the patients."""
    return {"n_neighbors": max(1, min(15, n // 2))} if name == "knn" else {}
