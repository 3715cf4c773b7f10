"""AUC of the one default classifier on a folder of radiomics tables, by repeated 10-fold cross-validation.

    python benchmarks/radmlbench.py --data DIR [--repeats 30] [--chain auto] [--workers 2] --json FILE [--page FILE]
    python benchmarks/radmlbench.py --data DIR --permuted 20 --json FILE

Every table of the folder (`*.gz`, `*.csv`, `*.csv.gz`) is read: the column ``Target`` is the label (1/0, True/False),
other columns that hold numbers are features. Identifiers are left out, numbers or words: in some tables the patients
are numbered by class, and the number would give the label away. Each repeat divides the patients anew; the AUC of a
repeat is that of all its out-of-fold scores together (pooled, as published for these tables), and a table's AUC is the
mean over repeats. Six fixed defaults and their average are judged in the same folds (`--no-defaults` leaves them out).
With `--permuted` the labels are shuffled instead, and what counts is how often the default says that something is
there. Results are written after every repeat: the same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_selection import f_classif
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

from hepacast.core.closure import code_hash
from hepacast.core.executor import map_items
from hepacast.core.files import read_json, write_json
from hepacast.core.seeds import rng
from hepacast.modelling.folds import stratified_folds
from hepacast.modelling.grammar import build_chain
from hepacast.stats.penalized_cv import cv_glmnet
from hepacast.stats.ranks import auc_from_ranks

TARGET = "Target"
IDENTIFIERS = frozenset({"id", "patient", "patientid", "case", "caseid", "subject", "subjectid", "index", "unnamed:0"})


#: Fixed defaults, none of which chooses among the others.
DEFAULTS = ("ridge", "random forest", "extra trees", "SVM", "LASSO", "10 best + logistic", "average")

PAGE = """\
Made by `benchmarks/radmlbench.py`: {count} divisions into 10 folds, AUC of all out-of-fold scores together,
mean over the divisions (SD over them in parentheses). One default for every table, nothing tuned to a table; every
choice is made inside the training part of a fold. Columns that number the patients are left out: in two of these tables
patients are numbered by class, and with that column the AUC is 0.98 and more.

How members are weighted and when nothing is found was chosen on the tables with odd numbers in the list below and
confirmed on those with even numbers (2, 6 and 8 had been looked at once before, with another rule). Where only one fold
of a table of no signal finds something, the pooled AUC of that division may lie below 0.45.

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

NULL = """\
Of {permutations} outcomes shuffled at random ({tables} tables), {chain} said of {shown:.1%} that something is shown (P
at most .05 against permuted outcomes), and gave a model at all, with the note that chance may have made it, of
{given:.0%}; of the others it said that nothing was found. Answering that wherever nothing is shown would cost 0.03 of
mean AUC, for weak signals of small tables are then lost (parameter `nothing_above`).
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


def one_repeat(item: tuple[str, str, str, int, bool]) -> tuple[str, int, dict[str, Any]]:
    """(table, repeat, what was found) of one division of the patients: pooled AUC, share of folds in which something
    was found, CPU seconds; AUC of the defaults."""
    name, path, chain, repeat, with_defaults = item
    X, y = read(Path(path))
    fold = stratified_folds(X.index, y, 10, 0, "radmlbench", name, repeat)
    risk, answers = np.full(len(y), np.nan), []
    start = time.process_time()
    for number in range(10):
        held = fold == number
        model = build_chain(chain, seed=repeat)[-1]
        model.set_params(score="apparent")  # ranks only: no second round of fits to calibrate the risk
        model.fit(X[~held], y[~held])
        risk[held] = model.decision_function(X[held])
        answers.append(model.status_ == "ok")
    found: dict[str, Any] = {"auc": auc_from_ranks(y, risk), "found": float(np.mean(answers))}
    found["seconds"] = time.process_time() - start
    if with_defaults:
        found["defaults"] = defaults(X.to_numpy(dtype=float), y, fold, repeat)
    return name, repeat, found


def defaults(values: np.ndarray, y: np.ndarray, fold: np.ndarray, seed: int) -> dict[str, float]:
    """Pooled AUC of each of the fixed defaults in the same folds; the average is that of their ranks."""
    scores = {name: np.full(len(y), np.nan) for name in DEFAULTS[:-1]}
    for number in range(int(fold.max()) + 1):
        held = fold == number
        center, spread = values[~held].mean(axis=0), values[~held].std(axis=0)
        Z = (values[:, spread > 1e-12] - center[spread > 1e-12]) / spread[spread > 1e-12]
        for name, told in _default_scores(Z[~held], y[~held], Z[held], seed).items():
            scores[name][held] = told
    scores["average"] = np.sum([rankdata(score) for score in scores.values()], axis=0)
    return {name: auc_from_ranks(y, score) for name, score in scores.items()}


def _default_scores(Z: np.ndarray, y: np.ndarray, new: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Scores of new rows by classifiers as their packages have them, of Z-scores."""
    best = np.argsort(-np.nan_to_num(f_classif(Z, y)[0]), kind="stable")[:10]
    inner = stratified_folds(pd.RangeIndex(len(y)), y, int(min(10, np.bincount(y).min())), seed, "lasso")
    lasso = cv_glmnet(Z, y, inner)
    grown = {"n_estimators": 300, "random_state": seed, "n_jobs": 1}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        ridge = LogisticRegression(max_iter=300).fit(Z, y)
        logistic = LogisticRegression(max_iter=300).fit(Z[:, best], y)
    return {
        "ridge": ridge.decision_function(new),
        "random forest": RandomForestClassifier(**grown).fit(Z, y).predict_proba(new)[:, 1],
        "extra trees": ExtraTreesClassifier(**grown).fit(Z, y).predict_proba(new)[:, 1],
        "SVM": SVC().fit(Z, y).decision_function(new),
        "LASSO": np.ravel(lasso.path.link(new, lasso.lambda_min)),
        "10 best + logistic": logistic.decision_function(new[:, best]),
    }


