"""What all steps of a chain share: tables in, tables out, names checked, and columns counted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from hepacast.errors import ModelError, OutcomeError

Array = NDArray[np.float64]
Bool = NDArray[np.bool_]

_SHOWN = 8


def listed(names: Iterable[object], most: int = _SHOWN) -> str:
    """Names for a message: the first few, then how many more."""
    items = [str(name) for name in names]
    rest = len(items) - most
    return ", ".join(items[:most]) + (f" and {rest} more" if rest > 0 else "")


def as_frame(X: Any, names: Iterable[str] | None = None) -> pd.DataFrame:
    """A DataFrame of `X`; an array gets the column names `names` or x0, x1, ...

    Raises
    ------
    ModelError
        Not two-dimensional, or two columns of the same name.
    """
    if isinstance(X, pd.DataFrame):
        if not X.columns.is_unique:
            twice = X.columns[X.columns.duplicated()].unique()
            raise ModelError("Columns share a name.", expected="unique column names", found=listed(twice))
        return X
    array = np.asarray(X)
    if array.ndim != 2:
        raise ModelError("A table is needed.", expected="rows x columns", found=f"{array.ndim} dimension(s)")
    given = list(names) if names is not None else [f"x{j}" for j in range(array.shape[1])]
    if len(given) != array.shape[1]:
        raise ModelError(
            "The table does not have the columns of the training table.",
            expected=f"{len(given)} columns",
            found=f"{array.shape[1]} columns",
        )
    return pd.DataFrame(array, columns=given)


def as_outcome(y: ArrayLike | None, n: int) -> NDArray[np.int64]:
    """The outcome as 0/1 integers, shape (n,), both classes present.

    Raises
    ------
    OutcomeError
        Missing, of another length, not 0/1, or of one class.
    """
    if y is None:
        raise OutcomeError("This step learns from the outcome, and none was given.")
    values = np.asarray(y)
    if values.shape != (n,):
        raise OutcomeError("The outcome does not fit the table.", expected=f"{n} values", found=f"shape {values.shape}")
    if values.dtype.kind in "biuf":
        numbers = values.astype(float)
    else:
        numbers = pd.to_numeric(pd.Series(values), errors="coerce").to_numpy(dtype=float)
    if np.isnan(numbers).any() or not np.isin(numbers, (0.0, 1.0)).all():
        raise OutcomeError(
            "The outcome must be 0 or 1 for every patient.",
            found=listed(pd.unique(pd.Series(values[~np.isin(numbers, (0.0, 1.0))]))),
        )
    classes = numbers.astype(np.int64)
    if n == 0 or classes.min() == classes.max():
        raise OutcomeError(
            "The outcome has one class only.",
            expected="patients with and without the event",
            found=f"{n} patients, {int(classes.sum())} events",
        )
    return classes


def numbers_of(frame: pd.DataFrame) -> Array:
    """The table's values as floats, shape (n, p).

    Raises
    ------
    ModelError
        A column is not numeric.
    """
    try:
        return np.asarray(frame.to_numpy(dtype=float))
    except (TypeError, ValueError) as error:
        wrong = [name for name in frame.columns if not pd.api.types.is_numeric_dtype(frame[name])]
        raise ModelError("Feature columns must be numbers.", expected="numeric columns", found=listed(wrong)) from error


class Step(TransformerMixin, BaseEstimator):
    """A step of a chain: takes a DataFrame (or an array) and gives a DataFrame with the rows' index kept.

    Subclasses write `_fit(frame, y)` and `_transform(frame)`. `fit` remembers the columns; `transform` finds them by
    name, in any order, and ignores others.
    """

    def fit(self, X: Any, y: ArrayLike | None = None) -> Self:
        """Learn from the training rows."""
        frame = as_frame(X)
        self.feature_names_in_ = np.array([str(name) for name in frame.columns], dtype=object)
        self.n_features_in_ = len(self.feature_names_in_)
        self._fit(frame, y)
        return self

    def transform(self, X: Any) -> pd.DataFrame:
        """Apply to any rows what the training rows taught."""
        check_is_fitted(self, "n_features_in_")
        return self._transform(self._known_columns(X))

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Names of the columns that `transform` gives."""
        check_is_fitted(self, "n_features_in_")
        return np.array(self._names_out(), dtype=object)

    def describe(self) -> str:
        """What the step does, in a few words, for flow diagrams and the Methods text."""
        return type(self).__name__

    def left_out(self) -> dict[str, int]:
        """How many training columns left by a rule that `describe` does not name: reason -> columns."""
        return {}

    def _known_columns(self, X: Any) -> pd.DataFrame:
        frame = as_frame(X, self.feature_names_in_)
        if len(frame.columns) == self.n_features_in_ and (frame.columns == self.feature_names_in_).all():
            return frame
        missing = [name for name in self.feature_names_in_ if name not in frame.columns]
        if missing:
            raise ModelError(
                "Columns that the model was trained on are missing.",
                expected=f"{self.n_features_in_} columns",
                found=f"without {listed(missing)}",
                remedy="extract the same features with the same settings as for training",
            )
        return frame.loc[:, list(self.feature_names_in_)]

    def _fit(self, frame: pd.DataFrame, y: ArrayLike | None) -> None:
        """Learn; by default nothing."""

    def _transform(self, frame: pd.DataFrame) -> pd.DataFrame:
        raise TypeError(f"{type(self).__name__} must define _transform")

    def _names_out(self) -> list[str]:
        return list(self.feature_names_in_)


