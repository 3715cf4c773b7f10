"""Preprocessing of one patient's images: in the study's stage and, from a bundle's rules, of a new patient alike."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hepacast.errors import ImageError
from hepacast.imaging.io import read_volume, write_volume
from hepacast.imaging.morphology import dilate
from hepacast.imaging.preprocessing import NyulStandardizer, body_mask, correct_bias, register
from hepacast.imaging.preprocessing.normalize import reference_tissue, white_stripe, zscore
from hepacast.imaging.preprocessing.register import Registration
from hepacast.imaging.resample import resample_image, resample_mask
from hepacast.imaging.structures import with_unions
from hepacast.imaging.volume import Volume
from hepacast.segmentation.base import Segmenter
from hepacast.study.schema.preprocessing import PreprocessingOptions

#: Intensity scales by a tissue of the masks.
_OF_TISSUE = {"reference-tissue": reference_tissue, "white-stripe": white_stripe}


@dataclass(frozen=True, eq=False)
class Prepared:
    """One patient's sequences and phases on one grid, not yet on their intensity scale.

    Parameters
    ----------
    images
        By sequence.
    reference
        The reference sequence before it is resampled.
    bias
        Spread of the bias field of each MR sequence; empty without correction.
    moved
        Registration of each other sequence.
    """

    images: dict[str, Volume]
    reference: Volume
    bias: dict[str, float]
    moved: dict[str, Registration]


def segmented_liver(volume: Volume, segmenter: Segmenter) -> Volume:
    """The liver by a segmenter, where no mask is given: what images are registered by.

    Raises
    ------
    ImageError
        It finds none.
    HepacastError
        The segmenter cannot use the image.
    """
    return _some_liver(segmenter.segment(volume).masks())


def _some_liver(masks: Mapping[str, Volume]) -> Volume:
    """The liver among structures.

    Raises
    ------
    ImageError
        There is none, or it is empty.
    """
    liver = with_unions(masks).get("liver")
    if liver is None or not liver.array.any():
        raise ImageError(
            "The images are to be registered by the liver, and no liver is outlined.",
            expected="liver, or parenchyma and tumor",
            found=", ".join(masks) or "no mask",
            remedy="give a mask with the liver, or set preprocessing.registration_region to body",
        )
    return liver


def prepare(
    volumes: Mapping[str, Volume],
    modalities: Mapping[str, str],
    reference: str,
    rules: PreprocessingOptions,
    masks: Mapping[str, Volume] | None = None,
) -> Prepared:
    """Correct the bias field of MR, bring all images to the reference, resample.

    Parameters
    ----------
    volumes
        By sequence, the reference among them.
    modalities
        ``CT`` or ``MR`` by sequence.
    masks
        Structures on the reference's grid, with the liver where the images are registered by it.

    Raises
    ------
    ImageError
        An image cannot be corrected or registered, or there is no liver to register by.
    """
    corrected: dict[str, Volume] = {}
    bias: dict[str, float] = {}
    for name, volume in volumes.items():
        if rules.bias_correction == "n4" and modalities[name] == "MR":
            found = correct_bias(volume, shrink_mm=rules.bias_voxel_mm)
            volume, bias[name] = found.image, found.spread
        corrected[name] = volume.with_array(volume.array.astype(np.float32))
    fixed = corrected[reference]
    others = [name for name in corrected if name != reference]
    moved: dict[str, Registration] = {}
    if others and rules.registration != "none":
        region = (
            dilate(_some_liver(masks or {}), rules.registration_margin_mm) if rules.needs_liver else body_mask(fixed)
        )
    for name in others:
        # Outside is air: nothing in MR, the lowest value of a CT.
        fill = float(corrected[name].array.min()) if modalities[name] == "CT" else 0.0
        if rules.registration != "none":
            moved[name] = register(
                corrected[name],
                fixed,
                kind=rules.registration,
                mask=region,
                control_mm=rules.registration_control_mm,
                fill=fill,
            )
            corrected[name] = moved[name].image
        else:
            corrected[name] = resample_image(corrected[name], reference=fixed, fill=fill)
    if rules.spacing is not None:
        corrected = {name: resample_image(item, spacing=rules.spacing) for name, item in corrected.items()}
    return Prepared(corrected, fixed, bias, moved)


def on_scale(
    image: Volume, region: Volume | None, rules: PreprocessingOptions, landmarks: Mapping[str, Any] | None
) -> Volume:
    """An MR image on the study's intensity scale.

    Parameters
    ----------
    image
        From `prepare`.
    region
        Where the scale is taken, on the image's grid.
    landmarks
        Of the sequence, for Nyul's scale.
    """
    if rules.normalization == "zscore":
        image = zscore(image, region)
    elif rules.normalization in _OF_TISSUE and region is not None:
        image = _OF_TISSUE[rules.normalization](image, region)
    elif landmarks is not None:
        image = NyulStandardizer.from_dict(landmarks).apply(image, region)
    if rules.normalization == "zscore" or rules.normalization in _OF_TISSUE:
        image = image.with_array(image.array * np.float32(rules.scale))
    return image


def scale_region(rules: PreprocessingOptions) -> str:
    """Where the intensity scale is taken: ``body``, or a structure of the masks."""
    return rules.tissue if rules.normalization in _OF_TISSUE else rules.region


def roughly_on_scale(
    volumes: Mapping[str, Volume],
    modalities: Mapping[str, str],
    masks: Mapping[str, Volume],
    rules: PreprocessingOptions,
) -> dict[str, Volume]:
    """Raw images on their intensity scale, without bias correction and registration: to count gray levels before any
    long work. Left out is what cannot be scaled so: other grids than that of the masks, and Nyul's scale."""
    found: dict[str, Volume] = {}
    for name, image in volumes.items():
        where = scale_region(rules)
        region = body_mask(image) if where == "body" else masks.get(where)
        if modalities[name] != "MR" or rules.normalization in ("none", "nyul") or region is None:
            continue
        if region.geometry.is_same(image.geometry):
            found[name] = on_scale(image, region, rules, None)
    return found


