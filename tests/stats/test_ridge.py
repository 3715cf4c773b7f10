"""Ridge regression: against plain optimization, against glmnet's path, and where nothing is to be found."""

from __future__ import annotations

from itertools import chain, combinations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import betaln, expit, logsumexp

from hepacast.errors import ModelError
from hepacast.stats.cox import fit_cox
from hepacast.stats.logistic import fit_logistic
from hepacast.stats.penalized import glmnet_path
from hepacast.stats.ridge import PENALTIES, PROBABLE, SLABS, ridge_cox, ridge_logistic


def planted(n: int = 150, p: int = 8, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, p)) * rng.uniform(0.1, 50, p) + 5
    z = (x[:, 0] - x[:, 0].mean()) / x[:, 0].std()
    return x, z, rng


def test_estimate_is_glmnets_at_the_same_penalty() -> None:
    x, z, rng = planted()
    y = (rng.random(150) < expit(z)).astype(int)
    fit = ridge_logistic(x, y)
    path = glmnet_path(x, y, lambdas=[fit.penalty / 150], alpha=0.0, thresh=1e-16)
    assert fit.coef == pytest.approx(path.coefficients[0], rel=1e-5)
    assert fit.intercept == pytest.approx(path.intercepts[0], rel=1e-5)


def test_penalty_has_the_largest_marginal_likelihood() -> None:
    x, z, rng = planted(n=120, p=3, seed=4)
    y = (rng.random(120) < expit(z)).astype(int)
    fit = ridge_logistic(x, y)
    standard = np.column_stack([np.ones(120), (x - x.mean(axis=0)) / x.std(axis=0)])

    def evidence(penalty: float) -> float:
        prior = np.array([0.0, penalty, penalty, penalty])

        def cost(beta: np.ndarray) -> float:
            eta = standard @ beta
            return float(np.logaddexp(0, eta).sum() - y @ eta + 0.5 * prior @ beta**2)

        best = minimize(cost, np.zeros(4), method="BFGS", options={"gtol": 1e-9})
        risk = expit(standard @ best.x)
        curvature = (standard * (risk * (1 - risk))[:, None]).T @ standard + np.diag(prior)
        return float(-best.fun + 1.5 * np.log(penalty) - 0.5 * np.linalg.slogdet(curvature)[1])

    assert PENALTIES[np.argmax([evidence(penalty) for penalty in PENALTIES])] == pytest.approx(fit.penalty)


def test_strong_predictors_are_hardly_shrunk_and_limits_hold_the_truth() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(4000, 2))
    y = (rng.random(4000) < expit(x @ [1.0, -1.0])).astype(int)
    fit, plain = ridge_logistic(x, y), fit_logistic(x, y)
    assert fit.coef == pytest.approx(plain.coef, rel=0.01)
    assert np.sqrt(np.diag(fit.covariance)) == pytest.approx(np.sqrt(np.diag(plain.covariance)), rel=0.01)
    assert fit.df == pytest.approx(2.0, abs=0.02)


def test_separated_data_have_an_estimate() -> None:
    x = np.arange(20.0)[:, None]
    fit = ridge_logistic(x, (x[:, 0] > 9).astype(int))
    assert fit.found and 0 < fit.coef[0] < 5


def test_units_and_order_of_columns_do_not_matter() -> None:
    x, z, rng = planted(seed=3)
    y = (rng.random(150) < expit(z)).astype(int)
    fit, other = ridge_logistic(x, y), ridge_logistic(x[:, ::-1] * 1000 - 7, y)
    assert other.coef[::-1] * 1000 == pytest.approx(fit.coef, rel=1e-8)


def test_noise_is_shrunk_to_nothing_or_nearly() -> None:
    rng = np.random.default_rng(2)
    spread = []
    for _ in range(40):
        x, y = rng.normal(size=(100, 10)), (rng.random(100) < 0.3).astype(int)
        fit = ridge_logistic(x, y)
        spread.append(float(np.std(x @ fit.coef)))
        assert fit.found or not fit.coef.any()
    assert np.median(spread) < 0.1


def test_cox_follows_the_plain_fit_where_data_decide() -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(1500, 2))
    time, event = rng.exponential(np.exp(-x @ [0.8, 0.0])), rng.random(1500) < 0.7
    fit, plain = ridge_cox(x, time, event), fit_cox(x, time, event.astype(float))
    assert fit.coef == pytest.approx(plain.coef, abs=0.01)
    assert fit.loglik <= plain.loglik + 1e-9


