"""Whether a model's risks still hold as time goes on: CUSUM charts of observed against expected events, with limits.

Each patient adds the logarithm of how much likelier his outcome is after a change than before: of the odds of the event
without time (Steiner), of the hazard during follow-up (Biswas and Kalbfleisch). The sum never falls below 0 and calls
when it passes a limit, found by simulation of patients whose risks are right.

References
----------
Steiner SH, Cook RJ, Farewell VT, Treasure T. Biostatistics 2000;1:441. Biswas P, Kalbfleisch JD. Stat Med 2008;27:3382.
Lovegrove J et al. Lancet 1997;350:1128 (observed minus expected events, cumulated).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from hepacast.core.records import Record
from hepacast.core.seeds import rng
from hepacast.errors import ModelError
from hepacast.evaluation.case_mix import CaseMixRow
from hepacast.evaluation.predictions import Array
from hepacast.evaluation.recalibration import Updating
from hepacast.evaluation.subgroups import Performance

_NAN = math.nan
#: What a chart looks for, by name: events beyond what was expected, or fewer.
HIGHER, LOWER = "higher", "lower"
#: Simulated series behind a limit, and behind the patients that a change needs.
SIMULATED = 4000


@dataclass(frozen=True)
class ChartSettings(Record):
    """What a chart looks for, and how often it may be wrong.

    Attributes
    ----------
    ratio
        The change that is looked for: odds (of follow-up: hazard) of the event times this, and divided by it.
    false_alarm
        Probability that patients whose risks are right call at least once (either way) within `within` patients.
    within
        Patients.
    seed
        Of the simulation.
    """

    ratio: float = 2.0
    false_alarm: float = 0.05
    within: int = 1000
    seed: int = 0

    def require_valid(self) -> None:
        """Raises `ModelError` where a setting is outside its range."""
        for name, value, good, expected in (
            ("change that is looked for", self.ratio, 1.0 < self.ratio <= 10.0, "above 1, at most 10"),
            ("false-alarm rate", self.false_alarm, 0.001 <= self.false_alarm <= 0.5, "0.001 to 0.5"),
            ("number of patients", float(self.within), 20 <= self.within <= 20000, "20 to 20000"),
        ):
            if not good:
                raise ModelError(f"This {name} cannot be used.", expected=expected, found=f"{value:g}")


@dataclass(frozen=True)
class SeenPatients:
    """Patients in the order of their dates.

    Attributes
    ----------
    observed
        1 with the event (by the horizon), else 0; shape (n,), as the others.
    expected
        What the model expected of each: the risk; of follow-up the cumulative hazard during it.
    possible
        The same to the end of what would have been followed without the event, for simulation.
    timed
        Whether these are hazards of a follow-up.
    """

    observed: Array
    expected: Array
    possible: Array
    timed: bool = False

    @property
    def n(self) -> int:
        """Patients."""
        return int(self.observed.size)


def chart_scores(observed: Array, expected: Array, ratio: float, *, timed: bool) -> Array:
    """Log likelihood ratio of each patient's outcome, of a change by a ratio against none; any shape."""
    if timed:
        return np.asarray(observed * math.log(ratio) - (ratio - 1.0) * expected)
    return np.asarray(observed * math.log(ratio) - np.log1p((ratio - 1.0) * expected))


def cusum(scores: Array) -> Array:
    """Running sums that never fall below 0, along the last axis: S = max(0, S before + score)."""
    total = np.cumsum(scores, axis=-1)
    return np.asarray(total - np.minimum(np.minimum.accumulate(total, axis=-1), 0.0))


def simulated_outcomes(
    patients: SeenPatients, shape: tuple[int, int], generator: np.random.Generator, change: float = 1.0
) -> tuple[Array, Array]:
    """Patients drawn from these with outcomes as the model says, or with odds (hazards) times a change.

    Returns
    -------
    observed, expected
        Each of the shape (series, patients).
    """
    possible = patients.possible[generator.integers(0, patients.n, shape)]
    if patients.timed:
        wait = generator.exponential(1.0 / change, shape)
        return (wait < possible).astype(float), np.minimum(wait, possible)
    chance = change * possible / (1.0 - possible + change * possible)
    return (generator.random(shape) < chance).astype(float), possible


def _charts(observed: Array, expected: Array, ratio: float, *, timed: bool) -> dict[str, Array]:
    ratios = {HIGHER: ratio, LOWER: 1.0 / ratio}
    return {name: cusum(chart_scores(observed, expected, value, timed=timed)) for name, value in ratios.items()}


def charts_of(patients: SeenPatients, ratio: float) -> dict[str, Array]:
    """Both charts of patients, by `HIGHER` and `LOWER`."""
    return _charts(patients.observed, patients.expected, ratio, timed=patients.timed)


