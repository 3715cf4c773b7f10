"""The segmentation network as it was configured: Figure 2."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from hepacast.figures.boxes import Box, draw_arrow, text_width_mm
from hepacast.figures.style import (
    BLUE,
    DOUBLE_COLUMN_MM,
    GRAY,
    GREEN,
    INK,
    ORANGE,
    VERMILION,
    canvas_axes,
    new_figure,
    styled,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def _times(values: Sequence[float]) -> str:
    return "\N{MULTIPLICATION SIGN}".join(f"{value:g}" for value in values)


@styled
def draw_network(
    features_per_stage: Sequence[int],
    strides: Sequence[Sequence[int]],
    kernels: Sequence[Sequence[int]],
    patch_size: Sequence[int],
    classes: Sequence[str],
    *,
    blocks_per_stage: Sequence[int] | None = None,
    spacing_mm: Sequence[float] | None = None,
    input_channels: int = 1,
    width_mm: float = DOUBLE_COLUMN_MM,
) -> Figure:
    """Encoder, decoder and skip connections, each stage with its channels, size, stride and kernel.

    Parameters
    ----------
    features_per_stage
        Channels of each encoder stage, full resolution first; the decoder mirrors them.
    strides, kernels
        Of each encoder stage, one value an image axis.
    patch_size
        Input voxels.
    classes
        Classes without the background.
    blocks_per_stage
        Convolution blocks of each encoder stage.
    spacing_mm
        Spacing of the resampled image.
    input_channels
        Images per patient.
    """
    count = len(features_per_stage)
    row, top, bottom = 15.0, 9.5, 14.0
    height = top + row * count + bottom
    figure = new_figure(width_mm, height, constrained=False)
    axes = canvas_axes(figure, width_mm, height)
    stages = _stages(features_per_stage, strides, patch_size, width_mm, top, row)
    encoder, decoder = stages
    for i, stage in enumerate(encoder):
        note = f"stride {_times(strides[i])}, kernel {_times(kernels[i])}"
        if blocks_per_stage:
            note += f", {blocks_per_stage[i]} block{'s' if blocks_per_stage[i] != 1 else ''}"
        _draw_stage(axes, stage, BLUE)
        if i < count - 1:
            _draw_stage(axes, decoder[i], GREEN)
            _skip(axes, stage.right, decoder[i].x, stage.middle, note)
        else:
            axes.text(stage.center, stage.bottom + 5.4, note, ha="center", va="center", fontsize=6.5, color=GRAY)
    _vertical_arrows(axes, encoder, decoder)
    _ends(axes, encoder[0], decoder[0] if decoder else encoder[0], classes, input_channels, width_mm)
    _legend(axes, height)
    text = f"Patch {_times(patch_size)} voxels"
    if spacing_mm is not None:
        text += f" of {_times([round(value, 2) for value in spacing_mm])} mm"
    axes.text(2, 3.2, text, fontsize=7, va="center")
    return figure


@dataclass(frozen=True)
class _Stage(Box):
    """A stage's bar, its channels and the size of its feature maps."""

    channels: int = 0
    size: tuple[int, ...] = ()


