"""`hepacast stats nomogram`: fit a logistic or Cox model and draw it; read one patient off it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hepacast.cohort.joining import near_ids, read_ids
from hepacast.cohort.known_columns import id_header
from hepacast.core import views
from hepacast.core.formatting import number, p_sentence, p_value, ratio_with_interval, short, with_interval
from hepacast.core.tables import Table, make_table
from hepacast.errors import ModelError, TableError
from hepacast.evaluation.delong import check_level
from hepacast.nomogram import Nomogram, Reading, build_nomogram
from hepacast.stats.intervals import ci_label
from hepacast.study.statistics.fits import ModelFit, fit_model, survival_label
from hepacast.study.statistics.reading import load
from hepacast.study.statistics.result import StatisticsResult, note_lines
from hepacast.study.statistics.table import AnalysisTable, RowsUsed, complete_rows
from hepacast.study.statistics.terms import Terms, build_terms


@dataclass(frozen=True)
class PatientReading(Reading):
    """One patient of the table read off the nomogram."""

    id: str = ""


@dataclass(frozen=True, repr=False)
class NomogramResult(ModelFit, StatisticsResult):
    """A fitted model, its nomogram, and one patient's reading.

    Attributes
    ----------
    nomogram
        Axes with their points, as `hepacast.nomogram` writes them, and the line from points to linear predictor.
    patient
        The patient asked for; None otherwise.
    """

    nomogram: dict[str, Any] = field(default_factory=dict)
    patient: PatientReading | None = None
    flow: RowsUsed | None = None
    drawn: Nomogram | None = field(default=None, metadata={"stored": False})

    def to_frame(self) -> pd.DataFrame:
        """Coefficients with ratios, limits and P."""
        return pd.DataFrame.from_dict({name: vars(item) for name, item in self.coefficients.items()}, orient="index")


@views.table.register
def _(found: NomogramResult) -> Table:
    ratio = f"{'OR' if found.kind == 'logistic' else 'HR'} ({ci_label(found.confidence)})"
    rows = [
        (name, short(item.coef), short(item.se), ratio_with_interval(*item.with_limits), p_value(item.p))
        for name, item in found.coefficients.items()
    ]
    return make_table("", ("Term", "Coefficient", "SE", ratio, "P"), rows)


@views.sentence.register
def _(found: NomogramResult) -> str:
    test = found.likelihood_ratio
    c = f"C ({ci_label(found.confidence)}) {with_interval(found.c, *found.c_ci, words=True)} (apparent)"
    if found.bootstrap_samples:
        c += f", {number(found.c_corrected, 3)} corrected for optimism, {number(found.c_632_plus, 3)} by .632+"
        c += f"; calibration slope corrected {number(found.slope_corrected, 3)}"
        c += f" ({found.bootstrap_samples} bootstrap samples)"
    return (
        f"Likelihood ratio chi2 {number(test.chi2)} (df {test.df}, {p_sentence(test.p)}); AIC {number(found.aic)}; {c}."
    )


@views.page.register
def _(found: NomogramResult) -> Sequence[str | Table]:
    head = f"{'Logistic' if found.kind == 'logistic' else 'Cox'} model of {found.outcome}: n = {found.n}, "
    head += f"events = {found.n_events}. {found.flow.text() if found.flow is not None else ''}"
    points = _points(found.drawn) if found.drawn is not None else ""
    return head, views.table(found), views.sentence(found), points, _read(found), note_lines(found.notes)


@views.drawings.register
def _(found: NomogramResult) -> views.Drawings:
    """`nomogram`, and `calibration` where the model was validated."""
    from hepacast.figures.nomogram import draw_nomogram

    drawn = found.drawn
    figures = {} if drawn is None else {"nomogram": lambda: draw_nomogram(drawn.to_spec(found.patient))}
    return figures | ({} if found.draw_calibration is None else {"calibration": found.draw_calibration})


def _points(drawn: Nomogram) -> str:
    """Points of every tick."""
    lines = ["Points"]
    for axis in drawn.axes:
        ticks = ", ".join(f"{_tick(v)}: {number(p, 1)}" for v, p in zip(axis.values, axis.points, strict=True))
        lines.append(f"  {axis.label}: {ticks}")
    lines.append("Total points")
    for output in drawn.outputs:
        ticks = ", ".join(f"{v:g}: {number(p, 1)}" for v, p in zip(output.values, output.total_points, strict=True))
        lines.append(f"  {output.label}: {ticks}")
    lines.append(f"Linear predictor = {short(drawn.intercept, 6)} + {short(drawn.slope, 6)} x total points")
    return "\n".join(lines)


def _read(found: NomogramResult) -> str:
    reading = found.patient
    if reading is None or found.drawn is None:
        return ""
    points = ", ".join(f"{name} {number(value, 1)}" for name, value in reading.points.items())
    labels = [axis.label for axis in found.drawn.outputs]
    answers = ", ".join(f"{label} {number(v, 3)}" for label, v in zip(labels, reading.outputs.values(), strict=True))
    values = ", ".join(f"{name} {_tick(value)}" for name, value in reading.values.items())
    return (
        f"Patient {reading.id}: {values}\n  points: {points}\n"
        f"  total {number(reading.total_points, 1)}, linear predictor {number(reading.linear_predictor, 3)}: {answers}"
    )


def _tick(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def nomogram(
    source: str | Path | pd.DataFrame | AnalysisTable,
    *,
    predictors: str | Sequence[str],
    outcome: str | None = None,
    time: str | None = None,
    event: str | None = None,
    positive: str | None = None,
    splines: Mapping[str, int | Sequence[float]] | None = None,
    logs: str | Sequence[str] = (),
    ticks: Mapping[str, Sequence[float]] | None = None,
    interactions: Sequence[tuple[str, str]] = (),
    at: Sequence[float] = (),
    unit: str = "",
    patient: str | None = None,
    id_column: str | None = None,
    firth: bool = False,
    n_boot: int = 200,
    seed: int = 0,
    level: float = 0.95,
) -> NomogramResult:
    """Fit a logistic model (`outcome`) or a Cox model (`time`, `event`) and make its nomogram.

    Parameters
    ----------
    splines, logs, ticks, interactions
        As in `hepacast.study.statistics.terms.build_terms`, by column.
    at, unit
        Cox: times of the survival axes, and the unit of time for their labels.
    patient, id_column
        A patient to read off, by identifier, or by number (the first is 1) where there is no identifier.
    firth, n_boot, seed, level
        As in `hepacast.study.statistics.fits.fit_model`.

    Raises
    ------
    TableError, OutcomeError, ModelError
        Columns that cannot be used, a model without estimate, times outside the follow-up.
    """
    level, table = check_level(level), load(source)
    target = _target(table, outcome, time, event, positive)
    columns = table.predictors(predictors, *target.values())
    rows, flow = complete_rows({**target, **columns})
    frame = pd.DataFrame({name: column[rows] for name, column in columns.items()})
    terms = _terms(table, frame, splines or {}, logs, ticks or {}, interactions)
    values = {name: column[rows].to_numpy(dtype=float) for name, column in target.items()}
    fit = fit_model(terms, values, firth=firth, at=at, unit=unit, n_boot=n_boot, seed=seed, level=level)
    drawn = _build(fit, unit)
    reading = None
    if patient is not None:
        reading = PatientReading(**vars(drawn.read(_patient(table, patient, id_column, columns))), id=patient)
    spec = {**drawn.to_spec(), "lp_from_total_points": {"intercept": drawn.intercept, "slope": drawn.slope}}
    notes = (*table.notes, *fit.notes)
    return NomogramResult(**{**vars(fit), "notes": notes}, nomogram=spec, patient=reading, flow=flow, drawn=drawn)


def _target(
    table: AnalysisTable, outcome: str | None, time: str | None, event: str | None, positive: str | None
) -> dict[str, pd.Series]:
    """The column of the outcome, or those of follow-up and event."""
    if outcome is not None and time is None and event is None:
        columns = [table.binary(outcome, positive)]
    elif outcome is None and time is not None and event is not None:
        columns = [table.numbers(time), table.binary(event, positive)]
    else:
        raise ModelError("Say what the model predicts.", expected="an outcome, or a time and an event")
    return {str(column.name): column for column in columns}


def _terms(
    table: AnalysisTable,
    frame: pd.DataFrame,
    splines: Mapping[str, int | Sequence[float]],
    logs: str | Sequence[str],
    ticks: Mapping[str, Sequence[float]],
    interactions: Sequence[tuple[str, str]],
) -> Terms:
    def among(name: str, what: str) -> str:
        header = table.column(name)
        if header not in frame:
            raise ModelError(
                f"{name!r} is to have {what} but is no predictor.", expected=", ".join(map(str, frame)), found=name
            )
        return header

    return build_terms(
        frame,
        splines={among(name, "a spline"): value for name, value in splines.items()},
        logs=[among(name, "a logarithm") for name in table.columns(logs or [])],
        ticks={among(name, "ticks"): value for name, value in ticks.items()},
        interactions=[(among(a, "an interaction"), among(b, "an interaction")) for a, b in interactions],
    )


def _build(fit: ModelFit, unit: str) -> Nomogram:
    assert fit.model is not None
    lp = fit.linear_predictor
    return build_nomogram(
        fit.model,
        lp_range=(float(lp.min()), float(lp.max())),
        risk_label=f"Risk of {fit.outcome}",
        survival_labels={t: survival_label(t, unit) for t in fit.model.baseline},
    )


def _patient(
    table: AnalysisTable, patient: str, id_column: str | None, columns: Mapping[str, pd.Series]
) -> dict[str, float | str]:
    header = table.column(id_column) if id_column else id_header(table.headers)
    names = read_ids(table.cells[header]) if header else [str(i + 1) for i in range(len(table))]
    found = [i for i, name in enumerate(names) if name == patient.strip()]
    if len(found) != 1:
        near = [] if found else list(near_ids([patient.strip()], [name for name in names if name]).values())
        raise TableError(
            f"The patient {patient!r} was not found." if not found else f"The patient {patient!r} has several rows.",
            expected=f"one row with this value in {header!r}" if header else f"a row number from 1 to {len(table)}",
            found=f"{len(found)} rows",
            remedy=f"did you mean {' or '.join(map(repr, near))}?"
            if near
            else "name the identifier's column with --id",
        )
    row = {name: column.iloc[found[0]] for name, column in columns.items()}
    missing = [name for name, value in row.items() if pd.isna(value)]
    if missing:
        raise TableError(f"The patient {patient!r} has no value of {', '.join(missing)}.", expected="all predictors")
    return {name: str(value) if isinstance(value, str) else float(np.float64(value)) for name, value in row.items()}
