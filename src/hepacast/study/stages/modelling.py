"""Stage 4, modelling: fit the models on the training set, freeze them, and validate the whole chain honestly."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from hepacast.cohort import BinaryOutcome, Cohort
from hepacast.core.executor import resolve_workers
from hepacast.core.files import read_json, write_json
from hepacast.core.p_values import p_below
from hepacast.core.records import write_record
from hepacast.core.seeds import derive_seed
from hepacast.errors import ModelError, OutcomeError
from hepacast.modelling.bootstrap import bootstrap_optimism
from hepacast.modelling.clinical import CANDIDATES_TESTED, ClinicalModel
from hepacast.modelling.controls import null_distribution, usual_way
from hepacast.modelling.frozen_chain import freeze_study_models
from hepacast.modelling.frozen_score import RADSCORE
from hepacast.modelling.grammar import ChainSpec, build_radiomics_model
from hepacast.modelling.predictions import Predictions
from hepacast.modelling.predictors import Predictor
from hepacast.modelling.stability import selection_stability
from hepacast.modelling.study_models import StudyModels
from hepacast.modelling.validation import OutOfFold, nested_validation
from hepacast.study.analysis_set import analysis_cohort, analysis_features, reproducibility_table
from hepacast.study.context import Context
from hepacast.study.further_cohorts import further_inputs
from hepacast.study.stage import Cost, Stage, study_parts
from hepacast.study.stages import scrutiny
from hepacast.study.stages.comparisons import write_analysed
from hepacast.study.stages.deep_models import network_predictions, network_validation, with_networks
from hepacast.study.stages.describe_models import (
    Words,
    describe_example,
    describe_models,
    example_patient,
    nomogram_of,
    read_values,
)
from hepacast.study.stages.frozen_files import MODELS, write_arrays

CENTER = "center"


@dataclass(frozen=True)
class Analysis:
    """What the models are fitted to: one row a patient, clinical candidates then features."""

    cohort: Cohort
    outcome: pd.Series
    table: pd.DataFrame
    predictors: tuple[Predictor, ...]
    words: Words

    def part(self, name: str) -> tuple[pd.DataFrame, pd.Series]:
        """Table and outcome of one set."""
        rows = self.cohort.members(name)
        return self.table.loc[rows], self.outcome.loc[rows]


def load_analysis(context: Context) -> Analysis:
    """Cohort and features of the patients who can be analysed.

    Raises
    ------
    OutcomeError
        The outcome is a time to an event, which these models do not predict.
    """
    cohort = analysis_cohort(context)
    if not isinstance(cohort.outcome, BinaryOutcome):
        raise OutcomeError(
            "This chain predicts an event, not a time.",
            expected="a binary outcome",
            found=cohort.outcome.name,
            remedy="derive a binary outcome (early-recurrence), and give the follow-up under `survival`",
        )
    candidates = context.study.modelling.candidates
    entries = {entry["name"]: entry for entry in read_json(context.out / "cohort" / "columns.json")}
    predictors = tuple(Predictor.from_column(entries[name]) for name in candidates)
    parts = [cohort.table.frame[candidates]]
    if set(context.study.modelling.models) & {"radiomics", "combined"}:
        parts.append(analysis_features(context, cohort.patients))
    if context.study.modelling.harmonize == "combat":
        parts.append(cohort.centers.rename(CENTER).to_frame())
    words = Words.of(cohort.table)
    return Analysis(cohort, cohort.outcome.values, pd.concat(parts, axis=1), predictors, words)


def make_models(context: Context, analysis: Analysis) -> StudyModels:
    """The models of the study file, not fitted."""
    options = context.study.modelling
    seed = derive_seed(context.study.seed, "models")
    return StudyModels(
        predictors=analysis.predictors,
        radiomics=_radiomics_model(context, seed),
        clinical=ClinicalModel(alpha=options.alpha, alpha_joint=options.alpha),
        site_column=CENTER if options.harmonize == "combat" else None,
        models=tuple(options.models),
    )


def load_chain(context: Context) -> ChainSpec:
    """The radiomics chain of the study file; a file is looked for beside the study file.

    Raises
    ------
    StudyFileError
        There is no such chain, or it has an unknown key or value.
    """
    chain = context.study.modelling.chain
    if isinstance(chain, str) and (context.base / chain).is_file():
        return ChainSpec.load(context.base / chain)
    return ChainSpec.load(chain)


def _radiomics_model(context: Context, seed: int) -> Any:
    """The chain of the study file, with the cohort's own ICC table and sites where it asks for them."""
    options, minimum = context.study.modelling, context.study.features.min_icc
    spec = load_chain(context)
    if options.harmonize == "combat":
        spec = spec.with_harmonizer(site_column=CENTER)
    if minimum is not None:
        table = reproducibility_table(context)
        if table is None:
            raise ModelError(
                "There is no ICC of the features to filter by.",
                expected="masks of a second reader of at least five patients (images.segmentation.second_reader)",
                where="features.min_icc",
                remedy="give the second reader's masks, or leave min_icc out",
            )
        spec = spec.with_reproducibility(table, minimum)
    return build_radiomics_model(spec, score=options.radscore, seed=seed)


