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
    colors_of,
    new_figure,
    styled,
)

if TYPE_CHECKING:
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
    """

    title: str
    image: np.ndarray
    mask: np.ndarray
    grad_cam: np.ndarray
    occlusion: np.ndarray
    aspect: float = 1.0


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


@styled
def draw_maps(rows: Sequence[MapRow]) -> Figure:
    """One row a patient: the slice with the tumor's contour, Grad-CAM over it, occlusion over it."""
    from matplotlib.ticker import MaxNLocator

    figure = new_figure(DOUBLE_COLUMN_MM, 52.0 * len(rows) + 12)
    grid = figure.subplots(len(rows), 3, squeeze=False)
    limit = max((float(np.abs(row.occlusion).max()) for row in rows), default=0.0) or 1.0
    heat = hidden = None
    for number, row in enumerate(rows):
        for axes in grid[number]:
            axes.imshow(row.image, cmap="gray", aspect=row.aspect, interpolation="nearest")
            axes.set_xticks([])
            axes.set_yticks([])
            if row.mask.any():
                axes.contour(row.mask, levels=[0.5], colors=[BLUE], linewidths=0.9)
        grid[number][0].set_title(f"({chr(97 + number)}) {row.title}")
        heat = grid[number][1].imshow(row.grad_cam, cmap="inferno", alpha=0.55, vmin=0, vmax=1, aspect=row.aspect)
        hidden = grid[number][2].imshow(
            row.occlusion, cmap="RdBu_r", alpha=0.55, vmin=-limit, vmax=limit, aspect=row.aspect
        )
    if heat is not None and hidden is not None:
        for column, (image, label) in enumerate(((heat, "Grad-CAM"), (hidden, "Occlusion: fall of the log odds")), 1):
            bar = figure.colorbar(image, ax=grid[:, column], location="bottom", label=label, shrink=0.8, pad=0.03)
            bar.locator = MaxNLocator(4)
            bar.update_ticks()
        grid[0][1].set_title("Grad-CAM")
        grid[0][2].set_title("Occlusion")
        figure.colorbar(heat, ax=grid[:, 0], location="bottom", shrink=0.8, pad=0.03).ax.set_visible(False)
    return figure
