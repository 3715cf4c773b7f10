"""NIfTI files. They are read here: ITK fills a truncated one up with zeros, and nibabel takes 0.3 s to start."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, get_args

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
#: sform and qform that differ by no more are one: the qform's quaternion is rounded, and an image is half a meter wide.
_SAME_PLACE_MM = 0.5
_GZIP = b"\x1f\x8b"
#: Zeros behind the voxels fill up a last block of this many bytes; all else would be voxels that dim does not count.
_BLOCK = 512
#: Voxel sizes of scans, mm: outside of it the unit is another one.
PLAUSIBLE_MM = (0.02, 30.0)


def read_nifti(path: Path) -> Volume:
    """Read a 3-D NIfTI-1 or -2 file (.nii, .nii.gz).

    The geometry is the sform's when its code is above 0, otherwise the qform's, in mm whatever the header's unit of
    length. Values are scaled by the header's slope and intercept and kept as integers where they are whole numbers.

    Raises
    ------
    ImageError
        The file is damaged or truncated, is not 3-D, holds complex or color values, or its header gives no voxel
        size, an impossible one, or two.
    """
    try:
        with path.open("rb") as file:
            # Tools rename files: the first bytes tell whether one is packed, not its ending.
            packed = file.peek(2)[:2] == _GZIP
            stream = _inflated(file) if packed else iter(lambda: file.read(1 << 24), b"")
            content = _take(bytearray(), stream, 540)
            header = NiftiHeader.read(content)
            _require_plain_3d(header, path)
            affine = nifti_affine(header, path)
            stored = _voxels(content, stream, header)
    except (OSError, EOFError, zlib.error, ValueError, OverflowError) as error:
        raise damaged_file(path, error) from error
    geometry = _geometry(affine, header.shape[:3], path)
    return Volume(np.ascontiguousarray(_scaled(stored, header)), geometry, _place_notes(header, affine))


def _place_notes(header: NiftiHeader, affine: npt.NDArray[np.float64]) -> tuple[str, ...]:
    """What is doubtful about the place in the patient: none is given, or two (programs take one or the other)."""
    stated = [name for name, code in header.codes.items() if code > 0]
    if len(stated) < 2:
        return () if stated else (_NO_PLACE,)
    scale = _UNIT_MM[header.unit]
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in header.shape[:3]], [1.0])).reshape(4, -1)
    between = ((affine - np.diag([scale, scale, scale, 1.0]) @ header.qform()) @ corners)[:3]
    apart = float(np.sqrt((between**2).sum(axis=0)).max())
    if not apart > _SAME_PLACE_MM:
        return ()
    return (
        f"the header gives two places in the patient, up to {apart:.1f} mm apart (sform and qform): sform's is taken",
    )


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


#: Types of voxels by the header's datatype; those with a word cannot be an image of gray values.
_NUMBERS = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8",
}  # fmt: skip
_NO_NUMBERS = {32: "complex64", 1792: "complex128", 128: "color (RGB)", 2304: "color (RGB)"}


_Order = Literal["<", ">"]


def _layout(order: _Order, size: int) -> np.dtype:
    """Where the fields lie that are read here, in NIfTI-1 (348 bytes) and NIfTI-2 (540)."""
    names = ("dim", "datatype", "pixdim", "vox_offset", "scl_slope", "scl_inter", "xyzt_units", "qform_code",
             "sform_code", "quaternion", "qoffset", "srow", "magic")  # fmt: skip
    if size == 348:
        kinds = ("8i2", "i2", "8f4", "f4", "f4", "f4", "u1", "i2", "i2", "3f4", "3f4", "(3,4)f4", "S4")
        offsets = (40, 70, 76, 108, 112, 116, 123, 252, 254, 256, 268, 280, 344)
    else:
        kinds = ("8i8", "i2", "8f8", "i8", "f8", "f8", "i4", "i4", "i4", "3f8", "3f8", "(3,4)f8", "S8")
        offsets = (16, 12, 104, 168, 176, 184, 500, 344, 348, 352, 376, 400, 4)
    fields = {"names": names, "formats": kinds, "offsets": offsets, "itemsize": size}
    return np.dtype(fields).newbyteorder(order)  # type: ignore[call-overload, no-any-return]


@dataclass(frozen=True)
class NiftiHeader:
    """What a NIfTI header says of its voxels and their place.

    Parameters
    ----------
    shape
        Voxels along i, j, k and what follows.
    kind
        Number type of the voxels as they are stored; None where they are no numbers, see `datatype`.
    start
        Where the voxels begin in the file, bytes.
    slope, intercept
        What makes intensities of stored values; None where they are not scaled.
    pixdim
        Voxel size along i, j, k as it stands; before it qfac, the sign of the qform's third axis.
    codes
        Of ``sform`` and ``qform``: above 0 where it holds; what the standard does not list counts as 0.
    unit
        xyzt_units' unit of length.
    srow, quaternion, qoffset
        The sform's rows; the qform's quaternion (b, c, d) and origin, mm or the unit.
    """

    shape: tuple[int, ...]
    datatype: int
    kind: np.dtype | None
    start: int
    slope: float | None
    intercept: float
    pixdim: npt.NDArray[np.float64]
    codes: dict[str, int]
    unit: int
    srow: npt.NDArray[np.float64]
    quaternion: npt.NDArray[np.float64]
    qoffset: npt.NDArray[np.float64]

    @classmethod
    def read(cls, content: bytes | bytearray) -> NiftiHeader:
        """The header at the beginning of a file.

        Raises
        ------
        ValueError
            It is no NIfTI header, or is not possible as it stands.
        """
        orders: tuple[_Order, ...] = get_args(_Order)
        found = [(order, size) for order in orders for size in (348, 540) if _first_number(content, order) == size]
        if not found or len(content) < found[0][1]:
            raise ValueError("this is no NIfTI header")
        order, size = found[0]
        raw = np.frombuffer(bytes(content[:size]), _layout(order, size))[0]
        datatype, magic = int(raw["datatype"]), bytes(raw["magic"])[:3]
        if datatype not in _NUMBERS and datatype not in _NO_NUMBERS:
            raise ValueError(f"the type of the voxels is not known (datatype {datatype})")
        if magic not in (b"n+1", b"n+2"):
            raise ValueError(f"the header is not that of a single NIfTI file (magic {magic!r})")
        slope, intercept = float(raw["scl_slope"]), float(raw["scl_inter"])
        if np.isinf(slope) or (np.isfinite(slope) and slope != 0 and not np.isfinite(intercept)):
            raise ValueError(f"the intensity scale is no number (slope {slope:g}, intercept {intercept:g})")
        dim = [int(n) for n in raw["dim"]]
        shape = tuple(dim[1 : dim[0] + 1]) if 0 < dim[0] < 8 else ()
        if min(shape, default=0) < 1:
            raise ValueError(f"a size below 1 (dim {tuple(dim)})")
        least = 352 if size == 348 else 544
        start = int(raw["vox_offset"]) if np.isfinite(raw["vox_offset"]) else -1
        if start != 0 and start < least:
            raise ValueError(f"the voxels would begin inside the header (vox_offset {start})")
        codes = {name: int(raw[f"{name}_code"]) for name in ("sform", "qform")}
        return cls(
            shape=shape,
            datatype=datatype,
            kind=np.dtype(_NUMBERS[datatype]).newbyteorder(order) if datatype in _NUMBERS else None,
            start=start or least,  # 0: as ITK reads it, the voxels follow the header
            slope=slope if np.isfinite(slope) and slope != 0 else None,
            intercept=intercept,
            pixdim=raw["pixdim"][:4].astype(np.float64),
            codes={name: code if 0 <= code <= 5 else 0 for name, code in codes.items()},
            unit=int(raw["xyzt_units"]) & 7,
            srow=raw["srow"].astype(np.float64),
            quaternion=raw["quaternion"].astype(raw["quaternion"].dtype.newbyteorder("=")),
            qoffset=raw["qoffset"].astype(np.float64),
        )

    def sform(self) -> npt.NDArray[np.float64]:
        """The sform's matrix from indices to the patient's axes (RAS), in the header's unit."""
        return np.vstack([self.srow, [0.0, 0.0, 0.0, 1.0]])

    def qform(self) -> npt.NDArray[np.float64]:
        """The qform's matrix from indices to the patient's axes (RAS), in the header's unit.

        Raises
        ------
        ValueError
            The quaternion is none.
        """
        x, y, z = self.quaternion.astype(np.longdouble)
        rest, least = 1 - (x * x + y * y + z * z), 3 * np.finfo(self.quaternion.dtype).eps
        if not rest > -least:
            raise ValueError(f"the qform's quaternion is longer than 1 ({x:g}, {y:g}, {z:g})")
        w = np.sqrt(rest) if rest >= least else np.longdouble(0)
        scale = 2 / (w * w + x * x + y * y + z * z)
        sx, sy, sz = x * scale, y * scale, z * scale
        turn = np.array(
            [
                [1 - (y * sy + z * sz), x * sy - w * sz, x * sz + w * sy],
                [x * sy + w * sz, 1 - (x * sx + z * sz), y * sz - w * sx],
                [x * sz - w * sy, y * sz + w * sx, 1 - (x * sx + y * sy)],
            ]
        )
        matrix = np.eye(4)
        matrix[:3, :3] = turn * (self._sizes() * [1.0, 1.0, -1.0 if self.pixdim[0] == -1 else 1.0])
        matrix[:3, 3] = self.qoffset
        return matrix

    def affine(self) -> npt.NDArray[np.float64]:
        """The sform's matrix where it holds, else the qform's, else one whose center is the image's."""
        if self.codes["sform"]:
            return self.sform()
        if self.codes["qform"]:
            return self.qform()
        steps = self._sizes() * [-1.0, 1.0, 1.0]
        size = np.array([*self.shape, 1, 1, 1][:3])
        return np.vstack([np.column_stack([np.diag(steps), -steps * (size - 1) / 2]), [0.0, 0.0, 0.0, 1.0]])

    def _sizes(self) -> npt.NDArray[np.float64]:
        sizes = np.abs(self.pixdim[1:4])
        return np.where(sizes == 0, 1.0, sizes)


