"""Cut-offs chosen from the data, with a P value that pays for the choosing (maximally selected rank statistics).

Sources: Lausen B, Schumacher M. Biometrics 1992;48:73. Lausen B, Sauerbrei W, Schumacher M, in: Computational
Statistics, Physica 1994. Hothorn T, Lausen B. Comput Stat Data Anal 2003;43:121 (R package maxstat).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from hepacast.errors import OutcomeError
from hepacast.stats.kaplan_meier import check_follow_up
from hepacast.stats.ranks import halfway

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class MaxstatCut:
    """A cut-off by maximally selected log-rank statistics.

    `cut` is that of R's maxstat, the largest value of the low group; `threshold`, halfway to the next value, makes the
    same groups where patients at or above a cut-off are the high group, as everywhere in hepacast. `p_lau92` and
    `p_lau94` are corrected for having tried all cut-offs; `p_naive` is what is wrongly printed when one forgets that.
    """

    cut: float
    threshold: float
    statistic: float
    p_lau92: float
    p_lau94: float
    p_naive: float
    cuts: Array
    statistics: Array


def log_rank_scores(times: Array, events: Array) -> Array:
    """Log-rank scores (event minus cumulative hazard), as ``exactRankTests::cscores``."""
    n = len(times)
    order = np.argsort(times, kind="stable")
    rank = stats.rankdata(times, method="max").astype(int)
    steps = events / (n - rank + 1)
    return np.asarray(events - np.cumsum(steps[order])[rank - 1])


def maxstat_cut(
    time: npt.ArrayLike, event: npt.ArrayLike, value: npt.ArrayLike, *, min_share: float = 0.1
) -> MaxstatCut:
    """The cut-off that separates survival most, among those that leave at least `min_share` on each side.

    Raises
    ------
    OutcomeError
        The variable has missing values or too few distinct ones, or there is no event.
    """
    times, events = check_follow_up(time, event)
    x = np.asarray(value, dtype=float)
    if x.shape != times.shape or not np.isfinite(x).all():
        raise OutcomeError("The variable has missing values.", found=f"{int((~np.isfinite(x)).sum())} patients")
    if events.sum() == 0:
        raise OutcomeError("A cut-off needs events.", found="0 events")
    n = len(x)
    scores = log_rank_scores(times, events)
    distinct, inverse = np.unique(x, return_inverse=True)
    sizes = np.cumsum(np.bincount(inverse))
    sums = np.cumsum(np.bincount(inverse, weights=scores))
    keep = (sizes >= np.floor(n * min_share)) & (sizes <= np.floor(n * (1 - min_share)))
    if not keep.any():
        raise OutcomeError(
            "No cut-off leaves enough patients on both sides.",
            expected=f"at least {min_share:.0%} in each group",
            found=f"{len(distinct)} distinct values",
        )
    m = sizes[keep].astype(float)
    spread = float(((scores - scores.mean()) ** 2).sum())
    variance = m * (n - m) / (n * (n - 1)) * spread
    statistics = np.abs(sums[keep] - m * scores.mean()) / np.sqrt(variance)
    best = int(np.argmax(statistics))
    b = float(statistics[best])
    cut = float(distinct[keep][best])
    return MaxstatCut(
        cut,
        float(halfway(cut, distinct[distinct > cut].min())),
        b,
        _p_lau92(b, min_share, 1 - min_share),
        _p_lau94(b, n, m),
        float(2 * stats.norm.sf(b)),
        distinct[keep],
        statistics,
    )


def _p_lau92(b: float, low: float, high: float) -> float:
    if b < 1:
        return 1.0
    density = float(stats.norm.pdf(b))
    value = 4 * density / b + density * (b - 1 / b) * np.log(high * (1 - low) / ((1 - high) * low))
    return float(min(1.0, max(0.0, value)))


def _p_lau94(b: float, n: int, sizes: Array) -> float:
    m = np.sort(sizes)
    first, second = m[:-1], m[1:]
    t = np.sqrt(1 - first * (n - second) / ((n - first) * second))
    bound = float((np.exp(-(b**2) / 2) / np.pi * (t - (b**2 / 4 - 1) * t**3 / 6)).sum())
    return float(min(1.0, 2 * stats.norm.sf(b) + bound))
