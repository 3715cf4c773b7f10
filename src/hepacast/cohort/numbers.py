"""Reading a number as people type it: decimal commas, limits of detection, arrows, words for "not measured".

The rule, in order, for one cell of a numeric column:

1. a blank or a word for "missing" (`MISSING_WORDS`) is missing;
2. ``<x``, ``≤x`` (below the limit of detection) becomes x / 2, ``>x``, ``≥x`` becomes x; `CensoredPolicy` may say
   ``limit`` (x in both cases) or ``missing``. It is always reported;
3. marks that a laboratory prints after the number (arrows, ``H``, ``L``, ``*``) are removed and reported;
4. what is left must be a number with the column's decimal mark, thousands grouped by the other mark, a space or an
   apostrophe. A text that is no number, and a number that could be read in two ways, is an error, never a guess.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

CensoredPolicy = Literal["half", "limit", "missing"]
Decimal = Literal[".", ","]
#: The mark that all columns of a file prove together: one, both (``mixed``), none (empty), or none in a file whose
#: separator suggests decimal commas (``unknown``).
FileDecimal = Literal[".", ",", "", "mixed", "unknown"]

#: Texts of which is remembered what they say: in a long table most stand many times.
_REMEMBERED = 65536
#: Words for "no value" (compared after normalization and in lower case), in English, German and Chinese.
MISSING_WORDS = frozenset(
    (
        *("-", "--", "---", "–", "—", "——", "‐", "‒", "―", "/", "//", "\\", "?", "??", ".", "..", "*"),
        *("n/a", "n.a.", "na", "#n/a", "nan", "nd", "n.d.", "null", "missing", "unknown", "unk", "pending"),
        *("not done", "not available", "not measured", "not tested", "not stated", "not known"),
        *("k.a.", "k.a", "keine angabe", "fehlt", "fehlend", "unbekannt", "nicht bestimmt", "nicht gemessen"),
        *("n.b.", "n.v.", "entfällt", "未测", "未查", "未做", "未检", "未检测", "缺失", "不详", "未知", "未提供"),
        *("无数据", "无结果"),
    )
)

_MISSING_CODES = frozenset({-9.0, -99.0, -999.0, -9999.0, 99.0, 999.0, 9999.0, 99999.0, 888.0, 8888.0})

_BELOW = re.compile(r"^(<=|=<|<|≤|⩽|≦)\s*")
_ABOVE = re.compile(r"^(>=|=>|>|≥|⩾|≧)\s*")
_FLAG = re.compile(r"\s*([↑↓▲▼]+|\*+|(?<=\s)(HH?|LL?))$")
_EXPONENT = r"(?:[eE][+-]?\d+)?"
_PLAIN_COLUMN = re.compile(rf"(?:(?:[+-]?\d+(?:\.\d+)?{_EXPONENT})?\n)*", re.ASCII)
_POINT_PROVEN = re.compile(rf"^[+-]?(?:0*\.\d+|\d+\.(?:\d{{1,2}}|\d{{4,}})){_EXPONENT}$", re.ASCII | re.MULTILINE)
_SIMPLE = re.compile(r"[+-]?\d+(?:\.\d+)?", re.ASCII)
_SPACED_GROUP = re.compile(r"(?<=\d)[ '’](?=\d{3}(?!\d))")
_LONE_GROUP = {mark: re.compile(rf"^[<>≤≥=\s]*[+-]?[1-9]\d{{0,2}}{re.escape(mark)}\d{{3}}$") for mark in ",."}


def _patterns(mark: str, other: str) -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str]]:
    """For one decimal mark: what proves it, a plain number, and one with grouped thousands."""
    one, two = re.escape(mark), re.escape(other)
    # Two or more groups (1,234,567) prove that the other mark groups thousands.
    proof = (
        rf"\d{{1,3}}(?:{two}\d{{3}})+{one}\d+|\d+{one}(?:\d{{1,2}}|\d{{4,}}){_EXPONENT}|0*{one}\d+{_EXPONENT}"
        rf"|\d{{1,3}}(?:{two}\d{{3}}){{2,}}"
    )
    plain = rf"[+-]?(?:\d+(?:{one}\d*)?|{one}\d+){_EXPONENT}"
    grouped = rf"([+-]?\d{{1,3}}(?:(?:{two}\d{{3}})+|(?: \d{{3}})+|(?:['’]\d{{3}})+))((?:{one}\d+)?)"
    return re.compile(proof, re.ASCII), re.compile(plain, re.ASCII), re.compile(grouped, re.ASCII)


_PATTERNS = {",": _patterns(",", "."), ".": _patterns(".", ",")}
_OTHER_MARK = {
    mark: re.compile(rf"[+-]?\d+{re.escape(other)}\d+", re.ASCII) for mark, other in ((".", ","), (",", "."))
}


@dataclass(frozen=True)
class ParsedNumber:
    """What one cell says.

    Parameters
    ----------
    value
        The number, NaN when missing or unreadable.
    status
        ``ok``, ``missing``, ``censored`` (below or above a limit), ``ambiguous`` or ``text`` (no number).
    comparator
        ``<`` or ``>`` for a censored value.
    limit
        The limit of a censored value.
    remark
        What was removed or assumed, empty when nothing was.
    """

    value: float
    status: Literal["ok", "missing", "censored", "ambiguous", "text"]
    comparator: str = ""
    limit: float = math.nan
    remark: str = ""


def normalize_text(text: object) -> str:
    """Full-width characters to plain ones (NFKC), every kind of space to one space, ends trimmed."""
    plain = str(text)
    if not plain.isascii():
        plain = unicodedata.normalize("NFKC", plain).replace("−", "-").replace("\ufeff", "")
    return " ".join(plain.split())


def is_missing_word(text: object) -> bool:
    """Whether a cell's text stands for "no value"."""
    return _is_missing(str(text))


