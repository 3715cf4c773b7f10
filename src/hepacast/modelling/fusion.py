"""Models that join scores of different kinds: classifiers on features, networks, clinical predictors.

Several classifiers and networks compete; which one is used is decided inside the training patients of each view (an
outer fold's training part, or all training patients for the final models), so that the patients who are predicted have
no say in it. A view holds what that decision may see; `fit_view` makes scores, choices, logistic models and risks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from hepacast.compute.seeds import derive_seed
from hepacast.errors import ModelError
from hepacast.modelling.base import Array, listed
from hepacast.modelling.classifiers import make_classifier, raw_score
from hepacast.modelling.clinical import ClinicalModel
from hepacast.modelling.frozen_fusion import DL_SCORE, ClassifierScore, FrozenFusion, freeze_classifier_score
from hepacast.modelling.frozen_logistic import FrozenLogistic
from hepacast.modelling.frozen_models import youden_cutoff
from hepacast.modelling.grammar import ChainSpec, filter_steps
from hepacast.modelling.logistic_model import LogisticModel
from hepacast.modelling.predictors import Predictor
from hepacast.modelling.score_model import ChainCount, fit_counting
from hepacast.stats.ranks import auc_from_ranks

CLINICAL, NETWORK = "clinical", "network"


@dataclass(frozen=True)
class Family:
    """Classifiers on one table of features; the best becomes the family's score.

    Parameters
    ----------
    name
        Of the score: ``Radscore``, ``DLR score``.
    chain
        Its filters and selection stand before every classifier; its own classifier is not used.
    classifiers
        Names in `hepacast.modelling.classifiers.CLASSIFIERS`; of equals the first wins.
    """

    name: str
    chain: ChainSpec
    classifiers: tuple[str, ...]


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
class View:
    """What one round of choosing and fitting may see.

    Parameters
    ----------
    label
        ``final``, or the outer fold.
    outcome
        0 or 1 of the training patients (the index).
    inner
        Inner fold of each training patient.
    test
        Patients to predict; nothing is learned from their rows.
    clinical
        Clinical columns, training and test patients.
    features
        By family: features of training and test patients. Features learned by a network are, for every patient, of
        networks that did not see the patient.
    networks
        By network: log odds of training patients (of networks that did not see the patient) and of test patients.
    """

    label: str
    outcome: pd.Series
    inner: pd.Series
    test: tuple[str, ...]
    clinical: pd.DataFrame
    features: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    networks: Mapping[str, pd.Series] = field(default_factory=dict)


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
        Youden's cut-off by model, from `training_risks`.
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

    def freeze(self) -> FrozenFusion:
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
        return FrozenFusion(models=self.models, score=None, cutoffs=self.cutoffs, parts=parts)


@dataclass(frozen=True, eq=False)
class _Scores:
    """Scores of all competitors for one part: (training and test patients) x competitors."""

    table: pd.DataFrame
    counts: list[ChainCount] = field(default_factory=list)
    selected: list[str] = field(default_factory=list)
    fitted: _Fitted | None = None


@dataclass(frozen=True, eq=False)
class _Fitted:
    """Steps and classifiers, fitted to the rows of `train`."""

    steps: list[Any]
    classifiers: dict[str, Any]
    train: pd.DataFrame
    counts: list[ChainCount]
    selected: list[str]

    def scores(self, new: pd.DataFrame, names: Sequence[str]) -> Array:
        """Scores of other rows, (n, classifiers); 0 where no feature is left."""
        table = new
        for step in self.steps:
            table = step.transform(table)
        scores = np.zeros((len(new), len(names)))
        for column, name in enumerate(names if len(new) else ()):
            if name in self.classifiers:
                scores[:, column] = raw_score(self.classifiers[name], table)
        return scores


def fit_view(view: View, spec: FusionSpec) -> ViewResult:
    """Choose, fit and predict within one view.

    Raises
    ------
    ModelError
        A part that the models need is not in the view.
    """
    view = _sorted(view)
    wanted = {part for parts in spec.models.values() for part in parts}
    scored: dict[str, _Scores] = {}
    for family in spec.families:
        if family.name in wanted:
            scored[family.name] = family_scores(view, family, derive_seed(spec.seed, family.name))
    if NETWORK in wanted:
        if not view.networks:
            raise ModelError("A model needs a network's score, and there is no network.")
        scored[NETWORK] = _Scores(pd.DataFrame(dict(view.networks)))
    candidates, chosen, notes = _choose(view, scored)
    clinical = _clinical(view, spec) if CLINICAL in wanted else None
    patients = [*view.outcome.index, *view.test]
    table = view.clinical.loc[patients].join(chosen.loc[patients])
    models = {name: _logistic(parts, clinical, chosen, notes, table, view) for name, parts in spec.models.items()}
    train, test = table.loc[view.outcome.index], table.loc[list(view.test)]
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
        cutoffs={name: youden_cutoff(outcome, training[name].to_numpy(dtype=float)) for name in models},
        frozen=frozen,
        unfrozen=unfrozen,
    )


def _freeze(
    candidates: Sequence[Candidate], scored: Mapping[str, _Scores]
) -> tuple[dict[str, ClassifierScore], dict[str, str]]:
    """The chosen classifiers as arrays, by score; why not, where that is impossible."""
    frozen: dict[str, ClassifierScore] = {}
    problems: dict[str, str] = {}
    for item in candidates:
        fitted = scored[item.part].fitted
        if item.chosen and fitted is not None and item.name in fitted.classifiers:
            try:
                frozen[item.part] = freeze_classifier_score(
                    fitted.steps, fitted.train, fitted.classifiers[item.name], item.name
                )
            except ModelError as error:
                problems[item.part] = error.message
    return frozen, problems


def _sorted(view: View) -> View:
    """Training patients in the order of their identifiers, so that the table's order changes nothing."""
    order = sorted(view.outcome.index, key=str)
    return View(
        view.label, view.outcome.loc[order], view.inner.loc[order], view.test, view.clinical, view.features,
        view.networks,
    )  # fmt: skip


