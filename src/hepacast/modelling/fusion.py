"""Models that join scores of different kinds: classifiers on features, networks, clinical predictors.

Several classifiers and networks compete; which one is used is decided inside the training patients of each view (an
outer fold's training part, or all training patients for the final models), so that the patients who are predicted have
no say in it. A view holds what that decision may see; `fit_view` makes scores, choices, logistic models and risks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hepacast.cohort.outcome import EVER
from hepacast.core.seeds import derive_seed
from hepacast.errors import ModelError
from hepacast.modelling.base import listed
from hepacast.modelling.classifier_score import ClassifierScore
from hepacast.modelling.clinical import ClinicalModel, Keep
from hepacast.modelling.combination import Combination, joined_regression
from hepacast.modelling.cox_model import CoxModel
from hepacast.modelling.cutoffs import CutRule, risk_cut
from hepacast.modelling.evidence import columns_of, evidence
from hepacast.modelling.frozen_classifiers import stacked
from hepacast.modelling.frozen_logistic import FrozenLinear
from hepacast.modelling.frozen_models import FrozenModels
from hepacast.modelling.frozen_score import DL_SCORE
from hepacast.modelling.fusion_scores import Family, PartScores, View, family_scores
from hepacast.modelling.logistic_model import LogisticModel
from hepacast.modelling.named_design import NamedRegression
from hepacast.modelling.predictions import Kind, Predictions
from hepacast.modelling.predictors import Predictor, in_logarithms
from hepacast.modelling.score_model import ChainCount
from hepacast.modelling.score_scale import LEAST_SLOPE, ScoreScale
from hepacast.modelling.targets import event_classes, rank_estimate, rank_score
from hepacast.stats.measurement_error import moment_reconstruction

CLINICAL, BIOMARKERS, NETWORK = "clinical", "biomarkers", "network"
#: Which of several competitors makes a score: see `FusionSpec`.
Competition = Literal["best", "averaged"]
AVERAGE = "average"


@dataclass(frozen=True)
class FusionSpec:
    """What is fitted in every view.

    Parameters
    ----------
    families
        Scores that are made from features.
    models
        Model -> its parts: ``clinical``, ``biomarkers``, ``network`` or the name of a family. The last is the main
        model. A model with biomarkers is one ridge regression of its scores, of all biomarkers, and of clinical
        predictors that probably belong; no other model holds a biomarker.
    predictors
        Candidates of the clinical part, and biomarkers.
    alpha
        P below which a clinical predictor stays.
    seed
        Of the classifiers.
    horizons, unit, cut
        Of a time to an event: times by which risks are given, the main one last; unit; rule of the cut-offs.
    selection
        How clinical predictors are chosen (`ClinicalModel`); with ``"penalised"`` the joined models are shrunk too.
    biomarkers
        Predictors that are biomarkers -> kind of what they tell.
    combination
        How a model with biomarkers joins them with clinical predictors and scores: ``"regression"``, one of all, or
        ``"averaged"`` (`hepacast.modelling.combination.AveragedModel`; then each kind of biomarkers has a penalty of
        its own), or ``"auto"``: averaged where the outcome is related to all its parts' candidates, features and
        networks' scores more than permuted outcomes are.
    competition
        ``"best"``: the competitor of the largest AUC or C in the inner folds is the score. ``"averaged"``: the mean of
        all classifiers' linear predictors, each brought to log odds (log hazard) by its scores of patients left out; of
        networks, whose mean would be as many times as slow, the first within one standard error of the best.
    """

    families: tuple[Family, ...]
    models: Mapping[str, tuple[str, ...]]
    predictors: tuple[Predictor, ...]
    alpha: float = 0.05
    seed: int = 0
    horizons: tuple[float, ...] = ()
    unit: str = ""
    cut: CutRule = "youden"
    selection: Keep = "independent"
    biomarkers: Mapping[str, str] = field(default_factory=dict)
    combination: Combination = "regression"
    competition: Competition = "best"

    def __post_init__(self) -> None:
        known = {CLINICAL, BIOMARKERS, NETWORK, *(family.name for family in self.families)}
        for name, parts in self.models.items():
            wrong = [part for part in parts if part not in known]
            if wrong or not parts:
                raise ModelError(
                    f"The model {name!r} is made of unknown parts.", expected=listed(sorted(known)), found=listed(wrong)
                )

    @property
    def clinical(self) -> tuple[Predictor, ...]:
        """Candidates of the clinical part: without biomarkers, where these are a part of their own."""
        apart = any(BIOMARKERS in parts for parts in self.models.values())
        return tuple(item for item in self.predictors if not (apart and item.name in self.biomarkers))

    @property
    def measured(self) -> tuple[Predictor, ...]:
        """The predictors that are biomarkers."""
        return tuple(item for item in self.predictors if item.name in self.biomarkers)


@dataclass(frozen=True)
class Candidate:
    """One competitor in one view: for which score, its AUC or C in the inner folds, whether it was taken."""

    part: str
    name: str
    inner: float
    chosen: bool


@dataclass(frozen=True, eq=False)
class JoinedRisks:
    """What the joined models say of some patients: linear predictors, patients x models; risks by horizon alike."""

    linear_predictors: pd.DataFrame
    risks: dict[float, pd.DataFrame]

    @classmethod
    def by(cls, models: Mapping[str, FrozenLinear], table: pd.DataFrame, horizons: Sequence[float]) -> JoinedRisks:
        """Of every row of a table; without horizons the risk of the event, under `EVER`."""
        linear = pd.DataFrame({name: item.linear_predictor(table) for name, item in models.items()}, index=table.index)
        risks = {
            horizon: pd.DataFrame(
                {name: item.risk(table, horizon if horizons else None) for name, item in models.items()},
                index=table.index,
            )
            for horizon in horizons or (EVER,)
        }
        return cls(linear, risks)

    @property
    def main(self) -> pd.DataFrame:
        """Risks by the main horizon."""
        return list(self.risks.values())[-1]

    def predictions(
        self, patients: Sequence[str], y: NDArray[Any], set_name: str, kind: Kind, fold: int = 0
    ) -> Predictions:
        """The rows of some patients as a table of predictions; `y` is their outcome."""
        models = [str(name) for name in self.linear_predictors.columns]
        risks = np.stack([item.loc[list(patients)].to_numpy() for item in self.risks.values()], axis=2)
        linear = self.linear_predictors.loc[list(patients)].to_numpy()
        horizons = tuple(self.risks)
        rules: dict[str, Any] = {"models": models, "horizons": horizons, "set": set_name, "kind": kind, "fold": fold}
        return Predictions.make(patients, y, risks, linear, **rules)


@dataclass(frozen=True, eq=False)
class ViewResult:
    """What a view gave.

    Parameters
    ----------
    label
        As of the view.
    candidates
        Every competitor.
    competitors
        Scores of the test patients by every competitor: columns ``part/name``.
    scores
        Chosen scores of training patients (each from a fit without the patient) and of test patients.
    models
        Logistic or Cox model by name.
    clinical
        The fitted clinical model; None when no model has a clinical part.
    counts
        Features after each step of the chain, by family (fit to all training patients of the view).
    selected
        Features that reached the classifier, by family.
    notes
        By score, why it was left out.
    test, training
        Risks and linear predictors of test patients; of training patients, from the scores of fits without the patient.
    cutoffs
        Cut-off by model, from risks of the training patients with scores as noisy as those of new patients.
    frozen, unfrozen
        Chosen classifiers with the steps before them as arrays, by score; or why there are none.
    """

    label: str
    candidates: list[Candidate]
    competitors: pd.DataFrame
    scores: pd.DataFrame
    models: dict[str, FrozenLinear]
    clinical: ClinicalModel | None
    counts: dict[str, list[ChainCount]]
    selected: dict[str, list[str]]
    notes: dict[str, str]
    test: JoinedRisks
    training: JoinedRisks
    cutoffs: dict[str, float]
    horizons: tuple[float, ...] = ()
    unit: str = ""
    frozen: dict[str, ClassifierScore] = field(default_factory=dict)
    unfrozen: dict[str, str] = field(default_factory=dict)

    def freeze(self) -> FrozenModels:
        """The models as plain numbers and arrays: all that a prediction needs.

        Raises
        ------
        ModelError
            A score that a model reads has no array form.
        """
        used = {name for model in self.models.values() for name in model.names}
        for name in sorted(used & set(self.unfrozen)):
            raise ModelError(f"The {name} cannot be put into a bundle: {self.unfrozen[name]}")
        parts = {name: item for name, item in self.frozen.items() if name in used}
        return FrozenModels(self.models, None, self.cutoffs, self.horizons, self.unit, parts)


def fit_view(view: View, spec: FusionSpec) -> ViewResult:
    """Choose, fit and predict within one view.

    Raises
    ------
    ModelError
        A part that the models need is not in the view.
    """
    view = _sorted(view)
    wanted = {part for parts in spec.models.values() for part in parts}
    scored: dict[str, PartScores] = {}
    for family in spec.families:
        if family.name in wanted:
            scored[family.name] = family_scores(view, family, derive_seed(spec.seed, family.name))
    if NETWORK in wanted:
        if not view.networks:
            raise ModelError("A model needs a network's score, and there is no network.")
        scored[NETWORK] = PartScores(pd.DataFrame(dict(view.networks)))
    candidates, chosen, notes, scales = _choose(view, scored, spec.competition)
    clinical = _clinical(view, spec) if CLINICAL in wanted else None
    patients = [*view.outcome.index, *view.test]
    table = view.clinical.loc[patients].join(chosen.loc[patients])
    train, test = table.loc[view.outcome.index], table.loc[list(view.test)]
    alike = _as_of_new_patients(train, candidates, view)
    models = {name: _joined(parts, clinical, notes, alike, view, spec) for name, parts in spec.models.items()}
    frozen, unfrozen = _freeze(candidates, scored, scales)
    fitted_to = JoinedRisks.by(models, alike, spec.horizons).main
    main = spec.horizons[-1] if spec.horizons else EVER
    return ViewResult(
        label=view.label,
        candidates=candidates,
        competitors=_competitors(scored, view.test),
        scores=chosen,
        models=models,
        clinical=clinical,
        counts={part: item.counts for part, item in scored.items() if item.counts},
        selected={part: item.selected for part, item in scored.items() if part != NETWORK},
        notes=notes,
        test=JoinedRisks.by(models, test, spec.horizons),
        training=JoinedRisks.by(models, train, spec.horizons),
        cutoffs={name: risk_cut(view.y, fitted_to[name].to_numpy(), spec.cut, main).value for name in models},
        horizons=spec.horizons,
        unit=spec.unit,
        frozen=frozen,
        unfrozen=unfrozen,
    )


def _competitors(scored: Mapping[str, PartScores], test: Sequence[str]) -> pd.DataFrame:
    """Scores of the test patients by every competitor."""
    tables = [item.table.loc[list(test)].add_prefix(f"{part}/") for part, item in scored.items()]
    return pd.concat(tables, axis=1) if tables else pd.DataFrame(index=list(test))


def _freeze(
    candidates: Sequence[Candidate], scored: Mapping[str, PartScores], scales: Mapping[str, Mapping[str, ScoreScale]]
) -> tuple[dict[str, ClassifierScore], dict[str, str]]:
    """The chosen classifiers as arrays, by score; why not, where that is impossible."""
    frozen: dict[str, ClassifierScore] = {}
    problems: dict[str, str] = {}
    for part, item in scored.items():
        chosen = [one.name for one in candidates if one.part == part and one.chosen]
        if item.fitted is None or not set(chosen) <= set(item.fitted.classifiers):
            continue
        try:
            each = [item.fitted.freeze(name) for name in chosen]
            frozen[part] = _mean_of(each, scales[part]) if part in scales else each[0]
        except ModelError as error:
            problems[part] = error.message
    return frozen, problems


def _mean_of(each: Sequence[ClassifierScore], scales: Mapping[str, ScoreScale]) -> ClassifierScore:
    """One score from several of the same features: the mean of their linear predictors."""
    slopes = np.array([scales[item.name].slope for item in each]) / len(scales)
    constant = sum(scale.intercept for scale in scales.values()) / len(scales)
    return replace(each[0], classifier=stacked([item.classifier for item in each], slopes, constant), name=AVERAGE)


def _sorted(view: View) -> View:
    """Training patients in the order of their identifiers, so that the table's order changes nothing."""
    order = sorted(view.outcome.index, key=str)
    return replace(view, outcome=view.outcome.loc[order], inner=view.inner.loc[order])


