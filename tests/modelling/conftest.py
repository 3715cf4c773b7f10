"""A small cohort with planted effects, and a table of pure noise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from hepacast.core.executor import keep_workers
from hepacast.modelling.predictors import Predictor


@pytest.fixture(scope="module", autouse=True)
def kept_workers() -> Iterator[None]:
    """The tests of a file share the processes that one of them starts."""
    with keep_workers():
        yield


@dataclass(frozen=True)
class Planted:
    """Clinical columns, features in correlated groups, outcome; INR, albumin and two feature groups matter."""

    table: pd.DataFrame
    y: np.ndarray
    predictors: tuple[Predictor, ...]
    features: list[str]


def planted(n: int = 150, groups: int = 40, copies: int = 4, seed: int = 3, strength: float = 1.0) -> Planted:
    rng = np.random.default_rng(seed)
    base = rng.normal(size=(n, groups))
    values = np.repeat(base, copies, axis=1) + 0.35 * rng.normal(size=(n, groups * copies))
    features = [f"{'parenchyma' if j % 2 else 'tumor'}:f{j:03d}" for j in range(groups * copies)]
    ids = [f"P{i:03d}" for i in range(n)]
    inr, alb = rng.normal(1.1, 0.12, n), rng.normal(38, 5, n)
    child = rng.choice(["A", "B", "C"], n, p=[0.6, 0.3, 0.1])
    clinical = pd.DataFrame(
        {"inr": inr, "alb": alb, "age": rng.normal(60, 10, n), "child": child, "sex": rng.integers(0, 2, n)}, index=ids
    )
    log_odds = -1.2 + strength * (base[:, 0] - base[:, 1] + 0.9 * (inr - 1.1) / 0.12 - 0.9 * (alb - 38) / 5)
    y = (rng.uniform(size=n) < expit(log_odds)).astype(int)
    table = pd.concat([clinical, pd.DataFrame(values * 3 + 10, index=ids, columns=features)], axis=1)
    predictors = (
        Predictor("inr"),
        Predictor("alb", unit="g/L"),
        Predictor("age"),
        Predictor("child", "categorical", ("A", "B", "C")),
        Predictor("sex", "binary"),
    )
    return Planted(table, y, predictors, features)


@pytest.fixture(scope="session")
def cohort() -> Planted:
    return planted()


@pytest.fixture(scope="session")
def feature_table(cohort: Planted) -> pd.DataFrame:
    return cohort.table[cohort.features]
