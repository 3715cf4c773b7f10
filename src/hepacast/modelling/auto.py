"""`AutoClassifier`: one default for any table of features, with nothing to tune, that may find nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, ndtri
from sklearn.utils.validation import check_is_fitted

from hepacast.core.seeds import derive_seed, rng
from hepacast.modelling.auto_members import NAMES, TREES, Member, fit_members, fit_trees, tree_scores
from hepacast.modelling.base import Array, BinaryClassifier, as_frame, both_risks, numbers_of
from hepacast.modelling.classifiers import PlainLinear
from hepacast.modelling.evidence import NOTHING, SHOWN, chance_sentence, nothing_sentence
from hepacast.modelling.folds import Integers, stratified_folds
from hepacast.modelling.scale import RankToNormal, normal_scores
from hepacast.modelling.targets import (
    as_target,
    event_classes,
    has_time,
    inner_folds,
    null_residuals,
    rank_estimate,
    rank_measure,
    rank_score,
)
from hepacast.stats.global_test import global_test

#: A member's weight falls by e for each so many standard errors (of an AUC of 0.5) that its inner AUC is lower, where
#: the best inner AUC lies at least `CLEAR` standard errors above 0.5. Below that it falls more slowly: where little is
#: to be found, differences between members are chance, and their plain average is the better score.
TEMPERATURE = 0.5
CLEAR = 5.0

#: Members with less weight than this are not fitted to all rows.
_NEGLIGIBLE = 0.02


class AutoClassifier(BinaryClassifier):
    """An average of seven ways to use a wide table, or the answer that nothing was found in it.

    Radiomics tables differ most in how many features matter: one, a few, or hundreds a little. The members
    (`hepacast.modelling.auto_members`) cover that range. Features become normal scores of their ranks; each member
    predicts the training rows in an inner cross-validation (trees: out of bag); its scores become normal scores of
    their places among these; members are averaged, the worse ones with less weight the clearer the signal
    (`member_weights`). A logistic model of the weighted inner scores gives the risk.

    Before that the features are tested against permuted outcomes (`hepacast.stats.global_test`), which no choice of
    members can flatter. Up to a P of .05 something is *shown*. Above .5 (a permuted outcome does at least as well as
    often as not), or where the members together do not order the training rows better than chance, *nothing was
    found*: everybody has the same score and the training rate. In between the model is given, with a note that chance
    may have made it.

    Of time and event members learn in their own ways (`auto_members`) and are weighted by Harrell's C; the score has no
    risk by itself, which a Cox model of it gives.

    Nothing is tuned: every constant is fixed. All choices are made inside ``fit``, so a cross-validation around it is
    nested.

    Parameters
    ----------
    n_folds
        Inner folds; fewer when a class has fewer rows.
    n_repeats
        Inner divisions of the rows.
    n_trees
        Extremely randomized trees.
    seed
        Of the inner folds, the permutations and the trees.
    nothing_above
        P value above which nothing was found; 0.05 gives a model only where something is shown, at the price of the
        weak signals of small cohorts.

    Attributes
    ----------
    evidence_p_, shown_
        P value against permuted outcomes, and whether it shows something.
    inner_
        Inner AUC or C of the members' plain mean.
    inner_auc_, weights_
        By member; of time and event the inner C. No weights where nothing was found.
    inner_scores_
        Score of each training row by models that did not see it, on the scale of `decision_function`.
    ranks_, spread_, members_, forest_, places_
        Ranks to normal scores and their SDs; the fitted members, and the inner scores that theirs are placed among.
    slope_, intercept_
        Of the logistic model; slope 0 where nothing was found.
    status_, note_
        ``"ok"`` or ``"no signal"``, and why; of a model that is not shown, with what P.
    """

    def __init__(
        self, n_folds: int = 10, n_repeats: int = 1, n_trees: int = 150, seed: int = 0, nothing_above: float = NOTHING
    ) -> None:
        self.n_folds = n_folds
        self.n_repeats = n_repeats
        self.n_trees = n_trees
        self.seed = seed
        self.nothing_above = nothing_above

    def fit(self, X: Any, y: ArrayLike | None = None) -> Self:
        """Ask whether there is anything, then judge the members inside and fit those that count to all rows."""
        frame = as_frame(X)
        outcome = as_target(y, len(frame))
        self.classes_ = np.array([0, 1])
        self.weights_: dict[str, float] = {}
        self.evidence_p_, self.shown_ = 1.0, False
        self.ranks_ = RankToNormal().fit(frame)
        raw = numbers_of(self.ranks_.transform(frame))
        self.spread_ = np.maximum(raw.std(axis=0), 1e-12)
        Z = raw / self.spread_
        if not Z.shape[1]:
            return self._nothing(outcome, "no feature varies")
        self.evidence_p_ = global_test(Z, null_residuals(outcome), rng(self.seed, "auto-evidence"))
        self.shown_ = self.evidence_p_ <= SHOWN
        if self.evidence_p_ > self.nothing_above:
            return self._nothing(outcome, nothing_sentence(self.evidence_p_, "the features"))
        return self._learn(frame.index, Z, outcome)

    def _learn(self, index: pd.Index, Z: Array, outcome: NDArray[Any]) -> Self:
        folds = self._inner_folds(index, outcome)
        inner, forest = self._inner_scores(Z, outcome, folds)
        own = {name: np.mean([normal_scores(row) for row in rows], axis=0) for name, rows in inner.items()}
        self.inner_ = rank_score(outcome, np.mean([own[name] for name in NAMES], axis=0))
        if not self.inner_ > 0.5:
            measure = rank_measure(outcome)
            return self._nothing(outcome, f"the {measure} inside the training rows, {self.inner_:.2f}, is not above .5")
        error = standard_error(outcome, [row for rows in inner.values() for row in rows])
        # The weights of a row's score come from rows of other folds, so that no row speaks for its own score.
        self.inner_scores_ = np.empty(len(Z))
        for number in np.unique(folds[0]):
            held = folds[0] == number
            judged = {name: rank_score(outcome[~held], own[name][~held]) for name in NAMES}
            self.inner_scores_[held] = _weighted(
                {name: own[name][held] for name in NAMES}, member_weights(judged, error)
            )
        line = PlainLinear().fit(pd.DataFrame({"score": self.inner_scores_}), outcome)
        self.slope_, self.intercept_ = float(line.coef_[0, 0]), float(line.intercept_[0])
        if self.slope_ <= 0:
            return self._nothing(outcome, "inside the training rows a higher score goes with no higher risk")
        self.inner_auc_ = {name: rank_score(outcome, own[name]) for name in NAMES}
        weights = member_weights(self.inner_auc_, error)
        self.weights_, self.status_ = weights, "ok"
        self.places_ = {name: np.sort(inner[name], axis=None) for name in weights}
        self.members_: dict[str, Member] = dict(fit_members(Z, outcome, weights))
        self.forest_: Any = forest if TREES in weights else None
        self.note_ = chance_sentence(self.evidence_p_)
        return self

    def _inner_folds(self, index: pd.Index, outcome: NDArray[Any]) -> list[Integers]:
        """Fold of each row, one division a repeat."""
        count, classes = inner_folds(outcome, self.n_folds, index), event_classes(outcome)
        return [stratified_folds(index, classes, count, self.seed, "auto", repeat) for repeat in range(self.n_repeats)]

    def _inner_scores(self, Z: Array, outcome: NDArray[Any], folds: Sequence[Integers]) -> tuple[dict[str, Array], Any]:
        """Scores of the training rows by members that did not see them, (repeats, n) each; and the forest."""
        inner = {name: np.empty((len(folds), len(Z))) for name in NAMES if name != TREES}
        for repeat, fold in enumerate(folds):
            for number in np.unique(fold):
                held = fold == number
                for name, member in fit_members(Z[~held], outcome[~held]).items():
                    inner[name][repeat, held] = member.score(Z[held])
        forest, risk = fit_trees(Z, outcome, self.n_trees, derive_seed(self.seed, "auto-trees"))
        return {**inner, TREES: risk[None, :]}, forest

    def _nothing(self, outcome: NDArray[Any], why: str) -> Self:
        """Nothing was found: the training rate for everybody, and one score, the same from fit to fit."""
        rate = 0.5 if has_time(outcome) else float(outcome.mean())
        self.slope_, self.intercept_ = 0.0, float(np.log(rate / (1 - rate)))
        self.status_, self.note_, self.shown_ = "no signal", f"nothing was found: {why}", False
        return self

    def _combined(self, frame: pd.DataFrame) -> Array:
        Z = numbers_of(self.ranks_.transform(frame)) / self.spread_
        placed = {}
        for name in self.weights_:
            scores = tree_scores(self.forest_, Z) if name == TREES else self.members_[name].score(Z)
            placed[name] = places_among(scores, self.places_[name])
        return _weighted(placed, self.weights_)

    def decision_function(self, X: Any) -> Array:
        """The weighted score of each row, in normal scores (0 for everybody where nothing was found).

        Not multiplied by the slope, which varies from fit to fit more than the score does.
        """
        check_is_fitted(self, "slope_")
        frame = as_frame(X, self.ranks_.feature_names_in_)
        return self._combined(frame) if self.weights_ else np.zeros(len(frame))

    def predict_proba(self, X: Any) -> Array:
        """Risk of no event and of the event, shape (n, 2)."""
        risk = expit(self.intercept_ + self.slope_ * self.decision_function(X))
        return both_risks(risk)


def standard_error(outcome: NDArray[Any], scores: Sequence[Array]) -> float:
    """Standard error of the AUC of a score that holds nothing (Mann-Whitney); of C the mean of the scores' own."""
    if has_time(outcome):
        return float(np.nanmean([np.sqrt(rank_estimate(outcome, score)[1]) for score in scores]))
    events = int(outcome.sum())
    return float(np.sqrt((len(outcome) + 1) / (12 * events * (len(outcome) - events))))


