"""The fit behind a nomogram, logistic or Cox by what is predicted, and its correction for optimism."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from hepacast.core.records import Record, sparse
from hepacast.core.seeds import rng
from hepacast.errors import HepacastError, ModelError, OutcomeError
from hepacast.evaluation.roc import roc
from hepacast.nomogram import NomogramModel
from hepacast.stats.cox import CoxFit, fit_cox
from hepacast.stats.cox_checks import concordance
from hepacast.stats.design import binary_outcome
from hepacast.stats.effects import ratio_of
from hepacast.stats.firth import fit_firth
from hepacast.stats.logistic import fit_logistic
from hepacast.stats.logistic_fit import LogisticFit
from hepacast.stats.resampling import plus_632
from hepacast.stats.results import ModelTest
from hepacast.stats.ticks import pretty
from hepacast.study.statistics.terms import Terms

Array = npt.NDArray[np.float64]
MIN_SAMPLES = 20
_UNCHECKED = "the model was not validated by the bootstrap"
NAN = float("nan")


@dataclass(frozen=True)
class Coefficient(Record):
    """A coefficient, and the odds or hazard ratio that it is, with limits."""

    coef: float
    se: float
    z: float
    p: float
    ratio: float
    low: float
    high: float

    @property
    def with_limits(self) -> tuple[float, float, float]:
        """Ratio and its limits."""
        return self.ratio, self.low, self.high


@dataclass(frozen=True)
class ModelFit(Record):
    """A fitted model.

    Attributes
    ----------
    kind, method
        ``logistic`` (``ml`` or ``firth``) or ``cox`` (``efron``).
    confidence
        Level of all limits.
    coefficients
        By name of the column.
    knots, baseline_survival
        Of splines by predictor; survival of the average patient by time.
    c, c_ci
        Area under the ROC curve, or Harrell's C, in the patients of the fit.
    c_corrected, c_632_plus, slope_corrected, bootstrap_samples
        Corrected for optimism by the bootstrap, C also by .632+; NaN with a reason where that was not done.
    model, linear_predictor
        As the nomogram takes it; of the patients of the fit (a Cox model's is centered).
    draw_calibration
        Makes the figure of the validation.
    """

    kind: Literal["logistic", "cox"]
    method: str
    outcome: str
    confidence: float
    n: int
    n_events: int
    intercept: float
    coefficients: dict[str, Coefficient]
    likelihood_ratio: ModelTest
    aic: float
    c: float
    c_ci: tuple[float, float]
    knots: dict[str, tuple[float, ...]] = field(default_factory=dict)
    baseline_survival: dict[str, float] = field(default_factory=dict)
    c_corrected: float = NAN
    c_632_plus: float = NAN
    slope_corrected: float = NAN
    bootstrap_samples: int = 0
    c_corrected_reason: str = sparse("")
    c_632_plus_reason: str = sparse("")
    slope_corrected_reason: str = sparse("")
    notes: tuple[str, ...] = ()
    model: NomogramModel | None = field(default=None, metadata={"stored": False})
    linear_predictor: Any = field(default=None, metadata={"stored": False})
    draw_calibration: Callable[[], Any] | None = field(default=None, metadata={"stored": False})


def fit_model(
    terms: Terms,
    target: Mapping[str, Array],
    *,
    firth: bool = False,
    at: Sequence[float] = (),
    unit: str = "",
    n_boot: int = 0,
    seed: int = 0,
    level: float = 0.95,
) -> ModelFit:
    """A logistic fit of a yes-or-no outcome, a Cox fit of follow-up and event.

    Parameters
    ----------
    target
        The outcome by its name; or time, then event, by theirs.
    firth
        Penalize the logistic fit; separated data are answered so anyway, with a note.
    at, unit
        Cox: times of the average patient's survival; unit of time.
    n_boot, seed
        Bootstrap samples of the correction for optimism; 0: none.
    level
        Of all limits.

    Raises
    ------
    OutcomeError, ModelError
        One class only, no event, no estimate (a predictor is a combination of others, or separates the events), or a
        time before the first event or beyond the follow-up.
    """
    drawn = bootstrap_rows(len(terms.matrix), n_boot, seed)
    if len(target) == 1:
        ((name, y),) = target.items()
        return _fit_logistic(terms, y, name, firth, drawn, level)
    (_, time), (name, event) = target.items()
    return _fit_cox(terms, time, event, name, at, unit, drawn, level)


def _fit_logistic(
    terms: Terms, y: Array, outcome: str, firth: bool, drawn: list[npt.NDArray[np.int64]], level: float
) -> ModelFit:
    y = binary_outcome(y, what=f"outcome {outcome}")
    enough_patients(len(y), terms.matrix.shape[1])
    notes: list[str] = []
    fit = fit_firth(terms.matrix, y, terms.names) if firth else fit_logistic(terms.matrix, y, terms.names)
    if fit.status == "separated":
        notes.append(f"{fit.reason}; Firth's penalized fit is shown.")
        fit = fit_firth(terms.matrix, y, terms.names)
    fit.require()
    limits = _limits(fit, notes, level)
    rows = zip(fit.coef, fit.se[1:], fit.z[1:], fit.p_values[1:], ratio_of(fit.coef), *limits.T, strict=True)
    lp = fit.linear_predictor(terms.matrix)
    curve = roc(y, lp, level=level)
    checked = {}
    if drawn and fit.method == "firth":
        notes.append("The penalized fit was not validated by the bootstrap.")
    elif drawn:
        checked = _validated_logistic(terms, y, drawn, notes)
    main, interactions = terms.split(fit.coef)
    return _model_fit(
        terms, rows, checked, notes, model=NomogramModel(terms.predictors, main, float(fit.intercept), interactions),
        kind="logistic", method=fit.method, outcome=outcome, confidence=level, n=fit.n, n_events=fit.n_events,
        likelihood_ratio=ModelTest(*fit.lrt), aic=fit.aic, c=curve.auc, c_ci=curve.auc_ci, linear_predictor=lp,
    )  # fmt: skip


def _fit_cox(
    terms: Terms,
    time: Array,
    event: Array,
    outcome: str,
    at: Sequence[float],
    unit: str,
    drawn: list[npt.NDArray[np.int64]],
    level: float,
) -> ModelFit:
    fit = cox_estimate(terms.matrix, time, event, terms.names)
    center = float(fit.means @ fit.coef)
    times = [float(t) for t in at] or default_times(time, event)
    check_times(times, time, event)
    baseline = {t: float(np.exp(-fit.cumulative_hazard([t], at_means=True)[0])) for t in times}
    lp = fit.linear_predictor(terms.matrix) - center
    found = concordance(time, event, lp)
    notes: list[str] = []
    checked = _validated_cox(terms, time, event, (times[-1], unit), drawn, notes, level) if drawn else {}
    main, interactions = terms.split(fit.coef)
    return _model_fit(
        terms, fit.to_frame(level).to_numpy(), checked, notes,
        model=NomogramModel(terms.predictors, main, -center, interactions, kind="cox", baseline=baseline),
        kind="cox", method="efron", outcome=outcome, confidence=level, n=fit.n, n_events=fit.n_events,
        likelihood_ratio=ModelTest(*fit.lrt), aic=fit.aic, c=found.c, c_ci=found.interval(level), linear_predictor=lp,
    )  # fmt: skip


def _model_fit(
    terms: Terms, rows: Any, checked: dict[str, Any], notes: Sequence[str], *, model: NomogramModel, **fitted: Any
) -> ModelFit:
    """The record of either fit; `rows` hold coefficient, SE, z, P, ratio and limits of each column."""
    lacking = "" if checked else _UNCHECKED
    return ModelFit(
        intercept=model.intercept,
        coefficients={
            name: Coefficient(*(float(value) for value in row)) for name, row in zip(terms.names, rows, strict=True)
        },
        knots={item.name: tuple(item.knots) for item in model.predictors if item.knots},
        baseline_survival={f"{t:g}": s for t, s in model.baseline.items()},
        notes=tuple(notes),
        model=model,
        c_corrected_reason=lacking,
        c_632_plus_reason=lacking,
        slope_corrected_reason=lacking,
        **fitted,
        **checked,
    )


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


def _enough_samples(used: int, drawn: int, notes: list[str]) -> bool:
    if used < drawn:
        notes.append(f"{drawn - used} of {drawn} bootstrap samples had no estimate and are left out.")
    if used < MIN_SAMPLES:
        notes.append("Too few bootstrap samples had an estimate for an optimism correction.")
    return used >= MIN_SAMPLES


def _validated_logistic(terms: Terms, y: Array, drawn: list[npt.NDArray[np.int64]], notes: list[str]) -> dict[str, Any]:
    from hepacast.evaluation.bootstrap_validation import c_plus_632, calibrate, logistic_bootstrap, validate

    fits = logistic_bootstrap(terms.matrix, y, drawn)
    used = len(fits.rows)
    if not _enough_samples(used, len(drawn), notes):
        return {}
    corrected = calibrate(fits)

    def draw() -> Any:
        from hepacast.study.statistics.drawing import draw_corrected

        return draw_corrected(corrected.predicted, corrected.apparent, corrected.corrected, n=corrected.n_samples)

    dxy, slope = (float(value) for value in validate(fits)["index_corrected"].loc[["Dxy", "Slope"]])
    return _corrected(dxy, slope, used, c_plus_632(fits), draw)


def _corrected(dxy: float, slope: float, used: int, c_632_plus: float, draw: Callable[[], Any]) -> dict[str, Any]:
    return {
        "c_corrected": 0.5 + 0.5 * dxy, "slope_corrected": slope, "bootstrap_samples": used,
        "c_632_plus": c_632_plus, "draw_calibration": draw,
    }  # fmt: skip


def _validated_cox(
    terms: Terms,
    time: Array,
    event: Array,
    horizon: tuple[float, str],
    drawn: list[npt.NDArray[np.int64]],
    notes: list[str],
    level: float,
) -> dict[str, Any]:
    from hepacast.evaluation.cox_validation import calibrate_cox, validate_cox

    # A linear change of the columns leaves the linear predictor, and with it every index, as it is.
    x, _ = uncorrelated(terms.matrix, terms.names)
    # A sample in which a rare level does not occur has no estimate; it is left out and counted like the others.
    usable = [rows for rows in drawn if event[rows].any() and (np.ptp(terms.matrix[rows], axis=0) > 0).all()]
    size = max(20, len(time) // 5)
    try:
        table = validate_cox(x, time, event, usable)
        groups = calibrate_cox(x, time, event, horizon[0], usable, group_size=size)
    except (HepacastError, np.linalg.LinAlgError) as problem:
        notes.append(f"No optimism correction: {problem}".split("\n")[0])
        return {}
    used = int(table["n"].iloc[0])
    if not _enough_samples(used, len(drawn), notes):
        return {}

    def draw() -> Any:
        from hepacast.study.statistics.drawing import draw_survival_calibration

        return draw_survival_calibration(groups, label=survival_label(*horizon), n=used, level=level)

    dxy, slope = (float(value) for value in table["corrected"].loc[["Dxy", "Slope"]])
    original, outside = (0.5 + 0.5 * float(table[column]["Dxy"]) for column in ("original", "outside"))
    return _corrected(dxy, slope, used, plus_632(original, outside, 0.5), draw)


def uncorrelated(x: Array, names: Sequence[str]) -> tuple[Array, Array]:
    """Columns of unit variance that span the same models, and the matrix that carries their coefficients back.

    The columns of a spline nearly determine each other; Newton's method and its test for runaway coefficients work
    on these instead.

    Raises
    ------
    ModelError
        A column is constant, or a combination of others.
    """
    centered = x - x.mean(axis=0)
    scale = centered.std(axis=0)
    constant = [name for name, spread in zip(names, scale, strict=True) if spread == 0]
    if constant:
        raise ModelError("A predictor is constant.", found=", ".join(constant), remedy="leave it out")
    if len(x) <= x.shape[1] or np.linalg.matrix_rank(centered / scale, tol=1e-9 * len(x)) < x.shape[1]:
        raise ModelError(
            "The predictors determine each other (collinear), or there are more of them than patients.",
            found=", ".join(names),
            remedy="leave one out",
        )
    q, r = np.linalg.qr(centered / scale)
    return q * np.sqrt(len(x)), np.linalg.inv(r) * np.sqrt(len(x)) / scale[:, None]


def cox_estimate(x: Array, time: Array, event: Array, names: Sequence[str]) -> CoxFit:
    """`fit_cox` on uncorrelated columns, with every way in which there is no estimate as a message.

    Raises
    ------
    ModelError
        A coefficient runs to infinity (names which), or the predictors do not vary among patients at risk.
    """
    matrix = np.asarray(x, dtype=float)
    basis, back = uncorrelated(matrix, names)
    try:
        fit = fit_cox(basis, time, event, names)
    except np.linalg.LinAlgError as error:
        raise ModelError(
            "The Cox model has no estimate: a predictor does not vary among the patients at risk.",
            found=", ".join(names),
        ) from error
    coef, means = back @ fit.coef, matrix.mean(axis=0)
    if fit.status != "ok" or not np.isfinite(coef).all():
        running = np.abs(coef * matrix.std(axis=0))
        guilty = [name for name, value in zip(names, running, strict=True) if value > 8] or list(names)
        raise ModelError(
            "The Cox model has no finite estimate: a predictor separates the events from the others.",
            found=", ".join(guilty),
            remedy="join its levels, or leave it out",
        )
    # The columns were centered: the baseline of the average patient is the same in both coordinates.
    return replace(fit, coef=coef, covariance=back @ fit.covariance @ back.T, means=means)


def survival_label(t: float, unit: str) -> str:
    """``365-day survival``, or ``Survival at 365`` where the unit of time is not known."""
    return f"{t:g}-{unit.removesuffix('s')} survival" if unit else f"Survival at {t:g}"


def default_times(time: Array, event: Array) -> list[float]:
    """Round times with at least a tenth of the patients still followed and an event before."""
    end, first = float(np.quantile(time, 0.9)), float(time[event == 1].min()) if (event == 1).any() else np.inf
    return [float(t) for t in pretty(0.0, end, 3) if max(first, 1e-12) <= t <= end] or [float(np.median(time))]


def check_times(times: Sequence[float], time: Array, event: Array) -> None:
    """Refuse times at which nothing can be said.

    Raises
    ------
    OutcomeError
        A time is before the first event, or nobody is followed so long.
    """
    for t in times:
        if t > float(time.max()) or not (event[time <= t] == 1).any():
            raise OutcomeError(
                f"Nothing can be said about the time {t:g}.",
                expected=f"from the first event ({time[event == 1].min():g}) to the last follow-up ({time.max():g})"
                if (event == 1).any()
                else "events",
                found=f"{t:g}",
                remedy="choose other times with --at, in the unit of the time column",
            )
