"""Read and write volumes, masks and label maps, whatever the file format.

Masks never move: a mask whose voxels are not the image's is refused with the distance in mm, see `place_mask`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hepacast.core.files import atomic_path
from hepacast.errors import ImageError
from hepacast.imaging.dicom_header import SUFFIXES, class_of, looks_like_dicom
from hepacast.imaging.itk_files import read_channel, read_itk, slicer_segments, write_itk
from hepacast.imaging.labels import LabelMap, as_labels, unnamed_note, values_of
from hepacast.imaging.nifti import read_nifti, require_plausible_spacing, write_nifti, wrong_dimensions
from hepacast.imaging.placing import place_mask
from hepacast.imaging.segment_names import compare_names, kind_of
from hepacast.imaging.volume import Volume

_NIFTI = (".nii", ".nii.gz")
_ITK = (".nrrd", ".nhdr", ".mha", ".mhd")
#: How files that hold one image or one mask end; DICOM is known by its content.
IMAGE_ENDINGS = (*_NIFTI, *_ITK)
#: DICOM's word for a device of no listed kind: converters write it, so it says nothing.
_OTHER = "OT"
#: More different values than this are gray levels, among which a label's number occurs by chance; where some are
#: negative (HU), fewer are enough to tell.
MAX_LABELS, MAX_SIGNED_LABELS = 256, 16
#: DICOM objects that are masks, and what they call a structure.
_STRUCTURES = {"SEG": "segment", "RTSTRUCT": "ROI"}
#: What stands for the path of an image or a mask that is given as a `Volume`.
IN_MEMORY = Path("(in memory)")
_WRITABLE = (".nii", ".nii.gz", ".nrrd", ".mha")


def suffix_of(path: str | Path) -> str:
    """The suffix in lower case; ``.nii.gz`` counts as one."""
    name = Path(path).name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else Path(name).suffix


def read_volume(path: str | Path | Volume, *, series: str | int | None = None, modality: str | None = None) -> Volume:
    """Read an image.

    Parameters
    ----------
    path
        A NIfTI (.nii, .nii.gz), NRRD or MetaImage file, a folder with a DICOM series, or one file of a DICOM series
        (the whole series is then read). A `Volume` is taken as it is, and a SimpleITK image with its grid.
    series
        Which DICOM series, where a folder holds several: its description or a part of it, its number, or its UID.
        Other formats hold one image, and `series` is not looked at.
    modality
        What the image must be (``CT``, ``MR``), as far as its format tells.

    Returns
    -------
    Volume
        Intensities in the modality's unit (CT: HU), grid in mm, LPS; its `notes` tell what a person should know.

    Raises
    ------
    ImageError
        The file is missing, damaged, truncated, not 3-D, complex, colored or without a single number; or the DICOM
        series breaks a rule (see `hepacast.imaging.dicom`); or it is of another modality.
    """
    if not isinstance(path, str | Path):
        volume = path if isinstance(path, Volume) else Volume.from_sitk(path)
        _require_content(volume, IN_MEMORY)
        _require_modality(volume, modality, IN_MEMORY)
        return volume
    path = Path(path)
    if not path.exists():
        raise ImageError(
            "The image does not exist.",
            expected="a NIfTI, NRRD or MetaImage file, or a DICOM folder",
            where=str(path),
            remedy="check the path in the study file or table (relative paths start at the study file's folder)",
        )
    suffix = suffix_of(path)
    if _is_dicom(path):
        from hepacast.imaging.dicom import read_series

        volume = read_series(path, series=series)
    elif suffix in _NIFTI:
        volume = read_nifti(path)
    elif suffix in _ITK:
        volume = read_itk(path)
    else:
        raise _unknown_format(path)
    require_plausible_spacing(volume.spacing, str(path))
    _require_content(volume, path)
    _require_modality(volume, modality, path)
    return volume


def image_files(path: str | Path) -> list[Path]:
    """What an image's content depends on: the file or folder itself, or the files around one slice of a series."""
    path = Path(path)
    if path.name.upper() == "DICOMDIR":
        return [path.parent]
    if path.is_file() and _is_dicom(path) and class_of(path) not in _STRUCTURES:
        return sorted(item for item in path.parent.iterdir() if item.is_file())
    return [path]


