"""DICOM series in: which files form a volume, which are set aside and why.

`scan_folder` lists what a folder holds, `read_series` chooses one series and reads it. Messages never hold a
patient's name, ID or birth date.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hepacast.errors import ImageError
from hepacast.imaging.dicom_header import BROKEN, BrokenValue, read_header, slice_of, text, why_no_slice
from hepacast.imaging.dicom_pixels import read_pixels, read_stack
from hepacast.imaging.dicom_rules import (
    DicomFinding,
    DicomSlice,
    check_identity,
    check_stack,
    drop_duplicates,
    sort_along_normal,
    split_phases,
    split_strays,
)
from hepacast.imaging.dicom_seg import referenced_images
from hepacast.imaging.volume import Geometry, Volume

__all__ = [
    "DicomFinding",
    "DicomFolder",
    "DicomSeries",
    "read_series",
    "scan_folder",
    "series_files",
    "series_notes",
    "series_of_mask",
    "series_stack",
]


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
        return _listed(self.series)


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
        A folder (or the DICOMDIR of one), or one file of a series: then that series is read from the file's folder.
    series
        Which one, where a folder holds several: its number, UID, description, a part or words of it, or its phase as
        the list of the message shows it (case is ignored; a whole number is that of the series and no part of a word);
        ``"portal#2"`` means the second of the matching ones in the list that the message shows.

    Returns
    -------
    Volume
        Slices in order along the normal; int16 where all values are whole numbers, else float32. Pixel padding is read
        as air (see `hepacast.imaging.dicom_pixels`). `notes` tell what the rules found and do not forbid.

    Raises
    ------
    ImageError
        No usable series, several and no choice, or the chosen one breaks a rule; the message lists them.
    """
    chosen, notes = _find(Path(path), series)
    volume = _assemble(chosen)
    return replace(volume, notes=(*notes, *volume.notes))


def series_notes(path: str | Path, *, series: str | int | None = None) -> tuple[str, ...]:
    """The notes of `read_series` as far as headers tell, without its voxels.

    Raises
    ------
    ImageError
        As `read_series`.
    """
    return _find(Path(path), series)[1]


def series_files(path: str | Path, *, series: str | int | None = None) -> list[Path]:
    """The files that `read_series` reads, in the order of the volume's slices."""
    return series_stack(path, series=series)[0]


def series_stack(path: str | Path, *, series: str | int | None = None) -> tuple[list[Path], Geometry]:
    """The files that `read_series` reads, in the order of the volume's slices, and its grid, without its voxels."""
    found = _find(Path(path), series)[0]
    return [one.path for one in found.slices], _geometry(found.slices)


def series_of_mask(path: str | Path, mask: str | Path, *, which: int | None = None) -> str:
    """Which series of a folder, or which phase of one, a DICOM SEG was drawn on, as `read_series` takes it.

    The instances decide that the frames of the SEG refer to, so that one of several phases in one series is found too;
    else the series that the SEG names.

    Parameters
    ----------
    path, mask
        Folder, and file of the SEG.
    which
        Of several phases that the SEG refers to alike (as where a program was given all slices of both), the first (1),
        second (2), ... in the order of the folder's list; without it they are refused.

    Raises
    ------
    ImageError
        The folder does not hold the series, or the SEG refers to several phases.
    """
    folder = scan_folder(path)
    instances, named = referenced_images(mask)
    drawn = [item for item in folder.series if any(one.uid in instances for one in item.slices)]
    drawn = drawn or [item for item in folder.series if item.uid in named]
    if len(drawn) > 1 and which is not None:
        drawn = drawn[which - 1 : which]
    if len(drawn) != 1:
        raise ImageError(
            "The folder does not hold the series that the mask was drawn on."
            if not drawn
            else "The mask refers to several series or phases.",
            found=_listed(drawn or folder.series) or "no series",
            where=f"{folder.path}, {mask}",
            remedy="name the series in words, or which of those that the mask refers to (of the mask#2)",
        )
    same = [item for item in folder.series if item.uid == drawn[0].uid]
    return drawn[0].uid if len(same) == 1 else f"{drawn[0].uid}#{same.index(drawn[0]) + 1}"


def is_directory_file(path: Path) -> bool:
    """Whether a file is the DICOMDIR of a folder: it stands for the folder."""
    return path.name.upper() == "DICOMDIR" and path.is_file()


def _find(path: Path, wanted: str | int | None) -> tuple[DicomSeries, tuple[str, ...]]:
    """The series that is meant, and what to tell about it."""
    if is_directory_file(path):
        path = path.parent
    if path.is_file():
        chosen, notes = _series_of_file(path, wanted), []
    else:
        folder = scan_folder(path)
        chosen = _choose(folder, wanted)
        notes = _notes_of_folder(folder, chosen, wanted)
        _require_whole(folder, chosen)
    _require_usable(chosen, path)
    return chosen, (*(finding.message for finding in chosen.findings), *notes)


