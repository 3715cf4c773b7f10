"""Texts of strangers (names in tables, study files and bundles) where people and programs read them.

A terminal obeys control characters (CWE-150), an eye is misled by marks that turn the direction of writing, and a
spreadsheet computes a cell that begins with ``=`` (OWASP, CSV injection). Here they become what they are: text.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

#: Controls but tab and line feed, marks of direction, other ends of lines, halves of characters.
_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
_NUMBER = r"[-+]?[.,]?\d[\d.,]*(?:e[-+]?\d+)?%?"
_BEGINS = re.compile(r"'*[=+\-@\t\r\n]")
#: What begins with a sign and is still nothing that can be computed: a number with its limits, a grade.
_HARMLESS = re.compile(
    rf"{_NUMBER}( to {_NUMBER}|\s*[(\[]{_NUMBER}( to |, |; |\u2013|-){_NUMBER}[)\]])?|[-+/]+", re.IGNORECASE
)


def visible(text: str) -> str:
    r"""The text with control and direction characters as their code points: ``\x1b``, ``\u202e``.

    Tabs and line feeds stay.
    """
    return _UNSEEN.sub(lambda match: _escaped(match.group()), text)


def visible_document(value: Any) -> Any:
    """A JSON-like value whose texts and names are all `visible`."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, dict):
        return {visible(key) if isinstance(key, str) else key: visible_document(item) for key, item in value.items()}
    return [visible_document(item) for item in value] if isinstance(value, list | tuple) else value


def cell(text: str) -> str:
    """A text as a cell of a table that may be opened with a spreadsheet program: it gets ``'`` before it where it would
    be computed. Numbers, also with limits, stay as they are.

    `plain_cell` is the inverse.
    """
    return f"'{text}" if _BEGINS.match(text) and not _HARMLESS.fullmatch(text) else text


def cells(frame: pd.DataFrame) -> pd.DataFrame:
    """A copy of a table whose texts, headings too, are a `cell` each; the index is left out of the account."""

    def guarded(value: Any) -> Any:
        return cell(value) if isinstance(value, str) else value

    found = frame.copy()
    for place in range(frame.shape[1]):
        if frame.dtypes.iloc[place].kind not in "biufcM":
            found.isetitem(place, frame.iloc[:, place].map(guarded).to_numpy())
    found.columns = [guarded(name) for name in frame.columns]
    return found


def plain_cell(text: str) -> str:
    """The text of a cell that `cell` wrote."""
    return text[1:] if text[:1] == "'" and _BEGINS.match(text[1:]) and cell(text[1:]) == text else text


def _escaped(letter: str) -> str:
    code = ord(letter)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
