"""`modelling/survival.json`: fitted survival models in the words and numbers that tables and figures need."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.stats import norm

from hepacast.errors import ModelError
from hepacast.modelling.cox_model import CoxModel
from hepacast.modelling.frozen_cox import FrozenCox
from hepacast.modelling.frozen_logistic import FrozenLinear, FrozenLogisticAt
from hepacast.modelling.frozen_models import FrozenModels
from hepacast.modelling.frozen_score import RADSCORE
from hepacast.modelling.survival_logistic import states_at
from hepacast.modelling.survival_models import SurvivalModels
from hepacast.modelling.survival_selection import fit_alone, predictor_p
from hepacast.nomogram import Nomogram, NomogramModel, Predictor, build_nomogram
from hepacast.nomogram.build import OutputAxis
from hepacast.study.context import Context
from hepacast.study.stages.describe_models import (
    _LOG_BASE,
    Words,
    _axis,
    _lasso,
    _text,
    changes,
    nomogram_of,
    read_values,
    with_predictor_p,
)

if TYPE_CHECKING:
    from hepacast.study.stages.survival_modelling import SurvivalAnalysis

#: Survival probabilities marked on the nomogram's lower axes.
_SURVIVAL_TICKS = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)


def describe_survival(context: Context, analysis: SurvivalAnalysis, fitted: SurvivalModels) -> dict[str, Any]:
    """All models of a study."""
    level, words, options = context.study.evaluation.confidence, analysis.words, context.study.modelling
    _, outcome = analysis.part("training")
    frozen = fitted.frozen_
    content: dict[str, Any] = {
        "end_point": analysis.outcome.name,
        "event": analysis.outcome.positive,
        "unit": analysis.outcome.unit,
        "horizons": list(frozen.horizons),
        "before_horizon": context.study.outcome.before_horizon,
        "competing": bool(analysis.outcome.n_competing),
        "selection": options.selection,
        "alpha": options.alpha,
        "confidence": level,
        "names": list(frozen.names),
        "main": frozen.names[-1],
        "models": {name: describe_model(model, words, level) for name, model in frozen.models.items()},
        "notes": fitted.notes_,
        "cuts": {name: cut.__dict__ for name, cut in fitted.cuts_.items()},
    }
    if fitted.clinical_ is not None:
        choice = fitted.clinical_.choice_
        single, reasons = _alone(analysis, fitted)
        content["univariate"] = _univariate(single, reasons, fitted, words, level)
        content["multivariate"] = None
        if choice.joint is not None:
            together = _with_check(choice.joint, words, level)
            together["terms"] = with_predictor_p(together["terms"], predictor_p(choice.joint.frozen_))
            content["multivariate"] = together
        content["models"].setdefault("clinical", describe_model(fitted.clinical_.frozen_, words, level))
        content["models"]["clinical"]["zph"] = _zph(fitted.clinical_.model_, words)
        content["selected"] = list(fitted.clinical_.selected_)
    if fitted.combined_ is not None:
        content["models"]["combined"]["zph"] = _zph(fitted.combined_, words)
    if fitted.radiomics_ is not None:
        content["radiomics"] = _radiomics(fitted)
    if fitted.binary_ is not None:
        content["binary"] = _binary_states(outcome, frozen.main_horizon)
        content["binary"]["selected"] = list(fitted.binary_.selected_)
    if content["competing"]:
        content["cause_specific"] = _cause_specific(context, analysis, fitted, level)
    return content


def describe_model(model: FrozenLinear, words: Words, level: float) -> dict[str, Any]:
    """One model: ratios per unit, per round step and per SD, with Wald limits; baseline survival at the horizons."""
    covariance = np.array(model.covariance, dtype=float)
    z = float(norm.ppf(0.5 + level / 2))
    terms = []
    for index, term in enumerate(model.terms, start=1):
        beta, se = model.coefficients[index], float(math.sqrt(max(covariance[index, index], 0.0)))
        unit = next(source.predictor.unit for source in model.sources if source.name == term.source)
        terms.append(
            {
                "name": term.name,
                "label": words.term(model, term),
                "unit": unit or None,
                "coefficient": beta,
                "se": se,
                "p": model.p_values[index],
                **_ratio(beta, se, z, 1.0),
                "numeric": term.level is None,
                "scales": [{"label": text, **_ratio(beta, se, z, size)} for text, size in changes(model, term, words)],
            }
        )
    entry: dict[str, Any] = {
        "kind": "cox" if isinstance(model, FrozenCox) else "logistic",
        "method": model.method,
        "terms": terms,
        "n": model.n,
        "events": model.n_events,
        "status": model.status,
        "reason": model.note or None,
        "intercept": model.coefficients[0],
    }
    if isinstance(model, FrozenCox) and model.limits is not None:
        times = [float(key) for key in model.limits]
        entry["baseline"] = [
            {"time": t, "survival": float(np.exp(-model.cumulative_hazard([min(t, model.last_time)])[0]))}
            for t in times
        ]
    if isinstance(model, FrozenLogisticAt):
        entry |= {"horizon": model.horizon, "n_censored": model.n_censored}
    return entry


def _ratio(beta: float, se: float, z: float, step: float) -> dict[str, float]:
    def ratio(value: float) -> float:
        return math.exp(value * step) if abs(value * step) < 700 else math.inf if value * step > 0 else 0.0

    return {"ratio": ratio(beta), "low": ratio(beta - z * se), "high": ratio(beta + z * se)}


def _alone(analysis: SurvivalAnalysis, fitted: SurvivalModels) -> tuple[dict[str, Any], dict[str, str]]:
    """Each candidate's own model; where all candidates were given, none of them was needed for the choice."""
    assert fitted.clinical_ is not None
    choice = fitted.clinical_.choice_
    if choice.single or choice.reasons:
        return choice.single, choice.reasons
    x, y = analysis.part("training")

    def make(predictors: Any, why: str) -> CoxModel:
        return CoxModel(predictors, (), fitted.competing, why)

    return fit_alone(make, fitted.predictors, x, y)


