"""AUCs (of time to an event: C) by center or subgroup, the learning curve, and bars of what a model uses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hepacast.figures.labels import interval
from hepacast.figures.style import (
    BLUE,
    DOUBLE_COLUMN_MM,
    GRAY,
    INK,
    SINGLE_COLUMN_MM,
    VERMILION,
    colors_of,
    line_style_of,
    new_figure,
    styled,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class AreaRow:
    """An AUC or C with limits; `heading` rows have a label only."""

    label: str
    auc: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    heading: bool = False


@styled
def draw_areas(
    rows: Sequence[AreaRow], *, overall: float = float("nan"), measure: str = "AUC", ci: str = "CI"
) -> Figure:
    """AUCs (or C, by `measure`) as a forest; dashed: 0.50; gray: that of all patients; `ci` names the limits."""
    figure = new_figure(DOUBLE_COLUMN_MM, 16 + 4.6 * max(2, len(rows)))
    axes = figure.add_subplot()
    known = [v for row in rows for v in (row.auc, row.low) if np.isfinite(v)]
    axes.set_xlim(max(0.0, min([0.45, *known]) - 0.03), 1.0)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.axvline(0.5, color=GRAY, linewidth=0.8, linestyle=(0, (4, 2)), zorder=0)
    if np.isfinite(overall):
        axes.axvline(overall, color=GRAY, linewidth=0.8, zorder=0)
    labels = []
    for y, row in enumerate(rows):
        labels.append(row.label)
        if row.heading:
            continue
        if np.isfinite(row.auc):
            if np.isfinite(row.low) and np.isfinite(row.high):
                axes.plot([row.low, row.high], [y, y], color=BLUE, linewidth=1.1)
            axes.plot(row.auc, y, "o", color=BLUE, markersize=4)
        text = interval(row.auc, row.low, row.high) if np.isfinite(row.auc) else "not estimable"
        axes.text(1.015, y, text, transform=axes.get_yaxis_transform(), va="center", fontsize=7)
    axes.set_yticks(range(len(rows)), labels)
    for row, tick in zip(rows, axes.get_yticklabels()):
        if row.heading:
            tick.set_fontweight("bold")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(f"{measure} ({ci})")
    return figure


@dataclass(frozen=True)
class LearningLine:
    """One model's AUC or C by size of the training set, with the standard deviation over folds."""

    name: str
    n_train: Sequence[float]
    auc: Sequence[float]
    sd: Sequence[float]


@styled
def draw_learning_curve(lines: Sequence[LearningLine], *, measure: str = "AUC") -> Figure:
    """AUC (or C) in held-out folds by number of training patients; bars are one SD over folds."""
    figure = new_figure(SINGLE_COLUMN_MM, 66)
    axes = figure.add_subplot()
    colors = colors_of([line.name for line in lines])
    for number, line in enumerate(lines):
        x = np.asarray(line.n_train, dtype=float)
        shift = (number - (len(lines) - 1) / 2) * 0.012 * (x.max() - x.min() + 1)
        axes.errorbar(
            x + shift, line.auc, yerr=line.sd, color=colors[number], linestyle=line_style_of(number),
            marker="o", markersize=3, capsize=2, elinewidth=0.8, label=line.name,
        )  # fmt: skip
    axes.axhline(0.5, color=GRAY, linewidth=0.8, linestyle=(0, (4, 2)), zorder=0)
    axes.set(xlabel="Patients in training", ylabel=f"{measure} in held-out folds (± SD)")
    figure.legend(loc="outside upper center", ncols=3)
    return figure


@dataclass(frozen=True)
class BarRow:
    """One predictor: length of its bar, its spread, and whether more of it means less (drawn in the other color)."""

    label: str
    value: float
    spread: float = float("nan")
    falling: bool = False


@styled
def draw_bars(rows: Sequence[BarRow], *, x_label: str, two_colors: bool = False) -> Figure:
    """Horizontal bars, the largest on top."""
    figure = new_figure(DOUBLE_COLUMN_MM, 16 + 4.6 * max(2, len(rows)))
    axes = figure.add_subplot()
    y = np.arange(len(rows))
    colors = [VERMILION if row.falling else BLUE for row in rows]
    axes.barh(y, [row.value for row in rows], color=colors, height=0.62)
    for at, row in zip(y, rows):
        if np.isfinite(row.spread):
            axes.plot([row.value - row.spread, row.value + row.spread], [at, at], color=INK, linewidth=0.8)
    axes.axvline(0, color=INK, linewidth=0.6)
    axes.set_yticks(y, [row.label for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(x_label)
    if two_colors:
        from matplotlib.patches import Patch

        marks = [
            Patch(color=BLUE, label="more of it: more risk"),
            Patch(color=VERMILION, label="more of it: less risk"),
        ]
        figure.legend(handles=marks, loc="outside upper center", ncols=2)
    return figure
