"""A model over calendar time: charts of observed against expected events, calibration and case-mix by window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from hepacast.figures.style import BLUE, DOUBLE_COLUMN_MM, GRAY, INK, PALE, VERMILION, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_HEIGHT = 62.0


@dataclass(frozen=True)
class WindowPoint:
    """A number with limits in one window; NaN where there is none."""

    label: str
    value: float
    low: float = float("nan")
    high: float = float("nan")


@styled
def draw_charts(
    dates: Sequence[str],
    higher: ArrayLike,
    lower: ArrayLike,
    *,
    limit: float,
    alarms: Sequence[int] = (),
    since: int | None = None,
    words: tuple[str, str] = ("more events than expected", "fewer events than expected"),
) -> Figure:
    """Both charts by patient, the one for fewer events downwards, with the limits; dates below.

    Parameters
    ----------
    dates
        ISO dates of the patients, rising.
    higher, lower
        Shape (n,), 0 or more.
    limit
        Dashed, upwards and downwards.
    alarms
        Places (from 0) where a chart passed its limit for the first time.
    since
        Place from which the change probably runs; shaded to the end.
    """
    figure = new_figure(DOUBLE_COLUMN_MM, _HEIGHT)
    axes = figure.add_subplot()
    up, down = np.asarray(higher, dtype=float), -np.asarray(lower, dtype=float)
    x = np.arange(1, up.size + 1)
    if since is not None:
        axes.axvspan(since + 1, up.size, color=PALE, zorder=0, linewidth=0)
    axes.axhline(0, color=INK, linewidth=0.6)
    for sign in (1, -1):
        axes.axhline(sign * limit, color=GRAY, linewidth=0.9, linestyle=(0, (4, 2)))
    axes.plot(x, up, color=VERMILION, linewidth=1.1, label=words[0])
    axes.plot(x, down, color=BLUE, linewidth=1.1, linestyle=(0, (5, 1.5)), label=words[1])
    for place in alarms:
        y = up[place] if up[place] > limit else down[place]
        axes.plot(place + 1, y, "o", color=INK, markersize=4.5, zorder=5)
        axes.annotate(
            dates[place],
            (place + 1, y),
            textcoords="offset points",
            xytext=(-5, 4 if y > 0 else -9),
            ha="right",
            fontsize=7,
        )
    top = max(1.25 * limit, 1.08 * up.max(), -1.08 * down.min())
    axes.set_ylim(-top, top)
    axes.text(
        0.995, limit, "limit", transform=axes.get_yaxis_transform(), ha="right", va="bottom", fontsize=7, color=GRAY
    )
    ticks = np.unique(np.linspace(0, up.size - 1, 6).round().astype(int))
    axes.set_xticks(ticks + 1, [f"{place + 1}\n{dates[place]}" for place in ticks])
    axes.set_xlim(1, up.size)
    axes.yaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
    axes.set(xlabel="Patient and date of prediction", ylabel="CUSUM (log likelihood ratio)")
    figure.legend(loc="outside upper center", ncols=2)
    return figure


@styled
def draw_difference(dates: Sequence[str], difference: ArrayLike) -> Figure:
    """Observed minus expected events so far, by patient."""
    figure = new_figure(DOUBLE_COLUMN_MM / 2, _HEIGHT)
    axes = figure.add_subplot()
    values = np.asarray(difference, dtype=float)
    axes.axhline(0, color=GRAY, linewidth=0.8, linestyle=(0, (4, 2)))
    axes.plot(np.arange(1, values.size + 1), values, color=INK, linewidth=1.1)
    ticks = np.unique(np.linspace(0, values.size - 1, 4).round().astype(int))
    axes.set_xticks(ticks + 1, [f"{place + 1}\n{dates[place][:7]}" for place in ticks])
    axes.set_xlim(1, values.size)
    axes.set(xlabel="Patient and date of prediction", ylabel="Observed − expected events")
    return figure


@styled
def draw_windows(
    points: Sequence[WindowPoint],
    *,
    y_label: str,
    ideal: float | None = None,
    band: tuple[float, float] | None = None,
    log: bool = False,
) -> Figure:
    """A number by window with its limits; dashed: where it should be, gray: where training's middle half was."""
    figure = new_figure(DOUBLE_COLUMN_MM / 2, _HEIGHT)
    axes = figure.add_subplot()
    if band is not None:
        axes.axhspan(*band, color="#E4E7EA", zorder=0, linewidth=0)
    if ideal is not None:
        axes.axhline(ideal, color=GRAY, linewidth=0.8, linestyle=(0, (4, 2)), zorder=1)
    x = np.arange(len(points))
    for place, point in zip(x, points, strict=True):
        if np.isfinite(point.low) and np.isfinite(point.high):
            low = max(point.low, 0.05) if log else point.low
            axes.plot([place, place], [low, point.high], color=BLUE, linewidth=1.1)
        if np.isfinite(point.value):
            axes.plot(place, point.value, "o", color=BLUE, markersize=3.8)
    if log:
        _ratio_axis(axes)
    step = max(1, round(len(points) / 8))
    axes.set_xticks(x[::step], [point.label for point in points][::step], rotation=0 if len(points) < 6 else 45)
    axes.set_xlim(-0.6, len(points) - 0.4)
    axes.set_ylabel(y_label)
    return figure


def _ratio_axis(axes: Axes) -> None:
    """Ratios on a logarithmic axis, with plain numbers."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, 0.5), max(high, 2.0))
    marks = [
        value
        for value in (0.1, 0.2, 0.33, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10)
        if axes.get_ylim()[0] <= value <= axes.get_ylim()[1]
    ]
    axes.set_yticks(marks, [f"{value:g}" for value in marks])
    axes.minorticks_off()