@lru_cache(maxsize=_REMEMBERED)
def _is_missing(text: str) -> bool:
    plain = normalize_text(text).casefold()
    return plain == "" or plain.replace("_", " ") in MISSING_WORDS


def parse_number(text: object, *, decimal: Decimal = ".", censored: CensoredPolicy = "half") -> ParsedNumber:
    """Read one cell by the rule at the top of this module.

    Parameters
    ----------
    text
        A number as Excel stores it, or text.
    decimal
        The decimal mark of the column.
    censored
        What stands for a value below or above a limit.
    """
    if isinstance(text, bool):
        return ParsedNumber(math.nan, "text", remark="a truth value, not a number")
    if text is None:
        return ParsedNumber(math.nan, "missing")
    if isinstance(text, int | float):
        value = float(text)
        return ParsedNumber(value, "ok") if math.isfinite(value) else ParsedNumber(math.nan, "missing")
    return _parse_text(str(text), decimal, censored)


@lru_cache(maxsize=_REMEMBERED)
def _parse_text(text: str, decimal: Decimal, censored: CensoredPolicy) -> ParsedNumber:
    plain = normalize_text(text)
    if decimal == "." and _SIMPLE.fullmatch(plain):
        value = float(plain)
        return ParsedNumber(value, "ok") if math.isfinite(value) else ParsedNumber(math.nan, "text")
    if is_missing_word(plain):
        return ParsedNumber(math.nan, "missing")
    plain, remark = _without_flag(plain)
    for pattern, comparator in ((_BELOW, "<"), (_ABOVE, ">")):
        if match := pattern.match(plain):
            return _censored(plain[match.end() :], comparator, decimal, censored)
    value, status = _plain_number(plain, decimal)
    return ParsedNumber(value, status, remark=remark)  # type: ignore[arg-type]


def guess_decimal(texts: Iterable[object]) -> Literal[".", ",", "", "mixed"]:
    """The decimal mark that a column's cells prove: ``mixed`` when they prove both, ``""`` when they prove none.

    A comma is proven decimal by one or two digits, or four and more, behind it (``1,23``), by a zero before it
    (``0,512``) or by points before it (``1.234,5``); a point likewise.
    """
    listed = [text for text in texts if isinstance(text, str)]
    plain = plain_mark(listed)
    if plain is not None:
        return plain
    marks = {_proof(normalize_text(text)) for text in listed} - {""}
    if len(marks) > 1:
        return "mixed"
    return marks.pop() if marks else ""  # type: ignore[return-value]


def plain_mark(texts: Sequence[str]) -> Literal[".", ""] | None:
    """The mark that cells prove which are all digits with at most one point, or blank; None where one is not.

    The quick way for feature tables.
    """
    joined = "\n".join(texts)
    if not _only_digits(joined) or not _PLAIN_COLUMN.fullmatch(joined + "\n"):
        return None
    return "." if _POINT_PROVEN.search(joined) else ""


def _only_digits(joined: str) -> bool:
    """Whether nothing but what plain numbers are made of stands in cells."""
    return joined.isascii() and not joined.encode().translate(None, b"0123456789.+-eE\n")


def plain_numbers(cells: Sequence[Any], file_decimal: FileDecimal) -> NDArray[np.float64] | None:
    """The values of a column in which nothing has to be interpreted; None of all others.

    All cells are numbers, blank, or digits with at most one point that is proven decimal. Then they are, missing ones
    NaN, the values that `read_numbers` gives with the status ``ok`` or ``missing`` and without remarks, a hundred times
    as fast.
    """
    kinds = set(map(type, cells))
    try:
        if kinds <= {float, int, type(None)}:
            values = np.array(cells, dtype=float)
            return np.where(np.isfinite(values), values, np.nan)
        if not kinds <= {str, type(None)}:
            return None
        texts = [cell or "" for cell in cells]
        joined = "\n".join(texts)
        if not _only_digits(joined):
            return None
        if file_decimal != "." and "." in joined and not _POINT_PROVEN.search(joined):
            return None
        values = np.array([text or "nan" for text in texts], dtype=float)
    except (ValueError, OverflowError):
        return None
    return None if np.isinf(values).any() else values


