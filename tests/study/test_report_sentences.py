"""What finished studies say: one level of every interval, and numbers of the patients they speak of."""

import csv
import html
import json
import re
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from hepacast.core.formatting import p_value
from hepacast.study.run import run_study
from hepacast.study.stages.describe_models import resolution_of

pytestmark = pytest.mark.usefixtures("figures_as_words")

OUTCOME = {"definition": "binary-column", "name": "Relapse", "column": "relapse"}
TIMES = {
    "definition": "survival",
    "name": "Time to relapse",
    "columns": {"time": "weeks", "event": "state"},
    "unit": "weeks",
    "horizons": [30, 60],
    "event_values": [1],
}
_VALIDATION = {"folds": 3, "repeats": 1, "bootstrap": 3, "importance": 1}


def cohort(n: int = 110, seed: int = 3) -> pd.DataFrame:
    """Two hospitals; larger lesions and lower platelets relapse sooner."""
    r = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "code": [f"S{i:03d}" for i in range(n)],
            "hospital": np.where(np.arange(n) % 3 < 2, "North", "South"),
            "lesion": np.round(np.exp(r.normal(1.2, 0.5, n)), 1),
            "platelets": np.round(r.normal(160, 50, n)).clip(30),
        }
    )
    lp = 0.9 * (table["lesion"] - 3.5) - 0.012 * (table["platelets"] - 160)
    table["relapse"] = r.binomial(1, 1 / (1 + np.exp(-lp)))
    table["weeks"] = np.round(r.exponential(60 * np.exp(-0.5 * lp)) + 0.5, 1)
    table["state"] = (r.random(n) < 0.7).astype(int)
    return table


def features_of(table: pd.DataFrame, seed: int = 5) -> pd.DataFrame:
    """Eight features, of which one follows the outcome."""
    r = np.random.default_rng(seed)
    values = r.normal(size=(len(table), 8))
    values[:, 2] += 1.2 * table["relapse"]
    return pd.DataFrame(values.round(4), columns=[f"tumor_x{j}" for j in range(8)]).assign(code=table["code"])


def run(folder: Path, table: pd.DataFrame, *, features: pd.DataFrame | None = None, **changes: object) -> Path:
    """Runs a study of the table; `changes` replace whole parts of the study file (columns are added)."""
    table.to_csv(folder / "table.csv", index=False)
    columns = {
        "lesion": {"unit": "cm", "quantity": "none"},
        "platelets": {"unit": "10^9/L"},
        "hospital": {"kind": "categorical"},
        "relapse": {"kind": "binary", "after_event": True},
        "weeks": {"quantity": "none", "unit": "weeks", "after_event": True},
        "state": {"kind": "categorical", "after_event": True},
    }
    added = changes.pop("columns", {})
    study = {
        "hepacast": 1, "name": "sentences", "seed": 3, "intended_use": "test of the software",
        "cohort": {
            "table": "table.csv", "id": "code",
            "columns": {name: {"column": name, **spec} for name, spec in (columns | dict(added)).items()},
            "split": {"by": "column", "column": "hospital", "training": ["North"], "validation": ["South"]},
        },
        "outcome": OUTCOME,
        "modelling": {"candidates": ["lesion", "platelets"], "models": ["clinical"], "validation": _VALIDATION},
        "evaluation": {"bootstrap": 5},
        "report": {"formats": ["html"]},
        **changes,
    }  # fmt: skip
    if features is not None:
        features.to_csv(folder / "features.csv", index=False)
        study["features"] = {"table": "features.csv", "id": "code", "vois": {"tumor": "tumor_"}}
        study["modelling"]["models"] = ["clinical", "radiomics", "combined"]
    (folder / "study.yaml").write_text(yaml.safe_dump(study), encoding="utf-8")
    run_study(folder / "study.yaml", out=folder / "results", workers=1)
    return folder / "results"


def words(results: Path) -> str:
    """The text of the page, figures' texts left out."""
    text = "".join(page.read_text(encoding="utf-8") for page in sorted((results / "report").glob("*.html")))
    text = re.sub(r"(?s)<(script|style|svg)\b.*?</\1>", " ", text)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())


def tables(results: Path) -> dict[str, list[list[str]]]:
    """Every table as rows of cells."""
    return {
        path.stem: list(csv.reader(path.read_text(encoding="utf-8-sig").splitlines()))
        for path in (results / "report" / "tables").glob("*.csv")
    }


_LEVEL = re.compile(r"(\d[\d.]*)\s?%[^<\n.;]{0,12}?\b(?:CI|confidence|limits?|interval|band)s?\b")


def levels_in(text: str) -> set[str]:
    """The levels, in percent, that stand beside the word for an interval."""
    return set(_LEVEL.findall(text))


