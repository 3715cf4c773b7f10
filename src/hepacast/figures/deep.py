"""Figures of networks: training curves, and where a network looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hepacast.figures.style import (
    BLUE,
    DOUBLE_COLUMN_MM,
    GRAY,
    INK,
    colors_of,
    new_figure,
    styled,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TASKS = (("outcome_loss", "Outcome"), ("mask_loss", "Mask"))


@dataclass(frozen=True)
class MapRow:
    """One patient: a slice, the tumor, and two maps on it, all (rows, columns).

    Parameters
    ----------
    title
        Patient, outcome and score.
    image
        As the network sees it.
    mask
        Tumor, 0 or 1.
    grad_cam
        0 to 1.
    occlusion
        Fall of the score where the place is hidden.
    aspect
        Height of a pixel over its width.
    pixel_mm
        Width of a pixel, for the scale bar; none without.
    """

    title: str
    image: np.ndarray
    mask: np.ndarray
    grad_cam: np.ndarray
    occlusion: np.ndarray
    aspect: float = 1.0
    pixel_mm: float | None = None


@styled
def draw_training(histories: Mapping[str, Sequence[Sequence[Mapping[str, Any]]]]) -> Figure:
    """Loss by epoch: one panel a task, one color a network, one thin line a fold, dashed for the inner split.

    Parameters
    ----------
    histories
        Network -> folds -> epochs, each with ``epoch``, ``outcome_loss``, ``mask_loss`` and their ``inner_`` twins.
    """
    from matplotlib.lines import Line2D
    from matplotlib.ticker import MaxNLocator

    shown = [(key, name) for key, name in _TASKS if any(key in run[0] for runs in histories.values() for run in runs)]
    figure = new_figure(DOUBLE_COLUMN_MM, 66)
    colors = colors_of(list(histories))
    inner = False
    for axes, (key, name) in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
        for color, runs in zip(colors, histories.values(), strict=True):
            for run in runs:
                if key not in run[0]:
                    continue
                epochs = [item["epoch"] for item in run]
                axes.plot(epochs, [item[key] for item in run], color=color, linewidth=0.7, alpha=0.8)
                if f"inner_{key}" in run[0]:
                    inner = True
                    axes.plot(epochs, [item[f"inner_{key}"] for item in run], color=color, linewidth=0.7, dashes=(3, 2))
        axes.set(xlabel="Epoch", ylabel=f"{name} loss")
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.set_title(name)
    handles = [Line2D([], [], color=color, label=name) for color, name in zip(colors, histories, strict=True)]
    if inner:
        handles.append(Line2D([], [], color=GRAY, linestyle="--", label="inner split"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


#: Colors of the two maps, how opaque they are at most, and the length of the scale bar.
_HEAT, _FALL, _STRONGEST, _BAR_MM = "inferno", "RdBu_r", 0.8, 20.0


@styled
def draw_maps(rows: Sequence[MapRow]) -> Figure:
    """Two patients side by side, each as the slice with the tumor's contour, Grad-CAM over it, occlusion over it.

    Maps are the more opaque the further they are from 0, so that anatomy is seen where they say nothing.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.ticker import MaxNLocator

    lines = -(-len(rows) // 2)
    across = min(len(rows), 2)
    figure = new_figure(DOUBLE_COLUMN_MM, 39.0 * lines + 17)
    above, below = figure.subfigures(2, 1, height_ratios=[39.0 * lines, 17.0], squeeze=False).flat
    limit = max((float(np.abs(row.occlusion).max()) for row in rows), default=0.0) or 1.0
    heat, hidden = Normalize(0.0, 1.0), Normalize(-limit, limit)
    for number, (row, block) in enumerate(zip(rows, above.subfigures(lines, 2, squeeze=False).flat, strict=False)):
        block.suptitle(f"({chr(97 + number)}) {row.title}", x=0.02, ha="left", fontsize=7.5, fontweight="bold")
        grid = block.subplots(1, 3)
        for axes, name in zip(grid, ("Slice", "Grad-CAM", "Occlusion"), strict=True):
            axes.imshow(row.image, cmap="gray", aspect=row.aspect, interpolation="nearest")
            axes.set_axis_off()
            if number < across:
                axes.set_title(name, fontsize=7, fontweight="normal", loc="center")
        for axes, values, norm, colors in (
            (grid[1], row.grad_cam, heat, _HEAT),
            (grid[2], row.occlusion, hidden, _FALL),
        ):
            opaque = np.clip(1.5 * np.abs(values) / norm.vmax, 0.0, 1.0) * _STRONGEST
            axes.imshow(values, cmap=colors, norm=norm, alpha=opaque, aspect=row.aspect, interpolation="nearest")
        for axes in grid:
            if row.mask.any():
                axes.contour(row.mask, levels=[0.5], colors=[BLUE], linewidths=0.9)
        _scale_bar(grid[0], row)
    for axes, norm, colors, label in zip(
        below.subplots(1, 2),
        (heat, hidden),
        (_HEAT, _FALL),
        ("Grad-CAM", "Occlusion: fall of the log odds"),
        strict=True,
    ):
        bar = figure.colorbar(
            ScalarMappable(norm, colors), ax=axes, location="bottom", label=label, fraction=0.5, pad=0
        )
        bar.locator = MaxNLocator(4)
        bar.update_ticks()
        axes.set_axis_off()
    return figure


def _scale_bar(axes: Axes, row: MapRow) -> None:
    """20 mm in the lower left corner, where they fit."""
    length = _BAR_MM / row.pixel_mm if row.pixel_mm else 0.0
    height, width = row.image.shape
    if 0 < length < 0.6 * width:
        ends, y = [0.06 * width, 0.06 * width + length], 0.94 * height - 0.5
        # A dark edge, for where the image is white.
        for color, thickness in ((INK, 2.6), ("white", 1.6)):
            axes.plot(ends, [y, y], color=color, linewidth=thickness, solid_capstyle="butt")
