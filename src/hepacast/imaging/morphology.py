"""Set operations on masks that are measured in mm, whatever the voxel's shape.

A ball of radius r around a voxel centre holds every voxel whose centre is at most r away (Euclidean distance
transform with the voxel spacing). Voxels beyond the image's edge are unknown: they neither grow into the image nor
wear a mask away.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from hepacast.imaging.volume import Volume

#: Distances are compared with this slack (mm), so that "10 mm" reaches a voxel at exactly 10 mm.
_SLACK_MM = 1e-6
_CUBE = np.ones((3, 3, 3), dtype=bool)

Mask = npt.NDArray[np.bool_]


def dilate(mask: Volume, mm: float) -> Volume:
    """All voxels at most `mm` from the mask."""
    return _within_box(mask, mm, _dilated)


def erode(mask: Volume, mm: float) -> Volume:
    """The mask's voxels that lie more than `mm` from every voxel outside it: the complement's dilation, removed."""
    return _within_box(mask, mm, lambda array, spacing, r: ~_dilated(~array, spacing, r))


def opened(mask: Volume, mm: float) -> Volume:
    """Erode, then dilate: parts thinner than about twice `mm` go."""
    return dilate(erode(mask, mm), mm)


def closed(mask: Volume, mm: float) -> Volume:
    """Dilate, then erode: gaps narrower than about twice `mm` close."""
    return erode(dilate(mask, mm), mm)


def ring(mask: Volume, mm: float) -> Volume:
    """The shell around the mask: dilated by `mm`, without the mask itself."""
    return mask.with_array(dilate(mask, mm).array & ~mask.array.astype(bool))


def rim(mask: Volume, mm: float) -> Volume:
    """The mask's outer layer: the mask without its erosion by `mm`."""
    return mask.with_array(mask.array.astype(bool) & ~erode(mask, mm).array)


def largest(mask: Volume) -> Volume:
    """The largest connected part (26 neighbors); of equal parts the first in the array."""
    labels, sizes = components(mask)
    if len(sizes) == 0:
        return mask.with_array(np.zeros(mask.geometry.shape, dtype=bool))
    return mask.with_array(labels == int(np.argmax(sizes)) + 1)


def fill(mask: Volume) -> Volume:
    """The mask with its enclosed holes filled, in 3-D."""
    from scipy import ndimage

    return mask.with_array(ndimage.binary_fill_holes(mask.array.astype(bool)))


def components(mask: Volume) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Connected parts (26 neighbors): label of each voxel (0 outside), and the number of voxels of parts 1, 2, ..."""
    from scipy import ndimage

    array = mask.array.astype(bool, copy=False)
    labels = np.zeros(array.shape, dtype=np.int32)
    box = bounding_box(array)
    if box is None:
        return labels, np.zeros(0, dtype=np.int64)
    found, number = ndimage.label(array[box], structure=_CUBE)
    labels[box] = found
    return labels, np.bincount(found.ravel(), minlength=number + 1)[1:]


def bounding_box(array: npt.NDArray[Any]) -> tuple[slice, slice, slice] | None:
    """The smallest box (k, j, i) that holds every non-zero voxel; None for an empty array."""
    box = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        hits = np.flatnonzero(array.any(axis=others))
        if len(hits) == 0:
            return None
        box.append(slice(int(hits[0]), int(hits[-1]) + 1))
    return (box[0], box[1], box[2])


def _dilated(array: Mask, spacing: tuple[float, float, float], mm: float) -> Mask:
    from scipy import ndimage

    if not array.any():
        return np.zeros_like(array)
    distance = ndimage.distance_transform_edt(~array, sampling=spacing[::-1])
    return np.asarray(distance <= mm + _SLACK_MM)


def _within_box(mask: Volume, mm: float, work: Callable[[Mask, tuple[float, float, float], float], Mask]) -> Volume:
    """Work in the mask's box with a margin of `mm`: a tumor does not need a distance map of the whole abdomen."""
    array = mask.array.astype(bool)
    result = np.zeros_like(array)
    box = bounding_box(array)
    if box is None:
        return mask.with_array(result)
    margins = [int(mm / step) + 2 for step in mask.spacing[::-1]]
    wide = tuple(
        slice(max(0, part.start - margin), min(length, part.stop + margin))
        for part, margin, length in zip(box, margins, array.shape)
    )
    result[wide] = work(array[wide], mask.spacing, mm)
    return mask.with_array(result)
