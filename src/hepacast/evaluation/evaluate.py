"""Everything about predictions in one call: discrimination, calibration, net benefit, cut-offs, comparison.

One road for a study's sets and for predictions of any tool, of outcomes with and without time. A column that is not a
probability (a score, a laboratory value) gets a ROC curve and a cut-off, and says why it has no calibration.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from hepacast.cohort.outcome import EVER
from hepacast.core.estimates import Estimate, missing
from hepacast.core.seeds import rng
from hepacast.errors import HepacastError, ModelError
from hepacast.evaluation.calibration import Calibration, calibration, smoothed_at_risks
from hepacast.evaluation.decision import DecisionCurves, decision_curves
from hepacast.evaluation.delong import check_level, delong_test
from hepacast.evaluation.event_by import EventBy, event, event_by
from hepacast.evaluation.predictions import Array, score_array
from hepacast.evaluation.reclassification import idi, nri
from hepacast.evaluation.results import (
    HorizonResult,
    IntegratedBrier,
    ModelComparison,
    ModelResult,
    SetResult,
    States,
)
from hepacast.evaluation.roc import RocPoints, RocResult, roc
from hepacast.evaluation.thresholds import at_threshold
from hepacast.evaluation.time_dependent import (
    HorizonEstimate,
    auc_at,
    compare_auc_at,
    integrated_brier,
    roc_at,
)
from hepacast.modelling.predictions import JudgedSet
from hepacast.modelling.validation import OutOfFold
from hepacast.stats.competing_risks import cumulative_incidence, never_after_competing
from hepacast.stats.cox_checks import Concordance, compare_concordance, concordance
from hepacast.stats.design import binary_outcome
from hepacast.stats.kaplan_meier import kaplan_meier

NOT_A_RISK = "not a probability: values outside 0 to 1"
#: Names of cut-offs by where they come from.
TRAINING, SAME_PATIENTS = "Youden (training)", "Youden (these patients)"
Rows = list[NDArray[np.int64]]
#: Name of the follow-up beside those of models.
_TIMES = "follow-up"


@dataclass(frozen=True)
class Judging:
    """How a set is judged.

    Attributes
    ----------
    level
        Of all limits.
    cutoffs
        By model, cut-offs of the risk at the main horizon by name. A model without any is judged at the Youden cut-off
        of these very patients, which flatters and is named so (not of follow-up).
    decision
        Threshold probabilities of the decision curves.
    rows
        Bootstrap rows of a horizon, for the bands.
    shown
        Horizons as they are written, by the time that they mean.
    nri_cuts
        Limits of risk categories for a categorical NRI beside the continuous one.
    limits
        Whether Brier score and ICI get percentile limits of the bootstrap (slow).
    nested
        The predictions whose mean over the repeats is judged: different fits have no common scale, so that ranks (AUC
        without time, C) and their comparisons are those within the folds.
    risk_at
        By model, its risks of the patients by any time, where it knows them (integrated Brier score).
    external
        The risks come from models fitted to other patients (degrees of freedom of the Hosmer-Lemeshow test).
    """

    level: float = 0.95
    cutoffs: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    decision: ArrayLike | None = None
    rows: Callable[[float], Rows] = lambda horizon: []
    shown: Mapping[float, float] = field(default_factory=dict)
    nri_cuts: tuple[float, ...] = ()
    limits: bool = False
    nested: OutOfFold | None = None
    risk_at: Mapping[str, Callable[[float], Array]] = field(default_factory=dict)
    external: bool = True


def evaluate_risks(
    y: ArrayLike,
    models: Mapping[str, ArrayLike],
    *,
    thresholds: Mapping[str, float] | float | None = None,
    decision_thresholds: ArrayLike | None = None,
    nri_cuts: tuple[float, ...] | None = None,
    seed: int = 0,
    n_boot: int = 1000,
    level: float = 0.95,
    external: bool = False,
    times: ArrayLike | None = None,
    horizon: float = EVER,
) -> SetResult:
    """Evaluate the predictions of one or more models for the same patients.

    Parameters
    ----------
    y
        Outcome, 0 or 1, shape (n,); NaN where it is not known.
    models
        Predicted risks (or scores) by model name, each of shape (n,); NaN where there is no prediction. Patients
        with anything missing are left out of all models, and counted in `excluded`.
    thresholds
        Cut-offs chosen in training, by model name (or one for all); without one, Youden's of these very patients.
    decision_thresholds
        Threshold probabilities of the decision curves; 0.01 to 0.99 by default.
    nri_cuts
        Limits of risk categories for a categorical NRI beside the continuous one.
    seed, n_boot
        Of the bootstrap bands and limits (0: none). They do not depend on the order of the patients.
    external
        The risks come from models fitted to other patients (degrees of freedom of the Hosmer-Lemeshow test).
    times, horizon
        Of a follow-up: its length, while `y` tells events from censored patients; and the time by which the risks are.

    Raises
    ------
    OutcomeError
        The outcome is not binary, or only one class is left.
    ModelError
        No model, lengths that differ, a cut-off for an unknown model.
    """
    outcome, table, excluded = _complete(y, models if times is None else {**models, _TIMES: times})
    followed = table.pop(_TIMES, None)
    rows = _resamples(outcome, table, seed, n_boot)
    risks = {name: {horizon: values} for name, values in table.items()}
    patients = [str(row) for row in range(outcome.size)]
    happened = outcome if followed is None else np.column_stack([followed, outcome])
    judged = JudgedSet("", "frozen" if external else "apparent", patients, happened, risks, table)
    judging = Judging(
        level=check_level(level),
        cutoffs={name: {TRAINING: value} for name, value in _cutoffs(thresholds, table).items()},
        decision=decision_thresholds,
        rows=lambda horizon: rows,
        nri_cuts=nri_cuts or (),
        limits=followed is None,
        external=external,
    )
    return replace(evaluate_set(judged, judging), excluded=excluded, n_boot=len(rows), seed=seed)


def evaluate_set(judged: JudgedSet, how: Judging) -> SetResult:
    """Everything about one set; a measure that follow-up cannot tell is missing with its reason beside it."""
    names = list(judged.risks)
    events = events_of(judged)
    aucs = {
        (name, t): _auc(events[t], values, how)
        for name, by_time in judged.risks.items()
        for t, values in by_time.items()
    }
    c = {name: _tried(partial(_concordance, judged, score)) for name, score in judged.scores.items() if judged.has_time}
    rows = {t: how.rows(t) for t in events}
    decisions = {t: _decisions(judged, events[t], rows[t], how) for t in events}
    models = {}
    for name in names:
        horizons = tuple(
            _at_horizon(name, known, judged.risks[name][t], aucs[name, t], decisions[t], rows[t], how)
            for t, known in events.items()
            if t in judged.risks[name]
        )
        models[name] = ModelResult(
            horizons=_with_cut_offs(name, judged, horizons, events[max(events)], aucs, how),
            c=_c(name, c[name], how) if name in c else None,
            integrated_brier=_integrated(judged, name, max(events), how),
        )
    return SetResult(
        n=judged.n,
        events=judged.n_events,
        kind=judged.kind,
        models=models,
        comparisons=tuple(
            row for pair in combinations(names[::-1], 2) for row in _comparisons(judged, *pair, events, c, aucs, how)
        ),
        states=tuple(_states(known, decisions[t], how) for t, known in events.items()),
        level=how.level,
        competing=int((judged.codes == 2).sum()),
        follow_up=_follow_up(judged, how.level) if judged.has_time else None,
        repeats=1 if how.nested is None else how.nested.repeats,
    )


def events_of(judged: JudgedSet) -> dict[float, EventBy]:
    """What came of the patients of a set by each horizon, rising; one of an outcome without time."""
    if not judged.has_time:
        return {EVER: event(judged.y)}
    return {
        t: event_by(judged.times, judged.codes, t) for t in sorted({t for own in judged.risks.values() for t in own})
    }


def _tried(work: Callable[[], Any]) -> Any:
    """A result, or in words why there is none."""
    try:
        return work()
    except (HepacastError, np.linalg.LinAlgError) as error:
        message = getattr(error, "message", str(error))
        found = getattr(error, "found", None)
        return f"{str(message).rstrip('.')}" + (f" ({found})" if found else "")


def _auc(known: EventBy, values: Array, how: Judging) -> RocResult | HorizonEstimate | str:
    if known.complete:
        return roc(known.y, values, level=how.level)
    found: HorizonEstimate | str = _tried(partial(auc_at, *known.follow_up(), values, known.horizon))
    return found


def _concordance(judged: JudgedSet, score: Array) -> Concordance:
    return concordance(*never_after_competing(judged.times, judged.codes), score)


def _c(name: str, found: Concordance | str, how: Judging) -> Estimate:
    if how.nested is not None:
        return within_folds(how.nested, name, how.level)
    if isinstance(found, str):
        return missing(found)
    return Estimate(found.c, *found.interval(how.level), level=how.level, se=found.se)


def within_folds(nested: OutOfFold, name: str, level: float) -> Estimate:
    """Mean over the repeats of the AUC (of follow-up: C) within folds, with its limits."""
    found = nested.estimate(name, level)
    reason = "" if np.isfinite(found["value"]) else "no fold could be judged"
    return Estimate(found["value"], found["low"], found["high"], level, found["se"], reason)


def _follow_up(judged: JudgedSet, level: float) -> Estimate:
    """Median follow-up, by the reverse Kaplan-Meier method."""
    median, low, high = kaplan_meier(judged.times, (judged.codes == 0).astype(float), level=level).median
    return Estimate(median, low, high, level)


def _states(known: EventBy, decision: DecisionCurves | str, how: Judging) -> States:
    events, competing, censored = known.n_events, 0, 0
    if known.times is not None and known.codes is not None:
        by = known.times <= known.horizon
        competing, censored = int((by & (known.codes == 2)).sum()), int((by & (known.codes == 0)).sum())
    curves = {} if isinstance(decision, str) else {"thresholds": decision.thresholds, "treat_all": decision.treat_all}
    return States(
        time=how.shown.get(known.horizon, known.horizon),
        events=events,
        competing=competing,
        censored=censored,
        free=known.n - events - competing - censored,
        risk=known.risk(how.level),
        **curves,
    )


def _is_risk(values: Array) -> bool:
    return bool(values.min() >= 0.0 and values.max() <= 1.0)


def _decisions(judged: JudgedSet, known: EventBy, rows: Rows, how: Judging) -> DecisionCurves | str:
    t = known.horizon
    risks = {name: by_time[t] for name, by_time in judged.risks.items() if t in by_time and _is_risk(by_time[t])}
    if not risks:
        return "net benefit needs risks"
    work = partial(decision_curves, known, risks, how.decision, indices=rows, level=how.level)
    found: DecisionCurves | str = work() if known.complete else _tried(work)
    return found


def _at_horizon(
    name: str,
    known: EventBy,
    values: Array,
    auc: RocResult | HorizonEstimate | str,
    decision: DecisionCurves | str,
    rows: Rows,
    how: Judging,
) -> HorizonResult:
    fit = _calibrated(known, values, rows, how) if _is_risk(values) else NOT_A_RISK
    area, shape = _discrimination(name, known, values, auc, how)
    told = [shape.pop("reason", ""), fit if isinstance(fit, str) else ""]
    return HorizonResult(
        time=how.shown.get(known.horizon, known.horizon),
        auc=area,
        reason="; ".join(text for text in told if text),
        calibration=None if isinstance(fit, str) else fit,
        decision=None if isinstance(decision, str) else decision.models.get(name),
        risks=values,
        outcomes=known.y,
        **shape,
    )


def _calibrated(known: EventBy, values: Array, rows: Rows, how: Judging) -> Calibration | str:
    work = partial(calibration, known, values, level=how.level, external=how.external)
    fit: Calibration | str = work() if known.complete else _tried(work)
    if isinstance(fit, str) or not how.limits or not rows:
        return fit
    brier = [float(np.mean((values[r] - known.y[r]) ** 2)) for r in rows]
    ici = [float(np.abs(smoothed_at_risks(known.select(r), values[r]) - values[r]).mean()) for r in rows]
    return replace(
        fit,
        brier=Estimate(fit.brier.value, *_percentiles(brier, how.level), level=how.level),
        ici=Estimate(fit.ici.value, *_percentiles(ici, how.level), level=how.level),
    )


def _percentiles(values: list[float], level: float) -> tuple[float, float]:
    kept = np.array([value for value in values if not np.isnan(value)])
    if kept.size == 0:
        return float("nan"), float("nan")
    low, high = np.quantile(kept, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return float(low), float(high)


def _discrimination(
    name: str, known: EventBy, values: Array, auc: RocResult | HorizonEstimate | str, how: Judging
) -> tuple[Estimate, dict[str, Any]]:
    """AUC, and the other fields of a `HorizonResult` that come with it."""
    if isinstance(auc, RocResult):
        area = auc.estimate if how.nested is None else within_folds(how.nested, name, how.level)
        return area, {"auc_p": auc.p, "status": auc.status, "reason": auc.reason, "roc": auc.points}
    curve = _tried(partial(roc_at, *known.follow_up(), values, known.horizon))
    points = None if isinstance(curve, str) else RocPoints(*curve)
    return (missing(auc) if isinstance(auc, str) else auc.estimate(how.level)), {"roc": points}


def _with_cut_offs(
    name: str,
    judged: JudgedSet,
    horizons: tuple[HorizonResult, ...],
    known: EventBy,
    aucs: Mapping[tuple[str, float], Any],
    how: Judging,
) -> tuple[HorizonResult, ...]:
    """The main horizon with what the model's cut-offs do there."""
    values, auc = judged.risks[name][known.horizon], aucs[name, known.horizon]
    cutoffs = how.cutoffs.get(name, {})
    if not cutoffs and isinstance(auc, RocResult):
        cutoffs = {SAME_PATIENTS: float(auc.youden["threshold"])}
    work = [
        partial(at_threshold, known, values, value, level=how.level, name=label)
        for label, value in cutoffs.items()
        if not np.isnan(value)
    ]
    rows = [row() if known.complete else _tried(row) for row in work]
    found = tuple(row for row in rows if not isinstance(row, str))
    return (*horizons[:-1], replace(horizons[-1], thresholds=found))


