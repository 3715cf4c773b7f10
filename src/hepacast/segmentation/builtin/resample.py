"""Resampling as the networks' training data were resampled: one axis at a time, grids centered on each other.

Coarser: each new voxel is the mean of the old ones under it (area weights). Finer: linear. What lies outside
counts as 0. Each axis is a sparse matrix, so the whole volume costs three products.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def rescale(
    array: npt.NDArray[np.floating], spacing: Sequence[float], target: Sequence[float]
) -> npt.NDArray[np.float32]:
    """Resample to another voxel size.

    Parameters
    ----------
    array
        Three axes.
    spacing, target
        Present and wanted voxel size along them, mm.
    """
    result = array.astype(np.float32, copy=False)
    for axis, (old, new) in enumerate(zip(spacing, target, strict=True)):
        zoom = old / new
        if zoom == 1.0:
            continue
        matrix = axis_matrix(result.shape[axis], zoom)
        moved = np.moveaxis(result, axis, 0)
        flat = matrix @ np.ascontiguousarray(moved).reshape(moved.shape[0], -1)
        result = np.moveaxis(flat.reshape(matrix.shape[0], *moved.shape[1:]), 0, axis)
    return np.ascontiguousarray(result, dtype=np.float32)


def axis_matrix(n: int, zoom: float):  # type: ignore[no-untyped-def]  # a scipy CSR matrix
    """Sparse matrix (new x old) that resamples one axis of `n` voxels by `zoom`."""
    return _finer(n, zoom) if zoom > 1 else _coarser(n, zoom)


def _finer(n: int, zoom: float):  # type: ignore[no-untyped-def]
    from scipy import sparse

    step = 1.0 / zoom
    size = math.ceil(n * zoom)
    centers = step * (np.arange(size) - 0.5 * size + 0.5) + 0.5 * n - 0.5
    low = np.floor(centers).astype(int)
    part = centers - low
    rows = np.concatenate([np.arange(size)] * 2)
    columns = np.concatenate([low, low + 1])
    weights = np.concatenate([1 - part, part])
    inside = (columns >= 0) & (columns < n)
    return sparse.csr_matrix((weights[inside].astype(np.float32), (rows[inside], columns[inside])), shape=(size, n))


def _coarser(n: int, zoom: float):  # type: ignore[no-untyped-def]
    from scipy import sparse

    size = math.ceil(n * zoom)
    edges = zoom * (np.arange(n + 1) - 0.5 * n) + 0.5 * size
    left, right = edges[:-1], edges[1:]
    first = np.clip(np.floor(left).astype(int), 0, size - 1)
    last = np.clip(np.ceil(right).astype(int) - 1, 0, size - 1)
    border = np.ceil(left)
    one = first == last
    # An old voxel is narrower than a new one, so it lies in one new voxel or in two.
    weight_first = np.where(one, zoom, border - left)
    weight_last = np.where(one, 0.0, right - border)
    columns = np.arange(n)
    rows = np.concatenate([first, last])
    weights = np.concatenate([weight_first, weight_last]).astype(np.float32)
    return sparse.csr_matrix((weights, (rows, np.concatenate([columns, columns]))), shape=(size, n))


def onto_grid(
    mask: npt.NDArray[np.bool_],
    voxel_mm: Sequence[float],
    shape: Sequence[int],
    spacing: Sequence[float],
    threshold: float = 0.5,
) -> npt.NDArray[np.bool_]:
    """Bring a mask back to the image's voxels, linearly, grids centered on each other.

    Parameters
    ----------
    mask
        On voxels of `voxel_mm`, made by `rescale` from a grid of `shape` and `spacing`.
    threshold
        A voxel belongs to the mask when its interpolated value is larger.
    """
    result = mask.astype(np.float32)
    for axis in range(3):
        zoom = voxel_mm[axis] / spacing[axis]
        matrix = _linear(result.shape[axis], shape[axis], zoom)
        moved = np.moveaxis(result, axis, 0)
        flat = matrix @ np.ascontiguousarray(moved).reshape(moved.shape[0], -1)
        result = np.moveaxis(flat.reshape(shape[axis], *moved.shape[1:]), 0, axis)
    return result > threshold


def _linear(n: int, size: int, zoom: float):  # type: ignore[no-untyped-def]
    """Linear interpolation from `n` voxels to `size` voxels that are `zoom` times as fine; edges repeat."""
    from scipy import sparse

    centers = (np.arange(size) - 0.5 * size + 0.5) / zoom + 0.5 * n - 0.5
    centers = np.clip(centers, 0, n - 1)
    low = np.minimum(np.floor(centers).astype(int), max(n - 2, 0))
    part = centers - low
    rows = np.concatenate([np.arange(size)] * 2)
    columns = np.concatenate([low, np.minimum(low + 1, n - 1)])
    weights = np.concatenate([1 - part, part]).astype(np.float32)
    return sparse.csr_matrix((weights, (rows, columns)), shape=(size, n))
