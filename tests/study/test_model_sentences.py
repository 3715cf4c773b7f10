"""Sentences of Methods about fitted models: they say what these hold."""

from __future__ import annotations

import numpy as np
import pandas as pd

from hepacast.modelling.logistic_model import LogisticModel
from hepacast.modelling.predictors import Predictor
from hepacast.modelling.study_models import StudyModels
from hepacast.study.stages.model_sentences import _probabilities


def test_candidates_of_a_model_are_those_that_it_holds() -> None:
    """One may probably belong, and yet be shrunk to nothing with all of its part."""
    rng = np.random.default_rng(1)
    index = [f"P{row:03d}" for row in range(90)]
    table = pd.DataFrame({"age": rng.normal(size=90), "bio": rng.normal(size=90)}, index=index)
    y = (rng.random(90) < 1 / (1 + np.exp(-table["bio"] - table["age"]))).astype(int).to_numpy()
    fitted = StudyModels((Predictor("age", label="Age"), Predictor("bio")))
    base = LogisticModel(fitted.predictors, penalty="ridge", parts={"bio": "shape"}, optional=("age",))
    fitted.joint_ = base.fit(table, y)
    probability = fitted.joint_.inclusion_["age"]
    assert probability > 0.8 and _probabilities(fitted) == f": Age {probability:.2f}"
    fitted.joint_ = base.set_params(penalties={"": np.inf, "shape": 2.0}).fit(table, y)
    assert fitted.joint_.inclusion_["age"] > 0.8 and fitted.joint_.frozen_.names == ["bio"]
    assert _probabilities(fitted) == ": none of 1"
