"""What is predicted: `BinaryOutcome` and `SurvivalOutcome`, validated when they are made, behind one face.

Both hold only patients whose outcome is known. Patients whose outcome cannot be told stand in `unknown` with the
reason, so that the flow diagram counts them; nobody is dropped in silence.

The face, that nobody has to ask which of the two it is: `events`, `classes`, `codes`, `y`, `horizons`, `unit`,
`known_at`, `labels`, `select`, `risk_label`, `positive`, `negative`, `measure`, `n`, `n_events`, `n_competing`,
`has_time`, `suffices`, `by_patient`, `facts`; `outcome_from_json` reads both back.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from hepacast.cohort.findings import Finding, name_patients
from hepacast.core.records import Record
from hepacast.errors import OutcomeError
from hepacast.stats.censoring import KnownStates, known_states

#: The horizon of an outcome without time: the event, whenever it comes.
EVER = math.inf

TIME_UNITS: dict[str, float] = {"days": 1.0, "weeks": 7.0, "months": 365.25 / 12, "years": 365.25}


@dataclass(frozen=True)
class OutcomeFacts(Record):
    """An outcome in words and numbers, without its patients.

    Parameters
    ----------
    name, positive, negative
        Outcome and the names of its two groups.
    definition, source
        The definition in words, and the guideline or paper it comes from.
    n, n_events, n_competing
        Patients, events, competing events.
    kind
        ``binary`` or ``survival``.
    conditions
        How many patients fired each condition of the definition.
    several
        How many patients fired more than one.
    unit, horizons
        Of time to an event.
    unknown
        Patients without an outcome, and why.
    """

    name: str
    positive: str
    negative: str
    definition: str
    n: int
    n_events: int
    kind: str = "binary"
    source: str = ""
    conditions: dict[str, int] = field(default_factory=dict)
    several: int = 0
    n_competing: int = 0
    unit: str = ""
    horizons: tuple[float, ...] = ()
    unknown: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class BinaryOutcome:
    """An event that happened or not.

    Parameters
    ----------
    name
        Name in tables and figures, for example ``PTLF``.
    values
        0 or 1 by patient (index: identifier as text), no missing values.
    positive, negative
        Names of the two groups.
    source
        Definition with its citation.
    conditions
        For a composite outcome: which condition fired, by patient (0, 1, NaN for not recorded).
    unknown
        Patients whose outcome cannot be told, with the reason.
    findings
        What the derivation had to say.

    Raises
    ------
    OutcomeError
        Values other than 0 and 1, missing values, repeated patients, or one class only.
    """

    name: str
    values: pd.Series
    positive: str = "event"
    negative: str = "no event"
    source: str = ""
    conditions: pd.DataFrame | None = None
    unknown: Mapping[str, str] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    #: Whether there is a time to the event; unit of it; times at which risks are given (here the one without a name).
    has_time: ClassVar[bool] = False
    unit: ClassVar[str] = ""
    horizons: ClassVar[tuple[float, ...]] = (EVER,)
    n_competing: ClassVar[int] = 0
    #: How well a score ranks patients is told by this.
    measure: ClassVar[str] = "AUC"

    def __post_init__(self) -> None:
        values = _with_text_index(self.values)
        _check_patients(self.name, values)
        _check_missing(self.name, values)
        _check_codes(self.name, values, "the outcome")
        values = values.astype("int64").rename(self.name)
        object.__setattr__(self, "values", values)
        if self.conditions is not None:
            patients = pd.Index([str(name) for name in self.conditions.index], name="patient", dtype=object)
            object.__setattr__(self, "conditions", self.conditions.set_axis(patients, axis=0))
        counts = values.value_counts()
        if len(counts) < 2:
            only = self.positive if len(counts) and counts.index[0] == 1 else self.negative
            raise OutcomeError(
                f"The outcome {self.name!r} has one class only.",
                expected="patients with and without the event",
                found=f"{len(values)} patients, all {only!r}" if len(values) else "no patients",
                remedy="check the outcome's columns and which values mean the event",
            )

    @property
    def risk_label(self) -> str:
        """Title of an axis of risks: ``Risk of early recurrence``, ``Risk of PTLF``."""
        plain = self.name[1:2].islower() or len(self.name) == 1
        return f"Risk of {self.name[:1].lower() + self.name[1:] if plain else self.name}"

    @property
    def events(self) -> pd.Series:
        """1 for the event, else 0, by patient."""
        return self.values

    @property
    def codes(self) -> pd.Series:
        """As `events`: there is no censoring, and nothing competes."""
        return self.values

    @property
    def classes(self) -> npt.NDArray[np.int64]:
        """What folds and samples are stratified by, 0 and 1."""
        return self.values.to_numpy(dtype=np.int64)

    @property
    def y(self) -> npt.NDArray[np.int64]:
        """What estimators learn from, shape (n,)."""
        return self.classes

    def known_at(self, horizon: float = EVER) -> KnownStates:
        """State of each patient, and weight 1: everybody's is known."""
        return KnownStates(self.classes, np.ones(self.n))

    def suffices(self, patients: Iterable[str]) -> bool:
        """Whether models of these patients can be judged: some have the event, and some have not."""
        values = self.values.reindex(list(patients)).dropna()
        return bool(0 < values.sum() < len(values))

    @property
    def n(self) -> int:
        """Number of patients with a known outcome."""
        return len(self.values)

    @property
    def n_events(self) -> int:
        """Number of events."""
        return int(self.values.sum())

    @property
    def prevalence(self) -> float:
        """Share of patients with the event."""
        return self.n_events / self.n

    @property
    def patients(self) -> list[str]:
        """Patients with a known outcome."""
        return list(self.values.index)

    def labels(self) -> pd.Series:
        """Group names by patient."""
        return self.values.map({0: self.negative, 1: self.positive}).rename(self.name)

    def select(self, patients: Iterable[str]) -> BinaryOutcome:
        """The outcome of some patients, in the order given.

        Raises
        ------
        OutcomeError
            They are all of one class.
        """
        order = list(patients)
        conditions = (
            self.conditions.reindex(pd.Index(order, name="patient", dtype=object))
            if self.conditions is not None
            else None
        )
        return replace(self, values=self.values.loc[order], conditions=conditions)

    def by_patient(self) -> dict[str, Any]:
        """The values, as ``outcome.json`` holds them beside `facts`."""
        content: dict[str, Any] = {"values": {patient: int(value) for patient, value in self.values.items()}}
        if self.conditions is not None:
            content["conditions_by_patient"] = {
                str(name): [None if pd.isna(value) else int(value) for value in column]
                for name, column in self.conditions.items()
            }
        return content

    def facts(self) -> OutcomeFacts:
        """What it is, in words and numbers."""
        fired = pd.DataFrame() if self.conditions is None else self.conditions.reindex(self.patients) == 1
        return OutcomeFacts(
            name=self.name,
            kind="binary",
            positive=self.positive,
            negative=self.negative,
            definition=self.source,
            source=self.source,
            n=self.n,
            n_events=self.n_events,
            conditions={str(name): int(column.sum()) for name, column in fired.items()},
            several=int((fired.sum(axis=1) > 1).sum()),
            unknown=dict(self.unknown),
        )


