"""IBSI's texture families (sections 3.6 to 3.11) in all aggregations."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from hepacast.radiomics.ibsi import matrices
from hepacast.radiomics.ibsi.matrices import Entries, Ints
from hepacast.radiomics.ibsi.names import SHARED, dimension_of
from hepacast.radiomics.ibsi.process import IbsiVoi

Array = npt.NDArray[np.float64]


def textures(voi: IbsiVoi, aggregations: Iterable[str], alpha: int) -> dict[str, float]:
    """All texture features of a VOI.

    Parameters
    ----------
    aggregations
        Of `parameters.AGGREGATIONS`.
    alpha
        Largest difference of dependent levels (neighboring gray level dependence).
    """
    places = np.argwhere(voi.morphological)
    box = tuple(slice(a, b) for a, b in zip(places.min(axis=0), places.max(axis=0) + 1))
    levels, mask = np.ascontiguousarray(voi.levels[box]), voi.morphological[box]
    chosen = list(aggregations)
    result: dict[str, float] = {}
    for flat in (True, False):
        wanted = [how for how in chosen if how.startswith("3D") != flat]
        if not wanted:
            continue
        steps = matrices.IN_SLICE if flat else matrices.IN_SPACE
        pairs = matrices.cooccurrences(levels, steps, flat)
        lines = matrices.runs(levels, steps, flat)
        for how in wanted:
            for entries, family, formulas in (
                (pairs, "cm", lambda i, j, count, voxels: cooccurrence_features(i, j, count, voi.n_levels)),
                (lines, "rlm", lambda i, j, count, voxels: shared_features("rlm", i, j, count, voxels)),
            ):
                grouped = entries.regrouped(_groups(len(entries.voxels), len(steps), how))
                result.update(_averaged(grouped, formulas, family, how))
        result.update(_without_direction(levels, mask, flat, wanted, voi.n_levels, alpha))
    return result


def _without_direction(
    levels: Ints, mask: npt.NDArray[np.bool_], flat: bool, wanted: list[str], n_levels: int, alpha: int
) -> dict[str, float]:
    """Families that know no directions: zones, distance zones, tone differences, dependences."""
    sizes, distances = matrices.zones(levels, matrices.border_distance(mask, flat), flat)
    near = matrices.dependences(levels, flat, alpha)
    tones = matrices.tone_differences(levels, flat)
    result: dict[str, float] = {}
    for dimension in dict.fromkeys(dimension_of(how) for how in wanted):
        merged = dimension == "2_5D"
        for family, entries in (("szm", sizes), ("dzm", distances), ("ngl", near)):
            group = np.zeros(len(entries.voxels), dtype=np.int64) if merged else np.arange(len(entries.voxels))

            def formulas(*matrix: object, family: str = family) -> dict[str, float]:
                return shared_features(family, *matrix)  # type: ignore[arg-type]

            result.update(_averaged(entries.regrouped(group), formulas, family, dimension))
        part = np.zeros_like(tones[0]) if merged else tones[0]
        found = [
            tone_difference_features(tones[1][part == number], tones[2][part == number], n_levels)
            for number in np.unique(part)
        ]
        result.update(_mean(found, "ngt", dimension))
    return result


def _groups(count: int, directions: int, how: str) -> Ints:
    """Which matrices are merged: part = slice * directions + direction."""
    part = np.arange(count)
    if how in ("2D_avg", "3D_avg"):
        return part
    if how == "2D_comb":
        return part // directions
    if how == "2_5D_avg":
        return part % directions
    return np.zeros_like(part)


def _averaged(
    entries: Entries, formulas: Callable[..., dict[str, float]], family: str, suffix: str
) -> dict[str, float]:
    return _mean([formulas(*matrix) for matrix in entries.split()], family, suffix)


def _mean(found: list[dict[str, float]], family: str, suffix: str) -> dict[str, float]:
    if not found:
        return {}
    return {f"{family}_{name}_{suffix}": float(np.mean([one[name] for one in found])) for name in found[0]}


def cooccurrence_features(i: Ints, j: Ints, count: Array, n_levels: int) -> dict[str, float]:
    """Features of one symmetric co-occurrence matrix (section 3.6)."""
    p = count / count.sum()
    size = n_levels + 1
    px = np.bincount(i, weights=p, minlength=size)
    gray = np.arange(size)
    mean = float((gray * px).sum())
    variance = float(((gray - mean) ** 2 * px).sum())
    gap = np.bincount(np.abs(i - j), weights=p, minlength=size)
    total = np.bincount(i + j, weights=p, minlength=2 * size)
    k_gap, k_total = np.arange(len(gap)), np.arange(len(total))
    gap_mean, total_mean = float((k_gap * gap).sum()), float((k_total * total).sum())
    both = i + j - 2 * mean
    entropy, px_entropy = _entropy(p), _entropy(px)
    product = px[i] * px[j]
    hxy1 = float(-(p * np.log2(product)).sum())
    hxy2 = 2 * px_entropy  # of independent rows and columns
    return {
        "joint_max": float(p.max()),
        "joint_avg": mean,
        "joint_var": variance,
        "joint_entr": entropy,
        "diff_avg": gap_mean,
        "diff_var": float(((k_gap - gap_mean) ** 2 * gap).sum()),
        "diff_entr": _entropy(gap),
        "sum_avg": total_mean,
        "sum_var": float(((k_total - total_mean) ** 2 * total).sum()),
        "sum_entr": _entropy(total),
        "energy": float((p**2).sum()),
        "contrast": float((k_gap**2 * gap).sum()),
        "dissimilarity": gap_mean,
        "inv_diff": float((gap / (1 + k_gap)).sum()),
        "inv_diff_norm": float((gap / (1 + k_gap / n_levels)).sum()),
        "inv_diff_mom": float((gap / (1 + k_gap**2)).sum()),
        "inv_diff_mom_norm": float((gap / (1 + k_gap**2 / n_levels**2)).sum()),
        "inv_var": float((gap[1:] / k_gap[1:] ** 2).sum()),
        "corr": float(((i - mean) * (j - mean) * p).sum() / variance) if variance > 0 else 1.0,
        "auto_corr": float((i * j * p).sum()),
        "clust_tend": float((both**2 * p).sum()),
        "clust_shade": float((both**3 * p).sum()),
        "clust_prom": float((both**4 * p).sum()),
        "info_corr1": (entropy - hxy1) / px_entropy if px_entropy > 0 else 0.0,
        "info_corr2": float(np.sqrt(max(0.0, 1 - np.exp(-2 * (hxy2 - entropy))))),
    }


def _entropy(p: npt.NDArray[Any]) -> float:
    used = p[p > 0]
    return float(-(used * np.log2(used)).sum())


def shared_features(family: str, i: Ints, j: Ints, count: Array, voxels: float) -> dict[str, float]:
    """Features of a matrix of gray level i and size, distance or dependence j."""
    n = count.sum()
    p = count / n
    low, high = 1.0 / i.astype(np.float64) ** 2, i.astype(np.float64) ** 2
    small, large = 1.0 / j.astype(np.float64) ** 2, j.astype(np.float64) ** 2
    by_level = np.bincount(i, weights=count)
    by_size = np.bincount(j, weights=count)
    values = [
        (small * p).sum(),
        (large * p).sum(),
        (low * p).sum(),
        (high * p).sum(),
        (small * low * p).sum(),
        (small * high * p).sum(),
        (large * low * p).sum(),
        (large * high * p).sum(),
        (by_level**2).sum() / n,
        (by_level**2).sum() / n**2,
        (by_size**2).sum() / n,
        (by_size**2).sum() / n**2,
        n / voxels,
        (p * (i - (p * i).sum()) ** 2).sum(),
        (p * (j - (p * j).sum()) ** 2).sum(),
        _entropy(p),
        (p**2).sum(),
    ]
    return {name: float(value) for name, value in zip(SHARED[family].split(), values)}


def tone_difference_features(level: Ints, gap: Array, n_levels: int) -> dict[str, float]:
    """Features of one neighborhood gray tone difference matrix (section 3.10)."""
    n = np.bincount(level).astype(np.float64)
    s = np.bincount(level, weights=gap)
    present = np.flatnonzero(n)
    total = n.sum()
    p, s = n[present] / total, s[present]
    i = present.astype(np.float64)
    weighted = float((p * s).sum())
    pi, pj = p[:, None], p[None, :]
    gi, gj = i[:, None], i[None, :]
    levels = len(present)
    spread = float((pi * pj * (gi - gj) ** 2).sum())
    busy = float(np.abs(gi * pi - gj * pj).sum())
    strength = float(((pi + pj) * (gi - gj) ** 2).sum())
    complexity = (np.abs(gi - gj) * (pi * s[:, None] + pj * s[None, :]) / (pi + pj)).sum() / total
    return {
        "coarseness": 1.0 / weighted if weighted > 0 else 1e6,
        "contrast": spread / (levels * (levels - 1)) * float(s.sum()) / total if levels > 1 else 0.0,
        "busyness": weighted / busy if levels > 1 and busy > 0 else 0.0,
        "complexity": float(complexity),
        "strength": strength / float(s.sum()) if s.sum() > 0 else 0.0,
    }
