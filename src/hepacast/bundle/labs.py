"""One patient's clinical values as somebody types them: ``inr=1.2``, ``alb=3.8 g/dL``, ``sex=male``."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hepacast.cohort import ColumnSpec, parse_quantity
from hepacast.cohort.columns import level_words, word_key
from hepacast.cohort.numbers import parse_number
from hepacast.errors import HepacastError

#: Words that say that a value is not known.
UNKNOWN = frozenset({"na", "n/a", "nan", "unknown", "missing", "?"})


@dataclass(frozen=True)
class ClinicalValue:
    """A value as the model reads it (NaN or None: not known), and as it is shown."""

    value: float | str | None
    shown: str


def read_labs(
    values: Mapping[str, str], columns: Sequence[ColumnSpec], needed: Sequence[str]
) -> dict[str, ClinicalValue]:
    """Read and check clinical values.

    Parameters
    ----------
    values
        Text by name; the name is the study's, or the label.
    columns
        The bundle's columns.
    needed
        Columns that the model reads: each must be given, if only as ``NA``.

    Raises
    ------
    HepacastError
        An unknown name, a missing value, a word that is no level, a number outside the plausible range.
    """
    known = {spec.name: spec for spec in columns}
    labels = {spec.label.casefold(): spec.name for spec in columns} | {name.casefold(): name for name in known}
    read: dict[str, ClinicalValue] = {}
    for given, text in values.items():
        name = labels.get(given.casefold())
        if name is None:
            near = difflib.get_close_matches(given.casefold(), list(labels), n=1, cutoff=0.5)
            raise HepacastError(
                f"The model knows no clinical value {given!r}.",
                expected=", ".join(f"{item} ({_describe(known[item])})" for item in needed) or "none",
                remedy=f"did you mean {labels[near[0]]!r}?" if near else None,
            )
        read[name] = _read(known[name], text)
    lacking = [name for name in needed if name not in read]
    if lacking:
        raise HepacastError(
            "Clinical values are missing.",
            expected=", ".join(f"{name} ({_describe(known[name])})" for name in needed),
            found=f"no {', '.join(lacking)}",
            remedy="give each as name=value; one that nobody knows as name=NA (what is typical in training stands in)",
        )
    return read


def _describe(spec: ColumnSpec) -> str:
    if spec.kind != "numeric":
        return f"{spec.label}: {' or '.join(spec.level_names)}"
    return f"{spec.label}, {spec.unit}" if spec.unit else spec.label


def _read(spec: ColumnSpec, text: str) -> ClinicalValue:
    if text.strip().casefold() in UNKNOWN:
        return ClinicalValue(math.nan if spec.kind != "categorical" else None, "not known")
    if spec.kind == "numeric":
        return _number(spec, text)
    level = level_words(spec).get(word_key(text))
    if level is None:
        raise HepacastError(f"{spec.label} has no level {text!r}.", expected=", ".join(spec.level_names))
    if spec.kind == "binary":
        return ClinicalValue(float(spec.level_names.index(level)), level)
    return ClinicalValue(level, level)


def _number(spec: ColumnSpec, text: str) -> ClinicalValue:
    if spec.quantity:
        from hepacast.cohort import convert

        measured = parse_quantity(text, quantity=spec.quantity, default_unit=spec.unit or None)
        value = (
            measured.value
            if measured.unit == spec.unit
            else convert(measured.value, measured.unit, spec.unit or measured.unit, spec.quantity)
        )
    else:
        parsed = parse_number(text.replace(spec.unit, "").strip() if spec.unit else text)
        if not math.isfinite(parsed.value):
            raise HepacastError(f"{spec.label} must be a number.", found=text)
        value = parsed.value
    if spec.plausible is not None and not spec.plausible[0] <= value <= spec.plausible[1]:
        raise HepacastError(
            f"{spec.label} of {value:g} {spec.unit} is not possible.".replace("  ", " "),
            expected=f"{spec.plausible[0]:g} to {spec.plausible[1]:g} {spec.unit}".strip(),
            found=text,
            remedy="check the value and its unit; a unit can be given, as alb='3.8 g/dL'",
        )
    return ClinicalValue(value, f"{value:.4g} {spec.unit}".strip())
