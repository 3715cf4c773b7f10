"""Pictures of segmentations side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hepacast.figures.style import DOUBLE_COLUMN_MM, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Picture:
    """An RGB(A) or gray image, shape (rows, columns[, channels]), and its caption."""

    pixels: np.ndarray
    caption: str = ""


@styled
def draw_segmentation_examples(
    pictures: Sequence[Picture],
    *,
    columns: int = 2,
    legend: Mapping[str, str] | None = None,
    width_mm: float = DOUBLE_COLUMN_MM,
) -> Figure:
    """Arrange pictures in rows, lettered, with one legend of the contours' colours.

    Parameters
    ----------
    pictures
        In reading order.
    columns
        Pictures a row.
    legend
        Name of each contour: colour.
    """
    from matplotlib.lines import Line2D

    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    cell = width_mm / columns
    ratio = max(item.pixels.shape[0] / item.pixels.shape[1] for item in pictures)
    figure = new_figure(width_mm, rows * ((cell - 3) * ratio + 6.5) + (7 if legend else 0))
    grid = figure.subplots(rows, columns, squeeze=False)
    for i, axes in enumerate(grid.flat):
        axes.axis("off")
        if i < len(pictures):
            axes.imshow(pictures[i].pixels, cmap="gray", interpolation="none")
            axes.set_title(f"({chr(97 + i)}) {pictures[i].caption}".rstrip(), fontsize=7.5, fontweight="normal")
    if legend:
        handles = [Line2D([], [], color=color, linewidth=2) for color in legend.values()]
        figure.legend(handles, list(legend), loc="outside lower center", ncols=len(legend))
    return figure


@styled
def draw_picture(pixels: np.ndarray, *, width_mm: float = DOUBLE_COLUMN_MM) -> Figure:
    """One picture over the whole width, as it is: it has its own titles."""
    figure = new_figure(width_mm, width_mm * pixels.shape[0] / pixels.shape[1], constrained=False)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.axis("off")
    axes.imshow(pixels, cmap="gray", interpolation="none", aspect="auto")
    return figure
