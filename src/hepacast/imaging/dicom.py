"""DICOM series in: which files form a volume, which are set aside and why.

`scan_folder` lists what a folder holds, `read_series` chooses one series and reads it. Messages never hold a
patient's name, ID or birth date.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hepacast.errors import ImageError
from hepacast.imaging.dicom_rules import (
    PHASE_MARKS,
    DicomFinding,
    DicomSlice,
    check_stack,
    drop_duplicates,
    sort_along_normal,
    split_phases,
    split_strays,
)
from hepacast.imaging.volume import Geometry, Volume

__all__ = ["DicomFinding", "DicomFolder", "DicomSeries", "read_series", "scan_folder", "series_files"]

_TAGS = [
    "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "SeriesNumber", "SeriesDescription", "Modality", "ImageType",
    "InstanceNumber", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns",
    "SamplesPerPixel", "NumberOfFrames", "RescaleSlope", "RescaleIntercept", "BitsAllocated", "ImagesInAcquisition",
    *PHASE_MARKS,
]  # fmt: skip


@dataclass(frozen=True, eq=False)
class DicomSeries:
    """A series, or one phase of a series, with what the rules say about it.

    Parameters
    ----------
    uid, number, description, modality
        From the header.
    part
        What tells this phase from the others of the same series (``"AcquisitionNumber 2"``), else empty.
    slices
        Sorted along the normal.
    findings
        Refusals, warnings and files set aside.
    """

    uid: str
    number: int | None
    description: str
    modality: str
    part: str
    slices: tuple[DicomSlice, ...]
    findings: tuple[DicomFinding, ...]

    @property
    def refusals(self) -> tuple[DicomFinding, ...]:
        """Findings that forbid using the series."""
        return tuple(finding for finding in self.findings if finding.severity == "refused")

    @property
    def usable(self) -> bool:
        """Whether no rule is broken."""
        return not self.refusals

    @property
    def label(self) -> str:
        """One line for lists: number, description, modality, part, size, and the first refusal."""
        number = f"series {self.number}" if self.number is not None else "series without number"
        words = [number, f'"{self.description}"' if self.description else "", self.modality, self.part]
        text = " ".join(word for word in words if word)
        if self.slices:
            text += f", {len(self.slices)} slices of {self.slices[0].columns} x {self.slices[0].rows}"
        return text if self.usable else f"{text} (not usable: {self.refusals[0].message})"


@dataclass(frozen=True, eq=False)
class DicomFolder:
    """What a folder holds: its series, and the files that belong to none."""

    path: Path
    series: tuple[DicomSeries, ...]
    quarantine: tuple[DicomFinding, ...]

    def listing(self) -> str:
        """The series, one a line."""
        return "; ".join(series.label for series in self.series)


def scan_folder(path: str | Path) -> DicomFolder:
    """List the series of a folder (with its subfolders), judged by the rules.

    Raises
    ------
    ImageError
        The folder does not exist.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise ImageError("The DICOM folder does not exist.", where=str(folder))
    files = sorted(item for item in folder.rglob("*") if item.is_file() and not item.name.startswith("."))
    return _scan(folder, files)


def read_series(path: str | Path, *, series: str | int | None = None) -> Volume:
    """Read one CT or MR series as a volume in HU (rescale slope and intercept applied).

    Parameters
    ----------
    path
        A folder, or one file of a series: then that series is read from the file's folder.
    series
        Which one, where a folder holds several: its number, UID, description or a part of it (case is ignored);
        ``"portal#2"`` means the second of the matching ones in the list that the message shows.

    Returns
    -------
    Volume
        Slices in order along the normal; int16 where all values are whole numbers, else float32.

    Raises
    ------
    ImageError
        No usable series, several and no choice, or the chosen one breaks a rule; the message lists them.
    """
    return _assemble(_find(Path(path), series))


def series_files(path: str | Path, *, series: str | int | None = None) -> list[Path]:
    """The files that `read_series` reads, in the order of the volume's slices."""
    return [one.path for one in _find(Path(path), series).slices]


def _find(path: Path, wanted: str | int | None) -> DicomSeries:
    chosen = _series_of_file(path) if path.is_file() else _choose(scan_folder(path), wanted)
    _require_usable(chosen, path)
    return chosen


def _series_of_file(path: Path) -> DicomSeries:
    header = _header(path)
    if header is None:
        raise ImageError("The file is not DICOM.", where=str(path))
    uid = str(header.get("SeriesInstanceUID", ""))
    folder = _scan(path.parent, sorted(item for item in path.parent.iterdir() if item.is_file()))
    for series in folder.series:
        if series.uid == uid and any(one.path == path for one in series.slices):
            return series
    reasons = [f.message for f in folder.quarantine if path.name in f.files]
    reasons += [f.message for s in folder.series if s.uid == uid for f in s.findings if path.name in f.files]
    raise ImageError(
        "This DICOM file is not part of a volume.", found="; ".join(reasons) or "no image slice", where=str(path)
    )


