"""IBSI's image processing: interpolation on a centered grid, rounding, resegmentation, discretization."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hepacast.imaging import Volume
from hepacast.radiomics.ibsi.parameters import IbsiParameters
from hepacast.radiomics.parameters import Parameters
from hepacast.radiomics.preprocess import Mask, UnmeasurableVoiError, require_finite, resampled_words

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class IbsiVoi:
    """One VOI, ready to be measured.

    Parameters
    ----------
    image
        Intensities [k, j, i].
    spacing
        Voxel size along (k, j, i), mm.
    morphological
        The mask of shape.
    intensity
        The mask of intensities, after resegmentation.
    levels
        Gray level of each voxel of the intensity mask, 0 elsewhere.
    n_levels
        Ng: the highest gray level.
    diagnostics
        Sizes and intensities after each step, under IBSI's tags.
    """

    image: Array
    spacing: tuple[float, float, float]
    morphological: Mask
    intensity: Mask
    levels: npt.NDArray[np.int64]
    n_levels: int
    diagnostics: dict[str, float]


def process(volume: Volume, mask: Mask, parameters: Parameters, ibsi: IbsiParameters) -> IbsiVoi:
    """Interpolate, round, resegment, discretize.

    Raises
    ------
    UnmeasurableVoiError
        Nothing is left of the VOI.
    """
    image = volume.array.astype(np.float64)
    spacing = (volume.spacing[2], volume.spacing[1], volume.spacing[0])
    notes = _image_notes(image, spacing, "init_img")
    notes.update(_roi_notes(image, mask, mask, "init_roi"))
    morphological = mask
    if parameters.resampledPixelSpacing is not None:
        image, morphological, spacing = interpolate(image, mask, spacing, parameters, ibsi)
    if not morphological.any():
        raise UnmeasurableVoiError("the VOI is empty" + resampled_words(mask, parameters))
    notes.update(_image_notes(image, spacing, "interp_img"))
    notes.update(_roi_notes(image, morphological, morphological, "interp_roi"))
    intensity = resegment(image, morphological, parameters, ibsi)
    if int(intensity.sum()) < 2:
        raise UnmeasurableVoiError(f"resegmentation leaves {int(intensity.sum())} voxel(s)")
    notes.update(_roi_notes(image, intensity, morphological, "reseg_roi"))
    low = parameters.resegmentRange[0] if parameters.resegmentRange is not None else None
    require_finite(image[intensity], volume, mask, "resampling")
    levels, count = discretize(image, intensity, parameters, ibsi, low)
    return IbsiVoi(image, spacing, morphological, intensity, levels, count, notes)


def interpolate(
    image: Array, mask: Mask, spacing: tuple[float, float, float], parameters: Parameters, ibsi: IbsiParameters
) -> tuple[Array, Mask, tuple[float, float, float]]:
    """Image and mask on IBSI's grid: as many voxels as cover the image, both grids' centers on each other.

    The mask is interpolated linearly and cut at one half.
    """
    wanted = np.array(parameters.resampledPixelSpacing)[::-1]
    old = np.array(spacing)
    new = np.where(wanted == 0, old, wanted)
    order = {"sitkNearestNeighbor": 0, "sitkLinear": 1, "sitkBSpline": 3}[str(parameters.interpolator)]
    positions = [_positions(size, float(a), float(b)) for size, a, b in zip(image.shape, old, new)]
    result = _separable(image, positions, order)
    if ibsi.roundIntensities:
        result = np.floor(result + 0.5)
    soft = _separable(mask.astype(np.float64), positions, min(order, 1))
    return np.asarray(result, dtype=np.float64), soft >= 0.5 - 1e-12, (float(new[0]), float(new[1]), float(new[2]))


def _positions(size: int, old: float, new: float) -> Array:
    """Places of the new voxels along one axis, in old voxels."""
    count = int(np.ceil(size * old / new - 1e-9))
    first = 0.5 * ((size - 1) - (count - 1) * new / old)
    return first + np.arange(count) * new / old


def _separable(values: Array, positions: list[Array], order: int) -> Array:
    """Interpolation axis by axis; beyond the border the last voxel is repeated."""
    from scipy.ndimage import map_coordinates

    for axis, places in enumerate(positions):
        size = values.shape[axis]
        if len(places) == size and np.allclose(places, np.arange(size), atol=1e-9):
            continue
        moved = np.moveaxis(values, axis, 0)
        flat = np.ascontiguousarray(moved).reshape(size, -1)
        if order == 3:
            from scipy.ndimage import spline_filter1d

            flat = spline_filter1d(np.pad(flat, ((12, 12), (0, 0)), mode="edge"), order=3, axis=0, mode="mirror")
            sampled = _cubic(flat, places + 12)
        elif order == 1:
            inside = np.clip(places, 0, size - 1)
            low = np.minimum(inside.astype(int), max(size - 2, 0))
            share = (inside - low)[:, None]
            sampled = flat[low] * (1 - share) + flat[np.minimum(low + 1, size - 1)] * share
        else:
            sampled = map_coordinates(
                flat,
                np.meshgrid(np.clip(places, 0, size - 1), np.arange(flat.shape[1]), indexing="ij"),
                order=0,
                mode="nearest",
            )
        values = np.moveaxis(sampled.reshape(len(places), *moved.shape[1:]), 0, axis)
    return np.ascontiguousarray(values)


def _cubic(coefficients: Array, places: Array) -> Array:
    """Cubic B-spline at `places` along the first axis."""
    base = np.floor(places).astype(int)
    y = places - base
    z = 1 - y
    weights = [z**3 / 6, (y * y * (y - 2) * 3 + 4) / 6, (z * z * (z - 2) * 3 + 4) / 6, y**3 / 6]
    total = np.zeros((len(places), coefficients.shape[1]))
    for offset, weight in zip((-1, 0, 1, 2), weights):
        index = np.clip(base + offset, 0, len(coefficients) - 1)
        total += weight[:, None] * coefficients[index]
    return total


def resegment(image: Array, mask: Mask, parameters: Parameters, ibsi: IbsiParameters) -> Mask:
    """The intensity mask: range and outlier resegmentation, both judged on the whole VOI."""
    kept = mask.copy()
    if parameters.resegmentRange is not None:
        kept &= image >= parameters.resegmentRange[0]
        if len(parameters.resegmentRange) == 2:
            kept &= image <= parameters.resegmentRange[1]
    if ibsi.outlierSigma is not None and kept.any():
        inside = image[kept]
        mean, deviation = float(inside.mean()), float(inside.std())
        kept &= np.abs(image - mean) <= ibsi.outlierSigma * deviation
    return kept


def discretize(
    image: Array, mask: Mask, parameters: Parameters, ibsi: IbsiParameters, low: float | None
) -> tuple[npt.NDArray[np.int64], int]:
    """Gray levels from 1 on, and the highest one.

    Fixed width: bins start at the lower resegmentation bound (or the VOI's minimum). Fixed number: bins divide the
    VOI's range, the maximum belongs to the last.
    """
    values = image[mask]
    if not ibsi.discretize:
        chosen = np.rint(values).astype(np.int64)
        if chosen.min() < 1:
            raise UnmeasurableVoiError("gray levels must start at 1 where the image is not discretized")
    elif parameters.binCount is not None:
        least, most = values.min(), values.max()
        span = most - least
        share = np.floor(parameters.binCount * (values - least) / span) if span > 0 else np.zeros(values.size)
        chosen = np.minimum(share.astype(np.int64) + 1, parameters.binCount)
    else:
        start = values.min() if low is None else low
        chosen = np.floor((values - start) / parameters.binWidth).astype(np.int64) + 1
    levels = np.zeros(image.shape, dtype=np.int64)
    levels[mask] = chosen
    return levels, int(chosen.max())


def _image_notes(image: Array, spacing: tuple[float, float, float], where: str) -> dict[str, float]:
    notes: dict[str, float] = {}
    for letter, size, step in zip("zyx", image.shape, spacing):
        notes[f"img_dim_{letter}_{where}"] = float(size)
        notes[f"vox_dim_{letter}_{where}"] = step
    notes[f"mean_int_{where}"] = float(image.mean())
    notes[f"min_int_{where}"] = float(image.min())
    notes[f"max_int_{where}"] = float(image.max())
    return notes


def _roi_notes(image: Array, intensity: Mask, morphological: Mask, where: str) -> dict[str, float]:
    notes: dict[str, Any] = {}
    for name, mask in (("int_mask", intensity), ("morph_mask", morphological)):
        places = np.argwhere(mask)
        size = places.max(axis=0) - places.min(axis=0) + 1
        for letter, whole, part in zip("zyx", mask.shape, size):
            notes[f"{name}_dim_{letter}_{where}"] = float(whole)
            notes[f"{name}_bb_dim_{letter}_{where}"] = float(part)
        notes[f"{name}_vox_count_{where}"] = float(len(places))
    inside = image[intensity]
    notes[f"int_mask_mean_int_{where}"] = float(inside.mean())
    notes[f"int_mask_min_int_{where}"] = float(inside.min())
    notes[f"int_mask_max_int_{where}"] = float(inside.max())
    return notes
