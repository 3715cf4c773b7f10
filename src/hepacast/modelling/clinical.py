"""The clinical model: which candidates it holds, chosen as papers do it or better, and its regression."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_is_fitted

from hepacast.core.p_values import p_below
from hepacast.errors import HepacastError, ModelError
from hepacast.modelling.base import Array, as_frame, listed
from hepacast.modelling.cox_model import CoxModel
from hepacast.modelling.frozen_logistic import FrozenLinear, design_matrix
from hepacast.modelling.logistic_model import LogisticModel
from hepacast.modelling.named_design import ColumnsFit, NamedRegression
from hepacast.modelling.predictors import Predictor, infer_predictors, level_text, numeric_values, require_columns
from hepacast.modelling.selectors import LassoSelector
from hepacast.modelling.targets import as_target, has_time
from hepacast.stats.describe_rules import NORMALITY, categorical_test, is_normal, numeric_test
from hepacast.stats.results import TestResult, impossible

#: How a clinical model is chosen; see `ClinicalModel`.
Keep = Literal["independent", "all", "backward", "aic", "lasso", "given", "penalised"]
#: For the Methods: how candidates are tested alone.
CANDIDATES_TESTED = (
    "Each clinical candidate was tested alone in the training patients who have its value: numbers by Welch's t test "
    "where both groups are normal (Shapiro-Wilk), else by the Mann-Whitney test, categories by Pearson's chi-square "
    "or, with small expected counts, Fisher's exact test."
)


class ClinicalModel(BaseEstimator):
    """Clinical predictors chosen as papers do it, refitted wherever it is fitted.

    1. Each candidate alone. Of a logistic model by the rule of Table 1 (`hepacast.stats.describe_rules.RULE`): Welch's
       t test where both classes are normal (Shapiro-Wilk), else Mann-Whitney; chi-square for categories, Fisher's exact
       test where expected counts are small; patients without the value are left out. Of other models by a model of its
       own (`NamedRegression.predictor_p`).
    2. Candidates with P < `alpha` enter one model together (missing values: training median or most frequent level;
       Firth's penalty when the data are separated).
    3. Independent are those with P < `alpha_joint` in it (`predictor_p`): Wald's P of a single coefficient (the
       penalized likelihood-ratio P under Firth); of a predictor of several levels the likelihood-ratio P in a logistic
       model, else Wald's of all of them.
    4. The independent ones are fitted alone: the clinical model. If none is left, nobody's risk differs, with status
       ``"no signal"``.

    This one-shot choice loses both of two collinear predictors; other choices (`keep`) do not.

    Parameters
    ----------
    predictors
        Candidates; None: all columns, kinds from their types.
    alpha, alpha_joint
        Levels of steps 2 and 3.
    keep
        ``"independent"`` (step 3), ``"all"`` (step 4 keeps what step 2 let in);
        ``"backward"``: all candidates in one model, the one of largest P leaves until all have P < `alpha_joint`;
        ``"aic"``: the one leaves without which Akaike's criterion is smallest, until none makes it smaller;
        ``"lasso"``: those with a coefficient in a LASSO model, the penalty of smallest cross-validated deviance;
        ``"given"``: all candidates, chosen before the data were seen; nothing is tested;
        ``"penalised"``: all candidates, coefficients shrunk by ridge regression (`hepacast.stats.ridge`).
    always
        Names that stay in whatever their P.
    regression
        What is fitted, such as ``LogisticModel()``, ``CoxModel()``, ``LogisticAt()``; its predictors are set. None: by
        the outcome, logistic or Cox.
    seed
        Of the folds of the LASSO's penalty.
    parts
        Of ``"penalised"``: predictor -> part, each shrunk by a penalty of its own (`NamedRegression`).

    Attributes
    ----------
    univariate_
        One row a candidate: name, label, kind, test, p, n, reason.
    single_
        Each candidate's own model, where these decide step 2.
    joint_
        The fitted model of step 2, or of all candidates before any leaves; None when no candidate passed.
    joint_p_
        P of each predictor in it.
    model_
        The final model.
    selected_
        Names in the final model.
    """

    def __init__(
        self,
        predictors: Sequence[Predictor] | None = None,
        alpha: float = 0.05,
        alpha_joint: float = 0.05,
        keep: Keep = "independent",
        always: Sequence[str] = (),
        regression: NamedRegression | None = None,
        seed: int = 0,
        parts: Mapping[str, str] | None = None,
    ) -> None:
        self.predictors = predictors
        self.alpha = alpha
        self.alpha_joint = alpha_joint
        self.keep = keep
        self.always = always
        self.regression = regression
        self.seed = seed
        self.parts = parts

    def fit(self, X: Any, y: ArrayLike | None = None) -> Self:
        """Choose and fit."""
        frame = as_frame(X)
        outcome = as_target(y, len(frame))
        self._of_time = has_time(outcome)
        self.classes_ = np.array([0, 1])
        candidates = infer_predictors(frame) if self.predictors is None else tuple(self.predictors)
        require_columns(frame, candidates)
        unknown = set(self.always) - {item.name for item in candidates}
        if unknown:
            raise ModelError(
                "Predictors that must stay are not among the candidates.",
                expected=listed(item.name for item in candidates),
                found=listed(sorted(unknown)),
            )
        self.joint_: NamedRegression | None = None
        self.single_: dict[str, NamedRegression] = {}
        self.univariate_ = _table([])
        chosen, why = self._chosen(frame, outcome, list(candidates))
        self.model_: NamedRegression = self.of(chosen, why).fit(frame, outcome)
        self.selected_ = self.model_.frozen_.names
        return self

    def _chosen(
        self, frame: pd.DataFrame, outcome: NDArray[Any], candidates: list[Predictor]
    ) -> tuple[list[Predictor], str]:
        """Predictors of the final model, and why there are none where there are none."""
        if not candidates or self.keep in ("given", "penalised"):
            return candidates, "no candidate was given"
        if self.keep == "lasso":
            return self._by_lasso(frame, outcome, candidates)
        chosen, why = candidates, ""
        if self.keep in ("independent", "all"):
            self.univariate_ = self._tested_alone(frame, outcome, candidates)
            chosen, why = self._passed(candidates), f"no clinical candidate has {p_below(self.alpha)} alone"
        if chosen:
            self.joint_ = self.of(chosen).fit(frame, outcome)
            if self.keep == "independent":
                chosen, why = self._independent(chosen)
            elif self.keep != "all":
                chosen, why = self._eliminated(frame, outcome, chosen)
        return chosen, why

    def _eliminated(
        self, frame: pd.DataFrame, outcome: NDArray[Any], chosen: list[Predictor]
    ) -> tuple[list[Predictor], str]:
        """Backward elimination by P or by Akaike's criterion, one predictor at a time."""
        assert self.joint_ is not None
        model = self.joint_
        chosen = [item for item in chosen if item.name not in model.dropped_]
        if self.keep == "aic":
            return self._by_criterion(frame, outcome, chosen), _none_left("a place by Akaike's criterion")
        while removable := [item for item in chosen if item.name not in self.always]:
            p = {item.name: np.nan_to_num(model.predictor_p()[item.name], nan=1.0) for item in removable}
            worst = max(p, key=lambda name: p[name])
            if p[worst] < self.alpha_joint:
                break
            chosen = [item for item in chosen if item.name != worst]
            model = self.of(chosen).fit(frame, outcome)
        return chosen, _none_left(p_below(self.alpha_joint))

    def _by_criterion(self, frame: pd.DataFrame, outcome: NDArray[Any], chosen: list[Predictor]) -> list[Predictor]:
        """What Akaike's criterion leaves. Hundreds of models are compared, and all read the columns of the first."""
        assert self.joint_ is not None
        frozen, regression = self.joint_.frozen_, self.of(())
        design = frozen.design(frame)
        places = {item.name: [k for k, term in enumerate(frozen.terms) if term.source == item.name] for item in chosen}

        def fitted(names: Iterable[str]) -> ColumnsFit:
            columns = [place for name in names for place in places[name]]
            return regression.fit_columns(design[:, columns], outcome, [frozen.terms[place] for place in columns])

        names = list(places)
        now = fitted(names)
        while removable := [name for name in names if name not in self.always]:
            least = _least_worse(now, {name: places[name] for name in names}, removable)
            best, without = None, now
            for name, at_least in least:
                if best is not None and now.aic + at_least > without.aic:
                    break
                smaller = fitted(other for other in names if other != name)
                if best is None or smaller.aic < without.aic:
                    best, without = name, smaller
            if best is None or without.aic >= now.aic - 1e-7:
                break
            names.remove(best)
            now = without
        return [item for item in chosen if item.name in names]

    def _by_lasso(
        self, frame: pd.DataFrame, outcome: NDArray[Any], candidates: list[Predictor]
    ) -> tuple[list[Predictor], str]:
        sources, terms, _ = self.of(candidates).columns_of(frame, candidates)
        names = [term.name for term in terms]
        design = pd.DataFrame(design_matrix(sources, terms, frame), index=frame.index, columns=names)
        selector = LassoSelector(seed=self.seed).fit(design, outcome)
        kept = {term.source for term in terms if selector.coef_[term.name] != 0} | set(self.always)
        return [item for item in candidates if item.name in kept], "the LASSO keeps no clinical candidate"

    def of(self, predictors: Sequence[Predictor], why_none: str = "") -> NamedRegression:
        """The regression of some predictors, not fitted."""
        own = self.regression or (CoxModel() if self._of_time else LogisticModel())
        made: NamedRegression = clone(own).set_params(predictors=tuple(predictors), why_none=why_none)
        return made.set_params(penalty="ridge", parts=self.parts) if self.keep == "penalised" else made

    def alone(self, X: Any, y: ArrayLike) -> tuple[dict[str, NamedRegression], dict[str, str]]:
        """Each candidate's own model, and of those without one the reason."""
        frame = as_frame(X)
        single: dict[str, NamedRegression] = {}
        reasons: dict[str, str] = {}
        for item in infer_predictors(frame) if self.predictors is None else self.predictors:
            try:
                # Unpenalized: a ratio with its P, whatever the final model's.
                fitted = self.of([item]).set_params(penalty="none").fit(frame, y)
            except (HepacastError, np.linalg.LinAlgError) as error:
                reasons[item.name] = getattr(error, "message", str(error))
                continue
            if item.name in fitted.dropped_:
                reasons[item.name] = fitted.dropped_[item.name]
            else:
                single[item.name] = fitted
        return single, reasons

    def _tested_alone(
        self, frame: pd.DataFrame, outcome: NDArray[Any], candidates: Sequence[Predictor]
    ) -> pd.DataFrame:
        if isinstance(self.of(()), LogisticModel):
            return univariate_table(frame, outcome, candidates)
        self.single_, reasons = self.alone(frame, outcome)
        rows = []
        for item in candidates:
            model = self.single_.get(item.name)
            p = np.nan if model is None else model.predictor_p().get(item.name, np.nan)
            n = len(frame) if model is not None else 0
            test = {"test": "own model", "p": p, "n": n, "reason": reasons.get(item.name, "")}
            rows.append({"name": item.name, "label": item.label, "kind": item.kind, **test})
        return _table(rows)

    def _passed(self, candidates: Sequence[Predictor]) -> list[Predictor]:
        """Those below alpha, smallest P first, so that of two collinear ones the stronger stays."""
        p = self.univariate_.set_index("name")["p"]
        rank = {str(name): position for position, name in enumerate(self.univariate_["name"])}
        passing = [item for item in candidates if p[item.name] < self.alpha or item.name in self.always]
        return sorted(passing, key=lambda item: (np.nan_to_num(p[item.name], nan=1.0), rank[item.name]))

    @property
    def joint_p_(self) -> pd.Series:
        """P of each predictor in the joint model."""
        return pd.Series({} if self.joint_ is None else self.joint_.predictor_p(), dtype=float)

    def _independent(self, passed: list[Predictor]) -> tuple[list[Predictor], str]:
        p = self.joint_p_
        kept = [i for i in passed if i.name in self.always or p.get(i.name, np.nan) < self.alpha_joint]
        return kept, f"no clinical candidate has {p_below(self.alpha_joint)} in the joint model"

    @property
    def frozen_(self) -> FrozenLinear:
        """The final model as plain numbers."""
        check_is_fitted(self, "model_")
        frozen: FrozenLinear = self.model_.frozen_
        return frozen

    @property
    def status_(self) -> str:
        """``"ok"``, or ``"no signal"`` where nobody's risk differs."""
        return self.frozen_.status

    @property
    def chosen_predictors_(self) -> list[Predictor]:
        """Predictors of the final model."""
        return [source.predictor for source in self.frozen_.sources]

    def decision_function(self, X: Any) -> Array:
        """Log odds (log hazard) of each row."""
        return self.frozen_.linear_predictor(as_frame(X))

    def predict_proba(self, X: Any) -> Array:
        """Risk of no event and of the event, shape (n, 2); of an outcome without time."""
        risk = self.frozen_.risk(as_frame(X))
        return np.column_stack([1 - risk, risk])

    def predict(self, X: Any) -> NDArray[np.int64]:
        """1 where the risk is one half or more."""
        return (self.decision_function(X) >= 0).astype(np.int64)


