"""Every prediction of a study in one long table: who, of which set, by which fit and model, which risk, what happened.

`Predictions.make` is the only place where such a table is made, `of` and `judged` the only ones that take it apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from hepacast.cohort.outcome import EVER
from hepacast.core.files import atomic_path
from hepacast.errors import ModelError
from hepacast.modelling.base import Array, as_frame, listed
from hepacast.modelling.folds import Integers
from hepacast.modelling.refit import model_names, predicted
from hepacast.modelling.targets import as_target, event_classes, has_time

#: ``apparent``: of training patients by the final models; ``frozen``: of others by these; ``nested``: of training
#: patients by fits without them.
Kind = Literal["apparent", "frozen", "nested"]

COLUMNS = ("patient", "set", "kind", "repeat", "fold", "model", "horizon", "risk", "linear_predictor")
#: Sets that are judged, in this order; training patients twice, by the final models and by fits without them.
JUDGED = ("training", "validation", "external", "nested")
#: Mean risks this close to 0 or 1 have no finite complementary log-log.
_EDGE = 1e-12


@dataclass(frozen=True, eq=False)
class JudgedSet:
    """One set as it is judged: one row a patient, in the order of their identifiers.

    Attributes
    ----------
    name, kind
        Of the set, and how its patients were predicted.
    patients, y
        Who, and what happened: (n,) of 0 and 1, or (n, 2) of time and code.
    risks
        Model -> horizon -> risk; nested ones are the mean over the repeats. A horizon that a model does not know lacks.
    scores
        Model -> what ranks the patients: the risk, or of time and event the linear predictor (nested: the
        complementary log-log of the mean risk, since different fits have no common scale).
    """

    name: str
    kind: str
    patients: list[str]
    y: NDArray[Any]
    risks: dict[str, dict[float, Array]]
    scores: dict[str, Array]

    @property
    def has_time(self) -> bool:
        """Whether `y` is time and code."""
        return has_time(self.y)

    @property
    def times(self) -> Array:
        """Time of each patient, of an outcome that has one."""
        return np.asarray(self.y[:, 0], dtype=float)

    @property
    def codes(self) -> Array:
        """0 without the event (or censored), 1 with it, 2 competing event."""
        return np.asarray(self.y[:, 1] if self.has_time else self.y, dtype=float)

    @property
    def classes(self) -> Integers:
        """1 for the event, else 0."""
        return event_classes(self.y)

    @property
    def n(self) -> int:
        """Patients."""
        return len(self.patients)

    @property
    def n_events(self) -> int:
        """Events among them."""
        return int(self.classes.sum())


@dataclass(frozen=True, eq=False)
class Predictions:
    """The long table, one row a patient, fit, model and horizon: `COLUMNS`, then the outcome.

    The outcome is the column ``outcome`` (0, 1), or ``time`` and ``event`` (code). An outcome without time has the one
    horizon `EVER`. A refit that failed leaves NaN.
    """

    table: pd.DataFrame

    @classmethod
    def make(
        cls,
        patients: Iterable[object],
        y: ArrayLike,
        risk: ArrayLike | None,
        linear_predictor: ArrayLike | None,
        *,
        models: Sequence[str],
        horizons: Sequence[float] = (EVER,),
        set: str,
        kind: Kind,
        repeat: int = 0,
        fold: ArrayLike = 0,
    ) -> Predictions:
        """From arrays.

        Parameters
        ----------
        patients, y
            Length n; `y` of shape (n,) or (n, 2).
        risk
            (n, models, horizons), or (n, models) for one horizon; None where the fit failed.
        linear_predictor
            (n, models); None where the fit failed.
        fold
            Of all patients, or of each.
        """
        names = [str(name) for name in patients]
        target = np.asarray(y)
        shape = (len(names), len(models), len(horizons))
        risks = np.full(shape, np.nan) if risk is None else np.asarray(risk, dtype=float).reshape(shape)
        linear = np.full(shape[:2], np.nan) if linear_predictor is None else np.asarray(linear_predictor, dtype=float)
        folds = np.broadcast_to(np.asarray(fold, dtype=np.int64), (len(names),))
        own: dict[str, Any] = {"patient": names, "set": set, "kind": kind, "repeat": repeat, "fold": folds}
        parts = [
            pd.DataFrame(
                own
                | {"model": model, "horizon": float(horizon)}
                | {"risk": risks[:, column, place], "linear_predictor": linear[:, column]}
                | outcome_columns(target)
            )
            for column, model in enumerate(models)
            for place, horizon in enumerate(horizons)
        ]
        return cls(pd.concat(parts, ignore_index=True))

    @classmethod
    def by(cls, fitted: Any, X: Any, y: ArrayLike, name: str) -> Predictions:
        """Of fitted models for one set of patients: ``apparent`` for the training set, else ``frozen``."""
        frame = as_frame(X)
        risk, linear = predicted(fitted, frame)
        return cls.make(
            frame.index,
            as_target(y, len(frame)) if has_time(y) else np.asarray(y),
            risk,
            linear,
            models=model_names(fitted),
            horizons=horizons_of(fitted),
            set=name,
            kind="apparent" if name == "training" else "frozen",
        )

    @classmethod
    def join(cls, parts: Iterable[Predictions]) -> Predictions:
        """Tables of one outcome under one another."""
        return cls(pd.concat([part.table for part in parts], ignore_index=True))

    @classmethod
    def read(cls, path: Path) -> Predictions:
        """From a Parquet file.

        Raises
        ------
        ModelError
            It is no such table.
        """
        table = pd.read_parquet(path)
        lacking = [name for name in COLUMNS if name not in table.columns]
        if lacking or not ({"outcome"} <= {*table.columns} or {"time", "event"} <= {*table.columns}):
            raise ModelError(
                "This is no table of predictions of this version.",
                expected=listed([*COLUMNS, "outcome, or time and event"], 12),
                found=listed(table.columns, 12),
                where=str(path),
                remedy="run the study again",
            )
        return cls(table)

    def write(self, path: Path) -> None:
        """To a Parquet file, whole or not at all."""
        with atomic_path(path) as temporary:
            self.table.to_parquet(temporary)

    @property
    def has_time(self) -> bool:
        """Whether the outcome is time and event."""
        return "outcome" not in self.table.columns

    @property
    def models(self) -> list[str]:
        """Names of the models, the main one last."""
        return list(dict.fromkeys(self.table["model"]))

    @property
    def horizons(self) -> tuple[float, ...]:
        """Times at which risks are given, rising; the last is the main one."""
        return tuple(sorted(set(self.table["horizon"].astype(float))))

    def of(self, name: str) -> Predictions:
        """Those of one set; ``nested`` are those of the training set by fits without the patient."""
        kind = {"training": "apparent", "nested": "nested"}.get(name, "frozen")
        chosen = self.table["kind"] == kind
        return Predictions(self.table[chosen & (self.table["set"] == name) if kind == "frozen" else chosen])

    def select(self, **values: object) -> Predictions:
        """Rows of which the columns named have these values."""
        chosen = np.ones(len(self.table), dtype=bool)
        for column, value in values.items():
            chosen &= (self.table[column] == value).to_numpy()
        return Predictions(self.table[chosen])

    def __len__(self) -> int:
        return len(self.table)

    @property
    def outcome(self) -> pd.DataFrame:
        """What happened, one row a patient, sorted."""
        columns = ["time", "event"] if self.has_time else ["outcome"]
        return self.table.groupby("patient", sort=True)[columns].first()

    def judged_set(self, name: str, models: Sequence[str] | None = None) -> JudgedSet | None:
        """One set as it is judged; None where it has no prediction.

        A patient whom a model could not predict at the main horizon in any repeat is left out; the validation counts
        fits that failed.
        """
        part, names = self.of(name), list(self.models if models is None else models)
        if not len(part):
            return None
        kind = str(part.table["kind"].iloc[0])
        outcome, mean, main = part.outcome, part._mean, part.horizons[-1]
        complete = pd.concat([mean["risk"][model, main].reindex(outcome.index) for model in names], axis=1)
        outcome = outcome[complete.notna().all(axis=1)]
        risks: dict[str, dict[float, Array]] = {}
        scores: dict[str, Array] = {}
        for model in names:
            found = {t: mean["risk"][model, t].reindex(outcome.index).to_numpy(dtype=float) for t in part.horizons}
            risks[model] = {t: values for t, values in found.items() if np.isfinite(values).all()}
            if not self.has_time:
                scores[model] = risks[model][main]
            elif kind == "nested":
                scores[model] = np.log(-np.log1p(-np.clip(risks[model][main], _EDGE, 1 - _EDGE)))
            else:
                linear = mean["linear_predictor"][model, main].reindex(outcome.index)
                scores[model] = linear.to_numpy(dtype=float)
        return JudgedSet(name, kind, list(outcome.index), target_of(outcome), risks, scores)

    @cached_property
    def _mean(self) -> pd.DataFrame:
        """Mean over the repeats: index patients, columns (risk or linear predictor, model, horizon)."""
        keys = ["model", "horizon", "patient"]
        mean = self.table.groupby(keys, sort=True)[["risk", "linear_predictor"]].mean()
        wide = mean.unstack(["model", "horizon"])
        assert isinstance(wide, pd.DataFrame)
        return wide

    def judged(self, models: Sequence[str] | None = None) -> dict[str, JudgedSet]:
        """The sets that have predictions, in the order of `JUDGED`."""
        found = {name: self.judged_set(name, models) for name in JUDGED}
        return {name: item for name, item in found.items() if item is not None}


def horizons_of(models: Any) -> tuple[float, ...]:
    """Horizons of an estimator's risks; `EVER` for one that knows no time."""
    return tuple(float(t) for t in getattr(models, "horizons", ())) or (EVER,)


def outcome_columns(y: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """An outcome array as columns of a table."""
    if has_time(y):
        return {"time": y[:, 0].astype(float), "event": y[:, 1].astype(np.int64)}
    return {"outcome": y}


def target_of(table: pd.DataFrame) -> NDArray[Any]:
    """The outcome array of a table's columns, the inverse of `outcome_columns`."""
    if "outcome" in table.columns:
        return table["outcome"].to_numpy(dtype=np.int64)
    return table[["time", "event"]].to_numpy(dtype=float)
