"""Square, square root, logarithm, exponential: filters of single voxels, scaled by the whole image's maximum.

Formulas: PyRadiomics' ``imageoperations``. Each value depends on its own voxel and on max|x| of the whole image only,
so a crop changes nothing as long as that maximum is the whole image's. An image that is 0 everywhere has no scale: its
filtered values are NaN, and the features say so.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hepacast.radiomics.filters.source import SourceImage, VoxelBox

Array = npt.NDArray[np.float64]


@np.errstate(divide="ignore", invalid="ignore", over="ignore")
def square(source: SourceImage, box: VoxelBox) -> Array:
    """(c x)^2 with c = 1 / sqrt(max|x|)."""
    values = source.doubles(box, "image")
    coefficient = 1 / np.sqrt(source.absolute_maximum)
    values *= coefficient
    return np.square(values, out=values)


@np.errstate(divide="ignore", invalid="ignore", over="ignore")
def square_root(source: SourceImage, box: VoxelBox) -> Array:
    """sign(x) sqrt(|x| max|x|)."""
    values, magnitude = source.doubles(box, "a"), source.scratch.array("image", box.shape, np.float64)
    np.abs(values, out=magnitude)
    magnitude *= source.absolute_maximum
    np.sqrt(magnitude, out=magnitude)
    return np.copysign(magnitude, values, out=magnitude)


@np.errstate(divide="ignore", invalid="ignore", over="ignore")
def logarithm(source: SourceImage, box: VoxelBox) -> Array:
    """sign(x) log(|x| + 1) max|x| / log(max|x| + 1)."""
    values, magnitude = source.doubles(box, "a"), source.scratch.array("image", box.shape, np.float64)
    largest = source.absolute_maximum
    np.abs(values, out=magnitude)
    magnitude += 1
    np.log(magnitude, out=magnitude)
    np.copysign(magnitude, values, out=magnitude)
    # The same function on an array, as the oracle takes the maximum of the transformed array.
    magnitude *= largest / np.log(np.full(8, largest + 1))[0]
    return magnitude


@np.errstate(divide="ignore", invalid="ignore", over="ignore")
def exponential(source: SourceImage, box: VoxelBox) -> Array:
    """exp(c x) with c = log(max|x|) / max|x|."""
    values = source.doubles(box, "image")
    largest = source.absolute_maximum
    values *= np.log(largest) / largest
    return np.exp(values, out=values)
