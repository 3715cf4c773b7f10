"""Penalized paths and their cross-validation against glmnet 4.1-6 (frozen), and against the optimality conditions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from hepacast.errors import ModelError, OutcomeError
from hepacast.stats.penalized import glmnet_path
from hepacast.stats.penalized_cv import cv_glmnet

Golden = Callable[[str], tuple[dict[str, Any], pd.DataFrame]]
TOLERANCE = 2e-6


@pytest.fixture
def segmentation(golden: Golden) -> dict[str, Any]:
    reference, data = golden("e_lasso_segmentation")
    names = [name for name in data.columns[4:] if name not in reference["dropped_zero_variance"]]
    train, test = data[data["Case"] == "train"], data[data["Case"] == "test"]
    mean, sd = train[names].mean(), train[names].std(ddof=1)
    return {
        "reference": reference,
        "names": names,
        "mean": mean,
        "sd": sd,
        "X": ((train[names] - mean) / sd).to_numpy(),
        "X_test": ((test[names] - mean) / sd).to_numpy(),
        "y": train["Class"].to_numpy(),
        "foldid": train["foldid"].to_numpy(),
    }


def same_coefficients(
    expected: dict[str, float], names: list[str], intercept: float | None, b: Any, tol: float
) -> None:
    found = {name: value for name, value in zip(names, b) if value != 0.0}
    if intercept is not None:
        found["(Intercept)"] = intercept
    wanted = dict(expected)
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        assert found[name] == pytest.approx(value, abs=tol), name


def test_zscore_reference(segmentation: dict[str, Any]) -> None:
    reference = segmentation["reference"]["zscore"]
    for name in segmentation["names"]:
        assert segmentation["mean"][name] == pytest.approx(reference["mean"][name], rel=1e-12)
        assert segmentation["sd"][name] == pytest.approx(reference["sd"][name], rel=1e-12)


@pytest.mark.parametrize(("case", "alpha"), [("fixed_lambda", 1.0), ("ridge_fixed", 0.0)])
def test_fixed_penalties(segmentation: dict[str, Any], case: str, alpha: float) -> None:
    reference = segmentation["reference"][case]
    path = glmnet_path(
        segmentation["X"],
        segmentation["y"],
        alpha=alpha,
        lambdas=reference["lambda"],
        standardize=False,
        thresh=1e-14,
        max_sweeps=10**6,
    )
    for step, expected in enumerate(reference["coefs"]):
        same_coefficients(expected, segmentation["names"], path.intercepts[step], path.coefficients[step], TOLERANCE)


@pytest.mark.parametrize(
    ("case", "measure", "given"),
    [
        ("cv_deviance", "deviance", False),
        ("cv_auc", "auc", False),
        ("cv_class", "class", False),
        ("cv_deviance_lambda_given", "deviance", True),
        ("cv_auc_lambda_given", "auc", True),
    ],
)
def test_cross_validation(segmentation: dict[str, Any], case: str, measure: Any, given: bool) -> None:
    reference = segmentation["reference"][case]
    choice = cv_glmnet(
        segmentation["X"],
        segmentation["y"],
        segmentation["foldid"],
        measure=measure,
        lambdas=reference["lambda"] if given else None,
        standardize=False,
        thresh=1e-12,
        lambda_min_ratio=0.02,
        max_sweeps=10**6,
    )
    np.testing.assert_allclose(choice.path.lambdas, reference["lambda"], rtol=1e-9)
    np.testing.assert_allclose(choice.mean, reference["cvm"], atol=TOLERANCE)
    np.testing.assert_allclose(choice.se, reference["cvsd"], atol=TOLERANCE)
    assert choice.lambda_min == pytest.approx(reference["lambda_min"], rel=1e-9)
    assert choice.lambda_1se == pytest.approx(reference["lambda_1se"], rel=1e-9)
    if "coef_min" not in reference:
        return
    # At the largest lambda, given with 15 digits, whether its predictor is just in or out is a matter of rounding.
    first = 1 if given else 0
    np.testing.assert_array_equal(choice.path.n_nonzero[first:], reference["nzero"][first:])
    np.testing.assert_allclose(choice.path.explained, reference["dev_ratio"], atol=TOLERANCE)
    for rule in ("min", "1se"):
        intercept, b = choice.coefficients(rule)  # type: ignore[arg-type]
        same_coefficients(reference[f"coef_{rule}"], segmentation["names"], intercept, b, TOLERANCE)
    link = choice.path.link(segmentation["X_test"][:20], choice.lambda_1se)[:, 0]
    np.testing.assert_allclose(link, reference["radscore_test_first20"], atol=TOLERANCE)


@pytest.mark.parametrize(
    ("case", "settings", "tolerance"),
    [
        ("cv_deviance_default_thresh", {"standardize": False, "thresh": 1e-7, "lambda_min_ratio": 1e-4}, TOLERANCE),
        ("cv_deviance_standardize_true", {"thresh": 1e-12, "lambda_min_ratio": 0.02}, TOLERANCE),
        ("elastic_net", {"alpha": 0.5, "standardize": False, "thresh": 1e-12, "lambda_min_ratio": 0.02}, TOLERANCE),
    ],
)
def test_other_settings(segmentation: dict[str, Any], case: str, settings: dict[str, Any], tolerance: float) -> None:
    reference = segmentation["reference"][case]
    choice = cv_glmnet(segmentation["X"], segmentation["y"], segmentation["foldid"], max_sweeps=10**6, **settings)
    assert choice.lambda_min == pytest.approx(reference["lambda_min"], rel=1e-6)
    assert choice.lambda_1se == pytest.approx(reference["lambda_1se"], rel=1e-6)
    for rule in ("min", "1se"):
        if f"coef_{rule}" in reference:
            intercept, b = choice.coefficients(rule)  # type: ignore[arg-type]
            same_coefficients(reference[f"coef_{rule}"], segmentation["names"], intercept, b, tolerance)


def test_cox(golden: Golden) -> None:
    reference, data = golden("e2_lasso_cox_pbc")
    names = list(data.columns[4:])
    X = ((data[names] - data[names].mean()) / data[names].std(ddof=1)).to_numpy()
    y = (data["time"].to_numpy(), data["dead"].to_numpy())
    fixed = glmnet_path(
        X, y, family="cox", lambdas=reference["fixed"]["lambda"], standardize=False, thresh=1e-14, max_sweeps=10**6
    )
    for step, expected in enumerate(reference["fixed"]["coefs"]):
        same_coefficients(expected, names, None, fixed.coefficients[step], 2e-4)
    expected = reference["cv_given_lambda"]
    settings: dict[str, Any] = {"standardize": False, "thresh": 1e-13, "max_sweeps": 10**6}
    choice = cv_glmnet(X, y, data["foldid"], family="cox", lambdas=expected["lambda"], **settings)
    # glmnet sorts times that are tied between a death and a censoring in an unstable order; ours keep to Breslow.
    np.testing.assert_allclose(choice.mean, expected["cvm"], rtol=2e-4)
    np.testing.assert_allclose(choice.se, expected["cvsd"], rtol=5e-3)
    assert choice.lambda_min == pytest.approx(expected["lambda_min"])
    assert choice.lambda_1se == pytest.approx(expected["lambda_1se"])
    for rule in ("min", "1se"):
        same_coefficients(expected[f"coef_{rule}"], names, None, choice.coefficients(rule)[1], 2e-4)  # type: ignore[arg-type]
    own = cv_glmnet(X, y, data["foldid"], family="cox", **settings)
    assert own.path.lambdas[0] == pytest.approx(reference["cv_default_path"]["lambda_max"], rel=1e-4)
    assert own.lambda_min == pytest.approx(reference["cv_default_path"]["lambda_min"], rel=1e-4)
    assert own.lambda_1se == pytest.approx(reference["cv_default_path"]["lambda_1se"], rel=1e-4)


def test_optimality_conditions_with_weights_and_factors() -> None:
    rng = np.random.default_rng(5)
    X = rng.normal(size=(80, 200)) * rng.uniform(0.1, 10, 200)
    y = (expit(X[:, 0] / X[:, 0].std()) > rng.uniform(size=80)).astype(int)
    weights, factors = rng.uniform(0.5, 2, 80), rng.uniform(0.2, 3, 200)
    factors[7] = 0.0
    path = glmnet_path(X, y, weights=weights, penalty_factors=factors, alpha=0.7, thresh=1e-14, n_lambda=20)
    w, f = weights / weights.sum(), factors * 200 / factors.sum()
    sd = np.sqrt(w @ (X - w @ X) ** 2)
    for step in (3, 10, 15):
        b = path.coefficients[step] * sd
        gradient = (X / sd).T @ (w * (y - expit(X @ path.coefficients[step] + path.intercepts[step])))
        lam = path.lambdas[step]
        slack = gradient - lam * f * 0.3 * b
        inside = b == 0
        assert (np.abs(slack[inside]) <= lam * f[inside] * 0.7 + 1e-6).all()
        np.testing.assert_allclose(slack[~inside], lam * f[~inside] * 0.7 * np.sign(b[~inside]), atol=1e-6)
    assert path.coefficients[0, 7] != 0.0


def test_constant_column_gets_no_coefficient() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 5))
    X[:, 2] = 3.7
    y = (X[:, 0] + rng.normal(size=60) > 0).astype(int)
    path = glmnet_path(X, y)
    assert not path.coefficients[:, 2].any()
    assert np.isfinite(path.coefficients).all()


def test_separated_data_end_the_path() -> None:
    X = np.linspace(-1, 1, 40)[:, None] * np.ones((1, 3))
    path = glmnet_path(X, (X[:, 0] > 0).astype(int))
    assert np.isfinite(path.coefficients).all()
    assert path.explained[-1] > 0.9


def test_refusals() -> None:
    X = np.zeros((10, 2))
    X[:, 0] = np.arange(10)
    with pytest.raises(OutcomeError, match="one class"):
        glmnet_path(X, np.ones(10))
    with pytest.raises(OutcomeError, match="no event"):
        glmnet_path(X, (np.arange(10.0), np.zeros(10)), family="cox")
    with pytest.raises(ModelError, match="missing"):
        glmnet_path(np.full((10, 2), np.nan), np.arange(10) % 2)
    with pytest.raises(ModelError, match="three folds"):
        cv_glmnet(X, np.arange(10) % 2, np.arange(10) % 2)
