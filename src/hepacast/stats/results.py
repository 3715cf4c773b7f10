"""What a test returns: its name, its numbers, or the reason why there are none."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hepacast.core import views
from hepacast.core.formatting import p_sentence, short, with_interval
from hepacast.core.records import Record


@dataclass(frozen=True)
class TestResult(Record, views.Shown):
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


@views.sentence.register
def _(found: TestResult) -> str:
    if not found.ok:
        return f"{found.name}: none ({found.reason})."
    degrees = ", ".join(short(value) for value in (found.df, found.df2) if not math.isnan(value))
    parts = [] if math.isnan(found.statistic) else [f"statistic {short(found.statistic)}"]
    parts += [f"df {degrees}"] if degrees else []
    parts += [] if math.isnan(found.estimate) else [f"estimate {with_interval(found.estimate, *found.ci, words=True)}"]
    return f"{found.name}: {', '.join([*parts, p_sentence(found.p)])}."


def impossible(name: str, reason: str) -> TestResult:
    """A test that could not be made."""
    return TestResult(name, status="impossible", reason=reason)


@dataclass(frozen=True)
class ModelTest(Record):
    """A chi-square test of a model, or of some of its terms."""

    chi2: float
    df: int
    p: float
