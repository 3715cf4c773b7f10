"""Units and quantities."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hepacast.cohort.quantities import (
    convert,
    find_quantity,
    get_quantity,
    known_quantities,
    parse_quantity,
    unit_key,
)
from hepacast.errors import TableError

QUANTITIES = list(known_quantities().values())
PAIRS = [(item.name, unit) for item in QUANTITIES for unit in item.units]


@pytest.mark.parametrize(
    ("value", "unit", "target", "quantity", "expected"),
    [
        (1.0, "mg/dL", "umol/L", "bilirubin", 17.1),
        (5.0, "mg/dL", "µmol/l", "bilirubin", 85.5),
        (3.8, "g/dL", "g/L", "albumin", 38.0),
        (1.0, "mg/dL", "umol/L", "creatinine", 88.4),
        (100, "mg/dL", "mmol/L", "glucose", 5.55),
        (150, "K/uL", "10^9/L", "platelets", 150),
        (150000, "/µL", "×10⁹/L", "platelets", 150),
        (13.0, "g/dL", "g/L", "hemoglobin", 130),
        (1.0, "ukat/L", "U/L", "alt", 60),
        (100, "IU/mL", "ng/mL", "afp", 121),
        (35, "mm", "cm", "tumor_diameter", 3.5),
        (0.65, "1", "%", "pta", 65),
    ],
)
def test_factors_from_clinical_chemistry(value, unit, target, quantity, expected):
    assert convert(value, unit, target, quantity) == pytest.approx(expected, rel=1e-9)


@given(st.sampled_from(PAIRS), st.floats(1e-3, 1e6))
def test_every_unit_round_trips(pair, value):
    name, unit = pair
    canonical = get_quantity(name).unit
    there = convert(value, unit, canonical, name)
    assert convert(there, canonical, unit, name) == pytest.approx(value, rel=1e-12)


@given(st.sampled_from(QUANTITIES), st.floats(0.01, 1e4))
def test_parse_what_is_printed(quantity, value):
    printed = f"{value:.6g}"
    assert parse_quantity(f"{printed} {quantity.unit}", quantity=quantity.name).value == pytest.approx(float(printed))


@pytest.mark.parametrize(
    ("text", "quantity", "value"),
    [
        ("20 umol/L", "bilirubin", 20),
        ("1,2 mg/dl", "bilirubin", 20.52),
        ("3.8 g/dL", "albumin", 38),
        ("1.2", "INR", 1.2),
        ("< 0.8 mg/dL", "bilirubin", 6.84),
        ("150 ×10⁹/L", "PLT", 150),
        ("150x10^9/L", "platelets", 150),
        ("120 Gpt/l", "Thrombozyten", 120),
        ("54", "age", 54),
        ("4,5 Tpt/l", "Erythrozyten", 4.5),
        ("85 %", "Quick", 85),
        ("1e3 ng/mL", "甲胎蛋白", 1000),
    ],
)
def test_parse_quantity(text, quantity, value):
    assert parse_quantity(text, quantity=quantity).value == pytest.approx(value)


def test_measurement_converts_and_prints():
    measurement = parse_quantity("38 g/L", quantity="albumin")
    assert measurement.to("g/dL") == pytest.approx(3.8)
    assert str(measurement) == "38 g/L"


@pytest.mark.parametrize(
    ("text", "quantity", "words"),
    [
        ("20", "bilirubin", "needs its unit"),
        ("20 g/L", "bilirubin", "not a unit of Total bilirubin"),
        ("abc", "albumin", "not a value"),
        ("1,234 umol/L", "bilirubin", "two ways"),
        ("3", "no such thing", "not known"),
    ],
)
def test_refused_with_a_reason(text, quantity, words):
    with pytest.raises(TableError, match=words):
        parse_quantity(text, quantity=quantity)


def test_default_unit():
    assert parse_quantity("20", quantity="bilirubin", default_unit="umol/L").value == 20


@pytest.mark.parametrize(
    ("name", "quantity"),
    [
        ("TB", "bilirubin"),
        ("总胆红素", "bilirubin"),
        ("Gesamtbilirubin", "bilirubin"),
        ("ALB", "albumin"),
        ("白蛋白", "albumin"),
        ("Thrombozyten", "platelets"),
        ("PLT", "platelets"),
        ("γ-GT", "ggt"),
        ("Quick-Wert", "pta"),
        ("PT-INR", "inr"),
        ("Kreatinin", "creatinine"),
        ("血钠", "sodium"),
        ("中性粒细胞百分比", "neutrophil_percent"),
        ("Alter", "age"),
        ("Child-Puge", "child_pugh"),
        ("Größe", "height"),
    ],
)
def test_names_in_three_languages(name, quantity):
    assert find_quantity(name).name == quantity


def test_no_synonym_is_used_twice():
    from hepacast.cohort.quantities import name_key

    seen: dict[str, str] = {}
    for item in QUANTITIES:
        for word in {name_key(text) for text in (item.name, item.label, *item.synonyms)}:
            assert seen.setdefault(word, item.name) == item.name, word


def test_table_is_consistent():
    for item in QUANTITIES:
        low, high = item.plausible
        assert low < high
        if item.cohort_median:
            assert low <= item.cohort_median[0] < item.cohort_median[1] <= high, item.name
        assert all(factor > 0 for factor in item.units.values())


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("µmol/l", "umol/L"),
        ("μmol/L", "umol/L"),
        ("×10⁹/L", "10E9/l"),
        ("10*9/L", "10^9/L"),
        ("mm3", "mm^3"),
        ("岁", "years"),
    ],
)
def test_spellings_of_units(first, second):
    assert unit_key(first) == unit_key(second)
