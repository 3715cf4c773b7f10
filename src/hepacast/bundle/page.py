"""One page (PDF) for one patient: risk, nomogram with the patient's lines, what it is made of, warnings."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape as escape_markup

from hepacast.bundle.model import Bundle
from hepacast.bundle.networks import NetworkBundle
from hepacast.bundle.prediction import COEFFICIENTS, Prediction, conformal_text, horizon_text, limits_text
from hepacast.core.files import atomic_path
from hepacast.core.formatting import risk_text
from hepacast.core.texts import visible
from hepacast.errors import StudyFileError
from hepacast.figures.labels import feature_label
from hepacast.figures.nomogram import draw_nomogram
from hepacast.figures.patients import ShareBar, draw_shares
from hepacast.figures.style import save_figure
from hepacast.radiomics.explanation import explain

#: Shares that fit on the page; the rest are summed up in a line.
MAX_SHARES = 10
#: Characters of one text of the page.
MAX_TEXT = 1500
_WIDTH_MM = 174.0


def escape(text: str) -> str:
    """A text in reportlab's markup; one that no page could hold (a stranger's bundle may say anything) is cut."""
    shown = visible(text)
    return escape_markup(shown if len(shown) <= MAX_TEXT else f"{shown[:MAX_TEXT]}\u2026")


def write_page(
    bundle: Bundle | NetworkBundle, prediction: Prediction, path: str | Path, *, overlay: Path | None = None
) -> Path:
    """Write the page.

    Parameters
    ----------
    bundle, prediction
        What was applied, and the result.
    path
        PDF to write.
    overlay
        A picture (PNG) of the masks on the image.

    Raises
    ------
    StorageError
        The file cannot be written.
    """
    from reportlab.lib.pagesizes import A4
    from reportlab.lib.units import mm
    from reportlab.platypus import SimpleDocTemplate

    from hepacast.report.pdf import register_fonts
    from hepacast.report.pdf_pictures import binary_streams

    register_fonts()
    path = Path(path)
    with tempfile.TemporaryDirectory() as scratch, atomic_path(path) as temporary, binary_streams():
        story = _story(bundle, prediction, Path(scratch), overlay)
        document = SimpleDocTemplate(
            str(temporary),
            pagesize=A4,
            leftMargin=18 * mm,
            rightMargin=18 * mm,
            topMargin=14 * mm,
            bottomMargin=14 * mm,
            title=f"{prediction.outcome}: prediction for one patient",
            author="hepacast",
            invariant=1,
        )
        footer = _footer(prediction)
        document.build(story, onFirstPage=footer, onLaterPages=footer)
    return path


def _footer(prediction: Prediction) -> Callable[[Any, Any], None]:
    """At the foot of each page whose it is, and that it is for research."""
    from reportlab.lib.units import mm

    from hepacast.report.pdf import FONT_FAMILY

    def draw(canvas: Any, document: Any) -> None:
        code = f"Patient {prediction.patient}, " if prediction.patient else ""
        canvas.setFont(FONT_FAMILY, 7)
        canvas.drawString(18 * mm, 7 * mm, visible(f"{code}{prediction.date}. {prediction.notice}"))
        canvas.drawRightString(192 * mm, 7 * mm, f"page {document.page}")

    return draw


def _story(bundle: Bundle | NetworkBundle, prediction: Prediction, scratch: Path, overlay: Path | None) -> list[Any]:
    from reportlab.lib import colors
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.lib.units import mm
    from reportlab.platypus import Paragraph, Spacer, Table

    from hepacast.report.pdf import FONT_FAMILY

    body = ParagraphStyle("body", fontName=FONT_FAMILY, fontSize=9, leading=12)
    small = ParagraphStyle("small", parent=body, fontSize=7.5, leading=10, textColor=colors.HexColor("#444444"))
    head = ParagraphStyle("head", parent=body, fontName=f"{FONT_FAMILY}-Bold", fontSize=13, leading=17)
    large = ParagraphStyle("large", parent=body, fontName=f"{FONT_FAMILY}-Bold", fontSize=26, leading=32)
    item, words = prediction, _feature_words(bundle)
    story: list[Any] = [
        Paragraph(escape(f"{item.outcome}: prediction for one patient"), head),
        Paragraph(escape(f"Patient code: {item.patient or 'not given'}. Date: {item.date or 'not given'}."), body),
        Paragraph(escape(f"{item.study}; model {item.model}"), body),
        Spacer(1, 2 * mm),
        *(Paragraph(f"<b>Validation.</b> {escape(text)}", body) for text in item.cautions),
        Spacer(1, 1 * mm),
        Paragraph(escape(risk_text(item.risk)), large),
        Paragraph(escape(_meaning(item)), body),
        *_conformal(item, body),
        *(Paragraph(escape(f"Validated: {text}."), body) for text in item.validated),
        Spacer(1, 2 * mm),
    ]
    values = {**item.values, **{name: f"{value:.3f}" for name, value in item.scores.items()}}
    rows = [[Paragraph(escape(name), body), Paragraph(escape(value), body)] for name, value in values.items()]
    if rows:
        story += [Table(rows, colWidths=[70 * mm, 100 * mm], hAlign="LEFT"), Spacer(1, 2 * mm)]
    story += [Paragraph(f"<b>Caution.</b> {escape(_in_words(text, words))}", body) for text in item.warnings]
    if isinstance(bundle, Bundle) and bundle.nomogram is not None and item.points is not None:
        figure = draw_nomogram(_with_example(bundle.nomogram, item))
        story += [Spacer(1, 2 * mm), _picture(figure, scratch / "nomogram")]
    if item.shares:
        story += _shares(item, words, scratch, small)
    if overlay is not None:
        story += _overlay(overlay, small)
    story += [
        Spacer(1, 2 * mm),
        Paragraph(escape(f"Intended use: {bundle.card['intended_use']}"), small),
        Paragraph(escape(f"Model bundle {item.bundle[:16]}, {item.signature}; hepacast {item.hepacast}."), small),
        Paragraph(escape(item.notice), small),
    ]
    return story


def _shares(item: Prediction, words: Mapping[str, str], scratch: Path, small: Any) -> list[Any]:
    """Bars of the largest shares, and what each feature among them is."""
    from reportlab.platypus import Paragraph

    shown, rest = item.shares[:MAX_SHARES], item.shares[MAX_SHARES:]
    bars = [ShareBar(_short(share.label), share.value, share.contribution) for share in shown]
    scale = "log hazard" if item.horizons else "log odds"
    label = f"Share in the {scale}, against the average patient"
    found: list[Any] = [_picture(draw_shares(bars, risk=item.risk, x_label=label), scratch / "shares")]
    if rest:
        total = sum(share.contribution for share in rest)
        found.append(Paragraph(f"{len(rest)} further features add {total:+.2f} together.", small))
    known = [words[share.name] for share in shown if share.name in words]
    return [*found, *(Paragraph(escape(text), small) for text in known)]


def _overlay(picture: Path, small: Any) -> list[Any]:
    """The masks on the image, as wide as the page."""
    from reportlab.lib.units import mm
    from reportlab.platypus import KeepTogether, Paragraph, Spacer

    from hepacast.report.pdf_pictures import png_picture, png_size

    note = "Masks that were measured, on the image: look whether they are this patient's liver and tumor."
    width, height = png_size(picture)
    scale = _WIDTH_MM * mm / max(width, height)
    shown = png_picture(picture, width * scale, height * scale)
    return [Spacer(1, 2 * mm), KeepTogether([shown, Paragraph(note, small)])]


def _feature_words(bundle: Bundle | NetworkBundle) -> dict[str, str]:
    """What each feature of the models is, by column name: label, meaning and name."""
    if not isinstance(bundle, Bundle):
        return {}
    return {name: _words_of(name) for name in bundle.feature_names()}


def _words_of(name: str) -> str:
    try:
        meaning = f": {explain(name).meaning}"
    except StudyFileError:  # a feature of a table made elsewhere, or one that a network learned
        meaning = ""
    return f"{feature_label(name)}{meaning} [{name}]"


def _in_words(text: str, words: Mapping[str, str]) -> str:
    """A warning with its feature in words."""
    name = next((name for name in words if text.startswith((f"{name}:", f"{name} ("))), None)
    return text if name is None else f"{words[name]}{text.removeprefix(name)}"


def _conformal(item: Prediction, style: Any) -> list[Any]:
    """What the conformal set holds, in one sentence."""
    from reportlab.platypus import Paragraph

    if item.conformal is None:
        return []
    text = conformal_text(item.conformal, item.coverage)
    return [Paragraph(escape(f"{text[:1].upper()}{text[1:]}."), style)]


def _meaning(item: Prediction) -> str:
    """What the large number is, and the group."""
    cutoff = f": the cut-off, from training, is {risk_text(item.cutoff)}" if math.isfinite(item.cutoff) else ""
    group = f"{item.group.capitalize()}{cutoff}."
    limits = limits_text(item)
    if item.horizons:
        risks = "; ".join(horizon_text(entry, item.level) for entry in item.horizons)
        last = item.horizons[-1]
        text = f"Risk of the event by {last.time:g} {last.unit}. {risks[:1].upper() + risks[1:]}"
        if not math.isfinite(item.low):
            return f"{text}; {limits}. {group}"
        of = "coefficients and baseline" if item.interval_of == COEFFICIENTS else item.interval_of
        return f"{text} ({f'uncertainty of {of}' if of != item.interval_of else of}). {group}"
    if item.interval_of == COEFFICIENTS:
        limits = f"{limits} ({COEFFICIENTS})"
    return f"{limits[:1].upper()}{limits[1:]}. {group}"


def _short(label: str) -> str:
    return label if len(label) <= 56 else f"{label[:27]}...{label[-26:]}"


def _with_example(spec: Any, item: Prediction) -> dict[str, Any]:
    """The nomogram with the patient's lines."""
    assert item.points is not None
    labels = {axis["label"]: axis["name"] for axis in spec["predictors"]}
    shown = {
        labels[label]: {"label": _value_of(item, label), "points": points} for label, points in item.points.items()
    }
    output = {spec["outputs"][-1]["label"]: item.risk}
    if item.horizons:
        # The axes of a survival nomogram show the probability of being without the event, one axis a horizon.
        axes = [axis["label"] for axis in spec["outputs"]]
        risks = {f"{entry.time:g} {entry.unit}": entry.risk for entry in item.horizons}
        output = {label: 1 - risk for label in axes for at, risk in risks.items() if label.endswith(f" {at}")}
    return {**spec, "example": {"values": shown, "total": item.total_points, "output": output}}


def _value_of(item: Prediction, label: str) -> str:
    plain = label.split(" (")[0]
    if plain in item.scores:
        return f"{item.scores[plain]:.2f}"
    return item.values.get(plain, item.values.get(label, ""))


def _picture(figure: Any, stem: Path) -> Any:
    from reportlab.lib.units import mm

    from hepacast.report.pdf_pictures import png_picture

    save_figure(figure, stem, formats=("png",), dpi=250)
    width, height = figure.get_size_inches()
    return png_picture(stem.with_suffix(".png"), _WIDTH_MM * mm, _WIDTH_MM * mm * height / width)
