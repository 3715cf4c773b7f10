"""Stage 5, evaluation: how good each model's predictions are, set by set, and how the models compare."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hepacast.cohort import Cohort, Outcome, SurvivalOutcome
from hepacast.core.files import read_json, write_json
from hepacast.core.records import write_record
from hepacast.core.seeds import rng
from hepacast.core.sentences import Sentence
from hepacast.errors import OutcomeError
from hepacast.evaluation.evaluate import TRAINING, Judging, evaluate_set
from hepacast.evaluation.results import EvaluationResults, SetResult, headline_set
from hepacast.evaluation.risk_groups import HIGH, LOW, RiskGroups, risk_groups
from hepacast.evaluation.validated import verdicts_of
from hepacast.modelling.evidence import chance_in
from hepacast.modelling.frozen_cox import FrozenCox
from hepacast.modelling.predictions import JudgedSet, Predictions
from hepacast.modelling.validation import OutOfFold
from hepacast.stats.intervals import level_text
from hepacast.study.analysis_set import analysis_cohort, candidate_specs
from hepacast.study.context import Context
from hepacast.study.stage import Cost, Stage, study_parts
from hepacast.study.stages import scrutiny
from hepacast.study.stages.frozen_files import SCORES, read_regressions
from hepacast.study.stages.model_sentences import horizon_text
from hepacast.study.stages.modelling import load_analysis

FILE = "evaluation.json"


def write(context: Context, folder: Path) -> None:
    """Run the stage."""
    modelling = context.out / "modelling"
    cohort = analysis_cohort(context)

    @cache
    def predictors() -> pd.DataFrame:
        table = load_analysis(context).table
        if context.study.fusion is not None:
            names = [spec.name for spec in candidate_specs(context, cohort.table)]
            return table[names].join(pd.read_parquet(modelling / SCORES))
        return scrutiny.frozen_models(context).inputs(table)

    write_evaluation(context, folder, cohort, read_json(modelling / "validation.json")["models"], predictors)


def write_evaluation(
    context: Context,
    folder: Path,
    cohort: Cohort,
    validated: Mapping[str, Any],
    predictors: Callable[[], pd.DataFrame],
) -> EvaluationResults:
    """Judge the predictions of the modelling stage, and write what was found.

    Parameters
    ----------
    cohort
        The patients who were predicted.
    validated
        By model, what its own validation showed (``models`` of `validation.json`); empty of a model from elsewhere.
    predictors
        Gives the predictors of the models, scores beside clinical columns.
    """
    modelling = context.out / "modelling"
    predictions = Predictions.read(modelling / "predictions.parquet")
    described = read_json(modelling / "models.json")
    cutoffs = {name: np.nan if value is None else float(value) for name, value in described["cutoffs"].items()}
    names, main = list(described["names"]), str(described["main"])
    nested = OutOfFold.of(predictions)
    judged = predictions.judged(names)
    sets: dict[str, SetResult] = {}
    with context.reporter.track("evaluation") as progress:
        for done, (name, item) in enumerate(judged.items(), start=1):
            _refuse_one_class(item)
            sets[name] = evaluate_set(item, _judging(context, item, cutoffs, nested))
            progress(done, len(judged))
    level = context.study.evaluation.confidence
    found = EvaluationResults(
        sets=sets,
        level=level,
        main=main,
        judged=headline_set({name: item.events for name, item in sets.items()}),
        outcome=cohort.outcome.name,
        event=cohort.outcome.positive,
        unit=cohort.outcome.unit,
        horizons=tuple(float(t) for t in context.study.outcome.horizons),
        before_horizon=context.study.outcome.before_horizon,
        competing=bool(cohort.outcome.n_competing),
        groups=tuple(_groups(context, cohort, predictions, main, cutoffs[main])),
        verdicts=verdicts_of(sets, validated, level, _doubts(described)),
    )
    write_record(folder / FILE, found)

    write_record(folder / "scrutiny.json", scrutiny.of_predictions(context, cohort, judged, main, predictors))
    write_record(folder / "methods.json", _sentences(context, cohort.outcome, found))
    write_json(folder / "checks.json", _checks(predictions, cohort))
    return found


def _doubts(described: Mapping[str, Any]) -> dict[str, list[str]]:
    """What the radiomics score says against itself, of the models that read it, and a model of everything."""
    fitted = {"joint": (described.get("joint") or {}).get("final") or {}, **(described.get("joined") or {})}
    fitted |= described.get("models") or {}
    chance = {name: chance_in(item.get("reason") or "") for name, item in fitted.items()}
    found = {
        name: [f"Of the {name} model, {told}: it is no evidence of a relation."]
        for name, told in chance.items()
        if told
    }
    score = described.get("radiomics") or {}
    if score.get("status") == "ok" and score.get("reason"):
        told = f"Of the radiomics score, {score['reason']}: its risks are shrunk, and it is no evidence of a relation."
        found |= {model: [told] for model in ("radiomics", "combined")}
    return found


def _refuse_one_class(item: JudgedSet) -> None:
    if not item.has_time and not 0 < item.n_events < item.n:
        raise OutcomeError(
            f"The {item.name} predictions cannot be judged: their {item.n} patients have {item.n_events} events.",
            expected="patients with and without the event among those who could be predicted",
            remedy="more patients, fewer folds (modelling.validation.folds), or another split (cohort.split)",
        )


def _judging(context: Context, item: JudgedSet, cutoffs: Mapping[str, float], nested: OutOfFold | None) -> Judging:
    """The study's rules for one set."""
    options, outcome = context.study.evaluation, context.study.outcome
    low, high = options.decision_range
    own = f"{options.risk_groups} (training)" if item.has_time else TRAINING
    further = {f"{value:g}": value for value in options.thresholds}
    return Judging(
        level=options.confidence,
        cutoffs={name: {own: value, **further} for name, value in cutoffs.items()},
        decision=np.round(np.arange(low, high + 1e-9, 0.01), 4),
        rows=partial(_rows, context, item),
        shown=dict(zip(outcome.times, (float(t) for t in outcome.horizons), strict=True)),
        nested=nested if item.kind == "nested" else None,
        risk_at=_risks_by_time(context, item),
        external=item.kind != "apparent",
    )


