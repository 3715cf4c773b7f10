"""Evaluation of a simulated study, as `evaluation/evaluation.json` holds it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from hepacast.evaluation.evaluate import evaluate_risks
from hepacast.evaluation.results import EvaluationResults, SetResult
from hepacast.evaluation.risk_groups import RiskGroups, risk_groups
from hepacast.evaluation.roc import roc

VALIDATION = "validation"


def auc_estimate(y: np.ndarray, risk: np.ndarray) -> dict[str, float]:
    """AUC with Hanley and McNeil's limits."""
    auc, n1, n0 = float(roc_auc_score(y, risk)), int(y.sum()), int((1 - y).sum())
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    se = float(np.sqrt((auc * (1 - auc) + (n1 - 1) * (q1 - auc**2) + (n0 - 1) * (q2 - auc**2)) / (n1 * n0)))
    return {"value": auc, "low": auc - 1.96 * se, "high": min(1.0, auc + 1.96 * se)}


def evaluated(study: Any, name: str) -> SetResult:
    rows = study.sets == name
    cuts = {
        model: roc(study.y[study.train], risk[study.train]).youden["threshold"] for model, risk in study.risk.items()
    }
    return evaluate_risks(
        study.y[rows],
        {model: risk[rows] for model, risk in study.risk.items()},
        thresholds=cuts,
        decision_thresholds=np.linspace(0.05, 0.95, 91),
        n_boot=10,
        external=name == VALIDATION,
    )


def evaluation(study: Any, survival: bool) -> dict[str, Any]:
    sets = {name: evaluated(study, name) for name in ("training", VALIDATION)}
    groups = (kaplan_meier(study),) if survival else ()
    return EvaluationResults(sets, 0.95, "combined", VALIDATION, outcome="PTLF", groups=groups).to_json()


def kaplan_meier(study: Any) -> RiskGroups:
    g = np.random.default_rng(1)
    risk = study.risk["combined"][~study.train]
    time = g.exponential(np.where(risk > 0.3, 200, 420)).round(1) + 1
    event = (g.random(len(time)) < 0.8).astype(int)
    return replace(
        risk_groups(time, event, risk, 0.3), set=VALIDATION, end_point="time to progression", unit="days",
        cutoff="frozen risk at or above 0.300",
    )  # fmt: skip
