"""Grey-level co-occurrence: how often level i has level j as its neighbour in each direction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hepacast.core.jit import jit
from hepacast.radiomics.discretise import LevelImage
from hepacast.radiomics.kernels.offsets import flat_offsets

#: Up to this many bytes a table of all level pairs of one direction is kept; beyond it pairs are sorted.
_TABLE_BYTES = 1 << 26

#: Tables of up to so many cells are kept eight times.
_COPIED_CELLS = 1 << 14


@dataclass(frozen=True, eq=False)
class PairCounts:
    """The cells of one co-occurrence matrix that are not empty.

    Parameters
    ----------
    row, column
        Codes (1..n) of the voxel and of its neighbour.
    count
        Number of pairs.
    """

    row: npt.NDArray[np.int32]
    column: npt.NDArray[np.int32]
    count: npt.NDArray[np.float64]


def count_pairs(image: LevelImage, offsets: npt.NDArray[np.int64], *, symmetrical: bool) -> Iterator[PairCounts]:
    """Count the neighbours' levels along each offset; with `symmetrical` each pair also in the other order.

    One matrix at a time, its cells by row and column: with very many levels all of them would not fit the memory.
    Bit-equal to PyRadiomics' ``calculate_glcm``.
    """
    width = image.n_codes + 1
    count = _dense_pairs if 4 * width * width <= _TABLE_BYTES else _sorted_pairs
    for offset in flat_offsets(offsets, image.box.shape):
        cells, counts = count(image, offset, width, symmetrical)
        yield _from_cells(cells, counts.astype(np.float64), width)


def merge(pairs: Iterable[PairCounts], weights: npt.NDArray[np.float64], n_codes: int) -> PairCounts:
    """One matrix: the weighted sum of all directions."""
    width = n_codes + 1
    cells, counts = np.zeros(0, dtype=np.int64), np.zeros(0)
    for matrix, weight in zip(pairs, weights, strict=True):
        more = matrix.row.astype(np.int64) * width + matrix.column
        cells, place = np.unique(np.concatenate([cells, more]), return_inverse=True)
        both = np.concatenate([counts, weight * matrix.count])
        counts = np.asarray(np.bincount(place, both, minlength=len(cells)), dtype=np.float64)
    return _from_cells(cells, counts, width)


def _from_cells(cells: npt.NDArray[np.int64], counts: npt.NDArray[np.float64], width: int) -> PairCounts:
    return PairCounts((cells // width).astype(np.int32), (cells % width).astype(np.int32), counts)


def _dense_pairs(
    image: LevelImage, offset: int, width: int, symmetrical: bool
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    copies = table_copies(width * width)
    tables = np.zeros((copies, width * width), dtype=np.uint32)
    step = tables.shape[1] if copies > 1 else 0
    _count_table(image.codes, image.box.starts, image.box.lengths, offset, width, tables.reshape(-1), step)
    square = tables.sum(axis=0, dtype=np.uint32).reshape(width, width)
    square[:, 0] = 0  # the neighbour lies outside the VOI
    if symmetrical:
        square = square + square.T
    cells = np.flatnonzero(square)
    return cells, square.reshape(-1)[cells].astype(np.int64)


def _sorted_pairs(
    image: LevelImage, offset: int, width: int, symmetrical: bool
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    keys = np.empty(int(image.box.lengths.sum()), dtype=np.int64)
    n = _pair_keys(image.codes, image.box.starts, image.box.lengths, offset, width, keys)
    cells, counts = np.unique(keys[:n], return_counts=True)
    if symmetrical:
        mirrored = (cells % width) * width + cells // width
        cells, place = np.unique(np.concatenate([cells, mirrored]), return_inverse=True)
        counts = np.bincount(place, weights=np.tile(counts, 2)).astype(np.int64)
    return cells, counts


def table_copies(cells: int) -> int:
    """How many tables the voxels are counted in, in turn.

    With few gray levels neighbouring voxels count in the same cell, and each count would wait for the one before to
    be written. Tables that leave the cache would cost more than that; of middling ones only a few cells are hot.
    """
    return 8 if cells <= _COPIED_CELLS else 1


@jit
def count_in_turn(row, column, at, beside, n, width, step, table):  # type: ignore[no-untyped-def]
    """Count the cells (row, column) of `n` voxels in the tables, which lie `step` numbers apart.

    `at` and `beside` are where the voxels begin in `row` and `column`. Indices are unsigned: nothing has to ask
    whether they are counted from the end.
    """
    wide, a, b, u1 = np.uint64(width), np.uint64(at), np.uint64(beside), np.uint64(1)
    one, two, three, half = np.uint64(step), np.uint64(2 * step), np.uint64(3 * step), np.uint64(4 * step)
    u2, u3, u4, u5, u6, u7 = np.uint64(2), np.uint64(3), np.uint64(4), np.uint64(5), np.uint64(6), np.uint64(7)
    for _ in range(n // 8):
        table[np.uint64(row[a]) * wide + np.uint64(column[b])] += 1
        table[np.uint64(row[a + u1]) * wide + np.uint64(column[b + u1]) + one] += 1
        table[np.uint64(row[a + u2]) * wide + np.uint64(column[b + u2]) + two] += 1
        table[np.uint64(row[a + u3]) * wide + np.uint64(column[b + u3]) + three] += 1
        table[np.uint64(row[a + u4]) * wide + np.uint64(column[b + u4]) + half] += 1
        table[np.uint64(row[a + u5]) * wide + np.uint64(column[b + u5]) + half + one] += 1
        table[np.uint64(row[a + u6]) * wide + np.uint64(column[b + u6]) + half + two] += 1
        table[np.uint64(row[a + u7]) * wide + np.uint64(column[b + u7]) + half + three] += 1
        a += np.uint64(8)
        b += np.uint64(8)
    for _ in range(n % 8):
        table[np.uint64(row[a]) * wide + np.uint64(column[b])] += 1
        a += u1
        b += u1


@jit
def _count_table(codes, starts, lengths, offset, width, table, step):  # type: ignore[no-untyped-def]
    for s in range(starts.size):
        count_in_turn(codes, codes, starts[s], starts[s] + offset, lengths[s], width, step, table)


@jit
def _pair_keys(codes, starts, lengths, offset, width, keys):  # type: ignore[no-untyped-def]
    found = 0
    for s in range(starts.size):
        n = lengths[s]
        here = codes[starts[s] : starts[s] + n]
        there = codes[starts[s] + offset : starts[s] + offset + n]
        for i in range(n):
            if there[i] != 0:
                keys[found] = np.int64(here[i]) * width + there[i]
                found += 1
    return found
