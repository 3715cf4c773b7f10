"""Widths of the columns of a printed table, in points, by the glyphs of its text."""

from __future__ import annotations

import functools
import math

from hepacast.core.tables import Table

#: What an indented first cell is moved by, in points.
INDENT = 8.0


def column_widths(table: Table, room: float, size: float, padding: float) -> list[float]:
    """Widths by the longest cells, none narrower than its longest word, so that the table has few lines.

    Parameters
    ----------
    room
        Width of all columns together.
    size
        Font size.
    padding
        What a cell needs beside its text.
    """
    rows = [(table.columns, 0.0)]
    rows += [(row.cells, INDENT if row.kind == "indent" else 0.0) for row in table.padded() if not row.is_heading]
    wanted, least = [], []
    for column in range(len(table.columns)):
        cells = [(cells[column], indent if column == 0 else 0.0) for cells, indent in rows]
        wanted.append(max(text_width(cell, size) + more for cell, more in cells) + padding)
        words = [(word, more) for cell, more in cells for word in cell.split(" ")] or [("", 0.0)]
        least.append(max(text_width(word, size) + more for word, more in words) + padding)
    least = [min(value, room / 2) for value in least]
    if sum(wanted) <= room:
        spare = (room - sum(wanted)) / len(wanted)
        return [value + spare for value in wanted]
    if sum(least) >= room:
        return [value * room / sum(least) for value in least]
    shared = [_shared(wanted, least, room, power) for power in (0.0, 0.25, 0.5, 0.75)]
    return min(shared, key=lambda widths: _lines(rows, widths, size, padding))


def _shared(wanted: list[float], least: list[float], room: float, power: float) -> list[float]:
    """Narrow columns keep what they want; the wide ones share the rest by a power of what they want (0: equally)."""

    def at(factor: float) -> list[float]:
        return [max(low, min(want, factor * want**power)) for want, low in zip(wanted, least, strict=True)]

    low, high = 0.0, max(wanted)
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if sum(at(middle)) < room else (low, middle)
    return at(low)


def _lines(rows: list[tuple[tuple[str, ...], float]], widths: list[float], size: float, padding: float) -> int:
    """About how many lines the table has."""
    return sum(
        max(
            math.ceil((text_width(cell, size) + more) / (width - padding)) or 1
            for cell, more, width in zip(cells, (indent, *[0.0] * len(cells)), widths, strict=False)
        )
        for cells, indent in rows
    )


def least_width(table: Table, size: float, padding: float) -> float:
    """Width below which a word of the table would be broken."""
    rows = [(table.columns, 0.0)]
    rows += [(row.cells, INDENT if row.kind == "indent" else 0.0) for row in table.padded() if not row.is_heading]
    total = 0.0
    for column in range(len(table.columns)):
        words = [
            text_width(word, size) + (indent if column == 0 else 0.0)
            for cells, indent in rows
            for word in cells[column].split(" ")
        ]
        total += max(words, default=0.0) + padding
    return total


@functools.lru_cache(maxsize=20_000)
def text_width(text: str, size: float) -> float:
    """Width of a line of text in bold, which is the wider one, in points."""
    from reportlab.pdfbase.pdfmetrics import stringWidth

    from hepacast.report.pdf_style import FONT_FAMILY, register_fonts

    register_fonts()
    return float(stringWidth(text, f"{FONT_FAMILY}-Bold", size))
