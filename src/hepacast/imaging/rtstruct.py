"""DICOM RTSTRUCT in: the contours of each region of interest (ROI) become a mask on the image's grid.

A voxel belongs to a ROI when its centre lies inside an odd number of the ROI's contours of its slice, so that a contour
inside another one is a hole (DICOM PS3.3 C.8.8.6; a hole that is joined to the outer contour by a channel of no width
works as well). A centre on a contour's lower edge belongs to it, on its upper edge not: two regions that share a border
share no voxel, and a rectangle of whole voxels has exactly their volume.
"""

from __future__ import annotations

from collections.abc import Container
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hepacast.errors import GeometryError, ImageError
from hepacast.imaging.dicom_header import RTSTRUCT_CLASS, modality_of, read_dataset, refuse_damage, shown, text, values
from hepacast.imaging.segment_names import numbered
from hepacast.imaging.volume import Volume

#: Contours may lie this far from the middle of their slice, mm: planning systems round positions to 0.1 mm.
OFF_SLICE_MM = 0.11
#: Voxels that two contours of a slice may share by rounding, although neither lies inside the other.
MOST_SHARED = 3
_CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")

#: Points (n, 3) of one contour in voxel coordinates (i, j, k).
Points = npt.NDArray[np.float64]


def roi_names(path: str | Path) -> dict[int, str]:
    """ROI numbers and names; a name that is used twice gets its number: ``"GTV (3)"``.

    Raises
    ------
    ImageError
        The file is damaged or is no RTSTRUCT.
    """
    path = Path(path)
    with refuse_damage(path, "RTSTRUCT"):
        rois = _load(path).StructureSetROISequence
        found = [(int(roi.ROINumber), shown(str(roi.get("ROIName") or "")) or "ROI") for roi in rois]
    return {number: name for name, number in numbered(found).items()}


def read_rtstruct(
    path: str | Path, reference: Volume, numbers: Container[int] | None = None
) -> tuple[dict[str, Volume], tuple[str, ...]]:
    """Read every ROI that has closed planar contours as a boolean mask on the image's grid.

    Parameters
    ----------
    path
        A DICOM RTSTRUCT file.
    reference
        The image on which the contours were drawn.
    numbers
        Only these ROIs: a plan holds dozens, each as large as the image.

    Returns
    -------
    tuple
        Masks by ROI name (see `roi_names`), without ROIs of points alone (isocenter, markers), which have no volume;
        and what to tell about slices without a contour.

    Raises
    ------
    ImageError
        The file is damaged, is no RTSTRUCT, has no closed contour, or a ROI has open ones.
    GeometryError
        The contours are of another frame of reference, lie between or beyond the image's slices, or are not parallel to
        them (with the distance in mm).
    """
    path = Path(path)
    names = roi_names(path)
    with refuse_damage(path, "RTSTRUCT"):
        dataset = _load(path)
        found = _contours(dataset, path, numbers)
        _require_same_frame(dataset, reference, path, found)
    masks: dict[str, Volume] = {}
    notes: list[str] = []
    order = _order_of_axes([points for contours in found.values() for points in contours], reference)
    shape = tuple(reference.geometry.size[axis] for axis in reversed(order))
    for number, contours in found.items():
        name = names.get(number, f"ROI ({number})")
        placed = [_placed(points, reference, order, f"{path}, ROI {name!r}") for points in contours]
        single = _without_copies(placed)
        array = fill_contours(single, (shape[0], shape[1], shape[2]))
        if len(single) < len(placed):
            notes.append(f"ROI {name!r} has {len(placed) - len(single)} contours twice: one of each is used")
        notes += [*_crossing(single, (shape[0], shape[1], shape[2]), name), *_missing_slices(array, name, path)]
        # From (slice, row, column) of the contours' planes to (k, j, i) of the image.
        masks[name] = Volume(array.transpose([2 - order.index(axis) for axis in (2, 1, 0)]), reference.geometry)
    if not masks and numbers is None:
        raise ImageError(
            "The RTSTRUCT holds no closed contour.",
            expected="CLOSED_PLANAR contours of at least one ROI",
            found=", ".join(names.values()) or "no ROI",
            where=str(path),
        )
    return masks, tuple(notes)


def fill_contours(contours: list[Points], shape: tuple[int, int, int]) -> npt.NDArray[np.bool_]:
    """Voxels whose centres lie inside an odd number of contours.

    Parameters
    ----------
    contours
        Closed polygons in voxel coordinates (column, row, slice), each in one slice.
    shape
        Of the array, (slice, row, column).
    """
    filled = np.zeros(shape, bool)
    for k, polygons in _by_slice(contours).items():
        filled[k] = _inside(polygons, shape)
    return filled


