"""What every bundle's card says of how its models did."""

from __future__ import annotations

from typing import Any

from hepacast.core.estimates import Estimate
from hepacast.core.records import read_record
from hepacast.evaluation.results import EvaluationResults, ModelResult
from hepacast.evaluation.scrutiny import PredictionScrutiny
from hepacast.evaluation.validated import validated_performance
from hepacast.study.context import Context


def evaluated_card(context: Context, names: list[str]) -> dict[str, Any]:
    """Of each model its performance by set, what validation showed, and what speaks against it."""
    found = read_record(EvaluationResults, context.out / "evaluation" / "evaluation.json")
    rows = {name: [row.to_json() for row in validated_performance(found.sets, name)] for name in names}
    return {
        "performance": {
            set_name: {model: _performance(item) for model, item in entry.models.items() if model in names}
            for set_name, entry in found.sets.items()
        },
        "validated": {"level": found.level, "models": rows},
        "verdicts": {name: list(found.verdicts.get(name, ())) for name in names},
    }


def _performance(item: ModelResult) -> dict[str, Any]:
    """AUC and Brier score; of follow-up C, and these by horizon."""
    if item.c is None:
        fit = item.main.calibration
        return {"auc": _limits(item.main.auc), "brier": None if fit is None else fit.brier.value}
    horizons = [
        {
            "time": at.time,
            "auc": _limits(at.auc),
            "brier": None if at.calibration is None else _limits(at.calibration.brier),
        }
        for at in item.horizons
    ]
    return {"c": _limits(item.c), "horizons": horizons}


def _limits(item: Estimate) -> dict[str, Any]:
    content = item.to_json()
    return {key: content[key] for key in ("value", "low", "high", "se", "reason") if content[key] != ""}


def conformal_card(context: Context) -> dict[str, Any]:
    """The two risks that decide the main model's conformal set; without them the reason."""
    path = context.out / "evaluation" / "scrutiny.json"
    if not path.is_file():
        return {"reason": "the study made no conformal sets"}
    found = read_record(PredictionScrutiny, path)
    rule = found.conformal.rule
    if rule is None:
        return {"reason": found.conformal.reason}
    kept = ("set", "n_events", "n_others", "coverage_events", "coverage_others")
    coverage = [{key: row.to_json()[key] for key in kept} for row in found.conformal.rows]
    return {"model": found.model, **rule.to_json(), "coverage": coverage}
