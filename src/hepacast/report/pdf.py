"""A document of the report as PDF: numbered tables and figures, links, page numbers, embedded fonts, full pages."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from hepacast.core.files import atomic_path
from hepacast.core.tables import Table
from hepacast.report.assets import panel_rows
from hepacast.report.column_widths import column_widths
from hepacast.report.model import (
    Block,
    Bullets,
    Callout,
    Details,
    Document,
    FigureBlock,
    Formula,
    Paragraph,
    Report,
    TableBlock,
    filled_table,
)
from hepacast.report.pdf_floats import floating, is_floating, let_text_pass
from hepacast.report.pdf_pictures import binary_streams, png_picture
from hepacast.report.pdf_style import FONT_FAMILY, markup, register_fonts, safe, text_styles

if TYPE_CHECKING:
    from hepacast.report.assets import Assets

_MARGIN_MM = (18.0, 20.0)
_ACCENT = {"warning": "#A8430A", "limit": "#0B5C8F", "note": "#0B5C8F", "truth": "#00664A"}
#: Tables of more rows may go on on the next page, if this much of them fits on the page where they begin.
_WHOLE_ROWS, _FIRST_PART_MM = 14, 38.0
_HEADING_MM = 12.0
_FILL = {"warning": "#FFF4E8", "limit": "#F4F6F8", "note": "#F4F6F8", "truth": "#EEF8F4"}


class _Writer:
    """Turns blocks into flowables."""

    def __init__(self, document: Document, assets: Assets, width: float, height: float) -> None:
        self.document, self.assets, self.width, self.height = document, assets, width, height
        self.styles = text_styles()

    def marked(self, text: str) -> str:
        return markup(text, self.assets.places, self.document.name)

    def blocks(self, blocks: Sequence[Block]) -> list[Any]:
        return [flowable for block in blocks for flowable in self.block(block)]

    def block(self, block: Block) -> list[Any]:
        from reportlab.platypus import KeepTogether
        from reportlab.platypus import Paragraph as Text

        match block:
            case Paragraph(text=text):
                leads = text.endswith(":") or re.fullmatch(r"\*\*[^*]+\*\*", text)
                return [Text(self.marked(text), self.styles["lead" if leads else "body"])]
            case Bullets(items=items):
                return [Text(self.marked(item), self.styles["bullet"], bulletText="•") for item in items]
            case Formula(text=text):
                lines = "<br/>".join(safe(line).replace("  ", "\u00a0 ") for line in text.split("\n"))
                formula = Text(lines.replace('"DejaVuSans"', '"DejaVuSansMono"'), self.styles["formula"])
                return [KeepTogether([formula])] if text.count("\n") < 40 else [formula]
            case Callout():
                return [self.callout(block)]
            case TableBlock():
                return self.table(block)
            case FigureBlock():
                return self.figure(block)
            case Details(summary=summary, blocks=inner):
                return _with_heading(Text(safe(summary), self.styles["subheading"]), self.blocks(inner))

    def callout(self, block: Callout) -> Any:
        from reportlab.lib.colors import HexColor
        from reportlab.platypus import KeepTogether, Spacer
        from reportlab.platypus import Paragraph as Text
        from reportlab.platypus import Table as Grid

        accent = _ACCENT[block.kind]
        head = f'<font color="{accent}"><b>{safe(block.title)}</b></font><br/>'
        grid = Grid([[Text(head + self.marked(block.text), self.styles["body"])]], colWidths=[self.width])
        grid.setStyle(
            [
                ("BACKGROUND", (0, 0), (-1, -1), HexColor(_FILL[block.kind])),
                ("LINEBEFORE", (0, 0), (0, -1), 3, HexColor(accent)),
                ("LEFTPADDING", (0, 0), (-1, -1), 9),
                ("TOPPADDING", (0, 0), (-1, -1), 5),
                ("BOTTOMPADDING", (0, 0), (-1, -1), 1),
            ]
        )
        return KeepTogether([Spacer(1, 3), grid, Spacer(1, 7)])

    def table(self, block: TableBlock) -> list[Any]:
        from reportlab.lib.colors import HexColor
        from reportlab.lib.units import mm
        from reportlab.platypus import CondPageBreak, Spacer
        from reportlab.platypus import Paragraph as Text
        from reportlab.platypus import Table as Grid

        table, wordy = block.table, block.table.words
        other = self.styles["cell-left" if wordy else "cell"]
        heads = [
            Text(f"<b>{safe(text)}</b>", self.styles["cell-left"] if i == 0 or wordy else other)
            for i, text in enumerate(table.columns)
        ]
        body = []
        for row in table.padded():
            first = self.styles["cell-indent" if row.kind == "indent" else "cell-left"]
            text = self.marked(row.cells[0])
            body.append(
                [
                    Text(f"<b>{text}</b>" if row.kind == "group" else text, first),
                    *(Text(self.marked(cell), other) for cell in row.cells[1:]),
                ]
            )
        notes = [Text(self.marked(note), self.styles["note"]) for note in table.notes]
        # The notes of a long table are its last row, so that no page break comes between.
        joined = bool(notes) and len(body) > _WHOLE_ROWS
        last = [[notes, *[""] * (len(heads) - 1)]] if joined else []
        widths = column_widths(filled_table(table, self.assets.places), self.width, 7.8, 7.0)
        grid = Grid([heads, *body, *last], colWidths=widths, repeatRows=1)
        black = HexColor("#000000")
        rules = [("LINEABOVE", (0, 0), (-1, 0), 1.0, black), ("LINEBELOW", (0, 0), (-1, 0), 0.6, black),
                 ("LINEBELOW", (0, len(body)), (-1, len(body)), 1.0, black), ("VALIGN", (0, 0), (-1, -1), "TOP"),
                 ("TOPPADDING", (0, 0), (-1, -1), 2), ("BOTTOMPADDING", (0, 0), (-1, -1), 2),
                 ("LEFTPADDING", (0, 0), (-1, -1), 3), ("RIGHTPADDING", (0, 0), (-1, -1), 3)]  # fmt: skip
        rules += [("SPAN", (0, i), (-1, i)) for i, row in enumerate(table.padded(), start=1) if row.is_heading]
        place = self.assets.places[block.key]
        name = f'<a name="{place.anchor}"/><b>{place.number}.</b>'
        title = Text(f"{name} {safe(table.title)}", self.styles["table-title"])
        grid.setStyle([*rules, *_unbroken(table, joined), *([("SPAN", (0, -1), (-1, -1))] if joined else [])])
        parts = [title, grid, Spacer(1, 3), *([] if joined else notes), Spacer(1, 9)]
        # A long table may begin low on a page, but not with its title or a row or two alone.
        begun = [CondPageBreak(_FIRST_PART_MM * mm), *parts]
        if len(body) <= _WHOLE_ROWS:
            return [floating(parts, parted=begun)]
        title.keepWithNext = 0
        return begun

    def figure(self, block: FigureBlock) -> list[Any]:
        from reportlab.lib.units import mm
        from reportlab.platypus import AnchorFlowable
        from reportlab.platypus import Paragraph as Text
        from reportlab.platypus import Table as Grid

        place = self.assets.places[block.key]
        caption = Text(f"<b>{place.number}.</b> {self.marked(block.caption)}", self.styles["caption"])
        pictures = self.assets.pictures[block.key]
        columns = block.columns
        room = self.width / columns - (4 * mm if columns > 1 else 0)
        rows = panel_rows(pictures, columns)
        most = (self.height - 40 * mm) / len(rows) - 14

        def build(size: float, first: int = 0, last: int | None = None) -> list[Any]:
            """The figure at a scale, or some of its rows; the caption stands under the last."""
            cells: list[list[Any]] = []
            spans = []
            for number, row in enumerate(rows[first:last]):
                alone = len(row) == 1 and row[0].width_mm * mm > room
                line: list[Any] = []
                for picture in row:
                    free = self.width if alone else room
                    scale = size * min(1.0, free / (picture.width_mm * mm), most / (picture.height_mm * mm))
                    image = png_picture(picture.png, picture.width_mm * mm * scale, picture.height_mm * mm * scale)
                    letter = [Text(f"<b>({picture.letter})</b>", self.styles["cell-left"])] if picture.letter else []
                    line.append([*letter, image])
                cells.append([*line, *[[]] * (columns - len(line))])
                spans += [("SPAN", (0, number), (-1, number))] if alone and columns > 1 else []
            grid = Grid(cells, colWidths=[self.width / columns] * columns)
            grid.setStyle([*spans, ("VALIGN", (0, 0), (-1, -1), "TOP"), ("LEFTPADDING", (0, 0), (-1, -1), 0),
                           ("RIGHTPADDING", (0, 0), (-1, -1), 0), ("TOPPADDING", (0, 0), (-1, -1), 2)])  # fmt: skip
            start = [AnchorFlowable(place.anchor)] if first == 0 else []
            return [*start, grid, caption] if last is None else [*start, grid]

        return [floating(build(1.0), build, len(rows))]


def _unbroken(table: Table, noted: bool) -> list[tuple[Any, ...]]:
    """Rows that no page break may part: a group's heading and its first row, the last two rows and the notes."""
    count = len(table.rows)
    pairs = [(i, i + 1) for i, row in enumerate(table.padded(), start=1) if row.kind == "group" and i < count]
    return [("NOSPLIT", (0, first), (-1, last)) for first, last in [*pairs, (max(1, count - 1), count + noted)]]


