"""Whom the maps of a network show: surest right and surest wrong, by a stated rule."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hepacast.study.stages.network_results import extreme_patients


def test_surest_right_and_surest_wrong_of_both_outcomes_in_turn():
    event = np.array([1, 1, 1, 0, 0, 0, 1])
    scores = np.array([0.9, 0.5, 0.1, 0.2, 0.8, 0.4, 0.7])
    found = extreme_patients(np.array([0, 1, 2, 3, 4, 5]), event, scores, 4)
    assert found == [(0, "surest right"), (3, "surest right"), (2, "surest wrong"), (4, "surest wrong")]


@given(st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1)), max_size=12), st.integers(0, 8))
def test_nobody_stands_twice_and_as_many_as_there_are(people, count):
    event, scores = np.array([p[0] for p in people]), np.array([p[1] for p in people])
    found = extreme_patients(np.arange(len(people)), event, scores, count)
    assert len({row for row, _ in found}) == len(found) == min(count, len(people))
