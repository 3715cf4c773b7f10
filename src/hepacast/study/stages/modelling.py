"""Stage 4, modelling: fit the models on the training set, freeze them, and validate the whole chain honestly."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from hepacast.biomarkers.definitions import FAMILY, kind_of
from hepacast.cohort import Cohort, Outcome
from hepacast.cohort.outcome import check_horizons
from hepacast.core.closure import code_hash
from hepacast.core.files import read_json, write_json
from hepacast.core.mapped import side_by_side
from hepacast.core.records import write_record
from hepacast.core.seeds import derive_seed
from hepacast.errors import ModelError
from hepacast.modelling.clinical import ClinicalModel
from hepacast.modelling.described import DescribedModels, ModelValidation
from hepacast.modelling.frozen_chain import freeze_study_models
from hepacast.modelling.frozen_score import RADSCORE
from hepacast.modelling.grammar import ChainSpec, build_radiomics_model
from hepacast.modelling.predictions import Predictions, horizons_of
from hepacast.modelling.predictors import Predictor
from hepacast.modelling.refit import kept_refits, model_names, predicted
from hepacast.modelling.study_models import StudyModels
from hepacast.modelling.table_order import TableOrder, known_order
from hepacast.modelling.targets import by_patient
from hepacast.modelling.validation import OutOfFold, nested_validation
from hepacast.study.analysis_set import (
    analysis_cohort,
    analysis_features,
    candidate_specs,
    reproducibility_table,
)
from hepacast.study.context import Context
from hepacast.study.further_cohorts import PREDICTIONS, FurtherTable, further_inputs, read_further
from hepacast.study.stage import Stage, study_parts
from hepacast.study.stages import biomarkers, scrutiny
from hepacast.study.stages.chain_cost import refits_cost
from hepacast.study.stages.chain_validation import validate_chain
from hepacast.study.stages.comparisons import write_analysed
from hepacast.study.stages.describe_models import (
    Words,
    describe_example,
    describe_models,
    example_patient,
    nomogram_of,
    read_values,
)
from hepacast.study.stages.frozen_files import MODELS, write_arrays
from hepacast.study.stages.model_sentences import modelling_sentences
from hepacast.study.stages.radiomics import measure

CENTER = "center"


@dataclass(frozen=True)
class Analysis:
    """What the models are fitted to: one row a patient, clinical candidates then features."""

    cohort: Cohort
    table: pd.DataFrame
    predictors: tuple[Predictor, ...]
    words: Words

    @property
    def biomarkers(self) -> dict[str, str]:
        """The predictors that are biomarkers, and what kind of thing each tells."""
        return {item.name: kind_of(item.name) for item in self.predictors if item.name.startswith(f"{FAMILY}/")}

    @property
    def outcome(self) -> Outcome:
        """What is predicted."""
        return self.cohort.outcome

    def part(self, name: str) -> tuple[pd.DataFrame, NDArray[Any]]:
        """Table and outcome array of one set."""
        rows = self.cohort.members(name)
        return self.table.loc[rows], self.outcome.select(rows).y


def load_analysis(context: Context) -> Analysis:
    """Cohort and features of the patients who can be analysed.

    Raises
    ------
    OutcomeError
        A horizon lies beyond the follow-up of the training patients, or before their first event.
    """
    cohort = analysis_cohort(context)
    specs = candidate_specs(context, cohort.table)
    predictors = tuple(Predictor.from_column(spec.to_json()) for spec in specs)
    parts = [cohort.table.frame[[spec.name for spec in specs]]]
    if context.study.modelling.reads_features:
        parts.append(analysis_features(context, cohort.patients))
    if context.study.modelling.harmonize == "combat":
        parts.append(cohort.centers.rename(CENTER).to_frame())
    for problem in check_horizons(cohort.outcome.select(cohort.members("training")), cohort.outcome.horizons):
        raise problem
    return Analysis(cohort, side_by_side(parts), predictors, Words.of(cohort.table))


def make_models(context: Context, analysis: Analysis) -> StudyModels:
    """The models of the study file, not fitted."""
    options, outcome = context.study.modelling, analysis.outcome
    seed = derive_seed(context.study.seed, "models")
    return StudyModels(
        predictors=analysis.predictors,
        radiomics=_radiomics_model(context, seed) if options.reads_features else None,
        clinical=ClinicalModel(alpha=options.alpha, alpha_joint=options.alpha, keep=options.selection, seed=seed),
        site_column=CENTER if options.harmonize == "combat" else None,
        models=tuple(options.models),
        horizons=outcome.horizons if outcome.has_time else (),
        unit=outcome.unit,
        cut=context.study.evaluation.risk_groups if outcome.has_time else "youden",
        biomarkers=tuple(sorted(analysis.biomarkers)),
        kinds=analysis.biomarkers,
        combination=options.combination,
        seed=seed,
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
    times = context.study.outcome.times
    return build_radiomics_model(spec, score=options.radscore, seed=seed, horizon=times[-1] if times else None)


def write(context: Context, folder: Path) -> None:
    """Run the stage."""
    analysis = load_analysis(context)
    x, y = by_patient(*analysis.part("training"))
    refits = context.cache / "refits"
    with known_order(TableOrder.of(x)), kept_refits(refits / code_hash(__name__)[:16]):
        _write(context, folder, analysis, (x, y))
    shutil.rmtree(refits, ignore_errors=True)


def _write(context: Context, folder: Path, analysis: Analysis, training: tuple[pd.DataFrame, NDArray[Any]]) -> None:
    x, y = training
    models = make_models(context, analysis)
    with context.reporter.track("fitting") as progress:
        fitted = models.fit(x, y)
        progress(1, 1)
    told = write_analysed(context, analysis.cohort, folder)
    write_json(folder / MODELS, _frozen(fitted, x, folder))
    _write_described(context, analysis, fitted, folder)
    predictions = [Predictions.by(fitted, *analysis.part(name), name) for name in dict.fromkeys(analysis.cohort.sets)]
    nested = _nested(context, models, x, y)
    predictions += [Predictions(nested.predictions), *network_predictions(context, nested)]
    Predictions.join(predictions).write(folder / "predictions.parquet")
    if context.study.further:
        _predict_further(context, analysis, fitted, folder)
    validation = validate_chain(context, training, models, fitted, nested)
    networks = network_validation(context, nested, context.study.evaluation.confidence)
    validation = replace(validation, models=validation.models | networks)
    write_record(folder / "scrutiny.json", scrutiny.of_models(context, analysis, models, fitted))
    write_record(folder / "validation.json", validation)
    drawn = max((item.bootstrap.resamples for item in validation.models.values() if item.bootstrap), default=0)
    sentences = modelling_sentences(context, analysis.outcome, fitted, nested, drawn)
    write_record(folder / "methods.json", [*told, *sentences])


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


def _write_described(context: Context, analysis: Analysis, fitted: StudyModels, folder: Path) -> None:
    """`models.json`: the models in words and numbers, the nomogram, one patient worked through."""
    level, outcome = context.study.evaluation.confidence, analysis.outcome
    x, y = analysis.part("training")
    content = describe_models(context.study, outcome, fitted, (x, y), analysis.words, level)
    frozen, name, times = fitted.frozen_, fitted.frozen_.names[-1], context.study.outcome
    table = analysis.table
    if fitted.radiomics_ is not None and frozen.score is None:
        # A score without a formula is a column beside the others.
        table = table.assign(**{RADSCORE: fitted.radscore(table)})
    nomogram = nomogram_of(
        frozen, name, analysis.words, table.loc[x.index], outcome, times.horizons, before=times.before_horizon
    )
    risks = frozen.predict_risk(table)[name]
    patient = example_patient(risks, outcome.events, analysis.cohort.sets, context.study.report.example_patient)
    row = table.loc[[patient]]
    example = describe_example(patient, frozen, name, analysis.words, row, outcome, level, times.horizons)
    reading = None if nomogram is None else read_values(nomogram, frozen, name, analysis.words, row)
    content = replace(content, nomogram=None if nomogram is None else nomogram.to_spec(reading), example=example)
    write_record(folder / "models.json", with_networks(context, content))


def _predict_further(context: Context, analysis: Analysis, fitted: StudyModels, folder: Path) -> None:
    """Risks of further cohorts by the frozen models; features are measured as those of the study's own patients."""

    def predict(item: FurtherTable) -> tuple[NDArray[Any], NDArray[Any]]:
        table = biomarkers.with_biomarkers(context, item.table.frame)
        table = table[[predictor.name for predictor in analysis.predictors]]
        if fitted.radiomics_ is not None:
            table = table.join(measure(context, item.table.patients)[fitted.feature_names_])
        return predicted(fitted, table)

    made = further_predictions(read_further(context), predict, model_names(fitted), horizons_of(fitted))
    made.write(folder / PREDICTIONS)


