"""Tables as data: title, columns, rows, notes; and how they look as text, HTML and CSV."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from hepacast.core.texts import cell, visible

if TYPE_CHECKING:
    import pandas as pd

RowKind = Literal["body", "group", "indent"]
#: Styles stand in the cells, since a notebook that is shown elsewhere loses its style sheets; lines take the color of
#: the text, so that a dark page shows them too.
_LINE, _RULE = "1px solid currentColor", "2px solid currentColor"
_TABLE = f"border-collapse:collapse;border-top:{_RULE};border-bottom:{_RULE};margin:8px 0"
_TITLE = "text-align:left;caption-side:top;color:inherit"


@dataclass(frozen=True)
class Row:
    """One printed row.

    Parameters
    ----------
    cells
        Text, one a column; missing ones at the end are empty.
    kind
        ``body``; ``group``: a heading in bold; ``indent``: a level under a heading.
    """

    cells: tuple[str, ...]
    kind: RowKind = "body"

    @property
    def is_heading(self) -> bool:
        """Whether it is a heading over the rows below, with nothing beside it."""
        return self.kind == "group" and not any(self.cells[1:])


@dataclass(frozen=True)
class Table:
    """A table ready to be printed: every cell is text.

    Parameters
    ----------
    title
        Without number or full stop.
    columns
        Headings; the first column holds the rows' names.
    rows
        The body.
    notes
        Lines below the table: abbreviations, tests, what is missing.
    words
        Whether the cells hold words (set flush left) rather than numbers (centered).
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = field(default=())
    words: bool = False

    def __post_init__(self) -> None:
        for name in ("columns", "notes"):
            object.__setattr__(self, name, tuple(visible(text) for text in getattr(self, name)))
        object.__setattr__(self, "title", visible(self.title))
        rows = tuple(replace(row, cells=tuple(visible(text) for text in row.cells)) for row in self.rows)
        object.__setattr__(self, "rows", rows)
        for row in self.rows:
            if len(row.cells) > len(self.columns):
                raise ValueError(f"table {self.title!r}: {len(row.cells)} cells under {len(self.columns)} headings")

    def padded(self) -> list[Row]:
        """Rows with as many cells as there are columns."""
        width = len(self.columns)
        return [Row((*row.cells, *("",) * (width - len(row.cells))), row.kind) for row in self.rows]

    def to_csv(self) -> str:
        """Comma-separated text; a level under a heading starts with two spaces."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([cell(text) for text in self.columns])
        for row in self.padded():
            first = ("  " if row.kind == "indent" else "") + cell(row.cells[0])
            writer.writerow((first, *(cell(text) for text in row.cells[1:])))
        return stream.getvalue()

    def to_text(self) -> str:
        """Lines of fixed width, two spaces between columns; a level under a heading starts with two spaces."""
        heads = list(self.columns)
        body = [("  " * (row.kind == "indent") + row.cells[0], *row.cells[1:]) for row in self.padded()]
        widths = [max(len(head), *(len(cells[place]) for cells in body), 0) for place, head in enumerate(heads)]

        def line(cells: Sequence[str]) -> str:
            return "  ".join(text.ljust(width) for text, width in zip(cells, widths, strict=True)).rstrip()

        rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
        title = [self.title] if self.title else []
        return "\n".join([*title, line(heads), rule, *map(line, body), *self.notes])

    def to_html(self) -> str:
        """Three lines, as a journal prints a table, for a notebook; every text is escaped."""
        heads = "".join(
            f'<th style="{_cell_style(place, self.words)};border-bottom:{_LINE}">{html.escape(text)}</th>'
            for place, text in enumerate(self.columns)
        )
        rows = "".join(_html_row(row, self.words) for row in self.padded())
        title = f'<caption style="{_TITLE}"><b>{html.escape(self.title)}</b></caption>' if self.title else ""
        notes = "<br>".join(html.escape(note) for note in self.notes)
        return f'<table style="{_TABLE}">{title}<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>' + (
            f"<p><small>{notes}</small></p>" if notes else ""
        )

    def _repr_html_(self) -> str:
        return self.to_html()

    def __str__(self) -> str:
        return self.to_text()


def _cell_style(place: int, words: bool, kind: RowKind = "body") -> str:
    if place == 0:
        weight = "bold" if kind == "group" else "normal"
        return f"text-align:left;font-weight:{weight};padding:2px 8px 2px {18 if kind == 'indent' else 0}px"
    return f"text-align:{'left' if words else 'center'};padding:2px 8px"


def _html_row(row: Row, words: bool) -> str:
    first, *others = (html.escape(text) for text in row.cells)
    if row.is_heading:
        cells = f'<th colspan="{len(row.cells)}" style="{_cell_style(0, words, row.kind)}">{first}</th>'
    else:
        cells = f'<th style="{_cell_style(0, words, row.kind)}">{first}</th>'
        cells += "".join(f'<td style="{_cell_style(1, words)}">{text}</td>' for text in others)
    return f'<tr style="background:none">{cells}</tr>'


def make_table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Row | Sequence[str]],
    notes: Sequence[str] = (),
    *,
    words: bool = False,
) -> Table:
    """A table from rows that may be plain sequences of text."""
    return Table(
        title,
        tuple(columns),
        tuple(row if isinstance(row, Row) else Row(tuple(row)) for row in rows),
        tuple(note for note in notes if note),
        words,
    )


def table_of(frame: pd.DataFrame, title: str = "", notes: Sequence[str] = (), *, words: bool = False) -> Table:
    """A data frame as a table: numbers with four figures, other values as texts; the index is left out."""
    rows = [[_cell_text(value) for value in row] for row in frame.itertuples(index=False, name=None)]
    return make_table(title, [str(name) for name in frame.columns], rows, notes, words=words)


def _cell_text(value: Any) -> str:
    if value is None or value != value:
        return "\u2013"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
