"""Gradient magnitude by central differences, as ITK's ``GradientMagnitudeImageFilter`` (result in float32)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hepacast.radiomics.filters.source import Box, Source


def gradient(source: Source, box: Box, *, use_spacing: bool) -> npt.NDArray[np.float32]:
    """Gradient magnitude, intensity a mm (`use_spacing`) or a voxel.

    One voxel around the box is all that the filter reads; at the image's border ITK repeats the last voxel, which
    happens by itself where the box ends at the border.
    """
    import SimpleITK as sitk

    outer = box.grown(1, source.shape)
    image = sitk.GetImageFromArray(source.crop(outer))
    image.SetSpacing(source.spacing)
    result = sitk.GetArrayViewFromImage(sitk.GradientMagnitude(image, use_spacing))
    return np.ascontiguousarray(result[box.within(outer)])