def write(context: Context, folder: Path) -> None:
    """Run the stage."""
    if context.study.outcome.definition == "survival":
        from hepacast.study.stages import survival_modelling

        survival_modelling.write(context, folder)
        return
    analysis = load_analysis(context)
    models = make_models(context, analysis)
    x, y = analysis.part("training")
    with context.reporter.track("fitting") as progress:
        fitted = models.fit(x, y)
        progress(1, 1)
    told = write_analysed(context, analysis.cohort, folder)
    write_json(folder / MODELS, _frozen(fitted, x, folder))
    write_json(folder / "models.json", with_networks(context, _models_json(context, analysis, fitted)))
    predictions = [Predictions.by(fitted, *analysis.part(name), name) for name in dict.fromkeys(analysis.cohort.sets)]
    nested = _nested(context, models, x, y)
    predictions += [Predictions(nested.predictions), *network_predictions(context, nested)]
    Predictions.join(predictions).write(folder / "predictions.parquet")
    validation = _validation(context, analysis, models, fitted, nested)
    validation["models"] |= network_validation(context, nested, context.study.evaluation.confidence)
    write_json(folder / "validation.json", validation)
    write_record(folder / "scrutiny.json", scrutiny.of_models(context, analysis, models, fitted))
    write_json(folder / "methods.json", [*told, *_sentences(context, fitted, nested)])


def _frozen(fitted: StudyModels, x: pd.DataFrame, folder: Path) -> dict[str, Any]:
    """The models as plain numbers, of a chain without a formula with arrays beside; or why there are none."""
    if fitted.has_formula:
        return fitted.to_dict()
    try:
        models = freeze_study_models(fitted, x)
    except ModelError as error:
        return {"unavailable": str(error)}
    write_arrays(folder, models)
    return models.to_dict() | {"networks": None}


def _scored(fitted: StudyModels, table: pd.DataFrame) -> pd.DataFrame:
    """The table with the chain's score as a column, where the score has no formula to compute it from."""
    if fitted.radiomics_ is None or fitted.frozen_.score is not None:
        return table
    return table.assign(**{RADSCORE: fitted.radscore(table)})


def _models_json(context: Context, analysis: Analysis, fitted: StudyModels) -> dict[str, Any]:
    level = context.study.evaluation.confidence
    x, y = analysis.part("training")
    candidates = x[[item.name for item in analysis.predictors]]
    content = describe_models(fitted, candidates, y.to_numpy(), analysis.words, level)
    frozen, name = fitted.frozen_, fitted.frozen_.names[-1]
    label = analysis.cohort.outcome.risk_label  # type: ignore[union-attr]
    table = _scored(fitted, analysis.table)
    nomogram = nomogram_of(frozen, name, analysis.words, table.loc[x.index], label)
    risks = frozen.predict_risk(table)[name]
    patient = example_patient(risks, analysis.outcome, analysis.cohort.sets, context.study.report.example_patient)
    row = table.loc[[patient]]
    example = describe_example(patient, frozen, name, analysis.words, row, int(analysis.outcome[patient]), level)
    reading = None if nomogram is None else read_values(nomogram, frozen, name, analysis.words, row)
    content["nomogram"] = None if nomogram is None else nomogram.to_spec(reading)
    return content | {"main": name, "example": example}


