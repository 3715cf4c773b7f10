"""The Radscore: a chain of filters, then a linear combination of the features that are left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from hepacast.errors import ModelError
from hepacast.modelling.base import Array, ColumnFilter, as_frame, as_outcome
from hepacast.modelling.filters import SpearmanFilter, UnivariateFilter
from hepacast.modelling.folds import inner_fold_count, stratified_folds
from hepacast.modelling.frozen_logistic import FrozenLogistic
from hepacast.modelling.frozen_models import RADSCORE
from hepacast.modelling.frozen_score import FrozenScore, ScoreFeature, SiteCorrection
from hepacast.modelling.harmonize import Harmonizer
from hepacast.modelling.impute import TypedImputer
from hepacast.modelling.logistic_model import LogisticModel
from hepacast.modelling.predictors import Predictor
from hepacast.modelling.scale import ZScore
from hepacast.modelling.selectors import TopK
from hepacast.stats.firth import fit_firth
from hepacast.stats.logistic import fit_logistic
from hepacast.stats.penalized_cv import PenaltyChoice

ScoreRule = Literal["apparent", "cross-fitted"]


@dataclass(frozen=True)
class ChainCount:
    """One step of a fitted chain: its name, what it does, features in and out, and a note when none is left."""

    name: str
    label: str
    n_in: int
    n_out: int
    note: str = ""


def paper_chain(seed: int = 0) -> Pipeline:
    """The leading study's chain: Z-score, |rho| <= 0.8, P < .05, LASSO, the ten largest weights."""
    return Pipeline(
        [
            ("impute", TypedImputer(all_missing="drop")),
            ("scale", ZScore()),
            ("redundancy", SpearmanFilter(0.8)),
            ("univariate", UnivariateFilter(0.05)),
            ("selector", TopK(_lasso(seed), 10)),
        ]
    )


def _lasso(seed: int) -> Any:
    from hepacast.modelling.selectors import LassoSelector

    return LassoSelector(seed=seed)


