"""The main network of a study as a bundle of its own, written by the deep stage's results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hepacast
from hepacast.bundle.networks import NetworkBundle
from hepacast.compute.files import read_json, write_text
from hepacast.deep import CropSpec, TrainedNetwork
from hepacast.study.context import Context

FILE = "networks.hepacast"


def write_network_bundle(context: Context, folder: Path) -> None:
    """Write ``networks.hepacast`` of the main network; a note where it cannot be applied to an image alone."""
    results = context.out / "deep"
    if context.study.deep is None or not (results / "deep.json").is_file() or context.study.images is None:
        return
    content = read_json(results / "deep.json")
    if not content["models"]:
        return
    images = context.study.images
    if context.study.deep.network.covariates or images.preprocessing is not None:
        write_text(folder / "no-networks.txt", "Networks with covariates or preprocessed MR cannot be bundled yet.\n")
        return
    name = list(content["models"])[-1]
    entry = content["models"][name]
    files = sorted((results / "networks").glob(f"{entry['kind']}-*.safetensors"))
    crop: dict[str, Any] = content["crop"]
    NetworkBundle(
        name=name,
        crop=CropSpec.model_validate(crop | {"channels": crop["channels"] or list(images.sequences)}),
        sequences={key: item.modality for key, item in images.sequences.items()},
        labels=images.segmentation.labels,
        calibration=(entry["calibration"][0], entry["calibration"][1]),
        cutoff=float("nan") if entry["cutoff"] is None else float(entry["cutoff"]),
        networks=tuple(TrainedNetwork.load(file) for file in files),
        card=_card(context, name),
    ).write(folder / FILE)


def _card(context: Context, name: str) -> dict[str, Any]:
    study, out = context.study, context.out
    outcome, flow = read_json(out / "cohort" / "outcome.json"), read_json(out / "modelling" / "flow.json")
    evaluation = read_json(out / "evaluation" / "evaluation.json")
    return {
        "name": study.name,
        "recipe": study.recipe,
        "intended_use": study.intended_use or "Not stated by the study's authors.",
        "notice": "Research use only. Not a medical device.",
        "outcome": {key: outcome[key] for key in ("name", "positive", "negative", "definition", "source")},
        "population": {"included": flow["included"], "sets": flow["sets"]},
        "performance": {
            part: {"auc": item["models"][name]["auc"], "brier": item["models"][name]["brier"]}
            for part, item in evaluation["sets"].items()
            if name in item["models"]
        },
        "provenance": {"hepacast": hepacast.__version__, "seed": study.seed},
    }
