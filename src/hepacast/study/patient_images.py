"""A new patient's images as a bundle wants them: read by sequence, preprocessed, with masks given or made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hepacast.core.entries import validated
from hepacast.core.progress import Reporter
from hepacast.errors import ImageError, StudyFileError
from hepacast.imaging import Volume
from hepacast.imaging.io import IN_MEMORY, MaskPath, MaskSet, read_mask_set, read_volume
from hepacast.imaging.structures import with_unions
from hepacast.radiomics.recipe import ImageRecipe
from hepacast.segmentation.base import LabelMapResult, Segmenter
from hepacast.study.segment import label_values, mask_path, prepared_segmenter, run_segmenter

#: One image, or several: paths by sequence, or texts ``NAME=PATH``.
Images = str | Path | Volume | Mapping[str, str | Path | Volume] | Sequence[str | Path] | None
#: DICOM series of a folder with several: one, or several by sequence or as texts ``NAME=SERIES``.
SeriesChoice = str | int | Mapping[str, str | int] | Sequence[str] | None

#: A mask file, a folder of one file a structure, or such files by name (also as texts ``NAME=PATH``).
GivenMask = MaskPath | Sequence[str | Path]


@dataclass(frozen=True)
class Outlined:
    """The images with their masks, which lie on the first one's grid; `labelmap` only where a segmenter made it.

    `notes` are for the reader; `doubts` are what is not plausible about images and masks.
    """

    volumes: dict[str, Volume]
    masks: dict[str, Volume]
    notes: tuple[str, ...] = ()
    labelmap: LabelMapResult | None = None
    doubts: tuple[str, ...] = ()

    @property
    def volume(self) -> Volume:
        """The image on which the masks are shown."""
        return next(iter(self.volumes.values()))


def outlined_images(
    recipe: ImageRecipe,
    images: Images,
    mask: GivenMask | None,
    labels: str,
    segmenter: str,
    say: Reporter,
    series: SeriesChoice = None,
) -> Outlined:
    """Read, preprocess and outline one patient's images.

    Parameters
    ----------
    images, mask, labels, segmenter, series
        As in `predict_patient`.

    Raises
    ------
    HepacastError
        An image is missing, cannot be read or preprocessed, or nothing is found in it.
    """
    # The networks are loaded while the images are read.
    with ThreadPoolExecutor(1) as other:
        loading = None if mask is not None else other.submit(prepared_segmenter, segmenter)
        volumes = _read_images(images, recipe.sequences, series)
    networks = None if loading is None else loading.result()
    notes = [
        f"{name}: {note}" if len(volumes) > 1 else note for name, volume in volumes.items() for note in volume.notes
    ]
    if recipe.preprocessing is None:
        found = _outline(recipe, volumes, mask, labels, networks, say)
    else:
        found = _preprocessed(recipe, recipe.preprocessing, volumes, mask, labels, networks, say)
    return replace(found, notes=(*notes, *found.notes))


@dataclass(frozen=True, eq=False)
class NamedImage:
    """An image as it was given, and which DICOM series of it is meant."""

    path: str | Path | Volume
    series: str | int | None = None


def _read_images(given: Images, sequences: Mapping[str, str], series: SeriesChoice) -> dict[str, Volume]:
    """Images by sequence, in the bundle's order; see `named_images`."""
    return {
        name: read_volume(image.path, series=image.series, modality=sequences.get(name))
        for name, image in named_images(given, sequences, series).items()
    }


def named_images(given: Images, sequences: Mapping[str, str], series: SeriesChoice) -> dict[str, NamedImage]:
    """What was given as images, by sequence in the bundle's order.

    Raises
    ------
    StudyFileError
        It cannot be told which sequence an image is, or one is given twice.
    """
    known = list(sequences)
    if isinstance(given, str | Path | Volume):
        given = [given]  # type: ignore[list-item]
    pairs: list[tuple[str, str | Path | Volume]] = []
    if isinstance(given, Mapping):
        pairs = list(given.items())
    else:
        for item in given or ():
            name, sign, rest = ("", "", "") if isinstance(item, Volume) else str(item).partition("=")
            named = bool(sign) and name.strip() in sequences
            # An image without a name is the only one.
            only = known[0] if len(known) == 1 else "image" if not known else ""
            pairs.append((name.strip(), rest.strip()) if named else (only, item))
    chosen = _series_by_name(series, [name for name, _ in pairs])
    found: dict[str, NamedImage] = {}
    for name, path in pairs:
        if known and name not in sequences:
            raise StudyFileError(
                "It is not told which sequence an image is.",
                expected="; ".join(f"--image {item}=PATH" for item in known),
                found=name or (IN_MEMORY.name if isinstance(path, Volume) else str(path)),
            )
        if name in found:
            raise StudyFileError(f"Two images of the sequence {name!r} are given.", found=str(path))
        found[name] = NamedImage(path, chosen.get(name))
    return {name: found[name] for name in (known or found) if name in found}


