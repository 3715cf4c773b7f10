"""What a reviewer asks next: other centers, more patients, what the models use, subgroups, a new center's calibration.

`modelling/scrutiny.json` (refits: leave one center out, learning curve, permutation importance, Shapley values) and
`evaluation/scrutiny.json` (predictions only: subgroups, recalibration, conformal sets).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone

from hepacast.cohort import Cohort
from hepacast.cohort.outcome import EVER
from hepacast.core.files import read_json
from hepacast.core.seeds import derive_seed
from hepacast.errors import HepacastError
from hepacast.evaluation.calibration import calibration
from hepacast.evaluation.conformal import ConformalInfo, ConformalRule, CoverageRow, conformal, covered
from hepacast.evaluation.evaluate import events_of
from hepacast.evaluation.event_by import EventBy, event_by
from hepacast.evaluation.recalibration import Updating, recalibrate_hazard, update_risks
from hepacast.evaluation.results import headline_set
from hepacast.evaluation.scrutiny import (
    CenterRow,
    Centers,
    Importance,
    ImportanceRow,
    Learning,
    LearningRow,
    ModelScrutiny,
    PredictionScrutiny,
    Shapley,
    ShapleyRow,
    Subgroups,
)
from hepacast.evaluation.subgroups import FEWEST_EVENTS, performance, subgroup_performance
from hepacast.modelling.frozen_cox import FrozenCox
from hepacast.modelling.frozen_models import FrozenModels
from hepacast.modelling.importance import learning_curve, permutation_importance, told_apart
from hepacast.modelling.predictions import JudgedSet, target_of
from hepacast.modelling.shapley import shapley_values
from hepacast.modelling.targets import has_time
from hepacast.modelling.validation import leave_one_center_out
from hepacast.study.context import Context
from hepacast.study.stages.frozen_files import CONFORMAL, MODELS, read_frozen

_EXPLAINED = 40
_SHARES = (0.4, 0.6, 0.8, 1.0)
#: A column with more levels is no grouping of another hospital's patients.
_MOST_LEVELS = 8
_NOT_ASKED = "not asked for"


def main_horizon(context: Context) -> float:
    """As the study file writes it; infinite of an outcome without time."""
    return float((context.study.outcome.horizons or [EVER])[-1])


def of_models(context: Context, analysis: Any, models: Any, fitted: Any) -> ModelScrutiny:
    """The content of ``modelling/scrutiny.json``.

    Parameters
    ----------
    analysis
        What the modelling stage fits to.
    models, fitted
        The estimator of the study, not fitted and fitted.
    """
    x, y = analysis.part("training")
    rules = context.study.modelling.validation
    return ModelScrutiny(
        horizon=main_horizon(context),
        centers=_centers(context, analysis, models) if rules.centers else Centers(reason=_NOT_ASKED),
        learning_curve=_learning(context, models, x, y) if rules.learning_curve else Learning(reason=_NOT_ASKED),
        importance=_importance(context, models, x, y) if rules.importance else Importance(reason=_NOT_ASKED),
        shapley=_shapley(context, fitted, x),
    )


def _centers(context: Context, analysis: Any, models: Any) -> Centers:
    """Each center predicted by models of the others, all analysed patients of the study together."""
    outcome = analysis.cohort.outcome.select(analysis.table.index)
    sites = analysis.cohort.centers.reindex(analysis.table.index)
    known = sites.notna() & (sites.astype(str) != "")
    usable = [
        name
        for name, part in outcome.events[known].groupby(sites[known])
        if int(part.sum()) >= FEWEST_EVENTS and (outcome.has_time or int((1 - part).sum()) >= FEWEST_EVENTS)
    ]
    if len(usable) < 2:
        what = "events" if outcome.has_time else "patients of each outcome"
        return Centers(reason=f"fewer than two centers with {FEWEST_EVENTS} {what}")
    if context.study.modelling.harmonize == "combat" and len(usable) < 3:
        return Centers(reason="differences between centers cannot be removed when only one is left to train on")
    rows = sites.isin(usable).to_numpy()
    with context.reporter.track("leave one center out") as progress:
        found = leave_one_center_out(
            models, analysis.table[rows], outcome.y[rows], sites[rows], workers=context.workers, progress=progress
        )
    level, judged = context.study.evaluation.confidence, found.predictions
    judged = judged[judged["horizon"] == judged["horizon"].max()]
    table = tuple(
        _center(part, str(model), found.labels[int(str(fold))], level)
        for (model, fold), part in judged.groupby(["model", "fold"], sort=False)
    )
    return Centers(table, "; ".join(f"{f['fold']}: {f['reason']}" for f in found.failures))


def _center(part: pd.DataFrame, model: str, center: str, level: float) -> CenterRow:
    known = _known(target_of(part), float(part["horizon"].iloc[0]))
    risk, linear = (part[name].to_numpy(dtype=float) for name in ("risk", "linear_predictor"))
    fewest = (0, 0) if known.complete else (FEWEST_EVENTS, 0)
    found = performance(known, risk, risk if known.complete else linear, level=level, fewest=fewest)
    if np.isnan(risk).any():
        found = replace(found, reason="the models could not be fitted to the other centers")
    return CenterRow(**found.__dict__, model=model, center=center)


def _known(y: np.ndarray, horizon: float) -> EventBy:
    """What came of patients by a horizon, of a center whose patients may all be of one class."""
    if has_time(y):
        return event_by(y[:, 0], y[:, 1], horizon)
    return EventBy(y.astype(float))


def _learning(context: Context, models: Any, x: pd.DataFrame, y: Any) -> Learning:
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
    rows = table.rename(columns={"auc": "value", "c": "value"}).to_dict("records")
    return Learning(tuple(LearningRow(**{str(key): value for key, value in row.items()}) for row in rows))


def _importance(context: Context, models: Any, x: pd.DataFrame, y: Any) -> Importance:
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
                workers=context.workers,
                progress=progress,
            )
        except HepacastError as error:
            return Importance(reason=error.message)
    used = table[(table["loss"] != 0) | (table["sd"] != 0)]
    rows = tuple(ImportanceRow(**{str(key): value for key, value in row.items()}) for row in used.to_dict("records"))
    return Importance(rows, "" if rows else "no model uses any predictor")


def _shapley(context: Context, fitted: Any, x: pd.DataFrame) -> Shapley:
    """Of the radiomics score, where it has no coefficients to read."""
    if fitted.radiomics_ is None:
        return Shapley(reason="there is no radiomics model")
    if fitted.radiomics_.status_ != "ok":
        return Shapley(reason=fitted.radiomics_.note_ or "no signal")
    if fitted.frozen_.score is not None:
        return Shapley(reason="the radiomics model has coefficients")
    features = [str(name) for name in fitted.radiomics_.selected_]
    groups = told_apart(features)
    table = fitted._radiomics_table(x)
    seed = derive_seed(context.study.seed, "shapley")
    explained = table.iloc[:: max(1, len(table) // _EXPLAINED)]
    with context.reporter.track("Shapley values") as progress:
        found = shapley_values(fitted.radiomics_.decision_function, explained, table, groups, pairs=4, seed=seed)
        progress(1, 1)
    rows = [
        ShapleyRow(
            str(name),
            float(value),
            len(groups[str(name)]),
            _direction(explained, groups[str(name)], found.values[name]),
        )
        for name, value in found.importance().items()
    ]
    return Shapley(tuple(rows), patients=len(explained))


def _direction(table: pd.DataFrame, columns: list[str], values: pd.Series) -> float:
    """Spearman's rho of a single feature with its contribution: whether more of it means more risk."""
    if len(columns) > 1:
        return float("nan")
    return float(table[columns[0]].corr(values, method="spearman"))


