"""Where the abdomen is in a CT: the box that the liver network was trained on.

Along z from the hip to some way above the liver's dome, across from skin to skin without arms and table, at most
as large as the network's field. The rules are anatomy only: the body is the largest piece of soft tissue, the
lungs are air enclosed by it, the iliac crest is where bone becomes plentiful again below the lumbar spine.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hepacast.errors import ImageError

TISSUE_HU = -150.0
LUNG_HU = -600.0
BONE_HU = 500.0

#: Kept above the lowest level of the lungs, and below the hip (mm).
DOME_MARGIN_MM = 70.0
HIP_MARGIN_MM = 20.0

#: The network's field (mm along x, y, z).
FIELD_MM = (489.0, 408.0, 408.0)

#: Lungs smaller than this (mL) are taken for bowel gas.
_LUNG_ML = 150.0

#: Voxels of this size are fine enough to find the box.
_COARSE_MM = 3.0

Box = tuple[slice, slice, slice]


def abdomen_box(array: npt.NDArray[np.floating], spacing: Sequence[float]) -> Box:
    """The box of the abdomen.

    Parameters
    ----------
    array
        HU, axes (x, y, z) running to the left, the back and the head.
    spacing
        Voxel size along them, mm.

    Raises
    ------
    ImageError
        There is no soft tissue: not a CT in HU, or not of a body.
    """
    steps = [max(1, round(_COARSE_MM / mm)) for mm in spacing]
    coarse = array[:: steps[0], :: steps[1], :: steps[2]]
    mm = [s * step for s, step in zip(spacing, steps, strict=True)]
    body = largest_piece(_eroded(coarse > TISSUE_HU))
    if not body.any():
        raise ImageError(
            "No body is found in the image.",
            expected="a CT in HU, soft tissue above -150",
            found=f"values from {float(array.min()):.0f} to {float(array.max()):.0f}",
            remedy="is it CT, and are the values Hounsfield units?",
        )
    low, high = _z_range(coarse, body, mm)
    inner = largest_piece(_eroded(coarse[:, :, low:high] > TISSUE_HU, 2))
    across = inner if inner.any() else body[:, :, low:high]
    box = []
    for axis, (start, stop) in enumerate([*_extent(across)[:2], (low, high)]):
        box.append((start * steps[axis], min(stop * steps[axis], array.shape[axis])))
    return _within_field(box, spacing)


def _z_range(coarse: npt.NDArray[np.floating], body: npt.NDArray[np.bool_], mm: Sequence[float]) -> tuple[int, int]:
    """First slice, and the one after the last, of the abdomen."""
    slices = coarse.shape[2]
    dome = _dome_slice(coarse, body, mm)
    top = slices if dome is None else min(slices, dome + round(DOME_MARGIN_MM / mm[2]))
    hip = _hip_slice(coarse, dome if dome is not None else slices, mm[2])
    bottom = 0 if hip is None else max(0, hip - round(HIP_MARGIN_MM / mm[2]))
    lowest = top - int(FIELD_MM[2] / mm[2])
    return max(bottom, lowest, 0), top


def _dome_slice(coarse: npt.NDArray[np.floating], body: npt.NDArray[np.bool_], mm: Sequence[float]) -> int | None:
    """The lowest slice in which the lungs are half as large as at their largest; None without lungs."""
    from scipy import ndimage

    x, y, _ = (slice(a, b) for a, b in _extent(body))
    air = np.zeros(coarse.shape, dtype=bool)
    air[x, y] = coarse[x, y] < LUNG_HU
    # Air that reaches the side of a slice is outside the body; lungs may reach the top of the scan.
    frame = np.pad(air, ((1, 1), (1, 1), (0, 0)), constant_values=True)
    pieces, count = ndimage.label(frame)
    outside = pieces[0, 0, 0]
    pieces = pieces[1:-1, 1:-1]
    if count < 2:
        return None
    volumes = np.bincount(pieces.ravel(), minlength=count + 1) * float(np.prod(mm)) / 1000.0
    volumes[[0, outside]] = 0
    lungs = np.isin(pieces, np.flatnonzero(volumes >= _LUNG_ML))
    area = lungs.sum(axis=(0, 1)).astype(float)
    if not area.any():
        return None
    smooth = ndimage.uniform_filter1d(area, max(1, round(20.0 / mm[2])), mode="nearest")
    # From the top of the lungs downward, so that gas in the bowel is not met first.
    index = int(np.argmax(smooth))
    half = smooth.max() / 2
    while index > 0 and smooth[index - 1] > half:
        index -= 1
    return index


def _hip_slice(coarse: npt.NDArray[np.floating], dome: int, mm: float) -> int | None:
    """The slice of the iliac crests below the liver; None when the scan ends above it."""
    from scipy import ndimage

    bone = (coarse[:, :, :dome] > BONE_HU).sum(axis=(0, 1)).astype(float)
    if bone.size < 3 or not bone.any():
        return None
    smooth = ndimage.uniform_filter1d(bone, max(1, round(20.0 / mm)), mode="nearest")
    # The lumbar level, where there is least bone: at least 100 mm below the dome if the scan goes that far.
    below = smooth[: max(1, dome - round(100.0 / mm))]
    lumbar = int(np.argmin(below))
    hips = smooth[:lumbar]
    rise = smooth.max() - smooth[lumbar]
    if hips.size == 0 or hips.max() < smooth[lumbar] + 0.7 * rise:
        return None
    return int(np.flatnonzero(hips >= smooth[lumbar] + 0.7 * rise)[-1])


def largest_piece(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The largest connected piece (faces touching); empty stays empty."""
    from scipy import ndimage

    pieces, count = ndimage.label(mask)
    if count == 0:
        return mask
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return pieces == int(np.argmax(sizes))


def _eroded(mask: npt.NDArray[np.bool_], iterations: int = 1) -> npt.NDArray[np.bool_]:
    from scipy import ndimage

    return ndimage.binary_erosion(mask, iterations=iterations)


def _extent(mask: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    result = []
    for axis in range(3):
        hits = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        result.append((int(hits[0]), int(hits[-1]) + 1))
    return result


def _within_field(box: Sequence[tuple[int, int]], spacing: Sequence[float]) -> Box:
    """Cut to the network's field: evenly across, from below along z."""
    result = []
    for axis, (start, stop) in enumerate(box):
        most = int(FIELD_MM[axis] / spacing[axis])
        extra = max(0, stop - start - most)
        first = start + (extra if axis == 2 else extra // 2)
        result.append(slice(first, min(stop, first + most)))
    return result[0], result[1], result[2]
