"""A model over calendar time, from a log of predictions, dates and outcomes: `hepacast monitor MODEL LOG`."""

from __future__ import annotations

import datetime as dt
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hepacast.bundle import Bundle
from hepacast.bundle.applying import open_bundle
from hepacast.bundle.networks import NetworkBundle
from hepacast.cohort.dates import DateProblem, doubtful_order, parse_date
from hepacast.cohort.findings import name_patients
from hepacast.cohort.joining import read_ids
from hepacast.cohort.outcome import EVER, TIME_UNITS
from hepacast.core import views
from hepacast.core.estimates import missing
from hepacast.core.files import require_writable, write_json, write_text
from hepacast.core.formatting import number, p_sentence, percent, plural
from hepacast.core.lock import hold_folder, sweep
from hepacast.core.texts import cells
from hepacast.errors import HepacastError, TableError
from hepacast.evaluation.calibration import observed_over_expected
from hepacast.evaluation.case_mix import LINEAR_PREDICTOR, number_row, spread_of
from hepacast.evaluation.event_by import EventBy, event_by
from hepacast.evaluation.monitoring import (
    HIGHER,
    LOWER,
    ChartAlarm,
    ChartSettings,
    Monitoring,
    MonitoringWindow,
    SeenPatients,
    alarm_limit,
    charts_of,
    first_alarms,
    needed_to_find,
)
from hepacast.evaluation.recalibration import Updating, update_risks
from hepacast.evaluation.subgroups import FEWEST_OF_CLASS, equal_estimates, performance
from hepacast.modelling.frozen_cox import FrozenCox
from hepacast.report.build import require_formats, write_report
from hepacast.report.content.monitoring import compose_monitoring
from hepacast.report.formats import FORMATS
from hepacast.study.predict import named_model
from hepacast.study.statistics.reading import load
from hepacast.study.statistics.table import AnalysisTable

FILE = "monitoring.json"
#: Stretches of the calendar, by name: months in one.
WINDOWS = {"month": 1, "quarter": 3, "half-year": 6, "year": 12}
#: Patients that a stretch has on average, where its length is chosen here.
_FEWEST = 40


@dataclass(frozen=True)
class LogColumns:
    """Headers of a log."""

    outcome: str = "outcome"
    date: str = "date"
    time: str = "time"
    patient: str = "patient"
    positive: str | None = None
    date_format: str = ""


@dataclass(frozen=True)
class MonitoredModel(views.Shown):
    """What a log says of a model, and where it was written."""

    found: Monitoring
    folder: Path

    def to_json(self) -> dict[str, Any]:
        """The record."""
        return self.found.to_json()


@views.page.register
def _(record: MonitoredModel) -> list[str]:
    """What was found, in sentences."""
    lines = [*record.found.notes, *record.found.verdict, f"Report: {record.folder / 'report' / 'report.html'}"]
    return ["\n".join(lines)]


def monitor_model(
    model: str | Path | Bundle | NetworkBundle,
    logs: Sequence[str | Path | pd.DataFrame],
    *,
    out: str | Path,
    outcomes: str | Path | pd.DataFrame | None = None,
    columns: LogColumns | None = None,
    name: str | None = None,
    window: str = "",
    settings: ChartSettings | None = None,
    level: float = 0.95,
    formats: Sequence[str] = FORMATS,
) -> MonitoredModel:
    """Calibration and case-mix of a frozen model over calendar time, with a chart that calls when risks no longer hold.

    Parameters
    ----------
    model
        ``model.hepacast`` or ``networks.hepacast``.
    logs
        Tables of predictions as `predict_table` writes them (``risks.csv``), with the date of the prediction and what
        came of the patient in columns of their own, or these in `outcomes`.
    out
        Folder for ``monitoring.json``, ``patients.csv`` and the report.
    outcomes
        Table with dates and outcomes by patient, where the logs do not hold them.
    columns
        Headers: outcome (0 and 1, yes and no; of follow-up 0, 1, or 2 for a competing event), date, of follow-up its
        length in the model's unit.
    name
        One of the bundle's models; default the main one.
    window
        ``month``, ``quarter``, ``half-year`` or ``year``; default the shortest with about 40 patients and 10 events.
    settings
        What the chart looks for, and its false-alarm rate.
    level
        Of all limits.
    formats
        Of the report.

    Raises
    ------
    HepacastError
        A file cannot be read or lacks a column, a cell holds no risk or date, or fewer than 20 patients can be watched.
    """
    asked, out = settings or ChartSettings(), Path(out)
    asked.require_valid()
    require_formats(formats)
    if window not in ("", *WINDOWS):
        raise HepacastError("There is no such window.", expected=", ".join(WINDOWS), found=window)
    told = _Told.of(open_bundle(model), name, columns or LogColumns())
    frame, notes = _read(told, logs, outcomes)
    kept = _enough(frame)
    found, charts = _watched(told, kept, frame, window, asked, level, notes)
    everybody = pd.concat([kept.assign(**charts), frame[frame["reason"] != ""]], ignore_index=True)
    _write(
        out, found, everybody[["patient", "date", "risk", "observed", "expected", *charts, "reason"]], level, formats
    )
    return MonitoredModel(found, out)


