"""`modelling/models.json` and `survival.json`: fitted models in the words and numbers that tables and figures need."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm

from hepacast.cohort import BinaryOutcome, ColumnSpec, Outcome
from hepacast.cohort.tables import ClinicalTable
from hepacast.errors import ModelError
from hepacast.modelling.clinical import ClinicalModel
from hepacast.modelling.cox_model import CoxModel
from hepacast.modelling.frozen_cox import FrozenCox
from hepacast.modelling.frozen_logistic import FrozenLinear, FrozenLogisticAt, ModelTerm
from hepacast.modelling.frozen_models import FrozenModels
from hepacast.modelling.logistic_at import states_at
from hepacast.modelling.named_design import NamedRegression
from hepacast.modelling.study_models import StudyModels
from hepacast.modelling.targets import has_time
from hepacast.nomogram import Nomogram, NomogramModel, Predictor, build_nomogram
from hepacast.nomogram.build import OutputAxis
from hepacast.study.schema import Study

_METHODS = {"ml": "maximum likelihood", "firth": "Firth"}
_LOSSES = {"deviance": "binomial deviance", "auc": "AUC", "class": "error rate"}
#: Factor from the coefficient of a logarithm to that of the natural one.
_LOG_BASE = {"ln": 1.0, "log2": 1 / math.log(2), "log10": 1 / math.log(10)}

#: Survival probabilities marked on the lower axes of a Cox model's nomogram.
_SURVIVAL_TICKS = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)


@dataclass(frozen=True)
class Words:
    """How columns and levels are called, and how finely the numbers of a column are recorded (`resolution_of`)."""

    specs: Mapping[str, ColumnSpec]
    resolutions: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, table: ClinicalTable) -> Words:
        """Of a clinical table."""
        numbers = {spec.name: table.frame[spec.name] for spec in table.specs if spec.kind == "numeric"}
        return cls(
            {spec.name: spec for spec in table.specs},
            {name: resolution_of(values.to_numpy(dtype=float)) for name, values in numbers.items()},
        )

    def level(self, column: str, level: str) -> str:
        """Name of a level; binary columns hold 0 and 1."""
        spec = self.specs.get(column)
        if spec is not None and spec.kind == "binary" and level in ("0", "1"):
            return spec.level_names[int(level)]
        return level

    def term(self, model: FrozenLinear, term: ModelTerm) -> str:
        """``Sex: male vs female``, ``INR``, ``AFP (log10)``."""
        predictor = next(source.predictor for source in model.sources if source.name == term.source)
        if term.level is None:
            return f"{predictor.label} ({predictor.log})" if predictor.log else predictor.label
        reference = self.level(term.source, model.references[term.source])
        return f"{predictor.label}: {self.level(term.source, term.level)} vs {reference}"


def describe_model(model: FrozenLinear, words: Words, level: float = 0.95) -> dict[str, Any]:
    """One model: ratios (odds or hazard) per unit, per round step and per SD, with Wald limits.

    A Cox model has its baseline survival at the horizons, a logistic one at a horizon that horizon.
    """
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
        "method": _METHODS.get(model.method, model.method),
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


def three_digits(value: float) -> str:
    """Three significant digits, never with an exponent for large numbers."""
    return f"{float(f'{value:.3g}'):,.0f}" if value >= 1000 else f"{value:.3g}"


def resolution_of(values: np.ndarray) -> float:
    """The largest power of ten of which all recorded values are multiples: 1 of a count; 0 beyond four decimals."""
    known = np.unique(values[np.isfinite(values)])
    for digits in range(-3, 5):
        scaled = known * 10.0**digits
        if len(known) and np.all(np.abs(scaled - np.rint(scaled)) < 1e-6):
            return 10.0**-digits
    return 0.0


def changes(model: FrozenLinear, term: ModelTerm, words: Words) -> list[tuple[str, float]]:
    """Changes of a number that mean something, beside one unit: a round step near the SD, and the SD itself.

    None is finer than the values are recorded: a count has no ratio "per 0.1".
    """
    if term.level is not None or not term.sd > 0:
        return []
    predictor = next(source.predictor for source in model.sources if source.name == term.source)
    finest = 0.0 if predictor.log else words.resolutions.get(term.source, 0.0)
    shown = f" {predictor.unit}" if predictor.unit else ""
    step = max(10.0 ** math.floor(math.log10(term.sd)), finest)
    found = [] if step == 1.0 else [(f"per {step:g}{shown}", step)]
    return found + ([(f"per SD ({three_digits(term.sd)}{shown})", term.sd)] if term.sd >= finest else [])


def with_predictor_p(terms: list[dict[str, Any]], p: Mapping[str, float]) -> list[dict[str, Any]]:
    """Terms of which the first of each predictor of several levels has the P of all of them: the P that chooses."""
    sources = [str(term["name"]).split("=")[0] for term in terms]
    return [
        {**term, "p_predictor": float(p.get(source, np.nan))}
        if sources.count(source) > 1 and sources.index(source) == place
        else term
        for place, (term, source) in enumerate(zip(terms, sources, strict=True))
    ]


def describe_clinical(
    model: ClinicalModel, frame: pd.DataFrame, outcome: np.ndarray, words: Words, level: float
) -> dict[str, Any]:
    """The clinical model's three steps; each candidate alone has its ratio and the P of its test."""
    return {
        "alpha": model.alpha,
        "selected": list(model.selected_),
        "tests": model.univariate_.to_dict("records"),
        "univariate": _univariate(model, frame, outcome, words, level),
        "multivariate": _joint(model, words, level),
        "final": describe_model(model.frozen_, words, level),
    }


