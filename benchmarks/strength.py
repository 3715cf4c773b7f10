"""How much of what patients hold is found: planted worlds made of measured studies, and the regret of every model.

    python benchmarks/strength.py source RESULTS --truth TRUTH.json --out SOURCE.npz [--features 400]
    python benchmarks/strength.py run SOURCE.npz ... --out FOLDER [--worlds NAME ...] [--seeds 0-9] [--n 80 160 320]
                                  [--ways NAME ...] [--outcome binary|survival] [--nested]
    python benchmarks/strength.py tables FOLDER

A source is the joint distribution of a virtual study's features, biomarkers, clinical numbers and hidden truth, from
its results folder (its training patients) and the phantom's truth file: normal scores, how each measured column goes
with the hidden ones (correlations below 2.5 standard errors are taken as 0), the first 30 components of what is left,
and the quantiles of every column. New patients are drawn from it; none is one who was measured. Features are a random
choice of the study's, the same for every world.

A world plants an outcome on some of these columns. A cell (world, source, n, seed, way) fits `StudyModels` to n
patients, as a study does, and judges every model in 1,000 others: regret is the AUC (C) of the true risk less the
model's. With ``--nested`` the models' nested AUC with its limits is kept instead, as a report gives it. What is done
stays in FOLDER, one file a cell.
"""

from __future__ import annotations

import argparse
import json
import re
import time
import zlib
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit, ndtr
from scipy.stats import norm, rankdata

from hepacast.biomarkers.definitions import kind_of
from hepacast.biomarkers.measure import SETS
from hepacast.core.executor import single_threaded
from hepacast.core.files import read_json, write_json
from hepacast.modelling.clinical import ClinicalModel
from hepacast.modelling.grammar import build_radiomics_model
from hepacast.modelling.predictors import Predictor
from hepacast.modelling.study_models import StudyModels
from hepacast.modelling.targets import rank_score
from hepacast.modelling.validation import nested_validation

NEW = 1000
COMPONENTS = 30
#: What is planted, as coefficients per SD of columns by the end of their names; the scale shift of the new patients'
#: scanner in SD of a component; an empty world holds nothing.
WORLDS: dict[str, tuple[dict[str, float], float]] = {
    "hidden": ({"hidden/0": 2.0, "hidden/1": -2.0}, 0.0),
    "hidden+table": ({"hidden/0": 1.6, "hidden/1": -1.2, "table/0": 1.2}, 0.0),
    "table": ({"table/0": 1.3, "table/1": -1.0}, 0.0),
    "size": ({"shape/longest_diameter": 1.8}, 0.0),
    "enhancement": ({"*/tumor_minus_liver": 1.6}, 0.0),
    "heterogeneity+table": ({"*/core_sd": 1.5, "table/1": 0.8}, 0.0),
    "feature": ({"feature/0": 1.6, "feature/1": 1.2}, 0.0),
    "hidden, other scanner": ({"hidden/0": 2.0, "hidden/1": -2.0}, 0.7),
    "nothing": ({}, 0.0),
}
#: Settings by name: chain of the radiomics model, choice of the clinical, combination.
WAYS: dict[str, dict[str, str]] = {
    "published": {"chain": "ptlf", "keep": "independent", "combination": "regression"},
    "one ridge": {"chain": "ptlf", "keep": "independent", "combination": "regression"},
    "averaged": {"chain": "ptlf", "keep": "independent", "combination": "averaged"},
    "auto": {"chain": "ptlf", "keep": "independent", "combination": "auto"},
}
MODELS = ("clinical", "biomarkers", "radiomics", "combined", "joint")


