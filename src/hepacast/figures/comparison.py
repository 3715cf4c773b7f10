"""Competitors side by side: AUC with limits in rows, one color a set; and training curves of networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hepacast.figures.style import (
    DOUBLE_COLUMN_MM,
    GRAY,
    INK,
    PALETTE,
    VERMILION,
    new_figure,
    styled,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class ScoreRow:
    """One competitor: label, AUC with limits (NaN limits: a point), and whether it is the one to look at."""

    label: str
    auc: float
    low: float = float("nan")
    high: float = float("nan")
    marked: bool = False


@styled
def draw_scores(
    groups: Mapping[str, Sequence[ScoreRow]], *, x_label: str = "AUC (CI)", width_mm: float = DOUBLE_COLUMN_MM
) -> Figure:
    """Rows of points with limits, one panel a group side by side; rows are the same in every group, in its order.

    Parameters
    ----------
    groups
        Title of the panel -> rows. Labels are written once, left of the first panel.
    """
    from matplotlib.ticker import MaxNLocator

    names = list(groups)
    count = max(len(rows) for rows in groups.values())
    figure = new_figure(width_mm, 16 + 4.4 * max(count, 3))
    panels = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    finite = [v for rows in groups.values() for r in rows for v in (r.auc, r.low, r.high) if np.isfinite(v)]
    low = max(0.0, min([0.45, *finite]) - 0.03)
    for number, (axes, name) in enumerate(zip(panels, names, strict=True)):
        axes.axvline(0.5, color=GRAY, linewidth=0.8, linestyle=(0, (4, 2)))
        for y, row in enumerate(groups[name]):
            color = VERMILION if row.marked else INK
            if np.isfinite(row.low) and np.isfinite(row.high):
                axes.plot([row.low, row.high], [y, y], color=color, linewidth=1.1)
            if np.isfinite(row.auc):
                axes.plot(row.auc, y, "s", color=color, markersize=4.0)
        axes.set_xlim(low, 1.02)
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=[2, 5, 10]))
        axes.set_xlabel(x_label)
        axes.set_title(name, fontsize=8)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        if number == 0:
            axes.set_yticks(range(count), [row.label for row in groups[name]])
            axes.set_ylim(count - 0.4, -0.6)
    return figure


@styled
def draw_training(
    curves: Mapping[str, Sequence[Mapping[str, Sequence[float | None]]]],
    *,
    names: Mapping[str, str],
    columns: int = 3,
    width_mm: float = DOUBLE_COLUMN_MM,
) -> Figure:
    """Loss by epoch: one panel a network, one thin line a training.

    Parameters
    ----------
    curves
        Network -> trainings -> name of a loss -> values by epoch (None: not computed).
    names
        Losses to draw and what the legend calls them, in order.
    """
    from matplotlib.lines import Line2D
    from matplotlib.ticker import MaxNLocator

    columns = min(columns, len(curves))
    rows = -(-len(curves) // columns)
    figure = new_figure(width_mm, rows * 42 + 8)
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for number, axes in enumerate(grid.flat):
        if number >= len(curves):
            axes.axis("off")
            continue
        title, trainings = list(curves.items())[number]
        for place, key in enumerate(names):
            for training in trainings:
                values = [np.nan if value is None else float(value) for value in training.get(key, ())]
                axes.plot(range(1, len(values) + 1), values, color=PALETTE[place], linewidth=0.7, alpha=0.75)
        axes.set_title(f"({chr(97 + number)}) {title}" if len(curves) > 1 else title, fontsize=8)
        axes.set_xlabel("Epoch")
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        if number % columns == 0:
            axes.set_ylabel("Loss")
    handles = [Line2D([], [], color=PALETTE[place]) for place in range(len(names))]
    figure.legend(handles, list(names.values()), loc="outside lower center", ncols=len(names))
    return figure