def _univariate(
    model: ClinicalModel, frame: pd.DataFrame, outcome: np.ndarray, words: Words, level: float
) -> list[dict[str, Any]]:
    """Each candidate's own model; of those that decided nothing (all were given, or a test did) it is fitted here."""
    tested = model.univariate_.set_index("name")
    reasons = dict(tested["reason"])
    single = model.single_
    if not single and not (has_time(outcome) and len(tested)):
        single, reasons = model.alone(frame, outcome)
    rows: list[dict[str, Any]] = []
    for item in model.predictors or ():
        if item.name not in single and not has_time(outcome):
            continue
        if item.name not in single:
            nothing = dict.fromkeys(("coefficient", "se", "p", "ratio", "low", "high"), float("nan"))
            reason = reasons.get(item.name) or "no estimate"
            rows.append({"name": item.name, "label": item.label, **nothing, "scales": [], "reason": reason})
            continue
        fitted = describe_model(single[item.name].frozen_, words, level)
        if has_time(outcome):
            terms = with_predictor_p(fitted["terms"], single[item.name].predictor_p())
            rows += [{**term, "n": fitted["n"], "method": fitted["method"]} for term in terms]
        else:
            test = {"test": tested.loc[item.name, "test"]} if item.name in tested.index else {}
            rows += [{**term, **test} for term in fitted["terms"]]
    return rows


def _joint(model: ClinicalModel, words: Words, level: float) -> dict[str, Any] | None:
    if model.joint_ is None:
        return None
    together = _with_check(model.joint_, words, level)
    return together | {"terms": with_predictor_p(together["terms"], dict(model.joint_p_))}


def _with_check(model: NamedRegression, words: Words, level: float) -> dict[str, Any]:
    """A model, of a Cox model with the test of proportional hazards by term, the whole model last."""
    content = describe_model(model.frozen_, words, level)
    if not isinstance(model, CoxModel):
        return content
    if model.proportional_ is None:
        return content | {"zph": []}
    labels = {term.name: words.term(model.frozen_, term) for term in model.frozen_.terms}
    return content | {
        "zph": [
            {
                "label": labels.get(str(name), "All terms together"),
                "chi2": float(row["chi2"]),
                "df": int(row["df"]),
                "p": float(row["p"]),
            }
            for name, row in model.proportional_.iterrows()
        ]
    }


