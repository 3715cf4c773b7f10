"""Table 1 against R's numbers (golden i) and its rules."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from hepacast.core import views
from hepacast.errors import TableError
from hepacast.stats.describe import describe


@pytest.fixture
def pbc(golden):
    return golden("i_univariate_tables")


def test_numbers_equal_r(pbc):
    reference, data = pbc
    table = describe(data, "dead", [{"name": name, "kind": "numeric"} for name in reference["numeric"]])
    variables = table.to_json()["variables"]
    for name, truth in reference["numeric"].items():
        found = variables[name]
        assert found["missing"] == truth["missing"]
        for group in ("0", "1"):
            summary = found["groups"][group]
            assert summary["n"] == truth[f"n{group}"]
            assert_allclose([summary["mean"], summary["sd"]], [truth[f"mean{group}"], truth[f"sd{group}"]], rtol=1e-12)
            assert_allclose([summary["q1"], summary["median"], summary["q3"]], truth[f"q_type7_{group}"], rtol=1e-12)
        normal = min(truth["shapiro0"]["p"], truth["shapiro1"]["p"]) > 0.05
        assert found["normal"] == normal
        assert found["test"] == ("Welch t" if normal else "Mann-Whitney")
        assert_allclose(found["p"], truth["t_welch"]["p"] if normal else truth["mann_whitney"]["p_cc"], rtol=1e-9)
        assert_allclose(found["smd"], truth["smd_pooled_avgvar"], rtol=1e-9)


def test_quartiles_of_spss(pbc):
    reference, data = pbc
    table = describe(data, "dead", dict.fromkeys(reference["numeric"], "numeric"), quartiles=6)
    for name, truth in reference["numeric"].items():
        for group in ("0", "1"):
            found = table.to_json()["variables"][name]["groups"][group]
            assert_allclose([found["q1"], found["median"], found["q3"]], truth[f"q_type6_spss_{group}"], rtol=1e-12)
    with pytest.raises(TableError, match="quartiles"):
        describe(data, "dead", quartiles=1)


def test_categories_equal_r(pbc):
    reference, data = pbc
    names = list(reference["categorical"])
    table = describe(data, "dead", dict.fromkeys(names, "categorical"))
    for name, truth in reference["categorical"].items():
        found = table.to_json()["variables"][name]
        counts = [[found["groups"][group]["counts"][level] for group in ("0", "1")] for level in truth["levels"]]
        assert counts == truth["counts"]
        assert found["test"] == "chi-square"  # no expected count below 5 in these tables
        assert_allclose(found["p"], truth["p_pearson"], rtol=1e-9)


def test_the_printed_table(pbc):
    _, data = pbc
    specs = [
        {"name": "age", "label": "Age", "unit": "years"},
        {"name": "albumin", "digits": 2},
        {"name": "sex", "label": "Sex"},
        {"name": "stage", "label": "Stage"},
    ]
    frame = describe(data, "dead", specs).to_frame()
    heads = [name.replace("\u00a0", " ") for name in frame.columns]
    assert heads == [
        "Characteristic", "Overall (n = 312)", "0 (n = 187)", "1 (n = 125)", "Missing", "P", "Test", "SMD",
    ]  # fmt: skip
    frame = frame.set_axis(heads, axis=1)
    age = frame.iloc[0]
    assert age["Characteristic"] == "Age (years)"
    assert age["0 (n = 187)"] == "47.42 (40.35–55.97)" and age["P"] == "<.001" and age["SMD"] == "0.53"
    albumin = frame.iloc[1]
    assert albumin["1 (n = 125)"] == "3.36 ± 0.48" and albumin["Test"] == "Welch t"
    sex = frame.iloc[2]
    assert sex["Characteristic"] == "Sex: m, n (%)" and sex["1 (n = 125)"] == "22 (17.6)" and sex["P"] == ".006"
    assert frame.iloc[3]["Characteristic"] == "Stage, n (%)" and frame.iloc[4]["Characteristic"].strip() == "1"
    assert frame.iloc[4]["0 (n = 187)"] == "15 (8.0)"


def test_a_small_spread_is_not_rounded_away():
    rng = np.random.default_rng(0)
    values = {"coefficient": rng.normal(0.0121, 0.0004, 40), "tiny": rng.normal(0, 3e-6, 40)}
    text = describe(pd.DataFrame(values)).to_frame()["Overall (n\u00a0=\u00a040)"]
    assert text[0].startswith("0.01208 ± 0.00032") and "e" in text[1]


def test_a_number_with_hardly_any_values_can_be_counted():
    frame = pd.DataFrame({"ps": [0, 0, 1, 2] * 15, "age": np.arange(60.0)})
    spec = [{"name": name, "kind": "numeric"} for name in frame]
    found = describe(frame, None, spec, count_few=True)
    assert [item.show for item in found.variables.values()] == ["count", "median"]
    assert found.to_frame().iloc[1, 1] == "30 (50.0)"
    assert describe(frame, None, spec).variables["ps"].show == "median"


def test_several_groups_and_missing_groups(pbc):
    _, data = pbc
    data = data.astype({"stage": object})
    data.loc[:4, "stage"] = None
    table = describe(data, "stage", ["age", "bili", "sex"])
    assert table.excluded == 5 and len(table.groups) == 4
    assert table.to_json()["variables"]["bili"]["test"] == "Kruskal-Wallis"
    assert table.to_json()["variables"]["age"]["test"] in ("Welch ANOVA", "Kruskal-Wallis")


def test_small_expected_counts_go_to_fisher():
    frame = pd.DataFrame({"g": [0] * 9 + [1] * 9, "x": ["a"] * 8 + ["b"] + ["a"] * 3 + ["b"] * 6})
    row = describe(frame, "g", ["x"]).to_json()["variables"]["x"]
    assert row["test"] == "Fisher exact"
    # Hypergeometric by hand: margins 9 + 9 and 11 + 7.
    total = math.comb(18, 7)
    p = 2 * sum(math.comb(9, k) * math.comb(9, 7 - k) for k in (0, 1)) / total
    assert_allclose(row["p"], p, rtol=1e-12)


def test_overall_only_has_no_tests(pbc):
    _, data = pbc
    frame = describe(data[["age", "sex"]]).to_frame()
    assert list(frame.columns) == ["Characteristic", "Overall (n\u00a0=\u00a0312)", "Missing"]


def test_constant_empty_and_one_sided_columns_give_reasons():
    frame = pd.DataFrame(
        {
            "g": [0, 0, 0, 1, 1, 1],
            "same": [2.5] * 6,
            "empty": [np.nan] * 6,
            "half": [1.5, 2.5, 3.75, np.nan, np.nan, np.nan],
            "one": ["a"] * 6,
        }
    )
    table = describe(frame, "g", {"same": "numeric", "empty": "numeric", "half": "numeric", "one": "categorical"})
    for name in ("same", "empty", "half", "one"):
        found = table.to_json()["variables"][name]
        assert found["p"] is None and found["reason"]
    assert table.to_json()["variables"]["half"]["groups"]["1"]["missing"] == 3
    text = table.to_frame()
    assert "P" not in text.columns
    (untested,) = [note for note in views.table(table).notes if note.startswith("Not tested: ")]
    assert all(f"{name} (" in untested for name in ("same", "empty", "half", "one"))
    assert "nan" not in text.to_string().lower()


def test_mistakes_are_explained(pbc):
    _, data = pbc
    with pytest.raises(TableError, match="grouping column"):
        describe(data, "died")
    with pytest.raises(TableError, match="not in the table"):
        describe(data, "dead", ["weight"])
    with pytest.raises(TableError, match="holds text"):
        describe(data, "dead", {"sex": "numeric"})
    with pytest.raises(TableError, match="levels"):
        describe(data, "dead", [{"name": "sex", "kind": "categorical", "levels": ["f"]}])
    with pytest.raises(TableError, match="kind"):
        describe(data, "dead", {"sex": "nominal"})


def test_html_is_escaped():
    frame = pd.DataFrame({"g": [0, 1, 0, 1], "<b>x</b>": ["<i>", "a", "a", "<i>"]})
    assert "<i>" not in describe(frame, "g")._repr_html_()


def test_row_order_changes_nothing(pbc):
    _, data = pbc
    shuffled = data.sample(frac=1, random_state=1)
    assert describe(data, "dead").to_frame().equals(describe(shuffled, "dead").to_frame())


def test_the_footnote_says_what_was_done():
    """Tests and quartiles that ran, by number of groups and by what was asked for."""
    rng = np.random.default_rng(4)
    frame = pd.DataFrame({"age": rng.normal(60, 9, 90), "two": np.arange(90) % 2, "three": np.arange(90) % 3})
    rules = {
        (by, equal): describe(frame, by, ["age"], equal_var=equal).rule
        for by in (None, "two", "three")
        for equal in (False, True)
    }
    assert "test" not in rules[None, False] and rules[None, False] == rules[None, True]
    for (by, equal), rule in rules.items():
        if by is not None:
            test = describe(frame, by, ["age"], equal_var=equal).variables["age"].test
            assert ("Welch" in rule) == (not equal) == ("Welch" in test)
            assert ("ANOVA" in rule) == ("Kruskal" in rule) == (by == "three")
            assert ("Student" in rule) == (by == "two" and equal)
    assert "type 7, as R" in rules["two", False]
    assert "type 6, as SPSS" in describe(frame, "two", ["age"], quartiles=6).rule
    assert "Yates" in describe(frame, "two", ["age"], yates=True).rule
