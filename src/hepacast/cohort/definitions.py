"""Named outcome definitions as code, each with its source: how a table's columns become a `BinaryOutcome`.

A definition has parts (bilirubin, INR, ascites, ...); the study file says which column plays which part. A patient
whose recorded parts are all negative while others are missing is *unknown*, not negative: the logic is
three-valued (Kleene) throughout.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from hepacast.cohort.columns import ColumnSpec, nearest
from hepacast.cohort.findings import Finding
from hepacast.cohort.outcome import BinaryOutcome, Outcome
from hepacast.cohort.quantities import get_quantity, known_units, unit_factor
from hepacast.cohort.tables import ClinicalTable
from hepacast.errors import OutcomeError, StudyFileError


@dataclass(frozen=True)
class OutcomePart:
    """One part of a definition.

    Parameters
    ----------
    name
        Name by which the study file maps it to a column.
    help
        What the column must hold.
    quantity
        For a laboratory value: the quantity, so that its unit is converted.
    """

    name: str
    help: str
    quantity: str = ""


@dataclass(frozen=True)
class OutcomeDefinition:
    """A named definition.

    Parameters
    ----------
    name
        Name in the study file.
    title
        What it defines, in words.
    source
        Guideline or paper.
    parts
        What it is made of.
    options
        Options with their defaults.
    function
        Derives the outcome.
    positive, negative
        Default names of the groups.
    """

    name: str
    title: str
    source: str
    parts: tuple[OutcomePart, ...]
    options: Mapping[str, Any]
    function: Callable[[Parts], Outcome]
    positive: str = "event"
    negative: str = "no event"

    def derive(
        self,
        table: ClinicalTable,
        columns: Mapping[str, str],
        *,
        name: str = "",
        positive: str = "",
        negative: str = "",
        **options: Any,
    ) -> Outcome:
        """Derive the outcome of every patient of a table.

        Parameters
        ----------
        table
            The clinical table.
        columns
            Part -> column of the study.
        name, positive, negative
            Names of the outcome and its groups in tables and figures.
        options
            Options of the definition.

        Raises
        ------
        StudyFileError
            An unknown part or option.
        OutcomeError
            A needed part is not mapped, or the outcome is of one class.
        """
        _check_known("part", columns, [part.name for part in self.parts], self.name)
        _check_known("option", options, list(self.options), self.name)
        parts = Parts(
            self,
            table,
            dict(columns),
            {**self.options, **options},
            name or self.name,
            positive or self.positive,
            negative or self.negative,
        )
        return self.function(parts)


@dataclass(frozen=True)
class Parts:
    """The columns that a definition's function works on."""

    definition: OutcomeDefinition
    table: ClinicalTable
    columns: dict[str, str]
    options: dict[str, Any]
    name: str
    positive: str
    negative: str

    def has(self, part: str) -> bool:
        """Whether the study maps this part to a column."""
        return part in self.columns

    def need(self, *parts: str) -> None:
        """Raise unless all these parts are mapped."""
        lacking = [part for part in parts if part not in self.columns]
        if lacking:
            help_text = {part.name: part.help for part in self.definition.parts}
            raise OutcomeError(
                f"The outcome definition {self.definition.name!r} needs more columns.",
                expected="; ".join(f"{part}: {help_text[part]}" for part in lacking),
                found=", ".join(self.columns) or "no columns",
                remedy="map them under `outcome: columns:` in the study file",
            )

    def raw(self, part: str) -> pd.Series:
        """The values of a part as the table holds them."""
        return self.table.values(self.columns[part])

    def number(self, part: str) -> pd.Series:
        """A numeric part, in the canonical unit of its quantity."""
        column = self.columns[part]
        values = self.raw(part)
        spec = self.table.spec(column) if column in self.table.frame.columns else None
        if spec is None or spec.kind not in ("numeric", "binary"):
            raise OutcomeError(
                f"The part {part!r} of the outcome needs a column of numbers.",
                found=f"column {column!r}"
                + (f" of kind {spec.kind}" if spec else ", which the study does not describe"),
                remedy=f"describe {column!r} under `cohort: columns:` with `kind: numeric`",
            )
        quantity = next(item.quantity for item in self.definition.parts if item.name == part)
        return values.astype("float64") * (self._factor(spec, quantity, part) if quantity else 1.0)

    def _factor(self, spec: ColumnSpec, quantity: str, part: str) -> float:
        """Factor from the column's unit to the canonical unit of the part's quantity."""
        known = get_quantity(quantity)
        if spec.quantity not in ("", quantity):
            raise OutcomeError(
                f"The part {part!r} of the outcome is {known.label}, but its column holds {spec.label}.",
                found=f"column {spec.name!r}",
                remedy="correct the mapping, or the column's `quantity:`",
            )
        if not spec.unit and set(known.units.values()) - {1.0}:
            raise OutcomeError(
                f"The unit of {spec.name!r} is not stated, so {known.label} cannot be compared with a limit.",
                expected=" or ".join(known_units(known)),
                remedy=f"add `unit:` or `quantity: {quantity}` to the column {spec.name!r}",
            )
        return unit_factor(spec.unit, known) if spec.unit else 1.0

    def flag(self, part: str) -> pd.Series:
        """A yes-no part as a three-valued truth (pandas ``boolean``)."""
        values = self.number(part)
        wrong = values.dropna()[~values.dropna().isin([0, 1])]
        if len(wrong):
            raise OutcomeError(
                f"The part {part!r} of the outcome is not a yes-no column.",
                found=f"{wrong.iloc[0]!r} for patient {wrong.index[0]}",
                remedy=f"describe {self.columns[part]!r} with `kind: binary`",
            )
        return truth(values == 1, values.isna())

    def finding(self, severity: Any, code: str, message: str, patient: str | None = None) -> Finding:
        """A finding about this outcome, with the patient's row."""
        row = self.table.row_of(patient) if patient is not None else None
        return Finding(severity, code, message, patient, row, self.name)

    def binary(
        self,
        fired: pd.Series,
        *,
        source: str,
        conditions: pd.DataFrame | None = None,
        reasons: Mapping[str, str] | None = None,
        findings: tuple[Finding, ...] = (),
    ) -> BinaryOutcome:
        """A `BinaryOutcome` from a three-valued truth; unknown patients go to `unknown` with their reason."""
        known = fired[fired.notna()]
        unknown = {str(patient): (reasons or {}).get(patient, "not recorded") for patient in fired.index[fired.isna()]}
        return BinaryOutcome(
            self.name,
            known.astype("int64"),
            self.positive,
            self.negative,
            source,
            conditions,
            unknown,
            findings,
        )


