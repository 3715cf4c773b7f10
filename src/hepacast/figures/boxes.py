"""Boxes with wrapped text and arrows between them: the parts of flow charts."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from hepacast.figures.style import INK, MM_PER_INCH, families

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: mm a line of text takes at a font size of 7.5 points.
LINE_MM = 3.5
PADDING_MM = 2.2


@dataclass(frozen=True)
class Box:
    """A box in mm: left, top, width, height."""

    x: float
    y: float
    width: float
    height: float

    @property
    def center(self) -> float:
        """Middle of the width."""
        return self.x + self.width / 2

    @property
    def middle(self) -> float:
        """Middle of the height."""
        return self.y + self.height / 2

    @property
    def right(self) -> float:
        """Right edge."""
        return self.x + self.width

    @property
    def bottom(self) -> float:
        """Lower edge."""
        return self.y + self.height


@lru_cache(maxsize=4096)
def text_width_mm(text: str, size: float = 7.5, bold: bool = False) -> float:
    """Width of one line of text in the shipped font, in mm."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    if not text:
        return 0.0
    font = FontProperties(family=families(), weight="bold" if bold else "normal")
    path = TextPath((0, 0), text, size=size, prop=font)
    # Glyphs have points where they are widest, so that no curve need be solved: a tenth of the time of its extents.
    across = path.vertices[np.asarray(path.codes) != path.CLOSEPOLY, 0]
    return float(np.ptp(across)) / 72 * MM_PER_INCH


def wrap_to(text: str, width_mm: float, size: float = 7.5, bold: bool = False, indent: str = "") -> list[str]:
    """Break text into lines that fit a width, by measured glyphs; `indent` goes before continued lines."""
    lines: list[str] = []
    for paragraph in text.split("\n"):
        words, line = paragraph.split(" "), ""
        for word in words:
            trial = f"{line} {word}" if line else word
            if line and text_width_mm(trial, size, bold) > width_mm:
                lines.append(line)
                line = indent + word
            else:
                line = trial
        lines.append(line)
    return [piece for line in lines for piece in _break_long(line, width_mm, size, bold)]


def _break_long(line: str, width_mm: float, size: float, bold: bool) -> list[str]:
    """A single word wider than the box is broken."""
    width = text_width_mm(line, size, bold)
    if width <= width_mm or " " in line.strip():
        return [line]
    return textwrap.wrap(line, max(4, int(len(line) * width_mm / width))) or [line]


def box_height(lines: int, heading_lines: int = 0) -> float:
    """Height in mm of a box with so many lines of text."""
    return LINE_MM * (lines + heading_lines) + 2 * PADDING_MM


def draw_box(
    axes: Axes,
    box: Box,
    lines: Sequence[str],
    *,
    heading: Sequence[str] = (),
    face: str = "white",
    edge: str = INK,
    align: str = "center",
    size: float = 7.5,
    color: str = INK,
    rounding: float = 0.8,
) -> None:
    """A box with a bold heading and lines below it."""
    from matplotlib.patches import FancyBboxPatch

    shape: Any = FancyBboxPatch(
        (box.x, box.y), box.width, box.height, boxstyle=f"round,pad=0,rounding_size={rounding}", facecolor=face,
        edgecolor=edge, linewidth=0.7,
    )  # fmt: skip
    axes.add_patch(shape)
    x = box.center if align == "center" else box.x + PADDING_MM
    total = LINE_MM * (len(heading) + len(lines))
    y = box.middle - total / 2 + LINE_MM / 2
    for number, line in enumerate([*heading, *lines]):
        weight = "bold" if number < len(heading) else "normal"
        axes.text(x, y, line, ha=align, va="center_baseline", fontsize=size, fontweight=weight, color=color)
        y += LINE_MM


def draw_arrow(axes: Axes, points: Sequence[tuple[float, float]], *, color: str = INK, head: bool = True) -> None:
    """A line through the points with a head at the end."""
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    if len(points) > 2 or not head:
        axes.plot(
            xs if not head else xs[:-1], ys if not head else ys[:-1], color=color, linewidth=0.8, solid_capstyle="butt"
        )
    if head:
        axes.annotate(
            "", points[-1], points[-2],
            arrowprops={"arrowstyle": "-|>,head_width=0.17,head_length=0.32", "color": color, "linewidth": 0.8,
                        "shrinkA": 0, "shrinkB": 0, "joinstyle": "miter"},
        )  # fmt: skip
