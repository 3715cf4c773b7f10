"""`PatientFlow`: who was reviewed, who was left out and why, who stayed. The counts must add up, or it raises."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from hepacast.cohort.findings import name_patients
from hepacast.errors import TableError


@dataclass(frozen=True)
class Excluded:
    """Patients who were left out for one reason; `after_inclusion`: they met the study's rules and were lost later."""

    reason: str
    patients: tuple[str, ...]
    after_inclusion: bool = False


@dataclass(frozen=True)
class PatientFlow:
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

    def to_json(self) -> dict[str, Any]:
        """The content of ``flow.json``."""
        events = dict(self.events)
        return {
            "reviewed": len(self.reviewed),
            "excluded": [
                {
                    "reason": step.reason,
                    "n": len(step.patients),
                    "patients": list(step.patients),
                    "after_inclusion": step.after_inclusion,
                }
                for step in self.excluded
            ],
            "included": len(self.included),
            "sets": {name: {"n": len(patients), "events": events.get(name)} for name, patients in self.sets},
        }

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
