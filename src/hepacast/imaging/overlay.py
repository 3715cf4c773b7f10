"""Pictures of masks on axial slices, for reports and for finding out what went wrong.

Shown as radiologists do (the patient's right on the left, front on top), in true proportions, with a scale bar; the
contours' colors are told apart by color-blind readers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hepacast.core import views
from hepacast.errors import ImageError
from hepacast.figures.style import DOUBLE_COLUMN_MM, new_figure, save_figure, styled
from hepacast.imaging.morphology import bounding_box
from hepacast.imaging.resample import resample_mask, to_lps_axes
from hepacast.imaging.volume import Volume
from hepacast.imaging.window import Window, window_for

#: Okabe and Ito's colors that are bright enough on gray; the usual structures keep theirs in every picture.
STRUCTURE_COLORS = {
    "liver": "#56B4E9",
    "parenchyma": "#56B4E9",
    "tumor": "#E69F00",
    "ring": "#009E73",
    "portal_vein": "#CC79A7",
    "spleen": "#CC79A7",
    "aorta": "#D55E00",
}
_COLORS = ("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#F0E442", "#D55E00", "#FFFFFF")
_STYLES: tuple[Any, ...] = ("-", "-", (0, (4, 1.2)), (0, (1.5, 1)))
_BODY_HU = -300.0
_MARGIN_MM = 8.0
_SCALE_BAR_MM = 50.0


def overlay_figure(
    volume: Volume,
    masks: Mapping[str, Volume],
    *,
    slices: Sequence[int] | int = 4,
    columns: int | None = None,
    window: Window | str | None = None,
    contours: bool = True,
    fill: bool = False,
    styles: Mapping[str, str] | None = None,
    title: str | None = None,
    width_mm: float = DOUBLE_COLUMN_MM,
) -> Any:
    """Axial slices with named contours (matplotlib figure).

    Parameters
    ----------
    volume
        The image.
    masks
        Boolean volumes on the image's grid, by name; drawn in this order.
    slices
        Which axial slices, counted from the feet (0); or how many, chosen through the masks: the slice with the
        largest area of the last mask, and others evenly over the masks' height.
    columns
        Pictures a row; all in one row up to four when not given.
    window
        `Window` or ``"level/width"``; the liver CT window, or for other images one from their values.
    contours, fill
        Draw outlines; tint the inside.
    styles
        Color by mask name, where the usual one is not wanted.
    title
        Line above the pictures.
    width_mm
        Printed width.

    Raises
    ------
    ImageError
        A slice number is outside the image.
    GeometryError
        A mask is not on the image's grid.
    """
    for name, mask in masks.items():
        volume.geometry.require_same(mask.geometry, what=f"the mask {name!r}")
    turned = to_lps_axes(volume)
    arrays = {name: to_lps_axes(mask).array.astype(bool) for name, mask in masks.items()}
    chosen = choose_slices(turned.geometry.shape[0], list(arrays.values()), slices)
    shown = window_for(turned.array) if window is None else window
    parsed, colors = Window.parse(shown) if isinstance(shown, str) else shown, mask_colors(list(masks), styles)
    how: dict[str, Any] = {"contours": contours, "fill": fill, "colors": colors, "title": title, "width_mm": width_mm}
    return _draw(turned, arrays, chosen, window=parsed, columns=columns or min(4, len(chosen)), **how)


def overlay_png(
    volume: Volume, masks: Mapping[str, Volume], path: str | Path, *, dpi: int = 300, **options: Any
) -> Path:
    """Write `overlay_figure` (with its options) as a ``.png`` file, atomically.

    Raises
    ------
    ImageError
        The file is not a PNG, or as `overlay_figure`.
    GeometryError
        A mask is not on the image's grid.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise ImageError("An overlay is a PNG file.", expected="a path that ends in .png", found=path.name)
    figure = overlay_figure(volume, masks, **options)
    return save_figure(figure, path.with_suffix(""), formats=("png",), dpi=dpi)[0]


def mismatch_png(image: Volume, mask: Volume, path: str | Path, *, title: str | None = None) -> Path:
    """Draw a mask whose grid is not the image's: where its own header puts it, and where its voxel numbers would.

    Parameters
    ----------
    image, mask
        The pair; the mask may have any grid.
    path
        A ``.png`` file.
    title
        Line above the picture, e.g. the error message.
    """
    placed = resample_mask(mask.with_array(mask.array != 0), reference=image)
    drawn: dict[str, Volume] = {"mask where its header puts it": placed}
    if mask.array.shape == image.array.shape:
        drawn["mask if its header were ignored"] = image.with_array(mask.array != 0)
    if not placed.array.any():
        drawn.pop("mask where its header puts it")
        title = f"{title or ''} The mask lies wholly outside the image.".strip()
    colors = {"mask where its header puts it": "#E69F00", "mask if its header were ignored": "#56B4E9"}
    return overlay_png(image, drawn, path, slices=2, styles=colors, title=title, dpi=150)


