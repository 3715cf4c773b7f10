"""A bundle of deep networks: the folds' networks, how a crop is made, and how scores become risks.

It is a container like ``model.hepacast`` (JSON and safetensors, never pickle), applied to the image itself and not to a
row of features.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import norm

from hepacast.bundle.container import Container, read_container, write_container
from hepacast.bundle.image_networks import cut_warning
from hepacast.bundle.labs import ClinicalValue, read_labs
from hepacast.bundle.model import not_valid, read_card, read_columns, read_preprocessing
from hepacast.bundle.prediction import HorizonRisk, Prediction, cautions_of, risk_group, validated_of
from hepacast.bundle.signing import UNSIGNED, SignedBy
from hepacast.cohort import ColumnSpec
from hepacast.cohort.columns import numeric_columns
from hepacast.core.entries import Entry, ranges, require, validated
from hepacast.deep import (
    Applied,
    CropSpec,
    TrainedNetwork,
    averaged_scale,
    crop_geometry,
    crop_mask,
    crop_patient,
    uncrop,
)
from hepacast.deep.domain import Range, crop_facts, outside
from hepacast.errors import BundleError, HepacastError
from hepacast.imaging import Geometry, Volume
from hepacast.imaging.voi import VoiExpression
from hepacast.modelling.frozen_cox import require_steps
from hepacast.modelling.score_scale import ScoreScale
from hepacast.radiomics.recipe import ImageRecipe

DOCUMENT = "networks"
_FOLD = re.compile(r"fold-\d{1,4}\.safetensors")
INTERVAL = "disagreement of the folds' networks, not the uncertainty of a coefficient"
#: Name of the networks' score among the training ranges.
SCORE = "score of the networks (log odds)"
#: Log odds at which the study's recalibration stops.
_LIMIT = math.log((1 - 1e-6) / 1e-6)


@dataclass(frozen=True, eq=False)
class NetworkBundle:
    """Networks of one model, frozen.

    Parameters
    ----------
    name
        Of the model.
    crop
        How the crop is made; its `channels` are the sequences.
    recipe
        Sequences, labels of mask files and what is done to images first; no features are measured.
    scale
        From the mean log odds (or score) of the networks to the risk.
    cutoff
        Youden's cut-off of the risk in training.
    networks
        One a fold.
    card
        Name, outcome, population, performance, provenance, intended use.
    identity
        Hash over all files.
    structure
        What the crops show, in the masks.
    columns
        Clinical columns that the networks read, in their order.
    horizons, unit
        Of a time to an event: the times by which risks are given, the main one last.
    seen
        Smallest and largest value in training of what `crop_facts` measures, of the clinical numbers and of the score.
    signed
        By whom, as far as this computer knows.
    """

    name: str
    crop: CropSpec
    recipe: ImageRecipe
    scale: ScoreScale
    cutoff: float
    networks: tuple[TrainedNetwork, ...]
    card: Mapping[str, Any]
    identity: str = ""
    structure: str = "tumor"
    columns: tuple[ColumnSpec, ...] = ()
    horizons: tuple[float, ...] = ()
    unit: str = ""
    seen: Mapping[str, Range] = field(default_factory=dict)
    signed: SignedBy = UNSIGNED

    @property
    def names(self) -> list[str]:
        """The one model."""
        return [self.name]

    @property
    def main(self) -> str:
        """The one model."""
        return self.name

    def held_text(self) -> str:
        """Empty: weights of networks hold no values of single training patients."""
        return ""

    def needs_features(self, name: str) -> bool:
        """Networks are applied to an image."""
        return True

    def clinical_names(self, name: str) -> list[str]:
        """Clinical columns that the networks read."""
        return [item.name for item in self.columns]

    def write(self, path: str | Path) -> str:
        """Write the bundle; the same networks give the same bytes. Returns its identity."""
        document = {
            "name": self.name,
            "crop": self.crop.model_dump(mode="json"),
            "sequences": dict(self.recipe.sequences),
            "labels": dict(self.recipe.labels),
            "calibration": [self.scale.intercept, self.scale.slope],
            "cutoff": self.cutoff,
            "structure": self.structure,
            "clinical": [item.to_json() for item in self.columns],
            "preprocessing": None if self.recipe.preprocessing is None else dict(self.recipe.preprocessing),
            "seen": {name: list(limits) for name, limits in sorted(self.seen.items())},
            # How training went is in the study's results; of times, the bundle would not be the same twice.
            "networks": [network.to_json() | {"history": [], "facts": {}} for network in self.networks],
        }
        if self.horizons:
            document["times"] = {"scale": self.scale.to_json(), "horizons": list(self.horizons), "unit": self.unit}
        tensors = {f"fold-{number}": network.weights for number, network in enumerate(self.networks)}
        return write_container(path, Container({DOCUMENT: document, "card": dict(self.card)}, tensors))

    @classmethod
    def read(cls, path: str | Path) -> NetworkBundle:
        """Open a bundle; every byte is checked, and every network is built once.

        Raises
        ------
        BundleError
            The file is damaged, no bundle, holds another kind of model, or a value that it cannot have.
        """
        content = read_container(path, _known_part)
        if DOCUMENT not in content.documents or "card" not in content.documents:
            raise BundleError("This bundle holds no networks.", where=str(path))
        try:
            return cls._of(content)
        except HepacastError as error:
            raise not_valid(error, str(path)) from error

    @classmethod
    def _of(cls, content: Container) -> NetworkBundle:
        entry = Entry(content.documents[DOCUMENT], DOCUMENT)
        parts = entry.entries("networks")
        require(bool(parts), entry.at("networks"), "at least one network", "none")
        lacking = [f"fold-{number}" for number in range(len(parts)) if f"fold-{number}" not in content.tensors]
        require(not lacking, entry.at("networks"), "the weights of every network", f"no {', '.join(lacking)}")
        scale, horizons, unit = _read_scale(entry)
        crop = validated(CropSpec, entry.raw("crop"), entry.at("crop"))
        return cls(
            name=entry.text("name"),
            crop=crop,
            recipe=_read_recipe(entry, crop.missing),
            scale=scale,
            horizons=horizons,
            unit=unit,
            cutoff=entry.number_or_nan("cutoff", low=0.0, high=1.0),
            networks=tuple(
                TrainedNetwork.from_parts(part, content.tensors[f"fold-{number}"])
                for number, part in enumerate(entry.raw("networks"))
            ),
            card=read_card(content.documents["card"]),
            identity=content.identity,
            signed=content.signed,
            structure=entry.text("structure") if "structure" in entry else "tumor",
            columns=read_columns(entry.raw("clinical")) if "clinical" in entry else (),
            seen=ranges(entry.entry("seen")) if "seen" in entry else {},
        )


def _read_recipe(entry: Entry, missing: str) -> ImageRecipe:
    return ImageRecipe(
        source="images",
        sequences={name: entry.entry("sequences").text(name) for name in entry.entry("sequences")},
        labels={name: entry.entry("labels").whole(name) for name in entry.entry("labels")},
        preprocessing=read_preprocessing(entry.raw("preprocessing")) if "preprocessing" in entry else None,
        missing=missing,
    )


def _read_scale(entry: Entry) -> tuple[ScoreScale, tuple[float, ...], str]:
    """From score to risk, and of a time to an event horizons and unit."""
    intercept, slope = entry.numbers("calibration", 2)
    if "times" not in entry:
        return ScoreScale(intercept, slope), (), ""
    own, scale = entry.entry("times"), entry.entry("times").entry("scale")
    horizons = own.numbers("horizons")
    require(bool(horizons), own.at("horizons"), "at least one time", "none")
    steps = scale.numbers("baseline_time"), scale.numbers("baseline_hazard")
    require_steps(scale, *steps)
    last = scale.number("last_time", low=max(horizons))
    return ScoreScale(scale.number("intercept"), scale.number("slope"), *steps, last), horizons, own.text("unit")


def _known_part(name: str) -> bool:
    return name in (f"{DOCUMENT}.json", "card.json") or bool(_FOLD.fullmatch(name))


def holds_networks(path: str | Path) -> bool:
    """Whether a bundle is one of networks.

    Raises
    ------
    BundleError
        It is no bundle, or damaged.
    """
    return DOCUMENT in read_container(path, lambda name: name == f"{DOCUMENT}.json").documents


@dataclass(frozen=True, eq=False)
class NetworkPrediction:
    """One patient's risk, and where the networks see the tumor and what raises the risk (maps on the image's grid)."""

    prediction: Prediction
    tumor: Volume | None
    attention: Volume


@dataclass(frozen=True, eq=False)
class _Seen:
    """The crop that the networks see, its place in the image, and what they read beside it."""

    crop: npt.NDArray[np.float32]
    grid: Geometry
    reference: Volume
    voi: Volume
    facts: Mapping[str, float]
    values: Mapping[str, ClinicalValue]
    covariates: npt.NDArray[np.float64] | None


def predict_networks(
    bundle: NetworkBundle,
    images: Mapping[str, Volume],
    masks: Mapping[str, Volume],
    labs: Mapping[str, str] | None = None,
    *,
    level: float = 0.95,
    notes: tuple[str, ...] = (),
    patient: str = "",
    date: str = "",
) -> NetworkPrediction:
    """Apply a bundle to one patient's images.

    Parameters
    ----------
    bundle
        An open bundle.
    images
        By sequence, preprocessed where the bundle says so; a bundle of one sequence takes any single image.
    masks
        Structures by name; the crop is centered on one of them.
    labs
        Clinical values as text by name, where the networks read any; ``NA`` is the training mean.
    level
        Of the interval, which is the disagreement of the folds' networks (mean log odds +- z SD / sqrt(k - 1)).
    notes
        Further warnings.
    patient, date
        Study code and day, for the page.

    Raises
    ------
    BundleError
        A sequence is missing.
    ImageError
        The structure to center on is missing or empty.
    HepacastError
        A clinical value is missing, unknown or impossible.
    """
    seen = _seen(bundle, images, masks, labs or {})
    row = None if seen.covariates is None else seen.covariates[None]
    applied = [network.apply(seen.crop[None], row) for network in bundle.networks]
    scores = np.array([float(item.scores[0]) for item in applied])
    prediction = replace(_prediction(bundle, seen, scores, level, notes), patient=patient, date=date)
    return NetworkPrediction(prediction, _tumor(seen, applied), _attention(bundle, seen))


def _seen(
    bundle: NetworkBundle, images: Mapping[str, Volume], masks: Mapping[str, Volume], labs: Mapping[str, str]
) -> _Seen:
    values = read_labs(labs, bundle.columns, bundle.clinical_names(bundle.name))
    sequences, rules = bundle.recipe.sequences, bundle.crop
    named = bundle.recipe.by_sequence(images)
    voi = VoiExpression.parse(rules.voi).evaluate(masks)
    crop = crop_patient(named, {**masks, rules.voi: voi}, rules, modalities=dict(sequences))
    grid = crop_geometry(voi, rules)
    drawn = crop_mask(masks.get(bundle.structure, voi), grid)
    facts = crop_facts(crop, drawn, grid.spacing, rules, bundle.structure, sequences)
    return _Seen(crop, grid, next(iter(named.values())), voi, facts, values, _covariates(bundle, values))


def _prediction(
    bundle: NetworkBundle, seen: _Seen, scores: npt.NDArray[np.float64], level: float, notes: tuple[str, ...]
) -> Prediction:
    """The risk of the mean log odds, recalibrated; limits are the disagreement of the folds' networks."""
    # Each within the limits of the study's recalibration, then averaged, as `apply_frozen` does.
    lps = averaged_scale(scores, bundle.networks[0].spec)
    middle, spread = float(lps.mean()), float(lps.std(ddof=1)) if len(lps) > 1 else math.nan
    half = float(norm.ppf(0.5 + level / 2)) * spread / math.sqrt(max(len(lps) - 1, 1))
    ends = [_limited(bundle, value) for value in (middle, middle - half, middle + half)]
    unknown = _unknown(bundle, seen.values)
    # The networks say nothing of other values than the one that stands in: any interval would be too narrow.
    horizons = [_by(bundle, ends, time, known=not unknown) for time in bundle.horizons or (math.inf,)]
    main = horizons[-1]
    facts = dict(seen.facts) | {SCORE: middle} | _numbers(bundle, seen.values)
    return Prediction(
        outcome=str(bundle.card["outcome"]["name"]),
        model=bundle.name,
        risk=main.risk,
        low=main.low,
        high=main.high,
        level=level,
        linear_predictor=float(bundle.scale.linear(ends[0])),
        cutoff=bundle.cutoff,
        group=risk_group(main.risk, bundle.cutoff),
        values={item.label: seen.values[item.name].shown for item in bundle.columns},
        inputs={item.name: seen.values[item.name].value for item in bundle.columns},
        radscore=None,
        points=None,
        total_points=None,
        shares=(),
        warnings=(*unknown, *outside(facts, bundle.seen), *cut_warning(bundle.crop, seen.voi), *notes),
        bundle=bundle.identity,
        signature=bundle.signed.text(),
        study=str(bundle.card["name"]),
        horizons=tuple(horizons) if bundle.horizons else (),
        cautions=cautions_of(bundle.card, bundle.name),
        validated=validated_of(bundle.card, bundle.name),
        interval_of=f"{'; '.join(unknown)}, and the networks do not tell what other values would give"
        if unknown
        else INTERVAL,
    )


