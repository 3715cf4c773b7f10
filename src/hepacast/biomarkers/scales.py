"""Fine and coarse structure of a region: how much intensities vary below and above a length in mm.

Intensities are smoothed by a Gaussian that sees the region alone (normalized convolution: Knutsson H, Westin CF, CVPR
1993:515-523), so that neither fat beside the liver nor liver beside the tumor leaks in. The coarse structure of a
length is the smoothed image, the fine structure what the smoothing takes away.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from hepacast.core.jit import jit

#: The Gaussian ends at so many standard deviations.
TRUNCATE = 3.0


def smoothed(
    values: npt.NDArray[Any], mask: npt.NDArray[np.bool_], spacing_kji: Sequence[float], mm: float
) -> npt.NDArray[np.float32]:
    """The image smoothed within a region, at the region's voxels in the order of memory.

    Parameters
    ----------
    values, mask
        Image and region, shape (k, j, i); best the region's box.
    spacing_kji
        Voxel size along each axis, mm.
    mm
        Standard deviation of the Gaussian, mm.
    """
    inside = np.ascontiguousarray(mask)
    center = np.float32(values[inside].mean(dtype=np.float64))
    image = np.where(inside, np.asarray(values, dtype=np.float32) - center, np.float32(0.0))
    kernels = [_gaussian(mm / step) for step in spacing_kji]
    rows = inside.any(axis=2)
    first = np.where(rows, inside.argmax(axis=2), 0)
    last = np.where(rows, inside.shape[2] - inside[:, :, ::-1].argmax(axis=2), 0)
    out = np.empty(int(np.count_nonzero(inside)), dtype=np.float32)
    a, b = np.zeros_like(image), np.zeros_like(image)
    filled = np.zeros(rows.shape, dtype=np.bool_)
    _smooth_down(image, inside, rows, first, last, kernels[0], a, b, filled)
    _smooth_across(a, b, filled, inside, rows, first, last, kernels[1], kernels[2], out)
    return out + center


def fine_and_coarse(
    values: npt.NDArray[Any], mask: npt.NDArray[np.bool_], spacing_kji: Sequence[float], mm: float
) -> tuple[float, float]:
    """Standard deviation of the fine and of the coarse structure of a region (see the module)."""
    return split(values[mask], smoothed(values, mask, spacing_kji, mm))


def split(values: npt.NDArray[Any], coarse: npt.NDArray[np.float32]) -> tuple[float, float]:
    """Standard deviation of fine and coarse structure, of voxels and the same voxels smoothed."""
    slow = coarse.astype(np.float64)
    return float((values.astype(np.float64) - slow).std()), float(slow.std())


def _gaussian(sigma: float) -> npt.NDArray[np.float32]:
    """One side of the kernel, its middle first; the sum does not matter, since it is divided by its own smoothing."""
    reach = int(TRUNCATE * sigma + 0.5)
    return np.exp(-0.5 * (np.arange(reach + 1) / sigma) ** 2).astype(np.float32)


@jit
def _smooth_down(image, mask, rows, first, last, wk, a, b, filled):  # type: ignore[no-untyped-def]
    """Along k, into `a` (image) and `b` (mask); `filled`: rows that hold anything then. Rows without the region are
    neither read nor made. Loops run from 0 over slices, so that they are compiled to vectors."""
    nk, nj, _ = image.shape
    for k in range(nk):
        for d in range(-(wk.size - 1), wk.size):
            source = k + d
            if source < 0 or source >= nk:
                continue
            weight = wk[abs(d)]
            for j in range(nj):
                if not rows[source, j]:
                    continue
                filled[k, j] = True
                low, high = first[source, j], last[source, j]
                row, inside = image[source, j, low:high], mask[source, j, low:high]
                to, count = a[k, j, low:high], b[k, j, low:high]
                for i in range(row.size):
                    to[i] += weight * row[i]
                for i in range(row.size):
                    count[i] += weight * np.float32(inside[i])


@jit
def _smooth_across(a, b, filled, mask, rows, first, last, wj, wi, out):  # type: ignore[no-untyped-def]
    """Along j, then i, of what `_smooth_down` made. Places on both sides have the same weight: they are added before
    they are weighted."""
    nk, nj, ni = mask.shape
    reach = wi.size - 1
    place = 0
    line = np.zeros(ni + 2 * reach, dtype=np.float32)
    share = np.zeros(ni + 2 * reach, dtype=np.float32)
    total = np.zeros(ni, dtype=np.float32)
    known = np.zeros(ni, dtype=np.float32)
    for k in range(nk):
        for j in range(nj):
            if not rows[k, j]:
                continue
            low, high = first[k, j], last[k, j]
            start, stop = max(0, low - reach), min(ni, high + reach)
            line[:] = 0
            share[:] = 0
            one, two = line[reach + start : reach + stop], share[reach + start : reach + stop]
            for d in range(wj.size):
                before, after = max(j - d, 0), min(j + d, nj - 1)
                left, right = d > 0 and j - d >= 0 and filled[k, before], j + d < nj and filled[k, after]
                if not (left or right):
                    continue
                weight, near = wj[d], after if right else before
                row, count = a[k, near, start:stop], b[k, near, start:stop]
                if left and right:
                    other, counted = a[k, before, start:stop], b[k, before, start:stop]
                    for i in range(one.size):
                        one[i] += weight * (row[i] + other[i])
                    for i in range(two.size):
                        two[i] += weight * (count[i] + counted[i])
                else:
                    for i in range(one.size):
                        one[i] += weight * row[i]
                    for i in range(two.size):
                        two[i] += weight * count[i]
            size = high - low
            one, two = line[reach + low : reach + high], share[reach + low : reach + high]
            for i in range(size):
                total[i] = wi[0] * one[i]
                known[i] = wi[0] * two[i]
            for d in range(1, reach + 1):
                weight, left_at, right_at = wi[d], reach + low - d, reach + low + d
                row, other = line[left_at : left_at + size], line[right_at : right_at + size]
                for i in range(size):
                    total[i] += weight * (row[i] + other[i])
                count, counted = share[left_at : left_at + size], share[right_at : right_at + size]
                for i in range(size):
                    known[i] += weight * (count[i] + counted[i])
            inside = mask[k, j, low:high]
            for i in range(size):
                if inside[i]:
                    out[place] = total[i] / known[i]
                    place += 1
