"""What an extraction will take: seconds and peak memory, before it starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hepacast.imaging import Volume
from hepacast.radiomics.filters.source import VoxelBox
from hepacast.radiomics.names import image_names
from hepacast.radiomics.settings import Settings

#: Seconds a million voxels on one core of a 2020s server: features of one image a VOI voxel, filters a box voxel.
_FEATURE_SECONDS = 0.08
_FILTER_SECONDS = {
    "Original": 0.005,
    "Wavelet": 0.05,
    "LoG": 0.06,
    "Square": 0.005,
    "SquareRoot": 0.008,
    "Logarithm": 0.012,
    "Exponential": 0.012,
    "Gradient": 0.006,
    "LBP2D": 0.25,
    "LBP3D": 0.25,
}
_LBP_VOXEL_SECONDS = 0.45
_SHAPE_SECONDS = 0.3

#: Start of the process, libraries and compiled code.
_BASE_BYTES = 350e6


def longest_first(settings: Settings) -> list[str]:
    """The image types in the order in which workers should take them, so that none is left with a long one."""

    def seconds(image_type: str) -> float:
        images = len(image_names(image_type, settings.parameters_for(image_type).model_dump()))
        repeat = images if image_type == "LoG" else 1
        own = _LBP_VOXEL_SECONDS if image_type == "LBP3D" else 0.0
        return _FEATURE_SECONDS * images + 2 * _FILTER_SECONDS[image_type] * repeat + own  # a box is twice its VOI

    return sorted(settings.image_types, key=lambda image_type: -seconds(image_type))


@dataclass(frozen=True)
class ExtractionCost:
    """A forecast of one extraction on one core.

    Parameters
    ----------
    seconds
        Time, without reading the files and without the first compilation of the kernels.
    peak_bytes
        Peak memory of the process.
    """

    seconds: float
    peak_bytes: float


def estimate(
    volume: Volume, vois: Mapping[str, Volume] | Volume, settings: Settings, threads: int = 1
) -> ExtractionCost:
    """Forecast the time (on one core) and the memory of `extract` for one image.

    The forecast follows the number of voxels in the VOIs and in the box around them, after resampling. Each of the
    `threads` that measure image types side by side has filtered images of its own.
    """
    masks = [vois] if isinstance(vois, Volume) else list(vois.values())
    boxes = [(mask, VoxelBox.of_mask(np.asarray(mask.array != 0))) for mask in masks]
    spacing = np.array(volume.spacing)
    wanted = np.array(settings.parameters.resampledPixelSpacing or (0, 0, 0), dtype=float)
    growth = float(np.prod(spacing / np.where(wanted == 0, spacing, wanted)))
    voxels = sum(float(np.count_nonzero(mask.array)) for mask, _ in boxes) * growth / 1e6
    own = [float(np.prod(box.grown(10, volume.array.shape).shape)) for _, box in boxes if box is not None]
    # VOIs with a grid of their own are filtered one by one, others together in their common box.
    alone = settings.parameters.resampledPixelSpacing is not None or settings.parameters.preCrop
    found = [box for _, box in boxes if box is not None]
    together = float(np.prod(VoxelBox.union(found).grown(10, volume.array.shape).shape)) if found else 0.0
    box_voxels = (sum(own) if alone else together) * growth / 1e6
    seconds = _SHAPE_SECONDS * voxels + _FEATURE_SECONDS * voxels * len(settings.image_names())
    for image_type in settings.image_types:
        repeat = len(settings.parameters_for(image_type).sigma) if image_type == "LoG" else 1
        seconds += _FILTER_SECONDS[image_type] * box_voxels * repeat
        if image_type == "LBP3D":
            seconds += _LBP_VOXEL_SECONDS * voxels
    largest = max(own, default=0.0) * growth if alone else together
    image_bytes = float(volume.array.nbytes) * (1 + (8 / volume.array.itemsize if settings.parameters.normalize else 0))
    mask_bytes = float(sum(mask.array.size for mask, _ in boxes))
    # At any time: one filtered image, its intermediate steps and a few small copies, all of the box, in doubles.
    work = largest * 8 * (7 if {"Wavelet", "LBP3D"} & set(settings.image_types) else 4)
    work *= max(1, min(threads, len(settings.image_types)))
    return ExtractionCost(seconds, _BASE_BYTES + image_bytes + mask_bytes + work)
