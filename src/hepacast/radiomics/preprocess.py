"""From an image and its VOIs to the grids on which features are calculated, step by step as PyRadiomics does.

Order: normalize, resample or crop, check the VOI, resegment. Interpolation is SimpleITK's, since whole numbers are
cut off after it and any other order of arithmetic would move some of them by one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from hepacast.imaging import Volume
from hepacast.imaging.labels import values_of
from hepacast.imaging.placing import place_mask
from hepacast.radiomics import diagnostics
from hepacast.radiomics.filters.source import SourceImage, VoxelBox
from hepacast.radiomics.parameters import Parameters

Mask = npt.NDArray[np.bool_]


class UnmeasurableVoiError(Exception):
    """This VOI cannot be measured; the text says why. It becomes a status and never leaves this package."""


@dataclass(frozen=True, eq=False)
class PreparedVoi:
    """One VOI on the grid of its image.

    Parameters
    ----------
    name
        The caller's name of the VOI.
    box
        Bounding box on the image's grid.
    mask
        The VOI's voxels inside `box`, after resegmentation.
    shape_mask
        The voxels whose shape is measured, inside `box` (before resegmentation unless resegmentShape is set).
    diagnostics
        PyRadiomics' ``diagnostics_*`` entries.
    undefined
        Where the image as it was given has voxels without a finite value: "inside" the VOI, "outside", or "" nowhere.
    """

    name: str
    box: VoxelBox
    mask: Mask
    shape_mask: Mask
    diagnostics: dict[str, Any] = field(default_factory=dict)
    undefined: str = ""


@dataclass(frozen=True, eq=False)
class VoiGroup:
    """VOIs that share one preprocessed image, and with it the filters."""

    source: SourceImage
    vois: list[PreparedVoi]


@dataclass(frozen=True, eq=False)
class PreparedVois:
    """Everything that is ready to be measured, and why the rest is not."""

    groups: list[VoiGroup]
    failures: dict[str, str]


def prepare(volume: Volume, vois: Mapping[str, Volume], parameters: Parameters, noted: bool = False) -> PreparedVois:
    """Preprocess `volume` and all `vois`.

    A VOI that cannot be measured (empty, one voxel, too small) is told in `failures`. Where it is `noted`, each VOI has
    its ``diagnostics_*`` entries.

    Raises
    ------
    GeometryError
        A VOI lies on another grid than the image and correctMask is not set.
    """
    header = diagnostics.image_entries(volume) if noted else {}
    failures: dict[str, str] = {}
    masks: dict[str, Mask] = {}
    entries: dict[str, dict[str, Any]] = {}
    for name, voi in vois.items():
        try:
            mask = mask_on_grid(volume, voi, parameters, name)
        except UnmeasurableVoiError as error:
            failures[name] = str(error)
            continue
        masks[name] = mask
        own = diagnostics.mask_entries(None, volume.with_array(mask), "original") if noted else {}
        entries[name] = {**header, **own}
    image = normalize(volume, parameters) if parameters.normalize else volume
    groups: list[VoiGroup] = []
    has_undefined = SourceImage(volume.array, volume.spacing).has_undefined
    shared = VoiGroup(SourceImage(image.array, image.spacing), [])
    for name, mask in masks.items():
        alone = parameters.resampledPixelSpacing is not None or parameters.preCrop
        grid, own_mask = _own_grid(image, mask, parameters) if alone else (image, mask)
        group = VoiGroup(SourceImage(grid.array, grid.spacing), []) if alone else shared
        if noted and parameters.resampledPixelSpacing is not None:
            entries[name].update(diagnostics.image_entries(grid, "interpolated"))
            entries[name].update(diagnostics.mask_entries(grid, grid.with_array(own_mask), "interpolated"))
        try:
            found = _voi(name, grid, own_mask, parameters, entries[name] if noted else None)
        except UnmeasurableVoiError as error:
            failures[name] = str(error) + resampled_words(mask, parameters)
            continue
        group.vois.append(replace(found, undefined=_undefined(volume, mask) if has_undefined else ""))
        if alone:
            groups.append(group)
    if shared.vois:
        groups.append(shared)
    return PreparedVois(groups, failures)


def _undefined(volume: Volume, mask: Mask) -> str:
    return "outside" if np.isfinite(volume.array[mask]).all() else "inside"


def outside_reason(step: str) -> str:
    """Why a value is missing although every voxel of the VOI has one; `step` is what reads voxels beside it."""
    return (
        f"{step} also reads voxels outside the VOI, and some of them have no finite value (NaN): put a number in their "
        "place (in CT that of air), or leave this step out"
    )


def require_finite(values: npt.NDArray[Any], volume: Volume, mask: Mask, step: str) -> None:
    """Refuse values of a VOI that are no numbers, with the reason: the VOI's own voxels, or those that `step` reads.

    Raises
    ------
    UnmeasurableVoiError
    """
    bad = int(np.count_nonzero(~np.isfinite(values)))
    if bad:
        inside = _undefined(volume, mask) == "inside"
        raise UnmeasurableVoiError(
            f"{bad} of {values.size} voxels of the VOI have no finite value" if inside else outside_reason(step)
        )


def resampled_words(mask: Mask, parameters: Parameters) -> str:
    """What to add to the reason why a VOI cannot be measured, where it is another after resampling."""
    if parameters.resampledPixelSpacing is None:
        return ""
    spacing = " x ".join(f"{step:g}" for step in parameters.resampledPixelSpacing)
    count = int(np.count_nonzero(mask))
    return (
        f" after resampling to {spacing} mm ({count} voxel{'' if count == 1 else 's'} before): choose a smaller "
        "resampledPixelSpacing, or leave such small lesions out"
    )


def normalize(volume: Volume, parameters: Parameters) -> Volume:
    """(x - mean) / deviation of the whole image, clipped at removeOutliers deviations, times normalizeScale."""
    import SimpleITK as sitk

    values = sitk.GetArrayFromImage(sitk.Normalize(sitk.GetImageFromArray(np.ascontiguousarray(volume.array))))
    if parameters.removeOutliers is not None:
        np.clip(values, -parameters.removeOutliers, parameters.removeOutliers, out=values)
    values *= parameters.normalizeScale
    return volume.with_array(values)


def resample(volume: Volume, mask: Mask, parameters: Parameters) -> tuple[Volume, Mask]:
    """Image and mask on PyRadiomics' resampled grid, cropped to the VOI and padDistance voxels around it.

    The new grid shares the old one's corner, so that its voxels fill the same space. An axis along which the VOI has
    one slice is not resampled. A grid that already has the wanted spacing is only cropped.
    """
    import SimpleITK as sitk

    box = _require_box(mask)
    low = np.array(box.low[::-1])
    size = np.array(box.shape[::-1])
    old = np.array(volume.spacing)
    new = np.array(parameters.resampledPixelSpacing, dtype=float)
    new = np.where(new == 0, old, new)
    new = np.where(size != 1, new, old)
    if np.allclose(old, new):
        return _crop(volume, mask, box.grown(parameters.padDistance, volume.array.shape))
    ratio = old / new
    first = np.maximum(np.floor((low - 0.5) * ratio - parameters.padDistance), 0)
    last = np.ceil((low + size - 0.5) * ratio + parameters.padDistance)
    last = np.minimum(last, np.ceil(np.array(volume.geometry.size) * ratio) - 1)
    image = volume.to_sitk()
    origin = image.TransformContinuousIndexToPhysicalPoint((0.5 * (new - old) / old + first / ratio).tolist())
    resampler = sitk.ResampleImageFilter()
    resampler.SetOutputSpacing(new.tolist())
    resampler.SetOutputDirection(image.GetDirection())
    resampler.SetSize((last - first + 1).astype(int).tolist())
    resampler.SetOutputOrigin(origin)
    resampler.SetOutputPixelType(image.GetPixelID())
    resampler.SetInterpolator(getattr(sitk, str(parameters.interpolator)))
    result = Volume.from_sitk(resampler.Execute(image))
    label = volume.with_array(mask).to_sitk()
    resampler.SetOutputPixelType(label.GetPixelID())
    resampler.SetInterpolator(sitk.sitkNearestNeighbor)
    return result, sitk.GetArrayFromImage(resampler.Execute(label)).astype(bool)


def resegment(values: npt.NDArray[Any], mask: Mask, parameters: Parameters) -> Mask:
    """The voxels of `mask` whose intensity lies in resegmentRange.

    Raises
    ------
    UnmeasurableVoiError
        One voxel or none is left.
    """
    inside = values[mask]
    thresholds = sorted(parameters.resegmentRange or ())
    if parameters.resegmentMode == "relative":
        thresholds = [inside.max() * threshold for threshold in thresholds]
    elif parameters.resegmentMode == "sigma":
        mean, deviation = inside.mean(), inside.std()
        thresholds = [mean + deviation * threshold for threshold in thresholds]
    kept = inside >= thresholds[0]
    if len(thresholds) == 2:
        kept &= inside <= thresholds[1]
    if kept.sum() <= 1:
        raise UnmeasurableVoiError(f"resegmentation leaves {int(kept.sum())} voxel(s)")
    result = np.zeros_like(mask)
    result[mask] = kept
    return result


def _voi(name: str, grid: Volume, mask: Mask, parameters: Parameters, entries: dict[str, Any] | None) -> PreparedVoi:
    box = check_voi(mask, parameters)
    shape_mask = mask
    if parameters.resegmentRange is not None:
        mask = resegment(grid.array, mask, parameters)
        # PyRadiomics crops the shape's mask, too, to the box of what is left.
        box = check_voi(mask, parameters)
        if entries is not None:
            entries = {**entries, **diagnostics.mask_entries(grid, grid.with_array(mask), "resegmented")}
        if parameters.resegmentShape:
            shape_mask = mask
    return PreparedVoi(
        name=name,
        box=box,
        mask=np.ascontiguousarray(mask[box.slices]),
        shape_mask=np.ascontiguousarray(shape_mask[box.slices]),
        diagnostics=entries or {},
    )


def check_voi(mask: Mask, parameters: Parameters) -> VoxelBox:
    """The VOI's box, if it may be measured.

    Raises
    ------
    UnmeasurableVoiError
        Empty, one voxel, or below minimumROIDimensions or minimumROISize.
    """
    box = _require_box(mask)
    dimensions = sum(length > 1 for length in box.shape)
    if dimensions == 0:
        raise UnmeasurableVoiError("the VOI is a single voxel")
    if dimensions < parameters.minimumROIDimensions:
        least = parameters.minimumROIDimensions
        raise UnmeasurableVoiError(f"the VOI has {dimensions} dimension(s), fewer than minimumROIDimensions = {least}")
    count = int(np.count_nonzero(mask[box.slices]))
    if parameters.minimumROISize is not None and count <= parameters.minimumROISize:
        raise UnmeasurableVoiError(
            f"the VOI has {count} voxels, not more than minimumROISize = {parameters.minimumROISize}"
        )
    return box


def _require_box(mask: Mask) -> VoxelBox:
    box = VoxelBox.of_mask(mask)
    if box is None:
        raise UnmeasurableVoiError("the VOI is empty")
    return box


def mask_on_grid(volume: Volume, voi: Volume, parameters: Parameters, name: str) -> Mask:
    """The VOI's voxels on the image's grid: those of a boolean mask, or those with the setting ``label``.

    Raises
    ------
    GeometryError
        It lies on another grid and correctMask is not set.
    UnmeasurableVoiError
        There are none.
    """
    chosen = np.asarray(voi.array if voi.array.dtype == bool else voi.array == parameters.label, dtype=bool)
    mask = place_mask(volume, voi.with_array(chosen), correct=parameters.correctMask, what=f"the VOI {name}").array
    if mask.any():
        return mask
    held = ", ".join(str(value) for value in values_of(voi.array)[:10]) if voi.array.dtype != bool else ""
    raise UnmeasurableVoiError(
        f"no voxel has the label {parameters.label}; the mask holds {held}" if held else "the VOI is empty"
    )


def _own_grid(image: Volume, mask: Mask, parameters: Parameters) -> tuple[Volume, Mask]:
    """The grid of one VOI where it has its own: resampled, or cropped before filtering."""
    if parameters.resampledPixelSpacing is not None:
        return resample(image, mask, parameters)
    return _crop(image, mask, _require_box(mask).grown(parameters.padDistance, image.array.shape))


def _crop(volume: Volume, mask: Mask, box: VoxelBox) -> tuple[Volume, Mask]:
    low = np.array(box.low[::-1], dtype=float)
    origin = volume.geometry.affine_lps @ np.append(low, 1.0)
    geometry = replace(
        volume.geometry,
        size=(box.shape[2], box.shape[1], box.shape[0]),
        origin=(float(origin[0]), float(origin[1]), float(origin[2])),
    )
    return Volume(np.ascontiguousarray(volume.array[box.slices]), geometry), mask[box.slices].copy()
