"""What a reviewer asks next: other centers, more patients, what the models use, subgroups, a new center's calibration.

`modelling/scrutiny.json` (refits: leave one center out, learning curve, permutation importance, Shapley values) and
`evaluation/scrutiny.json` (predictions only: subgroups, recalibration, conformal sets).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sklearn.base import clone

from hepacast.cohort import Cohort
from hepacast.core.seeds import derive_seed
from hepacast.errors import HepacastError
from hepacast.evaluation.calibration import calibration
from hepacast.evaluation.conformal import ConformalRule, conformal
from hepacast.evaluation.recalibration import recalibrate
from hepacast.evaluation.roc import roc
from hepacast.evaluation.subgroups import subgroup_performance
from hepacast.modelling.importance import learning_curve, permutation_importance
from hepacast.modelling.shapley import shapley_values
from hepacast.modelling.study_models import StudyModels
from hepacast.modelling.validation import leave_one_center_out
from hepacast.study.context import Context

if TYPE_CHECKING:
    from hepacast.study.stages.modelling import Analysis

#: Patients of each outcome that a center, a subgroup or a new set needs to be looked at by itself.
MIN_EACH = 5
#: Features whose Shapley values are computed one by one; more of them are told in groups.
MOST_SINGLE = 40
_EXPLAINED = 40
_SHARES = (0.4, 0.6, 0.8, 1.0)


def of_models(context: Context, analysis: Analysis, models: StudyModels, fitted: StudyModels) -> dict[str, Any]:
    """The content of ``modelling/scrutiny.json``; what was left out says why."""
    x, y = analysis.part("training")
    rules = context.study.modelling.validation
    return {
        "centers": _centers(context, analysis, models) if rules.centers else _left("not asked for"),
        "learning_curve": _learning(context, models, x, y) if rules.learning_curve else _left("not asked for"),
        "importance": _importance(context, models, x, y) if rules.importance else _left("not asked for"),
        "shapley": _shapley(context, fitted, x),
    }


def _left(reason: str) -> dict[str, Any]:
    return {"rows": [], "reason": reason}


def _centers(context: Context, analysis: Analysis, models: StudyModels) -> dict[str, Any]:
    """Each center predicted by models of the others, all analysed patients of the study together."""
    sites = analysis.cohort.centers.reindex(analysis.table.index)
    known = sites.notna() & (sites.astype(str) != "")
    outcome = analysis.outcome.loc[analysis.table.index]
    usable = [
        name
        for name, part in outcome[known].groupby(sites[known])
        if min(int(part.sum()), int((1 - part).sum())) >= MIN_EACH
    ]
    if len(usable) < 2:
        return _left(f"fewer than two centers with {MIN_EACH} patients of each outcome")
    if context.study.modelling.harmonize == "combat" and len(usable) < 3:
        return _left("differences between centers cannot be removed when only one is left to train on")
    rows = sites.isin(usable).to_numpy()
    with context.reporter.track("leave one center out") as progress:
        found = leave_one_center_out(
            models,
            analysis.table[rows],
            outcome[rows].to_numpy(),
            sites[rows],
            workers=context.workers,
            progress=progress,
        )
    level = context.study.evaluation.confidence
    table = []
    for (model, fold), part in found.predictions.groupby(["model", "fold"], sort=False):
        entry = {
            "model": model,
            "center": found.labels[int(str(fold))],
            "n": len(part),
            "events": int(part["outcome"].sum()),
        }
        table.append(entry | _performance(part["outcome"], part["risk"], level))
    return {"rows": table, "reason": "; ".join(f"{f['fold']}: {f['reason']}" for f in found.failures)}


def _performance(y: pd.Series, risk: pd.Series, level: float) -> dict[str, Any]:
    nan = float("nan")
    empty = {"auc": nan, "low": nan, "high": nan, "slope": nan, "intercept": nan}
    if risk.isna().any():
        return empty | {"reason": "the models could not be fitted to the other centers"}
    curve = roc(y.to_numpy(), risk.to_numpy(dtype=float), level=level)
    fit = calibration(y.to_numpy(), risk.to_numpy(dtype=float), level=level, external=True)
    values = {"auc": curve.auc, "low": curve.auc_ci[0], "high": curve.auc_ci[1]}
    return values | {"slope": fit.slope.estimate, "intercept": fit.citl.estimate, "reason": curve.reason or None}


def _learning(context: Context, models: StudyModels, x: pd.DataFrame, y: pd.Series) -> dict[str, Any]:
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


def _importance(context: Context, models: StudyModels, x: pd.DataFrame, y: pd.Series) -> dict[str, Any]:
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


def _shapley(context: Context, fitted: StudyModels, x: pd.DataFrame) -> dict[str, Any]:
    """Of the radiomics score, where it has no coefficients to read."""
    if fitted.radiomics_ is None:
        return _left("there is no radiomics model")
    if fitted.radiomics_.status_ != "ok":
        return _left(fitted.radiomics_.note_ or "no signal")
    if fitted.frozen_.score is not None:
        return _left("the radiomics model has coefficients")
    features = [str(name) for name in fitted.radiomics_.selected_]
    groups = {name: [name] for name in features} if len(features) <= MOST_SINGLE else feature_groups(features)
    table = fitted._radiomics_table(x)
    seed = derive_seed(context.study.seed, "shapley")
    explained = table.iloc[:: max(1, len(table) // _EXPLAINED)]
    with context.reporter.track("Shapley values") as progress:
        found = shapley_values(fitted.radiomics_.decision_function, explained, table, groups, pairs=4, seed=seed)
        progress(1, 1)
    mean = found.importance()
    rows = [
        {"name": str(name), "mean_absolute": float(value), "features": len(groups[str(name)])}
        | {"direction": _direction(explained, groups[str(name)], found.values[name])}
        for name, value in mean.items()
    ]
    return {"rows": rows, "reason": None, "patients": len(explained)}


def _direction(table: pd.DataFrame, columns: list[str], values: pd.Series) -> float:
    """Spearman's rho of a single feature with its contribution: whether more of it means more risk."""
    if len(columns) > 1:
        return float("nan")
    return float(table[columns[0]].corr(values, method="spearman"))


