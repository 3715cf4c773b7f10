"""The unit of every validation: fit all models on some patients, predict others, say what was selected or failed."""

from __future__ import annotations

import hashlib
import json
import pickle
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import logit
from sklearn.base import clone

from hepacast.core.executor import Need, Progress, map_items, resolve_workers
from hepacast.core.files import atomic_path
from hepacast.core.kept import is_kept, seal
from hepacast.errors import HepacastError
from hepacast.modelling.base import Array
from hepacast.modelling.folds import Integers
from hepacast.modelling.table_order import TableOrder, known_order, order_of

#: Risks this close to 0 or 1 have no finite log odds in float64.
_EDGE = 1e-12
#: Order of the models of a study; the main one is the last.
ORDER = ("binary", "clinical", "biomarkers", "radiomics", "combined", "joint")
#: Those that read features.
OF_FEATURES = frozenset({"radiomics", "combined", "joint"})
#: A refit that took so many CPU seconds is kept for a run that goes on after this one was stopped.
WORTH_KEEPING = 1.0


@dataclass(frozen=True)
class Split:
    """One refit: rows to fit (may repeat), rows to predict, and what it is called."""

    label: tuple[int, ...]
    train: Integers
    test: Integers


@dataclass(frozen=True)
class Refit:
    """What one refit gave.

    Attributes
    ----------
    risk
        Of each predicted patient (in the order of `Split.test`), model and horizon; None after a failure.
    linear_predictor
        Of each predicted patient and model.
    selections
        What was selected, by part (``radiomics``, ``clinical``).
    failure
        Why there are no predictions; empty otherwise.
    """

    label: tuple[int, ...]
    risk: Array | None
    linear_predictor: Array | None
    selections: dict[str, list[str]] = field(default_factory=dict)
    failure: str = ""


def model_names(models: Any) -> list[str]:
    """Names of the risks that an estimator predicts: its ``models`` parameter, or ``model`` for a plain classifier."""
    names = getattr(models, "models", None)
    if names is None or not hasattr(models, "predict_risk"):
        return ["model"]
    return sorted(names, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))


def predicted(models: Any, frame: pd.DataFrame) -> tuple[Array, Array]:
    """Risks (n, models, horizons) and linear predictors (n, models) of a fitted estimator.

    Plain classifiers give ``predict_proba``, and have the one horizon of an outcome without time.
    """
    if hasattr(models, "predicted"):
        risks, linear = models.predicted(frame)
        return risks, linear
    risk = np.asarray(models.predict_proba(frame), dtype=float)[:, [1]]
    return risk[:, :, None], logit(np.clip(risk, _EDGE, 1 - _EDGE))


@dataclass(frozen=True)
class Refitter:
    """Callable that does one `Split`; holds the data, so that a worker process gets them once.

    Parameters
    ----------
    order
        That of the table's columns, from which ranks and medians of each split follow; None: each split sorts.
    kept
        Folder of refits that were made before; None: each is made.
    """

    models: Any
    frame: pd.DataFrame
    outcome: NDArray[Any]
    order: TableOrder | None = None
    kept: Path | None = None

    def __call__(self, split: Split) -> Refit:
        """Fit a clone on the split's training rows and predict its test rows; or read what an earlier run found."""
        if self.kept is None:
            return self._made(split)
        asked = hashlib.sha256(pickle.dumps((split.label, split.train.tobytes(), split.test.tobytes()), protocol=5))
        path = self.kept / f"{asked.hexdigest()[:32]}.npz"
        if is_kept(path):
            return _read(path, split.label)
        start = time.process_time()
        refit = self._made(split)
        if time.process_time() - start >= WORTH_KEEPING:
            _write(path, refit)
        return refit

    def _made(self, split: Split) -> Refit:
        try:
            with known_order(self.order):
                fitted = clone(self.models).fit(self.frame.iloc[split.train], self.outcome[split.train])
            risk, linear = predicted(fitted, self.frame.iloc[split.test])
        except (HepacastError, np.linalg.LinAlgError) as error:
            # A refit that cannot be made has no prediction: never a substitute.
            return Refit(split.label, None, None, failure=str(error).replace("\n ", ";"))
        selections = fitted.selections() if hasattr(fitted, "selections") else {}
        return Refit(split.label, risk, linear, selections)

    def content(self) -> str:
        """Hash of models, table and outcome."""
        found = hashlib.sha256()

        def add(buffer: pickle.PickleBuffer) -> None:
            found.update(buffer.raw())

        found.update(pickle.dumps((self.models, self.frame, self.outcome), protocol=5, buffer_callback=add))
        return found.hexdigest()[:32]


def _write(path: Path, refit: Refit) -> None:
    """Keep a refit: arrays, and in words what was selected or failed."""
    content: dict[str, Any] = {"told": np.array(json.dumps({"selections": refit.selections, "failure": refit.failure}))}
    if refit.risk is not None:
        content |= {"risk": refit.risk, "linear_predictor": refit.linear_predictor}
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **content)
    seal(path)


def _read(path: Path, label: tuple[int, ...]) -> Refit:
    with np.load(path, allow_pickle=False) as file:
        there = {name: file[name] for name in file.files}
    told = json.loads(str(there["told"]))
    return Refit(label, there.get("risk"), there.get("linear_predictor"), **told)


_folder: ContextVar[Path | None] = ContextVar("folder of refits", default=None)


@contextmanager
def kept_refits(folder: Path) -> Iterator[None]:
    """Inside the block, refits that take long (`WORTH_KEEPING`) are kept, and read where they are there already.

    They go by the content of models, table and outcome, and by the split. The folder's name tells the code; who has
    all that the refits were made for takes it away.
    """
    token = _folder.set(folder)
    try:
        yield
    finally:
        _folder.reset(token)


def refit_all(
    models: Any,
    frame: pd.DataFrame,
    outcome: NDArray[Any],
    splits: Iterable[Split],
    *,
    workers: int | None = 1,
    progress: Progress | None = None,
) -> list[Refit]:
    """Do all splits, on one process or several; the results do not depend on how many."""
    todo = list(splits)
    if resolve_workers(workers) > 1 and len(todo) > 1:
        compile_once()
    refitter, folder = Refitter(models, frame, outcome, order_of(frame)), _folder.get()
    if folder is not None:
        refitter = replace(refitter, kept=folder / refitter.content())
    # A process, and what a refit copies of the table (docs/cohort-size.md).
    need = Need(memory=4e8 + 5.0 * 8 * frame.size)
    return map_items(refitter, todo, workers=workers, progress=progress, need=need)


def compile_once() -> None:
    """Compile the coordinate descent before workers start."""
    # Otherwise every worker of a fresh installation compiles the same loops at the same time.
    from hepacast.stats.penalized import glmnet_path

    X = np.column_stack([np.arange(8.0), np.arange(8.0) % 3])
    glmnet_path(X, np.array([0, 1, 0, 0, 1, 1, 0, 1]), n_lambda=3)