def _rows(context: Context, item: JudgedSet, horizon: float) -> list[NDArray[np.int64]]:
    """Bootstrap rows of the decision curves; without time each sample has both classes."""
    names = ("decision", item.name, f"{horizon:g}") if item.has_time else ("decision", item.name)
    generator = rng(context.study.seed, *names)
    rows: list[NDArray[np.int64]] = []
    while len(rows) < context.study.evaluation.bootstrap:
        drawn = generator.integers(0, item.n, item.n)
        if item.has_time or 0 < item.classes[drawn].sum() < item.n:
            rows.append(drawn)
    return rows


def _risks_by_time(context: Context, item: JudgedSet) -> dict[str, Callable[[float], Any]]:
    """Risks by any time of the models that know it, of patients whom the frozen models predicted."""
    if not item.has_time or item.kind == "nested":
        return {}
    models = read_regressions(context.out / "modelling")
    known = {name: model for name, model in models.items() if isinstance(model, FrozenCox) and name in item.scores}
    return {name: partial(model.risk_of, item.scores[name]) for name, model in known.items()}


def _groups(context: Context, cohort: Cohort, predictions: Predictions, main: str, cutoff: float) -> list[RiskGroups]:
    """Risk groups of the main model in every set and end point; training patients by risks of fits without them.

    By the apparent ones the groups would look too good.
    """
    results: list[RiskGroups] = []
    if np.isnan(cutoff):
        return results
    study, outcome = context.study, cohort.outcome
    labels = study.survival.groups if study.survival is not None and not outcome.has_time else (LOW, HIGH)
    followed = {outcome.name: outcome} if isinstance(outcome, SurvivalOutcome) else cohort.survival
    for end_point, follow_up in followed.items():
        codes = follow_up.codes
        for name, source in (("training", "nested"), ("validation", "validation"), ("external", "external")):
            item = predictions.judged_set(source, [main])
            if item is None:
                continue
            risk = pd.Series(item.risks[main][max(item.risks[main])], index=item.patients)
            rows = [patient for patient in follow_up.time.index if patient in risk.index]
            if not rows:
                continue
            try:
                found = risk_groups(
                    follow_up.time[rows],
                    codes[rows],
                    risk[rows],
                    cutoff,
                    names=labels,
                    level=study.evaluation.confidence,
                )
            except OutcomeError:
                # All patients on one side of the cut-off, or no event: there is no curve to compare.
                continue
            text = _cutoff_text(context, outcome, item, main, cutoff)
            results.append(replace(found, set=name, end_point=end_point, unit=follow_up.unit, cutoff=text))
    return results


def _cutoff_text(context: Context, outcome: Outcome, item: JudgedSet, main: str, cutoff: float) -> str:
    way = "cross-validated" if item.kind == "nested" else "frozen"
    if not outcome.has_time:
        return f"{way} risk of the {main} model at or above {cutoff:.3f} (Youden's index in training)"
    by = f"by {context.study.outcome.horizons[-1]:g} {outcome.unit}"
    rule = f"{context.study.evaluation.risk_groups}, fixed in training"
    return f"{way} risk of the {main} model {by} at or above {cutoff:.3f} ({rule})"


