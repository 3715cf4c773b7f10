"""`hepacast noise STUDY`: what the study's chain finds where there is nothing to find.

With the outcomes dealt anew, every step refitted, the cross-validated AUC (of time to an event, where time and event of
a patient are dealt together: Harrell's C) must be 0.50 within its error: a chain that gives more sees what it may not.
The same rounds say how often chance alone gives the real result (permutation P).
Rounds and measured patients are kept, so that a stopped command goes on, and more rounds may be added later.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import clone

from hepacast.core.closure import code_hash
from hepacast.core.executor import keep_workers, map_items, single_threaded
from hepacast.core.files import read_json, write_json
from hepacast.core.hashing import hash_value
from hepacast.core.kept import is_kept, seal
from hepacast.core.lock import hold_folder
from hepacast.core.progress import Reporter
from hepacast.core.seeds import derive_seed
from hepacast.core.stages import read_mark
from hepacast.errors import ModelError
from hepacast.modelling.controls import CONTROLS, REAL, ControlRunner, NullDistribution, RoundResult
from hepacast.modelling.study_models import StudyModels
from hepacast.modelling.targets import rank_measure
from hepacast.modelling.validation import nested_validation
from hepacast.stats.resampling import corrected_resampled_t, nadeau_bengio
from hepacast.study.context import Context, make_context
from hepacast.study.noise_images import IMAGE_CONTROLS, altered_features, is_shape
from hepacast.study.noise_result import ImageControl, NoiseResult
from hepacast.study.run import run_study
from hepacast.study.stages.modelling import Analysis, load_analysis, load_chain, make_models

FOLDER = "noise"
#: Words of the command line.
WORDS = {
    "outcome": "permuted outcome",
    "features": "shuffled features",
    "noise-features": "noise features",
    "voxels": "shuffled voxels",
    "noise-voxels": "noise voxels",
    "region": "random region",
}


@keep_workers()
def run_noise(
    study_file: str | Path,
    *,
    out: str | Path | None = None,
    data: str | Path | None = None,
    permutations: int = 100,
    repeats: int = 5,
    controls: Sequence[str] = (),
    seed: int | None = None,
    workers: int = 0,
    reporter: Reporter | None = None,
) -> NoiseResult:
    """Run the negative controls of a study and write ``noise/noise.json`` and its figures into the results.

    Cohort, masks and features are made first where they are not there yet (as `hepacast run --until radiomics`).

    Parameters
    ----------
    study_file, out, data, workers, reporter
        As in `run_study`.
    permutations
        Rounds of each control of the table: the chain is refitted in every fold of each.
    repeats
        Divisions of the patients for the controls of images.
    controls
        Of `WORDS`; by default the outcome and, where the study has images, voxels and region.
    seed
        Instead of the study's.

    Raises
    ------
    HepacastError
        Anything that the user can put right.
    """
    wanted = [_named(word) for word in controls]
    run_study(study_file, out=out, data=data, workers=workers, until="radiomics", reporter=reporter)
    context = make_context(study_file, out=out, data=data, workers=workers, reporter=reporter)
    chosen = tuple(dict.fromkeys(wanted)) or _default(context)
    base = context.study.seed if seed is None else seed
    with hold_folder(context.out), single_threaded():
        analysis, models = _loaded(context)
        tables = [
            _table_control(context, analysis, models, name, permutations, base) for name in chosen if name in CONTROLS
        ]
        images = [
            _image_control(context, analysis, models, name, repeats, base) for name in chosen if name in IMAGE_CONTROLS
        ]
        folds = context.study.modelling.validation.folds
        result = NoiseResult(tuple(tables), tuple(images), folds, base, made_from(context))
        write_json(context.out / FOLDER / "noise.json", result.to_json())
        seal(context.out / FOLDER / "noise.json")
        result.save_figures(context.out / FOLDER)
    return result


def _loaded(context: Context) -> tuple[Analysis, StudyModels]:
    """What the models learn from, and the models, by the kind of the outcome."""
    analysis = load_analysis(context)
    return analysis, make_models(context, analysis)


def _named(word: str) -> str:
    name = WORDS.get(word, word)
    if name not in (*CONTROLS, *IMAGE_CONTROLS):
        raise ModelError("Unknown control.", expected=", ".join(WORDS), found=word)
    return name


def _default(context: Context) -> tuple[str, ...]:
    images = context.study.images is not None and context.study.features.table is None
    wanted = context.study.modelling.reads_features
    return ("permuted outcome", *(("shuffled voxels", "random region") if images and wanted else ()))


def made_from(context: Context) -> dict[str, str]:
    """Keys of what the controls were made from: a report shows them only beside the same."""
    marks = {name: read_mark(context.out / name) for name in ("cohort", "radiomics")}
    keys = {name: mark["key"] for name, mark in marks.items() if mark is not None}
    return keys | {"models": models_key(context.study.model_dump(mode="json")["modelling"])}


def models_key(modelling: dict[str, Any]) -> str:
    """Hash of the part of the study file that says what the models are."""
    return hash_value({name: value for name, value in modelling.items() if name != "validation"})


def _key(context: Context, control: str, *more: Any) -> str:
    chain = load_chain(context).model_dump(mode="json")
    folds = context.study.modelling.validation.folds
    return hash_value([made_from(context), chain, folds, control, code_hash(__name__), *more])[:24]


@dataclass(frozen=True)
class _Kept:
    """A round whose result is kept in a file; one that is there is read."""

    run: Callable[[int], Any]
    folder: Path

    def path(self, number: int) -> Path:
        return self.folder / f"{'real' if number == REAL else number}.json"

    def __call__(self, number: int) -> None:
        write_json(self.path(number), self.run(number))
        seal(self.path(number))

    def all(self, context: Context, numbers: Sequence[int], label: str) -> list[dict[str, Any]]:
        """The results of all rounds, in order; those that are missing are made."""
        todo = [number for number in numbers if not is_kept(self.path(number))]
        if len(todo) < len(numbers):
            context.reporter.say(f"{label}: {len(numbers) - len(todo)} of {len(numbers)} kept from an earlier run")
        with context.reporter.track(label) as progress:
            map_items(self, todo, workers=context.workers, progress=progress)
        return [read_json(self.path(number)) for number in numbers]


@dataclass(frozen=True)
class _TableRound:
    runner: ControlRunner

    def __call__(self, number: int) -> dict[str, Any]:
        found = self.runner(number)
        return {"number": number, "values": list(found.values), "failures": list(found.failures)}


def _table_control(
    context: Context,
    analysis: Analysis,
    models: StudyModels,
    control: str,
    permutations: int,
    base: int,
) -> NullDistribution:
    x, y = analysis.part("training")
    folds = context.study.modelling.validation.folds
    seed = derive_seed(base, "noise")
    runner = ControlRunner.of(models, x, y, control=control, folds=folds, seed=seed)
    kept = _Kept(_TableRound(runner), context.cache / FOLDER / _key(context, control, seed))
    rows = kept.all(context, [REAL, *range(permutations)], control)
    rounds = [
        RoundResult(
            row["number"], tuple(np.nan if v is None else float(v) for v in row["values"]), tuple(row["failures"])
        )
        for row in rows
    ]
    return NullDistribution.of(control, runner.names, rounds, rank_measure(runner.outcome))


@dataclass(frozen=True)
class _Repeat:
    """AUC (of time to an event: C) in each fold of one division of the patients."""

    models: StudyModels
    frame: pd.DataFrame
    outcome: NDArray[Any]
    folds: int
    seed: int

    def __call__(self, number: int) -> dict[str, Any]:
        seed = derive_seed(self.seed, "division", number)
        rules: dict[str, Any] = {"folds": self.folds, "repeats": 1, "seed": seed}
        found = nested_validation(self.models, self.frame, self.outcome, **rules)
        return {"values": found.fold_values("radiomics")["value"].tolist(), "failures": found.failures}


def _image_control(
    context: Context,
    analysis: Analysis,
    models: StudyModels,
    control: str,
    repeats: int,
    base: int,
) -> ImageControl:
    """The radiomics model alone on features of altered images, beside the real ones in the same folds."""
    x, y = analysis.part("training")
    folds = context.study.modelling.validation.folds
    seed = derive_seed(base, "noise", control)
    changed, failed = altered_features(context, [str(name) for name in x.index], control, seed)
    features = [name for name in changed.columns if name in x.columns]
    others = [name for name in x.columns if name not in changed.columns and not is_shape(str(name))]
    alone = cast(StudyModels, clone(models).set_params(models=("radiomics",)))
    values, failures = {}, 0
    for name, table in (("real", x), ("control", pd.concat([x[others], changed[features]], axis=1))):
        columns = [column for column in x.columns if column in features or column in others]
        repeat = _Repeat(alone, table[columns], np.asarray(y), folds, seed)
        kept = _Kept(repeat, context.cache / FOLDER / _key(context, control, name, seed))
        rows = kept.all(context, list(range(repeats)), f"{control}, {name} features")
        values[name] = np.array([np.nan if v is None else v for row in rows for v in row["values"]], dtype=float)
        failures += sum(len(row["failures"]) for row in rows)
    level = context.study.evaluation.confidence
    share = 1.0 / (folds - 1)
    return ImageControl(
        control=control,
        real=nadeau_bengio(values["real"], share, level=level),
        altered=nadeau_bengio(values["control"], share, level=level),
        difference=corrected_resampled_t(values["real"], values["control"], share),
        n_features=len(features),
        failed_vois=failed,
        failed_fits=failures,
        measure=rank_measure(np.asarray(y)),
    )
