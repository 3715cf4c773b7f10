"""Cox regression on named predictors; by Firth when they separate the events, by Fine-Gray when risks compete."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.stats import norm
from sklearn.utils.validation import check_is_fitted

from hepacast.errors import ModelError
from hepacast.modelling.base import Array, as_frame
from hepacast.modelling.frozen_cox import FrozenCox
from hepacast.modelling.frozen_logistic import ModelTerm, Source, design_matrix
from hepacast.modelling.named_design import NOTHING_BY_RIDGE, ColumnsFit, NamedRegression, Penalty, references_of
from hepacast.modelling.predictors import Predictor, infer_predictors
from hepacast.modelling.targets import as_follow_up
from hepacast.stats.coarse import FEWEST
from hepacast.stats.competing_risks import Subdistribution, baseline_hazard, fit_fine_gray
from hepacast.stats.cox import CoxFit, SortedFollowUp, fit_cox
from hepacast.stats.cox_checks import proportional_hazards
from hepacast.stats.cox_firth import fit_cox_firth
from hepacast.stats.kaplan_meier import kaplan_meier
from hepacast.stats.ridge import RidgeFit, ridge_cox


@dataclass(frozen=True)
class _Estimate:
    """What a fit gives, whatever the method."""

    coef: Array
    covariance: Array
    baseline: tuple[Array, Array]
    p_values: Array
    method: str
    note: str
    fit: CoxFit | None = None

    @classmethod
    def of(cls, fit: CoxFit, p_values: Array, method: str, note: str = "") -> _Estimate:
        """Of an unpenalized (or Firth's) fit."""
        return cls(fit.coef, fit.covariance, (fit.baseline_time, fit.mean_hazard), p_values, method, note, fit)


class CoxModel(NamedRegression):
    """Cox regression of a given set of predictors; ``y`` is time and event, shape (n, 2).

    Where a predictor separates the events, the estimate runs to infinity: then Firth's penalized likelihood stands
    in, and the note says so. With competing events (code 2) the model is Fine and Gray's for the risk itself, or, with
    ``competing="cause-specific"``, Cox's for the hazard, competing events censored.

    Parameters
    ----------
    predictors
        What enters; None: every column of the table. An empty sequence gives the baseline alone, status
        ``"no signal"``.
    horizons
        Times for which the limits of a risk are kept.
    competing
        ``"fine-gray"`` or ``"cause-specific"``.
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
        The model as plain numbers (`FrozenCox`).
    fit_
        The statistical fit (`CoxFit`); None for the baseline alone.
    proportional_
        Test of proportional hazards by term and GLOBAL (chi2, df, p); None where it cannot be made.
    dropped_
        Predictors that could not enter, with the reason.
    """

    def __init__(
        self,
        predictors: Sequence[Predictor] | None = None,
        horizons: Sequence[float] = (),
        competing: str = "fine-gray",
        why_none: str = "no predictor",
        penalty: Penalty = "none",
        parts: Mapping[str, str] | None = None,
        penalties: Mapping[str, float] | None = None,
        optional: Sequence[str] = (),
    ) -> None:
        self.predictors = predictors
        self.horizons = horizons
        self.competing = competing
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
            No estimate exists, not even with Firth's penalty.
        OutcomeError
            The follow-up cannot be used, or there is no event.
        """
        frame = as_frame(X)
        times, codes = as_follow_up(y, len(frame))
        predictors = infer_predictors(frame) if self.predictors is None else tuple(self.predictors)
        sources, terms, references = self.columns_of(frame, predictors)
        self.proportional_: pd.DataFrame | None = None
        self.fit_: CoxFit | None = None
        self.aic_ = float("nan")
        if not terms:
            self.aic_ = -2.0 * self._loglik_of_none(times, codes)
            self.frozen_ = self._baseline_only(times, codes, self.why_none)
            return self
        design = design_matrix(sources, terms, frame)
        if self.penalty == "ridge":
            shrunk = self.asked(ridge_cox(design, times, self._counted(codes), **self.parts_of(terms)))
            if shrunk is None:
                self.frozen_ = self._baseline_only(times, codes, NOTHING_BY_RIDGE)
                return self
            sources, terms, kept = self.without_parts(sources, terms, shrunk.penalties)
            design, references = design[:, kept], references_of(references, sources)
            estimate = self._of_ridge(shrunk.of_columns(kept), design, times, codes)
        else:
            estimate = self._estimate(design, times, codes, terms)
        self.fit_ = estimate.fit
        if estimate.fit is not None:
            self.aic_ = estimate.fit.aic
        if estimate.fit is not None and estimate.method == "cox":
            try:
                self.proportional_ = proportional_hazards(estimate.fit, design, times, (codes == 1).astype(float))
            except np.linalg.LinAlgError:
                self.proportional_ = None
        self.frozen_ = self._freeze(design, times, codes, sources, terms, references, estimate)
        return self

    def fit_columns(self, design: Array, y: ArrayLike, terms: Sequence[ModelTerm]) -> ColumnsFit:
        """As of the base."""
        times, codes = as_follow_up(y, len(design))
        if not terms:
            return ColumnsFit(-2.0 * self._loglik_of_none(times, codes))
        estimate = self._estimate(design, times, codes, terms)
        aic = float("nan") if estimate.fit is None else estimate.fit.aic
        return ColumnsFit(aic, estimate.coef, estimate.covariance)

    def _loglik_of_none(self, times: Array, codes: Array) -> float:
        nothing = np.zeros((len(times), 1))
        if self.competing == "fine-gray" and (codes == 2).any():
            return Subdistribution(nothing, times, codes).likelihood(np.zeros(1))[0]
        return SortedFollowUp(nothing, times, (codes == 1).astype(float)).partial(np.zeros(1), efron=True)[0]

    def _counted(self, codes: Array) -> Array:
        """Codes as the hazard takes them: competing events stay, or are censored."""
        return codes if self.competing == "fine-gray" else (codes == 1).astype(float)

    def _of_ridge(self, fit: RidgeFit, design: Array, times: Array, codes: Array) -> _Estimate:
        baseline = baseline_hazard((design - design.mean(axis=0)) @ fit.coef, times, self._counted(codes))
        p_values = np.full(len(fit.coef), np.nan)
        return _Estimate(fit.coef, fit.covariance[1:, 1:], baseline, p_values, "ridge", fit.note)

    def _estimate(self, design: Array, times: Array, codes: Array, terms: Sequence[ModelTerm]) -> _Estimate:
        names = [term.name for term in terms]
        own = (codes == 1).astype(float)
        fine_gray = self.competing == "fine-gray" and bool((codes == 2).any())
        try:
            fit = fit_fine_gray(design, times, codes, names) if fine_gray else fit_cox(design, times, own, names)
        except np.linalg.LinAlgError:
            fit = None
        if fit is not None and fit.status == "ok":
            z = np.abs(fit.coef / fit.se)
            return _Estimate.of(fit, 2 * norm.sf(z), "fine-gray" if fine_gray else "cox")
        if fine_gray:
            raise ModelError(
                "The Fine-Gray model has no finite estimate: a predictor separates the events.",
                found=", ".join(names),
                remedy="join its levels or leave it out",
            )
        try:
            penalized = fit_cox_firth(design, times, own, names)
        except np.linalg.LinAlgError as error:
            raise ModelError(
                "The Cox model has no estimate: a predictor does not vary among the patients at risk.",
                found=", ".join(names),
            ) from error
        note = "separated events: Firth's penalized likelihood, P by its likelihood-ratio test"
        return _Estimate.of(penalized.fit, penalized.p_values, "cox-firth", note)

    def _freeze(
        self,
        design: Array,
        times: Array,
        codes: Array,
        sources: Sequence[Source],
        terms: Sequence[ModelTerm],
        references: dict[str, str],
        estimate: _Estimate,
    ) -> FrozenCox:
        coef, (baseline_time, hazard) = estimate.coef, estimate.baseline
        last = _followed(times, self.horizons)
        means = design.mean(axis=0)
        center = float(means @ coef)
        size = len(terms) + 1
        covariance = np.zeros((size, size))
        covariance[1:, 1:] = estimate.covariance
        risk = np.exp((design - means) @ coef)
        own = codes == 1
        return FrozenCox(
            sources=tuple(sources),
            terms=tuple(terms),
            coefficients=(-center, *(float(value) for value in coef)),
            covariance=tuple(tuple(float(value) for value in row) for row in covariance),
            p_values=(float("nan"), *(float(value) for value in estimate.p_values)),
            method=estimate.method,
            status="ok",
            note=estimate.note,
            n=len(times),
            n_events=int(own.sum()),
            references=references,
            baseline_time=tuple(float(t) for t in baseline_time[baseline_time <= last]),
            baseline_hazard=tuple(float(h) for h in hazard[baseline_time <= last]),
            last_time=last,
            limits={f"{t:g}": _limits(design - means, risk, times, own, t) for t in self.horizons},
        )

    def completed(self, made: FrozenCox, frame: pd.DataFrame, outcome: ArrayLike) -> FrozenCox:
        """As of the base; centered at the mean patient, with the limits' sums."""
        times, codes = as_follow_up(outcome, len(frame))
        design, coef = made.design(frame), np.array(made.coefficients[1:])
        centered = design - design.mean(axis=0)
        risk, own = np.exp(centered @ coef), codes == 1
        limits = {f"{t:g}": _limits(centered, risk, times, own, t) for t in self.horizons}
        coefficients = (-float(design.mean(axis=0) @ coef), *made.coefficients[1:])
        return replace(made, coefficients=coefficients, limits=limits)

    def _baseline_only(self, times: Array, codes: Array, why: str) -> FrozenCox:
        """Nelson-Aalen's hazard for everybody (of the subdistribution where risks compete)."""
        own = codes == 1
        if self.competing == "fine-gray" and (codes == 2).any():
            from hepacast.stats.competing_risks import cumulative_incidence

            curve = cumulative_incidence(times, codes)
            steps, hazard = curve.time, -np.log1p(-np.minimum(curve.incidence, 1 - 1e-12))
        else:
            km = kaplan_meier(times, own.astype(float))
            steps, hazard = km.time, np.cumsum(km.n_event / km.n_risk)
        last = _followed(times, self.horizons)
        moved = (np.diff(np.concatenate([[0.0], hazard])) > 0) & (steps <= last)
        nothing = np.empty((len(times), 0))
        return FrozenCox(
            sources=(),
            terms=(),
            coefficients=(0.0,),
            covariance=((0.0,),),
            p_values=(float("nan"),),
            method="baseline only",
            status="no signal",
            note=why,
            n=len(times),
            n_events=int(own.sum()),
            baseline_time=tuple(float(t) for t in steps[moved]),
            baseline_hazard=tuple(float(h) for h in hazard[moved]),
            last_time=last,
            limits={f"{t:g}": _limits(nothing, np.ones(len(times)), times, own, t) for t in self.horizons},
        )

    def linear_predictor(self, X: Any) -> Array:
        """Log hazard of each row against the mean training patient."""
        check_is_fitted(self, "frozen_")
        return self.frozen_.linear_predictor(as_frame(X))

    def predict_risk(self, X: Any, time: float) -> Array:
        """Risk of the event by a time, of each row."""
        check_is_fitted(self, "frozen_")
        return self.frozen_.risk(as_frame(X), time)


def _limits(
    centered: Array, risk: Array, times: Array, own: np.ndarray, horizon: float
) -> tuple[float, tuple[float, ...]]:
    """Sum of dN / S0^2 up to the horizon, and sum of mean covariate x dN / S0 (Breslow's sums)."""
    steps = np.unique(times[own & (times <= horizon)])
    at_risk = (times[None, :] >= steps[:, None]) * risk[None, :]
    total = at_risk.sum(axis=1)
    count = ((times[None, :] == steps[:, None]) & own[None, :]).sum(axis=1)
    mean = at_risk @ centered / total[:, None]
    integral = (count / total) @ mean
    return float((count / total**2).sum()), tuple(float(value) for value in integral)


def _followed(times: Array, horizons: Sequence[float]) -> float:
    """How long risks are known: to where 5 patients are still followed, rounded down; at least to the last horizon."""
    reached = float(np.sort(times)[-min(FEWEST, len(times))])
    step = 10.0 ** math.floor(math.log10(reached)) / 20.0 if reached > 0 else 1.0
    known = [t for t in horizons if t <= float(times.max())]
    return max(float(f"{math.floor(reached / step) * step:.10g}"), *known, 0.0)
