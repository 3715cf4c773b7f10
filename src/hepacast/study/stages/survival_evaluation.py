"""Stage 5 for a time-to-event outcome: how good each model's risks are, set by set and horizon by horizon."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hepacast.cohort import Cohort, SurvivalOutcome
from hepacast.core.files import read_json, write_json
from hepacast.core.seeds import rng
from hepacast.errors import HepacastError
from hepacast.evaluation.survival_accuracy import integrated_score, observed_risk, roc_at, survival_auc, survival_brier
from hepacast.evaluation.survival_calibration import calibrate_at
from hepacast.evaluation.survival_decision_bands import SurvivalDecision, survival_decisions
from hepacast.evaluation.survival_groups import survival_groups
from hepacast.evaluation.time_dependent import HorizonEstimate, compare_auc_at
from hepacast.evaluation.validated import verdicts_of
from hepacast.modelling.frozen_cox import FrozenCox
from hepacast.modelling.frozen_models import FrozenModels
from hepacast.modelling.predictions import JudgedSet, Predictions
from hepacast.modelling.validation import OutOfFold
from hepacast.stats.competing_risks import cumulative_incidence, never_after_competing
from hepacast.stats.cox_checks import Concordance, compare_concordance, concordance
from hepacast.stats.kaplan_meier import kaplan_meier
from hepacast.study.context import Context
from hepacast.study.stages import survival_scrutiny
from hepacast.study.stages.survival_modelling import load_survival
from hepacast.study.stages.survival_sentences import evaluation_sentences

Array = NDArray[np.float64]


def write(context: Context, folder: Path) -> None:
    """Run the stage."""
    predictions = Predictions.read(context.out / "modelling" / "predictions.parquet")
    frozen = FrozenModels.from_dict(read_json(context.out / "modelling" / "frozen.json"))
    analysis = load_survival(context)
    cohort = analysis.cohort
    assert isinstance(cohort.outcome, SurvivalOutcome)
    judged = predictions.judged(frozen.names)
    nested = OutOfFold.of(predictions)
    sets: dict[str, Any] = {}
    with context.reporter.track("evaluation") as progress:
        for done, (name, item) in enumerate(judged.items(), start=1):
            sets[name] = evaluate_set(context, item, frozen, nested if item.kind == "nested" else None)
            progress(done, len(judged))
    write_json(folder / "survival.json", _head(context, cohort.outcome) | {"sets": sets})
    found = survival_scrutiny.of_predictions(context, analysis, frozen, judged)
    write_json(folder / "survival_scrutiny.json", found)
    groups = _groups(context, cohort.outcome, frozen, judged)
    level = context.study.evaluation.confidence
    validated = read_json(context.out / "modelling" / "survival_validation.json")["models"]
    found_against = verdicts_of(sets, validated, level)
    content = {"confidence": level, "sets": {}, "verdicts": found_against, "survival": groups}
    write_json(folder / "evaluation.json", content)
    write_json(folder / "methods.json", evaluation_sentences(context, cohort.outcome, sets))
    write_json(folder / "checks.json", _checks(predictions.table, cohort))


def _head(context: Context, outcome: SurvivalOutcome) -> dict[str, Any]:
    return {
        "end_point": outcome.name,
        "event": outcome.positive,
        "unit": outcome.unit,
        "horizons": list(context.study.outcome.horizons),
        "before_horizon": context.study.outcome.before_horizon,
        "competing": bool(outcome.n_competing),
        "confidence": context.study.evaluation.confidence,
    }


def evaluate_set(
    context: Context, item: JudgedSet, frozen: FrozenModels, nested: OutOfFold | None = None
) -> dict[str, Any]:
    """Everything about one set; a measure that cannot be told is null with its reason beside it.

    Different fits have no common scale: C and its comparisons of cross-validated patients are those within the folds of
    every repeat (`nested`), not those of each patient's mean risk.
    """
    options = context.study.evaluation
    level = options.confidence
    shown = dict(zip(frozen.horizons, context.study.outcome.horizons, strict=True))
    follow = kaplan_meier(item.times, (item.codes == 0).astype(float), level=level).median
    times, events = never_after_competing(item.times, item.codes)
    c: dict[str, Concordance | str] = {
        name: _try(partial(concordance, times, events, score)) for name, score in item.scores.items()
    }
    aucs: dict[tuple[str, float], HorizonEstimate | str] = {
        (name, t): _try(partial(survival_auc, item.times, item.codes, values, t))
        for name, by_time in item.risks.items()
        for t, values in by_time.items()
    }
    decisions = {t: _decisions(context, item, t) for t in frozen.horizons}
    models = {}
    for name in frozen.names:
        rows = [
            _at_horizon(item, name, t, shown[t], aucs[name, t], decisions[t], level)
            for t in frozen.horizons
            if t in item.risks[name]
        ]
        models[name] = {
            "c": _interval_of(c[name], level) if nested is None else _nested_c(nested, name, level),
            "ibs": _integrated(item, frozen, name),
            "horizons": rows,
        }
    return {
        "n": len(item.times),
        "events": int((item.codes == 1).sum()),
        "competing": int((item.codes == 2).sum()),
        "kind": item.kind,
        "follow_up": {"median": follow[0], "low": follow[1], "high": follow[2]},
        "states": [_states(item, t, shown[t], level) for t in frozen.horizons],
        "models": models,
        "comparisons": _comparisons(frozen, c, aucs, shown, level, nested),
        "treat_all": [
            {"time": shown[t], "thresholds": found.thresholds, "net_benefit": found.treat_all, "rate": found.event_rate}
            for t, found in decisions.items()
            if isinstance(found, SurvivalDecision)
        ],
    }


def _try(work: Callable[[], Any]) -> Any:
    """A result, or in words why there is none."""
    try:
        return work()
    except (HepacastError, np.linalg.LinAlgError) as error:
        message = getattr(error, "message", str(error))
        found = getattr(error, "found", None)
        return f"{str(message).rstrip('.')}" + (f" ({found})" if found else "")


def _interval_of(found: Any, level: float) -> dict[str, Any]:
    if isinstance(found, str):
        return {"value": float("nan"), "low": float("nan"), "high": float("nan"), "reason": found}
    value = found.c if isinstance(found, Concordance) else found.value
    low, high = found.interval(level)
    return {"value": value, "low": low, "high": high, "se": found.se}


def _nested_c(nested: OutOfFold, model: str, level: float) -> dict[str, Any]:
    found = nested.estimate(model, level)
    entry = {key: found[key] for key in ("value", "low", "high", "se")}
    return entry if np.isfinite(found["value"]) else entry | {"reason": "no fold could be judged"}


def _states(item: JudgedSet, t: float, shown: float, level: float) -> dict[str, Any]:
    value, low, high = observed_risk(item.times, item.codes, t, level)
    return {
        "time": shown,
        "events": int(((item.times <= t) & (item.codes == 1)).sum()),
        "competing": int(((item.times <= t) & (item.codes == 2)).sum()),
        "censored": int(((item.times <= t) & (item.codes == 0)).sum()),
        "free": int((item.times > t).sum()),
        "risk": {"value": value, "low": low, "high": high},
    }


def _at_horizon(
    item: JudgedSet, name: str, t: float, shown: float, auc: Any, decision: Any, level: float
) -> dict[str, Any]:
    risk = item.risks[name][t]
    brier = _try(lambda: survival_brier(item.times, item.codes, risk, t))
    null = observed_risk(item.times, item.codes, t)[0]
    reference = _try(lambda: survival_brier(item.times, item.codes, np.full(len(risk), null), t))
    fit = _try(lambda: calibrate_at(item.times, item.codes, risk, t, level=level))
    known = isinstance(brier, HorizonEstimate) and isinstance(reference, HorizonEstimate)
    curve = _try(lambda: roc_at(item.times, item.codes, risk, t))
    benefit = decision.models.get(name) if isinstance(decision, SurvivalDecision) else None
    return {
        "time": shown,
        "auc": _interval_of(auc, level),
        "roc": None if isinstance(curve, str) else {"fpr": curve[0], "tpr": curve[1]},
        "brier": _interval_of(brier, level),
        "brier_null": reference.value if known else float("nan"),
        "brier_scaled": 1 - brier.value / reference.value if known else float("nan"),
        "calibration": {"reason": fit} if isinstance(fit, str) else fit.to_json(),
        "decision": None
        if benefit is None
        else {
            "thresholds": decision.thresholds,
            "net_benefit": benefit.net_benefit,
            "low": benefit.low,
            "high": benefit.high,
            "useful_range": decision.useful_range(name),
        },
        "risks": risk,
    }


def _decisions(context: Context, item: JudgedSet, t: float) -> SurvivalDecision | str:
    options = context.study.evaluation
    low, high = options.decision_range
    thresholds = np.round(np.arange(low, high + 1e-9, 0.01), 4)
    generator = rng(context.study.seed, "decision", item.name, f"{t:g}")
    n = len(item.times)
    resamples = [generator.integers(0, n, n) for _ in range(options.bootstrap)]
    risks = {name: by_time[t] for name, by_time in item.risks.items() if t in by_time}
    found: SurvivalDecision | str = _try(
        lambda: survival_decisions(
            item.times, item.codes, risks, t, thresholds, resamples=resamples, level=options.confidence
        )
    )
    return found


def _integrated(item: JudgedSet, frozen: FrozenModels, name: str) -> dict[str, float] | None:
    """Integrated Brier score to the main horizon, of a model that knows every time, beside that of no model."""
    model = frozen.model(name)
    if item.kind == "nested" or not isinstance(model, FrozenCox):
        return None
    end = frozen.main_horizon
    grid = np.unique(item.times[(item.codes == 1) & (item.times <= end)])
    if not len(grid) or not (item.times > end).any():
        return None
    risks = np.column_stack([model.risk_of(item.scores[name], t) for t in grid])
    curve = cumulative_incidence(item.times, item.codes)
    null = np.repeat(curve.at(grid)[None, :], len(item.times), axis=0)
    value = integrated_score(item.times, item.codes, risks, grid, end)
    reference = integrated_score(item.times, item.codes, null, grid, end)
    return {"value": value, "null": reference, "scaled": 1 - value / reference if reference > 0 else float("nan")}


def _comparisons(
    frozen: FrozenModels,
    c: dict[str, Any],
    aucs: dict[tuple[str, float], Any],
    shown: dict[float, float],
    level: float,
    nested: OutOfFold | None,
) -> list[dict[str, Any]]:
    """Differences of C (nested: within folds) and of AUC(t) of every two models of the same patients."""
    from scipy.stats import norm

    z_level = float(norm.ppf(0.5 + level / 2))
    rows = []

    def row(
        first: str, second: str, measure: str, time: float | None, found: tuple[float, float, float, float]
    ) -> None:
        difference, se, z, p = found
        rows.append(
            {
                "first": first,
                "second": second,
                "measure": measure,
                "time": time,
                "difference": {
                    "value": difference,
                    "low": difference - z_level * se,
                    "high": difference + z_level * se,
                },
                "z": z,
                "p": p,
            }
        )

    for first, second in combinations(frozen.names[::-1], 2):
        if nested is not None:
            found = nested.compare(first, second, level)
            limits = {key: found[key] for key in ("value", "low", "high")}
            entry: dict[str, Any] = {"first": first, "second": second, "measure": "C", "time": None}
            rows.append(entry | {"difference": limits, "z": found["z"], "p": found["p"]})
        elif isinstance(c[first], Concordance) and isinstance(c[second], Concordance):
            row(first, second, "C", None, compare_concordance(c[first], c[second]))
        for t in frozen.horizons:
            one, two = aucs.get((first, t)), aucs.get((second, t))
            if isinstance(one, HorizonEstimate) and isinstance(two, HorizonEstimate):
                row(first, second, "AUC", shown[t], compare_auc_at(one, two))
    return rows


def _groups(
    context: Context, outcome: SurvivalOutcome, frozen: FrozenModels, judged: dict[str, JudgedSet]
) -> list[dict[str, Any]]:
    """Risk groups of the main model in every set; training patients by risks of models that did not see them."""
    main = frozen.names[-1]
    cut = frozen.cutoffs[main]
    results: list[dict[str, Any]] = []
    if not np.isfinite(cut):
        return results
    for name, source in (("training", "nested"), ("validation", "validation"), ("external", "external")):
        item = judged.get(source)
        if item is None:
            continue
        risk = item.risks[main][frozen.main_horizon]
        level = context.study.evaluation.confidence
        found = _try(partial(survival_groups, item.times, item.codes, risk, cut, level=level))
        if isinstance(found, str):
            # All patients on one side of the cut-off: there is no curve to compare.
            continue
        way = "cross-validated" if source == "nested" else "frozen"
        text = (
            f"{way} risk of the {main} model by {context.study.outcome.horizons[-1]:g} {outcome.unit} at or above "
            f"{cut:.3f} ({context.study.evaluation.risk_groups}, fixed in training)"
        )
        results.append(
            {"set": name, "end_point": outcome.name, "unit": outcome.unit, "cutoff": text, **found.to_json()}
        )
    return results


def _checks(predictions: pd.DataFrame, cohort: Cohort) -> list[dict[str, Any]]:
    """What the run checks of itself."""
    frozen = set(predictions.loc[predictions["kind"] == "frozen", "patient"])
    training = set(predictions.loc[predictions["kind"] == "apparent", "patient"])
    nested = predictions[predictions["kind"] == "nested"]
    counts = nested.groupby(["repeat", "model", "horizon"])["patient"]
    once = bool((counts.count() == counts.nunique()).all())
    judged = predictions[predictions["horizon"] == predictions["horizon"].max()]
    missing = int(judged["risk"].isna().sum())
    both = training & frozen
    return [
        {
            "name": "No patient is in training and validation",
            "passed": not both,
            "message": f"{len(training)} training, {len(frozen)} validation patients, {len(both)} in both",
        },
        {
            "name": "Every included patient has a prediction",
            "passed": len(training | frozen) == len(cohort.patients),
            "message": f"{len(training | frozen)} of {len(cohort.patients)}",
        },
        {
            "name": "In nested cross-validation each patient is predicted once a repeat",
            "passed": once,
            "message": "by models that were fitted without the patient",
        },
        {
            "name": "No prediction at the main horizon is missing",
            "passed": missing == 0,
            "message": f"{missing} missing" if missing else "none missing",
        },
    ]