def _univariate(
    single: dict[str, Any], reasons: dict[str, str], fitted: SurvivalModels, words: Words, level: float
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for item in fitted.predictors:
        if item.name in single:
            model = describe_model(single[item.name].frozen_, words, level)
            terms = with_predictor_p(model["terms"], predictor_p(single[item.name].frozen_))
            rows += [{**term, "n": model["n"], "method": model["method"]} for term in terms]
        else:
            nothing = dict.fromkeys(("coefficient", "se", "p", "ratio", "low", "high"), float("nan"))
            reason = reasons.get(item.name, "no estimate")
            rows.append({"name": item.name, "label": item.label, **nothing, "scales": [], "reason": reason})
    return rows


def _with_check(model: CoxModel, words: Words, level: float) -> dict[str, Any]:
    return describe_model(model.frozen_, words, level) | {"zph": _zph(model, words)}


def _zph(model: CoxModel, words: Words) -> list[dict[str, Any]]:
    """Test of proportional hazards by term, the whole model last."""
    if model.proportional_ is None:
        return []
    labels = {term.name: words.term(model.frozen_, term) for term in model.frozen_.terms}
    return [
        {
            "label": labels.get(str(name), "All terms together"),
            "chi2": float(row["chi2"]),
            "df": int(row["df"]),
            "p": float(row["p"]),
        }
        for name, row in model.proportional_.iterrows()
    ]


def _radiomics(fitted: SurvivalModels) -> dict[str, Any]:
    model = fitted.radiomics_
    assert model is not None
    content: dict[str, Any] = {
        "steps": [step.to_json() for step in model.counts_],
        "status": model.status_,
        "reason": model.note_ or None,
    }
    score = model.frozen_
    if score.features:
        content["radscore"] = {
            "intercept": score.intercept,
            "terms": [
                {"feature": item.name, "weight": item.weight, "mean": item.mean, "sd": item.sd}
                for item in score.features
            ],
            "formula": score.formula("z"),
            "formula_original_units": score.formula("original"),
        }
    if model.choice_ is not None:
        content["lasso"] = _lasso(model, model.choice_) | {"measure": "partial-likelihood deviance"}
    return content


def _binary_states(outcome: np.ndarray, horizon: float) -> dict[str, Any]:
    states = states_at(outcome[:, 0], outcome[:, 1], horizon)
    known = states.weight > 0
    return {
        "horizon": horizon,
        "events": states.n_events,
        "free": states.n_free,
        "censored": states.n_censored,
        "largest_weight": float(states.weight.max()),
        "sum_of_weights": float(states.weight[known].sum()),
    }


def _cause_specific(
    context: Context, analysis: SurvivalAnalysis, fitted: SurvivalModels, level: float
) -> dict[str, Any] | None:
    """The clinical model's predictors in a cause-specific Cox model, beside Fine and Gray's; None without any."""
    if fitted.clinical_ is None or not fitted.clinical_.chosen_predictors_:
        return None
    x, y = analysis.part("training")
    model = CoxModel(tuple(fitted.clinical_.chosen_predictors_), (), "cause-specific").fit(x, y)
    return _with_check(model, analysis.words, level)


def survival_nomogram(
    frozen: FrozenModels, name: str, analysis: SurvivalAnalysis, shown: list[float], *, before: bool = False
) -> Nomogram | None:
    """The nomogram of a model, with one axis a horizon; None where there is no model to draw."""
    model = frozen.model(name)
    x, _ = analysis.part("training")
    event, unit = analysis.outcome.positive, analysis.outcome.unit
    if not isinstance(model, FrozenCox):
        label = f"Risk of {event} by {shown[-1]:g} {unit}"
        return nomogram_of(frozen, name, analysis.words, x, label)
    if model.status != "ok" or not model.terms:
        return None
    table = frozen.inputs(x)
    predictors, coefficients = [], {}
    for source in model.sources:
        item = source.predictor
        pairs = zip(model.terms, model.coefficients[1:], strict=True)
        betas = [beta for term, beta in pairs if term.source == source.name]
        if item.is_level:
            levels = tuple(analysis.words.level(source.name, level) for level in source.known_levels)
            predictors.append(Predictor(source.name, item.label, levels=levels))
        else:
            if item.log and item.log not in _LOG_BASE:
                return None
            betas = [beta * _LOG_BASE.get(item.log, 1.0) for beta in betas]
            predictors.append(_axis(source.name, item, source.minimum, source.maximum, table[source.name]))
        coefficients[source.name] = tuple(betas)
    survival = np.exp(-model.cumulative_hazard(frozen.horizons))
    # A horizon at which everybody or nobody is left has no axis.
    baseline = {t: float(s) for t, s in zip(frozen.horizons, survival, strict=True) if 1e-6 < s < 1 - 1e-6}
    word = "before" if before else "by"
    labels = {t: f"No {event} {word} {h:g} {unit}" for t, h in zip(frozen.horizons, shown, strict=True)}
    drawn = NomogramModel(tuple(predictors), coefficients, model.coefficients[0], kind="cox", baseline=baseline)
    lps = model.linear_predictor(table)
    made = build_nomogram(
        drawn,
        lp_range=(float(lps.min()), float(lps.max())),
        risk_ticks=_SURVIVAL_TICKS,
        survival_labels=labels,
    )
    return replace(made, outputs=tuple(_reachable(axis) for axis in made.outputs))


def _reachable(axis: OutputAxis) -> OutputAxis:
    """The axis without the ticks below 0 points, which no patient can have."""
    kept = [pair for pair in zip(axis.values, axis.total_points, strict=True) if pair[1] >= 0]
    return replace(axis, values=tuple(v for v, _ in kept), total_points=tuple(p for _, p in kept))


def survival_example(
    context: Context,
    analysis: SurvivalAnalysis,
    frozen: FrozenModels,
    name: str,
    nomogram: Nomogram | None,
) -> tuple[dict[str, Any], Any]:
    """One patient worked through: risk at each horizon, what it is made of, what was observed."""
    risks = frozen.predict_risk(analysis.table)[name]
    patient = _example_patient(context, analysis, risks)
    row = analysis.table.loc[[patient]]
    model, table = frozen.model(name), frozen.inputs(row)
    shares = frozen.contributions(row, name, features=False).iloc[0]
    shown = []
    for term in model.terms:
        value = table[term.source].iloc[0]
        text = analysis.words.level(term.source, _text(value)) if term.level is not None else f"{float(value):.4g}"
        shown.append(
            {"label": analysis.words.term(model, term), "value": text, "contribution": float(shares[term.name])}
        )
    at = []
    for horizon, label in zip(frozen.horizons, context.study.outcome.horizons, strict=True):
        low, high = frozen.interval(row, name, context.study.evaluation.confidence, time=horizon)[0]
        risk = float(frozen.predict_risk(row, horizon)[name].iloc[0])
        at.append({"time": label, "risk": risk, "low": float(low), "high": float(high)})
    time, code = float(analysis.outcome.time[patient]), int(analysis.outcome.codes[patient])
    what = {0: "censored", 1: analysis.outcome.positive, 2: "competing event"}[code]
    example = {
        "patient": patient,
        "risk": at[-1]["risk"],
        "low": at[-1]["low"],
        "high": at[-1]["high"],
        "shares": shown,
        "horizons": at,
        "observed": f"{what} at {time:g} {analysis.outcome.unit}",
    }
    reading = None if nomogram is None else read_values(nomogram, frozen, name, analysis.words, row)
    return example, reading


def _example_patient(context: Context, analysis: SurvivalAnalysis, risks: pd.Series) -> str:
    """As asked, else the event of middling risk in the last set that no model saw, or in training."""
    asked = context.study.report.example_patient
    if asked is not None:
        if asked not in risks.index:
            raise ModelError("The example patient is not in the study.", found=asked, where="report.example_patient")
        return asked
    sets = analysis.cohort.sets
    judge = next((name for name in ("external", "validation") if (sets == name).any()), "training")
    pool = list(sets.index[sets == judge])
    events = [p for p in pool if analysis.outcome.event[p] == 1] or pool
    order = sorted(events, key=lambda p: (risks[p], p))
    return str(order[len(order) // 2])


def radscore_used(model: FrozenLinear) -> bool:
    """Whether a model reads the Radscore."""
    return RADSCORE in model.names
