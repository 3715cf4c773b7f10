"""Read and write volumes, masks and label maps, whatever the file format.

Masks never move: a mask whose grid is not the image's is refused with the distance in mm, see `check_mask_geometry`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from hepacast.compute.files import atomic_path
from hepacast.errors import GeometryError, ImageError
from hepacast.imaging.itk_files import read_itk, slicer_segments, write_itk
from hepacast.imaging.labels import LabelMap, as_labels, values_of
from hepacast.imaging.nifti import read_nifti, write_nifti, wrong_dimensions
from hepacast.imaging.volume import Volume

_NIFTI = (".nii", ".nii.gz")
_ITK = (".nrrd", ".nhdr", ".mha", ".mhd")
_DICOM = (".dcm", ".dicom", ".ima")
#: More different values than this are gray levels, among which a label's number occurs by chance; where some are
#: negative (HU), fewer are enough to tell.
MAX_LABELS, MAX_SIGNED_LABELS = 256, 16
_WRITABLE = (".nii", ".nii.gz", ".nrrd", ".mha")


def suffix_of(path: str | Path) -> str:
    """The suffix in lower case; ``.nii.gz`` counts as one."""
    name = Path(path).name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else Path(name).suffix


def read_volume(path: str | Path, *, series: str | int | None = None) -> Volume:
    """Read an image.

    Parameters
    ----------
    path
        A NIfTI (.nii, .nii.gz), NRRD or MetaImage file, a folder with a DICOM series, or one file of a DICOM series
        (the whole series is then read).
    series
        Which DICOM series, where a folder holds several: its description or a part of it, its number, or its UID.

    Returns
    -------
    Volume
        Intensities in the modality's unit (CT: HU), grid in mm, LPS.

    Raises
    ------
    ImageError
        The file is missing, damaged, truncated, not 3-D, complex, colored or without a single number; or the DICOM
        series breaks a rule (see `hepacast.imaging.dicom`).
    """
    path = Path(path)
    if not path.exists():
        raise ImageError(
            "The image does not exist.",
            expected="a NIfTI, NRRD or MetaImage file, or a DICOM folder",
            where=str(path),
            remedy="check the path in the study file or table (relative paths start at the study file's folder)",
        )
    suffix = suffix_of(path)
    if path.is_dir() or suffix in _DICOM or (suffix not in _NIFTI + _ITK and _has_dicom_magic(path)):
        from hepacast.imaging.dicom import read_series

        volume = read_series(path, series=series)
    elif suffix in _NIFTI:
        volume = read_nifti(path)
    elif suffix in _ITK:
        volume = read_itk(path)
    else:
        raise _unknown_format(path)
    _require_content(volume, path)
    return volume


def require_image_name(path: str | Path) -> None:
    """Refuse a name under which no image can be written.

    Raises
    ------
    ImageError
        The suffix is not .nii, .nii.gz, .nrrd or .mha.
    """
    suffix = suffix_of(path)
    if suffix not in _WRITABLE:
        raise ImageError(
            f"Images cannot be written as {suffix or 'a file without suffix'}.",
            expected=", ".join(_WRITABLE),
            where=str(path),
        )


def write_volume(volume: Volume, path: str | Path) -> None:
    """Write an image or a mask atomically as .nii, .nii.gz, .nrrd or .mha; equal volumes give equal files.

    Raises
    ------
    ImageError
        The suffix is not one of these.
    StorageError
        The disk is full or the folder cannot be written; nothing half-written stays.
    """
    path = Path(path)
    require_image_name(path)
    with atomic_path(path) as temporary:
        if suffix_of(path) in _NIFTI:
            write_nifti(volume, temporary)
        else:
            write_itk(volume, temporary, path)


def read_labelmap(
    path: str | Path, labels: Mapping[str, int] | None = None, *, reference: Volume | None = None
) -> LabelMap:
    """Read a label map.

    Parameters
    ----------
    path
        An image file whose values are whole numbers (stored as integers or floats).
    labels
        Value of each structure by name. When not given, names are taken from a 3D Slicer ``.seg.nrrd`` header,
        otherwise the values name themselves (``label_1``, ``label_2``).
    reference
        The image on whose grid the label map must lie.

    Raises
    ------
    ImageError
        Values are not whole numbers, or more different ones than any mask has (an image in the place of the mask);
        none of the named values occurs although others do.
    GeometryError
        The grid is not the reference's.
    """
    path = Path(path)
    volume = as_labels(read_volume(path), where=str(path))
    if reference is not None:
        check_mask_geometry(reference, volume, where=str(path))
    present = values_of(volume.array)
    if len(present) > (MAX_LABELS if present[:1] >= [0] else MAX_SIGNED_LABELS):
        raise ImageError(
            "This is an image, not a mask.",
            expected=f"labels: at most {MAX_LABELS} different whole numbers",
            found=f"{len(present)} different values from {present[0]} to {present[-1]}",
            where=str(path),
            remedy="give the mask file; image and mask may have been exchanged",
        )
    if labels is None:
        named = _segments(path) or {f"label_{value}": value for value in present}
        return LabelMap(volume, named)
    if present and not set(present) & set(labels.values()):
        raise ImageError(
            "None of the named labels occurs in the mask.",
            expected=", ".join(f"{name}: {value}" for name, value in labels.items()),
            found=f"labels {', '.join(str(value) for value in present[:20])}",
            where=str(path),
            remedy="correct the label numbers in the study file",
        )
    return LabelMap(volume, dict(labels))


def write_labelmap(labelmap: LabelMap, path: str | Path) -> None:
    """Write the label map's volume atomically (names are not stored in the file; see `write_volume`)."""
    write_volume(labelmap.volume, path)


