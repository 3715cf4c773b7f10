"""Zones: connected voxels of equal grey level, by union-find in one pass.

Each voxel looks at the 13 neighbours before it (4 in a plane). Those of its own level form at most a few connected
groups, and the voxels of one group are already in one zone, so only one voxel of each group has to be joined; which
ones follows from the 13 comparisons through a table of 2^13 entries.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from hepacast.core.jit import jit
from hepacast.radiomics.discretise import LevelImage
from hepacast.radiomics.kernels.cells import CellCounts
from hepacast.radiomics.kernels.offsets import flat_offsets, half_offsets

#: Zones up to this size, nearly all, are counted in a table; the others are listed.
_SMALL = 32


def count_zones(image: LevelImage, flat_axis: int | None) -> CellCounts:
    """Zones by level and size; 26 neighbours, or 8 in the plane across `flat_axis`.

    Bit-equal to PyRadiomics' ``calculate_glszm``.
    """
    offsets = half_offsets((1,), flat_axis)
    box = image.box
    _, height, width = box.shape
    planar = offsets[:, 1] * width + offsets[:, 2]
    total, plane = int(box.lengths.sum()), height * width
    code, size = np.empty(total, dtype=image.codes.dtype), np.empty(total, dtype=np.int32)
    zones = _find_zones(
        image.codes,
        box.starts,
        box.lengths,
        box.slices,
        plane,
        flat_offsets(offsets, box.shape),
        planar,
        offsets[:, 0],
        *_representatives(flat_axis),
        np.zeros(2 * plane, dtype=np.int32),
        np.empty(total, dtype=np.int32),
        np.empty(int(box.lengths.max(initial=1)), dtype=np.uint16),
        code,
        size,
    )
    code, size = code[:zones], size[:zones]
    if image.n_codes >= 1 << 16:
        table = np.zeros((0, 0), dtype=np.int64)
        large_code, large_size = code.astype(np.int64), size.astype(np.int64)
    else:
        table = np.zeros((image.n_codes + 1, _SMALL + 1), dtype=np.int64)
        large = np.flatnonzero(size > _SMALL)
        _count_small(code, size, table)
        large_code, large_size = code[large].astype(np.int64), size[large].astype(np.int64)
    small = CellCounts.of_table(table)
    span = int(large_size.max(initial=0)) + 1
    cells, counts = np.unique(large_code * span + large_size, return_counts=True)
    all_code = np.concatenate([small.code, cells // span])
    all_size = np.concatenate([small.size, cells % span])
    count = np.concatenate([small.count, counts.astype(np.float64)])
    return CellCounts(np.array([0, len(all_code)]), all_code, all_size, count)


@lru_cache(maxsize=4)
def _representatives(flat_axis: int | None) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint8]]:
    """For each set of neighbours (a bit each): one neighbour of each connected group, and the lowest bit's place."""
    offsets = half_offsets((1,), flat_axis)
    near = np.abs(offsets[:, None] - offsets[None]).max(axis=2) <= 1
    bits = (near * (1 << np.arange(len(offsets)))).sum(axis=1)
    table = np.zeros(1 << len(offsets), dtype=np.uint16)
    lowest = np.zeros(len(table), dtype=np.uint8)
    _fill_representatives(bits, table, lowest)
    return table, lowest


@jit
def _fill_representatives(near, table, lowest):  # type: ignore[no-untyped-def]
    for chosen in range(table.size):
        remaining = chosen
        result = 0
        while remaining:
            group = remaining & -remaining
            result |= group
            grown = 0
            while grown != group:
                grown = group
                for a in range(near.size):
                    if grown >> a & 1:
                        group |= near[a] & remaining
            remaining &= ~group
        table[chosen] = result
        while chosen and not chosen >> lowest[chosen] & 1:
            lowest[chosen] += 1


@jit
def _root(parent, label):  # type: ignore[no-untyped-def]
    while parent[label] != label:
        parent[label] = parent[parent[label]]
        label = parent[label]
    return label


@jit
def _equal_neighbours(codes, start, n, offsets, equal):  # type: ignore[no-untyped-def]
    """For each voxel of a segment, which of the neighbours before it have its level (one bit each)."""
    here = codes[start : start + n]
    equal[:n] = 0
    for a in range(offsets.size):
        before = codes[start - offsets[a] : start - offsets[a] + n]
        bit = np.uint16(1 << a)
        for i in range(n):
            equal[i] |= bit if here[i] == before[i] else np.uint16(0)


@jit
def _find_zones(  # type: ignore[no-untyped-def]
    codes, starts, lengths, slices, plane, offsets, planar, steps, representatives, lowest, labels, parent, equal, code,
    size,
):  # fmt: skip
    """Level code and size of every zone, as many as are returned. Labels are kept for two slices only."""
    n_labels = 0
    for s in range(starts.size):
        n = lengths[s]
        _equal_neighbours(codes, starts[s], n, offsets, equal)
        inside = starts[s] - slices[s] * plane
        current = (slices[s] & 1) * plane + inside
        other = plane - (slices[s] & 1) * plane + inside
        for i in range(n):
            chosen = np.int64(representatives[equal[i]])
            if chosen == 0:
                parent[n_labels] = n_labels
                size[n_labels] = 1
                code[n_labels] = codes[starts[s] + i]
                labels[current + i] = n_labels
                n_labels += 1
                continue
            a = lowest[chosen]
            zone = _root(parent, labels[(other if steps[a] else current) + i - planar[a]])
            chosen &= chosen - 1
            while chosen:
                a = lowest[chosen]
                found = _root(parent, labels[(other if steps[a] else current) + i - planar[a]])
                if zone != found:
                    low, high = min(zone, found), max(zone, found)
                    parent[high] = low
                    size[low] += size[high]
                    zone = low
                chosen &= chosen - 1
            size[zone] += 1
            labels[current + i] = zone
    zones = 0
    for label in range(n_labels):
        if parent[label] == label:
            code[zones], size[zones] = code[label], size[label]
            zones += 1
    return zones


@jit
def _count_small(code, size, table):  # type: ignore[no-untyped-def]
    """Count the zones that fit the table."""
    for z in range(code.size):
        if size[z] < table.shape[1]:
            table[code[z], size[z]] += 1
