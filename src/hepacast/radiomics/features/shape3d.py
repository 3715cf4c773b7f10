"""Three-dimensional shape: size and form of the VOI, whatever the image shows in it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hepacast.imaging.mesh import measure_mesh
from hepacast.radiomics.features.base import UndefinedError
from hepacast.radiomics.kernels.voi import Voi

#: PyRadiomics takes eigenvalues this little below 0 for rounding.
_ROUNDING = -1e-10


def shape3d(voi: Voi, spacing_kji: Sequence[float], names: Sequence[str]) -> dict[str, float | UndefinedError]:
    """Shape features (PyRadiomics ``shape``; IBSI 1 section 3.1, family HCUG).

    Parameters
    ----------
    voi
        At least one voxel.
    spacing_kji
        mm; lengths are in mm, areas in mm^2, volumes in mm^3.
    """
    mesh = measure_mesh(voi.padded(1).filled(), spacing_kji)
    volume, area = mesh.volume, mesh.area
    ball = (36 * math.pi * volume**2) ** (1 / 3)
    same_k, same_j, same_i, anywhere = mesh.diameters
    result: dict[str, float | UndefinedError] = {
        **axis_features(principal_variances(voi, spacing_kji, (0, 1, 2))),
        "Maximum2DDiameterColumn": same_j,
        "Maximum2DDiameterRow": same_i,
        "Maximum2DDiameterSlice": same_k,
        "Maximum3DDiameter": anywhere,
        "MeshVolume": volume,
        "Sphericity": ball / area,
        "SurfaceArea": area,
        "SurfaceVolumeRatio": area / volume,
        "VoxelVolume": voi.n_voxels * math.prod(spacing_kji),
        "Compactness1": volume / (area**1.5 * math.sqrt(math.pi)),
        "Compactness2": 36 * math.pi * volume**2 / area**3,
        "SphericalDisproportion": area / ball,
    }
    return {name: result[name] for name in names}


def axis_features(variances: npt.NDArray[np.float64]) -> dict[str, float | UndefinedError]:
    """Axis lengths and their ratios from the variances along the principal axes (ascending, mm^2)."""
    least, major = float(variances[0]), float(variances[-1])
    middle = float(variances[-2])
    point = UndefinedError("the VOI is a single voxel")
    return {
        "MajorAxisLength": 4 * math.sqrt(major),
        "MinorAxisLength": 4 * math.sqrt(middle),
        "LeastAxisLength": 4 * math.sqrt(least),
        "Elongation": math.sqrt(middle / major) if major else point,
        "Flatness": math.sqrt(least / major) if major else point,
    }


def principal_variances(voi: Voi, spacing_kji: Sequence[float], axes: Sequence[int]) -> npt.NDArray[np.float64]:
    """Eigenvalues (ascending, mm^2) of the covariance of the voxels' centers along `axes`.

    Sums of indices are whole numbers of any size, so a flat VOI has a variance of exactly 0 across it.
    """
    k, j, first, n = (voi.segments[:, column] for column in range(4))
    sums = first * n + n * (n - 1) // 2  # of i over each segment
    squares = n * first * first + first * n * (n - 1) + (n - 1) * n * (2 * n - 1) // 6
    total = {0: _total(k * n), 1: _total(j * n), 2: _total(sums)}
    product = {
        (0, 0): _total(k * k * n),
        (0, 1): _total(k * j * n),
        (0, 2): _total(k * sums),
        (1, 1): _total(j * j * n),
        (1, 2): _total(j * sums),
        (2, 2): _total(squares),
    }
    covariance = np.empty((len(axes), len(axes)))
    for row, a in enumerate(axes):
        for column, b in enumerate(axes):
            spread = voi.n_voxels * product[min(a, b), max(a, b)] - total[a] * total[b]
            covariance[row, column] = spread / voi.n_voxels**2 * spacing_kji[a] * spacing_kji[b]
    varying = np.flatnonzero(np.diag(covariance) > 0)
    found = np.zeros(len(axes))
    if varying.size:
        found[len(axes) - varying.size :] = np.linalg.eigvalsh(covariance[np.ix_(varying, varying)])
    return np.where((found < 0) & (found > _ROUNDING * max(1.0, found[-1])), 0.0, found)


def _total(values: npt.NDArray[np.int64]) -> int:
    return int(values.sum())
