"""The Radscore of a time-to-event outcome: filters, LASSO of the Cox model, and a Cox model of the score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, clone
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from hepacast.errors import ModelError
from hepacast.modelling.base import Array, as_frame
from hepacast.modelling.cox_model import CoxModel
from hepacast.modelling.cox_selectors import cox_filter_steps
from hepacast.modelling.folds import stratified_folds
from hepacast.modelling.frozen_cox import FrozenCox
from hepacast.modelling.frozen_score import RADSCORE, FrozenScore
from hepacast.modelling.grammar import ChainSpec
from hepacast.modelling.radscore import freeze_score
from hepacast.modelling.score_model import FittedScore, ScoreRule, fit_counting, score_predictor
from hepacast.modelling.targets import as_follow_up, event_classes
from hepacast.stats.penalized_cv import PenaltyChoice


class CoxRadscore(BaseEstimator):
    """A signature: chain -> linear combination -> risk by a Cox model of the score alone; ``y`` is (n, 2).

    Parameters
    ----------
    chain
        Pipeline of `cox_filter_steps`; None: the chain ``ptlf``.
    score
        ``"cross-fitted"``: the Cox models that build on the score see scores of patients outside each fit;
        ``"apparent"``: those of the fit itself, which overrate it (see `Radscore`).
    n_folds, seed
        Of the cross-fitting.
    horizons, competing
        As in `CoxModel`.

    Attributes
    ----------
    train_score_, apparent_score_, counts_, status_, note_, chain_, selected_, choice_, frozen_
        As in `Radscore`.
    cox_
        Cox model of the score (`FrozenCox`).
    """

    def __init__(
        self,
        chain: Pipeline | None = None,
        score: ScoreRule = "cross-fitted",
        n_folds: int = 5,
        seed: int = 0,
        horizons: Sequence[float] = (),
        competing: str = "fine-gray",
    ) -> None:
        self.chain = chain
        self.score = score
        self.n_folds = n_folds
        self.seed = seed
        self.horizons = horizons
        self.competing = competing

    def fit(self, X: Any, y: ArrayLike | None = None) -> Self:
        """Fit the chain, the score and the Cox model of the score."""
        frame = as_frame(X)
        outcome = np.column_stack(as_follow_up(y, len(frame)))
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
        self._fit_cox(outcome)
        return self

    def _fit_score(self, frame: pd.DataFrame, outcome: Array) -> FittedScore:
        steps = cox_filter_steps(ChainSpec.load("ptlf"), self.seed) if self.chain is None else None
        chain = Pipeline(steps) if steps is not None else clone(self.chain)
        counts = fit_counting(chain, frame, outcome)  # type: ignore[arg-type]
        selected = [str(name) for name in chain[-1].get_feature_names_out()]
        coefficients = chain[-1].coef_.loc[selected] if selected else pd.Series(dtype=float)
        note = "" if selected else next((item.note for item in counts if item.note), "no feature is left")
        frozen = freeze_score(chain, frame, 0.0, coefficients, note)
        return FittedScore(frozen, counts, frozen.status, note, chain)

    def _cross_fitted(self, frame: pd.DataFrame, outcome: Array) -> pd.Series:
        fold = stratified_folds(frame.index, event_classes(outcome), self.n_folds, self.seed, "cross-fit")
        scores = np.empty(len(frame))
        for number in range(self.n_folds):
            held = fold == number
            scores[held] = self._fit_score(frame[~held], outcome[~held]).scorer.score(frame[held])
        return pd.Series(scores, index=frame.index, name=RADSCORE)

    def _fit_cox(self, outcome: Array) -> None:
        table = self.train_score_.to_frame()
        if self.status_ == "ok" and table[RADSCORE].nunique() < 2:
            self.status_ = "no signal"
            self.note_ = getattr(self.chain_[-1], "note_", "") or "the score is the same for every patient"
        informative = self.status_ == "ok"
        self.cox_ = self._cox(score_predictor() if informative else ()).fit(table, outcome).frozen_
        if self.score == "cross-fitted" and informative and self.cox_.coefficients[1] <= 0:
            self.status_ = "no signal"
            self.note_ = "in patients whom the chain did not see, a higher score goes with no higher hazard"
            self.cox_ = self._cox(()).fit(table, outcome).frozen_

    def _cox(self, predictors: Sequence[Any]) -> CoxModel:
        return CoxModel(tuple(predictors), self.horizons, self.competing, self.note_ or "no feature is left")

    def decision_function(self, X: Any) -> Array:
        """The score of each row."""
        check_is_fitted(self, "cox_")
        return self._scorer.score(as_frame(X, self._columns))

    @property
    def frozen_(self) -> FrozenScore:
        """The score as plain numbers."""
        check_is_fitted(self, "cox_")
        score = self._scorer
        assert isinstance(score, FrozenScore)
        return score

    @property
    def final_(self) -> FrozenCox:
        """The Cox model of the score."""
        check_is_fitted(self, "cox_")
        return self.cox_

    @property
    def choice_(self) -> PenaltyChoice | None:
        """The LASSO's path and cross-validation curve."""
        check_is_fitted(self, "chain_")
        return getattr(self.chain_[-1], "choice_", None)

    @property
    def selected_(self) -> list[str]:
        """Features of the score, of decreasing weight."""
        return self.frozen_.names
