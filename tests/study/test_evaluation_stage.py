"""The evaluation stage refuses what it cannot judge, and its shares are shares."""

from types import SimpleNamespace

import numpy as np
import pytest

from hepacast.errors import OutcomeError
from hepacast.evaluation.conformal import ConformalSet
from hepacast.study.schema import EvaluationOptions
from hepacast.study.stages.evaluation import _decisions
from hepacast.study.stages.survival_scrutiny import _covered


@pytest.mark.parametrize("event", [0, 1])
def test_predictions_of_one_class_are_refused(event):
    context = SimpleNamespace(study=SimpleNamespace(evaluation=EvaluationOptions(bootstrap=5), seed=1))
    y = np.full(12, event)
    with pytest.raises(OutcomeError, match="nested predictions cannot be judged"):
        _decisions(context, y, {"clinical": np.linspace(0.1, 0.9, 12)}, "nested")


@pytest.mark.parametrize("competing", [False, True])
def test_the_weighted_coverage_of_sets_that_hold_everybody_is_one(competing) -> None:
    """Not one and a rounding error, which the reader of the bundle refuses."""
    sets = [ConformalSet(1.0, 1.0, True, True, 0.9)] * 60
    for seed in range(40):
        g = np.random.default_rng(seed)
        times, codes = g.exponential(300.0, 60).round(1) + 1.0, g.integers(0, 3 if competing else 2, 60)
        row = _covered("validation", SimpleNamespace(times=times, codes=codes), sets, 180.0)
        assert (row["coverage_events"], row["coverage_others"]) == (1.0, 1.0)
