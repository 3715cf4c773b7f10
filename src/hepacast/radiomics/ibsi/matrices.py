"""IBSI's texture matrices as lists of counted entries, kept apart by slice and direction until they are merged.

An entry is (part, i, j, count): part numbers the slice and direction that it comes from. Merging is adding entries
of several parts; averaging is calculating features of each part.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise, product
from typing import Any

import numpy as np
import numpy.typing as npt

from hepacast.core.jit import jit

Levels = npt.NDArray[np.int64]
Ints = npt.NDArray[np.int64]

#: Half of the neighbors' directions: in a slice, and in space.
IN_SLICE = [(0, 0, 1), (0, 1, 0), (0, 1, 1), (0, 1, -1)]
IN_SPACE = [step for step in product((0, 1), (-1, 0, 1), (-1, 0, 1)) if step > (0, 0, 0)]


@dataclass(frozen=True, eq=False)
class Entries:
    """Counted entries of one or more matrices.

    Parameters
    ----------
    part
        Number of the matrix that each entry belongs to.
    i, j
        Gray level; and gray level, run length, zone size, zone distance or dependence.
    count
        How often.
    voxels
        Number of voxels behind each matrix, by its number (for percentages).
    """

    part: Ints
    i: Ints
    j: Ints
    count: npt.NDArray[Any]
    voxels: npt.NDArray[Any]

    @classmethod
    def counted(cls, part: Ints, i: Ints, j: Ints, voxels: npt.NDArray[np.float64]) -> Entries:
        """Count equal triples."""
        if not len(part):
            empty = np.zeros(0, dtype=np.int64)
            return cls(empty, empty, empty, np.zeros(0), voxels)
        wide, high = int(i.max()) + 1, int(j.max()) + 1
        code, count = np.unique((part * wide + i) * high + j, return_counts=True)
        return cls(code // (wide * high), code // high % wide, code % high, count.astype(np.float64), voxels)

    def regrouped(self, group: Ints) -> Entries:
        """Merge parts: part p becomes ``group[p]``; voxels add up."""
        voxels = np.bincount(group, weights=self.voxels, minlength=int(group.max()) + 1)
        if not len(self.part):
            return Entries(self.part, self.i, self.j, self.count, voxels)
        wide, high = int(self.i.max()) + 1, int(self.j.max()) + 1
        code, place = np.unique((group[self.part] * wide + self.i) * high + self.j, return_inverse=True)
        count = np.bincount(place, weights=self.count).astype(np.float64)
        return Entries(code // (wide * high), code // high % wide, code % high, count, voxels)

    def split(self) -> list[tuple[Ints, Ints, npt.NDArray[np.float64], float]]:
        """(i, j, count, voxels) of each matrix that has entries."""
        bounds = np.searchsorted(self.part, np.arange(len(self.voxels) + 1))
        return [
            (self.i[a:b], self.j[a:b], self.count[a:b], float(self.voxels[part]))
            for part, (a, b) in enumerate(pairwise(bounds))
            if b > a
        ]


def slice_voxels(levels: Levels) -> npt.NDArray[np.float64]:
    """Voxels of the VOI in each slice."""
    return (levels > 0).sum(axis=(1, 2)).astype(np.float64)


def cooccurrences(levels: Levels, steps: list[tuple[int, int, int]], by_slice: bool) -> Entries:
    """Symmetric co-occurrences; part = direction (space) or slice * directions + direction."""
    parts, first, second = [], [], []
    for place, step in enumerate(steps):
        here, there = _overlap(levels, step)
        both = (here > 0) & (there > 0)
        a, b = here[both], there[both]
        part = np.argwhere(both)[:, 0] * len(steps) + place if by_slice else np.full(len(a), place)
        parts += [part, part]
        first += [a, b]
        second += [b, a]
    voxels = _voxels(levels, len(steps), by_slice)
    return Entries.counted(np.concatenate(parts), np.concatenate(first), np.concatenate(second), voxels)


def runs(levels: Levels, steps: list[tuple[int, int, int]], by_slice: bool) -> Entries:
    """Runs of equal levels; j is their length."""
    parts, found, lengths = [], [], []
    for place, step in enumerate(steps):
        where, level, length = _runs(levels, np.array(step))
        parts.append(where * len(steps) + place if by_slice else np.full(len(where), place))
        found.append(level)
        lengths.append(length)
    voxels = _voxels(levels, len(steps), by_slice)
    return Entries.counted(np.concatenate(parts), np.concatenate(found), np.concatenate(lengths), voxels)


def zones(levels: Levels, distance: Ints, flat: bool) -> tuple[Entries, Entries]:
    """Zones of equal levels (8 or 26 neighbors): by size, and by distance from the VOI's border."""
    from scipy.ndimage import label, minimum

    structure = np.ones((3, 3, 3), dtype=bool)
    if flat:
        structure[[0, 2]] = False
    parts, found, sizes, depths = [], [], [], []
    for level in np.unique(levels[levels > 0]):
        numbered, count = label(levels == level, structure=structure)
        size = np.bincount(numbered.reshape(-1), minlength=count + 1)[1:]
        index = np.arange(1, count + 1)
        depth = minimum(distance, numbered, index)
        # The slice of a zone, where zones do not leave slices: that of any of its voxels.
        plane = np.zeros(count + 1, dtype=np.int64)
        places = np.argwhere(numbered)
        plane[numbered[numbered > 0]] = places[:, 0]
        parts.append(plane[1:] if flat else np.zeros(count, dtype=np.int64))
        found.append(np.full(count, level))
        sizes.append(size)
        depths.append(np.asarray(depth, dtype=np.int64))
    part, i = np.concatenate(parts), np.concatenate(found)
    voxels = _voxels(levels, 1, flat)
    return (
        Entries.counted(part, i, np.concatenate(sizes), voxels),
        Entries.counted(part, i, np.concatenate(depths), voxels),
    )


