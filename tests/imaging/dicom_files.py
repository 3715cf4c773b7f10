"""Small DICOM series with chosen faults, for the tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

SECRET = "Secret^Person"


def write_slice(
    path: Path,
    position: tuple[float, float, float],
    *,
    instance: int,
    series: str = "1.2.3.4",
    pixels: np.ndarray | None = None,
    orientation: tuple[float, ...] = (1, 0, 0, 0, 1, 0),
    slope: float | None = 1.0,
    intercept: float | None = -1024.0,
    **attributes: Any,
) -> Path:
    """One CT slice; `attributes` are set as they are (keyword=None removes it)."""
    values = np.full((6, 8), 1000 + instance, np.uint16) if pixels is None else pixels.astype(np.uint16)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[series, str(path)])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    data.StudyInstanceUID, data.SeriesInstanceUID, data.FrameOfReferenceUID = "1.2.3", series, "1.2.9"
    data.PatientName, data.PatientID, data.PatientBirthDate, data.PatientSex = SECRET, "SECRET-ID", "19010203", "O"
    data.StudyDate, data.StudyTime, data.StudyID, data.AccessionNumber = "20200101", "120000", "1", ""
    data.Modality, data.SeriesNumber, data.SeriesDescription = "CT", 3, "portal venous"
    data.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    data.InstanceNumber = instance
    data.ImagePositionPatient, data.ImageOrientationPatient = list(position), list(orientation)
    data.PixelSpacing, data.SliceThickness = [0.8, 0.7], 5.0
    data.Rows, data.Columns = values.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 0
    if slope is not None:
        data.RescaleSlope, data.RescaleIntercept = slope, intercept
    data.PixelData = values.tobytes()
    for keyword, value in attributes.items():
        if value is None:
            delattr(data, keyword)
        else:
            setattr(data, keyword, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
    return path


def write_series(folder: Path, heights: list[float], **attributes: Any) -> list[Path]:
    """Axial slices at these heights; file names are in no useful order."""
    return [
        write_slice(folder / f"{(7 * n) % 101:03d}.dcm", (-50.0, -60.0, z), instance=n + 1, **attributes)
        for n, z in enumerate(heights)
    ]
