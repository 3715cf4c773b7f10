"""The null distributions of a chain: one panel a model, with the mean, its error, and the real result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hepacast.core.p_values import p_sentence
from hepacast.figures.style import BLUE, DOUBLE_COLUMN_MM, GRAY, INK, SINGLE_COLUMN_MM, VERMILION, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class NullPanel:
    """AUCs or Cs where there is nothing to find, that of the real data, and the permutation P of it."""

    title: str
    null: Sequence[float]
    observed: float
    p: float
    mean: float
    se: float


@styled
def draw_noise(panels: Sequence[NullPanel], *, what: str = "outcome shuffled", measure: str = "AUC") -> Figure:
    """One histogram a panel, on a common axis; 0.50 dashed, the mean with its standard error, the real result.

    Parameters
    ----------
    panels
        In order.
    what
        What was done to the data, for the axis.
    measure
        ``"AUC"`` or ``"C"``.
    """
    count = len(panels)
    width = SINGLE_COLUMN_MM if count == 1 else DOUBLE_COLUMN_MM
    figure = new_figure(width, 62)
    all_axes = figure.subplots(1, count, squeeze=False, sharex=True)[0]
    known = [v for item in panels for v in (*item.null, item.observed) if np.isfinite(v)]
    low, high = min([0.35, *known]) - 0.02, max([0.65, *known]) + 0.02
    for axes, item in zip(all_axes, panels):
        _draw_panel(axes, item, np.linspace(low, high, 37))
    all_axes[0].set_ylabel("Count")
    figure.supxlabel(f"{measure} of the whole chain, {what} ({len(panels[0].null)} times)", fontsize=8)
    return figure


def _draw_panel(axes: Axes, item: NullPanel, edges: np.ndarray) -> None:
    null = np.asarray(item.null, dtype=float)
    counts, _ = np.histogram(null[np.isfinite(null)], bins=edges)
    axes.stairs(counts, edges, fill=True, color=BLUE, alpha=0.55, linewidth=0)
    top = max(1, counts.max(initial=0)) * 1.2
    axes.set_ylim(0, top)
    axes.set_xlim(edges[0], edges[-1])
    axes.axvline(0.5, color=GRAY, linewidth=0.8, linestyle=(0, (4, 2)), zorder=0)
    # The numbers stand above the panel, where no bar or line can cross them.
    axes.set_title(item.title, fontsize=8, pad=23)
    if np.isfinite(item.mean):
        error = item.se if np.isfinite(item.se) else None
        axes.errorbar(
            item.mean, top * 0.93, xerr=error, fmt="o", markersize=3, color=INK, linewidth=1, capsize=2
        )  # fmt: skip
        text = f"null: mean {item.mean:.3f}" + (f" ± {error:.3f}" if error is not None else "")
        axes.annotate(text, (0, 1), xytext=(0, 12), **_ABOVE)
    if np.isfinite(item.observed):
        axes.axvline(item.observed, color=VERMILION, linewidth=1.4)
        axes.annotate(
            f"real: {item.observed:.3f}, {p_sentence(item.p)}", (0, 1), xytext=(0, 3), color=VERMILION, **_ABOVE
        )  # fmt: skip


_ABOVE: dict[str, Any] = {
    "xycoords": "axes fraction",
    "textcoords": "offset points",
    "ha": "left",
    "va": "bottom",
    "fontsize": 6.8,
}
