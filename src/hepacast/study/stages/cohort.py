"""Stage 1, cohort: table, exclusions, outcome, sets, checks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hepacast.cohort import Cohort, write_cohort
from hepacast.core.files import read_json, write_json
from hepacast.core.records import write_record
from hepacast.report.inputs.cohort import Comparisons
from hepacast.study.context import Context
from hepacast.study.stages.judging import build_cohort


def write(context: Context, folder: Path) -> None:
    """Run the stage: the cohort's files, the tables that compare groups, the sentences for the Methods."""
    from hepacast.study.stages.comparisons import comparisons

    cohort = build_cohort(context)
    write_cohort(cohort, folder)
    tables = comparisons(context, cohort)
    write_record(folder / "comparisons.json", tables)
    write_json(folder / "methods.json", _sentences(cohort, tables))
    if context.study.cohort.truth is not None:
        write_json(folder / "truth.json", read_json(context.path(context.study.cohort.truth)))


def _sentences(cohort: Cohort, tables: Comparisons) -> list[dict[str, Any]]:
    sizes = {name: len(patients) for name, patients in cohort.flow.sets}
    parts = ", ".join(f"{n} in the {name} set" for name, n in sizes.items())
    who = f"Of {len(cohort.flow.reviewed)} patients reviewed, {len(cohort.patients)} were included ({parts})."
    outcome = f"The outcome was {cohort.outcome.name}: {cohort.outcome.source}."
    texts = [who, outcome]
    if tables.by_outcome is not None:
        texts.append(tables.by_outcome.rule)
    return [{"stage": "cohort", "text": text, "citations": []} for text in texts]
