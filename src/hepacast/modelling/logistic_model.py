"""Logistic regression on named predictors: imputed, coded, fitted by maximum likelihood, or by Firth when separated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from hepacast.modelling.base import Array, as_frame, as_outcome
from hepacast.modelling.frozen_logistic import FrozenLogistic, ModelTerm, Source, design_matrix
from hepacast.modelling.named_design import NOTHING_BY_RIDGE, ColumnsFit, NamedRegression, Penalty, references_of
from hepacast.modelling.predictors import Predictor, infer_predictors
from hepacast.stats.firth import fit_firth
from hepacast.stats.logistic import fit_logistic, null_loglik
from hepacast.stats.logistic_fit import LogisticFit
from hepacast.stats.ridge import RidgeFit, ridge_logistic


class LogisticModel(ClassifierMixin, NamedRegression):
    """Logistic regression of a given set of predictors.

    Parameters
    ----------
    predictors
        What enters; None: every column of the table, kinds from the columns' types. An empty sequence gives the model
        of the intercept alone, with status ``"no signal"``.
    firth
        ``"auto"`` (Firth's penalty when the data are separated), ``"always"`` or ``"never"`` (separation is then an
        error).
    why_none
        Sentence for the note when there is no predictor.
    penalty
        ``"none"``, or ``"ridge"``: coefficients shrunk by the penalty of the largest marginal likelihood
        (`hepacast.stats.ridge`); they have no P.
    parts, penalties
        Of a ridge regression: predictor -> part; each part has a penalty of its own, that of the largest marginal
        likelihood where it is not given.
    optional
        Of a ridge regression: predictors that come in only where they probably belong (`hepacast.stats.ridge`).

    Attributes
    ----------
    frozen_
        The model as plain numbers (`FrozenLogistic`).
    fit_
        The statistical fit (`LogisticFit`, `FirthFit` or `RidgeFit`); None for the intercept alone.
    dropped_
        Predictors that could not enter, with the reason.
    """

    def __init__(
        self,
        predictors: Sequence[Predictor] | None = None,
        firth: str = "auto",
        why_none: str = "no predictor",
        penalty: Penalty = "none",
        parts: Mapping[str, str] | None = None,
        penalties: Mapping[str, float] | None = None,
        optional: Sequence[str] = (),
    ) -> None:
        self.predictors = predictors
        self.firth = firth
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
            No estimate exists even with Firth's penalty.
        """
        frame = as_frame(X)
        outcome = as_outcome(y, len(frame))
        self.classes_ = np.array([0, 1])
        predictors = infer_predictors(frame) if self.predictors is None else tuple(self.predictors)
        sources, terms, references = self.columns_of(frame, predictors)
        self.fit_ = self._estimate(design_matrix(sources, terms, frame), outcome, terms)
        self.aic_ = _aic(self.fit_, outcome)
        nothing = NOTHING_BY_RIDGE if terms and self.fit_ is None else self.why_none
        if isinstance(self.fit_, RidgeFit):
            sources, terms, kept = self.without_parts(sources, terms, self.fit_.penalties)
            self.fit_, references = self.fit_.of_columns(kept), references_of(references, sources)
        self.frozen_ = self._freeze(outcome, sources, terms, references, nothing)
        return self

    def fit_columns(self, design: Array, y: ArrayLike, terms: Sequence[ModelTerm]) -> ColumnsFit:
        """As of the base."""
        outcome = as_outcome(y, len(design))
        fit = self._estimate(design, outcome, terms)
        if fit is None:
            return ColumnsFit(_aic(fit, outcome))
        return ColumnsFit(_aic(fit, outcome), fit.beta[1:], fit.covariance[1:, 1:])

    def _estimate(
        self, design: Array, outcome: NDArray[np.int64], terms: Sequence[ModelTerm]
    ) -> LogisticFit | RidgeFit | None:
        if not terms:
            return None
        if self.penalty == "ridge":
            return self.asked(ridge_logistic(design, outcome, **self.parts_of(terms)))
        names = [term.name for term in terms]
        if self.firth == "always":
            return fit_firth(design, outcome, names).require()
        fit = fit_logistic(design, outcome, names)
        if fit.ok or self.firth == "never":
            return fit.require()
        return fit_firth(design, outcome, names).require()

    def _freeze(
        self,
        outcome: NDArray[np.int64],
        sources: list[Source],
        terms: list[ModelTerm],
        references: dict[str, str],
        nothing: str,
    ) -> FrozenLogistic:
        n, events = len(outcome), int(outcome.sum())
        if self.fit_ is None:
            rate = events / n
            return FrozenLogistic(
                sources=(),
                terms=(),
                coefficients=(float(np.log(rate / (1 - rate))),),
                covariance=((1.0 / (n * rate * (1 - rate)),),),
                p_values=(float("nan"),),
                method="intercept only",
                status="no signal",
                note=nothing,
                n=n,
                n_events=events,
            )
        if isinstance(self.fit_, RidgeFit):
            return _frozen(
                sources,
                terms,
                self.fit_.beta,
                covariance=self.fit_.covariance,
                method="ridge",
                note=self.fit_.note,
                n=n,
                n_events=events,
                references=references,
            )
        return _frozen(
            sources,
            terms,
            self.fit_.beta,
            covariance=self.fit_.covariance,
            p_values=PValues(self.fit_),
            method=self.fit_.method,
            note="separated data: Firth's penalized likelihood" if self.fit_.method == "firth" else "",
            n=n,
            n_events=events,
            references=references,
        )

    def predictor_p(self) -> dict[str, float]:
        """P of each predictor: Wald (Firth: penalized LR) for one coefficient, likelihood ratio for several."""
        result: dict[str, float] = {}
        for name, indices in self._places().items():
            if len(indices) == 1 or isinstance(self.fit_, RidgeFit):
                result[name] = self.frozen_.p_values[indices[0]]
            elif self.fit_ is not None:
                result[name] = self.fit_.term_p([index - 1 for index in indices])
        return result

    def decision_function(self, X: Any) -> Array:
        """Log odds of each row."""
        check_is_fitted(self, "frozen_")
        return self.frozen_.linear_predictor(as_frame(X))

    def predict_proba(self, X: Any) -> Array:
        """Risk of no event and of the event, shape (n, 2)."""
        check_is_fitted(self, "frozen_")
        risk = self.frozen_.risk(as_frame(X))
        return np.column_stack([1 - risk, risk])

    def predict(self, X: Any) -> NDArray[np.int64]:
        """1 where the risk is one half or more."""
        return (self.decision_function(X) >= 0).astype(np.int64)


