"""DICOM SEG in: sparse and overlapping segments become named masks on the image's grid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hepacast.errors import GeometryError, ImageError
from hepacast.imaging.dicom_header import class_of, modality_of, read_dataset, refuse_damage, shown, text
from hepacast.imaging.segment_names import numbered
from hepacast.imaging.volume import SAME_GRID_MM, Geometry, Volume

#: More slices are a damaged position, for which gigabytes would be asked.
MAX_SLICES = 8192


def is_dicom_seg(path: str | Path) -> bool:
    """Whether a file is a DICOM segmentation."""
    return class_of(path) == "SEG"


def segment_names(path: str | Path) -> dict[int, str]:
    """Segment numbers and labels; a label that is used twice gets its number: ``"Liver (3)"``."""
    with refuse_damage(Path(path), "SEG"):
        return _names(_load(Path(path)))


def frame_note(path: str | Path, reference: Volume) -> tuple[str, ...]:
    """A word where SEG and image name different frames of reference, although the SEG may lie on the image's grid."""
    dataset = read_dataset(Path(path), tags=["FrameOfReferenceUID"])
    own = text(dataset, "FrameOfReferenceUID") if dataset is not None else ""
    if not own or not reference.frame or own == reference.frame:
        return ()
    return ("the DICOM SEG names another frame of reference than the image: was it drawn on this examination?",)


def referenced_images(path: str | Path) -> tuple[frozenset[str], frozenset[str]]:
    """Instances that the frames of a SEG were drawn on, and the series that it names.

    Where no frame says what it was drawn on, the instances are those that the SEG names for itself.

    Raises
    ------
    ImageError
        The file is damaged or is not a SEG.
    """
    tags = ["SegmentSequence", "PerFrameFunctionalGroupsSequence", "ReferencedSeriesSequence"]
    with refuse_damage(Path(path), "SEG"):
        dataset = _load(Path(path), tags=tags)
        named = list(dataset.get("ReferencedSeriesSequence") or ())
        drawn = {
            text(source, "ReferencedSOPInstanceUID")
            for group in dataset.PerFrameFunctionalGroupsSequence
            for derivation in group.get("DerivationImageSequence") or ()
            for source in derivation.get("SourceImageSequence") or ()
        }
        whole = {
            text(item, "ReferencedSOPInstanceUID")
            for series in named
            for item in series.get("ReferencedInstanceSequence") or ()
        }
        return frozenset((drawn or whole) - {""}), frozenset(text(series, "SeriesInstanceUID") for series in named)


def read_dicom_seg(path: str | Path, reference: Volume | None = None) -> dict[str, Volume]:
    """Read every segment as a boolean mask; segments may overlap and may lack slices without voxels.

    Parameters
    ----------
    path
        A DICOM SEG file: binary, fractional (a voxel belongs from one half on) or label map.
    reference
        The image. The masks then lie on its grid, and frames that do not fall on its slices are refused. Without it
        the grid spans the frames that the file holds.

    Returns
    -------
    dict of str to Volume
        By segment label (see `segment_names`).

    Raises
    ------
    ImageError
        The file is damaged or is not a SEG.
    GeometryError
        A frame does not lie on the reference's grid (with the offset in mm).
    """
    with refuse_damage(Path(path), "SEG"):
        return _read(Path(path), reference)


def _read(path: Path, reference: Volume | None) -> dict[str, Volume]:
    dataset = _load(path)
    frames = _frames(dataset, path)
    geometry = reference.geometry if reference is not None else _own_geometry(dataset, path)
    names = _names(dataset)
    masks = {number: np.zeros(geometry.shape, dtype=bool) for number in names}
    transform = _frame_to_grid(dataset, geometry, path)
    for index, segments in _frame_segments(dataset).items():
        slice_index, flips = transform(index)
        pixels = frames[index]
        for axis in flips:
            pixels = np.flip(pixels, axis)
        for number in segments or names:
            masks[number][slice_index] |= pixels == number if not segments else pixels.astype(bool)
    return {names[number]: Volume(mask, geometry) for number, mask in masks.items()}


