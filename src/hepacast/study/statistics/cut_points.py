"""A score's cut-off: given, or chosen from the same patients and then labelled as such."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hepacast.core.records import Record, sparse
from hepacast.errors import ModelError, OutcomeError
from hepacast.evaluation.thresholds import youden_threshold
from hepacast.stats.cutpoint import maxstat_cut

Array = npt.NDArray[np.float64]
METHODS = "median, youden, maxstat, or a number chosen elsewhere"


@dataclass(frozen=True)
class ChosenCut(Record):
    """A cut-off (high: score at or above it).

    Attributes
    ----------
    same_data
        Whether the outcome of these very patients chose it: then the log-rank P of the groups is too small.
    p_corrected
        P that pays for the choice (maxstat, Lausen 1994); NaN for the other ways.
    maxstat_cutpoint
        Of maxstat, the cut-off as R's package prints it: the largest score of the low group.
    label
        How it was chosen, for tables and figures.
    """

    value: float
    method: str
    same_data: bool
    label: str
    p_corrected: float = float("nan")
    p_lau92: float = float("nan")
    statistic: float = float("nan")
    maxstat_cutpoint: float = float("nan")
    reason: str = sparse("")

    def __post_init__(self) -> None:
        if math.isnan(self.p_corrected):
            object.__setattr__(self, "reason", "a P that pays for the choice of the cut-off exists for maxstat only")


def choose_cut(text: str, score: Array, time: Array, event: Array, horizon: float | None) -> ChosenCut:
    """The cut-off that `--cut` asks for.

    Parameters
    ----------
    text
        ``median``, ``youden``, ``maxstat`` or a number.
    horizon
        Time at which Youden's index is computed; patients censored before it are left out of the choice. None: event
        at any time.

    Raises
    ------
    ModelError, OutcomeError
        Unknown way, a score that does not vary, or no cut-off can be chosen.
    """
    way = text.strip().casefold()
    if way not in ("median", "youden", "maxstat"):
        try:
            value = float(way.replace(",", "."))
        except ValueError as error:
            raise ModelError("Unknown way to cut a score.", expected=METHODS, found=text) from error
        if not np.isfinite(value):
            raise ModelError("A cut-off must be finite.", expected=METHODS, found=text)
        return ChosenCut(value, "given", False, "given")
    if np.ptp(score) == 0:
        raise ModelError("The score is the same for all patients: there is nothing to cut.", found=f"{score[0]:g}")
    if way == "median":
        return ChosenCut(float(np.median(score)), way, False, "median of these patients (chosen without their outcome)")
    if way == "youden":
        return _youden(score, time, event, horizon)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = maxstat_cut(time, event, score)
    if not np.isfinite(found.statistic):
        raise OutcomeError("The follow-up times do not differ: no cut-off can be chosen by maxstat.")
    label = "maxstat, chosen from the outcome of these very patients"
    return ChosenCut(found.threshold, way, True, label, found.p_lau94, found.p_lau92, found.statistic, found.cut)


def _youden(score: Array, time: Array, event: Array, horizon: float | None) -> ChosenCut:
    if horizon is None:
        known, status, when = np.ones(len(time), dtype=bool), event, "event at any time"
    else:
        status = ((time <= horizon) & (event == 1)).astype(float)
        known = (status == 1) | (time > horizon)
        when = f"event by {horizon:g}"
    if not 0 < status[known].mean() < 1:
        raise OutcomeError(
            "Youden's index needs patients with and without the event.",
            expected=when,
            found=f"{int(status[known].sum())} of {int(known.sum())} patients with it",
        )
    left = int((~known).sum())
    label = f"Youden's index ({when}" + (f", {left} censored before it left out" if left else "")
    value = float(youden_threshold(status[known], score[known]))
    return ChosenCut(value, "youden", True, f"{label}), chosen from the outcome of these very patients")
