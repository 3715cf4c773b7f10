"""The result of a logistic fit: estimates, intervals, tests and predictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import expit
from scipy.stats import chi2, norm

from hepacast.core import views
from hepacast.core.formatting import number, p_sentence, p_value, ratio_with_interval, short
from hepacast.core.records import Record, sparse
from hepacast.core.tables import Table, make_table
from hepacast.errors import ModelError
from hepacast.stats.design import Array, finite_matrix
from hepacast.stats.effects import ratio_of
from hepacast.stats.intervals import ci_label
from hepacast.stats.irls import maximize
from hepacast.stats.profile import LikelihoodPath, RestrictedPath, profile_interval, profile_interval_r
from hepacast.stats.ranks import auc_from_ranks
from hepacast.stats.results import ModelTest

Interval = Literal["wald", "profile", "exact"]


@dataclass(frozen=True)
class LogisticTerm(Record):
    """A coefficient on the scale of log odds with its limits, and as an odds ratio."""

    coef: float
    se: float
    z: float
    p: float
    ci_low: float
    ci_high: float
    odds_ratio: float
    or_low: float
    or_high: float


@dataclass(frozen=True, repr=False)
class LogisticSummary(Record, views.Shown):
    """A logistic regression in numbers.

    Attributes
    ----------
    method, status, reason, n, n_events
        As of the `LogisticFit`.
    interval, confidence
        Kind and level of the limits.
    terms
        By name, the intercept first.
    loglik, penalized_loglik
        Log-likelihood of the fitted risks, and what Firth's method maximized.
    c, brier
        Apparent.
    """

    method: str
    status: str
    reason: str
    n: int
    n_events: int
    interval: str
    terms: dict[str, LogisticTerm]
    loglik: float
    null_deviance: float
    deviance: float
    aic: float
    bic: float
    lrt: ModelTest
    nagelkerke_r2: float
    brier: float
    c: float
    penalized_loglik: float = sparse(float("nan"))
    confidence: float = 0.95

    @property
    def formula(self) -> str:
        """The linear predictor in words."""
        return logit_formula({name: term.coef for name, term in self.terms.items()})


def logit_formula(coefficients: Mapping[str, float], digits: int = 4) -> str:
    """`logit(risk) = -9.773 + 0.1032 × npreg ...` of coefficients by name, the intercept first."""
    intercept, *others = coefficients.items()
    parts = [f"{intercept[1]:.{digits}g}"]
    parts += [f"{'-' if value < 0 else '+'} {abs(value):.{digits}g} × {name}" for name, value in others]
    return "logit(risk) = " + " ".join(parts)


@dataclass(frozen=True, repr=False)
class LogisticFit:
    """A fitted logistic regression.

    Attributes
    ----------
    names
        Names of the p predictors; `terms` adds "(Intercept)" in front.
    beta, covariance
        Intercept and coefficients, shape (p + 1,), and their covariance matrix (inverse Fisher information).
    loglik
        What was maximized.
    null
        Gives that of the intercept alone: many are fitted and few are asked.
    status, reason
        `ok`, or why there is no estimate (`separated`, `singular`, `not_converged`) and in which predictors.
    method
        `ml`, or `firth` for the penalized fit (whose log-likelihoods are the penalized ones).
    y, x, weights, offset
        What was fitted.
    """

    names: tuple[str, ...]
    beta: Array
    covariance: Array
    loglik: float
    null: Callable[[], float] = field(repr=False, compare=False)
    iterations: int
    status: str
    reason: str
    y: Array = field(repr=False)
    x: Array = field(repr=False)
    weights: Array = field(repr=False)
    offset: Array = field(repr=False)
    method: str = "ml"

    @classmethod
    def failed(cls, status: str, reason: str, names: tuple[str, ...], y: Array, x: Array) -> Self:
        """A fit without numbers, which says why."""
        size = len(names) + 1
        return cls(
            names=names,
            beta=np.full(size, np.nan),
            covariance=np.full((size, size), np.nan),
            loglik=np.nan,
            null=partial(float, "nan"),
            iterations=0,
            status=status,
            reason=reason,
            y=y,
            x=x,
            weights=np.ones(len(y)),
            offset=np.zeros(len(y)),
        )

    @property
    def ok(self) -> bool:
        """Whether there is an estimate."""
        return self.status == "ok"

    def require(self) -> Self:
        """This fit, or a ModelError that says why there is none."""
        if self.ok:
            return self
        remedy = "use Firth's penalized fit" if self.status == "separated" else "leave that predictor out"
        raise ModelError(f"The logistic regression has no estimate ({self.status}).", found=self.reason, remedy=remedy)

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of all coefficients, the intercept first."""
        return ("(Intercept)", *self.names)

    @property
    def intercept(self) -> float:
        """The intercept."""
        return float(self.beta[0])

    @property
    def coef(self) -> Array:
        """Coefficients without the intercept, shape (p,)."""
        return self.beta[1:]

    @property
    def se(self) -> Array:
        """Standard errors of `beta`."""
        return np.sqrt(np.diag(self.covariance))

    @property
    def z(self) -> Array:
        """Wald statistics of `beta`."""
        return self.beta / self.se

    @property
    def p_values(self) -> Array:
        """Two-sided Wald P values of `beta`."""
        return 2.0 * norm.sf(np.abs(self.z))

    @property
    def n(self) -> int:
        """Number of patients."""
        return len(self.y)

    @property
    def n_events(self) -> int:
        """Number of patients with the event."""
        return int(self.y.sum())

    @cached_property
    def loglik_null(self) -> float:
        """What was maximized, of the intercept alone."""
        return self.null()

    @property
    def unpenalized_loglik(self) -> float:
        """Log-likelihood of the fitted risks; a penalized fit maximizes another one."""
        return self.loglik

    @property
    def unpenalized_loglik_null(self) -> float:
        """Maximized log-likelihood of the intercept alone."""
        return self.loglik_null

    @property
    def deviance(self) -> float:
        """-2 log-likelihood of the fitted risks."""
        return -2.0 * self.unpenalized_loglik

    @property
    def null_deviance(self) -> float:
        """-2 log-likelihood of the intercept alone."""
        return -2.0 * self.unpenalized_loglik_null

    @property
    def aic(self) -> float:
        """Akaike's criterion: deviance + 2 x number of coefficients.

        Of a Firth fit too it is that of the likelihood at the estimate: the penalty depends on the units of the
        predictors, and so would a criterion made of it.
        """
        return self.deviance + 2.0 * len(self.beta)

    @property
    def bic(self) -> float:
        """Bayesian (Schwarz) criterion."""
        return self.deviance + float(np.log(self.n)) * len(self.beta)

    @property
    def lrt(self) -> tuple[float, int, float]:
        """Likelihood-ratio test of the whole model: chi-square, degrees of freedom, P."""
        statistic = 2.0 * (self.loglik - self.loglik_null)
        degrees = len(self.names)
        return statistic, degrees, float(chi2.sf(statistic, degrees)) if degrees else np.nan

    @property
    def nagelkerke_r2(self) -> float:
        """Nagelkerke's R2, as `rms::lrm` reports it; 0 where shrinkage leaves less likelihood than the null model."""
        total = float(self.weights.sum())
        gained = 2.0 * (self.unpenalized_loglik - self.unpenalized_loglik_null)
        return float(max(np.expm1(-gained / total) / np.expm1(-self.null_deviance / total), 0.0))

    def term_p(self, columns: Sequence[int]) -> float:
        """P of a predictor with several columns (indices without the intercept): likelihood ratio; of one: Wald."""
        if not self.ok:
            return float("nan")
        if len(columns) == 1:
            return float(self.p_values[columns[0] + 1])
        keep = [j for j in range(len(self.names)) if j not in columns]
        design = np.column_stack([np.ones(self.n), self.x[:, keep]])
        smaller, direction = maximize(design, self.y, self.weights, self.offset)
        if direction is not None or not smaller.converged:
            return float("nan")
        return float(chi2.sf(2.0 * (self.loglik - smaller.loglik), len(columns)))

    def path(self, index: int) -> RestrictedPath:
        """Restricted fits along one coefficient (0: the intercept)."""
        return LikelihoodPath(self, index)

    @property
    def fitted(self) -> Array:
        """Fitted risks of the patients in the fit, shape (n,)."""
        return np.asarray(expit(self.offset + self.beta[0] + self.x @ self.beta[1:]))

    @property
    def brier(self) -> float:
        """Brier score of the fitted risks (apparent)."""
        return float(np.average((self.fitted - self.y) ** 2, weights=self.weights))

    @property
    def c_index(self) -> float:
        """Area under the ROC curve of the fitted risks (apparent; unweighted)."""
        return auc_from_ranks(self.y, self.fitted) if self.ok else np.nan

    def ci(self, level: float = 0.95, *, method: Interval | None = None) -> Array:
        """Confidence limits of `beta`, shape (p + 1, 2).

        Parameters
        ----------
        method
            `wald` (the default); `profile`, the profile-likelihood limits that R's `confint` prints (a spline
            through a grid, right to about four digits); or `exact`, the same limits by root-finding.
            After `fit_firth` both are the exact limits of the penalized likelihood, and they are the default.
        """
        if not self.ok:
            return np.full((len(self.beta), 2), np.nan)
        if method not in (None, "wald"):
            return (profile_interval if method == "exact" else profile_interval_r)(self, level)
        width = norm.ppf(0.5 + level / 2.0) * self.se
        return np.column_stack([self.beta - width, self.beta + width])

    def odds_ratios(
        self,
        per: Mapping[str, float | str] | float | str | None = None,
        *,
        level: float = 0.95,
        method: Interval | None = None,
    ) -> pd.DataFrame:
        """Odds ratios with their confidence limits and P values, one row a predictor.

        Parameters
        ----------
        per
            The step that an odds ratio is for: 1 by default, `0.1`, `"sd"` (a standard deviation of the fitted
            data), or a mapping from predictor to one of these.
        """
        step = np.array([self._step(name, index, per) for index, name in enumerate(self.names)])
        limits = self.ci(level, method=method)[1:]
        return pd.DataFrame(
            {
                "per": step,
                "odds_ratio": ratio_of(self.coef * step),
                "ci_low": ratio_of(limits[:, 0] * step),
                "ci_high": ratio_of(limits[:, 1] * step),
                "p": self.p_values[1:],
            },
            index=pd.Index(self.names, name="term"),
        )

    def _step(self, name: str, index: int, per: Mapping[str, float | str] | float | str | None) -> float:
        wanted = per.get(name) if isinstance(per, Mapping) else per
        if wanted is None:
            return 1.0
        if wanted == "sd":
            return float(np.std(self.x[:, index], ddof=1))
        if isinstance(wanted, str) or not float(wanted) > 0:
            raise ModelError(
                "The unit of an odds ratio is not known.", expected="a number > 0 or 'sd'", found=f"{wanted}"
            )
        return float(wanted)

    def linear_predictor(self, x: ArrayLike, *, offset: ArrayLike | None = None) -> Array:
        """a + x b for new patients, shape (m,)."""
        matrix = self._matrix(x)
        known = 0.0 if offset is None else np.asarray(offset, dtype=float)
        return np.asarray(self.beta[0] + matrix @ self.beta[1:] + known)

    def predict(self, x: ArrayLike, *, offset: ArrayLike | None = None) -> Array:
        """Risk (0 to 1) of new patients, shape (m,)."""
        return np.asarray(expit(self.linear_predictor(x, offset=offset)))

    def predict_ci(self, x: ArrayLike, level: float = 0.95) -> Array:
        """Wald limits of the risk, computed on the logit scale, shape (m, 2)."""
        matrix = self._matrix(x)
        design = np.column_stack([np.ones(len(matrix)), matrix])
        center = design @ self.beta
        spread = np.sqrt(np.einsum("ij,jk,ik->i", design, self.covariance, design))
        width = norm.ppf(0.5 + level / 2.0) * spread
        return np.asarray(expit(np.column_stack([center - width, center + width])))

    def _matrix(self, x: ArrayLike) -> Array:
        self.require()
        if isinstance(x, pd.DataFrame):
            missing = [name for name in self.names if name not in x.columns]
            if missing:
                raise ModelError("Predictors of the model are missing.", found=", ".join(missing))
            x = x[list(self.names)]
        matrix = np.asarray(x, dtype=float)
        if matrix.ndim == 1:
            matrix = matrix[None, :] if len(self.names) != 1 else matrix[:, None]
        return finite_matrix(matrix, len(matrix), self.names)[0]

    def formula(self, digits: int = 4) -> str:
        """The linear predictor in words: `logit(risk) = -9.773 + 0.1032 × npreg ...`."""
        return logit_formula(dict(zip(self.terms, self.beta.tolist(), strict=True)), digits)

    def to_frame(self, level: float = 0.95, *, method: Interval | None = None) -> pd.DataFrame:
        """All coefficients with SE, z, P and limits on the log-odds scale and as odds ratios."""
        limits = self.ci(level, method=method)
        return pd.DataFrame(
            {
                "coef": self.beta,
                "se": self.se,
                "z": self.z,
                "p": self.p_values,
                "ci_low": limits[:, 0],
                "ci_high": limits[:, 1],
                "odds_ratio": ratio_of(self.beta),
                "or_low": ratio_of(limits[:, 0]),
                "or_high": ratio_of(limits[:, 1]),
            },
            index=pd.Index(self.terms, name="term"),
        )

    def summary(self, level: float = 0.95, *, method: Interval | None = None) -> LogisticSummary:
        """Everything that a reader needs to know of the fit, with limits of this level."""
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):  # of a fit without estimate
            return self._summary(level, method)

    def _summary(self, level: float, method: Interval | None) -> LogisticSummary:
        firth = self.method == "firth"
        frame = self.to_frame(level, method=method)
        return LogisticSummary(
            method=self.method,
            status=self.status,
            reason=self.reason,
            n=self.n,
            n_events=self.n_events,
            interval=method or ("profile" if firth else "wald"),
            terms={str(name): LogisticTerm(*map(float, row)) for name, row in zip(frame.index, frame.to_numpy())},
            loglik=self.unpenalized_loglik,
            penalized_loglik=self.loglik if firth else float("nan"),
            null_deviance=self.null_deviance,
            deviance=self.deviance,
            aic=self.aic,
            bic=self.bic,
            lrt=ModelTest(*self.lrt),
            nagelkerke_r2=self.nagelkerke_r2,
            brier=self.brier,
            c=self.c_index,
            confidence=level,
        )

    def __repr__(self) -> str:
        if not self.ok:
            return f"<LogisticFit {self.status}: {self.reason}>"
        return f"<LogisticFit n={self.n}, events={self.n_events}, {self.formula()}, AIC {self.aic:.2f}>"

    def _repr_html_(self) -> str:
        return views.html(self.summary())


