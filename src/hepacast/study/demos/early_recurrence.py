"""Demo of study D: early recurrence on three MR phases of virtual patients, with small networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hepacast.core.executor import Progress
from hepacast.phantom.early_recurrence import make_recurrence_cohort
from hepacast.study.demos.running import (
    SMALL_CROP,
    SMALL_NETWORK,
    SMALL_TRAINING,
    Chosen,
    VirtualStudy,
    planted_terms,
    virtual_study,
)
from hepacast.study.template import proposed_values

LABELS = {"parenchyma": 1, "tumor": 2, "spleen": 3}


def make(folder: Path, chosen: Chosen, workers: int, progress: Progress) -> Path:
    """Training and validation set."""
    sizes = chosen.sizes["n_training"], chosen.sizes["n_validation"]
    return make_recurrence_cohort(
        folder, *sizes, seed=chosen.seed, effect=chosen.effect, workers=workers, progress=progress
    )


def planted_truth(truth: dict[str, Any]) -> dict[str, Any]:
    """The phantom's truth as the report shows it beside the estimates."""
    best = truth["bayes_auc"]
    return planted_terms(
        truth,
        {
            "ast_per_sd": "ln AST (per SD)",
            "diameter_per_sd": "Tumor diameter (per SD)",
            "wash_out_per_sd": "Hidden wash-out of the tumor (per SD)",
        },
        "Early recurrence of these virtual patients was drawn from a logistic model of AST, the tumor's diameter and a "
        f"hidden wash-out that only the later phases show; table alone {best['clinical']:.3f}, image alone "
        f"{best['image']:.3f}.",
        "Recurrence of these virtual patients was drawn at random: nothing has an effect on it.",
    )


def study_of(chosen: Chosen) -> dict[str, Any]:
    """The recipe with small crops and networks."""
    study = virtual_study(proposed_values("early-recurrence")[0], "Early recurrence", chosen)
    study["cohort"]["split"] = {
        "by": "column", "column": "set", "training": ["training"], "validation": ["validation"],
    }  # fmt: skip
    study["images"]["segmentation"]["labels"] = dict(LABELS)
    study["images"]["preprocessing"]["bias_voxel_mm"] = 14.0
    study["fusion"]["deep"] = {
        # Tumors fill the window, and what augmentation adds to a phase stays small beside what phases differ by: the
        # planted pattern is a difference of phases (SD between patients about 0.1 of the wider window's half).
        "crop": study["fusion"]["deep"]["crop"] | SMALL_CROP | {"window": [0.0, 420.0]},
        "network": dict(SMALL_NETWORK),
        # Six networks, ten trainings each.
        "training": SMALL_TRAINING | {"epochs": 24, "augment": SMALL_TRAINING["augment"] | {"intensity": 0.03}},
    }
    study["evaluation"] = {"bootstrap": 200}
    return study


DEMO = VirtualStudy(
    sizes={"n_training": 160, "n_validation": 80},
    seed=2025,
    segmenters=("given",),
    phantom="hepacast.phantom.early_recurrence",
    make=make,
    planted_truth=planted_truth,
    study=study_of,
)
