"""What a reviewer asks next of a time-to-event study; see `scrutiny`, whose two files these are the like of.

`modelling/survival_scrutiny.json` (refits: leave one center out, learning curve, permutation importance) and
`evaluation/survival_scrutiny.json` (predictions only: subgroups, recalibration in new cohorts, conformal sets).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import clone

from hepacast.core.seeds import derive_seed
from hepacast.errors import HepacastError
from hepacast.evaluation.conformal import ConformalRule, ConformalSet, conformal_at
from hepacast.evaluation.survival_accuracy import state_weights
from hepacast.evaluation.survival_calibration import calibrate_at
from hepacast.evaluation.survival_recalibration import recalibrate_hazard
from hepacast.evaluation.survival_subgroups import MIN_EVENTS, survival_performance, survival_subgroups
from hepacast.modelling.frozen_cox import FrozenCox
from hepacast.modelling.frozen_models import FrozenModels
from hepacast.modelling.importance import learning_curve, permutation_importance
from hepacast.modelling.survival_models import SurvivalModels
from hepacast.modelling.targets import follow_up
from hepacast.modelling.validation import leave_one_center_out
from hepacast.study.context import Context
from hepacast.study.stages.scrutiny import groupings

if TYPE_CHECKING:
    from hepacast.study.stages.survival_evaluation import JudgedSet
    from hepacast.study.stages.survival_modelling import SurvivalAnalysis

_SHARES = (0.4, 0.6, 0.8, 1.0)


def of_models(context: Context, analysis: SurvivalAnalysis, models: SurvivalModels) -> dict[str, Any]:
    """The content of ``modelling/survival_scrutiny.json``; what was left out says why."""
    x, y = analysis.part("training")
    rules = context.study.modelling.validation
    return {
        "horizon": context.study.outcome.horizons[-1],
        "centers": _centers(context, analysis, models) if rules.centers else _left("not asked for"),
        "learning_curve": _learning(context, models, x, y) if rules.learning_curve else _left("not asked for"),
        "importance": _importance(context, models, x, y) if rules.importance else _left("not asked for"),
    }


def _left(reason: str) -> dict[str, Any]:
    return {"rows": [], "reason": reason}


def _centers(context: Context, analysis: SurvivalAnalysis, models: SurvivalModels) -> dict[str, Any]:
    """Each center predicted by models of the others, all analysed patients of the study together."""
    sites = analysis.cohort.centers.reindex(analysis.table.index)
    known = sites.notna() & (sites.astype(str) != "")
    codes = analysis.outcome.codes.loc[analysis.table.index]
    usable = [name for name, part in codes[known].groupby(sites[known]) if int((part == 1).sum()) >= MIN_EVENTS]
    if len(usable) < 2:
        return _left(f"fewer than two centers with {MIN_EVENTS} events")
    if context.study.modelling.harmonize == "combat" and len(usable) < 3:
        return _left("differences between centers cannot be removed when only one is left to train on")
    rows = sites.isin(usable).to_numpy()
    times = analysis.outcome.time.loc[analysis.table.index]
    with context.reporter.track("leave one center out") as progress:
        found = leave_one_center_out(
            models,
            analysis.table[rows],
            follow_up(times[rows], codes[rows]),
            sites[rows],
            workers=context.workers,
            progress=progress,
        )
    level, main = context.study.evaluation.confidence, float(models.horizons[-1])
    judged = found.predictions[np.isclose(found.predictions["horizon"], main)]
    table = []
    for (model, fold), part in judged.groupby(["model", "fold"], sort=False):
        time, event, score, risk = (
            part[name].to_numpy(dtype=float) for name in ("time", "event", "linear_predictor", "risk")
        )
        row = survival_performance(time, event, score, risk, main, level=level)
        table.append({"model": model, "center": found.labels[int(str(fold))], **row})
    return {"rows": table, "reason": "; ".join(f"{f['fold']}: {f['reason']}" for f in found.failures)}


def _learning(context: Context, models: SurvivalModels, x: pd.DataFrame, y: np.ndarray) -> dict[str, Any]:
    rules = context.study.modelling.validation
    with context.reporter.track("learning curve") as progress:
        table = learning_curve(
            models,
            x,
            y,
            _SHARES,
            folds=rules.folds,
            repeats=rules.learning_curve,
            seed=derive_seed(context.study.seed, "learning"),
            workers=context.workers,
            progress=progress,
        )
    return {"rows": table.to_dict("records"), "reason": None}


def _importance(context: Context, models: SurvivalModels, x: pd.DataFrame, y: np.ndarray) -> dict[str, Any]:
    rules = context.study.modelling.validation
    with context.reporter.track("importance in held-out folds") as progress:
        try:
            table = permutation_importance(
                clone(models),
                x,
                y,
                folds=rules.folds,
                shuffles=rules.importance,
                seed=derive_seed(context.study.seed, "importance"),
            )
        except HepacastError as error:
            return _left(error.message)
        progress(1, 1)
    used = table[(table["loss"] != 0) | (table["sd"] != 0)]
    return {"rows": used.to_dict("records"), "reason": None if len(used) else "no model uses any predictor"}


def of_predictions(
    context: Context, analysis: SurvivalAnalysis, frozen: FrozenModels, judged: dict[str, JudgedSet]
) -> dict[str, Any]:
    """The content of ``evaluation/survival_scrutiny.json`` for the main model."""
    model = frozen.names[-1]
    new = {name: item for name, item in judged.items() if item.kind == "frozen"}
    # The set that travels farthest is the one to look into.
    where = next((name for name in ("external", "validation", "nested") if name in judged), None)
    return {
        "model": model,
        "horizon": context.study.outcome.horizons[-1],
        "subgroups": _subgroups(context, analysis, frozen, judged.get(where or ""), model) | {"set": where or ""},
        "recalibration": [_recalibration(context, analysis, frozen, item, model) for item in new.values()],
        "conformal": _conformal(context, frozen, judged.get("nested"), new, model),
    }


def _subgroups(
    context: Context, analysis: SurvivalAnalysis, frozen: FrozenModels, item: JudgedSet | None, model: str
) -> dict[str, Any]:
    if item is None:
        return _left("there are no predictions to judge")
    labels = groupings(context, analysis.cohort, item.patients)
    if not labels:
        return _left("no column with groups (evaluation.subgroups)")
    risk = item.risks[model][frozen.main_horizon]
    found = survival_subgroups(
        item.times,
        item.codes,
        item.scores[model],
        risk,
        frozen.main_horizon,
        labels,
        level=context.study.evaluation.confidence,
    )
    return {"rows": found.to_dict("records"), "reason": None}


def _recalibration(
    context: Context, analysis: SurvivalAnalysis, frozen: FrozenModels, item: JudgedSet, model: str
) -> dict[str, Any]:
    """What the patients of a new set would have changed."""
    found = frozen.model(model)
    entry: dict[str, Any] = {"set": item.name, "n": len(item.times), "events": int((item.codes == 1).sum())}
    if not isinstance(found, FrozenCox):
        return entry | {"chosen": None, "methods": [], "reason": "the main model has no baseline hazard"}
    if not found.terms:
        return entry | {"chosen": None, "methods": [], "reason": "the main model has no predictor"}
    level, table = context.study.evaluation.confidence, frozen.inputs(analysis.table.loc[item.patients])
    result = recalibrate_hazard(
        item.times,
        item.codes,
        found.linear_predictor(table),
        found.cumulative_hazard,
        frozen.main_horizon,
        found.design(table),
        level=level,
    )
    entry |= result.to_json()
    if result.chosen not in (None, "none"):
        t = frozen.main_horizon
        risk = next(update.risk for update in result.updates if update.method == result.chosen)
        entry["before"] = calibrate_at(item.times, item.codes, item.risks[model][t], t, level=level).to_json()
        entry["after"] = calibrate_at(item.times, item.codes, risk, t, level=level).to_json()
    return entry


def _conformal(
    context: Context,
    frozen: FrozenModels,
    nested: JudgedSet | None,
    new: dict[str, JudgedSet],
    model: str,
) -> dict[str, Any]:
    """Sets calibrated on out-of-fold risks by the main horizon, weighted for censoring."""
    level, t = context.study.evaluation.coverage, frozen.main_horizon
    empty: dict[str, Any] = {"level": level, "rows": [], "calibration": None}
    if nested is None:
        return empty | {"reason": "there are no out-of-fold risks"}
    rows: list[dict[str, Any]] = []
    patients: dict[Any, str] = {}
    try:
        fitted = conformal_at(nested.times, nested.codes, nested.risks[model][t], t)
        for name, item in new.items():
            sets = fitted.predict_all(item.risks[model][t], level=level)
            rows.append(_covered(name, item, sets, t))
            patients |= {patient: each.label for patient, each in zip(item.patients, sets, strict=True)}
        rule = ConformalRule.of(fitted, level)
    except HepacastError as error:
        return empty | {"reason": error.message}
    found = {"rows": rows, "reason": None, "calibration": fitted.to_json(), "patients": patients}
    return empty | found | {"rule": rule.__dict__}


def _share(weights: npt.NDArray[np.float64], held: npt.NDArray[np.bool_]) -> float:
    """Weighted share of those who were held; the sums are exact, for a share of 1 + 2e-16 is none."""
    return math.fsum(weights[held]) / math.fsum(weights)


def _covered(name: str, item: JudgedSet, sets: list[ConformalSet], t: float) -> dict[str, Any]:
    """Coverage in each class, weighted for censoring, and how often each answer is given."""
    weights = state_weights(item.times, item.codes, t)
    event = np.array([found.event_possible for found in sets], dtype=bool)
    other = np.array([found.no_event_possible for found in sets], dtype=bool)
    labels = pd.Series([found.label for found in sets])
    shares = {
        label.replace(" ", "_"): float((labels == label).mean()) for label in ("event", "no event", "either", "neither")
    }
    return {
        "set": name,
        "n": len(sets),
        "n_events": int((weights.case > 0).sum()),
        "n_others": int((weights.control > 0).sum()),
        "coverage_events": _share(weights.case, event),
        "coverage_others": _share(weights.control, other),
        **shares,
    }
