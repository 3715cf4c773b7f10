"""Geometry of the phantom: coordinates in mm, soft shapes, smooth random fields.

The anatomy is a set of functions of millimetres, so that a patient looks the same on a coarse grid and on a fine one.
Axes as in `hepacast.imaging`: x to the patient's left, y to the back, z to the head; x = y = 0 is the body's middle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from hepacast.errors import ImageError
from hepacast.imaging.volume import Geometry

Field = npt.NDArray[Any]  # float32
Mask = npt.NDArray[np.bool_]
Point = tuple[float, float, float]
Size = Literal["tiny", "demo", "full"]

#: Voxels (i, j, k), spacing (mm) and the height of the lowest slice (mm). ``demo`` is made for runs of minutes on a
#: laptop, ``full`` is a hospital's matrix, ``tiny`` is for tests of everything but the picture.
SIZES: dict[str, tuple[tuple[int, int, int], tuple[float, float, float], float]] = {
    "tiny": ((48, 48, 16), (7.2, 7.2, 10.0), 0.0),
    "demo": ((96, 96, 31), (3.6, 3.6, 5.0), 0.0),
    "full": ((512, 512, 40), (0.68, 0.68, 5.0), -25.0),
}


@dataclass(frozen=True, eq=False)
class Grid:
    """Coordinates of every voxel (mm, arrays that broadcast to (k, j, i)) and the geometry."""

    geometry: Geometry
    x: Field
    y: Field
    z: Field

    @property
    def spacing_kji(self) -> tuple[float, float, float]:
        """Voxel size in the array's order, mm."""
        i, j, k = self.geometry.spacing
        return (k, j, i)


def make_grid(size: str) -> Grid:
    """The grid of a named size.

    Raises
    ------
    ImageError
        The size has no such name.
    """
    if size not in SIZES:
        raise ImageError(f"The phantom has no size {size!r}.", expected=", ".join(SIZES))
    (ni, nj, nk), (si, sj, sk), bottom = SIZES[size]
    first = (-0.5 * (ni - 1) * si, -0.5 * (nj - 1) * sj, bottom)
    geometry = Geometry((ni, nj, nk), (si, sj, sk), first)
    x = (first[0] + si * np.arange(ni, dtype=np.float32))[None, None, :]
    y = (first[1] + sj * np.arange(nj, dtype=np.float32))[None, :, None]
    z = (first[2] + sk * np.arange(nk, dtype=np.float32))[:, None, None]
    return Grid(geometry, x, y, z)


def warped(grid: Grid, generator: np.random.Generator, amplitude: float) -> tuple[Field, Field, Field]:
    """Coordinates displaced by a smooth random field of about this amplitude (mm): no two patients are alike.

    The field is a cubic B-spline on 6 x 7 x 7 control points over a fixed box, so it does not depend on the grid.
    """
    control = generator.normal(0.0, 2.0 * amplitude, size=(3, 6, 7, 7)).astype(np.float32)
    along_z = _spline_basis(grid.z.ravel(), -40.0, 200.0, 6)
    along_y = _spline_basis(grid.y.ravel(), -185.0, 185.0, 7)
    along_x = _spline_basis(grid.x.ravel(), -185.0, 185.0, 7)
    shifts = np.einsum("kc,jb,ia,dcba->dkji", along_z, along_y, along_x, control, optimize=True)
    return (grid.x + shifts[2], grid.y + shifts[1], grid.z + shifts[0])


def _spline_basis(places: Field, low: float, high: float, count: int) -> Field:
    """Uniform cubic B-spline weights, (places, control points); the ends are repeated."""
    position = np.clip((places - low) / (high - low), 0, 1) * (count - 1)
    distance = np.abs(position[:, None] - np.arange(-1, count + 1)[None, :])
    near = 2.0 / 3.0 - distance**2 + distance**3 / 2.0
    far = np.maximum(2.0 - distance, 0.0) ** 3 / 6.0
    weights = np.where(distance < 1.0, near, far)
    inner = weights[:, 1:-1].copy()
    inner[:, 0] += weights[:, 0]
    inner[:, -1] += weights[:, -1]
    return inner.astype(np.float32)


