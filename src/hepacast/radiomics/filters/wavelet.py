"""Stationary wavelet transform of a box of voxels, equal to PyWavelets' ``swtn`` of the whole image.

PyRadiomics repeats the first slice behind an axis of odd length and lets PyWavelets wrap around. A voxel needs
``F - 1`` neighbors along each axis and level (F taps), so the box is cut out with that margin, through the wrap
where it reaches over the border. Sums run in PyWavelets' order, so results agree to the last bit: over a constant
region the sign of a rounding error decides the gray level.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from hepacast.radiomics.filters.source import Box, Source
from hepacast.radiomics.kernels.jit import jit
from hepacast.radiomics.names import wavelet_image_names

Array = npt.NDArray[Any]


class _Transform:
    """One level along one axis at a time, for a periodic image of `lengths` voxels (after the repeated slice)."""

    def __init__(self, wavelet: str, dtype: Any, lengths: tuple[int, ...]) -> None:
        import pywt

        # The taps are read off an impulse's response: PyWavelets keeps its own single-precision tables, which are
        # not always the rounded double-precision ones.
        self.taps = pywt.Wavelet(wavelet).dec_len
        impulse = np.zeros(self.taps, dtype=dtype)
        impulse[0] = 1
        response = pywt.swt(impulse, wavelet, level=1)[0]
        self.low, self.high = (np.roll(part, self.taps // 2) for part in response)
        self.lengths = lengths

    def split(self, block: Array, axis: int, start: int) -> tuple[Array, Array]:
        """Approximation and detail along `axis`; the result is ``F - 1`` shorter and begins ``F/2 - 1`` later.

        `start` is the image index of the block's first voxel (it may lie before 0: wrapped).
        """
        shape = list(block.shape)
        shape[axis] -= self.taps - 1
        approximation = np.empty(shape, dtype=block.dtype)
        detail = np.empty(shape, dtype=block.dtype)
        first = start + self.taps - 1 - self.taps // 2
        order = _tap_order(shape[axis], first, self.taps, self.lengths[axis])
        # Seen as (before, axis, after): rows along the last axis stay contiguous.
        if axis == 2:
            _filter_rows(block, self.low, self.high, order, approximation, detail)
        else:
            before = int(np.prod(block.shape[:axis]))
            after = int(np.prod(block.shape[axis + 1 :]))
            _filter_planes(
                block.reshape(before, block.shape[axis], after),
                self.low,
                self.high,
                order,
                approximation.reshape(before, shape[axis], after),
                detail.reshape(before, shape[axis], after),
            )
        return approximation, detail

    def approximation(self, block: Array, axes: tuple[int, ...], start: dict[int, int]) -> Array:
        """The low-pass image of one whole level; `start` is moved along."""
        for axis in axes:
            block = self.split(block, axis, start[axis])[0]
            start[axis] += self.taps - 1 - self.taps // 2
        return block

    def details(
        self, block: Array, axes: tuple[int, ...], start: dict[int, int], name: str = ""
    ) -> Iterator[tuple[str, Array]]:
        """All decompositions of one level in PyWavelets' order, with few blocks in memory at a time."""
        if not axes:
            yield name, block
            return
        axis, rest = axes[0], axes[1:]
        for letter, part in zip("LH", self.split(block, axis, start[axis])):
            yield from self.details(part, rest, start, name + letter)


def wavelet_images(
    source: Source, box: Box, *, wavelet: str, level: int, start_level: int, axes: tuple[int, ...]
) -> Iterator[tuple[str, Array]]:
    """PyRadiomics' wavelet images of the box: details of each level, then the last approximation.

    Parameters
    ----------
    axes
        Array axes to transform, in order: (2, 1, 0) in 3-D, without the slice axis in 2-D.
    """
    dtype = np.float32 if source.array.dtype == np.float32 else np.float64
    lengths = tuple(size + size % 2 for size in source.shape)
    transform = _Transform(wavelet, dtype, lengths)
    levels = start_level + level
    margin = transform.taps - 1
    lead = margin - transform.taps // 2
    start = {axis: box.low[axis] - levels * lead for axis in axes}
    stop = {axis: box.high[axis] + levels * (margin - lead) for axis in axes}
    block = source.array
    for axis in range(3):
        if axis in start:
            index = np.arange(start[axis], stop[axis]) % lengths[axis]
            index[index == source.shape[axis]] = 0  # the repeated first slice
            block = np.take(block, index, axis=axis)
        else:
            block = np.take(block, np.arange(box.low[axis], box.high[axis]), axis=axis)
    block = np.ascontiguousarray(block, dtype=dtype)
    names = iter(wavelet_image_names(level, len(axes)))
    for _ in range(start_level):
        block = transform.approximation(block, axes, start)
    for done in range(1, level + 1):
        remaining = level - done
        for name, image in transform.details(block, axes, start):
            if "H" in name:
                yield next(names), _trim(image, axes, remaining, margin, lead)
            else:
                approximation = image
        for axis in axes:
            start[axis] += lead
        block = approximation
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
def _filter_rows(block, low, high, order, approximation, detail):  # type: ignore[no-untyped-def]
    taps = low.size
    n0, n1, n2 = approximation.shape
    plain = np.empty(n2, dtype=np.bool_)
    for i in range(n2):
        plain[i] = True
        for t in range(taps):
            if order[i, t] != t:
                plain[i] = False
    end = n2
    while end > 0 and not plain[end - 1]:
        end -= 1
    for i in range(end):
        if not plain[i]:
            end = 0
    for k in range(n0):
        for j in range(n1):
            row = block[k, j]
            a = approximation[k, j]
            d = detail[k, j]
            for i in range(end):
                a[i] = low[0] * row[i + taps - 1]
                d[i] = high[0] * row[i + taps - 1]
            for t in range(1, taps):
                shift = taps - 1 - t
                wl = low[t]
                wh = high[t]
                for i in range(end):
                    a[i] += wl * row[i + shift]
                    d[i] += wh * row[i + shift]
            for i in range(end, n2):
                t = order[i, 0]
                a[i] = low[t] * row[i + taps - 1 - t]
                d[i] = high[t] * row[i + taps - 1 - t]
                for u in range(1, taps):
                    t = order[i, u]
                    a[i] += low[t] * row[i + taps - 1 - t]
                    d[i] += high[t] * row[i + taps - 1 - t]


@jit
def _filter_planes(block, low, high, order, approximation, detail):  # type: ignore[no-untyped-def]
    taps = low.size
    n0, n1, n2 = approximation.shape
    for k in range(n0):
        for j in range(n1):
            a = approximation[k, j]
            d = detail[k, j]
            t = order[j, 0]
            row = block[k, j + taps - 1 - t]
            for i in range(n2):
                a[i] = low[t] * row[i]
                d[i] = high[t] * row[i]
            for u in range(1, taps):
                t = order[j, u]
                row = block[k, j + taps - 1 - t]
                wl = low[t]
                wh = high[t]
                for i in range(n2):
                    a[i] += wl * row[i]
                    d[i] += wh * row[i]
