"""NIfTI files. nibabel reads them, because ITK fills a truncated NIfTI up with zeros and says nothing."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hepacast.errors import ImageError
from hepacast.imaging.volume import Geometry, Volume

#: NIfTI's patient axes point right, anterior, superior (RAS); ours left, posterior, superior (LPS).
_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def read_nifti(path: Path) -> Volume:
    """Read a 3-D NIfTI-1 or -2 file (.nii, .nii.gz).

    The geometry is the sform's when its code is above 0, otherwise the qform's (nibabel's rule). Values are scaled
    by the header's slope and intercept and kept as integers where they are whole numbers.

    Raises
    ------
    ImageError
        The file is damaged or truncated, is not 3-D, or holds complex or color values.
    """
    import nibabel as nib
    from nibabel.filebasedimages import ImageFileError

    try:
        image: Any = nib.load(str(path), mmap=False)
        _require_plain_3d(image, path)
        array = np.asanyarray(image.dataobj)
    except (ImageFileError, OSError, EOFError, zlib.error, ValueError) as error:
        raise damaged_file(path, error) from error
    array = array.reshape(array.shape[:3])
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.dtype.kind == "f" and _is_scaled(image):
        array = _whole_numbers_if_exact(array)
    return Volume(np.ascontiguousarray(array.T), _geometry(image.affine, array.shape, path))


def write_nifti(volume: Volume, path: Path) -> None:
    """Write to `path` (not atomic by itself); a boolean mask becomes unsigned 8-bit. Equal volumes give equal bytes."""
    import nibabel as nib

    array = volume.array
    if array.dtype == bool:
        array = array.astype(np.uint8)
    elif array.dtype in (np.dtype(np.int64), np.dtype(np.uint64)):
        array = array.astype(_narrow_integer(array))
    elif array.dtype == np.float16:
        array = array.astype(np.float32)
    affine = _RAS_TO_LPS @ volume.geometry.affine_lps
    image = nib.Nifti1Image(np.asfortranarray(array.T), affine, dtype=array.dtype)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    nib.save(image, str(path))


def _require_plain_3d(image: Any, path: Path) -> None:
    dtype = image.get_data_dtype()
    if dtype.fields is not None or dtype.kind not in "biuf":
        kind = "color (RGB)" if dtype.fields is not None else str(dtype)
        raise ImageError(
            "An image must hold one real number a voxel.",
            expected="integers or floating-point numbers",
            found=f"{kind} values",
            where=str(path),
            remedy="export the gray-value image (for complex MRI: the magnitude image)",
        )
    shape = tuple(int(n) for n in image.shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3:
        raise wrong_dimensions(shape, str(path))


def wrong_dimensions(shape: tuple[int, ...], where: str) -> ImageError:
    """The message for an image that is not 3-D; `shape` in the file's order (i, j, k, ...)."""
    size = " x ".join(str(n) for n in shape)
    if len(shape) > 3:
        return ImageError(
            "The image has more than three dimensions.",
            expected="one 3-D volume",
            found=f"{len(shape)}-D: {size}",
            where=where,
            remedy="split the file into its phases or time points and give the one that is wanted",
        )
    return ImageError(
        "The image is two-dimensional.",
        expected="a 3-D volume of several slices",
        found=f"{size} pixels",
        where=where,
        remedy="give the whole series (its folder, or one file of all slices), not a single slice or a picture",
    )


def damaged_file(path: Path, error: Exception) -> ImageError:
    """The message for a file that ends too early or makes no sense, with the reader's own last word."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return ImageError(
        "The image file is damaged or incomplete.",
        found=lines[-1] if lines else type(error).__name__,
        where=str(path),
        remedy="copy or export the file again and compare its size with the original's",
    )


def _is_scaled(image: Any) -> bool:
    return image.header.get_data_dtype().kind in "biu"


def _whole_numbers_if_exact(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Scaled integers (slope 1, intercept -1024) are integers again: labels stay labels, HU stay int16."""
    rounded = np.rint(array)
    if not np.isfinite(array).all() or not np.array_equal(rounded, array):
        return array.astype(np.float32)
    low, high = float(rounded.min(initial=0)), float(rounded.max(initial=0))
    for kind in (np.int16, np.int32):
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return rounded.astype(kind)
    return array


def _narrow_integer(array: npt.NDArray[Any]) -> np.dtype:
    """Many readers cannot take 64-bit integers: the smallest of 8, 16, 32 bits that holds the values."""
    if array.size == 0:
        return np.dtype(np.uint8)
    low, high = int(array.min()), int(array.max())
    for kind in (np.uint8, np.int16, np.int32):
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return np.dtype(kind)
    return array.dtype


def _geometry(affine: npt.NDArray[Any] | None, shape: tuple[int, ...], path: Path) -> Geometry:
    if affine is None or not np.isfinite(affine).all():
        raise ImageError("The image's header gives no usable geometry.", where=str(path))
    matrix = _RAS_TO_LPS @ np.asarray(affine, dtype=float)
    spacing = np.sqrt((matrix[:3, :3] ** 2).sum(axis=0))
    if spacing.min() <= 0:
        raise ImageError(
            "The image's header gives no usable geometry.",
            expected="a voxel size above 0 mm along each axis",
            found=f"{tuple(spacing)} mm",
            where=str(path),
        )
    direction = matrix[:3, :3] / spacing
    try:
        return Geometry(
            size=(int(shape[0]), int(shape[1]), int(shape[2])),
            spacing=(float(spacing[0]), float(spacing[1]), float(spacing[2])),
            origin=(float(matrix[0, 3]), float(matrix[1, 3]), float(matrix[2, 3])),
            # "+ 0.0" turns -0.0 into 0.0, which would only puzzle in messages.
            direction=tuple((float(r[0]) + 0.0, float(r[1]) + 0.0, float(r[2]) + 0.0) for r in direction),
        )
    except ImageError as error:
        raise ImageError(
            error.message, expected=error.expected, found=error.found, where=str(path), remedy=error.remedy
        ) from error
