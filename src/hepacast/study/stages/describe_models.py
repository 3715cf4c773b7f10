"""`modelling/models.json`: the fitted models in the words and numbers that tables and figures need."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm

from hepacast.cohort import ColumnSpec
from hepacast.cohort.tables import ClinicalTable
from hepacast.errors import ModelError
from hepacast.modelling.clinical import ClinicalModel
from hepacast.modelling.frozen_logistic import FrozenLinear, FrozenLogistic, ModelTerm
from hepacast.modelling.frozen_models import FrozenModels
from hepacast.modelling.logistic_model import LogisticModel
from hepacast.modelling.study_models import StudyModels
from hepacast.nomogram import Nomogram, NomogramModel, Predictor, build_nomogram

_METHODS = {"ml": "maximum likelihood", "firth": "Firth", "intercept only": "intercept only"}
#: Factor from the coefficient of a logarithm to that of the natural one.
_LOG_BASE = {"ln": 1.0, "log2": 1 / math.log(2), "log10": 1 / math.log(10)}


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


def describe_logistic(model: FrozenLogistic, words: Words, level: float = 0.95) -> dict[str, Any]:
    """A logistic model as the report reads it: odds ratios per unit, per round step and per SD, with Wald limits."""
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
    return {
        "intercept": model.coefficients[0],
        "terms": terms,
        "n": model.n,
        "events": model.n_events,
        "method": _METHODS.get(model.method, model.method),
        "status": model.status,
        "reason": model.note or None,
    }


def _ratio(beta: float, se: float, z: float, step: float) -> dict[str, float]:
    def ratio(value: float) -> float:
        return math.exp(value * step) if abs(value * step) < 700 else math.inf if value * step > 0 else 0.0

    return {"odds_ratio": ratio(beta), "low": ratio(beta - z * se), "high": ratio(beta + z * se)}


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
    """The clinical model's three steps; each candidate alone has its odds ratio and the P of its test."""
    tested = model.univariate_.set_index("name")
    univariate = []
    for predictor in model.predictors or ():
        single = LogisticModel([predictor], firth=model.firth).fit(frame, outcome).frozen_
        for term in describe_logistic(single, words, level)["terms"]:
            univariate.append({**term, "test": tested.loc[predictor.name, "test"]})
    together = None if model.joint_ is None else describe_logistic(model.joint_.frozen_, words, level)
    if together is not None:
        together["terms"] = with_predictor_p(together["terms"], dict(model.joint_p_))
    return {
        "alpha": model.alpha,
        "selected": list(model.selected_),
        "tests": model.univariate_.to_dict("records"),
        "univariate": univariate,
        "multivariate": together,
        "final": describe_logistic(model.frozen_, words, level),
    }


def describe_radiomics(model: Any, words: Words, level: float) -> dict[str, Any]:
    """Counts by step, the LASSO path, the Radscore and the logistic model on it."""
    content: dict[str, Any] = {
        "steps": [step.to_json() for step in model.counts_],
        "status": model.status_,
        "reason": model.note_ or None,
        "final": describe_logistic(model.logistic_, words, level),
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
    rule = getattr(selector, "rule", "min")
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
        "measure": {"deviance": "binomial deviance", "auc": "AUC", "class": "error rate"}[choice.measure],
        "folds": choice.folds,
    }


def nomogram_of(
    models: FrozenModels, name: str, words: Words, training: pd.DataFrame, risk_label: str
) -> Nomogram | None:
    """The nomogram of a logistic model; None for an intercept alone, or a transformation it has no axis for."""
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
    drawn = NomogramModel(tuple(predictors), coefficients, model.coefficients[0])
    lps = model.linear_predictor(table)
    return build_nomogram(drawn, lp_range=(float(lps.min()), float(lps.max())), risk_label=risk_label)


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


def example_patient(risks: pd.Series, outcome: pd.Series, sets: pd.Series, asked: str | None) -> str:
    """The patient to work through: as asked, else the event of middling risk in the validation set, or in training.

    Raises
    ------
    ModelError
        The asked one is not in the study.
    """
    if asked is not None:
        if asked not in risks.index:
            raise ModelError("The example patient is not in the study.", found=asked, where="report.example_patient")
        return asked
    names = set(sets)
    pool = sets.index[sets == ("validation" if "validation" in names else "training")]
    events = [p for p in pool if outcome[p] == 1] or list(pool)
    order = sorted(events, key=lambda p: (risks[p], p))
    return str(order[len(order) // 2])


def describe_example(
    patient: str, models: FrozenModels, name: str, words: Words, row: pd.DataFrame, outcome: int, level: float
) -> dict[str, Any]:
    """One patient's risk and what it is made of."""
    model = models.model(name)
    shares = models.contributions(row, name, features=False).iloc[0]
    table = models.inputs(row)
    shown = []
    for term in model.terms:
        value = table[term.source].iloc[0]
        text = words.level(term.source, _text(value)) if term.level is not None else f"{float(value):.4g}"
        shown.append({"label": words.term(model, term), "value": text, "contribution": float(shares[term.name])})
    low, high = models.interval(row, name, level)[0]
    return {
        "patient": patient,
        "risk": float(models.predict_risk(row)[name].iloc[0]),
        "low": float(low),
        "high": float(high),
        "outcome": int(outcome),
        "shares": shown,
    }


def _text(value: Any) -> str:
    return str(int(value)) if isinstance(value, float | np.floating) and float(value).is_integer() else str(value)


def describe_models(
    fitted: StudyModels, clinical: pd.DataFrame, outcome: np.ndarray, words: Words, level: float
) -> dict[str, Any]:
    """All models of a study, without nomogram and example."""
    content: dict[str, Any] = {"names": list(fitted.frozen_.names)}
    if fitted.clinical_ is not None:
        content["clinical"] = describe_clinical(fitted.clinical_, clinical, outcome, words, level)
    if fitted.radiomics_ is not None:
        content["radiomics"] = describe_radiomics(fitted.radiomics_, words, level)
    if fitted.combined_ is not None:
        model = fitted.combined_.frozen_
        content["combined"] = {
            "final": describe_logistic(model, words, level),
            "status": model.status,
            "reason": fitted.notes_["combined"] or None,
        }
    content["cutoffs"] = fitted.cutoffs_
    return content