class ColumnFilter(Step):
    """A step that keeps some of the columns as they are.

    Attributes
    ----------
    support_
        Which of the training columns are kept, shape (p,).
    selected_
        Their names, in the order of the table.
    scores_
        How much each training column is wanted (higher is better; what it measures is the filter's), or None.
    status_, note_
        ``"ok"``, or ``"no signal"`` with a sentence when no column is left.
    """

    support_: Bool
    scores_: pd.Series | None
    status_: str
    note_: str

    def _keep(self, support: Bool, scores: Array | None = None, why_none: str = "") -> None:
        self.support_ = np.asarray(support, dtype=bool)
        self.scores_ = None if scores is None else pd.Series(scores, index=self.feature_names_in_)
        nothing = not self.support_.any()
        self.status_ = "no signal" if nothing else "ok"
        self.note_ = why_none if nothing else ""

    @property
    def selected_(self) -> list[str]:
        """Names of the kept columns."""
        check_is_fitted(self, "support_")
        return [str(name) for name in self.feature_names_in_[self.support_]]

    def get_support(self, indices: bool = False) -> Any:
        """Mask of the kept columns, or their numbers (scikit-learn's selector interface)."""
        check_is_fitted(self, "support_")
        return np.flatnonzero(self.support_) if indices else self.support_

    def _transform(self, frame: pd.DataFrame) -> pd.DataFrame:
        return frame.iloc[:, np.flatnonzero(self.support_)]

    def _names_out(self) -> list[str]:
        return self.selected_


class BinaryClassifier(ClassifierMixin, BaseEstimator):
    """A classifier of 0 and 1: subclasses write ``fit``, and ``decision_function`` (log odds) or ``predict_proba``."""

    def predict_proba(self, X: Any) -> Array:
        """Risk of no event and of the event, shape (n, 2)."""
        return both_risks(expit(self.decision_function(X)))

    def predict(self, X: Any) -> NDArray[np.int64]:
        """1 where the risk is one half or more."""
        return (self.predict_proba(X)[:, 1] >= 0.5).astype(np.int64)


def both_risks(risk: Array) -> Array:
    """Risk of no event and of the event, shape (n, 2)."""
    return np.column_stack([1 - risk, risk])
