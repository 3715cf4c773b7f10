"""The evaluation stage refuses what it cannot judge, instead of drawing resamples for ever."""

from types import SimpleNamespace

import numpy as np
import pytest

from hepacast.errors import OutcomeError
from hepacast.study.schema import Evaluation
from hepacast.study.stages.evaluation import _decisions


@pytest.mark.parametrize("event", [0, 1])
def test_predictions_of_one_class_are_refused(event):
    context = SimpleNamespace(study=SimpleNamespace(evaluation=Evaluation(bootstrap=5), seed=1))
    y = np.full(12, event)
    with pytest.raises(OutcomeError, match="nested predictions cannot be judged"):
        _decisions(context, y, {"clinical": np.linspace(0.1, 0.9, 12)}, "nested")
