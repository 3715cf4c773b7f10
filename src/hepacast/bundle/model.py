"""`Bundle`: the frozen model with everything that applying it needs, and what a reader must know about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hepacast.bundle import image_networks
from hepacast.bundle.container import Container, read_container, write_container
from hepacast.bundle.image_networks import ImageNetworks
from hepacast.cohort import ColumnSpec
from hepacast.errors import BundleError
from hepacast.modelling.frozen_fusion import FrozenFusion
from hepacast.modelling.frozen_models import FrozenModels
from hepacast.modelling.survival_frozen import load_models
from hepacast.radiomics.settings import Settings

#: Name of the arrays of classifiers in the file.
CLASSIFIERS = "classifiers"
#: Name of the document that says what is done to MR images first.
PREPROCESSING = "preprocessing"


@dataclass(frozen=True)
class FeatureRecipe:
    """How features are measured.

    Parameters
    ----------
    source
        ``images``; ``table``: then features come from elsewhere and an image cannot be used; ``none``: no model
        uses any.
    settings
        Content of a PyRadiomics parameter file; its hash is checked when the bundle is opened.
    settings_hash
        Hash of the settings that the training features were made with.
    vois
        VOI algebra by name.
    lesions, min_lesion_ml
        Lesion policy.
    sequences
        Modality by sequence.
    labels
        Label values of the study's mask files.
    backend
        Engine that measured.
    """

    source: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    settings_hash: str = ""
    vois: Mapping[str, str] = field(default_factory=dict)
    lesions: str = "union"
    min_lesion_ml: float = 0.0
    sequences: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, int] = field(default_factory=dict)
    backend: str = "hepacast"

    def load_settings(self) -> Settings:
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


@dataclass(frozen=True)
class Bundle:
    """A model bundle in memory.

    Parameters
    ----------
    models
        The frozen models; of a time-to-event outcome `FrozenSurvivalModels`, of classifiers and networks
        `FrozenFusion`.
    columns
        Clinical columns that the models read, with unit, levels and plausible range.
    features
        How features are measured.
    nomogram
        `Nomogram.to_spec()` of the main model and the map from total points to log odds, or None.
    card
        Name, outcome, population, performance, provenance, intended use: what a reader must know.
    identity
        Hash over all files of the bundle.
    networks
        Networks whose score or features the models read; None where they read none.
    preprocessing
        Of MR images before anything is measured: ``reference`` (sequence), ``rules`` (as in the study file) and
        ``landmarks`` (Nyul's, by sequence); None where images are taken as they are.
    """

    models: FrozenModels
    columns: tuple[ColumnSpec, ...]
    features: FeatureRecipe
    nomogram: Mapping[str, Any] | None
    card: Mapping[str, Any]
    identity: str = ""
    networks: ImageNetworks | None = None
    preprocessing: Mapping[str, Any] | None = None

    @property
    def main(self) -> str:
        """Name of the main model (the last one)."""
        return self.models.names[-1]

    def needs_features(self, name: str) -> bool:
        """Whether a model reads a score that is made from the image."""
        return any(score in self.models.model(name).names for score in self.models.score_names)

    def imageless(self) -> list[str]:
        """Models that need no image."""
        return [name for name in self.models.names if not self.needs_features(name)]

    def feature_names(self, name: str | None = None) -> list[str]:
        """What is measured in the image for one model (all by default), by column name."""
        return self.models.measured(name)

    def clinical_names(self, name: str) -> list[str]:
        """Clinical columns that a model reads."""
        return [column for column in self.models.model(name).names if column not in self.models.score_names]

    def column(self, name: str) -> ColumnSpec:
        """One clinical column."""
        return next(item for item in self.columns if item.name == name)

    def write(self, path: str | Path) -> str:
        """Write the bundle; the same model gives the same bytes. Returns its identity."""
        recipe = self.features
        documents = {
            "card": dict(self.card),
            "models": self.models.to_dict(),
            "clinical": [item.to_json() for item in self.columns],
            "features": {name: getattr(recipe, name) for name in recipe.__dataclass_fields__},
            "nomogram": self.nomogram,
        }
        tensors: dict[str, Mapping[str, Any]] = {}
        if isinstance(self.models, FrozenFusion) and self.models.parts:
            tensors[CLASSIFIERS] = self.models.arrays()
        if self.networks is not None:
            documents[image_networks.DOCUMENT] = self.networks.document()
            tensors |= self.networks.tensors()
        if self.preprocessing is not None:
            documents[PREPROCESSING] = dict(self.preprocessing)
        return write_container(path, Container(documents, tensors))

    @classmethod
    def read(cls, path: str | Path) -> Bundle:
        """Open a bundle; every byte is checked.

        Raises
        ------
        BundleError
            The file is damaged, no bundle, or of another format version.
        """
        content = read_container(path)
        documents = content.documents
        missing = {"card", "models", "clinical", "features", "nomogram"} - set(documents)
        if missing:
            raise BundleError("The bundle is not complete.", found=f"no {', '.join(sorted(missing))}", where=str(path))
        networks = documents.get(image_networks.DOCUMENT)
        return cls(
            models=load_models(documents["models"], content.tensors.get(CLASSIFIERS)),
            columns=tuple(ColumnSpec.from_json(entry) for entry in documents["clinical"]),
            features=FeatureRecipe(**documents["features"]),
            nomogram=documents["nomogram"],
            card=documents["card"],
            identity=content.identity,
            networks=None if networks is None else ImageNetworks.from_parts(networks, content.tensors),
            preprocessing=documents.get(PREPROCESSING),
        )
