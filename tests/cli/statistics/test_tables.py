"""`hepacast stats` on tables with every fault that real ones have: the right answer or a clear message."""

from __future__ import annotations

import json
import sys

import numpy as np
import pandas as pd
import pytest


def _follow_up(n=60, seed=1):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    time = np.round(rng.exponential(np.exp(-x)) * 100 + 1)
    return {"time": time, "event": rng.integers(0, 2, n), "x": x.round(3), "group": np.where(x > 0, "b", "a")}


def test_csv_excel_and_parquet_give_the_same_numbers(hepacast, tmp_path):
    frame = pd.DataFrame(_follow_up())
    frame.loc[3, "x"] = np.nan
    frame.to_csv(tmp_path / "t.csv", index=False, sep=";", decimal=",")
    frame.to_excel(tmp_path / "t.xlsx", index=False)
    frame.to_parquet(tmp_path / "t.parquet")
    answers = []
    for kind in ("csv", "xlsx", "parquet"):
        code, out, err = hepacast(
            "stats", "logistic", tmp_path / f"t.{kind}", "--outcome", "event", "--predictors", "x,group"
        )
        assert code == 0, err
        answers.append(out)
    assert answers[0] == answers[1] == answers[2]
    assert "left out: 1 x missing" in answers[0]


def test_json_into_a_file_and_figures_into_a_folder(hepacast, table, tmp_path):
    path = table(_follow_up())
    code, out, err = hepacast(
        "stats", "survival", path, "--time", "time", "--event", "event", "--score", "x", "--at", "20,60",
        "--predictors", "x,group", "--json", tmp_path / "numbers.json", "--figures", tmp_path / "figures",
    )  # fmt: skip
    assert code == 0, err
    assert out.startswith("Survival (time, event)")
    assert json.loads((tmp_path / "numbers.json").read_text())["score"]["name"] == "x"
    written = {file.name for file in (tmp_path / "figures").iterdir()}
    stems = ("kaplan-meier", "time-dependent-auc", "forest")
    assert written == {f"{stem}.{kind}" for stem in stems for kind in ("pdf", "svg", "png")}
    assert all((tmp_path / "figures" / name).stat().st_size > 1000 for name in written)


def test_json_before_the_table_prints(hepacast, table):
    code, out, _ = hepacast("stats", "describe", "--json", table(_follow_up()), "--by", "group")
    assert code == 0
    assert set(json.loads(out)["variables"]) == {"time", "event", "x"}


