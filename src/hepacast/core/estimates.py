"""A number with its confidence limits: one class for it, from the formula that makes it to the table that shows it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hepacast.core.records import Record


@dataclass(frozen=True)
class Estimate(Record):
    """An estimate with its limits and their level.

    Attributes
    ----------
    value
        NaN where there is none; `reason` says why.
    low, high
        Confidence limits; NaN where there are none.
    level
        Confidence level of the limits, such as 0.95; NaN where it is not stated.
    se
        Standard error, where there is one.
    reason
        Why the value or its limits are missing.
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    level: float = math.nan
    se: float = math.nan
    reason: str = ""

    @property
    def known(self) -> bool:
        """Whether there is a value."""
        return math.isfinite(self.value)

    @property
    def has_limits(self) -> bool:
        """Whether both limits are known."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    @property
    def ci(self) -> tuple[float, float]:
        """Both limits."""
        return self.low, self.high


def missing(reason: str) -> Estimate:
    """No estimate, and why."""
    return Estimate(math.nan, reason=reason)
