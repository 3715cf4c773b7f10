"""The main network of a study as a bundle of its own, written by the deep stage's results."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from hepacast._version import __version__
from hepacast.bundle.networks import SCORE, NetworkBundle
from hepacast.core.files import read_json
from hepacast.deep import CropSpec, TrainedNetwork, averaged_scale
from hepacast.deep.domain import crop_facts, ranges_of
from hepacast.modelling.score_scale import ScoreScale
from hepacast.radiomics.recipe import ImageRecipe
from hepacast.study.context import Context
from hepacast.study.stages.card import evaluated_card
from hepacast.study.stages.deep import horizons_of
from hepacast.study.stages.deep_inputs import DeepData, load_data
from hepacast.study.stages.preprocessing import LANDMARKS

FILE = "networks.hepacast"


def write_network_bundle(context: Context, folder: Path) -> None:
    """Write ``networks.hepacast`` of the main network."""
    results = context.out / "deep"
    if context.study.deep is None or not (results / "deep.json").is_file() or context.study.images is None:
        return
    content = read_json(results / "deep.json")
    if not content["models"]:
        return
    images = context.study.images
    name = list(content["models"])[-1]
    entry = content["models"][name]
    files = sorted((results / "networks").glob(f"{entry['kind']}-*.safetensors"))
    named: dict[str, Any] = content["crop"]
    crop = CropSpec.model_validate(named | {"channels": named["channels"] or list(images.sequences)})
    sequences = {key: item.modality for key, item in images.sequences.items()}
    data = load_data(context)
    wanted = context.study.deep.network.covariates
    specs = {spec.name: spec for spec in data.cohort.table.specs}
    NetworkBundle(
        name=name,
        crop=crop,
        recipe=ImageRecipe(
            "images", sequences=sequences, labels=images.segmentation.labels, preprocessing=preprocessing_of(context)
        ),
        scale=ScoreScale.from_json(entry["calibration"]),
        horizons=horizons_of(context, data) if data.cohort.outcome.has_time else (),
        unit=data.cohort.outcome.unit,
        cutoff=float("nan") if entry["cutoff"] is None else float(entry["cutoff"]),
        networks=tuple(TrainedNetwork.load(file) for file in files),
        card=_card(context, name),
        structure=context.study.deep.structure,
        columns=tuple(specs[item] for item in wanted),
        seen=_seen(context, data, crop, sequences, entry["kind"]),
    ).write(folder / FILE)


def _seen(
    context: Context, data: DeepData, crop: CropSpec, sequences: Mapping[str, str], kind: str
) -> dict[str, tuple[float, float]]:
    """What the training patients look like: of their crops, of their clinical numbers, of the networks' score."""
    assert context.study.deep is not None
    rows, options = data.rows("training"), context.study.deep
    facts = [
        crop_facts(data.crops[row], data.drawn[row], data.spacing[row], crop, options.structure, sequences)
        for row in rows
    ]
    found = ranges_of(facts)
    patients = [data.patients[row] for row in rows]
    for spec in data.cohort.table.specs:
        if spec.name in options.network.covariates and spec.kind == "numeric":
            values = data.cohort.table.frame[spec.name].reindex(patients)
            found |= ranges_of({spec.label: float(value)} for value in values.astype(float))
    scores = pd.read_parquet(context.out / "deep" / "features.parquet")[f"{kind}:score"].reindex(patients)
    lps = averaged_scale(scores.to_numpy(dtype=float), options.network)
    return found | ranges_of({SCORE: float(value)} for value in lps)


def preprocessing_of(context: Context) -> dict[str, Any] | None:
    """What is done to a new patient's MR images; of the training patients, Nyul's landmarks are means."""
    images = context.study.images
    if images is None or images.preprocessing is None:
        return None
    landmarks = context.out / "preprocessing" / LANDMARKS
    return {
        "reference": images.reference,
        "rules": images.preprocessing.model_dump(mode="json"),
        "landmarks": read_json(landmarks) if landmarks.is_file() else None,
    }


def _card(context: Context, name: str) -> dict[str, Any]:
    study, out = context.study, context.out
    outcome, flow = read_json(out / "cohort" / "outcome.json"), read_json(out / "modelling" / "flow.json")
    return {
        "name": study.name,
        "recipe": study.recipe,
        "intended_use": study.intended_use or "Not stated by the study's authors.",
        "notice": "Research use only. Not a medical device.",
        "outcome": {key: outcome[key] for key in ("name", "positive", "negative", "definition", "source")},
        "population": {"included": flow["included"], "sets": flow["sets"]},
        **_of_one(evaluated_card(context, [name]), name),
        "provenance": {"hepacast": __version__, "seed": study.seed},
    }


def _of_one(card: dict[str, Any], name: str) -> dict[str, Any]:
    """The card of a bundle with one model: its performance by set."""
    return card | {"performance": {part: item[name] for part, item in card["performance"].items() if name in item}}
