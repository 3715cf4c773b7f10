"""Controls: the null distribution of the whole chain, and the usual way of estimating, which flatters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t as student
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from hepacast.core.executor import Progress, map_items
from hepacast.core.seeds import rng
from hepacast.errors import ModelError
from hepacast.modelling.base import Array
from hepacast.modelling.clinical import ClinicalModel
from hepacast.modelling.folds import stratified_folds
from hepacast.modelling.impute import TypedImputer
from hepacast.modelling.radscore import Radscore
from hepacast.modelling.refit import OF_FEATURES, Refitter, Split, model_names
from hepacast.modelling.scale import ZScore
from hepacast.modelling.selectors import KBest, LassoSelector
from hepacast.modelling.study_models import StudyModels
from hepacast.modelling.targets import event_classes, has_time, rank_measure, rank_score, sorted_patients
from hepacast.modelling.validation import OutOfFold, nested_validation

CONTROLS = ("permuted outcome", "shuffled features", "noise features")

#: Number of the round that leaves the data as they are.
REAL = -1

#: The null mean may lie so far from 0.50, two-sided, before the chain counts as seeing what it may not (3 SE).
ALARM = 0.0027

#: Makes the models from a round's table and outcome: whatever it does with all patients is part of the chain.
ModelMaker = Callable[[pd.DataFrame, NDArray[Any]], Any]


@dataclass(frozen=True)
class RoundResult:
    """One round of a control: each model's AUC or C (mean within folds; NaN when a refit failed), and what failed."""

    number: int
    values: tuple[float, ...]
    failures: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class NullDistribution:
    """AUCs (of time to an event: C) of the whole chain where there is nothing to find.

    Attributes
    ----------
    control
        What was done to the data.
    values
        By model: one cross-validated AUC or C a round (mean within folds).
    observed
        By model: that of the real data, from the same kind of cross-validation.
    p
        By model: (1 + rounds with `observed` or more) / (1 + rounds).
    failures
        Rounds that could not be fitted, with the reason.
    measure
        ``"AUC"`` or ``"C"``.
    """

    control: str
    values: dict[str, Array]
    observed: dict[str, float]
    p: dict[str, float]
    failures: list[dict[str, Any]]
    measure: str = "AUC"

    @classmethod
    def of(
        cls, control: str, names: Sequence[str], rounds: Sequence[RoundResult], measure: str = "AUC"
    ) -> NullDistribution:
        """From the rounds, that of the real data (number `REAL`) among them."""
        real = next(item for item in rounds if item.number == REAL)
        observed = dict(zip(names, real.values))
        null = {}
        for column, name in enumerate(names):
            values = np.array([item.values[column] for item in rounds if item.number != REAL], dtype=float)
            null[name] = values[np.isfinite(values)]
        p = {name: _permutation_p(null[name], observed[name]) for name in names}
        return cls(control, null, observed, p, [failure for item in rounds for failure in item.failures], measure)

    def verdict(self, model: str) -> Verdict:
        """Whether the chain gives 0.50 where there is nothing to find."""
        return Verdict.of(self.values[model], self.measure)

    def summary(self) -> pd.DataFrame:
        """One row a model: mean of the null values, its standard error, observed value and P."""
        rows = {}
        for name in self.values:
            found = self.verdict(name)
            rows[name] = {
                "null_mean": found.mean,
                "null_se": found.se,
                "observed": self.observed[name],
                "p": self.p[name],
            }
        return pd.DataFrame(rows).T.rename_axis("model")


