"""`PatientFlow`: who was reviewed, who was left out and why, who stayed. The counts must add up, or it raises."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import pandas as pd

from hepacast.cohort.findings import name_patients
from hepacast.core import views
from hepacast.core.formatting import count_percent
from hepacast.core.records import Record
from hepacast.core.tables import Row, Table, make_table
from hepacast.errors import TableError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Excluded(Record):
    """Patients who were left out for one reason.

    Parameters
    ----------
    reason
        Text in the flow chart.
    patients
        Their study identifiers.
    after_inclusion
        They met the study's rules and were lost later.
    n
        How many.
    """

    reason: str
    patients: tuple[str, ...]
    after_inclusion: bool = False
    n: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "n", len(self.patients))


@dataclass(frozen=True)
class SetCount(Record):
    """Size of one set: patients, and those with the event."""

    n: int
    events: int | None = None


@dataclass(frozen=True)
class FlowCounts(Record):
    """A patient flow in numbers: reviewed = included + sum of excluded.

    Parameters
    ----------
    reviewed
        Patients in the table.
    excluded
        In the order in which the rules were applied.
    included
        Patients who stayed.
    sets
        By name: ``training``, ``validation`` ...; a study without a split has only ``training``.
    """

    reviewed: int
    excluded: tuple[Excluded, ...]
    included: int
    sets: dict[str, SetCount]

    @property
    def left_out(self) -> list[Excluded]:
        """Who was not included, by reason."""
        return [item for item in self.excluded if item.n and not item.after_inclusion]

    @property
    def lost(self) -> list[Excluded]:
        """Who was included and could not be analyzed, by reason."""
        return [item for item in self.excluded if item.n and item.after_inclusion]

    @property
    def n_lost(self) -> int:
        """How many were included and could not be analyzed."""
        return sum(item.n for item in self.lost)


@dataclass(frozen=True, repr=False)
class PatientFlow(views.Shown):
    """The patient flow of a study; every step gives a new object.

    Parameters
    ----------
    reviewed
        All patients of the table, in its order.
    excluded
        Exclusions in the order in which they were applied; a patient has the first reason that fits.
    sets
        Set -> its patients; together exactly the included ones.
    events
        Set -> number of events.
    """

    reviewed: tuple[str, ...]
    excluded: tuple[Excluded, ...] = ()
    sets: tuple[tuple[str, tuple[str, ...]], ...] = ()
    events: tuple[tuple[str, int], ...] = ()

    def __post_init__(self) -> None:
        if len(set(self.reviewed)) != len(self.reviewed):
            raise TableError("The patient flow has a patient twice.")
        left = [patient for step in self.excluded for patient in step.patients]
        _must_be(len(set(left)) == len(left), "a patient was left out twice", left)
        strangers = sorted(set(left) - set(self.reviewed))
        _must_be(not strangers, "patients were left out who are not in the table", strangers)
        if self.sets:
            placed = [patient for _, patients in self.sets for patient in patients]
            _must_be(len(set(placed)) == len(placed), "a patient is in two sets", placed)
            lost = sorted(set(self.included) ^ set(placed))
            _must_be(not lost, "the sets are not the included patients", lost)

    @classmethod
    def start(cls, patients: Iterable[str]) -> PatientFlow:
        """Begin with all patients of the table."""
        return cls(tuple(patients))

    def exclude(self, reason: str, patients: Iterable[str], *, after_inclusion: bool = False) -> PatientFlow:
        """Leave out patients; those who were left out before keep their first reason.

        Parameters
        ----------
        after_inclusion
            They were included by the study's rules, and could not be analyzed.

        Raises
        ------
        TableError
            A patient is not in the table.
        """
        wanted = set(patients)
        strangers = sorted(wanted - set(self.reviewed))
        _must_be(not strangers, f"the exclusion {reason!r} names patients who are not in the table", strangers)
        still = tuple(patient for patient in self.included if patient in wanted)
        return replace(self, excluded=(*self.excluded, Excluded(reason, still, after_inclusion)))

    def with_sets(self, sets: Mapping[str, Iterable[str]], events: Mapping[str, int] | None = None) -> PatientFlow:
        """Divide the included patients.

        Raises
        ------
        TableError
            The sets are not exactly the included patients.
        """
        placed = tuple((name, tuple(patients)) for name, patients in sets.items())
        counted = tuple((events or {}).items())
        return replace(self, sets=placed, events=counted)

    @property
    def included(self) -> tuple[str, ...]:
        """Patients who stayed, in the table's order."""
        left = {patient for step in self.excluded for patient in step.patients}
        return tuple(patient for patient in self.reviewed if patient not in left)

    @property
    def lost(self) -> tuple[str, ...]:
        """Patients who were included and could not be analyzed."""
        return tuple(patient for step in self.excluded if step.after_inclusion for patient in step.patients)

    def reason_of(self, patient: str) -> str:
        """Why a patient was left out; empty when included."""
        return next((step.reason for step in self.excluded if patient in step.patients), "")

    def counts(self) -> FlowCounts:
        """The flow in numbers: the content of ``flow.json``."""
        events = dict(self.events)
        sets = {name: SetCount(len(patients), events.get(name)) for name, patients in self.sets}
        return FlowCounts(len(self.reviewed), self.excluded, len(self.included), sets)

    def to_frame(self) -> pd.DataFrame:
        """One row per patient: ``set`` (empty when left out) and ``reason`` (empty when included)."""
        where = {patient: name for name, patients in self.sets for patient in patients}
        index = pd.Index(list(self.reviewed), name="patient", dtype=object)
        return pd.DataFrame(
            {
                "set": [where.get(patient, "") for patient in self.reviewed],
                "reason": [self.reason_of(patient) for patient in self.reviewed],
            },
            index=index,
        )


def _must_be(condition: bool, what: str, patients: Iterable[str]) -> None:
    if not condition:
        raise TableError(f"The patient flow does not add up: {what}.", found=name_patients(dict.fromkeys(patients)))


@views.table.register
def _(record: FlowCounts) -> Table:
    """Reviewed, left out with reasons, included, and the sets with their events."""
    rows: list[Row] = [Row(("Reviewed", str(record.reviewed)), "group")]
    rows += [Row((f"excluded: {step.reason}", str(step.n)), "indent") for step in record.left_out]
    rows.append(Row(("Included", str(record.included + record.n_lost)), "group"))
    rows += [Row((f"not analyzed: {step.reason}", str(step.n)), "indent") for step in record.lost]
    for name, count in record.sets.items():
        events = "" if count.events is None else count_percent(count.events, count.n)
        rows.append(Row((f"{name} set", str(count.n), events), "indent"))
    return make_table("Patient flow", ["", "Patients", "Events"], rows)


@views.table.register
def _(record: PatientFlow) -> Table:
    return views.table(record.counts())


@views.drawings.register
def _(record: PatientFlow) -> views.Drawings:
    """`flow`: the chart that STROBE and TRIPOD ask for."""
    return {"flow": partial(draw_patient_flow, record.counts())}


def draw_patient_flow(flow: FlowCounts, event_label: str = "event") -> Figure:
    """The flow chart (matplotlib figure); `event_label` is printed with the events of each set."""
    from hepacast.figures.flow import FlowSet, draw_flow

    early, late = ([(step.reason, step.n) for step in part] for part in (flow.left_out, flow.lost))
    sets = [FlowSet(name, item.n, item.events or 0) for name, item in flow.sets.items()]
    included = flow.included + flow.n_lost
    return draw_flow(flow.reviewed, early, included, sets, lost=late, event_label=event_label)
