"""Radiomics models without a formula: any classifier at the end of the chain, stacks, and a search with a budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from hepacast.errors import HepacastError, ModelError
from hepacast.modelling.base import Array, BinaryClassifier, as_frame, listed
from hepacast.modelling.classifiers import PenalizedLinear, raw_score
from hepacast.modelling.filters import ReproducibilityFilter
from hepacast.modelling.folds import Integers, stratified_folds
from hepacast.modelling.frozen_score import RADSCORE
from hepacast.modelling.harmonize import Harmonizer
from hepacast.modelling.impute import TypedImputer
from hepacast.modelling.named_design import NamedRegression
from hepacast.modelling.scale import RankToNormal, ZScore
from hepacast.modelling.score_model import FittedScore, ScoreModel, ScoreRule, fit_counting
from hepacast.modelling.targets import as_target, event_classes, has_time, inner_folds, rank_score

#: Steps that never read the outcome.
_BLIND = (TypedImputer, ZScore, RankToNormal, Harmonizer, ReproducibilityFilter)


@dataclass(frozen=True)
class _PipelineScore:
    """A fitted pipeline's score; the same for everybody when no feature reached the classifier."""

    chain: Pipeline
    constant: float | None

    def score(self, frame: pd.DataFrame) -> Array:
        if self.constant is not None:
            return np.full(len(frame), self.constant)
        table = frame
        for _, step in self.chain.steps[:-1]:
            table = step.transform(table)
        return raw_score(self.chain[-1], table)


class ChainScore(ScoreModel):
    """A chain that ends in any classifier; its score is the classifier's.

    `decision_function` is the score, `predict_proba` its logistic calibration (of time and event a Cox model turns it
    into risks). Parameters and attributes as in `ScoreModel` and `Radscore`; ``score="apparent"`` makes no sense for
    classifiers that learn their training patients by heart (forests, nearest neighbors), so cross-fitting is the
    default.

    Parameters
    ----------
    chain
        Pipeline of steps and a classifier.
    score, n_folds, seed, regression
        As in `Radscore`.
    """

    def __init__(
        self,
        chain: Pipeline,
        score: ScoreRule = "cross-fitted",
        n_folds: int = 5,
        seed: int = 0,
        regression: NamedRegression | None = None,
    ) -> None:
        self.chain = chain
        self.score = score
        self.n_folds = n_folds
        self.seed = seed
        self.regression = regression

    def _fit_score(self, frame: pd.DataFrame, outcome: NDArray[Any]) -> FittedScore:
        chain = clone(self.chain)
        counts = fit_counting(Pipeline(chain.steps[:-1]), frame, outcome) if len(chain.steps) > 1 else []
        table = frame
        for _, step in chain.steps[:-1]:
            table = step.transform(table)
        if not table.shape[1]:
            rate = event_classes(outcome).mean()
            constant = 0.0 if has_time(outcome) else float(np.log(rate / (1 - rate)))
            note = next((item.note for item in counts if item.note), "no feature is left")
            return FittedScore(_PipelineScore(chain, constant), counts, "no signal", note, chain)
        classifier = chain[-1].fit(table, outcome)
        # A classifier may say itself that it found nothing, or may have found no more than chance.
        status, note = getattr(classifier, "status_", "ok"), getattr(classifier, "note_", "")
        return FittedScore(_PipelineScore(chain, None), counts, status, note, chain)

    def _cross_fitted(self, frame: pd.DataFrame, outcome: NDArray[Any]) -> pd.Series:
        """Those of the classifier itself, where it has them and no step before it has seen the outcome."""
        own = getattr(self.chain_[-1], "inner_scores_", None)
        if own is None or not all(isinstance(step, _BLIND) for _, step in self.chain_.steps[:-1]):
            return super()._cross_fitted(frame, outcome)
        return pd.Series(own, index=frame.index, name=RADSCORE)

    @property
    def selected_(self) -> list[str]:
        """Features that reach the classifier."""
        if len(self.chain_.steps) == 1:
            return list(self._columns)
        return [str(name) for name in self.chain_[-2].get_feature_names_out()]


