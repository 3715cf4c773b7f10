"""ROC curves, calibration, decision curves: the panels of Figure 4."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from hepacast.core.estimates import Estimate
from hepacast.figures.labels import interval
from hepacast.figures.style import (
    BLACK,
    BLUE,
    GRAY,
    INK,
    LIGHT_GRAY,
    MM_PER_INCH,
    SINGLE_COLUMN_MM,
    VERMILION,
    colors_of,
    line_style_of,
    new_figure,
    styled,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Numbers = Sequence[float] | np.ndarray


class RocLine(Protocol):
    """What is drawn of a ROC curve: points from (0, 0) to (1, 1)."""

    @property
    def fpr(self) -> Numbers: ...

    @property
    def tpr(self) -> Numbers: ...


class ObservedGroup(Protocol):
    """What is drawn of patients of similar risk: mean predicted risk, observed one with limits."""

    @property
    def predicted(self) -> float: ...

    @property
    def observed(self) -> Estimate: ...


class SmoothLine(Protocol):
    """What is drawn of a smoothed calibration: a curve with its band."""

    @property
    def predicted(self) -> Numbers: ...

    @property
    def observed(self) -> Numbers: ...

    @property
    def low(self) -> Numbers: ...

    @property
    def high(self) -> Numbers: ...


class BenefitLine(Protocol):
    """What is drawn of a decision curve: net benefit by threshold probability, with its band (empty: none)."""

    @property
    def thresholds(self) -> Numbers: ...

    @property
    def net_benefit(self) -> Numbers: ...

    @property
    def low(self) -> Numbers: ...

    @property
    def high(self) -> Numbers: ...


@styled
def draw_roc(
    curves: Mapping[str, tuple[RocLine, Estimate]],
    *,
    ci: str = "CI",
    title: str = "",
    size_mm: float = SINGLE_COLUMN_MM,
) -> Figure:
    """ROC curves by name, each with its AUC, whose limits stand in the legend where there are some.

    Parameters
    ----------
    ci
        The limits and their level, as ``95% CI``.
    """
    below = _meets_legend([line for line, _ in curves.values()])
    figure = new_figure(size_mm, size_mm + (3.4 * (len(curves) + 1) if below else 0))
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color=LIGHT_GRAY, linewidth=0.8, zorder=1)
    colors = colors_of(list(curves))
    for i, (name, (curve, auc)) in enumerate(curves.items()):
        text = f"{name}: {interval(auc.value, *auc.ci)}"
        axes.plot(curve.fpr, curve.tpr, color=colors[i], linestyle=line_style_of(i), label=text, clip_on=False)
    _unit_square(axes, "1 \N{MINUS SIGN} specificity", "Sensitivity")
    place = {"loc": "outside lower center"} if below else {"loc": "lower right", "borderaxespad": 0.3}
    legend = (figure if below else axes).legend(title=f"AUC ({ci})", alignment="left", **place)
    legend.get_title().set_fontsize(7)
    if title:
        axes.set_title(title)
    return figure


def _meets_legend(curves: Sequence[RocLine]) -> bool:
    """Whether a curve runs through the lower right corner, where the legend stands as a rule."""
    height = 0.06 + 0.05 * (len(curves) + 1)
    for curve in curves:
        x, y = np.asarray(curve.fpr, dtype=float), np.asarray(curve.tpr, dtype=float)
        if np.any(np.interp(np.linspace(0.25, 1.0, 60), x, y) < height):
            return True
    return False


def _unit_square(axes: Axes, x_label: str, y_label: str) -> None:
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel=x_label, ylabel=y_label, aspect="equal")
    ticks = np.linspace(0, 1, 6)
    axes.set_xticks(ticks)
    axes.set_yticks(ticks)


@styled
def draw_calibration(
    groups: Sequence[ObservedGroup],
    *,
    smooth: SmoothLine | None = None,
    notes: Sequence[str] = (),
    risks: Numbers = (),
    outcomes: Numbers = (),
    event_label: str = "event",
    no_event_label: str = "no event",
    ci: str = "CI",
    title: str = "",
    size_mm: float = SINGLE_COLUMN_MM,
) -> Figure:
    """Observed against predicted risk, with the distribution of the risks below.

    Parameters
    ----------
    groups
        Patients of similar risk.
    smooth
        Smoothed curve with band.
    notes
        Lines of text in the plot: slope, intercept, ICI.
    risks, outcomes
        Predicted risks and outcomes (0/1) of the patients: histogram up for events, down for the others.
    event_label, no_event_label
        Names of the two groups.
    ci
        The limits of the groups and their level, as ``95% CI``.
    """
    figure = new_figure(size_mm, size_mm * (1.3 if len(risks) else 1.0))
    if len(risks):
        axes, lower = figure.subplots(2, 1, sharex=True, height_ratios=[4.4, 1])
        _risk_histogram(lower, np.asarray(risks), np.asarray(outcomes), event_label, no_event_label)
    else:
        axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color=GRAY, linewidth=0.8, linestyle=(0, (4, 3)), label="Ideal", zorder=1)
    if smooth is not None:
        if len(smooth.low):
            axes.fill_between(
                smooth.predicted,
                np.clip(smooth.low, 0, 1),
                np.clip(smooth.high, 0, 1),
                color=BLUE,
                alpha=0.15,
                linewidth=0,
            )
        axes.plot(smooth.predicted, smooth.observed, color=BLUE, label="Smoothed")
    predicted, low = _observed_groups(axes, groups, f"Groups ({ci})")
    _unit_square(axes, "" if len(risks) else "Predicted risk", "Observed proportion")
    legend = axes.legend(loc="upper left", borderaxespad=0.2, frameon=True, framealpha=0.85, edgecolor="none")
    legend.set_zorder(5)
    raised = _write_notes(axes, predicted, low, notes)
    if title:
        # Above the notes where they stand above the plot.
        axes.set_title(title, loc="left", pad=30 if raised else None)
    return figure


def _observed_groups(axes: Axes, groups: Sequence[ObservedGroup], label: str) -> tuple[np.ndarray, np.ndarray]:
    """Groups as points with their limits; their predicted risks and lower limits."""
    predicted = np.array([group.predicted for group in groups], dtype=float)
    limits = [(group.observed.value, *group.observed.ci) for group in groups]
    observed, low, high = np.array(limits, dtype=float).T
    errors = np.vstack([observed - low, high - observed]).clip(0)
    axes.errorbar(
        predicted, observed, yerr=errors, fmt="o", color=VERMILION, markersize=4, elinewidth=0.8, capsize=1.5,
        label=label, clip_on=False, zorder=4,
    )  # fmt: skip
    return predicted, low


def _write_notes(axes: Axes, predicted: np.ndarray, low: np.ndarray, notes: Sequence[str]) -> bool:
    """Notes in the lower right corner, or above the plot (True) where the data are in the corner."""
    late = predicted > 0.45
    crowded = bool(late.any()) and float(np.nanmin(low[late])) < 0.22
    if not (crowded and notes):
        _corner_notes(axes, notes)
        return False
    text = "\n".join([notes[0], "; ".join(notes[1:])]).strip()
    axes.annotate(
        text, (1, 1), (0, 7), "axes fraction", textcoords="offset points", ha="right", va="bottom", fontsize=7
    )
    return True


def _corner_notes(axes: Axes, notes: Sequence[str]) -> None:
    """Notes in the lower right corner."""
    if notes:
        box = {"boxstyle": "round,pad=0.25", "facecolor": "white", "edgecolor": "none", "alpha": 0.85}
        axes.text(
            0.985, 0.02, "\n".join(notes), transform=axes.transAxes, ha="right", va="bottom", fontsize=7, bbox=box,
            linespacing=1.35, zorder=6,
        )  # fmt: skip


def _risk_histogram(axes: Axes, risks: np.ndarray, outcomes: np.ndarray, event: str, no_event: str) -> None:
    bins = np.linspace(0, 1, 31)
    middle, width = (bins[:-1] + bins[1:]) / 2, bins[1] - bins[0]
    up = np.histogram(risks[outcomes == 1], bins)[0]
    down = np.histogram(risks[outcomes == 0], bins)[0]
    axes.bar(middle, up, width * 0.85, color=VERMILION, linewidth=0)
    axes.bar(middle, -down, width * 0.85, color=BLUE, linewidth=0)
    axes.axhline(0, color=INK, linewidth=0.6)
    top = max(up.max(initial=0), 1)
    bottom = max(down.max(initial=0), 1)
    # Room for the names of the groups, however unequal the two sides are.
    room = 0.4 * (top + bottom)
    axes.set_ylim(-bottom - room, top + room)
    axes.text(0.99, 0.97, event, transform=axes.transAxes, ha="right", va="top", color=VERMILION, fontsize=7)
    axes.text(0.99, 0.03, no_event, transform=axes.transAxes, ha="right", va="bottom", color=BLUE, fontsize=7)
    ticks = [-int(bottom), 0, int(top)] if top > 0.15 * (top + bottom) else [-int(bottom), 0]
    axes.set_yticks(ticks, [str(abs(t)) for t in ticks])
    axes.set(xlabel="Predicted risk", ylabel="Patients")


@styled
def draw_decision(
    curves: Mapping[str, BenefitLine],
    thresholds: Numbers,
    treat_all: Numbers,
    *,
    prevalence: float,
    title: str = "",
    size_mm: tuple[float, float] = (SINGLE_COLUMN_MM, 76.0),
) -> Figure:
    """Decision curves with treat-all and treat-none.

    Parameters
    ----------
    curves
        By name of the model.
    thresholds, treat_all
        Net benefit of treating everyone, by threshold probability.
    prevalence
        Share with the event: the largest net benefit that can be had; it sets the upper limit of the axis.
    """
    figure = new_figure(*size_mm)
    axes = figure.add_subplot()
    axes.axhline(0, color=BLACK, linewidth=0.9, label="Treat none", zorder=1)
    axes.plot(thresholds, treat_all, color=GRAY, linewidth=0.9, linestyle=(0, (2, 1.5)), label="Treat all", zorder=1)
    colors = colors_of(list(curves))
    for i, (name, curve) in enumerate(curves.items()):
        color = colors[i]
        if len(curve.low):
            axes.fill_between(curve.thresholds, curve.low, curve.high, color=color, alpha=0.10, linewidth=0)
        axes.plot(curve.thresholds, curve.net_benefit, color=color, linestyle=line_style_of(i), label=name)
    # Treat-all falls without bound: a little below zero is all that a reader needs of it.
    highest = max([prevalence, *(float(np.nanmax(curve.net_benefit)) for curve in curves.values())])
    top = max([1.12 * highest, *(1.02 * float(np.nanmax(curve.high)) for curve in curves.values() if len(curve.high))])
    axes.set_ylim(-0.35 * highest, top)
    axes.set_xlim(max(0.0, float(np.nanmin(thresholds))), min(1.0, float(np.nanmax(thresholds))))
    axes.set(xlabel="Threshold probability", ylabel="Net benefit")
    handles, labels = axes.get_legend_handles_labels()
    order = [*range(2, len(labels)), 1, 0]
    shown = [handles[i] for i in order], [labels[i] for i in order]
    lines = [(thresholds, treat_all), *((curve.thresholds, curve.net_benefit) for curve in curves.values())]
    if _meets_upper_right(axes, lines, len(labels)):
        columns = 2
        figure.set_size_inches(size_mm[0] / MM_PER_INCH, (size_mm[1] + 3.6 * -(-len(labels) // columns)) / MM_PER_INCH)
        figure.legend(*shown, loc="outside lower center", ncols=columns)
    else:
        axes.legend(*shown, loc="upper right", borderaxespad=0.2)
    if title:
        axes.set_title(title)
    return figure


def _meets_upper_right(axes: Axes, lines: Sequence[tuple[Numbers, Numbers]], n_labels: int) -> bool:
    """Whether a line runs through the upper right corner of the axes, where the legend stands as a rule."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    x = np.linspace(left + 0.55 * (right - left), right, 60)
    limit = top - (0.03 + 0.055 * n_labels) * (top - bottom)
    return any(bool(np.any(np.interp(x, np.asarray(a, float), np.asarray(b, float)) > limit)) for a, b in lines)
