"""Stage 4 for a time-to-event outcome: fit the survival models, freeze them, validate the whole chain honestly."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from hepacast.cohort import Cohort, SurvivalOutcome
from hepacast.cohort.outcome import check_horizons
from hepacast.core.files import read_json, write_json
from hepacast.core.records import write_record
from hepacast.core.seeds import derive_seed, rng
from hepacast.errors import ModelError
from hepacast.modelling.bootstrap import bootstrap_optimism
from hepacast.modelling.cox_radscore import CoxRadscore
from hepacast.modelling.cox_selectors import cox_filter_steps
from hepacast.modelling.grammar import ChainSpec
from hepacast.modelling.predictions import Predictions
from hepacast.modelling.predictors import Predictor
from hepacast.modelling.refit import model_names
from hepacast.modelling.stability import selection_stability
from hepacast.modelling.survival_controls import selects, usual_survival_way
from hepacast.modelling.survival_models import SurvivalModels
from hepacast.modelling.survival_selection import CoxClinicalModel
from hepacast.modelling.targets import follow_up
from hepacast.modelling.validation import OutOfFold, nested_validation
from hepacast.study.analysis_set import analysis_cohort, analysis_features
from hepacast.study.context import Context
from hepacast.study.stages import scrutiny
from hepacast.study.stages.comparisons import write_analysed
from hepacast.study.stages.describe_models import Words
from hepacast.study.stages.survival_describe import describe_survival, survival_example, survival_nomogram
from hepacast.study.stages.survival_sentences import modelling_sentences

CENTER = "center"


@dataclass(frozen=True)
class SurvivalAnalysis:
    """What survival models are fitted to: one row a patient, clinical candidates then features."""

    cohort: Cohort
    outcome: SurvivalOutcome
    table: pd.DataFrame
    predictors: tuple[Predictor, ...]
    words: Words

    def part(self, name: str) -> tuple[pd.DataFrame, np.ndarray]:
        """Table and follow-up (n, 2) of one set."""
        rows = self.cohort.members(name)
        return self.table.loc[rows], follow_up(self.outcome.time.loc[rows], self.outcome.codes.loc[rows])


def load_survival(context: Context) -> SurvivalAnalysis:
    """Cohort and features of the patients who can be analysed.

    Raises
    ------
    OutcomeError
        A horizon lies beyond the follow-up of the training patients, or before their first event.
    """
    cohort = analysis_cohort(context)
    assert isinstance(cohort.outcome, SurvivalOutcome)
    candidates = context.study.modelling.candidates
    entries = {entry["name"]: entry for entry in read_json(context.out / "cohort" / "columns.json")}
    predictors = tuple(Predictor.from_column(entries[name]) for name in candidates)
    parts = [cohort.table.frame[candidates]]
    if set(context.study.modelling.models) & {"radiomics", "combined"}:
        parts.append(analysis_features(context, cohort.patients))
    if context.study.modelling.harmonize == "combat":
        parts.append(cohort.centers.rename(CENTER).to_frame())
    analysis = SurvivalAnalysis(
        cohort,
        cohort.outcome,
        pd.concat(parts, axis=1),
        predictors,
        Words.of(cohort.table),
    )
    for problem in check_horizons(cohort.outcome.select(cohort.members("training")), context.study.outcome.times):
        raise problem
    return analysis


def make_survival_models(context: Context, analysis: SurvivalAnalysis) -> SurvivalModels:
    """The models of the study file, not fitted."""
    options = context.study.modelling
    seed = derive_seed(context.study.seed, "models")
    radiomics = None
    if {"radiomics", "combined"} & set(options.models):
        steps = cox_filter_steps(_chain(context), seed)
        radiomics = CoxRadscore(Pipeline(steps), score=options.radscore, seed=seed)
    return SurvivalModels(
        predictors=analysis.predictors,
        horizons=context.study.outcome.times,
        radiomics=radiomics,
        clinical=CoxClinicalModel(alpha=options.alpha, keep=options.selection),
        site_column=CENTER if options.harmonize == "combat" else None,
        models=tuple(options.models),
        cut=context.study.evaluation.risk_groups,
        unit=analysis.outcome.unit,
    )


def _chain(context: Context) -> ChainSpec:
    """The study's chain with its harmonization and ICCs (`stages.modelling` builds the binary one from the same)."""
    from hepacast.study.analysis_set import reproducibility_table
    from hepacast.study.stages.modelling import load_chain

    spec = load_chain(context)
    if context.study.modelling.harmonize == "combat":
        spec = spec.with_harmonizer(site_column=CENTER)
    minimum = context.study.features.min_icc
    if minimum is None:
        return spec
    table = reproducibility_table(context)
    if table is None:
        raise ModelError(
            "There is no ICC of the features to filter by.",
            expected="masks of a second reader of at least five patients (images.segmentation.second_reader)",
            where="features.min_icc",
            remedy="give the second reader's masks, or leave min_icc out",
        )
    return spec.with_reproducibility(table, minimum)


