"""Validation results of several hospitals together, from their JSON files alone: `hepacast pool`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit, logit
from scipy.stats import norm

from hepacast.core import views
from hepacast.core.estimates import Estimate
from hepacast.core.formatting import MISSING, number, p_value, percent
from hepacast.core.records import Record, read_record
from hepacast.core.tables import Row, Table, make_table
from hepacast.errors import HepacastError
from hepacast.evaluation.case_mix import read_external
from hepacast.evaluation.results import EvaluationResults
from hepacast.stats.intervals import ci_label
from hepacast.stats.meta import PooledEstimate, pool_estimates
from hepacast.study.statistics.result import StatisticsResult

_NAN = math.nan


@dataclass(frozen=True)
class ValidatedPlace(Record):
    """One hospital's validation: patients, events, and the measures with their limits.

    Attributes
    ----------
    outcome, set
        What was predicted, and of which patients: ``training`` are those of the fit.
    horizon
        Main horizon with its unit, of an outcome with follow-up.
    """

    name: str
    model: str
    n: int
    events: int
    measures: dict[str, Estimate]
    identity: str = ""
    outcome: str = ""
    set: str = ""
    horizon: str = ""


@dataclass(frozen=True, repr=False)
class PooledValidation(StatisticsResult):
    """Several hospitals' validations of a model, pooled.

    Attributes
    ----------
    places
        In the order given.
    pooled
        By measure, the mean over hospitals and where a new hospital may lie, on the measure's own scale.
    remarks
        What the reader must know: another model among them, a measure that one place lacks.
    """

    places: tuple[ValidatedPlace, ...]
    pooled: dict[str, PooledEstimate]
    level: float = 0.95
    remarks: tuple[str, ...] = field(default=())

    def to_frame(self) -> pd.DataFrame:
        """One row a place and measure, and one for all."""
        rows = [
            {"place": item.name, "measure": name, "value": found.value, "low": found.low, "high": found.high,
             "n": item.n, "events": item.events}
            for item in self.places for name, found in item.measures.items()
        ]  # fmt: skip
        for name, pooled in self.pooled.items():
            row = {"place": "pooled", "measure": name, "value": pooled.value, "low": pooled.low, "high": pooled.high}
            rows.append(row | {"new_low": pooled.prediction[0], "new_high": pooled.prediction[1]})
        return pd.DataFrame(rows)


@views.page.register
def _(record: PooledValidation) -> list[str | Table]:
    """One table: hospitals, then the pooled values."""
    ci, measures = ci_label(record.level), list(record.pooled)
    rows: list[Row] = []
    for item in record.places:
        cells = [_shown(item.measures.get(name)) for name in measures]
        rows.append(Row((item.name, f"{item.n} ({item.events})", *cells)))
    patients = f"{sum(i.n for i in record.places)} ({sum(i.events for i in record.places)})"
    found = [record.pooled[name] for name in measures]
    rows.append(Row(("All, random effects", patients, *(_interval(p.value, p.low, p.high) for p in found))))
    new = [f"{number(p.prediction[0], 2)} to {number(p.prediction[1], 2)}" if p.k > 2 else MISSING for p in found]
    rows.append(Row((f"A new hospital ({percent(record.level, 0)} prediction interval)", "", *new)))
    rows.append(Row(("Between hospitals: I², P", "", *(f"{percent(p.i2, 0)}, {p_value(p.p)}" for p in found))))
    notes = [
        "AUC and C were pooled by their logit, O/E (observed over expected events) by its logarithm; variance between "
        "hospitals by REML, limits of Hartung and Knapp. I²: share of the variation that is between hospitals."
    ]
    heads = ["Hospital", "Patients (events)", *(f"{name} ({ci})" for name in measures)]
    return [make_table("Validation in several hospitals", heads, rows, notes), *record.remarks]


@views.drawings.register
def _(record: PooledValidation) -> views.Drawings:
    """`forest`: discrimination of each hospital and of all."""
    from hepacast.figures.scrutiny import AreaRow, draw_areas

    name = next(iter(record.pooled))
    rows = [AreaRow(item.name, found.value, found.low, found.high) for item in record.places if (
        found := item.measures.get(name)) is not None]  # fmt: skip
    all_ = record.pooled[name]
    rows.append(AreaRow("All, random effects", all_.value, all_.low, all_.high))
    if all_.k > 2:
        rows.append(AreaRow("A new hospital (prediction)", all_.value, *all_.prediction))
    return {"forest": lambda: draw_areas(rows, overall=all_.value, measure=name, ci=ci_label(record.level))}


def _shown(item: Estimate | None) -> str:
    return MISSING if item is None else _interval(item.value, item.low, item.high)


def _interval(value: float, low: float, high: float) -> str:
    return f"{number(value, 2)} ({number(low, 2)} to {number(high, 2)})"


def pool_validations(results: Sequence[str | Path], *, model: str | None = None) -> PooledValidation:
    """Pool the validations of several hospitals by a random-effects meta-analysis.

    Parameters
    ----------
    results
        Results folders of `hepacast validate` (or `run`), or their ``evaluation.json``; no patient is in these files.
    model
        Name of the model; default the main one of each.

    Raises
    ------
    HepacastError
        Fewer than two places, one of them given twice, a file that is none, or different kinds of outcome or horizons.
    """
    places = [_place(Path(item), model) for item in results]
    kinds = {next(iter(item.measures), "") for item in places}
    if len(places) < 2 or len(kinds) > 1:
        raise HepacastError(
            "There is nothing to pool.",
            expected="validations of one kind of outcome in two hospitals or more",
            found=", ".join(f"{item.name}: {next(iter(item.measures), 'none')}" for item in places),
        )
    seen = [(item.n, item.events, tuple(e.value for e in item.measures.values())) for item in places]
    if len(set(seen)) < len(seen):
        raise HepacastError("One validation is given twice.", found=", ".join(item.name for item in places))
    if len({item.horizon for item in places}) > 1:
        raise HepacastError(
            "The validations are of different horizons.",
            expected="risks by one time, in one unit",
            found=", ".join(f"{item.name}: {item.horizon or 'none'}" for item in places),
            remedy="validate again with the same horizons (horizons of the outcome in the study file)",
        )
    pooled, remarks = {}, _differences(places)
    for name in dict.fromkeys(key for item in places for key in item.measures):
        there = [item for item in places if _can_be_pooled(name, item.measures.get(name))]
        lacking = [item.name for item in places if item not in there]
        if lacking:
            remarks.append(f"{name} is not known with its limits of {', '.join(lacking)}, who are left out there.")
        if len(there) > 1:
            pooled[name] = _pooled(name, [item.measures[name] for item in there])
    if not pooled:
        raise HepacastError("No measure is known with its limits of two hospitals.", found="; ".join(remarks))
    return PooledValidation(tuple(places), pooled, next(iter(pooled.values())).level, tuple(remarks))


def _differences(places: Sequence[ValidatedPlace]) -> list[str]:
    """What makes the places' numbers another thing than one model's performance in new patients."""
    remarks = []
    for item in places:
        if item.set in ("training", "nested"):
            which = "those of the fit" if item.set == "training" else "those of the development, cross-validated"
            remarks.append(f"{item.name}: the patients are {which} and no others: its numbers are no validation.")
    if len({item.outcome for item in places}) > 1:
        listed = ", ".join(f"{item.name}: {item.outcome}" for item in places)
        remarks.append(f"The outcomes are called differently; do they mean the same? {listed}.")
    if len({item.identity for item in places if item.identity}) > 1:
        remarks.append("The hospitals validated different model files: what is pooled is not one model's performance.")
    return remarks


def _place(path: Path, model: str | None) -> ValidatedPlace:
    """One hospital's measures by the main horizon of its most trusted set."""
    file = path / "evaluation" / "evaluation.json" if path.is_dir() else path
    if not file.is_file():
        raise HepacastError("There are no results here.", expected="evaluation/evaluation.json", where=str(path))
    found = read_record(EvaluationResults, file)
    name = model or found.main
    item = found.sets[found.judged]
    if name not in item.models:
        raise HepacastError("There is no such model.", expected=", ".join(item.models), found=name, where=str(file))
    own, other = item.models[name], file.with_name("external.json")
    identity = next((entry.identity for entry in read_external(other) if entry.name == name), "")
    fit = own.main.calibration
    measures = {own.measure: own.discrimination}
    if fit is not None:
        measures |= {"O/E": fit.observed_expected, "Calibration slope": fit.slope}
    label = file.parent.parent.parent.name if file.parent.parent.name in ("validation", "results") else ""
    return ValidatedPlace(
        label or file.parent.parent.name or str(path),
        name,
        item.n,
        item.events,
        {key: value for key, value in measures.items() if value is not None and value.known},
        identity,
        outcome=found.outcome,
        set=found.judged,
        horizon=f"{own.main.time:g} {found.unit}" if found.unit else "",
    )