def permuted(folder: Path, chain: str, count: int) -> dict[str, Any]:
    """How often the default says, of whole tables with shuffled labels, that something is shown, or gives a model."""
    rows: dict[str, dict[str, float]] = {}
    for name, path in tables(folder):
        X, y = read(path)
        shown, given = [], []
        for number in range(count):
            model = build_chain(chain, seed=number)[-1].set_params(score="apparent")
            model.fit(X, rng(number, "permuted", name).permutation(y))
            shown.append(getattr(model.chain_[-1], "shown_", model.status_ == "ok"))
            given.append(model.status_ == "ok")
        rows[name] = {"shown": float(np.mean(shown)), "given": float(np.mean(given))}
        print(f"{name:32s} shown {rows[name]['shown']:.2f}, a model given {rows[name]['given']:.2f}", flush=True)
    means = {key: float(np.mean([row[key] for row in rows.values()])) for key in ("shown", "given")}
    return {"permutations": count * len(rows), **means, "tables": rows}


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
            "found": float(np.mean([value["found"] for value in repeats.values()])),
        }
        judged = [value["defaults"] for value in repeats.values() if "defaults" in value]
        if judged:
            row["defaults"] = {key: float(np.mean([value[key] for value in judged])) for key in DEFAULTS}
        if name in known:
            row |= {"published_best": known[name]["best_auc"], "published_lasso": known[name]["best_LASSO_LR_auc"]}
        rows.append(row)
    result: dict[str, Any] = {"tables": rows, "mean_auc": float(np.mean([row["auc"] for row in rows]))}
    if all("defaults" in row for row in rows):
        result["mean_defaults"] = {key: float(np.mean([row["defaults"][key] for row in rows])) for key in DEFAULTS}
    for key in ("published_best", "published_lasso"):
        shared = [row for row in rows if key in row]
        if shared:
            result[f"mean_{key}"] = float(np.mean([row[key] for row in shared]))
            result[f"wins_over_{key}"] = sum(row["auc"] > row[key] for row in shared)
    return result