def read_mask(
    path: str | Path,
    labels: Mapping[str, int] | None = None,
    *,
    reference: Volume | None = None,
    overlay_path: str | Path | None = None,
) -> dict[str, Volume]:
    """Read named masks from one file (label map, binary mask or DICOM SEG).

    Parameters
    ----------
    path
        The mask file.
    labels
        Value of each structure by name, e.g. ``{"liver": 1, "tumor": 2}``; for a DICOM SEG, the segment number.
        When not given, a file with a single value yields ``{"mask": ...}``; a file with several is refused unless
        it names them itself (3D Slicer's ``.seg.nrrd``, DICOM SEG).
    reference
        The image on whose grid the masks must lie.
    overlay_path
        Where to draw the mismatch, when the grids differ.

    Returns
    -------
    dict of str to Volume
        Boolean volumes. A named value that does not occur gives an empty mask (`describe_voi` reports it).

    Raises
    ------
    ImageError, GeometryError
        As `read_labelmap`; several values and no names.
    """
    path = Path(path)
    if path.is_file() and _is_dicom_seg(path):
        return _read_seg(path, labels, reference)
    labelmap = read_labelmap(path, labels)
    if reference is not None:
        check_mask_geometry(reference, labelmap.volume, overlay_path=overlay_path, where=str(path))
    if labels is not None or _segments(path):
        return labelmap.masks()
    if len(labelmap.labels) > 1:
        raise ImageError(
            "The mask file holds several labels and no names.",
            expected="a name for each, for example labels: {liver: 1, tumor: 2}",
            found=f"labels {', '.join(str(value) for value in list(labelmap.labels.values())[:20])}",
            where=str(path),
        )
    return {"mask": labelmap.volume.with_array(labelmap.volume.array != 0)}


def check_mask_geometry(
    image: Volume,
    mask: Volume,
    *,
    overlay_path: str | Path | None = None,
    what: str = "the mask",
    where: str | None = None,
) -> None:
    """Refuse a mask whose grid is not the image's; draw where it lies, so that the shift can be seen.

    Parameters
    ----------
    image, mask
        The pair.
    overlay_path
        PNG to write on a mismatch: an image slice with the mask drawn at its own place in the patient.
    what, where
        Words for the message.

    Raises
    ------
    GeometryError
        With the offset in mm, and the PNG's path.
    """
    try:
        image.geometry.require_same(mask.geometry, what=what, where=where)
    except GeometryError as error:
        if overlay_path is None:
            raise
        from hepacast.imaging.overlay import mismatch_png

        mismatch_png(image, mask, overlay_path, title=error.message)
        remedy = f"{error.remedy}; the picture {overlay_path} shows the mask where its own header puts it"
        raise GeometryError(
            error.message, expected=error.expected, found=error.found, where=error.where, remedy=remedy
        ) from error


def _require_content(volume: Volume, path: Path) -> None:
    if min(volume.geometry.size) == 1:
        raise wrong_dimensions(tuple(n for n in volume.geometry.size if n > 1), str(path))
    if volume.array.dtype.kind == "f" and not np.isfinite(volume.array).any():
        raise ImageError(
            "The image holds no number at all (every voxel is NaN).",
            where=str(path),
            remedy="export the image again; the conversion has failed",
        )


def _has_dicom_magic(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(132)[128:] == b"DICM"


def _is_dicom_seg(path: Path) -> bool:
    if suffix_of(path) in _NIFTI + _ITK or not _has_dicom_magic(path):
        return False
    from hepacast.imaging.dicom_seg import is_dicom_seg

    return is_dicom_seg(path)


def _read_seg(path: Path, labels: Mapping[str, int] | None, reference: Volume | None) -> dict[str, Volume]:
    from hepacast.imaging.dicom_seg import read_dicom_seg, segment_names

    masks = read_dicom_seg(path, reference)
    if labels is None:
        return masks
    names = segment_names(path)
    missing = [f"{name}: {number}" for name, number in labels.items() if number not in names]
    if missing:
        raise ImageError(
            f"The DICOM SEG has no segment {', '.join(missing)}.",
            expected=", ".join(f"{number}: {name}" for number, name in names.items()),
            where=str(path),
        )
    return {name: masks[names[number]] for name, number in labels.items()}


def _segments(path: Path) -> dict[str, int]:
    return slicer_segments(path) if suffix_of(path) == ".nrrd" else {}


def _unknown_format(path: Path) -> ImageError:
    pictures = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff")
    if suffix_of(path) in pictures:
        return ImageError(
            "A picture is not a volume.",
            expected="a 3-D image: NIfTI, NRRD, MetaImage or a DICOM folder",
            found=f"a two-dimensional picture ({suffix_of(path)})",
            where=str(path),
            remedy="export the series itself from the PACS",
        )
    return ImageError(
        "The image's format is not known.",
        expected=".nii, .nii.gz, .nrrd, .nhdr, .mha, .mhd, or a DICOM folder or file",
        found=f"suffix {suffix_of(path) or '(none)'}, and no DICOM preamble",
        where=str(path),
    )
