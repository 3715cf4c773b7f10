"""Surface mesh of a mask: area, volume and largest diameters, without ever building the mesh.

A triangle's area depends on its cube's pattern only, and its share of the volume is linear in the cube's place, so
how often each pattern occurs and the sums of its places are enough; they are whole numbers, so nothing is lost by
the order of summation. Diameters need extreme vertices only: per plane the convex hull, over all planes the hulls'
vertices, far ones first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from hepacast.core.jit import jit
from hepacast.imaging.mesh_table import triangles

_NONE = np.iinfo(np.int32).max


@dataclass(frozen=True)
class Mesh:
    """Measures of the surface midway between voxels inside and outside.

    Parameters
    ----------
    volume
        mm^3.
    area
        mm^2.
    diameters
        Largest distance between two vertices (mm) with equal k, with equal j, with equal i, and of any two.
    """

    volume: float
    area: float
    diameters: tuple[float, float, float, float]


def measure_mesh(padded: npt.NDArray[np.uint8], spacing_kji: Sequence[float]) -> Mesh:
    """Area, volume and diameters of the mesh, equal to PyRadiomics' ``cShape.calculate_coefficients``.

    Parameters
    ----------
    padded
        1 inside and 0 outside, with at least one voxel inside, and none on the array's faces.
    spacing_kji
        Voxel size along each axis, mm.
    """
    nk, nj, ni = padded.shape
    patterns = np.zeros((256, 4), dtype=np.int64)
    # Vertices in half voxels; extremes of i by (k, j), and of j by (i, k)
    by_kj = np.empty((2 * nk, 2 * nj, 2), dtype=np.int32)
    by_ik = np.empty((2 * ni, 2 * nk, 2), dtype=np.int32)
    for extremes in (by_kj, by_ik):
        extremes[..., 0], extremes[..., 1] = _NONE, -1
    _scan_cubes(padded, np.empty(padded.shape[2], dtype=np.uint8), patterns, by_kj, by_ik)
    steps = np.asarray(spacing_kji, dtype=np.float64)
    area, volume = _area_and_volume(patterns, steps)
    return Mesh(volume, area, _diameters(by_kj, by_ik, steps / 2))


@lru_cache(maxsize=1)
def _triangles() -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    return triangles()


def _area_and_volume(patterns: npt.NDArray[np.int64], steps: npt.NDArray[np.float64]) -> tuple[float, float]:
    pattern, vertices = _triangles()
    a, b, c = (vertices[:, corner] * steps for corner in range(3))
    areas = 0.5 * np.linalg.norm(np.cross(a - c, b - c), axis=1)
    cubes = patterns[:128] + patterns[:127:-1]
    turned = patterns[:128] - patterns[:127:-1]  # the same surface with inside and outside exchanged
    # det(a + p, b + p, c + p) = det(a, b, c) + p . (a x b + b x c + c x a)
    local = np.einsum("td,td->t", np.cross(a, b), c)
    linear = (np.cross(a, b) + np.cross(b, c) + np.cross(c, a)) * steps
    volumes = turned[pattern, 0] * local + (turned[pattern, 1:] * linear).sum(axis=1)
    return float((cubes[pattern, 0] * areas).sum()), float(volumes.sum() / 6)


def _diameters(
    by_kj: npt.NDArray[np.int32], by_ik: npt.NDArray[np.int32], half: npt.NDArray[np.float64]
) -> tuple[float, float, float, float]:
    same_k, hulls = _widest_corners(by_kj, half[1], half[2])
    same_j, _ = _widest_corners(np.ascontiguousarray(by_kj.transpose(1, 0, 2)), half[0], half[2])
    same_i, _ = _widest_corners(by_ik, half[0], half[1])
    corners = hulls * half
    distance = np.linalg.norm(corners - corners.mean(axis=0), axis=1)
    order = np.argsort(-distance, kind="stable")
    largest = _widest(np.ascontiguousarray(corners[order]), distance[order])
    return (float(np.sqrt(same_k)), float(np.sqrt(same_j)), float(np.sqrt(same_i)), float(np.sqrt(largest)))


def _widest_corners(
    extremes: npt.NDArray[np.int32], row_step: float, column_step: float
) -> tuple[float, npt.NDArray[np.float64]]:
    """Largest squared distance within any plane, and the corners (plane, row, column) of all planes' hulls."""
    planes, height = extremes.shape[:2]
    hull = np.empty((2 * planes * height, 3))
    widest, corners = _widest_planes(extremes, row_step, column_step, hull, np.empty(height, dtype=np.int64))
    return widest, hull[:corners]


