"""Choice of clinical predictors for a time-to-event model: each alone, all together, those that stay."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.stats import chi2
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from hepacast.core.p_values import p_below
from hepacast.errors import HepacastError
from hepacast.modelling.base import as_frame
from hepacast.modelling.cox_model import CoxModel
from hepacast.modelling.frozen_cox import FrozenCox
from hepacast.modelling.frozen_logistic import FrozenLinear
from hepacast.modelling.predictors import Predictor, infer_predictors, require_columns

Keep = Literal["independent", "given"]


class NamedRegression(Protocol):
    """A regression on named predictors."""

    frozen_: Any
    dropped_: dict[str, str]

    def fit(self, X: Any, y: ArrayLike | None = None) -> Any:
        """Fit."""


@dataclass(frozen=True)
class Choice:
    """The three steps.

    Attributes
    ----------
    single
        Each candidate's model alone; None where there is none.
    reasons
        Why not.
    joint
        The model of those below alpha; None when no candidate passed.
    final
        The chosen model.
    """

    single: dict[str, Any]
    reasons: dict[str, str]
    joint: Any
    final: Any


def predictor_p(model: FrozenLinear) -> dict[str, float]:
    """P of each predictor: of its one coefficient, or Wald's test of several together."""
    columns: dict[str, list[int]] = {}
    for index, term in enumerate(model.terms, start=1):
        columns.setdefault(term.source, []).append(index)
    covariance, beta = np.array(model.covariance, dtype=float), np.array(model.coefficients)
    found = {}
    for name, indices in columns.items():
        if len(indices) == 1:
            found[name] = model.p_values[indices[0]]
            continue
        block = covariance[np.ix_(indices, indices)]
        statistic = float(beta[indices] @ np.linalg.solve(block, beta[indices]))
        found[name] = float(chi2.sf(statistic, len(indices)))
    return found


def fit_alone(
    make: Callable[[Sequence[Predictor], str], NamedRegression],
    candidates: Sequence[Predictor],
    frame: pd.DataFrame,
    y: ArrayLike,
) -> tuple[dict[str, Any], dict[str, str]]:
    """Each candidate's model alone, and for those without one the reason."""
    single: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    for item in candidates:
        try:
            fitted = make([item], "").fit(frame, y)
        except (HepacastError, np.linalg.LinAlgError) as error:
            reasons[item.name] = getattr(error, "message", str(error))
            continue
        if item.name in fitted.dropped_:
            reasons[item.name] = fitted.dropped_[item.name]
        else:
            single[item.name] = fitted
    return single, reasons


def choose_predictors(
    make: Callable[[Sequence[Predictor], str], NamedRegression],
    candidates: Sequence[Predictor],
    frame: pd.DataFrame,
    y: ArrayLike,
    *,
    alpha: float,
    keep: Keep,
) -> Choice:
    """Fit every candidate alone, those with P < alpha together, and those that stay below it once more.

    Parameters
    ----------
    make
        Makes an unfitted model of some predictors; the text says why there are none.
    keep
        ``"independent"``: as above. ``"given"``: all candidates, chosen before the data were seen; nothing is tested
        (`single` is empty).
    """
    if keep == "given":
        return Choice({}, {}, None, make(list(candidates), "no candidate was given").fit(frame, y))
    single, reasons = fit_alone(make, candidates, frame, y)
    p = {name: predictor_p(fitted.frozen_).get(name, np.nan) for name, fitted in single.items()}
    order = {item.name: place for place, item in enumerate(candidates)}
    passed = sorted(
        (item for item in candidates if p.get(item.name, np.nan) < alpha),
        key=lambda item: (p[item.name], order[item.name]),
    )
    why = f"no clinical candidate has {p_below(alpha)} alone"
    joint, chosen = None, passed
    if passed:
        joint = make(passed, "").fit(frame, y)
        together = predictor_p(joint.frozen_)
        chosen = [item for item in passed if together.get(item.name, np.nan) < alpha]
        why = f"no clinical candidate has {p_below(alpha)} in the joint model"
    return Choice(single, reasons, joint, make(chosen, why).fit(frame, y))


class CoxClinicalModel(BaseEstimator):
    """The clinical Cox model; ``y`` is time and event, shape (n, 2).

    Parameters
    ----------
    predictors
        Candidates; None: all columns.
    alpha
        P below which a candidate stays, alone and in the joint model (Wald; penalized likelihood ratio under Firth).
    keep
        ``"independent"`` or ``"given"`` (`choose_predictors`).
    horizons, competing
        As in `CoxModel`.

    Attributes
    ----------
    choice_
        Models of each step (`Choice`).
    model_
        The final `CoxModel`.
    selected_
        Names in it.
    """

    def __init__(
        self,
        predictors: Sequence[Predictor] | None = None,
        alpha: float = 0.05,
        keep: Keep = "independent",
        horizons: Sequence[float] = (),
        competing: str = "fine-gray",
    ) -> None:
        self.predictors = predictors
        self.alpha = alpha
        self.keep = keep
        self.horizons = horizons
        self.competing = competing

    def fit(self, X: Any, y: ArrayLike | None = None) -> Self:
        """Choose and fit."""
        frame = as_frame(X)
        candidates = infer_predictors(frame) if self.predictors is None else tuple(self.predictors)
        require_columns(frame, candidates)

        def make(predictors: Sequence[Predictor], why: str) -> NamedRegression:
            return CoxModel(predictors, self.horizons, self.competing, why)

        assert y is not None
        self.choice_ = choose_predictors(make, candidates, frame, y, alpha=self.alpha, keep=self.keep)
        self.model_: CoxModel = self.choice_.final
        self.selected_ = self.model_.frozen_.names
        return self

    @property
    def frozen_(self) -> FrozenCox:
        """The final model as plain numbers."""
        check_is_fitted(self, "model_")
        return self.model_.frozen_

    @property
    def status_(self) -> str:
        """``"ok"``, or ``"no signal"`` for the baseline alone."""
        return self.frozen_.status

    @property
    def chosen_predictors_(self) -> list[Predictor]:
        """Predictors of the final model."""
        return [source.predictor for source in self.frozen_.sources]
