"""Where the abdomen may be in a CT: boxes to look for the liver in, the likeliest first.

Along z up to some way above the liver's dome and, where the scan is taller than the network's field, down to the hip;
across from skin to skin without table; at most as large as the field. The rules are anatomy only: the body is the
largest piece of soft tissue, the lungs are enclosed air of which a good part is tissue (gas in the bowel is air
alone), the iliac crest is where bone becomes plentiful again below the lumbar spine. Where the first box does not show
a whole liver, others are looked at (`find_liver`).
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

#: Lungs smaller than this (mL) say nothing about where the dome is.
_LUNG_ML = 150.0

#: A quarter of a lung's inside is denser than this (vessels, walls of alveoli); gas in the bowel or in a pneumothorax
#: is at -1000 HU with the scanner's noise.
_GAS_HU = -925.0

#: Fat and air: a CT in HU of a living body has some voxels below this.
_FAT_HU = -30.0

#: Steps between windows along a scan that is taller than the field (mm).
_WINDOW_STEP_MM = 200.0

#: Voxels of this size are fine enough to find the box.
_COARSE_MM = 3.0

Box = tuple[slice, slice, slice]


def abdomen_box(array: npt.NDArray[np.floating], spacing: Sequence[float]) -> Box:
    """The likeliest of `abdomen_boxes`."""
    return abdomen_boxes(array, spacing)[0]


def abdomen_boxes(array: npt.NDArray[np.floating], spacing: Sequence[float]) -> list[Box]:
    """Boxes that may hold the liver, the likeliest first; the others are for when it is not all there.

    Parameters
    ----------
    array
        HU, axes (x, y, z) running to the left, the back and the head.
    spacing
        Voxel size along them, mm.

    Raises
    ------
    ImageError
        There are fewer than three slices of 3 mm, or there is no body, or no fat and no air: not a CT in HU (an MR, for
        example).
    """
    steps = [max(1, round(_COARSE_MM / mm)) for mm in spacing]
    _require_slices(array.shape, spacing, steps)
    coarse = array[:: steps[0], :: steps[1], :: steps[2]]
    mm = [s * step for s, step in zip(spacing, steps, strict=True)]
    body = largest_piece(_eroded(coarse > TISSUE_HU))
    if not body.any() or float((coarse < _FAT_HU).mean()) < 0.005:
        raise ImageError(
            "No body is found in the image." if not body.any() else "There is neither fat nor air in the image.",
            expected="a CT in HU: air at -1000, fat at -100, soft tissue above -150",
            found=f"values from {float(array.min()):.0f} to {float(array.max()):.0f}",
            remedy="is it a CT (these networks read no MR), and are the values Hounsfield units?",
        )
    boxes: list[Box] = []
    for low, high in _z_ranges(coarse, body, mm):
        inner = largest_piece(_eroded(coarse[:, :, low:high] > TISSUE_HU, 2))
        across = inner if inner.any() else body[:, :, low:high]
        if not across.any():
            continue
        box = []
        for axis, (start, stop) in enumerate([*_extent(across)[:2], (low, high)]):
            box.append((start * steps[axis], min(stop * steps[axis], array.shape[axis])))
        found = _within_field(box, spacing)
        boxes += [] if found in boxes else [found]
    return boxes


def _require_slices(shape: Sequence[int], spacing: Sequence[float], steps: Sequence[int]) -> None:
    """Of fewer than three coarse voxels along an axis nothing has an inside, and no body would be found."""
    for axis, n, mm, step in zip("xyz", shape, spacing, steps, strict=True):
        if n <= 2 * step:
            raise ImageError(
                "The scan has too few slices for the built-in networks.",
                expected=f"at least {2 * step + 1} slices of {mm:g} mm",
                found=f"{n} slices of {mm:g} mm along {axis}",
                remedy="Give the whole series, or a mask that is at hand.",
            )


def _z_ranges(
    coarse: npt.NDArray[np.floating], body: npt.NDArray[np.bool_], mm: Sequence[float]
) -> list[tuple[int, int]]:
    """First slice, and the one after the last: of the abdomen as the lungs and the hip show it, then of others."""
    slices, field = coarse.shape[2], int(FIELD_MM[2] / mm[2])
    dome = _dome_slice(coarse, body, mm)
    top = slices if dome is None else min(slices, dome + round(DOME_MARGIN_MM / mm[2]))
    bottom = 0
    if top > field:
        hip = _hip_slice(coarse, dome if dome is not None else slices, mm[2])
        bottom = 0 if hip is None else max(0, hip - round(HIP_MARGIN_MM / mm[2]))
    step = max(1, round(_WINDOW_STEP_MM / mm[2]))
    others = [(max(0, high - field), high) for high in range(slices, min(field, slices) - 1, -step)]
    if others[-1][0] > 0:
        others.append((0, min(field, slices)))
    # Nearest to the first guess first.
    others.sort(key=lambda pair: abs(pair[1] - top))
    return [(max(bottom, top - field, 0), top), *others]


def _dome_slice(coarse: npt.NDArray[np.floating], body: npt.NDArray[np.bool_], mm: Sequence[float]) -> int | None:
    """The lowest slice in which the lungs are half as large as at their largest; None without lungs."""
    from scipy import ndimage

    lungs = _lungs(coarse, body, mm)
    area = lungs.sum(axis=(0, 1)).astype(float)
    if not area.any():
        return None
    smooth = ndimage.uniform_filter1d(area, max(1, round(20.0 / mm[2])), mode="nearest")
    index = int(np.argmax(smooth))
    half = smooth.max() / 2
    while index > 0 and smooth[index - 1] > half:
        index -= 1
    return index


def _lungs(coarse: npt.NDArray[np.floating], body: npt.NDArray[np.bool_], mm: Sequence[float]) -> npt.NDArray[np.bool_]:
    """Enclosed air that is large and has tissue in it."""
    from scipy import ndimage

    x, y, _ = (slice(a, b) for a, b in _extent(body))
    air = np.zeros(coarse.shape, dtype=bool)
    air[x, y] = coarse[x, y] < LUNG_HU
    # Air that reaches the side of a slice is outside the body; lungs may reach the top of the scan.
    frame = np.pad(air, ((1, 1), (1, 1), (0, 0)), constant_values=True)
    pieces, count = ndimage.label(frame)
    outside = pieces[0, 0, 0]
    pieces = pieces[1:-1, 1:-1]
    volumes = np.bincount(pieces.ravel(), minlength=count + 1) * float(np.prod(mm)) / 1000.0
    volumes[[0, outside]] = 0
    # Voxels at the edge of gas are half tissue, so that only the inside is looked at.
    inside = np.where(_eroded(air), pieces, 0)
    lungs = [
        number
        for number in np.flatnonzero(volumes >= _LUNG_ML)
        if (inside == number).any() and np.percentile(coarse[inside == number], 75) > _GAS_HU
    ]
    return np.isin(pieces, lungs)


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
