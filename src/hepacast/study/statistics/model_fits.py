"""What a fit behind a nomogram holds, and the logistic one (Firth where separated), corrected for optimism."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from hepacast.core.seeds import rng
from hepacast.errors import ModelError
from hepacast.evaluation.roc import roc
from hepacast.nomogram import NomogramModel
from hepacast.stats.design import binary_outcome
from hepacast.stats.effects import ratio_of
from hepacast.stats.firth import fit_firth
from hepacast.stats.logistic import fit_logistic
from hepacast.stats.logistic_fit import LogisticFit
from hepacast.study.statistics.terms import Terms

_UNCHECKED = "the model was not validated by the bootstrap"

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = npt.NDArray[np.float64]
MIN_SAMPLES = 20


@dataclass(frozen=True)
class Validation:
    """Performance corrected for optimism by the bootstrap, C by .632+; `draw` makes the calibration figure."""

    c_corrected: float
    slope_corrected: float
    n: int
    c_632: float = float("nan")
    draw: Callable[[], Figure] | None = None


@dataclass(frozen=True)
class ModelFit:
    """A fitted model.

    Attributes
    ----------
    model
        As the nomogram takes it.
    table
        One row a coefficient: coef, se, z, p, ratio, low, high.
    linear_predictor
        Of the patients of the fit (a Cox model's is centered).
    c, c_ci
        Area under the ROC curve, or Harrell's C, in the patients of the fit.
    level
        Of all limits.
    """

    kind: Literal["logistic", "cox"]
    method: str
    outcome: str
    model: NomogramModel
    table: pd.DataFrame
    linear_predictor: Array
    n: int
    n_events: int
    lrt: tuple[float, int, float]
    aic: float
    c: float
    c_ci: tuple[float, float]
    validation: Validation | None
    notes: tuple[str, ...]
    level: float = 0.95

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        check = self.validation
        return {
            "kind": self.kind,
            "method": self.method,
            "outcome": self.outcome,
            "confidence": self.level,
            "n": self.n,
            "n_events": self.n_events,
            "intercept": self.model.intercept,
            "coefficients": self.table.to_dict(orient="index"),
            "knots": {item.name: list(item.knots) for item in self.model.predictors if item.knots},
            "baseline_survival": {f"{t:g}": s for t, s in self.model.baseline.items()},
            "likelihood_ratio": dict(zip(("chi2", "df", "p"), self.lrt, strict=True)),
            "aic": self.aic,
            "c": self.c,
            "c_ci": list(self.c_ci),
            "c_corrected": None if check is None else check.c_corrected,
            "c_632_plus": None if check is None else check.c_632,
            "slope_corrected": None if check is None else check.slope_corrected,
            "bootstrap_samples": 0 if check is None else check.n,
            **(
                {}
                if check is not None
                else {
                    "c_corrected_reason": _UNCHECKED,
                    "c_632_plus_reason": _UNCHECKED,
                    "slope_corrected_reason": _UNCHECKED,
                }
            ),
        }


def fit_logistic_model(
    terms: Terms, y: Array, outcome: str, *, firth: bool = False, n_boot: int = 0, seed: int = 0, level: float = 0.95
) -> ModelFit:
    """A logistic fit; separated data are answered by Firth's penalty.

    Raises
    ------
    OutcomeError, ModelError
        One class only, or no estimate (a predictor is a combination of others).
    """
    y = binary_outcome(y, what=f"outcome {outcome}")
    enough_patients(len(y), terms.matrix.shape[1])
    notes: list[str] = []
    fit = fit_firth(terms.matrix, y, terms.names) if firth else fit_logistic(terms.matrix, y, terms.names)
    if fit.status == "separated":
        notes.append(f"{fit.reason}; Firth's penalized fit is shown.")
        fit = fit_firth(terms.matrix, y, terms.names)
    fit.require()
    main, interactions = terms.split(fit.coef)
    model = NomogramModel(terms.predictors, main, float(fit.intercept), interactions)
    limits = _limits(fit, notes, level)
    table = pd.DataFrame(
        {
            "coef": fit.coef, "se": fit.se[1:], "z": fit.z[1:], "p": fit.p_values[1:], "ratio": ratio_of(fit.coef),
            "low": limits[:, 0], "high": limits[:, 1],
        },
        index=list(terms.names),
    )  # fmt: skip
    lp = fit.linear_predictor(terms.matrix)
    curve = roc(y, lp, level=level)
    check = _validated_logistic(terms, y, n_boot, seed, notes) if n_boot and fit.method != "firth" else None
    if n_boot and fit.method == "firth":
        notes.append("The penalized fit was not validated by the bootstrap.")
    return ModelFit(
        "logistic", fit.method, outcome, model, table, lp, fit.n, fit.n_events, fit.lrt, fit.aic, curve.auc,
        curve.auc_ci, check, tuple(notes), level,
    )  # fmt: skip


def enough_patients(n: int, coefficients: int) -> None:
    """Refuse a model that has a coefficient for every patient.

    Raises
    ------
    ModelError
        There are not more patients than coefficients (the intercept counted).
    """
    if n <= coefficients + 1:
        raise ModelError(
            "There are too few complete patients for so many predictors.",
            expected=f"more than {coefficients + 1} (far more: see `hepacast stats samplesize`)",
            found=f"{n}",
            remedy="use fewer predictors, or those with fewer missing values",
        )


def _limits(fit: LogisticFit, notes: list[str], level: float) -> Array:
    """Limits of the odds ratios, shape (p, 2)."""
    limits = fit.ci(level)[1:]
    # The penalized profile of a nearly separated fit can have several branches between which no root is found.
    if np.isnan(limits).any():
        notes.append("The penalized profile limits were not found; Wald limits are shown.")
        limits = fit.ci(level, method="wald")[1:]
    return ratio_of(limits)


def bootstrap_rows(n: int, n_boot: int, seed: int) -> list[npt.NDArray[np.int64]]:
    """Row numbers of bootstrap samples."""
    generator = rng(seed, "statistics", "nomogram")
    return [generator.integers(0, n, n) for _ in range(n_boot)]


def _validated_logistic(terms: Terms, y: Array, n_boot: int, seed: int, notes: list[str]) -> Validation | None:
    from hepacast.evaluation.bootstrap_validation import c_plus_632, calibrate, logistic_bootstrap, validate

    fits = logistic_bootstrap(terms.matrix, y, bootstrap_rows(len(y), n_boot, seed))
    used = len(fits.rows)
    if fits.failed:
        notes.append(f"{len(fits.failed)} of {n_boot} bootstrap samples had no estimate and are left out.")
    if used < MIN_SAMPLES:
        notes.append("Too few bootstrap samples had an estimate for an optimism correction.")
        return None
    table = validate(fits)
    corrected = calibrate(fits)

    def draw() -> Figure:
        from hepacast.study.statistics.drawing import draw_corrected

        return draw_corrected(corrected.predicted, corrected.apparent, corrected.corrected, n=corrected.n_samples)

    dxy, slope = (float(value) for value in table["index_corrected"].loc[["Dxy", "Slope"]])
    return Validation(0.5 + 0.5 * dxy, slope, used, c_plus_632(fits), draw)
