"""IBSI 2's convolutions: separable and full kernels, borders, right-angle rotations, pooling.

Source: A. Depeursinge et al., "Standardised convolutional filtering for radiomics", arXiv:2006.05470v8.
Kernels are given along (x, y, z); arrays are indexed [k, j, i] = [z, y, x].
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import permutations, product
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Border = Literal["zero", "nearest", "periodic", "mirror"]

_PAD: dict[str, Any] = {"zero": "constant", "nearest": "edge", "periodic": "wrap", "mirror": "symmetric"}

#: A one-dimensional kernel and the place of its center.
Kernel = tuple[Array, int]


def centered(kernel: Sequence[float] | Array) -> Kernel:
    """A kernel with its center in the middle (behind it where the length is even)."""
    taps = np.asarray(kernel, dtype=np.float64)
    return taps, len(taps) // 2


def flipped(kernel: Kernel) -> Kernel:
    """The kernel seen from the other side."""
    taps, center = kernel
    return taps[::-1], len(taps) - 1 - center


def padded(image: Array, before: Sequence[int], after: Sequence[int], border: Border) -> Array:
    """The image with its border extended."""
    return np.pad(image, list(zip(before, after)), mode=_PAD[border])


def along(image: Array, kernel: Kernel, axis: int, border: Border) -> Array:
    """Convolution along one axis: y[n] = sum_k h[k] x[n - (k - center)]."""
    taps, center = kernel
    length = len(taps)
    width = [(0, 0)] * image.ndim
    width[axis] = (length - 1 - center, center)
    extended = np.pad(image, width, mode=_PAD[border])
    result = np.zeros(image.shape)
    cut = [slice(None)] * image.ndim
    for k, tap in enumerate(taps):
        if tap:
            start = length - 1 - k
            cut[axis] = slice(start, start + image.shape[axis])
            result += tap * extended[tuple(cut)]
    return result


def separable(image: Array, kernels: Sequence[Kernel | None], border: Border) -> Array:
    """Convolution with a kernel along each of x, y, z (None leaves an axis out)."""
    for axis, kernel in zip((2, 1, 0), kernels):
        if kernel is not None:
            image = along(image, kernel, axis, border)
    return image


def full(image: Array, kernel: Array, border: Border) -> Array:
    """Convolution with a whole kernel [k, j, i] of odd lengths, by FFT."""
    from scipy.signal import fftconvolve

    reach = [length // 2 for length in kernel.shape]
    axes = [axis for axis, length in enumerate(kernel.shape) if length > 1]
    return np.asarray(fftconvolve(padded(image, reach, reach, border), kernel, mode="valid", axes=axes))


def turned(kernels: Sequence[Kernel], flat: bool) -> Iterator[list[Kernel | None]]:
    """Kernels in all right-angle rotations: 4 in a slice, 24 in space."""
    size = 2 if flat else 3
    for order in permutations(range(size)):
        for signs in product((1, -1), repeat=size):
            matrix = np.zeros((size, size))
            for row, (column, sign) in enumerate(zip(order, signs)):
                matrix[row, column] = sign
            if np.linalg.det(matrix) > 0:
                chosen: list[Kernel | None] = [
                    kernels[column] if sign > 0 else flipped(kernels[column]) for column, sign in zip(order, signs)
                ]
                yield chosen + [None] * (3 - size)


def pooled(responses: Iterator[Array], pooling: Literal["max", "average"]) -> Array:
    """The largest or the mean response, one at a time in memory."""
    combine: Callable[[Array, Array], Array] = np.maximum if pooling == "max" else np.add
    total = next(responses)
    count = 1
    for response in responses:
        total = combine(total, response)
        count += 1
    return total if pooling == "max" else total / count