def _enough(frame: pd.DataFrame) -> pd.DataFrame:
    """Patients who are watched, by date.

    Raises
    ------
    HepacastError
        Too few.
    """
    kept = frame[frame["reason"] == ""].sort_values(["date", "order"], kind="stable").reset_index(drop=True)
    if len(kept) >= 20 and kept["observed"].any():
        return kept
    reasons = Counter(frame.loc[frame["reason"] != "", "reason"])
    raise HepacastError(
        "The log holds too little to watch a model.",
        expected="20 patients or more with risk, date and outcome, and an event among them",
        found="; ".join([plural(len(kept), "patient"), *(f"{why}: {count}" for why, count in reasons.items())]),
    )


def _write(out: Path, found: Monitoring, patients: pd.DataFrame, level: float, formats: Sequence[str]) -> None:
    """Numbers, the patients' places in the charts, and the report."""
    require_writable(out)
    with hold_folder(out):
        sweep(out)
        write_json(out / FILE, found.to_json())
        write_text(out / "patients.csv", "\ufeff" + cells(patients).to_csv(index=False, lineterminator="\n"))
        write_report(compose_monitoring(found, level), out / "report", formats)


@dataclass(frozen=True)
class _Told:
    """The model that is watched, and how a log is read."""

    bundle: Bundle | NetworkBundle
    model: str
    horizons: tuple[float, ...]
    unit: str
    columns: LogColumns

    @classmethod
    def of(cls, bundle: Bundle | NetworkBundle, name: str | None, columns: LogColumns) -> _Told:
        """One of a bundle's models, the main one by default."""
        own = bundle if isinstance(bundle, NetworkBundle) else bundle.models
        return cls(bundle, named_model(bundle, name), tuple(own.horizons), own.unit, columns)

    @property
    def horizon(self) -> float:
        """By which the main risk is."""
        return max(self.horizons, default=EVER)

    def hazards(self, table: pd.DataFrame, times: np.ndarray) -> np.ndarray:
        """Cumulative hazard that the model gives each patient by a time of his own."""
        own = self.bundle.models.model(self.model) if isinstance(self.bundle, Bundle) else None
        if isinstance(own, FrozenCox) and "linear_predictor" in table and table["linear_predictor"].notna().all():
            lp = table["linear_predictor"].to_numpy(dtype=float)
            return np.asarray(own.cumulative_hazard(times) * np.exp(lp))
        known = [t for t in sorted(self.horizons) if _by(t, self.unit) in table] or [self.horizon]
        risks = [table[_by(t, self.unit) if _by(t, self.unit) in table else "risk"] for t in known]
        grid = np.column_stack([np.zeros(len(table)), *(-np.log1p(-np.clip(r, 0, 1 - 1e-12)) for r in risks)])
        return np.array([np.interp(t, [0.0, *known], row) for t, row in zip(times, grid, strict=True)])


def _by(time: float, unit: str) -> str:
    """Header of a risk by a time, as `predict_table` writes it."""
    return f"risk by {time:g} {unit}"


# -- the log -----------------------------------------------------------------------------------------------------------


def _read(
    told: _Told, logs: Sequence[str | Path | pd.DataFrame], outcomes: str | Path | pd.DataFrame | None
) -> tuple[pd.DataFrame, list[str]]:
    """One row a prediction: patient, date, risk, outcome, what was expected; `reason` where it tells nothing."""
    later = None if outcomes is None else load(outcomes, rows_are_patients=False)
    parts, notes = [], [] if later is None else list(later.notes)
    for log in logs:
        table = load(log, rows_are_patients=False)
        part = _predictions(told, table)
        parts.append(
            part.join(_of_outcome(told, table if later is None else later, part["patient"], later is not None))
        )
        notes += table.notes
    frame = pd.concat(parts, ignore_index=True)
    frame["order"] = range(len(frame))
    first = frame[frame["reason"] == ""].sort_values(["date", "order"], kind="stable")
    again = first.index[first["patient"].duplicated()]
    frame.loc[again, "reason"] = "predicted before: the first prediction counts"
    told_twice = frame[frame["outcome"].notna()].groupby("patient")["outcome"].nunique()
    if not told.horizons and (told_twice > 1).any():
        names = name_patients(told_twice.index[told_twice > 1])
        notes.append(f"{names}: rows of the log have different outcomes; that of the first prediction counts.")
    return _with_expected(told, frame), list(dict.fromkeys(notes))


