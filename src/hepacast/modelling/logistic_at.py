"""A binary model of an event by a horizon, with patients censored before it weighted for and not dropped.

Patients with a known state at the horizon (event before it, or still under observation at it) stand for those who were
censored, with the inverse of their probability of not being censored as weight (IPCW). Those censored before the
horizon have weight 0; each of them is counted in `n_censored`.

Sources: Robins JM, Rotnitzky A. 1992; Vock DM et al. J Biomed Inform 2016;61:119 (IPCW for any learner); Zheng Y, Cai
T, Feng Z. Biometrics 2006;62:279.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit
from scipy.stats import norm
from sklearn.utils.validation import check_is_fitted

from hepacast.errors import ModelError, OutcomeError
from hepacast.modelling.base import Array, as_frame
from hepacast.modelling.frozen_logistic import FrozenLogisticAt, ModelTerm, design_matrix
from hepacast.modelling.named_design import NOTHING_BY_RIDGE, ColumnsFit, NamedRegression, Penalty, references_of
from hepacast.modelling.predictors import Predictor, infer_predictors
from hepacast.modelling.targets import as_follow_up
from hepacast.stats.censoring import known_states
from hepacast.stats.logistic import fit_logistic
from hepacast.stats.ridge import ridge_logistic


@dataclass(frozen=True)
class StatesAtHorizon:
    """Who had the event by the horizon (`event` 1), who had not, and the weights; weight 0: not known.

    A patient under observation at the very horizon is event-free at it.
    """

    event: Array
    weight: Array
    horizon: float

    @property
    def n_events(self) -> int:
        """Events by the horizon."""
        return int((self.event * (self.weight > 0)).sum())

    @property
    def n_free(self) -> int:
        """Known to be without the event at the horizon."""
        return int(((self.weight > 0) & (self.event == 0)).sum())

    @property
    def n_censored(self) -> int:
        """Censored before the horizon."""
        return int((self.weight == 0).sum())


def states_at(times: Array, codes: Array, horizon: float) -> StatesAtHorizon:
    """State of each patient at a horizon and its weight; a competing event before it means that the event never comes.

    Raises
    ------
    OutcomeError
        Nobody had the event by the horizon, or nobody is known to be without it.
    """
    state, weight = known_states(times, codes, horizon)
    known = weight > 0
    event, other = state == 1, known & (state != 1)
    if not event.any() or not other.any():
        raise OutcomeError(
            f"A binary model of the event by {horizon:g} cannot be fitted.",
            expected="patients with the event by then, and patients known to be without it",
            found=f"{int(event.sum())} with, {int(other.sum())} without",
            remedy="choose another horizon",
        )
    return StatesAtHorizon(event.astype(float), weight, float(horizon))


class LogisticAt(NamedRegression):
    """Weighted logistic regression of the event by a horizon; ``y`` is time and event, shape (n, 2).

    The covariance is the robust (sandwich) one, since weights are no counts of patients.

    Parameters
    ----------
    predictors
        What enters; empty: the weighted rate alone, status ``"no signal"``.
    horizon
        In the unit of the follow-up.
    penalty
        ``"none"``, or ``"ridge"``: coefficients shrunk by the penalty of the largest marginal likelihood, given the
        weights (`hepacast.stats.ridge`); they have no P.
    parts, penalties, optional
        As in `LogisticModel`.

    Attributes
    ----------
    frozen_
        The model as plain numbers (`FrozenLogisticAt`).
    """

    def __init__(
        self,
        predictors: Sequence[Predictor] | None = None,
        horizon: float = 1.0,
        why_none: str = "no predictor",
        penalty: Penalty = "none",
        parts: Mapping[str, str] | None = None,
        penalties: Mapping[str, float] | None = None,
        optional: Sequence[str] = (),
    ) -> None:
        self.predictors = predictors
        self.horizon = horizon
        self.why_none = why_none
        self.penalty = penalty
        self.parts = parts
        self.penalties = penalties
        self.optional = optional

    def fit(self, X: Any, y: ArrayLike | None = None) -> Self:
        """Fit; rows are patients.

        Raises
        ------
        ModelError
            There is no finite estimate.
        OutcomeError
            The horizon leaves no events, or nobody without.
        """
        frame = as_frame(X)
        times, codes = as_follow_up(y, len(frame))
        states = states_at(times, codes, self.horizon)
        predictors = infer_predictors(frame) if self.predictors is None else tuple(self.predictors)
        known = states.weight > 0
        sources, terms, references = self.columns_of(frame[known], predictors)
        outcome, weight = states.event[known], states.weight[known]
        shrunk, design = None, design_matrix(sources, terms, frame[known])
        if terms and self.penalty == "ridge":
            counted = weight * len(weight) / weight.sum()
            found = ridge_logistic(design, outcome, weights=counted, **self.parts_of(terms))
            shrunk = self.asked(found)
            sources, terms, kept = self.without_parts(sources, terms, found.penalties)
            shrunk, design = shrunk and shrunk.of_columns(kept), design[:, kept]
            references = references_of(references, sources)
        if shrunk is not None:
            beta, covariance, note = shrunk.beta, shrunk.covariance, shrunk.note
            p_values = np.full(len(beta), np.nan)
        else:
            beta, covariance = self._likeliest(design, outcome, weight, terms)
            p_values = 2 * norm.sf(np.abs(beta) / np.sqrt(np.diag(covariance)))
            nothing = NOTHING_BY_RIDGE if self.penalty == "ridge" and predictors else self.why_none
            note = "" if terms else nothing
        self.aic_ = float("nan") if shrunk is not None else _aic(design, outcome, weight, beta)
        self.frozen_ = FrozenLogisticAt(
            sources=tuple(sources),
            terms=tuple(terms),
            coefficients=tuple(float(value) for value in beta),
            covariance=tuple(tuple(float(value) for value in row) for row in covariance),
            p_values=tuple(float(value) for value in p_values),
            method="ridge" if shrunk is not None else "ipcw" if terms else "intercept only",
            status="ok" if terms else "no signal",
            note=note,
            n=len(frame),
            n_events=states.n_events,
            references=references,
            horizon=float(self.horizon),
            n_censored=states.n_censored,
        )
        return self

    def fit_columns(self, design: Array, y: ArrayLike, terms: Sequence[ModelTerm]) -> ColumnsFit:
        """As of the base."""
        states = states_at(*as_follow_up(y, len(design)), self.horizon)
        known = states.weight > 0
        design, outcome, weight = design[known], states.event[known], states.weight[known]
        return ColumnsFit(_aic(design, outcome, weight, self._likeliest(design, outcome, weight, terms)[0]))

    def _likeliest(
        self, design: Array, outcome: Array, weight: Array, terms: Sequence[ModelTerm]
    ) -> tuple[Array, Array]:
        """Coefficients of the largest weighted likelihood, intercept first, and their robust covariance."""
        rate = float(weight @ outcome / weight.sum())
        beta = np.array([np.log(rate / (1 - rate))])
        if terms:
            fit = fit_logistic(design, outcome, [term.name for term in terms], weights=weight)
            if not fit.ok:
                raise ModelError(
                    f"The binary model of the event by {self.horizon:g} has no estimate.",
                    expected="predictors that do not separate the events from the others",
                    found=fit.reason or fit.status,
                    remedy="join the levels of the predictor that does, or leave it out",
                )
            beta = np.array([fit.intercept, *fit.coef])
        return beta, _sandwich(design, outcome, weight, beta)

    def linear_predictor(self, X: Any) -> Array:
        """Log odds of each row."""
        check_is_fitted(self, "frozen_")
        return self.frozen_.linear_predictor(as_frame(X))


def _aic(design: Array, outcome: Array, weight: Array, beta: Array) -> float:
    """With weights that sum to the patients, so that one more coefficient costs what it costs without weights."""
    risk = expit(np.column_stack([np.ones(len(outcome)), design]) @ beta)
    loglik = float(weight @ np.log(np.where(outcome == 1, risk, 1 - risk))) * len(weight) / float(weight.sum())
    return 2.0 * len(beta) - 2.0 * loglik


def _sandwich(design: Array, outcome: Array, weight: Array, beta: Array) -> Array:
    risk = expit(beta[0] + design @ beta[1:])
    # Centered, since sums of products of columns far from 0 hold no digit of their spread.
    means = np.average(design, axis=0, weights=weight)
    matrix = np.column_stack([np.ones(len(outcome)), design - means])
    back = np.eye(len(beta))
    back[0, 1:] = -means
    bread = np.linalg.inv((matrix * (weight * risk * (1 - risk))[:, None]).T @ matrix)
    score = matrix * (weight * (outcome - risk))[:, None]
    return np.asarray(back @ bread @ (score.T @ score) @ bread @ back.T)
