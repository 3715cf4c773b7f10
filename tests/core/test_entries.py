"""Values of a document by name and kind: nothing is taken for what it is not, and the message names the place."""

import math

import pytest
from pydantic import BaseModel

from hepacast.core.entries import Entry, ranges, validated
from hepacast.errors import ModelError


def entry(**values) -> Entry:
    return Entry(values, "card")


@pytest.mark.parametrize("value", [None, True, "1", [1], math.nan, math.inf, 10**400, {}])
def test_what_is_no_number_is_refused(value):
    with pytest.raises(ModelError, match="card: x"):
        entry(x=value).number("x")
    with pytest.raises(ModelError, match=r"card: x\[1\]"):
        entry(x=[1.0, value]).numbers("x")


def test_numbers_within_their_limits():
    assert entry(x=2).number("x", low=1, high=2) == 2.0
    assert math.isnan(entry(x=None).number_or_nan("x"))
    with pytest.raises(ModelError, match="from 0 to 1"):
        entry(x=1.01).number("x", low=0, high=1)
    with pytest.raises(ModelError, match="3 numbers"):
        entry(x=[1, 2]).numbers("x", 3)
    with pytest.raises(ModelError, match="whole number"):
        entry(x=True).whole("x")


@pytest.mark.parametrize(
    "matrix",
    [
        [[1.0, 0.2], [0.1, 1.0]],
        [[1.0, 2.0], [2.0, 1.0]],
        [[-1.0, 0.0], [0.0, 1.0]],
        [[0.0, 0.1], [0.1, 1.0]],
        [[1.0, 0.0]],
        [[1.0], [0.0, 1.0]],
    ],
)
def test_no_covariance(matrix):
    with pytest.raises(ModelError, match="card: v"):
        entry(v=matrix).covariance("v", 2)


def test_a_covariance_may_have_a_fixed_term_and_collinear_ones():
    assert entry(v=[[0.0, 0.0], [0.0, 2.0]]).covariance("v", 2)
    assert entry(v=[[1.0, 1.0 - 1e-12], [1.0 - 1e-12, 1.0]]).covariance("v", 2)


def test_ranges_and_models_of_a_document():
    class Size(BaseModel):
        mm: float

    assert ranges(entry(a=[1, 2])) == {"a": (1.0, 2.0)}
    with pytest.raises(ModelError, match="smaller value first"):
        ranges(entry(a=[2, 1]))
    assert validated(Size, {"mm": 3}, "crop").mm == 3.0
    with pytest.raises(ModelError, match="crop: mm"):
        validated(Size, {"mm": "3"}, "crop")
    with pytest.raises(ModelError, match="crop"):
        validated(Size, {"mm": math.nan}, "crop")
