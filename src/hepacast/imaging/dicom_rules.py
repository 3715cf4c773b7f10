"""The rules that make a stack of DICOM slices a volume, each a small function that yields findings.

Nothing here names a patient: slices are called by their position (mm along the stack) and instance number.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

#: A step this many times the usual one is a missing slice.
MISSING_STEP = 1.5
#: Steps may differ from the usual one by this part of it, or by `ROUNDING_MM`: some scanners round positions to 0.1 mm.
UNEVEN_STEP = 0.05
ROUNDING_MM = 0.11
#: Two slices nearer than this are at one position, mm.
SAME_POSITION_MM = 0.01
#: Largest angle between the stack's direction and the slices' normal, degrees.
MAX_TILT_DEGREES = 0.2
#: At most this part of a series (and at most `MAX_STRAY` slices) may be set aside for another size or orientation.
STRAY_PART = 0.1
MAX_STRAY = 3
#: Acquisitions that share more than this part of their extent lie between each other and do not follow each other.
OVERLAP = 0.5
#: An attribute tells phases apart when its parts are at most this many times as many as the images of one position.
MAX_PARTS = 2

Severity = Literal["refused", "warning", "quarantined"]


@dataclass(frozen=True)
class DicomFinding:
    """One thing that is wrong with a series, or with files that were set aside.

    Parameters
    ----------
    code
        ``missing_slice``, ``uneven_spacing``, ``duplicate``, ``gantry_tilt``, ``mixed_size``, ``mixed_orientation``,
        ``several_acquisitions``, ``localizer``, ``not_dicom``, ``not_an_image``, ``no_position``, ``color``,
        ``too_few_slices``, ``fewer_than_announced``, ``wide_steps``, ``no_rescale``, ``several_rescales``,
        ``multiframe``, ``broken_value``, ``damaged``, ``mixed_identity``, ``uid_per_slice``, ``sideways_shift``,
        ``not_hounsfield``, ``lossy_compression``, ``mixed_images``.
    severity
        ``refused``: the series cannot be used; ``quarantined``: these files were set aside and the rest is used;
        ``warning``: the series is used as it is.
    message
        What was found, in words, without the patient's identity.
    files
        Paths concerned, relative to the scanned folder.
    position_mm
        Where along the stack, mm (the gap's lower edge, the duplicate's place).
    series
        UID of the series that files belong to which were set aside; empty where it is not known.
    """

    code: str
    severity: Severity
    message: str
    files: tuple[str, ...] = ()
    position_mm: float | None = None
    series: str = ""


@dataclass(frozen=True)
class DicomSlice:
    """What the rules need to know of one single-frame image file."""

    path: Path
    relative: str
    uid: str
    series: str
    description: str
    instance: int | None
    position: npt.NDArray[np.float64]
    row_axis: npt.NDArray[np.float64]
    column_axis: npt.NDArray[np.float64]
    rows: int
    columns: int
    pixel_spacing: tuple[float, float]
    modality: str
    #: Slope and intercept; None where one of them is missing.
    rescale: tuple[float, float] | None
    #: Stored value that means "no image", and the other end of the range of such values.
    padding: tuple[float, float] | None
    #: Images that the scanner says this acquisition has.
    announced: int | None
    #: Thickness, and distance to the next slice, as the header states them (mm); None where it does not.
    thickness: float | None
    distance: float | None
    #: What the header calls the values (Rescale Type); empty where it does not.
    value_type: str
    #: Whether the pixels were compressed with loss.
    lossy: bool
    identity: dict[str, str]
    marks: dict[str, str]

    @property
    def normal(self) -> npt.NDArray[np.float64]:
        """Unit normal of the slice, LPS."""
        return np.cross(self.row_axis, self.column_axis)

    @property
    def height(self) -> float:
        """Position along the slice's own normal, mm."""
        return float(self.position @ self.normal)


