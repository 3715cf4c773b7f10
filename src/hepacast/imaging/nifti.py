"""NIfTI files. nibabel reads them, because ITK fills a truncated NIfTI up with zeros and says nothing."""

from __future__ import annotations

import gzip
import io
import logging
import math
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hepacast.errors import ImageError
from hepacast.imaging.volume import Geometry, Volume

#: NIfTI's patient axes point right, anterior, superior (RAS); ours left, posterior, superior (LPS).
_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])

_NO_PLACE = (
    "the header gives no orientation (sform and qform have the code 0): left and right may be exchanged, and the place "
    "in the patient is not known"
)
#: Millimeters of the header's unit of length (xyzt_units): not given, meter, millimeter, micrometer.
_UNIT_MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
#: Zeros behind the voxels fill up a last block of this many bytes; all else would be voxels that dim does not count.
_BLOCK = 512
#: Voxel sizes of scans, mm: outside of it the unit is another one.
PLAUSIBLE_MM = (0.02, 30.0)


def read_nifti(path: Path) -> Volume:
    """Read a 3-D NIfTI-1 or -2 file (.nii, .nii.gz).

    The geometry is the sform's when its code is above 0, otherwise the qform's (nibabel's rule), in mm whatever the
    header's unit of length. Values are scaled by the header's slope and intercept and kept as integers where they are
    whole numbers.

    Raises
    ------
    ImageError
        The file is damaged or truncated, is not 3-D, holds complex or color values, or its header gives no voxel
        size, an impossible one, or two.
    """
    import nibabel as nib
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError

    try:
        with _without_remarks():
            content = _content(path)
            kind: Any = nib.Nifti1Image if _header_size(content) == nib.Nifti1Header.sizeof_hdr else nib.Nifti2Image
            image = kind.from_bytes(content)
            _require_plain_3d(image, path)
            affine = nifti_affine(image.header, _raw_header(content)["pixdim"][1:4], path)
            array = np.asanyarray(image.dataobj)
    except (HeaderDataError, ImageFileError, OSError, EOFError, zlib.error, ValueError, OverflowError) as error:
        raise damaged_file(path, error) from error
    array = array.reshape(array.shape[:3])
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.dtype.kind == "f" and _is_scaled(image):
        array = _whole_numbers_if_exact(array)
    placed = any(int(image.header[f"{name}_code"]) > 0 for name in ("sform", "qform"))
    return Volume(np.ascontiguousarray(array.T), _geometry(affine, array.shape, path), () if placed else (_NO_PLACE,))


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


@contextmanager
def _without_remarks() -> Iterator[None]:
    """What nibabel mends in a header it tells on stderr; what matters of it is refused here."""
    logger = logging.getLogger("nibabel.global")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def _header_size(content: bytes) -> int:
    """348 (NIfTI-1) or 540 (NIfTI-2), in either byte order; 0 for anything else."""
    sizes = {int.from_bytes(content[:4], order) for order in ("little", "big")} & {348, 540}
    return sizes.pop() if sizes else 0


def _content(path: Path) -> bytes:
    """The file as it stands, unpacked, after a look at how long it should be.

    Raises
    ------
    ValueError, OSError, EOFError, zlib.error
        Voxels are missing or begin inside the header, or more follows than the header announces.
    """
    opener: Any = gzip.open if path.name.lower().endswith(".gz") else open
    with opener(path, "rb") as stream:
        content = bytearray(stream.read(540))
        header = _raw_header(content)
        first = 352 if header.sizeof_hdr == 348 else 544
        start = int(header["vox_offset"]) if np.isfinite(header["vox_offset"]) else -1
        if start == 0:  # as ITK reads it: the voxels follow the header
            start = first
            header["vox_offset"] = first
            content[: header.sizeof_hdr] = header.binaryblock
        if start < first:
            raise ValueError(f"the voxels would begin inside the header (vox_offset {start})")
        expected = start + math.prod(header.get_data_shape()) * header.get_data_dtype().itemsize
        # Reading on to the end of a packed file also compares its checksum.
        while len(content) <= expected + _BLOCK and (more := stream.read(1 << 24)):
            content += more
    if len(content) < expected:
        raise ValueError(f"{expected} bytes are announced by the header, {len(content)} are there")
    if len(content) >= expected + _BLOCK or any(content[expected:]):
        raise ValueError(f"{expected} bytes are announced by the header, and more are there")
    del content[expected:]
    return bytes(content)


def _raw_header(content: bytes | bytearray) -> Any:
    """The header as it stands (nibabel's own checks would put 1 in the place of a missing voxel size)."""
    import nibabel as nib

    size = _header_size(bytes(content[:4]))
    if size == 0 or len(content) < size:
        raise ValueError("this is no NIfTI header")
    kind: Any = nib.Nifti1Header if size == 348 else nib.Nifti2Header
    header = kind.from_fileobj(io.BytesIO(bytes(content[:size])), check=False)
    if int(header["datatype"]) not in header._data_type_codes:
        raise ValueError(f"the type of the voxels is not known (datatype {int(header['datatype'])})")
    magic = bytes(np.asarray(header["magic"]).tobytes())[:3]
    if magic not in (b"n+1", b"n+2"):
        raise ValueError(f"the header is not that of a single NIfTI file (magic {magic!r})")
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if np.isinf(slope) or (np.isfinite(slope) and slope != 0 and not np.isfinite(intercept)):
        raise ValueError(f"the intensity scale is no number (slope {slope:g}, intercept {intercept:g})")
    if min(header.get_data_shape(), default=0) < 1:
        raise ValueError(f"a size below 1 (dim {tuple(int(n) for n in header['dim'])})")
    return header