def _first_number(content: bytes | bytearray, order: str) -> int:
    return int.from_bytes(content[:4], "little" if order == "<" else "big")


def _inflated(file: BinaryIO) -> Iterator[bytes]:
    """The bytes of a gzip file in pieces. zlib compares the checksum at the end of each of its parts.

    Raises
    ------
    OSError, EOFError, zlib.error
        The file is damaged, or ends too early.
    """
    unpacker = zlib.decompressobj(31)
    while packed := file.read(1 << 16):
        while packed:
            yield unpacker.decompress(packed)
            packed = b""
            if unpacker.eof:  # another part may follow, or zeros that fill a block
                rest = unpacker.unused_data.lstrip(b"\0") or file.read(1 << 16).lstrip(b"\0")
                if rest:
                    unpacker, packed = zlib.decompressobj(31), rest
    if not unpacker.eof:
        raise EOFError("the compressed data end too early")


def _take(content: bytearray, stream: Iterator[bytes], least: int) -> bytearray:
    """Read on until there are `least` bytes or no more."""
    while len(content) < least and (more := next(stream, None)) is not None:
        content += more
    return content


def _voxels(content: bytearray, stream: Iterator[bytes], header: NiftiHeader) -> npt.NDArray[Any]:
    """The stored values [k, j, i], after a look at how many there should be.

    Raises
    ------
    ValueError, OSError, EOFError, zlib.error
        Voxels are missing, or more follows than the header announces.
    """
    kind = np.dtype(np.void) if header.kind is None else header.kind
    expected = header.start + math.prod(header.shape) * kind.itemsize
    # Reading on to the end of a packed file also compares its checksum.
    _take(content, stream, expected + _BLOCK + 1)
    if len(content) < expected:
        raise ValueError(f"{expected} bytes are announced by the header, {len(content)} are there")
    if len(content) >= expected + _BLOCK or any(content[expected:]):
        raise ValueError(f"{expected} bytes are announced by the header, and more are there")
    voxels = np.frombuffer(content, kind, math.prod(header.shape), header.start)
    return voxels.reshape(header.shape[2::-1]).astype(kind.newbyteorder("="), copy=False)


