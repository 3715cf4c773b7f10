"""Grey-level co-occurrence: how often level i has level j as its neighbour in each direction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hepacast.radiomics.discretise import LevelImage
from hepacast.radiomics.kernels.jit import jit
from hepacast.radiomics.kernels.offsets import flat_offsets

#: Up to this many bytes a table of all level pairs of one direction is kept; beyond it pairs are sorted.
_TABLE_BYTES = 1 << 26


@dataclass(frozen=True, eq=False)
class PairCounts:
    """The cells of co-occurrence matrices that are not empty.

    Parameters
    ----------
    starts
        The cells of matrix (direction) a are ``starts[a]:starts[a + 1]``.
    row, column
        Codes (1..n) of the voxel and of its neighbour.
    count
        Number of pairs.
    """

    starts: npt.NDArray[np.int64]
    row: npt.NDArray[np.int32]
    column: npt.NDArray[np.int32]
    count: npt.NDArray[np.float64]


def count_pairs(image: LevelImage, offsets: npt.NDArray[np.int64], *, symmetrical: bool) -> PairCounts:
    """Count the neighbours' levels along each offset; with `symmetrical` each pair also in the other order.

    The order of the cells is by direction, row, column. Bit-equal to PyRadiomics' ``calculate_glcm``.
    """
    flat = flat_offsets(offsets, image.box.shape)
    width = image.n_codes + 1
    dense = 4 * width * width <= _TABLE_BYTES
    parts = [(_dense_pairs if dense else _sorted_pairs)(image, offset, width, symmetrical) for offset in flat]
    sizes = [len(cells) for cells, _ in parts]
    cells = np.concatenate([cells for cells, _ in parts]) if parts else np.zeros(0, dtype=np.int64)
    counts = np.concatenate([counts for _, counts in parts]) if parts else np.zeros(0)
    return PairCounts(
        np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        (cells // width).astype(np.int32),
        (cells % width).astype(np.int32),
        counts.astype(np.float64),
    )


def _dense_pairs(
    image: LevelImage, offset: int, width: int, symmetrical: bool
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    table = np.zeros(width * width, dtype=np.uint32)
    _count_table(image.codes, image.box.starts, image.box.lengths, offset, width, table)
    square = table.reshape(width, width)
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


@jit
def _count_table(codes, starts, lengths, offset, width, table):  # type: ignore[no-untyped-def]
    for s in range(starts.size):
        n = lengths[s]
        here = codes[starts[s] : starts[s] + n]
        there = codes[starts[s] + offset : starts[s] + offset + n]
        for i in range(n):
            table[np.int64(here[i]) * width + there[i]] += 1


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


def merge(pairs: PairCounts, weights: npt.NDArray[np.float64]) -> PairCounts:
    """One matrix: the weighted sum of all directions."""
    width = int(max(pairs.row.max(initial=0), pairs.column.max(initial=0))) + 1
    keys = pairs.row.astype(np.int64) * width + pairs.column
    cells, place = np.unique(keys, return_inverse=True)
    each = np.repeat(weights, np.diff(pairs.starts))
    counts = np.asarray(np.bincount(place, weights=pairs.count * each, minlength=len(cells)), dtype=np.float64)
    starts = np.array([0, len(cells)], dtype=np.int64)
    return PairCounts(starts, (cells // width).astype(np.int32), (cells % width).astype(np.int32), counts)
