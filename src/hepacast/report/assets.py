"""Draw the figures of a report once, write their files, and keep what the renderers need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hepacast.figures.style import MM_PER_INCH, save_figure
from hepacast.report.model import FigureBlock, Report, TableBlock, number_blocks
from hepacast.report.tables import add_docx_table, write_csv

DPI = 300
#: Width of the text on an A4 page.
TEXT_WIDTH_MM = 170.0


@dataclass(frozen=True)
class Picture:
    """One drawn panel: files and printed size."""

    letter: str
    svg: Path
    png: Path
    width_mm: float
    height_mm: float
    alt: str


def panel_rows(pictures: Sequence[Picture], columns: int) -> list[list[Picture]]:
    """Panels by row: so many side by side, a panel that is wider than its share alone."""
    rows: list[list[Picture]] = []
    full = True
    for picture in pictures:
        wide = columns > 1 and picture.width_mm > TEXT_WIDTH_MM / columns + 5
        if full or wide or len(rows[-1]) == columns:
            rows.append([])
        rows[-1].append(picture)
        full = wide
    return rows


@dataclass(frozen=True)
class Assets:
    """Numbers of tables and figures, and the drawn panels of each figure, by key."""

    numbers: Mapping[str, str]
    pictures: Mapping[str, tuple[Picture, ...]]


def file_stem(number: str) -> str:
    """``Supplementary Figure 1`` -> ``supplementary-figure-1``."""
    return number.lower().replace(" ", "-")


def write_assets(report: Report, folder: Path) -> Assets:
    """Write every figure (PDF, SVG, PNG at 300 dpi) and every table (CSV, DOCX) of a report.

    Parameters
    ----------
    folder
        The report's folder; `figures/` and `tables/` are made in it.
    """
    numbers = number_blocks(report)
    pictures: dict[str, tuple[Picture, ...]] = {}
    for block in report.blocks():
        if isinstance(block, FigureBlock):
            pictures[block.key] = _draw(block, folder / "figures" / file_stem(numbers[block.key]))
        elif isinstance(block, TableBlock):
            _write_table(block, numbers[block.key], folder / "tables")
    return Assets(numbers, pictures)


def _draw(block: FigureBlock, stem: Path) -> tuple[Picture, ...]:
    drawn = []
    for number, panel in enumerate(block.panels):
        letter = chr(97 + number) if len(block.panels) > 1 else ""
        figure = panel.draw()
        width, height = figure.get_size_inches() * MM_PER_INCH
        _, svg, png = save_figure(figure, f"{stem}{letter}", ("pdf", "svg", "png"), DPI)
        drawn.append(Picture(letter, svg, png, float(width), float(height), panel.alt))
    return tuple(drawn)


def _write_table(block: TableBlock, number: str, folder: Path) -> None:
    from hepacast.report.docx import new_document, save_document

    stem = file_stem(number)
    write_csv(block.table, folder / f"{stem}.csv")
    document = new_document(landscape=len(block.table.columns) > 6)
    add_docx_table(document, block.table, f"{number}. {block.table.title}")
    save_document(document, folder / f"{stem}.docx")
