"""Stage evaluation of another hospital's cohort: how good frozen models are there, and whether patients are alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hepacast.bundle import Bundle
from hepacast.bundle.networks import NetworkBundle
from hepacast.cohort import Cohort
from hepacast.core.files import read_json
from hepacast.core.records import write_record
from hepacast.core.sentences import Sentence
from hepacast.evaluation.case_mix import (
    LINEAR_PREDICTOR,
    CaseMixRow,
    ExternalValidation,
    discrimination_verdict,
    expected_auc,
    expected_concordance,
    level_rows,
    number_row,
    spread_of,
)
from hepacast.evaluation.predictions import Array
from hepacast.evaluation.results import EvaluationResults, ModelResult
from hepacast.evaluation.validated import ValidatedPerformance
from hepacast.modelling.frozen_logistic import OUTSIDE
from hepacast.modelling.predictions import JudgedSet, Predictions
from hepacast.stats.samplesize import VALIDATION_WIDTHS, PrecisionSize, validation_binary, validation_like
from hepacast.study.analysis_set import analysis_cohort
from hepacast.study.context import Context
from hepacast.study.stage import Cost, Stage, study_parts
from hepacast.study.stages.applying import PREDICTORS, UNLIKE, bundles_of
from hepacast.study.stages.evaluation import write_evaluation
from hepacast.study.stages.frozen_files import model_folder

FILE = "external.json"


def write(context: Context, folder: Path) -> None:
    """Run the stage."""
    bundles, modelling = bundles_of(context), context.out / "modelling"
    cohort = analysis_cohort(context)
    tables = {name: pd.read_parquet(model_folder(modelling, place) / PREDICTORS) for place, name in enumerate(bundles)}
    found = write_evaluation(
        context, folder, cohort, {name: {} for name in bundles}, lambda: tables[next(iter(bundles))]
    )
    (item,) = Predictions.read(modelling / "predictions.parquet").judged(list(bundles)).values()
    told = read_json(modelling / UNLIKE)
    results = [
        external_validation(name, bundle, cohort, item, tables[name], told[name], found)
        for name, bundle in bundles.items()
    ]
    write_record(folder / FILE, results)
    sentences = read_json(folder / "methods.json")
    write_record(folder / "methods.json", [*sentences, _sentence(cohort).to_json()])


def external_validation(
    name: str,
    bundle: Bundle | NetworkBundle,
    cohort: Cohort,
    item: JudgedSet,
    predictors: pd.DataFrame,
    warnings: Mapping[str, list[str]],
    found: EvaluationResults,
) -> ExternalValidation:
    """Case-mix, what the model could reach here, and what this validation says."""
    model = found.sets[item.name].models[name]
    risk = item.risks[name][max(item.risks[name])]
    expected = expected_concordance(item.scores[name]) if item.has_time else expected_auc(risk)
    outside = {patient: _outside(bundle, warnings[patient]) for patient in item.patients}
    rows, spread = case_mix(name, bundle, predictors, item)
    trained = bundle.card["outcome"]
    result = ExternalValidation(
        name=name,
        study=str(bundle.card["name"]),
        identity=bundle.identity,
        signature=bundle.signed.text(),
        model=bundle.main,
        trained_n=_trained(bundle)[0],
        trained_events=_trained(bundle)[1],
        outcome_here=f"{cohort.outcome.name}: {cohort.outcome.source}",
        outcome_trained=f"{trained['name']}: {trained.get('source') or trained.get('definition') or ''}".strip(": "),
        rows=tuple(rows),
        spread=spread,
        expected=expected,
        observed=model.discrimination,
        unlike=dict(Counter(label for labels in outside.values() for label in labels)),
        n_unlike=sum(bool(labels) for labels in outside.values()),
        validated=_validated(bundle),
        sizes=_sizes(item, model, expected, risk),
    )
    verdict = [*found.verdicts.get(name, ()), discrimination_verdict(result, model.measure)]
    return replace(result, verdict=tuple(text for text in verdict if text))


def _sizes(item: JudgedSet, model: ModelResult, expected: float, risk: Array) -> tuple[PrecisionSize, ...]:
    """Patients that a precise validation of such patients needs: of right risks by formula, of follow-up from here."""
    if item.has_time:
        fit = model.main.calibration
        found = {} if fit is None else {"O/E": fit.observed_expected, "slope": fit.slope}
        known = {**found, model.measure: model.discrimination}
        return validation_like(item.n, {name: value for name, value in known.items() if value}, VALIDATION_WIDTHS)
    if not (0.5 < expected < 1.0 and 0.0 < risk.mean() < 1.0):
        return ()
    inside = np.clip(risk, 1e-6, 1 - 1e-6)
    return validation_binary(float(risk.mean()), expected, np.log(inside / (1 - inside)))


def _trained(bundle: Bundle | NetworkBundle) -> tuple[int, int]:
    if isinstance(bundle, NetworkBundle):
        sets = (bundle.card.get("population") or {}).get("sets") or {}
        return int((sets.get("training") or {}).get("n", 0)), 0
    own = bundle.models.model(bundle.main)
    return own.n, own.n_events


def _outside(bundle: Bundle | NetworkBundle, warnings: list[str]) -> list[str]:
    """Labels of the values that lie beyond those of training, from the warnings of a prediction."""
    labels = [spec.label for spec in bundle.columns]
    return [label for label in labels if any(text.startswith(f"{label} (") and OUTSIDE in text for text in warnings)]


def _validated(bundle: Bundle | NetworkBundle) -> tuple[str, ...]:
    entry = bundle.card.get("validated") or {}
    rows = (entry.get("models") or {}).get(bundle.main, ())
    return tuple(ValidatedPerformance.from_json(row, "card: validated").text(float(entry["level"])) for row in rows)


def case_mix(
    model: str, bundle: Bundle | NetworkBundle, predictors: pd.DataFrame, item: JudgedSet
) -> tuple[list[CaseMixRow], float]:
    """What the model reads, here and in training; and the spread of the linear predictor."""
    training = None if isinstance(bundle, NetworkBundle) else bundle.training
    known = dict((bundle.card.get("case_mix") or {}).get(bundle.main, {}))
    quantiles = {**({} if training is None else training.quantiles), **known}
    shares: Mapping[str, Mapping[str, float]] = {} if training is None else training.shares
    table, rows = predictors.loc[item.patients], []
    for name in table.columns:
        spec = next((one for one in bundle.columns if one.name == name), None)
        if spec is not None and spec.kind != "numeric":
            values = table[name]
            if spec.kind == "binary":
                words = dict(enumerate(spec.level_names))
                before = shares.get(name)
                named = {words.get(int(float(k)), k): v for k, v in before.items()} if before else before
                rows += level_rows(name, spec.label, values.map(words), named)
            else:
                rows += level_rows(name, spec.label, values, shares.get(name))
            continue
        label, unit = (name, "") if spec is None else (spec.label, spec.unit)
        numbers = table[name].astype(float)
        rows.append(number_row(name, label, unit, numbers, quantiles.get(name), int(numbers.isna().sum())))
    linear = np.asarray(item.scores[model] if item.has_time else _logit(item, model))
    rows.append(number_row(LINEAR_PREDICTOR, "Linear predictor", "", linear, quantiles.get(LINEAR_PREDICTOR)))
    return rows, spread_of(linear, quantiles.get(LINEAR_PREDICTOR))


def _logit(item: JudgedSet, model: str) -> np.ndarray[Any, Any]:
    risk = np.clip(item.scores[model], 1e-12, 1 - 1e-12)
    return np.asarray(np.log(risk / (1 - risk)))


def _sentence(cohort: Cohort) -> Sentence:
    what = "of the hazards [@goenen-heller]" if cohort.outcome.has_time else "of the risks [@van-klaveren]"
    text = (
        "Case-mix was compared with the training patients' quartiles and shares that the model file carries. What "
        "the model could reach in these patients if its risks were right is the model-based concordance "
        f"{what}; a smaller observed value is not explained by case-mix."
    )
    text += (
        " The patients that a precise validation needs follow from the precision reached here."
        if cohort.outcome.has_time
        else " The patients that a precise validation needs are those of right risks with this distribution "
        "[@riley-validation]."
    )
    return Sentence("evaluation", text, ["goenen-heller" if cohort.outcome.has_time else "van-klaveren"])


STAGE = Stage(
    name="evaluation",
    title="external validation: case-mix, discrimination, calibration, net benefit, updating",
    module=__name__,
    run=write,
    settings=lambda context: study_parts(context, "seed", "evaluation", "survival", "outcome"),
    cost=lambda context: Cost(15.0, 4e8),
    needs=("cohort", "modelling"),
)
