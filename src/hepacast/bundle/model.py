"""`Bundle`: the frozen model with everything that applying it needs, and what a reader must know about it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from hepacast.bundle import image_networks
from hepacast.bundle.container import REMEDY, Container, read_container, write_container
from hepacast.bundle.image_networks import ImageNetworks
from hepacast.cohort import ColumnSpec
from hepacast.core.entries import Entry, require
from hepacast.errors import BundleError, HepacastError
from hepacast.evaluation.validated import ValidatedPerformance
from hepacast.modelling.frozen_fusion import FrozenFusion
from hepacast.modelling.frozen_models import FrozenModels
from hepacast.modelling.known_values import TrainingDistribution
from hepacast.modelling.survival_frozen import load_models
from hepacast.radiomics.settings import Settings

#: Name of the arrays of classifiers in the file.
CLASSIFIERS = "classifiers"
#: Name of the document that says what is done to MR images first.
PREPROCESSING = "preprocessing"
#: Name of the document that says how predictors went together in training.
TRAINING = "training"
_DOCUMENTS = frozenset(
    f"{name}.json"
    for name in ("card", "models", "clinical", "features", "nomogram", image_networks.DOCUMENT, PREPROCESSING, TRAINING)
)
_NETWORK = re.compile(r"network-\d{1,4}\.safetensors")


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
    training
        How the predictors went together in training, for values that nobody knows; None in bundles of earlier versions.
    """

    models: FrozenModels
    columns: tuple[ColumnSpec, ...]
    features: FeatureRecipe
    nomogram: Mapping[str, Any] | None
    card: Mapping[str, Any]
    identity: str = ""
    networks: ImageNetworks | None = None
    preprocessing: Mapping[str, Any] | None = None
    training: TrainingDistribution | None = None

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
        if self.training is not None:
            documents[TRAINING] = self.training.to_dict()
        return write_container(path, Container(documents, tensors))

    @classmethod
    def read(cls, path: str | Path) -> Bundle:
        """Open a bundle; every byte is checked.

        Raises
        ------
        BundleError
            The file is damaged, no bundle, of another format version, or holds a value that it cannot have.
        """
        content = read_container(path, _known_part)
        try:
            return cls._of(content, str(path))
        except HepacastError as error:
            raise not_valid(error, str(path)) from error

    @classmethod
    def _of(cls, content: Container, where: str) -> Bundle:
        documents = content.documents
        missing = {"card", "models", "clinical", "features", "nomogram"} - set(documents)
        if missing:
            raise BundleError("The bundle is not complete.", found=f"no {', '.join(sorted(missing))}", where=where)
        networks = documents.get(image_networks.DOCUMENT)
        made = cls(
            models=load_models(documents["models"], content.tensors.get(CLASSIFIERS)),
            columns=read_columns(documents["clinical"]),
            features=_read_recipe(Entry(documents["features"], "features")),
            nomogram=_read_nomogram(documents["nomogram"]),
            card=read_card(documents["card"]),
            identity=content.identity,
            networks=None if networks is None else ImageNetworks.from_parts(networks, content.tensors),
            preprocessing=read_preprocessing(documents.get(PREPROCESSING)),
            training=TrainingDistribution.from_dict(documents[TRAINING]) if TRAINING in documents else None,
        )
        made._require_whole()
        return made

    def _require_whole(self) -> None:
        """Every clinical column of every model is described.

        Raises
        ------
        ModelError
        """
        known = {item.name for item in self.columns}
        lacking = [name for model in self.models.names for name in self.clinical_names(model) if name not in known]
        require(not lacking, "clinical", f"a description of {', '.join(lacking)}", "none")
        axes = [] if self.nomogram is None else [axis["name"] for axis in self.nomogram["predictors"]]
        sources = self.models.model(self.main).names
        require(set(axes) <= set(sources), "nomogram", f"axes of {', '.join(sources)}", ", ".join(axes))


def _known_part(name: str) -> bool:
    return name in _DOCUMENTS or name == f"{CLASSIFIERS}.safetensors" or bool(_NETWORK.fullmatch(name))


def not_valid(error: HepacastError, path: str) -> BundleError:
    """What is wrong with a part of a bundle, as an error of the bundle."""
    if isinstance(error, BundleError):
        return error
    return BundleError(
        f"The model bundle is not valid. {error.message}",
        expected=error.expected,
        found=error.found,
        where=f"{path}: {error.where}" if error.where else path,
        remedy=error.remedy or REMEDY,
    )