def _sentences(context: Context, outcome: Outcome, found: EvaluationResults) -> list[Sentence]:
    texts = _of_follow_up(context, outcome) if outcome.has_time else _without_time(context)
    others = [name for name in found.sets if name not in ("training", found.judged)]
    if found.judged in ("external", "validation") and others:
        texts.append((f"Models are judged first by the {found.judged} set, which no model had seen.", []))
    sentences = [Sentence("evaluation", text, keys) for text, keys in texts]
    if outcome.has_time and "nested" in found.sets:
        nested = (
            "Training patients were grouped, and judged in the cross-validated rows of the tables, by the mean risk "
            "over the repeats of models that had not seen them."
        )
        sentences.append(Sentence("evaluation", nested, detail=True))
    return sentences


def _without_time(context: Context) -> list[tuple[str, list[str]]]:
    options = context.study.evaluation
    delong = f"Discrimination was measured by the AUC with DeLong's {level_text(options.confidence)} interval"
    paired = "; AUCs of the same patients were compared by DeLong's paired test [@delong]."
    compared = (
        f"{paired} The AUC of nested "
        "cross-validation is the mean over the repeats of the AUC within folds; its variance is DeLong's within folds "
        "[@ledell] plus that between the repeats, and models were compared by the differences within folds in the same "
        "way."
    )
    first = (delong + compared, ["delong", "ledell"])
    if context.models:  # nothing is fitted to patients of another hospital
        first = (delong + (paired if len(context.models) > 1 else " [@delong]."), ["delong"])
    return [
        first,
        (
            "Calibration was judged by the slope, the intercept (slope fixed at 1), a loess curve with its integrated "
            "calibration index [@ici], and the Hosmer-Lemeshow test.",
            ["ici"],
        ),
        (
            "Cut-offs were fixed in the training set by Youden's index; sensitivity, specificity and predictive values "
            "have exact (Clopper-Pearson) intervals. Net benefit was plotted with percentile bands of "
            f"{options.bootstrap} bootstrap samples [@dca].",
            ["dca"],
        ),
    ]


def _of_follow_up(context: Context, outcome: Outcome) -> list[tuple[str, list[str]]]:
    options = context.study.evaluation
    percent, at = level_text(options.confidence), f"{horizon_text(context)} {outcome.unit}"
    estimator = "Aalen-Johansen" if outcome.n_competing else "Kaplan-Meier"
    compared = (
        "cumulative incidence (Aalen-Johansen) and the subdistribution hazard ratio."
        if outcome.n_competing
        else "Kaplan-Meier curves, the log-rank test and the hazard ratio [@kaplan-meier]."
    )
    texts = [
        f"Discrimination was measured by Harrell's C with {percent} limits by the infinitesimal jackknife "
        f"[@harrell-c], and by the cumulative/dynamic AUC at {at}, weighted by the inverse probability of "
        "censoring; models were compared on the same patients by their influence functions [@timeroc].",
        "Calibration at each horizon was judged by the observed over the expected risk, by the slope of the "
        "complementary log-log risk, and by a loess curve of pseudo-values with its integrated calibration index "
        "[@mclernon]. Accuracy was measured by the Brier score and, from time 0 to the last horizon, by its integral "
        "[@graf].",
        f"Net benefit at each horizon was computed with the {estimator} "
        f"estimate of the event rate, with percentile bands of {options.bootstrap} bootstrap samples [@survival-dca].",
        f"Groups of risk were compared by {compared} Follow-up is the reverse Kaplan-Meier median [@schemper].",
    ]
    return [(text, []) for text in texts]


def _checks(predictions: Predictions, cohort: Cohort) -> list[dict[str, Any]]:
    """What the run checks of itself."""
    table = predictions.table
    frozen = set(table.loc[table["kind"] == "frozen", "patient"])
    training = set(table.loc[table["kind"] == "apparent", "patient"])
    per_fold = table[table["kind"] == "nested"].groupby(["repeat", "model", "horizon"])["patient"]
    once = bool((per_fold.count() == per_fold.nunique()).all())
    missing = int(table.loc[table["horizon"] == table["horizon"].max(), "risk"].isna().sum())
    counted = len(training | frozen) == len(cohort.patients)
    return [
        {
            "name": "No patient is in training and validation",
            "passed": not training & frozen,
            "message": f"{len(training)} training, {len(frozen)} validation patients, {len(training & frozen)} in both",
        },
        {
            "name": "Every included patient has a prediction",
            "passed": counted,
            "message": f"{len(training | frozen)} of {len(cohort.patients)}",
        },
        {
            "name": "In nested cross-validation each patient is predicted once a repeat",
            "passed": once,
            "message": "by models that were fitted without the patient",
        },
        {
            "name": f"No prediction{' at the main horizon' if predictions.has_time else ''} is missing",
            "passed": missing == 0,
            "message": f"{missing} missing" if missing else "none missing",
        },
    ]


STAGE = Stage(
    name="evaluation",
    title="discrimination, calibration, net benefit, comparisons",
    module=__name__,
    run=write,
    settings=lambda context: study_parts(context, "seed", "evaluation", "survival"),
    cost=lambda context: Cost(20.0, 4e8),
    needs=("cohort", "modelling"),
)
