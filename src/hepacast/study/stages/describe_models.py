"""`modelling/models.json`: fitted models in the words and numbers that tables and figures need (`DescribedModels`)."""

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
from hepacast.modelling.described import (
    BaselineAt,
    BinaryStates,
    ChainStep,
    Cut,
    DescribedClinical,
    DescribedCombined,
    DescribedModels,
    DescribedRadiomics,
    Example,
    FittedModel,
    LassoPath,
    ProportionalTest,
    RadscoreFormula,
    RadscoreTerm,
    RiskBy,
    RiskShare,
    ScaledRatio,
    Term,
)
from hepacast.modelling.frozen_cox import FrozenCox
from hepacast.modelling.frozen_logistic import FrozenLinear, FrozenLogisticAt, ModelTerm
from hepacast.modelling.frozen_models import FrozenModels
from hepacast.modelling.logistic_at import states_at
from hepacast.modelling.named_design import NamedRegression
from hepacast.modelling.score_model import ChainCount
from hepacast.modelling.study_models import StudyModels
from hepacast.modelling.targets import has_time
from hepacast.nomogram import Nomogram, NomogramModel, NomogramPredictor, build_nomogram
from hepacast.nomogram.build import OutputAxis
from hepacast.stats.penalized_cv import PenaltyChoice, Rule
from hepacast.study.schema import Study

_METHODS = {"ml": "maximum likelihood", "firth": "Firth"}
_LOSSES = {"deviance": "binomial deviance", "auc": "AUC", "class": "error rate"}
#: Factor from the coefficient of a logarithm to that of the natural one.
_LOG_BASE = {"ln": 1.0, "log2": 1 / math.log(2), "log10": 1 / math.log(10), "log10p1": 1 / math.log(10)}
#: What is added before a logarithm is taken.
_PLUS = {"log10p1": 1.0}

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


def describe_model(model: FrozenLinear, words: Words, level: float = 0.95) -> FittedModel:
    """One model: ratios (odds or hazard) per unit, per round step and per SD, with Wald limits.

    A Cox model has its baseline survival at the horizons, a logistic one at a horizon that horizon.
    """
    found = FittedModel(
        terms=[_term(model, index, words, level) for index in range(len(model.terms))],
        n=model.n,
        events=model.n_events,
        method=_METHODS.get(model.method, model.method),
        kind="cox" if isinstance(model, FrozenCox) else "logistic",
        status=model.status,
        reason=model.note or None,
        intercept=model.coefficients[0],
    )
    if isinstance(model, FrozenLogisticAt):
        return replace(found, horizon=model.horizon, n_censored=model.n_censored)
    if not isinstance(model, FrozenCox) or model.limits is None:
        return found
    times = [float(key) for key in model.limits]
    survival = np.exp(-model.cumulative_hazard([min(t, model.last_time) for t in times]))
    return replace(found, baseline=[BaselineAt(t, float(left)) for t, left in zip(times, survival, strict=True)])


def _term(model: FrozenLinear, index: int, words: Words, level: float) -> Term:
    term, beta = model.terms[index], model.coefficients[index + 1]
    se = math.sqrt(max(float(model.covariance[index + 1][index + 1]), 0.0))
    z = float(norm.ppf(0.5 + level / 2))
    unit = next(source.predictor.unit for source in model.sources if source.name == term.source)
    return Term(
        term.name,
        words.term(model, term),
        beta,
        *_ratio(beta, se, z, 1.0),
        p=model.p_values[index + 1],
        se=se,
        unit=unit or None,
        scales=[ScaledRatio(text, *_ratio(beta, se, z, size)) for text, size in changes(model, term, words)],
        numeric=term.level is None,
    )


def _ratio(beta: float, se: float, z: float, step: float) -> tuple[float, float, float]:
    """For a change of a step: ratio, lower and upper limit."""

    def ratio(value: float) -> float:
        return math.exp(value * step) if abs(value * step) < 700 else math.inf if value * step > 0 else 0.0

    return ratio(beta), ratio(beta - z * se), ratio(beta + z * se)


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


