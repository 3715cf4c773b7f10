"""Figures and small tables that float: where one does not fit, the text behind it fills the page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

#: A figure is made smaller, down to this share, rather than leave a page half empty.
_SMALLEST = 0.8
#: Styles of text that may pass a float.
_PASSING = ("body", "bullet")
#: A heading with its text passes, too, where more than this share of the page would stay empty.
_LARGE_GAP = 0.25
#: Panels of a supplementary figure may go on on the next page where more than this would stay empty.
_HUGE_GAP = 0.4


def floating(content: list[Any], rebuild: Callable[..., list[Any]] | None = None, rows: int = 1) -> Any:
    """Flowables that stay together and may be passed by the text that follows them.

    Parameters
    ----------
    content
        Flowables.
    rebuild
        Makes the content at a scale (1: full size), from one of its rows of panels to another; None: it has one size.
    rows
        Rows of panels between which a page break may come.
    """
    from reportlab.platypus import KeepTogether

    block = KeepTogether(content)
    block.floats = "table" if rebuild is None else "figure"
    block.rebuild, block.rows = rebuild, rows
    return block


def let_text_pass(flowables: list[Any], frame: Any, canvas: Any) -> None:
    """Before the first flowable is set: if it floats and does not fit, put what fits in front of it, or shrink it.

    Figures keep their order, and so do tables; text keeps its own.
    """
    first = flowables[0]
    if getattr(first, "floats", None) is None or frame._atTop:
        return
    room = frame._y - frame._y1p
    if _height(first, frame, canvas) <= room:
        return
    passed = {first.floats}
    for place, item in enumerate(flowables[1:], start=1):
        kind = getattr(item, "floats", None)
        if _style(item) == "heading" and room > _LARGE_GAP * frame._aH:
            text = flowables[place + 1] if place + 1 < len(flowables) else None
            if _style(text) in _PASSING and _height(item, frame, canvas) + _height(text, frame, canvas) <= room:
                flowables[0:0] = [flowables.pop(place), flowables.pop(place)]
                return
        if kind is None and _style(item) not in _PASSING:
            break
        if kind not in passed and _height(item, frame, canvas) <= room:
            flowables.insert(0, flowables.pop(place))
            return
        if kind is None:
            break
        passed.add(kind)
    if first.rebuild is not None:
        needed = _height(first, frame, canvas)
        smaller = floating(first.rebuild(max(_SMALLEST, 0.98 * room / needed)), first.rebuild, first.rows)
        if _height(smaller, frame, canvas) <= room:
            flowables[0] = smaller
        elif first.rows > 1 and room > _HUGE_GAP * frame._aH:
            _divide(flowables, room, frame, canvas)


def _divide(flowables: list[Any], room: float, frame: Any, canvas: Any) -> None:
    """As many rows of panels as fit stay here, the others and the caption go on."""
    figure = flowables[0]
    for count in range(figure.rows - 1, 0, -1):
        part = floating(figure.rebuild(1.0, 0, count), figure.rebuild)
        if _height(part, frame, canvas) <= room:

            def rest(size: float, done: int = count) -> list[Any]:
                content: list[Any] = figure.rebuild(size, done)
                return content

            flowables[0:1] = [part, floating(rest(1.0), rest)]
            return


def _style(item: Any) -> str:
    return str(getattr(getattr(item, "style", None), "name", ""))


def _height(flowable: Any, frame: Any, canvas: Any) -> float:
    """Height in points, with the space before it."""
    width = frame._aW
    if getattr(flowable, "floats", None) is None:
        return float(flowable.wrapOn(canvas, width, 1e6)[1] + flowable.getSpaceBefore())
    flowable.wrapOn(canvas, width, 1e6)
    return float(flowable._H + flowable.getSpaceBefore())