@dataclass(frozen=True)
class SurvivalOutcome:
    """Time to an event or to the last contact.

    Parameters
    ----------
    name
        Name in tables and figures, for example ``time to progression``.
    time
        By patient, above 0, in `unit`.
    event
        1 for the event, 0 for censored, by patient.
    competing
        1 for a competing event, after which the event cannot come any more; their `event` is 0. None: there are none.
    positive
        Name of the event in tables and figures.
    unit
        ``days``, ``weeks``, ``months`` or ``years``.
    horizons
        Times at which risks are given, rising, in `unit`; the last is the main one.
    source
        Where time and event come from.
    unknown
        Patients without time or event, with the reason.
    findings
        What the derivation had to say.

    Raises
    ------
    OutcomeError
        Times of 0 or less, events other than 0 and 1, missing values, no event at all.
    """

    name: str
    time: pd.Series
    event: pd.Series
    unit: str = "days"
    source: str = ""
    unknown: Mapping[str, str] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    competing: pd.Series | None = None
    positive: str = "event"
    horizons: tuple[float, ...] = ()

    has_time: ClassVar[bool] = True
    measure: ClassVar[str] = "C"

    def __post_init__(self) -> None:
        time, event = _with_text_index(self.time), _with_text_index(self.event)
        if self.unit not in TIME_UNITS:
            raise OutcomeError(f"{self.unit!r} is not a unit of time.", expected=", ".join(TIME_UNITS))
        if not time.index.equals(event.index):
            raise OutcomeError(f"Time and event of {self.name!r} are not of the same patients.")
        _check_patients(self.name, time)
        _check_missing(f"{self.name} (time)", time)
        _check_missing(f"{self.name} (event)", event)
        _check_codes(self.name, event, "the event")
        bad = time.index[~(time.astype(float) > 0) | ~np.isfinite(time.astype(float))]
        if len(bad):
            raise OutcomeError(
                f"{len(bad)} patients have a time of 0 or less in {self.name!r}.",
                expected="times above 0",
                found=", ".join(f"{patient}: {time[patient]:g}" for patient in bad[:10]),
                remedy="correct the dates; if a zero means an event on the first day, write half a day; "
                "or leave these patients out with a reason",
            )
        if not int(event.sum()):
            raise OutcomeError(
                f"{self.name!r} has no event.",
                expected="at least one event (1)",
                found=f"{len(event)} censored patients",
                remedy="check which values of the event column mean the event",
            )
        object.__setattr__(self, "time", time.astype("float64").rename("time"))
        object.__setattr__(self, "event", event.astype("int64").rename("event"))
        if self.competing is not None:
            competing = _with_text_index(self.competing).reindex(time.index)
            _check_missing(f"{self.name} (competing event)", competing)
            _check_codes(self.name, competing, "the competing event")
            both = competing.index[(competing == 1) & (event == 1)]
            if len(both):
                raise OutcomeError(
                    f"{len(both)} patients have both the event and the competing one in {self.name!r}.",
                    found=name_patients(both),
                    remedy="give each value of the event column one meaning",
                )
            object.__setattr__(self, "competing", competing.astype("int64").rename("competing"))

    @property
    def risk_label(self) -> str:
        """Title of an axis of risks: ``Risk of progression by 24 months``."""
        return f"Risk of {self.positive}" + (f" by {self.horizons[-1]:g} {self.unit}" if self.horizons else "")

    @property
    def negative(self) -> str:
        """Name of those without the event."""
        return f"no {self.positive}"

    @property
    def events(self) -> pd.Series:
        """1 for the event, else 0, by patient."""
        return self.event

    @property
    def classes(self) -> npt.NDArray[np.int64]:
        """What folds and samples are stratified by: 1 for the event, else 0."""
        return self.event.to_numpy(dtype=np.int64)

    @property
    def y(self) -> npt.NDArray[np.float64]:
        """What estimators learn from: time and code, shape (n, 2)."""
        return np.column_stack([self.time.to_numpy(dtype=float), self.codes.to_numpy(dtype=float)])

    def known_at(self, horizon: float) -> KnownStates:
        """State at a horizon, and the inverse probability of not being censored as weight; 0: not known."""
        return known_states(self.y[:, 0], self.y[:, 1], horizon)

    def labels(self) -> pd.Series:
        """What was seen last, by patient."""
        names = {0: "censored", 1: self.positive, 2: "competing event"}
        return self.codes.map(names).rename(self.name)

    def suffices(self, patients: Iterable[str]) -> bool:
        """Whether models of these patients can be judged: some have the event."""
        return bool(self.event.reindex(list(patients)).sum() > 0)

    @property
    def codes(self) -> pd.Series:
        """0 censored, 1 event, 2 competing event, by patient."""
        return self.event if self.competing is None else (self.event + 2 * self.competing).rename("event")

    @property
    def n_competing(self) -> int:
        """Number of competing events."""
        return 0 if self.competing is None else int(self.competing.sum())

    @property
    def n(self) -> int:
        """Number of patients."""
        return len(self.time)

    @property
    def n_events(self) -> int:
        """Number of events."""
        return int(self.event.sum())

    @property
    def patients(self) -> list[str]:
        """Patients with known time and event."""
        return list(self.time.index)

    def in_unit(self, unit: str) -> SurvivalOutcome:
        """The same follow-up in another unit of time (a month is 365.25 / 12 days)."""
        if unit not in TIME_UNITS:
            raise OutcomeError(f"{unit!r} is not a unit of time.", expected=", ".join(TIME_UNITS))
        return replace(self, time=self.time * (TIME_UNITS[self.unit] / TIME_UNITS[unit]), unit=unit)

    def select(self, patients: Iterable[str]) -> SurvivalOutcome:
        """The outcome of some patients, in the order given."""
        order = list(patients)
        competing = None if self.competing is None else self.competing.loc[order]
        return replace(self, time=self.time.loc[order], event=self.event.loc[order], competing=competing)

    def by_patient(self) -> dict[str, Any]:
        """The follow-up, as ``outcome.json`` holds it beside `facts`."""
        values: dict[str, Any] = {
            "time": {str(patient): float(value) for patient, value in self.time.items()},
            "event": {str(patient): int(value) for patient, value in self.event.items()},
        }
        if self.competing is not None:
            values["competing"] = {str(patient): int(value) for patient, value in self.competing.items()}
        return values

    def facts(self) -> OutcomeFacts:
        """What it is, in words and numbers."""
        return OutcomeFacts(
            name=self.name,
            kind="survival",
            positive=self.positive,
            negative=self.negative,
            definition=self.source,
            source=self.source,
            n=self.n,
            n_events=self.n_events,
            n_competing=self.n_competing,
            unit=self.unit,
            horizons=self.horizons,
            unknown=dict(self.unknown),
        )


