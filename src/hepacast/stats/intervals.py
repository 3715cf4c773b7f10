"""Confidence intervals of proportions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, norm

from hepacast.core.estimates import Estimate
from hepacast.errors import ModelError

METHODS = ("exact", "wilson", "wald")


def level_text(level: float) -> str:
    """A confidence level as printed: ``95%``, ``97.5%``."""
    return f"{100 * level:g}%"


def ci_label(level: float) -> str:
    """What heads an interval of this level in a table or figure: ``95% CI``."""
    return f"{level_text(level)} CI"


@dataclass(frozen=True)
class Proportion(Estimate):
    """A proportion with its confidence limits; NaN with a reason where nobody could be counted.

    Attributes
    ----------
    events, total
        Who counts, out of how many; sums of weights where patients stand for others.
    method
        Of the limits (`METHODS`).
    """

    events: float = 0
    total: float = 0
    method: str = ""

    def __str__(self) -> str:
        if self.total == 0:
            return "–"
        return f"{self.value:.3f} ({self.low:.3f}–{self.high:.3f})"


def proportion(events: float, total: float, *, method: str = "exact", level: float = 0.95) -> Proportion:
    """A proportion with confidence limits.

    Parameters
    ----------
    events, total
        Counts; also real numbers, such as an effective number of patients (Korn and Graubard).
    method
        `exact` (Clopper-Pearson, R's `binom.test`), `wilson` (score without continuity correction, R's
        `prop.test(correct = FALSE)`) or `wald`.

    References
    ----------
    Clopper CJ, Pearson ES. Biometrika 1934;26:404-13. Wilson EB. JASA 1927;22:209-12. Korn EL, Graubard BI. Surv
    Methodol 1998;24:193-201.
    """
    if method not in METHODS:
        raise ModelError("Unknown interval for a proportion.", expected=", ".join(METHODS), found=method)
    if not 0 <= events <= total:
        raise ModelError(
            "A proportion counts some out of all.", expected="0 <= events <= total", found=f"{events}/{total}"
        )
    if total == 0:
        return Proportion(np.nan, level=level, reason="no patient to count", events=0, total=0, method=method)
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
    return Proportion(share, low, high, level, events=events, total=total, method=method)


def weighted_proportion(member: NDArray[np.bool_], weight: NDArray[np.float64], *, level: float = 0.95) -> Proportion:
    """Share of the weight that members have; exact limits at the effective number of patients, (sum w)^2 / sum w^2.

    With weights 1 this is `proportion`.
    """
    total = float(weight.sum())
    if not total > 0:
        return proportion(0, 0, level=level)
    events = float(weight[member].sum())
    effective = total**2 / float((weight**2).sum())
    limits = proportion(min(events / total, 1.0) * effective, effective, level=level)
    return Proportion(limits.value, limits.low, limits.high, level, events=events, total=total, method="exact")
