"""A table for analysis: columns by name, numbers and categories from cells, incomplete patients counted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from hepacast.cohort.columns import BINARY_WORDS, nearest, word_key
from hepacast.cohort.headers import find_header
from hepacast.cohort.numbers import guess_decimal, parse_number
from hepacast.errors import OutcomeError, TableError

Array = npt.NDArray[np.float64]
#: Share of cells that must be numbers for a column to count as numeric; the others are then errors, not levels.
NUMERIC_SHARE = 0.9
MAX_LEVELS = 20
_SHOWN = 5


@dataclass
class AnalysisTable:
    """A table as it was read: cells by column, nothing interpreted yet.

    Parameters
    ----------
    cells
        Header -> cells; missing is None, everything else as the file has it.
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
    """

    cells: dict[str, list[Any]]
    rows: list[int]
    name: str = "table"
    levels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    categorical: Sequence[str] = ()
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.levels = {self.column(name): [str(level) for level in order] for name, order in self.levels.items()}
        self.categorical = [self.column(name) for name in self.categorical]

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
        status = [self._parse(cell, ".").status for cell in present]
        if guess_decimal(present) == ",":
            status = [self._parse(cell, ",").status for cell in present]
        # `<400` and `>=400` alone are two categories, not measurements.
        if status.count("ok") < len(status) / 2:
            return False
        return sum(item in ("ok", "censored", "ambiguous") for item in status) >= NUMERIC_SHARE * len(status)

    def numbers(self, name: str) -> pd.Series:
        """A column as numbers, NaN where nothing stands.

        Raises
        ------
        TableError
            A cell holds text, can be read in two ways, or is infinite; the message lists cells with their rows.
        """
        header = self.column(name)
        mark = guess_decimal([cell for cell in self.cells[header] if cell is not None])
        values, limits, wrong = [], 0, []
        for row, cell in zip(self.rows, self.cells[header], strict=True):
            parsed = self._parse(cell, "," if mark == "," else ".")
            limits += parsed.status == "censored"
            if parsed.status not in ("ok", "censored", "missing") or mark == "mixed" or math.isinf(parsed.value):
                wrong.append(f"row {row}: {cell!r}")
            values.append(parsed.value)
        if wrong:
            raise TableError(
                f"The column {header!r} holds cells that are no plain numbers.",
                expected="numbers with one decimal mark, empty where not measured",
                found=", ".join(wrong[:_SHOWN]) + (f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""),
                where=self.name,
                remedy="correct these cells, or name the column with --categorical if it holds categories",
            )
        if limits:
            self.note(f"{header}: {limits} values beyond a limit (such as <0.8) taken as half of a lower limit.")
        return pd.Series(values, name=header, dtype=float)

    def _parse(self, cell: Any, mark: Any) -> Any:
        return parse_number(None if cell is None else cell, decimal=mark)

    def categories(self, name: str) -> pd.Series:
        """A column as categories (pandas Categorical of text), the reference level first.

        Raises
        ------
        TableError
            More than 20 levels, dates, or a level that is not among those given.
        """
        header = self.column(name)
        texts = [None if cell is None else _level(cell) for cell in self.cells[header]]
        present = list(dict.fromkeys(text for text in texts if text is not None))
        given = list(self.levels.get(header, ()))
        unknown = [text for text in present if text not in given]
        if given and unknown:
            raise TableError(
                f"The column {header!r} has levels that were not listed.",
                expected=", ".join(given), found=", ".join(unknown[:_SHOWN]), where=self.name,
            )  # fmt: skip
        if len(present) > MAX_LEVELS:
            raise TableError(
                f"The column {header!r} has {len(present)} different texts, too many for categories.",
                expected=f"at most {MAX_LEVELS} levels, or numbers",
                found=", ".join(present[:_SHOWN]) + " ...",
                where=self.name,
                remedy="leave it out if it is an identifier, a date or free text",
            )
        order = [level for level in given if level in present] or sorted(present, key=_natural)
        return pd.Series(pd.Categorical(texts, categories=order), name=header)

    def predictor(self, name: str) -> pd.Series:
        """A column as a model uses it: numbers where it is numeric, categories otherwise."""
        return self.numbers(name) if self.is_numeric(name) else self.categories(name)

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
        keys = [None if cell is None else word_key(cell) for cell in self.cells[header]]
        present = list(dict.fromkeys(key for key in keys if key is not None))
        shown = ", ".join(sorted({_level(cell) for cell in self.cells[header] if cell is not None}, key=_natural)[:6])
        if not present:
            raise OutcomeError(f"The column {header!r} has no values.", where=self.name)
        if positive is not None:
            if word_key(positive) not in present:
                raise OutcomeError(f"{positive!r} does not occur in {header!r}.", expected=shown, found=positive)
            if len(present) > 2:
                self.note(f"{header}: {positive} is 1, all other {len(present) - 1} levels are 0.")
            table = {key: float(key == word_key(positive)) for key in present}
        else:
            table = {key: float(answer) for answer, words in enumerate(BINARY_WORDS) for key in present if key in words}
            if len(table) < len(present):
                raise OutcomeError(
                    f"The column {header!r} does not say which value is the event.",
                    expected="0 and 1, or words such as no and yes",
                    found=shown,
                    where=self.name,
                    remedy="name the value that is the event with --positive",
                )
        return pd.Series([np.nan if key is None else table[key] for key in keys], name=header, dtype=float)

    def note(self, text: str) -> None:
        """Remember something that a reader must know, once."""
        if text not in self.notes:
            self.notes.append(text)


@dataclass(frozen=True)
class Flow:
    """Patients read, left out by reason (each counted at the first reason met), and used."""

    read: int
    left_out: Mapping[str, int]
    used: int

    def text(self) -> str:
        """One sentence."""
        reasons = "; ".join(f"{count} {reason}" for reason, count in self.left_out.items())
        return f"{self.read} rows read, {self.used} used" + (f"; left out: {reasons}." if reasons else ".")

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"read": self.read, "left_out": dict(self.left_out), "used": self.used}


def complete_rows(columns: Mapping[str, pd.Series]) -> tuple[npt.NDArray[np.bool_], Flow]:
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
    return kept, Flow(len(kept), left_out, int(kept.sum()))


def _level(cell: Any) -> str:
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return str(cell).strip()


def _natural(text: str) -> tuple[int, float, str]:
    try:
        return 0, float(text), text
    except ValueError:
        return 1, 0.0, text
