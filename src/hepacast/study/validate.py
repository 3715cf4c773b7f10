"""Models in another hospital: `hepacast validate MODEL STUDY`, `hepacast compare MODEL MODEL ... STUDY`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from hepacast.bundle.applying import open_bundle
from hepacast.core.executor import keep_workers
from hepacast.core.files import read_json
from hepacast.core.progress import Reporter, SilentReporter
from hepacast.core.remote_files import results_folder
from hepacast.errors import HepacastError
from hepacast.study.context import Context, make_context
from hepacast.study.predict_table import shared_warnings
from hepacast.study.run import RunResult, run_stages
from hepacast.study.schema import Study
from hepacast.study.stages import applying, cohort, external, indexes, report
from hepacast.study.stages.judging import judge_cohort
from hepacast.study.update_bundle import require_way, write_updated

#: Table and outcome of the cohort, the model applied, judged, beside staging systems, and the report.
STAGES = (cohort.STAGE, applying.STAGE, external.STAGE, indexes.STAGE, report.STAGE)


@keep_workers()
def validate_model(
    model: str | Path,
    study_file: str | Path,
    *,
    out: str | Path | None = None,
    data: str | Path | None = None,
    workers: int = 0,
    update: str | None = None,
    without_rows: bool = False,
    reporter: Reporter | None = None,
) -> RunResult:
    """External validation of a frozen model on another cohort, to a report of its own.

    Parameters
    ----------
    model
        ``model.hepacast`` or ``networks.hepacast``; its main model is applied, unchanged.
    study_file
        The cohort: table with columns and exclusions, outcome, images and masks as in any study. What it says of models
        and sets is not looked at: all its patients are new to the model.
    out
        Results folder, or an address as in `run_study`; default ``validation`` beside the study file.
    update
        Also write ``updated.hepacast``: ``closed-test`` takes the smallest change that is enough, ``intercept``,
        ``slope`` or ``refit`` names it.
    without_rows
        Refuse a bundle that holds values of single training patients.
    data, workers, reporter
        As in `run_study`.

    Raises
    ------
    HepacastError
        The cohort has errors, lacks a column or sequence that the model reads, or its outcome is of another kind.
    """
    if update is not None:
        require_way(update)
    with results_folder(out, reporter or SilentReporter()) as where:
        context = _applied_context([model], study_file, "validation", where, data, workers, reporter, without_rows)
        done = _run(context)
        return done if update is None else replace(done, notes=(write_updated(context, update)[1],))


@keep_workers()
def compare_models(
    models: Sequence[str | Path],
    study_file: str | Path,
    *,
    out: str | Path | None = None,
    data: str | Path | None = None,
    workers: int = 0,
    without_rows: bool = False,
    reporter: Reporter | None = None,
) -> RunResult:
    """External validation of several frozen models on the same patients of another cohort: which one is better there.

    Patients whom one of them cannot predict are counted with the model and the reason, and judge none.

    Parameters
    ----------
    models
        Two bundles or more; the first one is the main one, which the others are compared with first.
    out
        Results folder, or an address as in `run_study`; default ``comparison`` beside the study file.
    study_file, data, workers, without_rows, reporter
        As in `validate_model`.

    Raises
    ------
    HepacastError
        As in `validate_model`; fewer than two models, one of them given twice, or models of time to an event that share
        no horizon.
    """
    if len(models) < 2 or Path(study_file).suffix == ".hepacast":
        raise HepacastError(
            "There is nothing to compare.", expected="two model files or more, and after them the study file",
            found=", ".join(str(item) for item in [*models, study_file]),
        )  # fmt: skip
    with results_folder(out, reporter or SilentReporter()) as where:
        context = _applied_context(models, study_file, "comparison", where, data, workers, reporter, without_rows)
        identities = [item.identity for item in applying.bundles_of(context).values()]
        if len(set(identities)) < len(models):
            raise HepacastError(
                "There is nothing to compare.", expected="two different model files or more",
                found=", ".join(str(item) for item in models),
            )  # fmt: skip
        return _run(context)


def _run(context: Context) -> RunResult:
    """The stages, and what the models say of most patients."""
    done = run_stages(context, STAGES, _judge)
    told = read_json(context.out / "modelling" / applying.UNLIKE)
    shared = {name: shared_warnings(list(own.values())) for name, own in told.items()}
    of = len(shared) > 1
    lines = [f"{name}: {text}" if of else text for name, own in shared.items() for text in own]
    return replace(done, warnings=(*done.warnings, *lines))


def _applied_context(
    models: Sequence[str | Path],
    study_file: str | Path,
    folder: str,
    out: str | Path | None,
    data: str | Path | None,
    workers: int,
    reporter: Reporter | None,
    without_rows: bool,
) -> Context:
    """The cohort of a study with the models that are applied to it."""
    path = Path(study_file)
    where = Path(out) if out is not None else (path if path.is_dir() else path.parent) / folder
    say = (reporter or SilentReporter()).say
    opened = [open_bundle(item, without_rows=without_rows, say=say) for item in models]
    context = make_context(study_file, out=where, data=data, workers=workers, reporter=reporter)
    context = replace(context, models=tuple(Path(item).absolute() for item in models))
    shared = applying.shared_horizons({str(path): item for path, item in zip(context.models, opened)})
    return replace(context, study=_of_models(context.study, shared))


def _judge(context: Context) -> None:
    """Refuse a cohort with errors, or one that cannot be given to a model."""
    seen = judge_cohort(context)
    if seen.cohort is not None:
        for name, bundle in applying.bundles_of(context).items():
            of = f" of {name}" if len(context.models) > 1 else ""
            seen.attempt(f"outcome{of}", partial(applying.require_same_outcome, context, bundle, seen.cohort))
            seen.attempt(f"features{of}", partial(applying.features_of, context, bundle))
            seen.attempt(f"columns{of}", partial(applying.matched_columns, context, bundle, seen.cohort.table.specs))
    seen.raise_errors(where=context.study.cohort.table)


def _of_models(study: Study, horizons: tuple[float, ...]) -> Study:
    """The study's patients with the models' horizons; what is about models of its own is taken out."""
    changed: dict[str, Any] = {
        "outcome": study.outcome.model_copy(update={"horizons": list(horizons)}) if horizons else study.outcome,
        "modelling": study.modelling.model_copy(update={"candidates": []}),
        "further": {}, "fusion": None, "deep": None, "biomarkers": None, "recipe": "",
    }  # fmt: skip
    return study.model_copy(update=changed)
