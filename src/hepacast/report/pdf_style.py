"""Fonts, text styles and inline markup of the PDF report."""

from __future__ import annotations

import functools
import itertools
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from hepacast.core.texts import visible
from hepacast.figures.style import FONT_FILES, chinese_files
from hepacast.report.model import Places, spans

FONT_FAMILY = "LiberationSans"
#: Color of links.
LINK = "#0B5C8F"


@functools.cache
def register_fonts() -> None:
    """Register the shipped font, DejaVu for the few signs that it lacks, and a Chinese one."""
    import matplotlib
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.ttfonts import TTFont

    names = {"regular": "", "bold": "-Bold", "italic": "-Italic", "bolditalic": "-BoldItalic"}
    for kind, suffix in names.items():
        pdfmetrics.registerFont(TTFont(f"{FONT_FAMILY}{suffix}", str(FONT_FILES[kind])))
    pdfmetrics.registerFontFamily(
        FONT_FAMILY, FONT_FAMILY, f"{FONT_FAMILY}-Bold", f"{FONT_FAMILY}-Italic", f"{FONT_FAMILY}-BoldItalic"
    )
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    pdfmetrics.registerFont(TTFont("DejaVuSans", str(folder / "DejaVuSans.ttf")))
    pdfmetrics.registerFont(TTFont("DejaVuSansMono", str(folder / "DejaVuSansMono.ttf")))
    chinese = chinese_font()
    pdfmetrics.registerFontFamily(chinese, *[chinese] * 4)


@functools.cache
def chinese_font() -> str:
    """Name of the font for signs that no other has: this computer's, or one that those who show PDF bring along."""
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.cidfonts import UnicodeCIDFont
    from reportlab.pdfbase.ttfonts import TTFError, TTFont

    for file in chinese_files():
        try:
            pdfmetrics.registerFont(TTFont("Chinese", file, subfontIndex=0))
        except (TTFError, OSError):  # outlines of another kind, which reportlab does not embed
            continue
        return "Chinese"
    pdfmetrics.registerFont(UnicodeCIDFont("STSong-Light"))
    return "STSong-Light"


@functools.cache
def _glyphs(name: str) -> frozenset[int]:
    from reportlab.pdfbase import pdfmetrics

    font: Any = pdfmetrics.getFont(name)
    return frozenset(font.face.charToGlyph)


def _font_of(sign: str) -> str:
    """The first font that has a sign; empty: the text's own."""
    if sign in "\n\t" or ord(sign) in _glyphs(FONT_FAMILY):
        return ""
    return "DejaVuSans" if ord(sign) in _glyphs("DejaVuSans") else chinese_font()


def safe(text: str) -> str:
    """Escaped text; signs that the font lacks are set in another."""
    runs = [(font, escape("".join(signs))) for font, signs in itertools.groupby(visible(text), _font_of)]
    return "".join(f'<font name="{font}">{run}</font>' if font else run for font, run in runs)


def markup(text: str, places: Places | None = None, document: str = "") -> str:
    """Marked-up text in reportlab's own markup; references link to their place, also in the report's other files."""
    parts = []
    for span in spans(text, places):
        piece = safe(span.text)
        for wanted, tag in ((span.bold, "b"), (span.italic, "i"), (span.superscript, "super")):
            if wanted:
                piece = f"<{tag}>{piece}</{tag}>"
        if span.target and places is not None:
            place = places[span.target]
            file = "" if place.document == document else f"pdf:{place.document}.pdf"
            piece = f'<a href="{file}#{place.anchor}" color="{LINK}">{piece}</a>'
        parts.append(piece)
    return "".join(parts)


def text_styles() -> dict[str, Any]:
    """Paragraph styles by name."""
    from reportlab.lib.colors import HexColor
    from reportlab.lib.enums import TA_CENTER
    from reportlab.lib.styles import ParagraphStyle

    body = ParagraphStyle(
        "body", fontName=FONT_FAMILY, fontSize=9.5, leading=13.2, spaceAfter=6, textColor=HexColor("#1A1A1A")
    )

    def like(name: str, **changes: Any) -> ParagraphStyle:
        return ParagraphStyle(name, parent=body, **changes)

    bold = f"{FONT_FAMILY}-Bold"
    return {
        "body": body,
        "title": like("title", fontName=bold, fontSize=20, leading=25, spaceAfter=6),
        "subtitle": like("subtitle", fontSize=12, leading=16, textColor=HexColor("#4A5560"), spaceAfter=12),
        "heading": like("heading", fontName=bold, fontSize=14, leading=18, spaceBefore=14, spaceAfter=7,
                        keepWithNext=1),
        "subheading": like("subheading", fontName=bold, fontSize=10.5, spaceBefore=6, spaceAfter=4, keepWithNext=1),
        "lead": like("lead", keepWithNext=1),
        "bullet": like("bullet", leftIndent=12, bulletIndent=2, spaceAfter=3),
        "caption": like("caption", fontSize=8.6, leading=11.4, spaceBefore=4, spaceAfter=12),
        "table-title": like("table-title", fontSize=9, leading=12, spaceBefore=8, spaceAfter=3, keepWithNext=1),
        "cell": like("cell", fontSize=7.8, leading=9.8, spaceAfter=0, alignment=TA_CENTER),
        "cell-left": like("cell-left", fontSize=7.8, leading=9.8, spaceAfter=0),
        "cell-indent": like("cell-indent", fontSize=7.8, leading=9.8, spaceAfter=0, leftIndent=8),
        "note": like("note", fontSize=7.4, leading=9.4, spaceAfter=1, textColor=HexColor("#4A5560")),
        "formula": like("formula", fontName="DejaVuSansMono", fontSize=7.4, leading=10.4, backColor=HexColor("#F4F6F8"),
                        borderPadding=5, spaceBefore=6, spaceAfter=12),
        "toc": like("toc", fontSize=9.5, leading=13.5, spaceAfter=0),
    }  # fmt: skip
