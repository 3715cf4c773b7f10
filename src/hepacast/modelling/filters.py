"""Filters that drop features before a model is fitted: not reproducible, redundant, unrelated to the outcome."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import chi2

from hepacast.core.p_values import p_below
from hepacast.errors import ModelError
from hepacast.modelling.base import Array, ColumnFilter, listed, numbers_of
from hepacast.modelling.table_order import ranks_of
from hepacast.modelling.targets import as_target, has_time
from hepacast.stats.adjust import p_adjust
from hepacast.stats.correlation import find_correlation, greedy_spearman, spearman_matrix
from hepacast.stats.tests_columns import univariate_tests

#: Columns that are tested together.
_COLUMNS = 256

Preference = Literal["outcome", "order", "reproducibility", "mean_correlation"]


class ReproducibilityFilter(ColumnFilter):
    """Keeps features whose agreement between readers, or between perturbed masks, is high enough.

    Parameters
    ----------
    table
        Intraclass correlation of each feature (name -> value), measured beforehand without the outcome. None: keep all.
    minimum
        Lowest ICC kept. 0.75 is "good" in Koo and Li, J Chiropr Med 2016;15(2):155-163; the lower limit of its CI may
        be given as the table instead of the estimate.
    missing
        A feature without a value in the table, or whose ICC failed (NaN): ``"drop"``, ``"keep"`` or ``"refuse"``.
        A failed ICC is never counted as agreement.

    Attributes
    ----------
    not_measured_
        Features without a value.
    """

    def __init__(
        self,
        table: Mapping[str, float] | pd.Series[float] | None = None,
        minimum: float = 0.75,
        missing: Literal["drop", "keep", "refuse"] = "drop",
    ) -> None:
        self.table = table
        self.minimum = minimum
        self.missing = missing

    def _fit(self, frame: pd.DataFrame, y: ArrayLike | None) -> None:
        if self.table is None:
            self.not_measured_: list[str] = []
            self._keep(np.ones(self.n_features_in_, dtype=bool))
            return
        values = _values_of(self.table, self.feature_names_in_)
        unknown = np.isnan(values)
        self.not_measured_ = [str(name) for name in self.feature_names_in_[unknown]]
        if self.not_measured_ and self.missing == "refuse":
            raise ModelError(
                "The reproducibility of some features was not measured.",
                found=listed(self.not_measured_),
                remedy="measure it, or set `missing` to 'drop' or 'keep'",
            )
        support = np.where(unknown, self.missing == "keep", values >= self.minimum)
        self._keep(support, values, why_none=f"no feature has an ICC of {self.minimum:g} or more")

    def describe(self) -> str:
        """The rule."""
        return f"Reproducible (ICC ≥ {self.minimum:g})"


class SpearmanFilter(ColumnFilter):
    """Drops redundant features: of each pair with |rho| above the threshold, the less wanted one.

    Features are walked through from the most to the least wanted, and each is kept unless it correlates too much with
    one that is kept already. So no kept pair exceeds the threshold, and every dropped feature has a kept one that
    stands for it.

    Parameters
    ----------
    threshold
        Largest |rho| between kept features.
    prefer
        What makes a feature the better of a pair: ``"outcome"`` (its AUC for the outcome in the training rows is
        farther from 0.5; of time and event its ranks have the greater score statistic in a Cox model),
        ``"reproducibility"`` (higher ICC in `table`), ``"order"`` (it comes first in the table), or
        ``"mean_correlation"`` (caret's `findCorrelation`, the one with the smaller mean |rho| to all others). Ties go
        to the name that comes first in the alphabet.
    table
        ICC by feature, for ``"reproducibility"``.
    """

    def __init__(
        self,
        threshold: float = 0.8,
        prefer: Preference = "outcome",
        table: Mapping[str, float] | pd.Series[float] | None = None,
    ) -> None:
        self.threshold = threshold
        self.prefer = prefer
        self.table = table

    def _fit(self, frame: pd.DataFrame, y: ArrayLike | None) -> None:
        values = numbers_of(frame)
        if self.n_features_in_ == 0:
            self._keep(np.zeros(0, dtype=bool), why_none="no feature came this far")
            return
        support = np.zeros(self.n_features_in_, dtype=bool)
        if self.prefer == "mean_correlation":
            varying = np.ptp(values, axis=0) > 0
            support[varying] = True
            if varying.sum() > 1:
                removed = find_correlation(spearman_matrix(values[:, varying]), self.threshold)
                support[np.flatnonzero(varying)[removed]] = False
            self._keep(support)
            return
        ranks = ranks_of(frame)
        wanted = self._wanted(ranks, y)
        # Rounded, so that equal features are tied whatever the order of summation.
        order = np.lexsort((self.feature_names_in_.astype(str), -np.round(wanted, 12)))
        support[greedy_spearman(values, self.threshold, order, ranks=ranks)] = True
        self._keep(support, wanted)

    def describe(self) -> str:
        """The rule."""
        return f"Not redundant (Spearman |ρ| ≤ {self.threshold:g})"

    def _wanted(self, ranks: Array, y: ArrayLike | None) -> Array:
        if self.prefer == "order":
            return -np.arange(ranks.shape[1], dtype=float)
        if self.prefer == "outcome":
            return separation(ranks, as_target(y, len(ranks)))
        if self.prefer == "reproducibility" and self.table is not None:
            return np.nan_to_num(_values_of(self.table, self.feature_names_in_), nan=-1.0)
        raise ModelError(
            "The redundancy filter cannot tell which feature of a pair is better.",
            expected="outcome, order, mean_correlation, or reproducibility with a table of ICCs",
            found=str(self.prefer),
        )


def _values_of(table: Mapping[str, float] | pd.Series[float], names: Iterable[str]) -> Array:
    known = table if isinstance(table, pd.Series) else pd.Series(dict(table), dtype=float)
    return np.asarray(known.reindex(list(names)), dtype=float)


def separation(ranks: Array, outcome: NDArray[Any]) -> Array:
    """How far each column alone tells the outcome: |AUC - 0.5|, or of time and event the Cox score statistic.

    Parameters
    ----------
    ranks
        Ranks within each column of a complete table, shape (n, p).
    """
    if has_time(outcome):
        return cox_score_tests(ranks, outcome[:, 0], outcome[:, 1])
    events = outcome == 1
    n1, n0 = int(events.sum()), int((~events).sum())
    # Ranks are whole or half numbers: their sum is exact in any order.
    return np.abs((events.astype(float) @ ranks - n1 * (n1 + 1) / 2) / (n1 * n0) - 0.5)


def cox_score_tests(values: Array, times: Array, codes: Array) -> Array:
    """Chi-square (1 df) of the Cox model's score test of every column alone, shape (p,); Breslow's ties.

    For a column of two values this is the log-rank test. A constant column has 0.
    """
    score, variance = _cox_score(values, times, codes)
    return np.where(variance > 0, score**2 / np.where(variance > 0, variance, 1.0), 0.0)


def cox_score_z(values: Array, times: Array, codes: Array) -> Array:
    """Square root of `cox_score_tests`, with the sign of the effect: above 0 where high values go with early events."""
    score, variance = _cox_score(values, times, codes)
    return np.where(variance > 0, score / np.sqrt(np.where(variance > 0, variance, 1.0)), 0.0)


def _cox_score(values: Array, times: Array, codes: Array) -> tuple[Array, Array]:
    """Score and its variance at a coefficient of 0; variance 0 for a column that does not vary among those at risk."""
    order = np.argsort(-times, kind="stable")
    time, event = times[order], (codes[order] == 1).astype(float)
    # Everybody with the same time is at risk together: the risk set ends at the last of them.
    end = np.searchsorted(-time, -time, side="right") - 1
    at_risk = (end + 1).astype(float)[:, None]
    score, variance = np.empty((2, values.shape[1]))
    # Some columns at a time: what is computed on the way stays small, whatever the number of patients.
    for start in range(0, values.shape[1], _COLUMNS):
        some = slice(start, start + _COLUMNS)
        part = values[:, some]
        x = part[order] - part.mean(axis=0)
        first = np.cumsum(x, axis=0)[end] / at_risk
        second = np.cumsum(x**2, axis=0)[end] / at_risk
        score[some] = event @ (x - first)
        found = event @ (second - first**2)
        usable = found > 1e-12 * np.maximum(part.var(axis=0), 1e-300) * max(event.sum(), 1.0)
        variance[some] = np.where(usable, found, 0.0)
    return score, variance


class UnivariateFilter(ColumnFilter):
    """Keeps features that differ between the classes on their own; of time and event, in a Cox model of their own.

    Parameters
    ----------
    alpha
        Largest P kept (P < alpha).
    test
        Of classes: ``"auto"`` (t test where Shapiro-Wilk finds both classes normal, else Mann-Whitney), ``"t"`` or
        ``"mann-whitney"``.
    adjust
        Correction for the number of tests: ``"none"`` (the paper's), ``"BH"``, ``"holm"``, ``"bonferroni"``.
    equal_var
        Student's instead of Welch's t test.

    Attributes
    ----------
    p_values_, tests_
        P (after correction) and name of the test of each training feature: that of classes, or the score test.
    """

    def __init__(
        self,
        alpha: float = 0.05,
        test: Literal["auto", "t", "mann-whitney"] = "auto",
        adjust: str = "none",
        equal_var: bool = False,
    ) -> None:
        self.alpha = alpha
        self.test = test
        self.adjust = adjust
        self.equal_var = equal_var

    def _fit(self, frame: pd.DataFrame, y: ArrayLike | None) -> None:
        outcome = as_target(y, len(frame))
        self._of_time = has_time(outcome)
        if self.n_features_in_ == 0:
            self.p_values_, self.tests_ = pd.Series(dtype=float), pd.Series(dtype=object)
            self._keep(np.zeros(0, dtype=bool), why_none="no feature came this far")
            return
        p, names = self._tested(numbers_of(frame), outcome)
        p = p if self.adjust == "none" else p_adjust(p, self.adjust)
        self.p_values_ = pd.Series(p, index=self.feature_names_in_)
        self.tests_ = pd.Series(names, index=self.feature_names_in_)
        # A feature that cannot be tested (NaN) is not kept.
        with np.errstate(invalid="ignore", divide="ignore"):
            scores = -np.log10(p)
        self._keep(p < self.alpha, scores, why_none=f"no feature has {p_below(self.alpha)}")

    def _tested(self, values: Array, outcome: NDArray[Any]) -> tuple[Array, Any]:
        if has_time(outcome):
            return chi2.sf(cox_score_tests(values, outcome[:, 0], outcome[:, 1]), 1), "score test"
        choose = "normality" if self.test == "auto" else self.test
        tests = univariate_tests(values, outcome, choose=choose, equal_var=self.equal_var)
        return tests.p, tests.test

    def describe(self) -> str:
        """The rule."""
        correction = "" if self.adjust == "none" else f", {self.adjust} corrected"
        if getattr(self, "_of_time", False):
            return f"Univariate Cox model (score test, {p_below(self.alpha)}{correction})"
        return f"Univariate test ({p_below(self.alpha)}{correction})"