#: Attributes that all slices of a volume share, and what several of them are. Their values are never shown.
_IDENTITY_WORDS = {
    "Modality": "modalities",
    "PatientID": "patients",
    "PatientName": "patients",
    "PatientBirthDate": "patients",
    "StudyInstanceUID": "studies",
    "FrameOfReferenceUID": "frames of reference",
    "SeriesNumber": "series numbers",
    "SeriesDescription": "series descriptions",
}
IDENTITY = tuple(_IDENTITY_WORDS)
#: What puts slices in the order in which they were made, where no attribute tells phases apart.
ORDER_MARKS = (
    "AcquisitionDateTime",
    "AcquisitionTime",
    "ContentTime",
    "TriggerTime",
    "TemporalPositionIdentifier",
    "AcquisitionNumber",
    "InstanceNumber",
)
#: Attributes that tell phases, acquisitions, echoes or time points of one series apart, the most telling first.
PHASE_MARKS = (
    "AcquisitionNumber",
    "TemporalPositionIdentifier",
    "EchoTime",
    "TriggerTime",
    "ContrastBolusAgent",
    "ImageType",
    "AcquisitionTime",
    "ConvolutionKernel",
    "DiffusionBValue",
    "KVP",
)
#: Attributes that all slices of one image share: the images of two reconstructions, energies or echoes are two volumes.
_ONE_VALUE = ("ConvolutionKernel", "KVP", "ContrastBolusAgent", "ImageType", "EchoTime", "DiffusionBValue")
#: MR slices lie between each other by acquisition, time and trigger (concatenations): there these are no two volumes.
_ORDER_OF_MR = ("AcquisitionNumber", "AcquisitionTime", "TriggerTime", "TemporalPositionIdentifier")


def check_identity(slices: Sequence[DicomSlice]) -> list[DicomFinding]:
    """Slices of one volume are of one patient, study, frame of reference and series number."""
    findings = []
    for name, word in _IDENTITY_WORDS.items():
        found = {one.identity.get(name, "") for one in slices}
        if len(found) < 2:
            continue
        if name.endswith("UID") and len(found) == len(slices):
            message = f"every slice has a {name} of its own: they are taken to lie where their headers say"
            findings.append(DicomFinding("uid_per_slice", "warning", message))
        else:
            message = f"slices of {len(found)} {word} ({name} differs) are mixed"
            findings.append(DicomFinding("mixed_identity", "refused", message))
    return findings


def sort_along_normal(slices: Sequence[DicomSlice]) -> list[DicomSlice]:
    """Slices from low to high along the normal; ties by instance number, then UID."""
    normal = slices[0].normal
    return sorted(slices, key=lambda s: (round(float(s.position @ normal), 4), s.instance or 0, s.uid))


def split_strays(slices: Sequence[DicomSlice]) -> tuple[list[DicomSlice], list[DicomFinding]]:
    """Set aside a few slices of another size or orientation; refuse a series that is evenly mixed."""
    kept, findings = list(slices), []
    rules: tuple[tuple[str, Callable[[DicomSlice], tuple[Any, ...]], str], ...] = (
        ("mixed_size", lambda s: (s.columns, s.rows, *np.round(s.pixel_spacing, 4)), "size"),
        ("mixed_orientation", lambda s: tuple(np.round([*s.row_axis, *s.column_axis], 2) + 0.0), "orientation"),
    )
    for code, key, word in rules:
        groups: dict[tuple[Any, ...], list[DicomSlice]] = defaultdict(list)
        for one in kept:
            groups[key(one)].append(one)
        if len(groups) == 1:
            continue
        ordered = sorted(groups.values(), key=len, reverse=True)
        strays = [one for group in ordered[1:] for one in group]
        if len(strays) <= min(MAX_STRAY, STRAY_PART * len(kept)):
            message = f"{len(strays)} of {len(kept)} slices have another {word} and were set aside"
            findings.append(DicomFinding(code, "quarantined", message, _names(strays)))
            kept = ordered[0]
        else:
            counts = " + ".join(str(len(group)) for group in ordered)
            message = f"the series mixes slices of {len(ordered)} {word}s ({counts} slices)"
            findings.append(DicomFinding(code, "refused", message, _names(strays)))
    return kept, findings