def inner_rank(view: View, score: pd.Series) -> tuple[float, float]:
    """Mean AUC or C within the inner folds of the training patients, and its standard error; NaN without any."""
    values, variances = [], []
    for fold in sorted(view.inner.unique()):
        own = (view.inner == fold).to_numpy()
        y, scores = view.y[own], score[view.outcome.index[own]].to_numpy(dtype=float)
        if len(np.unique(event_classes(y))) == 2:
            values.append(rank_score(y, scores))
            variances.append(rank_estimate(y, scores)[1])
    known = np.isfinite(values)
    if not known.any():
        return float("nan"), float("nan")
    return float(np.nanmean(values)), float(np.sqrt(np.array(variances)[known].sum()) / known.sum())


def preferred(ranks: Mapping[str, tuple[float, float]], competition: Competition) -> str:
    """The competitor of the largest inner AUC or C (of equals the first), or the first within its standard error."""
    best = max(ranks, key=lambda name: (np.nan_to_num(ranks[name][0]), -list(ranks).index(name)))
    if competition == "best" or not np.isfinite(ranks[best]).all():
        return best
    value, error = ranks[best]
    return next(name for name, (rank, _) in ranks.items() if rank >= value - error)


def _choose(
    view: View, scored: Mapping[str, PartScores], competition: Competition
) -> tuple[list[Candidate], pd.DataFrame, dict[str, str], dict[str, dict[str, ScoreScale]]]:
    """The score of every part by the inner folds, and of averaged ones the scales of the competitors.

    A part that is no better than chance is left out.
    """
    candidates: list[Candidate] = []
    columns: dict[str, pd.Series] = {}
    notes: dict[str, str] = {}
    scales: dict[str, dict[str, ScoreScale]] = {}
    for part, item in scored.items():
        ranks = {str(name): inner_rank(view, item.table[name]) for name in item.table.columns}
        chosen = {preferred(ranks, competition)}
        name = score_name(part)
        columns[name] = item.table[next(iter(chosen))].rename(name)
        if competition == "averaged" and part != NETWORK and len(ranks) > 1:
            scales[part] = _scales(view, item.table)
            columns[name] = _mean_score(item.table, scales[part]).rename(name)
            chosen = {one for one, scale in scales[part].items() if scale.slope > 0} or chosen
        reached = inner_rank(view, columns[name])[0]
        candidates += [Candidate(part, one, value, one in chosen) for one, (value, _) in ranks.items()]
        if not reached > 0.5:
            notes[name] = f"{name}: no competitor was better than chance in the inner folds"
    index = [*view.outcome.index, *view.test]
    return candidates, pd.DataFrame(columns, index=index), notes, scales


