"""Intensity scales of MR images: Z-score, Nyul's standard scale, a reference tissue, and its white stripe.

All but Nyul's look at one patient only. Nyul's scale is learned from several: `NyulStandardizer` is fitted
on training patients and applied to others, like every step that learns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from hepacast.errors import ImageError
from hepacast.imaging.volume import Volume

Values = npt.NDArray[np.float64]

#: Landmarks of Nyul and Udupa: the deciles between the 1st and the 99th percentile.
PERCENTILES = (1.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 99.0)
_FEWEST_VOXELS = 20
#: Standard deviation of normal values over their median absolute deviation.
ROBUST = 1.482602218505602


def region_values(image: Volume, region: Volume | None) -> Values:
    """Intensities in a region (everywhere when None), shape (n,).

    Raises
    ------
    ImageError
        The region has too few voxels, or one value only.
    """
    array = np.asarray(image.array, dtype=float)
    if region is None:
        values = array.ravel()
    else:
        image.geometry.require_same(region.geometry, what="the region of the normalization")
        values = array[region.array.astype(bool)]
    values = values[np.isfinite(values)]
    if len(values) < _FEWEST_VOXELS or values.max() == values.min():
        raise ImageError(
            "The region tells no intensity scale.",
            expected=f"{_FEWEST_VOXELS} voxels or more of different intensities",
            found=f"{len(values)} voxels",
            remedy="choose another region for the normalization (body)",
        )
    return values


def zscore(image: Volume, region: Volume | None = None, *, trim: float = 0.0) -> Volume:
    """(intensity - mean) / SD, both of the region.

    Parameters
    ----------
    trim
        Share of the region's intensities left out at each end before mean and SD are taken.
    """
    values = region_values(image, region)
    if trim > 0:
        low, high = np.quantile(values, (trim, 1.0 - trim))
        values = values[(values >= low) & (values <= high)]
    spread = float(values.std())
    if spread == 0:
        raise ImageError("The region has one intensity only.", found=f"{float(values[0]):g}")
    return image.with_array(((np.asarray(image.array, dtype=float) - values.mean()) / spread).astype(np.float32))


def robust_scale(values: npt.NDArray[Any]) -> tuple[float, float]:
    """Median and robust standard deviation (1.4826 times the median absolute deviation from it); NaN with gaps."""
    middle = float(np.median(values))
    return middle, ROBUST * float(np.median(np.abs(values - middle)))


def reference_tissue(image: Volume, tissue: Volume) -> Volume:
    """(intensity - median) / robust SD, both of a tissue of the same patient: vessels and borders in it do not count.

    Raises
    ------
    ImageError
        The tissue has too few voxels, or most of it one intensity.
    """
    middle, spread = robust_scale(region_values(image, tissue))
    if spread == 0:
        raise ImageError("The reference tissue has one intensity only.", found=f"{middle:g}")
    return image.with_array(((np.asarray(image.array, dtype=float) - middle) / spread).astype(np.float32))


def white_stripe(image: Volume, tissue: Volume, *, width: float = 0.1) -> Volume:
    """Scale by a reference tissue: its commonest intensity becomes 0, the SD of the stripe around it becomes 1.

    Parameters
    ----------
    image
        MR intensities.
    tissue
        Mask of a tissue that the disease leaves alone (spleen, parenchyma).
    width
        The stripe: this share of the tissue's voxels on each side of the peak, by quantile.

    Notes
    -----
    After Shinohara RT et al. Statistical normalization techniques for magnetic resonance imaging. Neuroimage Clin
    2014;6:9-19, where the tissue is normal-appearing white matter, found by its peak in the brain's histogram. Here
    the tissue is outlined.
    """
    values = np.sort(region_values(image, tissue))
    peak = _peak(values)
    place = np.searchsorted(values, peak) / len(values)
    low, high = np.quantile(values, (max(0.0, place - width), min(1.0, place + width)))
    stripe = values[(values >= low) & (values <= high)]
    spread = float(stripe.std())
    if spread == 0:
        raise ImageError("The reference tissue has one intensity only.", found=f"{peak:g}")
    return image.with_array(((np.asarray(image.array, dtype=float) - stripe.mean()) / spread).astype(np.float32))


def _peak(values: Values) -> float:
    """The commonest intensity: the middle of the shortest interval that holds a quarter of the voxels.

    It needs no bin width, and a few bright vessels do not move it (half-sample mode's first step).
    """
    size = max(2, len(values) // 4)
    widths = values[size - 1 :] - values[: len(values) - size + 1]
    start = int(np.argmin(widths))
    return float(np.median(values[start : start + size]))


class NyulStandardizer(TransformerMixin, BaseEstimator):
    """Nyul's standard scale: percentile landmarks of training patients, averaged; every image is mapped onto them.

    Parameters
    ----------
    percentiles
        Landmarks, rising, the first and last are the ends of the scale.
    low, high
        Where the first and the last landmark lie on the standard scale.

    Attributes
    ----------
    landmarks_
        Mean place of each percentile on the standard scale, shape (len(percentiles),), rising.
    n_patients_
        How many patients it was learned from.

    Notes
    -----
    Nyul LG, Udupa JK, Zhang X. New variants of a method of MRI scale standardization. IEEE Trans Med Imaging
    2000;19:143-150. Between landmarks the map is linear; beyond the ends it goes on with the last slope.
    """

    def __init__(self, percentiles: Sequence[float] = PERCENTILES, low: float = 0.0, high: float = 100.0) -> None:
        self.percentiles = percentiles
        self.low = low
        self.high = high

    def fit(self, X: Iterable[npt.ArrayLike], y: Any = None) -> Self:
        """Learn the landmarks.

        Parameters
        ----------
        X
            Intensities of each training patient's region, one array a patient (of any length).

        Raises
        ------
        ImageError
            No patient, or one whose landmarks coincide.
        """
        self._check()
        placed = []
        for values in X:
            marks = self._marks(np.asarray(values, dtype=float).ravel())
            scale = (self.high - self.low) / (marks[-1] - marks[0])
            placed.append(self.low + (marks - marks[0]) * scale)
        if not placed:
            raise ImageError("A standard scale is learned from patients.", expected="one or more", found="none")
        self.landmarks_ = np.mean(placed, axis=0)
        self.n_patients_ = len(placed)
        return self

    def transform(self, X: Iterable[npt.ArrayLike]) -> list[Values]:
        """Each patient's intensities on the standard scale, in the order given."""
        check_is_fitted(self, "landmarks_")
        arrays = [np.asarray(values, dtype=float) for values in X]
        return [self._map(values, values.ravel()) for values in arrays]

    def apply(self, image: Volume, region: Volume | None = None) -> Volume:
        """One image on the standard scale; its own landmarks are taken in the region."""
        check_is_fitted(self, "landmarks_")
        mapped = self._map(np.asarray(image.array, dtype=float), region_values(image, region))
        return image.with_array(mapped.astype(np.float32))

    def to_dict(self) -> dict[str, Any]:
        """JSON-able description from which `from_dict` makes the same standardizer."""
        check_is_fitted(self, "landmarks_")
        return {
            "percentiles": [float(value) for value in self.percentiles],
            "low": float(self.low),
            "high": float(self.high),
            "landmarks": [float(value) for value in self.landmarks_],
            "n_patients": int(self.n_patients_),
        }

    @classmethod
    def from_dict(cls, entry: Mapping[str, Any]) -> NyulStandardizer:
        """From `to_dict`."""
        made = cls(tuple(entry["percentiles"]), entry["low"], entry["high"])
        made.landmarks_ = np.asarray(entry["landmarks"], dtype=float)
        made.n_patients_ = int(entry["n_patients"])
        return made

    def _check(self) -> None:
        points = np.asarray(self.percentiles, dtype=float)
        if len(points) < 2 or (np.diff(points) <= 0).any() or points[0] < 0 or points[-1] > 100:
            raise ImageError("Landmarks are rising percentiles.", expected="0 to 100", found=f"{points.tolist()}")
        if self.high <= self.low:
            raise ImageError("The standard scale must rise.", found=f"{self.low:g} to {self.high:g}")

    def _marks(self, values: Values) -> Values:
        values = values[np.isfinite(values)]
        if len(values) < _FEWEST_VOXELS:
            raise ImageError("A patient has too few voxels for a standard scale.", found=f"{len(values)}")
        marks = np.percentile(values, self.percentiles)
        if marks[-1] <= marks[0]:
            raise ImageError("A patient's intensities do not vary.", found=f"{float(marks[0]):g} everywhere")
        return np.asarray(marks)

    def _map(self, array: Values, values: Values) -> Values:
        marks = self._marks(values)
        # Equal landmarks (many voxels of one value) would make the map ambiguous: the first of them is kept.
        keep = np.concatenate([[True], np.diff(marks) > 0])
        x, y = marks[keep], self.landmarks_[keep]
        mapped = np.interp(array, x, y)
        if len(x) > 1:
            low_slope, high_slope = (y[1] - y[0]) / (x[1] - x[0]), (y[-1] - y[-2]) / (x[-1] - x[-2])
            mapped = np.where(array < x[0], y[0] + (array - x[0]) * low_slope, mapped)
            mapped = np.where(array > x[-1], y[-1] + (array - x[-1]) * high_slope, mapped)
        return np.asarray(mapped)
