"""How the whole chain of a study was validated: the content of ``modelling/validation.json``."""

from __future__ import annotations

from typing import Any

import pandas as pd
from numpy.typing import NDArray

from hepacast.core.seeds import derive_seed
from hepacast.modelling.bootstrap import bootstrap_optimism
from hepacast.modelling.controls import null_distribution, selects, usual_way
from hepacast.modelling.stability import selection_stability
from hepacast.modelling.study_models import StudyModels
from hepacast.modelling.targets import has_time
from hepacast.modelling.validation import OutOfFold
from hepacast.study.context import Context

#: Table and outcome of the training patients.
_Data = tuple[pd.DataFrame, NDArray[Any]]


def validate_chain(
    context: Context, data: _Data, models: StudyModels, fitted: StudyModels, nested: OutOfFold
) -> dict[str, Any]:
    """AUC or C of each model by way of validation, stability of the selection, and the null distribution."""
    rules, level = context.study.modelling.validation, context.study.evaluation.confidence
    by_model: dict[str, dict[str, Any]] = {
        name: {"nested": nested.to_json(name, level)} for name in fitted.frozen_.names
    }
    # Where nothing but clinical predictors of a logistic model is chosen, the usual way is not shown.
    flatters = selects(models) if has_time(data[1]) else fitted.radiomics_ is not None
    if rules.usual_way and flatters:
        _add_usual(context, by_model, models, data, level)
    if rules.bootstrap > 0:
        _add_bootstrap(context, by_model, models, data, level)
    content: dict[str, Any] = {"models": by_model, **_stability(fitted, nested, len(data[0].columns), level)}
    if rules.permutations > 0:
        content["permutation"] = _permutation(context, models, data)
    return content


def _add_usual(
    context: Context, content: dict[str, dict[str, Any]], models: StudyModels, data: _Data, level: float
) -> None:
    """The flattering estimate, of logistic models on fewer repeats: it is shown for comparison only."""
    rules = context.study.modelling.validation
    with context.reporter.track("the usual way, for comparison") as progress:
        usual = usual_way(
            models,
            *data,
            folds=rules.folds,
            repeats=rules.repeats if has_time(data[1]) else min(rules.repeats, 3),
            seed=derive_seed(context.study.seed, "nested"),
            workers=context.workers,
            progress=progress,
        )
    for name, entry in content.items():
        if name in usual.models:
            found = usual.estimate(name, level)
            entry["usual"] = {key: found[key] for key in ("value", "low", "high")}


def _add_bootstrap(
    context: Context, content: dict[str, dict[str, Any]], models: StudyModels, data: _Data, level: float
) -> None:
    rules = context.study.modelling.validation
    with context.reporter.track("bootstrap of the whole chain") as progress:
        result = bootstrap_optimism(
            models,
            *data,
            rules.bootstrap,
            seed=derive_seed(context.study.seed, "bootstrap"),
            level=level,
            workers=context.workers,
            progress=progress,
        )
    for name, entry in content.items():
        rank, slope = result.value(name), result.value(name, "slope")
        entry["bootstrap"] = {
            "apparent": rank["apparent"],
            "optimism": rank["optimism"],
            "corrected": {"value": rank["corrected"], "low": rank["ci_low"], "high": rank["ci_high"]},
            "reason": result.reason(name) or None,
            "plus_632": rank["plus_632"],
            # Log odds at a horizon have no slope of 1 in a Cox model.
            "slope": slope["corrected"] if name != "binary" else float("nan"),
            "resamples": rules.bootstrap,
            "n_failed": len(result.failures),
        }


def _stability(fitted: StudyModels, nested: OutOfFold, n_columns: int, level: float) -> dict[str, Any]:
    """How often each variable was selected over the refits of the cross-validation; of given ones nothing is told."""
    n_clinical = len(fitted.predictors)
    sizes = {"radiomics": n_columns - n_clinical, "clinical": n_clinical, "binary": n_clinical}
    labels = {item.name: item.label for item in fitted.predictors}
    given = fitted.clinical is not None and fitted.clinical.keep == "given"
    shares: dict[str, list[dict[str, Any]]] = {}
    indexes: dict[str, Any] = {}
    for part, size in sizes.items():
        chosen = [item[part] for item in nested.selections if part in item]
        if not chosen or (given and part != "radiomics"):
            continue
        result = selection_stability(chosen, size, level)
        shares[part] = [
            {"name": str(name), "label": labels.get(str(name)), "frequency": float(share)}
            for name, share in result.frequency.items()
        ]
        indexes[part] = {"index": result.index, "low": result.ci_low, "high": result.ci_high}
    return {"stability": shares, "nogueira": indexes, "refits": len(nested.selections)}


def _permutation(context: Context, models: StudyModels, data: _Data) -> dict[str, Any]:
    rules = context.study.modelling.validation
    with context.reporter.track("permuted outcome") as progress:
        result = null_distribution(
            models,
            *data,
            rules.permutations,
            folds=rules.folds,
            seed=derive_seed(context.study.seed, "permutation"),
            workers=context.workers,
            progress=progress,
        )
    name = list(result.values)[-1]
    null = "null" if has_time(data[1]) else "null_auc"
    return {"model": name, null: result.values[name], "observed": result.observed[name], "p": result.p[name]}
