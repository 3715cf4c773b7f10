"""Gradient magnitude by central differences, as ITK's ``GradientMagnitudeImageFilter`` (result in float32)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hepacast.core.jit import jit
from hepacast.radiomics.filters.source import SourceImage, VoxelBox


def gradient(source: SourceImage, box: VoxelBox, *, use_spacing: bool) -> npt.NDArray[np.float32]:
    """Gradient magnitude, intensity a mm (`use_spacing`) or a voxel.

    One voxel around the box is all that the filter reads; beyond the image's border its last voxel is repeated.
    """
    steps = np.array(source.spacing[::-1]) if use_spacing else np.ones(3)
    result = source.scratch.array("image", box.shape, np.float32)
    _magnitude(source.array, np.array(box.low), 0.5 * (1.0 / steps), result)
    return result


@jit
def _magnitude(image, low, weights, result):  # type: ignore[no-untyped-def]
    n0, n1, n2 = result.shape
    last0, last1, last2 = image.shape[0] - 1, image.shape[1] - 1, image.shape[2] - 1
    w0, w1, w2 = weights[0], weights[1], weights[2]
    for k in range(n0):
        gk = low[0] + k
        before0, after0 = image[max(gk - 1, 0)], image[min(gk + 1, last0)]
        plane = image[gk]
        for j in range(n1):
            gj = low[1] + j
            row0a, row0b = before0[gj], after0[gj]
            row1a, row1b = plane[max(gj - 1, 0)], plane[min(gj + 1, last1)]
            row = plane[gj]
            out = result[k, j]
            for i in range(n2):
                gi = low[2] + i
                left, right = row[max(gi - 1, 0)], row[min(gi + 1, last2)]
                d2 = -w2 * left + w2 * right
                d1 = -w1 * row1a[gi] + w1 * row1b[gi]
                d0 = -w0 * row0a[gi] + w0 * row0b[gi]
                out[i] = np.sqrt(d2 * d2 + d1 * d1 + d0 * d0)
