"""Which rows beneath a header are patients: not the example, repeated headers, sums of the patients, and notes."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from itertools import compress
from typing import Any

from hepacast.cohort.findings import Finding
from hepacast.cohort.numbers import normalize_text

Row = tuple[int, tuple[Any, ...]]

#: Stands in a cell of the template's example row, which no command reads as a patient.
EXAMPLE_ROW = "EXAMPLE, not a patient"
#: First cells of rows that sum up the patients above them.
_TOTAL_WORDS = frozenset(
    (
        *("total", "totals", "grand total", "sum", "subtotal", "mean", "average", "avg", "median", "sd", "std", "σ"),
        *("standard deviation", "std. dev.", "all patients", "overall", "汇总"),
        *("summe", "gesamt", "gesamtsumme", "ergebnis", "mittelwert", "durchschnitt", "standardabweichung"),
        *(
            "合计",
            "总计",
            "小计",
            "总和",
            "总数",
            "合計",
            "平均",
            "平均值",
            "平均数",
            "均值",
            "均数",
            "中位数",
            "标准差",
        ),
    )
)
#: Likewise, but only in a sheet that has one of the words above: `Max` alone may be somebody.
_WEAK_TOTAL_WORDS = frozenset(
    (
        *("min", "max", "minimum", "maximum", "n", "count", "anzahl", "iqr", "range", "q1", "q3", "se", "sem"),
        *("最大值", "最小值", "计数", "例数"),
    )
)
#: May stand beside one of these words.
_FILL_WORDS = frozenset(
    ("patients", "patient", "cases", "subjects", "of", "all", "n", "patienten", "fälle", "例", "人")
)
_NOTE = re.compile(
    r"^(\*|†|‡|note|notes|remark|source|legend|abbreviation|anmerkung|quelle|注|备注|说明|资料来源)", re.I
)
#: Rows at the end of a table that are looked at more closely.
_LAST = 10
#: Fewer patients than this tell nothing about what an identifier, or a sum, looks like.
_FEW = 5


def patient_rows(
    rows: Sequence[Row], headers: Sequence[str], key: int | None, *, patients: bool = True
) -> tuple[list[Row], list[Finding]]:
    """The rows of patients, and what was said about the others.

    Parameters
    ----------
    rows
        Number of each row as Excel counts, and its cells.
    headers
        Above these cells.
    key
        Position of the identifier; None where no header names one.
    patients
        The rows are patients, so that sums of them and notes beneath the table are left out.
    """
    kept = [(number, row) for number, row in rows if any(not is_blank(cell) for cell in row)]
    findings: list[Finding] = []
    example = [EXAMPLE_ROW in row for _, row in kept]
    if any(example):
        message = f"{_quoted(kept, example)}: the example of the template, no patient, left out"
        findings.append(Finding("note", "example-row", message))
    kept = _without(kept, example)
    again = [_is_header(row, headers) for _, row in kept]
    if any(again):
        message = f"{_quoted(kept, again)}: the headers once more, no patient, left out"
        findings.append(Finding("note", "repeated-header", message))
    kept = _without(kept, again)
    if not patients:
        return kept, findings
    shapes = [_shape(row[key]) if key is not None else "" for _, row in kept]
    totals, notes = _totals_and_notes(kept, key, shapes)
    if any(totals):
        message = f"{_quoted(kept, totals)}: no patients but sums or means of them, left out"
        findings.append(Finding("note", "total-row", message))
    if any(notes):
        message = f"{_quoted(kept, notes)}: remarks beneath the table, left out"
        findings.append(Finding("note", "note-row", message))
    left = [not (total or note) for total, note in zip(totals, notes)]
    kept = list(compress(kept, left))
    return kept, findings + (_unlike(kept, list(compress(shapes, left))) if key is not None else [])


def is_blank(cell: Any) -> bool:
    """Whether nothing stands in a cell."""
    # Most cells begin with a letter or a digit: those need no closer look.
    return cell is None or (isinstance(cell, str) and not cell[:1].isalnum() and not normalize_text(cell))


def name_rows(rows: Iterable[int]) -> str:
    """``rows 3, 10 to 29``."""
    numbers = sorted(set(rows))
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    texts = [f"{part[0]} to {part[-1]}" if len(part) > 1 else str(part[0]) for part in parts]
    shown = ", ".join(texts[:8]) + (f" and {len(texts) - 8} more" if len(texts) > 8 else "")
    return f"row{'s' if len(numbers) > 1 else ''} {shown}"


def _without(rows: Sequence[Row], flags: Sequence[bool]) -> list[Row]:
    return [item for item, flag in zip(rows, flags) if not flag]


def _quoted(rows: Sequence[Row], flags: Sequence[bool]) -> str:
    """Numbers of the flagged rows and what their first cells say."""
    flagged = [item for item, flag in zip(rows, flags) if flag]
    words = ", ".join(repr(str(_first(row))[:40]) for _, row in flagged[:5])
    return f"{name_rows(number for number, _ in flagged)} ({words})"


def _first(row: Sequence[Any]) -> Any:
    return next((cell for cell in row if not is_blank(cell)), "")


def _is_header(row: Sequence[Any], headers: Sequence[str]) -> bool:
    """Whether a row repeats the headers, as tables that were printed on several pages do."""
    filled = 0
    for cell, head in zip(row, headers):
        if not is_blank(cell):
            if normalize_text(cell) != head:
                return False
            filled += 1
    return filled > 1


def _totals_and_notes(rows: Sequence[Row], key: int | None, shapes: Sequence[str]) -> tuple[list[bool], list[bool]]:
    """Which rows are sums or means of the patients, and which are notes beneath the table.

    Without a named identifier the first column may well have a level called `total`: then only the last rows count.
    """
    marks = [_total_word(row, key or 0) for _, row in rows]
    if key is not None:
        marks = [mark or _group_total(row, key, rows) for mark, (_, row) in zip(marks, rows)]
    strong = any(mark in _TOTAL_WORDS for mark in marks)
    totals = [mark in _TOTAL_WORDS or (strong and mark in _WEAK_TOTAL_WORDS) for mark in marks]
    if key is None:
        counts = {mark: marks.count(mark) for mark in set(marks)}
        totals = [total and counts[mark] == 1 for total, mark in zip(totals, marks)]
    first = max(_FEW, len(rows) - _LAST)
    usual = set(shapes[:first]) if key is not None else set()
    for position in range(first, len(rows)):
        above = [row for (_, row), total in zip(rows[:position], totals) if not total]
        if not totals[position] and shapes[position] not in usual:
            totals[position] = _sums_up(rows[position][1], above, key)
    notes = [False] * len(rows)
    for position in reversed(range(len(rows))):
        unlike = key is not None and position >= first and shapes[position] not in usual
        notes[position] = not totals[position] and _is_note(rows[position][1], unlike)
        if not (notes[position] or totals[position]):
            if key is None:
                totals[:position] = [False] * position
            break
    return totals, notes


def _total_word(row: Sequence[Any], key: int) -> str:
    """The word of a row that may stand for a sum: in the identifier's cell, else in the first cell that is filled."""
    cell = row[key] if not is_blank(row[key]) else _first(row)
    # Two digits at the end are those of an identifier.
    if not isinstance(cell, str) or (cell.isalnum() and cell[-2:].isdigit()):
        return ""
    text = normalize_text(cell).casefold()
    text = re.sub(r"\s*([\[(].*|[:=]\s*[\d.,%]*)$", "", re.sub(r"\s*[\[(]?\s*\bn\s*=.*$", "", text) or "n").strip()
    squeezed = text.replace(" ", "")
    for whole in (text, squeezed):
        if whole in _TOTAL_WORDS:
            return whole
    words = [word for word in re.split(r"[\s±+/,;&]+", text) if word]
    known = [word for word in words if word in _TOTAL_WORDS or word in _WEAK_TOTAL_WORDS]
    if not known or any(word not in known and word not in _FILL_WORDS for word in words):
        return ""
    return next((word for word in known if word in _TOTAL_WORDS), known[0])


