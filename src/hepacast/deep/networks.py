"""`MultiTaskNet`: one residual encoder, a prediction pathway, a segmentation pathway, or both.

Encoder: ResNet-10, -18, -34 or -50 (He et al., CVPR 2016) in 3D, or flat with three-slice input (2.5D). Segmentation
pathway: a decoder with skips and deep supervision (Ronneberger et al., MICCAI 2015; Lee et al., AISTATS 2015).
Prediction pathway: the input and the encoder's levels are pooled (mean, maximum, SD; with a segmentation pathway mean
and SD over the predicted tumor's core, its rim and the tissue around it instead), then one hidden layer (the
penultimate features) and the outcome.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from hepacast.deep.blocks import (
    REGIONS,
    Kernel,
    Residual,
    Upward,
    coarsen,
    convolution,
    enlarge,
    global_pool,
    make_norm,
    region_pool,
    regions_of,
    spread_cube,
)
from hepacast.deep.liver_cnn import LiverEncoder
from hepacast.deep.spec import NetworkSpec

#: Blocks by stage, and whether they are bottlenecks.
ENCODERS: dict[str, tuple[tuple[int, ...], bool]] = {
    "resnet10": ((1, 1, 1, 1, 1), False),
    "resnet18": ((2, 2, 2, 2, 2), False),
    "resnet34": ((3, 4, 6, 3, 3), False),
    "resnet50": ((3, 4, 6, 3, 3), True),
}


class Output(NamedTuple):
    """What the network says of n patients.

    Parameters
    ----------
    outcome
        Logits, (n, 1), or (n, bins) of discrete hazards; None without a prediction pathway.
    masks
        Logits of the mask, (n, 1, z, y, x), finest first (the coarser ones for deep supervision); empty without a
        segmentation pathway.
    features
        Penultimate features, (n, features); None without a prediction pathway.
    """

    outcome: Tensor | None
    masks: tuple[Tensor, ...]
    features: Tensor | None


class Encoder(nn.Module):
    """The residual encoder; gives the feature maps of the stem and of every stage, finest first."""

    def __init__(self, spec: NetworkSpec, channels: int) -> None:
        super().__init__()
        flat = spec.dimensions == "2.5d"
        self.kernel: Kernel = (1, 3, 3) if flat else (3, 3, 3)
        down: Kernel = (1, 2, 2) if flat else (2, 2, 2)
        depth, bottleneck = ENCODERS[spec.encoder]
        published = spec.stem == "resnet"
        size: Kernel = ((3, 7, 7) if flat else (7, 7, 7)) if published else (3, 3, 3)
        step: Kernel = (1, 1, 1) if spec.stem_stride == 1 else down
        stem: list[nn.Module] = [
            convolution(channels, spec.width, size, step), make_norm(spec.norm, spec.width), nn.ReLU(inplace=True)
        ]  # fmt: skip
        if published:
            stem.append(nn.MaxPool3d(self.kernel, down, padding=(0, 1, 1) if flat else 1))
        self.stem = nn.Sequential(*stem)
        self.widths = [spec.width]
        stages: list[nn.Module] = []
        for stage in range(spec.stages):
            width = spec.width * 2**stage
            after = width * spec.expansion if bottleneck else width
            inner = (width if spec.expansion == 4 else max(width // 4, 4)) if bottleneck else None
            blocks = [
                Residual(
                    self.widths[-1] if block == 0 else after,
                    after,
                    self.kernel,
                    (1, 1, 1) if stage == 0 or block else down,
                    spec.norm,
                    inner=inner,
                    padding=spec.shortcut == "padding",
                )
                for block in range(depth[stage])
            ]
            stages.append(nn.Sequential(*blocks))
            self.widths.append(after)
        self.stages = nn.ModuleList(stages)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(n, channels, z, y, x) -> one map a level."""
        maps = [self.stem(x)]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        return maps


class Decoder(nn.Module):
    """The segmentation pathway: logits of the mask at the crop's resolution and at coarser levels.

    Where the stem reduces the resolution, the finest logits are made one for each voxel of the cube that a feature
    stands for (sub-voxel convolution, Shi et al., CVPR 2016): convolutions at full resolution would cost more than all
    the rest.
    """

    def __init__(self, spec: NetworkSpec, widths: list[int], kernel: Kernel) -> None:
        super().__init__()
        self.supervised = spec.deep_supervision
        ups, heads, below = [], [], widths[-1]
        for skip in reversed(widths[1:-1]):
            ups.append(Upward(below, skip, skip, kernel, spec.norm))
            heads.append(nn.Conv3d(skip, 1, 1))
            below = skip
        self.ups, self.heads = nn.ModuleList(ups), nn.ModuleList(heads)
        side = spec.reduction
        self.cube: Kernel = (1 if spec.dimensions == "2.5d" else side, side, side)
        self.last = nn.Conv3d(below, self.cube[0] * self.cube[1] * self.cube[2], kernel, padding="same")

    def forward(self, size: Sequence[int], maps: list[Tensor]) -> tuple[Tensor, ...]:
        """The crop's size and the encoder's maps -> logits, finest first."""
        x, coarse = maps[-1], []
        for up, head, skip in zip(self.ups, self.heads, reversed(maps[1:-1]), strict=True):
            x = up(x, skip)
            coarse.append(head(x))
        finest = enlarge(spread_cube(self.last(x), self.cube), size)
        return (finest, *reversed(coarse)) if self.supervised else (finest,)