def _predictions(told: _Told, table: AnalysisTable) -> pd.DataFrame:
    """What a log says of the predictions."""
    header = table.column(told.columns.patient)
    found = pd.DataFrame({"patient": read_ids(table.cells[header])})
    if found["patient"].isna().any():
        row = table.rows[int(found["patient"].isna().argmax())]
        raise TableError("A row of the log has no patient.", found=f"row {row}", where=table.name)
    numbers = ["risk", "linear_predictor", *(_by(t, told.unit) for t in told.horizons)]
    scores = told.bundle.models.score_names if isinstance(told.bundle, Bundle) else ()
    for name in ("risk", *(item for item in (*numbers[1:], *scores) if item in table.headers)):
        found[name] = table.numbers(name)
    wrong = found.index[(found["risk"] < 0) | (found["risk"] > 1)]
    if len(wrong):
        raise TableError("A risk lies outside 0 to 1.", expected="probabilities", where=f"{table.name}, column risk",
                         found=f"row {table.rows[int(wrong[0])]}: {found['risk'][wrong[0]]:g}")  # fmt: skip
    found["reason"] = np.where(found["risk"].isna(), "no risk", "")
    for key, own, why in (
        ("bundle", told.bundle.identity, "predicted by another model file"),
        ("model", told.model, "predicted by another model of the file"),
    ):
        if key in table.headers:
            other = [cell is not None and str(cell).strip() != own for cell in table.cells[key]]
            found.loc[np.array(other, dtype=bool) & (found["reason"] == ""), "reason"] = why
    return found


def _of_outcome(told: _Told, table: AnalysisTable, patients: pd.Series, joined: bool) -> pd.DataFrame:
    """Date, outcome, and time of each patient of a log, from its own columns or those of another table."""
    names = told.columns
    found = pd.DataFrame({"date": _dates(table, names), "outcome": _codes(told, table)})
    found["time"] = table.numbers(names.time) if told.horizons else np.nan
    if not joined:
        return found
    header = table.column(names.patient)
    found.index = pd.Index([name or "" for name in read_ids(table.cells[header])])
    double = found.index[found.index.duplicated() & (found.index != "")]
    if len(double):
        raise TableError("A patient stands twice in the table of outcomes.", found=str(double[0]), where=table.name)
    return found[found.index != ""].reindex(patients).reset_index(drop=True)


def _dates(table: AnalysisTable, names: LogColumns) -> list[dt.datetime | None]:
    header = table.column(names.date)
    read: list[dt.datetime | None] = []
    for row, cell in zip(table.rows, table.cells[header], strict=True):
        try:
            read.append(None if cell is None else parse_date(cell, names.date_format))
        except DateProblem as problem:
            where = f"{table.name}, column {header}, row {row}"
            remedy = "write dates as 2024-03-09, or give --date-format '%d/%m/%Y'"
            raise TableError("A cell is no date.", found=str(problem), where=where, remedy=remedy) from problem
    if not names.date_format and (doubt := doubtful_order(table.cells[header])):
        raise TableError("Day and month cannot be told apart.", found=doubt, where=f"{table.name}, column {header}")
    return read


def _codes(told: _Told, table: AnalysisTable) -> pd.Series:
    if not told.horizons or told.columns.positive is not None:
        return table.binary(told.columns.outcome, told.columns.positive)
    codes = table.numbers(told.columns.outcome)
    strange = sorted(set(codes.dropna()) - {0.0, 1.0, 2.0})
    if strange:
        raise TableError(
            "The outcome of follow-up is coded otherwise.", expected="0 (not), 1 (event), 2 (competing event)",
            found=", ".join(f"{value:g}" for value in strange[:5]), where=f"{table.name}, column {codes.name}",
        )  # fmt: skip
    return codes


