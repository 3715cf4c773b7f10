"""Round tick positions, by the rule of R's ``pretty`` (R Core Team, ``src/appl/pretty.c``)."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

_BIAS = 1.5
_BIAS_5 = 0.5 + 1.5 * _BIAS
_ROUNDING = 1e-10


def pretty(low: float, high: float, n: int = 10) -> npt.NDArray[np.float64]:
    """About `n` equal intervals of 1, 2 or 5 times a power of ten that cover `low` to `high`.

    Raises
    ------
    ValueError
        A limit is not finite, or `high` is below `low`.
    """
    if not (math.isfinite(low) and math.isfinite(high)) or high < low:
        raise ValueError(f"tick limits must be finite and in order, not {low} to {high}")
    width = high - low
    size = max(abs(low), abs(high))
    if width < size * 1e-12 or width == 0:
        cell = (size if size > 0 else 1.0) / n * 0.75
    else:
        cell = width / n
    base = 10.0 ** math.floor(math.log10(cell))
    unit = base
    for factor, bias in ((2, _BIAS), (5, _BIAS_5), (10, _BIAS)):
        if factor * base - cell < bias * (cell - unit):
            unit = factor * base
    first = math.floor(low / unit + _ROUNDING)
    last = math.ceil(high / unit - _ROUNDING)
    missing = n // 3 - (last - first)
    if missing > 0:
        first -= missing // 2
        last += missing - missing // 2
    # Rounded, so that 3 * 0.1 is printed as 0.3.
    digits = max(0, -math.floor(math.log10(unit)) + 1)
    return np.round(np.arange(first, last + 1) * unit, digits)


def tick_label(value: float) -> str:
    """A number as short as it can be read: ``0.5``, ``10``, ``1.25``."""
    return f"{value:.10g}"