class MultiTaskNet(nn.Module):
    """Encoder pathway, prediction pathway, segmentation pathway.

    Parameters
    ----------
    spec
        The network.
    channels
        Channels of the crops.
    covariates
        Number of clinical values that join the pooled features.
    """

    def __init__(self, spec: NetworkSpec, channels: int, covariates: int = 0) -> None:
        super().__init__()
        self.spec, self.channels, self.covariates = spec, channels, covariates
        # A frozen encoder sees one image at a time, as it was trained; the last channel is the mask.
        seen_channels = 1 if spec.frozen else channels
        self.encoder: Encoder | LiverEncoder = (
            LiverEncoder(min(spec.stages, 4), seen_channels)
            if spec.encoder == "liver-cnn"
            else Encoder(spec, seen_channels)
        )
        widths = self.encoder.widths
        self.decoder = Decoder(spec, widths, self.encoder.kernel) if spec.segments else None
        self.guided = spec.segments and spec.predicts and spec.mask_pooling
        self.head: nn.Module | None = None
        self.final: nn.Module | None = None
        if spec.predicts:
            seen = [seen_channels, *widths][: spec.pooled_levels]
            pooled = sum(seen) * (2 * REGIONS if self.guided or spec.frozen else 3) + covariates
            if spec.frozen:
                pooled *= channels - 1
            # Pooled features differ in scale a thousandfold: each is brought to mean 0 and SD 1 over patients.
            hidden = [nn.Dropout(spec.dropout), nn.Linear(pooled, spec.features), nn.ReLU(inplace=True)]
            self.head = nn.Sequential(nn.BatchNorm1d(pooled), *([] if spec.frozen else hidden))
            last = pooled if spec.frozen else spec.features
            self.final = nn.Linear(last, spec.hazard_bins if spec.outcome == "hazard" else 1)
        # Logarithms of the tasks' variances (Kendall, Gal, Cipolla, CVPR 2018): outcome, mask.
        self.log_variance = nn.Parameter(torch.zeros(2))

    def forward(self, x: Tensor, covariates: Tensor | None = None) -> Output:
        """Crops (n, channels, z, y, x) and covariates (n, p) -> `Output`."""
        if self.spec.frozen:
            assert self.head is not None and self.final is not None
            features = self.head(self.embed(x))
            return Output(self.final(features), (), features)
        maps = self.encoder(x)
        masks: tuple[Tensor, ...] = self.decoder(x.shape[2:], maps) if self.decoder is not None else ()
        if self.head is None or self.final is None:
            return Output(None, masks, None)
        levels = [x, *maps][: self.spec.pooled_levels]
        if self.guided:
            # The mask guides where to look; it is learned from masks, not bent by the outcome.
            regions = regions_of(torch.sigmoid(masks[0].detach()), self.spec.rim_voxels)
            pooled = [region_pool(level, coarsen(regions, level.shape[2:])) for level in levels]
        else:
            pooled = [global_pool(level) for level in levels]
        if self.covariates:
            pooled.append(torch.zeros(len(x), self.covariates, device=x.device) if covariates is None else covariates)
        features = self.head(torch.cat(pooled, dim=1))
        return Output(self.final(features), masks, features)

    def embed(self, x: Tensor) -> Tensor:
        """Activations of a frozen encoder, pooled in core, rim and surroundings of the last channel: (n, pooled).

        In double precision: the variance of a channel far from 0 would be rounding errors else, which differ from batch
        to batch.
        """
        regions = regions_of(x[:, -1:], self.spec.rim_voxels).double()
        pooled = []
        for channel in range(x.shape[1] - 1):
            image = x[:, channel : channel + 1]
            levels = [image, *self.encoder(image)][: self.spec.pooled_levels]
            pooled += [region_pool(level.double(), coarsen(regions, level.shape[2:])) for level in levels]
        return torch.cat(pooled, dim=1).to(x.dtype)


def count_parameters(network: nn.Module) -> int:
    """Trainable numbers of a network."""
    return sum(item.numel() for item in network.parameters() if item.requires_grad)
