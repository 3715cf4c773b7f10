"""The model of the biomarkers alone, for both kinds of outcome: what it reads, and what the combined model joins."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from hepacast.core.records import plain
from hepacast.modelling.clinical import ClinicalModel
from hepacast.modelling.frozen_models import FrozenModels
from hepacast.modelling.predictors import Predictor
from hepacast.modelling.study_models import StudyModels

MEASURED = "biomarker/portal/tumor_minus_liver"


@pytest.fixture
def table() -> pd.DataFrame:
    generator = np.random.default_rng(2)
    frame = pd.DataFrame({"alb": generator.normal(38, 5, 240), MEASURED: generator.normal(-20, 10, 240)})
    frame["x"] = generator.normal(size=240)
    return frame.rename(index=lambda row: f"P{row:03d}")


def outcome_of(table: pd.DataFrame, *, time: bool) -> np.ndarray:
    generator = np.random.default_rng(3)
    score = -0.15 * (table["alb"] - 38) - 0.12 * (table[MEASURED] + 20)
    if not time:
        return (generator.random(len(table)) < 1 / (1 + np.exp(-score))).astype(int)
    times = generator.exponential(500 * np.exp(-score))
    return np.column_stack([np.minimum(times, 1500), times < 1500]).astype(float)


@pytest.mark.parametrize("time", [False, True])
@pytest.mark.parametrize("keep", ["independent", "penalised"])
def test_biomarkers_leave_the_clinical_model_and_enter_the_combined_one(table, time, keep):
    predictors = (Predictor("alb", unit="g/L"), Predictor(MEASURED, label="Tumor minus liver, portal", unit="HU"))
    models = StudyModels(
        predictors=predictors,
        clinical=ClinicalModel(keep=keep),
        models=("clinical", "biomarkers"),
        horizons=(365.0,) if time else (),
        biomarkers=(MEASURED,),
    )
    fitted = models.fit(table, outcome_of(table, time=time))
    assert fitted.selections() == {"clinical": ["alb"], "biomarkers": [MEASURED]}
    assert list(fitted.predict_risk(table).columns) == ["clinical", "biomarkers"]
    assert fitted.frozen_.model("biomarkers").names == [MEASURED]
    again = FrozenModels.from_dict(plain(fitted.to_dict()))
    risk = fitted.predict_risk(table)["biomarkers"].to_numpy()
    assert again.predict_risk(table)["biomarkers"].to_numpy() == pytest.approx(risk, abs=1e-12)
    # The darker tumor has the higher risk.
    assert np.corrcoef(risk, table[MEASURED])[0, 1] < -0.8
    without = StudyModels(**{**models.get_params(deep=False), "models": ("clinical",)})
    together = without.fit(table, outcome_of(table, time=time))
    assert set(together.selections()["clinical"]) == {"alb", MEASURED}


@pytest.mark.parametrize("time", [False, True])
def test_the_joint_model_shrinks_everything_and_leaves_the_published_models_as_they_were(table, time):
    """Beside it biomarkers enter no other model than their own, whatever the clinical candidates are chosen by."""
    predictors = (Predictor("alb", unit="g/L"), Predictor(MEASURED, label="Tumor minus liver, portal", unit="HU"))
    outcome, rules = outcome_of(table, time=time), {"horizons": (365.0,) if time else ()}
    names = ("clinical", "biomarkers", "radiomics", "combined", "joint")
    fitted = StudyModels(predictors=predictors, models=names, biomarkers=(MEASURED,), **rules).fit(table, outcome)
    published = StudyModels(predictors=predictors[:1], models=("clinical", "radiomics", "combined"), ignore=(MEASURED,),
                            **rules).fit(table, outcome)  # fmt: skip
    risks = fitted.predict_risk(table)
    pd.testing.assert_frame_equal(risks[["clinical", "radiomics", "combined"]], published.predict_risk(table))
    joint = fitted.frozen_.model("joint")
    assert {"alb", MEASURED} <= set(joint.names)
    assert fitted.biomarkers_.keep == "penalised" and np.isnan(joint.p_values[1])
    again = FrozenModels.from_dict(plain(fitted.to_dict()))
    assert again.predict_risk(table)["joint"].to_numpy() == pytest.approx(risks["joint"].to_numpy(), abs=1e-12)
