"""Logistic regression on named predictors: imputed, coded, fitted by maximum likelihood, or by Firth when separated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from hepacast.errors import ModelError
from hepacast.modelling.base import Array, as_frame, as_outcome, listed
from hepacast.modelling.frozen_logistic import FrozenLogistic, ModelTerm, Source
from hepacast.modelling.predictors import Predictor, infer_predictors, level_text, numeric_values, require_columns
from hepacast.stats.firth import fit_firth
from hepacast.stats.irls import dependent_columns
from hepacast.stats.logistic import fit_logistic
from hepacast.stats.logistic_fit import LogisticFit


class LogisticModel(ClassifierMixin, BaseEstimator):
    """Unpenalized logistic regression of a given set of predictors.

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

    Attributes
    ----------
    frozen_
        The model as plain numbers (`FrozenLogistic`).
    fit_
        The statistical fit (`LogisticFit` or `FirthFit`); None for the intercept alone.
    dropped_
        Predictors that could not enter, with the reason.
    """

    def __init__(
        self, predictors: Sequence[Predictor] | None = None, firth: str = "auto", why_none: str = "no predictor"
    ) -> None:
        self.predictors = predictors
        self.firth = firth
        self.why_none = why_none

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
        require_columns(frame, predictors)
        self.dropped_: dict[str, str] = {}
        sources = [source for source in (self._source(frame, item) for item in predictors) if source is not None]
        terms, references = self._terms(frame, sources)
        sources, terms = self._without_dependent(frame, sources, terms)
        self.fit_ = self._estimate(frame, outcome, sources, terms)
        self.frozen_ = self._freeze(outcome, sources, terms, references)
        return self

    def _source(self, frame: pd.DataFrame, predictor: Predictor) -> Source | None:
        column = frame[predictor.name]
        if not predictor.is_level:
            values = numeric_values(column, predictor)
            known = values[~np.isnan(values)]
            if not len(known) or np.ptp(known) == 0:
                self.dropped_[predictor.name] = "has no value" if not len(known) else "does not vary"
                return None
            units = pd.to_numeric(column, errors="coerce").to_numpy(dtype=float, na_value=np.nan)
            units = units[np.isfinite(units)]
            missing = int(np.isnan(values).sum())
            return Source(
                predictor, float(np.median(known)), (), float(units.min()), float(units.max()), n_missing=missing
            )
        text = level_text(column).dropna()
        present = set(text)
        if predictor.levels and present - set(predictor.levels):
            raise ModelError(
                f"The predictor {predictor.name!r} has levels that were not declared.",
                expected=listed(predictor.levels),
                found=listed(sorted(present - set(predictor.levels))),
            )
        order = [level for level in (predictor.levels or sorted(present)) if level in present]
        if len(order) < 2:
            self.dropped_[predictor.name] = f"has one level only ({order[0]})" if order else "has no value"
            return None
        counts = text.value_counts()
        fill = min((level for level in order if counts[level] == counts.max()), key=order.index)
        return Source(predictor, fill, tuple(order), n_missing=len(column) - len(text))

    @staticmethod
    def _terms(frame: pd.DataFrame, sources: Sequence[Source]) -> tuple[list[ModelTerm], dict[str, str]]:
        terms: list[ModelTerm] = []
        references: dict[str, str] = {}
        for source in sources:
            values = source.read(frame)
            if not source.predictor.is_level:
                terms.append(_term(source.name, source.name, None, np.asarray(values, dtype=float)))
                continue
            references[source.name], *others = source.known_levels
            plain = source.known_levels == ("0", "1")
            for level in others:
                name = source.name if plain else f"{source.name}={level}"
                terms.append(_term(name, source.name, level, np.asarray(values == level, dtype=float)))
        return terms, references

    def _without_dependent(
        self, frame: pd.DataFrame, sources: list[Source], terms: list[ModelTerm]
    ) -> tuple[list[Source], list[ModelTerm]]:
        """Leave out predictors that are combinations of those before them (or more than the patients can carry)."""
        while terms:
            probe = _frozen(sources, terms, np.zeros(len(terms) + 1))
            design = np.column_stack([np.ones(len(frame)), probe.design(frame)])
            dependent = sorted(dependent_columns(design))
            if not dependent:
                if design.shape[1] < len(frame):
                    break
                dependent = [design.shape[1] - 1]
            name = terms[dependent[-1] - 1].source
            self.dropped_[name] = "is a combination of the other predictors, or more than the patients can determine"
            sources = [source for source in sources if source.name != name]
            terms = [term for term in terms if term.source != name]
        return sources, terms

    def _estimate(
        self, frame: pd.DataFrame, outcome: NDArray[np.int64], sources: list[Source], terms: list[ModelTerm]
    ) -> LogisticFit | None:
        if not terms:
            return None
        design = _frozen(sources, terms, np.zeros(len(terms) + 1)).design(frame)
        names = [term.name for term in terms]
        if self.firth == "always":
            return fit_firth(design, outcome, names).require()
        fit = fit_logistic(design, outcome, names)
        if fit.ok or self.firth == "never":
            return fit.require()
        return fit_firth(design, outcome, names).require()

    def _freeze(
        self, outcome: NDArray[np.int64], sources: list[Source], terms: list[ModelTerm], references: dict[str, str]
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
                note=self.why_none,
                n=n,
                n_events=events,
            )
        return _frozen(
            sources,
            terms,
            self.fit_.beta,
            covariance=self.fit_.covariance,
            p_values=self.fit_.p_values,
            method=self.fit_.method,
            note="separated data: Firth's penalized likelihood" if self.fit_.method == "firth" else "",
            n=n,
            n_events=events,
            references={name: level for name, level in references.items() if name in {s.name for s in sources}},
        )

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


def _term(name: str, source: str, level: str | None, values: Array) -> ModelTerm:
    return ModelTerm(name, source, level, float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else 0.0)


def _frozen(
    sources: Sequence[Source],
    terms: Sequence[ModelTerm],
    beta: Array,
    *,
    covariance: Array | None = None,
    p_values: Array | None = None,
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
        p_values=tuple(float(value) for value in p),
        method=method,
        status="ok",
        note=note,
        n=n,
        n_events=n_events,
        references=references or {},
    )
