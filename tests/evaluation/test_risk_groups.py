"""Survival by risk group, against R's numbers for two groups of the lung data."""

import numpy as np
import pytest

from hepacast.errors import OutcomeError
from hepacast.evaluation.risk_groups import HIGH, LOW, risk_groups


def test_groups_equal_r(golden):
    reference, frame = golden("f1_km_cox_lung")
    score = (frame["sex"] == "male").astype(float)
    result = risk_groups(frame["time"], frame["status"], score, cut=0.5)
    np.testing.assert_allclose(result.statistic, reference["logrank_sex"]["chisq"], rtol=1e-10)
    female = reference["cox_univariate"]["sex"]
    np.testing.assert_allclose(result.hazard_ratio.value, 1 / female["HR"], rtol=1e-8)
    np.testing.assert_allclose(result.hazard_ratio.ci, 1 / np.array(female["ci"])[::-1], rtol=1e-8)
    curves = {group.name: group for group in result.groups}
    assert curves[LOW].median.value == reference["median"]["sex=female"]["median"]
    assert curves[HIGH].median.value == reference["median"]["sex=male"]["median"]
    assert [group.at_risk[0] for group in result.groups] == [90, 138]
    assert sum(len(group.censored) for group in result.groups) == len(frame) - frame["status"].sum()


def test_one_group_is_refused():
    with pytest.raises(OutcomeError, match="one risk group"):
        risk_groups([1, 2, 3], [1, 1, 0], [0.1, 0.2, 0.3], cut=0.5)


def test_a_group_without_events_has_no_hazard_ratio():
    result = risk_groups([1, 2, 3, 4], [1, 1, 0, 0], [0.9, 0.8, 0.1, 0.2], cut=0.5)
    assert result.hazard_ratio is None
    assert result.to_json()["hazard_ratio"] is None