def univariate_table(frame: pd.DataFrame, outcome: ArrayLike, candidates: Sequence[Predictor]) -> pd.DataFrame:
    """Each candidate tested alone by the rule of Table 1 (`stats.describe_rules`), so that a P in print is the P here.

    Columns: name, label, kind, test, p, n (patients with a value), reason (of a missing P).
    """
    y = np.asarray(outcome)
    rows = []
    for item in candidates:
        if item.is_level:
            test, n = _test_of_levels(level_text(frame[item.name]), y)
        else:
            values = numeric_values(frame[item.name], item)
            present = ~np.isnan(values)
            groups = [values[present & (y == code)] for code in (0, 1)]
            test, n = numeric_test(groups, is_normal(groups, NORMALITY), equal_var=False), int(present.sum())
        row = {"test": test.name, "p": float(test.p), "n": n, "reason": test.reason}
        rows.append({"name": item.name, "label": item.label, "kind": item.kind, **row})
    return _table(rows)


def _least_worse(
    now: ColumnsFit, places: Mapping[str, Sequence[int]], removable: Sequence[str]
) -> list[tuple[str, float]]:
    """How much larger Akaike's criterion becomes at least without each predictor, the smallest first.

    Twice the fall of the log-likelihood is Wald's chi-square for effects near 0 and more than it for large ones
    (Hauck WW, Donner A. J Am Stat Assoc 1977;72:851); half of it is taken, so that no predictor is passed over.
    """
    start, columns = 0, {}
    for name, own in places.items():
        columns[name] = range(start, start + len(own))
        start += len(own)
    least = [(name, now.wald(columns[name]) / 2.0 - 2.0 * len(columns[name])) for name in removable]
    return sorted(least, key=lambda pair: pair[1])


def _none_left(of: str) -> str:
    return f"no clinical candidate has {of} in backward elimination"


def _table(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    columns = ["name", "label", "kind", "test", "p", "n", "reason"]
    return pd.DataFrame(list(rows), columns=columns).astype({"p": float})


def _test_of_levels(text: pd.Series, y: NDArray[Any]) -> tuple[TestResult, int]:
    known = text.notna().to_numpy()
    if not known.any():
        return impossible("chi-square", "no patient has a value"), 0
    counts = pd.crosstab(text[known].to_numpy(), y[known])
    return categorical_test(counts.to_numpy(dtype=float), yates=False), int(known.sum())
