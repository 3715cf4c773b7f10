"""What the page offers of `hepacast.study.statistics`: each function with the options that its command has.

A page gives options by the function's own names; they are checked here and handed over as they are, so that a number on
the page is the number of the command.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hepacast.cohort.known_columns import id_header, role_of
from hepacast.core.files import to_jsonable
from hepacast.core.tables import Table
from hepacast.core.views import page
from hepacast.errors import HepacastError, TableError
from hepacast.study import statistics
from hepacast.study.statistics.options import split_pairs, split_splines, split_ticks
from hepacast.study.statistics.reading import load
from hepacast.study.statistics.result import StatisticsResult, reasoned
from hepacast.study.statistics.table import MAX_LEVELS, AnalysisTable

Kind = Literal[
    "column", "columns", "level", "number", "count", "numbers", "choice", "flag", "text", "cuts", "splines", "ticks",
    "pairs",
]  # fmt: skip
#: How a notation becomes what the function takes.
_READ: dict[str, Callable[[Sequence[str]], Any]] = {
    "splines": split_splines, "ticks": split_ticks, "pairs": split_pairs
}  # fmt: skip


@dataclass(frozen=True)
class AnalysisOption:
    """One option: the function's own name, what it holds, and what is taken without it.

    `like` says which column is proposed: ``outcome``, ``time``, ``id``, ``numbers`` or ``others``.
    """

    name: str
    kind: Kind
    default: Any = None
    needed: bool = False
    choices: tuple[str, ...] = ()
    like: str = ""
    more: bool = False


def _more(name: str, kind: Kind, default: Any = None, **options: Any) -> AnalysisOption:
    return AnalysisOption(name, kind, default, more=True, **options)


_LEVEL = _more("level", "number", 0.95)
_POSITIVE = AnalysisOption("positive", "level")
#: By name of the command.
ANALYSES: dict[str, tuple[AnalysisOption, ...]] = {
    "describe": (
        AnalysisOption("by", "column", like="outcome"),
        AnalysisOption("columns", "columns"),
        _more("equal_var", "flag", False),
        _more("yates", "flag", False),
        _more("quartiles", "choice", 7, choices=("7", "6")),
    ),
    "logistic": (
        AnalysisOption("outcome", "column", needed=True, like="outcome"),
        _POSITIVE,
        AnalysisOption("predictors", "columns", needed=True, like="others"),
        _more("univariate", "flag", True),
        _more("multivariate", "flag", True),
        _more("keep_p", "number"),
        _more("firth", "flag", False),
        _more("interval", "choice", "wald", choices=("wald", "profile")),
        _LEVEL,
    ),
    "survival": (
        AnalysisOption("time", "column", needed=True, like="time"),
        AnalysisOption("event", "column", needed=True, like="outcome"),
        _POSITIVE,
        AnalysisOption("group", "column"),
        AnalysisOption("score", "column"),
        AnalysisOption("cut", "text", "median"),
        AnalysisOption("predictors", "columns", ()),
        AnalysisOption("at", "numbers", ()),
        AnalysisOption("unit", "text", ""),
        _more("confidence", "choice", "log", choices=("log", "log-log", "plain")),
        _LEVEL,
    ),
    "evaluate": (
        AnalysisOption("outcome", "column", needed=True, like="outcome"),
        _POSITIVE,
        AnalysisOption("models", "columns", needed=True, like="numbers"),
        AnalysisOption("time", "column"),
        AnalysisOption("at", "number"),
        _more("cutoffs", "cuts"),
        _more("nri_cuts", "numbers", ()),
        _more("external", "flag", False),
        _more("n_boot", "count", 1000),
        _more("seed", "count", 0),
        _LEVEL,
    ),
    "nomogram": (
        AnalysisOption("outcome", "column", like="outcome"),
        AnalysisOption("time", "column"),
        AnalysisOption("event", "column"),
        _POSITIVE,
        AnalysisOption("predictors", "columns", needed=True, like="others"),
        AnalysisOption("at", "numbers", ()),
        AnalysisOption("unit", "text", ""),
        _more("splines", "splines"),
        _more("interactions", "pairs", ()),
        _more("logs", "columns", ()),
        _more("ticks", "ticks"),
        _more("patient", "text"),
        _more("id_column", "column"),
        _more("firth", "flag", False),
        _more("n_boot", "count", 200),
        _more("seed", "count", 0),
        _LEVEL,
    ),
    "agreement": (
        AnalysisOption("subject", "column", needed=True, like="id"),
        AnalysisOption("raters", "columns", (), like="numbers"),
        AnalysisOption("rater", "column"),
        AnalysisOption("value", "column"),
        _LEVEL,
    ),
    "samplesize": (
        AnalysisOption("parameters", "count", needed=True),
        AnalysisOption("prevalence", "number"),
        AnalysisOption("rate", "number"),
        AnalysisOption("time_point", "number"),
        AnalysisOption("follow_up", "number"),
        _more("r2", "number"),
        _more("nagelkerke_r2", "number"),
        _more("shrinkage", "number", 0.9),
    ),
}
#: The one that reads no table.
WITHOUT_TABLE = frozenset({"samplesize"})


@dataclass(frozen=True)
class TableAsked:
    """How a table is read: as the options of every command about tables."""

    path: Path
    sheet: str | None = None
    decimal: Literal["auto", ".", ","] = "auto"
    categorical: tuple[str, ...] = ()
    levels: Mapping[str, Sequence[str]] | None = None

    def load(self) -> AnalysisTable:
        """The table.

        Raises
        ------
        TableError
            It cannot be read.
        """
        return load(self.path, sheet=self.sheet, decimal=self.decimal, categorical=self.categorical, levels=self.levels)


def run(name: str, table: TableAsked | None, options: Mapping[str, Any]) -> StatisticsResult:
    """The result of an analysis.

    Parameters
    ----------
    name
        Of `ANALYSES`.
    table
        None for what reads no table.
    options
        By name; what is empty is left out.

    Raises
    ------
    HepacastError
        An unknown analysis or option, an option of another kind, or whatever the function refuses.
    """
    if name not in ANALYSES:
        raise HepacastError("There is no such analysis.", expected=", ".join(ANALYSES), found=name)
    known = {item.name: item for item in ANALYSES[name]}
    strange = set(options) - set(known)
    if strange:
        raise HepacastError(f"{name} has no such option.", expected=", ".join(known), found=", ".join(sorted(strange)))
    given = {key: _read(known[key], value) for key, value in options.items() if value not in (None, "", [], {})}
    lacking = [item.name for item in ANALYSES[name] if item.needed and item.name not in given]
    if lacking:
        raise HepacastError("Something has to be chosen first.", expected=", ".join(lacking))
    function = getattr(statistics, name)
    if name in WITHOUT_TABLE:
        return function(**given)  # type: ignore[no-any-return]
    if table is None:
        raise TableError("There is no table yet.", expected="a table that was dropped")
    return function(table.load(), **given)  # type: ignore[no-any-return]


def _read(option: AnalysisOption, value: Any) -> Any:
    """An option's value as its function takes it."""
    kind = option.kind
    texts = isinstance(value, list) and all(isinstance(item, str) for item in value)
    if kind in ("column", "text", "level") and isinstance(value, str):
        return value
    if kind == "columns" and texts:
        return value
    if kind == "flag" and isinstance(value, bool):
        return value
    if kind == "choice" and str(value) in option.choices:
        return type(option.default)(value)
    if kind in _READ and texts:
        return _READ[kind](value)
    try:
        if kind == "number":
            return float(value)
        if kind == "count":
            return int(value)
        if kind == "numbers":
            return [float(item) for item in value]
        if kind == "cuts":
            return {str(key): float(item) for key, item in value.items()}
    except (TypeError, ValueError, AttributeError):
        pass
    expected = ", ".join(option.choices) or {"number": "a number", "count": "a whole number"}.get(kind, kind)
    raise HepacastError(f"The option {option.name!r} is not as it should be.", expected=expected, found=str(value))