def describe_radiomics(model: Any, words: Words, level: float) -> dict[str, Any]:
    """Counts by step, the LASSO path, the Radscore and the regression on it."""
    content: dict[str, Any] = {
        "steps": [step.to_json() for step in model.counts_],
        "status": model.status_,
        "reason": model.note_ or None,
        "final": describe_model(model.final_, words, level),
    }
    frozen = getattr(model, "frozen_", None)
    if frozen is not None and frozen.features:
        content["radscore"] = {
            "intercept": frozen.intercept,
            "terms": [
                {"feature": item.name, "weight": item.weight, "mean": item.mean, "sd": item.sd}
                for item in frozen.features
            ],
            "formula": frozen.formula("z"),
            "formula_original_units": frozen.formula("original"),
        }
    choice = getattr(model, "choice_", None)
    if choice is not None:
        content["lasso"] = _lasso(model, choice)
    return content


def _lasso(model: Any, choice: Any) -> dict[str, Any]:
    path = choice.path
    selector = getattr(model.chain_[-1], "selector_", model.chain_[-1])
    rule, of_time = getattr(selector, "rule", "min"), isinstance(model.final_, FrozenCox)
    used = np.flatnonzero((path.coefficients != 0).any(axis=0))
    return {
        "lambdas": path.lambdas,
        "coefficients": {str(path.names[j]): path.coefficients[:, j] for j in used},
        "n_nonzero": path.n_nonzero,
        "cv_mean": choice.mean,
        "cv_se": choice.se,
        "lambda_min": choice.lambda_min,
        "lambda_1se": choice.lambda_1se,
        "chosen": float(path.lambdas[choice.index(rule)]),
        "measure": "partial-likelihood deviance" if of_time else _LOSSES[choice.measure],
        "folds": choice.folds,
    }


def nomogram_of(
    models: FrozenModels,
    name: str,
    words: Words,
    training: pd.DataFrame,
    outcome: Outcome,
    shown: Sequence[float] = (),
    *,
    before: bool = False,
) -> Nomogram | None:
    """The nomogram of a model, of a Cox model with one axis a horizon; None where there is no model to draw.

    Parameters
    ----------
    shown, before
        Horizons as the study file gives them, and whether an event at the very horizon comes too late.
    """
    model = models.model(name)
    if model.status != "ok" or not model.terms:
        return None
    predictors, coefficients = [], {}
    table = models.inputs(training)
    for source in model.sources:
        item = source.predictor
        betas = [
            beta for term, beta in zip(model.terms, model.coefficients[1:], strict=True) if term.source == source.name
        ]
        if item.is_level:
            levels = tuple(words.level(source.name, level) for level in source.known_levels)
            predictors.append(Predictor(source.name, item.label, levels=levels))
        else:
            if item.log and item.log not in _LOG_BASE:
                return None
            betas = [beta * _LOG_BASE.get(item.log, 1.0) for beta in betas]
            predictors.append(_axis(source.name, item, source.minimum, source.maximum, table[source.name]))
        coefficients[source.name] = tuple(betas)
    lps = model.linear_predictor(table)
    ends = (float(lps.min()), float(lps.max()))
    if not isinstance(model, FrozenCox):
        drawn = NomogramModel(tuple(predictors), coefficients, model.coefficients[0])
        label = f"Risk of {outcome.positive} by {shown[-1]:g} {outcome.unit}" if shown else outcome.risk_label
        return build_nomogram(drawn, lp_range=ends, risk_label=label)
    survival = np.exp(-model.cumulative_hazard(models.horizons))
    # A horizon at which everybody or nobody is left has no axis.
    baseline = {t: float(s) for t, s in zip(models.horizons, survival, strict=True) if 1e-6 < s < 1 - 1e-6}
    word = "before" if before else "by"
    labels = {
        t: f"No {outcome.positive} {word} {h:g} {outcome.unit}" for t, h in zip(models.horizons, shown, strict=True)
    }
    drawn = NomogramModel(tuple(predictors), coefficients, model.coefficients[0], kind="cox", baseline=baseline)
    made = build_nomogram(drawn, lp_range=ends, risk_ticks=_SURVIVAL_TICKS, survival_labels=labels)
    return replace(made, outputs=tuple(_reachable(axis) for axis in made.outputs))


