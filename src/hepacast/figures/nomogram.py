"""Nomograms, as rms draws them: points, one axis a predictor, total points, risk; and one patient worked on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from hepacast.core.formatting import risk_text
from hepacast.figures.boxes import text_width_mm, wrap_to
from hepacast.figures.style import BLACK, DOUBLE_COLUMN_MM, LIGHT_GRAY, VERMILION, canvas_axes, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ROW_MM = 10.5
#: From an axis whose range stands in words to the next; with a patient's marks, which stand above the next.
_FLAT_ROW_MM, _MARKED_ROW_MM = 7.2, 9.0
_TICK_SIZE = 6.8
_LABEL_GAP_MM = 1.2
#: An axis that is shorter, or whose ticks are nearer to one another than the second, has no room for ticks (a predictor
#: that hardly counts): its range stands in words beside it.
_FLAT_MM = 3.0
_TICKS_MM = 1.0
#: Distance of a label's middle from its axis, in mm: below, above, second line below.
_TIERS = (3.4, -2.6, 6.0)
#: The line below that adds up a patient's points: size of its letters, height of one of its lines in mm.
_TOLD_SIZE, _TOLD_MM = 7.5, 3.5
#: Behind labels, so that no line runs through a number.
_WHITE = {"boxstyle": "square,pad=0.08", "facecolor": "white", "edgecolor": "none"}


@dataclass
class _Row:
    """One axis of the drawing: tick positions in mm from the left, their labels, whether all must be shown."""

    label: str
    x: np.ndarray
    texts: list[str]
    keep_all: bool = False
    minor: np.ndarray = field(default_factory=lambda: np.zeros(0))
    name: str = ""
    #: What stands instead of ticks on an axis too short for them.
    flat: str = ""


@styled
def draw_nomogram(spec: Mapping[str, Any], *, width_mm: float = DOUBLE_COLUMN_MM, title: str = "") -> Figure:
    """Draw a nomogram.

    Parameters
    ----------
    spec
        ``predictors``: list of ``name``, ``label`` and ``ticks`` (``value``, ``label``, ``points``);
        ``points_max`` (100); ``total_ticks`` (with the ends of the axis of totals);
        ``outputs``: list of ``label`` and ``ticks`` (``value``, ``label``, ``total_points``);
        ``example``: None, or ``values`` (by predictor: ``label``, ``points``), ``total``,
        ``output`` (by output label: risk). As `hepacast.nomogram.Nomogram.to_spec` gives it.
    width_mm
        Printed width.
    title
        Above the axes.
    """
    labels = [
        "Points",
        *(p["label"] for p in spec["predictors"]),
        "Total points",
        *(o["label"] for o in spec["outputs"]),
    ]
    label_width = min(46.0, max(text_width_mm(text, 7.8, bold=True) for text in labels)) + 5.0
    left, right = 2.0 + label_width, width_mm - 7.0
    rows = _rows(spec, left, right)
    example = spec.get("example")
    top = (9.0 if title else 4.0) + (3.0 if example else 0.0)
    told = wrap_to(_told(example), width_mm - 4.0, _TOLD_SIZE) if example else []
    flat = _MARKED_ROW_MM if example else _FLAT_ROW_MM
    steps = [flat if row.flat else _ROW_MM for row in rows]
    height = top + sum(steps[:-1]) + 7.0 + (2.5 if told else 0.0) + _TOLD_MM * len(told)
    figure = new_figure(width_mm, height, constrained=False)
    axes = canvas_axes(figure, width_mm, height)
    if title:
        axes.text(2.0, 4.0, title, fontsize=9, fontweight="bold", va="center")
    y = {i: top + sum(steps[:i]) for i in range(len(rows))}
    _guides(axes, rows[0], y[0], y[len(spec["predictors"])])
    marks = _example_marks(spec, rows, left, right) if example else {}
    for i, row in enumerate(rows):
        _draw_row(axes, row, y[i], label_width - 3.0, marks.get(i))
    if example:
        _draw_example(axes, marks, y, len(spec["predictors"]) + 1, left)
        axes.text(
            2.0, height - 1.5, "\n".join(told), fontsize=_TOLD_SIZE, color=VERMILION, va="bottom", linespacing=1.2
        )
    return figure


def _rows(spec: Mapping[str, Any], left: float, right: float) -> list[_Row]:
    span = right - left
    best = float(spec.get("points_max", 100))
    steps = np.arange(0, best + 1e-9, best / 10)
    rows = [
        _Row(
            "Points",
            left + steps / best * span,
            [f"{v:g}" for v in steps],
            minor=left + (steps[:-1] + best / 20) / best * span,
        )
    ]
    for item in spec["predictors"]:
        ticks = item["ticks"]
        x = np.array([left + float(t["points"]) / best * span for t in ticks])
        categorical = any(isinstance(t["value"], str) for t in ticks)
        row = _Row(item["label"], x, [_minus(t["label"]) for t in ticks], categorical, name=item["name"])
        crowded = len(x) > 1 and np.ptp(x) / (len(x) - 1) < _TICKS_MM
        if np.ptp(x) < _FLAT_MM or (crowded and not categorical):
            least, most = int(np.argmin(x)), int(np.argmax(x))
            row.flat = f"{row.texts[least]} to {row.texts[most]}: 0 to {float(ticks[most]['points']):.1f} points"
        rows.append(row)
    totals = np.asarray(spec["total_ticks"], dtype=float)
    x = _place_total(totals, totals, left, span)
    minor = (x[:-1] + x[1:]) / 2
    rows.append(_Row("Total points", x, [f"{v:g}" for v in totals], minor=minor))
    for item in spec["outputs"]:
        points = np.array([float(t["total_points"]) for t in item["ticks"]])
        x = _place_total(points, totals, left, span)
        rows.append(_Row(item["label"], x, [_minus(t["label"]) for t in item["ticks"]]))
    return rows


def _place_total(points: Any, totals: np.ndarray, left: float, span: float) -> Any:
    """Where totals stand on their axis, in mm."""
    return left + (points - totals[0]) / max(float(totals[-1] - totals[0]), 1e-12) * span


def _minus(label: object) -> str:
    """A number's hyphen becomes a minus sign; words keep theirs."""
    text = str(label)
    return f"\N{MINUS SIGN}{text[1:]}" if text[:1] == "-" and text[1:2].isdigit() else text


