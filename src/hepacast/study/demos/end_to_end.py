"""Demo of the end-to-end question of study A: a network of image and laboratory values beside the two-step models."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hepacast.study.demos import ptlf
from hepacast.study.demos.running import SMALL_NETWORK, SMALL_TRAINING, Chosen
from hepacast.study.template import recipe_values


def study_of(chosen: Chosen) -> dict[str, Any]:
    """The two-step demo's study file with the recipe's network, small."""
    study = ptlf.study_of(chosen)
    study["name"] = f"Liver failure after TACE, end to end: virtual patients{chosen.suffix}"
    study["recipe"] = "ptlf-end-to-end"
    network = recipe_values("ptlf-end-to-end")["deep"]
    study["deep"] = network | {
        "crop": {"voi": "parenchyma | tumor", "size": [24, 48, 48], "size_mm": None, "margin_mm": 5.0,
                 "window": [110.0, 220.0]},
        "network": {key: value for key, value in SMALL_NETWORK.items() if key != "tasks"}
        | {"encoder": "resnet10", "covariates": ["alb", "inr", "plt", "tb"], "pooled_levels": 2},
        "training": SMALL_TRAINING | {"outcome_weight": 0.3},
    }  # fmt: skip
    study["modelling"]["validation"] = {"folds": 5, "repeats": 2, "bootstrap": 0, "usual_way": False}
    return study


DEMO = replace(ptlf.DEMO, segmenters=("given",), study=study_of)