def _nested(context: Context, models: StudyModels, x: pd.DataFrame, y: pd.Series) -> OutOfFold:
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
    context: Context, analysis: Analysis, models: StudyModels, fitted: StudyModels, nested: OutOfFold
) -> dict[str, Any]:
    rules, level = context.study.modelling.validation, context.study.evaluation.confidence
    x, y = analysis.part("training")
    by_model: dict[str, dict[str, Any]] = {name: {} for name in fitted.frozen_.names}
    for name in by_model:
        by_model[name]["nested"] = nested.to_json(name, level)
    if rules.usual_way and fitted.radiomics_ is not None:
        _add_usual(context, by_model, models, x, y, level)
    if rules.bootstrap > 0:
        _add_bootstrap(context, by_model, models, x, y, level)
    content: dict[str, Any] = {"models": by_model, **_stability(fitted, nested, len(x.columns), level)}
    if rules.permutations > 0:
        content["permutation"] = _permutation(context, models, x, y)
    return content


def _add_usual(
    context: Context,
    content: dict[str, dict[str, Any]],
    models: StudyModels,
    x: pd.DataFrame,
    y: pd.Series,
    level: float,
) -> None:
    """The flattering estimate, on fewer repeats: it is shown for comparison only."""
    rules = context.study.modelling.validation
    with context.reporter.track("the usual way, for comparison") as progress:
        usual = usual_way(
            models,
            x,
            y,
            folds=rules.folds,
            repeats=min(rules.repeats, 3),
            seed=derive_seed(context.study.seed, "nested"),
            workers=context.workers,
            progress=progress,
        )
    for name, entry in content.items():
        if name in usual.models:
            found = usual.estimate(name, level)
            entry["usual"] = {key: found[key] for key in ("value", "low", "high")}


