"""`Bundle`: the frozen model with everything that applying it needs, and what a reader must know about it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd

from hepacast.bundle import image_networks
from hepacast.bundle.container import REMEDY, Container, read_container, write_container
from hepacast.bundle.image_networks import ImageNetworks
from hepacast.bundle.signing import UNSIGNED, SignedBy
from hepacast.cohort import ColumnSpec
from hepacast.core import views
from hepacast.core.entries import Entry, require
from hepacast.core.formatting import MISSING, number, p_value, ratio
from hepacast.core.records import ResultsError
from hepacast.core.tables import Table, make_table
from hepacast.errors import BundleError, HepacastError
from hepacast.evaluation.validated import ModelLineage, ValidatedPerformance
from hepacast.modelling.frozen_models import FrozenModels
from hepacast.modelling.frozen_score import learned_by_networks
from hepacast.modelling.known_values import TrainingDistribution
from hepacast.radiomics.recipe import ImageRecipe

#: Name of the arrays of classifiers in the file.
CLASSIFIERS = "classifiers"
#: Name of the document that says what is done to images first.
PREPROCESSING = "preprocessing"
#: Name of the document that says how predictors went together in training.
TRAINING = "training"
_DOCUMENTS = frozenset(
    f"{name}.json"
    for name in ("card", "models", "clinical", "features", "nomogram", image_networks.DOCUMENT, PREPROCESSING, TRAINING)
)
#: Beyond it the exponential is no number of the machine.
_LARGEST_LOG = 700.0
_NETWORK = re.compile(r"network-\d{1,4}\.safetensors")


@dataclass(frozen=True, repr=False)
class Bundle(views.Shown):
    """A model bundle in memory.

    Parameters
    ----------
    models
        The frozen models, of whatever outcome.
    columns
        Clinical columns that the models read, with unit, levels and plausible range.
    recipe
        From the images of one patient to features.
    nomogram
        `Nomogram.to_spec()` of the main model and the map from total points to log odds, or None.
    card
        Name, outcome, population, performance, provenance, intended use: what a reader must know.
    identity
        Hash over all files of the bundle.
    networks
        Networks whose score or features the models read; None where they read none.
    training
        How the predictors went together in training, for values that nobody knows; None in bundles of earlier versions.
    signed
        By whom, as far as this computer knows.
    """

    models: FrozenModels
    columns: tuple[ColumnSpec, ...]
    recipe: ImageRecipe
    nomogram: Mapping[str, Any] | None
    card: Mapping[str, Any]
    identity: str = ""
    networks: ImageNetworks | None = None
    training: TrainingDistribution | None = None
    signed: SignedBy = UNSIGNED

    @property
    def names(self) -> list[str]:
        """Names of the models."""
        return list(self.models.names)

    @property
    def main(self) -> str:
        """Name of the main model (the last one)."""
        return self.models.names[-1]

    def held_text(self) -> str:
        """That the file holds values of single training patients, and where; empty where it does not.

        Such a file is as confidential as its training table: measured features, without identifiers.
        """
        held = [f"{part} ({', '.join(words)})" for part, words in self.models.held_patients().items()]
        if not held:
            return ""
        return (
            "This model file holds measured values of single training patients (no identifiers), which its prediction "
            f"needs: {'; '.join(held)}. Send it only to those who may have the training table."
        )

    def require_without_rows(self) -> None:
        """Refuse to pass on a model that holds values of single training patients.

        Raises
        ------
        BundleError
        """
        if self.held_text():
            raise BundleError(
                "The model holds values of single training patients.",
                expected="a model of coefficients, trees or networks",
                found="; ".join(f"{part}: {', '.join(held)}" for part, held in self.models.held_patients().items()),
                remedy="leave out --without-rows where the training table may be; or make the model by other "
                "classifiers (fusion.classifiers) than svm, knn and auto",
            )

    def needs_features(self, name: str) -> bool:
        """Whether a model reads a score that is made from the image."""
        return any(score in self.models.model(name).names for score in self.models.score_names)

    def imageless(self) -> list[str]:
        """Models that need no image."""
        return [name for name in self.models.names if not self.needs_features(name)]

    def feature_names(self, name: str | None = None) -> list[str]:
        """What is measured in the image for one model (all by default), by column name."""
        return self.models.measured(name)

    def reads_networks(self, name: str | None = None) -> bool:
        """Whether a model (any by default) reads the score of networks, or a feature that they learned."""
        return any(map(learned_by_networks, self.feature_names(name)))

    def clinical_names(self, name: str) -> list[str]:
        """Clinical columns that a model reads."""
        return [column for column in self.models.model(name).names if column not in self.models.score_names]

    def column(self, name: str) -> ColumnSpec:
        """One clinical column."""
        return next(item for item in self.columns if item.name == name)

    def to_frame(self) -> pd.DataFrame:
        """One row a term of a model: coefficient (log odds or log hazard), ratio, P."""
        rows = []
        for name in self.names:
            model = self.models.model(name)
            terms = ["intercept", *(item.name for item in model.terms)]
            for term, value, p in zip(terms, model.coefficients, model.p_values, strict=True):
                ratio = math.nan if term == "intercept" else math.exp(value) if value < _LARGEST_LOG else math.inf
                rows.append({"model": name, "term": term, "coefficient": value, "ratio": ratio, "p": p})
        return pd.DataFrame(rows)

    def write(self, path: str | Path) -> str:
        """Write the bundle; the same model gives the same bytes. Returns its identity."""
        documents = {
            "card": dict(self.card),
            "models": self.models.to_dict(),
            "clinical": [item.to_json() for item in self.columns],
            "features": self.recipe.to_json(),
            "nomogram": self.nomogram,
        }
        tensors: dict[str, Mapping[str, Any]] = {}
        if self.models.parts:
            tensors[CLASSIFIERS] = self.models.arrays()
        if self.networks is not None:
            documents[image_networks.DOCUMENT] = self.networks.document()
            tensors |= self.networks.tensors()
        if self.recipe.preprocessing is not None:
            documents[PREPROCESSING] = dict(self.recipe.preprocessing)
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
            models=FrozenModels.from_dict(documents["models"], content.tensors.get(CLASSIFIERS)),
            columns=read_columns(documents["clinical"]),
            recipe=read_recipe(documents["features"], documents.get(PREPROCESSING)),
            nomogram=_read_nomogram(documents["nomogram"]),
            card=read_card(documents["card"]),
            identity=content.identity,
            signed=content.signed,
            networks=None if networks is None else ImageNetworks.from_parts(networks, content.tensors),
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
        sources = self.models.model(self.main).names
        axes = sources if self.nomogram is None else [axis["name"] for axis in self.nomogram["predictors"]]
        require(set(axes) == set(sources), "nomogram", f"axes of {', '.join(sources)}", ", ".join(axes) or "none")
        levels = {item.name for item in getattr(self.models.model(self.main), "sources", ()) if item.predictor.is_level}
        for axis in () if self.nomogram is None else self.nomogram["predictors"]:
            named = axis["name"] in levels
            alike = all(isinstance(tick["value"], str) == named for tick in axis["ticks"])
            require(alike, f"nomogram: {axis['name']}", "names of levels" if named else "numbers", "others")


@views.page.register
def _(record: Bundle) -> list[str | Table]:
    """Whose model it is, what it needs, its coefficients."""
    outcome, frozen = record.card["outcome"], record.models.model(record.main)
    needed = [f"{item.label} ({item.unit})" if item.unit else item.label for item in record.columns]
    head = [
        f"{record.card['name']}: model of {outcome['name']}.",
        f"Trained on {frozen.n} patients with {frozen.n_events} events.",
        f"Models: {', '.join(record.names)} (main: {record.main}).",
        f"Clinical values: {', '.join(needed) or 'none'}.",
        f"Image: {'needed' if record.needs_features(record.main) else 'not needed'} by the main model.",
        f"Signature: {record.signed.text()}.",
        f"Intended use: {record.card['intended_use']}",
        *([record.held_text()] if record.held_text() else []),
    ]
    terms: list[dict[str, Any]] = record.to_frame().to_dict("records")  # type: ignore[assignment]
    rows = [
        [
            item["model"],
            item["term"],
            number(item["coefficient"], 3),
            MISSING if math.isnan(item["ratio"]) else ratio(item["ratio"]),
            p_value(item["p"]),
        ]
        for item in terms
    ]
    table = make_table("Coefficients", ["Model", "Term", "Coefficient", "Ratio", "P"], rows)
    return ["\n".join(head), table]


@views.drawings.register
def _(record: Bundle) -> views.Drawings:
    """`nomogram` of the main model, where it has one."""
    from hepacast.figures.nomogram import draw_nomogram

    spec = record.nomogram
    return {} if spec is None else {"nomogram": lambda: draw_nomogram(spec)}


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
        remedy=REMEDY if isinstance(error, ResultsError) else error.remedy or REMEDY,
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
    for place, item in enumerate(card.raw("updates") if "updates" in card else ()):
        ModelLineage.from_json(item, f"{card.at('updates')}: {place}")
    for name in card.entry("verdicts") if "verdicts" in card else ():
        card.entry("verdicts").texts(name)
    for key in ("population", "provenance", "net_benefit"):
        if key in card and card.raw(key) is not None:
            card.entry(key)
    for name in card.raw("net_benefit") or () if "net_benefit" in card else ():
        for row in card.entry("net_benefit").entries(name):
            row.text("set")
            require(isinstance(row.raw("ranges"), list), row.at("ranges"), "a list", row.raw("ranges"))
            for pair in row.raw("ranges"):
                Entry({"range": pair}, row.at("ranges")).numbers("range", 2)
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


def read_recipe(document: Any, preprocessing: Any) -> ImageRecipe:
    """How images are measured; what an earlier version did not write has its default.

    Raises
    ------
    HepacastError
        A value that it cannot have.
    """
    recipe = ImageRecipe.from_json(document, "features")
    return replace(recipe, preprocessing=read_preprocessing(preprocessing))


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
                # Of a level its name.
                _ = tick.text("value") if isinstance(tick.raw("value"), str) else tick.number("value")
    for axis in entry.entries("predictors"):
        entry.entry("minimum").number(axis.text("name"))
    return dict(document)


def read_preprocessing(document: Any) -> Mapping[str, Any] | None:
    """What is done to images first; whoever does it checks the rules.

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