def widest_in_plane(
    low: npt.NDArray[np.integer], high: npt.NDArray[np.integer], row_step: float, column_step: float
) -> float:
    """Largest distance between points of one plane, given each row's first and last column (`_NONE`: no point)."""
    extremes = np.stack([low, high], axis=-1)[None].astype(np.int32)
    widest, _ = _widest_corners(extremes, row_step, column_step)
    return float(np.sqrt(widest))


@jit
def _extend(extremes, value):  # type: ignore[no-untyped-def]
    extremes[0] = min(extremes[0], value)
    extremes[1] = max(extremes[1], value)


@jit
def _scan_cubes(inside, left, patterns, by_kj, by_ik):  # type: ignore[no-untyped-def]
    """Count the patterns of the cubes on the surface, sum their places, and note the extreme vertices."""
    nk, nj, ni = inside.shape
    for k in range(nk - 1):
        for j in range(nj - 1):
            a, b, c, d = inside[k, j], inside[k, j + 1], inside[k + 1, j], inside[k + 1, j + 1]
            for i in range(ni):  # corners 0, 3, 4, 7 of the cube at i
                left[i] = a[i] | b[i] << 3 | c[i] << 4 | d[i] << 7
            for i in range(ni - 1):
                if (left[i] == 0 and left[i + 1] == 0) or (left[i] == 0x99 and left[i + 1] == 0x99):
                    continue
                here, there = np.int64(left[i]), np.int64(left[i + 1])  # corners 1, 2, 5, 6: the same at i + 1
                found = here | (there & 1) << 1 | (there >> 3 & 1) << 2 | (there >> 4 & 1) << 5 | (there >> 7) << 6
                patterns[found, 0] += 1
                patterns[found, 1] += k
                patterns[found, 2] += j
                patterns[found, 3] += i
                first = here & 1
                if first != there & 1:
                    _extend(by_kj[2 * k, 2 * j], 2 * i + 1)
                    _extend(by_ik[2 * i + 1, 2 * k], 2 * j)
                if first != here >> 3 & 1:
                    _extend(by_kj[2 * k, 2 * j + 1], 2 * i)
                    _extend(by_ik[2 * i, 2 * k], 2 * j + 1)
                if first != here >> 4 & 1:
                    _extend(by_kj[2 * k + 1, 2 * j], 2 * i)
                    _extend(by_ik[2 * i, 2 * k + 1], 2 * j)


@jit
def _chain(extremes, side, rows):  # type: ignore[no-untyped-def]
    """Rows whose first (side 0) or last (side 1) point is a corner of the plane's convex hull."""
    sign = 1 if side == 0 else -1
    n = 0
    for r in range(extremes.shape[0]):
        if extremes[r, 1] < 0:
            continue
        while n > 1:
            p, q = rows[n - 2], rows[n - 1]
            rise = np.int64(extremes[q, side]) - extremes[p, side]
            run = np.int64(extremes[r, side]) - extremes[p, side]
            if sign * (rise * (r - p) - run * (q - p)) < 0:
                break
            n -= 1
        rows[n] = r
        n += 1
    return n


@jit
def _widest_planes(extremes, row_step, column_step, hull, rows):  # type: ignore[no-untyped-def]
    """Largest squared distance within any plane, and how many corners there are in `hull`; `rows` is work space."""
    planes = extremes.shape[0]
    widest = 0.0
    total = 0
    for p in range(planes):
        first = total
        for side in range(2):
            n = _chain(extremes[p], side, rows)
            for r in range(n):
                hull[total, 0] = p
                hull[total, 1] = rows[r]
                hull[total, 2] = extremes[p, rows[r], side]
                total += 1
        for a in range(first, total):
            for b in range(first, a):
                dr = (hull[a, 1] - hull[b, 1]) * row_step
                dc = (hull[a, 2] - hull[b, 2]) * column_step
                widest = max(widest, dr * dr + dc * dc)
    return widest, total


@jit
def _widest(points, distance):  # type: ignore[no-untyped-def]
    """Largest squared distance of any two points, which are sorted by their distance to a center, far ones first."""
    widest = 0.0
    for a in range(points.shape[0]):
        for b in range(a):
            reach = distance[a] + distance[b]
            if reach * reach * (1 + 1e-9) < widest:
                break
            dk = points[a, 0] - points[b, 0]
            dj = points[a, 1] - points[b, 1]
            di = points[a, 2] - points[b, 2]
            widest = max(widest, dk * dk + dj * dj + di * di)
    return widest
