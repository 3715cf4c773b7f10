"""What a report is before it is a page: documents of sections of blocks. Renderers turn these into HTML, PDF and DOCX.

A report has three documents: what a journal prints, its supplement, and an audit file. Tables and figures are numbered
through each (``Table 2``, ``Table S2``, ``Table A2``), and texts name them by key, in whichever document they stand.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from hepacast.core.tables import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Paragraph:
    """Running text. ``**bold**``, ``*italic*`` and ``^superscript^`` are marked as shown."""

    text: str


@dataclass(frozen=True)
class Bullets:
    """A list of short texts, marked up as a `Paragraph` is."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Formula:
    """A formula or other text of fixed width, broken at its line ends."""

    text: str


@dataclass(frozen=True)
class Callout:
    """A box that must not be overlooked.

    Parameters
    ----------
    kind
        ``warning``: read this before using the numbers; ``limit``: what the study cannot say; ``truth``: what was
        planted in virtual patients; ``note``.
    """

    kind: Literal["warning", "limit", "truth", "note"]
    title: str
    text: str


@dataclass(frozen=True)
class TableBlock:
    """A numbered table."""

    key: str
    table: Table


@dataclass(frozen=True)
class Panel:
    """One panel of a figure: how to draw it, and what it shows for those who cannot see it."""

    draw: Callable[[], Figure]
    alt: str


@dataclass(frozen=True)
class FigureBlock:
    """A numbered figure of one or more panels.

    Parameters
    ----------
    key
        Short name, used in file names where there is no number.
    caption
        Text under the figure; panels are called (a), (b) ... in it.
    panels
        In order; lettered where there are several.
    columns
        Panels side by side.
    """

    key: str
    caption: str
    panels: tuple[Panel, ...]
    columns: int = 1


@dataclass(frozen=True)
class Details:
    """Blocks that are folded away on screen and printed in smaller type."""

    summary: str
    blocks: tuple[Block, ...]


Block = Paragraph | Bullets | Formula | Callout | TableBlock | FigureBlock | Details


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it."""

    title: str
    blocks: tuple[Block, ...]

    @property
    def anchor(self) -> str:
        """Name of the section in links."""
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")


@dataclass(frozen=True)
class Document:
    """One file of a report.

    Parameters
    ----------
    name
        Of its files: ``report``, ``supplement``, ``audit``.
    title
        Of the kind of document, under the title of the report; empty for the main report.
    letter
        In the numbers of its tables and figures.
    sections
        In order.
    """

    name: str
    title: str
    letter: str
    sections: tuple[Section, ...]

    def blocks(self) -> Iterator[Block]:
        """All blocks in order, those inside `Details` too."""
        for section in self.sections:
            yield from _walk(section.blocks)


@dataclass(frozen=True)
class Report:
    """A whole report.

    Parameters
    ----------
    title, subtitle
        On the first page.
    facts
        (name, value) pairs on the first page.
    statement
        The research-use statement, on every page.
    documents
        The main report, its supplement and the audit file.
    """

    title: str
    subtitle: str
    facts: tuple[tuple[str, str], ...]
    statement: str
    documents: tuple[Document, ...] = field(default=())

    @property
    def sections(self) -> tuple[Section, ...]:
        """Those of all documents."""
        return tuple(section for document in self.documents for section in document.sections)

    def blocks(self) -> Iterator[Block]:
        """The blocks of all documents."""
        for document in self.documents:
            yield from document.blocks()


def _walk(blocks: Sequence[Block]) -> Iterator[Block]:
    for block in blocks:
        yield block
        if isinstance(block, Details):
            yield from _walk(block.blocks)


@dataclass(frozen=True)
class Place:
    """Where a table or figure stands: name of the document, and number as printed (``Figure S1``)."""

    document: str
    number: str

    @property
    def anchor(self) -> str:
        """``Figure S1`` -> ``figure-s1``: name in links and of its files."""
        return self.number.lower().replace(" ", "-")


Places = Mapping[str, Place]


def number_blocks(report: Report) -> dict[str, Place]:
    """The place of every table and figure, by key."""
    places: dict[str, Place] = {}
    for document in report.documents:
        counts = {"Table": 0, "Figure": 0}
        for block in document.blocks():
            if not isinstance(block, TableBlock | FigureBlock):
                continue
            kind = "Table" if isinstance(block, TableBlock) else "Figure"
            counts[kind] += 1
            if block.key in places:
                raise ValueError(f"two tables or figures are called {block.key!r}")
            places[block.key] = Place(document.name, f"{kind} {document.letter}{counts[kind]}")
    return places


_REFERENCE = re.compile(r"\{([\w-]+)\}")


def fill_references(text: str, places: Places) -> str:
    """Text with each ``{key}`` replaced by the number of that table or figure, where there is one."""
    return "".join(span.text for span in reference_spans(text, places))


def filled_table(table: Table, places: Places) -> Table:
    """The table with the references in its cells and notes filled."""
    rows = tuple(replace(row, cells=tuple(fill_references(cell, places) for cell in row.cells)) for row in table.rows)
    return replace(table, rows=rows, notes=tuple(fill_references(note, places) for note in table.notes))


@dataclass(frozen=True)
class Span:
    """A run of text of one style; `target` is the key of the table or figure that it names."""

    text: str
    bold: bool = False
    italic: bool = False
    superscript: bool = False
    target: str = ""


def reference_spans(text: str, places: Places, style: Span | None = None) -> list[Span]:
    """Text without other marks, divided at its references; a key that is nowhere stays as it is written."""
    style, done = style or Span(""), 0
    runs: list[Span] = []
    for match in _REFERENCE.finditer(text):
        place = places.get(match.group(1))
        if place is None:
            continue
        before = replace(style, text=text[done : match.start()])
        runs += [before, replace(style, text=place.number, target=match.group(1))]
        done = match.end()
    return [run for run in [*runs, replace(style, text=text[done:])] if run.text]


_MARK = re.compile(r"(\*\*.+?\*\*|(?<![\w*])\*[^*\s][^*]*?\*(?!\w)|\^[^^\s]+\^)")


def spans(text: str, places: Places | None = None) -> list[Span]:
    """Split marked-up text into runs; ``{key}`` becomes the number of that table or figure, if there is one."""
    runs: list[Span] = []
    for part in _MARK.split(text):
        if part.startswith("**") and part.endswith("**") and len(part) > 4:
            style, part = Span("", bold=True), part[2:-2]
        elif part.startswith("^") and part.endswith("^") and len(part) > 2:
            style, part = Span("", superscript=True), part[1:-1]
        elif part.startswith("*") and part.endswith("*") and len(part) > 2:
            style, part = Span("", italic=True), part[1:-1]
        else:
            style = Span("")
        runs += reference_spans(part, places or {}, style)
    return runs
