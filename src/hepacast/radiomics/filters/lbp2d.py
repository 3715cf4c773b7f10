"""Local binary patterns slice by slice, equal to scikit-image's ``local_binary_pattern`` as PyRadiomics calls it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from hepacast.core.jit import jit
from hepacast.radiomics.filters.source import SourceImage, VoxelBox

METHODS = ("default", "ror", "uniform", "var")


def local_binary_pattern_2d(
    source: SourceImage, box: VoxelBox, *, radius: float, samples: int, method: str, axis: int
) -> npt.NDArray[Any]:
    """Pattern codes of the box, in the image's own number type (PyRadiomics writes them back into the image).

    Parameters
    ----------
    radius
        Radius of the circle, voxels.
    samples
        Points on the circle.
    method
        "default", "ror" (least rotation), "uniform" or "var" (variance of the points).
    axis
        Array axis along which slices are stacked.

    Source: T. Ojala, M. Pietikainen, D. Harwood, Pattern Recognition 29 (1996) 51-59.
    """
    margin = math.ceil(radius) + 1
    margins = tuple(0 if other == axis else margin for other in range(3))
    outer = box.grown((margins[0], margins[1], margins[2]), source.shape)
    # PyRadiomics swaps the slice axis with the first one; rows and columns of a slice follow from that.
    block = np.ascontiguousarray(source.crop(outer).swapaxes(0, axis), dtype=np.float64)
    angles = 2 * np.pi * np.arange(samples, dtype=np.float64) / samples
    rows = np.round(-radius * np.sin(angles), 5)
    columns = np.round(radius * np.cos(angles), 5)
    codes = np.empty_like(block)
    _codes(block, rows, columns, METHODS.index(method), codes)
    result = codes.swapaxes(0, axis)[box.within(outer)]
    with np.errstate(invalid="ignore"):
        return np.ascontiguousarray(result).astype(source.array.dtype)


@jit
def _sample(slice_, row, column):  # type: ignore[no-untyped-def]
    """Bilinear interpolation; outside the slice lies 0."""
    rows, columns = slice_.shape
    r0, c0 = math.floor(row), math.floor(column)
    r1, c1 = math.ceil(row), math.ceil(column)
    dr, dc = row - r0, column - c0
    top_left = slice_[r0, c0] if 0 <= r0 < rows and 0 <= c0 < columns else 0.0
    top_right = slice_[r0, c1] if 0 <= r0 < rows and 0 <= c1 < columns else 0.0
    bottom_left = slice_[r1, c0] if 0 <= r1 < rows and 0 <= c0 < columns else 0.0
    bottom_right = slice_[r1, c1] if 0 <= r1 < rows and 0 <= c1 < columns else 0.0
    top = (1 - dc) * top_left + dc * top_right
    bottom = (1 - dc) * bottom_left + dc * bottom_right
    return (1 - dr) * top + dr * bottom


@jit
def _code(bits, texture, method):  # type: ignore[no-untyped-def]
    n = bits.size
    if method == 3:
        total = 0.0
        square = 0.0
        for s in range(n):
            total += texture[s]
            square += texture[s] * texture[s]
        variance = (square - (total * total) / n) / n
        return variance if variance != 0 else np.nan
    if method == 2:
        changes = 0
        ones = 0
        for s in range(n):
            ones += bits[s]
            if s + 1 < n and bits[s] != bits[s + 1]:
                changes += 1
        return float(ones) if changes <= 2 else float(n + 1)
    code = 0
    for s in range(n):
        code += bits[s] << s
    if method == 1:
        turned = code
        for _ in range(1, n):
            turned = (turned >> 1) | ((turned & 1) << (n - 1))
            code = min(code, turned)
    return float(code)


@jit
def _codes(block, rows, columns, method, codes):  # type: ignore[no-untyped-def]
    n = rows.size
    bits = np.zeros(n, dtype=np.int64)
    texture = np.zeros(n)
    for k in range(block.shape[0]):
        for j in range(block.shape[1]):
            for i in range(block.shape[2]):
                for s in range(n):
                    texture[s] = _sample(block[k], j + rows[s], i + columns[s])
                    bits[s] = 1 if texture[s] - block[k, j, i] >= 0 else 0
                codes[k, j, i] = _code(bits, texture, method)