def _reachable(axis: OutputAxis) -> OutputAxis:
    """The axis without the ticks below 0 points, which no patient can have."""
    kept = [pair for pair in zip(axis.values, axis.total_points, strict=True) if pair[1] >= 0]
    return replace(axis, values=tuple(v for v, _ in kept), total_points=tuple(p for _, p in kept))


def _axis(name: str, item: Any, low: float, high: float, values: pd.Series) -> Predictor:
    distinct = np.unique(values.dropna().to_numpy(dtype=float))
    few = tuple(float(v) for v in distinct) if len(distinct) <= 10 else None
    ticks = None
    if item.log:
        # Round values on a logarithmic axis: 1, 2 and 5 in every decade.
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        grid = [m * 10.0**d for d in decades for m in (1, 2, 5)]
        ticks = tuple(v for v in grid if low / 1.5 <= v <= high * 1.5)
    return Predictor(name, item.label, unit=item.unit, low=low, high=high, values=few, log=bool(item.log), ticks=ticks)


def read_values(nomogram: Nomogram, models: FrozenModels, name: str, words: Words, patient: pd.DataFrame) -> Any:
    """A patient (one row) read off the nomogram, missing values filled as the model fills them."""
    model, table = models.model(name), models.inputs(patient)
    values: dict[str, float | str] = {}
    for source in model.sources:
        if source.predictor.is_level:
            read = source.read(table)
            assert isinstance(read, pd.Series)
            values[source.name] = words.level(source.name, str(read.iloc[0]))
        else:
            raw = float(pd.to_numeric(table[source.name], errors="coerce").iloc[0])
            if not math.isfinite(raw):
                raw = _undo(float(source.fill), source.predictor.log)
            values[source.name] = raw
    return nomogram.read(values)


def _undo(value: float, log: str) -> float:
    powers = {"": value, "ln": math.exp(value), "log2": 2.0**value, "log10": 10.0**value}
    if log not in powers:
        raise ModelError("This transformation has no axis on a nomogram.", found=log)
    return powers[log]