def _with_expected(told: _Told, frame: pd.DataFrame) -> pd.DataFrame:
    """The log with the events that came (by the horizon) and those that the model expected."""
    told_nothing = frame["reason"] == ""
    for name, why in (("date", "no date"), ("outcome", "outcome not known"), ("time", "no follow-up")):
        if name != "time" or told.horizons:
            frame.loc[told_nothing & frame[name].isna(), "reason"] = why
            told_nothing = frame["reason"] == ""
    frame["date"] = pd.to_datetime(frame["date"])
    for name in ("observed", "expected", "possible"):
        frame[name] = np.nan
    kept = frame[told_nothing]
    if not told.horizons:
        frame.loc[told_nothing, "observed"] = kept["outcome"]
        frame.loc[told_nothing, ["expected", "possible"]] = kept[["risk", "risk"]].to_numpy()
        return frame
    time = kept["time"].to_numpy(dtype=float)
    if (time < 0).any():
        raise TableError("A follow-up is negative.", found=f"{time.min():g} {told.unit}")
    days = TIME_UNITS[told.unit]
    ends = kept["date"] + pd.to_timedelta(np.round(time * days), unit="D")
    # Who had an event would have been followed to the end of the log.
    rest = (ends.max() - kept["date"]).dt.days.to_numpy(dtype=float) / days if len(kept) else time
    codes = kept["outcome"].to_numpy(dtype=float)
    possible = np.minimum(np.where(codes > 0, np.maximum(rest, time), time), told.horizon)
    # A competing event ends nothing: the risk is that of the event in a world where the other may come first.
    seen = np.where(codes == 2, possible, np.minimum(time, told.horizon))
    frame.loc[told_nothing, "observed"] = ((codes == 1) & (time <= told.horizon)).astype(float)
    frame.loc[told_nothing, "expected"] = told.hazards(kept, seen)
    frame.loc[told_nothing, "possible"] = told.hazards(kept, possible)
    return frame


# -- what it says ------------------------------------------------------------------------------------------------------


def _watched(
    told: _Told,
    kept: pd.DataFrame,
    frame: pd.DataFrame,
    window: str,
    asked: ChartSettings,
    level: float,
    notes: list[str],
) -> tuple[Monitoring, dict[str, np.ndarray]]:
    """The record, and both charts by name."""
    observed, expected, possible = (kept[name].to_numpy(dtype=float) for name in ("observed", "expected", "possible"))
    seen = SeenPatients(observed, expected, possible, timed=bool(told.horizons))
    limit, charts = alarm_limit(seen, asked), charts_of(seen, asked.ratio)
    dates = [f"{date:%Y-%m-%d}" for date in kept["date"]]
    alarms = first_alarms(seen, charts, limit, dates)
    needed = {f"{change:g}": needed_to_find(seen, asked, limit, change) for change in (asked.ratio, 1 / asked.ratio)}
    since = kept.iloc[alarms[0].since - 1 :] if alarms else kept.iloc[:0]
    windows = _windows(told, kept, window, level)
    found = Monitoring(
        study=str(told.bundle.card["name"]),
        identity=told.bundle.identity,
        model=told.model,
        n=seen.n,
        events=int(seen.observed.sum()),
        start=dates[0],
        end=dates[-1],
        left_out=Counter(frame.loc[frame["reason"] != "", "reason"]),
        horizon=told.horizon,
        unit=told.unit,
        settings=asked,
        limit=limit,
        needed=needed,
        dates=tuple(dates),
        difference=np.cumsum(seen.observed - seen.expected),
        higher=charts[HIGHER],
        lower=charts[LOWER],
        alarms=tuple(alarms),
        windows=tuple(windows),
        update=update_risks(since["observed"], since["risk"]) if alarms and not told.horizons else None,
        notes=tuple(notes),
    )
    verdict = tuple(_verdict(found, float(seen.expected.sum())))
    return replace(found, verdict=verdict), {f"chart_{way}": chart for way, chart in charts.items()}


def _windows(told: _Told, kept: pd.DataFrame, window: str, level: float) -> list[MonitoringWindow]:
    """Performance and case-mix by stretch of the calendar."""
    known = dict((told.bundle.card.get("case_mix") or {}).get(told.model, {}))
    found = []
    for label, part in _divided(kept, window or _shortest(kept)):
        risk, timed = part["risk"].to_numpy(dtype=float), bool(told.horizons)
        has_lp = "linear_predictor" in part and part["linear_predictor"].notna().all()
        lp = part["linear_predictor"].to_numpy(dtype=float) if has_lp else None
        y = event_by(part["time"], part["outcome"], told.horizon) if timed else EventBy(part["observed"].to_numpy())
        fewest = (FEWEST_OF_CLASS, 0 if timed else FEWEST_OF_CLASS)
        judged = performance(y, risk, lp if timed else None, level=level, fewest=fewest)
        # The ratio needs no ranks: it stands also where patients are too few for these.
        observed = y.risk(level)
        ratio = observed_over_expected(observed, risk) if observed.known else missing(observed.reason)
        rows = (
            []
            if lp is None
            else [number_row(LINEAR_PREDICTOR, "Linear predictor", "", lp, known.get(LINEAR_PREDICTOR))]
        )
        rows += [
            number_row(name, name, "", part[name], known[name], int(part[name].isna().to_numpy().sum()))
            for name in known
            if name in part and name != LINEAR_PREDICTOR
        ]
        found.append(
            MonitoringWindow(
                label=label,
                start=f"{part['date'].min():%Y-%m-%d}",
                end=f"{part['date'].max():%Y-%m-%d}",
                performance=replace(judged, observed_expected=ratio),
                mean_risk=float(risk.mean()),
                rows=tuple(rows),
                spread=math.nan if lp is None else spread_of(lp, known.get(LINEAR_PREDICTOR)),
            )
        )
    return found


