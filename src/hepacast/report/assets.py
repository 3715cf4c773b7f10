"""Draw the figures of a report once, write their files, and keep what the renderers need."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hepacast.figures.style import MM_PER_INCH, save_figure
from hepacast.report.model import FigureBlock, Place, Report, TableBlock, filled_table, number_blocks
from hepacast.report.tables import add_docx_table, write_csv

if TYPE_CHECKING:
    from docx.document import Document as WordDocument

DPI = 300
#: Names of the files of numbered tables and panels, of this and of earlier versions.
_NUMBERED = re.compile(r"(supplementary-)?(table|figure)-[as]?\d+[a-z]?")
#: Width of the text on an A4 page.
TEXT_WIDTH_MM = 170.0


@dataclass(frozen=True)
class DrawnPanel:
    """One drawn panel: files and printed size."""

    letter: str
    svg: Path
    png: Path
    width_mm: float
    height_mm: float
    alt: str


def panel_rows(pictures: Sequence[DrawnPanel], columns: int) -> list[list[DrawnPanel]]:
    """Panels by row: so many side by side, a panel that is wider than its share alone."""
    rows: list[list[DrawnPanel]] = []
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
    """Where tables and figures stand, and the drawn panels of each figure, by key."""

    places: Mapping[str, Place]
    pictures: Mapping[str, tuple[DrawnPanel, ...]]


def write_assets(report: Report, folder: Path) -> Assets:
    """Write every figure (PDF, SVG, PNG at 300 dpi) and every table (CSV, DOCX) of a report.

    Parameters
    ----------
    folder
        The report's folder; `figures/` and `tables/` are made in it. Numbered files that an earlier report left there
        and that this one does not write are removed.
    """
    places = number_blocks(report)
    pictures: dict[str, tuple[DrawnPanel, ...]] = {}
    stems, files = set(), _TableFiles()
    for block in report.blocks():
        if isinstance(block, FigureBlock):
            pictures[block.key] = _draw(block, folder / "figures" / places[block.key].anchor)
            stems |= {picture.svg.stem for picture in pictures[block.key]}
        elif isinstance(block, TableBlock):
            filled = replace(block, table=filled_table(block.table, places))
            files.write(filled, places[block.key], folder / "tables")
            stems.add(places[block.key].anchor)
    for path in [*folder.glob("figures/*"), *folder.glob("tables/*")]:
        if _NUMBERED.fullmatch(path.stem) and path.stem not in stems:
            path.unlink()
    return Assets(places, pictures)


def _draw(block: FigureBlock, stem: Path) -> tuple[DrawnPanel, ...]:
    drawn = []
    for number, panel in enumerate(block.panels):
        letter = chr(97 + number) if len(block.panels) > 1 else ""
        figure = panel.draw()
        width, height = figure.get_size_inches() * MM_PER_INCH
        _, svg, png = save_figure(figure, f"{stem}{letter}", ("pdf", "svg", "png"), DPI)
        drawn.append(DrawnPanel(letter, svg, png, float(width), float(height), panel.alt))
    return tuple(drawn)


class _TableFiles:
    """Documents for one table each; what is the same in all of them is read once, and the last table taken out."""

    def __init__(self) -> None:
        self._documents: dict[bool, WordDocument] = {}

    def write(self, block: TableBlock, place: Place, folder: Path) -> None:
        from hepacast.report.docx import new_document, save_document

        write_csv(block.table, folder / f"{place.anchor}.csv")
        landscape = len(block.table.columns) > 6
        if landscape not in self._documents:
            self._documents[landscape] = new_document(landscape=landscape)
        document = self._documents[landscape]
        document.element.body.clear_content()
        add_docx_table(document, block.table, f"{place.number}. {block.table.title}")
        save_document(document, folder / f"{place.anchor}.docx")
