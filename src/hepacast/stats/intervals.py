"""Confidence intervals of proportions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import beta, norm

from hepacast.errors import ModelError

METHODS = ("exact", "wilson", "wald")


def level_text(level: float) -> str:
    """A confidence level as printed: ``95%``, ``97.5%``."""
    return f"{100 * level:g}%"


def ci_label(level: float) -> str:
    """What heads an interval of this level in a table or figure: ``95% CI``."""
    return f"{level_text(level)} CI"


@dataclass(frozen=True)
class Proportion:
    """A proportion with its confidence limits; NaN with a reason where nobody could be counted."""

    events: int
    total: int
    estimate: float
    low: float
    high: float
    method: str
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "events": self.events,
            "total": self.total,
            "estimate": self.estimate,
            "ci": [self.low, self.high],
            "method": self.method,
            "reason": self.reason,
        }

    def __str__(self) -> str:
        if self.total == 0:
            return "–"
        return f"{self.estimate:.3f} ({self.low:.3f}–{self.high:.3f})"


def proportion(events: int, total: int, *, method: str = "exact", level: float = 0.95) -> Proportion:
    """A proportion with confidence limits.

    Parameters
    ----------
    method
        `exact` (Clopper-Pearson, R's `binom.test`), `wilson` (score without continuity correction, R's
        `prop.test(correct = FALSE)`) or `wald`.

    References
    ----------
    Clopper CJ, Pearson ES. Biometrika 1934;26:404-13. Wilson EB. JASA 1927;22:209-12.
    """
    if method not in METHODS:
        raise ModelError("Unknown interval for a proportion.", expected=", ".join(METHODS), found=method)
    if not 0 <= events <= total:
        raise ModelError(
            "A proportion counts some out of all.", expected="0 <= events <= total", found=f"{events}/{total}"
        )
    if total == 0:
        return Proportion(events, total, np.nan, np.nan, np.nan, method, "no patient to count")
    share = events / total
    tail = (1.0 - level) / 2.0
    z = float(norm.ppf(1.0 - tail))
    if method == "exact":
        low = float(beta.ppf(tail, events, total - events + 1)) if events > 0 else 0.0
        high = float(beta.ppf(1.0 - tail, events + 1, total - events)) if events < total else 1.0
    elif method == "wilson":
        center = (share + z**2 / (2 * total)) / (1 + z**2 / total)
        half = z / (1 + z**2 / total) * np.sqrt(share * (1 - share) / total + z**2 / (4 * total**2))
        low, high = max(0.0, float(center - half)), min(1.0, float(center + half))
    else:
        half = z * np.sqrt(share * (1 - share) / total)
        low, high = max(0.0, float(share - half)), min(1.0, float(share + half))
    return Proportion(int(events), int(total), share, low, high, method)
