"""Selectors of a signature: LASSO, elastic net, k features of most weight, mRMR, stability selection, shadows.

All learn from either outcome, 0 and 1 or time and event; the shape of ``y`` says which.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.stats import binom
from sklearn.base import clone

from hepacast.core.seeds import derive_seed, rng
from hepacast.errors import ModelError
from hepacast.modelling.base import Array, ColumnFilter, numbers_of
from hepacast.modelling.filters import cox_score_tests, separation
from hepacast.modelling.folds import Integers, stratified_folds
from hepacast.modelling.targets import as_target, event_classes, for_penalized, has_time, inner_folds, null_residuals
from hepacast.stats.correlation import standardized_ranks
from hepacast.stats.penalized import glmnet_path
from hepacast.stats.penalized_cv import Measure, PenaltyChoice, Rule, cv_glmnet
from hepacast.stats.ranks import column_ranks
from hepacast.stats.tests_columns import univariate_tests


class LassoSelector(ColumnFilter):
    """Features with a non-zero coefficient in a penalized logistic or Cox model whose penalty cross-validation chose.

    Equal to R's ``cv.glmnet`` on the same folds. The folds come from the seed and the rows' index (the patients), so
    the order of the rows does not matter.

    Parameters
    ----------
    alpha
        1 LASSO; between 0 and 1 elastic net.
    rule
        ``"min"``: the penalty with the best cross-validated measure. ``"1se"``: the largest within one standard error.
    measure
        ``"deviance"``, ``"auc"`` or ``"class"``; of time and event ``"deviance"``.
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
        Of the chosen model; 0 of a Cox model, which has none.
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
        outcome = as_target(y, len(frame))
        self._of_time, classes = has_time(outcome), event_classes(outcome)
        self.choice_: PenaltyChoice | None = None
        coefficients = np.zeros(self.n_features_in_)
        self.intercept_ = 0.0 if self._of_time else float(np.log(outcome.mean() / (1 - outcome.mean())))
        if self.n_features_in_:
            folds = inner_folds(outcome, self.n_folds, frame.index)
            self.choice_ = cv_glmnet(
                numbers_of(frame),
                foldid=stratified_folds(frame.index, classes, folds, self.seed, "penalty"),
                **for_penalized(outcome),
                alpha=self.alpha,
                measure=self.measure,
                lambda_min_ratio=self.lambda_min_ratio,
                shared_path=self.shared_path,
                names=list(self.feature_names_in_),
            )
            intercept, coefficients = self.choice_.coefficients(self.rule)
            self.intercept_ = 0.0 if self._of_time else intercept
        self.coef_ = pd.Series(coefficients, index=self.feature_names_in_)
        self._keep(
            coefficients != 0,
            np.abs(coefficients),
            why_none="no feature came this far"
            if not self.n_features_in_
            else "the penalized Cox model of all features predicts no better than none"
            if self._of_time
            else "the penalized model of all features predicts no better than the intercept alone",
        )

    def describe(self) -> str:
        """Kind of penalty, folds and rule."""
        kind = "LASSO" if self.alpha == 1.0 else f"Elastic net (α = {self.alpha:g})"
        kind = f"Cox {kind}" if getattr(self, "_of_time", False) else kind
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
    """The k features that tell the outcome best on their own: by |AUC - 0.5| or Welch's t, or the Cox score statistic.

    Parameters
    ----------
    k
        Number of features kept.
    score
        Of classes: ``"auc"`` or ``"t"``.
    """

    def __init__(self, k: int = 10, score: Literal["auc", "t"] = "auc") -> None:
        self.k = k
        self.score = score

    def _fit(self, frame: pd.DataFrame, y: ArrayLike | None) -> None:
        outcome = as_target(y, len(frame))
        self._of_time = has_time(outcome)
        support = np.zeros(self.n_features_in_, dtype=bool)
        scores = self._scores(numbers_of(frame), outcome) if self.n_features_in_ else np.zeros(0)
        order = np.lexsort((self.feature_names_in_.astype(str), -np.round(scores, 12)))
        support[order[: self.k]] = True
        self._keep(support, scores, why_none="no feature came this far")

    def describe(self) -> str:
        """How many are kept, by what."""
        of_time = getattr(self, "_of_time", False)
        return f"{self.k} best by {'Cox score test' if of_time else 'AUC' if self.score == 'auc' else 't'}"

    def _scores(self, values: Array, outcome: Any) -> Array:
        if has_time(outcome):
            return cox_score_tests(values, outcome[:, 0], outcome[:, 1])
        if self.score == "auc":
            return separation(column_ranks(values), outcome)
        return np.nan_to_num(np.abs(univariate_tests(values, outcome, choose="t").t))