def member_weights(aucs: dict[str, float], error: float) -> dict[str, float]:
    """Weights proportional to exp(AUC / temperature), negligible ones left out, sum 1.

    Parameters
    ----------
    aucs
        Inner AUC or C of each member.
    error
        Standard error of an AUC of 0.5; the temperature is `TEMPERATURE` of it, and more where the best AUC lies less
        than `CLEAR` of them above 0.5.
    """
    best = max(aucs.values())
    evidence = max((best - 0.5) / error, 1e-3)
    temperature = TEMPERATURE * error * max(1.0, CLEAR / evidence) ** 2
    raw = {name: float(np.exp((value - best) / temperature)) for name, value in aucs.items()}
    total = sum(raw.values())
    kept = {name: value / total for name, value in raw.items() if value / total >= _NEGLIGIBLE}
    return {name: value / sum(kept.values()) for name, value in kept.items()}


def _weighted(scores: dict[str, Array], weights: dict[str, float]) -> Array:
    """Sum of the scores with their weights."""
    return np.asarray(np.sum([weight * scores[name] for name, weight in weights.items()], axis=0))


def places_among(scores: Array, known: Array) -> Array:
    """Normal scores of the places among sorted known scores."""
    n = len(known)
    place = (np.searchsorted(known, scores, "left") + np.searchsorted(known, scores, "right")) / 2
    return np.asarray(ndtri(np.clip(place / n, 0.5 / n, 1 - 0.5 / n)))
