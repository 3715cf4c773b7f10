"""Demo of study C: deep-learning radiomics of proliferative tumors, applied to two cohorts with follow-up only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hepacast.core.executor import Progress
from hepacast.phantom.proliferative import make_proliferative_cohorts
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


def make(folder: Path, chosen: Chosen, workers: int, progress: Progress) -> Path:
    """Three sets with the label, and two cohorts with follow-up (``n_further`` each)."""
    sizes = {name: chosen.sizes[f"n_{name}"] for name in ("training", "validation", "external")}
    sizes |= dict.fromkeys(("RFA", "TACE"), chosen.sizes["n_further"])
    return make_proliferative_cohorts(
        folder,
        sizes,
        seed=chosen.seed,
        effect=chosen.effect,
        hazard=chosen.effect,
        workers=workers,
        progress=progress,
    )


def planted_truth(truth: dict[str, Any]) -> dict[str, Any]:
    """The phantom's truth as the report shows it beside the estimates."""
    best = truth["bayes_auc"]
    hazards = ", ".join(f"{name} {value:g}" for name, value in truth["log_hazard"].items())
    followed = f" Log hazard of the further cohorts by the hidden proliferation: {hazards}."
    return planted_terms(
        truth,
        {"proliferation_per_sd": "Hidden proliferation (per SD)", "afp_per_sd": "ln AFP (per SD)"},
        "The label of these virtual patients was drawn from a logistic model of a hidden proliferation, which shows in "
        f"the tumor's mosaic and rim, and of AFP; image alone {best['image']:.3f}, AFP alone {best['clinical']:.3f}."
        + followed,
        "The label of these virtual patients was drawn at random: nothing has an effect on it." + followed,
    )


def study_of(chosen: Chosen) -> dict[str, Any]:
    """The recipe with small crops and networks."""
    study = virtual_study(proposed_values("proliferative")[0], "Proliferative HCC", chosen)
    study["images"]["segmentation"]["labels"] = {"parenchyma": 1, "tumor": 2}
    study["fusion"]["deep"] = {
        "crop": SMALL_CROP | {"window": [90.0, 160.0]},
        "network": dict(SMALL_NETWORK),
        "training": dict(SMALL_TRAINING),
    }
    study["evaluation"] = {"bootstrap": 200}
    return study


DEMO = VirtualStudy(
    sizes={"n_training": 150, "n_validation": 50, "n_external": 70, "n_further": 90},
    seed=2025,
    segmenters=("given",),
    phantom="hepacast.phantom.proliferative",
    make=make,
    planted_truth=planted_truth,
    study=study_of,
)
