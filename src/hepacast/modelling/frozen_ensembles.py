"""`AutoClassifier`, stacks and calibrated classifiers as plain arrays, and their scores from these by NumPy alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from hepacast.modelling.auto import AutoClassifier, places_among
from hepacast.modelling.auto_members import TREES, Linear, Machine, Radial, squared_distances
from hepacast.modelling.base import Array
from hepacast.modelling.chain_score import Stacked
from hepacast.modelling.classifiers import Calibrated, clipped_log_odds
from hepacast.modelling.frozen_classifiers import (
    FrozenClassifier,
    freeze_classifier,
    freeze_svm,
    sorted_rows,
    svm_score,
)
from hepacast.modelling.frozen_trees import forest_risk, freeze_forest

Settings = dict[str, Any]
Arrays = dict[str, NDArray[Any]]


def freeze_auto(fitted: AutoClassifier) -> tuple[Settings, Arrays]:
    """Ranks to normal scores of every feature, then the members that count, with their weights.

    The sorted training values of each feature are in the arrays (each feature by itself), and of a member with a
    radial kernel the normal scores of the training rows, sorted.
    """
    places = fitted.ranks_.places_
    arrays: Arrays = {
        "kept": np.flatnonzero(~fitted.ranks_.flat_).astype(np.int32),
        "starts": np.cumsum([0, *(len(values) for values, _ in places)]).astype(np.int64),
        "values": np.concatenate([values for values, _ in places]) if places else np.zeros(0),
        "scores": np.concatenate([scores for _, scores in places]) if places else np.zeros(0),
        "spread": fitted.spread_,
    }
    members: list[Settings] = []
    for number, (name, weight) in enumerate(fitted.weights_.items()):
        settings, own = _freeze_member(fitted.forest_ if name == TREES else fitted.members_[name])
        members.append({"name": name, "weight": weight, **settings})
        arrays |= {f"{number}-{key}": value for key, value in own.items()}
        arrays[f"{number}-known"] = fitted.places_[name]
    return {"members": members}, arrays


def _freeze_member(member: Any) -> tuple[Settings, Arrays]:
    if isinstance(member, Linear):
        return {"kind": "linear"}, {"coefficients": member.coefficients}
    if isinstance(member, Radial):
        train, alpha = sorted_rows(member.train, member.alpha)
        return {"kind": "radial", "width": float(member.width)}, {"root": member.root, "train": train, "alpha": alpha}
    if isinstance(member, Machine):
        settings, own = freeze_svm(member.estimator)
        return {"kind": "svm", "svm": settings}, {**own, "columns": member.columns}
    return {"kind": "forest"}, freeze_forest(member)[1]


def auto_score(settings: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], values: Array) -> Array:
    """The weighted score of each row, as `AutoClassifier.decision_function`."""
    kept, starts = arrays["kept"], arrays["starts"]
    Z = np.empty((len(values), len(kept)))
    for j, column in enumerate(kept):
        part = slice(int(starts[j]), int(starts[j + 1]))
        Z[:, j] = np.interp(values[:, column], arrays["values"][part], arrays["scores"][part])
    Z /= arrays["spread"]
    total = np.zeros(len(values))
    for number, member in enumerate(settings["members"]):
        own = {key.removeprefix(f"{number}-"): item for key, item in arrays.items() if key.startswith(f"{number}-")}
        total += float(member["weight"]) * places_among(_member_score(member, own, Z), own["known"])
    return total


def _member_score(member: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], Z: Array) -> Array:
    kind = member["kind"]
    if kind == "linear":
        return np.asarray(Z @ arrays["coefficients"])
    if kind == "radial":
        used = arrays["root"] > 0
        rows = Z[:, used] * arrays["root"][used]
        return np.asarray(np.exp(-squared_distances(rows, arrays["train"]) / float(member["width"])) @ arrays["alpha"])
    if kind == "svm":
        return svm_score(member["svm"], arrays, Z[:, arrays["columns"]])
    return forest_risk(arrays, Z)


def freeze_stack(fitted: Stacked) -> tuple[Settings, Arrays]:
    """Each member, then the linear model of their scores."""
    parts = [freeze_classifier(member) for _, member in fitted.members_]
    parts.append(freeze_classifier(fitted.combination_))
    arrays = {f"{number}-{key}": item for number, part in enumerate(parts) for key, item in part.arrays.items()}
    return {"parts": [{"kind": part.kind, "settings": dict(part.settings)} for part in parts]}, arrays


def freeze_calibrated(fitted: Calibrated) -> tuple[Settings, Arrays]:
    """The classifier, and the map from its scores to risks: isotonic steps, or a logistic model."""
    inner = freeze_classifier(fitted.classifier_)
    arrays = {f"0-{key}": item for key, item in inner.arrays.items()}
    if fitted.method == "isotonic":
        arrays |= {"x": np.asarray(fitted.map_.X_thresholds_), "y": np.asarray(fitted.map_.y_thresholds_)}
    else:
        slope = np.ravel(np.asarray(fitted.map_.coef_, dtype=float))
        # Scores that were all the same have no slope.
        arrays["map"] = np.array([float(np.ravel(fitted.map_.intercept_)[0]), slope[0] if slope.size else 0.0])
    return {"method": fitted.method, "kind": inner.kind, "settings": dict(inner.settings)}, arrays


def calibrated_score(settings: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], values: Array) -> Array:
    """Log odds of the calibrated risk, as `raw_score` of `Calibrated`."""
    own = {key.removeprefix("0-"): item for key, item in arrays.items() if key.startswith("0-")}
    scores = FrozenClassifier(settings["kind"], settings["settings"], own).score(values)
    if settings["method"] == "isotonic":
        return clipped_log_odds(np.interp(scores, arrays["x"], arrays["y"]))
    return clipped_log_odds(expit(arrays["map"][0] + arrays["map"][1] * scores))


def stack_score(settings: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], values: Array) -> Array:
    """Log odds of each row, as `Stacked.decision_function`."""
    parts = [
        FrozenClassifier(
            part["kind"],
            part["settings"],
            {key.removeprefix(f"{number}-"): item for key, item in arrays.items() if key.startswith(f"{number}-")},
        )
        for number, part in enumerate(settings["parts"])
    ]
    return parts[-1].score(np.column_stack([part.score(values) for part in parts[:-1]]))
