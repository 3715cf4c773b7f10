"""AUC of the one default classifier on a folder of radiomics tables, by repeated 10-fold cross-validation.

    python benchmarks/radmlbench.py --data DIR [--repeats 30] [--chain auto] [--workers 2] --json FILE [--page FILE]

Every table of the folder (`*.gz`, `*.csv`, `*.csv.gz`) is read: the column ``Target`` is the label (1/0, True/False),
other columns that hold numbers are features. Identifiers are left out, numbers or words: in some tables the patients
are numbered by class, and the number would give the label away. Each repeat divides the patients anew; the AUC of a
repeat is that of all its out-of-fold risks together (pooled, as published for these tables), and a table's AUC is the
mean over repeats. Results are written after every repeat: the same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hepacast.core.closure import code_hash
from hepacast.core.executor import map_items
from hepacast.core.files import read_json, write_json
from hepacast.modelling.folds import stratified_folds
from hepacast.modelling.grammar import build_chain
from hepacast.stats.ranks import auc_from_ranks

TARGET = "Target"
IDENTIFIERS = frozenset({"id", "patient", "patientid", "case", "caseid", "subject", "subjectid", "index", "unnamed:0"})


PAGE = """\
Made by `benchmarks/radmlbench.py`: {count} repeats of 10-fold cross-validation, AUC of all out-of-fold scores together,
mean over the repeats (SD over repeats in parentheses). One default for every table, nothing tuned to a table; every
choice is made inside the training part of a fold. Columns that number the patients are left out: in two of these tables
patients are numbered by class, and with that column the AUC is 0.98 and more.

The published columns are another kind of number: for each table the best of 616 pipelines, and the best of 49 with
LASSO and logistic regression, *chosen by the very AUC that is printed*, of one 10-fold division. They are too high by
what choosing gains. A single pipeline that is fixed beforehand has no such gain.
"""

LASSO = """\
How much choosing gains, by running the same 49 pipelines again (`benchmarks/radmlbench_lasso.py`, {divisions} divisions
of each table):

| one of 49 LASSO pipelines for each table, chosen | mean AUC |
|---|---|
| by the AUC that is printed, as published | {chosen_by_what_is_printed:.3f} |
| by another division of the same patients | {chosen_by_another_division:.3f} |
| inside the training part of each fold | {chosen_inside_the_training_part:.3f} |
| once for all tables: the best of 49 | {best_pipeline_for_all_tables:.3f} |
| none: the median of the 49 | {median_pipeline:.3f} |

`{chain}` is to be compared with the lines from the third on.
"""


def tables(folder: Path) -> Iterator[tuple[str, Path]]:
    """Name and file of every table that has a label."""
    for path in sorted([*folder.glob("*.gz"), *folder.glob("*.csv")]):
        if TARGET in pd.read_csv(path, nrows=1).columns:
            yield path.name.removesuffix(".gz").removesuffix(".csv"), path


def read(path: Path) -> tuple[pd.DataFrame, np.ndarray]:
    """Features and label of one table."""
    table = pd.read_csv(path)
    label = table[TARGET].astype(str).str.strip().str.lower()
    words = {"1": 1, "1.0": 1, "true": 1, "0": 0, "0.0": 0, "false": 0}
    if not label.isin(words).all():
        raise SystemExit(f"{path.name}: the label must be 1/0 or True/False, not {sorted(set(label) - set(words))[:5]}")
    features = table.drop(columns=TARGET).select_dtypes("number")
    features = features.drop(columns=[name for name in features if is_identifier(str(name), features[name])])
    features.index = pd.Index([f"row{number:05d}" for number in range(len(features))])
    return features, label.map(words).to_numpy()


def is_identifier(name: str, values: pd.Series) -> bool:
    """Whether a column of numbers names the patients: by its name, or because it counts the rows.

    In some of these tables patients are numbered by class, so that the number would give the label away.
    """
    if name.casefold().replace("_", "").replace(" ", "") in IDENTIFIERS:
        return True
    steps = np.diff(values.to_numpy(dtype=float))
    return len(steps) > 0 and bool((steps == 1).all())


def one_repeat(item: tuple[str, str, str, int]) -> tuple[str, int, float, float]:
    """(table, repeat, pooled AUC, seconds) of one division of the patients."""
    name, path, chain, repeat = item
    start = time.perf_counter()
    X, y = read(Path(path))
    fold = stratified_folds(X.index, y, 10, 0, "radmlbench", name, repeat)
    risk = np.full(len(y), np.nan)
    for number in range(10):
        held = fold == number
        model = build_chain(chain, seed=repeat)[-1]
        model.set_params(score="apparent")  # ranks only: no second round of fits to calibrate the risk
        model.fit(X[~held], y[~held])
        risk[held] = model.decision_function(X[held])
    return name, repeat, auc_from_ranks(y, risk), time.perf_counter() - start


def published(folder: Path) -> dict[str, dict[str, float]]:
    """What was published for these tables, where the folder says so."""
    path = folder / "published_auc.csv"
    if not path.is_file():
        return {}
    return pd.read_csv(path).set_index("dataset")[["best_auc", "best_LASSO_LR_auc"]].to_dict("index")


def summary(state: dict[str, Any], known: dict[str, dict[str, float]]) -> dict[str, Any]:
    """The file's content: one entry a table, and the means."""
    rows = []
    for name, repeats in sorted(state.items()):
        aucs = [repeats[key]["auc"] for key in sorted(repeats, key=int)]
        row: dict[str, Any] = {
            "name": name,
            "auc": float(np.mean(aucs)),
            "sd_of_repeats": float(np.std(aucs, ddof=1)) if len(aucs) > 1 else None,
            "repeats": len(aucs),
            "seconds_a_repeat": float(np.mean([value["seconds"] for value in repeats.values()])),
        }
        if name in known:
            row |= {"published_best": known[name]["best_auc"], "published_lasso": known[name]["best_LASSO_LR_auc"]}
        rows.append(row)
    result: dict[str, Any] = {"tables": rows, "mean_auc": float(np.mean([row["auc"] for row in rows]))}
    for key in ("published_best", "published_lasso"):
        shared = [row for row in rows if key in row]
        if shared:
            result[f"mean_{key}"] = float(np.mean([row[key] for row in shared]))
            result[f"wins_over_{key}"] = sum(row["auc"] > row[key] for row in shared)
    return result