def make_source(results: Path, truth: Path, features: int) -> dict[str, Any]:
    """Normal scores' loadings, components, rests and quantiles, with the columns' names."""
    clinical = pd.read_parquet(results / "cohort" / "clinical.parquet").select_dtypes("number")
    biomarkers = pd.read_parquet(results / "biomarkers" / "biomarkers.parquet")
    biomarkers = biomarkers.pivot(index="patient", columns="biomarker", values="value")
    wanted = [name for name in biomarkers if any(fnmatchcase(_short(name), item) for item in SETS["recommended"])]
    long = pd.read_parquet(
        results / "radiomics" / "features.parquet", columns=["patient", "sequence", "voi", "feature", "value"]
    )
    long["column"] = long["sequence"].astype(str) + ":" + long["voi"].astype(str) + ":" + long["feature"].astype(str)
    wide = long.pivot(index="patient", columns="column", values="value")
    sets = pd.read_csv(results / "cohort" / "sets.csv", dtype=str).set_index("patient")["set"]
    known = pd.DataFrame(read_json(truth)["patients"]).set_index("patient")
    hidden = known[[name for name in ("hidden", "rim", "texture") if name in known]].astype(float)
    patients = [name for name in sets.index[sets == "training"] if name in wide.index and name in hidden.index]
    chosen = np.random.default_rng(0).permutation(wide.shape[1])[: 3 * features]
    parts = {
        "hidden": hidden, "table": clinical, "biomarker": biomarkers[wanted], "feature": wide.iloc[:, np.sort(chosen)],
    }  # fmt: skip
    columns, values = [], []
    for part, frame in parts.items():
        frame = frame.loc[patients]
        usable = [name for name in frame if frame[name].notna().mean() > 0.9 and frame[name].nunique() > 5]
        for number, name in enumerate(usable[:features] if part == "feature" else usable):
            columns.append(name if part == "biomarker" else f"{part}/{number}")
            values.append(frame[name].fillna(frame[name].median()).to_numpy(dtype=float))
    matrix = np.column_stack(values)
    n = len(patients)
    scores = norm.ppf((rankdata(matrix, axis=0) - 0.375) / (n + 0.25))
    scores = (scores - scores.mean(axis=0)) / scores.std(axis=0)
    causes = [j for j, name in enumerate(columns) if name.split("/")[0] in ("hidden", "table")]
    others = [j for j in range(len(columns)) if j not in causes]
    loading = scores[:, causes].T @ scores[:, others] / n
    loading = np.sign(loading) * np.maximum(np.abs(loading) - 2.5 / np.sqrt(n), 0.0) / (1 - 2.5 / np.sqrt(n))
    rest = scores[:, others] - scores[:, causes] @ loading
    _, size, axes = np.linalg.svd(rest - rest.mean(axis=0), full_matrices=False)
    components = axes[:COMPONENTS] * size[:COMPONENTS, None] / np.sqrt(n)
    own = np.sqrt(np.maximum(rest.var(axis=0) - (components**2).sum(axis=0), 0.0))
    quantiles = np.quantile(matrix, np.linspace(0, 1, 101), axis=0)
    return {
        "columns": np.array(columns), "causes": np.array(causes), "loading": loading, "components": components,
        "own": own, "quantiles": quantiles,
    }  # fmt: skip


def _short(name: str) -> str:
    return name.removeprefix("biomarker/")


