"""From fitted steps and classifiers to plain numbers and arrays: the scores that a study's models read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from hepacast.errors import ModelError
from hepacast.modelling.chain_score import Searched
from hepacast.modelling.classifier_score import ClassifierScore
from hepacast.modelling.frozen_classifiers import FrozenClassifier, freeze_classifier
from hepacast.modelling.frozen_models import FrozenModels
from hepacast.modelling.frozen_score import RADSCORE, FrozenScore
from hepacast.modelling.radscore import Radscore, freeze_inputs
from hepacast.modelling.study_models import StudyModels


def freeze_study_models(fitted: StudyModels, frame: pd.DataFrame) -> FrozenModels:
    """Models that read a chain's score, as plain numbers and arrays.

    Parameters
    ----------
    fitted
        Fitted models whose chain ends in a classifier, a stack, a search or `AutoClassifier`.
    frame
        The training rows (for the ranges of the features).

    Raises
    ------
    ModelError
        A step or a classifier that has no array form.
    """
    frozen = fitted.frozen_
    score = freeze_chain(fitted.radiomics_, frame)
    return replace(frozen, score=None, parts={RADSCORE: score})


def freeze_chain(model: Any, frame: pd.DataFrame) -> ClassifierScore:
    """A fitted `ChainScore` or `Radscore` as arrays; of a search, the chain that it chose.

    Raises
    ------
    ModelError
        A step or a classifier that has no array form, or no feature reached the classifier.
    """
    if isinstance(model, Radscore):
        score = model.frozen_
        weights = {
            "coefficients": np.array([item.weight for item in score.features]),
            "intercept": np.array([score.intercept]),
        }
        inputs = replace(score, intercept=0.0, features=tuple(replace(item, weight=1.0) for item in score.features))
        return ClassifierScore(inputs, FrozenClassifier("linear", {}, weights), type(model.chain_[-1]).__name__)
    classifier = model.chain_[-1]
    if isinstance(classifier, Searched):
        return freeze_chain(classifier.estimator_, frame)
    if model.status_ != "ok":
        raise ModelError("The chain has no score to freeze.", found=model.note_)
    steps = [step for _, step in model.chain_.steps[:-1]]
    return freeze_classifier_score(steps, frame, classifier, type(classifier).__name__)


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
