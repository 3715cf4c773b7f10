"""Feature maps: each voxel gets the features of its neighborhood (PyRadiomics' voxel-based extraction)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hepacast.errors import ImageError, StudyFileError
from hepacast.imaging import Volume
from hepacast.radiomics import names
from hepacast.radiomics.core import FeatureSettings, FeatureWarnings, Voi, image_features
from hepacast.radiomics.discretise import Levels, bin_edges
from hepacast.radiomics.extraction import feature_settings
from hepacast.radiomics.filters import SourceImage, filtered_images
from hepacast.radiomics.parameters import Parameters
from hepacast.radiomics.preprocess import prepare
from hepacast.radiomics.settings import Settings


def feature_maps(volume: Volume, voi: Volume, settings: Settings | str | Path | Mapping[str, Any]) -> dict[str, Volume]:
    """Parametric images of all features but shape, as PyRadiomics' ``execute(..., voxelBased=True)``.

    Around every voxel of the VOI the features of a cube of ``2 kernelRadius + 1`` voxels are calculated; with
    ``maskedKernel`` only voxels inside the VOI count. Gray levels are those of the whole VOI. Meant for the report's
    pictures of a few features: the time is that of one small extraction a voxel.

    Returns
    -------
    dict
        Feature name -> map on the (resampled) image's grid; ``initValue`` outside the VOI, NaN where the
        neighborhood gives no value.

    Raises
    ------
    ImageError
        The VOI cannot be measured.
    StudyFileError
        The settings' mode is "ibsi".
    """
    chosen = Settings.load(settings)
    if chosen.mode != "pyradiomics":
        raise StudyFileError("Feature maps follow PyRadiomics' definitions.", found=f"mode: {chosen.mode}")
    prepared = prepare(volume, {"voi": voi}, chosen.parameters)
    if prepared.failures:
        raise ImageError("The VOI cannot be measured.", found=prepared.failures["voi"])
    group = prepared.groups[0]
    ready = group.vois[0]
    radius = chosen.parameters.kernelRadius
    box = ready.box.grown(radius, group.source.shape)
    mask = np.zeros(box.shape, dtype=bool)
    mask[ready.box.within(box)] = ready.mask
    classes = {name: own for name, own in chosen.feature_classes.items() if name not in names.SHAPE_CLASSES}
    grid = _grid_of(volume, group.source)
    maps: dict[str, Volume] = {}
    for image_type in chosen.image_types:
        parameters = chosen.parameters_for(image_type)
        for image_name, image in filtered_images(image_type, group.source, box, mask, parameters):
            if isinstance(image, str):
                continue
            for name, values in _maps_of_image(image, mask, group.source, parameters, classes).items():
                whole = np.full(group.source.shape, parameters.initValue)
                whole[box.slices][mask] = values
                maps[f"{image_name}_{name}"] = grid.with_array(whole)
    return maps


def _grid_of(volume: Volume, source: SourceImage) -> Volume:
    if source.shape == volume.array.shape:
        return volume.with_array(source.array)
    raise StudyFileError(
        "Feature maps are made on the image's own grid.",
        expected="no resampledPixelSpacing and no preCrop",
        found="a resampled or cropped image",
        remedy="resample the image and the mask first",
    )


def _maps_of_image(
    image: npt.NDArray[Any],
    mask: npt.NDArray[np.bool_],
    source: SourceImage,
    parameters: Parameters,
    classes: Mapping[str, Any],
) -> dict[str, npt.NDArray[np.float64]]:
    """Values at the voxels of the mask, in the order of the array."""
    counted = mask if parameters.maskedKernel else np.ones_like(mask)
    settings = feature_settings(parameters)
    levels, highest = _levels(image, counted, settings)
    flat = parameters.force2Ddimension if parameters.force2D else None
    reach = [0 if axis == flat else parameters.kernelRadius for axis in range(3)]
    points = np.argwhere(mask)
    result: dict[str, npt.NDArray[np.float64]] = {}
    for place, point in enumerate(points):
        low = [max(0, int(at) - more) for at, more in zip(point, reach)]
        high = [min(size, int(at) + more + 1) for at, more, size in zip(point, reach, mask.shape)]
        around = (slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2]))
        near = counted[around]
        voi = Voi.from_mask(near)
        # The neighborhood's voxels with the gray levels of the whole VOI, and its highest level.
        level = levels[around][near]
        own = Levels(level, np.bincount(level, minlength=highest + 1).astype(np.int64))
        values = image_features(
            image[around], voi, source.spacing[::-1], settings, classes, FeatureWarnings(), levels=own
        )
        for name, value in values.items():
            result.setdefault(name, np.full(len(points), np.nan))[place] = value
    return result


def _levels(
    image: npt.NDArray[Any], mask: npt.NDArray[np.bool_], settings: FeatureSettings
) -> tuple[npt.NDArray[np.int32], int]:
    """Gray levels of the whole VOI, 0 outside, and the highest of them."""
    inside = image[mask]
    edges = bin_edges(inside.min(), inside.max(), settings)
    result = np.zeros(image.shape, dtype=np.int32)
    result[mask] = np.digitize(inside, edges)
    return result, int(result.max())