class Stacked(BinaryClassifier):
    """Several classifiers whose cross-fitted scores are combined by a ridge logistic (or Cox) model.

    Parameters
    ----------
    members
        (name, classifier) pairs.
    n_folds, seed
        Of the cross-fitting.
    """

    def __init__(self, members: Sequence[tuple[str, Any]], n_folds: int = 5, seed: int = 0) -> None:
        self.members = members
        self.n_folds = n_folds
        self.seed = seed

    def fit(self, X: Any, y: ArrayLike | None = None) -> Self:
        """Fit members and combination."""
        frame = as_frame(X)
        outcome = as_target(y, len(frame))
        self.classes_ = np.array([0, 1])
        folds = inner_folds(outcome, self.n_folds, frame.index)
        fold = stratified_folds(frame.index, event_classes(outcome), folds, self.seed, "stack")
        scores = np.empty((len(frame), len(self.members)))
        for number in range(folds):
            held = fold == number
            for column, (_, member) in enumerate(self.members):
                fitted = clone(member).fit(frame[~held], outcome[~held])
                scores[held, column] = raw_score(fitted, frame[held])
        self.members_ = [(name, clone(member).fit(frame, outcome)) for name, member in self.members]
        self.combination_ = PenalizedLinear(alpha=0.0, seed=self.seed)
        self.combination_.fit(pd.DataFrame(scores, index=frame.index, columns=self._names()), outcome)
        return self

    def _names(self) -> list[str]:
        return [f"{number}:{name}" for number, (name, _) in enumerate(self.members)]

    def decision_function(self, X: Any) -> Array:
        """Log odds of each row."""
        frame = as_frame(X)
        scores = np.column_stack([raw_score(member, frame) for _, member in self.members_])
        return self.combination_.decision_function(pd.DataFrame(scores, index=frame.index, columns=self._names()))


class Searched(BinaryClassifier):
    """The best of several chains by inner cross-validation: a fixed budget, spent inside whatever fold this is in.

    Parameters
    ----------
    candidates
        (description, estimator) pairs. Equal scores: the first.
    n_folds, seed
        Of the inner cross-validation; its measure is the mean AUC or C within folds.

    Attributes
    ----------
    scores_
        Inner AUC or C of each candidate; NaN for one that could not be fitted (`failures_` says why).
    best_
        Description of the chosen one.
    estimator_
        The chosen one, fitted to all rows.
    """

    def __init__(self, candidates: Sequence[tuple[str, Any]], n_folds: int = 3, seed: int = 0) -> None:
        self.candidates = candidates
        self.n_folds = n_folds
        self.seed = seed

    def fit(self, X: Any, y: ArrayLike | None = None) -> Self:
        """Search and fit."""
        frame = as_frame(X)
        outcome = as_target(y, len(frame))
        self.classes_ = np.array([0, 1])
        folds = inner_folds(outcome, self.n_folds, frame.index)
        fold = stratified_folds(frame.index, event_classes(outcome), folds, self.seed, "search")
        self.failures_: dict[str, str] = {}
        self.scores_ = {
            name: self._inner_score(name, candidate, frame, outcome, fold) for name, candidate in self.candidates
        }
        usable = {name: score for name, score in self.scores_.items() if np.isfinite(score)}
        if not usable:
            raise ModelError(
                "No chain of the search could be fitted.", found=listed(dict.fromkeys(self.failures_.values()), 3)
            )
        self.best_ = max(usable, key=lambda name: usable[name])
        self.estimator_ = clone(dict(self.candidates)[self.best_]).fit(frame, outcome)
        return self

    def _inner_score(
        self, name: str, candidate: Any, frame: pd.DataFrame, outcome: NDArray[Any], fold: Integers
    ) -> float:
        found = []
        for number in np.unique(fold):
            held = fold == number
            try:
                fitted = clone(candidate).fit(frame[~held], outcome[~held])
                found.append(rank_score(outcome[held], raw_score(fitted, frame[held])))
            except (HepacastError, np.linalg.LinAlgError) as error:
                self.failures_[name] = str(error).split("\n")[0]
                return float("nan")
        return float(np.mean(found))

    def decision_function(self, X: Any) -> Array:
        """Score of the chosen chain."""
        return raw_score(self.estimator_, X)

    def predict_proba(self, X: Any) -> Array:
        """Risk of no event and of the event by the chosen chain, shape (n, 2)."""
        return np.asarray(self.estimator_.predict_proba(X))
