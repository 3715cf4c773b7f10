"""A table for analysis: columns by name, numbers and categories from cells, incomplete patients counted."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from hepacast.cohort.columns import (
    BINARY_WORDS,
    has_plus,
    is_no_level,
    level_key,
    levels_from_cells,
    nearest,
)
from hepacast.cohort.headers import find_header, is_unit, split_header
from hepacast.cohort.joining import clean_id
from hepacast.cohort.layout import CodedCell
from hepacast.cohort.numbers import FileDecimal, ParsedNumber, guess_decimal, is_lone_group, missing_codes, read_numbers
from hepacast.cohort.parsing import NUMERIC_SHARE
from hepacast.cohort.quantities import split_unit, unit_key
from hepacast.core.records import Record
from hepacast.errors import ModelError, OutcomeError, TableError

Array = npt.NDArray[np.float64]
MAX_LEVELS = 20
_SHOWN = 5


@dataclass
class AnalysisTable:
    """A table as it was read: cells by column, nothing interpreted yet.

    Parameters
    ----------
    cells
        Header -> cells as the file has them; what means "missing" becomes None. A dash is a value in a column that
        grades by plus signs, and where it is one of the declared levels.
    rows
        Row of each patient as Excel counts (1 is the header).
    name
        Of the file, for messages.
    levels
        Order of the levels of categorical columns, the reference first.
    categorical
        Numeric columns that hold codes of categories.
    notes
        What was done to the cells, in the order in which the columns were used.
    decimal, file_decimal
        Decimal mark of numbers kept as text, as it was said, and as all columns of the file prove it.
    units
        Header -> unit from a row beneath the headers.
    about_rows
        Those of the notes that hold where each row is a patient.
    """

    cells: dict[str, list[Any]]
    rows: list[int]
    name: str = "table"
    levels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    categorical: Sequence[str] = ()
    notes: list[str] = field(default_factory=list)
    decimal: Literal["auto", ".", ","] = "auto"
    file_decimal: FileDecimal = ""
    units: Mapping[str, str] = field(default_factory=dict)
    about_rows: Sequence[str] = ()
    _dashes: dict[str, int] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        self.levels = {self.column(name): [str(level) for level in order] for name, order in self.levels.items()}
        self.categorical = [self.column(name) for name in self.categorical]
        self.cells = {header: self._known(header, cells) for header, cells in self.cells.items()}

    def _known(self, header: str, cells: Sequence[Any]) -> list[Any]:
        """The cells with None for what is missing."""
        declared = {level_key(level) for level in self.levels.get(header, ())}
        minus = has_plus(cells)
        if not minus and "-" not in declared:
            self._dashes[header] = sum(isinstance(cell, str) and level_key(cell) == "-" for cell in cells)
        return [
            cell if not is_no_level(cell, minus=minus) or (cell is not None and level_key(cell) in declared) else None
            for cell in cells
        ]

    @property
    def headers(self) -> list[str]:
        """Names of the columns."""
        return list(self.cells)

    def __len__(self) -> int:
        return len(self.rows)

    def column(self, name: str) -> str:
        """The header that a name means: exactly written, else alike without case, marks and unit.

        Raises
        ------
        TableError
            There is none (the nearest is named), or several are alike.
        """
        if name in self.cells:
            return name
        found = find_header(self.headers, [name])
        if len(found) == 1:
            return found[0]
        raise TableError(
            f"The table has no column {name!r}." if not found else f"Several columns may be meant by {name!r}.",
            expected=", ".join(self.headers[:20]) + (" ..." if len(self.headers) > 20 else "")
            if not found
            else ", ".join(found),
            found=name,
            where=self.name,
            remedy=nearest(name, self.headers) or None,
        )

    def columns(self, names: str | Sequence[str]) -> list[str]:
        """Headers of a comma-separated list (a header may itself hold commas), without repetitions."""
        parts = [part.strip() for part in names.split(",")] if isinstance(names, str) else list(names)
        found: list[str] = []
        start = 0
        while start < len(parts):
            for end in range(len(parts), start, -1):
                joined = ", ".join(parts[start:end])
                if joined in self.cells or end == start + 1:
                    found.append(self.column(joined))
                    start = end
                    break
        return list(dict.fromkeys(found))

    def is_numeric(self, name: str) -> bool:
        """Whether nearly all cells of a column are numbers (and it was not declared categorical)."""
        header = self.column(name)
        if header in self.categorical or header in self.levels:
            return False
        present = [cell for cell in self.cells[header] if cell is not None]
        if not present or all(isinstance(cell, bool) for cell in present):
            return not present
        if any(isinstance(cell, CodedCell) for cell in present):
            return False
        status = [item.status for item in self._parsed(header) if item.status != "missing"]
        # `<400` and `>=400` alone are two categories, not measurements.
        if sum(item in ("ok", "ambiguous") for item in status) < len(status) / 2:
            return False
        return sum(item in ("ok", "censored", "ambiguous") for item in status) >= NUMERIC_SHARE * len(status)

    def numbers(self, name: str) -> pd.Series:
        """A column as numbers, NaN where nothing stands; the codes of labelled values.

        Raises
        ------
        TableError
            A cell holds text, can be read in two ways, or is infinite; the message lists cells with their rows.
        """
        header = self.column(name)
        parsed = self._parsed(header)
        values, wrong, two_ways = [], [], False
        for row, cell, item in zip(self.rows, self.cells[header], parsed, strict=True):
            if item.status not in ("ok", "censored", "missing") or math.isinf(item.value):
                wrong.append(f"row {row}: {cell!r}")
                two_ways = two_ways or (isinstance(cell, str) and (is_lone_group(cell) or is_lone_group(cell, ".")))
            values.append(item.value)
        if wrong:
            raise TableError(
                f"The column {header!r} holds cells that "
                + ("can be read in two ways." if two_ways else "are no plain numbers."),
                expected="numbers with one decimal mark, empty where not measured",
                found=", ".join(wrong[:_SHOWN]) + (f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""),
                where=self.name,
                remedy="say which mark is decimal: --decimal , or --decimal ."
                if two_ways
                else "correct these cells, or name the column with --categorical if it holds categories",
            )
        if self.decimal == "auto" and guess_decimal(self.cells[header]) == "mixed":
            self.note(f"{header}: some cells have a decimal comma, others a decimal point; each is read as it is.")
        if codes := missing_codes(values):
            shown = ", ".join(f"{code:g} ({values.count(code)})" for code in codes)
            self.note(f"{header}: far from all others, often a code for missing, and read as numbers: {shown}.")
        limits = sum(item.status == "censored" for item in parsed)
        if limits:
            self.note(f"{header}: {limits} values beyond a limit (such as <0.8) taken as half of a lower limit.")
        marked = [(cell, item) for cell, item in zip(self.cells[header], parsed) if item.status == "ok" and item.remark]
        if marked:
            self.note(f"{header}: {len(marked)} cells such as {marked[0][0]!r}: {marked[0][1].remark}.")
        return pd.Series(values, name=header, dtype=float)

    def _parsed(self, header: str) -> list[ParsedNumber]:
        """The cells of a column read as numbers, in the unit of its header."""
        unit = self.units.get(header) or split_header(header)[1] or _own_unit(self.cells[header])
        bare = [_bare(cell, unit) for cell in self.cells[header]]
        parsed = read_numbers([cell for cell, _ in bare], self.file_decimal, decimal=self.decimal)
        if any(factor != 1.0 for _, factor in bare):
            # 70 beside 65 %, which is 0.65, may be 70 %.
            parsed = [
                replace(item, status="ambiguous") if factor == 1.0 and item.value > 1 else item
                for item, (_, factor) in zip(parsed, bare)
            ]
        return [
            item
            if factor == 1.0
            else replace(item, value=item.value * factor, remark=f"read as {item.value * factor:g}")
            for item, (_, factor) in zip(parsed, bare)
        ]

    def predictors(self, names: str | Sequence[str], *targets: pd.Series) -> dict[str, pd.Series]:
        """Columns as a model uses them, without those that it predicts.

        Raises
        ------
        ModelError, TableError
            None is left, or a column that cannot be used.
        """
        outcomes = [str(column.name) for column in targets]
        headers = self.columns(names)
        for name in headers:
            if name in outcomes:
                self.note(f"{name} is the outcome and was left out of the predictors.")
        kept = [name for name in headers if name not in outcomes]
        if not kept:
            raise ModelError("There are no predictors.", expected="names of columns other than the outcome")
        return {name: self.predictor(name) for name in kept}

    def categories(self, name: str, *, alike: Sequence[str] = ()) -> pd.Series:
        """A column as categories (pandas Categorical of text), the reference level first.

        Spellings of one level are joined, with a note.

        Parameters
        ----------
        alike
            Columns that have the same levels, in whatever spelling: the readings of several raters.

        Raises
        ------
        TableError
            More than 20 levels, dates, or a level that is not among those given.
        """
        header = self.column(name)
        cells = [_worded(cell) for cell in self.cells[header]]
        given = list(self.levels.get(header, ()))
        every = [_worded(cell) for other in (alike or (header,)) for cell in self.cells[self.column(other)]]
        found, joined = levels_from_cells(every)
        home = {key: level for level, keys in found.items() for key in keys}
        if given:
            home, unknown = _as_declared(found, given)
            if unknown:
                raise TableError(
                    f"The column {header!r} has levels that were not listed.",
                    expected=", ".join(given), found=", ".join(unknown[:_SHOWN]), where=self.name,
                )  # fmt: skip
        self._tell_dashes(header)
        if joined:
            self.note(f"{', '.join(alike) or header}: {joined}.")
        if len(found) > MAX_LEVELS:
            raise TableError(
                f"The column {header!r} has {len(found)} different texts, too many for categories.",
                expected=f"at most {MAX_LEVELS} levels, or numbers",
                found=", ".join(list(found)[:_SHOWN]) + " ...",
                where=self.name,
                remedy="leave it out if it is an identifier, a date or free text",
            )
        texts = [None if cell is None else home[level_key(cell)] for cell in cells]
        order = [level for level in given if level in set(texts)] or list(found)
        return pd.Series(pd.Categorical(texts, categories=order), name=header)

    def predictor(self, name: str) -> pd.Series:
        """A column as a model uses it: numbers where it is numeric, categories otherwise."""
        if self.is_numeric(name):
            return self.numbers(name)
        self._refuse_half_numbers(self.column(name))
        return self.categories(name)

    def binary(self, name: str, positive: str | None = None) -> pd.Series:
        """A yes-or-no column as 1 and 0, NaN where nothing stands.

        Parameters
        ----------
        positive
            The cell text that means 1; needed unless the column holds 0/1, yes/no or words like them.

        Raises
        ------
        OutcomeError
            The column has no values, or levels that do not say which is 1.
        """
        header = self.column(name)
        self._tell_dashes(header)
        keys = [None if cell is None else level_key(cell) for cell in self.cells[header]]
        present = list(dict.fromkeys(key for key in keys if key is not None))
        shown = ", ".join(list(levels_from_cells([_worded(cell) for cell in self.cells[header]])[0])[:6])
        if not present:
            raise OutcomeError(f"The column {header!r} has no values.", where=self.name)
        if positive is not None:
            positive = self._label_of(header, positive)
            if level_key(positive) not in present:
                raise OutcomeError(f"{positive!r} does not occur in {header!r}.", expected=shown, found=positive)
            if len(present) > 2:
                self.note(f"{header}: {positive} is 1, all other {len(present) - 1} levels are 0.")
            table = {key: float(key == level_key(positive)) for key in present}
        else:
            table = {key: float(answer) for answer, words in enumerate(BINARY_WORDS) for key in present if key in words}
            if "+" in present:
                table |= {key: 0.0 for key in present if key == "-"}
            if len(table) < len(present):
                raise OutcomeError(
                    f"The column {header!r} does not say which value is the event.",
                    expected="0 and 1, or words such as no and yes",
                    found=shown,
                    where=self.name,
                    remedy="name the value that is the event with --positive",
                )
        return pd.Series([np.nan if key is None else table[key] for key in keys], name=header, dtype=float)

    def _label_of(self, header: str, given: str) -> str:
        """The label of a value that SPSS or Stata shows by its code (2 = dead), the value itself elsewhere."""
        labelled = [cell for cell in self.cells[header] if isinstance(cell, CodedCell)]
        if level_key(given) in {level_key(cell) for cell in labelled}:
            return given
        return next((str(cell) for cell in labelled if level_key(clean_id(cell)) == level_key(given)), given)

    def _refuse_half_numbers(self, header: str) -> None:
        """Refuse to take measurements for categories because some of their cells cannot be read.

        Whole numbers up to 9 beside words (0, 1, 2, 3+) are grades.
        """
        if header in self.categorical or header in self.levels:
            return
        cells = [(row, cell) for row, cell in zip(self.rows, self.cells[header]) if cell is not None]
        bare = [
            split_unit(cell)[0] if isinstance(cell, str) and not isinstance(cell, CodedCell) else cell
            for _, cell in cells
        ]
        parsed = read_numbers(bare, self.file_decimal, decimal=self.decimal)
        numbers = [item.value for item in parsed if item.status == "ok"]
        others = [place for place, item in zip(cells, self._parsed(header)) if item.status in ("text", "ambiguous")]
        measured = len(set(numbers)) > 2 and any(value not in range(10) for value in numbers)
        if not others or not measured or len(numbers) < len(cells) / 2:
            return
        shown = ", ".join(f"row {row}: {cell!r}" for row, cell in others[:_SHOWN])
        raise TableError(
            f"The column {header!r} holds numbers, and cells that are none.",
            expected="numbers in one unit, empty where not measured",
            found=shown + (f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""),
            where=self.name,
            remedy="correct these cells, or name the column with --categorical if it holds categories",
        )

    def _tell_dashes(self, header: str) -> None:
        """In a column of words a dash may mean no as well as missing."""
        if count := self._dashes.get(header, 0):
            self.note(
                f"{header}: a dash was taken as missing in {count} cells; where it is a level, list it (--levels)."
            )

    def note(self, text: str) -> None:
        """Remember something that a reader must know, once."""
        if text not in self.notes:
            self.notes.append(text)


@dataclass(frozen=True)
class RowsUsed(Record):
    """Patients read, left out by reason (each counted at the first reason met), and used."""

    read: int
    left_out: dict[str, int]
    used: int

    def text(self) -> str:
        """One sentence."""
        reasons = "; ".join(f"{count} {reason}" for reason, count in self.left_out.items())
        return f"{self.read} rows read, {self.used} used" + (f"; left out: {reasons}." if reasons else ".")


def complete_rows(columns: Mapping[str, pd.Series]) -> tuple[npt.NDArray[np.bool_], RowsUsed]:
    """Which rows have a value in every column, and why the others have not.

    Raises
    ------
    TableError
        No row is complete.
    """
    series = list(columns.values())
    kept = np.ones(len(series[0]), dtype=bool)
    left_out: dict[str, int] = {}
    for name, column in columns.items():
        missing = column.isna().to_numpy()
        count = int((missing & kept).sum())
        if count:
            left_out[f"{name} missing"] = count
        kept &= ~missing
    if not kept.any():
        raise TableError(
            "No patient has a value in every column.",
            found="; ".join(f"{count} {reason}" for reason, count in left_out.items()) or "an empty table",
        )
    return kept, RowsUsed(len(kept), left_out, int(kept.sum()))


def varying_rows(
    target: Mapping[str, pd.Series], columns: Mapping[str, pd.Series], note: Callable[[str], None]
) -> tuple[list[str], npt.NDArray[np.bool_], RowsUsed]:
    """Predictors that vary among the patients who have all of them, and those patients: a constant one has no model.

    Raises
    ------
    ModelError, TableError
        No predictor varies, or no row is complete.
    """
    kept = list(columns)
    while kept:
        rows, used = complete_rows({**target, **{name: columns[name] for name in kept}})
        constant = [name for name in kept if columns[name][rows].nunique() < 2]
        if not constant:
            return kept, rows, used
        for name in constant:
            note(f"{name} takes one value only in the complete patients and was left out of the multivariate model.")
        kept = [name for name in kept if name not in constant]
    raise ModelError("No predictor varies among the complete patients.", found=", ".join(columns))


def _as_declared(found: Mapping[str, Sequence[str]], given: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Key of a cell -> the declared level that it means, and the levels that were not declared."""
    declared = {level_key(level): level for level in given}
    home, unknown = dict(declared), []
    for level, keys in found.items():
        own = {declared[key] for key in keys if key in declared}
        if len(own) == 1:
            home |= {key: next(iter(own)) for key in keys if key not in declared}
        elif not set(keys) <= set(declared):
            unknown.append(level)
    return home, unknown


def _worded(cell: Any) -> Any:
    """A truth value as a word; everything else as it is."""
    return ("yes" if cell else "no") if isinstance(cell, bool) else cell


def _own_unit(cells: Sequence[Any]) -> str:
    """The unit that all cells of a column carry; empty where they carry none, several, or are percentages."""
    units = {unit_key(split_unit(cell)[1]) for cell in cells if isinstance(cell, str)}
    if len(units) != 1 or any(isinstance(cell, int | float) for cell in cells):
        return ""
    unit = next(iter(units))
    return unit if unit != "%" and is_unit(unit) else ""


def _bare(cell: Any, unit: str) -> tuple[Any, float]:
    """A cell without its unit, and the factor to the unit of the header; percents of a pure number are hundredths."""
    if isinstance(cell, CodedCell):
        return cell.code, 1.0
    if not isinstance(cell, str):
        return cell, 1.0
    number, own = split_unit(cell)
    if not own:
        return cell, 1.0
    if unit and unit_key(own) == unit_key(unit):
        return number, 1.0
    return (number, 0.01) if own == "%" and unit_key(unit) in ("", "1") else (cell, 1.0)
