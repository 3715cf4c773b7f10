"""Other selectors: mRMR, Boruta's shadows, stability selection."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.stats import binom

from hepacast.core.seeds import derive_seed, rng
from hepacast.modelling.base import Array, ColumnFilter, as_outcome, numbers_of
from hepacast.modelling.folds import Integers
from hepacast.stats.correlation import standardized_ranks
from hepacast.stats.penalized import glmnet_path


class MinimumRedundancy(ColumnFilter):
    """mRMR: features added one by one, each with the greatest relevance less mean redundancy with those before it.

    Relevance is |Spearman's rho| with the outcome, redundancy the mean |rho| with the chosen features (difference form;
    Peng, Long, Ding. IEEE TPAMI 2005;27(8):1226-1238, with ranks in place of mutual information).

    Parameters
    ----------
    k
        Number of features chosen.
    """

    def __init__(self, k: int = 10) -> None:
        self.k = k

    def _fit(self, frame: pd.DataFrame, y: ArrayLike | None) -> None:
        outcome = as_outcome(y, len(frame))
        p = self.n_features_in_
        support, scores = np.zeros(p, dtype=bool), np.zeros(p)
        if p:
            ranks = standardized_ranks(numbers_of(frame))
            relevance = np.abs(standardized_ranks(outcome[:, None].astype(float))[:, 0] @ ranks)
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
        outcome = as_outcome(y, len(frame))
        p = self.n_features_in_
        counts = np.zeros(p)
        q = self.n_entering or max(1, int(np.sqrt(0.8 * p)))
        if p:
            values = numbers_of(frame)
            generator = rng(self.seed, "stability-selection")
            for _ in range(self.n_pairs):
                for half in _halves(outcome, generator):
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


def _first_entering(values: Array, outcome: Integers, q: int) -> Array:
    if outcome.min() == outcome.max():
        return np.zeros(values.shape[1])
    path = glmnet_path(values, outcome, n_lambda=50, lambda_min_ratio=0.05)
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

    In each round every feature gets a shadow (its values shuffled over the patients), a random forest is grown on both,
    and a feature more important than the best shadow scores a hit. Kept: hits above half of the rounds by a one-sided
    binomial test with Bonferroni's correction (after Kursa, Rudnicki. J Stat Softw 2010;36(11)).

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
        from sklearn.ensemble import RandomForestClassifier

        outcome = as_outcome(y, len(frame))
        p = self.n_features_in_
        hits, importance = np.zeros(p), np.zeros(p)
        values = numbers_of(frame)
        for number in range(self.n_rounds if p else 0):
            shadows = rng(self.seed, "boruta", number).permuted(values, axis=0)
            forest = RandomForestClassifier(
                n_estimators=self.n_trees,
                max_depth=6,
                class_weight="balanced_subsample",
                random_state=derive_seed(self.seed, "boruta-forest", number),
                n_jobs=1,
            ).fit(np.column_stack([values, shadows]), outcome)
            found = forest.feature_importances_
            hits += found[:p] > found[p:].max()
            importance += found[:p] / self.n_rounds
        p_value = binom.sf(hits - 1, self.n_rounds, 0.5) * max(p, 1)
        self.hits_ = pd.Series(hits, index=self.feature_names_in_)
        self._keep(p_value < self.alpha, importance, why_none="no feature is more important than shuffled copies are")

    def describe(self) -> str:
        """The rule."""
        return f"Boruta-like ({self.n_rounds} rounds)"
