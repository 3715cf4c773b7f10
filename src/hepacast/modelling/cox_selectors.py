"""Filters and selectors that learn from time and event: score test, redundancy, LASSO of the Cox model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.stats import chi2

from hepacast.core.p_values import p_below
from hepacast.errors import StudyFileError
from hepacast.modelling.base import Array, ColumnFilter, numbers_of
from hepacast.modelling.filters import SpearmanFilter
from hepacast.modelling.folds import inner_fold_count, stratified_folds
from hepacast.modelling.grammar import ChainSpec
from hepacast.modelling.targets import as_follow_up
from hepacast.stats.adjust import p_adjust
from hepacast.stats.penalized_cv import PenaltyChoice, Rule, cv_glmnet


def cox_score_tests(values: Array, times: Array, codes: Array) -> Array:
    """Chi-square (1 df) of the Cox model's score test of every column alone, shape (p,); Breslow's ties.

    For a column of two values this is the log-rank test. A constant column has 0.
    """
    order = np.argsort(-times, kind="stable")
    x = values[order] - values.mean(axis=0)
    time, event = times[order], (codes[order] == 1).astype(float)
    # Everybody with the same time is at risk together: the risk set ends at the last of them.
    end = np.searchsorted(-time, -time, side="right") - 1
    at_risk = (end + 1).astype(float)
    first = np.cumsum(x, axis=0)[end] / at_risk[:, None]
    second = np.cumsum(x**2, axis=0)[end] / at_risk[:, None]
    score = event @ (x - first)
    variance = event @ (second - first**2)
    scale = values.var(axis=0)
    usable = variance > 1e-12 * np.maximum(scale, 1e-300) * max(event.sum(), 1.0)
    return np.where(usable, score**2 / np.where(usable, variance, 1.0), 0.0)


class CoxSpearmanFilter(SpearmanFilter):
    """`SpearmanFilter` that prefers, of a pair, the feature with the greater Cox score statistic."""

    def _wanted(self, values: Array, y: ArrayLike | None) -> Array:
        if self.prefer == "outcome":
            return cox_score_tests(values, *as_follow_up(y, len(values)))
        return super()._wanted(values, y)


class CoxUnivariateFilter(ColumnFilter):
    """Keeps features with P < `alpha` in a Cox model of their own (score test).

    Parameters
    ----------
    alpha
        P below which a feature is kept.
    adjust
        Correction for the number of tests: ``"none"``, ``"BH"``, ``"BY"``, ``"holm"``, ``"bonferroni"``.
    """

    def __init__(self, alpha: float = 0.05, adjust: str = "none") -> None:
        self.alpha = alpha
        self.adjust = adjust

    def _fit(self, frame: Any, y: ArrayLike | None) -> None:
        times, codes = as_follow_up(y, len(frame))
        if self.n_features_in_ == 0:
            self._keep(np.zeros(0, dtype=bool), why_none="no feature came this far")
            return
        statistic = cox_score_tests(numbers_of(frame), times, codes)
        p = chi2.sf(statistic, 1)
        p = p if self.adjust == "none" else p_adjust(p, self.adjust)
        self._keep(p < self.alpha, statistic, why_none=f"no feature has {p_below(self.alpha)}")

    def describe(self) -> str:
        """The rule."""
        correction = "" if self.adjust == "none" else f", {self.adjust} corrected"
        return f"Univariate Cox model (score test, {p_below(self.alpha)}{correction})"


class CoxLassoSelector(ColumnFilter):
    """Features with a non-zero coefficient in a penalized Cox model whose penalty cross-validation chose.

    Equal to R's ``cv.glmnet(family = "cox")`` on the same folds.

    Parameters
    ----------
    alpha
        1 LASSO; between 0 and 1 elastic net.
    rule
        ``"min"`` or ``"1se"``.
    n_folds
        Folds of the inner cross-validation; fewer when there are fewer events.
    lambda_min_ratio
        End of the path relative to its start.
    seed
        Of the inner folds.

    Attributes
    ----------
    choice_
        Path and cross-validation curve; None when no feature came this far.
    coef_
        Coefficient of each training feature; zero for those not selected.
    intercept_
        0: a Cox model has none.
    """

    def __init__(
        self,
        alpha: float = 1.0,
        rule: Rule = "min",
        n_folds: int = 10,
        lambda_min_ratio: float | None = 0.01,
        seed: int = 0,
    ) -> None:
        self.alpha = alpha
        self.rule = rule
        self.n_folds = n_folds
        self.lambda_min_ratio = lambda_min_ratio
        self.seed = seed

    def _fit(self, frame: Any, y: ArrayLike | None) -> None:
        times, codes = as_follow_up(y, len(frame))
        self.choice_: PenaltyChoice | None = None
        self.intercept_ = 0.0
        coefficients = np.zeros(self.n_features_in_)
        if self.n_features_in_:
            classes = (codes == 1).astype(np.int64)
            folds = _fold_count(classes, self.n_folds, frame.index)
            self.choice_ = cv_glmnet(
                numbers_of(frame),
                (times, (codes == 1).astype(float)),
                stratified_folds(frame.index, classes, folds, self.seed, "penalty"),
                family="cox",
                alpha=self.alpha,
                lambda_min_ratio=self.lambda_min_ratio,
                names=list(self.feature_names_in_),
            )
            _, coefficients = self.choice_.coefficients(self.rule)
        self.coef_ = pd.Series(coefficients, index=self.feature_names_in_)
        self._keep(
            coefficients != 0,
            np.abs(coefficients),
            why_none="the penalized Cox model of all features predicts no better than none"
            if self.n_features_in_
            else "no feature came this far",
        )

    def describe(self) -> str:
        """Kind of penalty, folds and rule."""
        kind = "LASSO" if self.alpha == 1.0 else f"Elastic net (α = {self.alpha:g})"
        return f"Cox {kind}, {self.n_folds}-fold CV, λ {self.rule}"


def _fold_count(classes: Any, wanted: int, ids: Any) -> int:
    """Folds that the events allow; where everybody has the event, there is no smaller class to look at."""
    if classes.min() == classes.max():
        return int(min(wanted, len(set(map(str, ids)))))
    counts = np.bincount(classes, minlength=2)
    if counts[0] < counts[1]:
        # Few censored patients hinder nothing: the events must be enough.
        return int(min(wanted, counts[1]))
    return inner_fold_count(classes, wanted, ids)


def cox_filter_steps(spec: ChainSpec, seed: int) -> list[tuple[str, Any]]:
    """The steps of a chain for time and event.

    Raises
    ------
    StudyFileError
        The chain holds a part that has no form for time and event.
    """
    from hepacast.core.seeds import derive_seed
    from hepacast.modelling.grammar import filter_steps
    from hepacast.modelling.selectors import TopK

    _check_chain(spec)
    steps = []
    for name, step in filter_steps(spec, seed):
        if name == "redundancy":
            assert spec.redundancy is not None
            steps.append((name, CoxSpearmanFilter(spec.redundancy.threshold, spec.redundancy.prefer, step.table)))
        elif name == "univariate":
            assert spec.univariate is not None
            steps.append((name, CoxUnivariateFilter(spec.univariate.alpha, spec.univariate.adjust)))
        elif name == "selector":
            choice = spec.selector
            alpha = 1.0 if choice.kind == "lasso" else 0.5
            lasso = CoxLassoSelector(alpha, choice.rule, choice.folds, seed=derive_seed(seed, "selector"))
            steps.append((name, lasso if spec.n_features is None else TopK(lasso, spec.n_features)))
        else:
            steps.append((name, step))
    return steps


def _check_chain(spec: ChainSpec) -> None:
    wrong = []
    if spec.selector.kind not in ("lasso", "elastic_net"):
        wrong.append(f"selector {spec.selector.kind}")
    if spec.classifier.kind != "selector" or spec.stack or spec.search is not None:
        wrong.append("classifier, stack or search")
    if spec.scaler == "rank" or spec.calibration != "none" or spec.class_weights != "none":
        wrong.append("scaler rank, calibration or class weights")
    if wrong:
        raise StudyFileError(
            "This radiomics chain has no form for time and event.",
            expected="filters, then selector lasso or elastic_net with its own weights (chain ptlf)",
            found=f"chain {spec.name}: " + "; ".join(wrong),
            where="modelling.chain",
            remedy="use chain: ptlf, whose LASSO becomes that of the Cox model",
        )
