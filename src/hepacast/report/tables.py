"""Files of tables: CSV and DOCX."""

from __future__ import annotations

from copy import deepcopy
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
    _format(grid.rows[0], table, size, heading=True, first=True, last=not table.rows)
    made: dict[tuple[Any, ...], Any] = {}
    for number, row in enumerate(table.padded(), start=1):
        shown = [cell(text) for text in row.cells]
        if not (table.words or row.is_heading):
            shown = [_before_limits(text, size, width) for text, width in zip(shown, widths, strict=True)]
        last = number == len(table.rows)
        form = (row.kind, row.is_heading, last)
        if form in made:  # python-docx looks long for the place of each mark, and rows of a kind differ in words alone
            copied = deepcopy(made[form])
            grid._tbl.append(copied)
            for place, text in zip(copied.tc_lst, shown, strict=False):
                place.p_lst[0].r_lst[0].text = text
            continue
        new = grid.add_row()
        places = new.cells
        if row.is_heading:
            places = (places[0].merge(places[-1]),)
        for column, (place, text) in enumerate(zip(places, shown, strict=False)):
            place.paragraphs[0].add_run(text).bold = row.kind == "group"
            if column == 0 and row.kind == "indent":
                place.paragraphs[0].paragraph_format.left_indent = Pt(INDENT)
        _format(new, table, size, heading=row.kind == "group", first=False, last=last)
        made[form] = new._tr
    for note in table.notes:
        paragraph = document.add_paragraph()
        paragraph.paragraph_format.space_after = Pt(0)
        paragraph.add_run(note).font.size = Pt(8)
    document.add_paragraph()
    return title


def _format(row: Any, table: Table, size: float, *, heading: bool, first: bool, last: bool) -> None:
    """Font, space and rules of a filled row; a heading stays with what it heads."""
    from docx.enum.text import WD_ALIGN_PARAGRAPH
    from docx.shared import Pt

    _mark_row(row, "cantSplit")
    for column, place in enumerate(row.cells):
        paragraph = place.paragraphs[0]
        paragraph.paragraph_format.space_after = Pt(1)
        paragraph.paragraph_format.keep_with_next = heading
        for run in paragraph.runs:
            run.font.size = Pt(size)
        if column and not table.words and (first or not heading):
            paragraph.alignment = WD_ALIGN_PARAGRAPH.CENTER
        _rules(place, top=first, bottom=first or last)


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
