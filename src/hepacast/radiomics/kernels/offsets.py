"""Directions to neighbours, in the order in which PyRadiomics lists its angles."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import product

import numpy as np
import numpy.typing as npt


@lru_cache(maxsize=64)
def half_offsets(distances: tuple[int, ...] = (1,), flat_axis: int | None = None) -> npt.NDArray[np.int64]:
    """One of every pair of opposite neighbours, those that come later in memory.

    Parameters
    ----------
    distances
        Chebyshev distances in voxels.
    flat_axis
        Axis along which no neighbour is taken.

    Returns
    -------
    ndarray of int64, shape (n, 3)
        Offsets (k, j, i), from the largest to the smallest: 13 at distance 1, 4 in a plane. Read-only.
    """
    reach = max(distances)
    steps = range(reach, -reach - 1, -1)
    chosen = [
        offset
        for offset in product(steps, repeat=3)
        if offset > (0, 0, 0) and max(map(abs, offset)) in distances and (flat_axis is None or offset[flat_axis] == 0)
    ]
    result = np.array(chosen, dtype=np.int64).reshape(-1, 3)
    result.setflags(write=False)
    return result


def flat_offsets(offsets: npt.NDArray[np.int64], shape: Sequence[int]) -> npt.NDArray[np.int64]:
    """Offsets (k, j, i) as distances in the flattened array of `shape` (padded by at least their reach)."""
    return np.ascontiguousarray(offsets @ np.array([shape[1] * shape[2], shape[2], 1], dtype=np.int64))


def weights(
    offsets: npt.NDArray[np.int64], spacing_kji: Sequence[float], norm: str, *, decay: bool
) -> npt.NDArray[np.float64]:
    """Weight of every direction by the neighbour's distance in mm.

    Parameters
    ----------
    norm
        "manhattan", "euclidean", "infinity" or "no_weighting" (1 for all).
    decay
        True: exp(-distance^2) as PyRadiomics' GLCM; False: the distance itself as its GLRLM.
    """
    steps = np.abs(offsets) * np.asarray(spacing_kji, dtype=np.float64)
    if norm == "no_weighting":
        return np.ones(len(offsets))
    if norm == "euclidean":
        squared = (steps**2).sum(axis=1)
        return np.exp(-squared) if decay else np.sqrt(squared)
    length = steps.max(axis=1) if norm == "infinity" else steps.sum(axis=1)
    return np.exp(-(length**2)) if decay else length
