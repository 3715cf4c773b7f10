"""What the report reads from `cohort/`: flow, outcome, columns, findings, comparisons of groups, planted truth."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from hepacast.core.records import Record
from hepacast.stats.table_one import TableOne

#: Names of what is added to the columns where lost patients are compared with the others.
LOST_EVENT, LOST_VOLUME = "event of the outcome", "volume of "


@dataclass(frozen=True)
class Excluded:
    """Patients left out for one reason.

    Parameters
    ----------
    reason
        Text in the flow chart.
    n
        How many.
    patients
        Their study identifiers.
    after_inclusion
        They were included by the study's rules and could not be analyzed.
    """

    reason: str
    n: int
    patients: list[str] = field(default_factory=list)
    after_inclusion: bool = False


@dataclass(frozen=True)
class SetCount:
    """Size of one set: patients, and those with the event."""

    n: int
    events: int | None = None


@dataclass(frozen=True)
class Flow:
    """`modelling/flow.json` (before it, `cohort/flow.json`): reviewed = included + sum of excluded.

    Parameters
    ----------
    reviewed
        Patients in the table (or reviewed in the hospital, where the study file says so).
    excluded
        In the order in which the rules were applied.
    included
        Patients who were analyzed.
    sets
        By name: ``training``, ``validation`` ...; a study without a split has only ``training``.
    """

    reviewed: int
    excluded: list[Excluded]
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


@dataclass(frozen=True)
class OutcomeInfo:
    """`modelling/outcome.json` (before it, `cohort/outcome.json`): of the patients who were analyzed.

    Parameters
    ----------
    name, positive, negative
        Outcome and the names of its two groups.
    definition, source
        The definition in words, and the guideline or paper it comes from.
    n, n_events
        Patients and events.
    conditions
        How many patients fired each condition of the definition.
    several
        How many patients fired more than one.
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


@dataclass(frozen=True)
class ColumnInfo:
    """One entry of `cohort/columns.json`."""

    name: str
    label: str
    kind: str
    unit: str | None = None
    levels: list[str] | None = None
    candidate: bool = False


@dataclass(frozen=True)
class FindingInfo:
    """One entry of `cohort/findings.json`, what the checks of the table had to say."""

    severity: Literal["error", "warning", "note"]
    code: str
    message: str
    patient: str | None = None
    row: int | None = None
    column: str | None = None


@dataclass(frozen=True)
class Comparisons(Record):
    """`cohort/comparisons.json`, and `modelling/comparisons.json` of the patients who were analyzed.

    Parameters
    ----------
    by_outcome
        Training set, outcome groups (positive first): Table 2; None for a time-to-event outcome.
    by_set
        Sets against each other: Supplementary Table 2; None without a validation set.
    segmentation
        The patients whose masks trained and tested the network, by ``training`` / ``test``: Supplementary Table 1.
    lost
        Patients who were included and could not be analyzed, beside the others.
    """

    by_outcome: TableOne | None = None
    by_set: TableOne | None = None
    segmentation: TableOne | None = None
    lost: TableOne | None = None


@dataclass(frozen=True)
class TrueTerm:
    """One planted effect of a virtual cohort: log odds per unit or per SD, as the label says."""

    label: str
    coefficient: float


@dataclass(frozen=True)
class Truth:
    """`cohort/truth.json`, only for virtual patients: what was planted.

    Parameters
    ----------
    planted
        False where no effect was planted: then every AUC should be 0.50.
    bayes_auc
        AUC of the true risk, by set: no model can be better in the long run.
    terms
        The planted effects.
    description
        One sentence on the truth.
    """

    planted: bool
    bayes_auc: dict[str, float]
    terms: list[TrueTerm] = field(default_factory=list)
    description: str = ""