def feature_groups(names: list[str]) -> dict[str, list[str]]:
    """Features by VOI and class: ``tumor, glcm``; the last underscore of a PyRadiomics name parts off the feature."""
    groups: dict[str, list[str]] = {}
    for name in names:
        *place, feature = name.split(":")
        parts = feature.split("_")
        kind = parts[-2] if len(parts) > 2 else parts[0]
        groups.setdefault(", ".join([*place, kind]), []).append(name)
    return groups


def of_predictions(context: Context, cohort: Cohort, tables: dict[str, pd.DataFrame], model: str) -> dict[str, Any]:
    """The content of ``evaluation/scrutiny.json`` for the main model.

    Parameters
    ----------
    tables
        By set: outcome and risks by patient; ``nested`` holds the out-of-fold risks of the training patients.
    """
    new = {name: table for name, table in tables.items() if name not in ("training", "nested")}
    judged = next(iter(new), "nested")
    return {
        "model": model,
        "subgroups": _subgroups(context, cohort, tables.get(judged), model) | {"set": judged},
        "recalibration": [_recalibration(name, table, model) for name, table in new.items()],
        "conformal": _conformal(context, tables.get("nested"), new, model),
    }


def _subgroups(context: Context, cohort: Cohort, table: pd.DataFrame | None, model: str) -> dict[str, Any]:
    if table is None:
        return _left("there are no predictions to judge")
    labels = groupings(context, cohort, [str(name) for name in table.index])
    if not labels:
        return _left("no column with groups (evaluation.subgroups)")
    level = context.study.evaluation.confidence
    found = subgroup_performance(table["outcome"].to_numpy(), table[model].to_numpy(), labels, level=level)
    return {"rows": found.to_dict("records"), "reason": None}


