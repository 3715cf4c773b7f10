"""NRRD and MetaImage files, read and written by ITK (which refuses truncated ones itself)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from hepacast.core.files import storage_error
from hepacast.errors import ImageError
from hepacast.imaging.nifti import damaged_file, missing_spacing, wrong_dimensions
from hepacast.imaging.segment_names import numbered
from hepacast.imaging.volume import Volume

#: Millimeters of the units of length that NRRD and MetaImage headers name.
_UNIT_MM = {"mm": 1.0, "millimeter": 1.0, "millimeters": 1.0, "millimetre": 1.0, "?": 1.0, "cm": 10.0, "m": 1000.0}
_UNIT_MM |= {"meter": 1000.0, "metre": 1000.0, "um": 0.001, "micron": 0.001, "microns": 0.001, "micrometer": 0.001}
_UNIT_MM |= {"\u00b5m": 0.001, "\u00c2\u00b5m": 0.001}


def _reader(path: Path) -> Any:
    """ITK's reader of a file. It knows MetaImage files by a lower-case ending only, so it is told (SCAN.MHA)."""
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    if path.suffix != path.suffix.lower() and path.suffix.lower() in (".mha", ".mhd"):
        reader.SetImageIO("MetaImageIO")
    reader.SetFileName(str(path))
    return reader


def read_itk(path: Path) -> Volume:
    """Read a 3-D NRRD or MetaImage file.

    Raises
    ------
    ImageError
        The file is damaged or truncated, not 3-D, or holds colors, vectors or complex values.
    """

    reader = _reader(path)
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
        raise ImageError(
            "An image must hold one real number a voxel.",
            found="complex values",
            where=str(path),
            remedy="export the magnitude image",
        )
    volume = Volume.from_sitk(image)
    header, end = _header(path)
    _require_all_voxels(path, header, end, volume.array.nbytes)
    return replace(_in_mm(volume, spacing_unit(path, header)), notes=_scale_notes(header))


def _scale_notes(header: Mapping[str, str]) -> tuple[str, ...]:
    """A word on a slope or intercept of the header, which ITK and the programs built on it leave alone."""
    names = ("elementtointensityfunctionslope", "elementtointensityfunctionoffset")
    slope, offset = (header.get(name, plain) for name, plain in zip(names, ("1", "0")))
    if re.fullmatch(r"1(\.0*)?", slope) and re.fullmatch(r"[-+]?0(\.0*)?", offset):
        return ()
    return (f"the header states an intensity scale (slope {slope}, offset {offset}) that is not applied, as in ITK",)


def _header(path: Path) -> tuple[dict[str, str], int]:
    """The text at the beginning of a NRRD or MetaImage file by key (lower case), and the byte at which it ends."""
    found: dict[str, str] = {}
    nrrd = path.suffix.lower() in (".nrrd", ".nhdr")
    with path.open("rb") as stream:
        for line in iter(lambda: stream.readline(1 << 16), b""):
            text = line.decode("latin-1").strip()
            key, sign, value = text.partition(":" if nrrd else "=")
            if sign and not value.startswith("="):  # ":=" are the remarks of a NRRD file
                found[key.strip().lower()] = value.strip()
            if (nrrd and not text) or (not nrrd and key.strip().lower() == "elementdatafile"):
                break
        return found, stream.tell()


def spacing_unit(path: Path, header: Mapping[str, str]) -> float:
    """Millimeters of the unit in which the header gives the voxel size.

    Raises
    ------
    ImageError
        It gives none (ITK would take 1), or in a unit that is not known.
    """
    keys = ("spacings", "space directions", "elementspacing", "elementsize")
    text = " ".join(header[key] for key in keys if key in header)
    numbers = re.findall(r"[-+.\w]+", text)
    if not numbers or {"nan", "none"} & {number.lower() for number in numbers} or _has_zero(header):
        raise missing_spacing(path, text or "no spacing in the header")
    units = header.get("space units") or header.get("units") or header.get("distanceunits") or ""
    names = {name.strip().lower() for name in re.findall(r'"([^"]*)"|(\S+)', units) for name in name if name.strip()}
    factors = {_UNIT_MM.get(name) for name in names} or {1.0}
    if None in factors or len(factors) > 1:
        raise ImageError(
            "The unit of length in the header is not known.",
            expected="mm, cm, m or um, the same for each axis",
            found=units,
            where=str(path),
            remedy="write the header again with the unit mm",
        )
    return factors.pop() or 1.0


def _has_zero(header: Mapping[str, str]) -> bool:
    """Whether one of the plain spacings is 0."""
    text = header.get("spacings") or header.get("elementspacing") or header.get("elementsize") or ""
    return any(re.fullmatch(r"[-+]?0*\.?0*(e[-+]?\d+)?", number.lower()) for number in text.split())


def _in_mm(volume: Volume, factor: float) -> Volume:
    if factor == 1.0:
        return volume
    old = volume.geometry
    spacing, origin = ([value * factor for value in three] for three in (old.spacing, old.origin))
    geometry = replace(old, spacing=(spacing[0], spacing[1], spacing[2]), origin=(origin[0], origin[1], origin[2]))
    return Volume(volume.array, geometry)


def _require_all_voxels(path: Path, header: Mapping[str, str], end: int, expected: int) -> None:
    """Refuse a file of plain voxels that holds more of them than its header counts (ITK would leave out the rest).

    Raises
    ------
    ImageError
    """
    name = header.get("elementdatafile") or header.get("data file") or header.get("datafile") or "LOCAL"
    plain = header.get("encoding", "raw").lower() == "raw" and header.get("compresseddata", "False").lower() != "true"
    moved = {"headersize", "byte skip", "byteskip", "line skip", "lineskip"} & set(header)
    data = path if name.upper() == "LOCAL" else path.parent / name
    if not plain or moved or not data.is_file():
        return
    found = data.stat().st_size - (end if data == path else 0)
    if found > expected:
        raise damaged_file(
            path, ValueError(f"{expected} bytes of voxels are announced by the header, {found} are there")
        )


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
    reader = _reader(path)
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
            remedy="correct label_channel in the feature settings",
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
        # ITK takes the format from a lower-case ending only.
        written = temporary.with_suffix(temporary.suffix.lower())
        sitk.WriteImage(volume.to_sitk(), str(written), True)
        written.replace(temporary)
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

    reader = _reader(path)
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
