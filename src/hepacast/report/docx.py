"""A document of the report as a Word file, to be edited into a manuscript."""

from __future__ import annotations

import io
import struct
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hepacast.core.files import write_bytes
from hepacast.core.texts import visible
from hepacast.report.model import (
    Block,
    Bullets,
    Callout,
    Details,
    Document,
    FigureBlock,
    Formula,
    Paragraph,
    Place,
    Report,
    Span,
    TableBlock,
    filled_table,
    spans,
)
from hepacast.report.tables import add_docx_table

if TYPE_CHECKING:
    from docx.document import Document as WordDocument

    from hepacast.report.assets import Assets

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
#: That day as a zip has it: the time, and the day from 1980.
_ZIP_EPOCH = struct.pack("<2H", 0, (2000 - 1980) << 9 | 1 << 5 | 1)
_TEXT_WIDTH_MM = 170.0


def new_document(*, landscape: bool = False) -> WordDocument:
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


def save_document(document: WordDocument, path: Path) -> None:
    """Write a document, whole or not at all, with the same bytes for the same content."""
    content = io.BytesIO()
    document.save(content)
    _fix_times(content)
    write_bytes(path, content.getvalue())


def _fix_times(content: io.BytesIO) -> None:
    """Give every entry of a zip the same time, which stands before it and in the directory at the end."""
    with zipfile.ZipFile(content) as archive:
        entries, place = archive.infolist(), archive.start_dir
    shown = content.getbuffer()
    for entry in entries:
        shown[entry.header_offset + 10 : entry.header_offset + 14] = _ZIP_EPOCH
        shown[place + 12 : place + 16] = _ZIP_EPOCH
        place += 46 + sum(struct.unpack_from("<3H", shown, place + 28))  # the lengths of name, extra and comment
    shown.release()


def write_docx(report: Report, document: Document, assets: Assets, path: Path) -> None:
    """Write one document of the report as DOCX."""
    word = new_document()
    word.core_properties.title = f"{report.title}: {document.title}" if document.title else report.title
    writer = _WordWriter(word, document, assets)
    word.add_heading(report.title, 0)
    writer.text(word.add_paragraph(), [Span(document.title or report.subtitle, italic=True)])
    for name, value in () if document.title else report.facts:
        writer.text(word.add_paragraph(), [Span(f"{name}: ", bold=True), Span(value)])
    writer.text(word.add_paragraph(), [Span(report.statement, bold=True)])
    word.sections[0].footer.paragraphs[0].text = report.statement
    for section in document.sections:
        word.add_heading(section.title, 1)
        for block in section.blocks:
            writer.block(block)
    save_document(word, path)


class _WordWriter:
    """Adds blocks to a Word document; what it names is linked, also in the report's other documents."""

    def __init__(self, word: WordDocument, document: Document, assets: Assets) -> None:
        self.word, self.document, self.assets = word, document, assets
        self._bookmarks = 0

    def block(self, block: Block) -> None:
        places = self.assets.places
        match block:
            case Paragraph(text=text):
                self.text(self.word.add_paragraph(), spans(text, places))
            case Bullets(items=items):
                for item in items:
                    self.text(self.word.add_paragraph(style="List Bullet"), spans(item, places))
            case Formula(text=text):
                self.word.add_paragraph().add_run(text).font.name = "Courier New"
            case Callout(title=title, text=text):
                runs = [Span(f"{title}. ", bold=True), *spans(text, places)]
                self.text(self.word.add_paragraph(style="Intense Quote"), runs)
            case TableBlock(key=key, table=table):
                heading = add_docx_table(self.word, filled_table(table, places), f"{places[key].number}. {table.title}")
                self._mark(heading, places[key])
            case FigureBlock():
                self._figure(block)
            case Details(summary=summary, blocks=blocks):
                self.word.add_heading(summary, 2)
                for inner in blocks:
                    self.block(inner)

    def text(self, paragraph: Any, runs: list[Span]) -> None:
        """Add runs to a paragraph."""
        for span in runs:
            run = paragraph.add_run(visible(span.text))
            run.bold, run.italic = span.bold or None, span.italic or None
            run.font.superscript = span.superscript or None
            if span.target:
                self._link(paragraph, run, self.assets.places[span.target])

    def _link(self, paragraph: Any, run: Any, place: Place) -> None:
        from docx.opc.constants import RELATIONSHIP_TYPE
        from docx.oxml import OxmlElement
        from docx.oxml.ns import qn

        link = OxmlElement("w:hyperlink")
        link.set(qn("w:anchor"), _bookmark(place))
        if place.document != self.document.name:
            target = f"{place.document}.docx"
            link.set(qn("r:id"), paragraph.part.relate_to(target, RELATIONSHIP_TYPE.HYPERLINK, is_external=True))
        paragraph._p.append(link)
        link.append(run._r)

    def _mark(self, paragraph: Any, place: Place) -> None:
        """Make a paragraph a place to link to."""
        from docx.oxml import OxmlElement
        from docx.oxml.ns import qn

        self._bookmarks += 1
        for where, tag in ((0, "w:bookmarkStart"), (len(paragraph._p) + 1, "w:bookmarkEnd")):
            mark = OxmlElement(tag)
            mark.set(qn("w:id"), str(self._bookmarks))
            if tag == "w:bookmarkStart":
                mark.set(qn("w:name"), _bookmark(place))
                where = int(paragraph._p.pPr is not None)
            paragraph._p.insert(where, mark)

    def _figure(self, block: FigureBlock) -> None:
        from docx.shared import Mm

        for picture in self.assets.pictures[block.key]:
            paragraph = self.word.add_paragraph()
            paragraph.paragraph_format.keep_with_next = True
            if picture.letter:
                paragraph.add_run(f"({picture.letter}) ").bold = True
            width = Mm(min(picture.width_mm, _TEXT_WIDTH_MM))
            shape = paragraph.add_run().add_picture(str(picture.png), width=width)
            shape._inline.docPr.set("descr", picture.alt)
        place = self.assets.places[block.key]
        paragraph = self.word.add_paragraph()
        self.text(paragraph, [Span(f"{place.number}. ", bold=True), *spans(block.caption, self.assets.places)])
        self._mark(paragraph, place)


def _bookmark(place: Place) -> str:
    return place.anchor.replace("-", "_")
