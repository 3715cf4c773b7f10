"""Where figures of the PDF go."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.mark.parametrize("tall", [260, 300, 340, 380])
def test_a_heading_is_never_parted_from_the_figure_below_it(tall: int, tmp_path: Path) -> None:
    from reportlab.platypus import BaseDocTemplate, Flowable, Frame, PageTemplate, Paragraph, Spacer

    from hepacast.report.pdf_floats import floating, let_text_pass
    from hepacast.report.pdf_style import register_fonts, text_styles

    register_fonts()
    pages: dict[str, int] = {}

    class Figure(Flowable):
        def __init__(self, scale: float) -> None:
            super().__init__()
            self.width, self.height = 100, tall * scale

        def draw(self) -> None:
            pages["figure"] = self.canv.getPageNumber()

    class Template(BaseDocTemplate):
        def afterFlowable(self, flowable: Flowable) -> None:
            if isinstance(flowable, Paragraph):
                pages["heading"] = self.page

        def filterFlowables(self, flowables: list[Flowable]) -> None:
            let_text_pass(flowables, self.frame, self.canv) if getattr(self, "frame", None) else None

    def figure(scale: float, first: int = 0, last: int | None = None) -> list[Flowable]:
        return [Figure(scale)]

    template = Template(str(tmp_path / "x.pdf"), pagesize=(300, 500))
    template.addPageTemplates(PageTemplate(frames=[Frame(0, 0, 300, 500, 0, 0, 0, 0)]))
    heading = Paragraph("Staging systems", text_styles()["heading"])
    template.build([Spacer(1, 200), heading, floating(figure(1.0), figure), Spacer(1, 20)])
    assert pages["heading"] == pages["figure"]
