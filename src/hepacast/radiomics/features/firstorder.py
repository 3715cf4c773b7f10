"""First-order features: how the voxels' intensities are distributed, whatever their places."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hepacast.radiomics.discretise import Levels
from hepacast.radiomics.features.base import EPS, FeatureSettings, UndefinedError
from hepacast.radiomics.kernels import statistics


def firstorder(
    values: npt.NDArray[np.float64],
    ends: tuple[float, float],
    levels: Levels | None,
    voxel_volume: float,
    settings: FeatureSettings,
    names: Sequence[str],
) -> dict[str, float | UndefinedError]:
    """First-order features of a VOI (PyRadiomics ``firstorder``; IBSI 1 section 3.3, families DHQ4 and ZVCW).

    Parameters
    ----------
    values
        Finite intensities of the voxels, at least one.
    ends
        The smallest and the largest of them.
    levels
        The same voxels' grey levels; needed for Entropy and Uniformity only.
    voxel_volume
        mm^3 (TotalEnergy).
    names
        Features to return.

    Returns
    -------
    dict
        Value, or the reason why there is none, by name.
    """
    n = values.size
    low, high = float(ends[0]), float(ends[1])
    total, energy = statistics.sums(values, float(settings.voxel_array_shift))
    flat = low == high
    mean = low if flat else total / n
    p10, p25, median, p75, p90 = statistics.percentiles(values, (10, 25, 50, 75, 90), (low, high))
    absolute, second, third, fourth = (moment / n for moment in statistics.central_sums(values, mean))
    result: dict[str, float | UndefinedError] = {
        "10Percentile": p10,
        "90Percentile": p90,
        "Energy": energy,
        "InterquartileRange": p75 - p25,
        "Kurtosis": fourth / second**2 if second else 0.0,  # PyRadiomics: 0 in a flat region, and no excess of 3
        "Maximum": high,
        "MeanAbsoluteDeviation": absolute,
        "Mean": mean,
        "Median": median,
        "Minimum": low,
        "Range": high - low,
        "RobustMeanAbsoluteDeviation": _robust_deviation(values, p10, p90),
        "RootMeanSquared": math.sqrt(energy / n),
        "Skewness": third / second**1.5 if second else 0.0,
        "StandardDeviation": math.sqrt(second),
        "TotalEnergy": energy * voxel_volume,
        "Variance": second,
    }
    if levels is not None:
        share = levels.counts[levels.present] / n
        result["Entropy"] = float(-np.sum(share * np.log2(share + EPS)))
        result["Uniformity"] = float(np.sum(share**2))
    return {name: result[name] for name in names if name in result}


def _robust_deviation(values: npt.NDArray[np.float64], p10: float, p90: float) -> float | UndefinedError:
    count, total = statistics.sum_between(values, p10, p90)
    if not count:  # two voxels: both lie outside their own 10th and 90th percentiles
        return UndefinedError("no voxel lies between the 10th and the 90th percentile")
    return float(statistics.absolute_between(values, p10, p90, total / count)) / count
