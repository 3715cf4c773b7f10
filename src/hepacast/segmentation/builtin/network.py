"""The two pretrained U-Nets, rebuilt in PyTorch from their weights.

The weight files carry no architecture, so it is stated here (number, kind and order of the layers, DeepVoxNet's
"generalized U-Net") and checked against the name and shape of every array in the file: one that does not fit is
refused. Facts of both: pre-activation order (instance normalization without learned scale, leaky ReLU 0.01,
convolution), normalization over the whole input, max pooling, a sigmoid at the end.

* liver: 3 mm voxels, pooling by 3, zero-padded convolutions, linear upsampling; input 189 x 162 x 162 gives
  163 x 136 x 136 (the linear upsampling loses a margin of 13 on each side).
* lesion: 1 x 1 x 3 mm voxels inside the liver, pooling by 2, unpadded convolutions, residual connections, nearest
  upsampling; input 180 x 172 x 86 gives 92 x 84 x 42 (margins of 44, 44, 22).

Arrays run along x (to the patient's left to right), y, z as in the original, so kernels are (x, y, z).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hepacast.errors import ModelError

if TYPE_CHECKING:
    import torch

EPSILON = 1e-7
SLOPE = 0.01

#: Planes of the first axis that a convolution works on at a time: bounds the memory of its inner copies.
_SLAB = 24

Kernel = tuple[int, int, int]
_FLAT: Kernel = (3, 3, 1)
_FULL: Kernel = (3, 3, 3)
_POINT: Kernel = (1, 1, 1)


@dataclass(frozen=True)
class Architecture:
    """What tells the two networks apart.

    Parameters
    ----------
    factor
        Pooling and upsampling along each axis between levels.
    padded
        Zero-padded convolutions (output as large as input).
    linear
        Linear upsampling, otherwise nearest.
    residual
        Each block adds its input (through a 1 x 1 x 1 convolution where the channels differ).
    bottom
        Kernels of the lowest level.
    input_size, output_size
        Voxels along (x, y, z).
    voxel_mm
        Voxel size that it was trained at.
    """

    name: str
    factor: int
    padded: bool
    linear: bool
    residual: bool
    bottom: tuple[Kernel, Kernel]
    input_size: tuple[int, int, int]
    output_size: tuple[int, int, int]
    voxel_mm: tuple[float, float, float]

    @property
    def margin(self) -> tuple[int, int, int]:
        """Voxels lost on each side."""
        a, b, c = ((i - o) // 2 for i, o in zip(self.input_size, self.output_size, strict=True))
        return (a, b, c)


LIVER = Architecture("liver", 3, True, True, False, (_FULL, _FULL), (189, 162, 162), (163, 136, 136), (3.0, 3.0, 3.0))
LESION = Architecture("lesion", 2, False, False, True, (_FLAT, _FULL), (180, 172, 86), (92, 84, 42), (1.0, 1.0, 3.0))

_DOWN_FEATURES = ((20, 40), (40, 80), (80, 160), (160, 160))
_UP_FEATURES = ((160, 80), (80, 40), (40, 20))


def layer_shapes(architecture: Architecture) -> list[tuple[Kernel, int, int]]:
    """Kernel, input and output channels of every convolution, in the order of the weight file."""
    shapes: list[tuple[Kernel, int, int]] = []

    def block(channels: int, features: Sequence[int], kernels: Sequence[Kernel]) -> int:
        sizes = [channels, *features]
        for kernel, (before, after) in zip(kernels, pairwise(sizes), strict=True):
            shapes.append((kernel, before, after))
        if architecture.residual and channels != features[-1]:
            shapes.append((_POINT, channels, features[-1]))
        return features[-1]

    channels, skips = 1, []
    for level, features in enumerate(_DOWN_FEATURES):
        kernels = architecture.bottom if level == 3 else (_FLAT, _FULL)
        channels = block(channels, features, kernels)
        skips.append(channels)
    for skip, features in zip(reversed(skips[:-1]), _UP_FEATURES, strict=True):
        channels = block(skip + channels, features, (_FULL, _FLAT))
    shapes.append((_POINT, channels, 1))
    return shapes


def read_weights(path: str | Path, architecture: Architecture) -> list[tuple[npt.NDArray[Any], npt.NDArray[Any]]]:
    """Kernels and biases from the HDF5 file, every shape checked.

    Returns
    -------
    list of (kernel, bias)
        Kernels as PyTorch wants them, (out, in, x, y, z).

    Raises
    ------
    ModelError
        The file is not the expected one.
    MissingPackageError
        h5py is not installed.
    """
    from hepacast.core.optional import require

    h5py = require("h5py", purpose="The built-in segmenter", extra="seg")
    expected = layer_shapes(architecture)
    weights = []
    try:
        with h5py.File(path, "r") as file:
            voxel_mm = tuple(float(v) for v in file["header/voxel_size"][()])
            for number, (kernel, before, after) in enumerate(expected, start=1):
                group = file[f"conv3d_{number}/conv3d_{number}"]
                array, bias = group["kernel:0"][()], group["bias:0"][()]
                if array.shape != (*kernel, before, after) or bias.shape != (after,):
                    raise _unexpected(
                        path, f"conv3d_{number} of shape {(*kernel, before, after)}", f"{array.shape}, {bias.shape}"
                    )
                weights.append((array.transpose(4, 3, 0, 1, 2).copy(), bias))
            if f"conv3d_{len(expected) + 1}" in file:
                raise _unexpected(path, f"{len(expected)} convolutions", "more of them")
    except (OSError, KeyError) as error:
        raise _unexpected(path, f"the {architecture.name} network's Keras weights", str(error)) from error
    if voxel_mm != architecture.voxel_mm:
        raise _unexpected(path, f"voxels of {architecture.voxel_mm} mm", f"{voxel_mm}")
    return weights


def _unexpected(path: str | Path, expected: str, found: str) -> ModelError:
    return ModelError(
        "The built-in segmenter's weight file is not the expected one.",
        expected=expected,
        found=found,
        where=str(path),
        remedy="fetch it again; its SHA-256 is checked before",
    )


class PretrainedUNet:
    """One of the two networks with its weights.

    Parameters
    ----------
    architecture
        `LIVER` or `LESION`.
    weights
        From `read_weights`.
    device
        ``cpu`` or ``cuda``.
    precision
        ``f32`` or ``bf16``: in which values are kept and multiplied; means and deviations are of single precision.
    """

    def __init__(
        self,
        architecture: Architecture,
        weights: Sequence[tuple[npt.NDArray[Any], npt.NDArray[Any]]],
        device: str = "cpu",
        precision: str = "f32",
    ) -> None:
        import torch

        self.architecture = architecture
        #: PyTorch shares one image among its threads.
        self.side_by_side = 1
        self.device = torch.device(device)
        self.dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        self._layers = [(self._placed(kernel), self._placed(bias)) for kernel, bias in weights]

    def _placed(self, array: npt.NDArray[Any]) -> torch.Tensor:
        """On the device and of the network's type; the channels of a voxel side by side, as convolutions read them."""
        import torch

        tensor = torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
        layout = torch.channels_last_3d if tensor.dim() == 5 else torch.contiguous_format
        return tensor.to(self.device, self.dtype, memory_format=layout)

    def __call__(self, image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Probability map of one normalized input (x, y, z); smaller by the margin on each side."""
        import torch

        with torch.inference_mode():
            return self._forward(self._placed(image[None, None]))[0, 0].float().cpu().numpy()

    def _forward(self, path: torch.Tensor) -> torch.Tensor:
        import torch

        layers = iter(self._layers)
        shape = self.architecture
        skips: list[torch.Tensor] = []
        for level in range(4):
            if level:
                path = torch.nn.functional.max_pool3d(path, shape.factor)
            path = self._block([path], layers, plain_start=level == 0)
            if level < 3:
                skips.append(path)
        while skips:
            path = self._upsample(path)
            skip = _center(skips.pop(), path.shape[2:])
            path = self._block([skip, path], layers)
        return torch.sigmoid(_convolve([path], next(layers), False, normalize=True))

    def _block(self, parts: list[torch.Tensor], layers: Any, plain_start: bool = False) -> torch.Tensor:
        """Two convolutions over the channels of all parts, and the shortcut."""
        padded = self.architecture.padded
        channels = sum(part.shape[1] for part in parts)
        path = _convolve(parts, next(layers), padded, normalize=not plain_start)
        path = _convolve([path], next(layers), padded, normalize=True)
        if not self.architecture.residual:
            return path
        shortcut = [_center(part, path.shape[2:]) for part in parts]
        if channels != path.shape[1]:
            return path.add_(_convolve(shortcut, next(layers), False, normalize=False))
        return path.add_(shortcut[0])

    def _upsample(self, path: torch.Tensor) -> torch.Tensor:
        import torch

        factor = self.architecture.factor
        if not self.architecture.linear:
            return torch.nn.functional.interpolate(path, scale_factor=factor, mode="nearest")
        # Repeating by 3 and then averaging 3 neighbors is linear interpolation from n to 3 n - 2 points.
        size = [factor * (side - 1) + 1 for side in path.shape[2:]]
        return torch.nn.functional.interpolate(path, size=size, mode="trilinear", align_corners=True)


def _center(tensor: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """The central part of a tensor's last three axes."""
    starts = [(have - want) // 2 for have, want in zip(tensor.shape[2:], size, strict=True)]
    x, y, z = (slice(start, start + want) for start, want in zip(starts, size, strict=True))
    return tensor[:, :, x, y, z]


def _convolve(
    parts: Sequence[torch.Tensor], layer: tuple[torch.Tensor, torch.Tensor], padded: bool, *, normalize: bool
) -> torch.Tensor:
    """Normalization, leaky ReLU and convolution over the channels of all parts, slab by slab along x.

    The means and deviations are those of the whole parts, so the slabs change nothing but the memory: neither the
    activated copy of the input nor the joined channels ever exist as a whole.
    """
    import torch

    kernel, bias = layer
    statistics = [torch.var_mean(part.float(), dim=(2, 3, 4), unbiased=False, keepdim=True) for part in parts]
    half = kernel.shape[2] // 2
    pads = [side // 2 if padded else 0 for side in kernel.shape[2:]]
    length, height, width = parts[0].shape[2:]
    size = [n + 2 * p - k + 1 for n, p, k in zip((length, height, width), pads, kernel.shape[2:], strict=True)]
    layout = torch.channels_last_3d
    result = torch.empty((1, kernel.shape[0], *size), dtype=kernel.dtype, device=kernel.device, memory_format=layout)
    shift = half - pads[0]
    for first in range(0, size[0], _SLAB):
        last = min(first + _SLAB, size[0])
        low, high = first + shift - half, last + shift + half
        inside = slice(max(low, 0), min(high, length))
        slabs = []
        for part, (variance, mean) in zip(parts, statistics, strict=True):
            slab = part[:, :, inside]
            if normalize:
                slab = torch.nn.functional.leaky_relu_((slab - mean) / (variance.sqrt() + EPSILON), SLOPE)
                slab = slab.to(kernel.dtype)
            slabs.append(slab)
        joined = torch.cat(slabs, 1) if len(slabs) > 1 else slabs[0]
        edges = (0, 0, 0, 0, max(0, -low), max(0, high - length))
        if any(edges):
            joined = torch.nn.functional.pad(joined, edges)
        result[:, :, first:last] = torch.nn.functional.conv3d(joined, kernel, bias, padding=(0, pads[1], pads[2]))
    return result