def of_predictions(
    context: Context,
    cohort: Cohort,
    judged: Mapping[str, JudgedSet],
    main: str,
    predictors: Callable[[], pd.DataFrame],
) -> PredictionScrutiny:
    """The content of ``evaluation/scrutiny.json`` for the main model.

    Parameters
    ----------
    judged
        By set; ``nested`` holds the out-of-fold risks of the training patients.
    predictors
        Gives the predictors of the models (scores beside clinical columns) of all patients, for changes of a hazard.
    """
    new = {name: item for name, item in judged.items() if item.kind == "frozen"}
    where = headline_set({name: item.n_events for name, item in judged.items() if item.kind != "apparent"})
    return PredictionScrutiny(
        model=main,
        horizon=main_horizon(context),
        subgroups=_subgroups(context, cohort, judged.get(where), main),
        conformal=_conformal(context, judged.get("nested"), new, main),
        recalibration=tuple(_recalibration(context, item, main, predictors) for item in new.values()),
    )


def _at_main(item: JudgedSet, model: str) -> tuple[EventBy, np.ndarray]:
    """What came of the patients by the main horizon, and the model's risks of it."""
    known = list(events_of(item).values())[-1]
    return known, item.risks[model][known.horizon]


def _subgroups(context: Context, cohort: Cohort, item: JudgedSet | None, model: str) -> Subgroups:
    if item is None:
        return Subgroups(reason="there are no predictions to judge")
    labels = groupings(context, cohort, item.patients)
    if not labels:
        return Subgroups(set=item.name, reason="no column with groups (evaluation.subgroups)")
    level = context.study.evaluation.confidence
    known, risk = _at_main(item, model)
    return Subgroups(subgroup_performance(known, risk, labels, item.scores[model], level=level), item.name)


def groupings(context: Context, cohort: Cohort, patients: list[str]) -> dict[str, Any]:
    """Labels of the patients by grouping: what the study file asks for, else candidates with levels and the center.

    Raises
    ------
    HepacastError
        A column is asked for that the study does not have.
    """
    specs = {spec.name: spec for spec in cohort.table.specs}
    asked = context.study.evaluation.subgroups
    names = asked if asked is not None else _usual_groupings(context, cohort)
    found: dict[str, Any] = {}
    for name in names:
        if name not in specs:
            raise HepacastError(
                "A subgroup is asked for by a column that the study does not have.",
                expected=", ".join(specs),
                found=name,
                where="evaluation.subgroups",
            )
        spec = specs[name]
        values = cohort.table.frame[name].reindex(patients)
        if spec.kind == "numeric":
            cut = float(values.median())
            values = values.map(lambda v, cut=cut: None if pd.isna(v) else f">= {cut:g}" if v >= cut else f"< {cut:g}")
        elif spec.kind == "binary":
            values = values.map(dict(enumerate(spec.level_names)))
        found[spec.label] = values.astype(object).to_numpy()
    sites = cohort.centers.reindex(patients)
    if asked is None and sites[sites.astype(str) != ""].nunique() > 1:
        found["Center"] = sites.to_numpy()
    return found


