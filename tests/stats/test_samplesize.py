"""Sample size against R's pmsampsize 1.1.3 (frozen in tests/golden/l_sample_size)."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepacast.errors import ModelError
from hepacast.stats.samplesize import (
    expected_shrinkage,
    needed_for_shrinkage,
    riley_binary,
    riley_survival,
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