def _group_total(row: Sequence[Any], key: int, rows: Sequence[Row]) -> str:
    """The word of a row that sums up a group: ``Subtotal A``, where A stands in another column of the table."""
    words = normalize_text(row[key]).casefold().split() if isinstance(row[key], str) else []
    ends = [(word, rest) for word, rest in ((words[0], words[1:]), (words[-1], words[:-1])) if rest] if words else []
    found = [(word, " ".join(rest)) for word, rest in ends if word in _TOTAL_WORDS]
    if not found:
        return ""
    others = (cell for _, other in rows for place, cell in enumerate(other) if place != key and isinstance(cell, str))
    return found[0][0] if found[0][1] in {normalize_text(cell).casefold() for cell in others} else ""


def _is_note(row: Sequence[Any], unlike: bool) -> bool:
    """Whether a row is one text alone that reads like a remark, or is in no way like the identifiers above it."""
    filled = [cell for cell in row if not is_blank(cell)]
    if len(row) < 2 or len(filled) != 1 or not isinstance(filled[0], str):
        return False
    text = normalize_text(filled[0])
    return unlike or bool(_NOTE.match(text)) or len(text.split()) > 4 or (len(text) > 30 and not text.isascii())


def _number(cell: Any) -> float:
    if isinstance(cell, str):
        text = cell.strip().replace(",", ".")
        return float(text) if re.fullmatch(r"[+-]?\d+(\.\d+)?", text, re.ASCII) else math.nan
    return float(cell) if isinstance(cell, int | float) and not isinstance(cell, bool) else math.nan