@pytest.mark.parametrize("kind", ["binary", "survival", "competing"])
def test_intervals_have_the_level_that_was_asked_for(tmp_path, kind):
    """0.975 as well as 0.8: a level is not rounded to whole percent."""
    table = cohort()
    changes: dict = {"evaluation": {"bootstrap": 5, "confidence": 0.975}}
    if kind != "binary":
        changes["outcome"] = TIMES
    if kind == "competing":
        table.loc[::7, "state"] = 2
        changes["outcome"] = TIMES | {"competing_values": [2]}
    features = features_of(table) if kind == "binary" else None
    results = run(tmp_path, table, features=features, **changes)
    assert levels_in(words(results)) == {"97.5"}
    assert "stability index is" not in words(results)  # its limits have a level too
    assert "repeats from" not in words(results)  # there is one
    headers = " ".join(cell for rows in tables(results).values() for row in rows for cell in row)
    assert levels_in(headers) == {"97.5"}
    assert kind == "binary" or "Median follow-up, weeks (97.5% CI)" in headers
    figures = {path.name: path.read_text(encoding="utf-8") for path in (results / "report" / "figures").glob("*.svg")}
    said = {name: levels_in(text) for name, text in figures.items()}
    assert {name: found for name, found in said.items() if found - {"97.5"}} == {}
    assert any(said.values())


def test_conditions_are_said_to_overlap_only_where_they_do(tmp_path):
    """Response categories exclude each other; two conditions on different columns need not."""
    table = cohort()
    table["response"] = np.where(table["relapse"] == 1, "PD", np.where(table["lesion"] > 3, "PR", "CR"))
    table.loc[::11, "response"] = "SD"
    outcome = {"definition": "mrecist-objective-response", "name": "Response", "columns": {"category": "response"}}
    columns = {"response": {"kind": "categorical", "after_event": True}}
    results = run(tmp_path, table, outcome=outcome, columns=columns)
    text = words(results)
    assert "Conditions that were met:" in text
    assert "may meet several" not in text
    assert "met more than one" not in text


@pytest.mark.parametrize("kind", ["binary", "survival"])
def test_the_p_of_a_predictor_of_several_levels_is_printed(tmp_path, kind):
    """It is the P of all levels that decides who enters; the P of single levels stand below it."""
    table = cohort()
    rank = table["lesion"].rank(pct=True) + 0.3 * (np.arange(len(table)) % 3)
    table["grade"] = np.where(rank < 0.6, "low", np.where(rank < 0.9, "middle", "high"))
    columns = {"grade": {"kind": "categorical", "levels": {"low": ["low"], "middle": ["middle"], "high": ["high"]}}}
    modelling = {"candidates": ["grade", "platelets"], "models": ["clinical"], "validation": _VALIDATION, "alpha": 0.3}
    changes = {} if kind == "binary" else {"outcome": TIMES}
    results = run(tmp_path, table, columns=columns, modelling=modelling, **changes)
    rows = [row for rows in tables(results).values() for row in rows if row[0].strip() == "grade, all levels"]
    assert rows
    content = json.loads((results / "modelling" / "models.json").read_text())
    fitted = content["clinical"]["multivariate"] if kind == "binary" else content["multivariate"]
    chosen = next(term["p_predictor"] for term in fitted["terms"] if "p_predictor" in term)
    assert p_value(chosen) in {cell for row in rows for cell in row}


def test_changes_are_such_as_the_variable_can_take(tmp_path):
    """A count has ratios per one, a dose in steps of ten none per 1, one decimal none per 0.01."""
    assert [resolution_of(np.array(v)) for v in ([1, 2, 5.0], [0.5, 1.2, np.nan], [50, 110.0], [1 / 3, 2])] == [
        1, 0.1, 10, 0,
    ]  # fmt: skip
    table = cohort()
    table["nodules"] = 1 + (table["relapse"] * (np.arange(len(table)) % 2)) + (np.arange(len(table)) % 7 == 0)
    table["dose"] = 10 * (3 + np.arange(len(table)) % 2)
    modelling = {"candidates": ["nodules", "dose", "platelets"], "models": ["clinical"], "validation": _VALIDATION}
    columns = {"nodules": {"quantity": "none"}, "dose": {"quantity": "none", "unit": "mg"}}
    results = run(tmp_path, table, columns=columns, modelling={**modelling, "alpha": 0.9})
    found = [row[:2] for rows in tables(results).values() for row in rows if len(row) > 1]
    assert ["nodules", "per unit"] in found
    changes = {change for variable, change in found if change.startswith("per ")}
    assert not [c for c in changes if c.startswith("per 0.") or c == "per 1 mg"]
    assert "per 10 mg" in changes


