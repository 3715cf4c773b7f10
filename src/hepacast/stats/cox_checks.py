"""Checks of a Cox model: proportional hazards, and how well it orders patients (Harrell's and Uno's C)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from hepacast.errors import OutcomeError
from hepacast.stats.cox import CoxFit, SortedFollowUp
from hepacast.stats.kaplan_meier import check_follow_up, kaplan_meier

Array = npt.NDArray[np.float64]


def proportional_hazards(
    fit: CoxFit,
    x: npt.ArrayLike,
    time: npt.ArrayLike,
    event: npt.ArrayLike,
    *,
    transform: Literal["km", "identity", "rank"] = "km",
) -> pd.DataFrame:
    """Score test of a coefficient that changes with time, by variable and over all (``cox.zph`` of survival >= 3).

    Source: Grambsch & Therneau, Biometrika 1994;81:515.

    Returns
    -------
    DataFrame
        Columns chi2, df, p; the last row is GLOBAL.
    """
    times, events = check_follow_up(time, event)
    matrix = np.asarray(x, dtype=float)
    matrix = matrix[:, None] if matrix.ndim == 1 else matrix
    scale = matrix.std(axis=0)
    data = SortedFollowUp((matrix - matrix.mean(axis=0)) / scale, times, events)
    moments = data.event_moments(fit.coef * scale, efron=fit.ties == "efron")
    deaths = np.array([item[0] for item in moments])
    counts = np.array([((times == t) & (events == 1)).sum() for t in deaths])
    g = _transformed(deaths, times, events, transform)
    g = g - (g * counts).sum() / counts.sum()
    p = matrix.shape[1]
    information = np.zeros((2 * p, 2 * p))
    score = np.zeros(2 * p)
    for weight, (_, residual, block) in zip(g, moments, strict=True):
        information[:p, :p] += block
        information[:p, p:] += weight * block
        information[p:, :p] += weight * block
        information[p:, p:] += weight**2 * block
        score[p:] += weight * residual
    rows = []
    for name, columns in [(n, [p + j]) for j, n in enumerate(fit.names)] + [("GLOBAL", list(range(p, 2 * p)))]:
        keep = list(range(p)) + columns
        chi2 = float(score[keep] @ np.linalg.solve(information[np.ix_(keep, keep)], score[keep]))
        rows.append((name, chi2, len(columns), float(stats.chi2.sf(chi2, len(columns)))))
    return pd.DataFrame(rows, columns=["variable", "chi2", "df", "p"]).set_index("variable")


def _transformed(deaths: Array, times: Array, events: Array, transform: str) -> Array:
    if transform == "identity":
        return deaths
    if transform == "rank":
        # R ranks all follow-up times, the censored ones too.
        ranks = stats.rankdata(times)
        return np.array([ranks[times == t][0] for t in deaths])
    curve = kaplan_meier(times, events)
    index = np.searchsorted(curve.time, deaths)
    before = np.concatenate([[1.0], curve.survival])[index]
    return np.asarray(1.0 - before)


@dataclass(frozen=True)
class Concordance:
    """Share of comparable pairs that a risk score orders rightly; ties in the score count one half.

    `influence` has one value a patient; `se` is the root of the sum of their squares.
    """

    c: float
    se: float
    concordant: float
    discordant: float
    tied_score: float
    influence: Array = field(repr=False, default_factory=lambda: np.zeros(0))

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Confidence interval, cut to [0, 1]."""
        spread = stats.norm.ppf(0.5 + level / 2) * self.se
        return max(0.0, self.c - spread), min(1.0, self.c + spread)


