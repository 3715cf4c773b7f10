"""DICOM SEG out: named masks as a segmentation object that points to its series."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hepacast.core.files import atomic_path
from hepacast.errors import ImageError
from hepacast.imaging.dicom_source import Origin, SourceSeries, describe_result, key_of, read_source
from hepacast.imaging.volume import Geometry, Volume

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
        Target file, written atomically. The same masks of the same series are the same instance, other masks another.
    algorithm, version
        Recorded as the maker of the segments.

    Raises
    ------
    GeometryError
        A mask is not on the series' grid.
    ImageError
        All masks are empty, or the series is refused or lacks the UIDs that a SEG refers to.
    """
    source = read_source(source_series_folder, series=series)
    origin = Origin(key_of(source, dict(masks), maker=algorithm, version=version), algorithm, version)
    segmentation = make_segmentation(masks, source, origin, where=str(source_series_folder))
    with atomic_path(path) as temporary:
        segmentation.save_as(temporary)


def make_segmentation(
    masks: Mapping[str, Volume],
    source: SourceSeries,
    origin: Origin,
    *,
    made_by: str | None = None,
    where: str = "",
    number: int = 300,
) -> Any:
    """Masks as a SEG (highdicom) in a series of its own of the source's study.

    Parameters
    ----------
    made_by
        Segmenter of the masks, by default the origin's maker; empty where a reader has drawn them.
    where, number
        For messages; of the series.

    Raises
    ------
    GeometryError
        A mask is not on the source's grid.
    ImageError
        All masks are empty.
    """
    from highdicom.seg import Segmentation, SegmentationTypeValues

    stack = _stacked(masks, source.geometry, where)
    segmenter = origin.maker if made_by is None else made_by
    if not stack.any():
        raise ImageError("A DICOM SEG needs at least one voxel.", found="only empty masks", where=where)
    with warnings.catch_warnings():
        # highdicom's warnings about unusual person names would print the patient's name.
        warnings.simplefilter("ignore")
        segmentation = Segmentation(
            source_images=list(source.headers),
            pixel_array=stack,
            segmentation_type=SegmentationTypeValues.BINARY,
            segment_descriptions=_descriptions(list(masks), segmenter, origin.version),
            series_instance_uid=origin.uid("segmentation", "series"),
            series_number=number,
            sop_instance_uid=origin.uid("segmentation", "instance"),
            instance_number=1,
            manufacturer="hepacast",
            manufacturer_model_name=origin.maker,
            software_versions=origin.version or "unknown",
            device_serial_number="0",
            omit_empty_frames=True,
        )
    describe_result(segmentation, source, origin, "segmentation", number=number)
    # highdicom draws this one at random.
    organization = origin.uid("segmentation", "dimensions")
    segmentation.DimensionOrganizationSequence[0].DimensionOrganizationUID = organization
    for index in segmentation.DimensionIndexSequence:
        index.DimensionOrganizationUID = organization
    return segmentation


def _stacked(masks: Mapping[str, Volume], geometry: Geometry, where: str) -> np.ndarray:
    for name, mask in masks.items():
        geometry.require_same(mask.geometry, what=f"the mask {name!r}", where=where)
    return np.stack([mask.array.astype(bool) for mask in masks.values()], axis=-1).astype(np.uint8)


def _descriptions(names: list[str], algorithm: str, version: str) -> list[Any]:
    """What each segment is; without an algorithm a reader has drawn it."""
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.seg import SegmentAlgorithmTypeValues, SegmentDescription
    from pydicom.sr.coding import Code

    made: dict[str, Any] = {"algorithm_type": SegmentAlgorithmTypeValues.MANUAL}
    if algorithm:
        family = Code("123110", "DCM", "Artificial Intelligence")
        identification = AlgorithmIdentificationSequence(algorithm, family, version or "unknown")
        made = {"algorithm_type": SegmentAlgorithmTypeValues.AUTOMATIC, "algorithm_identification": identification}
    described = []
    for number, name in enumerate(names, start=1):
        category, kind = SEGMENT_CODES.get(name, (_TISSUE, _TISSUE))
        described.append(
            SegmentDescription(
                segment_number=number,
                segment_label=name,
                segmented_property_category=Code(category[0], "SCT", category[1]),
                segmented_property_type=Code(kind[0], "SCT", kind[1]),
                **made,
            )
        )
    return described