def _nested(context: Context, models: StudyModels, x: pd.DataFrame, y: NDArray[Any]) -> OutOfFold:
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


def with_networks(context: Context, described: DescribedModels) -> DescribedModels:
    """The description with the networks' names and cut-offs after those of the other models."""
    own = network_models(context)
    return replace(described, names=[*described.names, *own], cutoffs={**described.cutoffs, **own})


def network_validation(context: Context, nested: OutOfFold, level: float) -> dict[str, ModelValidation]:
    """How each network was validated, as the other models (`nested`) were."""
    found: dict[str, ModelValidation] = {}
    for predictions in network_predictions(context, nested):
        result = OutOfFold.of(predictions)
        assert result is not None
        found |= {name: ModelValidation(nested=result.told(name, level)) for name in result.models}
    return found


def further_predictions(
    further: Sequence[FurtherTable],
    predict: Callable[[FurtherTable], tuple[ArrayLike, ArrayLike]],
    models: Sequence[str],
    horizons: Sequence[float],
) -> Predictions:
    """Frozen predictions of every further cohort (its name is that of the set), beside its follow-up.

    Parameters
    ----------
    predict
        Gives the risks (n, models, horizons) and the linear predictors (n, models) of a cohort.
    """
    parts = []
    for item in further:
        risk, linear = predict(item)
        parts.append(
            Predictions.make(
                item.table.patients,
                item.outcome.select(item.table.patients).y,
                risk,
                linear,
                models=models,
                horizons=horizons,
                set=item.name,
                kind="frozen",
            )
        )
    return Predictions.join(parts)


def chain_settings(context: Context) -> dict[str, Any]:
    """What of the study file decides the models; the chain by its content, as it may be a file."""
    rules = study_parts(context, "seed", "modelling", "evaluation")
    chain = load_chain(context).model_dump(mode="json")
    return rules | {"example": context.study.report.example_patient, "chain": chain}


STAGE = Stage(
    name="modelling",
    title="clinical, radiomics and combined model, validated",
    module=__name__,
    run=write,
    settings=lambda context: chain_settings(context) | study_parts(context, "further"),
    cost=refits_cost,
    needs=("cohort", "segmentation", "radiomics", "biomarkers", "deep"),
    inputs=further_inputs,
    wanted=lambda context: context.study.fusion is None,
)