@dataclass(frozen=True)
class Verdict:
    """A null distribution against 0.50.

    Attributes
    ----------
    mean, se, sd
        Of the null AUCs or Cs; `se` is the error of the mean.
    low, high
        Limits of the mean that leave out 0.27% (three standard errors of many rounds; Student's t of few).
    status
        ``"holds"`` (0.50 lies within), ``"leak"`` (the mean lies above), ``"biased"`` (below), or ``"unknown"`` with
        fewer than two rounds.
    n
        Rounds.
    measure
        ``"AUC"`` or ``"C"``.
    """

    mean: float
    se: float
    sd: float
    low: float
    high: float
    status: str
    n: int
    measure: str = "AUC"

    @classmethod
    def of(cls, values: Array, measure: str = "AUC") -> Verdict:
        """Judge null AUCs or Cs."""
        n = len(values)
        mean = float(np.mean(values)) if n else float("nan")
        if n < 2:
            return cls(mean, float("nan"), float("nan"), float("nan"), float("nan"), "unknown", n, measure)
        sd = float(np.std(values, ddof=1))
        se = sd / float(np.sqrt(n))
        half = float(student.ppf(1 - ALARM / 2, n - 1)) * se
        low, high = mean - half, mean + half
        # Rounds that all give exactly 0.50 (no model ever finds a signal) have no spread, and are right.
        status = "leak" if low > 0.5 + 1e-9 else "biased" if high < 0.5 - 1e-9 else "holds"
        return cls(mean, se, sd, low, high, status, n, measure)

    def text(self) -> str:
        """One sentence."""
        if self.status == "unknown":
            return f"cannot be judged: fewer than two rounds gave {'an AUC' if self.measure == 'AUC' else 'a C'}"
        found = f"{self.mean:.3f} ± {self.se:.3f} (mean of {self.n} rounds ± its standard error)"
        return {
            "holds": f"{found}: 0.50 within its error, as it must be",
            "leak": f"{found}: above 0.50 by more than its error allows; the chain sees what it may not",
            "biased": f"{found}: below 0.50 by more than its error allows; the estimate is biased",
        }[self.status]


def _permutation_p(null: Array, observed: float) -> float:
    if not np.isfinite(observed):
        return float("nan")
    return (1 + int((null >= observed - 1e-12).sum())) / (1 + len(null))


def null_distribution(
    models: Any | ModelMaker,
    X: Any,
    y: ArrayLike,
    n: int = 100,
    *,
    control: str = "permuted outcome",
    features: Sequence[str] | None = None,
    folds: int = 5,
    seed: int = 0,
    workers: int | None = 1,
    progress: Progress | None = None,
) -> NullDistribution:
    """Cross-validate the whole chain on data without a relation, again and again.

    Parameters
    ----------
    models, X, y, folds, seed, workers, progress
        As in `nested_validation`; one division of the patients a round. `models` may be a function of a round's table
        and outcome that makes them: a selection that it makes with all patients is the leak that this control finds.
    n
        Rounds.
    control
        ``"permuted outcome"``: the outcomes are dealt anew. ``"shuffled features"``: each patient gets the features of
        another (clinical columns and outcome stay). ``"noise features"``: features are normal random numbers.
    features
        Columns that are features; None: those of `StudyModels`, or all.

    Raises
    ------
    ModelError
        Unknown control.
    """
    runner = ControlRunner.of(models, X, y, control=control, features=features, folds=folds, seed=seed)
    rounds = map_items(runner, [REAL, *range(n)], workers=workers, progress=progress)
    return NullDistribution.of(control, runner.names, rounds, rank_measure(runner.outcome))


