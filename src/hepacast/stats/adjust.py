"""Adjusting P values for their number, as R's `p.adjust`."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from hepacast.errors import ModelError
from hepacast.stats.design import Array

METHODS = ("none", "bonferroni", "holm", "hochberg", "hommel", "BH", "BY")


def p_adjust(p: ArrayLike, method: str = "BH", *, n: int | None = None) -> Array:
    """Adjusted P values; NaN stay NaN and are not counted.

    Parameters
    ----------
    method
        `none`, `bonferroni`, `holm`, `hochberg`, `hommel`, `BH` (Benjamini-Hochberg, also `fdr`) or `BY`.
    n
        Number of comparisons, when more were made than are given.

    Raises
    ------
    ModelError
        Unknown method, or a P value outside [0, 1].
    """
    values = np.asarray(p, dtype=float)
    name = {"fdr": "BH", "bh": "BH", "by": "BY"}.get(method, method)
    if name not in METHODS:
        raise ModelError("Unknown adjustment.", expected=", ".join(METHODS), found=method)
    flat = values.ravel()
    known = np.flatnonzero(~np.isnan(flat))
    if known.size and (flat[known].min() < 0 or flat[known].max() > 1):
        raise ModelError("P values lie between 0 and 1.", found=f"{flat[known].min():g} to {flat[known].max():g}")
    result = np.full(flat.shape, np.nan)
    result[known] = _adjust(flat[known], name, known.size if n is None else max(int(n), known.size))
    return result.reshape(values.shape)


def _adjust(p: Array, method: str, n: int) -> Array:
    m = p.size
    if method == "none" or n <= 1 or m == 0:
        return p
    if method == "bonferroni":
        return np.minimum(1.0, n * p)
    if method == "hommel":
        return _hommel(p, n)
    order = np.argsort(p, kind="stable")
    rank = np.arange(1, m + 1)
    adjusted = np.empty(m)
    if method == "holm":
        adjusted[order] = np.maximum.accumulate((n + 1 - rank) * p[order])
    else:
        factor = (n + 1 - rank) if method == "hochberg" else n / rank
        if method == "BY":
            factor = factor * np.sum(1.0 / np.arange(1, n + 1))
        adjusted[order] = np.minimum.accumulate((factor * p[order])[::-1])[::-1]
    return np.minimum(1.0, adjusted)


def _hommel(p: Array, n: int) -> Array:
    # Comparisons that were made but not given count as P = 1.
    padded = np.concatenate([p, np.ones(n - p.size)])
    order = np.argsort(padded, kind="stable")
    ordered = padded[order]
    rank = np.arange(1, n + 1)
    q = np.full(n, float(np.min(n * ordered / rank)))
    best = q.copy()
    for m in range(n - 1, 1, -1):
        head = np.arange(n - m + 1)
        tail = np.arange(n - m + 1, n)
        smallest = np.min(m * ordered[tail] / np.arange(2, m + 1))
        q[head] = np.minimum(m * ordered[head], smallest)
        q[tail] = q[n - m]
        best = np.maximum(best, q)
    adjusted = np.empty(n)
    adjusted[order] = np.maximum(best, ordered)
    return adjusted[: p.size]
