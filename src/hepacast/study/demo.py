"""The demo: the leading study on virtual patients whose truth is known, from one command to the finished report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from hepacast.core.closure import code_hash
from hepacast.core.files import read_json, write_json, write_text
from hepacast.core.hashing import hash_value
from hepacast.core.kept import read_record, write_record
from hepacast.core.progress import Reporter, SilentReporter
from hepacast.errors import StudyFileError
from hepacast.phantom import columns
from hepacast.phantom.cohort import DEFAULT_SEED, make_cohort
from hepacast.study.run import RunResult, run_study
from hepacast.study.template import proposed_values, render_study

#: Patients whose masks an expert has drawn; the others' are predicted.
N_MASKS = 30
N_SECOND_READER = 10
_MADE = "made.json"


def run_demo(
    out: str | Path,
    *,
    n_training: int = 147,
    n_validation: int = 63,
    effect: Literal["planted", "none"] | str = "planted",
    seed: int = DEFAULT_SEED,
    segmenter: str = "nnunet",
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
        Virtual patients of the two centers.
    effect
        ``planted``: the outcome depends on INR, albumin and the texture of the parenchyma; ``none``: on nothing.
    seed
        Of the cohort and of the study.
    segmenter
        ``nnunet``: trained here on a part of the patients and applied to the rest; ``given``: all masks are known.
    workers
        Processes; the numbers do not depend on it.
    changes
        Changes to the study file by dotted key (``{"modelling.validation.repeats": 2}``).

    Raises
    ------
    StudyFileError
        An unknown effect or segmenter.
    """
    if effect not in ("planted", "none") or segmenter not in ("nnunet", "given"):
        raise StudyFileError(
            "The demo does not know this choice.",
            expected="effect planted or none; segmenter nnunet or given",
            found=f"effect {effect}, segmenter {segmenter}",
        )
    folder, say = Path(out), reporter or SilentReporter()
    settings = {
        "n_train": n_training,
        "n_validation": n_validation,
        "effect": effect,
        "seed": seed,
        "truth_masks": segmenter == "given",
        "code": code_hash("hepacast.phantom.cohort"),
    }
    make_virtual_patients(folder / "cohort", settings, workers, say)
    study = demo_study(segmenter, seed, effect, changes or {})
    write_text(folder / "cohort" / "study.yaml", render_study(study))
    result = run_study(folder / "cohort", out=folder / "results", workers=workers, reporter=say)
    return replace(result)


def make_virtual_patients(folder: Path, settings: dict[str, Any], workers: int, say: Reporter) -> None:
    """The cohort's files, unless they are there from the same settings."""
    key = hash_value(settings)
    made = folder / _MADE
    if (read_record(made) or {}).get("key") == key:
        say.say("virtual patients: kept from an earlier run")
        return
    made.unlink(missing_ok=True)
    say.say(f"virtual patients: {settings['n_train']} + {settings['n_validation']}")
    with say.track("virtual patients") as progress:
        cohort = make_cohort(
            folder,
            settings["n_train"],
            settings["n_validation"],
            seed=settings["seed"],
            effect=settings["effect"],
            n_masks=N_MASKS,
            n_second_reader=N_SECOND_READER,
            truth_masks=settings["truth_masks"],
            workers=workers,
            progress=progress,
        )
    write_json(folder / "planted.json", planted_truth(read_json(cohort.truth)))
    write_record(made, {"key": key})


def planted_truth(truth: dict[str, Any]) -> dict[str, Any]:
    """The phantom's truth as the report shows it beside the estimates."""
    coefficients = truth["coefficients"]
    planted = truth["effect"] == "planted"
    bayes = {"any number of patients": truth["bayes_auc"]["combined"]}
    for name, aucs in truth["auc_of_the_truth_on_these_patients"].items():
        if name != "all":
            bayes[name] = aucs["combined"]
    terms = [
        {"label": "INR (per SD)", "coefficient": coefficients["inr_per_sd"]},
        {"label": "Albumin (per SD)", "coefficient": coefficients["alb_per_sd"]},
        {"label": "Hidden texture of the parenchyma (per SD)", "coefficient": coefficients["texture_per_sd"]},
    ]
    description = (
        "The outcome of these virtual patients was drawn from a logistic model of INR, albumin and a hidden texture of "
        "the parenchyma; nothing else has an effect."
        if planted
        else "The outcome of these virtual patients was drawn at random: nothing has an effect on it."
    )
    return {
        "planted": planted,
        "bayes_auc": bayes,
        "bayes_auc_clinical": truth["bayes_auc"]["clinical"],
        "terms": terms if planted else [],
        "description": description,
    }


def demo_study(segmenter: str, seed: int, effect: str, changes: dict[str, Any]) -> dict[str, Any]:
    """The study file of the demo: recipe ptlf with the virtual table's exclusions and the demo preset."""
    study, _ = proposed_values("ptlf")
    suffix = "" if effect == "planted" else " with nothing planted"
    study["name"] = f"Liver failure after TACE: virtual patients{suffix}"
    study["seed"] = seed
    study["intended_use"] = "Demonstration on virtual patients; not for use in patients."
    study["cohort"]["exclude"] = columns.exclusions()
    study["cohort"]["truth"] = "planted.json"
    segmentation = study["images"]["segmentation"]
    segmentation["second_reader"] = "second_reader/{patient}.nii.gz"
    study["features"]["min_icc"] = 0.75
    # One feature family tells of the outcome and thousands do not: the sparser of the two usual LASSO penalties.
    study["modelling"]["chain"] = {"name": "ptlf, 1-SE", "selector": {"kind": "lasso", "rule": "1se"}}
    # Fewer refits than a real study would want, so that the demo ends in minutes.
    study["modelling"]["validation"] = {"folds": 5, "repeats": 5, "bootstrap": 30}
    if segmenter == "nnunet":
        segmentation["nnunet"] = {"preset": "demo", "folds": 5, "test_fraction": 0.2, "apply_folds": 2}
    else:
        segmentation |= {"source": "given", "masks": "truth_masks/{patient}.nii.gz"}
    for key, value in changes.items():
        *path, last = key.split(".")
        target = study
        for part in path:
            target = target.setdefault(part, {})
        target[last] = value
    return study
