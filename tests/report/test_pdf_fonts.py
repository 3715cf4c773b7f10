"""Signs that the shipped font lacks are set in a font that has them, Chinese ones too."""

from pathlib import Path

import pytest
from pypdf import PdfReader
from reportlab.lib.styles import ParagraphStyle
from reportlab.platypus import Paragraph, SimpleDocTemplate

from hepacast.report import pdf_style


@pytest.mark.parametrize("own", [True, False])
def test_chinese_is_read_back_from_the_pdf(own: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also on a computer that has no Chinese font, where whoever shows the PDF brings one along."""
    if not own:
        monkeypatch.setattr(pdf_style, "chinese_files", list)
    pdf_style.chinese_font.cache_clear()
    pdf_style.register_fonts.cache_clear()
    pdf_style.register_fonts()
    style = ParagraphStyle("plain", fontName=pdf_style.FONT_FAMILY)
    text = pdf_style.markup("**\u767d\u86cb\u767d** albumin \u03c1 \u2265 3, *\u80bf\u7624* \u2713")
    SimpleDocTemplate(str(tmp_path / "text.pdf")).build([Paragraph(text, style)])
    (page,) = PdfReader(tmp_path / "text.pdf").pages
    found = page.extract_text()
    assert "\u767d\u86cb\u767d" in found and "\u80bf\u7624" in found and "albumin" in found and "\u2265" in found
    pdf_style.chinese_font.cache_clear()