def image_slices(path: str | Path, *, series: str | int | None = None) -> tuple[Path, ...]:
    """The files that hold an image's voxels: the slices of its DICOM series, or the file itself.

    Raises
    ------
    ImageError
        As `read_volume`, as far as headers tell.
    """
    path = Path(path)
    if not _is_dicom(path):
        return (path,)
    from hepacast.imaging.dicom import series_files

    return tuple(series_files(path, series=series))


def image_notes(path: str | Path, *, series: str | int | None = None) -> tuple[str, ...]:
    """The `notes` of a DICOM image from its headers, without its voxels; other formats have none.

    Raises
    ------
    ImageError
        As `read_volume`, as far as headers tell.
    """
    path = Path(path)
    if not _is_dicom(path):
        return ()
    from hepacast.imaging.dicom import series_notes

    return series_notes(path, series=series)


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
            remedy="choose a name that ends so",
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


@dataclass(frozen=True)
class MaskRules:
    """What a PyRadiomics parameter file says of mask files, where it says it.

    Parameters
    ----------
    label
        Value of the structure in a file that names none (``label``); None takes the only value.
    channel
        Channel of a file with several (``label_channel``); None refuses such a file.
    correct
        Resample a mask of another grid by the nearest voxel (``correctMask``).
    """

    label: int | None = None
    channel: int | None = None
    correct: bool = False


@dataclass(frozen=True, eq=False)
class MaskSet:
    """The structures of one patient's masks as boolean volumes by name, and what a reader should know of the files."""

    masks: dict[str, Volume]
    notes: tuple[str, ...] = ()


#: A mask file, or the mask itself: as a `Volume`, or as an array on the voxels of the image.
OneMask = str | Path | Volume | npt.NDArray[Any]
#: A mask, a folder with one file a structure, or masks by the structure's name.
MaskPath = OneMask | Mapping[str, OneMask]


def read_labelmap(
    path: str | Path | Volume,
    labels: Mapping[str, int] | None = None,
    *,
    reference: Volume | None = None,
    rules: MaskRules = MaskRules(),
    overlay_path: str | Path | None = None,
) -> LabelMap:
    """Read a label map.

    Parameters
    ----------
    path
        An image file whose values are whole numbers (stored as integers or floats), or a DICOM SEG or RTSTRUCT whose
        structures do not overlap (see `read_mask`). A `Volume` is taken as it is.
    labels
        Value of each structure by name. When not given, names are taken from a 3D Slicer ``.seg.nrrd`` header,
        otherwise the values name themselves (``label_1``, ``label_2``).
    reference
        The image on whose grid the label map must lie (see `place_mask`).
    rules
        Of a PyRadiomics parameter file.
    overlay_path
        Where to draw the mismatch, when the grids differ.

    Raises
    ------
    ImageError
        Values are not whole numbers, or more different ones than any mask has (an image in the place of the mask); none
        of the named values occurs although others do; the file's own names contradict `labels`.
    GeometryError
        The grid is not the reference's.
    """
    if isinstance(path, Volume):
        volume, own, path = as_labels(path), {}, IN_MEMORY
    else:
        path = Path(path)
        if (drawn := dicom_mask(path)) is not None:
            found = _read_structures(*drawn, labels, reference)
            return replace(LabelMap.from_masks(found.masks, labels), notes=found.notes)
        own = _segments(path)
        read = read_volume(path) if rules.channel is None else read_channel(path, rules.channel) or read_volume(path)
        volume = as_labels(read, where=str(path))
    if reference is not None:
        volume = place_mask(
            reference, volume, cropped=bool(own), correct=rules.correct, overlay_path=overlay_path, where=str(path)
        )
    present = _labels_of(volume, path)
    if labels is None:
        return LabelMap(volume, own or {f"label_{value}": value for value in present})
    notes = compare_names(own, labels, str(path))
    if present and not set(present) & set(labels.values()):
        raise ImageError(
            "None of the named labels occurs in the mask.",
            expected=", ".join(f"{name}: {value}" for name, value in labels.items()),
            found=f"labels {', '.join(str(value) for value in present[:20])}",
            where=str(path),
            remedy="correct the label numbers (labels of the study file, --labels)",
        )
    return LabelMap(volume, dict(labels), tuple(notes))


