"""The patients that models and numbers speak of: their flow, outcome and tables, and who was lost after inclusion.

What lives here: files of the modelling stage that describe its patients. The cohort stage writes the same of all
included patients; whoever could not be measured leaves between the two.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from hepacast.cohort import Cohort, Finding, read_cohort
from hepacast.core.files import read_json
from hepacast.core.records import write_record
from hepacast.study.context import Context
from hepacast.study.stages.comparisons import compare_lost, compared_groups
from hepacast.study.stages.judging import candidate_findings


def write_analysed(context: Context, analysed: Cohort, folder: Path) -> list[dict[str, Any]]:
    """Write `flow.json`, `outcome.json`, `comparisons.json` and `findings.json`; the sentences for the Methods."""
    write_record(folder / "flow.json", analysed.flow.counts())
    write_record(folder / "outcome.json", analysed.outcome.facts())
    tables, findings = compared_groups(analysed), analysed.findings
    lost = list(analysed.flow.lost)
    if lost:
        included = read_cohort(context.out / "cohort")
        tables = replace(tables, lost=compare_lost(included, lost, _volumes(context)))
        before = set(_of_training(context, included))
        findings = (*(item for item in findings if item not in before), *_of_training(context, analysed))
    write_record(folder / "comparisons.json", tables)
    write_record(folder / "findings.json", findings)
    return [_sentence(analysed)] if lost else []


def _of_training(context: Context, cohort: Cohort) -> tuple[Finding, ...]:
    training = cohort.members("training")
    return candidate_findings(context, cohort.table.select(training), cohort.outcome.select(training))


def _volumes(context: Context) -> dict[str, dict[str, float]]:
    """VOI -> mL by patient, as the judge of the masks measured them."""
    path = context.out / "segmentation" / "plausibility.json"
    found: dict[str, dict[str, float]] = {}
    for row in read_json(path)["rows"] if path.is_file() else ():
        found.setdefault(str(row["voi"]), {})[str(row["patient"])] = float(row["volume_ml"])
    return found


def _sentence(cohort: Cohort) -> dict[str, Any]:
    flow = cohort.flow
    why = "; ".join(f"{step.reason} in {len(step.patients)}" for step in flow.excluded if step.after_inclusion)
    events = dict(flow.events)
    sets = ", ".join(f"{len(patients)} in the {name} set, {events[name]} events" for name, patients in flow.sets)
    text = (
        f"{len(flow.lost)} of the included patients could not be analyzed ({why}); models and results are of the "
        f"other {len(flow.included)} ({sets})."
    )
    return {"stage": "modelling", "text": text, "citations": []}
