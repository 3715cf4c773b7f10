"""P values in one style: tables, figures, sentences and the terminal."""

import math
import re

import pandas as pd
import pytest

from hepacast.core.formatting import ratio_with_interval as ratio
from hepacast.core.p_values import p_below, p_sentence, p_text
from hepacast.study.statistics import describe, logistic


@pytest.mark.parametrize(
    ("p", "text", "sentence"),
    [
        (0.0000001, "<.001", "P < .001"),
        (0.0042, ".004", "P = .004"),
        (0.0312, ".03", "P = .03"),
        (0.0463, ".046", "P = .046"),
        (0.0497, ".0497", "P = .0497"),
        (0.04998, ".04998", "P = .04998"),
        (0.0502, ".050", "P = .050"),
        (0.463, ".46", "P = .46"),
        (0.9999, ">.99", "P > .99"),
        (math.nan, "", "P not estimable"),
    ],
)
def test_p_values_as_journals_print_them(p, text, sentence):
    assert (p_text(p), p_sentence(p)) == (text, sentence)


def test_what_is_below_the_threshold_reads_so():
    """Rounding moves no P across the threshold that chose, and the threshold has the style of the P."""
    for p in (0.045, 0.0495, 0.04999, 0.05, 0.0504):
        assert (float(p_text(p)) < 0.05) == (p < 0.05)
    assert [p_below(a) for a in (0.05, 0.1, 0.001)] == ["P < .05", "P < .1", "P < .001"]


def test_the_terminal_writes_p_as_the_report_does():
    table = pd.DataFrame({"dose": [3, 5, 4, 6, 8, 7, 2, 9, 5, 4.5, 6, 7], "sick": [0, 1, 0, 0, 1, 1, 0, 1, 0, 1, 1, 0]})
    for found in (describe(table, by="sick").text(), logistic(table, outcome="sick", predictors="dose").text()):
        assert re.search(r"(?<![\d.])\.\d\d", found)
        assert not re.search(r"P (= )?[<>]?0\.", found)


def test_a_limit_above_zero_is_not_printed_as_zero():
    assert ratio(250.0, 3.1e-12, 4e20) == "250.0 (3.1e\N{MINUS SIGN}12\N{EN DASH}4.0e20)"
    assert ratio(1.8, 0.0021, 40.0) == "1.80 (0.002\N{EN DASH}40.00)"
    assert ratio(1.8, 0.4, 8.1) == "1.80 (0.40\N{EN DASH}8.10)"
    assert ratio(math.inf, math.inf, math.inf) == "infinite (infinite to infinite)"
    assert ratio(2.5, math.nan, math.nan) == "2.50"
    assert ratio(2.5, 0.0, math.inf) == "2.50 (0 to infinite)"


def test_a_predictor_of_tiny_size_has_a_ratio_beyond_every_number(recwarn):
    """Its note gives the ratio per SD; text, JSON and frame are made without a warning."""
    table = pd.DataFrame({"x": [0.0] * 10 + [1e-6] * 10, "sick": [0] * 9 + [1] * 11})
    found = logistic(table, outcome="sick", predictors="x")
    assert "infinite" in found.text() and "standard deviation" in found.text()
    assert found.to_json()["univariate"] and not recwarn.list