def test_competing_events_are_heeded() -> None:
    rng = np.random.default_rng(6)
    x = rng.normal(size=(800, 1))
    own, other = rng.exponential(np.exp(-x[:, 0])), rng.exponential(np.exp(-2 * x[:, 0]))
    code = np.where(own < other, 1, 2)
    hazard = ridge_cox(x, np.minimum(own, other), (code == 1).astype(int))
    cumulative = ridge_cox(x, np.minimum(own, other), code)
    # The cause-specific hazard rises with x, the share of patients who ever have the event falls.
    assert hazard.coef[0] > 0.5 and cumulative.coef[0] < 0.1


def test_constant_columns_are_refused() -> None:
    with pytest.raises(ModelError, match="1 constant"):
        ridge_logistic(np.ones((10, 1)), [0, 1] * 5)
    # The standard deviation of seven times 0.1 is 1e-17 and not 0.
    with pytest.raises(ModelError, match="1 constant"):
        ridge_logistic(np.full((7, 1), 0.1), [0, 1, 0, 1, 0, 1, 0])


def test_each_group_has_the_penalty_it_deserves() -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(200, 25))
    y = (rng.random(200) < expit(x[:, :3] @ [1.5, -1.0, 1.0])).astype(int)
    one, groups = ridge_logistic(x, y), [0] * 3 + [1] * 22
    fit = ridge_logistic(x, y, groups=groups)
    # What tells something is shrunk less, the noise far more or left out; that is more probable than one penalty.
    assert fit.gain > one.gain + 3 and fit.penalties[0] < one.penalty < fit.penalties[1]
    assert fit.penalty == fit.penalties[0]
    again = ridge_logistic(x, y, groups=groups, penalties=fit.penalties)
    assert again.coef == pytest.approx(fit.coef, abs=1e-6) and again.gain == pytest.approx(fit.gain)
    # The same group throughout is one penalty.
    assert ridge_logistic(x, y, groups=[0] * 25).coef == pytest.approx(one.coef)


def test_group_of_noise_is_left_out_and_the_rest_is_as_without_it() -> None:
    rng = np.random.default_rng(9)
    x, time = rng.normal(size=(150, 12)), rng.exponential(size=150)
    time *= np.exp(-2 * x[:, 0])
    event = rng.random(150) < 0.7
    fit = ridge_cox(x, time, event.astype(int), groups=[0] + [1] * 11)
    assert np.isinf(fit.penalties[1]) and (fit.coef[1:] == 0).all() and (fit.covariance[2:] == 0).all()
    alone = ridge_cox(x[:, :1], time, event.astype(int), penalties=fit.penalties[:1])
    assert fit.coef[0] == pytest.approx(alone.coef[0], abs=1e-8)
    assert fit.of_columns([True] + [False] * 11).coef == pytest.approx(alone.coef, abs=1e-8)


def test_more_columns_than_patients_are_the_same_ridge() -> None:
    x, _, rng = planted(n=40, p=90)
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    y = (rng.random(40) < expit(z[:, :5].sum(axis=1))).astype(int)
    fit = ridge_logistic(x, y)
    path = glmnet_path(x, y, lambdas=[fit.penalty / 40], alpha=0.0, thresh=1e-16)
    assert fit.coef == pytest.approx(path.coefficients[0], rel=1e-4, abs=1e-7)
    # The covariance is the inverse of information and prior, of all 91 coefficients.
    scale = np.append(1.0, x.std(axis=0))
    design = np.column_stack([np.ones(40), x - x.mean(axis=0)]) / scale
    risk = expit(fit.intercept + x @ fit.coef)
    inverse = np.linalg.inv((design * (risk * (1 - risk))[:, None]).T @ design + fit.penalty * np.diag(scale != 1.0))
    np.testing.assert_allclose(fit.covariance[1:, 1:] * np.outer(scale[1:], scale[1:]), inverse[1:, 1:], atol=1e-8)


def test_more_columns_than_patients_of_times() -> None:
    x, _, rng = planted(n=40, p=90)
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    time = rng.exponential(np.exp(-z[:, :5].sum(axis=1)))
    fit = ridge_cox(x, time, np.ones(40))
    fitted = z @ (fit.coef * x.std(axis=0))
    # At the maximum the score of every column is its penalty's pull.
    order = np.argsort(time)
    later = np.cumsum(np.exp(fitted[order])[::-1])[::-1]
    mean = np.cumsum((z[order] * np.exp(fitted[order])[:, None])[::-1], axis=0)[::-1] / later[:, None]
    score = (z[order] - mean).sum(axis=0)
    np.testing.assert_allclose(score, fit.penalty * fit.coef * x.std(axis=0), atol=1e-6)


