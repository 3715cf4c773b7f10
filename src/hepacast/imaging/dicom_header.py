"""The header of one DICOM file: read with suspicion, so that no damaged value becomes a number or a traceback."""

from __future__ import annotations

import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from hepacast.errors import ImageError
from hepacast.imaging.dicom_rules import IDENTITY, ORDER_MARKS, PHASE_MARKS, DicomSlice

_PYTHON_ERRORS = (
    ValueError, TypeError, KeyError, IndexError, AttributeError, NotImplementedError, OverflowError, LookupError,
    EOFError, OSError, RecursionError, MemoryError, AssertionError, struct.error, zlib.error,
)  # fmt: skip
SUFFIXES = (".dcm", ".dicom", ".ima")
#: Codes of files that may be slices of the very series that is read.
BROKEN = ("broken_value", "damaged")
SEG_CLASSES = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
RTSTRUCT_CLASS = "1.2.840.10008.5.1.4.1.1.481.3"
#: Pixels along a side: more is a damaged number, for which a decoder would ask gigabytes.
MAX_SIDE = 8192
#: Characters of a text in a message: the longest that a series description may have.
MAX_SHOWN = 64
_DIRECTORY_CLASS = "1.2.840.10008.1.3.10"
_DICOM_UIDS = "1.2.840.10008."
#: First group of a file that lacks its preamble: identification, or the file meta information (both little-endian).
_FIRST_GROUPS = (b"\x08\x00", b"\x02\x00")

_TAGS = [
    "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "SeriesDescription", "Modality", "InstanceNumber",
    "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns", "SamplesPerPixel",
    "NumberOfFrames", "RescaleSlope", "RescaleIntercept", "BitsAllocated", "PixelRepresentation", "PixelPaddingValue",
    "PixelPaddingRangeLimit", "SliceThickness", "SpacingBetweenSlices", "ImagesInAcquisition",
    "NumberOfSeriesRelatedInstances", "RescaleType", "LossyImageCompression", *IDENTITY, *PHASE_MARKS, *ORDER_MARKS,
]  # fmt: skip


def damage_errors() -> tuple[type[Exception], ...]:
    """What pydicom raises for damaged files and values, which it converts when they are asked for."""
    from pydicom.errors import BytesLengthException, InvalidDicomError

    return (*_PYTHON_ERRORS, BytesLengthException, InvalidDicomError)


@contextmanager
def refuse_damage(path: Path, kind: str) -> Iterator[None]:
    """Whatever pydicom stumbles over becomes a refusal of the file; its warnings, which quote values, are dropped.

    Raises
    ------
    ImageError
        The file is damaged.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except damage_errors() as error:
        raise ImageError(
            f"The DICOM {kind} is damaged or incomplete.",
            found=f"an element that cannot be read ({type(error).__name__})",
            where=str(path),
            remedy="copy or export it again",
        ) from error


class BrokenValue(Exception):
    """An element that a slice cannot do without is not what it must be; holds the element's name."""


def looks_like_dicom(path: Path) -> bool:
    """Whether the first bytes are those of a DICOM file, with or without its preamble."""
    try:
        with path.open("rb") as stream:
            start = stream.read(132)
    except OSError:
        return False
    return start[128:] == b"DICM" or (start[:2] in _FIRST_GROUPS and start[2:3] != b"" and start[3:4] == b"\0")


def read_dataset(path: Path, *, tags: list[str] | None = None, pixels: bool = False) -> Any | None:
    """The file as pydicom reads it, None where it is not DICOM.

    Parameters
    ----------
    tags
        Only these elements; everything when not given.
    pixels
        Whether what follows the header is read too, where `tags` are given.
    """
    import pydicom

    options: dict[str, Any] = {} if tags is None else {"stop_before_pixels": not pixels, "specific_tags": tags}
    try:
        # pydicom's warnings quote values, a patient's name among them.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = pydicom.dcmread(path, force=looks_like_dicom(path), **options)
            # Without a preamble anything can be taken for DICOM: the class tells.
            known = text(found, "SOPClassUID") or str(found.file_meta.get("MediaStorageSOPClassUID", ""))
    except damage_errors():
        return None
    return found if known.startswith(_DICOM_UIDS) or _has_preamble(path) else None


