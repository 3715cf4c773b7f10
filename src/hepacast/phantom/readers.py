"""A second reader's contours: the first reader's, moved a little in and out."""

from __future__ import annotations

import numpy as np

from hepacast.core.seeds import rng
from hepacast.imaging.labels import LabelMap
from hepacast.phantom.shapes import Mask, random_field

#: Readers differ by about this much (mm, SD along the contour; SD of the whole contour; correlation length).
WOBBLE_MM, BIAS_MM, LENGTH_MM = 1.6, 0.4, 14.0


def second_reader(labels: LabelMap, patient: str, seed: int, *, wobble_mm: float = WOBBLE_MM) -> LabelMap:
    """Draw liver and tumor again, as another careful reader would.

    Parameters
    ----------
    labels
        The first reader's ``parenchyma`` and ``tumor``.
    patient, seed
        Fix the differences.
    wobble_mm
        Standard deviation of the contour's displacement, mm.
    """
    first_tumor = labels.mask("tumor").array
    first_liver = labels.volume.array > 0
    spacing = labels.volume.spacing[::-1]
    liver = _moved(first_liver, spacing, wobble_mm, rng(seed, "phantom-reader", patient, "liver"))
    tumor = _moved(first_tumor, spacing, wobble_mm, rng(seed, "phantom-reader", patient, "tumor")) & liver
    values = np.where(tumor, labels.labels["tumor"], np.where(liver, labels.labels["parenchyma"], 0))
    return LabelMap(labels.volume.with_array(values.astype(labels.volume.array.dtype)), dict(labels.labels))


def _moved(mask: Mask, spacing: tuple[float, ...], wobble: float, generator: np.random.Generator) -> Mask:
    from scipy import ndimage

    if not mask.any():
        return mask
    outside = ndimage.distance_transform_edt(~mask, sampling=spacing)
    inside = ndimage.distance_transform_edt(mask, sampling=spacing)
    # A voxel's edge lies half a voxel from its centre: 0 is then the surface on both sides.
    surface = np.where(mask, inside - 0.5 * min(spacing), -(outside - 0.5 * min(spacing)))
    shift = wobble * random_field(mask.shape, spacing, LENGTH_MM, generator) + generator.normal(0.0, BIAS_MM)
    moved = np.asarray(surface + shift > 0)
    return moved if moved.any() else mask
