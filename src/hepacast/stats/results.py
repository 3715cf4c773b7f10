"""What a test returns: its name, its numbers, or the reason why there are none."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from hepacast.core.records import Record


@dataclass(frozen=True)
class TestResult:
    """One statistical test.

    Attributes
    ----------
    name
        The test's name, as a table's footnote would give it.
    statistic, p, df, df2
        Test statistic, two-sided P value, degrees of freedom (the second for F tests).
    estimate, ci
        Effect (difference of means, odds ratio ...; each test says which) and its confidence limits.
    status, reason
        `ok`, or `impossible` with the reason; then all numbers are NaN.
    """

    __test__ = False  # not a test class, whatever pytest thinks of its name

    name: str
    statistic: float = float("nan")
    p: float = float("nan")
    df: float = float("nan")
    df2: float = float("nan")
    estimate: float = float("nan")
    ci: tuple[float, float] = (float("nan"), float("nan"))
    status: str = "ok"
    reason: str = ""

    @property
    def ok(self) -> bool:
        """Whether the test could be made."""
        return self.status == "ok"

    def to_json(self) -> dict[str, Any]:
        """The numbers as plain values; a number that the test does not have is NaN, and `reason` names it."""
        named = {"statistic": self.statistic, "P": self.p, "df": self.df, "estimate": self.estimate}
        named["limits"] = sum(self.ci)
        lacking = [name for name, value in named.items() if not math.isfinite(value)]
        reason = self.reason or (f"this test has no {', '.join(lacking)}" if lacking else "")
        return {
            "test": self.name,
            "statistic": self.statistic,
            "p": self.p,
            "df": self.df,
            "estimate": self.estimate,
            "ci": list(self.ci),
            "status": self.status,
            "reason": reason,
        }


def impossible(name: str, reason: str) -> TestResult:
    """A test that could not be made."""
    return TestResult(name, status="impossible", reason=reason)


@dataclass(frozen=True)
class ModelTest(Record):
    """A chi-square test of a model, or of some of its terms."""

    chi2: float
    df: int
    p: float