def _require_whole(folder: DicomFolder, chosen: DicomSeries) -> None:
    """Refuse a series with files that are no slices of it, as the loss of the last slice would show in nothing else."""
    broken = [
        finding
        for finding in folder.quarantine
        if finding.code not in ("localizer", "color", "not_dicom")
        and (finding.series == chosen.uid != "" or (finding.code in BROKEN and not finding.series))
    ]
    if broken:
        raise ImageError(
            "The DICOM series has files that are no slices of a volume.",
            found="; ".join(f"{f.message} ({', '.join(f.files[:5])})" for f in broken[:5]),
            where=f"{folder.path}, {chosen.label}",
            remedy="copy or export the series again; take files that do not belong to it out of the folder",
        )


def _notes_of_folder(folder: DicomFolder, chosen: DicomSeries, wanted: str | int | None) -> list[str]:
    notes = [finding.message for finding in folder.quarantine]
    others = [one for one in folder.series if one is not chosen]
    if wanted is None and others:
        notes.append(f"not read, as too short for a volume: {_listed(others)}")
    if len({one.identity["PatientID"] for item in folder.series for one in item.slices}) > 1:
        notes.append("the folder holds series of several patients (PatientID differs)")
    return notes


def _series_of_file(path: Path, wanted: str | int | None) -> DicomSeries:
    if read_header(path) is None:
        raise ImageError("The file is not DICOM, or damaged.", where=str(path), remedy="copy or export it again")
    folder = _scan(path.parent, sorted(item for item in path.parent.iterdir() if item.is_file()))
    for series in folder.series:
        if any(one.path == path for one in series.slices):
            return _choose(replace(folder, path=path, series=(series,)), wanted)
    findings = [*folder.quarantine, *(finding for series in folder.series for finding in series.findings)]
    raise ImageError(
        "This DICOM file is not part of a volume.",
        found="; ".join(f.message for f in findings if path.name in f.files) or "no image slice",
        where=str(path),
    )


def _scan(folder: Path, files: Sequence[Path]) -> DicomFolder:
    slices: list[DicomSlice] = []
    aside: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for file in files:
        if is_directory_file(file):
            continue
        relative = file.relative_to(folder).as_posix()
        header = read_header(file)
        reason = why_no_slice(header, file)
        if reason is None:
            try:
                slices.append(slice_of(file, relative, header))
            except BrokenValue as error:
                reason = ("broken_value", f"{error} is damaged or malformed")
        if reason is not None:
            aside[(*reason, text(header, "SeriesInstanceUID") if header is not None else "")].append(relative)
    quarantine = tuple(
        DicomFinding(
            code,
            "quarantined",
            f"{len(names)} file{'s' * (len(names) > 1)} set aside: {words}",
            tuple(names),
            series=uid,
        )
        for (code, words, uid), names in aside.items()
    )
    series = [one for group in _groups(slices) for one in _judge(group)]
    series.sort(key=lambda s: (s.number if s.number is not None else 10**9, s.uid, s.part))
    return DicomFolder(folder, tuple(series), quarantine)


def _groups(slices: Sequence[DicomSlice]) -> list[list[DicomSlice]]:
    """Slices by series: by UID, without one by whose and which they are; a UID in every slice is no series."""

    def by(key: Callable[[DicomSlice], Any], members: Sequence[DicomSlice]) -> dict[Any, list[DicomSlice]]:
        found: dict[Any, list[DicomSlice]] = defaultdict(list)
        for one in members:
            found[key(one)].append(one)
        return found

    named = by(lambda one: one.series, slices)
    groups = list(by(lambda one: tuple(one.identity.values()), named.pop("", [])).values())
    alone = [group[0] for group in named.values() if len(group) == 1]
    groups += [group for group in named.values() if len(group) > 1]
    # An anonymizer that draws a new UID for every slice does so for studies and frames of reference too.
    for members in by(lambda one: tuple(v for k, v in one.identity.items() if not k.endswith("UID")), alone).values():
        together = sort_along_normal(members)
        is_stack = len(members) > 2 and all(judged.usable for judged in _judge(together))
        groups += [together] if is_stack else [[one] for one in members]
    return groups


