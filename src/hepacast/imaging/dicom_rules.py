"""The rules that make a stack of DICOM slices a volume, each a small function that yields findings.

Nothing here names a patient: slices are called by their position (mm along the stack) and instance number.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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

Severity = Literal["refused", "warning", "quarantined"]


@dataclass(frozen=True)
class DicomFinding:
    """One thing that is wrong with a series, or with files that were set aside.

    Parameters
    ----------
    code
        ``missing_slice``, ``uneven_spacing``, ``duplicate``, ``gantry_tilt``, ``mixed_size``, ``mixed_orientation``,
        ``several_acquisitions``, ``localizer``, ``not_dicom``, ``not_an_image``, ``no_position``, ``color``,
        ``too_few_slices``, ``fewer_than_announced``, ``no_rescale``, ``multiframe``.
    severity
        ``refused``: the series cannot be used; ``quarantined``: these files were set aside and the rest is used;
        ``warning``: the series is used as it is.
    message
        What was found, in words, without the patient's identity.
    files
        Paths concerned, relative to the scanned folder.
    position_mm
        Where along the stack, mm (the gap's lower edge, the duplicate's place).
    """

    code: str
    severity: Severity
    message: str
    files: tuple[str, ...] = ()
    position_mm: float | None = None


@dataclass(frozen=True)
class DicomSlice:
    """What the rules need to know of one single-frame image file."""

    path: Path
    relative: str
    uid: str
    instance: int | None
    position: npt.NDArray[np.float64]
    row_axis: npt.NDArray[np.float64]
    column_axis: npt.NDArray[np.float64]
    rows: int
    columns: int
    pixel_spacing: tuple[float, float]
    modality: str
    has_rescale: bool
    marks: dict[str, str]

    @property
    def normal(self) -> npt.NDArray[np.float64]:
        """Unit normal of the slice, LPS."""
        return np.cross(self.row_axis, self.column_axis)

    @property
    def height(self) -> float:
        """Position along the slice's own normal, mm."""
        return float(self.position @ self.normal)


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
)


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
    for one in sort_along_normal(slices):
        twins = [k for k in kept if abs(k.height - one.height) < SAME_POSITION_MM]
        if any(twin.uid == one.uid or same_pixels(twin, one) for twin in twins):
            dropped.append(one)
        else:
            kept.append(one)
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
    """
    if not _repeated(slices):
        return None
    for mark in PHASE_MARKS:
        parts: dict[str, list[DicomSlice]] = defaultdict(list)
        for one in slices:
            parts[one.marks.get(mark, "")].append(one)
        if len(parts) > 1 and not any(_repeated(part) for part in parts.values()):
            return mark, dict(sorted(parts.items(), key=lambda item: _natural(item[0])))
    return "", {}


def check_stack(slices: Sequence[DicomSlice], announced: int | None = None) -> list[DicomFinding]:
    """Rules for a sorted stack without duplicates: number of slices, gaps, uneven steps, tilt."""
    if len(slices) < 3:
        return [DicomFinding("too_few_slices", "refused", f"only {len(slices)} slices", _names(slices))]
    findings = [*_check_tilt(slices), *_check_steps(slices)]
    if announced is not None and announced > len(slices):
        message = f"{len(slices)} slices are here, the scanner announced {announced}: ends of the series may be missing"
        findings.append(DicomFinding("fewer_than_announced", "warning", message))
    if slices[0].modality == "CT" and not all(one.has_rescale for one in slices):
        message = "slices have no rescale slope and intercept: their values may not be Hounsfield units"
        findings.append(DicomFinding("no_rescale", "warning", message))
    return findings


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


def _check_tilt(slices: Sequence[DicomSlice]) -> list[DicomFinding]:
    normal = slices[0].normal
    travel = slices[-1].position - slices[0].position
    along = float(travel @ normal)
    sideways = float(np.linalg.norm(travel - along * normal))
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
