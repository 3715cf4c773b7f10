"""ComBat against sva (frozen), and the answers to sites that the training rows do not have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hepacast.errors import ModelError
from hepacast.modelling.harmonize import Harmonizer

Golden = Callable[[str], tuple[dict[str, Any], pd.DataFrame]]

VARIANTS: dict[str, dict[str, Any]] = {
    "par": {},
    "par_mod": {"covariates": ["Class"]},
    "nonpar_mod": {"covariates": ["Class"], "prior": "nonparametric"},
    "mean_only": {"covariates": ["Class"], "mean_only": True},
    "ref_A": {"covariates": ["Class"], "reference": "A"},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_equals_sva(golden: Golden, variant: str) -> None:
    reference, data = golden("k_combat_segmentation")
    settings = VARIANTS[variant]
    columns = [*reference["features"], "batch", *settings.get("covariates", [])]
    harmonized = Harmonizer("batch", **settings).fit_transform(data[columns])
    expected = reference["results"][variant]
    np.testing.assert_allclose(harmonized.iloc[:, :5].T, expected["first5"], rtol=1e-9, atol=1e-9)
    for name in reference["features"]:
        assert harmonized[name].mean() == pytest.approx(expected["mean"][name], rel=1e-9)
        assert harmonized[name].std() == pytest.approx(expected["sd"][name], rel=1e-9)
    assert np.abs(harmonized.to_numpy()).sum() == pytest.approx(expected["checksum"], rel=1e-9)


@pytest.fixture
def table(golden: Golden) -> pd.DataFrame:
    reference, data = golden("k_combat_segmentation")
    return data[[*reference["features"], "batch"]]


def test_new_rows_get_the_training_correction(table: pd.DataFrame) -> None:
    step = Harmonizer("batch").fit(table.iloc[::2])
    whole = step.transform(table)
    one = step.transform(table.iloc[[101]])
    pd.testing.assert_frame_equal(one, whole.iloc[[101]])
    changed = table.copy()
    changed.iloc[1::2, :20] *= 100
    pd.testing.assert_frame_equal(step.transform(changed).iloc[::2], whole.iloc[::2])


def test_unseen_site(table: pd.DataFrame) -> None:
    new = table.head(3).assign(batch="Z")
    with pytest.raises(ModelError, match="not trained on patients of this site"):
        Harmonizer("batch").fit(table).transform(new)
    pooled = Harmonizer("batch", unseen="pooled").fit(table).transform(new)
    np.testing.assert_allclose(pooled, new.drop(columns="batch"))
    as_reference = Harmonizer("batch", unseen="reference", reference="B").fit(table)
    np.testing.assert_allclose(as_reference.transform(new), new.drop(columns="batch"))
    with pytest.raises(ModelError, match="needs a reference"):
        Harmonizer("batch", unseen="reference").fit(table)
    with pytest.raises(ModelError, match="no training row"):
        Harmonizer("batch", reference="Q").fit(table)


def test_single_site_and_single_patient(table: pd.DataFrame) -> None:
    one_site = table[table["batch"] == "A"]
    step = Harmonizer("batch").fit(one_site)
    assert "nothing to harmonize" in step.note_
    np.testing.assert_allclose(step.transform(one_site), one_site.drop(columns="batch"))
    few = pd.concat([table[table["batch"] != "C"], table[table["batch"] == "C"].head(1)])
    step = Harmonizer("batch").fit(few)
    assert "location only" in step.note_
    assert np.isfinite(step.transform(few).to_numpy()).all()


def test_feature_constant_within_a_site_is_left_alone(table: pd.DataFrame) -> None:
    table = table.copy()
    table.loc[table["batch"] == "B", "PerimCh1"] = 4.0
    harmonized = Harmonizer("batch").fit_transform(table)
    np.testing.assert_array_equal(harmonized["PerimCh1"], table["PerimCh1"])
    assert not np.allclose(harmonized["AngleCh1"], table["AngleCh1"])
    assert np.isfinite(harmonized.to_numpy()).all()


def test_confounded_covariate_and_missing_site(table: pd.DataFrame) -> None:
    confounded = table.assign(phase=(table["batch"] == "A").astype(float))
    with pytest.raises(ModelError, match="told from the sites"):
        Harmonizer("batch", covariates=["phase"]).fit(confounded)
    holes = table.copy()
    holes.loc[4, "batch"] = None
    with pytest.raises(ModelError, match="site of some patients is missing"):
        Harmonizer("batch").fit(holes)
    with pytest.raises(ModelError, match="columns are missing"):
        Harmonizer("center").fit(table)
