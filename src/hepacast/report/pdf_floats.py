"""Figures and small tables that float: where one does not fit, the text behind it fills the page.

A float that no text passes is made smaller, or parted, before a page stays half empty.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

#: A figure is made smaller, down to the first of these shares, rather than leave room; to the second where the page
#: would stay half empty.
_SMALLER, _SMALLEST = 0.8, 0.66
#: Styles of text that may pass a float; of headings, which stay with what follows.
_PASSING = ("body", "bullet")
_HEADINGS = ("heading", "subheading")
#: A heading with its text passes, too, where more than this share of the page would stay empty.
_LARGE_GAP = 0.25
#: Panels of a figure, and rows of a small table, may go on on the next page where more than this would stay empty.
_HUGE_GAP = 0.4
#: A page of which more than this would stay empty is half empty.
_HALF_EMPTY = 0.45


def floating(
    content: list[Any], rebuild: Callable[..., list[Any]] | None = None, rows: int = 1, parted: list[Any] | None = None
) -> Any:
    """Flowables that stay together and may be passed by the text that follows them.

    Parameters
    ----------
    content
        Flowables.
    rebuild
        Makes the content at a scale (1: full size), from one of its rows of panels to another; None: it has one size.
    rows
        Rows of panels between which a page break may come.
    parted
        The same flowables where a page break may come between them, for content of one size.
    """
    from reportlab.platypus import KeepTogether

    block = KeepTogether(content)
    block.floats = "table" if rebuild is None else "figure"
    block.rebuild, block.rows, block.parted = rebuild, rows, parted
    return block


def is_floating(flowable: Any) -> bool:
    """Whether `floating` made it."""
    return getattr(flowable, "floats", None) is not None


def let_text_pass(flowables: list[Any], frame: Any, canvas: Any) -> None:
    """Before the first flowable is set: if it floats and does not fit, put what fits in front of it, or shrink it.

    Figures keep their order, and so do tables; text keeps its own.
    """
    from reportlab.platypus import CondPageBreak

    if frame._atTop:
        return
    room = frame._y - frame._y1p
    if _style(flowables[0]) in _HEADINGS and len(flowables) > 1 and is_floating(flowables[1]):
        # A heading stays with its float, which is made to fit below it, or both begin the next page.
        # The larger of the heading's space after it and the float's before it parts them.
        more = max(0.0, flowables[0].getSpaceAfter() - flowables[1].getSpaceBefore())
        below = room - _height(flowables[0], frame, canvas) - more
        if _height(flowables[1], frame, canvas) > below and not _made_fit(flowables, 1, below, frame, canvas):
            flowables.insert(0, CondPageBreak(room + 1))
        return
    if not is_floating(flowables[0]) or _height(flowables[0], frame, canvas) <= room:
        return
    if not _passed(flowables, room, frame, canvas):
        _made_fit(flowables, 0, room, frame, canvas)


def _passed(flowables: list[Any], room: float, frame: Any, canvas: Any) -> bool:
    """Put what fits of the flowables behind the first in front of it; whether there was any."""
    passed = {flowables[0].floats}
    for place, item in enumerate(flowables[1:], start=1):
        kind = getattr(item, "floats", None)
        if _style(item) == "heading" and room > _LARGE_GAP * frame._aH:
            text = flowables[place + 1] if place + 1 < len(flowables) else None
            if _style(text) in _PASSING and _height(item, frame, canvas) + _height(text, frame, canvas) <= room:
                flowables[0:0] = [flowables.pop(place), flowables.pop(place)]
                return True
        if kind is None and _style(item) not in _PASSING:
            return False
        if kind not in passed and _height(item, frame, canvas) <= room:
            flowables.insert(0, flowables.pop(place))
            return True
        if kind is None:
            return False
        passed.add(kind)
    return False


def _made_fit(flowables: list[Any], place: int, room: float, frame: Any, canvas: Any) -> bool:
    """Make a figure smaller, or part it; part a small table where the page would stay half empty. Whether it fits."""
    block, gap = flowables[place], room / frame._aH
    if block.rebuild is None:
        parts = gap > _HUGE_GAP and block.parted is not None
        if parts:
            flowables[place : place + 1] = block.parted
        return parts
    scale = 0.98 * room / _height(block, frame, canvas)
    if scale >= _SMALLER and _shrunk(flowables, place, scale, room, frame, canvas):
        return True
    if gap > _HUGE_GAP and block.rows > 1 and _divide(flowables, place, room, frame, canvas):
        return True
    return gap > _HALF_EMPTY and scale >= _SMALLEST and _shrunk(flowables, place, scale, room, frame, canvas)


def _shrunk(flowables: list[Any], place: int, scale: float, room: float, frame: Any, canvas: Any) -> bool:
    block = flowables[place]
    smaller = floating(block.rebuild(scale), block.rebuild, block.rows)
    fits = _height(smaller, frame, canvas) <= room
    if fits:
        flowables[place] = smaller
    return fits


def _divide(flowables: list[Any], place: int, room: float, frame: Any, canvas: Any) -> bool:
    """As many rows of panels as fit stay here, the others and the caption go on; whether one fits."""
    figure = flowables[place]
    for count in range(figure.rows - 1, 0, -1):
        part = floating(figure.rebuild(1.0, 0, count), figure.rebuild)
        if _height(part, frame, canvas) <= room:

            def rest(size: float, first: int = 0, last: int | None = None, done: int = count) -> list[Any]:
                content: list[Any] = figure.rebuild(size, done + first, None if last is None else done + last)
                return content

            flowables[place : place + 1] = [part, floating(rest(1.0), rest, figure.rows - count)]
            return True
    return False


def _style(item: Any) -> str:
    return str(getattr(getattr(item, "style", None), "name", ""))


def _height(flowable: Any, frame: Any, canvas: Any) -> float:
    """Height in points, with the space before it."""
    width = frame._aW
    if not is_floating(flowable):
        return float(flowable.wrapOn(canvas, width, 1e6)[1] + flowable.getSpaceBefore())
    flowable.wrapOn(canvas, width, 1e6)
    return float(flowable._H + flowable.getSpaceBefore())
