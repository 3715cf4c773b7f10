"""Odds ratios with confidence intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hepacast.core.formatting import NOT_ESTIMABLE, p_text, ratio_with_interval
from hepacast.figures.style import BLUE, DOUBLE_COLUMN_MM, GRAY, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class ForestRow:
    """One ratio: label, estimate, limits, P (NaN: not printed); NaN estimates are printed as not estimable."""

    label: str
    ratio: float
    low: float
    high: float
    p: float = float("nan")


@styled
def draw_forest(
    rows: Sequence[ForestRow],
    *,
    measure: str = "Odds ratio",
    short: str = "OR",
    ci: str = "CI",
    limits: tuple[float, float] = (0.02, 50.0),
    width_mm: float = DOUBLE_COLUMN_MM,
) -> Figure:
    """A forest plot on a log scale; intervals beyond `limits` end in an arrow, and numbers stand on the right.

    Parameters
    ----------
    measure, short
        What is drawn, in full for the axis and short for the column of numbers.
    ci
        The intervals and their level, as ``95% CI``.
    """
    figure = new_figure(width_mm, 18 + 5.0 * max(len(rows), 2))
    axes = figure.add_subplot()
    finite = [v for row in rows for v in (row.ratio, row.low, row.high) if np.isfinite(v) and v > 0]
    low = max(limits[0], min([0.5, *finite]) / 1.25)
    high = min(limits[1], max([2.0, *finite]) * 1.25)
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.axvline(1, color=GRAY, linewidth=0.8, linestyle=(0, (4, 2)))
    for y, row in enumerate(rows):
        if np.isfinite(row.ratio):
            left, right = max(row.low, low), min(row.high, high)
            axes.plot([left, right], [y, y], color=BLUE, linewidth=1.1)
            if row.low < low:
                axes.plot(low, y, "<", color=BLUE, markersize=4, clip_on=False)
            if row.high > high:
                axes.plot(high, y, ">", color=BLUE, markersize=4, clip_on=False)
            if low <= row.ratio <= high:
                axes.plot(row.ratio, y, "s", color=BLUE, markersize=4.2)
        _beside(axes, y, ratio_with_interval(row.ratio, row.low, row.high), row.p)
    for shift, text, style in ((8, f"{short} ({ci})", "normal"), (104, "P", "italic")):
        axes.annotate(
            text, (1, -0.95), xycoords=axes.get_yaxis_transform(), xytext=(shift, 0), textcoords="offset points",
            va="center", fontsize=7, fontweight="bold", fontstyle=style,
        )  # fmt: skip
    ticks = [t for t in (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50) if low <= t <= high]
    if len(ticks) > 8:
        ticks = [t for t in ticks if t in (0.02, 0.1, 0.5, 1, 2, 10, 50)]
    axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
    axes.set_xticks([], minor=True)
    axes.set_yticks(range(len(rows)), [row.label for row in rows])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(f"{measure} ({ci}), log scale")
    return figure


def _beside(axes: Axes, y: float, text: str, p: float) -> None:
    """Numbers on the right of a row: ratio with limits, then P."""
    shown = [(8, text)]
    if np.isfinite(p):
        shown.append((104, p_text(p, NOT_ESTIMABLE)))
    for shift, item in shown:
        axes.annotate(
            item, (1, y), xycoords=axes.get_yaxis_transform(), xytext=(shift, 0), textcoords="offset points",
            va="center", fontsize=7,
        )  # fmt: skip
