"""The encoder of the built-in liver CNN (KU Leuven), to start from: its four levels with their own weights.

Facts of the architecture, as in the built-in segmenter: levels of two convolutions (3 x 3 in the slice, then
3 x 3 x 3), pre-activation order (instance normalization without learned scale, leaky ReLU 0.01, convolution with bias;
nothing before the very first), 20 to 160 channels, max pooling by 3 between levels; trained on 3-mm voxels.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from hepacast.deep.blocks import Kernel
from hepacast.errors import ModelError

#: Channels after the two convolutions of each level.
LEVELS = ((20, 40), (40, 80), (80, 160), (160, 160))
_FLAT: Kernel = (1, 3, 3)
_FULL: Kernel = (3, 3, 3)
_POOL = 3


class PreActivated(nn.Module):
    """Normalization, leaky ReLU, convolution."""

    def __init__(self, before: int, after: int, kernel: Kernel) -> None:
        super().__init__()
        self.convolution = nn.Conv3d(before, after, kernel, padding=(kernel[0] // 2, kernel[1] // 2, kernel[2] // 2))

    def forward(self, x: Tensor) -> Tensor:
        """(n, before, z, y, x) -> (n, after, z, y, x)."""
        variance, mean = torch.var_mean(x, dim=(2, 3, 4), unbiased=False, keepdim=True)
        return self.convolution(nn.functional.leaky_relu((x - mean) / (variance + 1e-7).sqrt(), 0.01))


class LiverEncoder(nn.Module):
    """The CNN's downward path; `stem` is its first convolution, each stage a level (the first lacks that one).

    Parameters
    ----------
    stages
        Levels to take, 2 to 4.
    channels
        Channels of the crops; the CNN has one.
    """

    def __init__(self, stages: int, channels: int) -> None:
        super().__init__()
        self.kernel: Kernel = _FULL
        first, second = LEVELS[0]
        self.stem = nn.Conv3d(channels, first, _FLAT, padding=(0, 1, 1))
        parts: list[nn.Module] = [PreActivated(first, second, _FULL)]
        self.widths = [first, second]
        for number, (inner, after) in enumerate(LEVELS[1:stages], start=1):
            kernels = (_FULL, _FULL) if number == len(LEVELS) - 1 else (_FLAT, _FULL)
            convolutions = [PreActivated(self.widths[-1], inner, kernels[0]), PreActivated(inner, after, kernels[1])]
            parts.append(nn.Sequential(nn.MaxPool3d(_POOL, ceil_mode=True), *convolutions))
            self.widths.append(after)
        self.stages = nn.ModuleList(parts)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(n, channels, z, y, x) -> one map a level, the stem's first."""
        maps = [self.stem(x)]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        return maps

    def convolutions(self) -> list[nn.Conv3d]:
        """In the order of the weight file."""
        return [module for module in self.modules() if isinstance(module, nn.Conv3d)]


def load_liver_cnn(encoder: LiverEncoder, path: Path) -> list[str]:
    """Take over the weights of the built-in liver network's HDF5 file (its checksum is checked before).

    Raises
    ------
    ModelError
        The file is another one, or the crops have more than one channel.
    MissingPackageError
        h5py is not installed.
    """
    from hepacast.core.optional import require

    h5py = require("h5py", purpose="The built-in liver CNN's weights", extra="seg")
    taken = []
    try:
        with h5py.File(path, "r") as file:
            for number, convolution in enumerate(encoder.convolutions(), start=1):
                group = file[f"conv3d_{number}/conv3d_{number}"]
                # Keras keeps (x, y, z, in, out); ours is (out, in, z, y, x).
                kernel = torch.from_numpy(group["kernel:0"][()].transpose(4, 3, 2, 1, 0).copy())
                bias = torch.from_numpy(group["bias:0"][()])
                if kernel.shape != convolution.weight.shape:
                    raise ModelError(
                        "The liver CNN's weights do not fit.",
                        expected=f"convolution {number} of shape {tuple(convolution.weight.shape)}",
                        found=f"{tuple(kernel.shape)}",
                        where=str(path),
                        remedy="the CNN takes crops of one channel",
                    )
                with torch.no_grad():
                    convolution.weight.copy_(kernel)
                    assert convolution.bias is not None
                    convolution.bias.copy_(bias)
                taken.append(f"conv3d_{number}")
    except (OSError, KeyError) as error:
        raise ModelError("This is not the liver CNN's weight file.", found=str(error), where=str(path)) from error
    return taken
