"""From images in millimeters to the array that a network sees, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from hepacast.deep.spec import CropSpec, DeepSpec
from hepacast.errors import ImageError
from hepacast.imaging import Geometry, Volume
from hepacast.imaging.preprocessing.normalize import reference_tissue
from hepacast.imaging.resample import resample_image, resample_mask
from hepacast.imaging.structures import known_structures
from hepacast.imaging.window import Window

Floats32 = npt.NDArray[np.float32]
_PERCENTILES = (1.0, 99.0)
#: SDs at which intensities are cut.
_FURTHEST = 5.0


def crop_geometry(voi: Volume, spec: CropSpec) -> Geometry:
    """The crop's grid: around the VOI's center, along the image's own axes.

    Parameters
    ----------
    voi
        Boolean mask.
    spec
        Size in voxels and mm.

    Raises
    ------
    ImageError
        The mask is empty, so there is no center.
    """
    places = np.argwhere(voi.array)
    if not len(places):
        raise ImageError(
            "The crop has no center: the mask is empty.",
            expected=f"voxels of {spec.voi!r}",
            remedy="look at the mask, or leave the patient out with a reason",
        )
    low, high = places.min(axis=0)[::-1].astype(float), places.max(axis=0)[::-1].astype(float)
    spacing = np.array(voi.geometry.spacing)
    size = np.array(spec.size[::-1])
    if spec.size_mm is None:
        lengths = (high - low + 1) * spacing + 2 * spec.margin_mm
    else:
        lengths = np.array(spec.size_mm[::-1])
    step = lengths / size
    direction = np.array(voi.geometry.direction)
    center = np.array(voi.geometry.origin) + direction @ ((low + high) / 2 * spacing)
    origin = center - direction @ ((size - 1) / 2 * step)
    return Geometry(
        size=(int(size[0]), int(size[1]), int(size[2])),
        spacing=(float(step[0]), float(step[1]), float(step[2])),
        origin=(float(origin[0]), float(origin[1]), float(origin[2])),
        direction=voi.geometry.direction,
    )


def crop_patient(
    volumes: Mapping[str, Volume],
    masks: Mapping[str, Volume],
    spec: DeepSpec | CropSpec,
    *,
    modalities: Mapping[str, str] | None = None,
    patient: str = "",
) -> Floats32:
    """One patient's crop.

    Parameters
    ----------
    volumes
        Images by sequence, registered to one another (they may have different grids).
    masks
        Structures by name; the crop is centered on ``spec.crop.voi``.
    spec
        Crop settings; with ``channels`` empty the sequences stand in the order of `volumes`.
    modalities
        ``CT`` or ``MR`` by sequence (for the default normalization); CT when left out.
    patient
        For messages.

    Returns
    -------
    array
        float32, (channels, z, y, x); with ``missing: flag`` twice as many channels, with ``mask`` one more.

    Raises
    ------
    ImageError
        A sequence is missing (``missing: error``), or the VOI is missing or empty.
    """
    rules = spec.crop if isinstance(spec, DeepSpec) else spec
    target = crop_geometry(_voi(masks, rules, patient), rules)
    names = rules.channels or list(volumes)
    voi = crop_mask(masks[rules.voi], target)
    channels: list[Floats32 | None] = []
    for name in names:
        volume = volumes.get(name)
        if volume is None and rules.missing == "error":
            raise ImageError(
                f"The sequence {name!r} is missing.",
                expected=", ".join(names),
                found=", ".join(volumes) or "none",
                where=f"patient {patient}" if patient else None,
                remedy="give it, or set deep.crop.missing to zeros, mean or flag",
            )
        channels.append(None if volume is None else _channel(volume, target, voi, masks, name, rules, modalities or {}))
    joined = _joined(channels, rules, target)
    return np.concatenate([joined, voi[None].astype(np.float32)]) if rules.mask else joined


def crop_mask(mask: Volume, target: Geometry) -> npt.NDArray[np.bool_]:
    """A mask on a crop's grid, (z, y, x)."""
    return np.asarray(resample_mask(_around(mask, target), reference=target, threshold=0.5).array, dtype=bool)


def uncrop(crop: npt.NDArray[np.floating], target: Geometry, reference: Geometry) -> Floats32:
    """A map on a crop's grid (z, y, x) brought back to an image's grid; 0 outside the crop."""
    volume = Volume(np.asarray(crop, dtype=np.float32), target)
    return np.asarray(resample_image(volume, reference=reference, fill=0.0).array, dtype=np.float32)


def channel_names(spec: CropSpec, sequences: Sequence[str]) -> list[str]:
    """Names of the crop's channels."""
    names = list(spec.channels or sequences)
    flags = [f"{name} is there" for name in names] if spec.missing == "flag" else []
    return [*names, *flags, *(["mask"] if spec.mask else [])]


def _voi(masks: Mapping[str, Volume], spec: CropSpec, patient: str) -> Volume:
    if spec.voi not in masks:
        raise ImageError(
            f"There is no mask of {spec.voi!r} to center the crop on.",
            expected=spec.voi,
            found=", ".join(masks) or "none",
            where=f"patient {patient}" if patient else None,
        )
    return masks[spec.voi]


