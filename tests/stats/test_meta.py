"""Random-effects meta-analysis against the published results of R's metafor for the BCG vaccine trials."""

import numpy as np
import pytest

from hepacast.errors import ModelError
from hepacast.stats.meta import pool_estimates

#: Vaccinated with and without tuberculosis, not vaccinated with and without (Colditz et al., JAMA 1994;271:698).
BCG = np.array(
    [
        (4, 119, 11, 128), (6, 300, 29, 274), (3, 228, 11, 209), (62, 13536, 248, 12619), (33, 5036, 47, 5761),
        (180, 1361, 372, 1079), (8, 2537, 10, 619), (505, 87886, 499, 87892), (29, 7470, 45, 7232),
        (17, 1699, 65, 1600), (186, 50448, 141, 27197), (5, 2493, 3, 2338), (27, 16886, 29, 17825),
    ]
)  # fmt: skip


def log_risk_ratios():
    a, b, c, d = BCG.T.astype(float)
    return np.log(a / (a + b) / (c / (c + d))), np.sqrt(1 / a - 1 / (a + b) + 1 / c - 1 / (c + d))


def test_bcg_trials_as_metafor_prints_them():
    """``rma(yi, vi, data=dat.bcg, test="knha")``: Viechtbauer, J Stat Softw 2010;36(3) and the package's pages."""
    found = pool_estimates(*log_risk_ratios())
    assert found.k == 13
    assert found.value == pytest.approx(-0.7145, abs=5e-5)
    assert found.tau2 == pytest.approx(0.3132, abs=5e-5)
    assert found.i2 == pytest.approx(0.9222, abs=5e-5)
    assert found.q == pytest.approx(152.2330, abs=5e-5)
    assert found.se == pytest.approx(0.1808, abs=5e-5)
    assert (found.low, found.high) == (pytest.approx(-1.1084, abs=1e-4), pytest.approx(-0.3206, abs=1e-4))


def test_places_that_do_not_differ_have_no_variance_between():
    found = pool_estimates([0.1, 0.1, 0.1], [0.2, 0.3, 0.1])
    assert found.tau2 == 0.0 and found.value == pytest.approx(0.1) and found.i2 == 0.0


def test_coverage_of_the_mean_and_of_the_next_place():
    rng = np.random.default_rng(0)
    mean = new = 0
    for _ in range(400):
        true = rng.normal(0.8, 0.3, 7)
        se = rng.uniform(0.1, 0.3, 6)
        found = pool_estimates(true[:6] + rng.normal(0, se), se)
        mean += found.low < 0.8 < found.high
        new += found.prediction[0] < true[6] < found.prediction[1]
    assert 0.91 < mean / 400 < 0.985
    assert 0.86 < new / 400 < 0.985  # of six places it is known to be a little short (Partlett, Riley, Stat Med 2017)


def test_what_cannot_be_pooled_is_refused():
    for values, se in (([0.1], [0.1]), ([0.1, 0.2], [0.1, 0.0]), ([0.1, float("nan")], [0.1, 0.1])):
        with pytest.raises(ModelError):
            pool_estimates(values, se)