def drop_duplicates(
    slices: Sequence[DicomSlice], same_pixels: Callable[[DicomSlice, DicomSlice], bool]
) -> tuple[list[DicomSlice], list[DicomFinding]]:
    """Of slices at one position with equal pixels keep the first; different pixels are left for `split_phases`."""
    kept: list[DicomSlice] = []
    dropped: list[DicomSlice] = []
    heights: list[float] = []
    for one in sort_along_normal(slices):
        height = one.height
        twins = [kept[i] for i, other in enumerate(heights) if abs(other - height) < SAME_POSITION_MM]
        if any(same_pixels(twin, one) for twin in twins):
            dropped.append(one)
        else:
            kept.append(one)
            heights.append(height)
    if not dropped:
        return kept, []
    where = ", ".join(f"{one.height:.2f}" for one in dropped[:5])
    message = f"{len(dropped)} slices occur twice with the same pixels (at {where} mm); one of each is used"
    return kept, [DicomFinding("duplicate", "quarantined", message, _names(dropped), dropped[0].height)]


def split_phases(slices: Sequence[DicomSlice]) -> tuple[str, dict[str, list[DicomSlice]]] | None:
    """Tell phases that share positions apart.

    Returns
    -------
    None when no position occurs twice; else the attribute that separates them (empty when none does) and the parts.

    Notes
    -----
    A time in every slice, or in every few, separates slices and not phases: an attribute counts when its parts are at
    most `MAX_PARTS` times as many as the images of one position. One that gives just as many is preferred; next come
    the slices in the order in which they were made, a new phase beginning where a position comes again, if that gives
    as many.
    """
    if not _repeated(slices):
        return _interleaved(slices)
    most = _most_at_one_position(slices)
    divided = [(mark, _parts(slices, mark)) for mark in PHASE_MARKS]
    divided = [(mark, parts) for mark, parts in divided if not any(_repeated(part) for part in parts.values())]
    for mark, parts in divided:
        if len(parts) == most:
            return mark, parts
    for mark in ORDER_MARKS:
        runs = _runs(slices, mark)
        if len(runs) == most:
            return mark, {f"{run[0].marks[mark]} to {run[-1].marks[mark]}": run for run in runs}
    return next(((mark, parts) for mark, parts in divided if len(parts) <= MAX_PARTS * most), ("", {}))


def _parts(slices: Sequence[DicomSlice], mark: str) -> dict[str, list[DicomSlice]]:
    """Slices by an attribute's value, in the values' order."""
    parts: dict[str, list[DicomSlice]] = defaultdict(list)
    for one in slices:
        parts[one.marks.get(mark, "")].append(one)
    return dict(sorted(parts.items(), key=lambda item: _natural(item[0])))


def _interleaved(slices: Sequence[DicomSlice]) -> tuple[str, dict[str, list[DicomSlice]]] | None:
    """Two acquisitions whose slices lie between each other's: they share no position and are two volumes."""
    is_ct = slices[0].modality == "CT"
    for mark in PHASE_MARKS:
        parts = _parts(slices, mark)
        if (is_ct or mark not in _ORDER_OF_MR) and len(parts) > 1 and _lie_between(list(parts.values())):
            return mark, parts
    turns = _turns(slices) if is_ct else []
    if len(turns) > 1 and _lie_between(turns):
        return "InstanceNumber", {f"{run[0].instance} to {run[-1].instance}": run for run in turns}
    return None


def _lie_between(parts: Sequence[Sequence[DicomSlice]]) -> bool:
    """Whether parts that could each be a volume share more than `OVERLAP` of their extents."""
    if any(len(part) < 3 for part in parts):
        return False
    spans = sorted((min(one.height for one in part), max(one.height for one in part)) for part in parts)
    return all(
        min(high, other_high) - other_low > OVERLAP * min(high - low, other_high - other_low)
        for (low, high), (other_low, other_high) in pairwise(spans)
    )


def _turns(slices: Sequence[DicomSlice]) -> list[list[DicomSlice]]:
    """Slices in the order of their instance numbers, cut where the way turns; none where numbers are not known."""
    numbers = {one.instance for one in slices}
    if None in numbers or len(numbers) < max(len(slices), 2):
        return []
    ordered = sorted(slices, key=lambda one: one.instance or 0)
    runs = [[ordered[0]]]
    way = 0.0
    for before, one in pairwise(ordered):
        step = float(np.sign(one.height - before.height))
        if len(runs[-1]) > 1 and step != way:
            runs.append([])
        else:
            way = step
        runs[-1].append(one)
    return runs


