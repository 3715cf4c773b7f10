"""The clinical model: univariate tests, joint logistic model of what passes, final model of what is independent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from hepacast.core.p_values import p_below
from hepacast.errors import ModelError
from hepacast.modelling.base import Array, as_frame, as_outcome, listed
from hepacast.modelling.frozen_logistic import FrozenLogistic
from hepacast.modelling.logistic_model import LogisticModel
from hepacast.modelling.predictors import Predictor, infer_predictors, level_text, numeric_values, require_columns
from hepacast.stats.describe_rules import NORMALITY, categorical_test, is_normal, numeric_test
from hepacast.stats.results import TestResult, impossible

Keep = Literal["independent", "all"]
#: For the Methods: how candidates are tested alone.
CANDIDATES_TESTED = (
    "Each clinical candidate was tested alone in the training patients who have its value: numbers by Welch's t test "
    "where both groups are normal (Shapiro-Wilk), else by the Mann-Whitney test, categories by Pearson's chi-square "
    "or, with small expected counts, Fisher's exact test."
)


class ClinicalModel(ClassifierMixin, BaseEstimator):
    """Clinical predictors chosen as papers do it, refitted wherever it is fitted.

    1. Each candidate alone, by the rule of Table 1 (`hepacast.stats.describe_rules.RULE`): Welch's t test where both
       classes are normal (Shapiro-Wilk), else Mann-Whitney; chi-square for categories, Fisher's exact test where
       expected counts are small. Patients without the value are left out.
    2. Candidates with P < `alpha` enter one logistic model together (missing values: training median or most frequent
       level; Firth's penalty when the data are separated).
    3. Independent are those with P < `alpha_joint` in it: Wald's P of a single coefficient (the penalized
       likelihood-ratio P under Firth), the likelihood-ratio P for a predictor of several levels.
    4. The independent ones are fitted alone: the clinical model. If none is left, the model is the intercept, with
       status ``"no signal"``.

    Parameters
    ----------
    predictors
        Candidates; None: all columns, kinds from their types.
    alpha, alpha_joint
        Levels of steps 2 and 3.
    keep
        ``"independent"`` (step 3), or ``"all"`` (step 4 keeps what step 2 let in).
    always
        Names that stay in whatever their P.
    firth
        As in `LogisticModel`.

    Attributes
    ----------
    univariate_
        One row a candidate: name, label, kind, test, p, n, reason.
    joint_
        The fitted `LogisticModel` of step 2; None when no candidate passed.
    joint_p_
        P of each predictor in it.
    model_
        The final `LogisticModel`.
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
        firth: str = "auto",
    ) -> None:
        self.predictors = predictors
        self.alpha = alpha
        self.alpha_joint = alpha_joint
        self.keep = keep
        self.always = always
        self.firth = firth

    def fit(self, X: Any, y: ArrayLike | None = None) -> Self:
        """Choose and fit."""
        frame = as_frame(X)
        outcome = as_outcome(y, len(frame))
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
        self.univariate_ = univariate_table(frame, outcome, candidates)
        passed = self._passed(candidates)
        self.joint_p_ = pd.Series(dtype=float)
        self.joint_: LogisticModel | None = None
        chosen, why = passed, f"no clinical candidate has {p_below(self.alpha)} alone"
        if passed:
            self.joint_ = LogisticModel(passed, firth=self.firth).fit(frame, outcome)
            self.joint_p_ = joint_p_values(self.joint_)
            if self.keep == "independent":
                chosen = [
                    item
                    for item in passed
                    if item.name in self.always or self.joint_p_.get(item.name, np.nan) < self.alpha_joint
                ]
                why = f"no clinical candidate has {p_below(self.alpha_joint)} in the joint model"
        self.model_ = LogisticModel(chosen, firth=self.firth, why_none=why).fit(frame, outcome)
        self.selected_ = self.model_.frozen_.names
        return self

    def _passed(self, candidates: Sequence[Predictor]) -> list[Predictor]:
        """Those below alpha, smallest P first, so that of two collinear ones the stronger stays."""
        p = self.univariate_.set_index("name")["p"]
        rank = {str(name): position for position, name in enumerate(self.univariate_["name"])}
        passing = [item for item in candidates if p[item.name] < self.alpha or item.name in self.always]
        return sorted(passing, key=lambda item: (np.nan_to_num(p[item.name], nan=1.0), rank[item.name]))

    @property
    def frozen_(self) -> FrozenLogistic:
        """The final model as plain numbers."""
        check_is_fitted(self, "model_")
        return self.model_.frozen_

    @property
    def status_(self) -> str:
        """``"ok"``, or ``"no signal"`` for the intercept alone."""
        return self.frozen_.status

    @property
    def chosen_predictors_(self) -> list[Predictor]:
        """Predictors of the final model."""
        return [source.predictor for source in self.frozen_.sources]

    def decision_function(self, X: Any) -> Array:
        """Log odds of each row."""
        check_is_fitted(self, "model_")
        return self.model_.decision_function(X)

    def predict_proba(self, X: Any) -> Array:
        """Risk of no event and of the event, shape (n, 2)."""
        check_is_fitted(self, "model_")
        return self.model_.predict_proba(X)

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
    columns = ["name", "label", "kind", "test", "p", "n", "reason"]
    return pd.DataFrame(rows, columns=columns).astype({"p": float})


def _test_of_levels(text: pd.Series, y: NDArray[Any]) -> tuple[TestResult, int]:
    known = text.notna().to_numpy()
    if not known.any():
        return impossible("chi-square", "no patient has a value"), 0
    counts = pd.crosstab(text[known].to_numpy(), y[known])
    return categorical_test(counts.to_numpy(dtype=float), yates=False), int(known.sum())


def joint_p_values(model: LogisticModel) -> pd.Series:
    """P of each predictor in a fitted joint model: Wald (Firth: penalized LR) for one coefficient, LR for several."""
    frozen = model.frozen_
    columns: dict[str, list[int]] = {}
    for index, term in enumerate(frozen.terms, start=1):
        columns.setdefault(term.source, []).append(index)
    result: dict[str, float] = {}
    for name, indices in columns.items():
        if len(indices) == 1:
            result[name] = frozen.p_values[indices[0]]
        elif model.fit_ is not None:
            result[name] = model.fit_.term_p([index - 1 for index in indices])
    return pd.Series(result, dtype=float)
