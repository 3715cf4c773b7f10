"""DICOM SEG out: named masks as a segmentation object that points to its series."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hepacast.core.files import atomic_path
from hepacast.errors import ImageError
from hepacast.imaging.dicom import read_series, series_files
from hepacast.imaging.volume import Geometry, Volume

#: What a SEG repeats from its source images; may be empty, must be there.
_PATIENT_AND_STUDY = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyID", "AccessionNumber", "StudyDate",
    "StudyTime", "ReferringPhysicianName",
)  # fmt: skip

#: SNOMED CT codes (category, type) of the structures that hepacast knows by name; others are plain tissue.
_ANATOMY = ("123037004", "Anatomical Structure")
_LESION = ("49755003", "Morphologically Abnormal Structure")
_TISSUE = ("85756007", "Tissue")
SEGMENT_CODES: dict[str, tuple[tuple[str, str], tuple[str, str]]] = {
    "liver": (_ANATOMY, ("10200004", "Liver")),
    "parenchyma": (_ANATOMY, ("10200004", "Liver")),
    "tumor": (_LESION, ("86049000", "Neoplasm, Primary")),
    "lesion": (_LESION, ("52988006", "Lesion")),
    "spleen": (_ANATOMY, ("78961009", "Spleen")),
    "portal_vein": (_ANATOMY, ("32764006", "Portal vein")),
    "aorta": (_ANATOMY, ("15825003", "Aorta")),
}


def write_dicom_seg(
    masks: Mapping[str, Volume],
    source_series_folder: str | Path,
    path: str | Path,
    *,
    series: str | int | None = None,
    algorithm: str = "hepacast",
    version: str = "",
) -> None:
    """Write masks as a DICOM SEG that points to its CT or MR series, so that a PACS shows them on it.

    Parameters
    ----------
    masks
        Boolean volumes on the series' grid, by name; they may overlap. Names in `SEGMENT_CODES` get their code.
    source_series_folder, series
        The series that was segmented (see `hepacast.imaging.dicom.read_series`).
    path
        Target file, written atomically.
    algorithm, version
        Recorded as the maker of the segments.

    Raises
    ------
    GeometryError
        A mask is not on the series' grid.
    ImageError
        All masks are empty, or the series is refused.
    """
    import highdicom
    import pydicom
    from highdicom.seg import Segmentation, SegmentationTypeValues

    folder = Path(source_series_folder)
    geometry = read_series(folder, series=series).geometry
    stack = _stacked(masks, geometry, folder)
    if not stack.any():
        raise ImageError("A DICOM SEG needs at least one voxel.", found="only empty masks", where=str(path))
    sources = _completed([pydicom.dcmread(file) for file in series_files(folder, series=series)])
    with warnings.catch_warnings():
        # highdicom's warnings about unusual person names would print the patient's name.
        warnings.simplefilter("ignore")
        segmentation = Segmentation(
            source_images=sources,
            pixel_array=stack,
            segmentation_type=SegmentationTypeValues.BINARY,
            segment_descriptions=_descriptions(list(masks), algorithm, version),
            series_instance_uid=highdicom.UID(),
            series_number=300,
            sop_instance_uid=highdicom.UID(),
            instance_number=1,
            manufacturer="hepacast",
            manufacturer_model_name=algorithm,
            software_versions=version or "unknown",
            device_serial_number="0",
            series_description="Segmentation (research use)",
            omit_empty_frames=True,
        )
    with atomic_path(path) as temporary:
        segmentation.save_as(temporary)


def _stacked(masks: Mapping[str, Volume], geometry: Geometry, folder: Path) -> np.ndarray:
    for name, mask in masks.items():
        geometry.require_same(mask.geometry, what=f"the mask {name!r}", where=str(folder))
    return np.stack([mask.array.astype(bool) for mask in masks.values()], axis=-1).astype(np.uint8)


def _descriptions(names: list[str], algorithm: str, version: str) -> list[Any]:
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.seg import SegmentAlgorithmTypeValues, SegmentDescription
    from pydicom.sr.coding import Code

    family = Code("123110", "DCM", "Artificial Intelligence")
    identification = AlgorithmIdentificationSequence(name=algorithm, version=version or "unknown", family=family)
    described = []
    for number, name in enumerate(names, start=1):
        category, kind = SEGMENT_CODES.get(name, (_TISSUE, _TISSUE))
        described.append(
            SegmentDescription(
                segment_number=number,
                segment_label=name,
                segmented_property_category=Code(category[0], "SCT", category[1]),
                segmented_property_type=Code(kind[0], "SCT", kind[1]),
                algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
                algorithm_identification=identification,
            )
        )
    return described


def _completed(datasets: list[Any]) -> list[Any]:
    """Fill what de-identification removed and a reference needs; nothing that identifies a patient is added."""
    from pydicom.uid import generate_uid

    stem = str(datasets[0].file_meta.MediaStorageSOPInstanceUID)
    common = {
        keyword: str(generate_uid(entropy_srcs=[keyword, stem]))
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
    }
    for dataset in datasets:
        for keyword, value in common.items():
            if not dataset.get(keyword):
                setattr(dataset, keyword, value)
        for keyword in ("SOPClassUID", "SOPInstanceUID"):
            if not dataset.get(keyword):
                setattr(dataset, keyword, dataset.file_meta[f"MediaStorage{keyword}"].value)
        for keyword in _PATIENT_AND_STUDY:
            if keyword not in dataset:
                setattr(dataset, keyword, None if keyword.endswith(("Date", "Time")) else "")
        if not dataset.get("SpecificCharacterSet"):
            dataset.SpecificCharacterSet = "ISO_IR 192"
    return datasets
