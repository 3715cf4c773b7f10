"""Stage 5, evaluation: how good each model's predictions are, set by set, and how the models compare."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hepacast.cohort import Cohort
from hepacast.core.files import read_json, write_json
from hepacast.core.seeds import rng
from hepacast.errors import OutcomeError
from hepacast.evaluation.calibration import Calibration, calibration
from hepacast.evaluation.decision import DecisionCurves, decision_curves
from hepacast.evaluation.delong import delong_test
from hepacast.evaluation.reclassification import idi, nri
from hepacast.evaluation.risk_groups import risk_groups
from hepacast.evaluation.roc import roc
from hepacast.evaluation.thresholds import MEASURES, ThresholdRow, at_threshold
from hepacast.evaluation.validated import verdicts_of
from hepacast.modelling.predictions import Predictions
from hepacast.modelling.validation import OutOfFold
from hepacast.stats.intervals import level_text
from hepacast.study.analysis_set import analysis_cohort
from hepacast.study.context import Context
from hepacast.study.stage import Cost, Stage, study_parts
from hepacast.study.stages import scrutiny

#: Names of the sets in the results, and what kind of predictions they hold.
SETS = {"training": "apparent", "validation": "frozen", "external": "frozen", "nested": "nested"}


def write(context: Context, folder: Path) -> None:
    """Run the stage."""
    if context.study.outcome.definition == "survival":
        from hepacast.study.stages import survival_evaluation

        survival_evaluation.write(context, folder)
        return
    predictions = Predictions.read(context.out / "modelling" / "predictions.parquet").table
    described = read_json(context.out / "modelling" / "models.json")
    cutoffs = {name: np.nan if value is None else float(value) for name, value in described["cutoffs"].items()}
    names, main = list(described["names"]), str(described["main"])
    nested = nested_of(predictions)
    sets = {}
    tables: dict[str, pd.DataFrame] = {}
    with context.reporter.track("evaluation") as progress:
        for done, (name, kind) in enumerate(SETS.items(), start=1):
            table = risk_table(predictions, kind, names, name)
            if table is not None:
                tables[name] = table
                sets[name] = _evaluate(context, table, names, cutoffs, name, kind, nested)
            progress(done, len(SETS))
    cohort = analysis_cohort(context)
    validated = read_json(context.out / "modelling" / "validation.json")["models"]
    content = {
        "confidence": context.study.evaluation.confidence,
        "sets": sets,
        "verdicts": verdicts_of(sets, validated, context.study.evaluation.confidence),
        "survival": _survival(context, cohort, predictions, main, cutoffs[main]),
    }
    write_json(folder / "evaluation.json", content)
    write_json(folder / "scrutiny.json", scrutiny.of_predictions(context, cohort, tables, main))
    write_json(folder / "methods.json", _sentences(context))
    write_json(folder / "checks.json", _checks(predictions, cohort))


def nested_of(predictions: pd.DataFrame) -> OutOfFold | None:
    """The nested cross-validation that a table of predictions holds; None where it was not run."""
    return OutOfFold.of(Predictions(predictions))


def risk_table(
    predictions: pd.DataFrame, kind: str, names: list[str], set_name: str | None = None
) -> pd.DataFrame | None:
    """Outcome and one risk a model by patient; nested predictions are the mean over repeats.

    That mean is what curves, cut-offs and calibration are drawn of. It is the prediction of no single fit, so that AUCs
    and their comparisons are those of the repeats (`OutOfFold.auc`, `OutOfFold.compare`).

    A set that is named limits frozen predictions to its patients: a study may have two sets that no model sees.

    A patient whose nested prediction failed in every repeat is left out; the validation table counts failed fits.
    """
    part = predictions[predictions["kind"] == kind]
    if kind == "frozen" and set_name is not None:
        part = part[part["set"] == set_name]
    if part.empty:
        return None
    risks = part.groupby(["patient", "model"], sort=True)["risk"].mean().unstack()[names]
    outcome = part.groupby("patient", sort=True)["outcome"].first()
    return risks.assign(outcome=outcome).dropna()


def _evaluate(
    context: Context,
    table: pd.DataFrame,
    names: list[str],
    cutoffs: dict[str, float],
    name: str,
    kind: str,
    nested: OutOfFold | None,
) -> dict[str, Any]:
    options = context.study.evaluation
    repeated = nested if kind == "nested" else None
    y = table["outcome"].to_numpy(dtype=int)
    risks = {model: table[model].to_numpy(dtype=float) for model in names}
    decisions = _decisions(context, y, risks, name)
    models = {
        model: _model(y, risks[model], cutoffs[model], options.thresholds, options.confidence, decisions, model, kind)
        for model in names
    }
    if repeated is not None:
        for model, entry in models.items():
            entry["auc"] = repeated.to_json(model, options.confidence)["auc"]
    return {
        "n": len(y),
        "events": int(y.sum()),
        "kind": kind,
        "models": models,
        "repeats": 1 if repeated is None else repeated.repeats,
        "comparisons": [
            _compare(y, risks, pair, options.confidence, repeated) for pair in combinations(names[::-1], 2)
        ],
        "treat_all": {"thresholds": decisions.thresholds, "net_benefit": decisions.treat_all},
    }


def _decisions(context: Context, y: np.ndarray, risks: dict[str, np.ndarray], name: str) -> DecisionCurves:
    options = context.study.evaluation
    if not 0 < y.sum() < len(y):
        raise OutcomeError(
            f"The {name} predictions cannot be judged: their {len(y)} patients have {int(y.sum())} events.",
            expected="patients with and without the event among those who could be predicted",
            remedy="more patients, fewer folds (modelling.validation.folds), or another split (cohort.split)",
        )
    low, high = options.decision_range
    thresholds = np.round(np.arange(low, high + 1e-9, 0.01), 4)
    generator = rng(context.study.seed, "decision", name)
    rows: list[np.ndarray] | None = None
    if options.bootstrap:
        rows = []
        while len(rows) < options.bootstrap:
            drawn = generator.integers(0, len(y), len(y))
            if 0 < y[drawn].sum() < len(y):
                rows.append(drawn)
    return decision_curves(y, risks, thresholds, indices=rows, level=options.confidence)


def _model(
    y: np.ndarray,
    risk: np.ndarray,
    cutoff: float,
    further: list[float],
    level: float,
    decisions: DecisionCurves,
    name: str,
    kind: str,
) -> dict[str, Any]:
    curve = roc(y, risk, level=level)
    fit = calibration(y, risk, level=level, external=kind != "apparent")
    thresholds = [("Youden (training)", cutoff), *((f"{value:g}", value) for value in further)]
    benefit = decisions.models[name]
    return {
        "auc": {"value": curve.auc, "low": curve.auc_ci[0], "high": curve.auc_ci[1], "se": curve.se},
        "status": curve.status,
        "reason": curve.reason or None,
        "roc": {"fpr": (1 - curve.specificity)[::-1], "tpr": curve.sensitivity[::-1]},
        "brier": fit.brier,
        "brier_scaled": fit.brier_scaled,
        "calibration": _calibration(fit),
        "thresholds": [
            _threshold(label, at_threshold(y, risk, value, level=level))
            for label, value in thresholds
            if value == value
        ],
        "decision": {
            "thresholds": benefit.thresholds,
            "net_benefit": benefit.net_benefit,
            "low": benefit.low,
            "high": benefit.high,
            "useful_range": decisions.useful_range(name),
        },
        "risks": risk,
        "outcomes": y,
    }


def _calibration(fit: Calibration) -> dict[str, Any]:
    def estimate(item: Any) -> dict[str, float]:
        return {"value": item.estimate, "low": item.ci[0], "high": item.ci[1]}

    test = fit.hosmer_lemeshow
    return {
        "intercept": estimate(fit.citl),
        "slope": estimate(fit.slope),
        "observed_expected": {
            "value": fit.observed_expected,
            "low": fit.observed_expected_ci[0],
            "high": fit.observed_expected_ci[1],
        },
        "ici": fit.ici,
        "e50": fit.e50,
        "e90": fit.e90,
        "groups": [
            {
                "predicted": group.predicted,
                "observed": group.observed.estimate,
                "low": group.observed.low,
                "high": group.observed.high,
                "n": group.n,
            }
            for group in fit.groups
        ],
        "smooth": None
        if fit.curve is None
        else {"x": fit.curve.predicted, "y": fit.curve.observed, "low": fit.curve.low, "high": fit.curve.high},
        "hosmer_lemeshow": {"statistic": test.statistic, "df": int(test.df), "p": test.p} if test.ok else None,
        "notes": list(fit.notes),
    }


def _threshold(label: str, row: ThresholdRow) -> dict[str, Any]:
    shares = {name: getattr(row, name) for name in MEASURES}
    return {
        "name": label,
        "threshold": row.threshold,
        **{name: {"value": item.estimate, "low": item.low, "high": item.high} for name, item in shares.items()},
        "tp": row.tp,
        "fp": row.fp,
        "tn": row.tn,
        "fn": row.fn,
    }


def _compare(
    y: np.ndarray, risks: dict[str, np.ndarray], pair: tuple[str, str], level: float, nested: OutOfFold | None
) -> dict[str, Any]:
    """Paired DeLong test, of nested predictions within folds; reclassification of the second model's patients."""
    first, second = pair
    if nested is None:
        found = delong_test(y, risks[first], risks[second], level=level)
        test = {"value": found.difference, "low": found.ci[0], "high": found.ci[1], "z": found.statistic, "p": found.p}
    else:
        test = nested.compare(first, second, level)
    reclassified, improvement = (
        nri(y, risks[second], risks[first], level=level),
        idi(y, risks[second], risks[first], level=level),
    )
    return {
        "first": first,
        "second": second,
        "difference": {key: test[key] for key in ("value", "low", "high")},
        "z": test["z"],
        "p": test["p"],
        "nri": reclassified.to_json(),
        "idi": improvement.to_json(),
    }


