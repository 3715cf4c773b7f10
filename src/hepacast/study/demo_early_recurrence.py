"""Demo of study D: early recurrence on three MR phases of virtual patients, with small networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hepacast.core.files import read_json
from hepacast.core.progress import Reporter, SilentReporter
from hepacast.phantom.early_recurrence import make_recurrence_cohort
from hepacast.study.demo_parts import SMALL_CROP, SMALL_NETWORK, SMALL_TRAINING, make_once, run_demo_study, tell_truth
from hepacast.study.run import RunResult
from hepacast.study.template import proposed_values

LABELS = {"parenchyma": 1, "tumor": 2, "spleen": 3}


def run_demo(
    out: str | Path,
    *,
    n_training: int = 160,
    n_validation: int = 80,
    effect: str = "planted",
    seed: int = 2025,
    workers: int = 0,
    changes: dict[str, Any] | None = None,
    reporter: Reporter | None = None,
) -> RunResult:
    """Make the virtual cohort in ``out/cohort``, write its study file, run it into ``out/results``.

    Parameters
    ----------
    n_training, n_validation
        Virtual patients.
    effect
        ``planted``, or ``none``: recurrence at random.
    """
    folder, say = Path(out), reporter or SilentReporter()
    settings = {"study": "early-recurrence", "n": [n_training, n_validation], "effect": effect, "seed": seed}

    def make(progress: Any) -> dict[str, Any]:
        truth = make_recurrence_cohort(
            folder / "cohort", n_training, n_validation, seed=seed, effect=effect, workers=workers, progress=progress
        )
        return planted_truth(read_json(truth))

    make_once(folder / "cohort", settings, make, say)
    tell_truth(read_json(folder / "cohort" / "planted.json"), say)
    return run_demo_study(folder, demo_study(seed, effect), changes or {}, workers, say)


def planted_truth(truth: dict[str, Any]) -> dict[str, Any]:
    """The phantom's truth as the report shows it beside the estimates."""
    planted = truth["effect"] == "planted"
    drawn = truth["auc_of_the_truth_on_these_patients"]
    terms = [
        {"label": "ln AST (per SD)", "coefficient": truth["coefficients"]["ast_per_sd"]},
        {"label": "Tumor diameter (per SD)", "coefficient": truth["coefficients"]["diameter_per_sd"]},
        {"label": "Hidden wash-out of the tumor (per SD)", "coefficient": truth["coefficients"]["wash_out_per_sd"]},
    ]
    description = (
        "Early recurrence of these virtual patients was drawn from a logistic model of AST, the tumor's diameter and a "
        f"hidden wash-out that only the later phases show; table alone {truth['bayes_auc']['clinical']:.3f}, image "
        f"alone {truth['bayes_auc']['image']:.3f}."
        if planted
        else "Recurrence of these virtual patients was drawn at random: nothing has an effect on it."
    )
    bayes = {"any number of patients": truth["bayes_auc"]["combined"]}
    return {
        "planted": planted,
        "bayes_auc": bayes | {name: item["combined"] for name, item in drawn.items()},
        "bayes_auc_clinical": truth["bayes_auc"]["clinical"],
        "terms": terms if planted else [],
        "description": description,
    }


def demo_study(seed: int, effect: str) -> dict[str, Any]:
    """The study file of the demo: the recipe with small crops and networks."""
    study, _ = proposed_values("early-recurrence")
    study["name"] = "Early recurrence: virtual patients" + ("" if effect == "planted" else " with nothing planted")
    study["seed"] = seed
    study["intended_use"] = "Demonstration on virtual patients; not for use in patients."
    study["cohort"]["truth"] = "planted.json"
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