def concordance(
    time: npt.ArrayLike, event: npt.ArrayLike, score: npt.ArrayLike, *, weights: Literal["harrell", "uno"] = "harrell"
) -> Concordance:
    """Concordance between a risk score (higher: earlier event) and survival.

    Parameters
    ----------
    time, event, score
        Shape (n,).
    weights
        ``harrell``: each pair counts once. ``uno``: pairs are weighted by 1 / G(t-)^2, with the censoring
        distribution G, so that the result does not depend on the follow-up (Uno et al., Stat Med 2011;30:1105).

    Notes
    -----
    The standard error is the infinitesimal jackknife, as in R's ``survival::concordance``.

    Raises
    ------
    OutcomeError
        No pair can be compared.
    """
    times, events = check_follow_up(time, event)
    scores = np.asarray(score, dtype=float)
    if not np.isfinite(scores).all():
        raise OutcomeError("The score has missing values.", found=f"{int((~np.isfinite(scores)).sum())} patients")
    weight = _censoring_weight(times, events) if weights == "uno" else np.ones(len(times))
    pairs, concordant, tied = _pairs_of_patients(times, events, scores, weight)
    # Each pair stands in the row of the one and the column of the other.
    total, above, same = (float(part[0].sum()) for part in (pairs, concordant, tied))
    if total == 0:
        raise OutcomeError("No two patients can be compared.", expected="an event before another's end of follow-up")
    value = (above + 0.5 * same) / total
    influence = (concordant + 0.5 * tied - value * pairs).sum(axis=0) / total
    return Concordance(value, float(np.sqrt((influence**2).sum())), above, total - above - same, same, influence)


def _pairs_of_patients(times: Array, events: Array, scores: Array, weight: Array) -> tuple[Array, Array, Array]:
    """Weights of each patient's pairs, of the concordant and of those with equal scores, each of shape (2, n).

    First of the pairs in which the patient has the event, then of those in which he lives longer than one with the
    event, or is censored at that time. Memory grows with n, not with the pairs.
    """
    order = np.lexsort((-events, times))
    time, event, score, own = times[order], events[order], scores[order], weight[order]
    # Whoever dies with the patient is not compared; those who are censored then come after.
    died = np.add.reduceat(event, first := np.flatnonzero(np.r_[True, np.diff(time) > 0]))
    later = np.repeat(first + died.astype(np.int64), np.diff(np.r_[first, len(time)]))
    pairs, concordant, tied = np.zeros((3, 2, len(time)))
    for row in np.flatnonzero((event == 1) & (own > 0)):
        start = later[row]
        below, same = score[start:] < score[row], score[start:] == score[row]
        pairs[0, row], concordant[0, row], tied[0, row] = own[row] * np.array(
            [len(below), np.count_nonzero(below), np.count_nonzero(same)]
        )
        pairs[1, start:] += own[row]
        concordant[1, start:] += own[row] * below
        tied[1, start:] += own[row] * same
    back = np.argsort(order)
    return pairs[:, back], concordant[:, back], tied[:, back]


def compare_concordance(first: Concordance, second: Concordance) -> tuple[float, float, float, float]:
    """Difference of two C of the same patients: difference, standard error, z, two-sided P.

    Source: Therneau & Atkinson, "Concordance", vignette of R's survival (infinitesimal jackknife).
    """
    if len(first.influence) != len(second.influence):
        raise OutcomeError("Two C can be compared on the same patients only.")
    difference = first.c - second.c
    se = float(np.sqrt(((first.influence - second.influence) ** 2).sum()))
    z = difference / se if se > 0 else 0.0
    return difference, se, z, float(2 * stats.norm.sf(abs(z)))


def _censoring_weight(times: Array, events: Array) -> Array:
    """1 / G(t-)^2; at equal times events leave before the censored."""
    _, inverse = np.unique(times, return_inverse=True)
    died = np.bincount(inverse, weights=events)
    total = np.bincount(inverse).astype(float)
    risk = len(times) - np.concatenate([[0.0], np.cumsum(total)[:-1]])
    censored = total - died
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = np.where(risk > died, 1 - censored / (risk - died), 1.0)
    before = np.concatenate([[1.0], np.cumprod(factor)[:-1]])
    with np.errstate(divide="ignore"):
        return np.where(before[inverse] > 0, 1.0 / before[inverse] ** 2, 0.0)
