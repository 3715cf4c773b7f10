"""The demo of study B: response to TACE of virtual patients whose truth is known; multi-task against all others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hepacast.core.executor import Progress
from hepacast.phantom.tace import make_tace_cohort
from hepacast.study.demos.running import Chosen, VirtualStudy, planted_terms, virtual_study
from hepacast.study.template import proposed_values

#: Small networks, so that the demo ends in minutes on two cores.
DEMO_DEEP: dict[str, Any] = {
    "models": ["classifier", "segmenter", "multi-task"],
    "crop": {"voi": "largest(tumor)", "size": [32, 32, 32], "size_mm": [96.0, 96.0, 96.0], "window": [110.0, 220.0]},
    "network": {
        "encoder": "resnet10",
        "width": 8,
        "stages": 3,
        "features": 16,
        "dropout": 0.5,
        "pooled_levels": 2,
    },
    "training": {
        "epochs": 20,
        "batch": 8,
        "learning_rate": 0.003,
        "weight_decay": 0.05,
        "outcome_weight": 0.15,
        "inner_fraction": 0.0,
        "augment": {"intensity": 0.05, "noise": 0.02},
    },
    "masks": "expert/{patient}.nii.gz",
    "explained": 4,
    "adjust": ["age", "tumor_diameter", "vascular_invasion", "alb"],
}


def make(folder: Path, chosen: Chosen, workers: int, progress: Progress) -> Path:
    """Of those held out, 5 of 11 are the same hospital's (internal validation), the others another's (external)."""
    training, held_out = chosen.sizes["n_training"], chosen.sizes["n_validation"]
    internal = round(held_out * 5 / 11)
    return make_tace_cohort(
        folder,
        training,
        internal,
        held_out - internal,
        seed=chosen.seed,
        effect=chosen.effect,
        unmasked=training // 10,
        workers=workers,
        progress=progress,
    )


def planted_truth(truth: dict[str, Any]) -> dict[str, Any]:
    """The phantom's truth as the report shows it beside the estimates."""
    return planted_terms(
        truth,
        {
            "rim_per_sd": "Hidden enhancement of the rim (per SD)",
            "texture_per_sd": "Hidden unevenness of the tumor (per SD)",
            "log_diameter_per_sd": "Log of the largest diameter (per SD)",
            "vascular_invasion": "Vascular invasion",
        },
        "The response of these virtual patients was drawn from a logistic model of the tumor's rim enhancement and "
        "unevenness, which no laboratory value tells, of its diameter and of vascular invasion; nothing else counts.",
        "The response of these virtual patients was drawn at random: nothing has an effect on it.",
    )


def study_of(chosen: Chosen) -> dict[str, Any]:
    """Recipe tace-response with small networks and fewer features.

    With nnU-Net, it is trained on the expert masks, its masks are the study's, and its Dice stands beside the networks'
    own.
    """
    study = virtual_study(proposed_values("tace-response")[0], "Objective response to TACE", chosen)
    study["deep"] = DEMO_DEEP
    study["features"]["settings"] = "early-recurrence"
    if chosen.segmenter == "nnunet":
        study["images"]["segmentation"] |= {
            "source": "nnunet",
            "masks": "expert/{patient}.nii.gz",
            "nnunet": {"preset": "demo", "folds": 5, "test_fraction": 0.0, "apply_folds": 2},
        }
    # Fewer refits than a real study would want, so that the demo ends in minutes.
    study["modelling"]["validation"] = {"folds": 5, "repeats": 2, "bootstrap": 0, "usual_way": False}
    return study


DEMO = VirtualStudy(
    sizes={"n_training": 200, "n_validation": 99},
    seed=2025,
    segmenters=("given", "nnunet"),
    phantom="hepacast.phantom.tace",
    make=make,
    planted_truth=planted_truth,
    study=study_of,
)