class MinimumRedundancy(ColumnFilter):
    """mRMR: features added one by one, each with the greatest relevance less mean redundancy with those before it.

    Relevance is |Spearman's rho| with the outcome (of time and event with `null_residuals`), redundancy the mean |rho|
    with the chosen features (difference form; Peng, Long, Ding. IEEE TPAMI 2005;27(8):1226-1238, with ranks in place of
    mutual information).

    Parameters
    ----------
    k
        Number of features chosen.
    """

    def __init__(self, k: int = 10) -> None:
        self.k = k

    def _fit(self, frame: pd.DataFrame, y: ArrayLike | None) -> None:
        outcome = as_target(y, len(frame))
        told = null_residuals(outcome) if has_time(outcome) else outcome.astype(float)
        p = self.n_features_in_
        support, scores = np.zeros(p, dtype=bool), np.zeros(p)
        if p:
            ranks = standardized_ranks(numbers_of(frame))
            relevance = np.abs(standardized_ranks(told[:, None])[:, 0] @ ranks)
            redundancy = np.zeros(p)
            for chosen in range(min(self.k, p)):
                gain = relevance - redundancy / max(chosen, 1)
                gain[support] = -np.inf
                best = int(np.lexsort((self.feature_names_in_.astype(str), -np.round(gain, 12)))[0])
                support[best] = True
                # Earlier choices score higher, so that the top k of a selection are its first k.
                scores[best] = 1.0 - chosen / (self.k + 1.0)
                redundancy += np.abs(ranks[:, best] @ ranks)
        self._keep(support, scores, why_none="no feature came this far")

    def describe(self) -> str:
        """How many are kept."""
        return f"mRMR, {self.k} features"


class StabilitySelection(ColumnFilter):
    """Features that the LASSO picks again and again in random halves of the patients.

    Complementary pairs of halves (Shah, Samworth. JRSS B 2013;75:55-80); in each half the first `n_entering` features
    of the path count. Meinshausen and Buehlmann's bound (JRSS B 2010;72:417-473) on the expected number of wrongly
    chosen features is kept in `false_bound_`.

    Parameters
    ----------
    frequency
        Smallest share of halves in which a feature must be picked.
    n_entering
        Features counted in each half; by default the square root of 0.8 p, which bounds the false ones near one.
    n_pairs
        Pairs of halves.
    seed
        Of the halves.
    """

    def __init__(self, frequency: float = 0.6, n_entering: int | None = None, n_pairs: int = 25, seed: int = 0) -> None:
        self.frequency = frequency
        self.n_entering = n_entering
        self.n_pairs = n_pairs
        self.seed = seed

    def _fit(self, frame: pd.DataFrame, y: ArrayLike | None) -> None:
        outcome = as_target(y, len(frame))
        p = self.n_features_in_
        counts = np.zeros(p)
        q = self.n_entering or max(1, int(np.sqrt(0.8 * p)))
        if p:
            values = numbers_of(frame)
            generator = rng(self.seed, "stability-selection")
            for _ in range(self.n_pairs):
                for half in _halves(event_classes(outcome), generator):
                    counts += _first_entering(values[half], outcome[half], q)
        share = counts / (2 * self.n_pairs)
        bound = q**2 / ((2 * self.frequency - 1) * p) if self.frequency > 0.5 and p else np.inf
        self.false_bound_ = float(bound)
        self._keep(
            share >= self.frequency,
            share,
            why_none=f"no feature was picked in {self.frequency:.0%} of the random halves",
        )

    def describe(self) -> str:
        """The rule."""
        return f"Stability selection (\N{GREATER-THAN OR EQUAL TO} {self.frequency:.0%} of {2 * self.n_pairs} halves)"


