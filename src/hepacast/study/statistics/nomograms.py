"""`hepacast stats nomogram`: fit a logistic or Cox model and draw it; read one patient off it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from hepacast.cohort.joining import near_ids, read_ids
from hepacast.cohort.known_columns import id_header
from hepacast.core.p_values import p_sentence
from hepacast.errors import ModelError, TableError
from hepacast.evaluation.delong import check_level
from hepacast.nomogram import Nomogram, Reading, build_nomogram
from hepacast.stats.intervals import ci_label
from hepacast.study.statistics.cox_fits import fit_cox_model, survival_label
from hepacast.study.statistics.model_fits import ModelFit, Validation, fit_logistic_model
from hepacast.study.statistics.reading import load
from hepacast.study.statistics.result import (
    StatisticsResult,
    note_lines,
    number,
    p_value,
    paragraphs,
    ratio,
    short,
    text_table,
    with_limits,
)
from hepacast.study.statistics.table import AnalysisTable, Flow, complete_rows
from hepacast.study.statistics.terms import build_terms

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, repr=False)
class NomogramResult(StatisticsResult):
    """A fitted model, its nomogram, and one patient's reading.

    Attributes
    ----------
    fit
        The model: coefficients and how well it separates, apparent and corrected for optimism.
    reading
        The patient asked for; None otherwise.
    """

    fit: ModelFit
    nomogram: Nomogram
    flow: Flow
    reading: Reading | None
    patient: str
    notes: tuple[str, ...]

    def text(self) -> str:
        """Coefficients, points of every tick, and the patient."""
        fit = self.fit
        head = f"{'Logistic' if fit.kind == 'logistic' else 'Cox'} model of {fit.outcome}: n = {fit.n}, "
        head += f"events = {fit.n_events}. {self.flow.text()}"
        frame, ci = fit.table, ci_label(fit.level)
        name = "OR" if fit.kind == "logistic" else "HR"
        coefficients = pd.DataFrame(
            {
                "Term": list(frame.index),
                "Coefficient": [short(v) for v in frame["coef"]],
                "SE": [short(v) for v in frame["se"]],
                f"{name} ({ci})": [ratio(*row) for row in frame[["ratio", "low", "high"]].to_numpy()],
                "P": [p_value(v) for v in frame["p"]],
            }
        )
        chi2, df, p = fit.lrt
        c = f"C ({ci}) {with_limits(fit.c, *fit.c_ci)} (apparent)"
        if fit.validation is not None:
            c += f", {fit.validation.c_corrected:.3f} corrected for optimism, {number(fit.validation.c_632)} by .632+"
            c += "; calibration slope corrected "
            c += f"{fit.validation.slope_corrected:.3f} ({fit.validation.n} bootstrap samples)"
        tests = f"Likelihood ratio chi2 {chi2:.2f} (df {df}, {p_sentence(p)}); AIC {fit.aic:.2f}; {c}."
        notes = [*self.notes, *fit.notes]
        return paragraphs(head, text_table(coefficients), tests, self._points(), self._read(), note_lines(notes))

    def _points(self) -> str:
        lines = ["Points"]
        for axis in self.nomogram.axes:
            ticks = ", ".join(f"{_tick(v)}: {p:.1f}" for v, p in zip(axis.values, axis.points, strict=True))
            lines.append(f"  {axis.label}: {ticks}")
        lines.append("Total points")
        for output in self.nomogram.outputs:
            ticks = ", ".join(f"{v:g}: {p:.1f}" for v, p in zip(output.values, output.total_points, strict=True))
            lines.append(f"  {output.label}: {ticks}")
        intercept, slope = self.nomogram.intercept, self.nomogram.slope
        lines.append(f"Linear predictor = {intercept:.6g} + {slope:.6g} x total points")
        return "\n".join(lines)

    def _read(self) -> str:
        if self.reading is None:
            return ""
        reading = self.reading
        points = ", ".join(f"{name} {value:.1f}" for name, value in reading.points.items())
        labels = [axis.label for axis in self.nomogram.outputs]
        answers = ", ".join(f"{label} {v:.3f}" for label, v in zip(labels, reading.outputs.values(), strict=True))
        values = ", ".join(f"{name} {_tick(value)}" for name, value in reading.values.items())
        return (
            f"Patient {self.patient}: {values}\n  points: {points}\n"
            f"  total {reading.total_points:.1f}, linear predictor {number(reading.linear_predictor)}: {answers}"
        )

    def to_json(self) -> dict[str, Any]:
        """Coefficients, axes with points, and the reading."""
        reading = self.reading
        return {
            **self.fit.to_json(),
            "nomogram": {
                **self.nomogram.to_spec(),
                "lp_from_total_points": {"intercept": self.nomogram.intercept, "slope": self.nomogram.slope},
            },
            "patient": None if reading is None else {"id": self.patient, **reading.__dict__},
            "flow": self.flow.to_json(),
            "notes": [*self.notes, *self.fit.notes],
        }

    def to_frame(self) -> pd.DataFrame:
        """Coefficients with ratios, limits and P."""
        return self.fit.table

    def drawings(self) -> Mapping[str, Callable[[], Figure]]:
        """`nomogram`, and `calibration` where the model was validated."""
        from hepacast.figures.nomogram import draw_nomogram

        found: dict[str, Callable[[], Figure]] = {
            "nomogram": lambda: draw_nomogram(self.nomogram.to_spec(self.reading))
        }
        check: Validation | None = self.fit.validation
        if check is not None and check.draw is not None:
            found["calibration"] = check.draw
        return found


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
    n_boot: int = 0,
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
    firth
        Penalize the logistic fit; separated data are penalized anyway, with a note.
    n_boot, seed
        Bootstrap samples of the optimism correction; 0: none.
    level
        Of the confidence intervals.

    Raises
    ------
    TableError, OutcomeError, ModelError
        Columns that cannot be used, a model without estimate, times outside the follow-up.
    """
    if (outcome is None) == (time is None) or (time is None) != (event is None):
        raise ModelError("Say what the model predicts.", expected="an outcome, or a time and an event")
    level, table = check_level(level), load(source)
    target = {
        str(column.name): column
        for column in (
            [table.binary(outcome, positive)]
            if outcome is not None
            else [table.numbers(str(time)), table.binary(str(event), positive)]
        )
    }
    chosen = [name for name in table.columns(predictors) if name not in target]
    columns = {name: table.predictor(name) for name in chosen}
    if not columns:
        raise ModelError("There are no predictors.", expected="names of columns other than the outcome")
    rows, flow = complete_rows({**target, **columns})
    frame = pd.DataFrame({name: column[rows] for name, column in columns.items()})
    terms = build_terms(
        frame,
        splines=_keyed(table, splines or {}, chosen, "a spline"),
        logs=[_among(table, name, chosen, "a logarithm") for name in table.columns(logs or [])],
        ticks=_keyed(table, ticks or {}, chosen, "ticks"),
        interactions=[
            (_among(table, a, chosen, "an interaction"), _among(table, b, chosen, "an interaction"))
            for a, b in interactions
        ],
    )
    values = [column[rows].to_numpy(dtype=float) for column in target.values()]
    rules: dict[str, Any] = {"n_boot": n_boot, "seed": seed, "level": level}
    if outcome is not None:
        fit = fit_logistic_model(terms, values[0], str(*target), firth=firth, **rules)
    else:
        fit = fit_cox_model(terms, values[0], values[1], str([*target][1]), at=at, unit=unit, **rules)
    lp = fit.linear_predictor
    drawn = build_nomogram(
        fit.model,
        lp_range=(float(lp.min()), float(lp.max())),
        risk_label=f"Risk of {fit.outcome}",
        survival_labels={t: survival_label(t, unit) for t in fit.model.baseline},
    )
    reading = None if patient is None else drawn.read(_patient(table, patient, id_column, columns))
    return NomogramResult(fit, drawn, flow, reading, patient or "", tuple(table.notes))


def _among(table: AnalysisTable, name: str, chosen: Sequence[str], what: str) -> str:
    header = table.column(name)
    if header not in chosen:
        raise ModelError(f"{name!r} is to have {what} but is no predictor.", expected=", ".join(chosen), found=name)
    return header


def _keyed(table: AnalysisTable, given: Mapping[str, Any], chosen: Sequence[str], what: str) -> dict[str, Any]:
    return {_among(table, name, chosen, what): value for name, value in given.items()}


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
