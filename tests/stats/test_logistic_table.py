"""The paper's logistic table, on R's numbers and on awkward columns."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from hepacast.core.files import to_jsonable
from hepacast.errors import OutcomeError, TableError
from hepacast.stats.logistic import fit_logistic
from hepacast.stats.logistic_table import logistic_table

VARIABLES = ["npreg", "glu", "bp", "skin", "bmi", "ped", "age"]


@pytest.fixture
def pima(golden):
    reference, data = golden("a1_logistic_pima")
    return reference, data[data.split == "train"].reset_index(drop=True)


@pytest.mark.parametrize(("interval", "key"), [("wald", "OR_ci_wald"), ("profile", "OR_ci_profile")])
def test_table_equals_r(pima, interval, key):
    reference, train = pima
    table = logistic_table(train, "type", VARIABLES, interval=interval)
    for part, lines in (("univariate", table.univariate), ("multivariate", table.multivariate)):
        for line in lines:
            truth = reference[part][line.term]
            assert_allclose([line.odds_ratio, line.low, line.high, line.p],
                            [truth["OR"], *truth[key], truth["p"]], rtol=1e-9)  # fmt: skip
    assert_allclose(list(table.vif.values()), [reference["fit"]["vif"][name] for name in VARIABLES], rtol=1e-9)
    assert "P, univariate" in table.text() and len(table.to_frame()) == 7
    json.dumps(to_jsonable(table.to_json()), allow_nan=False)


def test_screening_keeps_what_is_below_the_limit(pima):
    _, train = pima
    table = logistic_table(train, "type", VARIABLES, keep_p=0.001)
    expected = [line.term for line in table.univariate if line.p < 0.001]
    assert list(table.chosen) == expected == [line.term for line in table.multivariate]
    nothing = logistic_table(train.assign(noise=np.tile([0.0, 1.0], 100)), "type", ["noise"], keep_p=1e-9)
    assert nothing.fit is None and any("No predictor passed" in note for note in nothing.notes)


def test_categories_get_one_line_a_level_and_one_p(pima):
    _, train = pima
    train = train.assign(ages=pd.cut(train.age, [0, 25, 35, 99], labels=["young", "middle", "old"]))
    table = logistic_table(train, "type", ["ages", "glu"], references={"ages": "middle"})
    terms = [line.term for line in table.multivariate]
    assert terms == ["ages=young", "ages=old", "glu"]
    smaller, larger = fit_logistic(train.glu, train.type), table.fit
    assert_allclose(table.multivariate[0].p_term, math.exp(-(larger.loglik - smaller.loglik)), rtol=1e-9)  # chi2, 2 df
    assert math.isnan(table.multivariate[1].p_term)
    assert list(table.vif) == ["ages", "glu"]


def test_separation_is_answered_by_firth_and_said(pima):
    _, train = pima
    train = train.assign(marker=((train.type == 1) & (train.index % 7 == 0)).astype(int))
    table = logistic_table(train, "type", ["marker", "glu"])
    assert {line.method for line in table.multivariate} == {"firth"}
    assert [line.method for line in table.univariate] == ["firth", "ml"]
    assert sum("Firth" in note for note in table.notes) == 2
    plain = logistic_table(train, "type", ["marker"], firth=False)
    assert math.isnan(plain.multivariate[0].odds_ratio) and "separate" in plain.multivariate[0].reason


def test_missing_values_are_counted_and_constants_named(pima):
    _, train = pima
    train = train.assign(same=1.0)
    train.loc[:9, "glu"] = np.nan
    train["type"] = train["type"].astype(float)
    train.loc[195:, "type"] = np.nan
    table = logistic_table(train, "type", ["glu", "bmi"])
    assert table.excluded == 15 and table.fit.n == 185
    assert [line.n for line in table.univariate] == [185, 195]
    constant = logistic_table(train, "type", ["same", "bmi"])
    assert any("constant: same" in note for note in constant.notes)
    assert math.isnan(constant.multivariate[0].odds_ratio)
    assert "nan" not in constant.text().lower()


def test_one_class_among_patients_with_a_value(pima):
    _, train = pima
    train = train.assign(rare=np.where(train.type == 1, 2.0, np.nan))
    table = logistic_table(train, "type", ["rare"], multivariate=False)
    assert table.univariate[0].reason == "one class only" and any("one class" in note for note in table.notes)


def test_mistakes_are_explained(pima):
    _, train = pima
    with pytest.raises(TableError, match="outcome"):
        logistic_table(train, "died", ["glu"])
    with pytest.raises(TableError, match="not columns"):
        logistic_table(train, "type", ["weight"])
    with pytest.raises(TableError, match="no predictors"):
        logistic_table(train, "type", [])
    with pytest.raises(OutcomeError, match="not binary"):
        logistic_table(train, "age", ["glu"])
    with pytest.raises(OutcomeError, match="one class"):
        logistic_table(train[train.type == 1], "type", ["glu"])
