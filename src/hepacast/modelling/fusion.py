"""Models that join scores of different kinds: classifiers on features, networks, clinical predictors.

Several classifiers and networks compete; which one is used is decided inside the training patients of each view (an
outer fold's training part, or all training patients for the final models), so that the patients who are predicted have
no say in it. A view holds what that decision may see; `fit_view` makes scores, choices, logistic models and risks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from hepacast.core.seeds import derive_seed
from hepacast.errors import ModelError
from hepacast.modelling.base import listed
from hepacast.modelling.classifier_score import ClassifierScore
from hepacast.modelling.clinical import ClinicalModel
from hepacast.modelling.cutoffs import youden_cutoff
from hepacast.modelling.frozen_logistic import FrozenLogistic
from hepacast.modelling.frozen_models import FrozenModels
from hepacast.modelling.frozen_score import DL_SCORE
from hepacast.modelling.fusion_scores import Family, PartScores, View, family_scores
from hepacast.modelling.logistic_model import LogisticModel
from hepacast.modelling.predictors import Predictor
from hepacast.modelling.score_model import ChainCount
from hepacast.stats.measurement_error import moment_reconstruction
from hepacast.stats.ranks import auc_from_ranks

CLINICAL, NETWORK = "clinical", "network"


@dataclass(frozen=True)
class FusionSpec:
    """What is fitted in every view.

    Parameters
    ----------
    families
        Scores that are made from features.
    models
        Model -> its parts: ``clinical``, ``network`` or the name of a family. The last is the main model.
    predictors
        Candidates of the clinical part.
    alpha
        P below which a clinical predictor stays.
    seed
        Of the classifiers.
    """

    families: tuple[Family, ...]
    models: Mapping[str, tuple[str, ...]]
    predictors: tuple[Predictor, ...]
    alpha: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        known = {CLINICAL, NETWORK, *(family.name for family in self.families)}
        for name, parts in self.models.items():
            wrong = [part for part in parts if part not in known]
            if wrong or not parts:
                raise ModelError(
                    f"The model {name!r} is made of unknown parts.", expected=listed(sorted(known)), found=listed(wrong)
                )


@dataclass(frozen=True)
class Candidate:
    """One competitor in one view: which score it competes for, its AUC in the inner folds, whether it was taken."""

    part: str
    name: str
    inner_auc: float
    chosen: bool


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
        Logistic model by name.
    clinical
        The fitted clinical model; None when no model has a clinical part.
    counts
        Features after each step of the chain, by family (fit to all training patients of the view).
    selected
        Features that reached the classifier, by family.
    notes
        By score, why it was left out.
    risks, linear_predictors
        Test patients x models.
    training_risks
        Training patients x models, from the scores of fits without the patient.
    cutoffs
        Youden's cut-off by model, from risks of the training patients with scores as noisy as those of new patients.
    frozen, unfrozen
        Chosen classifiers with the steps before them as arrays, by score; or why there are none.
    """

    label: str
    candidates: list[Candidate]
    competitors: pd.DataFrame
    scores: pd.DataFrame
    models: dict[str, FrozenLogistic]
    clinical: ClinicalModel | None
    counts: dict[str, list[ChainCount]]
    selected: dict[str, list[str]]
    notes: dict[str, str]
    risks: pd.DataFrame
    linear_predictors: pd.DataFrame
    training_risks: pd.DataFrame
    cutoffs: dict[str, float]
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
        return FrozenModels(self.models, None, self.cutoffs, parts=parts)


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
    candidates, chosen, notes = _choose(view, scored)
    clinical = _clinical(view, spec) if CLINICAL in wanted else None
    patients = [*view.outcome.index, *view.test]
    table = view.clinical.loc[patients].join(chosen.loc[patients])
    train, test = table.loc[view.outcome.index], table.loc[list(view.test)]
    alike = _as_of_new_patients(train, candidates, view)
    models = {name: _logistic(parts, clinical, notes, alike, view) for name, parts in spec.models.items()}
    frozen, unfrozen = _freeze(candidates, scored)
    training = pd.DataFrame({name: model.risk(train) for name, model in models.items()}, index=train.index)
    outcome = view.outcome.to_numpy(dtype=int)
    return ViewResult(
        label=view.label,
        candidates=candidates,
        competitors=pd.concat(
            [item.table.loc[list(view.test)].add_prefix(f"{part}/") for part, item in scored.items()], axis=1
        )
        if scored
        else pd.DataFrame(index=list(view.test)),
        scores=chosen,
        models=models,
        clinical=clinical,
        counts={part: item.counts for part, item in scored.items() if item.counts},
        selected={part: item.selected for part, item in scored.items() if part != NETWORK},
        notes=notes,
        risks=pd.DataFrame({name: model.risk(test) for name, model in models.items()}, index=test.index),
        linear_predictors=pd.DataFrame(
            {name: model.linear_predictor(test) for name, model in models.items()}, index=test.index
        ),
        training_risks=training,
        cutoffs={name: youden_cutoff(outcome, model.risk(alike)) for name, model in models.items()},
        frozen=frozen,
        unfrozen=unfrozen,
    )