def write(context: Context, folder: Path) -> None:
    """Run the stage."""
    analysis = load_survival(context)
    models = make_survival_models(context, analysis)
    x, y = analysis.part("training")
    with context.reporter.track("fitting") as progress:
        fitted = models.fit(x, y)
        progress(1, 1)
    told = write_analysed(context, analysis.cohort, folder)
    write_json(folder / "frozen.json", fitted.to_dict())
    described = describe_survival(context, analysis, fitted)
    write_json(folder / "survival.json", described)
    write_json(folder / "models.json", _models_json(context, analysis, fitted, described))
    predictions = [Predictions.by(fitted, *analysis.part(name), name) for name in dict.fromkeys(analysis.cohort.sets)]
    nested = _nested(context, models, x, y)
    Predictions.join([*predictions, Predictions(nested.predictions)]).write(folder / "predictions.parquet")
    write_json(folder / "survival_validation.json", _validation(context, models, fitted, nested, x, y))
    write_record(folder / "scrutiny.json", scrutiny.of_models(context, analysis, models, fitted))
    level = context.study.evaluation.confidence
    write_json(folder / "validation.json", _shared_validation(fitted, nested, len(x.columns), level))
    write_json(folder / "methods.json", [*told, *modelling_sentences(context, analysis.outcome, fitted, nested)])


def _models_json(
    context: Context, analysis: SurvivalAnalysis, fitted: SurvivalModels, described: dict[str, Any]
) -> dict[str, Any]:
    """`models.json`: what the report's sections on the signature and the nomogram share with binary studies."""
    frozen, name, options = fitted.frozen_, fitted.frozen_.names[-1], context.study.outcome
    nomogram = survival_nomogram(frozen, name, analysis, options.horizons, before=options.before_horizon)
    example, reading = survival_example(context, analysis, frozen, name, nomogram)
    content: dict[str, Any] = {
        "names": list(frozen.names),
        "main": name,
        "cutoffs": frozen.cutoffs,
        "nomogram": None if nomogram is None else nomogram.to_spec(reading),
        "example": example,
    }
    if "radiomics" in described:
        content["radiomics"] = described["radiomics"]
    return content


def _nested(context: Context, models: SurvivalModels, x: pd.DataFrame, y: np.ndarray) -> OutOfFold:
    rules = context.study.modelling.validation
    with context.reporter.track("nested cross-validation") as progress:
        return nested_validation(
            models,
            x,
            y,
            folds=rules.folds,
            repeats=rules.repeats,
            seed=derive_seed(context.study.seed, "nested"),
            workers=context.workers,
            progress=progress,
        )


def _validation(
    context: Context,
    models: SurvivalModels,
    fitted: SurvivalModels,
    nested: OutOfFold,
    x: pd.DataFrame,
    y: np.ndarray,
) -> dict[str, Any]:
    """C by way of validation, one entry a model."""
    rules, level = context.study.modelling.validation, context.study.evaluation.confidence
    by_model: dict[str, dict[str, Any]] = {}
    for name in model_names(fitted):
        by_model[name] = {"nested": nested.to_json(name, level)}
    if rules.bootstrap > 0:
        _add_bootstrap(context, by_model, models, x, y, level)
    if rules.usual_way and selects(models):
        _add_usual(context, by_model, models, x, y, level)
    content: dict[str, Any] = {"models": by_model}
    if rules.permutations > 0:
        content["permutation"] = _permutation(context, models, x, y, nested)
    return content