class Radscore(ClassifierMixin, BaseEstimator):
    """A signature: chain -> linear combination -> risk by a logistic model of the score alone.

    `decision_function` is the Radscore itself; `predict_proba` its logistic calibration.

    Parameters
    ----------
    chain
        Pipeline of `TypedImputer`, `Harmonizer`, `ZScore` and column filters, a selector last; None: `paper_chain()`.
    weights
        ``"selector"``: the selector's coefficients (the LASSO's, as in the paper). ``"refit"``: a logistic model of the
        selected features (Firth's when separated). ``"auto"``: the selector's where it has any, else refitted.
    score
        Training scores for the logistic model of the score: ``"apparent"`` (the paper's: the same patients chose the
        weights, so the risks come out too extreme) or ``"cross-fitted"`` (each patient's score comes from a chain that
        did not see the patient).
    n_folds
        Folds of the cross-fitting.
    seed
        Of these folds; the chain's own seeds are its steps'.

    Attributes
    ----------
    frozen_
        The score as plain numbers (`FrozenScore`).
    logistic_
        Logistic model of the score (`FrozenLogistic`).
    train_score_
        The score of each training patient that the logistic model was fitted to.
    counts_
        Features after each step (`ChainCount`).
    status_, note_
        ``"ok"``, or ``"no signal"`` with the reason: then every patient has the training rate as risk.
    chain_
        The fitted pipeline.
    """

    def __init__(
        self,
        chain: Pipeline | None = None,
        weights: Literal["auto", "selector", "refit"] = "auto",
        score: ScoreRule = "apparent",
        n_folds: int = 5,
        seed: int = 0,
    ) -> None:
        self.chain = chain
        self.weights = weights
        self.score = score
        self.n_folds = n_folds
        self.seed = seed

    def fit(self, X: Any, y: ArrayLike | None = None) -> Self:
        """Fit the chain, the weights and the logistic model of the score."""
        frame = as_frame(X)
        outcome = as_outcome(y, len(frame))
        self.classes_ = np.array([0, 1])
        if self.score not in ("apparent", "cross-fitted"):
            raise ModelError("Unknown training score.", expected="apparent or cross-fitted", found=str(self.score))
        self.chain_ = paper_chain(self.seed) if self.chain is None else clone(self.chain)
        self.frozen_, self.counts_ = self._fit_score(self.chain_, frame, outcome)
        self.apparent_score_ = pd.Series(self.frozen_.score(frame), index=frame.index, name=RADSCORE)
        self.train_score_ = self.apparent_score_
        self.status_, self.note_ = self.frozen_.status, self.frozen_.note
        if self.score == "cross-fitted" and self.status_ == "ok":
            self.train_score_ = self._cross_fitted(frame, outcome)
        self._fit_logistic(outcome)
        return self

    def _fit_score(
        self, chain: Pipeline, frame: pd.DataFrame, outcome: NDArray[np.int64]
    ) -> tuple[FrozenScore, list[ChainCount]]:
        counts = fit_counting(chain, frame, outcome)
        selected = [str(name) for name in chain[-1].get_feature_names_out()]
        transformed = chain.transform(frame) if self._needs_refit(chain) and selected else None
        intercept, coefficients = self._weights_of(chain, selected, transformed, outcome)
        note = "" if selected else next((c.note for c in counts if c.note), "no feature is left")
        return freeze_score(chain, frame, intercept, coefficients, note), counts

    def _needs_refit(self, chain: Pipeline) -> bool:
        has_weights = getattr(chain[-1], "coef_", None) is not None
        if self.weights == "selector" and not has_weights:
            raise ModelError(
                "The Radscore's weights are to come from the selector, which has none.",
                found=type(chain[-1]).__name__,
                remedy="use weights='refit'",
            )
        return self.weights == "refit" or not has_weights

    def _weights_of(
        self, chain: Pipeline, selected: Sequence[str], transformed: pd.DataFrame | None, outcome: NDArray[np.int64]
    ) -> tuple[float, pd.Series]:
        base = float(np.log(outcome.mean() / (1 - outcome.mean())))
        if not selected:
            return base, pd.Series(dtype=float)
        if transformed is None:
            return float(chain[-1].intercept_), chain[-1].coef_.loc[list(selected)]
        fit = fit_logistic(transformed, outcome)
        if not fit.ok:
            fit = fit_firth(transformed, outcome).require()
        return fit.intercept, pd.Series(fit.coef, index=list(selected))

    def _cross_fitted(self, frame: pd.DataFrame, outcome: NDArray[np.int64]) -> pd.Series:
        folds = inner_fold_count(outcome, self.n_folds, frame.index)
        fold = stratified_folds(frame.index, outcome, folds, self.seed, "cross-fit")
        scores = np.empty(len(frame))
        for number in range(folds):
            held = fold == number
            chain = paper_chain(self.seed) if self.chain is None else clone(self.chain)
            frozen, _ = self._fit_score(chain, frame[~held], outcome[~held])
            scores[held] = frozen.score(frame[held])
        return pd.Series(scores, index=frame.index, name=RADSCORE)

    def _fit_logistic(self, outcome: NDArray[np.int64]) -> None:
        table = self.train_score_.to_frame()
        informative = self.status_ == "ok" and table[RADSCORE].nunique() > 1
        model = LogisticModel(score_predictor() if informative else (), why_none=self.note_)
        self.logistic_: FrozenLogistic = model.fit(table, outcome).frozen_
        if self.score == "cross-fitted" and informative and self.logistic_.coefficients[1] <= 0:
            self.status_ = "no signal"
            self.note_ = "in patients whom the chain did not see, a higher Radscore goes with no higher risk"
            self.logistic_ = LogisticModel((), why_none=self.note_).fit(table, outcome).frozen_

    @property
    def choice_(self) -> PenaltyChoice | None:
        """The LASSO's path and cross-validation curve, where the chain has one (Figure 3)."""
        check_is_fitted(self, "chain_")
        return getattr(self.chain_[-1], "choice_", None)

    @property
    def selected_(self) -> list[str]:
        """Features of the score, of decreasing weight."""
        check_is_fitted(self, "frozen_")
        return self.frozen_.names

    def formula(self, units: Literal["z", "original"] = "z") -> str:
        """The Radscore's formula."""
        check_is_fitted(self, "frozen_")
        return self.frozen_.formula(units)

    def decision_function(self, X: Any) -> Array:
        """The Radscore of each row."""
        check_is_fitted(self, "frozen_")
        return self.frozen_.score(self._named(X))

    def predict_proba(self, X: Any) -> Array:
        """Risk of no event and of the event, shape (n, 2)."""
        frame = self._named(X)
        score = pd.DataFrame({RADSCORE: self.frozen_.score(frame)}, index=frame.index)
        risk = self.logistic_.risk(score)
        return np.column_stack([1 - risk, risk])

    def predict(self, X: Any) -> NDArray[np.int64]:
        """1 where the risk is one half or more."""
        return (self.predict_proba(X)[:, 1] >= 0.5).astype(np.int64)

    def _named(self, X: Any) -> pd.DataFrame:
        check_is_fitted(self, "frozen_")
        return as_frame(X, self.chain_[0].feature_names_in_)