def described(table: AnalysisTable) -> list[dict[str, Any]]:
    """What each column of a table is taken for, and what it is probably for."""
    own = id_header(table.headers)
    return [_column(table, header, header == own) for header in table.headers]


def _column(table: AnalysisTable, header: str, is_id: bool) -> dict[str, Any]:
    cells = table.cells[header]
    present = [cell for cell in cells if cell is not None]
    levels: list[str] = []
    kind = "number" if table.is_numeric(header) else "text"
    try:
        if len({str(cell) for cell in present}) <= MAX_LEVELS:
            levels = [str(level) for level in table.categories(header).cat.categories]
            kind = "category" if kind == "text" else kind
    except TableError:
        levels = []
    role = "id" if is_id else {"outcome": "outcome", "time": "time"}.get(role_of(header), "")
    if not role and len(levels) == 2 and kind == "number" and set(levels) == {"0", "1"}:
        role = "binary"
    return {"name": header, "kind": kind, "levels": levels, "missing": len(cells) - len(present), "role": role}


def shown(result: StatisticsResult) -> list[dict[str, Any]]:
    """The page of a result: texts, and tables with their rows."""
    parts: list[dict[str, Any]] = []
    for part in page(result):
        if isinstance(part, Table):
            rows = [{"cells": list(row.cells), "kind": row.kind} for row in part.padded()]
            told = {"title": part.title, "columns": list(part.columns), "rows": rows, "notes": list(part.notes)}
            parts.append({"table": told})
        elif part:
            parts.append({"text": part})
    return parts


def numbers_of(result: StatisticsResult) -> Any:
    """Every number, as the command's ``--json`` gives them."""
    return reasoned(to_jsonable(result.to_json()))
