"""Figures that only `hepacast stats` needs: balance of groups, agreement of raters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

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
        axes.plot(means, values, "os^Dv<>"[i % 7], color=PALETTE[i % len(PALETTE)], label=name, alpha=0.75)
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
