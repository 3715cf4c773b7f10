"""A volume written as the DICOM series of a scanner, for the tests."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from hepacast.imaging import Volume

sys.path.insert(0, str(Path(__file__).parent))
from dicom_files import write_slice


def write_volume_as_dicom(folder: Path, volume: Volume, *, series: str = "1.2.3.77", **attributes: Any) -> Path:
    """One file a slice; `attributes` are set as they are (keyword=None removes it)."""
    geometry, axes = volume.geometry, np.array(volume.geometry.direction)
    orientation = tuple(float(value) for value in [*axes[:, 0], *axes[:, 1]])
    for k, plane in enumerate(volume.array):
        place = tuple(float(f"{value:.6f}") for value in (geometry.affine_lps @ [0, 0, k, 1])[:3])
        more = {"PixelSpacing": [geometry.spacing[1], geometry.spacing[0]], "SliceThickness": geometry.spacing[2]}
        write_slice(
            folder / f"{k:03d}.dcm",
            place,
            instance=k + 1,
            series=series,
            pixels=plane.astype(int) + 1024,
            orientation=orientation,
            **{**more, **attributes},
        )
    return folder
