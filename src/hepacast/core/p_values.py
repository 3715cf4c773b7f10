"""P values as medical journals print them (AMA Manual of Style, 11th ed., 19.5): one style wherever one is shown."""

from __future__ import annotations

import math


def p_text(p: float, missing: str = "") -> str:
    """P without a leading zero: two decimals, three below .01 or where two would read .05, `<.001` and `>.99`.

    A P below .05 never reads .050: it has as many decimals as show on which side it lies.

    Parameters
    ----------
    p
        The P value; NaN where there is none.
    missing
        What stands where there is none.
    """
    if not math.isfinite(p):
        return missing
    if p < 0.001:
        return "<.001"
    if p > 0.99:
        return ">.99"
    digits = 3 if round(p, 3) < 0.01 or round(p, 2) == 0.05 else 2
    while p < 0.05 and float(f"{p:.{digits}f}") >= 0.05 and digits < 6:
        digits += 1
    return f"{p:.{digits}f}".removeprefix("0")


def p_sentence(p: float) -> str:
    """P in running text and figures: ``P = .03``, ``P < .001``."""
    text = p_text(p)
    if not text:
        return "P not estimable"
    return f"P {text[0]} {text[1:]}" if text[0] in "<>" else f"P = {text}"


def p_below(alpha: float) -> str:
    """A threshold of P in the same style: ``P < .05``."""
    return f"P < {f'{alpha:g}'.removeprefix('0')}"
