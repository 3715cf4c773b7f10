"""Demo of the end-to-end question of study A: a network of image and laboratory values beside the two-step models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hepacast.core.closure import code_hash
from hepacast.core.progress import Reporter, SilentReporter
from hepacast.errors import StudyFileError
from hepacast.phantom.cohort import DEFAULT_SEED
from hepacast.study.demo import demo_study, make_virtual_patients
from hepacast.study.demo_parts import SMALL_NETWORK, SMALL_TRAINING, run_demo_study
from hepacast.study.run import RunResult
from hepacast.study.template import recipe_values


def run_demo(
    out: str | Path,
    *,
    n_training: int = 147,
    n_validation: int = 63,
    effect: str = "planted",
    seed: int = DEFAULT_SEED,
    segmenter: str | None = None,
    workers: int = 0,
    changes: dict[str, Any] | None = None,
    reporter: Reporter | None = None,
) -> RunResult:
    """Make the leading study's virtual cohort in ``out/cohort``, run the recipe ptlf-end-to-end into ``out/results``.

    Parameters
    ----------
    n_training, n_validation
        Virtual patients of the two centers; all have a mask.
    effect
        ``planted``: the outcome depends on INR, albumin and the texture of the parenchyma; ``none``: on nothing.
    changes
        Changes to the study file by dotted key.

    Raises
    ------
    StudyFileError
        An unknown effect, or a segmenter is asked for.
    """
    if effect not in ("planted", "none") or segmenter not in (None, "given"):
        raise StudyFileError(
            "The demo does not know this choice.",
            expected="effect planted or none; no segmenter (all masks are given)",
            found=f"effect {effect}, segmenter {segmenter}",
        )
    folder, say = Path(out), reporter or SilentReporter()
    settings = {
        "n_train": n_training,
        "n_validation": n_validation,
        "effect": effect,
        "seed": seed,
        "truth_masks": True,
        "code": code_hash("hepacast.phantom.cohort"),
    }
    make_virtual_patients(folder / "cohort", settings, workers, say)
    return run_demo_study(folder, end_to_end_study(seed, effect), changes or {}, workers, say)


def end_to_end_study(seed: int, effect: str) -> dict[str, Any]:
    """The two-step demo's study file with the recipe's network, small."""
    study = demo_study("given", seed, effect, {})
    suffix = "" if effect == "planted" else " with nothing planted"
    study["name"] = f"Liver failure after TACE, end to end: virtual patients{suffix}"
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
