"""PyRadiomics' ``diagnostics_*`` entries: what was measured, of which image, with which versions."""

from __future__ import annotations

import hashlib
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import numpy.typing as npt

from hepacast.imaging import Volume
from hepacast.radiomics.filters.source import VoxelBox
from hepacast.radiomics.settings import Settings

PREFIX = "diagnostics_"


def general_entries(settings: Settings) -> dict[str, Any]:
    """Versions and settings."""
    import pywt
    import SimpleITK as sitk

    return {
        f"{PREFIX}Versions_PyRadiomics": f"hepacast {package_version()}",
        f"{PREFIX}Versions_Numpy": np.__version__,
        f"{PREFIX}Versions_SimpleITK": sitk.Version().VersionString(),
        f"{PREFIX}Versions_PyWavelet": pywt.__version__,
        f"{PREFIX}Versions_Python": ".".join(str(part) for part in sys.version_info[:3]),
        f"{PREFIX}Configuration_Settings": settings.parameters.model_dump(),
        f"{PREFIX}Configuration_EnabledImageTypes": {key: dict(own) for key, own in settings.image_types.items()},
    }


def package_version() -> str:
    """The installed version of hepacast."""
    try:
        return version("hepacast")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "unknown"


def pixel_hash(array: npt.NDArray[Any], dtype: Any) -> str:
    """SHA-1 of the voxels as SimpleITK's ``Hash`` gives it, slice by slice in a given number type."""
    digest = hashlib.sha1(usedforsecurity=False)
    for plane in array:
        digest.update(np.ascontiguousarray(plane, dtype=np.dtype(dtype).newbyteorder("<")).data)
    return digest.hexdigest()


def image_entries(volume: Volume, prefix: str = "original") -> dict[str, Any]:
    """Hash, spacing, size and range of an image; the prefix is "original" or "interpolated"."""
    entries: dict[str, Any] = {}
    if prefix == "original":
        entries["Hash"] = pixel_hash(volume.array, volume.array.dtype)
        entries["Dimensionality"] = "3D"
    entries["Spacing"] = volume.spacing
    entries["Size"] = volume.geometry.size
    entries["Mean"] = float(volume.array.mean(dtype=np.float64))
    entries["Minimum"] = float(volume.array.min())
    entries["Maximum"] = float(volume.array.max())
    return {f"{PREFIX}Image-{prefix}_{key}": value for key, value in entries.items()}


def mask_entries(image: Volume | None, mask: Volume, prefix: str) -> dict[str, Any]:
    """Box, size, parts (26-connected), center and intensities of a VOI.

    The prefix is "original", "interpolated" or "resegmented". Intensities are left out where `image` is None.
    """
    from scipy import ndimage

    box = VoxelBox.of_mask(mask.array)
    entries: dict[str, Any] = {}
    if prefix == "original":
        entries["Hash"] = pixel_hash(mask.array, np.uint32)
    entries["Spacing"] = mask.spacing
    entries["Size"] = mask.geometry.size
    if box is not None:
        inside = mask.array[box.slices]
        index = np.argwhere(inside).mean(axis=0) + box.low
        center = index[::-1]
        entries["BoundingBox"] = (*box.low[::-1], *box.shape[::-1])
        entries["VoxelNum"] = int(np.count_nonzero(inside))
        entries["VolumeNum"] = int(ndimage.label(inside, structure=np.ones((3, 3, 3)))[1])
        entries["CenterOfMassIndex"] = tuple(float(value) for value in center)
        point = mask.geometry.affine_lps @ np.append(center, 1.0)
        entries["CenterOfMass"] = tuple(float(value) for value in point[:3])
        if image is not None:
            values = image.array[box.slices][inside]
            entries["Mean"] = float(values.mean(dtype=np.float64))
            entries["Minimum"] = float(values.min())
            entries["Maximum"] = float(values.max())
    return {f"{PREFIX}Mask-{prefix}_{key}": value for key, value in entries.items()}


def engine_name() -> str:
    """Name and version of our engine, as it is written into tables."""
    return f"hepacast {package_version()}"
