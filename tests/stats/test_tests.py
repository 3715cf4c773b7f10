"""Univariate tests against R (golden i), one by one and column-wise."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import stats

from hepacast.errors import ModelError, OutcomeError
from hepacast.stats import tests as t
from hepacast.stats.effects import cohen_d, population_stability, smd, smd_categorical

TIGHT = {"rtol": 1e-9, "atol": 1e-30}
NUMERIC = ["age", "bili", "chol", "albumin", "copper", "alk.phos", "ast", "trig", "platelet", "protime"]
CATEGORICAL = ["trt", "sex", "ascites", "hepato", "spiders", "edema", "stage"]


@pytest.fixture
def pbc(golden):
    return golden("i_univariate_tables")


def split(data, name):
    return data[name][data.dead == 0].dropna().to_numpy(), data[name][data.dead == 1].dropna().to_numpy()


@pytest.mark.parametrize("name", NUMERIC)
def test_numeric_variables_equal_r(pbc, name):
    reference, data = pbc
    truth = reference["numeric"][name]
    a, b = split(data, name)
    welch, student = t.t_test(a, b), t.t_test(a, b, equal_var=True)
    assert_allclose([welch.statistic, welch.df, welch.p], [truth["t_welch"][k] for k in ("t", "df", "p")], **TIGHT)
    assert_allclose(welch.ci, truth["t_welch"]["ci"], **TIGHT)
    assert_allclose([student.statistic, student.p], [truth["t_student"]["t"], truth["t_student"]["p"]], **TIGHT)
    corrected = t.mann_whitney(a, b, exact=False)
    assert_allclose([corrected.statistic, corrected.p], list(truth["mann_whitney"].values())[:2], **TIGHT)
    assert_allclose(t.mann_whitney(a, b, exact=False, correct=False).p, truth["mann_whitney"]["p_nocc"], **TIGHT)
    assert_allclose(t.kolmogorov_smirnov(a, b).p, truth["ks"]["p"], rtol=1e-9, atol=1e-15)  # R takes it from 1
    assert_allclose(t.levene([a, b], center="mean").p, truth["levene_mean_p"], **TIGHT)
    assert_allclose(t.levene([a, b]).p, truth["levene_median_p"], **TIGHT)
    assert_allclose(t.variance_ratio(a, b).p, truth["var_F_p"], **TIGHT)
    for group, key in ((a, "shapiro0"), (b, "shapiro1")):
        result = t.shapiro(group)
        assert_allclose([result.statistic, result.p], [truth[key]["W"], truth[key]["p"]], **TIGHT)
    assert_allclose(
        [smd(a, b), cohen_d(a, b), cohen_d(a, b, hedges=True)],
        [truth["smd_pooled_avgvar"], truth["cohen_d"], truth["hedges_g"]],
        **TIGHT,
    )


def counts_of(data, name):
    import pandas as pd

    return pd.crosstab(data[name], data.dead).to_numpy()


@pytest.mark.parametrize("name", CATEGORICAL)
def test_categorical_variables_equal_r(pbc, name):
    reference, data = pbc
    truth = reference["categorical"][name]
    table = counts_of(data, name)
    assert table.tolist() == truth["counts"]
    plain, yates, fisher = t.chi_square(table), t.chi_square(table, yates=True), t.fisher_exact(table)
    assert_allclose([plain.statistic, plain.df, plain.p], [truth["chi2"], truth["df"], truth["p_pearson"]], **TIGHT)
    assert_allclose([yates.statistic, yates.p], [truth["chi2_yates"], truth["p_yates_if_2x2"]], **TIGHT)
    assert_allclose([plain.likelihood_ratio, plain.cramers_v], [truth["lr_chi2"], truth["cramers_v"]], **TIGHT)
    assert_allclose(plain.expected_min, truth["min_expected"], **TIGHT)
    assert plain.expected_below_5 == truth["n_expected_lt5"]
    assert_allclose(fisher.p, truth["p_fisher"], rtol=1e-7)
    if table.shape == (2, 2):
        assert_allclose(fisher.estimate, truth["fisher_or"], rtol=1e-4)  # R's root is found to 1e-4 only
    else:
        trend = t.trend_in_proportions(table[:, 1], table.sum(axis=1))
        assert_allclose(trend.p, truth["trend_p"], **TIGHT)


@pytest.mark.parametrize("name", ["age", "bili", "chol", "albumin"])
def test_several_groups_equal_r(pbc, name):
    reference, data = pbc
    truth = reference["by_stage"][name]
    groups = [group[name].to_numpy() for _, group in data.groupby("stage")]
    kruskal, classic, welch = t.kruskal(groups), t.anova(groups, equal_var=True), t.anova(groups)
    assert_allclose([kruskal.statistic, kruskal.p], list(truth["kruskal"].values()), **TIGHT)
    assert_allclose([classic.statistic, classic.p], list(truth["anova"].values()), **TIGHT)
    assert_allclose(welch.p, truth["welch_anova_p"], **TIGHT)


def test_small_exact_and_paired_equal_r(pbc):
    reference, data = pbc
    small = reference["wilcox_exact_small"]
    result = t.mann_whitney(small["a"], small["b"])
    assert result.name == "Mann-Whitney (exact)"
    assert_allclose([result.statistic, result.p], [small["W"], small["p"]], **TIGHT)
    before, after = data.ast[:40], data["alk.phos"][:40] / 10
    assert_allclose(t.paired_t_test(before, after).p, reference["paired"]["t_p"], **TIGHT)
    assert_allclose(t.wilcoxon_signed_rank(before, after, exact=False).p, reference["paired"]["wilcoxon_p"], **TIGHT)


def test_p_adjustment_equals_r(pbc):
    truth = pbc[0]["p_adjust"]
    for method in ("BH", "bonferroni", "holm"):
        assert_allclose(t.p_adjust(truth["p"], method), truth[method], **TIGHT)


def test_p_adjustment_hand_values():
    # p.adjust(c(0.01, 0.02, 0.03, 0.04, 0.05), m) worked by hand from the definitions.
    p = [0.01, 0.02, 0.03, 0.04, 0.05]
    assert_allclose(t.p_adjust(p, "hochberg"), [0.05] * 5)
    assert_allclose(t.p_adjust(p, "BY"), np.full(5, 0.05 * (1 + 1 / 2 + 1 / 3 + 1 / 4 + 1 / 5)))
    assert_allclose(t.p_adjust([0.01, np.nan, 0.04], "holm"), [0.02, np.nan, 0.04])
    assert_allclose(t.p_adjust([0.01, 0.2], "bonferroni", n=10), [0.1, 1.0])
    with pytest.raises(ModelError):
        t.p_adjust([0.5], "tukey")


def hommel_by_closed_testing(p):
    """Definition: a hypothesis is rejected when every intersection with it is, by Simes' test."""
    adjusted = []
    for i in range(len(p)):
        worst = 0.0
        for size in range(1, len(p) + 1):
            for subset in itertools.combinations(range(len(p)), size):
                if i in subset:
                    ordered = sorted(p[j] for j in subset)
                    worst = max(worst, min(size * value / (rank + 1) for rank, value in enumerate(ordered)))
        adjusted.append(min(1.0, worst))
    return adjusted


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_hommel_is_the_closed_simes_test(p):
    assert_allclose(t.p_adjust(p, "hommel"), hommel_by_closed_testing(p), atol=1e-12)