def border_distance(mask: npt.NDArray[np.bool_], flat: bool) -> Ints:
    """Steps over faces from each voxel of the mask to its border; voxels at the border have 1."""
    from scipy.ndimage import distance_transform_cdt

    if not flat:
        return distance_transform_cdt(np.pad(mask, 1), metric="taxicab")[1:-1, 1:-1, 1:-1].astype(np.int64)
    result = np.zeros(mask.shape, dtype=np.int64)
    for plane, part in enumerate(mask):
        result[plane] = distance_transform_cdt(np.pad(part, 1), metric="taxicab")[1:-1, 1:-1]
    return result


def dependences(levels: Levels, flat: bool, alpha: int) -> Entries:
    """Number of neighbors whose level differs by `alpha` or less, plus one for the voxel itself."""
    inside = levels > 0
    count = np.ones(levels.shape, dtype=np.int64)
    for step in _all_steps(flat):
        here, there, view = _views(levels, step, count)
        view += (here > 0) & (there > 0) & (np.abs(here - there) <= alpha)
    part = np.argwhere(inside)[:, 0] if flat else np.zeros(int(inside.sum()), dtype=np.int64)
    return Entries.counted(part, levels[inside], count[inside], _voxels(levels, 1, flat))


def tone_differences(levels: Levels, flat: bool) -> tuple[Ints, Ints, npt.NDArray[np.float64]]:
    """Part, level and |level - mean of its neighbors| of each voxel that has neighbors in the VOI."""
    total = np.zeros(levels.shape)
    number = np.zeros(levels.shape, dtype=np.int64)
    for step in _all_steps(flat):
        _, there, view = _views(levels, step, total)
        view += there
        _, there, count = _views(levels, step, number)
        count += there > 0
    valid = (levels > 0) & (number > 0)
    gap = np.abs(levels[valid] - total[valid] / number[valid])
    part = np.argwhere(valid)[:, 0] if flat else np.zeros(int(valid.sum()), dtype=np.int64)
    return part, levels[valid], gap


def _voxels(levels: Levels, directions: int, by_slice: bool) -> npt.NDArray[np.float64]:
    if by_slice:
        return np.repeat(slice_voxels(levels), directions)
    return np.full(directions, float((levels > 0).sum()))


def _all_steps(flat: bool) -> list[tuple[int, int, int]]:
    half = IN_SLICE if flat else IN_SPACE
    return half + [(-a, -b, -c) for a, b, c in half]


def _slices(shape: tuple[int, ...], step: tuple[int, int, int]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    here = tuple(slice(max(0, -move), size - max(0, move)) for size, move in zip(shape, step))
    there = tuple(slice(max(0, move), size + min(0, move)) for size, move in zip(shape, step))
    return here, there


def _overlap(levels: Levels, step: tuple[int, int, int]) -> tuple[Levels, Levels]:
    here, there = _slices(levels.shape, step)
    return levels[here], levels[there]


def _views(
    levels: Levels, step: tuple[int, int, int], result: npt.NDArray[Any]
) -> tuple[Levels, Levels, npt.NDArray[Any]]:
    here, there = _slices(levels.shape, step)
    return levels[here], levels[there], result[here]


@jit
def _runs(levels, step):  # type: ignore[no-untyped-def]
    n0, n1, n2 = levels.shape
    total = 0
    for k in range(n0):
        for j in range(n1):
            for i in range(n2):
                total += levels[k, j, i] > 0
    where = np.empty(total, dtype=np.int64)
    found = np.empty(total, dtype=np.int64)
    lengths = np.empty(total, dtype=np.int64)
    at = 0
    for k in range(n0):
        for j in range(n1):
            for i in range(n2):
                level = levels[k, j, i]
                if level == 0:
                    continue
                a, b, c = k - step[0], j - step[1], i - step[2]
                if 0 <= a < n0 and 0 <= b < n1 and 0 <= c < n2 and levels[a, b, c] == level:
                    continue  # not the first of its run
                length = 1
                a, b, c = k + step[0], j + step[1], i + step[2]
                while 0 <= a < n0 and 0 <= b < n1 and 0 <= c < n2 and levels[a, b, c] == level:
                    length += 1
                    a, b, c = a + step[0], b + step[1], c + step[2]
                where[at], found[at], lengths[at] = k, level, length
                at += 1
    return where[:at], found[:at], lengths[:at]
