"""A chain that reads many features: what is unusual is summed up."""

import numpy as np
import pandas as pd

from hepacast.bundle import Bundle, predict
from hepacast.bundle.prediction import MAX_FEATURES
from hepacast.modelling.frozen_chain import freeze_study_models
from hepacast.modelling.grammar import build_radiomics_model
from hepacast.modelling.study_models import StudyModels
from hepacast.radiomics.recipe import ImageRecipe


def test_many_unusual_features_are_one_warning() -> None:
    rng = np.random.default_rng(2)
    table = pd.DataFrame(
        rng.uniform(-1, 1, size=(80, 40)), columns=[f"tumor:f{j:02d}" for j in range(40)], index=map(str, range(80))
    )
    y = (table.iloc[:, 0].to_numpy() + 0.3 * rng.normal(size=80) > 0).astype(int)
    models = StudyModels(radiomics=build_radiomics_model("auto", seed=1), models=("radiomics",)).fit(table, y)
    card = {"name": "x", "outcome": {"name": "o"}, "intended_use": "tests"}
    bundle = Bundle(freeze_study_models(models, table), (), ImageRecipe("table"), None, card)

    def told(unusual: int) -> list[str]:
        row = pd.Series(0.0, index=table.columns)
        row.iloc[:unusual] = 5.0
        return [text for text in predict(bundle, {}, row.to_dict()).warnings if "training range" in text]

    assert told(0) == []
    assert len(told(MAX_FEATURES)) == MAX_FEATURES
    many = told(MAX_FEATURES + 1)
    assert len(many) == 4
    assert many[-1].startswith("13 of 40 features (32.5%) are missing or outside the training range")
