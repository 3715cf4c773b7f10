"""How the whole chain of a study was validated: the content of ``modelling/validation.json``."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd
from numpy.typing import NDArray

from hepacast.core.estimates import Estimate
from hepacast.core.seeds import derive_seed
from hepacast.modelling.bootstrap import bootstrap_optimism
from hepacast.modelling.controls import null_distribution, selects, usual_way
from hepacast.modelling.described import (
    ChainOptimism,
    ModelValidation,
    Permutation,
    SelectedShare,
    StabilityIndex,
    Validation,
)
from hepacast.modelling.stability import selection_stability
from hepacast.modelling.study_models import StudyModels
from hepacast.modelling.targets import has_time
from hepacast.modelling.validation import OutOfFold
from hepacast.study.context import Context

#: Table and outcome of the training patients.
_Data = tuple[pd.DataFrame, NDArray[Any]]


def validate_chain(
    context: Context, data: _Data, models: StudyModels, fitted: StudyModels, nested: OutOfFold
) -> Validation:
    """AUC or C of each model by way of validation, stability of the selection, and the null distribution."""
    rules, level = context.study.modelling.validation, context.study.evaluation.confidence
    by_model = {name: ModelValidation(nested=nested.told(name, level)) for name in fitted.frozen_.names}
    # Where nothing but clinical predictors of a logistic model is chosen, the usual way is not shown.
    flatters = selects(models) if has_time(data[1]) else fitted.radiomics_ is not None
    if rules.usual_way and flatters:
        by_model = _with_usual(context, by_model, models, data, level)
    if rules.bootstrap > 0:
        by_model = _with_bootstrap(context, by_model, models, data, level)
    stability, indexes = _stability(fitted, nested, len(data[0].columns), level)
    return Validation(
        models=by_model,
        stability=stability,
        nogueira=indexes,
        refits=len(nested.selections),
        permutation=_permutation(context, models, data) if rules.permutations > 0 else None,
    )


def _with_usual(
    context: Context, by_model: dict[str, ModelValidation], models: StudyModels, data: _Data, level: float
) -> dict[str, ModelValidation]:
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
    return {
        name: replace(entry, usual=usual.told(name, level).estimate) if name in usual.models else entry
        for name, entry in by_model.items()
    }


def _with_bootstrap(
    context: Context, by_model: dict[str, ModelValidation], models: StudyModels, data: _Data, level: float
) -> dict[str, ModelValidation]:
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
    told = {}
    for name, entry in by_model.items():
        rank, slope = result.value(name), result.value(name, "slope")
        found = ChainOptimism(
            apparent=rank["apparent"],
            optimism=rank["optimism"],
            corrected=Estimate(rank["corrected"], rank["ci_low"], rank["ci_high"], level),
            resamples=result.n,
            n_failed=len(result.failures),
            # Log odds at a horizon have no slope of 1 in a Cox model.
            slope=slope["corrected"] if name != "binary" else float("nan"),
            plus_632=rank["plus_632"],
            reason=result.reason(name) or None,
            monte_carlo_se=rank["mc_se"],
        )
        told[name] = replace(entry, bootstrap=found)
    return told


def _stability(
    fitted: StudyModels, nested: OutOfFold, n_columns: int, level: float
) -> tuple[dict[str, list[SelectedShare]], dict[str, StabilityIndex]]:
    """How often each variable was selected over the refits of the cross-validation; of given ones nothing is told."""
    n_all = len(fitted.predictors)
    n_measured = len(fitted.biomarkers) if {"biomarkers", "joint"} & set(fitted.models) else 0
    sizes = {"radiomics": n_columns - n_all, "clinical": n_all - n_measured, "biomarkers": n_measured}
    sizes["binary"] = sizes["clinical"]
    labels = {item.name: item.label for item in fitted.predictors}
    given = fitted.clinical is not None and fitted.clinical.keep == "given"
    shares: dict[str, list[SelectedShare]] = {}
    indexes: dict[str, StabilityIndex] = {}
    for part, size in sizes.items():
        chosen = [item[part] for item in nested.selections if part in item]
        if not chosen or (given and part != "radiomics"):
            continue
        result = selection_stability(chosen, size, level)
        shares[part] = [
            SelectedShare(str(name), float(share), labels.get(str(name))) for name, share in result.frequency.items()
        ]
        indexes[part] = StabilityIndex(result.index, result.ci_low, result.ci_high)
    return shares, indexes


def _permutation(context: Context, models: StudyModels, data: _Data) -> Permutation:
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
    null = [float(value) for value in result.values[name]]
    return Permutation(null, result.observed[name], result.p[name], name)