def _labels_of(volume: Volume, where: str | Path) -> list[int]:
    present = values_of(volume.array)
    if len(present) > (MAX_LABELS if present[:1] >= [0] else MAX_SIGNED_LABELS):
        raise ImageError(
            "This is an image, not a mask.",
            expected=f"labels: at most {MAX_LABELS} different whole numbers",
            found=f"{len(present)} different values from {present[0]} to {present[-1]}",
            where=str(where),
            remedy="give the mask file; image and mask may have been exchanged",
        )
    return present


def write_labelmap(labelmap: LabelMap, path: str | Path) -> None:
    """Write the label map's volume atomically (names are not stored in the file; see `write_volume`)."""
    write_volume(labelmap.volume, path)


def read_mask(
    path: MaskPath,
    labels: Mapping[str, int] | None = None,
    *,
    reference: Volume | None = None,
    overlay_path: str | Path | None = None,
) -> dict[str, Volume]:
    """The masks of `read_mask_set`, for those who need no notes."""
    return read_mask_set(path, labels, reference=reference, overlay_path=overlay_path).masks


def read_mask_set(
    path: MaskPath,
    labels: Mapping[str, int] | None = None,
    *,
    reference: Volume | None = None,
    rules: MaskRules = MaskRules(),
    overlay_path: str | Path | None = None,
) -> MaskSet:
    """Read named masks from a label map, a binary mask, a DICOM SEG or RTSTRUCT, or one file a structure.

    Parameters
    ----------
    path
        The mask file, or a folder that holds it alone; a folder with one DICOM SEG or RTSTRUCT, or with one image file
        a structure (``liver.nii.gz``, ``tumor.nii.gz``); or such files by name. Also masks in memory: a `Volume`, or an
        array on the reference's voxels.
    labels
        Value of each structure by name, e.g. ``{"liver": 1, "tumor": 2}``; for a DICOM SEG, the segment number. In an
        RTSTRUCT the ROI of that name is taken (case is ignored), else the ROI of that number.
        When not given, a file with a single value yields ``{"mask": ...}``; a file with several is refused unless
        it names them itself (3D Slicer's ``.seg.nrrd``, DICOM SEG, RTSTRUCT) or `rules` say which value is meant.
        Where each structure has its file, that file holds one value beside 0.
    reference
        The image on whose grid the masks must lie. Contours (RTSTRUCT) have no grid without it.
    rules
        Of a PyRadiomics parameter file.
    overlay_path
        Where to draw the mismatch, when the grids differ.

    Returns
    -------
    MaskSet
        A named value that does not occur gives an empty mask (`describe_voi` reports it). Values without a name are
        told in the notes.

    Raises
    ------
    ImageError, GeometryError
        As `read_labelmap`; several values and no names; a name that the file does not hold.
    """
    if not isinstance(path, str | Path | Volume | Mapping):
        path = _on_voxels_of(reference, path)
    files = path if isinstance(path, Mapping) else None if isinstance(path, Volume) else _structure_files(Path(path))
    if files is not None and not isinstance(path, Mapping) and _is_label_map(files, labels):
        path, files = str(next(iter(files.values()))), None
    if files is not None:
        return _one_file_each(files, reference, rules, overlay_path)
    assert not isinstance(path, Mapping)
    in_memory = isinstance(path, Volume)
    where = IN_MEMORY if isinstance(path, Volume) else Path(path)
    if not in_memory and (drawn := dicom_mask(where)) is not None:
        return _read_structures(*drawn, labels, reference)
    labelmap = read_labelmap(path, labels, reference=reference, rules=rules, overlay_path=overlay_path)
    _require_label(rules.label, labelmap.labels, where)
    if labels is not None or (not in_memory and _segments(where)):
        return MaskSet(labelmap.masks(), labelmap.all_notes)
    if rules.label is not None:
        return MaskSet({"mask": labelmap.volume.with_array(labelmap.volume.array == rules.label)})
    _require_one_label(labelmap, where)
    return MaskSet({"mask": labelmap.volume.with_array(labelmap.volume.array != 0)})


