"""The image that filters read, and the box of voxels whose filtered values are asked for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Box:
    """A box of voxels: ``low <= index < high`` along (k, j, i)."""

    low: tuple[int, int, int]
    high: tuple[int, int, int]

    @classmethod
    def of_mask(cls, mask: npt.NDArray[np.bool_]) -> Box | None:
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
    def union(cls, boxes: Iterable[Box]) -> Box:
        """The smallest box that holds all `boxes`."""
        boxes = list(boxes)
        return cls(
            _three(np.min([box.low for box in boxes], axis=0)), _three(np.max([box.high for box in boxes], axis=0))
        )

    @classmethod
    def whole(cls, shape: tuple[int, ...]) -> Box:
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

    def within(self, outer: Box) -> tuple[slice, slice, slice]:
        """Slices that cut the box out of an array that holds `outer`."""
        first, second, third = (
            slice(low - start, high - start) for low, high, start in zip(self.low, self.high, outer.low)
        )
        return first, second, third

    def grown(self, margin: int | tuple[int, int, int], shape: tuple[int, ...]) -> Box:
        """The box with `margin` voxels more on every side (or a margin for each axis), inside an image of `shape`."""
        margins = (margin,) * 3 if isinstance(margin, int) else margin
        low = _three([max(0, value - more) for value, more in zip(self.low, margins)])
        high = _three([min(size, value + more) for value, more, size in zip(self.high, margins, shape)])
        return Box(low, high)


def _three(values: Any) -> tuple[int, int, int]:
    first, second, third = (int(value) for value in values)
    return first, second, third


@dataclass(frozen=True, eq=False)
class Source:
    """A preprocessed image, as the filters see it.

    Parameters
    ----------
    array
        Whole image [k, j, i] in its own number type, on which some filters' results depend.
    spacing
        Voxel size along (i, j, k), mm.
    """

    array: npt.NDArray[Any]
    spacing: tuple[float, float, float]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along (k, j, i)."""
        return _three(self.array.shape)

    @cached_property
    def absolute_maximum(self) -> np.float64:
        """Largest absolute intensity of the whole image, by which the point filters scale."""
        return np.float64(max(abs(float(self.array.min())), abs(float(self.array.max()))))

    def crop(self, box: Box) -> npt.NDArray[Any]:
        """The box's voxels, contiguous."""
        return np.ascontiguousarray(self.array[box.slices])
