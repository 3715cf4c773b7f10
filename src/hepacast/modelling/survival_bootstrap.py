"""Optimism of the whole survival chain by bootstrap: Harrell's C, and the slope of the linear predictor."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from hepacast.core.executor import Progress
from hepacast.errors import HepacastError
from hepacast.modelling.base import Array
from hepacast.modelling.bootstrap import Optimism, corrected_table
from hepacast.modelling.folds import bootstrap_rows
from hepacast.modelling.refit import Split
from hepacast.modelling.survival_follow_up import event_classes, sorted_follow_up
from hepacast.modelling.survival_validation import SurvivalRefit, c_index, refit_survival, survival_names
from hepacast.stats.competing_risks import never_after_competing
from hepacast.stats.cox import fit_cox

MEASURES = ("c", "slope")


def survival_optimism(
    models: Any,
    X: Any,
    y: ArrayLike,
    n: int = 200,
    *,
    seed: int = 0,
    level: float = 0.95,
    workers: int | None = 1,
    progress: Progress | None = None,
) -> Optimism:
    """Refit everything in `n` bootstrap samples, drawn within events and censored, and correct C and slope.

    As `bootstrap_optimism`; measures ``c`` (Harrell's C of the linear predictor) and ``slope`` (its coefficient in a
    Cox model of its own, 1 is perfect).
    """
    frame, outcome = sorted_follow_up(X, y)
    everyone = np.arange(len(frame))
    classes = event_classes(outcome[:, 1])
    splits = [Split((-1,), everyone, everyone)]
    splits += [Split((b,), bootstrap_rows(classes, seed, "optimism", b), everyone) for b in range(n)]
    refits = refit_survival(models, frame, outcome, splits, workers=workers, progress=progress)
    names = survival_names(models)
    rows = [row for split, refit in zip(splits[1:], refits[1:]) for row in _rows(split, refit, outcome, names)]
    samples = pd.DataFrame(rows, columns=["sample", "model", "part", *MEASURES])
    apparent = {name: _performance(outcome, refits[0], column, everyone) for column, name in enumerate(names)}
    return Optimism(
        table=corrected_table(names, apparent, samples, level, {"c": (1.0, 0.5), "slope": None}),
        samples=samples,
        failures=[{"sample": r.label[0], "reason": r.failure} for r in refits if r.failure],
        selections=[r.selections for r in refits[1:] if not r.failure],
        n=n,
    )


def _rows(split: Split, refit: SurvivalRefit, outcome: Array, names: list[str]) -> list[dict[str, Any]]:
    outside = np.setdiff1d(split.test, split.train)
    parts = (("sample", split.train), ("all", split.test), ("outside", outside))
    return [
        {"sample": split.label[0], "model": name, "part": part, **_performance(outcome, refit, column, members)}
        for column, name in enumerate(names)
        for part, members in parts
    ]


def _performance(outcome: Array, refit: SurvivalRefit, column: int, rows: np.ndarray) -> dict[str, float]:
    if refit.linear_predictor is None or not len(rows):
        return dict.fromkeys(MEASURES, float("nan"))
    score = refit.linear_predictor[rows, column]
    return {"c": c_index(outcome[rows], score), "slope": slope_of(outcome[rows], score)}


def slope_of(outcome: Array, score: Array) -> float:
    """Coefficient of a linear predictor in a Cox model of its own; NaN where there is none."""
    times, events = never_after_competing(outcome[:, 0], outcome[:, 1])
    if not np.isfinite(score).all() or np.ptp(score) == 0 or not events.any():
        return float("nan")
    try:
        fit = fit_cox(score, times, events)
    except (HepacastError, np.linalg.LinAlgError):
        return float("nan")
    return float(fit.coef[0]) if fit.status == "ok" else float("nan")