def test_population_stability_equals_the_formula(pbc):
    reference, data = pbc
    truth = reference["psi_bili"]
    result = population_stability(data.bili[data.id <= 156], data.bili[data.id > 156])
    assert_allclose(result.expected, truth["expected"], **TIGHT)
    assert_allclose(result.actual, truth["actual"], **TIGHT)
    assert_allclose(result.psi, truth["psi"], **TIGHT)


def brute_fisher(table):
    """Sum over every table with the same margins, listed naively."""
    table = np.asarray(table)
    rows, columns = table.sum(1), table.sum(0)

    def probability(cells):
        top = math.prod(map(math.factorial, [*rows.tolist(), *columns.tolist()]))
        return top / (math.factorial(int(table.sum())) * math.prod(map(math.factorial, cells)))

    def fill(done):
        if len(done) == table.size:
            yield done
            return
        i, j = divmod(len(done), table.shape[1])
        row_left = rows[i] - sum(done[i * table.shape[1] : len(done)])
        column_left = columns[j] - sum(done[j :: table.shape[1]][:i])
        for value in range(min(row_left, column_left) + 1):
            if j == table.shape[1] - 1 and value != row_left:
                continue
            if i == table.shape[0] - 1 and value != column_left:
                continue
            yield from fill([*done, value])

    observed = probability(table.ravel().tolist())
    return sum(p for cells in fill([]) if (p := probability(cells)) <= observed * (1 + 1e-7))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.integers(0, 3), min_size=3, max_size=3), min_size=2, max_size=4))
def test_fisher_equals_the_naive_list_of_all_tables(rows):
    table = np.array(rows)
    table = table[table.sum(1) > 0][:, table.sum(0) > 0]
    if min(table.shape, default=0) < 2:
        assert t.fisher_exact(rows).status == "impossible"
        return
    assert_allclose(t.fisher_exact(table).p, brute_fisher(table), rtol=1e-9)
    assert_allclose(t.fisher_exact(table.T).p, brute_fisher(table), rtol=1e-9)


def test_fisher_documented_example():
    # R's help page of fisher.test: Agresti (1990, p. 57), job satisfaction; P = 0.7827.
    job = [[1, 2, 1, 0], [3, 3, 6, 1], [10, 10, 14, 9], [6, 7, 12, 11]]
    assert_allclose(t.fisher_exact(job).p, 0.7827, atol=5e-5)


def test_fisher_says_when_a_table_is_too_large():
    big = np.full((6, 6), 40)
    result = t.fisher_exact(big)
    assert result.status == "impossible" and "too large" in result.reason and math.isnan(result.p)