def read_header(path: Path) -> Any | None:
    """What the rules ask of one file; None where it is not DICOM. Values are converted later, one by one."""
    return read_dataset(path, tags=_TAGS)


def class_of(path: str | Path) -> str:
    """``SEG``, ``RTSTRUCT``, another modality, or nothing where the file is not DICOM."""
    header = read_dataset(Path(path), tags=["SOPClassUID", "Modality"])
    if header is None:
        return ""
    uid = text(header, "SOPClassUID")
    if uid in SEG_CLASSES:
        return "SEG"
    return "RTSTRUCT" if uid == RTSTRUCT_CLASS else modality_of(header)


def modality_of(header: Any) -> str:
    """The file's modality, such as ``CT``; nothing where the element is absent or no code."""
    found = text(header, "Modality")
    return found if re.fullmatch(r"[A-Z0-9_ ]{1,16}", found) else ""


def why_no_slice(header: Any | None, path: Path) -> tuple[str, str] | None:
    """Why a file is not one slice of a volume: (code, words), or None."""
    if header is None:
        if path.suffix.lower() in SUFFIXES or looks_like_dicom(path):
            return ("damaged", "damaged, or not DICOM although named so")
        return ("not_dicom", "not DICOM files")
    if "LOCALIZER" in [word.upper() for word in values(header, "ImageType")]:
        return ("localizer", "localizer (scout) images")
    modality = modality_of(header)
    if text(header, "SOPClassUID") == _DIRECTORY_CLASS:
        return ("not_an_image", "no image (DICOMDIR)")
    if not values(header, "Rows") or not values(header, "Columns"):
        if not values(header, "SeriesInstanceUID"):
            return ("damaged", "damaged: no series and no image size")
        return ("not_an_image", f"no image ({modality or 'unknown modality'})")
    if (whole(header, "SamplesPerPixel") or 1) != 1:
        return ("color", "color pictures, such as screen captures")
    if modality == "SEG" or text(header, "SOPClassUID") in SEG_CLASSES:
        return ("not_an_image", "no image (SEG)")
    if (whole(header, "NumberOfFrames") or 1) > 1:
        return ("multiframe", "multi-frame (enhanced) images; convert them to NIfTI first, for example with dcm2niix")
    if not values(header, "ImagePositionPatient") or not values(header, "ImageOrientationPatient"):
        return ("no_position", "no position in the patient")
    if not values(header, "PixelSpacing"):
        return ("no_position", "no pixel size in mm")
    return None


