"""From named predictors to a design matrix that a regression can be fitted to: what every regression here shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.stats import chi2
from sklearn.base import BaseEstimator

from hepacast.errors import ModelError
from hepacast.modelling.base import Array, listed
from hepacast.modelling.frozen_logistic import ModelTerm, Source, design_matrix
from hepacast.modelling.predictors import Predictor, level_text, numbers_in, numeric_values, require_columns
from hepacast.stats.coarse import coarse_range
from hepacast.stats.irls import dependent_columns
from hepacast.stats.ridge import PROBABLE, ROUNDING, RidgeFit

#: How coefficients are estimated: as likely as can be, or shrunk (`hepacast.stats.ridge`).
Penalty = Literal["none", "ridge"]
NOTHING_BY_RIDGE = "a ridge regression of all predictors is no more probable than none"
NOTHING_IN_PART = "its part of the predictors tells nothing that the others do not (marginal likelihood)"
NOT_PROBABLE = "belongs to the model with a probability of {:.2f}, below {:g}"


class ColumnsFit(NamedTuple):
    """Akaike's criterion (`NamedRegression.aic_`), and the coefficients of the columns with their covariance by the
    information, shapes (p,) and (p, p); without them where nothing was estimated or the likelihood is weighted."""

    aic: float
    coef: Array | None = None
    covariance: Array | None = None

    def wald(self, columns: Sequence[int]) -> float:
        """Wald's chi-square of some columns together; 0 where it is not known."""
        if self.coef is None or self.covariance is None:
            return 0.0
        own = self.coef[list(columns)]
        return float(own @ np.linalg.solve(self.covariance[np.ix_(columns, columns)], own))


