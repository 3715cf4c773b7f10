"""What every result of `hepacast stats` can do: text, JSON, data frame, figures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from hepacast.core.p_values import p_text
from hepacast.core.records import Record
from hepacast.core.tables import Table
from hepacast.core.views import Drawings, Shown, drawings, page
from hepacast.stats.effects import number_text, ratio_digits

if TYPE_CHECKING:
    pass

NOT_THERE = "–"


class StatisticsResult(Record, Shown):
    """A result: a record of numbers (`to_json`), with views (`text()`, a notebook's page, `figures()`)."""

    def to_frame(self) -> pd.DataFrame:
        """The main table as numbers."""
        raise NotImplementedError

    def save_figures(self, folder: str | Path, formats: Sequence[str] = ("pdf", "svg", "png")) -> list[Path]:
        """Write every figure into a folder; the files, in order."""
        from hepacast.figures.style import save_figure

        written: list[Path] = []
        for name, draw in drawings(self).items():
            written.extend(save_figure(draw(), Path(folder) / _file_name(name), formats))
        return written


@drawings.register
def _(found: StatisticsResult) -> Drawings:
    return getattr(found, "drawings", dict)()


@page.register
def _(found: StatisticsResult) -> Sequence[str | Table]:
    return (found.text(),)


#: Entries that hold words or switches: null there means that there is none, and needs no reason.
_NOT_NUMBERS = frozenset({"by", "unit", "normal", "kind", "label", "method", "patient", "example", "positive"})


def reasoned(values: Any, above: str = "") -> Any:
    """Plain values in which every missing number stands beside its reason.

    A dictionary that has null for a number and no reason gets that of the nearest one around it, which speaks of all
    that it holds (its `reason`, else its notes).

    Parameters
    ----------
    values
        As `to_json` of a result gives them, NaN as None.
    above
        Reason of what holds them.
    """
    if isinstance(values, list):
        return [reasoned(item, above) for item in values]
    if not isinstance(values, dict):
        return values
    own = _own_reason(values)
    found = {key: reasoned(item, own or above) for key, item in values.items()}
    if not own and above and any(_is_missing(values, key) for key in values):
        found["reason"] = above
    return found


def _own_reason(values: Mapping[str, Any]) -> str:
    reason = values.get("reason")
    if isinstance(reason, str) and reason:
        return reason
    notes = values.get("notes")
    return " ".join(notes) if isinstance(notes, list) and all(isinstance(note, str) for note in notes) else ""


def unexplained(values: Any, path: str = "") -> list[str]:
    """Paths of numbers that are null without a reason in the same dictionary."""
    if isinstance(values, list):
        return [place for number, item in enumerate(values) for place in unexplained(item, f"{path}[{number}]")]
    if not isinstance(values, dict):
        return []
    found = [f"{path}.{key}" for key in values if _is_missing(values, key) and not _own_reason(values)]
    return found + [place for key, item in values.items() for place in unexplained(item, f"{path}.{key}")]


def _is_missing(values: Mapping[str, Any], key: str) -> bool:
    item = values[key]
    if key in _NOT_NUMBERS or values.get(f"{key}_reason"):
        return False
    return item is None or (isinstance(item, list) and any(entry is None for entry in item))


def _file_name(name: str) -> str:
    return "".join(char if char.isalnum() or char in "-_." else "-" for char in name)


def text_table(frame: pd.DataFrame, *, title: str = "") -> str:
    """A data frame of texts with aligned columns: the first to the left, the others too, two spaces apart."""
    heads = [str(column) for column in frame.columns]
    body = [[str(cell) for cell in row] for row in frame.itertuples(index=False, name=None)]
    widths = [max([len(head), *(len(row[j]) for row in body)]) for j, head in enumerate(heads)]

    def line(cells: Sequence[str]) -> str:
        return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()

    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    parts = [title] if title else []
    return "\n".join([*parts, line(heads), rule, *(line(row) for row in body)])


def paragraphs(*parts: str) -> str:
    """Parts with an empty line between them; empty parts are left out."""
    return "\n\n".join(part for part in parts if part)


def note_lines(notes: Sequence[str]) -> str:
    """Notes, one a line."""
    return "\n".join(f"Note: {note}" for note in notes)


def number(value: float, digits: int | None = 3) -> str:
    """A number with fixed decimals; a dash where there is none."""
    if value is None or math.isnan(value):
        return NOT_THERE
    return number_text(value, digits)


def short(value: float) -> str:
    """Up to four figures, as short as possible; a dash where there is none."""
    return NOT_THERE if value is None or math.isnan(value) else f"{value:.4g}"


def with_limits(value: float, low: float, high: float, digits: int | None = 3) -> str:
    """`0.731 (0.630 to 0.833)`."""
    if value is None or math.isnan(value):
        return NOT_THERE
    if any(math.isnan(limit) for limit in (low, high)):
        return number(value, digits)
    return f"{number(value, digits)} ({number(low, digits)} to {number(high, digits)})"


def ratio(value: float, low: float, high: float) -> str:
    """An odds or hazard ratio with limits, with the decimals that its size deserves."""
    digits = ratio_digits(value) if not math.isnan(value) else None
    shown = with_limits(value, low, high, digits)
    if not 0 < low < math.inf or math.isnan(high) or digits is None or round(low, digits) > 0:
        return shown
    # A limit is above 0, however small: fixed decimals would print 0.
    return f"{number(value, digits)} ({low:.2g} to {number(high, digits)})"


def p_value(p: float) -> str:
    """P as journals print it; a dash where there is none."""
    return p_text(p, NOT_THERE)
