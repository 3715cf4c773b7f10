"""What a table that nobody has described holds: each header's meaning, unit and levels, and what is not sure about it.

A proposal is for a person to look at: `hepacast init --table` writes it into a study file with its doubts as comments,
and the study file is what is read from then on.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hepacast.cohort.columns import BINARY_WORDS, SEX_LEVELS, ColumnSpec, has_plus, level_key, level_order, word_key
from hepacast.cohort.dates import DateProblem, parse_date
from hepacast.cohort.design_checks import AFTER_PARTS, AFTER_WORDS, after_event_word, can_name_a_person
from hepacast.cohort.headers import split_header
from hepacast.cohort.infer import cell_numbers, infer_columns, known_cells
from hepacast.cohort.joining import RawTable, join_sheets
from hepacast.cohort.known_columns import find_known, known_columns, role_of
from hepacast.cohort.layout import Sheet
from hepacast.cohort.numbers import normalize_text
from hepacast.cohort.quantities import convert, find_quantity, get_quantity, is_unit_of, tidy_unit
from hepacast.cohort.sheets import read_sheets
from hepacast.errors import TableError

_MANY_LEVELS = 12
_FEW_CODES = 5
_TOO_FEW_TO_TELL = 8
_TITLE_ROWS = 10
_DATE_FORMATS = ("%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%d.%m.%y", "%Y%m%d")


@dataclass(frozen=True)
class ProposedColumn:
    """What one header probably is.

    Parameters
    ----------
    header
        As it stands in the table.
    spec
        The column of the study; None where it should not be read at all.
    role
        ``covariate``, ``outcome``, ``time``, ``date``, ``center``, ``set``, ``remark``, ``after`` (known after the
        treatment), ``person`` or ``unused``.
    doubts
        What is not sure, each with its alternative.
    words
        Words that occur, with how many patients have them; empty for numbers and dates.
    """

    header: str
    spec: ColumnSpec | None
    role: str
    doubts: tuple[str, ...] = ()
    words: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class TableProposal:
    """A table read for the first time.

    Parameters
    ----------
    id_header
        Header of the identifier, and whether its name says so.
    columns
        Every other header.
    left_aside
        Sheets that are hidden or have no such identifier.
    raw
        The cells.
    """

    id_header: str
    id_is_sure: bool
    patients: int
    columns: tuple[ProposedColumn, ...]
    left_aside: tuple[str, ...]
    raw: RawTable

    def of_role(self, *roles: str) -> list[ProposedColumn]:
        """The columns that play one of these parts."""
        return [item for item in self.columns if item.role in roles]


def propose_columns(path: str | Path) -> TableProposal:
    """Read a table and propose what its columns are.

    Raises
    ------
    TableError
        The file cannot be read, or no column tells its patients apart.
    """
    header, sure = identifier_of(_with_rows(path))
    sheets = read_sheets(path, id_column=header)
    raw, _ = join_sheets(sheets, id_column=header, sheet=None)
    specs = {spec.source[0]: spec for spec in infer_columns(raw)}
    columns = tuple(_propose(head, specs.get(head), raw) for head in raw.headers)
    aside = tuple(sheet.name for sheet in sheets if sheet.name not in {read.name for read in raw.sheets})
    return TableProposal(header, sure, len(raw.patients), columns, aside, raw)


def read_unknown(path: str | Path) -> list[Sheet]:
    """The sheets of a table whose identifier nobody has named: below titles, the row with a header that names one."""
    first = read_sheets(path, id_column="")
    for row in range(1, _TITLE_ROWS + 1):
        if _names_patients(first):
            return first
        found = read_sheets(path, id_column="", header_row=row)
        if _names_patients(found):
            return found
        first = first if any(sheet.headers for sheet in first) else found
    return first


def _names_patients(sheets: Sequence[Sheet]) -> bool:
    """Whether a header names the identifier; `no` and `number` may as well stand in somebody's row."""
    return any(find_known(head) == "patient" for sheet in sheets for head in sheet.headers)


def find_identifier(path: str | Path) -> str:
    """The header that probably is the patients' identifier.

    Raises
    ------
    TableError
        The file cannot be read, or no column tells its patients apart.
    """
    return identifier_of(_with_rows(path))[0]


