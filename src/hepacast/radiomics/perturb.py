"""How robust is a feature? Small changes of VOI and image, and the agreement of the feature between them.

The perturbations carry MIRP's names: volume adaptation (V), contour randomization (C), translation (T), rotation (R)
and noise (N). Source: A. Zwanenburg et al., "Assessing robustness of radiomic features by image perturbation",
Scientific Reports 9 (2019) 614. Agreement: `icc_features`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from hepacast.core.seeds import rng
from hepacast.errors import ImageError
from hepacast.imaging import Volume

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Perturbation:
    """One change of image and VOI; the defaults change nothing.

    Parameters
    ----------
    volume_fraction
        [perturbation_roi_adapt_size] Grow (> 0) or shrink (< 0) the VOI by this share of its volume.
    randomize_contour
        [perturbation_randomise_roi] Move the contour at random, supervoxel by supervoxel.
    shift
        [perturbation_translation_fraction] Shift along (i, j, k), voxels.
    angle
        [perturbation_rotation_angles] Rotation about the slice axis, degrees.
    noise
        [perturbation_add_noise] Add Gaussian noise of the image's own level (Chang's wavelet estimate).
    repetition
        Number of the random draw.
    """

    volume_fraction: float = 0.0
    randomize_contour: bool = False
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)
    angle: float = 0.0
    noise: bool = False
    repetition: int = 0

    @property
    def name(self) -> str:
        """Short name such as ``V+0.15`` or ``R-7 T0.25,0,0``; "none" for no change."""
        parts = []
        if self.noise:
            parts.append(f"N{self.repetition}")
        if self.angle:
            parts.append(f"R{self.angle:+g}")
        if any(self.shift):
            parts.append("T" + ",".join(f"{step:g}" for step in self.shift))
        if self.volume_fraction:
            parts.append(f"V{self.volume_fraction:+g}")
        if self.randomize_contour:
            parts.append(f"C{self.repetition}")
        return " ".join(parts) or "none"


def chain(
    *,
    volume_fractions: Sequence[float] = (0.0,),
    contours: int = 0,
    shifts: Sequence[float] = (0.0,),
    angles: Sequence[float] = (0.0,),
    noises: int = 0,
) -> list[Perturbation]:
    """Every combination of the given changes, as MIRP combines them; without random draws where a count is 0.

    Parameters
    ----------
    shifts
        Shifts in voxels, applied in every combination of the three axes.
    contours, noises
        Number of random draws.
    """
    moves = [(i, j, k) for i, j, k in product(shifts, repeat=3)]
    draws = max(contours, noises, 1)
    return [
        Perturbation(fraction, contours > 0, move, angle, noises > 0, draw)
        for fraction, move, angle, draw in product(volume_fractions, moves, angles, range(draws))
    ]


#: A set that takes a moment: the VOI as drawn, grown, shrunk, with another contour, shifted, turned, with noise.
DEFAULT = (
    Perturbation(),
    Perturbation(volume_fraction=0.15),
    Perturbation(volume_fraction=-0.15),
    Perturbation(randomize_contour=True, repetition=0),
    Perturbation(randomize_contour=True, repetition=1),
    Perturbation(shift=(0.25, 0.25, 0.25)),
    Perturbation(angle=5.0),
    Perturbation(angle=-5.0),
    Perturbation(noise=True),
)


def perturb_image(
    volume: Volume, vois: Mapping[str, Volume], perturbation: Perturbation, *, seed: int = 0
) -> tuple[Volume, dict[str, Volume]]:
    """The changed image and VOIs, on the image's grid.

    Rotation and shift move image and VOI together under the voxel grid (linear interpolation; the VOI at one half).
    Random draws depend on the seed and the perturbation only.

    Raises
    ------
    ImageError
        Nothing is left of a VOI.
    """
    image = volume
    masks = {name: voi.array.astype(bool) for name, voi in vois.items()}
    if perturbation.noise:
        image = _add_noise(image, rng(seed, "noise", perturbation.repetition))
    if perturbation.angle or any(perturbation.shift):
        image, masks = _move(image, masks, perturbation)
    for name, mask in masks.items():
        if perturbation.volume_fraction:
            mask = adapt_volume(mask, volume.spacing, perturbation.volume_fraction)
        if perturbation.randomize_contour:
            mask = randomize_contour(image, mask, rng(seed, "contour", name, perturbation.repetition))
        if not mask.any():
            raise ImageError(f"The perturbation {perturbation.name} leaves nothing of the VOI {name}.")
        masks[name] = mask
    return image, {name: image.with_array(mask) for name, mask in masks.items()}


def adapt_volume(mask: Mask, spacing: tuple[float, float, float], fraction: float) -> Mask:
    """Grow or shrink a VOI by a share of its volume, evenly along its surface.

    The voxels nearest to the surface (Euclidean distance, mm) are added or taken away; of equally near ones the
    first in the order of the array.
    """
    from scipy.ndimage import distance_transform_edt

    wanted = round(float(mask.sum()) * abs(fraction))
    if wanted == 0:
        return mask.copy()
    steps = spacing[::-1]
    candidates = mask if fraction < 0 else ~mask
    distance = distance_transform_edt(candidates, sampling=steps)
    index = np.flatnonzero(candidates)
    order = np.argsort(distance.reshape(-1)[index], kind="stable")[:wanted]
    result = mask.copy().reshape(-1)
    result[index[order]] = fraction > 0
    return result.reshape(mask.shape)


def randomize_contour(volume: Volume, mask: Mask, generator: np.random.Generator) -> Mask:
    """Another plausible contour: supervoxels at the surface are kept with the probability of their overlap.

    Supervoxels are SLIC clusters of the image around the VOI; one that overlaps the VOI by 90 % or more stays, by 20 %
    or less is left out, between these it is kept with a probability equal to the overlap (Zwanenburg 2019).
    """
    import SimpleITK as sitk

    from hepacast.radiomics.filters.source import VoxelBox

    box = VoxelBox.of_mask(mask)
    if box is None:
        return mask.copy()
    outer = box.grown(6, mask.shape)
    crop = sitk.Cast(sitk.GetImageFromArray(np.ascontiguousarray(volume.array[outer.slices])), sitk.sitkFloat32)
    inside = mask[outer.slices]
    values = volume.array[outer.slices][inside]
    spread = float(values.std()) or 1.0
    cluster_filter = sitk.SLICImageFilter()
    cluster_filter.SetSuperGridSize([4, 4, 2])
    cluster_filter.SetSpatialProximityWeight(spread)
    cluster_filter.SetMaximumNumberOfIterations(5)
    cluster_filter.SetNumberOfWorkUnits(1)  # the clusters' numbers must not depend on the threads
    clusters = sitk.GetArrayFromImage(cluster_filter.Execute(crop)).astype(np.int64)
    sizes = np.bincount(clusters.reshape(-1))
    overlap = np.bincount(clusters.reshape(-1), weights=inside.reshape(-1)) / np.maximum(sizes, 1)
    chance = np.where(overlap >= 0.9, 1.0, np.where(overlap <= 0.2, 0.0, overlap))
    kept = generator.random(len(chance)) < chance
    result = np.zeros_like(mask)
    result[outer.slices] = kept[clusters]
    return result if result.any() else mask.copy()


def noise_level(values: npt.NDArray[Any]) -> float:
    """Standard deviation of the noise, from the diagonal wavelet details of each slice (Chang 2000).

    median(|HH|) / 0.6754, Haar-like second difference in rows and columns with unit gain.
    """
    slices = values.astype(np.float64)
    detail = (slices[:, :-1, :-1] - slices[:, 1:, :-1] - slices[:, :-1, 1:] + slices[:, 1:, 1:]) / 2
    return float(np.median(np.abs(detail)) / 0.6754)


def _add_noise(volume: Volume, generator: np.random.Generator) -> Volume:
    noisy = volume.array + generator.normal(0.0, noise_level(volume.array), volume.array.shape)
    if volume.array.dtype.kind in "iu":
        limits = np.iinfo(volume.array.dtype)
        noisy = np.clip(np.rint(noisy), limits.min, limits.max)
    return volume.with_array(noisy.astype(volume.array.dtype))


def _move(volume: Volume, masks: dict[str, Mask], change: Perturbation) -> tuple[Volume, dict[str, Mask]]:
    """Image and VOIs turned about the center of the VOIs and shifted by parts of a voxel."""
    import SimpleITK as sitk

    anywhere = np.logical_or.reduce(list(masks.values()))
    center = np.argwhere(anywhere).mean(axis=0)[::-1] if anywhere.any() else np.array(volume.geometry.size) / 2
    image = volume.to_sitk()
    transform = sitk.Euler3DTransform()
    matrix = np.array(volume.geometry.direction)
    middle = volume.geometry.affine_lps @ np.append(center, 1.0)
    transform.SetCenter([float(value) for value in middle[:3]])
    angle = np.deg2rad(change.angle)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    transform.SetMatrix((matrix @ turn @ matrix.T).reshape(-1).tolist(), 1e-6)
    step = matrix @ (np.array(change.shift) * np.array(volume.spacing))
    transform.SetTranslation(step.tolist())
    background = float(volume.array.min())
    moved = sitk.Resample(image, image, transform, sitk.sitkLinear, background, sitk.sitkFloat64)
    values = sitk.GetArrayFromImage(moved)
    if volume.array.dtype.kind in "iu":
        values = np.rint(values)
    turned = {}
    for name, mask in masks.items():
        soft = sitk.Cast(volume.with_array(mask).to_sitk(), sitk.sitkFloat32)
        part = sitk.Resample(soft, soft, transform, sitk.sitkLinear, 0.0, sitk.sitkFloat32)
        turned[name] = sitk.GetArrayFromImage(part) >= 0.5
    return volume.with_array(values.astype(volume.array.dtype)), turned
