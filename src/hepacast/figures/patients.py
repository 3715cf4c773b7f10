"""Risks of many patients, and what one patient's risk is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hepacast.core.formatting import risk_text
from hepacast.figures.style import BLUE, DOUBLE_COLUMN_MM, GRAY, INK, SINGLE_COLUMN_MM, VERMILION, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Numbers = Sequence[float] | np.ndarray


@dataclass(frozen=True)
class ShareBar:
    """One variable's share in a patient's log odds, with the patient's value as text."""

    label: str
    value: str
    contribution: float


@styled
def draw_waterfall(
    risks: Numbers,
    outcomes: Sequence[int] | np.ndarray,
    *,
    threshold: float | None = None,
    event_label: str = "event",
    no_event_label: str = "no event",
    title: str = "",
    size_mm: tuple[float, float] = (DOUBLE_COLUMN_MM, 62.0),
) -> Figure:
    """Every patient's risk, sorted, coloured by outcome, with the cut-off."""
    from matplotlib.patches import Patch

    order = np.argsort(np.asarray(risks, dtype=float), kind="stable")
    sorted_risks = np.asarray(risks, dtype=float)[order]
    events = np.asarray(outcomes)[order] == 1
    figure = new_figure(*size_mm)
    axes = figure.add_subplot()
    axes.bar(np.arange(len(order)), sorted_risks, 0.86, color=np.where(events, VERMILION, BLUE).tolist(), linewidth=0)
    if threshold is not None and np.isfinite(threshold):
        axes.axhline(threshold, color=INK, linewidth=0.9, linestyle=(0, (4, 2)))
        axes.annotate(
            f"cut-off {threshold:.3f}", (0.008, threshold), xycoords=axes.get_yaxis_transform(), xytext=(0, 2),
            textcoords="offset points", ha="left", va="bottom", fontsize=7,
        )  # fmt: skip
    axes.set(
        ylim=(0, 1),
        xlim=(-1, len(order)),
        xlabel=f"Patients in order of risk (n = {len(order)})",
        ylabel="Predicted risk",
    )
    axes.set_xticks([])
    handles = [Patch(color=VERMILION), Patch(color=BLUE)]
    axes.legend(handles, [event_label, no_event_label], loc="upper left", handlelength=1.2, borderaxespad=0.3)
    if title:
        axes.set_title(title)
    return figure


@styled
def draw_risk_distribution(
    groups: Sequence[tuple[str, Numbers, Sequence[int] | np.ndarray]],
    *,
    event_label: str = "event",
    no_event_label: str = "no event",
    y_label: str = "Predicted risk",
    width_mm: float = SINGLE_COLUMN_MM,
) -> Figure:
    """Risks by outcome for several sets: box (quartiles), and every patient as a point.

    Parameters
    ----------
    groups
        (set name, risks, outcomes 0/1).
    """
    from matplotlib.patches import Patch

    figure = new_figure(width_mm, 76)
    axes = figure.add_subplot()
    for i, (_, risks, outcomes) in enumerate(groups):
        for j, (value, color) in enumerate(((0, BLUE), (1, VERMILION))):
            _box_and_points(axes, i * 2.6 + j, np.asarray(risks, dtype=float)[np.asarray(outcomes) == value], color)
    axes.set_xticks([i * 2.6 + 0.5 for i in range(len(groups))], [name for name, _, _ in groups])
    axes.tick_params(axis="x", length=0)
    # Names of the outcome may be long: under the boxes themselves they would run into one another.
    handles = [Patch(color=BLUE, alpha=0.75), Patch(color=VERMILION, alpha=0.75)]
    figure.legend(handles, [no_event_label, event_label], loc="outside lower center", ncols=2, handlelength=1.2)
    axes.set_ylabel(y_label)
    return figure


@styled
def draw_values(groups: Mapping[str, Numbers], *, label: str, width_mm: float = SINGLE_COLUMN_MM) -> Figure:
    """One measurement by group: box (quartiles), and every patient as a point; values that are NaN are left out.

    Parameters
    ----------
    groups
        Values by the group's name.
    label
        Title of the axis.
    """
    figure = new_figure(width_mm, 66)
    axes = figure.add_subplot()
    for place, values in enumerate(groups.values()):
        _box_and_points(axes, place, np.asarray(values, dtype=float), BLUE)
    axes.set_xticks(range(len(groups)), list(groups))
    axes.set_xlim(-0.7, len(groups) - 0.3)
    axes.tick_params(axis="x", length=0)
    axes.set_ylabel(label)
    return figure


def _box_and_points(axes: Axes, center: float, values: np.ndarray, color: str) -> None:
    chosen = np.sort(values[np.isfinite(values)])
    if not chosen.size:
        return
    # Points are spread by rank, not at random: the same figure every time.
    spread = ((np.arange(chosen.size) * 0.618034) % 1 - 0.5) * 0.5
    axes.plot(center + spread, chosen, "o", color=color, markersize=2.2, alpha=0.55, markeredgewidth=0)
    axes.boxplot(
        chosen, positions=[center], widths=0.66, showfliers=False, manage_ticks=False,
        medianprops={"color": INK, "linewidth": 1.2}, boxprops={"linewidth": 0.7},
        whiskerprops={"linewidth": 0.7}, capprops={"linewidth": 0.7},
    )  # fmt: skip


@styled
def draw_shares(
    bars: Sequence[ShareBar],
    *,
    risk: float | None,
    baseline_risk: float | None = None,
    width_mm: float = DOUBLE_COLUMN_MM,
    x_label: str = "Share in the log odds, against the average patient",
) -> Figure:
    """What pushes one patient's risk up (right) and down (left), in log odds against the average patient.

    Parameters
    ----------
    bars
        In the order given.
    risk
        The patient's risk, in the title; None: no title.
    baseline_risk
        Risk of the average patient, in the title.
    """
    figure = new_figure(width_mm, 20 + 5.0 * max(len(bars), 2))
    axes = figure.add_subplot()
    values = np.array([bar.contribution for bar in bars], dtype=float)
    span = float(np.abs(values).max(initial=1e-9))
    for y, value in enumerate(values):
        axes.barh(y, value, 0.64, color=VERMILION if value > 0 else BLUE, linewidth=0)
        axes.text(
            value + (0.02 if value >= 0 else -0.02) * span, y, f"{value:+.2f}".replace("-", "\N{MINUS SIGN}"),
            ha="left" if value >= 0 else "right", va="center", fontsize=6.8,
        )  # fmt: skip
    axes.axvline(0, color=GRAY, linewidth=0.7)
    low, high = min(values.min(initial=0), 0), max(values.max(initial=0), 0)
    margin = 0.2 * max(high - low, 1e-9)
    axes.set_xlim(low - margin, high + margin)
    axes.set_yticks(range(len(bars)), [f"{bar.label} = {bar.value}" if bar.value else bar.label for bar in bars])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(bars) - 0.4, -0.6)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(x_label)
    if risk is None:
        return figure
    title = f"Risk {risk_text(risk)}"
    if baseline_risk is not None and np.isfinite(baseline_risk):
        title += f" (average patient {risk_text(baseline_risk)})"
    axes.set_title(title)
    return figure
