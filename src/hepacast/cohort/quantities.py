"""Units: what a value is measured in, and what it is in another unit.

``convert(1.2, "mg/dL", "umol/L", "bilirubin")`` is 20.52; ``parse_quantity("3.8 g/dL", quantity="albumin")`` is
38 g/L. A unit that the quantity does not have is refused with the units that it has.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any

from hepacast.cohort.numbers import Decimal, guess_decimal, is_lone_group, normalize_text, parse_number
from hepacast.errors import TableError

_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_ALIASES = {
    "": "",
    "ratio": "",
    "index": "",
    "s": "s",
    "sec": "s",
    "secs": "s",
    "sek": "s",
    "second": "s",
    "seconds": "s",
    "秒": "s",
    "percent": "%",
    "pct": "%",
    "prozent": "%",
    "fraction": "1",
    "year": "years",
    "y": "years",
    "yr": "years",
    "yrs": "years",
    "jahre": "years",
    "岁": "years",
    "年": "years",
    "cc": "ml",
    "厘米": "cm",
    "毫米": "mm",
    "points": "points",
    "point": "points",
    "pts": "points",
    "punkte": "points",
    "分": "points",
}


@dataclass(frozen=True)
class Quantity:
    """One measured quantity; `quantities.yaml` lists them all and says where its numbers come from.

    Parameters
    ----------
    name
        Canonical name, also the column's name when it is recognized.
    label
        How tables and figures print it.
    unit
        Canonical unit; empty for a pure number.
    plausible
        Lowest and highest possible value, canonical unit.
    units
        Other units with the factor that turns them into the canonical one.
    cohort_median
        Where a cohort's median can lie, canonical unit.
    synonyms
        Names by which tables call it (compared without case, spaces, dots, hyphens and underscores).
    hints
        ``(lo, hi, text)``: what an implausible value in that range probably is.
    """

    name: str
    label: str
    unit: str
    plausible: tuple[float, float]
    units: dict[str, float] = field(default_factory=dict)
    cohort_median: tuple[float, float] | None = None
    synonyms: tuple[str, ...] = ()
    hints: tuple[tuple[float, float, str], ...] = ()


@cache
def known_quantities() -> dict[str, Quantity]:
    """Every known quantity by canonical name, in the order in which tables list them."""
    import yaml

    text = files("hepacast.cohort").joinpath("quantities.yaml").read_text(encoding="utf-8")
    return {name: _quantity(name, entry) for name, entry in yaml.safe_load(text).items()}


def _quantity(name: str, entry: dict[str, Any]) -> Quantity:
    median = entry.get("cohort_median")
    low, high = entry["plausible"]
    return Quantity(
        name=name,
        label=entry["label"],
        unit=entry["unit"],
        plausible=(float(low), float(high)),
        units={str(unit): float(factor) for unit, factor in entry.get("units", {}).items()},
        cohort_median=(float(median[0]), float(median[1])) if median else None,
        synonyms=tuple(entry.get("synonyms", ())),
        hints=tuple((float(lo), float(hi), str(text)) for lo, hi, text in entry.get("hints", ())),
    )


@dataclass(frozen=True)
class Measurement:
    """A value with its unit, as given and in the quantity's canonical unit.

    Parameters
    ----------
    quantity
        Name of the quantity.
    value, unit
        In the canonical unit.
    given_value, given_unit
        As it was written.
    comparator
        ``<`` or ``>`` when the text gave a limit, else empty.
    """

    quantity: str
    value: float
    unit: str
    given_value: float
    given_unit: str
    comparator: str = ""

    def to(self, unit: str) -> float:
        """The value in another unit of the same quantity."""
        return convert(self.value, self.unit, unit, self.quantity)

    def __str__(self) -> str:
        return f"{self.comparator}{self.value:g} {self.unit}".strip()


def get_quantity(name: str) -> Quantity:
    """The quantity of that canonical name or synonym.

    Raises
    ------
    TableError
        Nothing of that name is known; the message names the nearest.
    """
    if found := find_quantity(name):
        return found
    near = difflib.get_close_matches(name.casefold(), list(known_quantities()), n=1)
    raise TableError(
        f"The quantity {name!r} is not known.",
        expected=", ".join(sorted(known_quantities())),
        remedy=f"did you mean {near[0]!r}?" if near else "leave out `quantity` and give `unit` and `plausible` instead",
    )


def find_quantity(name: str) -> Quantity | None:
    """The quantity that a table calls `name` (in English, German or Chinese), or None."""
    key = name_key(name)
    return _names().get(key) if key else None


def name_key(name: str) -> str:
    """What two spellings of one name share: no case, spaces, dots, hyphens or underscores."""
    return re.sub(r"[\s._\-–—'’:]+", "", normalize_text(name).casefold())


@cache
def _names() -> dict[str, Quantity]:
    table: dict[str, Quantity] = {}
    for item in known_quantities().values():
        for word in (item.name, item.label, *item.synonyms):
            table.setdefault(name_key(word), item)
    return table


def unit_key(unit: str) -> str:
    """What two spellings of one unit share: ``µmol/l`` and ``umol/L``, ``×10⁹/L`` and ``10E9/l``."""
    text = normalize_text(unit.translate(_SUPERSCRIPTS).replace("µ", "u").replace("μ", "u"))
    text = text.casefold().replace(" ", "").replace("μ", "u").replace("mcmol", "umol").replace("mcg", "ug")
    text = re.sub(r"^[x×*·]+(?=10)", "", text)
    text = re.sub(r"^10(?:\^|\*\*|\*|e|exp)?\+?(3|4|6|9|12)(?=/)", r"10^\1", text)
    text = re.sub(r"(mm|cm|m)\^?([23])(?![0-9])", r"\1^\2", text).replace("·", "").replace("liter", "l")
    return _ALIASES.get(text, text)


def unit_factor(unit: str, quantity: str | Quantity) -> float:
    """Factor that turns a value in `unit` into the quantity's canonical unit.

    Raises
    ------
    TableError
        The quantity has no such unit.
    """
    item = quantity if isinstance(quantity, Quantity) else get_quantity(quantity)
    factor = _factors(item.name).get(unit_key(unit))
    if factor is None:
        raise TableError(
            f"{unit!r} is not a unit of {item.label}.",
            expected=", ".join(known_units(item)),
            found=unit or "no unit",
            remedy="correct the unit in the study file or in the table's header",
        )
    return factor


def known_units(quantity: str | Quantity) -> list[str]:
    """The units of a quantity, canonical first; ``1`` stands for a fraction, ``(no unit)`` for a pure number."""
    item = quantity if isinstance(quantity, Quantity) else get_quantity(quantity)
    return [unit or "(no unit)" for unit in (item.unit, *item.units)]


def is_unit_of(unit: str, quantity: str | Quantity) -> bool:
    """Whether the quantity can be given in `unit`."""
    item = quantity if isinstance(quantity, Quantity) else get_quantity(quantity)
    return unit_key(unit) in _factors(item.name)


def tidy_unit(unit: str, quantity: str | Quantity) -> str:
    """The registry's spelling of a unit (``µmol/l`` -> ``umol/L``)."""
    item = quantity if isinstance(quantity, Quantity) else get_quantity(quantity)
    spellings = {unit_key(own): own for own in (*item.units, item.unit)}
    return spellings.get(unit_key(unit), unit)


