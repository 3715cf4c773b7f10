"""Staging systems and prognostic indexes beside the main model, as `indexes/indexes.json` holds them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hepacast.core.estimates import Estimate
from hepacast.core.records import Record
from hepacast.evaluation.reclassification import Change


@dataclass(frozen=True)
class AboutScore(Record):
    """A staging system or index: title, source, how many patients lack it and the commonest reason."""

    name: str
    title: str
    source: str
    n_missing: int = 0
    reason: str = ""


@dataclass(frozen=True)
class IndexRow(Record):
    """One score on one set, beside the main model on the same patients.

    Attributes
    ----------
    discrimination
        AUC of the score, or C where the outcome is a time (`IndexResults.measure`).
    c_index
        C of the study's further follow-up, where it has one.
    difference, p
        Discrimination of the model minus that of the score.
    nri
        Continuous net reclassification improvement of the model over a logistic model of the score; None where the
        outcome is a time, of which a score alone has no risk.
    reason
        Why the score is not compared.
    """

    name: str
    n: int
    events: int
    discrimination: Estimate | None = None
    c_index: Estimate | None = None
    difference: Estimate | None = None
    p: float = math.nan
    nri: Change | None = None
    reason: str = ""


@dataclass(frozen=True)
class IndexSet(Record):
    """All scores on one set, and the main model's AUC or C there."""

    kind: str
    n: int
    events: int
    discrimination: Estimate
    c_index: Estimate | None
    rows: tuple[IndexRow, ...]


@dataclass(frozen=True)
class IndexResults(Record):
    """`indexes/indexes.json`."""

    model: str
    scores: tuple[AboutScore, ...]
    sets: dict[str, IndexSet]
    measure: str = "AUC"
