"""`fusion.json`: how classifiers and networks compared; stability of the choices; sentences for the Methods."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from hepacast.core.p_values import p_below
from hepacast.modelling.clinical import CANDIDATES_TESTED
from hepacast.modelling.fusion import NETWORK, ViewResult, score_name
from hepacast.modelling.stability import selection_stability
from hepacast.modelling.validation import OutOfFold
from hepacast.stats.ranks import auc_covariance, auc_from_ranks
from hepacast.stats.resampling import repeated_folds
from hepacast.study.schema import Fusion
from hepacast.study.stages.fusion_networks import NetworkScores
from hepacast.study.stages.modelling import Analysis

#: Classifiers in words.
CLASSIFIER_NAMES = {
    "logistic": "Logistic regression",
    "ridge": "Ridge logistic regression",
    "svm": "Support vector machine",
    "knn": "k nearest neighbors",
    "random_forest": "Random forest",
    "extra_trees": "Extra trees",
    "xgboost": "XGBoost",
    "mlp": "Multilayer perceptron",
    "naive_bayes": "Naive Bayes",
}


def fusion_json(
    rules: Fusion,
    outer: list[ViewResult],
    final: ViewResult,
    outcome: pd.Series,
    analysis: Analysis,
    networks: NetworkScores | None,
    level: float,
) -> dict[str, Any]:
    """Every competitor: cross-validated AUC, in how many outer folds it was chosen, AUC in other sets."""
    rows = []
    for item in final.candidates:
        column = f"{item.part}/{item.name}"
        nested = _over_folds(outcome, [result.competitors[column] for result in outer], level)
        chosen = [c.name for r in outer for c in r.candidates if c.part == item.part and c.chosen]
        sets = {
            name: _auc(analysis.outcome, final.competitors[column].loc[analysis.cohort.members(name)])
            for name in dict.fromkeys(analysis.cohort.sets)
            if name != "training"
        }
        rows.append(
            {
                "score": score_name(item.part),
                "name": item.name if item.part == NETWORK else CLASSIFIER_NAMES[item.name],
                "kind": "network" if item.part == NETWORK else "classifier",
                "inner_auc": item.inner_auc,
                "nested": nested,
                "sets": sets,
                "times_chosen": chosen.count(item.name),
                "chosen": item.chosen,
            }
        )
    return {
        "folds": rules.folds,
        "competitors": rows,
        "choices": _choices(rules, outer, final, outcome, analysis, level),
        "networks": _networks(rules, networks),
        "notes": final.notes,
    }


def _choices(
    rules: Fusion,
    outer: list[ViewResult],
    final: ViewResult,
    outcome: pd.Series,
    analysis: Analysis,
    level: float,
) -> list[dict[str, Any]]:
    """Every score as it was chosen within each outer fold: what the choice itself is worth."""
    rows = []
    for score in final.scores.columns:
        nested = _over_folds(outcome, [r.scores.loc[list(r.risks.index), score] for r in outer], level)
        sets = {
            name: _auc(analysis.outcome, final.scores.loc[analysis.cohort.members(name), score])
            for name in dict.fromkeys(analysis.cohort.sets)
            if name != "training"
        }
        rows.append({"score": score, "nested": nested, "sets": sets})
    return rows


def _over_folds(outcome: pd.Series, scores: list[pd.Series], level: float) -> dict[str, float]:
    """Mean AUC within the outer folds with limits (see `OutOfFold.auc`)."""
    pairs = [
        auc_covariance(outcome.loc[score.index].to_numpy(dtype=float), [score.to_numpy(dtype=float)])
        for score in scores
    ]
    found = repeated_folds([[float(aucs[0]) for aucs, _ in pairs]], [[float(v[0, 0]) for _, v in pairs]], level=level)
    low, high = float(np.maximum(0.0, found.low)), float(np.minimum(1.0, found.high))
    return {"value": found.estimate, "low": low, "high": high}


def _auc(outcome: pd.Series, score: pd.Series) -> float:
    y = outcome.loc[score.index].to_numpy(dtype=int)
    return auc_from_ranks(y, score.to_numpy(dtype=float)) if 0 < y.sum() < len(y) else float("nan")


def _networks(rules: Fusion, networks: NetworkScores | None) -> list[dict[str, Any]]:
    """Size, length of training and losses of every network, over its trainings."""
    rows = []
    for name in networks.names if networks is not None else []:
        assert networks is not None
        trained = list(networks.networks[name].values())
        histories = [item.history for item in trained]
        rows.append(
            {
                "name": name,
                "trainings": len(trained),
                "parameters": int(sum(np.asarray(value).size for value in trained[0].weights.values())),
                "epochs": [len(history) for history in histories],
                "seconds": float(np.sum([entry["seconds"] for history in histories for entry in history])),
                "curves": [_curve(history) for history in histories],
            }
        )
    return rows


def _curve(history: tuple[dict[str, Any], ...]) -> dict[str, list[float | None]]:
    """Losses by epoch, whatever the training loop calls them."""
    names = [name for name in history[0] if name not in ("epoch", "seconds", "learning_rate")] if history else []
    return {name: [entry.get(name) for entry in history] for name in names}


def stability(outer: list[ViewResult], features: pd.DataFrame, analysis: Analysis, level: float) -> dict[str, Any]:
    """How often features and clinical predictors were selected over the outer folds."""
    labels = {item.name: item.label for item in analysis.predictors}
    lists: dict[str, tuple[list[list[str]], int]] = {}
    if outer and outer[0].clinical is not None:
        lists["clinical"] = ([list(r.clinical.selected_) for r in outer if r.clinical is not None], len(labels))
    if outer and outer[0].selected:
        family = next(iter(outer[0].selected))
        lists["radiomics"] = ([r.selected[family] for r in outer], features.shape[1])
    shares: dict[str, Any] = {}
    indexes: dict[str, Any] = {}
    for part, (chosen, size) in lists.items():
        found = selection_stability(chosen, size, level)
        shares[part] = [
            {"name": str(name), "label": labels.get(str(name)), "frequency": float(share)}
            for name, share in found.frequency.items()
        ]
        indexes[part] = {"index": found.index, "low": found.ci_low, "high": found.ci_high}
    return {"stability": shares, "nogueira": indexes, "refits": len(outer)}


def sentences(rules: Fusion, final: ViewResult, nested: OutOfFold) -> list[dict[str, Any]]:
    """What was done, for the Methods."""
    texts: list[tuple[str, list[str]]] = []
    if final.clinical is not None:
        alpha = p_below(final.clinical.alpha)
        joint = (
            f"Those with {alpha} entered a multivariate logistic model; those with {alpha} in it are its predictors."
        )
        texts.append((f"{CANDIDATES_TESTED} {joint}", []))
    if final.counts:
        steps = next(iter(final.counts.values()))
        names = ", ".join(CLASSIFIER_NAMES[name].lower().replace("xgboost", "XGBoost") for name in rules.classifiers)
        chain = "; ".join(map(str, steps))
        texts.append(
            (
                f"Features passed through: {chain}; on those left {len(rules.classifiers)} classifiers competed "
                f"({names}).",
                ["lasso"],
            )
        )
    if rules.networks:
        names = ", ".join(item.name for item in rules.networks)
        pairs = rules.folds * (rules.folds - 1) // 2
        texts.append(
            (
                f"Networks ({names}) [@resnet] were trained without each of the {pairs} pairs of {rules.folds} folds, "
                "so that every score and feature that entered another model was of a network that had not seen the "
                "patient, and none within an outer fold had seen that fold; other sets got the mean of all trainings.",
                ["resnet"],
            )
        )
    texts.append(
        (
            "Which classifier and which network was used was decided by the AUC in inner folds alone; "
            f"the whole procedure, that choice included, was judged in {nested.folds} outer folds [@nested-cv]. Scores "
            "and clinical predictors were joined by logistic models that were fitted to scores of fits without the "
            "patient; cut-offs are Youden's of these risks.",
            ["nested-cv"],
        )
    )
    return [{"stage": "modelling", "text": text, "citations": keys} for text, keys in texts]
