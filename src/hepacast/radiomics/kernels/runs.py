"""Runs of equal grey level along each direction, counted by the place of every voxel in its run.

If N(g, p) voxels of level g are the p-th of their run, then N(g, p) - N(g, p + 1) runs of level g have length p.
The place follows from that of the voxel before, so each direction needs one pass in the order of memory, without
branches, and no walk along oblique lines.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hepacast.core.jit import jit
from hepacast.radiomics.discretise import LevelImage
from hepacast.radiomics.kernels.cells import CellCounts
from hepacast.radiomics.kernels.cooccurrence import count_in_turn, table_copies
from hepacast.radiomics.kernels.offsets import flat_offsets
from hepacast.radiomics.kernels.voi import Voi

#: Up to this many bytes a table of places by level is kept; beyond it voxels in runs of two or more are sorted.
_TABLE_BYTES = 1 << 26

#: Places beyond it are rare: the part of a table up to it decides whether copies fit the cache.
_USUAL_LENGTH = 32


def count_runs(image: LevelImage, voi: Voi, offsets: npt.NDArray[np.int64]) -> CellCounts:
    """Runs by level and length, one matrix for each offset of distance 1.

    A direction in which no line holds two voxels of the VOI has an empty matrix, as in PyRadiomics' C code
    (a VOI of one slice has no runs across it). Else bit-equal to its ``calculate_glrlm``.
    """
    longest = int(max(image.box.shape))
    places = np.zeros(image.box.size, dtype=np.uint16)
    dense = 4 * (longest + 2) * (image.n_codes + 1) <= _TABLE_BYTES
    parts = []
    for offset, flat in zip(offsets, flat_offsets(offsets, image.box.shape), strict=True):
        box = image.box
        if not _touching(image.codes, box.starts, box.lengths, flat) and not _lines_with_two(voi, offset):
            parts.append(CellCounts.join([]))
            continue
        code, size, count = (_dense_runs if dense else _sorted_runs)(image, places, int(flat), longest)
        parts.append(CellCounts(np.array([0, len(code)]), code, size, count))
    return CellCounts.join(parts)


_Runs = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]


def _dense_runs(image: LevelImage, places: npt.NDArray[np.integer], offset: int, longest: int) -> _Runs:
    rows, width = longest + 2, image.n_codes + 1
    copies = table_copies(_USUAL_LENGTH * width)
    tables = np.zeros((copies, rows, width), dtype=np.int32)
    step = rows * width if copies > 1 else 0
    box = image.box
    _count_places(image.codes, places, box.starts, box.lengths, offset, width, tables.reshape(-1), step)
    table = tables.sum(axis=0, dtype=np.int32)
    top = int(np.flatnonzero(table.any(axis=1))[-1])
    by_level = (table[1 : top + 1] - table[2 : top + 2]).T
    code, size = np.nonzero(by_level)
    return code, size + 1, by_level[code, size].astype(np.float64)


def _sorted_runs(image: LevelImage, places: npt.NDArray[np.integer], offset: int, longest: int) -> _Runs:
    width = longest + 2
    box = image.box
    keys = np.empty(int(box.lengths.sum()), dtype=np.int64)
    singles = np.zeros(image.n_codes + 1, dtype=np.int64)
    n = _place_keys(image.codes, places, box.starts, box.lengths, offset, width, keys, singles)
    later, counts = np.unique(keys[:n], return_counts=True)  # (code, place) of the voxels at place 2 and beyond
    present = np.flatnonzero(singles)
    cells = np.concatenate([present * width + 1, later, later - 1])
    deltas = np.concatenate([singles[present], counts, -counts])
    cells, where = np.unique(cells, return_inverse=True)
    runs = np.bincount(where, deltas, minlength=len(cells))
    kept = np.flatnonzero(runs)
    return cells[kept] // width, cells[kept] % width, np.asarray(runs[kept], dtype=np.float64)


def _lines_with_two(voi: Voi, offset: npt.NDArray[np.int64]) -> bool:
    """Whether any line along `offset` holds two voxels of the VOI, touching or not."""
    lengths = voi.lengths
    along = np.arange(voi.n_voxels) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    at = np.repeat(voi.segments[:, :3], lengths, axis=0)
    at[:, 2] += along
    moving = int(np.flatnonzero(offset)[0])
    line = at - np.outer(at[:, moving] * offset[moving], offset)
    return len(np.unique(line, axis=0)) < voi.n_voxels


@jit
def _fill_places(codes, places, start, n, offset):  # type: ignore[no-untyped-def]
    """Place of each voxel of a segment in its run; no branches, and unsigned indices, which need no check."""
    a, back, one = np.uint64(start), np.uint64(start - offset), np.uint64(1)
    if offset == 1:  # each place follows from the one just found
        running = np.uint16(0)
        last = codes[back]
        for _ in range(n):
            running = np.uint16(np.uint16(codes[a] == last) * running + np.uint16(1))
            last = codes[a]
            places[a] = running
            a += one
        return
    for _ in range(n):
        places[a] = np.uint16(codes[a] == codes[back]) * places[back] + np.uint16(1)
        a += one
        back += one


@jit
def _touching(codes, starts, lengths, offset):  # type: ignore[no-untyped-def]
    """Whether any voxel has a neighbour in the VOI at `offset`; as a rule the first ones tell."""
    for s in range(starts.size):
        for i in range(starts[s], starts[s] + lengths[s]):
            if codes[i - offset] != 0:
                return True
    return False


@jit
def _count_places(codes, places, starts, lengths, offset, width, table, step):  # type: ignore[no-untyped-def]
    for s in range(starts.size):
        a, n = starts[s], lengths[s]
        _fill_places(codes, places, a, n, offset)
        count_in_turn(places, codes, a, a, n, width, step, table)


@jit
def _place_keys(codes, places, starts, lengths, offset, width, keys, singles):  # type: ignore[no-untyped-def]
    found = 0
    for s in range(starts.size):
        a, n = starts[s], lengths[s]
        here = codes[a : a + n]
        place = places[a : a + n]
        _fill_places(codes, places, a, n, offset)
        for i in range(n):
            if place[i] == 1:
                singles[here[i]] += 1
            else:
                keys[found] = np.int64(here[i]) * width + place[i]
                found += 1
    return found
