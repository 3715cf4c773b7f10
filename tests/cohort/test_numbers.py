"""Numbers as people type them."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hepacast.cohort.numbers import (
    MISSING_WORDS,
    guess_decimal,
    is_missing_word,
    missing_codes,
    parse_number,
    plain_numbers,
    read_numbers,
)

FINITE = st.floats(-1e12, 1e12, allow_nan=False)


@pytest.mark.parametrize(
    ("text", "decimal", "value"),
    [
        ("12", ".", 12.0),
        (" 12.50 ", ".", 12.5),
        ("1,23", ",", 1.23),
        ("-0,5", ",", -0.5),
        ("1.234,5", ",", 1234.5),
        ("1,234,567.8", ".", 1234567.8),
        ("12 345,6", ",", 12345.6),
        ("12'345.6", ".", 12345.6),
        ("1e3", ".", 1000.0),
        (".5", ".", 0.5),
        ("５６．７", ".", 56.7),
        ("−3", ".", -3.0),
        (7, ".", 7.0),
        (7.25, ",", 7.25),
    ],
)
def test_plain_numbers(text, decimal, value):
    parsed = parse_number(text, decimal=decimal)
    assert (parsed.status, parsed.value) == ("ok", value)


@pytest.mark.parametrize(
    "text", ["", "  ", "n/a", "N/A", "-", "未测", "keine Angabe", "k.A.", "not done", None, math.nan]
)
def test_missing(text):
    parsed = parse_number(text)
    assert parsed.status == "missing"
    assert math.isnan(parsed.value)


@pytest.mark.parametrize(
    ("text", "policy", "value"),
    [
        ("<0.8", "half", 0.4),
        ("< 0.8", "limit", 0.8),
        ("≤0.8", "half", 0.4),
        ("＜0.8", "half", 0.4),
        (">1000", "half", 1000.0),
        (">=1000", "limit", 1000.0),
    ],
)
def test_censored_by_policy(text, policy, value):
    parsed = parse_number(text, censored=policy)
    assert (parsed.status, parsed.value) == ("censored", value)
    assert parsed.remark


def test_censored_as_missing():
    parsed = parse_number("<0.8", censored="missing")
    assert parsed.status == "censored"
    assert math.isnan(parsed.value)
    assert parsed.limit == 0.8


@pytest.mark.parametrize("text", ["abc", "12 abc", "3-4", "1.2.3", "<", "12,3,4", "١٢", True, "inf", "--5", "1_000"])
def test_no_number_is_never_a_value(text):
    parsed = parse_number(text)
    assert parsed.status in ("text", "ambiguous")
    assert math.isnan(parsed.value)


@pytest.mark.parametrize(("text", "value"), [("12.3↑", 12.3), ("12.3 H", 12.3), ("5 ↓", 5.0), ("7*", 7.0)])
def test_laboratory_marks_are_removed_and_said(text, value):
    parsed = parse_number(text)
    assert parsed.value == value
    assert "left out" in parsed.remark


def test_the_other_decimal_mark_is_no_number():
    assert parse_number("1,23", decimal=".").status == "ambiguous"
    assert parse_number("1.23", decimal=",").status == "ambiguous"


@pytest.mark.parametrize(
    ("texts", "mark"),
    [
        (["1,2", "3"], ","),
        (["1.2", "3"], "."),
        (["1,234", "2,345"], ""),
        (["0,512"], ","),
        (["1.234,5"], ","),
        (["1,234.5"], "."),
        (["1,234,567"], "."),
        (["1,2", "3.4"], "mixed"),
        (["<0,8"], ","),
        (["12"], ""),
    ],
)
def test_guess_decimal(texts, mark):
    assert guess_decimal(texts) == mark


@given(FINITE)
def test_any_float_round_trips_with_a_point(value):
    assert parse_number(repr(value)).value == value


@given(FINITE)
def test_any_float_round_trips_with_a_comma(value):
    assert parse_number(repr(value).replace(".", ","), decimal=",").value == value


@given(st.integers(0, 10**12), st.integers(0, 99))
def test_thousands_are_read_in_both_styles(whole, hundredths):
    english = f"{whole:,}.{hundredths:02d}"
    german = english.replace(",", "#").replace(".", ",").replace("#", ".")
    expected = float(f"{whole}.{hundredths:02d}")
    assert parse_number(english, decimal=".").value == expected
    assert parse_number(german, decimal=",").value == expected


@given(st.text(max_size=12))
def test_any_text_gives_a_number_or_a_reason(text):
    parsed = parse_number(text)
    assert math.isnan(parsed.value) == (parsed.status not in ("ok", "censored"))


def test_missing_words_are_not_levels():
    assert not {"no", "none", "nein", "无", "0", "negative"} & MISSING_WORDS
    assert is_missing_word("  N.A. ")


@given(
    st.lists(
        st.sampled_from(["", "1", "-2.5", "0.512", "2.554", "1.25e3", "3e-2", "7.0000", "12", "1e999", "9" * 400]),
        min_size=1,
    )
)
def test_the_quick_way_of_columns_reads_what_the_slow_one_reads(cells):
    mark = guess_decimal(cells)
    slow = {guess_decimal([cell]) for cell in cells} - {""}
    assert mark == (slow.pop() if slow else "")
    quick = read_numbers(cells, "")
    slowly = read_numbers([*cells, "<1"], "")[:-1]
    assert [(item.status, repr(item.value)) for item in quick] == [(i.status, repr(i.value)) for i in slowly]


def test_numbers_that_no_computer_holds_are_none():
    assert parse_number("9" * 400).status == parse_number("1e999").status == "text"


def test_codes_for_missing_that_were_read_as_numbers():
    assert missing_codes([41, 52, 63, 999, -9, 999]) == [-9, 999]
    assert missing_codes([-12, -9, 3, 5, 7]) == []
    assert missing_codes([400, 650, 999, 1200]) == []
    assert missing_codes([99, 98, 97, 60]) == []


@pytest.mark.parametrize("file_decimal", [".", ",", "", "mixed", "unknown"])
@pytest.mark.parametrize(
    "cells",
    [
        ["1.25", "", "3", "+4.5e-3"],
        ["1.234", "2.345"],
        ["1.234", "0.5"],
        ["12", "7", None],
        [".5", "1.", "2.25"],
        ["1,25", "3"],
        ["1.234.567", "2"],
        ["1e400", "2.25"],
        ["nan", "1.25"],
        ["1_000", "1.25"],
        ["１.25", "1.25"],
        [1.5, 2, None, float("inf"), float("nan")],
        [True, 1.5],
        ["1.25", 2.0],
        ["<0.8", "1.25"],
        [" 1.25", "2.5"],
    ],
)
def test_the_quick_way_reads_what_the_careful_one_reads(cells, file_decimal):
    """A column is read quickly only if nothing would be said about it, and then as the rule reads it."""
    quick = plain_numbers(cells, file_decimal)
    careful = read_numbers(cells, file_decimal)
    if quick is not None:
        assert all(item.status in ("ok", "missing") and not item.remark for item in careful)
        assert np.array_equal(quick, [item.value for item in careful], equal_nan=True)
    if cells == ["1.25", "", "3", "+4.5e-3"]:
        assert quick is not None