@cache
def _factors(name: str) -> dict[str, float]:
    item = known_quantities()[name]
    table = {unit_key(item.unit): 1.0, **{unit_key(unit): factor for unit, factor in item.units.items()}}
    if "10^9/L" in (item.unit, *item.units):
        table.setdefault("g/l", 1.0)  # giga per liter, as French and German laboratories print it
    return table


@cache
def all_unit_keys() -> frozenset[str]:
    """Every unit that some quantity has (to tell the unit in a header from other words in brackets)."""
    return frozenset(key for item in known_quantities().values() for key in _factors(item.name) if key not in ("", "a"))


def convert(value: float, from_unit: str, to_unit: str, quantity: str) -> float:
    """`value` of a quantity, from one unit to another.

    Raises
    ------
    TableError
        The quantity has no such unit.

    Examples
    --------
    >>> round(convert(1.2, "mg/dL", "umol/L", "bilirubin"), 2)
    20.52
    """
    if unit_key(from_unit) == unit_key(to_unit):
        unit_factor(from_unit, quantity)
        return float(value)
    return float(value) * unit_factor(from_unit, quantity) / unit_factor(to_unit, quantity)


def parse_quantity(
    text: str | float, *, quantity: str, default_unit: str | None = None, decimal: Decimal | None = None
) -> Measurement:
    """Read ``"20 umol/L"``; a number alone is taken in `default_unit`, or refused when a unit is needed.

    Parameters
    ----------
    text
        Number with unit; ``<`` and ``>`` are read as in `numbers.parse_number` (half the limit, the limit).
    quantity
        Name of the quantity.
    default_unit
        Unit of a number that carries none.
    decimal
        Decimal mark; by default the one that the text itself proves, else the point.

    Raises
    ------
    TableError
        No number, no unit where one is needed, or a unit that the quantity does not have.
    """
    item = get_quantity(quantity)
    number, unit = split_unit(str(text))
    mark = decimal or (guess_decimal([re.sub(r"[^\d.,]", "", number)]) or ".")
    if decimal is None and is_lone_group(number):
        raise TableError(
            f"{text!r} can be read in two ways.",
            expected=f"{number.replace(',', '')} or {number.replace(',', '.')}",
            remedy="write the number without a mark for thousands, and with a decimal point",
        )
    parsed = parse_number(number, decimal="," if mark == "," else ".")
    if parsed.status not in ("ok", "censored"):
        raise TableError(f"{text!r} is not a value of {item.label}.", expected=f"for example 12.3 {item.unit}".rstrip())
    if not unit:
        unit = default_unit if default_unit is not None else ("" if is_unit_of("", item) else unit)
        if not unit and not is_unit_of("", item) and set(_factors(item.name).values()) == {1.0}:
            unit = item.unit
        if not unit and not is_unit_of("", item):
            raise TableError(
                f"{item.label} needs its unit.",
                expected=" or ".join(f"{number.strip()} {name}" for name in known_units(item)),
                found=str(text),
            )
    value = convert(parsed.value, unit, item.unit, item.name)
    return Measurement(item.name, value, item.unit, parsed.value, unit, parsed.comparator)


_BARE = re.compile(r"[\d.,+-]*")
_NUMBER = r"[<>=≤≥]*\s*[+-]?[\d.,' ’]*\d"
#: `150 ×10^9/L`: here the digits of the power belong to the unit, not to the number.
_POWER = re.compile(rf"^({_NUMBER})(?:\s*[x×*·]\s*|\s+)(10(?:\^|\*\*?|[eE])?(?:3|4|6|9|12)\s*/.+)$")
_PLAIN = re.compile(rf"^({_NUMBER}(?:[eE][+-]?\d+)?)\s*(.*)$")


@lru_cache(maxsize=65536)
def split_unit(text: str) -> tuple[str, str]:
    """``"20 umol/L"`` -> ``("20", "umol/L")``; the unit is empty when there is none."""
    if _BARE.fullmatch(text):
        return text, ""
    plain = normalize_text(text.translate(_SUPERSCRIPTS))
    match = _POWER.match(plain) or _PLAIN.match(plain)
    if not match:
        return plain, ""
    return match.group(1).strip(), match.group(2).strip()