def _with_heading(heading: Any, flowables: list[Any]) -> list[Any]:
    """Keep a heading together with what follows, also when that is kept together itself."""
    from reportlab.lib.units import mm
    from reportlab.platypus import CondPageBreak, KeepTogether

    if not flowables:
        return [heading]
    first, *rest = flowables
    if isinstance(first, CondPageBreak):
        return [CondPageBreak(first.height + _HEADING_MM * mm), heading, *rest]
    if is_floating(first):
        return [heading, first, *rest]
    if isinstance(first, KeepTogether):
        return [KeepTogether([heading, *first._content]), *rest]
    return [heading, first, *rest]


def write_pdf(report: Report, document: Document, assets: Assets, path: Path) -> list[float]:
    """Write one document of the report as PDF; the same bytes for the same content.

    Returns
    -------
    list[float]
        Of each page, the share of its height that is used.
    """
    from reportlab.lib.pagesizes import A4
    from reportlab.lib.units import mm
    from reportlab.platypus import Paragraph as Text

    register_fonts()
    side, top = (value * mm for value in _MARGIN_MM)
    width, height = A4[0] - 2 * side, A4[1] - 2 * top
    writer = _Writer(document, assets, width - 12, height - 12)
    story = _front(report, document, writer)
    for section in document.sections:
        heading = Text(safe(section.title), writer.styles["heading"])
        story += _with_heading(heading, writer.blocks(section.blocks))
    with atomic_path(path) as temporary, binary_streams():
        template = _template(report, document, str(temporary), side, top)
        template.multiBuild(story, canvasmaker=_linking_canvas())
    used: list[float] = template.used
    return used