def _scaled(stored: npt.NDArray[Any], header: NiftiHeader) -> npt.NDArray[Any]:
    """Intensities: stored values times slope plus intercept, in double precision."""
    if header.slope is None or (header.slope == 1 and header.intercept == 0):
        return stored
    array = stored * np.array([header.slope]) if header.slope != 1 else stored
    array = array + np.array([header.intercept]) if header.intercept != 0 else array
    return _whole_numbers_if_exact(array) if stored.dtype.kind in "iu" else array


def nifti_affine(header: NiftiHeader, path: Path) -> npt.NDArray[np.float64]:
    """The header's matrix from indices to mm (RAS).

    Raises
    ------
    ImageError
        No voxel size, or two that contradict each other, or an unknown unit of length.
    ValueError
        A qform that is none.
    """
    if header.unit not in _UNIT_MM:
        raise ImageError(
            "The unit of length in the header is not known.",
            expected="xyzt_units 1 (m), 2 (mm), 3 (micrometer) or 0 (taken as mm)",
            found=str(header.unit),
            where=str(path),
            remedy="write the header again with the unit mm",
        )
    scale = np.diag([*[_UNIT_MM[header.unit]] * 3, 1.0])
    sizes = header.pixdim[1:4]
    measured = bool(np.isfinite(sizes).all() and (sizes != 0).all())
    stated = [name for name, code in header.codes.items() if code > 0]
    if not measured and stated[:1] != ["sform"]:
        raise missing_spacing(path, f"pixdim {', '.join(f'{size:g}' for size in sizes)}")
    best = header.affine()
    if not np.isfinite(best).all():
        return best
    affine = np.asarray(scale @ best)
    if stated[:1] == ["sform"] and measured:
        of_sform = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
        of_pixdim = np.abs(sizes) * _UNIT_MM[header.unit]
        if not np.allclose(of_sform, of_pixdim, rtol=0.01, atol=1e-6):
            raise _contradiction("voxel sizes", f"sform: {_mm(of_sform)} mm", f"pixdim: {_mm(of_pixdim)} mm", path)
    if len(stated) == 2 and measured:
        _require_same_ways(affine, header.qform(), path)
    return affine


def _require_same_ways(sform: npt.NDArray[np.float64], qform: npt.NDArray[np.float64], path: Path) -> None:
    """Refuse two matrices one of which exchanges left and right, or head and feet (axes more than 60 degrees apart)."""
    first, second = (matrix[:3, :3] / np.sqrt((matrix[:3, :3] ** 2).sum(axis=0)) for matrix in (sform, qform))
    if (first * second).sum(axis=0).min() < 0.5:
        import nibabel as nib

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


def _require_plain_3d(header: NiftiHeader, path: Path) -> None:
    if header.kind is None:
        raise ImageError(
            "An image must hold one real number a voxel.",
            expected="integers or floating-point numbers",
            found=f"{_NO_NUMBERS[header.datatype]} values",
            where=str(path),
            remedy="export the gray-value image (for complex MRI: the magnitude image)",
        )
    shape = header.shape
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