def _load(path: Path, *, tags: list[str] | None = None) -> Any:
    dataset = read_dataset(path, tags=tags)
    if dataset is None:
        raise ImageError("The DICOM SEG cannot be read.", where=str(path), remedy="copy or export it again")
    if "SegmentSequence" not in dataset or "PerFrameFunctionalGroupsSequence" not in dataset:
        raise ImageError(
            "The file is not a DICOM segmentation.",
            expected="a SEG object with segments and frames",
            found=f"modality {modality_of(dataset) or 'unknown'}",
            where=str(path),
        )
    return dataset


def _names(dataset: Any) -> dict[int, str]:
    items = [
        (int(item.SegmentNumber), shown(str(item.get("SegmentLabel") or "")) or "segment")
        for item in dataset.SegmentSequence
    ]
    named = {number: label for label, number in numbered(items).items()}
    return {n: label for n, label in named.items() if not (n == 0 and dataset.get("SegmentationType") == "LABELMAP")}


def _frames(dataset: Any, path: Path) -> npt.NDArray[Any]:
    try:
        pixels = np.asarray(dataset.pixel_array)
    except (ValueError, RuntimeError, AttributeError, NotImplementedError) as error:
        raise ImageError(
            "The DICOM SEG's frames are damaged or in an unknown compression.",
            found=type(error).__name__,
            where=str(path),
        ) from error
    pixels = pixels.reshape((-1, int(dataset.Rows), int(dataset.Columns)))
    expected = len(dataset.PerFrameFunctionalGroupsSequence)
    if len(pixels) != expected:
        raise ImageError(
            "The DICOM SEG is incomplete.",
            expected=f"{expected} frames",
            found=f"{len(pixels)}",
            where=str(path),
            remedy="copy or export it again",
        )
    if dataset.get("SegmentationType") == "FRACTIONAL":
        return (2 * pixels.astype(np.int64) >= int(dataset.get("MaximumFractionalValue") or 255)).astype(np.uint8)
    return pixels


def _frame_segments(dataset: Any) -> dict[int, list[int]]:
    """Segment numbers of each frame; an empty list means that the pixel values are segment numbers (label map)."""
    found = {}
    for index, group in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        items = group.get("SegmentIdentificationSequence") or _shared(dataset, "SegmentIdentificationSequence")
        is_labelmap = dataset.get("SegmentationType") == "LABELMAP" or not items
        found[index] = [] if is_labelmap else [int(items[0].ReferencedSegmentNumber)]
    return found


def _shared(dataset: Any, name: str) -> Any:
    groups = dataset.get("SharedFunctionalGroupsSequence")
    return groups[0].get(name) if groups else None


def _frame_position(dataset: Any, index: int, path: Path) -> npt.NDArray[np.float64]:
    group = dataset.PerFrameFunctionalGroupsSequence[index]
    plane = group.get("PlanePositionSequence") or _shared(dataset, "PlanePositionSequence")
    if not plane:
        raise ImageError("A frame of the DICOM SEG has no position.", where=f"{path}, frame {index + 1}")
    return np.array([float(v) for v in plane[0].ImagePositionPatient])


def _axes(dataset: Any, path: Path) -> tuple[npt.NDArray[np.float64], tuple[float, float]]:
    """Row and column axes and the normal (columns of a matrix), and pixel spacing (between columns, between rows)."""
    found = set()
    shared_plane, shared_measure = (
        _shared(dataset, f"{name}Sequence") for name in ("PlaneOrientation", "PixelMeasures")
    )
    for group in dataset.PerFrameFunctionalGroupsSequence:
        plane = shared_plane or group.get("PlaneOrientationSequence")
        measure = shared_measure or group.get("PixelMeasuresSequence")
        if not plane or not measure:
            raise ImageError("The DICOM SEG has no orientation or voxel size.", where=str(path))
        values = (*plane[0].ImageOrientationPatient, *measure[0].PixelSpacing)
        found.add(tuple(round(float(value), 4) for value in values))
    if len(found) != 1:
        raise ImageError(
            "The frames of the DICOM SEG differ in orientation or voxel size.",
            expected="one orientation and one voxel size of all frames",
            found=f"{len(found)} different ones",
            where=str(path),
            remedy="export the segmentation of one series",
        )
    across, down, spacing = np.split(np.array(values, dtype=float), [3, 6])
    return np.column_stack([across, down, np.cross(across, down)]), (float(spacing[1]), float(spacing[0]))


