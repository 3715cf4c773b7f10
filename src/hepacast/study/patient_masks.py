"""One patient's mask as a study uses it: an expert's, checked, or that of the segmentation stage."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hepacast.core.files import read_json
from hepacast.core.fingerprint import Fingerprints
from hepacast.core.kept import InputFile
from hepacast.core.names import file_name
from hepacast.errors import HepacastError
from hepacast.imaging import Volume
from hepacast.imaging.io import read_labelmap, write_labelmap
from hepacast.imaging.labels import LabelMap
from hepacast.imaging.structures import structures_of
from hepacast.study.context import Context
from hepacast.study.feature_settings import mask_rules
from hepacast.study.mask_files import mask_files
from hepacast.study.plausible_images import judge_patient, require_possible_cohort
from hepacast.study.reviews import corrected_masks, read_corrected
from hepacast.study.sequences import SequenceImage, measured_image, measured_images, raw_image, volumes_of

MASKS = "masks"
PLAUSIBILITY = "plausibility.json"


def mask_file(folder: Path, patient: str) -> Path:
    """A patient's label map in a folder of masks."""
    return folder / f"{file_name(patient)}.nii.gz"


@dataclass(frozen=True)
class MaskedImages:
    """One patient's images as stages measure them, with the label map that lies on them.

    Parameters
    ----------
    images
        By sequence.
    mask
        File of the label map.
    labels
        Name and value of each of its structures.
    """

    images: tuple[SequenceImage, ...]
    mask: Path
    labels: tuple[tuple[str, int], ...]

    def structures(self, reference: Volume) -> dict[str, Volume]:
        """The structures on an image's grid."""
        return structures_of(read_labelmap(self.mask, dict(self.labels), reference=reference))

    def key(self, prints: Fingerprints) -> list[Any]:
        """What decides images and structures."""
        return [[item.key(prints) for item in self.images], prints.of(self.mask), dict(self.labels)]

    def inputs(self, prints: Fingerprints) -> tuple[InputFile, ...]:
        """The files as they are now."""
        return (prints.read(self.mask), *(file for item in self.images for file in item.inputs(prints)))


def masked_images(context: Context, patient: str) -> MaskedImages:
    """A patient's images with the mask that the segmentation stage made, or (of a further cohort) the given one."""
    return with_mask(context, patient, *mask_of(context, patient))


def with_mask(context: Context, patient: str, mask: Path, labels: Mapping[str, int]) -> MaskedImages:
    """A patient's images with a label map."""
    return MaskedImages(measured_images(context, patient), mask, tuple(labels.items()))


def read_expert(context: Context, patient: str, *, overlay: Path | None = None, second: bool = False) -> LabelMap:
    """An expert's mask, checked against the image.

    Raises
    ------
    GeometryError
        It lies on another grid; the message says by how many mm, and `overlay` shows it.
    ImageError
        It cannot be read, or has none of the named labels.
    """
    from hepacast.segmentation.given import GivenSegmenter

    options = context.images.segmentation
    text = options.second_reader if second else options.masks
    assert text is not None
    files, rules = mask_files(context, text, patient), mask_rules(context)
    image = raw_image(context, patient).read()
    try:
        found = GivenSegmenter(files.given, options.labels, rules=rules, overlay_path=overlay).segment(image)
        return _on_the_grid(context, patient, replace(found.labelmap, notes=found.notes))
    except HepacastError as error:
        error.where = f"patient {patient}: {error.where or files}"
        error.args = (str(error),)
        raise


def read_given(context: Context, patient: str, *, overlay: Path | None = None) -> LabelMap:
    """The mask of a study whose masks are given: the one that a review has corrected, else the expert's."""
    if patient in corrected_masks(context):
        return read_corrected(context, patient)
    return read_expert(context, patient, overlay=overlay)


def _on_the_grid(context: Context, patient: str, labelmap: LabelMap) -> LabelMap:
    """A mask drawn on the original image, on the grid that preprocessing has resampled it to."""
    rules = context.images.preprocessing
    finished = measured_image(context, patient)
    if rules is None or rules.spacing is None or not finished.exists():  # `hepacast check` comes before any stage
        return labelmap
    from hepacast.imaging.resample import resample_mask

    return replace(labelmap, volume=resample_mask(labelmap.volume, reference=finished.read()))


def require_possible_mask(context: Context, patient: str, labelmap: LabelMap) -> None:
    """Stop at an expert's mask of a further cohort that is impossible.

    Raises
    ------
    ImageError
        With what is wrong, and how to overrule it.
    """
    require_possible_cohort([judge_patient(context.study, patient, volumes_of(context, patient), labelmap)])


def mask_of(context: Context, patient: str) -> tuple[Path, dict[str, int]]:
    """A patient's label map: of the segmentation stage, or (for patients of a further cohort) the given one."""
    masks = context.out / "segmentation" / MASKS
    made = mask_file(masks, patient)
    if made.is_file():
        return made, read_json(masks / "labels.json")
    labelmap = read_expert(context, patient)
    require_possible_mask(context, patient, labelmap)
    kept = mask_file(context.cache / "further", patient)
    write_labelmap(labelmap, kept)
    return kept, dict(labelmap.labels)


def voi_values(context: Context) -> list[dict[str, Any]]:
    """Size and intensities of every VOI, a row a patient and sequence."""
    rows = read_json(context.out / "segmentation" / PLAUSIBILITY)["rows"]
    return [{key: math.nan if value is None else value for key, value in row.items()} for row in rows]


def refused_masks(context: Context) -> dict[str, str]:
    """Patients whose mask, made by a network, is impossible, and why: nothing is measured in it."""
    path = context.out / "segmentation" / PLAUSIBILITY
    return dict(read_json(path)["refused"]) if path.is_file() else {}
