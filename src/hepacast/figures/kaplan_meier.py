"""Kaplan-Meier curves with the table of numbers at risk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from hepacast.core.p_values import p_sentence
from hepacast.figures.style import DOUBLE_COLUMN_MM, INK, PALETTE, line_style_of, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Numbers = Sequence[float] | np.ndarray


class GroupLine(Protocol):
    """What is drawn of a group: steps from time 0 on, band (empty: none), times of censoring, numbers at risk."""

    @property
    def time(self) -> Numbers: ...

    @property
    def survival(self) -> Numbers: ...

    @property
    def low(self) -> Numbers: ...

    @property
    def high(self) -> Numbers: ...

    @property
    def censored(self) -> Numbers: ...

    @property
    def at_risk(self) -> Sequence[int]: ...


@styled
def draw_km(
    curves: Mapping[str, GroupLine],
    *,
    at_risk_times: Numbers = (),
    p: float | None = None,
    test: str = "log-rank",
    note: str = "",
    rising: bool = False,
    x_label: str = "Time (days)",
    y_label: str = "Survival",
    title: str = "",
    size_mm: tuple[float, float] = (DOUBLE_COLUMN_MM * 0.68, 88.0),
) -> Figure:
    """Survival by group: steps, bands, marks of censoring, numbers at risk, P.

    Parameters
    ----------
    curves
        By name of the group.
    at_risk_times
        Columns of the table below; the curves' `at_risk` belong to them.
    p, test
        P value and the test it comes from.
    note
        A further line below P, for example the hazard ratio.
    rising
        Cumulative incidence: curves rise, and the legend stands on the left.
    """
    figure = new_figure(*size_mm)
    if len(at_risk_times):
        axes, table = figure.subplots(2, 1, sharex=True, height_ratios=[6.2, 0.62 * len(curves) + 0.55])
    else:
        axes, table = figure.add_subplot(), None
    colors = (PALETTE[0], PALETTE[1], *PALETTE[2:])
    end = max(float(np.max(curve.time)) for curve in curves.values())
    for i, (name, curve) in enumerate(curves.items()):
        _draw_curve(axes, name, curve, colors[i % 7], line_style_of(i))
    lines = [f"{p_sentence(p)} ({test})"] if p is not None else []
    lines += [note] if note else []
    # Where the notes begin, as a share of the axes: letters of 7.5 points are about 1.25 mm wide.
    begin = 1.0 - max([30.0, *(1.25 * len(line) for line in lines)]) / (size_mm[0] - 20.0)
    axes.set_ylim(0, 1.02 if rising else _top(list(curves.values()), begin * end, len(curves) + len(lines)))
    axes.set_yticks([0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
    axes.set_xlim(0, end * 1.02)
    axes.set(xlabel=x_label, ylabel=y_label, title=title)
    axes.legend(loc="upper left" if rising else "upper right", borderaxespad=0.2)
    if lines:
        # Curves fall, so the space under the legend in the upper right corner is free, or has been made.
        axes.annotate(
            "\n".join(lines), (0 if rising else 1, 1), xycoords="axes fraction",
            xytext=(5 if rising else -4, -6 - 10.5 * len(curves)), textcoords="offset points",
            ha="left" if rising else "right", va="top", fontsize=7.5, linespacing=1.4,
        )  # fmt: skip
    if table is not None:
        axes.set_xticks(list(at_risk_times))
        axes.tick_params(labelbottom=True)
        _at_risk_table(table, curves, at_risk_times, colors)
    return figure


def _draw_curve(axes: Axes, name: str, curve: GroupLine, color: str, line_style: Any) -> None:
    """Steps, band, marks of censoring."""
    if len(curve.low):
        low, high = np.asarray(curve.low, dtype=float), np.asarray(curve.high, dtype=float)
        axes.fill_between(curve.time, low, high, step="post", color=color, alpha=0.13, linewidth=0)
    axes.step(curve.time, curve.survival, where="post", color=color, label=name, linestyle=line_style)
    if len(curve.censored):
        at = np.searchsorted(np.asarray(curve.time), np.asarray(curve.censored), side="right") - 1
        heights = np.asarray(curve.survival)[np.clip(at, 0, None)]
        axes.plot(curve.censored, heights, "|", color=color, markersize=5, markeredgewidth=0.8)


def _top(curves: Sequence[GroupLine], begin: float, rows: int) -> float:
    """End of the vertical axis: with room for legend and notes, from a time on, above curves that stay high."""
    needed = 0.1 * rows + 0.05
    for curve in curves:
        late = np.asarray(curve.time, dtype=float) >= begin
        before = np.flatnonzero(~late)
        heights = np.asarray(curve.survival, dtype=float)
        reached = heights[late].tolist() + ([float(heights[before[-1]])] if len(before) else [])
        if late.any() and max(reached) > 1.02 - 0.8 * needed:
            return 1.02 + needed
    return 1.02


def _at_risk_table(axes: Axes, curves: Mapping[str, GroupLine], times: Numbers, colors: Sequence[str]) -> None:
    """Numbers at risk, one row a curve, under the times of the plot above."""
    axes.set_ylim(len(curves) - 0.4, -0.6)
    axes.set_title("Number at risk", fontsize=7, fontweight="normal", pad=2)
    for i, curve in enumerate(curves.values()):
        for time, number in zip(times, curve.at_risk, strict=False):
            axes.text(float(time), i, str(number), ha="center", va="center", fontsize=7, color=INK)
    axes.set_yticks(range(len(curves)), list(curves))
    for label, color in zip(axes.get_yticklabels(), colors, strict=False):
        label.set_color(color)
    axes.tick_params(axis="y", length=0, pad=9)
    axes.xaxis.set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
