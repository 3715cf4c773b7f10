"""One patient's image of one sequence: the only way in which the parts of a study find and read it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from hepacast.core.fingerprint import Fingerprints
from hepacast.core.kept import InputFile
from hepacast.core.names import file_name
from hepacast.errors import ImageError
from hepacast.imaging import Volume
from hepacast.imaging.dicom import series_of_mask
from hepacast.imaging.io import dicom_mask, image_files, image_notes, image_slices, read_volume
from hepacast.study.context import Context
from hepacast.study.mask_files import mask_files
from hepacast.study.schema.images import OF_MASK


@dataclass(frozen=True)
class SequenceImage:
    """Where an image is, which DICOM series of the place it is, and what it must be.

    Parameters
    ----------
    name
        Of the sequence.
    path
        File or DICOM folder.
    series
        Number, UID or words of the description, where the folder holds several series.
    modality
        ``CT`` or ``MR``.
    masks
        Where the series is the one of the mask: the mask's files, a DICOM SEG among them.
    """

    name: str
    path: Path
    series: str | int | None
    modality: str
    masks: tuple[Path, ...] = ()

    @cached_property
    def chosen(self) -> str | int | None:
        """The series as readers take it.

        Raises
        ------
        ImageError
            It is that of the mask, and there is no DICOM SEG, or the series that it was drawn on is not there.
        """
        of_mask = OF_MASK.fullmatch(self.series) if isinstance(self.series, str) else None
        if of_mask is None:
            return self.series
        found = [item[1] for path in self.masks if (item := dicom_mask(path)) and item[0] == "SEG"]
        if not found:
            raise ImageError(
                "The series of the mask is asked for, and the mask does not say which one that is.",
                expected="a DICOM SEG",
                found=", ".join(str(path) for path in self.masks) or "no mask",
                where=str(self.path),
                remedy="name the series by its number or words of its description (images.sequences.NAME.series)",
            )
        return series_of_mask(self.path, found[0], which=int(of_mask[1]) if of_mask[1] else None)

    def read(self) -> Volume:
        """The image.

        Raises
        ------
        ImageError
            It cannot be read, or is of another modality.
        """
        return read_volume(self.path, series=self.chosen, modality=self.modality)

    def exists(self) -> bool:
        """Whether there is a file or folder."""
        return self.path.exists()

    def slices(self) -> tuple[Path, ...]:
        """The files whose voxels are read: the slices of the series, or the one file.

        Raises
        ------
        ImageError
            As `read`, as far as headers tell.
        """
        return image_slices(self.path, series=self.chosen)

    def notes(self) -> tuple[str, ...]:
        """What a person should know of the image, from its headers alone."""
        return image_notes(self.path, series=self.chosen)

    def key(self, prints: Fingerprints) -> list[Any]:
        """What decides the image: the content of its files and the choice among series."""
        return [self.name, [item.sha256 for item in self.inputs(prints)], self.series, self.modality]

    def inputs(self, prints: Fingerprints) -> tuple[InputFile, ...]:
        """The files that are read, as they are now."""
        masks = (path for path in self.masks if path.exists())
        return tuple(prints.read(path) for path in (*image_files(self.path), *masks))


def preprocessed_file(folder: Path, patient: str, sequence: str) -> Path:
    """A patient's finished image in the folder of the preprocessing stage."""
    return folder / "images" / file_name(patient) / f"{sequence}.nii.gz"


def missing_rule(context: Context) -> str:
    """What stands in for a sequence that a patient lacks, by `crop.missing` of the study's networks.

    ``error`` (nobody may lack one) where no network says otherwise. The sequence that masks are drawn on is never
    missing.
    """
    study = context.study
    networks = study.deep or (study.fusion.deep if study.fusion is not None else None)
    return "error" if networks is None else str(networks.crop.missing)


def needed_sequences(context: Context) -> tuple[str, ...]:
    """Sequences that every patient must have: all; where others have a stand-in, that of the masks and those that a
    network of the study segments by."""
    images = context.images
    if missing_rule(context) == "error":
        return tuple(images.sequences)
    channels = images.channels if images.segmentation.source == "nnunet" else []
    return tuple(name for name in images.sequences if name == images.reference or name in channels)


def sequences_of(context: Context, patient: str) -> tuple[str, ...]:
    """A patient's sequences: those that are needed, and of the others those that are there."""
    needed = needed_sequences(context)
    return tuple(
        name for name in context.images.sequences if name in needed or raw_image(context, patient, name).exists()
    )


def measured_image(context: Context, patient: str, sequence: str | None = None) -> SequenceImage:
    """A patient's image as stages measure it (preprocessed, for MR); by default the one on which masks are drawn."""
    images = context.images
    name = sequence or images.reference
    if images.preprocessing is None:
        return raw_image(context, patient, name)
    return SequenceImage(
        name, preprocessed_file(context.out / "preprocessing", patient, name), None, images.sequences[name].modality
    )


def raw_image(context: Context, patient: str, sequence: str | None = None) -> SequenceImage:
    """A patient's image as the study file names it; by default the one on which masks are drawn."""
    images = context.images
    name = sequence or images.reference
    rule = images.sequences[name]
    masks = images.segmentation.masks if images.of_mask(name) else None
    files = mask_files(context, masks, patient).files if masks is not None else ()
    return SequenceImage(
        name,
        context.path(rule.path, patient=patient),
        rule.series,
        rule.modality,
        tuple(path for _, path in files),
    )


def raw_images(context: Context, patient: str) -> tuple[SequenceImage, ...]:
    """A patient's image of every sequence, as the study file names them; without those that have a stand-in."""
    return tuple(raw_image(context, patient, name) for name in sequences_of(context, patient))


def measured_images(context: Context, patient: str) -> tuple[SequenceImage, ...]:
    """A patient's image of every sequence, as stages measure them; without those that have a stand-in."""
    return tuple(measured_image(context, patient, name) for name in sequences_of(context, patient))


def volumes_of(context: Context, patient: str) -> dict[str, Volume]:
    """A patient's images, that of the masks first; as they are where preprocessing (of which `check` knows nothing) has
    not come yet."""
    reference = context.images.reference
    found = {}
    for name in (reference, *(name for name in sequences_of(context, patient) if name != reference)):
        finished, raw = measured_image(context, patient, name), raw_image(context, patient, name)
        found[name] = (
            replace(finished.read(), notes=raw.notes()) if finished != raw and finished.exists() else raw.read()
        )
    return found
