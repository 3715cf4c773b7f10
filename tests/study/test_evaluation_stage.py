"""The evaluation stage refuses what it cannot judge, and its shares are shares."""

import numpy as np
import pytest

from hepacast.errors import OutcomeError
from hepacast.evaluation.conformal import ConformalSet, covered
from hepacast.evaluation.event_by import event_by
from hepacast.modelling.predictions import JudgedSet
from hepacast.study.stages.evaluation import _refuse_one_class


@pytest.mark.parametrize("event", [0, 1])
def test_predictions_of_one_class_are_refused(event):
    patients = [str(number) for number in range(12)]
    with pytest.raises(OutcomeError, match="nested predictions cannot be judged"):
        _refuse_one_class(JudgedSet("nested", "nested", patients, np.full(12, event), {}, {}))


@pytest.mark.parametrize("competing", [False, True])
def test_the_weighted_coverage_of_sets_that_hold_everybody_is_one(competing) -> None:
    """Not one and a rounding error, which the reader of the bundle refuses."""
    sets = [ConformalSet(1.0, 1.0, True, True, 0.9)] * 60
    for seed in range(40):
        g = np.random.default_rng(seed)
        times, codes = g.exponential(300.0, 60).round(1) + 1.0, g.integers(0, 3 if competing else 2, 60)
        row = covered(event_by(times, codes, 180.0), sets)
        assert (row.coverage_events, row.coverage_others) == (1.0, 1.0)
