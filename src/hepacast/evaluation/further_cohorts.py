"""Cohorts with follow-up but without the outcome, divided by the frozen model, as `further/further.json` holds them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from hepacast.core.estimates import Estimate
from hepacast.core.records import Record
from hepacast.evaluation.risk_groups import RiskGroups


@dataclass(frozen=True)
class FurtherResult(Record):
    """One further cohort.

    Attributes
    ----------
    cohort, end_point, unit
        Which patients, what they were followed for, unit of time.
    model, cut
        The frozen main model and its training cut-off.
    auc
        Time-dependent AUC by time; its `reason` where it does not exist.
    groups
        Risk groups; None with the reason.
    """

    cohort: str
    end_point: str
    unit: str
    n: int
    events: int
    model: str
    cut: float = math.nan
    auc: dict[float, Estimate] = field(default_factory=dict)
    groups: RiskGroups | None = None
    reason: str = ""