def slice_of(path: Path, relative: str, header: Any) -> DicomSlice:
    """The slice that a file holds.

    Raises
    ------
    BrokenValue
        A position, size or scale is not a number, or an impossible one.
    """
    axes = np.array(_numbers(header, "ImageOrientationPatient", 6))
    lengths = np.linalg.norm(axes.reshape(2, 3), axis=1)
    if not np.allclose(lengths, 1.0, atol=0.05) or abs(float(axes[:3] @ axes[3:])) > 0.01:
        raise BrokenValue("ImageOrientationPatient")
    spacing = _numbers(header, "PixelSpacing", 2)
    if min(spacing) <= 0:
        raise BrokenValue("PixelSpacing")
    rescale = [_numbers(header, name, 1)[0] for name in ("RescaleSlope", "RescaleIntercept") if values(header, name)]
    if rescale and values(header, "RescaleSlope") and rescale[0] == 0:
        raise BrokenValue("RescaleSlope")
    return DicomSlice(
        path=path,
        relative=relative,
        uid=text(header, "SOPInstanceUID") or relative,
        series=text(header, "SeriesInstanceUID"),
        description=text(header, "SeriesDescription"),
        instance=whole(header, "InstanceNumber"),
        position=np.array(_numbers(header, "ImagePositionPatient", 3)),
        row_axis=axes[:3] / lengths[0],
        column_axis=axes[3:] / lengths[1],
        rows=_count(header, "Rows"),
        columns=_count(header, "Columns"),
        pixel_spacing=(spacing[0], spacing[1]),
        modality=modality_of(header),
        rescale=(rescale[0], rescale[1]) if len(rescale) == 2 else None,
        padding=_padding(header),
        announced=whole(header, "ImagesInAcquisition") or whole(header, "NumberOfSeriesRelatedInstances"),
        thickness=_length(header, "SliceThickness"),
        distance=_length(header, "SpacingBetweenSlices"),
        value_type=text(header, "RescaleType").upper(),
        lossy=text(header, "LossyImageCompression") == "01",
        identity={name: "\\".join(values(header, name)) for name in IDENTITY},
        marks={name: text(header, name) for name in (*PHASE_MARKS, *ORDER_MARKS)},
    )


def values(header: Any, name: str) -> list[str]:
    """An element's values as text; none where it is absent, empty or cannot be decoded."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = header.get(name)
            if value is None or value == "":
                return []
            if isinstance(value, str) or not hasattr(value, "__iter__"):
                return [str(value)]
            return [str(item) for item in value]
    except damage_errors():
        # Present and unreadable is not absent: whoever needs a number of it finds none.
        return ["?"]


def text(header: Any, name: str) -> str:
    """An element as one text that can be shown (see `shown`)."""
    return shown("\\".join(values(header, name)))


def shown(found: str) -> str:
    """A header's text for messages: up to the first control character and `MAX_SHOWN` characters.

    A damaged length swallows the elements that follow, a patient's name among them, which begin with such characters.
    """
    end = next((place for place, letter in enumerate(found) if not letter.isprintable()), len(found))
    return found[: min(end, MAX_SHOWN)].strip()


def whole(header: Any, name: str) -> int | None:
    """An element as a whole number, None where it is none."""
    found = values(header, name)
    try:
        return int(float(found[0])) if found else None
    except (ValueError, OverflowError):
        return None


def number(header: Any, name: str) -> float | None:
    """An element as a number, None where it is absent.

    Raises
    ------
    ValueError
        It is no number.
    """
    found = values(header, name)
    return float(found[0]) if found else None


def _numbers(header: Any, name: str, count: int) -> list[float]:
    found = values(header, name)
    try:
        numbers = [float(item) for item in found]
    except ValueError as error:
        raise BrokenValue(name) from error
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise BrokenValue(name)
    return numbers


def _count(header: Any, name: str) -> int:
    found = whole(header, name)
    if found is None or not 0 < found <= MAX_SIDE:
        raise BrokenValue(name)
    return found


def _length(header: Any, name: str) -> float | None:
    """A length in mm that only remarks need; None where it is absent, no number or 0."""
    try:
        length = abs(number(header, name) or 0.0)
    except ValueError:
        return None
    return length if 0 < length < np.inf else None


def _padding(header: Any) -> tuple[float, float] | None:
    """Padding value and the other end of its range, in the sign of the pixels (whatever the elements' own sign)."""
    value = whole(header, "PixelPaddingValue")
    if value is None:
        return None
    limit = whole(header, "PixelPaddingRangeLimit")
    bits, signed = whole(header, "BitsAllocated") or 16, bool(whole(header, "PixelRepresentation"))
    low = -(2 ** (bits - 1)) if signed else 0
    first, last = ((end - low) % 2**bits + low for end in (value, value if limit is None else limit))
    return float(first), float(last)


def _has_preamble(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(132)[128:] == b"DICM"