def _widths(content: object, path: str = "") -> dict[str, float]:
    """Widths of all intervals of a JSON tree, by their place."""
    found: dict[str, float] = {}
    if isinstance(content, dict):
        for low, high in (("low", "high"), ("lower", "upper"), ("auc_low", "auc_high"), ("c_low", "c_high")):
            ends = [content.get(low), content.get(high)]
            if all(isinstance(x, int | float) for x in ends):
                found[f"{path}.{low}"] = float(ends[1]) - float(ends[0])
            elif all(isinstance(x, list) for x in ends):
                pairs = [(a, b) for a, b in zip(*ends) if a is not None and b is not None]
                found[f"{path}.{low}"] = float(sum(b - a for a, b in pairs))
        for key, value in content.items():
            found |= _widths(value, f"{path}.{key}")
    elif isinstance(content, list):
        for place, value in enumerate(content):
            found |= _widths(value, f"{path}[{place}]")
    return found


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["binary", "survival"])
def test_a_lower_level_narrows_every_interval(tmp_path, kind):
    """The level reaches the numbers themselves: none stays at a default of its own."""
    table = cohort()
    changes: dict = {} if kind == "binary" else {"outcome": TIMES}
    if kind == "binary":
        changes["survival"] = {"time": "weeks", "event": "state", "unit": "weeks"}
    widths = []
    for level in (0.6, 0.95):
        folder = tmp_path / str(level)
        folder.mkdir()
        changes["evaluation"] = {"bootstrap": 20, "confidence": level}
        results = run(folder, table, features=features_of(table), **changes)
        files = [p for part in ("modelling", "evaluation") for p in sorted((results / part).glob("*.json"))]
        files = [p for p in files if p.name not in ("stage.json", "frozen.json")]
        widths.append({k: v for p in files for k, v in _widths(json.loads(p.read_text()), p.stem).items()})
    narrow, wide = widths
    # The upper limit of a median may not be reached at the higher level alone.
    both = narrow.keys() & wide.keys()
    assert len(both) > 40
    same = [key for key in both if wide[key] > 1e-9 and not narrow[key] < wide[key]]
    assert same == []


@pytest.mark.parametrize("kind", ["binary", "survival"])
def test_a_failed_validation_is_said_first_in_the_limits_and_by_the_bundle(tmp_path, kind):
    """South has the opposite of what North taught: report and bundle say so in the same words."""
    table = cohort(150)
    far = table["hospital"] == "South"
    table["relapse"] = (table["lesion"] > 3.2).astype(int)
    table.loc[far, "relapse"] = 1 - table.loc[far, "relapse"]
    reversed_weeks = 5.0 + 6.0 * table["lesion"].rank() / 10
    table["weeks"] = np.where(far, reversed_weeks, 95.0 - reversed_weeks).round(1) + np.arange(150) % 7
    table["lesion"] += np.arange(150) % 5 / 4
    changes = {"outcome": TIMES} if kind == "survival" else {}
    results = run(tmp_path, table, **changes)
    measure = "C" if kind == "survival" else "AUC"
    against = json.loads((results / "evaluation" / "evaluation.json").read_text())["verdicts"]["clinical"]
    assert f"In the validation set the clinical model does worse than chance ({measure} 0." in against[0]
    assert any("disagree" in sentence for sentence in against)
    text = words(results)
    assert text.find(against[0]) < text.find("Discrimination.") if kind == "binary" else against[0] in text
    assert text.count(against[0]) >= 2  # summary and limits
    card = zipfile.ZipFile(results / "bundle" / "model.hepacast").read("card.json")
    assert json.loads(card)["verdicts"]["clinical"] == against


def test_the_headline_without_a_validation_set_is_that_of_single_fits(tmp_path):
    table = cohort(90)
    modelling = {
        "candidates": ["lesion", "platelets"],
        "models": ["clinical"],
        "validation": _VALIDATION | {"repeats": 4},
    }
    cohort_part = {
        "table": "table.csv", "id": "code", "split": {"by": "none"},
        "columns": {"lesion": {"column": "lesion", "unit": "cm", "quantity": "none"},
                    "platelets": {"column": "platelets", "unit": "10^9/L"},
                    "relapse": {"column": "relapse", "kind": "binary", "after_event": True}},
    }  # fmt: skip
    results = run(tmp_path, table, modelling=modelling, cohort=cohort_part)
    validated = json.loads((results / "modelling" / "validation.json").read_text())["models"]["clinical"]["nested"]
    shown = json.loads((results / "evaluation" / "evaluation.json").read_text())["sets"]["nested"]
    (at,) = shown["models"]["clinical"]["horizons"]
    assert {key: at["auc"][key] for key in validated["estimate"]} == validated["estimate"] and shown["repeats"] == 4
    assert np.mean(validated["per_repeat"]) == pytest.approx(validated["estimate"]["value"])
    text = words(results)
    headline = text[text.find("Discrimination.") :][:250]
    assert "mean of 4 repeats" in headline and f"{validated['estimate']['value']:.3f}" in headline
