"""A predictor that enters as log10(1 + x) has an axis: its points are the model's, and 0 has some."""

import numpy as np
import pandas as pd
import pytest

from hepacast.cohort import BinaryOutcome
from hepacast.modelling.frozen_models import FrozenModels
from hepacast.modelling.logistic_model import LogisticModel
from hepacast.modelling.predictors import Predictor
from hepacast.study.stages.describe_models import Words, nomogram_of


def test_the_nomogram_reads_the_models_risk():
    rng = np.random.default_rng(3)
    table = pd.DataFrame({"afp": np.exp(rng.normal(2, 2, 200)), "alb": rng.normal(38, 5, 200)})
    table.index = [f"P{n:03d}" for n in range(200)]
    table.loc["P000", "afp"] = 0.0
    lp = np.log10(1 + table["afp"]) - 0.1 * (table["alb"] - 38) - 1
    y = (rng.random(200) < 1 / (1 + np.exp(-lp))).astype(int)
    model = LogisticModel(predictors=(Predictor("afp", log="log10p1"), Predictor("alb"))).fit(table, y).frozen_
    models = FrozenModels({"joint": model}, None, {"joint": 0.5})
    outcome = BinaryOutcome("event", pd.Series(y.to_numpy(), index=table.index))
    nomogram = nomogram_of(models, "joint", Words({}), table, outcome)
    assert nomogram is not None
    for afp, alb in ((0.0, 38.0), (3.0, 30.0), (400.0, 45.0)):
        one = pd.DataFrame({"afp": [afp], "alb": [alb]})
        read = nomogram.read({"afp": afp, "alb": alb})
        expected = float(models.predict_risk(one)["joint"].iloc[0])
        assert next(iter(read.outputs.values())) == pytest.approx(expected, abs=1e-9)