def nifti_affine(header: Any, pixdim: npt.NDArray[Any], path: Path) -> npt.NDArray[np.float64]:
    """The header's matrix from indices to mm (RAS); `pixdim` is its voxel size as it stands in the file.

    Raises
    ------
    ImageError
        No voxel size, or two that contradict each other, or an unknown unit of length.
    """
    unit = int(header["xyzt_units"]) & 7
    if unit not in _UNIT_MM:
        raise ImageError(
            "The unit of length in the header is not known.",
            expected="xyzt_units 1 (m), 2 (mm), 3 (micrometer) or 0 (taken as mm)",
            found=str(unit),
            where=str(path),
            remedy="write the header again with the unit mm",
        )
    scale = np.diag([*[_UNIT_MM[unit]] * 3, 1.0])
    sizes = np.array(pixdim, dtype=float)
    measured = bool(np.isfinite(sizes).all() and (sizes != 0).all())
    stated = [name for name in ("sform", "qform") if int(header[f"{name}_code"]) > 0]
    if not measured and stated[:1] != ["sform"]:
        raise missing_spacing(path, f"pixdim {', '.join(f'{size:g}' for size in sizes)}")
    best = np.asarray(header.get_best_affine(), dtype=float)
    if not np.isfinite(best).all():
        return best
    affine = scale @ best
    if stated[:1] == ["sform"] and measured:
        of_sform = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
        of_pixdim = np.abs(sizes) * _UNIT_MM[unit]
        if not np.allclose(of_sform, of_pixdim, rtol=0.01, atol=1e-6):
            raise _contradiction("voxel sizes", f"sform: {_mm(of_sform)} mm", f"pixdim: {_mm(of_pixdim)} mm", path)
    if len(stated) == 2 and measured:
        _require_same_ways(affine, np.asarray(header.get_qform(), dtype=float), path)
    return affine


def _require_same_ways(sform: npt.NDArray[np.float64], qform: npt.NDArray[np.float64], path: Path) -> None:
    """Refuse two matrices one of which exchanges left and right, or head and feet (axes more than 60 degrees apart)."""
    import nibabel as nib

    first, second = (matrix[:3, :3] / np.sqrt((matrix[:3, :3] ** 2).sum(axis=0)) for matrix in (sform, qform))
    if (first * second).sum(axis=0).min() < 0.5:
        words = [" ".join(str(letter) for letter in nib.aff2axcodes(matrix)) for matrix in (sform, qform)]
        raise _contradiction("directions of the axes", f"sform: {words[0]}", f"qform: {words[1]}", path)


def _contradiction(what: str, expected: str, found: str, path: Path) -> ImageError:
    return ImageError(
        f"The header gives two {what} that contradict each other.",
        expected=expected,
        found=found,
        where=str(path),
        remedy="export the image again, or write the true one into sform, qform and pixdim (nibabel: set_sform, "
        "set_qform, set_zooms)",
    )


def missing_spacing(path: Path, found: str) -> ImageError:
    """The message for a header without voxel size: 1 mm would be a guess, and every volume with it."""
    return ImageError(
        "The header has no voxel size.",
        expected="a voxel size (spacing) in mm along each axis",
        found=found,
        where=str(path),
        remedy="export the image again, or write the voxel size into the header",
    )


def require_plausible_spacing(spacing: Sequence[float], where: str) -> None:
    """Refuse a voxel size that no scan of a liver has: it was meant in another unit.

    Raises
    ------
    ImageError
    """
    low, high = PLAUSIBLE_MM
    if min(spacing) < low or max(spacing) > high:
        raise ImageError(
            "The voxel size is implausible.",
            expected=f"{low:g} to {high:g} mm along each axis",
            found=f"{_mm(spacing)} mm",
            where=where,
            remedy="was it meant in m, cm or micrometers? Write it into the header in mm, or name its unit there "
            "(NIfTI: xyzt_units)",
        )


def _mm(values: Sequence[float] | npt.NDArray[np.float64]) -> str:
    return " x ".join(f"{value:.4g}" for value in values)


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


def _geometry(affine: npt.NDArray[Any], shape: tuple[int, ...], path: Path) -> Geometry:
    if not np.isfinite(affine).all():
        raise ImageError(
            "The image's header gives no usable geometry.",
            expected="finite numbers in sform or qform",
            where=str(path),
            remedy="export the image again",
        )
    matrix = _RAS_TO_LPS @ np.asarray(affine, dtype=float)
    spacing = np.sqrt((matrix[:3, :3] ** 2).sum(axis=0))
    if spacing.min() <= 0:
        raise ImageError(
            "The image's header gives no usable geometry.",
            expected="a voxel size above 0 mm along each axis",
            found=f"{tuple(spacing)} mm",
            where=str(path),
            remedy="export the image again, or write the voxel size into the header",
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