def _usual_groupings(context: Context, cohort: Cohort) -> list[str]:
    """Candidates with levels; of another hospital, which has none, age and every column with few levels: fairness."""
    specs = {spec.name: spec for spec in cohort.table.specs}
    if not context.models:
        return [name for name in context.study.modelling.candidates if name in specs and specs[name].kind != "numeric"]
    outcome, described = context.study.outcome, context.study.cohort.columns
    taken = {*outcome.columns.values(), outcome.column}
    headers = {name: str(described[name].column) if name in described else name for name in specs}
    usable = [spec for name, spec in specs.items() if not {name, headers[name]} & taken and not spec.after_event]
    return [
        spec.name
        for spec in usable
        if (spec.kind == "numeric" and "age" in (spec.name.casefold(), spec.label.casefold()))
        or (spec.kind in ("binary", "categorical") and 2 <= cohort.table.frame[spec.name].nunique() <= _MOST_LEVELS)
    ]


def _recalibration(context: Context, item: JudgedSet, model: str, predictors: Callable[[], pd.DataFrame]) -> Updating:
    """How a new set's patients would have the model changed, by the closed test."""
    known, risk = _at_main(item, model)
    if known.complete:
        return replace(update_risks(known, risk), set=item.name)
    frozen = frozen_models(context)
    found, level = frozen.models.get(model), context.study.evaluation.confidence
    empty = Updating(known.n, known.n_events, set=item.name)
    if not isinstance(found, FrozenCox):
        return replace(empty, reason="the main model has no baseline hazard")
    if not found.terms:
        return replace(empty, reason="the main model has no predictor")
    table = predictors().loc[item.patients]
    lp, design = found.linear_predictor(table), found.design(table)
    told = replace(recalibrate_hazard(known, lp, found.cumulative_hazard, design, level=level), set=item.name)
    if told.chosen in (None, "none"):
        return told
    changed = next(update.risk for update in told.methods if update.method == told.chosen)
    before, after = (calibration(known, values, level=level) for values in (risk, changed))
    return replace(told, before=before, after=after)


def frozen_models(context: Context) -> FrozenModels:
    """The models that the study froze, or those that are applied to it; none where these are networks."""
    folder = context.out / "modelling"
    return read_frozen(folder) if (folder / MODELS).is_file() else FrozenModels({}, None, {})


def _conformal_of_bundle(context: Context, new: Mapping[str, JudgedSet], model: str) -> ConformalInfo:
    """What the sets that a bundle gives held in these patients."""
    entry = read_json(context.out / "modelling" / CONFORMAL)
    if "reason" in entry or entry.get("model") != model:
        return ConformalInfo(0.0, reason=str(entry.get("reason", "calibrated for another model")))
    rule = ConformalRule(*(float(entry[key]) for key in ("level", "event_from", "no_event_to")))
    rows: list[CoverageRow] = []
    patients: dict[str, str] = {}
    for name, item in new.items():
        known, risk = _at_main(item, model)
        answers = [rule.predict(float(value)) for value in risk]
        try:
            rows.append(replace(covered(known, answers), set=name))
        except HepacastError as error:  # nobody is followed so long
            return ConformalInfo(rule.level, reason=error.message)
        patients |= {patient: str(each.label) for patient, each in zip(item.patients, answers, strict=True)}
    return ConformalInfo(rule.level, tuple(rows), rule=rule, patients=patients)


def _conformal(context: Context, nested: JudgedSet | None, new: Mapping[str, JudgedSet], model: str) -> ConformalInfo:
    """Sets calibrated on out-of-fold risks: what they hold in new patients, and the levels to apply them by."""
    level = context.study.evaluation.coverage
    if context.models:
        return _conformal_of_bundle(context, new, model)
    if nested is None:
        return ConformalInfo(level, reason="there are no out-of-fold risks")
    rows: list[CoverageRow] = []
    patients: dict[str, str] = {}
    try:
        fitted = conformal(*_at_main(nested, model))
        for name, item in new.items():
            known, risk = _at_main(item, model)
            sets = fitted.predict_all(risk, level=level)
            rows.append(replace(covered(known, sets), set=name))
            patients |= {patient: each.label for patient, each in zip(item.patients, sets, strict=True)}
        rule = ConformalRule.of(fitted, level)
    except HepacastError as error:
        return ConformalInfo(level, reason=error.message)
    return ConformalInfo(level, tuple(rows), calibration=fitted, rule=rule, patients=patients)