def _stages(
    features: Sequence[int],
    strides: Sequence[Sequence[int]],
    patch_size: Sequence[int],
    width_mm: float,
    top: float,
    row: float,
) -> tuple[list[_Stage], list[_Stage]]:
    """Where the bars of encoder and decoder stand; the two paths lean towards each other, as a U."""
    count = len(features)
    size = np.asarray(patch_size, dtype=int)
    lean = min(7.0, 36.0 / max(count - 1, 1))
    encoder, decoder = [], []
    for i in range(count):
        if i:
            size = -(-size // np.asarray(strides[i], dtype=int))
        # The bar grows with the logarithm of the channels and shrinks with the feature maps.
        width = 7.0 + 2.2 * float(np.log2(max(features[i], 1) / max(min(features), 1)))
        height = 9.0 - 4.5 * i / max(count - 1, 1)
        y = top + row * i + 4.0 - height / 2
        shape = tuple(int(value) for value in size)
        left = 29.0 + lean * i if i < count - 1 or count == 1 else width_mm / 2
        encoder.append(_Stage(left - width / 2, y, width, height, int(features[i]), shape))
        if i < count - 1:
            decoder.append(_Stage(width_mm - left - width / 2, y, width, height, int(features[i]), shape))
    return encoder, decoder


def _draw_stage(axes: Axes, stage: _Stage, color: str) -> None:
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle((stage.x, stage.y), stage.width, stage.height, facecolor=color, edgecolor="none"))
    axes.text(
        stage.center, stage.middle, str(stage.channels), ha="center", va="center", color="white", fontsize=7,
        fontweight="bold",
    )  # fmt: skip
    axes.text(stage.center, stage.bottom + 2.2, _times(stage.size), ha="center", va="center", color=INK, fontsize=6.3)


def _vertical_arrows(axes: Axes, encoder: Sequence[_Stage], decoder: Sequence[_Stage]) -> None:
    """Down the encoder, through the bottleneck, up the decoder."""
    below = 4.4
    for upper, lower in pairwise(encoder):
        last = lower is encoder[-1]
        end = (lower.x, lower.middle) if last else (lower.center, lower.y)
        draw_arrow(axes, [(upper.center, upper.bottom + below), end], color=VERMILION)
    for i, upper in enumerate(decoder):
        source = decoder[i + 1] if i + 1 < len(decoder) else encoder[-1]
        start = (source.center, source.y) if i + 1 < len(decoder) else (source.right, source.middle)
        draw_arrow(axes, [start, (upper.center, upper.bottom + below)], color=ORANGE)


def _skip(axes: Axes, left: float, right: float, y: float, note: str) -> None:
    draw_arrow(axes, [(left + 0.8, y), (right - 0.8, y)], color=GRAY)
    axes.text((left + right) / 2, y - 2.0, note, ha="center", va="center", fontsize=6.5, color=GRAY)


def _ends(axes: Axes, first: _Stage, last: _Stage, classes: Sequence[str], channels: int, width: float) -> None:
    """Input on the left, softmax and classes on the right."""
    y = first.middle
    axes.text(
        2.0, y - 1.8, "Image" if channels == 1 else f"{channels} images", va="center", fontsize=7, fontweight="bold"
    )
    axes.text(2.0, y + 1.9, f"{channels} channel{'s' if channels > 1 else ''}", va="center", fontsize=6.3)
    draw_arrow(axes, [(16.5, y), (first.x, y)])
    lines = ["background", *classes]
    draw_arrow(axes, [(last.right, y), (width - 19.5, y)])
    start = y - 1.6 * (len(lines) - 1)
    for i, name in enumerate(lines):
        weight = "bold" if i else "normal"
        axes.text(width - 18.5, start + 3.2 * i, name, ha="left", va="center", fontsize=6.5, fontweight=weight)


def _legend(axes: Axes, height: float) -> None:
    from matplotlib.patches import Rectangle

    y, x = height - 3.5, 2.0
    for color, text, kind in (
        (BLUE, "encoder stage (channels)", "box"),
        (GREEN, "decoder stage", "box"),
        (VERMILION, "strided convolution", "line"),
        (ORANGE, "transposed convolution", "line"),
        (GRAY, "skip connection", "line"),
    ):
        if kind == "box":
            axes.add_patch(Rectangle((x, y - 1.2), 3.4, 2.4, facecolor=color, edgecolor="none"))
        else:
            draw_arrow(axes, [(x, y), (x + 4.2, y)], color=color)
        axes.text(x + 5.4, y, text, va="center", fontsize=6.8)
        x += 5.4 + text_width_mm(text, 6.8) + 5.0
