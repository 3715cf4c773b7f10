"""The steps' values, checked by hand and against other libraries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import mannwhitneyu, shapiro, spearmanr, ttest_ind

from hepacast.errors import ModelError, OutcomeError
from hepacast.modelling.base import as_frame
from hepacast.modelling.filters import ReproducibilityFilter, SpearmanFilter, UnivariateFilter, separation
from hepacast.modelling.folds import bootstrap_rows, inner_fold_count, stratified_folds
from hepacast.modelling.impute import TypedImputer
from hepacast.modelling.scale import RankToNormal, ZScore
from hepacast.modelling.selectors import LassoSelector, MinimumRedundancy, StabilitySelection, TopK
from hepacast.stats.penalized_cv import cv_glmnet
from hepacast.stats.ranks import auc_from_ranks, column_ranks


def test_imputer_fills_by_type_and_counts() -> None:
    frame = pd.DataFrame(
        {
            "alb": [40.0, np.nan, 30.0, np.inf, 35.0],
            "grade": ["b", None, "a", "a", "b"],
            "hbv": [True, False, None, True, True],
            "n": [1, 2, 3, 4, 100],
        }
    )
    step = TypedImputer().fit(frame)
    filled = step.transform(frame)
    assert filled["alb"].tolist() == [40, 35, 30, 35, 35]
    assert filled["grade"].tolist() == ["b", "a", "a", "a", "b"]  # a tie: the first in the alphabet
    assert filled["hbv"].tolist() == [True, False, True, True, True]
    assert filled.columns.tolist() == frame.columns.tolist()
    assert step.n_missing_.to_dict() == {"alb": 2, "grade": 1, "hbv": 1, "n": 0}
    assert step.values_["n"] == 3
    coded = TypedImputer(kinds={"n": "categorical"}).fit(frame)
    assert coded.values_["n"] == 1


def test_imputer_and_empty_columns() -> None:
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": [np.nan, np.nan]})
    with pytest.raises(ModelError, match="no value at all"):
        TypedImputer().fit(frame)
    step = TypedImputer(all_missing="drop").fit(frame)
    assert step.dropped_ == ["b"]
    assert step.transform(frame).columns.tolist() == ["a"]
    assert step.transform(pd.DataFrame({"a": [np.nan], "b": [3.0]})).to_numpy().tolist() == [[1.5]]


def test_zscore_is_r_scale_and_remembers_constants() -> None:
    frame = pd.DataFrame({"x": [1.0, 2.0, 4.0], "c": [0.1 + 0.2] * 3, "big": [1e9, 1e9 + 1, 1e9 + 2]})
    step = ZScore().fit(frame)
    np.testing.assert_allclose(step.transform(frame)["x"], (frame["x"] - 7 / 3) / frame["x"].std(ddof=1))
    assert step.constant_ == ["c"]
    assert "big" in step.get_feature_names_out()
    kept = ZScore(constant="zero").fit(frame)
    assert kept.transform(frame.assign(c=5.0))["c"].tolist() == [0, 0, 0]


def test_ranks_to_normal_scores() -> None:
    frame = pd.DataFrame({"x": [3.0, 1.0, 2.0, 2.0]})
    step = RankToNormal().fit(frame)
    out = step.transform(frame)["x"].to_numpy()
    assert out[0] == -out[1] > 0
    assert out[2] == out[3] == pytest.approx(0.0, abs=1e-12)
    assert step.transform(pd.DataFrame({"x": [99.0, -99.0]}))["x"].tolist() == [out[0], out[1]]


def test_spearman_filter_keeps_the_better_of_a_pair(feature_table: pd.DataFrame, cohort: Any) -> None:
    step = SpearmanFilter(0.8).fit(feature_table, cohort.y)
    kept = feature_table[step.selected_]
    rho = np.abs(spearmanr(kept).statistic) - np.eye(kept.shape[1])
    assert rho.max() <= 0.8
    everyone = np.abs(spearmanr(feature_table).statistic)
    names = list(feature_table.columns)
    for name in set(names) - set(step.selected_):
        j = names.index(name)
        better = [
            other
            for other in step.selected_
            if everyone[j, names.index(other)] > 0.8 and step.scores_[other] >= step.scores_[name]
        ]
        assert better, name


def test_auc_distance(feature_table: pd.DataFrame, cohort: Any) -> None:
    distance = separation(column_ranks(feature_table.to_numpy()), cohort.y)
    for j in (0, 7, 150):
        auc = auc_from_ranks(cohort.y, feature_table.iloc[:, j])
        assert distance[j] == pytest.approx(abs(auc - 0.5), abs=1e-12)


def test_univariate_filter_chooses_the_test_by_normality(feature_table: pd.DataFrame, cohort: Any) -> None:
    frame = feature_table.iloc[:, :12].copy()
    frame.iloc[:, 6:] = np.exp(frame.iloc[:, 6:])
    step = UnivariateFilter(0.05).fit(frame, cohort.y)
    for name in frame.columns:
        a, b = frame[name][cohort.y == 1], frame[name][cohort.y == 0]
        normal = min(shapiro(a).pvalue, shapiro(b).pvalue) > 0.05
        p = ttest_ind(a, b, equal_var=False).pvalue if normal else mannwhitneyu(a, b).pvalue
        assert step.p_values_[name] == pytest.approx(p, rel=1e-6), name
        assert step.tests_[name] == ("Welch t" if normal else "Mann-Whitney")
        assert (name in step.selected_) == (p < 0.05)


def test_a_constant_feature_is_not_significant(feature_table: pd.DataFrame, cohort: Any) -> None:
    frame = feature_table.iloc[:, :3].assign(flat=1.0)
    assert "flat" not in UnivariateFilter(0.99).fit(frame, cohort.y).selected_


def test_reproducibility_filter_counts_a_failed_icc_as_no_agreement() -> None:
    frame = pd.DataFrame(np.zeros((3, 4)), columns=["a", "b", "c", "d"])
    table = {"a": 0.9, "b": 0.74, "c": np.nan}
    assert ReproducibilityFilter(table).fit(frame).selected_ == ["a"]
    keep = ReproducibilityFilter(table, missing="keep").fit(frame)
    assert keep.selected_ == ["a", "c", "d"]
    assert keep.not_measured_ == ["c", "d"]
    with pytest.raises(ModelError, match="not measured"):
        ReproducibilityFilter(table, missing="refuse").fit(frame)
    assert ReproducibilityFilter({"a": 0.1}).fit(frame[["a"]]).status_ == "no signal"


def test_lasso_selector_is_cv_glmnet_on_patients_folds(feature_table: pd.DataFrame, cohort: Any) -> None:
    frame = ZScore().fit_transform(feature_table)
    step = LassoSelector(rule="1se", seed=4).fit(frame, cohort.y)
    folds = stratified_folds(frame.index, cohort.y, 10, 4, "penalty")
    choice = cv_glmnet(frame.to_numpy(), cohort.y, folds, lambda_min_ratio=0.01)
    intercept, coefficients = choice.coefficients("1se")
    np.testing.assert_array_equal(step.coef_, coefficients)
    assert step.intercept_ == intercept
    assert set(step.selected_) == set(frame.columns[coefficients != 0])


def test_top_k_keeps_the_largest_weights(feature_table: pd.DataFrame, cohort: Any) -> None:
    frame = ZScore().fit_transform(feature_table)
    step = TopK(LassoSelector(), 3).fit(frame, cohort.y)
    weights = step.selector_.coef_.abs().sort_values(ascending=False)
    assert set(step.selected_) == set(weights.index[:3])
    assert (step.coef_ != 0).sum() == 3
    with pytest.raises(ModelError, match="At least one"):
        TopK(k=0).fit(frame, cohort.y)


def test_noise_gives_no_signal_not_a_crash() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(60, 30)))
    frame.columns = frame.columns.astype(str)
    y = np.arange(60) % 2
    empty = LassoSelector(rule="1se").fit(frame, y)
    assert empty.status_ == "no signal" and "intercept" in empty.note_
    assert empty.transform(frame).shape == (60, 0)


def test_mrmr_prefers_a_new_group_to_a_copy(feature_table: pd.DataFrame, cohort: Any) -> None:
    step = MinimumRedundancy(2).fit(feature_table, cohort.y)
    groups = {int(name.split(":f")[1]) // 4 for name in step.selected_}
    assert groups == {0, 1}


def test_stability_selection_finds_planted_groups(feature_table: pd.DataFrame, cohort: Any) -> None:
    frame = feature_table.iloc[:, ::4]
    step = StabilitySelection(n_pairs=15).fit(frame, cohort.y)
    assert {"tumor:f000", "tumor:f004"} <= set(step.selected_)
    assert step.false_bound_ > 0
    assert step.scores_.between(0, 1).all()


def test_folds_follow_the_patients_not_the_rows() -> None:
    ids = [f"P{i}" for i in range(53)]
    y = (np.arange(53) % 4 == 0).astype(int)
    fold = stratified_folds(ids, y, 5, 1, "x")
    order = np.random.default_rng(0).permutation(53)
    np.testing.assert_array_equal(stratified_folds([ids[i] for i in order], y[order], 5, 1, "x"), fold[order])
    assert (stratified_folds(ids, y, 5, 2, "x") != fold).any()
    assert np.ptp(np.bincount(fold)) <= 1
    assert np.ptp([y[fold == k].sum() for k in range(5)]) <= 1
    twice = stratified_folds(ids + ids, np.tile(y, 2), 5, 1, "x")
    np.testing.assert_array_equal(twice[:53], twice[53:])
    with pytest.raises(OutcomeError, match="so many folds"):
        stratified_folds(ids, y, 54, 1)


def test_inner_folds_and_bootstrap_rows() -> None:
    y = np.array([1] * 4 + [0] * 20)
    assert inner_fold_count(y, 10) == 4
    with pytest.raises(OutcomeError, match="Too few"):
        inner_fold_count(y[2:], 10)
    with pytest.raises(OutcomeError, match="Too few"):
        inner_fold_count([1, 1, 1, 0, 0, 0], 10, ["a", "a", "b", "c", "d", "e"])
    rows = bootstrap_rows(y, 0, 1)
    assert y[rows].sum() == 4 and len(rows) == 24
    np.testing.assert_array_equal(rows, bootstrap_rows(y, 0, 1))


@pytest.mark.parametrize("bad", [np.zeros(3), np.zeros((2, 2, 2))])
def test_tables_only(bad: np.ndarray, golden: Callable[..., Any]) -> None:
    with pytest.raises(ModelError, match="table is needed"):
        as_frame(bad)


def test_words_among_features_are_named(feature_table: pd.DataFrame) -> None:
    with pytest.raises(ModelError, match="must be numbers") as error:
        ZScore().fit(feature_table.assign(note="x"))
    assert error.value.found == "note"
