"""Volumes and masks: geometry, reading, writing, VOI algebra, overlays.

What lives here: `Volume`, the only form in which an image travels; NIfTI, NRRD, MHA and DICOM in and out.
What may not: patients' outcomes, features, models.
"""

from hepacast.imaging import overlay  # noqa: F401  (it draws volumes)
from hepacast.imaging.io import (
    read_labelmap,
    read_mask,
    read_volume,
    write_labelmap,
    write_volume,
)
from hepacast.imaging.labels import LabelMap
from hepacast.imaging.placing import place_mask
from hepacast.imaging.volume import Geometry, Volume

__all__ = [
    "Geometry",
    "LabelMap",
    "Volume",
    "place_mask",
    "read_labelmap",
    "read_mask",
    "read_volume",
    "write_labelmap",
    "write_volume",
]
