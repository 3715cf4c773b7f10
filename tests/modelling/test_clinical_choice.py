"""How the clinical model is chosen: each way keeps what it must, for a binary outcome and for times."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from hepacast.core.files import to_jsonable
from hepacast.modelling.clinical import ClinicalModel, Keep
from hepacast.modelling.cox_model import CoxModel
from hepacast.modelling.logistic_at import LogisticAt
from hepacast.modelling.logistic_model import LogisticModel
from hepacast.modelling.named_design import NamedRegression
from hepacast.modelling.study_models import StudyModels
from hepacast.stats.selection import backward_aic

N = 160
OUTCOMES = {
    "binary": LogisticModel(),
    "time": CoxModel(horizons=(1.0,)),
    "competing": CoxModel(horizons=(1.0,)),
    "by a horizon": LogisticAt(horizon=1.0),
}


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """AST and ALT tell the same; AST decides, creatinine too; the others are noise."""
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(
        rng.normal(size=(N, 6)),
        columns=["ast", "alt", "creatinine", "age", "inr", "sodium"],
        index=[f"P{i:03d}" for i in range(N)],
    )
    frame["alt"] = frame["ast"] + 0.3 * rng.normal(size=N)
    frame["stage"] = rng.choice(["A", "B", "C"], N)
    return frame


def outcome(table: pd.DataFrame, kind: str) -> np.ndarray:
    rng = np.random.default_rng(2)
    score = (1.2 * table["ast"] - 0.7 * table["creatinine"]).to_numpy()
    if kind == "binary":
        return (rng.random(N) < expit(score - 0.5)).astype(int)
    time = rng.exponential(np.exp(-score))
    code = np.where(rng.random(N) < 0.2, 0, 1)
    if kind == "competing":
        code = np.where((code == 1) & (rng.random(N) < 0.1), 2, code)
    return np.column_stack([time, code])


@pytest.mark.parametrize("kind", OUTCOMES)
@pytest.mark.parametrize("keep", ["backward", "aic", "lasso", "penalised"])
def test_one_of_two_collinear_predictors_stays(table: pd.DataFrame, kind: str, keep: Keep) -> None:
    model = ClinicalModel(keep=keep, regression=OUTCOMES[kind]).fit(table, outcome(table, kind))
    assert {"ast", "alt"} & set(model.selected_)
    assert "creatinine" in model.selected_
    if keep == "backward":
        assert len(model.selected_) < 6 and all(p < 0.05 for p in model.model_.predictor_p().values())
    if keep == "penalised":
        assert set(model.selected_) == set(table.columns)
        assert np.isnan(model.frozen_.p_values[1:]).all()
        limits = model.frozen_.interval(table, time=1.0)
        risk = model.frozen_.risk(table, 1.0)
        assert ((limits[:, 0] <= risk) & (risk <= limits[:, 1])).all()


def test_aic_is_stepaic(table: pd.DataFrame) -> None:
    numbers, y = table.drop(columns="stage"), outcome(table, "binary")
    model = ClinicalModel(keep="aic").fit(numbers, y)
    truth = backward_aic(numbers.to_numpy(), y, list(numbers.columns))
    assert set(model.selected_) == set(truth.kept)
    assert model.model_.aic_ == pytest.approx(truth.fit.aic, abs=1e-8)


@pytest.mark.parametrize("kind", OUTCOMES)
def test_aic_passes_no_predictor_over(table: pd.DataFrame, kind: str) -> None:
    """Most smaller models are not fitted; what is chosen is what comparing all of them chooses, of few patients too
    (some draws are separated)."""
    for seed in range(4):
        few = 90 if kind == "by a horizon" else 35  # Where that one is separated there is no model.
        rows = table.sample(few + 15 * seed, random_state=seed).sort_index()
        y = outcome(table, kind)[table.index.get_indexer(rows.index)]
        rows = rows.assign(noise=np.random.default_rng(seed).normal(size=len(rows)))
        model = ClinicalModel(keep="aic", regression=OUTCOMES[kind]).fit(rows, y)
        assert model.joint_ is not None
        kept, smallest = [name for name in rows.columns if name not in model.joint_.dropped_], model.joint_.aic_
        while kept:
            without = {
                name: model.of([p for p in model.joint_.predictors or () if p.name in kept and p.name != name])
                .fit(rows, y)
                .aic_
                for name in kept
            }
            worst = min(without, key=lambda name: without[name])
            if without[worst] >= smallest - 1e-7:
                break
            kept.remove(worst)
            smallest = without[worst]
        assert set(model.selected_) == set(kept)


@pytest.mark.parametrize("regression", OUTCOMES.values())
def test_backward_elimination_ends_with_nothing(table: pd.DataFrame, regression: NamedRegression) -> None:
    kind = "binary" if isinstance(regression, LogisticModel) else "time"
    noise = table[["age", "inr"]].sample(frac=1.0, random_state=3).set_index(table.index)
    model = ClinicalModel(keep="backward", alpha_joint=1e-6, regression=regression).fit(noise, outcome(table, kind))
    assert model.status_ == "no signal" and model.selected_ == []
    assert np.ptp(model.frozen_.risk(noise, 1.0)) == 0
    stays = ClinicalModel(keep="backward", alpha_joint=1e-6, always=["age"], regression=regression)
    assert stays.fit(noise, outcome(table, kind)).selected_ == ["age"]


def test_candidates_alone_keep_their_p_where_the_model_is_shrunk(table: pd.DataFrame) -> None:
    model = ClinicalModel(keep="penalised").fit(table, outcome(table, "binary"))
    single, _ = model.alone(table, outcome(table, "binary"))
    assert single["ast"].predictor_p()["ast"] < 1e-5


@pytest.mark.parametrize("kind", ["binary", "time"])
def test_combined_model_of_penalised_predictors_is_shrunk_too(table: pd.DataFrame, kind: str) -> None:
    y = outcome(table, kind)
    rng = np.random.default_rng(5)
    signal = table["ast"].to_numpy() if kind == "binary" else -np.log(y[:, 0])
    features = pd.DataFrame(rng.normal(size=(N, 20)), columns=[f"f{j}" for j in range(20)], index=table.index)
    features["f0"] += signal
    predictors = ClinicalModel(keep="penalised").fit(table, y).chosen_predictors_
    models = StudyModels(predictors=predictors, clinical=ClinicalModel(keep="penalised"), horizons=(1.0,))
    fitted = models.fit(pd.concat([table, features], axis=1), y)
    assert fitted.frozen_.models["combined"].method == "ridge"
    assert "Radscore" in fitted.frozen_.models["combined"].names
    again = StudyModels.from_dict(to_jsonable(fitted.to_dict()))
    both = pd.concat([table, features], axis=1)
    score = both.assign(Radscore=fitted.radscore(both))
    at = 1.0 if kind == "time" else None
    assert again.models["combined"].risk(score, at) == pytest.approx(
        fitted.frozen_.models["combined"].risk(score, at), abs=1e-12
    )


def test_a_number_with_a_long_tail_enters_as_a_logarithm_that_a_zero_has_too():
    from hepacast.modelling.predictors import Predictor, in_logarithms, numeric_values

    rng = np.random.default_rng(4)
    frame = pd.DataFrame({"ast": np.exp(rng.normal(3.8, 0.8, 200)), "alb": rng.normal(38, 5, 200),
                          "shift": np.exp(rng.normal(0, 1, 200)) - 1.0, "sex": rng.integers(0, 2, 200)})  # fmt: skip
    given = (Predictor("ast"), Predictor("alb"), Predictor("shift"), Predictor("sex", "binary"))
    found = in_logarithms(given, frame)
    assert [item.log for item in found] == ["log10p1", "", "", ""]
    assert numeric_values(pd.Series([0.0, 99.0]), found[0]) == pytest.approx([0.0, 2.0])
