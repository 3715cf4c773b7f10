"""The report as a Word document, to be edited into a manuscript."""

from __future__ import annotations

import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hepacast.core.files import atomic_path
from hepacast.core.texts import visible
from hepacast.report.model import (
    Block,
    Bullets,
    Callout,
    Details,
    FigureBlock,
    Formula,
    Paragraph,
    Report,
    Span,
    TableBlock,
    spans,
)
from hepacast.report.tables import add_docx_table

if TYPE_CHECKING:
    from docx.document import Document

    from hepacast.report.assets import Assets

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_TEXT_WIDTH_MM = 170.0


def new_document(*, landscape: bool = False) -> Document:
    """An empty A4 document with the report's styles and no dates or author."""
    import docx
    from docx.enum.section import WD_ORIENT
    from docx.shared import Mm, Pt

    document = docx.Document()
    style: Any = document.styles["Normal"]
    style.font.name = "Arial"
    style.font.size = Pt(10)
    style.paragraph_format.space_after = Pt(6)
    for level, size in ((1, 14), (2, 11.5)):
        heading: Any = document.styles[f"Heading {level}"]
        heading.font.name, heading.font.size = "Arial", Pt(size)
    section = document.sections[0]
    width, height = Mm(210), Mm(297)
    section.page_width, section.page_height = (height, width) if landscape else (width, height)
    section.orientation = WD_ORIENT.LANDSCAPE if landscape else WD_ORIENT.PORTRAIT
    section.left_margin = section.right_margin = Mm(20)
    section.top_margin = section.bottom_margin = Mm(20)
    properties = document.core_properties
    properties.author, properties.comments, properties.title = "hepacast", "", ""
    properties.created = properties.modified = _EPOCH
    return document


def save_document(document: Document, path: Path) -> None:
    """Write a document, whole or not at all, with the same bytes for the same content."""
    with atomic_path(path) as temporary:
        document.save(str(temporary))
        _fix_times(temporary)


def _fix_times(path: Path) -> None:
    """Rewrite the zip with a fixed time for every entry."""
    with zipfile.ZipFile(path) as archive:
        items = [(info.filename, archive.read(info.filename)) for info in archive.infolist()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in items:
            archive.writestr(zipfile.ZipInfo(name, (2000, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)


def write_docx(report: Report, assets: Assets, path: Path) -> None:
    """Write the whole report as DOCX."""
    document = new_document()
    document.core_properties.title = report.title
    document.add_heading(report.title, 0)
    _text(document.add_paragraph(), [Span(report.subtitle, italic=True)])
    for name, value in report.facts:
        _text(document.add_paragraph(), [Span(f"{name}: ", bold=True), Span(value)])
    _text(document.add_paragraph(), [Span(report.statement, bold=True)])
    document.sections[0].footer.paragraphs[0].text = report.statement
    for section in report.sections:
        document.add_heading(section.title, 1)
        for block in section.blocks:
            _block(document, block, assets)
    save_document(document, path)


def _block(document: Document, block: Block, assets: Assets) -> None:
    numbers = dict(assets.numbers)
    match block:
        case Paragraph(text=text):
            _text(document.add_paragraph(), spans(text, numbers))
        case Bullets(items=items):
            for item in items:
                _text(document.add_paragraph(style="List Bullet"), spans(item, numbers))
        case Formula(text=text):
            paragraph = document.add_paragraph()
            paragraph.add_run(text).font.name = "Courier New"
        case Callout(title=title, text=text):
            _text(document.add_paragraph(style="Intense Quote"), [Span(f"{title}. ", bold=True), *spans(text, numbers)])
        case TableBlock(key=key, table=table):
            add_docx_table(document, table, f"{numbers[key]}. {table.title}")
        case FigureBlock():
            _figure(document, block, assets)
        case Details(summary=summary, blocks=blocks):
            document.add_heading(summary, 2)
            for inner in blocks:
                _block(document, inner, assets)


def _text(paragraph: Any, runs: list[Span]) -> None:
    for span in runs:
        run = paragraph.add_run(visible(span.text))
        run.bold, run.italic, run.font.superscript = span.bold or None, span.italic or None, span.superscript or None


def _figure(document: Document, block: FigureBlock, assets: Assets) -> None:
    from docx.shared import Mm

    for picture in assets.pictures[block.key]:
        paragraph = document.add_paragraph()
        paragraph.paragraph_format.keep_with_next = True
        if picture.letter:
            paragraph.add_run(f"({picture.letter}) ").bold = True
        width = Mm(min(picture.width_mm, _TEXT_WIDTH_MM))
        shape = paragraph.add_run().add_picture(str(picture.png), width=width)
        shape._inline.docPr.set("descr", picture.alt)
    numbers = dict(assets.numbers)
    caption = [Span(f"{numbers[block.key]}. ", bold=True), *spans(block.caption, numbers)]
    _text(document.add_paragraph(), caption)
