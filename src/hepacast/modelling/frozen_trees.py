"""Forests and boosted trees as arrays of nodes.

All trees lie one behind the other: node i goes to ``left[i]`` or ``right[i]`` (numbers over all trees), and a leaf has
``feature[i] = -1`` and its value. Trees compare in single precision, as scikit-learn's and XGBoost's do.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepacast.errors import ModelError
from hepacast.modelling.base import Array

Arrays = dict[str, NDArray[Any]]


def freeze_forest(fitted: Any) -> tuple[dict[str, Any], Arrays]:
    """A random forest or extra trees; a leaf's value is its share of events, or of a regression its mean."""
    parts, start = [], 0
    for item in fitted.estimators_:
        tree = item.tree_
        inner = tree.children_left >= 0
        told = tree.value[:, 0, :]
        value = told[:, 1] / told.sum(axis=1) if told.shape[1] > 1 else told[:, 0]
        parts.append(
            {
                "feature": np.where(inner, tree.feature, -1).astype(np.int32),
                "threshold": np.where(inner, tree.threshold, 0.0),
                "left": np.where(inner, tree.children_left + start, 0).astype(np.int32),
                "right": np.where(inner, tree.children_right + start, 0).astype(np.int32),
                "value": np.where(inner, 0.0, value),
                "starts": np.array([start], dtype=np.int32),
            }
        )
        start += tree.node_count
    return {}, _joined(parts)


def forest_risk(arrays: Mapping[str, NDArray[Any]], values: Array) -> Array:
    """Mean over the trees of the share of events in the leaf, shape (n,)."""
    leaves = _leaves(arrays, values.astype(np.float32), below=np.less_equal)
    return np.asarray(arrays["value"][leaves].mean(axis=1), dtype=float)


def freeze_boosting(fitted: Any) -> tuple[dict[str, Any], Arrays]:
    """XGBoost's trees of a logistic objective, from the package's own JSON.

    Raises
    ------
    ModelError
        Another booster or objective, or splits by category.
    """
    content = json.loads(bytes(fitted.get_booster().save_raw("json")))["learner"]
    booster, objective = content["gradient_booster"]["name"], content["objective"]["name"]
    if booster != "gbtree" or objective != "binary:logistic":
        raise ModelError(
            "Boosted trees are frozen for a logistic objective.",
            expected="gbtree with binary:logistic",
            found=f"{booster} with {objective}",
        )
    parts, start = [], 0
    for tree in content["gradient_booster"]["model"]["trees"]:
        if any(tree.get("split_type", ())):
            raise ModelError("Boosted trees that split by category cannot be frozen.")
        left, right = (np.array(tree[name], dtype=np.int64) for name in ("left_children", "right_children"))
        conditions = np.array(tree["split_conditions"], dtype=np.float32)
        inner = left >= 0
        parts.append(
            {
                "feature": np.where(inner, np.array(tree["split_indices"], dtype=np.int64), -1).astype(np.int32),
                "threshold": np.where(inner, conditions, np.float32(0)),
                "left": np.where(inner, left + start, 0).astype(np.int32),
                "right": np.where(inner, right + start, 0).astype(np.int32),
                "value": np.where(inner, np.float32(0), conditions),
                "starts": np.array([start], dtype=np.int32),
            }
        )
        start += len(left)
    # XGBoost 3 writes one base score a target, "[4.9E-1]"; earlier versions a number.
    share = float(str(content["learner_model_param"]["base_score"]).strip("[]"))
    base = np.float32(-np.log(np.float32(1) / np.float32(share) - np.float32(1)))
    return {}, _joined(parts) | {"base": np.array([base], dtype=np.float32)}


def boosted_risk(arrays: Mapping[str, NDArray[Any]], values: Array) -> Array:
    """Risk of the event, in single precision and summed tree by tree as XGBoost does, shape (n,)."""
    leaves = _leaves(arrays, values.astype(np.float32), below=np.less)
    steps = np.column_stack([np.full(len(values), arrays["base"][0], dtype=np.float32), arrays["value"][leaves]])
    margin = np.cumsum(steps, axis=1, dtype=np.float32)[:, -1]
    risk = np.float32(1) / (np.float32(1) + np.exp(-np.maximum(margin, np.float32(-88.7))))
    return np.asarray(risk, dtype=float)


def _joined(parts: Sequence[Arrays]) -> Arrays:
    if not parts:
        raise ModelError("The classifier has no tree.")
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _leaves(arrays: Mapping[str, NDArray[Any]], values: NDArray[np.float32], below: np.ufunc) -> NDArray[np.int64]:
    """The leaf of every row in every tree, shape (n, trees)."""
    feature, threshold, left, right = (arrays[name] for name in ("feature", "threshold", "left", "right"))
    node = np.broadcast_to(arrays["starts"].astype(np.int64), (len(values), len(arrays["starts"]))).copy()
    rows = np.arange(len(values))[:, None]
    while True:
        asked = feature[node]
        inner = asked >= 0
        if not inner.any():
            return node
        goes_left = below(values[rows, np.maximum(asked, 0)], threshold[node])
        node = np.where(inner, np.where(goes_left, left[node], right[node]), node)