def truth(true: pd.Series, missing: pd.Series) -> pd.Series:
    """Three-valued truth: `true` where recorded, NA where missing."""
    return true.astype("boolean").mask(missing.astype(bool))


#: Definitions by name.
OUTCOME_DEFINITIONS: dict[str, OutcomeDefinition] = {}


def register(definition: OutcomeDefinition) -> OutcomeDefinition:
    """Add a definition to the registry."""
    OUTCOME_DEFINITIONS[definition.name] = definition
    return definition


def get_definition(name: str) -> OutcomeDefinition:
    """The definition of that name.

    Raises
    ------
    StudyFileError
        There is none; the message names the nearest.
    """
    if name in OUTCOME_DEFINITIONS:
        return OUTCOME_DEFINITIONS[name]
    names = sorted(OUTCOME_DEFINITIONS)
    raise StudyFileError(
        f"The outcome definition {name!r} is not known.",
        expected=", ".join(names),
        found=name,
        remedy=nearest(name, names) or None,
    )


def derive_outcome(table: ClinicalTable, definition: str, columns: Mapping[str, str], **options: Any) -> Outcome:
    """`get_definition(definition).derive(table, columns, **options)`."""
    return get_definition(definition).derive(table, columns, **options)


def _check_known(kind: str, given: Mapping[str, Any], known: list[str], definition: str) -> None:
    for word in given:
        if word not in known:
            raise StudyFileError(
                f"The outcome definition {definition!r} has no {kind} {word!r}.",
                expected=", ".join(known) or f"no {kind}",
                found=word,
                remedy=nearest(word, known) or None,
            )
