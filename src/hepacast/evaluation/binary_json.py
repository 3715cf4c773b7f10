"""An `Evaluation` as plain values: for `hepacast stats evaluate --json`, and as the report reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hepacast.core.files import to_jsonable
from hepacast.evaluation.calibration import Calibration, Estimate
from hepacast.evaluation.thresholds import MEASURES, ThresholdRow

if TYPE_CHECKING:
    from hepacast.evaluation.binary import Comparison, Evaluation, ModelEvaluation

SAME_PATIENTS = "Youden (these patients)"
TRAINING = "Youden (training)"


def evaluation_json(found: Evaluation) -> dict[str, Any]:
    """Every number of an evaluation; missing numbers are null and stand beside their reason."""
    return to_jsonable(
        {
            "n": found.n,
            "n_events": found.n_events,
            "excluded": dict(found.excluded),
            "confidence": found.level,
            "bootstrap": {"n": found.n_boot, "seed": found.seed},
            "models": {name: _model(found, model) for name, model in found.models.items()},
            "pairs": [_pair(pair) for pair in found.pairs],
        }
    )


def _model(found: Evaluation, model: ModelEvaluation) -> dict[str, Any]:
    curve, fit = model.roc, model.calibration
    values: dict[str, Any] = {
        "auc": curve.auc,
        "auc_ci": list(curve.auc_ci),
        "auc_se": curve.se,
        "auc_p": curve.p,
        "status": curve.status,
        "reason": "; ".join(text for text in (curve.reason, model.reason) if text),
        "roc": {
            "threshold": curve.thresholds,
            "sensitivity": curve.sensitivity,
            "specificity": curve.specificity,
            "threshold_reason": "an infinite threshold calls nobody positive",
        },
        "youden": dict(curve.youden),
        "cutoff": {"value": model.cutoff, "source": model.cutoff_source, **model.threshold.to_json()},
        "confusion": {name: getattr(model.threshold, name) for name in ("tp", "fp", "tn", "fn")},
    }
    values |= _calibration_values(fit)
    values |= {"brier_ci": list(model.brier_ci), "ici_ci": list(model.ici_ci)}
    if fit is not None and not np.isfinite([*model.brier_ci, *model.ici_ci]).all():
        why = "limits are those of bootstrap samples, of which there were none or too few"
        values |= {"brier_ci_reason": why, "ici_ci_reason": why}
    if fit is not None and found.decision is not None:
        benefit = found.decision.models[model.name]
        values["net_benefit"] = {
            "thresholds": benefit.thresholds,
            "net_benefit": benefit.net_benefit,
            "low": benefit.low,
            "high": benefit.high,
            "treat_all": found.decision.treat_all,
            "interventions_avoided": benefit.interventions_avoided,
            "useful_range": found.decision.useful_range(model.name),
        }
    else:
        values |= {"net_benefit": None, "net_benefit_reason": "net benefit needs risks"}
    return values


def _calibration_values(fit: Calibration | None) -> dict[str, Any]:
    if fit is None:
        names = ("brier", "brier_scaled", "slope", "intercept", "citl", "ici", "e50", "e90", "emax", "hosmer_lemeshow")
        return dict.fromkeys(names)
    values = fit.to_json()
    curve, groups, notes = values.pop("curve"), values.pop("groups"), values.pop("notes")
    return {**values, **_why_missing(values, notes), "calibration": {"curve": curve, "groups": groups, "notes": notes}}


def _why_missing(values: Mapping[str, Any], notes: Sequence[str]) -> dict[str, str]:
    """Reasons of numbers that are not finite: what the calibration noted."""
    found = {}
    for name, value in values.items():
        if isinstance(value, float | list | tuple) and not np.isfinite(np.asarray(value, dtype=float)).all():
            infinite = "infinite: a patient's risk is 0 or 1, and the outcome is the other one"
            found[f"{name}_reason"] = infinite if name == "log_loss" else " ".join(notes)
    return {name: reason for name, reason in found.items() if reason}


def _pair(pair: Comparison) -> dict[str, Any]:
    test = pair.delong
    values: dict[str, Any] = {
        "a": pair.a,
        "b": pair.b,
        "auc_difference": test.difference,
        "auc_difference_ci": list(test.ci),
        "delong_z": test.statistic,
        "delong_p": test.p,
        "status": test.status,
        "reason": test.reason,
        "nri": None,
        "idi": None,
    }
    if pair.nri is None or pair.idi is None:
        values["nri_reason"] = values["idi_reason"] = "NRI and IDI need the risks of both models"
    if pair.nri is not None:
        change = pair.nri.nri
        values |= {
            "nri": change.estimate,
            "nri_se": change.se,
            "nri_ci": list(change.ci),
            "nri_p": change.p,
            "nri_events": pair.nri.events.estimate,
            "nri_nonevents": pair.nri.nonevents.estimate,
        }
    if pair.idi is not None:
        values |= {
            "idi": pair.idi.estimate,
            "idi_se": pair.idi.se,
            "idi_ci": list(pair.idi.ci),
            "idi_p": pair.idi.p,
        }
    if pair.categorical_nri is not None:
        values["categorical_nri"] = pair.categorical_nri.to_json()
    return values


def report_set(found: Evaluation, kind: str) -> dict[str, Any]:
    """One set of patients as the report reads it (`evaluation/evaluation.json`, under `sets`)."""
    decision = found.decision
    return to_jsonable(
        {
            "n": found.n,
            "events": found.n_events,
            "kind": kind,
            "models": {name: _report_model(found, model) for name, model in found.models.items()},
            "comparisons": [
                {
                    "first": pair.a,
                    "second": pair.b,
                    "z": pair.delong.statistic,
                    "p": pair.delong.p,
                    "difference": _triple(pair.delong.difference, pair.delong.ci),
                }
                for pair in found.pairs
            ],
            "treat_all": None
            if decision is None
            else {"thresholds": decision.thresholds, "net_benefit": decision.treat_all},
            "excluded": dict(found.excluded),
        }
    )


def _report_model(found: Evaluation, model: ModelEvaluation) -> dict[str, Any]:
    curve, fit = model.roc, model.calibration
    cutoff = TRAINING if model.cutoff_source == "given" else SAME_PATIENTS
    values: dict[str, Any] = {
        "status": "ok" if curve.status in ("ok", "no_interval") else curve.status,
        "reason": "; ".join(text for text in (curve.reason, model.reason) if text) or None,
        "auc": _triple(curve.auc, curve.auc_ci),
        "roc": {"fpr": 1.0 - curve.specificity[::-1], "tpr": curve.sensitivity[::-1]},
        "thresholds": [_report_threshold(cutoff, model.threshold)],
    }
    if fit is None or found.decision is None:
        return values
    benefit = found.decision.models[model.name]
    return values | {
        "brier": fit.brier,
        "brier_scaled": fit.brier_scaled,
        "calibration": _report_calibration(fit),
        "decision": {
            "thresholds": benefit.thresholds,
            "net_benefit": benefit.net_benefit,
            "low": benefit.low,
            "high": benefit.high,
        },
        "risks": fit.risk,
        "outcomes": fit.y.astype(int),
    }


def _report_calibration(fit: Calibration) -> dict[str, Any]:
    test, curve = fit.hosmer_lemeshow, fit.curve
    return {
        "intercept": _estimate(fit.citl),
        "slope": _estimate(fit.slope),
        "ici": fit.ici,
        "groups": fit.to_json()["groups"],
        "smooth": None
        if curve is None
        else {"x": curve.predicted, "y": curve.observed, "low": curve.low, "high": curve.high},
        "hosmer_lemeshow": {"statistic": test.statistic, "df": int(test.df), "p": test.p} if test.ok else None,
    }


def _report_threshold(name: str, row: ThresholdRow) -> dict[str, Any]:
    return {
        "name": name,
        "threshold": row.threshold,
        **{count: getattr(row, count) for count in ("tp", "fp", "tn", "fn")},
        **{
            measure: _triple(getattr(row, measure).estimate, (getattr(row, measure).low, getattr(row, measure).high))
            for measure in MEASURES
        },
    }


def _triple(value: float, limits: tuple[float, float]) -> dict[str, float]:
    return {"value": value, "low": limits[0], "high": limits[1]}


def _estimate(estimate: Estimate) -> dict[str, float]:
    return _triple(estimate.estimate, estimate.ci)