def _runs(slices: Sequence[DicomSlice], mark: str) -> list[list[DicomSlice]]:
    """Slices in the order of an attribute, cut where a position comes again; none where the order is not known."""
    keys = [_natural(one.marks.get(mark, "")) for one in slices]
    if len(set(keys)) < len(keys) or float("inf") in [number for number, _ in keys]:
        return []
    runs: list[list[DicomSlice]] = [[]]
    for _, one in sorted(zip(keys, slices, strict=True), key=lambda pair: pair[0]):
        if any(abs(one.height - other.height) < SAME_POSITION_MM for other in runs[-1]):
            runs.append([])
        runs[-1].append(one)
    return runs


def _most_at_one_position(slices: Sequence[DicomSlice]) -> int:
    heights = np.sort([one.height for one in slices])
    ends = np.flatnonzero(np.diff(heights) >= SAME_POSITION_MM)
    return int(np.diff([-1, *ends, len(heights) - 1]).max())


def check_stack(slices: Sequence[DicomSlice], *, whole: bool = True) -> list[DicomFinding]:
    """Rules for a sorted stack without duplicates: number of slices, gaps, uneven steps, tilt, gray values.

    Parameters
    ----------
    whole
        Whether the stack is the series; a phase of it has fewer slices than the scanner announced.
    """
    if len(slices) < 3:
        return [DicomFinding("too_few_slices", "refused", f"only {len(slices)} slices", _names(slices))]
    findings = [*_check_tilt(slices), *_check_steps(slices)]
    announced = slices[0].announced
    if whole and announced is not None and announced > len(slices):
        message = f"{len(slices)} slices are here, the scanner announced {announced}: ends of the series may be missing"
        findings.append(DicomFinding("fewer_than_announced", "warning", message))
    findings += _check_left_out(slices, whole)
    return [*findings, *_check_scale(slices), *_check_mixture(slices)]


def _check_scale(slices: Sequence[DicomSlice]) -> list[DicomFinding]:
    """Gray values of all slices are on one scale, in CT that of Hounsfield, and are those that were measured."""
    findings = []
    is_ct, scales = slices[0].modality == "CT", {one.rescale for one in slices}
    if None in scales and len(scales) > 1 and (is_ct or scales != {None, (1.0, 0.0)}):
        count = sum(one.rescale is None for one in slices)
        message = f"{count} of {len(slices)} slices have no rescale slope and intercept: they are on another scale"
        findings.append(DicomFinding("no_rescale", "refused", message))
    elif is_ct and None in scales:
        message = "slices have no rescale slope and intercept: their values may not be Hounsfield units (HU)"
        findings.append(DicomFinding("no_rescale", "warning", message))
    elif is_ct and len(scales) > 1:
        message = f"slices have {len(scales)} different rescale slopes or intercepts: some may not be Hounsfield units"
        findings.append(DicomFinding("several_rescales", "warning", message))
    types = {one.value_type for one in slices} - {""}
    if is_ct and types - {"HU", "HU_MOD"}:
        message = f"the header says that the values are {', '.join(sorted(types))} (Rescale Type) and not HU"
        findings.append(DicomFinding("not_hounsfield", "warning", message))
    if count := sum(one.lossy for one in slices):
        message = f"{count} of {len(slices)} slices were compressed with loss: their gray values are not as measured"
        findings.append(DicomFinding("lossy_compression", "warning", message))
    return findings


def _check_mixture(slices: Sequence[DicomSlice]) -> list[DicomFinding]:
    """Tell where one part of the stack was made in another way than the rest."""
    found = {mark: sorted({one.marks.get(mark, "") or "(none)" for one in slices}) for mark in _ONE_VALUE}
    differ = [f"{mark}: {', '.join(values[:5])}" for mark, values in found.items() if len(values) > 1]
    if not differ:
        return []
    message = f"slices were made in different ways ({'; '.join(differ)}): several images may be mixed in this volume"
    return [DicomFinding("mixed_images", "warning", message)]


