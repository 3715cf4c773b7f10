"""The analysis set: the patients whom models are fitted to and judged by, and their features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from hepacast.cohort import Cohort, ColumnSpec, PatientFlow, read_cohort
from hepacast.cohort.flow import FlowCounts
from hepacast.cohort.tables import ClinicalTable
from hepacast.core.files import read_json
from hepacast.core.hashing import hash_value
from hepacast.core.mapped import MappedTable
from hepacast.core.records import read_record
from hepacast.radiomics.pieces import PiecesTold, put_together
from hepacast.study.context import Context

#: Features of a study: the long table, and the wide one that models read (`MappedTable`).
FEATURES, WIDE = "features.parquet", "features.feather"
#: Folder of the biomarkers' stage.
BIOMARKERS = "biomarkers"


def analysis_cohort(context: Context) -> Cohort:
    """The cohort without the patients whose VOIs could not be measured; the flow counts them with the reason.

    Of another hospital's cohort: without those whom the frozen model could not predict.
    """
    cohort = measured_cohort(context)
    if context.models:
        flow = read_record(FlowCounts, context.out / "modelling" / "flow.json")
        return without(cohort, {item.reason: list(item.patients) for item in flow.lost})
    left_out = read_json(context.out / "radiomics" / "excluded.json")
    return without(cohort, {step["reason"]: step["patients"] for step in left_out})


def without(cohort: Cohort, lost: Mapping[str, Sequence[str]]) -> Cohort:
    """The cohort without patients who could not be analyzed, whom the flow counts by reason."""
    flow = replace(cohort.flow, sets=(), events=())
    for reason, patients in lost.items():
        flow = flow.exclude(reason, [p for p in patients if p in flow.included], after_inclusion=True)
    return restrict(cohort, flow)


def measured_cohort(context: Context) -> Cohort:
    """The included patients; biomarkers, where the study has some, are columns of their table."""
    cohort = read_cohort(context.out / "cohort")
    specs = _biomarker_columns(context)
    if not specs:
        return cohort
    values = pd.read_parquet(context.out / BIOMARKERS / "values.parquet")
    frame = cohort.table.frame.join(values[[spec.name for spec in specs]])
    return replace(cohort, table=replace(cohort.table, frame=frame, specs=(*cohort.table.specs, *specs)))


def _biomarker_columns(context: Context) -> tuple[ColumnSpec, ...]:
    if context.study.biomarkers is None:
        return ()
    return tuple(ColumnSpec.from_json(entry) for entry in read_json(context.out / BIOMARKERS / "columns.json"))


def candidate_specs(context: Context, table: ClinicalTable) -> list[ColumnSpec]:
    """The candidates of the clinical model: those of the study file, then biomarkers."""
    names = [*context.study.modelling.candidates, *(spec.name for spec in _biomarker_columns(context))]
    return [table.spec(name) for name in names]


def restrict(cohort: Cohort, flow: PatientFlow) -> Cohort:
    """The cohort of the flow's included patients."""
    kept = list(flow.included)
    outcome = cohort.outcome.select(kept)
    sets = cohort.sets.loc[kept]
    events = outcome.values if hasattr(outcome, "values") else outcome.event
    names = [name for name, _ in cohort.flow.sets] or list(dict.fromkeys(cohort.sets))
    flow = flow.with_sets(
        {name: sets.index[sets == name] for name in names},
        {name: int(events[sets == name].sum()) for name in names},
    )
    survival = {name: item.select([p for p in kept if p in item.time.index]) for name, item in cohort.survival.items()}
    return replace(
        cohort,
        table=cohort.table.select(kept),
        outcome=outcome,
        sets=sets,
        centers=cohort.centers.loc[kept],
        flow=flow,
        survival=survival,
    )


def analysis_features(context: Context, patients: list[str]) -> pd.DataFrame:
    """Wide features of the analysed patients, in their order. Undefined values stay missing (the chain imputes).

    Of all analysed patients nothing is read before it is used: the table lies on the disk.
    """
    return MappedTable.open(context.out / "radiomics" / WIDE).frame(patients)


def wide_features(context: Context, pieces: Sequence[Path]) -> tuple[pd.DataFrame, PiecesTold]:
    """Wide features of patients beside the study's own table, from the long table of each; and what was found."""
    path = context.cache / "tables" / f"{hash_value([item.name for item in pieces])[:24]}.feather"
    told = put_together(pieces, path)
    return MappedTable.open(path).frame(), told


def reproducibility_table(context: Context) -> dict[str, float] | None:
    """ICC by feature, where two readers outlined enough patients; NaN (not judged) is left out."""
    path = context.out / "radiomics" / "icc.parquet"
    if not path.is_file():
        return None
    table = pd.read_parquet(path).dropna()
    return dict(zip(table["feature"], table["icc"].astype(float), strict=True))
