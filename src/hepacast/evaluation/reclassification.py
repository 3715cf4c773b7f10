"""Net reclassification and integrated discrimination improvement of one model over another.

Equal to `Hmisc::improveProb` and `nricens::nribin`. Read with care: NRI and IDI reward miscalibrated models and are
not proper; they stand here because journals ask for them, beside the change in AUC and net benefit.

References
----------
Pencina MJ et al. Stat Med 2008;27:157-72 (categories, IDI); 2011;30:11-21 (continuous NRI, standard errors).
Hilden J, Gerds TA. Stat Med 2014;33:3405-14 (why not to rely on them).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from hepacast.core.estimates import Estimate
from hepacast.core.records import Record
from hepacast.errors import ModelError
from hepacast.evaluation.predictions import Array, risks


@dataclass(frozen=True)
class Change(Estimate):
    """An index with its standard error, limits, z and two-sided P; NaN with a reason where there is no variance."""

    z: float = float("nan")
    p: float = float("nan")


def _change(value: float, variance: float, level: float) -> Change:
    if value == 0.0 and variance == 0.0:
        return Change(0.0, 0.0, 0.0, level, 0.0, "no patient's risk differs", z=0.0, p=1.0)
    if not variance > 0.0:
        return Change(value, level=level, se=0.0, reason="no variance: all patients changed alike")
    se = float(np.sqrt(variance))
    half, z = float(norm.ppf(0.5 + level / 2.0)) * se, value / se
    return Change(value, value - half, value + half, level, se, z=z, p=float(2.0 * norm.sf(abs(z))))


@dataclass(frozen=True)
class Nri(Record):
    """Net reclassification improvement.

    Attributes
    ----------
    nri, events, nonevents
        The index and its two parts (events up minus down; non-events down minus up).
    up_events, down_events, up_nonevents, down_nonevents
        Shares of the patients that moved.
    cuts
        Limits of the risk categories; empty for the continuous NRI.
    table_events, table_nonevents
        Counts by category under the old (rows) and the new model (columns); None for the continuous NRI.
    nri_2011
        The categorical NRI with the standard error of Pencina 2011 (the continuous one has it in `nri`).
    """

    nri: Change
    events: Change
    nonevents: Change
    up_events: float
    down_events: float
    up_nonevents: float
    down_nonevents: float
    cuts: tuple[float, ...]
    table_events: NDArray[np.int64] | None
    table_nonevents: NDArray[np.int64] | None
    nri_2011: Change


def nri(
    y: ArrayLike,
    old: ArrayLike,
    new: ArrayLike,
    cuts: Sequence[float] | None = None,
    *,
    level: float = 0.95,
) -> Nri:
    """Net reclassification improvement of `new` over `old`.

    Parameters
    ----------
    y
        Outcome, 0 or 1.
    old, new
        Predicted risks of the two models for the same patients.
    cuts
        Limits between risk categories (a risk equal to a limit belongs to the category above); None for the
        continuous, category-free NRI.

    Notes
    -----
    Variance in each class of n patients, with the shares up and down: [up + down - (up - down)^2] / n for the
    continuous NRI (Pencina 2011, `improveProb`) and (up + down) / n for the categorical one (Pencina 2008); the
    categorical NRI with the 2011 variance is in `nri_2011`.
    """
    outcome, p_old = risks(y, old, what="risk of the old model")
    _, p_new = risks(y, new, what="risk of the new model")
    limits = _checked_cuts(cuts)
    if limits.size:
        class_old = np.searchsorted(limits, p_old, side="right")
        class_new = np.searchsorted(limits, p_new, side="right")
        move = np.sign(class_new - class_old)
        tables = [_cross_table(class_old[outcome == k], class_new[outcome == k], limits.size + 1) for k in (1.0, 0.0)]
    else:
        move = np.sign(p_new - p_old)
        tables = []
    shares = {(k, way): float((move[outcome == k] == way).mean()) for k in (1.0, 0.0) for way in (1, -1)}
    n_events, n_others = int(outcome.sum()), int((1.0 - outcome).sum())
    up1, down1, up0, down0 = shares[1.0, 1], shares[1.0, -1], shares[0.0, 1], shares[0.0, -1]
    simple = (up1 + down1) / n_events, (up0 + down0) / n_others
    exact = (up1 + down1 - (up1 - down1) ** 2) / n_events, (up0 + down0 - (up0 - down0) ** 2) / n_others
    variances = simple if limits.size else exact
    gain = (up1 - down1) + (down0 - up0)
    return Nri(
        nri=_change(gain, sum(variances), level),
        events=_change(up1 - down1, variances[0], level),
        nonevents=_change(down0 - up0, variances[1], level),
        up_events=up1,
        down_events=down1,
        up_nonevents=up0,
        down_nonevents=down0,
        cuts=tuple(float(value) for value in limits),
        table_events=tables[0] if tables else None,
        table_nonevents=tables[1] if tables else None,
        nri_2011=_change(gain, sum(exact), level),
    )


def _checked_cuts(cuts: Sequence[float] | None) -> Array:
    limits = np.asarray([] if cuts is None else cuts, dtype=float)
    if limits.size and (limits.min() <= 0.0 or limits.max() >= 1.0 or (np.diff(limits) <= 0.0).any()):
        raise ModelError("Risk categories need rising limits between 0 and 1.", found=f"{limits.tolist()}")
    return limits


def _cross_table(rows: NDArray[np.int64], columns: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    table = np.zeros((size, size), dtype=np.int64)
    np.add.at(table, (rows, columns), 1)
    return table


def idi(y: ArrayLike, old: ArrayLike, new: ArrayLike, *, level: float = 0.95) -> Change:
    """Integrated discrimination improvement: gain in the difference of mean risks between events and non-events.

    Variance: var(change in events)/n_events + var(change in non-events)/n_nonevents, as `improveProb`.
    """
    outcome, p_old = risks(y, old, what="risk of the old model")
    _, p_new = risks(y, new, what="risk of the new model")
    change = p_new - p_old
    events, others = change[outcome == 1.0], change[outcome == 0.0]
    estimate = float(events.mean() - others.mean())
    if min(events.size, others.size) < 2:
        return Change(estimate, level=level, reason="fewer than two patients with or without the event")
    return _change(estimate, float(events.var(ddof=1) / events.size + others.var(ddof=1) / others.size), level)
