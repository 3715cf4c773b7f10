"""What every step and every estimator must do, whatever it does besides."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from hepacast.errors import ModelError, OutcomeError
from hepacast.modelling.filters import ReproducibilityFilter, SpearmanFilter, UnivariateFilter
from hepacast.modelling.harmonize import Harmonizer
from hepacast.modelling.impute import TypedImputer
from hepacast.modelling.scale import RankToNormal, ZScore
from hepacast.modelling.selectors import (
    BorutaLike,
    ElasticNetSelector,
    KBest,
    LassoSelector,
    MinimumRedundancy,
    StabilitySelection,
    TopK,
)

STEPS: dict[str, Any] = {
    "imputer": TypedImputer(),
    "zscore": ZScore(),
    "robust": ZScore("robust"),
    "ranks": RankToNormal(),
    "harmonizer": Harmonizer("center"),
    "reproducibility": ReproducibilityFilter({f"parenchyma:f{j:03d}": 0.5 + j / 300 for j in range(160)}),
    "spearman": SpearmanFilter(0.8),
    "spearman-order": SpearmanFilter(0.8, prefer="order"),
    "spearman-caret": SpearmanFilter(0.8, prefer="mean_correlation"),
    "univariate": UnivariateFilter(0.05),
    "univariate-bh": UnivariateFilter(0.2, test="t", adjust="BH"),
    "lasso": LassoSelector(),
    "elastic-net": ElasticNetSelector(rule="1se"),
    "top-k": TopK(LassoSelector(), 3),
    "k-best": KBest(5),
    "k-best-t": KBest(5, score="t"),
    "mrmr": MinimumRedundancy(5),
    "stability": StabilitySelection(n_pairs=5),
    "boruta": BorutaLike(n_rounds=6, n_trees=30),
}


@pytest.fixture
def table(feature_table: pd.DataFrame) -> pd.DataFrame:
    return feature_table.iloc[:, :60]


def prepared(step: Any, table: pd.DataFrame) -> pd.DataFrame:
    if isinstance(step, Harmonizer):
        return table.assign(center=["A", "B", "C"] * (len(table) // 3))
    return table


@pytest.mark.parametrize("name", STEPS)
class TestSteps:
    def test_clone_and_parameters(self, name: str, table: pd.DataFrame, cohort: Any) -> None:
        step = STEPS[name]
        before = json.dumps(step.get_params(deep=False), default=str, sort_keys=True)
        copy = clone(step)
        copy.fit(prepared(step, table), cohort.y)
        assert json.dumps(copy.get_params(deep=False), default=str, sort_keys=True) == before
        assert not [attribute for attribute in vars(step) if attribute.endswith("_")]
        assert copy.describe()

    def test_tables_in_and_out(self, name: str, table: pd.DataFrame, cohort: Any) -> None:
        frame = prepared(STEPS[name], table)
        step = clone(STEPS[name]).fit(frame, cohort.y)
        out = step.transform(frame)
        assert list(out.columns) == list(step.get_feature_names_out())
        assert out.index.equals(frame.index)
        shuffled = frame.iloc[:, ::-1].assign(extra=1.0)
        pd.testing.assert_frame_equal(step.transform(shuffled), out)
        with pytest.raises(ModelError, match="missing"):
            step.transform(frame.drop(columns=frame.columns[3]))

    def test_rows_are_transformed_alone(self, name: str, table: pd.DataFrame, cohort: Any) -> None:
        frame = prepared(STEPS[name], table)
        step = clone(STEPS[name]).fit(frame.iloc[:100], cohort.y[:100])
        out = step.transform(frame)
        changed = frame.copy()
        numbers = changed.select_dtypes("number").columns
        changed.loc[changed.index[100:149], numbers] *= 50.0
        pd.testing.assert_frame_equal(step.transform(changed).iloc[[149]], out.iloc[[149]])
        pd.testing.assert_frame_equal(step.transform(frame.iloc[[120]]), out.iloc[[120]])

    def test_the_order_of_rows_and_columns_changes_nothing(self, name: str, table: pd.DataFrame, cohort: Any) -> None:
        if name in ("stability", "boruta"):
            pytest.skip("draws rows by position: sorted by patient before it comes to this step")
        frame = prepared(STEPS[name], table)
        rows = np.random.default_rng(0).permutation(len(frame))
        first = clone(STEPS[name]).fit(frame, cohort.y)
        second = clone(STEPS[name]).fit(frame.iloc[rows], cohort.y[rows])
        assert list(first.get_feature_names_out()) == list(second.get_feature_names_out())
        np.testing.assert_allclose(first.transform(frame), second.transform(frame), rtol=1e-9, atol=1e-9)
        if name == "spearman-order":
            return
        columns = list(np.random.default_rng(1).permutation(frame.columns))
        third = clone(STEPS[name]).fit(frame[columns], cohort.y)
        assert set(third.get_feature_names_out()) == set(first.get_feature_names_out())

    def test_arrays_get_names(self, name: str, table: pd.DataFrame, cohort: Any) -> None:
        if name in ("harmonizer", "reproducibility"):
            pytest.skip("works by the columns' names")
        step = clone(STEPS[name]).fit(table.to_numpy(), cohort.y)
        assert {str(column)[0] for column in step.get_feature_names_out()} <= {"x"}
        assert step.transform(table.to_numpy()).shape[0] == len(table)
        with pytest.raises(ModelError, match="columns"):
            step.transform(table.to_numpy()[:, :-1])

    def test_an_empty_table_passes_through(self, name: str, table: pd.DataFrame, cohort: Any) -> None:
        if name in ("harmonizer",):
            pytest.skip("needs its site column")
        empty = table.iloc[:, :0]
        step = clone(STEPS[name]).fit(empty, cohort.y)
        assert step.transform(empty).shape == (len(table), 0)
        assert getattr(step, "status_", "no signal") == "no signal"


@pytest.mark.parametrize("name", ["spearman", "univariate", "lasso", "k-best", "mrmr", "boruta", "stability"])
def test_learners_refuse_a_useless_outcome(name: str, table: pd.DataFrame) -> None:
    for y in (np.ones(len(table)), np.arange(len(table)), None, np.zeros(3)):
        with pytest.raises(OutcomeError):
            clone(STEPS[name]).fit(table, y)


def test_columns_of_one_name_are_refused(table: pd.DataFrame, cohort: Any) -> None:
    twice = pd.concat([table.iloc[:, :2], table.iloc[:, :1]], axis=1)
    with pytest.raises(ModelError, match="share a name"):
        ZScore().fit(twice)
