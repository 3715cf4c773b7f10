"""One estimator for the models of a study: clinical, radiomics and combined, fitted together on the same patients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_is_fitted

from hepacast.errors import ModelError
from hepacast.modelling.base import as_frame, as_outcome, listed
from hepacast.modelling.clinical import ClinicalModel
from hepacast.modelling.cutoffs import youden_cutoff
from hepacast.modelling.frozen_logistic import FrozenLogistic
from hepacast.modelling.frozen_models import FrozenModels
from hepacast.modelling.frozen_score import RADSCORE
from hepacast.modelling.logistic_model import LogisticModel
from hepacast.modelling.predictors import Predictor
from hepacast.modelling.radscore import Radscore
from hepacast.modelling.score_model import score_predictor

MODELS = ("clinical", "radiomics", "combined")


class StudyModels(BaseEstimator):
    """Clinical model, radiomics model, and both together by multivariate logistic regression.

    The table has one row a patient (the index), clinical columns, feature columns, and a site column when features are
    harmonized. Rows are sorted by patient before anything is fitted, so their order changes nothing.

    Parameters
    ----------
    predictors
        Clinical candidates; their columns are not features.
    radiomics
        The radiomics model: `Radscore`, or `ChainScore` for a chain without a formula. None: ``Radscore()``.
    clinical
        `ClinicalModel`; its candidates are set to `predictors`. None: ``ClinicalModel()``.
    features
        Feature columns; None: every column that is neither a clinical candidate nor in `ignore`.
    site_column
        Column that the chain's `Harmonizer` reads; None without harmonization.
    ignore
        Columns that no model may see (identifiers, dates).
    models
        Which to fit, of ``clinical``, ``radiomics``, ``combined``.

    Attributes
    ----------
    clinical_, radiomics_, combined_
        Fitted `ClinicalModel`, radiomics model, and `LogisticModel` of Radscore and independent clinical predictors;
        None where not asked for.
    frozen_
        All of them as plain numbers (`FrozenModels`); its `score` is None when the radiomics model has no formula.
    cutoffs_
        Youden's cut-off of each model's risk in training.
    status_, notes_
        By model: ``"ok"`` or ``"no signal"``, and why.
    """

    def __init__(
        self,
        predictors: Sequence[Predictor] = (),
        radiomics: Any = None,
        clinical: ClinicalModel | None = None,
        features: Sequence[str] | None = None,
        site_column: str | None = None,
        ignore: Sequence[str] = (),
        models: Sequence[str] = MODELS,
    ) -> None:
        self.predictors = predictors
        self.radiomics = radiomics
        self.clinical = clinical
        self.features = features
        self.site_column = site_column
        self.ignore = ignore
        self.models = models

    def fit(self, X: Any, y: ArrayLike | None = None) -> Self:
        """Fit all models.

        Raises
        ------
        ModelError
            Unknown model names, missing columns, patients that stand twice in a table with different outcomes.
        """
        frame = as_frame(X)
        outcome = pd.Series(as_outcome(y, len(frame)), index=frame.index)
        unknown = [name for name in self.models if name not in MODELS]
        if unknown or not len(self.models):
            raise ModelError("Unknown models are asked for.", expected=listed(MODELS), found=listed(unknown))
        order = np.argsort(frame.index.astype(str), kind="stable")
        frame, outcome = frame.iloc[order], outcome.iloc[order]
        self.feature_names_ = self._feature_names(frame)
        clinical_part = self._fit_clinical(frame, outcome)
        score_part = self._fit_radiomics(frame, outcome)
        self.combined_: LogisticModel | None = None
        if "combined" in self.models:
            self.combined_ = self._fit_combined(frame, outcome, clinical_part, score_part)
        self._freeze(frame, outcome, score_part)
        return self

    def _feature_names(self, frame: pd.DataFrame) -> list[str]:
        if self.features is not None:
            missing = [name for name in self.features if name not in frame.columns]
            if missing:
                raise ModelError("Feature columns are missing.", found=f"no {listed(missing)}")
            return [str(name) for name in self.features]
        taken = {predictor.name for predictor in self.predictors} | set(self.ignore) | {self.site_column}
        return [str(name) for name in frame.columns if name not in taken]

    def _radiomics_table(self, frame: pd.DataFrame) -> pd.DataFrame:
        site = [] if self.site_column is None else [self.site_column]
        missing = [name for name in (*self.feature_names_, *site) if name not in frame.columns]
        if missing:
            raise ModelError("Columns of the radiomics model are missing.", found=f"no {listed(missing)}")
        return frame[[*self.feature_names_, *site]]

    def _fit_clinical(self, frame: pd.DataFrame, outcome: pd.Series) -> list[Predictor]:
        self.clinical_: ClinicalModel | None = None
        if not {"clinical", "combined"} & set(self.models):
            return []
        base = ClinicalModel() if self.clinical is None else clone(self.clinical)
        self.clinical_ = base.set_params(predictors=tuple(self.predictors)).fit(frame, outcome.to_numpy())
        return self.clinical_.chosen_predictors_

    def _fit_radiomics(self, frame: pd.DataFrame, outcome: pd.Series) -> pd.Series | None:
        """The training scores; None when the radiomics model is not asked for or found nothing."""
        self.radiomics_: Any = None
        if not {"radiomics", "combined"} & set(self.models):
            return None
        self.radiomics_ = Radscore() if self.radiomics is None else clone(self.radiomics)
        self.radiomics_.fit(self._radiomics_table(frame), outcome.to_numpy())
        return self.radiomics_.train_score_ if self.radiomics_.status_ == "ok" else None

    def _fit_combined(
        self, frame: pd.DataFrame, outcome: pd.Series, clinical: list[Predictor], score: pd.Series | None
    ) -> LogisticModel:
        table = frame[[item.name for item in clinical]]
        predictors: tuple[Predictor, ...] = tuple(clinical)
        if score is not None:
            table = table.assign(**{RADSCORE: score.to_numpy()})
            predictors = (*score_predictor(), *predictors)
        why = "neither the Radscore nor a clinical candidate is related to the outcome"
        return LogisticModel(predictors, why_none=why).fit(table, outcome.to_numpy())

    def _freeze(self, frame: pd.DataFrame, outcome: pd.Series, train_score: pd.Series | None) -> None:
        parts: dict[str, FrozenLogistic] = {}
        for name in MODELS:
            if name not in self.models:
                continue
            if name == "clinical" and self.clinical_ is not None:
                parts[name] = self.clinical_.frozen_
            elif name == "radiomics":
                parts[name] = self.radiomics_.logistic_
            elif self.combined_ is not None:
                parts[name] = self.combined_.frozen_
        self._logistic = parts
        # Cut-offs come from the scores that the logistic models were fitted to.
        table = frame if train_score is None else frame.assign(**{RADSCORE: train_score.to_numpy()})
        self.cutoffs_ = {name: youden_cutoff(outcome.to_numpy(), model.risk(table)) for name, model in parts.items()}
        self.status_ = {name: model.status for name, model in parts.items()}
        self.notes_ = {name: self._note(name, model) for name, model in parts.items()}
        score = getattr(self.radiomics_, "frozen_", None)
        self.frozen_ = FrozenModels(models=parts, score=score, cutoffs=self.cutoffs_)

    def _note(self, name: str, model: FrozenLogistic) -> str:
        if name != "combined" or model.status != "ok" or self.radiomics_ is None or self.clinical_ is None:
            return model.note
        without = []
        if self.radiomics_.status_ != "ok":
            without.append(f"without Radscore: {self.radiomics_.note_}")
        if self.clinical_.status_ != "ok":
            without.append(f"without clinical predictors: {self.clinical_.frozen_.note}")
        return "; ".join([*without, *([model.note] if model.note else [])])

    def radscore(self, X: Any) -> pd.Series:
        """The Radscore (or the chain's score) of each row."""
        check_is_fitted(self, "frozen_")
        frame = as_frame(X)
        if self.radiomics_ is None:
            raise ModelError("These models have no Radscore.")
        if self.frozen_.score is not None:
            return self.frozen_.radscore(frame)
        scores = self.radiomics_.decision_function(self._radiomics_table(frame))
        return pd.Series(scores, index=frame.index, name=RADSCORE)

    def _inputs(self, X: Any) -> pd.DataFrame:
        check_is_fitted(self, "frozen_")
        frame = as_frame(X)
        if not any(RADSCORE in model.names for model in self._logistic.values()):
            return frame
        clinical = [name for model in self._logistic.values() for name in model.names if name != RADSCORE]
        missing = [name for name in clinical if name not in frame.columns]
        if missing:
            raise ModelError("Predictors are not columns of the table.", found=f"no {listed(missing)}")
        return frame[list(dict.fromkeys(clinical))].assign(**{RADSCORE: self.radscore(frame)})

    def linear_predictor(self, X: Any) -> pd.DataFrame:
        """Log odds by model; index patients, columns the models."""
        table = self._inputs(X)
        return pd.DataFrame({n: m.linear_predictor(table) for n, m in self._logistic.items()}, index=table.index)

    def predict_risk(self, X: Any) -> pd.DataFrame:
        """Risk by model, 0 to 1; index patients, columns the models."""
        table = self._inputs(X)
        return pd.DataFrame({name: model.risk(table) for name, model in self._logistic.items()}, index=table.index)

    def predict(self, X: Any) -> NDArray[np.int64]:
        """1 where the last model's risk reaches its cut-off."""
        risk = self.predict_risk(X)
        name = str(risk.columns[-1])
        return (risk[name].to_numpy() >= self.cutoffs_[name]).astype(np.int64)

    def selections(self) -> dict[str, list[str]]:
        """What was selected: ``radiomics`` (features) and ``clinical`` (predictors)."""
        check_is_fitted(self, "frozen_")
        chosen: dict[str, list[str]] = {}
        if self.clinical_ is not None:
            chosen["clinical"] = list(self.clinical_.selected_)
        if self.radiomics_ is not None and hasattr(self.radiomics_, "selected_"):
            chosen["radiomics"] = list(self.radiomics_.selected_)
        return chosen

    @property
    def has_formula(self) -> bool:
        """Whether every model is a formula of the table's columns."""
        check_is_fitted(self, "frozen_")
        uses_score = any(RADSCORE in model.names for model in self._logistic.values())
        return not uses_score or self.frozen_.score is not None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able description from which `from_dict` recomputes every prediction.

        Raises
        ------
        ModelError
            The radiomics model has no formula.
        """
        if not self.has_formula:
            raise ModelError(
                "This radiomics model has no formula.",
                expected="a chain that ends in a linear combination",
                found=type(self.radiomics_).__name__,
                remedy="write it as arrays with frozen_chain.freeze_study_models",
            )
        return self.frozen_.to_dict()

    @staticmethod
    def from_dict(entry: Mapping[str, Any]) -> FrozenModels:
        """Models that predict without scikit-learn, from `to_dict`."""
        return FrozenModels.from_dict(entry)