def _by_slice(contours: list[Points]) -> dict[int, list[Points]]:
    found: dict[int, list[Points]] = {}
    for points in contours:
        found.setdefault(int(np.rint(points[:, 2].mean())), []).append(points)
    return found


def _inside(polygons: list[Points], shape: tuple[int, int, int]) -> npt.NDArray[np.bool_]:
    """Voxels of one slice that lie inside an odd number of polygons."""
    crossings = np.zeros((shape[1], shape[2] + 1), np.int32)
    for points in polygons:
        _count_crossings(np.round(points[:, :2], 6), crossings)
    return np.asarray(np.cumsum(crossings, axis=1)[:, :-1] % 2 == 1)


def _without_copies(contours: list[Points]) -> list[Points]:
    """The contours, each once: a copy would make a hole of the whole region."""
    found = {np.unique(np.round(points, 3), axis=0).tobytes(): points for points in reversed(contours)}
    return list(found.values())[::-1]


def _crossing(contours: list[Points], shape: tuple[int, int, int], name: str) -> list[str]:
    """Tell of slices in which two contours cross, so that what they share counts as a hole, although none is drawn."""
    count = 0
    for polygons in _by_slice(contours).values():
        parts = [_inside([points], shape) for points in polygons] if len(polygons) > 1 else []
        sizes = [int(part.sum()) for part in parts]
        pairs = combinations(zip(parts, sizes, strict=True), 2)
        count += any(MOST_SHARED < (a & b).sum() < min(m, n) - MOST_SHARED for (a, m), (b, n) in pairs)
    if not count:
        return []
    return [f"contours of ROI {name!r} cross in {count} slice{'s' * (count > 1)}: what two of them share is left out"]


def _count_crossings(polygon: npt.NDArray[np.float64], plane: npt.NDArray[np.int32]) -> None:
    """Add one to the first voxel of each row that lies at or beyond each crossing of the row with the polygon."""
    rows, columns = plane.shape[0], plane.shape[1] - 1
    ends = np.roll(polygon, -1, axis=0)
    first = np.maximum(np.ceil(np.minimum(polygon[:, 1], ends[:, 1])), 0).astype(int)
    last = np.minimum(np.ceil(np.maximum(polygon[:, 1], ends[:, 1])), rows).astype(int)
    counts = np.maximum(last - first, 0)
    edge = np.repeat(np.arange(len(polygon)), counts)
    row = first[edge] + np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts)
    start, end = polygon[edge], ends[edge]
    share = (row - start[:, 1]) / (end[:, 1] - start[:, 1])
    column = np.ceil(np.round(start[:, 0] + share * (end[:, 0] - start[:, 0]), 6))
    np.add.at(plane, (row, np.clip(column, 0, columns).astype(int)), 1)


def _load(path: Path) -> Any:
    dataset = read_dataset(path)
    if dataset is None:
        raise _damaged(path, "no readable DICOM file")
    if text(dataset, "SOPClassUID") != RTSTRUCT_CLASS and modality_of(dataset) != "RTSTRUCT":
        raise ImageError(
            "The file is no DICOM RTSTRUCT.",
            found=f"modality {modality_of(dataset) or 'unknown'}",
            where=str(path),
        )
    if not values(dataset, "StructureSetROISequence") or not values(dataset, "ROIContourSequence"):
        raise _damaged(path, "no ROI or no contour")
    return dataset


def _damaged(path: Path, found: str) -> ImageError:
    return ImageError(
        "The RTSTRUCT is damaged or incomplete.", found=found, where=str(path), remedy="copy or export it again"
    )


def _require_same_frame(dataset: Any, reference: Volume, path: Path, drawn: Container[int]) -> None:
    """Where both files name their frame of reference, it is one; a NIfTI image names none and its grid must do."""
    own = text(dataset, "FrameOfReferenceUID")
    rois = [roi for roi in dataset.StructureSetROISequence if int(roi.ROINumber) in drawn]
    frames = {int(roi.ROINumber): text(roi, "ReferencedFrameOfReferenceUID") or own for roi in rois}
    others = [number for number, frame in frames.items() if frame and reference.frame and frame != reference.frame]
    if others:
        names = ", ".join(str(number) for number in others[:20])
        raise GeometryError(
            "The contours are of another frame of reference than the image.",
            expected="contours drawn on this very series or on one of its examination",
            found=f"a different FrameOfReferenceUID of ROI {names}",
            where=str(path),
            remedy="give the RTSTRUCT of this examination, or transfer its contours to this image first",
        )