def _scan(folder: Path, files: Sequence[Path]) -> DicomFolder:
    groups: dict[str, list[tuple[DicomSlice, Any]]] = defaultdict(list)
    aside: dict[tuple[str, str], list[str]] = defaultdict(list)
    for file in files:
        if file.name.upper() == "DICOMDIR":
            continue
        relative = file.relative_to(folder).as_posix()
        header = _header(file)
        reason = _not_a_slice(header)
        if header is None or reason is not None:
            aside[reason or ("not_dicom", "not DICOM files")].append(relative)
            continue
        groups[str(header.get("SeriesInstanceUID", ""))].append((_slice(file, relative, header), header))
    quarantine = tuple(
        DicomFinding(code, "quarantined", f"{len(names)} file{'s' * (len(names) > 1)} set aside: {text}", tuple(names))
        for (code, text), names in aside.items()
    )
    series = [one for uid, items in groups.items() for one in _judge(uid, items)]
    series.sort(key=lambda s: (s.number if s.number is not None else 10**9, s.uid, s.part))
    return DicomFolder(folder, tuple(series), quarantine)


def _judge(uid: str, items: Sequence[tuple[DicomSlice, Any]]) -> list[DicomSeries]:
    """Apply the rules in order: strays, duplicates, phases, then each stack by itself."""
    slices, findings = split_strays([one for one, _ in items])
    slices, doubles = drop_duplicates(slices, _same_pixels)
    findings += doubles
    header = items[0][1]
    announced = _integer(header.get("ImagesInAcquisition"))
    phases = split_phases(slices)

    def series(part: str, stack: Sequence[DicomSlice], extra: Sequence[DicomFinding]) -> DicomSeries:
        return DicomSeries(
            uid=uid,
            number=_integer(header.get("SeriesNumber")),
            description=str(header.get("SeriesDescription", "") or "").strip(),
            modality=str(header.get("Modality", "") or ""),
            part=part,
            slices=tuple(stack),
            findings=(*findings, *extra),
        )

    refused = any(finding.severity == "refused" for finding in findings)
    if phases is None:
        stack = sort_along_normal(slices)
        return [series("", stack, [] if refused else check_stack(stack, announced))]
    mark, parts = phases
    if not mark:
        message = "several images lie at one position and no attribute (acquisition, time, echo) tells them apart"
        return [series("", slices, [DicomFinding("several_acquisitions", "refused", message)])]
    stacks = {f"{mark} {value or '(none)'}": sort_along_normal(part) for value, part in parts.items()}
    return [series(part, stack, check_stack(stack)) for part, stack in stacks.items()]


def _choose(folder: DicomFolder, wanted: str | int | None) -> DicomSeries:
    where = str(folder.path)
    if not folder.series:
        reasons = "; ".join(finding.message for finding in folder.quarantine) or "no file at all"
        raise ImageError("The folder holds no DICOM series.", found=reasons, where=where)
    if wanted is None:
        # A broken series still counts: taking the intact arterial phase instead of it would go unnoticed.
        candidates = [s for s in folder.series if not _is_fragment(s)] or list(folder.series)
        if len(candidates) == 1:
            return candidates[0]
        raise ImageError(
            f"The folder holds {len(candidates)} series or phases; which one is meant?",
            found=folder.listing(),
            where=where,
            remedy="name one in the study file (series: its number, description or UID)",
        )
    matches = _matching(folder.series, str(wanted))
    if len(matches) == 1:
        return matches[0]
    raise ImageError(
        f"{'No' if not matches else 'More than one'} series in the folder matches {str(wanted)!r}.",
        found="; ".join(series.label for series in matches or folder.series),
        where=where,
        remedy=f"write series: {wanted!s}#1 for the first of them, #2 for the second" if matches else None,
    )


def _is_fragment(series: DicomSeries) -> bool:
    return any(finding.code == "too_few_slices" for finding in series.refusals)


def _matching(series: Sequence[DicomSeries], wanted: str) -> list[DicomSeries]:
    text, _, ordinal = wanted.partition("#")
    text = text.strip().lower()
    exact = [s for s in series if text in (s.uid.lower(), s.description.lower(), str(s.number))]
    found = exact or [s for s in series if text and text in s.description.lower()]
    if ordinal.strip().isdigit():
        return found[int(ordinal) - 1 : int(ordinal)] if int(ordinal) > 0 else []
    return found


def _require_usable(series: DicomSeries, path: Path) -> None:
    if series.usable:
        return
    first = series.refusals[0]
    remedies = {
        "missing_slice": "export the complete series from the PACS; hepacast does not invent slices",
        "uneven_spacing": "export one reconstruction with even spacing",
        "gantry_tilt": "correct the tilt first, for example with dcm2niix, and give the NIfTI file",
        "too_few_slices": "give the whole series",
    }
    raise ImageError(
        "The DICOM series cannot be used as a volume.",
        expected="evenly spaced parallel slices of one size, one acquisition, without gantry tilt",
        found="; ".join(finding.message for finding in series.refusals[:5]),
        where=f"{path}, {series.label.split(' (not usable')[0]}",
        remedy=remedies.get(first.code, "export one phase of one series"),
    )