def _numbers(bundle: NetworkBundle, values: Mapping[str, ClinicalValue]) -> dict[str, float]:
    """Clinical numbers that are known, by label."""
    found = {item.label: values[item.name].value for item in bundle.columns}
    return {label: value for label, value in found.items() if isinstance(value, float) and math.isfinite(value)}


def _tumor(seen: _Seen, applied: Sequence[Applied]) -> Volume | None:
    """Where the networks see the tumor, on the image's grid; None of networks that draw none."""
    masks = [np.asarray(item.masks[0], dtype=np.float32) for item in applied if item.masks is not None]
    if applied[0].masks is None:
        return None
    mean = np.mean(masks, axis=0)
    return seen.reference.with_array(uncrop(mean, seen.grid, seen.reference.geometry) >= 0.5)


def _attention(bundle: NetworkBundle, seen: _Seen) -> Volume:
    """What raises the risk, on the image's grid."""
    from hepacast.deep.explain import grad_cam

    heat = np.mean([grad_cam(network, seen.crop, seen.covariates) for network in bundle.networks], axis=0)
    return seen.reference.with_array(uncrop(heat, seen.grid, seen.reference.geometry))


def _covariates(bundle: NetworkBundle, values: Mapping[str, ClinicalValue]) -> npt.NDArray[np.float64] | None:
    """The clinical values as the networks read them, (p,)."""
    if not bundle.columns:
        return None
    parts = [numeric_columns(pd.Series([values[item.name].value]), item) for item in bundle.columns]
    return np.asarray(pd.concat(parts, axis=1).to_numpy(dtype=float)[0])


def _unknown(bundle: NetworkBundle, values: Mapping[str, ClinicalValue]) -> list[str]:
    """A warning for each value that nobody knows."""
    missing = [item.label for item in bundle.columns if pd.isna(values[item.name].value)]
    return [f"{label}: not known, the training mean stands in" for label in missing]


def _limited(bundle: NetworkBundle, value: float) -> float:
    """Log odds within the limits that the study's recalibration knows."""
    return max(-_LIMIT, min(_LIMIT, value)) if bundle.networks[0].spec.outcome == "binary" else value


def _by(bundle: NetworkBundle, ends: Sequence[float], time: float, *, known: bool) -> HorizonRisk:
    """The risk with its limits (by a time, where the outcome has one)."""
    risk, low, high = (float(bundle.scale.risk(value, time)) for value in ends)
    return HorizonRisk(time, bundle.unit, risk, low if known else math.nan, high if known else math.nan)
