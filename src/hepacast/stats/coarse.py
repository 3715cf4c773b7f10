"""The range of a number in some patients, told so that no patient's value can be read from it."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

#: Patients whose mean an end rests on, at least.
FEWEST = 5
#: Share of the patients at either end.
_SHARE = 0.05


def coarse_range(values: ArrayLike) -> tuple[float, float]:
    """About the smallest and the largest of so many values, from the means of the tails, rounded outwards.

    Either end is where an exponential tail with the mean of the outer 5 % of the patients (5 at least) would have its
    extreme: t + (mean - t)(ln k + 0.577) of the k values beyond t, the expected largest of k exponential ones. Ends at
    which 5 patients or more have one value are that value.

    Parameters
    ----------
    values
        Of the patients; NaN is left out.

    Returns
    -------
    low, high
        NaN where no value is known. What is never negative has no negative end, what is always above 0 one above 0.
    """
    known = np.sort(np.asarray(values, dtype=float).ravel())
    known = known[np.isfinite(known)]
    if not known.size:
        return math.nan, math.nan
    high = _end(known)
    low = -_end(-known[::-1])
    if not high > low:
        return low, high
    step = 10.0 ** math.floor(math.log10(high - low)) / 20.0
    low, high = _outwards(low, step, math.floor), _outwards(high, step, math.ceil)
    if known[0] > 0 and low <= 0:  # a concentration: its logarithm has a lower end too
        small = math.exp(-_end(-np.log(known[::-1])))
        low = _outwards(small, 10.0 ** math.floor(math.log10(small)), math.floor)
    return (max(low, 0.0) if known[0] >= 0 else low), high


def _end(rising: np.ndarray) -> float:
    """The upper end of values that rise."""
    k = min(max(FEWEST, round(_SHARE * rising.size)), rising.size)
    start = float(rising[-k - 1] if k < rising.size else rising[0])
    if rising[-k] == rising[-1]:
        return float(rising[-1])
    return start + (float(rising[-k:].mean()) - start) * (math.log(k) + float(np.euler_gamma))


def _outwards(value: float, step: float, way: Callable[[float], int]) -> float:
    """A value moved to a multiple of a step."""
    places = value / step
    # What already is one, up to rounding, stays.
    whole = round(places) if abs(places - round(places)) < 1e-6 else way(places)
    return float(f"{whole * step:.10g}")
