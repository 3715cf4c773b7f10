"""Files of tables: CSV and DOCX."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hepacast.core.files import write_text
from hepacast.core.tables import Table
from hepacast.core.texts import cell

if TYPE_CHECKING:
    from docx.document import Document

#: What a cell of Word needs beside its text, in points.
_CELL_PADDING = 12.0


def write_csv(table: Table, path: Path) -> None:
    """Write a CSV that spreadsheet programs open as UTF-8."""
    write_text(path, "\ufeff" + table.to_csv())


def add_docx_table(document: Document, table: Table, heading: str) -> Any:
    """Add a three-line table (journal style) to a Word document, with heading and notes; the heading's paragraph.

    Parameters
    ----------
    heading
        Number and title in bold above the table.
    """
    from docx.enum.text import WD_ALIGN_PARAGRAPH
    from docx.shared import Pt

    from hepacast.report.column_widths import INDENT

    title = document.add_paragraph()
    title.paragraph_format.keep_with_next = True
    title.paragraph_format.space_after = Pt(3)
    title.add_run(heading).bold = True
    grid = document.add_table(rows=1, cols=len(table.columns))
    size, widths = _fit_columns(document, grid, table)
    for place, text in zip(grid.rows[0].cells, table.columns, strict=True):
        place.paragraphs[0].add_run(cell(text)).bold = True
    _mark_row(grid.rows[0], "tblHeader")
    for row in table.padded():
        places = grid.add_row().cells
        if row.is_heading:
            places = (places[0].merge(places[-1]),)
        for number, (place, text) in enumerate(zip(places, row.cells, strict=False)):
            shown = cell(text) if table.words or row.is_heading else _before_limits(cell(text), size, widths[number])
            run = place.paragraphs[0].add_run(shown)
            run.bold = row.kind == "group"
            if number == 0 and row.kind == "indent":
                place.paragraphs[0].paragraph_format.left_indent = Pt(INDENT)
    kinds = ["body", *(row.kind for row in table.padded())]
    for number, (row_cells, kind) in enumerate(zip(grid.rows, kinds, strict=True)):
        _mark_row(row_cells, "cantSplit")
        for column, place in enumerate(row_cells.cells):
            paragraph = place.paragraphs[0]
            paragraph.paragraph_format.space_after = Pt(1)
            # A heading stays with what it heads.
            paragraph.paragraph_format.keep_with_next = number == 0 or kind == "group"
            for run in paragraph.runs:
                run.font.size = Pt(size)
            if column and not table.words and kind != "group":
                paragraph.alignment = WD_ALIGN_PARAGRAPH.CENTER
            _rules(place, top=number == 0, bottom=number in (0, len(grid.rows) - 1))
    for note in table.notes:
        paragraph = document.add_paragraph()
        paragraph.paragraph_format.space_after = Pt(0)
        paragraph.add_run(note).font.size = Pt(8)
    document.add_paragraph()
    return title


def _before_limits(text: str, size: float, width: float) -> str:
    """An estimate whose limits do not fit beside it has them on a line of their own, not broken at their dash."""
    from hepacast.report.column_widths import text_width

    return text.replace(" (", "\n(", 1) if text_width(text, size) > width - _CELL_PADDING else text


def _fit_columns(document: Document, grid: Any, table: Table) -> tuple[float, list[float]]:
    """Set widths of columns so that no word is broken; the font size that this takes and the widths, in points."""
    from docx.shared import Pt

    from hepacast.report.column_widths import column_widths, least_width

    section: Any = document.sections[-1]
    room = float(section.page_width - section.left_margin - section.right_margin) / Pt(1)
    size = next((size for size in (9.0, 8.0, 7.0) if least_width(table, size, _CELL_PADDING) <= room), 6.0)
    grid.autofit = False
    widths = column_widths(table, room, size, _CELL_PADDING)
    for column, width in zip(grid.columns, widths, strict=True):
        column.width = Pt(width)
        column.cells[0].width = Pt(width)
    return size, widths


def _mark_row(row: Any, name: str) -> None:
    """``tblHeader``: Word repeats the row on every page; ``cantSplit``: no page break within it."""
    from docx.oxml import OxmlElement
    from docx.oxml.ns import qn

    mark = OxmlElement(f"w:{name}")
    mark.set(qn("w:val"), "true")
    row._tr.get_or_add_trPr().append(mark)


def _rules(cell: object, *, top: bool, bottom: bool) -> None:
    from docx.oxml import OxmlElement
    from docx.oxml.ns import qn

    borders = OxmlElement("w:tcBorders")
    for side, wanted in (("top", top), ("bottom", bottom)):
        if wanted:
            line = OxmlElement(f"w:{side}")
            for name, value in (("val", "single"), ("sz", "8"), ("space", "0"), ("color", "000000")):
                line.set(qn(f"w:{name}"), value)
            borders.append(line)
    cell._tc.get_or_add_tcPr().append(borders)  # type: ignore[attr-defined]
