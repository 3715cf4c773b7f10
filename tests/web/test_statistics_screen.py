"""Statistics of a dropped table: the numbers of the command for each of `stats`, its tables, its figures."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer

from hepacast.cli import main as command_line
from hepacast.cli.statistics import stats
from hepacast.web.analyses import ANALYSES
from hepacast.web.messages import languages, messages

from .conftest import until

#: Options of the commands that say how a table is read, or where the answer goes.
COMMON = {"table", "sheet", "decimal", "dictionary", "categorical", "levels", "as_json", "figures"}
#: Names of options that the functions call otherwise.
RENAMED = {
    "bootstrap": "n_boot", "spline": "splines", "interaction": "interactions", "log": "logs", "cutoff": "cutoffs",
    "nagelkerke": "nagelkerke_r2",
}  # fmt: skip


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """120 patients with everything that the seven commands ask for."""
    g = np.random.default_rng(4)
    n = 120
    age, inr = g.normal(60, 9, n).round(), g.normal(1.2, 0.2, n).round(2)
    lp = 0.05 * (age - 60) + 3 * (inr - 1.2)
    time, censored = g.exponential(24 * np.exp(-lp)), g.uniform(6, 48, n)
    frame = pd.DataFrame(
        {
            "patient": [f"P{i:03d}" for i in range(n)], "age": age, "inr": inr, "sex": g.choice(["f", "m"], n),
            "outcome": (g.random(n) < 1 / (1 + np.exp(-lp))).astype(int),
            "months": np.minimum(time, censored).round(2), "died": (time <= censored).astype(int),
            "risk": (1 / (1 + np.exp(-lp - g.normal(0, 0.3, n)))).round(4),
            "other": g.random(n).round(4), "reader_1": g.normal(50, 9, n).round(1),
        }
    )  # fmt: skip
    frame["reader_2"] = (frame["reader_1"] + g.normal(0, 2, n)).round(1)
    path = tmp_path_factory.mktemp("cohort") / "cohort.csv"
    frame.to_csv(path, index=False)
    return path


#: Options on the page, and the same as words of the command.
SAME = {
    "describe": ({"by": "outcome"}, ["--by", "outcome"]),
    "logistic": (
        {"outcome": "outcome", "predictors": ["age", "inr", "sex"], "interval": "profile", "level": 0.9},
        ["--outcome", "outcome", "--predictors", "age,inr,sex", "--interval", "profile", "--level", "0.9"],
    ),
    "survival": (
        {"time": "months", "event": "died", "score": "risk", "predictors": ["age", "sex"], "at": [12, 24]},
        ["--time", "months", "--event", "died", "--score", "risk", "--predictors", "age,sex", "--at", "12,24"],
    ),
    "evaluate": (
        {"outcome": "outcome", "models": ["risk", "other"], "n_boot": 50, "cutoffs": {"risk": 0.4}, "nri_cuts": [0.3]},
        ["--outcome", "outcome", "--models", "risk,other", "--bootstrap", "50", "--cutoff", "risk=0.4", "--nri-cuts",
         "0.3"],
    ),
    "nomogram": (
        {"time": "months", "event": "died", "predictors": ["age", "inr", "sex"], "at": [12], "splines": ["age:3"],
         "interactions": ["inr:sex"], "n_boot": 5, "patient": "P007"},
        ["--time", "months", "--event", "died", "--predictors", "age,inr,sex", "--at", "12", "--spline", "age:3",
         "--interaction", "inr:sex", "--bootstrap", "5", "--patient", "P007"],
    ),
    "agreement": (
        {"subject": "patient", "raters": ["reader_1", "reader_2"]},
        ["--subject", "patient", "--raters", "reader_1,reader_2"],
    ),
    "samplesize": ({"parameters": 10, "prevalence": 0.3}, ["--parameters", "10", "--prevalence", "0.3"]),
}  # fmt: skip


def taken(client, path: Path) -> dict:
    answer = client.post("/api/statistics/tables", files={"file": (path.name, path.read_bytes())})
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("name", ANALYSES)
def test_the_page_has_the_options_of_the_command(name):
    command = typer.main.get_command(stats).commands[name]
    of_command = {RENAMED.get(item.name, item.name) for item in command.params} - COMMON - {"help"}
    assert {item.name for item in ANALYSES[name]} == of_command
    defaults = {RENAMED.get(item.name, item.name): item.default for item in command.params}
    for item in ANALYSES[name]:
        # Both kinds of regression are made where the command is told neither.
        if item.name not in ("univariate", "multivariate") and item.default not in (None, ()):
            assert item.default == defaults[item.name], item.name


def test_every_option_has_its_words():
    for language in languages():
        words = messages(language)["statistics"]
        names = {item.name for options in ANALYSES.values() for item in options}
        assert set(words["option"]) == names and set(words["name"]) == set(words["what"]) == set(ANALYSES)


@pytest.fixture
def hepacast_numbers(monkeypatch, capsys):
    """Numbers that a command prints."""

    def numbers(*words):
        monkeypatch.setattr(sys, "argv", ["hepacast", "stats", *words, "--json"])
        with contextlib.suppress(SystemExit):
            command_line.main()
        return json.loads(capsys.readouterr().out)

    return numbers


@pytest.mark.parametrize("name", ANALYSES)
def test_the_numbers_are_those_of_the_command(name, client, cohort, hepacast_numbers):
    options, words = SAME[name]
    expected = hepacast_numbers(name, *([] if name == "samplesize" else [str(cohort)]), *words)
    token = "" if name == "samplesize" else taken(client, cohort)["table"]
    answer = client.post(f"/api/statistics/run/{name}", json={"table": token, "options": options})
    assert answer.status_code == 200, answer.text
    told = answer.json()
    at = f"/api/statistics/files/{told['table']}/{told['result']}"
    assert client.get(f"{at}/{name}.json").json() == expected
    tables = [part["table"] for part in told["parts"] if "table" in part]
    assert tables and all(len(row["cells"]) == len(item["columns"]) for item in tables for row in item["rows"])
    csvs = [file for file in told["files"] if file.endswith(".csv")]
    assert len(csvs) == len(tables) and client.get(f"{at}/{csvs[0]}").text.startswith("\ufeff")
    figures = [file for file in told["files"] if file.endswith(".png")]
    assert figures or name in ("samplesize", "describe")
    for file in figures:
        assert client.get(f"{at}/{file}").content.startswith(b"\x89PNG")


@pytest.mark.parametrize("kind", ["csv", "xlsx", "sav"])
def test_columns_of_a_table_are_guessed_in_every_format(kind, client, cohort, tmp_path):
    path = tmp_path / f"cohort.{kind}"
    frame = pd.read_csv(cohort)
    if kind == "csv":
        shutil.copy(cohort, path)
    elif kind == "xlsx":
        frame.to_excel(path, index=False)
    else:
        import pyreadstat

        pyreadstat.write_sav(frame, path)
    told = taken(client, path)
    columns = {item["name"]: item for item in told["columns"]}
    assert told["rows"] == 120 and list(columns) == list(frame.columns)
    assert columns["patient"]["role"] == "id" and columns["age"]["kind"] == "number"
    assert columns["sex"] == {"name": "sex", "kind": "category", "levels": ["f", "m"], "missing": 0, "role": ""}
    assert columns["outcome"]["role"] == "outcome" and columns["died"]["role"] in ("outcome", "binary")


def test_what_is_wrong_is_told_and_nothing_is_kept(client, site, cohort):
    told = taken(client, cohort)

    def run(name, **asked):
        return client.post(f"/api/statistics/run/{name}", json={"table": told["table"], **asked})

    assert "no column" in run("logistic", options={"outcome": "nothing", "predictors": ["age"]}).json()["message"]
    assert run("logistic", options={"outcome": "outcome"}).json()["expected"] == "predictors"
    assert run("logistic", options={"outcome": ["x"], "predictors": ["age"]}).status_code == 422
    assert run("logistic", options={"shell": "x"}).status_code == 422
    assert run("__class__", options={}).status_code == 422
    for token in ("0" * 32, "../..", ""):
        asked = {"table": token, "options": {"by": "sex"}}
        assert client.post("/api/statistics/run/describe", json=asked).status_code == 404
    refused = client.post("/api/statistics/tables", files={"file": ("x.exe", b"MZ")})
    assert refused.status_code == 422 and "not read as tables" in refused.json()["message"]
    assert client.delete(f"/api/statistics/tables/{told['table']}").json() == {"forgotten": True}
    assert not list((site.state / "tables").iterdir())


def test_readers_take_no_tables(enter, cohort):
    answer = enter("reader").post("/api/statistics/tables", files={"file": ("a.csv", cohort.read_bytes())})
    assert answer.status_code == 403


@pytest.mark.web
def test_journey_7_a_table_dropped_into_each_of_the_analyses(entered, site, cohort, hepacast_numbers):
    """What is proposed for this table is taken as it is; the numbers are those of the command."""
    with entered() as page:
        page.click("nav >> text=Statistics")
        for name in ANALYSES:
            page.check(f"input[value={name}]", force=True)
            if name == "describe":
                page.set_input_files(".drop input[type=file]", cohort)
                page.wait_for_selector(".tall td")
            if name == "samplesize":
                page.fill("input[inputmode=decimal] >> nth=0", "10")
                page.fill("input[inputmode=decimal] >> nth=1", "0.3")
            page.click("text=Analyze")
            page.wait_for_selector(f"a[download='{name}.json'], .box.bad", timeout=60_000)
            assert not page.locator(".box.bad").count(), (name, page.inner_text(".box.bad"))
            assert page.locator(".result table").count(), name
            pictures = page.locator(".result img")
            assert pictures.count() or name in ("samplesize", "describe")
            for i in range(pictures.count()):
                pictures.nth(i).scroll_into_view_if_needed()
                until(lambda it=pictures.nth(i): it.evaluate("(node) => node.complete && node.naturalWidth > 100"))
            with page.expect_download() as download:
                page.click(f"a[download='{name}.json']")
            told = json.loads(Path(download.value.path()).read_text(encoding="utf-8"))
            if name == "logistic":
                chosen = page.locator(".chip input:checked + span").all_inner_texts()
                assert "age" in chosen and "outcome" not in chosen and "risk" not in chosen
                words = ["--outcome", "outcome", "--predictors", ",".join(chosen)]
                assert told == hepacast_numbers("logistic", str(cohort), *words)
        page.click("nav >> text=Start")
        page.wait_for_selector(".statistics", state="detached")
        # Tables are deleted when the page is left.
        until(lambda: not list((site.state / "tables").glob("*/table")))