def _integrated(judged: JudgedSet, name: str, end: float, how: Judging) -> IntegratedBrier | None:
    """Integrated Brier score to the main horizon, of a model that knows every time, beside that of no model."""
    if name not in how.risk_at or not judged.has_time:
        return None
    times, codes = judged.times, judged.codes
    grid = np.unique(times[(codes == 1) & (times <= end)])
    if not len(grid) or not (times > end).any():
        return None
    risks = np.column_stack([how.risk_at[name](float(t)) for t in grid])
    null = np.repeat(cumulative_incidence(times, codes).at(grid)[None, :], len(times), axis=0)
    value = integrated_brier(times, codes, risks, grid, end)
    reference = integrated_brier(times, codes, null, grid, end)
    return IntegratedBrier(value, reference, 1 - value / reference if reference > 0 else float("nan"))


def _comparisons(
    judged: JudgedSet,
    first: str,
    second: str,
    events: Mapping[float, EventBy],
    c: Mapping[str, Any],
    aucs: Mapping[tuple[str, float], Any],
    how: Judging,
) -> list[ModelComparison]:
    """Differences of C, of nested predictions within the folds, and of the AUC at each horizon."""
    if not judged.has_time:
        return [_without_time(judged, events[EVER], first, second, how)]
    rows = []
    if how.nested is not None:
        rows.append(_compared_within_folds(how.nested, first, second, "C", how.level))
    elif isinstance(c[first], Concordance) and isinstance(c[second], Concordance):
        rows.append(_tested(first, second, "C", EVER, compare_concordance(c[first], c[second]), how.level))
    for t in events:
        one, two = aucs.get((first, t)), aucs.get((second, t))
        if isinstance(one, HorizonEstimate) and isinstance(two, HorizonEstimate):
            shown = how.shown.get(t, t)
            rows.append(_tested(first, second, "AUC", shown, compare_auc_at(one, two), how.level))
    return rows


