"""What the demos share: a virtual cohort made once, its study file written, the study run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from hepacast.core.closure import code_hash
from hepacast.core.executor import Progress
from hepacast.core.files import write_json, write_text
from hepacast.core.hashing import hash_value
from hepacast.core.kept import read_record, write_record
from hepacast.core.progress import Reporter
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


def make_once(
    folder: Path, settings: dict[str, Any], make: Callable[[Progress], dict[str, Any]], say: Reporter
) -> None:
    """Make a virtual cohort unless it is there from the same settings and code; `make` returns the planted truth."""
    key = hash_value([settings, code_hash("hepacast.phantom.early_recurrence", "hepacast.phantom.proliferative")])
    made = folder / _MADE
    if (read_record(made) or {}).get("key") == key:
        say.say("virtual patients: kept from an earlier run")
        return
    made.unlink(missing_ok=True)
    with say.track("virtual patients") as progress:
        planted = make(progress)
    write_json(folder / "planted.json", planted)
    write_record(made, {"key": key})


def run_demo_study(out: Path, study: dict[str, Any], changes: dict[str, Any], workers: int, say: Reporter) -> RunResult:
    """Write ``out/cohort/study.yaml`` with the changes (by dotted key) and run it into ``out/results``."""
    for key, value in changes.items():
        *path, last = key.split(".")
        target = study
        for part in path:
            target = target.setdefault(part, {})
        target[last] = value
    write_text(out / "cohort" / "study.yaml", render_study(study))
    return run_study(out / "cohort", out=out / "results", workers=workers, reporter=say)


def tell_truth(planted: dict[str, Any], say: Reporter) -> None:
    """Print the best AUC that anyone can reach."""
    known = ", ".join(f"{name} {value:.3f}" for name, value in planted["bayes_auc"].items())
    say.say(f"Bayes AUC, by {'the planted truth' if planted['planted'] else 'nothing: nothing is planted'}: {known}")