def alarm_limit(patients: SeenPatients, settings: ChartSettings, simulated: int = SIMULATED) -> float:
    """The limit that right risks pass within the stated number of patients with the stated probability."""
    generator = rng(settings.seed, "monitoring", "limit")
    highest = np.empty(simulated)
    step = max(1, 2_000_000 // settings.within)
    for start in range(0, simulated, step):
        size = min(step, simulated - start)
        drawn = simulated_outcomes(patients, (size, settings.within), generator)
        both = _charts(*drawn, settings.ratio, timed=patients.timed).values()
        highest[start : start + size] = np.max([chart.max(axis=1) for chart in both], axis=0)
    return float(np.quantile(highest, 1.0 - settings.false_alarm, method="higher"))


def needed_to_find(
    patients: SeenPatients, settings: ChartSettings, limit: float, change: float, simulated: int = 1000
) -> tuple[float, float]:
    """Patients from a change on until the chart calls: median and 90 % of simulated changes.

    Infinite where more than `within` are needed.
    """
    generator = rng(settings.seed, "monitoring", "change", f"{change:g}")
    drawn = simulated_outcomes(patients, (simulated, settings.within), generator, change)
    way = HIGHER if change > 1 else LOWER
    over = _charts(*drawn, settings.ratio, timed=patients.timed)[way] > limit
    first = np.where(over.any(axis=1), over.argmax(axis=1) + 1.0, np.inf)
    middle, most = np.sort(first)[[simulated // 2 - 1, math.ceil(0.9 * simulated) - 1]]
    return float(middle), float(most)


@dataclass(frozen=True)
class ChartAlarm(Record):
    """The first time that a chart passed its limit.

    Attributes
    ----------
    way
        `HIGHER` or `LOWER`: more or fewer events than expected.
    place, date
        Of the patient who passed it, counted from 1.
    since, since_date
        The first patient after the chart was last at 0: where the change probably began.
    observed, expected
        Events from there to the end of the log.
    """

    way: str
    place: int
    date: str
    since: int
    since_date: str
    observed: float
    expected: float


def first_alarms(patients: SeenPatients, charts: dict[str, Array], limit: float, dates: list[str]) -> list[ChartAlarm]:
    """The first alarm of each chart, the earlier one first."""
    found = []
    for way, chart in charts.items():
        over = np.flatnonzero(chart > limit)
        if not over.size:
            continue
        place = int(over[0])
        zero = np.flatnonzero(chart[: place + 1] <= 0)
        since = int(zero[-1]) + 1 if zero.size else 0
        sums = (float(values[since:].sum()) for values in (patients.observed, patients.expected))
        found.append(ChartAlarm(way, place + 1, dates[place], since + 1, dates[since], *sums))
    return sorted(found, key=lambda alarm: alarm.place)


@dataclass(frozen=True)
class MonitoringWindow(Record):
    """One stretch of the calendar.

    Attributes
    ----------
    label, start, end
        ``2024 Q1``, first and last date in it.
    performance
        Discrimination and calibration, as far as so few tell.
    mean_risk
        Predicted.
    rows
        Case-mix: linear predictor and scores, beside the training's.
    spread
        Interquartile range of the linear predictor over that of training.
    """

    label: str
    start: str
    end: str
    performance: Performance
    mean_risk: float
    rows: tuple[CaseMixRow, ...] = ()
    spread: float = _NAN


@dataclass(frozen=True)
class Monitoring(Record):
    """A model over calendar time (`monitoring.json`).

    Attributes
    ----------
    study, identity, model
        Whose model, the hash of its bundle, which of its models.
    n, events, start, end
        Patients who are watched, events (by the horizon), first and last date.
    left_out
        Rows of the log that tell nothing, by reason.
    horizon, unit
        Of time to an event; infinite without.
    settings, limit
        Of the charts.
    needed
        By change (``2``, ``0.5``): patients until it is found, median and in 90 % of simulations.
    dates, difference, higher, lower
        By patient in the order of dates: observed minus expected events so far, and both charts.
    alarms
        First ones, the earlier first.
    windows
        By date.
    update
        What the closed test says of the patients since the first alarm's change.
    verdict
        In sentences.
    notes
        About the log that was read.
    """

    study: str
    identity: str
    model: str
    n: int
    events: int
    start: str
    end: str
    left_out: dict[str, int]
    horizon: float
    unit: str
    settings: ChartSettings
    limit: float
    needed: dict[str, tuple[float, float]]
    dates: tuple[str, ...]
    difference: Array = field(repr=False)
    higher: Array = field(repr=False)
    lower: Array = field(repr=False)
    alarms: tuple[ChartAlarm, ...] = ()
    windows: tuple[MonitoringWindow, ...] = ()
    update: Updating | None = None
    verdict: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
