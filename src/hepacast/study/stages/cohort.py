"""Stage 1, cohort: table, exclusions, outcome, sets, checks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hepacast.cohort import Cohort, write_cohort
from hepacast.cohort.comparisons import Comparisons
from hepacast.core.files import read_json, write_json
from hepacast.core.hashing import hash_value
from hepacast.core.records import write_record
from hepacast.core.sentences import Sentence
from hepacast.study.context import Context
from hepacast.study.input_files import present_files
from hepacast.study.reviews import left_out
from hepacast.study.schema import SplitByList
from hepacast.study.stage import Cost, Stage, study_parts
from hepacast.study.stages.judging import build_cohort


def write(context: Context, folder: Path) -> None:
    """Run the stage: the cohort's files, the tables that compare groups, the sentences for the Methods."""
    from hepacast.study.stages.comparisons import comparisons

    cohort = build_cohort(context)
    write_cohort(cohort, folder)
    tables = comparisons(context, cohort)
    write_record(folder / "comparisons.json", tables)
    write_record(folder / "methods.json", _sentences(cohort, tables))
    if context.study.cohort.truth is not None:
        write_json(folder / "truth.json", read_json(context.path(context.study.cohort.truth)))


def _sentences(cohort: Cohort, tables: Comparisons) -> list[Sentence]:
    sizes = {name: len(patients) for name, patients in cohort.flow.sets}
    parts = ", ".join(f"{n} in the {name} set" for name, n in sizes.items())
    who = f"Of {len(cohort.flow.reviewed)} patients reviewed, {len(cohort.patients)} were included ({parts})."
    outcome = f"The outcome was {cohort.outcome.name}: {cohort.outcome.source}."
    rule = [] if tables.by_outcome is None else [Sentence("cohort", tables.by_outcome.rule, detail=True)]
    return [Sentence("cohort", who), Sentence("cohort", outcome), *rule]


def _settings(context: Context) -> dict[str, Any]:
    own = study_parts(context, "seed", "cohort", "outcome", "survival", "images")
    excluded = left_out(context)
    reviewed = {"mask reviews": excluded} if excluded else {}
    return own | {"candidates": context.study.modelling.candidates} | reviewed


def _inputs(context: Context) -> dict[str, str]:
    prints, study = context.fingerprints, context.study
    files = {"clinical table": context.path(study.cohort.table)}
    files |= {f"clinical table {name}": context.path(path) for name, path in study.cohort.stacked.items()}
    if study.cohort.dictionary is not None:
        files["data dictionary"] = context.path(study.cohort.dictionary)
    if study.features.table is not None:
        files["feature table"] = context.path(study.features.table)
    if isinstance(study.cohort.split, SplitByList):
        files["training list"] = context.path(study.cohort.split.training)
        files["validation list"] = context.path(study.cohort.split.validation)
    if study.cohort.truth:
        files["planted truth"] = context.path(study.cohort.truth)
    found = {name: prints.of(path) for name, path in files.items() if path.exists()}
    if study.images is not None:
        # Which files exist decides who is left out; their content matters to later stages.
        found["files present"] = hash_value(sorted(f"{kind}:{patient}" for kind, patient, _ in present_files(context)))
    return found


STAGE = Stage(
    name="cohort",
    title="table, checks, outcome, sets",
    module=__name__,
    run=write,
    settings=_settings,
    inputs=_inputs,
    cost=lambda context: Cost(5.0, 3e8),
)