def _scales(view: View, table: pd.DataFrame) -> dict[str, ScoreScale]:
    """What brings each competitor's scores to log odds or log hazard; a slope of 0 where they tell nothing."""
    scales = {}
    for name in table.columns:
        scores = table.loc[view.outcome.index, name].to_numpy(dtype=float)
        own = ScoreScale.fit(scores, view.y) if np.ptp(scores) > 0 else ScoreScale(0.0, 0.0)
        scales[str(name)] = own if own.slope > LEAST_SLOPE else replace(own, intercept=0.0, slope=0.0)
    return scales


def _mean_score(table: pd.DataFrame, scales: Mapping[str, ScoreScale]) -> pd.Series:
    each = [scale.linear(table[name].to_numpy(dtype=float)) for name, scale in scales.items()]
    return pd.Series(np.mean(each, axis=0), index=table.index)


def _asked(parts: Sequence[str], view: View, spec: FusionSpec) -> float:
    """Evidence for all that a model of these parts may hold."""
    patients = view.outcome.index
    told = {CLINICAL: spec.clinical, BIOMARKERS: spec.measured}
    clinical = view.clinical.loc[patients]
    families = {part: columns_of(told[part], clinical) for part in parts if part in told}
    families |= {part: view.features[part].loc[patients] for part in parts if part in view.features}
    scores = pd.DataFrame(dict(view.networks)).loc[patients] if NETWORK in parts else None
    return evidence(families, view.y, spec.seed, scores)