def _judge(group: Sequence[DicomSlice]) -> list[DicomSeries]:
    """Apply the rules in order: strays, identity, duplicates, phases, then each stack by itself."""
    slices, findings = split_strays(group)
    findings += check_identity(slices)
    if not _refused(findings):
        slices, doubles = drop_duplicates(slices, _same_pixels)
        findings += doubles
    if len({one.series for one in slices}) > 1:
        message = f"every slice has a SeriesInstanceUID of its own: {len(slices)} are taken for one series"
        findings.append(DicomFinding("uid_per_slice", "warning", message))
    first = group[0]

    def series(part: str, stack: Sequence[DicomSlice], extra: Sequence[DicomFinding]) -> DicomSeries:
        return DicomSeries(
            uid=first.series,
            number=_integer(first.identity["SeriesNumber"]),
            description=first.description,
            modality=first.modality,
            part=part,
            slices=tuple(stack),
            findings=(*findings, *extra),
        )

    if _refused(findings):
        return [series("", sort_along_normal(slices), [])]
    phases = split_phases(slices)
    if phases is None:
        stack = sort_along_normal(slices)
        return [series("", stack, check_stack(stack))]
    mark, parts = phases
    if not mark:
        message = "several images lie at one position and no attribute (acquisition, time, echo) tells them apart"
        return [series("", slices, [DicomFinding("several_acquisitions", "refused", message)])]
    stacks = {f"{mark} {value or '(none)'}": sort_along_normal(part) for value, part in parts.items()}
    return [series(part, stack, check_stack(stack, whole=False)) for part, stack in stacks.items()]


def _refused(findings: Sequence[DicomFinding]) -> bool:
    return any(finding.severity == "refused" for finding in findings)


def _choose(folder: DicomFolder, wanted: str | int | None) -> DicomSeries:
    where = str(folder.path)
    if not folder.series:
        reasons = "; ".join(finding.message for finding in folder.quarantine) or "no file at all"
        raise ImageError("The folder holds no DICOM series.", found=reasons, where=where)
    if wanted is None:
        # A broken series still counts: taking the intact arterial phase instead of it would go unnoticed.
        # So does a slice that stands under another UID and has the number and description of the volume beside it.
        wholes = {(s.number, s.description) for s in folder.series if not _is_fragment(s)}
        candidates = [s for s in folder.series if not _is_fragment(s) or (s.number, s.description) in wholes]
        candidates = candidates or list(folder.series)
        if len(candidates) == 1:
            return candidates[0]
        raise ImageError(
            f"The folder holds {len(candidates)} series or phases; which one is meant?",
            found=folder.listing(),
            where=where,
            remedy="name one by its number, words of its description or its UID: --series at the command line, "
            "images.sequences.NAME.series in the study file, series= in Python; or give a folder that holds it alone",
        )
    matches = _matching(folder.series, str(wanted))
    if len(matches) == 1:
        return matches[0]
    raise ImageError(
        f"{'No' if not matches else 'More than one'} series in the folder matches {str(wanted)!r}.",
        found=_listed(matches or folder.series),
        where=where,
        remedy=f"write {wanted!s}#1 for the first of them, #2 for the second" if matches else "name one of these",
    )


def _listed(series: Sequence[DicomSeries], most: int = 30) -> str:
    more = f"; and {len(series) - most} more" if len(series) > most else ""
    return "; ".join(item.label for item in series[:most]) + more


def _is_fragment(series: DicomSeries) -> bool:
    return any(finding.code == "too_few_slices" for finding in series.refusals)


def _matching(series: Sequence[DicomSeries], wanted: str) -> list[DicomSeries]:
    text, _, ordinal = wanted.rpartition("#") if re.search(r"#\s*\d+\s*$", wanted) else (wanted, "", "")
    text = text.strip().lower()
    found = [s for s in series if text in (s.uid.lower(), s.description.lower(), str(s.number), s.part.lower() or None)]
    # A number is that of a series: the digit of a description ("B20f 2.0") would be another series without a word.
    words = [] if text.isdecimal() else text.split()
    found = found or [s for s in series if words and text in s.description.lower()]
    found = found or [s for s in series if words and all(word in s.description.lower() for word in words)]
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
        "sideways_shift": "export the series again, as one acquisition; slices are never moved",
        "gantry_tilt": "correct the tilt first, for example with dcm2niix, and give the NIfTI file",
        "too_few_slices": "give the whole series",
        "mixed_identity": "sort the files: one folder a patient and series",
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
    array, notes = read_stack(slices)
    frames = {one.identity["FrameOfReferenceUID"] for one in slices}
    frame = frames.pop() if len(frames) == 1 else ""
    return Volume(array, _geometry(slices), notes, series.modality, frame)


def _geometry(slices: Sequence[DicomSlice]) -> Geometry:
    first, last = slices[0], slices[-1]
    step = (last.height - first.height) / (len(slices) - 1)
    axes = np.column_stack([first.row_axis, first.column_axis, first.normal])
    return Geometry(
        size=(first.columns, first.rows, len(slices)),
        spacing=(first.pixel_spacing[1], first.pixel_spacing[0], step),
        origin=(float(first.position[0]), float(first.position[1]), float(first.position[2])),
        direction=tuple((float(r[0]) + 0.0, float(r[1]) + 0.0, float(r[2]) + 0.0) for r in axes),
    )


def _same_pixels(first: DicomSlice, second: DicomSlice) -> bool:
    return bool(np.array_equal(read_pixels(first.path), read_pixels(second.path)))


def _integer(value: str) -> int | None:
    try:
        return int(value)
    except ValueError:
        return None
