"""What the report reads from `evaluation/`: how good the frozen models' predictions are, set by set."""

from __future__ import annotations

from dataclasses import dataclass, field

from hepacast.report.inputs.modelling import Estimate


@dataclass(frozen=True)
class Roc:
    """Points of the ROC curve, from (0, 0) to (1, 1)."""

    fpr: list[float]
    tpr: list[float]


@dataclass(frozen=True)
class CalibrationGroup:
    """Patients of similar risk: mean predicted risk, share with the event, its limits, number."""

    predicted: float
    observed: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class SmoothCurve:
    """Smoothed observed risk `y` against predicted risk `x`, with a band where it was computed."""

    x: list[float]
    y: list[float]
    low: list[float] = field(default_factory=list)
    high: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class ChiSquared:
    """A chi-squared test."""

    statistic: float
    df: int
    p: float


@dataclass(frozen=True)
class CalibrationResult:
    """Calibration of one model on one set.

    Parameters
    ----------
    intercept
        Calibration in the large (slope fixed at 1); 0 is perfect.
    slope
        1 is perfect; below 1: predictions too extreme.
    ici
        Integrated calibration index: mean |observed (smoothed) - predicted|.
    hosmer_lemeshow
        For those who ask for it; a small sample hides miscalibration from it.
    observed_expected
        Events observed over events expected; 1 is perfect.
    """

    intercept: Estimate
    slope: Estimate
    ici: float
    groups: list[CalibrationGroup] = field(default_factory=list)
    smooth: SmoothCurve | None = None
    hosmer_lemeshow: ChiSquared | None = None
    observed_expected: Estimate | None = None


@dataclass(frozen=True)
class ThresholdResult:
    """Classification at one threshold.

    Parameters
    ----------
    name
        For example ``Youden (training)``.
    threshold
        Risk at or above which a patient counts as positive.
    tp, fp, tn, fn
        Counts.
    """

    name: str
    threshold: float
    sensitivity: Estimate
    specificity: Estimate
    ppv: Estimate
    npv: Estimate
    accuracy: Estimate
    tp: int
    fp: int
    tn: int
    fn: int


@dataclass(frozen=True)
class NetBenefit:
    """Decision curve of one model: net benefit by threshold, band where it was computed."""

    thresholds: list[float]
    net_benefit: list[float]
    low: list[float] = field(default_factory=list)
    high: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class ModelResult:
    """One model on one set; `status` other than ``ok`` says why numbers are missing.

    Parameters
    ----------
    auc
        With DeLong limits; of a nested set the mean over the repeats of the AUC within folds.
    brier, brier_scaled
        Mean squared error of the risk; 1 - Brier / Brier of the prevalence.
    risks
        Predicted risks of the patients, and `outcomes` 0/1 in the same order (histograms).
    """

    auc: Estimate
    status: str = "ok"
    reason: str | None = None
    roc: Roc | None = None
    brier: float = float("nan")
    brier_scaled: float = float("nan")
    calibration: CalibrationResult | None = None
    thresholds: list[ThresholdResult] = field(default_factory=list)
    decision: NetBenefit | None = None
    risks: list[float] = field(default_factory=list)
    outcomes: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Change:
    """Reclassification of patients by the first model against the second: estimate, limits, P."""

    estimate: float
    p: float = float("nan")
    ci: list[float] = field(default_factory=list)
    reason: str | None = None


@dataclass(frozen=True)
class AucComparison:
    """AUC of `first` minus AUC of `second`, by DeLong's paired test (nested: by the differences within folds).

    Continuous NRI and IDI where they were computed.
    """

    first: str
    second: str
    difference: Estimate
    z: float
    p: float
    nri: Change | None = None
    idi: Change | None = None


@dataclass(frozen=True)
class SetResult:
    """All models on one set.

    Parameters
    ----------
    kind
        ``apparent`` (fitted on these patients), ``frozen`` (never seen) or ``nested``.
    treat_all
        Net benefit of treating all patients.
    repeats
        Of a nested set: divisions of the patients; curves, cut-offs and calibration are of each patient's mean risk.
    """

    n: int
    events: int
    models: dict[str, ModelResult]
    kind: str = "frozen"
    comparisons: list[AucComparison] = field(default_factory=list)
    treat_all: NetBenefit | None = None
    repeats: int = 1


@dataclass(frozen=True)
class KmGroup:
    """One Kaplan-Meier curve: steps with limits, times of censoring, median."""

    name: str
    n: int
    events: int
    time: list[float]
    survival: list[float]
    low: list[float]
    high: list[float]
    censored: list[float] = field(default_factory=list)
    median: float = float("nan")


@dataclass(frozen=True)
class ConcordanceResult:
    """Harrell's C of the score itself, not of the groups."""

    c: float
    lower: float = float("nan")
    upper: float = float("nan")


@dataclass(frozen=True)
class KmResult:
    """Kaplan-Meier by risk group in one set.

    Parameters
    ----------
    end_point, unit
        Name and time unit.
    cutoff
        How the groups were made, in words.
    at_risk_times, at_risk
        Numbers at risk by group.
    p, test
        Usually log-rank.
    kind
        ``survival`` (Kaplan-Meier), or ``incidence`` (cumulative incidence where risks compete).
    hazard_ratio
        High against low risk.
    concordance
        Of the score itself.
    """

    set: str
    end_point: str
    unit: str
    groups: list[KmGroup]
    at_risk_times: list[float]
    at_risk: dict[str, list[int]]
    p: float
    test: str = "log-rank"
    kind: str = "survival"
    cutoff: str = ""
    hazard_ratio: Estimate | None = None
    concordance: ConcordanceResult | None = None


@dataclass(frozen=True)
class EvaluationResults:
    """`evaluation/evaluation.json`.

    Parameters
    ----------
    sets
        By set name; ``training`` is apparent, ``validation`` frozen, ``nested`` (cross-validated) where run.
    confidence
        Level of all limits.
    survival
        Kaplan-Meier by risk group, where the study has follow-up.
    verdicts
        By model: where its estimates disagree, or its risks do not hold in new patients, in sentences.
    """

    sets: dict[str, SetResult]
    confidence: float = 0.95
    survival: list[KmResult] = field(default_factory=list)
    verdicts: dict[str, list[str]] = field(default_factory=dict)