def _survival(
    context: Context, cohort: Cohort, predictions: pd.DataFrame, model: str, cutoff: float
) -> list[dict[str, Any]]:
    """Kaplan-Meier by risk group of the main model, in every set of which follow-up is known.

    Training patients are grouped by their nested predictions: by the apparent ones the groups would look too good.
    """
    results: list[dict[str, Any]] = []
    level = context.study.evaluation.confidence
    labels = context.study.survival.groups if context.study.survival is not None else ("low risk", "high risk")
    if cutoff != cutoff:
        return results
    for end_point, follow_up in cohort.survival.items():
        for name, kind in (("training", "nested"), ("validation", "frozen"), ("external", "frozen")):
            table = risk_table(predictions, kind, [model], name)
            if table is None:
                continue
            rows = [p for p in follow_up.time.index if p in table.index]
            if not rows:
                continue
            try:
                groups = risk_groups(
                    follow_up.time[rows],
                    follow_up.event[rows],
                    table.loc[rows, model],
                    cutoff,
                    names=labels,
                    level=level,
                )
            except OutcomeError:
                # All patients on one side of the cut-off, or no event: there is no curve to compare.
                continue
            results.append(_km(groups.to_json(), name, kind, end_point, follow_up.unit, model))
    return results


def _km(item: dict[str, Any], name: str, kind: str, end_point: str, unit: str, model: str) -> dict[str, Any]:
    way = "cross-validated" if kind == "nested" else "frozen"
    ratio = item["hazard_ratio"]
    return {
        "set": name,
        "end_point": end_point,
        "unit": unit,
        "groups": [
            {
                "name": group["name"],
                "n": group["n"],
                "events": group["events"],
                "time": group["time"],
                "survival": group["survival"],
                "low": group["lower"],
                "high": group["upper"],
                "censored": group["censored"],
                "median": group["median"][0],
            }
            for group in item["groups"]
        ],
        "at_risk_times": item["at_risk_times"],
        "at_risk": {group["name"]: group["at_risk"] for group in item["groups"]},
        "p": item["log_rank"]["p"],
        "cutoff": f"{way} risk of the {model} model at or above {item['cut']:.3f} (Youden's index in training)",
        "hazard_ratio": None
        if ratio is None
        else {"value": ratio["hr"], "low": ratio["lower"], "high": ratio["upper"]},
        "concordance": item["concordance"],
    }


def _sentences(context: Context) -> list[dict[str, Any]]:
    options = context.study.evaluation
    percent = level_text(options.confidence)
    texts = [
        (
            f"Discrimination was measured by the AUC with DeLong's {percent} interval; AUCs of the same patients were "
            "compared by DeLong's paired test [@delong]. The AUC of nested cross-validation is the mean over the "
            "repeats of the AUC within folds; its variance is DeLong's within folds [@ledell] plus that between the "
            "repeats, and models were compared by the differences within folds in the same way.",
            ["delong", "ledell"],
        ),
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
    return [{"stage": "evaluation", "text": text, "citations": keys} for text, keys in texts]


def _checks(predictions: pd.DataFrame, cohort: Cohort) -> list[dict[str, Any]]:
    """What the run checks of itself."""
    frozen = set(predictions.loc[predictions["kind"] == "frozen", "patient"])
    training = set(predictions.loc[predictions["kind"] == "apparent", "patient"])
    per_fold = predictions[predictions["kind"] == "nested"].groupby(["repeat", "model"])["patient"]
    once = bool((per_fold.count() == per_fold.nunique()).all())
    missing = int(predictions["risk"].isna().sum())
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
            "name": "No prediction is missing",
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
