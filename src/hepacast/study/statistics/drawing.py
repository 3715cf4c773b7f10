"""Figures that only `hepacast stats` needs: balance of groups, agreement of raters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import norm

from hepacast.figures.style import (
    BLUE,
    DOUBLE_COLUMN_MM,
    GRAY,
    INK,
    PALETTE,
    SINGLE_COLUMN_MM,
    new_figure,
    styled,
)
from hepacast.stats.intervals import ci_label
from hepacast.stats.kaplan_meier import KaplanMeier
from hepacast.stats.logistic_table import HasRatio
from hepacast.stats.ticks import pretty

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BALANCED = 0.1


@styled
def draw_balance(values: Mapping[str, float], *, groups: Sequence[str]) -> Figure:
    """Absolute standardized mean differences, largest first, with the line at 0.1 below which groups are alike."""
    rows = sorted(values.items(), key=lambda item: -item[1])
    figure = new_figure(SINGLE_COLUMN_MM * 1.25, 20 + 5.0 * max(len(rows), 3))
    axes = figure.add_subplot()
    smd = np.array([value for _, value in rows])
    axes.hlines(range(len(rows)), 0, smd, color=GRAY, linewidth=0.7)
    axes.plot(smd, range(len(rows)), "o", color=BLUE, markersize=4.5)
    axes.axvline(BALANCED, color=INK, linewidth=0.8, linestyle=(0, (4, 2)))
    axes.set_yticks(range(len(rows)), [name for name, _ in rows])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0, max(float(smd.max()) * 1.08, 2 * BALANCED))
    axes.set_xlabel("Absolute standardized mean difference" + ("" if len(groups) == 2 else " (mean of all pairs)"))
    return figure


@styled
def draw_differences(
    means: npt.NDArray[np.float64],
    differences: Mapping[str, npt.NDArray[np.float64]],
    *,
    limits: tuple[float, float, float],
    x_label: str,
    y_label: str,
) -> Figure:
    """Differences of ratings against their mean (Bland and Altman), with bias and 95% limits of agreement.

    Parameters
    ----------
    means
        Mean rating of each subject.
    differences
        By name; one entry is drawn without legend.
    limits
        Lower limit, bias, upper limit.
    """
    figure = new_figure(DOUBLE_COLUMN_MM * 0.6, 75)
    axes = figure.add_subplot()
    for i, (name, values) in enumerate(differences.items()):
        # Raters stand side by side, since grades often fall upon each other.
        shift = (i - (len(differences) - 1) / 2) * 0.012 * float(np.ptp(means))
        axes.plot(means + shift, values, "os^Dv<>"[i % 7], color=PALETTE[i % len(PALETTE)], label=name, alpha=0.75)
    for value, text, style in zip(
        limits, ("\N{MINUS SIGN}1.96 SD", "Mean", "+1.96 SD"), ((0, (4, 2)), "-", (0, (4, 2))), strict=True
    ):
        axes.axhline(value, color=INK, linewidth=0.8, linestyle=style)
        axes.annotate(
            f"{text}\n{value:.3g}".replace("\n-", "\n\N{MINUS SIGN}"), (1, value), xycoords=axes.get_yaxis_transform(),
            xytext=(4, 0), textcoords="offset points", va="center", fontsize=7,
        )  # fmt: skip
    spread = max(limits[2] - limits[0], float(np.ptp(np.concatenate(list(differences.values())))), 1e-12)
    everything = np.concatenate([*differences.values(), np.array(limits)])
    axes.set_ylim(everything.min() - 0.12 * spread, everything.max() + 0.12 * spread)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    if len(differences) > 1:
        figure.legend(loc="outside upper center", ncols=min(len(differences), 4))
    return figure


@styled
def draw_corrected(
    predicted: npt.NDArray[np.float64],
    apparent: npt.NDArray[np.float64],
    corrected: npt.NDArray[np.float64],
    *,
    n: int,
) -> Figure:
    """Calibration curve in the patients of the fit, and the same corrected for optimism."""
    figure = new_figure(SINGLE_COLUMN_MM, SINGLE_COLUMN_MM)
    axes = figure.add_subplot()
    top = float(np.nanmax(np.concatenate([predicted, apparent, corrected]))) * 1.05
    axes.plot([0, top], [0, top], color=GRAY, linewidth=0.8, linestyle=(0, (4, 2)), label="Ideal")
    axes.plot(predicted, apparent, color=PALETTE[1], linewidth=1.0, linestyle=(0, (1, 1)), label="Apparent")
    axes.plot(predicted, corrected, color=BLUE, label=f"Optimism-corrected ({n} samples)")
    axes.set_xlim(0, top)
    axes.set_ylim(min(0.0, float(np.nanmin(corrected))), top)
    axes.set_aspect("equal")
    axes.set_xlabel("Predicted risk")
    axes.set_ylabel("Observed share (lowess)")
    axes.legend(loc="upper left", borderaxespad=0.3)
    return figure


@styled
def draw_survival_calibration(groups: pd.DataFrame, *, label: str, n: int, level: float = 0.95) -> Figure:
    """Kaplan-Meier against predicted survival at a time, by groups of similar prediction, with limits."""
    figure = new_figure(SINGLE_COLUMN_MM, SINGLE_COLUMN_MM)
    axes = figure.add_subplot()
    known = groups.dropna(subset=["predicted", "observed"])
    observed, error = known["observed"].to_numpy(), norm.ppf(0.5 + level / 2.0) * known["se"].to_numpy()
    # Limits on the log scale, as those of the Kaplan-Meier curve.
    low, high = observed * np.exp(-error), np.minimum(observed * np.exp(error), 1.0)
    axes.plot([0, 1], [0, 1], color=GRAY, linewidth=0.8, linestyle=(0, (4, 2)), label="Ideal")
    axes.vlines(known["predicted"], low, high, color=BLUE, linewidth=0.9)
    axes.plot(known["predicted"], observed, "o-", color=BLUE, label=f"Observed (Kaplan-Meier, {ci_label(level)})")
    axes.plot(known["predicted"], known["corrected"], "x", color=PALETTE[1], label=f"Corrected ({n} samples)")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.set_aspect("equal")
    axes.set_xlabel(f"{label}, predicted")
    axes.set_ylabel(f"{label}, observed")
    axes.legend(loc="lower right", borderaxespad=0.3)
    return figure


@styled
def draw_auc_over_time(
    time: npt.NDArray[np.float64],
    auc: npt.NDArray[np.float64],
    low: npt.NDArray[np.float64],
    high: npt.NDArray[np.float64],
    *,
    x_label: str,
    ci: str = "95% CI",
) -> Figure:
    """Time-dependent AUC with pointwise limits."""
    figure = new_figure(SINGLE_COLUMN_MM * 1.15, 68)
    axes = figure.add_subplot()
    axes.axhline(0.5, color=GRAY, linewidth=0.8, linestyle=(0, (4, 2)))
    axes.fill_between(time, low, high, color=BLUE, alpha=0.15, linewidth=0)
    axes.plot(time, auc, "o-", color=BLUE)
    axes.set_ylim(min(0.4, float(np.min(low)) - 0.02), 1.02)
    axes.set_xticks(time, [f"{t:g}" for t in time])
    axes.set_xlabel(x_label)
    axes.set_ylabel(f"AUC(t) ({ci})")
    return figure


def draw_ratios(
    lines: Mapping[str, HasRatio], *, measure: str = "Odds ratio", short: str = "OR", ci: str = "95% CI"
) -> Figure:
    """Odds or hazard ratios by term with their limits."""
    from hepacast.figures.forest import ForestRow, draw_forest

    rows = [ForestRow(name, *line.with_limits, line.p) for name, line in lines.items()]
    return draw_forest(rows, measure=measure, short=short, ci=ci)


def draw_curves(curves: Mapping[str, KaplanMeier], *, p: float | None, test: str, note: str, x_label: str) -> Figure:
    """Kaplan-Meier curves with bands, marks of censoring and numbers at risk."""
    from hepacast.evaluation.risk_groups import group_curve
    from hepacast.figures.kaplan_meier import draw_km

    end = max(float(curve.time[-1]) for curve in curves.values())
    times = [float(t) for t in pretty(0.0, end, 6) if t <= end]
    drawn = {}
    for name, curve in curves.items():
        line = group_curve(name, curve, times)
        # A curve that ends at 0 has no limits there.
        high = np.where(np.isnan(line.high), line.survival, line.high)
        drawn[name] = replace(line, low=np.nan_to_num(line.low), high=high)
    return draw_km(drawn, at_risk_times=times, p=p, test=test, note=note, x_label=x_label)