Outcome = BinaryOutcome | SurvivalOutcome


def outcome_from_json(entry: Mapping[str, Any]) -> Outcome:
    """The inverse of `facts` with `by_patient`."""
    own = {key: entry[key] for key in ("name", "source", "positive")} | {"unknown": entry.get("unknown", {})}
    if entry["kind"] == "binary":
        values = pd.Series(entry["values"], dtype="int64")
        conditions = None
        if "conditions_by_patient" in entry:
            index = pd.Index(list(values.index), name="patient", dtype=object)
            conditions = pd.DataFrame(entry["conditions_by_patient"], index=index, dtype="float64")
        return BinaryOutcome(**own, values=values, negative=entry["negative"], conditions=conditions)
    other = entry.get("competing")
    return SurvivalOutcome(
        **own,
        time=pd.Series(entry["time"], dtype="float64"),
        event=pd.Series(entry["event"], dtype="int64"),
        unit=entry["unit"],
        competing=None if other is None else pd.Series(other, dtype="int64"),
        horizons=tuple(entry.get("horizons", ())),
    )


def check_horizons(outcome: Outcome, times: Iterable[float]) -> list[OutcomeError]:
    """One error for each horizon at which these patients, of the training set, tell nothing.

    Parameters
    ----------
    outcome
        Of the patients on whom the models are fitted; one without time has no horizon that could be wrong.
    times
        Horizons in the unit of the outcome; each must lie between the first event and the longest follow-up.
    """
    if isinstance(outcome, BinaryOutcome):
        return []
    events = outcome.time[outcome.event == 1]
    first, last = float(events.min()), float(outcome.time.max())
    return [
        OutcomeError(
            f"Nothing can be predicted at the horizon {t:g} {outcome.unit}.",
            expected=f"from the first event, {first:g}, to the longest follow-up, {last:g}",
            found=f"{int((events <= t).sum())} events by then, {int((outcome.time > t).sum())} patients beyond",
            where="outcome.horizons",
            remedy="choose horizons within the follow-up of the training set, in the unit of the time column",
        )
        for t in times
        if t < first or t > last
    ]