def choose_slices(count: int, masks: Sequence[npt.NDArray[np.bool_]], wanted: Sequence[int] | int) -> list[int]:
    """Slices to show, head first.

    Raises
    ------
    ImageError
        A slice is outside the image.
    """
    if not isinstance(wanted, int):
        outside = [number for number in wanted if not 0 <= number < count]
        if outside:
            raise ImageError("No such slice.", expected=f"slices 0 to {count - 1}", found=f"{outside}")
        return [int(number) for number in wanted]
    areas = [mask.sum(axis=(1, 2)) for mask in masks if mask.any()]
    used = np.flatnonzero(np.sum(areas, axis=0)) if areas else np.arange(count)
    low, high = int(used[0]), int(used[-1])
    # Not the very ends, where a section is tiny.
    places = {round(float(v)) for v in np.linspace(low, high, wanted + 2)[1:-1]}
    if areas:
        best = int(np.argmax(areas[-1]))
        if best not in places:
            places.discard(min(places, key=lambda place: (abs(place - best), place)))
            places.add(best)
    return sorted(places, reverse=True)


def mask_colors(names: Sequence[str], styles: Mapping[str, str] | None = None) -> dict[str, str]:
    """A color for each mask, no color twice while there are enough."""
    fixed = dict(styles or {})
    for name in names:
        usual = STRUCTURE_COLORS.get(name)
        if usual is not None and usual not in fixed.values():
            fixed.setdefault(name, usual)
    free = [color for color in _COLORS if color not in fixed.values()] or list(_COLORS)
    others = [name for name in names if name not in fixed]
    fixed |= {name: free[order % len(free)] for order, name in enumerate(others)}
    return {name: fixed[name] for name in names}


def _crop(turned: Volume, arrays: Mapping[str, npt.NDArray[np.bool_]], chosen: Sequence[int]) -> tuple[slice, slice]:
    """Rows and columns of the body in the chosen slices, with a margin; all of them where no air is around it."""
    threshold = _BODY_HU if turned.array.min() <= -500 else 0.05 * float(np.percentile(turned.array, 99))
    body = np.zeros(turned.geometry.shape[1:], dtype=bool)
    for k in chosen:
        body |= _largest_2d(turned.array[k] > threshold)
        for array in arrays.values():
            body |= array[k]
    box = bounding_box(body[None])
    if box is None:
        return slice(0, body.shape[0]), slice(0, body.shape[1])
    parts = []
    sizes: tuple[tuple[slice, int, float], ...] = (
        (box[1], body.shape[0], turned.spacing[1]),
        (box[2], body.shape[1], turned.spacing[0]),
    )
    for part, length, step in sizes:
        margin = int(np.ceil(_MARGIN_MM / step))
        parts.append(slice(max(0, part.start - margin), min(length, part.stop + margin)))
    return parts[0], parts[1]


