"""Who is in the study: the clinical table, its columns, exclusions, sets and outcome."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from hepacast.study.schema.base import Part, option


class Column(Part):
    """One column of the clinical table under the name that the study uses for it."""

    column: str | list[str] | None = option(
        None,
        "header in the table, or several possible headers; the study's own name if left out",
        example="ALB (g/L)",
    )
    sheet: str | None = option(None, "Excel sheet that holds it, where the table has several")
    kind: Literal["numeric", "binary", "categorical", "date"] = option("numeric", "what the values are")
    quantity: str | None = option(
        None, "a known quantity (albumin, bilirubin, inr, ...): gives unit conversion and plausible range"
    )
    unit: str | None = option(None, "unit of the values in the table", example="g/L")
    label: str | None = option(None, "name in tables and figures", example="Albumin")
    levels: dict[str, list[str | int | float | bool]] | None = option(
        None,
        "levels of a binary or categorical column, in order (the first is the reference), each with the words used",
        example={"male": ["M", 1], "female": ["F", 2]},
    )
    plausible: tuple[float, float] | None = option(None, "values outside are reported as impossible, in `unit`")
    date_format: str | None = option(None, "order of day and month of a date column", example="%d.%m.%Y")
    accept: list[str] = option(list, "codes of findings that you have looked at and accept for this column")
    after_event: bool = option(False, "known only after the treatment or the outcome: never a predictor")


class Exclusion(Part):
    """Patients who are left out, with the reason that the flow diagram shows."""

    reason: str = option(..., "text in the flow diagram", example="extrahepatic metastases")
    column: str = option(..., "header in the clinical table; that of the identifiers too")
    equals: list[str | int | float | bool] | str | int | float | bool | None = option(None, "leave out these values")
    above: float | None = option(None, "leave out values above this")
    below: float | None = option(None, "leave out values below this")
    missing: bool = option(False, "leave out patients without a value")
    filled: bool = option(False, "leave out patients with any value at all: anything written in a column of remarks")

    @model_validator(mode="after")
    def _has_a_rule(self) -> Exclusion:
        if self.equals is None and self.above is None and self.below is None and not (self.missing or self.filled):
            raise ValueError("an exclusion needs one of: equals, above, below, missing: true, filled: true")
        return self


SPLIT_HELP = "column: by a column of the table; list: by files of patients; random: by the seed; none: one cohort"


class SplitByColumn(Part):
    """Training and validation sets by a column, usually the center."""

    by: Literal["column"] = option("column", SPLIT_HELP)
    column: str = option(..., "header in the clinical table")
    training: list[str | int] = option(..., "values that mark the training set")
    validation: list[str | int] = option(..., "values that mark the (external) validation set")
    external: list[str | int] = option(
        list, "values that mark a second set that no model sees: the external one beside an internal validation set"
    )


class SplitByList(Part):
    """Training and validation sets by text files with one patient a line."""

    by: Literal["list"] = option("list", SPLIT_HELP)
    training: str = option(..., "file with the training patients")
    validation: str = option(..., "file with the validation patients")


class SplitAtRandom(Part):
    """A split at random, stratified by outcome, fixed by the study's seed. Weaker than a second center."""

    by: Literal["random"] = option("random", SPLIT_HELP)
    validation_fraction: float = option(0.3, "share of patients set aside", gt=0.05, lt=0.6)


class NoSplit(Part):
    """One cohort, judged by nested cross-validation and bootstrap alone."""

    by: Literal["none"] = option("none", SPLIT_HELP)


Split = Annotated[SplitByColumn | SplitByList | SplitAtRandom | NoSplit, Field(discriminator="by")]


