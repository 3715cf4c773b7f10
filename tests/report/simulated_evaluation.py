"""Evaluation of a simulated study, as `evaluation/evaluation.json` holds it."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats
from sklearn.metrics import brier_score_loss, roc_auc_score, roc_curve

from hepacast.stats import kaplan_meier as survival

VALIDATION = "validation"


def auc_estimate(y: np.ndarray, risk: np.ndarray) -> dict[str, float]:
    """AUC with Hanley and McNeil's limits."""
    auc, n1, n0 = float(roc_auc_score(y, risk)), int(y.sum()), int((1 - y).sum())
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    se = float(np.sqrt((auc * (1 - auc) + (n1 - 1) * (q1 - auc**2) + (n0 - 1) * (q2 - auc**2)) / (n1 * n0)))
    return {"value": auc, "low": auc - 1.96 * se, "high": min(1.0, auc + 1.96 * se)}


def share(count: int, total: int) -> dict[str, Any]:
    if not total:
        return {"value": None, "low": None, "high": None}
    low, high = stats.binomtest(count, total).proportion_ci(method="wilson")
    return {"value": count / total, "low": float(low), "high": float(high)}


def model_result(y: np.ndarray, risk: np.ndarray, cut: float) -> dict[str, Any]:
    import statsmodels.api as sm

    fpr, tpr, _ = roc_curve(y, risk)
    logit = np.log(risk / (1 - risk))
    fit = sm.Logit(y, sm.add_constant(logit)).fit(disp=0)
    slope, (low, high) = float(fit.params[1]), fit.conf_int()[1]
    large = sm.GLM(y, np.ones((len(y), 1)), family=sm.families.Binomial(), offset=logit).fit()
    groups = []
    for index in np.array_split(np.argsort(risk), 5):
        observed = share(int(y[index].sum()), len(index))
        groups.append(
            {"predicted": float(risk[index].mean()), "observed": observed["value"], "low": observed["low"],
             "high": observed["high"], "n": len(index)}
        )  # fmt: skip
    x = np.linspace(risk.min(), risk.max(), 40)
    lx = np.column_stack([np.ones(40), np.log(x / (1 - x))])
    center, half = lx @ fit.params, 1.96 * np.sqrt(np.einsum("ij,jk,ik->i", lx, fit.cov_params(), lx))
    smooth = [1 / (1 + np.exp(-v)) for v in (center, center - half, center + half)]
    positive = risk >= cut
    tp, fp = int((positive & (y == 1)).sum()), int((positive & (y == 0)).sum())
    fn, tn = int(y.sum()) - tp, int((1 - y).sum()) - fp
    thresholds = np.linspace(0.05, 0.95, 91)
    net = [((risk >= t) & (y == 1)).mean() - ((risk >= t) & (y == 0)).mean() * t / (1 - t) for t in thresholds]
    return {
        "status": "ok",
        "reason": None,
        "auc": auc_estimate(y, risk),
        "roc": {"fpr": fpr, "tpr": tpr},
        "brier": brier_score_loss(y, risk),
        "brier_scaled": 1 - brier_score_loss(y, risk) / (y.mean() * (1 - y.mean())),
        "calibration": {
            "slope": {"value": slope, "low": low, "high": high},
            "intercept": {"value": large.params[0], "low": large.conf_int()[0][0], "high": large.conf_int()[0][1]},
            "ici": float(np.abs(1 / (1 + np.exp(-(sm.add_constant(logit) @ fit.params))) - risk).mean()),
            "groups": groups,
            "smooth": {"x": x, "y": smooth[0], "low": smooth[1], "high": smooth[2]},
            "hosmer_lemeshow": {"statistic": 4.2, "df": 3, "p": float(stats.chi2.sf(4.2, 3))},
        },
        "thresholds": [
            {"name": "Youden (training)", "threshold": cut, "sensitivity": share(tp, tp + fn),
             "specificity": share(tn, tn + fp), "ppv": share(tp, tp + fp), "npv": share(tn, tn + fn),
             "accuracy": share(tp + tn, len(y)), "tp": tp, "fp": fp, "tn": tn, "fn": fn}
        ],
        "decision": {"thresholds": thresholds, "net_benefit": net, "low": np.array(net) - 0.04,
         "high": np.array(net) + 0.04},
        "risks": risk,
        "outcomes": y,
    }  # fmt: skip


def evaluation(study: Any, survival: bool) -> dict[str, Any]:
    sets: dict[str, Any] = {}
    thresholds = np.linspace(0.05, 0.95, 91)
    for name, kind in (("training", "apparent"), (VALIDATION, "frozen")):
        rows = study.sets == name
        y = study.y[rows]
        models = {}
        for model, risk in study.risk.items():
            fpr, tpr, cuts = roc_curve(study.y[study.train], risk[study.train])
            models[model] = model_result(y, risk[rows], float(cuts[np.argmax(tpr - fpr)]))
        pairs = []
        for other in ("clinical", "radiomics"):
            difference = models["combined"]["auc"]["value"] - models[other]["auc"]["value"]
            z = difference / 0.04
            pairs.append(
                {"first": "combined", "second": other, "z": z, "p": float(2 * stats.norm.sf(abs(z))),
                 "difference": {"value": difference, "low": difference - 0.078, "high": difference + 0.078},
                 "nri": {"estimate": 0.41, "p": 0.02, "ci": [0.05, 0.77], "reason": None}, "idi": None}
            )  # fmt: skip
        prevalence = y.mean()
        sets[name] = {
            "n": len(y),
            "events": int(y.sum()),
            "kind": kind,
            "models": models,
            "comparisons": pairs,
            "treat_all": {
                "thresholds": thresholds,
                "net_benefit": prevalence - (1 - prevalence) * thresholds / (1 - thresholds),
            },
        }
    return {"confidence": 0.95, "sets": sets, "survival": [kaplan_meier(study)] if survival else []}


def kaplan_meier(study: Any) -> dict[str, Any]:
    g = np.random.default_rng(1)
    rows = ~study.train
    risk = study.risk["combined"][rows]
    time = g.exponential(np.where(risk > 0.3, 200, 420)).round(1) + 1
    event = (g.random(len(time)) < 0.8).astype(int)
    at = [0.0, 400.0, 800.0, 1200.0, 1600.0]
    groups, at_risk = [], {}
    for name, members in (("low risk", risk <= 0.3), ("high risk", risk > 0.3)):
        curve = survival.kaplan_meier(time[members], event[members], confidence="log-log")
        groups.append(
            {"name": name, "n": int(members.sum()), "events": int(event[members].sum()),
             "median": curve.median[0], "time": [0.0, *curve.time], "survival": [1.0, *curve.survival],
             "low": [1.0, *curve.lower], "high": [1.0, *curve.upper],
             "censored": time[members][event[members] == 0].tolist()}
        )  # fmt: skip
        at_risk[name] = [int((time[members] >= t).sum()) for t in at]
    test = survival.log_rank(time, event, risk > 0.3)
    return {
        "set": VALIDATION, "end_point": "time to progression", "unit": "days",
         "cutoff": "frozen risk at or above 0.300",
        "groups": groups, "at_risk_times": at, "at_risk": at_risk, "p": test.p,
        "hazard_ratio": {"value": 2.1, "low": 1.2, "high": 3.7},
        "concordance": {"c": 0.63, "lower": 0.55, "upper": 0.71},
    }  # fmt: skip