def _check_steps(slices: Sequence[DicomSlice]) -> list[DicomFinding]:
    heights = np.array([one.height for one in slices])
    steps = np.diff(heights)
    usual = float(np.median(steps))
    findings = []
    for index in np.flatnonzero(steps >= MISSING_STEP * usual):
        low, high = heights[index], heights[index + 1]
        number = max(1, round(steps[index] / usual) - 1)
        plural = "slice is" if number == 1 else "slices are"
        message = (
            f"{number} {plural} missing between {low:.2f} and {high:.2f} mm "
            f"(a step of {steps[index]:.2f} mm where {usual:.2f} mm is usual{_between(slices, int(index))})"
        )
        findings.append(DicomFinding("missing_slice", "refused", message, position_mm=float(low)))
    if findings:
        return findings
    worst = int(np.argmax(np.abs(steps - usual)))
    drift = np.abs(heights - np.linspace(heights[0], heights[-1], len(heights))).max()
    allowed = max(UNEVEN_STEP * usual, ROUNDING_MM)
    if abs(steps[worst] - usual) > allowed or drift > 2 * allowed:
        message = (
            f"slices are unevenly spaced: {steps[worst]:.2f} mm between {heights[worst]:.2f} and "
            f"{heights[worst + 1]:.2f} mm where {usual:.2f} mm is usual"
        )
        findings.append(DicomFinding("uneven_spacing", "refused", message, position_mm=float(heights[worst])))
    return findings


def _check_left_out(slices: Sequence[DicomSlice], whole: bool) -> list[DicomFinding]:
    """Slices that are left out evenly (every second one) leave even steps: the header's own distance tells."""
    first, step = slices[0], float(np.median(np.diff([one.height for one in slices])))
    numbers = np.diff([one.instance or 0 for one in slices])
    apart = f"slices are {step:.2f} mm apart"
    if first.distance and step >= MISSING_STEP * first.distance:
        message = f"{apart} where the header states {first.distance:.4g} mm: slices between them may be missing"
    elif first.thickness and step >= MISSING_STEP * first.thickness:
        message = f"{apart} and {first.thickness:.4g} mm thick: what lies between them was not imaged, or is missing"
    elif whole and first.modality == "CT" and abs(numbers[0]) > 1 and (numbers == numbers[0]).all():
        message = f"instance numbers go in steps of {abs(numbers[0])}: slices between them may be missing"
    else:
        return []
    return [DicomFinding("wide_steps", "warning", message)]


def _check_tilt(slices: Sequence[DicomSlice]) -> list[DicomFinding]:
    normal = slices[0].normal
    positions = np.array([one.position for one in slices])
    heights = positions @ normal
    aside = positions - np.outer(heights, normal)
    travel, along = aside[-1] - aside[0], float(heights[-1] - heights[0])
    # Slices of a tilted stack lie on a line, and one that was moved lies off it.
    off = np.linalg.norm(aside - aside[0] - np.outer((heights - heights[0]) / (along or 1.0), travel), axis=1)
    if off.max() > 2 * ROUNDING_MM:
        jumps = np.linalg.norm(np.diff(aside, axis=0), axis=1)
        place = int(np.argmax(jumps))
        message = (
            f"slices are shifted sideways against each other, by {jumps[place]:.2f} mm between {heights[place]:.2f} "
            f"and {heights[place + 1]:.2f} mm{_between(slices, place)}"
        )
        return [DicomFinding("sideways_shift", "refused", message, position_mm=float(heights[place]))]
    sideways = float(np.linalg.norm(travel))
    angle = float(np.degrees(np.arctan2(sideways, along)))
    if angle <= MAX_TILT_DEGREES:
        return []
    message = f"gantry tilt of {angle:.1f} degrees: the slices shift sideways by {sideways:.1f} mm over the stack"
    return [DicomFinding("gantry_tilt", "refused", message)]


def _between(slices: Sequence[DicomSlice], index: int) -> str:
    first, second = slices[index].instance, slices[index + 1].instance
    if first is None or second is None:
        return ""
    return f"; between instance numbers {first} and {second}"


def _repeated(slices: Sequence[DicomSlice]) -> bool:
    heights = np.sort([one.height for one in slices])
    return bool((np.diff(heights) < SAME_POSITION_MM).any())


def _names(slices: Sequence[DicomSlice]) -> tuple[str, ...]:
    return tuple(one.relative for one in slices)


def _natural(text: str) -> tuple[float, str]:
    try:
        return (float(text), text)
    except ValueError:
        return (float("inf"), text)
