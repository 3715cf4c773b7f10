"""How honest an AUC is: the ways to validate side by side, the null distribution, selection stability."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hepacast.core.p_values import p_sentence
from hepacast.figures.labels import feature_label, interval
from hepacast.figures.style import (
    BLUE,
    DOUBLE_COLUMN_MM,
    GRAY,
    GREEN,
    INK,
    LIGHT_GRAY,
    PALE,
    SINGLE_COLUMN_MM,
    VERMILION,
    colors_of,
    new_figure,
    styled,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class AucRow:
    """One AUC of one model by one way of validation; `honest` is False for the ways that flatter."""

    model: str
    way: str
    auc: float
    lo: float = float("nan")
    hi: float = float("nan")
    honest: bool = True


@styled
def draw_validation_compare(
    rows: Sequence[AucRow],
    *,
    bayes_auc: float | None = None,
    width_mm: float = DOUBLE_COLUMN_MM,
    measure: str = "AUC",
    ci: str = "CI",
) -> Figure:
    """AUCs by way of validation, one block a model; the ways that flatter are drawn hollow.

    Parameters
    ----------
    rows
        In the order in which they shall appear, models together.
    bayes_auc
        AUC of the true risk (virtual patients only): drawn as a line.
    measure
        What is shown: ``AUC``, or Harrell's ``C``.
    ci
        The limits and their level, as ``95% CI``.
    """
    models = list(dict.fromkeys(row.model for row in rows))
    gap = 0.9
    height = 16 + 5.2 * (len(rows) + gap * (len(models) - 1) + len(models))
    figure = new_figure(width_mm, height)
    axes = figure.add_subplot()
    y, ticks, labels, headings = 0.0, [], [], []
    for model, color in zip(models, colors_of(models), strict=True):
        headings.append((y, model, color))
        y += 1.0
        for row in (item for item in rows if item.model == model):
            _draw_row(axes, row, y, color)
            ticks.append(y)
            labels.append(row.way)
            y += 1.0
        y += gap
    lowest = min([0.5, *(v for row in rows for v in (row.auc, row.lo) if np.isfinite(v))])
    axes.set_xlim(max(0.0, np.floor(lowest * 20 - 0.3) / 20), 1.0)
    axes.set_ylim(y - gap - 0.3, -0.7)
    axes.axvline(0.5, color=LIGHT_GRAY, linewidth=0.8, zorder=0)
    if bayes_auc is not None:
        axes.axvline(bayes_auc, color=GRAY, linewidth=0.9, linestyle=(0, (4, 2)), zorder=0)
        axes.text(
            bayes_auc, -0.75, f"true risk (Bayes) {bayes_auc:.3f}", ha="center", va="bottom", fontsize=7, color=GRAY
        )
    axes.set_yticks(ticks, labels)
    axes.tick_params(axis="y", length=0)
    for position, model, color in headings:
        axes.text(
            -0.012, position, model, transform=axes.get_yaxis_transform(), ha="right", va="center", fontsize=8,
            fontweight="bold", color=color,
        )  # fmt: skip
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(f"{measure} ({ci}); hollow marks: ways that flatter")
    return figure


def _draw_row(axes: Axes, row: AucRow, y: float, color: str) -> None:
    if np.isfinite(row.auc):
        if np.isfinite(row.lo) and np.isfinite(row.hi):
            axes.plot([row.lo, row.hi], [y, y], color=color, linewidth=1.1, alpha=1 if row.honest else 0.55)
        axes.plot(
            row.auc, y, "o" if row.honest else "D", markersize=4.6 if row.honest else 3.8, color=color,
            markerfacecolor=color if row.honest else "white",
        )  # fmt: skip
    text, place = interval(row.auc, row.lo, row.hi), axes.get_yaxis_transform()
    axes.text(1.015, y, text, transform=place, va="center", fontsize=7)


@styled
def draw_null_distribution(
    null_auc: Sequence[float],
    observed: float,
    p: float,
    *,
    width_mm: float = SINGLE_COLUMN_MM,
    measure: str = "AUC",
) -> Figure:
    """AUCs of the whole chain under permuted outcome, and the observed one."""
    figure = new_figure(width_mm, 62)
    axes = figure.add_subplot()
    null = np.asarray(null_auc, dtype=float)
    null = null[np.isfinite(null)]
    low, high = min(null.min(initial=0.3), observed) - 0.02, max(null.max(initial=0.7), observed) + 0.04
    counts, edges = np.histogram(null, bins=np.linspace(low, high, 41))
    axes.stairs(counts, edges, fill=True, color=BLUE, alpha=0.55, linewidth=0)
    top = counts.max(initial=1) * 1.3
    axes.set_ylim(0, top)
    axes.set_xlim(low, high)
    axes.axvline(0.5, color=LIGHT_GRAY, linewidth=0.8, zorder=0)
    axes.axvline(observed, color=VERMILION, linewidth=1.4)
    left = observed > (low + high) / 2
    axes.annotate(
        f"observed {observed:.3f}\n{p_sentence(p)}", (observed, top * 0.97), xytext=(-4 if left else 4, 0),
        textcoords="offset points", ha="right" if left else "left", va="top", color=VERMILION, fontsize=7.5,
    )  # fmt: skip
    axes.set(xlabel=f"Nested {measure} with the outcome shuffled ({null.size} times)", ylabel="Count")
    return figure


@styled
def draw_selection_frequency(
    frequencies: Sequence[tuple[str, float]],
    *,
    selected: Sequence[str] = (),
    refits: int = 0,
    labels: Mapping[str, str] | None = None,
    limit: int = 20,
    width_mm: float = DOUBLE_COLUMN_MM,
) -> Figure:
    """In what share of the refits each variable was selected; those of the final model are filled.

    Parameters
    ----------
    frequencies
        (name, share), drawn in this order; at most `limit`.
    selected
        Names in the final model.
    refits
        Number of refits, for the axis label.
    labels
        Printed names; by default `feature_label`.
    """
    shown = list(frequencies)[:limit]
    figure = new_figure(width_mm, 16 + 4.6 * max(len(shown), 2))
    axes = figure.add_subplot()
    names = [(labels or {}).get(name) or feature_label(name) for name, _ in shown]
    for y, (name, share) in enumerate(shown):
        inside = name in selected
        axes.barh(y, share, 0.68, color=GREEN if inside else PALE, edgecolor=GREEN if inside else GRAY, linewidth=0.6)
        axes.text(share + 0.012, y, f"{share:.0%}", va="center", fontsize=6.8, color=INK)
    axes.set_yticks(range(len(shown)), names)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xlim(0, 1.08)
    axes.set_xticks(np.linspace(0, 1, 6), [f"{v:.0%}" for v in np.linspace(0, 1, 6)])
    axes.set_xlabel(f"Selected in this share of {refits} refits" if refits else "Selected in this share of the refits")
    axes.spines["left"].set_visible(False)
    return figure
