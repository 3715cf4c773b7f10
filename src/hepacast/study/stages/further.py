"""Further cohorts divided by the frozen main model: risk groups, Kaplan-Meier, hazard ratio, time-dependent AUC."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from hepacast.core.estimates import Estimate, missing
from hepacast.core.files import read_json
from hepacast.core.records import write_record
from hepacast.core.sentences import Sentence
from hepacast.errors import HepacastError, OutcomeError
from hepacast.evaluation.further_cohorts import FurtherResult
from hepacast.evaluation.risk_groups import risk_groups
from hepacast.evaluation.time_dependent import auc_at
from hepacast.modelling.predictions import Predictions
from hepacast.study.context import Context
from hepacast.study.further_cohorts import PREDICTIONS, FurtherTable, further_inputs, read_further
from hepacast.study.stage import Cost, Stage, study_parts

FILE = "further.json"


def write(context: Context, folder: Path) -> None:
    """Run the stage: risk groups by the frozen cut-off, Kaplan-Meier, hazard ratio, time-dependent AUC."""
    predictions = Predictions.read(context.out / "modelling" / PREDICTIONS)
    described = read_json(context.out / "modelling" / "models.json")
    main = str(described["main"])
    cut = described["cutoffs"][main]
    level = context.study.evaluation.confidence
    content = []
    for item in read_further(context):
        part = predictions.of(item.name).select(model=main, horizon=predictions.horizons[-1]).table.set_index("patient")
        content.append(_one(item, part, main, float("nan") if cut is None else float(cut), level))
    write_record(folder / FILE, content)
    write_record(folder / "methods.json", [_sentence(main, content)])


def _one(item: FurtherTable, part: pd.DataFrame, main: str, cut: float, level: float) -> FurtherResult:
    patients = item.table.patients
    time, event = item.outcome.time.loc[patients], item.outcome.event.loc[patients]
    score = part.loc[patients, "linear_predictor"].to_numpy(dtype=float)
    entry = FurtherResult(
        cohort=item.name,
        end_point=item.rules.name,
        unit=item.rules.unit,
        n=len(patients),
        events=int(event.sum()),
        model=main,
        cut=cut,
        auc=_auc_at_times(item, time, event, score, level),
    )
    if not np.isfinite(cut):
        return replace(entry, reason="the model has no cut-off")
    try:
        groups = risk_groups(time, event, part.loc[patients, "risk"], cut, level=level)
    except OutcomeError as problem:
        return replace(entry, reason=problem.message)
    return replace(entry, groups=replace(groups, end_point=item.rules.name, unit=item.rules.unit))


def _auc_at_times(
    item: FurtherTable, time: pd.Series, event: pd.Series, score: np.ndarray, level: float
) -> dict[float, Estimate]:
    """AUC(t) at the study's horizons, else at the quartiles of the events' times; why not, where it does not exist."""
    horizons = list(item.rules.horizons)
    if not horizons and event.sum() > 3:
        horizons = [round(float(value), 1) for value in np.quantile(time[event == 1], (0.25, 0.5, 0.75))]
    found = {}
    for horizon in horizons:
        try:
            found[float(horizon)] = auc_at(time, event, score, horizon).estimate(level)
        except HepacastError as problem:
            found[float(horizon)] = missing(problem.message)
    return found


def _sentence(main: str, content: list[FurtherResult]) -> Sentence:
    names = ", ".join(f"{item.cohort} ({item.n} patients, {item.end_point})" for item in content)
    text = (
        f"The frozen {main} model was applied unchanged to cohorts that have images and follow-up but not the outcome: "
        f"{names}. Its training cut-off divided them into two groups, compared by the log-rank test and a Cox model; "
        "discrimination over time was measured by the time-dependent AUC with inverse probability of censoring "
        "weights [@timeroc]."
    )
    return Sentence("further", text, ["timeroc"])


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