def _guides(axes: Axes, points: _Row, top: float, bottom: float) -> None:
    """Faint lines down from every tick of the points axis, so that points can be read off by eye."""
    for x in points.x:
        axes.plot([x, x], [top, bottom], color=LIGHT_GRAY, linewidth=0.35, alpha=0.6, zorder=0)


def _draw_row(axes: Axes, row: _Row, y: float, label_width: float, mark: tuple[float, str] | None) -> None:
    lines = wrap_to(row.label, label_width, 7.8, bold=True)
    axes.text(2.0, y + 0.4, "\n".join(lines), fontsize=7.8, fontweight="bold", va="center", linespacing=1.1)
    if not row.x.size:
        return
    axes.plot([row.x.min(), row.x.max()], [y, y], color=BLACK, linewidth=0.9, solid_capstyle="butt", zorder=3)
    if row.flat:
        axes.plot([row.x.min(), row.x.min()], [y, y + 1.4], color=BLACK, linewidth=0.7)
        place = row.x.max() + 1.6, y + _TIERS[0] - 1.4
        axes.text(*place, row.flat, ha="left", va="center", fontsize=_TICK_SIZE, zorder=4, bbox=_WHITE)
        return
    for x in row.minor:
        axes.plot([x, x], [y, y + 0.8], color=BLACK, linewidth=0.5)
    taken = [(-1, mark[0], text_width_mm(mark[1], 7.2, bold=True))] if mark else []
    tiers = place_labels(row.x, [text_width_mm(t, _TICK_SIZE) for t in row.texts], row.keep_all, taken)
    for x, text, tier in zip(row.x, row.texts, tiers, strict=True):
        down = tier is None or tier != 1
        axes.plot([x, x], [y, y + (1.4 if down else -1.1)], color=BLACK, linewidth=0.7)
        if tier is not None:
            axes.text(x, y + _TIERS[tier], text, ha="center", va="center", fontsize=_TICK_SIZE, zorder=4, bbox=_WHITE)


