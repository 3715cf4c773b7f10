"""From the images and masks of one patient to features: one recipe for training, prediction, `extract` and controls."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, cast

from hepacast.core.records import Record, sparse
from hepacast.errors import BundleError, HepacastError, ModelError
from hepacast.imaging import Volume
from hepacast.imaging.io import MaskRules
from hepacast.imaging.lesions import describe_voi
from hepacast.imaging.structures import evaluate_vois, with_unions
from hepacast.radiomics.results import ExtractionResult, VoiResult
from hepacast.radiomics.settings import Settings

Source = Literal["images", "table", "none"]


@dataclass(frozen=True)
class ImageRecipe(Record):
    """What is done to the images of one patient.

    Parameters
    ----------
    source
        ``images``; ``table``: then features come from elsewhere and an image cannot be used; ``none``: no model
        uses any.
    settings
        Content of a parameter file (`Settings.content`); its hash is checked when it is read.
    settings_hash
        Hash of the settings that the training features were made with.
    vois
        VOI algebra by name; where none is named, the structures of the masks as they are stored.
    lesions, min_lesion_ml
        Which tumors count: ``union`` or ``largest``, and from which volume (ml) on.
    sequences
        Modality (``CT``, ``MR``) by sequence.
    labels
        Label values of mask files by structure.
    backend
        Engine that measures.
    preprocessing
        Before anything is measured: ``reference`` (sequence), ``rules`` (as in the study file) and ``landmarks``
        (Nyul's, by sequence); None where images are taken as they are.
    phases
        Of biomarkers: phase of a sequence whose name does not tell it; None where models read no biomarkers.
    missing
        What stands in for a sequence that a patient lacks (`CropSpec.missing` of the networks): ``error`` where nobody
        may lack one. Its features have no value.

    Raises
    ------
    ModelError
        A value that it cannot have.
    """

    source: Source
    settings: Mapping[str, Any] = field(default_factory=dict)
    settings_hash: str = ""
    vois: Mapping[str, str] = field(default_factory=dict)
    lesions: str = "union"
    min_lesion_ml: float = 0.0
    sequences: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, int] = field(default_factory=dict)
    backend: str = "hepacast"
    preprocessing: Mapping[str, Any] | None = field(default=None, metadata={"stored": False})
    phases: Mapping[str, str] | None = sparse(None)
    missing: str = "error"

    def __post_init__(self) -> None:
        if not self.min_lesion_ml >= 0:
            raise ModelError("The smallest lesion has no volume.", found=str(self.min_lesion_ml), where="min_lesion_ml")
        if self.lesions not in ("union", "largest"):
            raise ModelError("It is not known which lesions count.", expected="union or largest", found=self.lesions)

    @classmethod
    def of_settings(cls, settings: Settings, **fields: Any) -> ImageRecipe:
        """The recipe that measures in images with these settings; `fields` as of the class."""
        recipe = cls("images", settings.content(), settings.hash, **fields)
        recipe.__dict__["loaded_settings"] = settings
        return recipe

    @cached_property
    def loaded_settings(self) -> Settings:
        """The settings, checked against the hash of the training features.

        Raises
        ------
        BundleError
            This version of hepacast would measure something else.
        """
        settings = Settings.load(dict(self.settings))
        if settings.hash != self.settings_hash:
            raise BundleError(
                "This version of hepacast reads the bundle's feature settings differently.",
                expected=f"settings hash {self.settings_hash[:16]}",
                found=f"settings hash {settings.hash[:16]}",
                remedy="use the version of hepacast that wrote the bundle",
            )
        return settings

    @property
    def mask_rules(self) -> MaskRules:
        """What the settings say of mask files; structures are chosen by name."""
        return replace(self.loaded_settings.mask_rules, label=None) if self.settings_hash else MaskRules()

    @property
    def reference(self) -> str:
        """The sequence that masks are drawn on."""
        return str(self.preprocessing["reference"]) if self.preprocessing else next(iter(self.sequences))

    def by_sequence(self, images: Mapping[str, Volume]) -> dict[str, Volume]:
        """Images in the recipe's order; of one sequence any single image is it.

        Raises
        ------
        BundleError
            An image is missing that has no stand-in, or that on which masks are drawn.
        """
        wanted = list(self.sequences)
        if len(wanted) == 1 and len(images) == 1:
            return {wanted[0]: next(iter(images.values()))}
        needed = set(wanted) if self.missing == "error" else {self.reference}
        if not needed <= set(images):
            raise BundleError(
                "An image is missing.",
                expected="; ".join(f"--image {name}=PATH" for name in wanted if name in needed),
                found=", ".join(images) or "none",
                remedy="give each as --image NAME=PATH",
            )
        return {name: images[name] for name in wanted if name in images}

    def vois_of(self, masks: Mapping[str, Volume]) -> dict[str, Volume]:
        """The VOIs of one patient's structures.

        Raises
        ------
        VoiError
            An expression needs a structure that is not there.
        """
        if not self.vois:
            named = with_unions(masks)
            return {name: named[name] for name in masks}
        lesions = cast(Literal["union", "largest"], self.lesions)
        return evaluate_vois(self.vois, masks, lesions=lesions, min_lesion_ml=self.min_lesion_ml)

    def extract(self, image: Volume, masks: Mapping[str, Volume], *, threads: int = 1) -> ExtractionResult:
        """Features of every VOI in one image.

        Parameters
        ----------
        image
            Preprocessed where the recipe says so.
        masks
            Structures by name, on the image's grid.
        threads
            For this patient; they do not change a digit.

        Raises
        ------
        HepacastError
            A structure is missing, or the masks do not lie on the image.
        """
        return self.measure(image, self.vois_of(masks), threads=threads)

    def measure(self, image: Volume, vois: Mapping[str, Volume], *, threads: int = 1) -> ExtractionResult:
        """Features of VOIs that are already made."""
        from hepacast.radiomics.extraction import extract

        backend = cast(Literal["hepacast", "pyradiomics"], self.backend)
        return extract(image, vois, self.loaded_settings, backend=backend, threads=threads, diagnostics=False)

    def failed(self, error: HepacastError, engine: str) -> ExtractionResult:
        """What stands in the table for an image that could not be measured: every VOI with the reason."""
        expected = self.loaded_settings.feature_names()
        found = {name: VoiResult.failed(name, expected, error.message) for name in self.vois}
        return ExtractionResult(found, self.settings_hash, engine)

    def lacking(self, engine: str) -> ExtractionResult:
        """What stands in the table for a sequence that a patient lacks: no feature has a value, and nothing failed."""
        expected, reason = self.loaded_settings.feature_names(), "the patient lacks this sequence"
        empty = dict.fromkeys(expected, math.nan)
        found = {name: VoiResult(name, empty, dict.fromkeys(expected, reason), "partial") for name in self.vois}
        return ExtractionResult(found, self.settings_hash, engine)

    def column(self, sequence: str, voi: str, feature: str) -> str:
        """Name of a feature in the models' table; the sequence is named where there are several."""
        return f"{sequence}:{voi}:{feature}" if len(self.sequences) > 1 else f"{voi}:{feature}"


def unmeasurable(vois: Mapping[str, Volume]) -> tuple[str, str] | None:
    """The first VOI that cannot be measured, and why; None where all can."""
    for name, mask in vois.items():
        report = describe_voi(mask, name, ignore_border=("k",))
        if report.status == "failed":
            return name, str(report.reason)
    return None
