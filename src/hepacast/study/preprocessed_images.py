"""MR preprocessing of one patient: in the study's stage and, from a bundle's rules, of a new patient alike."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hepacast.errors import ImageError
from hepacast.imaging.io import read_volume, write_volume
from hepacast.imaging.preprocessing import NyulStandardizer, body_mask, correct_bias, register
from hepacast.imaging.preprocessing.normalize import white_stripe, zscore
from hepacast.imaging.preprocessing.register import Registration
from hepacast.imaging.resample import resample_image, resample_mask
from hepacast.imaging.volume import Volume
from hepacast.study.schema.preprocessing import PreprocessingOptions


@dataclass(frozen=True, eq=False)
class Prepared:
    """One patient's sequences on one grid, not yet on their intensity scale.

    Parameters
    ----------
    images
        By sequence.
    reference
        The reference sequence before it is resampled.
    bias
        Spread of each sequence's bias field; empty without correction.
    moved
        Registration of each other sequence.
    """

    images: dict[str, Volume]
    reference: Volume
    bias: dict[str, float]
    moved: dict[str, Registration]


def prepare(volumes: Mapping[str, Volume], reference: str, rules: PreprocessingOptions) -> Prepared:
    """Correct the bias field, bring all sequences to the reference, resample.

    Raises
    ------
    ImageError
        An image cannot be corrected.
    """
    corrected: dict[str, Volume] = {}
    bias: dict[str, float] = {}
    for name, volume in volumes.items():
        if rules.bias_correction == "n4":
            found = correct_bias(volume, shrink_mm=rules.bias_voxel_mm)
            volume, bias[name] = found.image, found.spread
        corrected[name] = volume.with_array(volume.array.astype(np.float32))
    fixed = corrected[reference]
    body = body_mask(fixed)
    moved: dict[str, Registration] = {}
    for name in corrected:
        if name == reference:
            continue
        if rules.registration != "none":
            moved[name] = register(corrected[name], fixed, kind=rules.registration, mask=body)
            corrected[name] = moved[name].image
        else:
            corrected[name] = resample_image(corrected[name], reference=fixed, fill=0.0)
    if rules.spacing is not None:
        corrected = {name: resample_image(item, spacing=rules.spacing) for name, item in corrected.items()}
    return Prepared(corrected, fixed, bias, moved)


def on_scale(
    image: Volume, region: Volume | None, rules: PreprocessingOptions, landmarks: Mapping[str, Any] | None
) -> Volume:
    """The image on the study's intensity scale.

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
    elif rules.normalization == "white-stripe" and region is not None:
        image = white_stripe(image, region)
    elif landmarks is not None:
        image = NyulStandardizer.from_dict(landmarks).apply(image, region)
    if rules.normalization in ("zscore", "white-stripe"):
        image = image.with_array(image.array * np.float32(rules.scale))
    return image


def scale_region(rules: PreprocessingOptions) -> str:
    """Where the intensity scale is taken: ``body``, or a structure of the masks."""
    return rules.tissue if rules.normalization == "white-stripe" else rules.region


def finish_patient(
    volumes: Mapping[str, Volume],
    masks: Mapping[str, Volume],
    reference: str,
    rules: PreprocessingOptions,
    landmarks: Mapping[str, Any] | None,
) -> tuple[dict[str, Volume], dict[str, Volume]]:
    """A new patient's images as the study's stage leaves them, and the masks on their grid.

    Parameters
    ----------
    volumes
        By sequence, as the scanner gave them.
    masks
        On the reference's grid; may be empty where no structure is needed.
    landmarks
        By sequence, for Nyul's scale.

    Raises
    ------
    ImageError
        An image cannot be preprocessed, or the structure of the intensity scale is not among the masks.
    """
    prepared = {name: as_stored(item) for name, item in prepare(volumes, reference, rules).images.items()}
    grid = prepared[reference]
    name = scale_region(rules)
    if name == "body":
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
        item: as_stored(on_scale(image, region, rules, (landmarks or {}).get(item))) for item, image in prepared.items()
    }
    if rules.spacing is None:
        return finished, dict(masks)
    return finished, {item: resample_mask(mask, reference=finished[reference]) for item, mask in masks.items()}


def as_stored(volume: Volume) -> Volume:
    """The volume after a journey through a NIfTI file, whose header is in single precision: as the study reads it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "volume.nii.gz"
        write_volume(volume, path)
        return read_volume(path)
