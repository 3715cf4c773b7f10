"""Building blocks of the networks: norms, residual blocks (He 2016), the encoder's and the decoder's stages."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

Kernel = tuple[int, int, int]


def make_norm(kind: str, channels: int) -> nn.Module:
    """A normalization layer of a named kind."""
    if kind == "batch":
        return nn.BatchNorm3d(channels)
    if kind == "instance":
        return nn.InstanceNorm3d(channels, affine=True)
    groups = next(number for number in (8, 4, 2, 1) if channels % number == 0)
    return nn.GroupNorm(groups, channels)


def convolution(before: int, after: int, kernel: Kernel, stride: Kernel = (1, 1, 1)) -> nn.Conv3d:
    """A convolution that keeps the size (up to its stride), without bias: a norm follows."""
    padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
    return nn.Conv3d(before, after, kernel, stride, padding, bias=False)


class Residual(nn.Module):
    """A basic residual block (two 3 x 3 x 3 convolutions) or a bottleneck (1, 3, 1).

    Parameters
    ----------
    before, after
        Channels in and out.
    kernel, stride
        Of the middle convolution; flat ones make the 2.5D network.
    norm
        Kind of normalization.
    inner
        Channels inside a bottleneck (ResNet-50's block: a quarter of those out); none: a basic block.
    padding
        Shortcut of type A where the size changes: no weights, channels of zeros.
    """

    def __init__(
        self,
        before: int,
        after: int,
        kernel: Kernel,
        stride: Kernel,
        norm: str,
        *,
        inner: int | None = None,
        padding: bool = False,
    ) -> None:
        super().__init__()
        layers: list[nn.Module]
        if inner is not None:
            layers = [
                convolution(before, inner, (1, 1, 1)), make_norm(norm, inner), nn.ReLU(inplace=True),
                convolution(inner, inner, kernel, stride), make_norm(norm, inner), nn.ReLU(inplace=True),
                convolution(inner, after, (1, 1, 1)), make_norm(norm, after),
            ]  # fmt: skip
        else:
            layers = [
                convolution(before, after, kernel, stride), make_norm(norm, after), nn.ReLU(inplace=True),
                convolution(after, after, kernel), make_norm(norm, after),
            ]  # fmt: skip
        self.body = nn.Sequential(*layers)
        self.shortcut: nn.Module
        if before == after and stride == (1, 1, 1):
            self.shortcut = nn.Identity()
        elif padding:
            self.shortcut = Padded(after - before, stride)
        else:
            self.shortcut = nn.Sequential(convolution(before, after, (1, 1, 1), stride), make_norm(norm, after))

    def forward(self, x: Tensor) -> Tensor:
        """(n, before, z, y, x) -> (n, after, z', y', x')."""
        return torch.relu(self.body(x) + self.shortcut(x))


class Padded(nn.Module):
    """Shortcut of type A: every other voxel, and further channels of zeros."""

    def __init__(self, more: int, stride: Kernel) -> None:
        super().__init__()
        self.more, self.stride = more, stride

    def forward(self, x: Tensor) -> Tensor:
        """(n, before, z, y, x) -> (n, before + more, z', y', x')."""
        a, b, c = self.stride
        return nn.functional.pad(x[:, :, ::a, ::b, ::c], (0, 0, 0, 0, 0, 0, 0, self.more))


class Upward(nn.Module):
    """A stage of the decoder: the coarser level enlarged, joined with the encoder's level, and two convolutions."""

    def __init__(self, below: int, skip: int, after: int, kernel: Kernel, norm: str) -> None:
        super().__init__()
        self.body = nn.Sequential(
            convolution(below + skip, after, kernel), make_norm(norm, after), nn.ReLU(inplace=True),
            convolution(after, after, kernel), make_norm(norm, after), nn.ReLU(inplace=True),
        )  # fmt: skip

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Coarse (n, below, ...) and skip (n, skip, z, y, x) -> (n, after, z, y, x)."""
        return self.body(torch.cat([enlarge(x, skip.shape[2:]), skip], dim=1))


def enlarge(x: Tensor, size: Sequence[int]) -> Tensor:
    """Trilinear to a size."""
    if tuple(x.shape[2:]) == tuple(size):
        return x
    return nn.functional.interpolate(x, size=tuple(size), mode="trilinear", align_corners=False)


def coarsen(x: Tensor, size: Sequence[int]) -> Tensor:
    """Means over boxes, to a size."""
    z, y, w = (int(side) for side in size)
    return nn.functional.adaptive_avg_pool3d(x, (z, y, w))


def spread_cube(x: Tensor, cube: Kernel) -> Tensor:
    """Channels into space: (n, a b c, z, y, x) -> (n, 1, a z, b y, c x)."""
    a, b, c = cube
    n, _, z, y, w = x.shape
    parts = x.reshape(n, a, b, c, z, y, w).permute(0, 4, 1, 5, 2, 6, 3)
    return parts.reshape(n, 1, a * z, b * y, c * w)


def global_pool(x: Tensor) -> Tensor:
    """Mean, maximum and log SD over space: (n, c, ...) -> (n, 3 c)."""
    flat = x.flatten(2)
    return torch.cat([flat.mean(dim=2), flat.amax(dim=2), _log_root(flat.var(dim=2, unbiased=False))], dim=1)


def region_pool(x: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean and log SD over space: (n, c, ...) and (n, r, ...) -> (n, 2 r c); the SD tells of texture."""
    flat, shares = x.flatten(2), weights.flatten(2)
    shares = shares / shares.sum(dim=2, keepdim=True).clamp_min(1e-3)
    means = flat @ shares.transpose(1, 2)
    squares = (flat * flat) @ shares.transpose(1, 2)
    spread = _log_root((squares - means * means).clamp_min(0.0))
    return torch.cat([means.flatten(1), spread.flatten(1)], dim=1)


def _log_root(variance: Tensor) -> Tensor:
    return 0.5 * torch.log(variance + 1e-4)


def regions_of(probability: Tensor, width: int) -> Tensor:
    """A tumor's core, its rim and the tissue around it as soft weights, (n, 1, ...) -> (n, 3, ...).

    The core is what a minimum filter leaves, the rim what it takes away, the tissue around what a maximum filter adds;
    `width` voxels each.
    """
    wide, narrow = _highest(probability, width), -_highest(-probability, width)
    return torch.cat([narrow, probability - narrow, wide - probability], dim=1)


def _highest(x: Tensor, width: int) -> Tensor:
    """Maximum over a cube, one axis after the other (the same, and much quicker)."""
    side = 2 * width + 1
    for axis in range(3):
        kernel = tuple(side if number == axis else 1 for number in range(3))
        padding = tuple(width if number == axis else 0 for number in range(3))
        x = nn.functional.max_pool3d(x, kernel, 1, padding)
    return x


#: Regions of `regions_of`.
REGIONS = 3