def page(found: dict[str, Any], chain: str, lasso: dict[str, Any] | None) -> str:
    """The results as a page (Markdown): every table, wins and losses, and what the columns mean.

    `lasso` is what `radmlbench_lasso.py` found.
    """
    rows = found["tables"]
    repeats = sorted({row["repeats"] for row in rows})
    count = f"{repeats[0]}" if len(repeats) == 1 else f"{repeats[0]} to {repeats[-1]}"
    lines = [f"# The default `{chain}` on {len(rows)} radiomics tables", "", *PAGE.format(count=count).splitlines(), ""]
    lines += [f"| | mean AUC | {chain} is higher in |", "|---|---|---|", f"| {chain} | {found['mean_auc']:.3f} | |"]
    for key, name in (("published_lasso", "best LASSO + logistic regression of 49"), ("published_best", "best of 616")):
        if f"mean_{key}" in found:
            known = sum(key in row for row in rows)
            lines.append(f"| {name} | {found[f'mean_{key}']:.3f} | {found[f'wins_over_{key}']} of {known} |")
    if lasso is not None:
        lines += ["", *LASSO.format(chain=chain, **lasso).splitlines()]
    lines += [
        "",
        "| table | AUC (SD) | best LASSO | difference | best of 616 | difference |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        spread = "" if row["sd_of_repeats"] is None else f" ({row['sd_of_repeats']:.3f})"
        cells = [row["name"], f"{row['auc']:.3f}{spread}"]
        for key in ("published_lasso", "published_best"):
            cells += [f"{row[key]:.3f}", f"{row['auc'] - row[key]:+.3f}"] if key in row else ["–", "–"]
        lines.append("| " + " | ".join(cells) + " |")
    seconds = sum(row["seconds_a_repeat"] for row in rows)
    lines += ["", f"One repeat of all tables takes about {seconds / 60:.0f} minutes on one core.", ""]
    return "\n".join(lines)


def main() -> None:
    """Run what is missing, write after every repeat, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--chain", default="auto", help="name or YAML file of a chain")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--page", type=Path, help="write the table as a page of the documentation")
    parser.add_argument("--lasso", type=Path, help="what radmlbench_lasso.py wrote, for the page")
    options = parser.parse_args()
    old = read_json(options.json) if options.json.is_file() else {}
    made_by = {"chain": options.chain, "code": code_hash("hepacast.modelling.auto")}
    if old and any(old.get(name) != value for name, value in made_by.items()):
        print("the file is of another chain or of other code: all is done again", flush=True)
        old = {}
    state: dict[str, Any] = old.get("runs", {})
    known = published(options.data)
    todo = [
        (name, str(path), options.chain, repeat)
        for repeat in range(options.repeats)
        for name, path in tables(options.data)
        if str(repeat) not in state.get(name, {})
    ]
    step = max(1, 2 * options.workers)
    for start in range(0, len(todo), step):
        for name, repeat, auc, seconds in map_items(one_repeat, todo[start : start + step], workers=options.workers):
            state.setdefault(name, {})[str(repeat)] = {"auc": auc, "seconds": seconds}
            print(f"{name:32s} repeat {repeat:2d}  AUC {auc:.3f}  {seconds:.0f} s", flush=True)
        write_json(options.json, {**made_by, **summary(state, known), "runs": state})
    if options.page:
        lasso = read_json(options.lasso) if options.lasso else None
        options.page.write_text(page(summary(state, known), options.chain, lasso), encoding="utf-8")
    print(json.dumps({key: value for key, value in summary(state, known).items() if key != "tables"}, indent=1))


if __name__ == "__main__":
    main()
