"""RTSTRUCT files written by hand, for the tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

RTSTRUCT = "1.2.840.10008.5.1.4.1.1.481.3"


def write_rtstruct(
    path: Path,
    rois: Mapping[str, Sequence[Any]],
    *,
    frame: str = "1.2.9",
    kind: str = "CLOSED_PLANAR",
    numbers: Sequence[int] = (),
) -> Path:
    """`rois`: contours by name, each a list of points (x, y, z) in mm; `numbers` of the ROIs, else 1, 2, 3."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = RTSTRUCT, ExplicitVRLittleEndian
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[str(path)])
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID, data.Modality = RTSTRUCT, meta.MediaStorageSOPInstanceUID, "RTSTRUCT"
    data.PatientName, data.PatientID, data.StudyInstanceUID, data.SeriesInstanceUID = "Secret^Person", "X", "1.2.3", "1"
    data.StructureSetROISequence, data.ROIContourSequence = [], []
    for number, (name, contours) in zip(numbers or range(1, len(rois) + 1), rois.items(), strict=True):
        roi, drawn = Dataset(), Dataset()
        roi.ROINumber, roi.ROIName, roi.ReferencedFrameOfReferenceUID = number, name, frame
        drawn.ReferencedROINumber, drawn.ContourSequence = number, []
        for points in contours:
            contour = Dataset()
            contour.ContourGeometricType, contour.NumberOfContourPoints = kind, len(points)
            contour.ContourData = [f"{value:.5f}" for point in points for value in point]
            drawn.ContourSequence.append(contour)
        data.StructureSetROISequence.append(roi)
        data.ROIContourSequence.append(drawn)
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
    return path


def rectangle(x: tuple[float, float], y: tuple[float, float], z: float) -> list[tuple[float, float, float]]:
    """The outline of a rectangle in one slice."""
    return [(x[0], y[0], z), (x[1], y[0], z), (x[1], y[1], z), (x[0], y[1], z)]


def circle(center: tuple[float, float], radius: float, z: float, n: int = 180) -> list[tuple[float, float, float]]:
    """The outline of a circle in one slice."""
    angles = np.linspace(0, 2 * np.pi, n, endpoint=False)
    return [(center[0] + radius * np.cos(a), center[1] + radius * np.sin(a), z) for a in angles]