def with_predictor_p(terms: Sequence[Term], p: Mapping[str, float]) -> list[Term]:
    """Terms of which the first of each predictor of several levels has the P of all of them: the P that chooses."""
    sources = [term.name.split("=")[0] for term in terms]
    return [
        replace(term, p_predictor=float(p.get(source, np.nan)))
        if sources.count(source) > 1 and sources.index(source) == place
        else term
        for place, (term, source) in enumerate(zip(terms, sources, strict=True))
    ]


def describe_clinical(
    model: ClinicalModel, frame: pd.DataFrame, outcome: np.ndarray, words: Words, level: float
) -> DescribedClinical:
    """The clinical model's three steps; each candidate alone has its ratio and the P of its test."""
    return DescribedClinical(
        selected=list(model.selected_),
        alpha=model.alpha,
        univariate=_univariate(model, frame, outcome, words, level),
        multivariate=_joint(model, words, level),
        final=describe_model(model.frozen_, words, level),
        tests=[{str(key): value for key, value in row.items()} for row in model.univariate_.to_dict("records")],
    )


def _univariate(
    model: ClinicalModel, frame: pd.DataFrame, outcome: np.ndarray, words: Words, level: float
) -> list[Term]:
    """Each candidate's own model; of those that decided nothing (all were given, or a test did) it is fitted here."""
    tested = model.univariate_.set_index("name")
    reasons = dict(tested["reason"])
    single = model.single_
    if not single and not (has_time(outcome) and len(tested)):
        single, reasons = model.alone(frame, outcome)
    nan, rows = float("nan"), list[Term]()
    for item in model.predictors or ():
        if item.name not in single:
            if has_time(outcome):
                reason = str(reasons.get(item.name) or "no estimate")
                rows.append(Term(item.name, item.label, nan, nan, nan, nan, nan, reason=reason))
            continue
        fitted = describe_model(single[item.name].frozen_, words, level)
        if has_time(outcome):
            terms = with_predictor_p(fitted.terms, single[item.name].predictor_p())
            rows += [replace(term, n=fitted.n, method=fitted.method) for term in terms]
        else:
            test = str(tested.loc[item.name, "test"]) if item.name in tested.index else None
            rows += [replace(term, test=test) for term in fitted.terms]
    return rows


def _joint(model: ClinicalModel, words: Words, level: float) -> FittedModel | None:
    if model.joint_ is None:
        return None
    together = _with_check(model.joint_, words, level)
    return replace(together, terms=with_predictor_p(together.terms, dict(model.joint_p_)))


def _with_check(model: NamedRegression, words: Words, level: float) -> FittedModel:
    """A model, of a Cox model with the test of proportional hazards by term, the whole model last."""
    found = describe_model(model.frozen_, words, level)
    if not isinstance(model, CoxModel) or model.proportional_ is None:
        return found
    labels = {term.name: words.term(model.frozen_, term) for term in model.frozen_.terms}
    tests = [
        ProportionalTest(
            labels.get(str(name), "All terms together"), float(row["chi2"]), int(row["df"]), float(row["p"])
        )
        for name, row in model.proportional_.iterrows()
    ]
    return replace(found, zph=tests)


def chain_steps(counts: Sequence[ChainCount]) -> list[ChainStep]:
    """The steps of a fitted chain as tables show them."""
    return [ChainStep(step.name, step.label, step.n_in, step.n_out, dict(step.reasons)) for step in counts]


def describe_radiomics(model: Any, words: Words, level: float) -> DescribedRadiomics:
    """Counts by step, the LASSO path, the Radscore and the regression on it."""
    frozen, choice = getattr(model, "frozen_", None), getattr(model, "choice_", None)
    radscore = None
    if frozen is not None and frozen.features:
        terms = [RadscoreTerm(item.name, item.weight, item.mean, item.sd) for item in frozen.features]
        radscore = RadscoreFormula(frozen.intercept, terms, frozen.formula("z"), frozen.formula("original"))
    return DescribedRadiomics(
        steps=chain_steps(model.counts_),
        lasso=None if choice is None else _lasso(model, choice),
        radscore=radscore,
        final=describe_model(model.final_, words, level),
        status=model.status_,
        reason=model.note_ or None,
    )