def _series_by_name(given: SeriesChoice, names: Sequence[str]) -> dict[str, str | int]:
    """The series of each image; one without a name holds for the only image."""
    if given is None:
        return {}
    if isinstance(given, Mapping):
        pairs = list(given.items())
    else:
        pairs = []
        for item in [given] if isinstance(given, str | int) else given:
            name, sign, rest = str(item).partition("=")
            named = bool(sign) and name.strip() in names
            pairs.append((name.strip(), rest.strip()) if named else (names[0] if len(names) == 1 else "", item))
    for name, item in pairs:
        if name not in names or [other for other, _ in pairs].count(name) > 1:
            raise StudyFileError(
                "It is not told which image a series is of.",
                expected="; ".join(f"--series {name}=SERIES" for name in names) or "an image (--image)",
                found=str(item),
            )
    return dict(pairs)


def pairs_of(items: Sequence[str]) -> dict[str, str]:
    """Texts ``name=value`` as a dictionary.

    Raises
    ------
    StudyFileError
        Another form, or a name that is given twice.
    """
    pairs: dict[str, str] = {}
    for item in items:
        name, sign, value = item.partition("=")
        if not sign or not name.strip() or not value.strip():
            raise StudyFileError("A clinical value is written as name=value.", found=item)
        if name.strip() in pairs:
            raise StudyFileError(f"The clinical value {name.strip()!r} is given twice.", found=item)
        pairs[name.strip()] = value.strip()
    return pairs


def _preprocessed(
    recipe: ImageRecipe,
    entry: Mapping[str, Any],
    volumes: dict[str, Volume],
    mask: GivenMask | None,
    labels: str,
    networks: Segmenter | None,
    say: Reporter,
) -> Outlined:
    """Images preprocessed as the training's were. A given mask lies on the reference as the scanner gave it."""
    from hepacast.study.preprocessed_images import finish_patient, segmented_liver
    from hepacast.study.schema.preprocessing import PreprocessingOptions

    reference, rules = str(entry["reference"]), validated(PreprocessingOptions, entry["rules"], "preprocessing: rules")
    volumes = recipe.by_sequence(volumes)
    drawn = MaskSet({}) if mask is None else _given_masks(mask, labels, recipe, volumes[reference])
    say.say("preprocessing: " + rules.steps(recipe.sequences.values()))
    seen = drawn.masks
    if rules.needs_liver and networks is not None:
        seen = {"liver": segmented_liver(volumes[reference], networks)}
    finished, masks, doubts = finish_patient(volumes, recipe.sequences, seen, reference, rules, entry["landmarks"])
    finished = {reference: finished[reference]} | finished
    if mask is not None:
        return Outlined(finished, with_unions(masks), (*drawn.notes, *doubts))
    found = _outline(recipe, finished, None, labels, networks, say)
    return replace(found, notes=(*found.notes, *doubts))


def _given_masks(mask: GivenMask, labels: str, recipe: ImageRecipe, volume: Volume) -> MaskSet:
    """Structures of a mask file, named by the user or as in the study."""
    given = label_values(pairs_of([item for item in labels.split(",") if item])) or dict(recipe.labels)
    return read_mask_set(mask_path(mask), given or None, reference=volume, rules=recipe.mask_rules)


def _outline(
    recipe: ImageRecipe,
    volumes: dict[str, Volume],
    mask: GivenMask | None,
    labels: str,
    networks: Segmenter | None,
    say: Reporter,
) -> Outlined:
    """The masks: given, or made by the segmenter from the first image, or from several registered ones."""
    volume = next(iter(volumes.values()))
    if mask is not None:
        found = _given_masks(mask, labels, recipe, volume)
        return Outlined(volumes, with_unions(found.masks), found.notes)
    assert networks is not None
    result = run_segmenter(volumes, networks, reporter=say)
    note = f"the masks were made by the {result.source} segmenter and not checked by a reader: look at them"
    if not any(result.mask(name).array.any() for name in result.structures):
        raise ImageError("The segmenter found nothing in this image.", remedy="give a mask with --mask")
    return Outlined(volumes, with_unions(result.masks()), (note, *result.notes), result)
