"""Tables that compare groups of patients: by outcome, by set, and of the segmentation cohort."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd

from hepacast.cohort import Cohort, ColumnSpec, Finding, read_cohort
from hepacast.cohort.comparisons import LOST_EVENT, LOST_VOLUME, Comparisons
from hepacast.core.files import read_json
from hepacast.core.records import write_record
from hepacast.core.sentences import Sentence
from hepacast.stats.describe import describe
from hepacast.stats.table_one import TableOne
from hepacast.study.context import Context
from hepacast.study.stages.judging import candidate_findings


def comparisons(context: Context, cohort: Cohort) -> Comparisons:
    """The content of ``cohort/comparisons.json``."""
    specs = _shown(cohort)
    segmentation = _segmentation(context, cohort, _as_words(cohort.table.frame, specs), specs)
    return replace(compared_groups(cohort), segmentation=segmentation)


def _shown(cohort: Cohort) -> list[ColumnSpec]:
    return [item for item in cohort.table.specs if item.kind != "date" and not item.after_event]


def compared_groups(cohort: Cohort) -> Comparisons:
    """`by_outcome` (training set) and `by_set` of the cohort's patients."""
    specs = _shown(cohort)
    frame = _as_words(cohort.table.frame, specs)
    training = cohort.members("training") or cohort.patients
    by_outcome = by_set = None
    if not cohort.outcome.has_time:
        labels = cohort.outcome.labels().loc[training]
        order = [cohort.outcome.positive, cohort.outcome.negative]
        by_outcome = _comparison(frame.loc[training], labels, order, specs)
    names = [name for name in ("training", "validation", "external") if (cohort.sets == name).any()]
    if len(names) > 1 or cohort.outcome.has_time:
        # Without groups by outcome, one cohort is described as it is.
        several = len(names) > 1
        labels = cohort.sets if several else pd.Series("all patients", index=cohort.sets.index)
        by_set = _comparison(frame, labels, names if several else ["all patients"], specs)
    return Comparisons(by_outcome, by_set)


def compare_lost(cohort: Cohort, lost: list[str], volumes: Mapping[str, Mapping[str, float]]) -> TableOne:
    """Included patients who could not be analyzed beside the others: outcome, size, clinical columns.

    Parameters
    ----------
    cohort
        The included patients, the lost among them.
    volumes
        VOI -> mL by patient, as far as they are known.
    """
    outcome = cohort.outcome
    event = outcome.events
    name, words = LOST_EVENT, ("no", "yes")
    frame, specs = _as_words(cohort.table.frame, _shown(cohort)), _shown(cohort)
    added = pd.DataFrame({name: event.map(dict(enumerate(words))).astype(object)}, index=frame.index)
    first = [ColumnSpec(name, kind="binary", label=_event_label(cohort), levels={word: (word,) for word in words})]
    for voi, values in volumes.items():
        own = pd.Series(values, dtype=float).reindex(frame.index)
        if own.notna().any():
            added[f"{LOST_VOLUME}{voi}"] = own
            first.append(ColumnSpec(f"{LOST_VOLUME}{voi}", kind="numeric", label=f"Volume of {voi}", unit="mL"))
    labels = pd.Series(["not analyzed" if p in set(lost) else "analyzed" for p in frame.index], index=frame.index)
    return _comparison(added.join(frame), labels, ["analyzed", "not analyzed"], [*first, *specs])


def _event_label(cohort: Cohort) -> str:
    outcome = cohort.outcome
    return f"{outcome.name}: {outcome.positive}"


def _segmentation(context: Context, cohort: Cohort, frame: pd.DataFrame, specs: list[ColumnSpec]) -> TableOne | None:
    """The patients who trained and tested the network, where one is trained here."""
    if context.study.images is None or context.study.images.segmentation.source != "nnunet":
        return None
    from hepacast.study.mask_files import labelled_patients, test_patients

    labelled = labelled_patients(context, cohort.patients)
    if not labelled:
        return None
    held_out = set(test_patients(context, cohort, labelled))
    labels = pd.Series(["test" if p in held_out else "training" for p in labelled], index=labelled, name="part")
    order = [name for name in ("training", "test") if (labels == name).any()]
    return _comparison(frame.loc[labelled], labels, order, specs)


def _as_words(frame: pd.DataFrame, specs: list[ColumnSpec]) -> pd.DataFrame:
    """Binary columns hold 0 and 1; tables show their levels' names."""
    shown = {}
    for spec in specs:
        values = frame[spec.name]
        if spec.kind == "binary":
            values = values.map(dict(enumerate(spec.level_names))).astype(object)
        shown[spec.name] = values
    return pd.DataFrame(shown, index=frame.index)


def _comparison(frame: pd.DataFrame, labels: pd.Series, order: list[str], specs: list[ColumnSpec]) -> TableOne:
    described = [
        {
            "name": item.name,
            "kind": item.kind,
            "label": item.label,
            "unit": item.unit or None,
            "levels": list(item.level_names) if item.kind != "numeric" else None,
        }
        for item in specs
    ]
    table = describe(frame, labels, described, count_few=True)
    return replace(table, groups=tuple(order)) if set(order) == set(table.groups) else table


def write_analysed(context: Context, analysed: Cohort, folder: Path) -> list[Sentence]:
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
    if not training:
        return ()
    return candidate_findings(context, cohort.table.select(training), cohort.outcome.select(training))


def _volumes(context: Context) -> dict[str, dict[str, float]]:
    """VOI -> mL by patient, as the judge of the masks measured them."""
    path = context.out / "segmentation" / "plausibility.json"
    found: dict[str, dict[str, float]] = {}
    for row in read_json(path)["rows"] if path.is_file() else ():
        found.setdefault(str(row["voi"]), {})[str(row["patient"])] = float(row["volume_ml"])
    return found


def _sentence(cohort: Cohort) -> Sentence:
    flow = cohort.flow
    why = "; ".join(f"{step.reason} in {len(step.patients)}" for step in flow.excluded if step.after_inclusion)
    events = dict(flow.events)
    sets = ", ".join(f"{len(patients)} in the {name} set, {events[name]} events" for name, patients in flow.sets)
    text = (
        f"{len(flow.lost)} of the included patients could not be analyzed ({why}); models and results are of the "
        f"other {len(flow.included)} ({sets})."
    )
    return Sentence("modelling", text)
