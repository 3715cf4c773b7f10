"""The image that filters read, and the box of voxels whose filtered values are asked for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class VoxelBox:
    """A box of voxels: ``low <= index < high`` along (k, j, i)."""

    low: tuple[int, int, int]
    high: tuple[int, int, int]

    @classmethod
    def of_mask(cls, mask: npt.NDArray[np.bool_]) -> VoxelBox | None:
        """The bounding box of a mask, None where it is empty."""
        low, high = [], []
        for axis in range(3):
            others = tuple(other for other in range(3) if other != axis)
            used = np.flatnonzero(mask.any(axis=others))
            if used.size == 0:
                return None
            low.append(int(used[0]))
            high.append(int(used[-1]) + 1)
        return cls(_three(low), _three(high))

    @classmethod
    def union(cls, boxes: Iterable[VoxelBox]) -> VoxelBox:
        """The smallest box that holds all `boxes`."""
        boxes = list(boxes)
        return cls(
            _three(np.min([box.low for box in boxes], axis=0)), _three(np.max([box.high for box in boxes], axis=0))
        )

    @classmethod
    def whole(cls, shape: tuple[int, ...]) -> VoxelBox:
        """The box of a whole image."""
        return cls((0, 0, 0), _three(shape))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along (k, j, i)."""
        return _three(np.subtract(self.high, self.low))

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """Slices that cut the box out of the image."""
        first, second, third = (slice(low, high) for low, high in zip(self.low, self.high))
        return first, second, third

    def within(self, outer: VoxelBox) -> tuple[slice, slice, slice]:
        """Slices that cut the box out of an array that holds `outer`."""
        first, second, third = (
            slice(low - start, high - start) for low, high, start in zip(self.low, self.high, outer.low)
        )
        return first, second, third

    def grown(self, margin: int | tuple[int, int, int], shape: tuple[int, ...]) -> VoxelBox:
        """The box with `margin` voxels more on every side (or a margin for each axis), inside an image of `shape`."""
        margins = (margin,) * 3 if isinstance(margin, int) else margin
        low = _three([max(0, value - more) for value, more in zip(self.low, margins)])
        high = _three([min(size, value + more) for value, more, size in zip(self.high, margins, shape)])
        return VoxelBox(low, high)


def _three(values: Any) -> tuple[int, int, int]:
    first, second, third = (int(value) for value in values)
    return first, second, third


class Scratch:
    """Memory that filters use one after another: the system's handing out of fresh pages takes as long as filtering.

    An array of a slot is valid until the slot is asked for again.
    """

    def __init__(self) -> None:
        self._slots: dict[str, npt.NDArray[np.uint8]] = {}

    def array(self, slot: str, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """An array with undefined content."""
        needed = int(np.prod(shape)) * np.dtype(dtype).itemsize
        kept = self._slots.get(slot)
        if kept is None or kept.size < needed:
            self._slots.pop(slot, None)  # given back before more is taken
            kept = self._slots[slot] = np.empty(needed, dtype=np.uint8)
        return kept[:needed].view(dtype).reshape(shape)


@dataclass(frozen=True, eq=False)
class SourceImage:
    """A preprocessed image, as the filters see it.

    Parameters
    ----------
    array
        Whole image [k, j, i] in its own number type, on which some filters' results depend.
    spacing
        Voxel size along (i, j, k), mm.
    scratch
        Memory for the filters: "image" holds the filtered image that is given out, "a" and "b" what lies between.
    """

    array: npt.NDArray[Any]
    spacing: tuple[float, float, float]
    scratch: Scratch = field(default_factory=Scratch)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along (k, j, i)."""
        return _three(self.array.shape)

    @cached_property
    def absolute_maximum(self) -> np.float64:
        """Largest absolute intensity of the whole image, by which the point filters scale."""
        ends = (float(self.array.min()), float(self.array.max()))
        if not np.isfinite(ends).all():  # voxels outside the field of view have no say
            finite = self.array[np.isfinite(self.array)]
            ends = (float(finite.min()), float(finite.max())) if finite.size else ends
        return np.float64(max(abs(ends[0]), abs(ends[1])))

    @cached_property
    def has_undefined(self) -> bool:
        """Whether some voxels have no finite value."""
        return self.array.dtype.kind == "f" and not bool(np.isfinite(self.array).all())

    def undefined_within(self, box: VoxelBox) -> bool:
        """Whether some voxels of the box have no finite value."""
        return self.has_undefined and not bool(np.isfinite(self.array[box.slices]).all())

    def crop(self, box: VoxelBox) -> npt.NDArray[Any]:
        """The box's voxels, contiguous."""
        return np.ascontiguousarray(self.array[box.slices])

    def doubles(self, box: VoxelBox, slot: str) -> npt.NDArray[np.float64]:
        """The box's voxels in double precision, in a slot of the scratch memory."""
        values = self.scratch.array(slot, box.shape, np.float64)
        values[...] = self.array[box.slices]
        return values
