"""The picture by which a reader checks a registration: checkerboards, and the reference's contour on each phase."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hepacast.errors import ImageError
from hepacast.figures.style import DOUBLE_COLUMN_MM, ORANGE, new_figure, save_figure, styled
from hepacast.imaging.preprocessing.register import Registration
from hepacast.imaging.resample import to_lps_axes
from hepacast.imaging.volume import Volume
from hepacast.imaging.window import window_for

_CHECKS = 8
_HEADS = ("Before: contour", "After: contour", "Before: checkerboard", "After: checkerboard")


def checkerboard(
    first: npt.NDArray[Any], second: npt.NDArray[Any], step_xy: tuple[float, float], checks: int = _CHECKS
) -> npt.NDArray[np.float64]:
    """Two slices of one grid in alternate squares, the longer side divided into so many."""
    rows, columns = first.shape
    side = max(rows * step_xy[1], columns * step_xy[0]) / checks
    y = (np.arange(rows) * step_xy[1] // side).astype(int)
    x = (np.arange(columns) * step_xy[0] // side).astype(int)
    return np.where((y[:, None] + x[None, :]) % 2 == 0, first, second)


def registration_png(
    reference: Volume,
    moved: Mapping[str, Registration],
    path: str | Path,
    *,
    mask: Volume | None = None,
    name: str = "reference",
    title: str | None = None,
) -> Path:
    """Draw each phase before and after its registration.

    Parameters
    ----------
    reference
        The phase that the others were brought to.
    moved
        Registration by phase.
    path
        A ``.png`` file, written atomically.
    mask
        Drawn as a contour on every picture, and chooses the slice (its largest); the middle slice without one.
    name
        Of the reference, for the rows' labels.

    Raises
    ------
    ImageError
        No phase was registered, or the file is not a PNG.
    """
    path = Path(path)
    if path.suffix.lower() != ".png" or not moved:
        raise ImageError("The picture of a registration is a PNG of one phase or more.", found=str(path))
    base = to_lps_axes(reference)
    outline = None if mask is None else to_lps_axes(mask).array.astype(bool)
    k = base.geometry.shape[0] // 2 if outline is None or not outline.any() else int(outline.sum((1, 2)).argmax())
    figure = _draw(base, moved, k, None if outline is None else outline[k], name, title)
    return save_figure(figure, path.with_suffix(""), formats=("png",), dpi=200)[0]


@styled
def _draw(
    base: Volume,
    moved: Mapping[str, Registration],
    k: int,
    outline: npt.NDArray[np.bool_] | None,
    name: str,
    title: str | None,
) -> Any:
    rows, columns = _body(base.array[k])
    step_x, step_y = base.spacing[0], base.spacing[1]
    size = ((columns.stop - columns.start) * step_x, (rows.stop - rows.start) * step_y)
    label_mm, gap, head, top = 6.0, 1.2, 5.0, (5.0 if title else 0.0)
    width = (DOUBLE_COLUMN_MM - label_mm - 3 * gap) / 4
    height = width * size[1] / size[0]
    total = top + head + len(moved) * (height + 5.0)
    figure = new_figure(DOUBLE_COLUMN_MM, total, constrained=False)
    gray = window_for(base.array).apply(base.array[k][rows, columns])
    cut = None if outline is None else outline[rows, columns]
    for row, (phase, item) in enumerate(moved.items()):
        pair = [to_lps_axes(volume).array[k][rows, columns] for volume in (item.before, item.image)]
        window = window_for(to_lps_axes(item.image).array)
        shown = [window.apply(array) for array in pair]
        boards = [checkerboard(gray, array, (step_x, step_y)) for array in shown]
        bottom = total - top - head - (row + 1) * height - row * 5.0
        pictures: list[npt.NDArray[Any]] = [*shown, *boards]
        for column, picture in enumerate(pictures):
            left = label_mm + column * (width + gap)
            axes = figure.add_axes((left / DOUBLE_COLUMN_MM, bottom / total, width / DOUBLE_COLUMN_MM, height / total))
            axes.imshow(picture, cmap="gray", vmin=0, vmax=1, extent=(0, size[0], size[1], 0), interpolation="nearest")
            if cut is not None and cut.any():
                _contour(axes, cut, (step_x, step_y))
            axes.axis("off")
            if row == 0:
                middle = (left + width / 2) / DOUBLE_COLUMN_MM
                figure.text(middle, 1 - (top + head - 1.2) / total, _HEADS[column], ha="center", va="bottom")
        figure.text(2.5 / DOUBLE_COLUMN_MM, (bottom + height / 2) / total, phase, rotation=90, va="center", ha="center")
        figure.text(label_mm / DOUBLE_COLUMN_MM, (bottom - 1.0) / total, _caption(item, name), va="top", ha="left")
    if title:
        figure.text(label_mm / DOUBLE_COLUMN_MM, 1 - 1.0 / total, title, va="top", ha="left", fontweight="bold")
    return figure


def _caption(item: Registration, name: str) -> str:
    doubts = "".join(f"; {text}" for text in item.doubts)
    used = item.kind if item.used == item.kind else f"{item.kind} asked for, {item.used} taken"
    return (
        f"To {name}, {used}: normalized mutual information {item.mutual_information_before:.3f} to "
        f"{item.mutual_information_after:.3f}, moved by {item.shift_mm:.1f} mm, at most "
        f"{item.displacement_mm:.1f}{doubts}"
    )


def _contour(axes: Any, cut: npt.NDArray[np.bool_], step: tuple[float, float]) -> None:
    padded = np.pad(cut, 1).astype(float)
    x = (np.arange(padded.shape[1]) - 0.5) * step[0]
    y = (np.arange(padded.shape[0]) - 0.5) * step[1]
    axes.contour(x, y, padded, levels=[0.5], colors=["black"], linewidths=1.5, alpha=0.45)
    axes.contour(x, y, padded, levels=[0.5], colors=[ORANGE], linewidths=0.9)


def _body(gray: npt.NDArray[Any]) -> tuple[slice, slice]:
    """Rows and columns with signal, with a margin of two voxels."""
    bright = gray > 0.15 * float(np.percentile(gray, 99))
    rows, columns = np.flatnonzero(bright.any(axis=1)), np.flatnonzero(bright.any(axis=0))
    if len(rows) == 0:
        return slice(0, gray.shape[0]), slice(0, gray.shape[1])
    return (
        slice(max(0, int(rows[0]) - 2), int(rows[-1]) + 3),
        slice(max(0, int(columns[0]) - 2), int(columns[-1]) + 3),
    )