def test_the_commands_do_not_import_what_they_do_not_need():
    import subprocess

    code = (
        "import sys; import hepacast.cli.main; "
        "bad = {'numpy', 'pandas', 'scipy', 'matplotlib'} & set(sys.modules); sys.exit(bool(bad))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_unknown_column_names_the_nearest(hepacast, table):
    path = table(_follow_up())
    for words in (
        ("logistic", "--outcome", "evnt", "--predictors", "x"),
        ("survival", "--time", "tme", "--event", "event"),
        ("evaluate", "--outcome", "event", "--models", "xx"),
        ("describe", "--by", "groop"),
    ):
        code, out, err = hepacast("stats", words[0], path, *words[1:])
        assert (code, out) == (2, "")
        assert "did you mean" in err


@pytest.mark.parametrize("y", [[0] * 40, [1] * 40])
def test_one_class_is_refused(hepacast, table, y):
    x = np.linspace(0.1, 0.9, 40)
    path = table({"y": y, "x": x})
    for words in (
        ("logistic", "--predictors", "x"),
        ("evaluate", "--models", "x"),
        ("nomogram", "--predictors", "x"),
    ):
        code, _, err = hepacast("stats", words[0], path, "--outcome", "y", *words[1:])
        assert code == 2
        assert "one class" in err


def test_separation_is_answered_by_firth(hepacast, numbers, table):
    x = np.arange(40.0)
    path = table({"y": (x > 19).astype(int), "x": x, "z": np.tile([0.0, 1.0, 3.0, 2.0], 10)})
    found = numbers("stats", "logistic", path, "--outcome", "y", "--predictors", "x,z")
    assert {line["method"] for line in found["multivariate"]} == {"firth"}
    assert any("Firth" in note for note in found["notes"])
    assert all(np.isfinite(line["odds_ratio"]) for line in found["multivariate"])
    drawn = numbers("stats", "nomogram", path, "--outcome", "y", "--predictors", "x,z")
    assert drawn["method"] == "firth"
    assert np.isfinite([row["coef"] for row in drawn["coefficients"].values()]).all()


def test_a_separated_cox_predictor_has_no_estimate_and_says_why(hepacast, numbers, table):
    n = 40
    event = np.tile([0, 1], n // 2)
    path = table(
        {"t": np.arange(1.0, n + 1), "e": event, "g": np.where(event == 1, "yes", "no"), "x": np.sin(np.arange(n))}
    )
    found = numbers("stats", "survival", path, "--time", "t", "--event", "e", "--predictors", "g,x")
    assert found["cox"]["status"] == "failed"
    assert "no finite estimate" in found["cox"]["reason"]
    assert found["cox"]["multivariate"]["x"]["hr"] is None
    assert found["cox"]["univariate"]["x"]["hr"] is not None
    code, _, err = hepacast("stats", "nomogram", path, "--time", "t", "--event", "e", "--predictors", "g,x")
    assert code == 2
    assert "no finite estimate" in err and "g=yes" in err


def test_constant_and_empty_columns(hepacast, numbers, table):
    data = _follow_up()
    path = table({**data, "same": 3, "empty": np.nan})
    found = numbers("stats", "logistic", path, "--outcome", "event", "--predictors", "x,same")
    assert [line["term"] for line in found["multivariate"]] == ["x"]
    assert any("same takes one value" in note for note in found["notes"])
    same = next(line for line in found["univariate"] if line["term"] == "same")
    assert same["odds_ratio"] is None and same["reason"]
    described = numbers("stats", "describe", path, "--by", "group")
    assert described["variables"]["same"]["p"] is None and described["variables"]["same"]["reason"]
    assert described["left_out"]["empty"] == "it has no values"
    followed = numbers("stats", "survival", path, "--time", "time", "--event", "event", "--predictors", "x,same")
    assert followed["cox"]["status"] == "ok" and any("same" in note for note in followed["cox"]["notes"])
    for words in (("logistic", "--predictors", "x,empty"), ("nomogram", "--predictors", "x,same")):
        code, _, err = hepacast("stats", words[0], path, "--outcome", "event", *words[1:])
        assert code == 2
        assert "empty" in err or "constant" in err


def test_missing_values_are_counted(hepacast, numbers, table):
    data = pd.DataFrame(_follow_up()).astype({"event": float})
    data.loc[0, "event"] = np.nan
    data.loc[[1, 2], "x"] = np.nan
    data["p"] = 1 / (1 + np.exp(-data["x"]))
    path = table(data)
    found = numbers("stats", "evaluate", path, "--outcome", "event", "--models", "p", "--bootstrap", 10)
    assert found["flow"] == {"read": 60, "left_out": {"event missing": 1, "p missing": 2}, "used": 57}
    found = numbers("stats", "survival", path, "--time", "time", "--event", "event", "--score", "x")
    assert found["flow"]["used"] == 57 and sum(g["n"] for g in found["groups"].values()) == 57


def test_no_events(hepacast, numbers, table):
    path = table({**_follow_up(), "event": 0})
    found = numbers(
        "stats", "survival", path, "--time", "time", "--event", "event", "--group", "group", "--predictors", "x"
    )
    assert found["log_rank"]["p"] is None and "events" in found["log_rank"]["reason"]
    assert found["cox"]["status"] == "failed" and found["cox"]["reason"]
    assert all(group["at"][0]["survival"] == 1.0 for group in found["groups"].values())
    scored = numbers("stats", "survival", path, "--time", "time", "--event", "event", "--score", "x")
    assert scored["score"]["c"] is None and scored["score"]["reason"]
    for words in (
        ("survival", "--score", "x", "--cut", "maxstat"),
        ("survival", "--score", "x", "--cut", "youden"),
        ("nomogram", "--predictors", "x"),
    ):
        code, _, err = hepacast("stats", words[0], path, "--time", "time", "--event", "event", *words[1:])
        assert code == 2
        assert "event" in err


def test_tied_times(numbers, hepacast, table):
    n = 60
    rng = np.random.default_rng(4)
    x = rng.normal(size=n).round(1)
    path = table({"t": np.repeat([10, 20, 30], n // 3), "e": rng.integers(0, 2, n), "x": x, "g": np.where(x > 0, 1, 0)})
    found = numbers("stats", "survival", path, "--time", "t", "--event", "e", "--group", "g", "--predictors", "x")
    assert np.isfinite(found["log_rank"]["p"]) and np.isfinite(found["cox"]["multivariate"]["x"]["hr"])
    same = table({"t": [5] * 20, "e": [1] * 20, "x": np.arange(20)}, "same.csv")
    for cut in ("median", "maxstat"):
        code, out, err = hepacast(
            "stats", "survival", same, "--time", "t", "--event", "e", "--score", "x", "--cut", cut
        )
        assert "nan" not in (out + err).casefold()
        assert code == (0 if cut == "median" else 2)


def test_follow_up_that_cannot_be(hepacast, table):
    data = _follow_up()
    data["time"][5] = -3
    code, _, err = hepacast("stats", "survival", table(data), "--time", "time", "--event", "event")
    assert code == 2 and "negative" in err
    good = table(_follow_up(), "good.csv")
    for at, words in (("0", "above 0"), ("1e6", "Nothing can be said"), ("a", "numbers")):
        code, _, err = hepacast(
            "stats", "nomogram", good, "--time", "time", "--event", "event", "--predictors", "x", "--at", at
        )
        assert code == 2
        assert words in err or "Nothing can be said" in err


def test_text_in_a_number_column_names_the_rows(hepacast, table):
    data = pd.DataFrame(_follow_up()).astype({"x": object})
    data.loc[7, "x"] = "high"
    code, _, err = hepacast("stats", "logistic", table(data), "--outcome", "event", "--predictors", "x")
    assert code == 2
    assert "row 9: 'high'" in err


def test_an_identifier_is_no_category(hepacast, table):
    data = {**_follow_up(), "who": [f"Patient {i}" for i in range(60)]}
    path = table(data)
    code, _, err = hepacast("stats", "logistic", path, "--outcome", "event", "--predictors", "who")
    assert code == 2 and "60 different texts" in err
    code, out, _ = hepacast("stats", "describe", path, "--by", "group")
    assert code == 0 and "who is not described" in out


def test_an_outcome_in_words(hepacast, numbers, table):
    data = _follow_up()
    data["response"] = np.where(data["event"] == 1, "CR", "PD")
    data["alive"] = np.where(data["event"] == 1, "no", "yes")
    path = table(data)
    code, _, err = hepacast("stats", "logistic", path, "--outcome", "response", "--predictors", "x")
    assert code == 2 and "--positive" in err and "CR, PD" in err
    with_words = numbers("stats", "logistic", path, "--outcome", "response", "--positive", "CR", "--predictors", "x")
    plain = numbers("stats", "logistic", path, "--outcome", "event", "--predictors", "x")
    assert with_words["multivariate"][0]["coef"] == plain["multivariate"][0]["coef"]
    reverse = numbers("stats", "logistic", path, "--outcome", "alive", "--predictors", "x")
    np.testing.assert_allclose(reverse["multivariate"][0]["coef"], -plain["multivariate"][0]["coef"], rtol=1e-9)


def test_constant_predictions(numbers, hepacast, table):
    path = table({"y": [0, 1] * 20, "p": 0.5, "q": np.linspace(0.2, 0.8, 40)})
    found = numbers("stats", "evaluate", path, "--outcome", "y", "--models", "p,q", "--bootstrap", 10)
    assert found["models"]["p"]["auc"] == 0.5
    assert found["models"]["p"]["status"] == "constant"
    code, out, _ = hepacast("stats", "evaluate", path, "--outcome", "y", "--models", "p,q", "--bootstrap", 10)
    assert code == 0 and "nan" not in out.casefold()


def test_a_cut_off_that_leaves_one_group(hepacast, table):
    path = table(_follow_up())
    words = ("stats", "survival", path, "--time", "time", "--event", "event", "--score", "x", "--cut")
    code, _, err = hepacast(*words, "99")
    assert code == 2 and "one group" in err
    code, _, err = hepacast(*words, "best")
    assert code == 2 and "median, youden, maxstat" in err


def test_a_cut_from_the_same_patients_says_so(hepacast, table):
    path = table(_follow_up())
    words = ("stats", "survival", path, "--time", "time", "--event", "event", "--score", "x")
    for cut in ("youden", "maxstat"):
        _, out, _ = hepacast(*words, "--cut", cut)
        assert "chosen from the outcome of these very patients" in out
        assert "too good" in out
    _, out, _ = hepacast(*words, "--cut", "0.1")
    assert "given" in out and "too good" not in out


def test_agreement_of_categories_and_what_cannot_be_judged(hepacast, numbers, table):
    rows = [
        (s, r, v)
        for s in range(12)
        for r, v in (("A", "mild" if s % 3 else "severe"), ("B", "mild" if s % 4 else "severe"))
    ]
    path = table(pd.DataFrame(rows, columns=["s", "r", "v"]))
    words = ("stats", "agreement", path, "--subject", "s", "--rater", "r", "--value", "v")
    found = numbers(*words)
    assert found["icc"] is None and set(found["kappa"]) == {"A and B"}
    # Cohen 1960: agreement beyond chance over what is possible beyond chance.
    a = np.array([s % 3 == 0 for s in range(12)])
    b = np.array([s % 4 == 0 for s in range(12)])
    chance = a.mean() * b.mean() + (1 - a.mean()) * (1 - b.mean())
    np.testing.assert_allclose(
        found["kappa"]["A and B"]["kappa"], ((a == b).mean() - chance) / (1 - chance), atol=1e-12
    )
    twice = table(pd.DataFrame([*rows, (0, "A", "mild")], columns=["s", "r", "v"]), "twice.csv")
    code, _, err = hepacast("stats", "agreement", twice, *words[3:])
    assert code == 2 and "two ratings" in err
    same = table({"s": range(6), "a": 2.5, "b": 2.5}, "same.csv")
    code, _, err = hepacast("stats", "agreement", same, "--subject", "s", "--raters", "a,b")
    assert code == 2 and "equal" in err
    alike = table({"s": range(6), "a": np.arange(6) / 2, "b": np.arange(6) / 2}, "alike.csv")
    found = numbers("stats", "agreement", alike, "--subject", "s", "--raters", "a,b")
    assert found["icc"]["ICC3"]["icc"] == 1.0 and found["icc"]["ICC3"]["lower"] is None and found["notes"]


def test_sample_size_needs_one_kind(hepacast):
    for words in ((), ("--prevalence", "0.2", "--rate", "0.1"), ("--rate", "0.1"), ("--prevalence", "2")):
        code, _, err = hepacast("stats", "samplesize", "--parameters", "10", *words)
        assert code == 2 and "Error" in err


def test_damaged_and_empty_files(hepacast, tmp_path):
    for name, content in (("empty.csv", ""), ("heads.csv", "a,b\n"), ("bad.xlsx", "no workbook"), ("t.doc", "x")):
        (tmp_path / name).write_text(content)
        code, _, err = hepacast("stats", "describe", tmp_path / name)
        assert code == 2 and "Error" in err
    code, _, err = hepacast("stats", "describe", tmp_path / "none.csv")
    assert code == 2 and "not found" in err


def test_ordered_words_are_judged_as_the_same_grades_in_numbers(hepacast, numbers, table):
    grades = [(0, 0), (1, 2), (2, 2), (0, 1), (3, 3), (2, 3), (1, 1), (3, 2), (0, 0), (2, 0)]
    words = ("none", "mild", "marked", "severe")
    as_words = pd.DataFrame([(i, words[a], words[b]) for i, (a, b) in enumerate(grades)], columns=["s", "a", "b"])
    as_numbers = pd.DataFrame([(i, a, b) for i, (a, b) in enumerate(grades)], columns=["s", "a", "b"])
    ask = ("--subject", "s", "--raters", "a,b")
    order = "=" + "|".join(words)
    told = numbers("stats", "agreement", table(as_words, "w.csv"), *ask, "--levels", f"a{order}")
    truth = numbers("stats", "agreement", table(as_numbers, "n.csv"), *ask)
    assert len(truth["kappa"]) == 3
    for name, item in truth["kappa"].items():
        assert told["kappa"][name] == pytest.approx(item)
        assert item["lower"] < item["kappa"] < item["upper"]
    assert told["kendall_w"] == pytest.approx(truth["kendall_w"])
    silent = numbers("stats", "agreement", table(as_words, "w.csv"), *ask)
    assert len(silent["kappa"]) == 1 and silent["kendall_w"] is None
    against = ("--levels", f"a{order}", "--levels", "b=severe|marked|mild|none")
    code, _, err = hepacast("stats", "agreement", table(as_words, "w.csv"), *ask, *against)
    assert code == 2 and "different levels" in err


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_raters_in_opposite_directions_are_told_so(numbers, table):
    rng = np.random.default_rng(1)
    up = np.arange(20.0)
    for down in (50 - up, 50 - up + rng.normal(0, 2, 20)):
        path = table(pd.DataFrame({"s": np.arange(20), "a": up, "b": down.round(2)}))
        notes = " ".join(numbers("stats", "agreement", path, "--subject", "s", "--raters", "a,b")["notes"])
        assert "a and b run in opposite directions" in notes and "agree without" not in notes


def test_patients_at_the_cut_off_are_the_high_group(numbers, table):
    frame = pd.DataFrame({"score": [1, 2, 3, 3, 4, 5] * 8, "t": np.arange(1, 49), "e": [1, 0, 1] * 16})
    for cut in ("3", "maxstat", "youden"):
        found = numbers(
            "stats", "survival", table(frame), "--time", "t", "--event", "e", "--score", "score", "--cut", cut
        )
        high = int((frame["score"] >= found["cut"]["value"]).sum())
        assert {name: curve["n"] for name, curve in found["groups"].items()} == {"low": 48 - high, "high": high}
