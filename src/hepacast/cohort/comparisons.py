"""`Comparisons`: the tables that compare groups of a study's patients."""

from __future__ import annotations

from dataclasses import dataclass

from hepacast.core.records import Record
from hepacast.stats.table_one import TableOne

#: Names of what is added to the columns where lost patients are compared with the others.
LOST_EVENT, LOST_VOLUME = "event of the outcome", "volume of "


@dataclass(frozen=True)
class Comparisons(Record):
    """`cohort/comparisons.json`, and `modelling/comparisons.json` of the patients who were analyzed.

    Parameters
    ----------
    by_outcome
        Training set, outcome groups (positive first): Table 2; None for a time-to-event outcome.
    by_set
        Sets against each other: Table S2; None without a validation set.
    segmentation
        The patients whose masks trained and tested the network, by ``training`` / ``test``: Table S1.
    lost
        Patients who were included and could not be analyzed, beside the others.
    """

    by_outcome: TableOne | None = None
    by_set: TableOne | None = None
    segmentation: TableOne | None = None
    lost: TableOne | None = None
