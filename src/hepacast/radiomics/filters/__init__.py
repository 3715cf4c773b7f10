"""Image types: each gives filtered images of a box of voxels, equal to PyRadiomics' filter of the whole image.

What lives here: one module a filter, the box and the source they read. What may not: masks other than where values
are asked for, features.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from hepacast.radiomics.filters.gradient import gradient
from hepacast.radiomics.filters.lbp2d import local_binary_pattern_2d
from hepacast.radiomics.filters.lbp3d import SPLINE_MARGIN, local_binary_patterns_3d
from hepacast.radiomics.filters.log import laplacian_of_gaussian, too_small
from hepacast.radiomics.filters.points import exponential, logarithm, square, square_root
from hepacast.radiomics.filters.source import SourceImage, VoxelBox
from hepacast.radiomics.filters.wavelet import wavelet_images
from hepacast.radiomics.names import image_names, log_image_name
from hepacast.radiomics.parameters import Parameters

__all__ = ["SourceImage", "VoxelBox", "filtered_images"]

_POINTS = {"Square": square, "SquareRoot": square_root, "Logarithm": logarithm, "Exponential": exponential}

#: The reason of an image that cannot be made because voxels around the VOI have no finite value.
OUTSIDE = "undefined-around"

#: A filtered image under PyRadiomics' name, or the reason why there is none.
Filtered = tuple[str, npt.NDArray[Any] | str]


def filtered_images(
    image_type: str, source: SourceImage, box: VoxelBox, mask: npt.NDArray[np.bool_], parameters: Parameters
) -> Iterator[Filtered]:
    """The images of one image type, restricted to a box, one at a time.

    An image is valid until the next one is asked for: they share the source's scratch memory.

    Parameters
    ----------
    image_type
        PyRadiomics' name: "Original", "Wavelet", "LoG" ...
    source
        The whole preprocessed image.
    box
        The voxels whose values are asked for.
    mask
        Shape of `box`; filters that cost much a voxel (LBP 3D) leave out the voxels outside it.
    parameters
        The settings of this image type.
    """
    if image_type == "Original":
        yield "original", source.crop(box)
    elif image_type in _POINTS:
        yield image_type.lower(), _POINTS[image_type](source, box)
    elif image_type == "Gradient":
        yield "gradient", gradient(source, box, use_spacing=parameters.gradientUseSpacing)
    elif image_type == "LoG":
        yield from _log(source, box, parameters)
    elif image_type == "Wavelet":
        axes = tuple(axis for axis in (2, 1, 0) if not (parameters.force2D and axis == parameters.force2Ddimension))
        yield from wavelet_images(
            source,
            box,
            wavelet=parameters.wavelet,
            level=parameters.level,
            start_level=parameters.start_level,
            axes=axes,
        )
    elif (reach := _reach_of_patterns(image_type, parameters)) and source.undefined_within(
        box.grown(reach, source.shape)
    ):
        # A comparison with NaN is false, not NaN: the patterns would be wrong in silence.
        for name in image_names(image_type, parameters.model_dump()):
            yield name, OUTSIDE
    elif image_type == "LBP2D":
        yield "lbp-2D", _flat_patterns(source, box, parameters)
    elif image_type == "LBP3D":
        yield from local_binary_patterns_3d(
            source,
            box,
            mask,
            levels=parameters.lbp3DLevels,
            radius=parameters.lbp3DIcosphereRadius,
            subdivisions=parameters.lbp3DIcosphereSubdivision,
        )
    else:
        raise ValueError(f"no image type {image_type!r}")


def _flat_patterns(source: SourceImage, box: VoxelBox, parameters: Parameters) -> npt.NDArray[Any]:
    return local_binary_pattern_2d(
        source,
        box,
        radius=parameters.lbp2DRadius,
        samples=parameters.lbp2DSamples,
        method=parameters.lbp2DMethod,
        axis=parameters.force2Ddimension,
    )


def _reach_of_patterns(image_type: str, parameters: Parameters) -> int:
    """Voxels around the box that a local binary pattern reads; 0 for other filters."""
    if image_type == "LBP2D":
        return math.ceil(parameters.lbp2DRadius) + 1
    return SPLINE_MARGIN + math.ceil(parameters.lbp3DIcosphereRadius) if image_type == "LBP3D" else 0


def _log(source: SourceImage, box: VoxelBox, parameters: Parameters) -> Iterator[Filtered]:
    for sigma in parameters.sigma:
        reason = too_small(source.shape, source.spacing, float(sigma))
        name = log_image_name(sigma)
        yield name, reason if reason is not None else laplacian_of_gaussian(source, box, float(sigma))