def _divided(kept: pd.DataFrame, window: str) -> list[tuple[str, pd.DataFrame]]:
    months = WINDOWS[window]
    place = (kept["date"].dt.month - 1) // months
    words = {1: "{y}-{m:02d}", 3: "{y} Q{p}", 6: "{y} H{p}", 12: "{y}"}[months]
    labels = [
        words.format(y=date.year, m=date.month, p=part + 1) for date, part in zip(kept["date"], place, strict=True)
    ]
    return [(str(label), part) for label, part in kept.groupby(labels, sort=False)]


def _shortest(kept: pd.DataFrame) -> str:
    """The shortest window that holds enough patients and events on average."""
    for window in WINDOWS:
        count = len(_divided(kept, window))
        if len(kept) >= _FEWEST * count and kept["observed"].sum() >= FEWEST_OF_CLASS * count:
            return window
    return "year"


def _verdict(found: Monitoring, expected: float) -> list[str]:
    """What the log says, in sentences, and what to do."""
    first = found.alarms[0] if found.alarms else None
    ratio, settings = number(found.settings.ratio, 1), found.settings
    what = f"{'hazard' if found.unit else 'odds'} of the event times {ratio}, or divided by it"
    rate = f"{percent(settings.false_alarm)} of series of {settings.within} patients would call by chance"
    lines = [
        f"{plural(found.n, 'patient')} with {found.events} events from {found.start} to {found.end}; the model "
        f"expected {number(expected, 1)} (observed over expected {number(found.events / expected, 2)})."
    ]
    most = {change: value[1] for change, value in found.needed.items()}
    shown = " and ".join(
        f"{'a rise' if float(change) > 1 else 'a fall'} within "
        + (plural(int(value), "patient") if math.isfinite(value) else f"more than {settings.within} patients")
        for change, value in most.items()
    )
    power = f"Such a change ({what}) is found in 90% of simulations: {shown}."
    if first is None:
        short = found.n < max(most.values())
        silence = " The log is shorter than that: its silence says little yet." if short else ""
        lines.append(f"No chart called: nothing speaks against the mean of the risks ({rate}). {power}{silence}")
    else:
        lines += [_alarmed(first, found.update), f"Of right risks {rate}. {power}"]
    lines += _unequal(found.windows)
    return lines


def _alarmed(alarm: ChartAlarm, update: Updating | None) -> str:
    what = {HIGHER: "more", LOWER: "fewer"}[alarm.way]
    text = (
        f"Recalibrate: since about {alarm.since_date} (patient {alarm.since}) {what} events come than the model "
        f"expects ({number(alarm.observed, 0)} observed, {number(alarm.expected, 1)} expected); the chart called at "
        f"patient {alarm.place}, on {alarm.date}."
    )
    changes = {"intercept": "a new intercept", "slope": "a new intercept and slope", "none": "no change after all"}
    if update is not None and update.chosen is not None:
        text += f" The closed test on the {update.n} patients since then asks for {changes[update.chosen]}."
    return text + " `hepacast validate --update closed-test` on the patients since then adapts the model."


def _unequal(windows: Sequence[MonitoringWindow]) -> list[str]:
    """Whether discrimination or slope differ between the windows beyond chance."""
    told: Mapping[str, list[tuple[float, float]]] = {
        "Discrimination": [(w.performance.discrimination.value, w.performance.discrimination.se) for w in windows],
        "The calibration slope": [
            (slope.value, slope.se) for w in windows if (slope := w.performance.slope).has_limits
        ],
    }
    found = {name: equal_estimates(values) for name, values in told.items()}
    return [f"{name} differs between the windows ({p_sentence(p)})." for name, p in found.items() if p < 0.05]
