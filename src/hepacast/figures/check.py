"""Look at a finished figure for text that overlaps other text or leaves the page."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox

_SLACK_PX = 1.0


def text_problems(figure: Figure) -> list[str]:
    """What a reader would stumble over: overlapping texts, texts cut off at the edge of the figure.

    Boxes are those of the ink's line boxes, shrunk by one pixel; rotated text is measured by its rotated box.
    """
    from hepacast.figures.style import styled

    boxes = styled(_text_boxes)(figure)
    width, height = figure.bbox.width, figure.bbox.height
    problems = []
    for text, box in boxes:
        if box.x0 < -_SLACK_PX or box.y0 < -_SLACK_PX or box.x1 > width + _SLACK_PX or box.y1 > height + _SLACK_PX:
            problems.append(f"cut off at the edge: {text!r}")
    for (first, a), (second, b) in combinations(boxes, 2):
        if _overlap(a, b):
            problems.append(f"overlap: {first!r} and {second!r}")
    return problems


def _text_boxes(figure: Figure) -> list[tuple[str, Bbox]]:
    from matplotlib.text import Text

    figure.canvas.draw()
    hidden = _ticks_outside(figure)
    boxes = []
    for item in figure.findobj(Text):
        if not item.get_visible() or not item.get_text().strip() or id(item) in hidden:
            continue
        box = item.get_window_extent()
        if box.width > 0 and box.height > 0:
            boxes.append((item.get_text(), box))
    return boxes


def _ticks_outside(figure: Figure) -> set[int]:
    """Tick labels beyond the limits exist as artists but are never drawn."""
    hidden: set[int] = set()
    for axes in figure.axes:
        both: tuple[Any, ...] = (axes.xaxis, axes.yaxis)
        for axis in both:
            drawn: set[int] = set()
            if axes.axison and axis.get_visible():
                drawn = {id(label) for tick in axis._update_ticks() for label in (tick.label1, tick.label2)}
            every: list[Text] = [
                label
                for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks())
                for label in (tick.label1, tick.label2)
            ]
            hidden |= {id(label) for label in every} - drawn
            if not (axes.axison and axis.get_visible()):
                hidden.add(id(axis.label))
    return hidden


def _overlap(a: Bbox, b: Bbox) -> bool:
    return min(a.x1, b.x1) - max(a.x0, b.x0) > 2 * _SLACK_PX and min(a.y1, b.y1) - max(a.y0, b.y0) > 2 * _SLACK_PX