def _with_rows(path: str | Path) -> list[Sheet]:
    sheets = [sheet for sheet in read_unknown(path) if sheet.headers and sheet.cells and not sheet.hidden]
    if not sheets:
        raise TableError("The table has no rows.", expected="a row of headers and one row a patient", found=str(path))
    return sheets


def identifier_of(sheets: Sequence[Sheet]) -> tuple[str, bool]:
    """The header of the identifier: one named so, else a column with another value in every row."""
    unique = [head for sheet in sheets for head in sheet.headers if _tells_apart(sheet, head)]
    for wanted in ("id", "hospital number"):
        named = [head for head in unique if role_of(head) == wanted or can_name_a_person(head) == wanted]
        if named:
            return named[0], wanted == "id"
    named = [head for sheet in sheets for head in sheet.headers if role_of(head) == "id"]
    others = [head for head in unique if not can_name_a_person(head)]
    for found in (named, others):
        if found:
            return found[0], found is named
    raise TableError(
        "No column of the table tells its patients apart.",
        expected="a column of study numbers, another one for every patient",
        found=", ".join(sheets[0].headers[:20]),
        remedy="add a column `ID` with a study number for each patient (no names, no hospital numbers)",
    )


def _tells_apart(sheet: Sheet, header: str) -> bool:
    values = sheet.column(header)
    if len(set(map(str, values))) < len(values):
        return False
    known = known_cells(values)
    whole = all(not isinstance(value, float) or value.is_integer() for value in known)
    return len(known) == len(values) and whole


def _propose(header: str, spec: ColumnSpec | None, raw: RawTable) -> ProposedColumn:
    if spec is None:
        return ProposedColumn(header, None, "unused", ("the header stands more than once in a sheet",))
    if can_name_a_person(header):
        return ProposedColumn(header, None, "person", ("names a person: results must hold study numbers only",))
    spec, taken_for = _named_with_a_time(spec)
    cells = raw.values(header)
    values = known_cells(cells)
    if not values:
        return ProposedColumn(header, None, "unused", ("the column is empty",))
    words: dict[str, int] = Counter(map(normalize_text, values))
    minus = sum(isinstance(cell, str) and not cell[:1].isalnum() and level_key(cell) == "-" for cell in cells)
    if minus and has_plus(words):
        words["-"] = minus
    spec, doubts = _with_kind(spec, values, words)
    doubts = [*taken_for, *doubts]
    known = known_columns().get(find_known(header))
    if known is not None and not known.role and not spec.quantity:
        spec = replace(spec, label=known.label, quantity="none")
    if spec.kind == "numeric":
        spec, more = _with_unit(spec, values, raw.unit_below(header) or split_header(header)[1])
        doubts += more
    role = _role(header, spec, values, words)
    shown = tuple(words.items()) if spec.kind in ("binary", "categorical") else ()
    if role == "remark" or (spec.kind == "categorical" and len({word_key(word) for word in words}) > _MANY_LEVELS):
        text = f"{len(words)} different texts: free text, or an identifier" if role != "remark" else "free text"
        return ProposedColumn(header, None, "remark", (text,))
    if role in ("outcome", "time", "after"):
        spec = replace(spec, after_event=True, quantity=spec.quantity or "none")
    if role == "after":
        word = after_event_word(header)
        if word:
            doubts.append(f"{word!r} sounds like after the treatment: delete `after_event` if it was known before")
    return ProposedColumn(header, spec, role, tuple(doubts), shown)


#: Words that say when something was measured, beside those of `after_event_word`.
_BEFORE = frozenset(
    """
    pre preop preoperative pretreatment pretace before baseline initial op tace treatment surgery highest lowest max min
    peak vor prä präop präoperativ
    """.split()  # noqa: SIM905
)
_BEFORE_PARTS = ("术前", "治疗前", "基线", "入院", "手术前", "最高", "最低")


