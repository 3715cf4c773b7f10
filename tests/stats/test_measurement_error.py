from __future__ import annotations

import numpy as np
import pytest

from hepacast.modelling.cutoffs import youden_cutoff
from hepacast.stats.logistic import fit_logistic
from hepacast.stats.measurement_error import moment_reconstruction


def _scores(generator: np.random.Generator, n: int, noise: float, members: int) -> tuple[np.ndarray, np.ndarray]:
    """Outcomes, and scores of n patients: the signal and the mean noise of some networks."""
    outcome = (generator.random(n) < 0.3).astype(int)
    signal = 1.2 * outcome + generator.standard_normal(n)
    return outcome, signal + noise * generator.standard_normal((n, members)).mean(axis=1)


def test_means_and_variances_within_groups() -> None:
    generator = np.random.default_rng(1)
    outcome, scores = _scores(generator, 500, 0.8, 1)
    found = moment_reconstruction(scores, outcome, 0.5)
    for group in (0, 1):
        before, after = scores[outcome == group], found[outcome == group]
        assert after.mean() == pytest.approx(before.mean())
        assert after.var(ddof=1) == pytest.approx(before.var(ddof=1) - 0.5)
        np.testing.assert_array_equal(np.argsort(after), np.argsort(before))
    np.testing.assert_array_equal(moment_reconstruction(scores, outcome, 0.0), scores)
    assert np.isfinite(moment_reconstruction(scores, outcome, 1e9)).all()


def test_slope_and_cut_off_learned_from_one_network_hold_for_the_mean_of_five() -> None:
    """150 patients scored by one network each; 4000 new ones by the mean of five."""
    slopes, plain, kept, lost = [], [], [], []
    for seed in range(60):
        generator = np.random.default_rng(seed)
        outcome, single = _scores(generator, 150, 1.0, 1)
        new, mean = _scores(generator, 4000, 1.0, 5)
        alike = moment_reconstruction(single, outcome, 1.0 * (1 - 1 / 5))
        for scores, found in ((alike, slopes), (single, plain)):
            fit = fit_logistic(scores[:, None], outcome, ["score"])
            lp = fit.intercept + fit.coef[0] * mean
            found.append(fit_logistic(lp[:, None], new, ["lp"]).coef[0])
            cut = youden_cutoff(outcome, fit.intercept + fit.coef[0] * scores)
            inside = (fit.intercept + fit.coef[0] * scores >= cut)[outcome == 1].mean()
            outside = (lp >= cut)[new == 1].mean()
            (kept if scores is alike else lost).append(outside - inside)
    assert np.median(slopes) == pytest.approx(1.0, abs=0.1)
    assert np.median(plain) > 1.25
    assert abs(np.mean(kept)) < 0.1
