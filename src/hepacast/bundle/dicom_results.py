"""What a prediction gives to the PACS: SEG, structured report, page and picture, in the study of the images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hepacast._version import __version__
from hepacast.bundle.applying import AppliedBundle
from hepacast.bundle.model import Bundle
from hepacast.bundle.networks import NetworkBundle
from hepacast.bundle.page import write_page
from hepacast.bundle.structured_report import make_report
from hepacast.core.closure import code_hash
from hepacast.core.files import atomic_folder
from hepacast.errors import ImageError
from hepacast.imaging import Volume
from hepacast.imaging.dicom_documents import make_capture, make_pdf
from hepacast.imaging.dicom_seg_write import make_segmentation
from hepacast.imaging.dicom_source import NOT_FOR_CARE, Origin, SourceSeries, key_of
from hepacast.imaging.overlay import overlay_png
from hepacast.imaging.resample import resample_mask

#: Series numbers, far above those of scanners.
SEGMENTATION, REPORT, PAGE, PICTURE = 9301, 9302, 9303, 9304
FILES = ("segmentation.dcm", "report.dcm", "page.dcm", "overlay.dcm")


@dataclass(frozen=True, eq=False)
class MeasuredOn:
    """The image that masks are shown on, the masks, and the series that the image was read from.

    `made_by` is the segmenter of the masks; empty where they were given.
    """

    image: Volume
    masks: Mapping[str, Volume]
    source: SourceSeries
    made_by: str = ""


def write_dicom_results(
    bundle: Bundle | NetworkBundle, applied: AppliedBundle, seen: MeasuredOn, folder: str | Path
) -> list[Path]:
    """Write the four results, or none.

    Parameters
    ----------
    bundle, applied
        The model and what it said.
    seen
        Where it was measured.
    folder
        Gets the files `FILES`.

    Returns
    -------
    list of Path

    Raises
    ------
    ImageError
        There is nothing to show: all masks are empty.
    """
    item, folder = applied.prediction, Path(folder)
    origin = origin_of(bundle, applied, seen)
    masks = {name: _on_source(mask, seen.source) for name, mask in seen.masks.items()}
    if not any(mask.array.any() for mask in masks.values()):
        raise ImageError("There is no mask that results could be shown on.", found="only empty masks")
    with atomic_folder(folder) as scratch:
        picture = scratch / "overlay.png"
        title = f"{NOT_FOR_CARE}: masks that were measured{', not checked by a reader' if seen.made_by else ''}"
        overlay_png(seen.image, seen.masks, picture, slices=4, columns=2, title=title, dpi=150)
        page = write_page(bundle, item, scratch / "page.pdf", overlay=picture)
        segmentation = make_segmentation(masks, seen.source, origin, made_by=seen.made_by, number=SEGMENTATION)
        results: list[Any] = [
            segmentation,
            make_report(bundle, item, applied.features, segmentation, seen.source, origin, number=REPORT),
            make_pdf(page, seen.source, origin, title=f"Risk of {item.outcome}", number=PAGE),
            make_capture(picture, seen.source, origin, number=PICTURE),
        ]
        picture.unlink()
        page.unlink()
        for name, made in zip(FILES, results, strict=True):
            made.save_as(scratch / name, enforce_file_format=True)
    return [folder / name for name in FILES]


def origin_of(bundle: Bundle | NetworkBundle, applied: AppliedBundle, seen: MeasuredOn) -> Origin:
    """What decides the results: source instances, masks, model, what was told about the patient, and the code.

    Numbers are left out: they follow from these, and their last digits from the machine.
    """
    item = applied.prediction
    code = code_hash("hepacast.bundle.dicom_results")
    told = {"values": item.values, "patient": item.patient, "date": item.date, "level": item.level}
    made = {"bundle": bundle.identity, "model": item.model, "segmenter": seen.made_by, "code": code}
    key = key_of(seen.source, dict(seen.masks), told=told, **made)
    return Origin(key, "hepacast", f"{__version__} ({code[:12]})")


def _on_source(mask: Volume, source: SourceSeries) -> Volume:
    """A mask on the grid of the source, also where images were resampled before they were measured."""
    if mask.geometry.is_same(source.geometry):
        return Volume(mask.array.astype(bool), source.geometry)
    return resample_mask(mask.with_array(mask.array.astype(bool)), reference=source.geometry)
