"""A document of the report as one HTML file: style and figures inside, no script, nothing fetched."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hepacast._version import __version__
from hepacast.core.files import write_text
from hepacast.core.texts import visible
from hepacast.report.assets import panel_rows
from hepacast.report.model import Document, Places, Report, Span, reference_spans, spans

if TYPE_CHECKING:
    from markupsafe import Markup

    from hepacast.report.assets import Assets, DrawnPanel

_TEMPLATES = Path(__file__).parent / "templates"
#: Above this size a vector figure is shown by its pixels.
_LARGEST_SVG = 1_500_000


def write_html(report: Report, document: Document, assets: Assets, path: Path) -> None:
    """Write one document of the report as one self-contained HTML file."""
    write_text(path, render_html(report, document, assets))


def render_html(report: Report, document: Document, assets: Assets) -> str:
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
    link = partial(_link, assets.places, document.name)
    return environment.get_template("report.html.j2").render(
        report=report,
        document=document,
        places=assets.places,
        pictures=assets.pictures,
        panel_rows=panel_rows,
        version=__version__,
        css=Markup((_TEMPLATES / "report.css").read_text(encoding="utf-8")),
        kind_of=lambda item: type(item).__name__,
        inline=lambda text: inline(spans(text, assets.places), link),
        cell=lambda text: inline(reference_spans(text, assets.places), link),
        data_uri=data_uri,
    )


def _shown(value: Any) -> Any:
    return visible(value) if type(value) is str else value


def _link(places: Places, document: str, key: str) -> str:
    place = places[key]
    return f"{'' if place.document == document else f'{place.document}.html'}#{place.anchor}"


def inline(runs: Sequence[Span], link: Callable[[str], str]) -> Markup:
    """Runs of text as HTML; everything but their own marks is escaped."""
    from markupsafe import Markup, escape

    parts = []
    for span in runs:
        piece = escape(visible(span.text))
        for wanted, tag in ((span.bold, "strong"), (span.italic, "em"), (span.superscript, "sup")):
            if wanted:
                piece = Markup(f"<{tag}>{{}}</{tag}>").format(piece)
        if span.target:
            piece = Markup('<a href="{}">{}</a>').format(link(span.target), piece)
        parts.append(piece)
    return Markup("").join(parts)


def data_uri(picture: DrawnPanel) -> str:
    """A figure as a ``data:`` address: vector where that is small enough."""
    vector = picture.svg.stat().st_size <= _LARGEST_SVG
    kind, path = ("svg+xml", picture.svg) if vector else ("png", picture.png)
    return f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"
