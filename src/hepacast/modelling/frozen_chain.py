"""The models of a study whose chain has no formula, as arrays: the chain's score like that of a fusion."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from hepacast.errors import ModelError
from hepacast.modelling.chain_score import Searched
from hepacast.modelling.frozen_classifiers import FrozenClassifier
from hepacast.modelling.frozen_fusion import ClassifierScore, FrozenFusion, freeze_classifier_score
from hepacast.modelling.frozen_models import RADSCORE
from hepacast.modelling.radscore import Radscore
from hepacast.modelling.study_models import StudyModels


def freeze_study_models(fitted: StudyModels, frame: pd.DataFrame) -> FrozenFusion:
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
    return FrozenFusion(models=frozen.models, score=None, cutoffs=frozen.cutoffs, parts={RADSCORE: score})


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
