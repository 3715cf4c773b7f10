"""What a demo is, and the one way that all are run: patients made once, their study file written, the study run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hepacast.core.closure import code_hash
from hepacast.core.executor import Progress
from hepacast.core.files import read_json, write_json, write_text
from hepacast.core.hashing import hash_value
from hepacast.core.kept import read_record, write_record
from hepacast.core.progress import Reporter
from hepacast.errors import StudyFileError
from hepacast.phantom.truth import Effect
from hepacast.study.run import RunResult, run_study
from hepacast.study.template import render_study

_MADE = "made.json"

#: Study settings that end in minutes on two cores: small crops, small networks, few epochs.
SMALL_TRAINING: dict[str, Any] = {
    "epochs": 30,
    "batch": 8,
    "learning_rate": 3e-3,
    "warmup_epochs": 1.0,
    "inner_fraction": 0.0,
    "ema": 0.95,
    "checkpoint_every": 50,
    "device": "cpu",
    # Elastic changes and turns cost more than these small networks themselves.
    "augment": {"elastic": 0.0, "low_resolution": 0.0, "geometric": 0.3},
}
SMALL_NETWORK: dict[str, Any] = {"tasks": "classifier", "width": 8, "stages": 3, "features": 32}
#: The tumor's own box, stretched: so few voxels tell more of its tissue than a fixed field around it does.
SMALL_CROP: dict[str, Any] = {"voi": "tumor", "size": [16, 24, 24], "size_mm": None, "margin_mm": 5.0}


@dataclass(frozen=True)
class Chosen:
    """What a demo is run with: virtual patients by group, what is planted, the seed, and where masks come from."""

    sizes: Mapping[str, int]
    effect: Effect
    seed: int
    segmenter: str

    @property
    def suffix(self) -> str:
        """What the study's name ends with."""
        return "" if self.effect == "planted" else " with nothing planted"


@dataclass(frozen=True)
class VirtualStudy:
    """A demo: its virtual patients, their truth as the report shows it, and their study.

    Parameters
    ----------
    sizes
        Virtual patients by group, where nothing else is asked for; always ``n_training`` and ``n_validation``.
    seed
        Of cohort and study, where no other is asked for.
    segmenters
        Where masks may come from (``nnunet``: trained here; ``given``), the usual one first.
    phantom
        Module that makes the patients; they are made again when its code changes.
    make
        Makes the files in a folder with so many processes; returns the path of ``truth.json``.
    planted_truth
        The phantom's truth as the report shows it beside the estimates.
    study
        The study file.
    """

    sizes: Mapping[str, int]
    seed: int
    segmenters: tuple[str, ...]
    phantom: str
    make: Callable[[Path, Chosen, int, Progress], Path]
    planted_truth: Callable[[dict[str, Any]], dict[str, Any]]
    study: Callable[[Chosen], dict[str, Any]]

    def choose(
        self, sizes: Mapping[str, int], effect: str = "planted", seed: int | None = None, segmenter: str | None = None
    ) -> Chosen:
        """What it is run with.

        Raises
        ------
        StudyFileError
            The demo does not know this choice.
        """
        chosen = segmenter or self.segmenters[0]
        strange = sorted(set(sizes) - set(self.sizes))
        if effect not in ("planted", "none") or chosen not in self.segmenters or strange:
            raise StudyFileError(
                "The demo does not know this choice.",
                expected=f"effect planted or none; segmenter {' or '.join(self.segmenters)}; {', '.join(self.sizes)}",
                found=f"effect {effect}, segmenter {chosen}" + "".join(f", {name}" for name in strange),
            )
        planted: Effect = "planted" if effect == "planted" else "none"
        return Chosen({**self.sizes, **sizes}, planted, self.seed if seed is None else seed, chosen)


def run_demo(
    demo: VirtualStudy, out: Path, chosen: Chosen, changes: Mapping[str, Any], workers: int, say: Reporter
) -> RunResult:
    """Make the virtual cohort in ``out/cohort``, write its study file with the changes (by dotted key), run it."""
    folder = out / "cohort"
    _make_once(demo, folder, chosen, workers, say)
    write_text(folder / "study.yaml", render_study(with_changes(demo.study(chosen), changes)))
    return run_study(folder, out=out / "results", workers=workers, reporter=say)


def _make_once(demo: VirtualStudy, folder: Path, chosen: Chosen, workers: int, say: Reporter) -> None:
    """Make the virtual patients unless they are there from the same settings and code."""
    settings = [dict(chosen.sizes), chosen.effect, chosen.seed, chosen.segmenter]
    key = hash_value([*settings, code_hash(demo.phantom)])
    made = folder / _MADE
    if (read_record(made) or {}).get("key") == key:
        say.say("virtual patients: kept from an earlier run")
    else:
        made.unlink(missing_ok=True)
        say.say(f"virtual patients: {sum(chosen.sizes.values())}")
        with say.track("virtual patients") as progress:
            truth = demo.make(folder, chosen, workers, progress)
        write_json(folder / "planted.json", demo.planted_truth(read_json(truth)))
        write_record(made, {"key": key})
    planted = read_json(folder / "planted.json")
    known = ", ".join(f"{name} {value:.3f}" for name, value in planted["bayes_auc"].items() if value is not None)
    say.say(f"Bayes AUC, by {'the planted truth' if planted['planted'] else 'nothing: nothing is planted'}: {known}")


def with_changes(study: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The study with values by dotted key (``{"modelling.validation.repeats": 2}``)."""
    for key, value in changes.items():
        *path, last = key.split(".")
        target = study
        for part in path:
            target = target.setdefault(part, {})
        target[last] = value
    return study


def virtual_study(study: dict[str, Any], title: str, chosen: Chosen) -> dict[str, Any]:
    """A recipe's study, named and meant as what it is."""
    study["name"] = f"{title}: virtual patients{chosen.suffix}"
    study["seed"] = chosen.seed
    study["intended_use"] = "Demonstration on virtual patients; not for use in patients."
    study["cohort"]["truth"] = "planted.json"
    return study


def planted_terms(truth: dict[str, Any], labels: Mapping[str, str], drawn: str, random: str) -> dict[str, Any]:
    """What is planted, as the report shows it.

    Parameters
    ----------
    truth
        The phantom's ``truth.json``.
    labels
        What a coefficient belongs to, by its name in the truth.
    drawn, random
        How the outcome was drawn; the same where nothing is planted.

    Returns
    -------
    dict
        ``planted``, ``bayes_auc`` (of image and table, for any number of patients, and drawn with those of each set),
        ``bayes_auc_clinical``, ``terms``, ``description``.
    """
    planted = truth["effect"] == "planted"
    bayes = {"any number of patients": truth["bayes_auc"]["combined"]}
    for group, found in truth["auc_of_the_truth_on_these_patients"].items():
        if group != "all":
            bayes["validation" if group == "internal" else group] = found["combined"]
    terms = [{"label": label, "coefficient": truth["coefficients"][name]} for name, label in labels.items()]
    return {
        "planted": planted,
        "bayes_auc": bayes,
        "bayes_auc_clinical": truth["bayes_auc"]["clinical"],
        "terms": terms if planted else [],
        "description": drawn if planted else random,
    }
