"""Stationary wavelet transform of a box of voxels, equal to PyWavelets' ``swtn`` of the whole image.

PyRadiomics repeats the first slice behind an axis of odd length and lets PyWavelets wrap around. A voxel needs
``F - 1`` neighbors along each axis and level (F taps), so the box is cut out with that margin, through the wrap
where it reaches over the border. Sums run in PyWavelets' order, so results agree to the last bit: over a constant
region the sign of a rounding error decides the gray level.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from hepacast.core.jit import jit
from hepacast.radiomics.filters.source import Scratch, SourceImage, VoxelBox
from hepacast.radiomics.names import wavelet_image_names

Array = npt.NDArray[Any]


class _Transform:
    """Single passes along one axis, for a periodic image of `lengths` voxels (after the repeated slice).

    A pass makes the block ``F - 1`` shorter; its first voxel is then the image's voxel `start + lead`.
    """

    def __init__(self, wavelet: str, dtype: Any, lengths: tuple[int, ...], scratch: Scratch) -> None:
        import pywt

        # The taps are read off an impulse's response: PyWavelets keeps its own single-precision tables, which are
        # not always the rounded double-precision ones.
        self.taps = pywt.Wavelet(wavelet).dec_len
        impulse = np.zeros(self.taps, dtype=dtype)
        impulse[0] = 1
        response = pywt.swt(impulse, wavelet, level=1)[0]
        low, high = (np.roll(part, self.taps // 2) for part in response)
        self.filters = {"L": low, "H": high}
        self.lengths = lengths
        self.scratch = scratch
        self.margin = self.taps - 1
        self.lead = self.margin - self.taps // 2

    def details(self, block: Array, axes: tuple[int, ...], start: dict[int, int]) -> Iterator[Array]:
        """The images of one level but the approximation, in PyWavelets' order.

        `start` is the index of the block's first voxel along each axis.
        """
        inner = tuple(axis for axis in axes if axis != 0)
        for letters in product("LH", repeat=len(inner)):
            if 0 not in axes:
                if "H" in letters:
                    yield self.planes(block, dict(zip(inner, letters)), start)
                continue
            part = self.planes(block, dict(zip(inner, letters)), start)
            for letter in "LH" if "H" in letters else "H":
                yield self.along(part, 0, letter, start[0], "image")

    def approximation(self, block: Array, axes: tuple[int, ...], start: dict[int, int], *, last: bool) -> Array:
        """The low-pass image of one level; in memory of its own where further levels read it."""
        block = self.planes(block, {axis: "L" for axis in axes if axis != 0}, start)
        if 0 in axes:
            return self.along(block, 0, "L", start[0], "image" if last else None)
        return block if last else block.copy()

    def planes(self, block: Array, letters: dict[int, str], start: dict[int, int]) -> Array:
        """All passes inside a slice, slice by slice, so that what lies between them stays in the cache."""
        result: Array | None = None
        for k in range(block.shape[0]):
            plane = block[k : k + 1]
            for axis, letter in letters.items():
                plane = self.along(plane, axis, letter, start[axis])
            if result is None:
                result = self.scratch.array("b", (block.shape[0], *plane.shape[1:]), block.dtype)
            result[k] = plane[0]
        return block if result is None else result

    def along(self, block: Array, axis: int, letter: str, start: int, slot: str | None = None) -> Array:
        """One pass along one axis, into a slot of the scratch memory or a new array."""
        shape = list(block.shape)
        shape[axis] -= self.margin
        result = self.scratch.array(slot, tuple(shape), block.dtype) if slot else np.empty(shape, dtype=block.dtype)
        order = _tap_order(shape[axis], start + self.lead, self.taps, self.lengths[axis])
        if axis == 2:
            _filter_rows(block, self.filters[letter], order, result)
            return result
        # Seen as (before, axis, after): rows along the last axis stay contiguous.
        before = int(np.prod(block.shape[:axis]))
        after = int(np.prod(block.shape[axis + 1 :]))
        _filter_planes(
            block.reshape(before, block.shape[axis], after),
            self.filters[letter],
            order,
            result.reshape(before, shape[axis], after),
        )
        return result


def wavelet_images(
    source: SourceImage, box: VoxelBox, *, wavelet: str, level: int, start_level: int, axes: tuple[int, ...]
) -> Iterator[tuple[str, Array]]:
    """PyRadiomics' wavelet images of the box: details of each level, then the last approximation.

    Parameters
    ----------
    axes
        Array axes to transform, in order: (2, 1, 0) in 3-D, without the slice axis in 2-D.
    """
    dtype = np.float32 if source.array.dtype == np.float32 else np.float64
    lengths = tuple(size + size % 2 for size in source.shape)
    transform = _Transform(wavelet, dtype, lengths, source.scratch)
    levels = start_level + level
    margin, lead = transform.margin, transform.lead
    start = {axis: box.low[axis] - levels * lead for axis in axes}
    stop = {axis: box.high[axis] + levels * (margin - lead) for axis in axes}
    where = []
    for axis in range(3):
        if axis in start:
            index = np.arange(start[axis], stop[axis]) % lengths[axis]
            index[index == source.shape[axis]] = 0  # the repeated first slice
        else:
            index = np.arange(box.low[axis], box.high[axis])
        where.append(index)
    block = source.scratch.array("a", tuple(len(index) for index in where), dtype)
    for place, k in enumerate(where[0]):
        block[place] = source.array[k].take(where[1], axis=0).take(where[2], axis=1)
    names = iter(wavelet_image_names(level, len(axes)))
    for done in range(1, levels + 1):
        if done > start_level:
            for image in transform.details(block, axes, start):
                yield next(names), _trim(image, axes, levels - done, margin, lead)
        block = transform.approximation(block, axes, start, last=done == levels)
        for axis in axes:
            start[axis] += lead
    yield next(names), block


def _trim(image: Array, axes: tuple[int, ...], remaining: int, margin: int, lead: int) -> Array:
    """Cut away the margin that only later levels need."""
    cut = [slice(None)] * 3
    for axis in axes:
        cut[axis] = slice(remaining * lead, image.shape[axis] - remaining * (margin - lead))
    return np.ascontiguousarray(image[tuple(cut)])


def _tap_order(count: int, first: int, taps: int, length: int) -> npt.NDArray[np.int64]:
    """The order in which PyWavelets adds the taps, for each of `count` outputs from image index `first` on.

    Where a sum reaches over the far border, PyWavelets adds the wrapped part first, from its last tap down.
    """
    order = np.tile(np.arange(taps), (count, 1))
    if length >= taps:
        for row in range(count):
            over = (first + row) % length + taps // 2 - length
            if over >= 0:
                order[row, : over + 1] = np.arange(over, -1, -1)
    return order


@jit
def _filter_rows(block, weights, order, result):  # type: ignore[no-untyped-def]
    """Along the last axis; the taps of an output may come in an order of their own (the row of `order`)."""
    taps = weights.size
    n0, n1, n2 = result.shape
    plain = 0  # leading outputs whose taps come in the usual order
    while plain < n2:
        usual = True
        for t in range(taps):
            usual = usual and order[plain, t] == t
        if not usual:
            break
        plain += 1
    for k in range(n0):
        for j in range(n1):
            row = block[k, j]
            out = result[k, j]
            _weighted(row[taps - 1 :], row[taps - 2 :], weights[0], weights[1], out, plain)
            for t in range(2, taps, 2):
                _add_weighted(row[taps - 1 - t :], row[taps - 2 - t :], weights[t], weights[t + 1], out, plain)
            for i in range(plain, n2):
                t = order[i, 0]
                out[i] = weights[t] * row[i + taps - 1 - t]
                for u in range(1, taps):
                    t = order[i, u]
                    out[i] += weights[t] * row[i + taps - 1 - t]


@jit
def _filter_planes(block, weights, order, result):  # type: ignore[no-untyped-def]
    """Along the middle axis, whole rows at a time; all filters of PyWavelets have an even number of taps."""
    taps = weights.size
    n0, n1, n2 = result.shape
    for k in range(n0):
        for j in range(n1):
            out = result[k, j]
            at = j + taps - 1
            t, u = order[j, 0], order[j, 1]
            _weighted(block[k, at - t], block[k, at - u], weights[t], weights[u], out, n2)
            for place in range(2, taps, 2):
                t, u = order[j, place], order[j, place + 1]
                _add_weighted(block[k, at - t], block[k, at - u], weights[t], weights[u], out, n2)


@jit
def _weighted(first, second, w0, w1, out, n):  # type: ignore[no-untyped-def]
    for i in range(n):
        out[i] = w0 * first[i] + w1 * second[i]


@jit
def _add_weighted(first, second, w0, w1, out, n):  # type: ignore[no-untyped-def]
    for i in range(n):
        out[i] = (out[i] + w0 * first[i]) + w1 * second[i]