def score_predictor() -> tuple[Predictor, ...]:
    """The Radscore as a predictor of a logistic model."""
    return (Predictor(RADSCORE, "numeric", label=RADSCORE),)


def fit_counting(chain: Pipeline, frame: pd.DataFrame, outcome: NDArray[np.int64]) -> list[ChainCount]:
    """Fit the steps of a pipeline one after the other and count the features after each."""
    counts: list[ChainCount] = []
    table = frame
    consumed = [step for _, step in chain.steps if isinstance(step, Harmonizer)]
    before = len(frame.columns) - sum(1 + len(step.covariates) for step in consumed)
    for name, step in chain.steps:
        table = step.fit_transform(table, outcome)
        if isinstance(step, TopK):
            inner = step.selector_
            middle = int(inner.support_.sum())
            counts.append(ChainCount("penalty", inner.describe(), before, middle, getattr(inner, "note_", "")))
            before = middle
        after = table.shape[1] if isinstance(step, Harmonizer) else min(table.shape[1], before)
        counts.append(ChainCount(str(name), step.describe(), before, after, getattr(step, "note_", "")))
        before = after
    return counts


def freeze_score(
    chain: Pipeline, frame: pd.DataFrame, intercept: float, coefficients: pd.Series, note: str
) -> FrozenScore:
    """A fitted chain and its weights as plain numbers.

    Raises
    ------
    ModelError
        A step of the chain does not leave features what they are (so that there is no formula).
    """
    imputer = scaler = harmonizer = None
    for _, step in chain.steps:
        if isinstance(step, TypedImputer):
            imputer = step
        elif isinstance(step, ZScore):
            scaler = step
        elif isinstance(step, Harmonizer):
            harmonizer = step
        elif not isinstance(step, ColumnFilter):
            raise ModelError(
                "A Radscore is a linear combination of features; this chain changes them in other ways.",
                expected="imputation, harmonization, Z-score, filters and selectors",
                found=type(step).__name__,
            )
    names = [str(name) for name in coefficients.index]
    order = sorted(names, key=lambda name: (-abs(coefficients[name]), name))
    values = frame[order].to_numpy(dtype=float)
    values = np.where(np.isfinite(values), values, np.nan)
    features = tuple(
        ScoreFeature(
            name=name,
            weight=float(coefficients[name]),
            mean=0.0 if scaler is None else float(scaler.center_[name]),
            sd=1.0 if scaler is None else float(scaler.spread_[name]),
            fill=float("nan") if imputer is None else float(imputer.values_[name]),
            minimum=float(np.nanmin(values[:, j])),
            maximum=float(np.nanmax(values[:, j])),
        )
        for j, name in enumerate(order)
    )
    return FrozenScore(
        intercept=float(intercept),
        features=features,
        correction=_site_correction(harmonizer, order),
        status="ok" if features else "no signal",
        note=note,
    )


def _site_correction(harmonizer: Harmonizer | None, names: Sequence[str]) -> SiteCorrection | None:
    if harmonizer is None or harmonizer.combat_ is None:
        return None
    combat = harmonizer.combat_
    columns = [harmonizer.features_.index(name) for name in names]

    def rows(matrix: Array) -> tuple[tuple[float, ...], ...]:
        return tuple(tuple(float(value) for value in row[columns]) for row in matrix)

    return SiteCorrection(
        site_column=harmonizer.site_column,
        sites=combat.sites,
        unseen=harmonizer.unseen,
        reference=harmonizer.reference,
        covariates=tuple(harmonizer.covariates),
        grand_mean=tuple(float(value) for value in combat.grand_mean[columns]),
        spread=tuple(float(value) for value in combat.spread[columns]),
        covariate_effects=rows(combat.covariate_effects),
        shift=rows(combat.shift),
        scale=rows(combat.scale),
        adjusted=tuple(bool(value) for value in combat.adjusted[columns]),
    )