def _halves(outcome: Integers, generator: np.random.Generator) -> tuple[Integers, Integers]:
    """Two disjoint halves, the classes divided evenly."""
    side = np.zeros(len(outcome), dtype=np.int64)
    for value in (0, 1):
        members = generator.permutation(np.flatnonzero(outcome == value))
        side[members[: len(members) // 2]] = 1
        if len(members) % 2:
            side[members[-1]] = generator.integers(2)
    return np.flatnonzero(side == 0).astype(np.int64), np.flatnonzero(side == 1).astype(np.int64)


def _first_entering(values: Array, outcome: Any, q: int) -> Array:
    classes = event_classes(outcome)
    if not classes.any() or (classes.all() and not has_time(outcome)):
        return np.zeros(values.shape[1])
    path = glmnet_path(values, **for_penalized(outcome), n_lambda=50, lambda_min_ratio=0.05)
    enough = np.flatnonzero(path.n_nonzero >= q)
    step = int(enough[0]) if len(enough) else len(path.lambdas) - 1
    picked = np.flatnonzero(path.coefficients[step])
    if len(picked) > q:
        order = np.argsort(-np.abs(path.coefficients[step, picked] * values[:, picked].std(axis=0)), kind="stable")
        picked = picked[order[:q]]
    chosen = np.zeros(values.shape[1])
    chosen[picked] = 1.0
    return chosen


class BorutaLike(ColumnFilter):
    """Features whose importance in a forest beats the best of shuffled copies more often than chance.

    In each round every feature gets a shadow (its values shuffled over the patients), a random forest is grown on both
    (of time and event, a regression forest of `null_residuals`), and a feature more important than the best shadow
    scores a hit. Kept: hits above half of the rounds by a one-sided binomial test with Bonferroni's correction (after
    Kursa, Rudnicki. J Stat Softw 2010;36(11)).

    Parameters
    ----------
    alpha
        Level of the test.
    n_rounds, n_trees
        Rounds, and trees a round.
    seed
        Of shadows and forests.
    """

    def __init__(self, alpha: float = 0.05, n_rounds: int = 25, n_trees: int = 150, seed: int = 0) -> None:
        self.alpha = alpha
        self.n_rounds = n_rounds
        self.n_trees = n_trees
        self.seed = seed

    def _fit(self, frame: pd.DataFrame, y: ArrayLike | None) -> None:
        from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

        outcome = as_target(y, len(frame))
        of_time = has_time(outcome)
        told = null_residuals(outcome) if of_time else outcome
        grown, settings = (
            (RandomForestRegressor, {}) if of_time else (RandomForestClassifier, {"class_weight": "balanced_subsample"})
        )
        p = self.n_features_in_
        hits, importance = np.zeros(p), np.zeros(p)
        values = numbers_of(frame)
        for number in range(self.n_rounds if p else 0):
            shadows = rng(self.seed, "boruta", number).permuted(values, axis=0)
            forest = grown(
                n_estimators=self.n_trees,
                max_depth=6,
                **settings,
                random_state=derive_seed(self.seed, "boruta-forest", number),
                n_jobs=1,
            ).fit(np.column_stack([values, shadows]), told)
            found = forest.feature_importances_
            hits += found[:p] > found[p:].max()
            importance += found[:p] / self.n_rounds
        p_value = binom.sf(hits - 1, self.n_rounds, 0.5) * max(p, 1)
        self.hits_ = pd.Series(hits, index=self.feature_names_in_)
        self._keep(p_value < self.alpha, importance, why_none="no feature is more important than shuffled copies are")

    def describe(self) -> str:
        """The rule."""
        return f"Boruta-like ({self.n_rounds} rounds)"
