"""Neighbouring grey-tone difference matrix (NGTDM): how far levels lie from their neighbours' mean."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hepacast.core.jit import jit
from hepacast.radiomics.discretise import LevelImage
from hepacast.radiomics.features.base import UndefinedError
from hepacast.radiomics.kernels.neighbours import Neighbourhoods


def ngtdm_matrix(
    image: LevelImage, found: Neighbourhoods
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Level, number of voxels and sum of differences, for the levels that occur.

    Voxels without neighbours are counted with a difference of 0 (IBSI leaves them out).
    """
    number = found.voxels.sum(axis=1)
    m = np.arange(1, found.voxels.shape[1])
    difference = (found.difference[:, 1:] / m).sum(axis=1)
    kept = number > 0
    return image.level_of_code[kept].astype(np.float64), number[kept].astype(np.float64), difference[kept]


def ngtdm(image: LevelImage, found: Neighbourhoods, names: Sequence[str]) -> dict[str, float | UndefinedError]:
    """NGTDM features (PyRadiomics ``ngtdm``; IBSI 1 section 3.10, family IPET).

    PyRadiomics' values where a denominator is 0 are kept: Coarseness 10^6, the others 0.
    """
    level, number, difference = ngtdm_matrix(image, found)
    total = number.sum()
    p = number / total
    coarse = float((p * difference).sum())
    spread, apart, complexity, strength = _pair_terms(level, p, difference)
    n_levels = len(level)
    differences = float(difference.sum())
    result = {
        "Busyness": coarse / apart if apart else 0.0,
        "Coarseness": 1 / coarse if coarse else 1e6,
        "Complexity": complexity / total,
        "Contrast": spread * differences / total / (n_levels * (n_levels - 1)) if n_levels > 1 else 0.0,
        "Strength": strength / differences if differences else 0.0,
    }
    return {name: float(result[name]) for name in names}


@jit
def _pair_terms(level, p, s):  # type: ignore[no-untyped-def]
    """Sums over all pairs of levels: contrast, busyness' denominator, complexity, strength's numerator."""
    spread = 0.0
    apart = 0.0
    complexity = 0.0
    strength = 0.0
    for i in range(level.size):
        for j in range(level.size):
            step = level[i] - level[j]
            both = p[i] + p[j]
            spread += p[i] * p[j] * step * step
            apart += abs(level[i] * p[i] - level[j] * p[j])
            complexity += abs(step) * (p[i] * s[i] + p[j] * s[j]) / both
            strength += both * step * step
    return spread, apart, complexity, strength
