"""Known motions of an image: a breath that moves the liver against a fixed spine, and a smooth deformation.

What a registration should find is known at every point, so that its error can be measured in mm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from hepacast.core.seeds import rng
from hepacast.imaging import Geometry, Volume

Points = npt.NDArray[np.float64]
#: How far from the liver (mm) a breath moves tissue along: in the plane, and towards head and feet.
_NEAR_MM, _NEAR_Z_MM = 25.0, 80.0


@dataclass(frozen=True, eq=False)
class Motion:
    """A displacement at every voxel of the moved image: it shows at y what the original shows at y + v(y).

    Parameters
    ----------
    field
        v in mm along the grid's axes (x, y, z), shape (k, j, i, 3).
    geometry
        The grid; its axes are those of the patient.
    """

    field: npt.NDArray[np.float32]
    geometry: Geometry

    def move(self, image: Volume, *, order: int = 1) -> Volume:
        """The moved image (`order` 0 for masks) on the same grid."""
        image.geometry.require_same(self.geometry, what="the field of displacements")
        steps = np.array(self.geometry.spacing)
        index = np.indices(self.geometry.shape, dtype=np.float32)
        places = [index[axis] + self.field[..., 2 - axis] / steps[2 - axis] for axis in range(3)]
        array = ndimage.map_coordinates(np.asarray(image.array, dtype=np.float32), places, order=order, mode="nearest")
        return image.with_array(array.astype(image.array.dtype))

    def moved(self, points: npt.ArrayLike) -> Points:
        """Where points of the original (mm, LPS), shape (n, 3), lie in the moved image: y of x = y + v(y)."""
        original = np.asarray(points, dtype=float)
        found = original.copy()
        for _ in range(60):
            found = original - self._at(found)
        return found

    def _at(self, points: Points) -> Points:
        places = (points - np.array(self.geometry.origin)) / np.array(self.geometry.spacing)
        return np.column_stack(
            [
                ndimage.map_coordinates(self.field[..., axis], places.T[::-1], order=1, mode="nearest")
                for axis in (0, 1, 2)
            ]
        )


def breath(liver: Volume, shift: Sequence[float]) -> Motion:
    """The liver moves by a vector (mm, LPS); what lies farther than a few cm from it, the spine too, stays.

    Parameters
    ----------
    liver
        Mask on a grid along the patient's axes.
    """
    x, y, z = liver.spacing
    # Tissue gives way along the breath more gently than it shears beside it: nothing folds.
    sampling = (z * _NEAR_MM / _NEAR_Z_MM, y, x)
    distance = ndimage.distance_transform_edt(~liver.array.astype(bool), sampling=sampling)
    share = np.clip(1.0 - distance / _NEAR_MM, 0.0, 1.0)
    weight = (share * share * (3.0 - 2.0 * share)).astype(np.float32)
    return Motion(-weight[..., None] * np.asarray(shift, dtype=np.float32), liver.geometry)


def deformation(geometry: Geometry, amplitude_mm: float, *, wave_mm: float = 150.0, seed: int = 0) -> Motion:
    """A smooth random field whose displacements have this root mean square (mm), with waves of about `wave_mm`."""
    stream, steps = rng(seed, "phantom-motion"), np.array(geometry.spacing)[::-1]
    coarse = [max(4, int(np.ceil(n * step / (wave_mm / 2))) + 1) for n, step in zip(geometry.shape, steps)]
    parts = []
    for _ in range(3):
        zoomed = ndimage.zoom(stream.standard_normal(coarse), np.array(geometry.shape) / coarse, order=3)
        parts.append(zoomed[: geometry.shape[0], : geometry.shape[1], : geometry.shape[2]])
    field = np.stack(parts, axis=-1)
    field *= amplitude_mm / np.sqrt((field**2).sum(axis=-1).mean())
    return Motion(field.astype(np.float32), geometry)
