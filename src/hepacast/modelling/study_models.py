"""One estimator for the models of a study: clinical, radiomics and combined, fitted together on the same patients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_is_fitted

from hepacast.cohort.outcome import EVER
from hepacast.errors import ModelError
from hepacast.modelling.base import Array, as_frame, listed
from hepacast.modelling.clinical import ClinicalModel
from hepacast.modelling.combination import Combination, joined_regression
from hepacast.modelling.cox_model import CoxModel
from hepacast.modelling.cutoffs import CutRule, RiskCut, risk_cut
from hepacast.modelling.evidence import columns_of, evidence
from hepacast.modelling.frozen_logistic import FrozenLinear
from hepacast.modelling.frozen_models import FrozenModels
from hepacast.modelling.frozen_score import RADSCORE
from hepacast.modelling.logistic_at import LogisticAt
from hepacast.modelling.logistic_model import LogisticModel
from hepacast.modelling.named_design import NamedRegression
from hepacast.modelling.predictors import Predictor, in_logarithms
from hepacast.modelling.radscore import Radscore
from hepacast.modelling.refit import OF_FEATURES, ORDER
from hepacast.modelling.score_model import score_predictor
from hepacast.modelling.targets import as_target, by_patient, has_time


class StudyModels(BaseEstimator):
    """Clinical model, radiomics model, and both together: by logistic regression, or of time and event by Cox models.

    ``y`` is 0 or 1, shape (n,), or time and code, shape (n, 2). The table has one row a patient (the index), clinical
    columns, feature columns, and a site column when features are harmonized. Rows are sorted by patient before anything
    is fitted, so their order changes nothing.

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
    biomarkers
        Predictors that are biomarkers: where the model ``biomarkers`` is asked for, it chooses among them, the clinical
        model among the others, and the combined model holds what both chose; else they are clinical candidates.
    kinds
        Biomarker -> kind of what it tells, for an averaged joint model and the biomarkers' own beside it: coefficients
        of each kind have a penalty of their own.
    combination
        How the joint model is made: ``"regression"``, one of all; ``"averaged"``
        (`hepacast.modelling.combination.AveragedModel`); or ``"auto"``, the same where the outcome is related to
        clinical candidates, biomarkers and features more than permuted outcomes are, else the answer that nothing was
        found.
    seed
        Of the folds of an averaged model.
    models
        Which to fit, of ``clinical``, ``biomarkers``, ``radiomics``, ``combined``, ``joint``: one ridge regression of
        clinical predictors that probably belong, every biomarker and the radiomics model's score, beside which
        the biomarkers' own model is shrunk too and no other holds biomarkers; of time and event also ``binary``: a
        clinical logistic model of the event by the main horizon, weighted for censoring (`LogisticAt`).
    horizons, unit
        Of time and event: times at which risks are given, in this unit; the last is the main one.
    cut
        Rule of the cut-off between low and high risk; without time there is ``"youden"`` only.
    competing
        As in `CoxModel`.

    Attributes
    ----------
    clinical_, biomarkers_, radiomics_, combined_, joint_, binary_
        Fitted `ClinicalModel` of clinical predictors and of biomarkers, radiomics model, regression of Radscore and
        what the first two chose, ridge regression of everything, and `ClinicalModel` at the main horizon; None where
        not asked for.
    frozen_
        All of them as plain numbers (`FrozenModels`); its `score` is None when the radiomics model has no formula.
    cuts_, cutoffs_
        Cut-off of each model's risk in training (by the main horizon), with its rule, and as a number.
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
        models: Sequence[str] = ("clinical", "radiomics", "combined"),
        horizons: Sequence[float] = (),
        unit: str = "days",
        cut: CutRule = "youden",
        competing: str = "fine-gray",
        biomarkers: Sequence[str] = (),
        kinds: Mapping[str, str] | None = None,
        combination: Combination = "regression",
        seed: int = 0,
    ) -> None:
        self.predictors = predictors
        self.radiomics = radiomics
        self.clinical = clinical
        self.features = features
        self.site_column = site_column
        self.ignore = ignore
        self.models = models
        self.horizons = horizons
        self.unit = unit
        self.cut = cut
        self.competing = competing
        self.biomarkers = biomarkers
        self.kinds = kinds
        self.combination = combination
        self.seed = seed

    def fit(self, X: Any, y: ArrayLike | None = None) -> Self:
        """Fit all models.

        Raises
        ------
        ModelError
            Unknown model names, missing columns, time and event without a horizon.
        OutcomeError
            The outcome cannot be used.
        """
        frame = as_frame(X)
        outcome = as_target(y, len(frame))
        of_time = has_time(outcome)
        legal = ORDER if of_time else ORDER[1:]
        unknown = [name for name in self.models if name not in legal]
        if unknown or not len(self.models):
            raise ModelError("Unknown models are asked for.", expected=listed(legal), found=listed(unknown))
        if of_time and not len(self.horizons):
            raise ModelError(
                "A model of time and event needs a horizon.", expected="one time or more, for which risks are given"
            )
        frame, outcome = by_patient(frame, outcome)
        self.feature_names_ = self._feature_names(frame)
        clinical_part = self._fit_clinical(frame, outcome)
        score_part = self._fit_radiomics(frame, outcome)
        self.combined_: NamedRegression | None = None
        if "combined" in self.models:
            self.combined_ = self._fit_combined(frame, outcome, clinical_part, score_part)
        self.joint_: NamedRegression | None = None
        if "joint" in self.models:
            self.joint_ = self._fit_joint(frame, outcome, score_part)
        self.binary_: ClinicalModel | None = None
        if "binary" in self.models:
            base = ClinicalModel() if self.clinical is None else clone(self.clinical)
            at = LogisticAt(horizon=float(self.horizons[-1]))
            self.binary_ = base.set_params(predictors=self._told(), regression=at).fit(frame, outcome)
        self._freeze(frame, outcome, score_part)
        return self

    def _regression(self, outcome: NDArray[Any]) -> NamedRegression:
        if not has_time(outcome):
            return LogisticModel()
        return CoxModel(horizons=tuple(self.horizons), competing=self.competing)

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
        names = [*self.feature_names_, *site]
        first = frame.columns.tolist().index(names[0]) if names and frame.columns.is_unique else 0
        together = frame.iloc[:, first : first + len(names)]
        # Columns that stand together, as those of a study do, are looked at where they are instead of copied.
        return together if list(together.columns) == names else frame[names]

    def _told(self) -> tuple[Predictor, ...]:
        """The predictors without biomarkers, where these have models of their own."""
        apart = {"biomarkers", "joint"} & set(self.models)
        return tuple(item for item in self.predictors if not (apart and item.name in self.biomarkers))

    def _fit_clinical(self, frame: pd.DataFrame, outcome: NDArray[Any]) -> list[Predictor]:
        """The clinical model and that of the biomarkers; what they chose for the combined one."""
        self.clinical_: ClinicalModel | None = None
        self.biomarkers_: ClinicalModel | None = None
        chosen: list[Predictor] = []
        if {"clinical", "combined"} & set(self.models):
            self.clinical_ = self._fit_choice(self._told(), frame, outcome)
            chosen += self.clinical_.chosen_predictors_
        if "biomarkers" in self.models and self.biomarkers:
            measured = tuple(item for item in self.predictors if item.name in self.biomarkers)
            shrunk: dict[str, Any] = {"keep": "penalised", "parts": self._apart} if "joint" in self.models else {}
            self.biomarkers_ = self._fit_choice(measured, frame, outcome, **shrunk)
            chosen += [] if shrunk else self.biomarkers_.chosen_predictors_
        return chosen

    @property
    def _apart(self) -> Mapping[str, str] | None:
        """What has a penalty of its own."""
        return None if self.combination == "regression" else self.kinds

    def _fit_choice(
        self, predictors: tuple[Predictor, ...], frame: pd.DataFrame, outcome: NDArray[Any], **options: Any
    ) -> ClinicalModel:
        base = ClinicalModel() if self.clinical is None else clone(self.clinical)
        regression = base.regression or self._regression(outcome)
        return base.set_params(predictors=predictors, regression=regression, **options).fit(frame, outcome)

    def _fit_radiomics(self, frame: pd.DataFrame, outcome: NDArray[Any]) -> pd.Series | None:
        """The training scores; None when the radiomics model is not asked for or found nothing."""
        self.radiomics_: Any = None
        if not OF_FEATURES & set(self.models):
            return None
        base = Radscore() if self.radiomics is None else clone(self.radiomics)
        self.radiomics_ = base.set_params(regression=base.regression or self._regression(outcome))
        self.radiomics_.fit(self._radiomics_table(frame), outcome)
        return self.radiomics_.train_score_ if self.radiomics_.status_ == "ok" else None

    def _fit_joint(self, frame: pd.DataFrame, outcome: NDArray[Any], score: pd.Series | None) -> NamedRegression:
        """Everything in one ridge regression. Clinical candidates are many and mostly tell nothing: those that do not
        probably belong would only add noise."""
        candidates = in_logarithms(self._told(), frame)
        measured = [item for item in self.predictors if item.name in self.biomarkers]
        predictors = (*candidates, *measured)
        table = frame[[item.name for item in predictors]]
        if score is not None:
            table = table.assign(**{RADSCORE: score.to_numpy()})
            predictors = (*score_predictor(), *predictors)
        optional = tuple(item.name for item in candidates)
        regression = self._regression(outcome).set_params(penalty="ridge", parts=self._apart, optional=optional)
        why = "neither the Radscore nor a clinical candidate nor a biomarker is related to the outcome"
        asked = self._asked(frame, outcome, measured) if self.combination == "auto" else None
        rules: dict[str, Any] = {"why_none": why, "seed": self.seed, "evidence": asked}
        fitted: NamedRegression = joined_regression(self.combination, regression, predictors, (RADSCORE,), **rules).fit(
            table, outcome
        )
        return fitted

    def _asked(self, frame: pd.DataFrame, outcome: NDArray[Any], measured: Sequence[Predictor]) -> float:
        """Evidence for all that the joint model may hold."""
        families = {"clinical": columns_of(self._told(), frame), "biomarkers": columns_of(measured, frame)}
        features = frame[self.feature_names_]
        return evidence({**families, "features": features}, outcome, self.seed)

    def _fit_combined(
        self, frame: pd.DataFrame, outcome: NDArray[Any], clinical: list[Predictor], score: pd.Series | None
    ) -> NamedRegression:
        table = frame[[item.name for item in clinical]]
        predictors: tuple[Predictor, ...] = tuple(clinical)
        if score is not None:
            table = table.assign(**{RADSCORE: score.to_numpy()})
            predictors = (*score_predictor(), *predictors)
        why = "neither the Radscore nor a clinical candidate is related to the outcome"
        regression = self._regression(outcome).set_params(predictors=predictors, why_none=why)
        if self.clinical_ is not None and self.clinical_.keep == "penalised":
            regression.set_params(penalty="ridge")
        fitted: NamedRegression = regression.fit(table, outcome)
        return fitted

    def _freeze(self, frame: pd.DataFrame, outcome: NDArray[Any], train_score: pd.Series | None) -> None:
        found = {
            "binary": self.binary_ and self.binary_.frozen_,
            "clinical": self.clinical_ and self.clinical_.frozen_,
            "biomarkers": self.biomarkers_ and self.biomarkers_.frozen_,
            "radiomics": self.radiomics_ and self.radiomics_.final_,
            "combined": self.combined_ and self.combined_.frozen_,
            "joint": self.joint_ and self.joint_.frozen_,
        }
        parts: dict[str, FrozenLinear] = {
            name: model for name, model in found.items() if name in self.models and model is not None
        }
        self._parts = parts
        # Cut-offs come from the scores that the regressions were fitted to.
        table = frame if train_score is None else frame.assign(**{RADSCORE: train_score.to_numpy()})
        main = float(self.horizons[-1]) if has_time(outcome) else EVER
        self.cuts_: dict[str, RiskCut] = {
            name: risk_cut(outcome, model.risk(table, main), self.cut, main) for name, model in parts.items()
        }
        self.cutoffs_ = {name: cut.value for name, cut in self.cuts_.items()}
        self.status_ = {name: model.status for name, model in parts.items()}
        self.notes_ = {name: self._note(name, model) for name, model in parts.items()}
        score = getattr(self.radiomics_, "frozen_", None)
        horizons = tuple(float(t) for t in self.horizons) if has_time(outcome) else ()
        self.frozen_ = FrozenModels(parts, score, self.cutoffs_, horizons, self.unit if horizons else "")

    def _note(self, name: str, model: FrozenLinear) -> str:
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
        if not any(RADSCORE in model.names for model in self._parts.values()):
            return frame
        clinical = [name for model in self._parts.values() for name in model.names if name != RADSCORE]
        missing = [name for name in clinical if name not in frame.columns]
        if missing:
            raise ModelError("Predictors are not columns of the table.", found=f"no {listed(missing)}")
        return frame[list(dict.fromkeys(clinical))].assign(**{RADSCORE: self.radscore(frame)})

    def linear_predictor(self, X: Any) -> pd.DataFrame:
        """Log odds (log hazard) by model; index patients, columns the models."""
        table = self._inputs(X)
        return pd.DataFrame({n: m.linear_predictor(table) for n, m in self._parts.items()}, index=table.index)

    def predict_risk(self, X: Any, time: float | None = None) -> pd.DataFrame:
        """Risk by model, 0 to 1 (by a time, default the main horizon); index patients, columns the models."""
        table = self._inputs(X)
        at = self.frozen_.main_horizon if time is None else float(time)
        return pd.DataFrame({name: model.risk(table, at) for name, model in self._parts.items()}, index=table.index)

    def predicted(self, X: Any) -> tuple[Array, Array]:
        """Risks (n, models, horizons; without time one horizon) and linear predictors (n, models), from one reading."""
        table = self._inputs(X)
        linear = {name: model.linear_predictor(table) for name, model in self._parts.items()}
        times = [float(time) for time in self.horizons] or [self.frozen_.main_horizon]
        risks = [[model.risk_of(linear[name], at) for name, model in self._parts.items()] for at in times]
        return np.transpose(np.array(risks, dtype=float), (2, 1, 0)), np.column_stack(list(linear.values()))

    def predict(self, X: Any) -> NDArray[np.int64]:
        """1 where the last model's risk reaches its cut-off."""
        risk = self.predict_risk(X)
        name = str(risk.columns[-1])
        return (risk[name].to_numpy() >= self.cutoffs_[name]).astype(np.int64)

    def selections(self) -> dict[str, list[str]]:
        """What was selected: ``radiomics`` (features), ``clinical``, ``biomarkers`` and ``binary`` (predictors)."""
        check_is_fitted(self, "frozen_")
        parts = {
            "clinical": self.clinical_,
            "biomarkers": self.biomarkers_,
            "radiomics": self.radiomics_,
            "binary": self.binary_,
        }
        return {name: list(part.selected_) for name, part in parts.items() if hasattr(part, "selected_")}

    @property
    def has_formula(self) -> bool:
        """Whether every model is a formula of the table's columns."""
        check_is_fitted(self, "frozen_")
        uses_score = any(RADSCORE in model.names for model in self._parts.values())
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
