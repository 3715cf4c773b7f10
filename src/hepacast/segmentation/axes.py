"""Turn a volume so that its array axes run along chosen directions of the patient, and back.

Only permutations and flips: no voxel is resampled. An oblique image goes to the nearest such frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hepacast.imaging import Volume

#: Unit vector (LPS) toward each side of the patient.
_SIDES = {
    "L": (1, 0, 0),
    "R": (-1, 0, 0),
    "P": (0, 1, 0),
    "A": (0, -1, 0),
    "S": (0, 0, 1),
    "I": (0, 0, -1),
}


@dataclass(frozen=True)
class Turned:
    """An array turned into a frame, with what is needed to turn results back.

    Parameters
    ----------
    array
        First axis along the first side of the frame, and so on (for ``RAS``: array[x, y, z]).
    spacing
        Voxel size along the array's axes, mm.
    """

    array: npt.NDArray[Any]
    spacing: tuple[float, float, float]
    _permutation: tuple[int, int, int]
    _flips: tuple[int, ...]

    def back(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """An array of the turned shape as an array of the volume, indexed [k, j, i]."""
        inverse = np.argsort(self._permutation)
        return np.ascontiguousarray(np.flip(array, self._flips).transpose(inverse))

    def like(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Another array of the volume (a mask), turned in the same way."""
        return np.flip(array.transpose(self._permutation), self._flips)


def turn(volume: Volume, frame: str) -> Turned:
    """Turn a volume's array into a frame such as ``RAS`` or ``LPS``.

    Parameters
    ----------
    volume
        Any geometry.
    frame
        Side of the patient toward which each array axis shall run.
    """
    direction = np.array(volume.geometry.direction, dtype=float)
    # Columns of `direction` belong to the axes i, j, k; the array is indexed [k, j, i].
    wanted = np.array([_SIDES[side] for side in frame], dtype=float)
    cosines = wanted @ direction
    axes = _assign(np.abs(cosines))
    permutation = (2 - axes[0], 2 - axes[1], 2 - axes[2])
    flips = tuple(n for n in range(3) if cosines[n, axes[n]] < 0)
    turned = np.flip(volume.array.transpose(permutation), flips)
    spacing = tuple(float(volume.spacing[axis]) for axis in axes)
    return Turned(turned, (spacing[0], spacing[1], spacing[2]), permutation, flips)


def _assign(cosines: npt.NDArray[np.float64]) -> list[int]:
    """For each side of the frame the image axis that lies closest to it, each axis once."""
    from scipy.optimize import linear_sum_assignment

    _, columns = linear_sum_assignment(-cosines)
    return [int(axis) for axis in columns]