def _lasso(model: Any, choice: PenaltyChoice) -> LassoPath:
    path = choice.path
    selector = getattr(model.chain_[-1], "selector_", model.chain_[-1])
    rule: Rule = getattr(selector, "rule", "min")
    used = np.flatnonzero((path.coefficients != 0).any(axis=0))
    return LassoPath(
        lambdas=[float(value) for value in path.lambdas],
        coefficients={str(path.names[j]): [float(value) for value in path.coefficients[:, j]] for j in used},
        n_nonzero=[int(count) for count in path.n_nonzero],
        chosen=float(path.lambdas[choice.index(rule)]),
        lambda_min=float(choice.lambda_min),
        lambda_1se=float(choice.lambda_1se),
        cv_mean=[float(value) for value in choice.mean],
        cv_se=[float(value) for value in choice.se],
        measure="partial-likelihood deviance" if isinstance(model.final_, FrozenCox) else _LOSSES[choice.measure],
        folds=choice.folds,
    )


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
            predictors.append(NomogramPredictor(source.name, item.label, levels=levels))
        else:
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


def _axis(name: str, item: Any, low: float, high: float, values: pd.Series) -> NomogramPredictor:
    distinct = np.unique(values.dropna().to_numpy(dtype=float))
    few = tuple(float(v) for v in distinct) if len(distinct) <= 10 else None
    ticks = None
    if item.log:
        # Round values on a logarithmic axis: 1, 2 and 5 in every decade.
        # An axis of 1 + x tells nothing apart far below 1.
        first = low if item.log not in _PLUS else max(low, 0.1)
        decades = range(math.floor(math.log10(first)), math.ceil(math.log10(high)) + 1)
        grid = [m * 10.0**d for d in decades for m in (1, 2, 5)]
        ticks = tuple(v for v in grid if first / 1.5 <= v <= high * 1.5)
        if low < first:
            ticks = (low, *ticks)
    return NomogramPredictor(
        name,
        item.label,
        unit=item.unit,
        low=low,
        high=high,
        values=few,
        log=bool(item.log),
        ticks=ticks,
        plus=_PLUS.get(item.log, 0.0),
    )


def read_values(nomogram: Nomogram, models: FrozenModels, name: str, words: Words, patient: pd.DataFrame) -> Any:
    """A patient (one row) read off the nomogram, missing values filled as the model fills them."""
    model, table = models.model(name), models.inputs(patient)
    values: dict[str, float | str] = {}
    for source in model.sources:
        if source.predictor.is_level:
            values[source.name] = words.level(source.name, str(source.read(table)[0]))
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
) -> Example:
    """One patient's risk (at each horizon), what it is made of, what was observed.

    Parameters
    ----------
    shown
        Horizons as the study file gives them.
    """
    model = models.model(name)
    shares = models.contributions(row, name, features=False).iloc[0]
    table = models.inputs(row)
    parts = []
    for term in model.terms:
        value = table[term.source].iloc[0]
        text = words.level(term.source, _text(value)) if term.level is not None else f"{float(value):.4g}"
        parts.append(RiskShare(words.term(model, term), text, float(shares[term.name])))
    at = []
    for horizon, label in zip(models.horizons or (models.main_horizon,), shown or (math.nan,), strict=True):
        low, high = models.interval(row, name, level, horizon)[0]
        at.append(RiskBy(label, float(models.predict_risk(row, horizon)[name].iloc[0]), float(low), float(high)))
    last = at[-1]
    found = Example(patient, last.risk, last.low, last.high, shares=parts)
    if isinstance(outcome, BinaryOutcome):
        return replace(found, outcome=int(outcome.values[patient]))
    seen = f"{outcome.labels()[patient]} at {float(outcome.time[patient]):g} {outcome.unit}"
    return replace(found, horizons=at, observed=seen)


def _text(value: Any) -> str:
    return str(int(value)) if isinstance(value, float | np.floating) and float(value).is_integer() else str(value)


