"""Radscore, clinical and combined models: what they fit, what they print, what they survive."""

from __future__ import annotations

import json
import pickle
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from hepacast.errors import ModelError
from hepacast.modelling.clinical import ClinicalModel, univariate_table
from hepacast.modelling.cutoffs import youden_cutoff
from hepacast.modelling.frozen_models import FrozenModels
from hepacast.modelling.harmonize import Harmonizer
from hepacast.modelling.impute import TypedImputer
from hepacast.modelling.logistic_model import LogisticModel
from hepacast.modelling.predictors import Predictor, infer_predictors, level_text
from hepacast.modelling.radscore import Radscore, paper_chain
from hepacast.modelling.scale import RankToNormal, ZScore
from hepacast.modelling.selectors import KBest, LassoSelector, TopK
from hepacast.modelling.study_models import StudyModels
from hepacast.stats.describe import describe

from .conftest import Planted


@pytest.fixture(scope="module")
def noise() -> Planted:
    rng = np.random.default_rng(12)
    ids = [f"P{i:03d}" for i in range(60)]
    names = [f"f{j}" for j in range(40)]
    table = pd.DataFrame(rng.normal(size=(60, 40)), index=ids, columns=names)
    table["lab"] = rng.normal(size=60)
    return Planted(table, (np.arange(60) % 3 == 0).astype(int), (Predictor("lab"),), names)


