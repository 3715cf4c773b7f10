"""What every radiomics model shares: a score, made by a chain, and the regression that turns it into a risk."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from hepacast.errors import ModelError
from hepacast.modelling.base import Array, BinaryClassifier, Step, as_frame, both_risks
from hepacast.modelling.cox_model import CoxModel
from hepacast.modelling.folds import inner_fold_count, stratified_folds
from hepacast.modelling.frozen_logistic import FrozenLinear
from hepacast.modelling.frozen_score import RADSCORE
from hepacast.modelling.harmonize import Harmonizer
from hepacast.modelling.logistic_model import LogisticModel
from hepacast.modelling.named_design import NamedRegression
from hepacast.modelling.predictors import Predictor
from hepacast.modelling.selectors import TopK
from hepacast.modelling.targets import as_target, event_classes, has_time

ScoreRule = Literal["apparent", "cross-fitted"]


@dataclass(frozen=True)
class ChainCount:
    """One step of a fitted chain: its name, what it does, features in and out, and a note when none is left.

    Attributes
    ----------
    reasons
        Of features that left by a rule that the label does not name (constant ones at a scaling): reason -> features.
    """

    name: str
    label: str
    n_in: int
    n_out: int
    note: str = ""
    reasons: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        why = "".join(f"; {n:,} {reason}" for reason, n in self.reasons.items())
        return f"{self.label} ({self.n_in:,} to {self.n_out:,} features{why})"


class Scorer(Protocol):
    """A fitted score."""

    def score(self, frame: pd.DataFrame) -> Array:
        """The score of each row, shape (n,)."""


@dataclass(frozen=True)
class FittedScore:
    """What fitting a chain gives: the score, the features after each step, and why there is none."""

    scorer: Scorer
    counts: list[ChainCount]
    status: str
    note: str
    chain: Any


class ScoreModel(BinaryClassifier):
    """Base of `Radscore` and `ChainScore`; subclasses fit the score, this class the regression of it.

    A subclass has the parameters ``score`` (`ScoreRule`), ``n_folds``, ``seed`` and ``regression`` (what turns the
    score into a risk; None: by the outcome, `LogisticModel` or `CoxModel`).

    Attributes
    ----------
    train_score_
        The score of each training patient that the regression was fitted to.
    apparent_score_
        The final score of each training patient.
    final_
        Regression of the score, as plain numbers.
    counts_
        Features after each step (`ChainCount`).
    status_, note_
        ``"ok"``, or ``"no signal"`` with the reason: then every patient has the same risk.
    chain_
        The fitted pipeline.
    """

    score: ScoreRule
    n_folds: int
    seed: int
    regression: NamedRegression | None

    @abstractmethod
    def _fit_score(self, frame: pd.DataFrame, outcome: NDArray[Any]) -> FittedScore:
        """Fit a fresh chain."""

    def fit(self, X: Any, y: ArrayLike | None = None) -> Self:
        """Fit the chain, the score and the regression of the score."""
        frame = as_frame(X)
        outcome = as_target(y, len(frame))
        self.classes_ = np.array([0, 1])
        if self.score not in ("apparent", "cross-fitted"):
            raise ModelError("Unknown training score.", expected="apparent or cross-fitted", found=str(self.score))
        self._columns = [str(name) for name in frame.columns]
        fitted = self._fit_score(frame, outcome)
        self.chain_, self.counts_ = fitted.chain, fitted.counts
        self.status_, self.note_ = fitted.status, fitted.note
        self._scorer = fitted.scorer
        self.apparent_score_ = pd.Series(fitted.scorer.score(frame), index=frame.index, name=RADSCORE)
        self.train_score_ = self.apparent_score_
        if self.score == "cross-fitted" and self.status_ == "ok":
            self.train_score_ = self._cross_fitted(frame, outcome)
        self._fit_regression(outcome)
        return self

    def _cross_fitted(self, frame: pd.DataFrame, outcome: NDArray[Any]) -> pd.Series:
        classes = event_classes(outcome)
        # Nothing is judged within these folds: a fold without an event does no harm to a Cox model of the others.
        folds = self.n_folds if has_time(outcome) else inner_fold_count(outcome, self.n_folds, frame.index)
        fold = stratified_folds(frame.index, classes, folds, self.seed, "cross-fit")
        scores = np.empty(len(frame))
        for number in range(folds):
            held = fold == number
            scores[held] = self._fit_score(frame[~held], outcome[~held]).scorer.score(frame[held])
        return pd.Series(scores, index=frame.index, name=RADSCORE)

    def _fit_regression(self, outcome: NDArray[Any]) -> None:
        table = self.train_score_.to_frame()
        if self.status_ == "ok" and table[RADSCORE].nunique() < 2:
            self.status_ = "no signal"
            self.note_ = getattr(self.chain_[-1], "note_", "") or "the score is the same for every patient"
        informative = self.status_ == "ok"
        self.final_: FrozenLinear = self._regression(outcome, informative).fit(table, outcome).frozen_
        if self.score == "cross-fitted" and informative and self.final_.coefficients[1] <= 0:
            self.status_ = "no signal"
            rate = "hazard" if has_time(outcome) else "risk"
            self.note_ = f"in patients whom the chain did not see, a higher score goes with no higher {rate}"
            self.final_ = self._regression(outcome, False).fit(table, outcome).frozen_

    def _regression(self, outcome: NDArray[Any], informative: bool) -> NamedRegression:
        own = self.regression or (CoxModel() if has_time(outcome) else LogisticModel())
        made: NamedRegression = clone(own).set_params(
            predictors=score_predictor() if informative else (), why_none=self.note_ or "no feature is left"
        )
        return made

    def decision_function(self, X: Any) -> Array:
        """The score of each row."""
        return self._scorer.score(self._named(X))

    def predict_proba(self, X: Any) -> Array:
        """Risk of no event and of the event, shape (n, 2)."""
        frame = self._named(X)
        score = pd.DataFrame({RADSCORE: self._scorer.score(frame)}, index=frame.index)
        risk = self.final_.risk(score)
        return both_risks(risk)

    def _named(self, X: Any) -> pd.DataFrame:
        check_is_fitted(self, "final_")
        return as_frame(X, self._columns)


def score_predictor() -> tuple[Predictor, ...]:
    """The score as a predictor of a regression."""
    return (Predictor(RADSCORE, "numeric", label=RADSCORE),)


def fit_counting(chain: Pipeline, frame: pd.DataFrame, outcome: NDArray[Any]) -> list[ChainCount]:
    """Fit the transforming steps of a pipeline one after the other and count the features after each."""
    counts: list[ChainCount] = []
    table = frame
    consumed = [step for _, step in chain.steps if isinstance(step, Harmonizer)]
    # Columns that only the removal of site differences reads are no features.
    beside = {name for step in consumed for name in (step.site_column, *step.covariates)}
    before = sum(name not in beside for name in frame.columns)
    for name, step in chain.steps:
        table = step.fit_transform(table, outcome)
        if isinstance(step, TopK):
            inner = step.selector_
            middle = int(inner.support_.sum())
            counts.append(ChainCount("penalty", inner.describe(), before, middle, getattr(inner, "note_", "")))
            before = middle
        after = sum(column not in beside for column in table.columns)
        reasons = step.left_out() if isinstance(step, Step) else {}
        counts.append(ChainCount(str(name), step.describe(), before, after, getattr(step, "note_", ""), reasons))
        before = after
    return counts