class PValues(Sequence[float]):
    """P values of a fit's coefficients, found when one is read.

    Of Firth's fit each takes a maximization, and most models are refits, whose P nobody reads.
    """

    def __init__(self, fit: LogisticFit) -> None:
        self._fit = fit

    def __len__(self) -> int:
        return len(self._fit.beta)

    def __getitem__(self, place: Any) -> Any:
        return tuple(float(value) for value in self._fit.p_values)[place]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return repr(tuple(self))

    def __reduce__(self) -> tuple[Any, ...]:
        return tuple, (tuple(self),)


def _aic(fit: LogisticFit | RidgeFit | None, outcome: NDArray[np.int64]) -> float:
    if fit is None:
        return 2.0 - 2.0 * null_loglik(outcome.astype(float), np.ones(len(outcome)), np.zeros(len(outcome)))
    return fit.aic if isinstance(fit, LogisticFit) else float("nan")


def _frozen(
    sources: Sequence[Source],
    terms: Sequence[ModelTerm],
    beta: Array,
    *,
    covariance: Array | None = None,
    p_values: Sequence[float] | None = None,
    method: str = "ml",
    note: str = "",
    n: int = 0,
    n_events: int = 0,
    references: dict[str, str] | None = None,
) -> FrozenLogistic:
    size = len(terms) + 1
    spread = np.full((size, size), np.nan) if covariance is None else covariance
    p = np.full(size, np.nan) if p_values is None else p_values
    return FrozenLogistic(
        sources=tuple(sources),
        terms=tuple(terms),
        coefficients=tuple(float(value) for value in beta),
        covariance=tuple(tuple(float(value) for value in row) for row in spread),
        p_values=p if isinstance(p, PValues) else tuple(float(value) for value in p),
        method=method,
        status="ok",
        note=note,
        n=n,
        n_events=n_events,
        references=references or {},
    )
