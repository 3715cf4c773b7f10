"""Shape of a VOI of one slice."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hepacast.imaging.mesh import widest_in_plane
from hepacast.radiomics.features.base import FeatureSettings, UndefinedError
from hepacast.radiomics.features.shape3d import axis_features, principal_variances
from hepacast.radiomics.kernels.voi import Voi

#: Corners (row, column) of a square of four pixels, in turn; edge e joins corner e and the next.
_CORNERS = ((0, 0), (0, 1), (1, 1), (1, 0))
_MIDPOINTS = np.array([(0.0, 0.5), (0.5, 1.0), (1.0, 0.5), (0.5, 0.0)])


def shape2d(
    voi: Voi, spacing_kji: Sequence[float], settings: FeatureSettings, names: Sequence[str]
) -> dict[str, float | UndefinedError]:
    """Shape features in the plane (PyRadiomics ``shape2D``); mm and mm^2.

    Raises
    ------
    UndefinedError
        The calculation is not two-dimensional, or the VOI has more than one slice along that axis.
    """
    axis = settings.flat_axis
    if axis is None:
        raise UndefinedError("shape2D needs force2D: true, with force2Ddimension across the slice")
    if voi.box[axis] > 1:
        raise UndefinedError(f"the VOI has {voi.box[axis]} slices along axis {axis}; shape2D is for one slice")
    plane = [other for other in (0, 1, 2) if other != axis]
    rows, columns = spacing_kji[plane[0]], spacing_kji[plane[1]]
    perimeter, surface, diameter = _outline(_pixels(voi, plane), rows, columns)
    circle = 2 * math.sqrt(math.pi * surface)
    axes = axis_features(principal_variances(voi, spacing_kji, plane))
    result: dict[str, float | UndefinedError] = {
        **axes,
        "MaximumDiameter": diameter,
        "MeshSurface": surface,
        "Perimeter": perimeter,
        "PerimeterSurfaceRatio": perimeter / surface,
        "PixelSurface": voi.n_voxels * rows * columns,
        "Sphericity": circle / perimeter,
        "SphericalDisproportion": perimeter / circle,
    }
    return {name: result[name] for name in names}


def _pixels(voi: Voi, plane: Sequence[int]) -> npt.NDArray[np.bool_]:
    """The slice, with a margin of one pixel."""
    at = np.repeat(voi.segments[:, :3], voi.lengths, axis=0)
    at[:, 2] += np.concatenate([np.arange(n) for n in voi.lengths])
    at = at - np.array(voi.low) + 1
    pixels = np.zeros((voi.box[plane[0]] + 2, voi.box[plane[1]] + 2), dtype=bool)
    pixels[at[:, plane[0]], at[:, plane[1]]] = True
    return pixels


def _outline(pixels: npt.NDArray[np.bool_], row_step: float, column_step: float) -> tuple[float, float, float]:
    """Length of the outline midway between pixels inside and outside, the area in it, its largest diameter."""
    steps = np.array([row_step, column_step])
    height, width = pixels.shape
    corner = [pixels[r : height - 1 + r, c : width - 1 + c] for r, c in _CORNERS]
    pattern = sum(inside.astype(np.int64) << bit for bit, inside in enumerate(corner))
    perimeter = surface = 0.0
    for number in range(1, 15):
        at = np.argwhere(pattern == number)
        for entry, exit_ in _lines(number) if len(at) else ():
            a, b = (at + _MIDPOINTS[entry]) * steps, (at + _MIDPOINTS[exit_]) * steps
            surface += float((a[:, 0] * b[:, 1] - b[:, 0] * a[:, 1]).sum())
            perimeter += float(np.linalg.norm(a - b, axis=1).sum())
    return perimeter, surface / 2, _diameter(pixels, row_step, column_step)


def _lines(pattern: int) -> list[tuple[int, int]]:
    """Edges (entry, exit) of each line of a square: one around every run of corners inside."""
    inside = [bool(pattern >> corner & 1) for corner in range(4)]
    lines = []
    for entry in range(4):  # the edge from a corner outside to the next one inside
        if not inside[entry] and inside[(entry + 1) % 4]:
            exit_ = (entry + 1) % 4
            while inside[(exit_ + 1) % 4]:
                exit_ = (exit_ + 1) % 4
            lines.append((entry, exit_))
    return lines


def _diameter(pixels: npt.NDArray[np.bool_], row_step: float, column_step: float) -> float:
    """Largest distance between two points of the outline, from the first and last point of every half row."""
    height = len(pixels)
    low = np.full(2 * height, np.iinfo(np.int32).max, dtype=np.int64)
    high = np.full(2 * height, -1, dtype=np.int64)
    between_columns = np.argwhere(pixels[:, 1:] != pixels[:, :-1]) * 2 + np.array([0, 1])
    between_rows = np.argwhere(pixels[1:] != pixels[:-1]) * 2 + np.array([1, 0])
    for row, column in np.concatenate([between_columns, between_rows]):
        low[row] = min(low[row], column)
        high[row] = max(high[row], column)
    return widest_in_plane(low, high, row_step / 2, column_step / 2)
