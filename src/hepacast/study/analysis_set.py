"""The analysis set: the patients whom models are fitted to and judged by, and their features."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from hepacast.cohort import Cohort, PatientFlow, read_cohort
from hepacast.core.files import read_json
from hepacast.radiomics.table import read_long, to_wide
from hepacast.study.context import Context

FEATURES = "features.parquet"


def analysis_cohort(context: Context) -> Cohort:
    """The cohort without the patients whose VOIs could not be measured; the flow counts them with the reason."""
    cohort = read_cohort(context.out / "cohort")
    left_out = read_json(context.out / "radiomics" / "excluded.json")
    flow = replace(cohort.flow, sets=(), events=())
    for step in left_out:
        patients = [p for p in step["patients"] if p in flow.included]
        flow = flow.exclude(step["reason"], patients, after_inclusion=True)
    return restrict(cohort, flow)


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
    """Wide features of the analysed patients, in their order. Undefined values stay missing (the chain imputes)."""
    folder = context.out / "radiomics"
    wide = pd.read_parquet(folder / "wide.parquet") if (folder / "wide.parquet").is_file() else None
    if wide is None:
        wide = to_wide(read_long(folder / FEATURES))
    return wide.loc[patients]


def reproducibility_table(context: Context) -> dict[str, float] | None:
    """ICC by feature, where two readers outlined enough patients; NaN (not judged) is left out."""
    path = context.out / "radiomics" / "icc.parquet"
    if not path.is_file():
        return None
    table = pd.read_parquet(path).dropna()
    return dict(zip(table["feature"], table["icc"].astype(float), strict=True))