def finish_patient(
    volumes: Mapping[str, Volume],
    modalities: Mapping[str, str],
    masks: Mapping[str, Volume],
    reference: str,
    rules: PreprocessingOptions,
    landmarks: Mapping[str, Any] | None,
) -> tuple[dict[str, Volume], dict[str, Volume], tuple[str, ...]]:
    """A new patient's images as the study's stage leaves them, and the masks on their grid.

    Parameters
    ----------
    volumes
        By sequence, as the scanner gave them.
    modalities
        ``CT`` or ``MR`` by sequence.
    masks
        On the reference's grid; may be empty where no structure is needed.
    landmarks
        By sequence, for Nyul's scale.

    Returns
    -------
    images, masks, doubts
        The last about the registration, in words.

    Raises
    ------
    ImageError
        An image cannot be preprocessed, or the structure of the intensity scale is not among the masks.
    """
    found = prepare(volumes, modalities, reference, rules, masks)
    prepared = {name: as_stored(item) for name, item in found.images.items()}
    doubts = tuple(f"{name}: registration: {text}" for name, item in found.moved.items() for text in item.doubts)
    grid = prepared[reference]
    name = scale_region(rules)
    if not any(modalities[item] == "MR" for item in prepared):
        region = None
    elif name == "body":
        region = body_mask(grid)
    elif name in masks:
        same = masks[name].geometry.size == grid.geometry.size
        same = same and masks[name].geometry.corner_offset_mm(grid.geometry) < 0.01
        region = masks[name] if same else resample_mask(masks[name], reference=grid, threshold=0.5)
    else:
        raise ImageError(
            f"The intensity scale is taken in {name!r}, and there is no mask of it.",
            expected=name,
            found=", ".join(masks) or "no mask",
            remedy="give a mask with this structure",
        )
    finished = {
        item: as_stored(on_scale(image, region, rules, (landmarks or {}).get(item)))
        if modalities[item] == "MR"
        else image
        for item, image in prepared.items()
    }
    if rules.spacing is None:
        return finished, dict(masks), doubts
    return finished, {item: resample_mask(mask, reference=finished[reference]) for item, mask in masks.items()}, doubts


def as_stored(volume: Volume) -> Volume:
    """The volume after a journey through a NIfTI file, whose header is in single precision: as the study reads it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "volume.nii.gz"
        write_volume(volume, path)
        return read_volume(path)