def read_columns(document: Any) -> tuple[ColumnSpec, ...]:
    """Clinical columns of a bundle.

    Raises
    ------
    ModelError
        A column is not described as one.
    """
    found = []
    for item in Entry({"clinical": document}, "").entries("clinical"):
        for key in ("name", "label", "unit", "kind", "role", "quantity", "log"):
            item.text(key)
        for key in ("source", "accept"):
            item.texts(key)
        item.truth("after_event")
        words = {level: item.entry("words").texts(level) for level in item.entry("words")} if "words" in item else {}
        if "plausible" in item and item.raw("plausible") is not None:
            item.numbers("plausible", 2)
        found.append(ColumnSpec.from_json({key: item.raw(key) for key in item} | {"words": words}))
    return tuple(found)


def read_card(document: Any) -> Mapping[str, Any]:
    """The card of a bundle, with what every prediction says of it.

    Raises
    ------
    ModelError
        It has no name or no outcome, or its rule of conformal sets is none.
    """
    card = Entry(document, "card")
    for key in ("name", "intended_use"):
        card.text(key)
    card.entry("outcome").text("name")
    if "conformal" in card and card.raw("conformal"):
        rule = card.entry("conformal")
        if "reason" not in rule:
            rule.text("model")
            for key in ("level", "event_from", "no_event_to"):
                rule.number(key, low=0.0, high=1.0)
            for row in rule.entries("coverage") if "coverage" in rule else ():
                row.text("set")
                for key in ("events", "others"):
                    row.whole(f"n_{key}")
                    row.number_or_nan(f"coverage_{key}", low=0.0, high=1.0)
    if "validated" in card:
        _read_validated(card.entry("validated"))
    for name in card.entry("verdicts") if "verdicts" in card else ():
        card.entry("verdicts").texts(name)
    return dict(document)


def _read_validated(entry: Entry) -> None:
    """The rows of `ValidatedPerformance`."""
    entry.number("level", low=0.0, high=1.0)
    for model in entry.entry("models"):
        for row in entry.entry("models").entries(model):
            for key in ("set", "measure"):
                row.text(key)
            for key in ("n", "events"):
                row.whole(key)
            for key in ("value", "low", "high"):
                row.number_or_nan(key)
            strange = set(row) - set(ValidatedPerformance.__dataclass_fields__)
            require(not strange, row.place, "what validation shows", ", ".join(sorted(strange)))
            for key in ("slope", "observed_expected"):
                row.numbers(key, 3, gaps=True)


def _read_recipe(entry: Entry) -> FeatureRecipe:
    """How features are measured; what an earlier version did not write has its default."""
    fields = {name: entry.raw(name) for name in FeatureRecipe.__dataclass_fields__ if name in entry}
    entry.text("source", ("images", "table", "none"))
    for name in ("settings_hash", "lesions", "backend"):
        if name in fields:
            entry.text(name)
    for name in ("vois", "sequences"):
        for key in entry.entry(name) if name in fields else ():
            entry.entry(name).text(key)
    for key in entry.entry("labels") if "labels" in fields else ():
        entry.entry("labels").whole(key)
    if "min_lesion_ml" in fields:
        entry.number("min_lesion_ml", low=0.0)
    if "settings" in fields:
        entry.entry("settings")
    return FeatureRecipe(**fields)


def _read_nomogram(document: Any) -> Mapping[str, Any] | None:
    """The axes with their points, and the scale from log odds to points."""
    if document is None:
        return None
    entry = Entry(document, "nomogram")
    require(entry.number("scale") > 0, entry.at("scale"), "above 0", entry.raw("scale"))
    entry.number("points_max", low=0.0)
    entry.numbers("total_ticks")
    for group, points in (("predictors", "points"), ("outputs", "total_points")):
        for axis in entry.entries(group):
            axis.text("label")
            for tick in axis.entries("ticks"):
                tick.number(points)
                tick.text("label")
    for axis in entry.entries("predictors"):
        entry.entry("minimum").number(axis.text("name"))
    return dict(document)


def read_preprocessing(document: Any) -> Mapping[str, Any] | None:
    """What is done to MR images first; whoever does it checks the rules.

    Raises
    ------
    ModelError
        A part is missing.
    """
    if document is None:
        return None
    entry = Entry(document, PREPROCESSING)
    entry.text("reference")
    entry.entry("rules")
    if entry.raw("landmarks") is not None:
        for item in entry.named("landmarks").values():
            require_landmarks(item)
    return dict(document)


def require_landmarks(entry: Entry) -> None:
    """Nyul's landmarks: rising percentiles, and as many rising intensities.

    Raises
    ------
    ModelError
    """
    points = entry.numbers("percentiles")
    marks = entry.numbers("landmarks", len(points))
    require(entry.number("low") < entry.number("high"), entry.at("high"), "above the lower end", entry.raw("high"))
    for name, values in (("percentiles", points), ("landmarks", marks)):
        rising = len(values) > 1 and all(a <= b for a, b in pairwise(values))
        require(rising, entry.at(name), "rising numbers", values)
    entry.whole("n_patients")
