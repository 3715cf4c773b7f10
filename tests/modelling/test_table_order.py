"""Ranks and medians of folds and resamples from one sort of the whole table: to the last bit those of sorting again."""

import numpy as np
import pandas as pd
import pytest

from hepacast.modelling import table_order
from hepacast.modelling.filters import SpearmanFilter
from hepacast.modelling.impute import TypedImputer
from hepacast.modelling.radscore import Radscore
from hepacast.modelling.refit import Refitter, Split
from hepacast.modelling.study_models import StudyModels
from hepacast.modelling.table_order import TableOrder, known_order, medians_of, ranks_of
from hepacast.stats import ranks as ranks_module
from hepacast.stats.ranks import ColumnOrder, column_ranks

N, P = 90, 24


def table(seed=0):
    """Ties, missing and infinite values, a constant column and one without a value."""
    r = np.random.default_rng(seed)
    values = r.normal(size=(N, P))
    values[:, 4:8] = np.round(values[:, 4:8])
    values[r.random(N) < 0.2, 9] = np.nan
    values[r.random(N) < 0.1, 10] = np.inf
    values[:, 11] = 3.0
    values[:, 12] = np.nan
    index = [f"P{i:03d}" for i in range(N)]
    return pd.DataFrame(values, index=index, columns=[f"f{j}" for j in range(P)])


def samples():
    r = np.random.default_rng(1)
    yield np.arange(N)
    yield np.sort(r.choice(N, 60, replace=False))
    yield np.sort(r.integers(0, N, N))
    yield r.integers(0, N, N)
    yield np.array([3])


def no_sorting(monkeypatch):
    monkeypatch.setattr(ranks_module, "column_ranks", lambda x: pytest.fail("sorted again"))
    for name in ("column_ranks", "_sorted_medians"):
        monkeypatch.setattr(table_order, name, lambda x: pytest.fail("sorted again"))


@pytest.mark.parametrize("layout", ["C", "F"])
def test_ranks_and_medians_are_those_of_sorting_again(layout, monkeypatch):
    whole = table()
    order = TableOrder.of(whole)
    for rows in samples():
        part = whole.iloc[rows].replace([np.inf, -np.inf], np.nan)
        numbers = np.asarray(part.to_numpy(), order=layout)
        expected = part.median().to_numpy()
        with known_order(order):
            np.testing.assert_array_equal(medians_of(part, numbers), expected)
        full = (part.fillna(part.median()).fillna(0.0) - 0.3) / 1.7
        sorted_again = column_ranks(full.to_numpy())
        with monkeypatch.context() as patch, known_order(order):
            no_sorting(patch)
            np.testing.assert_array_equal(ranks_of(full), sorted_again)
            some = full.iloc[:, [5, 2, 9, 0]]
            np.testing.assert_array_equal(ranks_of(some), sorted_again[:, [5, 2, 9, 0]])


def test_values_that_were_changed_are_sorted_again():
    whole = table().fillna(0.0).replace(np.inf, 1.0)
    changed = whole.copy()
    changed["f2"] = changed["f2"].to_numpy()[::-1].copy()
    twice = changed.iloc[[0, 0, 1, 5]].copy()
    twice.iloc[1, 3] += 100.0  # a patient's copies differ
    with known_order(TableOrder.of(whole)):
        for frame in (changed, twice):
            np.testing.assert_array_equal(ranks_of(frame), column_ranks(frame.to_numpy()))
            np.testing.assert_array_equal(medians_of(frame, frame.to_numpy()), frame.median().to_numpy())
        other = whole.rename(columns={"f0": "new"}).rename(index={"P000": "Q"})
        np.testing.assert_array_equal(ranks_of(other), column_ranks(other.to_numpy()))


def test_more_patients_than_two_bytes_count():
    x = np.random.default_rng(2).normal(size=(70_000, 2))
    rows = np.sort(np.random.default_rng(3).integers(0, 70_000, 5_000))
    order = ColumnOrder.of(x)
    np.testing.assert_array_equal(order.ranks(x[rows], rows, np.arange(2)), column_ranks(x[rows]))
    np.testing.assert_array_equal(order.medians(x[rows], rows, np.arange(2)), np.median(x[rows], axis=0))


@pytest.mark.parametrize("of_time", [False, True])
def test_a_refit_is_the_same_with_and_without_the_order(of_time):
    whole = table(4).drop(columns="f12")
    r = np.random.default_rng(5)
    strength = whole["f0"] + whole["f1"]
    y = (strength + r.normal(size=N) > 0).astype(int)
    if of_time:
        y = np.column_stack([np.exp(-strength + r.normal(size=N)), r.random(N) < 0.7])
    models = StudyModels(radiomics=Radscore(), models=("radiomics",), horizons=(1.0,) if of_time else ())
    for rows in samples():
        if len(rows) < N // 2:
            continue
        split = Split((0,), rows, np.arange(N))
        outcome = np.asarray(y)
        plain = Refitter(models, whole, outcome)(split)
        ordered = Refitter(models, whole, outcome, TableOrder.of(whole))(split)
        assert plain.failure == ordered.failure == ""
        np.testing.assert_array_equal(plain.risk, ordered.risk)
        assert plain.selections == ordered.selections


def test_steps_ask_for_the_order(monkeypatch):
    whole = table(6).drop(columns="f12")
    y = np.arange(N) % 2
    with known_order(TableOrder.of(whole)):
        no_sorting(monkeypatch)
        filled = TypedImputer().fit_transform(whole)
        SpearmanFilter().fit(filled, y)