def is_lone_group(text: str, mark: str = ",") -> bool:
    """Whether a text such as ``1,234`` has one mark before three digits, so that it can be read in two ways."""
    return bool(_LONE_GROUP[mark].match(normalize_text(text)))


def decimal_mark(text: Any, own: str, file_decimal: FileDecimal) -> tuple[Decimal, bool]:
    """The decimal mark for one cell, and whether that is in doubt.

    Parameters
    ----------
    own
        The mark that the cell's column proves (`guess_decimal`), or the one that was said.
    file_decimal
        The mark that all columns of the file prove.
    """
    if not isinstance(text, str):
        return ".", False
    mark = own if own in (".", ",") else ""
    if not mark:
        proof = guess_decimal([text])
        mark = proof if proof in (".", ",") else ""
    if not mark and own == "" and file_decimal in (".", ","):
        mark = file_decimal
    if mark:
        return ("," if mark == "," else "."), False
    doubt = is_lone_group(text)
    if own == "mixed" or file_decimal in ("mixed", "unknown"):
        doubt = doubt or is_lone_group(text, ".")
    return ".", doubt


def read_numbers(
    cells: Sequence[Any], file_decimal: FileDecimal, *, decimal: Literal["auto", ".", ","] = "auto"
) -> list[ParsedNumber]:
    """A column of numbers without units; a cell that can be read in two ways is ``ambiguous``.

    Parameters
    ----------
    file_decimal
        The mark that the file proves, for a column that proves none.
    decimal
        The mark, where it was said.
    """
    own = guess_decimal(cells) if decimal == "auto" else decimal
    if own == "." and plain_mark([cell for cell in cells if isinstance(cell, str)]) is not None:
        values = [float(cell) if isinstance(cell, str) and cell else math.nan for cell in cells]
        return [
            ParsedNumber(value, "ok") if math.isfinite(value) else parse_number(cell)
            for value, cell in zip(values, cells)
        ]
    parsed = []
    for cell in cells:
        mark, doubt = decimal_mark(cell, own, file_decimal)
        item = parse_number(cell, decimal=mark)
        if doubt and item.status in ("ok", "censored"):
            item = ParsedNumber(math.nan, "ambiguous")
        elif item.status == "ok" and isinstance(cell, str) and is_lone_group(cell, "," if mark == "." else "."):
            item = ParsedNumber(item.value, "ok", remark=f"read as {item.value:g}")
        parsed.append(item)
    return parsed


def missing_codes(values: Sequence[float]) -> list[float]:
    """Numbers that programs write for "missing" (-9, 999) and that lie far from all other values of a column."""
    known = {value for value in values if math.isfinite(value)}
    others = known - _MISSING_CODES
    if len(others) < 3:
        return []
    low, high = min(others), max(others)
    far = 3 * max(abs(low), abs(high))
    return sorted(code for code in known & _MISSING_CODES if (code < 0 <= low) or code > far)


def _proof(text: str) -> str:
    if "," not in text and "." not in text:
        return ""
    body = _FLAG.sub("", _ABOVE.sub("", _BELOW.sub("", text))).lstrip("+-")
    body = _SPACED_GROUP.sub("", body).split(" ")[0]
    return next((mark for mark, (proof, _, _) in _PATTERNS.items() if proof.fullmatch(body)), "")


def _without_flag(text: str) -> tuple[str, str]:
    match = _FLAG.search(text)
    if match and match.start() > 0:
        return text[: match.start()].rstrip(), f"the mark {match.group(1)!r} after the number was left out"
    return text, ""


def _censored(rest: str, comparator: str, decimal: Decimal, policy: CensoredPolicy) -> ParsedNumber:
    limit, status = _plain_number(rest.strip(), decimal)
    if status != "ok":
        return ParsedNumber(math.nan, status, remark="no number after the sign")  # type: ignore[arg-type]
    if policy == "missing":
        value, said = math.nan, "taken as missing"
    elif policy == "half" and comparator == "<":
        value, said = limit / 2, f"taken as half the limit, {limit / 2:g}"
    else:
        value, said = limit, f"taken as the limit, {limit:g}"
    return ParsedNumber(value, "censored", comparator=comparator, limit=limit, remark=said)


def _plain_number(text: str, decimal: Decimal) -> tuple[float, str]:
    _, plain, grouped = _PATTERNS[decimal]
    if plain.fullmatch(text):
        value = float(text.replace(decimal, "."))
        return (value, "ok") if math.isfinite(value) else (math.nan, "text")
    if match := grouped.fullmatch(text):
        whole = re.sub(r"[^\d+-]", "", match.group(1))
        return float(whole + match.group(2).replace(decimal, ".")), "ok"
    return math.nan, "ambiguous" if _OTHER_MARK[decimal].fullmatch(text) else "text"