def _require_one_label(labelmap: LabelMap, where: str | Path) -> None:
    if len(labelmap.labels) > 1:
        raise ImageError(
            "The mask file holds several labels and no names.",
            expected="a name for each, for example labels: {liver: 1, tumor: 2}",
            found=f"labels {', '.join(str(value) for value in list(labelmap.labels.values())[:20])}",
            where=str(where),
            remedy="name them (--labels liver=1,tumor=2), or say with label in the feature settings which one is meant",
        )


def _on_voxels_of(reference: Volume | None, array: npt.NDArray[Any]) -> Volume:
    """An array as a mask of the image whose voxels it has.

    Raises
    ------
    ImageError
        There is no image, or its array has another shape.
    """
    if reference is None:
        raise ImageError("An array alone is no mask.", expected="a Volume, or an array and the image that it lies on")
    return Volume(array, reference.geometry)


def _structure_files(path: Path) -> dict[str, Path] | None:
    """The files of a folder with one image file a structure, by name; None for anything else (DICOM)."""
    if not path.is_dir():
        return None
    files = {item: suffix_of(item) for item in sorted(path.iterdir()) if not item.name.startswith(".")}
    return {item.name[: -len(end)]: item for item, end in files.items() if end in _NIFTI + _ITK} or None


def _is_label_map(files: Mapping[str, Any], labels: Mapping[str, int] | None) -> bool:
    """Whether a folder holds no structure by name, but one file whose values `labels` names."""
    (name, *more) = files
    return labels is not None and not more and name not in labels and kind_of(name) is None


def _one_file_each(
    files: Mapping[str, OneMask], reference: Volume | None, rules: MaskRules, overlay_path: str | Path | None
) -> MaskSet:
    masks: dict[str, Volume] = {}
    notes: list[str] = []
    for name, path in files.items():
        found = read_mask_set(path, None, reference=reference, rules=rules, overlay_path=overlay_path)
        if len(found.masks) != 1:
            raise ImageError(
                f"The mask file of {name!r} holds several structures.",
                expected="one structure a file, or one file with labels by name",
                found=", ".join(found.masks),
                where=str(path) if isinstance(path, str | Path) else str(IN_MEMORY),
                remedy="give the one file and name its labels (labels of the study file, --labels)",
            )
        masks[name] = next(iter(found.masks.values()))
        notes += found.notes
    first = next(iter(masks.values()), None)
    if first is not None and reference is None:
        masks = {name: place_mask(first, mask, what=f"the mask {name!r}") for name, mask in masks.items()}
    return MaskSet(masks, tuple(notes))


def _require_label(label: int | None, known: Mapping[str, int], path: Path) -> None:
    """The value that the feature settings ask for is there to be measured."""
    if label is not None and label not in known.values():
        raise ImageError(
            f"The mask has no label {label}: there is nothing to measure.",
            expected=f"the value of the feature settings, label: {label}",
            found=", ".join(f"{name}: {value}" for name, value in known.items()) or "an empty mask",
            where=str(path),
            remedy="correct label in the feature settings, or leave it out and name the values (--labels)",
        )


def _require_content(volume: Volume, path: Path) -> None:
    if min(volume.geometry.size) == 1:
        raise wrong_dimensions(tuple(n for n in volume.geometry.size if n > 1), str(path))
    if volume.array.dtype.kind == "f" and not np.isfinite(volume.array).any():
        raise ImageError(
            "The image holds no number at all (every voxel is NaN).",
            where=str(path),
            remedy="export the image again; the conversion has failed",
        )


def _require_modality(volume: Volume, wanted: str | None, path: Path) -> None:
    known = volume.modality in ("CT", "MR")
    if wanted and volume.modality not in ("", _OTHER, wanted):
        raise ImageError(
            f"The image is of another modality: {volume.modality}.",
            expected=wanted,
            found=f"{volume.modality} (Modality, 0008,0060)",
            where=str(path),
            remedy=f"give the {wanted} image"
            + (f"; where {volume.modality} is meant, say so in the study file (modality)" if known else ""),
        )