def _linking_canvas() -> Any:
    """A canvas that names its places for other files, and links to places of theirs (``supplement.pdf#table-s1``)."""
    from reportlab.pdfbase.pdfdoc import PDFDictionary
    from reportlab.pdfgen.canvas import Canvas

    class Linking(Canvas):  # type: ignore[misc]
        def linkURL(self, url: str, rect: Any, *args: Any, kind: str = "URI", **more: Any) -> None:
            self._place = ""
            if kind == "GoToR":
                url, _, self._place = url.partition("#")
            super().linkURL(url, rect, *args, kind=kind, **more)

        def _addAnnotation(self, annotation: Any, *args: Any, **more: Any) -> None:
            if getattr(self, "_place", ""):
                annotation.dict["A"].dict["D"] = f"/{self._place}"
                self._place = ""
            super()._addAnnotation(annotation, *args, **more)

        def save(self) -> None:
            if self._destinations:
                self._doc.Catalog.Dests = PDFDictionary(dict(sorted(self._destinations.items())))
            super().save()

    return Linking


def _front(report: Report, document: Document, writer: _Writer) -> list[Any]:
    """Title, facts and statement; what leads on from them: of a supplement its contents."""
    from reportlab.lib.units import mm
    from reportlab.platypus import Paragraph as Text
    from reportlab.platypus import Spacer
    from reportlab.platypus import Table as Grid
    from reportlab.platypus.tableofcontents import TableOfContents

    styles = writer.styles
    head = [
        Text(safe(report.title), styles["title"]),
        Text(safe(document.title or report.subtitle), styles["subtitle"]),
    ]
    statement = writer.callout(Callout("warning", "Research use only", report.statement))
    if document.title:
        contents = TableOfContents(dotsMinLevel=0)
        contents.levelStyles = [styles["toc"]]
        return [*head, statement, Text("Contents", styles["subheading"]), contents]
    facts = Grid(
        [
            [Text(f"<b>{safe(name)}</b>", styles["cell-left"]), Text(safe(value), styles["cell-left"])]
            for name, value in report.facts
        ],
        colWidths=[42 * mm, writer.width - 42 * mm],
    )
    facts.setStyle([("LEFTPADDING", (0, 0), (-1, -1), 0), ("VALIGN", (0, 0), (-1, -1), "TOP")])
    return [*head, facts, Spacer(1, 4 * mm), statement]