@dataclass(frozen=True)
class ControlRunner:
    """Callable that does one round of a control, by its number; `REAL` leaves the data as they are.

    Of time to an event, time and event of a patient stay together, and Harrell's C is judged.
    """

    models: Any | ModelMaker
    frame: pd.DataFrame
    outcome: NDArray[Any]
    control: str
    columns: tuple[str, ...]
    folds: int
    seed: int

    @classmethod
    def of(
        cls,
        models: Any | ModelMaker,
        X: Any,
        y: ArrayLike,
        *,
        control: str = "permuted outcome",
        features: Sequence[str] | None = None,
        folds: int = 5,
        seed: int = 0,
    ) -> ControlRunner:
        """As in `null_distribution`."""
        if control not in CONTROLS:
            raise ModelError("Unknown control.", expected=", ".join(CONTROLS), found=control)
        frame, outcome = sorted_patients(X, y)
        columns = tuple(_feature_columns(models, frame, features))
        return cls(models, frame, outcome, control, columns, folds, seed)

    @property
    def names(self) -> list[str]:
        """Names of the models."""
        return model_names(self._made(self.frame, self.outcome))

    def _made(self, frame: pd.DataFrame, outcome: NDArray[Any]) -> Any:
        return self.models if hasattr(self.models, "get_params") else self.models(frame, outcome)

    def altered(self, number: int) -> tuple[pd.DataFrame, NDArray[Any]]:
        """Table and outcome without their relation; time and event of a patient are dealt together."""
        if number == REAL:
            return self.frame, self.outcome
        generator = rng(self.seed, "control", self.control, number)
        if self.control == "permuted outcome":
            return self.frame, generator.permutation(self.outcome)
        columns = list(self.columns)
        if self.control == "shuffled features":
            changed = self.frame.copy()
            changed[columns] = self.frame[columns].to_numpy()[generator.permutation(len(self.frame))]
            return changed, self.outcome
        noise = generator.normal(size=(len(self.frame), len(columns)))
        parts = [self.frame.drop(columns=columns), pd.DataFrame(noise, index=self.frame.index, columns=columns)]
        return pd.concat(parts, axis=1)[list(self.frame.columns)], self.outcome

    def __call__(self, number: int) -> RoundResult:
        """Cross-validate the chain once on the round's data."""
        frame, outcome = self.altered(number)
        models = self._made(frame, outcome)
        classes = event_classes(outcome)
        fold = stratified_folds(frame.index, classes, self.folds, self.seed, "control-folds", number)
        run = Refitter(models, frame, outcome)
        found, failures = [], []
        for part in range(self.folds):
            rows = np.flatnonzero(fold == part)
            refit = run(Split((number, part), np.flatnonzero(fold != part), rows))
            if refit.linear_predictor is None:
                failures.append({"round": number, "fold": part, "reason": refit.failure})
                continue
            found.append([rank_score(outcome[rows], column) for column in refit.linear_predictor.T])
        if failures:
            return RoundResult(number, (float("nan"),) * len(model_names(models)), tuple(failures))
        # A fold in which nobody can be compared counts for nothing.
        table = pd.DataFrame(found).mean(axis=0, skipna=True)
        return RoundResult(number, tuple(float(value) for value in table))


def _feature_columns(models: Any, frame: pd.DataFrame, features: Sequence[str] | None) -> list[str]:
    if features is not None:
        return list(features)
    if isinstance(models, StudyModels):
        return models._feature_names(frame)
    return [str(name) for name in frame.columns]


def usual_way(
    models: StudyModels,
    X: Any,
    y: ArrayLike,
    *,
    folds: int = 5,
    repeats: int = 10,
    seed: int = 0,
    workers: int | None = 1,
    progress: Progress | None = None,
) -> OutOfFold:
    """The estimate that most papers print, to be shown beside the honest one and labelled as what it is.

    Features and clinical predictors are selected on *all* patients; only the last step, the logistic models of what was
    selected, is then cross-validated. The patients that are judged took part in the selection, so the estimate is too
    good: on pure noise it is far above 0.5.
    """
    frame, outcome = sorted_patients(X, y)
    return nested_validation(
        usual_models(models, frame, outcome),
        frame,
        outcome,
        folds=folds,
        repeats=repeats,
        seed=seed,
        workers=workers,
        progress=progress,
    )


def usual_models(models: StudyModels, frame: pd.DataFrame, outcome: NDArray[Any]) -> StudyModels:
    """The models whose features and clinical predictors were selected on all patients of the table."""
    fitted = clone(models).fit(frame, outcome)
    chosen = fitted.selections()
    kept = {*chosen.get("clinical", []), *chosen.get("biomarkers", [])}
    seed = getattr(models.radiomics, "seed", 0)
    # The weights of what was selected: a logistic model, or the LASSO of the Cox model again, as papers do it.
    last = LassoSelector(seed=seed) if has_time(outcome) else KBest(k=10**6)
    chain = Pipeline([("impute", TypedImputer(all_missing="drop")), ("scale", ZScore()), ("weights", last)])
    radscore = Radscore(chain, score="apparent", seed=seed) if has_time(outcome) else Radscore(chain, weights="refit")
    usual: StudyModels = clone(models).set_params(
        predictors=tuple(item for item in models.predictors if item.name in kept),
        radiomics=radscore,
        clinical=ClinicalModel(keep="given"),
        features=chosen.get("radiomics", []),
        site_column=None,
        # The model of the event by a horizon chooses its predictors by itself.
        models=tuple(name for name in models.models if name != "binary"),
    )
    return usual


def selects(models: StudyModels) -> bool:
    """Whether a model selects anything: with given predictors alone the usual way is the honest one."""
    given = models.clinical is not None and models.clinical.keep == "given"
    names = set(models.models) - {"binary"}
    return bool(OF_FEATURES & names) or bool(names and not given)
