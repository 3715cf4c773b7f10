"""One patient's mask files: the only way in which the parts of a study find them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hepacast.cohort import Cohort
from hepacast.core.fingerprint import Fingerprints
from hepacast.core.kept import InputFile
from hepacast.core.seeds import rng
from hepacast.study.context import Context

#: Of the study file: a path, or paths by structure; ``{patient}`` stands for the identifier.
MaskPattern = str | Mapping[str, str]


@dataclass(frozen=True)
class MaskFiles:
    """Where a patient's structures are drawn.

    Parameters
    ----------
    files
        Name and path of each structure's file; an empty name where one file (or folder) holds all.
    """

    files: tuple[tuple[str, Path], ...]

    @property
    def given(self) -> Path | dict[str, Path]:
        """As mask readers take it."""
        return self.files[0][1] if self.files[0][0] == "" else dict(self.files)

    def exists(self) -> bool:
        """Whether something is drawn; a structure's file that is missing beside others is a mistake, told when read."""
        return any(path.exists() for _, path in self.files)

    def key(self, prints: Fingerprints) -> list[Any]:
        """What decides the masks: the content of the files that are there."""
        return [[name, prints.of(path)] for name, path in self.files if path.exists()]

    def inputs(self, prints: Fingerprints) -> tuple[InputFile, ...]:
        """The files that are there, as they are now."""
        return tuple(prints.read(path) for _, path in self.files if path.exists())

    def __str__(self) -> str:
        return ", ".join(str(path) for _, path in self.files)


def mask_files(context: Context, pattern: MaskPattern, patient: str) -> MaskFiles:
    """A patient's mask files by the study file's words."""
    named = {"": pattern} if isinstance(pattern, str) else pattern
    return MaskFiles(tuple((name, context.path(text, patient=patient)) for name, text in named.items()))


def labelled_patients(context: Context, patients: list[str]) -> list[str]:
    """Patients who have an expert mask."""
    masks = context.images.segmentation.masks
    return [p for p in patients if masks is not None and mask_files(context, masks, p).exists()]


def test_patients(context: Context, cohort: Cohort, labelled: list[str]) -> list[str]:
    """The labelled patients that are held out from training the network.

    A share of the training set's, drawn by the seed whatever their order, and everybody of the other sets: what is
    validated there is the whole chain, and the network belongs to it.
    """
    options = context.images.segmentation.nnunet
    ordered = [patient for patient in sorted(labelled) if cohort.sets[patient] == "training"]
    count = round(options.test_fraction * len(ordered))
    drawn = rng(context.study.seed, "segmentation-test").permutation(len(ordered))[:count]
    return sorted([*(ordered[i] for i in drawn), *(set(labelled) - set(ordered))])
