"""Do a mask's borders follow the edges of the image? It tells another patient's, a moved or a mirrored mask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from hepacast.imaging import Volume
from hepacast.imaging.morphology import bounding_box

#: A mask moved by this much (mm) should meet fewer edges of the image than the mask where it lies.
_MOVE_MM = 15.0
#: Smaller organs have too little surface to tell.
_SMALLEST_SURFACE = 300


def edge_ratio(volume: Volume, mask: Volume) -> float:
    """How much stronger a CT's edges are at a mask's surface than at the surface of the mask moved aside.

    About 1 where the mask has nothing to do with the image (another patient's, mirrored); NaN where there is too little
    surface to tell. Experts' livers on real CT have 1.3 to 1.5, the same masks mirrored or moved by 2 cm at most 1.05.
    The edge strength is the gradient of the intensity within -150 and 250 HU, so that bone and gas do not decide. On MR
    fat and vessels have the stronger edges: this does not hold there.
    """
    array = mask.array.astype(bool)
    box = bounding_box(array)
    if box is None:
        return float("nan")
    steps = np.maximum(1, np.round(_MOVE_MM / np.array(mask.spacing[::-1]))).astype(int)
    wide = tuple(
        slice(max(0, part.start - step - 1), min(length, part.stop + step + 1))
        for part, step, length in zip(box, steps, array.shape, strict=True)
    )
    image, inside = np.nan_to_num(volume.array[wide].astype(np.float32), posinf=0.0, neginf=0.0), array[wide]
    strength = np.sqrt(_squared_gradient(np.clip(image, -150.0, 250.0), mask.spacing[::-1]))
    surface = np.argwhere(inside & ~_inner(inside))
    own, moved = _mean_at(strength, surface), []
    for axis in range(3):
        for sign in (-1, 1):
            offset = np.zeros(3, dtype=int)
            offset[axis] = sign * steps[axis]
            moved.append(_mean_at(strength, surface + offset))
    others = [value for value in moved if np.isfinite(value)]
    if len(surface) < _SMALLEST_SURFACE or len(others) < 3 or not np.isfinite(own) or np.median(others) <= 0:
        return float("nan")
    return float(own / np.median(others))


def _squared_gradient(image: npt.NDArray[Any], spacing: Sequence[float]) -> npt.NDArray[Any]:
    total = np.zeros_like(image)
    for axis, step in enumerate(spacing):
        if image.shape[axis] > 1:
            total += np.gradient(image, float(step), axis=axis) ** 2
    return total


def _inner(inside: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Voxels whose six neighbors are inside too."""
    padded = np.pad(inside, 1)
    kept = inside.copy()
    for axis in range(3):
        for start in (0, 2):
            part = [slice(1, -1)] * 3
            part[axis] = slice(start, start + inside.shape[axis])
            kept &= padded[tuple(part)]
    return kept


def _mean_at(strength: npt.NDArray[Any], points: npt.NDArray[np.int64]) -> float:
    """Mean at the points inside the box; NaN where fewer than half of them are."""
    good = ((points >= 0) & (points < np.array(strength.shape))).all(axis=1)
    if good.mean() < 0.5:
        return float("nan")
    kept = points[good]
    return float(strength[kept[:, 0], kept[:, 1], kept[:, 2]].mean())