def _pooled(name: str, found: Sequence[Estimate]) -> PooledEstimate:
    there, back, steepness = _scale(name)
    values = np.array([there(item.value) for item in found])
    se = np.array([_se(item, there, steepness, norm.ppf(0.5 + item.level / 2)) for item in found])
    item = pool_estimates(values, se, float(found[0].level))
    ends = (back(item.prediction[0]), back(item.prediction[1])) if item.k > 2 else (_NAN, _NAN)
    return PooledEstimate(
        item.k, back(item.value), back(item.low), back(item.high), item.se, item.tau2, item.i2, item.q, item.p,
        ends, item.level,
    )  # fmt: skip


def _can_be_pooled(name: str, item: Estimate | None) -> bool:
    """Whether an estimate has limits of some width and a finite value on its scale: an AUC of 1 has neither."""
    if item is None or not item.has_limits or (item.se == 0 and item.low == item.high):
        return False
    return 0.0 < item.value < 1.0 if name in ("AUC", "C") else name != "O/E" or item.value > 0.0


def _scale(name: str) -> tuple[Callable[[float], float], Callable[[float], float], Callable[[float], float]]:
    """To the scale on which a measure is about normal, back, and the derivative of the first."""
    if name in ("AUC", "C"):
        return (lambda v: float(logit(v))), (lambda x: float(expit(x))), (lambda v: 1.0 / (v * (1.0 - v)))
    if name == "O/E":
        return math.log, math.exp, (lambda v: 1.0 / v)
    return float, float, (lambda v: 1.0)


def _se(item: Estimate, there: Callable[[float], float], steepness: Callable[[float], float], z: float) -> float:
    """From the standard error by the delta method, or from the limits."""
    if math.isfinite(item.se) and item.se > 0:
        return item.se * steepness(item.value)
    return (there(item.high) - there(item.low)) / (2.0 * float(z))
