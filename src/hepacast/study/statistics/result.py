"""What every result of `hepacast stats` can do: text, JSON, data frame, figures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from hepacast.core.records import Record
from hepacast.core.views import Shown, drawings


class StatisticsResult(Record, Shown, ABC):
    """A result: a record of numbers (`to_json`), with views (`text()`, a notebook's page, `figures()`)."""

    @abstractmethod
    def to_frame(self) -> pd.DataFrame:
        """The main table as numbers."""

    def save_figures(self, folder: str | Path, formats: Sequence[str] = ("pdf", "svg", "png")) -> list[Path]:
        """Write every figure into a folder; the files, in order."""
        from hepacast.figures.style import save_figure

        written: list[Path] = []
        for name, draw in drawings(self).items():
            written.extend(save_figure(draw(), Path(folder) / _file_name(name), formats))
        return written


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


def note_lines(notes: Sequence[str]) -> str:
    """Notes, one a line."""
    return "\n".join(f"Note: {note}" for note in notes)
