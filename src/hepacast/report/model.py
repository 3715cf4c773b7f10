"""What a report is before it is a page: sections of blocks. Renderers only turn these into HTML, PDF and DOCX."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from hepacast.report.tables import Table

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
    supplementary: bool = False


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
    supplementary: bool = False
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
    sections
        In order.
    """

    title: str
    subtitle: str
    facts: tuple[tuple[str, str], ...]
    statement: str
    sections: tuple[Section, ...] = field(default=())

    def blocks(self) -> Iterator[Block]:
        """All blocks in order, those inside `Details` too."""
        for section in self.sections:
            yield from _walk(section.blocks)


def _walk(blocks: Sequence[Block]) -> Iterator[Block]:
    for block in blocks:
        yield block
        if isinstance(block, Details):
            yield from _walk(block.blocks)


def number_blocks(report: Report) -> dict[str, str]:
    """Key of every table and figure -> its number as printed (``Table 2``, ``Supplementary Figure 1``), in order."""
    counts: dict[str, int] = {}
    numbers = {}
    for block in report.blocks():
        if isinstance(block, TableBlock | FigureBlock):
            kind = "Table" if isinstance(block, TableBlock) else "Figure"
            name = f"Supplementary {kind}" if block.supplementary else kind
            counts[name] = counts.get(name, 0) + 1
            if block.key in numbers:
                raise ValueError(f"two tables or figures are called {block.key!r}")
            numbers[block.key] = f"{name} {counts[name]}"
    return numbers


def fill_references(text: str, numbers: Mapping[str, str]) -> str:
    """Text with each ``{key}`` replaced by the number of that table or figure, where there is one."""
    return re.sub(r"\{([\w-]+)\}", lambda match: numbers.get(match.group(1), match.group(0)), text)


def with_references(report: Report, numbers: Mapping[str, str]) -> Report:
    """The report with the references inside its tables filled (files of tables stand alone)."""

    def filled(block: Block) -> Block:
        if isinstance(block, Details):
            return replace(block, blocks=tuple(filled(inner) for inner in block.blocks))
        if not isinstance(block, TableBlock):
            return block
        rows = tuple(
            replace(row, cells=tuple(fill_references(cell, numbers) for cell in row.cells)) for row in block.table.rows
        )
        notes = tuple(fill_references(note, numbers) for note in block.table.notes)
        return replace(block, table=replace(block.table, rows=rows, notes=notes))

    sections = tuple(replace(s, blocks=tuple(filled(block) for block in s.blocks)) for s in report.sections)
    return replace(report, sections=sections)


@dataclass(frozen=True)
class Span:
    """A run of text of one style."""

    text: str
    bold: bool = False
    italic: bool = False
    superscript: bool = False


_MARK = re.compile(r"(\*\*.+?\*\*|(?<![\w*])\*[^*\s][^*]*?\*(?!\w)|\^[^^\s]+\^)")


def spans(text: str, numbers: dict[str, str] | None = None) -> list[Span]:
    """Split marked-up text into runs; ``{key}`` becomes the number of that table or figure, if there is one."""
    if numbers is not None:
        text = fill_references(text, numbers)
    runs = []
    for part in _MARK.split(text):
        if not part:
            continue
        if part.startswith("**") and part.endswith("**") and len(part) > 4:
            runs.append(Span(part[2:-2], bold=True))
        elif part.startswith("^") and part.endswith("^") and len(part) > 2:
            runs.append(Span(part[1:-1], superscript=True))
        elif part.startswith("*") and part.endswith("*") and len(part) > 2:
            runs.append(Span(part[1:-1], italic=True))
        else:
            runs.append(Span(part))
    return runs
