"""Image and mask of one patient as slices for a plain canvas: axial, in radiological convention."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hepacast.core.files import read_json
from hepacast.errors import HepacastError
from hepacast.imaging import Volume
from hepacast.imaging.io import read_labelmap
from hepacast.imaging.overlay import mask_colors
from hepacast.imaging.resample import to_lps_axes
from hepacast.study.context import Context
from hepacast.study.patient_masks import MASKS, mask_file
from hepacast.study.reviews import corrected_masks, read_corrected
from hepacast.study.sequences import measured_image
from hepacast.web.places import PlaceError

#: Bytes of slices that stay in memory; of a scan of 512 x 512 x 600 they are 0.5 GB.
_KEPT = 1.2e9
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

    @property
    def bytes(self) -> int:
        """Memory."""
        return self.image.nbytes + self.mask.nbytes

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
    """The slices of the patients that were looked at last, and of those who are looked at next."""

    def __init__(self) -> None:
        self._found: OrderedDict[tuple[Any, ...], Future[MaskedSlices]] = OrderedDict()
        self._expected: set[tuple[Any, ...]] = set()
        self._lock = threading.Lock()
        self._readers = ThreadPoolExecutor(max_workers=2, thread_name_prefix="slices")

    def get(self, context: Context, patient: str) -> MaskedSlices:
        """A patient's slices.

        Raises
        ------
        PlaceError
            There is no mask yet.
        HepacastError
            Image or mask cannot be read.
        """
        key = _key(context, patient)
        with self._lock:
            reading = self._ask(key, context, patient)
        try:
            found = reading.result()
        except BaseException:
            with self._lock:
                self._found.pop(key, None)
            raise
        with self._lock:
            self._drop_oldest()
        return found

    def expect(self, context: Context, patients: Sequence[str]) -> None:
        """Read slices that will be asked for next, while somebody looks at others; each once only."""
        for patient in patients:
            with suppress(HepacastError, OSError):
                key = _key(context, patient)
                with self._lock:
                    if key not in self._expected:
                        self._expected.add(key)
                        self._ask(key, context, patient)

    def _ask(self, key: tuple[Any, ...], context: Context, patient: str) -> Future[MaskedSlices]:
        if key not in self._found:
            self._found[key] = self._readers.submit(_read, context, patient)
        self._found.move_to_end(key)
        return self._found[key]

    def _drop_oldest(self) -> None:
        """Those asked for last are kept, as many as there is room for, one at least."""
        room = _KEPT
        for number, key in enumerate(reversed(list(self._found))):
            reading = self._found[key]
            if reading.done() and reading.exception() is None:
                room -= reading.result().bytes
                if room < 0 and number:
                    del self._found[key]


def _key(context: Context, patient: str) -> tuple[Any, ...]:
    """By what a patient's slices are known again: the mask that is shown."""
    mask = shown_mask(context, patient)
    return (str(context.out), patient, str(mask), mask.stat().st_mtime_ns)


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
    return MaskedSlices(
        stored, mask.array.astype(np.uint8, copy=False), spacing, slope, intercept, image.modality, labels
    )


def _in_16_bits(volume: Volume) -> tuple[npt.NDArray[np.int16], float, float]:
    """Values as 16-bit numbers: whole ones as they are, others scaled over their range."""
    values = volume.array
    if values.dtype == np.int16:
        return values, 1.0, 0.0  # a copy of a long scan would cost more than its slices ever do
    low, high = float(values.min()), float(values.max())
    limits = np.iinfo(np.int16)
    if values.dtype.kind in "iu" and limits.min <= low and high <= limits.max:
        return values.astype(np.int16), 1.0, 0.0
    stored = np.empty(values.shape, np.int16)
    # Slice by slice: a long scan of float64 would be held several times.
    if limits.min <= low and high <= limits.max and all(_whole(plane, stored[k]) for k, plane in enumerate(values)):
        return stored, 1.0, 0.0
    slope = max(high - low, 1e-12) / 65000.0
    center = (high + low) / 2
    for k, plane in enumerate(values):
        stored[k] = np.rint((plane - center) / slope)
    return stored, slope, center


def _whole(plane: npt.NDArray[Any], stored: npt.NDArray[np.int16]) -> bool:
    """Put a slice into 16 bits, and tell whether nothing was lost."""
    stored[...] = plane
    return bool(np.array_equal(stored, plane))
