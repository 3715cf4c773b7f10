"""The deep stage's networks as further models of the modelling stage: names, cut-offs, predictions, validation."""

from __future__ import annotations

from typing import Any

import numpy as np

from hepacast.core.files import read_json
from hepacast.modelling.predictions import Predictions
from hepacast.modelling.validation import OutOfFold
from hepacast.study.context import Context


def network_models(context: Context) -> dict[str, float]:
    """Name -> cut-off of every network with a prediction pathway, the main one last; empty without the stage."""
    path = context.out / "deep" / "deep.json"
    if context.study.deep is None or not path.is_file():
        return {}
    models = read_json(path)["models"]
    return {name: np.nan if item["cutoff"] is None else float(item["cutoff"]) for name, item in models.items()}


def network_predictions(context: Context, nested: OutOfFold) -> list[Predictions]:
    """Rows as the modelling stage writes them; none without the stage.

    Parameters
    ----------
    nested
        Of the other models: its first repeat has the networks' folds.
    """
    path = context.out / "deep" / "predictions.parquet"
    if not network_models(context) or not path.is_file():
        return []
    first = nested.predictions[nested.predictions["repeat"] == 0].drop_duplicates("patient")
    table = Predictions.read(path).table
    own = table["kind"] == "nested"
    fold = table["patient"].map(first.set_index("patient")["fold"]).where(own, 0)
    # A patient whom the other models did not see has no fold of theirs: then all are judged together.
    return [Predictions(table.assign(fold=0 if fold.isna().any() else fold.astype(int)))]


def with_networks(context: Context, described: dict[str, Any]) -> dict[str, Any]:
    """`models.json` with the networks' names and cut-offs after those of the other models."""
    own = network_models(context)
    return described | {
        "names": [*described["names"], *own],
        "cutoffs": {**described["cutoffs"], **own},
    }


def network_validation(context: Context, nested: OutOfFold, level: float) -> dict[str, Any]:
    """The out-of-fold AUC of each network, as the nested validation of other models (`nested`) is told."""
    content: dict[str, Any] = {}
    for predictions in network_predictions(context, nested):
        result = OutOfFold.of(predictions)
        assert result is not None
        content |= {name: {"nested": result.to_json(name, level)} for name in result.models}
    return content
