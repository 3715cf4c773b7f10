"""Every `hepacast stats` command on tables that are not as one would wish: a right answer, or clear words."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hepacast.errors import ModelError, OutcomeError, TableError
from hepacast.study.statistics import agreement, describe, evaluate, survival
from hepacast.study.statistics.result import reasoned, unexplained


def plain() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    n = 60
    return pd.DataFrame(
        {
            "y": (rng.random(n) < 0.4).astype(int),
            "a": rng.normal(size=n).round(3),
            "b": rng.normal(size=n).round(3),
            "g": rng.choice(["u", "v"], n),
            "p": rng.random(n).round(3),
            "q": rng.random(n).round(3),
            "t": rng.exponential(300, n).round(0) + 1,
            "e": (rng.random(n) < 0.6).astype(int),
        }
    )


def holes(values: pd.Series) -> pd.Series:
    found = values.astype(object)
    found.iloc[::7] = None
    return found


def spoiled(kind: str) -> pd.DataFrame:
    d = plain()
    if kind == "missing":
        return d.assign(**{name: holes(d[name]) for name in ("y", "a", "g", "p", "t")})
    return {
        "constant": d.assign(a=1.0, p=0.5, t=100.0),
        "empty": d.assign(a=None),
        "one class": d.assign(y=1, e=1, g="u"),
        "no events": d.assign(y=0, e=0),
        "separated": d.assign(a=2 * d.y + d.q, p=0.8 * d.y + 0.1, g=np.where(d.y == 1, "u", "v")),
        "tied": d.assign(t=(d.t // 400 + 1) * 400, p=d.p.round(1)),
        "three rows": d.iloc[:3],
        "negative": d.assign(t=d.t.where(d.index > 2, -5)),
    }[kind]


KINDS = ("missing", "constant", "empty", "one class", "no events", "separated", "tied", "three rows", "negative")
COX = ("--time", "t", "--event", "e")
COMMANDS: dict[str, tuple[str, ...]] = {
    "describe": ("describe", "--by", "y"),
    "tableone": ("tableone", "--by", "g"),
    "logistic": ("logistic", "--outcome", "y", "--predictors", "a,b,g"),
    "evaluate": ("evaluate", "--outcome", "y", "--models", "p,q", "--bootstrap", "10"),
    "nomogram": ("nomogram", "--outcome", "y", "--predictors", "a,b", "--bootstrap", "0"),
    "spline": ("nomogram", "--outcome", "y", "--predictors", "a,b", "--spline", "a:4", "--bootstrap", "0"),
    "Cox nomogram": ("nomogram", *COX, "--predictors", "a,b", "--at", "200", "--bootstrap", "0"),
    "groups": ("survival", *COX, "--group", "g", "--at", "200"),
    "maxstat": ("survival", *COX, "--score", "a", "--cut", "maxstat", "--at", "200"),
    "median": ("survival", *COX, "--score", "a", "--at", "200"),
    "Cox": ("survival", *COX, "--predictors", "a,b,g"),
}
FURTHER: dict[str, tuple[str, ...]] = {
    "NRI": ("evaluate", "--outcome", "y", "--models", "p,q,a", "--nri-cuts", "0.2,0.5", "--bootstrap", "0"),
    "Firth": ("logistic", "--outcome", "y", "--predictors", "a,b,g", "--firth", "--interval", "profile"),
    "Youden": ("survival", *COX, "--score", "a", "--cut", "youden", "--at", "200"),
    "no groups": ("describe",),
    "by text": ("describe", "--by", "g"),
    "reading": ("nomogram", "--outcome", "y", "--predictors", "a,b", "--bootstrap", "5", "--patient", "1"),
}
#: What must be refused, and the word that the message must hold; everything else must give an answer.
REFUSED: dict[tuple[str, str], str] = {
    **{(c, "one class"): "class" for c in ("logistic", "evaluate", "nomogram", "spline")},
    **{(c, "no events"): "class" for c in ("logistic", "evaluate", "nomogram", "spline")},
    **{(c, "empty"): "every" for c in ("logistic", "nomogram", "spline", "Cox nomogram", "maxstat", "median", "Cox")},
    **{(c, "constant"): "constant" for c in ("nomogram", "spline", "Cox nomogram")},
    **{(c, "constant"): "same for all" for c in ("maxstat", "median")},
    **{(c, "three rows"): "few" for c in ("logistic", "nomogram", "spline")},
    **{(c, "negative"): "negative" for c in ("Cox nomogram", "groups", "maxstat", "median", "Cox")},
    ("Cox nomogram", "no events"): "events",
    ("Cox nomogram", "three rows"): "estimate",
    ("Cox nomogram", "tied"): "200",
    ("maxstat", "no events"): "events",
    ("maxstat", "three rows"): "maxstat",
}


def bare_nan(text: str) -> bool:
    return bool(re.search(r"(?<![\w])(nan|NaN|inf|-inf|None)(?![\w])", text))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("command", COMMANDS)
def test_an_answer_or_what_is_wrong(hepacast, table, command: str, kind: str) -> None:
    name, *options = COMMANDS[command]
    code, out, err = hepacast("stats", name, table(spoiled(kind)), *options)
    assert "Traceback" not in err
    if (command, kind) in REFUSED:
        assert code == 2, out
        assert REFUSED[(command, kind)] in err
        return
    assert code == 0, err
    assert not bare_nan(out), out


@pytest.mark.parametrize("kind", ["plain", *KINDS])
def test_every_null_stands_beside_its_reason(hepacast, table, kind: str) -> None:
    path = table(plain() if kind == "plain" else spoiled(kind))
    bare = {}
    for command, (name, *options) in {**COMMANDS, **FURTHER}.items():
        code, out, err = hepacast("stats", name, path, *options, "--json")
        assert "Traceback" not in err
        if code == 0:
            places = unexplained(json.loads(out))
            if places:
                bare[command] = places[:5]
    assert not bare


def test_every_null_of_raters_and_sizes_stands_beside_its_reason(hepacast, table) -> None:
    words = ("--subject", "s", "--rater", "r", "--value", "v", "--json")
    codes = [float(number % 2) for number in range(24)]
    for rows in (ratings(), ratings(v="high"), ratings(v=codes), ratings(v=["u", "v", "w"] * 8)):
        code, out, err = hepacast("stats", "agreement", table(rows), *words)
        assert code == 0, err
        assert unexplained(json.loads(out)) == []
    for options in (("--prevalence", "0.3"), ("--rate", "0.1", "--time-point", "2", "--follow-up", "2")):
        code, out, err = hepacast("stats", "samplesize", "--parameters", "10", *options, "--json")
        assert code == 0, err
        assert unexplained(json.loads(out)) == []


def test_a_missing_number_takes_the_reason_of_what_holds_it() -> None:
    values = {
        "notes": ["a alone: no estimate."],
        "rows": [{"p": None}, {"p": 0.1}],
        "fit": {"reason": "none", "p": None},
    }
    assert unexplained(values) == [".rows[0].p"]
    found = reasoned(values)
    assert found["rows"] == [{"p": None, "reason": "a alone: no estimate."}, {"p": 0.1}]
    assert found["fit"]["reason"] == "none" and unexplained(found) == []
    assert unexplained({"p": None}) == [".p"] and unexplained({"ci": [None, 1]}) == [".ci"]
    assert unexplained({"p": None, "p_reason": "why"}) == []


def finite_or_none(value: Any) -> bool:
    if isinstance(value, dict):
        return all(finite_or_none(item) for item in value.values())
    if isinstance(value, list):
        return all(finite_or_none(item) for item in value)
    return not isinstance(value, float) or math.isfinite(value)


def test_numbers_that_do_not_exist_stand_beside_their_reason(numbers, table) -> None:
    separated = numbers("stats", "evaluate", table(spoiled("separated")), *COMMANDS["evaluate"][1:])
    assert finite_or_none(separated)
    model = separated["models"]["p"]
    assert model["auc"] == 1.0 and model["slope"] is None
    assert any("separate" in note for note in model["calibration"]["notes"])
    constant = numbers("stats", "logistic", table(spoiled("constant")), *COMMANDS["logistic"][1:])
    assert finite_or_none(constant)
    assert any("one value only" in note or "constant" in note for note in constant["notes"])


def test_missing_values_are_left_out_and_counted(numbers, table) -> None:
    d = spoiled("missing")
    complete = d.dropna(subset=["y", "p", "q"])
    found = numbers("stats", "evaluate", table(d), *COMMANDS["evaluate"][1:])
    alone = numbers("stats", "evaluate", table(complete, "complete.csv"), *COMMANDS["evaluate"][1:])
    assert found["models"]["p"]["auc"] == alone["models"]["p"]["auc"]
    assert found["flow"] != alone["flow"]


SIZES = {
    "tiny": lambda v: v * 1e-9,
    "huge": lambda v: v * 1e12,
    "far from zero": lambda v: 1e12 + v,
    "almost constant": lambda v: 1 + 1e-10 * (v == v.max()),
    "vast": lambda v: v * 1e150,
}


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("size", SIZES)
def test_no_warning_and_no_endless_number_whatever_the_size_of_a_predictor(hepacast, table, size: str) -> None:
    d = plain()
    changed = table(d.assign(a=SIZES[size](d.a), p=SIZES[size](d.p)))
    for name, *options in {**COMMANDS, **FURTHER}.values():
        code, out, err = hepacast("stats", name, changed, *options)
        assert code in (0, 2), err
        assert ".py:" not in err + out and not bare_nan(out)
        assert not re.search(r"\d{14,}", out + err), out


def test_an_unsuitable_unit_is_told_with_the_ratio_of_a_standard_deviation(numbers, table) -> None:
    d = plain()
    words = ("--outcome", "y", "--predictors", "a")
    usual = numbers("stats", "logistic", table(d), *words)["univariate"][0]
    assert not numbers("stats", "logistic", table(d), *words)["notes"]
    for factor, said in ((1e-9, "much larger"), (1e7, "much smaller")):
        found = numbers("stats", "logistic", table(d.assign(a=d.a * factor)), *words)
        assert any(said in note for note in found["notes"])
        assert f"{math.exp(usual['coef'] * d.a.std(ddof=0)):.3g}" in found["notes"][0]


def ratings(**changes: Any) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    rows = [{"s": s, "r": r, "v": 10 + s + rng.normal()} for s in range(12) for r in ("A", "B")]
    return pd.DataFrame(rows).assign(**changes)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (ratings(v=5.0), "equal"),
        (ratings().query("r == 'A'"), "two subjects"),
        (ratings().query("s == 0"), "two subjects"),
        (pd.concat([ratings(), ratings().iloc[:2]]), "two ratings"),
    ],
)
def test_ratings_that_cannot_be_judged(hepacast, table, rows: pd.DataFrame, message: str) -> None:
    code, _, err = hepacast("stats", "agreement", table(rows), "--subject", "s", "--rater", "r", "--value", "v")
    assert code == 2 and message in err


def test_agreement_with_holes_and_one_category(hepacast, table) -> None:
    words = ("--subject", "s", "--rater", "r", "--value", "v")
    holed = ratings()
    holed.loc[::9, "v"] = None
    code, out, _ = hepacast("stats", "agreement", table(holed), *words)
    assert code == 0 and "left out" in out and not bare_nan(out)
    code, out, _ = hepacast("stats", "agreement", table(ratings(v="high"), "one.csv"), *words)
    assert code == 0 and "at least two categories" in out and not bare_nan(out)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--prevalence", "0"), "between 0 and 1"),
        (("--prevalence", "1.2"), "between 0 and 1"),
        (("--prevalence", "0.3", "--r2", "0.9"), "not possible"),
        (("--rate", "0", "--time-point", "2", "--follow-up", "2"), "above 0"),
        (("--prevalence", "0.3", "--shrinkage", "1"), "between 0 and 1"),
        ((), "prevalence"),
    ],
)
def test_sample_sizes_that_cannot_be(hepacast, options: tuple[str, ...], message: str) -> None:
    code, _, err = hepacast("stats", "samplesize", "--parameters", "10", *options)
    assert code == 2 and message in err


def test_too_few_bootstrap_samples_are_said(hepacast, table) -> None:
    for outcome in (("--outcome", "y"), (*COX, "--at", "200")):
        words = ("--predictors", "a,b", "--bootstrap", "5")
        code, out, _ = hepacast("stats", "nomogram", table(plain()), *outcome, *words)
        assert code == 0 and "Too few bootstrap samples" in out


def test_results_show_themselves(table) -> None:
    from hepacast.study.statistics import describe, evaluate, logistic, survival

    path = table(plain())
    found = [
        describe(path, by="y"),
        logistic(path, outcome="y", predictors="a,b"),
        evaluate(path, outcome="y", models="p,q", n_boot=5),
        survival(path, time="t", event="e", group="g"),
    ]
    for result in found:
        assert len(result.to_frame()) > 0
        assert "<table" in result._repr_html_()
    for result in found[2:]:
        assert result.plot().axes


def test_negative_times_are_named_by_their_rows() -> None:
    frame = pd.DataFrame({"t": [5.0, -2.0, 7.0, -1.0], "e": [1, 0, 1, 1]})
    with pytest.raises(OutcomeError, match=r"-2 in rows 3, 5[\s\S]*column t"):
        survival(frame, time="t", event="e")


def test_why_there_is_no_hazard_ratio_is_true() -> None:
    early = pd.DataFrame({"t": [1.0, 2, 3, 4, 11, 12, 13, 14], "e": 1, "g": list("aaaabbbb")})
    assert (
        "Hazard ratio: not estimable (the events' order separates the groups)"
        in survival(early, time="t", event="e", group="g").text()
    )
    none = early.assign(t=[15.0, 16, 17, 18, 11, 12, 13, 14], e=[0, 0, 0, 0, 1, 1, 1, 1])
    assert "one group has no event" in survival(none, time="t", event="e", group="g").text()


def test_one_row_a_subject_with_a_column_for_each_rater() -> None:
    frame = pd.DataFrame({"s": ["a", "b", "c", None, "d"], "x": [1.0, 2, 4, 9, 3], "y": [2.0, 2, 5, 1, 4]})
    found = agreement(frame, subject="s", raters=["x", "y"])
    assert found.n_subjects == 4 and any("row 5: no subject" in note for note in found.notes)
    with pytest.raises(TableError, match="stands in two rows") as told:
        agreement(frame.assign(s=["a", "b", "a", "c", "d"]), subject="s", raters=["x", "y"])
    assert told.value.found == "a"


def test_raters_who_differ_by_a_constant_do_not_agree() -> None:
    x = np.arange(8.0)
    shifted = agreement(pd.DataFrame({"s": range(8), "x": x, "y": x + 5}), subject="s", raters=["x", "y"])
    assert [note for note in shifted.notes if "differ by the same amount" in note]
    equal = agreement(pd.DataFrame({"s": range(8), "x": x, "y": x}), subject="s", raters=["x", "y"])
    assert [note for note in equal.notes if "agree without any difference" in note]


@pytest.mark.parametrize("at", [0.0, -5.0, math.nan])
def test_risks_by_no_time_are_refused(at: float) -> None:
    frame = pd.DataFrame({"t": [1.0, 2, 3, 4], "e": [1, 0, 1, 0], "p": [0.4, 0.3, 0.6, 0.2]})
    with pytest.raises(ModelError, match="above 0"):
        evaluate(frame, outcome="e", models=["p"], time="t", at=at)


def test_rows_that_are_visits_are_told() -> None:
    frame = pd.DataFrame({"patient": [1, 1, 2, 2, 3, 3, 4, 4], "x": np.arange(8.0), "g": list("abababab")})
    (note,) = describe(frame, by="g").notes
    assert note.startswith("patient: 4 of 4 identifiers stand in several rows")
    assert describe(frame.iloc[::2], by="g", columns=["x"]).notes != (note,)
    ratings_told = agreement(frame, subject="patient", rater="g", value="x").notes
    assert not [text for text in ratings_told if "several rows" in text]