def _largest_2d(array: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The largest part of a slice after thin bridges are cut: the body without the table."""
    from scipy import ndimage

    opened = ndimage.binary_opening(array, iterations=2)
    labels, number = ndimage.label(opened)
    if number == 0:
        return array
    return labels == int(np.argmax(np.bincount(labels.ravel())[1:])) + 1


@styled
def _draw(
    turned: Volume,
    arrays: Mapping[str, npt.NDArray[np.bool_]],
    chosen: Sequence[int],
    *,
    window: Window,
    columns: int,
    contours: bool,
    fill: bool,
    colors: Mapping[str, str],
    title: str | None,
    width_mm: float,
) -> Any:
    rows_cut, columns_cut = _crop(turned, arrays, chosen)
    step_x, step_y = turned.spacing[0], turned.spacing[1]
    panel_mm = ((columns_cut.stop - columns_cut.start) * step_x, (rows_cut.stop - rows_cut.start) * step_y)
    rows = -(-len(chosen) // columns)
    gap, legend, head = 1.2, (6.0 if arrays else 0.0), _title_height(title)
    panel_width = (width_mm - gap * (columns - 1)) / columns
    panel_height = panel_width * panel_mm[1] / panel_mm[0]
    height_mm = rows * panel_height + gap * (rows - 1) + legend + head
    figure = new_figure(width_mm, height_mm, constrained=False)
    for position, k in enumerate(chosen):
        row, column = divmod(position, columns)
        left = column * (panel_width + gap)
        top = head + row * (panel_height + gap)
        axes = figure.add_axes(
            (left / width_mm, 1 - (top + panel_height) / height_mm, panel_width / width_mm, panel_height / height_mm)
        )
        image = turned.array[k][rows_cut, columns_cut]
        extent = (0.0, panel_mm[0], panel_mm[1], 0.0)
        smooth = "antialiased" if image.shape[1] > 200 else "bilinear"
        axes.imshow(window.apply(image), cmap="gray", vmin=0, vmax=1, extent=extent, interpolation=smooth)
        for order, (name, array) in enumerate(arrays.items()):
            cut = array[k][rows_cut, columns_cut]
            _outline(axes, cut, (step_x, step_y), colors[name], _STYLES[order % len(_STYLES)], contours, fill)
        axes.set_xlim(0, panel_mm[0])
        axes.set_ylim(panel_mm[1], 0)
        axes.axis("off")
        _annotate(axes, panel_mm, f"z {_height(turned, k):.0f} mm", first=position == 0)
    _legend(figure, colors, legend / height_mm)
    if title:
        import textwrap

        lines = "\n".join(textwrap.wrap(title, 120))
        figure.text(0.0, 1.0 - 1.0 / height_mm, lines, va="top", ha="left", fontsize=7.5)
    return figure


def _outline(
    axes: Any,
    cut: npt.NDArray[np.bool_],
    step: tuple[float, float],
    color: str,
    style: Any,
    contours: bool,
    fill: bool,
) -> None:
    if not cut.any():
        return
    padded = np.pad(cut, 1).astype(float)
    x = (np.arange(padded.shape[1]) - 0.5) * step[0]
    y = (np.arange(padded.shape[0]) - 0.5) * step[1]
    if fill:
        axes.contourf(x, y, padded, levels=[0.5, 1.5], colors=[color], alpha=0.28)
    if contours:
        axes.contour(x, y, padded, levels=[0.5], colors=["black"], linewidths=1.5, alpha=0.45)
        axes.contour(x, y, padded, levels=[0.5], colors=[color], linewidths=0.9, linestyles=[style])


def _annotate(axes: Any, size: tuple[float, float], place: str, *, first: bool) -> None:
    """Slice height, sides and scale bar, in white with a dark edge, so that they also show on bright fat."""
    from matplotlib.patheffects import withStroke

    edge = [withStroke(linewidth=1.2, foreground="black")]
    ink: dict[str, Any] = {"color": "white", "fontsize": 6.5, "path_effects": edge}
    axes.text(0.02 * size[0], 0.02 * size[1], place, va="top", ha="left", **ink)
    axes.text(0.015 * size[0], 0.5 * size[1], "R", va="center", ha="left", **ink)
    axes.text(0.985 * size[0], 0.5 * size[1], "L", va="center", ha="right", **ink)
    if 0.8 * size[0] > _SCALE_BAR_MM:
        right, base = 0.97 * size[0], 0.96 * size[1]
        axes.plot([right - _SCALE_BAR_MM, right], [base, base], color="white", linewidth=1.6, solid_capstyle="butt")
        if first:
            axes.text(right - _SCALE_BAR_MM / 2, base - 0.015 * size[1], "5 cm", va="bottom", ha="center", **ink)


def _legend(figure: Any, colors: Mapping[str, str], height: float) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patheffects import withStroke

    if not colors:
        return
    # With a dark edge as on the image: an expert's contour is white.
    look: dict[str, Any] = {"linewidth": 2, "path_effects": [withStroke(linewidth=2.8, foreground="black")]}
    handles = [
        Line2D([], [], color=color, linestyle=_STYLES[order % len(_STYLES)], label=name.replace("_", " "), **look)
        for order, (name, color) in enumerate(colors.items())
    ]
    figure.legend(
        handles=handles, loc="center", bbox_to_anchor=(0.5, height / 2), ncols=min(len(handles), 6), frameon=False,
        fontsize=7.5, borderaxespad=0.0,
    )  # fmt: skip


def _height(turned: Volume, k: int) -> float:
    return float((turned.geometry.affine_lps @ [0.0, 0.0, float(k), 1.0])[2])


def _title_height(title: str | None) -> float:
    return 0.0 if not title else 2.0 + 3.4 * (1 + len(title) // 120)


@views.drawings.register
def _(record: Volume) -> views.Drawings:
    """`slices`: of an image as it is, of a mask in white."""
    shown = record.with_array(record.array.astype(np.uint8)) if record.array.dtype == bool else record
    return {"slices": lambda: overlay_figure(shown, {})}
