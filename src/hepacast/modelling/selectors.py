"""Selectors of a signature: LASSO and elastic net with cross-validated penalty, the k features of most weight."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import clone

from hepacast.errors import ModelError
from hepacast.modelling.base import Array, ColumnFilter, as_outcome, numbers_of
from hepacast.modelling.folds import Integers, inner_fold_count, stratified_folds
from hepacast.stats.penalized_cv import Measure, PenaltyChoice, Rule, cv_glmnet


class LassoSelector(ColumnFilter):
    """Features with a non-zero coefficient in a penalized logistic model whose penalty cross-validation chose.

    Equal to R's ``cv.glmnet`` on the same folds. The folds come from the seed and the rows' index (the patients), so
    the order of the rows does not matter.

    Parameters
    ----------
    alpha
        1 LASSO; between 0 and 1 elastic net.
    rule
        ``"min"``: the penalty with the best cross-validated measure. ``"1se"``: the largest within one standard error.
    measure
        ``"deviance"``, ``"auc"`` or ``"class"``.
    n_folds
        Folds of the inner cross-validation; fewer when a class has fewer patients.
    lambda_min_ratio
        End of the path relative to its start. glmnet goes on to 1e-4 when there are more rows than features, where
        nearly separated models take most of the time and are never chosen.
    shared_path
        Fit the inner folds at the penalties of all rows, instead of at their own with interpolation (glmnet's way).
    seed
        Of the inner folds.

    Attributes
    ----------
    choice_
        Path and cross-validation curve (`PenaltyChoice`); None when no feature came this far.
    coef_
        Coefficient of each training feature; zero for those not selected.
    intercept_
        Of the chosen model.
    """

    def __init__(
        self,
        alpha: float = 1.0,
        rule: Rule = "min",
        measure: Measure = "deviance",
        n_folds: int = 10,
        lambda_min_ratio: float | None = 0.01,
        shared_path: bool = False,
        seed: int = 0,
    ) -> None:
        self.alpha = alpha
        self.rule = rule
        self.measure = measure
        self.n_folds = n_folds
        self.lambda_min_ratio = lambda_min_ratio
        self.shared_path = shared_path
        self.seed = seed

    def _fit(self, frame: pd.DataFrame, y: ArrayLike | None) -> None:
        outcome = as_outcome(y, len(frame))
        self.choice_: PenaltyChoice | None = None
        coefficients = np.zeros(self.n_features_in_)
        self.intercept_ = float(np.log(outcome.mean() / (1 - outcome.mean())))
        if self.n_features_in_:
            folds = inner_fold_count(outcome, self.n_folds, frame.index)
            self.choice_ = cv_glmnet(
                numbers_of(frame),
                outcome,
                stratified_folds(frame.index, outcome, folds, self.seed, "penalty"),
                alpha=self.alpha,
                measure=self.measure,
                lambda_min_ratio=self.lambda_min_ratio,
                shared_path=self.shared_path,
                names=list(self.feature_names_in_),
            )
            self.intercept_, coefficients = self.choice_.coefficients(self.rule)
        self.coef_ = pd.Series(coefficients, index=self.feature_names_in_)
        self._keep(
            coefficients != 0,
            np.abs(coefficients),
            why_none="the penalized model of all features predicts no better than the intercept alone"
            if self.n_features_in_
            else "no feature came this far",
        )

    def describe(self) -> str:
        """Kind of penalty, folds and rule."""
        kind = "LASSO" if self.alpha == 1.0 else f"Elastic net (α = {self.alpha:g})"
        return f"{kind}, {self.n_folds}-fold CV, λ {self.rule}"


class ElasticNetSelector(LassoSelector):
    """`LassoSelector` with the two penalties mixed half and half: correlated features enter together."""

    def __init__(
        self,
        alpha: float = 0.5,
        rule: Rule = "min",
        measure: Measure = "deviance",
        n_folds: int = 10,
        lambda_min_ratio: float | None = 0.01,
        shared_path: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(alpha, rule, measure, n_folds, lambda_min_ratio, shared_path, seed)


class TopK(ColumnFilter):
    """Of what a selector chose, the k features with the greatest weight.

    Parameters
    ----------
    selector
        A `ColumnFilter` with scores; by default `LassoSelector()`, whose score is |coefficient| of the features as
        they come (Z-scored: per standard deviation).
    k
        Number of features kept; ties go to the name that comes first in the alphabet.

    Attributes
    ----------
    selector_
        The fitted selector.
    coef_, intercept_
        The selector's coefficients with the others set to zero; None for a selector without coefficients.
    """

    def __init__(self, selector: Any = None, k: int = 10) -> None:
        self.selector = selector
        self.k = k

    def _fit(self, frame: pd.DataFrame, y: ArrayLike | None) -> None:
        if self.k < 1:
            raise ModelError("At least one feature must be kept.", expected="k of 1 or more", found=str(self.k))
        self.selector_ = LassoSelector() if self.selector is None else clone(self.selector)
        self.selector_.fit(frame, y)
        scores = self.selector_.scores_
        if scores is None:
            raise ModelError(
                "The features of most weight are asked for, but the selector gives no weights.",
                found=type(self.selector_).__name__,
            )
        chosen = np.flatnonzero(self.selector_.support_)
        order = np.lexsort((self.feature_names_in_[chosen].astype(str), -np.round(scores.to_numpy()[chosen], 12)))
        support = np.zeros(self.n_features_in_, dtype=bool)
        support[chosen[order[: self.k]]] = True
        self._keep(support, scores.to_numpy(), why_none=self.selector_.note_)
        coefficients = getattr(self.selector_, "coef_", None)
        self.coef_ = None if coefficients is None else coefficients.where(support, 0.0)
        self.intercept_ = getattr(self.selector_, "intercept_", None)

    def describe(self) -> str:
        """How many are kept."""
        return f"{self.k} largest weights"

    @property
    def choice_(self) -> PenaltyChoice | None:
        """The selector's path and cross-validation curve, where it has one."""
        return getattr(self.selector_, "choice_", None)


class KBest(ColumnFilter):
    """The k features that separate the classes best on their own (|AUC - 0.5|), or by Welch's t.

    Parameters
    ----------
    k
        Number of features kept.
    score
        ``"auc"`` or ``"t"``.
    """

    def __init__(self, k: int = 10, score: Literal["auc", "t"] = "auc") -> None:
        self.k = k
        self.score = score

    def _fit(self, frame: pd.DataFrame, y: ArrayLike | None) -> None:
        outcome = as_outcome(y, len(frame))
        support = np.zeros(self.n_features_in_, dtype=bool)
        scores = _separation(numbers_of(frame), outcome, self.score) if self.n_features_in_ else np.zeros(0)
        order = np.lexsort((self.feature_names_in_.astype(str), -np.round(scores, 12)))
        support[order[: self.k]] = True
        self._keep(support, scores, why_none="no feature came this far")

    def describe(self) -> str:
        """How many are kept, by what."""
        return f"{self.k} best by {'AUC' if self.score == 'auc' else 't'}"


def _separation(values: Array, outcome: Integers, score: str) -> Array:
    from hepacast.modelling.filters import auc_distance
    from hepacast.stats.tests_columns import univariate_tests

    if score == "auc":
        return auc_distance(values, outcome)
    return np.nan_to_num(np.abs(univariate_tests(values, outcome, choose="t").t))
