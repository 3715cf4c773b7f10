"""Headers of clinical tables: name and unit apart, and which header a column of the study means."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hepacast.cohort.numbers import normalize_text
from hepacast.cohort.quantities import all_unit_keys, find_quantity, name_key, unit_key

_BRACKETS = re.compile(r"^(?P<name>.*?)\s*[\[({【〔]\s*(?P<unit>[^\])}】〕]*)\s*[\])}】〕]\s*$")
_SEPARATED = re.compile(r"^(?P<name>.+?)\s*(?:,|;|\bin\b)\s*(?P<unit>\S+(?:\s\S+)?)$")
_SHORT = frozenset({"1", "s", "m", "l", "in", "lb", "y"})
_SUFFIX = re.compile(r"^(?P<name>.+?)[_\s](?P<unit>[^\s_]+)$")


def split_header(header: str) -> tuple[str, str]:
    """``"TB (µmol/L)"`` -> ``("TB", "µmol/L")``; words that are no unit stay in the name.

    Understood: brackets of any kind, ``"AFP, ng/mL"``, ``"Größe in cm"``, ``"size_mm"``, ``"ALB g/L"``.
    """
    text = normalize_text(header)
    for pattern in (_BRACKETS, _SEPARATED, _SUFFIX):
        match = pattern.match(text)
        if match and is_unit(match.group("unit"), short=pattern is _BRACKETS):
            return match.group("name").strip(), match.group("unit").strip()
    return text, ""


def is_unit(text: str, *, short: bool = True) -> bool:
    """Whether a text is a known unit; without `short`, not one that is a usual ending of names (`1`, `s`, `m`)."""
    # Without brackets, `Lesion 1` and `grade_s` are names, not fractions and seconds.
    key = unit_key(text)
    return key in all_unit_keys() and (short or (key not in _SHORT and normalize_text(text).casefold() not in _SHORT))


def find_header(headers: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """The headers that a list of names means: exactly written first, then alike, then alike without the unit.

    Returns
    -------
    list of str
        All headers of the first rule that finds any (several mean that the name is not clear).
    """
    rules = (
        lambda text: text.strip(),
        lambda text: name_key(text),
        lambda text: name_key(split_header(text)[0]),
    )
    for rule in rules:
        keys = {rule(name) for name in wanted}
        found = [header for header in headers if rule(header) in keys and rule(header)]
        if found:
            return found
    return []


def find_by_quantity(headers: Sequence[str], quantity: str) -> list[str]:
    """The headers that name a known quantity in any language (``ALB[g/dL]``, ``白蛋白``)."""
    found = []
    for header in headers:
        match = find_quantity(header) or find_quantity(split_header(header)[0])
        if match is not None and match.name == quantity:
            found.append(header)
    return found


def looks_like_units(cells: Sequence[object]) -> bool:
    """Whether a row holds units beneath the headers: no number, at least one known unit."""
    texts = [normalize_text(cell).strip("[]()【】") for cell in cells if cell is not None and normalize_text(cell)]
    if not texts or any(re.fullmatch(r"[<>]?[\d.,]+", text) for text in texts):
        return False
    return any(is_unit(text) for text in texts)