def _template(report: Report, document: Document, path: str, side: float, top: float) -> Any:
    from reportlab.lib.colors import HexColor
    from reportlab.lib.pagesizes import A4
    from reportlab.platypus import BaseDocTemplate, Frame, PageTemplate

    title = f"{report.title}: {document.title}" if document.title else report.title

    class Template(BaseDocTemplate):
        used: list[float]

        def afterFlowable(self, flowable: Any) -> None:
            if getattr(getattr(flowable, "style", None), "name", "") == "heading":
                text = flowable.getPlainText()
                anchor = f"section-{self.seq}"
                self.seq += 1
                self.canv.bookmarkPage(anchor)
                self.canv.addOutlineEntry(text, anchor, 0)
                self.notify("TOCEntry", (0, escape(text), self.page, anchor))

        def beforeDocument(self) -> None:
            self.seq, self.used = 0, []

        def afterPage(self) -> None:
            self.used.append(1 - (self.frame._y - self.frame._y1p) / self.frame._aH)

        def filterFlowables(self, flowables: list[Any]) -> None:
            if getattr(self, "frame", None) is not None:  # before the first page there is none
                let_text_pass(flowables, self.frame, self.canv)

    def decorate(canvas: Any, _template: Any) -> None:
        canvas.saveState()
        canvas.setFont(FONT_FAMILY, 7)
        canvas.setFillColor(HexColor("#4A5560"))
        canvas.drawString(side, top * 0.5, report.statement[:130])
        canvas.drawRightString(A4[0] - side, top * 0.5, f"{canvas.getPageNumber()}")
        if canvas.getPageNumber() > 1:
            canvas.drawString(side, A4[1] - top * 0.6, title[:110])
        canvas.restoreState()

    template = Template(
        path, pagesize=A4, leftMargin=side, rightMargin=side, topMargin=top, bottomMargin=top, title=title,
        author="hepacast", subject=report.subtitle, creator="hepacast", invariant=1,
    )  # fmt: skip
    frame = Frame(side, top, A4[0] - 2 * side, A4[1] - 2 * top, id="text")
    template.addPageTemplates([PageTemplate(id="page", frames=[frame], onPage=decorate)])
    return template
