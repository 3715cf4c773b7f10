"""How well two masks of the same structure agree: overlap, surface distances, volume.

Definitions (Maier-Hein et al., Metrics reloaded, Nature Methods 2024; Taha & Hanbury, BMC Med Imaging 2015), with
``R`` the reference mask, ``P`` the predicted one, and ``tp = |R & P|``:

* Dice ``2 tp / (|R| + |P|)``, Jaccard ``tp / |R | P|``, precision ``tp / |P|``, recall ``tp / |R|``;
* the surface of a mask is its voxels with a face on the outside (6-neighborhood; the edge of the image counts as
  outside); distances run between voxel centers in mm, with the voxel's own size along each axis;
* HD95 is the larger of the two directed 95th percentiles (linear interpolation);
* ASSD is the mean over both surfaces' voxels pooled;
* volume difference is ``100 (|P| - |R|) / |R|``, so a positive sign means that too much was drawn.

Empty masks: what has no value is NaN, with the reason beside it, and is never counted as 0 or 1.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hepacast.errors import ImageError
from hepacast.imaging import Volume

#: The metrics in the order of the report's tables.
METRICS = ("dice", "jaccard", "precision", "recall", "hd95_mm", "assd_mm", "volume_difference_pct")

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class SegmentationMetrics:
    """Agreement of one predicted mask with its reference.

    Parameters
    ----------
    dice, jaccard, precision, recall
        0 to 1.
    hd95_mm, assd_mm
        Surface distances, mm.
    volume_difference_pct
        Signed, percent of the reference's volume.
    reference_ml, predicted_ml
        Volumes, mL.
    status
        ``ok``, ``both_empty``, ``reference_empty`` or ``predicted_empty``.
    reason
        Why some of the values are NaN; empty where none is.
    """

    dice: float
    jaccard: float
    precision: float
    recall: float
    hd95_mm: float
    assd_mm: float
    volume_difference_pct: float
    reference_ml: float
    predicted_ml: float
    status: str = "ok"
    reason: str = ""

    def as_row(self) -> dict[str, Any]:
        """The values as a dictionary, for a table or JSON."""
        return asdict(self)


def segmentation_metrics(reference: Volume, predicted: Volume) -> SegmentationMetrics:
    """Compare a predicted mask with its reference.

    Parameters
    ----------
    reference, predicted
        Boolean volumes on the same grid.

    Returns
    -------
    SegmentationMetrics
        Both masks empty: every value is NaN. Only the reference empty: Dice, Jaccard and precision are 0, recall,
        distances and volume difference NaN. Only the prediction empty: Dice, Jaccard and recall are 0, volume
        difference -100 %, precision and distances NaN.

    Raises
    ------
    GeometryError
        The two grids differ (the message says by how many mm).
    ImageError
        A mask is not boolean.
    """
    reference.geometry.require_same(predicted.geometry, what="the predicted mask")
    for name, mask in (("reference", reference), ("predicted", predicted)):
        if mask.array.dtype != np.bool_:
            raise ImageError(
                f"The {name} mask is not a mask.",
                expected="a boolean volume",
                found=f"values of type {mask.array.dtype}",
                remedy="choose the structure by its label first",
            )
    ml = reference.geometry.voxel_volume_mm3 / 1000.0
    n_reference, n_predicted = int(reference.array.sum()), int(predicted.array.sum())
    if not n_reference or not n_predicted:
        return _empty_case(n_reference * ml, n_predicted * ml)

    tp = int(np.logical_and(reference.array, predicted.array).sum())
    to_predicted, to_reference = surface_distances(reference, predicted)
    return SegmentationMetrics(
        dice=2 * tp / (n_reference + n_predicted),
        jaccard=tp / (n_reference + n_predicted - tp),
        precision=tp / n_predicted,
        recall=tp / n_reference,
        hd95_mm=float(max(np.percentile(to_predicted, 95), np.percentile(to_reference, 95))),
        assd_mm=float((to_predicted.sum() + to_reference.sum()) / (to_predicted.size + to_reference.size)),
        volume_difference_pct=100.0 * (n_predicted - n_reference) / n_reference,
        reference_ml=n_reference * ml,
        predicted_ml=n_predicted * ml,
    )


def _empty_case(reference_ml: float, predicted_ml: float) -> SegmentationMetrics:
    nan = math.nan
    if not reference_ml and not predicted_ml:
        reason = "the structure is in neither mask, so agreement has no value"
        return SegmentationMetrics(nan, nan, nan, nan, nan, nan, nan, 0.0, 0.0, "both_empty", reason)
    if not reference_ml:
        reason = "the reference mask is empty: recall, distances and volume difference have no value"
        status = "reference_empty"
        return SegmentationMetrics(0.0, 0.0, 0.0, nan, nan, nan, nan, 0.0, predicted_ml, status, reason)
    reason = "the predicted mask is empty: precision and distances have no value"
    return SegmentationMetrics(0.0, 0.0, nan, 0.0, nan, nan, -100.0, reference_ml, 0.0, "predicted_empty", reason)


def surface_distances(first: Volume, second: Volume) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Distances (mm) from each surface voxel of `first` to the surface of `second`, and the other way round.

    Both surfaces lie inside the common bounding box, so cropping to it changes no distance. The Euclidean
    distance transform is exact for voxels of unequal sides.
    """
    from scipy import ndimage

    box = _bounding_box(first.array | second.array)
    surfaces = [_surface(mask.array[box]) for mask in (first, second)]
    sampling = first.spacing[::-1]
    field_of_first, field_of_second = (ndimage.distance_transform_edt(~s, sampling=sampling) for s in surfaces)
    return field_of_second[surfaces[0]], field_of_first[surfaces[1]]


def _surface(mask: BoolArray) -> BoolArray:
    """Voxels of the mask with at least one face on the outside."""
    padded = np.pad(mask, 1)
    inner = np.ones_like(mask)
    for axis in range(mask.ndim):
        for shift in (0, 2):
            window = [slice(1, -1)] * mask.ndim
            window[axis] = slice(shift, shift + mask.shape[axis])
            inner &= padded[tuple(window)]
    return mask & ~inner


def _bounding_box(mask: BoolArray) -> tuple[slice, ...]:
    box = []
    for axis in range(mask.ndim):
        hits = np.flatnonzero(mask.any(axis=tuple(a for a in range(mask.ndim) if a != axis)))
        box.append(slice(int(hits[0]), int(hits[-1]) + 1))
    return tuple(box)
