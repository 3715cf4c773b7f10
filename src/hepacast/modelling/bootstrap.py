"""Optimism of the whole chain by bootstrap: Harrell's correction and Efron's .632+."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from hepacast.core.executor import Progress
from hepacast.errors import HepacastError
from hepacast.modelling.base import Array
from hepacast.modelling.folds import bootstrap_rows
from hepacast.modelling.refit import Refit, Split, model_names, refit_all
from hepacast.modelling.table_order import known_order, order_of
from hepacast.modelling.targets import event_classes, has_time, rank_score, sorted_patients
from hepacast.stats.competing_risks import never_after_competing
from hepacast.stats.cox import fit_cox
from hepacast.stats.logistic import fit_logistic
from hepacast.stats.resampling import (
    MAX_OVERFITTING,
    MonteCarloError,
    location_shifted,
    optimism,
    overfitting_rate,
    plus_632,
)

#: Best value of each measure, and that of a model that knows nothing; see `corrected_table`.
_Bounds = dict[str, tuple[float | None, float | None] | None]
_BOUNDS: _Bounds = {"auc": (1.0, 0.5), "brier": (0.0, None), "slope": None, "intercept": None}
_BOUNDS_OF_TIME: _Bounds = {"c": (1.0, 0.5), "slope": None}

#: Patients from which on samples are drawn only until they are enough; how many are drawn first, and then at a time.
LARGE_COHORT, FEWEST, STEP = 1000, 40, 20
#: Samples are enough when, in every model, the Monte-Carlo standard error of the optimism of AUC or C is 0.001, or an
#: eighth of the sampling standard error (which it then lengthens by less than 1 %), that of a limit 0.005 and that of
#: the optimism of the calibration slope 0.02.
PRECISION = {"optimism": 0.001, "share": 1 / 8, "limits": 0.005, "slope": 0.02}


@dataclass(frozen=True)
class Optimism:
    """Apparent and corrected performance of each model.

    Attributes
    ----------
    table
        One row a model and measure (``auc``, ``brier``, ``slope``, ``intercept``; of time and event ``c`` and
        ``slope``): model, measure, apparent, optimism, corrected, ci_low, ci_high (of bounded measures: see
        `hepacast.stats.resampling.location_shifted`), oob (mean in the patients left out of each sample), plus_632
        (AUC and C only), mc_se (standard error of the optimism by the number of samples: `MonteCarloError`), reason
        (why there are no limits).
    samples
        One row a sample and model: what each refit gave (apparent in its sample, in all patients, out of bag).
    failures
        One entry a failed refit.
    selections
        As in `OutOfFold`.
    n
        Bootstrap samples drawn.
    """

    table: pd.DataFrame
    samples: pd.DataFrame
    failures: list[dict[str, Any]]
    selections: list[dict[str, list[str]]]
    n: int

    def _row(self, model: str, measure: str) -> pd.Series:
        own = self.table[self.table["model"] == model]
        return own.iloc[0] if not measure else own[own["measure"] == measure].iloc[0]

    def value(self, model: str, measure: str = "") -> dict[str, float]:
        """One row of `table` as numbers; by default that of the rank measure, AUC or C."""
        row = self._row(model, measure)
        return {str(name): float(row[name]) for name in self.table.columns[2:-1]}

    def reason(self, model: str, measure: str = "") -> str:
        """Why a corrected measure has no limits; empty where it has."""
        return str(self._row(model, measure)["reason"])


def bootstrap_optimism(
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
    """Refit everything in `n` bootstrap samples and correct the apparent performance.

    Optimism is the mean, over the samples, of a refit's performance in its own sample less that in all patients
    (Harrell, Stat Med 1996;15:361-387). With many more features than patients this is known to correct too little, as
    every refit has seen most of the patients it is judged on: the .632+ estimate (Efron, Tibshirani. JASA 1997;92:548),
    from the patients outside each sample, and nested cross-validation stand beside it for that reason. Samples are
    drawn within the classes (the event, and no event or censored); copies of a patient stay together in inner folds.

    Parameters
    ----------
    models, X, y, seed, workers, progress
        As in `nested_validation`.
    n
        Most samples. In a large cohort (`LARGE_COHORT` patients or more) samples are drawn `STEP` at a time until they
        are enough (`PRECISION`), which depends on the samples alone and not on the workers.
    """
    frame, outcome = sorted_patients(X, y)
    everyone, classes = np.arange(len(frame)), event_classes(outcome)
    bounds, names = _BOUNDS_OF_TIME if has_time(outcome) else _BOUNDS, model_names(models)
    refits: list[Refit] = []
    rows: list[dict[str, Any]] = []
    with known_order(order_of(frame)):
        for first, last in _stretches(n, len(frame)):
            splits = [Split((b,), bootstrap_rows(classes, seed, "optimism", b), everyone) for b in range(first, last)]
            if not refits:
                splits = [Split((-1,), everyone, everyone), *splits]
            told = None if progress is None else _From(progress, len(refits), n + 1)
            found = refit_all(models, frame, outcome, splits, workers=workers, progress=told)
            for split, refit in zip(splits, found):
                rows += _sample_rows(split, refit, outcome, names) if split.label != (-1,) else []
            refits += found
            if last < n and enough(pd.DataFrame(rows), level):
                break
    samples = pd.DataFrame(rows, columns=["sample", "model", "part", *bounds])
    apparent = {name: _performance(outcome, refits[0], column, everyone) for column, name in enumerate(names)}
    return Optimism(
        table=corrected_table(names, apparent, samples, level, bounds),
        samples=samples,
        failures=[{"sample": r.label[0], "reason": r.failure} for r in refits if r.failure],
        selections=[r.selections for r in refits[1:] if not r.failure],
        n=len(refits) - 1,
    )


@dataclass(frozen=True)
class _From:
    """Progress of a part of the samples."""

    progress: Progress
    before: int
    total: int

    def __call__(self, done: int, total: int) -> None:
        self.progress(self.before + done, self.total)


def _stretches(n: int, patients: int) -> list[tuple[int, int]]:
    """Samples that are drawn before it is asked whether they are enough: all at once in a small cohort."""
    stops = [n] if patients < LARGE_COHORT else [*range(FEWEST, n, STEP), n]
    return list(zip([0, *stops[:-1]], stops))


def enough(samples: pd.DataFrame, level: float = 0.95) -> bool:
    """Whether more bootstrap samples (as `Optimism.samples`) would change little: see `PRECISION`."""
    rank = "auc" if "auc" in samples.columns else "c"
    for _, own in samples.groupby("model", sort=False):
        inside, everyone = (own[own["part"] == part] for part in ("sample", "all"))
        found, slope = (
            MonteCarloError.of(inside[name].to_numpy(), everyone[name].to_numpy(), level=level)
            for name in (rank, "slope")
        )
        asked = max(PRECISION["optimism"], PRECISION["share"] * found.sampling)
        # What no sample has (NaN) hinders nothing: more samples would not have it either.
        if found.optimism > asked or found.limits > PRECISION["limits"] or slope.optimism > PRECISION["slope"]:
            return False
    return True


def _sample_rows(split: Split, refit: Refit, outcome: NDArray[Any], names: list[str]) -> list[dict[str, Any]]:
    outside = np.setdiff1d(split.test, split.train)
    parts = (("sample", split.train), ("all", split.test), ("outside", outside))
    return [
        {"sample": split.label[0], "model": name, "part": part, **_performance(outcome, refit, column, members)}
        for column, name in enumerate(names)
        for part, members in parts
    ]


def _performance(outcome: NDArray[Any], refit: Refit, column: int, rows: NDArray[Any]) -> dict[str, float]:
    if refit.risk is None or refit.linear_predictor is None:
        return dict.fromkeys(_BOUNDS_OF_TIME if has_time(outcome) else _BOUNDS, float("nan"))
    score = refit.linear_predictor[rows, column]
    if has_time(outcome):
        return {"c": rank_score(outcome[rows], score), "slope": hazard_slope(outcome[rows], score)}
    return performance(outcome[rows], refit.risk[rows, column, 0], score)


def performance(y: Array, risk: Array, linear_predictor: Array) -> dict[str, float]:
    """AUC, Brier score, calibration slope, and intercept (calibration in the large, slope held at 1).

    The slope is NaN where it does not exist: one class, a constant or separating linear predictor.
    """
    outcome = np.asarray(y, dtype=float)
    both = 0 < outcome.sum() < len(outcome)
    slope = intercept = float("nan")
    if both:
        empty = np.empty((len(outcome), 0))
        large = fit_logistic(empty, outcome, offset=np.clip(linear_predictor, -35, 35))
        intercept = large.intercept if large.ok else intercept
        if np.ptp(linear_predictor) > 0:
            fit = fit_logistic(np.clip(linear_predictor, -35, 35)[:, None], outcome)
            slope = float(fit.coef[0]) if fit.ok else slope
    return {
        "auc": rank_score(outcome, linear_predictor),
        "brier": float(np.mean((outcome - risk) ** 2)),
        "slope": slope,
        "intercept": float(intercept),
    }


def hazard_slope(y: NDArray[Any], score: Array) -> float:
    """Coefficient of a linear predictor in a Cox model of its own (1 is perfect); NaN where there is none."""
    if not len(y) or not np.isfinite(score).all() or np.ptp(score) == 0:
        return float("nan")
    times, events = never_after_competing(y[:, 0], y[:, 1])
    if not events.any():
        return float("nan")
    try:
        fit = fit_cox(score, times, events)
    except (HepacastError, np.linalg.LinAlgError):
        return float("nan")
    return float(fit.coef[0]) if fit.status == "ok" else float("nan")


def corrected_table(
    names: list[str],
    apparent: dict[str, dict[str, float]],
    samples: pd.DataFrame,
    level: float,
    bounds: Mapping[str, tuple[float | None, float | None] | None],
) -> pd.DataFrame:
    """One row a model and measure, as `Optimism.table`.

    Parameters
    ----------
    apparent
        By model and measure.
    samples
        One row a sample, model and part (``sample``, ``all``, ``outside``).
    bounds
        By measure: its best value and that of a model that knows nothing. None: the measure is the same in every
        sample by construction (a slope is 1), so that its spread says nothing and it has no interval.
    """
    rows = []
    for name in names:
        own = samples[samples["model"] == name]
        parts = {part: own[own["part"] == part].set_index("sample") for part in ("sample", "all", "outside")}
        for measure, bound in bounds.items():
            inside, found = parts["sample"][measure], apparent[name][measure]
            corrected = optimism(found, inside, parts["all"][measure])
            low, high, reason = float("nan"), float("nan"), "the same in every sample by construction"
            outside, plus = float(parts["outside"][measure].mean()), float("nan")
            if bound is not None:
                low, high, reason = location_shifted(inside, corrected.corrected, level=level, perfect=bound[0])
            if bound is not None and bound[1] is not None:
                plus = plus_632(found, outside, bound[1])
                rate = overfitting_rate(found, outside, bound[1])
                if rate > MAX_OVERFITTING:
                    low, high = float("nan"), float("nan")
                    reason = f"relative overfitting is {rate:.2f}, and the correction too small by an unknown amount"
            rows.append(
                {
                    "model": name,
                    "measure": measure,
                    "apparent": found,
                    "optimism": corrected.optimism,
                    "corrected": corrected.corrected,
                    "ci_low": low,
                    "ci_high": high,
                    "oob": outside,
                    "plus_632": plus,
                    "mc_se": MonteCarloError.of(inside.to_numpy(), parts["all"][measure].to_numpy()).optimism,
                    "reason": reason,
                }
            )
    return pd.DataFrame(rows)