def draw(
    source: dict[str, Any], n: int, rng: np.random.Generator, shift: float = 0.0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """New patients: normal scores, and the values that are measured of them (with another scanner's shift)."""
    columns, causes = list(source["columns"]), list(source["causes"])
    others = [j for j in range(len(columns)) if j not in causes]
    scores = np.empty((n, len(columns)))
    scores[:, causes] = rng.normal(size=(n, len(causes)))
    factors = rng.normal(size=(n, len(source["components"]))) + shift * rng.normal(size=len(source["components"]))
    noise = rng.normal(size=(n, len(others))) * source["own"]
    scores[:, others] = scores[:, causes] @ source["loading"] + factors @ source["components"] + noise
    spread = np.sqrt(
        (source["loading"] ** 2).sum(axis=0) + (source["components"] ** 2).sum(axis=0) + source["own"] ** 2
    )
    scores[:, others] /= spread
    at = ndtr(scores) * 100.0
    values = np.column_stack(
        [np.interp(at[:, j], np.arange(101.0), source["quantiles"][:, j]) for j in range(len(columns))]
    )
    index = pd.Index([f"N{row:05d}" for row in range(n)])
    return pd.DataFrame(scores, index, columns), pd.DataFrame(values, index, columns)


def true_risk(scores: pd.DataFrame, planted: dict[str, float]) -> np.ndarray:
    """Log odds; a pattern that no column has plants nothing, one that several have the first of them."""
    found = np.zeros(len(scores))
    for pattern, coefficient in planted.items():
        fits = [name for name in scores if fnmatchcase(_short(str(name)), pattern)]
        if fits:
            found += coefficient * scores[fits[0]].to_numpy()
    return found


def outcome_of(risk: np.ndarray, rng: np.random.Generator, *, survival: bool) -> np.ndarray:
    """0 and 1, or time and event (a fifth censored before the end of follow-up)."""
    if not survival:
        return (rng.random(len(risk)) < expit(risk)).astype(int)
    times, lost = rng.exponential(400 * np.exp(-risk)), rng.exponential(2500, len(risk))
    end = np.minimum(lost, 1000.0)
    return np.column_stack([np.minimum(times, end), times <= end]).astype(float)


def models_of(table: pd.DataFrame, way: str, *, survival: bool, seed: int) -> tuple[StudyModels, list[str]]:
    """The models of a study by one way, and the columns that it may see."""
    rules = WAYS[way]
    measured = [name for name in table if str(name).startswith("biomarker/")]
    seen = [name for name in table if not str(name).startswith("hidden/")]
    predictors = tuple(Predictor(str(name)) for name in seen if str(name).split("/")[0] in ("table", "biomarker"))
    chain = build_radiomics_model(rules["chain"], seed=seed, horizon=365.0 if survival else None)
    models = StudyModels(
        predictors=predictors,
        radiomics=chain,
        clinical=ClinicalModel(keep=rules["keep"]),  # type: ignore[arg-type]
        models=MODELS[:1] + MODELS[2:4] if way == "published" else MODELS[:3] + MODELS[4:],
        horizons=(365.0,) if survival else (),
        biomarkers=tuple(map(str, measured)),
        kinds={str(name): kind_of(str(name)) for name in measured},
        combination=rules["combination"],  # type: ignore[arg-type]
        seed=seed,
    )
    if way == "published":
        models.set_params(predictors=tuple(item for item in predictors if item.name not in measured), ignore=measured)
    return models, [str(name) for name in seen]


def cell(
    source: dict[str, Any], world: str, n: int, seed: int, way: str, *, survival: bool, nested: bool, repeats: int = 1
) -> dict[str, Any]:
    """One study of a world, by one way."""
    planted, shift = WORLDS[world]
    rng = np.random.default_rng([seed, n, zlib.crc32(world.encode())])
    known, table = draw(source, n, rng)
    y = outcome_of(true_risk(known, planted), rng, survival=survival)
    models, seen = models_of(table, way, survival=survival, seed=seed)
    start = time.process_time()
    if nested:
        found = nested_validation(models, table[seen], y, folds=5, repeats=repeats, seed=seed)
        return {"nested": {name: found.estimate(name) for name in found.models}, "cpu_s": time.process_time() - start}
    fitted = models.fit(table[seen], y)
    cost = time.process_time() - start
    new, values = draw(source, NEW, rng, shift)
    risk = true_risk(new, planted)
    truth = outcome_of(risk, rng, survival=survival)
    scores = fitted.linear_predictor(values[seen])
    reached = {str(name): rank_score(truth, scores[name].to_numpy()) for name in scores}
    best = rank_score(truth, risk) if planted else 0.5
    return {"truth": best, "regret": {name: best - value for name, value in reached.items()}, "cpu_s": cost}


def run(options: argparse.Namespace) -> None:
    """Every cell that is not there."""
    options.out.mkdir(parents=True, exist_ok=True)
    for path in options.sources:
        source = dict(np.load(path))
        for world in options.worlds:
            for n in options.n:
                for seed in options.seeds:
                    for way in options.ways:
                        what = [
                            path.stem,
                            world,
                            n,
                            seed,
                            way,
                            options.outcome,
                            *([f"nested{options.repeats}"] if options.nested else []),
                        ]
                        file = options.out / (re.sub(r"[^\w.-]+", "_", "-".join(map(str, what))) + ".json")
                        if file.exists():
                            continue
                        survival = options.outcome == "survival"
                        asked = {"survival": survival, "nested": options.nested, "repeats": options.repeats}
                        made = cell(source, world, n, seed, way, **asked)
                        names = ("source", "world", "n", "seed", "way", "outcome")
                        write_json(file, dict(zip(names, what)) | made)
                        print(
                            *what,
                            json.dumps({k: np.round(v, 3) if isinstance(v, float) else v for k, v in made.items()}),
                            flush=True,
                        )


def tables(folder: Path) -> str:
    """Mean regrets by world and by n, and what null studies claim, in Markdown."""
    cells = [read_json(path) for path in sorted(folder.glob("*.json"))]
    rows = [
        {key: item[key] for key in ("source", "world", "n", "seed", "way", "outcome")}
        | {"model": name, "regret": value}
        for item in cells
        if "regret" in item
        for name, value in item["regret"].items()
    ]
    text = []
    if rows:
        table = pd.DataFrame(rows)
        table["model"] = table["way"] + ": " + table["model"]
        for by in ("world", "n", "source", "outcome"):
            found = table.pivot_table(index=by, columns="model", values="regret", aggfunc="mean", observed=True)
            found["studies"] = table.groupby(by)["seed"].count() // table["model"].nunique()
            text.append(_markdown(found.round(3)))
        keys = ["source", "world", "n", "seed", "way", "outcome"]
        parts = table.assign(model=table["model"].str.split(": ").str[1]).pivot_table(
            index=keys, columns="model", values="regret"
        )
        for main in ("combined", "joint"):
            if main in parts:
                best = parts.drop(columns=[name for name in ("combined", "joint") if name in parts]).min(axis=1)
                lost = (parts[main] - best).dropna()
                text.append(
                    f"{main}, AUC below its best part: mean {lost.groupby('way').mean().round(4).to_dict()}, "
                    f"by more than 0.02 in {(lost > 0.02).groupby('way').mean().round(2).to_dict()}"
                )
    claims: dict[str, list[bool]] = {}
    for item in cells:
        for name, value in item.get("nested", {}).items() if item["world"] == "nothing" else ():
            claims.setdefault(f"{item['way']}: {name}", []).append((value["low"] or 0.0) > 0.5)
    text += [
        f"{name}: {sum(found)} of {len(found)} null studies have a lower limit above 0.5"
        for name, found in claims.items()
    ]
    return "\n\n".join(text)


def _markdown(table: pd.DataFrame) -> str:
    head = [str(table.index.name), *map(str, table.columns)]
    lines = [
        head,
        ["---"] * len(head),
        *([str(name), *(f"{v:g}" for v in row)] for name, row in zip(table.index, table.to_numpy())),
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _seeds(text: str) -> list[int]:
    first, _, last = text.partition("-")
    return list(range(int(first), int(last or first) + 1))


def main() -> None:
    """Make a source, run cells or print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("source")
    one.add_argument("results", type=Path)
    one.add_argument("--truth", type=Path, required=True)
    one.add_argument("--out", type=Path, required=True)
    one.add_argument("--features", type=int, default=400)
    two = commands.add_parser("run")
    two.add_argument("sources", type=Path, nargs="+")
    two.add_argument("--out", type=Path, required=True)
    two.add_argument("--worlds", nargs="+", default=list(WORLDS), choices=list(WORLDS))
    two.add_argument("--seeds", type=_seeds, default=list(range(10)))
    two.add_argument("--n", type=int, nargs="+", default=[80, 160, 320])
    two.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    two.add_argument("--outcome", choices=["binary", "survival"], default="binary")
    two.add_argument("--nested", action="store_true")
    two.add_argument("--repeats", type=int, default=1, help="divisions of the nested cross-validation")
    three = commands.add_parser("tables")
    three.add_argument("folder", type=Path)
    options = parser.parse_args()
    if options.command == "source":
        np.savez_compressed(options.out, **make_source(options.results, options.truth, options.features))
    elif options.command == "run":
        with single_threaded():
            run(options)
    else:
        print(tables(options.folder))


if __name__ == "__main__":
    main()
