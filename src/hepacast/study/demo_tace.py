"""The demo of study B: response to TACE of virtual patients whose truth is known; multi-task against all others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hepacast.core.closure import code_hash
from hepacast.core.files import read_json, write_json, write_text
from hepacast.core.hashing import hash_value
from hepacast.core.kept import read_record, write_record
from hepacast.core.progress import Reporter, SilentReporter
from hepacast.errors import StudyFileError
from hepacast.phantom.tace import make_tace_cohort
from hepacast.study.run import RunResult, run_study
from hepacast.study.template import proposed_values, render_study

_MADE = "made.json"

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


def run_demo(
    out: str | Path,
    *,
    n_training: int = 200,
    n_validation: int = 99,
    effect: str = "planted",
    seed: int = 2025,
    segmenter: str | None = None,
    workers: int = 0,
    changes: dict[str, Any] | None = None,
    reporter: Reporter | None = None,
) -> RunResult:
    """Make a virtual cohort in ``out/cohort``, write its study file, and run it into ``out/results``.

    Parameters
    ----------
    out
        Folder; what is there from an earlier demo with the same settings is kept.
    n_training, n_validation
        Virtual patients to train on, and those held out: 5 of 11 are the same hospital's (internal validation), the
        others another one's (external testing).
    effect
        ``planted``: the response depends on the tumor's rim and texture; ``none``: on nothing.
    seed
        Of the cohort and of the study.
    segmenter
        ``given``, the default: every patient has a mask. ``nnunet``: nnU-Net is trained on the expert masks, its masks
        are the study's, and its Dice stands beside the networks' own.
    workers
        Processes; the numbers do not depend on it.
    changes
        Changes to the study file by dotted key.

    Raises
    ------
    StudyFileError
        An unknown effect or segmenter.
    """
    if effect not in ("planted", "none") or segmenter not in (None, "given", "nnunet"):
        raise StudyFileError(
            "The demo does not know this choice.",
            expected="effect planted or none; segmenter given or nnunet",
            found=f"effect {effect}, segmenter {segmenter}",
        )
    folder, say = Path(out), reporter or SilentReporter()
    internal = round(n_validation * 5 / 11)
    settings = {
        "n_training": n_training,
        "n_internal": internal,
        "n_external": n_validation - internal,
        "unmasked": n_training // 10,
        "effect": effect,
        "seed": seed,
    }
    _make(folder / "cohort", settings, workers, say)
    study = demo_study(seed, effect, segmenter or "given", changes or {})
    write_text(folder / "cohort" / "study.yaml", render_study(study))
    return run_study(folder / "cohort", out=folder / "results", workers=workers, reporter=say)


def _make(folder: Path, settings: dict[str, Any], workers: int, say: Reporter) -> None:
    """The cohort's files, unless they are there from the same settings."""
    key = hash_value([settings, code_hash("hepacast.phantom.tace")])
    made = folder / _MADE
    if (read_record(made) or {}).get("key") == key:
        say.say("virtual patients: kept from an earlier run")
        return
    made.unlink(missing_ok=True)
    total = settings["n_training"] + settings["n_internal"] + settings["n_external"]
    say.say(f"virtual patients: {total}")
    with say.track("virtual patients") as progress:
        truth = make_tace_cohort(folder, **settings, workers=workers, progress=progress)
    content = planted_truth(read_json(truth))
    write_json(folder / "planted.json", content)
    write_record(made, {"key": key})
    bayes = content["bayes_auc"]
    say.say("Bayes AUC: " + ", ".join(f"{name} {value:.3f}" for name, value in bayes.items() if value is not None))


def planted_truth(truth: dict[str, Any]) -> dict[str, Any]:
    """The phantom's truth as the report shows it beside the estimates."""
    planted = truth["effect"] == "planted"
    bayes = {"any number of patients": truth["bayes_auc"]["combined"]}
    names = {"training": "training", "internal": "validation", "external": "external"}
    for group, aucs in truth["auc_of_the_truth_on_these_patients"].items():
        if group in names:
            bayes[names[group]] = aucs["combined"]
    own = truth["coefficients"]
    terms = [
        {"label": "Hidden enhancement of the rim (per SD)", "coefficient": own["rim_per_sd"]},
        {"label": "Hidden unevenness of the tumor (per SD)", "coefficient": own["texture_per_sd"]},
        {"label": "Log of the largest diameter (per SD)", "coefficient": own["log_diameter_per_sd"]},
        {"label": "Vascular invasion", "coefficient": own["vascular_invasion"]},
    ]
    description = (
        "The response of these virtual patients was drawn from a logistic model of the tumor's rim enhancement and "
        "unevenness, which no laboratory value tells, of its diameter and of vascular invasion; nothing else counts."
        if planted
        else "The response of these virtual patients was drawn at random: nothing has an effect on it."
    )
    return {
        "planted": planted,
        "bayes_auc": bayes,
        "bayes_auc_clinical": truth["bayes_auc"]["clinical"],
        "terms": terms if planted else [],
        "description": description,
    }


def demo_study(seed: int, effect: str, segmenter: str, changes: dict[str, Any]) -> dict[str, Any]:
    """The study file of the demo: recipe tace-response with small networks and fewer features."""
    study, _ = proposed_values("tace-response")
    suffix = "" if effect == "planted" else " with nothing planted"
    study["name"] = f"Objective response to TACE: virtual patients{suffix}"
    study["seed"] = seed
    study["intended_use"] = "Demonstration on virtual patients; not for use in patients."
    study["cohort"]["truth"] = "planted.json"
    study["deep"] = DEMO_DEEP
    study["features"]["settings"] = "early-recurrence"
    if segmenter == "nnunet":
        study["images"]["segmentation"] |= {
            "source": "nnunet",
            "masks": "expert/{patient}.nii.gz",
            "nnunet": {"preset": "demo", "folds": 5, "test_fraction": 0.0, "apply_folds": 2},
        }
    # Fewer refits than a real study would want, so that the demo ends in minutes.
    study["modelling"]["validation"] = {"folds": 5, "repeats": 2, "bootstrap": 0, "usual_way": False}
    for key, value in changes.items():
        *path, last = key.split(".")
        target = study
        for part in path:
            target = target.setdefault(part, {})
        target[last] = value
    return study
