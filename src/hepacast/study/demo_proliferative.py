"""Demo of study C: deep-learning radiomics of proliferative tumors, applied to two cohorts with follow-up only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hepacast.core.files import read_json
from hepacast.core.progress import Reporter, SilentReporter
from hepacast.phantom.proliferative import make_proliferative_cohorts
from hepacast.study.demo_parts import SMALL_CROP, SMALL_NETWORK, SMALL_TRAINING, make_once, run_demo_study, tell_truth
from hepacast.study.run import RunResult
from hepacast.study.template import proposed_values


def run_demo(
    out: str | Path,
    *,
    n_training: int = 150,
    n_validation: int = 50,
    n_external: int = 70,
    n_further: int = 90,
    effect: str = "planted",
    hazard: str | None = None,
    seed: int = 2025,
    workers: int = 0,
    changes: dict[str, Any] | None = None,
    reporter: Reporter | None = None,
) -> RunResult:
    """Make the virtual cohorts in ``out/cohort``, write the study file, run it into ``out/results``.

    Parameters
    ----------
    n_training, n_validation, n_external
        Virtual patients with the label.
    n_further
        Patients of each of the two further cohorts.
    effect
        ``planted``, or ``none``: the label at random, and the hazard as well unless `hazard` says otherwise.
    hazard
        ``planted``: the hazard of the further cohorts follows the hidden proliferation; ``none``: it does not.
    """
    folder, say = Path(out), reporter or SilentReporter()
    sizes = {
        "training": n_training, "validation": n_validation, "external": n_external, "RFA": n_further,
        "TACE": n_further,
    }  # fmt: skip
    risk = hazard or effect
    settings = {"study": "proliferative", "sizes": sizes, "effect": effect, "hazard": risk, "seed": seed}

    def make(progress: Any) -> dict[str, Any]:
        truth = make_proliferative_cohorts(
            folder / "cohort", sizes, seed=seed, effect=effect, hazard=risk, workers=workers, progress=progress
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
        {"label": "Hidden proliferation (per SD)", "coefficient": truth["coefficients"]["proliferation_per_sd"]},
        {"label": "ln AFP (per SD)", "coefficient": truth["coefficients"]["afp_per_sd"]},
    ]
    hazards = ", ".join(f"{name} {value:g}" for name, value in truth["log_hazard"].items())
    description = (
        "The label of these virtual patients was drawn from a logistic model of a hidden proliferation, which shows in "
        f"the tumor's mosaic and rim, and of AFP; image alone {truth['bayes_auc']['image']:.3f}, AFP alone "
        f"{truth['bayes_auc']['clinical']:.3f}."
        if planted
        else "The label of these virtual patients was drawn at random: nothing has an effect on it."
    )
    bayes = {"any number of patients": truth["bayes_auc"]["combined"]}
    return {
        "planted": planted,
        "bayes_auc": bayes | {name: item["combined"] for name, item in drawn.items()},
        "bayes_auc_clinical": truth["bayes_auc"]["clinical"],
        "terms": terms if planted else [],
        "description": f"{description} Log hazard of the further cohorts by the hidden proliferation: {hazards}.",
    }


def demo_study(seed: int, effect: str) -> dict[str, Any]:
    """The study file of the demo: the recipe with small crops and networks."""
    study, _ = proposed_values("proliferative")
    study["name"] = "Proliferative HCC: virtual patients" + ("" if effect == "planted" else " with nothing planted")
    study["seed"] = seed
    study["intended_use"] = "Demonstration on virtual patients; not for use in patients."
    study["cohort"]["truth"] = "planted.json"
    study["images"]["segmentation"]["labels"] = {"parenchyma": 1, "tumor": 2}
    study["fusion"]["deep"] = {
        "crop": SMALL_CROP | {"window": [90.0, 160.0]},
        "network": dict(SMALL_NETWORK),
        "training": dict(SMALL_TRAINING),
    }
    study["evaluation"] = {"bootstrap": 200}
    return study