def page(found: dict[str, Any], chain: str, lasso: dict[str, Any] | None, null: dict[str, Any] | None) -> str:
    """The results as a page (Markdown): every table, wins and losses, and what the columns mean.

    `lasso` is what `radmlbench_lasso.py` found, `null` what `--permuted` did.
    """
    rows = found["tables"]
    repeats = sorted({row["repeats"] for row in rows})
    count = f"{repeats[0]}" if len(repeats) == 1 else f"{repeats[0]} to {repeats[-1]}"
    lines = [f"# The default `{chain}` on {len(rows)} radiomics tables", "", *PAGE.format(count=count).splitlines(), ""]
    lines += [f"| | mean AUC | {chain} is higher in |", "|---|---|---|", f"| {chain} | {found['mean_auc']:.3f} | |"]
    fixed = found.get("mean_defaults", {})
    for key in sorted(fixed, key=lambda key: -fixed[key]):
        wins = sum(row["auc"] > row["defaults"][key] for row in rows)
        lines.append(f"| fixed default, same folds: {key} | {fixed[key]:.3f} | {wins} of {len(rows)} |")
    for key, name in (("published_lasso", "best LASSO + logistic regression of 49"), ("published_best", "best of 616")):
        if f"mean_{key}" in found:
            known = sum(key in row for row in rows)
            lines.append(f"| published: {name} | {found[f'mean_{key}']:.3f} | {found[f'wins_over_{key}']} of {known} |")
    lines += ["", *_halves(rows, fixed)] if fixed else []
    if null is not None:
        lines += ["", *NULL.format(chain=chain, **{**null, "tables": len(null["tables"])}).splitlines()]
    if lasso is not None:
        lines += ["", *LASSO.format(chain=chain, **lasso).splitlines()]
    best = max(fixed, key=lambda key: fixed[key]) if fixed else ""
    lines += [
        "",
        f"| | table | AUC (SD) | folds in which something was found | {best or 'default'} | best LASSO | best of 616 |",
        "|---|---|---|---|---|---|---|",
    ]
    for number, row in enumerate(rows, start=1):
        spread = "" if row["sd_of_repeats"] is None else f" ({row['sd_of_repeats']:.3f})"
        cells = [f"{number}", row["name"], f"{row['auc']:.3f}{spread}", f"{row['found']:.0%}"]
        cells.append(f"{row['defaults'][best]:.3f}" if best else "–")
        cells += [f"{row[key]:.3f}" if key in row else "–" for key in ("published_lasso", "published_best")]
        lines.append("| " + " | ".join(cells) + " |")
    seconds = sum(row["seconds_a_repeat"] for row in rows)
    lines += ["", f"One repeat of {chain} on all tables (220 fits) takes {seconds:.0f} CPU seconds.", ""]
    return "\n".join(lines)


def _halves(rows: list[dict[str, Any]], fixed: dict[str, float]) -> list[str]:
    """The mean of the tables that choices were made on, and of the others."""
    lines = ["| tables | auto | best fixed default of all | difference |", "|---|---|---|---|"]
    best = max(fixed, key=lambda key: fixed[key])
    for name, part in (("odd numbers: choices made", rows[0::2]), ("even numbers: confirmed", rows[1::2])):
        own, other = (float(np.mean(values)) for values in zip(*((r["auc"], r["defaults"][best]) for r in part)))
        lines.append(f"| {name} | {own:.3f} | {other:.3f} | {own - other:+.3f} |")
    return lines


def main() -> None:
    """Run what is missing, write after every repeat, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--chain", default="auto", help="name or YAML file of a chain")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--page", type=Path, help="write the table as a page of the documentation")
    parser.add_argument("--no-defaults", action="store_true", help="do not judge the fixed defaults")
    parser.add_argument("--permuted", type=int, default=0, help="shuffled labels a table instead; written to --json")
    parser.add_argument("--null", type=Path, help="what --permuted wrote, for the page")
    parser.add_argument("--lasso", type=Path, help="what radmlbench_lasso.py wrote, for the page")
    options = parser.parse_args()
    if options.permuted:
        write_json(options.json, permuted(options.data, options.chain, options.permuted))
        return
    old = read_json(options.json) if options.json.is_file() else {}
    made_by = {"chain": options.chain, "code": code_hash("hepacast.modelling.auto")}
    if old and any(old.get(name) != value for name, value in made_by.items()):
        print("the file is of another chain or of other code: all is done again", flush=True)
        old = {}
    state: dict[str, Any] = old.get("runs", {})
    known = published(options.data)
    todo = [
        (name, str(path), options.chain, repeat, not options.no_defaults)
        for repeat in range(options.repeats)
        for name, path in tables(options.data)
        if str(repeat) not in state.get(name, {})
    ]
    step = max(1, 2 * options.workers)
    for start in range(0, len(todo), step):
        for name, repeat, found in map_items(one_repeat, todo[start : start + step], workers=options.workers):
            state.setdefault(name, {})[str(repeat)] = found
            print(f"{name:32s} repeat {repeat:2d}  AUC {found['auc']:.3f}  {found['seconds']:.0f} s", flush=True)
        write_json(options.json, {**made_by, **summary(state, known), "runs": state})
    if options.page:
        lasso, null = (read_json(path) if path else None for path in (options.lasso, options.null))
        options.page.write_text(page(summary(state, known), options.chain, lasso, null), encoding="utf-8")
    print(json.dumps({key: value for key, value in summary(state, known).items() if key != "tables"}, indent=1))


if __name__ == "__main__":
    main()