def _own_geometry(dataset: Any, path: Path) -> Geometry:
    axes, (across, down) = _axes(dataset, path)
    count = len(dataset.PerFrameFunctionalGroupsSequence)
    positions = np.array([_frame_position(dataset, index, path) for index in range(count)])
    heights = positions @ axes[:, 2]
    levels = np.unique(np.round(heights, 3))
    measure = _shared(dataset, "PixelMeasuresSequence") or dataset.PerFrameFunctionalGroupsSequence[0].get(
        "PixelMeasuresSequence"
    )
    stated = measure[0].get("SpacingBetweenSlices") or measure[0].get("SliceThickness")
    stated = abs(float(stated)) if stated else None  # a sign tells the order of slices, which positions tell too
    step = float(np.diff(levels).min()) if len(levels) > 1 else stated or 1.0
    if stated and abs(float(np.rint(step / stated)) * stated - step) < SAME_GRID_MM:
        step = stated  # every second slice may be empty: the stated spacing is then the finer, true one
    if (levels[-1] - levels[0]) / step > MAX_SLICES:
        raise ImageError(
            "The DICOM SEG's frames lie too far apart for one volume.",
            expected=f"at most {MAX_SLICES} slices",
            found=f"frames over {levels[-1] - levels[0]:.6g} mm, {step:.6g} mm apart",
            where=str(path),
        )
    lowest = positions[int(np.argmin(heights))]
    return Geometry(
        size=(int(dataset.Columns), int(dataset.Rows), int(np.rint((levels[-1] - levels[0]) / step)) + 1),
        spacing=(across, down, step),
        origin=(float(lowest[0]), float(lowest[1]), float(lowest[2])),
        direction=tuple((float(r[0]), float(r[1]), float(r[2])) for r in axes),
    )


def _frame_to_grid(dataset: Any, geometry: Geometry, path: Path) -> Any:
    """A function: frame index -> (slice index in the grid, in-plane axes to flip); refuses frames off the grid."""
    axes, (across, down) = _axes(dataset, path)
    grid = np.array(geometry.direction, dtype=float)
    turn = grid.T @ axes
    signs = np.sign(np.diag(turn))
    spacing_off = max(
        abs(across - geometry.spacing[0]) * geometry.size[0], abs(down - geometry.spacing[1]) * geometry.size[1]
    )
    size = (int(dataset.Columns), int(dataset.Rows))
    if (
        size != geometry.size[:2]
        or not np.allclose(np.abs(turn), np.eye(3), atol=1e-3)
        or spacing_off > 10 * SAME_GRID_MM
    ):
        raise GeometryError(
            "The DICOM SEG's frames do not have the image's size, orientation or voxel size.",
            expected=f"{geometry.size[:2]} pixels of {geometry.spacing[:2]} mm",
            found=f"{size} pixels of {(across, down)} mm",
            where=str(path),
            remedy="use the SEG that was drawn on this very series",
        )
    to_index = np.linalg.inv(geometry.affine_lps)
    flips = tuple(axis for axis, sign in ((1, signs[0]), (0, signs[1])) if sign < 0)
    corner = np.array([(geometry.size[0] - 1) if signs[0] < 0 else 0, (geometry.size[1] - 1) if signs[1] < 0 else 0])

    def locate(index: int) -> tuple[int, tuple[int, ...]]:
        place = (to_index @ [*_frame_position(dataset, index, path), 1.0])[:3]
        level = int(np.rint(place[2]))
        offset = np.array([*(place[:2] - corner), place[2] - level]) * geometry.spacing
        if np.linalg.norm(offset) > 10 * SAME_GRID_MM or not 0 <= level < geometry.size[2]:
            distance = float(np.linalg.norm(offset))
            if not 0 <= level < geometry.size[2]:
                beyond = -level if level < 0 else level - geometry.size[2] + 1
                distance = max(distance, beyond * geometry.spacing[2])
            raise GeometryError(
                f"A frame of the DICOM SEG lies {distance:.2f} mm away from the image's nearest slice.",
                where=f"{path}, frame {index + 1}",
                remedy="use the SEG that was drawn on this very series",
            )
        return level, flips

    return locate