def ellipsoid(x: Field, y: Field, z: Field | float, centre: Point, radii: Point, *, boxy: bool = False) -> Field:
    """About the distance (mm) to an ellipsoid's surface, positive inside.

    An infinite radius makes a cylinder; ``boxy`` takes the exponent 2.5 instead of 2. The distance is the level's
    excess divided by the length of its gradient, which is exact to first order near the surface.
    """
    level: Any = np.float32(1e-6)
    slope: Any = np.float32(1e-9)
    for axis, middle, radius in zip((x, y, z), centre, radii):
        if not np.isfinite(radius):
            continue
        part = (axis - np.float32(middle)) * np.float32(1.0 / radius)
        square = part * part
        root = np.sqrt(np.abs(part)) if boxy else None
        level = level + (square if root is None else square * root)
        slope = slope + (square if root is None else square * np.abs(part)) * np.float32(radius**-2.0)
    if boxy:
        here = level ** np.float32(0.4)
        gradient = np.sqrt(slope) * here / level  # here^-1.5
    else:
        here = np.sqrt(level)
        gradient = np.sqrt(slope) / here
    limit = np.float32(min(radius for radius in radii if np.isfinite(radius)))
    return np.minimum((np.float32(1.0) - here) / np.maximum(gradient, np.float32(1e-4)), limit).astype(np.float32)


def smooth_union(first: Field, second: Field, width: float) -> Field:
    """The larger of two fields, with a rounded joint of this width (mm)."""
    return (np.logaddexp(first / width, second / width) * width).astype(np.float32)


def random_field(
    shape: tuple[int, ...], spacing_kji: Sequence[float], scale_mm: float, generator: np.random.Generator
) -> Field:
    """A Gaussian random field of mean 0, SD 1 and this correlation length (Gaussian kernel's sigma, mm)."""
    from scipy import ndimage

    white = generator.standard_normal(shape, dtype=np.float32)
    sigma = [scale_mm / step for step in spacing_kji]
    smooth = ndimage.gaussian_filter(white, sigma, mode="wrap", truncate=3.0)
    return (smooth - smooth.mean()) / max(float(smooth.std()), 1e-6)


def paint_tubes(
    grid: Grid, weights: Field, points: npt.NDArray[np.float64], radii: npt.NDArray[np.float64], limit: Mask | None
) -> None:
    """Raise `weights` to 1 within tubes given by dense points and radii (mm); edges are soft over one voxel."""
    bottom = np.array([float(grid.z.flat[0]), float(grid.y.flat[0]), float(grid.x.flat[0])])
    step = np.array(grid.spacing_kji)
    soft = float(step.min())
    reach = np.ceil((float(radii.max()) + soft) / step).astype(int)
    offsets = np.stack(np.meshgrid(*[np.arange(-n, n + 1) for n in reach], indexing="ij"), axis=-1).reshape(-1, 3)
    flat = weights.reshape(-1)
    for start in range(0, len(points), 256):  # bounds the memory on fine grids
        centres = (points[start : start + 256, ::-1] - bottom) / step
        voxels = np.rint(centres).astype(int)[:, None, :] + offsets[None]
        distance = np.sqrt((((voxels - centres[:, None, :]) * step) ** 2).sum(axis=2))
        share = np.clip((radii[start : start + 256, None] - distance) / soft + 0.5, 0.0, 1.0)
        used = (share > 0) & (voxels >= 0).all(axis=2) & (voxels < weights.shape).all(axis=2)
        index = np.ravel_multi_index(tuple(voxels[used].T), weights.shape)
        np.maximum.at(flat, index, share[used].astype(np.float32))
    if limit is not None:
        weights[~limit] = 0.0