def _channel(
    volume: Volume,
    target: Geometry,
    voi: npt.NDArray[np.bool_],
    masks: Mapping[str, Volume],
    name: str,
    spec: CropSpec,
    modalities: Mapping[str, str],
) -> Floats32:
    """One sequence on the crop's grid, normalized. Fine grids are smoothed first, so that nothing is skipped over."""
    from scipy import ndimage

    how = normalization(spec, name, modalities)
    if how == "reference-tissue":
        volume = reference_tissue(volume, _liver(volume, masks))
    finite = volume.array[np.isfinite(volume.array)] if volume.array.dtype.kind == "f" else volume.array
    darkest = float(finite.min()) if finite.size else 0.0
    volume = _around(volume, target)
    ratio = np.array(target.spacing) / np.array(volume.geometry.spacing)
    if (ratio > 1.5).any():
        sigma = np.where(ratio > 1.5, 0.4 * ratio, 0.0)[::-1]
        smooth = ndimage.gaussian_filter(volume.array.astype(np.float32), sigma, mode="nearest")
        volume = volume.with_array(smooth)
    crop = resample_image(volume, reference=target, fill=darkest).array
    if lost := int((~np.isfinite(crop)).sum()):
        raise ImageError(
            "The image holds no numbers (NaN or infinity) where the network looks.",
            expected=f"a number in every voxel around {spec.voi}",
            found=f"{lost} of {crop.size} voxels of the crop of {name!r}",
            remedy="export the image again; the conversion has failed there",
        )
    return normalize(crop, how, voi, Window(*spec.window))


def _liver(volume: Volume, masks: Mapping[str, Volume]) -> Volume:
    """The liver without tumor on a sequence's grid, the tissue that others are compared with.

    Raises
    ------
    ImageError
        There is no such mask.
    """
    known = known_structures(masks)
    liver = known.get("parenchyma", known.get("liver"))
    if liver is None:
        raise ImageError(
            "The reference scale of a network needs the liver.",
            expected="a mask of the liver or the parenchyma",
            found=", ".join(masks) or "no mask",
            remedy="give it, or set deep.crop.normalize to zscore",
        )
    if "tumor" in known:
        liver = liver.with_array(liver.array & ~known["tumor"].array)
    if liver.geometry.is_same(volume.geometry):
        return liver
    return resample_mask(liver, reference=volume.geometry, threshold=0.5)


def normalization(spec: CropSpec, name: str, modalities: Mapping[str, str]) -> str:
    """How a sequence is normalized: as the settings say, else by its modality."""
    return spec.normalize.get(name) or ("zscore" if modalities.get(name) == "MR" else "window")


def scale_words(spec: CropSpec) -> str:
    """For Methods: whose intensities the liver is the scale of; nothing where it is none's."""
    scaled = [name for name, how in spec.normalize.items() if how == "reference-tissue"]
    if not scaled:
        return ""
    return f"; {', '.join(scaled)} from the median of the patient's liver without tumor, in its robust SDs"


def _around(volume: Volume, target: Geometry) -> Volume:
    """The part of an image that a crop can see, with a margin of four of the crop's voxels: a whole CT is large."""
    ends = np.array(np.meshgrid(*[(0, n - 1) for n in target.size], indexing="ij"), dtype=float).reshape(3, -1)
    points = target.affine_lps @ np.vstack([ends, np.ones(ends.shape[1])])
    places = (np.linalg.inv(volume.geometry.affine_lps) @ points)[:3]
    margin = np.ceil(4.0 * max(target.spacing) / np.array(volume.geometry.spacing)) + 1
    size = np.array(volume.geometry.size)
    low = np.clip(np.floor(places.min(axis=1) - margin), 0, size - 1).astype(int)
    high = np.clip(np.ceil(places.max(axis=1) + margin) + 1, low + 1, size).astype(int)
    origin = (volume.geometry.affine_lps @ [*low.astype(float), 1.0])[:3]
    part = volume.array[low[2] : high[2], low[1] : high[1], low[0] : high[0]]
    geometry = Geometry(
        size=(int(high[0] - low[0]), int(high[1] - low[1]), int(high[2] - low[2])),
        spacing=volume.geometry.spacing,
        origin=(float(origin[0]), float(origin[1]), float(origin[2])),
        direction=volume.geometry.direction,
    )
    return Volume(np.ascontiguousarray(part), geometry)


def normalize(crop: npt.NDArray[np.floating], how: str, voi: npt.NDArray[np.bool_], window: Window) -> Floats32:
    """Intensities as a network likes them, about -1 to 1.

    Parameters
    ----------
    crop, voi
        (z, y, x).
    how
        As in `CropSpec.normalize`; for ``reference-tissue`` the whole image is on that scale already.
    window
        For ``window``: black becomes -1, white 1.
    """
    values = np.asarray(crop, dtype=np.float32)
    if how == "none":
        return values
    if how == "reference-tissue":
        return np.clip(values, -_FURTHEST, _FURTHEST)
    if how == "window":
        return 2.0 * window.apply(values) - np.float32(1.0)
    inside = voi if how == "voi-zscore" else values != 0
    sample = values[inside] if inside.any() else values.ravel()
    if how == "percentile":
        low, high = np.percentile(sample, _PERCENTILES)
        return np.clip((values - low) / max(float(high - low), 1e-6), 0.0, 1.0).astype(np.float32)
    spread = max(float(sample.std()), 1e-6)
    return np.clip((values - float(sample.mean())) / spread, -_FURTHEST, _FURTHEST).astype(np.float32)


def _joined(channels: Sequence[Floats32 | None], spec: CropSpec, target: Geometry) -> Floats32:
    there = [channel for channel in channels if channel is not None]
    if not there:
        raise ImageError("The patient has none of the sequences.", expected=", ".join(spec.channels) or "an image")
    blank = np.zeros(target.shape, dtype=np.float32)
    stand_in = np.mean(there, axis=0, dtype=np.float32) if spec.missing == "mean" else blank
    filled = [stand_in if channel is None else channel for channel in channels]
    if spec.missing == "flag":
        filled += [np.full_like(blank, float(channel is not None)) for channel in channels]
    return np.stack(filled).astype(np.float32)
