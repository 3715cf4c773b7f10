"""Resample images and masks, and turn a volume to standard axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from hepacast.errors import ImageError
from hepacast.imaging.volume import Geometry, Volume

Interpolator = Literal["nearest", "linear", "bspline"]


def resampled_geometry(geometry: Geometry, spacing: Sequence[float]) -> Geometry:
    """The grid of another spacing that covers the same box and has the same centre (IBSI's rule: n' = ceil(n s / s')).

    Raises
    ------
    ImageError
        The spacing is not three numbers above 0 mm.
    """
    new = np.array(spacing, dtype=float)
    if new.shape != (3,) or not np.isfinite(new).all() or new.min() <= 0:
        raise ImageError("Spacing is three numbers above 0 mm.", found=f"{tuple(spacing)}")
    old, size = np.array(geometry.spacing), np.array(geometry.size)
    # The slack keeps 10 voxels of 3 mm at 1 mm from becoming 31.
    count = np.maximum(np.ceil(size * old / new - 1e-6), 1).astype(int)
    first = 0.5 * (size - 1) * old - 0.5 * (count - 1) * new
    origin = np.array(geometry.origin) + np.array(geometry.direction) @ first
    return Geometry(
        size=(int(count[0]), int(count[1]), int(count[2])),
        spacing=(float(new[0]), float(new[1]), float(new[2])),
        origin=(float(origin[0]), float(origin[1]), float(origin[2])),
        direction=geometry.direction,
    )


def resample_image(
    image: Volume,
    *,
    spacing: Sequence[float] | None = None,
    reference: Volume | Geometry | None = None,
    interpolator: Interpolator = "linear",
    fill: float | None = None,
) -> Volume:
    """Resample an image to a spacing or onto another grid.

    Parameters
    ----------
    image
        The image.
    spacing
        New voxel size (i, j, k), mm; the new grid shares the old one's centre.
    reference
        Instead of `spacing`: the grid to take.
    interpolator
        ``nearest``, ``linear`` or ``bspline`` (cubic).
    fill
        Value outside the image; its minimum when not given.

    Returns
    -------
    Volume
        float32, except for ``nearest``, which keeps the type.
    """
    target = _target(image.geometry, spacing, reference)
    value = float(image.array.min()) if fill is None else fill
    source = image if interpolator == "nearest" else image.with_array(image.array.astype(np.float32))
    return _resample(source, target, interpolator, value)


def resample_mask(
    mask: Volume,
    *,
    spacing: Sequence[float] | None = None,
    reference: Volume | Geometry | None = None,
    threshold: float | None = None,
) -> Volume:
    """Resample a mask (or a label map) to a spacing or onto another grid.

    Parameters
    ----------
    mask
        Boolean or integer volume.
    spacing, reference
        As in `resample_image`.
    threshold
        For a boolean mask: interpolate linearly and keep voxels from this share on (0.5 is usual, IBSI). Without it
        the nearest voxel decides, which is the only way for label maps.

    Raises
    ------
    ImageError
        A threshold is given for a label map.
    """
    target = _target(mask.geometry, spacing, reference)
    if threshold is None:
        nearest = _resample(mask, target, "nearest", 0.0)
        return nearest.with_array(nearest.array.astype(mask.array.dtype))
    if mask.array.dtype != bool:
        raise ImageError("A threshold goes with a single boolean mask, not with a label map.")
    share = _resample(mask.with_array(mask.array.astype(np.float32)), target, "linear", 0.0)
    return share.with_array(share.array >= threshold - 1e-6)


def to_lps_axes(volume: Volume) -> Volume:
    """Turn and flip the array (no interpolation) so that i runs most to the left, j to the back, k to the head.

    Voxels keep their places in the patient; shown row by row, such a slice is in radiological convention (the
    patient's right on the picture's left, front on top).
    """
    return to_axes(volume, np.eye(3))


def to_axes(volume: Volume, axes: Any) -> Volume:
    """Turn and flip the array (no interpolation) so that i, j and k run as nearly as they can along other axes.

    Parameters
    ----------
    volume
        The image or mask; its voxels keep their places in the patient.
    axes
        3 x 3 matrix whose columns are the unit vectors to follow, LPS (`Geometry.direction`).
    """
    direction = np.array(volume.geometry.direction, dtype=float)
    along = np.array(axes, dtype=float).T @ direction
    axis_of = _best_axes(along)
    signs = [1.0 if along[row, axis_of[row]] >= 0 else -1.0 for row in range(3)]
    # Array axes are (k, j, i); geometry axes (i, j, k).
    array = volume.array.transpose([2 - axis_of[2], 2 - axis_of[1], 2 - axis_of[0]])
    array = array[tuple(slice(None, None, -1) if sign < 0 else slice(None) for sign in reversed(signs))]
    corner = np.zeros(3)
    for row, sign in enumerate(signs):
        if sign < 0:
            corner[axis_of[row]] = volume.geometry.size[axis_of[row]] - 1
    origin = (volume.geometry.affine_lps @ [*corner, 1.0])[:3]
    turned = direction[:, axis_of] * np.array(signs)
    geometry = Geometry(
        size=tuple(volume.geometry.size[axis] for axis in axis_of),  # type: ignore[arg-type]
        spacing=tuple(volume.spacing[axis] for axis in axis_of),  # type: ignore[arg-type]
        origin=(float(origin[0]), float(origin[1]), float(origin[2])),
        direction=tuple((float(r[0]) + 0.0, float(r[1]) + 0.0, float(r[2]) + 0.0) for r in turned),
    )
    return Volume(np.ascontiguousarray(array), geometry)


def _best_axes(along: Any) -> list[int]:
    """For each axis to follow (rows) the image axis (columns) that does it best, each used once."""
    from itertools import permutations

    orders = list(permutations(range(3)))
    fits = [sum(abs(float(along[row, order[row]])) for row in range(3)) for order in orders]
    return list(orders[int(np.argmax(fits))])


def _target(geometry: Geometry, spacing: Sequence[float] | None, reference: Volume | Geometry | None) -> Geometry:
    if (spacing is None) == (reference is None):
        raise ImageError("Give either a spacing or a reference grid.")
    if reference is not None:
        return reference.geometry if isinstance(reference, Volume) else reference
    assert spacing is not None
    return resampled_geometry(geometry, spacing)


def _resample(volume: Volume, target: Geometry, interpolator: Interpolator, fill: float) -> Volume:
    import SimpleITK as sitk

    kinds = {"nearest": sitk.sitkNearestNeighbor, "linear": sitk.sitkLinear, "bspline": sitk.sitkBSpline}
    if interpolator not in kinds:
        raise ImageError(f"The interpolator {interpolator!r} is not known.", expected=", ".join(kinds))
    result = sitk.Resample(
        volume.to_sitk(),
        target.size,
        sitk.Transform(),
        kinds[interpolator],
        target.origin,
        target.spacing,
        [value for row in target.direction for value in row],
        fill,
    )
    return Volume(sitk.GetArrayFromImage(result), target)