def _is_dicom(path: Path) -> bool:
    """Whether a path is read as DICOM: a folder, a known ending, or content that no ending contradicts."""
    suffix = suffix_of(path)
    return path.is_dir() or suffix in SUFFIXES or (suffix not in _NIFTI + _ITK and looks_like_dicom(path))


def dicom_mask(path: str | Path) -> tuple[str, Path] | None:
    """The DICOM object of structures that a path names: (``SEG`` or ``RTSTRUCT``, file); None where it is none.

    Raises
    ------
    ImageError
        A folder holds several.
    """
    path = Path(path)
    if path.is_dir():
        files = sorted(item for item in path.rglob("*") if item.is_file() and not item.name.startswith("."))
        found = [(kind, item) for item in files if (kind := class_of(item)) in _STRUCTURES]
        if len(found) > 1:
            raise ImageError(
                f"The folder holds {len(found)} files of masks; which one is meant?",
                found="; ".join(f"{kind} {item.relative_to(path).as_posix()}" for kind, item in found[:20]),
                where=str(path),
                remedy="give the file itself",
            )
        return found[0] if found else None
    if not path.is_file() or not _is_dicom(path):
        return None
    kind = class_of(path)
    return (kind, path) if kind in _STRUCTURES else None


def _read_structures(kind: str, path: Path, labels: Mapping[str, int] | None, reference: Volume | None) -> MaskSet:
    """Masks of a DICOM SEG or RTSTRUCT: all by their own names, or those that `labels` names."""
    from hepacast.imaging.dicom_seg import frame_note, read_dicom_seg, segment_names
    from hepacast.imaging.rtstruct import read_rtstruct, roi_names

    notes: tuple[str, ...] = ()
    names = segment_names(path) if kind == "SEG" else roi_names(path)
    chosen = _chosen_numbers(kind, labels, names) if labels is not None else None
    if kind == "SEG":
        masks = read_dicom_seg(path, reference)
        notes = frame_note(path, reference) if reference is not None else ()
    elif reference is None:
        raise ImageError(
            "Contours (RTSTRUCT) become a mask on an image's grid only.",
            expected="the image on which they were drawn (reference)",
            where=str(path),
            remedy="give the image, or export the contours as a label map",
        )
    else:
        masks, notes = read_rtstruct(path, reference, None if chosen is None else set(chosen.values()))
    if labels is None or chosen is None:
        return MaskSet(masks, notes)
    missing = [f"{name}: {labels[name]}" for name, number in chosen.items() if names.get(number) not in masks]
    if missing or len(set(chosen.values())) < len(chosen):
        raise ImageError(
            f"The DICOM {kind} has no {_STRUCTURES[kind]} {', '.join(missing)}."
            if missing
            else f"Two structures would be one {_STRUCTURES[kind]} of the DICOM {kind}.",
            expected=", ".join(f"{number}: {name}" for number, name in names.items()),
            found=", ".join(f"{name}: {number}" for name, number in labels.items()),
            where=str(path),
            remedy="correct the numbers (labels of the study file, --labels)",
        )
    told = compare_names({name: number for number, name in names.items()}, chosen, str(path))
    unnamed = [number for number in names if number not in chosen.values()] if kind == "SEG" else []
    found = {name: masks[names[number]] for name, number in chosen.items()}
    return MaskSet(found, (*notes, *told, *unnamed_note(unnamed)))


def _chosen_numbers(kind: str, labels: Mapping[str, int], names: Mapping[int, str]) -> dict[str, int]:
    """Number of each structure. ROI numbers are chance and differ between patients: there a name goes first."""
    if kind == "SEG":
        return dict(labels)
    by_name: dict[str, list[int]] = {}
    for number, own in names.items():
        by_name.setdefault(own.strip().lower(), []).append(number)
    same = {name: by_name.get(name.strip().lower(), []) for name in labels}
    return {name: same[name][0] if len(same[name]) == 1 else number for name, number in labels.items()}


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
        remedy="export it in one of these formats, or give the file its right ending",
    )