def _tested(
    first: str, second: str, measure: str, time: float, found: tuple[float, float, float, float], level: float
) -> ModelComparison:
    difference, se, z, p = found
    half = float(norm.ppf(0.5 + level / 2)) * se
    limits = Estimate(difference, difference - half, difference + half, level, se)
    return ModelComparison(first, second, limits, z, p, measure, time)


def _compared_within_folds(nested: OutOfFold, first: str, second: str, measure: str, level: float) -> ModelComparison:
    found = nested.compare(first, second, level)
    difference = Estimate(found["value"], found["low"], found["high"], level)
    return ModelComparison(first, second, difference, found["z"], found["p"], measure)


def _without_time(judged: JudgedSet, known: EventBy, first: str, second: str, how: Judging) -> ModelComparison:
    """Paired DeLong test, of nested predictions within folds; reclassification by the first model."""
    one, two = judged.risks[first][EVER], judged.risks[second][EVER]
    if how.nested is not None:
        row = _compared_within_folds(how.nested, first, second, "AUC", how.level)
    else:
        test = delong_test(known.y, one, two, level=how.level)
        limits = Estimate(test.difference, *test.ci, level=how.level, reason=test.reason)
        row = ModelComparison(first, second, limits, test.statistic, test.p, status=test.status)
    if not (_is_risk(one) and _is_risk(two)):
        return row
    return replace(
        row,
        nri=nri(known.y, two, one, level=how.level),
        categorical_nri=nri(known.y, two, one, how.nri_cuts, level=how.level) if how.nri_cuts else None,
        idi=idi(known.y, two, one, level=how.level),
    )