def describe_models(
    study: Study,
    outcome: Outcome,
    fitted: StudyModels,
    training: tuple[pd.DataFrame, np.ndarray],
    words: Words,
    level: float,
) -> DescribedModels:
    """All models of a study, without nomogram and example.

    Parameters
    ----------
    training
        Table and outcome of the training patients.
    """
    x, y = training
    frozen, radiomics = fitted.frozen_, None
    if fitted.radiomics_ is not None:
        radiomics = describe_radiomics(fitted.radiomics_, words, level)
    found = DescribedModels(
        names=list(frozen.names),
        main=frozen.names[-1],
        cutoffs=dict(fitted.cutoffs_),
        confidence=level,
        radiomics=radiomics if not outcome.has_time or radiomics is None else replace(radiomics, final=None),
        selection=study.modelling.selection,
        alpha=study.modelling.alpha,
    )
    if outcome.has_time:
        return _of_hazards(found, study, outcome, fitted, training, words)
    candidates = x[[item.name for item in fitted.predictors]]
    clinical, measured = (
        None if model is None else describe_clinical(model, candidates, y, words, level)
        for model in (fitted.clinical_, fitted.biomarkers_)
    )
    joined = {name: _described(fitted, name, model, words, level)
              for name, model in (("combined", fitted.combined_), ("joint", fitted.joint_))}  # fmt: skip
    return replace(found, clinical=clinical, biomarkers=measured, combined=joined["combined"], joint=joined["joint"])


def _described(
    fitted: StudyModels, name: str, model: NamedRegression | None, words: Words, level: float
) -> DescribedCombined | None:
    if model is None:
        return None
    frozen = model.frozen_
    return DescribedCombined(describe_model(frozen, words, level), frozen.status, fitted.notes_[name] or None)


def _of_hazards(
    found: DescribedModels,
    study: Study,
    outcome: Outcome,
    fitted: StudyModels,
    training: tuple[pd.DataFrame, np.ndarray],
    words: Words,
) -> DescribedModels:
    """With every model of time and event, its steps, its cut-off, and what competes."""
    (x, y), level = training, found.confidence
    frozen, clinical = fitted.frozen_, fitted.clinical_
    models = {name: describe_model(model, words, level) for name, model in frozen.models.items()}
    steps: dict[str, Any] = {}
    if clinical is not None:
        models["clinical"] = _with_check(clinical.model_, words, level)
        steps |= hazard_steps(clinical, x, y, words, level)
    if fitted.biomarkers_ is not None:
        models["biomarkers"] = _with_check(fitted.biomarkers_.model_, words, level)
    if fitted.combined_ is not None:
        models["combined"] = _with_check(fitted.combined_, words, level)
    if fitted.joint_ is not None:
        models["joint"] = _with_check(fitted.joint_, words, level)
    if fitted.binary_ is not None:
        steps["binary"] = _binary_states(y, frozen.main_horizon, fitted.binary_.selected_)
    cuts = {name: Cut(cut.value, cut.rule, cut.p, cut.note) for name, cut in fitted.cuts_.items()}
    return replace(found, **timed_facts(study, outcome), models=models, notes=dict(fitted.notes_), cuts=cuts, **steps)


def timed_facts(study: Study, outcome: Outcome) -> dict[str, Any]:
    """Of a time to an event: what is predicted, by when."""
    return {
        "event": outcome.positive,
        "unit": outcome.unit,
        "horizons": outcome.horizons,
        "before_horizon": study.outcome.before_horizon,
        "competing": bool(outcome.n_competing),
    }


def hazard_steps(clinical: ClinicalModel, x: pd.DataFrame, y: np.ndarray, words: Words, level: float) -> dict[str, Any]:
    """How the clinical predictors of a hazard were chosen; beside Fine and Gray's model the cause-specific one."""
    steps: dict[str, Any] = {
        "univariate": _univariate(clinical, x, y, words, level),
        "multivariate": _joint(clinical, words, level),
        "selected": list(clinical.selected_),
    }
    if (np.asarray(y)[:, 1] == 2).any() and clinical.chosen_predictors_:
        cause = CoxModel(tuple(clinical.chosen_predictors_), (), "cause-specific").fit(x, y)
        steps["cause_specific"] = _with_check(cause, words, level)
    return steps


def _binary_states(outcome: np.ndarray, horizon: float, selected: Sequence[str]) -> BinaryStates:
    states = states_at(outcome[:, 0], outcome[:, 1], horizon)
    known = states.weight > 0
    return BinaryStates(
        horizon=horizon,
        events=states.n_events,
        free=states.n_free,
        censored=states.n_censored,
        largest_weight=float(states.weight.max()),
        sum_of_weights=float(states.weight[known].sum()),
        selected=list(selected),
    )
