"""The formulas that runs, zones and dependences share: a matrix of grey level i by size j."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from hepacast.radiomics.features.base import EPS
from hepacast.radiomics.kernels.cells import CellCounts

#: Names of the shared formulas in each class; "Small"/"Large" mean the size, "Low"/"High" the level.
RUN_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "ShortRunEmphasis": "small",
        "LongRunEmphasis": "large",
        "GrayLevelNonUniformity": "level_squares",
        "GrayLevelNonUniformityNormalized": "level_squares_normalized",
        "RunLengthNonUniformity": "size_squares",
        "RunLengthNonUniformityNormalized": "size_squares_normalized",
        "RunPercentage": "percentage",
        "GrayLevelVariance": "level_variance",
        "RunVariance": "size_variance",
        "RunEntropy": "entropy",
        "LowGrayLevelRunEmphasis": "low",
        "HighGrayLevelRunEmphasis": "high",
        "ShortRunLowGrayLevelEmphasis": "small_low",
        "ShortRunHighGrayLevelEmphasis": "small_high",
        "LongRunLowGrayLevelEmphasis": "large_low",
        "LongRunHighGrayLevelEmphasis": "large_high",
    }
)

ZONE_NAMES: Mapping[str, str] = MappingProxyType(
    {
        name.replace("ShortRun", "SmallArea")
        .replace("LongRun", "LargeArea")
        .replace("RunLength", "SizeZone")
        .replace("Run", "Zone"): formula
        for name, formula in RUN_NAMES.items()
    }
)

DEPENDENCE_NAMES: Mapping[str, str] = MappingProxyType(
    {
        name.replace("ShortRun", "SmallDependence")
        .replace("LongRun", "LargeDependence")
        .replace("RunLength", "Dependence")
        .replace("LevelRun", "Level")
        .replace("Run", "Dependence"): formula
        for name, formula in RUN_NAMES.items()
        if name not in ("GrayLevelNonUniformityNormalized", "RunPercentage")
    }
)


def size_formulas(cells: CellCounts, level_of_code: npt.NDArray[np.int64]) -> dict[str, float]:
    """All shared formulas of one matrix (PyRadiomics; IBSI 1 sections 3.7, 3.8 and 3.11).

    Parameters
    ----------
    cells
        One matrix with at least one cell.
    level_of_code
        Grey level of each code.
    """
    i = level_of_code[cells.code].astype(np.float64)
    j = cells.size.astype(np.float64)
    count = cells.count
    n = count.sum()
    i2, j2 = i * i, j * j
    by_level = np.bincount(cells.code, count)
    place = np.unique(cells.size, return_inverse=True)[1]
    by_size = np.bincount(place, count)
    level_squares, size_squares = float((by_level**2).sum()), float((by_size**2).sum())
    share = count / n
    level_mean, size_mean = (share * i).sum(), (share * j).sum()
    result = {
        "small": (count / j2).sum() / n,
        "large": (count * j2).sum() / n,
        "level_squares": level_squares / n,
        "level_squares_normalized": level_squares / n**2,
        "size_squares": size_squares / n,
        "size_squares_normalized": size_squares / n**2,
        "percentage": n / (count * j).sum(),
        "level_variance": (share * (i - level_mean) ** 2).sum(),
        "size_variance": (share * (j - size_mean) ** 2).sum(),
        "entropy": -(share * np.log2(share + EPS)).sum(),
        "low": (count / i2).sum() / n,
        "high": (count * i2).sum() / n,
        "small_low": (count / (i2 * j2)).sum() / n,
        "small_high": (count * i2 / j2).sum() / n,
        "large_low": (count * j2 / i2).sum() / n,
        "large_high": (count * i2 * j2).sum() / n,
    }
    return {name: float(value) for name, value in result.items()}