def _freeze(
    candidates: Sequence[Candidate], scored: Mapping[str, PartScores]
) -> tuple[dict[str, ClassifierScore], dict[str, str]]:
    """The chosen classifiers as arrays, by score; why not, where that is impossible."""
    frozen: dict[str, ClassifierScore] = {}
    problems: dict[str, str] = {}
    for item in candidates:
        fitted = scored[item.part].fitted
        if item.chosen and fitted is not None and item.name in fitted.classifiers:
            try:
                frozen[item.part] = fitted.freeze(item.name)
            except ModelError as error:
                problems[item.part] = error.message
    return frozen, problems


def _sorted(view: View) -> View:
    """Training patients in the order of their identifiers, so that the table's order changes nothing."""
    order = sorted(view.outcome.index, key=str)
    return replace(view, outcome=view.outcome.loc[order], inner=view.inner.loc[order])


def inner_auc(view: View, score: pd.Series) -> float:
    """Mean AUC within the inner folds of the training patients; NaN where no fold has both classes."""
    aucs = []
    for fold in sorted(view.inner.unique()):
        rows = view.inner.index[view.inner == fold]
        if view.outcome[rows].nunique() == 2:
            aucs.append(auc_from_ranks(view.outcome[rows].to_numpy(), score[rows].to_numpy(dtype=float)))
    return float(np.mean(aucs)) if aucs else float("nan")


def _choose(view: View, scored: Mapping[str, PartScores]) -> tuple[list[Candidate], pd.DataFrame, dict[str, str]]:
    """The best competitor of every part by the inner folds; a part that is no better than chance is left out."""
    candidates: list[Candidate] = []
    columns: dict[str, pd.Series] = {}
    notes: dict[str, str] = {}
    for part, item in scored.items():
        aucs = {str(name): inner_auc(view, item.table[name]) for name in item.table.columns}
        best = max(aucs, key=lambda name: (np.nan_to_num(aucs[name], nan=0.0), -list(aucs).index(name)))
        candidates += [Candidate(part, name, auc, name == best) for name, auc in aucs.items()]
        name = score_name(part)
        columns[name] = item.table[best].rename(name)
        if not aucs[best] > 0.5:
            notes[name] = f"{name}: no competitor was better than chance in the inner folds"
    index = [*view.outcome.index, *view.test]
    return candidates, pd.DataFrame(columns, index=index), notes


def score_name(part: str) -> str:
    """Name of a part's score in tables."""
    return DL_SCORE if part == NETWORK else part


def _clinical(view: View, spec: FusionSpec) -> ClinicalModel:
    model = ClinicalModel(predictors=spec.predictors, alpha=spec.alpha, alpha_joint=spec.alpha)
    return model.fit(view.clinical.loc[view.outcome.index], view.outcome.to_numpy(dtype=int))


def _as_of_new_patients(train: pd.DataFrame, candidates: Sequence[Candidate], view: View) -> pd.DataFrame:
    """Training patients to fit to: the networks' score as noisy as that of patients who get more networks' mean."""
    chosen = next((item.name for item in candidates if item.part == NETWORK and item.chosen), None)
    if chosen is None or not view.excess.get(chosen, 0.0) > 0:
        return train
    outcome = view.outcome.to_numpy(dtype=int)
    return train.assign(**{DL_SCORE: moment_reconstruction(train[DL_SCORE], outcome, view.excess[chosen])})


def _logistic(
    parts: Sequence[str], clinical: ClinicalModel | None, notes: Mapping[str, str], train: pd.DataFrame, view: View
) -> FrozenLogistic:
    """The logistic model of a model's parts, fitted to scores of fits without the patient."""
    predictors: list[Predictor] = []
    why = []
    for part in parts:
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
            predictors.append(Predictor(name, "numeric", label=name))
    note = "; ".join(why)
    model = LogisticModel(tuple(predictors), why_none=note or "no predictor")
    return model.fit(train, view.outcome.to_numpy(dtype=int)).frozen_
