"""What a model could reach in other patients if its risks were right, and case-mix beside that of training."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hepacast.evaluation.case_mix import expected_auc, expected_concordance, level_rows, number_row
from hepacast.stats.cox_checks import concordance


def by_pairs(p):
    """van Klaveren's formula as it is written, over all pairs."""
    up = down = 0.0
    for i in range(len(p)):
        for j in range(i):
            first, second = p[i] * (1 - p[j]), p[j] * (1 - p[i])
            down += first + second
            up += first if p[i] > p[j] else second if p[j] > p[i] else 0.5 * (first + second)
    return up / down


@given(st.lists(st.sampled_from([0.02, 0.1, 0.3, 0.31, 0.5, 0.9]), min_size=2, max_size=25))
def test_expected_auc_is_the_mean_over_pairs(p):
    assert expected_auc(p) == pytest.approx(by_pairs(p), rel=1e-12)


def test_expected_auc_is_the_auc_of_outcomes_that_follow_the_risks():
    rng = np.random.default_rng(3)
    p = rng.beta(1, 2, 4000)
    seen = []
    for _ in range(20):
        y = rng.random(p.size) < p
        ranks = pd.Series(p).rank().to_numpy()
        seen.append((ranks[y].sum() - y.sum() * (y.sum() + 1) / 2) / (y.sum() * (~y).sum()))
    assert expected_auc(p) == pytest.approx(np.mean(seen), abs=0.004)


def test_expected_concordance_is_that_of_times_that_follow_the_hazards():
    rng = np.random.default_rng(4)
    lp = rng.normal(0, 1.2, 1500)
    times = rng.exponential(np.exp(-lp))
    found = concordance(times, np.ones(lp.size), lp)
    assert expected_concordance(lp) == pytest.approx(found.c, abs=4 * found.se)
    assert expected_concordance([1.0, 1.0, 1.0]) == 0.5


def test_case_mix_of_numbers_and_levels():
    trained = (-1.96, -1.2816, -0.6745, 0.0, 0.6745, 1.2816, 1.96)
    row = number_row("x", "X", "g/L", np.array([0.5, 1.0, 1.5, np.nan]), trained, n_missing=1)
    assert row.here == (0.75, 1.0, 1.25) and row.difference == pytest.approx(1.0, rel=1e-3)
    assert number_row("x", "X", "", np.array([1.0]), None).trained == ()
    found = {item.level: item for item in level_rows("s", "Sex", pd.Series(["f", "f", "m", "m"]), {"f": 0.5, "m": 0.5})}
    assert found["f"].here == (0.5,) and found["f"].difference == 0.0