class NamedRegression(BaseEstimator):
    """Base of regressions on named predictors: which can enter, their terms, and why the others cannot.

    A subclass has the parameters ``predictors`` (None: every column; empty: nobody's risk differs, status ``"no
    signal"``), ``why_none`` (a sentence for that case), ``penalty`` (`Penalty`; shrunk coefficients have no P),
    ``parts`` (predictor -> what it is a part of, where coefficients are shrunk part by part: those that it does not
    name are the part ``""``), ``penalties`` (of each part, where they are known; None: found), ``optional`` (of a ridge
    regression: predictors that come in only where they probably belong, `hepacast.stats.ridge`), and what its own fit
    needs.

    Attributes
    ----------
    frozen_
        The model as plain numbers.
    aic_
        Akaike's criterion, with the intercept counted; of Cox models that of the partial likelihood, of weighted ones
        that of the weighted likelihood. NaN of a shrunk model.
    dropped_
        Predictors that could not enter, with the reason.
    penalties_
        Of a ridge regression: the penalty of each part.
    inclusion_
        Probability that each optional predictor belongs.
    """

    predictors: Sequence[Predictor] | None
    why_none: str
    penalty: Penalty
    parts: Mapping[str, str] | None
    penalties: Mapping[str, float] | None
    optional: Sequence[str]
    frozen_: Any
    aic_: float
    dropped_: dict[str, str]
    penalties_: dict[str, float]
    inclusion_: dict[str, float]

    def fit(self, X: Any, y: ArrayLike | None = None) -> Self:
        """Fit; rows are patients."""
        raise TypeError(f"{type(self).__name__} must define fit")

    def fit_columns(self, design: Array, y: ArrayLike, terms: Sequence[ModelTerm]) -> ColumnsFit:
        """A model of these columns alone, which do not depend on each other: many are compared, one is kept.

        Parameters
        ----------
        design
            Columns of a fitted model of this kind (`frozen_.design`), shape (n, terms).
        """
        raise TypeError(f"{type(self).__name__} must define fit_columns")

    def predictor_p(self) -> dict[str, float]:
        """P of each predictor: of its one coefficient, or of several together by Wald's test; none if shrunk."""
        model = self.frozen_
        if self.penalty == "ridge":
            return dict.fromkeys(self._places(), float("nan"))
        covariance, beta = np.array(model.covariance, dtype=float), np.array(model.coefficients)
        found = {}
        for name, indices in self._places().items():
            if len(indices) == 1:
                found[name] = model.p_values[indices[0]]
                continue
            block = covariance[np.ix_(indices, indices)]
            statistic = float(beta[indices] @ np.linalg.solve(block, beta[indices]))
            found[name] = float(chi2.sf(statistic, len(indices)))
        return found

    def _places(self) -> dict[str, list[int]]:
        """Coefficients of each predictor; the first coefficient is the intercept."""
        places: dict[str, list[int]] = {}
        for index, term in enumerate(self.frozen_.terms, start=1):
            places.setdefault(term.source, []).append(index)
        return places

    def completed(self, made: Any, frame: pd.DataFrame, outcome: ArrayLike) -> Any:
        """A frozen model of this kind whose coefficients come from elsewhere, with what depends on the patients."""
        return made

    def columns_of(
        self, frame: pd.DataFrame, predictors: Sequence[Predictor]
    ) -> tuple[list[Source], list[ModelTerm], dict[str, str]]:
        """Sources, terms, and the reference level of each categorical source."""
        require_columns(frame, predictors)
        self.dropped_, self.inclusion_ = {}, {}
        sources = [source for source in (self._source(frame, item) for item in predictors) if source is not None]
        terms, references = self._terms(frame, sources)
        if self.penalty != "ridge":  # Shrunk coefficients are unique whatever the columns.
            sources, terms = self._without_dependent(frame, sources, terms)
        return sources, terms, references_of(references, sources)

    def _source(self, frame: pd.DataFrame, predictor: Predictor) -> Source | None:
        column = frame[predictor.name]
        if not predictor.is_level:
            values = numeric_values(column, predictor)
            known = values[~np.isnan(values)]
            if not len(known) or np.ptp(known) <= ROUNDING * np.abs(known).max():
                self.dropped_[predictor.name] = "has no value" if not len(known) else "does not vary"
                return None
            units = numbers_in(column)
            missing = int(np.isnan(values).sum())
            return Source(predictor, float(np.median(known)), (), *coarse_range(units), n_missing=missing)
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

    def parts_of(self, terms: Sequence[ModelTerm]) -> dict[str, Any]:
        """Groups, known penalties and candidates of the columns of a ridge regression, as `hepacast.stats.ridge` takes
        them."""
        names = [(self.parts or {}).get(term.source, "") for term in terms]
        self._part_names = list(dict.fromkeys(names))
        self._asked = [name for name in dict.fromkeys(term.source for term in terms) if name in self.optional]
        known = None if self.penalties is None else [self.penalties[name] for name in self._part_names]
        asked = [self._asked.index(term.source) if term.source in self._asked else -1 for term in terms]
        groups = [self._part_names.index(name) for name in names]
        return {"groups": groups, "penalties": known, "candidates": asked if self._asked else None}

    def asked(self, fit: RidgeFit) -> RidgeFit | None:
        """The fit where it found anything; which optional predictors belong is noted in any case."""
        self.inclusion_ = dict(zip(self._asked, fit.inclusion, strict=True))
        for (name, p), came_in in zip(self.inclusion_.items(), fit.came_in, strict=True):
            if not came_in:
                self.dropped_[name] = NOT_PROBABLE.format(p, PROBABLE)
        return fit if fit.found else None

    def without_parts(
        self, sources: Sequence[Source], terms: Sequence[ModelTerm], penalties: Sequence[float]
    ) -> tuple[list[Source], list[ModelTerm], list[bool]]:
        """Sources and terms that are not shrunk to nothing, and which of the terms these are."""
        self.penalties_ = dict(zip(self._part_names, penalties, strict=True))
        for source in sources:
            if not np.isfinite(self.penalties_[(self.parts or {}).get(source.name, "")]):
                self.dropped_.setdefault(source.name, NOTHING_IN_PART)
        kept = [term.source not in self.dropped_ for term in terms]
        used = {term.source for term, stays in zip(terms, kept) if stays}
        return [item for item in sources if item.name in used], [item for item in terms if item.source in used], kept

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
            design = np.column_stack([np.ones(len(frame)), design_matrix(sources, terms, frame)])
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


def references_of(references: Mapping[str, str], sources: Sequence[Source]) -> dict[str, str]:
    """The reference levels of some sources."""
    kept = {source.name for source in sources}
    return {name: level for name, level in references.items() if name in kept}


def _term(name: str, source: str, level: str | None, values: Array) -> ModelTerm:
    return ModelTerm(name, source, level, float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else 0.0)