class TestRadscore:
    def test_score_is_the_chains_linear_combination(self, feature_table: pd.DataFrame, cohort: Planted) -> None:
        model = Radscore(score="apparent").fit(feature_table, cohort.y)
        z = model.chain_.transform(feature_table)
        lasso = model.chain_[-1].selector_
        expected = lasso.intercept_ + z.to_numpy() @ lasso.coef_[z.columns].to_numpy()
        np.testing.assert_allclose(model.decision_function(feature_table), expected, atol=1e-12)
        fit = sm.Logit(cohort.y, sm.add_constant(expected)).fit(disp=0)
        np.testing.assert_allclose(model.predict_proba(feature_table)[:, 1], fit.predict(), atol=1e-8)

    def test_counts_and_figure_3(self, feature_table: pd.DataFrame, cohort: Planted) -> None:
        model = Radscore().fit(feature_table, cohort.y)
        counts = model.counts_
        assert [c.name for c in counts] == ["impute", "scale", "redundancy", "univariate", "penalty", "selector"]
        assert counts[0].n_in == 160 and counts[2].n_out < 60 and counts[-1].n_out <= 10
        assert all(a.n_out == b.n_in for a, b in pairwise(counts))
        assert model.choice_ is not None and len(model.choice_.mean) == len(model.choice_.path.lambdas)
        groups = {int(name.split(":f")[1]) // 4 for name in model.selected_}
        assert {0, 1} <= groups

    def test_every_feature_that_leaves_has_its_reason(self, feature_table: pd.DataFrame, cohort: Planted) -> None:
        """Empty, constant and nearly constant features leave at imputing and scaling, counted; the counts add up."""
        table = feature_table.assign(empty=np.nan, same=3.0, almost=1e6 + 1e-8 * np.arange(len(feature_table)))
        table["infinite"] = np.inf
        counts = Radscore(paper_chain()).fit(table, cohort.y).counts_
        assert counts[0].n_in == table.shape[1]
        assert all(one.n_out == next_one.n_in for one, next_one in pairwise(counts))
        told = {reason: n for step in counts for reason, n in step.reasons.items()}
        assert sum(told.values()) == 4
        assert told["without a value in any training patient"] == 2
        assert told["the same value in all training patients"] == 1
        for step in counts:
            assert not step.reasons or sum(step.reasons.values()) == step.n_in - step.n_out

    def test_the_printed_formulas_give_the_score(self, feature_table: pd.DataFrame, cohort: Planted) -> None:
        model = Radscore().fit(feature_table, cohort.y)
        z = (feature_table - feature_table.mean()) / feature_table.std(ddof=1)
        for units, values in (("z", z), ("original", feature_table)):
            text = model.frozen_.formula(units, digits=15).removeprefix("Radscore = ")  # type: ignore[arg-type]
            for name in model.selected_:
                text = text.replace(f"z({name})", f"v[{name!r}]" if units == "z" else f"z({name})")
                if units == "original":
                    text = text.replace(f"x {name}", f"x v[{name!r}]")
            score = eval(text.replace(" x ", " * "), {"v": values})
            np.testing.assert_allclose(score, model.decision_function(feature_table), atol=1e-9)

    def test_refitted_weights(self, feature_table: pd.DataFrame, cohort: Planted) -> None:
        chain = Pipeline([("i", TypedImputer()), ("z", ZScore()), ("k", KBest(3))])
        model = Radscore(chain).fit(feature_table, cohort.y)
        z = model.chain_.transform(feature_table)
        fit = sm.Logit(cohort.y, sm.add_constant(z)).fit(disp=0)
        weights = {feature.name: feature.weight for feature in model.frozen_.features}
        for name in z.columns:
            assert weights[name] == pytest.approx(fit.params[name], abs=1e-7)
        with pytest.raises(ModelError, match="from the selector, which has none"):
            Radscore(chain, weights="selector").fit(feature_table, cohort.y)

    def test_no_signal_is_an_intercept(self, noise: Planted) -> None:
        chain = Pipeline([("z", ZScore()), ("lasso", LassoSelector(rule="1se"))])
        model = Radscore(chain).fit(noise.table[noise.features], noise.y)
        assert model.status_ == "no signal" and model.note_
        np.testing.assert_allclose(model.predict_proba(noise.table)[:, 1], noise.y.mean())
        assert model.formula().startswith("Radscore = ")

    def test_cross_fitted_scores_come_from_other_patients(self, feature_table: pd.DataFrame, cohort: Planted) -> None:
        model = Radscore(score="cross-fitted", seed=1).fit(feature_table, cohort.y)
        assert not np.allclose(model.train_score_, model.apparent_score_)
        assert model.final_.coefficients[1] > 0
        apparent = Radscore(score="apparent", seed=1).fit(feature_table, cohort.y)
        assert model.frozen_ == apparent.frozen_
        # An apparent score is too sure of its patients: its slope is steeper.
        assert model.final_.coefficients[1] < apparent.final_.coefficients[1]

    def test_harmonized_chain_equals_its_frozen_form(self, feature_table: pd.DataFrame, cohort: Planted) -> None:
        site = np.array(["A", "B", "C"] * 50)
        table = feature_table.copy()
        table[site == "B"] = table[site == "B"] * 1.3 + 4
        table = table.assign(center=site)
        steps = paper_chain().steps
        chain = Pipeline([steps[0], ("combat", Harmonizer("center", unseen="pooled")), *steps[1:]])
        model = Radscore(chain).fit(table.iloc[:120], cohort.y[:120])
        new = table.iloc[120:].copy()
        new.iloc[0, -1] = "never seen"
        new.iloc[3, 0] = np.nan
        z = model.chain_.transform(new)
        lasso = model.chain_[-1].selector_
        expected = lasso.intercept_ + z.to_numpy() @ lasso.coef_[z.columns].to_numpy()
        np.testing.assert_allclose(model.decision_function(new), expected, atol=1e-10)
        assert model.counts_[0].n_in == model.counts_[1].n_in == 160

    def test_a_chain_without_formula_is_refused(self, feature_table: pd.DataFrame, cohort: Planted) -> None:
        chain = Pipeline([("r", RankToNormal()), ("k", TopK(k=3))])
        with pytest.raises(ModelError, match="linear combination"):
            Radscore(chain).fit(feature_table, cohort.y)


class TestClinical:
    def test_finds_the_planted_predictors(self, cohort: Planted) -> None:
        model = ClinicalModel(cohort.predictors).fit(cohort.table, cohort.y)
        assert set(model.selected_) == {"inr", "alb"}
        assert model.univariate_.set_index("name").loc["child", "test"] in ("chi-square", "Fisher exact")
        X = sm.add_constant(cohort.table[["inr", "alb"]])
        fit = sm.Logit(cohort.y, X).fit(disp=0)
        np.testing.assert_allclose(model.predict_proba(cohort.table)[:, 1], fit.predict(X), atol=1e-8)

    def test_candidates_are_tested_by_the_rule_of_table_1(self) -> None:
        """Few patients in a level, values missing, a skewed number: the P that chooses is the P that Table 1 prints."""
        r = np.random.default_rng(8)
        y = np.repeat([1, 0], [21, 44])
        stage = np.array(["I"] * 8 + ["II"] * 7 + ["III"] * 6 + ["I"] * 20 + ["II"] * 20 + ["III"] * 4, dtype=object)
        table = pd.DataFrame({"stage": stage, "marker": np.exp(r.normal(size=65)), "age": r.normal(60, 9, 65)})
        table.loc[::9, "marker"] = np.nan
        table.loc[5:7, "stage"] = None
        chosen = univariate_table(table, y, infer_predictors(table)).set_index("name")
        printed = describe(table, pd.Series(y)).variables
        for name in table:
            assert chosen.loc[name, "p"] == printed[name].p
            assert chosen.loc[name, "test"] == printed[name].test
            assert chosen.loc[name, "n"] == len(table) - printed[name].missing

    def test_joint_p_of_levels_is_a_likelihood_ratio(self, cohort: Planted) -> None:
        model = ClinicalModel(cohort.predictors, always=("child",)).fit(cohort.table, cohort.y)
        assert "child" in model.selected_
        dummies = pd.get_dummies(cohort.table["child"], dtype=float)[["B", "C"]]
        numbers = cohort.table[["inr", "alb"]]
        small = sm.Logit(cohort.y, sm.add_constant(numbers)).fit(disp=0)
        large = sm.Logit(cohort.y, sm.add_constant(pd.concat([numbers, dummies], axis=1))).fit(disp=0)
        from scipy.stats import chi2

        expected = chi2.sf(2 * (large.llf - small.llf), 2)
        assert model.joint_p_["child"] == pytest.approx(expected, abs=1e-8)

    def test_nothing_survives(self, noise: Planted) -> None:
        model = ClinicalModel(noise.predictors).fit(noise.table, noise.y)
        assert model.status_ == "no signal" and model.selected_ == []
        np.testing.assert_allclose(model.predict_proba(noise.table)[:, 1], 1 / 3)
        assert ClinicalModel(()).fit(noise.table, noise.y).status_ == "no signal"

    def test_separation_goes_to_firth(self) -> None:
        rng = np.random.default_rng(0)
        y = (np.arange(40) % 4 == 0).astype(int)
        table = pd.DataFrame({"x": y * 10 + rng.normal(size=40)})
        model = ClinicalModel().fit(table, y)
        assert model.frozen_.method == "firth" and "Firth" in model.frozen_.note
        assert np.isfinite(model.decision_function(table)).all()
        with pytest.raises(ModelError, match="no estimate"):
            LogisticModel(firth="never").fit(table, y)

    def test_p_of_firths_fit_is_found_when_it_is_read(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each P takes a maximization, and nobody reads those of refits."""
        from hepacast.stats import firth

        fits = []
        whole = firth._maximize
        monkeypatch.setattr(firth, "_maximize", lambda *data, **more: fits.append(1) or whole(*data, **more))
        y = (np.arange(60) % 4 == 0).astype(int)
        table = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 3)), columns=list("abc"))
        model = LogisticModel(firth="always").fit(table, y)
        model.decision_function(table)
        assert len(fits) == 1 and len(model.frozen_.p_values) == 4
        expected = firth.fit_firth(table, y, list("abc")).p_values
        fits.clear()
        assert model.frozen_.to_dict()["p_values"] == list(expected)
        assert len(fits) >= 4
        copy = pickle.loads(pickle.dumps(model.frozen_))
        assert type(copy.p_values) is tuple and copy == model.frozen_

    def test_collinear_predictors_leave_with_a_reason(self, cohort: Planted) -> None:
        table = cohort.table[["inr", "alb"]].assign(copy=cohort.table["inr"] * 2 + 1, flat=3.0)
        model = LogisticModel().fit(table, cohort.y)
        assert "combination" in model.dropped_["copy"] and "vary" in model.dropped_["flat"]
        assert model.frozen_.names == ["inr", "alb"]

    def test_missing_unknown_and_logarithm(self, cohort: Planted) -> None:
        table = cohort.table[["alb", "child"]].assign(afp=np.exp(cohort.table["inr"] * 5))
        table.iloc[0] = [np.nan, None, np.nan]
        predictors = (Predictor("alb"), Predictor("child", "categorical", ("A", "B", "C")), Predictor("afp", log="ln"))
        model = LogisticModel(predictors).fit(table, cohort.y)
        fills = {source.name: source.fill for source in model.frozen_.sources}
        assert fills["alb"] == table["alb"].median() and fills["child"] == "A"
        assert fills["afp"] == pytest.approx(np.log(table["afp"]).median())
        new = pd.DataFrame({"alb": [None, 35.0], "child": ["D", "B"], "afp": [1e9, 50.0]}, index=["x", "y"])
        same = pd.DataFrame({"alb": [fills["alb"]], "child": ["A"], "afp": [1e9]})
        assert model.decision_function(new)[0] == pytest.approx(model.decision_function(same)[0])
        problems = {entry["name"]: entry["problem"] for entry in model.frozen_.unusual(new) if entry["row"] == "x"}
        assert "missing" in problems["alb"]
        assert "did not have" in problems["child"]
        assert "outside" in problems["afp"]
        with pytest.raises(ModelError, match="logarithm"):
            model.decision_function(new.assign(afp=0.0))
        with pytest.raises(ModelError, match="not declared"):
            LogisticModel(predictors).fit(table.assign(child="Z"), cohort.y)

    def test_kinds_are_inferred(self, cohort: Planted) -> None:
        kinds = {item.name: item.kind for item in infer_predictors(cohort.table.iloc[:, :5])}
        assert kinds == {
            "inr": "numeric",
            "alb": "numeric",
            "age": "numeric",
            "child": "categorical",
            "sex": "binary",
        }
        with pytest.raises(ModelError, match="described"):
            Predictor("x", "ordinal")  # type: ignore[arg-type]

    def test_interval_is_wald(self, cohort: Planted) -> None:
        model = LogisticModel((Predictor("inr"), Predictor("alb"))).fit(cohort.table, cohort.y)
        X = sm.add_constant(cohort.table[["inr", "alb"]])
        frame = sm.Logit(cohort.y, X).fit(disp=0).get_prediction(X).summary_frame()
        np.testing.assert_allclose(
            model.frozen_.interval(cohort.table), frame[["ci_lower", "ci_upper"]].to_numpy(), atol=1e-6
        )


class TestStudyModels:
    @pytest.fixture(scope="class")
    def fitted(self, cohort: Planted) -> StudyModels:
        return StudyModels(cohort.predictors).fit(cohort.table, cohort.y)

    def test_planted_effects_stay_in_the_combined_model(self, fitted: StudyModels, cohort: Planted) -> None:
        assert {"Radscore", "inr", "alb"} == set(fitted.combined_.frozen_.names)  # type: ignore[union-attr]
        risk = fitted.predict_risk(cohort.table)
        assert list(risk.columns) == ["clinical", "radiomics", "combined"]
        assert risk.index.equals(cohort.table.index)
        assert set(fitted.selections()) == {"clinical", "radiomics"}

    def test_json_predicts_the_same(self, fitted: StudyModels, cohort: Planted) -> None:
        copy = StudyModels.from_dict(json.loads(json.dumps(fitted.to_dict())))
        new = cohort.table.copy()
        new.iloc[0, 0] = np.nan
        new.loc[new.index[1], fitted.radiomics_.selected_[0]] = np.nan
        pd.testing.assert_frame_equal(copy.predict_risk(new), fitted.predict_risk(new), check_exact=True)
        pd.testing.assert_frame_equal(copy.linear_predictor(new), fitted.linear_predictor(new), check_exact=True)
        assert copy.cutoffs == fitted.cutoffs_
        needed = copy.columns()
        pd.testing.assert_frame_equal(copy.predict_risk(new[needed]), copy.predict_risk(new), check_exact=True)
        assert {entry["name"] for entry in copy.unusual(new.iloc[:2])} >= {"inr", fitted.radiomics_.selected_[0]}
        with pytest.raises(ModelError, match="another version"):
            FrozenModels.from_dict({"schema": 99})
        with pytest.raises(ModelError, match="no model of this name"):
            copy.model("deep")

    def test_contributions_add_up(self, fitted: StudyModels, cohort: Planted) -> None:
        frozen = fitted.frozen_
        shares = frozen.contributions(cohort.table, "combined")
        total = shares.sum(axis=1)
        log_odds = frozen.linear_predictor(cohort.table)["combined"]
        assert np.ptp(log_odds - total) < 1e-9
        plain = frozen.contributions(cohort.table, "combined", features=False)
        np.testing.assert_allclose(plain.sum(axis=1), total)

    def test_the_order_of_rows_changes_nothing(self, fitted: StudyModels, cohort: Planted) -> None:
        rows = np.random.default_rng(5).permutation(len(cohort.y))
        again = StudyModels(cohort.predictors).fit(cohort.table.iloc[rows], cohort.y[rows])
        assert again.to_dict() == fitted.to_dict()

    def test_a_subset_of_models(self, cohort: Planted) -> None:
        clinical = StudyModels(cohort.predictors, models=("clinical",)).fit(cohort.table, cohort.y)
        assert list(clinical.predict_risk(cohort.table.iloc[:, :5])) == ["clinical"]
        assert clinical.radiomics_ is None and clinical.to_dict()["score"] is None
        radiomics = StudyModels(cohort.predictors, models=("radiomics",)).fit(cohort.table, cohort.y)
        assert list(radiomics.predict_risk(cohort.table[cohort.features])) == ["radiomics"]
        with pytest.raises(ModelError, match="Unknown models"):
            StudyModels(models=("deep",)).fit(cohort.table, cohort.y)

    def test_noise_is_an_intercept_with_a_note(self, noise: Planted) -> None:
        chain = Pipeline([("z", ZScore()), ("lasso", LassoSelector(rule="1se"))])
        model = StudyModels(noise.predictors, Radscore(chain)).fit(noise.table, noise.y)
        assert set(model.status_.values()) == {"no signal"}
        assert all(model.notes_.values())
        np.testing.assert_allclose(model.predict_risk(noise.table), 1 / 3)
        assert all(np.isnan(value) for value in model.cutoffs_.values())
        json.dumps(model.to_dict(), allow_nan=True)

    def test_missing_columns_are_named(self, fitted: StudyModels, cohort: Planted) -> None:
        with pytest.raises(ModelError, match="inr"):
            fitted.predict_risk(cohort.table.drop(columns="inr"))
        feature = fitted.radiomics_.selected_[0]
        with pytest.raises(ModelError, match="missing"):
            fitted.predict_risk(cohort.table.drop(columns=feature))

    def test_clone(self, cohort: Planted) -> None:
        model = StudyModels(cohort.predictors, Radscore(score="cross-fitted"), features=cohort.features)
        assert clone(model).get_params()["radiomics__score"] == "cross-fitted"


def test_youden_by_hand() -> None:
    y = np.array([0, 0, 1, 0, 1, 1])
    risk = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    # Cuts at .25 (sens 1, spec 2/3) and .45 (2/3, 1) tie: the more sensitive one is taken.
    assert youden_cutoff(y, risk) == pytest.approx(0.25)
    assert np.isnan(youden_cutoff(y, np.full(6, 0.3)))


def test_private_state_is_not_shared(cohort: Planted) -> None:
    base: Any = Radscore()
    StudyModels(cohort.predictors, base).fit(cohort.table, cohort.y)
    assert not hasattr(base, "frozen_")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, "1", 1.0, True, None, pd.NA, pd.NaT, float("nan"), 2.5], ["1"] * 4 + [None] * 4 + ["2.5"]),
        ([0.0, -0.0, False], ["0"] * 3),
        (pd.Categorical(["b", None, "a"]), ["b", None, "a"]),
        (pd.array([1, None, 3], dtype="Int64"), ["1", None, "3"]),
        (pd.array([True, None], dtype="boolean"), ["1", None]),
        ([["no", "hash"], ["no", "hash"]], ["['no', 'hash']"] * 2),
    ],
)
def test_levels_are_told_apart_by_their_text(values, expected):
    found = level_text(pd.Series(values, index=range(5, 5 + len(values)), dtype=getattr(values, "dtype", object)))
    assert found.tolist() == expected and found.index[0] == 5