def _planted(seed: int, *, time: bool) -> tuple[np.ndarray, tuple[np.ndarray, ...], np.ndarray]:
    """Five candidates (of the first and the second much is true, two stand for one level each), beside two columns."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(140, 8))
    x[:, 3] = x[:, 2] + 0.3 * rng.normal(size=140)
    risk = x[:, 0] + 0.8 * x[:, 1] + 0.9 * x[:, 2] - 0.7 * x[:, 4]
    candidate = np.array([-1, -1, 0, 1, 2, 3, 3, 4])
    if not time:
        return x, ((rng.random(140) < expit(risk)).astype(int),), candidate
    died, left = rng.exponential(np.exp(-risk)), rng.exponential(2.0, 140)
    return x, (np.minimum(died, left), (died < left).astype(float)), candidate


@pytest.mark.parametrize("time", [False, True])
def test_probability_of_a_candidate_is_that_of_the_models_that_hold_it(time) -> None:
    """All models one by one, each with its own maximum and its own Laplace approximation."""
    fitted, told = ridge_cox if time else ridge_logistic, []
    for seed in range(4):
        x, y, candidate = _planted(seed, time=time)
        fit = fitted(x, *y, candidates=candidate)
        known = fitted(x[:, candidate < 0], *y).penalty
        worth: list[float] = []
        models: list[tuple[int, ...]] = []
        for beside in (known, np.inf):
            for slab in SLABS:
                for model in chain.from_iterable(combinations(range(5), size) for size in range(6)):
                    held = (candidate < 0) | np.isin(candidate, model)
                    groups = (candidate[held] >= 0).astype(int)
                    gain = fitted(x[:, held], *y, groups=groups, penalties=[beside, slab]).gain
                    worth.append(gain + betaln(1 + len(model), 10 - len(model)))
                    models.append(model)
        weight = np.exp(np.array(worth) - logsumexp(worth))
        exact = [sum(w for w, model in zip(weight, models) if number in model) for number in range(5)]
        np.testing.assert_allclose(fit.inclusion, exact, atol=0.08)
        assert all((fit.coef[candidate == j] != 0).all() == (fit.inclusion[j] >= PROBABLE) for j in range(5))
        assert (fit.coef[candidate < 0] != 0).all()
        told.append(fit.inclusion)
    assert np.mean(told, axis=0)[2] > 2 * np.mean(told, axis=0)[3]


def test_candidates_of_noise_are_less_probable_the_more_there_are() -> None:
    """Every number of them is as probable beforehand: of many the same evidence is worth less."""
    few, many = [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(120, 25))
        y = (rng.random(120) < expit(1.5 * x[:, 0])).astype(int)
        for size, kept in ((6, few), (25, many)):
            fit = ridge_logistic(x[:, :size], y, candidates=range(size))
            assert fit.inclusion[0] > 0.9
            kept.append(np.count_nonzero(fit.coef) - 1)
    assert np.mean(few) < 0.8 and np.mean(many) < 1.0


@pytest.mark.parametrize("time", [False, True])
def test_without_a_probable_candidate_nothing_is_found(time) -> None:
    found = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(100, 4))
        y = (rng.exponential(size=100), np.ones(100)) if time else (np.arange(100) % 2,)
        fit = (ridge_cox if time else ridge_logistic)(x, *y, candidates=range(4))
        found += fit.found
        assert fit.found == (max(fit.inclusion) >= PROBABLE) == bool((fit.coef != 0).any())
    assert found <= 6


@pytest.mark.parametrize("time", [False, True])
def test_of_many_that_tell_the_same_one_comes_in(time) -> None:
    """Each of twelve is improbable, and that none belongs is more so."""
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=200)
    x = np.column_stack([*(hidden + 0.02 * rng.normal(size=200) for _ in range(12)), rng.normal(size=(200, 3))])
    y = (rng.random(200) < expit(1.5 * hidden)).astype(int)
    times = rng.exponential(np.exp(-hidden))
    fitted, known = (ridge_cox, (times, y)) if time else (ridge_logistic, (y,))
    fit = fitted(x, *known, candidates=range(15))
    one = fitted(x[:, :1], *known)
    assert max(fit.inclusion[:12]) < 0.3 and any(fit.came_in[:12]) and not any(fit.came_in[12:])
    assert [value != 0 for value in fit.coef] == list(fit.came_in)
    assert fit.gain > one.gain - 2 > 5
    assert np.corrcoef(x @ fit.coef, hidden)[0, 1] > 0.99


def test_many_that_belong_are_found_among_many() -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(600, 120))
    y = (rng.random(600) < expit(x[:, :8] @ np.full(8, 0.9))).astype(int)
    fit = ridge_logistic(x, y, candidates=range(120))
    assert set(range(8)) <= set(np.flatnonzero(fit.coef)) and np.count_nonzero(fit.coef) <= 10
