"""Grey-level co-occurrence: how often level i has level j as its neighbour in each direction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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
