"""The report as one HTML file: style and figures inside, no script, nothing fetched."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hepacast._version import __version__
from hepacast.core.files import write_text
from hepacast.core.texts import visible
from hepacast.report.assets import file_stem, panel_rows
from hepacast.report.model import Report, spans

if TYPE_CHECKING:
    from markupsafe import Markup

    from hepacast.report.assets import Assets, Picture

_TEMPLATES = Path(__file__).parent / "templates"
#: Above this size a vector figure is shown by its pixels.
_LARGEST_SVG = 1_500_000


def write_html(report: Report, assets: Assets, path: Path) -> None:
    """Write the report as one self-contained HTML file."""
    write_text(path, render_html(report, assets))


def render_html(report: Report, assets: Assets) -> str:
    """The HTML text."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=False,
        finalize=_shown,
    )
    numbers = dict(assets.numbers)
    return environment.get_template("report.html.j2").render(
        report=report,
        numbers=numbers,
        pictures=assets.pictures,
        panel_rows=panel_rows,
        version=__version__,
        css=Markup((_TEMPLATES / "report.css").read_text(encoding="utf-8")),
        kind_of=lambda item: type(item).__name__,
        inline=lambda text: inline(text, numbers),
        stem=lambda key: file_stem(numbers[key]),
        data_uri=data_uri,
    )


def _shown(value: Any) -> Any:
    return visible(value) if type(value) is str else value


def inline(text: str, numbers: dict[str, str] | None = None) -> Markup:
    """Marked-up text as HTML; everything else is escaped."""
    from markupsafe import Markup, escape

    parts = []
    for span in spans(text, numbers):
        piece = escape(visible(span.text))
        for wanted, tag in ((span.bold, "strong"), (span.italic, "em"), (span.superscript, "sup")):
            if wanted:
                piece = Markup(f"<{tag}>{{}}</{tag}>").format(piece)
        parts.append(piece)
    return Markup("").join(parts)


def data_uri(picture: Picture) -> str:
    """A figure as a ``data:`` address: vector where that is small enough."""
    vector = picture.svg.stat().st_size <= _LARGEST_SVG
    kind, path = ("svg+xml", picture.svg) if vector else ("png", picture.png)
    return f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"