def _named_with_a_time(spec: ColumnSpec) -> tuple[ColumnSpec, list[str]]:
    """`TBIL post TACE`, `术前ALB`: the quantity that is left without the words for a time."""
    if spec.quantity or spec.kind != "numeric":
        return spec, []
    name, _ = split_header(spec.source[0])
    for part in (*AFTER_PARTS, *_BEFORE_PARTS):
        name = name.replace(part, " ")
    tokens = [token for token in re.split(r"[\s_./-]+", name) if token]
    left = [token for token in tokens if token.casefold() not in AFTER_WORDS | _BEFORE]
    found = find_quantity(" ".join(left)) if left and left != [spec.source[0]] else None
    if found is None:
        return spec, []
    return replace(spec, quantity=found.name, label=""), [f"taken for {found.label}"]


def _role(header: str, spec: ColumnSpec, values: Sequence[Any], words: dict[str, int]) -> str:
    named = role_of(header) or role_of(split_header(header)[0])
    few = len({word_key(word) for word in words}) <= _MANY_LEVELS
    if spec.kind == "date":
        return "date"
    if named == "remark" or (named in ("center", "set") and few):
        return named
    if spec.quantity:
        return "after" if after_event_word(header) else "covariate"
    if named == "outcome" and few and spec.kind != "numeric":
        return "outcome"
    if named == "time" and spec.kind == "numeric":
        return "time"
    if after_event_word(header) or named == "outcome":
        if spec.kind in ("binary", "categorical") and few:
            return "outcome"
        return "time" if spec.kind == "numeric" and len({str(value) for value in values}) > _FEW_CODES else "after"
    return "covariate"


def _with_kind(spec: ColumnSpec, values: Sequence[Any], words: dict[str, int]) -> tuple[ColumnSpec, list[str]]:
    """Dates kept as text, codes and words of levels, with their doubts."""
    date_format, doubts = _as_dates(spec, values)
    if date_format is not None:
        spec = replace(spec, kind="date", quantity="none", unit="", levels={}, date_format=date_format)
        return spec, doubts
    keys = {word_key(word) for word in words}
    numeric_codes = spec.kind == "numeric" and len(keys) <= _FEW_CODES and all(key.isdigit() for key in keys)
    known = find_known(spec.source[0])
    if known == "sex" and all(key.isdigit() for key in keys) and len(keys) == 2:
        levels = {f"code {key}": (key,) for key in sorted(keys)}
        return _as_levels(spec, levels), ["codes: name the levels, for example `male: [1], female: [2]`"]
    if spec.kind == "binary":
        return replace(spec, levels=_words_of_levels(spec, words)), []
    if numeric_codes and len(keys) == 2 and keys == {"0", "1"} and not spec.quantity:
        return _as_levels(spec, {"no": ("0",), "yes": ("1",)}), []
    if numeric_codes and not spec.quantity and (known or len(keys) == 2):
        levels = {key: (key,) for key in sorted(keys, key=int)}
        return _as_levels(spec, levels), ["codes: name the levels; the first is the reference"]
    if numeric_codes and not spec.quantity and len(keys) > 1:
        shown = ", ".join(sorted(keys, key=int))
        return spec, [f"only {shown} occur: if these are codes, write `kind: categorical` with `levels`"]
    if numeric_codes and len(keys) > 1 and spec.quantity and not _could_be(spec, values):
        levels = {key: (key,) for key in sorted(keys, key=int)}
        label = get_quantity(spec.quantity).label
        return _as_levels(spec, levels), [f"only codes, no values of {label}: name the levels"]
    if spec.kind == "categorical":
        return replace(spec, levels=_grouped(words)), []
    return spec, []


def _as_levels(spec: ColumnSpec, levels: Mapping[str, tuple[str, ...]]) -> ColumnSpec:
    kind = "binary" if len(levels) == 2 else "categorical"
    return ColumnSpec(spec.name, spec.source, kind=kind, label=spec.label, levels=levels)  # type: ignore[arg-type]


def _words_of_levels(spec: ColumnSpec, words: dict[str, int]) -> dict[str, tuple[str, ...]]:
    """The spellings that occur, under the level that each means; a level of which nothing occurs keeps its name."""
    sides = SEX_LEVELS if set(spec.levels) == set(SEX_LEVELS) else {"no": BINARY_WORDS[0], "yes": BINARY_WORDS[1]}
    levels: dict[str, list[str]] = {name: [] for name in sides}
    for word in words:
        level = next((name for name, known in sides.items() if word_key(word) in known), next(iter(levels)))
        levels[level].append(word)
    return {name: tuple(found) or (name,) for name, found in levels.items()}