def place_labels(
    x: Sequence[float] | np.ndarray,
    widths: Sequence[float],
    keep_all: bool,
    reserved: Sequence[tuple[int, float, float]] = (),
) -> list[int | None]:
    """Where each tick label goes so that none touches another.

    Parameters
    ----------
    x
        Tick positions, mm.
    widths
        Widths of the labels, mm.
    keep_all
        A categorical axis: a label that does not fit below the axis goes above it, or one line further down.
        Otherwise labels are left out (their ticks stay), evenly where the ticks are even.
    reserved
        (tier, position, width) of text that is there already; tier -1 is above the axis.

    Returns
    -------
    list
        0 below, 1 above, 2 second line below, None left out.
    """
    x = np.asarray(x, dtype=float)
    placed: list[list[tuple[float, float]]] = [[], [(p, w) for tier, p, w in reserved if tier == -1], []]
    result: list[int | None] = [None] * len(x)
    folds = bool(len(x) > 2 and np.any(np.diff(x) > 0) and np.any(np.diff(x) < 0))
    tiers = (0, 1, 2) if keep_all else (0, 1) if folds else (0,)
    for i in _order(x, widths, keep_all or folds):
        for tier in tiers:
            if all(abs(x[i] - p) >= (widths[i] + w) / 2 + _LABEL_GAP_MM for p, w in placed[tier]):
                placed[tier].append((float(x[i]), widths[i]))
                result[i] = tier
                break
    return result


def _order(x: np.ndarray, widths: Sequence[float], as_given: bool) -> list[int]:
    """Which labels are tried first: even ticks by the smallest step that fits, others by halving the range."""
    count = len(x)
    if as_given or count < 3:
        return list(range(count))
    gaps = np.abs(np.diff(x))
    if np.ptp(gaps) < 1e-6 * max(gaps.max(), 1e-12):
        for step in range(1, count):
            need = max(widths) + _LABEL_GAP_MM
            if gaps[0] * step >= need:
                return list(range(0, count, step))
        return [0]
    order, queue = [0, count - 1], [(0, count - 1)]
    while queue:
        low, high = queue.pop(0)
        if high - low > 1:
            middle = int(np.abs(x[low + 1 : high] - (x[low] + x[high]) / 2).argmin()) + low + 1
            order.append(middle)
            queue += [(low, middle), (middle, high)]
    return order


def _example_marks(
    spec: Mapping[str, Any], rows: Sequence[_Row], left: float, right: float
) -> dict[int, tuple[float, str]]:
    """Position and text of the patient's mark on each axis, by row."""
    example, span = spec["example"], right - left
    best = float(spec.get("points_max", 100))
    marks: dict[int, tuple[float, str]] = {}
    for i, item in enumerate(spec["predictors"], start=1):
        value = example["values"].get(item["name"])
        if value is not None:
            marks[i] = (
                left + float(value["points"]) / best * span,
                f"{value['label']}: {float(value['points']):.1f} points",
            )
    total_row = len(spec["predictors"]) + 1
    totals = np.asarray(spec["total_ticks"], dtype=float)
    # A total beyond the axis is marked at its end.
    x = float(np.clip(_place_total(float(example["total"]), totals, left, span), left, right))
    marks[total_row] = (x, f"{float(example['total']):.1f} points")
    for j, item in enumerate(spec["outputs"], start=total_row + 1):
        risk = example["output"].get(item["label"])
        if risk is not None:
            marks[j] = (x, f"{float(risk):.3f}" if 0.001 <= float(risk) <= 0.999 else f"{float(risk):.2g}")
    return marks


def _draw_example(
    axes: Axes, marks: Mapping[int, tuple[float, str]], y: Mapping[int, float], total_row: int, left: float
) -> None:
    for i, (x, text) in marks.items():
        if i != total_row:
            start = y[0] if i < total_row else y[total_row]
            axes.plot([x, x], [start, y[i]], color=VERMILION, linewidth=0.8, linestyle=(0, (3, 2)), zorder=2)
        axes.plot(x, y[i], "o", color=VERMILION, markersize=4.2, zorder=6)
        width = text_width_mm(text, 7.2, bold=True)
        # Beside the predictor's name, not on it.
        place = min(max(x, left + width / 2 - 1), axes.get_xlim()[1] - width / 2 - 1)
        axes.text(
            place, y[i] - 2.8, text, ha="center", va="center", fontsize=7.2, fontweight="bold", color=VERMILION,
            bbox=_WHITE, zorder=7,
        )  # fmt: skip


def _told(example: Mapping[str, Any]) -> str:
    points = " + ".join(f"{float(v['points']):.1f}" for v in example["values"].values())
    risks = "; ".join(f"{name} {risk_text(float(value))}" for name, value in example["output"].items())
    return f"This patient: {points} = {float(example['total']):.1f} points; {risks}"
