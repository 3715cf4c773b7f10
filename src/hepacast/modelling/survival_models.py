"""One estimator for the survival models of a study: clinical, radiomics, combined, and a binary one at a horizon."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_is_fitted

from hepacast.errors import ModelError
from hepacast.modelling.base import as_frame, listed
from hepacast.modelling.cox_model import CoxModel
from hepacast.modelling.cox_radscore import CoxRadscore
from hepacast.modelling.cutoffs import CutRule, RiskCut, risk_cut
from hepacast.modelling.frozen_logistic import FrozenLinear
from hepacast.modelling.frozen_models import FrozenModels
from hepacast.modelling.frozen_score import RADSCORE
from hepacast.modelling.predictors import Predictor
from hepacast.modelling.score_model import score_predictor
from hepacast.modelling.survival_logistic import LogisticAtClinical
from hepacast.modelling.survival_selection import CoxClinicalModel
from hepacast.modelling.targets import as_follow_up

#: In the order of the results: the main model is the last.
MODELS = ("binary", "clinical", "radiomics", "combined")


class SurvivalModels(BaseEstimator):
    """Cox models of clinical predictors, of the Radscore and of both; ``y`` is time and event, shape (n, 2).

    The table is that of `StudyModels`. Rows are sorted by patient before anything is fitted.

    Parameters
    ----------
    predictors
        Clinical candidates; their columns are not features.
    horizons
        Times at which risks are given, in the unit of the follow-up; the last is the main one.
    radiomics
        `CoxRadscore`; None: ``CoxRadscore()``.
    clinical
        `CoxClinicalModel`; its candidates are set to `predictors`.
    features, site_column, ignore
        As in `StudyModels`.
    models
        Which to fit, of ``clinical``, ``radiomics``, ``combined``, and ``binary``: a logistic model of the event by the
        main horizon, weighted for censoring (`LogisticAtClinical`).
    cut
        Rule of the cut-off between low and high risk.
    unit
        Of the times.

    Attributes
    ----------
    clinical_, radiomics_, combined_, binary_
        Fitted parts; None where not asked for.
    frozen_
        All of them as plain numbers (`FrozenModels`).
    cuts_
        Cut-off of each model's risk by the main horizon (`RiskCut`).
    status_, notes_
        By model: ``"ok"`` or ``"no signal"``, and why.
    """

    def __init__(
        self,
        predictors: Sequence[Predictor] = (),
        horizons: Sequence[float] = (),
        radiomics: CoxRadscore | None = None,
        clinical: CoxClinicalModel | None = None,
        features: Sequence[str] | None = None,
        site_column: str | None = None,
        ignore: Sequence[str] = (),
        models: Sequence[str] = ("clinical", "radiomics", "combined"),
        cut: CutRule = "median",
        competing: str = "fine-gray",
        unit: str = "days",
    ) -> None:
        self.predictors = predictors
        self.horizons = horizons
        self.radiomics = radiomics
        self.clinical = clinical
        self.features = features
        self.site_column = site_column
        self.ignore = ignore
        self.models = models
        self.cut = cut
        self.competing = competing
        self.unit = unit

    def fit(self, X: Any, y: ArrayLike | None = None) -> Self:
        """Fit all models.

        Raises
        ------
        ModelError
            Unknown model names, no horizon, missing columns.
        OutcomeError
            The follow-up cannot be used.
        """
        frame = as_frame(X)
        outcome = np.column_stack(as_follow_up(y, len(frame)))
        unknown = [name for name in self.models if name not in MODELS]
        if unknown or not len(self.models):
            raise ModelError("Unknown models are asked for.", expected=listed(MODELS), found=listed(unknown))
        if not len(self.horizons):
            raise ModelError(
                "A survival model needs a horizon.", expected="one time or more, for which risks are given"
            )
        order = np.argsort(frame.index.astype(str), kind="stable")
        frame, outcome = frame.iloc[order], outcome[order]
        self.feature_names_ = self._feature_names(frame)
        self._fit_clinical(frame, outcome)
        score = self._fit_radiomics(frame, outcome)
        self.combined_: CoxModel | None = None
        if "combined" in self.models:
            self.combined_ = self._fit_combined(frame, outcome, score)
        self.binary_: LogisticAtClinical | None = None
        if "binary" in self.models:
            base = self._clinical_base()
            self.binary_ = LogisticAtClinical(
                tuple(self.predictors), float(self.horizons[-1]), base.alpha, base.keep
            ).fit(frame, outcome)
        self._freeze(frame, outcome, score)
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

    def _clinical_base(self) -> CoxClinicalModel:
        return CoxClinicalModel() if self.clinical is None else clone(self.clinical)

    def _fit_clinical(self, frame: pd.DataFrame, outcome: np.ndarray) -> None:
        self.clinical_: CoxClinicalModel | None = None
        if {"clinical", "combined"} & set(self.models):
            settings = {
                "predictors": tuple(self.predictors),
                "horizons": tuple(self.horizons),
                "competing": self.competing,
            }
            self.clinical_ = self._clinical_base().set_params(**settings).fit(frame, outcome)

    def _fit_radiomics(self, frame: pd.DataFrame, outcome: np.ndarray) -> pd.Series | None:
        """The training scores; None when the radiomics model is not asked for or found nothing."""
        self.radiomics_: CoxRadscore | None = None
        if not {"radiomics", "combined"} & set(self.models):
            return None
        base = CoxRadscore() if self.radiomics is None else clone(self.radiomics)
        self.radiomics_ = base.set_params(horizons=tuple(self.horizons), competing=self.competing)
        self.radiomics_.fit(self._radiomics_table(frame), outcome)
        return self.radiomics_.train_score_ if self.radiomics_.status_ == "ok" else None

    def _fit_combined(self, frame: pd.DataFrame, outcome: np.ndarray, score: pd.Series | None) -> CoxModel:
        assert self.clinical_ is not None
        clinical = self.clinical_.chosen_predictors_
        table = frame[[item.name for item in clinical]]
        predictors: tuple[Predictor, ...] = tuple(clinical)
        if score is not None:
            table = table.assign(**{RADSCORE: score.to_numpy()})
            predictors = (*score_predictor(), *predictors)
        why = "neither the Radscore nor a clinical candidate is related to the outcome"
        return CoxModel(predictors, tuple(self.horizons), self.competing, why).fit(table, outcome)

    def _freeze(self, frame: pd.DataFrame, outcome: np.ndarray, score: pd.Series | None) -> None:
        parts: dict[str, FrozenLinear] = {}
        for name in MODELS:
            if name not in self.models:
                continue
            if name == "clinical" and self.clinical_ is not None:
                parts[name] = self.clinical_.frozen_
            elif name == "radiomics" and self.radiomics_ is not None:
                parts[name] = self.radiomics_.cox_
            elif name == "combined" and self.combined_ is not None:
                parts[name] = self.combined_.frozen_
            elif name == "binary" and self.binary_ is not None:
                parts[name] = self.binary_.frozen_
        # Cut-offs come from the scores that the Cox models were fitted to.
        table = frame if score is None else frame.assign(**{RADSCORE: score.to_numpy()})
        main = float(self.horizons[-1])
        times, codes = outcome[:, 0], outcome[:, 1]
        self.cuts_: dict[str, RiskCut] = {
            name: risk_cut(times, codes, model.risk(table, main), self.cut, main) for name, model in parts.items()
        }
        self.status_ = {name: model.status for name, model in parts.items()}
        self.notes_ = {name: self._note(name, model) for name, model in parts.items()}
        self.frozen_ = FrozenModels(
            models=parts,  # type: ignore[arg-type]
            score=None if self.radiomics_ is None else self.radiomics_.frozen_,
            cutoffs={name: cut.value for name, cut in self.cuts_.items()},
            horizons=tuple(float(t) for t in self.horizons),
            unit=self.unit,
        )

    def _note(self, name: str, model: FrozenLinear) -> str:
        if name != "combined" or model.status != "ok" or self.radiomics_ is None or self.clinical_ is None:
            return model.note
        without = []
        if self.radiomics_.status_ != "ok":
            without.append(f"without Radscore: {self.radiomics_.note_}")
        if self.clinical_.status_ != "ok":
            without.append(f"without clinical predictors: {self.clinical_.frozen_.note}")
        return "; ".join([*without, *([model.note] if model.note else [])])

    def linear_predictor(self, X: Any) -> pd.DataFrame:
        """Linear predictor by model; index patients."""
        check_is_fitted(self, "frozen_")
        return self.frozen_.linear_predictor(as_frame(X))

    def predict_risk(self, X: Any, time: float | None = None) -> pd.DataFrame:
        """Risk by a time (default: the main horizon) by model; index patients."""
        check_is_fitted(self, "frozen_")
        return self.frozen_.predict_risk(as_frame(X), time)

    def selections(self) -> dict[str, list[str]]:
        """What was selected: ``radiomics`` (features), ``clinical`` and ``binary`` (predictors)."""
        check_is_fitted(self, "frozen_")
        parts = {"clinical": self.clinical_, "radiomics": self.radiomics_, "binary": self.binary_}
        return {name: list(part.selected_) for name, part in parts.items() if part is not None}

    def to_dict(self) -> dict[str, Any]:
        """JSON-able description from which `FrozenModels.from_dict` recomputes every prediction."""
        check_is_fitted(self, "frozen_")
        return self.frozen_.to_dict()