def family_scores(view: View, family: Family, seed: int) -> _Scores:
    """Scores by every classifier of a family: of training patients by fits on the other inner folds."""
    features, y = view.features[family.name], view.outcome.to_numpy(dtype=int)
    train = features.loc[view.outcome.index]
    inner = view.inner.to_numpy()
    held_out = np.full((len(train), len(family.classifiers)), np.nan)
    for fold in np.unique(inner):
        rows = inner != fold
        held_out[~rows] = _fit(train[rows], y[rows], family, seed).scores(train[~rows], family.classifiers)
    final = _fit(train, y, family, seed)
    test = final.scores(features.loc[list(view.test)], family.classifiers)
    table = pd.DataFrame(
        np.vstack([held_out, test]), index=[*view.outcome.index, *view.test], columns=list(family.classifiers)
    )
    return _Scores(table, final.counts, final.selected, final)


def _fit(train: pd.DataFrame, y: np.ndarray, family: Family, seed: int) -> _Fitted:
    """Filters and selection once, then every classifier on what is left."""
    steps = filter_steps(family.chain, seed)
    counts = fit_counting(Pipeline(steps), train, y)
    known = train
    for _, step in steps:
        known = step.transform(known)
    classifiers = {}
    for name in family.classifiers if known.shape[1] else ():
        classifier = make_classifier(name, _parameters(name, len(known)), "none", derive_seed(seed, name))
        classifiers[name] = classifier.fit(known, y)
    return _Fitted([step for _, step in steps], classifiers, train, counts, [str(name) for name in known.columns])


def _parameters(name: str, n: int) -> dict[str, int]:
    """The registry's defaults but for neighbors, of which there cannot be more than half the patients."""
    return {"n_neighbors": max(1, min(15, n // 2))} if name == "knn" else {}


def inner_auc(view: View, score: pd.Series) -> float:
    """Mean AUC within the inner folds of the training patients; NaN where no fold has both classes."""
    aucs = []
    for fold in sorted(view.inner.unique()):
        rows = view.inner.index[view.inner == fold]
        if view.outcome[rows].nunique() == 2:
            aucs.append(auc_from_ranks(view.outcome[rows].to_numpy(), score[rows].to_numpy(dtype=float)))
    return float(np.mean(aucs)) if aucs else float("nan")


def _choose(view: View, scored: Mapping[str, _Scores]) -> tuple[list[Candidate], pd.DataFrame, dict[str, str]]:
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


def _logistic(
    parts: Sequence[str],
    clinical: ClinicalModel | None,
    scores: pd.DataFrame,
    notes: Mapping[str, str],
    table: pd.DataFrame,
    view: View,
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
    train = table.loc[view.outcome.index]
    model = LogisticModel(tuple(predictors), why_none=note or "no predictor")
    return model.fit(train, view.outcome.to_numpy(dtype=int)).frozen_