def _complete(y: ArrayLike, models: Mapping[str, ArrayLike]) -> tuple[Array, dict[str, Array], dict[str, int]]:
    """Outcome and values of the patients who have all of them, and how many do not."""
    if not models:
        raise ModelError("There is no model to evaluate.", expected="risks by model name")
    outcome = pd.to_numeric(pd.Series(np.asarray(y).ravel()), errors="coerce").to_numpy(dtype=float)
    unreadable = np.isnan(outcome) & ~pd.isna(pd.Series(np.asarray(y).ravel())).to_numpy()
    if unreadable.any():
        binary_outcome(np.asarray(y).ravel()[unreadable])  # raises, naming the value
    table: dict[str, Array] = {}
    for name, values in models.items():
        try:
            array = np.asarray(values, dtype=float).ravel()
        except (TypeError, ValueError) as error:
            raise ModelError(f"The predictions of {name} are not numeric.", expected="numbers") from error
        if array.size != outcome.size:
            raise ModelError(
                f"The predictions of {name} and the outcome differ in length.",
                expected=f"{outcome.size} values",
                found=f"{array.size}",
            )
        table[str(name)] = array
    excluded = {"outcome missing": int(np.isnan(outcome).sum())}
    excluded |= {f"{name} missing": int(np.isnan(array).sum()) for name, array in table.items()}
    kept = ~np.isnan(outcome)
    for array in table.values():
        kept &= ~np.isnan(array)
    if not kept.any():
        raise ModelError("No patient has an outcome and a prediction of every model.", found=str(excluded))
    complete = {name: score_array(array[kept], int(kept.sum()), f"risk of {name}") for name, array in table.items()}
    return binary_outcome(outcome[kept]), complete, excluded


def _cutoffs(thresholds: Mapping[str, float] | float | None, table: Mapping[str, Array]) -> dict[str, float]:
    if thresholds is None:
        return {}
    if not isinstance(thresholds, Mapping):
        return dict.fromkeys(table, float(thresholds))
    unknown = [name for name in thresholds if name not in table]
    if unknown:
        raise ModelError("A cut-off belongs to no model.", expected=", ".join(table), found=", ".join(unknown))
    return {name: float(value) for name, value in thresholds.items()}


def _resamples(y: Array, table: Mapping[str, Array], seed: int, n_boot: int) -> Rows:
    """Bootstrap rows with both classes, the same patients whatever the order of the rows."""
    if n_boot <= 0:
        return []
    order = np.lexsort([*reversed(list(table.values())), y])
    generator = rng(seed, "evaluation", "bootstrap")
    drawn = []
    for _ in range(n_boot):
        rows = order[generator.integers(0, y.size, y.size)]
        if 0.0 < y[rows].mean() < 1.0:
            drawn.append(rows)
    return drawn
