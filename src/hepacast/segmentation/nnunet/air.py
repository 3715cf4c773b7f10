"""Tiles of a CT that hold air alone need no network.

A tile is left out only if no voxel whose label could depend on it lies in the body, so labels within the body are
those of a network that saw every tile; outside, where no tile was computed, is background.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil, floor

import numpy as np
import numpy.typing as npt

#: Denser than this is no air: fat is at -100 HU, the lungs (which belong to the body) are enclosed by it.
AIR_HU = -500.0

#: The body is looked at in blocks; an image has about so many along each axis.
_BLOCKS = 128


def tiles_with_body(
    hu: npt.NDArray[np.floating], shape: Sequence[int]
) -> Callable[[Sequence[int], Sequence[int]], bool] | None:
    """Tell tiles that touch the body from tiles of air.

    Parameters
    ----------
    hu
        CT on the image's grid, HU; of several registered phases the largest.
    shape
        Voxels of the network's grid, which spans the same space.

    Returns
    -------
    callable or None
        Takes the first voxel of a tile and the one after its last, on the network's grid. None where there is no air
        (or nothing else) in the image.
    """
    steps = [max(1, side // _BLOCKS) for side in hu.shape]
    dense = _any_in_block(hu > AIR_HU, steps)
    if dense.all() or not dense.any():
        return None
    filled: list[npt.NDArray[np.bool_]] = []
    scale = [side / new for side, new in zip(hu.shape, shape, strict=True)]

    def touches(first: Sequence[int], stop: Sequence[int]) -> bool:
        # An image's voxel reads the two voxels of the network's grid around its center, so half a voxel is added.
        box = tuple(
            slice(max(0, floor((a - 0.5) * s - 0.5) // step), max(0, ceil((b + 0.5) * s - 0.5) // step + 1))
            for a, b, s, step in zip(first, stop, scale, steps, strict=True)
        )
        if dense[box].any():
            return True
        # Most images have no tile without tissue, and need not be filled.
        if not filled:
            filled.append(_filled(dense))
        return bool(filled[0][box].any())

    return touches


def _any_in_block(mask: npt.NDArray[np.bool_], steps: Sequence[int]) -> npt.NDArray[np.bool_]:
    for axis, step in enumerate(steps):
        if step > 1:
            mask = np.logical_or.reduceat(mask, np.arange(0, mask.shape[axis], step), axis=axis)
    return mask


def _filled(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """With what it encloses in any plane: the lungs and the bowel's gas belong to the body."""
    from scipy.ndimage import binary_fill_holes

    filled = mask.copy()
    for axis in range(3):
        for index in range(mask.shape[axis]):
            plane = (slice(None),) * axis + (index,)
            filled[plane] |= binary_fill_holes(mask[plane])
    return filled
