"""Masks on their image's grid: voxel for voxel, never interpolated unless that is asked for.

A mask file may hold the image's voxels in another order (rows reversed, axes permuted: converters from DICOM do so)
or, where its program crops what it writes (3D Slicer), only a box of them. Such voxels have the very centres of the
image's and are put in their places. Everything else is refused with the distance in mm.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hepacast.errors import GeometryError
from hepacast.imaging.resample import resample_mask, to_axes
from hepacast.imaging.volume import SAME_GRID_MM, Geometry, Volume

#: Share of a voxel by which a resampled mask's box may lie beyond the image (PyRadiomics' tolerance).
_BEYOND = 1e-3


def place_mask(
    image: Volume,
    mask: Volume,
    *,
    cropped: bool = False,
    correct: bool = False,
    overlay_path: str | Path | None = None,
    what: str = "the mask",
    where: str | None = None,
) -> Volume:
    """The mask on the image's grid.

    Parameters
    ----------
    image, mask
        The pair; the mask is boolean or holds labels.
    cropped
        The mask may hold a box of the image's voxels only; the rest is background.
    correct
        A mask of another grid is resampled by the nearest voxel, as PyRadiomics does with ``correctMask``.
    overlay_path
        PNG to write on a mismatch: an image slice with the mask drawn at its own place in the patient.
    what, where
        Words for the message.

    Returns
    -------
    Volume
        The mask's values with the image's geometry.

    Raises
    ------
    GeometryError
        A voxel's centre lies more than `SAME_GRID_MM` away from the image's (with the distance in mm, and the PNG's
        path); or a mask to be corrected lies partly outside the image.
    """
    if image.geometry.is_same(mask.geometry):
        return Volume(mask.array, image.geometry)
    turned = to_axes(mask, image.geometry.direction)
    corner = _corner(image.geometry, turned.geometry)
    if corner is not None and turned.geometry.size == image.geometry.size and not any(corner):
        return Volume(turned.array, image.geometry)
    part = corner is not None and _lies_within(corner, turned.geometry, image.geometry)
    if part and cropped:
        return _padded(image.geometry, turned, corner or (0, 0, 0))
    if correct:
        _require_inside(image.geometry, mask, what, where)
        return resample_mask(mask, reference=image)
    try:
        image.geometry.require_same(turned.geometry, what=what, where=where)
    except GeometryError as error:
        if part:
            error = _with_remedy(
                error, "its voxels are a part of the image's: correctMask: true in the feature settings takes it"
            )
        raise _drawn(error, image, mask, overlay_path) from None
    return Volume(turned.array, image.geometry)


def _corner(image: Geometry, mask: Geometry) -> tuple[int, int, int] | None:
    """Where the mask's first voxel lies among the image's (i, j, k), if all its voxels are voxels of that grid."""
    place = (np.linalg.inv(image.affine_lps) @ [*mask.origin, 1.0])[:3]
    start = np.rint(place)
    origin = image.affine_lps @ [*start, 1.0]
    box = Geometry(mask.size, image.spacing, tuple(origin[:3]), image.direction)
    if not np.isfinite(place).all() or box.corner_offset_mm(mask) > SAME_GRID_MM:
        return None
    return (int(start[0]), int(start[1]), int(start[2]))


def _lies_within(corner: Sequence[int], mask: Geometry, image: Geometry) -> bool:
    ends = zip(corner, mask.size, image.size, strict=True)
    return all(start >= 0 and start + length <= size for start, length, size in ends)


def _padded(image: Geometry, mask: Volume, corner: Sequence[int]) -> Volume:
    """The box of voxels in its place, background around it."""
    array = np.zeros(image.shape, dtype=mask.array.dtype)
    box = tuple(slice(start, start + n) for start, n in zip(corner[::-1], mask.array.shape, strict=True))
    array[box] = mask.array
    return Volume(array, image)


def _require_inside(image: Geometry, mask: Volume, what: str, where: str | None) -> None:
    """What PyRadiomics requires of a mask that it resamples: both ends of its box lie within the image's voxels."""
    used = np.argwhere(mask.array)
    if not len(used):
        return
    ends = np.column_stack([used.min(axis=0)[::-1] - 0.5, used.max(axis=0)[::-1] + 0.5])
    points = (np.linalg.inv(image.affine_lps) @ mask.geometry.affine_lps @ np.vstack([ends, np.ones(2)]))[:3]
    size = np.array(image.size, dtype=float)[:, None]
    beyond = np.maximum(np.maximum(-0.5 - points, points - (size - 0.5)), 0.0).max(axis=1)
    if beyond.max() > _BEYOND:
        far = (beyond * image.spacing).max()
        raise GeometryError(
            f"{what[0].upper()}{what[1:]} cannot be corrected: it reaches {far:.2f} mm beyond the image.",
            expected="a mask that lies within the image",
            where=where,
            remedy="is it another patient's or another series' mask? Draw or export it on this image",
        )


def _with_remedy(error: GeometryError, more: str) -> GeometryError:
    remedy = f"{error.remedy}; {more}" if error.remedy else more
    return GeometryError(error.message, expected=error.expected, found=error.found, where=error.where, remedy=remedy)


def _drawn(error: GeometryError, image: Volume, mask: Volume, overlay_path: str | Path | None) -> GeometryError:
    """The error with a picture of where the mask lies, so that the shift can be seen."""
    if overlay_path is None:
        return error
    from hepacast.imaging.overlay import mismatch_png

    mismatch_png(image, mask, overlay_path, title=error.message)
    return _with_remedy(error, f"the picture {overlay_path} shows the mask where its own header puts it")