def test_mcnemar_by_hand():
    # Agresti (1990, p. 350), approval ratings: (|86 - 150| - 1)^2 / (86 + 150), without correction 64^2 / 236.
    assert_allclose(t.mcnemar([[794, 86], [150, 570]]).statistic, 63**2 / 236)
    assert_allclose(t.mcnemar([[794, 86], [150, 570]], correct=False).statistic, 64**2 / 236)
    assert t.mcnemar([[5, 0], [0, 6]]).status == "impossible"
    assert_allclose(t.mcnemar([[5, 1], [6, 5]], exact=True).p, stats.binomtest(1, 7).pvalue)


def test_standardized_difference_of_categories():
    table = np.array([[30, 20], [70, 80]])
    by_hand = abs(0.3 - 0.2) / np.sqrt((0.3 * 0.7 + 0.2 * 0.8) / 2)
    assert_allclose(smd_categorical(table), by_hand)
    assert smd_categorical([[10, 20], [30, 60]]) == pytest.approx(0.0, abs=1e-12)


def test_impossible_tests_give_reasons_not_numbers():
    for result in (
        t.t_test([1.0], [1.0, 2.0]),
        t.t_test([2.0, 2.0], [2.0, 2.0]),
        t.mann_whitney([], [1.0]),
        t.mann_whitney([3.0] * 4, [3.0] * 5),
        t.kruskal([[1, 1], [1, 1]]),
        t.shapiro([1.0, 2.0]),
        t.shapiro([5.0] * 9),
        t.chi_square([[3, 4]]),
        t.anova([[1.0, 1.0], [1.0, 1.0]]),
        t.levene([[1.0, 1.0], [2.0, 2.0]]),
        t.paired_t_test([1, 2, 3], [0, 1, 2]),
        t.trend_in_proportions([0, 0], [5, 5]),
    ):
        assert result.status == "impossible" and result.reason and math.isnan(result.p)


@pytest.mark.parametrize("n", [3, 4, 5, 6, 11, 12, 37, 147])
def test_shapiro_columns_agree_with_scipy(n):
    x = np.random.default_rng(n).gamma(2.0, size=(n, 6))
    for j in range(6):
        truth = stats.shapiro(x[:, j])
        result = t.shapiro(x[:, j])
        assert_allclose([result.statistic, result.p], [truth.statistic, truth.pvalue], rtol=1e-6, atol=1e-9)


@pytest.fixture
def wide():
    rng = np.random.default_rng(5)
    x = rng.normal(size=(90, 30))
    x[:, 10:20] = np.round(rng.gamma(1.0, size=(90, 10)), 1)
    x[:, 20] = 4.0
    x[rng.random((90, 30)) < 0.05] = np.nan
    x[:, :5] = np.nan_to_num(x[:, :5])
    y = (rng.random(90) < 0.4).astype(float)
    x[y == 1, 21] = np.nan
    return x, y


@pytest.mark.parametrize("choose", ["normality", "t", "mann-whitney"])
def test_columns_equal_the_tests_one_by_one(wide, choose):
    x, y = wide
    result = t.univariate_tests(x, y, choose=choose)
    for j in range(x.shape[1]):
        a, b = x[y == 0, j], x[y == 1, j]
        welch, rank = t.t_test(b, a), t.mann_whitney(b, a)
        assert_allclose([result.t[j], result.t_p[j]], [welch.statistic, welch.p], rtol=1e-9)
        assert_allclose(result.mann_whitney_p[j], rank.p, rtol=1e-9)
        if choose == "normality":
            normal = t.shapiro(a).p > 0.05 and t.shapiro(b).p > 0.05
            assert result.normal[j] == normal
            assert_allclose(result.p[j], welch.p if normal else rank.p, rtol=1e-9)
        else:
            assert_allclose(result.p[j], welch.p if choose == "t" else rank.p, rtol=1e-9)
    assert result.reason[20] == "the values do not vary" and math.isnan(result.p[20])
    assert result.reason[21] == "too few values in a group"
    assert list(result.to_frame().columns[:2]) == ["n0", "n1"]


def test_columns_do_not_depend_on_row_order(wide):
    x, y = wide
    order = np.random.default_rng(1).permutation(len(y))
    assert_allclose(t.univariate_tests(x, y).p, t.univariate_tests(x[order], y[order]).p, rtol=1e-12)


def test_columns_check_their_input(wide):
    x, y = wide
    with pytest.raises(OutcomeError):
        t.univariate_tests(x, np.zeros(90))
    with pytest.raises(ModelError):
        t.univariate_tests(x[:10], y)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12))
def test_exact_rank_sum_equals_scipy(n_a, n_b):
    rng = np.random.default_rng(n_a * 100 + n_b)
    values = rng.permutation(n_a + n_b).astype(float)
    truth = stats.mannwhitneyu(values[:n_a], values[n_a:], method="exact")
    result = t.mann_whitney(values[:n_a], values[n_a:])
    assert_allclose([result.statistic, result.p], [truth.statistic, truth.pvalue], rtol=1e-9)
