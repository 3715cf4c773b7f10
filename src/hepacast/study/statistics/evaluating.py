"""`hepacast stats evaluate`: predictions from any tool against an outcome."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from hepacast.cohort.outcome import EVER
from hepacast.core import views
from hepacast.core.estimates import Estimate
from hepacast.core.files import to_jsonable
from hepacast.core.formatting import MISSING, number, p_sentence, p_value, short, with_interval
from hepacast.core.tables import Table, make_table
from hepacast.errors import ModelError
from hepacast.evaluation.calibration import Calibration
from hepacast.evaluation.evaluate import TRAINING, evaluate_risks
from hepacast.evaluation.reclassification import Change, Nri
from hepacast.evaluation.results import HorizonResult, ModelComparison, SetResult, States
from hepacast.evaluation.roc import RocPoints
from hepacast.evaluation.thresholds import MEASURES, ThresholdRow
from hepacast.stats.design import binary_outcome
from hepacast.stats.intervals import Proportion, ci_label
from hepacast.study.statistics.reading import load
from hepacast.study.statistics.result import StatisticsResult, note_lines
from hepacast.study.statistics.table import AnalysisTable, RowsUsed, complete_rows

_SAME = "Youden cut-offs come from these very patients: sensitivity and specificity there are too good."


@dataclass(frozen=True, repr=False)
class EvaluationResult(StatisticsResult):
    """Evaluation of predictions; `found` is the `hepacast.evaluation.results.SetResult`."""

    found: SetResult
    outcome: str
    flow: RowsUsed
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """`models` by name and `pairs` (`printed`), with the flow."""
        values = printed(self.found) if self.found.follow_up is None else self.found.to_json()
        return {"outcome": self.outcome, **values, "flow": vars(self.flow), "notes": list(self.notes)}

    def to_frame(self) -> pd.DataFrame:
        """One row a model."""
        return self.found.to_frame()


@views.page.register
def _(result: EvaluationResult) -> Sequence[str | Table]:
    found = result.found
    head = f"Predictions of {result.outcome}: n = {found.n}, events = {found.events}. {result.flow.text()}"
    notes = list(result.notes)
    if found.follow_up is not None:
        notes += [f"{name}: {item.main.reason}" for name, item in found.models.items() if item.main.reason]
        head += f" Median follow-up {short(found.follow_up.value)} (reverse Kaplan-Meier)."
        parts = [views.table(result), *([_ranked_pairs(found)] if found.comparisons else [])]
        return [head, *parts, note_lines(notes)]
    if any(item.main.thresholds[0].name != TRAINING for item in found.models.values()):
        notes.append(_SAME)
    for name, item in found.models.items():
        at = item.main
        reasons = [at.reason, *(at.calibration.notes if at.calibration else ())]
        notes.extend(f"{name}: {reason}" for reason in reasons if reason)
        if math.isinf(at.thresholds[0].threshold):
            notes.append(f"{name}: Youden's index is greatest where all patients count alike: no cut-off helps.")
        if at.auc.value < 0.5:
            notes.append(f"{name}: the AUC is below 0.5, since higher values are taken to mean the event.")
    return [head, views.table(result), *([_pairs(found)] if found.comparisons else []), note_lines(notes)]


@views.table.register
def _(result: EvaluationResult) -> Table:
    """Discrimination, cut-off, calibration: one column a model."""
    found = result.found
    if found.follow_up is not None:
        return _followed(found)
    ci = ci_label(found.level)
    shares = [f"{name} ({ci})" for name in ("Sensitivity", "Specificity", "PPV", "NPV", "Accuracy")]
    fitted = [f"Calibration {name} ({ci})" for name in ("slope", "intercept", "in the large")]
    heads = [f"AUC ({ci}, DeLong)", "P against 0.5", "Cut-off", *shares]
    if any(item.main.calibration is not None for item in found.models.values()):
        heads += [f"Brier score ({ci})", *fitted, "Hosmer-Lemeshow chi2 (df), P", f"ICI ({ci})", "E50 / E90"]
    columns = [_model_cells(item.main) for item in found.models.values()]
    rows = [(head, *cells) for head, *cells in zip(heads, *columns, strict=False)]
    return make_table("", ("", *found.models), rows)


def _model_cells(at: HorizonResult) -> list[str]:
    row, fit = at.thresholds[0], at.calibration
    cells = [
        _limits(at.auc),
        p_value(at.auc_p),
        _cutoff(row.threshold, row.name),
        *(_share(value) for value in (row.sensitivity, row.specificity, row.ppv, row.npv, row.accuracy)),
    ]
    if fit is None:
        return [*cells, *(MISSING,) * 7]
    test = fit.hosmer_lemeshow
    return [
        *cells,
        *(_limits(value) for value in (fit.brier, fit.slope, fit.intercept, fit.citl)),
        f"{number(test.statistic)} ({test.df:.0f}), {p_value(test.p)}" if test is not None and test.ok else MISSING,
        _limits(fit.ici),
        f"{number(fit.e50, 3)} / {number(fit.e90, 3)}",
    ]


def _followed(found: SetResult) -> Table:
    """Of a follow-up: how well patients are ranked, and how well the risks by the horizon agree with what happened."""
    ci = ci_label(found.level)
    by = short(next(iter(found.models.values())).main.time)
    heads = [f"Harrell's C ({ci})", f"AUC by {by} ({ci})", "Brier score", "Scaled Brier score", "ICI"]
    heads += [f"{name} ({ci})" for name in ("Observed / expected", "Calibration slope")]
    columns = []
    for item in found.models.values():
        fit = item.main.calibration
        cells = [MISSING if item.c is None else _limits(item.c), _limits(item.main.auc)]
        if fit is None:
            cells += [MISSING] * 5
        else:
            cells += [number(value, 3) for value in (fit.brier.value, fit.brier_scaled, fit.ici.value)]
            cells += [_limits(value) for value in (fit.observed_expected, fit.slope)]
        columns.append(cells)
    rows = [(head, *cells) for head, *cells in zip(heads, *columns, strict=True)]
    weighted = f"At {by}: weighted for censoring (1 over the probability of still being followed)."
    return make_table("", ("", *found.models), rows, [weighted])


def _ranked_pairs(found: SetResult) -> Table:
    rows = [
        (f"{pair.first} - {pair.second}", pair.measure, _limits(pair.difference), p_value(pair.p))
        for pair in found.comparisons
    ]
    return make_table("Pairs", ("Models", "Measure", f"Difference ({ci_label(found.level)})", "P"), rows)


def _limits(item: Estimate) -> str:
    return with_interval(item.value, *item.ci)


def _pairs(found: SetResult) -> Table:
    """Comparisons of all pairs."""
    rows = [
        (
            f"{first} - {second}",
            with_interval(-pair.difference.value, -pair.difference.high, -pair.difference.low),
            number(-pair.z, 3),
            p_value(pair.p),
            MISSING if pair.nri is None else f"{number(pair.nri.nri.value, 3)}, {p_sentence(pair.nri.nri.p)}",
            MISSING if pair.idi is None else f"{number(pair.idi.value, 3)}, {p_sentence(pair.idi.p)}",
        )
        for first, second, pair in _pairs_in_order(found)
    ]
    columns = ("Models", f"AUC difference ({ci_label(found.level)})", "DeLong Z", "P", "NRI", "IDI")
    return make_table("Pairs (NRI and IDI: second over first)", columns, rows)


@views.drawings.register
def _(result: EvaluationResult) -> views.Drawings:
    """`roc`, `decision`, and `calibration-NAME` of each model that gives risks."""
    found = result.found
    drawn: dict[str, Callable[[], Any]] = {"roc": partial(found.plot, "roc")}
    if len(found.states[-1].thresholds):
        drawn["decision"] = partial(found.plot, "decision")
    for name, item in found.models.items():
        if item.main.calibration is not None:
            drawn[f"calibration-{name}"] = partial(found.plot, "calibration", model=name)
    return drawn


def _cutoff(value: float, source: str) -> str:
    if math.isinf(value):
        return "all positive (Youden)" if value < 0 else "all negative (Youden)"
    return f"{short(value)} ({'given' if source == TRAINING else 'Youden'})"


def _share(value: Proportion) -> str:
    """``0.812 (0.570-0.934; 13/16)``."""
    if not value.total:
        return MISSING
    return f"{with_interval(value.value, value.low, value.high)[:-1]}; {value.events}/{value.total})"


def evaluate(
    source: str | Path | pd.DataFrame | AnalysisTable | ArrayLike,
    *,
    models: str | Sequence[str] | Mapping[str, ArrayLike],
    outcome: str = "outcome",
    time: str | ArrayLike | None = None,
    at: float | None = None,
    positive: str | None = None,
    cutoffs: Mapping[str, float] | None = None,
    nri_cuts: Sequence[float] = (),
    external: bool = False,
    n_boot: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> EvaluationResult:
    """Evaluate predicted risks (or scores) of one or more models in the patients who have all of them.

    Parameters
    ----------
    source
        A table, or the outcome itself as an array.
    models
        Columns with the predictions, or arrays by name; values outside 0 to 1 make a score (no calibration).
    outcome, positive
        Column of the outcome, and its value that is the event.
    time, at
        Of a follow-up that `outcome` ended: its column or array, and the time by which the risks are predicted.
    cutoffs, nri_cuts
        Cut-offs chosen elsewhere, by column; limits of risk categories for the categorical NRI.
    external, n_boot, seed, level
        As in `hepacast.evaluation.evaluate.evaluate_risks`.

    Raises
    ------
    TableError, OutcomeError, ModelError
        An unknown column, an outcome that is not binary or of one class, a prediction that is no number.
    """
    if isinstance(models, Mapping):
        source, models, time = _columns(source, models, outcome, time)
    _require_horizon(time, at)
    table = load(source)  # type: ignore[arg-type]
    y = table.binary(outcome, positive)
    risks = {name: table.numbers(name) for name in table.columns(models)}
    if str(y.name) in risks:
        raise ModelError("The outcome itself is named as a model.", found=str(y.name))
    followed = {} if time is None else {"follow-up": table.numbers(str(time))}
    rows, flow = complete_rows({str(y.name): y, **risks, **followed})
    binary_outcome(y[rows], what=f"outcome {y.name}")
    how: dict[str, Any] = {"external": external, "n_boot": n_boot, "seed": seed, "level": level}
    found = evaluate_risks(
        y[rows].to_numpy(),
        {name: values[rows].to_numpy() for name, values in risks.items()},
        thresholds={table.column(name): value for name, value in (cutoffs or {}).items()} or None,
        nri_cuts=tuple(nri_cuts) or None,
        times=followed["follow-up"][rows].to_numpy() if followed else None,
        horizon=EVER if at is None else float(at),
        **how,
    )
    return EvaluationResult(found, str(y.name), flow, tuple(table.notes))


def _require_horizon(time: str | ArrayLike | None, at: float | None) -> None:
    if (time is None) is not (at is None):
        raise ModelError("A follow-up has a time and a horizon.", expected="time and at, or neither of them")
    if at is not None and not at > 0:
        raise ModelError("Times must be above 0.", found=f"{at:g}")


def _columns(
    y: Any, models: Mapping[str, ArrayLike], outcome: str, time: str | ArrayLike | None
) -> tuple[pd.DataFrame, list[str], str | None]:
    """Arrays as a table, the names of its models, and that of its follow-up."""
    frame = pd.DataFrame({outcome: np.asarray(y), **{name: np.asarray(values) for name, values in models.items()}})
    if time is not None:
        frame["time"] = np.asarray(time)
    return frame, list(models), None if time is None else "time"


def _pairs_in_order(found: SetResult) -> list[tuple[str, str, ModelComparison]]:
    """Pairs as the models were given; the comparison of each is that of the later model with the earlier one."""
    pairs = ((a, b, found.comparison(b, a)) for a, b in combinations(found.models, 2))
    return [(a, b, pair) for a, b, pair in pairs if pair is not None]


def printed(found: SetResult) -> dict[str, Any]:
    """Every number under the keys of `hepacast stats evaluate --json`; missing ones are null beside their reason."""
    values = {
        "n": found.n,
        "n_events": found.events,
        "excluded": found.excluded,
        "confidence": found.level,
        "bootstrap": {"n": found.n_boot, "seed": found.seed},
        "models": {name: _printed_model(item.main, found.states[-1]) for name, item in found.models.items()},
        "pairs": [_printed_pair(*pair) for pair in _pairs_in_order(found)],
    }
    content: dict[str, Any] = to_jsonable(values)
    return content


def _printed_model(at: HorizonResult, states: States) -> dict[str, Any]:
    fit, row, curve = at.calibration, at.thresholds[0], at.roc
    assert curve is not None
    values: dict[str, Any] = {
        "auc": at.auc.value,
        "auc_ci": at.auc.ci,
        "auc_se": at.auc.se,
        "auc_p": at.auc_p,
        "status": at.status,
        "reason": at.reason,
        "roc": _printed_curve(curve),
        "youden": curve.youden,
        "cutoff": {
            "value": row.threshold,
            "source": "given" if row.name == TRAINING else "youden",
            **_printed_row(row),
        },
        "confusion": {name: getattr(row, name) for name in ("tp", "fp", "tn", "fn")},
        **_printed_calibration(fit),
    }
    if fit is None or at.decision is None:
        return values | {"net_benefit": None, "net_benefit_reason": "net benefit needs risks"}
    if not (fit.brier.has_limits and fit.ici.has_limits):
        why = "limits are those of bootstrap samples, of which there were none or too few"
        values |= {"brier_ci_reason": why, "ici_ci_reason": why}
    kept = ("thresholds", "net_benefit", "low", "high", "interventions_avoided", "useful_range")
    return values | {
        "net_benefit": {name: getattr(at.decision, name) for name in kept} | {"treat_all": states.treat_all}
    }


def _printed_curve(curve: RocPoints) -> dict[str, Any]:
    return {
        "threshold": curve.thresholds[::-1],
        "sensitivity": curve.tpr[::-1],
        "specificity": 1.0 - curve.fpr[::-1],
        "threshold_reason": "an infinite threshold calls nobody positive",
    }


def _printed_row(row: ThresholdRow) -> dict[str, Any]:
    plus, minus = row.likelihood_ratios
    values: dict[str, Any] = {
        **{name: getattr(row, name) for name in ("threshold", "tp", "fp", "tn", "fn")},
        **{name: _printed_share(getattr(row, name)) for name in MEASURES},
        **{name: getattr(row, name) for name in ("youden", "f1", "mcc")},
        "lr_positive": plus,
        "lr_negative": minus,
    }
    return values | {f"{name}_reason": why for name, why in row.reasons().items() if not math.isfinite(values[name])}


def _printed_share(item: Proportion) -> dict[str, Any]:
    kept = {name: getattr(item, name) for name in ("events", "total", "method", "reason")}
    return kept | {"estimate": item.value, "ci": item.ci}


def _printed_calibration(fit: Calibration | None) -> dict[str, Any]:
    if fit is None:
        names = ("brier", "brier_scaled", "slope", "intercept", "citl", "ici", "e50", "e90", "emax", "hosmer_lemeshow")
        nothing = (math.nan, math.nan)
        return dict.fromkeys(names) | {"brier_ci": nothing, "ici_ci": nothing}
    test = fit.hosmer_lemeshow
    values: dict[str, Any] = {
        "slope": fit.slope.value,
        "slope_ci": fit.slope.ci,
        "slope_se": fit.slope.se,
        "intercept": fit.intercept.value,
        "intercept_ci": fit.intercept.ci,
        "citl": fit.citl.value,
        "citl_ci": fit.citl.ci,
        "observed_expected": fit.observed_expected.value,
        "observed_expected_ci": fit.observed_expected.ci,
        "brier": fit.brier.value,
        "ici": fit.ici.value,
        **{name: getattr(fit, name) for name in ("brier_scaled", "log_loss", "e50", "e90", "emax")},
    }
    values |= {f"{name}_reason": why for name, why in _missing(values, fit).items()}
    values |= {"brier_ci": fit.brier.ci, "ici_ci": fit.ici.ci}
    if test is not None:
        named = {name: getattr(test, name) for name in ("df", "p", "reason", "n", "observed", "expected")}
        values["hosmer_lemeshow"] = {"chi2": test.statistic, **named}
    curve = fit.curve
    groups = [
        {"n": group.n, "predicted": group.predicted}
        | {"observed": group.observed.value, "low": group.observed.low, "high": group.observed.high}
        for group in fit.groups
    ]
    lines = None if curve is None else {name: getattr(curve, name) for name in ("predicted", "observed", "low", "high")}
    return values | {"calibration": {"curve": lines, "groups": groups, "notes": fit.notes}}


def _missing(values: Mapping[str, Any], fit: Calibration) -> dict[str, str]:
    """Reasons of numbers that are not finite: what the calibration noted."""
    found = {}
    for name, value in values.items():
        if not all(math.isfinite(item) for item in (value if isinstance(value, tuple) else (value,))):
            infinite = "infinite: a patient's risk is 0 or 1, and the outcome is the other one"
            found[name] = infinite if name == "log_loss" else " ".join(fit.notes)
    return {name: reason for name, reason in found.items() if reason}


def _printed_pair(a: str, b: str, pair: ModelComparison) -> dict[str, Any]:
    """The earlier model's AUC minus the later one's; NRI and IDI of the later over the earlier."""
    values: dict[str, Any] = {
        "a": a,
        "b": b,
        "auc_difference": -pair.difference.value,
        "auc_difference_ci": (-pair.difference.high, -pair.difference.low),
        "delong_z": -pair.z,
        "delong_p": pair.p,
        "status": pair.status,
        "reason": pair.difference.reason,
        "nri": None,
        "idi": None,
    }
    if pair.nri is None or pair.idi is None:
        values["nri_reason"] = values["idi_reason"] = "NRI and IDI need the risks of both models"
        return values
    for name, change in (("nri", pair.nri.nri), ("idi", pair.idi)):
        values |= {name: change.value, f"{name}_se": change.se, f"{name}_ci": change.ci, f"{name}_p": change.p}
    values |= {"nri_events": pair.nri.events.value, "nri_nonevents": pair.nri.nonevents.value}
    if pair.categorical_nri is not None:
        values["categorical_nri"] = _printed_categories(pair.categorical_nri)
    return values


def _printed_categories(found: Nri) -> dict[str, Any]:
    kept = ("up_events", "down_events", "up_nonevents", "down_nonevents", "cuts", "table_events", "table_nonevents")
    return {
        **_printed_change(found.nri),
        "events": _printed_change(found.events),
        "nonevents": _printed_change(found.nonevents),
        **{name: getattr(found, name) for name in kept},
    }


def _printed_change(item: Change) -> dict[str, Any]:
    return {"estimate": item.value, "ci": item.ci} | {name: getattr(item, name) for name in ("se", "z", "p", "reason")}
