"""Scores of networks become risks of events and of times to them."""

import numpy as np
import pandas as pd
import pytest

from hepacast.errors import ModelError
from hepacast.modelling.cox_model import CoxModel
from hepacast.modelling.score_scale import LEAST_SLOPE, ScoreScale


def followed(score: np.ndarray, effect: float, competing: bool = False) -> np.ndarray:
    generator = np.random.default_rng(5)
    event = generator.exponential(20 * np.exp(-effect * score))
    censored = generator.uniform(5, 60, len(score))
    code = (event <= censored).astype(float)
    if competing:
        code[generator.random(len(score)) < 0.15] = 2
    return np.column_stack([np.minimum(event, censored).clip(0.1), code])


@pytest.mark.parametrize("competing", [False, True])
def test_times_are_those_of_a_cox_model_of_the_score(competing: bool) -> None:
    score = np.random.default_rng(1).normal(2.0, 1.5, 150)
    y = followed(score, 0.6, competing)
    scale = ScoreScale.from_json(ScoreScale.fit(score, y).to_json())
    model = CoxModel().fit(pd.DataFrame({"score": score}), y)
    for time in (6.0, 24.0):
        expected = model.predict_risk(pd.DataFrame({"score": score}), time)
        np.testing.assert_allclose(scale.risk(score, time), expected, atol=1e-12)
    np.testing.assert_array_equal(scale.risks(score, (6.0, 24.0))[:, 1], scale.risk(score, 24.0))
    with pytest.raises(ModelError, match="nothing of times so late"):
        scale.risk(score, 1000.0)
    with pytest.raises(ModelError, match="by a time"):
        scale.risk(score)


def test_scores_that_say_nothing_keep_their_order_and_give_about_the_rate() -> None:
    score = np.random.default_rng(2).normal(size=120)
    y = followed(score, -0.8)
    scale = ScoreScale.fit(score, y)
    assert scale.slope == LEAST_SLOPE
    risk = scale.risk(score, 24.0)
    assert np.ptp(risk) < 0.12 and (np.argsort(risk) == np.argsort(score)).all()
    events = (np.random.default_rng(3).random(120) < 0.3).astype(int)
    plain = ScoreScale.fit(-events + 0.1 * score, events)
    assert plain.slope == LEAST_SLOPE and abs(plain.risk(-events + 0.1 * score).mean() - events.mean()) < 0.01
