"""A model in another hospital: `hepacast validate MODEL STUDY`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from hepacast.bundle import Bundle
from hepacast.bundle.applying import open_bundle
from hepacast.bundle.networks import NetworkBundle
from hepacast.core.executor import keep_workers
from hepacast.core.progress import Reporter
from hepacast.study.context import Context, make_context
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
        Results folder; default ``validation`` beside the study file.
    update
        Also write ``updated.hepacast``: ``closed-test`` takes the smallest change that is enough, ``intercept``,
        ``slope`` or ``refit`` names it.
    data, workers, reporter
        As in `run_study`.

    Raises
    ------
    HepacastError
        The cohort has errors, lacks a column or sequence that the model reads, or its outcome is of another kind.
    """
    path = Path(study_file)
    opened = open_bundle(model)
    where = Path(out) if out is not None else (path if path.is_dir() else path.parent) / "validation"
    context = make_context(study_file, out=where, data=data, workers=workers, reporter=reporter)
    context = replace(context, study=_of_model(context.study, opened), model=Path(model).absolute())
    if update is not None:
        require_way(update)
    done = run_stages(context, STAGES, _judge)
    if update is None:
        return done
    return replace(done, notes=(write_updated(context, update)[1],))


def _judge(context: Context) -> None:
    """Refuse a cohort with errors, or one that cannot be given to the model."""
    seen = judge_cohort(context)
    bundle = applying.model_of(context)
    if seen.cohort is not None:
        found = seen.cohort
        seen.attempt("outcome", lambda: applying.require_same_outcome(context, bundle, found))
        seen.attempt("columns", lambda: applying.matched_columns(context, bundle, found.table.specs))
    seen.raise_errors(where=context.study.cohort.table)


def _of_model(study: Study, bundle: Bundle | NetworkBundle) -> Study:
    """The study's patients with the model's horizons; what is about models of its own is taken out."""
    horizons = bundle.horizons if isinstance(bundle, NetworkBundle) else bundle.models.horizons
    changed: dict[str, Any] = {
        "outcome": study.outcome.model_copy(update={"horizons": list(horizons)}) if horizons else study.outcome,
        "modelling": study.modelling.model_copy(update={"candidates": []}),
        "further": {}, "fusion": None, "deep": None, "biomarkers": None, "recipe": "",
    }  # fmt: skip
    return study.model_copy(update=changed)