def score_name(part: str) -> str:
    """Name of a part's score in tables."""
    return DL_SCORE if part == NETWORK else part


def _clinical(view: View, spec: FusionSpec) -> ClinicalModel:
    regression = _regression(spec)
    model = ClinicalModel(spec.clinical, spec.alpha, spec.alpha, spec.selection, regression=regression, seed=spec.seed)
    return model.fit(view.clinical.loc[view.outcome.index], view.y)


def _regression(spec: FusionSpec) -> NamedRegression:
    """What joins scores and predictors: a logistic model, or Cox's of a time to an event."""
    return CoxModel(horizons=spec.horizons) if spec.horizons else LogisticModel()


def _as_of_new_patients(train: pd.DataFrame, candidates: Sequence[Candidate], view: View) -> pd.DataFrame:
    """Training patients to fit to: the networks' score as noisy as that of patients who get more networks' mean."""
    chosen = next((item.name for item in candidates if item.part == NETWORK and item.chosen), None)
    if chosen is None or not view.excess.get(chosen, 0.0) > 0:
        return train
    event = event_classes(view.y)
    return train.assign(**{DL_SCORE: moment_reconstruction(train[DL_SCORE], event, view.excess[chosen])})


def _joined(
    parts: Sequence[str],
    clinical: ClinicalModel | None,
    notes: Mapping[str, str],
    train: pd.DataFrame,
    view: View,
    spec: FusionSpec,
) -> FrozenLinear:
    """The model of a model's parts, fitted to scores of fits without the patient."""
    predictors: list[Predictor] = []
    scores: list[str] = []
    why = []
    optional: tuple[Predictor, ...] = ()
    shrunk = BIOMARKERS in parts
    for part in parts:
        if part == BIOMARKERS:
            predictors += spec.measured
            continue
        if part == CLINICAL and shrunk:
            optional = in_logarithms(spec.clinical, view.clinical.loc[view.outcome.index])
            predictors += optional
            continue
        if part == CLINICAL and clinical is not None:
            if parts == (CLINICAL,):
                return clinical.frozen_
            predictors += list(clinical.chosen_predictors_)
            if not clinical.chosen_predictors_:
                why.append("no clinical candidate is related to the outcome")
            continue
        name = score_name(part)
        if name in notes:
            why.append(notes[name])
        else:
            scores.append(name)
            predictors.append(Predictor(name, "numeric", label=name))
    regression, way = _regression(spec), spec.combination if shrunk else "regression"
    if shrunk or (spec.selection == "penalised" and CLINICAL in parts):
        regression.set_params(penalty="ridge", parts=None if way == "regression" else spec.biomarkers)
        regression.set_params(optional=tuple(item.name for item in optional))
    rules: dict[str, Any] = {"why_none": "; ".join(why) or "no predictor", "seed": spec.seed}
    rules["evidence"] = _asked(parts, view, spec) if way == "auto" else None
    frozen: FrozenLinear = joined_regression(way, regression, predictors, scores, **rules).fit(train, view.y).frozen_
    return frozen
