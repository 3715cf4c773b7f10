"""Image and mask of one patient as slices for a plain canvas: axial, in radiological convention."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hepacast.core.files import read_json
from hepacast.imaging import Volume
from hepacast.imaging.io import read_labelmap
from hepacast.imaging.overlay import mask_colors
from hepacast.imaging.resample import to_lps_axes
from hepacast.study.context import Context
from hepacast.study.patient_masks import MASKS, mask_file
from hepacast.study.reviews import corrected_masks, read_corrected
from hepacast.study.sequences import measured_image
from hepacast.web.places import PlaceError

#: Patients whose slices stay in memory.
_KEPT = 2
_WINDOWS = {"liver": (150.0, 60.0), "abdomen": (400.0, 50.0), "lung": (1500.0, -500.0), "bone": (1800.0, 400.0)}


@dataclass(frozen=True)
class MaskedSlices:
    """One patient, to be looked at.

    Parameters
    ----------
    image
        ``[k, j, i]``, 16 bits; values are `slope` * stored + `intercept`.
    mask
        Label values on the same grid.
    spacing
        mm of i, j and k.
    """

    image: npt.NDArray[np.int16]
    mask: npt.NDArray[np.uint8]
    spacing: tuple[float, float, float]
    slope: float
    intercept: float
    modality: str
    labels: dict[str, int]

    def facts(self) -> dict[str, Any]:
        """What the page needs to show them."""
        colors = mask_colors(list(self.labels))
        inside = np.flatnonzero(self.mask.any(axis=(1, 2)))
        middle = int(inside[len(inside) // 2]) if len(inside) else self.mask.shape[0] // 2
        return {
            "shape": list(self.image.shape),
            "spacing": list(self.spacing),
            "slope": self.slope,
            "intercept": self.intercept,
            "modality": self.modality,
            "windows": self._windows(),
            "labels": [{"name": name, "value": value, "color": colors[name]} for name, value in self.labels.items()],
            "first": middle,
            "marked": [int(k) for k in inside],
        }

    def _windows(self) -> dict[str, tuple[float, float]]:
        """Width and center by name."""
        if self.modality == "CT":
            return _WINDOWS
        part = self.image[:: max(1, self.image.shape[0] // 16), ::4, ::4]
        low, high = np.percentile(part, [1.0, 99.5]) * self.slope + self.intercept
        return {"all": (max(float(high - low), 1e-6), float(high + low) / 2)}


class SliceStore:
    """The slices of the patients that were looked at last."""

    def __init__(self) -> None:
        self._found: OrderedDict[tuple[Any, ...], MaskedSlices] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, context: Context, patient: str) -> MaskedSlices:
        """A patient's slices.

        Raises
        ------
        PlaceError
            There is no mask yet.
        HepacastError
            Image or mask cannot be read.
        """
        mask = shown_mask(context, patient)
        key = (str(context.out), patient, str(mask), mask.stat().st_mtime_ns)
        with self._lock:
            if key not in self._found:
                self._found[key] = _read(context, patient)
            self._found.move_to_end(key)
            while len(self._found) > _KEPT:
                self._found.popitem(last=False)
            return self._found[key]


def shown_mask(context: Context, patient: str) -> Path:
    """The mask that the next run would measure, as far as it is known: the corrected one, else that of the last run."""
    path = last_mask(context, patient)
    if not path.is_file():
        raise PlaceError("There is no mask of this patient yet.", remedy="run the study")
    return path


def last_mask(context: Context, patient: str) -> Path:
    """Where that mask would be."""
    return corrected_masks(context).get(patient) or mask_file(context.out / "segmentation" / MASKS, patient)


def mask_labels(context: Context) -> dict[str, int]:
    """Names and values of the masks of the last run."""
    labels = read_json(context.out / "segmentation" / MASKS / "labels.json")
    return {str(name): int(value) for name, value in labels.items()}


def _read(context: Context, patient: str) -> MaskedSlices:
    image = measured_image(context, patient)
    volume, labels = image.read(), mask_labels(context)
    if patient in corrected_masks(context):
        found = read_corrected(context, patient)
    else:
        found = read_labelmap(shown_mask(context, patient), labels, reference=volume)
    turned, mask = to_lps_axes(volume), to_lps_axes(found.volume)
    stored, slope, intercept = _in_16_bits(turned)
    spacing = turned.geometry.spacing
    return MaskedSlices(stored, mask.array.astype(np.uint8), spacing, slope, intercept, image.modality, labels)


def _in_16_bits(volume: Volume) -> tuple[npt.NDArray[np.int16], float, float]:
    """Values as 16-bit numbers: whole ones as they are, others scaled over their range."""
    values = volume.array
    low, high = float(values.min()), float(values.max())
    limits = np.iinfo(np.int16)
    if limits.min <= low and high <= limits.max and np.issubdtype(values.dtype, np.integer):
        return values.astype(np.int16), 1.0, 0.0
    rounded = np.rint(values)
    if limits.min <= low and high <= limits.max and np.array_equal(rounded, values):
        return rounded.astype(np.int16), 1.0, 0.0
    slope = max(high - low, 1e-12) / 65000.0
    center = (high + low) / 2
    return np.rint((values - center) / slope).astype(np.int16), slope, center
