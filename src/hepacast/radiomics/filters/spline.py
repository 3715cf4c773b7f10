"""Coefficients of the cubic splines through a block of voxels, equal to SciPy's ``spline_filter`` to the last bit.

SciPy filters line after line; here the vector registers hold lines side by side, each with its own order of sums.

Source: M. Unser, A. Aldroubi, M. Eden, IEEE Trans. Pattern Anal. Mach. Intell. 13 (1991) 277-285.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from hepacast.core.jit import jit

LANES = 64

#: The root of the cubic spline's filter, sqrt(3) - 2 (the difference of rounded numbers has another last digit).
_POLE = -0.26794919243112270647


def spline_coefficients(block: npt.NDArray[Any], out: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Write the coefficients into `out`, C-contiguous and of the shape (k, j, i) of `block`, which is mirrored about
    its border voxels."""
    out[...] = block
    k, j, i = out.shape
    _filter_columns(out.reshape(1, k, j * i), _POLE, _POLE ** (k - 1))
    _filter_columns(out, _POLE, _POLE ** (j - 1))
    _filter_rows(out.reshape(k * j, i), np.zeros((1, i, LANES)), _POLE, _POLE ** (i - 1))
    return out


@jit
def _filter_columns(block, pole, far):  # type: ignore[no-untyped-def]
    """Along the middle axis."""
    for before in range(block.shape[0]):
        for left in range(0, block.shape[2], LANES):
            _filter_lanes(block, before, left, min(left + LANES, block.shape[2]), pole, far)


@jit
def _filter_rows(block, lines, pole, far):  # type: ignore[no-untyped-def]
    """Along the last axis; `lines` is work space (1, columns, LANES)."""
    rows, columns = block.shape
    for top in range(0, rows, LANES):
        lanes = min(LANES, rows - top)
        # Turned in squares of 8 by 8, so that each line of the cache is used in full.
        for square in range(0, columns, 8):
            end = min(square + 8, columns)
            for lane in range(lanes):
                for i in range(square, end):
                    lines[0, i, lane] = block[top + lane, i]
        _filter_lanes(lines, 0, 0, LANES, pole, far)
        for square in range(0, columns, 8):
            end = min(square + 8, columns)
            for lane in range(lanes):
                for i in range(square, end):
                    block[top + lane, i] = lines[0, i, lane]


@jit
def _filter_lanes(block, before, left, right, pole, far):  # type: ignore[no-untyped-def]
    """Along the middle axis, columns `left` to `right`; `far` is the pole to the power of the length less one."""
    n = block.shape[1]
    if n < 2:
        return
    width = right - left
    gain = (1.0 - pole) * (1.0 - 1.0 / pole)
    for i in range(n):
        row = block[before, i, left:right]
        for lane in range(width):
            row[lane] *= gain
    first, last = block[before, 0, left:right], block[before, n - 1, left:right]
    for lane in range(width):
        first[lane] += far * last[lane]
    power = pole
    for i in range(1, n - 1):
        row, mirrored = block[before, i, left:right], block[before, n - 1 - i, left:right]
        for lane in range(width):
            first[lane] += power * (row[lane] + far * mirrored[lane])
        power *= pole
    for lane in range(width):
        first[lane] = first[lane] / (1.0 - far * far)
    for i in range(1, n):
        row, previous = block[before, i, left:right], block[before, i - 1, left:right]
        for lane in range(width):
            row[lane] += pole * previous[lane]
    previous = block[before, n - 2, left:right]
    for lane in range(width):
        last[lane] = (pole * previous[lane] + last[lane]) * pole / (pole * pole - 1.0)
    for i in range(n - 2, -1, -1):
        row, following = block[before, i, left:right], block[before, i + 1, left:right]
        for lane in range(width):
            row[lane] = pole * (following[lane] - row[lane])
