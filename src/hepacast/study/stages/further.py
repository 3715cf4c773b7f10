"""Further cohorts divided by the frozen main model: risk groups, Kaplan-Meier, hazard ratio, time-dependent AUC."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hepacast.core.files import read_json, write_json
from hepacast.errors import HepacastError, OutcomeError
from hepacast.evaluation.risk_groups import risk_groups
from hepacast.evaluation.time_dependent import auc_at
from hepacast.study.context import Context
from hepacast.study.further_cohorts import FurtherTable, further_inputs, read_further
from hepacast.study.stage import Cost, Stage, study_parts

FILE = "further.json"


def write(context: Context, folder: Path) -> None:
    """Run the stage: risk groups by the frozen cut-off, Kaplan-Meier, hazard ratio, time-dependent AUC."""
    risks = pd.read_parquet(context.out / "modelling" / "further.parquet")
    described = read_json(context.out / "modelling" / "models.json")
    main = str(described["main"])
    cut = described["cutoffs"][main]
    level = context.study.evaluation.confidence
    content = []
    for item in read_further(context):
        part = risks[(risks["cohort"] == item.name) & (risks["model"] == main)].set_index("patient")
        content.append(_one(item, part, main, cut, level))
    write_json(folder / FILE, content)
    write_json(folder / "methods.json", [_sentence(main, content)])


def _one(item: FurtherTable, part: pd.DataFrame, main: str, cut: float | None, level: float) -> dict[str, Any]:
    patients = item.table.patients
    time, event = item.outcome.time.loc[patients], item.outcome.event.loc[patients]
    score = part.loc[patients, "linear_predictor"].to_numpy(dtype=float)
    risk = part.loc[patients, "risk"]
    entry: dict[str, Any] = {
        "cohort": item.name,
        "end_point": item.rules.name,
        "unit": item.rules.unit,
        "n": len(patients),
        "events": int(event.sum()),
        "model": main,
        "cut": cut,
        "auc": _auc_at_times(item, time, event, score, level),
        "groups": None,
        "reason": None,
    }
    if cut is None or not np.isfinite(cut):
        return entry | {"reason": "the model has no cut-off"}
    try:
        entry["groups"] = risk_groups(time, event, risk, float(cut), level=level).to_json()
    except OutcomeError as problem:
        entry["reason"] = problem.message
    return entry


def _auc_at_times(
    item: FurtherTable, time: pd.Series, event: pd.Series, score: np.ndarray, level: float
) -> list[dict[str, Any]]:
    """AUC(t) at the study's horizons, else at the quartiles of the events' times; why not, where it does not exist."""
    horizons = list(item.rules.horizons)
    if not horizons and event.sum() > 3:
        horizons = [round(float(value), 1) for value in np.quantile(time[event == 1], (0.25, 0.5, 0.75))]
    rows = []
    for horizon in horizons:
        try:
            found = auc_at(time, event, score, horizon)
        except HepacastError as problem:
            rows.append({"time": horizon, "value": None, "low": None, "high": None, "reason": problem.message})
            continue
        low, high = found.interval(level)
        rows.append({"time": horizon, "value": found.value, "low": low, "high": high, "reason": None})
    return rows


def _sentence(main: str, content: list[dict[str, Any]]) -> dict[str, Any]:
    names = ", ".join(f"{item['cohort']} ({item['n']} patients, {item['end_point']})" for item in content)
    text = (
        f"The frozen {main} model was applied unchanged to cohorts that have images and follow-up but not the outcome: "
        f"{names}. Its training cut-off divided them into two groups, compared by the log-rank test and a Cox model; "
        "discrimination over time was measured by the time-dependent AUC with inverse probability of censoring "
        "weights [@timeroc]."
    )
    return {"stage": "further", "text": text, "citations": ["timeroc"]}


STAGE = Stage(
    name="further",
    title="cohorts without the outcome: risk groups and follow-up",
    module=__name__,
    run=write,
    settings=lambda context: study_parts(context, "further", "evaluation"),
    cost=lambda context: Cost(5.0, 4e8),
    needs=("cohort", "modelling"),
    inputs=further_inputs,
    wanted=lambda context: bool(context.study.further),
)