def _grouped(words: dict[str, int]) -> dict[str, tuple[str, ...]]:
    """Levels with their spellings: words that differ in case and spaces are one; a word for none is the reference."""
    groups: dict[str, list[str]] = {}
    nothing = {*BINARY_WORDS[0], "none", "keine", "keiner", "normal"}
    order = {word: (word_key(word) not in nothing, *level_order(level_key(word), word), word) for word in words}
    for word in sorted(words, key=order.__getitem__):
        groups.setdefault(level_key(word), []).append(word)
    return {max(group, key=lambda word: words[word]): tuple(group) for group in groups.values()}


def _as_dates(spec: ColumnSpec, values: Sequence[Any]) -> tuple[str | None, list[str]]:
    """The date format of a column of dates (empty: as they stand), None when it holds none."""
    if spec.kind == "date":
        return "", []
    texts = [value for value in values if isinstance(value, str) and len(value) >= 6]
    if len(texts) < len(values) or not texts or (spec.kind == "numeric" and spec.quantity):
        return None, []
    if _share_of_dates(texts, "") >= 0.9:
        return "", []
    fitting = [form for form in _DATE_FORMATS if _share_of_dates(texts, form) == 1.0]
    if not fitting:
        return None, []
    if len(fitting) == 1:
        return fitting[0], []
    return fitting[0], [f"day and month cannot be told apart: or `date_format: '{fitting[1]}'`"]


def _share_of_dates(texts: Sequence[str], date_format: str) -> float:
    right = 0
    for text in texts:
        try:
            parse_date(text, date_format)
        except DateProblem:
            continue
        right += 1
    return right / len(texts)


def _could_be(spec: ColumnSpec, values: Sequence[Any]) -> bool:
    """Whether a few whole numbers can be values of the quantity: counts and points, not concentrations."""
    counted = get_quantity(spec.quantity).unit in ("", "points")
    return len(values) < _TOO_FEW_TO_TELL or (counted and bool(_units_that_fit(spec.quantity, cell_numbers(values))))


def _units_that_fit(name: str, numbers: Sequence[float]) -> list[str]:
    """The units in which the median lies where a cohort's median can lie."""
    quantity = get_quantity(name)
    low, high = quantity.cohort_median or quantity.plausible
    if not numbers:
        return []
    median = sorted(numbers)[len(numbers) // 2]
    return [
        unit
        for unit in (quantity.unit, *quantity.units)
        if low <= convert(median, unit, quantity.unit, quantity.name) <= high
    ]


def _with_unit(spec: ColumnSpec, values: Sequence[Any], stated: str) -> tuple[ColumnSpec, list[str]]:
    """The unit of the header, else the one that the magnitude of the values allows."""
    if not spec.quantity:
        return replace(spec, unit=stated), []
    quantity = get_quantity(spec.quantity)
    fitting = _units_that_fit(spec.quantity, cell_numbers(values))
    if stated and is_unit_of(stated, quantity):
        unit = tidy_unit(stated, quantity)
        doubt = f"the header says {stated}, the values look like {' or '.join(fitting)}" if fitting else ""
        return replace(spec, unit=unit, source_unit=""), [doubt] if doubt and unit not in fitting else []
    if stated:
        return _without_quantity(spec, stated), [f"{stated} is no unit of {quantity.label}: another quantity?"]
    if not fitting:
        return _without_quantity(spec, ""), [f"the values are none of {quantity.label} in any unit: another quantity?"]
    if set(quantity.units.values()) <= {1.0}:
        return replace(spec, unit=quantity.unit), []
    same = {convert(1.0, unit, quantity.unit, quantity.name) for unit in fitting}
    others = ", ".join(unit for unit in fitting if unit != fitting[0])
    doubt = f"no unit in the table; {fitting[0]} by the size of the values" + (
        f" (or {others})" if len(same) > 1 else ""
    )
    return replace(spec, unit=fitting[0]), [doubt]


def _without_quantity(spec: ColumnSpec, unit: str) -> ColumnSpec:
    return ColumnSpec(spec.name, spec.source, label=spec.label, quantity="none", unit=unit)
