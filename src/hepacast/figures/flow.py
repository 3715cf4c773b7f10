"""The patient flow chart and the study design: Figure 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hepacast.figures.boxes import LINE_MM, PADDING_MM, Box, box_height, draw_arrow, draw_box, wrap_to
from hepacast.figures.style import BLUE, DOUBLE_COLUMN_MM, GREEN, INK, PALE, VERMILION, canvas_axes, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class FlowSet:
    """One box at the end of the flow: a set with its patients and events."""

    name: str
    n: int
    events: int


@dataclass(frozen=True)
class DesignStage:
    """One column of the study design: a title and what happens there, line by line; `result` is what comes out."""

    title: str
    lines: Sequence[str]
    result: str = ""


#: Heading and count of a box, and what is written beside the arrow that leaves it: heading, (reason, patients).
_Step = tuple[str, int, str, Sequence[tuple[str, int]]]


@styled
def draw_flow(
    reviewed: int,
    excluded: Sequence[tuple[str, int]],
    included: int,
    sets: Sequence[FlowSet],
    *,
    lost: Sequence[tuple[str, int]] = (),
    event_label: str = "event",
    width_mm: float = DOUBLE_COLUMN_MM,
) -> Figure:
    """Patients reviewed, excluded with reasons, included, analyzed, and the sets (as STROBE and TRIPOD ask for).

    Parameters
    ----------
    reviewed, included
        Patients before and after the exclusions.
    excluded
        (reason, patients) in the order applied; nobody excluded: an empty list.
    sets
        Boxes of the last row.
    lost
        (reason, patients) of those who were included and could not be analyzed.
    event_label
        Name of the event, printed with its count.
    """
    margin, gap, side, between_sets = 2.0, 8.0, 80.0, 6.0
    set_width = min(48.0, (width_mm - 2 * margin - between_sets * (len(sets) - 1)) / max(len(sets), 1))
    span = len(sets) * set_width + between_sets * (len(sets) - 1)
    main = 48.0
    center = margin + max(main, min(span, 2 * (width_mm - side - 2 * margin - 10.0))) / 2
    steps: list[_Step] = [
        ("Patients reviewed", reviewed, "Excluded", excluded),
        ("Patients included", included, "", ()),
    ]
    if lost:
        steps[1] = ("Patients included", included, "Not analyzed", lost)
        steps.append(("Patients analyzed", included - sum(n for _, n in lost), "", ()))
    boxes: list[Box] = []
    sides: list[list[str]] = []
    y = margin
    for _, _, _, reasons in steps:
        boxes.append(Box(center - main / 2, y, main, box_height(1, 1)))
        inner = side - 2 * PADDING_MM - 1.0
        lines = [
            text for reason, n in reasons for text in wrap_to(f"{reason} (n\u00a0=\u00a0{n})", inner, indent="   ")
        ]
        sides.append(lines)
        y = boxes[-1].bottom + max(gap, box_height(len(lines), 1) + 4.0 if lines else 0.0)
    last = boxes[-1]
    texts = [_set_lines(item, event_label, set_width) for item in sets]
    row_height = box_height(max((len(lines) for lines in texts), default=0), 1)
    row_top = last.bottom + (gap if len(sets) == 1 else 1.5 * gap)
    figure = new_figure(width_mm, (row_top + row_height if sets else last.bottom) + margin, constrained=False)
    axes = canvas_axes(figure, width_mm, (row_top + row_height if sets else last.bottom) + margin)
    _draw_steps(axes, steps, boxes, sides, (width_mm - side - margin, side))
    row = [Box(max(margin, min(center - span / 2, width_mm - margin - span)) + i * (set_width + between_sets), row_top,
               set_width, row_height) for i in range(len(sets))]  # fmt: skip
    _set_row(axes, last, sets, row, texts)
    return figure


def _draw_steps(
    axes: Axes,
    steps: Sequence[_Step],
    boxes: Sequence[Box],
    sides: Sequence[Sequence[str]],
    beside: tuple[float, float],
) -> None:
    """The column of counts, and right of each arrow who left there; `beside` is left edge and width of those boxes."""
    x, width = beside
    for i, ((heading, n, left, reasons), box, lines) in enumerate(zip(steps, boxes, sides, strict=True)):
        draw_box(axes, box, [f"n = {n}"], heading=[heading], face=PALE)
        if i + 1 == len(steps):
            continue
        draw_arrow(axes, [(box.center, box.bottom), (box.center, boxes[i + 1].y)])
        if lines:
            place, height = (box.bottom + boxes[i + 1].y) / 2, box_height(len(lines), 1)
            own = Box(x, place - height / 2, width, height)
            draw_box(axes, own, lines, heading=[f"{left} (n = {sum(n for _, n in reasons)})"], align="left")
            draw_arrow(axes, [(box.center, place), (x, place)])


def _set_lines(item: FlowSet, event_label: str, width: float) -> list[str]:
    share = f"\u00a0({item.events / item.n:.1%})" if item.n else ""
    return [f"n = {item.n}", *wrap_to(f"{event_label}: {item.events}{share}", width - 2 * PADDING_MM)]


def _set_row(
    axes: Axes, source: Box, sets: Sequence[FlowSet], boxes: Sequence[Box], texts: Sequence[Sequence[str]]
) -> None:
    """The last row: one box a set, joined to the box of the included patients."""
    for i, (item, box, lines) in enumerate(zip(sets, boxes, texts, strict=True)):
        heading = [f"{item.name[:1].upper()}{item.name[1:]} set"]
        draw_box(axes, box, lines, heading=heading, edge=(BLUE, VERMILION, GREEN)[i % 3])
        if abs(box.center - source.center) < 1e-6:
            draw_arrow(axes, [(source.center, source.bottom), (box.center, box.y)])
            continue
        bus = (source.bottom + box.y) / 2
        route = [(source.center, source.bottom), (source.center, bus), (box.center, bus), (box.center, box.y)]
        draw_arrow(axes, route)


@styled
def draw_study_design(stages: Sequence[DesignStage], *, width_mm: float = DOUBLE_COLUMN_MM) -> Figure:
    """The chain of the study from images to validation, one column a stage, joined by arrows (Figure 1a)."""
    margin, gap = 1.5, 4.5
    per_row = len(stages) if len(stages) <= 5 else -(-len(stages) // 2)
    width = (width_mm - 2 * margin - gap * (per_row - 1)) / per_row
    inner = width - 2 * PADDING_MM
    texts = [[line for item in stage.lines for line in wrap_to(item, inner, 6.8)] for stage in stages]
    results = [wrap_to(stage.result, inner, 6.8, bold=True) if stage.result else [] for stage in stages]
    titles = [wrap_to(stage.title, inner, 8, bold=True) for stage in stages]
    rows = [range(i, min(i + per_row, len(stages))) for i in range(0, len(stages), per_row)]
    sizes = [
        (max(len(titles[i]) for i in row), max(len(texts[i]) for i in row), max(len(results[i]) for i in row))
        for row in rows
    ]
    heights = [LINE_MM * sum(size) + 4 * PADDING_MM + (2 * PADDING_MM if size[2] else 0) for size in sizes]
    height = sum(heights) + gap * 1.6 * (len(rows) - 1) + 2 * margin
    figure = new_figure(width_mm, height, constrained=False)
    axes = canvas_axes(figure, width_mm, height)
    y = margin
    for number, row in enumerate(rows):
        for place, i in enumerate(row):
            box = Box(margin + place * (width + gap), y, width, heights[number])
            _design_box(axes, box, titles[i], texts[i], results[i], sizes[number])
            if place:
                draw_arrow(axes, [(box.x - gap, box.middle), (box.x, box.middle)])
        if number + 1 < len(rows):
            last = margin + (len(row) - 1) * (width + gap) + width / 2
            below = y + heights[number]
            bus = below + gap * 0.8
            draw_arrow(
                axes, [(last, below), (last, bus), (margin + width / 2, bus), (margin + width / 2, below + gap * 1.6)]
            )
        y += heights[number] + gap * 1.6
    return figure


def _design_box(
    axes: Axes, box: Box, title: Sequence[str], lines: Sequence[str], result: Sequence[str], size: tuple[int, int, int]
) -> None:
    """A box with a coloured head, text, and a foot with the result."""
    head = Box(box.x, box.y, box.width, LINE_MM * size[0] + 2 * PADDING_MM)
    draw_box(axes, box, [], edge=BLUE)
    draw_box(axes, head, [], heading=title, face=BLUE, edge=BLUE, color="white", size=8)
    y = head.bottom + PADDING_MM + LINE_MM / 2
    for line in lines:
        axes.text(box.x + PADDING_MM, y, line, va="center_baseline", fontsize=6.8, color=INK)
        y += LINE_MM
    if result:
        foot_height = LINE_MM * size[2] + 2 * PADDING_MM
        foot = Box(box.x, box.bottom - foot_height, box.width, foot_height)
        draw_box(axes, foot, [], heading=result, face=PALE, edge=BLUE, size=6.8)
