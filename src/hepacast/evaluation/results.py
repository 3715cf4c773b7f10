"""What an evaluation finds, as it is written to `evaluation/evaluation.json` and read by whoever shows it.

By set, model and horizon; an outcome without time has one horizon without a name, infinite here. What is computed for
its own sake has its class where it is computed (`Calibration`, `NetBenefit`, `ThresholdRow`, `RiskGroups`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from hepacast.core.estimates import Estimate
from hepacast.core.records import Record
from hepacast.errors import ModelError
from hepacast.evaluation.calibration import Calibration
from hepacast.evaluation.decision import NetBenefit
from hepacast.evaluation.predictions import Array
from hepacast.evaluation.reclassification import Change, Nri
from hepacast.evaluation.risk_groups import RiskGroups
from hepacast.evaluation.roc import RocPoints
from hepacast.evaluation.thresholds import MEASURES, ThresholdRow

#: Order in which sets are trusted to judge a model: new centers, other patients, folds, last those of the fit.
JUDGES = ("external", "validation", "test", "nested")


def _empty() -> Array:
    return np.empty(0)


@dataclass(frozen=True)
class HorizonResult(Record):
    """One model on one set at one horizon.

    Attributes
    ----------
    time
        The horizon as the study file writes it; infinite of an outcome without time.
    auc, auc_p
        With DeLong's limits (of follow-up weighted for censoring; of a nested set without time the mean over the
        repeats of the AUC within folds), and P of the Mann-Whitney test that it is 0.5, where it was made.
    status, reason
        ``ok``; else why numbers are missing (``constant``, ``no_interval``, ``not a risk``).
    roc
        Points of the ROC curve.
    calibration
        None where there are no risks, or nobody is followed so long; `reason` says so.
    thresholds
        Counts and measures at each cut-off.
    decision
        Net benefit; None without risks.
    risks, outcomes
        Of the patients, in one order: predicted risk, and 1, 0 or NaN where the state is not known.
    """

    time: float
    auc: Estimate
    auc_p: float = math.nan
    status: str = "ok"
    reason: str = ""
    roc: RocPoints | None = None
    calibration: Calibration | None = None
    thresholds: tuple[ThresholdRow, ...] = ()
    decision: NetBenefit | None = None
    risks: Array = field(repr=False, default_factory=_empty)
    outcomes: Array = field(repr=False, default_factory=_empty)


@dataclass(frozen=True)
class IntegratedBrier:
    """Integrated Brier score to the main horizon, of the model and of no model; 1 - one over the other."""

    value: float
    null: float
    scaled: float


@dataclass(frozen=True)
class ModelResult(Record):
    """One model on one set.

    Attributes
    ----------
    horizons
        Rising; the last is the main one.
    c
        Harrell's C of follow-up (of a nested set within the folds); None of an outcome without time.
    """

    horizons: tuple[HorizonResult, ...]
    c: Estimate | None = None
    integrated_brier: IntegratedBrier | None = None

    @property
    def main(self) -> HorizonResult:
        """At the main horizon."""
        return self.horizons[-1]

    @property
    def discrimination(self) -> Estimate:
        """C, or the AUC of an outcome without time."""
        return self.c if self.c is not None else self.main.auc

    @property
    def measure(self) -> str:
        """What `discrimination` is: ``C`` or ``AUC``."""
        return "C" if self.c is not None else "AUC"

    def at(self, time: float) -> HorizonResult | None:
        """At one horizon, where the model has a risk for it."""
        return next((item for item in self.horizons if item.time == time), None)


@dataclass(frozen=True)
class ModelComparison(Record):
    """The first model's measure minus the second's, of the same patients; reclassification by the first.

    Attributes
    ----------
    measure, time
        ``AUC`` at a horizon, or ``C`` (`time` is infinite).
    z, p
        DeLong's paired test, or by the influence functions of both estimates; of a nested set by the differences
        within folds.
    nri, categorical_nri, idi
        Of the first model over the second; None where a model gives no risks, and of follow-up.
    """

    first: str
    second: str
    difference: Estimate
    z: float
    p: float
    measure: str = "AUC"
    time: float = math.inf
    nri: Nri | None = None
    categorical_nri: Nri | None = None
    idi: Change | None = None
    status: str = "ok"


@dataclass(frozen=True)
class States(Record):
    """What is known of a set at a horizon, and what treating everybody would do.

    Attributes
    ----------
    events, competing, censored, free
        Patients by what came by the horizon: the event, a competing one, neither and not seen since, none of it.
    risk
        Observed.
    thresholds, treat_all
        Net benefit of treating everybody by threshold probability; empty where there are no decision curves.
    """

    time: float
    events: int
    competing: int
    censored: int
    free: int
    risk: Estimate
    thresholds: Array = field(repr=False, default_factory=_empty)
    treat_all: Array = field(repr=False, default_factory=_empty)


@dataclass(frozen=True, repr=False)
class SetResult(Record):
    """All models in one set of patients.

    Attributes
    ----------
    kind
        ``apparent`` (fitted on these patients), ``frozen`` (never seen) or ``nested`` (cross-validated).
    models
        By name.
    comparisons
        Every pair of models, the later one first.
    states
        One a horizon.
    level
        Confidence level of all limits.
    competing, follow_up
        Patients with a competing event; median follow-up (reverse Kaplan-Meier). Of follow-up only.
    repeats
        Of a nested set: divisions of the patients; curves, cut-offs and calibration are of each patient's mean risk.
    excluded
        Patients left out, by reason (outcome missing, value of a model missing).
    n_boot, seed
        Bootstrap samples behind the bands.
    """

    n: int
    events: int
    kind: str
    models: dict[str, ModelResult]
    comparisons: tuple[ModelComparison, ...]
    states: tuple[States, ...]
    level: float
    competing: int = 0
    follow_up: Estimate | None = None
    repeats: int = 1
    excluded: dict[str, int] = field(default_factory=dict)
    n_boot: int = 0
    seed: int = 0

    def comparison(self, first: str, second: str, measure: str = "AUC") -> ModelComparison | None:
        """Of two models by name."""
        pairs = (
            item for item in self.comparisons if (item.first, item.second, item.measure) == (first, second, measure)
        )
        return next(pairs, None)

    def to_frame(self) -> pd.DataFrame:
        """One row a model, at the main horizon: the performance table of a paper."""
        rows = {}
        for name, model in self.models.items():
            at = model.main
            found = at.calibration
            row: dict[str, Any] = {"auc": at.auc.value, "auc_low": at.auc.low, "auc_high": at.auc.high}
            if model.c is not None:
                row = {"c": model.c.value, "c_low": model.c.low, "c_high": model.c.high} | row
            row["brier"] = found.brier.value if found is not None else np.nan
            row["brier_scaled"] = found.brier_scaled if found is not None else np.nan
            row["ici"] = found.ici.value if found is not None else np.nan
            for label in ("e50", "e90"):
                row[label] = getattr(found, label) if found is not None else np.nan
            for label in ("slope", "intercept"):
                row[label] = getattr(found, label).value if found is not None else np.nan
            test = found.hosmer_lemeshow if found is not None else None
            row["hosmer_lemeshow_p"] = test.p if test is not None else np.nan
            cut = at.thresholds[0] if at.thresholds else None
            row["cutoff"] = cut.threshold if cut is not None else np.nan
            for measure in MEASURES:
                row[measure] = getattr(cut, measure).value if cut is not None else np.nan
            rows[name] = row
        return pd.DataFrame.from_dict(rows, orient="index")

    def pairs_frame(self) -> pd.DataFrame:
        """One row a pair of models and measure."""
        return pd.DataFrame(
            [
                {
                    "first": pair.first,
                    "second": pair.second,
                    "measure": pair.measure,
                    "difference": pair.difference.value,
                    "low": pair.difference.low,
                    "high": pair.difference.high,
                    "z": pair.z,
                    "p": pair.p,
                    "nri": pair.nri.nri.value if pair.nri else np.nan,
                    "nri_p": pair.nri.nri.p if pair.nri else np.nan,
                    "idi": pair.idi.value if pair.idi else np.nan,
                    "idi_p": pair.idi.p if pair.idi else np.nan,
                }
                for pair in self.comparisons
            ]
        )

    def plot(self, kind: str = "roc", *, model: str | None = None, title: str = "") -> Any:
        """A matplotlib figure at the main horizon: `roc` or `decision` (all models), `calibration` (one model).

        Raises
        ------
        ModelError
            Unknown figure or model, or a model without risks.
        """
        from hepacast.evaluation.drawing import calibration_figure, decision_figure, roc_figure

        if kind == "roc":
            return roc_figure({name: (item.main.roc, item.main.auc) for name, item in self.models.items()}, title=title)
        curves = {name: curve for name, item in self.models.items() if (curve := item.main.decision) is not None}
        if kind == "decision" and curves:
            state = self.states[-1]
            return decision_figure(curves, state.thresholds, state.treat_all, state.risk.value, title=title)
        if kind == "calibration":
            name = model if model is not None else next(iter(self.models))
            chosen = self.models.get(name)
            fit = None if chosen is None else chosen.main.calibration
            if chosen is not None and fit is not None:
                at = chosen.main
                return calibration_figure(fit, risks=at.risks, outcomes=at.outcomes, title=title or name)
            raise ModelError(
                "This model has no calibration.",
                found=name,
                expected=", ".join(key for key, item in self.models.items() if item.main.calibration is not None),
            )
        raise ModelError("Unknown figure.", expected="roc, calibration or decision (for risks)", found=kind)

    def __repr__(self) -> str:
        return f"<Evaluation of {', '.join(self.models)}; n={self.n}, events={self.events}>\n{self.to_frame().T}"

    def _repr_html_(self) -> str:
        left_out = "; ".join(f"{count} left out: {reason}" for reason, count in self.excluded.items() if count)
        html = self.to_frame().T.to_html(border=0, float_format=lambda value: f"{value:.4g}", na_rep="–")
        if self.comparisons:
            html += self.pairs_frame().to_html(
                border=0, index=False, float_format=lambda value: f"{value:.4g}", na_rep="–"
            )
        return html + (f"<p><small>{left_out}</small></p>" if left_out else "")


@dataclass(frozen=True)
class EvaluationResults(Record):
    """`evaluation/evaluation.json`: how good the frozen models' predictions are.

    Attributes
    ----------
    sets
        By set name; ``training`` is apparent, ``validation`` and ``external`` frozen, ``nested`` (cross-validated)
        where run.
    level
        Confidence level of all limits.
    main
        The model that the study is about.
    judged
        The set of the headline (`headline_set`).
    outcome, event
        Name of the outcome, and of its event.
    unit, horizons, before_horizon, competing
        Of follow-up: unit of time, horizons as the study file writes them, whether an event at the very horizon counts
        as later, whether events compete. Empty or false of an outcome without time.
    groups
        Kaplan-Meier (cumulative incidence) by risk group, where the study has follow-up.
    verdicts
        By model: where its estimates disagree, or its risks do not hold in new patients, in sentences.
    """

    sets: dict[str, SetResult]
    level: float
    main: str
    judged: str
    outcome: str = ""
    event: str = ""
    unit: str = ""
    horizons: tuple[float, ...] = ()
    before_horizon: bool = False
    competing: bool = False
    groups: tuple[RiskGroups, ...] = ()
    verdicts: dict[str, list[str]] = field(default_factory=dict)


def headline_set(events: Mapping[str, int]) -> str:
    """The set that models are judged on: patients they have never seen, those from furthest away first.

    External validation if there is one with events, else validation, else nested cross-validation; the patients of the
    fit only where there is nothing else.

    Parameters
    ----------
    events
        Events of each set.
    """
    names = [name for name, count in events.items() if count] or list(events)
    order = (*JUDGES, *(name for name in names if name != "training"), "training")
    return next((name for name in order if name in names), "")
