"""Sample size against R's pmsampsize 1.1.3 (frozen in tests/golden/l_sample_size)."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from hepacast.core.estimates import Estimate
from hepacast.errors import ModelError
from hepacast.stats.samplesize import (
    VALIDATION_WIDTHS,
    expected_shrinkage,
    needed_for_shrinkage,
    riley_binary,
    riley_survival,
    validation_binary,
    validation_like,
)

ROUNDED = 5.001e-4  # pmsampsize prints three decimals


def _compare(result, expected):
    assert result.n == expected["sample_size"]
    assert result.events == pytest.approx(expected["events"], rel=1e-12)
    assert result.events_per_parameter == pytest.approx(expected["EPP"], abs=5.001e-3)
    for criterion, row in zip(result.criteria, expected["table"][:3], strict=True):
        assert criterion.n == row["Samp_size"]
        assert criterion.shrinkage == pytest.approx(row["Shrinkage"], abs=ROUNDED)
        assert criterion.events_per_parameter == pytest.approx(row["EPP"], abs=5.001e-3)
    assert result.max_cox_snell_r2 == pytest.approx(expected["table"][0]["Max_Rsq"], abs=ROUNDED)
    assert result.nagelkerke_r2 == pytest.approx(expected["table"][0]["Nag_Rsq"], abs=ROUNDED)


@pytest.mark.parametrize("case", ["b1", "b2", "b3"])
def test_binary_equals_r(golden, case):
    reference, data = golden("l_sample_size")
    row = data.set_index("id").loc[case]
    result = riley_binary(int(row.parameters), row.prevalence, cox_snell_r2=row.csrsquared)
    _compare(result, reference["binary"][case])


@pytest.mark.parametrize("case", ["s1", "s2"])
def test_survival_equals_r(golden, case):
    reference, data = golden("l_sample_size")
    row = data.set_index("id").loc[case]
    result = riley_survival(int(row.parameters), row.rate, row.timepoint, row.meanfup, cox_snell_r2=row.csrsquared)
    _compare(result, reference["survival"][case])
    low, high = result.risk_interval
    assert low < 1 - math.exp(-row.rate * row.timepoint) < high


def test_default_r2_is_15_percent_of_nagelkerke():
    assert riley_binary(10, 0.3).nagelkerke_r2 == pytest.approx(0.15)


@settings(deadline=None)
@given(parameters=st.integers(1, 60), r2=st.floats(0.02, 0.5), shrinkage=st.floats(0.75, 0.99))
def test_expected_shrinkage_is_the_inverse(parameters, r2, shrinkage):
    n = needed_for_shrinkage(parameters, r2, shrinkage)
    reached = expected_shrinkage(n, parameters, r2)
    assert reached >= shrinkage - 1e-9
    assert needed_for_shrinkage(parameters, r2, reached - 1e-9) <= n


def test_too_many_parameters_leave_hardly_any_shrinkage():
    assert expected_shrinkage(20, 50, 0.1) < 0.15


def test_study_a_is_too_small_for_its_candidates():
    """147 patients, 36 events, 24 candidates: far below the need, and hardly any shrinkage can be expected."""
    need = riley_binary(24, 36 / 147)
    assert need.n > 1000
    assert expected_shrinkage(147, 24, need.cox_snell_r2) < 0.7


@pytest.mark.parametrize(
    ("arguments", "keywords"),
    [((0, 0.3), {}), ((5, 0.0), {}), ((5, 1.0), {}), ((5, 0.3), {"cox_snell_r2": 0.8}), ((5, 0.3), {"shrinkage": 1.0})],
)
def test_impossible_input_is_refused(arguments, keywords):
    with pytest.raises(ModelError):
        riley_binary(*arguments, **keywords)


def test_validation_sizes_are_those_of_the_published_example():
    """Riley et al. (2021) and the examples of pmvalsampsize: prevalence 0.018, C 0.8, log odds normal (-5, 2.5)."""
    lp = norm.ppf((np.arange(200_000) + 0.5) / 200_000, -5, 2.5)
    found = {row.measure: row.n for row in validation_binary(0.018, 0.8, lp, {"O/E": 1.0, "slope": 0.2, "AUC": 0.1})}
    # R steps the standard error by 0.0001, which costs one patient; its slope is of drawn log odds (4544).
    assert abs(found["O/E"] - 905) <= 1 and found["AUC"] == 4252
    assert found["slope"] == pytest.approx(4544, rel=0.005)


def test_validation_sizes_from_the_precision_of_other_patients():
    ratio = np.exp(0.1 * norm.ppf(0.975))
    estimates = {"O/E": Estimate(1.0, 1 / ratio, ratio, 0.95), "C": Estimate(0.7, 0.65, 0.75, 0.95)}
    sizes = {row.measure: row.n for row in validation_like(200, estimates, VALIDATION_WIDTHS)}
    # The limits of C are as wide as aimed at (R's 1.96 for the quantile); those of O/E need (0.1 / 0.0509)^2 as many.
    assert sizes["C"] == pytest.approx(200, abs=1) and sizes["O/E"] == pytest.approx(
        200 * (0.1 / 0.05093) ** 2, rel=0.005
    )
    assert "O/E" not in {
        row.measure for row in validation_like(50, {"O/E": Estimate(1, 0, 2, 0.95)}, VALIDATION_WIDTHS)
    }
