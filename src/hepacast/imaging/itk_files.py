"""NRRD and MetaImage files, read and written by ITK (which refuses truncated ones itself)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hepacast.compute.files import storage_error
from hepacast.errors import ImageError
from hepacast.imaging.nifti import damaged_file, wrong_dimensions
from hepacast.imaging.segment_names import numbered
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
            remedy="export a gray-value image, or segments as one label map or one file a structure",
        )
    if len(size) != 3:
        raise wrong_dimensions(size, str(path))
    if "complex" in image.GetPixelIDTypeAsString():
        raise ImageError("An image must hold one real number a voxel.", found="complex values", where=str(path))
    return Volume.from_sitk(image)


def read_channel(path: Path, channel: int) -> Volume | None:
    """One channel of a file with several values a voxel (overlapping segments); None where it has one.

    Raises
    ------
    ImageError
        The file has no such channel.
    """
    import SimpleITK as sitk

    if not path.is_file():
        return None
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        channels = int(reader.GetNumberOfComponents())
        if channels < 2 or reader.GetDimension() != 3:
            return None
        image = reader.Execute() if channel < channels else None
    except RuntimeError:  # not a file of SimpleITK's formats, or a damaged one; the usual reader says what is wrong
        return None
    if image is None:
        raise ImageError(
            "The mask file has no such channel.",
            expected=f"label_channel 0 to {channels - 1}",
            found=str(channel),
            where=str(path),
        )
    return Volume.from_sitk(sitk.VectorIndexSelectionCast(image, channel))


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
    """Names and values that 3D Slicer writes into a ``.seg.nrrd`` header (see `numbered` for a name used twice).

    Raises
    ------
    ImageError
        The header is damaged, or two segments have one value.
    """
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    found: list[tuple[int, str]] = []
    try:
        reader.ReadImageInformation()
        keys: set[str] = set(reader.GetMetaDataKeys())
        while (key := f"Segment{len(found)}_LabelValue") in keys:
            named = f"Segment{len(found)}_Name"
            name = str(reader.GetMetaData(named)).strip() if named in keys else ""
            found.append((int(reader.GetMetaData(key)), name or f"segment_{len(found)}"))
    except (RuntimeError, ValueError) as error:
        raise damaged_file(path, error) from error
    if len({value for value, _ in found}) < len(found):
        raise ImageError(
            "Two segments of the file have the same value.",
            expected="a value of its own for each segment",
            found=", ".join(f"{name}: {value}" for value, name in found),
            where=str(path),
            remedy="export the segmentation again as one label map, or one file a structure",
        )
    return numbered(found)
