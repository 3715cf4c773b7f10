"""Cox fits behind a nomogram and a survival table, on columns that do not determine each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hepacast.errors import HepacastError, ModelError, OutcomeError
from hepacast.nomogram import NomogramModel
from hepacast.stats.cox import CoxFit, fit_cox
from hepacast.stats.cox_checks import concordance
from hepacast.stats.resampling import plus_632
from hepacast.stats.ticks import pretty
from hepacast.study.statistics.model_fits import MIN_SAMPLES, ModelFit, Validation, bootstrap_rows
from hepacast.study.statistics.terms import Terms

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = npt.NDArray[np.float64]


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


def fit_cox_model(
    terms: Terms,
    time: Array,
    event: Array,
    outcome: str,
    *,
    at: Sequence[float] = (),
    unit: str = "",
    n_boot: int = 0,
    seed: int = 0,
    level: float = 0.95,
) -> ModelFit:
    """A Cox fit with the survival of the average patient at each time.

    Raises
    ------
    OutcomeError, ModelError
        No event, no estimate, or a time before the first event or beyond the follow-up.
    """
    fit = cox_estimate(terms.matrix, time, event, terms.names)
    center = float(fit.means @ fit.coef)
    times = [float(t) for t in at] or default_times(time, event)
    check_times(times, time, event)
    baseline = {t: float(np.exp(-fit.cumulative_hazard([t], at_means=True)[0])) for t in times}
    main, interactions = terms.split(fit.coef)
    model = NomogramModel(terms.predictors, main, -center, interactions, kind="cox", baseline=baseline)
    table = fit.to_frame(level).rename(columns={"hr": "ratio", "hr_low": "low", "hr_high": "high"})
    lp = fit.linear_predictor(terms.matrix) - center
    found = concordance(time, event, lp)
    notes: list[str] = []
    check = _validated_cox(terms, time, event, (times[-1], unit), n_boot, seed, notes, level) if n_boot else None
    return ModelFit(
        "cox", "efron", outcome, model, table, lp, fit.n, fit.n_events, fit.lrt, fit.aic, found.c,
        found.interval(level), check, tuple(notes), level,
    )  # fmt: skip


def _validated_cox(
    terms: Terms,
    time: Array,
    event: Array,
    horizon: tuple[float, str],
    n_boot: int,
    seed: int,
    notes: list[str],
    level: float,
) -> Validation | None:
    from hepacast.evaluation.cox_validation import calibrate_cox, validate_cox

    # A linear change of the columns leaves the linear predictor, and with it every index, as it is.
    x, _ = uncorrelated(terms.matrix, terms.names)
    drawn = bootstrap_rows(len(time), n_boot, seed)
    # A sample in which a rare level does not occur has no estimate; it is left out and counted like the others.
    usable = [rows for rows in drawn if event[rows].any() and (np.ptp(terms.matrix[rows], axis=0) > 0).all()]
    size = max(20, len(time) // 5)
    try:
        table = validate_cox(x, time, event, usable)
        groups = calibrate_cox(x, time, event, horizon[0], usable, group_size=size)
    except (HepacastError, np.linalg.LinAlgError) as problem:
        notes.append(f"No optimism correction: {problem}".split("\n")[0])
        return None
    used = int(table["n"].iloc[0])
    if used < n_boot:
        notes.append(f"{n_boot - used} of {n_boot} bootstrap samples had no estimate and are left out.")
    if used < MIN_SAMPLES:
        notes.append("Too few bootstrap samples had an estimate for an optimism correction.")
        return None

    def draw() -> Figure:
        from hepacast.study.statistics.drawing import draw_survival_calibration

        return draw_survival_calibration(groups, label=survival_label(*horizon), n=used, level=level)

    dxy, slope = (float(value) for value in table["corrected"].loc[["Dxy", "Slope"]])
    original, outside = (0.5 + 0.5 * float(table[column]["Dxy"]) for column in ("original", "outside"))
    return Validation(0.5 + 0.5 * dxy, slope, used, plus_632(original, outside, 0.5), draw)


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
