"""NRRD and MetaImage files, read and written by ITK (which refuses truncated ones itself)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hepacast.compute.files import storage_error
from hepacast.errors import ImageError
from hepacast.imaging.nifti import damaged_file, wrong_dimensions
from hepacast.imaging.volume import Volume


def read_itk(path: Path) -> Volume:
    """Read a 3-D NRRD or MetaImage file.

    Raises
    ------
    ImageError
        The file is damaged or truncated, not 3-D, or holds colors, vectors or complex values.
    """
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        size = tuple(int(n) for n in reader.GetSize())
        components = int(reader.GetNumberOfComponents())
        image: Any = reader.Execute() if len(size) <= 3 and components == 1 else None
    except RuntimeError as error:
        raise damaged_file(path, error) from error
    if image is None and components > 1:
        raise ImageError(
            "An image must hold one real number a voxel.",
            expected="one component",
            found=f"{components} components (color, vectors, or overlapping segments)",
            where=str(path),
            remedy="export a gray-value image, or segments as one label map",
        )
    if len(size) != 3:
        raise wrong_dimensions(size, str(path))
    if "complex" in image.GetPixelIDTypeAsString():
        raise ImageError("An image must hold one real number a voxel.", found="complex values", where=str(path))
    return Volume.from_sitk(image)


def write_itk(volume: Volume, temporary: Path, target: Path) -> None:
    """Write to `temporary`; a failure is reported for `target`.

    Raises
    ------
    StorageError
        ITK could not write.
    """
    import SimpleITK as sitk

    try:
        sitk.WriteImage(volume.to_sitk(), str(temporary), True)
    except RuntimeError as error:
        # ITK does not pass the operating system's reason on; it is a full disk in all but exotic cases.
        raise storage_error(OSError(str(error).strip().splitlines()[-1]), target) from error


def slicer_segments(path: Path) -> dict[str, int]:
    """Names and values that 3D Slicer writes into a ``.seg.nrrd`` header."""
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    keys: set[str] = set(reader.GetMetaDataKeys())
    found: dict[str, int] = {}
    number = 0
    while f"Segment{number}_LabelValue" in keys:
        name = f"segment_{number}"
        if f"Segment{number}_Name" in keys:
            name = str(reader.GetMetaData(f"Segment{number}_Name"))
        found[name] = int(reader.GetMetaData(f"Segment{number}_LabelValue"))
        number += 1
    return found
