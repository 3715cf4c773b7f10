"""Joining named values and scores: one regression of all, or the mean of a regression and of each score's own model.

A score's weight in a regression beside many values is estimated from what these values leave over, in the patients that
chose them, and is wrong as often as it is right; the mean needs no weights. Each member is on the scale of log odds or
log hazard that it deserves: coefficients shrunk by marginal likelihood, and a score by how well it tells the event in
patients whom it did not see; one that tells nothing has a spread of nearly 0 and takes nothing from the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone

from hepacast.modelling.base import Array, as_frame
from hepacast.modelling.evidence import NOTHING, chance_sentence, nothing_sentence
from hepacast.modelling.folds import inner_fold_count, stratified_folds
from hepacast.modelling.frozen_logistic import FrozenLinear
from hepacast.modelling.named_design import NamedRegression
from hepacast.modelling.predictors import Predictor
from hepacast.modelling.targets import as_target, event_classes, has_time

#: How the combined model is made: one regression of all; `AveragedModel`; the same after asking for `evidence`.
Combination = Literal["regression", "averaged", "auto"]
_MEAN = "mean of the members"


class AveragedModel(NamedRegression):
    """The mean of a regression of named values and of one model of each score, on the scale of log odds or log hazard.

    The mean is brought to risks by a regression of its own, fitted to linear predictors of patients left out: those of
    the values from folds, in which optional predictors and penalties are chosen anew, those of the scores as they are,
    which their makers have cross-fitted. Of all choices of members that whose mean is likeliest in them takes part, so
    that a weak one beside a strong one is left out; where that is one alone, it is the model. What comes out is linear
    in the columns, and `frozen_` is that one model.

    Parameters
    ----------
    predictors
        All of them; the scores are those named in `scores`.
    scores
        Names of the scores.
    regression
        What is fitted, such as ``LogisticModel()`` or ``CoxModel()``, with its penalty, parts and optional predictors.
    n_folds, seed
        Of the linear predictors of the values.
    why_none
        Sentence for the note when no member tells anything.
    evidence
        P value, against permuted outcomes, of all that the model may hold (`hepacast.modelling.evidence.evidence`).
        Above `NOTHING` nothing was found: everybody has the same risk. Above `SHOWN` the note says that what was found
        may be chance. None: not asked.

    Attributes
    ----------
    members_
        The models whose mean it is, of the values and of each score, those that take part.
    scale_
        Slope of the mean.
    inclusion_
        Probability that each optional predictor belongs.
    """

    penalty = "ridge"
    parts: Mapping[str, str] | None = None
    penalties: Mapping[str, float] | None = None
    optional: Sequence[str] = ()

    def __init__(
        self,
        predictors: Sequence[Predictor] = (),
        scores: Sequence[str] = (),
        regression: Any = None,
        n_folds: int = 5,
        seed: int = 0,
        why_none: str = "no predictor",
        evidence: float | None = None,
    ) -> None:
        self.predictors = predictors
        self.scores = scores
        self.regression = regression
        self.n_folds = n_folds
        self.seed = seed
        self.why_none = why_none
        self.evidence = evidence

    def fit(self, X: Any, y: ArrayLike | None = None) -> Self:
        """Fit members and scale."""
        frame = as_frame(X)
        outcome = as_target(y, len(frame))
        self.aic_, self.fit_, self.scale_ = float("nan"), None, 1.0
        self.proportional_: pd.DataFrame | None = None
        self.members_: list[FrozenLinear] = []
        self.dropped_, self.inclusion_ = {}, {}
        if self.evidence is not None and self.evidence > NOTHING:
            why = f"nothing was found: {nothing_sentence(self.evidence, 'all that the model may hold')}"
            self.frozen_ = replace(self._nothing(frame, outcome), note=why)
            return self
        values = [item for item in self.predictors or () if item.name not in self.scores]
        named = self._of(values).fit(frame, outcome)
        self.dropped_ |= named.dropped_
        self.inclusion_ = named.inclusion_
        left_out: list[Array] = []
        if named.frozen_.status == "ok":
            self.members_.append(named.frozen_)
            left_out.append(self._cross_fitted(values, frame, outcome))
        for item in self.predictors or ():
            if item.name in self.scores:
                own = self._of([item]).set_params(penalty="none").fit(frame, outcome)
                if own.frozen_.status == "ok" and own.frozen_.coefficients[1] > 0:
                    self.members_.append(own.frozen_)
                    left_out.append(own.frozen_.linear_predictor(frame))
                else:
                    self.dropped_[item.name] = own.dropped_.get(item.name, "tells nothing in patients left out")
        joined = self._joined(frame, outcome, left_out)
        chance = chance_sentence(self.evidence or 0.0) if joined.status == "ok" else ""
        self.frozen_ = replace(joined, note="; ".join(filter(None, [joined.note, chance])))
        return self

    def _nothing(self, frame: pd.DataFrame, outcome: NDArray[Any]) -> FrozenLinear:
        """The same for everybody."""
        nothing: FrozenLinear = self._of(()).set_params(penalty="none").fit(frame, outcome).frozen_
        return nothing

    def _of(self, predictors: Sequence[Predictor]) -> NamedRegression:
        made: NamedRegression = clone(self.regression).set_params(predictors=tuple(predictors), why_none=self.why_none)
        return made

    def _cross_fitted(self, values: Sequence[Predictor], frame: pd.DataFrame, outcome: NDArray[Any]) -> Array:
        """Linear predictor of each patient by a regression that was fitted to the others.

        A Cox model's is the one beside the mean of those others: without an intercept, no other zero is common to the
        folds.
        """
        classes = event_classes(outcome)
        folds = self.n_folds if has_time(outcome) else inner_fold_count(outcome, self.n_folds, frame.index)
        fold = stratified_folds(frame.index, classes, folds, self.seed, "combination")
        found = np.empty(len(frame))
        for number in range(folds):
            held = fold == number
            fitted = self._of(values).fit(frame[~held], outcome[~held])
            found[held] = fitted.frozen_.linear_predictor(frame[held])
        return found

    def _joined(self, frame: pd.DataFrame, outcome: NDArray[Any], left_out: Sequence[Array]) -> FrozenLinear:
        nothing = self._nothing(frame, outcome)
        if not self.members_:
            return nothing
        kept, scale = self._scaled(frame, outcome, left_out)
        self.members_ = [self.members_[number] for number in kept]
        if len(kept) == 1:
            return self.members_[0]
        if scale.status != "ok" or scale.coefficients[1] <= 0:
            return replace(nothing, note="in patients left out, a higher mean of the members goes with no higher risk")
        self.scale_ = float(scale.coefficients[1])
        share = self.scale_ / len(self.members_)
        size = 1 + sum(len(item.terms) for item in self.members_)
        covariance = np.zeros((size, size))
        covariance[0, 0] = scale.covariance[0][0]
        start = 1
        for item in self.members_:
            stop = start + len(item.terms)
            covariance[start:stop, start:stop] = share**2 * np.array(item.covariance, dtype=float)[1:, 1:]
            start = stop
        coefficients = [share * value for item in self.members_ for value in item.coefficients[1:]]
        constant = scale.coefficients[0] + (
            0.0 if has_time(outcome) else share * sum(item.coefficients[0] for item in self.members_)
        )
        made = replace(
            scale,
            sources=tuple(source for item in self.members_ for source in item.sources),
            terms=tuple(term for item in self.members_ for term in item.terms),
            coefficients=(float(constant), *(float(value) for value in coefficients)),
            covariance=tuple(tuple(float(value) for value in row) for row in covariance),
            p_values=(float("nan"),) * size,
            method="averaged",
            note=self._note(),
            references={name: level for item in self.members_ for name, level in item.references.items()},
        )
        recentered: FrozenLinear = self.regression.completed(made, frame, outcome)
        return recentered

    def _scaled(
        self, frame: pd.DataFrame, outcome: NDArray[Any], left_out: Sequence[Array]
    ) -> tuple[tuple[int, ...], FrozenLinear]:
        """The members that take part, and the regression of their mean: those whose mean is likeliest.

        All these regressions are fitted to linear predictors of patients left out and have as many coefficients, so
        that their likelihoods can be compared as they are.
        """
        every = range(len(left_out))
        found: dict[tuple[int, ...], NamedRegression] = {}
        for size in range(len(left_out), 0, -1):
            for subset in combinations(every, size):
                mean = pd.DataFrame(
                    {_MEAN: np.mean([left_out[number] for number in subset], axis=0)}, index=frame.index
                )
                own = self._of([Predictor(_MEAN)]).set_params(penalty="none")
                found[subset] = own.fit(mean, outcome)
        best = min(found, key=lambda subset: np.nan_to_num(found[subset].aic_, nan=np.inf))
        return best, found[best].frozen_

    def _note(self) -> str:
        values = [item.note for item in self.members_ if item.method == "ridge"]
        what = f"mean of {len(self.members_)} models' linear predictors, times {self.scale_:.2f}"
        return "; ".join([what, *values])


def joined_regression(
    way: Combination,
    regression: NamedRegression,
    predictors: Sequence[Predictor],
    scores: Sequence[str],
    *,
    why_none: str,
    seed: int,
    evidence: float | None = None,
) -> NamedRegression:
    """What joins predictors and scores, not fitted.

    Parameters
    ----------
    way
        ``"regression"``: one of all; ``"averaged"`` and ``"auto"``: `AveragedModel`.
    regression
        With its penalty, parts and optional predictors.
    evidence
        P of all that the model may hold, for `AveragedModel`.
    """
    if way != "regression":
        rules: dict[str, Any] = {"seed": seed, "why_none": why_none, "evidence": evidence}
        return AveragedModel(tuple(predictors), tuple(scores), regression, **rules)
    made: NamedRegression = clone(regression).set_params(predictors=tuple(predictors), why_none=why_none)
    return made
