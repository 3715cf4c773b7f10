"""Further cohorts: patients with images and follow-up but without the outcome, divided by the frozen main model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hepacast.cohort import ColumnSpec, SurvivalOutcome, derive_outcome, read_table
from hepacast.cohort.checks import blank_impossible, check_values
from hepacast.cohort.findings import raise_on_errors
from hepacast.cohort.tables import ClinicalTable
from hepacast.core.files import read_json, write_json
from hepacast.errors import HepacastError, OutcomeError, StudyFileError, TableError
from hepacast.evaluation.risk_groups import risk_groups
from hepacast.evaluation.time_dependent import auc_at
from hepacast.study.context import Context
from hepacast.study.schema import FurtherCohort
from hepacast.study.stages.clinical import column_specs

TIME, EVENT = "follow_up_time", "follow_up_event"
FILE = "further.json"


@dataclass(frozen=True)
class FurtherTable:
    """One further cohort: its clinical table and follow-up."""

    name: str
    rules: FurtherCohort
    table: ClinicalTable
    outcome: SurvivalOutcome


def read_further(context: Context) -> list[FurtherTable]:
    """The further cohorts of the study file.

    Raises
    ------
    StudyFileError
        Masks are not given: the patients cannot be measured.
    TableError
        A table cannot be read, has errors, or shares a patient with the study or another cohort.
    """
    study = context.study
    if study.further and study.images is not None and study.images.segmentation.source != "given":
        raise StudyFileError(
            "Further cohorts need given masks.",
            expected="images.segmentation.source: given",
            found=study.images.segmentation.source,
            remedy="segment their images first (hepacast segment) and give the masks",
        )
    tables = [read_further_cohort(context, name) for name in study.further]
    seen: dict[str, str] = {}
    for item in tables:
        for patient in item.table.patients:
            if patient in seen:
                raise TableError(
                    f"Patient {patient} stands in two further cohorts.", found=f"{seen[patient]} and {item.name}"
                )
            seen[patient] = item.name
    return tables


def read_further_cohort(context: Context, name: str) -> FurtherTable:
    """One further cohort, its cells judged as those of the study's own table.

    Raises
    ------
    TableError
        The table cannot be read, or has errors.
    OutcomeError
        The follow-up cannot be used.
    """
    rules = context.study.further[name]
    after = {name for name, column in context.study.cohort.columns.items() if column.after_event}
    own = [spec for spec in column_specs(context) if spec.name not in after and not spec.after_event]
    more = [
        ColumnSpec(TIME, (rules.time,), quantity="none", after_event=True, role="outcome"),
        ColumnSpec(EVENT, (rules.event,), kind="categorical", after_event=True, role="outcome"),
    ]
    cohort = context.study.cohort
    table = read_table(
        context.path(rules.table), id_column=cohort.id, columns=[*own, *more], decimal=cohort.decimal,
        censored=cohort.below_detection,
        dictionary=None if cohort.dictionary is None else context.path(cohort.dictionary),
    )  # fmt: skip
    table = table.select(sorted(table.patients))
    findings = list(table.with_findings(check_values(table)).findings)
    if cohort.findings == "report":
        table, findings = blank_impossible(table, findings)
    raise_on_errors(findings, where=f"further.{name}: {rules.table}")
    outcome = derive_outcome(
        table, "survival", {"time": TIME, "event": EVENT}, name=rules.name, unit=rules.unit,
        event_values=rules.event_values,
    )  # fmt: skip
    assert isinstance(outcome, SurvivalOutcome)
    if outcome.unknown:
        patient, why = next(iter(outcome.unknown.items()))
        raise TableError(
            f"The follow-up of {len(outcome.unknown)} patients of the cohort {name!r} is not known.",
            found=f"{patient}: {why}",
            where=rules.table,
            remedy="complete the table, or take these patients out of it",
        )
    return FurtherTable(name, rules, table, outcome)


def further_patients(context: Context) -> list[str]:
    """Patients of all further cohorts."""
    return [patient for item in read_further(context) for patient in item.table.patients]


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
