"""Numbers as medical journals print them: one way for terminal, notebook, report and tables in files."""

from __future__ import annotations

import math

from hepacast.core.p_values import p_sentence as p_sentence
from hepacast.core.p_values import p_text

EN_DASH = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"
MISSING = "\N{EM DASH}"
NOT_ESTIMABLE = "not estimable"


def number(value: float, digits: int | None = 2) -> str:
    """A number with fixed decimals and a true minus sign; an em dash where there is none.

    From a billion on it is written with an exponent: nobody reads sixty digits.

    Parameters
    ----------
    digits
        Decimals; None: four significant digits.
    """
    if not math.isfinite(value):
        return MISSING
    if digits is None or abs(value) >= 1e9:
        return significant(value, 4)
    text = f"{value:,.{digits}f}"
    if text.startswith("-"):
        text = text[1:] if float(text.replace(",", "")) == 0 else MINUS + text[1:]
    return text


def significant(value: float, digits: int = 3) -> str:
    """A number with so many significant digits, never in exponent form between 1e-3 and 1e6."""
    if not math.isfinite(value):
        return MISSING
    if value == 0:
        return "0"
    size = math.floor(math.log10(abs(value)))
    if size < -3 or size >= 6:
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        return f"{mantissa.replace('-', MINUS)}e{int(exponent)}".replace("e-", f"e{MINUS}")
    return number(value, max(0, digits - 1 - size))


def short(value: float, digits: int = 4) -> str:
    """Up to so many significant digits, without zeros that say nothing: ``0.5``, ``12.35``, ``12,345``."""
    text = significant(value, digits)
    if "e" in text or not math.isfinite(value) or "." not in text:
        return text
    return text.rstrip("0").rstrip(".")


def p_value(p: float) -> str:
    """P as journals print it; an em dash where there is none."""
    return p_text(p, MISSING)


def with_interval(value: float, low: float, high: float, digits: int = 3, *, words: bool = False) -> str:
    """``0.878 (0.761-0.994)`` with an en dash, as tables have it; without limits, the value alone.

    `words`: joined by "to", as in running text. So are limits that can be negative, lest a minus be taken for the dash.
    """
    if not math.isfinite(value):
        return NOT_ESTIMABLE
    if not (math.isfinite(low) and math.isfinite(high)):
        return number(value, digits)
    join = " to " if words or low < 0 or high < 0 else EN_DASH
    return f"{number(value, digits)} ({number(low, digits)}{join}{number(high, digits)})"


def percent(value: float, digits: int = 1) -> str:
    """A share as percent."""
    return MISSING if not math.isfinite(value) else f"{100 * value:.{digits}f}%"


def risk_text(risk: float, digits: int = 1) -> str:
    """A patient's risk as percent; one that is not 0 or 1 is not rounded to it: ``<0.1%``, ``>99.9%``."""
    shown, smallest = percent(risk, digits), 10.0**-digits
    if shown == percent(0.0, digits) and risk > 0:
        return f"<{smallest:g}%"
    if shown == percent(1.0, digits) and risk < 1:
        return f">{100 - smallest:g}%"
    return shown


def percent_with_interval(value: float, low: float, high: float, digits: int = 1) -> str:
    """``81.2% (57.0-93.4)`` with an en dash."""
    if not math.isfinite(value):
        return NOT_ESTIMABLE
    if not (math.isfinite(low) and math.isfinite(high)):
        return percent(value, digits)
    return f"{percent(value, digits)} ({100 * low:.{digits}f}{EN_DASH}{100 * high:.{digits}f})"


def count_percent(count: int, total: int) -> str:
    """``30 (83.3)``; the heading says n (%)."""
    return f"{count} ({100 * count / total:.1f})" if total else f"{count} ({MISSING})"


def ratio(value: float) -> str:
    """An odds or hazard ratio with the digits it deserves; above 0 it never reads 0."""
    if not math.isfinite(value):
        return "infinite" if value > 0 else MISSING
    if value >= 1e6:
        return significant(value, 2)
    if value >= 1000:
        return f"{value:,.0f}"
    if value >= 100:
        return f"{value:.1f}"
    if value >= 0.1:
        return f"{value:.2f}"
    return f"{value:.3f}" if value >= 0.001 else significant(value, 2)


def ratio_with_interval(value: float, low: float, high: float, *, words: bool = False) -> str:
    """An odds or hazard ratio with its limits, or why there is none; `words` as in `with_interval`."""
    if math.isnan(value):
        return NOT_ESTIMABLE
    if math.isnan(low) or math.isnan(high):
        return ratio(value)
    join = " to " if words or not math.isfinite(high) else EN_DASH
    return f"{ratio(value)} ({ratio(low)}{join}{ratio(high)})"


def decimals_for(*values: float) -> int:
    """Decimals that suit numbers of this size: 2 below 100, 1 below 1000, else 0."""
    finite = [abs(value) for value in values if math.isfinite(value)]
    largest = max(finite, default=0.0)
    return 2 if largest < 100 else 1 if largest < 1000 else 0


def listing(items: list[str], word: str = "and") -> str:
    """``a, b and c``."""
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} {word} {items[-1]}"


def plural(count: int, noun: str, many: str | None = None) -> str:
    """``1 patient``, ``3 patients``."""
    return f"{count:,} {noun if count == 1 else many or noun + 's'}"


def capital(text: str) -> str:
    """First letter in upper case, the rest as it is; a name that has capitals of its own (nnU-Net) stays."""
    first = text.split(" ", 1)[0]
    if first[:1].islower() and any(letter.isupper() for letter in first[1:3]):
        return text
    return text[:1].upper() + text[1:]