def _sums_up(row: Sequence[Any], above: Sequence[Sequence[Any]], key: int | None) -> bool:
    """Whether the numbers of a row are the sums, the means or the medians of the rows above it, two at least."""
    fits: dict[str, int] = {"sum": 0, "mean": 0, "median": 0}
    for place, cell in enumerate(row):
        value = _number(cell)
        known = sorted(number for item in above if (number := _number(item[place])) == number)
        if place == key or value != value or len(known) < _FEW or known[0] == known[-1]:
            continue
        total, half = sum(known), len(known) // 2
        digits = len(str(cell).replace(",", ".").partition(".")[2])
        # A mean without decimals may be anybody's value; one that was rounded is the mean.
        near = 1e-9 * abs(value) + (0.51 * 10.0**-digits if digits else 0.0)
        hits = {
            "sum": math.isclose(value, total, rel_tol=1e-9) and total > known[-1],
            "mean": abs(value - total / len(known)) <= near,
            "median": abs(value - (known[half] + known[~half]) / 2) <= near,
        }
        fits = {kind: count + 1 for kind, count in fits.items() if hits[kind]}
        if not fits:
            return False
    return max(fits.values()) > 1


def _shape(cell: Any) -> str:
    """What identifiers of one kind share: ``P012`` and ``P7`` are ``a9``."""
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    return re.sub(r"[^\W\d_]+", "a", re.sub(r"\d+", "9", normalize_text("" if cell is None else cell)))


def _unlike(rows: Sequence[Row], shapes: Sequence[str]) -> list[Finding]:
    """A word on the last rows, where their identifiers look like none above: a second table, or notes."""
    first = max(_FEW, len(rows) - _LAST)
    most = max((shapes[:first].count(shape) for shape in set(shapes[:first])), default=0)
    flags = [position >= first and bool(shape) and shape not in shapes[:first] for position, shape in enumerate(shapes)]
    if not any(flags) or most < 0.9 * first:
        return []
    message = f"{_quoted(rows, flags)}: the identifiers are unlike all others; the rows were read as patients. Delete "
    return [Finding("warning", "unlike-rows", message + "them if they are a note or another table")]
