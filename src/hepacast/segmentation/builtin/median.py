"""Median of each voxel's 3 x 3 x 3 neighborhood, by sorting networks over rows of voxels.

Each comparison puts the smaller of two values first for many voxels at once. Columns of nine are sorted once and serve
three neighborhoods; of three sorted columns, whose values are put in order across too, fourteen cannot be the median
(seven of the 27 are surely below it, seven above), and of the thirteen others least and greatest are taken away in turn
(Paeth AW, in: Graphics Gems, 1990:171). Comparisons alone: the values are those of any median filter.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hepacast.core.jit import jit

#: Voxels that are compared at once: their 27 rows stay in the cache.
_TOGETHER = 512
#: Comparisons that sort nine rows.
_SORT_9 = np.array(
    [
        *((0, 3), (1, 7), (2, 5), (4, 8), (0, 7), (2, 4), (3, 8), (5, 6), (0, 2), (1, 3), (4, 5), (7, 8)),
        *((1, 4), (3, 6), (5, 7), (0, 1), (2, 4), (3, 5), (6, 8), (2, 3), (4, 5), (6, 7), (1, 2), (3, 4), (5, 6)),
    ]
)


def _middle_of(rows: list[int]) -> tuple[list[tuple[int, int]], int]:
    """Comparisons of an odd number of rows, and the row in which their median stands after them."""
    active, waiting = rows[: len(rows) // 2 + 2], rows[len(rows) // 2 + 2 :]
    pairs: list[tuple[int, int]] = []
    while len(active) > 1:
        first, *others, last = active
        pairs += [(first, row) for row in [*others, last]] + [(row, last) for row in others]
        active = others + waiting[:1]
        waiting = waiting[1:]
    return pairs, active[0]


#: Row 3 r + c holds the values of rank r of column c. Across the columns first, then the thirteen that are left.
_ACROSS = [pair for r in range(0, 27, 3) for pair in ((r, r + 1), (r + 1, r + 2), (r, r + 1))]
_LEFT = [*range(15, 27, 3), *range(7, 20, 3), *range(2, 12, 3)]
_AMONG, _FOUND = _middle_of(_LEFT)
_MIDDLE = np.array(_ACROSS + _AMONG)


def median_of_27(array: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Median of each voxel's 3 x 3 x 3 neighborhood, edges repeated; shape (x, y, z) without NaN."""
    values = np.ascontiguousarray(array, dtype=np.float32)
    found = np.empty_like(values)
    _, ny, nz = values.shape
    together = max(1, min(ny, _TOGETHER // nz))
    columns = np.empty((9, together * (nz + 2)), dtype=np.float32)
    rows = np.empty((27, together * nz), dtype=np.float32)
    _medians(values, found, columns, rows, together)
    return found


@jit
def _put_in_order(first, second):  # type: ignore[no-untyped-def]
    for i in range(first.size):
        one, other = first[i], second[i]
        first[i] = one if one < other else other
        second[i] = other if one < other else one


@jit
def _medians(values, found, columns, rows, together):  # type: ignore[no-untyped-def]
    nx, ny, nz = values.shape
    wide = nz + 2
    for x in range(nx):
        for start in range(0, ny, together):
            count = min(together, ny - start)
            for line in range(count):
                for place in range(9):
                    row = values[
                        min(max(x + place // 3 - 1, 0), nx - 1), min(max(start + line + place % 3 - 1, 0), ny - 1)
                    ]
                    at = line * wide
                    columns[place, at] = row[0]
                    columns[place, at + 1 : at + 1 + nz] = row
                    columns[place, at + 1 + nz] = row[nz - 1]
            for pair in range(_SORT_9.shape[0]):
                _put_in_order(columns[_SORT_9[pair, 0], : count * wide], columns[_SORT_9[pair, 1], : count * wide])
            for rank in range(9):
                for shift in range(3):
                    for line in range(count):
                        at = line * wide + shift
                        rows[3 * rank + shift, line * nz : (line + 1) * nz] = columns[rank, at : at + nz]
            for pair in range(_MIDDLE.shape[0]):
                _put_in_order(rows[_MIDDLE[pair, 0], : count * nz], rows[_MIDDLE[pair, 1], : count * nz])
            for line in range(count):
                found[x, start + line] = rows[_FOUND, line * nz : (line + 1) * nz]
