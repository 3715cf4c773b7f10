"""The demo of study A: liver failure after TACE of virtual patients whose truth is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hepacast.core.executor import Progress
from hepacast.phantom import columns
from hepacast.phantom.cohort import DEFAULT_SEED, make_cohort
from hepacast.study.demos.running import Chosen, VirtualStudy, planted_terms, virtual_study
from hepacast.study.template import proposed_values

#: Patients whose masks an expert has drawn (the others' are predicted), and of them by a second reader too.
N_MASKS, N_SECOND_READER = 30, 10


def make(folder: Path, chosen: Chosen, workers: int, progress: Progress) -> Path:
    """The two centers; with masks for all where none are made."""
    return make_cohort(
        folder,
        chosen.sizes["n_training"],
        chosen.sizes["n_validation"],
        seed=chosen.seed,
        effect=chosen.effect,
        n_masks=N_MASKS,
        n_second_reader=N_SECOND_READER,
        truth_masks=chosen.segmenter == "given",
        workers=workers,
        progress=progress,
    ).truth


def planted_truth(truth: dict[str, Any]) -> dict[str, Any]:
    """The phantom's truth as the report shows it beside the estimates."""
    return planted_terms(
        truth,
        {
            "inr_per_sd": "INR (per SD)",
            "alb_per_sd": "Albumin (per SD)",
            "texture_per_sd": "Hidden texture of the parenchyma (per SD)",
        },
        "The outcome of these virtual patients was drawn from a logistic model of INR, albumin and a hidden texture of "
        "the parenchyma; nothing else has an effect.",
        "The outcome of these virtual patients was drawn at random: nothing has an effect on it.",
    )


def study_of(chosen: Chosen) -> dict[str, Any]:
    """Recipe ptlf with the virtual table's exclusions and the demo preset."""
    study = virtual_study(proposed_values("ptlf")[0], "Liver failure after TACE", chosen)
    study["cohort"]["exclude"] = columns.exclusions()
    segmentation = study["images"]["segmentation"]
    segmentation["second_reader"] = "second_reader/{patient}.nii.gz"
    study["features"]["min_icc"] = 0.75
    # One feature family tells of the outcome and thousands do not: the sparser of the two usual LASSO penalties.
    study["modelling"]["chain"] = {"name": "ptlf, 1-SE", "selector": {"kind": "lasso", "rule": "1se"}}
    # Fewer refits than a real study would want, so that the demo ends in minutes.
    study["modelling"]["validation"] = {"folds": 5, "repeats": 5, "bootstrap": 30}
    if chosen.segmenter == "nnunet":
        segmentation["nnunet"] = {"preset": "demo", "folds": 5, "test_fraction": 0.2, "apply_folds": 2}
    else:
        segmentation |= {"source": "given", "masks": "truth_masks/{patient}.nii.gz"}
    return study


DEMO = VirtualStudy(
    sizes={"n_training": 147, "n_validation": 63},
    seed=DEFAULT_SEED,
    segmenters=("nnunet", "given"),
    phantom="hepacast.phantom.cohort",
    make=make,
    planted_truth=planted_truth,
    study=study_of,
)
