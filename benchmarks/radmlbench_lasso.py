"""What choosing a pipeline by the printed AUC gains: 49 LASSO pipelines on a folder of radiomics tables.

    python benchmarks/radmlbench_lasso.py --data DIR [--repeats 3] [--workers 2] --json FILE

The family of the published baseline: L1-penalized logistic regression (C = 1) ranks the features, the first 1, 2, 4,
..., 64 enter a logistic regression with C = 2^-7, 2^-5, ..., 2^5; all of it inside 10-fold cross-validation, AUC of all
out-of-fold risks of a division together. One of the 49 is then chosen for each table in three ways: by the very AUC
that is printed (as published), by another division of the same patients, and inside the training part of each fold,
where the choice cannot see whom it is judged on. `radmlbench.py --lasso FILE` puts them on its page.
"""

from __future__ import annotations

import argparse
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from radmlbench import read, tables
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from hepacast.core.executor import map_items
from hepacast.core.files import read_json, write_json
from hepacast.modelling.folds import stratified_folds
from hepacast.stats.ranks import auc_from_ranks

PIPELINES = [(2**n, 2.0**c) for n in range(7) for c in range(-7, 6, 2)]


def one_division(item: tuple[str, str, int]) -> tuple[str, int, dict[str, Any]]:
    """(table, repeat, AUC of each pipeline and of the choice inside) of one division of the patients."""
    name, path, repeat = item
    X, y = read(Path(path))
    values = X.to_numpy(dtype=float)
    fold = stratified_folds(X.index, y, 10, 0, "radmlbench", name, repeat)
    risk = np.full((len(PIPELINES), len(y)), np.nan)
    nested = np.full(len(y), np.nan)
    for number in range(10):
        held = fold == number
        own, outcome = values[~held], y[~held]
        inner = stratified_folds(X.index[~held], outcome, 10, 0, "radmlbench", name, repeat, number)
        seen = np.full((len(PIPELINES), len(outcome)), np.nan)
        for part in range(int(inner.max()) + 1):
            seen[:, inner == part] = risks(own[inner != part], outcome[inner != part], own[inner == part])
        risk[:, held] = risks(own, outcome, values[held])
        nested[held] = risk[int(np.argmax([auc_from_ranks(outcome, row) for row in seen])), held]
    return name, repeat, {"auc": [auc_from_ranks(y, row) for row in risk], "nested": auc_from_ranks(y, nested)}


def risks(values: np.ndarray, y: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Risks of new patients by every pipeline, (49, n)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        ranking = LogisticRegression(l1_ratio=1.0, solver="liblinear", random_state=42).fit(values, y)
    order = np.argsort(-np.abs(ranking.coef_[0]), kind="stable")
    found = []
    for count, penalty in PIPELINES:
        model = LogisticRegression(C=penalty, solver="liblinear", max_iter=500, random_state=42)
        found.append(model.fit(values[:, order[:count]], y).predict_proba(new[:, order[:count]])[:, 1])
    return np.array(found)


def summary(runs: dict[str, dict[str, dict[str, Any]]]) -> dict[str, Any]:
    """Means over the tables: of one pipeline for all tables, and of one chosen for each in three ways."""
    shared = sorted(set.intersection(*[set(item) for item in runs.values()]), key=int)
    auc = np.array([[item[key]["auc"] for key in shared] for _, item in sorted(runs.items())])  # table, division, each
    nested = [[item[key]["nested"] for key in shared] for _, item in sorted(runs.items())]
    best = auc.argmax(axis=2)
    pairs = [(one, other) for one in range(len(shared)) for other in range(len(shared)) if one != other]
    crossed = [auc[table, other, best[table, one]] for table in range(len(auc)) for one, other in pairs]
    fixed = auc.mean(axis=(0, 1))
    return {
        "tables": len(runs),
        "divisions": len(shared),
        "chosen_by_what_is_printed": float(auc.max(axis=2).mean()),
        "chosen_by_another_division": float(np.mean(crossed)) if crossed else None,
        "chosen_inside_the_training_part": float(np.mean(nested)),
        "best_pipeline_for_all_tables": float(fixed.max()),
        "median_pipeline": float(np.median(fixed)),
    }


def main() -> None:
    """Run what is missing, write after every few divisions, print the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    runs: dict[str, dict[str, Any]] = read_json(options.json)["runs"] if options.json.is_file() else {}
    todo = [
        (name, str(path), repeat)
        for repeat in range(options.repeats)
        for name, path in tables(options.data)
        if str(repeat) not in runs.get(name, {})
    ]
    step = 4 * options.workers
    for start in range(0, len(todo), step):
        for name, repeat, found in map_items(one_division, todo[start : start + step], workers=options.workers):
            runs.setdefault(name, {})[str(repeat)] = found
            print(
                f"{name:32s} division {repeat:2d}  best {max(found['auc']):.3f}, nested {found['nested']:.3f}",
                flush=True,
            )
        write_json(options.json, {"runs": runs})
    result = summary(runs)
    write_json(options.json, {**result, "runs": runs})
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