def groupings(context: Context, cohort: Cohort, patients: list[str]) -> dict[str, Any]:
    """Labels of the patients by grouping: what the study file asks for, else candidates with levels and the center.

    Raises
    ------
    HepacastError
        A column is asked for that the study does not have.
    """
    specs = {spec.name: spec for spec in cohort.table.specs}
    asked = context.study.evaluation.subgroups
    names = asked if asked is not None else [
        name for name in context.study.modelling.candidates if name in specs and specs[name].kind != "numeric"
    ]  # fmt: skip
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


def _recalibration(name: str, table: pd.DataFrame, model: str) -> dict[str, Any]:
    """How a new set's patients would have the model's calibration changed, by the closed test."""
    y, risk = table["outcome"].to_numpy(dtype=int), table[model].to_numpy(dtype=float)
    entry: dict[str, Any] = {"set": name, "n": len(y), "events": int(y.sum())}
    if min(int(y.sum()), int((1 - y).sum())) < MIN_EACH or np.ptp(risk) == 0:
        return entry | {
            "chosen": None,
            "reason": "too few patients of an outcome, or the same risk for all",
            "methods": [],
        }
    chosen = recalibrate(y, risk, method="closed test")
    methods = []
    for method in ("none", "intercept", "slope"):
        fit = recalibrate(y, risk, method=method)
        changed = fit.apply(risk) if fit.status == "ok" else np.full(len(risk), np.nan)
        methods.append(
            {
                "method": method,
                "intercept": fit.intercept,
                "slope": fit.slope,
                "p": chosen.p.get(method, float("nan")),
                "mean_risk": float(changed.mean()),
                "brier": float(np.mean((changed - y) ** 2)),
                "reason": fit.reason or None,
            }
        )
    return entry | {"chosen": chosen.method, "reason": None, "methods": methods}


def _conformal(
    context: Context, nested: pd.DataFrame | None, new: dict[str, pd.DataFrame], model: str
) -> dict[str, Any]:
    """Sets calibrated on out-of-fold risks: what they hold in new patients, and the levels to apply them by."""
    level = context.study.evaluation.coverage
    if nested is None:
        return {"level": level, "rows": [], "reason": "there are no out-of-fold risks", "calibration": None}
    try:
        fitted = conformal(nested["outcome"].to_numpy(dtype=int), nested[model].to_numpy(dtype=float))
        rows = [_covered(name, fitted.predict_all(t[model], level=level), t["outcome"]) for name, t in new.items()]
        rule = ConformalRule.of(fitted, level)
    except HepacastError as error:
        return {"level": level, "rows": [], "reason": error.message, "calibration": None}
    patients = {
        str(patient): item.label
        for table in new.values()
        for patient, item in zip(table.index, fitted.predict_all(table[model], level=level))
    }
    found = {"level": level, "rows": rows, "reason": None, "calibration": fitted.to_json(), "patients": patients}
    return found | {"rule": rule.__dict__}


def _covered(name: str, sets: list[Any], outcome: pd.Series) -> dict[str, Any]:
    y = outcome.to_numpy(dtype=int)
    held = np.array([item.event_possible if value else item.no_event_possible for item, value in zip(sets, y)])
    labels = pd.Series([item.label for item in sets])
    shares = {
        label.replace(" ", "_"): float((labels == label).mean()) for label in ("event", "no event", "either", "neither")
    }
    return {
        "set": name,
        "n": len(y),
        "n_events": int((y == 1).sum()),
        "n_others": int((y == 0).sum()),
        "coverage_events": float(held[y == 1].mean()) if (y == 1).any() else float("nan"),
        "coverage_others": float(held[y == 0].mean()) if (y == 0).any() else float("nan"),
        **shares,
    }