def _assemble(series: DicomSeries) -> Volume:
    slices = series.slices
    array = np.stack([read_pixels(one.path) for one in slices])
    first, last = slices[0], slices[-1]
    step = (last.height - first.height) / (len(slices) - 1)
    axes = np.column_stack([first.row_axis, first.column_axis, first.normal])
    geometry = Geometry(
        size=(first.columns, first.rows, len(slices)),
        spacing=(first.pixel_spacing[1], first.pixel_spacing[0], step),
        origin=(float(first.position[0]), float(first.position[1]), float(first.position[2])),
        direction=tuple((float(r[0]) + 0.0, float(r[1]) + 0.0, float(r[2]) + 0.0) for r in axes),
    )
    return Volume(_whole_hu(array), geometry)


def read_pixels(path: Path) -> npt.NDArray[Any]:
    """Pixels (rows, columns) of one file with rescale applied; ITK's GDCM knows all usual compressions.

    Raises
    ------
    ImageError
        The pixel data are damaged or in an unknown compression.
    """
    import SimpleITK as sitk

    try:
        image = sitk.ReadImage(str(path), imageIO="GDCMImageIO")
    except RuntimeError as error:
        raise ImageError(
            "A DICOM slice cannot be decoded.",
            found=str(error).strip().splitlines()[-1],
            where=str(path),
            remedy="copy or export the series again",
        ) from error
    return np.asarray(sitk.GetArrayFromImage(image)[0])


def _whole_hu(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if array.dtype.kind == "f" and not np.array_equal(array, np.rint(array)):
        return array.astype(np.float32)
    low, high = int(array.min()), int(array.max())
    return array.astype(np.int16 if low >= -32768 and high <= 32767 else np.int32)


def _same_pixels(first: DicomSlice, second: DicomSlice) -> bool:
    return bool(np.array_equal(read_pixels(first.path), read_pixels(second.path)))


def _header(path: Path) -> Any | None:
    import pydicom
    from pydicom.errors import InvalidDicomError

    try:
        # Values are read later, one by one, so a broken optional element cannot spoil the file.
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_TAGS)
    except (InvalidDicomError, EOFError, OSError, ValueError):
        return None
    return header


def _not_a_slice(header: Any | None) -> tuple[str, str] | None:
    """Why a file is not one slice of a volume: (code, words), or None."""
    if header is None:
        return ("not_dicom", "not DICOM files")
    if "LOCALIZER" in [str(word).upper() for word in _values(header, "ImageType")]:
        return ("localizer", "localizer (scout) images")
    if not header.get("Rows") or not header.get("Columns"):
        return ("not_an_image", f"no image ({header.get('Modality') or 'unknown modality'})")
    if int(header.get("SamplesPerPixel") or 1) != 1:
        return ("color", "color pictures, such as screen captures")
    if str(header.get("Modality", "")) == "SEG":
        return ("not_an_image", "no image (SEG)")
    if int(header.get("NumberOfFrames") or 1) > 1:
        return ("multiframe", "multi-frame (enhanced) images; convert them to NIfTI first, for example with dcm2niix")
    if len(_values(header, "ImagePositionPatient")) != 3 or len(_values(header, "ImageOrientationPatient")) != 6:
        return ("no_position", "no position in the patient")
    if len(_values(header, "PixelSpacing")) != 2:
        return ("no_position", "no pixel size in mm")
    return None


def _slice(path: Path, relative: str, header: Any) -> DicomSlice:
    axes = np.array([float(v) for v in header.ImageOrientationPatient])
    return DicomSlice(
        path=path,
        relative=relative,
        uid=str(header.get("SOPInstanceUID") or header.file_meta.get("MediaStorageSOPInstanceUID", "") or relative),
        instance=_integer(header.get("InstanceNumber")),
        position=np.array([float(v) for v in header.ImagePositionPatient]),
        row_axis=axes[:3] / np.linalg.norm(axes[:3]),
        column_axis=axes[3:] / np.linalg.norm(axes[3:]),
        rows=int(header.Rows),
        columns=int(header.Columns),
        pixel_spacing=(float(header.PixelSpacing[0]), float(header.PixelSpacing[1])),
        modality=str(header.get("Modality", "") or ""),
        has_rescale=header.get("RescaleSlope") is not None and header.get("RescaleIntercept") is not None,
        marks={mark: "\\".join(_values(header, mark)) for mark in PHASE_MARKS},
    )


def _values(header: Any, name: str) -> list[str]:
    value = header.get(name)
    if value is None or value == "":
        return []
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        return [str(value)]
    return [str(item) for item in value]


def _integer(value: Any) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError):
        return None