def example_patient(risks: pd.Series, events: pd.Series, sets: pd.Series, asked: str | None) -> str:
    """The patient to work through: as asked, else the event of middling risk in the last set that no model saw.

    That is the external set, else the validation set, else training.

    Raises
    ------
    ModelError
        The asked one is not in the study.
    """
    if asked is not None:
        if asked not in risks.index:
            raise ModelError("The example patient is not in the study.", found=asked, where="report.example_patient")
        return asked
    judged = next((name for name in ("external", "validation") if (sets == name).any()), "training")
    pool = sets.index[sets == judged]
    middling = [p for p in pool if events[p] == 1] or list(pool)
    order = sorted(middling, key=lambda p: (risks[p], p))
    return str(order[len(order) // 2])


def describe_example(
    patient: str,
    models: FrozenModels,
    name: str,
    words: Words,
    row: pd.DataFrame,
    outcome: Outcome,
    level: float,
    shown: Sequence[float] = (),
) -> dict[str, Any]:
    """One patient's risk (at each horizon), what it is made of, what was observed.

    Parameters
    ----------
    shown
        Horizons as the study file gives them.
    """
    model = models.model(name)
    shares = models.contributions(row, name, features=False).iloc[0]
    table = models.inputs(row)
    terms = []
    for term in model.terms:
        value = table[term.source].iloc[0]
        text = words.level(term.source, _text(value)) if term.level is not None else f"{float(value):.4g}"
        terms.append({"label": words.term(model, term), "value": text, "contribution": float(shares[term.name])})
    at = []
    for horizon, label in zip(models.horizons or (models.main_horizon,), shown or (math.nan,), strict=True):
        low, high = models.interval(row, name, level, horizon)[0]
        risk = float(models.predict_risk(row, horizon)[name].iloc[0])
        at.append({"time": label, "risk": risk, "low": float(low), "high": float(high)})
    content = {"patient": patient, **{key: at[-1][key] for key in ("risk", "low", "high")}, "shares": terms}
    if isinstance(outcome, BinaryOutcome):
        return content | {"outcome": int(outcome.values[patient])}
    seen = f"{outcome.labels()[patient]} at {float(outcome.time[patient]):g} {outcome.unit}"
    return content | {"horizons": at, "observed": seen}


def _text(value: Any) -> str:
    return str(int(value)) if isinstance(value, float | np.floating) and float(value).is_integer() else str(value)


def describe_models(
    fitted: StudyModels, training: pd.DataFrame, outcome: np.ndarray, words: Words, level: float
) -> dict[str, Any]:
    """All models of a study, without nomogram and example; of time and event the steps stand in `describe_steps`.

    Parameters
    ----------
    training, outcome
        Table and outcome of the training patients.
    """
    content: dict[str, Any] = {"names": list(fitted.frozen_.names), "cutoffs": fitted.cutoffs_}
    if fitted.radiomics_ is not None:
        content["radiomics"] = describe_radiomics(fitted.radiomics_, words, level)
    if has_time(outcome):
        content.get("radiomics", {}).pop("final", None)
        return content
    if fitted.clinical_ is not None:
        candidates = training[[item.name for item in fitted.predictors]]
        content["clinical"] = describe_clinical(fitted.clinical_, candidates, outcome, words, level)
    if fitted.combined_ is not None:
        model = fitted.combined_.frozen_
        content["combined"] = {
            "final": describe_model(model, words, level),
            "status": model.status,
            "reason": fitted.notes_["combined"] or None,
        }
    return content


def describe_steps(
    study: Study,
    outcome: Outcome,
    fitted: StudyModels,
    training: tuple[pd.DataFrame, np.ndarray],
    words: Words,
    level: float,
) -> dict[str, Any]:
    """Models of time and event: every model, its steps, its cut-off, and what competes."""
    x, y = training
    options, frozen = study.modelling, fitted.frozen_
    content: dict[str, Any] = {
        "end_point": outcome.name,
        "event": outcome.positive,
        "unit": outcome.unit,
        "horizons": list(frozen.horizons),
        "before_horizon": study.outcome.before_horizon,
        "competing": bool(outcome.n_competing),
        "selection": options.selection,
        "alpha": options.alpha,
        "confidence": level,
        "names": list(frozen.names),
        "main": frozen.names[-1],
        "models": {name: describe_model(model, words, level) for name, model in frozen.models.items()},
        "notes": fitted.notes_,
        "cuts": {name: cut.__dict__ for name, cut in fitted.cuts_.items()},
    }
    clinical = fitted.clinical_
    if clinical is not None:
        content["univariate"] = _univariate(clinical, x, y, words, level)
        content["multivariate"] = _joint(clinical, words, level)
        content["models"]["clinical"] = _with_check(clinical.model_, words, level)
        content["selected"] = list(clinical.selected_)
    if fitted.combined_ is not None:
        content["models"]["combined"] = _with_check(fitted.combined_, words, level)
    if fitted.radiomics_ is not None:
        content["radiomics"] = describe_radiomics(fitted.radiomics_, words, level)
    if fitted.binary_ is not None:
        content["binary"] = _binary_states(y, frozen.main_horizon) | {"selected": list(fitted.binary_.selected_)}
    if outcome.n_competing:
        content["cause_specific"] = None
        if clinical is not None and clinical.chosen_predictors_:
            # Beside Fine and Gray's model.
            cause = CoxModel(tuple(clinical.chosen_predictors_), (), "cause-specific").fit(x, y)
            content["cause_specific"] = _with_check(cause, words, level)
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
