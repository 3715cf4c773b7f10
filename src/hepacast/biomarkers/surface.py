"""Nodularity of the liver's surface: how far its edge leaves a smooth line, slice by slice."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from hepacast.biomarkers.definitions import Biomarker, Missing, Number
from hepacast.imaging.volume import Volume

BIOMARKERS = (
    Biomarker(
        "surface_nodularity",
        "Surface nodularity of the liver",
        "mm",
        "mean distance of the liver's edge from a smooth line (Gaussian of 4 mm along it), on up to 20 axial slices; "
        "voxels of at most 1.5 mm in the slice",
        "Smith AD et al., Radiology 2016;280:771-781",
    ),
)

#: Larger voxels do not show nodules of a few mm.
LARGEST_VOXEL_MM = 1.5
#: The edge is read from the mask smoothed by a part of a voxel; the line is the edge smoothed along itself.
_EDGE_VOXELS, _LINE_MM = 1.0, 4.0
#: Edges that leave the line by more are fissures and corners, no nodules.
_FISSURE_MM = 3.0
_SLICES, _LEAST_EDGE = 20, 200
#: Tumors bulge the surface: the edge this near to one is left out, mm.
_TUMOR_MM = 5.0


def nodularity(liver: Volume, tumors: npt.NDArray[np.bool_] | None = None) -> Number:
    """Mean distance (mm) of the liver's edge from a smooth line.

    Parameters
    ----------
    liver
        Mask of the whole liver; axial slices along k.
    tumors
        Voxels near which the edge is not counted.
    """
    column, row, _ = liver.spacing
    if abs(np.array(liver.geometry.direction)[2, 2]) < 0.7:
        return Missing("the slices are not axial")
    if max(row, column) > LARGEST_VOXEL_MM:
        return Missing(f"voxels of {max(row, column):.2g} mm in the slice do not show nodules")
    area = liver.array.sum(axis=(1, 2))
    usable = np.flatnonzero(area >= 0.25 * area.max())
    chosen = usable[np.unique(np.linspace(0, len(usable) - 1, min(_SLICES, len(usable))).round().astype(int))]
    parts = [
        _deviations(liver.array[k], None if tumors is None else tumors[k], np.array([row, column])) for k in chosen
    ]
    found = np.concatenate(parts) if parts else np.empty(0)
    if len(found) < _LEAST_EDGE:
        return Missing("too little of the liver's edge is in the image")
    return float(np.abs(found).mean())


def _deviations(
    inside: npt.NDArray[np.bool_], tumors: npt.NDArray[np.bool_] | None, steps: npt.NDArray[np.float64]
) -> npt.NDArray[Any]:
    """Signed distances (mm) of one slice's edge points from the smooth line."""
    from scipy import ndimage
    from scipy.spatial import cKDTree

    soft = ndimage.gaussian_filter(inside.astype(np.float32), _EDGE_VOXELS, mode="nearest")
    points = crossings(soft)
    within = np.all((points > 2) & (points < np.array(inside.shape) - 3), axis=1)
    points = points[within]
    if tumors is not None and tumors.any() and len(points):
        near = ndimage.distance_transform_edt(~tumors, sampling=steps)
        points = points[near[tuple(points.round().astype(int).T)] > _TUMOR_MM]
    if len(points) < 20:
        return np.empty(0)
    places = points * steps
    # Outward normal of each point, and the line: neighbors' mean weighted by their distance along the edge.
    gradient = np.stack([ndimage.sobel(soft, axis=axis, mode="nearest") / steps[axis] for axis in range(2)])
    normal = -np.stack([ndimage.map_coordinates(part, points.T, order=1) for part in gradient], axis=1)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    tree = cKDTree(places)
    pairs = tree.query_pairs(3 * _LINE_MM, output_type="ndarray")
    one, other = np.concatenate([pairs, pairs[:, ::-1]]).T
    # Neighbors across a fissure face the other way and are not the same edge.
    same = (normal[one] * normal[other]).sum(axis=1) > 0.5
    one, other = one[same], other[same]
    apart = places[other] - places[one]
    outward = (apart * normal[one]).sum(axis=1)
    weight = np.exp(-0.5 * (apart**2).sum(axis=1) / _LINE_MM**2)
    return _from_line(len(places), one, outward, np.einsum("nd,nd->n", apart, apart), weight)


def _from_line(
    count: int,
    one: npt.NDArray[Any],
    outward: npt.NDArray[Any],
    squared: npt.NDArray[Any],
    weight: npt.NDArray[Any],
) -> npt.NDArray[Any]:
    """Distance of each point from the parabola that fits its neighbors best: a smooth curve leaves it by nothing.

    Weighted least squares of the outward offset on 1 and the squared distance, point by point; the intercept is where
    the line passes the point.
    """
    terms = (np.ones_like(weight), squared, squared**2, outward, outward * squared)
    s0, s2, s4, t0, t2 = (np.bincount(one, weight * term, count).astype(np.float64) for term in terms)
    s0 = s0 + 1.0  # the point itself, offset 0
    determinant = s0 * s4 - s2**2
    good = determinant > 1e-9 * np.maximum(s0 * s4, 1e-12)
    intercept = np.full(count, np.nan)
    intercept[good] = (s4[good] * t0[good] - s2[good] * t2[good]) / determinant[good]
    found = -intercept[np.isfinite(intercept)]
    return found[np.abs(found) <= _FISSURE_MM]


def crossings(field: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Points (row, column) at which a field crosses one half between neighbors, by linear interpolation."""
    parts = []
    for axis in range(2):
        low = field[:-1] if axis == 0 else field[:, :-1]
        high = field[1:] if axis == 0 else field[:, 1:]
        at = np.argwhere((low >= 0.5) != (high >= 0.5))
        a, b = low[tuple(at.T)], high[tuple(at.T)]
        points = at.astype(np.float64)
        points[:, axis] += (0.5 - a) / (b - a)
        parts.append(points)
    return np.concatenate(parts)
