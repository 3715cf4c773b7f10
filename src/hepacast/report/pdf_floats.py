"""Figures and small tables that float: where one does not fit, the text behind it fills the page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

#: A figure is made smaller, down to this share, rather than leave a page half empty.
_SMALLEST = 0.8
#: Styles of text that may pass a float; a heading never does, so that everything stays in its section.
_PASSING = ("body", "bullet")


def floating(content: list[Any], rebuild: Callable[[float], list[Any]] | None = None) -> Any:
    """Flowables that stay together and may be passed by the text that follows them.

    Parameters
    ----------
    content
        Flowables.
    rebuild
        Makes the content at another scale (1: full size); None: it has one size.
    """
    from reportlab.platypus import KeepTogether

    block = KeepTogether(content)
    block.floats = "table" if rebuild is None else "figure"
    block.rebuild = rebuild
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
        if kind is None and getattr(getattr(item, "style", None), "name", "") not in _PASSING:
            break
        if kind not in passed and _height(item, frame, canvas) <= room:
            flowables.insert(0, flowables.pop(place))
            return
        if kind is None:
            break
        passed.add(kind)
    if first.rebuild is not None:
        needed = _height(first, frame, canvas)
        smaller = floating(first.rebuild(max(_SMALLEST, 0.98 * room / needed)), first.rebuild)
        if _height(smaller, frame, canvas) <= room:
            flowables[0] = smaller


def _height(flowable: Any, frame: Any, canvas: Any) -> float:
    """Height in points, with the space before it."""
    width = frame._aW
    if getattr(flowable, "floats", None) is None:
        return float(flowable.wrapOn(canvas, width, 1e6)[1] + flowable.getSpaceBefore())
    flowable.wrapOn(canvas, width, 1e6)
    return float(flowable._H + flowable.getSpaceBefore())