class CohortOptions(Part):
    """The clinical table and who of it is in the study."""

    table: str = option(
        ..., "CSV, Excel, Parquet, SPSS or Stata file, relative to the study file", example="clinical.xlsx"
    )
    stacked: dict[str, str] = option(
        dict,
        "further tables of other patients, put under the first: name -> file; their patients are called NAME-ID",
        example={"external": "external.csv"},
    )
    dictionary: str | None = option(
        None, "data dictionary of REDCap (CSV), where the table is an export of it", example="dictionary.csv"
    )
    sheet: str | None = option(None, "Excel sheet; all sheets that have the ID column are joined if left out")
    id: str = option(..., "header of the patient identifier: a study number, never a name or a hospital number")
    center: str | None = option(None, "header of the column that names the center")
    decimal: Literal["auto", ".", ","] = option("auto", "decimal sign in the table")
    below_detection: Literal["half", "limit", "missing"] = option(
        "half", "what `<0.8` becomes: half the limit, the limit, or missing; each one is reported"
    )
    columns: dict[str, Column] = option(dict, "the study's names for the table's columns")
    date_order: list[str] = option(list, "date columns that must follow one another, the earliest first")
    exclude: list[Exclusion] = option(list, "exclusions, applied in this order")
    split: Split = option(NoSplit, "how training and validation sets are made")
    truth: str | None = option(None, "virtual patients only: file with the planted truth, shown beside the estimates")
    findings: Literal["stop", "report"] = option(
        "stop", "what an impossible value does: stop the run, or make the value missing and report it"
    )


class Outcome(Part):
    """What is predicted."""

    definition: str = option(
        "binary-column",
        "apasl2019-ptlf, mrecist-objective-response, early-recurrence, binary-column, or survival (time to an event)",
    )
    name: str | None = option(None, "name in tables and figures", example="PTLF")
    columns: dict[str, str] = option(
        dict, "which of the study's columns play which part in the definition", example={"bilirubin": "tb_after"}
    )
    column: str | None = option(None, "for binary-column: the study's column or the table's header")
    positive: list[str | int | float | bool] | None = option(None, "for binary-column: the values that mean the event")
    negative: list[str | int | float | bool] | None = option(None, "for binary-column: the values that mean no event")
    positive_label: str | None = option(None, "name of the event group", example="PTLF")
    negative_label: str | None = option(None, "name of the other group", example="no PTLF")
    within_days: float | None = option(None, "time window of the definition", unit="days")
    unknown: Literal["exclude", "stop"] = option(
        "exclude", "a patient whose outcome cannot be told: left out with the reason, or an error"
    )
    options: dict[str, Any] = option(dict, "further options of the definition")
    unit: Literal["days", "weeks", "months", "years"] = option("days", "for survival: unit of the time column")
    horizons: list[float] = option(
        list, "for survival: times at which the risk is predicted and judged, rising; the last is the main one",
        example=[365, 1095],
    )  # fmt: skip
    before_horizon: bool = option(
        False, "for survival: an event at the very horizon comes too late to count (recurrence *before* two years)"
    )
    event_values: list[str | int | float | bool] | None = option(
        None, "for survival: values of the event column that mean the event (1 if left out)"
    )
    competing_values: list[str | int | float | bool] | None = option(
        None, "for survival: values of the event column that mean a competing event (death before progression)"
    )

    @model_validator(mode="after")
    def _has_horizons(self) -> Outcome:
        if self.definition == "survival":
            if not self.horizons:
                raise ValueError("a time-to-event outcome needs `horizons`: times at which the risk is predicted")
            if min(self.horizons) <= 0 or sorted(set(self.horizons)) != self.horizons:
                raise ValueError("`horizons` must be above 0 and rising")
        elif self.horizons or self.competing_values or self.before_horizon:
            raise ValueError("`horizons`, `before_horizon` and `competing_values` belong to `definition: survival`")
        return self

    @property
    def times(self) -> tuple[float, ...]:
        """The horizons as numbers to compare with: just before them where the event must come before."""
        return tuple(math.nextafter(t, 0.0) if self.before_horizon else float(t) for t in self.horizons)


class SurvivalOptions(Part):
    """Follow-up, for Kaplan-Meier curves by risk group."""

    time: str = option(..., "column with the time to event or last contact")
    event: str = option(..., "column with 1 = event, 0 = censored")
    unit: Literal["days", "weeks", "months", "years"] = option("days", "unit of the time column")
    name: str = option("survival", "name of the end point", example="time to progression")
    groups: tuple[str, str] = option(
        ("low risk", "high risk"), "names of the patients below the cut-off and of those at or above it"
    )
    event_values: list[str | int | float | bool] | None = option(None, "values of `event` that mean the event")
