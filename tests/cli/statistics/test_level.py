"""The level of intervals: one option of every command that prints them, in headers, numbers and figures."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from hepacast.core.formatting import number
from hepacast.errors import ModelError
from hepacast.study.statistics import agreement, evaluate, logistic, nomogram, survival

RNG = np.random.default_rng(11)
RISK = RNG.uniform(0.1, 0.9, 90)
TABLE = pd.DataFrame(
    {
        "weeks": np.round(RNG.exponential(40, 90), 1) + 0.1,
        "dead": RNG.binomial(1, 0.7, 90),
        "ill": RNG.binomial(1, RISK),
        "risk": RISK,
        "age": RNG.integers(30, 80, 90),
        "arm": RNG.choice(["old", "new"], 90),
    }
)
READINGS = pd.DataFrame({"case": np.arange(40), "one": RNG.integers(1, 4, 40)})
READINGS["two"] = np.where(RNG.random(40) < 0.7, READINGS["one"], RNG.integers(1, 4, 40))

RESULTS = {
    "logistic": lambda level: logistic(TABLE, outcome="ill", predictors="risk, age", level=level),
    "profile": lambda level: logistic(TABLE, outcome="ill", predictors="age", interval="profile", level=level),
    "evaluate": lambda level: evaluate(TABLE, outcome="ill", models="risk", n_boot=20, level=level),
    "agreement": lambda level: agreement(READINGS, subject="case", raters="one, two", level=level),
    "groups": lambda level: survival(TABLE, time="weeks", event="dead", group="arm", level=level),
    "score": lambda level: survival(TABLE, time="weeks", event="dead", score="risk", predictors="age", level=level),
    "risk": lambda level: nomogram(TABLE, outcome="ill", predictors="risk, age", level=level),
    "cox": lambda level: nomogram(TABLE, time="weeks", event="dead", predictors="age, risk", at=[20], level=level),
}


def widths(values):
    """Widths of all intervals of a result's JSON, by place."""
    names = (("lower", "upper"), ("low", "high"), ("hr_low", "hr_high"))
    found = {}

    def walk(item, place):
        if isinstance(item, dict):
            for low, high in names:
                if isinstance(item.get(low), float) and isinstance(item.get(high), float):
                    found[place] = item[high] - item[low]
            for key, entry in item.items():
                if key.endswith("ci") and isinstance(entry, list) and None not in entry:
                    found[f"{place}.{key}"] = entry[1] - entry[0]
                elif not key.startswith(("limits_of", "curve", "net_benefit", "smooth")):
                    walk(entry, f"{place}.{key}")
        elif isinstance(item, list):
            for number, entry in enumerate(item):
                walk(entry, f"{place}[{number}]")

    walk(json.loads(json.dumps(values, default=lambda v: v.tolist())), "")
    return {place: width for place, width in found.items() if np.isfinite(width)}


@pytest.mark.parametrize("name", RESULTS)
def test_headers_and_every_interval_have_the_level_that_was_asked_for(name):
    wide, narrow = RESULTS[name](0.95), RESULTS[name](0.8)
    text = narrow.text().replace("95% limits of agreement", "")
    assert "80%" in text and "95%" not in text
    before, after = widths(wide.to_json()), widths(narrow.to_json())
    assert before.keys() == after.keys() and before
    assert all(after[place] < before[place] or before[place] == 0 for place in before), name


def test_figures_name_the_level():
    from matplotlib.text import Text

    for found in (RESULTS["score"](0.8), RESULTS["groups"](0.8)):
        for name, figure in found.figures().items():
            words = " ".join(item.get_text() for item in figure.findobj(Text))
            assert "95%" not in words, name
            assert "CI" not in words or "80% CI" in words, name


@pytest.mark.parametrize("level", [0, 1, 95])
def test_a_level_that_is_none_is_refused(level):
    for build in RESULTS.values():
        with pytest.raises(ModelError, match="between 0 and 1"):
            build(level)


def test_nothing_is_minus_zero():
    assert [number(v, 3) for v in (-0.0004, -0.0006, 0.0)] == ["0.000", "\N{MINUS SIGN}0.001", "0.000"]
    assert not re.search(r"[-\N{MINUS SIGN}]0\.0+(?!\d)", RESULTS["evaluate"](0.9).text())


def test_the_footnote_names_the_test_of_p_beside_the_limits():
    text = RESULTS["profile"](0.9).text()
    assert "Limits: 90%, profile likelihood" in text and "P: Wald (Firth: penalized likelihood ratio)." in text