def _add_bootstrap(
    context: Context, content: dict[str, Any], models: SurvivalModels, x: pd.DataFrame, y: np.ndarray, level: float
) -> None:
    rules = context.study.modelling.validation
    with context.reporter.track("bootstrap of the whole chain") as progress:
        result = bootstrap_optimism(
            models,
            x,
            y,
            rules.bootstrap,
            seed=derive_seed(context.study.seed, "bootstrap"),
            level=level,
            workers=context.workers,
            progress=progress,
        )
    for name, entry in content.items():
        c, slope = result.value(name, "c"), result.value(name, "slope")
        entry["bootstrap"] = {
            "apparent": c["apparent"],
            "optimism": c["optimism"],
            "corrected": {"value": c["corrected"], "low": c["ci_low"], "high": c["ci_high"]},
            "reason": result.reason(name, "c") or None,
            "plus_632": c["plus_632"],
            # Log odds have no slope of 1 in a Cox model.
            "slope": slope["corrected"] if name != "binary" else float("nan"),
            "resamples": rules.bootstrap,
            "n_failed": len(result.failures),
        }


def _add_usual(
    context: Context, content: dict[str, Any], models: SurvivalModels, x: pd.DataFrame, y: np.ndarray, level: float
) -> None:
    """The estimate that flatters, for comparison: nothing is refitted but the last step."""
    rules = context.study.modelling.validation
    with context.reporter.track("the usual way, for comparison") as progress:
        usual = usual_survival_way(
            models,
            x,
            y,
            folds=rules.folds,
            repeats=rules.repeats,
            seed=derive_seed(context.study.seed, "nested"),
            workers=context.workers,
            progress=progress,
        )
    known = set(usual.predictions["model"])
    for name, entry in content.items():
        if name in known:
            found = usual.estimate(name, level)
            entry["usual"] = {key: found[key] for key in ("value", "low", "high")}


def _permutation(
    context: Context, models: SurvivalModels, x: pd.DataFrame, y: np.ndarray, nested: OutOfFold
) -> dict[str, Any]:
    """C of the whole chain when follow-up is dealt to the patients at random."""
    rules = context.study.modelling.validation
    name = model_names(models)[-1]
    null = []
    with context.reporter.track("permuted outcome") as progress:
        for number in range(rules.permutations):
            order = rng(context.study.seed, "permutation", number).permutation(len(y))
            seed = derive_seed(context.study.seed, "permutation", number)
            result = nested_validation(
                models, x, y[order], folds=rules.folds, repeats=1, seed=seed, workers=context.workers
            )
            null.append(result.estimate(name)["value"])
            progress(number + 1, rules.permutations)
    values = np.array([value for value in null if np.isfinite(value)])
    observed = nested.estimate(name)["value"]
    p = (1 + int((values >= observed).sum())) / (1 + len(values))
    return {"model": name, "null": values, "observed": observed, "p": p}


def _shared_validation(fitted: SurvivalModels, nested: OutOfFold, n_columns: int, level: float) -> dict[str, Any]:
    """`validation.json`: stability of the selection, as of binary studies; C by way of validation stands beside."""
    n_clinical = len(fitted.predictors)
    sizes = {"radiomics": n_columns - n_clinical, "clinical": n_clinical, "binary": n_clinical}
    labels = {item.name: item.label for item in fitted.predictors}
    shares: dict[str, Any] = {}
    indexes: dict[str, Any] = {}
    given = fitted.clinical is not None and fitted.clinical.keep == "given"
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
    return {"models": {}, "stability": shares, "nogueira": indexes, "refits": len(nested.selections)}
