"""Which files of a folder are the patients' images and masks: by the identifiers in their names."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from hepacast.errors import HepacastError, ImageError
from hepacast.imaging.phases import PHASES, phase_of

#: How deep a folder is looked into, and at how many entries at most.
_DEPTH, _MOST = 4, 200_000
_IMAGE_ENDS = (".nii", ".nii.gz", ".nrrd", ".mha", ".mhd")
_MASK_WORDS = re.compile(r"mask|seg|label|roi|voi|contour|掩膜|分割|勾画", re.IGNORECASE)
_MARK = "{patient}"
#: The scale of MR that needs no other patient: the liver of the same one.
LIVER_SCALE = {"normalization": "reference-tissue", "tissue": "parenchyma", "scale": 20}
#: The one that needs no mask of the liver either.
BODY_SCALE = {"normalization": "zscore", "region": "body"}


@dataclass(frozen=True)
class ProposedImages:
    """What the folder holds, as paths of a study file.

    Parameters
    ----------
    image, mask
        With ``{patient}``; `mask` is empty where there is none.
    phases
        Images of several phases by phase, in the order of time, where their names tell them apart; `image` is the
        first of them.
    with_image, with_mask
        How many of the table's patients have one (`image`, of several phases the first).
    with_phase
        The same of each phase.
    modality
        ``CT`` or ``MR``.
    labels
        Values of one mask by proposed name.
    doubts
        What to look at.
    """

    image: str
    mask: str
    with_image: int
    with_mask: int
    modality: str
    labels: dict[str, int]
    doubts: tuple[str, ...] = ()
    phases: dict[str, str] = field(default_factory=dict)
    with_phase: dict[str, int] = field(default_factory=dict)

    def part(self) -> dict[str, Any]:
        """The part `images` of a study file."""
        given = {"source": "given", "masks": self.mask, "labels": self.labels}
        sequences = self.phases or {self.modality: self.image}
        part: dict[str, Any] = {
            "sequences": {name: {"path": path, "modality": self.modality} for name, path in sequences.items()},
            "segmentation": given if self.mask else {"source": "builtin"},
        }
        if self.mask and "tumor" in self.labels and "parenchyma" not in self.labels:
            part["vois"] = {"tumor": "tumor"}  # all others need a liver that nobody has drawn
        steps: dict[str, Any] = {"registration": "rigid", "reference": next(iter(sequences))} if self.phases else {}
        if self.modality == "MR":
            scale = LIVER_SCALE if "parenchyma" in self.labels else BODY_SCALE
            steps = {"registration": "none", **steps, "bias_correction": "n4", **scale}
        return part | ({"preprocessing": steps} if steps else {})


def propose_images(folder: Path, patients: Sequence[str]) -> ProposedImages:
    """Find the patients' images and masks in a folder.

    Raises
    ------
    ImageError
        No file or folder is named by a patient's identifier.
    """
    known = {patient.casefold(): patient for patient in patients}
    images, masks = Counter[str](), Counter[str]()
    examples: dict[str, Path] = {}
    of_files: set[str] = set()
    for path, name in _entries(folder):
        is_file = path.name.lower().endswith(_IMAGE_ENDS)
        telling, found = path.name, _patient_in(path.name, known)
        if found is None and is_file and path.parent != folder:
            telling, found = path.parent.name, _patient_in(path.parent.name, known)
        if found is None:
            continue
        pattern = _pattern(path.relative_to(folder), telling, found)
        if pattern is None:
            continue
        is_mask = _MASK_WORDS.search(pattern) is not None
        (masks if is_mask else images)[pattern] += 1
        examples.setdefault(pattern, Path(name))
        if is_file and not is_mask:
            of_files.add(pattern.rpartition("/")[0])
    for pattern in of_files:  # a folder of image files is no DICOM series
        images.pop(pattern, None)
    if not images:
        raise ImageError(
            "No image is named by a patient's identifier.",
            expected=f"files or folders such as {patients[0] if patients else 'ID'}.nii.gz",
            where=str(folder),
            remedy="name them by the identifiers of the table",
        )
    image = images.most_common(1)[0][0]
    mask, n_mask = masks.most_common(1)[0] if masks else ("", 0)
    phases = _phases_of(images)
    image = next(iter(phases.values()), image)
    counts = {phase: images[name] for phase, name in phases.items()}
    others = [name for name, _ in images.most_common(4 + len(phases)) if name not in (image, *phases.values())][:3]
    doubts = [f"other files are named by the patients too: {', '.join(others)}"] if others else []
    modality, doubt = _modality_of(examples[image])
    labels, more = _labels_of(examples[mask]) if mask else ({}, [])
    doubts += [*doubt, *more]
    if modality == "MR" and "parenchyma" not in labels:
        doubts.append("no mask holds the liver, the better scale of MR: each image is on that of its own body")
    if phases:
        doubts.append(
            f"masks are taken as drawn on the {next(iter(phases))} phase (`preprocessing.reference`): are they?"
        )
    few = [f"{phase}: {number}" for phase, number in counts.items() if number < len(patients)]
    if few:
        doubts.append(
            f"not all of {len(patients)} patients have every phase ({', '.join(few)}): a study measures who has all"
        )
    if not mask:
        doubts.append("no masks were found: liver and tumor are outlined by the built-in networks (CT only)")
    return ProposedImages(image, mask, images[image], n_mask, modality, labels, tuple(doubts), phases, counts)


def _phases_of(images: Counter[str]) -> dict[str, str]:
    """One image a phase, in the order of time, where most patients have each of several; of two of one phase none."""
    most = max(images.values())
    named = [(phase_of(name), name) for name, number in images.items() if number > most / 2]
    counts = Counter(phase for phase, _ in named)
    found = {phase: name for phase, name in named if phase is not None and counts[phase] == 1}
    return {phase: found[phase] for phase in PHASES if phase in found} if len(found) > 1 else {}


def _entries(folder: Path) -> Iterator[tuple[Path, str]]:
    """Image files and folders, the nearest first."""
    level, seen = [folder], 0
    for _ in range(_DEPTH):
        inner: list[Path] = []
        for place in level:
            with os.scandir(place) as entries:
                for item in sorted(entries, key=lambda entry: entry.name):
                    seen += 1
                    if seen > _MOST or item.name.startswith("."):
                        continue
                    path = Path(item.path)
                    if item.is_dir(follow_symlinks=False):
                        inner.append(path)
                        yield path, item.path
                    elif item.name.lower().endswith(_IMAGE_ENDS):
                        yield path, item.path
        level = inner


def _patient_in(name: str, known: dict[str, str]) -> str | None:
    """The identifier that a file name holds as a whole word; the longest where one holds another."""
    stem = name.casefold()
    for end in sorted(_IMAGE_ENDS, key=len, reverse=True):
        stem = stem.removesuffix(end)
    if stem in known:
        return known[stem]
    words = [word for word in re.split(r"[ _.\-]+", stem) if word]
    spans = sorted(((a, b) for a in range(len(words)) for b in range(a + 1, len(words) + 1)), key=lambda s: s[0] - s[1])
    for a, b in spans:
        for sign in "_- .":
            found = known.get(sign.join(words[a:b]))
            if found is not None:
                return found
    return None


def _pattern(path: Path, telling: str, patient: str) -> str | None:
    """The path with ``{patient}``; None where the name that tells the patient spells the identifier otherwise."""
    parts = PurePosixPath(path.as_posix()).parts
    if patient not in telling or "{" in path.as_posix():
        return None
    return "/".join(part.replace(patient, _MARK) for part in parts)


def _modality_of(example: Path) -> tuple[str, list[str]]:
    from hepacast.imaging.io import read_volume

    if example.is_dir():
        import pydicom

        for file in sorted(item for item in example.rglob("*") if item.is_file())[:20]:
            try:
                header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=["Modality"])
            except (pydicom.errors.InvalidDicomError, OSError):
                continue
            if header.get("Modality") in ("CT", "MR"):
                return str(header.Modality), []
        return "CT", ["is this CT? no DICOM header says it"]
    try:
        low = float(read_volume(example).array.min())
    except HepacastError as error:
        return "CT", [f"the first image cannot be read: {error.message}"]
    return ("CT", []) if low < -200 else ("MR", ["taken for MR, as no voxel is as dark as air in HU: is it?"])


def _labels_of(example: Path) -> tuple[dict[str, int], list[str]]:
    import numpy as np

    from hepacast.imaging.io import read_volume

    if example.is_dir() or not example.name.lower().endswith(_IMAGE_ENDS):
        return {"parenchyma": 1, "tumor": 2}, ["the labels of the masks are not known: 1 parenchyma, 2 tumor?"]
    try:
        values = [int(value) for value in np.unique(read_volume(example).array) if value]
    except HepacastError as error:
        return {"parenchyma": 1, "tumor": 2}, [f"the first mask cannot be read: {error.message}"]
    names = {1: ["tumor"], 2: ["parenchyma", "tumor"]}.get(len(values), [f"label {value}" for value in values])
    labels = dict(zip(names, values))
    said = ", ".join(f"{value} {name}" for name, value in labels.items())
    return labels, [f"the values of the first mask are taken as {said}: are they?"]
