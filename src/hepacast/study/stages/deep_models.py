"""The deep stage's networks as further models of the modelling stage: names, cut-offs, predictions, validation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from hepacast.compute.files import read_json
from hepacast.modelling.validation import OutOfFold
from hepacast.study.context import Context


def network_models(context: Context) -> dict[str, float]:
    """Name -> cut-off of every network with a prediction pathway, the main one last; empty without the stage."""
    path = context.out / "deep" / "deep.json"
    if context.study.deep is None or not path.is_file():
        return {}
    models = read_json(path)["models"]
    return {name: np.nan if item["cutoff"] is None else float(item["cutoff"]) for name, item in models.items()}


def network_predictions(context: Context) -> list[pd.DataFrame]:
    """Rows as the modelling stage writes them; none without the stage."""
    path = context.out / "deep" / "predictions.parquet"
    return [pd.read_parquet(path)] if network_models(context) and path.is_file() else []


def with_networks(context: Context, described: dict[str, Any]) -> dict[str, Any]:
    """`models.json` with the networks' names and cut-offs after those of the other models."""
    own = network_models(context)
    return described | {
        "names": [*described["names"], *own],
        "cutoffs": {**described["cutoffs"], **own},
    }


def network_validation(context: Context, nested: OutOfFold, level: float) -> dict[str, Any]:
    """The out-of-fold AUC of each network, as the nested validation of other models is told.

    Parameters
    ----------
    nested
        Of the other models: its first repeat has the networks' folds.
    level
        Confidence level.
    """
    content: dict[str, Any] = {}
    first = nested.predictions[nested.predictions["repeat"] == 0].drop_duplicates("patient")
    fold_of = first.set_index("patient")["fold"]
    for table in network_predictions(context):
        part = table[table["kind"] == "nested"].assign(fold=lambda rows: rows["patient"].map(fold_of))
        if part["fold"].isna().any():
            continue
        result = OutOfFold(part.drop(columns=["set", "kind"]), [], [], int(fold_of.max()) + 1, 1)
        for name in result.models:
            auc = result.auc(name, level)
            content[name] = {
                "nested": {
                    "auc": {"value": auc["auc"], "low": auc["ci_low"], "high": auc["ci_high"]},
                    "auc_pooled": auc["auc_pooled"],
                    "folds": result.folds,
                    "repeats": 1,
                    "per_repeat": result.repeat_aucs(name),
                    "n_failed": 0,
                    "failures": [],
                }
            }
    return content