@views.sentence.register
def _(found: LogisticSummary) -> str:
    """The fit in numbers; why there is none."""
    if found.status != "ok":
        return f"No estimate ({found.status}): {found.reason}."
    how = "Firth" if found.method == "firth" else "maximum likelihood"
    return (
        f"{how}: n = {found.n}, events = {found.n_events}; likelihood ratio chi2 {number(found.lrt.chi2)} "
        f"(df {found.lrt.df}, {p_sentence(found.lrt.p)}); AIC {number(found.aic)}; "
        f"Nagelkerke R2 {number(found.nagelkerke_r2, 3)}; C (apparent) {number(found.c, 3)}; "
        f"Brier (apparent) {number(found.brier, 4)}.\n{found.formula}"
    )


@views.table.register
def _(found: LogisticSummary) -> Table:
    """Coefficients, and odds ratios with their limits."""
    rows = [
        (name, short(item.coef), short(item.se), ratio_with_interval(item.odds_ratio, item.or_low, item.or_high),
         p_value(item.p))
        for name, item in found.terms.items()
    ]  # fmt: skip
    return make_table("", ("Term", "Coefficient", "SE", f"OR ({ci_label(found.confidence)})", "P"), rows)


def likelihood_ratio_p(smaller: LogisticFit, larger: LogisticFit) -> float:
    """P of the likelihood-ratio test of two nested maximum-likelihood fits to the same patients."""
    degrees = len(larger.beta) - len(smaller.beta)
    return float(chi2.sf(2.0 * (larger.loglik - smaller.loglik), degrees))
