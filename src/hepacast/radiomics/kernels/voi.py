"""`Voi`: a mask as runs of voxels, prepared once and used for every image of the same grid."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from hepacast.core.jit import jit


@dataclass(frozen=True, eq=False)
class Voi:
    """The voxels of a mask as segments along the last axis.

    Parameters
    ----------
    shape
        Shape (k, j, i) of the grid.
    low, high
        First and last index of the bounding box along each axis; an empty mask has high < low.
    segments
        Shape (n, 4): k, j, first i and length of each run of voxels, in the order of memory.
    n_voxels
        Number of voxels in the mask.
    """

    shape: tuple[int, int, int]
    low: tuple[int, int, int]
    high: tuple[int, int, int]
    segments: npt.NDArray[np.int64]
    n_voxels: int

    @classmethod
    def from_mask(cls, mask: npt.NDArray[Any]) -> Voi:
        """Read a mask of shape (k, j, i); every voxel that is not zero belongs to it."""
        inside: npt.NDArray[Any] = np.ascontiguousarray(mask if mask.dtype == bool else mask != 0)
        rows = np.asarray(inside.any(axis=2))
        ks, js = np.flatnonzero(rows.any(axis=1)), np.flatnonzero(rows.any(axis=0))
        shape = (mask.shape[0], mask.shape[1], mask.shape[2])
        if not ks.size:
            return cls(shape, (0, 0, 0), (-1, -1, -1), np.zeros((0, 4), dtype=np.int64), 0)
        box = inside[ks[0] : ks[-1] + 1, js[0] : js[-1] + 1]
        columns = np.flatnonzero(box.any(axis=(0, 1)))
        segments = np.empty((_count_segments(inside, rows), 4), dtype=np.int64)
        _find_segments(inside, rows, segments)
        low = (int(ks[0]), int(js[0]), int(columns[0]))
        high = (int(ks[-1]), int(js[-1]), int(columns[-1]))
        return cls(shape, low, high, segments, int(segments[:, 3].sum()))

    @property
    def box(self) -> tuple[int, int, int]:
        """Size of the bounding box, voxels."""
        k, j, i = (high - low + 1 for low, high in zip(self.low, self.high, strict=True))
        return (k, j, i)

    @cached_property
    def starts(self) -> npt.NDArray[np.int64]:
        """Where each segment begins in the flattened grid."""
        k, j, i = self.segments[:, 0], self.segments[:, 1], self.segments[:, 2]
        return (k * self.shape[1] + j) * self.shape[2] + i

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Number of voxels of each segment."""
        return np.ascontiguousarray(self.segments[:, 3])

    def padded(self, margin: int) -> PaddedVoi:
        """The bounding box with `margin` empty voxels on every side."""
        return PaddedVoi.of(self, margin)


@dataclass(frozen=True, eq=False)
class PaddedVoi:
    """The segments in a copy of the bounding box that has an empty margin, so no neighbour leaves the array.

    Parameters
    ----------
    shape
        Shape of the padded box.
    starts, lengths
        Flat index and length of each segment in it.
    slices
        Slice k of the padded box in which each segment lies.
    """

    shape: tuple[int, int, int]
    starts: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]
    slices: npt.NDArray[np.int64]

    @classmethod
    def of(cls, voi: Voi, margin: int) -> PaddedVoi:
        """Place `voi` in its padded box."""
        k, j, i = (size + 2 * margin for size in voi.box)
        at = voi.segments[:, :3] - np.array(voi.low, dtype=np.int64) + margin
        starts = (at[:, 0] * j + at[:, 1]) * i + at[:, 2]
        return cls((k, j, i), np.ascontiguousarray(starts), voi.lengths, np.ascontiguousarray(at[:, 0]))

    @property
    def size(self) -> int:
        """Number of voxels of the padded box."""
        return self.shape[0] * self.shape[1] * self.shape[2]

    def filled(self) -> npt.NDArray[np.uint8]:
        """The padded box, 1 in the VOI and 0 outside."""
        inside = np.zeros(self.size, dtype=np.uint8)
        _fill(inside, self.starts, self.lengths)
        return inside.reshape(self.shape)


def gather(image: npt.NDArray[Any], voi: Voi) -> npt.NDArray[Any]:
    """The image's values in the VOI, in the order of memory; float32 stays, everything else becomes float64."""
    kind = np.float32 if image.dtype == np.float32 else np.float64
    flat = np.ascontiguousarray(image, dtype=kind).reshape(-1)
    values = np.empty(voi.n_voxels, dtype=kind)
    _gather(flat, voi.starts, voi.lengths, values)
    return values


@jit
def _count_segments(mask, rows):  # type: ignore[no-untyped-def]
    count = 0
    for k in range(mask.shape[0]):
        for j in range(mask.shape[1]):
            if rows[k, j]:
                before = False
                for i in range(mask.shape[2]):
                    count += mask[k, j, i] and not before
                    before = mask[k, j, i]
    return count


@jit
def _find_segments(mask, rows, found):  # type: ignore[no-untyped-def]
    last = -1
    for k in range(mask.shape[0]):
        for j in range(mask.shape[1]):
            if not rows[k, j]:
                continue
            before = False
            for i in range(mask.shape[2]):
                inside = mask[k, j, i]
                if inside and not before:
                    last += 1
                    found[last, 0], found[last, 1], found[last, 2], found[last, 3] = k, j, i, 0
                if inside:
                    found[last, 3] += 1
                before = inside


@jit
def _fill(inside, starts, lengths):  # type: ignore[no-untyped-def]
    for s in range(starts.size):
        inside[starts[s] : starts[s] + lengths[s]] = 1


@jit
def _gather(flat, starts, lengths, values):  # type: ignore[no-untyped-def]
    at = 0
    for s in range(starts.size):
        for i in range(starts[s], starts[s] + lengths[s]):
            values[at] = flat[i]
            at += 1
