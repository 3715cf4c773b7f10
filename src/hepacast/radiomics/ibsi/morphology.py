"""IBSI's morphological family (section 3.1). Families without a consensus value (OMBB, MVEE) are left out."""

from __future__ import annotations

import numpy as np

from hepacast.radiomics.core import shape_features
from hepacast.radiomics.ibsi.names import MORPHOLOGY
from hepacast.radiomics.ibsi.process import Array, IbsiVoi


def morphology(voi: IbsiVoi) -> dict[str, float]:
    """Shape of the morphological mask, and how intensities lie in it."""
    places = np.argwhere(voi.morphological)
    low, high = places.min(axis=0), places.max(axis=0) + 1
    box = tuple(slice(a, b) for a, b in zip(low, high))
    mask = voi.morphological[box]
    shape = shape_features(mask, voi.spacing, {"shape": None})
    volume, area = shape["shape_MeshVolume"], shape["shape_SurfaceArea"]
    edges = mask.shape * np.array(voi.spacing)
    box_area = 2 * (edges[0] * edges[1] + edges[0] * edges[2] + edges[1] * edges[2])
    # IBSI's covariance divides by n - 1, PyRadiomics' by n.
    n = int(mask.sum())
    axes = [shape[f"shape_{name}AxisLength"] * np.sqrt(n / (n - 1)) for name in ("Major", "Minor", "Least")]
    hull_volume, hull_area = _convex_hull(mask, voi.spacing)
    core = 36 * np.pi * volume**2
    result = {
        "volume": volume,
        "vol_approx": shape["shape_VoxelVolume"],
        "area_mesh": area,
        "av": area / volume,
        "comp_1": volume / np.sqrt(np.pi * area**3),
        "comp_2": core / area**3,
        "sph_dispr": area / core ** (1 / 3),
        "sphericity": core ** (1 / 3) / area,
        "asphericity": (area**3 / core) ** (1 / 3) - 1,
        "com": _center_shift(voi),
        "diam": shape["shape_Maximum3DDiameter"],
        "pca_maj_axis": axes[0],
        "pca_min_axis": axes[1],
        "pca_least_axis": axes[2],
        "pca_elongation": shape["shape_Elongation"],
        "pca_flatness": shape["shape_Flatness"],
        "vol_dens_aabb": volume / float(np.prod(edges)),
        "area_dens_aabb": area / box_area,
        "vol_dens_aee": volume / (np.pi * float(np.prod(axes)) / 6),
        "area_dens_aee": area / _ellipsoid_area(*(axis / 2 for axis in axes)),
        "vol_dens_conv_hull": volume / hull_volume,
        "area_dens_conv_hull": area / hull_area,
        "integ_int": float(voi.image[voi.intensity].mean()) * volume,
    }
    result.update(_autocorrelation(voi))
    return {name: float(result[name]) for name in MORPHOLOGY}


def _center_shift(voi: IbsiVoi) -> float:
    """Distance between the center of the mask and that of the intensities, mm."""
    spacing = np.array(voi.spacing)
    geometric = np.argwhere(voi.morphological).mean(axis=0) * spacing
    weights = voi.image[voi.intensity]
    weighted = (np.argwhere(voi.intensity) * spacing * weights[:, None]).sum(axis=0) / weights.sum()
    return float(np.linalg.norm(weighted - geometric))


def _convex_hull(mask: np.ndarray, spacing: tuple[float, float, float]) -> tuple[float, float]:
    """Volume and area of the convex hull of the surface mesh (vertices half way to the next voxel)."""
    from scipy.ndimage import binary_erosion
    from scipy.spatial import ConvexHull

    border = np.argwhere(mask & ~binary_erosion(mask, border_value=0)).astype(np.float64)
    points = []
    for axis in range(3):
        for side in (-0.5, 0.5):
            moved = border.copy()
            moved[:, axis] += side
            points.append(moved)
    hull = ConvexHull(np.vstack(points) * np.array(spacing))
    return float(hull.volume), float(hull.area)


def _ellipsoid_area(a: float, b: float, c: float) -> float:
    """Surface of an ellipsoid with semi-axes a >= b >= c, by Legendre polynomials (20 terms)."""
    alpha = np.sqrt(1 - (b / a) ** 2)
    beta = np.sqrt(1 - (c / a) ** 2)
    if alpha * beta == 0:
        # Two or three equal axes: the polynomial's argument is undefined, the surface is a plain formula (p = 1.6075).
        p = 1.6075
        return float(4 * np.pi * (((a * b) ** p + (a * c) ** p + (b * c) ** p) / 3) ** (1 / p))
    from scipy.special import eval_legendre

    argument = (alpha**2 + beta**2) / (2 * alpha * beta)
    n = np.arange(21)
    terms = (alpha * beta) ** n / (1 - 4.0 * n**2) * eval_legendre(n, argument)
    return float(4 * np.pi * a * b * terms.sum())


def _autocorrelation(voi: IbsiVoi) -> dict[str, float]:
    """Moran's I and Geary's C with weights 1 / distance over all pairs of voxels.

    Sums over pairs become sums over displacements of the box's autocorrelation (FFT), which is exact and does not
    grow with the square of the number of voxels.
    """
    places = np.argwhere(voi.intensity)
    low, high = places.min(axis=0), places.max(axis=0) + 1
    box = tuple(slice(a, b) for a, b in zip(low, high))
    mask = voi.intensity[box].astype(np.float64)
    n = mask.sum()
    values = np.where(mask > 0, voi.image[box], 0.0)
    values = np.where(mask > 0, values - values.sum() / n, 0.0)
    size = [2 * length for length in mask.shape]
    offsets = [np.fft.fftfreq(length, 1 / length) * step for length, step in zip(size, voi.spacing)]
    distance = np.sqrt(sum(axis**2 for axis in np.meshgrid(*offsets, indexing="ij")))
    weight = np.divide(1.0, distance, out=np.zeros_like(distance), where=distance > 0)
    f_mask, f_values, f_square = (np.fft.rfftn(part, size) for part in (mask, values, values**2))

    def pairs(first: np.ndarray, second: np.ndarray) -> float:
        lagged: Array = np.fft.irfftn(np.conj(first) * second, size)
        return float((lagged * weight).sum())

    total = pairs(f_mask, f_mask)
    products = pairs(f_values, f_values)
    squares = pairs(f_square, f_mask)
    variance = float((values**2).sum())
    if variance == 0 or total == 0:
        return {"moran_i": float("nan"), "geary_c": float("nan")}
    return {
        "moran_i": float(n / total * products / variance),
        "geary_c": float((n - 1) / (2 * total) * (2 * squares - 2 * products) / variance),
    }