def unknown_findings(outcome: Outcome) -> list[Finding]:
    """One warning for each patient whose outcome cannot be told."""
    return [
        Finding("warning", "outcome-unknown", f"the outcome cannot be told: {reason}", patient, column=outcome.name)
        for patient, reason in outcome.unknown.items()
    ]


def _with_text_index(values: pd.Series) -> pd.Series:
    series = pd.Series(values).copy()
    series.index = pd.Index([str(patient) for patient in series.index], name="patient", dtype=object)
    return series


def _check_patients(name: str, values: pd.Series) -> None:
    double = values.index[values.index.duplicated()]
    if len(double):
        raise OutcomeError(f"The outcome {name!r} has a patient twice.", found=name_patients(dict.fromkeys(double)))


def _check_missing(name: str, values: pd.Series) -> None:
    lacking = values.index[values.isna()]
    if len(lacking):
        raise OutcomeError(
            f"The outcome {name!r} is missing for {len(lacking)} of {len(values)} patients.",
            found=name_patients(lacking),
            remedy="complete the table, or leave these patients out with a reason that the flow diagram shows",
        )


def _check_codes(name: str, values: pd.Series, what: str) -> None:
    numbers = pd.to_numeric(values, errors="coerce")
    wrong = values[~numbers.isin([0, 1])]
    if len(wrong):
        shown = ", ".join(f"{patient}: {value!r}" for patient, value in wrong.head(5).items())
        raise OutcomeError(
            f"The outcome {name!r} has values other than 0 and 1.",
            expected=f"1 where {what} happened, 0 where it did not",
            found=f"{shown}{' ...' if len(wrong) > 5 else ''}",
            remedy="say in the study file which values mean the event",
        )