def _add_bootstrap(
    context: Context,
    content: dict[str, dict[str, Any]],
    models: StudyModels,
    x: pd.DataFrame,
    y: pd.Series,
    level: float,
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
        auc, slope = result.value(name), result.value(name, "slope")
        entry["bootstrap"] = {
            "apparent": auc["apparent"],
            "optimism": auc["optimism"],
            "corrected": {"value": auc["corrected"], "low": auc["ci_low"], "high": auc["ci_high"]},
            "reason": result.reason(name) or None,
            "plus_632": auc["plus_632"],
            "slope": slope["corrected"],
            "resamples": rules.bootstrap,
            "n_failed": len(result.failures),
        }


def _stability(fitted: StudyModels, nested: OutOfFold, n_columns: int, level: float) -> dict[str, Any]:
    """How often each variable was selected over the refits of the cross-validation."""
    n_clinical = len(fitted.predictors)
    sizes = {"radiomics": n_columns - n_clinical, "clinical": n_clinical}
    labels = {item.name: item.label for item in fitted.predictors}
    shares: dict[str, list[dict[str, Any]]] = {}
    indexes: dict[str, Any] = {}
    for part, size in sizes.items():
        chosen = [item[part] for item in nested.selections if part in item]
        if not chosen:
            continue
        result = selection_stability(chosen, size, level)
        shares[part] = [
            {"name": str(name), "label": labels.get(str(name)), "frequency": float(share)}
            for name, share in result.frequency.items()
        ]
        indexes[part] = {"index": result.index, "low": result.ci_low, "high": result.ci_high}
    return {"stability": shares, "nogueira": indexes, "refits": len(nested.selections)}


def _permutation(context: Context, models: StudyModels, x: pd.DataFrame, y: pd.Series) -> dict[str, Any]:
    rules = context.study.modelling.validation
    with context.reporter.track("permuted outcome") as progress:
        result = null_distribution(
            models,
            x,
            y,
            rules.permutations,
            folds=rules.folds,
            seed=derive_seed(context.study.seed, "permutation"),
            workers=context.workers,
            progress=progress,
        )
    name = list(result.values)[-1]
    return {"model": name, "null_auc": result.values[name], "observed": result.observed[name], "p": result.p[name]}


def _sentences(context: Context, fitted: StudyModels, nested: OutOfFold) -> list[dict[str, Any]]:
    options, rules = context.study.modelling, context.study.modelling.validation
    texts: list[tuple[str, list[str]]] = []
    if fitted.radiomics_ is not None:
        steps = "; ".join(map(str, fitted.radiomics_.counts_))
        way = (
            "fitted on scores of patients outside each fit (cross-fitted)"
            if options.radscore == "cross-fitted"
            else "fitted on the training scores themselves (apparent)"
        )
        texts.append((f"The radiomics chain was: {steps}. The logistic model of the Radscore was {way}.", ["lasso"]))
    if fitted.clinical_ is not None:
        texts.append(
            (
                f"{CANDIDATES_TESTED} Those with {p_below(options.alpha)} entered a multivariate logistic model, in "
                "which a missing value is replaced by the median or the most frequent level of the training set; those "
                f"with {p_below(options.alpha)} in it made the clinical model, with Firth's penalty where the data "
                "were separated [@firth].",
                ["firth"],
            )
        )
    if fitted.combined_ is not None:
        texts.append(("The combined model is a logistic model of the Radscore and the clinical predictors.", []))
    texts.append(
        (
            f"The whole chain, every selection included, was refitted in {rules.repeats} x {nested.folds}-fold nested "
            "cross-validation [@nested-cv].",
            ["nested-cv"],
        )
    )
    if rules.bootstrap:
        texts.append(
            (
                f"Optimism was estimated by refitting the chain in {rules.bootstrap} bootstrap samples [@harrell]; "
                "limits are the percentiles of the refits' apparent AUCs, shifted to the corrected one [@noma]. The "
                ".632+ estimate [@plus-632] stands beside it.",
                ["harrell", "noma", "plus-632"],
            )
        )
    return [{"stage": "modelling", "text": text, "citations": keys} for text, keys in texts]


def require_frozen(context: Context) -> dict[str, Any]:
    """`frozen.json` of the stage.

    Raises
    ------
    ModelError
        The stage has not run.
    """
    path = context.out / "modelling" / MODELS
    if not path.is_file():
        raise ModelError("The models have not been fitted yet.", where=str(path), remedy="run the study")
    entry: dict[str, Any] = read_json(path)
    return entry


#: Seconds that one refit of the whole chain takes, with evaluation of what was left out (measured, one core).
_REFIT_SECONDS = 1.0


def chain_settings(context: Context) -> dict[str, Any]:
    """What of the study file decides the models; the chain by its content, as it may be a file."""
    rules = study_parts(context, "seed", "modelling", "evaluation")
    chain = load_chain(context).model_dump(mode="json")
    return rules | {"example": context.study.report.example_patient, "chain": chain}


def refits_cost(context: Context) -> Cost:
    """Of fitting the chain and refitting it in its validation."""
    rules, workers = context.study.modelling.validation, resolve_workers(context.workers)
    refits = 1 + rules.folds * rules.repeats + rules.bootstrap + rules.folds * rules.permutations
    return Cost(_REFIT_SECONDS * refits / workers, 6e8 * workers)


STAGE = Stage(
    name="modelling",
    title="clinical, radiomics and combined model, validated",
    module=__name__,
    run=write,
    settings=chain_settings,
    cost=refits_cost,
    needs=("cohort", "segmentation", "radiomics", "deep"),
    inputs=further_inputs,
    wanted=lambda context: context.study.fusion is None,
)