def _contours(dataset: Any, path: Path, wanted: Container[int] | None) -> dict[int, list[Points]]:
    """Contours by ROI number, in millimeters."""
    found: dict[int, list[Points]] = {}
    for item in dataset.ROIContourSequence:
        number = int(item.ReferencedROINumber)
        if wanted is not None and number not in wanted:
            continue
        parts = [(str(part.ContourGeometricType), part.ContourData) for part in item.get("ContourSequence") or ()]
        shapes = [(kind, np.array([float(v) for v in data], float)) for kind, data in parts]
        closed = []
        for kind, flat in shapes:
            if kind == "POINT":
                continue
            if kind not in _CLOSED:
                raise ImageError(
                    f"ROI {number} of the RTSTRUCT has contours that enclose nothing ({shown(kind)}).",
                    expected="CLOSED_PLANAR",
                    where=str(path),
                    remedy="close the contours in the planning system, or export the structure as a label map",
                )
            if len(flat) % 3 or not np.isfinite(flat).all():
                raise _damaged(path, f"a contour of ROI {number} is not made of points of three numbers")
            if len(flat) >= 9:  # fewer points enclose nothing
                closed.append(flat.reshape(-1, 3))
        if closed:
            found.setdefault(number, []).extend(closed)
    return found


def _order_of_axes(contours: list[Points], reference: Volume) -> list[int]:
    """The image's axes as columns, rows and slices of the contours: images may be stored with their axes exchanged."""
    if not contours:
        return [0, 1, 2]
    spans = [np.ptp(_to_index(points, reference), axis=0) * reference.geometry.spacing for points in contours]
    across = int(np.argmin(np.median(spans, axis=0)))
    return [axis for axis in (0, 1, 2) if axis != across] + [across]


def _to_index(points: Points, reference: Volume) -> Points:
    """Millimeters (LPS) to voxel coordinates (i, j, k)."""
    homogeneous = np.column_stack([points, np.ones(len(points))])
    return np.asarray(homogeneous @ np.linalg.inv(reference.geometry.affine_lps).T)[:, :3]


def _placed(points: Points, reference: Volume, order: list[int], where: str) -> Points:
    """A contour in voxel coordinates (column, row, slice), on its slice and inside the image."""
    index = _to_index(points, reference)[:, order]
    size, spacing = (np.array(values)[order] for values in (reference.geometry.size, reference.geometry.spacing))
    level = np.rint(np.median(index[:, 2]))
    off = float(np.abs(index[:, 2] - level).max()) * spacing[2]
    beyond = np.maximum(np.maximum(-0.5 - index, index - size + 0.5), 0).max(axis=0) * spacing
    beyond[2] = max(0.0, -level, level - size[2] + 1) * spacing[2]
    if beyond.max() > OFF_SLICE_MM:
        raise GeometryError(
            f"A contour lies {float(beyond.max()):.2f} mm outside the image.",
            where=where,
            remedy="use the RTSTRUCT that was drawn on this very series",
        )
    if off > OFF_SLICE_MM:
        raise GeometryError(
            f"A contour lies {off:.2f} mm away from the image's nearest slice, or is not parallel to the slices.",
            expected=f"contours in slices that are {spacing[2]:.3f} mm apart",
            where=where,
            remedy="use the series on which the contours were drawn",
        )
    index[:, 2] = level
    return index


def _missing_slices(array: npt.NDArray[np.bool_], name: str, path: Path) -> list[str]:
    """Tell of slices between two whose regions overlap and that have no contour; refuse where every other lacks it."""
    slices = np.flatnonzero(array.any(axis=(1, 2)))
    steps = np.diff(slices)
    bridged = [int(b - a - 1) for a, b in pairwise(slices) if b - a > 1 and (array[a] & array[b]).any()]
    if not bridged:
        return []
    if len(slices) > 2 and len(bridged) == len(steps):
        raise ImageError(
            f"ROI {name!r} has a contour in every {int(np.median(steps))}. slice only.",
            expected="a contour in every slice: the volume between them is not known",
            found=f"{len(slices)} slices with and {sum(bridged)} without a contour between the first and the last",
            where=str(path),
            remedy="interpolate the contours in the planning system, or export the structure as a label map",
        )
    plural = "slice" if sum(bridged) == 1 else "slices"
    return [f"ROI {name!r} has no contour in {sum(bridged)} {plural} between slices that have one: they count as empty"]
